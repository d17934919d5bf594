//! Looks at the store under test: reads everything that it shows, and says where that is not what the worlds of the
//! [`Runner`] tell. Nothing here changes the store.

use std::collections::BTreeMap;

use tine_store::medium::simulated::Violation;
use tine_store::{BranchInfo, ExtentKind, Store, StoreError};

use super::content::Content;
use super::ops::Op;
use super::perform::{Failure, describe, go_on, read_state};
use super::runner::{Runner, Wrong};
use super::world::{Shown, ShownBranch, Target};

impl Runner {
    pub(crate) fn check_damage(&self) -> Result<(), Wrong> {
        let report = self
            .store()
            .check(true, &mut go_on)
            .map_err(|error| format!("check: {}", describe(&error)))?;
        if report.damage.is_empty() {
            Ok(())
        } else {
            Err(format!("check finds damage: {:?}", report.damage))
        }
    }

    /// Reads everything that the store shows.
    pub(crate) fn shown(&self) -> Result<Shown, StoreError> {
        let store = self.store();
        let mut shown = BTreeMap::new();
        for info in store.branches()? {
            shown.insert(info.name.to_string(), self.one_shown(&info)?);
        }
        for (name, real) in self.names.throwaways() {
            match store.branch_info(&real) {
                Ok(info) => shown.insert(name, self.one_shown(&info)?),
                // A drop or a keep that failed has happened all the same.
                Err(StoreError::UnknownBranch { .. }) => None,
                Err(error) => return Err(error),
            };
        }
        Ok(shown)
    }

    fn one_shown(&self, info: &BranchInfo) -> Result<ShownBranch, StoreError> {
        let store = self.store();
        let mut snapshots = BTreeMap::new();
        for snapshot in &info.snapshots {
            let target = tine_store::Target::Snapshot(info.name.clone(), snapshot.name.clone());
            snapshots.insert(snapshot.name.to_string(), read_state(&store.state(&target)?)?);
        }
        let branch = store.branch(&info.name)?;
        let mut bytes = vec![0; branch.size() as usize];
        branch.read_at(&mut bytes, 0)?;
        Ok(ShownBranch {
            content: Content::from_bytes(&bytes),
            snapshots,
            is_protected: info.protected,
        })
    }

    /// Compares everything shown with the first world.
    pub(crate) fn check_all(&self) -> Result<(), Wrong> {
        let shown = self
            .shown()
            .map_err(|error| format!("reading: {}", describe(&error)))?;
        self.world().running(&shown)?;
        let readers = self
            .readers
            .iter()
            .map(|(reader, content)| (&reader.states()[0], content));
        let held = self.held.iter().map(|(state, content)| (state, content));
        for (state, content) in held.chain(readers) {
            let now =
                read_state(state).map_err(|error| format!("reading a held view: {}", describe(&error)))?;
            if now != *content {
                return Err(format!(
                    "a held view is [{}] and was [{}]",
                    now.describe(),
                    content.describe()
                ));
            }
        }
        Ok(())
    }

    /// Checks the branches that an operation touched, everything after rare ones.
    pub(super) fn check_after(&self, op: &Op) -> Result<(), Wrong> {
        match op {
            Op::Write { name, .. }
            | Op::Batch { name, .. }
            | Op::Zero { name, .. }
            | Op::Discard { name, .. }
            | Op::Flush { name } => self.check_branch(name),
            _ => self.check_all(),
        }
    }

    fn check_branch(&self, name: &str) -> Result<(), Wrong> {
        let told = self.world().branches[name].now();
        let failed = |error: StoreError| format!("reading {name}: {}", describe(&error));
        let branch = self.store().branch(&self.names.branch(name)).map_err(failed)?;
        let mut bytes = vec![0; branch.size() as usize];
        branch.read_at(&mut bytes, 0).map_err(failed)?;
        let found = Content::from_bytes(&bytes);
        if found != *told {
            return Err(format!(
                "{name} shows [{}], not [{}]",
                found.describe(),
                told.describe()
            ));
        }
        let mut at = 0;
        for extent in branch.extents(0..branch.size()).map_err(failed)? {
            let end = extent.offset + extent.length;
            if extent.offset != at || extent.length == 0 {
                return Err(format!(
                    "{name}: an extent begins at {}, not at {at}",
                    extent.offset
                ));
            }
            let range = &bytes[extent.offset as usize..end as usize];
            if extent.kind != ExtentKind::Data && range.iter().any(|&byte| byte != 0) {
                return Err(format!("{name}: {extent:?} is not zero"));
            }
            at = end;
        }
        if at == branch.size() {
            Ok(())
        } else {
            Err(format!("{name}: the extents end at {at}"))
        }
    }

    /// Reports what the engine did that no medium promises to bear.
    pub(super) fn check_use(&self) -> Result<(), Wrong> {
        let wrong: Vec<Violation> = self
            .medium
            .take_violations()
            .into_iter()
            .filter(|violation| !matches!(violation, Violation::Absent(_) | Violation::BeyondEnd(_)))
            .collect();
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("misuse of the medium: {wrong:?}"))
        }
    }

    /// Compares the engine's diff with the real differences: it leaves out nothing and names nothing too much.
    pub(super) fn compare(&self, store: &Store, a: &Target, b: &Target) -> Result<(), Failure> {
        let (one, other) = (
            store.state(&self.names.target(a))?,
            store.state(&self.names.target(b))?,
        );
        let (Ok(told), Ok(told_other)) = (self.world().content(a), self.world().content(b)) else {
            return Ok(());
        };
        let differing = told.differing(told_other);
        let mut found = Vec::new();
        for range in store.diff(&one, &other)? {
            let range = range?;
            found.push(range.offset..range.offset + range.length);
        }
        if found == differing {
            return Ok(());
        }
        Err(Failure::Wrong(format!(
            "diff {a:?} {b:?} names {found:?}, not {differing:?}"
        )))
    }
}
