//! Goal: arrays and references do what PHP's do, to the last key and the last reference.
//! Method: for each seed a script of random operations is written as it is carried out here: every operation on PHP's variables is one on an
//! array of variables. The script prints the state now and then: all variables, with keys, order, the next key of each array, and whether
//! an element is a reference that others have. PHP runs it, and has to print what was expected.
//!
//! `PROPTEST_CASES=1000 cargo test -p tine-values --test values php` runs more of them, or, as under valgrind, fewer.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::process::{Command, Stdio};
use std::thread;

use proptest::prelude::ProptestConfig;
use tine_values::{Array, Key, KeyRef, Object, Reference, Slot, Value};

/// What the scripts begin with. `d` prints a value, `c` compares two by what they print.
const PRELUDE: &str = r#"<?php
error_reporting(0);
function k($k) { return is_int($k) ? $k : "'$k'"; }
function d($v) {
    if (is_array($v)) {
        $s = '[';
        foreach ($v as $k => $e) {
            $r = ReflectionReference::fromArrayElement($v, $k) ? '&' : '';
            $s .= k($k) . ':' . $r . d($e) . ',';
        }
        $c = $v;
        $c[] = 0;
        return $s . '|' . array_key_last($c) . ']';
    }
    if (is_object($v)) return 'o' . d($v->p);
    if (is_null($v)) return 'n';
    if (is_bool($v)) return $v ? 't' : 'f';
    if (is_int($v)) return "i$v";
    if (is_float($v)) return 'd' . var_export($v, true);
    return "'$v'";
}
function p($v) { return preg_replace('/&/', '', d($v)); }
function c($a, $b) { return strcmp(p($a), p($b)) <=> 0; }
function kc($a, $b) { return is_int($a) != is_int($b) ? (is_int($a) ? -1 : 1) : (is_int($a) ? $a <=> $b : strcmp($a, $b) <=> 0); }
function s($vs) { foreach ($vs as $k => $v) echo "$k=", (ReflectionReference::fromArrayElement($vs, $k) ? '&' : ''), d($v), ' '; echo "\n"; }
$v = [];
"#;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % end
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// What `d` prints.
fn dump(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push('n'),
        Value::Bool(value) => text.push(if *value { 't' } else { 'f' }),
        Value::Int(value) => write!(text, "i{value}").unwrap(),
        Value::Float(value) => write!(text, "d{value:?}").unwrap(),
        Value::Text(value) => write!(text, "'{value}'").unwrap(),
        Value::Bytes(_) => unreachable!("none is made"),
        Value::Array(array) => {
            text.push('[');
            for (key, slot) in array {
                dump_key(key, text);
                text.push(':');
                dump_slot(slot, text);
                text.push(',');
            }
            write!(text, "|{}]", array.next_key()).unwrap();
        }
        Value::Object(object) => {
            text.push('o');
            dump(&object.get("p").unwrap_or_default(), text);
        }
    }
}

fn dump_key(key: KeyRef<'_>, text: &mut String) {
    match key {
        KeyRef::Int(number) => write!(text, "{number}").unwrap(),
        KeyRef::Text(key) => write!(text, "'{key}'").unwrap(),
    }
}

fn dump_slot(slot: &Slot, text: &mut String) {
    if slot.is_shared_reference() {
        text.push('&');
    }
    dump(&slot.get(), text);
}

/// What `p` prints.
fn plain(value: &Value) -> String {
    let mut text = String::new();
    dump(value, &mut text);
    text.replace('&', "")
}

fn compare(one: &Value, other: &Value) -> Ordering {
    plain(one).cmp(&plain(other))
}

/// `unset`: goes no way that is not there, and separates whatever is on the way, as PHP does.
fn unset(array: &mut Array, keys: &[Key]) {
    match keys {
        [key, rest @ ..] if !rest.is_empty() && array.contains_key(key) => {
            array.update(key.clone(), |value| {
                if let Some(array) = value.as_array_mut() {
                    unset(array, rest);
                }
            });
        }
        [key, ..] => drop(array.remove(key)),
        [] => {}
    }
}

