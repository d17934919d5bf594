//! Runs a program's commands on a [`Mount`], cuts the power, and lets a [`Workload`] judge what is found.
//!
//! One round is: arm a fault; run commands until it strikes; cut the power; verify. The next round goes on with what
//! was found, in the same store. The power may be cut again while the program recovers, and again after that.
//!
//! Before the cut, a sync may fail, or the program be killed at some operation: the page cache outlives it, so what the
//! next command finds may be on no medium, and must not be lost by the cut once that command has shown it.

use crate::device::{AtCut, Counters};
use crate::disk::Survival;
use crate::mount::Mount;
use crate::random::Random;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(180);
/// How long a command may take to notice that its disk is gone.
const FAREWELL_MAX: Duration = Duration::from_secs(60);
/// How many commands are run at most before the power is cut between two of them.
const COMMANDS_MAX: u64 = 16;
/// The exit status of a Rust program that panicked.
const PANICKED: i32 = 101;

/// A command and what it reads.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) command: Command,
    pub(crate) input: Vec<u8>,
    /// For people.
    pub(crate) what: String,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) succeeded: bool,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

/// How a process ended.
#[derive(Clone, Copy, Debug)]
enum Ended {
    Exit(ExitStatus),
    /// By us.
    Killed,
    /// By us, as it did not end in this time, or not in this time after its disk was gone.
    TooLong(Duration),
}

/// Whether there is power after a look at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    Cut,
}

/// Why a verification stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The power was cut meanwhile.
    Cut,
    /// The command was killed, or failed as a sync did; the power is on.
    Struck,
    /// The program broke its promise.
    Violation(String),
}

/// What a program promises, and how to see that it keeps it.
pub(crate) trait Workload {
    /// Returns the next command; from here on it is in flight.
    fn next(&mut self, random: &mut Random) -> Step;

    /// Notes that the command in flight has ended well: what it did has to last.
    fn acknowledge(&mut self);

    /// Looks at the store: it must be as acknowledged, or with what was in flight, too. What is found is what has to
    /// last from here on; nothing is in flight any more.
    fn verify(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop>;
}

/// What a workload has survived.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    pub(crate) cuts: u64,
    /// Of these, while the program recovered from another.
    pub(crate) cuts_in_recovery: u64,
    pub(crate) failed_syncs: u64,
    /// How often a command was killed and the power stayed on.
    pub(crate) kills: u64,
    pub(crate) commands: u64,
    pub(crate) counters: Counters,
}

/// A broken promise, and how it came to be.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) seed: u64,
    pub(crate) report: Report,
    what: String,
    history: Vec<String>,
}

/// Runs commands on a mount.
#[derive(Debug)]
pub(crate) struct Runner<'a> {
    mount: &'a mut Mount,
    scratch: PathBuf,
    history: Vec<String>,
    report: Report,
    /// About how many operations a command takes.
    operations_each: u64,
}

/// Lets `workload` survive `cuts` cuts on an empty disk.
pub(crate) fn survive(
    mount: &mut Mount,
    workload: &mut dyn Workload,
    seed: u64,
    cuts: u64,
) -> Result<Report, Box<Violation>> {
    let scratch = std::env::temp_dir();
    let mut runner = Runner {
        mount,
        scratch,
        history: Vec::new(),
        report: Report::default(),
        operations_each: 8,
    };
    let mut random = Random::new(seed);
    while runner.report.cuts < cuts {
        if let Err(what) = runner.round(workload, &mut random) {
            runner.report.counters = runner.mount.counters();
            return Err(Box::new(Violation {
                seed,
                report: runner.report,
                what,
                history: runner.history,
            }));
        }
    }
    runner.report.counters = runner.mount.counters();
    Ok(runner.report)
}

