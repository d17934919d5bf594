//! Which pages of a private mapping are its own: written since they were mapped, so that the kernel copied them.
//!
//! The kernel tells by PAGEMAP_SCAN (Linux 6.7), which visits the page tables that are there and no more, or by
//! /proc/self/pagemap, 8 bytes for every page of the range.

#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::Mapping;
use super::process::this_process;
use crate::pages::{PAGE_BYTES, PageRange, Runs};
use crate::{Error, Result};

/// `struct pm_scan_arg`, linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct PageScan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    found: u64,
    found_room: u64,
    pages_max: u64,
    category_inverted: u64,
    category_mask: u64,
    category_any_of: u64,
    return_mask: u64,
}

/// `struct page_region`, linux/fs.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Found {
    start: u64,
    end: u64,
    categories: u64,
}

const _: () = assert!(size_of::<PageScan>() == 96);
const _: () = assert!(size_of::<Found>() == 24);

const PAGEMAP_SCAN: Opcode = opcode::read_write::<PageScan>(b'f', 16);

/// A page of the file, not of this mapping alone.
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
/// Swapped out: as much its own as one that is present.
const SWAPPED: u64 = 1 << 4;

/// How many runs one call returns.
const ROOM: usize = 4096;

/// /proc/self/pagemap of one process, and whether it can be scanned.
struct Pagemap {
    file: File,
    process: u32,
    scans: bool,
}

/// What is asked of pages.
#[derive(Clone, Copy, PartialEq)]
enum Asked {
    Own,
    Resident,
}

/// Returns which of `pages` are the mapping's own. O(pages that are mapped); a system call for each 4,096 runs.
pub(crate) fn own_pages(mapping: &Mapping, pages: PageRange) -> Result<Runs> {
    ask(Asked::Own, mapping, pages)
}

/// Returns which of `pages` are mapped now.
pub(crate) fn resident_pages(mapping: &Mapping, pages: PageRange) -> Result<Runs> {
    ask(Asked::Resident, mapping, pages)
}

fn ask(asked: Asked, mapping: &Mapping, pages: PageRange) -> Result<Runs> {
    static PAGEMAP: Mutex<Option<Pagemap>> = Mutex::new(None);
    mapping.in_owner()?;
    // One at a time: the file is the process's, and who scans holds the address space's lock anyway.
    let mut opened = PAGEMAP.lock().unwrap_or_else(PoisonError::into_inner);
    // The file shows the memory of who opened it, even to a process forked from that one.
    let pagemap = match opened.take_if(|open| open.process == this_process()) {
        Some(open) => opened.insert(open),
        None => opened.insert(Pagemap::open()?),
    };
    if pagemap.scans {
        match scan(asked, pagemap, mapping, pages) {
            Err(Errno::NOTTY | Errno::INVAL | Errno::PERM) => pagemap.scans = false,
            found => return found.map_err(Error::system("scanning for written pages")),
        }
    }
    read(asked, pagemap, mapping, pages)
}

impl Pagemap {
    fn open() -> Result<Self> {
        let file = File::open("/proc/self/pagemap").map_err(|source| Error::System {
            action: "opening /proc/self/pagemap",
            source,
        })?;
        Ok(Self {
            file,
            process: this_process(),
            scans: true,
        })
    }
}

fn scan(asked: Asked, pagemap: &Pagemap, mapping: &Mapping, pages: PageRange) -> Result<Runs, Errno> {
    let base = mapping.as_ptr().addr() as u64;
    let end = base + pages.bytes().end as u64;
    let page_at = |address: u64| usize::try_from((address - base) / PAGE_BYTES as u64);
    let mut start = base + pages.bytes().start as u64;
    let mut runs = Runs::default();
    let (inverted, any_of) = match asked {
        Asked::Own => (FILE, PRESENT | SWAPPED),
        Asked::Resident => (0, PRESENT),
    };
    let mut found = [Found::default(); 64].to_vec();
    while start < end {
        let mut request = PageScan {
            size: size_of::<PageScan>() as u64,
            start,
            end,
            found: found.as_mut_ptr().addr() as u64,
            found_room: found.len() as u64,
            category_inverted: inverted,
            category_mask: inverted,
            category_any_of: any_of,
            return_mask: PRESENT | SWAPPED,
            ..PageScan::default()
        };
        found.as_mut_ptr().expose_provenance();
        // SAFETY:
        // - The structure is the kernel's, and points to room for as many runs as it says, which nothing else uses now.
        // - Nothing is asked to be changed in the page tables.
        let count = unsafe { ioctl(&pagemap.file, Scan(Updater::new(&mut request))) }?;
        for run in &found[..count] {
            if let (Ok(first), Ok(end)) = (page_at(run.start), page_at(run.end)) {
                runs.push(first..end);
            }
        }
        // `walk_end` is not to be gone by: beyond 512 runs it may be the start of the last batch though all was walked.
        if count < found.len() {
            break;
        }
        start = found[count - 1].end;
        found.resize(ROOM, Found::default());
    }
    Ok(runs)
}

