//! Sets for the tests of others.

use core::hash::{BuildHasher, Hash};

use proptest::arbitrary::{Arbitrary, any_with};
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::Set;

impl<T, S> Arbitrary for Set<T, S>
where
    T: Arbitrary + Eq + Hash + Clone + 'static,
    S: BuildHasher + Default + 'static,
{
    type Parameters = (SizeRange, T::Parameters);
    type Strategy = BoxedStrategy<Self>;

    /// Makes sets of as many elements as the range says, or fewer, where some come twice.
    fn arbitrary_with((size, element): Self::Parameters) -> Self::Strategy {
        vec(any_with::<T>(element), size)
            .prop_map(Self::from_iter)
            .boxed()
    }
}
