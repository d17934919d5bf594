//! Lines: what a long request tells on its way, and how it ended, one JSON object each.
//!
//! **Invariant:** lines that end without [`Line::Done`] or [`Line::Failed`] were cut off; no other end is taken for a
//! whole one.

use bytes::{Buf as _, BytesMut};
use serde::{Deserialize, Serialize};
use tine_store::Progress;

use crate::api::{Failure, Step};

/// A line is no longer than this: the longest is the report on a store with much damage.
const LINE_BYTES_MAX: usize = 64 << 20;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line<I, A> {
    /// How far it is.
    Progress(Progress),
    /// A part of the answer.
    Item(I),
    /// The answer: that was all.
    Done(A),
    /// That was not all, and why.
    Failed(Failure),
}

impl<I, A> From<Step<I>> for Line<I, A> {
    fn from(step: Step<I>) -> Self {
        match step {
            Step::Progress(progress) => Self::Progress(progress),
            Step::Item(item) => Self::Item(item),
        }
    }
}

/// Makes lines of bytes that come in chunks of any length.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: BytesMut,
    /// So far no end was found.
    searched: usize,
}

impl Lines {
    /// Adds bytes that came; fails when a line becomes too long.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), ()> {
        self.bytes.extend_from_slice(chunk);
        let newest = self.bytes.len() - chunk.len();
        let is_too_long = newest > LINE_BYTES_MAX && !chunk.contains(&b'\n');
        if is_too_long { Err(()) } else { Ok(()) }
    }

    /// Takes the next line, if all of it has come.
    pub(crate) fn next_line(&mut self) -> Option<BytesMut> {
        match self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') {
            Some(more) => {
                let line = self.bytes.split_to(self.searched + more);
                self.bytes.advance(1);
                self.searched = 0;
                Some(line)
            }
            None => {
                self.searched = self.bytes.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_however_they_are_cut() {
        let text = b"one\n\ntwo and three\nfour";
        for chunk in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            for chunk in text.chunks(chunk) {
                lines.push(chunk).unwrap();
                while let Some(line) = lines.next_line() {
                    found.push(line);
                }
            }
            assert_eq!(found, [&b"one"[..], b"", b"two and three"]);
        }
    }
}
