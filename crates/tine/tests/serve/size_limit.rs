//! A daemon whose files may not grow (`ulimit -f`): who writes is told, and all that was taken is there.

use crate::daemon::{Daemon, golden, noise};

#[test]
fn a_daemon_under_a_limit_of_file_sizes_refuses_what_finds_no_room_and_goes_on() {
    const PIECE: usize = 1 << 20;
    let bench = golden();
    bench.succeeds("tine create disk 128M");
    // In blocks of 512 bytes. The store holds room for what it takes, by a file that may not be larger.
    let daemon = Daemon::start_after(&bench, "ulimit -f 60000", "");
    let mut client = daemon.connect("disk");
    let content = |piece: u64| noise(100 + piece, PIECE);
    let mut taken = 0;
    let refused = loop {
        match client.write(&content(taken), taken * PIECE as u64) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 127, "there is a limit");
    };
    assert_eq!(refused.raw_os_error(), Some(5), "{refused}");
    assert!(taken > 0);
    let holds_all = |client: &mut crate::client::Client| {
        let mut bytes = vec![0; PIECE];
        for piece in 0..taken {
            client.read(&mut bytes, piece * PIECE as u64).unwrap();
            assert!(bytes == content(piece), "piece {piece}");
        }
    };
    holds_all(&mut client);
    client.flush().unwrap();
    // Once it has been drained there is room again.
    client.write(&content(taken), taken * PIECE as u64).unwrap();
    client.leave().unwrap();
    let refused = bench.run("head -c 64M /dev/urandom | tine write disk --offset 64M");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("too large") && said.contains("ulimit -f"), "{said}");
    daemon.stop();

    let daemon = Daemon::start(&bench, "");
    let mut client = daemon.connect("disk");
    holds_all(&mut client);
    client.leave().unwrap();
    bench.succeeds("tine check --data");
    daemon.stop();
}
