//! Goal: the format on the medium is the one that docs/format.md describes, byte by byte, and a changed byte is told.
//! Method: every structure is built from fixed values and compared with bytes that are pinned here, or in `golden/` as
//! a dump; it is decoded again; then every bit that a checksum covers is changed in turn.
//!
//! A test that fails here means that stores written before can't be read any more. If that is meant, the version in
//! docs/format.md and in store.json changes with it; `TINE_BLESS=1` writes the dumps anew.

mod records;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::buffer::Tombstone;
use crate::checksum::crc32c;
use crate::codec::Encoder;
use crate::index::extent::{Content, Extent};
use crate::index::node::{Node, NodeKind, NodeRef, encode_inner, encode_leaf};
use crate::index::tree::TreeRecord;
use crate::index::written::WrittenBlocks;
use crate::journal::frame::{
    HEADER_BYTES, Header, chain_start, decode_header, decode_records, encode_head, follows, head_is_whole,
    payload_blocks,
};
use crate::journal::record::{FrameRef, Record};
use crate::journal::ring::Place;
use crate::manifest::{BranchRecord, Manifest, SnapshotRecord, StretchRecord};
use crate::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions};
use crate::medium::{Medium, ObjectName, Writing};
use crate::segment::SegmentId;
use crate::segment::format::{
    Part, SegmentKind, StoredBlock, Trailer, check_header, decode_footer, decode_trailer, encode_footer,
    encode_header, encode_trailer,
};
use crate::segment::table::SegmentTable;
use crate::store::UpkeepStep;
use crate::{CreateOptions, OpenOptions, Store, UpkeepMode};

const FORMAT_MD: &str = include_str!("../../../docs/format.md");

const KEY: [u8; 16] = *b"key of the store";
const NONCE: [u8; 16] = *b"nonce of epoch 3";
const SEGMENT: SegmentId = SegmentId { epoch: 3, counter: 5 };

const FRAME: FrameRef = FrameRef {
    epoch: 3,
    nonce: NONCE,
    sequence: 9,
    chain: 0x0123_4567_89ab_cdef,
};

/// Renders bytes as lines of sixteen; `*` stands for lines that repeat the one before.
fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut last: Option<&[u8]> = None;
    for (at, line) in (0..).step_by(16).zip(bytes.chunks(16)) {
        if last == Some(line) {
            if !text.ends_with("*\n") {
                text.push_str("*\n");
            }
            continue;
        }
        last = Some(line);
        write!(text, "{at:08x} ").unwrap();
        for byte in line {
            write!(text, " {byte:02x}").unwrap();
        }
        text.push('\n');
    }
    writeln!(text, "{:08x}", bytes.len()).unwrap();
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares bytes with the dump that is pinned.
#[track_caller]
fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/golden")
        .join(format!("{name}.txt"));
    let found = dump(bytes);
    if std::env::var_os("TINE_BLESS").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_default();
    let lines = found.lines().zip(pinned.lines());
    for (number, (found, pinned)) in lines.enumerate() {
        assert_eq!(found, pinned, "golden/{name}.txt, line {}", number + 1);
    }
    assert_eq!(found.len(), pinned.len(), "golden/{name}.txt");
}

/// Calls `look` with the bytes, one bit of the range changed at a time.
fn each_flip(bytes: &[u8], range: std::ops::Range<usize>, mut look: impl FnMut(&[u8], usize)) {
    let mut bytes = bytes.to_vec();
    for at in range {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            look(&bytes, at);
            bytes[at] ^= 1 << bit;
        }
    }
}

fn medium() -> SimulatedMedium {
    SimulatedMedium::new(SimulatedOptions::default(), Chooser::fixed(Vec::new(), 0))
}

fn put(medium: &Arc<dyn Medium>, name: ObjectName, bytes: &[u8]) {
    let mut writer = medium.create_object(name, Writing::Cached).unwrap();
    writer.append(bytes).unwrap();
    writer.sync().unwrap();
}

fn header(records: &[u8], payload_blocks: u32) -> Header {
    Header {
        frame: FRAME,
        synced_through: 8,
        manifest: 6,
        records_bytes: records.len() as u32,
        payload_blocks,
        copy: 0,
    }
}

