//! Goal: what was saved loads as it was, and nothing else loads at all.
//! Method: bytes of a small save are changed and prefixes of it are tried, all where there is more than content.

use std::io::{self, Write};

use tine_memory::{Error, Mark, PAGE_BYTES, Region, Save};

const PAGES: usize = 700;

fn region() -> Region {
    let mut region = Region::zeroed(PAGES * PAGE_BYTES - 7).unwrap();
    // Longer than a record, and with zeros among it.
    for page in (10..600).filter(|page| page % 100 != 0) {
        region
            .write_at(&[u8::try_from(page % 200).unwrap() + 1; 5], page * PAGE_BYTES)
            .unwrap();
    }
    region.write_at(&[0; 3], 650 * PAGE_BYTES).unwrap();
    region
}

fn saved(region: &mut Region, save: Save<'_>) -> (Vec<u8>, Mark) {
    let mut bytes = Vec::new();
    let mark = region.save(&mut bytes, save).unwrap();
    (bytes, mark)
}

fn load(bytes: &[u8]) -> Result<Region, Error> {
    Region::load(&mut &bytes[..])
}

#[test]
fn a_region_loads_as_it_was_saved() {
    let mut region = region();
    let (bytes, mark) = saved(&mut region, Save::Full);
    // Neither the zeros that were never written nor those that were are in it.
    assert!(bytes.len() < 586 * PAGE_BYTES, "{}", bytes.len());
    let mut loaded = load(&bytes).unwrap();
    assert!(loaded.as_slice() == region.as_slice());
    region.write_at(&[1; 10], 3 * PAGE_BYTES).unwrap();
    region.write_at(&[0; 5], 20 * PAGE_BYTES).unwrap();
    region.write_at(&[2; 10], PAGES * PAGE_BYTES - 17).unwrap();
    let (since, next) = saved(&mut region, Save::Since(&mark));
    // Two pages, and that a third is zero.
    assert!(since.len() < 3 * PAGE_BYTES, "{}", since.len());
    loaded.load_since(&mut &since[..]).unwrap();
    assert!(loaded.as_slice() == region.as_slice());
    loaded.write_at(&[3], 0).unwrap();
    loaded.rollback().unwrap();
    assert!(loaded.as_slice() == region.as_slice());
    let (nothing, _) = saved(&mut region, Save::Since(&next));
    assert!(nothing.len() < 200);
    loaded.load_since(&mut &nothing[..]).unwrap();
    // What is behind a save in a stream is left to who comes next.
    let mut stream = &[&bytes[..], b"more"].concat()[..];
    Region::load(&mut stream).unwrap();
    assert_eq!(stream, b"more");
}

/// So many that a thread makes its records.
fn large_region() -> Region {
    let mut region = Region::zeroed(9000 * PAGE_BYTES).unwrap();
    for page in (0..9000).filter(|page| page % 1000 != 7 && !(3000..4000).contains(page)) {
        let number = u64::try_from(page).unwrap() + 1;
        region
            .write_at(&number.to_le_bytes(), page * PAGE_BYTES + page % 4000)
            .unwrap();
    }
    region
}

#[test]
fn a_large_region_loads_as_it_was_saved() {
    let mut region = large_region();
    let (bytes, mark) = saved(&mut region, Save::Full);
    let mut loaded = load(&bytes).unwrap();
    assert!(loaded.as_slice() == region.as_slice());
    region.as_mut_slice()[..8000 * PAGE_BYTES].fill(7);
    region.as_mut_slice()[2000 * PAGE_BYTES..5000 * PAGE_BYTES].fill(0);
    let (since, _) = saved(&mut region, Save::Since(&mark));
    loaded.load_since(&mut &since[..]).unwrap();
    assert!(loaded.as_slice() == region.as_slice());
}

#[test]
fn a_mark_can_be_written_while_the_region_is() {
    let mut region = region();
    let before = region.as_slice().to_vec();
    let mark = region.mark().unwrap();
    region.as_mut_slice().fill(9);
    let mut bytes = Vec::new();
    mark.write(&mut bytes, Save::Full).unwrap();
    assert!(load(&bytes).unwrap().as_slice() == before);
}

