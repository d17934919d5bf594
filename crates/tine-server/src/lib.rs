//! One store served: to clients of its disks, and to whoever forks, snapshots and drops them.
//!
//! [`Daemon`] is a store and those who use its disks. The requests in [`api`] are all that can be asked of it: a request
//! works on a daemon and yields an answer or a [`Failure`](api::Failure), each of which can go over a wire. So the same
//! request is worked on by the process that serves the store, when there is one, and else by the one that asks.
//!
//! **Invariant:** nothing here prints, reads the environment or ends the process.

mod alone;
pub mod api;
mod attached;
pub mod client;
pub mod control;
mod daemon;
#[cfg(feature = "fuzzing")]
pub mod decoders;
mod exports;
mod lost_jobs;
mod serving;
pub mod socket;
mod throwaway;
mod wire;
pub mod words;

pub use attached::Connections;
pub use daemon::{Daemon, Policy};
pub use exports::ExportName;
pub use serving::{Endpoints, ServeError, Serving, Stopped};
pub use wire::Hello;
