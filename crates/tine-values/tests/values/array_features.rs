//! Goal: what the documentation says of arrays, values and references, case by case; each of PHP's was tried in PHP 8.2.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::{mem, thread};

use tine_values::{Array, Bytes, Key, KeyRef, Object, Reference, Value};

fn list(numbers: impl IntoIterator<Item = i64>) -> Array {
    Array::from_list(numbers)
}

#[test]
fn sizes() {
    assert_eq!((mem::size_of::<Value>(), mem::size_of::<Array>()), (16, 8));
}

#[test]
fn php_makes_numbers_of_texts_that_are_written_like_them() {
    let numbers = ["1", "-5", "0", "9223372036854775807", "-9223372036854775808"];
    for text in numbers {
        assert_eq!(Key::php_text(text), Key::Int(text.parse().unwrap()));
    }
    let texts = [
        "01",
        "-0",
        "+1",
        " 1",
        "1 ",
        "1.5",
        "1e3",
        "",
        "-",
        "9223372036854775808",
        "-9223372036854775809",
        "½",
    ];
    for text in texts {
        assert_eq!(Key::php_text(text), Key::from(text));
    }
    assert_ne!(Key::from("1"), Key::from(1));
}

#[test]
fn php_makes_keys_of_other_values() {
    let floats = [
        (1.7, 1),
        (-1.7, -1),
        (-0.0, 0),
        (f64::NAN, 0),
        (f64::INFINITY, 0),
        (1e30, 5_076_964_154_930_102_272),
        (9.3e18, -9_146_744_073_709_551_616),
        (1e19, -8_446_744_073_709_551_616),
        (-1e19, 8_446_744_073_709_551_616),
    ];
    for (float, key) in floats {
        assert_eq!(Key::php(&float.into()), Some(Key::Int(key)), "{float}");
    }
    assert_eq!(Key::php(&true.into()), Some(Key::Int(1)));
    assert_eq!(Key::php(&false.into()), Some(Key::Int(0)));
    assert_eq!(Key::php(&Value::Null), Some(Key::from("")));
    assert_eq!(Key::php(&Bytes::from(b"7").into()), Some(Key::Int(7)));
    for refused in [
        Array::new().into(),
        Object::new("A").into(),
        Bytes::from(&[255]).into(),
    ] {
        let refused: Value = refused;
        assert_eq!(Key::php(&refused), None);
    }
}

#[test]
fn the_next_key_is_above_all_that_were() {
    let mut array = list([1, 2, 3]);
    array.remove(2);
    assert_eq!(array.next_key(), 3);
    // What is popped is not the key before the next.
    array.pop();
    assert_eq!(array.next_key(), 3);
    let mut array = list([1, 2, 3]);
    array.pop();
    assert_eq!(array.next_key(), 2);
    let mut array = Array::from([(5, 1), (2, 1)]);
    array.pop();
    assert_eq!(array.next_key(), 6);
    let mut array = Array::from([(7, 1)]);
    array.remove(7);
    array.pop();
    array.sort_by(|_, _| unreachable!());
    assert_eq!(array.next_key(), 8);
    assert_eq!(array.clone().push(0), 8);
    array.push_front([0; 0]);
    assert_eq!(array.next_key(), 0);
    assert_eq!(Array::from([(-5, 1)]).next_key(), -4);
}

#[test]
fn the_largest_key_is_the_last() {
    let mut array = Array::from([(i64::MAX, 1)]);
    assert_eq!(array.try_push(2), None);
    assert_eq!(array.len(), 1);
    array.pop();
    assert_eq!(array.push(3), i64::MAX);
}

#[test]
#[should_panic(expected = "the largest number is a key already")]
fn a_push_behind_the_largest_key_panics() {
    Array::from([(i64::MAX, 1)]).push(2);
}

