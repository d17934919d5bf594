//! The bytes of one file: for every 4 KiB page what the medium holds, what the cache shows, and the versions
//! between that were never synced.
//!
//! Invariant: a page is clean when it has no pending versions. A clean page's cache can still differ from its
//! medium: that is what a failed sync leaves behind.

use std::hash::{Hash, Hasher};
use std::io;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::chooser::Chooser;
use super::digest::Digester;

/// Bytes of a page, the unit that is written and lost.
pub(super) const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// Which sectors of a torn page are the new ones.
const TEARS: [u8; 8] = [0x01, 0x7f, 0x80, 0xfe, 0x0f, 0xf0, 0x55, 0xaa];

/// A page; `None` is all zeroes.
type Page = Option<Arc<PageBytes>>;

/// Bytes that never change; shared by all media that have them, and digested once.
#[derive(Debug)]
struct PageBytes {
    bytes: [u8; PAGE],
    digest: OnceLock<u128>,
}

#[derive(Clone, Debug, Default, Hash)]
struct Slot {
    medium: Page,
    cache: Page,
    /// Versions written since the last sync, oldest first; the last one is the cache's.
    pending: Vec<Page>,
    /// Missed by the reads past the cache until it arrives.
    late: bool,
}

/// Whose bytes are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The page cache.
    Cache,
    /// Past the cache: the medium, and dirty pages, which the kernel writes back first.
    PastCache,
}

/// A file's bytes and what would be left of them.
///
/// Hashed, it is all that a later process could see of it and a crash could leave.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct FileBytes {
    slots: Vec<Slot>,
    length: u64,
    medium_length: u64,
    dirty_length: bool,
}

fn bytes_of(page: &Page) -> &[u8; PAGE] {
    const ZERO: &[u8; PAGE] = &[0; PAGE];
    page.as_deref().map_or(ZERO, |page| page)
}

fn page_of(bytes: [u8; PAGE]) -> Page {
    Some(Arc::new(PageBytes {
        bytes,
        digest: OnceLock::new(),
    }))
}

impl Deref for PageBytes {
    type Target = [u8; PAGE];

    fn deref(&self) -> &Self::Target {
        &self.bytes
    }
}

impl Hash for PageBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let digest = self.digest.get_or_init(|| {
            let mut digester = Digester::default();
            digester.write(&self.bytes);
            digester.digest()
        });
        state.write_u128(*digest);
    }
}

impl FileBytes {
    /// Returns a file of zeroes, none of which is durable.
    pub(super) fn zeroes(length: u64) -> Self {
        let slots = vec![Slot::default(); (length as usize).div_ceil(PAGE)];
        Self {
            slots,
            length,
            medium_length: 0,
            dirty_length: true,
        }
    }

    /// Returns the length, which the kernel knows without asking the medium.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether a page was ever written.
    pub(super) fn is_written(&self, page: usize) -> bool {
        self.slots
            .get(page)
            .is_some_and(|slot| slot.cache.is_some() || slot.medium.is_some())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if end > self.length {
            self.length = end;
            self.dirty_length = true;
            self.slots
                .resize_with((end as usize).div_ceil(PAGE), Slot::default);
        }
        let mut at = offset as usize;
        let mut left = bytes;
        while !left.is_empty() {
            let within = at % PAGE;
            let (now, rest) = left.split_at(left.len().min(PAGE - within));
            let slot = &mut self.slots[at / PAGE];
            let mut page = *bytes_of(&slot.cache);
            page[within..within + now.len()].copy_from_slice(now);
            slot.cache = page_of(page);
            // A few versions are enough to choose from.
            if slot.pending.len() == 4 {
                slot.pending.remove(1);
            }
            slot.pending.push(slot.cache.clone());
            slot.late = false;
            at += now.len();
            left = rest;
        }
    }

    pub(super) fn read(&self, bytes: &mut [u8], offset: u64, sight: Sight) -> io::Result<()> {
        if offset
            .checked_add(bytes.len() as u64)
            .is_none_or(|end| end > self.length)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut at = offset as usize;
        let mut left = bytes;
        while !left.is_empty() {
            let within = at % PAGE;
            let length = left.len().min(PAGE - within);
            let (now, rest) = left.split_at_mut(length);
            now.copy_from_slice(&bytes_of(self.slots[at / PAGE].seen(sight))[within..within + length]);
            at += length;
            left = rest;
        }
        Ok(())
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty_length || self.slots.iter().any(|slot| !slot.pending.is_empty())
    }

