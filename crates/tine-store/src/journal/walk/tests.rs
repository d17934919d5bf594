use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::journal::ring::{LogFrame, Ring};
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};

/// Begins an epoch behind the last frame of `log` and writes a frame in it; returns the log with both.
fn opening(medium: &SimulatedMedium, shape: Shape, log: &VecDeque<LogFrame>) -> VecDeque<LogFrame> {
    let process: Arc<dyn Medium> = medium.start();
    let mut ring = Ring::begin_epoch(process, shape, 0, log.clone(), None).unwrap();
    let mut records = crate::codec::Encoder::default();
    Record::Closed.encode(&mut records);
    ring.write(&records.bytes, 0, Vec::new(), |_| ()).unwrap();
    ring.sync().unwrap();
    ring.log().clone()
}

/// Of two epochs on write-once media that continue one frame, the later opening may have seen the first only: its
/// flushes are behind that, and the other one is in a later file than where they begin.
#[test]
fn of_openings_that_died_the_one_that_was_continued_is_followed() {
    let options = SimulatedOptions {
        write_once: true,
        ..SimulatedOptions::default()
    };
    let medium = SimulatedMedium::new(options, Chooser::seeded(1));
    let shape = Shape {
        file_bytes: 32 << 10,
        files: 3,
        key: [7; 16],
    };
    let base = opening(&medium, shape, &VecDeque::new());
    let floor = base[0].clone();
    let end_of = |medium: &SimulatedMedium| {
        let process = medium.start();
        let path = Walker::new(&*process, shape)
            .unwrap()
            .walk(&floor.frame, floor.place)
            .unwrap();
        assert!(path.damage.is_none(), "{:?}", path.damage);
        path.frames.last().unwrap().header.frame
    };
    let first = opening(&medium, shape, &base);
    let second = opening(&medium, shape, &base);
    assert_eq!(
        end_of(&medium),
        second.back().unwrap().frame,
        "the later opening did not see the first, or it would have gone on there"
    );
    let third = opening(&medium, shape, &first);
    assert_eq!(end_of(&medium), third.back().unwrap().frame);
    // Again, three of one number: the last goes on behind the middle one.
    let rivals = [(); 3].map(|()| opening(&medium, shape, &third));
    assert_eq!(end_of(&medium), rivals[2].back().unwrap().frame);
    let last = opening(&medium, shape, &rivals[1]);
    assert_eq!(end_of(&medium), last.back().unwrap().frame);
}
