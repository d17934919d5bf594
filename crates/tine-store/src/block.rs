//! Blocks: the unit in which a disk is shared, checksummed and stored.

use std::ops::Range;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 4096;

/// [`BLOCK_BYTES`] as an in-memory length.
pub(crate) const BLOCK: usize = BLOCK_BYTES as usize;

/// The largest disk, in bytes: offsets and block counts stay clear of the ends of `i64` and `u64`.
pub const DISK_BYTES_MAX: u64 = 1 << 62;

/// Returns the blocks that a byte range touches, whole or in part.
pub(crate) fn blocks_touched(offset: u64, length: u64) -> Range<u64> {
    if length == 0 {
        return offset / BLOCK_BYTES..offset / BLOCK_BYTES;
    }
    offset / BLOCK_BYTES..(offset + length).div_ceil(BLOCK_BYTES)
}

/// Returns the number of blocks of a disk of `size` bytes; the last one may be partial.
pub(crate) fn block_count(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES)
}

/// Tells whether every byte is zero.
///
/// Looks at the first bytes alone first, since most blocks that are not zero differ there; the rest is a loop
/// that the compiler turns into vector instructions.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (head, rest) = bytes.split_at(bytes.len().min(64));
    if head.iter().any(|&byte| byte != 0) {
        return false;
    }
    rest.chunks(512)
        .all(|chunk| chunk.iter().fold(0u8, |seen, &byte| seen | byte) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_touches_its_partial_blocks() {
        assert_eq!(blocks_touched(0, 1), 0..1);
        assert_eq!(blocks_touched(4095, 2), 0..2);
        assert_eq!(blocks_touched(4096, 4096), 1..2);
        assert_eq!(blocks_touched(8192, 0), 2..2);
        assert_eq!(block_count(4097), 2);
    }

    #[test]
    fn a_single_set_byte_anywhere_is_seen() {
        let mut block = vec![0u8; BLOCK];
        assert!(is_zero(&block));
        for at in [0, 63, 64, 511, 575, 576, 4095] {
            block[at] = 1;
            assert!(!is_zero(&block), "byte {at}");
            block[at] = 0;
        }
    }
}