/// A frame with a block and some records, and the chain value before it.
fn frame() -> (Vec<u8>, u64) {
    let block = [0xab; 4096];
    let list = [
        Record::Zeroes {
            stretch: 7,
            group: 2,
            start: 0x20,
            count: 1,
            hole: false,
        },
        Record::Blocks {
            stretch: 7,
            group: 2,
            blocks: vec![(0x11, crc32c(&block))],
        },
        Record::SnapshotDropped {
            branch: 4,
            name: "clean".into(),
        },
    ];
    let mut records = Encoder::default();
    list.iter().for_each(|record| record.encode(&mut records));
    let before = 0x5555_aaaa_5555_aaaa;
    let mut bytes = Vec::new();
    encode_head(
        &header(&records.bytes, 1),
        &KEY,
        before,
        &records.bytes,
        &mut bytes,
    );
    bytes.extend_from_slice(&block);
    (bytes, before)
}

fn is_whole(bytes: &[u8]) -> bool {
    decode_header(bytes, &KEY).is_some_and(|header| head_is_whole(&header, bytes))
}

#[test]
fn a_frame_is_pinned_and_decoded() {
    let (bytes, before) = frame();
    golden("frame", &bytes);
    let found = decode_header(&bytes, &KEY).unwrap();
    assert!(head_is_whole(&found, &bytes));
    assert!(follows(&found, &bytes, before));
    assert!(!follows(&found, &bytes, before + 1));
    assert_eq!(found.frame_bytes(), bytes.len());
    assert_eq!(
        (found.frame.sequence, found.synced_through, found.manifest),
        (9, 8, 6)
    );
    let records = decode_records(&found, &bytes).unwrap();
    assert_eq!(records.len(), 3);
    let blocks: Vec<_> = payload_blocks(&records).collect();
    assert_eq!(blocks, [(7, 2, 0x11, crc32c(&bytes[4096..]))]);
    assert_eq!(decode_header(&bytes, b"another store's."), None);
}

#[test]
fn every_bit_of_a_frame_is_covered() {
    let (bytes, _) = frame();
    let found = decode_header(&bytes, &KEY).unwrap();
    let end = HEADER_BYTES + found.records_bytes as usize;
    each_flip(&bytes, 0..end, |changed, at| {
        assert!(!is_whole(changed), "byte {at}");
    });
    for length in 0..end {
        assert!(!is_whole(&bytes[..length]), "{length} bytes");
    }
    let (.., checksum) = payload_blocks(&decode_records(&found, &bytes).unwrap())
        .next()
        .unwrap();
    each_flip(&bytes[4096..], 0..4096, |changed, at| {
        assert_ne!(crc32c(changed), checksum, "byte {at} of the block");
    });
}

#[test]
fn both_copies_of_an_epoch_are_pinned() {
    let mut records = Encoder::default();
    Record::Epoch {
        cut: Some(FrameRef {
            epoch: 2,
            nonce: *b"nonce of epoch 2",
            sequence: 40,
            chain: 0xfeed_beef_0bad_cafe,
        }),
    }
    .encode(&mut records);
    let mut bytes = Vec::new();
    let mut chains = Vec::new();
    for copy in 0..2 {
        let header = Header {
            frame: FrameRef { sequence: 1, ..FRAME },
            synced_through: 0,
            copy,
            ..header(&records.bytes, 0)
        };
        chains.push(encode_head(
            &header,
            &KEY,
            chain_start(&NONCE),
            &records.bytes,
            &mut bytes,
        ));
    }
    golden("epoch", &bytes);
    assert_eq!(chains[0], chains[1], "either copy is the frame");
    for (copy, bytes) in bytes.chunks(4096).enumerate() {
        let found = decode_header(bytes, &KEY).unwrap();
        assert_eq!((found.copy as usize, found.frame.chain), (copy, chains[copy]));
        assert!(head_is_whole(&found, bytes) && follows(&found, bytes, chain_start(&NONCE)));
    }
}

fn parts() -> Vec<Part> {
    let block = [0xab; 4096];
    vec![
        Part {
            stretch: 7,
            upto: 4,
            blocks: vec![StoredBlock {
                block: 0x11,
                group: 2,
                checksum: crc32c(&block),
                at: 0,
            }],
            tombstones: vec![
                (
                    2,
                    Tombstone {
                        start: 0x20,
                        count: 0x10,
                        hole: true,
                    },
                ),
                (
                    4,
                    Tombstone {
                        start: 0,
                        count: 1,
                        hole: false,
                    },
                ),
            ],
        },
        Part {
            stretch: 8,
            upto: 1,
            blocks: Vec::new(),
            tombstones: Vec::new(),
        },
    ]
}

