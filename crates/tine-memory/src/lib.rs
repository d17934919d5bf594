#![doc = include_str!("../../../docs/memory.md")]
#![cfg(target_os = "linux")]

mod base;
mod compare;
mod error;
mod file;
mod pages;
mod patch;
mod region;
mod save;
mod shared;
mod stats;
mod sys;
mod table;
mod written;

pub use error::{Error, Result};
pub use pages::{PAGE_BYTES, PageRange};
pub use region::Region;
pub use save::{Mark, Save};
pub use shared::SharedRegion;
pub use stats::{PageMap, PageRun, PageSource, Stats};
pub use table::{Plain, SparseTable};
