//! The smallest program that promises something: a log to which each process appends one record.
//!
//! It shows that the harness accepts a program that syncs what it has to, and catches one that leaves a sync out.
//!
//! ```text
//! log/0  | record | record |      a file is full with two records
//! log/1  | record |
//! ```

use crate::aligned::{PAGE, read_direct};
use crate::harness::{Report, Runner, Step, Stop, Violation, Workload, survive};
use crate::mount::Mount;
use crate::random::Random;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const RECORD_BYTES: usize = 2 * PAGE;
const RECORDS_IN_FILE: u64 = 2;

/// What the program leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Correct,
    WithoutSync,
    WithoutDirectorySync,
    /// Syncs again when a sync fails, and believes the second answer.
    RetriesSync,
    /// Builds on what it finds, though who wrote it may not have synced it.
    TrustsWhatItFinds,
}

const VARIABLE: &str = "TINE_POWER_CUT_LOG";
const ALL: [Log; 5] = [
    Log::Correct,
    Log::WithoutSync,
    Log::WithoutDirectorySync,
    Log::RetriesSync,
    Log::TrustsWhatItFinds,
];

/// Returns the only content that a record of this number has.
fn record(number: u64) -> Vec<u8> {
    Random::new(number).bytes(RECORD_BYTES)
}

/// Returns how many records the log has on the medium; the first that is not whole ends it.
fn count(log: &Path) -> io::Result<u64> {
    let mut whole = 0;
    for file in 0.. {
        let bytes = match read_direct(&log.join(file.to_string())) {
            Err(error) if error.kind() == ErrorKind::NotFound => break,
            bytes => bytes?,
        };
        let here = bytes
            .chunks(RECORD_BYTES)
            .zip(whole..)
            .take_while(|(bytes, number)| *bytes == record(*number));
        let here = here.count() as u64;
        whole += here;
        if here < RECORDS_IN_FILE {
            break;
        }
    }
    Ok(whole)
}

impl Log {
    /// Returns how many records there are; they have to last from here on.
    ///
    /// Whoever wrote them may have been cut off before it had synced them, or its sync may have failed: what the
    /// answer rests on is synced first.
    fn recover(self, root: &Path) -> io::Result<u64> {
        let log = root.join("log");
        if !log.try_exists()? {
            return Ok(0);
        }
        self.sync_directory(root)?;
        self.sync_directory(&log)?;
        let records = count(&log)?;
        if let Some(last) = records.checked_sub(1)
            && self != Self::TrustsWhatItFinds
        {
            self.sync(&File::open(path_of(&log, last))?)?;
        }
        Ok(records)
    }

    /// Appends a record; when this returns, it has to last.
    fn append(self, root: &Path) -> io::Result<()> {
        let log = root.join("log");
        let number = self.recover(root)?;
        if number == 0 && !log.try_exists()? {
            fs::create_dir(&log)?;
            self.sync_directory(root)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path_of(&log, number))?;
        file.write_all_at(&record(number), number % RECORDS_IN_FILE * RECORD_BYTES as u64)?;
        self.sync(&file)?;
        self.sync_directory(&log)
    }

    fn sync(self, file: &File) -> io::Result<()> {
        match self {
            Self::WithoutSync => Ok(()),
            Self::RetriesSync => file.sync_all().or_else(|_| file.sync_all()),
            Self::Correct | Self::WithoutDirectorySync | Self::TrustsWhatItFinds => file.sync_all(),
        }
    }

    fn sync_directory(self, path: &Path) -> io::Result<()> {
        if self == Self::WithoutDirectorySync {
            Ok(())
        } else {
            File::open(path)?.sync_all()
        }
    }
}

fn path_of(log: &Path, record: u64) -> PathBuf {
    log.join((record / RECORDS_IN_FILE).to_string())
}

