//! A daemon of the real program, and the means to look at it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::Bench;

/// A daemon; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub(crate) socket: PathBuf,
    /// What it said about itself.
    pub(crate) announced: serde_json::Value,
}

impl Daemon {
    /// Starts one and waits until it serves.
    pub(crate) fn start(bench: &Bench, options: &str) -> Self {
        Self::start_after(bench, ":", options)
    }

    /// Starts one in the shell that has done something else first, and waits until it serves.
    pub(crate) fn start_after(bench: &Bench, first: &str, options: &str) -> Self {
        let mut child = bench
            .command(&format!("{first}; exec tine serve --json {options}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = String::new();
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            panic!("the daemon did not start: {said}");
        }
        let announced: serde_json::Value = serde_json::from_str(&line).unwrap();
        let socket = PathBuf::from(announced["socket"].as_str().unwrap());
        Self {
            child,
            _stdout: stdout,
            socket,
            announced,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn uri(&self, export: &str) -> String {
        format!("nbd+unix:///{export}?socket={}", self.socket.display())
    }

    /// Sends a signal, waits for the end and returns the exit status and what it said.
    pub(crate) fn end(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut said = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    pub(crate) fn signal(&self, signal: &str) {
        // The shell's own, which every machine has.
        let sent = Command::new("sh")
            .args(["-c", &format!("kill {signal} {}", self.pid())])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Ends it well.
    pub(crate) fn stop(self) {
        let (code, said) = self.end("-TERM");
        assert_eq!(code, Some(0), "{said}");
    }

    /// Returns the memory that it has of its own, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon")).unwrap();
        let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes << 10
    }

    /// Waits until something holds, for as long as a slow machine may take.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
