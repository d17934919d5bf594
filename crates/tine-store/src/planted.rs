//! Deliberate bugs, each of which the tests must catch: the proof that they look where it matters.
//!
//! Without the cargo feature `planted-bugs` every question is answered `false` at compile time.

/// A deliberate bug, named by what is left out or done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Bug {
    /// The journal is never synced.
    NoSync = 1,
    /// The directory is not synced after a segment or a manifest was made.
    NoDirectorySync,
    /// A segment is published before it is synced.
    PublishUnsynced,
    /// The checksums of a frame's payload are not looked at.
    UncheckedPayload,
    /// A recovered journal is continued behind its end, in the same epoch.
    AppendBehindEnd,
    /// A whole frame of an earlier epoch or lap is accepted where the next one is expected.
    StaleFrame,
    /// Replay lets the later frame win, not the higher group.
    FrameOrder,
    /// Replay starts at the manifest's place, not at its floor.
    ReplayFromPlace,
    /// An older manifest serves silently when the announced one cannot be read.
    OlderManifest,
    /// A later recovery does not stop at the cut that an epoch names.
    CutForgotten,
    /// A ring file is used again before the manifest that frees it is announced.
    ReuseEarly,
    /// Shrinking writes no tombstone over the tail.
    ShrinkKeepsTail,
    /// Rollback goes to the parent of the point that was asked for.
    RollbackWrongPoint,
    /// A failed sync of the journal is taken for success.
    FsyncRetry,
    /// Merging a run into a tree loses an extent.
    MergeLosesExtent,
    /// Reading looks into older runs before newer ones.
    RunsInWrongOrder,
    /// A manifest names index nodes that are not synced.
    RootUnsynced,
    /// Merging runs drops the discards among them although live blocks lie below.
    TombstoneOverLive,
    /// A diff takes one changed node for a shared one.
    DiffSkipsNode,
    /// Space is given back whoever still reads it.
    LeaseIgnored,
    /// A write to a block in memory goes into the buffer that a fork shares.
    WriteIntoShared,
    /// Keeping a throwaway fork leaves out what its ancestors wrote and no frame has.
    KeepWithoutAncestry,
    /// A flush takes what is in a stream for durable.
    StreamUnpublished,
    /// Defragmentation puts back what it read, whatever was written meanwhile.
    DefragOverwrites,
    /// A flush returns at once.
    FlushForgotten,
    /// The runs of a batch become durable one by one.
    BatchSplit,
    /// A flush leaves out what its branch had written before it was forked and that no frame has.
    ForkForgotten,
}

impl Bug {
    /// Every bug with the name by which TINE_PLANTED_BUG and the tests call it.
    pub const ALL: &[(&str, Bug)] = &[
        ("no-sync", Bug::NoSync),
        ("no-directory-sync", Bug::NoDirectorySync),
        ("publish-unsynced", Bug::PublishUnsynced),
        ("unchecked-payload", Bug::UncheckedPayload),
        ("append-behind-end", Bug::AppendBehindEnd),
        ("stale-frame", Bug::StaleFrame),
        ("frame-order", Bug::FrameOrder),
        ("replay-from-place", Bug::ReplayFromPlace),
        ("older-manifest", Bug::OlderManifest),
        ("cut-forgotten", Bug::CutForgotten),
        ("reuse-early", Bug::ReuseEarly),
        ("shrink-keeps-tail", Bug::ShrinkKeepsTail),
        ("rollback-wrong-point", Bug::RollbackWrongPoint),
        ("fsync-retry", Bug::FsyncRetry),
        ("merge-loses-extent", Bug::MergeLosesExtent),
        ("runs-in-wrong-order", Bug::RunsInWrongOrder),
        ("root-unsynced", Bug::RootUnsynced),
        ("tombstone-over-live", Bug::TombstoneOverLive),
        ("diff-skips-node", Bug::DiffSkipsNode),
        ("lease-ignored", Bug::LeaseIgnored),
        ("write-into-shared", Bug::WriteIntoShared),
        ("keep-without-ancestry", Bug::KeepWithoutAncestry),
        ("stream-unpublished", Bug::StreamUnpublished),
        ("defrag-overwrites", Bug::DefragOverwrites),
        ("flush-forgotten", Bug::FlushForgotten),
        ("batch-split", Bug::BatchSplit),
        ("fork-forgotten", Bug::ForkForgotten),
    ];
}

#[cfg(feature = "planted-bugs")]
mod plant {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    static PLANTED: AtomicU8 = AtomicU8::new(0);

    fn from_environment() -> u8 {
        static FOUND: OnceLock<u8> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let name = std::env::var("TINE_PLANTED_BUG").unwrap_or_default();
            Bug::ALL
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(0, |(_, bug)| *bug as u8)
        })
    }

    /// Plants a bug in every store of this process, or takes it away. TINE_PLANTED_BUG plants one from outside.
    pub fn plant(bug: Option<Bug>) {
        PLANTED.store(bug.map_or(0, |bug| bug as u8), Ordering::SeqCst);
    }

    pub(crate) fn planted(bug: Bug) -> bool {
        PLANTED.load(Ordering::Relaxed) == bug as u8 || from_environment() == bug as u8
    }
}

#[cfg(feature = "planted-bugs")]
pub use plant::plant;
#[cfg(feature = "planted-bugs")]
pub(crate) use plant::planted;

#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_bug: Bug) -> bool {
    false
}
