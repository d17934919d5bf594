//! The objects that are kept open: a bounded number, those that are read most lately.
//!
//! A clock, as the cache of nodes is: objects go round, and one that was not read since its last turn is closed.
//!
//! Above the bound who reads what is not kept open opens it for that one read; of such reads a bounded number goes on at
//! once, and others wait for one to end.
//!
//! Invariant: nobody ever waits for an object's lock with another's held, nor for one that is being read: who closes
//! or places an object passes over it when it is in use. So it may be held across a read, which spares counting the
//! readers of each object apart.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Condvar, Mutex, RwLock};
use rustix::process::{Resource, getrlimit};

use crate::medium::{Medium, Object, ObjectName};
use crate::segment::table::Segment;
use crate::store::pace::Level;

/// So many at the most, however many descriptors the process may have: each takes a kilobyte or two of the kernel's.
const OPEN_OBJECTS_MAX: u64 = 4096;

/// The object of a segment, while it is open.
#[derive(Default)]
pub(super) struct Place {
    object: RwLock<Option<Arc<dyn Object>>>,
    /// Read since the clock looked last.
    used: AtomicBool,
}

/// What the segments of a store have in common.
pub(super) struct Opened {
    medium: Arc<dyn Medium>,
    max: usize,
    /// How many are open.
    count: AtomicUsize,
    /// The next to be looked at comes first. Some may be gone.
    clock: Mutex<VecDeque<Weak<Segment>>>,
    /// Reads that may still open an object of their own, and who wait for that.
    openings: Mutex<usize>,
    ended: Condvar,
}

/// The right of a read to open an object.
struct Opening<'a>(&'a Opened);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        *self.0.openings.lock() += 1;
        self.0.ended.notify_one();
    }
}

/// Reads that may open an object of their own, beside so many that are kept open.
fn openings_max(max: usize) -> usize {
    (max / 4).max(1)
}

impl Opened {
    pub(super) fn new(medium: Arc<dyn Medium>) -> Self {
        // The other half is for whatever else the process does.
        let half = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        Self::with_max(medium, half.clamp(1, OPEN_OBJECTS_MAX) as usize)
    }

    pub(super) fn with_max(medium: Arc<dyn Medium>, max: usize) -> Self {
        Self {
            medium,
            max,
            count: AtomicUsize::new(0),
            clock: Mutex::default(),
            openings: Mutex::new(openings_max(max)),
            ended: Condvar::new(),
        }
    }

    /// Returns how many objects are open, how many are kept so, and how many there are at the most.
    pub(super) fn level(&self) -> Level {
        let openings = openings_max(self.max);
        let now = self.count.load(Ordering::Relaxed) + (openings - *self.openings.lock());
        Level {
            now: now as u64,
            soft: self.max as u64,
            hard: (self.max + openings) as u64,
        }
    }

    /// Removes an object that is no part of the store. What cannot be removed is an orphan, which the next opening removes.
    pub(super) fn remove(&self, name: ObjectName) {
        if self.medium.can_overwrite() {
            let _ = self.medium.remove_object(name);
        }
    }

