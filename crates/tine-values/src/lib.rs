//! Values that share.
//!
//! A clone of these types costs one count, whatever they hold; a write copies what is shared on the
//! way to the place written, and nothing when the writer is the only owner.
//!
//! - [`Shared`]: one value behind one pointer and one count.
//! - [`Text`], [`Bytes`]: a string and a byte string of 24 bytes, short ones without an allocation.
//! - [`List`]: a sequence, with `Vec`'s names.
//! - [`Map`], [`Set`]: a hash map and a hash set.
//! - [`SortedMap`], [`SortedSet`]: in key order.
//! - `Interner`: each value once, known by a symbol of four bytes; with the feature `std`.
//! - [`Value`], [`Array`], [`Reference`]: PHP's, JSON's and templates' values, with PHP's rules.
//! - [`History`]: versions of any of these, with undo, names and branches.
//! - [`RadixMap`]: a page table from `u64` to values, in which one node can stand for a whole range.
//!
//! Borrowing decides when a write is allowed: a reference into a value keeps that value from being
//! written, so no write can move what a reference sees, and a clone made earlier never sees a later write.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod block;
mod change;
#[cfg(doctest)]
mod compile_fail;
mod count;
mod detach;
mod few;
mod merge;
mod prefetch;
mod shared;

pub mod array;
pub mod bytes;
pub mod history;
#[cfg(feature = "std")]
pub mod interner;
pub mod list;
pub mod map;
pub mod radix_map;
pub mod set;
mod sorted;
pub mod text;
pub mod value;

pub use array::{Array, Key, KeyRef};
pub use bytes::Bytes;
pub use change::{Change, Conflict, Edit, Overlap};
#[cfg(debug_assertions)]
pub use detach::detaches;
pub use history::{History, Measured, VersionId};
#[cfg(feature = "std")]
pub use interner::{Interner, Symbol};
pub use list::List;
pub use map::Map;
pub use radix_map::RadixMap;
pub use set::Set;
pub use shared::Shared;
pub use sorted::{SortedMap, SortedSet, map as sorted_map, set as sorted_set};
pub use text::Text;
pub use value::{Object, Reference, Slot, Value};
