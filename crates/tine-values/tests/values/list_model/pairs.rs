//! What holds of two versions, and of three.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use tine_values::{Edit, List};

use super::{Element, Version, numbers};

pub(super) fn hash<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn check_pair<T: Element>(ours: &Version<T>, theirs: &Version<T>) {
    assert_eq!(ours.list == theirs.list, ours.model == theirs.model);
    assert_eq!(ours.list.cmp(&theirs.list), ours.model.cmp(&theirs.model));
    check_diff(&ours.list, &theirs.list);
    check_diff(&theirs.list, &ours.list);
}

/// A diff makes one list of the other, has something equal between any two edits, and is empty for equal lists.
fn check_diff<T: Element>(ours: &List<T>, theirs: &List<T>) {
    let edits: Vec<_> = ours.diff(theirs).collect();
    assert_eq!(edits.is_empty(), ours == theirs);
    let mut end = (0, 0);
    for (at, edit) in edits.iter().enumerate() {
        assert!(!edit.ours.is_empty() || !edit.theirs.is_empty());
        let between = (edit.ours.start - end.0, edit.theirs.start - end.1);
        assert!(between.0 == between.1 && (at == 0 || between.0 > 0), "{edits:?}");
        assert!(
            ours.range(end.0..edit.ours.start)
                .eq(theirs.range(end.1..edit.theirs.start))
        );
        end = (edit.ours.end, edit.theirs.end);
    }
    assert!(ours.range(end.0..).eq(theirs.range(end.1..)));
}

/// Both changed the same place, or it is not clear whose comes first.
fn meet(a: &Edit, b: &Edit) -> bool {
    let cross = a.ours.start < b.ours.end && b.ours.start < a.ours.end;
    let touch = a.ours.start <= b.ours.end && b.ours.start <= a.ours.end;
    cross || touch && (a.ours.is_empty() || b.ours.is_empty())
}

/// A merge of edits that do not meet has both. Returns whether it was one.
pub(super) fn check_merge<T: Element>(base: &Version<T>, ours: &Version<T>, theirs: &Version<T>) -> bool {
    let never = |_| unreachable!("only one side has changed, or both in the same way");
    assert_eq!(base.list.merge(&base.list, &theirs.list, never), theirs.list);
    let same: List<T> = ours.list.iter().cloned().collect();
    assert_eq!(base.list.merge(&ours.list, &same, never), ours.list);

    let mut conflicts = 0;
    let merged = base.list.merge(&ours.list, &theirs.list, |overlap| {
        conflicts += 1;
        assert!(overlap.base.end <= base.model.len());
        assert_ne!(ours.model[overlap.ours.clone()], theirs.model[overlap.theirs]);
        ours.list.slice(overlap.ours)
    });
    if ours.model == theirs.model {
        // However either diff tells it: lists whose nodes differ may have told one change at two places.
        assert_eq!((numbers(&merged), conflicts), (ours.model.clone(), 0));
        return false;
    }
    let our_edits: Vec<_> = base
        .list
        .diff(&ours.list)
        .map(|edit| (edit, &ours.model))
        .collect();
    let their_edits: Vec<_> = base
        .list
        .diff(&theirs.list)
        .map(|edit| (edit, &theirs.model))
        .collect();
    if our_edits
        .iter()
        .any(|(a, _)| their_edits.iter().any(|(b, _)| meet(a, b)))
    {
        return false;
    }
    assert_eq!(conflicts, 0);
    let mut edits = [our_edits, their_edits].concat();
    edits.sort_by_key(|(edit, _)| edit.ours.start);
    let mut expected = base.model.clone();
    for (edit, model) in edits.into_iter().rev() {
        expected.splice(edit.ours, model[edit.theirs].iter().copied());
    }
    assert_eq!(numbers(&merged), expected);
    true
}
