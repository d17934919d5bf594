//! Writing a [`Text`], and comparing and merging its versions: ranges of bytes that begin and end between characters.

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::{Add, AddAssign, Range, RangeBounds};

use super::{Drain, Text};
use crate::bytes::{edits, within};
use crate::change::{Edit, Overlap};

impl Text {
    /// Returns the range if it is one of the text.
    ///
    /// # Panics
    ///
    /// If it is not within the text or cuts a character, with what `str` says then.
    #[inline]
    pub(super) fn checked(&self, range: Range<usize>) -> Range<usize> {
        let _ = &self.as_str()[range.clone()];
        range
    }

    /// Appends a character. Amortised O(1) for a sole owner.
    #[inline]
    pub fn push(&mut self, character: char) {
        if character.is_ascii() {
            self.0.push(character as u8);
        } else {
            self.push_wide(character);
        }
    }

    /// Appends a character of several bytes: apart, so that a loop of pushes is short.
    #[inline(never)]
    fn push_wide(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    /// Appends a text.
    #[inline]
    pub fn push_str(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a range of the text once more.
    ///
    /// # Panics
    ///
    /// If the range is not within the text or cuts a character.
    pub fn extend_from_within(&mut self, range: impl RangeBounds<usize>) {
        let range = within(range, self.len());
        let range = self.checked(range);
        self.0.extend_from_within(range);
    }

    /// Removes the last character and returns it.
    pub fn pop(&mut self) -> Option<char> {
        let last = self.chars().next_back()?;
        self.0.truncate(self.len() - last.len_utf8());
        Some(last)
    }

    /// Puts a character before the one at the byte `index`. O(n).
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end or within a character.
    pub fn insert(&mut self, index: usize, character: char) {
        self.insert_str(index, character.encode_utf8(&mut [0; 4]));
    }

    /// Puts a text before the character at the byte `index`. O(n).
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end or within a character.
    pub fn insert_str(&mut self, index: usize, text: &str) {
        self.replace_range(index..index, text);
    }

    /// Removes the character at the byte `index` and returns it. O(n).
    ///
    /// # Panics
    ///
    /// If no character begins there.
    pub fn remove(&mut self, index: usize) -> char {
        let removed = self[index..].chars().next().expect("a character within the text");
        self.replace_range(index..index + removed.len_utf8(), "");
        removed
    }

    /// Keeps the first `length` bytes; does nothing if there are no more. A sole owner keeps its room.
    ///
    /// # Panics
    ///
    /// If that cuts a character.
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            let range = self.checked(0..length);
            self.0.truncate(range.end);
        }
    }

    /// Removes all characters. A sole owner keeps its room.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the characters for which `keep` is true. O(n). A panic in `keep` leaves all of them.
    pub fn retain(&mut self, mut keep: impl FnMut(char) -> bool) {
        let Some((first, removed)) = self.char_indices().find(|&(_, character)| !keep(character)) else {
            return;
        };
        let rest = &self[first + removed.len_utf8()..];
        let mut kept = String::with_capacity(rest.len());
        kept.extend(rest.chars().filter(|&character| keep(character)));
        self.replace_range(first.., &kept);
    }

    /// Puts `text` in the place of a range. O(n).
    ///
    /// # Panics
    ///
    /// If the range is not within the text or cuts a character.
    pub fn replace_range(&mut self, range: impl RangeBounds<usize>, text: &str) {
        let range = within(range, self.len());
        let range = self.checked(range);
        self.0.replace_range(range, text.as_bytes());
    }