fn data_segment() -> Vec<u8> {
    let footer = encode_footer(&parts());
    let mut bytes = encode_header(SEGMENT, SegmentKind::Data);
    bytes.extend_from_slice(&[0xab; 4096]);
    let trailer = Trailer {
        footer_offset: bytes.len() as u64,
        footer_bytes: footer.len() as u64,
        footer_checksum: crc32c(&footer),
    };
    bytes.extend_from_slice(&footer);
    bytes.extend_from_slice(&encode_trailer(&trailer));
    bytes
}

#[test]
fn a_data_segment_is_pinned_and_every_bit_outside_of_its_blocks_is_covered() {
    let bytes = data_segment();
    golden("segment", &bytes);
    let medium = medium();
    let process = medium.start();
    let name = ObjectName::Segment(SEGMENT);
    put(&process, name, &bytes);
    let read = || {
        SegmentTable::new(Arc::clone(&process))
            .handle(SEGMENT)
            .read_parts(None)
    };
    assert_eq!(read().unwrap(), parts());
    let header = &bytes[..4096];
    check_header(header, SEGMENT, SegmentKind::Data).unwrap();
    assert!(check_header(header, SEGMENT, SegmentKind::Index).is_err());
    each_flip(header, 0..header.len(), |changed, at| {
        assert!(
            check_header(changed, SEGMENT, SegmentKind::Data).is_err(),
            "byte {at}"
        );
    });
    for at in 8192..bytes.len() {
        for bit in 0..8 {
            medium.flip(FileName::Object(name), at as u64, 1 << bit);
            assert!(read().is_err(), "byte {at}");
            medium.flip(FileName::Object(name), at as u64, 1 << bit);
        }
    }
    for length in (0..bytes.len()).rev() {
        medium.truncate(FileName::Object(name), length as u64);
        assert!(read().is_err(), "{length} bytes");
    }
}

#[test]
fn a_footer_that_is_cut_short_is_refused() {
    let footer = encode_footer(&parts());
    assert_eq!(decode_footer(&footer).unwrap(), parts());
    for length in 0..footer.len() {
        assert!(decode_footer(&footer[..length]).is_err(), "{length} bytes");
    }
    let trailer = Trailer {
        footer_offset: 8192,
        footer_bytes: 99,
        footer_checksum: 0xdead_beef,
    };
    let bytes = encode_trailer(&trailer);
    assert_eq!(
        hex(&bytes),
        "00200000000000006300000000000000efbeadde375411d074696e65454e4431"
    );
    assert_eq!(decode_trailer(&bytes).unwrap(), trailer);
    each_flip(&bytes, 0..bytes.len(), |changed, at| {
        assert!(decode_trailer(changed).is_err(), "byte {at}");
    });
}

#[test]
fn a_leaf_is_pinned() {
    let extents = vec![
        Extent {
            start: 0,
            count: 0x10,
            birth: 5,
            content: Content::Zero,
        },
        Extent {
            start: 0x10,
            count: 0x100,
            birth: 5,
            content: Content::Hole,
        },
        Extent {
            start: 0x200,
            count: 2,
            birth: 6,
            content: Content::Data {
                segment: SEGMENT,
                first: 3,
                checksums: vec![0xaabb_ccdd, 0x1122_3344],
            },
        },
    ];
    let mut out = Encoder::default();
    encode_leaf(&extents, &mut out);
    golden("leaf", &out.bytes);
    let table = SegmentTable::new(medium().start());
    let node = Node::decode(&out.bytes, &table).unwrap();
    let NodeKind::Leaf(leaf) = node.kind() else {
        panic!("a leaf")
    };
    let found: Vec<Extent> = (0..leaf.len()).map(|at| leaf.piece(at).to_extent()).collect();
    assert_eq!(found, extents);
    // A node's checksum is beside its place, in its parent.
    let checksum = crc32c(&out.bytes);
    each_flip(&out.bytes, 0..out.bytes.len(), |changed, at| {
        assert_ne!(crc32c(changed), checksum, "byte {at}");
    });
}

const NODE: NodeRef = NodeRef {
    segment: SegmentId { epoch: 3, counter: 6 },
    offset: 4096,
    bytes: 97,
    checksum: 0x5566_7788,
};

