//! Private pages put in place in a mapping that nobody uses yet.
//!
//! UFFDIO_COPY makes a page private with its content in one step; a write would have the kernel copy the image's page first,
//! to overwrite it. Nothing is ever left to a handler: the range is registered for the copying alone, in user mode alone, which
//! needs no privilege. Where userfaultfd is not to be had (a container's filter of system calls), pages are written.

#![allow(unsafe_code)]

use std::iter::Peekable;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, Updater, ioctl, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

use super::Mapping;
use super::process::this_process;
use crate::pages::{PAGE_BYTES, Page};
use crate::{Error, Result};

/// `struct uffdio_api`, linux/userfaultfd.h.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_range`.
#[repr(C)]
struct Addresses {
    start: u64,
    bytes: u64,
}

/// `struct uffdio_register`.
#[repr(C)]
struct Register {
    range: Addresses,
    mode: u64,
    ioctls: u64,
}

/// `struct uffdio_copy`.
#[repr(C)]
struct Copy {
    target: u64,
    source: u64,
    bytes: u64,
    mode: u64,
    copied: i64,
}

const USERFAULTFD: u8 = 0xAA;
const UFFDIO_API: u32 = opcode::read_write::<Api>(USERFAULTFD, 0x3F);
const UFFDIO_REGISTER: u32 = opcode::read_write::<Register>(USERFAULTFD, 0x00);
const UFFDIO_UNREGISTER: u32 = opcode::read::<Addresses>(USERFAULTFD, 0x01);
const UFFDIO_COPY: u32 = opcode::read_write::<Copy>(USERFAULTFD, 0x03);

const REGISTER_MISSING: u64 = 1;
/// `UFFD_USER_MODE_ONLY`.
const USER_MODE_ONLY: u32 = 1;

/// A userfaultfd of one process, or that there is none to be had.
struct Pager {
    descriptor: Option<OwnedFd>,
    process: u32,
}

/// Puts pages with their contents in place, which become the mapping's own. One copy for each page, and a system call for each
/// run of them.
pub(crate) fn install<'a>(
    mapping: &mut Mapping,
    pages: impl Iterator<Item = (usize, &'a Page)> + Clone,
) -> Result {
    mapping.in_owner()?;
    let pager = pager();
    if let Some(descriptor) = &pager.descriptor
        && copy_in(descriptor, mapping, pages.clone())?
    {
        return Ok(());
    }
    // Whatever was put in place already is written once more.
    write(mapping, pages);
    Ok(())
}

