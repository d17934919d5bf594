//! Consent: nothing is lost, and much space taken, only after somebody agreed to that.

use serde::{Deserialize, Serialize};

use super::{Failure, Kind};

/// What the caller agrees to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// To nothing: what would be lost is told, as a failure of the kind [`Kind::Unconfirmed`].
    #[default]
    Nothing,
    /// To this, as it was told. When it has changed meanwhile, it is told anew.
    To(String),
    /// To whatever it is; then it is not even looked for.
    All,
}

impl Consent {
    /// Fails unless the caller agrees to what `loss` says is lost or taken; nothing needs no consent.
    pub(super) fn covers(
        &self,
        loss: impl FnOnce() -> Result<Option<String>, Failure>,
    ) -> Result<(), Failure> {
        if *self == Self::All {
            return Ok(());
        }
        match loss()? {
            Some(loss) if *self != Self::To(loss.clone()) => Err(Failure::new(Kind::Unconfirmed, loss)
                .hint("nothing was changed; `--yes` does it all the same")),
            _ => Ok(()),
        }
    }
}
