//! How a fork is asked for in a URI, and what tools make of it: `golden` is never written by who asked for a fork of it.
//!
//! A URI's path ends at `?`, and its queries are between `&`. So `golden?fork` names `golden`, and no server can tell: it
//! never learns what stood behind. `+` is a letter of the path like any other.

use crate::daemon::{Daemon, golden, have};

/// Spellings, up to the socket.
const SPELLINGS: [&str; 9] = [
    "golden+fork?",
    "golden%2Bfork?",
    "golden%2bfork?",
    "golden+fork%3Djob?",
    "golden+fork=job?",
    "golden@v1+fork?",
    "golden?fork&",
    "golden%20fork?",
    "golden&fork?",
];

/// Those that name a fork, to each tool that can say it.
const FORKS: usize = 6;

#[test]
fn who_asks_for_a_fork_gets_one_or_is_refused_and_golden_is_never_written() {
    if !have(&["nbdinfo", "qemu-img", "qemu-io"], "who_asks_for_a_fork") {
        return;
    }
    let bench = golden();
    // What takes `golden?fork` for `golden` has it read-only.
    bench.succeeds("tine protect golden");
    let daemon = Daemon::start(&bench, "");
    for (place, spelling) in SPELLINGS.iter().enumerate() {
        let uri = format!("nbd+unix:///{spelling}socket={}", daemon.socket.display());
        let looks = [
            format!("nbdinfo --no-content --json '{uri}'"),
            format!("nbdinfo --size '{uri}'"),
            format!("qemu-img info '{uri}'"),
        ];
        for look in looks {
            let done = bench.run(&look).status.success();
            assert!(done || place >= FORKS, "{look}");
        }
        let write = bench.run(&format!("qemu-io -f raw -c 'write -P 99 0 32M' '{uri}'"));
        let said = String::from_utf8_lossy(&write.stdout);
        assert_eq!(
            said.contains("wrote 33554432"),
            place < FORKS,
            "{spelling}: {said}"
        );
    }
    drop(daemon);
    bench.succeeds("tine diff golden golden@v1 --exit-code");
}

#[test]
fn looking_at_golden_by_any_spelling_does_not_write_it() {
    if !have(&["nbdinfo", "qemu-img"], "looking_at_golden") {
        return;
    }
    let bench = golden();
    let before = bench.succeeds("tine ls --json");
    let daemon = Daemon::start(&bench, "");
    for spelling in SPELLINGS.into_iter().chain(["golden?"]) {
        let uri = format!("nbd+unix:///{spelling}socket={}", daemon.socket.display());
        for look in ["nbdinfo --no-content", "qemu-img info", "qemu-img map"] {
            // Some of them are refused.
            let _ = bench.run(&format!("{look} '{uri}'"));
        }
    }
    daemon.stop();
    assert_eq!(
        bench.succeeds("tine ls --json"),
        before,
        "no branch is left, and nothing was written"
    );
}
