//! Streams: segments that large writes fill at once, past the buffer.
//!
//! A stream's blocks can be read as soon as they are appended, through the cache; durable, and a part of the store, it
//! is only when its footer is written and synced and a frame has published it.
//!
//! Invariant: a stream that is not published is removed when nothing refers to it any more, neither a group nor a view.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::medium::{Medium, ObjectName};
use crate::segment::table::Segment;

/// A segment that is being written, as those see it who read from it.
pub(crate) struct Stream {
    pub(crate) segment: Arc<Segment>,
    medium: Arc<dyn Medium>,
    /// A frame that publishes it is queued: from then on the table and the journal decide over its object.
    published: AtomicBool,
    bytes: AtomicU64,
    account: Arc<AtomicU64>,
}

impl Stream {
    /// Makes a stream whose bytes count in `account` for as long as it lives.
    pub(crate) fn new(segment: Arc<Segment>, medium: Arc<dyn Medium>, account: &Arc<AtomicU64>) -> Arc<Self> {
        Arc::new(Self {
            segment,
            medium,
            published: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            account: Arc::clone(account),
        })
    }

    /// Counts bytes of blocks that were appended.
    pub(crate) fn count(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.account.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_published(&self) {
        self.published.store(true, Ordering::Relaxed);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.account.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        if !*self.published.get_mut() && self.medium.can_overwrite() {
            // What cannot be removed is an orphan, which the next opening removes.
            let _ = self.medium.remove_object(ObjectName::Segment(self.segment.id));
        }
    }
}
