//! Goal: what a `Vec` or a `VecDeque` does by a name that the model does not use, a `List` does too.
//! Method: each method on both, for lengths of no element up to a tree of three levels, and on a list that a clone
//! shares; afterwards both are equal and the clone is what it was.

use std::borrow::Cow;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::slice::GetDisjointMutError;
use std::sync::Arc;

use tine_values::List;

/// One block, its last element, the first tree, and a tree of three levels.
const LENGTHS: &[usize] = &[0, 1, 2, 10, 1023, 1024, 1025, 5000];

/// Does the same to a `Vec` and to lists of a sole owner and of two, and compares what comes out.
fn same<R: PartialEq + std::fmt::Debug>(
    on_vec: impl Fn(&mut Vec<u64>) -> R,
    on_list: impl Fn(&mut List<u64>) -> R,
) {
    for &n in LENGTHS {
        let mut vec: Vec<u64> = (0..n as u64).collect();
        let expected = on_vec(&mut vec);
        let mut own: List<u64> = (0..n as u64).collect();
        assert_eq!(on_list(&mut own), expected, "n = {n}");
        assert_eq!(own, vec, "n = {n}");

        let clone: List<u64> = (0..n as u64).collect();
        let mut shared = clone.clone();
        assert_eq!(on_list(&mut shared), expected, "shared, n = {n}");
        assert_eq!(shared, vec, "shared, n = {n}");
        assert!(clone.iter().copied().eq(0..n as u64), "the clone, n = {n}");
    }
}

#[test]
fn push_and_insert_return_the_place() {
    same(
        |vec| {
            vec.push(7);
            *vec.last_mut().unwrap() += 1;
        },
        |list| *list.push_mut(7) += 1,
    );
    same(
        |vec| {
            vec.insert(0, 7);
            vec[0] += 1;
        },
        |list| *list.push_front_mut(7) += 1,
    );
    same(
        |vec| {
            let middle = vec.len() / 2;
            vec.insert(middle, 7);
            vec[middle] += 1;
        },
        |list| *list.insert_mut(list.len() / 2, 7) += 1,
    );
}

#[test]
fn an_end_is_removed_if_it_is_wanted() {
    same(
        |vec| vec.pop_if(|last| *last % 2 == 1),
        |list| list.pop_if(|last| *last % 2 == 1),
    );
    same(
        |vec| (vec.first() == Some(&0)).then(|| vec.remove(0)),
        |list| list.pop_front_if(|first| *first == 0),
    );
    same(
        |vec| vec.first_mut().map(|first| *first = 9).and(None::<u64>),
        |list| {
            list.pop_front_if(|first| {
                *first = 9;
                false
            })
        },
    );
}

#[test]
fn a_range_is_added_once_more_and_shared() {
    same(
        |vec| vec.extend_from_within(vec.len() / 3..),
        |list| list.extend_from_within(list.len() / 3..),
    );
    let mut list: List<u64> = (0..100_000).collect();
    let before = list.own_bytes();
    list.extend_from_within(..);
    assert_eq!(list.len(), 200_000);
    assert!(list.own_bytes() + list.shared_bytes() < 3 * before);
}

#[test]
fn what_is_extracted_is_gone_and_the_rest_stays() {
    same(
        |vec| vec.extract_if(.., |number| *number % 3 == 0).collect::<Vec<_>>(),
        |list| list.extract_if(.., |number| *number % 3 == 0).collect::<Vec<_>>(),
    );
    same(
        |vec| {
            let from = vec.len() / 2;
            vec.extract_if(from.., |number| {
                *number += 1;
                *number % 2 == 0
            })
            .take(3)
            .collect::<Vec<_>>()
        },
        |list| {
            let from = list.len() / 2;
            list.extract_if(from.., |number| {
                *number += 1;
                *number % 2 == 0
            })
            .take(3)
            .collect::<Vec<_>>()
        },
    );
}

#[test]
fn extraction_that_panics_has_taken_what_it_gave() {
    let mut list: List<u64> = (0..3000).collect();
    let clone = list.clone();
    let mut taken = Vec::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        taken.extend(list.extract_if(.., |number| {
            assert!(*number < 10);
            *number % 2 == 0
        }));
    }));
    assert!(outcome.is_err());
    assert!(
        list.iter()
            .copied()
            .eq([1, 3, 5, 7, 9].into_iter().chain(10..3000))
    );
    assert!(clone.iter().copied().eq(0..3000));
}

