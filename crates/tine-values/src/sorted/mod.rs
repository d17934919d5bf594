//! Sorted maps and sets that share: B+trees whose nodes are counted.
//!
//! ```text
//! SortedMap --> inner --> leaf | k k k ... | v v v ... |
//!                    \--> leaf | k k k ... | v v v ... |      entries in leaves only, keys and values apart
//! ```
//!
//! A map is a pointer to its root; a clone counts one more owner of it. A write copies the nodes on its way that have
//! other owners, and no others: a leaf of a kilobyte, and for each level above it a node whose children each get an owner
//! more. That is what a copy costs, so inner nodes are small and leaves are not.
//!
//! How the parts build on each other: `node` and `edit` keep what a node is; `path` names places in a tree; `insert`,
//! `remove`, `join`, `bulk` and `drain` change trees; `walk` goes through their leaves. The map and the set call these.
//!
//! **Invariant:** no memory safety depends on how keys compare: places are numbers within a tree, found by comparing,
//! used without.

mod arrays;
mod bulk;
mod compare;
mod drain;
mod edit;
mod insert;
mod join;
pub mod map;
mod node;
mod path;
mod remove;
pub mod set;
#[cfg(all(test, not(loom)))]
mod tests;
mod walk;
mod way;

pub use self::map::SortedMap;
pub use self::set::SortedSet;