    /// Waits for the right to open an object. Whoever has it waits for no other.
    fn opening(&self) -> Opening<'_> {
        let mut openings = self.openings.lock();
        while *openings == 0 {
            self.ended.wait(&mut openings);
        }
        *openings -= 1;
        Opening(self)
    }

    /// Reads from a segment's object, which is opened if it is not, and then kept open.
    pub(super) fn read<T>(
        &self,
        segment: &Segment,
        name: ObjectName,
        read: impl FnOnce(&dyn Object) -> io::Result<T>,
    ) -> io::Result<T> {
        let place = &segment.place;
        if let Some(object) = &*place.object.read() {
            // Written only if that is news, so that readers do not contend.
            if !place.used.load(Ordering::Relaxed) {
                place.used.store(true, Ordering::Relaxed);
            }
            return read(&**object);
        }
        let _opening = self.opening();
        let object = self.medium.open_object(name)?;
        self.keep(segment, &object);
        read(&*object)
    }

    /// Keeps an object open. If there is no room, as all others are being read, it is opened anew when it is read
    /// next: slower, but never out of descriptors.
    fn keep(&self, segment: &Segment, object: &Arc<dyn Object>) {
        let mut clock = self.clock.lock();
        if !self.make_room(&mut clock) {
            return;
        }
        if let Some(mut place) = segment.place.object.try_write()
            && place.is_none()
        {
            *place = Some(Arc::clone(object));
            self.count.fetch_add(1, Ordering::Relaxed);
            clock.push_back(Weak::clone(&segment.this));
        }
        // Segments come and go without their turn ever coming.
        if clock.len() > 2 * self.max {
            clock.retain(|segment| segment.strong_count() > 0);
        }
    }

    /// Closes objects until one more may be opened. Twice round at the most: the first turn takes all marks away.
    fn make_room(&self, clock: &mut VecDeque<Weak<Segment>>) -> bool {
        for _ in 0..2 * clock.len() {
            if self.count.load(Ordering::Relaxed) < self.max {
                break;
            }
            let Some(oldest) = clock.pop_front() else { break };
            let Some(segment) = oldest.upgrade() else { continue };
            let place = &segment.place;
            let closed = !place.used.swap(false, Ordering::Relaxed)
                && place.object.try_write().is_some_and(|mut object| {
                    *object = None;
                    self.count.fetch_sub(1, Ordering::Relaxed);
                    true
                });
            if !closed {
                clock.push_back(oldest);
            }
        }
        self.count.load(Ordering::Relaxed) < self.max
    }

    /// Takes note that a segment goes, and its object with it.
    pub(super) fn forget(&self, place: &mut Place) {
        if place.object.get_mut().is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Goal: never more objects are open than may be, whoever reads what; what is read always is right; and what is
    //! read again and again stays open.
    //! Method: real files, whose descriptors are counted.

    use std::fs;
    use std::path::Path;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::medium::{DirectoryMedium, Reading, Writing};
    use crate::segment::SegmentId;
    use crate::segment::table::SegmentTable;

    const MAX: usize = 4;

    fn id(counter: u32) -> SegmentId {
        SegmentId { epoch: 1, counter }
    }

    /// A table of segments that may keep [`MAX`] of them open; each has its own number as its only byte.
    fn table(root: &Path, count: u8) -> SegmentTable {
        let medium = Arc::new(DirectoryMedium::create(root).unwrap().unwrap());
        for number in 0..count {
            let name = ObjectName::Segment(id(u32::from(number)));
            let mut writer = medium.create_object(name, Writing::Cached).unwrap();
            writer.append(&[number]).unwrap();
            writer.sync().unwrap();
        }
        SegmentTable::keeping(Opened::with_max(medium, MAX))
    }

    fn read(segment: &Segment) {
        let mut byte = [0];
        segment.read(&mut byte, 0, Reading::Cached).unwrap();
        assert_eq!(u32::from(byte[0]), segment.id.counter);
    }

    fn descriptors(root: &Path) -> usize {
        let segments = root.join("segments");
        let all = fs::read_dir("/proc/self/fd").unwrap();
        all.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .filter(|path| path.starts_with(&segments))
            .count()
    }

    #[test]
    fn what_is_read_often_stays_open_and_the_others_take_turns() {
        let root = tempfile::tempdir().unwrap();
        let table = table(root.path(), 20);
        let segments: Vec<_> = (0..20).map(|number| table.handle(id(number))).collect();
        read(&segments[0]);
        for round in 0..5 {
            for segment in &segments[1..] {
                read(segment);
                let is_open = segments[0].place.object.read().is_some();
                assert!(is_open, "in round {round}, after {}", segment.id);
                read(&segments[0]);
                assert!(descriptors(root.path()) <= MAX);
            }
        }
        assert_eq!(descriptors(root.path()), MAX, "there is room for that many");
        drop(segments);
        assert_eq!(descriptors(root.path()), 0);
    }

    #[test]
    fn segments_that_go_make_room_and_leave_nothing_behind() {
        let root = tempfile::tempdir().unwrap();
        let table = table(root.path(), 1);
        let mut opened = None;
        for _ in 0..1000 {
            let segment = table.handle(id(0));
            read(&segment);
            assert!(segment.place.object.read().is_some());
            opened = Some(Arc::clone(segment.opened()));
        }
        let opened = opened.unwrap();
        assert_eq!(opened.count.load(Ordering::Relaxed), 0);
        assert!(opened.clock.lock().len() <= 2 * MAX);
    }

    #[test]
    fn many_who_read_at_once_read_the_right_bytes_and_keep_the_bound() {
        const THREADS: u64 = 4;
        let root = tempfile::tempdir().unwrap();
        let table = table(root.path(), 12);
        let segments: Vec<_> = (0..12).map(|number| table.handle(id(number))).collect();
        let reads = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (segments, reads) = (&segments, &reads);
                scope.spawn(move || {
                    for number in 0..5000 {
                        let next = (number * (thread + 1) + number / 7) as usize % segments.len();
                        read(&segments[if number % 3 == 0 { thread as usize } else { next }]);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            scope.spawn(|| {
                while reads.load(Ordering::Relaxed) < THREADS * 5000 {
                    // One who reads may hold one that is not kept.
                    assert!(descriptors(root.path()) <= MAX + 1);
                    std::thread::yield_now();
                }
            });
        });
        let open = segments
            .iter()
            .filter(|segment| segment.place.object.read().is_some());
        assert_eq!(open.count(), MAX);
        assert_eq!(descriptors(root.path()), MAX);
        assert_eq!(segments[0].opened().count.load(Ordering::Relaxed), MAX);
    }
}
