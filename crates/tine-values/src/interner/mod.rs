//! [`Interner`]: each value once, known by a number of four bytes.
//!
//! ```text
//! table      | tag, place | 0 | tag, place | ...       found by hash; 4 bytes a slot
//!                    |
//! directory  | chunk | chunk | chunk | ...             place / values in a chunk
//!                |
//! chunk      | value | value | value | ...             never moves, never changes while it is borrowed
//! ```
//!
//! Reading takes no lock: table, directory and chunks only grow, and what has become too small stays where it is, for those
//! who still read it, until somebody comes who has the interner for himself (`&mut`). Who adds a value takes turns with others
//! who do, and publishes in this order: the value, the number of values, the slot of the table.
//!
//! A symbol's place is one more than its number: 0 is nobody's.
//!
//! **Invariant:** the table has each living value's place once, and no other. Nothing of the caller's runs while the lock
//! is held but `Hash`, when the table grows; if that panics, nothing has been changed.

mod store;
mod sync;
mod table;

use alloc::vec::Vec;
use core::fmt;
use core::hash::{BuildHasher, Hash};
use core::mem;
use core::num::NonZeroU32;
use core::ops::Index;

use equivalent::Equivalent;

use self::store::Store;
use self::sync::{Guard, Lock};
use self::table::Tables;
use crate::map::DefaultHashBuilder;
use crate::{Bytes, Text};

/// The number of a value in an [`Interner`]: four bytes, also as an `Option`. Equal values have equal symbols.
///
/// Numbers begin at 0 and go up by one, so that what is to be known of each value beside it fits a `Vec`. The order of
/// symbols is not that of values.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(NonZeroU32);

const _: () = assert!(size_of::<Option<Symbol>>() == 4);

impl Symbol {
    /// Returns the symbol with this number, whatever interner has it; `None` for the one number that none has, `u32::MAX`.
    pub const fn from_number(number: u32) -> Option<Self> {
        match NonZeroU32::new(number.wrapping_add(1)) {
            Some(more) => Some(Self(more)),
            None => None,
        }
    }

    /// Returns the number.
    #[inline]
    pub const fn number(self) -> u32 {
        self.0.get() - 1
    }

    /// One more than the number.
    #[inline]
    const fn place(self) -> u32 {
        self.0.get()
    }

    #[inline]
    fn at_place(place: u32) -> Option<Self> {
        NonZeroU32::new(place).map(Self)
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symbol({})", self.number())
    }
}

/// What can be looked up among values of type `T`, and become one: a `T` that can be cloned, a [`str`] among [`Text`]s, a slice of
/// bytes among [`Bytes`].
pub trait ToInterned<T>: Hash + Equivalent<T> {
    /// Returns the value that is kept.
    fn to_interned(&self) -> T;
}

impl<T: Clone + Eq + Hash> ToInterned<T> for T {
    fn to_interned(&self) -> T {
        self.clone()
    }
}

impl ToInterned<Text> for str {
    fn to_interned(&self) -> Text {
        self.into()
    }
}

impl ToInterned<Bytes> for [u8] {
    fn to_interned(&self) -> Bytes {
        self.into()
    }
}

/// Keeps each value once and gives it a [`Symbol`] of four bytes: the flyweight pattern.
///
/// Everything is done by `&self`, from as many threads as like: who looks something up takes no lock, writes nothing and waits for
/// nobody; who adds a value waits for others who do. A value stays where it is, so [`resolve`](Self::resolve) is a few loads.
///
/// ```
/// use tine_values::{Interner, Text};
///
/// let words: Interner<Text> = Interner::new();
/// let (tree, leaf) = (words.intern("tree"), words.intern("leaf"));
/// assert_eq!(words.intern("tree"), tree);
/// assert_eq!(words.resolve(leaf), "leaf");
///
/// // Anything that can be compared and hashed.
/// let glyphs = Interner::new();
/// let glyph = glyphs.intern(&('e', "Serif", 12));
/// assert_eq!(glyphs[glyph].1, "Serif");
/// ```
///
/// # Memory comes back by generations
///
/// [`retain`](Self::retain) ends a generation: it drops the values that are needed no more, and gives back their memory and all
/// that growing has left behind. Symbols of the values that stay are not changed. Those of dropped ones are
/// [`get`](Self::get)'s `None` until a later value gets the number; who keeps such a symbol may then find that other value.
///
/// Why not counts: a symbol that counts is no `u32` that can be copied, compared and kept in a shared list as it is; each copy would
/// cost a locked instruction (some 5 ns, and the cache line goes from core to core where two threads do it), and each word four bytes or more. And `&mut self` proves that nobody reads what goes, without which
/// readers would have to say so at each look.
///
/// # Costs
///
/// A look-up is a hash, one or two slots of the table, and a comparison. A value takes its own size, and between 5 and 10 bytes of the
/// table; as long as nobody calls [`shrink_to_fit`](Self::shrink_to_fit) or [`retain`](Self::retain), the smaller tables before it
/// are there as well, which are at most as large together. Chunks have some 4 KB. So a [`Text`] of up to 23 bytes takes 34 to
/// 45 bytes; a longer one has its text in an allocation, beside that.
///
/// # Panics
///
/// If there are 2³² − 2 values, what adds one panics. A panic in `Eq`, `Hash` or `Clone` leaves the interner as it was. `Hash` and `Eq` of
/// a value must not use the interner that the value is in: it may wait for itself.
pub struct Interner<T, S = DefaultHashBuilder> {
    store: Store<T>,
    tables: Tables,
    hasher: S,
    writing: Lock<Writing>,
}

