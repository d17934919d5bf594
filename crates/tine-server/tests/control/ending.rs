//! Goal: a daemon that stops does all of what it was sent, or nothing, and says which.
//! Method: more connections than it serves at once wait for it with their requests when it starts, and it stops right away.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tine_server::api::{Create, Kind};
use tine_server::client::Client;
use tine_server::control::Control;
use tine_server::{Daemon, Endpoints, Serving, socket};
use tine_store::{CreateOptions, OpenOptions, Store, Target};

use crate::desk::{Desk, PATIENCE, answer, connect};

fn request(name: &str, sent: usize) -> String {
    let body = format!("{{\"name\":\"{name}\",\"size\":4096}}");
    let mut request = format!(
        "POST /v1/create HTTP/1.1\r\nhost: tine\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    request.truncate(request.len() - sent);
    request
}

#[test]
fn what_was_sent_before_the_end_is_answered_and_what_comes_later_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
    for round in 0..10 {
        let (listener, file) = socket::bind(&path.join(Serving::CONTROL)).unwrap();
        let whole: Vec<(String, UnixStream)> = (0..300)
            .map(|number| {
                let (name, mut stream) = (format!("whole-{round}-{number}"), connect(&path));
                stream.write_all(request(&name, 0).as_bytes()).unwrap();
                (name, stream)
            })
            .collect();
        let half: Vec<(String, UnixStream)> = (0..50)
            .map(|number| {
                let (name, mut stream) = (format!("half-{round}-{number}"), connect(&path));
                stream.write_all(request(&name, number).as_bytes()).unwrap();
                (name, stream)
            })
            .skip(1)
            .collect();
        let silent = Client::find(&path).unwrap();
        let daemon = Arc::new(Daemon::new(store.clone()));
        let control = Control::start(daemon, listener).unwrap();
        // From none to all of them get their turn.
        std::thread::sleep(Duration::from_millis(3 * round));
        control.stop(PATIENCE);
        drop(file);
        let is_there = |name: &str| store.find(&name.parse::<Target>().unwrap()).is_ok();
        for (name, mut stream) in whole {
            let (status, said) = answer(&mut stream);
            match status {
                200 => assert!(is_there(&name), "{name}: {said}"),
                503 => assert!(!is_there(&name) && said.contains("stopping"), "{name}: {said}"),
                _ => panic!("{name}: {status} {said}"),
            }
        }
        for (name, mut stream) in half {
            // The rest gets nowhere, as its sender notices.
            assert!(stream.write_all(b"x").is_err());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
            assert!(!is_there(&name), "{name}");
        }
        let create = Create {
            name: "late".parse().unwrap(),
            size: 4096,
        };
        let failure = silent.expect("a daemon").ask(&create).unwrap_err();
        assert_eq!(failure.kind, Kind::Stopping, "{failure}");
        assert!(Client::find(&path).unwrap().is_none() && !is_there("late"));
    }
    store.close().unwrap();
}

/// Begins to write to `disk`, so much of a byte at its beginning, and waits until that is there. The end does not come.
fn begin_to_write(desk: &Desk, bytes: &[u8]) -> UnixStream {
    let mut stream = desk.connect();
    write!(
        stream,
        "POST /v1/write?name=disk HTTP/1.1\r\nhost: tine\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    if !bytes.is_empty() {
        // A frame of data: kind, zeroes, length, offset.
        let mut frame = vec![2, 0, 0, 0];
        frame.extend((bytes.len() as u32).to_le_bytes());
        frame.extend(0_u64.to_le_bytes());
        frame.extend(bytes);
        write!(stream, "{:x}\r\n", frame.len()).unwrap();
        stream.write_all(&frame).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    let disk = desk.store().branch(&"disk".parse().unwrap()).unwrap();
    let mut there = vec![0; bytes.len()];
    let end = Instant::now() + PATIENCE;
    while there != bytes {
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
        disk.read_at(&mut there, 0).unwrap();
    }
    stream
}

#[test]
fn a_write_that_is_cut_off_is_told_what_it_has_written_and_not_that_nothing_was_done() {
    let mut desk = Desk::with_disk();
    let mut writing = begin_to_write(&desk, &[5; 4096]);
    desk.stop(Duration::from_millis(100));
    let (status, said) = answer(&mut writing);
    assert_eq!(status, 500, "{said}");
    for part in [
        "\"cancelled\"",
        "the daemon is stopping",
        "4096 bytes were written before that",
    ] {
        assert!(said.contains(part), "{said}");
    }

    let mut desk = Desk::with_disk();
    let mut silent = begin_to_write(&desk, &[]);
    desk.stop(Duration::from_millis(100));
    let (status, said) = answer(&mut silent);
    assert_eq!(status, 503, "nothing was done: {said}");
    assert!(said.contains("\"stopping\""), "{said}");
}

#[test]
fn a_store_that_was_moved_before_its_sockets_were_made_serves_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let [path, moved, elsewhere] = ["store", "moved", "elsewhere"].map(|name| folder.path().join(name));
    let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default()).unwrap();
    // Another takes its place: the socket for disks comes to lie in that.
    fs::rename(&path, &moved).unwrap();
    fs::create_dir(&path).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let endpoints = Endpoints {
        socket: path.join("nbd.sock"),
        store: path,
        control: Some(elsewhere.join("control.sock")),
        listen: None,
        only: None,
        short: folder.path().to_owned(),
    };
    // Whoever changes the sockets in a directory takes turns: it stands still between the first socket and the second.
    let turn = fs::File::open(&elsewhere).unwrap();
    turn.lock().unwrap();
    let (socket, daemon) = (endpoints.socket.clone(), Daemon::new(store.clone()));
    let starting = std::thread::spawn(move || Serving::start(daemon, &endpoints));
    let begun = Instant::now();
    let mut client = loop {
        match UnixStream::connect(&socket) {
            Ok(client) => break client,
            Err(_) => assert!(begun.elapsed() < PATIENCE, "it listens"),
        }
    };
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let greeted = client.read(&mut [0; 18]);
    assert!(greeted.is_err(), "who connects is not served: {greeted:?}");
    turn.unlock().unwrap();
    let refused = starting.join().unwrap().unwrap_err();
    assert_eq!(refused.source.to_string(), "it was moved just now");
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(client.read(&mut [0; 18]), Ok(1..)), "not even at last");
    for left in [
        &socket,
        &elsewhere.join("control.sock"),
        &moved.join("control.sock"),
    ] {
        assert!(fs::symlink_metadata(left).is_err(), "{}", left.display());
    }
    store.close().unwrap();
}
