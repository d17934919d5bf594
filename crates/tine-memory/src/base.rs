//! Bases: frozen images that regions share, and how they descend from each other.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::pages::{PageRange, Runs};
use crate::sys::{Image, Mapping};

/// How long a line of bases is kept: beyond, two bases are compared by all they hold.
const LINE_MAX: usize = 1024;

/// How many runs of pages a line keeps, 1 MiB of them: beyond, likewise.
const LINE_RUNS_MAX: usize = 65_536;

/// An image that any number of regions are mapped from.
///
/// Invariant: the image is written only through `&mut Base`, so by a region that alone refers to it.
pub(crate) struct Base {
    image: Image,
    line: Arc<Line>,
    /// The mapping through which the image was first written, if it was: its page tables go when the base goes.
    aside: Mutex<Option<Mapping>>,
}

/// A state of a base, and what it changed of the one before. It outlives the base, so that descendants can still tell what
/// they share.
struct Line {
    id: u64,
    depth: usize,
    /// How many runs this and all before it have.
    runs: usize,
    before: Option<(Arc<Line>, Runs)>,
}

impl Line {
    fn new(before: Option<(Arc<Line>, Runs)>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (depth, runs) = before.as_ref().map_or((0, 0), |(line, changed)| {
            (line.depth + 1, line.runs + changed.iter().count())
        });
        let is_kept = depth <= LINE_MAX && runs <= LINE_RUNS_MAX;
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            depth: if is_kept { depth } else { 0 },
            runs: if is_kept { runs } else { 0 },
            before: before.filter(|_| is_kept),
        })
    }

    /// Returns this state and those before it.
    fn back(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |line| {
            line.before.as_ref().map(|(before, _)| &**before)
        })
    }

    /// Returns what was changed since the state `id`, in any order.
    fn since(&self, id: u64) -> impl Iterator<Item = PageRange> {
        self.back()
            .take_while(move |line| line.id != id)
            .flat_map(|line| line.before.iter().flat_map(|(_, changed)| changed.iter()))
    }
}

impl Base {
    /// Makes a base of an image that descends from no other.
    pub(crate) fn new(image: Image) -> Self {
        Self {
            image,
            line: Line::new(None),
            aside: Mutex::default(),
        }
    }

    /// Makes a base of an image that has the content of `self` but for the pages `changed`.
    pub(crate) fn descend(&self, image: Image, changed: Runs) -> Self {
        Self {
            image,
            line: Line::new(Some((Arc::clone(&self.line), changed))),
            aside: Mutex::default(),
        }
    }

    /// Keeps a mapping of the image until the base goes.
    pub(crate) fn keep(&mut self, aside: Option<Mapping>) {
        self.aside = Mutex::new(aside);
    }

    /// Returns the image's descriptor for another process; nobody can write the image any more. O(pages in memory).
    pub(crate) fn seal(&self) -> Result<OwnedFd> {
        // The kernel seals nothing that is mapped to be written.
        drop(self.aside.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.image.seal()
    }

    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Returns the image, to change it before anything descends from it.
    pub(crate) fn image_mut(&mut self) -> &mut Image {
        &mut self.image
    }

    /// Returns the image, to change the pages `changed` in it.
    pub(crate) fn amend(&mut self, changed: Runs) -> &mut Image {
        self.line = Line::new(Some((Arc::clone(&self.line), changed)));
        &mut self.image
    }

    /// Returns the number of this state: no other base has had it in this process.
    pub(crate) fn id(&self) -> u64 {
        self.line.id
    }

    /// Returns pages outside of which two bases are equal. O(what was changed since they were one), or, when they never were, O(all
    /// that they hold).
    pub(crate) fn may_differ(&self, other: &Self) -> Result<Runs> {
        if self.line.id == other.line.id {
            return Ok(Runs::default());
        }
        let ours: HashSet<u64> = self.line.back().map(|line| line.id).collect();
        let Some(common) = other.line.back().find(|line| ours.contains(&line.id)) else {
            return Ok(self.image.data()?.union(&other.image.data()?));
        };
        let mut changed: Vec<_> = self.line.since(common.id).collect();
        changed.extend(other.line.since(common.id));
        changed.sort_unstable_by_key(|run| run.first);
        Ok(changed.iter().map(PageRange::pages).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pages::PAGE_BYTES;

    fn every_second(first: usize, count: usize) -> Runs {
        (0..count)
            .map(|run| first + 2 * run..first + 2 * run + 1)
            .collect()
    }

    fn base() -> Base {
        Base::new(Image::zeroed(PAGE_BYTES).unwrap())
    }

    #[test]
    fn bases_differ_where_they_were_changed_since_they_were_one() {
        let mut one = base();
        one.amend(every_second(100, 2));
        let mut other = one.descend(Image::zeroed(PAGE_BYTES).unwrap(), every_second(7, 1));
        other.amend(every_second(5, 1));
        one.amend(every_second(0, 2));
        one.amend(every_second(2, 2));
        let differ: Vec<_> = one.may_differ(&other).unwrap().pages().collect();
        assert_eq!(differ, [0, 2, 4, 5, 7]);
        assert_eq!(other.may_differ(&one).unwrap().count(), 5);
        assert!(one.may_differ(&base()).unwrap().is_empty());
    }

    #[test]
    fn a_line_does_not_grow_without_bound() {
        let mut base = base();
        for _ in 0..10 {
            base.amend(every_second(0, 20_000));
            assert!(base.line.since(0).count() <= LINE_RUNS_MAX);
        }
        for _ in 0..3 * LINE_MAX {
            base.amend(every_second(0, 1));
            assert!(base.line.back().count() <= LINE_MAX + 1);
        }
    }
}
