//! Rows of tables: beside std's `HashMap` and hashbrown's, with numbers as keys and values.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::{Duration, Instant};

use bench_measure::{Comparison, Goal, Result, Sample, Unit, timed};
use rustix::time::{ClockId, clock_gettime};
use tine_memory::SparseTable;

use crate::rows::{TINE, memory_of_this_process};

const STD: &str = "HashMap";
const HASHBROWN: &str = "hashbrown";

/// A map of numbers.
trait Table: Sized {
    fn of_capacity(entries: usize) -> Result<Self>;
    fn put(&mut self, key: u64, value: u64) -> Result;
    fn value(&self, key: u64) -> Option<u64>;
}

/// Grows as it is filled, as tables of sizes that nobody knows do.
impl<S: BuildHasher + Default> Table for HashMap<u64, u64, S> {
    fn of_capacity(_: usize) -> Result<Self> {
        Ok(Self::default())
    }

    fn put(&mut self, key: u64, value: u64) -> Result {
        self.insert(key, value);
        Ok(())
    }

    fn value(&self, key: u64) -> Option<u64> {
        self.get(&key).copied()
    }
}

impl Table for hashbrown::HashMap<u64, u64> {
    fn of_capacity(_: usize) -> Result<Self> {
        Ok(Self::default())
    }

    fn put(&mut self, key: u64, value: u64) -> Result {
        self.insert(key, value);
        Ok(())
    }

    fn value(&self, key: u64) -> Option<u64> {
        self.get(&key).copied()
    }
}

/// Takes addresses for a thousand times as many entries, which is to cost nothing.
impl Table for SparseTable<u64, u64> {
    fn of_capacity(entries: usize) -> Result<Self> {
        Ok(Self::with_capacity(1000 * entries)?)
    }

    fn put(&mut self, key: u64, value: u64) -> Result {
        self.insert(key, value)?;
        Ok(())
    }

    fn value(&self, key: u64) -> Option<u64> {
        self.get(&key).copied()
    }
}

type Std = HashMap<u64, u64, RandomState>;
type Hashbrown = hashbrown::HashMap<u64, u64>;
type Tine = SparseTable<u64, u64>;

/// Returns how many entries are a table's for regions of so many bytes: a million for 1 GiB.
fn entries(bytes: usize) -> usize {
    bytes >> 10
}

/// Different keys at random, the same in each run.
fn keys(count: usize) -> impl Iterator<Item = u64> {
    (1..=count as u64).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    })
}

fn filled<T: Table>(count: usize) -> Result<T> {
    let mut table = T::of_capacity(count)?;
    keys(count).try_for_each(|key| table.put(key, !key))?;
    Ok(table)
}

pub(crate) fn table_bytes(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let count = entries(bytes);
    let title = format!(
        "memory for each of {count} to {} entries of 16 B, on average",
        2 * count
    );
    let mut comparison = Comparison::new(name, title, Unit::Bytes);
    fn mean<T: Table>(count: usize) -> Result<Sample> {
        const STEPS: usize = 20;
        let before = memory_of_this_process()?;
        let mut table = T::of_capacity(2 * count)?;
        let mut keys = keys(2 * count);
        let mut sum = 0.0;
        let mut there = 0;
        for step in 0..=STEPS {
            let wanted = count + count * step / STEPS;
            keys.by_ref()
                .take(wanted - there)
                .try_for_each(|key| table.put(key, !key))?;
            there = wanted;
            let taken = memory_of_this_process()?.saturating_sub(before);
            sum += taken as f64 / there as f64;
        }
        Ok(Sample::new(sum / (STEPS + 1) as f64))
    }
    comparison.add_fn(STD, move |_| mean::<Std>(count));
    comparison.baseline(STD);
    comparison.add_fn(HASHBROWN, move |_| mean::<Hashbrown>(count));
    comparison.add_fn(TINE, move |_| mean::<Tine>(count));
    comparison.target(TINE, Goal::AtMost(0.6, STD.into()));
    comparison.note("VmRSS and VmPTE of /proc/self/status, at 21 sizes");
    Ok(comparison)
}

