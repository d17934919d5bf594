//! What a `Shared` promises: one pointer, copies only what others have too, frees exactly once.

use std::cell::Cell;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::thread;

use tine_values::radix_map::{Iter, Keys};
use tine_values::{RadixMap, Shared};

const _: () = assert!(size_of::<Shared<[u64; 9]>>() == size_of::<usize>());
const _: () = assert!(size_of::<Option<Shared<u8>>>() == size_of::<usize>());

/// Compiles because a longer life may stand for a shorter one.
fn _covariant<'a, 'b>(
    shared: Shared<&'static str>,
    map: RadixMap<&'static str>,
    pieces: Iter<'b, &'static str>,
    keys: Keys<'b, &'static str>,
) -> (
    Shared<&'a str>,
    RadixMap<&'a str>,
    Iter<'b, &'a str>,
    Keys<'b, &'a str>,
) {
    (shared, map, pieces, keys)
}

#[test]
fn a_sole_owner_writes_in_place() {
    let mut shared = Shared::new(Uncopyable(1));
    let place = shared.as_ptr();
    shared.make_mut().0 = 2;
    assert_eq!(shared.as_ptr(), place);
    assert_eq!(shared.0, 2);
    assert!(shared.is_unique() && shared.get_mut().is_some());
}

struct Uncopyable(u32);

impl Clone for Uncopyable {
    fn clone(&self) -> Self {
        unreachable!("a sole owner has nothing to copy");
    }
}

#[test]
fn an_owner_among_others_gets_a_copy() {
    let mut one = Shared::new(vec![1]);
    let other = one.clone();
    assert!(one.ptr_eq(&other) && !one.is_unique() && one.get_mut().is_none());
    one.make_mut().push(2);
    assert!(!one.ptr_eq(&other) && one.is_unique() && other.is_unique());
    assert_eq!((&*one, &*other), (&vec![1, 2], &vec![1]));
}

#[test]
fn the_last_owner_drops_once() {
    struct CountsDrops<'a>(&'a Cell<u32>);
    impl Drop for CountsDrops<'_> {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let drops = Cell::new(0);
    let owners = vec![Shared::new(CountsDrops(&drops)); 5];
    for (left, owner) in (0..5).rev().zip(owners) {
        drop(owner);
        assert_eq!(drops.get(), u32::from(left == 0));
    }
}

