//! A store with a control plane, and a way to talk to it without the client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tine_server::control::Control;
use tine_server::{Daemon, Serving, client::Client, socket};
use tine_store::{CreateOptions, OpenOptions, Store};

/// Nothing here takes as long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Desk {
    control: Option<Control>,
    daemon: Arc<Daemon>,
    _file: socket::SocketFile,
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
        let daemon = Arc::new(Daemon::new(store));
        let (listener, file) = socket::bind(&path.join(Serving::CONTROL)).unwrap();
        let control = Control::start(Arc::clone(&daemon), listener).unwrap();
        Self {
            control: Some(control),
            daemon,
            _file: file,
            folder,
        }
    }

    /// Makes a store with a branch `disk` of 16 MiB that has data in its second half.
    pub(crate) fn with_disk() -> Self {
        let desk = Self::new();
        let disk = desk
            .store()
            .create_branch(&"disk".parse().unwrap(), 16 << 20)
            .unwrap();
        disk.write_at(&vec![7; 8 << 20], 8 << 20).unwrap();
        disk.flush().unwrap();
        desk
    }

    pub(crate) fn store(&self) -> &Store {
        self.daemon.store()
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    pub(crate) fn client(&self) -> Client {
        Client::find(&self.path()).unwrap().expect("a daemon")
    }

    pub(crate) fn connect(&self) -> UnixStream {
        connect(&self.path())
    }

    pub(crate) fn stop(&mut self, grace: Duration) {
        self.control.take().expect("stopped once").stop(grace);
    }

    /// Sends a request of a line, `GET /v1/ls` or `POST /v1/fork {…}`, and returns the line and what came back.
    pub(crate) fn told(&self, line: &str) -> String {
        let (status, body) = self.ask(line);
        format!("{line}\n{status} {}\n", body.trim_end())
    }

    /// Sends a request of a line and returns status and body.
    pub(crate) fn ask(&self, line: &str) -> (u16, String) {
        let mut words = line.splitn(3, ' ');
        let (method, path, body) = (
            words.next().unwrap(),
            words.next().unwrap(),
            words.next().unwrap_or(""),
        );
        let mut stream = self.connect();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: tine\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        answer(&mut stream)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.stop(Duration::ZERO);
        }
    }
}

pub(crate) fn connect(store: &Path) -> UnixStream {
    let stream = socket::connect(&store.join(Serving::CONTROL)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads a response up to the end of the connection.
pub(crate) fn answer(stream: &mut UnixStream) -> (u16, String) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let body = if head.contains("transfer-encoding: chunked") {
        // The length of a chunk stands on a line of its own before it; here each chunk is whole lines.
        let lines = body.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| format!("{line}\n")).collect()
    } else {
        body.to_owned()
    };
    (status, body)
}
