//! What the tests of the engine share: a model, operations on it and on the real engine, and crashes.
//!
//! [`content`] is a disk as plain blocks; [`world`] what the outside was told about a store; [`ops`] the operations
//! and their random choice. [`perform`] does one on the engine, [`expect`] in the model, [`inspect`] compares what both
//! show, and [`runner`] carries a history through troubles and crashes on the simulated medium. On these stand
//! [`history`], seeded random histories, which [`shrink`] makes short when they fail, and [`exhaustive`], every short
//! history over an [`alphabet`] with every crash, as is [`interleaved`] for writes in the middle of upkeep: [`outcomes`] is what a crash may
//! leave, and [`prover`] recovers from it, once for all histories. [`seeds`] plays
//! many on all threads. [`rot`] damages what lies still; [`gate`] holds calls up.

#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod alphabet;
pub(crate) mod catch;
pub(crate) mod content;
pub(crate) mod exhaustive;
pub(crate) mod expect;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod interleaved;
pub(crate) mod ops;
pub(crate) mod outcomes;
pub(crate) mod perform;
pub(crate) mod prover;
pub(crate) mod rot;
pub(crate) mod runner;
pub(crate) mod seeds;
pub(crate) mod shrink;
pub(crate) mod watchdog;
pub(crate) mod world;

/// Returns a number from the environment, for longer runs by hand.
pub(crate) fn number_from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}
