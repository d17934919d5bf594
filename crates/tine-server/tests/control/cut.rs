//! A daemon that dies, or is another: the client says so, and takes nothing for an answer that is none.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tine_server::Serving;
use tine_server::api::{Create, Diff, Failure, Kind, Ls, Pieces, Read};
use tine_server::client::Client;
use tine_store::Piece;

/// Plays a daemon that answers one request with these bytes and goes.
fn answering(bytes: &'static [u8]) -> (TempDir, Client) {
    playing(move |listener| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(bytes);
    })
}

/// Plays a daemon.
fn playing(daemon: impl FnOnce(UnixListener) + Send + 'static) -> (TempDir, Client) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join(Serving::CONTROL)).unwrap();
    thread::spawn(move || daemon(listener));
    let client = Client::find(folder.path()).unwrap().expect("a daemon");
    (folder, client)
}

fn create() -> Create {
    Create {
        name: "new".parse().unwrap(),
        size: 4096,
    }
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ntine-api: 1\r\n";

fn whole(head: &str, rest: &str) -> &'static [u8] {
    Box::leak(format!("{head}{rest}").into_boxed_str()).as_bytes()
}

#[test]
fn a_change_whose_answer_is_cut_off_may_have_been_made() {
    for bytes in [
        b"".as_slice(),
        b"HTTP/1.1 200",
        whole(HEAD, "content-length: 100\r\n\r\n{\"name\":\"new\""),
    ] {
        let (_folder, mut client) = answering(bytes);
        let failure = client.ask(&create()).unwrap_err();
        assert_eq!(failure.kind, Kind::Connection, "{failure}");
        assert!(failure.hint.unwrap().contains("not known"));
        let (_folder, mut client) = answering(bytes);
        let failure = client.ask(&Ls {}).unwrap_err();
        assert!(failure.hint.unwrap().contains("nothing was changed"));
    }
}

#[test]
fn a_change_that_the_daemon_has_not_read_was_not_made_however_it_ended() {
    let never_accepted = |listener: UnixListener| {
        // It is sent meanwhile.
        thread::sleep(Duration::from_millis(300));
        drop(listener);
    };
    let accepted = |listener: UnixListener| {
        let (stream, _) = listener.accept().unwrap();
        thread::sleep(Duration::from_millis(300));
        drop(stream);
    };
    let read_in_part = |listener: UnixListener| {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 20]).unwrap();
    };
    for (_folder, mut client) in [playing(never_accepted), playing(accepted), playing(read_in_part)] {
        let failure = client.ask(&create()).unwrap_err();
        assert_eq!(failure.kind, Kind::Stopping, "{failure}");
        assert!(failure.hint.unwrap().contains("nothing was changed"));
    }
}

#[test]
fn lines_that_end_without_an_end_are_cut_off() {
    // The body ends as HTTP has it, but nothing says that this was all.
    let lines = "{\"item\":{\"offset\":0,\"length\":4096}}\n";
    let body = format!("\r\n{:x}\r\n{lines}\r\n0\r\n\r\n", lines.len());
    let (_folder, mut client) = answering(whole(HEAD, &format!("transfer-encoding: chunked\r\n{body}")));
    let mut items = 0;
    let request = Diff {
        a: "a".parse().unwrap(),
        b: "b".parse().unwrap(),
        whether: false,
    };
    let failure = client.follow(&request, &mut |_| {
        items += 1;
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(failure.unwrap_err().kind, Kind::Connection);
    assert_eq!(items, 1);
}

struct Nothing;

impl Pieces for Nothing {
    fn begin(&mut self, _: std::ops::Range<u64>) -> Result<(), Failure> {
        Ok(())
    }

    fn piece(&mut self, _: Piece<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_disk_that_ends_without_an_end_is_cut_off() {
    let (_folder, mut client) = answering(whole(HEAD, "content-length: 0\r\n\r\n"));
    let request = Read {
        target: "a".parse().unwrap(),
        offset: 0,
        length: None,
    };
    let failure = client.read(&request, &mut Nothing).unwrap_err();
    assert_eq!(failure.kind, Kind::Connection);
}

#[test]
fn an_import_that_the_daemon_refuses_ends_at_once() {
    let refusal = r#"{"kind":"no_space","message":"no space left for it","hint":"free some"}"#;
    let head = format!(
        "HTTP/1.1 507 No\r\ntine-api: 1\r\ncontent-length: {}\r\n\r\n{refusal}",
        refusal.len()
    );
    let (_folder, client) = answering(whole(&head, ""));
    let failure = client.import("x".parse().unwrap(), None).unwrap_err();
    assert_eq!(failure.kind, Kind::NoSpace, "{failure:?}");
}

#[test]
fn another_version_is_told_by_name() {
    for (bytes, words) in [
        (
            b"HTTP/1.1 200 OK\r\nserver: tine/9.0.0\r\ntine-api: 9\r\ncontent-length: 2\r\n\r\n{}".as_slice(),
            "is tine/9.0.0 and speaks version 9",
        ),
        (
            b"HTTP/1.1 404 Not Found\r\nserver: nginx\r\ncontent-length: 0\r\n\r\n",
            "does not speak the control API",
        ),
    ] {
        let (_folder, mut client) = answering(bytes);
        let failure = client.ask(&Ls {}).unwrap_err();
        assert_eq!(failure.kind, Kind::Version);
        assert!(failure.message.contains(words), "{failure}");
        assert!(failure.hint.unwrap().contains("restart the daemon"));
    }
}

#[test]
fn a_socket_that_nobody_listens_on_is_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Client::find(folder.path()).unwrap().is_none());
    drop(UnixListener::bind(folder.path().join(Serving::CONTROL)).unwrap());
    assert!(Client::find(folder.path()).unwrap().is_none());
    assert!(Client::find(Path::new("/dev/null")).unwrap().is_none());
}
