//! The process side: the handle that the engine works with.

use std::hash::Hash;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, MutexGuard};

use super::file::{FileBytes, PAGE, Sight};
use super::{Digester, Fault, FileName, Shared, State, Violation};
use crate::medium::{Area, Medium, Object, ObjectName, ObjectWriter, Reading, Syncer, Writing};
use crate::segment::SegmentId;

/// One process that has the medium open.
pub(super) struct Process {
    shared: Arc<Shared>,
    session: u64,
    lease: Mutex<Option<Lease>>,
}

/// What a reader keeps, as long as it has the medium.
struct Lease {
    shared: Arc<Shared>,
    session: u64,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.state.lock().readers.remove(&self.session);
    }
}

/// How far an operation that changes something comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Whole,
    /// The process dies during it.
    Crash,
    /// It fails.
    Failure,
}

/// The call kinds that faults tell apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Sync,
    Name,
}

fn failure(what: &str) -> io::Error {
    io::Error::other(format!("simulated: {what}"))
}

impl Process {
    pub(super) fn new(shared: Arc<Shared>, session: u64) -> Self {
        Self {
            shared,
            session,
            lease: Mutex::new(None),
        }
    }

    /// Enters an operation that changes nothing on the medium.
    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shared.state.lock();
        let is_writer = state.session == self.session && !state.crashed;
        if !is_writer && !state.readers.contains_key(&self.session) {
            return Err(failure("the process has ended"));
        }
        Ok(state)
    }

    /// Enters an operation of who has the medium alone.
    fn writer(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        if state.readers.contains_key(&self.session) {
            return Err(state.violate(Violation::ChangedByReader, io::ErrorKind::PermissionDenied));
        }
        Ok(state)
    }

    /// Enters an operation that changes something.
    fn change(&self, kind: Kind) -> io::Result<(MutexGuard<'_, State>, Course)> {
        self.shared.interrupt();
        let mut state = self.writer()?;
        if std::mem::take(&mut state.delayed) {
            state
                .files
                .values_mut()
                .for_each(|file| Arc::make_mut(file).arrive());
        }
        state.record();
        state.counters.operations += 1;
        if state.fails(Fault::Crash) {
            state.crashed = true;
            return Ok((state, Course::Crash));
        }
        let fails = match kind {
            Kind::Write => {
                state.counters.writes += 1;
                state.fails(Fault::Write)
            }
            Kind::Sync => {
                state.counters.syncs += 1;
                state.fails(Fault::Sync)
            }
            Kind::Name => false,
        };
        Ok((state, if fails { Course::Failure } else { Course::Whole }))
    }

    fn read(&self, length: usize) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.alive()?;
        state.counters.reads += 1;
        state.counters.read_bytes += length as u64;
        if state.fails(Fault::Read) {
            Err(failure("a read failed"))
        } else {
            Ok(state)
        }
    }
}

impl Course {
    fn result(self) -> io::Result<()> {
        match self {
            Self::Whole => Ok(()),
            Self::Crash => Err(failure("the process has ended")),
            Self::Failure => Err(failure("input/output error")),
        }
    }
}

impl State {
    /// Writes into a file, or a part of it when the call does not end well.
    fn write_file(&mut self, id: u64, offset: u64, bytes: &[u8], course: Course) -> io::Result<()> {
        let bytes = match course {
            Course::Whole => bytes,
            // Whole pages of it: nothing, everything, or half.
            _ => {
                let pages = bytes.len() / PAGE;
                let done = [0, pages, pages / 2][self.chooser.choose(3)] * PAGE;
                &bytes[..done]
            }
        };
        self.counters.written_bytes += bytes.len() as u64;
        if let Some(file) = self.files.get_mut(&id).filter(|_| !bytes.is_empty()) {
            Arc::make_mut(file).write(offset, bytes);
        }
        course.result()
    }

    fn sync_file(&mut self, id: u64, course: Course) -> io::Result<()> {
        let State { files, chooser, .. } = self;
        if let Some(file) = files.get_mut(&id).filter(|file| file.is_dirty()) {
            match course {
                Course::Whole => Arc::make_mut(file).sync(),
                Course::Failure => Arc::make_mut(file).fail_sync(chooser),
                Course::Crash => {}
            }
        }
        course.result()
    }

    fn need_space(&self, bytes: u64) -> io::Result<()> {
        if bytes > self.free_bytes() {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        }
    }

