//! Goal: the handshake is as the document has it, for those who keep to it and for those who do not.
//! Method: a client that sends single options, also half, odd and huge ones, and reads every byte that comes back.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use support::client::*;
use support::ram_disk::{RamDisk, RamDisks, WRITTEN};
use support::{MIB, eventually, serve, serve_ram, serve_within};
use tine_nbd::{Export, Features, Limits, Server};

fn read_only() -> Arc<dyn Export> {
    let features = Features {
        read_only: true,
        multi_conn: false,
    };
    Arc::new(RamDisk::with(MIB, features))
}

fn last(replies: &[OptionReply]) -> u32 {
    replies.last().unwrap().kind
}

#[test]
fn exports_are_listed_with_descriptions() {
    let server = serve([("web", read_only()), ("db", read_only())]);
    let mut raw = Raw::greeted(&server);
    let replies = raw.option(OPT_LIST, &[]);
    let lines: Vec<_> = replies[..2]
        .iter()
        .map(|reply| (reply.kind, &reply.data[..]))
        .collect();
    assert_eq!(
        lines,
        [
            (REP_SERVER, &b"\0\0\0\x02db1048576 bytes of memory"[..]),
            (REP_SERVER, &b"\0\0\0\x03web1048576 bytes of memory"[..]),
        ]
    );
    assert_eq!(last(&replies), REP_ACK);
    assert_eq!(last(&raw.option(OPT_LIST, b"x")), REP_ERR_INVALID);
}

#[test]
fn an_export_is_described_without_being_opened() {
    let exports = Arc::new(RamDisks::default());
    exports.insert("ram", read_only());
    let server = Server::new(Arc::<RamDisks>::clone(&exports), Limits::default()).unwrap();
    let mut raw = Raw::greeted(&server);
    let replies = raw.option(OPT_INFO, &inquiry("", &[1, 2, 3, 77]));
    let data: Vec<_> = replies.iter().map(|reply| &reply.data[..]).collect();
    assert_eq!(
        data,
        [
            // Size and transmission flags; name; description; block sizes.
            &b"\0\0\0\0\0\0\0\x10\0\0\x04\x0f"[..],
            b"\0\x01ram",
            b"\0\x021048576 bytes of memory",
            b"\0\x03\0\0\0\x01\0\0\x10\0\x02\0\0\0",
            b"",
        ]
    );
    assert_eq!(last(&replies), REP_ACK);
    assert_eq!(exports.opened(), 0);

    // Only what was asked for, and the size.
    assert_eq!(raw.option(OPT_INFO, &inquiry("ram", &[])).len(), 2);
    assert_eq!(last(&raw.option(OPT_INFO, &inquiry("rom", &[]))), REP_ERR_UNKNOWN);
    assert_eq!(last(&raw.option(OPT_INFO, b"\0\0\0\x09ram\0\0")), REP_ERR_INVALID);
    assert_eq!(exports.opened(), 0);
}

#[test]
fn go_opens_and_a_refusal_leaves_the_handshake_open() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    let refused = raw.option(OPT_GO, &inquiry("rom", &[]));
    assert_eq!(last(&refused), REP_ERR_UNKNOWN);
    assert_eq!(refused[0].data, b"no disk is named `rom`");
    assert_eq!(last(&raw.option(OPT_GO, b"\xff\xff\xff\xff")), REP_ERR_INVALID);
    assert_eq!(last(&raw.option(OPT_GO, &inquiry("a\0b", &[]))), REP_ERR_INVALID);
    assert_eq!(last(&raw.option(OPT_GO, &inquiry("ram", &[1, 2, 3]))), REP_ACK);
    assert_eq!(raw.read(0, 512), [0; 512]);
    raw.disconnect();
}

#[test]
fn export_name_opens_with_and_without_zeroes() {
    let (server, _) = serve_ram();
    for (flags, zeroes) in [(3, 0), (1, 124), (0, 124), (2, 0)] {
        let mut raw = Raw::connect(&server);
        raw.greet(flags);
        raw.send_option(OPT_EXPORT_NAME, b"ram");
        let told = raw.receive(10 + zeroes);
        assert_eq!(be64(&told), 64 * MIB);
        assert_eq!(be16(&told[8..]), 0b1101_0110_1101);
        assert_eq!(told[10..], vec![0; zeroes]);
        assert_eq!(raw.read(512, 512), [0; 512]);
        raw.disconnect();
    }
}

