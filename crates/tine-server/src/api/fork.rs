//! `fork`: independent writable copies.

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, Store, StoreError, Target};

use super::{Failure, Kind, Method, Request};
use crate::Daemon;

/// How many forks one request makes at the most.
pub const FORKS_MAX: u32 = 65_000;

/// Makes independent writable copies that share everything, all or none, of one instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The branch or snapshot to fork.
    pub source: Target,
    /// The new branch. Without one it is called after its source, with the next free number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<BranchName>,
    /// How many, 1 to [`FORKS_MAX`]; then they are called `name-1` to `name-count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

/// Forks that were made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forked {
    /// Their names, in the order of their numbers.
    pub names: Vec<BranchName>,
    /// What they were forked from.
    pub origin: Target,
    /// The size of each in bytes.
    pub size: u64,
}

impl Request for Fork {
    type Answer = Forked;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "fork";

    fn work(self, daemon: &Daemon) -> Result<Forked, Failure> {
        if self.count.is_some_and(|count| count == 0 || count > FORKS_MAX) {
            let words = format!("`count` is no whole number from 1 to {FORKS_MAX}");
            return Err(Failure::new(Kind::Invalid, words));
        }
        let store = daemon.store();
        let names = loop {
            let names = self.names(store)?;
            let forks: Vec<_> = names
                .iter()
                .map(|name| (self.source.clone(), name.clone()))
                .collect();
            match store.fork_many(&forks) {
                Ok(()) => break names,
                // Somebody else took the number meanwhile, so that the next is higher.
                Err(StoreError::BranchExists { .. }) if self.name.is_none() => {}
                Err(error) => return Err(self.failed(error, forks.len())),
            }
        };
        let size = store.state(&self.source)?.size();
        Ok(Forked {
            names,
            origin: self.source,
            size,
        })
    }
}

impl Fork {
    /// Puts what the engine refused into the words of the request.
    fn failed(&self, error: StoreError, count: usize) -> Failure {
        match error {
            StoreError::TooLarge { .. } => Failure::new(
                Kind::Invalid,
                format!("{count} forks with names as long are too many at once"),
            )
            .hint("make them in several calls; 9000 at once fit with any names"),
            error => Failure::from(error).sparing(self.source.branch()),
        }
    }

    /// Returns the names for the forks: as given, numbered from 1, or the next free numbers after the source's name.
    fn names(&self, store: &Store) -> Result<Vec<BranchName>, Failure> {
        match (&self.name, self.count) {
            (Some(name), None) => Ok(vec![name.clone()]),
            (Some(name), Some(count)) => (1..=count)
                .map(|number| numbered(name.as_ref(), number))
                .collect(),
            (None, count) => free_names(store, &self.source, count.unwrap_or(1)),
        }
    }
}

/// Returns names for forks without one: that of the source, with the next free numbers.
pub(super) fn free_names(store: &Store, source: &Target, count: u32) -> Result<Vec<BranchName>, Failure> {
    let stem = stem(source.branch().as_ref());
    // After the highest, not in the gaps: a dropped fork's name does not come back as another's.
    let highest = store
        .branches()?
        .iter()
        .filter_map(|branch| number_behind(stem, branch.name.as_ref()))
        .max()
        .unwrap_or(0);
    (1..=count)
        .map(|number| numbered(stem, highest.saturating_add(number)))
        .collect()
}

fn number_behind(stem: &str, name: &str) -> Option<u32> {
    name.strip_prefix(stem)?.strip_prefix('-')?.parse().ok()
}

/// Returns what a numbered name starts with: the fork of `web-3` is `web-4`, not `web-3-1`; a long one is shortened.
fn stem(name: &str) -> &str {
    let stem = match name.rsplit_once('-') {
        Some((stem, number)) if !stem.is_empty() && number.parse::<u32>().is_ok() => stem,
        _ => name,
    };
    // Names are ASCII and at most 128 bytes; a hyphen and ten digits must fit.
    &stem[..stem.len().min(117)]
}

fn numbered(name: &str, number: u32) -> Result<BranchName, Failure> {
    let numbered = format!("{name}-{number}");
    numbered.parse().map_err(|error: StoreError| {
        Failure::from(error).hint("a number is put behind the name: choose a shorter one")
    })
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn numbers_replace_numbers() {
        assert_eq!(stem("golden"), "golden");
        assert_eq!(stem("golden-7"), "golden");
        assert_eq!(stem("debian-12-base"), "debian-12-base");
        assert_eq!(stem(&"a".repeat(128)).len(), 117);
    }
}
