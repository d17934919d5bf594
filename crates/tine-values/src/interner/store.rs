#![allow(unsafe_code)]
//! Where an interner's values are: in chunks that never move, found by a number.
//!
//! ```text
//! directory --> | entry | entry | entry | ...          as many as are used, and room for more
//!                   |
//!                   +-- whole --> | value | value | ... |          every slot below `len` has its value
//!                   +-- holes --> chunk, vacant: 0 1 0 0 ...       else `whole` is null, and this tells which have
//! ```
//!
//! One thread at a time writes by `&self` (the interner's lock sees to it), any number reads.
//!
//! **Invariants:**
//! 1. `len` is written after the values below it, the directory that has their chunks, and these, all with `Release`; so who has
//!    seen a number below `len` finds an entry for it.
//! 2. If `whole` is not null, all slots of the chunk with numbers below `len` are initialised. Else those are that `holes` does not
//!    call vacant; a slot is written before its bit is cleared, and the last bit before `whole` is set.
//! 3. A slot below `len` that is initialised is written by `&mut self` only. Directories that were replaced are kept until then.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr;

use super::sync::{AtomicPtr, AtomicU32, Lock, Ordering};

pub(super) struct Store<T> {
    len: AtomicU32,
    /// The first of a boxed slice of entries.
    directory: AtomicPtr<Entry<T>>,
    /// Each directory that there has been, the current one last: who has the interner's lock writes it.
    directories: Lock<Vec<Directory<T>>>,
    owns: PhantomData<T>,
}

struct Entry<T> {
    whole: AtomicPtr<MaybeUninit<T>>,
    holes: AtomicPtr<Holes<T>>,
}

/// A boxed slice of entries, as it is when it is taken apart.
struct Directory<T> {
    first: *mut Entry<T>,
    entries: usize,
}

/// A chunk in which some slots are vacant, or were.
struct Holes<T> {
    /// Null as long as all are vacant.
    chunk: AtomicPtr<MaybeUninit<T>>,
    /// Of each slot a bit: whether it is vacant.
    vacant: Box<[AtomicU32]>,
}

// SAFETY: values go where the store goes.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: who shares it gets `&T`, and may put a `T` in that another thread drops.
unsafe impl<T: Send + Sync> Sync for Store<T> {}

/// So many bytes the values of a chunk take, but for very small and very large ones.
const CHUNK_BYTES: usize = 4096;

impl<T> Store<T> {
    /// How many values a chunk has: a power of two.
    const CHUNK: usize = {
        let bytes = if size_of::<T>() == 0 { 1 } else { size_of::<T>() };
        let fit = CHUNK_BYTES / bytes;
        let fit = if fit < 32 { 32 } else { fit };
        let fit = if fit > 1024 { 1024 } else { fit };
        1 << fit.ilog2()
    };

    pub(super) fn new() -> Self {
        Self {
            len: AtomicU32::new(0),
            directory: AtomicPtr::new(ptr::null_mut()),
            directories: Lock::new(Vec::new()),
            owns: PhantomData,
        }
    }

