//! Goal: a daemon that comes, goes or dies is no surprise to a command.
//! Method: the real program serves the store, is stopped, killed and started again while commands are under way.

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Bench;
use common::daemon::Daemon;

/// Plays a daemon that receives a request whole, and dies before it has answered; returns how the command ended.
fn killed_at_work(bench: &Bench, line: &str) -> (Option<i32>, String) {
    let path = bench.store().join("control.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = bench.command(&format!("exec {line}"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let asking = command.spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = Vec::new();
    while !is_whole(&request) {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).unwrap();
        assert!(read > 0, "{line}: half a request");
        request.extend_from_slice(&some[..read]);
    }
    // Who listens is gone before who answers.
    drop((listener, stream));
    let output = asking.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    body.len() >= length
}

#[test]
fn a_daemon_that_dies_at_work_leaves_no_command_in_the_dark() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web && printf x | tine write web && tine snapshot web@a");
    let before = bench.succeeds("tine ls --json && tine tree --json");
    for line in [
        "tine create new 1M",
        "tine fork disk other",
        "tine snapshot disk@b",
        "tine rollback web@a --yes",
        "tine drop web --yes",
        "tine rename web shop",
        "tine resize web 32M",
        "tine defrag disk",
        "tine protect disk",
    ] {
        let (status, said) = killed_at_work(&bench, line);
        assert_eq!(status, Some(2), "{line}: {said}");
        assert!(said.contains("ended before it had answered"), "{line}: {said}");
        assert!(
            said.contains("whether it was done is not known"),
            "{line}: {said}"
        );
    }
    for line in [
        "tine ls",
        "tine tree",
        "tine show disk",
        "tine stats",
        "tine diff disk web",
        "tine check --data",
        "tine read disk",
        "tine export disk disk.img",
        // These send nothing before the daemon has admitted them.
        "printf x | tine write disk",
        "printf x | tine import - imported",
    ] {
        let (status, said) = killed_at_work(&bench, &format!("sh -c '{line}'"));
        assert_eq!(status, Some(2), "{line}: {said}");
        assert!(said.contains("ended before it had answered"), "{line}: {said}");
        assert!(said.contains("nothing was changed"), "{line}: {said}");
    }
    assert!(!bench.path("disk.img").exists() && !bench.path("disk.img.partial").exists());
    // The socket that the dead left is in nobody's way, and all is as it was.
    assert!(bench.store().join("control.sock").exists());
    assert_eq!(bench.succeeds("tine ls --json && tine tree --json"), before);
    bench.succeeds("tine check --data");
    Daemon::start(&bench, "").stop();
}

#[test]
fn what_a_daemon_has_not_read_when_it_dies_is_done_without_it() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start(&bench, "");
    daemon.signal("-STOP");
    let lines = [
        "tine fork disk one",
        "tine create two 1M",
        "tine ls",
        "tine snapshot disk@a",
    ];
    let mut asking = lines.map(|line| {
        let mut command = bench.command(&format!("exec {line}"));
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    });
    // Each has connected, and most have sent their request: there is no sign of that from outside.
    thread::sleep(Duration::from_secs(1));
    for child in &mut asking {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for an answer");
    }
    daemon.end("-KILL");
    for (line, child) in lines.iter().zip(asking) {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {said}");
    }
    let names = bench.succeeds("tine ls");
    assert!(names.contains("one") && names.contains("two"), "{names}");
    bench.succeeds("tine show disk@a && tine check --data");
}

/// Attaches to a disk by the oldest of NBD's options; nothing, if the daemon has no descriptor for that.
fn attached(daemon: &Daemon, disk: &str) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(&daemon.socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // "NBDMAGICIHAVEOPT" and its flags.
    stream.read_exact(&mut [0; 18]).ok()?;
    // What newer clients know, and no zeroes behind the answer; option 1: EXPORT_NAME.
    let mut request = [&3_u32.to_be_bytes()[..], b"IHAVEOPT", &1_u32.to_be_bytes()].concat();
    request.extend((disk.len() as u32).to_be_bytes());
    request.extend(disk.as_bytes());
    stream.write_all(&request).unwrap();
    // The size, and more flags.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.read_exact(&mut [0; 10]).ok()?;
    Some(stream)
}