#[test]
fn an_array_is_packed_until_it_cannot_be() {
    let mut array = list(0..1000);
    array.insert(1000, 5);
    array.remove(1000);
    array.insert(3, 5);
    array.splice(2..4, [1, 2, 3]);
    array.pop_front();
    array.sort_by(|one, other| other.as_int().cmp(&one.as_int()));
    assert!(array.is_packed());
    array.remove(500);
    assert!(!array.is_packed());
    assert_eq!(array.keys().nth(500), Some(501.into()));
}

#[test]
fn a_reference_stays_shared_when_the_array_is_copied() {
    let mut array = list([1, 2, 3]);
    let reference = array.reference(1);
    let mut copy = array.clone();
    copy.insert(0, 7);
    copy.insert(1, 99);
    assert_eq!((array, copy), (list([1, 99, 3]), list([7, 99, 3])));
    assert_eq!(reference.get(), 99.into());
}

#[test]
fn a_reference_outlives_its_variable_in_two_arrays() {
    let mut array = list([1, 2, 3]);
    let reference = array.reference(1);
    let mut copy = array.clone();
    copy.insert(0, 7);
    drop(reference);
    copy.insert(1, 99);
    assert_eq!(array.get(1), Some(99.into()));
    assert!(array.slot(1).unwrap().is_shared_reference());
    drop(copy);
    // One owner is left: a copy has a value.
    let mut copy = array.clone();
    copy.insert(1, 5);
    assert_eq!(array.get(1), Some(99.into()));
}

#[test]
fn a_reference_that_is_alone_is_a_value_in_the_copy() {
    let mut array = list([1, 2, 3]);
    drop(array.reference(1));
    let mut copy = array.clone();
    copy.insert(1, 7);
    assert_eq!(array, list([1, 2, 3]));
    // Also if it was not alone when the clone was made, which is no copy yet.
    let reference = array.reference(1);
    let mut copy = array.clone();
    drop(reference);
    copy.insert(1, 7);
    assert_eq!(array, list([1, 2, 3]));
}

#[test]
fn parts_keep_references() {
    let mut array = list([3, 1, 2]);
    let reference = array.reference(0);
    let mut part = array.slice(..2);
    part.insert(0, 9);
    assert_eq!(array, list([9, 1, 2]));
    let removed = array.splice(..1, [0; 0]);
    reference.set(4);
    assert_eq!((removed, array), (list([4]), list([1, 2])));
    let mut array = list([3, 1, 2]);
    let reference = array.reference(0);
    array.sort_by(|one, other| one.as_int().cmp(&other.as_int()));
    reference.set(9);
    assert_eq!(array, list([1, 2, 9]));
}

#[test]
fn a_walk_by_value_sees_what_the_array_was() {
    let mut array = list([1, 2, 3]);
    for (key, value) in array.clone() {
        array.push(value);
        array.remove(&key);
    }
    assert_eq!(array, Array::from([(3, 1), (4, 2), (5, 3)]));
}

#[test]
fn a_walk_by_reference_sees_what_is_appended() {
    let mut array = list([1, 2, 3]);
    let mut seen = Vec::new();
    array.for_each_reference(|array, key, value| {
        if let Key::Int(key @ 0..2) = key {
            array.push(10 * (key + 1));
        }
        if *key == Key::Int(1) {
            array.remove(2);
        }
        seen.push(value.get().as_int().unwrap());
        value.set(value.get().as_int().unwrap() + 1);
        ControlFlow::Continue(())
    });
    assert_eq!(seen, [1, 2, 10, 20]);
    assert_eq!(array, Array::from([(0, 2), (1, 3), (3, 11), (4, 21)]));
}

#[test]
fn a_walk_by_reference_leaves_its_variable_bound() {
    let mut array = list([1, 2, 3]);
    let mut last = None;
    array.for_each_reference(|_, _, value| {
        last = Some(value);
        ControlFlow::Continue(())
    });
    // foreach ($array as $value) {}, where $value still is the last element.
    let last = last.unwrap();
    for (_, value) in array.clone() {
        last.set(value);
    }
    assert_eq!(array, list([1, 2, 2]));
}

