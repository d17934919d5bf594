#![allow(unsafe_code)]
//! What must hold inside of a tree, after whatever was done to it.

use alloc::vec::Vec;
use core::hash::{BuildHasher, Hash};

use super::leaf::Leaf;
use super::node::{FAN, FAN_BITS, Node, View};
use super::{Map, hash_of};

impl<K: Hash + Eq, V, S: BuildHasher> Map<K, V, S> {
    /// Checks the invariants of all nodes.
    fn check(&self) {
        let hash = |key: &K| hash_of(&self.hasher, key);
        let len = self.tree.root.map_or(0, |root| check_node(root, 0, 0, &hash));
        assert_eq!(len, self.len());
        assert_eq!(self.tree.root.is_none(), self.is_empty());
    }
}

/// Checks a node to which hashes lead that begin with the `bits` upper bits of `prefix`; returns how many entries it has.
fn check_node<K, V>(node: Node<K, V>, prefix: u64, bits: u32, hash: &impl Fn(&K) -> u64) -> usize {
    match node.view() {
        View::Leaf(leaf) => check_leaf(leaf, prefix, bits, hash),
        View::Inner(slots) => {
            let (mut slot, mut len) = (0, 0);
            let mut seen = Vec::new();
            while slot < FAN {
                // SAFETY: the map is borrowed.
                let (child, end) = unsafe { (slots.get(slot), slots.end_of(slot)) };
                assert!(
                    !seen.contains(&child),
                    "the slots of a child are next to each other"
                );
                seen.push(child);
                let width = end - slot;
                assert!(width.is_power_of_two() && slot % width == 0, "{slot}..{end}");
                let is_inner = matches!(child.view(), View::Inner(_));
                assert!(!is_inner || width == 1, "an inner node has one slot");
                let bits = bits + FAN_BITS;
                let prefix = prefix | (slot as u64) << (u64::BITS - bits);
                len += check_node(child, prefix, bits - width.ilog2(), hash);
                slot = end;
            }
            assert!(seen.len() > 1, "one leaf needs no inner node above it");
            len
        }
    }
}

fn check_leaf<K, V>(leaf: Leaf<K, V>, prefix: u64, bits: u32, hash: &impl Fn(&K) -> u64) -> usize {
    // SAFETY: the map is borrowed.
    unsafe {
        let hashes = leaf.hashes(hash);
        for hash in &hashes {
            assert!(
                bits == 0 || (hash ^ prefix) >> (u64::BITS - bits) == 0,
                "{hash:x} is not below {prefix:x}"
            );
        }
        assert_eq!(hashes.len(), leaf.len());
        assert!(leaf.len() <= leaf.shape().limit());
        leaf.check_groups(&hashes);
        leaf.len()
    }
}

/// Small steps of a plain generator.
fn random(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

#[test]
fn whatever_is_done_the_invariants_hold() {
    let mut state = 1;
    for size in [20, 150, 1000, 4000] {
        let mut map = Map::<u64, [u64; 2]>::new();
        let mut other = map.clone();
        for round in 0..60 {
            let (first, count) = (random(&mut state) % size, random(&mut state) % size);
            let keys = (first..size).take(count as usize);
            match random(&mut state) % 8 {
                0..3 => map.extend(keys.map(|key| (key, [round; 2]))),
                3..6 => keys.for_each(|key| assert!(map.remove(&key).is_none_or(|value| value[0] <= round))),
                6 => map.retain(|key, _| (key ^ first) % 3 > 0),
                _ => core::mem::swap(&mut map, &mut other),
            }
            if round % 10 == 0 {
                other = map.clone();
            }
            map.check();
            other.check();
        }
    }
}

#[test]
fn hashes_that_part_late_make_a_tree_of_bounded_depth() {
    struct Late;
    #[derive(Default)]
    struct LateHasher(u64);
    impl core::hash::Hasher for LateHasher {
        fn finish(&self) -> u64 {
            // What `hash_of` multiplies with, the other way round.
            (self.0 << 30).wrapping_mul(0xf1de_83e1_9937_733d)
        }
        fn write(&mut self, _: &[u8]) {}
        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }
    }
    impl BuildHasher for Late {
        type Hasher = LateHasher;
        fn build_hasher(&self) -> LateHasher {
            LateHasher::default()
        }
    }
    let mut map = Map::with_hasher(Late);
    map.extend((0..400_u64).map(|key| (key, [0_u64; 14])));
    map.check();
    (0..390).for_each(|key| assert!(map.remove(&key).is_some()));
    map.check();
    assert_eq!(map.len(), 10);
}
