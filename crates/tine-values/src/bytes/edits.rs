//! In which ranges two sequences of bytes differ, and the merge of two that came from one.
//!
//! What is one memory is equal unseen; only two parts of it that have one length are compared, since there are no edits
//! between what is equal. Else what is equal at the beginning and at the end is found by comparing, and
//! what lies between by Myers' greedy search ("An O(ND) difference algorithm", 1986): along diagonals of the table of
//! both, as far as bytes are equal, with one more insertion or deletion each round. The search ends after
//! [`SEARCHED_MOST`] rounds, so two texts that have little in common cost what comparing costs, and are one edit.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::raw::Raw;
use crate::change::{Edit, Overlap};
use crate::merge::{Piece, pieces};

/// Bytes put in or taken out, beyond which the search gives up.
const SEARCHED_MOST: i64 = 512;

/// Between two edits, fewer equal bytes are equal by chance, and part of one edit.
const ISLAND_LEAST: usize = 8;

/// Returns the edits that make `theirs` of `ours`, in order: none exactly if they are equal.
pub(crate) fn between(ours: &[u8], theirs: &[u8]) -> Vec<Edit> {
    if let Some(edits) = around_common_memory(ours, theirs) {
        return edits;
    }
    let before = common_prefix(ours, theirs);
    let (our_rest, their_rest) = (&ours[before..], &theirs[before..]);
    let behind = common_suffix(our_rest, their_rest);
    let (our_part, their_part) = (
        &our_rest[..our_rest.len() - behind],
        &their_rest[..their_rest.len() - behind],
    );
    if our_part.is_empty() && their_part.is_empty() {
        return Vec::new();
    }
    let mut edits = search(our_part, their_part).unwrap_or_else(|| {
        vec![Edit {
            ours: 0..our_part.len(),
            theirs: 0..their_part.len(),
        }]
    });
    for edit in &mut edits {
        for range in [&mut edit.ours, &mut edit.theirs] {
            *range = range.start + before..range.end + before;
        }
    }
    edits
}

/// Returns the edits before and behind the bytes that both have in one memory, if there are such.
fn around_common_memory(ours: &[u8], theirs: &[u8]) -> Option<Vec<Edit>> {
    let [our_place, their_place] = [ours, theirs].map(|bytes| {
        let start = bytes.as_ptr().addr();
        start..start + bytes.len()
    });
    let common = our_place.start.max(their_place.start)..our_place.end.min(their_place.end);
    if common.is_empty() {
        return None;
    }
    // What repeats itself may be equal to a part of it that lies elsewhere.
    if our_place.len() == their_place.len() && (our_place == their_place || ours == theirs) {
        return Some(Vec::new());
    }
    let before = Edit {
        ours: 0..common.start - our_place.start,
        theirs: 0..common.start - their_place.start,
    };
    let behind = Edit {
        ours: common.end - our_place.start..ours.len(),
        theirs: common.end - their_place.start..theirs.len(),
    };
    let edits = [before, behind].into_iter();
    Some(
        edits
            .filter(|edit| !(edit.ours.is_empty() && edit.theirs.is_empty()))
            .collect(),
    )
}

/// Returns how many bytes at the beginning are equal.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    // By lines, which are compared as a whole, then by bytes.
    const LINE: usize = 64;
    let lines = one.chunks_exact(LINE).zip(other.chunks_exact(LINE));
    let start = lines.take_while(|(one, other)| one == other).count() * LINE;
    let rest = one[start..].iter().zip(&other[start..]);
    start + rest.take_while(|(one, other)| one == other).count()
}

/// Returns how many bytes at the end are equal.
fn common_suffix(one: &[u8], other: &[u8]) -> usize {
    const LINE: usize = 64;
    let lines = one.rchunks_exact(LINE).zip(other.rchunks_exact(LINE));
    let length = lines.take_while(|(one, other)| one == other).count() * LINE;
    let rest = one[..one.len() - length].iter().rev();
    let rest = rest.zip(other[..other.len() - length].iter().rev());
    length + rest.take_while(|(one, other)| one == other).count()
}

