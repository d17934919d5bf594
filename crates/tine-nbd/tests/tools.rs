//! Goal: the field's own clients find here what they expect of a server.
//! Method: each is run as a user would run it, over a unix socket, on a disk in memory that says what they did.
//!
//! A tool that is missing is named on stderr, and its test skipped; `cargo xtask test` installs them all.

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use support::client::pattern;
use support::ram_disk::{RamDisk, WRITTEN};
use support::{MIB, eventually, serve};
use tempfile::TempDir;
use tine_nbd::{Export, Features, Server};

const SIZE: u64 = 64 * MIB;

/// A disk behind a socket, and a directory for images.
struct Served {
    disk: Arc<RamDisk>,
    directory: TempDir,
    _server: Server,
}

impl Served {
    /// Serves an empty disk `ram`, and one that cannot be written, `rom`.
    fn new() -> Self {
        let disk = Arc::new(RamDisk::new(SIZE));
        let rom = Arc::new(RamDisk::with(
            MIB,
            Features {
                read_only: true,
                multi_conn: true,
            },
        ));
        rom.write(&pattern(1, 65_536), 0).unwrap();
        let server = serve([
            ("ram", Arc::<RamDisk>::clone(&disk) as Arc<dyn Export>),
            ("rom", rom as Arc<dyn Export>),
        ]);
        let directory = tempfile::tempdir().unwrap();
        server
            .listen(UnixListener::bind(directory.path().join("nbd.sock")).unwrap())
            .unwrap();
        Self {
            disk,
            directory,
            _server: server,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn uri(&self, name: &str) -> String {
        format!("nbd+unix:///{name}?socket={}", self.path("nbd.sock").display())
    }

    fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        self.disk.read(&mut bytes, 0).unwrap();
        bytes
    }
}

/// Returns an image as a sparse file would be: 3 MiB of data in three places, else zeroes.
fn image() -> Vec<u8> {
    let mut image = vec![0; SIZE as usize];
    for (at, place) in [(0, 0), (1, 20 * MIB + 4096), (2, SIZE - MIB)] {
        image[place as usize..][..MIB as usize].copy_from_slice(&pattern(at + 10, MIB as usize));
    }
    image
}

/// Returns where a program is; says what is skipped if it is nowhere.
fn find(program: &str, package: &str) -> Option<PathBuf> {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&directories)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: there is no `{program}` here (Debian's package {package})");
    }
    found
}

/// Runs a program to its end; returns what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{said}\n{complained}",
        output.status
    );
    said
}

