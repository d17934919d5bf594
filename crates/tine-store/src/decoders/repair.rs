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
use crate::segment::format::{SEGMENT_HEADER_BYTES, SegmentKind, TRAILER_BYTES, decode_trailer};

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
        // Runs name what is in data segments.
        for kind in [SegmentKind::Data, SegmentKind::Index] {
            for (name, bytes) in &mut repaired {
                if let (FileName::Object(ObjectName::Segment(_)), Some(old)) = (name, whole.get(name)) {
                    segment(old, bytes, kind, &mut names);
                }
            }
        }
        nodes(before, &whole, &repaired, &mut names);
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

fn segment(old: &[u8], new: &mut [u8], kind: SegmentKind, names: &mut Renamed) {
    let header = SEGMENT_HEADER_BYTES as usize;
    if new.len() != old.len() || old.len() < header + TRAILER_BYTES || old[16] != kind as u8 {
        return;
    }
    let checksum = crc32c(&new[..header - 4]);
    put(new, header - 4, checksum);
    let end = old.len() - TRAILER_BYTES;
    let Ok(trailer) = decode_trailer(&old[end..]) else {
        return;
    };
    let footer = trailer.footer_offset as usize;
    if kind == SegmentKind::Data {
        let blocks = header..footer;
        for (old, new) in old[blocks.clone()].chunks(BLOCK).zip(new[blocks].chunks(BLOCK)) {
            names.checksum(crc32c(old), crc32c(new));
        }
        names.apply(&mut new[footer..end]);
        names.checksum(trailer.footer_checksum, crc32c(&new[footer..end]));
        let checksum = crc32c(&new[footer..end]);
        put(new, end + 16, checksum);
    } else {
        names.apply(&mut new[header..end]);
    }
    let checksum = crc32c(&new[end..end + 20]);
    put(new, end + 20, checksum);
}

fn nodes(before: &SimulatedMedium, whole: &Files, changed: &Files, names: &mut Renamed) {
    let process = before.fork();
    let process = process.start();
    for name in whole.keys() {
        let FileName::Object(ObjectName::Manifest(number)) = name else {
            continue;
        };
        let Ok(Some(manifest)) = Manifest::read(&*process, *number) else {
            continue;
        };
        let roots = manifest.trees.iter().map(|tree| tree.root);
        let written = manifest.stretches.iter().filter_map(|stretch| stretch.written);
        for at in roots.chain(written) {
            let place = at.offset as usize..(at.offset + u64::from(at.bytes)) as usize;
            let segment = changed.get(&FileName::Object(ObjectName::Segment(at.segment)));
            if let Some(bytes) = segment.and_then(|bytes| bytes.get(place)) {
                names.checksum(at.checksum, crc32c(bytes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::simulated::{Chooser, SimulatedOptions};
    use crate::{CreateOptions, OpenOptions, Store, UpkeepMode, UpkeepStep};

    fn open_options() -> OpenOptions {
        OpenOptions {
            upkeep: UpkeepMode::Inline,
            ..OpenOptions::default()
        }
    }

    /// A store of one disk whose blocks are in a segment with a run, in a published one, and in the journal.
    fn store() -> SimulatedMedium {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::fixed(Vec::new(), 0));
        let create = CreateOptions {
            journal_file_bytes: 64 << 10,
            journal_files: 6,
        };
        let store = Store::create_on(medium.start(), &create, open_options()).unwrap();
        let disk = store.create_branch(&"a".parse().unwrap(), 3 * 4096).unwrap();
        disk.write_at(&[0xa1; 4096], 0).unwrap();
        store.upkeep(UpkeepStep::Checkpoint).unwrap();
        disk.write_at(&[0xa2; 4096], 4096).unwrap();
        store.upkeep(UpkeepStep::Drain).unwrap();
        disk.write_at(&[0xa3; 4096], 8192).unwrap();
        store.close().unwrap();
        medium
    }

    #[test]
    fn what_was_changed_and_repaired_is_believed() {
        let whole = store();
        let mut changed = 0;
        for value in [0xa1, 0xa2, 0xa3] {
            for (file, _) in whole.files() {
                let bytes = whole.bytes(file).unwrap();
                for (page, _) in bytes
                    .chunks(4096)
                    .enumerate()
                    .filter(|(_, page)| **page == [value; 4096])
                {
                    let after = whole.fork();
                    after.flip(file, page as u64 * 4096 + 5, 0xff);
                    let read = || {
                        let store = Store::open_on(after.start(), open_options()).ok()?;
                        let disk = store.branch(&"a".parse().unwrap()).ok()?;
                        let mut byte = [0];
                        disk.read_at(&mut byte, u64::from(value - 0xa1) * 4096 + 5).ok()?;
                        Some(byte[0])
                    };
                    repair(&whole, &after);
                    assert_eq!(read(), Some(!value), "block {value:x} in {file:?}");
                    changed += 1;
                }
            }
        }
        assert_eq!(changed, 3);
    }

    #[test]
    fn what_was_not_changed_stays() {
        let whole = store();
        let after = whole.fork();
        repair(&whole, &after);
        for (file, _) in whole.files() {
            assert_eq!(after.bytes(file), whole.bytes(file), "{file:?}");
        }
    }
}
