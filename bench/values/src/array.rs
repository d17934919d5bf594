//! [`Array`] beside PHP's own. PHP is run in the row and takes its times itself, by `hrtime`, without its loop's: those of the
//! same loop with nothing in it are taken off. Where there is no `php`, ours is alone.

use std::hint::black_box;
use std::process::Command;

use tine_values::{Array, Text};

use crate::contest::{Contest, Row};
use crate::data::Places;

pub(crate) const ROWS: &[Row] = &[
    Row::timed("array-read", "array: $a[$i]", &[1_000, 100_000], read),
    Row::timed("array-write", "array: $a[$i] = $i", &[1_000, 100_000], write),
    Row::timed(
        "array-append",
        "array: $a[] = $i, from nothing",
        &[1_000, 100_000],
        append,
    ),
    Row::timed(
        "array-version",
        "array: $b = $a; $b[$i] = 1",
        &[1_000, 100_000],
        version,
    ),
    Row::timed(
        "array-text-read",
        "array: $a[\"key\"]",
        &[1_000, 100_000],
        read_texts,
    ),
    Row::timed(
        "array-text-version",
        "array: $b = $a; $b[\"key\"] = 1",
        &[1_000, 100_000],
        text_version,
    ),
];

/// What PHP does: `body` again and again, with `$i` below `$n`.
struct Php {
    set_up: &'static str,
    /// Before each `$n` of them.
    before: &'static str,
    body: &'static str,
    /// What else there is in `body` that is not to count.
    beside: &'static str,
}

/// How many operations PHP does for one time.
const OPERATIONS: usize = 200_000;

impl Php {
    /// Returns the seconds that an operation takes, the median of five; `None` without a PHP.
    fn time(&self, n: usize, operations: usize) -> Option<f64> {
        let Self {
            set_up,
            before,
            body,
            beside,
        } = self;
        let turns = operations.div_ceil(n.min(operations));
        let script = format!(
            "function f() {{ $n = {n}; {set_up} $times = []; for ($q = 0; $q < 5; $q++) {{ \
             $t = hrtime(true); for ($r = 0; $r < {turns}; $r++) {{ {before} for ($i = 0; $i < $n; $i++) {{ {body} }} }} \
             $whole = hrtime(true) - $t; \
             $t = hrtime(true); for ($r = 0; $r < {turns}; $r++) {{ for ($i = 0; $i < $n; $i++) {{ {beside} }} }} \
             $times[] = ($whole - (hrtime(true) - $t)) / ($n * {turns}); }} sort($times); echo $times[2]; }} f();"
        );
        let output = Command::new("php")
            .args(["-n", "-d", "memory_limit=2G", "-r", &script])
            .output()
            .ok()?;
        let nanoseconds: f64 = String::from_utf8(output.stdout).ok()?.trim().parse().ok()?;
        Some(nanoseconds * 1e-9)
    }

    fn enter(self, contest: &mut Contest, n: usize, operations: usize) {
        if self.time(1, 1).is_none() {
            contest.note("no `php`: apt-get install php-cli");
            return;
        }
        contest.timed_elsewhere("PHP", move || self.time(n, operations).unwrap_or(f64::NAN));
    }
}

fn numbers(n: usize) -> Array {
    Array::from_list(0..n as i64)
}

fn keys(n: usize) -> Vec<Text> {
    (0..n)
        .map(|number| Text::from(format!("key number {number}")))
        .collect()
}

fn texts(n: usize) -> Array {
    keys(n).into_iter().zip(0_i64..).collect()
}

const TEXTS: &str =
    "$a = []; $k = []; for ($i = 0; $i < $n; $i++) { $k[] = \"key number $i\"; $a[$k[$i]] = $i; }";

fn read(contest: &mut Contest, n: usize) {
    let php = Php {
        set_up: "$a = range(0, $n - 1);",
        before: "",
        body: "$x = $a[$i];",
        beside: "",
    };
    php.enter(contest, n, OPERATIONS);
    let array = numbers(n);
    contest.repeat("tine", n, move || {
        (0..n as i64).for_each(|key| {
            black_box(array.get(key));
        });
    });
    contest.at_most(1.0, "PHP");
}

fn write(contest: &mut Contest, n: usize) {
    let php = Php {
        set_up: "$a = range(0, $n - 1);",
        before: "",
        body: "$a[$i] = $i;",
        beside: "",
    };
    php.enter(contest, n, OPERATIONS);
    let mut array = numbers(n);
    contest.repeat("tine", n, move || {
        (0..n as i64).for_each(|key| {
            black_box(array.insert(key, key));
        });
    });
    contest.at_most(1.0, "PHP");
}

fn append(contest: &mut Contest, n: usize) {
    let php = Php {
        set_up: "",
        before: "$a = [];",
        body: "$a[] = $i;",
        beside: "",
    };
    php.enter(contest, n, OPERATIONS);
    contest.repeat("tine", n, move || {
        let mut array = Array::new();
        (0..n as i64).for_each(|value| {
            array.push(value);
        });
        array
    });
    contest.at_most(1.0, "PHP");
}

/// So many copies PHP makes for one time.
const COPIES: usize = 100;

fn version(contest: &mut Contest, n: usize) {
    let php = Php {
        set_up: "$m = $n; $a = range(0, $m - 1); $n = 100;",
        before: "",
        body: "$b = $a; $b[($i * 7919) % $m] = 1;",
        beside: "$x = ($i * 7919) % $m;",
    };
    php.enter(contest, n, COPIES);
    let (array, mut places) = (numbers(n), Places::new(n));
    contest.repeat("tine", 1, move || {
        let mut version = array.clone();
        version.insert(places.next() as i64, 1);
        version
    });
    contest.at_most(if n > 1_000 { 0.05 } else { 1.0 }, "PHP");
}

fn read_texts(contest: &mut Contest, n: usize) {
    let php = Php {
        set_up: TEXTS,
        before: "",
        body: "$x = $a[$k[$i]];",
        beside: "$x = $k[$i];",
    };
    php.enter(contest, n, OPERATIONS);
    let (array, keys) = (texts(n), keys(n));
    contest.repeat("tine", n, move || {
        keys.iter().for_each(|key| {
            black_box(array.get(key));
        });
    });
    contest.at_most(1.0, "PHP");
}

fn text_version(contest: &mut Contest, n: usize) {
    let set_up = "$m = $n; $a = []; $k = []; for ($i = 0; $i < $m; $i++) { $k[] = \"key number $i\"; $a[$k[$i]] = $i; } $n = 100;";
    let php = Php {
        set_up,
        before: "",
        body: "$b = $a; $b[$k[($i * 7919) % $m]] = 1;",
        beside: "$x = $k[($i * 7919) % $m];",
    };
    php.enter(contest, n, COPIES);
    let (array, keys, mut places) = (texts(n), keys(n), Places::new(n));
    contest.repeat("tine", 1, move || {
        let mut version = array.clone();
        version.insert(keys[places.next()].clone(), 1);
        version
    });
    contest.at_most(if n > 1_000 { 0.05 } else { 1.0 }, "PHP");
}
