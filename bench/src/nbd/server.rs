//! Servers to measure: processes that serve a disk on a unix socket, and end with what measures them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;
use crate::programs;

/// Until then a server listens, or ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs for as long as this lives.
pub(super) struct Server {
    child: Child,
    socket: PathBuf,
    said: PathBuf,
}

/// Returns a path for a socket: short, whatever the directory of the run is called.
pub(super) fn socket_path() -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bench-{}-{number}.sock", std::process::id()))
}

impl Server {
    /// Starts a server that will listen on a socket, and waits until it does.
    ///
    /// # Errors
    ///
    /// When it ends or does not listen in time; what it said is in the error.
    pub(super) fn start(command: &mut Command, socket: PathBuf) -> Result<Self> {
        let said = socket.with_extension("log");
        let log = File::create(&said)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut server = Self { child, socket, said };
        let begun = Instant::now();
        while UnixStream::connect(&server.socket).is_err() {
            if server.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE {
                let mut said = String::new();
                File::open(&server.said)?.read_to_string(&mut said)?;
                return Err(format!("{command:?} does not listen: {}", said.trim()).into());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(server)
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns what fio calls an export of it.
    pub(super) fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.socket.display())
    }

    /// Returns the processor time that it has taken so far.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        ticks_of(&self.child.id().to_string(), [11, 12])
    }

    /// Returns the bytes of its memory that are there.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib << 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) {
            if begun.elapsed() > PATIENCE {
                eprintln!("warning: a server did not end and was killed");
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = fs::remove_file(&self.socket);
        let _ = fs::remove_file(&self.said);
    }
}

/// Returns the processor time that processes took which this one started, and which have ended.
pub(super) fn processor_time_of_ended() -> Result<Duration> {
    ticks_of("self", [13, 14])
}

/// Returns the sum of two fields of a process's `stat`, counted from behind its name.
fn ticks_of(process: &str, fields: [usize; 2]) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name, in parentheses, may have spaces.
    let told: Vec<&str> = match stat.rsplit_once(") ") {
        Some((_, rest)) => rest.split(' ').collect(),
        None => Vec::new(),
    };
    let mut ticks = 0;
    for at in fields {
        ticks += told.get(at).ok_or("/proc/PID/stat is short")?.parse::<u64>()?;
    }
    Ok(Duration::from_secs_f64(
        ticks as f64 / rustix::param::clock_ticks_per_second() as f64,
    ))
}

/// Returns a command of a program that has to be installed.
fn installed(program: &str) -> Result<Command> {
    let found = programs::find(program).ok_or_else(|| format!("{program} is not installed"))?;
    Ok(Command::new(found))
}

/// Serves memory: what the protocol costs without a disk.
pub(super) fn nbdkit_memory(bytes: u64) -> Result<Server> {
    let socket = socket_path();
    let mut nbdkit = installed("nbdkit")?;
    nbdkit
        .args(["-f", "-U"])
        .arg(&socket)
        .args(["memory", &bytes.to_string()]);
    Server::start(&mut nbdkit, socket)
}

/// Serves a raw file.
pub(super) fn nbdkit_file(file: &Path) -> Result<Server> {
    let socket = socket_path();
    let mut nbdkit = installed("nbdkit")?;
    nbdkit.args(["-f", "-U"]).arg(&socket).arg("file").arg(file);
    Server::start(&mut nbdkit, socket)
}

/// Serves an image of qemu's.
pub(super) fn qemu_nbd(file: &Path, format: &str) -> Result<Server> {
    let socket = socket_path();
    let mut qemu = installed("qemu-nbd")?;
    qemu.args(["-t", "-e", "32", "--cache=writeback", "-f", format, "-k"])
        .arg(&socket)
        .arg(file);
    Server::start(&mut qemu, socket)
}

/// Makes an overlay on a raw file or another overlay.
pub(super) fn overlay(file: &Path, base: &Path, base_format: &str, options: &[&str]) -> Result {
    // What a round before left.
    let _ = fs::remove_file(file);
    let mut create = installed("qemu-img")?;
    create.args(["create", "-q", "-f", "qcow2", "-F", base_format, "-b"]);
    programs::run(create.arg(base).args(options).arg(file))
}

/// The daemon on a store, and the command that goes through it.
pub(super) struct Tine {
    pub(super) server: Rc<Server>,
    store: PathBuf,
    program: PathBuf,
}

impl Tine {
    pub(super) fn serve(store: &Path) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("tine");
        if !programs::is_executable(&program) {
            return Err(format!("{} is not built", program.display()).into());
        }
        let socket = socket_path();
        let mut serve = Command::new(&program);
        serve
            .arg("--store")
            .arg(store)
            .args(["serve", "--socket"])
            .arg(&socket);
        Ok(Self {
            server: Rc::new(Server::start(&mut serve, socket)?),
            store: store.to_owned(),
            program,
        })
    }

    /// Runs a command on the store, which finds the daemon.
    pub(super) fn run(&self, words: &[&str]) -> Result {
        programs::run(
            Command::new(&self.program)
                .arg("--store")
                .arg(&self.store)
                .args(words),
        )
    }
}
