//! Where and with what a run took place: numbers without it are worth little.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::programs;

/// What there is to know of the machine, as it is printed.
pub(crate) struct Machine {
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// Looks around; what cannot be found is left out.
    pub(crate) fn of(place: &Path) -> Self {
        let mut facts = Vec::new();
        let mut add = |what, value: Option<String>| facts.extend(value.map(|value| (what, value)));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let memory = value_of("/proc/meminfo", "MemTotal:")
            .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
            .map_or(String::new(), |kib| format!(", {} GiB", kib >> 20));
        let model = value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "processor".into());
        add("machine", Some(format!("{cores} × {model}{memory}")));
        let system = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        add(
            "kernel",
            Some(format!("{} {}", text(system.sysname()), text(system.release()))),
        );
        add("file system", file_system(place));
        let tine = format!("{} ({})", env!("CARGO_PKG_VERSION"), build());
        add(
            "tine",
            Some(revision().map_or(tine.clone(), |revision| format!("{tine}, {revision}"))),
        );
        add(
            "qemu-img",
            programs::first_line(Command::new("qemu-img").arg("--version")),
        );
        add("cp", programs::first_line(Command::new("cp").arg("--version")));
        let load = fs::read_to_string("/proc/loadavg").ok();
        let last_minute = load
            .as_ref()
            .and_then(|load| load.split(' ').next()?.parse::<f64>().ok());
        add("load", load.map(|load| load.trim().to_owned()));
        // Seen: with every core taken, synced writes one after another fell from 8,000 a second to 300, the raw
        // file's like tine's.
        if last_minute.is_some_and(|load| load > cores as f64 / 2.0) {
            let caution =
                "others use the cores: rows that sync can be many times slower; measure again when quiet";
            add("caution", Some(caution.to_owned()));
        }
        Self { facts }
    }

    pub(crate) fn facts(&self) -> Vec<(&'static str, &str)> {
        self.facts
            .iter()
            .map(|(what, value)| (*what, value.as_str()))
            .collect()
    }
}

fn build() -> &'static str {
    if cfg!(debug_assertions) {
        "not optimised: its numbers mean nothing"
    } else {
        "optimised"
    }
}

fn revision() -> Option<String> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    programs::first_line(Command::new("git").args(["-C", root, "describe", "--always", "--dirty"]))
}

/// Returns what follows a word at the beginning of a line, and a colon if there is one.
fn value_of(file: &str, word: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    Some(line.trim_start().trim_start_matches(':').trim().to_owned())
}

/// Returns the type of the file system that holds `place`, and its device and options.
fn file_system(place: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let place = place.canonicalize().ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, at, kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
            place
                .starts_with(at)
                .then(|| (at.len(), format!("{kind} on {device} ({options})")))
        })
        // Of two mounts in one place, the later one is seen.
        .max_by_key(|(length, _)| *length)
        .map(|(_, found)| found)
}
