//! `check`: is everything as it was written?

use serde::{Deserialize, Serialize};
use tine_store::{CheckReport, Store};

use super::{Failure, LongRequest, Method, Never, Tell};
use crate::Daemon;

/// Verifies the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Reads every block, too.
    #[serde(default)]
    pub data: bool,
}

impl LongRequest for Check {
    type Item = Never;
    type Answer = CheckReport;
    const METHOD: Method = Method::Look;
    const VERB: &'static str = "check";

    fn work(self, daemon: &Daemon, tell: Tell<'_, Never>) -> Result<CheckReport, Failure> {
        Ok(daemon.store().check(self.data, &mut super::progress(tell))?)
    }

    fn work_alone(self, store: Store, tell: Tell<'_, Never>) -> Result<CheckReport, Failure> {
        Ok(store.into_check(self.data, &mut super::progress(tell))?)
    }
}
