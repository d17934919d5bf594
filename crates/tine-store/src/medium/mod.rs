//! Media: where a store lies.
//!
//! The engine sees a medium through [`Medium`], a narrow trait: objects that are put once and never changed
//! (segments, manifests, the parameters), and a journal of a few files whose frames are written, synced and read
//! back. Nothing assumes rename, overwriting or a page cache for objects, so that an object store can follow.
//!
//! Durability: nothing written is durable before the sync that names it has returned: [`ObjectWriter::sync`] for an
//! object's bytes, [`Medium::sync_area`] for the names of objects and journal files made or removed,
//! [`Medium::sync_journal`] for frames. An error from a sync means that the bytes may be lost although they can
//! still be read; it is never retried.

mod directory;
pub(crate) mod lease;
#[cfg(feature = "simulation")]
pub mod simulated;

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

pub use directory::folder::{Folder, Inside};
pub use directory::{Access, DirectoryMedium};

use crate::segment::SegmentId;

/// The kinds of names whose directory can be synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// The parameters of the store.
    Root,
    /// Manifests.
    Manifest,
    /// Segments.
    Segment,
    /// The files of the journal's ring.
    Journal,
}

/// Who syncs the journal: two may do so at once, and each is told of what the medium lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syncer {
    /// Of commits with even numbers, and of all else.
    First,
    /// Of commits with odd numbers.
    Second,
}

impl Syncer {
    /// Returns who syncs a commit: another than the one who syncs the next.
    pub(crate) fn of_commit(number: u64) -> Self {
        if number.is_multiple_of(2) {
            Self::First
        } else {
            Self::Second
        }
    }
}

/// The name of an object: made by the engine alone, so it is always a safe file name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// `store.json`: written once, last, when the store is made.
    Parameters,
    /// A manifest, by its number.
    Manifest(u64),
    /// A segment.
    Segment(SegmentId),
}

impl ObjectName {
    /// Returns the area in which the object's name lies.
    pub fn area(self) -> Area {
        match self {
            Self::Parameters => Area::Root,
            Self::Manifest(_) => Area::Manifest,
            Self::Segment(_) => Area::Segment,
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameters => out.write_str("store.json"),
            Self::Manifest(number) => write!(out, "manifest/{number}"),
            Self::Segment(id) => write!(out, "segments/{id}"),
        }
    }
}

/// From where a read is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// A cache may answer.
    Cached,
    /// As [`Reading::Cached`], but a medium that would have to wait may fail with [`io::ErrorKind::WouldBlock`] instead.
    /// Then it begins to fetch the bytes, so that who asks for several things waits for all of them at once.
    AtHand,
    /// The medium itself answers. After a failed sync a cache can hold clean pages that the medium never got, so
    /// recovery always reads like this.
    PastCache,
}

/// To where a write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Into a cache first, where what is written can be read at once for little.
    Cached,
    /// Past the cache where that is possible: for so much that a cache would only be filled with it. It can be read at
    /// once all the same.
    PastCache {
        /// So many will be written, about.
        bytes: u64,
    },
}

