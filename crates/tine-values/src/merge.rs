//! Three-way merges of sequences: from the edits that each side made of one base to the pieces of the result.
//!
//! **Invariant:** the pieces' places in the base follow each other without a gap or an overlap, from its start to its end.

use alloc::vec::Vec;
use core::iter::Peekable;
use core::mem;
use core::ops::Range;

use crate::change::{Edit, Overlap};

/// A piece of a merged sequence, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Nobody edited it: the same in all three. The range is the base's.
    Base(Range<usize>),
    /// Only our side edited it. The range is ours.
    Ours(Range<usize>),
    /// Only their side edited it. The range is theirs.
    Theirs(Range<usize>),
    /// Both sides edited it, maybe in the same way.
    Both(Overlap),
}

/// Returns the pieces of the merge of a base of `length`, given both sides' edits of it in order (their `ours` is the
/// base). O(edits).
///
/// Edits next to each other are edits of their own, as long as it is clear which comes first: two insertions in one
/// place are one piece of both sides, and so is an insertion at an end of what the other side replaced.
pub(crate) fn pieces(
    length: usize,
    ours: impl IntoIterator<Item = Edit>,
    theirs: impl IntoIterator<Item = Edit>,
) -> Vec<Piece> {
    let (mut ours, mut theirs) = (Side::new(ours), Side::new(theirs));
    let mut pieces = Vec::new();
    // How far the base is done with.
    let mut done = 0;
    while let Some(start) = [ours.next_start(), theirs.next_start()]
        .into_iter()
        .flatten()
        .min()
    {
        if done < start {
            pieces.push(Piece::Base(done..start));
        }
        // An end before the start takes nothing yet; whoever begins here is the first.
        let mut group = None;
        loop {
            let taken = ours.take_into(start, &mut group) | theirs.take_into(start, &mut group);
            if !taken {
                break;
            }
        }
        let base = group.unwrap_or(start..start);
        done = base.end;
        pieces.push(match (ours.finish(&base), theirs.finish(&base)) {
            (Some(ours), Some(theirs)) => Piece::Both(Overlap { base, ours, theirs }),
            (Some(ours), None) => Piece::Ours(ours),
            (None, Some(theirs)) => Piece::Theirs(theirs),
            (None, None) => Piece::Base(base),
        });
    }
    if done < length {
        pieces.push(Piece::Base(done..length));
    }
    pieces
}

/// One side's edits, and what they add up to.
struct Side<I: Iterator> {
    edits: Peekable<I>,
    /// What the edits so far have put in, and what they took from the base.
    put: usize,
    taken: usize,
    /// The same as of the group's begin.
    before: (usize, usize),
    has_edited: bool,
}

impl<I: Iterator<Item = Edit>> Side<I> {
    fn new(edits: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            edits: edits.into_iter().peekable(),
            put: 0,
            taken: 0,
            before: (0, 0),
            has_edited: false,
        }
    }

    fn next_start(&mut self) -> Option<usize> {
        self.edits.peek().map(|edit| edit.ours.start)
    }

    /// Takes the next edit if it belongs to the group, which may be one that only begins, at `start`.
    fn take_into(&mut self, start: usize, group: &mut Option<Range<usize>>) -> bool {
        let belongs = |edit: &Edit| match group {
            None => edit.ours.start == start,
            Some(group) => {
                let crosses = edit.ours.start < group.end && group.start < edit.ours.end;
                let touches = edit.ours.start <= group.end && group.start <= edit.ours.end;
                crosses || (touches && (edit.ours.is_empty() || group.start == group.end))
            }
        };
        let Some(edit) = self.edits.next_if(belongs) else {
            return false;
        };
        let end = group.as_ref().map_or(0, |group| group.end);
        *group = Some(start..edit.ours.end.max(end));
        self.put += edit.theirs.len();
        self.taken += edit.ours.len();
        self.has_edited = true;
        true
    }

    /// Returns where the group that has come together is on this side, if it was edited here.
    fn finish(&mut self, base: &Range<usize>) -> Option<Range<usize>> {
        let (put, taken) = mem::replace(&mut self.before, (self.put, self.taken));
        let place = base.start + put - taken..base.end + self.put - self.taken;
        mem::take(&mut self.has_edited).then_some(place)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Piece::{Base, Both, Ours, Theirs};
    use super::*;

    fn edit(ours: Range<usize>, theirs: Range<usize>) -> Edit {
        Edit { ours, theirs }
    }

    fn both(base: Range<usize>, ours: Range<usize>, theirs: Range<usize>) -> Piece {
        Both(Overlap { base, ours, theirs })
    }

    #[test]
    fn what_nobody_edited_is_the_base() {
        assert_eq!(pieces(9, [], []), [Base(0..9)]);
        assert_eq!(pieces(0, [], []), []);
    }

    #[test]
    fn edits_apart_are_each_sides_own() {
        // Ours deletes 1..3, theirs puts two in at 5 and replaces 8..9.
        let merged = pieces(9, [edit(1..3, 1..1)], [edit(5..5, 5..7), edit(8..9, 10..13)]);
        let expected = [
            Base(0..1),
            Ours(1..1),
            Base(3..5),
            Theirs(5..7),
            Base(5..8),
            Theirs(10..13),
        ];
        assert_eq!(merged, expected);
    }

    #[test]
    fn neighbours_do_not_meet_unless_their_order_is_open() {
        let merged = pieces(4, [edit(1..2, 1..2)], [edit(2..3, 2..3)]);
        assert_eq!(merged, [Base(0..1), Ours(1..2), Theirs(2..3), Base(3..4)]);
        let merged = pieces(4, [edit(2..2, 2..3)], [edit(2..2, 2..4)]);
        assert_eq!(merged, [Base(0..2), both(2..2, 2..3, 2..4), Base(2..4)]);
        let merged = pieces(4, [edit(1..2, 1..2)], [edit(2..2, 2..3)]);
        assert_eq!(merged, [Base(0..1), both(1..2, 1..2, 1..3), Base(2..4)]);
    }

    #[test]
    fn what_overlaps_in_a_chain_is_one_piece() {
        let ours = [edit(0..1, 0..0), edit(2..5, 1..2), edit(7..9, 4..4)];
        let theirs = [edit(4..8, 4..5), edit(9..10, 6..9)];
        let merged = pieces(12, ours, theirs);
        let expected = [
            Ours(0..0),
            Base(1..2),
            both(2..9, 1..4, 2..6),
            Theirs(6..9),
            Base(10..12),
        ];
        assert_eq!(merged, expected);
    }
}