#[test]
fn a_range_is_written() {
    same(
        |vec| {
            let (from, to) = (vec.len() / 4, vec.len() - vec.len() / 4);
            vec[from..to].iter_mut().for_each(|number| *number *= 2);
        },
        |list| {
            let (from, to) = (list.len() / 4, list.len() - list.len() / 4);
            list.range_mut(from..to).for_each(|number| *number *= 2);
        },
    );
    same(
        |vec| vec.iter_mut().rev().skip(1).for_each(|number| *number += 5),
        |list| {
            let end = list.len().saturating_sub(1);
            list.range_mut(..end).rev().for_each(|number| *number += 5);
        },
    );
}

#[test]
fn several_elements_are_written_at_once() {
    same(
        |vec| {
            let last = vec.len().wrapping_sub(1);
            let found = vec.get_disjoint_mut([0, last, last / 2]);
            found.map(|[a, b, c]| (std::mem::swap(a, b), *c += 100).1)
        },
        |list| {
            let last = list.len().wrapping_sub(1);
            let found = list.get_disjoint_mut([0, last, last / 2]);
            found.map(|[a, b, c]| (std::mem::swap(a, b), *c += 100).1)
        },
    );
    let mut list = List::from([1, 2, 3]);
    let clone = list.clone();
    assert_eq!(
        list.get_disjoint_mut([0, 3]),
        Err(GetDisjointMutError::IndexOutOfBounds)
    );
    assert_eq!(
        list.get_disjoint_mut([1, 1]),
        Err(GetDisjointMutError::OverlappingIndices)
    );
    assert!(list.ptr_eq(&clone), "a refusal copies nothing");
}

#[test]
fn all_are_set_to_what_a_closure_gives() {
    let counter = || {
        let mut next = 0;
        move || {
            next += 3;
            next
        }
    };
    same(|vec| vec.fill_with(counter()), |list| list.fill_with(counter()));
}

#[test]
fn order_is_asked_for() {
    same(
        |vec| {
            (
                vec.is_sorted_by(|a, b| a < b),
                vec.is_sorted_by_key(|number| number % 10),
            )
        },
        |list| {
            (
                list.is_sorted_by(|a, b| a < b),
                list.is_sorted_by_key(|number| number % 10),
            )
        },
    );
}

#[test]
fn room_is_given_back() {
    let mut list = List::with_capacity(500);
    list.extend([1_u64, 2, 3]);
    list.pop_front();
    let roomy = list.own_bytes();
    list.shrink_to_fit();
    assert_eq!(list, [2, 3]);
    assert!(list.own_bytes() + 400 * size_of::<u64>() < roomy);
    list.push(4);
    assert_eq!(list, [2, 3, 4]);

    let mut empty = List::<u64>::with_capacity(500);
    empty.shrink_to_fit();
    assert_eq!(empty.own_bytes(), 0);
    same(Vec::shrink_to_fit, List::shrink_to_fit);
}

#[test]
fn it_is_made_of_and_made_into_what_a_vec_is() {
    for &n in LENGTHS {
        let vec: Vec<u64> = (0..n as u64).collect();
        assert_eq!(List::from(vec.clone().into_boxed_slice()), vec);
        assert_eq!(List::from(VecDeque::from(vec.clone())), vec);
        assert_eq!(List::from(Cow::Borrowed(&vec[..])), vec);
        assert_eq!(List::from(Cow::<[u64]>::Owned(vec.clone())), vec);
        let list: List<u64> = vec.iter().copied().collect();
        assert_eq!(Box::<[u64]>::from(list.clone())[..], vec[..]);
        assert_eq!(VecDeque::from(list.clone()), vec);
        assert!(vec == list && vec[..] == list);
    }
    for &n in LENGTHS {
        let list: List<u64> = (0..n as u64).collect();
        assert_eq!(list, &*Rc::<[u64]>::from(list.clone()));
        assert_eq!(list, &*Arc::<[u64]>::from(list.clone()));
        let deque = VecDeque::from(list.clone());
        assert_eq!(deque, list);
        assert_eq!(list, deque);
        let heap = BinaryHeap::from(list.clone());
        assert_eq!(List::from(heap.clone()), heap.into_vec());
        assert_eq!(List::from(&mut list.to_vec()[..]), list);
    }
    let mut array = [1, 2];
    assert_eq!(List::from([1, 2]), &mut array);
    assert_eq!(&mut array, List::from([1, 2]));
    let list = List::from(&[1, 2, 3]);
    assert!([1, 2, 3] == list && [1, 2, 4] != list);
}