#[test]
fn nbdinfo_shows_lists_and_maps() {
    let Some(nbdinfo) = find("nbdinfo", "libnbd-bin") else {
        return;
    };
    let served = Served::new();
    let shown = run(Command::new(&nbdinfo).args(["--json", &served.uri("ram")]));
    for line in [
        r#""protocol": "newstyle-fixed""#,
        r#""structured": true"#,
        r#""description": "67108864 bytes of memory""#,
        r#""export-size": 67108864"#,
        r#""can_cache": true"#,
        r#""can_df": true"#,
        r#""can_fast_zero": true"#,
        r#""can_flush": true"#,
        r#""can_fua": true"#,
        r#""can_multi_conn": true"#,
        r#""can_trim": true"#,
        r#""can_zero": true"#,
        r#""is_read_only": false"#,
        r#""block_size_minimum": 1"#,
        r#""block_size_preferred": 4096"#,
        r#""block_size_maximum": 33554432"#,
        r#""base:allocation""#,
        r#""ram:written""#,
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    let listed = run(Command::new(&nbdinfo).args(["--list", &served.uri("")]));
    assert!(
        listed.contains(r#"export="ram""#) && listed.contains(r#"export="rom""#),
        "{listed}"
    );
    assert!(listed.contains("is_read_only: true"), "{listed}");

    served.disk.write(&image()[..2 << 20], MIB).unwrap();
    let fields = |map: String| {
        let fields = |line: &str| {
            line.split_whitespace()
                .take(3)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        map.lines().map(fields).collect::<Vec<_>>()
    };
    let map = fields(run(Command::new(&nbdinfo).args(["--map", &served.uri("ram")])));
    assert_eq!(
        map,
        [
            ["0", "1048576", "3"],
            ["1048576", "2097152", "0"],
            ["3145728", "63963136", "3"]
        ]
    );
    let argument = format!("--map={WRITTEN}");
    let map = fields(run(Command::new(&nbdinfo).args([&argument, &served.uri("ram")])));
    assert_eq!(
        map,
        [
            ["0", "1048576", "0"],
            ["1048576", "2097152", "1"],
            ["3145728", "63963136", "0"]
        ]
    );
    assert!(
        !Command::new(&nbdinfo)
            .arg(served.uri("none"))
            .output()
            .unwrap()
            .status
            .success()
    );
}

#[test]
fn nbdcopy_copies_both_ways() {
    let Some(nbdcopy) = find("nbdcopy", "libnbd-bin") else {
        return;
    };
    let served = Served::new();
    let (from, to) = (served.path("from"), served.path("to"));
    fs::write(&from, image()).unwrap();
    // With several connections, which the export allows, and a flush at the end.
    run(Command::new(&nbdcopy)
        .arg("--flush")
        .arg(&from)
        .arg(served.uri("ram")));
    assert!(served.content() == image());
    assert!(served.disk.flushes() > 0);
    run(Command::new(&nbdcopy).arg(served.uri("ram")).arg(&to));
    assert!(fs::read(&to).unwrap() == image());
    // The largest requests that it makes, one after the other.
    let large = ["--synchronous", "--request-size=33554432", "--no-extents"];
    fs::remove_file(&to).unwrap();
    run(Command::new(&nbdcopy).args(large).arg(served.uri("ram")).arg(&to));
    assert!(fs::read(&to).unwrap() == image());
}

#[test]
fn qemu_img_converts_compares_and_maps() {
    let Some(qemu) = find("qemu-img", "qemu-utils") else {
        return;
    };
    let served = Served::new();
    let (from, to) = (served.path("from"), served.path("to"));
    fs::write(&from, image()).unwrap();
    let uri = served.uri("ram");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let img = |arguments: &[&str]| run(Command::new(&qemu).args(arguments));

    assert!(img(&["info", "--output=json", "-f", "raw", &uri]).contains(r#""virtual-size": 67108864"#));
    img(&["convert", "-n", "-f", "raw", "-O", "raw", &path(&from), &uri]);
    assert!(served.content() == image());
    img(&["compare", "-f", "raw", "-F", "raw", &path(&from), &uri]);
    img(&[
        "convert",
        "-f",
        "raw",
        "-O",
        "raw",
        "-W",
        "-m",
        "16",
        &uri,
        &path(&to),
    ]);
    assert!(fs::read(&to).unwrap() == image());
    let map = img(&["map", "--output=json", "-f", "raw", &uri]);
    let data: u64 = map
        .lines()
        .filter(|line| line.contains(r#""data": true"#))
        .map(|line| {
            let length = line.split(r#""length": "#).nth(1).unwrap();
            length.split(',').next().unwrap().parse::<u64>().unwrap()
        })
        .sum();
    // In the steps of the disk's memory.
    assert!((3 * MIB..4 * MIB).contains(&data), "{data} in {map}");
    img(&[
        "bench",
        "-f",
        "raw",
        "-c",
        "500",
        "-d",
        "16",
        "-w",
        "--flush-interval=50",
        &uri,
    ]);
}

#[test]
fn qemu_io_writes_reads_zeroes_and_discards() {
    let Some(qemu) = find("qemu-io", "qemu-utils") else {
        return;
    };
    let served = Served::new();
    let said_by_qemu = overhear(&served.path("nbd.sock"), &served.path("overheard.sock"));
    let uri = format!(
        "nbd+unix:///ram?socket={}",
        served.path("overheard.sock").display()
    );
    let io = |commands: &[&str]| {
        let mut command = Command::new(&qemu);
        command.args(["-f", "raw", "-d", "unmap"]);
        for io in commands {
            command.args(["-c", io]);
        }
        let said = run(command.arg(&uri));
        assert!(!said.contains("failed"), "{said}");
    };
    io(&[
        "write -P 7 1M 3M",
        "write -f -P 8 12345 777",
        "read -P 7 1M 3M",
        "read -P 8 12345 777",
        "read -P 0 20M 32M",
        "write -z 2M 1M",
        "write -z -u 3M 64k",
        "discard 3200k 64k",
        "read -P 0 2M 1114112",
        "flush",
        "aio_write -P 9 40M 1M",
        "aio_write -P 10 41M 1M",
        "aio_read -P 7 1M 1M",
        "aio_flush",
        "read -P 9 40M 1M",
    ]);
    let content = served.content();
    assert_eq!(content[12_344..12_346], [0, 8]);
    assert!(content[1 << 20..2 << 20].iter().all(|byte| *byte == 7));
    assert!(content[2 << 20..3 << 20].iter().all(|byte| *byte == 0));
    assert!(content[41 << 20..42 << 20].iter().all(|byte| *byte == 10));
    assert!(served.disk.flushes() >= 2);
    // QEMU speaks extended headers, since 8.2: its requests and the replies to them are all of that kind.
    let version = run(Command::new(&qemu).arg("--version"));
    let said = said_by_qemu.lock();
    let count = |magic: u32| {
        let magic = magic.to_be_bytes();
        said.windows(4).filter(|bytes| **bytes == magic).count()
    };
    if version_of(&version) >= (8, 2) {
        assert!(count(EXTENDED_REQUEST) >= 15 && count(REQUEST) == 0, "{version}");
    } else {
        eprintln!("skipped: extended headers with QEMU: this one has none: {version}");
    }
}

/// What a request begins with.
const REQUEST: u32 = 0x2560_9513;
const EXTENDED_REQUEST: u32 = 0x21e4_1c71;

/// Stands between a server and who connects `at` another socket. Returns what clients say there.
fn overhear(socket: &Path, at: &Path) -> Arc<Mutex<Vec<u8>>> {
    let listener = UnixListener::bind(at).unwrap();
    let (socket, heard) = (socket.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let said = Arc::clone(&heard);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), UnixStream::connect(&socket).unwrap());
            let (mut from_server, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Write);
            });
            let said = Arc::clone(&said);
            std::thread::spawn(move || {
                let mut bytes = [0; 1 << 16];
                while let Ok(length @ 1..) = client.read(&mut bytes) {
                    said.lock().extend(&bytes[..length]);
                    server.write_all(&bytes[..length]).unwrap();
                }
                let _ = server.shutdown(Shutdown::Write);
            });
        }
    });
    heard
}

/// Returns the version in `qemu-io version 10.0.2 (Debian …)`.
fn version_of(line: &str) -> (u32, u32) {
    let mut numbers = line
        .split(' ')
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .into_iter()
        .flat_map(|word| word.split('.'))
        .map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[test]
fn fio_verifies_what_it_wrote() {
    let Some(fio) = find("fio", "fio") else {
        return;
    };
    if !run(Command::new(&fio).arg("--enghelp")).contains("nbd") {
        eprintln!("skipped: this fio has no nbd engine");
        return;
    }
    let served = Served::new();
    for (depth, sizes) in [("1", "4k"), ("32", "4k"), ("16", "512-128k"), ("4", "1m")] {
        let said = run(Command::new(&fio).current_dir(served.directory.path()).args([
            "--name=verify",
            "--ioengine=nbd",
            &format!("--uri={}", served.uri("ram")),
            "--rw=randwrite",
            &format!(
                "--bsrange={}",
                if sizes.contains('-') {
                    sizes.to_owned()
                } else {
                    format!("{sizes}-{sizes}")
                }
            ),
            "--bs_unaligned",
            "--io_size=16m",
            "--size=32m",
            "--verify=crc32c",
            "--verify_fatal=1",
            &format!("--iodepth={depth}"),
            "--fsync=64",
        ]));
        assert!(said.contains("err= 0"), "{said}");
    }
    assert!(served.disk.flushes() > 0);
}

#[test]
fn libnbd_gets_what_the_document_promises() {
    // The package's module is for Debian's own Python.
    let python = Path::new("/usr/bin/python3");
    let has_module = Command::new(python).args(["-c", "import nbd"]).output();
    if !has_module.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: there is no libnbd for Python here (Debian's package python3-libnbd)");
        return;
    }
    let served = Served::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libnbd.py");
    run(Command::new(python).arg(script).arg(served.path("nbd.sock")));
    let mut begin = [0; 4];
    served.disk.read(&mut begin, 0).unwrap();
    assert_eq!(&begin, b"done");
}

/// A server that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nbdkit_stands_in_front() {
    let (Some(nbdkit), Some(qemu)) = (find("nbdkit", "nbdkit"), find("qemu-io", "qemu-utils")) else {
        return;
    };
    let served = Served::new();
    let front = served.path("front.sock");
    let child = Command::new(nbdkit)
        .arg("--foreground")
        .arg("--unix")
        .arg(&front)
        .args(["nbd", &format!("uri={}", served.uri("ram")), "shared=true"])
        .spawn()
        .unwrap();
    let _running = Running(child);
    eventually("it listens", || front.exists());
    std::thread::sleep(Duration::from_millis(50));
    let uri = format!("nbd+unix:///?socket={}", front.display());
    let said = run(Command::new(qemu).args([
        "-f",
        "raw",
        "-c",
        "write -f -P 5 0 2M",
        "-c",
        "read -P 5 0 2M",
        "-c",
        "write -z 1M 1M",
        "-c",
        "read -P 0 1M 1M",
        &uri,
    ]));
    assert!(!said.contains("failed"), "{said}");
    assert_eq!(served.content()[(1 << 20) - 1..=1 << 20], [5, 0]);
}
