//! What regions are measured beside: plain mappings, which fork(2) copies.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::slice;
use std::time::{Duration, Instant};

use bench_measure::Result;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use tine_memory::PAGE_BYTES;

/// A private mapping of pages of 4 KiB.
pub(crate) struct Plain {
    base: *mut std::ffi::c_void,
    bytes: usize,
    image: Option<OwnedFd>,
}

impl Plain {
    /// Anonymous memory, each page of it written.
    pub(crate) fn filled(bytes: usize) -> Result<Self> {
        // SAFETY: the kernel picks a range that nothing else uses.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access(), flags()) }?;
        let mut plain = Self {
            base,
            bytes,
            image: None,
        };
        plain.keep_small()?;
        plain.memory().fill(1);
        Ok(plain)
    }

    /// Private memory over a file in memory, as a fork of a region is: nothing of it is mapped yet.
    pub(crate) fn over_image(bytes: usize) -> Result<Self> {
        let image = memfd_create("peer", MemfdFlags::CLOEXEC)?;
        ftruncate(&image, bytes as u64)?;
        let mut written = 0;
        let content = vec![1; 1 << 20];
        while written < bytes {
            let some = &content[..content.len().min(bytes - written)];
            written += rustix::io::write(&image, some)?;
        }
        let mut plain = Self {
            base: ptr::null_mut(),
            bytes,
            image: Some(image),
        };
        plain.map()?;
        Ok(plain)
    }

    /// Maps the image anew, as the peer of a rollback does.
    pub(crate) fn remap(&mut self) -> Result {
        self.unmap()?;
        self.map()
    }

    fn map(&mut self) -> Result {
        let image = self.image.as_ref().ok_or("anonymous memory is not mapped anew")?;
        // SAFETY: the kernel picks a range that nothing else uses; nobody shortens the image.
        self.base = unsafe { mmap(ptr::null_mut(), self.bytes, access(), flags(), image, 0) }?;
        Ok(())
    }

    fn unmap(&mut self) -> Result {
        // SAFETY: the range is this mapping's, and nothing borrows it.
        unsafe { munmap(self.base, self.bytes) }?;
        Ok(())
    }

    fn keep_small(&self) -> Result {
        // SAFETY: the range is this mapping's.
        unsafe { madvise(self.base, self.bytes, Advice::LinuxNoHugepage) }?;
        Ok(())
    }

    pub(crate) fn memory(&mut self) -> &mut [u8] {
        // SAFETY: the range is mapped, and this mapping's alone.
        unsafe { slice::from_raw_parts_mut(self.base.cast(), self.bytes) }
    }

    pub(crate) fn write(&mut self, pages: &[usize]) {
        let memory = self.memory();
        for page in pages {
            memory[page * PAGE_BYTES] = 2;
        }
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        // It cannot fail: the mapping is whole.
        let _unmapped = self.unmap();
    }
}

fn access() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

fn flags() -> MapFlags {
    MapFlags::PRIVATE | MapFlags::NORESERVE
}

/// A process made by fork(2), which does nothing, and ends when it is dropped.
pub(crate) struct Forked(libc::pid_t);

impl Forked {
    /// Forks, and returns how long this process waited for it.
    pub(crate) fn new() -> Result<(Self, Duration)> {
        let begun = Instant::now();
        // SAFETY: the new process waits for a signal, and touches nothing.
        let process = unsafe { libc::fork() };
        let elapsed = begun.elapsed();
        match process {
            0 => loop {
                // SAFETY: waits.
                unsafe { libc::pause() };
            },
            1.. => Ok((Self(process), elapsed)),
            _ => Err(io::Error::last_os_error().into()),
        }
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        // SAFETY: the process is a child that was not waited for yet.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, ptr::null_mut(), 0);
        }
    }
}
