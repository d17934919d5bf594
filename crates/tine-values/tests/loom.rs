//! Goal: counts are right under every interleaving and every order that memory allows.
//! Method: loom runs each body with all schedules; `RUSTFLAGS="--cfg loom" cargo test -p tine-values --test loom --release`.
//! A value holds a `loom` cell, so a write that another thread's read does not happen before or after fails.
#![cfg(loom)]
#![allow(unsafe_code)]

// The tally of the living is std's: it is no part of what is tried.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::cell::UnsafeCell;
use loom::thread;
use tine_values::{RadixMap, Shared};

/// A number whose reads and writes loom watches, and whose living instances are counted.
struct Watched {
    number: UnsafeCell<u32>,
    living: Arc<AtomicUsize>,
}

// SAFETY: the cell is reached as the wrapper's references allow: read by `&self`, written by `&mut self`.
unsafe impl Sync for Watched {}

impl Watched {
    fn new(number: u32, living: &Arc<AtomicUsize>) -> Self {
        living.fetch_add(1, Ordering::Relaxed);
        Self {
            number: UnsafeCell::new(number),
            living: living.clone(),
        }
    }

    fn read(&self) -> u32 {
        // SAFETY: nobody writes by `&self`.
        self.number.with(|number| unsafe { *number })
    }

    fn write(&mut self, new: u32) {
        // SAFETY: `&mut self` is the only way to it.
        self.number.with_mut(|number| unsafe { *number = new });
    }
}

