//! Goal: any bytes for a saved region are refused or loaded, and what is loaded is saved as something that loads as the same.
//! Method: the bytes as they are, and with their checksums and states made right by docs/memory-format.md. What follows a full save is applied
//! to it.

#![no_main]

use crc_fast::{CrcAlgorithm, Digest};
use libfuzzer_sys::fuzz_target;
use tine_memory::{PAGE_BYTES, Region, Save};

fuzz_target!(|bytes: &[u8]| {
    load(bytes);
    load(&repaired(bytes));
});

fn load(mut stream: &[u8]) {
    let Ok(mut region) = Region::load(&mut stream) else {
        return;
    };
    // Each needs a header more.
    while region.load_since(&mut stream).is_ok() {}
    assert!(region.dirty().unwrap().is_empty());
    let mut saved = Vec::new();
    region.save(&mut saved, Save::Full).unwrap();
    let again = Region::load(&mut &saved[..]).unwrap();
    assert!(region.diff(&again).unwrap().is_empty());
}

const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 32;
const END: u8 = 3;

fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    let mut state = [0; 16];
    while rest.len() >= HEADER_BYTES {
        let (header, records) = rest.split_at_mut(HEADER_BYTES);
        header[..8].copy_from_slice(b"tinemem\0");
        header[8..12].copy_from_slice(&1u32.to_le_bytes());
        header[12..16].copy_from_slice(&4096u32.to_le_bytes());
        header[24..40].copy_from_slice(&state);
        state.copy_from_slice(&header[40..56]);
        header[56..60].fill(0);
        let mut chain = 0;
        put(&mut chain, header, 60);
        rest = repair_records(&mut chain, records);
    }
    bytes
}

/// Returns what is behind the last record.
fn repair_records<'a>(chain: &mut u32, mut rest: &'a mut [u8]) -> &'a mut [u8] {
    while rest.len() >= RECORD_BYTES {
        let (record, behind) = rest.split_at_mut(RECORD_BYTES);
        record[0] &= 3;
        record[1..8].fill(0);
        let pages = usize::from(record[16]);
        let length = if record[0] == 1 {
            (pages * PAGE_BYTES).min(behind.len())
        } else {
            0
        };
        let (content, behind) = behind.split_at_mut(length);
        put(chain, record, 24);
        *chain = checksum(*chain, content);
        record[28..].copy_from_slice(&chain.to_le_bytes());
        rest = behind;
        if record[0] == END {
            break;
        }
    }
    rest
}

/// Puts the checksum of all that is before `at` there.
fn put(chain: &mut u32, bytes: &mut [u8], at: usize) {
    *chain = checksum(*chain, &bytes[..at]);
    bytes[at..at + 4].copy_from_slice(&chain.to_le_bytes());
}

fn checksum(before: u32, bytes: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&before.to_le_bytes());
    digest.update(bytes);
    digest.finalize() as u32
}
