//! tine's storage engine: disks that fork in O(1), never overwrite in place and cost only what changed.
//!
//! A [`Store`] holds [`Branch`]es: writable disks with names. [`Store::fork`] makes an independent branch that shares
//! everything with its origin, [`Store::snapshot`] names an immutable point of a branch, [`Store::rollback`] goes back
//! to one. A write is acknowledged from memory and durable after [`Branch::flush`]; after any crash every branch is a
//! prefix of its writes that contains every flush that returned.
//!
//! ```
//! use tine_store::{CreateOptions, OpenOptions, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = std::env::temp_dir().join(format!("tine-doc-{}", std::process::id()));
//! # let _ = std::fs::remove_dir_all(&directory);
//! let store = Store::create(&directory, &CreateOptions::default(), OpenOptions::default())?;
//! let golden = store.create_branch(&"golden".parse()?, 1 << 30)?;
//! golden.write_at(b"hello", 4096)?;
//!
//! store.fork(&"golden".parse()?, &"trial".parse()?)?;
//! let trial = store.branch(&"trial".parse()?)?;
//! trial.write_at(b"HELLO", 4096)?;
//! trial.flush()?;
//!
//! let mut bytes = [0; 5];
//! golden.read_at(&mut bytes, 4096)?;
//! assert_eq!(&bytes, b"hello");
//! store.close()?;
//! # std::fs::remove_dir_all(&directory)?;
//! # Ok(())
//! # }
//! ```
//!
//! The engine is synchronous and `Send + Sync`. The format is described byte by byte in docs/format.md; the rules that
//! make it sound, in ARCHITECTURE.md.

mod block;
mod bounds;
mod buffer;
mod checksum;
mod codec;
#[cfg(feature = "fuzzing")]
pub mod decoders;
mod error;
#[cfg(test)]
mod format_tests;
mod index;
mod journal;
mod manifest;
pub mod medium;
mod names;
mod options;
mod overlay;
pub mod planted;
pub mod segment;
mod store;

pub use block::{BLOCK_BYTES, DISK_BYTES_MAX};
#[cfg(feature = "simulation")]
pub use bounds::Bounds;
pub use error::{LockHolder, Result, StoreError};
pub use names::{BranchName, SnapshotName, Target};
pub use options::{CreateOptions, OnWait, OpenOptions, UpkeepMode};
pub use store::*;
