#![allow(unsafe_code)]
//! Where an interner's values are: in chunks that never move, found by a symbol's place, which is one more than its number.
//!
//! ```text
//! directory --> | chunk | chunk | chunk | ...          as many as are used, and room for more
//!                   |
//!                   +--> | - | value | value | ... |   no place is 0
//!
//! vacant        0 0 1 0 0 ...                          places whose values were taken out, of those below `end`
//! ```
//!
//! One thread at a time writes by `&self` (the interner's lock sees to it), any number reads.
//!
//! **Invariants:**
//! 1. Places from 1 on and below `whole` have their values; those from there to below `end` have, unless `vacant` calls them
//!    vacant; others have none. Where one of a chunk's places has a value, and only there, the directory has the chunk.
//! 2. `whole` and `end` are written, and bits of `vacant` cleared, with `Release` after the value, its chunk and the directory that has
//!    it; `vacant` has bits of places below `end` alone when it is made, and none is set later.
//! 3. A value that is there is written by `&mut self` only. Directories that were replaced are kept until then.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::iter;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr;

use super::Symbol;
use super::sync::{AtomicPtr, AtomicU32, Lock, Ordering};

pub(super) struct Store<T> {
    whole: AtomicU32,
    /// The first of a boxed slice of chunks.
    directory: AtomicPtr<Chunk<T>>,
    end: AtomicU32,
    /// Of each place a bit; none where none is vacant.
    vacant: Box<[AtomicU32]>,
    /// Each directory that there has been, the current one last: who has the interner's lock writes it.
    directories: Lock<Vec<Directory<T>>>,
    owns: PhantomData<T>,
}

/// Where place 0 would be if the chunk went on to there, so that a place is a chunk's index and an offset at once: the chunk
/// is a boxed slice of [`Store::CHUNK`].
type Chunk<T> = AtomicPtr<MaybeUninit<T>>;

