//! Files of segments that are gone, kept to be written again.
//!
//! Removing a file costs the device as much as writing it where every block that is given up is told to it, and what was
//! written once is written again in two thirds of the time. So the files of large segments stay for a while, and new
//! segments are made of them.
//!
//! **Invariant:** a file is written again only once the name of the segment that it was is gone durably; so a crash finds
//! no segment with another's bytes. What it has instead is the name of a segment that never was: what a process leaves
//! behind, the next opening removes as it removes all segments that are no part of the store.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::folder::{Folder, Inside};
use crate::medium::ObjectName;
use crate::segment::SegmentId;

/// So many files are kept at the most.
const FILES_MAX: usize = 64;

/// So many bytes are kept at the most.
const BYTES_MAX: u64 = 1 << 30;

/// And no more than one byte of so many that are free.
const FREE_PER_BYTE: u64 = 32;

/// Smaller files are not worth it.
const FILE_BYTES_MIN: u64 = 256 << 10;

/// A file may be longer by this than what is to be written: the rest is cut off.
const REST_BYTES_MAX: u64 = 256 << 10;

/// The files that are kept.
pub(super) struct SpareFiles {
    root: Arc<Folder>,
    kept: Mutex<Kept>,
}

struct Kept {
    slots: [Slot; FILES_MAX],
    /// Counts the segments that lost their names.
    renamed: u64,
}

impl Kept {
    fn bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes()).sum()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Empty,
    /// The segment that it was lost its name as the `renamed`th, and may have it again after a crash.
    Named {
        bytes: u64,
        renamed: u64,
    },
    /// It can be written.
    Ready {
        bytes: u64,
    },
}

impl Slot {
    fn bytes(self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Named { bytes, .. } | Self::Ready { bytes } => bytes,
        }
    }
}

impl SpareFiles {
    pub(super) fn new(root: Arc<Folder>) -> Self {
        Self {
            root,
            kept: Mutex::new(Kept {
                slots: [Slot::Empty; FILES_MAX],
                renamed: 0,
            }),
        }
    }

    fn path(&self, slot: usize) -> Inside {
        // Epochs are counted from 1.
        let id = SegmentId {
            epoch: 0,
            counter: slot as u32,
        };
        self.root.inside(ObjectName::Segment(id).to_string())
    }

    /// Takes the file of a segment that is gone, if it is worth keeping and there is plenty of room; tells whether.
    pub(super) fn keep(&self, segment: &Path, free: u64) -> io::Result<bool> {
        let metadata = fs::metadata(segment)?;
        // A copy of the store that was made of links has the same files.
        if metadata.nlink() > 1 {
            return Ok(false);
        }
        let bytes = metadata.len();
        let mut kept = self.kept.lock();
        if bytes < FILE_BYTES_MIN || kept.bytes() + bytes > BYTES_MAX.min(free / FREE_PER_BYTE) {
            return Ok(false);
        }
        let Some(slot) = kept.slots.iter().position(|&slot| slot == Slot::Empty) else {
            return Ok(false);
        };
        fs::rename(segment, self.path(slot))?;
        kept.renamed += 1;
        let renamed = kept.renamed;
        kept.slots[slot] = Slot::Named { bytes, renamed };
        Ok(true)
    }

