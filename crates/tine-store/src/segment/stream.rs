//! Streams: segments that large writes fill at once, past the buffer.
//!
//! A stream's blocks can be read as soon as they are appended; durable, and a part of the store, it is only when its footer
//! is written and synced and a frame has published it.
//!
//! Invariant: a stream that is not published is removed when nothing refers to its segment any more, neither a group, nor a
//! view, nor a read that is under way.

use std::sync::Arc;

use crate::segment::table::Segment;

/// A segment that is being written, as those see it who read from it.
pub(crate) struct Stream {
    pub(crate) segment: Arc<Segment>,
}

impl Stream {
    pub(crate) fn new(segment: Arc<Segment>) -> Arc<Self> {
        segment.set_stream(true);
        Arc::new(Self { segment })
    }

    /// A frame that publishes it is queued: from now on the table and the journal decide over its object.
    pub(crate) fn set_published(&self) {
        self.segment.set_stream(false);
    }
}
