//! Asking before something is destroyed, or takes much space.

use std::io::{self, IsTerminal as _};

use tine_store::Store;

use crate::context::{Context, Missing};
use crate::error::{CommandError, Outcome};
use crate::ui::tell;

/// Does `work` after the user has agreed to what `loss` says will be lost or taken.
///
/// The store is not held while the question stands, so others may go on; when the loss has changed by the time of the
/// answer, the question is put again. No loss, no question. `yes` answers it beforehand; off a terminal it must.
pub(crate) fn guarded<T>(
    context: &Context,
    yes: bool,
    loss: impl Fn(&Store) -> Outcome<Option<String>>,
    work: impl Fn(&Store) -> Outcome<T>,
) -> Outcome<T> {
    let mut agreed = None;
    loop {
        let step = context.with_store(Missing::Refuse, |store| {
            let loss = if yes { None } else { loss(store)? };
            match loss {
                Some(loss) if agreed.as_ref() != Some(&loss) => Ok(Step::Ask(loss)),
                _ => Ok(Step::Done(work(store)?)),
            }
        })?;
        match step {
            Step::Done(done) => return Ok(done),
            Step::Ask(loss) => {
                ask(&loss)?;
                agreed = Some(loss);
            }
        }
    }
}

enum Step<T> {
    Done(T),
    Ask(String),
}

fn ask(loss: &str) -> Outcome<()> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CommandError::new(loss).hint("nothing was changed; `--yes` does it all the same"));
    }
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
