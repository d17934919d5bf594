//! Clients that do not keep to the protocol, or do not read what they asked for: each harms itself alone.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::{READ, WRITE, option, request};
use crate::common::python_with_libnbd;
use crate::daemon::{Daemon, Random, golden, noise, setting};

/// Fails unless a well-behaved client is served.
fn serves(daemon: &Daemon) {
    let mut client = daemon.connect("golden@v1");
    let mut bytes = vec![0; 1 << 20];
    client.read(&mut bytes, 4 << 20).unwrap();
    assert!(bytes == noise(1, 1 << 20));
    client.leave().unwrap();
}

/// Returns whether the server ends a connection, whatever it says before.
fn is_ended(stream: &mut UnixStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut heard = [0; 4096];
    loop {
        match stream.read(&mut heard) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn wrong_magics_end_their_connection_alone() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    // In the handshake.
    for words in [
        &b"GET / HTTP/1.1\r\n\r\nand a long text after it"[..],
        &[0xff; 64],
    ] {
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        stream.write_all(words).unwrap();
        assert!(is_ended(&mut stream));
    }
    // In transmission, behind a request that is right.
    let mut client = daemon.connect("golden+fork");
    client.write(&[1; 4096], 0).unwrap();
    client.stream.write_all(&[0x42; 28]).unwrap();
    assert!(is_ended(&mut client.stream));
    // A write that is longer than any may be.
    let mut client = daemon.connect("golden+fork");
    client.stream.write_all(&request(WRITE, 1, 0, u32::MAX)).unwrap();
    assert!(is_ended(&mut client.stream));
    serves(&daemon);
    daemon.stop();
}

#[test]
fn half_requests_hold_up_nobody() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let before = daemon.memory();
    let mut halves = Vec::new();
    for place in 0..100 {
        if place % 4 == 0 {
            // A greeting that is never answered, or half.
            let mut stream = UnixStream::connect(&daemon.socket).unwrap();
            stream.write_all(&[0, 0]).unwrap();
            halves.push(stream);
            continue;
        }
        let client = daemon.connect("golden+fork");
        let mut stream = client.stream;
        // Half a head, or a head and some of its payload.
        let head = request(WRITE, 1, 0, 32 << 20);
        if place % 4 == 1 {
            stream.write_all(&head[..13]).unwrap();
        } else {
            stream.write_all(&head).unwrap();
            stream.write_all(&[7; 3000]).unwrap();
        }
        halves.push(stream);
        serves(&daemon);
    }
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 256 << 20, "a hundred of them have {} MiB", grown >> 20);
    drop(halves);
    serves(&daemon);
    daemon.stop();
}

#[test]
fn who_never_reads_its_replies_has_its_share_and_no_more() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let before = daemon.memory();
    let mut sent = 0;
    let mut floods: Vec<_> = (0..8).map(|_| daemon.connect("golden@v1")).collect();
    for flood in &mut floods {
        flood
            .stream
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        for cookie in 0..20_000 {
            sent += 1;
            // Until the server takes no more.
            if flood
                .stream
                .write_all(&request(READ, cookie, 4 << 20, 1 << 20))
                .is_err()
            {
                break;
            }
        }
    }
    serves(&daemon);
    let grown = daemon.memory().saturating_sub(before);
    assert!(grown < 8 * (24 << 20), "eight of them have {} MiB", grown >> 20);
    drop(floods);
    serves(&daemon);
    daemon.stop();
    println!(
        "done: 8 clients that take no reply, {sent} reads of 1 MiB sent, {} MiB held",
        grown >> 20
    );
}

#[test]
fn garbage_of_every_kind_is_survived() {
    let bench = golden();
    let daemon = Daemon::start(&bench, "");
    let mut random = Random(setting("TINE_SEED", 0x5eed) | 1);
    let (connections, mut sent) = (300, 0);
    for _ in 0..connections {
        let mut bytes = noise(random.next(), 1 + random.below(3000) as usize);
        if random.below(2) == 0 {
            // Behind what opens the door.
            let mut opened = 3_u32.to_be_bytes().to_vec();
            opened.extend(option(random.below(12) as u32, "golden+fork"));
            opened.append(&mut bytes);
            bytes = opened;
        }
        let mut stream = UnixStream::connect(&daemon.socket).unwrap();
        // It may hang up before all is said.
        let _ = stream.write_all(&bytes);
        sent += bytes.len();
    }
    serves(&daemon);
    bench.succeeds("tine check --data");
    daemon.stop();
    println!("done: {connections} connections of garbage, {sent} bytes");
}

#[test]
fn libnbd_is_told_what_it_may_not_do_by_the_book() {
    let bench = golden();
    let Some(python) = python_with_libnbd(&bench, "libnbd is told") else {
        return;
    };
    let daemon = Daemon::start(&bench, "");
    let script = format!(
        r#"
import errno
import nbd
import os

def connect(export):
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.set_export_name(export)
    h.connect_unix("{socket}")
    return h

def fails(number, do):
    try:
        do()
    except nbd.Error as error:
        assert error.errnum == number, (error.errnum, number, error.string)
    else:
        assert False, "it should fail"

h = connect("golden+fork")
size = h.get_size()
fails(errno.EINVAL, lambda: h.pread(512, size))
fails(errno.EINVAL, lambda: h.pread(512, size - 1))
fails(errno.ENOSPC, lambda: h.pwrite(b"x" * 512, size - 1))
fails(errno.ENOSPC, lambda: h.zero(512, size))
fails(errno.EINVAL, lambda: h.trim(512, size))
fails(errno.ENOTSUP, lambda: h.zero(100, 0, nbd.CMD_FLAG_FAST_ZERO))
h.pwrite(b"x" * 512, size - 512, nbd.CMD_FLAG_FUA)
assert h.pread(512, size - 512) == b"x" * 512
h.zero(8192, 4096, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_NO_HOLE)
h.cache(1 << 20, 4 << 20)

r = connect("golden@v1")
assert r.is_read_only()
fails(errno.EPERM, lambda: r.pwrite(b"x" * 512, 0))
fails(errno.EPERM, lambda: r.zero(512, 0))
fails(errno.EPERM, lambda: r.trim(512, 0))

# A flood: more in flight than anybody has, out of order, each with its own answer.
buffers = [nbd.Buffer(65536) for _ in range(512)]
cookies = set(h.aio_pread(buffer, 65536 * (i % 128)) for i, buffer in enumerate(buffers))
while cookies:
    h.poll(-1)
    while cookies:
        done = h.aio_peek_command_completed()
        if done <= 0:
            break
        h.aio_command_completed(done)
        cookies.remove(done)

# Disconnects in the midst.
for i in range(100):
    d = connect("golden+fork")
    d.aio_pread(nbd.Buffer(1 << 20), 4 << 20)
    if i % 2:
        d.aio_disconnect()
    del d
h.shutdown()
"#,
        socket = daemon.socket.display()
    );
    std::fs::write(bench.path("script.py"), script).unwrap();
    bench.succeeds(&format!("{python} script.py"));
    serves(&daemon);
    daemon.stop();
}