    /// Returns the journal file that a range lies in.
    fn journal_range(&mut self, file: u32, offset: u64, length: usize) -> io::Result<u64> {
        if !offset.is_multiple_of(PAGE as u64) || !length.is_multiple_of(PAGE) {
            return Err(self.violate(
                Violation::Misaligned { file, offset, length },
                io::ErrorKind::InvalidInput,
            ));
        }
        let found = self
            .cached(FileName::Journal(file))
            .filter(|_| file < self.ring_files);
        match found {
            Some(id) => Ok(id),
            None => Err(self.violate(
                Violation::OutsideJournal { file, offset },
                io::ErrorKind::NotFound,
            )),
        }
    }
}

impl Medium for Process {
    fn create_object(&self, name: ObjectName, _: Writing) -> io::Result<Box<dyn ObjectWriter>> {
        let (mut state, course) = self.change(Kind::Name)?;
        if state.cached(FileName::Object(name)).is_some() {
            return Err(state.violate(Violation::MadeTwice(name), io::ErrorKind::AlreadyExists));
        }
        course.result()?;
        let id = state.new_file(FileBytes::default());
        // The parameters appear whole, when they are synced.
        if name != ObjectName::Parameters {
            state.name_file(FileName::Object(name), Some(id));
        }
        let process = Self::new(Arc::clone(&self.shared), self.session);
        Ok(Box::new(Writer {
            process,
            name,
            id,
            length: 0,
            synced: false,
        }))
    }

    fn reads_unfinished(&self) -> bool {
        true
    }

    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>> {
        let mut state = self.alive()?;
        let Some(id) = state.cached(FileName::Object(name)) else {
            return Err(state.violate(Violation::Absent(name), io::ErrorKind::NotFound));
        };
        let process = Self::new(Arc::clone(&self.shared), self.session);
        Ok(Arc::new(OpenObject { process, name, id }))
    }

    fn remove_object(&self, name: ObjectName) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Name)?;
        if state.cached(FileName::Object(name)).is_none() {
            return Err(state.violate(Violation::Absent(name), io::ErrorKind::NotFound));
        }
        if state.options.write_once {
            return Err(state.violate(Violation::Removed(name), io::ErrorKind::PermissionDenied));
        }
        course.result()?;
        state.name_file(FileName::Object(name), None);
        Ok(())
    }

    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>> {
        let state = self.alive()?;
        let named = state.entries.iter().filter(|(_, entry)| entry.cached.is_some());
        Ok(named
            .filter_map(|(name, _)| match name {
                FileName::Object(name) if name.area() == area => Some(*name),
                _ => None,
            })
            .collect())
    }

    fn sync_area(&self, area: Area) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Sync)?;
        match course {
            Course::Whole => state.sync_names(area),
            Course::Failure => state.fail_names(area),
            Course::Crash => {}
        }
        course.result()
    }

    fn journal_files(&self) -> io::Result<u32> {
        Ok(self.alive()?.ring_files)
    }

    fn journal_file_bytes(&self, file: u32) -> io::Result<u64> {
        let mut state = self.alive()?;
        let id = state.journal_range(file, 0, 0)?;
        Ok(state.files[&id].length())
    }

    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Write)?;
        let name = FileName::Journal(file);
        let length = state.cached(name).map_or(0, |id| state.files[&id].length());
        // Only a file that was left short may be made again.
        if file > state.ring_files || length >= bytes {
            let violation = Violation::OutsideJournal { file, offset: 0 };
            return Err(state.violate(violation, io::ErrorKind::InvalidInput));
        }
        state.need_space(bytes - length)?;
        course.result()?;
        if let Some(short) = state.file_mut(name) {
            *short = FileBytes::zeroes(bytes);
        } else {
            let id = state.new_file(FileBytes::zeroes(bytes));
            state.name_file(name, Some(id));
        }
        state.ring_files = state.ring_files.max(file + 1);
        state.counters.written_bytes += bytes;
        Ok(())
    }

    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Write)?;
        let id = state.journal_range(file, offset, bytes.len())?;
        if offset + bytes.len() as u64 > state.files[&id].length() {
            return Err(state.violate(
                Violation::OutsideJournal { file, offset },
                io::ErrorKind::InvalidInput,
            ));
        }
        let mut pages = (offset as usize / PAGE)..(offset as usize + bytes.len()) / PAGE;
        if let Some(page) = pages.find(|&page| state.options.write_once && state.files[&id].is_written(page))
        {
            let violation = Violation::Overwritten {
                file,
                offset: (page * PAGE) as u64,
            };
            return Err(state.violate(violation, io::ErrorKind::PermissionDenied));
        }
        state.write_file(id, offset, bytes, course)
    }

    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Sync)?;
        state.counters.journal_syncs += 1;
        let id = state.journal_range(file, 0, 0)?;
        if state.untold[by as usize].remove(&id) {
            return Err(io::Error::other("what was written before is lost"));
        }
        let result = state.sync_file(id, course);
        if course == Course::Failure {
            state.untold[1 - by as usize].insert(id);
        }
        result
    }

    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut state = self.read(bytes.len())?;
        let id = state.journal_range(file, offset, bytes.len())?;
        state.files[&id].read(bytes, offset, Sight::PastCache)
    }

    fn can_overwrite(&self) -> bool {
        !self.shared.state.lock().options.write_once
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.alive()?.free_bytes())
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.writer()?;
        if bytes > state.free_bytes().saturating_add(state.reserved) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.reserved = bytes;
        Ok(())
    }

    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()> {
        let (mut state, course) = self.change(Kind::Write)?;
        course.result()?;
        state.readers.insert(self.session, kept.to_vec());
        state.end_process();
        drop(state);
        *self.lease.lock() = Some(Lease {
            shared: Arc::clone(&self.shared),
            session: self.session,
        });
        Ok(())
    }

    fn leased(&self) -> io::Result<Vec<SegmentId>> {
        Ok(self.writer()?.readers.values().flatten().copied().collect())
    }

    /// Derives them from what the medium was when the process began. So histories repeat to the last byte and processes
    /// that begin alike go on alike; and no number was drawn before in any past that this medium still shows, since what
    /// was written in between has changed the digest.
    fn random_bits(&self) -> io::Result<[u8; 16]> {
        let mut state = self.alive()?;
        state.draws += 1;
        let mut digester = Digester::default();
        (state.begun, state.draws).hash(&mut digester);
        Ok(digester.digest().to_le_bytes())
    }

    /// It is always the same moment.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1)
    }
}

