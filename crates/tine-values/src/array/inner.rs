//! What versions of an [`Array`](super::Array) share: its elements in one of two forms.
//!
//! ```text
//! packed    | slot 0 | slot 1 | slot 2 | ...                          keys are places
//!
//! general   | key, slot | key, slot | (removed) | key, slot | ...     in the order of insertion
//!           key -> place                                              a hash map
//! ```
//!
//! Both are trees that forks share, as they are of a [`List`] and a [`Map`]. A copy of an array that has references copies each
//! element, as PHP does.
//!
//! **Invariants:**
//! 1. Packed: the keys are 0..n, in this order. General: `index` has each key once, with the place of its entry; the last entry is not a
//!    removed one.
//! 2. No node with a `Slot::Reference` is shared by two of these; so a cell has as many owners as there are arrays and
//!    others that have it. `has_references` is true if there may be one, `has_containers` if there may be one, an array or an object.
//! 3. `next` is above all numbers among the keys, but for `i64::MAX`; `i64::MIN` if there has been none.

use alloc::vec::Vec;
use core::mem;
use core::ops::Range;

use super::key::{Key, KeyRef};
use super::walk::Walks;
use crate::value::{Slot, Value};
use crate::{List, Map};

pub(crate) struct Inner {
    form: Form,
    next: i64,
    has_references: bool,
    has_containers: bool,
    /// Who goes by places, which stay what they are as long as that goes on.
    walks: Walks,
}

enum Form {
    Packed(List<Slot>),
    General(General),
}

#[derive(Clone)]
struct General {
    index: Map<Key, usize>,
    entries: List<Option<(Key, Slot)>>,
}

/// Removed entries are swept out when there are more of them than others, and than this.
const REMOVED_MOST: usize = 8;

impl Inner {
    pub(super) fn new() -> Self {
        Self::packed(List::new())
    }

    /// The slots must be no references, or in nodes that no other array has.
    fn packed(slots: List<Slot>) -> Self {
        Self {
            next: next_of(&slots),
            form: Form::Packed(slots),
            has_references: false,
            has_containers: false,
            walks: Walks::default(),
        }
    }

    /// Returns the elements with the keys 0..n.
    pub(super) fn of_slots(slots: impl Iterator<Item = Slot>) -> Self {
        let mut known = Known::default();
        let slots = slots.inspect(|slot| known.see(slot)).collect();
        Self {
            has_references: known.references,
            has_containers: known.containers,
            ..Self::packed(slots)
        }
    }

    /// Returns the elements in this order. No key may be there twice.
    pub(super) fn of_entries(entries: impl Iterator<Item = (Key, Slot)>) -> Self {
        let mut made = Self::new();
        entries.for_each(|(key, slot)| made.add(key, slot));
        made
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.form {
            Form::Packed(slots) => slots.len(),
            Form::General(general) => general.index.len(),
        }
    }

    pub(super) fn is_packed(&self) -> bool {
        matches!(self.form, Form::Packed(_))
    }

    pub(super) fn has_references(&self) -> bool {
        self.has_references
    }

    /// Returns the number that an appended element gets.
    pub(super) fn next(&self) -> i64 {
        if self.next == i64::MIN { 0 } else { self.next }
    }

    /// Says what number is next, whatever there has been.
    pub(super) fn set_next(&mut self, next: i64) {
        self.next = next;
    }

    pub(super) fn raw_next(&self) -> i64 {
        self.next
    }

    pub(super) fn walks(&self) -> &Walks {
        &self.walks
    }

    pub(super) fn walks_mut(&mut self) -> &mut Walks {
        &mut self.walks
    }

    /// Takes the walks out, for other elements, where what was the n-th of these is the one that `moved` says.
    pub(super) fn take_walks(&mut self, moved: impl Fn(usize) -> usize) -> Walks {
        let mut walks = mem::take(&mut self.walks);
        walks.moved(|place| {
            let removed = match &self.form {
                Form::Packed(_) => 0,
                Form::General(general) => general.entries.iter().take(place).filter(|e| e.is_none()).count(),
            };
            moved(place - removed)
        });
        walks
    }