    pub(super) fn sync(&mut self) {
        if self.dirty_length {
            (self.medium_length, self.dirty_length) = (self.length, false);
        }
        for slot in &mut self.slots {
            slot.settle();
        }
    }

    /// A sync that fails: everything counts as clean and stays readable; the medium gets any mixture.
    pub(super) fn fail_sync(&mut self, chooser: &mut Chooser) {
        self.mix(chooser);
        self.dirty_length = false;
    }

    /// The power goes: what was not synced survives in any mixture, and the cache is gone.
    pub(super) fn cut_power(&mut self, chooser: &mut Chooser) {
        self.mix(chooser);
        (self.length, self.dirty_length) = (self.medium_length, false);
        self.slots
            .resize_with((self.length as usize).div_ceil(PAGE), Slot::default);
        let tail = self.length as usize % PAGE;
        if let (Some(last), true) = (self.slots.last_mut(), tail > 0) {
            let mut page = *bytes_of(&last.medium);
            page[tail..].fill(0);
            last.medium = page_of(page);
        }
        for slot in &mut self.slots {
            slot.cache = slot.medium.clone();
        }
    }

    /// Chooses unsynced pages that a reader past the cache misses until [`FileBytes::arrive`].
    pub(super) fn delay(&mut self, chooser: &mut Chooser) {
        for slot in self.slots.iter_mut().filter(|slot| !slot.pending.is_empty()) {
            slot.late = chooser.choose(2) == 1;
        }
    }

    /// The delayed pages reach the medium.
    pub(super) fn arrive(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot.late) {
            slot.settle();
        }
    }

    /// Changes a byte everywhere, as rot does.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) {
        let slot = &mut self.slots[offset as usize / PAGE];
        let mut page = *bytes_of(&slot.cache);
        page[offset as usize % PAGE] ^= mask;
        slot.cache = page_of(page);
        slot.medium = slot.cache.clone();
        slot.pending.clear();
    }

    /// Cuts the file, as rot does.
    pub(super) fn truncate(&mut self, length: u64) {
        self.sync();
        (self.length, self.medium_length) = (length, length);
        self.slots.truncate((length as usize).div_ceil(PAGE));
    }

    /// Lets any mixture of what was not synced reach the medium.
    fn mix(&mut self, chooser: &mut Chooser) {
        if self.dirty_length {
            // Nothing of the growth, all of it, or a part that need not end on a page.
            let grown = self.length.saturating_sub(self.medium_length);
            self.medium_length += match chooser.choose(4) {
                0 => 0,
                1 => grown,
                2 => grown / 2,
                _ => grown.saturating_sub(1),
            };
        }
        let kept = (self.medium_length as usize).div_ceil(PAGE);
        for slot in &mut self.slots[..kept] {
            slot.mix(chooser);
        }
        for slot in &mut self.slots[kept..] {
            slot.pending.clear();
        }
    }
}

impl Slot {
    fn seen(&self, sight: Sight) -> &Page {
        let past = sight == Sight::PastCache && (self.pending.is_empty() || self.late);
        if past { &self.medium } else { &self.cache }
    }

    /// The cache reaches the medium; a clean page is not written again, whatever the medium holds.
    fn settle(&mut self) {
        if !self.pending.is_empty() {
            self.medium = self.cache.clone();
            self.pending.clear();
        }
        self.late = false;
    }

    /// The medium keeps what it had, gets the latest version, an earlier one, or a mixture of sectors.
    fn mix(&mut self, chooser: &mut Chooser) {
        if self.pending.is_empty() {
            return;
        }
        let versions = std::mem::take(&mut self.pending);
        let earlier = versions.len() - 1;
        self.late = false;
        match chooser.choose(3 + earlier) {
            0 => {}
            1 => self.medium = versions[earlier].clone(),
            2 => {
                let sectors = TEARS[chooser.choose(TEARS.len())];
                self.medium = torn(&self.medium, &versions[earlier], sectors);
            }
            earlier => self.medium = versions[earlier - 3].clone(),
        }
    }
}

fn torn(old: &Page, new: &Page, sectors: u8) -> Page {
    let mut page = *bytes_of(old);
    for sector in (0..PAGE / SECTOR).filter(|sector| sectors >> sector & 1 == 1) {
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        page[range.clone()].copy_from_slice(&bytes_of(new)[range]);
    }
    page_of(page)
}
