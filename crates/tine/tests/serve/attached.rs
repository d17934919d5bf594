//! One client at a time writes to a disk, and nobody pulls a disk out from under its clients unless they are told to.

use std::io::Write as _;
use std::process::Stdio;

use crate::client::Client;
use crate::daemon::{Daemon, golden};

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

#[test]
fn a_command_that_writes_is_a_client_as_any_other() {
    let bench = golden();
    bench.succeeds("tine fork golden web1");
    let daemon = Daemon::start(&bench, "");
    let client = daemon.connect("web1");
    let refused = bench.run("printf x | tine write web1");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("`web1` is attached by process {}", std::process::id()))
            && said.contains("--force"),
        "{said}"
    );
    assert_eq!(bench.succeeds("tine diff web1 golden"), "");
    bench.succeeds("printf x | tine write web1 --force");
    assert_eq!(bench.succeeds("tine read web1 --length 1"), "x");
    // Who can only read is in nobody's way.
    drop(client);
    bench.succeeds("tine protect web1");
    let _reading = daemon.connect("web1");
    bench.succeeds("printf y | tine write web1");
    bench.succeeds("tine unprotect web1");

    bench.succeeds("tine fork golden web2");
    let mut writing = bench
        .command("exec tine write web2")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = writing.stdin.take().unwrap();
    // Less than what is written at once does not begin it.
    stdin.write_all(&vec![7; 2 << 20]).unwrap();
    let attached = || bench.succeeds("tine stats").contains("web2");
    daemon.wait_until("it is a client", attached);
    let refused = Client::connect(&daemon.socket, "web2").err().unwrap().to_string();
    assert!(
        refused.contains(&format!("process {} (`tine`)", writing.id())),
        "{refused}"
    );
    let refused = bench.run("tine drop web2 --yes");
    assert_eq!(refused.status.code(), Some(2));
    drop(stdin);
    assert!(writing.wait().unwrap().success());
    daemon.connect("web2");
    daemon.stop();
}

#[test]
fn a_disk_that_was_renamed_is_refused_and_listed_by_its_name_now() {
    let bench = golden();
    bench.succeeds("tine fork golden web1");
    let daemon = Daemon::start(&bench, "");
    let _client = daemon.connect("web1");
    bench.succeeds("tine rename web1 shop && tine fork golden web1");
    for line in [
        "tine drop shop --yes",
        "tine resize shop 16M --yes",
        "tine protect shop",
    ] {
        let refused = bench.run(line);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{line}: {said}");
        assert!(said.contains("`shop`") && !said.contains("`web1`"), "{said}");
    }
    let listed = bench.succeeds("tine stats");
    assert!(listed.contains("web1 (now shop)"), "{listed}");
    bench.succeeds("tine drop web1 --yes");
    daemon.stop();
}

#[test]
#[cfg(target_env = "gnu")]
fn memory_that_clients_took_goes_back_when_they_have_left() {
    const READ: u16 = 0;
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let status = format!("/proc/{}/status", daemon.pid());
    let taken = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    let at_first = taken();
    let mut clients: Vec<_> = (0..50).map(|_| daemon.connect("golden+fork")).collect();
    for client in &mut clients {
        // They never take the replies.
        for _ in 0..40 {
            client.send(READ, 0, 256 << 10, &[]).unwrap();
        }
    }
    daemon.wait_until("they hold much", || taken() > at_first + (128 << 20));
    drop(clients);
    let left = std::time::Instant::now();
    while taken() > at_first + (24 << 20) {
        assert!(left.elapsed().as_secs() < 60, "{} bytes are held still", taken());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    daemon.stop();
}
