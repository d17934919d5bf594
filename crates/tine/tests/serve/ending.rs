//! How a daemon begins and ends: sockets, a second one, signals.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, WRITE};
use crate::daemon::{Daemon, golden, have};

/// Requests that a client has in flight when the daemon is told to end.
const IN_FLIGHT: usize = 16;

/// Blocks that it writes to, again and again.
const BLOCKS: u64 = 15_625;

#[test]
fn sigterm_finishes_what_is_in_flight_and_loses_nothing_that_was_answered() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let bench = golden();
        bench.succeeds("tine create disk 64MiB");
        let daemon = Daemon::start(&bench, "");
        let sockets = ["nbd.sock", "control.sock"].map(|name| bench.store().join(name));
        for socket in &sockets {
            let mode = fs::symlink_metadata(socket).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", socket.display());
        }
        let socket = daemon.socket.clone();
        let (writes, begins_to_write) = mpsc::channel();
        // Returns what was written and answered last to each block.
        let writer = thread::spawn(move || {
            let mut client = Client::connect(&socket, "disk").unwrap();
            let mut answered = BTreeMap::new();
            let mut in_flight = BTreeMap::new();
            let mut sent = 0_u64;
            // Several in flight, until the server says that it is going, or is gone.
            loop {
                while in_flight.len() < IN_FLIGHT {
                    let (block, byte) = (sent % BLOCKS, 1 + (sent % 250) as u8);
                    let Ok(cookie) = client.send(WRITE, block * 4096, 4096, &[byte; 4096]) else {
                        break;
                    };
                    // What is under way may be there or not.
                    answered.remove(&block);
                    in_flight.insert(cookie, (block, byte));
                    sent += 1;
                }
                match client.reply(&mut []) {
                    Ok((cookie, 0)) => {
                        let (block, byte) = in_flight.remove(&cookie).unwrap();
                        answered.insert(block, byte);
                    }
                    Ok((_, 108)) | Err(_) => return answered,
                    Ok((_, error)) => panic!("error {error}"),
                }
                let _ = writes.send(());
            }
        });
        begins_to_write.recv_timeout(Duration::from_secs(60)).unwrap();
        thread::sleep(Duration::from_millis(300));
        let begun = Instant::now();
        let (code, said) = daemon.end(signal);
        assert_eq!(code, Some(0), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let answered = writer.join().unwrap();
        assert!(answered.len() > IN_FLIGHT);
        let disk = bench.run("tine read disk --length 62500K").stdout;
        for (block, byte) in answered {
            let bytes = &disk[block as usize * 4096..][..4096];
            assert!(
                bytes.iter().all(|found| *found == byte),
                "block {block} was answered, not flushed, and is lost"
            );
        }
        assert!(sockets.iter().all(|socket| !socket.exists()));
    }
}

#[test]
fn a_signal_that_was_ignored_when_it_began_ends_no_daemon() {
    let bench = golden();
    // As `nohup` has it, and a script what it runs in the background.
    let daemon = Daemon::start_after(&bench, "trap '' HUP INT", "");
    for signal in ["-HUP", "-INT", "-HUP"] {
        daemon.signal(signal);
        thread::sleep(Duration::from_millis(100));
        daemon.connect("golden").leave().unwrap();
    }
    daemon.stop();
}

#[test]
fn a_second_daemon_is_told_who_is_the_first() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let begun = Instant::now();
    let second = bench.run("tine serve");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2));
    assert!(said.contains(&format!("process {}", daemon.pid())), "{said}");
    assert!(begun.elapsed() < Duration::from_secs(30));
    daemon.connect("golden").leave().unwrap();
}

#[test]
fn the_sockets_of_a_killed_daemon_are_replaced_and_those_of_others_are_not() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    daemon.signal("-KILL");
    drop(daemon);
    assert!(bench.store().join("nbd.sock").exists());
    let daemon = Daemon::start(&bench, "");
    daemon.connect("golden").leave().unwrap();
    drop(daemon);
    let somebodys = bench.path("somebodys.sock");
    let _listener = UnixListener::bind(&somebodys).unwrap();
    let refused = bench.run("tine serve --socket somebodys.sock");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said.contains("somebodys.sock") && said.contains("another process listens"),
        "{said}"
    );
    fs::write(bench.path("file"), "mine").unwrap();
    assert_eq!(bench.run("tine serve --socket file").status.code(), Some(2));
    assert_eq!(fs::read(bench.path("file")).unwrap(), b"mine");
    for one in [
        "--socket s.sock --control s.sock",
        "--socket \"$TINE_STORE/control.sock\"",
        "--control \"$TINE_STORE/nbd.sock\"",
    ] {
        let refused = bench.run(&format!("tine serve {one}"));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{one}: {said}");
        assert!(said.contains("commands need one of their own"), "{one}: {said}");
    }
    assert!(!bench.path("s.sock").exists() && !bench.store().join("nbd.sock").exists());
    bench.succeeds("tine check");
}

#[test]
fn a_path_too_long_for_a_socket_address_works_for_everybody() {
    let bench = golden();
    let folder = bench.path("x".repeat(100)).join("y".repeat(100));
    fs::create_dir_all(&folder).unwrap();
    let store = folder.join("store");
    bench.succeeds(&format!("cp -a {} {}", bench.store().display(), store.display()));
    let daemon = Daemon::start(&bench, &format!("--store {}", store.display()));
    assert!(store.join("nbd.sock").exists());
    assert!(daemon.socket.as_os_str().len() < 100, "a shorter way to it");
    daemon.connect("golden").leave().unwrap();
    bench.succeeds(&format!("tine --store {} ls", store.display()));
    if have(&["nbdinfo"], "nbdinfo of a long path") {
        bench.succeeds(&format!("nbdinfo '{}'", daemon.uri("golden")));
    }
    let shorter = daemon.socket.clone();
    daemon.stop();
    assert!(!shorter.exists() && !shorter.parent().unwrap().exists());
}

