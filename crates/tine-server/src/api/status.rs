//! `status`: where a store is served.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Failure, Kind, Method, Request};
use crate::Daemon;

/// What is said when nobody serves the store.
pub const NOT_SERVED: &str = "the store is not served";

/// Asks where a store is served.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {}

/// Where a store is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The process that serves it.
    pub pid: u32,
    /// The store.
    pub store: String,
    /// Its socket for NBD, by a path that other programs can connect to.
    pub socket: String,
    /// The socket of its control API.
    pub control: String,
    /// Its address for NBD by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<String>,
    /// The only disk that is served, if it is not all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
}

impl Served {
    /// Returns the URI by which NBD clients attach a disk; that of all of them without its name.
    ///
    /// `+`, `@` and `=` stand as they are: they mean nothing in the path of a URI.
    pub fn uri(&self, export: &str) -> String {
        let mut uri = format!("nbd+unix:///{export}?socket=");
        for &byte in self.socket.as_bytes() {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
        uri
    }
}

impl Request for Status {
    type Answer = Served;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "status";

    fn work(self, daemon: &Daemon) -> Result<Served, Failure> {
        let served = daemon.served();
        served.ok_or_else(|| Failure::new(Kind::NotFound, NOT_SERVED).hint("`tine serve` serves it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_survives_any_path() {
        let served = Served {
            pid: 1,
            store: "/s".into(),
            socket: "/a b/c?d&e#f/ü/nbd.sock".into(),
            control: "/s/control.sock".into(),
            listen: None,
            only: None,
        };
        assert_eq!(
            served.uri("golden+fork=job"),
            "nbd+unix:///golden+fork=job?socket=/a%20b/c%3Fd%26e%23f/%C3%BC/nbd.sock"
        );
    }
}
