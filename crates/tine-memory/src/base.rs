//! Bases: frozen images that regions share, and how they descend from each other.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::pages::Runs;
use crate::sys::{Image, Mapping};

/// How long a line of bases is kept: beyond, two bases are compared by all they hold.
const LINE_MAX: usize = 1024;

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
    before: Option<(Arc<Line>, Runs)>,
}

impl Line {
    fn new(before: Option<(Arc<Line>, Runs)>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let before = before.filter(|(line, _)| line.depth < LINE_MAX);
        Arc::new(Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            depth: before.as_ref().map_or(0, |(line, _)| line.depth + 1),
            before,
        })
    }

    /// Returns this state and those before it, with all the pages changed on the way back to each.
    fn back(self: &Arc<Self>) -> impl Iterator<Item = (u64, Runs)> {
        let mut next = Some((self, Runs::default()));
        std::iter::from_fn(move || {
            let (line, changed) = next.take()?;
            next = line
                .before
                .as_ref()
                .map(|(before, runs)| (before, changed.union(runs)));
            Some((line.id, changed))
        })
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
        let ours: HashMap<_, _> = self.line.back().collect();
        let common = other
            .line
            .back()
            .find_map(|(id, theirs)| Some(ours.get(&id)?.union(&theirs)));
        common.map_or_else(|| Ok(self.image.data()?.union(&other.image.data()?)), Ok)
    }
}
