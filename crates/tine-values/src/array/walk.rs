//! Going through an array by reference while it is changed.
//!
//! **Invariant:** a walk goes by places, so an array that knows a [`Walk`] that goes on sweeps no removed entries out. Its copies know it
//! as well: the one that the walk's own writes make is gone through from then on. Once the walk is over all of them sweep again.

use core::ops::ControlFlow;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Array, Key};
use crate::Shared;
use crate::value::Reference;

/// What arrays know of a walk: whether it is over.
#[derive(Clone)]
pub(super) struct Walk(Shared<AtomicBool>);

impl Walk {
    pub(super) fn goes_on(&self) -> bool {
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

impl Array {
    /// Calls `visit` with each key and a reference to its element, which becomes one: `foreach ($array as $key => &$value)`. What
    /// `visit` appends to the array is visited, too, what it removes is not.
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
        let mut place = 0;
        loop {
            let Some(inner) = self.inner() else { return };
            place = place.min(inner.places());
            let next = (place..inner.places()).find_map(|place| Some((place, inner.at(place)?.0.to_key())));
            let Some((found, key)) = next else { return };
            place = found + 1;
            // At each step, since the array may have become another one.
            self.make_mut().pin(&walk.0);
            let reference = self.reference(key.clone());
            if visit(self, &key, reference).is_break() {
                return;
            }
        }
    }
}
