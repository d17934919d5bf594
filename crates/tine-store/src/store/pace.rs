//! Pace: whoever fills what the disk has to empty is slowed down before it is full, by as much as it takes.
//!
//! Each of the store's bounds has a soft and a hard value. Above the soft one upkeep works, and who adds something waits
//! for the time that the disk took lately for as much, times how far the amount is beyond the soft value in proportion to
//! what is left up to the hard one. Half-way that is just as fast as the disk, so there it settles; and since the factor has
//! no limit towards the hard value, a disk that stops for a moment makes writers slower and slower, but meets few of
//! them. ZFS's write throttle has the same curve; but a fixed scale, where RocksDB follows the rate that its compactions
//! reach. At the hard value one has to wait for the work itself.
//!
//! Each branch has a clock: who writes little to one waits for that alone, not behind what others write to theirs. With ZFS's
//! one clock for all, a block that is written now and then waits behind a neighbour's megabytes each time. The factor is the
//! same for all: close to the hard value a single block costs as much as a hundred ms. Several branches that are written
//! to at full speed settle higher than half-way, where the factor is their number, or at the hard value if they are so many
//! that a piece of one would have to wait longer than is ever waited.
//!
//! **Invariant:** who waits here holds no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Nobody waits longer than this at once.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// What is owed is gathered up to here: a shorter sleep takes longer than it should.
const OWED_MIN: Duration = Duration::from_micros(500);

/// What a disk is thought to do a second before it was seen at work.
const RATE_UNKNOWN: u64 = 512 << 20;

/// Of less than this no rate is taken: the syncs would count for too much.
const SAMPLE_MIN: u64 = 1 << 20;

/// An amount with its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) now: u64,
    /// Above this upkeep begins to work, and who adds something is slowed down.
    pub(crate) soft: u64,
    /// Above this who adds something has to wait.
    pub(crate) hard: u64,
}

impl Level {
    pub(crate) fn is_above_soft(&self) -> bool {
        self.now > self.soft
    }

    /// Returns the level at which writers are slowed down where upkeep mostly is through before the hard bound is met.
    pub(crate) fn slowing_from_halfway(self) -> Self {
        Self {
            soft: self.soft.midpoint(self.hard),
            ..self
        }
    }

    /// Returns how much longer than the disk's own time something takes that is added now; at the hard bound it waits
    /// for the work, not for a time.
    fn factor(&self) -> f64 {
        if self.now <= self.soft || self.now >= self.hard {
            return 0.0;
        }
        (self.now - self.soft) as f64 / (self.hard - self.now) as f64
    }
}

/// When what was let through is worked off: for all threads that write to a branch, so that many are no faster than one.
#[derive(Default)]
pub(crate) struct Clock {
    due: Mutex<Option<Instant>>,
}

impl Clock {
    /// Puts a delay on the clock; returns how long to sleep for it, nothing while little is owed.
    fn owe(&self, delay: Duration, now: Instant) -> Duration {
        let mut clock = self.due.lock();
        let due = due(*clock, delay, now);
        *clock = Some(due);
        let owed = due - now;
        if owed < OWED_MIN { Duration::ZERO } else { owed }
    }

    /// Tells whether nobody has to sleep for a delay; if so, the clock has it.
    pub(crate) fn passes(&self, delay: Duration) -> bool {
        delay.is_zero() || self.passes_at(delay, Instant::now())
    }

    fn passes_at(&self, delay: Duration, now: Instant) -> bool {
        let mut clock = self.due.lock();
        let due = due(*clock, delay, now);
        let passes = due - now < OWED_MIN;
        if passes {
            *clock = Some(due);
        }
        passes
    }
}

/// Slows those down who fill one thing.
pub(crate) struct Pacer {
    /// How much a second upkeep got rid of lately.
    rate: AtomicU64,
    /// Nanoseconds that writers were held back.
    held_back: AtomicU64,
}

/// Returns when all is worked off if a delay is put on a clock.
fn due(clock: Option<Instant>, delay: Duration, now: Instant) -> Instant {
    let due = clock.map_or(now, |due| due.max(now)) + delay;
    due.min(now + DELAY_MAX)
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            rate: AtomicU64::new(RATE_UNKNOWN),
            held_back: AtomicU64::new(0),
        }
    }
}

impl Pacer {
    /// Takes note of how long it took to get rid of something.
    pub(crate) fn note(&self, amount: u64, took: Duration) {
        if amount < SAMPLE_MIN {
            return;
        }
        let found = (amount as f64 / took.as_secs_f64().max(1e-6)) as u64;
        let before = self.rate.load(Ordering::Relaxed);
        // Upkeep is done by one at a time, so nothing is lost between the two.
        self.rate
            .store((before / 4 * 3 + found / 4).max(1), Ordering::Relaxed);
    }

    /// Returns how long adding `amount` should take, at a level.
    pub(crate) fn delay(&self, amount: u64, level: Level) -> Duration {
        let rate = self.rate.load(Ordering::Relaxed);
        let seconds = amount as f64 / rate as f64 * level.factor();
        Duration::from_secs_f64(seconds.min(DELAY_MAX.as_secs_f64()))
    }

