//! Many clients at once, at random moments, for as long as TINE_SECONDS says: 2, or a minute where TINE_KILLS says that it is
//! torture.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, READ, WRITE};
use crate::daemon::{Daemon, Random, golden, noise, setting};

const BLOCK: usize = 4096;

#[test]
fn a_thousand_connects_requests_and_disconnects_at_random_moments() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let seed = setting("TINE_SEED", u64::from(std::process::id()));
    println!("TINE_SEED={seed}");
    let exports = [
        "golden",
        "golden@v1",
        "golden+fork",
        "golden+fork=a",
        "golden+fork=b",
        "nosuch",
        "",
    ];
    let (connected, requests) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for worker in 0..10 {
            let (daemon, connected, requests) = (&daemon, &connected, &requests);
            scope.spawn(move || {
                let mut random = Random((seed + worker).wrapping_mul(0x9e37_79b9) | 1);
                for _ in 0..100 {
                    let export = exports[random.below(exports.len() as u64) as usize];
                    let Ok(mut client) = Client::connect(&daemon.socket, export) else {
                        assert!(["nosuch", ""].contains(&export), "{export}");
                        continue;
                    };
                    connected.fetch_add(1, Ordering::Relaxed);
                    for _ in 0..random.below(20) {
                        let (block, writes) = (random.below(8000), random.below(2) == 0);
                        let length = (1 + random.below(16) as u32) * 512;
                        let sent = if writes && export.contains("+fork") {
                            client.send(WRITE, block * 4096, length, &vec![1; length as usize])
                        } else {
                            client.send(READ, block * 4096, length, &[])
                        };
                        sent.unwrap();
                        requests.fetch_add(1, Ordering::Relaxed);
                    }
                    // Some take leave, most hang up with their replies on the way.
                    if random.below(4) == 0 {
                        let _ = client.leave();
                    }
                }
            });
        }
    });
    let mut client = daemon.connect("golden");
    let mut bytes = vec![0; 1 << 20];
    client.read(&mut bytes, 4 << 20).unwrap();
    assert!(bytes == noise(1, 1 << 20));
    client.leave().unwrap();
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
            .unwrap()
            .count()
    };
    daemon.wait_until("all connections are gone", || descriptors() < 100);
    daemon.stop();
    bench.succeeds("tine diff golden golden@v1 --exit-code && tine check --data");
    println!(
        "done: 1000 connects, {} of them let in, {} requests, and disconnects",
        connected.into_inner(),
        requests.into_inner()
    );
}

/// What is known of a block while somebody writes to it: how often that began and ended, and the byte that it is full of.
#[derive(Default)]
struct Known(AtomicU64);

impl Known {
    fn begin(&self) {
        // Odd while a write is under way.
        self.0.fetch_add(1 << 8, Ordering::SeqCst);
    }

    fn end(&self, byte: u8) {
        let begun = self.0.load(Ordering::SeqCst) >> 8;
        self.0
            .store(((begun + 1) << 8) | u64::from(byte), Ordering::SeqCst);
    }

    fn look(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns what is known of each block of a disk.
fn look(known: &[Known]) -> Vec<u64> {
    known.iter().map(Known::look).collect()
}

/// Makes sure that a disk is one that was made between two looks: each block that nobody touched meanwhile is what it was, and
/// others are what was there once, whole. Returns how many nobody touched.
fn compare(disk: &mut Client, before: &[u64], after: &[u64]) -> u64 {
    let mut bytes = vec![0; before.len() * BLOCK];
    for (at, chunk) in bytes.chunks_mut(1 << 20).enumerate() {
        disk.read(chunk, (at as u64) << 20).unwrap();
    }
    let mut untouched = 0;
    for (block, bytes) in bytes.chunks(BLOCK).enumerate() {
        let is_still = before[block] == after[block] && (before[block] >> 8) & 1 == 0;
        let expected = if is_still { before[block] as u8 } else { bytes[0] };
        assert!(
            bytes.iter().all(|&byte| byte == expected),
            "block {block}, untouched: {is_still}"
        );
        untouched += u64::from(is_still);
    }
    untouched
}

/// A connection's own part of a disk.
struct Part<'a> {
    first: u64,
    known: &'a [Known],
    random: Random,
}

const PART_BLOCKS: u64 = 32;

impl Part<'_> {
    /// One random request, verified if it is a read.
    fn step(&mut self, client: &mut Client) {
        let block = self.random.below(PART_BLOCKS);
        let offset = (self.first + block) * BLOCK as u64;
        let known = &self.known[block as usize];
        match self.random.below(20) {
            0 => client.flush().unwrap(),
            1..10 => {
                let byte = 1 + self.random.below(255) as u8;
                known.begin();
                client.write(&[byte; BLOCK], offset).unwrap();
                known.end(byte);
            }
            _ => {
                let mut bytes = [0; BLOCK];
                client.read(&mut bytes, offset).unwrap();
                let expected = known.look() as u8;
                assert!(
                    bytes.iter().all(|&byte| byte == expected),
                    "block {block} of {}",
                    self.first
                );
            }
        }
    }
}

