//! Who speaks wrongly gets an answer or loses the connection, and harms nobody.

use std::io::{Read as _, Write as _};

use tine_server::api::{Consent, Drop, Kind};

use crate::answers;
use crate::desk::{Desk, answer};

#[test]
fn what_is_not_understood_is_refused_in_words() {
    let desk = Desk::with_disk();
    answers!(desk,
        "GET /",
        "GET /v1/levitate",
        "GET /v2/ls",
        "GET /v1/fork",
        "POST /v1/ls",
        "GET /v1/ls?verbose=1",
        "GET /v1/show",
        r#"POST /v1/fork {"source":"disk","name":"x","gently":true}"#,
        r#"POST /v1/fork {"source":"#,
        "POST /v1/fork",
        r#"POST /v1/rollback {"target":"disk","consent":"some"}"#,
        "POST /v1/import?name=x garbage that is no frame at all";
        @r#"
    GET /
    404 {"kind":"version","message":"this daemon (tine 0.0.1) does not know `/`","hint":"restart the daemon with the version of tine that asks"}
    GET /v1/levitate
    404 {"kind":"version","message":"this daemon (tine 0.0.1) does not know `/v1/levitate`","hint":"restart the daemon with the version of tine that asks"}
    GET /v2/ls
    404 {"kind":"version","message":"this daemon (tine 0.0.1) does not know `/v2/ls`","hint":"restart the daemon with the version of tine that asks"}
    GET /v1/fork
    405 {"kind":"invalid","message":"`/v1/fork` is not asked by GET","hint":"GET looks, POST changes: docs/control.md lists them"}
    POST /v1/ls
    405 {"kind":"invalid","message":"`/v1/ls` is not asked by POST","hint":"GET looks, POST changes: docs/control.md lists them"}
    GET /v1/ls?verbose=1
    400 {"kind":"invalid","message":"the query of the request is not understood: unknown field `verbose`, there are no fields","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    GET /v1/show
    400 {"kind":"invalid","message":"the query of the request is not understood: missing field `target`","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/fork {"source":"disk","name":"x","gently":true}
    400 {"kind":"invalid","message":"the body of the request is not understood: unknown field `gently`, expected one of `source`, `name`, `count` at line 1 column 36","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/fork {"source":
    400 {"kind":"invalid","message":"the body of the request is not understood: EOF while parsing a value at line 1 column 10","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/fork
    400 {"kind":"invalid","message":"the body of the request is not understood: EOF while parsing a value at line 1 column 0","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/rollback {"target":"disk","consent":"some"}
    400 {"kind":"invalid","message":"the body of the request is not understood: unknown variant `some`, expected one of `nothing`, `to`, `all` at line 1 column 33","hint":"docs/control.md describes the requests; one of a later tine needs a later daemon"}
    POST /v1/import?name=x garbage that is no frame at all
    400 {"kind":"caller","message":"cannot read the source: a frame with bytes where zeroes belong"}
    "#);
    assert_eq!(desk.store().branches().unwrap().len(), 1);
}

#[test]
fn garbage_ends_its_own_connection_only() {
    let desk = Desk::with_disk();
    let healthy = desk.connect();
    let long_line = format!("GET /v1/ls?{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET /v1/ls HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    for garbage in [
        b"\0\0\0\0\r\n\r\n".as_slice(),
        b"NBDMAGIC and so on\r\n\r\n",
        long_line.as_bytes(),
        many_headers.as_bytes(),
        b"POST /v1/fork HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/fork HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = desk.connect();
        // It may be refused before all of it was sent.
        let _ = stream.write_all(garbage);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said);
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    }
    let mut healthy = healthy;
    write!(
        healthy,
        "GET /v1/ls HTTP/1.1\r\nhost: tine\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    assert_eq!(answer(&mut healthy).0, 200);
}

#[test]
fn a_request_that_is_too_long_is_refused_and_its_sender_is_told_so() {
    let desk = Desk::with_disk();
    let names = vec!["\"disk\""; 2 << 20].join(",");
    let mut stream = desk.connect();
    let body = format!("{{\"targets\":[{names}]}}");
    // All of it before anything is read.
    write!(
        stream,
        "POST /v1/drop HTTP/1.1\r\nhost: tine\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let (status, said) = answer(&mut stream);
    assert_eq!(status, 400, "{said}");
    assert!(said.contains("longer than 8 MiB"), "{said}");
    // And by the client.
    let request = Drop {
        targets: vec!["disk".parse().unwrap(); 2 << 20],
        consent: Consent::All,
        force: true,
    };
    let failure = desk.client().ask(&request).unwrap_err();
    assert_eq!(failure.kind, Kind::Invalid, "{failure}");
    assert!(failure.message.contains("longer than 8 MiB"), "{failure}");
    assert_eq!(desk.store().branches().unwrap().len(), 1);
}

#[test]
fn more_connections_than_there_are_slots_wait_for_one() {
    let desk = Desk::with_disk();
    let idle: Vec<_> = (0..256).map(|_| desk.connect()).collect();
    let mut late = desk.connect();
    write!(
        late,
        "GET /v1/hello HTTP/1.1\r\nhost: tine\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    late.set_read_timeout(Some(std::time::Duration::from_millis(300)))
        .unwrap();
    assert!(late.read(&mut [0; 1]).is_err(), "it waits");
    drop(idle);
    late.set_read_timeout(Some(crate::desk::PATIENCE)).unwrap();
    assert_eq!(answer(&mut late).0, 200);
}

#[test]
fn long_requests_are_gathered_a_few_at_a_time_and_hold_up_no_short_ones() {
    let desk = Desk::with_disk();
    // Half of what they say.
    let half = vec![b' '; 4 << 20];
    let (mut taken, mut waiting) = (Vec::new(), Vec::new());
    for _ in 0..12 {
        let mut stream = desk.connect();
        let head =
            "POST /v1/drop HTTP/1.1\r\nhost: tine\r\nconnection: close\r\ncontent-length: 8388608\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        stream
            .set_write_timeout(Some(std::time::Duration::from_millis(500)))
            .unwrap();
        match stream.write_all(&half) {
            Ok(()) => taken.push(stream),
            Err(_) => waiting.push(stream),
        }
    }
    assert_eq!((taken.len(), waiting.len()), (8, 4));
    let ls = desk.ask("GET /v1/ls");
    assert_eq!(ls.0, 200, "{}", ls.1);
    let fork = desk.ask(r#"POST /v1/fork {"source":"disk","name":"short"}"#);
    assert_eq!(fork.0, 200, "{}", fork.1);
    // Who comes to its end, or goes, makes room for the next.
    let mut first = taken.pop().unwrap();
    first.set_write_timeout(Some(crate::desk::PATIENCE)).unwrap();
    first.write_all(&half).unwrap();
    assert_eq!(answer(&mut first).0, 400);
    drop((taken, waiting));
    let mut last = desk.connect();
    write!(
        last,
        "POST /v1/drop HTTP/1.1\r\nhost: tine\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        half.len()
    )
    .unwrap();
    last.write_all(&half).unwrap();
    assert_eq!(answer(&mut last).0, 400);
}
