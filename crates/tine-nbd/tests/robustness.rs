//! Goal: whatever one client does or leaves undone, it ends itself alone, and so does the end of all: nothing that was taken on is lost.
//! Method: clients that send garbage, send half, vanish, take leave, are there when the server ends, or meet a bug of an export; beside
//! each a client that is served on. What they hold meanwhile is `fairness`'s business.

mod support;

use std::io::Write;
use std::ops::Range;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use support::client::*;
use support::ram_disk::RamDisk;
use support::{MIB, Troubled, eventually, flood, serve, serve_ram, serve_within};
use tine_nbd::{
    Client, Export, ExportInfo, Exports, Fault, Features, Limits, Listing, Peer, Refusal, Server, Zeroing,
};

#[test]
fn garbage_ends_its_connection_alone() {
    let (server, _) = serve_ram();
    let mut bystander = Raw::attached(&server, "ram", Style::Structured, &[]);
    for style in STYLES {
        let magic_of_another = match style {
            Style::Extended => request_bytes(Style::Simple, 0, READ, 1, 0, 512),
            _ => request_bytes(Style::Extended, 0, READ, 1, 0, 512),
        };
        let too_long = request_bytes(style, 0, WRITE, 1, 0, (32 << 20) + 1);
        for garbage in [
            magic_of_another,
            too_long,
            pattern(1, 100_000),
            vec![0; 28],
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ] {
            let mut raw = Raw::attached(&server, "ram", style, &[]);
            // What came before it is answered.
            let cookie = raw.request(0, WRITE, 0, 512, &[1; 512]);
            let _ = raw.socket.write_all(&garbage);
            let answer = raw.answer();
            assert_eq!((answer.cookie, answer.errno()), (cookie, 0));
            raw.expect_end();
        }
        assert_eq!(bystander.read(0, 512), [1; 512]);
    }
    eventually("they are forgotten", || server.connections() == 1);
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(16 * MIB)
    });
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    let bytes = pattern(2, 1 << 20);
    let whole = [request_bytes(Style::Simple, 0, WRITE, 1, 0, MIB), bytes].concat();
    // In the midst of a header, of a payload, of a reply, and of nothing.
    for end in [0, 5, 27, 28, 100, 70_000, whole.len()] {
        let mut raw = Raw::attached(&server, "slow", Style::Simple, &[]);
        raw.send(&whole[..end]);
        raw.request(0, READ, 0, 8 * MIB, &[]);
        drop(raw);
        eventually("it is forgotten", || server.connections() == 0);
    }
    // While its requests wait for the medium, too: they are finished, then all is given back.
    troubled.flushing.close();
    let mut raw = Raw::attached(&server, "slow", Style::Simple, &[]);
    raw.request(0, FLUSH, 0, 0, &[]);
    eventually("it is being flushed", || troubled.flushing.waiting() == 1);
    drop(raw);
    assert_eq!(server.connections(), 1);
    troubled.flushing.open();
    eventually("it is forgotten", || server.connections() == 0);
    drop(server);
    assert_eq!(Arc::strong_count(&troubled), 1);
}

#[test]
fn half_a_request_holds_up_nobody() {
    let (server, _) = serve_ram();
    let whole = request_bytes(Style::Structured, 0, WRITE, 1, 0, 200_000);
    let _halves: Vec<_> = [1, 20, 28, 28 + 65_536]
        .into_iter()
        .map(|end| {
            let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
            raw.send(&[&whole[..], &[1; 200_000]].concat()[..end]);
            raw
        })
        .collect();
    let mut bystander = Raw::attached(&server, "ram", Style::Structured, &[]);
    assert_eq!(bystander.read(0, 4096), [0; 4096], "nothing of it is written");
    // They may go on whenever they like: longer than a thread waits for them.
    std::thread::sleep(Duration::from_millis(250));
    let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
    raw.send(&whole);
    for piece in [3; 200_000].chunks(50_000) {
        std::thread::sleep(Duration::from_millis(150));
        raw.send(piece);
    }
    assert_eq!(raw.answer().errno(), 0);
    assert_eq!(
        bystander.read(199_000, 1001),
        [[3; 1000].as_slice(), &[0]].concat()
    );
}

