//! The command among others: pipes, signals, terminals, environment, many at once.

use std::fs;
use std::io::BufRead as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::{Bench, is_of_no_daemon, tool};

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::with_disk();
    for line in [
        "tine ls",
        "tine --help",
        "tine man",
        "tine export disk -",
        "tine read disk",
        "tine read disk --length 1",
        "tine tree --json",
        "tine help fork",
        "tine --version",
        "tine check --json",
        "tine fork disk --count 3 --quiet",
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
        thread::sleep(Duration::from_millis(300));
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

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let bench = Bench::with_disk();
    for line in [
        "tine ls",
        "tine --help",
        "tine --version",
        "tine help fork",
        "tine man fork",
        "tine completions bash",
        "tine export disk -",
        "tine read disk",
        "tine check",
    ] {
        let output = bench.run(&format!("{line} >/dev/full"));
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "error: cannot write to standard output: No space left on device\n\
             hint: free some space there; what the command did before it printed is done\n",
            "{line}"
        );
    }
}

#[test]
fn a_store_in_use_is_waited_for_or_not() {
    if is_of_no_daemon() {
        return;
    }
    let bench = Bench::with_disk();
    let mut holder = bench.command("exec tine import - slow --quiet");
    let mut child = holder.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"disk").unwrap();
    // It opens the store when the first bytes have come, and then says who it is.
    let says_who = |lock: &str| lock.contains("import - slow");
    while !std::fs::read_to_string(bench.store().join("LOCK")).is_ok_and(|lock| says_who(&lock)) {
        assert_eq!(child.try_wait().unwrap(), None, "the import waits for more");
        thread::sleep(Duration::from_millis(5));
    }
    prints!(bench, "tine ls --no-wait", "tine create more 1M --no-wait --quiet"; @"
    $ tine ls --no-wait
    ! error: the store at `[store]` is in use by process [pid] (`tine import - slow --quiet`)
    ! hint: wait for process [pid] or end it; the lock goes with the process
    [2]
    $ tine create more 1M --no-wait --quiet
    ! error: the store at `[store]` is in use by process [pid] (`tine import - slow --quiet`)
    ! hint: wait for process [pid] or end it; the lock goes with the process
    [2]
    ");
    let mut waiting = bench
        .command("exec tine fork disk waited --quiet --json")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = bench
        .command("exec tine fork disk told")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(told.stderr.take().unwrap()).lines();
    // Only when this is said is the store let go.
    assert_eq!(
        said.next().unwrap().unwrap(),
        format!(
            "Waiting for the store: process {} has it (`tine import - slow --quiet`)",
            child.id()
        )
    );
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert!(told.wait().unwrap().success());
    assert!(waiting.wait().unwrap().success());
    let mut quiet = String::new();
    std::io::Read::read_to_string(&mut waiting.stderr.take().unwrap(), &mut quiet).unwrap();
    assert_eq!(quiet, "");
}

#[test]
fn an_interrupt_ends_reading_and_exporting() {
    let bench = Bench::new();
    bench.succeeds("tine create huge 1PiB --quiet");
    for line in ["exec tine read huge", "exec tine export huge -"] {
        let mut child = bench
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It is at work when the first byte has come.
        let mut stdout = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut stdout, &mut [0]).unwrap();
        assert!(bench.run(&format!("kill -INT {}", child.id())).status.success());
        let status = child.wait().unwrap();
        // Ended by the signal itself where there is nothing to clean up: a shell makes 130 of it.
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        assert_eq!(code, Some(130), "{line}");
    }
    bench.succeeds("tine check --data");
}

#[test]
fn many_first_uses_at_once_make_one_store() {
    if is_of_no_daemon() {
        return;
    }
    let bench = Bench::new();
    thread::scope(|scope| {
        let created: Vec<_> = (0..8)
            .map(|number| {
                let bench = &bench;
                scope.spawn(move || bench.succeeds(&format!("tine create disk-{number} 1M --quiet")))
            })
            .collect();
        for created in created {
            created.join().unwrap();
        }
    });
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), 8);
}

