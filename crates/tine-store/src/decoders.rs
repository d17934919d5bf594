//! The decoders of everything on the medium, for fuzz targets. Not public API: only there with the feature `fuzzing`.
//!
//! Each function is given any bytes, as they are and as a body around which the checksums are right, so that a fuzzer
//! need not guess those. Invariant of all: no panic, no memory beyond what the bytes could describe, and what decodes
//! is encoded as something that decodes to the same.

mod repair;

use std::sync::Arc;

pub use repair::repair;

use crate::block::BLOCK;
use crate::checksum::{crc32c, crc32c_of};
use crate::codec::{Decoder, Encoder};
use crate::index::node::{Node, NodeKind, encode_inner, encode_leaf};
use crate::index::written::WrittenBlocks;
use crate::journal::frame::{
    HEADER_BYTES, JournalKey, decode_header, decode_records, encode_head, head_is_whole,
};
use crate::journal::record::Record;
use crate::manifest::Manifest;
use crate::medium::lease::parse as parse_lease;
use crate::medium::simulated::{Chooser, FileName, SimulatedMedium, SimulatedOptions};
use crate::medium::{Medium, ObjectName, Writing};
use crate::names::{BranchName, Target};
use crate::segment::SegmentId;
use crate::segment::format::{
    SegmentKind, Trailer, decode_footer, decode_trailer, encode_footer, encode_header, encode_trailer,
};
use crate::segment::table::SegmentTable;
use crate::store::parameters::Parameters;

const SEGMENT: SegmentId = SegmentId { epoch: 1, counter: 0 };
const MANIFEST: u64 = 1;
const KEY: JournalKey = *b"tine fuzzing key";

/// Decodes a journal frame's head: header and records.
pub fn frame(bytes: &[u8]) {
    whole_frame(bytes);
    if bytes.len() >= HEADER_BYTES {
        let mut head = bytes.to_vec();
        head[..8].copy_from_slice(b"tineFRM1");
        head[64..68].copy_from_slice(&((bytes.len() - HEADER_BYTES) as u32).to_le_bytes());
        head[76..92].copy_from_slice(&KEY);
        head[92..124].fill(0);
        let checksum = crc32c_of(&[&head[..HEADER_BYTES - 4], &head[HEADER_BYTES..]]);
        head[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
        assert!(whole_frame(&head), "a head with its checksum is whole");
    }
}

/// Returns whether the head was whole.
fn whole_frame(head: &[u8]) -> bool {
    let Some(header) = decode_header(head, &KEY).filter(|header| head_is_whole(header, head)) else {
        return false;
    };
    let records = &head[HEADER_BYTES..HEADER_BYTES + header.records_bytes as usize];
    let mut again = Vec::new();
    let chain = encode_head(&header, &KEY, header.frame.chain, records, &mut again);
    let mut expected = header;
    expected.frame.chain = chain;
    assert_eq!(decode_header(&again, &KEY), Some(expected));
    assert!(head_is_whole(&expected, &again));
    if let Ok(records) = decode_records(&header, head) {
        let mut out = Encoder::default();
        records.iter().for_each(|record| record.encode(&mut out));
        let mut from = Decoder::new("records", &out.bytes);
        for record in &records {
            let again = Record::decode(&mut from).expect("what was encoded is decoded");
            assert_eq!(again, *record);
        }
        assert_eq!(from.left(), 0);
    }
    true
}

/// Decodes a manifest: an object of two copies.
pub fn manifest(bytes: &[u8]) {
    whole_manifest(bytes);
    let mut copy = Encoder::default();
    copy.raw(b"tineMAN1");
    copy.u64(MANIFEST);
    copy.u64(bytes.len() as u64);
    copy.u32(crc32c(bytes));
    let checksum = crc32c(&copy.bytes);
    copy.u32(checksum);
    copy.raw(bytes);
    whole_manifest(&copy.bytes.repeat(2));
}

fn whole_manifest(object: &[u8]) {
    let name = ObjectName::Manifest(MANIFEST);
    let Ok(Some(manifest)) = Manifest::read(&*holding(name, object).start(), MANIFEST) else {
        return;
    };
    let medium = empty();
    let process = medium.start();
    manifest.put(&*process).expect("the medium takes everything");
    let again = Manifest::read(&*process, MANIFEST).expect("what was put is read");
    assert_eq!(again, Some(manifest));
}

/// Decodes a data segment's header, trailer and footer.
///
/// The first byte says how the bodies with right checksums are laid out, the next sixteen are the footer's place.
pub fn segment(bytes: &[u8]) {
    if let Ok(trailer) = decode_trailer(bytes) {
        assert!(bytes.starts_with(&encode_trailer(&trailer)));
    }
    whole_footer(bytes);
    whole_segment(bytes);
    let Some((&layout, rest)) = bytes.split_first() else {
        return;
    };
    let Some((place, footer)) = rest.split_at_checked(16) else {
        return;
    };
    let mut object = encode_header(SEGMENT, SegmentKind::Data);
    object.resize(object.len() + usize::from(layout & 3) * BLOCK, layout);
    let mut trailer = Trailer {
        footer_offset: object.len() as u64,
        footer_bytes: footer.len() as u64,
        footer_checksum: crc32c(footer),
    };
    object.extend_from_slice(footer);
    if layout & 4 != 0 {
        let mut from = Decoder::new("place", place);
        trailer.footer_offset = from.u64().expect("eight bytes");
        trailer.footer_bytes = from.u64().expect("eight bytes");
        let start = usize::try_from(trailer.footer_offset).unwrap_or(usize::MAX);
        let length = usize::try_from(trailer.footer_bytes).unwrap_or(usize::MAX);
        if let Some(there) = object.get(start..start.saturating_add(length)) {
            trailer.footer_checksum = crc32c(there);
        }
    }
    object.extend_from_slice(&encode_trailer(&trailer));
    whole_segment(&object);
}

fn whole_footer(footer: &[u8]) {
    if let Ok(parts) = decode_footer(footer) {
        let again = encode_footer(&parts);
        assert_eq!(again.len(), footer.len());
        assert_eq!(decode_footer(&again).expect("what was encoded is decoded"), parts);
    }
}

fn whole_segment(object: &[u8]) {
    let medium = holding(ObjectName::Segment(SEGMENT), object);
    let table = SegmentTable::new(medium.start());
    let blocks = (object.len() / BLOCK) as u64;
    if let Ok(parts) = table.handle(SEGMENT).read_parts(None) {
        let mut stored = parts.iter().flat_map(|part| &part.blocks);
        assert!(stored.all(|stored| u64::from(stored.at) < blocks));
    }
}

/// Decodes a node of an index, and a set of written blocks.
pub fn node(bytes: &[u8]) {
    let table = SegmentTable::new(empty().start());
    if let Ok(node) = Node::decode(bytes, &table) {
        let mut out = Encoder::default();
        match node.kind() {
            NodeKind::Leaf(leaf) => {
                let extents: Vec<_> = (0..leaf.len()).map(|at| leaf.piece(at).to_extent()).collect();
                encode_leaf(&extents, &mut out);
            }
            NodeKind::Inner { level, children } => {
                let children: Vec<_> = children.iter().map(|child| (child.first, child.at)).collect();
                encode_inner(*level, &children, &mut out);
            }
        }
        assert_eq!(out.bytes, bytes);
    }
    if let Ok(written) = WrittenBlocks::decode(bytes) {
        let mut out = Encoder::default();
        written.encode(&mut out);
        assert!(out.bytes.len() <= bytes.len());
    }
}

/// Reads names of branches, snapshots and segments.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string(), text);
        assert!(
            text.bytes()
                .all(|byte| byte.is_ascii_graphic() && !b"/\\".contains(&byte))
        );
        assert!(!text.starts_with(['.', '-']));
    }
    if let Ok(name) = BranchName::recorded(text) {
        assert_eq!(BranchName::recorded(name.as_ref()).ok(), Some(name));
    }
    if let Ok(id) = text.parse::<SegmentId>() {
        assert_eq!(id.to_string(), text);
    }
}

