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
            let _ = Command::new("kill")
                .arg(self.0.id().to_string())
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
    for _ in 0..500 {
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
