//! The ring of journal files: where frames go, and which files may be used again.
//!
//! Invariants: a frame never straddles files. A file is used again only when none of the frames that recovery could
//! still need lies in it: [`Ring::log`] holds those, and is cut only when a manifest was announced in a durable
//! frame (rule 3). Nothing is ever appended behind a recovered end: an epoch begins in a fresh file, or right behind
//! a CLOSED frame (rules 8, 11).

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::buffer::StretchId;
use crate::error::{Result, StoreError};
use crate::journal::frame::{
    FRAME_ALIGNMENT, FRAME_BYTES_MAX, Header, JournalKey, chain_start, encode_head, head_bytes,
};
use crate::journal::record::{FrameRef, Record};
use crate::medium::{Area, Medium, Syncer};
use crate::planted::{Bug, planted};

/// A position in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

/// What a store's ring was made as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) file_bytes: u64,
    /// How many files it has at least: it began with so many, or its manifest counts them. All of them were whole before;
    /// on write-once media each is made when it is needed.
    pub(crate) files: u32,
    pub(crate) key: JournalKey,
}

/// Whether a file of the ring is whole: a process that died while it made one may have left it otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wholeness {
    /// It is known to be whole on the medium.
    Durable,
    /// It has its length, but perhaps only for those who do not look past the cache.
    Unsynced,
    /// It is short: making it whole takes space, as making another does, so it is not free.
    Short,
}

/// A frame that recovery could still need.
#[derive(Clone, Debug)]
pub(crate) struct LogFrame {
    pub(crate) place: Place,
    pub(crate) frame: FrameRef,
    pub(crate) bytes: u64,
    /// For each stretch of which it has data or publishes data, the highest group.
    pub(crate) groups: Vec<(StretchId, u64)>,
}

/// Copies of an epoch's first frame, each in a place of its own.
pub(crate) const EPOCH_COPIES: u64 = 2;

/// On write-once media a checkpoint is due when this many files are held.
const CHAIN_FILES: u64 = 4;

/// How much can still be written before files have to be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes left in the current file.
    pub(crate) tail: u64,
    /// Files that can be used next.
    pub(crate) free_files: u64,
    /// All files.
    pub(crate) files: u64,
    /// Each file is made when it is needed, on write-once media: then only users wait for free ones.
    pub(crate) on_demand: bool,
}

impl Room {
    /// Tells whether half of the ring holds what recovery could need.
    pub(crate) fn is_half_full(&self) -> bool {
        self.free_files * 2 < self.files
    }
}

/// Counts since the ring was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RingCounts {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) syncs: u64,
}

/// The writer's end of the journal.
pub(crate) struct Ring {
    medium: Arc<dyn Medium>,
    pub(crate) shape: Shape,
    /// How many files there are now.
    files: u32,
    /// For each whether it is whole.
    wholeness: Vec<Wholeness>,
    /// Where the next frame goes, if it fits.
    place: Place,
    /// The last frame written.
    last: FrameRef,
    /// Every frame up to this one is durable, as far as those who write know.
    pub(crate) synced_through: u64,
    /// The newest manifest announced.
    pub(crate) manifest: u64,
    log: VecDeque<LogFrame>,
    /// How many frames of the log each file holds.
    held: Vec<u32>,
    /// Files with frames that were not synced.
    unsynced: SmallVec<[u32; 2]>,
    pub(crate) counts: RingCounts,
    buffer: Vec<u8>,
}

/// Returns the most bytes of a frame in files of a size: half a file, so that a file is never wasted.
pub(crate) fn frame_bytes_max(file_bytes: u64) -> usize {
    FRAME_BYTES_MAX.min((file_bytes / 2) as usize / FRAME_ALIGNMENT * FRAME_ALIGNMENT)
}

impl Ring {
    /// Makes the ring of a new store.
    pub(crate) fn create(medium: Arc<dyn Medium>, shape: Shape) -> Result<()> {
        // On write-once media each file is made when it is needed.
        for file in (0..shape.files).filter(|_| medium.can_overwrite()) {
            add_file(&*medium, file, shape.file_bytes)?;
        }
        medium
            .sync_area(Area::Journal)
            .map_err(|e| StoreError::io("journal/", "sync", e))
    }