fn write<'a>(mapping: &mut Mapping, pages: impl Iterator<Item = (usize, &'a Page)>) {
    let memory = mapping.as_mut_slice();
    for (page, content) in pages {
        memory[page * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(content);
    }
}

fn pager() -> Arc<Pager> {
    static PAGER: Mutex<Option<Arc<Pager>>> = Mutex::new(None);
    let mut pager = PAGER.lock().unwrap_or_else(PoisonError::into_inner);
    // A userfaultfd serves the memory of who made it, even in a process forked from that one.
    let current = pager.take_if(|pager| pager.process == this_process());
    Arc::clone(pager.insert(current.unwrap_or_else(|| Arc::new(Pager::new()))))
}

impl Pager {
    fn new() -> Self {
        let flags = UserfaultfdFlags::CLOEXEC
            | UserfaultfdFlags::NONBLOCK
            | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: a userfaultfd changes nothing by itself; the ranges registered are our own.
        let made = unsafe { userfaultfd(flags) };
        Self {
            descriptor: made.ok().filter(|descriptor| {
                let mut api = Api {
                    api: u64::from(USERFAULTFD),
                    features: 0,
                    ioctls: 0,
                };
                call::<UFFDIO_API, _>(descriptor, &mut api).is_ok()
            }),
            process: this_process(),
        }
    }
}

/// Returns whether all pages could be put in place.
fn copy_in<'a>(
    descriptor: &OwnedFd,
    mapping: &mut Mapping,
    pages: impl Iterator<Item = (usize, &'a Page)>,
) -> Result<bool> {
    let addresses = || Addresses {
        start: mapping.as_ptr().addr() as u64,
        bytes: (mapping.pages() * PAGE_BYTES) as u64,
    };
    let mut register = Register {
        range: addresses(),
        mode: REGISTER_MISSING,
        ioctls: 0,
    };
    if call::<UFFDIO_REGISTER, _>(descriptor, &mut register).is_err() {
        return Ok(false);
    }
    let copied = Neighbours(pages.peekable()).try_for_each(|run| {
        debug_assert!(run.first + run.count <= mapping.pages());
        let mut copy = Copy {
            target: mapping.as_ptr().addr() as u64 + (run.first * PAGE_BYTES) as u64,
            source: run.content as u64,
            bytes: (run.count * PAGE_BYTES) as u64,
            mode: 0,
            copied: 0,
        };
        loop {
            match call::<UFFDIO_COPY, _>(descriptor, &mut copy) {
                // The address space changed meanwhile, elsewhere; or a part was copied.
                Err(Errno::AGAIN) => {
                    let copied = u64::try_from(copy.copied).unwrap_or(0);
                    copy.target += copied;
                    copy.source += copied;
                    copy.bytes -= copied;
                    copy.copied = 0;
                }
                done => return done,
            }
        }
    });
    // Else whoever touches a hole would wait for a handler that is not there.
    call::<UFFDIO_UNREGISTER, _>(descriptor, &mut addresses())
        .map_err(Error::system("ending the copies into a region"))?;
    Ok(copied.is_ok())
}

/// Pages that are neighbours, and whose contents are.
struct Run {
    first: usize,
    count: usize,
    /// The address of the first one's content.
    content: usize,
}

/// Makes runs of pages that come in order.
struct Neighbours<I: Iterator>(Peekable<I>);

impl<'a, I: Iterator<Item = (usize, &'a Page)>> Iterator for Neighbours<I> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let address = |content: &Page| ptr::from_ref(content).expose_provenance();
        let (first, content) = self.0.next()?;
        let mut run = Run {
            first,
            count: 1,
            content: address(content),
        };
        let next = |run: &Run| (run.first + run.count, run.content + run.count * PAGE_BYTES);
        while self
            .0
            .next_if(|&(page, content)| (page, address(content)) == next(&run))
            .is_some()
        {
            run.count += 1;
        }
        Some(run)
    }
}

/// Hands the kernel one of the structures above.
fn call<const OPCODE: u32, T>(descriptor: &OwnedFd, request: &mut T) -> Result<(), Errno>
where
    for<'a> Updater<'a, OPCODE, T>: Ioctl<Output = ()>,
{
    // SAFETY: each number above goes with its structure; what it points to are pages of ours that are read, and a range that
    // the caller borrows exclusively.
    unsafe { ioctl(descriptor, Updater::<OPCODE, T>::new(request)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Image;

    #[test]
    fn pages_can_be_put_in_place_both_ways() {
        let image = Image::zeroed(8 * PAGE_BYTES).unwrap();
        // Two of them are neighbours, and go together.
        let contents = [[1; PAGE_BYTES], [2; PAGE_BYTES], [3; PAGE_BYTES]];
        let pages = || [1, 2, 6].into_iter().zip(&contents);
        assert_eq!(Neighbours(pages().peekable()).count(), 2);
        let is_right = |mapping: &Mapping| {
            let expected = [0, 1, 2, 0, 0, 0, 3, 0];
            (0..8).all(|page| {
                mapping.as_slice()[page * PAGE_BYTES..][..PAGE_BYTES] == [expected[page]; PAGE_BYTES]
            })
        };
        let mut written = Mapping::private(&image).unwrap();
        write(&mut written, pages());
        assert!(is_right(&written));
        let mut installed = Mapping::private(&image).unwrap();
        install(&mut installed, pages()).unwrap();
        assert!(is_right(&installed));
        // Again, over what is there: the kernel refuses, and they are written.
        install(&mut installed, pages()).unwrap();
        assert!(is_right(&installed));
        // Over the second of two: it stops between them.
        let mut half = Mapping::private(&image).unwrap();
        half.as_mut_slice()[2 * PAGE_BYTES] = 9;
        install(&mut half, pages()).unwrap();
        assert!(is_right(&half));
    }
}
