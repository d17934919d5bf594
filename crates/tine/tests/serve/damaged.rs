//! What a client is told of a block that is damaged on the medium.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use crate::client::{Client, READ};
use crate::daemon::{Daemon, golden, noise};

const BLOCK: usize = 4096;
const EIO: u32 = 5;

#[test]
fn a_damaged_block_is_an_error_with_the_engines_words_and_all_others_are_read() {
    let bench = golden();
    // A bit of the first block of every segment.
    let mut segments = 0;
    for segment in fs::read_dir(bench.store().join("segments")).unwrap() {
        let file = File::options()
            .read(true)
            .write(true)
            .open(segment.unwrap().path())
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
        segments += 1;
    }
    let daemon = Daemon::start(&bench, "");
    for export in ["golden", "golden@v1", "golden+fork"] {
        let mut client = Client::connect_for_words(&daemon.socket, export).unwrap();
        let mut damaged = Vec::new();
        for (at, expected) in noise(1, 8 << 20).chunks(BLOCK).enumerate() {
            let offset = (4 << 20) + (at * BLOCK) as u64;
            match client.try_to(READ, offset, BLOCK as u32, &[]).unwrap() {
                Ok(read) => assert!(read == expected, "{export}: block {at}"),
                Err((number, words)) => {
                    assert_eq!(number, EIO, "{words}");
                    assert!(words.contains("is damaged: its checksum is"), "{words}");
                    assert!(words.contains("`tine check --data`"), "{words}");
                    damaged.push(offset);
                }
            }
        }
        assert_eq!(damaged.len(), segments, "{export}");
        // It stays so, and a larger read that meets it is refused, too.
        let first = damaged[0];
        for length in [BLOCK, 64 * BLOCK] {
            let read = client.try_to(READ, first, length as u32, &[]).unwrap();
            assert_eq!(read.expect_err("it is damaged").0, EIO);
        }
    }
    daemon.stop();
}