/// Where the search has come to on a diagonal: how much of `ours` is behind it. Far less than nothing if nowhere.
const NOWHERE: i64 = i64::MIN / 2;

/// Returns the edits between two sequences that differ at both ends, unless there are too many.
fn search(ours: &[u8], theirs: &[u8]) -> Option<Vec<Edit>> {
    let (width, height) = (ours.len() as i64, theirs.len() as i64);
    // One row a round: how far each diagonal has come, from -round to round.
    let mut rows: Vec<Vec<i64>> = Vec::new();
    for round in 0..=SEARCHED_MOST.min(width + height) {
        let mut row = vec![NOWHERE; 2 * round as usize + 1];
        for diagonal in (-round..=round).step_by(2) {
            let start = match rows.last() {
                None => 0,
                Some(row) => step(row, round - 1, diagonal, width, height).0,
            };
            if start < 0 {
                continue;
            }
            let (x, y) = (start as usize, (start - diagonal) as usize);
            let come = start + common_prefix(&ours[x..], &theirs[y..]) as i64;
            row[(diagonal + round) as usize] = come;
            if come == width && come - diagonal == height {
                return Some(trace(&rows, round, width, height));
            }
        }
        rows.push(row);
    }
    None
}

/// Returns how far one step takes onto a diagonal from the row of `round`, and whether that is a deletion (`ours` has
/// one more) or else an insertion.
fn step(row: &[i64], round: i64, diagonal: i64, width: i64, height: i64) -> (i64, bool) {
    let at = |diagonal: i64| {
        let index = usize::try_from(diagonal + round).ok();
        index.and_then(|index| row.get(index)).copied().unwrap_or(NOWHERE)
    };
    let (deleted, inserted) = (at(diagonal - 1) + 1, at(diagonal + 1));
    let deleted = if deleted <= width { deleted } else { NOWHERE };
    let inserted = if inserted - diagonal <= height {
        inserted
    } else {
        NOWHERE
    };
    (deleted.max(inserted), deleted > inserted)
}

/// Returns the edits of the way on which the search has come to the end, followed backwards.
fn trace(rows: &[Vec<i64>], rounds: i64, width: i64, height: i64) -> Vec<Edit> {
    let mut edits: Vec<Edit> = Vec::new();
    let mut diagonal = width - height;
    for round in (0..rounds).rev() {
        let (x, is_deletion) = step(&rows[round as usize], round, diagonal, width, height);
        let (end, their_end) = (x as usize, (x - diagonal) as usize);
        let (start, their_start) = if is_deletion {
            (end - 1, their_end)
        } else {
            (end, their_end - 1)
        };
        diagonal += if is_deletion { -1 } else { 1 };
        match edits.last_mut() {
            Some(next) if next.ours.start - end < ISLAND_LEAST => {
                next.ours.start = start;
                next.theirs.start = their_start;
            }
            _ => edits.push(Edit {
                ours: start..end,
                theirs: their_start..their_end,
            }),
        }
    }
    edits.reverse();
    edits
}

