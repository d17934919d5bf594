//! Segments: immutable objects that hold data blocks or nodes of the index.

pub(crate) mod format;
mod opened;
pub(crate) mod stream;
pub(crate) mod table;

use std::fmt;
use std::str::FromStr;

/// The id of a segment: the epoch that made it and a counter. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentId {
    /// The writer's epoch.
    pub epoch: u32,
    /// Counts the segments of that epoch.
    pub counter: u32,
}

impl SegmentId {
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.epoch) << 32 | u64::from(self.counter)
    }

    pub(crate) fn from_u64(id: u64) -> Self {
        Self {
            epoch: (id >> 32) as u32,
            counter: id as u32,
        }
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:08x}-{:08x}", self.epoch, self.counter)
    }
}

impl FromStr for SegmentId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (epoch, counter) = text.split_once('-').ok_or(())?;
        // As it is written, and in no other way.
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let part = |text: &str| {
            let is_part = text.len() == 8 && text.bytes().all(is_digit);
            let number = is_part.then(|| u32::from_str_radix(text, 16).ok());
            number.flatten().ok_or(())
        };
        Ok(Self {
            epoch: part(epoch)?,
            counter: part(counter)?,
        })
    }
}
