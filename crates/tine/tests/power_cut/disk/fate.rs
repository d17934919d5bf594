//! What becomes of the unsynced changes at a power cut.

use crate::random::Random;

/// How a power cut chooses among the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survival {
    /// Nothing unsynced is on the medium: the disk held everything back.
    Nothing,
    /// Everything is there, as though all had been synced.
    Everything,
    /// Each change is there or not, by itself; a page is whole.
    Pages,
    /// Each change is there or not, by itself; a page may be torn between two sectors.
    Sectors,
    /// What was changed first is there, and nothing that was changed later.
    Prefix,
}

impl Survival {
    /// All ways.
    pub(crate) const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Everything,
        Self::Pages,
        Self::Sectors,
        Self::Prefix,
    ];
}

/// The decisions of one power cut.
#[derive(Debug)]
pub(crate) struct Fate {
    survival: Survival,
    random: Random,
    /// Of a hundred changes decided one by one, so many survive.
    percent: u64,
    /// With [`Survival::Prefix`]: the first change that is lost.
    first_lost: u64,
}

impl Fate {
    /// Decides about the changes numbered `first..end`, which are all that are unsynced.
    pub(crate) fn new(survival: Survival, mut random: Random, changes: std::ops::Range<u64>) -> Self {
        let percent = *random.pick(&[10, 50, 90]);
        let first_lost = changes.start + random.below(changes.end.saturating_sub(changes.start) + 1);
        Self {
            survival,
            random,
            percent,
            first_lost,
        }
    }

    /// Returns whether pages are torn.
    pub(crate) fn tears(&self) -> bool {
        self.survival == Survival::Sectors
    }

    /// Decides about (a part of) the change numbered `order`.
    pub(crate) fn keeps(&mut self, order: u64) -> bool {
        match self.survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Pages | Survival::Sectors => self.random.chance(self.percent),
            Survival::Prefix => order < self.first_lost,
        }
    }
}