/// What only those need to know who add values.
struct Writing {
    /// How many values there are.
    living: usize,
    /// How often a value was added.
    additions: u64,
}

impl<T> Interner<T> {
    /// Returns an interner without values.
    pub fn new() -> Self {
        Self::with_hasher(DefaultHashBuilder::default())
    }
}

impl<T, S> Interner<T, S> {
    /// Returns an interner without values that uses a hasher of the caller's.
    pub fn with_hasher(hasher: S) -> Self {
        Self {
            store: Store::new(),
            tables: Tables::new(),
            hasher,
            writing: Lock::new(Writing {
                living: 0,
                additions: 0,
            }),
        }
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.lock().living
    }

    /// Returns whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the value that has this symbol: a comparison and three loads, and a few more where `retain` has left gaps before it.
    ///
    /// # Panics
    ///
    /// If no value has it: it is another interner's, or was dropped.
    #[inline]
    pub fn resolve(&self, symbol: Symbol) -> &T {
        match self.store.get_whole(symbol) {
            Some(value) => value,
            None => self.resolve_beyond(symbol),
        }
    }

    #[cold]
    fn resolve_beyond(&self, symbol: Symbol) -> &T {
        match self.store.get(symbol) {
            Some(value) => value,
            None => panic!("{symbol:?} is no value's of this interner"),
        }
    }

    /// Returns the value that has this symbol, if one does.
    #[inline]
    pub fn get(&self, symbol: Symbol) -> Option<&T> {
        self.store.get(symbol)
    }

    /// Returns the values that there are now, by their numbers, with their symbols. What is added meanwhile may be there or not.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &T)> {
        let symbols = self.store.symbols();
        symbols.filter_map(|symbol| Some((symbol, self.store.get(symbol)?)))
    }

    /// Returns how many bytes the interner has allocated: chunks, tables, and what has become too small and is kept for readers. What
    /// values point to is not counted.
    pub fn own_bytes(&self) -> usize {
        let _nobody_adds = self.lock();
        self.store.bytes() + self.tables.bytes()
    }

    /// Gives back the tables that have become too small and were kept for readers.
    pub fn shrink_to_fit(&mut self) {
        self.store.forget_old();
        self.tables.forget_old();
    }

    /// The caller's code runs below it only before anything is changed: what a panic leaves behind is as it was.
    fn lock(&self) -> Guard<'_, Writing> {
        self.writing.lock()
    }
}

impl<T: Eq + Hash, S: BuildHasher> Interner<T, S> {
    /// Returns the symbol of what equals `value`, which becomes one of the interner's values if there was none.
    #[inline]
    pub fn intern<Q: ToInterned<T> + ?Sized>(&self, value: &Q) -> Symbol {
        let hash = self.hash(value);
        match self.find(hash, value) {
            Some(symbol) => symbol,
            None => self.add(hash, value.to_interned()),
        }
    }

    /// Returns the symbol of what equals `value`, which is dropped then, or else becomes one of the interner's values.
    pub fn intern_value(&self, value: T) -> Symbol {
        let hash = self.hash(&value);
        match self.find(hash, &value) {
            Some(symbol) => symbol,
            None => self.add(hash, value),
        }
    }

    /// Returns the symbol of what equals `value`, if there is something.
    #[inline]
    pub fn find_symbol<Q: Hash + Equivalent<T> + ?Sized>(&self, value: &Q) -> Option<Symbol> {
        self.find(self.hash(value), value)
    }