/// A variable, and keys below it.
#[derive(Clone, Debug)]
struct Path(Vec<(Key, String)>);

impl Path {
    fn php(&self) -> String {
        let keys: String = self.0.iter().map(|(_, key)| format!("[{key}]")).collect();
        format!("$v{keys}")
    }

    fn keys(&self) -> Vec<Key> {
        self.0.iter().map(|(key, _)| key.clone()).collect()
    }
}

const VARIABLES: usize = 5;
/// What would be printed longer is cut down.
const LONGEST: usize = 1200;

/// A script and the state that it leads to. The variables are elements of one array, here and there.
struct Twin {
    random: Random,
    variables: Array,
    script: String,
    expected: String,
}

impl Twin {
    fn new(seed: u64) -> Self {
        Self {
            random: Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            variables: Array::new(),
            script: PRELUDE.to_owned(),
            expected: String::new(),
        }
    }

    /// Returns a key as PHP may be told it, with what that converts to.
    fn key(&mut self) -> (Key, String) {
        let number = self.random.below(7) as i64;
        let letter = ["a", "b", "c"][self.random.below(3)];
        let (value, php): (Value, String) = match self.random.below(24) {
            0..=10 => (number.into(), number.to_string()),
            11..=16 => (letter.into(), format!("'{letter}'")),
            17 => (number.to_string().as_str().into(), format!("'{number}'")),
            18 => (format!("0{number}").into(), format!("'0{number}'")),
            19 => (true.into(), "true".into()),
            20 => (false.into(), "false".into()),
            21 => (Value::Null, "null".into()),
            22 => ((number as f64 + 0.7).into(), format!("{number}.7")),
            _ => ((-number).into(), format!("-{number}")),
        };
        (Key::php(&value).unwrap(), php)
    }

    fn variable(&mut self) -> (Key, String) {
        let name = format!("v{}", self.random.below(VARIABLES));
        (Key::from(name.as_str()), format!("'{name}'"))
    }

    /// Returns a path to write to: whatever is on the way is an array, or nothing.
    fn path(&mut self) -> Path {
        let mut path = vec![self.variable()];
        while self.random.one_in(2) && path.len() < 4 && self.is_room(&Path(path.clone())) {
            // Mostly a key that there is.
            let value = self.get(&Path(path.clone()));
            let known = value.as_array().filter(|array| !array.is_empty());
            let known = known.map(|array| array.keys().map(KeyRef::to_key).collect::<Vec<_>>());
            let key = match known {
                Some(keys) if !self.random.one_in(3) => {
                    let key = keys[self.random.below(keys.len())].clone();
                    let php = match &key {
                        Key::Int(number) => number.to_string(),
                        Key::Text(text) => format!("'{text}'"),
                    };
                    (key, php)
                }
                _ => self.key(),
            };
            path.push(key);
        }
        Path(path)
    }

    /// Returns a path that has an array, if one is soon found.
    fn array_path(&mut self) -> Option<Path> {
        (0..6).find_map(|_| {
            let path = self.path();
            self.get(&path).as_array().is_some().then_some(path)
        })
    }

    fn is_room(&self, path: &Path) -> bool {
        matches!(self.get(path), Value::Null | Value::Array(_))
    }

    fn get(&self, path: &Path) -> Value {
        let mut value = Value::Array(self.variables.clone());
        for key in path.keys() {
            let next = value.as_array().and_then(|array| array.get(&key));
            value = next.unwrap_or_default();
        }
        value
    }

    /// Calls `change` with the array that has the last key of the path, and that key.
    fn at<R>(&mut self, path: &Path, change: impl FnOnce(&mut Array, Key) -> R) -> R {
        fn below<R>(array: &mut Array, keys: &[Key], change: impl FnOnce(&mut Array, Key) -> R) -> R {
            let [key, rest @ ..] = keys else { unreachable!() };
            if rest.is_empty() {
                return change(array, key.clone());
            }
            array.update(key.clone(), |value| {
                if value.is_null() {
                    *value = Array::new().into();
                }
                below(value.as_array_mut().expect("an array, or nothing"), rest, change)
            })
        }
        below(&mut self.variables, &path.keys(), change)
    }

