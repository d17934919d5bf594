//! Goal: after a defragmentation the index is as small as the disk is in order.
//! Method: a disk is written out of order and its index merged; then its one tree is looked at.

use std::ops::ControlFlow;

use crate::index::extent::EXTENT_BLOCKS_MAX;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::store::checkpoint::Merging;
use crate::{CreateOptions, DefragOptions, OpenOptions, Store, UpkeepMode};

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 4096;

#[test]
fn leaves_have_as_many_extents_as_there_are_pieces() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let options = OpenOptions {
        upkeep: UpkeepMode::Inline,
        buffer_bytes: 1 << 20,
        ..OpenOptions::default()
    };
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a store");
    let name = "a".parse().expect("a valid name");
    let branch = store.create_branch(&name, BLOCKS * BLOCK).expect("a branch");
    let engine = store.engine();
    for at in 0..BLOCKS {
        let block = at * 1009 % BLOCKS;
        branch
            .write_at(&[1 + block as u8 % 100; BLOCK as usize], block * BLOCK)
            .expect("written");
    }
    engine
        .checkpoint(&mut engine.upkeep.lock(), Merging::Paced)
        .expect("a checkpoint");
    let extents = || {
        let base = branch
            .cell
            .head
            .read()
            .view
            .as_ref()
            .expect("loaded")
            .base
            .clone();
        let extents: Vec<u64> = base.trees.iter().map(|tree| tree.record.extents).collect();
        extents
    };
    assert!(extents()[0] > BLOCKS / 2);
    // A few more become a run beside the tree.
    for block in 0..4 {
        branch
            .write_at(&[9; BLOCK as usize], block * BLOCK)
            .expect("written");
    }
    engine
        .checkpoint(&mut engine.upkeep.lock(), Merging::Least)
        .expect("a checkpoint");
    assert_eq!(extents().len(), 2);
    let mut go_on = |_| ControlFlow::Continue(());
    store
        .defrag(&name, &DefragOptions::default(), &mut go_on)
        .expect("defragmented");
    assert_eq!(extents(), [BLOCKS / EXTENT_BLOCKS_MAX]);
}
