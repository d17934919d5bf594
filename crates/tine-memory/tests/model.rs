//! Goal: no history of operations makes a region read otherwise than an array of bytes with the same history, and no region changes that
//! nobody touched.
//! Method: eight regions, each beside its bytes and those of its origin, random operations on them; all are compared after each step or at
//! the end, since comparing maps pages and so changes how the next operations go about their work.

mod refuse;

use std::thread;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use tine_memory::{Mark, PAGE_BYTES, PageRange, Region, Save};

const PAGES: usize = 40;
const LENGTH: usize = PAGES * PAGE_BYTES - 100;
const LIVE: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Write {
        at: usize,
        offset: usize,
        length: usize,
        byte: u8,
    },
    WritePages {
        at: usize,
        first: usize,
        count: usize,
        byte: u8,
    },
    Share {
        at: usize,
        offset: usize,
        length: usize,
        byte: u8,
    },
    Fork {
        from: usize,
        to: usize,
    },
    ForkMany {
        from: usize,
        count: usize,
    },
    Freeze {
        at: usize,
    },
    Rollback {
        at: usize,
    },
    Diff {
        one: usize,
        other: usize,
    },
    Dirty {
        at: usize,
    },
    Save {
        from: usize,
        to: usize,
    },
    SaveSince {
        from: usize,
        to: usize,
    },
    Renew {
        at: usize,
    },
    Move {
        at: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..LIVE;
    prop_oneof![
        6 => (at(), 0..LENGTH, 1..9000usize, 1..9u8).prop_map(|(at, offset, length, byte)| Step::Write { at, offset, length: length.min(LENGTH - offset), byte }),
        2 => (at(), 0..PAGES, 1..PAGES, 1..9u8).prop_map(|(at, first, count, byte)| Step::WritePages { at, first, count, byte }),
        1 => (at(), 0..LENGTH, 1..100usize, 1..9u8).prop_map(|(at, offset, length, byte)| Step::Share { at, offset, length: length.min(LENGTH - offset), byte }),
        6 => (at(), at()).prop_map(|(from, to)| Step::Fork { from, to }),
        1 => (at(), 1..5usize).prop_map(|(from, count)| Step::ForkMany { from, count }),
        2 => at().prop_map(|at| Step::Freeze { at }),
        4 => at().prop_map(|at| Step::Rollback { at }),
        3 => (at(), at()).prop_map(|(one, other)| Step::Diff { one, other }),
        2 => at().prop_map(|at| Step::Dirty { at }),
        2 => (at(), at()).prop_map(|(from, to)| Step::Save { from, to }),
        3 => (at(), at()).prop_map(|(from, to)| Step::SaveSince { from, to }),
        1 => at().prop_map(|at| Step::Renew { at }),
        1 => at().prop_map(|at| Step::Move { at }),
    ]
}

/// A region, the bytes that it should have, and those that it should roll back to.
struct Beside {
    region: Region,
    bytes: Vec<u8>,
    origin: Vec<u8>,
    /// What was saved of it last.
    saved: Option<(Mark, Vec<u8>)>,
}

impl Beside {
    fn new() -> Self {
        Self {
            region: Region::zeroed(LENGTH).unwrap(),
            bytes: vec![0; LENGTH],
            origin: vec![0; LENGTH],
            saved: None,
        }
    }

    fn forked(region: Region, bytes: &[u8]) -> Self {
        Self {
            region,
            bytes: bytes.to_vec(),
            origin: bytes.to_vec(),
            saved: None,
        }
    }

    fn check(&self) {
        assert!(self.region.as_slice() == self.bytes, "the region reads otherwise");
    }
}

struct World(Vec<Beside>);

impl World {
    fn new() -> Self {
        Self((0..LIVE).map(|_| Beside::new()).collect())
    }