    /// Returns a number above all that were given.
    #[inline]
    pub(super) fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Returns the value that has this number, if one does.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        if number >= self.len() {
            return None;
        }
        // SAFETY: it is below `len`.
        let entry = unsafe { self.entry(number) };
        let chunk = entry.whole.load(Ordering::Acquire);
        if chunk.is_null() {
            return entry.get_among_holes(number);
        }
        // SAFETY: the second invariant; a value is written by `&mut self` only.
        Some(unsafe { (*chunk.add(number as usize % Self::CHUNK)).assume_init_ref() })
    }

    /// # Safety
    ///
    /// The number must be below `len`, or its chunk be known to be in the directory.
    #[inline]
    unsafe fn entry(&self, number: u32) -> &Entry<T> {
        // Acquire: it may be a newer one than that which was published with the number.
        let directory = self.directory.load(Ordering::Acquire);
        // SAFETY: as the caller vouches; directories are freed by `&mut self` only.
        unsafe { &*directory.add(number as usize / Self::CHUNK) }
    }

    /// Puts a value behind all others and returns its number.
    ///
    /// # Safety
    ///
    /// Nobody else may be in `push` or `put`.
    ///
    /// # Panics
    ///
    /// If all numbers are given.
    pub(super) unsafe fn push(&self, value: T) -> u32 {
        let number = self.len.load(Ordering::Relaxed);
        assert!(number < u32::MAX - 1, "an interner has at most 2³² − 2 values");
        let at = number as usize % Self::CHUNK;
        if at == 0 {
            self.reserve_entry(number);
        }
        // SAFETY: the chunk was reserved when its first number was given, if not just now.
        let entry = unsafe { self.entry(number) };
        if at == 0 {
            entry.whole.store(new_chunk::<T>(), Ordering::Release);
        }
        let chunk = entry.chunk();
        debug_assert!(!chunk.is_null());
        // SAFETY: nobody reads a slot above `len`, and no other writes; the chunk has it.
        unsafe { chunk.add(at).write(MaybeUninit::new(value)) };
        self.len.store(number + 1, Ordering::Release);
        number
    }

    /// Puts a value where there is none, and returns its number.
    ///
    /// # Safety
    ///
    /// The number must be [`vacant`](Self::vacant); nobody else may be in `push` or `put`.
    pub(super) unsafe fn put(&self, number: u32, value: T) -> u32 {
        // SAFETY: it is below `len`.
        let entry = unsafe { self.entry(number) };
        // SAFETY: since a value was taken out, there are holes, and they are dropped by `&mut self` only.
        let holes = unsafe { &*entry.holes.load(Ordering::Acquire) };
        let mut chunk = holes.chunk.load(Ordering::Relaxed);
        if chunk.is_null() {
            chunk = new_chunk::<T>();
            holes.chunk.store(chunk, Ordering::Release);
        }
        let at = number as usize % Self::CHUNK;
        debug_assert!(holes.is_vacant(at));
        // SAFETY: nobody reads a vacant slot, and no other writes; the chunk has it.
        unsafe { chunk.add(at).write(MaybeUninit::new(value)) };
        holes.fill(at);
        if holes.is_filled() {
            entry.whole.store(chunk, Ordering::Release);
        }
        number
    }

    /// Returns the first number from `from` on, of those that were given, that no value has. Goes through those from there on.
    pub(super) fn vacant(&self, from: u32) -> Option<u32> {
        let mut number = from;
        while number < self.len() {
            // SAFETY: it is below `len`.
            let entry = unsafe { self.entry(number) };
            let at = number as usize % Self::CHUNK;
            if !entry.whole.load(Ordering::Acquire).is_null() {
                number += (Self::CHUNK - at) as u32;
            } else if entry.holes().is_some_and(|holes| holes.is_vacant(at)) {
                return Some(number);
            } else {
                number += 1;
            }
        }
        None
    }

    /// Makes sure that the directory has an entry for this number.
    fn reserve_entry(&self, number: u32) {
        let index = number as usize / Self::CHUNK;
        let mut directories = self.directories.lock();
        let (known, room) = directories.last().map_or((ptr::null_mut(), 0), |directory| {
            (directory.first, directory.entries)
        });
        if index < room {
            return;
        }
        let larger = Directory::copied(known, room, (2 * room).max(4));
        self.directory.store(larger.first, Ordering::Release);
        directories.push(larger);
    }

    /// Takes the values with these numbers, which go up, out, and forgets all numbers from `len` on, which none may have but those.
    /// Chunks in which no value is left are freed.
    pub(super) fn take(&mut self, numbers: &[u32], len: u32) -> Vec<T> {
        let mut taken = Vec::with_capacity(numbers.len());
        let chunks = self.len() as usize;
        let chunks = chunks.div_ceil(Self::CHUNK);
        for &number in numbers {
            // SAFETY: it is below what `len` was until now.
            let entry = unsafe { self.entry(number) };
            let holes = entry.make_holes(Self::CHUNK);
            let at = number as usize % Self::CHUNK;
            debug_assert!(!holes.is_vacant(at));
            holes.vacate(at);
            // SAFETY: it has its value, of which nobody has a reference, and which is vacant from now on.
            taken.push(unsafe { (*holes.chunk.load(Ordering::Relaxed).add(at)).assume_init_read() });
        }
        for chunk in 0..chunks {
            let first = (chunk * Self::CHUNK) as u32;
            // SAFETY: the directory has a chunk for each number that there was.
            let entry = unsafe { self.entry(first) };
            let below = (len.saturating_sub(first) as usize).min(Self::CHUNK);
            // SAFETY: numbers from `len` on have no value; nobody else is here.
            unsafe { entry.tidy(below, Self::CHUNK) };
        }
        self.len.store(len, Ordering::Release);
        taken
    }

    /// Frees the directories that nobody can be reading, and what room the current one does not need.
    pub(super) fn forget_old(&mut self) {
        let used = (self.len() as usize).div_ceil(Self::CHUNK);
        let mut directories = self.directories.lock();
        let Some(current) = directories.last() else { return };
        if current.entries > used {
            let exact = Directory::copied(current.first, used, used);
            self.directory.store(exact.first, Ordering::Release);
            directories.push(exact);
        }
        let old = directories.len() - 1;
        for directory in directories.drain(..old) {
            // SAFETY: it is the current one no more, and nobody reads it.
            unsafe { directory.free() };
        }
        directories.shrink_to_fit();
    }

    /// Returns how many bytes chunks and directories take.
    pub(super) fn bytes(&self) -> usize {
        let directories = self.directories.lock();
        let entries: usize = directories.iter().map(|directory| directory.entries).sum();
        let mut bytes = entries * size_of::<Entry<T>>();
        for number in (0..self.len()).step_by(Self::CHUNK) {
            // SAFETY: it is below `len`.
            let entry = unsafe { self.entry(number) };
            if !entry.chunk().is_null() {
                bytes += Self::CHUNK * size_of::<T>();
            }
            if entry.holes().is_some() {
                bytes += size_of::<Holes<T>>() + Self::CHUNK / 8;
            }
        }
        bytes
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        let numbers: Vec<u32> = (0..self.len())
            .filter(|&number| self.get(number).is_some())
            .collect();
        let values = self.take(&numbers, 0);
        for directory in self.directories.lock().drain(..) {
            // SAFETY: nobody reads it.
            unsafe { directory.free() };
        }
        // One that panics leaves the others to be dropped.
        drop(values);
    }
}

