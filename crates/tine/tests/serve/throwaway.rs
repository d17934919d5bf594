//! Throwaway forks: made when a connection begins, gone with it or a while after it, kept if somebody asks.

use crate::client::{self, Client, INFO, LIST};
use crate::common::Bench;
use crate::daemon::{Daemon, golden, noise};

fn stored(bench: &Bench) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&bench.succeeds("tine stats --json")).unwrap();
    stats["segments"]["live"].as_u64().unwrap()
}

#[test]
fn each_connection_has_a_fork_of_its_own_that_goes_with_it() {
    let bench = golden();
    let before = stored(&bench);
    let daemon = Daemon::start(&bench, "");
    let (mut one, mut other) = (daemon.connect("golden+fork"), daemon.connect("golden+fork"));
    one.write(&[1; 1 << 20], 0).unwrap();
    other.write(&[2; 1 << 20], 0).unwrap();
    one.flush().unwrap();
    let mut byte = [0];
    one.read(&mut byte, 4096).unwrap();
    assert_eq!(byte, [1]);
    let mut golden = daemon.connect("golden@v1");
    golden.read(&mut byte, 4096).unwrap();
    assert_eq!(byte, [0]);
    one.leave().unwrap();
    // And one that just vanishes.
    drop(other);
    daemon.wait_until("nobody is attached any more but one", || {
        bench.succeeds("tine stats --json").matches("\"export\"").count() == 1
    });
    daemon.stop();
    assert_eq!(stored(&bench), before);
    assert_eq!(bench.succeeds("tine ls --json").lines().count(), 1);
}

#[test]
fn a_jobs_fork_waits_for_a_reconnect_and_is_then_forgotten() {
    let bench = golden();
    let before = stored(&bench);
    let daemon = Daemon::start(&bench, "--linger 1");
    let mut first = daemon.connect("golden+fork=job");
    // So much that it goes to segments.
    for at in 0..16 {
        first.write(&noise(at, 4 << 20), (at % 8) << 22).unwrap();
    }
    first.flush().unwrap();
    daemon.wait_until("it has taken space", || stored(&bench) > before + (4 << 20));
    first.write(&[3; 4096], 8192).unwrap();
    drop(first);
    let mut again = daemon.connect("golden+fork=job");
    let mut byte = [0];
    again.read(&mut byte, 8192).unwrap();
    assert_eq!(byte, [3], "what was not flushed, too");
    again.leave().unwrap();
    daemon.wait_until("it is forgotten", || {
        !bench.succeeds("tine stats --json").contains("\"job\"")
    });
    daemon.wait_until("its space is given back", || stored(&bench) == before);
    let mut fresh = daemon.connect("golden+fork=job");
    fresh.read(&mut byte, 8192).unwrap();
    assert_eq!(byte, [0]);
}

#[test]
fn looking_at_a_fork_makes_none_and_an_old_clients_way_makes_one() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let made = || -> usize {
        let stats: serde_json::Value = serde_json::from_str(&bench.succeeds("tine stats --json")).unwrap();
        stats["branches"].as_u64().unwrap() as usize + stats["jobs"].as_array().unwrap().len()
    };
    let before = made();
    for name in ["golden+fork", "golden+fork=job", "golden@v1+fork"] {
        let _looking = client::look(&daemon.socket, LIST, "").unwrap();
        let _asking = client::look(&daemon.socket, INFO, name).unwrap();
        assert_eq!(made(), before, "{name}");
    }
    let mut old = Client::connect_by_name(&daemon.socket, "golden+fork=job").unwrap();
    assert!(made() > before);
    old.write(&[9; 4096], 0).unwrap();
    let mut byte = [1];
    daemon.connect("golden@v1").read(&mut byte, 0).unwrap();
    daemon.connect("golden").read(&mut byte, 0).unwrap();
    assert_eq!(byte, [0]);
    daemon.connect("golden+fork=job").read(&mut byte, 0).unwrap();
    assert_eq!(byte, [9]);
}

#[test]
fn a_flush_of_a_throwaway_fork_waits_for_no_sync() {
    const FLUSHES: u64 = 50;
    let bench = golden();
    bench.succeeds("tine fork golden web1");
    let daemon = Daemon::start(&bench, "");
    let syncs = || -> u64 {
        let stats: serde_json::Value = serde_json::from_str(&bench.succeeds("tine stats --json")).unwrap();
        stats["journal"]["syncs"].as_u64().unwrap()
    };
    let of = |export: &str| {
        let mut client = daemon.connect(export);
        let before = syncs();
        for at in 0..FLUSHES {
            client.write(&[at as u8; 4096], at * 4096).unwrap();
            client.flush().unwrap();
        }
        syncs() - before
    };
    assert!(of("web1") >= FLUSHES, "each of a branch's is synced");
    for throwaway in ["golden+fork", "golden+fork=job"] {
        assert_eq!(of(throwaway), 0, "{throwaway}");
    }
}

