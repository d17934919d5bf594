#![allow(unsafe_code)]
//! What a node has, moved within it and between two: bytes, whatever they mean. Nothing here can panic.

/// The two arrays of a node, and how many of their places are in use.
pub(super) struct Arrays<K, P> {
    pub(super) keys: *mut K,
    pub(super) payloads: *mut P,
    pub(super) len: usize,
}

impl<K, P> Arrays<K, P> {
    /// Moves what is at `at` and behind it up by `count` places.
    ///
    /// # Safety
    ///
    /// There must be room for as many more. The places at `at` are to be written, or not to be used.
    #[inline]
    pub(super) unsafe fn open(&self, at: usize, count: usize) {
        debug_assert!(at <= self.len);
        // SAFETY: the arrays have the room, as the caller vouches.
        unsafe {
            self.keys
                .add(at)
                .copy_to(self.keys.add(at + count), self.len - at);
            let payloads = self.payloads.add(at);
            payloads.copy_to(payloads.add(count), self.len - at);
        }
    }

    /// Moves what is behind the `count` places at `at` down over them.
    ///
    /// # Safety
    ///
    /// What is in these places must have been moved out.
    #[inline]
    pub(super) unsafe fn close(&self, at: usize, count: usize) {
        debug_assert!(at + count <= self.len);
        let behind = self.len - at - count;
        // SAFETY: all of it lies within the arrays.
        unsafe {
            self.keys.add(at + count).copy_to(self.keys.add(at), behind);
            self.payloads
                .add(at + count)
                .copy_to(self.payloads.add(at), behind);
        }
    }

    /// Copies `count` places at `at` to `to_at` of another node.
    ///
    /// # Safety
    ///
    /// They must be there, and room for them in the other node; what is copied must be in use once afterwards.
    #[inline]
    pub(super) unsafe fn copy_to(&self, at: usize, count: usize, to: &Self, to_at: usize) {
        debug_assert!(at + count <= self.len);
        // SAFETY: two nodes with one owner each are two blocks; the caller vouches for the room.
        unsafe {
            self.keys
                .add(at)
                .copy_to_nonoverlapping(to.keys.add(to_at), count);
            self.payloads
                .add(at)
                .copy_to_nonoverlapping(to.payloads.add(to_at), count);
        }
    }
}
