//! Makes the checksums of a changed store right again, so that a fuzzer gets past them.
//!
//! Checksums and chain values are as good as random, so each that changes is replaced wherever else its bytes occur:
//! in the records, manifests and trailers that name it. Goes from what is named to what names it: blocks and footers,
//! runs, frames in their order, manifests.

use std::collections::{BTreeMap, HashMap};

use crate::block::BLOCK;
use crate::checksum::{chain, crc32c, crc32c_of};
use crate::journal::frame::{
    FRAME_ALIGNMENT, HEADER_BYTES, Header, JournalKey, chain_start, decode_header, decode_records,
    head_is_whole, payload_blocks,
};
use crate::manifest::Manifest;
use crate::medium::ObjectName;
use crate::medium::simulated::{FileName, SimulatedMedium};
use crate::segment::format::{SEGMENT_HEADER_BYTES, TRAILER_BYTES, decode_trailer};

type Files = BTreeMap<FileName, Vec<u8>>;

/// Where the bytes of a manifest's body begin.
const BODY_AT: usize = 32;

/// Gives what was changed in `after` the checksums that it would have, if `before` were a whole store.
pub fn repair(before: &SimulatedMedium, after: &SimulatedMedium) {
    let whole = read(before);
    let changed = read(after);
    let mut repaired = changed.clone();
    if let Some(key) = key(&whole) {
        let mut names = Renamed::default();
        for (name, bytes) in &mut repaired {
            if let (FileName::Object(ObjectName::Segment(_)), Some(old)) = (name, whole.get(name)) {
                segment(old, bytes, &mut names);
            }
        }
        runs(before, &whole, &repaired, &mut names);
        journal(&key, &whole, &mut repaired, &mut names);
        for (name, bytes) in &mut repaired {
            if let FileName::Object(ObjectName::Manifest(_)) = name {
                manifest(bytes, &names);
            }
        }
    }
    for (name, bytes) in repaired {
        for (at, (new, old)) in (0..).zip(bytes.iter().zip(&changed[&name])) {
            if new != old {
                after.flip(name, at, new ^ old);
            }
        }
    }
}

fn read(medium: &SimulatedMedium) -> Files {
    let files = medium.files().into_iter();
    files
        .filter_map(|(name, _)| Some((name, medium.bytes(name)?)))
        .collect()
}

/// Values that have changed, by the ones that they were.
#[derive(Default)]
struct Renamed {
    checksums: HashMap<[u8; 4], [u8; 4]>,
    chains: HashMap<[u8; 8], [u8; 8]>,
}

impl Renamed {
    fn checksum(&mut self, old: u32, new: u32) {
        // The checksum of nothing is zero, and so is much else.
        if old != new && old != 0 {
            self.checksums.insert(old.to_le_bytes(), new.to_le_bytes());
        }
    }

    fn apply(&self, bytes: &mut [u8]) {
        replace(&self.chains, bytes);
        replace(&self.checksums, bytes);
    }
}

fn replace<const N: usize>(names: &HashMap<[u8; N], [u8; N]>, bytes: &mut [u8]) {
    let mut at = 0;
    while !names.is_empty() && at + N <= bytes.len() {
        let new = bytes[at..at + N].first_chunk().and_then(|old| names.get(old));
        at += match new {
            Some(new) => {
                bytes[at..at + N].copy_from_slice(new);
                N
            }
            None => 1,
        };
    }
}

fn key(files: &Files) -> Option<JournalKey> {
    let text = files.get(&FileName::Object(ObjectName::Parameters))?;
    let parameters: serde_json::Value = serde_json::from_slice(text).ok()?;
    let digits = parameters["journal_key"].as_str()?;
    let mut key = JournalKey::default();
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(key)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_le_bytes());
    }
}

fn segment(old: &[u8], new: &mut [u8], names: &mut Renamed) {
    let header = SEGMENT_HEADER_BYTES as usize;
    if new.len() != old.len() || old.len() < header + TRAILER_BYTES {
        return;
    }
    let checksum = crc32c(&new[..header - 4]);
    put(new, header - 4, checksum);
    let end = old.len() - TRAILER_BYTES;
    let Ok(trailer) = decode_trailer(&old[end..]) else {
        return;
    };
    for (old, new) in old[header..end].chunks(BLOCK).zip(new[header..end].chunks(BLOCK)) {
        names.checksum(crc32c(old), crc32c(new));
    }
    let footer = trailer.footer_offset as usize..end;
    if trailer.footer_bytes > 0 {
        names.apply(&mut new[footer.clone()]);
        names.checksum(trailer.footer_checksum, crc32c(&new[footer.clone()]));
    }
    let checksum = crc32c(&new[footer]);
    put(new, end + 16, checksum);
    let checksum = crc32c(&new[end..end + 20]);
    put(new, end + 20, checksum);
}

