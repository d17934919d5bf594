//! Goal: a process that may have no more mappings, since others than regions took them, gets errors from regions, and loses nothing.
//! Method: in a process made by fork(2), all mappings but a few are taken. A program of its own: AddressSanitizer needs mappings itself, and
//! ends where there are none.

#![allow(unsafe_code)]

mod forked;

use forked::in_forked_process;
use tine_memory::{PAGE_BYTES, Region};

#[test]
fn a_process_without_mappings_left_gets_errors() {
    for left in 0..8 {
        let status = in_forked_process(|| {
            let mut golden = Region::zeroed(4 << 20).unwrap();
            golden.write_at(b"golden", 0).unwrap();
            let mut child = golden.fork().unwrap();
            child.write_at(b"child", 0).unwrap();
            let mut live = Region::zeroed(4 << 20).unwrap();
            live.write_at(b"live", 0).unwrap();
            let taken = take_mappings(left);
            // Each may be refused; none may end the process or lose a byte.
            let refused = [
                Region::zeroed(4 << 20).is_err(),
                live.freeze().is_err(),
                live.fork().is_err(),
                child.freeze().is_err(),
                child.fork().is_err(),
            ];
            let is_right = &live.as_slice()[..4] == b"live" && &child.as_slice()[..5] == b"child";
            give_back(&taken);
            live.write_at(b"later", 0).unwrap();
            let again = live.fork().and_then(|_| child.fork()).is_ok();
            let any_refused = refused.contains(&true);
            i32::from(!is_right) + 2 * i32::from(!again) + 4 * i32::from(left == 0 && !any_refused)
        });
        assert_eq!(status, 0, "with {left} mappings left");
    }
}

/// Takes all mappings that a process may have, but so many.
fn take_mappings(left: usize) -> Vec<*mut libc::c_void> {
    let mut taken = Vec::with_capacity(1 << 20);
    loop {
        // Neighbours that differ are not made one.
        let access = if taken.len() % 2 == 0 {
            libc::PROT_READ
        } else {
            libc::PROT_NONE
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: the kernel picks a range that nothing else uses.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE_BYTES, access, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            break;
        }
        taken.push(page);
    }
    // Every second one, since one between two others gives back nothing but itself.
    for _ in 0..left {
        let at = taken.len() / 2;
        give_back(&[taken.remove(at)]);
    }
    taken
}

fn give_back(taken: &[*mut libc::c_void]) {
    for page in taken {
        // SAFETY: they were taken above, and nothing refers to them.
        unsafe { libc::munmap(*page, PAGE_BYTES) };
    }
}
