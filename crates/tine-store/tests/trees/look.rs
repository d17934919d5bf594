//! Looks at the store: compares all that it shows with what it has to show.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use tine_store::{ExtentKind, State, Target, UpkeepStep};

use super::disk::Disk;
use super::history::{BLOCK, BLOCKS, History};
use super::support::perform::{go_on, snapshot_name};
use super::told::{Kind, Told, Wrong, told};

impl History {
    pub(super) fn diff(&self, a: &Target, x: &Disk, b: &Target, y: &Disk) -> Told<()> {
        let store = self.store();
        let (left, right) = (told(store.state(a), "a state")?, told(store.state(b), "a state")?);
        let mut found = BTreeSet::new();
        for range in told(store.diff(&left, &right), "a diff")? {
            let range = told(range, "a diff")?;
            found.extend(range.offset / BLOCK..(range.offset + range.length) / BLOCK);
        }
        let (short, long) = (x.size.min(y.size), x.size.max(y.size));
        let mut expected: BTreeSet<u64> = (short..long).collect();
        let both = x
            .blocks
            .keys()
            .chain(y.blocks.keys())
            .filter(|block| **block < short);
        expected.extend(both.filter(|block| x.blocks.get(block) != y.blocks.get(block)));
        if found == expected {
            return self.diff_parts(&left, &right, &found);
        }
        let missed = expected.difference(&found).count();
        let wrong = found.difference(&expected).count();
        Err(
            format!("the diff of {a:?} and {b:?} misses {missed} blocks and has {wrong} that are equal")
                .into(),
        )
    }

    /// Compares the parts of two disks whose differing blocks are known.
    fn diff_parts(&self, left: &State, right: &State, differing: &BTreeSet<u64>) -> Told<()> {
        let ends = [0, 1, 1000, BLOCKS / 3, BLOCKS / 2 + 1, BLOCKS, 2 * BLOCKS];
        for (from, to) in ends.into_iter().zip(ends.into_iter().skip(1)) {
            let mut found = BTreeSet::new();
            for range in told(
                self.store().diff_in(left, right, from * BLOCK..to * BLOCK),
                "a diff",
            )? {
                let range = told(range, "a diff")?;
                found.extend(range.offset / BLOCK..(range.offset + range.length) / BLOCK);
            }
            if !found.iter().eq(differing.range(from..to)) {
                return Err(
                    format!("the diff of the blocks {from}..{to} is not that part of the whole").into(),
                );
            }
        }
        Ok(())
    }

    /// Compares all that the store shows.
    pub(crate) fn check(&self) -> Told<()> {
        let store = self.store();
        for (name, known) in &self.branches {
            // Before the branch is loaded, in some histories: what was not loaded counts as well.
            let info = told(store.branch_info(name), "info")?;
            let expected = known.written.len() as u64 * BLOCK;
            if info.written != expected {
                return Err(format!("{name}: {} bytes written, not {expected}", info.written).into());
            }
            let state = told(store.state(&Target::Branch(name.clone())), "a state")?;
            compare(&state, &known.now, Some(&known.written)).map_err(|wrong| wrong.at(name))?;
            for (snapshot, point) in &known.snapshots {
                let target = Target::Snapshot(name.clone(), snapshot_name(snapshot));
                let state = told(store.state(&target), "a state")?;
                compare(&state, &point.disk, None)
                    .map_err(|wrong| wrong.at(format_args!("{name}@{snapshot}")))?;
            }
        }
        for point in told(store.points(), "points")? {
            for target in point.snapshots {
                let Target::Snapshot(name, snapshot) = &target else {
                    continue;
                };
                let known = &self.branches[name].snapshots[&snapshot.to_string()];
                if point.written != known.written * BLOCK {
                    let expected = known.written * BLOCK;
                    return Err(
                        format!("{target:?}: {} bytes written, not {expected}", point.written).into(),
                    );
                }
            }
        }
        for (state, disk) in &self.held {
            compare(state, disk, None).map_err(|wrong| wrong.at("a held view"))?;
        }
        let report = told(store.check(false, &mut go_on), "checking")?;
        if report.damage.is_empty() {
            Ok(())
        } else {
            Err(Wrong {
                kind: Kind::Damage,
                why: format!("check finds damage: {:?}", report.damage),
            })
        }
    }

    /// Drops everything, and sees that all space comes back.
    pub(crate) fn drop_all(&mut self) -> Told<()> {
        self.held.clear();
        let store = self.store();
        let names: Vec<_> = self.branches.keys().cloned().collect();
        told(store.drop_branches(&names), "dropping all")?;
        for _ in 0..2 {
            told(store.upkeep(UpkeepStep::Checkpoint), "upkeep")?;
            told(store.upkeep(UpkeepStep::Reclaim), "upkeep")?;
        }
        let left = told(store.stats(), "stats")?.segments;
        if left.count == 0 {
            Ok(())
        } else {
            Err(format!("nothing is left, and of its space {left:?}").into())
        }
    }
}

/// Compares a disk with what the model has: kinds everywhere, and the bytes of all data.
pub(super) fn compare(state: &State, disk: &Disk, written: Option<&BTreeSet<u64>>) -> Told<()> {
    if state.size() != disk.size * BLOCK {
        return Err(format!("{} bytes, not {}", state.size(), disk.size * BLOCK).into());
    }
    let mut known = disk.blocks.iter().peekable();
    let mut bytes = Vec::new();
    let extents = told(state.extents(0..state.size()), "extents")?;
    let mut first = Vec::new();
    let visited = state.visit_extents(0..state.size(), &mut |extent| {
        first.push(extent);
        if first.len() < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    told(visited, "visiting extents")?;
    if first != extents[..extents.len().min(3)] {
        return Err(format!("the first extents are {first:?} for who stops there").into());
    }
    for extent in extents {
        let blocks = extent.offset / BLOCK..(extent.offset + extent.length) / BLOCK;
        if extent.kind != ExtentKind::Data {
            if let Some((block, id)) = known.peek().filter(|(block, _)| **block < blocks.end) {
                return Err(format!("block {block} is {:?}, not of write {id}", extent.kind).into());
            }
            continue;
        }
        bytes.resize(extent.length as usize, 0);
        told(state.read_at(&mut bytes, extent.offset), "reading")?;
        for (block, found) in blocks.zip(bytes.chunks(BLOCK as usize)) {
            let Some((_, &id)) = known.next_if(|(known, _)| **known == block) else {
                return Err(format!("block {block} has data and should be zero").into());
            };
            let mut expected = [0; BLOCK as usize];
            fill(&mut expected, block, id);
            if found != expected {
                let shown = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
                return Err(format!("block {block} is of write {shown}, not {id}").into());
            }
            if let Some(written) = written
                && extent.shared == written.contains(&block)
            {
                return Err(format!("block {block}: shared is told to be {}", extent.shared).into());
            }
        }
    }
    match known.next() {
        Some((block, _)) => Err(format!("block {block} is behind the last extent").into()),
        None => Ok(()),
    }
}

pub(super) fn fill(bytes: &mut [u8], first: u64, id: u32) {
    for (block, number) in bytes.chunks_mut(BLOCK as usize).zip(first..) {
        block.fill(id as u8 | 1);
        block[..8].copy_from_slice(&number.to_le_bytes());
        block[8..12].copy_from_slice(&id.to_le_bytes());
    }
}
