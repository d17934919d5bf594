//! Recovers from every crash that a moment allows, twice where asked, and remembers what came of it.
//!
//! Recovery is a function of the medium: on the simulated one even nonces follow from its state, and what differs
//! from run to run (the order of hash maps) reaches no byte of it. So what a state of the medium *shows* after
//! recovery, and after recoveries that were cut short in every way, is found out once, whichever history leads
//! there; whether that is *right* depends on the history, and is asked every time ([`Prover::prove`]). A state is
//! known by a digest of 128 bits of all that a process can see and a crash can leave.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash};
use std::ops::Add;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tine_store::medium::simulated::{Digester, SimulatedMedium};

use super::outcomes::{Variety, outcomes};
use super::runner::{Config, Runner, Wrong};
use super::world::{Shown, World};

/// Which contents recoveries may show: a number for each set that was met.
type Set = u32;

/// States that are remembered at most: below 4 GiB with all that the map wastes.
const KNOWN_MAX: u64 = 64 << 20;

/// See the [module](self).
pub(crate) struct Prover {
    config: Config,
    known: Known,
    shown: Interned<Shown>,
    sets: Interned<Vec<u32>>,
    recoveries: AtomicU64,
    known_moments: AtomicU64,
    known_outcomes: AtomicU64,
    /// Fails where this is shown, to tell the way there.
    hunted: Option<Shown>,
}

/// How much was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Proved {
    pub(crate) recoveries: u64,
    /// Moments all of whose crashes were known.
    pub(crate) known_moments: u64,
    /// Crashes of other moments that were known.
    pub(crate) known_outcomes: u64,
    /// States that are remembered.
    pub(crate) states: u64,
}

impl Add for Proved {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            recoveries: self.recoveries + other.recoveries,
            known_moments: self.known_moments + other.known_moments,
            known_outcomes: self.known_outcomes + other.known_outcomes,
            states: self.states + other.states,
        }
    }
}

impl fmt::Display for Proved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            recoveries,
            known_moments,
            known_outcomes,
            states,
        } = self;
        write!(
            out,
            "{recoveries} recoveries; {known_moments} moments and {known_outcomes} outcomes of crashes skipped as known, \
             {states} states remembered"
        )
    }
}

impl Prover {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            known: Known::default(),
            shown: Interned::default(),
            sets: Interned::default(),
            recoveries: AtomicU64::new(0),
            known_moments: AtomicU64::new(0),
            known_outcomes: AtomicU64::new(0),
            hunted: None,
        }
    }

    pub(crate) fn proved(&self) -> Proved {
        Proved {
            recoveries: self.recoveries.load(Ordering::Relaxed),
            known_moments: self.known_moments.load(Ordering::Relaxed),
            known_outcomes: self.known_outcomes.load(Ordering::Relaxed),
            states: self.known.count.load(Ordering::Relaxed),
        }
    }

    /// Crashes at a moment and recovers in every way; with `again`, every recovery is also interrupted by a second
    /// crash before each of its changes and after its end. Fails where no store opens or a check finds damage, and
    /// where what was shown once is not shown again; else returns what is shown.
    fn moment(
        &self,
        moment: &SimulatedMedium,
        variety: Variety,
        again: Option<Variety>,
    ) -> Result<Set, Wrong> {
        let key = key(moment.digest(), MOMENT, variety, again);
        if let Some(set) = self.known.get(key) {
            self.known_moments.fetch_add(1, Ordering::Relaxed);
            return Ok(set);
        }
        let mut all = Vec::new();
        for outcome in outcomes(moment, variety) {
            let again = again.filter(|_| outcome.twice);
            let set = self
                .outcome(outcome.medium, again)
                .map_err(|why| format!("{}{why}", outcome.how))?;
            all.extend(self.sets.with(set, Vec::clone));
        }
        Ok(self.remember(key, all))
    }

    /// Recovers from what a crash left. Its failures go on with a comma or a colon.
    fn outcome(&self, medium: SimulatedMedium, again: Option<Variety>) -> Result<Set, Wrong> {
        let state = medium.digest();
        let key = key(state, OUTCOME, Variety::Few, again);
        if let Some(set) = self.known.get(key) {
            self.known_outcomes.fetch_add(1, Ordering::Relaxed);
            return Ok(set);
        }
        self.recoveries.fetch_add(1, Ordering::Relaxed);
        let mut runner = Runner::on(&self.config, medium, Vec::new());
        if again.is_some() {
            runner.medium.record();
        }
        let shown = runner.open().map_err(|why| format!(": {why}"))?;
        if self.hunted.as_ref() == Some(&shown) {
            return Err(String::new());
        }
        let first = self.shown.number(shown);
        let mut all = vec![first];
        if let Some(variety) = again {
            // A second crash that undoes all that the opening did leads here again.
            self.remember(self::key(state, OUTCOME, Variety::Few, None), vec![first]);
            // Nothing was answered before the opening was through, so the second one may end elsewhere.
            for (at, moment) in runner.medium.take_recorded().iter().enumerate() {
                let set = self
                    .moment(moment, variety, None)
                    .map_err(|why| format!(", again before change {}, {why}", at + 1))?;
                all.extend(self.sets.with(set, Vec::clone));
            }
            // What was shown stays, whatever happens to what the opening left unsynced.
            let then = self
                .moment(&runner.medium, variety, None)
                .map_err(|why| format!(", opened, {why}"))?;
            if let Some(other) = self
                .sets
                .with(then, |set| set.iter().copied().find(|&other| other != first))
            {
                return Err(format!(
                    ", opened, again: shows\n    {}\n  after\n    {}",
                    self.shown.with(other, describe),
                    self.shown.with(first, describe)
                ));
            }
        }
        Ok(self.remember(key, all))
    }

    fn remember(&self, key: u128, mut shown: Vec<u32>) -> Set {
        shown.sort_unstable();
        shown.dedup();
        let set = self.sets.number(shown);
        self.known.insert(key, set);
        set
    }

    /// Does as [`Prover::moment`], and compares all that is shown with the worlds that may be found there.
    pub(crate) fn prove(
        &self,
        moment: &SimulatedMedium,
        worlds: &[World],
        variety: Variety,
        again: Option<Variety>,
    ) -> Result<(), Wrong> {
        let set = self.moment(moment, variety, again)?;
        let shown = self.sets.with(set, Vec::clone);
        let wrong = shown
            .into_iter()
            .find_map(|number| self.shown.with(number, |shown| wrong(shown, worlds)));
        let Some((shown, why)) = wrong else { return Ok(()) };
        // What was known tells no way; so look again for one, knowing nothing.
        let hunter = Self {
            hunted: Some(shown),
            ..Self::new(self.config.clone())
        };
        let way = hunter.moment(moment, variety, again).err();
        let way = way.unwrap_or_else(|| "in a way that does not repeat".to_owned());
        Err(format!("{way}: after recovery:\n    {why}"))
    }
}

