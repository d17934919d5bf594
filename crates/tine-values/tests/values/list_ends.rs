//! Goal: adding and removing at both ends is amortised O(1), whatever the length and the order.
//! Method: rounds of additions and removals that leave the length as it is, at lengths around the ends of blocks and leaves.
//! Allocations are counted, and the elements that have another address than before.

use tine_values::List;

use crate::allocations::allocations;

const ROUNDS: usize = 300;
/// Of so many elements one is looked at.
const STRIDE: usize = 16;

#[derive(Clone, Copy)]
enum Step {
    Push,
    Pop,
    PushFront,
    PopFront,
}
use Step::{Pop, PopFront, Push, PushFront};

const KINDS: [(&str, &[Step]); 9] = [
    ("a queue", &[Push, PopFront]),
    ("a queue the other way around", &[PushFront, Pop]),
    ("a stack", &[Push, Pop]),
    ("a stack by two", &[Push, Push, Pop, Pop]),
    ("a stack by three", &[Pop, Pop, Pop, Push, Push, Push]),
    ("a stack at the front", &[PushFront, PopFront]),
    (
        "a stack at the front by two",
        &[PushFront, PushFront, PopFront, PopFront],
    ),
    (
        "a stack at the front by three",
        &[PopFront, PopFront, PopFront, PushFront, PushFront, PushFront],
    ),
    ("both ends", &[PushFront, Push, Pop, PopFront, Pop, Push]),
];

/// Returns where elements are that stay when a step is taken, from the one with index `first` on.
fn places(list: &List<u64>, first: usize, count: usize) -> Vec<*const u64> {
    let indices = (first..first + count).step_by(STRIDE);
    indices.map(|at| std::ptr::from_ref(&list[at])).collect()
}

/// Takes a step. Returns how many allocations that took, and how many elements are somewhere else then.
fn costs(list: &mut List<u64>, step: Step) -> (usize, usize) {
    let (from, to) = match step {
        Push | Pop => (0, 0),
        PushFront => (0, 1),
        PopFront => (1, 0),
    };
    let count = list.len() - 1;
    let before = places(list, from, count);
    let allocated = allocations(|| take(list, step)).0;
    let after = places(list, to, count);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    (allocated, moved.count() * STRIDE)
}

fn take(list: &mut List<u64>, step: Step) {
    match step {
        Push => list.push(1),
        PushFront => list.push_front(2),
        Pop => assert!(list.pop().is_some()),
        PopFront => assert!(list.pop_front().is_some()),
    }
}

#[test]
fn rounds_at_the_ends_move_and_allocate_little() {
    // A leaf has 256 elements, a block 1,024.
    let lengths = [
        5, 100, 700, 1_000, 1_022, 1_023, 1_024, 1_025, 1_280, 1_281, 3_000, 4_351, 4_352, 4_353,
    ];
    for (length, (name, round)) in lengths
        .into_iter()
        .flat_map(|length| KINDS.map(|kind| (length, kind)))
    {
        let mut list: List<u64> = (0..length).collect();
        let (mut moved, mut allocated, mut steps) = (0, 0, 0);
        for &step in round.iter().cycle().take(ROUNDS * round.len()) {
            let (more_allocated, more_moved) = costs(&mut list, step);
            allocated += more_allocated;
            moved += more_moved;
            steps += 1;
        }
        assert_eq!(list.len(), length as usize);
        assert!(
            moved <= 10 * steps + 2_000,
            "{name}, {length} elements: {moved} moved in {steps} steps"
        );
        assert!(
            allocated <= steps / 30 + 8,
            "{name}, {length} elements: {allocated} allocations in {steps} steps"
        );
    }
}
