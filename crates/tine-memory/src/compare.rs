//! What was changed, and in what two regions differ.

use crate::pages::{PAGE_BYTES, PageRange, Runs};
use crate::{Error, Region, Result};

impl Region {
    /// Returns the pages that were written since the region was last forked, frozen or loaded, or was made.
    ///
    /// A page counts when it was written, whatever with; but one that the region was given when it was forked counts only when it
    /// reads otherwise. O(1) for a region that was not written; else O(pages mapped), and no clean page is touched.
    ///
    /// # Errors
    ///
    /// When the kernel cannot say.
    pub fn dirty(&self) -> Result<Vec<PageRange>> {
        Ok(self.changed()?.into_vec())
    }

    /// Returns the pages in which two regions differ.
    ///
    /// Regions that descend from one are compared where either was written since, so no clean page is touched: O(pages written, and pages mapped
    /// where they may have been). Others are compared wherever one has data.
    ///
    /// # Errors
    ///
    /// When they have different lengths, or the kernel cannot say what was written.
    pub fn diff(&self, other: &Self) -> Result<Vec<PageRange>> {
        self.same_length(other)?;
        Ok(self.differing(other)?.into_vec())
    }

    pub(crate) fn same_length(&self, other: &Self) -> Result {
        if self.length == other.length {
            return Ok(());
        }
        Err(Error::OtherLength {
            length: self.length,
            other: other.length,
        })
    }

    /// Returns pages outside of which all is zero. O(runs of data in the base).
    pub(crate) fn data(&self) -> Result<Runs> {
        let data = self.base.image().data()?.union(&self.patch.pages());
        Ok(data.union(&self.changed()?))
    }

    pub(crate) fn differing(&self, other: &Self) -> Result<Runs> {
        let may_differ = self
            .changed()?
            .union(&other.changed()?)
            .union(&self.patch.may_differ(&other.patch))
            .union(&self.base.may_differ(&other.base)?);
        let (ours, theirs) = (self.map.as_slice(), other.map.as_slice());
        let differs = |page: &usize| {
            let bytes = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
            ours[bytes.clone()] != theirs[bytes]
        };
        Ok(may_differ
            .pages()
            .filter(differs)
            .map(|page| page..page + 1)
            .collect())
    }
}
