//! Goal: lists share what they can, and no operation costs more than what it changes.
//! Method: count the bytes of nodes and the calls of `clone` and `eq`, which do not depend on the machine.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use tine_values::List;
use tine_values::list::{Chunks, Iter};

/// A leaf of `u64`s that is full: a count, a header and 256 elements.
const LEAF_BYTES: usize = 16 + 256 * 8;
/// An inner node that is full: a count, a header and 16 children.
const INNER_BYTES: usize = 16 + 16 * 8;
const TRUNK_BYTES: usize = 16 + 5 * 8;

fn list(len: u64) -> List<u64> {
    (0..len).collect()
}

#[test]
fn handles_are_one_pointer_and_empty_lists_own_nothing() {
    assert_eq!(size_of::<List<u64>>(), size_of::<usize>());
    assert_eq!(
        (List::<u64>::new().own_bytes(), List::<u64>::new().shared_bytes()),
        (0, 0)
    );
}

#[test]
fn a_short_list_is_one_block_with_a_small_header() {
    assert_eq!(list(8).own_bytes(), 16 + 8 * 8);
    assert_eq!(List::from([1_u64; 8]).own_bytes(), 16 + 8 * 8);
    assert_eq!(list(1_000).own_bytes(), 16 + 1_000 * 8);
    // One by one it grows as a `Vec` does.
    let mut pushed = List::new();
    (0..1_000_u64).for_each(|number| pushed.push(number));
    assert_eq!(pushed.own_bytes(), 16 + 1_024 * 8);
}

#[test]
fn a_long_list_takes_little_more_than_its_elements() {
    for len in [2_000_u64, 4_096, 100_000, 1_000_000] {
        let least = len as usize * 8;
        assert!(
            list(len).own_bytes() < least + least / 50 + 2 * LEAF_BYTES,
            "{len}"
        );
    }
}

#[test]
fn a_clone_shares_everything() {
    for len in [5, 100_000] {
        let list = list(len);
        let alone = list.own_bytes();
        assert_eq!(list.shared_bytes(), 0);
        assert!(list.is_unique());
        let clone = list.clone();
        assert!(clone.ptr_eq(&list) && !list.is_unique());
        assert_eq!((list.own_bytes(), list.shared_bytes()), (0, alone));
        drop(clone);
        assert_eq!((list.own_bytes(), list.shared_bytes()), (alone, 0));
    }
}

/// Nodes that are in a list twice are its own, and are counted once.
#[test]
fn a_list_joined_with_itself_owns_what_it_has() {
    let single = list(100_000);
    let alone = single.own_bytes();
    let double = single.concat(&single);
    let few = double.own_bytes();
    assert!(few < 4 * LEAF_BYTES && single.own_bytes() < few, "{few}");
    assert!(double.shared_bytes() < alone && double.shared_bytes() + few > alone);
    drop(single);
    let own = double.own_bytes();
    assert!(own > alone && own < alone + few, "{own} of {alone} and {few}");
    assert_eq!(double.shared_bytes(), 0);
    let clone = double.clone();
    assert_eq!((double.own_bytes(), double.shared_bytes()), (0, own));
    drop(clone);
    assert_eq!((double.own_bytes(), double.shared_bytes()), (own, 0));
}

#[test]
fn nodes_are_visited_once_however_often_they_are_in_a_list() {
    let mut list = list(3_000);
    let least = list.own_bytes();
    (0..40).for_each(|_| list.append(&mut list.clone()));
    assert_eq!(list.len(), 3_000 << 40);
    let own = list.own_bytes();
    assert!(own > least && own < least + 40 * 3 * LEAF_BYTES, "{own}");
    assert_eq!(list.shared_bytes(), 0);
    let clone = list.clone();
    assert_eq!((clone.own_bytes(), clone.shared_bytes()), (0, own));
}