impl Runner<'_> {
    /// Runs a command to its end; that it fails by itself is no error here.
    pub(crate) fn run(&mut self, step: Step) -> Result<Output, Stop> {
        self.report.commands += 1;
        let operations_before = self.mount.device().counters().operations;
        let awaited_failure = self.mount.device().awaits_failing_sync();
        let ended = self
            .start(step)
            .map_err(|error| Stop::Violation(format!("the command does not start: {error}")))?;
        let operations = self.mount.device().counters().operations - operations_before;
        if operations > 0 {
            self.operations_each = (3 * self.operations_each + operations).div_ceil(4);
        }
        let sync_failed = awaited_failure && !self.mount.device().awaits_failing_sync();
        self.report.failed_syncs += u64::from(sync_failed);
        match ended {
            Ok(output) if sync_failed && !output.succeeded => Err(Stop::Struck),
            ended => ended,
        }
    }

    /// Runs a command that has to succeed.
    pub(crate) fn must_run(&mut self, step: Step) -> Result<Output, Stop> {
        let what = step.what.clone();
        let output = self.run(step)?;
        if output.succeeded {
            return Ok(output);
        }
        // `check` tells damage as its answer, not as its failure.
        let answer = String::from_utf8_lossy(&output.stdout);
        let said = match output.stderr.trim() {
            "" => answer.trim(),
            error => error,
        };
        Err(Stop::Violation(format!("`{what}` failed: {said}")))
    }

    fn round(&mut self, workload: &mut dyn Workload, random: &mut Random) -> Result<(), String> {
        self.arm(random);
        self.work(workload, random)?;
        self.mount.device().disarm();
        self.cut_power(random)?;
        for recovery in 0.. {
            if recovery < 3 && random.chance(35) {
                self.arm_cut(random, 0);
            }
            if self.settle(workload)? == Power::On {
                break;
            }
            self.report.cuts_in_recovery += 1;
            self.cut_power(random)?;
        }
        self.mount.device().disarm();
        Ok(())
    }

    fn arm(&mut self, random: &mut Random) {
        if random.chance(30) {
            let nth = 1 + random.below(self.operations_each);
            self.history.push(format!("-- sync {nth} is going to fail"));
            let fate = Random::new(random.bits());
            self.mount.device().arm_failing_sync(nth, fate);
        }
        if random.chance(25) {
            let nth = 1 + random.below(4 * self.operations_each);
            self.history
                .push(format!("-- at operation {nth} the command is going to be killed"));
            self.mount.device().arm_halt(nth);
        }
        if random.chance(80) {
            // Not too early: a cut costs more to look at than the commands before it.
            let spared = random.below(12) * self.operations_each;
            self.arm_cut(random, spared);
        }
    }

    /// Arms a cut after the `spared` next operations, within the next two commands then.
    fn arm_cut(&mut self, random: &mut Random, spared: u64) {
        let nth = spared + 1 + random.below(2 * self.operations_each);
        let at_cut = *random.pick(&[AtCut::Hang, AtCut::Fail]);
        self.history
            .push(format!("-- operation {nth} is going to be cut ({at_cut:?})"));
        self.mount.device().arm_cut(nth, at_cut);
    }

    /// Runs commands until the power is cut, or for a while.
    fn work(&mut self, workload: &mut dyn Workload, random: &mut Random) -> Result<(), String> {
        for _ in 0..=random.below(COMMANDS_MAX) {
            let step = workload.next(random);
            let what = step.what.clone();
            let faults_before = self.report.faults();
            match self.run(step) {
                Ok(output) if output.succeeded => workload.acknowledge(),
                Ok(output) => return Err(format!("`{what}` failed: {}", output.stderr.trim())),
                Err(Stop::Cut) => return Ok(()),
                Err(Stop::Violation(what)) => return Err(what),
                Err(Stop::Struck) => {
                    self.settle(workload)?;
                }
            }
            // What a fault has left only in the page cache must not be what the answer rested on: so, often look soon.
            let faults = self.report.faults() - faults_before;
            if self.mount.device().is_cut() || faults > 0 && random.chance(50) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Finds out what became of the command in flight, unless the power is cut meanwhile.
    fn settle(&mut self, workload: &mut dyn Workload) -> Result<Power, String> {
        loop {
            match workload.verify(self) {
                Ok(()) => return Ok(Power::On),
                Err(Stop::Cut) => return Ok(Power::Cut),
                Err(Stop::Struck) => {}
                Err(Stop::Violation(what)) => return Err(what),
            }
        }
    }

    fn cut_power(&mut self, random: &mut Random) -> Result<(), String> {
        let survival = *random.pick(&Survival::ALL);
        self.report.cuts += 1;
        self.history
            .push(format!("-- cut {}: survives: {survival:?}", self.report.cuts));
        let mounted = self.mount.cut_power(survival, Random::new(random.bits()));
        mounted.map_err(|error| format!("the file system cannot be mounted again: {error}"))
    }

    /// Runs a command; what it prints goes to files, so that nobody waits for anybody.
    fn start(&mut self, mut step: Step) -> io::Result<Result<Output, Stop>> {
        let mut input = tempfile::tempfile_in(&self.scratch)?;
        input.write_all(&step.input)?;
        input.rewind()?;
        let mut stdout = tempfile::tempfile_in(&self.scratch)?;
        let mut stderr = tempfile::tempfile_in(&self.scratch)?;
        step.command
            .stdin(input)
            .stdout(stdout.try_clone()?)
            .stderr(stderr.try_clone()?);
        let ended = self.wait(step.command.spawn()?)?;
        let output = Output {
            succeeded: matches!(ended, Ended::Exit(status) if status.success()),
            stdout: read_back(&mut stdout)?,
            stderr: String::from_utf8_lossy(&read_back(&mut stderr)?).into_owned(),
        };
        self.history.push(format!("{}: {ended}", step.what));
        Ok(self.judge(&step.what, ended, output))
    }

    /// Decides what the end of a command means.
    fn judge(&mut self, what: &str, ended: Ended, output: Output) -> Result<Output, Stop> {
        let is_cut = self.mount.device().is_cut();
        match ended {
            Ended::Killed if is_cut => Err(Stop::Cut),
            Ended::Killed => {
                self.report.kills += 1;
                Err(Stop::Struck)
            }
            // After the cut only success says something: that the program relies on what it did.
            Ended::Exit(status) if status.success() => Ok(output),
            Ended::Exit(status) if status.code().is_some_and(|code| code != PANICKED) => {
                if is_cut {
                    Err(Stop::Cut)
                } else {
                    Ok(output)
                }
            }
            Ended::Exit(_) | Ended::TooLong(_) => {
                let said = output.stderr.trim();
                Err(Stop::Violation(format!("`{what}`: {ended}: {said}")))
            }
        }
    }

    /// Waits for the command, which dies where the power is cut or where it was to be killed.
    fn wait(&self, mut child: Child) -> io::Result<Ended> {
        let device = self.mount.device();
        let started = Instant::now();
        let mut cut_since = None;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Ended::Exit(status));
            }
            if device.hangs() {
                // It is in a call that does not return, so it does nothing more.
                child.kill()?;
                device.release();
                child.wait()?;
                return Ok(Ended::Killed);
            }
            if device.is_cut() {
                cut_since.get_or_insert_with(Instant::now);
                std::thread::sleep(Duration::from_millis(1));
            } else {
                device.wait_for_strike(Duration::from_millis(1));
            }
            let lingers = cut_since.is_some_and(|since| since.elapsed() > FAREWELL_MAX);
            if lingers || started.elapsed() > COMMAND_MAX {
                child.kill()?;
                child.wait()?;
                return Ok(Ended::TooLong(if lingers { FAREWELL_MAX } else { COMMAND_MAX }));
            }
        }
    }
}

