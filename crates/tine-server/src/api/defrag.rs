//! `defrag`: writes anew what lies in pieces.

use serde::{Deserialize, Serialize};
use tine_store::{BranchName, DefragOptions, DefragReport, Store};

use super::{Consent, Failure, LongRequest, Method, Never, Tell};
use crate::Daemon;
use crate::words::human;

/// Writes what lies in many small pieces anew, in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defrag {
    /// The branch.
    pub name: BranchName,
    /// Also what it shares with others, which takes space.
    #[serde(default)]
    pub shared: bool,
    /// To taking that space.
    #[serde(default)]
    pub consent: Consent,
}

impl LongRequest for Defrag {
    type Item = Never;
    type Answer = DefragReport;
    const METHOD: Method = Method::Change;
    const VERB: &'static str = "defrag";

    fn work(self, daemon: &Daemon, tell: Tell<'_, Never>) -> Result<DefragReport, Failure> {
        let Self {
            name,
            shared,
            consent,
        } = self;
        let (store, options) = (daemon.store(), DefragOptions { shared });
        let mut progress = super::progress(tell);
        if shared {
            consent.covers(|| {
                let plan = store.fragmentation(&name, &options, &mut progress)?;
                Ok((plan.due_shared > 0).then(|| {
                    format!(
                        "writing anew what `{name}` shares with others takes {} more",
                        human(plan.due_shared)
                    )
                }))
            })?;
        }
        Ok(store.defrag(&name, &options, &mut progress)?)
    }

    fn work_alone(self, store: Store, tell: Tell<'_, Never>) -> Result<DefragReport, Failure> {
        let daemon = Daemon::new(store);
        let done = super::perform_long(self, &daemon, tell);
        let closed = daemon.into_store().close();
        let report = done?;
        closed?;
        Ok(report)
    }
}