    /// Puts walks in that were taken out.
    pub(super) fn set_walks(&mut self, walks: Walks) {
        self.walks = walks;
    }

    /// Returns how many places there are, of elements and of removed ones.
    #[inline]
    pub(super) fn places(&self) -> usize {
        match &self.form {
            Form::Packed(slots) => slots.len(),
            Form::General(general) => general.entries.len(),
        }
    }

    /// Returns the element at a place, if there is one.
    #[inline]
    pub(super) fn at(&self, place: usize) -> Option<(KeyRef<'_>, &Slot)> {
        match &self.form {
            Form::Packed(slots) => Some((KeyRef::Int(place as i64), slots.get(place)?)),
            Form::General(general) => {
                let (key, slot) = general.entries.get(place)?.as_ref()?;
                Some((key.as_ref(), slot))
            }
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (KeyRef<'_>, &Slot)> {
        (0..self.places()).filter_map(|place| self.at(place))
    }

    /// Returns the place of a key.
    #[inline]
    fn place(&self, key: KeyRef<'_>) -> Option<usize> {
        match (&self.form, key) {
            (Form::Packed(slots), KeyRef::Int(number)) => {
                usize::try_from(number).ok().filter(|&place| place < slots.len())
            }
            (Form::Packed(_), KeyRef::Text(_)) => None,
            (Form::General(general), key) => general.index.get(&key).copied(),
        }
    }

    #[inline]
    pub(super) fn get(&self, key: KeyRef<'_>) -> Option<&Slot> {
        match (&self.form, key) {
            (Form::Packed(slots), KeyRef::Int(number)) => slots.get(usize::try_from(number).ok()?),
            (Form::Packed(_), KeyRef::Text(_)) => None,
            (Form::General(general), key) => general.get(key),
        }
    }

    /// Returns the slot of a key for writing. What is put in is to be [`seen`](Self::see).
    #[inline]
    pub(super) fn get_mut(&mut self, key: KeyRef<'_>) -> Option<&mut Slot> {
        match (&mut self.form, key) {
            (Form::Packed(slots), KeyRef::Int(number)) => slots.get_mut(usize::try_from(number).ok()?),
            (Form::Packed(_), KeyRef::Text(_)) => None,
            (Form::General(general), key) => general.get_mut(key),
        }
    }

    /// Notes what a slot that is put in has.
    #[inline]
    pub(super) fn see(&mut self, slot: &Slot) {
        self.has_references |= matches!(slot, Slot::Reference(_));
        self.has_containers |= slot.is_container();
    }

    /// Notes that there may be an array or an object.
    pub(super) fn see_containers(&mut self) {
        self.has_containers = true;
    }

    /// Notes that there may be a reference.
    pub(super) fn see_references(&mut self) {
        (self.has_references, self.has_containers) = (true, true);
    }

    /// Returns whether there is no number above all keys.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.next == i64::MAX && self.get(KeyRef::Int(i64::MAX)).is_some()
    }

    /// Adds an element behind the last and returns its key, the next one. There must be one: see [`is_full`](Self::is_full).
    #[inline]
    pub(super) fn push(&mut self, slot: Slot) -> i64 {
        let key = self.next();
        match &mut self.form {
            Form::Packed(slots) if slots.len() as i64 == key => {
                self.has_references |= matches!(slot, Slot::Reference(_));
                self.has_containers |= slot.is_container();
                slots.push(slot);
                self.next = key + 1;
            }
            _ => self.add(Key::Int(key), slot),
        }
        key
    }

    /// Adds an element behind the last. The key must be new.
    pub(super) fn add(&mut self, key: Key, slot: Slot) {
        self.see(&slot);
        if let Key::Int(number) = key
            && number >= self.next
        {
            self.next = number.saturating_add(1);
        }
        match (&mut self.form, key) {
            (Form::Packed(slots), Key::Int(number)) if number == slots.len() as i64 => slots.push(slot),
            (_, key) => self.add_general(key, slot),
        }
    }

    fn add_general(&mut self, key: Key, slot: Slot) {
        let is_pinned = self.walks.any();
        let general = self.make_general();
        if !is_pinned && general.entries.len() > 2 * general.index.len() + REMOVED_MOST {
            general.sweep();
        }
        general.index.insert(key.clone(), general.entries.len());
        general.entries.push(Some((key, slot)));
    }

    /// Turns the packed form into the general one. O(n).
    fn make_general(&mut self) -> &mut General {
        if let Form::Packed(slots) = &mut self.form {
            let keyed = mem::take(slots).into_iter().zip(0_i64..);
            let entries: List<_> = keyed.map(|(slot, key)| Some((Key::Int(key), slot))).collect();
            let index = (0..entries.len())
                .map(|place| (Key::Int(place as i64), place))
                .collect();
            self.form = Form::General(General { index, entries });
        }
        match &mut self.form {
            Form::General(general) => general,
            Form::Packed(_) => unreachable!("it was just made general"),
        }
    }

    /// Takes an element out. What is next stays what it is.
    pub(super) fn remove(&mut self, key: KeyRef<'_>) -> Option<(Key, Slot)> {
        let place = self.place(key)?;
        if let Form::Packed(slots) = &mut self.form
            && place + 1 == slots.len()
        {
            return Some((key.to_key(), slots.pop()?));
        }
        let general = self.make_general();
        general.index.remove(&key);
        let removed = general.entries.get_mut(place)?.take();
        while let Some(None) = general.entries.last() {
            general.entries.pop();
        }
        if general.entries.is_empty() {
            self.form = Form::Packed(List::new());
        }
        removed
    }

    /// Takes the last element out, with what is next set back as PHP's `array_pop` does: by one, if the element was the one before it.
    pub(super) fn pop(&mut self) -> Option<(Key, Slot)> {
        let key = self.iter().next_back()?.0.to_key();
        let popped = self.remove(key.as_ref());
        if let Key::Int(number) = key
            && self.next > number
            && self.next - 1 == number
        {
            self.next = number;
        }
        popped
    }

    /// Takes the first element out of the packed form, if it is that: the others move up.
    pub(super) fn pop_front_packed(&mut self) -> Option<Slot> {
        let Form::Packed(slots) = &mut self.form else {
            return None;
        };
        let slot = slots.pop_front()?;
        self.next = slots.len() as i64;
        Some(slot)
    }

    /// Puts slots in the place of others, if the form is packed and has no references; the rest moves.
    pub(super) fn splice_packed(&mut self, range: Range<usize>, added: &mut Vec<Slot>) -> Option<Self> {
        let (has_containers, has_references) = (self.has_containers, self.has_references);
        let Form::Packed(slots) = &mut self.form else {
            return None;
        };
        if has_references {
            return None;
        }
        added
            .iter()
            .for_each(|slot| self.has_containers |= slot.is_container());
        let removed: List<Slot> = slots.splice(range, added.drain(..)).collect();
        self.next = next_of(slots);
        Some(Self {
            has_containers,
            ..Self::packed(removed)
        })
    }

    /// Returns a part of the packed form that shares what it has, if the form is that and has no references.
    pub(super) fn slice_packed(&self, range: Range<usize>) -> Option<Self> {
        match &self.form {
            Form::Packed(slots) if !self.has_references => Some(Self {
                has_containers: self.has_containers,
                ..Self::packed(slots.slice(range))
            }),
            _ => None,
        }
    }

    /// Takes all elements out, in their order.
    pub(super) fn take_entries(&mut self) -> Vec<(Key, Slot)> {
        match mem::replace(&mut self.form, Form::Packed(List::new())) {
            Form::Packed(slots) => {
                let keyed = slots.into_iter().zip(0_i64..);
                keyed.map(|(slot, key)| (Key::Int(key), slot)).collect()
            }
            Form::General(general) => general.entries.into_iter().flatten().collect(),
        }
    }

    /// Gives out what may be nested deeply and that only this reaches.
    pub(crate) fn take_containers(&mut self, mut take: impl FnMut(Slot)) {
        if !self.has_containers {
            return;
        }
        let mut look = |slot: &mut Slot| {
            if slot.is_container() {
                take(mem::replace(slot, Slot::Value(Value::Null)));
            }
        };
        match &mut self.form {
            Form::Packed(slots) => slots.for_each_own(look),
            Form::General(general) => {
                general
                    .entries
                    .for_each_own(|entry| entry.iter_mut().for_each(|(_, slot)| look(slot)));
            }
        }
    }

    /// Returns whether both are packed, and equal; `None` if one is not.
    pub(super) fn equal_packed(&self, other: &Self) -> Option<bool> {
        match (&self.form, &other.form) {
            (Form::Packed(one), Form::Packed(other)) => Some(one == other),
            _ => None,
        }
    }

    /// Returns the bytes of what only this reaches, and of what others do, too.
    pub(super) fn bytes(&self) -> (usize, usize) {
        match &self.form {
            Form::Packed(slots) => (slots.own_bytes(), slots.shared_bytes()),
            Form::General(General { index, entries }) => (
                index.own_bytes() + entries.own_bytes(),
                index.shared_bytes() + entries.shared_bytes(),
            ),
        }
    }
}

impl Clone for Inner {
    /// Copies, as PHP does where an array that others have is written to: a reference that only this array has becomes a value in the
    /// copy, and is shared otherwise. Without references the elements stay shared, whatever their number.
    fn clone(&self) -> Self {
        let mut known = Known::default();
        let mut copied = |slot: &Slot| {
            let slot = slot.copied();
            known.see(&slot);
            slot
        };
        let form = match &self.form {
            Form::Packed(slots) if !self.has_references => Form::Packed(slots.clone()),
            Form::General(general) if !self.has_references => Form::General(general.clone()),
            Form::Packed(slots) => Form::Packed(slots.iter().map(copied).collect()),
            Form::General(General { index, entries }) => {
                let mut copy = |(key, slot): &(Key, Slot)| (key.clone(), copied(slot));
                Form::General(General {
                    index: index.clone(),
                    entries: entries
                        .iter()
                        .map(|entry| entry.as_ref().map(&mut copy))
                        .collect(),
                })
            }
        };
        Self {
            form,
            next: self.next,
            has_references: known.references,
            has_containers: self.has_containers,
            walks: self.walks.clone(),
        }
    }
}

impl General {
    #[inline(never)]
    fn get(&self, key: KeyRef<'_>) -> Option<&Slot> {
        let place = *self.index.get(&key)?;
        Some(&self.entries.get(place)?.as_ref()?.1)
    }

    #[inline(never)]
    fn get_mut(&mut self, key: KeyRef<'_>) -> Option<&mut Slot> {
        let place = *self.index.get(&key)?;
        Some(&mut self.entries.get_mut(place)?.as_mut()?.1)
    }

    /// Drops the places of removed entries. O(n).
    fn sweep(&mut self) {
        let entries: List<_> = mem::take(&mut self.entries)
            .into_iter()
            .filter(Option::is_some)
            .collect();
        for (place, (key, _)) in entries.iter().flatten().enumerate() {
            self.index.insert(key.clone(), place);
        }
        self.entries = entries;
    }
}

/// Returns what is next behind slots that were numbered anew.
fn next_of(slots: &List<Slot>) -> i64 {
    if slots.is_empty() {
        i64::MIN
    } else {
        slots.len() as i64
    }
}

/// What elements there may be.
#[derive(Default)]
struct Known {
    references: bool,
    containers: bool,
}

impl Known {
    fn see(&mut self, slot: &Slot) {
        self.references |= matches!(slot, Slot::Reference(_));
        self.containers |= slot.is_container();
    }
}
