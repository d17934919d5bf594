//! `--freeze-hook`: a command that stills whoever writes to disks, around the instant at which these are taken.
//!
//! **Invariant:** once the hook was told to freeze, it is told to thaw, however what lies between ends: a guest that stays
//! frozen is worse than a snapshot that was not made. Only `kill -9` keeps it from that.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tine_store::BranchName;

use crate::error::{CommandError, Outcome};
use crate::interrupt;
use crate::signals;

/// How often it is looked whether the hook has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A hook that is asked to end, because the user has asked that, has so long for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does `work` while the disks are still: runs `hook freeze NAME…` before it and `hook thaw NAME…` after it.
pub(crate) fn around<T>(
    hook: Option<&str>,
    names: &[BranchName],
    work: impl FnOnce() -> Outcome<T>,
) -> Outcome<T> {
    let Some(hook) = hook else { return work() };
    // From here on no signal ends this process before the thaw.
    interrupt::catch_all()?;
    let done = freeze(hook, names).and_then(|()| work());
    let thawed = run(hook, "thaw", names, || false);
    match (done, thawed) {
        (Ok(done), Ok(status)) if status.success() => Ok(done),
        (Err(error), Ok(status)) if status.success() => Err(error),
        (Ok(_), Ok(status)) => Err(still_frozen(&format!(
            "`{hook} thaw` ended with {}",
            in_words(status)
        ))),
        (Ok(_), Err(error)) => Err(still_frozen(&format!("`{hook} thaw` did not run ({error})"))),
        (Err(error), _) => Err(error.hint_more(format!(
            "`{hook} thaw` failed, too: whoever was frozen may still be"
        ))),
    }
}

fn freeze(hook: &str, names: &[BranchName]) -> Outcome<()> {
    let status = run(hook, "freeze", names, || interrupt::caught().is_some());
    interrupt::check()?;
    let status = status.map_err(|error| CommandError::io(format_args!("run `{hook}`"), error))?;
    if !status.success() {
        return Err(CommandError::new(format!(
            "`{hook} freeze` ended with {}: nothing was taken",
            in_words(status)
        ))
        .hint(format!(
            "`{hook} thaw` was run; without `--freeze-hook` it works, as after a power cut"
        )));
    }
    Ok(())
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn still_frozen(what: &str) -> CommandError {
    CommandError::new(format!("it was done, but {what}"))
        .hint("whoever was frozen may still be: thaw them by hand")
}

/// Runs the hook until it has ended, or has been told to because of `is_to_end`.
fn run(hook: &str, step: &str, names: &[BranchName], is_to_end: impl Fn() -> bool) -> io::Result<ExitStatus> {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{hook} \"$@\""), "sh", step])
        .args(names.iter().map(BranchName::as_ref))
        .stdin(Stdio::null())
        // Standard output is for data: names of forks, which are read by others.
        .stdout(Stdio::from(io::stderr()))
        // Ctrl-C is for this process, which decides what becomes of it.
        .process_group(0);
    signals::pass_on(&mut command);
    let mut child = command.spawn()?;
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        match asked {
            None if is_to_end() => {
                asked = Some(Instant::now());
                signal(&child, Signal::TERM);
            }
            Some(since) if since.elapsed() > PATIENCE => signal(&child, Signal::KILL),
            _ => {}
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = kill_process_group(pid, signal);
    }
}
