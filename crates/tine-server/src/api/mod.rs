//! Requests: what can be asked of a store, served or not, as plain data.
//!
//! **Invariant:** the words of an error and of its hint are the same whoever works on a request, so a command says the
//! same with a daemon and without.

mod failure;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use failure::{Failure, Kind};

use crate::Daemon;

/// The version of the interface: it is part of every path, and rises when something in it is no longer what it was.
pub const API_VERSION: u32 = 1;

/// How a request that needs no stream is asked.
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

    /// Does it.
    ///
    /// # Errors
    /// Whatever the store refuses, in words for people.
    fn work(self, daemon: &Daemon) -> Result<Self::Answer, Failure>;
}
