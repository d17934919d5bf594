//! Waiting for the daemon, for as long as the caller likes.
//!
//! **Invariant:** what counts is how long nothing whole has come: an answer in one piece, a line, a frame. Who sends one byte
//! after the other has not answered.

use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::api::Failure;

/// How often the caller is asked whether to wait on.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Told how long the daemon has been waited for; a failure ends the waiting.
type Ask = dyn FnMut(Duration) -> Result<(), Failure>;

/// Whom to ask while the daemon is waited for; nobody, at first.
#[derive(Default)]
pub(super) struct Patience {
    ask: Option<Box<Ask>>,
    /// Spent in [`Patience::wait`] since something whole came; not what the caller did between two waits.
    waited: Duration,
    /// As much of it was spent when the caller was asked.
    asked: Duration,
}

impl Patience {
    pub(super) fn new(ask: impl FnMut(Duration) -> Result<(), Failure> + 'static) -> Self {
        Self {
            ask: Some(Box::new(ask)),
            ..Self::default()
        }
    }

    /// Waits for something new from now on: a request is about to be sent, or something whole has come.
    pub(super) fn renew(&mut self) {
        self.waited = Duration::ZERO;
        self.asked = Duration::ZERO;
    }

    /// Waits for what takes the daemon's doing; fails when the caller does not want to any more.
    pub(super) fn wait<T>(
        &mut self,
        runtime: &Runtime,
        waiting: impl Future<Output = T>,
    ) -> Result<T, Failure> {
        runtime.block_on(async {
            let mut waiting = pin!(waiting);
            let Some(ask) = &mut self.ask else {
                return Ok(waiting.await);
            };
            let (before, begun) = (self.waited, Instant::now());
            loop {
                let due = (self.asked + ASK_AGAIN).saturating_sub(self.waited);
                let done = timeout(due, waiting.as_mut()).await;
                self.waited = before + begun.elapsed();
                if let Ok(done) = done {
                    return Ok(done);
                }
                self.asked = self.waited;
                ask(self.waited)?;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::runtime::Builder;
    use tokio::time::sleep;

    use super::*;
    use crate::api::Kind;

    const DRIP: Duration = Duration::from_millis(20);
    const ENOUGH: Duration = Duration::from_millis(1500);

    /// Waits for a hundred drips, which takes two seconds, or until the caller has had enough; returns how many came, and
    /// what the caller was told.
    fn dripped(mut each: impl FnMut(&mut Patience)) -> (u32, Vec<Duration>) {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let told = Rc::new(RefCell::new(Vec::new()));
        let asked = Rc::clone(&told);
        let mut patience = Patience::new(move |waited| {
            asked.borrow_mut().push(waited);
            if waited < ENOUGH {
                return Ok(());
            }
            Err(Failure::cancelled())
        });
        for number in 0..100 {
            if let Err(failure) = patience.wait(&runtime, async { sleep(DRIP).await }) {
                assert_eq!(failure.kind, Kind::Cancelled);
                return (number, told.take());
            }
            each(&mut patience);
        }
        (100, told.take())
    }

    #[test]
    fn who_drips_is_not_waited_for_longer_than_who_is_silent() {
        let (drips, told) = dripped(|_| {});
        // Those of the time that is enough, and of the time until the caller is asked again.
        let most = (ENOUGH + ASK_AGAIN).as_millis() / DRIP.as_millis();
        assert!(u128::from(drips) <= most, "{drips} of {most}");
        assert!((1..=8).contains(&told.len()), "{told:?}");
        assert!(told.is_sorted() && told.last() >= Some(&ENOUGH), "{told:?}");
    }

    #[test]
    fn what_has_come_whole_begins_the_waiting_anew() {
        assert_eq!(dripped(Patience::renew).0, 100);
    }

    #[test]
    fn what_the_caller_does_between_is_no_waiting() {
        let mut has_slept = false;
        let (drips, told) = dripped(|_| {
            if !has_slept {
                std::thread::sleep(2 * ENOUGH);
                has_slept = true;
            }
        });
        assert!(drips >= 2, "{drips} {told:?}");
    }
}
