//! Goal: no client has more than its share, of memory, of threads, of turns, and none of what is kept for the others.
//! Method: clients that never read, flood, ask for much at once, or come by the hundred, within small bounds; beside them a client that
//! is served on, and a look at the memory.

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use support::client::*;
use support::ram_disk::{RamDisk, RamDisks};
use support::{MIB, Troubled, eventually, flood, serve, serve_within};
use tine_nbd::{Client, Export, ExportInfo, Exports, Limits, Listing, Refusal, Server};

/// Returns the memory that this process has, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn a_client_that_never_reads_holds_no_more_than_its_share() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(64 * MIB)
    });
    troubled.disk.write(&pattern(3, 64 << 20), 0).unwrap();
    let server = serve([
        ("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>),
        ("ram", Arc::new(RamDisk::new(MIB))),
    ]);
    let mut bystander = Raw::attached(&server, "ram", Style::Structured, &[]);
    let before = resident();
    let mut stuck = Vec::new();
    for style in STYLES {
        for length in [4096, 65_536, MIB, 3 * MIB, 16 * MIB] {
            let mut raw = Raw::attached(&server, "slow", style, &[]);
            flood(&mut raw, &request_bytes(style, 0, READ, 7, 0, length));
            stuck.push((raw, style, length));
        }
    }
    assert_eq!(bystander.read(0, 512), [0; 512]);
    // 15 clients; each holds at most its 8 MiB of waiting bytes, one request beyond, and what a thread works with.
    let held = resident().saturating_sub(before);
    assert!(held < 15 * (8 + 4 + 1) * MIB, "{} MiB are held", held >> 20);

    // When they read after all, they get what they asked for.
    for (raw, style, length) in &mut stuck {
        let expected = pattern(3, *length as usize);
        for _ in 0..2 {
            // Simple replies do not say how much they carry.
            if *style == Style::Simple {
                assert_eq!(be32(&raw.receive(16)[4..]), 0);
                assert!(raw.receive(*length as usize) == expected);
                continue;
            }
            // Chunks of several answers mix where reads are sent while they are read; these have all the same cookie.
            let mut left = *length;
            while left > 0 {
                match raw.chunk() {
                    (7, Chunk::Data { offset, data }, _) => {
                        assert!(data[..] == expected[offset as usize..][..data.len()]);
                        left = left.saturating_sub(data.len() as u64);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn memory_is_counted_as_it_is_held() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(64 * MIB)
    });
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    // Just above what has memory of its own size: each holds a whole mebibyte, and 8 of these are a client's share.
    let length: usize = 300_000;
    for (kind, gate) in [(WRITE, &troubled.writing), (READ, &troubled.reading)] {
        gate.close();
        let raw = Raw::attached(&server, "slow", Style::Structured, &[]);
        let payload = if kind == WRITE { length } else { 0 };
        let header = request_bytes(Style::Structured, 0, kind, 7, 0, length as u64);
        for _ in 0..16 {
            let socket = raw.socket.try_clone().unwrap();
            socket
                .set_write_timeout(Some(Duration::from_millis(100)))
                .unwrap();
            if (&socket)
                .write_all(&[&header[..], &vec![1; payload]].concat())
                .is_err()
            {
                break;
            }
        }
        eventually("its share is taken", || gate.waiting() == 8);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(gate.waiting(), 8, "requests of kind {kind}");
        gate.open();
        drop(raw);
        eventually("they are done", || server.connections() == 0);
    }
}

#[test]
fn replies_that_are_all_holes_hold_little() {
    // An export that does not know its holes reads zeroes into memory, 4 MiB of them for a reply of 128 bytes.
    let troubled = Arc::new(Troubled::new(64 * MIB));
    troubled.disk.write(&pattern(6, 65_536), 32 * MIB).unwrap();
    let server = serve([("ram", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
    let before = resident();
    // The socket is full of data that is not taken; then come the holes.
    for _ in 0..20 {
        raw.request(0, READ, 32 * MIB, 65_536, &[]);
    }
    let taken = flood(
        &mut raw,
        &request_bytes(Style::Structured, 0, READ, 7, 0, 4 * MIB),
    );
    let held = resident().saturating_sub(before);
    assert!(
        held < 48 * MIB,
        "{} MiB are held for {taken} requests",
        held >> 20
    );
}

#[test]
fn clients_that_take_nothing_leave_threads_for_the_others() {
    let limits = Limits {
        connections: 6,
        threads: 1,
        ..Limits::default()
    };
    let troubled = Arc::new(Troubled::new(64 * MIB));
    troubled.disk.write(&pattern(7, 64 << 20), 0).unwrap();
    let server = serve_within(
        limits,
        [("ram", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)],
    );
    // One thread of each is in the midst of a send, another waits to stream.
    let _deaf: Vec<_> = (0..5)
        .map(|_| {
            let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
            raw.request(0, READ, 0, 3 * MIB, &[]);
            raw.request(0, READ, 0, 16 * MIB, &[]);
            flood(&mut raw, &request_bytes(Style::Structured, 0, READ, 7, 0, 4096));
            raw
        })
        .collect();
    let mut bystander = Raw::attached(&server, "ram", Style::Structured, &[]);
    for _ in 0..10 {
        assert_eq!(bystander.read(0, 4096), pattern(7, 4096));
        assert_eq!(bystander.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    }
}

#[test]
fn nobody_has_all_connections() {
    let limits = Limits {
        connections: 100,
        ..Limits::default()
    };
    let server = serve_within(limits, [("ram", Arc::new(RamDisk::new(MIB)) as Arc<dyn Export>)]);
    // All of this process are one client's, and all by TCP from this machine another's.
    let local = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        server.serve(theirs).map(|()| ours)
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let remote = || {
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        server.serve(listener.accept().unwrap().0).map(|()| ours)
    };
    let mine: Vec<_> = (0..100).map_while(|_| local().ok()).collect();
    assert_eq!(mine.len(), 80);
    let theirs: Vec<_> = (0..100).map_while(|_| remote().ok()).collect();
    assert_eq!(theirs.len(), 16);
    assert!(local().is_err());
    // What one has given back all may have.
    drop(mine);
    eventually("they are forgotten", || server.connections() == 16);
    assert!(local().is_ok() && remote().is_ok());
}

#[test]
fn however_many_wait_for_a_disk_every_connection_is_led() {
    let limits = Limits {
        connections: 4,
        threads: 2,
        ..Limits::default()
    };
    let troubled = Arc::new(Troubled::new(MIB));
    let server = serve_within(
        limits,
        [("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)],
    );
    troubled.flushing.close();
    let mut raws: Vec<_> = (0..3)
        .map(|_| {
            let mut raw = Raw::attached(&server, "slow", Style::Structured, &[]);
            for _ in 0..60 {
                raw.request(0, FLUSH, 0, 0, &[]);
            }
            raw
        })
        .collect();
    eventually("as many as may are being flushed", || {
        troubled.flushing.waiting() == 2
    });
    let mut bystander = Raw::attached(&server, "slow", Style::Structured, &[]);
    bystander.write(0, &[1; 512]);
    assert_eq!(bystander.read(0, 512), [1; 512]);
    assert_eq!(troubled.flushing.waiting(), 2);
    troubled.flushing.open();
    for raw in &mut raws {
        for _ in 0..60 {
            assert_eq!(raw.answer().errno(), 0);
        }
    }
}

#[test]
fn one_client_does_not_take_all_places_and_the_others_have_turns() {
    let limits = Limits {
        threads: 4,
        ..Limits::default()
    };
    let slow = Arc::new(Troubled::new(MIB));
    let other = Arc::new(Troubled::new(MIB));
    let server = serve_within(
        limits,
        [
            ("slow", Arc::<Troubled>::clone(&slow) as Arc<dyn Export>),
            ("other", Arc::<Troubled>::clone(&other) as Arc<dyn Export>),
        ],
    );
    slow.flushing.close();
    let mut greedy = Raw::attached(&server, "slow", Style::Structured, &[]);
    for _ in 0..60 {
        greedy.request(0, FLUSH, 0, 0, &[]);
    }
    eventually("it has its places", || slow.flushing.waiting() == 3);
    // One place is kept for who has none, as often as it likes.
    let mut raw = Raw::attached(&server, "other", Style::Structured, &[]);
    for _ in 0..10 {
        assert_eq!(raw.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    }
    assert_eq!(slow.flushing.waiting(), 3);
    // Who has asked for more than the place waits for the others to be done, and then all are.
    other.flushing.close();
    for _ in 0..10 {
        raw.request(0, FLUSH, 0, 0, &[]);
    }
    eventually("it has its place", || other.flushing.waiting() == 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((slow.flushing.waiting(), other.flushing.waiting()), (3, 1));
    other.flushing.open();
    for _ in 0..10 {
        assert_eq!(raw.answer().errno(), 0);
    }
    slow.flushing.open();
    for _ in 0..60 {
        assert_eq!(greedy.answer().errno(), 0);
    }
}

#[test]
fn a_client_that_asks_too_much_at_once_waits_its_turn() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(16 * MIB)
    });
    let limits = Limits {
        requests_waiting: 8,
        ..Limits::default()
    };
    let server = serve_within(
        limits,
        [("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)],
    );
    let mut raw = Raw::attached(&server, "slow", Style::Structured, &[]);
    troubled.reading.close();
    let count = 100;
    for at in 0..count {
        raw.request(0, READ, at * 4096, 4096, &[]);
    }
    eventually("as many as may are being read", || {
        troubled.reading.waiting() == 8
    });
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(troubled.reading.waiting(), 8);
    let mut bystander = Raw::attached(&server, "slow", Style::Structured, &[]);
    assert_eq!(bystander.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    troubled.reading.open();
    let mut cookies: Vec<_> = (0..count).map(|_| raw.answer().cookie).collect();
    cookies.sort_unstable();
    cookies.dedup();
    assert_eq!(cookies.len() as u64, count);
}

/// Exports with a list of 8 MiB, and a count of how often it was made.
#[derive(Default)]
struct Long(AtomicUsize);

impl Exports for Long {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        self.0.fetch_add(1, Ordering::SeqCst);
        let line = Listing {
            name: "x".repeat(4096),
            description: String::new(),
        };
        Ok(vec![line; 2048])
    }

    fn info(&self, _: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        Ok(ExportInfo::default())
    }

    fn contexts(&self, _: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn open(&self, _: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
        Ok(Arc::new(RamDisk::new(MIB)))
    }
}

#[test]
fn long_lists_are_made_a_few_at_a_time_and_for_who_takes_them() {
    let exports = Arc::new(Long::default());
    let server = Server::new(Arc::<Long>::clone(&exports), Limits::default()).unwrap();
    let before = resident();
    let deaf: Vec<_> = (0..24)
        .map(|_| {
            let mut raw = Raw::greeted(&server);
            raw.send_option(OPT_LIST, &[]);
            raw
        })
        .collect();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(exports.0.load(Ordering::SeqCst), 8);
    // Of each the lines, and no second time as replies.
    let held = resident().saturating_sub(before);
    assert!(held < 8 * 12 * MIB, "{} MiB are held", held >> 20);
    // Who takes nothing is left soon, so that others have their turn.
    let mut raw = Raw::greeted(&server);
    let replies = raw.option(OPT_LIST, &[]);
    assert_eq!(replies.len(), 2049);
    drop(deaf);
    // Nor is it made over and over.
    for _ in 1..16 {
        assert_eq!(raw.option(OPT_LIST, &[]).len(), 2049);
    }
    raw.send_option(OPT_LIST, &[]);
    raw.expect_end();
}

#[test]
fn many_idle_connections_hold_little() {
    let exports = Arc::new(RamDisks::default());
    exports.insert("ram", Arc::new(RamDisk::new(MIB)));
    let limits = Limits {
        connections: 700,
        ..Limits::default()
    };
    let server = Server::new(Arc::<RamDisks>::clone(&exports), limits).unwrap();
    let mut first = Raw::attached(&server, "ram", Style::Structured, &[]);
    first.write(0, &[1; 4096]);
    let before = resident();
    // Each has read and written, and then nothing more.
    let mut raws: Vec<_> = (0..500)
        .map(|_| {
            let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
            raw.write(4096, &[2; 4096]);
            assert_eq!(raw.read(4096, 4096), [2; 4096]);
            raw
        })
        .collect();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    // Those who led them wait for a moment, and for five seconds for something else to do.
    eventually("their threads are gone", || threads() < 20);
    let held = resident().saturating_sub(before);
    assert!(
        held < 500 * (16 << 10),
        "{} KiB are held for each",
        (held / 500) >> 10
    );
    for raw in &mut raws {
        assert_eq!(raw.read(0, 4096), [1; 4096]);
    }
}

#[test]
fn many_connections_at_once_read_what_they_wrote() {
    let troubled = Arc::new(Troubled::new(256 * MIB));
    let server = serve([("ram", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    std::thread::scope(|scope| {
        for number in 0..64 {
            let server = &server;
            scope.spawn(move || {
                let style = STYLES[number as usize % 3];
                let mut raw = Raw::attached(server, "ram", style, &[]);
                let begin = number * 4 * MIB;
                for round in 0..6 {
                    let length = [512, 4096, 70_000, 1 << 20, 3 << 20, 33][round as usize];
                    let bytes = pattern(number * 100 + round, length);
                    raw.write(begin + round * 4096, &bytes);
                    raw.ask(0, FLUSH, 0, 0, &[]);
                    assert!(raw.read(begin + round * 4096, length) == bytes);
                }
                raw.disconnect();
            });
        }
    });
}

#[test]
fn a_client_that_flushes_after_each_write_is_served_by_one_thread() {
    // On one processor the client goes on as soon as its reply is there, before the thread that sent it does.
    let mut one = CpuSet::new();
    let all = sched_getaffinity(None).unwrap();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
    sched_setaffinity(None, &one).unwrap();
    let troubled = Arc::new(Troubled::new(MIB));
    let server = serve([("disk", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "disk", Style::Structured, &[]);
    for write in 0..10_000 {
        raw.write(4096 * (write % 256), &[write as u8; 4096]);
        assert_eq!(raw.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    }
    let threads = troubled.flushed_by.lock();
    let changes = threads.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(
        changes < 20,
        "the thread changed {changes} times in {} flushes",
        threads.len()
    );
}
