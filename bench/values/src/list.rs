//! [`List`] beside `Vec` and the sequences of im, imbl, rpds and ecow.

use std::hint::black_box;

use ecow::EcoVec;
use tine_values::List;

use crate::contest::{Contest, Row};
use crate::data::{Places, shuffled};

const ALL: &[usize] = &[10, 1_000, 100_000, 1_000_000];
const LARGE: &[usize] = &[1_000_000];

pub(crate) const ROWS: &[Row] = &[
    Row::timed("list-clone", "list: clone, drop", ALL, clone),
    Row::timed(
        "list-clone-threads",
        "list: two threads clone and drop one",
        LARGE,
        clone_in_threads,
    ),
    Row::timed("list-version", "list: clone, set one, drop", ALL, version),
    Row::timed("list-push", "list: push, sole owner", ALL, push),
    Row::timed(
        "list-push-front",
        "list: push to the front, sole owner",
        ALL,
        push_front,
    ),
    Row::timed("list-set", "list: set, sole owner", ALL, set),
    Row::timed("list-get", "list: get", ALL, get),
    Row::timed("list-iterate", "list: sum of all, by element", ALL, iterate),
    Row::timed(
        "list-iterate-chunks",
        "list: sum of all, by chunk",
        ALL,
        iterate_chunks,
    ),
    Row::timed(
        "list-insert",
        "list: insert in the middle, sole owner",
        ALL,
        insert,
    ),
    Row::timed(
        "list-drain",
        "list: drain ten in the middle and push as many, sole owner",
        ALL,
        drain,
    ),
    Row::timed(
        "list-split-append",
        "list: split in two and append, sole owner",
        ALL,
        split_append,
    ),
    Row::timed("list-build", "list: collect an iterator", ALL, build),
    Row::timed("list-drop", "list: drop", ALL, drop_all),
    Row::timed("list-concat", "list: concatenate two", ALL, concat),
    Row::timed("list-split", "list: split a clone", ALL, split),
    Row::timed("list-slice", "list: slice the middle half", ALL, slice),
    Row::timed("list-eq", "list: ==, ten changes apart", LARGE, eq),
    Row::timed("list-diff", "list: diff, ten changes apart", LARGE, diff),
    Row::timed(
        "list-merge",
        "list: merge five changes with five others",
        LARGE,
        merge,
    ),
    Row::weighed("list-bytes", "list: bytes of an element", ALL, bytes_of_all),
    Row::weighed(
        "list-version-bytes",
        "list: bytes of a version with one write",
        &[100_000],
        bytes_of_version,
    ),
];

type Im = im::Vector<u64>;
type Imbl = imbl::Vector<u64>;
type Rpds = rpds::VectorSync<u64>;

fn numbers(n: usize) -> impl Iterator<Item = u64> {
    0..n as u64
}

fn clone(contest: &mut Contest, n: usize) {
    let arc = triomphe::Arc::new(numbers(n).collect::<Vec<_>>());
    contest.repeat("triomphe", 1, move || arc.clone());
    let vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 1, move || vec.clone());
    let imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", 1, move || imbl.clone());
    let ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || ours.clone());
    contest.at_most(1.1, "triomphe");
}

fn clone_in_threads(contest: &mut Contest, n: usize) {
    let arc = triomphe::Arc::new(numbers(n).collect::<Vec<_>>());
    contest.in_threads("triomphe", 2, move || arc.clone());
    let imbl: Imbl = numbers(n).collect();
    contest.in_threads("imbl", 2, move || imbl.clone());
    let ours: List<_> = numbers(n).collect();
    contest.in_threads("tine", 2, move || ours.clone());
    contest.at_most(1.2, "triomphe");
}

fn version(contest: &mut Contest, n: usize) {
    let places = Places::new(n);
    let (vec, mut at) = (numbers(n).collect::<Vec<_>>(), places.clone());
    contest.repeat("Vec", 1, move || {
        let mut version = vec.clone();
        version[at.next()] = 1;
        version
    });
    let (eco, mut at) = (numbers(n).collect::<EcoVec<_>>(), places.clone());
    contest.repeat("ecow", 1, move || {
        let mut version = eco.clone();
        version.make_mut()[at.next()] = 1;
        version
    });
    let (im, mut at) = (numbers(n).collect::<Im>(), places.clone());
    contest.repeat("im", 1, move || {
        let mut version = im.clone();
        version.set(at.next(), 1);
        version
    });
    let (imbl, mut at) = (numbers(n).collect::<Imbl>(), places.clone());
    contest.repeat("imbl", 1, move || {
        let mut version = imbl.clone();
        version.set(at.next(), 1);
        version
    });
    let (rpds, mut at) = (numbers(n).collect::<Rpds>(), places.clone());
    contest.repeat("rpds", 1, move || {
        let mut version = rpds.clone();
        version.set_mut(at.next(), 1);
        version
    });
    let (ours, mut at) = (numbers(n).collect::<List<_>>(), places);
    contest.repeat("tine", 1, move || {
        let mut version = ours.clone();
        version[at.next()] = 1;
        version
    });
    match n {
        0..=1_000 => contest.at_most(1.5, "Vec"),
        // What 700 ns and 1.2 us are where imbl takes 1.95 and 3.55 us.
        1_001..=100_000 => {
            contest.at_most(0.36, "imbl");
            contest.within_ns(700.0);
        }
        _ => {
            contest.at_most(0.34, "imbl");
            contest.within_ns(1_200.0);
        }
    }
}