    /// Changes the array at a path.
    fn change<R>(&mut self, path: &Path, change: impl FnOnce(&mut Array) -> R) -> R {
        self.at(path, |array, key| {
            array.update(key, |value| {
                if value.is_null() {
                    *value = Array::new().into();
                }
                change(value.as_array_mut().expect("an array"))
            })
        })
    }

    /// Returns the cells through which a path leads, that of its end not among them.
    fn cells_above(&self, path: &Path) -> Vec<Reference> {
        let (mut cells, mut value) = (Vec::new(), Value::Array(self.variables.clone()));
        let keys = path.keys();
        for key in &keys[..keys.len() - 1] {
            let Some(slot) = value.as_array().and_then(|array| array.slot(key).cloned()) else {
                break;
            };
            value = slot.get();
            if let Slot::Reference(reference) = slot {
                cells.push(reference);
            }
        }
        cells
    }

    /// Returns whether a value leads to one of these cells.
    fn leads_to(value: &Value, cells: &[Reference]) -> bool {
        let Value::Array(array) = value else { return false };
        array.iter().any(|(_, slot)| {
            let is_one = |reference: &Reference| cells.iter().any(|cell| cell.ptr_eq(reference));
            matches!(slot, Slot::Reference(reference) if is_one(reference))
                || Self::leads_to(&slot.get(), cells)
        })
    }

    /// Returns a value without arrays in it, and how PHP writes it.
    fn scalar(&mut self) -> (Value, String) {
        let number = self.random.below(20) as i64 - 5;
        match self.random.below(8) {
            0 => (Value::Null, "null".into()),
            1 => (true.into(), "true".into()),
            2 => ((number as f64 + 0.5).into(), format!("{}", number as f64 + 0.5)),
            3 => (format!("t{number}").into(), format!("'t{number}'")),
            _ => (number.into(), number.to_string()),
        }
    }

    fn literal(&mut self) -> (Value, String) {
        let (mut array, mut php) = (Array::new(), String::from("["));
        for _ in 0..self.random.below(6) {
            let (value, written) = self.scalar();
            if self.random.one_in(3) {
                let (key, key_written) = self.key();
                array.insert(key, value);
                write!(php, "{key_written}=>{written},").unwrap();
            } else {
                array.push(value);
                write!(php, "{written},").unwrap();
            }
        }
        (array.into(), php + "]")
    }

    /// Returns a value and what it is in PHP: new, or read at a path. None that would make a circle or what is too long at `to`.
    fn value(&mut self, to: &Path) -> (Value, String) {
        match self.random.below(10) {
            0..=4 => self.scalar(),
            5 | 6 => self.literal(),
            _ => {
                let from = self.path();
                let value = self.get(&from);
                let cells = self.cells_with_end(to);
                if Self::leads_to(&value, &cells) || plain(&value).len() > LONGEST / 4 {
                    self.scalar()
                } else {
                    (value, from.php())
                }
            }
        }
    }

    /// Returns the cells that an element put at a path, or below it, would be in.
    fn cells_with_end(&self, path: &Path) -> Vec<Reference> {
        let mut longer = path.clone();
        longer.0.push((Key::Int(0), String::new()));
        self.cells_above(&longer)
    }

    fn say(&mut self, statement: &str) {
        self.script.push_str(statement);
        self.script.push('\n');
    }

    fn step(&mut self) {
        match self.random.below(40) {
            0..=6 => {
                let to = self.path();
                if !self.is_way_free(&to) {
                    return;
                }
                let (value, php) = self.value(&to);
                self.say(&format!("{} = {php};", to.php()));
                self.at(&to, |array, key| drop(array.insert(key, value)));
            }
            7..=12 => {
                let to = self.path();
                if !self.is_room(&to) || !self.is_way_free(&to) {
                    return;
                }
                let (value, php) = self.value(&to);
                self.say(&format!("{}[] = {php};", to.php()));
                self.change(&to, |array| array.push(value));
            }
            13..=15 => {
                let path = self.path();
                if !self.is_way_free(&path) {
                    return;
                }
                self.say(&format!("unset({});", path.php()));
                unset(&mut self.variables, &path.keys());
            }
            16..=21 => self.bind(),
            22..=31 => self.call(),
            32 | 33 => self.walk(),
            34..=36 => self.walk_by_reference(),
            _ => self.object(),
        }
    }

