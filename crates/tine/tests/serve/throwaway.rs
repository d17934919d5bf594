//! Throwaway forks: made when a connection begins, gone with it or a while after it, kept if somebody asks.

use crate::common::Bench;
use crate::daemon::{Daemon, golden};

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
    let daemon = Daemon::start(&bench, "--linger 1");
    let mut first = daemon.connect("golden+fork=job");
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
    let mut fresh = daemon.connect("golden+fork=job");
    fresh.read(&mut byte, 8192).unwrap();
    assert_eq!(byte, [0]);
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
fn a_second_writing_client_is_refused_and_what_it_would_pull_away_stays() {
    let bench = golden();
    bench.succeeds("tine fork golden web1 && tine snapshot web1@clean");
    let daemon = Daemon::start(&bench, "");
    let mut client = daemon.connect("web1");
    let _again = daemon.connect("web1");
    client.write(&[1; 4096], 0).unwrap();
    let other = bench.run(&format!(
        "tine attach web1 -- true; nbdinfo --size '{}'",
        daemon.uri("web1")
    ));
    if crate::common::tool("nbdinfo").is_some() {
        assert!(!other.status.success(), "it is another process's");
    }
    for line in [
        "tine rollback web1@clean --yes",
        "tine drop web1 --yes",
        "tine resize web1 16M --yes",
    ] {
        let refused = bench.run(line);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{line}: {said}");
        assert!(
            said.contains(&format!("process {}", std::process::id())) && said.contains("--force"),
            "{said}"
        );
    }
    bench.succeeds("tine resize web1 48M && tine rollback web1@clean --yes --force");
    let mut byte = [9];
    client.read(&mut byte, 0).unwrap();
    assert_eq!(byte, [0]);
    bench.succeeds("tine drop web1 --yes --force");
    let gone = client.read(&mut byte, 0).unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(108), "it is shutting down");
    drop(daemon);
    // Where the store is served to shared ones, both may.
    if crate::common::tool("qemu-io").is_some() {
        let daemon = Daemon::start(&bench, "--shared");
        let _first = daemon.connect("golden");
        bench.succeeds(&format!(
            "qemu-io -f raw -c 'write -P 1 0 4k' '{}'",
            daemon.uri("golden")
        ));
    }
}
