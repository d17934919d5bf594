//! Goal: what clients are shown and given is what the engine has, and looking makes nothing.
//! Method: the exports of a real store, asked as the protocol's server asks them.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tine_nbd::{
    BASE_ALLOCATION, Client, Errno, Export, Exports as _, Peer, RefusalKind, STATE_HOLE, STATE_ZERO, Zeroing,
};
use tine_store::{BranchName, CreateOptions, OpenOptions, Store, Target};

use super::Disks;
use crate::attached::Under;
use crate::{Daemon, Policy};

const BLOCK: usize = 4096;
const SIZE: u64 = 1 << 20;

/// A store with a disk `golden` and its snapshot `v1`, served.
struct Served {
    daemon: Arc<Daemon>,
    disks: Disks,
    _folder: TempDir,
}

fn name(name: &str) -> BranchName {
    name.parse().expect("a name")
}

fn served(linger: Duration) -> Served {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::create(
        &folder.path().join("store"),
        &CreateOptions::default(),
        OpenOptions::default(),
    )
    .expect("a store");
    let golden = store.create_branch(&name("golden"), SIZE).expect("a branch");
    golden.write_at(&[1; 4 * BLOCK], 0).expect("a write");
    golden
        .write_zeroes(8 * BLOCK as u64, BLOCK as u64)
        .expect("zeroes");
    store
        .snapshot(&[(name("golden"), "v1".parse().expect("a name"))])
        .expect("a snapshot");
    let policy = Policy {
        shared: false,
        linger,
    };
    let daemon = Arc::new(Daemon::with_policy(store, policy));
    let disks = Disks::new(Arc::clone(&daemon), None);
    Served {
        daemon,
        disks,
        _folder: folder,
    }
}

fn client(connection: u64, pid: u32) -> Client {
    Client {
        connection,
        peer: Peer::Process { pid, uid: 0, gid: 0 },
    }
}

/// This process, which is alive.
fn me(connection: u64) -> Client {
    client(connection, std::process::id())
}

impl Served {
    fn open(&self, export: &str, connection: u64) -> Arc<dyn Export> {
        self.disks.open(export, &me(connection)).expect("an export")
    }

    fn branches(&self) -> usize {
        self.daemon.store().branches().expect("branches").len()
    }

    /// All heads and points, also of forks without a name.
    fn stretches(&self) -> u64 {
        self.daemon.store().stats().expect("statistics").points
    }

    /// How many there are without a fork, golden's newest point among them: the next fork of golden adds its own alone.
    fn stretches_without_forks(&self) -> u64 {
        let fork = self.open("golden+fork", 99);
        let with_one = self.stretches();
        drop(fork);
        self.wait_until_there_are(with_one - 1);
        with_one - 1
    }

