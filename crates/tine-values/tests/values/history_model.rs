//! Goal: a `History` finds every version that it was given, as it was, and takes as much as it says.
//! Method: random edits, undo, redo, jumps, names and forgetting in eight histories that are cloned from each other, beside plain tables of whole
//! values; after each step every version of every history is compared.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tine_values::{
    Array, Bytes, History, List, Map, Measured, RadixMap, Set, Shared, SortedMap, SortedSet, Text, Value,
    VersionId,
};

const VERSIONS: usize = 8;

#[derive(Clone, Debug)]
enum Action {
    Edit(u16, u16),
    Undo,
    Redo,
    GoTo(u16),
    Name(u8),
    Unname(u8),
    Forget(u16),
    Bound(u16),
    NoBound,
}

fn steps() -> impl Strategy<Value = Vec<(usize, usize, Action)>> {
    let action = prop_oneof![
        8 => (any::<u16>(), any::<u16>()).prop_map(|(at, value)| Action::Edit(at, value)),
        4 => Just(Action::Undo),
        3 => Just(Action::Redo),
        2 => any::<u16>().prop_map(Action::GoTo),
        2 => (0..4_u8).prop_map(Action::Name),
        1 => (0..4_u8).prop_map(Action::Unname),
        2 => any::<u16>().prop_map(Action::Forget),
        1 => any::<u16>().prop_map(Action::Bound),
        1 => Just(Action::NoBound),
    ];
    // Mostly the same one, so that it has some versions.
    let from = prop_oneof![5 => Just(None), 1 => (0..VERSIONS).prop_map(Some)];
    let step = (from, 0..VERSIONS, action).prop_map(|(from, to, action)| (from.unwrap_or(to), to, action));
    prop::collection::vec(step, 1..60)
}

/// A version's parent and way, and its value.
type Known = (Option<VersionId>, Option<VersionId>, Vec<u16>);

#[derive(Clone, Default)]
struct Model {
    versions: BTreeMap<VersionId, Known>,
    names: BTreeMap<u8, VersionId>,
}

#[derive(Clone)]
struct Twin {
    history: History<List<u16>>,
    model: Model,
    bound: Option<usize>,
}

impl Twin {
    fn new() -> Self {
        let values: Vec<u16> = (0..3000).collect();
        let history = History::new(List::from(values.as_slice()));
        let versions = BTreeMap::from([(history.current_id(), (None, None, values))]);
        let model = Model {
            versions,
            ..Model::default()
        };
        Self {
            history,
            model,
            bound: None,
        }
    }

    fn pick(&self, place: u16) -> VersionId {
        let ids: Vec<VersionId> = self.model.versions.keys().copied().collect();
        ids[usize::from(place) % ids.len()]
    }

    fn go_to(&mut self, id: VersionId) {
        if let Some(parent) = self.model.versions[&id].0 {
            self.model.versions.get_mut(&parent).unwrap().1 = Some(id);
        }
    }

    fn apply(&mut self, action: Action) {
        let current = self.history.current_id();
        match action {
            Action::Edit(at, value) => {
                let at = usize::from(at) % 3000;
                self.history.edit(|list| list[at] = value);
                let id = self.history.current_id();
                let mut values = self.model.versions[&current].2.clone();
                values[at] = value;
                self.model.versions.insert(id, (Some(current), None, values));
                self.model.versions.get_mut(&current).unwrap().1 = Some(id);
                self.follow_bound();
            }
            Action::Undo => {
                let parent = self.model.versions[&current].0;
                assert_eq!(self.history.undo(), parent.is_some());
                parent.into_iter().for_each(|parent| self.go_to(parent));
                assert_eq!(self.history.current_id(), parent.unwrap_or(current));
            }
            Action::Redo => {
                let way = self.model.versions[&current].1;
                assert_eq!(self.history.redo(), way.is_some());
                assert_eq!(self.history.current_id(), way.unwrap_or(current));
            }
            Action::GoTo(place) => {
                let id = self.pick(place);
                assert!(self.history.go_to(id));
                self.go_to(id);
            }
            Action::Name(name) => {
                self.history.name(name.to_string());
                self.model.names.insert(name, current);
            }
            Action::Unname(name) => {
                assert_eq!(
                    self.history.unname(&name.to_string()),
                    self.model.names.remove(&name)
                );
            }
            Action::Forget(place) => {
                let id = self.pick(place);
                assert_eq!(self.history.forget(id), id != current);
                if id != current {
                    self.forgotten(id);
                }
            }
            Action::Bound(bytes) => {
                self.bound = Some(usize::from(bytes));
                self.history.set_bound(self.bound);
                self.follow_bound();
            }
            Action::NoBound => {
                self.bound = None;
                self.history.set_bound(None);
            }
        }
    }

    /// Takes out of the model what the bound has taken out of the history, which has to be the oldest.
    fn follow_bound(&mut self) {
        let Some(bound) = self.bound else { return };
        let (current, names) = (self.history.current_id(), self.model.names.clone());
        let is_kept = |id: &VersionId| *id == current || names.values().any(|named| named == id);
        let free: Vec<VersionId> = self
            .model
            .versions
            .keys()
            .copied()
            .filter(|id| !is_kept(id))
            .collect();
        let gone = free
            .iter()
            .take_while(|id| self.history.get(**id).is_none())
            .count();
        assert!(
            free[gone..].iter().all(|id| self.history.get(*id).is_some()),
            "not the oldest"
        );
        assert!(self.history.own_bytes() <= bound || gone == free.len());
        free[..gone].iter().for_each(|id| self.forgotten(*id));
    }

