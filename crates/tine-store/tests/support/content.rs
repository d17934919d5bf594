//! A disk as plain blocks in memory.

use std::fmt::Write;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

pub(crate) const BLOCK: usize = 4096;

/// The content of a disk. Invariant: a block of zeroes is `None`; what lies behind the size is zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Content {
    size: u64,
    blocks: Vec<Block>,
}

type Block = Option<Arc<[u8; BLOCK]>>;

/// Returns what the write numbered `id` puts at `offset`: words that tell the write and the place; 0 is zeroes.
pub(crate) fn pattern(id: u32, offset: u64, length: usize) -> Vec<u8> {
    if id == 0 {
        return vec![0; length];
    }
    let mut bytes = Vec::with_capacity(length + 16);
    let mut word = offset / 8;
    while bytes.len() < length + 8 {
        bytes.extend_from_slice(&(u64::from(id) << 32 | word & 0xffff_ffff).to_le_bytes());
        word += 1;
    }
    let skip = (offset % 8) as usize;
    bytes.drain(..skip);
    bytes.truncate(length);
    bytes
}

impl Content {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            size,
            blocks: vec![None; (size as usize).div_ceil(BLOCK)],
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut content = Self::new(bytes.len() as u64);
        content.write(0, bytes);
        content
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset as usize;
        let mut left = bytes;
        while !left.is_empty() {
            let within = at % BLOCK;
            let (now, rest) = left.split_at(left.len().min(BLOCK - within));
            let slot = &mut self.blocks[at / BLOCK];
            let mut block = slot.as_deref().copied().unwrap_or([0; BLOCK]);
            block[within..within + now.len()].copy_from_slice(now);
            *slot = (block != [0; BLOCK]).then(|| Arc::new(block));
            at += now.len();
            left = rest;
        }
    }

    pub(crate) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.write(size, &vec![0; (self.size - size) as usize]);
        }
        self.size = size;
        self.blocks.resize((size as usize).div_ceil(BLOCK), None);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.blocks.len() * BLOCK);
        for block in &self.blocks {
            bytes.extend_from_slice(block.as_deref().unwrap_or(&[0; BLOCK]));
        }
        bytes.truncate(self.size as usize);
        bytes
    }

    /// Returns the ranges in which two disks differ, none touching the next: whole blocks as far as both reach, and what
    /// one has behind the other's end. The block in which the shorter one ends counts as differing also where the longer
    /// one has something only behind that end.
    pub(crate) fn differing(&self, other: &Self) -> Vec<Range<u64>> {
        let (short, long) = (self.size.min(other.size), self.size.max(other.size));
        let differing = self.blocks.iter().zip(&other.blocks).enumerate();
        let blocks = differing.filter(|(_, (a, b))| a != b).map(|(at, _)| {
            let start = (at * BLOCK) as u64;
            start..(start + BLOCK as u64).min(short)
        });
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for range in blocks
            .chain(iter::once(short..long))
            .filter(|range| !range.is_empty())
        {
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        ranges
    }

    pub(crate) fn is_zero(&self, block: usize) -> bool {
        self.blocks.get(block).is_none_or(Option::is_none)
    }

    /// Returns which write each block shows, for messages: the number of its first and last words, `?` for none.
    pub(crate) fn describe(&self) -> String {
        let mut out = format!("{} B:", self.size);
        for (at, block) in self.blocks.iter().enumerate() {
            let Some(block) = block else {
                out.push_str(" -");
                continue;
            };
            let mut ids: Vec<String> = block
                .chunks_exact(8)
                .enumerate()
                .map(|(word, bytes)| {
                    let value = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                    let place = (at * BLOCK / 8 + word) as u64;
                    match value {
                        0 => "0".to_owned(),
                        _ if value & 0xffff_ffff == place => (value >> 32).to_string(),
                        _ => "?".to_owned(),
                    }
                })
                .collect();
            ids.dedup();
            ids.truncate(6);
            let _ = write!(out, " {}", ids.join("/"));
        }
        out
    }
}