/// Returns the base with the edits that both sides made of it: the base, ours and theirs; our edits and theirs.
pub(crate) fn merge(
    [base, ours, theirs]: [&Raw; 3],
    (our_edits, their_edits): (Vec<Edit>, Vec<Edit>),
    mut resolve: impl FnMut(Overlap) -> Raw,
) -> Raw {
    if our_edits.is_empty() {
        return theirs.clone();
    }
    // One change may be told in two ways, where bytes repeat themselves.
    if their_edits.is_empty() || ours.as_slice() == theirs.as_slice() {
        return ours.clone();
    }
    let mut merged = Raw::with_capacity(ours.len().max(theirs.len()));
    let mut add = |side: &Raw, range: Range<usize>| merged.extend(&side.as_slice()[range]);
    for piece in pieces(base.len(), our_edits, their_edits) {
        match piece {
            Piece::Base(range) => add(base, range),
            Piece::Ours(range) => add(ours, range),
            Piece::Theirs(range) => add(theirs, range),
            Piece::Both(Overlap {
                ours: our_range,
                theirs: their_range,
                ..
            }) if ours.as_slice()[our_range.clone()] == theirs.as_slice()[their_range.clone()] => {
                add(ours, our_range);
            }
            Piece::Both(overlap) => {
                let resolved = resolve(overlap);
                add(&resolved, 0..resolved.len());
            }
        }
    }
    merged
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Makes `theirs` of `ours` by the edits, which leave something equal between them.
    fn check(ours: &[u8], theirs: &[u8]) -> usize {
        let edits = between(ours, theirs);
        let (mut made, mut at) = (Vec::new(), 0);
        for edit in &edits {
            assert!(edit.ours.start > at || at == 0);
            made.extend_from_slice(&ours[at..edit.ours.start]);
            assert_eq!(made.len(), edit.theirs.start);
            made.extend_from_slice(&theirs[edit.theirs.clone()]);
            at = edit.ours.end;
        }
        made.extend_from_slice(&ours[at..]);
        assert_eq!(made, theirs, "{edits:?}");
        edits.len()
    }

    #[test]
    fn edits_make_the_other_and_are_few() {
        assert_eq!(check(b"same", b"same"), 0);
        assert_eq!(check(b"", b"new"), 1);
        assert_eq!(check(b"old", b""), 1);
        assert_eq!(
            check(b"the quick brown fox jumps", b"a quick brown fox leaps!"),
            2
        );
        assert_eq!(check(b"one, two, three, four", b"one, four"), 1);
        assert_eq!(check(b"aaaa", b"aaaaaaa"), 1);
        assert_eq!(check(b"xaby", b"xbay"), 1);
    }

    #[test]
    fn every_pair_of_short_sequences_is_made_of_each_other() {
        let all: Vec<Vec<u8>> = (0..6_u32)
            .flat_map(|length| (0..2_u32.pow(length)).map(move |bits| (length, bits)))
            .map(|(length, bits)| (0..length).map(|at| (bits >> at) as u8 & 1).collect())
            .collect();
        for ours in &all {
            all.iter().for_each(|theirs| {
                check(ours, theirs);
            });
        }
    }

    #[test]
    fn far_apart_edits_are_found_apart_and_too_many_are_one() {
        let ours: Vec<u8> = (0..100_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let mut theirs = ours.clone();
        for at in (5_000..100_000).step_by(10_000) {
            theirs[at] ^= 1;
        }
        theirs.splice(50_000..50_000, [1, 2, 3]);
        assert_eq!(check(&ours, &theirs), 11);
        let others: Vec<u8> = ours.iter().map(|byte| byte ^ 0x55).collect();
        assert_eq!(check(&ours, &others), 1);
    }

    #[test]
    fn one_memory_is_not_compared_unless_it_may_be_equal() {
        let bytes = [1_u8; 100];
        let edit = |ours, theirs| Edit { ours, theirs };
        assert_eq!(between(&bytes, &bytes), []);
        assert_eq!(
            between(&bytes, &bytes[20..90]),
            [edit(0..20, 0..0), edit(90..100, 70..70)]
        );
        assert_eq!(between(&bytes[..60], &bytes[40..]), []);
        assert_eq!(
            between(&bytes[..60], &bytes[40..99]),
            [edit(0..40, 0..0), edit(60..60, 20..59)]
        );
        let bytes: [u8; 100] = core::array::from_fn(|at| at as u8);
        assert_eq!(
            between(&bytes[..60], &bytes[40..]),
            [edit(0..40, 0..0), edit(60..60, 20..60)]
        );
    }
}
