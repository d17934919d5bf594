//! Goal: kill -9 of the daemon in the midst of its work loses nothing that was flushed, on any disk.
//! Method: connections write numbered blocks and flush; the daemon is killed at a random moment and started again, they
//! reconnect, and every block must show a write that is no older than the last one flushed and was really made.
//! TINE_KILLS rounds (3), for at most TINE_SECONDS, from the seed TINE_SEED.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::daemon::{Daemon, Random, golden, noise, setting};

const DISKS: usize = 8;
const BLOCKS: u64 = 256;
const BLOCK: usize = 4096;

/// What one disk may show: for each block the last write that was flushed and the last that was begun.
struct Disk {
    name: String,
    durable: Vec<u64>,
    begun: Vec<u64>,
    next: u64,
    random: Random,
}

fn stamped(number: u64, block: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; BLOCK];
    }
    [number, block]
        .iter()
        .cycle()
        .take(BLOCK / 8)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

impl Disk {
    /// Writes and flushes until the server is gone, or it is told to stop.
    fn write_until_it_dies(&mut self, client: &mut Client, stop: &AtomicBool) -> std::io::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            for _ in 0..=self.random.below(8) {
                let block = self.random.below(BLOCKS);
                let number = self.next;
                self.next += 1;
                self.begun[block as usize] = number;
                client.write(&stamped(number, block), block * BLOCK as u64)?;
            }
            let written = self.begun.clone();
            client.flush()?;
            self.durable = written;
        }
        Ok(())
    }

    /// Fails unless each block is of a write between the last flushed one and the last begun one. Goes on from what it is.
    fn verify(&mut self, client: &mut Client) {
        let mut bytes = vec![0; BLOCK];
        for block in 0..BLOCKS {
            client.read(&mut bytes, block * BLOCK as u64).unwrap();
            let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            let place = block as usize;
            let (least, most) = (self.durable[place], self.begun[place]);
            assert!(
                (least..=most).contains(&number),
                "{}: block {block} is of write {number}; {least} was flushed, {most} begun",
                self.name
            );
            assert!(
                bytes == stamped(number, block),
                "{}: block {block} is torn",
                self.name
            );
            self.durable[place] = number;
            self.begun[place] = number;
        }
    }
}

#[test]
fn every_flushed_write_is_there_after_kill_9() {
    let rounds = setting("TINE_KILLS", 3);
    let mut random = Random(setting("TINE_SEED", u64::from(std::process::id())) | 1);
    println!("TINE_SEED={} repeats the choices (not the moments)", random.0);
    let bench = golden();
    let mut disks: Vec<Disk> = (0..DISKS)
        .map(|disk| {
            let name = format!("disk{disk}");
            bench.succeeds(&format!("tine create {name} {}", BLOCKS as usize * BLOCK));
            Disk {
                name,
                durable: vec![0; BLOCKS as usize],
                begun: vec![0; BLOCKS as usize],
                next: 1,
                random: Random(random.next() | 1),
            }
        })
        .collect();
    let mut written = 0;
    let end = Instant::now() + Duration::from_secs(setting("TINE_SECONDS", u64::from(u32::MAX)));
    let mut killed = 0;
    while killed < rounds && Instant::now() < end {
        killed += 1;
        let daemon = Daemon::start(&bench, "");
        let stop = AtomicBool::new(false);
        let (verified, all_verified) = mpsc::channel();
        thread::scope(|scope| {
            for disk in &mut disks {
                let (daemon, stop, verified) = (&daemon, &stop, verified.clone());
                scope.spawn(move || {
                    let mut client = daemon.connect(&disk.name);
                    disk.verify(&mut client);
                    verified.send(()).unwrap();
                    // It ends with an error when the daemon is killed.
                    let _ = disk.write_until_it_dies(&mut client, stop);
                });
            }
            // Throwaway forks and snapshots come and go meanwhile.
            scope.spawn(|| {
                while let Ok(mut fork) = Client::connect(&daemon.socket, "disk0+fork") {
                    if fork.write(&[1; 65536], 0).and_then(|()| fork.flush()).is_err() {
                        break;
                    }
                }
            });
            for _ in 0..DISKS {
                // If one never is, its thread says why.
                let _ = all_verified.recv_timeout(Duration::from_secs(60));
            }
            thread::sleep(Duration::from_millis(random.below(700)));
            daemon.signal("-KILL");
            stop.store(true, Ordering::Relaxed);
        });
        written = disks.iter().map(|disk| disk.next).sum();
    }
    let daemon = Daemon::start(&bench, "");
    for disk in &mut disks {
        disk.verify(&mut daemon.connect(&disk.name));
    }
    daemon.stop();
    bench.succeeds("tine check --data");
    println!("done: {killed} kills, {written} writes");
}

/// What CAN_MULTI_CONN promises, with the engine behind it.
#[test]
fn a_flush_on_one_connection_covers_what_others_wrote_though_the_daemon_is_killed() {
    const WRITERS: u64 = 4;
    // In memory until it is flushed, and so much that it is written past the buffer.
    const LENGTHS: [usize; 3] = [BLOCK, 70_000, 3 << 20];
    let bench = golden();
    bench.succeeds("tine create disk 64MiB");
    let contents = |round: u64| {
        (0..WRITERS).flat_map(move |writer| {
            LENGTHS.iter().zip(0..).map(move |(&length, place)| {
                let offset = (writer * 16 + place * 4) << 20;
                (
                    writer as usize,
                    offset,
                    noise((round * 100 + writer) * 10 + place, length),
                )
            })
        })
    };
    for round in 1..=4 {
        let daemon = Daemon::start(&bench, "");
        let mut writers: Vec<_> = (0..WRITERS).map(|_| daemon.connect("disk")).collect();
        let mut other = daemon.connect("disk");
        for (writer, offset, bytes) in contents(round) {
            writers[writer].write(&bytes, offset).unwrap();
        }
        other.flush().unwrap();
        assert_eq!(daemon.end("-KILL").0, None);
        let daemon = Daemon::start(&bench, "");
        let mut client = daemon.connect("disk");
        for (writer, offset, bytes) in contents(round) {
            let mut read = vec![0; bytes.len()];
            client.read(&mut read, offset).unwrap();
            assert!(
                read == bytes,
                "what connection {writer} wrote at {offset} is gone"
            );
        }
        client.leave().unwrap();
        daemon.stop();
    }
}