#[test]
fn a_daemon_without_descriptors_leaves_no_command_in_the_dark() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start_after(&bench, "ulimit -n 48", "");
    let taken = || {
        fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
            .unwrap()
            .count()
    };
    // Clients of a disk, who stay, have as many as are for them; the last waits in vain.
    let mut clients = Vec::new();
    while let Some(client) = attached(&daemon, "disk") {
        clients.push(client);
    }
    assert!(clients.len() > 4, "{} clients", clients.len());
    // Who asks nothing has the others, for half a minute.
    let control = bench.store().join("control.sock");
    let mut silent = Vec::new();
    loop {
        let before = taken();
        silent.push(UnixStream::connect(&control).unwrap());
        let begun = Instant::now();
        while taken() == before && begun.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(5));
        }
        if taken() == before {
            break;
        }
    }
    silent.pop();
    let most = taken();
    // One of the clients leaves its place to one command after the other.
    clients.pop();
    daemon.wait_until("one is free", || taken() < most);
    for _ in 0..3 {
        bench.succeeds("tine ls && tine fork disk");
        daemon.wait_until("it is free again", || taken() < most);
    }
    // And now nobody leaves.
    clients.extend((0..16).map(|_| UnixStream::connect(&daemon.socket).unwrap()));
    silent.extend((0..40).map(|_| UnixStream::connect(&control).unwrap()));
    daemon.wait_until("it has none left", || taken() >= most);
    let mut asking: Vec<_> = (0..8)
        .map(|number| {
            let mut command = bench.command(&format!("exec tine fork disk fork-{number}"));
            command
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    for child in &mut asking {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for an answer");
    }
    daemon.signal("-TERM");
    for child in asking {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
    drop((clients, silent));
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), 12);
}

#[test]
fn a_disk_on_its_way_is_not_half_a_disk() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start(&bench, "");
    let mut child = bench
        .command("exec tine import - half")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![7; 8 << 20]).unwrap();
    // Others are not held up by it, as they would be without a daemon.
    bench.succeeds("tine fork disk meanwhile --no-wait");
    daemon.end("-KILL");
    // What it goes on to send finds nobody.
    let _ = stdin.write_all(&vec![7; 8 << 20]);
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("whether it was done is not known"), "{said}");
    let listed = bench.succeeds("tine ls");
    assert!(
        listed.contains("meanwhile") && !listed.contains("half"),
        "{listed}"
    );
    bench.succeeds("tine check --data");
}

#[test]
fn commands_go_on_while_daemons_come_and_go() {
    let bench = Bench::with_disk();
    let over = AtomicBool::new(false);
    let forked = thread::scope(|scope| {
        let forking: Vec<_> = (0..2)
            .map(|worker| {
                let (bench, over) = (&bench, &over);
                scope.spawn(move || {
                    let mut forked = 0;
                    while !over.load(Ordering::Relaxed) {
                        bench.succeeds(&format!("tine fork disk w{worker}-{forked} --quiet"));
                        forked += 1;
                    }
                    forked
                })
            })
            .collect();
        for round in 0..8 {
            let daemon = Daemon::start(&bench, "");
            thread::sleep(Duration::from_millis(40 * round));
            daemon.stop();
            thread::sleep(Duration::from_millis(100));
        }
        over.store(true, Ordering::Relaxed);
        forking
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum::<usize>()
    });
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), forked + 1);
    assert!(forked > 6, "{forked}");
}

