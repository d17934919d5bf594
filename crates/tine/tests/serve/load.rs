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
    thread::scope(|scope| {
        for worker in 0..10 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut random = Random((seed + worker).wrapping_mul(0x9e37_79b9) | 1);
                for _ in 0..100 {
                    let export = exports[random.below(exports.len() as u64) as usize];
                    let Ok(mut client) = Client::connect(&daemon.socket, export) else {
                        assert!(["nosuch", ""].contains(&export), "{export}");
                        continue;
                    };
                    for _ in 0..random.below(20) {
                        let (block, writes) = (random.below(8000), random.below(2) == 0);
                        let length = (1 + random.below(16) as u32) * 512;
                        let sent = if writes && export.contains("+fork") {
                            client.send(WRITE, block * 4096, length, &vec![1; length as usize])
                        } else {
                            client.send(READ, block * 4096, length, &[])
                        };
                        sent.unwrap();
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
}

/// What a connection wrote last to each block of its own part of a disk.
struct Part {
    first: u64,
    written: Vec<u8>,
    random: Random,
}

const PART_BLOCKS: u64 = 32;

impl Part {
    /// One random request, verified if it is a read.
    fn step(&mut self, client: &mut Client) {
        let block = self.random.below(PART_BLOCKS);
        let offset = (self.first + block) * BLOCK as u64;
        match self.random.below(20) {
            0 => client.flush().unwrap(),
            1..10 => {
                let byte = 1 + self.random.below(255) as u8;
                client.write(&[byte; BLOCK], offset).unwrap();
                self.written[block as usize] = byte;
            }
            _ => {
                let mut bytes = [0; BLOCK];
                client.read(&mut bytes, offset).unwrap();
                let expected = self.written[block as usize];
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
    let size = CONNECTIONS / DISKS * PART_BLOCKS * BLOCK as u64;
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
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (daemon, requests, failed) = (&daemon, &requests, &failed);
            scope.spawn(move || {
                // If one fails, the others need not go on.
                struct Tell<'a>(&'a AtomicBool);
                impl Drop for Tell<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_or(thread::panicking(), Ordering::Relaxed);
                    }
                }
                let _tell = Tell(failed);
                let mut part = Part {
                    first: connection / DISKS * PART_BLOCKS,
                    written: vec![0; PART_BLOCKS as usize],
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
                bench.succeeds(&format!(
                    "tine snapshot disk{disk}@s disk{other}@s && tine fork disk{disk}@s fork && tine drop fork --yes \
                     && tine drop disk{disk}@s disk{other}@s --yes"
                ));
                let mut fork = daemon.connect(&format!("disk{disk}+fork"));
                fork.write(&[1; 1 << 16], 0).unwrap();
                fork.leave().unwrap();
                round += 1;
            }
            rounds.store(round, Ordering::Relaxed);
        });
    });
    daemon.stop();
    let checked = bench.succeeds("tine check --data");
    println!(
        "done: {} requests of {CONNECTIONS} connections, {} rounds of forks, snapshots and drops; {checked}",
        requests.into_inner(),
        rounds.into_inner()
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
    println!("1000 forks attached and read: {} KiB each", grown / 1000 / 1024);
    assert!(grown <= 64 << 20, "{} MiB", grown >> 20);
}