#[test]
fn export_name_cannot_fail_so_the_connection_does() {
    let (server, _) = serve_ram();
    for name in [&b"rom"[..], b"\xff", &[b'x'; 5000]] {
        let mut raw = Raw::greeted(&server);
        raw.send_option(OPT_EXPORT_NAME, name);
        assert_eq!(raw.expect_end(), b"");
    }
    eventually("all are forgotten", || server.connections() == 0);
}

#[test]
fn abort_is_answered_and_ends_the_connection() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    assert_eq!(last(&raw.option(OPT_ABORT, &[])), REP_ACK);
    assert_eq!(raw.expect_end(), b"");

    // Not waiting for the answer is fine, too.
    let mut raw = Raw::greeted(&server);
    raw.send_option(OPT_ABORT, &[]);
    drop(raw);
    eventually("both are forgotten", || server.connections() == 0);
}

#[test]
fn unknown_options_are_answered_and_passed_over() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    for option in [4, OPT_STARTTLS, 12, 0, u32::MAX] {
        let replies = raw.option(option, b"whatever it may carry");
        assert_eq!((replies[0].option, last(&replies)), (option, REP_ERR_UNSUP));
    }
    // Also with more than an option may carry, of any kind.
    for option in [99, OPT_GO] {
        assert_eq!(last(&raw.option(option, &vec![7; 100_000])), REP_ERR_TOO_BIG);
    }
    assert_eq!(last(&raw.option(OPT_GO, &inquiry("ram", &[]))), REP_ACK);
    raw.disconnect();
}

#[test]
fn structured_replies_and_extended_headers_are_agreed_on_once() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    assert_eq!(last(&raw.option(OPT_STRUCTURED_REPLY, b"x")), REP_ERR_INVALID);
    assert_eq!(last(&raw.option(OPT_STRUCTURED_REPLY, &[])), REP_ACK);
    assert_eq!(last(&raw.option(OPT_STRUCTURED_REPLY, &[])), REP_ERR_INVALID);
    assert_eq!(last(&raw.option(OPT_EXTENDED_HEADERS, b"x")), REP_ERR_INVALID);
    assert_eq!(last(&raw.option(OPT_EXTENDED_HEADERS, &[])), REP_ACK);
    assert_eq!(last(&raw.option(OPT_EXTENDED_HEADERS, &[])), REP_ERR_INVALID);
    assert_eq!(
        last(&raw.option(OPT_STRUCTURED_REPLY, &[])),
        REP_ERR_EXT_HEADER_REQD
    );
}

#[test]
fn transmission_flags_tell_what_was_agreed_on() {
    let (server, _) = serve_ram();
    let flags = |raw: &mut Raw| be16(&raw.option(OPT_INFO, &inquiry("ram", &[]))[0].data[10..]);
    let mut raw = Raw::greeted(&server);
    let simple = flags(&mut raw);
    raw.agree(Style::Structured);
    assert_eq!(flags(&mut raw), simple | 1 << 7, "DF");
    raw.agree(Style::Extended);
    assert_eq!(flags(&mut raw), simple | 1 << 7);
    raw.contexts(OPT_SET_META_CONTEXT, "ram", &["base:allocation"]);
    assert_eq!(
        flags(&mut raw),
        simple | 1 << 7 | 1 << 12,
        "block status payloads"
    );
}

