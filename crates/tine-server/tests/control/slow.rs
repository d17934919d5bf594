//! Who stalls holds up nobody else, and no lock of the store.

use std::io::{Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use tine_server::api::{Consent, Create, Drop, Fork, Kind, Ls};
use tine_store::Target;

use crate::desk::{Desk, PATIENCE};

fn fork(desk: &Desk, name: &str) {
    let request = Fork {
        source: "disk".parse().unwrap(),
        name: Some(name.parse().unwrap()),
        count: None,
    };
    desk.client().ask(&request).unwrap();
}

fn names(desk: &Desk) -> Vec<String> {
    let listed = desk.client().ask(&Ls {}).unwrap();
    listed
        .branches
        .iter()
        .map(|branch| branch.name.to_string())
        .collect()
}

#[test]
fn a_reader_that_reads_no_further_holds_nobody_up() {
    let desk = Desk::with_disk();
    let mut stalled: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = desk.connect();
            write!(stream, "GET /v1/read?target=disk HTTP/1.1\r\nhost: tine\r\n\r\n").unwrap();
            stream.read_exact(&mut [0; 64]).unwrap();
            stream
        })
        .collect();
    fork(&desk, "other");
    let disk: Target = "disk".parse().unwrap();
    let request = Drop {
        targets: vec![disk],
        consent: Consent::All,
        force: false,
    };
    desk.client().ask(&request).unwrap();
    assert_eq!(names(&desk), ["other"]);
    // What it reads is of the instant at which it began.
    let mut reader = stalled.remove(0);
    let mut sevens = 0_u64;
    let mut buffer = vec![0; 1 << 20];
    let end = Instant::now() + PATIENCE;
    while sevens < 8 << 20 && Instant::now() < end {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "cut off after {sevens}");
        sevens += buffer[..read].iter().filter(|byte| **byte == 7).count() as u64;
    }
}

#[test]
fn an_import_that_stalls_or_dies_holds_nothing_and_leaves_nothing() {
    let desk = Desk::with_disk();
    let mut stream = desk.connect();
    write!(
        stream,
        "POST /v1/import?name=half&size=1048576 HTTP/1.1\r\nhost: tine\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    // A frame of data: kind, zeroes, length, offset.
    let mut frame = vec![2, 0, 0, 0];
    frame.extend(4096_u32.to_le_bytes());
    frame.extend(0_u64.to_le_bytes());
    frame.extend([5; 4096]);
    write!(stream, "{:x}\r\n", frame.len()).unwrap();
    stream.write_all(&frame).unwrap();
    stream.write_all(b"\r\n").unwrap();
    // Others go on meanwhile, with the same name, too.
    fork(&desk, "other");
    let create = Create {
        name: "half".parse().unwrap(),
        size: 4096,
    };
    desk.client().ask(&create).unwrap();
    assert_eq!(names(&desk), ["disk", "half", "other"]);
    // It ends in good order, but for the frame that says that this was all.
    stream.write_all(b"0\r\n\r\n").unwrap();
    let mut said = [0; 1024];
    let read = stream.read(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..read]);
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    // And one that dies.
    let before = desk.store().stats().unwrap().points;
    {
        let mut dying = desk.connect();
        write!(
            dying,
            "POST /v1/import?name=dead HTTP/1.1\r\nhost: tine\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
            frame.len()
        )
        .unwrap();
        dying.write_all(&frame[..100]).unwrap();
    }
    let end = Instant::now() + PATIENCE;
    while desk.store().stats().unwrap().points != before {
        assert!(Instant::now() < end, "what was half made is forgotten");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(names(&desk), ["disk", "half", "other"]);
}

#[test]
fn stopping_refuses_what_is_new_and_cuts_off_what_takes_too_long() {
    let mut desk = Desk::with_disk();
    let mut reading = desk.connect();
    write!(reading, "GET /v1/read?target=disk HTTP/1.1\r\nhost: tine\r\n\r\n").unwrap();
    reading.read_exact(&mut [0; 64]).unwrap();
    let kept_alive = {
        let mut client = desk.client();
        client.hello().unwrap();
        client
    };
    let begun = Instant::now();
    desk.stop(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let mut kept_alive = kept_alive;
    let failure = kept_alive.hello().unwrap_err();
    assert_eq!(failure.kind, Kind::Stopping, "nothing was done: {failure}");
    assert!(tine_server::client::Client::find(&desk.path()).unwrap().is_none());
    // The end of what was cut off cannot be taken for the end of the disk.
    let mut rest = Vec::new();
    let _ = reading.read_to_end(&mut rest);
    assert!(!rest.ends_with(b"0\r\n\r\n") || String::from_utf8_lossy(&rest).contains("stopping"));
    desk.store().clone().close().unwrap();
}
