//! [`Reference`] and [`Object`]: what is not copied when it is written, as nothing else in this crate.
//!
//! **Invariant:** the option is `None` only while it is dropped. No reference holds another one: what is put in is a
//! [`Value`], which cannot be one.

use core::{fmt, mem, ptr};

use super::Value;
use super::lock::Lock;
use super::teardown;
use crate::array::Array;
use crate::{Shared, Text};

/// A cell that several places share: what is written by one is read by all, as PHP's `&`.
///
/// A clone is another owner of the same cell. [`Array::reference`] makes an element one, [`Array::bind`] puts one in; from then on a
/// write to that element is a write to the cell, also in copies of the array. When an array is copied because it is written to,
/// an element whose reference has no owner but that array becomes a value again, as in PHP.
///
/// ```
/// use tine_values::{Array, Value};
///
/// let mut prices = Array::from_list([10, 20]);
/// let first = prices.reference(0);           // $first = &$prices[0];
/// let mut copy = prices.clone();             // $copy = $prices;
/// copy.insert(1, 21);
/// copy.insert(0, 11);                        // changes $first and $prices[0], too
/// assert_eq!(first.get(), Value::from(11));
/// assert_eq!(prices.get(0), Some(11.into()));
/// assert_eq!(prices.get(1), Some(20.into()));
/// ```
///
/// # Threads and circles
///
/// A cell has a lock, held while its value is cloned or exchanged, and while [`update`](Self::update) runs: what is given to that must
/// not use the same cell, or it waits for itself. A cell that holds an array that holds the cell is never freed (PHP's
/// collector would find it), as a circle of `Arc`s is not.
#[derive(Clone)]
pub struct Reference(Option<Shared<Lock<Value>>>);

impl Reference {
    /// Returns a cell with this value.
    pub fn new(value: impl Into<Value>) -> Self {
        Self(Some(Shared::new(Lock::new(value.into()))))
    }

    fn cell(&self) -> &Shared<Lock<Value>> {
        self.0
            .as_ref()
            .expect("a reference that is not dropped has its cell")
    }

    /// Returns the value: a clone.
    pub fn get(&self) -> Value {
        self.cell().with(|value| value.clone())
    }

    /// Puts a value in.
    pub fn set(&self, value: impl Into<Value>) {
        // The old one is dropped when the lock is open again.
        drop(self.replace(value));
    }

    /// Puts a value in and returns the one before.
    pub fn replace(&self, value: impl Into<Value>) -> Value {
        let value = value.into();
        self.cell().with(|known| mem::replace(known, value))
    }

    /// Lets `change` write to the value in its place. It must not use this reference or another to the same cell.
    pub fn update<R>(&self, change: impl FnOnce(&mut Value) -> R) -> R {
        self.cell().with(change)
    }

    /// Returns whether the cell has no other owner.
    pub fn is_unique(&self) -> bool {
        self.cell().is_unique()
    }

    /// Returns whether both are one cell.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.cell().ptr_eq(other.cell())
    }

    /// Gives this owner up, and returns the value if it was the last.
    pub(super) fn give_up(&mut self) -> Option<Value> {
        Some(self.0.take()?.into_inner()?.into_inner())
    }
}

impl Drop for Reference {
    /// Frees what only this reaches. Recurs no deeper, however deep that is nested.
    fn drop(&mut self) {
        if let Some(value) = self.give_up() {
            teardown::drop_value(value);
        }
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Something with a class and properties that is known by what it is, not by what it has: a clone is the same object, as in PHP.
///
/// ```
/// use tine_values::{Object, Value};
///
/// let point = Object::new("Point");
/// point.set("x", 3);
/// let same = point.clone();
/// same.set("x", 4);
/// assert_eq!(point.get("x"), Some(Value::from(4)));
/// assert_ne!(point, Object::new("Point"));
/// ```
///
/// Threads and circles are as a [`Reference`]'s.
#[derive(Clone)]
pub struct Object(Option<Shared<Inside>>);

pub(super) struct Inside {
    class: Text,
    properties: Lock<Array>,
}

impl Object {
    /// Returns a new object of this class, without properties.
    pub fn new(class: impl Into<Text>) -> Self {
        Self::with_properties(class, Array::new())
    }

    /// Returns a new object of this class, with these properties.
    pub fn with_properties(class: impl Into<Text>, properties: Array) -> Self {
        Self(Some(Shared::new(Inside {
            class: class.into(),
            properties: Lock::new(properties),
        })))
    }

    fn inside(&self) -> &Inside {
        self.0
            .as_ref()
            .expect("an object that is not dropped has its inside")
    }

    /// Returns the class's name.
    pub fn class(&self) -> &Text {
        &self.inside().class
    }

    /// Returns the properties as they are now: a clone.
    pub fn properties(&self) -> Array {
        self.inside().properties.with(|properties| properties.clone())
    }

    /// Returns a property's value: a clone.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.properties().get(name)
    }

    /// Writes a property.
    pub fn set(&self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        drop(self.update(|properties| properties.insert(name, value)));
    }

    /// Lets `change` write to the properties. It must not use this object.
    pub fn update<R>(&self, change: impl FnOnce(&mut Array) -> R) -> R {
        self.inside().properties.with(change)
    }

    /// Returns another object of the same class with the properties that this one has now: PHP's `clone`.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::with_properties(self.class().clone(), self.properties())
    }

    /// Gives this owner up, and returns the properties if it was the last.
    pub(super) fn give_up(&mut self) -> Option<Array> {
        Some(self.0.take()?.into_inner()?.properties.into_inner())
    }
}

impl Drop for Object {
    /// Frees what only this reaches. Recurs no deeper, however deep that is nested.
    fn drop(&mut self) {
        if let Some(properties) = self.give_up() {
            teardown::drop_value(Value::Array(properties));
        }
    }
}

impl PartialEq for Object {
    /// Whether both are one object.
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.inside(), other.inside())
    }
}

impl Eq for Object {}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.class(), self.properties())
    }
}
