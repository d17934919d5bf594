//! A machine that runs, and talking to the `init` in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::parts::Parts;

/// A guest has so long for its next word, and to end; it takes seconds when the machine is not busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a guest says of itself is held until somebody asks; past so many lines it waits.
const LINES_MAX: usize = 1024;

/// A machine that runs; it is cut off when it is dropped.
pub(crate) struct Guest {
    /// QEMU, or what runs it.
    process: Child,
    input: Box<dyn Write>,
    lines: Receiver<String>,
    console: PathBuf,
}

/// Something that a guest does to its disk.
#[derive(Debug)]
pub(crate) enum Deed {
    /// It begins to change this.
    Begin(String),
    /// It has changed this, and synced it: the sum of what is there now, if anything is.
    Done(String, Option<String>),
    /// It could not go on.
    Failed,
}

/// Returns QEMU with a machine in it: these disks, and room in `folder` for what it needs to boot.
///
/// Each of the disks is what `-drive` says of it beside its use. With a network it reaches this machine's loopback.
pub(crate) fn machine(parts: &Parts, folder: &Path, disks: &[String], network: bool) -> Command {
    let initramfs = folder.join("initramfs");
    fs::write(&initramfs, parts.initramfs(network)).unwrap();
    let mut qemu = parts.qemu();
    qemu.args(["-machine", "q35", "-accel", "tcg", "-m", "128"])
        .args(["-nodefaults", "-no-user-config", "-no-reboot"])
        .args(["-display", "none", "-monitor", "none"])
        .arg("-serial")
        .arg(format!("file:{}", console(folder).display()))
        .args(["-serial", "stdio"])
        .arg("-kernel")
        .arg(parts.kernel())
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", "console=ttyS0 panic=-1"]);
    for disk in disks {
        qemu.arg("-drive").arg(format!(
            "{disk},format=raw,if=virtio,cache=writeback,discard=unmap"
        ));
    }
    if network {
        // Nothing boots from it.
        qemu.args([
            "-netdev",
            "user,id=net",
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
        ]);
    }
    qemu
}

/// Returns where a machine's kernel writes what it says.
pub(crate) fn console(folder: &Path) -> PathBuf {
    folder.join("console.log")
}

