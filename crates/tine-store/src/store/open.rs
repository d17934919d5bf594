//! Making, opening and closing a store.
//!
//! Opening reads manifest, journal and the segments that no root covers past the cache, replays, syncs the frames that
//! nothing proves to be durable, and begins an epoch that names the frame it continues from. Only when that is durable is anything answered or
//! removed (rules 6–11).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::buffer::BufferMemory;
use crate::codec::Encoder;
use crate::error::{Result, StoreError};
use crate::index::Index;
use crate::journal::commit::{Item, Journal};
use crate::journal::frame::FRAME_ALIGNMENT;
use crate::journal::record::Record;
use crate::journal::ring::{LogFrame, Place, Ring, Shape};
use crate::journal::walk::{Path as JournalPath, Walked, Walker};
use crate::manifest::Manifest;
use crate::medium::{Access, Area, DirectoryMedium, Folder, Medium, ObjectName, Syncer, Writing};
use crate::options::{CreateOptions, OpenOptions};
use crate::planted::{Bug, planted};
use crate::segment::table::SegmentTable;
use crate::store::catalog::{Catalog, Stay};
use crate::store::checkpoint::Merging;
use crate::store::own_blocks::OwnMemory;
use crate::store::parameters::{self, JOURNAL_FILE_BYTES_MAX, JOURNAL_FILE_BYTES_MIN, Parameters};
use crate::store::reader::leased;
use crate::store::relief::Drains;
use crate::store::replay::Replay;
use crate::store::space::Space;
use crate::store::upkeep::{Pacers, Signal, Upkeep};
use crate::store::{Engine, Running, Store};

/// With two files, one could never be freed while the other is written.
const JOURNAL_FILES_MIN: u32 = 3;

/// After a clean close the next opening replays no more than this.
const REPLAY_BYTES_MAX: u64 = 256 << 10;
/// After a clean close the next opening reads no more footers than for so many blocks.
const UNCOVERED_AT_CLOSE: u64 = 16 << 10;

/// Returns 128 random bits.
pub(crate) fn random_bits(medium: &dyn Medium) -> Result<[u8; 16]> {
    medium
        .random_bits()
        .map_err(|e| StoreError::io("random numbers", "get", e))
}

impl Store {
    /// Makes a store in a directory that is empty or not there, and opens it.
    ///
    /// # Errors
    /// [`StoreError::StoreExists`], [`StoreError::NoSpace`], and those of the medium.
    pub fn create(path: &Path, create: &CreateOptions, open: OpenOptions) -> Result<Self> {
        let made = DirectoryMedium::create(path)
            .map_err(|e| StoreError::io(format_args!("`{}`", path.display()), "make a store at", e))?
            .ok_or_else(|| StoreError::StoreExists {
                path: path.to_owned(),
            })?;
        Self::create_on(Arc::new(made), create, open)
    }

    /// Opens the store in a directory; waits for another process that holds it as long as the options say.
    ///
    /// # Errors
    /// [`StoreError::NoStore`], [`StoreError::Busy`], [`StoreError::Unsupported`], [`StoreError::Damaged`], and those
    /// of the medium.
    pub fn open(path: &Path, mut open: OpenOptions) -> Result<Self> {
        let failed = |e| StoreError::io(format_args!("`{}`", path.display()), "open the store at", e);
        if !DirectoryMedium::is_store(path).map_err(failed)? {
            let is_lost = DirectoryMedium::has_lost_its_parameters(path);
            // Between the two looks another process may have finished making it.
            if !DirectoryMedium::is_store(path).map_err(failed)? {
                return Err(if is_lost {
                    StoreError::damaged(format!("`{}` has no store.json", path.display()))
                } else {
                    StoreError::NoStore {
                        path: path.to_owned(),
                    }
                });
            }
        }
        let begun = Instant::now();
        let mut told = false;
        loop {
            let (opened, unwritable) = match DirectoryMedium::open(path, Access::Write) {
                Err(error) if is_unwritable(&error) => {
                    let unwritable = StoreError::Unwritable {
                        path: path.to_owned(),
                    };
                    if !open.read_damaged {
                        return Err(unwritable);
                    }
                    (
                        DirectoryMedium::open(path, Access::Read).map_err(failed)?,
                        Some(unwritable),
                    )
                }
                opened => (opened.map_err(failed)?, None),
            };
            let holder = match opened {
                Ok(medium) => return Self::open_with(Arc::new(medium), open, unwritable),
                Err(holder) => holder,
            };
            let waited = begun.elapsed();
            if waited >= open.wait {
                return Err(StoreError::Busy {
                    path: path.to_owned(),
                    holder,
                    waited,
                });
            }
            if waited >= Duration::from_secs(1) && !told {
                told = true;
                if let Some(on_wait) = &mut open.on_wait {
                    on_wait(holder.as_ref());
                }
            }
            // Short commands hold the store for some milliseconds.
            std::thread::sleep(Duration::from_millis(if waited < Duration::from_millis(50) {
                1
            } else {
                10
            }));
        }
    }

