//! Goal: an interner gives equal values one symbol, keeps what it is told to keep, and leaks nothing.
//! Method: random words are interned, looked up and dropped by generations, beside a map of what is to be found; values that panic
//! at the n-th call, for all n; threads that intern the same words at once.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::panic::catch_unwind;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, LazyLock, mpsc};
use std::thread;
use std::time::Duration;

use crate::ledger::{Item, Ledger};
use proptest::prelude::*;
use tine_values::{Bytes, Interner, Symbol, Text};

#[derive(Clone, Debug)]
enum Action {
    Intern(u16, u16),
    Find(u16),
    /// Keeps the words that this does not divide.
    Retain(u16),
    /// Keeps the words before this one.
    Truncate(u16),
    Clear,
    Shrink,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        8 => (0..3000_u16, 1..400_u16).prop_map(|(from, count)| Action::Intern(from, count)),
        4 => (0..3000_u16).prop_map(Action::Find),
        2 => (1..9_u16).prop_map(Action::Retain),
        2 => (0..3000_u16).prop_map(Action::Truncate),
        1 => Just(Action::Clear),
        1 => Just(Action::Shrink),
    ];
    prop::collection::vec(action, 1..25)
}

/// Half of them longer than fits a text itself.
fn word(number: u16) -> String {
    let tail = if number.is_multiple_of(2) {
        ""
    } else {
        ", which has an allocation"
    };
    format!("word {number}{tail}")
}

proptest! {
    #[test]
    fn an_interner_is_the_map_that_it_claims_to_be(actions in actions()) {
        let mut interner: Interner<Text> = Interner::new();
        let mut model: BTreeMap<u16, Symbol> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Intern(from, count) => {
                    for number in from..from + count {
                        let symbol = interner.intern(word(number).as_str());
                        prop_assert_eq!(*model.entry(number).or_insert(symbol), symbol);
                    }
                }
                Action::Find(number) => {
                    prop_assert_eq!(interner.find_symbol(word(number).as_str()), model.get(&number).copied());
                }
                Action::Retain(divisor) => {
                    model.retain(|number, _| number % divisor != 0);
                    let kept: HashSet<Symbol> = model.values().copied().collect();
                    interner.retain(|symbol, _| kept.contains(&symbol));
                }
                Action::Truncate(end) => {
                    let before = model.clone();
                    model.retain(|&number, _| number < end);
                    let kept: HashSet<String> = model.keys().map(|&number| word(number)).collect();
                    interner.retain(|_, word| kept.contains(word.as_str()));
                    let gone = before.iter().filter(|(number, _)| !model.contains_key(number));
                    gone.for_each(|(_, &symbol)| assert!(interner.get(symbol).is_none()));
                }
                Action::Clear => {
                    model.clear();
                    interner.clear();
                    prop_assert!(interner.own_bytes() < 256, "{}", interner.own_bytes());
                }
                Action::Shrink => interner.shrink_to_fit(),
            }
            prop_assert_eq!(interner.len(), model.len());
            for (&number, &symbol) in &model {
                prop_assert_eq!(interner.resolve(symbol).as_str(), word(number));
            }
            let symbols: HashSet<Symbol> = interner.iter().map(|(symbol, _)| symbol).collect();
            prop_assert_eq!(symbols, model.values().copied().collect::<HashSet<_>>());
        }
    }
}

#[test]
fn symbols_are_numbers_that_go_up() {
    let words: Interner<Text> = Interner::new();
    let symbols = ["a", "b", "a", "c"].map(|word| words.intern(word).number());
    assert_eq!(symbols, [0, 1, 0, 2]);
    assert_eq!(
        Symbol::from_number(2).map(|symbol| words[symbol].as_str()),
        Some("c")
    );
    assert!(Symbol::from_number(3).is_some_and(|symbol| words.get(symbol).is_none()));
    assert_eq!(Symbol::from_number(u32::MAX), None);
    assert_eq!(
        format!("{words:?}"),
        r#"{Symbol(0): "a", Symbol(1): "b", Symbol(2): "c"}"#
    );
}

#[test]
#[should_panic(expected = "Symbol(7) is no value's of this interner")]
fn an_unknown_symbol_panics() {
    let words: Interner<Text> = Interner::new();
    words.intern("a");
    let _ = words.resolve(Symbol::from_number(7).unwrap());
}

#[test]
fn whatever_can_be_hashed_is_interned() {
    let bytes: Interner<Bytes> = Interner::new();
    assert_eq!(
        bytes.intern(&[1, 2][..]),
        bytes.intern_value(Bytes::from(&[1, 2]))
    );
    let units: Interner<()> = Interner::new();
    assert_eq!(units.intern(&()), units.intern(&()));
    let wide: Interner<[u64; 100]> = (0..100).map(|number| [number; 100]).collect();
    assert_eq!(
        (wide.len(), wide.find_symbol(&[7; 100]).map(Symbol::number)),
        (100, Some(7))
    );
}

/// Gives every value the same hash.
#[derive(Default)]
struct Same;

impl Hasher for Same {
    fn write(&mut self, _: &[u8]) {}
    fn finish(&self) -> u64 {
        0
    }
}

#[test]
fn hashes_that_are_all_alike_are_slow_and_no_more() {
    let numbers: Interner<u32, BuildHasherDefault<Same>> = (0..500_u32).collect();
    assert!((0..500).all(|number| numbers.intern(&number).number() == number));
}

