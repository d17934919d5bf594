//! Any [`Text`], as any `String`: short ones, long ones, and parts of longer ones, which share.

use alloc::string::String;

use proptest::arbitrary::{Arbitrary, any};
use proptest::strategy::{BoxedStrategy, Strategy};
use proptest::string::StringParam;

use super::Text;

impl Arbitrary for Text {
    type Parameters = StringParam;
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with(characters: StringParam) -> Self::Strategy {
        (String::arbitrary_with(characters), any::<u8>())
            .prop_map(|(text, part)| {
                let text = Self::from(text);
                let start = usize::from(part) % (text.len() + 1) / 2;
                text.slice(text.ceil_char_boundary(start)..)
            })
            .boxed()
    }
}
