//! Maps for the tests of others.

use core::ops::Range;

use proptest::arbitrary::{Arbitrary, any_with};
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::RadixMap;

/// Keys are below this, so that runs meet, and trees have some height.
const KEYS: u64 = 1 << 20;
/// A run is no longer.
const RUN_MAX: u64 = 1 << 12;

impl<T: Arbitrary + Clone + 'static> Arbitrary for RadixMap<T> {
    type Parameters = (SizeRange, T::Parameters);
    type Strategy = BoxedStrategy<Self>;

    /// Makes maps of as many runs as the range says, or fewer, where one covers another.
    fn arbitrary_with((size, value): Self::Parameters) -> Self::Strategy {
        let run = (0..KEYS, 1..=RUN_MAX).prop_map(|(start, length)| start..start + length);
        let runs = vec((run, any_with::<T>(value)), size);
        runs.prop_map(|runs: std::vec::Vec<(Range<u64>, T)>| {
            let mut map = Self::new();
            for (keys, value) in runs {
                map.fill(keys, value, |_, _| ());
            }
            map
        })
        .boxed()
    }
}