#[test]
fn who_takes_leave_is_answered_what_it_asked_before() {
    let troubled = Arc::new(Troubled::new(MIB));
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    troubled.flushing.close();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "slow", style, &[]);
        let cookie = raw.request(0, FLUSH, 0, 0, &[]);
        raw.request(0, DISC, 0, 0, &[]);
        eventually("it is being flushed", || troubled.flushing.waiting() == 1);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(server.connections(), 1);
        troubled.flushing.open();
        let answer = raw.answer();
        assert_eq!((answer.cookie, answer.errno()), (cookie, 0));
        raw.expect_end();
        eventually("it is forgotten", || server.connections() == 0);
        troubled.flushing.close();
    }
}

#[test]
fn draining_finishes_what_is_in_flight_and_refuses_the_rest() {
    let troubled = Arc::new(Troubled::new(MIB));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    server.listen(UnixListener::bind(&path).unwrap()).unwrap();
    let mut raw = Raw::attached(&server, "slow", Style::Structured, &[]);
    let mut idle = Raw::attached(&server, "slow", Style::Structured, &[]);
    let mut greeting = Raw::greeted(&server);
    troubled.flushing.close();
    let flush = raw.request(0, FLUSH, 0, 0, &[]);
    eventually("it is being flushed", || troubled.flushing.waiting() == 1);

    std::thread::scope(|scope| {
        let drained = scope.spawn(|| server.drain(PATIENCE));
        // Who has nothing in flight is let go at once, whether attached or not.
        assert_eq!(idle.expect_end(), b"");
        assert_eq!(greeting.expect_end(), b"");
        assert!(!drained.is_finished());
        troubled.flushing.open();
        assert!(drained.join().unwrap());
    });
    let answer = raw.answer();
    assert_eq!((answer.cookie, answer.errno()), (flush, 0));
    raw.expect_end();
    assert!(UnixStream::connect(&path).is_err(), "nobody listens any more");
}

/// Drains while a client waits for a flush, and has sent two writes and a read that were not received yet.
fn drain_beside_what_waits(attach: impl FnOnce(&Server) -> Raw) -> (Raw, Arc<Troubled>) {
    let troubled = Arc::new(Troubled::new(MIB));
    let limits = Limits {
        requests_waiting: 1,
        ..Limits::default()
    };
    let server = serve_within(
        limits,
        [("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)],
    );
    let mut raw = attach(&server);
    troubled.flushing.close();
    raw.request(0, FLUSH, 0, 0, &[]);
    eventually("it is being flushed", || troubled.flushing.waiting() == 1);
    // These are not read while the flush is under way: it is all that this client may have waiting.
    raw.request(0, WRITE, 0, 512, &[1; 512]);
    raw.request(0, WRITE, 0, 100_000, &[1; 100_000]);
    raw.request(0, READ, 0, 512, &[]);
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| server.drain(PATIENCE));
        // Nobody new gets in from now on.
        eventually("it drains", || {
            UnixStream::pair().is_ok_and(|(_, theirs)| server.serve(theirs).is_err())
        });
        troubled.flushing.open();
        assert!(drained.join().unwrap());
    });
    assert_eq!(raw.answer().errno(), 0);
    (raw, troubled)
}

/// What was not answered, a client that reconnects sends again; an error it would take for the disk's.
#[test]
fn what_was_sent_before_the_end_is_done() {
    let attach = |server: &Server| Raw::attached(server, "slow", Style::Structured, &[]);
    let (mut raw, troubled) = drain_beside_what_waits(attach);
    for _ in 0..3 {
        assert_eq!(raw.answer().errno(), 0);
    }
    raw.expect_end();
    let mut written = [9; 512];
    troubled.disk.read(&mut written, 99_488).unwrap();
    assert_eq!(written, [1; 512]);
}

