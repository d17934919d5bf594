//! The client: fio's nbd engine, one connection for each export.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::Result;
use crate::programs;
use crate::scale::Scale;

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

impl Load {
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
        let fio = programs::find("fio").ok_or("fio is not installed")?;
        let mut command = Command::new(fio);
        command.args(["--output-format=json", "--ioengine=nbd", "--randrepeat=0"]);
        command.args([
            format!("--rw={}", self.direction),
            format!("--bs={}", self.bytes),
            format!("--iodepth={}", self.depth),
        ]);
        if self.flush {
            command.arg("--fsync=1");
        }
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
        for (number, uri) in uris.iter().enumerate() {
            command.args([format!("--name=job{number}"), format!("--uri={uri}")]);
        }
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
