//! Goal: every request of the protocol is answered by the book, in each of the three styles of headers.
//! Method: single requests of a client that reads every byte that comes back; a disk in memory says what they did.

mod support;

use std::sync::Arc;

use support::client::*;
use support::ram_disk::{RamDisk, WRITTEN};
use support::{MIB, Troubled, eventually, serve, serve_ram};
use tine_nbd::{Errno, Export, Fault, Features};

const SIZE: u64 = 64 * MIB;

#[test]
fn what_is_written_is_read() {
    let (server, _) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        // Small and large, within a piece of 1 MiB and over several, aligned and not, up to what a request may have.
        let lengths = [1, 511, 4096, 65_535, 65_536, 1 << 20, (1 << 20) + 1, 5 << 20];
        for (seed, length) in (0..).zip(lengths) {
            for offset in [0, 4097, SIZE - length as u64] {
                let bytes = pattern(seed + offset, length);
                raw.write(offset, &bytes);
                assert!(raw.read(offset, length) == bytes, "{style:?} {offset} {length}");
            }
        }
        let longest = vec![style as u8 + 1; 32 << 20];
        raw.write(777, &longest);
        assert!(raw.read(777, 32 << 20) == longest, "{style:?}");
        raw.disconnect();
    }
}

#[test]
fn reads_show_holes_to_those_who_can_see_them() {
    let (server, disk) = serve_ram();
    // Data in the second and the fourth 64 KiB of a MiB, and zeroes written at the third's begin.
    disk.write(&pattern(1, 65_536), MIB + 65_536).unwrap();
    disk.write(&pattern(2, 65_536), MIB + 3 * 65_536).unwrap();
    disk.write(&[0; 32_768], MIB + 2 * 65_536).unwrap();
    let mut expected = vec![0; MIB as usize];
    disk.read(&mut expected, MIB).unwrap();

    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        let answer = raw.ask(0, READ, MIB, MIB, &[]);
        assert!(answer.data(MIB, MIB as usize) == expected, "{style:?}");
        let holes: Vec<_> = answer
            .chunks
            .iter()
            .filter_map(|chunk| match chunk {
                Chunk::Hole { offset, length } => Some((*offset - MIB, *length)),
                _ => None,
            })
            .collect();
        let expected = [(0, 65_536), (131_072, 65_536), (262_144, 786_432)];
        assert_eq!(
            holes,
            if style == Style::Simple {
                &[][..]
            } else {
                &expected
            }
        );
    }
    // A small read of zeroes is a hole, too; simple replies have none.
    let mut raw = Raw::attached(&server, "ram", Style::Structured, &[]);
    assert_eq!(
        raw.ask(0, READ, 4096, 4096, &[]).chunks,
        [Chunk::Hole {
            offset: 4096,
            length: 4096
        }]
    );
}

#[test]
fn an_unfragmented_read_is_one_chunk_or_refused() {
    let (server, disk) = serve_ram();
    disk.write(&pattern(3, 4096), 2 * MIB).unwrap();
    for style in [Style::Structured, Style::Extended] {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        for length in [512, 65_536, 3 * MIB, 4 * MIB] {
            let answer = raw.ask(DF, READ, MIB, length, &[]);
            let contents = answer
                .chunks
                .iter()
                .filter(|chunk| **chunk != Chunk::None)
                .count();
            assert_eq!(contents, 1, "{length}");
            assert!(
                matches!(&answer.chunks[0], Chunk::Data { offset: MIB, data } if data.len() as u64 == length)
            );
        }
        assert_eq!(raw.ask(DF, READ, 0, 4 * MIB + 1, &[]).errno(), EOVERFLOW);
        assert_eq!(raw.ask(DF, READ, SIZE, 1, &[]).errno(), EINVAL);
    }
    let mut raw = Raw::attached(&server, "ram", Style::Simple, &[]);
    assert_eq!(raw.ask(DF, READ, 0, 512, &[]).errno(), EINVAL, "not agreed on");
}