    /// Makes a store on an empty medium, and opens it.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] for options that no store can have, and those of the medium.
    pub fn create_on(medium: Arc<dyn Medium>, create: &CreateOptions, open: OpenOptions) -> Result<Self> {
        let file_bytes = create.journal_file_bytes;
        if file_bytes < JOURNAL_FILE_BYTES_MIN
            || !file_bytes.is_multiple_of(FRAME_ALIGNMENT as u64)
            || file_bytes > JOURNAL_FILE_BYTES_MAX
            || create.journal_files < JOURNAL_FILES_MIN
        {
            return Err(StoreError::Unsupported {
                what: format!(
                    "a journal of {} files of {file_bytes} bytes; it takes at least {JOURNAL_FILES_MIN} files of \
                     {JOURNAL_FILE_BYTES_MIN} bytes, a multiple of {FRAME_ALIGNMENT}",
                    create.journal_files
                ),
            });
        }
        let key = random_bits(&*medium)?;
        let shape = Shape {
            file_bytes,
            files: create.journal_files,
            key,
        };
        Ring::create(Arc::clone(&medium), shape)?;
        // The first manifest is as of the first epoch's first frame, and announced by being there before the store is.
        let ring = Ring::begin_epoch(Arc::clone(&medium), shape, 0, VecDeque::new(), None)?;
        let first = ring
            .log()
            .front()
            .map_or(Place { file: 0, offset: 0 }, |logged| logged.place);
        let manifest = Manifest {
            number: 0,
            floor: ring.last(),
            floor_place: first,
            place: ring.last(),
            ring_files: ring.durable_files(),
            next_branch: 1,
            next_stretch: 1,
            segments: Vec::new(),
            trees: Vec::new(),
            stretches: Vec::new(),
            branches: Vec::new(),
        };
        manifest.put(&*medium)?;
        let text = Parameters::new(shape, &random_bits(&*medium)?)?.encode()?;
        let name = ObjectName::Parameters;
        let put = || {
            let mut writer = medium.create_object(name, Writing::Cached)?;
            writer.append(text.as_bytes())?;
            writer.sync()?;
            medium.sync_area(Area::Root)
        };
        put().map_err(|e| StoreError::io(name, "make", e))?;
        drop(ring);
        Self::open_on(medium, open)
    }

