//! Goal: what a manifest counts and what its reader counts on top of it are each block once; overlays are bounded.
//! Method: a stretch is published while its parent is in memory still, as when a point is made beside a drain; more is
//! discarded than overlays may keep.

use super::Merging;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::{CreateOptions, OpenOptions, Store, UpkeepMode};

fn options() -> OpenOptions {
    OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    }
}

#[test]
fn blocks_that_no_root_covers_are_counted_once_after_a_crash() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 1 << 20).expect("a branch");
    let engine = store.engine();
    branch.write_at(&[1; 4096], 0).expect("written");
    store
        .snapshot(&[(name.clone(), "s".parse().expect("a valid name"))])
        .expect("a snapshot");
    branch.write_at(&[2; 4096], 4096).expect("written");
    branch.flush().expect("flushed");
    let mut upkeep = engine.upkeep.lock();
    engine.drain_branch(&mut upkeep, &branch.cell).expect("a drain");
    engine.save(Merging::Paced).expect("a manifest");
    drop(upkeep);
    let head = |store: &Store| {
        let branch = store.branch(&name).expect("a branch");
        let stretch = branch.cell.head.read().stretch.clone();
        let state = stretch.state.lock();
        (state.live.values().sum::<u64>(), state.parts.len())
    };
    assert_eq!(head(&store), (1, 1));
    medium.crash_process(false);
    let again = Store::open_on(medium.start(), options()).expect("the store opens");
    assert_eq!(head(&again).0, 1);
}

#[test]
fn zeroes_count_against_the_budget_of_overlays() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options()).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, 64 << 30).expect("a branch");
    for at in 0..super::OVERLAID_MAX + 1000 {
        branch.discard(at * 3 * 4096, 4096).expect("discarded");
    }
    // They are no bytes of the buffer, but wait in no more memory than a few groups.
    let groups = branch.cell.head.read().stretch.state.lock().groups.len();
    assert!(groups <= 16, "{groups} groups in memory");
    let engine = store.engine();
    engine
        .checkpoint(&mut engine.upkeep.lock(), Merging::Paced)
        .expect("a checkpoint");
    let head = branch.cell.head.read();
    let view = head.view.as_ref().expect("loaded");
    assert_eq!(view.overlay.iter().count(), 0);
}