#[test]
fn an_inner_node_is_pinned() {
    let children = [(0, NODE), (0x1234, NodeRef { offset: 8000, ..NODE })];
    let mut out = Encoder::default();
    encode_inner(1, &children, &mut out);
    golden("inner", &out.bytes);
    let table = SegmentTable::new(medium().start());
    let node = Node::decode(&out.bytes, &table).unwrap();
    let NodeKind::Inner {
        level: 1,
        children: found,
    } = node.kind()
    else {
        panic!("an inner node of level 1")
    };
    let found: Vec<_> = found.iter().map(|child| (child.first, child.at)).collect();
    assert_eq!(found, children);
}

#[test]
fn a_set_of_written_blocks_is_pinned() {
    let mut written = WrittenBlocks::default();
    written.insert(3..5);
    written.insert(64..320);
    let mut out = Encoder::default();
    written.encode(&mut out);
    golden("written", &out.bytes);
    assert_eq!(WrittenBlocks::decode(&out.bytes).unwrap().count(), 258);
}

fn manifest() -> Manifest {
    Manifest {
        number: 6,
        floor: FrameRef { sequence: 8, ..FRAME },
        floor_place: Place {
            file: 1,
            offset: 0x3000,
        },
        place: FRAME,
        ring_files: 4,
        next_branch: 5,
        next_stretch: 9,
        segments: vec![
            (SEGMENT, SegmentKind::Data, 0x3000),
            (SegmentId { epoch: 3, counter: 6 }, SegmentKind::Index, 0x1080),
        ],
        trees: vec![TreeRecord {
            root: NODE,
            level: 0,
            span: 0..0x202,
            extents: 3,
            bytes: 97,
            homes: vec![(SegmentId { epoch: 3, counter: 6 }, 97)],
        }],
        stretches: vec![
            StretchRecord {
                id: 7,
                parent: None,
                size: 0x10_0000,
                covered: 4,
                alive: Some(2),
                layers: Some(vec![0]),
                written: Some(NodeRef {
                    offset: 4200,
                    bytes: 28,
                    ..NODE
                }),
                live: vec![(SEGMENT, 2)],
            },
            StretchRecord {
                id: 8,
                parent: Some(7),
                size: 0x10_0000,
                covered: 0,
                alive: None,
                layers: None,
                written: None,
                live: Vec::new(),
            },
        ],
        branches: vec![BranchRecord {
            id: 4,
            name: "trial".into(),
            head: 8,
            origin: Some((7, "golden@clean".into())),
            created: 0x1122_3344_5566_7788,
            ephemeral: true,
            protected: false,
            snapshots: vec![SnapshotRecord {
                name: "clean".into(),
                point: 7,
                created: 5,
            }],
        }],
    }
}

#[test]
fn a_manifest_is_pinned_and_either_copy_suffices() {
    let medium = medium();
    let process = medium.start();
    manifest().put(&*process).unwrap();
    let file = FileName::Object(ObjectName::Manifest(6));
    let bytes = medium.bytes(file).unwrap();
    golden("manifest", &bytes);
    assert_eq!(
        bytes[..4096],
        bytes[4096..],
        "two copies, each a whole number of pages"
    );
    let read = || Manifest::read(&*process, 6).unwrap();
    assert_eq!(read(), Some(manifest()));
    let body_bytes = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
    for at in 0..32 + body_bytes {
        for bit in 0..8 {
            medium.flip(file, at, 1 << bit);
            assert_eq!(read(), Some(manifest()), "byte {at} of the first copy");
            medium.flip(file, at + 4096, 1 << bit);
            assert_eq!(read(), None, "byte {at} of both copies");
            medium.flip(file, at, 1 << bit);
            assert_eq!(read(), Some(manifest()), "byte {at} of the second copy");
            medium.flip(file, at + 4096, 1 << bit);
        }
    }
    // Under another number it is another's.
    put(&process, ObjectName::Manifest(7), &bytes);
    assert_eq!(Manifest::read(&*process, 7).unwrap(), None);
}

/// A store on which everything but nonces, keys and times is known.
fn store(medium: &SimulatedMedium) -> Store {
    let create = CreateOptions {
        journal_file_bytes: 1 << 20,
        // So many that opening does not make a checkpoint due.
        journal_files: 6,
    };
    let open = OpenOptions {
        upkeep: UpkeepMode::Inline,
        ..OpenOptions::default()
    };
    Store::create_on(medium.start(), &create, open).unwrap()
}

