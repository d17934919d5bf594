//! What a text is extended by and made of, and the characters that were drained from one.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::iter::FusedIterator;

use super::Text;

/// Gives the characters that [`Text::drain`] has removed.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    text: Text,
    /// How many bytes have been taken, from the front and from the end.
    taken: (usize, usize),
}

impl Drain {
    pub(super) fn new(text: Text) -> Self {
        Self { text, taken: (0, 0) }
    }

    /// Returns what is left.
    pub fn as_str(&self) -> &str {
        &self.text[self.taken.0..self.text.len() - self.taken.1]
    }
}

impl Iterator for Drain {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let next = self.as_str().chars().next()?;
        self.taken.0 += next.len_utf8();
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.as_str().chars().size_hint()
    }
}

impl DoubleEndedIterator for Drain {
    fn next_back(&mut self) -> Option<char> {
        let last = self.as_str().chars().next_back()?;
        self.taken.1 += last.len_utf8();
        Some(last)
    }
}

impl FusedIterator for Drain {}

impl Extend<char> for Text {
    fn extend<I: IntoIterator<Item = char>>(&mut self, characters: I) {
        let characters = characters.into_iter();
        self.reserve(characters.size_hint().0);
        characters.for_each(|character| self.push(character));
    }
}

impl<'a> Extend<&'a char> for Text {
    fn extend<I: IntoIterator<Item = &'a char>>(&mut self, characters: I) {
        self.extend(characters.into_iter().copied());
    }
}

impl FromIterator<char> for Text {
    fn from_iter<I: IntoIterator<Item = char>>(characters: I) -> Self {
        let mut text = Self::new();
        text.extend(characters);
        text
    }
}

impl<'a> FromIterator<&'a char> for Text {
    fn from_iter<I: IntoIterator<Item = &'a char>>(characters: I) -> Self {
        characters.into_iter().copied().collect()
    }
}

/// Extends a text by others, one after the other.
macro_rules! extends_by {
    ($($other:ty $(, $life:lifetime)?;)*) => {$(
        impl<$($life)?> Extend<$other> for Text {
            fn extend<I: IntoIterator<Item = $other>>(&mut self, texts: I) {
                texts.into_iter().for_each(|text| self.push_str(&text));
            }
        }

        impl<$($life)?> FromIterator<$other> for Text {
            fn from_iter<I: IntoIterator<Item = $other>>(texts: I) -> Self {
                let mut text = Self::new();
                text.extend(texts);
                text
            }
        }
    )*};
}

extends_by! {
    &'a str, 'a;
    String;
    Box<str>;
    Cow<'a, str>, 'a;
    Text;
}

impl Extend<Text> for String {
    fn extend<I: IntoIterator<Item = Text>>(&mut self, texts: I) {
        texts.into_iter().for_each(|text| self.push_str(&text));
    }
}

impl FromIterator<Text> for String {
    fn from_iter<I: IntoIterator<Item = Text>>(texts: I) -> Self {
        let mut string = Self::new();
        string.extend(texts);
        string
    }
}