    fn check(&self) {
        self.0.iter().for_each(Beside::check);
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write {
                at,
                offset,
                length,
                byte,
            } => {
                let beside = &mut self.0[at];
                beside.region.write_at(&vec![byte; length], offset).unwrap();
                beside.bytes[offset..offset + length].fill(byte);
            }
            Step::WritePages {
                at,
                first,
                count,
                byte,
            } => {
                let beside = &mut self.0[at];
                for page in (first..PAGES).step_by(2).take(count) {
                    beside.region.as_mut_slice()[page * PAGE_BYTES] = byte;
                    beside.bytes[page * PAGE_BYTES] = byte;
                }
            }
            Step::Share {
                at,
                offset,
                length,
                byte,
            } => {
                let beside = &mut self.0[at];
                let shared = beside.region.share();
                shared.write_at(&vec![byte; length], offset).unwrap();
                beside.bytes[offset..offset + length].fill(byte);
                let mut read = vec![0; length];
                shared.read_at(&mut read, offset).unwrap();
                assert_eq!(read, beside.bytes[offset..offset + length]);
            }
            Step::Fork { from, to } => {
                let beside = &mut self.0[from];
                let fork = Beside::forked(beside.region.fork().unwrap(), &beside.bytes);
                beside.origin.clone_from(&beside.bytes);
                if from != to {
                    self.0[to] = fork;
                } else {
                    fork.check();
                }
            }
            Step::ForkMany { from, count } => {
                let beside = &mut self.0[from];
                let forks = beside.region.fork_many(count).unwrap();
                beside.origin.clone_from(&beside.bytes);
                let bytes = beside.bytes.clone();
                for (distance, fork) in (1..).zip(forks) {
                    self.0[(from + distance) % LIVE] = Beside::forked(fork, &bytes);
                }
            }
            Step::Freeze { at } => {
                let beside = &mut self.0[at];
                beside.region.freeze().unwrap();
                beside.origin.clone_from(&beside.bytes);
            }
            Step::Rollback { at } => {
                let beside = &mut self.0[at];
                beside.region.rollback().unwrap();
                beside.bytes.clone_from(&beside.origin);
                assert!(beside.region.dirty().unwrap().is_empty());
            }
            Step::Diff { one, other } => {
                let (one, other) = (&self.0[one], &self.0[other]);
                let found = pages(&one.region.diff(&other.region).unwrap());
                assert_eq!(found, differing(&one.bytes, &other.bytes));
            }
            Step::Dirty { at } => {
                let beside = &self.0[at];
                let found = pages(&beside.region.dirty().unwrap());
                let missed = differing(&beside.bytes, &beside.origin)
                    .into_iter()
                    .find(|page| !found.contains(page));
                assert_eq!(missed, None);
                let stats = beside.region.stats().unwrap();
                assert!(stats.own + stats.shared + stats.zero >= PAGES * PAGE_BYTES);
                let map = beside.region.page_map().unwrap();
                let mapped: usize = map.runs().iter().map(|run| run.pages.count).sum();
                assert_eq!(mapped, PAGES);
            }
            Step::Save { from, to } => {
                let beside = &mut self.0[from];
                let mut stream = Vec::new();
                let mark = beside.region.save(&mut stream, Save::Full).unwrap();
                beside.origin.clone_from(&beside.bytes);
                let loaded = Region::load(&mut &stream[..]).unwrap();
                let bytes = beside.bytes.clone();
                beside.saved = Some((mark, stream));
                self.0[to] = Beside::forked(loaded, &bytes);
            }
            Step::SaveSince { from, to } => {
                let beside = &mut self.0[from];
                let Some((mark, stream)) = &beside.saved else {
                    return;
                };
                let mut since = Vec::new();
                beside.region.save(&mut since, Save::Since(mark)).unwrap();
                beside.origin.clone_from(&beside.bytes);
                let mut loaded = Region::load(&mut &stream[..]).unwrap();
                loaded.load_since(&mut &since[..]).unwrap();
                let bytes = beside.bytes.clone();
                self.0[to] = Beside::forked(loaded, &bytes);
            }
            Step::Renew { at } => self.0[at] = Beside::new(),
            Step::Move { at } => {
                let mut beside = std::mem::replace(&mut self.0[at], Beside::new());
                self.0[at] = thread::spawn(move || {
                    beside.check();
                    beside.region.write_at(b"another thread", 0).unwrap();
                    beside.bytes[..14].copy_from_slice(b"another thread");
                    beside
                })
                .join()
                .unwrap();
            }
        }
    }
}

fn pages(runs: &[PageRange]) -> Vec<usize> {
    let pages: Vec<_> = runs.iter().flat_map(PageRange::pages).collect();
    assert!(pages.is_sorted());
    pages
}

fn differing(one: &[u8], other: &[u8]) -> Vec<usize> {
    let pages = one.chunks(PAGE_BYTES).zip(other.chunks(PAGE_BYTES));
    pages
        .enumerate()
        .filter(|(_, (one, other))| one != other)
        .map(|(page, _)| page)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn regions_read_as_arrays(steps in prop::collection::vec(step(), 1..80), often in any::<bool>()) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            if often {
                world.check();
            }
        }
        world.check();
    }
}

/// Returns a history that is the same whenever it is asked for.
fn history(seed: u8) -> Vec<Step> {
    let algorithm = proptest::test_runner::RngAlgorithm::ChaCha;
    let rng = proptest::test_runner::TestRng::from_seed(algorithm, &[seed; 32]);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(Default::default(), rng);
    let steps = prop::collection::vec(step(), 500..501);
    steps.new_tree(&mut runner).unwrap().current()
}

/// As on an old kernel, or in a container that filters system calls: what there is a fallback for is refused.
#[test]
fn regions_read_as_arrays_where_the_kernel_refuses() {
    refuse::what_has_a_fallback();
    for seed in 0..4 {
        let mut world = World::new();
        history(seed).into_iter().for_each(|step| world.take(step));
        world.check();
    }
}

/// As above, in four threads at once, and with worlds of one origin.
#[test]
fn threads_do_not_see_each_other() {
    let mut golden = Region::zeroed(LENGTH).unwrap();
    golden.as_mut_slice().fill(3);
    let bytes = golden.as_slice().to_vec();
    thread::scope(|scope| {
        for seed in 0..4u8 {
            let mut world = World::new();
            for (beside, region) in world.0.iter_mut().zip(golden.fork_many(LIVE).unwrap()) {
                *beside = Beside::forked(region, &bytes);
            }
            scope.spawn(move || {
                for (number, step) in history(seed).into_iter().enumerate() {
                    world.take(step);
                    if number % 16 == 0 {
                        world.check();
                    }
                }
                world.check();
            });
        }
    });
    assert!(golden.as_slice() == bytes);
}