#[test]
fn segments_are_put_together_as_pinned() {
    let medium = medium();
    let store = store(&medium);
    let disk = store.create_branch(&"a".parse().unwrap(), 1 << 20).unwrap();
    disk.write_at(&[0xcd; 8192], 4096).unwrap();
    disk.write_zeroes(0x1_0000, 0x8000).unwrap();
    disk.flush().unwrap();
    disk.write_at(&[0xef; 4096], 0).unwrap();
    disk.discard(0x2_0000, 0x4000).unwrap();
    store.upkeep(UpkeepStep::Checkpoint).unwrap();
    let segment = |counter| {
        let name = ObjectName::Segment(SegmentId { epoch: 2, counter });
        let bytes = medium.bytes(FileName::Object(name));
        bytes.unwrap_or_else(|| panic!("no {name} in {:?}", medium.files()))
    };
    golden("drained", &segment(0));
    golden("index", &segment(1));
}

#[test]
fn the_parameters_are_pinned() {
    let medium = medium();
    drop(store(&medium));
    let file = FileName::Object(ObjectName::Parameters);
    let text = String::from_utf8(medium.bytes(file).unwrap()).unwrap();
    let hidden: Vec<String> = text
        .lines()
        .map(|line| match line.split_once(": ") {
            Some((name @ ("  \"id\"" | "  \"journal_key\""), value)) => {
                let digits = value.trim_matches(['"', ',']);
                assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
                format!("{name}: ...")
            }
            Some((name @ "  \"checksum\"", _)) => format!("{name}: ..."),
            _ => line.to_owned(),
        })
        .collect();
    let pinned = [
        "{",
        "  \"format\": \"tine\",",
        "  \"version\": 4,",
        "  \"stable\": false,",
        "  \"incompatible_features\": [],",
        "  \"id\": ...",
        "  \"journal_key\": ...",
        "  \"block_bytes\": 4096,",
        "  \"journal_file_bytes\": 1048576,",
        "  \"journal_files\": 6,",
        "  \"checksum\": ...",
        "}",
    ];
    assert_eq!(hidden, pinned);
    let compact: String = text.lines().map(str::trim).collect();
    let compact = compact.replace("\": ", "\":");
    let (fields, checksum) = compact.split_once("\"checksum\":\"").unwrap();
    let summed = format!("{fields}\"checksum\":\"\"}}");
    assert_eq!(
        checksum,
        format!("{:08x}\"}}", crc32c(summed.as_bytes())),
        "{summed}"
    );
    assert!(
        FORMAT_MD.contains("Format version: **4**."),
        "docs/format.md tells another version"
    );
}

#[test]
fn objects_are_named_as_pinned() {
    for (name, pinned) in [
        (ObjectName::Parameters, "store.json"),
        (ObjectName::Manifest(12), "manifest/12"),
        (ObjectName::Segment(SEGMENT), "segments/00000003-00000005"),
    ] {
        assert_eq!(name.to_string(), pinned);
    }
}

/// Every pinned record, magic and dump has its place in the documentation.
#[test]
fn the_documentation_knows_every_structure() {
    for magic in ["tineFRM1", "tineSEG1", "tineEND1", "tineMAN1"] {
        assert!(FORMAT_MD.contains(magic), "{magic}");
    }
    for (record, pinned) in records::records() {
        let name = format!("{record:?}");
        let name = name.split([' ', '(', '{']).next().unwrap();
        let kind = u8::from_str_radix(&pinned[..2], 16).unwrap();
        let row = format!("| {kind} | `{name}` |");
        assert!(FORMAT_MD.contains(&row), "no row {row}");
    }
}

/// The seeds of the fuzz targets, and what once made one fail: all of them without a fuzzer.
#[test]
fn the_fuzz_seeds_pass() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    type Decode = fn(&[u8]);
    let targets: [(&str, Decode); 7] = [
        ("frame", crate::decoders::frame),
        ("manifest", crate::decoders::manifest),
        ("segment", crate::decoders::segment),
        ("node", crate::decoders::node),
        ("names", crate::decoders::names),
        ("parameters", crate::decoders::parameters),
        ("lease", crate::decoders::lease),
    ];
    for (target, decode) in targets {
        let files: Vec<PathBuf> = std::fs::read_dir(seeds.join(target))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            decode(&std::fs::read(file).unwrap());
        }
    }
}