    /// Begins an epoch, and returns when its first frame is durable.
    ///
    /// `log` holds the frames from the floor on (none in a new store); `end` is behind the last of them, in the same
    /// file if the new epoch may go on there (after a clean close), else the next free file is taken.
    pub(crate) fn begin_epoch(
        medium: Arc<dyn Medium>,
        shape: Shape,
        manifest: u64,
        log: VecDeque<LogFrame>,
        clean_end: Option<Place>,
    ) -> Result<Self> {
        let file_bytes = shape.file_bytes;
        let mut ring = Self::detached(medium, shape, manifest, log)?;
        let cut = ring.log.back().map(|last| last.frame);
        let nonce = crate::store::random_bits(&*ring.medium)?;
        let epoch = cut.map_or(Some(1), |cut| cut.epoch.checked_add(1));
        let epoch = epoch
            .ok_or_else(|| StoreError::damaged("the journal's epochs are beyond what can be counted"))?;
        ring.last = FrameRef {
            epoch,
            nonce,
            sequence: 0,
            chain: chain_start(&nonce),
        };
        // In a new store, as though the last file were full: the first is next in ring order.
        let behind_all = Place {
            file: ring.files.saturating_sub(1),
            offset: file_bytes,
        };
        ring.place = ring.log.back().map_or(behind_all, |last| last.place);
        ring.count_held();
        let copies = EPOCH_COPIES * FRAME_ALIGNMENT as u64;
        ring.place = match clean_end {
            Some(end) if end.offset + copies <= file_bytes && ring.medium.can_overwrite() => end,
            _ => {
                // A process that died may have made files whose names are not durable.
                ring.sync_directory()?;
                Place {
                    file: ring.fresh_file()?,
                    offset: 0,
                }
            }
        };
        let mut records = crate::codec::Encoder::default();
        Record::Epoch { cut }.encode(&mut records);
        let previous = ring.last;
        for copy in 0..EPOCH_COPIES as u32 {
            ring.last = previous;
            let header = Header {
                copy,
                ..ring.header(records.bytes.len(), 0)
            };
            let mut head = Vec::new();
            let chain = encode_head(
                &header,
                &ring.shape.key,
                previous.chain,
                &records.bytes,
                &mut head,
            );
            ring.last = FrameRef {
                chain,
                ..header.frame
            };
            ring.put(&head, Vec::new())?;
        }
        ring.sync()?;
        Ok(ring)
    }

    /// Makes a ring in which no epoch was begun: as it is, that of a store to which nothing is written.
    pub(crate) fn detached(
        medium: Arc<dyn Medium>,
        shape: Shape,
        manifest: u64,
        log: VecDeque<LogFrame>,
    ) -> Result<Self> {
        let files = medium
            .journal_files()
            .map_err(|e| StoreError::io("journal/", "list", e))?;
        let nothing = FrameRef {
            epoch: 0,
            nonce: [0; 16],
            sequence: 0,
            chain: 0,
        };
        let wholeness = |file: u32| {
            if !medium.can_overwrite() {
                return Ok(Wholeness::Unsynced);
            }
            if file < shape.files {
                return Ok(Wholeness::Durable);
            }
            let length = medium.journal_file_bytes(file);
            let length = length.map_err(|e| StoreError::io(format_args!("journal/{file}"), "look at", e))?;
            Ok(if length < shape.file_bytes {
                Wholeness::Short
            } else {
                Wholeness::Unsynced
            })
        };
        let wholeness = (0..files).map(wholeness).collect::<Result<_>>()?;
        Ok(Self {
            medium,
            held: vec![1; files as usize],
            wholeness,
            shape,
            files,
            place: Place {
                file: 0,
                offset: shape.file_bytes,
            },
            last: log.back().map_or(nothing, |last| last.frame),
            synced_through: 0,
            manifest,
            log,
            unsynced: SmallVec::new(),
            counts: RingCounts::default(),
            buffer: Vec::new(),
        })
    }

    /// A deliberate bug: goes on behind a recovered end, in its epoch.
    pub(crate) fn append_behind(&mut self, end: Option<Place>) {
        self.place = end.unwrap_or(self.place);
        self.count_held();
    }

    fn count_held(&mut self) {
        self.held.fill(0);
        for logged in &self.log {
            self.held[logged.place.file as usize] += 1;
        }
    }

