//! Goal: a daemon that comes, goes or dies is no surprise to a command.
//! Method: the real program serves the store, is stopped, killed and started again while commands are under way.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Bench;
use common::daemon::Daemon;

/// Starts commands while the daemon stands still, kills it, and returns what each said.
fn killed_in_the_midst(bench: &Bench, lines: &[&str]) -> Vec<(Option<i32>, String)> {
    let daemon = Daemon::start(bench, "");
    daemon.signal("-STOP");
    let mut asking: Vec<Child> = lines
        .iter()
        .map(|line| {
            let mut command = bench.command(&format!("exec {line}"));
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // A pipe holds so much without a reader.
            child.stdin.take().unwrap().write_all(b"some bytes").unwrap();
            child
        })
        .collect();
    // Each has connected, and most have sent their request: there is no sign of that from outside.
    thread::sleep(Duration::from_secs(1));
    for child in &mut asking {
        assert_eq!(child.try_wait().unwrap(), None, "it waits for an answer");
    }
    daemon.end("-KILL");
    asking
        .into_iter()
        .map(|child| {
            let output = child.wait_with_output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        })
        .collect()
}

#[test]
fn a_daemon_that_dies_leaves_no_command_in_the_dark() {
    let bench = Bench::with_disk();
    bench.succeeds("tine fork disk web && printf x | tine write web && tine snapshot web@a");
    let changing = [
        "tine create new 1M",
        "tine fork disk other",
        "tine snapshot disk@b",
        "tine rollback web@a --yes",
        "tine drop web --yes",
        "tine rename web shop",
        "tine resize web 32M",
        "tine defrag disk",
        "tine protect disk",
    ];
    for (line, (status, said)) in changing.iter().zip(killed_in_the_midst(&bench, &changing)) {
        assert_eq!(status, Some(2), "{line}: {said}");
        assert!(said.contains("ended before it had answered"), "{line}: {said}");
        assert!(
            said.contains("whether it was done is not known"),
            "{line}: {said}"
        );
    }
    let looking = [
        "tine ls",
        "tine tree",
        "tine show disk",
        "tine stats",
        "tine diff disk web",
        "tine check --data",
        "tine read disk",
        "tine export disk disk.img",
        // These send nothing before the daemon has admitted them.
        "tine write disk",
        "tine import - imported",
    ];
    for (line, (status, said)) in looking.iter().zip(killed_in_the_midst(&bench, &looking)) {
        assert_eq!(status, Some(2), "{line}: {said}");
        assert!(said.contains("ended before it had answered"), "{line}: {said}");
        assert!(said.contains("nothing was changed"), "{line}: {said}");
    }
    assert!(!bench.path("disk.img").exists() && !bench.path("disk.img.partial").exists());
    // The socket that the dead left is in nobody's way, and all is as it was.
    assert!(bench.store().join("control.sock").exists());
    let listed = bench.succeeds("tine ls");
    assert!(listed.contains("disk") && listed.contains("web"), "{listed}");
    assert!(
        !listed.contains("other") && !listed.contains("imported"),
        "{listed}"
    );
    bench.succeeds("tine check --data");
    Daemon::start(&bench, "").stop();
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
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
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
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // What is dropped is read on to its end, as it was.
    let rest = std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert_eq!(rest + 4096, 1 << 30);
    assert!(reading.wait().unwrap().success());
    daemon.stop();
}
