//! `resize`: another size for a disk.

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, ExtentKind, Store, Target};

use super::{Consent, Failure, Method, Request};
use crate::Daemon;
use crate::attached::Under;
use crate::words::human;

/// Changes the size of a branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// The branch.
    pub name: BranchName,
    /// Its new size in bytes.
    pub size: u64,
    /// To losing what lies beyond the new end.
    #[serde(default)]
    pub consent: Consent,
    /// Make it smaller though clients are attached to it.
    #[serde(default)]
    pub force: bool,
}

/// A branch that was resized.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resized {
    /// Its name.
    pub name: BranchName,
    /// Its size in bytes.
    pub size: u64,
    /// The size that it had.
    pub was: u64,
}

impl Request for Resize {
    type Answer = Resized;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "resize";

    fn work(self, daemon: &Daemon) -> Result<Resized, Failure> {
        let Self {
            name,
            size,
            consent,
            force,
        } = self;
        let store = daemon.store();
        // It must not have grown, with clients behind the new end, when it is found that this is no shrinking.
        let alone = daemon.alone(std::iter::once(&name))?;
        let was = store.branch(&name)?.size();
        let _claim = (size < was)
            .then(|| alone.claim(&[Target::Branch(name.clone())], ("shrinking", Under::All), force))
            .transpose()?;
        consent.covers(|| loss(store, &name, size))?;
        store.resize(&name, size)?;
        Ok(Resized { name, size, was })
    }
}

fn loss(store: &Store, name: &BranchName, size: u64) -> Result<Option<String>, Failure> {
    let branch = store.branch(name)?;
    let was = branch.size();
    if size >= was {
        return Ok(None);
    }
    let cut = branch.extents(size..was)?;
    let data: u64 = cut
        .iter()
        .filter(|extent| matches!(extent.kind, ExtentKind::Data))
        .map(|extent| extent.length)
        .sum();
    Ok((data > 0).then(|| {
        format!(
            "shrinking `{name}` from {} to {} loses {} of data beyond the new end",
            human(was),
            human(size),
            human(data)
        )
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use tine_nbd::Peer;
    use tine_store::{CreateOptions, OpenOptions};

    use super::*;
    use crate::api::Kind;
    use crate::attached::{Access, DiskKey};

    #[test]
    fn what_has_grown_meanwhile_is_not_shrunk_under_clients() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let name: BranchName = "web".parse().unwrap();
        let branch = store.create_branch(&name, 1 << 20).unwrap();
        let daemon = Arc::new(Daemon::new(store.clone()));
        let other = daemon.alone(std::iter::once(&name)).unwrap();
        let growing = {
            let (daemon, name) = (Arc::clone(&daemon), name.clone());
            thread::spawn(move || {
                let resize = Resize {
                    name,
                    size: 2 << 20,
                    consent: Consent::default(),
                    force: false,
                };
                resize.work(&daemon)
            })
        };
        // Time enough to look at the size, were it not waited for.
        thread::sleep(Duration::from_millis(100));
        store.resize(&name, 4 << 20).unwrap();
        let disk = DiskKey {
            branch: branch.id(),
            snapshot: None,
        };
        let (pid, uid, gid) = (std::process::id(), 0, 0);
        let peer = Peer::Process { pid, uid, gid };
        let _client = daemon
            .attached()
            .attach(disk, "web", Access::Write, &peer)
            .unwrap();
        drop(other);
        let refused = growing.join().unwrap().expect_err("it would shrink");
        assert_eq!(refused.kind, Kind::Attached);
        assert_eq!(branch.size(), 4 << 20);
    }
}
