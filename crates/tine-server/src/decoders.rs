//! What reads the other end's bytes, for fuzz targets. Not public API: only there with the feature `fuzzing`.
//!
//! Invariant of all: no panic, no endless loop, no memory beyond what the bytes could describe.

use bytes::BytesMut;

use crate::wire::frame::{Decoder, Frame};

/// Reads `bytes` as frames, in chunks of this many bytes, which makes no difference. What is understood is written as it was
/// read.
pub fn frames(bytes: &[u8], chunk: usize) {
    let (found, rest) = decode(bytes, bytes.len());
    assert_eq!((&found, rest), (&decode(bytes, chunk).0, decode(bytes, chunk).1));
    let mut written = BytesMut::new();
    for frame in &found {
        frame.encode(&mut written);
    }
    assert!(bytes.starts_with(&written));
}

/// Returns the frames that bytes are, and whether what follows is none.
fn decode(bytes: &[u8], chunk: usize) -> (Vec<Frame>, bool) {
    let (mut decoder, mut found) = (Decoder::default(), Vec::new());
    for chunk in bytes.chunks(chunk.max(1)) {
        decoder.push(chunk);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
