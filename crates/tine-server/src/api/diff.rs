//! `diff`: the ranges in which two disks differ.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use tine_store::{Diff as Comparison, DiffRange, State, Store, StoreError, Target};

use super::{Failure, LongRequest, Method, Step, Tell};
use crate::Daemon;

/// Compares two disks.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diff {
    /// The one.
    pub a: Target,
    /// The other.
    pub b: Target,
    /// Only whether they differ: ends at the first range.
    #[serde(default)]
    pub whether: bool,
}

/// How much two disks differ.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The one.
    pub a: Target,
    /// The other.
    pub b: Target,
    /// The size of the one in bytes.
    pub a_size: u64,
    /// The size of the other in bytes.
    pub b_size: u64,
    /// The ranges in which they differ.
    pub ranges: u64,
    /// The bytes in them.
    pub bytes: u64,
}

impl LongRequest for Diff {
    type Item = DiffRange;
    type Answer = Difference;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "diff";

    fn work(self, daemon: &Daemon, tell: Tell<'_, DiffRange>) -> Result<Difference, Failure> {
        let store = daemon.store();
        let (a, b) = (store.state(&self.a)?, store.state(&self.b)?);
        self.compare(&a, &b, |a, b| store.diff(a, b), tell)
    }

    fn work_alone(self, store: Store, tell: Tell<'_, DiffRange>) -> Result<Difference, Failure> {
        let reader = super::into_reader(store, &[self.a.clone(), self.b.clone()])?;
        let [a, b] = reader.states() else {
            unreachable!("a reader has the disks that it was asked for");
        };
        self.compare(a, b, |a, b| reader.diff(a, b), tell)
    }
}

impl Diff {
    fn compare(
        self,
        a: &State,
        b: &State,
        start: impl for<'x> FnOnce(&'x State, &'x State) -> Result<Comparison<'x>, StoreError>,
        tell: Tell<'_, DiffRange>,
    ) -> Result<Difference, Failure> {
        let mut difference = Difference {
            a: self.a,
            b: self.b,
            a_size: a.size(),
            b_size: b.size(),
            ranges: 0,
            bytes: 0,
        };
        // Sizes cost nothing to compare.
        if self.whether && a.size() != b.size() {
            return Ok(difference);
        }
        let tell = RefCell::new(tell);
        let mut watch = |progress| (tell.borrow_mut())(Step::Progress(progress));
        for range in start(a, b)?.watched(&mut watch) {
            let range = range?;
            difference.ranges += 1;
            difference.bytes += range.length;
            if self.whether {
                break;
            }
            if (tell.borrow_mut())(Step::Item(range)).is_break() {
                return Err(Failure::cancelled());
            }
        }
        Ok(difference)
    }
}
