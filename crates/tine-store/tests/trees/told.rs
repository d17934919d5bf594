//! How a history goes wrong, and what it says of it.

use tine_store::StoreError;

use super::support::perform::describe;

/// How a history went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The store shows what was never so.
    Shows,
    /// It says that it is damaged.
    Damage,
    /// It refuses what it should do.
    Refuses,
    /// The engine or the test panicked.
    Panics,
}

pub(crate) struct Wrong {
    pub(crate) kind: Kind,
    pub(crate) why: String,
}

impl Wrong {
    pub(crate) fn at(self, place: impl std::fmt::Display) -> Self {
        let why = format!("{place}: {}", self.why);
        Self { why, ..self }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self {
            kind: Kind::Shows,
            why,
        }
    }
}

pub(crate) type Told<T> = Result<T, Wrong>;

pub(crate) fn told<T>(result: Result<T, StoreError>, what: &str) -> Told<T> {
    result.map_err(|error| Wrong {
        kind: match error {
            StoreError::Damaged { .. } | StoreError::BlockDamaged { .. } => Kind::Damage,
            _ => Kind::Refuses,
        },
        why: format!("{what}: {}", describe(&error)),
    })
}
