//! Loading.

use std::io::Read;
use std::sync::Arc;

use super::format::{
    Chain, HEADER_BYTES, Header, Kind, NOTHING, RECORD_BYTES, RECORD_PAGES_MAX, Record, read_whole,
};
use crate::base::Base;
use crate::pages::{PAGE_BYTES, PageRange};
use crate::region::whole_pages;
use crate::sys::{self, Image};
use crate::{Error, Region, Result};

impl Region {
    /// Makes a region of a full save. Forks of it are one mapping, and it rolls back to what was loaded.
    ///
    /// O(bytes saved), and two copies; memory is taken for what is not zero. Reads no further than the end of what was saved.
    ///
    /// # Errors
    ///
    /// When the input is not a whole and undamaged full save; memory that was taken is given back.
    pub fn load(input: &mut impl Read) -> Result<Self> {
        let mut loader = Loader::open(input)?;
        if loader.header.from != NOTHING {
            return Err(Error::OtherState);
        }
        let length = loader.header.length;
        let bytes = whole_pages(length)?;
        let mut image = Image::zeroed(bytes)?;
        loader.each(bytes / PAGE_BYTES, |pages, content| {
            // Zeros are there already.
            content.map_or(Ok(()), |content| image.write(pages, content))
        })?;
        let length = usize::try_from(length).map_err(|_| Error::Length { length })?;
        let mut region = Self::over(Arc::new(Base::new(image)), length)?;
        region.loaded = Some(loader.header.to);
        Ok(region)
    }

    /// Applies a save since a mark to a region that was loaded from the save made at that mark, and was not written since. Now is what it
    /// rolls back to.
    ///
    /// O(bytes saved), and what [`Region::freeze`] costs.
    ///
    /// # Errors
    ///
    /// When the input is damaged, or continues another state; the region is as it was then.
    pub fn load_since(&mut self, input: &mut impl Read) -> Result {
        let mut loader = Loader::open(input)?;
        if loader.header.length != self.len() as u64 || self.loaded != Some(loader.header.from) {
            return Err(Error::OtherState);
        }
        if !self.changed()?.is_empty() {
            return Err(Error::Written);
        }
        // What tells where to undo this is opened while nothing is to be undone.
        sys::own_pages(&self.map, PageRange::between(0..1))?;
        self.lend_all();
        let pages = self.pages();
        let memory = self.map.as_mut_slice();
        let applied = loader.each(pages, |pages, content| {
            let target = &mut memory[pages.bytes()];
            match content {
                Some(content) => target.copy_from_slice(content),
                None => target.fill(0),
            }
            Ok(())
        });
        if let Err(error) = applied.and_then(|()| self.freeze()) {
            self.rollback()?;
            return Err(error);
        }
        self.loaded = Some(loader.header.to);
        Ok(())
    }
}

/// A stream that is read.
struct Loader<'a, R: Read> {
    input: &'a mut R,
    header: Header,
    chain: Chain,
    /// How many bytes were read.
    at: u64,
}

impl<'a, R: Read> Loader<'a, R> {
    fn open(input: &'a mut R) -> Result<Self> {
        let mut bytes = [0; HEADER_BYTES];
        read_whole(input, &mut bytes, 0)?;
        let mut chain = Chain::new();
        let header = Header::decode(&bytes, &mut chain)?;
        if header.to == NOTHING {
            let what = "it leads to no state";
            return Err(Error::Damaged { offset: 40, what });
        }
        Ok(Self {
            input,
            header,
            chain,
            at: HEADER_BYTES as u64,
        })
    }

    /// Hands each record's pages on, with their contents if they are not zero, once these are found to be right.
    ///
    /// `pages` is how many the region has.
    fn each(&mut self, pages: usize, mut take: impl FnMut(PageRange, Option<&[u8]>) -> Result) -> Result {
        let mut content = vec![0; RECORD_PAGES_MAX * PAGE_BYTES];
        let mut records = 0;
        let mut behind = 0;
        loop {
            let offset = self.at;
            let damaged = |what| Error::Damaged { offset, what };
            let mut bytes = [0; RECORD_BYTES];
            self.read(&mut bytes)?;
            let (record, checksum) = Record::decode(&bytes, offset, &mut self.chain)?;
            if record.kind == Kind::End {
                let is_right = (record.first, record.count) == (pages as u64, records)
                    && self.chain.next(&[&[]]) == checksum;
                return is_right
                    .then_some(())
                    .ok_or(damaged("the end is not that of what was read"));
            }
            let range = range(&record, behind, pages)
                .ok_or(damaged("a record's pages are none that can be there"))?;
            let content = match record.kind {
                Kind::Data => &mut content[..range.bytes().len()],
                Kind::Zero | Kind::End => &mut [],
            };
            self.read(content)?;
            if self.chain.next(&[content]) != checksum {
                return Err(damaged("the checksum of a record's pages is wrong"));
            }
            // Bytes that no region has would make equal regions differ.
            let inside = usize::try_from(self.header.length).unwrap_or(usize::MAX) - range.bytes().start;
            if content.iter().skip(inside).any(|&byte| byte != 0) {
                return Err(damaged("there are bytes behind the region's end"));
            }
            take(range, (record.kind == Kind::Data).then_some(&*content))?;
            behind = range.end();
            records += 1;
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> Result {
        read_whole(self.input, bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// Returns a record's pages, if they lie behind those before it, inside the region, and are not too many.
fn range(record: &Record, behind: usize, pages: usize) -> Option<PageRange> {
    let first = usize::try_from(record.first).ok()?;
    let count = usize::try_from(record.count).ok()?;
    let end = first.checked_add(count)?;
    let fits = first >= behind && end <= pages && (1..=RECORD_PAGES_MAX).contains(&count);
    fits.then_some(PageRange { first, count })
}
