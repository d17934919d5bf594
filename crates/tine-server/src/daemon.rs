//! A store and those who use its disks.

use std::fmt;

use tine_store::{Store, Target};

use crate::api::Failure;

/// A store and those who use its disks.
///
/// A command that opens the store itself makes one, too; nobody is attached to its disks.
pub struct Daemon {
    store: Store,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Daemon").finish_non_exhaustive()
    }
}

impl Daemon {
    /// Takes charge of an open store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps clients from attaching to disks while something is done with these that clients cannot bear.
    ///
    /// # Errors
    /// [`Kind::Attached`](crate::api::Kind::Attached) while clients are attached to any of them, unless it is forced.
    pub fn claim(&self, _disks: &[Target], _doing: &str, _force: bool) -> Result<Claim<'_>, Failure> {
        Ok(Claim { _daemon: self })
    }

    /// Returns the store again, to close it or to read on from it.
    pub fn into_store(self) -> Store {
        self.store
    }
}

/// Nobody attaches to some disks while this is there.
#[derive(Debug)]
pub struct Claim<'a> {
    _daemon: &'a Daemon,
}