#[test]
fn two_hundred_and_fifty_six_connections_verify_while_disks_are_forked_and_dropped() {
    const DISKS: u64 = 4;
    const CONNECTIONS: u64 = 256;
    let bench = golden();
    let blocks = CONNECTIONS / DISKS * PART_BLOCKS;
    let size = blocks * BLOCK as u64;
    let known: Vec<Vec<Known>> = (0..DISKS)
        .map(|_| (0..blocks).map(|_| Known::default()).collect())
        .collect();
    for disk in 0..DISKS {
        bench.succeeds(&format!("tine create disk{disk} {size}"));
    }
    let daemon = Daemon::start(&bench, "");
    let usual = if std::env::var_os("TINE_KILLS").is_some() {
        60
    } else {
        2
    };
    let end = Instant::now() + Duration::from_secs(setting("TINE_SECONDS", usual));
    let seed = setting("TINE_SEED", u64::from(std::process::id()));
    println!("TINE_SEED={seed}");
    let (requests, rounds, failed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let (compared, longest) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (daemon, requests, failed, known) = (&daemon, &requests, &failed, &known);
            scope.spawn(move || {
                // If one fails, the others need not go on.
                struct Tell<'a>(&'a AtomicBool);
                impl Drop for Tell<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
                    }
                }
                let _tell = Tell(failed);
                let first = connection / DISKS * PART_BLOCKS;
                let mut part = Part {
                    first,
                    known: &known[(connection % DISKS) as usize][first as usize..],
                    random: Random((seed + connection).wrapping_mul(0x9e37_79b9) | 1),
                };
                let mut client = daemon.connect(&format!("disk{}", connection % DISKS));
                let mut done = 0;
                while Instant::now() < end && !failed.load(Ordering::Relaxed) {
                    part.step(&mut client);
                    done += 1;
                }
                client.leave().unwrap();
                requests.fetch_add(done, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let mut round = 0;
            while Instant::now() < end && !failed.load(Ordering::Relaxed) {
                let (disk, other) = (round % DISKS, (round + 1) % DISKS);
                let mut same = 0;
                // Of each kind: what is seen must be of the moment at which it was made.
                let looks = [disk, other].map(|disk| look(&known[disk as usize]));
                bench.succeeds(&format!("tine snapshot disk{disk}@s disk{other}@s"));
                for (disk, before) in [disk, other].into_iter().zip(looks) {
                    let after = look(&known[disk as usize]);
                    let mut snapshot = daemon.connect(&format!("disk{disk}@s"));
                    same += compare(&mut snapshot, &before, &after);
                    snapshot.leave().unwrap();
                }
                let before = look(&known[disk as usize]);
                bench.succeeds(&format!("tine fork disk{disk} fork"));
                let after = look(&known[disk as usize]);
                let mut fork = daemon.connect("fork");
                same += compare(&mut fork, &before, &after);
                fork.leave().unwrap();
                bench.succeeds(&format!(
                    "tine drop fork --yes && tine drop disk{disk}@s disk{other}@s --yes"
                ));
                let before = look(&known[disk as usize]);
                let begun = Instant::now();
                let fork = Client::connect(&daemon.socket, &format!("disk{disk}+fork"));
                let took = begun.elapsed();
                let mut fork = fork.unwrap_or_else(|error| panic!("after {took:?}: {error}"));
                longest.fetch_max(took.as_millis() as u64, Ordering::Relaxed);
                same += compare(&mut fork, &before, &look(&known[disk as usize]));
                fork.write(&[1; 1 << 16], 0).unwrap();
                fork.leave().unwrap();
                compared.fetch_add(same, Ordering::Relaxed);
                round += 1;
            }
            rounds.store(round, Ordering::Relaxed);
        });
    });
    daemon.stop();
    let checked = bench.succeeds("tine check --data");
    let compared = compared.into_inner();
    assert!(compared > 0);
    println!(
        "done: {} requests of {CONNECTIONS} connections, {} rounds of forks, snapshots and drops, {compared} blocks of them \
         compared, a fork was attached in {} ms at the most; {checked}",
        requests.into_inner(),
        rounds.into_inner(),
        longest.into_inner()
    );
}

#[test]
fn a_thousand_attached_forks_cost_little_memory() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    // What the first one needs, all need.
    let _first = daemon.connect("golden+fork");
    let before = daemon.memory();
    let mut forks: Vec<Client> = (0..1000).map(|_| daemon.connect("golden+fork")).collect();
    let mut bytes = [0; BLOCK];
    for fork in &mut forks {
        fork.read(&mut bytes, 4 << 20).unwrap();
    }
    let grown = daemon.memory().saturating_sub(before);
    println!(
        "done: 1000 forks attached and read, {} KiB each",
        grown / 1000 / 1024
    );
    assert!(grown <= 64 << 20, "{} MiB", grown >> 20);
}