#[test]
fn what_is_kept_survives_kill_9_and_what_is_not_is_gone_with_its_space() {
    let bench = golden();
    let before = stored(&bench);
    let daemon = Daemon::start(&bench, "");
    let mut lost = daemon.connect("golden+fork=lost");
    let mut kept = daemon.connect("golden@v1+fork=kept");
    for client in [&mut lost, &mut kept] {
        client.write(&[5; 4 << 20], 0).unwrap();
        client.flush().unwrap();
    }
    bench.succeeds("tine keep kept web1");
    kept.write(&[6; 4096], 8 << 20).unwrap();
    kept.flush().unwrap();
    daemon.signal("-KILL");
    drop(daemon);
    let names = bench.succeeds("tine ls --json");
    assert_eq!(names.lines().count(), 2, "{names}");
    let bytes = bench.succeeds(
        "tine read web1 --length 1 | od -An -tu1; tine read web1 --offset 8M --length 1 | od -An -tu1",
    );
    assert_eq!(bytes.split_whitespace().collect::<Vec<_>>(), ["5", "6"]);
    bench.succeeds("tine drop web1 --yes && tine check --data");
    assert_eq!(stored(&bench), before);
}

#[test]
fn what_goes_with_a_daemon_is_said() {
    let bench = golden();
    let (code, said) = Daemon::start(&bench, "").end("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.trim_end().ends_with("everything is saved"), "{said}");

    let daemon = Daemon::start(&bench, "");
    let _attached = ["one", "two", "kept"].map(|job| daemon.connect(&format!("golden+fork={job}")));
    let _own = [daemon.connect("golden+fork"), daemon.connect("golden@v1+fork")];
    let _branch = daemon.connect("golden");
    daemon.connect("golden+fork=over").leave().unwrap();
    bench.succeeds("tine keep kept web1 && tine forget over");
    daemon.wait_until("it is forgotten", || {
        !bench.succeeds("tine stats").contains("over")
    });
    let (code, said) = daemon.end("-TERM");
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("everything is saved, but for the throwaway forks of the jobs `one` and `two` and of 2 connections\n"),
        "{said}"
    );
}

#[test]
fn who_comes_back_to_a_fork_that_went_with_a_daemon_is_not_given_an_empty_one() {
    let bench = golden();
    for signal in ["-KILL", "-TERM"] {
        let daemon = Daemon::start(&bench, "");
        let mut client = daemon.connect("golden+fork=job");
        client.write(&[5; 4096], 0).unwrap();
        client.flush().unwrap();
        daemon.connect("golden+fork=ended").leave().unwrap();
        bench.succeeds("tine forget ended");
        let mut kept = daemon.connect("golden+fork=kept");
        kept.write(&[6; 4096], 0).unwrap();
        bench.succeeds("tine keep kept web1");
        daemon.wait_until("it is forgotten", || {
            !bench.succeeds("tine stats").contains("ended")
        });
        daemon.end(signal);

        let daemon = Daemon::start(&bench, "");
        let refused = Client::connect(&daemon.socket, "golden+fork=job")
            .err()
            .unwrap()
            .to_string();
        assert!(
            refused.contains("went with the daemon") && refused.contains("`tine forget job`"),
            "{refused}"
        );
        let refused = Client::connect(&daemon.socket, "golden+fork=kept")
            .err()
            .unwrap()
            .to_string();
        assert!(
            refused.contains("is the branch `web1`") && refused.contains("attach `web1`"),
            "{refused}"
        );
        bench.succeeds("tine forget kept && tine drop web1 --yes");
        daemon.connect("golden+fork=other");
        daemon.connect("golden+fork=ended");
        bench.succeeds("tine forget job");
        let mut byte = [9];
        daemon.connect("golden+fork=job").read(&mut byte, 0).unwrap();
        assert_eq!(byte, [0]);
        for job in ["job", "other", "ended"] {
            bench.succeeds(&format!("tine forget {job}"));
        }
        daemon.wait_until("they are forgotten", || {
            !bench.succeeds("tine stats --json").contains("\"job\"")
        });
        daemon.stop();
    }
}