#[test]
fn other_places_for_the_sockets_are_found_through_the_store() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "--socket here.sock --control there.sock");
    daemon.connect("golden").leave().unwrap();
    assert!(!bench.store().join("nbd.sock").exists());
    assert!(
        fs::symlink_metadata(bench.store().join("control.sock"))
            .unwrap()
            .is_symlink()
    );
    bench.succeeds("tine fork golden web1");
    daemon.connect("web1").leave().unwrap();
    // Killed, it leaves a link in the store, which is in nobody's way.
    daemon.end("-KILL");
    assert!(
        fs::symlink_metadata(bench.store().join("control.sock"))
            .unwrap()
            .is_symlink()
    );
    let daemon = Daemon::start(&bench, "");
    bench.succeeds("tine --no-wait fork golden web2");
    daemon.stop();
    let daemon = Daemon::start(&bench, "--socket here.sock --control there.sock");
    daemon.stop();
    for left in [
        bench.path("here.sock"),
        bench.path("there.sock"),
        bench.store().join("control.sock"),
    ] {
        assert!(fs::symlink_metadata(&left).is_err(), "{}", left.display());
    }
}

#[test]
fn the_usual_place_for_commands_is_that_however_it_is_spelled() {
    let bench = golden();
    let name = bench.store().file_name().unwrap().to_string_lossy().into_owned();
    let daemon = Daemon::start(
        &bench,
        &format!("--control \"$TINE_STORE/../{name}/control.sock\""),
    );
    let found = fs::symlink_metadata(bench.store().join("control.sock")).unwrap();
    assert!(found.file_type().is_socket());
    bench.succeeds("tine --no-wait fork golden web1");
    daemon.stop();
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), 2);
}

#[test]
fn tcp_is_for_loopback_and_for_who_insists() {
    let bench = golden();
    for refused in [
        "--listen 127.0.0.1:0",
        "--listen 0.0.0.0:0 --insecure-loopback",
        "--listen nonsense --insecure-loopback",
    ] {
        assert_eq!(
            bench.run(&format!("tine serve {refused}")).status.code(),
            Some(2),
            "{refused}"
        );
    }
    let daemon = Daemon::start(&bench, "--listen 127.0.0.1:0 --insecure-loopback");
    let address = daemon.announced["listen"].as_str().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"));
    if have(&["nbdcopy"], "nbdcopy over TCP") {
        bench.succeeds(&format!(
            "nbdcopy --connections=1 'nbd://{address}/golden' out.img && cmp golden.img out.img"
        ));
    }
}

#[test]
fn a_store_that_is_moved_while_it_is_served_is_written_to_where_it_is() {
    let bench = golden();
    let moved = bench.store().with_extension("moved");
    let other = bench.store();
    bench.succeeds(&format!("cp -a {} backup", other.display()));
    let daemon = Daemon::start(&bench, "");
    // Another store takes its place: a backup, as who restores one does that has forgotten the daemon.
    fs::rename(bench.store(), &moved).unwrap();
    bench.succeeds(&format!("mv backup {}", other.display()));
    let there = format!("--store {}", moved.display());
    bench.succeeds(&format!(
        "tine {there} fork golden web1 && head -c 8M /dev/urandom >more && tine {there} write web1 <more"
    ));
    bench.succeeds("tine fork golden other && tine write other <noise");
    bench.succeeds(&format!("tine {there} stats && tine {there} check --data"));
    // New jobs, and commands with a disk, find their way, too; and so do those of the other store.
    let mut client = Client::connect(&moved.join("nbd.sock"), "golden+fork=job").unwrap();
    client.write(&[7; 4096], 0).unwrap();
    bench.succeeds(&format!(
        "tine {there} attach golden+fork=job --keep job -- sh -c 'echo \"$TINE_URI\" >uri'"
    ));
    let uri = fs::read_to_string(bench.path("uri")).unwrap();
    assert!(uri.contains(&moved.display().to_string()), "{uri}");
    let others = Daemon::start(&bench, "--control there.sock");
    let [mut one, mut two] = [
        Client::connect(&moved.join("nbd.sock"), "job"),
        Client::connect(&others.socket, "golden+fork=job"),
    ]
    .map(Result::unwrap);
    let mut byte = [0; 2];
    one.read(&mut byte[..1], 0).unwrap();
    two.read(&mut byte[1..], 0).unwrap();
    assert_eq!(byte, [7, 0]);
    assert!(other.join("jobs/job").exists());
    drop(client);
    daemon.stop();
    assert!(!moved.join("nbd.sock").exists() && !moved.join("control.sock").exists());
    others.connect("other").leave().unwrap();
    others.stop();
    bench.succeeds(&format!(
        "tine {there} check --data && tine {there} read web1 --length 8M | cmp - more"
    ));
    bench.succeeds("tine check --data && tine read other --length 8M | cmp - noise");
    for (store, name) in [("", "web1"), (there.as_str(), "other")] {
        let output = bench.run(&format!("tine {store} show {name}"));
        assert_eq!(output.status.code(), Some(2), "`{name}` is of the other store");
    }
}