#[test]
fn a_write_copies_one_path_the_first_time() {
    // 4,096 full leaves: three full inner nodes on each way.
    let list = list(1 << 20);
    let path = TRUNK_BYTES + 3 * INNER_BYTES + LEAF_BYTES;
    let mut version = list.clone();
    for index in [5, 6, 250] {
        version[index] = 1;
        assert_eq!(
            version.own_bytes(),
            path,
            "the first write copies the path, the others find it copied"
        );
    }
    assert_eq!(
        list.own_bytes(),
        path,
        "what the version has replaced is the origin's alone"
    );
    version[256] = 1;
    assert_eq!(
        version.own_bytes(),
        path + LEAF_BYTES,
        "the leaf beside it shares the inner nodes"
    );
}

#[test]
fn an_extra_version_of_100_000_takes_two_and_a_half_kilobytes() {
    let list = list(100_000);
    for index in [0, 77_777, 99_999] {
        let mut version = list.clone();
        version[index] = 1;
        assert!(version.own_bytes() <= 2_500, "{} at {index}", version.own_bytes());
    }
}

#[test]
fn what_changes_nothing_copies_nothing() {
    let list = list(10_000);
    let mut version = list.clone();
    assert_eq!(version.get_mut(10_000), None);
    version.truncate(10_000);
    version.append(&mut List::new());
    assert!(version.drain(5..5).next().is_none());
    version.retain(|_| true);
    version.dedup();
    version.extend_from_slice(&[]);
    assert!(version.split_off(10_000).is_empty());
    assert!(version.iter().len() == 10_000 && version.slice(..).ptr_eq(&list));
    assert!(version.ptr_eq(&list));
}

#[test]
fn joining_and_cutting_share_all_but_a_few_nodes() {
    let list = list(1_000_000);
    let few = 4 * LEAF_BYTES + 20 * INNER_BYTES + TRUNK_BYTES;
    let assert_few = |what: &str, list: &List<u64>| {
        assert!(list.own_bytes() < few, "{what}: {}", list.own_bytes());
    };
    assert_few("slice", &list.slice(1_234..987_654));
    assert_few("concat", &list.concat(&list));
    let mut left = list.clone();
    let right = left.split_off(543_210);
    assert_few("left of a split", &left);
    assert_few("right of a split", &right);
    left.append(&mut right.clone());
    assert!(left == list);
    assert_few("joined again", &left);
    left.drain(300_000..300_001);
    assert_few("without one", &left);
    left.insert(300_000, 300_000);
    assert!(left == list);
    assert_few("with it again", &left);
}

/// Counts its clones; only one test may use it at a time.
struct Counted;

static CLONES: Mutex<usize> = Mutex::new(0);

impl Clone for Counted {
    fn clone(&self) -> Self {
        *CLONES.lock().unwrap() += 1;
        Self
    }
}

#[test]
fn a_sole_owner_clones_no_element() {
    let mut list: List<Counted> = std::iter::repeat_with(|| Counted).take(300_000).collect();
    list.push(Counted);
    list.push_front(Counted);
    list.insert(150_000, Counted);
    let _ = list.remove(170_000);
    list.swap(3, 200_000);
    list.iter_mut().rev().for_each(|_| ());
    let mut behind = list.split_off(100_000);
    drop(behind.drain(50_000..60_000).map(|_| ()));
    list.append(&mut behind);
    list.truncate(200_000);
    list.reverse();
    assert!(list.pop().is_some() && list.pop_front().is_some());
    assert_eq!(list.into_iter().count(), 199_998);
    assert_eq!(*CLONES.lock().unwrap(), 0);
}

/// Counts how often it is compared, by its thread.
#[derive(Clone, Debug)]
struct Compared(u32);

thread_local!(static COMPARISONS: Cell<usize> = const { Cell::new(0) });

impl PartialEq for Compared {
    fn eq(&self, other: &Self) -> bool {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0 == other.0
    }
}

/// Returns how many comparisons something takes, in leaves, of which each has 512 elements.
fn leaves_compared(work: impl FnOnce()) -> usize {
    COMPARISONS.set(0);
    work();
    COMPARISONS.get().div_ceil(512)
}

