//! What a guest has told of its disk, and so what has to be found there after whatever happens to the machine.
//!
//! What it said is done was synced, so it is there. What it began and has not done may be there as it was before, as it
//! was to become, or in part. Nothing else is there.

use std::collections::{BTreeMap, BTreeSet};

use crate::guest::{Deed, Guest};

/// What is known of a disk.
#[derive(Clone)]
pub(crate) struct Told {
    /// The sum of each file that is there.
    sums: BTreeMap<String, String>,
    /// What may be anything, or nothing.
    unknown: BTreeSet<String>,
}

impl Told {
    /// Knows what is on a disk.
    pub(crate) fn of(sums: BTreeMap<String, String>) -> Self {
        Self {
            sums,
            unknown: BTreeSet::new(),
        }
    }

    /// Listens to a guest that writes until it has done so many things more. Returns what it touched.
    pub(crate) fn listen(&mut self, guest: &Guest, deeds: usize) -> BTreeSet<String> {
        let mut touched = BTreeSet::new();
        let mut done = 0;
        while done < deeds {
            match guest.deed() {
                Some(deed @ (Deed::Begin(_) | Deed::Done(..))) => {
                    done += usize::from(matches!(deed, Deed::Done(..)));
                    touched.insert(self.hear(deed));
                }
                end => panic!("the guest stopped with {end:?}: {}", guest.console()),
            }
        }
        touched
    }

    /// Listens to a guest that writes until it is in the midst of something.
    pub(crate) fn listen_into_midst(&mut self, guest: &Guest, deeds: usize) {
        self.listen(guest, deeds);
        while self.unknown.is_empty() {
            match guest.deed() {
                Some(deed @ Deed::Begin(_)) => self.hear(deed),
                other => panic!("the guest did not go on but {other:?}: {}", guest.console()),
            };
        }
    }

    /// Listens to a guest that writes until it has done all of it.
    pub(crate) fn listen_to_end(&mut self, guest: &Guest) {
        while let Some(deed) = guest.deed() {
            assert!(
                !matches!(deed, Deed::Failed),
                "the guest failed: {}",
                guest.console()
            );
            self.hear(deed);
        }
        assert!(self.unknown.is_empty(), "{:?}", self.unknown);
    }

    /// Listens to a guest that writes until it cannot go on.
    pub(crate) fn listen_to_failure(&mut self, guest: &Guest) {
        loop {
            match guest.deed() {
                Some(Deed::Failed) => return,
                Some(deed) => self.hear(deed),
                None => panic!("the guest was to fail"),
            };
        }
    }

    /// Cuts a guest off, and hears what it did until then: it did not wait for who listens. Returns what that touched.
    pub(crate) fn listen_to_cut(&mut self, guest: Guest) -> BTreeSet<String> {
        let deeds = guest.cut_off().into_iter();
        deeds
            .filter(|deed| !matches!(deed, Deed::Failed))
            .map(|deed| self.hear(deed))
            .collect()
    }

    /// Returns what is still known if these may be anything.
    pub(crate) fn but_for(mut self, touched: BTreeSet<String>) -> Self {
        self.unknown.extend(touched);
        self
    }

    /// Makes sure that a disk is what is known of it, and knows all of it then.
    pub(crate) fn check(&mut self, seen: BTreeMap<String, String>) {
        let known = self.sums.iter().filter(|(path, _)| !self.unknown.contains(*path));
        let lost: Vec<_> = known
            .filter(|(path, sum)| seen.get(*path) != Some(sum))
            .map(|(path, sum)| format!("{path}: {sum}, found {:?}", seen.get(path)))
            .collect();
        let new: Vec<_> = seen
            .keys()
            .filter(|path| !self.sums.contains_key(*path) && !self.unknown.contains(*path))
            .collect();
        assert!(
            lost.is_empty() && new.is_empty(),
            "synced and not there: {lost:#?}; nobody wrote: {new:?}; under way: {:?}",
            self.unknown
        );
        *self = Self::of(seen);
    }

    /// Hears of a deed, and returns what it is about.
    fn hear(&mut self, deed: Deed) -> String {
        match deed {
            Deed::Begin(path) => {
                self.unknown.insert(path.clone());
                path
            }
            Deed::Done(path, sum) => {
                self.unknown.remove(&path);
                match sum {
                    Some(sum) => self.sums.insert(path.clone(), sum),
                    None => self.sums.remove(&path),
                };
                path
            }
            Deed::Failed => unreachable!("who listens looks for it"),
        }
    }
}