impl Guest {
    /// Boots a machine: `command` is what [`machine`] returned for `folder`, or runs it.
    pub(crate) fn boot(mut command: Command, folder: &Path) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = process.stdout.take().unwrap();
        Self::over(process, input, output, folder)
    }

    /// Talks to a machine by its second serial line, and waits until it has booted.
    pub(crate) fn over(
        process: Child,
        input: impl Write + 'static,
        output: impl Read + Send + 'static,
        folder: &Path,
    ) -> Self {
        let mut output = BufReader::new(output);
        let (told, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            let mut line = Vec::new();
            // A line that it was cut off in is none.
            while output.read_until(b'\n', &mut line).is_ok() && line.ends_with(b"\n") {
                let whole = String::from_utf8_lossy(&line).trim_end().to_owned();
                // Nobody listens any more.
                if told.send(whole).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let guest = Self {
            process,
            input: Box::new(input),
            lines,
            console: console(folder),
        };
        while guest.hear() != "ready" {}
        guest
    }

    /// Attaches an export of a server on this machine, by the kernel's own client, as `nbd0` or another. Returns its size.
    pub(crate) fn attach(&mut self, device: &str, port: u64, export: &str) -> u64 {
        self.ask_for_one(&format!("attach {device} {port} {export}"), "bytes ")
            .parse()
            .unwrap()
    }

    /// Returns the sum of all that is on a device.
    pub(crate) fn sum_of(&mut self, device: &str) -> String {
        self.ask_for_one(&format!("sum {device}"), "sum ")
    }

    /// Detaches what was attached.
    pub(crate) fn detach(&mut self, device: &str) {
        self.ask(&format!("detach {device}"));
    }

    /// Mounts a device.
    pub(crate) fn mount(&mut self, device: &str) {
        self.ask(&format!("mount {device}"));
    }

    /// Unmounts what is mounted.
    pub(crate) fn unmount(&mut self) {
        self.ask("unmount");
    }

    /// Returns the sum of each file of the disk, and of each slot of the ledger.
    pub(crate) fn sums(&mut self) -> BTreeMap<String, String> {
        let told = self.ask("sums");
        let parsed = told.iter().map(|line| {
            let (sum, path) = line
                .strip_prefix("sum ")
                .and_then(|line| line.split_once(' '))
                .unwrap_or_else(|| panic!("`{line}` is no sum"));
            (path.to_owned(), sum.to_owned())
        });
        parsed.collect()
    }

    /// Lets it write so many rounds of files with this in their names; [`Guest::deed`] tells of them.
    pub(crate) fn write(&mut self, name: &str, rounds: u32) {
        writeln!(self.input, "write {name} {rounds}").unwrap();
    }

    /// Waits for the next of its deeds; `None` when it has written all that it should.
    pub(crate) fn deed(&self) -> Option<Deed> {
        Self::deed_of(&self.hear())
    }

    fn deed_of(line: &str) -> Option<Deed> {
        let mut words = line.split(' ').map(str::to_owned);
        let deed = match (words.next().as_deref(), words.next(), words.next()) {
            (Some("begin"), Some(path), None) => Deed::Begin(path),
            (Some("done"), Some(path), Some(sum)) => Deed::Done(path, Some(sum).filter(|sum| sum != "gone")),
            (Some("failed"), ..) => Deed::Failed,
            (Some("ok"), None, None) => return None,
            _ => panic!("the guest said `{line}`"),
        };
        Some(deed)
    }

    /// Returns what its kernel said.
    pub(crate) fn console(&self) -> String {
        let bytes = fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends it at once, whatever it is doing. Returns the deeds that it told until then and nobody has heard of.
    pub(crate) fn cut_off(mut self) -> Vec<Deed> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.lines
            .iter()
            .filter_map(|line| Self::deed_of(&line))
            .collect()
    }

    /// Lets it end by itself, and returns how its process ended.
    pub(crate) fn power_off(mut self) -> ExitStatus {
        writeln!(self.input, "off").unwrap();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the guest does not end: {}", self.console());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets it count on two devices at once: each number is on the first before it is written to the second.
    /// [`Guest::has_counted`] tells when it is done.
    pub(crate) fn count(&mut self, first: &str, second: &str, numbers: u32) {
        writeln!(self.input, "count {first} {second} {numbers}").unwrap();
    }

    /// Tells whether it has done what it was told to.
    pub(crate) fn has_counted(&mut self) -> bool {
        match self.lines.try_recv() {
            Ok(line) if line == "ok" => true,
            Ok(line) => panic!("the guest said `{line}`: {}", self.console()),
            Err(TryRecvError::Empty) => false,
            Err(TryRecvError::Disconnected) => panic!("the guest has ended: {}", self.console()),
        }
    }

    /// Tells it to do something that must succeed, and returns what it says.
    fn ask(&mut self, command: &str) -> Vec<String> {
        writeln!(self.input, "{command}").unwrap();
        let mut told = Vec::new();
        loop {
            let line = self.hear();
            match line.as_str() {
                "ok" => return told,
                failed if failed.starts_with("failed ") => {
                    panic!("the guest {failed} at `{command}`: {}", self.console())
                }
                _ => told.push(line),
            }
        }
    }

    /// Tells it to do something that must succeed and has it say one thing, which it returns.
    fn ask_for_one(&mut self, command: &str, what: &str) -> String {
        let told = self.ask(command);
        let [line] = told.as_slice() else {
            panic!("the guest said {told:?} at `{command}`");
        };
        let said = line.strip_prefix(what);
        said.unwrap_or_else(|| panic!("the guest said `{line}` at `{command}`"))
            .to_owned()
    }

    fn hear(&self) -> String {
        self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => "is silent",
                RecvTimeoutError::Disconnected => "has ended",
            };
            panic!("the guest {what}: {}", self.console())
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        // What runs QEMU passes this on.
        if kill_process(Pid::from_child(&self.process), Signal::TERM).is_ok() {
            let _ = self.process.wait();
        }
    }
}