#[test]
fn who_waits_for_a_daemon_that_hangs_is_told_so_and_may_give_up() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start(&bench, "");
    daemon.signal("-STOP");
    let start = |line: &str| {
        let mut command = bench.command(&format!("exec {line}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let told = |child: &mut Child| {
        let mut words = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.by_ref().take(2) {
            words.push_str(&line.unwrap());
        }
        let socket = bench.store().join("control.sock");
        for part in [
            format!("`{}`", socket.display()),
            format!("process {} was stopped by a signal", daemon.pid()),
            format!("`kill -CONT {}`", daemon.pid()),
            "Ctrl-C gives up".to_owned(),
        ] {
            assert!(words.contains(&part), "{words}");
        }
        lines
    };
    // One that catches signals, and one that does not.
    for line in ["tine check", "tine ls"] {
        let mut child = start(line);
        let _more = told(&mut child);
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", child.id())])
            .status();
        assert!(sent.unwrap().success());
        let status = child.wait().unwrap();
        assert!(
            status.code() == Some(130) || status.signal() == Some(2),
            "{line}: {status}"
        );
    }
    let mut patient = start("tine ls");
    let mut more = told(&mut patient);
    daemon.signal("-CONT");
    assert!(more.next().is_none());
    assert!(patient.wait().unwrap().success());
    daemon.stop();
}

#[test]
fn a_daemon_is_found_wherever_its_socket_is() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start(
        &bench,
        &format!("--control {}", bench.path("elsewhere.sock").display()),
    );
    bench.succeeds("tine fork disk one --no-wait");
    let output = bench.run("tine --read-damaged ls");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains(&format!("a daemon has it (process {})", daemon.pid()))
            && said.contains("stop the daemon first"),
        "{said}"
    );
    daemon.stop();
    // Longer than what the address of a socket holds.
    let deep = bench.path("d".repeat(120)).join("e".repeat(120));
    std::fs::create_dir_all(&deep).unwrap();
    let deep = deep.join("store");
    let at = format!("--store {}", deep.display());
    bench.succeeds(&format!("tine {at} create disk 1M"));
    let daemon = Daemon::start(&bench, &at);
    bench.succeeds(&format!(
        "tine {at} fork disk two --no-wait && tine {at} ls --no-wait"
    ));
    daemon.stop();
}

#[test]
fn a_slow_reader_of_one_disk_keeps_no_command_waiting() {
    let bench = Bench::with_disk();
    bench.succeeds("tine create long 1G && head -c 64M /dev/urandom | tine write long");
    let daemon = Daemon::start(&bench, "");
    let mut reading = bench
        .command("exec tine read long")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It stalls as soon as the pipe is full.
    let mut stdout = reading.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0; 4096]).unwrap();
    let begun = Instant::now();
    for line in [
        "tine fork long copy",
        "tine drop long --yes",
        "tine check",
        "tine ls",
    ] {
        bench.succeeds(&format!("{line} --no-wait --quiet"));
    }
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    // What is dropped is read on to its end, as it was.
    let rest = std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert_eq!(rest + 4096, 1 << 30);
    assert!(reading.wait().unwrap().success());
    daemon.stop();
}

/// What somebody else than a daemon does who listens where that would, with each who connects.
type Stranger = (&'static str, fn(UnixStream));

const STRANGERS: [Stranger; 8] = [
    ("never answers", |stream| thread::sleep(forever(stream))),
    ("drips what may become an answer", |stream| {
        drip(stream, b"HTTP/1.1 200 OK\r\n", b"x: y\r\n");
    }),
    ("drips an answer that does not end", |stream| {
        let head = b"HTTP/1.1 200 OK\r\ntine-api: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        drip(stream, head, b"1\r\n \r\n");
    }),
    ("closes at once", drop),
    ("closes when it was asked", |mut stream| {
        let _ = stream.read(&mut [0; 4096]);
    }),
    ("speaks something else", |mut stream| {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        thread::sleep(forever(stream));
    }),
    (
        "floods",
        |mut stream| while stream.write_all(&[b'x'; 65536]).is_ok() {},
    ),
    ("floods with answers to come", |mut stream| {
        while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").is_ok() {}
    }),
];

/// Answers with something, and then with a little more again and again, for as long as there is somebody.
fn drip(mut stream: UnixStream, begin: &[u8], more: &[u8]) {
    let _ = stream.read(&mut [0; 4096]);
    let mut sent = stream.write_all(begin);
    while sent.is_ok() {
        thread::sleep(Duration::from_millis(50));
        sent = stream.write_all(more);
    }
}

/// Returns how long a stranger stays with a connection.
fn forever(stream: UnixStream) -> Duration {
    // It is not closed.
    std::mem::forget(stream);
    Duration::from_secs(3600)
}

#[test]
fn who_listens_in_a_daemons_place_is_told_apart_from_one_in_bounded_time() {
    let bench = Bench::with_disk();
    let path = bench.store().join("control.sock");
    for (what, manner) in STRANGERS {
        let listener = UnixListener::bind(&path).unwrap();
        let listening = thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                thread::spawn(move || manner(stream));
            }
        });
        // At the same time, as some wait for a while.
        thread::scope(|scope| {
            for line in [
                "tine ls",
                "tine fork disk",
                "printf x | tine write disk",
                "tine export disk out.img",
                "tine check",
                "tine stats --no-wait",
            ] {
                let (bench, path) = (&bench, &path);
                scope.spawn(move || {
                    let begun = Instant::now();
                    let output = bench.run(line);
                    let said = String::from_utf8_lossy(&output.stderr).into_owned();
                    assert_eq!(output.status.code(), Some(2), "{what}: {line}: {said}");
                    assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {line}");
                    for part in [
                        &format!("process {} listens at `{}`", std::process::id(), path.display()),
                        "is no daemon of this store",
                        "nothing was changed",
                    ] {
                        assert!(said.contains(part), "{what}: {line}: {said}");
                    }
                });
            }
        });
        let refused = bench.run("tine serve");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{what}: {said}");
        assert!(
            said.contains(&format!("process {} listens at", std::process::id())),
            "{what}: {said}"
        );
        fs::remove_file(&path).unwrap();
        assert!(!listening.is_finished());
        assert_eq!(bench.succeeds("tine ls --json").lines().count(), 1, "{what}");
    }
}

