//! Maps for the tests of others.

use core::hash::{BuildHasher, Hash};

use proptest::arbitrary::{Arbitrary, any_with};
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::Map;

impl<K, V, S> Arbitrary for Map<K, V, S>
where
    K: Arbitrary + Eq + Hash + Clone + 'static,
    V: Arbitrary + Clone + 'static,
    S: BuildHasher + Default + 'static,
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
