//! The cache of nodes: bounded in bytes, shared by all views of a store.
//!
//! A clock: nodes go round, and one that was not used since its last turn goes. What is used once, as by a walk over a
//! disk, was not used since it came: it does not drive out what is used again and again. Inner nodes remember their
//! children weakly, so most look-ups never come to the locks, and a node that goes is forgotten by all of them at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::node::{Child, Node, NodeRef};
use crate::error::Result;
use crate::segment::SegmentId;

/// Locks that share the nodes between them.
const SHARDS: usize = 16;

type Key = (SegmentId, u64);

#[derive(Default)]
struct Shard {
    nodes: HashMap<Key, Arc<Node>>,
    /// The keys of all nodes; the next to be looked at comes first.
    clock: VecDeque<Key>,
    bytes: u64,
}

/// See the module.
pub(crate) struct NodeCache {
    shards: [Mutex<Shard>; SHARDS],
    shard_bytes: u64,
}

impl NodeCache {
    pub(crate) fn new(bytes: u64) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            shard_bytes: bytes / SHARDS as u64,
        }
    }

    fn shard(&self, at: &NodeRef) -> &Mutex<Shard> {
        // Nodes are some hundred bytes or more, and lie one behind the other.
        let hash = (at.segment.to_u64() ^ (at.offset >> 6)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.shards[(hash >> 60) as usize % SHARDS]
    }

    /// Returns the node of a child, which is read if it is not in memory.
    pub(crate) fn load(&self, child: &Child, read: impl FnOnce() -> Result<Node>) -> Result<Arc<Node>> {
        if let Some(node) = child.cached() {
            node.touch();
            return Ok(node);
        }
        let node = match self.get(&child.at) {
            Some(node) => {
                node.touch();
                node
            }
            None => self.insert(&child.at, read()?),
        };
        child.set_cached(&node);
        Ok(node)
    }

    /// Adds a node that was just written: it counts as not used yet. Returns the bytes that it takes in memory.
    pub(super) fn add(&self, at: &NodeRef, node: Node) -> u64 {
        let bytes = node.memory_bytes();
        self.insert(at, node);
        bytes
    }

    fn get(&self, at: &NodeRef) -> Option<Arc<Node>> {
        self.shard(at).lock().nodes.get(&(at.segment, at.offset)).cloned()
    }

    /// Adds a node, or returns the one that is there already. What was not used for longest makes room.
    fn insert(&self, at: &NodeRef, node: Node) -> Arc<Node> {
        let key = (at.segment, at.offset);
        let mut shard = self.shard(at).lock();
        if let Some(there) = shard.nodes.get(&key) {
            return Arc::clone(there);
        }
        let node = Arc::new(node);
        shard.bytes += node.memory_bytes();
        shard.nodes.insert(key, Arc::clone(&node));
        shard.clock.push_back(key);
        // Twice round at the most: the first turn takes all marks away.
        let mut turns = 2 * shard.clock.len();
        while shard.bytes > self.shard_bytes && turns > 0 {
            turns -= 1;
            let Some(oldest) = shard.clock.pop_front() else {
                break;
            };
            let used = shard.nodes.get(&oldest).is_some_and(|node| node.take_touched());
            if used {
                shard.clock.push_back(oldest);
            } else if let Some(gone) = shard.nodes.remove(&oldest) {
                shard.bytes -= gone.memory_bytes();
            }
        }
        node
    }

    /// Returns the bytes held, and the bound.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let held = self.shards.iter().map(|shard| shard.lock().bytes).sum();
        (held, self.shard_bytes * SHARDS as u64)
    }
}

#[cfg(test)]
mod tests {
    //! Goal: the cache keeps its bound and gives out the node that was asked for, whatever is added meanwhile; and
    //! what is used stays while there is room for it.
    //! Method: leaves of one extent, whose start says which node they are.

    use std::ops::Range;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::codec::Encoder;
    use crate::index::extent::{Content, Extent};
    use crate::index::node::{NodeKind, encode_leaf};
    use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
    use crate::segment::table::SegmentTable;

