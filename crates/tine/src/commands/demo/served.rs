//! The demo's daemon and the clients of its disks, where there are any on this machine.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::broken;
use super::stage::{Show, Stage};
use crate::error::{CommandError, Outcome};
use crate::image::installed;

/// A daemon is given so long to end, and to be heard of.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon on the demo's store; killed when it is dropped.
pub(super) struct Served {
    child: Child,
    nbdcopy: Option<PathBuf>,
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    /// Serves the store from now on, if there is a client to show it with.
    pub(super) fn start(stage: &Stage<'_>) -> Outcome<Option<Self>> {
        let (nbdcopy, qemu_io) = (installed("nbdcopy"), installed("qemu-io"));
        if nbdcopy.is_none() && qemu_io.is_none() {
            return Ok(None);
        }
        stage.scene(
            "Served, each branch is a disk that any NBD client attaches by its name. `+fork` makes one for a connection.",
        )?;
        stage.type_line("tine serve &")?;
        let serving = |error| CommandError::io("run `tine serve`", error);
        let mut command = stage.tine_command(&["serve"]);
        let mut child = command
            .current_dir(stage.folder())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(serving)?;
        let said = child.stderr.take();
        let served = Self { child, nbdcopy };
        let mut line = String::new();
        if let Some(said) = said {
            // Its line comes when it serves, or says why it does not.
            BufReader::new(said).read_line(&mut line).map_err(serving)?;
        }
        stage.remark(line.trim_end())?;
        if !line.starts_with("Serving") {
            return Err(broken("`tine serve` does not serve"));
        }
        if let Some(qemu_io) = qemu_io {
            let uri = uri("golden+fork");
            let (write, read) = ("write -P 33 0 1M", "read -P 33 0 1M");
            stage.program(
                &format!("qemu-io -f raw -c '{write}' -c '{read}' '{uri}'"),
                &qemu_io,
                &["-f", "raw", "-c", write, "-c", read, &uri],
                Show::All,
            )?;
        }
        Ok(Some(served))
    }

    /// Copies a disk out by NBD and compares it with an image of it.
    pub(super) fn copy_out(&self, stage: &Stage<'_>, disk: &str, image: &str) -> Outcome<()> {
        let Some(nbdcopy) = &self.nbdcopy else {
            return Ok(());
        };
        let (uri, copy) = (uri(disk), "by-nbd.img");
        stage.program(
            &format!("nbdcopy '{uri}' {copy}"),
            nbdcopy,
            &[&uri, copy],
            Show::All,
        )?;
        stage.compare(image, copy)
    }

    /// Ends the daemon as an init system would.
    pub(super) fn stop(mut self, stage: &Stage<'_>) -> Outcome<()> {
        stage.type_line("kill %1")?;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)
                .map_err(|error| CommandError::io("end `tine serve`", error.into()))?;
        }
        let begun = Instant::now();
        loop {
            let ended = self.child.try_wait();
            match ended.map_err(|error| CommandError::io("wait for `tine serve`", error))? {
                Some(status) if status.success() => return stage.took(begun.elapsed()),
                Some(status) => return Err(broken(format_args!("`tine serve` ended with {status}"))),
                None if begun.elapsed() > PATIENCE => return Err(broken("`tine serve` does not end")),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// Returns how a client in the demo's folder attaches a disk.
fn uri(disk: &str) -> String {
    format!("nbd+unix:///{disk}?socket=store/nbd.sock")
}
