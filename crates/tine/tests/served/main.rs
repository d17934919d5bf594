//! Goal: with a daemon everything is as it is without, word for word.
//! Method: the tests of `command`, their snapshots included, on stores that are served; but for those of what only a
//! command without a daemon does.

#[path = "../common/mod.rs"]
mod common;

#[macro_use]
#[path = "../command/prints.rs"]
mod prints;

#[path = "../command/bad_input.rs"]
mod bad_input;
#[path = "../command/bytes.rs"]
mod bytes;
#[path = "../command/damage.rs"]
mod damage;
#[path = "../command/defrag.rs"]
mod defrag;
#[path = "../command/documents.rs"]
mod documents;
#[path = "../command/export.rs"]
mod export;
#[path = "../command/freeze.rs"]
mod freeze;
#[path = "../command/losing.rs"]
mod losing;
#[path = "../command/names.rs"]
mod names;
#[path = "../command/process.rs"]
mod process;
#[path = "../command/story.rs"]
mod story;