fn read_back(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(status) => match status.code() {
                Some(PANICKED) => write!(f, "panicked"),
                Some(code) => write!(f, "exit {code}"),
                None => write!(f, "{status}"),
            },
            Self::Killed => write!(f, "killed"),
            Self::TooLong(limit) => write!(f, "still running after {} s", limit.as_secs()),
        }
    }
}

impl Report {
    /// Returns how often something failed while the power was on.
    fn faults(&self) -> u64 {
        self.failed_syncs + self.kills
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counters {
            operations,
            writes,
            written_bytes,
            syncs,
            directory_syncs,
            names,
        } = self.counters;
        write!(
            f,
            "{} cuts ({} of them during a recovery), {} failed syncs, {} kills, {} commands; on the disk {operations} operations: \
             {writes} writes of {written_bytes} bytes, {syncs} syncs, {directory_syncs} directory syncs, {names} names",
            self.cuts, self.cuts_in_recovery, self.failed_syncs, self.kills, self.commands
        )
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        writeln!(f, "after {}", self.report)?;
        for line in &self.history {
            writeln!(f, "  {line}")?;
        }
        write!(f, "replay with TINE_SEED={}", self.seed)
    }
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.cuts_in_recovery += other.cuts_in_recovery;
        self.failed_syncs += other.failed_syncs;
        self.kills += other.kills;
        self.commands += other.commands;
        self.counters += other.counters;
    }
}
