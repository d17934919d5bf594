//! What dropping loses, in words that are true.
//!
//! What was written to a stretch that goes is counted; where nothing was, what reads otherwise than at the point from
//! which it went on: zeroes are no written bytes. What is lost beyond that, where a state that stays has overwritten
//! what it shared with one that goes, is not counted but said: unless something that stays still shows all of it.

use std::collections::{BTreeMap, BTreeSet};

use tine_store::{PointInfo, State, Store, Target};

use super::Going;
use crate::api::Failure;
use crate::words::human;

/// How many pairs of states are compared at the most, for the sake of a short wait.
const COMPARED: usize = 8;

/// Says what dropping loses.
pub(super) fn of(store: &Store, going: &Going) -> Result<String, Failure> {
    let points = store.points()?;
    let everything: BTreeSet<Target> = going.everything().into_iter().collect();
    let loss = Loss::new(&points, &everything);
    let by_id: BTreeMap<u64, &PointInfo> = points.iter().map(|point| (point.id, point)).collect();
    let mut changed = 0;
    for (target, from) in loss.unwritten.iter().take(COMPARED) {
        changed += differing(store, &store.state(target)?, by_id[from])?;
    }
    let mut is_shown = true;
    for (place, parting) in loss.partings.iter().enumerate() {
        // A snapshot is the point; a branch below it may have changed without data being written.
        is_shown &= match &parting.twin {
            Some(_) if parting.is_certain => true,
            Some(twin) if place < COMPARED => {
                differing(store, &store.state(twin)?, by_id[&parting.stays])? == 0
            }
            _ => false,
        };
    }
    let twin = loss.partings.iter().find_map(|parting| parting.twin.as_ref());
    let compared = loss.unwritten.len() <= COMPARED;
    let they_have = if going.named().len() == 1 {
        "it has"
    } else {
        "they have"
    };
    let own = match (loss.written, changed) {
        (0, 0) => None,
        (0, changed) => Some(format!(
            "changes to {} that nothing else has: zeroes, discards or another size",
            human(changed)
        )),
        (written, _) => Some(format!("{} that nothing else has", human(written))),
    };
    let others = format!("what others have overwritten since and only {they_have} still");
    let lost = match (own, is_shown, twin) {
        (Some(own), true, _) => own,
        (Some(own), false, _) => format!("{own}, and {others}"),
        (None, false, _) => others,
        (None, true, None) => "no data: none was written".to_owned(),
        (None, true, Some(twin)) if everything.len() == 1 => {
            format!("nothing but the name: `{twin}` is the same disk")
        }
        (None, true, Some(_)) if compared => "nothing but the names: others are the same disks".to_owned(),
        (None, true, Some(_)) => "no data: others have it, too".to_owned(),
    };
    Ok(format!("dropping {} loses {lost}", going.in_words()))
}

/// Counts the bytes in which a disk differs from what it was at a point.
fn differing(store: &Store, state: &State, point: &PointInfo) -> Result<u64, Failure> {
    let then = store.point_state(point)?;
    let mut bytes = 0;
    for range in store.diff(state, &then)? {
        bytes += range?.length;
    }
    Ok(bytes)
}

#[derive(Debug)]
struct Loss {
    /// Bytes written to stretches that go.
    written: u64,
    /// States that go to which nothing was written since the point beside them: the last that stays or has a name.
    unwritten: Vec<(Target, u64)>,
    /// Where what goes grows from what stays.
    partings: Vec<Parting>,
}

/// A point that stays, from which something that goes grows.
#[derive(Debug)]
struct Parting {
    stays: u64,
    /// A name that stays and seems to show the state of the point still.
    twin: Option<Target>,
    /// Whether it does for certain: a snapshot never changes.
    is_certain: bool,
}

