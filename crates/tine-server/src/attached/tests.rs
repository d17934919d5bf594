//! Who may be attached beside whom.

use std::thread;

use super::*;

const DISK: DiskKey = DiskKey {
    branch: 7,
    snapshot: None,
};

fn client(pid: u32) -> Peer {
    Peer::Process { pid, uid: 0, gid: 0 }
}

/// A process that lives as long as the tests.
fn alive() -> u32 {
    std::process::id()
}

#[test]
fn connections_of_one_process_are_one_client() {
    let attached = Arc::new(Attached::new(false));
    let first = attached.attach(DISK, "web", Access::Write, &client(alive()));
    let second = attached.attach(DISK, "web", Access::Write, &client(alive()));
    assert!(first.is_ok() && second.is_ok());
    let clients = attached.clients();
    assert_eq!((clients.len(), clients[0].1.connections), (1, 2));
    drop((first, second));
    assert!(attached.clients().is_empty());
}

#[test]
fn a_second_writing_client_is_refused_by_name_and_readers_are_not() {
    let attached = Arc::new(Attached::new(false));
    let _first = attached.attach(DISK, "web", Access::Write, &client(alive()));
    let other = client(1);
    let refused = attached.attach(DISK, "web", Access::Write, &other).err();
    let refused = refused.expect("a refusal");
    assert_eq!(refused.kind, RefusalKind::Policy);
    assert!(refused.message.contains(&alive().to_string()), "{refused}");
    assert!(attached.attach(DISK, "web", Access::Read, &other).is_ok());
    let snapshot = DiskKey {
        snapshot: Some("clean".parse().expect("a name")),
        ..DISK
    };
    assert!(
        attached
            .attach(snapshot, "web@clean", Access::Write, &other)
            .is_ok()
    );
    // Where the store is served to shared ones, it may.
    let attached = Arc::new(Attached::new(true));
    let both = [client(alive()), other].map(|client| attached.attach(DISK, "web", Access::Write, &client));
    assert!(both.iter().all(Result::is_ok));
}

#[test]
fn a_jobs_fork_is_shared_by_those_who_name_the_job_and_by_nobody_else() {
    let attached = Arc::new(Attached::new(false));
    let named = [client(alive()), client(1)];
    let named = named.map(|client| attached.attach(DISK, "golden+fork=j", Access::WriteShared, &client));
    assert!(named.iter().all(Result::is_ok));
    // It was kept, and somebody asks for the branch that it is now.
    assert!(attached.attach(DISK, "kept", Access::Write, &client(2)).is_err());
}

#[test]
fn who_comes_right_after_another_waits_for_it() {
    // More than once: a machine may stop a thread for longer than anybody waits.
    let waits = || {
        let attached = Arc::new(Attached::new(false));
        let first = attached.attach(DISK, "web", Access::Write, &client(alive()));
        let leaving = thread::spawn(move || {
            thread::sleep(LEAVING / 5);
            drop(first);
        });
        let second = attached.attach(DISK, "web", Access::Write, &client(1));
        leaving.join().expect("leaving");
        second.is_ok()
    };
    assert!((0..10).any(|_| waits()));
}

#[test]
fn a_claim_is_refused_under_a_client_and_keeps_new_ones_away() {
    let attached = Arc::new(Attached::new(false));
    let first = attached.attach(DISK, "web", Access::Read, &client(alive()));
    let refused = attached
        .claim(vec![(DISK, "web".to_owned())], ("dropping", Under::All), false)
        .expect_err("a refusal");
    assert_eq!(refused.kind, Kind::Attached);
    assert!(refused.message.contains("`web`") && refused.hint.expect("a hint").contains("--force"));
    drop(
        attached
            .claim(vec![(DISK, "web".to_owned())], ("dropping", Under::All), true)
            .expect("forced"),
    );
    drop(first);
    let claim = attached
        .claim(vec![(DISK, "web".to_owned())], ("dropping", Under::All), false)
        .expect("nobody is attached");
    thread::scope(|scope| {
        let coming = scope.spawn(|| attached.attach(DISK, "web", Access::Write, &client(alive())));
        thread::sleep(LEAVING / 4);
        assert!(attached.clients().is_empty(), "it waits");
        drop(claim);
        assert!(coming.join().expect("attaching").is_ok());
    });
}
