//! [`Text`] beside `String`, `Arc<str>` and the small strings of ecow, hipstr and compact_str.

use std::hint::black_box;
use std::sync::Arc;

use compact_str::CompactString;
use ecow::EcoString;
use hipstr::HipStr;
use tine_values::Text;

use crate::contest::{Contest, Row};

type Hip = HipStr<'static>;

/// Inline in all that inline anything, inline in those of 24 bytes, and on the heap.
const LENGTHS: &[usize] = &[10, 20, 64, 1000, 100_000];
const HEAP: &[usize] = &[64, 1000, 100_000, 1_000_000];

pub(crate) const ROWS: &[Row] = &[
    Row::timed("text-clone", "clone, drop", LENGTHS, clone),
    Row::timed(
        "text-clone-threads",
        "two threads clone and drop one text",
        &[1000],
        clone_in_threads,
    ),
    Row::timed("text-new", "make from a &str, drop", LENGTHS, new),
    Row::timed("text-read", "as_str", &[10, 1000], read),
    Row::timed("text-slice", "take the middle half, drop", HEAP, slice),
    Row::timed(
        "text-slice-small",
        "take the middle hundredth, drop: below an eighth it is a copy",
        HEAP,
        slice_small,
    ),
    Row::timed(
        "text-push",
        "sole owner: push_str of 10 bytes until there are n",
        &[1000, 100_000],
        push_str,
    ),
    Row::timed(
        "text-push-char",
        "sole owner: push of a character until there are n",
        &[1000, 100_000],
        push,
    ),
    Row::timed(
        "text-push-shared",
        "clone, push, drop",
        &[15, 1000, 100_000],
        push_shared,
    ),
    Row::timed("text-equal", "==, of a clone", &[10, 1000, 1_000_000], equal),
    Row::timed(
        "text-diff",
        "diff with a clone, and with a text that has 10 changes",
        &[1000, 1_000_000],
        diff,
    ),
    Row::weighed("text-bytes", "heap bytes of a text", LENGTHS, bytes),
];

fn sample(n: usize) -> String {
    ('a'..='z').cycle().take(n).collect()
}

/// Does one thing with each contestant that is made from a `&str`.
macro_rules! each {
    ($contest:ident, $text:expr, $($name:literal: $type:ty),*; |$value:ident| $operation:expr) => {$(
        let $value = <$type>::from(&*$text);
        $contest.repeat($name, 1, move || $operation);
    )*};
}

fn clone(contest: &mut Contest, n: usize) {
    let text = sample(n);
    each!(contest, text, "String": String, "Arc<str>": Arc<str>, "ecow": EcoString, "hipstr": Hip,
        "compact_str": CompactString; |value| value.clone());
    let triomphe = triomphe::Arc::new(0_u8);
    contest.repeat("triomphe", 1, move || triomphe.clone());
    each!(contest, text, "tine": Text; |value| value.clone());
    if n <= Text::INLINE {
        contest.within_ns(1.6);
    } else {
        contest.at_most(1.1, "triomphe");
    }
}

fn clone_in_threads(contest: &mut Contest, n: usize) {
    let (arc, text) = (Arc::<str>::from(sample(n)), Text::from(sample(n)));
    let triomphe = triomphe::Arc::new(0_u8);
    contest.in_threads("Arc<str>", 2, move || arc.clone());
    contest.in_threads("triomphe", 2, move || triomphe.clone());
    contest.in_threads("tine", 2, move || text.clone());
    contest.at_most(1.2, "triomphe");
}

fn new(contest: &mut Contest, n: usize) {
    let text = sample(n);
    macro_rules! from {
        ($($name:literal: $type:ty),*) => {$(
            {
                let text = text.clone();
                contest.repeat($name, 1, move || <$type>::from(black_box(text.as_str())));
            }
        )*};
    }
    from!("String": String, "Arc<str>": Arc<str>, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString,
        "tine": Text);
}

fn read(contest: &mut Contest, n: usize) {
    let text = sample(n);
    each!(contest, text, "String": String, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString, "tine": Text;
        |value| black_box(&value).as_str().len());
    contest.within_ns(0.8);
}