/// A client goes on sending by TCP whatever we do, so this is where it ends.
#[test]
fn what_comes_too_late_by_tcp_is_told_so() {
    let attach = |server: &Server| Raw::attached_by_tcp(server, "slow", Style::Structured);
    let (mut raw, troubled) = drain_beside_what_waits(attach);
    for _ in 0..3 {
        let answer = raw.answer();
        assert_eq!(
            (answer.errno(), &*answer.message()),
            (ESHUTDOWN, "the server is ending")
        );
    }
    raw.expect_end();
    let mut first = [9; 512];
    troubled.disk.read(&mut first, 0).unwrap();
    assert_eq!(first, [0; 512]);
}

#[test]
fn draining_takes_no_longer_than_it_may() {
    let troubled = Arc::new(Troubled::new(4 * MIB));
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    troubled.disk.write(&pattern(4, 4 << 20), 0).unwrap();
    // One client's flush does not end, another does not take what it asked for.
    let mut flushing = Raw::attached(&server, "slow", Style::Structured, &[]);
    let mut deaf = Raw::attached(&server, "slow", Style::Structured, &[]);
    troubled.flushing.close();
    flushing.request(0, FLUSH, 0, 0, &[]);
    flood(&mut deaf, &request_bytes(Style::Structured, 0, READ, 7, 0, MIB));
    eventually("it is being flushed", || troubled.flushing.waiting() == 1);
    let begin = Instant::now();
    assert!(!server.drain(Duration::from_millis(200)));
    assert!(begin.elapsed() < Duration::from_secs(20));
    flushing.expect_end();
    deaf.expect_end();
    troubled.flushing.open();
    drop(server);
    assert_eq!(Arc::strong_count(&troubled), 1);
}

/// Exports that count who is attached, and that panic for some names.
struct Counting {
    open: Arc<AtomicUsize>,
    clients: Mutex<Vec<Client>>,
}

struct Counted {
    disk: RamDisk,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Export for Counted {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn features(&self) -> Features {
        self.disk.features()
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        assert_ne!(offset, 666, "a bug");
        self.disk.read(into, offset)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        self.disk.write(bytes, offset)
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zeroing) -> Result<(), Fault> {
        self.disk.write_zeroes(range, how)
    }

    fn trim(&self, range: Range<u64>) -> Result<(), Fault> {
        self.disk.trim(range)
    }

    fn flush(&self) -> Result<(), Fault> {
        self.disk.flush()
    }
}

impl Exports for Counting {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        panic!("a bug");
    }

    fn info(&self, name: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        Ok(ExportInfo {
            size: MIB,
            name: name.to_owned(),
            ..ExportInfo::default()
        })
    }

    fn contexts(&self, _: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        Ok(Vec::new())
    }

    fn open(&self, _: &str, client: &Client) -> Result<Arc<dyn Export>, Refusal> {
        self.clients.lock().push(client.clone());
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Arc::new(Counted {
            disk: RamDisk::new(MIB),
            open: Arc::clone(&self.open),
        }))
    }
}

fn counting() -> (Server, Arc<Counting>) {
    let exports = Arc::new(Counting {
        open: Arc::default(),
        clients: Mutex::default(),
    });
    let server = Server::new(Arc::<Counting>::clone(&exports), Limits::default()).unwrap();
    (server, exports)
}

#[test]
fn a_panic_of_an_export_ends_its_connection_alone() {
    let (server, exports) = counting();
    let mut bystander = Raw::attached(&server, "a", Style::Structured, &[]);
    let mut raw = Raw::greeted(&server);
    raw.send_option(OPT_LIST, &[]);
    raw.expect_end();
    let mut raw = Raw::attached(&server, "b", Style::Structured, &[]);
    raw.request(0, READ, 666, 512, &[]);
    raw.expect_end();
    eventually("its export is dropped", || {
        exports.open.load(Ordering::SeqCst) == 1
    });
    assert_eq!(bystander.read(0, 512), [0; 512]);
}