    /// Removes a range and returns its characters. Unlike a `String`'s, the range is gone even if the result is
    /// forgotten.
    ///
    /// # Panics
    ///
    /// If the range is not within the text or cuts a character.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> Drain {
        let range = within(range, self.len());
        let drained = Self::from(&self[range.clone()]);
        self.0.replace_range(range, &[]);
        Drain::new(drained)
    }

    /// Removes what is behind the byte `at` and returns it, as [`slice`](Self::slice) does; both share the allocation
    /// then.
    ///
    /// # Panics
    ///
    /// If `at` is beyond the end or within a character.
    #[must_use = "`truncate` removes without a result"]
    pub fn split_off(&mut self, at: usize) -> Self {
        let behind = self.slice(at..);
        self.0.truncate(at);
        behind
    }

    /// Returns in which ranges of bytes the two differ, in order; they begin and end between characters.
    ///
    /// What both share is skipped without looking: for clones and parts of one text this is O(1), unless the parts have one
    /// length and may be equal. Otherwise the beginning and the end that are equal cost a comparison, O(n). What lies between
    /// costs O(d²) for `d` bytes that were put in or taken out, O(n · d) where it repeats itself, up to 512; if there are
    /// more, which costs some 130,000 steps to find, it is one edit. There are no edits exactly if both are equal.
    /// What is equal between two edits has at least 8 bytes, but for the characters that these were widened to.
    ///
    /// ```
    /// # use tine_values::{Edit, Text};
    /// let (ours, theirs) = (Text::from("a text of no great length"), Text::from("a text of a great length!"));
    /// let edits = [Edit { ours: 10..12, theirs: 10..11 }, Edit { ours: 25..25, theirs: 24..25 }];
    /// assert!(ours.diff(&theirs).eq(edits));
    /// ```
    pub fn diff(&self, other: &Self) -> impl Iterator<Item = Edit> + use<> {
        self.edits(other).into_iter()
    }

    /// Returns this text with the edits that both sides made of it. What both edited in different ways `resolve` is asked
    /// for, and returns what is to be there.
    ///
    /// Costs two times [`diff`](Self::diff) and a copy of the result, unless only one side has changed.
    ///
    /// ```
    /// # use tine_values::Text;
    /// let base = Text::from("It was a dark night; the rain fell.");
    /// let ours = Text::from("It was a dark and stormy night; the rain fell.");
    /// let theirs = Text::from("It was a dark night; the rain fell in torrents.");
    /// let merged = base.merge(&ours, &theirs, |overlap| ours.slice(overlap.ours));
    /// assert_eq!(merged, "It was a dark and stormy night; the rain fell in torrents.");
    /// ```
    pub fn merge(&self, ours: &Self, theirs: &Self, mut resolve: impl FnMut(Overlap) -> Self) -> Self {
        Self::from_raw(edits::merge(
            [self, ours, theirs].map(|text| &text.0.0),
            (self.edits(ours), self.edits(theirs)),
            |overlap| resolve(overlap).0.0,
        ))
    }

    fn edits(&self, other: &Self) -> Vec<Edit> {
        let mut edits = edits::between(&self.0, &other.0);
        for edit in &mut edits {
            // Both sides are equal up to the start, and from the end on: so the same bytes are missing from a character.
            while !(self.is_char_boundary(edit.ours.start) && other.is_char_boundary(edit.theirs.start)) {
                edit.ours.start -= 1;
                edit.theirs.start -= 1;
            }
            while !(self.is_char_boundary(edit.ours.end) && other.is_char_boundary(edit.theirs.end)) {
                edit.ours.end += 1;
                edit.theirs.end += 1;
            }
        }
        // Wider as they are, neighbours may meet.
        edits.dedup_by(|next, edit| {
            let meet = next.ours.start <= edit.ours.end || next.theirs.start <= edit.theirs.end;
            if meet {
                edit.ours.end = next.ours.end;
                edit.theirs.end = next.theirs.end;
            }
            meet
        });
        edits
    }
}

impl Add<&str> for Text {
    type Output = Self;

    fn add(mut self, text: &str) -> Self {
        self.push_str(text);
        self
    }
}

impl AddAssign<&str> for Text {
    fn add_assign(&mut self, text: &str) {
        self.push_str(text);
    }
}