/// `PAGEMAP_SCAN` returns how many runs it found.
struct Scan<'a>(Updater<'a, PAGEMAP_SCAN, PageScan>);

// SAFETY: all is `Updater`'s, but that the call's own result is handed on.
unsafe impl rustix::ioctl::Ioctl for Scan<'_> {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut std::ffi::c_void {
        self.0.as_ptr()
    }

    unsafe fn output_from_ptr(
        count: rustix::ioctl::IoctlOutput,
        _: *mut std::ffi::c_void,
    ) -> rustix::io::Result<usize> {
        usize::try_from(count).map_err(|_| Errno::RANGE)
    }
}

/// The same from /proc/self/pagemap's words.
fn read(asked: Asked, pagemap: &Pagemap, mapping: &Mapping, pages: PageRange) -> Result<Runs> {
    const WORDS: usize = 8192;
    let word_present = 1 << 63;
    let word_swapped = 1 << 62;
    let word_file = 1 << 61;
    let base = mapping.as_ptr().addr() / PAGE_BYTES;
    let mut runs = Runs::default();
    let mut words = vec![0; WORDS.min(pages.count) * 8];
    let mut at = pages.first;
    while at < pages.end() {
        let count = (pages.end() - at).min(WORDS);
        let words = &mut words[..count * 8];
        pagemap
            .file
            .read_exact_at(words, (base + at) as u64 * 8)
            .map_err(|source| Error::System {
                action: "reading /proc/self/pagemap",
                source,
            })?;
        for (page, word) in (at..).zip(words.as_chunks().0) {
            let word = u64::from_le_bytes(*word);
            let is_asked_for = match asked {
                Asked::Own => word & (word_present | word_swapped) != 0 && word & word_file == 0,
                Asked::Resident => word & word_present != 0,
            };
            if is_asked_for {
                runs.push(page..page + 1);
            }
        }
        at += count;
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Image;

    #[test]
    fn both_ways_of_asking_tell_the_same() {
        let mut image = Image::zeroed(5000 * PAGE_BYTES).unwrap();
        let all = PageRange::between(0..5000);
        image.write(PageRange::between(10..11), &[1; PAGE_BYTES]).unwrap();
        let mut mapping = Mapping::private(&image).unwrap();
        assert!(own_pages(&mapping, all).unwrap().is_empty());
        // More runs than a first call has room for, and than the kernel hands out in one batch.
        let own: Runs = (0..1200).map(|run| run * 4 + 1..run * 4 + 3).collect();
        for page in own.pages() {
            mapping.as_mut_slice()[page * PAGE_BYTES] = 1;
        }
        // Mapped, but the image's.
        assert_eq!(mapping.as_slice()[12 * PAGE_BYTES], 0);
        let pagemap = Pagemap::open().unwrap();
        assert_eq!(own_pages(&mapping, all).unwrap(), own);
        assert_eq!(read(Asked::Own, &pagemap, &mapping, all).unwrap(), own);
        let some = PageRange::between(9..40);
        assert_eq!(
            own_pages(&mapping, some).unwrap(),
            read(Asked::Own, &pagemap, &mapping, some).unwrap()
        );
        assert_eq!(
            resident_pages(&mapping, all).unwrap(),
            read(Asked::Resident, &pagemap, &mapping, all).unwrap()
        );
        mapping.forget(&own).unwrap();
        assert!(own_pages(&mapping, all).unwrap().is_empty());
    }
}