#[test]
fn a_walk_keeps_its_place_while_entries_go() {
    let mut array: Array = (0..100).map(|number| (1000 - number, number)).collect();
    let mut seen = 0;
    array.for_each_reference(|array, key, _| {
        seen += 1;
        array.remove(key);
        if array.len() > 50 {
            array.push(0);
            array.pop();
        }
        ControlFlow::Continue(())
    });
    assert_eq!((seen, array.len()), (100, 0));
}

/// Removes the elements that a walk has behind it, and adds one, for which those places may be swept out.
fn remove_seen(array: &mut Array) {
    (972..=1000).for_each(|key| drop(array.remove(key)));
    array.push(7);
}

#[test]
fn a_walk_keeps_its_place_when_another_inside_ends_or_the_array_is_copied() {
    let disturb: [fn(&mut Array); 2] = [
        |array| {
            array.for_each_reference(|_, _, _| ControlFlow::Break(()));
            remove_seen(array);
        },
        |array| {
            let _copy = array.clone();
            remove_seen(array);
        },
    ];
    for disturb in disturb {
        let mut array: Array = (0..40).map(|number| (1000 - number, number)).collect();
        let mut seen = Vec::new();
        array.for_each_reference(|array, _, value| {
            seen.push(value.get().as_int().unwrap());
            if seen.len() == 30 {
                disturb(array);
            }
            ControlFlow::Continue(())
        });
        assert!(seen.iter().copied().eq((0..40).chain([7])), "{seen:?}");
    }
}

#[test]
fn a_clone_made_in_a_walk_is_swept_after_it() {
    let mut array = Array::from([("key", 1)]);
    let mut clone = None;
    array.for_each_reference(|array, _, _| {
        clone = Some(array.clone());
        array.push(0);
        ControlFlow::Break(())
    });
    let mut queue = clone.unwrap();
    for number in 0..10_000 {
        queue.push(number);
        queue.remove(number - 1);
    }
    assert!(queue.own_bytes() < 10_000, "{}", queue.own_bytes());
}

/// Goes through an array by reference, changes it at the visit with this number, and returns what was met.
fn walk(mut array: Array, at: usize, change: impl Fn(&mut Array)) -> String {
    let mut seen = Vec::new();
    array.for_each_reference(|array, key, value| {
        seen.push(format!("{key}:{:?}", value.get()));
        if seen.len() == at + 1 {
            change(array);
        }
        ControlFlow::Continue(())
    });
    seen.join(" ")
}