fn push(contest: &mut Contest, n: usize) {
    contest.consume("Vec", n, Vec::new, move |mut list| {
        numbers(n).for_each(|number| list.push(black_box(number)));
        list
    });
    contest.consume("ecow", n, EcoVec::new, move |mut list| {
        numbers(n).for_each(|number| list.push(black_box(number)));
        list
    });
    contest.consume("im", n, Im::new, move |mut list| {
        numbers(n).for_each(|number| list.push_back(black_box(number)));
        list
    });
    contest.consume("imbl", n, Imbl::new, move |mut list| {
        numbers(n).for_each(|number| list.push_back(black_box(number)));
        list
    });
    contest.consume("tine", n, List::new, move |mut list| {
        numbers(n).for_each(|number| list.push(black_box(number)));
        list
    });
    contest.at_most(1.5, "Vec");
}

fn push_front(contest: &mut Contest, n: usize) {
    contest.consume("VecDeque", n, std::collections::VecDeque::new, move |mut list| {
        numbers(n).for_each(|number| list.push_front(black_box(number)));
        list
    });
    contest.consume("imbl", n, Imbl::new, move |mut list| {
        numbers(n).for_each(|number| list.push_front(black_box(number)));
        list
    });
    contest.consume("tine", n, List::new, move |mut list| {
        numbers(n).for_each(|number| list.push_front(black_box(number)));
        list
    });
}

/// How many elements are read or written in one go.
const TURNS: usize = 1_000;

fn set(contest: &mut Contest, n: usize) {
    let places = Places::new(n);
    let (mut vec, mut at) = (numbers(n).collect::<Vec<_>>(), places.clone());
    contest.repeat("Vec", TURNS, move || {
        at.several(TURNS).iter().for_each(|&place| vec[place] = 7);
    });
    let (mut eco, mut at) = (numbers(n).collect::<EcoVec<_>>(), places.clone());
    contest.repeat("ecow", TURNS, move || {
        at.several(TURNS)
            .iter()
            .for_each(|&place| eco.make_mut()[place] = 7);
    });
    let (mut im, mut at) = (numbers(n).collect::<Im>(), places.clone());
    contest.repeat("im", TURNS, move || {
        at.several(TURNS).iter().for_each(|&place| im[place] = 7);
    });
    let (mut imbl, mut at) = (numbers(n).collect::<Imbl>(), places.clone());
    contest.repeat("imbl", TURNS, move || {
        at.several(TURNS).iter().for_each(|&place| imbl[place] = 7);
    });
    let (mut ours, mut at) = (numbers(n).collect::<List<_>>(), places);
    contest.repeat("tine", TURNS, move || {
        at.several(TURNS).iter().for_each(|&place| ours[place] = 7);
    });
    contest.at_most(if n <= 1_000 { 2.0 } else { 10.0 }, "Vec");
}

fn get(contest: &mut Contest, n: usize) {
    let places = Places::new(n);
    let (vec, mut at) = (numbers(n).collect::<Vec<_>>(), places.clone());
    contest.repeat("Vec", TURNS, move || {
        at.several(TURNS).iter().map(|&place| vec[place]).sum::<u64>()
    });
    let (im, mut at) = (numbers(n).collect::<Im>(), places.clone());
    contest.repeat("im", TURNS, move || {
        at.several(TURNS).iter().map(|&place| im[place]).sum::<u64>()
    });
    let (imbl, mut at) = (numbers(n).collect::<Imbl>(), places.clone());
    contest.repeat("imbl", TURNS, move || {
        at.several(TURNS).iter().map(|&place| imbl[place]).sum::<u64>()
    });
    let (rpds, mut at) = (numbers(n).collect::<Rpds>(), places.clone());
    contest.repeat("rpds", TURNS, move || {
        at.several(TURNS).iter().map(|&place| rpds[place]).sum::<u64>()
    });
    let (ours, mut at) = (numbers(n).collect::<List<_>>(), places);
    contest.repeat("tine", TURNS, move || {
        at.several(TURNS).iter().map(|&place| ours[place]).sum::<u64>()
    });
    contest.at_most(if n <= 1_000 { 2.0 } else { 4.0 }, "Vec");
}

