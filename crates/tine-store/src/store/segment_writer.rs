//! Writing a data segment: header, blocks, footer, trailer; then its sync.

use std::io::IoSlice;
use std::sync::atomic::Ordering;

use crate::block::{BLOCK, BLOCK_BYTES};
use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::medium::{ObjectName, ObjectWriter, Writing};
use crate::planted::{Bug, planted};
use crate::segment::SegmentId;
use crate::segment::format::{
    Part, SEGMENT_HEADER_BYTES, SegmentKind, TRAILER_BYTES, Trailer, encode_footer, encode_header,
    encode_trailer,
};
use crate::store::Engine;
use crate::store::space::ObjectRoom;

/// A data segment that is being written.
pub(super) struct SegmentWriter {
    pub(super) id: SegmentId,
    object: Box<dyn ObjectWriter>,
    blocks: u32,
    /// What it was given that counts for what is in memory until it is published.
    given: u64,
}

/// What the frame that publishes a segment says of it.
#[derive(Clone, Copy)]
pub(super) struct Written {
    pub(super) length: u64,
    pub(super) footer: u32,
    /// What it was given that counts for what is in memory until it is published.
    pub(super) given: u64,
}

impl SegmentWriter {
    /// Makes the object.
    pub(super) fn create(engine: &Engine, id: SegmentId, writing: Writing) -> Result<Self> {
        let name = ObjectName::Segment(id);
        let room = engine.space.use_for_object(SEGMENT_HEADER_BYTES)?;
        let mut object = engine
            .medium
            .create_object(name, writing)
            .map_err(|e| StoreError::io(name, "make", e))?;
        let header = encode_header(id, SegmentKind::Data);
        if let Err(error) = engine.append(&mut *object, name, &[IoSlice::new(&header)]) {
            engine.abandon(name);
            return Err(error);
        }
        Ok(Self {
            id,
            object,
            blocks: 0,
            given: room.written(),
        })
    }

    /// Returns how many blocks it has, which is also where the next one goes.
    pub(super) fn blocks(&self) -> u32 {
        self.blocks
    }

    /// Returns what it was given that counts for what is in memory until it is published.
    pub(super) fn given(&self) -> u64 {
        self.given
    }

    /// Appends whole blocks, in pieces, for which there is `room`. After [`StoreError::NoSpace`] all is as it was; after any other error nothing more
    /// can be done with it.
    pub(super) fn append(
        &mut self,
        engine: &Engine,
        pieces: &[IoSlice<'_>],
        room: ObjectRoom<'_>,
    ) -> Result<()> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        debug_assert!(bytes.is_multiple_of(BLOCK));
        engine.append(&mut *self.object, ObjectName::Segment(self.id), pieces)?;
        self.given += room.written();
        self.blocks += (bytes / BLOCK) as u32;
        Ok(())
    }

    /// Appends footer and trailer. Errors are those of [`SegmentWriter::append`].
    pub(super) fn end(&mut self, engine: &Engine, parts: &[Part]) -> Result<Written> {
        let footer = encode_footer(parts);
        let room = engine
            .space
            .use_for_object((footer.len() + TRAILER_BYTES) as u64)?;
        let footer_offset = SEGMENT_HEADER_BYTES + u64::from(self.blocks) * BLOCK_BYTES;
        let trailer = Trailer {
            footer_offset,
            footer_bytes: footer.len() as u64,
            footer_checksum: crc32c(&footer),
        };
        let ending = encode_trailer(&trailer);
        let end = [IoSlice::new(&footer), IoSlice::new(&ending)];
        engine.append(&mut *self.object, ObjectName::Segment(self.id), &end)?;
        self.given += room.written();
        Ok(Written {
            length: footer_offset + (footer.len() + TRAILER_BYTES) as u64,
            footer: trailer.footer_checksum,
            given: self.given,
        })
    }

    /// Makes the bytes durable. An error leaves open which of them are, so nobody may rely on the object then.
    pub(super) fn sync(&mut self) -> Result<()> {
        if planted(Bug::PublishUnsynced) {
            return Ok(());
        }
        self.object
            .sync()
            .map_err(|e| StoreError::io(ObjectName::Segment(self.id), "sync", e))
    }
}

impl Engine {
    /// Appends to an object that is being made.
    pub(crate) fn append(
        &self,
        writer: &mut dyn ObjectWriter,
        name: ObjectName,
        pieces: &[IoSlice<'_>],
    ) -> Result<()> {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        self.medium_written.fetch_add(bytes as u64, Ordering::Relaxed);
        writer
            .append_pieces(pieces)
            .map_err(|e| StoreError::io(name, "write", e))
    }

    /// Removes an object that will not be part of the store. What cannot be removed is an orphan, which the next
    /// opening removes where it can.
    pub(crate) fn abandon(&self, name: ObjectName) {
        if self.medium.can_overwrite() {
            let _ = self.medium.remove_object(name);
        }
    }
}
