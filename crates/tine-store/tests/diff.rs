//! Goal: of what was written separately a diff names what differs, and nothing else, wherever each side lies.
//! Method: disks without common ancestors, whose blocks are in memory, in a segment or in the index, each beside each.
//! Some blocks differ by a multiple of crc32c's polynomial, so their checksums are equal and only the bytes tell.

mod support;

use crc_fast::{CrcAlgorithm, checksum};
use support::perform::branch_name;
use tine_store::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use tine_store::{CreateOptions, DiffRange, OpenOptions, Store, Target, UpkeepMode, UpkeepStep};

const BLOCK: usize = 4096;
const BLOCKS: usize = 8;
/// The last block is a partial one.
const SIZE: usize = BLOCKS * BLOCK - 1000;

/// Blocks of the other disk with other bytes and the same checksum. Two follow each other, one is the last.
const SAME_CHECKSUM: [usize; 4] = [1, 2, 5, 7];
/// A block of the other disk with another checksum.
const OTHER_CHECKSUM: usize = 4;

/// Where the blocks of a disk are, in the order in which they come there.
const PLACES: [&str; 3] = ["index", "segment", "memory"];

/// Adds the polynomial to a block, from a byte of it on: 33 bits, that of the highest power first. What is divisible by it
/// adds nothing to the remainder.
fn add_polynomial(block: &mut [u8], at: usize) {
    let polynomial: u64 = 1 | 0x82F6_3B78 << 1;
    for (byte, more) in block[at..].iter_mut().zip(&polynomial.to_le_bytes()[..5]) {
        *byte ^= more;
    }
}

fn crc32c(bytes: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes)
}

fn blocks_of(bytes: &[u8]) -> Vec<[u8; BLOCK]> {
    let padded = |piece: &[u8]| {
        let mut block = [0; BLOCK];
        block[..piece.len()].copy_from_slice(piece);
        block
    };
    bytes.chunks(BLOCK).map(padded).collect()
}

/// Returns the bytes of two disks.
fn contents() -> [Vec<u8>; 2] {
    let one: Vec<u8> = (0..SIZE).map(|at| (at * 7 + at / BLOCK + 1) as u8).collect();
    let mut other = one.clone();
    for block in SAME_CHECKSUM {
        add_polynomial(&mut other[block * BLOCK..], 100 * block);
    }
    other[OTHER_CHECKSUM * BLOCK] ^= 1;
    let (a, b) = (blocks_of(&one), blocks_of(&other));
    for block in 0..BLOCKS {
        let differs = SAME_CHECKSUM.contains(&block) || block == OTHER_CHECKSUM;
        assert_eq!(a[block] != b[block], differs, "block {block}");
        let same = block != OTHER_CHECKSUM;
        assert_eq!(crc32c(&a[block]) == crc32c(&b[block]), same, "block {block}");
    }
    [one, other]
}

#[test]
fn bytes_decide_where_checksums_do_not() {
    let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
    let options = OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    let store = Store::create_on(medium.start(), &CreateOptions::default(), options).expect("a new store");
    let [one, other] = contents();
    let write = |name: String, bytes: &[u8]| {
        let branch = store.create_branch(&branch_name(&name), SIZE as u64);
        branch.expect("a branch").write_at(bytes, 0).expect("written");
    };
    for place in PLACES {
        write(format!("{place}-one"), &one);
        write(format!("{place}-again"), &one);
        write(format!("{place}-other"), &other);
        match place {
            "index" => store.upkeep(UpkeepStep::Checkpoint).expect("a checkpoint"),
            "segment" => store.upkeep(UpkeepStep::Drain).expect("a drain"),
            _ => {}
        }
        let stats = store.stats().expect("statistics");
        let disks = (3 * BLOCKS * BLOCK) as u64;
        assert_eq!(stats.debt.bytes, if place == "index" { 0 } else { disks });
        assert_eq!(stats.buffer.bytes >= disks, place == "memory");
    }
    let state = |name: &str| {
        let target = Target::Branch(branch_name(name));
        store.state(&target).expect("a state")
    };
    let range = |first: usize, end: usize| DiffRange {
        offset: (first * BLOCK) as u64,
        length: ((end * BLOCK).min(SIZE) - first * BLOCK) as u64,
    };
    let differing = vec![range(1, 3), range(4, 6), range(7, 8)];
    for (a, b) in PLACES.iter().flat_map(|a| PLACES.map(|b| (a, b))) {
        let diff = |what: &str| -> Vec<DiffRange> {
            let (left, right) = (state(&format!("{a}-one")), state(&format!("{b}-{what}")));
            let found = store.diff(&left, &right).expect("a diff");
            found.map(|range| range.expect("a range")).collect()
        };
        assert_eq!(diff("other"), differing, "{a} and {b}");
        assert_eq!(diff("again"), [], "{a} and {b}: written twice");
    }
}
