//! What a [`RadixMap`] costs, beside std's `BTreeMap`: `cargo bench -p tine-values`.
//!
//! One million random keys of four million, as blocks of a 16 GiB disk that was written at random. Each figure
//! is the best of a few rounds, in nanoseconds for one operation; another process on the machine only ever adds.
//! `-- --quick` runs a hundredth of it once, to see that it works; its figures mean nothing.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use tine_values::RadixMap;

/// What the storage engine keeps for a block: 16 bytes, and a clone is a count.
#[derive(Clone)]
enum Place {
    Data {
        segment: Arc<u64>,
        block: u32,
        checksum: u32,
    },
    Zero {
        born: u32,
    },
}

impl Place {
    fn weight(&self) -> u64 {
        match self {
            Self::Data {
                segment,
                block,
                checksum,
            } => **segment + u64::from(*block) + u64::from(*checksum),
            Self::Zero { born } => u64::from(*born),
        }
    }
}

const _: () = assert!(size_of::<Place>() == 16);

struct Scale {
    /// A power of two.
    keys: u64,
    writes: u64,
    rounds: u32,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let scale = if quick {
        Scale {
            keys: 1 << 16,
            writes: 10_000,
            rounds: 1,
        }
    } else {
        Scale {
            keys: 4 << 20,
            writes: 1_000_000,
            rounds: 5,
        }
    };
    println!(
        "{} random keys of {}; ns for one operation",
        scale.writes, scale.keys
    );
    println!("\nvalue: u64 (8 bytes)");
    measure(&scale, |number| number, |value| *value);
    println!("\nvalue: a block's place (16 bytes, a clone is a count)");
    let segments: Vec<_> = (0..64).map(Arc::new).collect();
    let place = |number: u64| match number % 16 {
        0 => Place::Zero { born: number as u32 },
        _ => Place::Data {
            segment: segments[number as usize / 16 % segments.len()].clone(),
            block: number as u32,
            checksum: 7,
        },
    };
    measure(&scale, place, Place::weight);
}

fn measure<T: Clone>(scale: &Scale, value: impl Fn(u64) -> T, weight: impl Fn(&T) -> u64) {
    let keys = |seed: u64| Random(seed).map(|number| number & (scale.keys - 1));
    let count = scale.writes as usize;

    report("(making the keys, in all below)", count, scale.rounds, || {
        black_box(keys(1).take(count).fold(0, u64::wrapping_add));
    });
    let mut map = RadixMap::new();
    let mut tree = BTreeMap::new();
    report("insert, fresh", count, 1, || {
        keys(1)
            .take(count)
            .for_each(|key| drop(map.insert(key, value(key))));
    });
    report("  BTreeMap", count, 1, || {
        keys(1)
            .take(count)
            .for_each(|key| drop(tree.insert(key, value(key))));
    });
    let entries = tree.len();

    report("overwrite, sole owner", count, scale.rounds, || {
        keys(1)
            .take(count)
            .for_each(|key| drop(map.insert(key, value(key + 1))));
    });
    report("  BTreeMap", count, scale.rounds, || {
        keys(1)
            .take(count)
            .for_each(|key| drop(tree.insert(key, value(key + 1))));
    });
    report("get, hit", count, scale.rounds, || {
        black_box(
            keys(1)
                .take(count)
                .filter_map(|key| map.get(key))
                .map(&weight)
                .fold(0, u64::wrapping_add),
        );
    });
    report("  BTreeMap", count, scale.rounds, || {
        black_box(
            keys(1)
                .take(count)
                .filter_map(|key| tree.get(&key))
                .map(&weight)
                .fold(0, u64::wrapping_add),
        );
    });
    report("iterate, for an entry", entries, scale.rounds, || {
        black_box(
            map.iter()
                .map(|(_, value)| weight(value))
                .fold(0, u64::wrapping_add),
        );
    });
    report("  BTreeMap", entries, scale.rounds, || {
        black_box(tree.values().map(&weight).fold(0, u64::wrapping_add));
    });
    report("range of 256 keys, for a range", 1000, scale.rounds, || {
        let starts = keys(2).take(1000);
        black_box(
            starts
                .map(|start| map.range(start..start + 256).count())
                .sum::<usize>(),
        );
    });

    report("fork and drop", 1000, scale.rounds, || {
        (0..1000).for_each(|_| drop(black_box(map.clone())));
    });
    for writes in [1, 10, 1000] {
        let forks = 10_000 / writes;
        let name = format!("fork, {writes} random writes, drop: for a write");
        let mut seed = 3;
        report(&name, forks * writes, scale.rounds, || {
            for _ in 0..forks {
                let mut fork = map.clone();
                seed += 1;
                keys(seed)
                    .take(writes)
                    .for_each(|key| drop(fork.insert(key, value(key))));
                drop(black_box(fork));
            }
        });
    }
    report(
        "1,000 empty maps with one write, for one",
        1000,
        scale.rounds,
        || {
            let forks: Vec<_> = keys(5)
                .take(1000)
                .map(|key| RadixMap::from_iter([(key, value(key))]))
                .collect();
            drop(black_box(forks));
        },
    );

    report(
        "insert_run of 256 keys into nothing, for a key",
        scale.keys as usize,
        scale.rounds.min(2),
        || {
            let mut map = RadixMap::new();
            for start in (0..scale.keys - 255).step_by(256) {
                map.insert_run(
                    start,
                    (0..256usize).map(|offset| value(start + offset as u64)),
                    |_, _| (),
                );
            }
            black_box(&map);
        },
    );
    let mut whole = RadixMap::new();
    report("fill 2^28 keys, drop", 1000, scale.rounds, || {
        for start in 0..1000 {
            whole = RadixMap::new();
            whole.fill(start..(1 << 28) + start, value(start), |_, _| ());
        }
    });
    report("write one key in the fill", 1, 1, || {
        drop(whole.insert(12_345_678, value(1)));
    });

    let base = map.own_bytes();
    let mut fork = map.clone();
    drop(fork.insert(scale.keys / 3, value(1)));
    println!(
        "bytes: {:.1} an entry; fork with one write {}; map with one entry {}, its fork with another {}",
        base as f64 / entries as f64,
        fork.own_bytes(),
        RadixMap::from_iter([(scale.keys / 3, value(1))]).own_bytes(),
        RadixMap::from_iter([(scale.keys / 3, value(1)), (scale.keys / 5, value(1))]).own_bytes(),
    );
}

/// Runs `work`, which does `operations` things, and prints the time for one in the best round.
fn report(name: &str, operations: usize, rounds: u32, mut work: impl FnMut()) {
    let best = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!(
        "{name:48}{:10.1}",
        best.as_nanos() as f64 / operations.max(1) as f64
    );
}

/// Marsaglia's xorshift, scrambled: fast, and the same everywhere.
struct Random(u64);

impl Iterator for Random {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20)
    }
}
