//! A medium that counts what goes through it: syncs and bytes tell more than time where a sync happens to be cheap.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tine_store::medium::{Area, Medium, Object, ObjectName, ObjectWriter, Reading, Syncer, Writing};
use tine_store::segment::SegmentId;

use bench_measure::Effort;

/// What went to the disk so far.
#[derive(Default)]
pub(crate) struct Counts {
    syncs: AtomicU64,
    bytes: AtomicU64,
}

/// What had gone to the disk at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    syncs: u64,
    bytes: u64,
}

impl Counts {
    fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            syncs: self.syncs.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Returns what each of the `operations` since `mark` cost.
    pub(crate) fn since(&self, mark: Mark, operations: u64) -> Effort {
        let now = self.mark();
        Effort::of(now.syncs - mark.syncs, now.bytes - mark.bytes, operations)
    }
}

/// A medium that counts. Every call is passed on as it is, one atomic addition dearer.
pub(crate) struct CountingMedium<M> {
    pub(crate) medium: M,
    pub(crate) counts: Arc<Counts>,
}

struct CountingWriter {
    writer: Box<dyn ObjectWriter>,
    counts: Arc<Counts>,
}

impl ObjectWriter for CountingWriter {
    fn append_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.counts.wrote(pieces.iter().map(|piece| piece.len()).sum());
        self.writer.append_pieces(pieces)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.counts.synced();
        self.writer.sync()
    }
}

struct CountingObject {
    object: Arc<dyn Object>,
    counts: Arc<Counts>,
}

impl Object for CountingObject {
    fn length(&self) -> io::Result<u64> {
        self.object.length()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()> {
        self.object.read_at(bytes, offset, reading)
    }

    fn read_scattered(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        offset: u64,
        reading: Reading,
    ) -> io::Result<()> {
        self.object.read_scattered(buffers, offset, reading)
    }

    fn will_read(&self, range: Range<u64>) {
        self.object.will_read(range);
    }

    fn sync(&self) -> io::Result<()> {
        self.counts.synced();
        self.object.sync()
    }
}

impl<M: Medium> Medium for CountingMedium<M> {
    fn create_object(&self, name: ObjectName, writing: Writing) -> io::Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(CountingWriter {
            writer: self.medium.create_object(name, writing)?,
            counts: Arc::clone(&self.counts),
        }))
    }

    fn reads_unfinished(&self) -> bool {
        self.medium.reads_unfinished()
    }

    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>> {
        Ok(Arc::new(CountingObject {
            object: self.medium.open_object(name)?,
            counts: Arc::clone(&self.counts),
        }))
    }

    fn remove_object(&self, name: ObjectName) -> io::Result<()> {
        self.medium.remove_object(name)
    }

    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>> {
        self.medium.list_objects(area)
    }

    fn sync_area(&self, area: Area) -> io::Result<()> {
        self.counts.synced();
        self.medium.sync_area(area)
    }

    fn journal_files(&self) -> io::Result<u32> {
        self.medium.journal_files()
    }

    fn journal_file_bytes(&self, file: u32) -> io::Result<u64> {
        self.medium.journal_file_bytes(file)
    }

    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()> {
        self.counts.wrote(bytes as usize);
        self.medium.create_journal_file(file, bytes)
    }

    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.counts.wrote(bytes.len());
        self.medium.write_journal(file, offset, bytes)
    }

    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()> {
        self.counts.synced();
        self.medium.sync_journal(file, by)
    }

    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.medium.read_journal(file, offset, bytes)
    }

    fn can_overwrite(&self) -> bool {
        self.medium.can_overwrite()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.medium.free_bytes()
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.medium.reserve(bytes)
    }

    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()> {
        self.medium.become_reader(kept)
    }

    fn leased(&self) -> io::Result<Vec<SegmentId>> {
        self.medium.leased()
    }
}
