//! Reading and writing the store's little-endian structures.
//!
//! Invariant: [`Decoder`] never reads past its bytes, and [`Decoder::count`] never lets a length from outside ask
//! for more memory than the bytes that are left could describe.

use crate::error::{Result, StoreError};

/// Appends fields to a buffer.
#[derive(Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("structures stay far below 2^32 items"));
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.count(text.len());
        self.raw(text.as_bytes());
    }

    pub(crate) fn option(&mut self, value: Option<u64>) {
        self.u8(u8::from(value.is_some()));
        self.u64(value.unwrap_or(0));
    }
}

/// Takes fields from a slice; every error names `what` is being read.
pub(crate) struct Decoder<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes }
    }

    pub(crate) fn invalid(&self, detail: &str) -> StoreError {
        StoreError::damaged(format!("{}: {detail}", self.what))
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or_else(|| self.invalid("ends in the middle of a field"))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn nonce(&mut self) -> Result<[u8; 16]> {
        self.array()
    }

    /// Reads what is either 0 or 1.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid("a flag is neither 0 nor 1")),
        }
    }

    /// Reads a count of items of which each takes at least `least` bytes.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        if count.saturating_mul(least) > self.bytes.len() {
            return Err(self.invalid("counts more items than it has bytes for"));
        }
        Ok(count)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.count(1)?;
        std::str::from_utf8(self.raw(length)?).map_err(|_| self.invalid("a name is not UTF-8"))
    }

    pub(crate) fn option(&mut self) -> Result<Option<u64>> {
        let present = self.flag()?;
        let value = self.u64()?;
        if !present && value != 0 {
            return Err(self.invalid("an absent field has a value"));
        }
        Ok(present.then_some(value))
    }

    /// Returns how many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.bytes.is_empty() {
            Ok(())
        } else {
            Err(self.invalid("has bytes behind its end"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let mut out = Encoder::default();
        out.u8(7);
        out.u32(8);
        out.u64(9);
        out.text("name");
        out.option(None);
        out.option(Some(5));
        let mut decoder = Decoder::new("test", &out.bytes);
        assert_eq!(
            (
                decoder.u8().unwrap(),
                decoder.u32().unwrap(),
                decoder.u64().unwrap()
            ),
            (7, 8, 9)
        );
        assert_eq!(decoder.text().unwrap(), "name");
        assert_eq!(
            (decoder.option().unwrap(), decoder.option().unwrap()),
            (None, Some(5))
        );
        decoder.end().unwrap();
    }

    #[test]
    fn a_count_from_outside_asks_for_no_memory() {
        let mut decoder = Decoder::new("test", &[0xff, 0xff, 0xff, 0xff, 1]);
        assert!(decoder.count(1).is_err());
        assert!(Decoder::new("test", &[1, 2]).u32().is_err());
    }
}
