//! Room that is held back for the store: a file that nobody reads.
//!
//! Making a file shorter costs as much as removing one: where the file system tells the device of every block that it
//! gives up, tens of milliseconds, and whoever allocates meanwhile waits. So where there is plenty of room the file keeps
//! what is not held any more, for what will be held next.
//!
//! **Invariant:** the file has the room that is held; what it has beyond that is given up before anybody is told that
//! the disk is full.

use std::fs::File;
use std::io;

use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, fallocate, fstatvfs, ftruncate};
use rustix::io::{Errno, retry_on_intr};

use super::spare::SpareFiles;

/// The file has no more than this beyond what is held.
const SURPLUS_BYTES_MAX: u64 = 64 << 20;

/// And no more than one byte of so many that are free.
const FREE_PER_SURPLUS: u64 = 16;

/// The room that is held back.
pub(super) struct Reserve {
    state: Mutex<State>,
    /// These take room too that others may need.
    spare: SpareFiles,
}

struct State {
    /// Absent where nothing is written.
    file: Option<File>,
    held: u64,
    /// What the file has; `None` where the file system cannot allocate ahead: then only what is free bounds the writers.
    allocated: Option<u64>,
}

impl Reserve {
    /// `file` is empty.
    pub(super) fn new(file: Option<File>, spare: SpareFiles) -> Self {
        let state = State {
            file,
            held: 0,
            allocated: Some(0),
        };
        Self {
            state: Mutex::new(state),
            spare,
        }
    }

    /// Files that are kept to be written again.
    pub(super) fn spare(&self) -> &SpareFiles {
        &self.spare
    }

    /// Holds so many bytes in place of what was held; with an error that stays held. No system call changes the file while it has
    /// enough, and not much more.
    pub(super) fn hold(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let State {
            file: Some(file),
            held,
            allocated,
        } = &mut *state
        else {
            return Ok(());
        };
        if bytes == 0 {
            self.spare.clear();
        }
        if let Some(has) = *allocated {
            *allocated = match resize(file, has, bytes) {
                Err(error) if is_full(&error) => {
                    self.spare.clear();
                    resize(file, has, bytes)?
                }
                resized => resized?,
            };
        }
        if allocated.is_none() && bytes > *held && bytes > free_bytes(file)? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *held = bytes;
        Ok(())
    }

    /// Does what takes room on the disk; if there is none, again without what is kept beyond what is held, and without the
    /// spare files.
    pub(super) fn making_room<T>(&self, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        match attempt() {
            Err(error) if is_full(&error) => {
                self.give_up_surplus()?;
                attempt()
            }
            done => done,
        }
    }

    fn give_up_surplus(&self) -> io::Result<()> {
        self.spare.clear();
        let mut state = self.state.lock();
        let held = state.held;
        if let (Some(file), Some(has)) = (&state.file, state.allocated)
            && has > held
        {
            ftruncate(file, held)?;
            state.allocated = Some(held);
        }
        Ok(())
    }

    /// Returns how many bytes are free beside what is held, of so many that the file system calls free.
    pub(super) fn free_beside(&self, free: u64) -> u64 {
        let state = self.state.lock();
        let free = match state.allocated {
            // Who finds no more gets what is kept beyond what is held.
            Some(has) => free.saturating_add(has.saturating_sub(state.held)),
            None => free.saturating_sub(state.held),
        };
        free.saturating_add(self.spare.bytes())
    }

    /// Gives up something of what is kept only to be quick; tells whether there is more.
    pub(super) fn give_back(&self) -> bool {
        self.spare.remove_one() || {
            // The next time is as good.
            let _ = self.give_up_surplus();
            false
        }
    }

    /// Lets go of the file as it is: another process may have it from now on.
    pub(super) fn leave(&self) {
        self.state.lock().file = None;
    }
}

/// Tells whether an error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn free_bytes(file: &File) -> io::Result<u64> {
    let status = fstatvfs(file)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// Makes the file, which has `has` bytes, have `bytes` and not much more; returns what it has, or `None` if this file
/// system cannot allocate ahead.
fn resize(file: &File, has: u64, bytes: u64) -> io::Result<Option<u64>> {
    if bytes > has {
        return match retry_on_intr(|| fallocate(file, FallocateFlags::empty(), has, bytes - has)) {
            Ok(()) => Ok(Some(bytes)),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(error) => {
                // What a failed call allocated is given back.
                ftruncate(file, has)?;
                Err(error.into())
            }
        };
    }
    let surplus = has - bytes;
    let most = if surplus == 0 || bytes == 0 {
        0
    } else {
        SURPLUS_BYTES_MAX.min(free_bytes(file)? / FREE_PER_SURPLUS)
    };
    if surplus <= most {
        return Ok(Some(has));
    }
    // To the half: else whoever goes up and down at the bound would change it each time.
    let kept = bytes + most / 2;
    ftruncate(file, kept)?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::medium::Folder;

    const MIB: u64 = 1 << 20;

    fn reserve() -> (File, Reserve) {
        let file = tempfile::tempfile().expect("a file");
        let same = file.try_clone().expect("the same file");
        let root = Folder::hold(&std::env::temp_dir()).expect("a directory");
        (file, Reserve::new(Some(same), SpareFiles::new(root)))
    }

    fn has(file: &File) -> u64 {
        file.metadata().expect("told").len()
    }

    #[test]
    fn who_goes_up_and_down_changes_the_file_once() {
        let (file, reserve) = reserve();
        reserve.hold(8 * MIB).expect("room");
        for _ in 0..100 {
            for held in [2, 8] {
                reserve.hold(held * MIB).expect("room");
                assert_eq!(has(&file), 8 * MIB);
            }
        }
        reserve.hold(0).expect("room");
        assert_eq!(has(&file), 0, "who holds nothing keeps nothing");
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let (file, reserve) = reserve();
        reserve.hold(100 * MIB).expect("room");
        reserve.hold(MIB).expect("room");
        assert!(has(&file) <= MIB + SURPLUS_BYTES_MAX / 2, "{}", has(&file));
        assert!(has(&file) >= MIB);
    }

    #[test]
    fn what_is_held_is_not_free_wherever_it_lies() {
        let (_file, reserve) = reserve();
        reserve.hold(8 * MIB).expect("room");
        // The file system takes it off what it calls free.
        assert_eq!(reserve.free_beside(100 * MIB), 100 * MIB);
        reserve.hold(2 * MIB).expect("room");
        assert_eq!(reserve.free_beside(100 * MIB), 106 * MIB, "with what is kept");
        // As where it cannot allocate ahead.
        reserve.state.lock().allocated = None;
        assert_eq!(reserve.free_beside(100 * MIB), 98 * MIB);
    }

    #[test]
    fn what_finds_no_room_gets_what_was_kept_and_not_what_is_held() {
        let (file, reserve) = reserve();
        reserve.hold(8 * MIB).expect("room");
        reserve.hold(2 * MIB).expect("room");
        // A disk on which there is room for it as soon as the file has no more than what is held.
        let attempts = Cell::new(0);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let made = reserve.making_room(|| {
            attempts.set(attempts.get() + 1);
            (has(&file) <= 2 * MIB).then_some(()).ok_or_else(full)
        });
        made.expect("room");
        assert_eq!((attempts.get(), has(&file)), (2, 2 * MIB));
        let refused = reserve.making_room(|| Err::<(), _>(full()));
        assert!(is_full(&refused.expect_err("there is none")));
        assert_eq!(has(&file), 2 * MIB);
    }
}
