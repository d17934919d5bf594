//! What single operations do, and where they end.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::thread;

use tine_memory::{Error, PAGE_BYTES, PageRange, PageSource, Region, SharedRegion};

const MIB: usize = 1 << 20;

fn filled(pages: usize) -> Region {
    let mut region = Region::zeroed(pages * PAGE_BYTES).unwrap();
    for (page, bytes) in region.as_mut_slice().chunks_mut(PAGE_BYTES).enumerate() {
        bytes.fill(u8::try_from(page % 251).unwrap() + 1);
    }
    region
}

fn pages(first: usize, count: usize) -> PageRange {
    // What a diff of regions says, so that the tests need no constructor.
    PageRange { first, count }
}

#[test]
fn forks_and_forks_of_forks_are_independent() {
    let mut golden = filled(100);
    let mut one = golden.fork().unwrap();
    let mut two = one.fork().unwrap();
    one.write_at(b"one", 5 * PAGE_BYTES).unwrap();
    let mut three = one.fork().unwrap();
    three.write_at(b"three", 6 * PAGE_BYTES).unwrap();
    golden.write_at(b"golden", 7 * PAGE_BYTES).unwrap();
    two.write_at(b"two", 8 * PAGE_BYTES).unwrap();
    assert_eq!(one.diff(&golden).unwrap(), [pages(5, 1), pages(7, 1)]);
    assert_eq!(one.diff(&three).unwrap(), [pages(6, 1)]);
    assert_eq!(two.diff(&three).unwrap(), [pages(5, 2), pages(8, 1)]);
    assert_eq!(one.dirty().unwrap(), []);
    assert_eq!(three.dirty().unwrap(), [pages(6, 1)]);
    three.rollback().unwrap();
    assert_eq!(one.diff(&three).unwrap(), []);
}

#[test]
fn a_thousand_generations_read_right() {
    let mut all = vec![filled(300)];
    let mut bytes = all[0].as_slice().to_vec();
    for generation in 1..=1000usize {
        let mut next = all[generation - 1].fork().unwrap();
        let at = generation * 7919 % bytes.len();
        next.write_at(&[255], at).unwrap();
        bytes[at] = 255;
        all.push(next);
    }
    assert!(all[1000].as_slice() == bytes);
    // Each was forked when it was written; the last was not.
    all[1000].rollback().unwrap();
    for generation in (1..=1000usize).rev() {
        let at = generation * 7919 % bytes.len();
        if generation < 1000 {
            assert!(all[generation].as_slice() == bytes);
        }
        bytes[at] = all[generation - 1].as_slice()[at];
    }
    assert!(all[1000].as_slice() == all[999].as_slice());
    assert!(all[0].as_slice() == bytes);
}

#[test]
fn a_line_whose_ancestors_go_copies_only_what_is_written() {
    let mut region = filled(1000);
    for generation in 0..100 {
        let mut next = region.fork().unwrap();
        next.write_at(&[9], generation * PAGE_BYTES).unwrap();
        region = next;
        let stats = region.stats().unwrap();
        assert!(stats.own <= 1001 * PAGE_BYTES, "{stats:?}");
        assert_eq!(stats.shared + stats.zero + stats.patch, 0);
    }
}

#[test]
fn forks_share_what_is_kept_for_rollback() {
    let mut golden = filled(1000);
    let mut child = golden.fork().unwrap();
    for page in [3, 500, 999] {
        child.write_at(&[7], page * PAGE_BYTES).unwrap();
    }
    let mut one = child.fork().unwrap();
    assert_eq!(one.stats().unwrap().patch, 3 * PAGE_BYTES);
    assert_eq!(one.dirty().unwrap(), []);
    one.write_at(&[8], 3 * PAGE_BYTES).unwrap();
    one.write_at(&[8], 4 * PAGE_BYTES).unwrap();
    assert_eq!(one.dirty().unwrap(), [pages(3, 2)]);
    let map = one.page_map().unwrap();
    let sources: Vec<_> = map.runs().iter().map(|run| (run.pages, run.source)).collect();
    let PageSource::Base { id } = sources[0].1 else {
        panic!("{sources:?}")
    };
    let base = PageSource::Base { id };
    assert_eq!(
        sources,
        [
            (pages(0, 3), base),
            (pages(3, 2), PageSource::Written),
            (pages(5, 495), base),
            (pages(500, 1), PageSource::Patch),
            (pages(501, 498), base),
            (pages(999, 1), PageSource::Patch),
        ]
    );
    assert_eq!(map.runs()[0].others, 2);
    assert_eq!(map.to_string().lines().count(), 6);
    one.rollback().unwrap();
    assert_eq!(one.diff(&child).unwrap(), []);
    child.freeze().unwrap();
    assert_eq!(child.stats().unwrap().patch, 0);
    assert_eq!(one.diff(&child).unwrap(), []);
}

