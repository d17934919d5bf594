//! The command among others: pipes, signals, terminals, environment, many at once.

use std::process::Stdio;
use std::thread;

use crate::common::Bench;

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::with_disk();
    for line in [
        "tine ls",
        "tine --help",
        "tine man",
        "tine export disk -",
        "tine read disk",
        "tine tree --json",
    ] {
        // The reader is gone before the first byte is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench
            .command(line)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {:?}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
    }
}

#[test]
fn fifty_processes_fork_at_once() {
    let bench = Bench::with_disk();
    thread::scope(|scope| {
        let forks: Vec<_> = (0..50)
            .map(|_| scope.spawn(|| bench.run("tine fork disk --quiet")))
            .collect();
        for fork in forks {
            let output = fork.join().unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    });
    let names: Vec<_> = (1..=50).map(|number| format!("disk-{number}")).collect();
    let listed = bench.succeeds("tine ls");
    for name in names {
        assert!(
            listed.lines().any(|line| line.split(' ').next() == Some(&name)),
            "{name} is missing"
        );
    }
}

#[test]
fn a_first_use_makes_the_users_store_once() {
    let bench = Bench::new();
    let home = bench.path("home");
    let in_home = |line: &str| {
        let mut command = bench.command(line);
        command
            .env_remove("TINE_STORE")
            .env_remove("XDG_DATA_HOME")
            .env("HOME", &home);
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        in_home("tine ls").starts_with("Created the store `"),
        "the first use says so"
    );
    assert!(home.join(".local/share/tine/store").is_dir());
    assert_eq!(in_home("tine create disk 1M"), "Created `disk`, 1.0 MiB, empty\n");
    assert_eq!(in_home("tine ls --quiet"), "");
    assert_eq!(
        in_home("TINE_STORE= tine drop disk --yes"),
        "Dropped `disk`\n",
        "empty is unset"
    );
}

#[test]
fn interrupts_leave_nothing_behind() {
    let bench = Bench::with_disk();
    for signal in ["INT", "TERM"] {
        let mut import = bench.command("exec tine import - half");
        let mut child = import
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &[7; 1 << 20]).unwrap();
        thread::sleep(std::time::Duration::from_millis(300));
        // The pipe stays open: the import is waiting for more when the signal comes.
        // The shell has `kill` built in; the program is in a package.
        let killed = bench.run(&format!("kill -{signal} {}", child.id())).status;
        assert!(killed.success());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(if signal == "INT" { 130 } else { 143 }));
        drop(stdin);
    }
    let listed = bench.succeeds("tine ls");
    assert!(!listed.contains("half"), "{listed}");
    bench.succeeds("tine check --data");
}
