//! Operations on a store, the troubles that may meet them, and their random choice.

use tine_store::medium::simulated::Chooser;

use super::content::BLOCK;
use super::world::{Target, World};

/// What is asked of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create {
        name: String,
        size: u64,
    },
    Import {
        name: String,
        size: u64,
        id: u32,
    },
    Write {
        name: String,
        offset: u64,
        length: u64,
        id: u32,
    },
    Zero {
        name: String,
        offset: u64,
        length: u64,
    },
    Discard {
        name: String,
        offset: u64,
        length: u64,
    },
    Flush {
        name: String,
    },
    Fork {
        source: Target,
        name: String,
    },
    ForkMany {
        forks: Vec<(Target, String)>,
    },
    Throwaway {
        source: Target,
        name: String,
    },
    /// Makes a throwaway fork a branch of that name.
    Keep {
        from: String,
        name: String,
    },
    Snapshot {
        snapshots: Vec<(String, String)>,
    },
    Rollback {
        name: String,
        to: Option<String>,
        keep: Option<String>,
    },
    Drop {
        names: Vec<String>,
    },
    DropSnapshot {
        name: String,
        snapshot: String,
    },
    Rename {
        from: String,
        to: String,
    },
    Protect {
        name: String,
        protected: bool,
    },
    Resize {
        name: String,
        size: u64,
    },
    /// Writes that go together: offset, length, id.
    Batch {
        name: String,
        writes: Vec<(u64, u64, u32)>,
    },
    Diff {
        a: Target,
        b: Target,
    },
    /// Keeps a view of something, which later must still show what it shows now.
    Hold {
        target: Target,
    },
    /// Writes what lies in pieces anew; changes nothing that can be read.
    Defrag {
        name: String,
        shared: bool,
    },
    Drain,
    Checkpoint,
    Reclaim,
    /// A step of upkeep, and what others do in the middle of it, before its `nth` change of the medium.
    During {
        upkeep: Box<Op>,
        nth: u64,
        others: Vec<Op>,
    },
    /// A clean close, then opening again.
    Reopen,
    /// As [`Op::Reopen`], but between the two a process opens the store, becomes a reader of something and goes on; it
    /// must show what that is now for as long as it lives.
    Leave {
        target: Target,
    },
    /// The process dies between two operations.
    Crash {
        fate: Fate,
    },
}

/// What happens to the medium after a process has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing is lost, yet.
    Process,
    /// Nothing is lost, but the next opening misses some pages that arrive later.
    Delay,
    /// The power goes too.
    Power,
}

/// What meets an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    /// The process dies at the `nth` change of the medium, or after the operation if it makes fewer.
    Crash {
        nth: u64,
        fate: Fate,
    },
    /// The `nth` sync fails; a process that cannot write on is killed, and `fate` follows.
    Sync {
        nth: u64,
        fate: Fate,
    },
    /// The `nth` write fails.
    Write {
        nth: u64,
        fate: Fate,
    },
    /// The `nth` read fails.
    Read {
        nth: u64,
        fate: Fate,
    },
}

/// One step of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) trouble: Trouble,
    /// Recoveries after this step are interrupted at these changes, with what follows.
    pub(crate) again: Vec<(u64, Fate)>,
    /// Answers the medium's questions.
    pub(crate) seed: u64,
}

/// Tells whether only a throwaway fork can have a name.
pub(super) fn names_throwaway(name: &str) -> bool {
    THROWAWAYS.contains(&name)
}

impl Step {
    pub(crate) fn plain(op: Op) -> Self {
        Self {
            op,
            trouble: Trouble::None,
            again: Vec::new(),
            seed: 0,
        }
    }
}

const BRANCHES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// No branch that is kept has such a name.
const THROWAWAYS: [&str; 3] = ["t0", "t1", "t2"];
const SNAPSHOTS: [&str; 3] = ["s0", "s1", "s2"];

