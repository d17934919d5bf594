//! How large a run is: all its sizes and counts in one place.

use std::time::Duration;

use bench_measure::{ScaleName, SuiteArgs};

/// The sizes of a run.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// As it is printed.
    pub(crate) name: &'static str,
    /// Bytes of a disk.
    pub(crate) disk_bytes: u64,
    /// Bytes that a row of random writes writes.
    pub(crate) write_bytes: u64,
    /// Bytes of the engine's write buffer.
    pub(crate) buffer_bytes: u64,
    /// Bytes of one file of the journal's ring.
    pub(crate) journal_file_bytes: u64,
    /// How long a sustained load runs.
    pub(crate) sustained: Duration,
    /// Operations of which a round takes the median: forks, appends.
    pub(crate) samples: u32,
    /// Processes started in a round.
    pub(crate) processes: u32,
    /// Random reads of a round.
    pub(crate) reads: u64,
    /// Forks in one call, and ancestors of a deep branch.
    pub(crate) many: u64,
    /// Forks in a store of many.
    pub(crate) forks: u64,
    /// Random writes whose space is measured.
    pub(crate) scattered: u64,
    /// Extents of a branch that were not merged, and writes that fragment a reflinked file.
    pub(crate) fragments: u64,
    /// How long a writer runs at the most before it is killed.
    pub(crate) crash_after: Duration,
    /// Memory that the host is to have given before a contestant writes: more than that fills in a round, as the kernel has more
    /// than one list from which it hands pages out.
    pub(crate) backed_bytes: u64,
    pub(crate) rounds: u32,
    /// Every byte written is read back, not a sample.
    pub(crate) verify_all: bool,
}

const MIB: u64 = 1 << 20;

impl Scale {
    /// The scale that the command line asks for.
    pub(crate) fn asked_for(args: &SuiteArgs) -> Self {
        let mut scale = match args.scale {
            _ if args.smoke => Self::smoke(),
            ScaleName::Small => Self::small(),
            ScaleName::Full => Self::full(),
        };
        scale.rounds = args.rounds.unwrap_or(scale.rounds);
        scale
    }

    /// The sizes that the targets speak of.
    pub(crate) fn full() -> Self {
        Self {
            name: "full",
            disk_bytes: 4096 * MIB,
            write_bytes: 1024 * MIB,
            buffer_bytes: 64 * MIB,
            journal_file_bytes: 8 * MIB,
            sustained: Duration::from_secs(10),
            samples: 100,
            processes: 20,
            reads: 100_000,
            many: 1000,
            forks: 10_000,
            scattered: 10_000,
            fragments: 100_000,
            crash_after: Duration::from_secs(5),
            backed_bytes: 4096 * MIB,
            rounds: 5,
            verify_all: false,
        }
    }

    /// An eighth of the data: minutes in all. Buffers are in proportion.
    pub(crate) fn small() -> Self {
        Self {
            name: "small",
            disk_bytes: 512 * MIB,
            write_bytes: 128 * MIB,
            buffer_bytes: 8 * MIB,
            sustained: Duration::from_secs(2),
            reads: 50_000,
            fragments: 20_000,
            crash_after: Duration::from_secs(1),
            rounds: 3,
            ..Self::full()
        }
    }

    /// As little as still goes through everything.
    pub(crate) fn smoke() -> Self {
        Self {
            name: "smoke",
            disk_bytes: 8 * MIB,
            write_bytes: MIB,
            buffer_bytes: MIB,
            journal_file_bytes: MIB,
            sustained: Duration::from_millis(20),
            samples: 3,
            processes: 2,
            reads: 300,
            many: 20,
            forks: 40,
            scattered: 200,
            fragments: 200,
            crash_after: Duration::from_millis(60),
            backed_bytes: 0,
            rounds: 1,
            verify_all: true,
        }
    }

    /// Blocks of a disk.
    pub(crate) fn disk_blocks(&self) -> u64 {
        self.disk_bytes / crate::data::BLOCK_BYTES
    }
}
