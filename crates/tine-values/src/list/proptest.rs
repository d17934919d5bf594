//! Any [`List`]: as a `Vec` of any elements, and put together of several, so that its tree is not as if collected.

use core::fmt::Debug;

use proptest::arbitrary::Arbitrary;
use proptest::collection::{SizeRange, vec};
use proptest::strategy::{BoxedStrategy, Strategy};

use super::List;

/// Returns a strategy for lists of so many elements, each by `element`: see [`vec`].
///
/// ```
/// use proptest::prelude::*;
/// use tine_values::list;
///
/// proptest!(|(numbers in list::strategy(0..100_u32, 1..50))| {
///     prop_assert!(numbers.len() < 50 && !numbers.is_empty());
/// });
/// ```
pub fn strategy<S>(element: S, size: impl Into<SizeRange>) -> BoxedStrategy<List<S::Value>>
where
    S: Strategy + 'static,
    S::Value: Clone + Debug,
{
    let parts = (vec(element, size), proptest::num::usize::ANY);
    let joined = parts.prop_map(|(elements, cut)| {
        let mut list = List::from(elements);
        let cut = cut % (2 * list.len() + 1);
        if cut < list.len() {
            let mut behind = list.split_off(cut);
            list.append(&mut behind);
        }
        list
    });
    joined.boxed()
}

impl<T: Arbitrary + Clone> Arbitrary for List<T>
where
    T::Strategy: 'static,
{
    type Parameters = (SizeRange, T::Parameters);
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((size, parameters): Self::Parameters) -> Self::Strategy {
        strategy(T::arbitrary_with(parameters), size)
    }
}
