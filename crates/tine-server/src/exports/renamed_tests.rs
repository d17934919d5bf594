//! Goal: what a context says is about one snapshot, whatever names come to mean while a client asks.
//! Method: disks are renamed, and snapshots made anew under the same names, between two questions.

use std::ops::ControlFlow;
use std::sync::Arc;

use tempfile::TempDir;
use tine_nbd::{Client, Errno, Export, Exports as _, Fault, Peer};
use tine_store::{BranchName, CreateOptions, OpenOptions, SnapshotName, Store};

use super::Disks;
use crate::Daemon;

const BLOCK: u64 = 4096;
const SIZE: u64 = 1 << 20;

fn name(name: &str) -> BranchName {
    name.parse().expect("a name")
}

fn snapshot_name(name: &str) -> SnapshotName {
    name.parse().expect("a name")
}

/// A store with a disk `web` that was written to between its snapshots `a` and `b`: its first block changed.
fn served() -> (Store, Disks, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).expect("a store");
    let web = store.create_branch(&name("web"), SIZE).expect("a branch");
    snapshot(&store, "web", "a");
    web.write_at(&[1; BLOCK as usize], 0).expect("a write");
    snapshot(&store, "web", "b");
    let disks = Disks::new(Arc::new(Daemon::new(store.clone())), None);
    (store, disks, folder)
}

fn snapshot(store: &Store, branch: &str, snapshot: &str) {
    store
        .snapshot(&[(name(branch), snapshot_name(snapshot))])
        .expect("a snapshot");
}

fn open(disks: &Disks, export: &str) -> Arc<dyn Export> {
    let (pid, uid, gid) = (std::process::id(), 0, 0);
    let peer = Peer::Process { pid, uid, gid };
    disks
        .open(export, &Client { connection: 1, peer })
        .expect("an export")
}

/// Returns how many bytes a context says have changed.
fn changed(export: &Arc<dyn Export>, context: &str) -> Result<u64, Fault> {
    let mut bytes = 0;
    export.extents(context, 0..SIZE, &mut |extent| {
        bytes += extent.length * extent.flags;
        ControlFlow::Continue(())
    })?;
    Ok(bytes)
}

#[test]
fn a_renamed_disk_is_compared_with_its_own_snapshots() {
    let (store, disks, _folder) = served();
    let backup = open(&disks, "web@b");
    let disk = open(&disks, "web");
    let all = [&backup, &disk];
    for export in all {
        assert_eq!(changed(export, "tine:changed:a").expect("a map"), BLOCK);
    }
    // Another disk takes the name, and has a snapshot of the same name, from which nothing differs.
    store.rename(&name("web"), &name("old")).expect("another name");
    store
        .fork(&"old@b".parse().expect("a target"), &name("web"))
        .expect("a fork");
    snapshot(&store, "web", "a");
    for export in all {
        assert_eq!(changed(export, "tine:changed:a").expect("a map"), BLOCK);
    }
    let fresh = open(&disks, "old@b");
    assert_eq!(changed(&fresh, "tine:changed:a").expect("a map"), BLOCK);
}

#[test]
fn a_snapshot_that_is_made_anew_is_another() {
    for is_selected in [false, true] {
        let (store, disks, _folder) = served();
        let backup = open(&disks, "web@b");
        let fork = open(&disks, "web@b+fork");
        let all = [(&backup, "tine:changed:a"), (&fork, "tine:changed:web@a")];
        for (export, context) in all {
            if is_selected {
                export.select(context);
            } else {
                assert_eq!(changed(export, context).expect("a map"), BLOCK);
            }
        }
        store
            .drop_snapshot(&name("web"), &snapshot_name("a"))
            .expect("it is dropped");
        for (export, context) in all {
            let fault = changed(export, context).expect_err("it is not there");
            assert_eq!(fault.errno, Errno::Invalid);
        }
        snapshot(&store, "web", "a");
        for (export, context) in all {
            let fault = changed(export, context).expect_err("it is another");
            assert_eq!(fault.errno, Errno::Invalid);
            assert!(
                fault.message.contains("is another snapshot by now"),
                "{}",
                fault.message
            );
        }
        let again = open(&disks, "web@b");
        assert_eq!(changed(&again, "tine:changed:a").expect("a map"), 0);
    }
}
