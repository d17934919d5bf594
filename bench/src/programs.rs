//! Other programs: found or missing, run and timed.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// Returns the path of a program if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end.
///
/// # Errors
///
/// When it fails; what it said is in the error.
pub(crate) fn run(command: &mut Command) -> Result {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed ({}): {}", output.status, said.trim()).into())
}

/// Runs a command without any pipe to it and returns how long it took, the start of the process included.
///
/// # Errors
///
/// When it fails.
pub(crate) fn time(command: &mut Command) -> Result<Duration> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status()?;
    let elapsed = begun.elapsed();
    if status.success() {
        return Ok(elapsed);
    }
    // Once more, for what it says.
    run(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    Err(format!("{command:?} failed ({status})").into())
}
