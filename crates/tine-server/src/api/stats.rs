//! `stats`: the store in numbers.

use serde::{Deserialize, Serialize};
use tine_store::StoreStats;

use super::{Failure, Method, Request};
use crate::Daemon;

/// Shows the store in numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {}

impl Request for Stats {
    type Answer = StoreStats;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "stats";

    fn work(self, daemon: &Daemon) -> Result<StoreStats, Failure> {
        Ok(daemon.store().stats()?)
    }
}
