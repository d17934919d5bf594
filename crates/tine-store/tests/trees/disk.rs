//! What the store has to show: disks as maps, points of them, and branches that remember what a crash may take back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A disk: which write each block shows; what is absent is zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) size: u64,
    pub(crate) blocks: BTreeMap<u64, u32>,
}

/// A named point, with the number of blocks that were written in the stretch that ends there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Point {
    pub(crate) disk: Disk,
    pub(crate) written: u64,
}

/// What a crash keeps or takes back as a whole.
#[derive(Clone, Debug)]
enum Change {
    Write { blocks: Vec<u64>, id: u32 },
    Clear(Range<u64>),
}

/// What a branch was when it was durable last, and what has changed since.
#[derive(Clone, Debug)]
struct Unflushed {
    blocks: BTreeMap<u64, u32>,
    written: BTreeSet<u64>,
    changed: bool,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Branch {
    pub(crate) now: Disk,
    /// Blocks that were written since the last point and are not zero.
    pub(crate) written: BTreeSet<u64>,
    changed: bool,
    /// The last point before now.
    last: Point,
    pub(crate) origin: Option<Point>,
    pub(crate) snapshots: BTreeMap<String, Point>,
    /// Nobody will miss it after the process has ended.
    pub(crate) is_throwaway: bool,
    unflushed: Option<Box<Unflushed>>,
}

impl Branch {
    /// A new disk, which has no point yet that could serve again.
    pub(crate) fn new(size: u64) -> Self {
        Self {
            now: Disk {
                size,
                blocks: BTreeMap::new(),
            },
            changed: true,
            ..Self::default()
        }
    }

    /// A fork of a point.
    pub(crate) fn on(point: Point) -> Self {
        Self {
            now: point.disk.clone(),
            last: point.clone(),
            origin: Some(point),
            ..Self::default()
        }
    }

    /// A point is made of it, and it is durable; if nothing has changed since the last one, that serves again.
    pub(crate) fn freeze(&mut self) -> Point {
        self.make_durable();
        if self.changed {
            self.last = Point {
                disk: self.now.clone(),
                written: self.written.len() as u64,
            };
            self.written.clear();
            self.changed = false;
        }
        self.last.clone()
    }

    pub(crate) fn make_durable(&mut self) {
        self.unflushed = None;
    }

    pub(crate) fn roll_back(&mut self, point: Point) {
        self.make_durable();
        (self.now, self.last) = (point.disk.clone(), point);
        self.written.clear();
        self.changed = false;
    }

    pub(crate) fn resize(&mut self, size: u64) {
        self.change(Change::Clear(size..u64::MAX));
        self.now.size = size;
        self.make_durable();
    }

    /// A write of consecutive blocks, of which a crash may keep the first ones.
    pub(crate) fn write(&mut self, range: Range<u64>, id: u32) {
        for block in range {
            let blocks = vec![block];
            self.change(Change::Write { blocks, id });
        }
    }

    /// Writes that a crash keeps or takes back together.
    pub(crate) fn write_batch(&mut self, ranges: Vec<Range<u64>>, id: u32) {
        let blocks = ranges.into_iter().flatten().collect();
        self.change(Change::Write { blocks, id });
    }

    pub(crate) fn clear(&mut self, range: Range<u64>) {
        self.change(Change::Clear(range));
    }

    fn change(&mut self, change: Change) {
        let unflushed = self.unflushed.get_or_insert_with(|| {
            Box::new(Unflushed {
                blocks: self.now.blocks.clone(),
                written: self.written.clone(),
                changed: self.changed,
                changes: Vec::new(),
            })
        });
        self.changed = true;
        apply(&mut self.now.blocks, &mut self.written, &change, &mut |_| {});
        unflushed.changes.push(change);
    }

    /// After a crash: goes back to the last of its states since it was durable that shows `found`; `None` if it was never
    /// so.
    pub(crate) fn recover(&mut self, found: &BTreeMap<u64, u32>) -> Option<Recovered> {
        let Some(unflushed) = self.unflushed.take() else {
            return (self.now.blocks == *found).then(Recovered::default);
        };
        let kept = unflushed.longest_that_shows(found)?;
        let Unflushed {
            mut blocks,
            mut written,
            changed,
            changes,
        } = *unflushed;
        let may_be_unchanged = !changed && kept > 0 && blocks == *found;
        for change in &changes[..kept] {
            apply(&mut blocks, &mut written, change, &mut |_| {});
        }
        (self.now.blocks, self.written) = (blocks, written);
        self.changed = changed || kept > 0;
        Some(Recovered {
            lost: changes.len() - kept,
            may_be_unchanged,
        })
    }
}

/// What can be told of a branch after a crash.
#[derive(Clone, Copy, Default)]
pub(crate) struct Recovered {
    /// Changes that were lost.
    pub(crate) lost: usize,
    /// It shows what its last point does, by changes that cleared what was clear or because all are lost: whether that point
    /// would serve again cannot be seen.
    pub(crate) may_be_unchanged: bool,
}

impl Unflushed {
    /// Returns how many of the changes lead to what was found, at the most.
    fn longest_that_shows(&self, found: &BTreeMap<u64, u32>) -> Option<usize> {
        let (mut blocks, mut written) = (self.blocks.clone(), BTreeSet::new());
        let all = found.keys().chain(blocks.keys());
        let mut differing: BTreeSet<u64> = all
            .filter(|block| found.get(block) != blocks.get(block))
            .copied()
            .collect();
        let mut longest = differing.is_empty().then_some(0);
        for (change, kept) in self.changes.iter().zip(1..) {
            let mut touched = Vec::new();
            apply(&mut blocks, &mut written, change, &mut |block| {
                touched.push(block);
            });
            for block in touched {
                if found.get(&block) == blocks.get(&block) {
                    differing.remove(&block);
                } else {
                    differing.insert(block);
                }
            }
            if differing.is_empty() {
                longest = Some(kept);
            }
        }
        longest
    }
}

/// Does a change, and tells each block that it touches.
fn apply(
    blocks: &mut BTreeMap<u64, u32>,
    written: &mut BTreeSet<u64>,
    change: &Change,
    touched: &mut dyn FnMut(u64),
) {
    match change {
        Change::Write { blocks: new, id } => {
            for &block in new {
                blocks.insert(block, *id);
                written.insert(block);
                touched(block);
            }
        }
        Change::Clear(range) => {
            let gone: Vec<u64> = blocks.range(range.clone()).map(|(block, _)| *block).collect();
            for block in gone {
                blocks.remove(&block);
                written.remove(&block);
                touched(block);
            }
        }
    }
}
