//! The client: fio's nbd engine, one connection for each export. And fio on a file without any server: what the disk can do.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::data::LARGE;
use crate::programs;
use crate::scale::Scale;
use bench_measure::{Sample, Unit};

/// What fio is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// `randwrite`, `randread`, `write` or `read`.
    pub(super) direction: &'static str,
    pub(super) bytes: u64,
    pub(super) depth: u32,
    /// Flushes after each write.
    pub(super) flush: bool,
}

/// What it did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) operations: u64,
    pub(super) operations_per_second: f64,
    pub(super) bytes_per_second: f64,
    /// What fio itself took of the processors for all of it.
    pub(super) processor: Duration,
}

impl Done {
    /// Returns it in the load's unit, with what an operation took of the processors: a server, if there was one, spent so much on
    /// all.
    pub(super) fn sample(&self, load: &Load, server: Option<Duration>) -> Sample {
        let mut sample = Sample::new(match load.unit() {
            Unit::BytesPerSecond => self.bytes_per_second,
            _ => self.operations_per_second,
        });
        let each = |time: Duration| time.as_secs_f64() / self.operations.max(1) as f64;
        sample.effort.processor = server.map(each);
        sample.effort.client = Some(each(self.processor));
        sample
    }
}

impl Load {
    /// Returns what its result is in: large requests count by their bytes.
    pub(super) fn unit(&self) -> Unit {
        if self.bytes >= LARGE as u64 {
            Unit::BytesPerSecond
        } else {
            Unit::PerSecond
        }
    }

    pub(super) fn new(direction: &'static str, bytes: u64, depth: u32) -> Self {
        Self {
            direction,
            bytes,
            depth,
            flush: false,
        }
    }

    /// Lets fio do it, on all exports at once, for a while; in a smoke run once over little, which it reads back and
    /// verifies.
    ///
    /// # Errors
    ///
    /// When fio fails, or anything it read was not what it wrote.
    pub(super) fn run(&self, uris: &[String], scale: &Scale) -> Result<Done> {
        let mut command = self.command(scale)?;
        command.arg("--ioengine=nbd");
        if self.flush {
            command.arg("--fsync=1");
        }
        for (number, uri) in uris.iter().enumerate() {
            command.args([format!("--name=job{number}"), format!("--uri={uri}")]);
        }
        self.done(&mut command)
    }

    /// Lets fio do it to a file, past the cache: no server that keeps what it is given does more, but for what its cache takes
    /// and owes the disk.
    ///
    /// # Errors
    ///
    /// As [`Load::run`].
    pub(super) fn run_on_disk(&self, file: &Path, scale: &Scale) -> Result<Done> {
        let mut command = self.command(scale)?;
        command.args(["--ioengine=libaio", "--direct=1"]);
        if self.flush {
            command.arg("--fdatasync=1");
        }
        command.arg("--name=disk").arg("--filename").arg(file);
        self.done(&mut command)
    }

    fn command(&self, scale: &Scale) -> Result<Command> {
        let fio = programs::find("fio").ok_or("fio is not installed")?;
        let mut command = Command::new(fio);
        command.args(["--output-format=json", "--randrepeat=0"]);
        command.args([
            format!("--rw={}", self.direction),
            format!("--bs={}", self.bytes),
            format!("--iodepth={}", self.depth),
        ]);
        let duration = scale
            .sustained
            .clamp(Duration::from_secs(1), Duration::from_secs(4));
        let bytes = if scale.verify_all {
            2 << 20
        } else {
            scale.disk_bytes
        };
        command.arg(format!("--size={bytes}"));
        // What is verified is written once: of two writes in flight to one block, nobody can say which one stays.
        match (scale.verify_all, self.direction.contains("write")) {
            (true, true) => command.args([
                "--verify=crc32c",
                "--do_verify=1",
                "--verify_fatal=1",
                "--verify_state_save=0",
            ]),
            (true, false) => &mut command,
            (false, _) => command.args([
                "--norandommap".to_owned(),
                "--time_based".to_owned(),
                format!("--runtime={}", duration.as_secs_f64()),
            ]),
        };
        Ok(command)
    }

    /// Runs fio, and reads what it reports.
    fn done(&self, command: &mut Command) -> Result<Done> {
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("fio failed ({}): {} {}", output.status, said.trim(), text.trim()).into());
        }
        // Before its JSON fio may say things in words.
        let json = text.find('{').map_or("", |at| &text[at..]);
        let report: Value = serde_json::from_str(json)?;
        let jobs = report["jobs"].as_array().ok_or("fio reports no jobs")?;
        let side = if self.direction.contains("write") {
            "write"
        } else {
            "read"
        };
        // Percent of the time that a job ran.
        let busy = |job: &Value| -> Option<f64> {
            let percent = job["usr_cpu"].as_f64()? + job["sys_cpu"].as_f64()?;
            Some(percent / 100.0 * job["job_runtime"].as_f64()? / 1000.0)
        };
        let processor: f64 = jobs.iter().filter_map(busy).sum();
        let sum = |what: &str| -> f64 { jobs.iter().filter_map(|job| job[side][what].as_f64()).sum() };
        if let Some(error) = jobs
            .iter()
            .filter_map(|job| job["error"].as_i64())
            .find(|&error| error != 0)
        {
            return Err(format!("a job of fio's failed with error {error}").into());
        }
        Ok(Done {
            operations: sum("total_ios") as u64,
            operations_per_second: sum("iops"),
            bytes_per_second: sum("bw_bytes"),
            processor: Duration::from_secs_f64(processor),
        })
    }
}