struct Writer {
    process: Process,
    name: ObjectName,
    id: u64,
    length: u64,
    synced: bool,
}

impl ObjectWriter for Writer {
    fn append_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        let bytes = &pieces.iter().map(|piece| &**piece).collect::<Vec<_>>().concat()[..];
        let (mut state, course) = self.process.change(Kind::Write)?;
        if self.synced {
            return Err(state.violate(
                Violation::AppendedAfterSync(self.name),
                io::ErrorKind::InvalidInput,
            ));
        }
        let end = self.length + bytes.len() as u64;
        state.need_space(end.next_multiple_of(4096) - self.length.next_multiple_of(4096))?;
        state.write_file(self.id, self.length, bytes, course)?;
        self.length = end;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut state, course) = self.process.change(Kind::Sync)?;
        self.synced = true;
        state.sync_file(self.id, course)?;
        if self.name == ObjectName::Parameters && state.cached(FileName::Object(self.name)) != Some(self.id) {
            state.name_file(FileName::Object(self.name), Some(self.id));
        }
        Ok(())
    }
}

struct OpenObject {
    process: Process,
    name: ObjectName,
    id: u64,
}

impl Object for OpenObject {
    fn length(&self) -> io::Result<u64> {
        Ok(self.process.alive()?.files[&self.id].length())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        if reading == Reading::AtHand && !is_at_hand(offset) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut state = self.process.read(bytes.len())?;
        let sight = match reading {
            Reading::Cached | Reading::AtHand => Sight::Cache,
            Reading::PastCache => Sight::PastCache,
        };
        let result = state.files[&self.id].read(bytes, offset, sight);
        if result.is_err() {
            state.violations.push(Violation::BeyondEnd(self.name));
        }
        result
    }

    fn will_read(&self, range: Range<u64>) {
        if let Ok(mut state) = self.process.alive()
            && state.files[&self.id].length() < range.end
        {
            state.violations.push(Violation::BeyondEnd(self.name));
        }
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, course) = self.process.change(Kind::Sync)?;
        state.sync_file(self.id, course)
    }
}

/// What a cache has is chance, but the same in every run.
fn is_at_hand(offset: u64) -> bool {
    !(offset / 4096).is_multiple_of(3)
}