    /// Returns whether nothing but arrays, or nothing, is on the way, and none of them meets PHP's exceptions from its own rule: see
    /// `php_has_exceptions_from_its_rule_of_the_next_key`.
    fn is_way_free(&self, path: &Path) -> bool {
        (1..path.0.len()).all(|end| {
            let above = self.get(&Path(path.0[..end].to_vec()));
            match (&above, &path.0[end].0) {
                (Value::Null, _) => true,
                (Value::Array(array), Key::Int(number)) => {
                    let is_behind = |key| matches!(key, KeyRef::Int(known) if known < *number);
                    let is_set_back = number + 1 < array.next_key() && array.keys().all(is_behind);
                    let is_first_below_zero = *number < 0 && array.next_key() == 0;
                    array.contains_key(*number) || !(is_set_back || is_first_below_zero)
                }
                (Value::Array(_), Key::Text(_)) => true,
                _ => false,
            }
        })
    }

    fn bind(&mut self) {
        let (from, to) = (self.path(), self.path());
        if !self.is_way_free(&from) {
            return;
        }
        self.say(&format!("$v['t'] = &{};", from.php()));
        let reference = self.at(&from, Array::reference);
        self.variables.bind("t", reference.clone());
        let cells = self.cells_above(&to);
        let is_circle =
            cells.iter().any(|cell| cell.ptr_eq(&reference)) || Self::leads_to(&reference.get(), &cells);
        // Else they would have an owner more than in PHP.
        drop(cells);
        if !is_circle && self.is_way_free(&to) && plain(&reference.get()).len() < LONGEST / 4 {
            self.say(&format!("{} = &$v['t'];", to.php()));
            self.at(&to, |array, key| array.bind(key, reference.clone()));
        }
        drop(reference);
        self.say("unset($v['t']);");
        self.variables.remove("t");
    }

    fn call(&mut self) {
        let Some(path) = self.array_path() else { return };
        let php = path.php();
        let len = self.get(&path).as_array().map_or(0, Array::len);
        let end = self.random.below(len + 1);
        let start = self.random.below(end + 1);
        match self.random.below(10) {
            0 | 1 => {
                self.say(&format!("$v['r'] = array_pop({php});"));
                let popped = self.change(&path, Array::pop).unwrap_or_default();
                self.variables.insert("r", popped);
            }
            2 => {
                self.say(&format!("$v['r'] = array_shift({php});"));
                let popped = self.change(&path, Array::pop_front).unwrap_or_default();
                self.variables.insert("r", popped);
            }
            3 => {
                let ((one, one_php), (other, other_php)) = (self.scalar(), self.scalar());
                self.say(&format!("array_unshift({php}, {one_php}, {other_php});"));
                self.change(&path, |array| array.push_front([one, other]));
            }
            4 | 5 => {
                let (value, value_php) = self.scalar();
                let values = vec![value; self.random.below(3)];
                let list = vec![value_php; values.len()].join(",");
                let count = end - start;
                self.say(&format!(
                    "$v['r'] = array_splice({php}, {start}, {count}, [{list}]);"
                ));
                let removed = self.change(&path, |array| array.splice(start..end, values));
                self.variables.insert("r", removed);
            }
            6 => {
                let count = end - start;
                let keeps = self.random.one_in(2);
                self.say(&format!(
                    "$v['r'] = array_slice({php}, {start}, {count}, {keeps});"
                ));
                let value = self.get(&path);
                let array = value.as_array().expect("an array");
                let part = if keeps {
                    array.slice_with_keys(start..end)
                } else {
                    array.slice(start..end)
                };
                drop(value);
                self.variables.insert("r", part);
            }
            7 => {
                self.say(&format!("usort({php}, 'c');"));
                self.change(&path, |array| array.sort_by(compare));
            }
            8 => {
                self.say(&format!("uasort({php}, 'c');"));
                self.change(&path, |array| {
                    array.sort_pairs_by(|one, other| compare(one.1, other.1));
                });
            }
            _ => {
                self.say(&format!("uksort({php}, 'kc');"));
                self.change(&path, |array| {
                    array.sort_pairs_by(|one, other| one.0.cmp(&other.0));
                });
            }
        }
    }

