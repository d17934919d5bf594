//! Regions saved to streams and loaded again; docs/memory-format.md has the format.

mod format;
mod load;
mod write;

pub use write::{Mark, Save};
