//! Bounds of the engine that no user chooses.
//!
//! **Invariant:** no file says what they were: a store made with small ones is read with any.

#![cfg_attr(
    not(feature = "simulation"),
    allow(unreachable_pub, reason = "public for tests, which choose them")
)]

/// Bounds that no user chooses: tests choose small ones, to meet them without gigabytes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A leaf of the index gets no further extent that would make it longer than this.
    pub leaf_bytes: usize,
    /// Children of an inner node of the index.
    pub children: usize,
    /// Bytes in segments that no root covers, above which the index is saved and writers are slowed down.
    pub debt_soft: u64,
    /// And above which they save it before they go on.
    pub debt_hard: u64,
    /// Words of 64 blocks, or runs of equal ones, that all branches in use together know of what is their own: some 30 bytes
    /// each, up to 100 where they lie far apart. What is beyond that is read when it is asked for.
    pub own_words: u64,
}

impl Bounds {
    /// Those of every store outside of tests.
    ///
    /// A random write into a tree costs a leaf, so it is not large: seven extents of 1 MiB or some two hundred of one
    /// block fit. The children of an inner node take 7 KiB. Each block that no root covers takes some 50 bytes of memory,
    /// and the next opening reads the footers of their segments.
    pub const USUAL: Self = Self {
        leaf_bytes: 8 << 10,
        children: 224,
        debt_soft: 1 << 30,
        debt_hard: 4 << 30,
        own_words: 1 << 19,
    };
}