    /// Goes through an array by value and changes it meanwhile.
    fn walk(&mut self) {
        let Some(path) = self.array_path() else { return };
        let (php, most) = (path.php(), self.random.below(6));
        self.say(&format!(
            "$n = 0; foreach ({php} as $k => $e) {{ if ($n++ == {most}) break; if ($n % 2) {php}[] = $k; else unset({php}[$k]); }} \
             unset($e, $k);"
        ));
        let value = self.get(&path);
        let walk = value.as_array().expect("an array").clone().into_iter();
        drop(value);
        for (turn, (key, element)) in walk.enumerate() {
            if turn == most {
                break;
            }
            // What PHP's loop has at this moment.
            let _element = element;
            if turn % 2 == 0 {
                self.change(&path, |array| array.push(key));
            } else {
                self.change(&path, |array| drop(array.remove(&key)));
            }
        }
    }

    /// Goes through an array by reference and changes it meanwhile; the loop's variable stays what it is then.
    fn walk_by_reference(&mut self) {
        let Some(path) = self.array_path() else { return };
        let Some((Key::Text(name), _)) = path.0.first() else {
            return;
        };
        if name.as_str() == "w" {
            return;
        }
        let (php, most, written) = (path.php(), self.random.below(8), self.random.below(100) as i64);
        let (appends, removes) = (self.random.below(4), self.random.below(6));
        let (replaces, (replace, php_replace)) = (self.random.below(6), self.way_to_replace(&php));
        self.say(&format!(
            "$n = 0; foreach ({php} as $k => &$v['w']) {{ if (is_int($v['w'])) $v['w'] = {written} + $n; if ($n == {appends}) {php}[] = $n; \
             if ($n == {removes}) unset({php}[$k]); if ($n == {replaces}) {{ {php_replace} }} if ($n++ >= {most}) break; }} unset($k);"
        ));
        let mut turn = 0;
        // The loop's variable is bound to what it goes through: outside of the walk, which has the variables.
        let mut last = None;
        self.change(&path, |array| {
            array.for_each_reference(|array, key, reference| {
                last = None;
                if reference.get().as_int().is_some() {
                    reference.set(written + turn as i64);
                }
                last = Some(reference);
                if turn == appends {
                    array.push(turn as i64);
                }
                if turn == removes {
                    array.remove(key);
                }
                if turn == replaces {
                    replace(array);
                }
                turn += 1;
                if turn > most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        });
        if let Some(last) = last {
            self.variables.bind("w", last);
        }
    }

    /// Returns something that puts another array in the place of one, and how PHP says it. It does not move elements: where PHP 8.2
    /// has places of removed ones, its walks skip some then.
    fn way_to_replace(&mut self, php: &str) -> (fn(&mut Array), String) {
        match self.random.below(6) {
            0 => (|array| array.sort_by(compare), format!("usort({php}, 'c');")),
            1 => (
                |array| *array = Array::from_list([7, 8, 9]),
                format!("{php} = [7, 8, 9];"),
            ),
            2 => (
                |array| *array = array.slice(..2.min(array.len())),
                format!("{php} = array_slice({php}, 0, 2);"),
            ),
            _ => (|_| (), String::new()),
        }
    }

    /// Something that is the same for all who have it.
    fn object(&mut self) {
        let to = self.path();
        if !self.is_way_free(&to) {
            return;
        }
        let (value, php) = self.scalar();
        let known = self.get(&to).as_object().cloned();
        if let Some(object) = known {
            self.say(&format!("{}->p = {php};", to.php()));
            object.set("p", value);
        } else {
            self.say(&format!("{} = new stdClass; {}->p = {php};", to.php(), to.php()));
            let object = Object::new("stdClass");
            object.set("p", value);
            self.at(&to, |array, key| drop(array.insert(key, object)));
        }
    }

    /// Prints the state, after what has become too long was dropped.
    fn print(&mut self) {
        let names: Vec<Key> = self.variables.keys().map(KeyRef::to_key).collect();
        for name in names {
            let value = self.variables.get(&name).unwrap_or_default();
            if plain(&value).len() > LONGEST {
                drop(value);
                self.say(&format!("$v['{name}'] = 0;"));
                self.variables.insert(name, 0);
            }
        }
        self.say("s($v);");
        for (key, slot) in &self.variables {
            let Key::Text(name) = key.to_key() else {
                unreachable!()
            };
            write!(self.expected, "{name}=").unwrap();
            dump_slot(slot, &mut self.expected);
            self.expected.push(' ');
        }
        self.expected.push('\n');
    }
}

/// Runs a script and returns what it prints.
fn run(script: &str) -> String {
    let mut php = Command::new("php")
        .args(["-n", "-d", "memory_limit=512M"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("php runs");
    let mut input = php.stdin.take().expect("it has an input");
    let script = script.to_owned();
    let writing = thread::spawn(move || input.write_all(script.as_bytes()));
    let output = php.wait_with_output().expect("php ends");
    writing.join().unwrap().expect("php reads its script");
    String::from_utf8(output.stdout).expect("it prints text")
}

fn has_php() -> bool {
    Command::new("php")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_ok()
}

/// How many operations a script has, and after how many the state is printed.
const STEPS: usize = 2500;
const PRINT_EVERY: usize = 25;

fn check(seed: u64) {
    let mut twin = Twin::new(seed);
    let mut statements = Vec::new();
    for step in 1..=STEPS {
        twin.step();
        if step % PRINT_EVERY == 0 {
            twin.print();
            statements.push(twin.script.len());
        }
    }
    let printed = run(&twin.script);
    let lines = twin
        .expected
        .lines()
        .zip(printed.lines().chain(std::iter::repeat("nothing")));
    for (number, (expected, printed)) in lines.enumerate() {
        if expected != printed {
            let before = statements[number.saturating_sub(1)];
            let since = &twin.script[if number == 0 { PRELUDE.len() } else { before }..statements[number]];
            let last = twin
                .expected
                .lines()
                .nth(number.wrapping_sub(1))
                .unwrap_or_default();
            panic!("seed {seed}\nbefore: {last}\n{since}\nexpected: {expected}\nPHP:      {printed}");
        }
    }
}

#[test]
fn arrays_and_references_do_what_phps_do() {
    if !has_php() {
        eprintln!("skipped: no `php` (apt-get install php-cli)");
        return;
    }
    let seeds = u64::from(ProptestConfig::default().cases);
    // PHP runs in one thread while the other writes the next script.
    thread::scope(|scope| {
        for first in 0..2 {
            scope.spawn(move || (first..seeds).step_by(2).for_each(check));
        }
    });
}

/// The manual says that the next key is above the largest number that ever was a key, also below zero since PHP 8.3. Where PHP's array is
/// packed (not where it is a hash, which depends on its capacity), a key behind the last one sets it back, and what began as `[]` never
/// goes below zero in PHP 8.2. Here the manual holds, and scripts avoid both.
#[test]
fn php_has_exceptions_from_its_rule_of_the_next_key() {
    let mut array = Array::from_list([1, 2, 3]);
    array.remove(2);
    array.remove(1);
    array.insert(1, 5);
    assert_eq!(array.push(6), 3);
    let mut below = Array::new();
    below.insert(-3, 1);
    assert_eq!(below.push(2), -2);
    if has_php() {
        let script = "<?php $a = [1, 2, 3]; unset($a[2], $a[1]); $a[1] = 5; $a[] = 6; echo json_encode($a);";
        assert_eq!(run(script), "[1,5,6]");
        let script = "<?php $a = [-3 => 1]; $a[] = 2; echo json_encode($a);";
        assert_eq!(run(script), r#"{"-3":1,"-2":2}"#);
    }
}