/// A medium for one store. All methods may be called from several threads.
pub trait Medium: Send + Sync + 'static {
    /// Makes a new object; [`io::ErrorKind::AlreadyExists`] if there is one of that name.
    fn create_object(&self, name: ObjectName, writing: Writing) -> io::Result<Box<dyn ObjectWriter>>;

    /// Tells whether an object can be opened, and what was appended to it be read, while it is still being made. If so,
    /// large writes go to segments at once.
    fn reads_unfinished(&self) -> bool;

    /// Opens an object for reading; [`io::ErrorKind::NotFound`] if there is none.
    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>>;

    /// Removes an object's name; readers that have it open go on. Durable after [`Medium::sync_area`].
    fn remove_object(&self, name: ObjectName) -> io::Result<()>;

    /// Removes the name of an object that was durable and that nobody has open any more: [`Medium::remove_object`], but what
    /// it lay in may serve for another object.
    fn retire_object(&self, name: ObjectName) -> io::Result<()> {
        self.remove_object(name)
    }

    /// Returns the objects of an area, in no order.
    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>>;

    /// Makes the names in an area durable: those made are there, those removed are gone.
    fn sync_area(&self, area: Area) -> io::Result<()>;

    /// Returns how many files the journal's ring has; they are numbered from 0.
    fn journal_files(&self) -> io::Result<u32>;

    /// Returns the length of a journal file: less than it was made with only if making it did not end well, or by damage.
    fn journal_file_bytes(&self, file: u32) -> io::Result<u64>;

    /// Adds a file of `bytes` zeroes to the ring, or makes one anew that was left short; durable after
    /// [`Medium::sync_journal`] of it and [`Medium::sync_area`]. After an error it is as though nothing had been made.
    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()>;

    /// Writes into a journal file; `offset` and the length are multiples of 4096.
    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written to a journal file durable. Two threads may do this at once, as different syncers, and write to
    /// the file meanwhile. What was written and lost is an error for each syncer's next sync, whoever has been told before.
    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()>;

    /// Reads from a journal file past any cache; `offset` and the length are multiples of 4096.
    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Tells whether journal files can be written again and objects removed; false on write-once media.
    fn can_overwrite(&self) -> bool;

    /// Returns the bytes that can still be stored, those held by [`Medium::reserve`] not counted.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Holds `bytes` back, in place of what was held before, so that nobody else can take them;
    /// [`io::ErrorKind::StorageFull`] if there is less, and then what was held before stays held.
    fn reserve(&self, bytes: u64) -> io::Result<()>;

    /// Gives up something of what it keeps beyond that, only to be quicker, once nobody has written for a while; tells whether
    /// there is more.
    fn give_back(&self) -> bool {
        false
    }

    /// Lets another process have the medium and goes on as a reader, for as long as this handle lives: objects can be
    /// read, every change is refused, the journal is not there any more, and [`Medium::leased`] names `kept` to those
    /// who write. An error leaves everything as it was.
    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()>;

    /// Returns the segments that readers keep. Those of a reader that is dead are not among them.
    ///
    /// Only who could write becomes a reader. So while a writer has the medium readers end, but none appears.
    fn leased(&self) -> io::Result<Vec<SegmentId>>;

    /// Returns the directory that it is, if it is one: for what lies in it beside the store.
    fn folder(&self) -> Option<&Arc<Folder>> {
        None
    }

    /// Returns 128 bits that nobody can guess and that were never returned before, for ids and nonces. The medium is
    /// asked because on a simulated one everything has to be the same in every run.
    fn random_bits(&self) -> io::Result<[u8; 16]> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(bits)
    }

    /// Returns the time of day, which is asked of the medium for the same reason.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// An object while it is made. Dropped before it was synced it may or may not be there after a crash.
pub trait ObjectWriter: Send {
    /// Appends pieces, one behind the other. After [`io::ErrorKind::StorageFull`] it is as though nothing had been
    /// appended; after any other error the object is of no use any more.
    fn append_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()>;

    /// Appends bytes; see [`ObjectWriter::append_pieces`].
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append_pieces(&[IoSlice::new(bytes)])
    }

    /// Makes the bytes durable (the name becomes so by [`Medium::sync_area`]).
    fn sync(&mut self) -> io::Result<()>;
}

/// An object that can be read.
pub trait Object: Send + Sync {
    /// Returns the length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `bytes` from `offset`; [`io::ErrorKind::UnexpectedEof`] if the object ends before.
    fn read_at(&self, bytes: &mut [u8], offset: u64, reading: Reading) -> io::Result<()>;

    /// Fills several buffers from `offset`, one behind the other.
    fn read_scattered(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        offset: u64,
        reading: Reading,
    ) -> io::Result<()> {
        let mut at = offset;
        for buffer in buffers {
            self.read_at(buffer, at, reading)?;
            at += buffer.len() as u64;
        }
        Ok(())
    }

    /// Told that a range will be read soon; a medium that can begins to fetch it.
    fn will_read(&self, _range: Range<u64>) {}

    /// Makes the object's bytes durable, should they not be so yet.
    fn sync(&self) -> io::Result<()>;
}
