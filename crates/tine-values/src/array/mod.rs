//! [`Array`]: PHP's array, in which copies share.

mod edit;
mod inner;
mod iter;
mod key;
#[cfg(feature = "serde")]
mod serde;
mod walk;

use core::{fmt, mem};

pub(crate) use self::inner::Inner;
pub use self::iter::{IntoIter, Iter};
pub use self::key::{Key, KeyRef};
#[cfg(feature = "serde")]
pub(crate) use self::serde::Elements;
use crate::Shared;
use crate::value::{Reference, Slot, Value, teardown};

/// Values by keys, which are whole numbers and texts, in the order in which they came: PHP's array.
///
/// A clone costs one count. The first write to one of several clones copies a path of the trees that it is made of, 2 to 4 KB, where
/// PHP copies everything. As long as the keys are 0, 1, 2, … in this order it is packed: a [`List`](crate::List) without keys. It becomes general, with
/// a [`Map`](crate::Map) from keys to places beside the list, when another key comes, or an element goes that is not the last.
///
/// ```
/// use tine_values::{Array, Value};
///
/// let mut monday = Array::new();
/// monday.push("apples");
/// monday.insert("pears", 5);
/// let mut tuesday = monday.clone();
/// tuesday.insert("pears", 6);
/// assert_eq!(monday.get("pears"), Some(Value::from(5)));
///
/// // The walk is over what the array was at its start.
/// for (key, value) in tuesday.clone() {
///     tuesday.push(value);
/// }
/// assert_eq!(tuesday.len(), 4);
/// ```
///
/// # PHP's rules
///
/// | PHP | here |
/// |---|---|
/// | `$a[$k]`, `isset` | [`get`](Self::get), [`slot`](Self::slot); no key is converted but by [`Key::php`] |
/// | `$a[$k] = $v` | [`insert`](Self::insert): writes to the cell where the element is a reference |
/// | `$a[$k][…] = $v` | [`update`](Self::update) |
/// | `$a[] = $v` | [`push`](Self::push): the key is above all numbers that ever were keys, whatever was removed |
/// | `unset($a[$k])` | [`remove`](Self::remove) |
/// | `array_pop`, `array_shift`, `array_unshift` | [`pop`](Self::pop), which sets the next key back, [`pop_front`](Self::pop_front), [`push_front`](Self::push_front) |
/// | `array_splice`, `array_slice` | [`splice`](Self::splice), [`slice`](Self::slice), [`slice_with_keys`](Self::slice_with_keys) |
/// | `usort`, `uasort`, `uksort` | [`sort_by`](Self::sort_by), [`sort_pairs_by`](Self::sort_pairs_by): stable, as since PHP 8 |
/// | `$r = &$a[$k]`, `$a[$k] = &$r` | [`reference`](Self::reference), [`bind`](Self::bind) |
/// | `foreach`, by value and by reference | `for … in array.clone()`, [`for_each_reference`](Self::for_each_reference) |
/// | `===` | `==` |
///
/// An element that is a reference stays shared with copies of the array. When a copy is made, which is when one of several clones
/// is first written to, a reference that nobody has but this array becomes a value. An array that has references is copied element by
/// element then, as all are in PHP.
///
/// # Costs
///
/// Reading and writing a packed array is a [`List`](crate::List)'s `get` and `get_mut`; a general one has a look-up in a [`Map`](crate::Map)
/// before that. Removing an element that is not the last of a packed array makes it general, O(n) once. The first write to a
/// clone takes about as long at 100,000 elements as at 1,000, where PHP's takes a hundred times as long. Single reads and writes are slower
/// than PHP's own.
pub struct Array {
    /// Nothing as long as there was nothing.
    inner: Option<Shared<Inner>>,
}

const _: () = assert!(size_of::<Array>() == size_of::<usize>());

impl Array {
    /// Returns an empty array. Allocates nothing.
    pub const fn new() -> Self {
        Self { inner: None }
    }

    /// Returns the values with the keys 0, 1, 2, ...
    pub fn from_list(values: impl IntoIterator<Item = impl Into<Value>>) -> Self {
        let slots = values.into_iter().map(|value| Slot::Value(value.into()));
        Self::of(Inner::of_slots(slots))
    }

