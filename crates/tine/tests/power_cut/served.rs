//! The daemon: clients write to its disks, and what it has answered has to outlast every power cut.
//!
//! One command of the harness is one life of `tine serve`: clients attach as soon as it listens, work for a while, each
//! on a disk of its own and one request at a time, and then it is told to end. Of each disk all writes are known in their
//! order. After a cut it has to be as after one of them: no earlier one than the last that a flush, a FUA or a snapshot
//! had made durable.

use crate::harness::{Runner, Step, Stop, Workload};
use crate::nbd::{Client, Command as Request};
use crate::random::Random;
use crate::store::binary;
use crate::torture;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const BLOCK: usize = 4096;
/// The disks, in bytes: the last takes more than a frame of the journal may carry.
const DISKS: [usize; 3] = [64 << 10, 256 << 10, 6 << 20];
/// How long the daemon may take to listen.
const START_MAX: Duration = Duration::from_secs(20);

/// A change of a disk.
#[derive(Clone, Debug)]
struct Change {
    offset: usize,
    bytes: Vec<u8>,
}

/// A disk with all that was done to it since it was last looked at.
#[derive(Clone, Debug, Default)]
struct Disk {
    base: Vec<u8>,
    changes: Vec<Change>,
    /// So many changes were answered.
    answered: usize,
    /// So many changes are durable.
    durable: usize,
    snapshots: BTreeMap<String, Snapshot>,
}

/// A snapshot that was asked for.
#[derive(Clone, Debug)]
struct Snapshot {
    /// After how many changes it was taken: a command that outlives its daemon goes on alone, with what is left of them.
    after: RangeInclusive<usize>,
    /// It was answered that it is taken.
    is_answered: bool,
    /// What it holds, once that was looked at.
    content: Option<Vec<u8>>,
}

impl Disk {
    fn now(&self) -> Vec<u8> {
        let mut bytes = self.base.clone();
        for change in &self.changes {
            bytes[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
        }
        bytes
    }

    /// Returns after how many changes the disk was like this, of the numbers that are asked for: the least and the most.
    fn was(&self, found: &[u8], after: RangeInclusive<usize>) -> Option<(usize, usize)> {
        let mut bytes = self.base.clone();
        let mut is_like = Vec::new();
        for done in 0..=*after.end() {
            if let Some(change) = done.checked_sub(1).map(|last| &self.changes[last]) {
                bytes[change.offset..][..change.bytes.len()].copy_from_slice(&change.bytes);
            }
            if after.contains(&done) && bytes == found {
                is_like.push(done);
            }
        }
        Some((*is_like.first()?, *is_like.last()?))
    }

    /// From here on this is what there is.
    fn is(&mut self, found: Vec<u8>) {
        (self.base, self.answered, self.durable) = (found, 0, 0);
        self.changes.clear();
    }
}

/// What a client has done.
struct Session {
    disk: Disk,
    /// Nothing failed; else the first thing that did.
    ended: Result<(), String>,
}

/// A store that is served.
struct Served {
    directory: PathBuf,
    /// Outside the file system that forgets.
    sockets: tempfile::TempDir,
    disks: BTreeMap<String, Disk>,
    /// The branch that is being made.
    making: Option<String>,
    clients: Vec<(String, JoinHandle<Session>)>,
    /// The daemon has ended: who is not attached yet need not try any more.
    over: Arc<AtomicBool>,
    /// What a client saw that must not be.
    wrong: Option<String>,
    lives: u64,
}

impl Served {
    fn new(root: &Path) -> Self {
        Self {
            directory: root.join("store"),
            sockets: tempfile::tempdir().expect("a directory"),
            disks: BTreeMap::new(),
            making: None,
            clients: Vec::new(),
            over: Arc::default(),
            wrong: None,
            lives: 0,
        }
    }

    fn step(&self, arguments: &[&str]) -> Step {
        let mut command = Command::new(binary());
        command.arg("--store").arg(&self.directory).args(arguments);
        command.env_remove("TINE_STORE");
        Step {
            command,
            input: Vec::new(),
            what: format!("tine {}", arguments.join(" ")),
        }
    }