#[test]
fn parts_of_a_slice_are_lists() {
    let lists = |(left, right): (List<u64>, List<u64>)| (left.to_vec(), right.to_vec());
    same(
        |vec| vec.split_first().map(|(first, rest)| (*first, rest.to_vec())),
        |list| list.split_first().map(|(first, rest)| (*first, rest.to_vec())),
    );
    same(
        |vec| vec.split_last().map(|(last, rest)| (*last, rest.to_vec())),
        |list| list.split_last().map(|(last, rest)| (*last, rest.to_vec())),
    );
    for mid in [0, 1, 700, 2_000, 6_000] {
        same(
            |vec| {
                vec.split_at_checked(mid)
                    .map(|(left, right)| (left.to_vec(), right.to_vec()))
            },
            |list| list.split_at_checked(mid).map(lists),
        );
    }
    for fix in [&[][..], &[0], &[0, 1], &[1_023], &[4_998, 4_999], &[7, 7]] {
        same(
            |vec| {
                (
                    vec.strip_prefix(fix).map(<[_]>::to_vec),
                    vec.strip_suffix(fix).map(<[_]>::to_vec),
                )
            },
            |list| {
                (
                    list.strip_prefix(fix).map(|rest| rest.to_vec()),
                    list.strip_suffix(fix).map(|rest| rest.to_vec()),
                )
            },
        );
    }
    for together in [1, 3, 700, 10_000] {
        same(
            |vec| {
                vec.chunk_by(|a, b| a / together == b / together)
                    .map(<[_]>::to_vec)
                    .collect::<Vec<_>>()
            },
            |list| {
                list.chunk_by(|a, b| a / together == b / together)
                    .map(|part| part.to_vec())
                    .collect()
            },
        );
    }
    for n in [0, 1, 2, 3, 10] {
        same(|vec| *vec = vec.repeat(n), |list| *list = list.repeat(n));
    }
    let endless = catch_unwind(|| List::from([1, 2, 3]).repeat(usize::MAX / 2));
    assert!(endless.is_err());
    assert_eq!(List::from(["a", "b", ""]).join(", "), "a, b, ");
}

#[test]
fn elements_are_written_over() {
    same(
        |vec| {
            let other: Vec<u64> = vec.iter().map(|number| number + 1).collect();
            vec.clone_from_slice(&other);
        },
        |list| {
            let other: Vec<u64> = list.iter().map(|number| number + 1).collect();
            list.clone_from_slice(&other);
        },
    );
    // From, to and how many, in tenths of the length: overlapping at both sides, and not.
    for (from, to, count) in [(0, 5, 5), (5, 0, 5), (2, 3, 6), (3, 2, 6), (4, 4, 3), (9, 0, 0)] {
        let places = |len: usize| (from * len / 10..from * len / 10 + count * len / 10, to * len / 10);
        same(
            |vec| {
                let (range, to) = places(vec.len());
                vec.copy_within(range, to);
            },
            |list| {
                let (range, to) = places(list.len());
                list.copy_within(range, to);
            },
        );
    }
    let mut list = List::from([1, 2, 3]);
    let is_refused = |write: fn(&mut List<i32>), list: &mut List<i32>| {
        catch_unwind(AssertUnwindSafe(|| write(list))).is_err()
    };
    assert!(is_refused(|list| list.copy_within(1.., 2), &mut list));
    assert!(is_refused(|list| list.clone_from_slice(&[1]), &mut list));
    assert!(is_refused(|list| *list.select_nth_unstable(3) += 1, &mut list));
    assert_eq!(list, [1, 2, 3]);
}

#[test]
fn elements_are_selected_and_swapped_out() {
    let shuffle = |at: &u64| at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    for &n in LENGTHS.iter().filter(|&&n| n > 0) {
        let mut list: List<u64> = (0..n as u64).map(|at| shuffle(&at)).collect();
        let mut sorted = list.to_vec();
        sorted.sort_unstable();
        for at in [0, n / 3, n - 1] {
            assert_eq!(*list.select_nth_unstable(at), sorted[at]);
            assert!(list.range(..at).all(|element| *element <= sorted[at]));
            assert!(list.range(at..).all(|element| *element >= sorted[at]));
            assert_eq!(
                *list.select_nth_unstable_by(at, |a, b| b.cmp(a)),
                sorted[n - 1 - at]
            );
            assert_eq!(*list.select_nth_unstable_by_key(at, |number| *number), sorted[at]);
        }
        let mut deque: VecDeque<u64> = list.iter().copied().collect();
        for at in [n / 2, 0, n, n / 3] {
            assert_eq!(list.swap_remove_front(at), deque.swap_remove_front(at));
            assert_eq!(list.swap_remove_back(at), deque.swap_remove_back(at));
        }
        assert_eq!(list, deque);
    }
}