/// How a random history is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mix {
    /// Steps of a history, at the most.
    pub(crate) steps: usize,
    /// One step in so many meets trouble.
    pub(crate) trouble_in: usize,
    /// One step in so many lets the process die on its own.
    pub(crate) crash_in: usize,
    /// Blocks of a disk, at the most.
    blocks_max: usize,
    /// Ranges of a batch, at the most.
    ranges_max: usize,
}

impl Mix {
    /// Chooses a mix: calm and long, or short with many crashes; on small disks, or on larger ones with scattered writes.
    pub(crate) fn choose(chooser: &mut Chooser, larger: bool) -> Self {
        let (steps, trouble_in, crash_in) = [(60, 20, 30), (35, 5, 8), (25, 2, 4)][chooser.choose(3)];
        let (blocks_max, ranges_max) = if larger { (96, 24) } else { (12, 5) };
        Self {
            steps,
            trouble_in,
            crash_in,
            blocks_max,
            ranges_max,
        }
    }

    fn is_scattered(&self) -> bool {
        self.ranges_max > 5
    }
}

/// Chooses steps by what there is.
pub(crate) struct Generator<'a> {
    chooser: &'a mut Chooser,
    mix: Mix,
    next_id: u32,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(chooser: &'a mut Chooser, mix: Mix) -> Self {
        Self {
            chooser,
            mix,
            next_id: 1,
        }
    }

    pub(crate) fn step(&mut self, world: &World) -> Step {
        let op = if self.chooser.one_in(self.mix.crash_in) {
            Op::Crash { fate: self.fate() }
        } else {
            self.op(world)
        };
        let trouble = self.chooser.one_in(self.mix.trouble_in).then(|| self.trouble());
        // Which of several meets an error of the medium cannot be told; a crash they all meet.
        let crash_only = matches!(op, Op::During { .. });
        let trouble = trouble.filter(|trouble| !crash_only || matches!(trouble, Trouble::Crash { .. }));
        let trouble = trouble.unwrap_or(Trouble::None);
        let mut again = Vec::new();
        while self.chooser.one_in(3) {
            again.push((1 + self.chooser.choose(12) as u64, self.fate()));
        }
        Step {
            op,
            trouble,
            again,
            seed: self.chooser.choose(1 << 32) as u64,
        }
    }

    fn fate(&mut self) -> Fate {
        [Fate::Process, Fate::Power, Fate::Power, Fate::Delay][self.chooser.choose(4)]
    }

    fn trouble(&mut self) -> Trouble {
        let fate = self.fate();
        let small = 1 + self.chooser.choose(4) as u64;
        match self.chooser.choose(6) {
            0 => Trouble::Sync { nth: small, fate },
            1 => Trouble::Write { nth: small, fate },
            2 => Trouble::Read { nth: small, fate },
            _ => Trouble::Crash {
                nth: 1 + self.chooser.choose(14) as u64,
                fate,
            },
        }
    }

    /// Returns a branch that exists, mostly.
    fn name(&mut self, world: &World) -> String {
        if world.branches.is_empty() || self.chooser.one_in(40) {
            return self.any_name();
        }
        let at = self.chooser.choose(world.branches.len());
        world.branches.keys().nth(at).expect("counted").clone()
    }

    fn any_name(&mut self) -> String {
        BRANCHES[self.chooser.choose(BRANCHES.len())].to_owned()
    }

    /// Returns a name that is not taken, mostly.
    fn new_name(&mut self, world: &World) -> String {
        let vacant: Vec<&str> = BRANCHES
            .into_iter()
            .filter(|name| !world.branches.contains_key(*name))
            .collect();
        if vacant.is_empty() || self.chooser.one_in(40) {
            return self.any_name();
        }
        vacant[self.chooser.choose(vacant.len())].to_owned()
    }

    fn snapshot_name(&mut self) -> String {
        SNAPSHOTS[self.chooser.choose(SNAPSHOTS.len())].to_owned()
    }

    /// Returns a snapshot that exists, mostly, with its branch.
    fn snapshot_of(&mut self, world: &World) -> (String, String) {
        let all: Vec<(&String, &String)> = world
            .branches
            .iter()
            .flat_map(|(name, branch)| branch.snapshots.keys().map(move |snapshot| (name, snapshot)))
            .collect();
        if all.is_empty() || self.chooser.one_in(20) {
            return (self.name(world), self.snapshot_name());
        }
        let (name, snapshot) = all[self.chooser.choose(all.len())];
        (name.clone(), snapshot.clone())
    }

    fn target(&mut self, world: &World) -> Target {
        if self.chooser.one_in(3) {
            let (name, snapshot) = self.snapshot_of(world);
            return Target(name, Some(snapshot));
        }
        Target(self.name(world), None)
    }

    fn size(&mut self) -> u64 {
        let blocks = 1 + self.chooser.choose(self.mix.blocks_max) as u64;
        let cut = if self.chooser.one_in(3) {
            self.chooser.choose(BLOCK) as u64
        } else {
            0
        };
        blocks * BLOCK as u64 - cut
    }

    /// Returns a range of a branch: whole blocks mostly, any bytes else, beyond the end seldom.
    fn range(&mut self, world: &World, name: &str) -> (u64, u64) {
        let size = world
            .branch(name)
            .map_or(BLOCK as u64, |branch| branch.now().size());
        if self.chooser.one_in(50) {
            return (size.saturating_sub(1), 2);
        }
        if self.chooser.one_in(3) {
            let offset = self.chooser.choose(size as usize) as u64;
            let most = (size - offset).min(3 * BLOCK as u64);
            // Up to the end of the disk, or somewhere before it.
            let length = if self.chooser.one_in(4) {
                most
            } else {
                self.chooser.choose(most as usize + 1) as u64
            };
            return (offset, length);
        }
        let blocks = size.div_ceil(BLOCK as u64);
        let first = self.chooser.choose(blocks as usize) as u64;
        let count = 1 + self.chooser.choose((blocks - first).min(4) as usize) as u64;
        let offset = first * BLOCK as u64;
        (offset, (count * BLOCK as u64).min(size - offset))
    }

    fn op(&mut self, world: &World) -> Op {
        if world.branches.is_empty() {
            return Op::Create {
                name: self.any_name(),
                size: self.size(),
            };
        }
        match self.chooser.choose(110) {
            100..105 => self.throwaway(world),
            105..108 => self.keep(world),
            108..110 => self.defrag(world),
            // Scattered writes are what makes trees high.
            0..14 if self.mix.is_scattered() => self.batch(world),
            0..28 => self.write(world),
            28..32 => {
                let name = self.name(world);
                let (offset, length) = self.range(world, &name);
                Op::Zero { name, offset, length }
            }
            32..36 => {
                let name = self.name(world);
                let (offset, length) = self.range(world, &name);
                Op::Discard { name, offset, length }
            }
            36..50 => Op::Flush {
                name: self.name(world),
            },
            50..57 => Op::Fork {
                source: self.target(world),
                name: self.new_name(world),
            },
            57..59 => {
                let count = 1 + self.chooser.choose(3);
                let forks = (0..count)
                    .map(|_| (self.target(world), self.new_name(world)))
                    .collect();
                Op::ForkMany { forks }
            }
            59..64 => {
                let count = 1 + self.chooser.choose(2);
                let snapshots = (0..count)
                    .map(|_| (self.name(world), self.snapshot_name()))
                    .collect();
                Op::Snapshot { snapshots }
            }
            64..69 => {
                let (name, snapshot) = self.snapshot_of(world);
                let to = (!self.chooser.one_in(3)).then_some(snapshot);
                let keep = self.chooser.one_in(4).then(|| self.new_name(world));
                Op::Rollback { name, to, keep }
            }
            69..72 => {
                let mut names = vec![self.name(world)];
                let second = self.name(world);
                if self.chooser.one_in(5) && second != names[0] {
                    names.push(second);
                }
                Op::Drop { names }
            }
            72..74 => {
                let (name, snapshot) = self.snapshot_of(world);
                Op::DropSnapshot { name, snapshot }
            }
            74 => Op::Protect {
                name: self.name(world),
                protected: !self.chooser.one_in(3),
            },
            75 => Op::Rename {
                from: self.name(world),
                to: self.new_name(world),
            },
            76..79 => Op::Resize {
                name: self.name(world),
                size: self.size(),
            },
            79..81 => Op::Import {
                name: self.new_name(world),
                size: self.size(),
                id: self.id(),
            },
            81..83 => Op::Create {
                name: self.new_name(world),
                size: self.size(),
            },
            83..85 => Op::Diff {
                a: self.target(world),
                b: self.target(world),
            },
            85..87 => Op::Hold {
                target: self.target(world),
            },
            87..90 => self.batch(world),
            90..96 => {
                let upkeep = match self.chooser.choose(12) {
                    10..12 => self.defrag(world),
                    0..4 => Op::Drain,
                    4..8 => Op::Checkpoint,
                    _ => Op::Reclaim,
                };
                if self.chooser.one_in(2) {
                    self.during(world, upkeep)
                } else {
                    upkeep
                }
            }
            96..98 => Op::Leave {
                target: self.target(world),
            },
            _ => Op::Reopen,
        }
    }

    fn defrag(&mut self, world: &World) -> Op {
        Op::Defrag {
            name: self.name(world),
            shared: self.chooser.one_in(3),
        }
    }

    fn throwaway(&mut self, world: &World) -> Op {
        let vacant = |name: &&str| !world.branches.contains_key(*name);
        let vacant: Vec<&str> = THROWAWAYS.into_iter().filter(vacant).collect();
        if vacant.is_empty() {
            return self.keep(world);
        }
        // Of throwaway forks rather often, as only these have ancestors that no frame has.
        let source = match self.throwaways(world) {
            all if !all.is_empty() && self.chooser.one_in(2) => {
                Target(all[self.chooser.choose(all.len())].clone(), None)
            }
            _ => self.target(world),
        };
        Op::Throwaway {
            source,
            name: vacant[self.chooser.choose(vacant.len())].to_owned(),
        }
    }

    fn keep(&mut self, world: &World) -> Op {
        let all = self.throwaways(world);
        let from = if all.is_empty() || self.chooser.one_in(20) {
            self.name(world)
        } else {
            all[self.chooser.choose(all.len())].clone()
        };
        Op::Keep {
            from,
            name: self.new_name(world),
        }
    }

    fn throwaways(&self, world: &World) -> Vec<String> {
        let all = world.branches.iter().filter(|(_, branch)| branch.is_throwaway);
        all.map(|(name, _)| name.clone()).collect()
    }

    fn during(&mut self, world: &World, upkeep: Op) -> Op {
        let mut others = Vec::new();
        for _ in 0..1 + self.chooser.choose(4) {
            others.push(match self.chooser.choose(10) {
                0..5 => self.write(world),
                5..8 => Op::Flush {
                    name: self.name(world),
                },
                8 => Op::Fork {
                    source: self.target(world),
                    name: self.new_name(world),
                },
                _ => Op::Drop {
                    names: vec![self.name(world)],
                },
            });
        }
        Op::During {
            upkeep: Box::new(upkeep),
            nth: 1 + self.chooser.choose(20) as u64,
            others,
        }
    }

    fn id(&mut self) -> u32 {
        if self.chooser.one_in(12) {
            return 0;
        }
        self.next_id += 1;
        self.next_id - 1
    }

    fn batch(&mut self, world: &World) -> Op {
        let name = self.name(world);
        let writes = (0..1 + self.chooser.choose(self.mix.ranges_max))
            .map(|_| {
                let (offset, length) = self.range(world, &name);
                (offset, length, self.id())
            })
            .collect();
        Op::Batch { name, writes }
    }

    fn write(&mut self, world: &World) -> Op {
        let name = self.name(world);
        let (offset, length) = self.range(world, &name);
        Op::Write {
            name,
            offset,
            length,
            id: self.id(),
        }
    }
}