    /// Waits for the clients, which end when the daemon has.
    fn gather(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for (name, client) in std::mem::take(&mut self.clients) {
            let session = client.join().expect("a client does not panic");
            if let Some(wrong) = session
                .ended
                .err()
                .as_deref()
                .and_then(|why| why.strip_prefix(WRONG))
            {
                self.wrong = Some(format!("`{name}`{wrong}"));
            }
            self.disks.insert(name, session.disk);
        }
    }

    fn look(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop> {
        if self.disks.is_empty() && !runner.run(self.step(&["ls"]))?.succeeded {
            // What is left of the first command need not be a store; the next one has to make one of it.
            return Ok(());
        }
        runner.must_run(self.step(&["check", "--data"]))?;
        let listing = runner.must_run(self.step(&["ls", "--json"]))?.stdout;
        let mut found = BTreeMap::new();
        for line in String::from_utf8_lossy(&listing).lines() {
            let branch: serde_json::Value = serde_json::from_str(line)
                .map_err(|_| Stop::Violation(format!("`tine ls --json` printed {line}")))?;
            let name = branch["name"].as_str().unwrap_or_default().to_owned();
            let snapshots = branch["snapshots"].as_array().into_iter().flatten();
            let snapshots = snapshots.filter_map(|snapshot| snapshot["snapshot"].as_str().map(str::to_owned));
            found.insert(name, snapshots.collect::<Vec<_>>());
        }
        if let Some(name) = self.making.take()
            && found.contains_key(&name)
        {
            self.disks.insert(name.clone(), new_disk(&name));
        }
        if !found.keys().eq(self.disks.keys()) {
            let (told, found) = (
                self.disks.keys().collect::<Vec<_>>(),
                found.keys().collect::<Vec<_>>(),
            );
            return Err(Stop::Violation(format!(
                "the branches are {found:?}, not {told:?}"
            )));
        }
        for (name, snapshots) in found {
            let bytes = runner.must_run(self.step(&["export", &name, "-"]))?.stdout;
            let mut contents = Vec::new();
            for snapshot in &snapshots {
                let target = format!("{name}@{snapshot}");
                contents.push(runner.must_run(self.step(&["export", &target, "-"]))?.stdout);
            }
            let disk = self.disks.get_mut(&name).expect("the names are alike");
            let Some((_, newest)) = disk.was(&bytes, disk.durable..=disk.changes.len()) else {
                return Err(Stop::Violation(format!(
                    "`{name}` is as after none of its {} changes from the {}th on",
                    disk.changes.len(),
                    disk.durable
                )));
            };
            for (snapshot, content) in snapshots.iter().zip(&contents) {
                let Some(told) = disk.snapshots.get(snapshot) else {
                    return Err(Stop::Violation(format!("nobody took `{name}@{snapshot}`")));
                };
                let is_right = match &told.content {
                    Some(told) => told == content,
                    // What a snapshot holds, its branch does not lose.
                    None => disk
                        .was(content, told.after.clone())
                        .is_some_and(|(oldest, _)| oldest <= newest),
                };
                if !is_right {
                    return Err(Stop::Violation(format!(
                        "`{name}@{snapshot}` holds something else"
                    )));
                }
            }
            let missing = disk
                .snapshots
                .iter()
                .find(|(snapshot, told)| told.is_answered && !snapshots.contains(*snapshot));
            if let Some((snapshot, _)) = missing {
                return Err(Stop::Violation(format!("`{name}@{snapshot}` is gone")));
            }
            disk.snapshots.retain(|snapshot, _| snapshots.contains(snapshot));
            for (snapshot, content) in snapshots.iter().zip(contents) {
                if let Some(told) = disk.snapshots.get_mut(snapshot) {
                    told.content = Some(content);
                }
            }
            disk.is(bytes);
        }
        Ok(())
    }
}

fn new_disk(name: &str) -> Disk {
    let number: usize = name[1..].parse().expect("a name of ours");
    Disk {
        base: vec![0; DISKS[number]],
        ..Disk::default()
    }
}

impl Workload for Served {
    fn next(&mut self, random: &mut Random) -> Step {
        if self.disks.len() < DISKS.len() {
            let name = format!("d{}", self.disks.len());
            let size = DISKS[self.disks.len()].to_string();
            self.making = Some(name.clone());
            return self.step(&["create", &name, &size]);
        }
        self.lives += 1;
        let socket = self.sockets.path().join(format!("{}.sock", self.lives));
        let told = Arc::default();
        self.over = Arc::default();
        for (name, disk) in &self.disks {
            let mut client = Attached {
                socket: socket.clone(),
                store: self.directory.clone(),
                name: name.clone(),
                disk: disk.clone(),
                random: Random::new(random.bits()),
                life: self.lives,
                told: Arc::clone(&told),
                over: Arc::clone(&self.over),
            };
            let client = thread::spawn(move || {
                let ended = client.work();
                Session {
                    disk: client.disk,
                    ended,
                }
            });
            self.clients.push((name.clone(), client));
        }
        let socket = socket.to_str().expect("a path of ours").to_owned();
        self.step(&["serve", "--socket", &socket])
    }

