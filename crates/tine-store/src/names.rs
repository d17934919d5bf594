//! Names of branches and snapshots.
//!
//! Invariant: a name is 1–128 of `[A-Za-z0-9._-]` without a leading dot or dash, so it is safe in a terminal, a
//! URI and a log line. It is never made into a path.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::StoreError;

const NAME_BYTES_MAX: usize = 128;

fn check(name: &str) -> Result<(), StoreError> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "is longer than 128 characters"
    } else if name.starts_with(['.', '-']) {
        "begins with a dot or a dash"
    } else if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        "has a character other than letters, digits, `.`, `_` and `-`"
    } else {
        return Ok(());
    };
    Err(StoreError::InvalidName {
        name: name.chars().take(200).collect(),
        reason,
    })
}

/// Reads what is written as a text; one that breaks the rules is an error of the data.
fn from_text<'de, D: Deserializer<'de>, T: FromStr<Err = StoreError>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }

        impl FromStr for $name {
            type Err = StoreError;

            fn from_str(name: &str) -> Result<Self, StoreError> {
                check(name)?;
                Ok(Self(name.into()))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = StoreError;

            fn try_from(name: &str) -> Result<Self, StoreError> {
                name.parse()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a branch.
    BranchName
}

name_type! {
    /// The name of a snapshot, unique within its branch.
    SnapshotName
}

impl BranchName {
    /// Returns what stands for the name of a branch that has none: no name that anybody can give or ask for.
    pub(crate) fn unnamed(branch: u64) -> Self {
        Self(format!(".{branch}").into())
    }

    /// Returns a name that the store had recorded.
    pub(crate) fn recorded(name: &str) -> Result<Self, StoreError> {
        match name.strip_prefix('.').map(str::parse) {
            Some(Ok(branch)) => Ok(Self::unnamed(branch)),
            _ => name.parse(),
        }
    }
}

/// What can be read: a branch as it is now, or one of its snapshots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The head of a branch, written `branch`.
    Branch(BranchName),
    /// A snapshot, written `branch@snapshot`.
    Snapshot(BranchName, SnapshotName),
}

impl Target {
    /// Returns the branch, or the branch that the snapshot is of.
    pub fn branch(&self) -> &BranchName {
        match self {
            Self::Branch(branch) | Self::Snapshot(branch, _) => branch,
        }
    }
}

impl FromStr for Target {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Ok(match text.split_once('@') {
            None => Self::Branch(text.parse()?),
            Some((branch, snapshot)) => Self::Snapshot(branch.parse()?, snapshot.parse()?),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Branch(branch) => write!(out, "{branch}"),
            Self::Snapshot(branch, snapshot) => write!(out, "{branch}@{snapshot}"),
        }
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_text(deserializer)
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_hurt_are_refused() {
        let long = "x".repeat(129);
        for bad in [
            "",
            ".hidden",
            "-rf",
            "a/b",
            "a b",
            "a@b",
            "ä",
            "a\n",
            "../x",
            long.as_str(),
        ] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad:?}");
        }
        for good in ["a", "web1", "v1.2_x-y", "0", &"x".repeat(128)] {
            assert!(good.parse::<BranchName>().is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_target_reads_as_it_is_written() {
        for text in ["web1", "web1@clean"] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        for bad in ["@x", "x@", "a@b@c"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
