//! Goal: the promises hold at every moment of every short history, not only of those that chance finds.
//! Method: all of them, see `support::exhaustive`. TINE_DEPTH=5 goes as deep as the issue asks, for hours.

mod support;

use support::exhaustive::{Bounds, explore, explore_interleaved};

#[test]
fn every_short_history_survives_every_crash() {
    let bounds = match support::number_from_environment("TINE_DEPTH") {
        Some(depth) => Bounds {
            depth: depth as usize,
            second_crash: depth as usize,
            subsets: depth as usize,
        },
        None => Bounds {
            depth: 3,
            second_crash: 2,
            subsets: 2,
        },
    };
    match explore(bounds) {
        Ok(explored) => println!("done: {explored:?}"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn upkeep_is_interrupted_anywhere() {
    match explore_interleaved() {
        Ok(explored) => println!("done: {explored:?}"),
        Err(why) => panic!("{why}"),
    }
}