/// What PHP 8.2 does, packed and general, where it does the same for both.
#[test]
fn a_walk_by_reference_goes_on_before_the_element_that_is_next() {
    let packed = || list([1, 2, 3, 4, 5]);
    let general = || Array::from([("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
    // The change, what it is made at, and what is met from then on in each of them.
    let check = |change: fn(&mut Array), at: usize, in_packed: &str, in_general: &str| {
        let [before_packed, before_general] =
            ["0:1 1:2 2:3 3:4 4:5 ", "a:1 b:2 c:3 d:4 e:5 "].map(|all| &all[..4 * (at + 1)]);
        let met = format!("{before_packed}{in_packed}");
        assert_eq!(walk(packed(), at, change), met.trim());
        let met = format!("{before_general}{in_general}");
        assert_eq!(walk(general(), at, change), met.trim());
    };
    let shift = |array: &mut Array| drop(array.pop_front());
    check(shift, 1, "1:3 2:4 3:5", "c:3 d:4 e:5");
    check(
        |array| (0..3).for_each(|_| drop(array.pop_front())),
        1,
        "0:4 1:5",
        "d:4 e:5",
    );
    check(|array| array.push_front([7, 8]), 1, "4:3 5:4 6:5", "c:3 d:4 e:5");
    check(
        |array| drop(array.splice(..1, [0; 0])),
        1,
        "1:3 2:4 3:5",
        "c:3 d:4 e:5",
    );
    check(|array| drop(array.splice(1..3, [7])), 1, "2:4 3:5", "d:4 e:5");
    check(|array| drop(array.splice(2..3, [7])), 1, "3:4 4:5", "d:4 e:5");
    check(
        |array| drop(array.splice(3..4, [7, 8])),
        1,
        "2:3 3:7 4:8 5:5",
        "c:3 0:7 1:8 e:5",
    );
    check(|array| drop(array.splice(4.., [7])), 4, "", "");
    check(|array| drop(array.splice(5.., [7, 8])), 4, "5:7 6:8", "0:7 1:8");
    check(|array| drop(array.splice(.., [7, 8, 9, 10])), 1, "", "");
    check(|array| array.push_front([7]), 4, "", "");
    // At the end, PHP takes no walk back.
    let shift_and_push = |array: &mut Array| {
        array.pop_front();
        array.push(9);
    };
    check(shift_and_push, 4, "", "");
    // Another array is met from its beginning.
    check(|array| *array = list([10, 20]), 1, "0:10 1:20", "0:10 1:20");
    check(
        |array| {
            array.clear();
            array.push(7);
        },
        1,
        "0:7",
        "0:7",
    );
    check(|array| *array = array.slice(..3), 1, "0:1 1:2 2:3", "a:1 b:2 c:3");
    check(
        |array| array.sort_by(|one, other| other.as_int().cmp(&one.as_int())),
        1,
        "0:5 1:4 2:3 3:2 4:1",
        "0:5 1:4 2:3 3:2 4:1",
    );
    check(
        |array| array.sort_pairs_by(|one, other| other.0.cmp(&one.0)),
        1,
        "4:5 3:4 2:3 1:2 0:1",
        "e:5 d:4 c:3 b:2 a:1",
    );
    // A clone that is put back was one of the walked through.
    check(
        |array| {
            let clone = array.clone();
            array.pop_front();
            *array = clone;
        },
        1,
        "2:3 3:4 4:5",
        "c:3 d:4 e:5",
    );
    // Removed places are none to an array that is put together anew.
    check(
        |array| {
            let first = array.keys().next().unwrap().to_key();
            array.remove(&first);
            array.pop_front();
        },
        1,
        "0:3 1:4 2:5",
        "c:3 d:4 e:5",
    );
}

#[test]
fn walks_in_walks_go_on_before_the_element_that_is_next() {
    let mut array = list([1, 2, 3]);
    let mut seen = Vec::new();
    array.for_each_reference(|array, _, outer| {
        array.for_each_reference(|array, _, inner| {
            seen.push((outer.get().as_int().unwrap(), inner.get().as_int().unwrap()));
            if seen.len() == 2 {
                array.pop_front();
            }
            ControlFlow::Continue(())
        });
        ControlFlow::Continue(())
    });
    let inner = [(1, 1), (1, 2), (1, 3)];
    assert_eq!(seen, [&inner[..], &[(2, 2), (2, 3), (3, 2), (3, 3)]].concat());
}

#[test]
fn a_walk_that_panics_lets_the_array_be_used() {
    let mut array = list(0..10);
    let walk = catch_unwind(AssertUnwindSafe(|| {
        array.for_each_reference(|_, key, _| {
            if *key == Key::Int(4) {
                panic!()
            } else {
                ControlFlow::Continue(())
            }
        });
    }));
    assert!(walk.is_err());
    (0..8).for_each(|key| drop(array.remove(key)));
    array.extend((20..60).map(|key| (key, key)));
    assert_eq!(array.len(), 42);
}

#[test]
fn a_comparison_that_panics_changes_nothing() {
    let mut array = list([3, 1, 2]);
    let before = array.clone();
    assert!(catch_unwind(AssertUnwindSafe(|| array.sort_by(|_, _| panic!()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| array.sort_pairs_by(|_, _| panic!()))).is_err());
    assert!(array.ptr_eq(&before));
}

#[test]
fn a_change_that_panics_leaves_the_value() {
    let mut array = list([1]);
    let reference = array.reference(0);
    assert!(catch_unwind(AssertUnwindSafe(|| array.update(0, |_| panic!()))).is_err());
    reference.set(2);
    assert_eq!(array, list([2]));
}

#[test]
fn sorting_is_stable() {
    let mut array = Array::from([("b", 1), ("a", 1), ("c", 0)]);
    array.sort_pairs_by(|one, other| one.1.as_int().cmp(&other.1.as_int()));
    assert_eq!(array, Array::from([("c", 0), ("b", 1), ("a", 1)]));
}

#[test]
fn equal_is_identical_in_php() {
    assert_ne!(Value::from(1), Value::from(1.0));
    assert_ne!(
        Array::from([("a", 1), ("b", 2)]),
        Array::from([("b", 2), ("a", 1)])
    );
    let mut was_general = Array::from([("a", 1)]);
    was_general.remove("a");
    was_general.push(1);
    assert_eq!(was_general, list([1]));
    let object = Object::new("A");
    assert_eq!(Value::from(object.clone()), Value::from(object.clone()));
    assert_ne!(object, object.duplicate());
}

/// Nests what `wrap` makes, a million deep.
fn deep(wrap: impl Fn(Value) -> Value) -> Value {
    (0..1_000_000).fold(Value::Null, |value, _| wrap(value))
}

#[test]
fn what_is_nested_a_million_deep_is_dropped() {
    drop(deep(|value| Array::from_list([value]).into()));
    drop(deep(|value| Array::from([("key", value)]).into()));
    drop(deep(|value| {
        Object::with_properties("Node", Array::from([("next", value)])).into()
    }));
    drop(deep(|value| {
        let mut array = Array::new();
        array.bind(0, Reference::new(value));
        array.into()
    }));
    let mut array = Array::from_list([1]);
    array.update(0, |slot| *slot = deep(|value| Array::from_list([value]).into()));
    array.insert(0, 1);
    let deep = Reference::new(deep(|value| Array::from_list([value]).into()));
    let other = deep.clone();
    // Whoever is last, or both at once.
    thread::scope(|scope| {
        scope.spawn(|| drop(other));
        drop(deep);
    });
}

#[test]
fn a_part_of_what_is_nested_lives_on() {
    let inner = Array::from_list(["kept"]);
    let outer = Array::from_list([Array::from_list([inner.clone()])]);
    let copy = outer.clone();
    drop(outer);
    assert_eq!(copy.get(0), Some(Array::from_list([inner.clone()]).into()));
    drop(copy);
    assert!(inner.is_unique());
}

#[test]
fn values_go_to_other_threads() {
    fn may_go_and_be_seen<T: Send + Sync>() {}
    may_go_and_be_seen::<Value>();
    may_go_and_be_seen::<Array>();
    may_go_and_be_seen::<Reference>();
    may_go_and_be_seen::<Object>();
    let reference = Reference::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    reference.update(|value| *value = (value.as_int().unwrap() + 1).into());
                }
            });
        }
    });
    assert_eq!(reference.get(), 4000.into());
}