#[test]
fn a_clone_that_panics_leaves_the_owners_as_they_were() {
    struct Panics(Rc<()>);
    impl Clone for Panics {
        fn clone(&self) -> Self {
            panic!("planned");
        }
    }
    let witness = Rc::new(());
    let mut one = Shared::new(Panics(witness.clone()));
    let other = one.clone();
    assert!(catch_unwind(AssertUnwindSafe(|| one.make_mut().0.clone())).is_err());
    assert!(one.ptr_eq(&other));
    drop((one, other));
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn what_two_made_of_one_value_is_merged() {
    let base = Shared::<str>::from("base");
    let (same, ours, theirs) = (Shared::from("base"), Shared::from("ours"), Shared::from("theirs"));
    let never = |_: &_, _: &_, _: &_| -> Shared<str> { unreachable!("one side has changed it at most") };
    assert!(base.merge(&base, &theirs, never).ptr_eq(&theirs));
    assert!(base.merge(&ours, &base, never).ptr_eq(&ours));
    // Told by their values as well.
    assert!(base.merge(&same, &theirs, never).ptr_eq(&theirs));
    assert!(base.merge(&ours, &same, never).ptr_eq(&ours));
    assert!(base.merge(&ours, &Shared::from("ours"), never).ptr_eq(&ours));
    let both = base.merge(&ours, &theirs, |base, ours, theirs| {
        format!("{base} {ours} {theirs}").into()
    });
    assert_eq!(*both, *"base ours theirs");
}

#[test]
fn one_value_is_not_looked_at_to_be_merged() {
    /// Not even equal to itself.
    #[derive(Clone)]
    struct Unlooked;
    impl PartialEq for Unlooked {
        fn eq(&self, _: &Self) -> bool {
            panic!("it was looked at");
        }
    }
    let base = Shared::new(Unlooked);
    let ours = Shared::new(Unlooked);
    let never = |_: &_, _: &_, _: &_| -> Shared<Unlooked> { unreachable!() };
    assert!(base.merge(&ours, &base, never).ptr_eq(&ours));
    assert!(base.merge(&ours, &ours, never).ptr_eq(&ours));
    assert!(base.merge(&base, &base, never).ptr_eq(&base));
}

#[test]
fn its_bytes_are_its_own_or_shared() {
    let one = Shared::new(1_u64);
    assert_eq!((one.own_bytes(), one.shared_bytes()), (16, 0));
    let other = one.clone();
    assert_eq!((one.own_bytes(), other.own_bytes()), (0, 0));
    assert_eq!((one.shared_bytes(), other.shared_bytes()), (16, 16));
    drop(one);
    assert_eq!((other.own_bytes(), other.shared_bytes()), (16, 0));
    assert_eq!(Shared::<str>::from("0123456789").own_bytes(), 24);
}

#[test]
fn it_reads_as_its_value() {
    let shared = Shared::from(String::from("a"));
    assert_eq!(format!("{shared} {shared:?}"), "a \"a\"");
    assert!(shared == Shared::new(String::from("a")) && shared < Shared::new(String::from("b")));
    let map = HashMap::from([(shared, 1)]);
    assert_eq!(
        map.get(&String::from("a")),
        Some(&1),
        "it hashes as its value and borrows as it"
    );
    assert_eq!(*Shared::<u32>::default(), 0);
    assert_eq!(*Shared::new(()), (), "no value is too small");
}

#[test]
fn threads_write_to_their_own() {
    let origin = Shared::new(vec![0_u32; 10]);
    thread::scope(|scope| {
        for number in 0..4 {
            let mut mine = origin.clone();
            scope.spawn(move || {
                for _ in 0..1000 {
                    mine.make_mut()[3] += number;
                    drop(mine.clone());
                }
                assert_eq!(mine[3], number * 1000);
            });
        }
    });
    assert!(origin.is_unique() && origin[3] == 0);
}

#[test]
fn maps_fork_across_threads() {
    let base: RadixMap<Box<u64>> = (0..5_000).map(|key| (key, Box::new(key))).collect();
    thread::scope(|scope| {
        for number in 0..4 {
            let mut fork = base.clone();
            scope.spawn(move || {
                for key in (number..5_000).step_by(4) {
                    fork.insert(key, Box::new(0));
                    let _reader = fork.clone();
                }
                assert_eq!(
                    fork.iter().filter(|(_, value)| ***value == 0).count(),
                    1250 + usize::from(number > 0)
                );
            });
        }
    });
    assert!(base.iter().all(|(range, value)| range.start == **value));
}

#[test]
fn slices_and_texts_are_shared_as_values_are() {
    let mut one: Shared<[String]> = ["a", "b"].map(String::from).into();
    let other = one.clone();
    assert!(one.ptr_eq(&other) && one.get_mut().is_none());
    one.make_mut()[0].push('!');
    assert_eq!(
        (&*one, &*other),
        (
            &["a!", "b"].map(String::from)[..],
            &["a", "b"].map(String::from)[..]
        )
    );
    assert!(one.is_unique() && other.is_unique() && one > other);

    let mut word = Shared::<str>::from("word");
    let copy = word.clone();
    word.make_mut().make_ascii_uppercase();
    assert_eq!((&*word, format!("{copy:?}")), ("WORD", "\"word\"".into()));
    assert_eq!(HashMap::from([(word, 1)]).get("WORD"), Some(&1));
    assert_eq!(size_of::<Option<Shared<str>>>(), 2 * size_of::<usize>());
}

#[test]
fn slices_come_from_all_that_has_values() {
    let expected = [Rc::new(1), Rc::new(2)];
    let from = [
        Shared::<[_]>::from(&expected[..]),
        Shared::from(expected.clone()),
        Shared::from(expected.to_vec()),
        Shared::from(expected.to_vec().into_boxed_slice()),
        expected.iter().cloned().collect(),
    ];
    from.iter().for_each(|slice| assert_eq!(**slice, expected));
    drop(from);
    assert!(expected.iter().all(|value| Rc::strong_count(value) == 1));
    assert_eq!(
        (Shared::<[u8]>::default().len(), &*Shared::<str>::default()),
        (0, "")
    );
    #[repr(align(64))]
    #[derive(Clone)]
    struct Line(u8);
    let lines = Shared::<[_]>::from([Line(1), Line(2)]);
    assert!(lines.as_ptr().cast::<Line>().is_aligned() && lines[1].0 == 2);
    assert_eq!(Shared::<[()]>::from([(); 9]).len(), 9);
}

#[test]
fn a_slice_whose_clone_panics_is_given_back() {
    struct Third<'a>(&'a Rc<Cell<u32>>, Rc<Cell<u32>>);
    impl Clone for Third<'_> {
        fn clone(&self) -> Self {
            self.0.set(self.0.get() + 1);
            assert!(self.0.get() < 3, "planned");
            Third(self.0, self.1.clone())
        }
    }
    let (clones, witness) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let values: Vec<_> = (0..5).map(|_| Third(&clones, witness.clone())).collect();
    let mut one = Shared::<[_]>::from(values);
    let other = one.clone();
    assert!(catch_unwind(AssertUnwindSafe(|| one.make_mut().len())).is_err());
    assert_eq!((clones.get(), Rc::strong_count(&witness)), (3, 6));
    assert!(one.ptr_eq(&other));
    drop((one, other));
    assert_eq!(Rc::strong_count(&witness), 1);
}

#[test]
fn the_last_owner_gets_the_value_out() {
    let one = Shared::new(String::from("kept"));
    let other = one.clone();
    let one = one.try_unwrap().unwrap_err();
    assert_eq!(one.into_inner(), None);
    assert_eq!(other.try_unwrap().unwrap(), "kept");

    let shared = Shared::new(Rc::new(7));
    let held = shared.clone();
    assert_eq!(
        Rc::strong_count(&shared.unwrap_or_clone()),
        2,
        "the handle had a clone taken"
    );
    assert_eq!(
        Rc::strong_count(&held.unwrap_or_clone()),
        1,
        "the last had the value itself"
    );

    let owner = Shared::new(Box::new(1));
    let takers = [owner.clone(), owner.clone(), owner].map(|owner| thread::spawn(|| owner.into_inner()));
    let taken = takers.map(|taker| taker.join().unwrap());
    assert_eq!(taken.iter().flatten().count(), 1, "one of them all");
}

#[cfg(feature = "serde")]
#[test]
fn to_a_format_it_is_its_value() {
    let values: (Shared<u8>, Shared<[u8]>, Shared<str>) = (1.into(), [2, 3].into(), "four".into());
    let json = serde_json::to_string(&values).unwrap();
    assert_eq!(json, "[1,[2,3],\"four\"]");
    assert_eq!(
        serde_json::from_str::<(Shared<u8>, Shared<[u8]>, Shared<str>)>(&json).unwrap(),
        values
    );
}