#[test]
fn who_accepts_nobody_keeps_nobody_for_ever() {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
    let bench = Bench::with_disk();
    let path = bench.store().join("control.sock");
    let stranger = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(
        std::os::fd::AsRawFd::as_raw_fd(&stranger),
        &UnixAddr::new(&path).unwrap(),
    )
    .unwrap();
    listen(&stranger, Backlog::new(0).unwrap()).unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let begun = Instant::now();
    let output = bench.run("tine ls");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("control.sock") && said.contains("accepts nobody"),
        "{said}"
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_copy_of_a_store_that_is_served_is_another_store() {
    let bench = Bench::with_disk();
    let daemon = Daemon::start(&bench, "--control there.sock");
    bench.succeeds("tine fork disk web && cp -a \"$TINE_STORE\" copy");
    assert!(
        fs::symlink_metadata(bench.path("copy/control.sock"))
            .unwrap()
            .is_symlink()
    );
    let both = || {
        ["", "--store copy "].map(|store| bench.succeeds(&format!("tine {store}ls --json")).lines().count())
    };
    assert_eq!(both(), [2, 2]);
    bench.succeeds("tine --store copy drop web --yes && printf other | tine --store copy write disk");
    assert_eq!(both(), [2, 1]);
    bench.succeeds(
        "tine read disk --length 4 | grep -q tine && tine --store copy read disk --length 5 | grep -q other",
    );
    // Also while that daemon says nothing: it is not to be ended for the copy's sake.
    daemon.signal("-STOP");
    assert_eq!(bench.succeeds("tine --store copy ls --json").lines().count(), 1);
    let second = Daemon::start(&bench, "--store copy");
    second.stop();
    bench.succeeds("ln -s $PWD/there.sock copy/control.sock");
    let begun = Instant::now();
    let refused = bench.run("tine serve");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("process {} serves the store", daemon.pid())),
        "{said}"
    );
    assert!(begun.elapsed() < Duration::from_secs(60), "{said}");
    daemon.signal("-CONT");
    // A link that leads to the socket itself is no way around.
    bench.succeeds("tine fork disk web2");
    bench.succeeds("rm copy/control.sock && ln there.sock copy/control.sock");
    let refused = bench.run("tine --store copy drop disk --yes");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    for part in [
        &format!(
            "process {} serves another store: `{}`",
            daemon.pid(),
            bench.store().display()
        ),
        "remove it",
    ] {
        assert!(said.contains(part), "{said}");
    }
    bench.succeeds("rm copy/control.sock && ln -s $PWD/there.sock copy/control.sock");
    // It can be served itself, beside the first.
    let second = Daemon::start(&bench, "--store copy");
    assert_ne!(second.announced["control"], daemon.announced["control"]);
    assert_eq!(both(), [3, 1]);
    second.stop();
    daemon.stop();
    assert_eq!(both(), [3, 1]);
}
