//! Checksums: crc32c for blocks and structures, a crc64 chain for the journal.
//!
//! Both are the standard ones (CRC-32/ISCSI, CRC-64/NVME) so that other tools can verify a store.

use crc_fast::{CrcAlgorithm, Digest, checksum};

/// Returns the crc32c of `bytes`.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    // The upper half is zero for a 32-bit algorithm.
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Returns the crc32c of the parts, one behind the other.
pub(crate) fn crc32c_of(parts: &[&[u8]]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in parts {
        digest.update(part);
    }
    digest.finalize() as u32
}

/// Returns the link that follows `previous` in a chain: the crc64 of it and the parts.
pub(crate) fn chain(previous: u64, parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
    digest.update(&previous.to_le_bytes());
    for part in parts {
        digest.update(part);
    }
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_of_the_standards() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(
            checksum(CrcAlgorithm::Crc64Nvme, b"123456789"),
            0xAE8B_1486_0A79_9888
        );
    }

    #[test]
    fn a_chain_depends_on_what_came_before() {
        assert_ne!(chain(1, &[b"x"]), chain(2, &[b"x"]));
        assert_eq!(chain(1, &[b"x", b"y"]), chain(1, &[b"xy"]));
    }
}
