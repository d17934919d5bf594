//! The chooser: one source of every answer to "which of n?", so that a history can be repeated exactly, or all of
//! its outcomes gone through.

/// Answers "which of n?" from a list of answers first, then from a seed or with one answer for all.
#[derive(Clone, Debug)]
pub struct Chooser {
    prefix: Vec<usize>,
    then: Then,
    taken: Vec<usize>,
    sizes: Vec<usize>,
}

#[derive(Clone, Debug)]
enum Then {
    Seeded(u64),
    Always(usize),
}

impl Chooser {
    /// Returns a chooser whose answers follow from `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self::new(Vec::new(), Then::Seeded(seed))
    }

    /// Returns a chooser that gives the answers in `prefix` and then always `rest`, each bounded by the question.
    pub fn fixed(prefix: Vec<usize>, rest: usize) -> Self {
        Self::new(prefix, Then::Always(rest))
    }

    fn new(prefix: Vec<usize>, then: Then) -> Self {
        Self {
            prefix,
            then,
            taken: Vec::new(),
            sizes: Vec::new(),
        }
    }

    /// Returns a number below `count`, which is at least 1.
    pub fn choose(&mut self, count: usize) -> usize {
        assert!(count > 0, "a choice among nothing");
        let pick = match (self.prefix.get(self.taken.len()), &mut self.then) {
            (Some(&pick), _) => pick.min(count - 1),
            (None, Then::Always(pick)) => (*pick).min(count - 1),
            (None, Then::Seeded(state)) => (next_random(state) % count as u64) as usize,
        };
        self.taken.push(pick);
        self.sizes.push(count);
        pick
    }

    /// Returns true once in `count` times when the chooser is seeded.
    pub fn one_in(&mut self, count: usize) -> bool {
        self.choose(count) == count - 1
    }

    /// Returns the answers given so far.
    pub fn taken(&self) -> &[usize] {
        &self.taken
    }

    /// Returns how many answers were possible each time.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Returns the prefix that leads to the next untried sequence of answers, in depth-first order, or `None` after
    /// the last. Beginning with an empty prefix and 0 for the rest, this goes through all of them.
    pub fn next_prefix(&self) -> Option<Vec<usize>> {
        let last = (0..self.taken.len())
            .rev()
            .find(|&at| self.taken[at] + 1 < self.sizes[at])?;
        let mut prefix = self.taken[..last].to_vec();
        prefix.push(self.taken[last] + 1);
        Some(prefix)
    }
}

/// The SplitMix64 generator: enough for choices, and free of dependencies.
fn next_random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_answers() {
        let answers = |seed| {
            let mut chooser = Chooser::seeded(seed);
            (1..100).map(|count| chooser.choose(count)).collect::<Vec<_>>()
        };
        assert_eq!(answers(7), answers(7));
        assert_ne!(answers(7), answers(8));
    }

    #[test]
    fn prefixes_go_through_every_sequence() {
        let mut prefix = Some(Vec::new());
        let mut seen = Vec::new();
        while let Some(now) = prefix {
            let mut chooser = Chooser::fixed(now, 0);
            // The second question depends on the answer to the first.
            let first = chooser.choose(3);
            let second = if first == 1 { chooser.choose(2) } else { 0 };
            seen.push((first, second));
            prefix = chooser.next_prefix();
        }
        assert_eq!(seen, [(0, 0), (1, 0), (1, 1), (2, 0)]);
    }
}
