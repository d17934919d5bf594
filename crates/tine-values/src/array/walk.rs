//! Going through an array by reference while it is changed.
//!
//! **Invariant:** a walk goes by places. Where it goes on, each version knows for itself: what gives its elements other places tells
//! its walks, and an array that knows a [`Walk`] that goes on sweeps no removed entries out. Copies know it as well: the one that the
//! walk's own writes make is gone through from then on. Once the walk is over all of them sweep again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Array, Key};
use crate::Shared;
use crate::value::Reference;

/// A walk, as arrays know it: whether it is over.
#[derive(Clone)]
pub(super) struct Walk(Shared<AtomicBool>);

impl Walk {
    fn goes_on(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

/// A walk, which is over when this is dropped, also by a panic.
struct Going(Walk);

impl Drop for Going {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// The walks through a version of an array, each with the place that it comes to next. No allocation as long as there is none.
#[derive(Default)]
pub(super) struct Walks(Option<Box<Known>>);

#[derive(Clone)]
struct Known {
    walks: Vec<(Walk, usize)>,
}

impl Walks {
    fn going_on(&self) -> impl Iterator<Item = &(Walk, usize)> {
        let known = self.0.iter().flat_map(|known| &known.walks);
        known.filter(|(walk, _)| walk.goes_on())
    }

    /// Returns whether places have to stay what they are.
    pub(super) fn any(&self) -> bool {
        self.going_on().next().is_some()
    }

    /// Returns the place that a walk comes to next: the first, if the walk is not known.
    fn place(&self, walk: &Walk) -> usize {
        let mut known = self.going_on();
        known
            .find(|(known, _)| known.0.ptr_eq(&walk.0))
            .map_or(0, |(_, place)| *place)
    }

    fn set_place(&mut self, walk: &Walk, place: usize) {
        let known = self
            .0
            .get_or_insert_with(|| Box::new(Known { walks: Vec::new() }));
        known
            .walks
            .retain(|(known, _)| known.goes_on() && !known.0.ptr_eq(&walk.0));
        known.walks.push((walk.clone(), place));
    }

    fn forget_ended(&mut self) {
        *self = self.clone();
    }

    /// Says where what has been at a place is now.
    pub(super) fn moved(&mut self, moved: impl Fn(usize) -> usize) {
        let known = self.0.iter_mut().flat_map(|known| &mut known.walks);
        known.for_each(|(_, place)| *place = moved(*place));
    }
}

impl Clone for Walks {
    /// Those that go on.
    fn clone(&self) -> Self {
        let walks: Vec<_> = self.going_on().cloned().collect();
        Self((!walks.is_empty()).then(|| Box::new(Known { walks })))
    }
}

impl Array {
    /// Calls `visit` with each key and a reference to its element, which becomes one: `foreach ($array as $key => &$value)`.
    ///
    /// `visit` may change the array. What it appends is visited, too, unless it removed as much before; what it
    /// removes is not. [`pop_front`](Self::pop_front), [`push_front`](Self::push_front) and [`splice`](Self::splice) leave the walk before the
    /// element that is next. Another array in the place of this one is gone through from its first element on, as is one that was sorted.
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # use tine_values::{Array, Reference, Value};
    /// let mut list = Array::from_list([1, 2]);
    /// let mut last = None;
    /// list.for_each_reference(|list, key, value| {
    ///     value.set(value.get().as_int().unwrap() * 10);
    ///     last = Some(value);
    ///     ControlFlow::Continue(())
    /// });
    /// assert_eq!(list, Array::from_list([10, 20]));
    /// // PHP's trap: what was the loop's variable still is the last element.
    /// last.unwrap().set(7);
    /// assert_eq!(list, Array::from_list([10, 7]));
    /// ```
    pub fn for_each_reference(
        &mut self,
        mut visit: impl FnMut(&mut Self, &Key, Reference) -> ControlFlow<()>,
    ) {
        let walk = Going(Walk(Shared::new(AtomicBool::new(false))));
        while let Some(key) = self.step(&walk.0) {
            let reference = self.reference(key.clone());
            if visit(self, &key, reference).is_break() {
                break;
            }
        }
        drop(walk);
        if let Some(inner) = self.inner.as_mut().and_then(Shared::get_mut) {
            inner.walks_mut().forget_ended();
        }
    }

    /// Returns the key that a walk comes to next, and leaves the walk behind it. At each step, since the array may have become another one.
    fn step(&mut self, walk: &Walk) -> Option<Key> {
        let inner = self.inner()?;
        let mut places = inner.walks().place(walk)..inner.places();
        let (place, key) = places.find_map(|place| Some((place, inner.at(place)?.0.to_key())))?;
        self.make_mut().walks_mut().set_place(walk, place + 1);
        Some(key)
    }
}
