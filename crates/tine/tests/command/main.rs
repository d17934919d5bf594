//! Goal: what a person or a script sees is what was meant, word for word.
//! Method: the real binary, its standard output, standard error and exit status as one snapshot, with times, places
//! and process ids filtered.

#[path = "../common/mod.rs"]
mod common;

#[macro_use]
mod prints;

mod bad_input;
mod bytes;
mod damage;
mod defrag;
mod documents;
mod export;
mod freeze;
mod help;
mod losing;
mod memory;
mod names;
mod process;
mod size_limit;
mod story;