impl<T> Entry<T> {
    #[cold]
    fn get_among_holes(&self, number: u32) -> Option<&T> {
        let holes = self.holes()?;
        let at = number as usize % Store::<T>::CHUNK;
        if holes.is_vacant(at) {
            return None;
        }
        // SAFETY: the slot is below `len` and not vacant, so it is written, and the chunk is there.
        Some(unsafe { (*holes.chunk.load(Ordering::Acquire).add(at)).assume_init_ref() })
    }

    fn holes(&self) -> Option<&Holes<T>> {
        // SAFETY: null, or made by `Box` and dropped by `&mut Store` only.
        unsafe { self.holes.load(Ordering::Acquire).as_ref() }
    }

    /// Returns the chunk, null if there is none.
    fn chunk(&self) -> *mut MaybeUninit<T> {
        let whole = self.whole.load(Ordering::Acquire);
        if whole.is_null() {
            self.holes()
                .map_or(ptr::null_mut(), |holes| holes.chunk.load(Ordering::Acquire))
        } else {
            whole
        }
    }

    /// Returns what tells which slots are vacant, for a chunk that is there, and that is not whole from now on.
    fn make_holes(&self, slots: usize) -> &Holes<T> {
        let whole = self.whole.swap(ptr::null_mut(), Ordering::AcqRel);
        if self.holes().is_none() {
            let holes = Holes {
                chunk: AtomicPtr::new(whole),
                vacant: (0..slots.div_ceil(32)).map(|_| AtomicU32::new(0)).collect(),
            };
            self.holes
                .store(Box::into_raw(Box::new(holes)), Ordering::Release);
        }
        self.holes().expect("just made")
    }

