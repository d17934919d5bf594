//! The disks that the tests serve, and what they need beside a daemon.

use std::fs;
use std::path::Path;

use crate::common::{Bench, tool};

pub(crate) use crate::common::daemon::Daemon;

/// Returns whether the programs are there; says which test is skipped if not.
pub(crate) fn have(programs: &[&str], test: &str) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| tool(program).is_none())
        .collect();
    if !missing.is_empty() {
        eprintln!("skipped: {test}: {missing:?} are missing");
    }
    missing.is_empty()
}

/// Makes a disk `golden` of 32 MiB with 8 MiB of noise in it, and the snapshot `golden@v1`. Its image is `golden.img`.
pub(crate) fn golden() -> Bench {
    let bench = Bench::new();
    fs::write(bench.path("noise"), noise(1, 8 << 20)).unwrap();
    bench.succeeds("truncate -s 32M golden.img && dd if=noise of=golden.img bs=1M seek=4 conv=notrunc 2>&1");
    bench.succeeds("tine import golden.img golden && tine snapshot golden@v1");
    bench
}

/// Returns bytes that look random and are the same each time (xorshift64*).
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Random numbers from a seed (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Returns a number from the environment.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a number"))
    })
}

/// Compares two files.
pub(crate) fn same(bench: &Bench, a: impl AsRef<Path>, b: impl AsRef<Path>) -> bool {
    fs::read(bench.path(a)).unwrap() == fs::read(bench.path(b)).unwrap()
}