    fn of(inner: Inner) -> Self {
        Self {
            inner: Some(Shared::new(inner)),
        }
    }

    #[inline]
    fn inner(&self) -> Option<&Inner> {
        self.inner.as_deref()
    }

    /// Returns the elements for writing; if others have them, a copy.
    #[inline]
    fn make_mut(&mut self) -> &mut Inner {
        self.inner
            .get_or_insert_with(|| Shared::new(Inner::new()))
            .make_mut()
    }

    /// Returns how many elements there are. O(1).
    #[inline]
    pub fn len(&self) -> usize {
        self.inner().map_or(0, Inner::len)
    }

    /// Returns whether there is no element.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the keys are 0..n in this order and none are stored: PHP's `array_is_list`, but that it may be false for a list
    /// that was something else before.
    pub fn is_packed(&self) -> bool {
        self.inner().is_none_or(Inner::is_packed)
    }

    /// Returns the key that [`push`](Self::push) gives next. `i64::MAX` may be taken.
    pub fn next_key(&self) -> i64 {
        self.inner().map_or(0, Inner::next)
    }

    /// Returns whether there is this key: PHP's `array_key_exists`.
    pub fn contains_key<'k>(&self, key: impl Into<KeyRef<'k>>) -> bool {
        self.slot(key).is_some()
    }

    /// Returns the value at a key: a clone, which is a count at most.
    #[inline]
    pub fn get<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Value> {
        self.slot(key).map(Slot::get)
    }

    /// Returns what there is at a key, as it is. Clones nothing.
    #[inline]
    pub fn slot<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<&Slot> {
        self.inner()?.get(key.into())
    }

    /// Returns the keys and slots in their order.
    pub fn iter(&self) -> Iter<'_> {
        Iter::new(self)
    }

    /// Returns the keys in their order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = KeyRef<'_>> {
        self.iter().map(|(key, _)| key)
    }

    /// Returns the values in their order: clones.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = Value> {
        self.iter().map(|(_, slot)| slot.get())
    }

    /// Writes a value and returns the one before, if there was one. A new key comes behind the others; a reference that others have is
    /// written through.
    #[inline]
    pub fn insert(&mut self, key: impl Into<Key>, value: impl Into<Value>) -> Option<Value> {
        let key = key.into();
        let inner = self.make_mut();
        // Converted where it is used: a number that does not have to be in memory for a call goes into the slot from registers.
        let Some(slot) = inner.get_mut(key.as_ref()) else {
            inner.add(key, Slot::Value(value.into()));
            return None;
        };
        let (old, is_container) = match slot {
            Slot::Value(known) => {
                let value = value.into();
                let is_container = value.is_container();
                (mem::replace(known, value), is_container)
            }
            slot @ Slot::Reference(_) => (slot.assign(value.into()), true),
        };
        if is_container {
            inner.see_containers();
        }
        Some(old)
    }

    /// Lets `change` write to the value at a key, which is null if there was none. If it is an array it is written to in its place.
    ///
    /// ```
    /// # use tine_values::{Array, Value};
    /// let mut pages = Array::from_list([Array::new()]);
    /// pages.update(0, |page| page.as_array_mut().map(|page| page.insert("title", "Trees")));
    /// ```
    pub fn update<R>(&mut self, key: impl Into<Key>, change: impl FnOnce(&mut Value) -> R) -> R {
        let key = key.into();
        let inner = self.make_mut();
        if inner.get(key.as_ref()).is_none() {
            inner.add(key.clone(), Slot::Value(Value::Null));
        }
        // Whatever is put in is taken for something nested.
        inner.see_containers();
        match inner.get_mut(key.as_ref()) {
            Some(Slot::Value(value)) => change(value),
            Some(Slot::Reference(reference)) => reference.update(change),
            None => unreachable!("a value was added"),
        }
    }

    /// Adds a value behind the others and returns its key: one above the largest number that was ever a key.
    ///
    /// # Panics
    ///
    /// If that was `i64::MAX`, and is one still. PHP throws an error then.
    #[inline]
    pub fn push(&mut self, value: impl Into<Value>) -> i64 {
        let key = self.try_push(value);
        key.expect("the largest number is a key already")
    }

    /// Does what [`push`](Self::push) does, or nothing, if there is no larger number.
    #[inline]
    pub fn try_push(&mut self, value: impl Into<Value>) -> Option<i64> {
        if self.inner().is_some_and(Inner::is_full) {
            return None;
        }
        Some(self.make_mut().push(Slot::Value(value.into())))
    }

    /// Removes an element and returns its value. The key that is next stays. Like any write this makes an array that has
    /// references and is shared a copy, also where there is no such element: PHP does.
    pub fn remove<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Option<Value> {
        let key = key.into();
        let inner = self.inner()?;
        if inner.get(key).is_none() && !inner.has_references() {
            return None;
        }
        let (_, slot) = self.make_mut().remove(key)?;
        Some(slot.into_value())
    }

    /// Removes the last element and returns its value. If its key was the one before the next, that is the next again.
    pub fn pop(&mut self) -> Option<Value> {
        if self.is_empty() {
            return None;
        }
        let (_, slot) = self.make_mut().pop()?;
        Some(slot.into_value())
    }

    /// Removes all elements: the array is a new one.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Returns a reference to an element, which becomes one if it is not; null if there was none. `$r = &$array[$key]`.
    pub fn reference(&mut self, key: impl Into<Key>) -> Reference {
        let key = key.into();
        let inner = self.make_mut();
        if inner.get(key.as_ref()).is_none() {
            inner.add(key.clone(), Slot::Value(Value::Null));
        }
        let Some(slot) = inner.get_mut(key.as_ref()) else {
            unreachable!("a value was added")
        };
        let reference = match slot {
            Slot::Reference(reference) => return reference.clone(),
            Slot::Value(value) => Reference::new(mem::take(value)),
        };
        *slot = Slot::Reference(reference.clone());
        inner.see_references();
        reference
    }

    /// Makes an element this reference. `$array[$key] = &$reference`.
    pub fn bind(&mut self, key: impl Into<Key>, reference: Reference) {
        let (key, slot) = (key.into(), Slot::Reference(reference));
        let inner = self.make_mut();
        inner.see(&slot);
        match inner.get_mut(key.as_ref()) {
            Some(known) => *known = slot,
            None => inner.add(key, slot),
        }
    }

    /// Returns whether nobody else has this version.
    pub fn is_unique(&self) -> bool {
        self.inner.as_ref().is_none_or(Shared::is_unique)
    }

    /// Returns whether both are one version: clones, and neither written to since.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        match (&self.inner, &other.inner) {
            (Some(one), Some(other)) => one.ptr_eq(other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns how many bytes only this array reaches: what dropping it gives back. What values point to is not counted.
    pub fn own_bytes(&self) -> usize {
        let inner = self.inner().filter(|_| self.is_unique());
        inner.map_or(0, |inner| Shared::<Inner>::BYTES + inner.bytes().0)
    }

    /// Returns how many bytes others reach, too. What values point to is not counted.
    pub fn shared_bytes(&self) -> usize {
        self.inner()
            .map_or(0, |inner| match (inner.bytes(), self.is_unique()) {
                ((_, shared), true) => shared,
                ((own, shared), false) => Shared::<Inner>::BYTES + own + shared,
            })
    }

    /// Gives this owner up, and returns the elements if it was the last.
    pub(crate) fn give_up(&mut self) -> Option<Inner> {
        self.inner.take()?.into_inner()
    }
}

impl Clone for Array {
    /// Returns another owner of the elements: one count, whatever their number.
    #[inline]
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

impl Drop for Array {
    /// Frees what only this reaches. Recurs no deeper, however deep values are nested.
    fn drop(&mut self) {
        if let Some(inner) = self.give_up() {
            teardown::drop_array(inner);
        }
    }
}

impl Default for Array {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Array {
    /// Whether both have equal keys and values in the same order. What two versions share is skipped if they are packed.
    fn eq(&self, other: &Self) -> bool {
        if self.ptr_eq(other) {
            return true;
        }
        let packed = self.inner().zip(other.inner());
        if let Some(equal) = packed.and_then(|(one, other)| one.equal_packed(other)) {
            return equal;
        }
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Into<Key>, V: Into<Value>> FromIterator<(K, V)> for Array {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut array = Self::new();
        array.extend(entries);
        array
    }
}

impl<K: Into<Key>, V: Into<Value>> Extend<(K, V)> for Array {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Into<Key>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Array {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}