    /// Returns the last frame written.
    pub(crate) fn last(&self) -> FrameRef {
        self.last
    }

    /// Returns how many files there are.
    pub(crate) fn files(&self) -> u32 {
        self.files
    }

    /// Returns what can still be written.
    pub(crate) fn room(&self) -> Room {
        let free = if self.medium.can_overwrite() {
            (0..self.files).filter(|&file| self.is_free(file)).count() as u64
        } else {
            // A chain of new files is bounded like a ring of a few.
            let held = self.held.iter().filter(|&&frames| frames > 0).count() as u64;
            CHAIN_FILES.saturating_sub(held.max(1))
        };
        Room {
            tail: self.shape.file_bytes - self.place.offset.min(self.shape.file_bytes),
            free_files: free,
            files: if self.medium.can_overwrite() {
                u64::from(self.files)
            } else {
                CHAIN_FILES
            },
            on_demand: !self.medium.can_overwrite(),
        }
    }

    /// Returns the bytes of the frames that the next opening would replay.
    pub(crate) fn replay_bytes(&self) -> u64 {
        self.log.iter().map(|logged| logged.bytes).sum()
    }

    /// Returns the bytes of the files that hold frames which recovery could need.
    pub(crate) fn live_bytes(&self) -> u64 {
        let room = self.room();
        (room.files - room.free_files) * self.shape.file_bytes
    }

    fn is_free(&self, file: u32) -> bool {
        file != self.place.file
            && self.held[file as usize] == 0
            && self.wholeness[file as usize] != Wholeness::Short
    }

    /// Returns the next free file in ring order, adding one to the ring if there is none. On write-once media every
    /// file is a new one: an opening that died may have written to any that is there.
    fn fresh_file(&mut self) -> Result<u32> {
        if self.medium.can_overwrite() {
            let next = self.place.file + 1;
            let mut files = (0..self.files).map(|step| (next + step) % self.files);
            if let Some(file) = files.find(|&file| self.is_free(file)) {
                self.make_durable(file)?;
                return Ok(file);
            }
        }
        self.grow()
    }

    /// Adds a free file to the ring; one that was left short is made whole for that.
    ///
    /// Returns its number.
    pub(crate) fn grow(&mut self) -> Result<u32> {
        // One that holds frames is short by damage, and is not made anew.
        let is_unused = |file: u32| file != self.place.file && self.held[file as usize] == 0;
        let short = (0..self.files)
            .find(|&file| self.wholeness[file as usize] == Wholeness::Short && is_unused(file));
        let file = short.unwrap_or(self.files);
        add_file(&*self.medium, file, self.shape.file_bytes)?;
        self.sync_directory()?;
        if file == self.files {
            self.files += 1;
            self.held.push(0);
            self.wholeness.push(Wholeness::Durable);
        } else {
            self.wholeness[file as usize] = Wholeness::Durable;
        }
        Ok(file)
    }

    /// Returns how many files are known to be whole on the medium, the first ones; none where they are made when needed.
    pub(crate) fn durable_files(&self) -> u32 {
        let durable = self.wholeness.iter().take_while(|&&is| is == Wholeness::Durable);
        durable.count() as u32
    }

    /// Makes sure that a file is whole on the medium before a frame lies in it.
    fn make_durable(&mut self, file: u32) -> Result<()> {
        if self.wholeness[file as usize] == Wholeness::Unsynced {
            self.medium
                .sync_journal(file, Syncer::First)
                .map_err(|e| StoreError::io(format_args!("journal/{file}"), "sync", e))?;
            self.sync_directory()?;
            self.wholeness[file as usize] = Wholeness::Durable;
        }
        Ok(())
    }

    fn sync_directory(&self) -> Result<()> {
        self.medium
            .sync_area(Area::Journal)
            .map_err(|e| StoreError::io("journal/", "sync", e))
    }

    fn header(&self, records: usize, payload_blocks: u32) -> Header {
        Header {
            frame: FrameRef {
                sequence: self.last.sequence + 1,
                ..self.last
            },
            synced_through: self.synced_through,
            manifest: self.manifest,
            records_bytes: records as u32,
            payload_blocks,
            copy: 0,
        }
    }

