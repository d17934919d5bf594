//! `stats`: the store in numbers, and who uses its disks.

use serde::{Deserialize, Serialize};
use tine_store::StoreStats;

use super::{AttachedClient, Failure, Job, Method, Request};
use crate::Daemon;

/// Shows the store in numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {}

/// The store in numbers, and who uses its disks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Numbers {
    /// The store.
    #[serde(flatten)]
    pub store: StoreStats,
    /// The clients that are attached to disks.
    #[serde(default)]
    pub clients: Vec<AttachedClient>,
    /// The throwaway forks that jobs have, by job.
    #[serde(default)]
    pub jobs: Vec<Job>,
}

impl Request for Stats {
    type Answer = Numbers;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "stats";

    fn work(self, daemon: &Daemon) -> Result<Numbers, Failure> {
        Ok(Numbers {
            store: daemon.store().stats()?,
            clients: daemon.clients(),
            jobs: daemon.throwaways(),
        })
    }
}
