//! Goal: what a `Vec` or a `VecDeque` does by a name that the model does not use, a `List` does too.
//! Method: each method on both, for lengths of no element up to a tree of three levels, and on a list that a clone
//! shares; afterwards both are equal and the clone is what it was.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice::GetDisjointMutError;

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
    let list = List::from(&[1, 2, 3]);
    assert!([1, 2, 3] == list && [1, 2, 4] != list);
}
