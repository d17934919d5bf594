//! `tine attach`: a disk for as long as a command runs, with a daemon and without.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::daemon::{Daemon, golden, have};

/// Plays with a daemon, and without.
fn both_ways(play: impl Fn(&crate::common::Bench)) {
    let bench = golden();
    play(&bench);
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    play(&bench);
    daemon.stop();
    bench.succeeds("tine check --data");
}

fn names(bench: &crate::common::Bench) -> Vec<String> {
    let listed = bench.succeeds("tine ls --json");
    listed
        .lines()
        .map(|line| {
            let branch: serde_json::Value = serde_json::from_str(line).unwrap();
            branch["name"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn the_exit_status_is_the_commands_and_the_fork_is_kept_dropped_or_named() {
    if !have(&["qemu-io"], "the_exit_status") {
        return;
    }
    both_ways(|bench| {
        let write = "qemu-io -f raw -c \"write -P 9 0 64k\" \"$TINE_URI\"";
        let line = format!("tine attach golden+fork --drop -- sh -c '{write}; exit 7'");
        assert_eq!(bench.run(&line).status.code(), Some(7));
        assert_eq!(names(bench), ["golden"]);
        bench.succeeds("tine attach golden+fork -- qemu-io -f raw -c 'write -P 8 0 64k' {}");
        assert_eq!(
            names(bench),
            ["golden", "golden-1"],
            "kept, where nobody can be asked"
        );
        bench.succeeds(&format!(
            "tine attach golden@v1+fork --keep web1 -- sh -c '{write}'"
        ));
        assert_eq!(names(bench), ["golden", "golden-1", "web1"]);
        for (name, byte) in [("golden", "0"), ("golden-1", "8"), ("web1", "9")] {
            let read = bench.succeeds(&format!(
                "tine read {name} --offset 4096 --length 1 | od -An -tu1"
            ));
            assert_eq!(read.trim(), byte, "{name}");
        }
        // A name that is taken is refused before anything is done; one that is taken meanwhile costs no work.
        assert_eq!(
            bench
                .run("tine attach golden+fork --keep web1 -- touch ran")
                .status
                .code(),
            Some(2)
        );
        assert!(!bench.path("ran").exists());
        let line = format!("tine attach golden+fork --keep late -- sh -c '{write}; tine fork golden late'");
        bench.succeeds(&line);
        assert_eq!(names(bench), ["golden", "golden-1", "golden-2", "late", "web1"]);
        let read = bench.succeeds("tine read golden-2 --offset 4096 --length 1 | od -An -tu1");
        assert_eq!(read.trim(), "9");
        // A branch is what it is; and what the command wrote is there afterwards.
        bench.succeeds("tine attach web1 -- qemu-io -f raw -c 'write -P 7 1M 4k' {}");
        let read = bench.succeeds("tine read web1 --offset 1M --length 1 | od -An -tu1");
        assert_eq!(read.trim(), "7");
    });
}

#[test]
fn the_name_of_a_job_that_was_kept_or_dropped_is_free_again() {
    both_ways(|bench| {
        for fate in ["--keep first", "--keep second", "--drop", "--keep third"] {
            bench.succeeds(&format!("tine attach golden+fork=ci {fate} -- true"));
        }
        assert_eq!(names(bench), ["first", "golden", "second", "third"]);
    });
}

#[test]
fn what_cannot_be_attached_is_an_error_before_the_command_runs() {
    both_ways(|bench| {
        for line in [
            "tine attach nosuch -- touch ran",
            "tine attach nosuch+fork -- touch ran",
            "tine attach golden+fork=a/b -- touch ran",
            "tine attach golden --drop -- touch ran",
            "tine attach golden+fork --keep --drop -- touch ran",
        ] {
            assert_eq!(bench.run(line).status.code(), Some(2), "{line}");
        }
        assert!(!bench.path("ran").exists());
        assert_eq!(
            bench
                .run("tine attach golden+fork --drop -- no-such-program")
                .status
                .code(),
            Some(2)
        );
        assert_eq!(names(bench), ["golden"]);
    });
}

#[test]
fn a_mistyped_command_costs_no_name() {
    both_ways(|bench| {
        let mistyped = bench.run("tine attach golden+fork=ci -- no-such-program");
        let said = String::from_utf8_lossy(&mistyped.stderr).into_owned();
        assert_eq!(mistyped.status.code(), Some(2), "{said}");
        assert!(
            said.contains("cannot run `no-such-program`") && said.contains("$PATH"),
            "{said}"
        );
        bench.succeeds("tine attach golden+fork=ci --drop -- true");
        let long = format!("tine attach golden+fork={} -- true", "j".repeat(129));
        let said = String::from_utf8(bench.run(&long).stderr).unwrap();
        assert!(
            said.starts_with("error: the name `jjj") && said.contains("hint: names are 1 to 128"),
            "{said}"
        );
        // What the user typed is what is talked of.
        let said = String::from_utf8(bench.run("tine attach golden@no+fork -- true").stderr).unwrap();
        assert!(
            said.starts_with("error: `golden@no+fork` cannot be attached: "),
            "{said}"
        );
        let said =
            String::from_utf8(bench.run("tine attach golden+fork --keep golden -- true").stderr).unwrap();
        assert!(
            said.contains("already a branch named `golden`") && !said.contains("tine drop"),
            "{said}"
        );
        // All parts as long as can be.
        let name = "n".repeat(128);
        bench.succeeds(&format!(
            "tine fork golden {name} && tine snapshot {name}@{name} && \
             tine attach {name}@{name}+fork={name} --keep kept -- true && tine drop kept {name} --yes"
        ));
        assert_eq!(names(bench), ["golden"]);
    });
}

#[test]
fn a_fork_lasts_as_long_as_the_command_however_seldom_that_connects() {
    if !have(&["qemu-io"], "a_fork_lasts") {
        return;
    }
    let bench = golden();
    let daemon = Daemon::start(&bench, "--linger 0");
    let io = |command: &str| format!("qemu-io -f raw -c \"{command}\" \"$TINE_URI\"");
    let said = bench.succeeds(&format!(
        "tine attach golden+fork --drop -- sh -c '{}; sleep 0.5; {}'",
        io("write -P 9 0 4k"),
        io("read -P 9 0 4k")
    ));
    assert!(
        said.contains("read 4096/4096") && !said.contains("verification failed"),
        "{said}"
    );
    daemon.stop();
}

#[test]
fn signals_are_the_commands_and_other_commands_work_meanwhile() {
    let bench = golden();
    /// Nothing of it outlives the test.
    struct Attached(Child);
    impl Drop for Attached {
        fn drop(&mut self) {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            // The command with it: that is told, and ends.
            let _ = Command::new("sh")
                .args(["-c", &format!("kill {}", self.0.id())])
                .stderr(Stdio::null())
                .status();
            let _ = self.0.wait();
        }
    }
    let attached = bench
        .command("exec tine attach golden+fork --drop -- sh -c 'trap \"touch told; exit 9\" TERM; touch runs; while :; do sleep 0.05; done'")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut attached = Attached(attached);
    for _ in 0..3000 {
        if bench.path("runs").exists() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    bench.succeeds("tine --no-wait fork golden web1 && tine --no-wait snapshot web1@a");
    // It has the store alone, and says so.
    let second = bench.run("tine --no-wait attach golden+fork --drop -- true");
    assert_eq!(second.status.code(), Some(2));
    bench.succeeds(&format!("kill -TERM {}", attached.0.id()));
    assert_eq!(attached.0.wait().unwrap().code(), Some(9));
    assert!(bench.path("told").exists());
    assert_eq!(names(&bench), ["golden", "web1"]);
}

#[test]
fn on_a_terminal_it_is_asked_what_becomes_of_the_fork() {
    if !have(&["script"], "on_a_terminal_it_is_asked") {
        return;
    }
    both_ways(|bench| {
        let mut expected = vec!["golden".to_owned()];
        for (answer, kept) in [
            ("n", None),
            ("y", Some("golden-1")),
            ("", Some("golden-2")),
            ("web1", Some("web1")),
        ] {
            let line = "script -qec 'tine attach golden+fork -- true' /dev/null";
            let shown = bench.succeeds(&format!("(sleep 0.3; echo {answer}) | NO_COLOR=1 {line}"));
            assert!(shown.contains("Keep the fork of `golden`? [Y/n/NAME]"), "{shown}");
            expected.extend(kept.map(str::to_owned));
            expected.sort();
            assert_eq!(names(bench), expected, "`{answer}`: {shown}");
        }
    });
}

#[test]
fn a_fork_is_kept_in_its_store_wherever_that_is_moved_meanwhile() {
    if !have(&["qemu-io"], "a_fork_is_kept_in_its_store") {
        return;
    }
    // What takes its place: nothing, another store, and another store that is served and has such a job.
    for place in ["nothing", "free", "served"] {
        let bench = golden();
        let moved = bench.store().with_extension("moved");
        let moved = moved.display();
        bench.succeeds("cp -a \"$TINE_STORE\" backup");
        let daemon = Daemon::start(&bench, "--linger 0");
        let others = (place == "served").then(|| Daemon::start(&bench, "--store backup"));
        let other = others.as_ref().map(|others| others.connect("golden+fork=ci"));
        let write = "qemu-io -f raw -c \"write -P 9 0 64k\" \"$TINE_URI\"";
        let take_place = if place == "nothing" {
            ":"
        } else {
            "mv backup \"$TINE_STORE\""
        };
        let moving = format!("mv \"$TINE_STORE\" {moved}; {take_place}");
        let back = format!(
            "if [ {place} != nothing ]; then mv \"$TINE_STORE\" backup; fi; mv {moved} \"$TINE_STORE\""
        );
        for (fork, fate) in [
            ("golden+fork", "--keep own"),
            ("golden+fork=ci", "--keep named"),
            ("golden+fork=ci", "--drop"),
        ] {
            bench.succeeds(&format!(
                "tine attach {fork} {fate} -- sh -c '{write}; {moving}' && {back}"
            ));
        }
        assert_eq!(names(&bench), ["golden", "named", "own"], "{place}");
        for name in ["named", "own"] {
            let read = bench.succeeds(&format!(
                "tine read {name} --offset 4096 --length 1 | od -An -tu1"
            ));
            assert_eq!(read.trim(), "9", "{place}: {name}");
        }
        let listed = bench.succeeds("tine --store backup ls --json");
        assert_eq!(listed.lines().count(), 1, "{place}: {listed}");
        if let Some(others) = others {
            let jobs = bench.succeeds("tine --store backup stats --json");
            assert!(
                jobs.contains("\"job\":\"ci\""),
                "the other's job is nobody's business: {jobs}"
            );
            drop(other);
            others.stop();
        }
        daemon.stop();
    }
}

#[test]
fn whose_fork_went_with_its_daemon_is_told_so() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let line = format!(
        "tine attach golden+fork --keep web1 -- sh -c 'kill -9 {}; sleep 0.2'",
        daemon.pid()
    );
    let output = bench.run(&line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("the fork of `golden` went with the daemon"),
        "{said}"
    );
    assert_eq!(names(&bench), ["golden"]);
}

#[test]
fn the_command_ignores_the_signals_that_tine_was_to_ignore_and_no_others() {
    let bench = golden();
    let ignored = "grep SigIgn /proc/self/status";
    for signals in [
        "",
        "PIPE",
        "XFSZ",
        "HUP",
        "INT QUIT",
        "PIPE XFSZ HUP INT QUIT TERM USR1 USR2",
    ] {
        let ignoring = if signals.is_empty() {
            ":".to_owned()
        } else {
            format!("trap '' {signals}")
        };
        let shown = bench.succeeds(&format!(
            "{ignoring}; {ignored}; tine attach golden -- {ignored}; \
             tine snapshot golden@$(date +%s%N) --quiet --freeze-hook '{ignored} #' 2>&1"
        ));
        let masks = shown.lines().map(|line| line.split_whitespace().last().unwrap());
        // The C library's own are above.
        let shown: Vec<_> = masks
            .map(|mask| u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff)
            .collect();
        assert_eq!(shown.len(), 4, "freeze and thaw: {shown:?}");
        assert!(
            shown.iter().all(|mask| *mask == shown[0]),
            "`{signals}`: {shown:x?}"
        );
        assert_eq!(
            shown[0].count_ones() as usize,
            signals.split_whitespace().count(),
            "{shown:x?}"
        );
    }
}
