//! Goal: trees keep their shape: nodes are full enough, separators separate, counts count.
//! Method: random writes to trees and their clones, all of which are looked at afterwards.

extern crate std;

use std::vec::Vec;

use super::SortedMap;
use super::node::{Node, View};

type Map<V> = SortedMap<u32, V>;
/// Four to a leaf.
type Wide = [u64; 40];

/// Checks what is below `node`, whose keys must be from `from` on and below `to`. Returns how many entries there are.
fn check<V>(node: &Node<u32, V>, is_root: bool, from: Option<u32>, to: Option<u32>) -> usize {
    assert!(
        is_root || !node.is_underfull(),
        "{} at level {}",
        node.len(),
        node.level()
    );
    let is_inside = |key: &u32| from.is_none_or(|from| from <= *key) && to.is_none_or(|to| *key < to);
    match node.view() {
        View::Leaf(leaf) => {
            assert!(leaf.keys.iter().all(is_inside));
            assert!(leaf.keys.is_sorted_by(|one, next| one < next));
            assert!(!leaf.keys.is_empty());
            leaf.keys.len()
        }
        View::Inner(inner) => {
            assert!(inner.children.len() > 1);
            assert!(inner.separators.iter().all(is_inside));
            assert!(inner.separators.is_sorted_by(|one, next| one < next));
            let mut entries = 0;
            for (at, child) in inner.children.iter().enumerate() {
                assert_eq!(child.level() + 1, node.level());
                let from = at.checked_sub(1).map_or(from, |at| Some(inner.separators[at]));
                let to = inner.separators.get(at).copied().or(to);
                entries += check(child, false, from, to);
            }
            assert_eq!(entries, node.entries());
            entries
        }
    }
}

fn check_map<V>(map: &Map<V>) {
    if let Some(root) = &map.root {
        check(root, true, None, None);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u32
    }
}

fn keep_shape<V: Clone>(value: V, keys: u32) {
    let mut random = Random(7);
    let mut versions: Vec<Map<V>> = (0..4).map(|_| Map::new()).collect();
    for _ in 0..300 {
        let (from, to) = (random.below(4) as usize, random.below(4) as usize);
        let mut map = versions[from].clone();
        let (first, count) = (random.below(keys), random.below(keys / 8));
        match random.below(9) {
            0 => map.extend((0..count).map(|_| (random.below(keys), value.clone()))),
            1 => map.extend((first..first + count).map(|key| (key, value.clone()))),
            2 => map.extend((first..first + count).rev().map(|key| (key, value.clone()))),
            3 => (first..first + count).for_each(|key| drop(map.remove(&key))),
            4 => (0..count).for_each(|_| drop(map.remove(&random.below(keys)))),
            5 => {
                let mut right = map.split_off(&first);
                check_map(&right);
                drop((0..count / 4).map(|_| right.pop_first()).collect::<Vec<_>>());
                map.append(&mut right);
            }
            6 => {
                let mut right = map.split_off(&first);
                check_map(&map);
                drop((0..count).map(|_| map.pop_last()).collect::<Vec<_>>());
                right.append(&mut map);
                map = right;
            }
            7 => map
                .extract_if(first..first + count, |key, _| key % 3 > 0)
                .for_each(drop),
            _ => map = Map::from_iter((first..first + count * 4).map(|key| (key, value.clone()))),
        }
        check_map(&map);
        versions[to] = map;
    }
    versions.iter().for_each(check_map);
}

#[test]
fn trees_of_large_values_keep_their_shape() {
    keep_shape::<Wide>([0; 40], 2_000);
}

#[test]
fn trees_of_small_values_keep_their_shape() {
    keep_shape::<u8>(0, 20_000);
}

#[test]
fn trees_filled_at_once_have_full_nodes() {
    for count in (0..600).chain([5_000, 40_000]) {
        let map: Map<Wide> = (0..count).map(|key| (key, [0; 40])).collect();
        check_map(&map);
    }
}

#[test]
fn a_leaf_takes_what_malloc_keeps_at_hand() {
    assert_eq!(Node::<u64, u64>::LEAF_MAX, 62);
    assert_eq!(Node::<u64, ()>::LEAF_MAX, 125);
    assert_eq!(Node::<u32, Wide>::LEAF_MAX, 4);
    assert_eq!(Node::<(), ()>::LEAF_MAX, 255);
    assert_eq!(size_of::<Map<u64>>(), size_of::<usize>());
    assert_eq!(size_of::<super::path::Place>(), 32);
}
