//! Waiting for the daemon, for as long as the caller likes.

use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How often the caller is asked whether to wait on.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Whom to ask while the daemon is waited for; nobody, at first.
#[derive(Default)]
pub(super) struct Patience(Option<Box<dyn FnMut(Duration) -> ControlFlow<()>>>);

impl Patience {
    pub(super) fn new(ask: impl FnMut(Duration) -> ControlFlow<()> + 'static) -> Self {
        Self(Some(Box::new(ask)))
    }

    /// Waits for what takes the daemon's doing; nothing when the caller does not want to any more.
    pub(super) fn wait<T>(&mut self, runtime: &Runtime, waiting: impl Future<Output = T>) -> Option<T> {
        runtime.block_on(async {
            let mut waiting = pin!(waiting);
            let Some(ask) = &mut self.0 else {
                return Some(waiting.await);
            };
            let begun = Instant::now();
            loop {
                if let Ok(done) = timeout(ASK_AGAIN, waiting.as_mut()).await {
                    return Some(done);
                }
                if ask(begun.elapsed()).is_break() {
                    return None;
                }
            }
        })
    }
}
