//! Processes of libnbd's that stop in the midst: of a handshake, of a payload, of taking replies; and that are killed there.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use crate::common::python_with_libnbd;
use crate::daemon::{Daemon, golden};

/// What each of them does, then it waits to be ended. A buffer that is not polled for is sent as far as the socket takes it.
const SCRIPT: &str = r#"
import nbd
import os
import sys

socket, role = sys.argv[1:]

def connect(export):
    h = nbd.NBD()
    h.set_export_name(export)
    h.connect_unix(socket)
    return h

def half():
    h = connect("golden+fork=job")
    h.aio_pwrite(nbd.Buffer(24 << 20), 8 << 20)
    assert h.aio_in_flight() == 1 and h.aio_get_direction() & nbd.AIO_DIRECTION_WRITE
    return h

kept = []
if role == "greeting":
    for _ in range(8):
        h = nbd.NBD()
        h.set_opt_mode(True)
        h.connect_unix(socket)
        kept.append(h)
elif role == "half":
    kept = [half() for _ in range(8)]
elif role == "flood":
    for _ in range(4):
        h = connect("golden@v1")
        buffers = [nbd.Buffer(1 << 20) for _ in range(4)]
        for i in range(5000):
            h.aio_pread(buffers[i % 4], 4 << 20)
        kept.append(h)
elif role == "vanish":
    # Each time in the midst of a payload, closed or dropped by a process that ends there.
    for i in range(50):
        if i % 2:
            half()
            continue
        child = os.fork()
        if child == 0:
            half()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
elif role == "bystander":
    h = connect("golden+fork=job")
    for i in range(300):
        at = i % 64 * 65536
        block = bytes([1 + i % 250]) * 65536
        h.pwrite(block, at, nbd.CMD_FLAG_FUA if i % 10 == 0 else 0)
        assert h.pread(65536, at) == block
    h.flush()
    h.shutdown()
else:
    assert False, role
print("ready", flush=True)
sys.stdin.read()
"#;

#[test]
fn processes_that_stop_or_die_in_the_midst_hold_up_nobody() {
    let bench = golden();
    let Some(python) = python_with_libnbd(&bench, "processes_that_stop_or_die_in_the_midst") else {
        return;
    };
    let daemon = Daemon::start(&bench, "");
    std::fs::write(bench.path("client.py"), SCRIPT).unwrap();
    let start = |role: &str| -> Child {
        let line = format!("exec {python} client.py {} {role}", daemon.socket.display());
        let mut process = bench
            .command(&line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(said, "ready\n", "{role}");
        process
    };
    let before = daemon.memory();
    // All at once, as they come; who stands by works beside them from the begin to the end.
    let roles = ["half", "flood", "greeting", "half", "flood", "greeting", "vanish"];
    let mut stopped: Vec<Child> = thread::scope(|scope| {
        let running: Vec<_> = roles.iter().map(|role| scope.spawn(|| start(role))).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let mut bystander = start("bystander");
    let grown = daemon.memory().saturating_sub(before);
    // 16 have half a request, with what they sent of it and a piece of memory; 8 take no replies.
    assert!(grown < 8 * (16 << 20) + 16 * (2 << 20), "{} MiB", grown >> 20);
    println!(
        "done: {} processes of libnbd's stopped in the midst, {} MiB held",
        roles.len(),
        grown >> 20
    );
    for (at, process) in stopped.iter_mut().enumerate() {
        if at % 2 == 0 {
            process.kill().unwrap();
        } else {
            drop(process.stdin.take());
        }
        process.wait().unwrap();
    }
    drop(bystander.stdin.take());
    assert!(bystander.wait().unwrap().success());
    daemon.wait_until("all are gone", || {
        bench.succeeds("tine stats --json").contains("\"clients\":[]")
    });
    let mut again = start("bystander");
    drop(again.stdin.take());
    assert!(again.wait().unwrap().success());
    daemon.stop();
    bench.succeeds("tine diff golden golden@v1 --exit-code && tine check --data");
}