#[test]
fn who_comes_by_a_jobs_name_when_it_was_kept_or_is_over_writes_under_nobodys_feet() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let mut first = daemon.connect("golden+fork=job");
    first.write(&[1; 4096], 0).unwrap();
    let over = bench.succeeds("tine attach golden+fork=job --drop -- true 2>&1");
    assert!(
        over.contains("goes when all who are attached to it have left"),
        "{over}"
    );
    let refused = |line: &str| {
        let output = bench.run(line);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{line}: {said}");
        said
    };
    let said = refused("tine attach golden+fork=job --drop -- touch ran");
    assert!(
        said.contains("the job `job` is over, and 1 connection has its fork still"),
        "{said}"
    );
    first.leave().unwrap();

    let mut first = daemon.connect("golden+fork=job");
    let mut byte = [9];
    first.read(&mut byte, 0).unwrap();
    assert_eq!(byte, [0], "it began anew");
    bench.succeeds("tine keep job web1");
    let said = refused("tine attach golden+fork=job --drop -- touch ran");
    assert!(
        said.contains("`web1` is attached by process") && said.contains("one client at a time"),
        "{said}"
    );
    let said = refused("tine keep job web2");
    assert!(said.contains("was kept already, as the branch `web1`"), "{said}");
    let over = bench.succeeds("tine forget job 2>&1");
    assert!(
        over.contains("free when the connection that has its fork has left"),
        "{over}"
    );
    let again = Client::connect(&daemon.socket, "golden+fork=job")
        .err()
        .unwrap()
        .to_string();
    assert!(again.contains("is over"), "{again}");
    first.write(&[2; 4096], 0).unwrap();
    first.leave().unwrap();
    daemon.connect("golden+fork=job").read(&mut byte, 0).unwrap();
    assert_eq!(byte, [0], "its name is free");
    assert!(!bench.path("ran").exists());
    daemon.stop();
}

#[test]
fn who_comes_back_to_a_fork_that_was_kept_is_told_what_it_is_called_by_now() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let _attached = ["renamed", "then", "dropped"].map(|job| daemon.connect(&format!("golden+fork={job}")));
    bench.succeeds("tine keep renamed web1 && tine keep then web2 && tine keep dropped web3");
    // While a daemon has it, while none has, and another branch has come to its name.
    bench.succeeds("tine rename web1 shop && tine fork golden web1");
    daemon.stop();
    bench.succeeds("tine rename web2 till && tine drop web3 --yes && tine fork golden web3");
    let daemon = Daemon::start(&bench, "");
    for (job, words) in [
        ("renamed", ["is the branch `shop`", "attach `shop`"]),
        ("then", ["is the branch `till`", "attach `till`"]),
        (
            "dropped",
            [
                "was kept as `web3`, which was dropped since",
                "`tine forget dropped`",
            ],
        ),
    ] {
        let refused = Client::connect(&daemon.socket, &format!("golden+fork={job}"));
        let refused = refused.err().unwrap().to_string();
        assert!(words.iter().all(|part| refused.contains(part)), "{refused}");
        assert!(!refused.contains("attach `web"), "{refused}");
    }
    bench.succeeds("tine rename shop store");
    let refused = Client::connect(&daemon.socket, "golden+fork=renamed")
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("attach `store`"), "{refused}");
    daemon.stop();
}

#[test]
fn a_lost_job_can_be_forgotten_without_a_daemon() {
    let bench = golden();
    for signal in ["-KILL", "-TERM"] {
        let daemon = Daemon::start(&bench, "");
        drop(daemon.connect("golden+fork=job"));
        drop(daemon.connect("golden+fork=other"));
        daemon.end(signal);
        bench.succeeds("tine forget job");
        let again = bench.run("tine forget job");
        let said = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(2), "{said}");
        assert!(said.contains("no throwaway fork has the job `job`"), "{said}");

        let daemon = Daemon::start(&bench, "");
        daemon.connect("golden+fork=job").leave().unwrap();
        assert!(
            Client::connect(&daemon.socket, "golden+fork=other").is_err(),
            "it was not named"
        );
        daemon.stop();
        for job in ["job", "other"] {
            bench.succeeds(&format!("tine forget {job}"));
        }
    }
}

#[test]
fn a_daemon_that_cannot_remember_jobs_says_what_comes_of_that() {
    let bench = golden();
    std::fs::write(bench.store().join("jobs"), "somebody's").unwrap();
    let daemon = Daemon::start(&bench, "");
    let mut client = daemon.connect("golden+fork=job");
    client.write(&[5; 4096], 0).unwrap();
    client.leave().unwrap();
    let (code, said) = daemon.end("-TERM");
    assert_eq!(code, Some(0), "{said}");
    let folder = format!("in `{}`", bench.store().display());
    for part in ["warning: cannot ", &folder, "given an empty fork"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(std::fs::read(bench.store().join("jobs")).unwrap(), b"somebody's");
    bench.succeeds("rm \"$TINE_STORE/jobs\"");
    let (_, said) = Daemon::start(&bench, "").end("-TERM");
    assert!(!said.contains("warning"), "{said}");
}