    /// Frees what is not needed if the first `below` slots alone may have values: the chunk if none has one, and what tells of
    /// holes if there is none.
    ///
    /// # Safety
    ///
    /// No slot from `below` on may have a value, and nobody else may use the entry.
    unsafe fn tidy(&self, below: usize, slots: usize) {
        let chunk = self.chunk();
        let Some(holes) = self.holes() else {
            if below == 0 && !chunk.is_null() {
                self.whole.store(ptr::null_mut(), Ordering::Relaxed);
                // SAFETY: as the caller vouches, there is no value in it.
                unsafe { free_chunk(chunk, slots) };
            }
            return;
        };
        (below..slots).for_each(|at| holes.fill(at));
        let has_value = (0..below).any(|at| !holes.is_vacant(at));
        if !has_value && !chunk.is_null() {
            holes.chunk.store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: all its slots are vacant, or above what may have values.
            unsafe { free_chunk(chunk, slots) };
        }
        if holes.is_filled() {
            if has_value {
                self.whole.store(chunk, Ordering::Relaxed);
            }
            // SAFETY: `Box` made it, and nobody else uses the entry.
            drop(unsafe { Box::from_raw(self.holes.swap(ptr::null_mut(), Ordering::Relaxed)) });
        }
    }
}

impl<T> Holes<T> {
    fn is_vacant(&self, at: usize) -> bool {
        self.vacant[at / 32].load(Ordering::Acquire) >> (at % 32) & 1 != 0
    }

    fn vacate(&self, at: usize) {
        self.vacant[at / 32].fetch_or(1 << (at % 32), Ordering::Release);
    }

    fn fill(&self, at: usize) {
        self.vacant[at / 32].fetch_and(!(1 << (at % 32)), Ordering::Release);
    }

    fn is_filled(&self) -> bool {
        self.vacant.iter().all(|bits| bits.load(Ordering::Acquire) == 0)
    }
}

impl<T> Directory<T> {
    /// Returns a directory of so many entries, the first `used` as they are at `from`.
    fn copied(from: *mut Entry<T>, used: usize, entries: usize) -> Self {
        let copied = (0..entries).map(|index| {
            // SAFETY: the caller's directory has so many; nobody else writes it meanwhile.
            let known = (index < used).then(|| unsafe { &*from.add(index) });
            let [whole, holes] = [
                known.map_or(ptr::null_mut(), |entry| {
                    entry.whole.load(Ordering::Acquire).cast::<()>()
                }),
                known.map_or(ptr::null_mut(), |entry| {
                    entry.holes.load(Ordering::Acquire).cast()
                }),
            ];
            Entry {
                whole: AtomicPtr::new(whole.cast()),
                holes: AtomicPtr::new(holes.cast()),
            }
        });
        let copied: Box<[Entry<T>]> = copied.collect();
        Self {
            first: Box::into_raw(copied).cast(),
            entries,
        }
    }

    /// # Safety
    ///
    /// Nobody may use it any more.
    unsafe fn free(self) {
        // SAFETY: it was a box of so many entries.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.first, self.entries)) });
    }
}

/// Returns a chunk without values.
fn new_chunk<T>() -> *mut MaybeUninit<T> {
    Box::into_raw(Box::<[T]>::new_uninit_slice(Store::<T>::CHUNK)).cast()
}

/// # Safety
///
/// It must be a chunk that nobody uses any more; values in it are not dropped.
unsafe fn free_chunk<T>(chunk: *mut MaybeUninit<T>, slots: usize) {
    // SAFETY: it was a box of so many slots.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(chunk, slots)) });
}
