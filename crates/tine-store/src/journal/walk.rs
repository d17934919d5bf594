//! Reading the journal back: from a manifest's floor through every epoch's cut to the end.
//!
//! A frame continues another if it has the next sequence number of the same epoch and its chain value follows, and
//! it lies right behind or at the start of a ring file; an epoch's first frame continues the frame that it names.
//! An epoch that names a frame wins over the frames behind that one: they were cut off by a recovery.
//!
//! The end is the first frame that is not whole. Rules 7 and 12 tell it from damage: something later proves that the
//! frame was durable, or a file is shorter than it was made.

use std::collections::HashSet;
use std::io::ErrorKind;

use crate::block::BLOCK;
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::journal::frame::{
    FRAME_ALIGNMENT, Header, decode_header, decode_records, follows, head_is_whole, payload_blocks,
};
use crate::journal::record::{FrameRef, Record};
use crate::journal::ring::{EPOCH_COPIES, Place, Shape, frame_bytes_max};
use crate::medium::Medium;
use crate::planted::{Bug, planted};

/// A frame on the path from the floor to the end.
pub(crate) struct Walked {
    pub(crate) place: Place,
    pub(crate) header: Header,
    pub(crate) records: Vec<Record>,
    pub(crate) payload: Box<[u8]>,
    /// False if a block does not have its checksum, although the frame was durable.
    pub(crate) payload_is_whole: bool,
    /// Where the next frame would begin, if it fits.
    end: Place,
}

impl Walked {
    /// Returns where the next frame would begin, if it fits.
    pub(crate) fn end(&self) -> Place {
        self.end
    }
}

/// What was found.
pub(crate) struct Path {
    pub(crate) frames: Vec<Walked>,
    /// The place behind the last frame, if that is a CLOSED one: an epoch may go on there.
    pub(crate) clean_end: Option<Place>,
    /// What proves that the journal went on behind the last frame, or should have.
    pub(crate) damage: Option<StoreError>,
}

impl Path {
    /// Returns the newest manifest that a frame says was announced.
    pub(crate) fn announced(&self) -> u64 {
        self.frames
            .iter()
            .map(|frame| frame.header.manifest)
            .max()
            .unwrap_or(0)
    }
}

/// Reads frames of a ring.
pub(crate) struct Walker<'a> {
    medium: &'a dyn Medium,
    file_bytes: u64,
    shape: Shape,
    files: u32,
    /// A file that is missing or cut.
    lost: Option<StoreError>,
    /// The first bytes of each file, where epochs and continued paths begin.
    starts: Vec<Vec<u8>>,
    window: Vec<u8>,
    window_at: Place,
}

const START_BYTES: usize = EPOCH_COPIES as usize * FRAME_ALIGNMENT;

const WINDOW_BYTES: u64 = 64 << 10;

/// Read at once where every place is looked at.
const LOOKED_THROUGH_BYTES: u64 = 1 << 20;

/// How far behind the places at which the next epoch could have begun one looks for it after a clean end: every opening
/// pays for that.
const LOOK_BEHIND_CLOSED_BYTES: u64 = 256 << 10;

/// A frame's head, whole, and its place.
struct Found {
    place: Place,
    header: Header,
    head: Vec<u8>,
}

impl Found {
    fn is_epoch(&self) -> Option<Option<FrameRef>> {
        match decode_records(&self.header, &self.head).ok()?.first()? {
            Record::Epoch { cut } => Some(*cut),
            _ => None,
        }
    }
}

impl<'a> Walker<'a> {
    pub(crate) fn new(medium: &'a dyn Medium, shape: Shape) -> Result<Self> {
        let files = medium
            .journal_files()
            .map_err(|e| StoreError::io("journal/", "list", e))?;
        let mut walker = Self {
            medium,
            file_bytes: shape.file_bytes,
            shape,
            files,
            lost: None,
            starts: Vec::new(),
            window: Vec::new(),
            window_at: Place { file: 0, offset: 0 },
        };
        for place in walker.starts() {
            let start = walker.read(place, START_BYTES)?;
            walker.starts.push(start);
        }
        walker.lost = walker.look_at_files()?;
        Ok(walker)
    }