#[test]
fn json_goes_both_ways_in_its_order() {
    let json = r#"{"z":1,"a":[true,null,1.5,"text"],"7":{"y":[],"x":{"0":0,"2":0}},"n":-3}"#;
    let value: Value = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&value).unwrap(), json);
    let array = value.as_array().unwrap();
    let keys: Vec<Key> = array.keys().map(KeyRef::to_key).collect();
    assert_eq!(
        keys,
        [Key::from("z"), Key::from("a"), Key::Int(7), Key::from("n")]
    );
    let again: Array = serde_json::from_str(&serde_json::to_string(array).unwrap()).unwrap();
    assert_eq!(again, *array);
    assert_eq!(
        serde_json::from_str::<Value>("18446744073709551615").unwrap(),
        18_446_744_073_709_551_615_f64.into()
    );
}

#[test]
fn json_of_objects_and_references_is_their_values() {
    let object = Object::new("Point");
    object.set("x", 1);
    let mut array = Array::from_list([Value::Object(object)]);
    array.bind(1, Reference::new("cell"));
    assert_eq!(serde_json::to_string(&array).unwrap(), r#"[{"x":1},"cell"]"#);
}

#[test]
fn json_has_no_word_for_some_values() {
    let values: [Value; 3] = [Bytes::from(&[7]).into(), f64::NAN.into(), Array::new().into()];
    let array = Array::from_list(values);
    let json = serde_json::to_string(&array).unwrap();
    assert_eq!(json, "[[7],null,[]]");
    let read: Value = serde_json::from_str("{}").unwrap();
    assert_eq!(read, Array::new().into());
}

#[test]
fn json_with_a_key_twice_has_the_last_value_in_the_first_place() {
    let array: Array = serde_json::from_str(r#"{"a":1,"7":2,"a":3}"#).unwrap();
    let expected = Array::from([(Key::from("a"), 3), (Key::Int(7), 2)]);
    assert_eq!(array, expected);
}

mod outside {
    //! Formats of which serde_json is none: it has a bound of its own, and keys that are texts.

    use std::fmt::Debug;

    use serde::de::value::{Error, MapDeserializer};
    use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
    use serde::forward_to_deserialize_any;

    use super::*;

    /// Where the next level is.
    #[derive(Clone, Copy, Debug)]
    enum Nested {
        Element,
        Value,
        Key,
        Some,
    }

    /// Input that claims to be nested without an end.
    struct Endless(Nested);

    impl<'de> Deserializer<'de> for Endless {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                Nested::Element => visitor.visit_seq(self),
                Nested::Value | Nested::Key => visitor.visit_map(self),
                Nested::Some => visitor.visit_some(self),
            }
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    impl<'de> SeqAccess<'de> for Endless {
        type Error = Error;

        fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
            seed.deserialize(Self(self.0)).map(Some)
        }
    }

    impl<'de> MapAccess<'de> for Endless {
        type Error = Error;

        fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
            match self.0 {
                Nested::Key => seed.deserialize(Self(self.0)).map(Some),
                _ => seed
                    .deserialize(serde::de::value::I64Deserializer::new(1))
                    .map(Some),
            }
        }

        fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
            seed.deserialize(Self(self.0))
        }
    }

    #[test]
    fn input_without_an_end_is_refused() {
        fn refused<'de, T: Deserialize<'de> + Debug>(nested: Nested) {
            let error = T::deserialize(Endless(nested)).unwrap_err().to_string();
            let says = match nested {
                Nested::Key => "a key",
                _ => "nested too deeply",
            };
            assert!(error.contains(says), "{nested:?}: {error}");
        }
        for nested in [Nested::Element, Nested::Value, Nested::Key, Nested::Some] {
            refused::<Value>(nested);
        }
        for nested in [Nested::Element, Nested::Value, Nested::Key] {
            refused::<Array>(nested);
        }
    }

    #[test]
    fn keys_are_whole_numbers_and_texts() {
        fn read<'de, K: serde::de::IntoDeserializer<'de, Error>>(key: K) -> Result<Key, String> {
            let map = MapDeserializer::new([(key, 1)].into_iter());
            let array = Array::deserialize(map).map_err(|error| error.to_string())?;
            Ok(array.keys().next().unwrap().to_key())
        }
        assert_eq!(read(-3), Ok(Key::Int(-3)));
        assert_eq!(read("-3"), Ok(Key::Int(-3)));
        assert_eq!(read("03"), Ok(Key::from("03")));
        assert_eq!(read(i64::MAX as u64), Ok(Key::Int(i64::MAX)));
        // Beyond, PHP would wrap: two of the input's keys might be one.
        assert!(read(u64::MAX).unwrap_err().contains("a key"));
        assert!(read(1.5).unwrap_err().contains("a key"));
        assert!(read(true).unwrap_err().contains("a key"));
        assert!(read(()).unwrap_err().contains("a key"));
    }
}

#[test]
fn a_circle_is_no_json() {
    let mut array = Array::new();
    let cell = array.reference(0);
    cell.set(array.clone());
    let error = serde_json::to_string(&array).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");
    // Opened, since nobody else frees it.
    cell.set(0);
}
