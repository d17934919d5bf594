//! tine-values in a program that has no standard library. `cargo xtask test bare` builds it, as no cargo package: a
//! member of the workspace would have to unwind when it panics, and that takes the standard library.
//!
//! **Invariant:** this cannot be built if anything below it links `std`: a program has one panic handler, and here it is
//! given. So no target without an operating system is needed to prove what it does.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use core::fmt::Write;

use tine_values::{
    Array, Bytes, History, List, Map, Object, RadixMap, Set, Shared, SortedMap, SortedSet, Text, Value,
};

/// Memory that is never there: what is proved is that this links.
struct NoMemory;

// SAFETY: it hands nothing out, which an allocator may always do; so there is nothing to be given back.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Uses what there is, so that its code is made.
#[unsafe(no_mangle)]
pub extern "C" fn tine_bare(key: u64, value: u64) -> u64 {
    let mut map: RadixMap<Shared<u64>> = RadixMap::new();
    map.insert(key, Shared::new(value));
    let fork = map.clone();
    map.fill(key..key + 1000, Shared::new(0), |_, _| {});
    let mut sorted: SortedMap<u64, Text> = SortedMap::new();
    let mut text = Text::from_static("a number: ");
    let written = write!(text, "{value}");
    sorted.insert(key, text.slice(2..));
    let list: List<Text> = sorted.values().cloned().collect();
    let length = list.get(0).map_or(0, |text| text.len() as u64);
    let names: Map<Bytes, u64> = [(Bytes::from(text), value)].into();
    let (some, others): (Set<u64>, SortedSet<u64>) = ([key].into(), [value].into());
    let mut array = Array::from_list([1, 2]);
    let cell = array.reference(1);
    cell.set(Object::new("Class"));
    let mut versions = History::new(array);
    versions.edit(|array| array.insert("key", Value::Null));
    let lengths = [names.len(), some.len(), others.len(), versions.current().len()];
    let length = length + lengths.iter().sum::<usize>() as u64;
    fork.get(key)
        .map_or(0, |found| **found + length + u64::from(written.is_ok()))
}