    /// Returns what is damaged if a file is not there or shorter than it was: what lay in it would not be looked at, and the
    /// journal seem to end before it.
    ///
    /// A file is whole and synced before a frame lies in it. Only one that was being added when its process died is short,
    /// and has nothing in it yet.
    fn look_at_files(&mut self) -> Result<Option<StoreError>> {
        let began_with = if self.medium.can_overwrite() {
            self.shape.files
        } else {
            0
        };
        if self.files < began_with {
            return Ok(Some(StoreError::damaged(format!(
                "journal/{} is missing",
                self.files
            ))));
        }
        for file in 0..self.files {
            let length = self
                .medium
                .journal_file_bytes(file)
                .map_err(|e| StoreError::io(format_args!("journal/{file}"), "look at", e))?;
            if length < self.file_bytes && (file < began_with || self.has_a_header(file, length)?) {
                return Ok(Some(StoreError::damaged(format!(
                    "journal/{file} is cut: it has {length} of its {} bytes",
                    self.file_bytes
                ))));
            }
        }
        Ok(None)
    }

    fn has_a_header(&mut self, file: u32, length: u64) -> Result<bool> {
        let key = self.shape.key;
        for offset in (0..length).step_by(FRAME_ALIGNMENT) {
            if decode_header(self.bytes(Place { file, offset }, FRAME_ALIGNMENT)?, &key).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self, place: Place, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let failed = |e| StoreError::io(format_args!("journal/{}", place.file), "read", e);
        match self.medium.read_journal(place.file, place.offset, &mut bytes) {
            // Behind the end of a file that is short by damage is nothing to be seen; what is before it may be asked for
            // in spite of that.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                for (page, at) in bytes
                    .chunks_mut(FRAME_ALIGNMENT)
                    .zip((place.offset..).step_by(FRAME_ALIGNMENT))
                {
                    match self.medium.read_journal(place.file, at, page) {
                        Err(error) if error.kind() == ErrorKind::UnexpectedEof => page.fill(0),
                        result => result.map_err(failed)?,
                    }
                }
            }
            result => result.map_err(failed)?,
        }
        Ok(bytes)
    }

    /// Returns bytes of a file, reading past the cache. An error of the medium fails the opening (rule 9).
    fn bytes(&mut self, place: Place, length: usize) -> Result<&[u8]> {
        if place.offset as usize + length <= START_BYTES {
            let start = place.offset as usize;
            return Ok(&self.starts[place.file as usize][start..start + length]);
        }
        let inside = place.file == self.window_at.file
            && place.offset >= self.window_at.offset
            && place.offset + length as u64 <= self.window_at.offset + self.window.len() as u64;
        if !inside {
            self.move_window(place, (length as u64).max(WINDOW_BYTES))?;
        }
        let start = (place.offset - self.window_at.offset) as usize;
        Ok(&self.window[start..start + length])
    }

    /// Reads so much from a place on, or what the file has from there.
    fn move_window(&mut self, place: Place, bytes: u64) -> Result<()> {
        let bytes = bytes.min(self.file_bytes - place.offset) as usize;
        // The memory of the former window is given up first: there is never more than one.
        self.window = Vec::new();
        self.window = self.read(place, bytes)?;
        self.window_at = place;
        Ok(())
    }

    /// Returns the frame at a place if its head is whole.
    fn find(&mut self, place: Place) -> Result<Option<Found>> {
        self.find_if(place, |_| true)
    }