#[test]
fn ranges_past_the_end_are_refused_by_the_book() {
    let (server, disk) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(
            &server,
            "ram",
            style,
            &["base:allocation"][..usize::from(style != Style::Simple)],
        );
        let payload = pattern(4, 4096);
        for (kind, expected) in [
            (READ, EINVAL),
            (WRITE, ENOSPC),
            (WRITE_ZEROES, ENOSPC),
            (TRIM, EINVAL),
            (CACHE, EINVAL),
            (BLOCK_STATUS, EINVAL),
        ] {
            let carried = if kind == WRITE { &payload[..] } else { &[] };
            for offset in [SIZE - 4095, SIZE, u64::MAX - 100, u64::MAX] {
                let answer = raw.ask(0, kind, offset, 4096, carried);
                // Without structured replies no context can be selected.
                let expected = if kind == BLOCK_STATUS && style == Style::Simple {
                    EINVAL
                } else {
                    expected
                };
                assert_eq!(answer.errno(), expected, "{style:?} {kind} {offset}");
                assert_eq!(answer.message().is_empty(), style == Style::Simple);
            }
        }
        // A large payload of a refused write is passed over.
        let large = pattern(5, 3 << 20);
        assert_eq!(raw.ask(0, WRITE, SIZE - MIB, 3 * MIB, &large).errno(), ENOSPC);
        assert_eq!(raw.read(SIZE - 4096, 4096), [0; 4096]);
    }
    assert_eq!(disk.flushes(), 0);
}

#[test]
fn what_is_malformed_is_refused_and_the_connection_goes_on() {
    let (server, _) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        let payload = [1; 512];
        for (flags, kind, offset, length) in [
            (0, 8, 0, 512),
            (0, u16::MAX, 0, 512),
            (DF, WRITE, 0, 512),
            (REQ_ONE, READ, 0, 512),
            (NO_HOLE, TRIM, 0, 512),
            (FAST_ZERO, WRITE, 0, 512),
            (1 << 15, READ, 0, 512),
            (0, FLUSH, 512, 0),
            (0, FLUSH, 0, 512),
            (0, BLOCK_STATUS, 0, 512),
        ] {
            let carried = if kind == WRITE { &payload[..] } else { &[] };
            let answer = raw.ask(flags, kind, offset, length, carried);
            assert_eq!(answer.errno(), EINVAL, "{style:?} {flags} {kind}");
        }
        assert_eq!(raw.ask(0, READ, 0, (32 << 20) + 1, &[]).errno(), EINVAL);
        assert_eq!(raw.read(0, 512), [0; 512], "nothing was written");
    }
    // A payload where none belongs is passed over.
    let mut raw = Raw::attached(&server, "ram", Style::Extended, &[]);
    for length in [16, 100_000] {
        assert_eq!(
            raw.ask(PAYLOAD_LEN, READ, 0, length, &vec![7; length as usize])
                .errno(),
            EINVAL
        );
    }
    assert_eq!(raw.read(0, 512), [0; 512]);
}

#[test]
fn nothing_is_done_well() {
    let (server, _) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        for kind in [READ, WRITE, TRIM, WRITE_ZEROES, CACHE] {
            assert_eq!(raw.ask(0, kind, 4096, 0, &[]).errno(), 0, "{style:?} {kind}");
        }
    }
}

#[test]
fn fua_is_the_request_and_then_a_flush() {
    let (server, disk) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        let mut flushes = disk.flushes();
        let large = pattern(6, 3 << 20);
        for (kind, length) in [
            (WRITE, 512),
            (WRITE, 3 << 20),
            (TRIM, 4096),
            (WRITE_ZEROES, 4096),
            (FLUSH, 0),
        ] {
            let carried = if kind == WRITE { &large[..length] } else { &[] };
            assert_eq!(raw.ask(FUA, kind, 0, length as u64, carried).errno(), 0);
            flushes += 1;
            assert_eq!(disk.flushes(), flushes, "{style:?} {kind} {length}");
        }
        // Where nothing is written it means nothing, and is accepted.
        for kind in [READ, CACHE] {
            assert_eq!(raw.ask(FUA, kind, 0, 512, &[]).errno(), 0);
        }
        assert_eq!(disk.flushes(), flushes);
    }
}