#[test]
fn a_terminal_is_sent_text_only() {
    if tool("script").is_none() {
        return eprintln!("skipped: script is needed (package bsdutils)");
    }
    let bench = Bench::with_disk();
    bench.succeeds(r"printf '\033]0;mine\007' | tine write disk --offset 8192");
    let on_terminal = |line: &str| {
        let output = bench.run(&format!("NO_COLOR=1 script -qec '{line}' /dev/null"));
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(
        on_terminal("tine read disk --length 10"),
        (Some(0), "tine\r\ntine\r\n".to_owned())
    );
    let (status, shown) = on_terminal("tine read disk --offset 8k --length 10");
    assert_eq!(status, Some(2));
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(shown.contains("hexdump"), "{shown:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    if tool("script").is_none() {
        return eprintln!("skipped: script is needed (package bsdutils)");
    }
    let bench = Bench::with_disk();
    let coloured = |environment: &str, line: &str| {
        // A CI that shows colours says so by CI, whatever the terminal: not what is asked here.
        let shown = bench.run(&format!("env -u CI {environment} script -qec '{line}' /dev/null"));
        String::from_utf8_lossy(&shown.stdout).contains('\x1b')
    };
    for line in ["tine ls", "tine show nobody", "tine help", "tine frok"] {
        assert!(coloured("TERM=xterm", line), "{line}");
        assert!(!coloured("TERM=xterm NO_COLOR=1", line), "{line}");
        assert!(!coloured("TERM=dumb", line), "{line}");
        assert!(!bench.session(line).contains('\x1b'), "{line}");
    }
}

#[test]
fn long_work_shows_a_bar_on_a_terminal_alone() {
    if tool("script").is_none() {
        return eprintln!("skipped: script is needed (package bsdutils)");
    }
    let bench = Bench::new();
    let slowly = |name: &str, more: &str| {
        format!("(printf one; sleep 2; head -c 3M /dev/zero; sleep 0.1) | tine import - {name} {more}")
    };
    thread::scope(|scope| {
        let bar = scope.spawn(|| {
            bench.run(&format!(
                "TERM=xterm script -qec 'stty cols 20 rows 24; {}' /dev/null",
                slowly("drawn", "")
            ))
        });
        let plain = scope.spawn(|| bench.run(&slowly("plain", "")));
        let drawn = String::from_utf8_lossy(&bar.join().unwrap().stdout).into_owned();
        assert!(
            drawn.contains("Importing ") && drawn.contains("MiB/s"),
            "{drawn:?}"
        );
        assert!(drawn.contains("Imported `drawn`"), "{drawn:?}");
        let said = String::from_utf8_lossy(&plain.join().unwrap().stderr).into_owned();
        assert!(!said.contains("Importing"), "{said:?}");
    });
}

#[test]
fn who_may_not_is_told_what_to_do() {
    if is_of_no_daemon() {
        return;
    }
    let bench = Bench::with_disk();
    // Root may do everything, so the test becomes somebody else where it is root.
    let other = match fs::metadata(bench.path("")).unwrap().uid() {
        0 if tool("setpriv").is_none() => {
            return eprintln!("skipped: root needs setpriv (package util-linux)");
        }
        0 => "setpriv --reuid 65534 --regid 65534 --clear-groups ",
        _ => "",
    };
    let beside = bench.store();
    let beside = beside.parent().unwrap().display();
    bench.succeeds(&format!(
        "mkdir closed && : >image && chmod 0 image && chmod 755 . {beside} && chmod 555 closed"
    ));
    let refused = |line: &str, words: &str| {
        let output = bench.run(&format!("{other}{line}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
        assert!(said.contains("\nhint: "), "{line}: {said}");
    };
    let tine = env!("CARGO_BIN_EXE_tine");
    let within_reach = bench.run(&format!("{other}{tine} --version")).status.success();
    if !within_reach {
        return eprintln!("skipped: another user cannot reach {tine}");
    }
    refused(
        &format!("{tine} --store closed/store create x 1M"),
        "cannot make a store at `closed/store`: Permission denied",
    );
    refused(
        &format!("{tine} import image x"),
        "cannot open `image`: Permission denied",
    );
    refused(
        &format!("{tine} man --dir closed/man"),
        "cannot make the directory `closed/man`: Permission denied",
    );
    // The store for reading alone; then not even that.
    bench.succeeds("chmod -R a+rX,a-w $TINE_STORE");
    refused(&format!("{tine} fork disk web"), "cannot be written");
    let read = bench.run(&format!("{other}{tine} --read-damaged read disk --length 4"));
    assert_eq!(String::from_utf8_lossy(&read.stdout), "tine");
    assert!(String::from_utf8_lossy(&read.stderr).contains("it can only be read"));
    bench.succeeds("chmod -R u+w,go-rwx $TINE_STORE");
    if !other.is_empty() {
        refused(&format!("{tine} ls"), "Permission denied");
    }
}