    /// Ends a generation: drops the values for which `keep` returns false, and gives back the memory that they and all growth
    /// before took. Symbols of those that stay are as they were; numbers that become free are given to later values. O(n).
    ///
    /// If `keep` or `Hash` panics, nothing is dropped.
    ///
    /// ```
    /// # use tine_values::{Interner, Text};
    /// let mut words: Interner<Text> = Interner::new();
    /// let page = ["a", "tree", "has", "a", "leaf"].map(|word| words.intern(word));
    /// let kept = words.intern("kept");
    /// words.retain(|symbol, _| symbol == kept);  // the page is gone
    /// assert_eq!((words.len(), words.resolve(kept).as_str()), (1, "kept"));
    /// assert!(words.get(page[0]).is_none());
    /// ```
    pub fn retain(&mut self, mut keep: impl FnMut(Symbol, &T) -> bool) {
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for (symbol, value) in self.iter() {
            let to = if keep(symbol, value) { &mut kept } else { &mut gone };
            to.push(symbol);
        }
        let len = kept.last().map_or(0, |last| last.place());
        let hashed = kept.iter().map(|&symbol| (self.hash_of(symbol), symbol));
        let table = table::Table::of(kept.len(), len, hashed);

        self.tables.replace(table);
        let dropped = self.store.take(&gone, len + 1);
        self.store.forget_old();
        self.tables.forget_old();
        let mut writing = self.writing.lock();
        writing.living = kept.len();
        mem::drop(writing);
        // Last: a value's panic as it is dropped finds all of that done.
        mem::drop(dropped);
    }

    /// Drops all values and gives their memory back.
    pub fn clear(&mut self) {
        self.retain(|_, _| false);
    }

    #[inline]
    fn hash<Q: Hash + ?Sized>(&self, value: &Q) -> u64 {
        // Hashers that leave the upper bits alone still spread the values over the table.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        self.hasher.hash_one(value).wrapping_mul(SPREAD)
    }

    fn hash_of(&self, symbol: Symbol) -> u64 {
        self.hash(self.store.get(symbol).expect("a living value"))
    }

    #[inline]
    #[allow(unsafe_code)]
    fn find<Q: Equivalent<T> + ?Sized>(&self, hash: u64, value: &Q) -> Option<Symbol> {
        // SAFETY: the current table has symbols of living values alone, each written after its value.
        let is_it = |symbol| value.equivalent(unsafe { self.store.value(symbol) });
        self.tables.current().find(hash, is_it)
    }

    #[cold]
    fn add(&self, hash: u64, value: T) -> Symbol {
        let mut seen = self.lock().additions;
        loop {
            // Others may have added it by now. `Eq` is the caller's: it is not asked under the lock.
            if let Some(symbol) = self.find(hash, &value) {
                return symbol;
            }
            let mut writing = self.lock();
            if writing.additions == seen {
                // A panic in `Hash` opens the lock before it drops the value.
                self.make_room(&writing);
                return self.insert(&mut writing, hash, value);
            }
            seen = writing.additions;
        }
    }

    /// Makes sure that the table has room for one more value, for who has the lock.
    fn make_room(&self, writing: &Writing) {
        let len = self.store.len();
        if !self.tables.current().has_room(writing.living, len) {
            let hashed = self.store.symbols().map(|symbol| (self.hash_of(symbol), symbol));
            let table = table::Table::of(writing.living + 1, len + 1, hashed);
            self.tables.replace(table);
        }
    }

    /// Adds a value that there is not and for which there is room, for who has the lock.
    #[allow(unsafe_code)]
    fn insert(&self, writing: &mut Writing, hash: u64, value: T) -> Symbol {
        // SAFETY: who has the lock is the only one to write.
        let symbol = unsafe { self.store.add(value) };
        self.tables.current().insert(hash, symbol);
        writing.living += 1;
        writing.additions += 1;
        symbol
    }
}

impl<T, S> Index<Symbol> for Interner<T, S> {
    type Output = T;

    #[inline]
    fn index(&self, symbol: Symbol) -> &T {
        self.resolve(symbol)
    }
}

impl<T, S: Default> Default for Interner<T, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<T: fmt::Debug, S> fmt::Debug for Interner<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<T, Q, S> FromIterator<Q> for Interner<T, S>
where
    T: Eq + Hash,
    Q: Into<T>,
    S: BuildHasher + Default,
{
    fn from_iter<I: IntoIterator<Item = Q>>(values: I) -> Self {
        let interner = Self::default();
        for value in values {
            interner.intern_value(value.into());
        }
        interner
    }
}
