//! Any [`Bytes`], as any `Vec<u8>`: short ones, long ones, and parts of longer ones, which share.

use proptest::arbitrary::{Arbitrary, any};
use proptest::collection::vec;
use proptest::strategy::{BoxedStrategy, Strategy};

use super::Bytes;

impl Arbitrary for Bytes {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        (vec(any::<u8>(), 0..100), any::<u8>())
            .prop_map(|(bytes, part)| {
                let bytes = Self::from(bytes);
                // A part at most as long as what is left keeps something alive beside itself.
                bytes.slice(usize::from(part) % (bytes.len() + 1) / 2..)
            })
            .boxed()
    }
}
