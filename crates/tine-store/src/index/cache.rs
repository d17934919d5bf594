//! The cache of nodes: bounded in bytes, shared by all views of a store.
//!
//! A clock: nodes go round, and one that was not used since its last turn goes. Inner nodes remember their children
//! weakly, so most look-ups never come here, and a node that goes is forgotten by all of them at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::node::{Node, NodeRef};
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

    pub(crate) fn get(&self, at: &NodeRef) -> Option<Arc<Node>> {
        self.shard(at).lock().nodes.get(&(at.segment, at.offset)).cloned()
    }

    /// Adds a node, or returns the one that is there already. What was not used for longest makes room.
    pub(crate) fn insert(&self, at: &NodeRef, node: Node) -> Arc<Node> {
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