    /// Opens the store on a medium.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(medium: Arc<dyn Medium>, options: OpenOptions) -> Result<Self> {
        Self::open_with(medium, options, None)
    }

    /// Opens the store; for reading only, with a reason not to write.
    fn open_with(
        medium: Arc<dyn Medium>,
        options: OpenOptions,
        no_writing: Option<StoreError>,
    ) -> Result<Self> {
        let mut shape = parameters::read(&*medium)?;
        let segments = Arc::new(SegmentTable::new(Arc::clone(&medium)));
        let (manifest, mut path) = choose_manifest(&*medium, shape, options.read_damaged)?;
        let damage = match path.damage.take() {
            None => lost_journal_file(&*medium, &manifest, shape)?,
            damage => damage,
        };
        if let Some(damage) = damage.clone().filter(|_| !options.read_damaged) {
            return Err(damage);
        }
        shape.files = shape.files.max(manifest.ring_files);
        let buffered = BufferMemory::new(options.buffer_bytes);
        let own = OwnMemory::new(options.bounds().own_words);
        let log = log(&path);
        let clean_end = path.clean_end;
        let end = path.frames.last().map(Walked::end);
        let number = manifest.number;
        let unproven = unproven_files(&path);
        let manifest_bytes = manifest.object_bytes();
        let records = path
            .frames
            .iter()
            .map(|frame| u64::from(frame.header.records_bytes));
        let records = records.sum();
        let replay = Replay::of(manifest, path, &segments, (&buffered, &own), options.read_damaged)?;
        let damage = damage.or(replay.broken).or(no_writing);
        let read_only = damage.is_some() || options.read_damaged;
        let ring = if read_only {
            Ring::detached(Arc::clone(&medium), shape, number, log)?
        } else if planted(Bug::AppendBehindEnd) && clean_end.is_none() {
            let mut ring = Ring::detached(Arc::clone(&medium), shape, number, log)?;
            ring.append_behind(end);
            ring
        } else {
            // Before the epoch's frame is written: it must not reach the medium before what it continues.
            for file in unproven {
                if !planted(Bug::NoSync) {
                    let name = format_args!("journal/{file}").to_string();
                    medium
                        .sync_journal(file, Syncer::First)
                        .map_err(|e| StoreError::io(name, "sync", e))?;
                }
            }
            Ring::begin_epoch(Arc::clone(&medium), shape, number, log, clean_end)?
        };
        let epoch = u32::try_from(ring.last().epoch)
            .map_err(|_| StoreError::damaged("the journal's epochs are beyond what can be counted"))?;
        let highest = if read_only {
            number
        } else {
            remove_leftovers(&*medium, number, &segments)?
        };
        let engine = Arc::new_cyclic(|me| Engine {
            me: Weak::clone(me),
            thread: Mutex::new(None),
            journal: Journal::new(ring),
            index: Index::new(Arc::clone(&segments), options.index_cache_bytes),
            segments,
            catalog: Mutex::new(replay.catalog),
            upkeep: Mutex::new(Upkeep),
            signal: Signal::default(),
            space: Space::new(Arc::clone(&medium), shape.file_bytes, manifest_bytes, records),
            medium,
            buffered,
            own,
            buffer_bytes: options.buffer_bytes,
            uncovered: AtomicU64::new(0),
            pacers: Pacers::default(),
            covered_blocks: AtomicU64::new(0),
            drains: Drains::default(),
            streamed: Arc::default(),
            large_write_bytes: options.large_write_bytes,
            bounds: options.bounds(),
            mode: options.upkeep,
            damage,
            read_only,
            epoch,
            next_segment: AtomicU32::new(0),
            newest_manifest: AtomicU64::new(number),
            next_manifest: AtomicU64::new(highest.saturating_add(1)),
            removed_since_sync: AtomicBool::new(false),
            removals: Mutex::default(),
            has_deaths: AtomicBool::new(false),
            stuck: AtomicU32::new(0),
            dead_found_at: AtomicU64::new(u64::MAX),
            user_written: AtomicU64::new(0),
            medium_written: AtomicU64::new(0),
        });
        if read_only {
            engine.journal.poison(engine.why_read_only());
        } else {
            engine.settle_space();
            if engine.journal.is_full() {
                // Openings that only crash would use up the room of the next one. Without space it is tried again.
                drop(engine.checkpoint(&mut engine.upkeep.lock(), Merging::Paced));
            }
            if !replay.unfinished.is_empty() {
                engine.forget_branches(&replay.unfinished, true)?;
            }
            engine.after_record();
        }
        Ok(Self {
            running: Arc::new(Running { engine }),
        })
    }

    /// Returns what is damaged, if the store was opened in spite of it: it shows what was before the damage, and takes
    /// no writes. What cannot be told any more is an error when it is read.
    pub fn damage(&self) -> Option<&StoreError> {
        self.running.engine.damage.as_ref()
    }

    /// Returns the directory of the store, if it is in one: what lies there beside it stays beside it when it is moved.
    pub fn folder(&self) -> Option<&Arc<Folder>> {
        self.running.engine.medium.folder()
    }

    /// Flushes every branch and ends well: the next opening has little to replay.
    ///
    /// Handles and views that are still around cannot write any more.
    ///
    /// # Errors
    /// Those of [`Branch::flush`](crate::Branch::flush).
    pub fn close(self) -> Result<()> {
        self.finish()
    }

    /// Makes everything durable and ends the writing.
    pub(crate) fn finish(&self) -> Result<()> {
        let engine = &self.running.engine;
        if !engine.read_only {
            engine.forget_throwaways()?;
        }
        engine.stop_thread();
        if engine.read_only {
            return Ok(());
        }
        let cells: Vec<_> = engine
            .catalog
            .lock()
            .branches
            .values()
            .map(|entry| Arc::clone(&entry.cell))
            .collect();
        for cell in cells {
            match engine.flush(&cell) {
                Err(StoreError::Dropped { .. }) => {}
                result => result?,
            }
        }
        let mut upkeep = engine.upkeep.lock();
        let mut saved = engine.reclaim(&mut upkeep);
        if engine.journal.replay_bytes() > REPLAY_BYTES_MAX || engine.uncovered_blocks() > UNCOVERED_AT_CLOSE
        {
            saved = saved.and_then(|()| engine.checkpoint(&mut upkeep, Merging::Paced));
        }
        match saved {
            // Everything is in the journal; the next opening has more to replay.
            Err(StoreError::NoSpace { .. }) => {}
            saved => saved?,
        }
        let mut records = Encoder::default();
        Record::Closed.encode(&mut records);
        let ticket = engine.enqueue_upkeep(Item {
            records: records.bytes,
            closes: true,
            ..Item::default()
        })?;
        engine.wait(ticket)?;
        engine.space.release();
        Ok(())
    }
}

