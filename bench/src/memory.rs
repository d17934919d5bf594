//! Memory that the host has really given to this machine.
//!
//! A virtual machine whose free pages go back to its host (free page reporting, a balloon) pays for each of them once more
//! when it takes it: where this was written, 15 µs for a page of 4 KiB that is written to the page cache, against 1 µs for
//! one that was in use a moment ago. Which contestant gets which pages is chance, so before each of them some are taken and
//! let go: it is software that is compared here.

use std::hint::black_box;

/// A page.
const PAGE: usize = 4096;

/// Takes so many bytes of memory, half of what is free at most, and lets them go: who asks next gets these.
pub(crate) fn have_backed(bytes: u64) {
    let free = rustix::system::sysinfo();
    let free = free.freeram * u64::from(free.mem_unit);
    let mut memory = vec![0u8; bytes.min(free / 2) as usize];
    for page in memory.chunks_mut(PAGE) {
        page[0] = 1;
    }
    black_box(&memory);
}