/// The program: this test binary, started anew for each command.
#[test]
fn process() {
    let Some(arguments) = std::env::var_os(VARIABLE) else {
        return;
    };
    let arguments = arguments.into_string().expect("is UTF-8");
    let [variant, command, root] = arguments.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        panic!("`{arguments}` is no variant, command and path");
    };
    let log = ALL
        .into_iter()
        .find(|log| format!("{log:?}") == variant)
        .expect("is a variant");
    let done = match command {
        "append" => log.append(Path::new(root)).map(|()| String::new()),
        _ => log.recover(Path::new(root)).map(|records| records.to_string()),
    };
    // Past the test runner, which keeps what is printed to itself.
    let (status, said) = match done {
        Ok(words) => (0, io::stdout().write_all(words.as_bytes())),
        Err(error) => (2, writeln!(io::stderr(), "error: {error}")),
    };
    said.and_then(|()| io::stdout().flush()).expect("can be said");
    std::process::exit(status);
}

/// What the log has promised.
struct Appends<'a> {
    log: Log,
    root: &'a Path,
    acknowledged: u64,
    in_flight: bool,
}

impl Appends<'_> {
    fn step(&self, arguments: &str) -> Step {
        let mut command = Command::new(std::env::current_exe().expect("this test is a program"));
        command.args(["--exact", "log::process"]).env(
            VARIABLE,
            format!("{:?} {arguments} {}", self.log, self.root.display()),
        );
        Step {
            command,
            input: Vec::new(),
            what: format!("{arguments} (after {})", self.acknowledged),
        }
    }
}

impl Workload for Appends<'_> {
    fn next(&mut self, _random: &mut Random) -> Step {
        self.in_flight = true;
        self.step("append")
    }

    fn acknowledge(&mut self) {
        self.acknowledged += 1;
        self.in_flight = false;
    }

    fn verify(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop> {
        let output = runner.must_run(self.step("recover"))?;
        // The last word; the test runner had others.
        let said = String::from_utf8_lossy(&output.stdout);
        let found: Option<u64> = said.split_whitespace().last().and_then(|word| word.parse().ok());
        let found = found.ok_or_else(|| Stop::Violation(format!("`recover` printed {said:?}")))?;
        let most = self.acknowledged + u64::from(std::mem::take(&mut self.in_flight));
        if !(self.acknowledged..=most).contains(&found) {
            let promised = self.acknowledged;
            return Err(Stop::Violation(format!(
                "{promised} to {most} records were promised, {found} are there"
            )));
        }
        self.acknowledged = found;
        Ok(())
    }
}

fn cut(log: Log, seed: u64, cuts: u64) -> Option<Result<Report, Box<Violation>>> {
    let mut mount = Mount::new_or_skip(&format!("{log:?}"))?;
    let root = mount.path().to_owned();
    let mut appends = Appends {
        log,
        root: &root,
        acknowledged: 0,
        in_flight: false,
    };
    Some(survive(&mut mount, &mut appends, seed, cuts))
}

/// Asserts that `log` is caught within `cuts`, of which each log in turn has a few.
fn is_caught(log: Log, cuts: u64) {
    let mut survived = 0;
    for seed in 0.. {
        match cut(log, seed, 20) {
            Some(Ok(report)) => survived += report.cuts,
            Some(Err(violation)) => {
                println!("{log:?}: caught at cut {}", survived + violation.report.cuts);
                return;
            }
            None => return,
        }
        assert!(survived < cuts, "{log:?} was not caught by {survived} cuts");
    }
}

#[test]
fn a_log_that_syncs_survives_every_cut() {
    for seed in 0..4 {
        match cut(Log::Correct, seed, 25) {
            Some(Ok(report)) => println!("seed {seed}: {report}"),
            Some(Err(violation)) => panic!("{violation}"),
            None => return,
        }
    }
}

#[test]
fn a_log_that_does_not_sync_is_caught() {
    is_caught(Log::WithoutSync, 20);
}

#[test]
fn a_log_that_does_not_sync_its_directory_is_caught() {
    is_caught(Log::WithoutDirectorySync, 20);
}

#[test]
fn a_log_that_syncs_again_after_a_failure_is_caught() {
    is_caught(Log::RetriesSync, 100);
}

#[test]
fn a_log_that_trusts_what_it_finds_is_caught() {
    is_caught(Log::TrustsWhatItFinds, 300);
}