pub(crate) fn table_worst_insert(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let count = entries(bytes);
    let title = format!("worst insertion from {count} to {} entries", 2 * count);
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    fn worst_of_one<T: Table>(count: usize) -> Result<Duration> {
        let mut table = T::of_capacity(2 * count)?;
        let mut worst = Duration::ZERO;
        for (number, key) in keys(2 * count).enumerate() {
            if number < count {
                table.put(key, !key)?;
                continue;
            }
            let begun = of_this_thread()?;
            table.put(key, !key)?;
            worst = worst.max(of_this_thread()? - begun);
        }
        Ok(worst)
    }
    fn worst<T: Table>(count: usize) -> Result<Sample> {
        let times = (0..3).map(|_| worst_of_one::<T>(count));
        let times = times.collect::<Result<Vec<_>>>()?;
        Ok(Sample::each(1, times.into_iter().min().unwrap_or_default()))
    }
    comparison.add_fn(STD, move |_| worst::<Std>(count));
    comparison.baseline(STD);
    comparison.add_fn(HASHBROWN, move |_| worst::<Hashbrown>(count));
    comparison.add_fn(TINE, move |_| worst::<Tine>(count));
    comparison.target(TINE, Goal::Faster(100.0, STD.into()));
    comparison.note("processor time of the thread, and the best of three runs: else it would be the machine's worst interruption");
    Ok(comparison)
}

fn of_this_thread() -> Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

pub(crate) fn table_insert(name: &'static str, bytes: usize) -> Result<Comparison<'static>> {
    let count = entries(bytes) * 3 / 2;
    let title = format!("insertion, from none to {count} entries");
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    fn each<T: Table>(count: usize) -> Result<Sample> {
        let (elapsed, table) = timed(|| filled::<T>(count))?;
        drop(table);
        Ok(Sample::each(count as u64, elapsed))
    }
    comparison.add_fn(STD, move |_| each::<Std>(count));
    comparison.add_fn(HASHBROWN, move |_| each::<Hashbrown>(count));
    comparison.baseline(HASHBROWN);
    comparison.add_fn(TINE, move |_| each::<Tine>(count));
    comparison.target(TINE, Goal::AtMost(1.0, HASHBROWN.into()));
    comparison.note("a page that is first written costs tables in regions a page fault of a file in memory, the others one of anonymous memory; none has huge pages");
    Ok(comparison)
}

/// Looks for keys that are there, or for those that are not.
pub(crate) fn table_get(name: &'static str, bytes: usize, there: bool) -> Result<Comparison<'static>> {
    let count = entries(bytes) * 3 / 2;
    let what = if there { "is there" } else { "is not there" };
    let title = format!("look-up of what {what} among {count} entries, at random");
    let mut comparison = Comparison::new(name, title, Unit::Seconds);
    fn add<T: Table + 'static>(
        comparison: &mut Comparison<'static>,
        name: &'static str,
        count: usize,
        there: bool,
    ) -> Result {
        let table = filled::<T>(count)?;
        let mut wanted: Vec<u64> = keys(2 * count)
            .skip(if there { 0 } else { count })
            .take(count)
            .collect();
        // Not in the order of the insertions.
        let mut state = 1u64;
        for last in (1..count).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            wanted.swap(last, (state >> 33) as usize % (last + 1));
        }
        comparison.add_fn(name, move |_| {
            let begun = Instant::now();
            let found = wanted
                .iter()
                .filter(|&&key| table.value(key) == Some(!key))
                .count();
            let elapsed = begun.elapsed();
            if black_box(found) != if there { count } else { 0 } {
                return Err("a look-up is wrong".into());
            }
            Ok(Sample::each(count as u64, elapsed))
        });
        Ok(())
    }
    add::<Std>(&mut comparison, STD, count, there)?;
    add::<Hashbrown>(&mut comparison, HASHBROWN, count, there)?;
    comparison.baseline(HASHBROWN);
    add::<Tine>(&mut comparison, TINE, count, there)?;
    comparison.target(TINE, Goal::AtMost(1.0, HASHBROWN.into()));
    Ok(comparison)
}
