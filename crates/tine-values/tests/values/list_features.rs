//! Goal: a `List` does with serde, rayon and proptest what a `Vec` does.

#![cfg(all(feature = "serde", feature = "rayon", feature = "proptest"))]

use proptest::prelude::*;
use rayon::prelude::*;
use tine_values::{List, list};

/// In one block, in a tree, and in one whose nodes are of all sizes.
fn lists() -> [List<u64>; 4] {
    let long: List<u64> = (0..100_000).collect();
    let ragged = long
        .slice(17..4_000)
        .concat(&long.slice(300..))
        .concat(&long.slice(1..90));
    [List::new(), (0..9).collect(), long, ragged]
}

#[test]
fn to_a_format_it_is_a_sequence() {
    for list in lists() {
        let json = serde_json::to_string(&list).unwrap();
        assert_eq!(json, serde_json::to_string(&list.to_vec()).unwrap());
        assert_eq!(serde_json::from_str::<List<u64>>(&json).unwrap(), list);
    }
    assert!(serde_json::from_str::<List<u64>>("[1, true]").is_err());
}

#[test]
fn in_parallel_it_has_the_same_elements_in_the_same_order() {
    for list in lists() {
        let vec = list.to_vec();
        assert_eq!(list.par_iter().copied().collect::<Vec<_>>(), vec);
        assert_eq!(list.clone().into_par_iter().collect::<Vec<_>>(), vec);
        assert_eq!(list.par_iter().copied().collect::<List<_>>(), vec);
        assert!(
            list.par_iter()
                .rev()
                .zip(vec.par_iter().rev())
                .all(|(a, b)| a == b)
        );
        let mut version = list.clone();
        version
            .par_iter_mut()
            .enumerate()
            .for_each(|(at, number)| *number += at as u64);
        let expected: Vec<_> = vec
            .iter()
            .enumerate()
            .map(|(at, number)| number + at as u64)
            .collect();
        assert_eq!(version, expected);
        assert_eq!(list, vec, "the origin is as it was");
        version
            .par_iter_mut()
            .rev()
            .take(10)
            .for_each(|number| *number = 0);
        assert!(
            version
                .range(version.len().saturating_sub(10)..)
                .all(|&number| number == 0)
        );
    }
}

proptest! {
    #[test]
    fn strategies_make_lists_of_the_size_asked_for(
        few in list::strategy(any::<u8>(), 2..5),
        many in list::strategy(0..9_u32, 3_000),
        some in any::<List<String>>(),
    ) {
        prop_assert!((2..5).contains(&few.len()) && many.len() == 3_000);
        prop_assert!(many.iter().all(|&number| number < 9));
        prop_assert_eq!(some.to_vec(), some);
    }
}