    /// Holds up who adds `amount`, as the level asks. No lock is held.
    pub(crate) fn pace(&self, clock: &Clock, amount: u64, level: Level) {
        let delay = self.delay(amount, level);
        if delay.is_zero() {
            return;
        }
        let sleep = clock.owe(delay, Instant::now());
        if !sleep.is_zero() {
            self.held_back
                .fetch_add(sleep.as_nanos() as u64, Ordering::Relaxed);
            thread::sleep(sleep);
        }
    }

    /// Returns for how long writers were held back, all together.
    pub(crate) fn held_back(&self) -> Duration {
        Duration::from_nanos(self.held_back.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    fn level(now: u64) -> Level {
        Level {
            now,
            soft: 16 << 20,
            hard: 64 << 20,
        }
    }

    #[test]
    fn nobody_is_slowed_below_the_soft_bound_and_more_and_more_above_it() {
        let pacer = Pacer::default();
        let mut before = Duration::ZERO;
        for now in (0..64 << 20).step_by(1 << 16) {
            let delay = pacer.delay(BLOCK, level(now));
            assert!(delay >= before, "{now}: {delay:?} after {before:?}");
            assert_eq!(delay.is_zero(), now <= 16 << 20, "{now}");
            assert!(delay <= DELAY_MAX);
            before = delay;
        }
        assert!(before > 100 * pacer.delay(BLOCK, level(20 << 20)));
    }

    #[test]
    fn upkeep_that_is_through_in_time_slows_nobody() {
        let pacer = Pacer::default();
        let slowing = |now| pacer.delay(BLOCK, level(now).slowing_from_halfway());
        assert!(level(39 << 20).is_above_soft(), "upkeep works");
        assert_eq!(slowing(40 << 20), Duration::ZERO);
        assert!(slowing(41 << 20) > Duration::ZERO);
        assert!(slowing(52 << 20) >= pacer.delay(BLOCK, level(40 << 20)));
    }

    #[test]
    fn steps_are_small() {
        // From one write to the next the delay grows by less than that of the write before, but for the last ones.
        let pacer = Pacer::default();
        for now in ((17 << 20)..(63 << 20)).step_by(BLOCK as usize) {
            let (one, next) = (
                pacer.delay(BLOCK, level(now)),
                pacer.delay(BLOCK, level(now + BLOCK)),
            );
            assert!(
                next <= one + one / 100 + Duration::from_nanos(1),
                "{now}: {one:?}, {next:?}"
            );
        }
    }

    #[test]
    fn halfway_a_writer_is_as_fast_as_the_disk() {
        let pacer = Pacer::default();
        for _ in 0..100 {
            pacer.note(100 << 20, Duration::from_secs(1));
        }
        let delay = pacer.delay(1 << 20, level(40 << 20)).as_secs_f64();
        assert!((delay - 0.01).abs() < 0.0005, "{delay}");
        // Twice as much takes twice as long.
        let twice = pacer.delay(2 << 20, level(40 << 20)).as_secs_f64();
        assert!((twice - 2.0 * delay).abs() < 1e-6);
    }

    #[test]
    fn at_the_hard_bound_nobody_sleeps_but_waits_for_the_work() {
        let pacer = Pacer::default();
        assert_eq!(pacer.delay(BLOCK, level(64 << 20)), Duration::ZERO);
        assert_eq!(pacer.delay(BLOCK, level(80 << 20)), Duration::ZERO);
    }

    #[test]
    fn a_branch_has_one_clock_which_is_never_far_ahead() {
        let clock = Clock::default();
        let now = Instant::now();
        let delay = Duration::from_micros(200);
        assert_eq!(clock.owe(delay, now), Duration::ZERO);
        assert_eq!(clock.owe(delay, now), Duration::ZERO);
        assert_eq!(clock.owe(delay, now), 3 * delay);
        assert_eq!(clock.owe(delay, now), 4 * delay);
        for _ in 0..10_000 {
            assert!(clock.owe(delay, now) <= DELAY_MAX);
        }
        // What is owed is not saved up while nobody writes.
        assert_eq!(clock.owe(delay, now + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn who_writes_little_does_not_wait_for_what_others_write_elsewhere() {
        let (pacer, heavy, light) = (Pacer::default(), Clock::default(), Clock::default());
        let (now, full) = (Instant::now(), level(60 << 20));
        let mut before = Duration::ZERO;
        for _ in 0..64 {
            before = heavy.owe(pacer.delay(1 << 20, full), now);
        }
        assert_eq!(before, DELAY_MAX, "the heavy one is as slow as can be");
        // Of its own clock a block now and then owes little.
        for after in 0..10 {
            let now = now + after * Duration::from_millis(1);
            assert!(light.passes_at(pacer.delay(BLOCK, full), now));
            assert_eq!(light.owe(pacer.delay(BLOCK, full), now), Duration::ZERO);
        }
        assert!(!heavy.passes_at(pacer.delay(BLOCK, full), now));
    }

    #[test]
    fn small_samples_say_nothing() {
        let pacer = Pacer::default();
        pacer.note(BLOCK, Duration::from_secs(1));
        assert_eq!(pacer.rate.load(Ordering::Relaxed), RATE_UNKNOWN);
    }
}