    fn wait_until_there_are(&self, stretches: u64) {
        let begun = Instant::now();
        while self.stretches() != stretches {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{} stretches, not {stretches}",
                self.stretches()
            );
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn extents(export: &Arc<dyn Export>, context: &str, range: Range<u64>) -> Vec<(u64, u64)> {
    let mut extents: Vec<(u64, u64)> = Vec::new();
    export
        .extents(context, range, &mut |extent| {
            match extents.last_mut() {
                Some((length, flags)) if *flags == extent.flags => *length += extent.length,
                _ => extents.push((extent.length, extent.flags)),
            }
            ControlFlow::Continue(())
        })
        .expect("extents");
    extents
}

#[test]
fn every_branch_and_snapshot_is_listed_and_forks_at_once() {
    let served = served(Duration::ZERO);
    let names = || -> Vec<String> {
        let listing = served.disks.list(&me(1)).expect("a listing");
        assert!(listing.iter().all(|line| line.description.contains("1.0 MiB")));
        listing.into_iter().map(|line| line.name).collect()
    };
    assert_eq!(names(), ["golden", "golden@v1"]);
    let golden: Target = "golden".parse().expect("a target");
    served
        .daemon
        .store()
        .fork(&golden, &name("web1"))
        .expect("a fork");
    assert_eq!(names(), ["golden", "golden@v1", "web1"]);
}

#[test]
fn looking_at_a_fork_makes_none_and_opening_it_makes_one() {
    let served = served(Duration::ZERO);
    let before = served.stretches_without_forks();
    for export in ["golden+fork", "golden@v1+fork", "golden+fork=job"] {
        let info = served.disks.info(export, &me(1)).expect("its description");
        assert_eq!((info.size, info.name.as_str()), (SIZE, export));
        assert!(!info.features.read_only);
        assert_eq!(info.features.multi_conn, export.contains('='));
        let contexts = served.disks.contexts(export, &me(1)).expect("its contexts");
        assert_eq!(contexts, [BASE_ALLOCATION, "tine:changed:golden@v1"]);
    }
    assert_eq!(served.stretches(), before);
    let fork = served.open("golden+fork", 1);
    assert_eq!(served.stretches(), before + 1);
    assert_eq!(served.branches(), 1, "it has no name");
    fork.write(&[9; BLOCK], 0).expect("a write");
    fork.flush().expect("a flush");
    assert_eq!(
        extents(&fork, "tine:changed:golden@v1", 0..SIZE)[0],
        (BLOCK as u64, 1)
    );
    let mut byte = [0];
    served.open("golden", 2).read(&mut byte, 0).expect("a read");
    assert_eq!(byte, [1]);
    drop(fork);
    served.wait_until_there_are(before);
}

#[test]
fn a_job_has_one_fork_however_many_ask_for_it_at_once_and_of_one_source() {
    let served = served(Duration::from_secs(3600));
    let forks: Vec<_> = thread::scope(|scope| {
        let opening: Vec<_> = (1..=8)
            .map(|connection| {
                let served = &served;
                // Different processes, too.
                scope.spawn(move || {
                    served
                        .disks
                        .open("golden+fork=job", &client(connection, connection as u32))
                })
            })
            .collect();
        opening
            .into_iter()
            .map(|fork| fork.join().expect("a thread").expect("a fork"))
            .collect()
    });
    forks[0].write(&[7; BLOCK], 0).expect("a write");
    let mut byte = [0];
    forks[7].read(&mut byte, 0).expect("a read");
    assert_eq!(byte, [7]);
    let refused = served
        .disks
        .open("golden@v1+fork=job", &me(9))
        .err()
        .expect("a refusal");
    assert_eq!(refused.kind, RefusalKind::Invalid);
    drop(forks);
    // Who comes back finds its writes.
    let again = served.open("golden+fork=job", 10);
    again.read(&mut byte, 0).expect("a read");
    assert_eq!(byte, [7]);
}

#[test]
fn a_jobs_fork_is_dropped_a_while_after_its_last_connection() {
    let served = served(Duration::from_secs(1));
    let before = served.stretches_without_forks();
    thread::scope(|scope| {
        scope.spawn(|| served.daemon.jobs().sweep(served.daemon.store()));
        drop(served.open("golden+fork=job", 1));
        let jobs = served.daemon.throwaways();
        assert_eq!((jobs.len(), jobs[0].connections), (1, 0));
        served.wait_until_there_are(before);
        assert!(served.daemon.throwaways().is_empty());
        // Without waiting, if it is to be forgotten.
        let used = served.open("golden+fork=other", 2);
        served.daemon.end_job(&name("other")).expect("ending it");
        used.write(&[1; BLOCK], 0)
            .expect("it goes on while somebody has it");
        served.daemon.jobs().stop();
    });
}

#[test]
fn what_is_kept_is_the_branch_that_its_clients_go_on_with() {
    let served = served(Duration::ZERO);
    let fork = served.open("golden+fork=job", 1);
    fork.write(&[5; BLOCK], 0).expect("a write");
    let unknown = served.daemon.keep(&name("nobody"), &name("kept"));
    assert!(unknown.is_err());
    assert_eq!(
        served
            .daemon
            .keep(&name("job"), &name("kept"))
            .expect("keeping it"),
        SIZE
    );
    fork.write(&[6; BLOCK], BLOCK as u64).expect("a write");
    fork.flush().expect("a flush");
    drop(fork);
    let mut bytes = [0; 2];
    let kept = served.open("kept", 2);
    kept.read(&mut bytes[..1], 0).expect("a read");
    kept.read(&mut bytes[1..], BLOCK as u64).expect("a read");
    assert_eq!(bytes, [5, 6]);
}

#[test]
fn a_job_whose_fork_was_kept_has_that_branch_as_it_is_by_now() {
    let served = served(Duration::from_secs(3600));
    drop(served.open("golden+fork=job", 1));
    served
        .daemon
        .keep(&name("job"), &name("kept"))
        .expect("keeping it");
    served
        .daemon
        .protect(&name("kept"), true, false)
        .expect("protecting it");
    let reading = served.open("golden+fork=job", 2);
    assert!(reading.features().read_only);
    assert_eq!(
        reading.write(&[1], 0).expect_err("a refusal").errno,
        Errno::NotPermitted
    );
    drop(reading);
    served
        .daemon
        .store()
        .drop_branches(&[name("kept")])
        .expect("dropping it");
    let fresh = served.open("golden+fork=job", 3);
    fresh.write(&[1], 0).expect("another fork");
}

#[test]
fn several_connections_are_offered_to_whom_they_are_granted() {
    let served = served(Duration::ZERO);
    let by_tcp = Client {
        connection: 1,
        peer: Peer::Address("127.0.0.1:9".parse().expect("an address")),
    };
    let offered = |export: &str, client: &Client| {
        served
            .disks
            .info(export, client)
            .expect("its description")
            .features
            .multi_conn
    };
    assert!(offered("golden", &me(2)) && !offered("golden", &by_tcp));
    assert!(offered("golden@v1", &by_tcp) && offered("golden+fork=job", &by_tcp));
    assert!(
        !served
            .disks
            .open("golden", &by_tcp)
            .expect("an export")
            .features()
            .multi_conn
    );
}

#[test]
fn what_is_read_only_says_so_and_stays_as_it_is() {
    let served = served(Duration::ZERO);
    let snapshot = served.open("golden@v1", 1);
    assert!(snapshot.features().read_only && snapshot.features().multi_conn);
    assert_eq!(
        snapshot.write(&[2], 0).expect_err("a refusal").errno,
        Errno::NotPermitted
    );
    // A protected branch is to who comes, and, by force, to who is there.
    let golden = served.open("golden", 2);
    assert!(served.daemon.protect(&name("golden"), true, false).is_err());
    golden.write(&[3], 0).expect("a write");
    served
        .daemon
        .protect(&name("golden"), true, true)
        .expect("protecting it");
    assert_eq!(
        golden.write(&[4], 0).expect_err("a refusal").errno,
        Errno::NotPermitted
    );
    let reading = served.open("golden", 3);
    assert!(reading.features().read_only);
    drop(reading);
    served
        .open("golden+fork", 4)
        .write(&[4], 0)
        .expect("a fork of it can be written");
    served
        .daemon
        .protect(&name("golden"), false, false)
        .expect("no more");
    assert!(!served.open("golden", 5).features().read_only);
}

#[test]
fn a_disk_that_is_dropped_by_force_is_shutting_down() {
    let served = served(Duration::ZERO);
    let golden: Target = "golden".parse().expect("a target");
    served
        .daemon
        .store()
        .fork(&golden, &name("web1"))
        .expect("a fork");
    let web = served.open("web1", 1);
    let web1: Target = "web1".parse().expect("a target");
    let alone = served.daemon.alone(std::iter::once(web1.branch()));
    let alone = alone.expect("nobody else has it");
    let claim = |force| alone.claim(std::slice::from_ref(&web1), ("dropping", Under::All), force);
    assert!(claim(false).is_err());
    let claim = claim(true).expect("by force");
    served
        .daemon
        .store()
        .drop_branches(&[name("web1")])
        .expect("dropping it");
    drop(claim);
    let mut byte = [0];
    assert_eq!(
        web.read(&mut byte, 0).expect_err("a refusal").errno,
        Errno::ShuttingDown
    );
    assert_eq!(
        web.write(&[1], 0).expect_err("a refusal").errno,
        Errno::ShuttingDown
    );
    assert_eq!(
        served.disks.open("web1", &me(2)).err().expect("a refusal").kind,
        RefusalKind::Unknown
    );
}

#[test]
fn extents_tell_data_from_zeroes_and_holes_and_what_changed() {
    let served = served(Duration::ZERO);
    let golden = served.open("golden", 1);
    let block = BLOCK as u64;
    assert_eq!(
        extents(&golden, BASE_ALLOCATION, 0..10 * block),
        [
            (4 * block, 0),
            (4 * block, STATE_HOLE | STATE_ZERO),
            (block, STATE_ZERO),
            (block, STATE_HOLE | STATE_ZERO),
        ]
    );
    golden.write(&[1; BLOCK], 0).expect("the same again");
    golden.write(&[2; BLOCK], 2 * block).expect("a write");
    golden.trim(3 * block..4 * block).expect("a trim");
    let changed = [(2 * block, 0), (2 * block, 1), (SIZE - 4 * block, 0)];
    assert_eq!(extents(&golden, "tine:changed:v1", 0..SIZE), changed);
    assert_eq!(
        extents(&golden, "tine:changed:v1", block + 7..3 * block),
        [(block - 7, 0), (block, 1)]
    );
    let gone = golden.extents("tine:changed:v2", 0..block, &mut |_| ControlFlow::Continue(()));
    assert_eq!(gone.expect_err("a refusal").errno, Errno::Invalid);
}

#[test]
fn zeroes_are_fast_in_whole_blocks_and_a_trim_takes_no_part_of_one() {
    let served = served(Duration::ZERO);
    let golden = served.open("golden", 1);
    let block = BLOCK as u64;
    let fast = Zeroing {
        no_hole: false,
        fast: true,
    };
    let slow = golden.write_zeroes(1..block, fast).expect_err("a refusal");
    assert_eq!(slow.errno, Errno::NotSupported);
    golden.write_zeroes(1..2 * block + 1, fast).expect("zeroes");
    golden.trim(3 * block + 1..4 * block).expect("a trim of a part");
    let mut bytes = vec![0; 4 * BLOCK];
    golden.read(&mut bytes, 0).expect("a read");
    let ones: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == 1).collect();
    assert_eq!(ones.len(), 1 + 2 * BLOCK - 1);
    assert_eq!((ones[0], ones[1]), (0, 2 * BLOCK + 1));
    let kept = Zeroing {
        no_hole: true,
        fast: false,
    };
    golden.write_zeroes(0..block, kept).expect("zeroes");
    assert_eq!(extents(&golden, BASE_ALLOCATION, 0..block), [(block, STATE_ZERO)]);
}

#[test]
fn names_that_are_none_are_refused() {
    let served = served(Duration::ZERO);
    for (export, kind) in [
        ("", RefusalKind::Unknown),
        ("web9", RefusalKind::Unknown),
        ("golden@v9", RefusalKind::Unknown),
        ("web9+fork", RefusalKind::Unknown),
        ("golden?fork", RefusalKind::Invalid),
        ("golden+fork=a/b", RefusalKind::Invalid),
        ("../store", RefusalKind::Invalid),
    ] {
        let refused = served.disks.open(export, &me(1)).err().expect("a refusal");
        assert_eq!(refused.kind, kind, "{export:?}: {refused}");
        assert!(served.disks.info(export, &me(1)).is_err(), "{export:?}");
    }
}

#[test]
fn large_reads_are_told_of_holes_and_read_what_lies_between() {
    const LONG: usize = 64 << 10;
    let served = served(Duration::ZERO);
    let fork = served.open("golden+fork", 1);
    let data = [3; 2 * BLOCK];
    // Two long holes, and one that is read with what surrounds it.
    let written = [4 * LONG, 4 * LONG + 3 * BLOCK, SIZE as usize - 100];
    for at in written {
        let length = data.len().min(SIZE as usize - at);
        fork.write(&data[..length], at as u64).expect("a write");
    }
    let mut expected = vec![0; SIZE as usize];
    fork.read(&mut expected, 0).expect("a read");
    for (begin, length, count) in [(0, SIZE as usize, 2), (5, 6 * LONG, 2), (5 * LONG, LONG + 1, 1)] {
        let (mut bytes, mut holes) = (vec![9; length], Vec::new());
        fork.read_sparse(&mut bytes, begin as u64, &mut |hole| holes.push(hole))
            .expect("a read");
        assert!(holes.iter().all(|hole| hole.len() >= LONG), "{holes:?}");
        assert!(holes.is_sorted_by(|a, b| a.end < b.start), "{holes:?}");
        assert_eq!(holes.len(), count, "{holes:?}");
        for hole in holes {
            assert!(
                bytes[hole.clone()].iter().all(|byte| *byte == 9),
                "left as it was"
            );
            bytes[hole].fill(0);
        }
        assert_eq!(bytes, expected[begin..begin + length]);
    }
    let mut told = false;
    let snapshot = served.open("golden@v1", 2);
    snapshot
        .read_sparse(&mut vec![0; SIZE as usize], 0, &mut |_| told = true)
        .expect("a read");
    assert!(told);
}