    /// Bytes of all files that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.kept.lock().bytes()
    }

    /// Returns how many segments have lost their names: what [`SpareFiles::settle`] is told when the directory has been
    /// synced.
    pub(super) fn renamed(&self) -> u64 {
        self.kept.lock().renamed
    }

    /// So many segments lost their names durably.
    pub(super) fn settle(&self, durable: u64) {
        for slot in &mut self.kept.lock().slots {
            match *slot {
                Slot::Named { bytes, renamed } if renamed <= durable => *slot = Slot::Ready { bytes },
                _ => {}
            }
        }
    }

    /// Gives the file that fits `bytes` best the name of a new segment, if there is one that is not much longer; returns
    /// its length. None where there is no plenty of room any more: a segment may turn out shorter than it was to be, and others
    /// need the rest.
    pub(super) fn rename_for(&self, bytes: u64, free: u64, segment: &Path) -> io::Result<Option<u64>> {
        let kept = &mut *self.kept.lock();
        if kept.bytes() > free / FREE_PER_BYTE {
            return Ok(None);
        }
        let slots = &mut kept.slots;
        let fitting = slots.iter().enumerate().filter_map(|(slot, kept)| match *kept {
            Slot::Ready { bytes: has } if has <= bytes + REST_BYTES_MAX => Some((has, slot)),
            _ => None,
        });
        let Some((has, slot)) = fitting.max() else {
            return Ok(None);
        };
        slots[slot] = Slot::Empty;
        let path = self.path(slot);
        let path: &Path = path.as_ref();
        match renameat_with(CWD, path, CWD, segment, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(Some(has)),
            Err(rustix::io::Errno::EXIST) => {
                slots[slot] = Slot::Ready { bytes: has };
                Err(io::ErrorKind::AlreadyExists.into())
            }
            // Not every file system can do that.
            Err(_) => fs::remove_file(path).map(|()| None),
        }
    }

    /// Removes one of them; false if there is none.
    pub(super) fn remove_one(&self) -> bool {
        let slots = &mut self.kept.lock().slots;
        let Some(slot) = slots.iter().position(|&slot| slot != Slot::Empty) else {
            return false;
        };
        slots[slot] = Slot::Empty;
        // What cannot be removed now is removed by the next opening.
        let _ = fs::remove_file(self.path(slot));
        true
    }

    /// Removes them all.
    pub(super) fn clear(&self) {
        while self.remove_one() {}
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::medium::{Area, DirectoryMedium, Medium, Reading, Writing};

    const MIB: u64 = 1 << 20;

    fn segment(counter: u32) -> ObjectName {
        ObjectName::Segment(SegmentId { epoch: 1, counter })
    }

    fn medium() -> (tempfile::TempDir, DirectoryMedium) {
        let root = tempfile::tempdir().expect("a directory");
        let medium = DirectoryMedium::create(root.path()).expect("made");
        (root, medium.expect("an empty directory"))
    }

    fn write(medium: &DirectoryMedium, name: ObjectName, bytes: &[u8]) {
        let writing = Writing::PastCache {
            bytes: bytes.len() as u64,
        };
        let mut writer = medium.create_object(name, writing).expect("made");
        writer.append(bytes).expect("written");
        writer.sync().expect("synced");
    }

    fn inode(root: &tempfile::TempDir, name: ObjectName) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(root.path().join(name.to_string()));
        metadata.expect("it is there").ino()
    }

    #[test]
    fn a_segment_is_made_of_one_that_is_gone_durably() {
        let (root, medium) = medium();
        write(&medium, segment(1), &vec![1; 2 << 20]);
        let was = inode(&root, segment(1));
        medium.retire_object(segment(1)).expect("gone");
        let gone = medium.open_object(segment(1)).err().map(|error| error.kind());
        assert_eq!(gone, Some(ErrorKind::NotFound));

        write(&medium, segment(2), &vec![2; 2 << 20]);
        assert_ne!(inode(&root, segment(2)), was, "its name may come back");
        medium.sync_area(Area::Segment).expect("synced");

        // Shorter than it was, and with an end that is no whole block.
        let bytes = vec![3; (2 << 20) - 5000];
        write(&medium, segment(3), &bytes);
        assert_eq!(inode(&root, segment(3)), was);
        let object = medium.open_object(segment(3)).expect("open");
        assert_eq!(object.length().expect("told"), bytes.len() as u64);
        for reading in [Reading::Cached, Reading::PastCache] {
            let mut read = vec![0; bytes.len()];
            object.read_at(&mut read, 0, reading).expect("read");
            assert!(read == bytes);
        }
    }

    #[test]
    fn a_segment_is_not_made_of_one_that_is_much_longer() {
        let (root, medium) = medium();
        write(&medium, segment(1), &vec![1; 2 << 20]);
        let was = inode(&root, segment(1));
        medium.retire_object(segment(1)).expect("gone");
        medium.sync_area(Area::Segment).expect("synced");
        write(&medium, segment(2), &vec![2; 1 << 20]);
        assert_ne!(inode(&root, segment(2)), was);
    }

    #[test]
    fn the_name_of_a_segment_that_is_there_is_not_taken() {
        let (_root, medium) = medium();
        for counter in 1..=2 {
            write(&medium, segment(counter), &vec![1; 2 << 20]);
        }
        medium.retire_object(segment(1)).expect("gone");
        medium.sync_area(Area::Segment).expect("synced");
        let taken = medium.create_object(segment(2), Writing::PastCache { bytes: 2 * MIB });
        assert_eq!(
            taken.err().map(|error| error.kind()),
            Some(ErrorKind::AlreadyExists)
        );
        let object = medium.open_object(segment(2)).expect("open");
        assert_eq!(object.length().expect("told"), 2 * MIB);
    }

    #[test]
    fn a_file_that_a_copy_of_the_store_has_too_is_not_written_again() {
        let (root, medium) = medium();
        let bytes = vec![1; 1 << 20];
        write(&medium, segment(1), &bytes);
        let copy = root.path().join("copy");
        fs::hard_link(root.path().join(segment(1).to_string()), &copy).expect("linked");
        medium.retire_object(segment(1)).expect("gone");
        medium.sync_area(Area::Segment).expect("synced");
        write(&medium, segment(2), &vec![2; 1 << 20]);
        assert!(fs::read(copy).expect("there") == bytes);
    }

    #[test]
    fn no_segment_is_made_of_one_where_room_is_scarce() {
        let (root, medium) = medium();
        write(&medium, segment(1), &vec![1; 1 << 20]);
        let spare = SpareFiles::new(Folder::hold(root.path()).expect("held"));
        let path = |counter| root.path().join(segment(counter).to_string());
        assert!(spare.keep(&path(1), u64::MAX).expect("kept"));
        spare.settle(spare.renamed());
        let rename = |free| spare.rename_for(MIB, free, &path(2)).expect("looked");
        assert_eq!(rename(MIB * FREE_PER_BYTE - 1), None);
        assert_eq!(rename(MIB * FREE_PER_BYTE), Some(MIB));
    }

    #[test]
    fn what_is_kept_is_given_back_in_pieces_and_never_much() {
        let (root, medium) = medium();
        let kept = || {
            let names = medium.list_objects(Area::Segment).expect("listed").into_iter();
            names.filter(|name| *name != segment(0)).count()
        };
        write(&medium, segment(0), &vec![1; 1 << 20]);
        for counter in 1..=3 {
            write(&medium, segment(counter), &vec![1; 1 << 20]);
            medium.retire_object(segment(counter)).expect("gone");
        }
        assert_eq!(kept(), 3);
        assert!(medium.give_back());
        assert_eq!(kept(), 2);
        medium.reserve(0).expect("let go");
        assert_eq!(kept(), 0, "who ends leaves nothing");
        assert!(!medium.give_back());

        let spare = SpareFiles::new(Folder::hold(root.path()).expect("held"));
        let path = root.path().join(segment(0).to_string());
        assert!(!spare.keep(&path, MIB * FREE_PER_BYTE - 1).expect("looked"));
        assert!(spare.keep(&path, MIB * FREE_PER_BYTE).expect("looked"));
    }
}