#[test]
fn what_does_not_continue_is_refused() {
    let mut region = region();
    let (full, mark) = saved(&mut region, Save::Full);
    region.write_at(&[1], 0).unwrap();
    let (since, next) = saved(&mut region, Save::Since(&mark));
    region.write_at(&[2], 0).unwrap();
    let (later, _) = saved(&mut region, Save::Since(&next));
    assert!(matches!(load(&since), Err(Error::OtherState)));
    let mut loaded = load(&full).unwrap();
    assert!(matches!(
        loaded.load_since(&mut &later[..]),
        Err(Error::OtherState)
    ));
    assert!(matches!(
        loaded.load_since(&mut &full[..]),
        Err(Error::OtherState)
    ));
    loaded.write_at(&[9], 5).unwrap();
    assert!(matches!(loaded.load_since(&mut &since[..]), Err(Error::Written)));
    loaded.rollback().unwrap();
    // Its forks continue it, too.
    let mut fork = loaded.fork().unwrap();
    loaded.load_since(&mut &since[..]).unwrap();
    loaded.load_since(&mut &later[..]).unwrap();
    assert!(loaded.as_slice() == region.as_slice());
    fork.load_since(&mut &since[..]).unwrap();
    // One that was written and forked does not.
    fork.write_at(&[9], 5).unwrap();
    let mut fork = fork.fork().unwrap();
    assert!(matches!(fork.load_since(&mut &later[..]), Err(Error::OtherState)));
    assert!(matches!(
        Region::zeroed(4096).unwrap().load_since(&mut &since[..]),
        Err(Error::OtherState)
    ));
    let other = Region::zeroed(4096).unwrap().mark().unwrap();
    assert!(matches!(
        region.save(&mut Vec::new(), Save::Since(&other)),
        Err(Error::OtherLength { .. })
    ));
}

#[test]
fn damaged_and_truncated_saves_are_refused() {
    let mut region = Region::zeroed(8 * PAGE_BYTES).unwrap();
    region.write_at(&[1; 5000], PAGE_BYTES).unwrap();
    let (full, mark) = saved(&mut region, Save::Full);
    region.write_at(&[2], 6 * PAGE_BYTES).unwrap();
    region.write_at(&[0; 5000], PAGE_BYTES).unwrap();
    let (since, _) = saved(&mut region, Save::Since(&mark));
    let mut base = load(&full).unwrap();
    let before = base.as_slice().to_vec();
    let tried = |length: usize| (0..length).filter(move |at| *at < 200 || at % 50 == 0 || at + 200 > length);
    for at in tried(full.len()) {
        assert!(load(&full[..at]).is_err(), "cut at {at}");
        let mut damaged = full.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(load(&damaged).is_err(), "damaged at {at}");
    }
    for at in tried(since.len()) {
        assert!(base.load_since(&mut &since[..at]).is_err(), "cut at {at}");
        let mut damaged = since.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(base.load_since(&mut &damaged[..]).is_err(), "damaged at {at}");
        assert!(base.as_slice() == before);
    }
    base.load_since(&mut &since[..]).unwrap();
    assert!(base.as_slice() == region.as_slice());
}

/// Writes a full save of one page by docs/memory-format.md, of a region of 100 bytes.
fn forged(to: [u8; 16], page: &[u8; PAGE_BYTES]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut chain = 0u32;
    let mut sum = |part: &[u8]| {
        let both = [&chain.to_le_bytes()[..], part].concat();
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &both);
        chain = u32::try_from(crc).unwrap();
        chain.to_le_bytes()
    };
    let mut put = |fields: &[&[u8]], content: Option<&[u8]>| {
        let head = fields.concat();
        stream.extend([&head[..], &sum(&head)].concat());
        if let Some(content) = content {
            stream.extend([&sum(content)[..], content].concat());
        }
    };
    let (one, four_kib) = (1u32.to_le_bytes(), 4096u32.to_le_bytes());
    let length = 100u64.to_le_bytes();
    put(
        &[b"tinemem\0", &one, &four_kib, &length, &[0; 16], &to, &[0; 4]],
        None,
    );
    let record = |kind: u64, first: u64, count: u64| [kind, first, count].map(u64::to_le_bytes).concat();
    put(&[&record(1, 0, 1)], Some(page));
    put(&[&record(3, 1, 1)], Some(&[]));
    stream
}

#[test]
fn what_the_format_forbids_is_refused_though_its_checksums_are_right() {
    let mut page = [0; PAGE_BYTES];
    page[99] = 7;
    let good = load(&forged([1; 16], &page)).unwrap();
    assert_eq!((good.len(), good.as_slice()[99]), (100, 7));
    // It leads to no state, so any full save would continue it.
    assert!(matches!(
        load(&forged([0; 16], &page)),
        Err(Error::Damaged { .. })
    ));
    // Bytes that no region has.
    page[100] = 7;
    assert!(matches!(
        load(&forged([1; 16], &page)),
        Err(Error::Damaged { .. })
    ));
}

#[test]
fn a_stream_that_fails_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(taken)
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut region = region();
    for room in [0, 10, 100_000, 2_000_000] {
        let error = region.save(&mut Full(room), Save::Full).err().unwrap();
        assert!(matches!(error, Error::Stream { .. }));
    }
    // A thread that is ahead with records that nobody takes ends.
    for room in [10, 20_000_000] {
        let error = large_region().save(&mut Full(room), Save::Full).err().unwrap();
        assert!(matches!(error, Error::Stream { .. }));
    }
    let error = region
        .mark()
        .unwrap()
        .write(&mut Full(0), Save::Full)
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "writing what is saved failed");
}