/// Returns what is shown with the reasons why no world allows it, if none does.
fn wrong(shown: &Shown, worlds: &[World]) -> Option<(Shown, String)> {
    let mut whys = Vec::new();
    for world in worlds {
        whys.push(world.recovered(shown).err()?);
    }
    Some((shown.clone(), whys.join("\n  or\n    ")))
}

fn describe(shown: &Shown) -> String {
    let branches = shown.iter().map(|(name, branch)| {
        let snapshots: Vec<_> = branch
            .snapshots
            .iter()
            .map(|(name, content)| format!(" @{name} [{}]", content.describe()))
            .collect();
        let protected = if branch.is_protected { " protected" } else { "" };
        let content = branch.content.describe();
        format!("{name} [{content}]{protected}{}", snapshots.concat())
    });
    branches.collect::<Vec<_>>().join(", ")
}

/// What is known of a state: what all crashes at that moment lead to, or what it leads to as the outcome of one.
const MOMENT: u8 = 1;
const OUTCOME: u8 = 2;

fn key(state: u128, what: u8, variety: Variety, again: Option<Variety>) -> u128 {
    let mut digester = Digester::default();
    (state, what, variety, again).hash(&mut digester);
    digester.digest()
}

/// What states show, by the keys of states. Two words make entries of 24 bytes, where a `u128` makes 32.
struct Known {
    shards: Vec<Mutex<HashMap<[u64; 2], Set>>>,
    count: AtomicU64,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            shards: (0..64).map(|_| Mutex::default()).collect(),
            count: AtomicU64::new(0),
        }
    }
}

impl Known {
    fn shard(&self, key: u128) -> &Mutex<HashMap<[u64; 2], Set>> {
        &self.shards[(key % self.shards.len() as u128) as usize]
    }

    fn words(key: u128) -> [u64; 2] {
        [key as u64, (key >> 64) as u64]
    }

    fn get(&self, key: u128) -> Option<Set> {
        self.shard(key).lock().get(&Self::words(key)).copied()
    }

    fn insert(&self, key: u128, set: Set) {
        let is_new = self.count.load(Ordering::Relaxed) < KNOWN_MAX
            && self.shard(key).lock().insert(Self::words(key), set).is_none();
        self.count.fetch_add(is_new.into(), Ordering::Relaxed);
    }
}

/// A number for every value that was met.
struct Interned<T> {
    met: Mutex<Met<T>>,
}

struct Met<T> {
    values: Vec<T>,
    numbers: HashMap<T, u32, BuildHasherDefault<Digester>>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        let met = Met {
            values: Vec::new(),
            numbers: HashMap::default(),
        };
        Self { met: Mutex::new(met) }
    }
}

impl<T: Clone + Eq + Hash> Interned<T> {
    fn number(&self, value: T) -> u32 {
        let mut met = self.met.lock();
        if let Some(&number) = met.numbers.get(&value) {
            return number;
        }
        let number = u32::try_from(met.values.len()).expect("fewer values than states");
        met.values.push(value.clone());
        met.numbers.insert(value, number);
        number
    }

    fn with<R>(&self, number: u32, use_it: impl FnOnce(&T) -> R) -> R {
        use_it(&self.met.lock().values[number as usize])
    }
}