    fn forgotten(&mut self, id: VersionId) {
        let (parent, way, _) = self.model.versions.remove(&id).unwrap();
        for (above, on, _) in self.model.versions.values_mut() {
            if *above == Some(id) {
                *above = parent;
            }
            if *on == Some(id) {
                *on = way;
            }
        }
        self.model.names.retain(|_, named| *named != id);
    }

    fn check(&self) {
        let (history, model) = (&self.history, &self.model);
        assert_eq!(history.len(), model.versions.len());
        for ((id, value), (known, (parent, _, values))) in history.versions().zip(&model.versions) {
            assert_eq!((id, history.parent(id)), (*known, *parent));
            assert!(value == values.as_slice(), "{id:?}");
            let children = model
                .versions
                .iter()
                .filter(|(_, (parent, ..))| *parent == Some(id));
            assert!(history.children(id).iter().eq(children.map(|(child, _)| child)));
        }
        let names = history.names().map(|(name, id)| (name.parse().unwrap(), id));
        assert!(names.eq(model.names.iter().map(|(name, id)| (*name, *id))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.min(48), ..ProptestConfig::default() })]
    #[test]
    fn eight_histories_have_what_their_models_have(steps in steps()) {
        let first = Twin::new();
        let mut twins: [Twin; VERSIONS] = std::array::from_fn(|_| first.clone());
        for (from, to, action) in steps {
            if from != to {
                twins[to] = twins[from].clone();
            }
            twins[to].apply(action);
            twins.iter().for_each(Twin::check);
        }
    }
}

/// Makes versions of a value and forgets them again.
fn keeps_count<T: Measured>(value: T, mut change: impl FnMut(&mut T, usize)) {
    let mut history = History::new(value);
    let whole = history.own_bytes();
    for number in 0..100 {
        history.edit(|value| change(value, number));
    }
    assert!(history.own_bytes() > whole);
    let all: usize = history.own_bytes();
    history.set_bound(Some(all / 2));
    assert!(
        history.own_bytes() <= all / 2 || history.len() == 1,
        "{} of {all}",
        history.own_bytes()
    );
    history.set_bound(Some(0));
    // Nobody else has anything, so what is left is what the last one takes.
    assert_eq!(
        (history.len(), history.own_bytes()),
        (1, history.current().own_bytes())
    );
}

#[test]
fn what_versions_take_is_what_forgetting_gives_back() {
    let pairs = || (0..10_000_usize).map(|key| (key, 0));
    keeps_count(List::from_iter(0..10_000_usize), |list, number| {
        list[number * 100] = 0;
    });
    keeps_count(Map::from_iter(pairs()), |map: &mut Map<_, _>, number| {
        map.insert(number, 1);
    });
    keeps_count(Set::from_iter(0..10_000_usize), |set: &mut Set<_>, number| {
        set.remove(&number);
    });
    keeps_count(SortedMap::from_iter(pairs()), |map, number| {
        map.insert(number, 1);
    });
    keeps_count(
        Text::from("so long that it is not in the value itself"),
        |text, _| text.push('!'),
    );
    keeps_count(
        Bytes::from(b"so many that they are not in the value itself"),
        |bytes, _| bytes.push(0),
    );
    keeps_count(
        SortedSet::from_iter(0..10_000_usize),
        |set: &mut SortedSet<_>, number| {
            set.remove(&number);
        },
    );
    keeps_count(Shared::new([0_u8; 100]), |bytes, number| {
        bytes.make_mut()[0] = number as u8;
    });
    keeps_count(Array::from_list(0..10_000_i64), |array, number| {
        array.insert(number as i64 * 100, 1);
    });
    keeps_count(Array::from([("a", 1)]), |array, number| {
        array.insert(number as i64 * 100, 1);
    });
    keeps_count(Value::from(Array::new()), |value, _| {
        value.as_array_mut().expect("an array").push(1);
    });
    let mut pages = RadixMap::new();
    (0..1000).for_each(|page| {
        pages.insert(page, 0_u8);
    });
    keeps_count(pages, |pages, number| {
        pages.insert(number as u64, 1);
    });
}

#[test]
fn a_name_keeps_its_version_from_a_bound() {
    let mut history = History::new(List::from_iter(0..1000_u32));
    history.name("first");
    (0..50).for_each(|number| history.edit(|list| list[number] = 0));
    history.set_bound(Some(1));
    let first = history.named("first").unwrap();
    assert_eq!(
        (history.len(), history.get(first).map(|list| list[0])),
        (2, Some(0))
    );
    assert!(history.undo());
    assert_eq!(history.current_id(), first);
}

#[test]
fn tips_are_the_ends_of_branches() {
    let mut history: History<Text> = History::default();
    for branch in 0..3 {
        history.edit(|text| text.push(char::from(b'a' + branch)));
        assert!(history.undo());
    }
    let tips: Vec<&str> = history
        .tips()
        .map(|tip| history.get(tip).unwrap().as_str())
        .collect();
    assert_eq!(tips, ["a", "b", "c"]);
}

/// What others have when it is forgotten is not given back by that, so it is counted until nothing but one version is left.
#[test]
fn a_bound_keeps_versions_again_after_others_had_what_it_forgot() {
    let mut history = History::new(List::from_iter(0..10_000_u32));
    let whole = history.own_bytes();
    history.set_bound(Some(2 * whole));
    for number in 0..2000 {
        let _reader = history.versions().next().map(|(_, oldest)| oldest.clone());
        history.edit(|list| list[number] = 0);
    }
    (0..5).for_each(|number| history.edit(|list| list[number] = 1));
    assert!(history.len() > 5, "{} of {}", history.own_bytes(), 2 * whole);
}
