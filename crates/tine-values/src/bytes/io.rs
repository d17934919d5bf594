//! What the standard library adds to [`Bytes`].

use std::io::{self, IoSlice, Write};

use super::Bytes;

impl Write for Bytes {
    /// Appends; never fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.len();
        self.reserve(pieces.iter().map(|piece| piece.len()).sum());
        pieces.iter().for_each(|piece| self.extend_from_slice(piece));
        Ok(self.len() - before)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