#[test]
fn contexts_are_listed_by_name_by_namespace_and_all() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    let data = context_queries("ram", &[]);
    assert_eq!(last(&raw.option(OPT_LIST_META_CONTEXT, &data)), REP_ERR_INVALID);
    raw.agree(Style::Structured);

    let mut list = |queries: &[&str]| {
        let contexts = raw.contexts(OPT_LIST_META_CONTEXT, "ram", queries);
        assert!(
            contexts.iter().all(|(id, _)| *id == 0),
            "numbers are reserved in a list"
        );
        contexts.into_iter().map(|(_, name)| name).collect::<Vec<_>>()
    };
    assert_eq!(list(&[]), ["base:allocation", WRITTEN]);
    assert_eq!(list(&["base:"]), ["base:allocation"]);
    assert_eq!(list(&["ram:", "base:allocation"]), ["base:allocation", WRITTEN]);
    assert_eq!(list(&["ram:writ"]), [""; 0]);
    assert_eq!(list(&["qemu:dirty-bitmap:x"]), [""; 0]);

    let unknown = context_queries("rom", &[]);
    assert_eq!(
        last(&raw.option(OPT_LIST_META_CONTEXT, &unknown)),
        REP_ERR_UNKNOWN
    );
    let bare = context_queries("ram", &["allocation"]);
    assert_eq!(last(&raw.option(OPT_LIST_META_CONTEXT, &bare)), REP_ERR_INVALID);
}

#[test]
fn contexts_are_selected_by_name_and_the_last_selection_counts() {
    let (server, _) = serve_ram();
    let mut raw = Raw::greeted(&server);
    let data = context_queries("ram", &["base:allocation"]);
    assert_eq!(last(&raw.option(OPT_SET_META_CONTEXT, &data)), REP_ERR_INVALID);
    raw.agree(Style::Structured);
    let set = |raw: &mut Raw, queries: &[&str]| raw.contexts(OPT_SET_META_CONTEXT, "ram", queries);
    assert_eq!(set(&mut raw, &[]), []);
    assert_eq!(set(&mut raw, &["base:"]), [], "a namespace selects nothing");
    let both = set(&mut raw, &["base:allocation", WRITTEN, "base:allocation"]);
    assert_eq!(both.len(), 2);
    assert_ne!(both[0].0, both[1].0);
    let one = set(&mut raw, &[WRITTEN]);
    assert_eq!(one.len(), 1);

    raw.option(OPT_GO, &inquiry("ram", &[]));
    let answer = raw.ask(0, BLOCK_STATUS, 0, 512, &[]);
    assert_eq!(answer.chunks.len(), 1);
    assert_eq!(answer.extents(one[0].0), [(512, 0)]);
}

#[test]
fn a_selection_is_for_the_export_it_named() {
    let server = serve([("web", read_only()), ("db", read_only())]);
    for (selected, opened, expected) in [("web", "web", 0), ("web", "db", EINVAL)] {
        let mut raw = Raw::greeted(&server);
        raw.agree(Style::Structured);
        raw.contexts(OPT_SET_META_CONTEXT, selected, &["base:allocation"]);
        raw.option(OPT_GO, &inquiry(opened, &[]));
        assert_eq!(raw.ask(0, BLOCK_STATUS, 0, 512, &[]).errno(), expected);
    }
    // A selection that fails selects nothing.
    let mut raw = Raw::greeted(&server);
    raw.agree(Style::Structured);
    raw.contexts(OPT_SET_META_CONTEXT, "web", &["base:allocation"]);
    raw.option(
        OPT_SET_META_CONTEXT,
        &context_queries("rom", &["base:allocation"]),
    );
    raw.option(OPT_GO, &inquiry("web", &[]));
    assert_eq!(raw.ask(0, BLOCK_STATUS, 0, 512, &[]).errno(), EINVAL);
}

#[test]
fn who_breaks_the_protocol_is_left() {
    let (server, _) = serve_ram();
    let flags: [&[u8]; 2] = [b"\0\0\0\x04", b"\x80\0\0\x03"];
    for unknown_flags in flags {
        let mut raw = Raw::connect(&server);
        raw.receive(18);
        raw.send(unknown_flags);
        assert_eq!(raw.expect_end(), b"");
    }
    let mut raw = Raw::greeted(&server);
    raw.send(b"IHAVENOT\0\0\0\x03\0\0\0\0");
    assert_eq!(raw.expect_end(), b"");
    // The only option without the fixed style is the one that names an export.
    let mut raw = Raw::connect(&server);
    raw.greet(0);
    raw.send_option(OPT_LIST, &[]);
    assert_eq!(raw.expect_end(), b"");
    eventually("all are forgotten", || server.connections() == 0);
}