    fn at(number: u64) -> NodeRef {
        NodeRef {
            segment: SegmentId {
                epoch: 1,
                counter: (number % 5) as u32,
            },
            offset: number * 4096,
            bytes: 4096,
            checksum: 0,
        }
    }

    struct Nodes(SegmentTable);

    impl Nodes {
        fn new() -> Self {
            let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
            Self(SegmentTable::new(medium.start()))
        }

        /// A leaf of so many extents, the first of which begins at its number.
        fn node(&self, number: u64) -> Node {
            let mut bytes = Encoder::default();
            let extents: Vec<Extent> = (0..50)
                .map(|place| Extent {
                    start: number + 2 * place,
                    count: 1,
                    birth: number,
                    content: Content::Zero,
                })
                .collect();
            encode_leaf(&extents, &mut bytes);
            Node::decode(&bytes.bytes, &self.0).unwrap()
        }

        /// Looks a node up; true if it was there.
        fn look_up(&self, cache: &NodeCache, child: &Child, number: u64) -> bool {
            let mut hit = true;
            let node = cache.load(child, || {
                hit = false;
                Ok(self.node(number))
            });
            let node = node.unwrap();
            let NodeKind::Leaf(leaf) = node.kind() else {
                panic!("it is a leaf");
            };
            assert_eq!(leaf.piece(0).start, number);
            hit
        }
    }

    fn children(numbers: Range<u64>) -> Vec<Child> {
        numbers.map(|number| Child::new(number, at(number))).collect()
    }

    #[test]
    fn readers_of_a_few_nodes_keep_them_while_many_others_come() {
        const HOT: u64 = 8;
        let nodes = Nodes::new();
        let bytes = nodes.node(0).memory_bytes();
        // Room for a few in each shard.
        let cache = NodeCache::new(bytes * 24 * SHARDS as u64);
        let hot = children(0..HOT);
        for number in 0..HOT {
            nodes.look_up(&cache, &hot[number as usize], number);
        }
        for number in HOT..20_000 {
            // Between two turns of the clock every hot one is used.
            let again = number % HOT;
            assert!(
                nodes.look_up(&cache, &hot[again as usize], again),
                "{again} was thrown out before {number}"
            );
            nodes.look_up(&cache, &Child::new(number, at(number)), number);
            let (held, bound) = cache.bytes();
            assert!(held <= bound, "{held} bytes of {bound}");
        }
        // What was thrown out is no more: nothing but the cache holds nodes.
        assert!(cache.get(&at(HOT)).is_none());
    }

    #[test]
    fn many_readers_of_a_small_cache_find_the_right_nodes_and_keep_its_bound() {
        const NODES: u64 = 600;
        const THREADS: u64 = 4;
        let nodes = Nodes::new();
        let bytes = nodes.node(0).memory_bytes();
        let cache = NodeCache::new(bytes * 4 * SHARDS as u64);
        // Trees share nodes: each thread has some parents of its own and some that all have.
        let shared = children(0..NODES);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (nodes, cache, shared) = (&nodes, &cache, &shared);
                    scope.spawn(move || {
                        let own = children(0..NODES);
                        let mut number = thread * 131;
                        for step in 0..20_000u64 {
                            number = (number * 25_214_903 + 11) % 281_474_976;
                            let next = if step % 2 == 0 { number % 7 } else { number % NODES };
                            let parents = if step % 3 == 0 { shared } else { &own };
                            nodes.look_up(cache, &parents[next as usize], next);
                        }
                    })
                })
                .collect();
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let (held, bound) = cache.bytes();
                    assert!(held <= bound, "{held} bytes of {bound}");
                    std::thread::yield_now();
                }
            });
            for thread in threads {
                thread.join().unwrap();
            }
            ended.store(true, Ordering::Relaxed);
        });
        // What it counts is what it has, and nobody else has any.
        let alive = shared.iter().filter_map(Child::cached);
        let held: u64 = alive.map(|node| node.memory_bytes()).sum();
        assert!(held <= cache.bytes().0);
        for shard in &cache.shards {
            let shard = shard.lock();
            let counted: u64 = shard.nodes.values().map(|node| node.memory_bytes()).sum();
            assert_eq!((counted, shard.nodes.len()), (shard.bytes, shard.clock.len()));
        }
    }
}
