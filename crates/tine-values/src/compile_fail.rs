//! What must not compile. The error numbers are checked on nightly only; each block differs from one that
//! compiles in the one line that matters.
//!
//! Owners on two threads would share a `Cell`:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::Shared::new(std::cell::Cell::new(1)));
//! ```
//!
//! The last owner, on another thread, would drop an `Rc`:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::RadixMap::from_iter([(1, std::rc::Rc::new(1))]));
//! ```
//!
//! A `&Shared` can be cloned on the thread it is sent to:
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::Shared::new(std::cell::Cell::new(1)));
//! ```
//!
//! A reference into a map keeps it from being written:
//!
//! ```compile_fail,E0502
//! let mut map = tine_values::RadixMap::from_iter([(1, 1)]);
//! let one = map.get(1);
//! map.insert(1, 2);
//! assert_eq!(one, Some(&1));
//! ```
//!
//! A map does not outlive what its values borrow:
//!
//! ```compile_fail,E0597
//! let mut map = tine_values::RadixMap::new();
//! {
//!     let text = String::from("short");
//!     map.insert(1, &text[..]);
//! }
//! assert!(!map.is_empty());
//! ```
//!
//! The same for a list: owners of its nodes are on two threads after a clone, and what borrows an element borrows all:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::List::from([std::rc::Rc::new(1)]));
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::List::from([std::cell::Cell::new(1)]));
//! ```
//!
//! ```compile_fail,E0502
//! let mut list = tine_values::List::from([1, 2]);
//! let first = list.first();
//! list.push(3);
//! assert_eq!(first, Some(&1));
//! ```
//!
//! ```compile_fail,E0499
//! let mut list = tine_values::List::from([1, 2]);
//! let (mut some, mut others) = (list.iter_mut(), list.iter_mut());
//! assert_ne!(some.next(), others.next());
//! ```
//!
//! Who writes through an iterator must not put in what lives shorter than the list's elements:
//!
//! ```compile_fail
//! use tine_values::list::IterMut;
//! fn shorter<'a, 'b>(elements: IterMut<'b, &'static str>) -> IterMut<'b, &'a str> {
//!     elements
//! }
//! ```
//!
//! A sorted map does not outlive its keys' borrows, and its owners do not share what one thread only may have:
//!
//! ```compile_fail,E0597
//! let mut map = tine_values::SortedMap::new();
//! {
//!     let text = String::from("short");
//!     map.insert(&text[..], 1);
//! }
//! assert!(!map.is_empty());
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::SortedMap::from([(1, std::rc::Rc::new(1))]));
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::SortedSet::<std::cell::Cell<u8>>::new());
//! ```
//!
//! Nor does a hash map outlive them; and its owners, and those of a set, are on several threads after a clone:
//!
//! ```compile_fail,E0597
//! let mut map = tine_values::Map::new();
//! {
//!     let text = String::from("short");
//!     map.insert(&text[..], 1);
//! }
//! assert!(!map.is_empty());
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::Map::from([(1, std::rc::Rc::new(1))]));
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::Map::from([(1, std::cell::Cell::new(1))]));
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::Set::from([std::rc::Rc::new(1)]));
//! ```
//!
//! An iterator over it is sent as a reference is, so that what one thread only may have stays there:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::Map::from([(1, std::cell::Cell::new(1))]).iter());
//! ```
//!
//! A reference to a value keeps the map from being written:
//!
//! ```compile_fail,E0502
//! let mut map = tine_values::Map::from([(1, 1)]);
//! let one = map.get(&1);
//! map.insert(1, 2);
//! assert_eq!(one, Some(&1));
//! ```
//!
//! ```compile_fail,E0499
//! let mut map = tine_values::Map::from([(1, 1), (2, 2)]);
//! let (mut some, mut others) = (map.values_mut(), map.values_mut());
//! assert_ne!(some.next(), others.next());
//! ```
//!
//! Who writes through an iterator, or an entry, must not put in what lives shorter than the map's values:
//!
//! ```compile_fail
//! use tine_values::map::IterMut;
//! fn shorter<'a, 'b>(entries: IterMut<'b, u8, &'static str>) -> IterMut<'b, u8, &'a str> {
//!     entries
//! }
//! ```
//!
//! ```compile_fail
//! use tine_values::map::OccupiedEntry;
//! fn shorter<'a, 'b, S>(entry: OccupiedEntry<'b, u8, &'static str, S>) -> OccupiedEntry<'b, u8, &'a str, S> {
//!     entry
//! }
//! ```
//!
//! ```compile_fail
//! use tine_values::map::ExtractIf;
//! fn shorter<'a, 'b, S, F>(entries: ExtractIf<'b, u8, &'static str, S, F>) -> ExtractIf<'b, u8, &'a str, S, F> {
//!     entries
//! }
//! ```
//!
//! ```compile_fail
//! use tine_values::sorted_map::IterMut;
//! fn shorter<'a, 'b>(entries: IterMut<'b, u8, &'static str>) -> IterMut<'b, u8, &'a str> {
//!     entries
//! }
//! ```
//!
//! ```compile_fail
//! use tine_values::sorted_map::RangeMut;
//! fn shorter<'a, 'b>(entries: RangeMut<'b, u8, &'static str>) -> RangeMut<'b, u8, &'a str> {
//!     entries
//! }
//! ```
//!
//! ```compile_fail
//! use tine_values::sorted_map::ValuesMut;
//! fn shorter<'a, 'b>(values: ValuesMut<'b, u8, &'static str>) -> ValuesMut<'b, u8, &'a str> {
//!     values
//! }
//! ```
//!
//! A reference into a text, or into bytes, keeps them from being written: what may move them is a `&mut` method:
//!
//! ```compile_fail,E0502
//! let mut text = tine_values::Text::from("a text");
//! let part = text.trim();
//! text.push('!');
//! assert_eq!(part, "a text");
//! ```
//!
//! ```compile_fail,E0502
//! let mut bytes = tine_values::Bytes::from([1, 2, 3]);
//! let part = &bytes[..2];
//! bytes.push(4);
//! assert_eq!(part, [1, 2]);
//! ```
//!
//! ```compile_fail,E0597
//! let mut words = tine_values::List::new();
//! {
//!     let text = tine_values::Text::from("gone");
//!     words.push(text.as_str());
//! }
//! assert!(words.is_empty());
//! ```
//!
//! What is static must be so for ever:
//!
//! ```compile_fail,E0597
//! let text = String::from("not for ever");
//! let _ = tine_values::Text::from_static(&text);
//! ```
//!
//! Slices are shared by the rules of their elements, and so are sets and page tables:
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::Shared::<[_]>::from([std::rc::Rc::new(1)]));
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::RadixMap::from_iter([(1, std::cell::Cell::new(1))]));
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::Set::<std::cell::Cell<u8>>::default());
//! ```
//!
//! ```compile_fail,E0277
//! fn sync<T: Sync>(_: T) {}
//! sync(tine_values::SortedMap::from([(1, std::cell::Cell::new(1))]));
//! ```
//!
//! ```compile_fail,E0277
//! fn send<T: Send>(_: T) {}
//! send(tine_values::SortedSet::from([std::rc::Rc::new(1)]));
//! ```
//!
//! Elements that are written at once, or removed as an iterator goes on, are borrowed mutably all the while:
//!
//! ```compile_fail,E0499
//! let mut list = tine_values::List::from([1, 2]);
//! let both = list.get_disjoint_mut([0, 1]);
//! list.push(3);
//! assert!(both.is_ok());
//! ```
//!
//! ```compile_fail
//! use tine_values::list::ExtractIf;
//! fn shorter<'a, 'b, F>(extracted: ExtractIf<'b, &'static str, F>) -> ExtractIf<'b, &'a str, F> {
//!     extracted
//! }
//! ```
