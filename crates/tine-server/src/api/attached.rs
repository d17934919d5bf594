//! Who uses the disks, as data.

use serde::{Deserialize, Serialize};

use super::Time;

/// A client that is attached to a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedClient {
    /// What it asked for, such as `web1`, `web1@clean` or `golden+fork=job`.
    pub export: String,
    /// What that is called by now, if it was renamed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// Whether it may write.
    pub writes: bool,
    /// Its connections.
    pub connections: u64,
    /// Its process, if it came by a unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whose process it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
    /// What the process is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its address, if it came by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When its first connection came.
    pub since: Time,
}

/// A throwaway fork that several connections can have: `SOURCE+fork=JOB`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// What it is called by those who connect.
    pub job: String,
    /// What it was forked from.
    pub source: String,
    /// The disk's size in bytes.
    pub size: u64,
    /// The branch that it was kept as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// Connections to it.
    pub connections: u64,
    /// In how many milliseconds it is forgotten, when nobody has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten_in: Option<u64>,
}