/// A boxed slice of chunks, as it is when it is taken apart.
struct Directory<T> {
    first: *mut Chunk<T>,
    chunks: usize,
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
            whole: AtomicU32::new(1),
            directory: AtomicPtr::new(ptr::null_mut()),
            end: AtomicU32::new(1),
            vacant: Box::default(),
            directories: Lock::new(Vec::new()),
            owns: PhantomData,
        }
    }

    /// Returns a number above all that were given.
    pub(super) fn len(&self) -> u32 {
        self.end.load(Ordering::Acquire) - 1
    }

    /// Returns the symbols that have a value.
    pub(super) fn symbols(&self) -> impl Iterator<Item = Symbol> {
        let places = 1..self.end.load(Ordering::Acquire);
        places
            .filter(|&place| !self.is_vacant(place))
            .filter_map(Symbol::at_place)
    }

    /// Returns the value that has this symbol, if one does.
    #[inline]
    pub(super) fn get(&self, symbol: Symbol) -> Option<&T> {
        self.get_whole(symbol).or_else(|| self.get_beyond(symbol))
    }

    /// Returns the value that has this symbol, if no place below is vacant.
    #[inline]
    pub(super) fn get_whole(&self, symbol: Symbol) -> Option<&T> {
        let is_whole = symbol.place() < self.whole.load(Ordering::Acquire);
        // SAFETY: the first invariant; no symbol's place is 0.
        is_whole.then(|| unsafe { self.value(symbol) })
    }

    #[cold]
    fn get_beyond(&self, symbol: Symbol) -> Option<&T> {
        let place = symbol.place();
        if place >= self.end.load(Ordering::Acquire) || self.is_vacant(place) {
            return None;
        }
        // SAFETY: the first invariant.
        Some(unsafe { self.value(symbol) })
    }

    /// Returns the value that has this symbol.
    ///
    /// # Safety
    ///
    /// It must have one, and what the caller knows that by must have been written after the value.
    #[inline]
    pub(super) unsafe fn value(&self, symbol: Symbol) -> &T {
        let place = symbol.place();
        // SAFETY: where a value is, its chunk is in the directory. What the caller saw orders the chunk before this.
        let chunk = unsafe { self.chunk(place) }.load(Ordering::Relaxed);
        // SAFETY: the chunk has the value, which is written by `&mut self` only.
        unsafe { (*chunk.wrapping_add(place as usize)).assume_init_ref() }
    }

    /// # Safety
    ///
    /// The directory must be known to have room for the place's chunk.
    #[inline]
    unsafe fn chunk(&self, place: u32) -> &Chunk<T> {
        // Acquire: it may be a newer one than that which was published with the place.
        let directory = self.directory.load(Ordering::Acquire);
        // SAFETY: as the caller vouches; directories are freed by `&mut self` only.
        unsafe { &*directory.add(place as usize / Self::CHUNK) }
    }

    fn is_vacant(&self, place: u32) -> bool {
        let bits = self.vacant.get(place as usize / 32);
        bits.is_some_and(|bits| bits.load(Ordering::Acquire) >> (place % 32) & 1 != 0)
    }

    /// Puts a value where one was taken out, else behind all others, and returns its symbol.
    ///
    /// # Safety
    ///
    /// Nobody else may be in `add`.
    ///
    /// # Panics
    ///
    /// If all numbers are given.
    pub(super) unsafe fn add(&self, value: T) -> Symbol {
        let (whole, end) = (
            self.whole.load(Ordering::Relaxed),
            self.end.load(Ordering::Relaxed),
        );
        let vacant = (whole..end).find(|&place| self.is_vacant(place));
        let place = vacant.unwrap_or(end);
        let symbol = Symbol::at_place(place)
            .filter(|_| place < u32::MAX)
            .expect("an interner has at most 2³² − 2 values");
        if place == end && (place == 1 || (place as usize).is_multiple_of(Self::CHUNK)) {
            self.reserve(place);
        }
        // SAFETY: room for the chunk was made when its first place was given, if not just now.
        let chunk = unsafe { self.chunk(place) };
        let index = place as usize / Self::CHUNK;
        if !self.has_chunk(index) {
            let first = index * Self::CHUNK;
            chunk.store(new_chunk::<T>().wrapping_sub(first), Ordering::Release);
        }
        let slot = chunk.load(Ordering::Relaxed).wrapping_add(place as usize);
        // SAFETY: nobody reads what has no value, and no other writes; the chunk has the slot.
        unsafe { slot.write(MaybeUninit::new(value)) };
        if place == end {
            self.end.store(place + 1, Ordering::Release);
        } else {
            self.vacant[place as usize / 32].fetch_and(!(1 << (place % 32)), Ordering::Release);
        }
        self.whole.store(place + 1, Ordering::Release);
        symbol
    }

    /// Returns whether one of a chunk's places has a value.
    fn has_chunk(&self, index: usize) -> bool {
        let end = self.end.load(Ordering::Acquire);
        Self::places(index, end).any(|place| !self.is_vacant(place))
    }

    /// Returns a chunk's places below `end`.
    fn places(index: usize, end: u32) -> Range<u32> {
        let first = index * Self::CHUNK;
        let past = (end as usize).min(first + Self::CHUNK);
        first.max(1) as u32..past as u32
    }

    /// Makes sure that the directory has room for the chunk of this place.
    fn reserve(&self, place: u32) {
        let index = place as usize / Self::CHUNK;
        let mut directories = self.directories.lock();
        let (known, room) = directories.last().map_or((ptr::null_mut(), 0), |directory| {
            (directory.first, directory.chunks)
        });
        if index < room {
            return;
        }
        let larger = Directory::copied(known, room, (2 * room).max(4));
        self.directory.store(larger.first, Ordering::Release);
        directories.push(larger);
    }

    /// Takes the values of these symbols out, and forgets all places from `end` on, where no others may be.
    /// Chunks in which no value is left are freed.
    pub(super) fn take(&mut self, symbols: &[Symbol], end: u32) -> Vec<T> {
        let chunks: Vec<usize> = self.chunks().collect();
        let mut vacant: Vec<u32> = self
            .vacant
            .iter()
            .map(|bits| bits.load(Ordering::Relaxed))
            .chain(iter::repeat(0))
            .take((end as usize).div_ceil(32))
            .collect();
        if let Some(last) = vacant.last_mut() {
            *last &= u32::MAX >> (end.wrapping_neg() % 32);
        }
        let mut taken = Vec::with_capacity(symbols.len());
        for &symbol in symbols {
            let place = symbol.place();
            debug_assert!(self.get(symbol).is_some());
            if place < end {
                vacant[place as usize / 32] |= 1 << (place % 32);
            }
            // SAFETY: it has its value, of which nobody has a reference, and which it has no more from now on.
            taken.push(unsafe { ptr::read(self.value(symbol)) });
        }
        let is_vacant = |place: u32| vacant[place as usize / 32] >> (place % 32) & 1 != 0;
        for index in chunks {
            if Self::places(index, end).all(is_vacant) {
                let first = index * Self::CHUNK;
                // SAFETY: the directory has it.
                let chunk = unsafe { self.chunk(first as u32) }.load(Ordering::Relaxed);
                // SAFETY: it has slots from its first place on; no value is left in it, and nobody else is here.
                unsafe { free_chunk(chunk.wrapping_add(first), Self::CHUNK) };
            }
        }
        let whole = (1..end).find(|&place| is_vacant(place)).unwrap_or(end);
        self.vacant = if whole < end {
            vacant.into_iter().map(AtomicU32::new).collect()
        } else {
            Box::default()
        };
        self.end.store(end, Ordering::Release);
        self.whole.store(whole, Ordering::Release);
        taken
    }

    /// Returns how many chunks the places below `end` would have if none were vacant.
    fn used(&self) -> usize {
        match self.end.load(Ordering::Acquire) {
            1 => 0,
            end => (end as usize).div_ceil(Self::CHUNK),
        }
    }

    /// Returns the indexes of the chunks that there are.
    fn chunks(&self) -> impl Iterator<Item = usize> {
        (0..self.used()).filter(|&index| self.has_chunk(index))
    }

    /// Frees the directories that nobody can be reading, and what room the current one does not need.
    pub(super) fn forget_old(&mut self) {
        let used = self.used();
        let mut directories = self.directories.lock();
        let Some(current) = directories.last() else { return };
        if current.chunks > used {
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

    /// Returns how many bytes chunks, directories and what tells of vacant places take.
    pub(super) fn bytes(&self) -> usize {
        let directories = self.directories.lock();
        let entries: usize = directories.iter().map(|directory| directory.chunks).sum();
        entries * size_of::<Chunk<T>>()
            + self.chunks().count() * Self::CHUNK * size_of::<T>()
            + size_of_val(&*self.vacant)
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        let symbols: Vec<Symbol> = self.symbols().collect();
        let values = self.take(&symbols, 1);
        for directory in self.directories.lock().drain(..) {
            // SAFETY: nobody reads it.
            unsafe { directory.free() };
        }
        // One that panics leaves the others to be dropped.
        drop(values);
    }
}

impl<T> Directory<T> {
    /// Returns a directory of so many chunks, the first `used` as they are at `from`.
    fn copied(from: *mut Chunk<T>, used: usize, chunks: usize) -> Self {
        let copied = (0..chunks).map(|index| {
            // SAFETY: the caller's directory has so many; nobody else writes it meanwhile.
            let known = (index < used).then(|| unsafe { &*from.add(index) });
            AtomicPtr::new(known.map_or(ptr::null_mut(), |chunk| chunk.load(Ordering::Acquire)))
        });
        let copied: Box<[Chunk<T>]> = copied.collect();
        Self {
            first: Box::into_raw(copied).cast(),
            chunks,
        }
    }

    /// # Safety
    ///
    /// Nobody may use it any more.
    unsafe fn free(self) {
        // SAFETY: it was a box of so many chunks.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(self.first, self.chunks)) });
    }
}

/// Returns a chunk without values.
fn new_chunk<T>() -> *mut MaybeUninit<T> {
    Box::into_raw(Box::<[T]>::new_uninit_slice(Store::<T>::CHUNK)).cast()
}

/// # Safety
///
/// It must be a chunk of so many slots that nobody uses any more; values in it are not dropped.
unsafe fn free_chunk<T>(chunk: *mut MaybeUninit<T>, slots: usize) {
    // SAFETY: it was a box of so many slots.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(chunk, slots)) });
}