fn iterate(contest: &mut Contest, n: usize) {
    let vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", n, move || vec.iter().sum::<u64>());
    let im: Im = numbers(n).collect();
    contest.repeat("im", n, move || im.iter().sum::<u64>());
    let imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", n, move || imbl.iter().sum::<u64>());
    let ours: List<_> = numbers(n).collect();
    let same = ours.clone();
    contest.repeat("tine, a for loop", n, move || {
        let mut sum = 0;
        for number in &same {
            sum += *number;
        }
        sum
    });
    contest.repeat("tine", n, move || ours.iter().sum::<u64>());
    contest.at_most(1.5, "Vec");
}

fn iterate_chunks(contest: &mut Contest, n: usize) {
    let vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", n, move || vec.iter().sum::<u64>());
    let imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", n, move || {
        imbl.leaves().map(|chunk| chunk.iter().sum::<u64>()).sum::<u64>()
    });
    let ours: List<_> = numbers(n).collect();
    contest.repeat("tine", n, move || {
        ours.chunks().map(|chunk| chunk.iter().sum::<u64>()).sum::<u64>()
    });
    contest.at_most(1.1, "Vec");
}

fn insert(contest: &mut Contest, n: usize) {
    let mut vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 2, move || {
        vec.insert(n / 2, 1);
        vec.remove(n / 2)
    });
    let mut im: Im = numbers(n).collect();
    contest.repeat("im", 2, move || {
        im.insert(n / 2, 1);
        im.remove(n / 2)
    });
    let mut imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", 2, move || {
        imbl.insert(n / 2, 1);
        imbl.remove(n / 2)
    });
    let mut ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 2, move || {
        ours.insert(n / 2, 1);
        ours.remove(n / 2)
    });
    contest.note("an insertion and the removal of what was inserted, each counted as one");
    if n == 1_000_000 {
        contest.at_most(0.02, "Vec");
    }
}

fn drain(contest: &mut Contest, n: usize) {
    let from = (n / 2).saturating_sub(5);
    let mut vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 1, move || {
        let drained = vec.drain(from..from + 10).sum::<u64>();
        numbers(10).for_each(|number| vec.push(number));
        drained
    });
    let mut ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || {
        let drained = ours.drain(from..from + 10).sum::<u64>();
        numbers(10).for_each(|number| ours.push(number));
        drained
    });
    reach_microseconds(contest, n);
}

fn split_append(contest: &mut Contest, n: usize) {
    let at = n / 2 + 1;
    let mut vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 1, move || {
        let mut right = vec.split_off(at);
        vec.append(&mut right);
    });
    let mut imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", 1, move || {
        let right = imbl.split_off(at);
        imbl.append(right);
    });
    let mut ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || {
        let mut right = ours.split_off(at);
        ours.append(&mut right);
    });
    reach_microseconds(contest, n);
}

fn build(contest: &mut Contest, n: usize) {
    let plain = || move || numbers(n).map(|number| number ^ 1);
    let numbers = plain();
    contest.consume("Vec", n, || (), move |()| numbers().collect::<Vec<_>>());
    let numbers = plain();
    contest.consume("im", n, || (), move |()| numbers().collect::<Im>());
    let numbers = plain();
    contest.consume("imbl", n, || (), move |()| numbers().collect::<Imbl>());
    let numbers = plain();
    contest.consume("tine", n, || (), move |()| numbers().collect::<List<_>>());
    contest.at_most(1.3, "Vec");
}

fn drop_all(contest: &mut Contest, n: usize) {
    contest.consume("Vec", n, move || numbers(n).collect::<Vec<_>>(), drop);
    contest.consume("im", n, move || numbers(n).collect::<Im>(), drop);
    contest.consume("imbl", n, move || numbers(n).collect::<Imbl>(), drop);
    contest.consume("tine", n, move || numbers(n).collect::<List<_>>(), drop);
    contest.at_most(2.0, "Vec");
}

fn reach_microseconds(contest: &mut Contest, n: usize) {
    if n == 1_000_000 {
        contest.within_ns(5_000.0);
    } else {
        contest.at_most(1.0, "Vec");
    }
}

fn concat(contest: &mut Contest, n: usize) {
    let vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 1, move || [vec.as_slice(), vec.as_slice()].concat());
    let im: Im = numbers(n).collect();
    contest.repeat("im", 1, move || {
        let mut all = im.clone();
        all.append(im.clone());
        all
    });
    let imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", 1, move || {
        let mut all = imbl.clone();
        all.append(imbl.clone());
        all
    });
    let ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || ours.concat(&ours));
    reach_microseconds(contest, n);
}