#[test]
fn zeroes_and_trims_make_zeroes() {
    let (server, disk) = serve_ram();
    for style in STYLES {
        let mut raw = Raw::attached(&server, "ram", style, &[]);
        for (kind, flags) in [
            (TRIM, 0),
            (WRITE_ZEROES, 0),
            (WRITE_ZEROES, NO_HOLE),
            (WRITE_ZEROES, FAST_ZERO),
        ] {
            let mut expected = pattern(7, 1 << 20);
            raw.write(MIB, &expected);
            assert_eq!(raw.ask(flags, kind, MIB + 1000, 500_000, &[]).errno(), 0);
            expected[1000..501_000].fill(0);
            assert!(raw.read(MIB, 1 << 20) == expected, "{style:?} {kind} {flags}");
        }
        raw.write(0, &[1; 32 << 10]);
        for (flags, hole) in [(NO_HOLE, false), (0, true)] {
            raw.ask(flags, WRITE_ZEROES, 0, 32 << 10, &[]);
            let mut seen = None;
            disk.extents("base:allocation", 0..512, &mut |extent| {
                seen = Some(extent.flags & 1 != 0);
                std::ops::ControlFlow::Break(())
            })
            .unwrap();
            assert_eq!(seen, Some(hole));
        }
    }
    let troubled: Arc<dyn Export> = Arc::new(Troubled::new(MIB));
    let server = serve([("slow", troubled)]);
    let mut raw = Raw::attached(&server, "slow", Style::Structured, &[]);
    let answer = raw.ask(FAST_ZERO, WRITE_ZEROES, 0, 4096, &[]);
    assert_eq!(
        (answer.errno(), &*answer.message()),
        (ENOTSUP, "zeroes are written one by one here")
    );
}

#[test]
fn lengths_of_64_bits_are_for_extended_headers() {
    let huge: Arc<dyn Export> = Arc::new(RamDisk::new(1 << 33));
    let server = serve([("huge", huge)]);
    let mut raw = Raw::attached(&server, "huge", Style::Extended, &["base:allocation"]);
    for kind in [WRITE_ZEROES, TRIM, CACHE] {
        assert_eq!(raw.ask(0, kind, 4096, (1 << 33) - 4096, &[]).errno(), 0);
    }
    let answer = raw.ask(0, BLOCK_STATUS, 0, 1 << 33, &[]);
    assert_eq!(answer.extents(1), [(1 << 33, 3)]);
    // Without them each reply ends where its own numbers do.
    let mut raw = Raw::attached(&server, "huge", Style::Structured, &["base:allocation"]);
    let answer = raw.ask(0, BLOCK_STATUS, 0, u32::MAX.into(), &[]);
    assert_eq!(answer.extents(1), [(u32::MAX.into(), 3)]);
}

#[test]
fn block_status_tells_of_each_context_that_was_selected() {
    let (server, disk) = serve_ram();
    disk.write(&pattern(8, 65_536), MIB).unwrap();
    disk.trim(0..32_768).unwrap();
    for style in [Style::Structured, Style::Extended] {
        let mut raw = Raw::attached(&server, "ram", style, &["base:allocation", WRITTEN]);
        let answer = raw.ask(0, BLOCK_STATUS, 0, 2 * MIB, &[]);
        assert_eq!(answer.extents(1), [(MIB, 3), (65_536, 0), (MIB - 65_536, 3)]);
        assert_eq!(
            answer.extents(2),
            [(32_768, 1), (MIB - 32_768, 0), (65_536, 1), (MIB - 65_536, 0)]
        );
        assert_eq!(answer.chunks.len(), 2);

        let answer = raw.ask(REQ_ONE, BLOCK_STATUS, 16_384, MIB, &[]);
        assert_eq!(answer.extents(1), [(MIB - 16_384, 3)]);
        assert_eq!(answer.extents(2), [(16_384, 1)]);
        // Anywhere, and no further than asked for.
        let answer = raw.ask(0, BLOCK_STATUS, MIB + 7, 1, &[]);
        assert_eq!(answer.extents(1), [(1, 0)]);
        assert_eq!(raw.ask(0, BLOCK_STATUS, 0, 0, &[]).errno(), EINVAL);
    }
}

