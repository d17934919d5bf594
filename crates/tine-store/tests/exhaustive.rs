//! Goal: the promises hold at every moment of every short history, not only of those that chance finds.
//! Method: all of them, see `support::exhaustive`. TINE_DEPTH sets how many operations the longest have, and
//! TINE_SECOND up to how many a second crash follows; without, a part is gone through that takes seconds.

mod support;

use support::alphabet::Alphabet;
use support::exhaustive::{Bounds, explore, repeat};
use support::interleaved::{explore_defragmentation, explore_interleaved};
use support::number_from_environment;

#[test]
fn every_short_history_survives_every_crash() {
    go_through(Alphabet::Branches);
}

#[test]
fn every_short_history_of_throwaway_forks_survives_every_crash() {
    go_through(Alphabet::Throwaways);
}

#[test]
fn every_short_history_of_large_writes_survives_every_crash() {
    go_through(Alphabet::Streams);
}

#[test]
fn every_short_history_of_batches_survives_every_crash() {
    go_through(Alphabet::Batches);
}

fn go_through(alphabet: Alphabet) {
    let bounds = match number_from_environment("TINE_DEPTH") {
        Some(depth) => Bounds::of(
            depth as usize,
            number_from_environment("TINE_SECOND").map(|to| to as usize),
        ),
        None => Bounds::SHORT,
    };
    match explore(alphabet, bounds) {
        Ok(explored) => println!("done: {explored}"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn upkeep_is_interrupted_anywhere() {
    match explore_interleaved() {
        Ok((histories, proved)) => println!("done: {histories} histories of interrupted upkeep, {proved}"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn defragmentation_is_interrupted_anywhere() {
    match explore_defragmentation() {
        Ok(histories) => assert!(histories > 4, "{histories} histories alone"),
        Err(why) => panic!("{why}"),
    }
}

#[test]
fn histories_repeat_to_the_last_byte() {
    match repeat() {
        Ok(histories) => println!("done: {histories} histories repeated"),
        Err(why) => panic!("{why}"),
    }
}