/// Tells an error of opening for writing that reading alone would not meet.
fn is_unwritable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// Tells whether the journal has lost, wholly or in part, a file that was added to it before the manifest.
fn lost_journal_file(medium: &dyn Medium, manifest: &Manifest, shape: Shape) -> Result<Option<StoreError>> {
    let files = medium
        .journal_files()
        .map_err(|e| StoreError::io("journal/", "list", e))?;
    if files < manifest.ring_files {
        return Ok(Some(StoreError::damaged(format!("journal/{files} is missing"))));
    }
    for file in 0..manifest.ring_files {
        let length = medium
            .journal_file_bytes(file)
            .map_err(|e| StoreError::io(format_args!("journal/{file}"), "look at", e))?;
        if length < shape.file_bytes {
            return Ok(Some(StoreError::damaged(format!(
                "journal/{file} is cut: it has {length} of its {} bytes",
                shape.file_bytes
            ))));
        }
    }
    Ok(None)
}

/// Finds the newest announced manifest and walks the journal from its floor.
///
/// A manifest that was never announced is passed over; an announced one that cannot be read is damage. With
/// `read_damaged` the newest that can be read serves, and the path says what is damaged.
fn choose_manifest(medium: &dyn Medium, shape: Shape, read_damaged: bool) -> Result<(Manifest, JournalPath)> {
    let mut numbers: Vec<u64> = manifest_numbers(medium)?;
    numbers.sort_unstable_by_key(|&number| std::cmp::Reverse(number));
    let mut failed: Option<(StoreError, Manifest, Option<JournalPath>)> = None;
    for &number in &numbers {
        let Some(manifest) = Manifest::read(medium, number)? else {
            continue;
        };
        let walked = Walker::new(medium, shape)?.walk(&manifest.floor, manifest.floor_place);
        let mut path = match walked {
            // Only an older manifest can tell whether this one was announced at all.
            Err(error @ StoreError::Damaged { .. }) => {
                failed.get_or_insert((error, manifest, None));
                continue;
            }
            result => result?,
        };
        if let Some(damage) = path.damage.take() {
            failed.get_or_insert((damage, manifest, Some(path)));
            continue;
        }
        let announced = if planted(Bug::OlderManifest) {
            number
        } else {
            path.announced()
        };
        if announced > number {
            let missing =
                StoreError::damaged(format!("manifest/{announced} was announced and cannot be read"));
            failed.get_or_insert((missing, manifest, Some(path)));
            break;
        }
        if announced == number {
            return Ok((manifest, path));
        }
    }
    match failed {
        Some((damage, manifest, path)) if read_damaged => {
            let nothing = JournalPath {
                frames: Vec::new(),
                clean_end: None,
                damage: None,
            };
            Ok((
                manifest,
                JournalPath {
                    clean_end: None,
                    damage: Some(damage),
                    ..path.unwrap_or(nothing)
                },
            ))
        }
        Some((damage, ..)) => Err(damage),
        None => Err(StoreError::damaged(
            "there is no manifest that was announced and can be read",
        )),
    }
}