#[test]
fn block_status_may_be_filtered_by_a_payload() {
    let (server, _) = serve_ram();
    let mut raw = Raw::attached(&server, "ram", Style::Extended, &["base:allocation", WRITTEN]);
    let payload = |length: u64, ids: &[u32]| {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
        bytes
    };
    let mut ask = |payload: &[u8]| raw.ask(PAYLOAD_LEN, BLOCK_STATUS, 4096, payload.len() as u64, payload);
    let answer = ask(&payload(8192, &[2]));
    assert_eq!(answer.chunks.len(), 1);
    assert_eq!(answer.extents(2), [(8192, 0)]);
    assert_eq!(ask(&payload(8192, &[2, 1])).chunks.len(), 2);
    for bad in [
        payload(8192, &[]),
        payload(8192, &[3]),
        payload(8192, &[1, 1]),
        payload(SIZE, &[1]),
        vec![1; 5],
    ] {
        assert_eq!(ask(&bad).errno(), EINVAL, "{bad:?}");
    }
}

#[test]
fn a_status_of_many_extents_is_cut_where_a_reply_is_long_enough() {
    let disk = Arc::new(RamDisk::new(2048 * MIB));
    // Every other 32 KiB: 32,768 extents in all.
    for at in (0..2048 * MIB).step_by(65_536) {
        disk.write(&[1], at).unwrap();
    }
    let server = serve([("ram", Arc::<RamDisk>::clone(&disk) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "ram", Style::Structured, &["base:allocation"]);
    let mut at = 0;
    let mut requests = 0;
    while at < 2048 * MIB {
        let left = (2048 * MIB - at).min(u32::MAX.into());
        let extents = raw.ask(0, BLOCK_STATUS, at, left, &[]).extents(1);
        assert!(extents.iter().all(|(length, _)| *length == 32_768));
        at += extents.iter().map(|(length, _)| length).sum::<u64>();
        requests += 1;
    }
    assert_eq!((at, requests), (2048 * MIB, 4));
}

#[test]
fn a_read_only_export_is_read_only() {
    let disk = Arc::new(RamDisk::with(
        4 * MIB,
        Features {
            read_only: true,
            multi_conn: false,
        },
    ));
    disk.write(&pattern(9, 4096), 0).unwrap();
    let server = serve([("rom", Arc::<RamDisk>::clone(&disk) as Arc<dyn Export>)]);
    for style in STYLES {
        let mut raw = Raw::attached(&server, "rom", style, &[]);
        for (kind, length) in [(WRITE, 512), (WRITE, 1 << 20), (TRIM, 512), (WRITE_ZEROES, 512)] {
            let bytes = vec![1; length];
            let carried = if kind == WRITE { &bytes[..] } else { &[] };
            assert_eq!(raw.ask(0, kind, 0, length as u64, carried).errno(), EPERM);
        }
        assert_eq!(raw.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
        assert_eq!(raw.read(0, 4096), pattern(9, 4096));
    }
}

#[test]
fn the_engines_words_reach_the_client() {
    for slow in [false, true] {
        let troubled = Troubled {
            slow,
            bad: 2 * MIB..2 * MIB + 1,
            ..Troubled::new(32 * MIB)
        };
        let server = serve([("bad", Arc::new(troubled) as Arc<dyn Export>)]);
        for style in STYLES {
            let mut raw = Raw::attached(&server, "bad", style, &[]);
            for length in [4096, 65_536, 2 << 20] {
                let offset = 2 * MIB - 1024;
                let bytes = vec![1; length as usize];
                for answer in [
                    raw.ask(0, READ, offset, length, &[]),
                    raw.ask(0, WRITE, offset, length, &bytes),
                ] {
                    assert_eq!(answer.errno(), EIO, "{style:?} {length}");
                    if style != Style::Simple {
                        assert_eq!(answer.message(), "block 7 fails its checksum");
                    }
                }
            }
            assert_eq!(raw.read(0, 512).len(), 512, "others go on");
        }
    }
}

#[test]
fn a_large_read_that_fails_on_the_way_says_so_or_ends_the_connection() {
    let troubled = Troubled {
        bad: 6 * MIB..6 * MIB + 1,
        ..Troubled::new(32 * MIB)
    };
    let server = serve([("bad", Arc::new(troubled) as Arc<dyn Export>)]);
    for style in [Style::Structured, Style::Extended] {
        let mut raw = Raw::attached(&server, "bad", style, &[]);
        assert_eq!(raw.ask(0, READ, 0, 16 * MIB, &[]).errno(), EIO);
        assert_eq!(raw.read(7 * MIB, 512), [0; 512]);
    }
    // A simple reply has said by then that all is well.
    let mut raw = Raw::attached(&server, "bad", Style::Simple, &[]);
    raw.request(0, READ, 0, 16 * MIB, &[]);
    let received = raw.expect_end();
    assert!(received.len() as u64 >= 16 && (received.len() as u64) < 16 * MIB);
    // Unless the first of it failed.
    let mut raw = Raw::attached(&server, "bad", Style::Simple, &[]);
    assert_eq!(raw.ask(0, READ, 6 * MIB, 16 * MIB, &[]).errno(), EIO);
}

#[test]
fn no_space_is_what_the_engine_says() {
    let troubled = Troubled {
        slow: true,
        bad: 0..MIB,
        fault: Fault::new(Errno::NoSpace, "the medium is full"),
        ..Troubled::new(4 * MIB)
    };
    let server = serve([("full", Arc::new(troubled) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "full", Style::Structured, &[]);
    assert_eq!(raw.ask(FUA, WRITE, 0, 512, &[1; 512]).errno(), ENOSPC);
    assert_eq!(raw.ask(0, WRITE, 0, 2 << 20, &vec![1; 2 << 20]).errno(), ENOSPC);
}

#[test]
fn no_request_waits_behind_a_slower_one() {
    let troubled = Arc::new(Troubled::new(16 * MIB));
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    for style in STYLES {
        let mut raw = Raw::attached(&server, "slow", style, &[]);
        troubled.flushing.close();
        // Also when they come in one go.
        let flush = raw.request(0, FLUSH, 0, 0, &[]);
        let fua = raw.request(FUA, WRITE, 0, 512, &[1; 512]);
        assert_eq!(raw.read(0, 512), [1; 512]);
        for _ in 0..10 {
            raw.write(4096, &[2; 4096]);
            assert_eq!(raw.read(4096, 4096), [2; 4096]);
        }
        eventually("both are being flushed", || troubled.flushing.waiting() == 2);
        troubled.flushing.open();
        let mut done = [raw.answer(), raw.answer()].map(|answer| (answer.cookie, answer.errno()));
        done.sort_unstable();
        assert_eq!(done, [(flush, 0), (fua, 0)]);
        raw.disconnect();
    }
}

#[test]
fn reads_that_wait_for_the_medium_wait_together() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(16 * MIB)
    });
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "slow", Style::Structured, &[]);
    troubled.reading.close();
    let mut cookies: Vec<_> = (0..32)
        .map(|at| raw.request(0, READ, at * 4096, 4096, &[]))
        .collect();
    eventually("all are being read", || troubled.reading.waiting() == 32);
    // A flush overtakes them all.
    assert_eq!(raw.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    troubled.reading.open();
    let mut answered: Vec<_> = (0..32).map(|_| raw.answer().cookie).collect();
    answered.sort_unstable();
    cookies.sort_unstable();
    assert_eq!(answered, cookies);
}

#[test]
fn a_request_of_many_pieces_is_answered_once() {
    let troubled = Arc::new(Troubled {
        slow: true,
        ..Troubled::new(64 * MIB)
    });
    let server = serve([("slow", Arc::<Troubled>::clone(&troubled) as Arc<dyn Export>)]);
    let mut raw = Raw::attached(&server, "slow", Style::Extended, &[]);
    let bytes = pattern(10, 32 << 20);
    assert_eq!(raw.ask(FUA, WRITE, 12_345, 32 * MIB, &bytes).errno(), 0);
    assert_eq!(troubled.disk.flushes(), 1);
    assert!(raw.read(12_345, 32 << 20) == bytes);
    raw.disconnect();
}

#[test]
fn a_flush_on_one_connection_covers_all() {
    let (server, disk) = serve_ram();
    let mut one = Raw::attached(&server, "ram", Style::Structured, &[]);
    let mut other = Raw::attached(&server, "ram", Style::Structured, &[]);
    one.write(0, &[1; 4096]);
    assert_eq!(other.read(0, 4096), [1; 4096]);
    assert_eq!(other.ask(0, FLUSH, 0, 0, &[]).errno(), 0);
    assert_eq!(disk.flushes(), 1);
}
