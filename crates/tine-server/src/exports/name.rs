//! The names of exports: `web1`, `web1@clean`, `golden+fork`, `golden+fork=JOB`.
//!
//! `+` because no name has one and a URI leaves it alone: what stands behind a `?` or an `&` there never comes here, so that
//! `golden?fork` would silently open `golden` itself.

use std::fmt;
use std::str::FromStr;

use tine_store::{BranchName, StoreError, Target};

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExportName {
    /// A branch or a snapshot.
    Disk(Target),
    /// A throwaway fork of it, for one connection or for all that name the job.
    Fork(Target, Option<BranchName>),
}

impl FromStr for ExportName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        let Some((source, how)) = name.split_once('+') else {
            return Ok(Self::Disk(name.parse()?));
        };
        let job = match how.strip_prefix("fork") {
            Some("") => None,
            Some(job) if job.starts_with('=') => Some(job[1..].parse()?),
            _ => {
                return Err(StoreError::InvalidName {
                    name: name.chars().take(200).collect(),
                    reason: "has something else than `+fork` or `+fork=JOB` behind the disk",
                });
            }
        };
        Ok(Self::Fork(source.parse()?, job))
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(target) => write!(out, "{target}"),
            Self::Fork(source, None) => write!(out, "{source}+fork"),
            Self::Fork(source, Some(job)) => write!(out, "{source}+fork={job}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_it_is_written() {
        for name in [
            "web1",
            "web1@clean",
            "golden+fork",
            "golden@v1+fork",
            "golden+fork=job-1",
        ] {
            assert_eq!(name.parse::<ExportName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_only_looks_like_a_fork_is_no_name() {
        for name in [
            "",
            "golden+",
            "golden+forks",
            "golden+fork=",
            "golden+fork=a/b",
            "golden+fork=a+b",
            "golden fork",
            "golden?fork",
            "golden%2Bfork",
            "+fork",
            "golden+FORK",
            "golden+fork=.x",
            "golden+fork+fork",
        ] {
            assert!(name.parse::<ExportName>().is_err(), "{name:?}");
        }
    }
}