#[test]
fn a_word_takes_at_most_48_bytes() {
    for words in [3_000, 6_600, 10_000, 13_000, 13_200, 26_300, 100_000] {
        let interner: Interner<Text> = (0..words).map(|number| format!("{number:016}")).collect();
        let bytes = interner.own_bytes() as f64 / f64::from(words);
        assert!(bytes <= 48.0, "{words} words: {bytes} bytes each");
    }
}

#[test]
fn a_generation_gives_its_memory_back() {
    let mut numbers: Interner<u64> = (0..100_000_u64).collect();
    let before = numbers.own_bytes();
    let kept = [5, 700, 99_000].map(|number: u64| numbers.intern(&number));
    numbers.retain(|symbol, _| kept.contains(&symbol));
    assert_eq!(kept.map(|symbol| numbers[symbol]), [5, 700, 99_000]);
    // Three chunks, and a bit for each other number.
    assert!(
        numbers.own_bytes() < before / 50,
        "{} of {before}",
        numbers.own_bytes()
    );
    let reused: Vec<u32> = (200_000..200_005_u64)
        .map(|number| numbers.intern(&number).number())
        .collect();
    assert_eq!(reused, [0, 1, 2, 3, 4]);
}

#[test]
fn panics_leave_an_interner_as_it_was() {
    let ledger = Rc::new(Ledger::default());
    for call in 0.. {
        // Six: with the seventh the table grows, and hashes all.
        let mut interner: Interner<Item<0>> = Interner::new();
        for number in 0..6 {
            interner.intern_value(Item::new(number, &ledger));
        }
        let new = Item::new(7, &ledger);
        let (mut known, old) = (None, Item::new(3, &ledger));
        let panicked = ledger.panics_at(call, || {
            interner.intern(&old);
            known = Some(interner.intern(&new));
            interner.retain(|_, item| item.number != 0);
        });
        let expected: &[u32] = match (known, panicked) {
            (None, _) => &[0, 1, 2, 3, 4, 5],
            // A drop that panics does so when all is done.
            (Some(_), _) if interner.len() == 6 => &[1, 2, 3, 4, 5, 7],
            (Some(_), _) => &[0, 1, 2, 3, 4, 5, 7],
        };
        let found: Vec<u32> = interner.iter().map(|(_, item)| item.number).collect();
        assert_eq!(found, expected, "call {call}");
        assert!(
            interner
                .iter()
                .all(|(symbol, item)| interner.find_symbol(item) == Some(symbol))
        );
        drop((interner, new, old));
        assert_eq!(ledger.living(), 0, "call {call}");
        if !panicked {
            assert!(call > 10);
            break;
        }
    }
}

/// What is dropped by a panic may use the interner: nobody has its lock any more.
#[test]
fn a_value_that_a_panic_drops_may_ask_the_interner() {
    static ASKED: LazyLock<Interner<Asks>> = LazyLock::new(Interner::new);
    static IS_FULL: AtomicBool = AtomicBool::new(false);

    #[derive(PartialEq, Eq)]
    struct Asks(u32);

    impl Hash for Asks {
        fn hash<H: Hasher>(&self, state: &mut H) {
            // The table grows for the seventh: the others are hashed again.
            assert!(!IS_FULL.load(Ordering::Relaxed) || self.0 == 6, "hashed again");
            state.write_u32(self.0);
        }
    }

    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(ASKED.len(), 6);
        }
    }

    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        for number in 0..6 {
            ASKED.intern_value(Asks(number));
        }
        IS_FULL.store(true, Ordering::Relaxed);
        let added = catch_unwind(|| ASKED.intern_value(Asks(6)));
        done.send(added.is_err()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(60)), Ok(true));
}

#[test]
fn threads_that_intern_the_same_words_agree() {
    const WORDS: u32 = 20_000;
    let threads = 4;
    let interner: Interner<Text> = Interner::new();
    let barrier = Barrier::new(threads);
    let work = |thread: u32| {
        barrier.wait();
        // Each begins elsewhere; the later half of what one does another has done.
        let symbols = (0..WORDS).map(|at| {
            let number = (at + thread * (WORDS / 4)) % WORDS;
            let word = format!("{number}, of some length and more");
            let symbol = interner.intern(word.as_str());
            assert_eq!(interner.resolve(symbol), word.as_str());
            (number, symbol)
        });
        symbols.collect::<BTreeMap<u32, Symbol>>()
    };
    let found: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = (0..threads as u32)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|symbols| *symbols == found[0]));
    assert_eq!(interner.len(), WORDS as usize);
}

#[test]
fn vacant_numbers_are_filled_while_others_read() {
    let mut numbers: Interner<Box<u64>> = (0..10_000_u64).collect();
    numbers.retain(|_, number| **number % 3 == 0);
    let numbers = &numbers;
    thread::scope(|scope| {
        for from in [20_000, 21_000] {
            scope.spawn(move || {
                for number in from..from + 6_000 {
                    numbers.intern(&Box::new(number));
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20 {
                for number in 0..10_000 {
                    let found = numbers.get(Symbol::from_number(number).unwrap());
                    assert!(found.is_none_or(|found| **found == u64::from(number) || **found >= 20_000));
                    let is_kept = number % 3 == 0;
                    assert!(!is_kept || found.is_some_and(|found| **found == u64::from(number)));
                }
            }
        });
    });
    assert_eq!(numbers.len(), 3_334 + 7_000);
    assert_eq!(
        numbers.iter().map(|(symbol, _)| symbol.number()).max(),
        Some(10_333)
    );
}