impl Loss {
    /// Finds what goes in `points`, which come parents first.
    fn new(points: &[PointInfo], going: &BTreeSet<Target>) -> Self {
        let by_id: BTreeMap<u64, &PointInfo> = points.iter().map(|point| (point.id, point)).collect();
        let names = |point: &PointInfo| -> Vec<Target> {
            let head = point.branch.clone().map(Target::Branch);
            point.snapshots.iter().cloned().chain(head).collect()
        };
        // From the last, so that what descends from a point has spoken before it.
        let mut stays = BTreeSet::new();
        let mut written = 0;
        for point in points.iter().rev() {
            if stays.contains(&point.id) || names(point).iter().any(|name| !going.contains(name)) {
                stays.insert(point.id);
                stays.extend(point.parent);
            } else {
                written += point.written;
            }
        }
        // Who still shows a point that stays: a name at it, or a branch below that wrote nothing since.
        let mut shown: BTreeMap<u64, (Target, bool)> = BTreeMap::new();
        for point in points.iter().filter(|point| stays.contains(&point.id)) {
            for name in names(point).into_iter().filter(|name| !going.contains(name)) {
                // A snapshot never changes; what holds for it holds better than what was found before.
                let certain = matches!(name, Target::Snapshot(..));
                if certain || !shown.contains_key(&point.id) {
                    shown.insert(point.id, (name.clone(), certain));
                }
                let mut at = point;
                while let Some(parent) = at.parent.and_then(|id| by_id.get(&id).copied())
                    && at.written == 0
                    && at.size == parent.size
                    && !shown.contains_key(&parent.id)
                {
                    shown.insert(parent.id, (name.clone(), false));
                    at = parent;
                }
            }
        }
        // For what goes: the point that stays where it hangs on, the last point with a name, and what was written since.
        let mut hangs_on: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
        let mut partings: BTreeMap<u64, Parting> = BTreeMap::new();
        let mut unwritten = Vec::new();
        for point in points {
            let named = names(point).into_iter().find(|name| going.contains(name));
            let stays = if stays.contains(&point.id) {
                named.is_some().then_some(point.id)
            } else {
                let place = point.parent.and_then(|id| {
                    let on_parent = stays.contains(&id).then_some((id, id, 0));
                    on_parent.or_else(|| hangs_on.get(&id).copied())
                });
                let Some((stays, from, since)) = place else {
                    continue;
                };
                let since = since + point.written;
                let next = match &named {
                    Some(_) => (stays, point.id, 0),
                    None => (stays, from, since),
                };
                hangs_on.insert(point.id, next);
                if let (Some(name), 0) = (&named, since) {
                    unwritten.push((name.clone(), from));
                }
                named.is_some().then_some(stays)
            };
            let Some(stays) = stays else { continue };
            partings.entry(stays).or_insert_with(|| {
                let (twin, is_certain) = shown.get(&stays).cloned().unzip();
                Parting {
                    stays,
                    twin,
                    is_certain: is_certain.unwrap_or(false),
                }
            });
        }
        Self {
            written,
            unwritten,
            partings: partings.into_values().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::point;

    fn target(name: &str) -> Target {
        name.parse().unwrap()
    }

    fn lost(points: &[PointInfo], names: &[&str]) -> Loss {
        Loss::new(points, &names.iter().map(|name| target(name)).collect())
    }

    #[test]
    fn what_others_need_is_not_lost() {
        let points = [
            point(1, None, 1000, None, None),
            point(2, Some(1), 200, None, Some("web@clean")),
            point(3, Some(2), 30, Some("web"), None),
            point(4, Some(1), 4, Some("golden"), None),
        ];
        assert_eq!(lost(&points, &["golden"]).written, 4);
        assert_eq!(lost(&points, &["web", "web@clean"]).written, 230);
        assert_eq!(
            lost(&points, &["web@clean"]).written,
            0,
            "the branch stands on it"
        );
        assert_eq!(lost(&points, &["web", "web@clean", "golden"]).written, 1234);
    }

    #[test]
    fn a_twin_is_who_shows_the_same() {
        let twin = |points: &[PointInfo], name: &str| {
            let loss = lost(points, &[name]);
            assert_eq!(loss.partings.len(), 1);
            let parting = &loss.partings[0];
            parting
                .twin
                .as_ref()
                .map(|twin| (twin.to_string(), parting.is_certain))
        };
        let with = |written, snapshot| {
            [
                point(1, None, 1000, None, snapshot),
                point(2, Some(1), written, Some("golden"), None),
                point(3, Some(1), 0, Some("web"), None),
            ]
        };
        assert_eq!(twin(&with(0, None), "web"), Some(("golden".into(), false)));
        assert_eq!(twin(&with(8, None), "web"), None, "golden has gone on");
        assert_eq!(
            twin(&with(8, Some("golden@v1")), "web"),
            Some(("golden@v1".into(), true)),
            "a snapshot never changes"
        );
        assert_eq!(
            twin(&with(0, Some("golden@v1")), "golden@v1"),
            Some(("golden".into(), false))
        );
    }
}