#[test]
fn many_forks_of_a_written_region_end_in_a_base_of_their_own() {
    let mut golden = filled(1000);
    let mut child = golden.fork().unwrap();
    for page in 0..100 {
        child.write_at(&[7], page * 10 * PAGE_BYTES).unwrap();
    }
    let forks: Vec<_> = (0..20).map(|_| child.fork().unwrap()).collect();
    // The first few have copies, the others none.
    assert_eq!(forks[0].stats().unwrap().own, 100 * PAGE_BYTES);
    assert_eq!(forks[19].stats().unwrap().own, 0);
    assert!(forks.iter().all(|fork| fork.as_slice() == child.as_slice()));
    assert_eq!(forks[0].diff(&forks[19]).unwrap(), []);
    assert_eq!(forks[19].diff(&golden).unwrap().len(), 100);
}

#[test]
fn a_live_region_rolls_back_to_zeros() {
    let mut region = filled(10);
    assert_eq!(region.dirty().unwrap(), [pages(0, 10)]);
    region.rollback().unwrap();
    assert!(region.as_slice().iter().all(|&byte| byte == 0));
    region.write_at(&[1], 0).unwrap();
    region.freeze().unwrap();
    region.write_at(&[2], 0).unwrap();
    region.rollback().unwrap();
    assert_eq!(region.as_slice()[0], 1);
}

#[test]
fn a_rollback_with_much_mapped_keeps_what_is_clean() {
    let mut region = filled(50_000);
    region.freeze().unwrap();
    let before = region.as_slice().to_vec();
    for page in 0..5000 {
        region.write_at(&[0], page * 10 * PAGE_BYTES).unwrap();
    }
    region.rollback().unwrap();
    assert!(region.as_slice() == before);
}

#[test]
fn system_calls_read_into_a_region() {
    let mut golden = filled(10);
    let mut fork = golden.fork().unwrap();
    let mut zeros = File::open("/dev/zero").unwrap();
    zeros
        .read_exact(fork.slice_mut(PAGE_BYTES..3 * PAGE_BYTES).unwrap())
        .unwrap();
    assert_eq!(fork.diff(&golden).unwrap(), [pages(1, 2)]);
    assert_eq!(fork.dirty().unwrap(), [pages(1, 2)]);
}

#[test]
fn pointers_count_as_written_from_then_on() {
    let mut golden = filled(10);
    let mut fork = golden.fork().unwrap();
    let pointer = fork.as_mut_ptr();
    for round in 1..4u8 {
        let expected = fork.as_slice()[0];
        let other = fork.fork().unwrap();
        assert_eq!(other.as_slice()[0], expected);
        write_through(pointer, round);
        assert_eq!(fork.dirty().unwrap(), [pages(0, 1)]);
    }
    fork.rollback().unwrap();
    assert_eq!(fork.as_slice()[0], 2);
}

#[allow(unsafe_code)]
fn write_through(pointer: *mut u8, byte: u8) {
    // SAFETY: the region lives, and nothing borrows it now.
    unsafe { pointer.write(byte) };
}

