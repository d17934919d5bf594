//! Where and with what a run took place: numbers without it are worth little.

use std::fs;
use std::process::{Command, Stdio};

/// What there is to know of the machine, as it is printed.
pub struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks around; what cannot be found is left out.
    pub fn here() -> Self {
        let mut machine = Self { facts: Vec::new() };
        let memory = value_of("/proc/meminfo", "MemTotal:")
            .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
            .map_or(String::new(), |kib| format!(", {} GiB", kib >> 20));
        let model = value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor".into());
        machine.add("machine", Some(format!("{} × {model}{memory}", cores())));
        let [system, release] = ["ostype", "osrelease"].map(|what| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{what}")).ok()?;
            Some(text.trim().to_owned())
        });
        let kernel = system.zip(release);
        machine.add(
            "kernel",
            kernel.map(|(system, release)| format!("{system} {release}")),
        );
        let tine = format!("{} ({})", env!("CARGO_PKG_VERSION"), build());
        machine.add(
            "tine",
            Some(revision().map_or(tine.clone(), |revision| format!("{tine}, {revision}"))),
        );
        let load = fs::read_to_string("/proc/loadavg").ok();
        let last_minute = load
            .as_ref()
            .and_then(|load| load.split(' ').next()?.parse::<f64>().ok());
        machine.add("load", load.map(|load| load.trim().to_owned()));
        // Seen: with every core taken, synced writes one after another fell from 8,000 a second to 300, the raw
        // file's like tine's.
        if last_minute.is_some_and(|load| load > cores() as f64 / 2.0) {
            let caution = "others use the cores: rows that sync or have threads can be many times slower; measure again \
                           when quiet";
            machine.add("caution", Some(caution.to_owned()));
        }
        machine
    }

    /// Adds what a suite knows beyond that, if it could be found.
    pub fn add(&mut self, what: &'static str, value: Option<String>) {
        self.facts.extend(value.map(|value| (what, value)));
    }

    /// Returns what is known: what it is, and how.
    pub fn facts(&self) -> Vec<(&'static str, &str)> {
        self.facts
            .iter()
            .map(|(what, value)| (*what, value.as_str()))
            .collect()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns the first line that a command prints, if it succeeds.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .next()
        .filter(|_| output.status.success())
        .map(str::to_owned)
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "not optimised: its numbers mean nothing"
    } else {
        "optimised"
    }
}

fn revision() -> Option<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    first_line(Command::new("git").args(["-C", root, "describe", "--always", "--dirty"]))
}

/// Returns what follows a word at the beginning of a line, and a colon if there is one.
fn value_of(file: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    Some(line.trim_start().trim_start_matches(':').trim().to_owned())
}
