//! The tests of the types, one module for each goal; every module opens with it.
//!
//! They are one program: many would each have the same maps and lists compiled anew, and that is most of what a build of
//! the tests takes. What loom tries has its own, `tests/loom.rs`.
#![cfg(not(loom))]

mod allocations;
mod cases;
mod ledger;

mod array_features;
mod array_model;
mod auto_traits;
mod bytes_model;
mod history_model;
mod interner_model;
mod lessons;
mod list_ends;
mod list_features;
mod list_model;
mod list_panics;
mod list_sharing;
mod list_sizes;
mod list_std_names;
mod map_features;
mod map_keys;
mod map_model;
mod map_panics;
mod map_sharing;
mod php;
mod radix_map_merge;
mod radix_map_model;
mod radix_map_panics;
mod radix_map_sharing;
mod set_model;
mod set_panics;
mod set_sharing;
mod shared;
mod sorted_model;
mod sorted_panics;
mod sorted_set_panics;
mod sorted_sharing;
mod std_collections;
mod text_model;
mod text_sharing;
