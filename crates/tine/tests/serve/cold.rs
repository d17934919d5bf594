//! What has to come from the medium, of a real store behind a real server.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::client::{CACHE, READ, request};
use crate::common::Bench;
use crate::daemon::{Daemon, golden, have, noise};

/// Returns how many bytes of the segments are in the page cache.
fn cached(bench: &Bench) -> u64 {
    let said = bench.succeeds("fincore --bytes --noheadings --output RES \"$TINE_STORE\"/segments/*");
    said.lines().map(|line| line.trim().parse::<u64>().unwrap()).sum()
}

/// Returns a store none of whose segments is in the page cache; says which test is skipped where that cannot be.
fn golden_gone_cold(test: &str) -> Option<Bench> {
    if !have(&["fincore", "dd"], test) {
        return None;
    }
    let bench = golden();
    let begun = Instant::now();
    while cached(&bench) > 0 {
        if begun.elapsed() > Duration::from_secs(10) {
            eprintln!("skipped: {test}: this file system keeps all that it has in memory");
            return None;
        }
        bench.succeeds("sync; for file in \"$TINE_STORE\"/segments/*; do dd if=\"$file\" iflag=nocache count=0 2>&1; done");
    }
    Some(bench)
}

/// Lets the cache go under a daemon that has the store open.
fn go_cold(bench: &Bench, daemon: &Daemon) {
    daemon.wait_until("it goes out of the page cache", || {
        bench.succeeds(
            "for file in \"$TINE_STORE\"/segments/*; do dd if=\"$file\" iflag=nocache count=0 2>&1; done",
        );
        cached(bench) == 0
    });
}

#[test]
fn who_reads_what_is_at_hand_does_not_wait_for_the_medium() {
    let Some(bench) = golden_gone_cold("who_reads_what_is_at_hand_does_not_wait") else {
        return;
    };
    let daemon = Daemon::start(&bench, "");
    let content = noise(1, 8 << 20);
    let mut client = daemon.connect("golden+fork");
    client.write(&[7; 4096], 0).unwrap();
    // The way to the blocks is known then, as it is once a disk is in use.
    client.read(&mut [0; 4096], (4 << 20) + 4096).unwrap();
    for round in 0..8 {
        go_cold(&bench, &daemon);
        // Cold ones, and behind them one that is in memory, all sent at once.
        let cold: Vec<u64> = (0..16)
            .map(|at| (4 << 20) + (at * 113 + round * 7) % 2048 * 4096)
            .collect();
        let mut sent = Vec::new();
        for (cookie, offset) in (1..).zip(&cold) {
            sent.extend(request(READ, cookie, *offset, 4096));
        }
        sent.extend(request(READ, 99, 0, 4096));
        client.stream.write_all(&sent).unwrap();
        let mut order = Vec::new();
        for _ in 0..=cold.len() {
            let mut read = [0; 4096];
            let (cookie, error) = client.reply(&mut read).unwrap();
            assert_eq!(error, 0);
            match cold.get((cookie - 1) as usize) {
                Some(offset) => assert!(read == content[(*offset - (4 << 20)) as usize..][..4096]),
                None => assert_eq!(read, [7; 4096]),
            }
            order.push(cookie);
        }
        assert_eq!(order[0], 99, "it waited for those before it: {order:?}");
    }
    client.leave().unwrap();
    daemon.stop();
}

#[test]
fn what_is_to_be_cached_is_fetched() {
    let Some(bench) = golden_gone_cold("what_is_to_be_cached_is_fetched") else {
        return;
    };
    let daemon = Daemon::start(&bench, "");
    let mut client = daemon.connect("golden@v1");
    go_cold(&bench, &daemon);
    client.send(CACHE, 4 << 20, 8 << 20, &[]).unwrap();
    assert_eq!(client.reply(&mut []).unwrap(), (1, 0));
    let stored: u64 = fs::read_dir(bench.store().join("segments"))
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(stored >= 8 << 20);
    daemon.wait_until("it is in the page cache", || cached(&bench) >= 8 << 20);
    daemon.stop();
}
