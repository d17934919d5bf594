//! How a set of two is made: by writing to one of them, or anew.

/// A write to a tree costs about as much as so many elements of a tree that is made at once.
const WRITE: usize = 16;

/// Returns whether a set of `len` elements is rather written `count` times than made anew.
pub(crate) fn is_few(count: usize, len: usize) -> bool {
    count < len / WRITE
}
