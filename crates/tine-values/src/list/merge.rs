//! Three-way merges of lists, from the edits that both sides made.

use alloc::vec::Vec;
use core::ops::Range;

use crate::change::{Edit, Overlap};
use crate::merge::{Piece, pieces};

use super::List;
use super::node::Node;

impl<T: Clone + PartialEq> List<T> {
    /// Returns the list that has the edits both sides made of this one, their base.
    ///
    /// Where both edited the same place, and not in the same way, `resolve` is asked what to put there: it is told where
    /// the place is in the base and in either side. Edits next to each other do not meet, but for two insertions in one
    /// place, or one at an end of what the other side replaced. The cost follows the edits, O(log n) for each, and not the
    /// length.
    ///
    /// ```
    /// use tine_values::List;
    ///
    /// let base: List<u32> = (0..10).collect();
    /// let (mut ours, mut theirs) = (base.clone(), base.clone());
    /// ours[3] = 33;
    /// ours.insert(0, 100);
    /// theirs[3] = 44;
    /// theirs.push(200);
    /// let merged = base.merge(&ours, &theirs, |overlap| {
    ///     ours.slice(overlap.ours).concat(&theirs.slice(overlap.theirs))
    /// });
    /// assert_eq!(merged, [100, 0, 1, 2, 33, 44, 4, 5, 6, 7, 8, 9, 200]);
    /// ```
    #[must_use]
    pub fn merge(&self, ours: &Self, theirs: &Self, mut resolve: impl FnMut(Overlap) -> Self) -> Self {
        // Where equal elements are neighbours, one change can be told in several ways: not twice, then.
        if ours == theirs || theirs.ptr_eq(self) {
            return ours.clone();
        }
        if ours.ptr_eq(self) {
            return theirs.clone();
        }
        let (our_edits, their_edits): (Vec<_>, Vec<_>) =
            (self.diff(ours).collect(), self.diff(theirs).collect());
        let pieces = pieces(self.len(), our_edits.iter().cloned(), their_edits.iter().cloned());
        let both = pieces.into_iter().filter_map(|piece| match piece {
            Piece::Both(overlap) => Some(overlap),
            _ => None,
        });
        let mut both: Vec<_> = both.collect();
        // Ours, with what is theirs put in from behind, so that the places before keep their numbers.
        let mut merged = ours.clone();
        let (mut our_edits, mut their_edits) = (&our_edits[..], &their_edits[..]);
        while let Some((edit, others)) = their_edits.split_last() {
            let overlap = both
                .pop_if(|overlap| overlap.base.start <= edit.ours.start && edit.ours.end <= overlap.base.end);
            if let Some(overlap) = overlap {
                let begins_before = |edit: &&Edit| edit.ours.start >= overlap.base.start;
                let count = their_edits.iter().rev().take_while(begins_before).count();
                their_edits = &their_edits[..their_edits.len() - count];
                let (our_range, their_range) = (overlap.ours.clone(), overlap.theirs.clone());
                if !ours.range(our_range.clone()).eq(theirs.range(their_range)) {
                    merged.put(our_range, resolve(overlap));
                }
                continue;
            }
            their_edits = others;
            // Where it is in ours: our edits before it have moved it.
            while let Some((last, before)) = our_edits.split_last() {
                if last.ours.end <= edit.ours.start {
                    break;
                }
                our_edits = before;
            }
            let start = match our_edits.last() {
                Some(last) => edit.ours.start - last.ours.end + last.theirs.end,
                None => edit.ours.start,
            };
            merged.put_part(start..start + edit.ours.len(), theirs, edit.theirs.clone());
        }
        merged
    }
}

impl<T: Clone> List<T> {
    /// Puts a part of `other` in the place of a range.
    fn put_part(&mut self, range: Range<usize>, other: &Self, part: Range<usize>) {
        if range.len() != part.len() || range.len() > Node::<T>::LEAF {
            return self.put(range, other.slice(part));
        }
        for (index, value) in range.zip(other.range(part)) {
            self[index] = value.clone();
        }
    }

    /// Puts `other` in the place of a range.
    fn put(&mut self, range: Range<usize>, mut other: Self) {
        let mut behind = self.split_off(range.end);
        self.truncate(range.start);
        self.append(&mut other);
        self.append(&mut behind);
    }
}
