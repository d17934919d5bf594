//! Dropping what is nested: with a list of what is left to do instead of recursion.

use alloc::vec::Vec;

use super::{Slot, Value};
use crate::array::Array;

/// Drops a value and all that only it reaches.
pub(crate) fn drop_value(value: Value) {
    let mut rest = Vec::new();
    put_off(Slot::Value(value), &mut rest);
    drop_rest(rest);
}

/// Drops an array whose last owner gave it up.
pub(crate) fn drop_array(mut last: crate::array::Inner) {
    let mut rest = Vec::new();
    last.take_containers(|slot| rest.push(slot));
    drop(last);
    drop_rest(rest);
}

fn drop_rest(mut rest: Vec<Slot>) {
    while let Some(slot) = rest.pop() {
        match slot {
            Slot::Reference(mut reference) => {
                if let Some(value) = reference.give_up() {
                    put_off(Slot::Value(value), &mut rest);
                }
            }
            Slot::Value(Value::Object(mut object)) => {
                let properties = object.give_up();
                rest.extend(properties.map(|properties| Slot::Value(Value::Array(properties))));
            }
            Slot::Value(Value::Array(mut array)) => {
                if let Some(mut last) = Array::give_up(&mut array) {
                    last.take_containers(|slot| rest.push(slot));
                }
            }
            Slot::Value(_) => {}
        }
    }
}

/// Drops what has nothing in it, and keeps the rest for later.
fn put_off(slot: Slot, rest: &mut Vec<Slot>) {
    if slot.is_container() {
        rest.push(slot);
    }
}