#[test]
fn threads_write_one_region() {
    let mut shared = SharedRegion::from(Region::zeroed(MIB).unwrap());
    // Neighbours write bytes of the same words.
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let shared = &shared;
            scope.spawn(move || {
                for at in (usize::from(thread)..MIB).step_by(4) {
                    shared.write_at(&[thread + 1], at).unwrap();
                }
            });
        }
    });
    let mut fork = shared.get_mut().fork().unwrap();
    assert!(fork.as_slice().chunks(4).all(|four| four == [1, 2, 3, 4]));
    // A region that was frozen, and goes on being written by threads.
    let shared = Arc::new(shared);
    let writer = Arc::clone(&shared);
    thread::spawn(move || writer.write_at(b"later", 3).unwrap())
        .join()
        .unwrap();
    let mut region = Arc::into_inner(shared).unwrap().into_inner();
    let later = region.fork().unwrap();
    assert_eq!(&later.as_slice()[..9], b"\x01\x02\x03later\x01");
    assert_eq!(fork.diff(&later).unwrap(), [pages(0, 1)]);
    fork.share().write_at(b"later", 3).unwrap();
    assert_eq!(fork.diff(&later).unwrap(), []);
    let mut read = [0; 5];
    fork.share().read_at(&mut read, 3).unwrap();
    assert_eq!(&read, b"later");
}

#[test]
fn what_threads_write_counts_wherever_the_region_is_moved() {
    let mut golden = filled(10);
    let mut shared = SharedRegion::from(golden.fork().unwrap());
    let mut region = golden.fork().unwrap();
    std::mem::swap(shared.get_mut(), &mut region);
    shared.write_at(b"written", 0).unwrap();
    assert_eq!(shared.get_mut().dirty().unwrap(), [pages(0, 1)]);
    let fork = shared.get_mut().fork().unwrap();
    assert_eq!(&fork.as_slice()[..7], b"written");
    // The other was never written, and one that was is clean once it is forked.
    assert_eq!(region.dirty().unwrap(), []);
    assert_eq!(shared.get_mut().dirty().unwrap(), []);
    shared.write_at(b"again", 0).unwrap();
    shared.get_mut().rollback().unwrap();
    assert_eq!(&shared.into_inner().as_slice()[..7], b"written");
}

#[test]
fn files_are_mapped_as_they_are_now() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![5; 10 * PAGE_BYTES]).unwrap();
    file.seek(SeekFrom::Start(7)).unwrap();
    let mut region = Region::map_file(&file, 100..9000).unwrap();
    assert_eq!(region.len(), 8900);
    region.write_at(&[6], 0).unwrap();
    // Neither its end nor its content is the region's any more.
    file.set_len(0).unwrap();
    // Where its owner reads on is his.
    assert_eq!(file.stream_position().unwrap(), 7);
    let mut fork = region.fork().unwrap();
    assert_eq!(fork.as_slice()[0], 6);
    assert!(fork.as_slice()[1..].iter().all(|&byte| byte == 5));
    fork.rollback().unwrap();
    assert_eq!(fork.as_slice()[0], 6);
    assert!(matches!(Region::map_file(&file, 0..1), Err(Error::Stream { .. })));
    assert!(matches!(Region::map_file(&file, 0..0), Err(Error::Length { .. })));
}

#[test]
fn holes_of_files_take_no_memory() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"data", 1 << 29).unwrap();
    let region = Region::map_file(&file, 4096..1 << 30).unwrap();
    assert_eq!(&region.as_slice()[(1 << 29) - 4096..][..4], b"data");
    assert!(region.stats().unwrap().own < MIB);
}

#[test]
fn sealed_files_are_not_copied() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let mut file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(&vec![5; 10 * PAGE_BYTES]).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::WRITE).unwrap();
    let mut region = Region::map_file(&file, 0..10 * PAGE_BYTES as u64).unwrap();
    region.write_at(&[6], 0).unwrap();
    // Its base cannot be written, though it is its own.
    let mut fork = region.fork().unwrap();
    fork.write_at(&[7], 0).unwrap();
    assert_eq!(
        (region.as_slice()[0], fork.as_slice()[0], fork.as_slice()[1]),
        (6, 7, 5)
    );
    let mut first = [0];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut first, 0).unwrap();
    assert_eq!(first, [5]);
}