/// Reads the parameters of a store.
pub fn parameters(bytes: &[u8]) {
    whole_parameters(bytes);
    // The same fields with the checksum that they would have.
    if let Ok(fields) = serde_json::from_slice::<Parameters>(bytes) {
        let text = fields.summed().and_then(|whole| whole.encode());
        whole_parameters(text.expect("what was read is written").as_bytes());
    }
}

fn whole_parameters(text: &[u8]) {
    let Ok(parameters) = Parameters::decode(text) else {
        return;
    };
    let again = parameters.encode().expect("what was read is written");
    assert_eq!(
        Parameters::decode(again.as_bytes()).ok(),
        Some(parameters.clone())
    );
    if let Ok(shape) = parameters.shape() {
        let made = Parameters::new(shape, &[0; 16]).and_then(|made| made.shape());
        assert_eq!(made.ok().map(|made| made.key), Some(shape.key));
        assert!(shape.file_bytes >= 8 * BLOCK as u64 && shape.file_bytes.is_multiple_of(BLOCK as u64));
    }
}

/// Reads the text of a lease, also behind a line of who holds it that is right.
pub fn lease(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for text in [text.to_owned(), format!("4711 tine export disk -\n{text}")] {
        if let Ok(segments) = parse_lease(&text) {
            let lines = text.lines().skip(1);
            assert!(segments.iter().map(ToString::to_string).eq(lines));
        }
    }
}

fn empty() -> SimulatedMedium {
    SimulatedMedium::new(SimulatedOptions::default(), Chooser::fixed(Vec::new(), 0))
}

/// Returns a medium with one object.
fn holding(name: ObjectName, bytes: &[u8]) -> SimulatedMedium {
    let medium = empty();
    let process: Arc<dyn Medium> = medium.start();
    let put = || {
        let mut writer = process.create_object(name, Writing::Cached)?;
        writer.append(bytes)?;
        writer.sync()
    };
    put().expect("the medium takes everything");
    debug_assert_eq!(
        medium.bytes(FileName::Object(name)).map(|bytes| bytes.len()),
        Some(bytes.len())
    );
    medium
}
