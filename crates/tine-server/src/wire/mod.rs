//! What goes over the control socket, as bytes: paths, headers, lines and frames. docs/control.md describes it.

pub(crate) mod body;
pub(crate) mod frame;
pub(crate) mod line;

use serde::{Deserialize, Serialize};

/// The media type of lines: one JSON object each.
pub(crate) const LINES: &str = "application/x-ndjson";
/// The media type of frames.
pub(crate) const FRAMES: &str = "application/vnd.tine.frames";
/// The media type of answers that are one JSON object.
pub(crate) const JSON: &str = "application/json";

/// The header that each response carries: the version of the interface that the daemon speaks.
pub(crate) const API_HEADER: &str = "tine-api";

/// The header by which a request tells which store it is meant for: a path may lead to the daemon of another one.
pub(crate) const STORE_HEADER: &str = "tine-store";

/// Returns what that header says of a store's directory, by its device and its number there.
pub(crate) fn store_mark((device, number): (u64, u64)) -> String {
    format!("{device:x}:{number:x}")
}

/// Data that is sent as one frame at the most, and read at once.
pub(crate) const DATA_BYTES_MAX: usize = 1 << 20;

/// Chunks of a stream that wait for a slow reader at the most; with what the socket holds, that is all there is of it.
pub(crate) const CHUNKS_MAX: usize = 4;

/// Who a daemon is: the answer to `GET /v1/hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the program.
    pub tine: String,
    /// The version of the interface that it speaks.
    pub api: u32,
    /// Its process.
    pub pid: u32,
}

impl Hello {
    /// Returns who this process is.
    pub(crate) fn of_this_process() -> Self {
        Self {
            tine: env!("CARGO_PKG_VERSION").to_owned(),
            api: crate::api::API_VERSION,
            pid: std::process::id(),
        }
    }
}

/// Returns the path of a verb.
pub(crate) fn path(verb: &str) -> String {
    format!("/v{}/{verb}", crate::api::API_VERSION)
}