fn runs(before: &SimulatedMedium, whole: &Files, changed: &Files, names: &mut Renamed) {
    let process = before.fork();
    let process = process.start();
    for name in whole.keys() {
        let FileName::Object(ObjectName::Manifest(number)) = name else {
            continue;
        };
        let Ok(Some(manifest)) = Manifest::read(&*process, *number) else {
            continue;
        };
        for run in manifest.stretches.iter().flat_map(|stretch| &stretch.runs) {
            let place = run.offset as usize..(run.offset + run.bytes) as usize;
            let segment = changed.get(&FileName::Object(ObjectName::Segment(run.segment)));
            if let Some(bytes) = segment.and_then(|bytes| bytes.get(place)) {
                names.checksum(run.checksum, crc32c(bytes));
            }
        }
    }
}

/// A frame of the whole store.
struct Placed {
    file: FileName,
    at: usize,
    header: Header,
}

fn journal(key: &JournalKey, whole: &Files, changed: &mut Files, names: &mut Renamed) {
    let mut frames = Vec::new();
    for (&file, bytes) in whole {
        if matches!(file, FileName::Journal(_)) {
            for (page, head) in bytes.chunks(FRAME_ALIGNMENT).enumerate() {
                let header = decode_header(head, key).filter(|header| head_is_whole(header, head));
                let at = page * FRAME_ALIGNMENT;
                frames.extend(header.map(|header| Placed { file, at, header }));
            }
        }
    }
    frames.sort_by_key(|placed| {
        let frame = placed.header.frame;
        (frame.epoch, frame.sequence, placed.header.copy)
    });
    let mut chains: HashMap<([u8; 16], u64), u64> = HashMap::new();
    for placed in frames {
        let frame = placed.header.frame;
        let old = &whole[&placed.file][placed.at..];
        let Some(new) = changed
            .get_mut(&placed.file)
            .and_then(|bytes| bytes.get_mut(placed.at..))
        else {
            continue;
        };
        if let Ok(records) = decode_records(&placed.header, old) {
            let payload = placed.header.head_bytes()..placed.header.frame_bytes();
            let blocks = new.get(payload).unwrap_or_default().chunks(BLOCK);
            for ((.., checksum), block) in payload_blocks(&records).zip(blocks) {
                names.checksum(checksum, crc32c(block));
            }
        }
        let previous = match chains.get(&(frame.nonce, frame.sequence - 1)) {
            Some(chain) => *chain,
            None => chain_start(&frame.nonce),
        };
        let link = head(new, previous, names);
        chains.insert((frame.nonce, frame.sequence), link.unwrap_or(frame.chain));
        if let Some(link) = link.filter(|link| *link != frame.chain) {
            names.chains.insert(frame.chain.to_le_bytes(), link.to_le_bytes());
        }
    }
}

/// Gives a frame's head what it needs to be whole and to follow; returns its chain value.
fn head(bytes: &mut [u8], previous: u64, names: &Renamed) -> Option<u64> {
    let length = u32::from_le_bytes(*bytes.get(64..68)?.first_chunk()?) as usize;
    let head = bytes.get_mut(..HEADER_BYTES.checked_add(length)?)?;
    names.apply(&mut head[HEADER_BYTES..]);
    let link = chain(
        previous,
        &[&head[..40], &head[48..72], &head[76..124], &head[HEADER_BYTES..]],
    );
    head[40..48].copy_from_slice(&link.to_le_bytes());
    let checksum = crc32c_of(&[&head[..124], &head[HEADER_BYTES..]]);
    put(head, 124, checksum);
    Some(link)
}

fn manifest(bytes: &mut [u8], names: &Renamed) {
    let half = bytes.len() / 2;
    for copy in bytes.chunks_mut(half.max(1)).take(2) {
        let Some(length) = copy.get(16..24).and_then(|bytes| bytes.first_chunk()) else {
            continue;
        };
        let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let Some(body) = copy.get_mut(BODY_AT..BODY_AT.saturating_add(length)) else {
            continue;
        };
        names.apply(body);
        let checksum = crc32c(body);
        put(copy, 24, checksum);
        let checksum = crc32c(&copy[..28]);
        put(copy, 28, checksum);
    }
}
