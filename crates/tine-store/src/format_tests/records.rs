//! Every kind of record, with its bytes.

use super::{FRAME, SEGMENT, hex};
use crate::codec::{Decoder, Encoder};
use crate::journal::record::{BranchMade, Record, SegmentPublished};

/// Every kind of record, its optional fields both ways, with its bytes.
pub(super) fn records() -> Vec<(Record, &'static str)> {
    vec![
        (Record::Epoch { cut: None }, "0100"),
        (
            Record::Epoch { cut: Some(FRAME) },
            "010103000000000000006e6f6e6365206f662065706f636820330900000000000000efcdab8967452301",
        ),
        (
            Record::Blocks {
                stretch: 7,
                group: 2,
                blocks: vec![(0x11, 0xaabb_ccdd), (0x12, 1)],
            },
            "02070000000000000002000000000000000200000011000000000000\
             00ddccbbaa120000000000000001000000",
        ),
        (
            Record::Zeroes {
                stretch: 7,
                group: 3,
                start: 0x20,
                count: 0x100,
                hole: true,
            },
            "0307000000000000000300000000000000200000000000000000010000000000\
             0001",
        ),
        (
            Record::Resized {
                stretch: 7,
                group: 4,
                size: 0x10_0000,
            },
            "04070000000000000004000000000000000000100000000000",
        ),
        (
            Record::Published(SegmentPublished {
                segment: SEGMENT,
                length: 0x3000,
                footer: 0x1234_5678,
                parts: vec![(7, 4), (8, 1)],
            }),
            "0505000000030000000030000000000000785634120200000007000000000000\
             000400000000000000080000000000000001000000000000\
             00",
        ),
        (
            Record::BranchMade(BranchMade {
                branch: 4,
                name: "trial".into(),
                stretch: 8,
                parent: Some(7),
                size: 0x10_0000,
                created: 0x1122_3344_5566_7788,
                origin: Some("golden@clean".into()),
                ephemeral: false,
            }),
            "060400000000000000050000007472\
             69616c08000000000000000107000000000000000000100000000000887766\
             55443322110c000000676f6c64656e40636c65616e00",
        ),
        (
            Record::BranchMade(BranchMade {
                branch: 4,
                name: ".4".into(),
                stretch: 8,
                parent: None,
                size: 0,
                created: 0,
                origin: None,
                ephemeral: true,
            }),
            "060400000000000000020000002e34080000000000000000000000000000000000000000000000000000000000\
             0000000000000001",
        ),
        (
            Record::HeadMoved {
                branch: 4,
                stretch: 9,
                parent: Some(8),
                size: 0x2000,
            },
            "0704000000000000000900000000000000010800000000000000\
             0020000000000000",
        ),
        (
            Record::SnapshotMade {
                branch: 4,
                name: "clean".into(),
                point: 8,
                created: 5,
            },
            "08040000000000000005000000636c65616e08000000000000000500000000000000",
        ),
        (Record::BranchDropped { branch: 4 }, "090400000000000000"),
        (
            Record::SnapshotDropped {
                branch: 4,
                name: "clean".into(),
            },
            "0a040000000000000005000000636c65616e",
        ),
        (
            Record::Renamed {
                branch: 4,
                name: "web1".into(),
            },
            "0b04000000000000000400000077656231",
        ),
        (
            Record::Protected {
                branch: 4,
                protected: true,
            },
            "0f040000000000000001",
        ),
        (Record::SegmentRemoved { segment: SEGMENT }, "0c0500000003000000"),
        (Record::Announced { manifest: 6 }, "0d0600000000000000"),
        (Record::Closed, "0e"),
    ]
}

#[test]
fn records_are_pinned() {
    for (record, pinned) in records() {
        let mut out = Encoder::default();
        record.encode(&mut out);
        assert_eq!(hex(&out.bytes), pinned, "{record:?}");
        let mut from = Decoder::new("test", &out.bytes);
        assert_eq!(Record::decode(&mut from).unwrap(), record);
        from.end().unwrap();
        for length in 0..out.bytes.len() {
            let cut = Record::decode(&mut Decoder::new("test", &out.bytes[..length]));
            assert!(cut.is_err(), "{length} bytes of {record:?}");
        }
    }
    assert!(Record::decode(&mut Decoder::new("test", &[0])).is_err());
    assert!(Record::decode(&mut Decoder::new("test", &[15; 64])).is_err());
}

#[test]
fn a_flag_is_0_or_1_and_what_is_absent_is_zero() {
    for (pinned, at) in [("0100", 1), (records()[3].1, 33), (records()[7].1, 23)] {
        let mut bytes: Vec<u8> = (0..pinned.len() / 2)
            .map(|at| u8::from_str_radix(&pinned[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        Record::decode(&mut Decoder::new("test", &bytes)).unwrap();
        bytes[at] = 2;
        assert!(
            Record::decode(&mut Decoder::new("test", &bytes)).is_err(),
            "{pinned}"
        );
    }
    let absent = [&[0][..], &1u64.to_le_bytes()].concat();
    assert!(Decoder::new("test", &absent).option().is_err());
}