impl Clone for Watched {
    fn clone(&self) -> Self {
        Self::new(self.read(), &self.living)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.write(u32::MAX);
        self.living.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn two_owners_write_at_once() {
    loom::model(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let mut one = Shared::new(Watched::new(0, &living));
        let mut other = one.clone();
        let thread = thread::spawn(move || {
            other.make_mut().write(1);
            assert_eq!(other.read(), 1);
        });
        one.make_mut().write(2);
        assert_eq!(one.read(), 2);
        thread.join().unwrap();
        drop(one);
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn the_last_reader_goes_while_the_owner_waits_to_write() {
    loom::model(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let mut owner = Shared::new(Watched::new(7, &living));
        let reader = owner.clone();
        let thread = thread::spawn(move || {
            let another = reader.clone();
            assert_eq!(reader.read(), 7);
            drop(reader);
            assert_eq!(another.read(), 7);
        });
        if let Some(value) = owner.get_mut() {
            value.write(8);
        }
        thread.join().unwrap();
        assert!(owner.is_unique());
        drop(owner);
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn three_owners_go_at_once() {
    loom::model(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let one = Shared::new(Watched::new(0, &living));
        let threads = [one.clone(), one.clone()].map(|owner| {
            thread::spawn(move || {
                owner.read();
                drop(owner);
            })
        });
        drop(one);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn two_forks_of_a_map_write_at_once() {
    // Two forks touch many counts: a tenth of a second with up to three preemptions, 12 s without a bound.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let mut one = RadixMap::new();
        one.insert(1, Watched::new(1, &living));
        one.insert(70, Watched::new(70, &living));
        let mut other = one.clone();
        let living_there = living.clone();
        let thread = thread::spawn(move || {
            other.insert(1, Watched::new(2, &living_there));
            assert_eq!(other.get(70).map(Watched::read), Some(70));
        });
        one.remove(70);
        assert_eq!(one.get(1).map(Watched::read), Some(1));
        thread.join().unwrap();
        drop(one);
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn two_owners_of_a_slice_write_and_take_at_once() {
    loom::model(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let mut one = Shared::<[_]>::from([Watched::new(0, &living), Watched::new(1, &living)]);
        let mut other = one.clone();
        let thread = thread::spawn(move || {
            other.make_mut()[0].write(5);
            assert_eq!((other[0].read(), other[1].read()), (5, 1));
        });
        one.make_mut()[1].write(6);
        assert_eq!((one[0].read(), one[1].read()), (0, 6));
        thread.join().unwrap();
        drop(one);
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn of_two_who_give_up_one_gets_the_value() {
    loom::model(|| {
        let living = Arc::new(AtomicUsize::new(0));
        let one = Shared::new(Watched::new(7, &living));
        let other = one.clone();
        let thread = thread::spawn(move || other.into_inner().map(|mut value| value.write(8)).is_some());
        let here = one.into_inner().map(|mut value| value.write(9)).is_some();
        assert!(here != thread.join().unwrap());
        assert_eq!(living.load(Ordering::Relaxed), 0);
    });
}

#[cfg(feature = "std")]
mod interner {
    use std::hash::{BuildHasherDefault, Hash, Hasher};

    use tine_values::{Interner, Symbol};

    use super::*;

    /// Loom wants every run to be the same: no seed, and few slots that meet.
    #[derive(Default)]
    struct Plain(u64);

    impl Hasher for Plain {
        fn write(&mut self, bytes: &[u8]) {
            bytes
                .iter()
                .for_each(|&byte| self.0 = self.0 << 8 | u64::from(byte));
        }
        fn finish(&self) -> u64 {
            self.0 >> 1
        }
    }

    type Watching = Interner<Watched, BuildHasherDefault<Plain>>;

    impl PartialEq for Watched {
        fn eq(&self, other: &Self) -> bool {
            self.read() == other.read()
        }
    }

    impl Eq for Watched {}

    impl Hash for Watched {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u32(self.read());
        }
    }

    /// A value that its maker wrote, so that loom knows when.
    fn written(number: u32, living: &Arc<AtomicUsize>) -> Watched {
        let mut value = Watched::new(0, living);
        value.write(number);
        value
    }

    fn check(preemptions: usize, body: impl Fn(Arc<AtomicUsize>) + Sync + Send + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(preemptions);
        model.check(move || {
            let living = Arc::new(AtomicUsize::new(0));
            body(living.clone());
            assert_eq!(living.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn two_intern_the_same_and_another() {
        check(3, |living| {
            let words = loom::sync::Arc::new(Watching::default());
            let (there, living_there) = (words.clone(), living.clone());
            let thread = thread::spawn(move || {
                let one = there.intern_value(written(1, &living_there));
                let two = there.intern_value(written(2, &living_there));
                assert_eq!((there[one].read(), there[two].read()), (1, 2));
                (one, two)
            });
            let two = words.intern_value(written(2, &living));
            let one = words.intern_value(written(1, &living));
            assert_eq!((words[one].read(), words[two].read()), (1, 2));
            assert_eq!(thread.join().unwrap(), (one, two));
            assert_eq!(words.len(), 2);
        });
    }

    #[test]
    fn one_reads_while_the_table_grows() {
        check(3, |living| {
            let words = loom::sync::Arc::new(Watching::default());
            // As many as the first table holds.
            for number in 0..6 {
                words.intern_value(written(number, &living));
            }
            let (there, living_there) = (words.clone(), living.clone());
            let thread = thread::spawn(move || {
                there.intern_value(written(6, &living_there));
            });
            let wanted = written(5, &living);
            let found = words.find_symbol(&wanted);
            assert_eq!(found.map(Symbol::number), Some(5));
            if let Some(newest) = Symbol::from_number(6).and_then(|symbol| words.get(symbol)) {
                assert_eq!(newest.read(), 6);
            }
            thread.join().unwrap();
            drop(wanted);
        });
    }

    #[test]
    fn a_vacant_number_is_given_while_another_reads_it() {
        static SEEN: AtomicUsize = AtomicUsize::new(0);
        check(3, |living| {
            let mut words = Watching::default();
            for number in 0..3 {
                words.intern_value(written(number, &living));
            }
            words.retain(|_, value| value.read() == 2);
            let words = loom::sync::Arc::new(words);
            let there = words.clone();
            // The numbers come from nowhere: nothing but the interner orders the reads after the writes.
            let thread = thread::spawn(move || {
                for (number, new) in [(0, 8), (1, 9), (2, 2)] {
                    let found = Symbol::from_number(number).and_then(|symbol| there.get(symbol));
                    assert!(found.is_none_or(|value| value.read() == new));
                    SEEN.fetch_or(usize::from(found.is_some()) << number, Ordering::Relaxed);
                }
            });
            for number in [8, 9] {
                words.intern_value(written(number, &living));
            }
            thread.join().unwrap();
        });
        // Each was found there in one order or another.
        assert_eq!(SEEN.load(Ordering::Relaxed), 0b111);
    }
}