    /// Writes one frame; `fill` appends the payload. Not durable before [`Ring::sync`] or [`Unsynced::sync`].
    pub(crate) fn write(
        &mut self,
        records: &[u8],
        payload_blocks: u32,
        groups: Vec<(StretchId, u64)>,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        let header = self.header(records.len(), payload_blocks);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(header.frame_bytes() + FRAME_ALIGNMENT);
        // Aligned, it goes past the cache without being copied again.
        let skew = buffer.as_ptr().align_offset(FRAME_ALIGNMENT);
        buffer.resize(skew, 0);
        let chain = encode_head(&header, &self.shape.key, self.last.chain, records, &mut buffer);
        fill(&mut buffer);
        debug_assert_eq!(buffer.len() - skew, header.frame_bytes());
        self.last = FrameRef {
            chain,
            ..header.frame
        };
        let result = self.put(&buffer[skew..], groups);
        self.buffer = buffer;
        result
    }

    fn put(&mut self, frame: &[u8], groups: Vec<(StretchId, u64)>) -> Result<()> {
        if self.place.offset + frame.len() as u64 > self.shape.file_bytes {
            self.place = Place {
                file: self.fresh_file()?,
                offset: 0,
            };
        }
        let Place { file, offset } = self.place;
        self.medium
            .write_journal(file, offset, frame)
            .map_err(|e| StoreError::io(format_args!("journal/{file}"), "write", e))?;
        if self.unsynced.last() != Some(&file) {
            self.unsynced.push(file);
        }
        self.held[file as usize] += 1;
        self.log.push_back(LogFrame {
            place: self.place,
            frame: self.last,
            bytes: frame.len() as u64,
            groups,
        });
        self.place.offset += frame.len() as u64;
        self.counts.frames += 1;
        self.counts.bytes += frame.len() as u64;
        Ok(())
    }

    /// Makes all frames written durable. After an error nothing may be written any more.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let unsynced = self.take_unsynced();
        unsynced.sync(&*self.medium, Syncer::First)?;
        self.synced_through = unsynced.through;
        Ok(())
    }

    /// Returns what was written since this was called last: whoever calls it syncs that.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        let files = std::mem::take(&mut self.unsynced);
        self.counts.syncs += files.len() as u64;
        Unsynced {
            files,
            through: self.last.sequence,
        }
    }

    /// Returns the medium on which it lies.
    pub(crate) fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    /// Forgets the frames before the floor of a manifest that was announced: their files can be used again.
    pub(crate) fn trim(&mut self, floor: &FrameRef) {
        if let Some(at) = self.log.iter().position(|logged| logged.frame == *floor) {
            for logged in self.log.drain(..at) {
                self.held[logged.place.file as usize] -= 1;
            }
        }
    }

    /// Returns the frames that recovery could still need, from the newest manifest's floor on.
    pub(crate) fn log(&self) -> &VecDeque<LogFrame> {
        &self.log
    }
}

/// Files with frames that were not synced, up to one of them.
pub(crate) struct Unsynced {
    files: SmallVec<[u32; 2]>,
    pub(crate) through: u64,
}

impl Unsynced {
    /// Makes them durable. After an error nothing may be written any more.
    pub(crate) fn sync(&self, medium: &dyn Medium, by: Syncer) -> Result<()> {
        for &file in &self.files {
            if planted(Bug::NoSync) {
                continue;
            }
            match medium.sync_journal(file, by) {
                Err(_) if planted(Bug::FsyncRetry) => {}
                result => result.map_err(|e| StoreError::io(format_args!("journal/{file}"), "sync", e))?,
            }
        }
        Ok(())
    }
}

fn add_file(medium: &dyn Medium, file: u32, bytes: u64) -> Result<()> {
    let name = format_args!("journal/{file}").to_string();
    medium
        .create_journal_file(file, bytes)
        .map_err(|e| StoreError::io(&name, "make", e))?;
    medium
        .sync_journal(file, Syncer::First)
        .map_err(|e| StoreError::io(&name, "sync", e))
}

/// Returns the bytes that a frame with these records and blocks takes.
pub(crate) fn frame_bytes(records: usize, blocks: usize) -> usize {
    head_bytes(records) + blocks * crate::block::BLOCK
}

#[cfg(test)]
mod tests;
