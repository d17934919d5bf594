//! Asking before something is destroyed, or takes much space.

use std::io::{self, IsTerminal as _};

use tine_server::api::{Consent, Kind};

use crate::error::{CommandError, Outcome};
use crate::ui::tell;

/// Does `work`, which takes the user's consent to what will be lost or taken.
///
/// The store is not held while the question stands, so others may go on; when the loss has changed by the time of the
/// answer, the question is put again. No loss, no question. `yes` answers it beforehand; off a terminal it must.
pub(crate) fn guarded<T>(yes: bool, work: impl Fn(Consent) -> Outcome<T>) -> Outcome<T> {
    let mut consent = if yes { Consent::All } else { Consent::Nothing };
    loop {
        let error = match work(consent) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let loss = match error.failure() {
            Some(failure) if failure.kind == Kind::Unconfirmed && on_terminal() => failure.message.clone(),
            _ => return Err(error),
        };
        ask(&loss)?;
        consent = Consent::To(loss);
    }
}

fn on_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn ask(loss: &str) -> Outcome<()> {
    tell(format_args!("{loss}\nGo on? [y/N] "));
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| CommandError::io("read the answer", error))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(CommandError::new("not confirmed: nothing was changed"))
    }
}
