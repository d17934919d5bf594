//! Requests: what can be asked of a store, served or not, as plain data.
//!
//! Each verb is a type here, which is worked on by a function and yields an answer or a [`Failure`]. A [`Request`] is
//! answered at once; a [`LongRequest`] tells how far it is; the bytes of disks move by [`Read`], [`Write`] and
//! [`Import`].
//!
//! **Invariant:** the words of a failure and of its hint are the same whoever works on a request, so a command says the
//! same with a daemon and without.
//!
//! **Invariant:** a request that has a field which is not known is refused: it would be done otherwise than it was
//! meant. Unknown fields of answers are ignored.

mod attached;
mod check;
mod consent;
mod create;
mod defrag;
mod diff;
mod drop;
mod failure;
mod fork;
mod import;
mod keep;
mod ls;
mod near;
mod protect;
mod read;
mod rename;
mod resize;
mod rollback;
mod snapshot;
mod stats;
mod status;
#[cfg(test)]
mod testing;
mod time;
mod tree;
mod write;

use std::ops::ControlFlow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tine_store::{Progress, Reader, Store, Target};

pub use attached::{AttachedClient, Job};
pub use check::Check;
pub use consent::Consent;
pub use create::{Create, Created};
pub use defrag::Defrag;
pub use diff::{Diff, Difference};
pub use drop::{Drop, Dropped};
pub use failure::{Failure, Kind};
pub use fork::{FORKS_MAX, Fork, Forked};
pub use import::{Import, Imported};
pub use keep::{Forget, Forgotten, Keep, Kept};
pub use ls::{Branch, Listed, Ls, Show, Shown, SnapshotOf};
pub use protect::{Protect, Protected};
pub use read::{Pieces, Read, within};
pub use rename::{Rename, Renamed};
pub use resize::{Resize, Resized};
pub use rollback::{Lost, Rollback, RolledBack, destination_in_words};
pub use snapshot::{Snapshot, Snapshotted};
pub use stats::{Numbers, Stats};
pub use status::{NOT_SERVED, Served, Status};
pub use time::Time;
pub use tree::{Family, Point, Tree};
pub(crate) use write::before_that;
pub use write::{Write, Writing, Written};

use crate::Daemon;

/// The version of the interface: it is part of every path, and rises when something in it is no longer what it was.
pub const API_VERSION: u32 = 1;

/// How a request is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Looks: GET, with the request as the query. May be asked again.
    Look,
    /// Changes something: POST, with the request as JSON.
    Change,
}

/// One thing that can be asked of a store.
pub trait Request: Serialize + DeserializeOwned + Send + 'static {
    /// What comes back.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// How it is asked.
    const METHOD: Method;
    /// What it is called, on the command line and behind the version in the path.
    const VERB: &'static str;

    /// Does it; see [`perform`].
    ///
    /// # Errors
    /// Whatever the store refuses, in words for people.
    fn work(self, daemon: &Daemon) -> Result<Self::Answer, Failure>;
}

/// Works on a request. A failure about an unknown name tells which are near to it.
///
/// # Errors
/// Those of the request.
pub fn perform<R: Request>(request: R, daemon: &Daemon) -> Result<R::Answer, Failure> {
    let done = request.work(daemon);
    done.map_err(|failure| near::with_near_names(daemon.store(), failure))
}

/// What a [`LongRequest`] tells on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step<I> {
    /// How far it is.
    Progress(Progress),
    /// A part of the answer.
    Item(I),
}

/// Told each step; a break ends the work with a failure of the kind [`Kind::Cancelled`].
pub type Tell<'a, I> = &'a mut dyn FnMut(Step<I>) -> ControlFlow<()>;

/// The items of a request that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

/// A request that may take long: it tells how far it is, and can be stopped.
pub trait LongRequest: Serialize + DeserializeOwned + Send + 'static {
    /// What comes one by one.
    type Item: Serialize + DeserializeOwned + Send + 'static;
    /// What comes at the end.
    type Answer: Serialize + DeserializeOwned + Send + 'static;
    /// How it is asked.
    const METHOD: Method;
    /// What it is called, on the command line and behind the version in the path.
    const VERB: &'static str;

    /// Does it in a daemon, for which the store goes on; see [`perform_long`].
    ///
    /// # Errors
    /// Whatever the store refuses, in words for people.
    fn work(self, daemon: &Daemon, tell: Tell<'_, Self::Item>) -> Result<Self::Answer, Failure>;

    /// Does it with a store that this process has to itself, and closes that. Who only reads lets it go as soon as can
    /// be, so that other processes need not wait.
    ///
    /// # Errors
    /// As [`LongRequest::work`], and those of closing.
    fn work_alone(self, store: Store, tell: Tell<'_, Self::Item>) -> Result<Self::Answer, Failure>;
}

/// Works on a request in a daemon. A failure about an unknown name tells which are near to it.
///
/// # Errors
/// Those of the request.
pub fn perform_long<R: LongRequest>(
    request: R,
    daemon: &Daemon,
    tell: Tell<'_, R::Item>,
) -> Result<R::Answer, Failure> {
    let done = request.work(daemon, tell);
    done.map_err(|failure| near::with_near_names(daemon.store(), failure))
}

/// Tells progress alone.
fn progress<I>(tell: Tell<'_, I>) -> impl FnMut(Progress) -> ControlFlow<()> + '_ {
    |progress| tell(Step::Progress(progress))
}

/// Lets the store go and reads on; names are looked up while there is a store that knows the names near to a wrong one.
fn into_reader(store: Store, targets: &[Target]) -> Result<Reader, Failure> {
    for target in targets {
        if let Err(error) = store.find(target) {
            let failure = near::with_near_names(&store, error.into());
            // The error that was first is the one to tell.
            let _ = store.close();
            return Err(failure);
        }
    }
    Ok(store.into_reader(targets)?)
}