    /// Returns the frame at a place if its header is wanted and its head is whole. What is not wanted costs no read
    /// of its records.
    fn find_if(&mut self, place: Place, wanted: impl Fn(&Header) -> bool) -> Result<Option<Found>> {
        let last = self.file_bytes - FRAME_ALIGNMENT as u64;
        if place.file >= self.files
            || place.offset > last
            || !place.offset.is_multiple_of(FRAME_ALIGNMENT as u64)
        {
            return Ok(None);
        }
        let key = self.shape.key;
        let header = decode_header(self.bytes(place, FRAME_ALIGNMENT)?, &key);
        let Some(header) = header.filter(wanted) else {
            return Ok(None);
        };
        let most = frame_bytes_max(self.file_bytes);
        let claimed = u64::from(header.records_bytes) + u64::from(header.payload_blocks) * BLOCK as u64;
        if claimed > most as u64
            || header.frame_bytes() > most
            || place.offset + header.frame_bytes() as u64 > self.file_bytes
        {
            return Ok(None);
        }
        let head = self.bytes(place, header.head_bytes())?;
        if !head_is_whole(&header, head) {
            return Ok(None);
        }
        let head = head.to_vec();
        Ok(Some(Found { place, header, head }))
    }

    /// Returns the first frames of the epochs that begin at `base`, each with the cut that it names.
    ///
    /// Usually the two copies of one; but a copy that was lost leaves what was there before, which may be another's.
    fn find_epochs(&mut self, base: Place) -> Result<Vec<(Found, Option<FrameRef>)>> {
        let mut epochs = Vec::new();
        for copy in 0..EPOCH_COPIES {
            let first = |header: &Header| {
                let copy = u64::from(header.copy) == copy;
                copy && header.frame.sequence == 1 && header.head_bytes() == FRAME_ALIGNMENT
            };
            let offset = base.offset + copy * FRAME_ALIGNMENT as u64;
            if let Some(found) = self.find_if(Place { offset, ..base }, first)?
                && let Some(cut) = found.is_epoch()
            {
                epochs.push((found, cut));
            }
        }
        Ok(epochs)
    }

