//! Stores that never were, for tests of what is told about stores.

use tine_store::PointInfo;

/// Makes a point of 1 MiB; `branch` is whose head it is, and `snapshot` a name of it, as `branch@name`.
pub(super) fn point(
    id: u64,
    parent: Option<u64>,
    written: u64,
    branch: Option<&str>,
    snapshot: Option<&str>,
) -> PointInfo {
    PointInfo {
        id,
        parent,
        size: 1 << 20,
        written,
        branch: branch.map(|name| name.parse().expect("a name")),
        snapshots: snapshot
            .map(|name| name.parse().expect("a name"))
            .into_iter()
            .collect(),
    }
}