#[test]
fn a_panic_ends_its_connection_also_where_it_was_accepted() {
    let (server, exports) = counting();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    server.listen(UnixListener::bind(&path).unwrap()).unwrap();
    let connect = || {
        let mut raw = Raw::over(UnixStream::connect(&path).unwrap());
        raw.greet(3);
        raw
    };
    let mut raw = connect();
    raw.send_option(OPT_LIST, &[]);
    raw.expect_end();
    // Led by the thread that accepted it, on its first request.
    let mut raw = connect();
    raw.option(OPT_GO, &inquiry("a", &[]));
    raw.request(0, READ, 666, 512, &[]);
    raw.expect_end();
    eventually("they are forgotten", || server.connections() == 0);
    eventually("its export is dropped", || {
        exports.open.load(Ordering::SeqCst) == 0
    });
    // Others are accepted as before.
    let mut raw = connect();
    raw.option(OPT_GO, &inquiry("b", &[]));
    assert_eq!(raw.read(0, 512), [0; 512]);
    drop(server);
}

#[test]
fn the_peer_is_who_connected() {
    let (server, exports) = counting();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    server.listen(UnixListener::bind(&path).unwrap()).unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    server.listen(tcp).unwrap();

    let mut raw = Raw::over(UnixStream::connect(&path).unwrap());
    raw.greet(3);
    raw.option(OPT_GO, &inquiry("x", &[]));
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
    let bytes = [&3_u32.to_be_bytes()[..], &option_bytes(OPT_EXPORT_NAME, b"x")].concat();
    tcp.write_all(&bytes).unwrap();
    std::io::Read::read_exact(&mut tcp, &mut [0; 28]).unwrap();

    let clients = exports.clients.lock().clone();
    assert!(matches!(clients[0].peer, Peer::Process { pid, .. } if pid == std::process::id()));
    assert_eq!(clients[0].to_string().split(' ').next(), Some("process"));
    assert_eq!(clients[1].peer, Peer::Address(tcp.local_addr().unwrap()));
    assert_ne!(clients[0].connection, clients[1].connection);
}

#[test]
fn an_export_is_dropped_when_its_connection_is_over() {
    let (server, exports) = counting();
    let mut raws: Vec<_> = (0..5)
        .map(|_| Raw::attached(&server, "x", Style::Simple, &[]))
        .collect();
    assert_eq!(exports.open.load(Ordering::SeqCst), 5);
    raws.pop().unwrap().disconnect();
    drop(raws.pop());
    raws.pop().unwrap().end_sending();
    eventually("three are gone", || exports.open.load(Ordering::SeqCst) == 2);
    drop(server);
    assert_eq!(exports.open.load(Ordering::SeqCst), 0);
}

#[test]
fn a_thousand_come_and_go_at_odd_moments() {
    let (server, disk) = serve_ram();
    let whole = [
        3_u32.to_be_bytes().to_vec(),
        option_bytes(OPT_STRUCTURED_REPLY, &[]),
        option_bytes(OPT_GO, &inquiry("ram", &[])),
        [
            request_bytes(Style::Structured, FUA, WRITE, 1, 0, 70_000),
            vec![1; 70_000],
        ]
        .concat(),
        request_bytes(Style::Structured, 0, READ, 2, 0, MIB),
        request_bytes(Style::Structured, 0, FLUSH, 3, 0, 0),
        request_bytes(Style::Structured, 0, DISC, 4, 0, 0),
    ]
    .concat();
    let random = pattern(5, 4096);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (server, whole, random) = (&server, &whole, &random);
            scope.spawn(move || {
                for at in 0..250 {
                    let number = be32(&random[(worker * 250 + at) * 4..]) as usize;
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    // As many as there may be, at most: then it is refused, which is an end, too.
                    if server.serve(theirs).is_ok() {
                        let _ = (&ours).write_all(&whole[..number % (whole.len() + 1)]);
                        if number.is_multiple_of(3) {
                            let _ = std::io::Read::read(&mut &ours, &mut [0; 5000]);
                        }
                    }
                }
            });
        }
    });
    eventually("all are forgotten", || server.connections() == 0);
    let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
    raw.write(MIB, &[5; 512]);
    let mut bytes = [0; 512];
    disk.read(&mut bytes, MIB).unwrap();
    assert_eq!(bytes, [5; 512]);
}
