//! The file system itself, through `std::fs`: it keeps what was synced, forgets the rest, and behaves like any other
//! until then.

use crate::aligned::{Aligned, PAGE, read_direct};
use crate::device::AtCut;
use crate::disk::{SECTOR_BYTES, Survival};
use crate::mount::Mount;
use crate::random::Random;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, OFlag, RenameFlags, fallocate, renameat2};
use nix::unistd::{Whence, lseek};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Cuts the power so that nothing unsynced survives.
fn cut(mount: &mut Mount) {
    mount
        .cut_power(Survival::Nothing, Random::new(1))
        .expect("mounts again");
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a file that is durable, name included.
fn durable_file(mount: &Mount, name: &str, bytes: &[u8]) -> File {
    let file = open(&mount.join(name), OFlag::empty()).expect("opens");
    file.write_all_at(bytes, 0).expect("writes");
    file.sync_all().expect("syncs");
    sync_directory(mount.path()).expect("syncs the directory");
    file
}

fn open(path: &Path, flags: OFlag) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .custom_flags(flags.bits())
        .open(path)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("lists");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("is an entry")
                .file_name()
                .into_string()
                .expect("is UTF-8")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn synced_bytes_stay_and_unsynced_ones_go() {
    let Some(mut mount) = Mount::new_or_skip("synced_bytes_stay_and_unsynced_ones_go") else {
        return;
    };
    let file = durable_file(&mount, "file", &[1; 3 * PAGE]);
    file.write_all_at(&[2; PAGE], 0).expect("writes");
    file.sync_data().expect("syncs");
    file.write_all_at(&[3; PAGE], PAGE as u64).expect("writes");
    file.write_all_at(&[3; 2 * PAGE], 3 * PAGE as u64)
        .expect("extends");
    assert_eq!(file.metadata().expect("has metadata").len(), 5 * PAGE as u64);
    drop(file);

    cut(&mut mount);

    let expected = [[2; PAGE], [1; PAGE], [1; PAGE]].concat();
    assert!(fs::read(mount.join("file")).expect("reads") == expected);
}

#[test]
fn a_name_lasts_once_its_directory_is_synced() {
    let Some(mut mount) = Mount::new_or_skip("a_name_lasts_once_its_directory_is_synced") else {
        return;
    };
    fs::create_dir(mount.join("kept")).expect("makes a directory");
    sync_directory(mount.path()).expect("syncs the root");
    for name in ["synced", "unsynced"] {
        let file = File::create(mount.join("kept").join(name)).expect("creates");
        file.sync_all().expect("syncs the file, not its name");
        if name == "synced" {
            sync_directory(&mount.join("kept")).expect("syncs the directory");
        }
    }
    fs::create_dir(mount.join("lost")).expect("makes a directory");
    durable_file(&mount, "lost/file", b"nobody finds me");
    cut(&mut mount);
    assert_eq!(names(&mount.join("kept")), ["synced"]);
    // `durable_file` synced the root, and so the name `lost`; the names in it were not synced.
    assert_eq!(names(&mount.join("lost")), [""; 0]);
}

#[test]
fn removed_and_renamed_names_come_back_until_the_directory_is_synced() {
    let Some(mut mount) = Mount::new_or_skip("removed_and_renamed_names_come_back") else {
        return;
    };
    durable_file(&mount, "old", b"old");
    durable_file(&mount, "gone", b"gone");
    durable_file(&mount, "target", b"target");
    for synced in [false, true] {
        fs::remove_file(mount.join("gone")).expect("removes");
        fs::rename(mount.join("old"), mount.join("target")).expect("renames");
        assert_eq!(names(mount.path()), ["target"]);
        if synced {
            sync_directory(mount.path()).expect("syncs the directory");
        }
        cut(&mut mount);
        let expected: &[&str] = if synced {
            &["target"]
        } else {
            &["gone", "old", "target"]
        };
        assert_eq!(names(mount.path()), expected);
        let bytes = fs::read(mount.join("target")).expect("reads");
        assert_eq!(bytes, if synced { &b"old"[..] } else { b"target" });
    }
}

#[test]
fn a_rename_is_there_or_not_but_never_half() {
    let Some(mut mount) = Mount::new_or_skip("a_rename_is_there_or_not_but_never_half") else {
        return;
    };
    let mut seen = [0; 2];
    for seed in 0..40 {
        fs::create_dir_all(mount.join("a")).expect("makes a directory");
        fs::create_dir_all(mount.join("b")).expect("makes a directory");
        durable_file(&mount, "a/x", b"new");
        sync_directory(&mount.join("a")).expect("syncs the directory");
        durable_file(&mount, "b/y", b"old");
        sync_directory(&mount.join("b")).expect("syncs the directory");
        fs::rename(mount.join("a/x"), mount.join("b/y")).expect("renames");
        mount
            .cut_power(Survival::Pages, Random::new(seed))
            .expect("mounts again");
        let renamed = names(&mount.join("a")).is_empty();
        let target = fs::read(mount.join("b/y")).expect("one of the two is there");
        assert_eq!(target, if renamed { b"new" } else { b"old" });
        seen[usize::from(renamed)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "both outcomes are seen: {seen:?}");
}

#[test]
fn pages_are_lost_one_by_one_and_sectors_are_torn() {
    let Some(mut mount) = Mount::new_or_skip("pages_are_lost_one_by_one_and_sectors_are_torn") else {
        return;
    };
    for (survival, unit) in [
        (Survival::Pages, PAGE),
        (Survival::Sectors, SECTOR_BYTES as usize),
    ] {
        let (mut torn, mut mixed) = (false, false);
        for seed in 0..10 {
            let file = durable_file(&mount, "file", &[1; 64 * PAGE]);
            file.write_all_at(&[2; 64 * PAGE], 0).expect("writes");
            drop(file);
            mount
                .cut_power(survival, Random::new(seed))
                .expect("mounts again");
            let bytes = fs::read(mount.join("file")).expect("reads");
            let whole = |part: &[u8]| part.iter().all(|byte| *byte == part[0]);
            assert!(
                bytes.chunks(unit).all(whole),
                "{survival:?}: nothing smaller is torn"
            );
            torn |= !bytes.chunks(PAGE).all(whole);
            mixed |= !whole(&bytes);
        }
        assert!(mixed, "{survival:?}: some is lost and some is there");
        assert_eq!(torn, survival == Survival::Sectors);
    }
}

#[test]
fn with_a_prefix_nothing_survives_what_came_before_it() {
    let Some(mut mount) = Mount::new_or_skip("with_a_prefix_nothing_survives_what_came_before_it") else {
        return;
    };
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let files = [
            durable_file(&mount, "a", &[0; 16]),
            durable_file(&mount, "b", &[0; 16]),
        ];
        for step in 0..16 {
            files[step % 2].write_all_at(&[1], step as u64).expect("writes");
        }
        drop(files);
        mount
            .cut_power(Survival::Prefix, Random::new(seed))
            .expect("mounts again");
        let both = ["a", "b"].map(|name| fs::read(mount.join(name)).expect("reads"));
        let steps: Vec<u8> = (0..16).map(|step| both[step % 2][step]).collect();
        let length = steps.iter().take_while(|done| **done == 1).count();
        assert!(steps[length..].iter().all(|done| *done == 0), "{steps:?}");
        lengths.insert(length);
    }
    assert!(lengths.len() > 3, "the prefixes differ: {lengths:?}");
}

#[test]
fn everything_may_survive_as_well() {
    let Some(mut mount) = Mount::new_or_skip("everything_may_survive_as_well") else {
        return;
    };
    fs::create_dir(mount.join("directory")).expect("makes a directory");
    fs::write(mount.join("directory/file"), b"lucky").expect("writes");
    mount
        .cut_power(Survival::Everything, Random::new(1))
        .expect("mounts again");
    assert_eq!(fs::read(mount.join("directory/file")).expect("reads"), b"lucky");
}

#[test]
fn the_power_is_cut_at_the_operation_asked_for() {
    let Some(mut mount) = Mount::new_or_skip("the_power_is_cut_at_the_operation_asked_for") else {
        return;
    };
    let file = durable_file(&mount, "file", &[0; 8]);
    mount.device().arm_cut(4, AtCut::Fail);
    file.write_all_at(&[1], 0).expect("the first");
    file.sync_all().expect("the second");
    file.write_all_at(&[1], 1).expect("the third");
    assert!(!mount.device().is_cut());
    let failed = file.sync_all().expect_err("the fourth");
    assert_eq!(failed.raw_os_error(), Some(nix::libc::EIO));
    assert!(mount.device().is_cut());
    file.write_all_at(&[1], 2).expect_err("there is no disk any more");
    file.read_at(&mut [0], 0).expect_err("nor can it be read");
    drop(file);
    cut(&mut mount);
    assert_eq!(
        fs::read(mount.join("file")).expect("reads"),
        [1, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn a_synchronous_write_is_a_sync() {
    let Some(mut mount) = Mount::new_or_skip("a_synchronous_write_is_a_sync") else {
        return;
    };
    durable_file(&mount, "file", b"");
    for (step, flags) in [OFlag::O_SYNC, OFlag::O_DSYNC, OFlag::empty()]
        .into_iter()
        .enumerate()
    {
        let file = open(&mount.join("file"), flags).expect("opens");
        let before = mount.counters().syncs;
        file.write_all_at(b"x", step as u64).expect("writes");
        assert_eq!(mount.counters().syncs - before, u64::from(!flags.is_empty()));
    }
    cut(&mut mount);
    assert_eq!(fs::read(mount.join("file")).expect("reads"), b"xx");
}

#[test]
fn what_a_failed_sync_left_out_is_never_written_by_a_later_one() {
    let Some(mut mount) = Mount::new_or_skip("what_a_failed_sync_left_out_is_never_written") else {
        return;
    };
    let file = durable_file(&mount, "file", &[1; 64 * PAGE]);
    let other = File::open(mount.join("file")).expect("opens");
    file.write_all_at(&[2; 64 * PAGE], 0).expect("writes");
    mount.device().arm_failing_sync(1, Random::new(7));
    file.sync_all().expect_err("the armed failure");
    file.sync_all().expect("looks as though all were well");
    other.sync_all().expect_err("who had it open then is told");
    other.sync_all().expect("once");

    let cached = fs::read(mount.join("file")).expect("reads");
    assert!(cached.iter().all(|byte| *byte == 2), "the page cache has it");
    let mut medium = read_direct(&mount.join("file")).expect("reads past the cache");
    assert!(
        medium.contains(&1) && medium.contains(&2),
        "the medium has a mixture"
    );

    // Written again, a page is as good as any.
    file.write_all_at(&[3], 0).expect("writes");
    file.sync_all().expect("syncs");
    medium[..PAGE].fill(2);
    medium[0] = 3;
    drop((file, other));
    cut(&mut mount);
    assert!(fs::read(mount.join("file")).expect("reads") == medium);
}

#[test]
fn direct_io_works_in_whole_sectors() {
    let Some(mut mount) = Mount::new_or_skip("direct_io_works_in_whole_sectors") else {
        return;
    };
    durable_file(&mount, "file", &[1; 2 * PAGE]);
    let file = open(&mount.join("file"), OFlag::O_DIRECT).expect("opens");
    let page = Box::new(Aligned([2; PAGE]));
    file.write_all_at(&page.0[..SECTOR_BYTES as usize], PAGE as u64)
        .expect("writes a sector");
    file.sync_data().expect("syncs");
    file.write_all_at(&page.0, 0).expect("writes a page");
    let odd = file.write_all_at(&page.0[..7], 0).expect_err("is no sector");
    assert_eq!(odd.kind(), ErrorKind::InvalidInput);
    drop(file);
    cut(&mut mount);
    let mut expected = vec![1; 2 * PAGE];
    expected[PAGE..PAGE + SECTOR_BYTES as usize].fill(2);
    assert!(fs::read(mount.join("file")).expect("reads") == expected);
}

#[test]
fn sizes_are_forgotten_like_bytes() {
    let Some(mut mount) = Mount::new_or_skip("sizes_are_forgotten_like_bytes") else {
        return;
    };
    let file = durable_file(&mount, "file", &[1; 2 * PAGE]);
    file.set_len(100).expect("truncates");
    file.set_len(PAGE as u64).expect("extends");
    let mut bytes = vec![1; 100];
    bytes.resize(PAGE, 0);
    assert!(
        fs::read(mount.join("file")).expect("reads") == bytes,
        "what was cut off reads as zeroes"
    );
    drop(file);
    cut(&mut mount);
    assert!(fs::read(mount.join("file")).expect("reads") == [1; 2 * PAGE]);

    let file = OpenOptions::new()
        .write(true)
        .open(mount.join("file"))
        .expect("opens");
    file.set_len(100).expect("truncates");
    file.sync_data().expect("syncs");
    fallocate(&file, FallocateFlags::empty(), 0, 300).expect("allocates");
    drop(file);
    cut(&mut mount);
    assert_eq!(fs::read(mount.join("file")).expect("reads"), [1; 100]);
}

#[test]
fn holes_are_allocated_punched_and_found() {
    let Some(mount) = Mount::new_or_skip("holes_are_allocated_punched_and_found") else {
        return;
    };
    let file = durable_file(&mount, "file", &[1; 4 * PAGE]);
    let page = PAGE as i64;
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    fallocate(&file, keep, 0, 100 * page).expect("allocates beyond the end");
    fallocate(
        &file,
        keep | FallocateFlags::FALLOC_FL_PUNCH_HOLE,
        page - 1,
        2 * page + 1,
    )
    .expect("punches");
    fallocate(&file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, page).expect_err("is not offered");
    let mut expected = vec![1; 4 * PAGE];
    expected[PAGE - 1..3 * PAGE].fill(0);
    assert!(fs::read(mount.join("file")).expect("reads") == expected);
    assert_eq!(file.metadata().expect("has metadata").blocks(), 2 * 8);
    let seek = |offset, whence| lseek(file.as_fd(), offset, whence);
    assert_eq!(seek(0, Whence::SeekHole), Ok(page));
    assert_eq!(seek(page, Whence::SeekData), Ok(3 * page));
    assert_eq!(seek(3 * page, Whence::SeekHole), Ok(4 * page));
    assert_eq!(seek(4 * page, Whence::SeekData), Err(nix::errno::Errno::ENXIO));
}

#[test]
fn it_is_a_file_system_like_any_other() {
    let Some(mut mount) = Mount::new_or_skip("it_is_a_file_system_like_any_other") else {
        return;
    };
    let path = |name: &str| mount.join(name);

    // A large file, read and written in odd pieces.
    let bytes = Random::new(3).bytes((3 << 20) + 17);
    let mut file = File::create(path("large")).expect("creates");
    for piece in bytes.chunks((1 << 20) + 5) {
        file.write_all(piece).expect("writes");
    }
    let mut read = Vec::new();
    File::open(path("large"))
        .expect("opens")
        .read_to_end(&mut read)
        .expect("reads");
    assert!(read == bytes);
    let mut appended = OpenOptions::new()
        .append(true)
        .open(path("large"))
        .expect("opens");
    appended.write_all(b"end").expect("appends");
    assert_eq!(
        fs::metadata(path("large")).expect("is there").len(),
        bytes.len() as u64 + 3
    );
    File::create(path("large")).expect("truncates");
    assert_eq!(fs::metadata(path("large")).expect("is there").len(), 0);

    // Names.
    fs::hard_link(path("large"), path("second name")).expect("links");
    assert_eq!(fs::metadata(path("large")).expect("is there").nlink(), 2);
    let kept = renameat2(
        nix::fcntl::AT_FDCWD,
        &path("large"),
        nix::fcntl::AT_FDCWD,
        &path("second name"),
        RenameFlags::RENAME_NOREPLACE,
    );
    assert_eq!(kept, Err(nix::errno::Errno::EEXIST));
    let held = File::open(path("large")).expect("opens");
    fs::remove_file(path("second name")).expect("removes");
    fs::remove_file(path("large")).expect("removes");
    file.write_all_at(b"still here", 0)
        .expect("an open file outlives its name");
    let mut bytes = [0; 10];
    held.read_exact_at(&mut bytes, 0).expect("reads");
    assert_eq!(&bytes, b"still here");
    fs::create_dir(path("full")).expect("makes a directory");
    for number in 0..300 {
        File::create(path(&format!("full/a file with a long name, number {number}"))).expect("creates");
    }
    assert_eq!(names(&path("full")).len(), 300);
    let refused = fs::remove_dir(path("full")).expect_err("is not empty");
    assert_eq!(refused.kind(), ErrorKind::DirectoryNotEmpty);
    fs::remove_dir_all(path("full")).expect("removes all");
    let again = fs::create_dir(path("full")).and_then(|()| fs::create_dir(path("full")));
    assert_eq!(again.expect_err("exists").kind(), ErrorKind::AlreadyExists);

    // Locks, which are the kernel's.
    let lock = Flock::lock(
        File::create(path("lock")).expect("creates"),
        FlockArg::LockExclusiveNonblock,
    );
    let refused = Flock::lock(
        File::open(path("lock")).expect("opens"),
        FlockArg::LockExclusiveNonblock,
    );
    assert!(lock.is_ok() && refused.is_err());

    // Several at once.
    std::thread::scope(|scope| {
        for part in 0..4_u8 {
            let path = path("shared");
            scope.spawn(move || {
                let file = open(&path, OFlag::empty()).expect("opens");
                for round in 0..50 {
                    let place = (u64::from(part) + 4 * round) * 1000;
                    file.write_all_at(&[part; 1000], place).expect("writes");
                }
            });
        }
    });
    let shared = fs::read(path("shared")).expect("reads");
    assert!(
        shared
            .chunks(1000)
            .zip((0..4).cycle())
            .all(|(part, number)| part == [number; 1000])
    );

    drop((file, held, appended, lock, refused));
    assert!(mount.counters().written_bytes > 3 << 20);
    cut(&mut mount);
    assert_eq!(names(mount.path()), [""; 0], "of all that nothing was synced");
}

#[test]
fn a_cut_may_hit_a_process_that_never_learns_of_it() {
    let Some(mut mount) = Mount::new_or_skip("a_cut_may_hit_a_process_that_never_learns_of_it") else {
        return;
    };
    mount.device().arm_cut(3, AtCut::Hang);
    let mut mkdir = std::process::Command::new("mkdir")
        .args(["1", "2", "3", "4"])
        .current_dir(mount.path())
        .spawn()
        .expect("starts");
    assert!(mount.device().wait_for_strike(std::time::Duration::from_secs(10)));
    mkdir.kill().expect("is killed");
    mount.device().release();
    mkdir.wait().expect("ends");
    mount
        .cut_power(Survival::Everything, Random::new(1))
        .expect("mounts again");
    assert_eq!(names(mount.path()), ["1", "2"]);
}

#[test]
fn what_a_killed_process_wrote_stays_until_the_power_goes() {
    let Some(mut mount) = Mount::new_or_skip("what_a_killed_process_wrote_stays_until_the_power_goes") else {
        return;
    };
    mount.device().arm_halt(3);
    let mut mkdir = std::process::Command::new("mkdir")
        .args(["1", "2", "3", "4"])
        .current_dir(mount.path())
        .spawn()
        .expect("starts");
    assert!(mount.device().wait_for_strike(std::time::Duration::from_secs(10)));
    mkdir.kill().expect("is killed");
    mount.device().release();
    mkdir.wait().expect("ends");
    assert_eq!(names(mount.path()), ["1", "2"]);
    fs::create_dir(mount.join("5")).expect("the disk is as good as ever");
    cut(&mut mount);
    assert_eq!(names(mount.path()), [""; 0]);
}
