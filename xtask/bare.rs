//! tine-values in a program that has no standard library. `cargo xtask test bare` builds it, as no cargo package: a
//! member of the workspace would have to unwind when it panics, and that takes the standard library.
//!
//! **Invariant:** this cannot be built if anything below it links `std`: a program has one panic handler, and here it is
//! given. So no target without an operating system is needed to prove what it does.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use tine_values::{RadixMap, Shared};

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
    fork.get(key).map_or(0, |found| **found)
}