fn split(contest: &mut Contest, n: usize) {
    let at = n / 2 + 1;
    let vec: Vec<_> = numbers(n).collect();
    contest.repeat("Vec", 1, move || {
        let mut left = vec.clone();
        let right = left.split_off(at);
        (left, right)
    });
    let im: Im = numbers(n).collect();
    contest.repeat("im", 1, move || im.clone().split_at(at));
    let imbl: Imbl = numbers(n).collect();
    contest.repeat("imbl", 1, move || imbl.clone().split_at(at));
    let ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || {
        let mut left = ours.clone();
        let right = left.split_off(at);
        (left, right)
    });
    reach_microseconds(contest, n);
}

fn slice(contest: &mut Contest, n: usize) {
    let range = n / 4 + 1..n - n / 4;
    let (vec, part) = (numbers(n).collect::<Vec<_>>(), range.clone());
    contest.repeat("Vec", 1, move || vec[part.clone()].to_vec());
    let (im, part) = (numbers(n).collect::<Im>(), range.clone());
    contest.repeat("im", 1, move || im.clone().slice(part.clone()));
    let (imbl, part) = (numbers(n).collect::<Imbl>(), range.clone());
    contest.repeat("imbl", 1, move || imbl.clone().slice(part.clone()));
    let ours: List<_> = numbers(n).collect();
    contest.repeat("tine", 1, move || ours.slice(range.clone()));
    reach_microseconds(contest, n);
}

/// Returns a list, and one with ten changes.
fn two_versions(n: usize) -> (List<u64>, List<u64>) {
    let old: List<_> = numbers(n).collect();
    let mut new = old.clone();
    for at in shuffled(n).into_iter().take(10) {
        new[at] = 0;
    }
    (old, new)
}

fn eq(contest: &mut Contest, n: usize) {
    let vec: Vec<_> = numbers(n).collect();
    let other = vec.clone();
    contest.repeat("Vec", 1, move || vec == other);
    let imbl: Imbl = numbers(n).collect();
    let mut other = imbl.clone();
    for at in shuffled(n).into_iter().take(10) {
        other[at] = at as u64;
    }
    contest.repeat("imbl", 1, move || imbl == other);
    let (ours, mut other) = two_versions(n);
    // Equal again, in leaves of its own.
    for at in shuffled(n).into_iter().take(10) {
        other[at] = at as u64;
    }
    contest.repeat("tine", 1, move || ours == other);
    contest.note("equal, in ten leaves not shared");
    contest.within_ns(10_000.0);
}

fn diff(contest: &mut Contest, n: usize) {
    let (old, new): (Vec<_>, Vec<_>) = (numbers(n).collect(), numbers(n).collect());
    contest.repeat("Vec, ==", 1, move || old == new);
    let (old, new) = two_versions(n);
    contest.repeat("tine", 1, move || old.diff(&new).count());
    contest.within_ns(10_000.0);
}

fn merge(contest: &mut Contest, n: usize) {
    let (old, new): (Vec<_>, Vec<_>) = (numbers(n).collect(), numbers(n).collect());
    contest.repeat("Vec, ==", 1, move || old == new);
    let base: List<_> = numbers(n).collect();
    let (mut ours, mut theirs) = (base.clone(), base.clone());
    for (turn, at) in shuffled(n).into_iter().take(10).enumerate() {
        let version = if turn % 2 == 0 { &mut ours } else { &mut theirs };
        version[at] = 0;
    }
    contest.repeat("tine", 1, move || {
        base.merge(&ours, &theirs, |_| unreachable!("the changes are apart"))
    });
    contest.within_ns(10_000.0);
}

fn bytes_of_all(contest: &mut Contest, n: usize) {
    contest.bytes("Vec", n, || (), move |()| numbers(n).collect::<Vec<_>>());
    contest.bytes("im", n, || (), move |()| numbers(n).collect::<Im>());
    contest.bytes("imbl", n, || (), move |()| numbers(n).collect::<Imbl>());
    contest.bytes("rpds", n, || (), move |()| numbers(n).collect::<Rpds>());
    contest.bytes("tine", n, || (), move |()| numbers(n).collect::<List<_>>());
    contest.at_most(if n <= 10 { 1.5 } else { 1.3 }, "Vec");
}

fn bytes_of_version(contest: &mut Contest, n: usize) {
    contest.bytes(
        "imbl",
        1,
        move || numbers(n).collect::<Imbl>(),
        move |list| {
            let mut version = list.clone();
            version[n / 3] = 1;
            version
        },
    );
    contest.bytes(
        "rpds",
        1,
        move || numbers(n).collect::<Rpds>(),
        move |list| list.set(n / 3, 1),
    );
    contest.bytes(
        "tine",
        1,
        move || numbers(n).collect::<List<_>>(),
        move |list| {
            let mut version = list.clone();
            version[n / 3] = 1;
            version
        },
    );
    contest.within_bytes(2_500.0);
}
