//! Goal: a process whose memory cgroup has no more ends, or gets an error, and takes nothing with it.
//! Method: processes made by fork(2) in a group of 32 MiB, which write regions, and one that they share with this process. Who may not
//! make groups tests nothing.

mod forked;

use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use forked::in_forked_process;
use tine_memory::{Region, Result, Save};

const MIB: usize = 1 << 20;

/// What a process of ours ends with when it got an error.
const GOT_AN_ERROR: i32 = 1;

/// A memory cgroup, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn of_bytes(limit: usize) -> Option<Self> {
        let name = format!("tine-memory-test-{}", process::id());
        // Version 1, version 2.
        let places = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        places.iter().find_map(|(root, file)| {
            let path = Path::new(root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            fs::write(group.0.join(file), limit.to_string()).ok()?;
            // Else it would swap.
            let _unless_there_is_none = fs::write(group.0.join("memory.swap.max"), "0");
            Some(group)
        })
    }

    /// Runs `child` in a process of the group, and returns how it ended.
    fn run(&self, child: impl FnOnce() -> Result) -> i32 {
        in_forked_process(|| {
            fs::write(self.0.join("cgroup.procs"), process::id().to_string()).unwrap();
            i32::from(child().is_err()) * GOT_AN_ERROR
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended.
        let _removed = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_group_without_memory_ends_who_asks_for_more_and_nobody_else() {
    let Some(group) = Group::of_bytes(32 * MIB) else {
        eprintln!("skipped: no memory cgroup can be made here");
        return;
    };
    let mut golden = Region::zeroed(64 * MIB).unwrap();
    golden.as_mut_slice().fill(1);
    let shared = golden.fork_fd().unwrap();
    let mut saved = Vec::new();
    golden.save(&mut saved, Save::Full).unwrap();

    // A page that cannot be had is nobody's error: the kernel's killer comes.
    let status = group.run(|| {
        Region::zeroed(64 * MIB)?.as_mut_slice().fill(1);
        Ok(())
    });
    assert_eq!(status, -libc::SIGKILL);
    let status = group.run(|| {
        Region::from_fd(&shared, 64 * MIB)?.as_mut_slice().fill(2);
        Ok(())
    });
    assert_eq!(status, -libc::SIGKILL);
    // What a system call asks for is an error, or the killer comes, too.
    let status = group.run(|| Region::load(&mut &saved[..]).map(drop));
    assert!([-libc::SIGKILL, GOT_AN_ERROR].contains(&status), "{status}");
    let status = group.run(|| {
        let mut fork = Region::from_fd(&shared, 64 * MIB)?;
        fork.slice_mut(0..12 * MIB)?.fill(2);
        (0..4).try_for_each(|_| fork.fork().map(std::mem::forget))
    });
    assert!([-libc::SIGKILL, GOT_AN_ERROR].contains(&status), "{status}");

    // What they shared is as it was, and there is room for who asks for less.
    assert!(golden.as_slice().iter().all(|&byte| byte == 1));
    let status = group.run(|| {
        let mut fork = Region::from_fd(&shared, 64 * MIB)?;
        fork.slice_mut(0..MIB)?.fill(2);
        fork.rollback()
    });
    assert_eq!(status, 0);
}