    fn acknowledge(&mut self) {
        if let Some(name) = self.making.take() {
            let disk = new_disk(&name);
            self.disks.insert(name, disk);
            return;
        }
        self.gather();
        // It ended well, so all is saved.
        for disk in self.disks.values_mut() {
            disk.durable = disk.answered;
            for snapshot in disk.snapshots.values_mut() {
                snapshot.after = *snapshot.after.end()..=*snapshot.after.end();
            }
        }
    }

    fn verify(&mut self, runner: &mut Runner<'_>) -> Result<(), Stop> {
        self.gather();
        match self.wrong.take() {
            Some(wrong) => Err(Stop::Violation(wrong)),
            None => self.look(runner),
        }
    }
}

/// What the words of a client begin with that saw something wrong, not merely the end of the daemon.
const WRONG: &str = "\0";

/// A client at work.
struct Attached {
    socket: PathBuf,
    store: PathBuf,
    name: String,
    disk: Disk,
    random: Random,
    life: u64,
    /// Whether the daemon was told to end: told twice, it ends at once.
    told: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Attached {
    fn work(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let mut client = loop {
            match Client::attach(&self.socket, &self.name) {
                Ok(client) => break client,
                // It may have died before it listened: the harness will say so.
                Err(error) if self.over.load(Ordering::Relaxed) || begun.elapsed() > START_MAX => {
                    return Err(error.to_string());
                }
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        };
        let server = client.server().map_err(|error| error.to_string())?;
        self.settle(&mut client)?;
        let requests = 5 + self.random.below(60);
        let mut done = Ok(());
        for _ in 0..requests {
            done = self.request(&mut client);
            if done.is_err() {
                break;
            }
        }
        let left = client.disconnect();
        // Whoever is late finds the others' requests answered or refused.
        if !self.told.swap(true, Ordering::Relaxed) {
            kill(Pid::from_raw(server), Signal::SIGTERM).map_err(|error| error.to_string())?;
        }
        done?;
        left.map_err(|error| error.to_string())
    }

    /// Finds out what became of a change that a daemon which ended well did not answer: it is saved, or was refused.
    fn settle(&mut self, client: &mut Client) -> Result<(), String> {
        let disk = &mut self.disk;
        if disk.changes.len() == disk.answered {
            return Ok(());
        }
        let found = client
            .read(0, disk.base.len())
            .map_err(|error| error.to_string())?;
        if found != disk.now() {
            disk.changes.truncate(disk.answered);
        }
        if found != disk.now() {
            return Err(format!("{WRONG} is neither with nor without what was in flight"));
        }
        disk.answered = disk.changes.len();
        disk.durable = disk.changes.len();
        Ok(())
    }

    /// Does one thing. What it may have done by the time that it fails is known before it begins.
    fn request(&mut self, client: &mut Client) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        let size = self.disk.base.len();
        match self.random.below(100) {
            0..62 => {
                let fua = self.random.chance(10);
                let (offset, length) = self.range(size);
                let bytes = self.random.bytes(length);
                self.change(offset, bytes.clone());
                client
                    .run(Request::Write, fua, offset, length, &bytes)
                    .map_err(failed)?;
                self.answered(fua);
            }
            62..72 => {
                let fua = self.random.chance(20);
                let (offset, length) = self.range(size);
                self.change(offset, vec![0; length]);
                client
                    .run(Request::WriteZeroes, fua, offset, length, &[])
                    .map_err(failed)?;
                self.answered(fua);
            }
            72..76 => {
                // Whole blocks read as zeroes from then on.
                let (offset, length) = self.blocks(size);
                self.change(offset, vec![0; length]);
                client
                    .run(Request::Trim, false, offset, length, &[])
                    .map_err(failed)?;
                self.answered(false);
            }
            76..86 => {
                client.run(Request::Flush, false, 0, 0, &[]).map_err(failed)?;
                self.answered(true);
            }
            86..95 => {
                let (offset, length) = self.range(size);
                let bytes = client.read(offset, length).map_err(failed)?;
                if bytes != self.disk.now()[offset..offset + length] {
                    return Err(format!("{WRONG} reads something else at {offset}"));
                }
            }
            _ if self.disk.snapshots.len() < 3 => {
                let snapshot = format!("s{}-{}", self.life, self.random.below(1 << 20));
                let target = format!("{}@{snapshot}", self.name);
                let (durable, all) = (self.disk.durable, self.disk.changes.len());
                let mut asked = Snapshot {
                    after: durable..=all,
                    is_answered: false,
                    content: None,
                };
                self.disk.snapshots.insert(snapshot.clone(), asked.clone());
                let status = Command::new(binary())
                    .arg("--store")
                    .arg(&self.store)
                    .args(["--quiet", "snapshot", &target])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .map_err(failed)?;
                if !status.success() {
                    return Err("a snapshot failed".to_owned());
                }
                asked.is_answered = true;
                self.disk.snapshots.insert(snapshot.clone(), asked.clone());
                // The daemon is there still, so that it was the one that took it.
                client.read(0, 1).map_err(failed)?;
                asked.after = all..=all;
                self.disk.snapshots.insert(snapshot, asked);
                self.answered(true);
            }
            _ => {}
        }
        Ok(())
    }

    fn change(&mut self, offset: usize, bytes: Vec<u8>) {
        self.disk.changes.push(Change { offset, bytes });
    }

    fn answered(&mut self, is_durable: bool) {
        self.disk.answered = self.disk.changes.len();
        if is_durable {
            self.disk.durable = self.disk.changes.len();
        }
    }

    fn blocks(&mut self, size: usize) -> (usize, usize) {
        let first = self.random.below((size / BLOCK) as u64) as usize;
        let most = (size / BLOCK - first).min(*self.random.pick(&[1, 4, 60, 250]));
        let count = 1 + self.random.below(most as u64) as usize;
        (first * BLOCK, count * BLOCK)
    }

    fn range(&mut self, size: usize) -> (usize, usize) {
        let (offset, length) = self.blocks(size);
        if self.random.chance(70) {
            return (offset, length);
        }
        let skew = self.random.below(BLOCK as u64) as usize;
        (
            offset + skew,
            1 + self.random.below((length - skew) as u64) as usize,
        )
    }
}

/// How many cuts a daemon has to survive if the environment does not say it.
const CUTS: u64 = 10;

#[test]
fn a_daemon_survives_power_cuts_under_load() {
    torture::survives("a_daemon_survives_power_cuts_under_load", CUTS, Served::new);
}

#[test]
fn a_planted_bug_is_caught() {
    torture::catches("a_planted_bug_is_caught", CUTS, Served::new);
}