#[test]
fn comparing_and_merging_versions_looks_only_at_what_they_do_not_share() {
    let base: List<Compared> = (0..1_000_000).map(Compared).collect();
    let mut ours = base.clone();
    for turn in 0..10 {
        ours[turn * 99_999].0 = 0;
    }
    let mut theirs = base.clone();
    theirs.insert(333_333, Compared(0));
    drop(theirs.drain(777_777..777_780));
    let equal = leaves_compared(|| assert!(base == base.clone()));
    assert_eq!(equal, 0);
    let unequal = leaves_compared(|| assert!(base != ours && base != theirs));
    assert!(unequal <= 2, "{unequal}");
    let edits = leaves_compared(|| assert_eq!(base.diff(&ours).count(), 9, "the first is as it was"));
    assert!(edits <= 10 * 4, "{edits}");
    let moved = leaves_compared(|| {
        let edits: Vec<_> = base.diff(&theirs).map(|edit| (edit.ours, edit.theirs)).collect();
        assert_eq!(
            edits,
            [
                (333_333..333_333, 333_333..333_334),
                (777_776..777_779, 777_777..777_777)
            ]
        );
    });
    assert!(moved <= 20, "{moved}");
    let merged = leaves_compared(|| {
        let merged = base.merge(&ours, &theirs, |_| unreachable!("the edits are apart"));
        assert_eq!(
            (merged.len(), merged[333_333].0, merged[899_989].0),
            (999_998, 0, 0)
        );
        assert_eq!(merged.get(499_996).map(|element| element.0), Some(0));
    });
    assert!(merged <= 90, "{merged}");
}

/// What reads a list of what is static does so as one of what lives shorter.
fn _covariant<'a, 'b>(
    list: List<&'static str>,
    elements: Iter<'b, &'static str>,
    chunks: Chunks<'b, &'static str>,
) -> (List<&'a str>, Iter<'b, &'a str>, Chunks<'b, &'a str>) {
    (list, elements, chunks)
}

#[test]
fn lists_cut_and_joined_at_random_stay_dense_and_low() {
    let mut list = list(60_000);
    let mut random = 1_u64;
    for _ in 0..4_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (random >> 33) as usize % list.len();
        let mut behind = list.split_off(at);
        behind.append(&mut list);
        list = behind;
    }
    let mut sorted = list.to_vec();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..60_000));
    assert!(
        list.own_bytes() < 2 * 60_000 * 8 + 3 * LEAF_BYTES,
        "{}",
        list.own_bytes()
    );
}

#[test]
fn what_is_left_after_removing_most_is_joined() {
    // One element of each leaf stays; the others are removed from behind, from before, and here and there.
    let orders: [fn(u64) -> u64; 3] = [|turn| turn, |turn| 399 - turn, |turn| turn * 7 % 400];
    for order in orders {
        let mut list = list(256 * 400);
        for leaf in (0..400).map(order) {
            let at = list.binary_search(&(leaf * 256)).unwrap();
            drop(list.drain(at + 1..at + 256));
        }
        assert!(list.iter().copied().eq((0..400).map(|leaf| leaf * 256)));
        assert!(
            list.own_bytes() < 4 * 400 * 8 + 3 * LEAF_BYTES,
            "{}",
            list.own_bytes()
        );
    }
}

/// Doubling costs little, so more elements than an index can tell are near.
#[test]
fn a_list_that_grows_too_long_panics_and_stays() {
    let whole = list(3_000);
    let double: [fn(&mut List<u64>); 3] = [
        |list| list.append(&mut list.clone()),
        |list| *list = list.concat(list),
        |list| list.extend_from_within(..),
    ];
    for double in double {
        let mut list = whole.clone();
        let mut doublings = 0;
        let panic = loop {
            let len = list.len();
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| double(&mut list))) {
                assert_eq!(list.len(), len);
                break panic;
            }
            doublings += 1;
            assert_eq!(list.len(), 2 * len);
        };
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"capacity overflow"));
        assert_eq!((doublings, list.len()), (51, 3_000 << 51));
        for index in [0, 1, 2_999, 3_000 << 40, (3_000 << 51) - 1] {
            assert_eq!(list[index], index as u64 % 3_000, "{index}");
        }
        // It still works.
        list.truncate((3_000 << 50) + 7);
        list[3_000 << 30] = 1;
        list.insert(5, 2);
        assert_eq!((list.len(), list.last()), ((3_000 << 50) + 8, Some(&6)));
    }
    assert_eq!(whole, list(3_000));
}
