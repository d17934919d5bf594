//! Searching among ascending numbers that mostly lie evenly: the place is guessed, and corrected from there.
//!
//! A binary search over a large array misses the processor's cache at nearly every step; a guess, where blocks lie
//! next to each other or at random, misses it once or twice. Numbers that lie as unevenly as they can cost no more
//! than twice the steps of a binary search.

/// Where a number is to be expected.
#[derive(Clone, Copy)]
pub(super) struct Guess {
    first: u64,
    places: f64,
}

impl Guess {
    /// Learns from the first and the last of `count` ascending numbers.
    pub(super) fn new(first: u64, last: u64, count: usize) -> Self {
        Self {
            first,
            places: count as f64 / ((last - first) as f64 + 1.0),
        }
    }

    /// Returns a place, which need not be one of the array's.
    #[inline]
    pub(super) fn place(self, number: u64) -> usize {
        // The cast takes what is too large for the largest there is.
        (number.saturating_sub(self.first) as f64 * self.places) as usize
    }
}

/// Returns how many of `count` places come first of which `is_before` is true; those are the lower ones. Few steps if
/// that is about `guess`.
#[inline]
pub(super) fn partition_from(guess: usize, count: usize, is_before: impl Fn(usize) -> bool) -> usize {
    // All places below `low` are before, those from `high` on are not.
    let (mut low, mut high) = (0, count);
    let mut at = guess.min(count.saturating_sub(1));
    let mut step = 1;
    while low < high {
        if is_before(at) {
            low = at + 1;
            at = low.saturating_add(step - 1);
        } else {
            high = at;
            at = high.saturating_sub(step);
        }
        // From the other side of the goal on it is halved.
        if at >= high || at < low {
            break;
        }
        step *= 2;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// What it is called, and the number at a place.
    type Kind = (&'static str, fn(u64) -> u64);

    /// Goal: the place is the one that a binary search finds, in few steps.
    /// Method: every wanted number and every guess, for arrays of several kinds; steps are counted.
    #[test]
    fn finds_what_a_binary_search_finds_from_any_guess() {
        let kinds: [Kind; 4] = [
            ("dense", |at| 7 + at),
            ("even", |at| 5 * at),
            ("uneven", |at| at * at * at),
            ("one far away", |at| if at == 40 { u64::MAX } else { at }),
        ];
        for (kind, number) in kinds {
            for count in 0..=41 {
                let numbers: Vec<u64> = (0..count).map(number).collect();
                let near = numbers
                    .iter()
                    .flat_map(|&n| [n.saturating_sub(1), n, n.saturating_add(1)]);
                for wanted in near.chain([0, u64::MAX]) {
                    let expected = numbers.partition_point(|&n| n <= wanted);
                    for guess in (0..=numbers.len() + 1).chain([usize::MAX]) {
                        let steps = Cell::new(0);
                        let found = partition_from(guess, numbers.len(), |at| {
                            steps.set(steps.get() + 1);
                            numbers[at] <= wanted
                        });
                        assert_eq!(found, expected, "{kind}: {count} numbers, {wanted} from {guess}");
                        assert!(steps.get() <= 12, "{kind}: {} steps", steps.get());
                    }
                }
            }
        }
    }

    #[test]
    fn a_guess_among_even_numbers_is_right() {
        for (step, count) in [(1, 227), (3, 100), (1 << 40, 1000)] {
            let guess = Guess::new(9, 9 + step * (count - 1), count as usize);
            for at in 0..count {
                let place = guess.place(9 + step * at) as u64;
                assert!(place.abs_diff(at) <= 1, "{place} for {at}");
            }
        }
        assert_eq!(Guess::new(5, 5, 1).place(0), 0);
        assert_eq!(Guess::new(0, u64::MAX, 2).place(0), 0);
    }

    #[test]
    fn a_guess_in_a_dense_array_is_exact() {
        let guess = Guess::new(1 << 49, (1 << 49) + 199, 200);
        assert!((0..200).all(|at| guess.place((1 << 49) + at) == at as usize));
    }
}
