//! Goal: sets share what they can, and no operation costs more than what it changes.
//! Method: count bytes of nodes, and calls of `Eq` and of `Hash`, which do not depend on the machine.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use tine_values::Set;
use tine_values::set::Iter;

fn set_of(numbers: u64) -> Set<u64> {
    (0..numbers).collect()
}

#[test]
fn handles_are_small_and_elements_take_little_more_than_their_size() {
    assert_eq!(size_of::<Set<u64>>(), 24);
    assert_eq!(Set::<u64>::new().own_bytes(), 0);
    for numbers in [1_000, 100_000] {
        let bytes = set_of(numbers).own_bytes() as f64 / numbers as f64;
        assert!(
            (8.0..20.0).contains(&bytes),
            "{bytes} bytes for each of {numbers}"
        );
    }
}

#[test]
fn a_clone_shares_everything_until_it_is_written() {
    let set = set_of(100_000);
    let all = set.own_bytes();
    let mut clone = set.clone();
    assert!(clone.ptr_eq(&set) && !set.is_unique());
    assert_eq!((clone.own_bytes(), clone.shared_bytes()), (0, all));
    assert!(clone.insert(200_000));
    assert!(!clone.ptr_eq(&set) && clone.is_unique());
    let own = clone.own_bytes();
    assert!(0 < own && own < 5_000, "{own} bytes for one element");
}

#[test]
fn what_changes_nothing_copies_nothing() {
    let set = set_of(10_000);
    let mut clone = set.clone();
    assert!(!clone.insert(5) && !clone.remove(&20_000) && clone.take(&20_000).is_none());
    clone.extend([6, 7]);
    clone.retain(|_| true);
    assert_eq!(clone.extract_if(|_| false).count(), 0);
    assert!(clone.ptr_eq(&set) && clone.own_bytes() == 0);
}

#[test]
fn what_is_taken_out_copies_only_its_leaves() {
    let set = set_of(100_000);
    let mut clone = set.clone();
    let taken: Vec<_> = clone
        .extract_if(|&number| number == 7 || number == 70_000)
        .collect();
    assert_eq!(taken.len(), 2);
    let own = clone.own_bytes();
    assert!(own < 10_000, "{own} bytes for two elements");
    assert_eq!((set.len(), clone.len()), (100_000, 99_998));
}

#[test]
fn sets_made_by_operators_share_with_what_they_are_made_of() {
    let base = set_of(100_000);
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    ours.insert(200_000);
    theirs.remove(&5);
    let few = Set::from([1, 2, 300_000]);
    for (name, combined) in [
        ("or", &ours | &theirs),
        ("and", &ours & &theirs),
        ("merge", base.merge(&ours, &theirs)),
        ("or few", &base | &few),
        ("sub few", &base - &few),
        ("xor few", &base ^ &few),
    ] {
        let own = combined.own_bytes();
        assert!(own < 12_000, "{name}: {own} bytes of {}", combined.shared_bytes());
    }
    assert_eq!(&ours - &theirs, Set::from([5, 200_000]));
    assert_eq!(&theirs ^ &base, Set::from([5]));
    assert_eq!(&few & &base, Set::from([1, 2]));
}

thread_local!(static CALLS: Cell<usize> = const { Cell::new(0) });

/// A number that counts how often it is compared or hashed.
#[derive(Clone, Debug)]
struct Counted(u64);

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        CALLS.set(CALLS.get() + 1);
        self.0 == other.0
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        CALLS.set(CALLS.get() + 1);
        state.write_u64(self.0);
    }
}

#[test]
fn combining_versions_looks_only_at_what_differs() {
    let base: Set<Counted> = (0..100_000).map(Counted).collect();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    for number in 0..5 {
        ours.insert(Counted(200_000 + number));
        theirs.remove(&Counted(number * 1_000));
    }
    type Work<'a> = &'a dyn Fn() -> usize;
    let works: [(&str, usize, Work<'_>); 13] = [
        ("diff", 10, &|| ours.diff(&theirs).count()),
        ("difference", 10, &|| ours.difference(&theirs).count()),
        ("symmetric difference", 10, &|| {
            ours.symmetric_difference(&theirs).count()
        }),
        ("union", 100_005, &|| ours.union(&theirs).count()),
        ("intersection", 99_995, &|| ours.intersection(&theirs).count()),
        ("subset", 0, &|| usize::from(ours.is_subset(&theirs))),
        ("superset", 1, &|| usize::from(ours.is_superset(&base))),
        ("disjoint", 0, &|| usize::from(ours.is_disjoint(&theirs))),
        ("or", 100_005, &|| (&ours | &theirs).len()),
        ("and", 99_995, &|| (&ours & &theirs).len()),
        ("sub", 10, &|| (&ours - &theirs).len()),
        ("xor", 10, &|| (&ours ^ &theirs).len()),
        ("merge", 100_000, &|| base.merge(&ours, &theirs).len()),
    ];
    for (name, expected, work) in works {
        CALLS.set(0);
        assert_eq!(work(), expected, "{name}");
        let calls = CALLS.get();
        assert!(calls < 10_000, "{name}: {calls} calls");
    }
}

#[test]
fn it_is_written_as_a_set_is() {
    let mut set = Set::from(["a", "b"]);
    assert!(!set.insert("a") && set.contains("b") && set.get("b") == Some(&"b"));
    assert_eq!(format!("{:?}", Set::from([1])), "{1}");
    assert_eq!(format!("{:?}", Set::from([1]).union(&Set::new())), "[1]");
    set.extend(&["c"]);
    assert_eq!(set.len(), 3);
}

/// What reads a set of what is static does so as one of what lives shorter.
fn _covariant<'a, 'b>(
    set: Set<&'static str>,
    elements: Iter<'b, &'static str>,
) -> (Set<&'a str>, Iter<'b, &'a str>) {
    (set, elements)
}