fn slice(contest: &mut Contest, n: usize) {
    let text = sample(n);
    let middle = n / 4..n / 4 * 3;
    let range = middle.clone();
    each!(contest, text, "String": String; |value| String::from(&value[range.clone()]));
    let range = middle.clone();
    each!(contest, text, "hipstr": Hip; |value| value.slice(range.clone()));
    let triomphe = triomphe::Arc::new(0_u8);
    contest.repeat("triomphe", 1, move || triomphe.clone());
    each!(contest, text, "tine": Text; |value| value.slice(middle.clone()));
    contest.within_ns(20.0);
}

fn slice_small(contest: &mut Contest, n: usize) {
    let text = sample(n);
    let middle = n / 2..n / 2 + n / 100;
    let range = middle.clone();
    each!(contest, text, "String": String; |value| String::from(&value[range.clone()]));
    let range = middle.clone();
    each!(contest, text, "hipstr": Hip; |value| value.slice(range.clone()));
    each!(contest, text, "tine": Text; |value| value.slice(middle.clone()));
    contest.at_most(1.3, "String");
}

/// Extends an empty one to `n` bytes, for each contestant.
macro_rules! extended {
    ($contest:ident, $count:expr, $($name:literal: $type:ty),*; |$value:ident| $push:expr) => {$(
        let count = $count;
        $contest.repeat($name, count, move || {
            let mut $value = <$type>::default();
            for _ in 0..count {
                $push;
            }
            $value
        });
    )*};
}

fn push_str(contest: &mut Contest, n: usize) {
    extended!(contest, n / 10, "String": String, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString,
        "tine": Text; |value| value.push_str(black_box("0123456789")));
    contest.at_most(1.3, "String");
}

fn push(contest: &mut Contest, n: usize) {
    extended!(contest, n, "String": String, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString,
        "tine": Text; |value| value.push(black_box('x')));
    contest.at_most(1.3, "String");
}

fn push_shared(contest: &mut Contest, n: usize) {
    let text = sample(n);
    each!(contest, text, "String": String, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString, "tine": Text;
    |value| {
        let mut clone = value.clone();
        clone.push('x');
        clone
    });
    contest.at_most(1.0, "String");
}

fn equal(contest: &mut Contest, n: usize) {
    let text = sample(n);
    macro_rules! compared {
        ($($name:literal: $type:ty),*) => {$(
            let one = <$type>::from(&*text);
            let other = one.clone();
            contest.repeat($name, 1, move || black_box(&one) == black_box(&other));
        )*};
    }
    compared!("String": String, "Arc<str>": Arc<str>, "hipstr": Hip, "tine": Text);
    contest.at_most(1.1, "String");
}

fn diff(contest: &mut Contest, n: usize) {
    let one = Text::from(sample(n));
    let mut changed = one.clone();
    for at in (n / 20..n).step_by(n / 10) {
        changed.replace_range(at..=at, "!");
    }
    let (text, other) = (sample(n), sample(n));
    contest.repeat("== of two Strings", 1, move || {
        black_box(&text) == black_box(&other)
    });
    let (base, clone) = (one.clone(), one.clone());
    contest.repeat("tine", 1, move || base.diff(black_box(&clone)).count());
    contest.repeat("tine, 10 changes", 1, move || {
        one.diff(black_box(&changed)).count()
    });
    contest.within_ns(10_000.0);
    contest.note("a text is one block: where two have no memory in common, what is equal has to be compared");
}

fn bytes(contest: &mut Contest, n: usize) {
    let text = sample(n);
    macro_rules! bytes_of {
        ($($name:literal: $type:ty),*) => {$(
            {
                let text = text.clone();
                contest.bytes($name, 1, || (), move |()| <$type>::from(text.as_str()));
            }
        )*};
    }
    bytes_of!("String": String, "Arc<str>": Arc<str>, "ecow": EcoString, "hipstr": Hip, "compact_str": CompactString,
        "tine": Text);
    if n > 1000 {
        contest.at_most(1.3, "String");
    }
}
