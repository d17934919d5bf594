//! Goal: what may go to another thread, or be seen there, is what its contents allow, no more and no less.
//! Method: every type that has contents and every iterator is asked, with contents that may do both, with some that may do
//! neither, and with some that may go but not be seen: since nodes may have owners on several threads, that is not enough
//! to go. `src/compile_fail.rs` has what a user would see.

use std::cell::Cell;
use std::marker::PhantomData;
use std::rc::Rc;

use tine_values::{
    Array, Bytes, History, Interner, Key, List, Map, Object, RadixMap, Reference, Set, Shared, Slot,
    SortedMap, SortedSet, Text, Value, array, bytes, list, map, radix_map, set, sorted_map, sorted_set, text,
};

/// What is asked of a type: the methods that are found tell whether it is `Send`, and whether it is `Sync`.
struct Probe<T: ?Sized>(PhantomData<T>);

/// Found on a reference to a probe, if there is nothing nearer.
trait Neither {
    fn is_send(&self) -> bool {
        false
    }
    fn is_sync(&self) -> bool {
        false
    }
}
impl<T: ?Sized> Neither for &Probe<T> {}

trait MayGo {
    fn is_send(&self) -> bool {
        true
    }
}
impl<T: ?Sized + Send> MayGo for Probe<T> {}

trait MayBeSeen {
    fn is_sync(&self) -> bool {
        true
    }
}
impl<T: ?Sized + Sync> MayBeSeen for Probe<T> {}

/// Asks each type what it is with such contents. In a function the methods would be chosen once for all types.
macro_rules! ask {
    ($contents:ty, $expected:expr, $($of_contents:ty),+) => {{
        #[allow(dead_code, reason = "some have no contents")]
        type T = $contents;
        $(
            let probe = &Probe::<$of_contents>(PhantomData);
            let found = (probe.is_send(), probe.is_sync());
            assert_eq!(found, $expected, "{}", std::any::type_name::<$of_contents>());
        )+
    }};
}

macro_rules! ask_all {
    ($($of_contents:ty),+ $(,)?) => {
        ask!(String, (true, true), $($of_contents),+);
        ask!(Rc<u8>, (false, false), $($of_contents),+);
        ask!(Cell<u8>, (false, false), $($of_contents),+);
    };
}

#[test]
fn collections_are_what_their_contents_are() {
    ask_all!(
        Shared<T>,
        Shared<[T]>,
        List<T>,
        Map<T, u8>,
        Map<u8, T>,
        Set<T>,
        SortedMap<T, u8>,
        SortedMap<u8, T>,
        SortedSet<T>,
        RadixMap<T>,
        History<List<T>>,
    );
}

#[test]
fn an_interner_goes_where_its_values_go_and_is_seen_where_they_are() {
    ask!(String, (true, true), Interner<T>);
    // Values are its own, so it goes with what may not be seen elsewhere.
    ask!(Cell<u8>, (true, false), Interner<T>);
    ask!(Rc<u8>, (false, false), Interner<T>);
}

#[test]
fn values_may_go_and_be_seen() {
    ask!(
        u8,
        (true, true),
        Value,
        Slot,
        Array,
        Key,
        Reference,
        Object,
        array::Iter<'static>,
        array::IntoIter
    );
}

#[test]
fn iterators_are_what_their_contents_are() {
    ask_all!(
        list::Iter<'static, T>,
        list::IterMut<'static, T>,
        list::IntoIter<T>,
        list::Chunks<'static, T>,
        list::ChunksMut<'static, T>,
        list::Diff<'static, T>,
        list::ExtractIf<'static, T, fn(&mut T) -> bool>,
        map::Iter<'static, T, u8>,
        map::Iter<'static, u8, T>,
        map::Keys<'static, T, T>,
        map::Values<'static, T, T>,
        map::IterMut<'static, T, u8>,
        map::IterMut<'static, u8, T>,
        map::ValuesMut<'static, T, T>,
        map::IntoIter<T, u8>,
        map::IntoIter<u8, T>,
        map::IntoKeys<T, T>,
        map::IntoValues<T, T>,
        map::Drain<'static, T, T>,
        map::Diff<'static, T, T, u8, fn(&T, &T) -> bool>,
        map::Entry<'static, T, T, u8>,
        map::ExtractIf<'static, T, T, u8, fn(&T, &mut T) -> bool>,
        set::Iter<'static, T>,
        set::IntoIter<T>,
        set::Drain<'static, T>,
        set::Union<'static, T, u8>,
        set::Intersection<'static, T, u8>,
        set::Difference<'static, T, u8>,
        set::SymmetricDifference<'static, T, u8>,
        sorted_map::Iter<'static, T, u8>,
        sorted_map::Iter<'static, u8, T>,
        sorted_map::Keys<'static, T, T>,
        sorted_map::Values<'static, T, T>,
        sorted_map::Range<'static, T, T>,
        sorted_map::IterMut<'static, T, u8>,
        sorted_map::IterMut<'static, u8, T>,
        sorted_map::ValuesMut<'static, T, T>,
        sorted_map::RangeMut<'static, T, T>,
        sorted_map::IntoIter<T, T>,
        sorted_map::IntoKeys<T, T>,
        sorted_map::IntoValues<T, T>,
        sorted_map::Diff<'static, T, T>,
        sorted_map::Entry<'static, T, T>,
        sorted_set::Iter<'static, T>,
        sorted_set::Range<'static, T>,
        sorted_set::IntoIter<T>,
        sorted_set::Union<'static, T>,
        sorted_set::Intersection<'static, T>,
        sorted_set::Difference<'static, T>,
        sorted_set::SymmetricDifference<'static, T>,
        radix_map::Iter<'static, T>,
        radix_map::Keys<'static, T>,
        radix_map::Values<'static, T>,
        radix_map::IterMut<'static, T>,
        radix_map::ValuesMut<'static, T>,
        radix_map::IntoIter<T>,
        radix_map::Entry<'static, T>,
        radix_map::ExtractIf<'static, T, fn(std::ops::Range<u64>, &T) -> bool>,
        radix_map::Diff<'static, T, fn(&T, &T) -> bool>,
    );
}

#[test]
fn texts_and_bytes_may_go_and_be_seen() {
    ask!(
        u8,
        (true, true),
        Text,
        Bytes,
        Shared<str>,
        text::Drain,
        bytes::IntoIter
    );
}