/// Tells a directory that is not there any more, which is damage, from one that cannot be read.
fn cannot_list(directory: &str, error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            StoreError::damaged(format!("the directory {directory} is missing"))
        }
        _ => StoreError::io(directory, "list", error),
    }
}

fn manifest_numbers(medium: &dyn Medium) -> Result<Vec<u64>> {
    let names = medium
        .list_objects(Area::Manifest)
        .map_err(|e| cannot_list("manifest/", e))?;
    Ok(names
        .into_iter()
        .filter_map(|name| match name {
            ObjectName::Manifest(number) => Some(number),
            _ => None,
        })
        .collect())
}

/// Returns the frames of a path as the ring keeps them.
fn log(path: &JournalPath) -> VecDeque<LogFrame> {
    let groups = |frame: &Walked| {
        let mut groups: HashMap<u64, u64> = HashMap::new();
        for record in &frame.records {
            let mut add = |stretch: u64, group: u64| {
                let highest = groups.entry(stretch).or_default();
                *highest = group.max(*highest);
            };
            match record {
                Record::Blocks { stretch, group, .. }
                | Record::Zeroes { stretch, group, .. }
                | Record::Resized { stretch, group, .. } => add(*stretch, *group),
                Record::Published(published) => published
                    .parts
                    .iter()
                    .for_each(|&(stretch, upto)| add(stretch, upto)),
                _ => {}
            }
        }
        groups.into_iter().collect()
    };
    path.frames
        .iter()
        .map(|frame| LogFrame {
            place: frame.place,
            frame: frame.header.frame,
            bytes: frame.header.frame_bytes() as u64,
            groups: groups(frame),
        })
        .collect()
}

/// Returns the files with frames that may be in a cache only: those of the last epoch behind what its last frame says is
/// synced. All other frames were synced before a later one was written, and so was everything that a frame speaks of:
/// segments before they are published, manifests before they are announced, their names with them (rule 9).
fn unproven_files(path: &JournalPath) -> BTreeSet<u32> {
    let Some(last) = path.frames.last() else {
        return BTreeSet::new();
    };
    let unproven = |frame: &&Walked| {
        frame.header.frame.nonce == last.header.frame.nonce
            && frame.header.frame.sequence > last.header.synced_through
    };
    path.frames
        .iter()
        .filter(unproven)
        .map(|frame| frame.place.file)
        .collect()
}

/// Removes manifests and segments that are no part of the store, now that no later opening can think otherwise; those
/// that somebody reads are left to a later one. Returns the highest number that a manifest had.
fn remove_leftovers(medium: &dyn Medium, manifest: u64, segments: &SegmentTable) -> Result<u64> {
    let numbers = manifest_numbers(medium)?;
    let highest = numbers.iter().copied().max().unwrap_or(manifest);
    if !medium.can_overwrite() {
        return Ok(highest);
    }
    for number in numbers.into_iter().filter(|&number| number != manifest) {
        let name = ObjectName::Manifest(number);
        medium
            .remove_object(name)
            .map_err(|e| StoreError::io(name, "remove", e))?;
    }
    // While it cannot be told who reads, all stays. This also forgets the leases of the dead.
    let Ok(leased) = leased(medium) else {
        return Ok(highest);
    };
    let names = medium
        .list_objects(Area::Segment)
        .map_err(|e| cannot_list("segments/", e))?;
    for name in names {
        if let ObjectName::Segment(id) = name
            && !segments.contains(id)
            && !leased.contains(&id)
        {
            medium
                .remove_object(name)
                .map_err(|e| StoreError::io(name, "remove", e))?;
        }
    }
    Ok(highest)
}

impl Catalog {
    /// Returns the names of branches that were being made when the store ended.
    pub(crate) fn unfinished(&self) -> Vec<crate::BranchName> {
        self.branches
            .iter()
            .filter(|(_, entry)| entry.stay == Stay::Unfinished)
            .map(|(name, _)| name.clone())
            .collect()
    }
}