    fn starts(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.files).map(|file| Place { file, offset: 0 })
    }

    fn walked(&mut self, found: Found, end: Place) -> Result<Walked> {
        let Found { place, header, head } = found;
        let records = decode_records(&header, &head)?;
        let at = Place {
            offset: place.offset + header.head_bytes() as u64,
            ..place
        };
        let length = header.payload_blocks as usize * BLOCK;
        let payload: Box<[u8]> = if length == 0 {
            Box::default()
        } else {
            self.bytes(at, length)?.into()
        };
        let checksums: Vec<u32> = payload_blocks(&records).map(|(.., checksum)| checksum).collect();
        let payload_is_whole = planted(Bug::UncheckedPayload)
            || checksums.len() == header.payload_blocks as usize
                && payload
                    .chunks(BLOCK)
                    .zip(checksums)
                    .all(|(block, checksum)| crc32c(block) == checksum);
        Ok(Walked {
            place,
            header,
            records,
            payload,
            payload_is_whole,
            end,
        })
    }

    fn plain(&mut self, found: Found) -> Result<Walked> {
        let end = Place {
            offset: found.place.offset + found.header.frame_bytes() as u64,
            ..found.place
        };
        self.walked(found, end)
    }

    fn epoch(&mut self, found: Found, base: Place) -> Result<Walked> {
        let end = Place {
            offset: base.offset + EPOCH_COPIES * FRAME_ALIGNMENT as u64,
            ..base
        };
        // Whichever copy was found, the frame is known by its first place.
        Ok(Walked {
            place: base,
            ..self.walked(found, end)?
        })
    }

    /// Finds the frame that a manifest names as its floor.
    fn floor(&mut self, floor: &FrameRef, place: Place) -> Result<Walked> {
        for (found, _) in self.find_epochs(place)? {
            if found.header.frame == *floor {
                return self.epoch(found, place);
            }
        }
        match self.find(place)? {
            Some(found) if found.header.frame == *floor => self.plain(found),
            _ => Err(StoreError::damaged(format!(
                "the journal's frame {} of epoch {} (file {}, offset {}) is missing or bad",
                floor.sequence, floor.epoch, place.file, place.offset
            ))),
        }
    }

    /// Returns the frame that continues the path behind `last`, if one does.
    fn next(&mut self, last: &Walked, known: &HashSet<[u8; 16]>) -> Result<Option<Walked>> {
        let frame = last.header.frame;
        let mut behind = None;
        for place in [last.end].into_iter().chain(self.starts()) {
            let continues = |header: &Header| {
                header.frame.nonce == frame.nonce
                    && frame.sequence.checked_add(1) == Some(header.frame.sequence)
            };
            behind = self
                .find_if(place, continues)?
                .filter(|found| follows(&found.header, &found.head, frame.chain));
            if behind.is_some() {
                break;
            }
        }
        if planted(Bug::StaleFrame) && behind.is_none() {
            behind = self.find(last.end)?.filter(|found| found.is_epoch().is_none());
        }
        let mut epochs: Vec<(Found, Place)> = Vec::new();
        for base in [last.end].into_iter().chain(self.starts()) {
            for (found, cut) in self.find_epochs(base)? {
                let names_last = cut == Some(frame)
                    || planted(Bug::CutForgotten)
                        && behind.is_none()
                        && cut.is_some_and(|cut| cut.nonce == frame.nonce)
                        && !known.contains(&found.header.frame.nonce);
                if names_last {
                    epochs.push((found, base));
                }
            }
        }
        let epoch = self.last_continued(epochs)?;
        match (epoch, behind) {
            (Some((found, base)), behind) if !(planted(Bug::CutForgotten) && behind.is_some()) => {
                self.epoch(found, base).map(Some)
            }
            (_, Some(found)) => self.plain(found).map(Some),
            _ => Ok(None),
        }
    }

    /// Returns of epochs that continue one frame the one to follow.
    ///
    /// On write-once media an opening that died leaves its epoch, and a later opening that did not see that begins another
    /// with the same cut and number in a later file. Some later one may see the first only, and go on there; it makes what
    /// it relies on durable, and what the second held was not. So the latest opening whose epoch is there tells: of epochs
    /// with one number the later file's is the later opening's.
    fn last_continued(&mut self, epochs: Vec<(Found, Place)>) -> Result<Option<(Found, Place)>> {
        let mut chosen: Option<((u64, u32), (Found, Place))> = None;
        let has_rivals = epochs
            .windows(2)
            .any(|pair| pair[0].0.header.frame.nonce != pair[1].0.header.frame.nonce);
        let mut all = Vec::new();
        if has_rivals {
            for base in self.starts() {
                for (found, cut) in self.find_epochs(base)? {
                    all.extend(cut.map(|cut| (found.header.frame, cut, base.file)));
                }
            }
            // Each comes behind those that it may continue.
            all.sort_unstable_by_key(|(frame, ..)| frame.epoch);
        }
        for (found, base) in epochs {
            let first = found.header.frame;
            let mut line = HashSet::from([first.nonce]);
            let mut last = (first.epoch, base.file);
            for (frame, cut, file) in &all {
                if frame.epoch > first.epoch && line.contains(&cut.nonce) {
                    line.insert(frame.nonce);
                    last = last.max((frame.epoch, *file));
                }
            }
            if chosen.as_ref().is_none_or(|(best, _)| last >= *best) {
                chosen = Some((last, (found, base)));
            }
        }
        Ok(chosen.map(|(_, epoch)| epoch))
    }

    /// Walks from the floor to the end; an error if the floor itself is missing.
    pub(crate) fn walk(&mut self, floor: &FrameRef, place: Place) -> Result<Path> {
        // What a manifest says is not trusted to be a place.
        let place = Place {
            offset: place.offset.min(self.file_bytes),
            ..place
        };
        let first = self.floor(floor, place);
        let mut frames = vec![first.map_err(|error| self.lost.clone().unwrap_or(error))?];
        let mut known = HashSet::from([floor.nonce]);
        let most = u64::from(self.files) * (self.file_bytes / FRAME_ALIGNMENT as u64);
        while let Some(next) = self.next(&frames[frames.len() - 1], &known)? {
            if frames.len() as u64 > most {
                return Err(StoreError::damaged(
                    "the journal's frames form a ring without an end",
                ));
            }
            known.insert(next.header.frame.nonce);
            frames.push(next);
        }
        cut_at_torn(&mut frames);
        let Some(last) = frames.last() else {
            return Err(StoreError::damaged(
                "the journal's first frame does not have its content",
            ));
        };
        let closed = last.records.last() == Some(&Record::Closed);
        let damage = if planted(Bug::CutForgotten) {
            None
        } else {
            match &self.lost {
                Some(lost) => Some(lost.clone()),
                None => self.look_behind(last, closed)?,
            }
        };
        let clean_end = closed.then_some(last.end);
        Ok(Path {
            frames,
            clean_end,
            damage,
        })
    }

    /// Looks for what proves that the path should not end after `last` (rule 7): a later frame of its epoch that says that
    /// the next one was synced, or any frame of a later epoch, for an epoch begins only behind a frame that is durable.
    ///
    /// No guest's block can look like either, as it does not have the store's key; so the place proves nothing, and every
    /// place is looked at. Behind a clean end there is nothing but, perhaps, the next epoch, which begins right there or at
    /// the start of a file, and what follows that: so a store that was closed opens without reading its whole ring.
    fn look_behind(&mut self, last: &Walked, closed: bool) -> Result<Option<StoreError>> {
        let (frame, end) = (last.header.frame, last.end);
        let bad = frame.sequence.saturating_add(1);
        let proves = |header: &Header| {
            let found = header.frame;
            found.epoch > frame.epoch
                || found.nonce == frame.nonce && found.sequence > bad && header.synced_through >= bad
        };
        let in_place = self.medium.can_overwrite();
        let goes_on_here = closed && in_place && end.offset + START_BYTES as u64 <= self.file_bytes;
        // A chain of files that are written once has nothing later before its end.
        let files = if in_place { 0 } else { end.file }..self.files;
        for file in files {
            let from = if file == end.file && (goes_on_here || !in_place) {
                end.offset
            } else {
                0
            };
            let bytes = match (closed, goes_on_here && file != end.file) {
                (false, _) => self.file_bytes,
                (true, false) => LOOK_BEHIND_CLOSED_BYTES,
                (true, true) => START_BYTES as u64,
            };
            let to = self.file_bytes.min(from + bytes);
            let mut read_to = from;
            for offset in (from..to).step_by(FRAME_ALIGNMENT) {
                let place = Place { file, offset };
                // All of it is going to be looked at: in few reads, not in windows.
                if offset >= read_to && to - from > START_BYTES as u64 {
                    read_to = to.min(offset + LOOKED_THROUGH_BYTES);
                    self.move_window(place, read_to - offset)?;
                }
                let Some(found) = self.find_if(place, proves)? else {
                    continue;
                };
                let found = found.header.frame;
                let what = if found.epoch > frame.epoch {
                    format!(
                        "the journal's epoch {} is there, but the frame that it continues is not reached",
                        found.epoch
                    )
                } else {
                    format!(
                        "the journal's frame {bad} of epoch {} was durable and is bad",
                        frame.epoch
                    )
                };
                return Ok(Some(StoreError::damaged(what)));
            }
        }
        Ok(None)
    }
}

/// Ends the path at the first frame whose payload is bad and that nothing behind it proves to have been durable.
fn cut_at_torn(frames: &mut Vec<Walked>) {
    let torn = (0..frames.len()).find(|&at| {
        let frame = frames[at].header.frame;
        !frames[at].payload_is_whole
            && !frames[at + 1..].iter().any(|later| {
                later.header.frame.nonce != frame.nonce || later.header.synced_through >= frame.sequence
            })
    });
    if let Some(torn) = torn {
        frames.truncate(torn);
    }
}

#[cfg(test)]
mod tests;
