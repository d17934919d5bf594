//! Maps for the tests of others.

use proptest::arbitrary::{Arbitrary, any_with};
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::SortedMap;

impl<K, V> Arbitrary for SortedMap<K, V>
where
    K: Arbitrary + Ord + Clone + 'static,
    V: Arbitrary + Clone + 'static,
{
    type Parameters = (SizeRange, K::Parameters, V::Parameters);
    type Strategy = BoxedStrategy<Self>;

    /// Makes maps of as many entries as the range says, or fewer, where keys come twice.
    fn arbitrary_with((size, key, value): Self::Parameters) -> Self::Strategy {
        vec((any_with::<K>(key), any_with::<V>(value)), size)
            .prop_map(Self::from_iter)
            .boxed()
    }
}