#[test]
fn a_file_that_others_can_change_is_no_fork() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let refused = |file: &File| matches!(Region::from_fd(file, PAGE_BYTES), Err(Error::NotSealed { .. }));
    // A future write is refused, but who has it mapped goes on writing.
    for seals in [
        SealFlags::empty(),
        SealFlags::SHRINK | SealFlags::GROW,
        SealFlags::WRITE | SealFlags::GROW,
        SealFlags::SHRINK | SealFlags::FUTURE_WRITE,
    ] {
        let mut file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
        file.write_all(&[5; PAGE_BYTES]).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        assert!(refused(&file), "{seals:?}");
        // Copied, it is no matter that it is cut short under the region.
        let region = Region::map_file(&file, 0..PAGE_BYTES as u64).unwrap();
        let _unless_sealed = file.set_len(0);
        assert_eq!(region.as_slice(), [5; PAGE_BYTES]);
    }
    let on_disk = tempfile::tempfile().unwrap();
    on_disk.set_len(PAGE_BYTES as u64).unwrap();
    assert!(refused(&on_disk));
    assert!(refused(&File::open("/dev/zero").unwrap()));
    let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(Region::from_fd(&socket, PAGE_BYTES).is_err());
    assert!(Region::map_file(&socket, 0..PAGE_BYTES as u64).is_err());
    // What is sealed and shorter than it is said to be.
    let fork = Region::zeroed(PAGE_BYTES).unwrap().fork_fd().unwrap();
    assert!(Region::from_fd(&fork, PAGE_BYTES + 1).is_err());
    assert!(Region::from_fd(&fork, 0).is_err());
    assert!(Region::from_fd(&fork, usize::MAX).is_err());
}

#[test]
fn a_sealed_file_that_may_grow_ends_with_a_whole_page() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let mut file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(&[5; PAGE_BYTES + 10]).unwrap();
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::WRITE).unwrap();
    // What lies behind its end in its last page changes when it grows.
    let error = Region::from_fd(&file, 2 * PAGE_BYTES).err().unwrap();
    assert!(matches!(error, Error::NotSealed { .. }), "{error}");
    // So it is copied, and not its length either.
    let region = Region::map_file(&file, 0..PAGE_BYTES as u64 + 10).unwrap();
    file.set_len(3 * PAGE_BYTES as u64).unwrap();
    assert!(region.as_slice().iter().all(|&byte| byte == 5));
    // One that cannot grow either is mapped as it is.
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    assert!(Region::from_fd(&file, 3 * PAGE_BYTES - 10).is_ok());
}

#[test]
fn requests_outside_are_refused() {
    assert!(matches!(Region::zeroed(0), Err(Error::Length { length: 0 })));
    assert!(matches!(Region::zeroed(usize::MAX), Err(Error::Length { .. })));
    let mut region = Region::zeroed(5000).unwrap();
    assert_eq!((region.len(), region.pages()), (5000, 2));
    assert!(region.write_at(&[0; 5000], 0).is_ok());
    for offset in [1, 5001, usize::MAX] {
        assert!(matches!(
            region.write_at(&[0; 5000], offset),
            Err(Error::OutOfRange { .. })
        ));
        assert!(matches!(
            region.read_at(&mut [0; 5000], offset),
            Err(Error::OutOfRange { .. })
        ));
        assert!(matches!(
            region.share().write_at(&[0; 5000], offset),
            Err(Error::OutOfRange { .. })
        ));
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is tried")]
    for bytes in [4..3, 5001..5001, 4999..5001, usize::MAX..0, 0..usize::MAX] {
        assert!(matches!(region.slice_mut(bytes), Err(Error::OutOfRange { .. })));
    }
    let other = Region::zeroed(PAGE_BYTES).unwrap();
    assert!(matches!(region.diff(&other), Err(Error::OtherLength { .. })));
}

#[test]
fn a_reserved_region_takes_no_memory() {
    let mut region = Region::zeroed(1 << 40).unwrap();
    region.write_at(&[1], 1 << 39).unwrap();
    let mut fork = region.fork().unwrap();
    fork.write_at(&[2], 1 << 38).unwrap();
    assert_eq!(fork.diff(&region).unwrap(), [pages(1 << 26, 1)]);
    let stats = fork.stats().unwrap();
    assert!(stats.own <= 4 * PAGE_BYTES && stats.zero > 1 << 39, "{stats:?}");
}
