//! Running other programs: what runs is printed, nothing reads the standard input.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;

/// Returns the root of the workspace.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// Returns the folder that holds the workspace's build artefacts.
pub(crate) fn target_dir() -> PathBuf {
    // A relative path is relative to where the commands run, which is the root.
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Returns a command that runs `program` in the root of the workspace, without what cargo told this program
/// about itself: build scripts that look at such variables would run again for each caller.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let of_this_crate = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME"
        });
        if of_this_crate {
            command.env_remove(name);
        }
    }
    command
}

/// Returns the cargo that runs this program, with `args`.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(args);
    cargo
}

/// Runs `command` and waits for its end; its output goes where ours goes.
///
/// # Errors
///
/// When it cannot be started or ends with anything but success.
pub(crate) fn run(command: &mut Command) -> Result {
    eprintln!("$ {}", shown(command));
    let status = command
        .status()
        .map_err(|error| format!("{} cannot be started: {error}", shown(command)))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed ({status})", shown(command)).into())
    }
}

/// Runs `command` and returns what it wrote to its standard output; what it wrote to the other goes where ours
/// goes.
///
/// # Errors
///
/// When it cannot be started or ends with anything but success.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", shown(command));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", shown(command)))?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", shown(command), output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a talkative `command`: returns what it wrote to its standard error if it succeeds, and shows it if not.
///
/// # Errors
///
/// When it cannot be started or ends with anything but success.
pub(crate) fn run_quietly(command: &mut Command) -> Result<String> {
    eprintln!("$ {}", shown(command));
    let output = command
        .output()
        .map_err(|error| format!("{} cannot be started: {error}", shown(command)))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    eprint!("{said}");
    Err(format!("`{}` failed ({})", shown(command), output.status).into())
}

/// Runs a `command` that goes on for a while: each line that it writes to its standard error is heard, and goes where
/// ours goes.
///
/// # Errors
///
/// When it cannot be started or ends with anything but success.
pub(crate) fn run_and_listen(command: &mut Command, mut hear: impl FnMut(&str)) -> Result {
    eprintln!("$ {}", shown(command));
    let started = command.stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("{} cannot be started: {error}", shown(command)))?;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            hear(&line);
        }
    }
    let status = child.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{}` failed ({status})", shown(command)).into())
    }
}

/// Asks `command` a small question: returns what it printed if it could answer, in silence.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Returns the path of `program` if it is installed.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = path_with_sbin();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

/// Returns `PATH` with the folders where Debian keeps `mke2fs` and its like at the end; a user's lacks them.
pub(crate) fn path_with_sbin() -> std::ffi::OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    for folder in ["/usr/local/sbin", "/usr/sbin", "/sbin"] {
        if !env::split_paths(&path).any(|known| known == Path::new(folder)) {
            path.push(":");
            path.push(folder);
        }
    }
    path
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Returns `command` as one would type it in the root of the workspace.
fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        // Shared by all commands, and long.
        let value = value.filter(|_| name != "PATH")?;
        Some(format!("{}={}", name.to_string_lossy(), quoted(value)))
    });
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args()).map(quoted);
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("/opt/bin/cargo");
        command
            .args(["test", "it's here", ""])
            .env("RUSTFLAGS", "--cfg loom")
            .env("PATH", "/bin");
        assert_eq!(
            shown(&command),
            r"RUSTFLAGS='--cfg loom' cargo test 'it'\''s here' ''"
        );
    }

    #[test]
    fn what_a_program_says_is_heard_line_by_line_and_its_failure_told() {
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one >&2; echo no; printf two >&2; exit 3"]);
        let failed = run_and_listen(&mut command, |line| heard.push(line.to_owned()));
        assert!(failed.is_err_and(|error| error.to_string().contains("exit status: 3")));
        assert_eq!(heard, ["one", "two"]);
    }

    #[test]
    fn a_program_is_found_by_name_and_one_that_is_not_there_is_not() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-of-tine").is_none());
    }
}
