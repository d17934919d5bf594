//! [`Interner`] beside lasso's `Rodeo`, which one thread has for itself, and its `ThreadedRodeo`.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lasso::{Rodeo, Spur, ThreadedRodeo};
use tine_values::{Interner, Symbol, Text};

use crate::contest::{Contest, Row};
use crate::data::{Places, Random};

pub(crate) const ROWS: &[Row] = &[
    Row::timed(
        "interner-look-up",
        "interner: look a known word up",
        &[10_000],
        look_up,
    ),
    Row::timed(
        "interner-look-up-threads",
        "interner: 100 × n look-ups in each of two threads, beside a Rodeo's in one",
        &[10_000],
        look_up_in_threads,
    ),
    Row::timed("interner-add", "interner: intern n new words", &[10_000], add),
    Row::timed(
        "interner-resolve",
        "interner: resolve a symbol",
        &[10_000],
        resolve,
    ),
    Row::weighed(
        "interner-bytes",
        "interner: bytes of a word of 16",
        &[10_000, 13_200],
        bytes,
    ),
];

type Lasso = Rodeo<Spur, RandomState>;

/// Words of 16 bytes, each once.
fn words(n: usize) -> Vec<String> {
    (0..n).map(|number| format!("{number:016x}")).collect()
}

/// Which words are looked up, a hundred times as many: the same for all.
fn wanted(n: usize) -> Vec<String> {
    let words = words(n);
    let places = Random(7).take(100 * n);
    places.map(|place| words[place as usize % n].clone()).collect()
}

fn lasso(n: usize) -> Lasso {
    let mut rodeo = Rodeo::with_hasher(RandomState::default());
    words(n).iter().for_each(|word| {
        rodeo.get_or_intern(word);
    });
    rodeo
}

fn threaded(n: usize) -> ThreadedRodeo<Spur, RandomState> {
    let rodeo = ThreadedRodeo::with_hasher(RandomState::default());
    words(n).iter().for_each(|word| {
        rodeo.get_or_intern(word);
    });
    rodeo
}

fn ours(n: usize) -> Interner<Text> {
    let interner = Interner::new();
    words(n).iter().for_each(|word| {
        interner.intern(word.as_str());
    });
    interner
}

fn look_up(contest: &mut Contest, n: usize) {
    let wanted: Rc<[String]> = wanted(n).into();
    let (mut rodeo, words) = (lasso(n), wanted.clone());
    contest.repeat("Rodeo", words.len(), move || {
        words.iter().for_each(|word| {
            black_box(rodeo.get_or_intern(word));
        });
    });
    let (rodeo, words) = (threaded(n), wanted.clone());
    contest.repeat("ThreadedRodeo", words.len(), move || {
        words.iter().for_each(|word| {
            black_box(rodeo.get_or_intern(word));
        });
    });
    let (interner, words) = (ours(n), wanted);
    contest.repeat("tine", words.len(), move || {
        words.iter().for_each(|word| {
            black_box(interner.intern(word.as_str()));
        });
    });
    contest.at_most(1.0, "Rodeo");
}

fn look_up_in_threads(contest: &mut Contest, n: usize) {
    let wanted: Arc<[String]> = wanted(n).into();
    let (mut rodeo, words) = (lasso(n), wanted.clone());
    contest.repeat("Rodeo", 1, move || {
        words.iter().for_each(|word| {
            black_box(rodeo.get_or_intern(word));
        });
    });
    let (rodeo, words) = (threaded(n), wanted.clone());
    contest.in_threads("ThreadedRodeo", 2, move || {
        words.iter().for_each(|word| {
            black_box(rodeo.get_or_intern(word));
        });
    });
    let (interner, words) = (ours(n), wanted);
    contest.in_threads("tine", 2, move || {
        words.iter().for_each(|word| {
            black_box(interner.intern(word.as_str()));
        });
    });
    contest.note("each of two threads does as much as the Rodeo's one: 1.11 times its time is 1.8 times its throughput");
    contest.at_most(1.11, "Rodeo");
}

fn add(contest: &mut Contest, n: usize) {
    let words: Rc<[String]> = words(n).into();
    let new = words.clone();
    contest.consume(
        "Rodeo",
        n,
        || Lasso::with_hasher(RandomState::default()),
        move |mut rodeo| {
            new.iter().for_each(|word| {
                rodeo.get_or_intern(word);
            });
            rodeo
        },
    );
    contest.consume("tine", n, Interner::<Text>::new, move |interner| {
        words.iter().for_each(|word| {
            interner.intern(word.as_str());
        });
        interner
    });
}

/// As many symbols as this are resolved in a turn.
const TURN: usize = 1 << 12;

fn resolve(contest: &mut Contest, n: usize) {
    let order: Vec<usize> = Places::new(n).several(TURN).to_vec();
    let rodeo = lasso(n);
    let symbols: Vec<Spur> = words(n).iter().filter_map(|word| rodeo.get(word)).collect();
    let symbols: Vec<Spur> = order.iter().map(|&place| symbols[place]).collect();
    contest.repeat("Rodeo", TURN, move || {
        symbols.iter().for_each(|symbol| {
            black_box(rodeo.resolve(symbol));
        });
    });
    let interner = ours(n);
    let symbols: Vec<Symbol> = interner.iter().map(|(symbol, _)| symbol).collect();
    let symbols: Vec<Symbol> = order.iter().map(|&place| symbols[place]).collect();
    contest.repeat("tine", TURN, move || {
        symbols.iter().for_each(|&symbol| {
            black_box(interner.resolve(symbol));
        });
    });
    contest.within_ns(0.6);
}

fn bytes(contest: &mut Contest, n: usize) {
    contest.bytes(
        "Rodeo",
        n,
        move || words(n),
        |words| {
            let mut rodeo = Lasso::with_hasher(RandomState::default());
            words.iter().for_each(|word| {
                rodeo.get_or_intern(word);
            });
            rodeo
        },
    );
    contest.bytes(
        "tine",
        n,
        move || words(n),
        |words| {
            let interner = Interner::<Text>::new();
            words.iter().for_each(|word| {
                interner.intern(word.as_str());
            });
            interner
        },
    );
    contest.within_bytes(48.0);
}