#[test]
fn options_may_come_in_pieces_and_all_at_once() {
    let (server, _) = serve_ram();
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    bytes.extend(option_bytes(99, b"abc"));
    bytes.extend(option_bytes(OPT_STRUCTURED_REPLY, &[]));
    bytes.extend(option_bytes(OPT_GO, &inquiry("ram", &[])));
    // Requests may follow at once: they are for after the reply to `OPT_GO`.
    bytes.extend(request_bytes(Style::Structured, 0, FLUSH, 9, 0, 0));
    for step in [1, 3, 7, bytes.len()] {
        let mut raw = Raw::connect(&server);
        raw.receive(18);
        for piece in bytes.chunks(step) {
            raw.send(piece);
        }
        assert_eq!(last(&raw.option_replies()), REP_ERR_UNSUP);
        assert_eq!(last(&raw.option_replies()), REP_ACK);
        assert_eq!(last(&raw.option_replies()), REP_ACK);
        raw.style = Style::Structured;
        let answer = raw.answer();
        assert_eq!((answer.cookie, answer.errno()), (9, 0));
    }
}

#[test]
fn a_client_that_dawdles_is_left_in_time() {
    let limits = Limits {
        handshake_time: Duration::from_millis(150),
        ..Limits::default()
    };
    let server = serve_within(limits, [("ram", read_only())]);
    let begin = Instant::now();
    let mut silent = Raw::connect(&server);
    let mut half = Raw::greeted(&server);
    half.send(b"IHAVEOPT\0\0");
    assert_eq!(silent.expect_end().len(), 18);
    assert_eq!(half.expect_end(), b"");

    // Sending something now and then buys no time.
    let mut slow = Raw::greeted(&server);
    for byte in option_bytes(OPT_LIST, &[]) {
        std::thread::sleep(Duration::from_millis(30));
        if std::io::Write::write_all(&mut slow.socket, &[byte]).is_err() {
            break;
        }
    }
    slow.expect_end();
    assert!(begin.elapsed() < Duration::from_secs(5));
    eventually("all are forgotten", || server.connections() == 0);
}

#[test]
fn a_client_that_floods_with_options_is_left() {
    let limits = Limits {
        handshake_bytes: 10_000,
        ..Limits::default()
    };
    let server = serve_within(limits, [("ram", read_only())]);
    let mut raw = Raw::greeted(&server);
    let mut sent = 0;
    // It takes its replies, so nothing else would stop it.
    while std::io::Write::write_all(&mut raw.socket, &option_bytes(OPT_STARTTLS, &[])).is_ok() {
        sent += 16;
        assert!(sent < 1_000_000);
        let mut some = [0; 4096];
        if std::io::Read::read(&mut raw.socket, &mut some).is_ok_and(|bytes| bytes == 0) {
            break;
        }
    }
    assert!(sent <= 20_000, "{sent}");

    // What is announced and never sent is no reason to wait, or to remember anything.
    let mut raw = Raw::greeted(&server);
    raw.send(b"IHAVEOPT\0\0\0\x63\xff\xff\xff\xff");
    assert_eq!(last(&raw.option_replies()), REP_ERR_TOO_BIG);
    while std::io::Write::write_all(&mut raw.socket, &[0; 4096]).is_ok() {}
    raw.expect_end();
}

#[test]
fn one_connection_too_many_is_closed() {
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let server = serve_within(limits, [("ram", read_only())]);
    server
        .listen(std::os::unix::net::UnixListener::bind(&path).unwrap())
        .unwrap();
    let connect = || Raw::over(std::os::unix::net::UnixStream::connect(&path).unwrap());

    let mut kept: Vec<_> = (0..2).map(|_| connect()).collect();
    kept.iter_mut().for_each(|raw| raw.greet(3));
    assert_eq!(connect().expect_end(), b"");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(server.serve(theirs).is_err());
    assert_eq!(Raw::over(ours).expect_end(), b"");

    kept.pop();
    eventually("there is room again", || server.connections() == 1);
    connect().greet(3);
}
