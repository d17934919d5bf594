//! The local directory as a medium.
//!
//! Objects and journal files are plain files. Reads past the cache use O_DIRECT; on a file system without it they
//! sync the file, ask the kernel to forget its pages and read through the cache. Space is held back by a file of
//! its own (`reserve`).

mod file;
pub(super) mod folder;
mod journal;
mod reserve;
mod spare;
mod writer;

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{flock, statvfs};

use self::file::{FileObject, open_direct};
use self::folder::{Folder, Inside};
use self::journal::JournalFile;
use self::reserve::Reserve;
use self::spare::SpareFiles;
use self::writer::FileWriter;
use super::lease::{self, Lease};
use super::{Area, Medium, Object, ObjectName, ObjectWriter, Syncer, Writing};
use crate::error::LockHolder;
use crate::segment::SegmentId;

/// The parameters until they are whole: the first thing that is made, and renamed last.
const BEGUN: &str = "store.json.new";
/// The names in the directory of a store that is being made.
const OURS: [&str; 7] = [
    "manifest",
    "journal",
    "segments",
    lease::FOLDER,
    "LOCK",
    "reserve",
    BEGUN,
];

/// What a directory is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing.
    Write,
    /// Reading alone, where nothing can be written: then not even the lock is needed.
    Read,
}

/// A store's directory on a local file system.
pub struct DirectoryMedium {
    root: Arc<Folder>,
    access: Access,
    journal: Mutex<Vec<Arc<JournalFile>>>,
    reserve: Arc<Reserve>,
    hold: Mutex<Hold>,
}

/// What a process has of a store as long as the medium lives. Close-on-exec, as all files of std are.
enum Hold {
    /// All of it: one process at a time. Without a file where nothing can be written and nobody ever wrote.
    Lock { _file: Option<File> },
    /// What its lease names, for reading.
    Lease { _lease: Lease },
}

impl DirectoryMedium {
    /// Makes the directories of a new store under `root`, which is empty or not there yet, and locks it; `None` if
    /// something else is there.
    ///
    /// What an earlier, interrupted attempt left behind is removed: it is known by the parameters that were begun and
    /// not finished, and only files with names of ours are touched.
    pub fn create(root: &Path) -> io::Result<Option<Self>> {
        DirBuilder::new().mode(0o700).recursive(true).create(root)?;
        let folder = Folder::hold(root)?;
        let parent = root.canonicalize()?;
        let root = folder.path();
        let begun = root.join(BEGUN);
        let names = fs::read_dir(root)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        let ours = names.iter().all(|name| OURS.iter().any(|own| name == own));
        // The lock alone is nothing yet.
        let empty = names.iter().all(|name| name == "LOCK");
        let unfinished = ours && begun.exists();
        if !empty && !unfinished {
            return Ok(None);
        }
        let Ok(lock) = try_lock(root)? else {
            return Ok(None);
        };
        // Another process may have been quicker before the lock was ours.
        if root.join("store.json").exists() {
            return Ok(None);
        }
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&begun)?
            .sync_all()?;
        File::open(root)?.sync_all()?;
        let areas = [Area::Manifest, Area::Journal, Area::Segment].map(directory);
        for name in areas.into_iter().chain([lease::FOLDER]) {
            let path = root.join(name);
            if path.exists() && !remove_leftovers(&path)? {
                return Ok(None);
            }
            DirBuilder::new().mode(0o700).create(&path)?;
        }
        File::open(root)?.sync_all()?;
        if let Some(parent) = parent.parent() {
            File::open(parent)?.sync_all()?;
        }
        Self::with_lock(folder, lock, Access::Write).map(Some)
    }

    /// Tells whether `root` has what a store has, but for its parameters.
    pub fn has_lost_its_parameters(root: &Path) -> bool {
        let has = |area| root.join(directory(area)).is_dir();
        !root.join(BEGUN).exists() && has(Area::Manifest) && has(Area::Journal) && has(Area::Segment)
    }

    /// Opens the directory of a store, or returns who holds it.
    ///
    /// `Ok(Err(None))` means that it is held by an unknown process.
    pub fn open(root: &Path, access: Access) -> io::Result<Result<Self, Option<LockHolder>>> {
        let folder = Folder::hold(root)?;
        let lock = match access {
            Access::Write => try_lock(folder.path())?,
            Access::Read => try_lock_for_reading(folder.path())?,
        };
        match lock {
            Ok(lock) => Self::with_lock(folder, lock, access).map(Ok),
            Err(holder) => Ok(Err(holder)),
        }
    }

    /// Tells whether there is a store at `root`: its parameters are the last thing that is made.
    ///
    /// # Errors
    /// If that cannot be told, as for want of permission.
    pub fn is_store(root: &Path) -> io::Result<bool> {
        match fs::metadata(root.join("store.json")) {
            Ok(metadata) => Ok(metadata.is_file()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn with_lock(root: Arc<Folder>, lock: Option<File>, access: Access) -> io::Result<Self> {
        let reserve = match access {
            Access::Read => None,
            Access::Write => {
                let mut options = File::options();
                options.write(true).create(true).truncate(true).mode(0o600);
                Some(options.open(root.inside("reserve"))?)
            }
        };
        let spare = SpareFiles::new(Arc::clone(&root));
        let medium = Self {
            root,
            access,
            journal: Mutex::new(Vec::new()),
            reserve: Arc::new(Reserve::new(reserve, spare)),
            hold: Mutex::new(Hold::Lock { _file: lock }),
        };
        let mut files = Vec::new();
        while medium.journal_path(files.len() as u32).as_ref().exists() {
            files.push(medium.open_journal_file(files.len() as u32)?);
        }
        *medium.journal.lock() = files;
        Ok(medium)
    }

    /// Fails once another process may have the store.
    fn check_writable(&self) -> io::Result<()> {
        match &*self.hold.lock() {
            Hold::Lock { .. } => Ok(()),
            Hold::Lease { .. } => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    fn path(&self, name: ObjectName) -> Inside {
        self.root.inside(name.to_string())
    }

    fn journal_path(&self, file: u32) -> Inside {
        self.root.inside(Path::new("journal").join(file.to_string()))
    }

    fn open_journal_file(&self, file: u32) -> io::Result<Arc<JournalFile>> {
        let path = self.journal_path(file);
        Ok(Arc::new(JournalFile::open(path.as_ref(), self.access)?))
    }

    fn journal_file(&self, file: u32) -> io::Result<Arc<JournalFile>> {
        self.journal
            .lock()
            .get(file as usize)
            .cloned()
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn directory(area: Area) -> &'static str {
    match area {
        Area::Root => ".",
        Area::Manifest => "manifest",
        Area::Segment => "segments",
        Area::Journal => "journal",
    }
}

/// Removes a directory with the files of an unfinished store; false if it has anything else.
fn remove_leftovers(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let numbered = name
            .to_str()
            .is_some_and(|name| name.parse::<u64>().is_ok() || name.parse::<SegmentId>().is_ok());
        if !numbered || !entry.file_type()?.is_file() {
            return Ok(false);
        }
        fs::remove_file(entry.path())?;
    }
    fs::remove_dir(path)?;
    Ok(true)
}

/// The lock, or its holder.
type Locked = Result<Option<File>, Option<LockHolder>>;

/// Keeps writers away while the store is read, where there is a lock at all.
fn try_lock_for_reading(root: &Path) -> io::Result<Locked> {
    let file = match File::open(root.join("LOCK")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(None)),
        file => file?,
    };
    match flock(&file, rustix::fs::FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Ok(Some(file))),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(Err(holder(root))),
        Err(error) => Err(error.into()),
    }
}

/// Returns who wrote itself into the lock file.
fn holder(root: &Path) -> Option<LockHolder> {
    let text = fs::read_to_string(root.join("LOCK")).unwrap_or_default();
    // Behind the first line may be the rest of a longer one.
    let (pid, command) = text.lines().next()?.split_once(' ')?;
    Some(LockHolder {
        pid: pid.parse().ok()?,
        command: command.to_owned(),
    })
}

/// Takes the lock, or returns its holder.
fn try_lock(root: &Path) -> io::Result<Locked> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(root.join("LOCK"))?;
    match flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(Err(holder(root))),
        Err(error) => return Err(error.into()),
    }
    // Only to tell others who has it: a disk that is full has to be opened to be cleared. The file keeps its block: giving
    // that back takes as long as all else that opening a store does.
    let name = own_name();
    let _ = file
        .write_all_at(name.as_bytes(), 0)
        .and_then(|()| file.set_len(name.len() as u64));
    Ok(Ok(Some(file)))
}

/// Returns this process's id and command as a line.
pub(super) fn own_name() -> String {
    let command: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let command: String = command
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    format!("{} {command}\n", rustix::process::getpid().as_raw_nonzero())
}

/// Makes a file of zeroes: written, not only allocated, as a commit into space that was written once is a third faster.
fn write_zeroes(path: &Path, bytes: u64) -> io::Result<()> {
    let mut new = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let zeroes = vec![0u8; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(zeroes.len() as u64);
        new.write_all(&zeroes[..part as usize])?;
        left -= part;
    }
    Ok(())
}

/// The parameters of a store, whose presence says that it is whole, appear by a rename.
struct ParametersWriter {
    file: FileWriter,
    root: Arc<Folder>,
}

impl ObjectWriter for ParametersWriter {
    fn append_pieces(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        self.file.append_pieces(pieces)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        fs::rename(self.root.inside(BEGUN), self.root.inside("store.json"))
    }
}

impl Medium for DirectoryMedium {
    fn create_object(&self, name: ObjectName, writing: Writing) -> io::Result<Box<dyn ObjectWriter>> {
        self.check_writable()?;
        let mut options = File::options();
        options.write(true).mode(0o600);
        if name == ObjectName::Parameters {
            let file = options
                .create(true)
                .truncate(true)
                .open(self.root.inside(BEGUN))?;
            return Ok(Box::new(ParametersWriter {
                file: FileWriter::new(file, None, Arc::clone(&self.reserve), 0),
                root: Arc::clone(&self.root),
            }));
        }
        let path = self.path(name);
        let again = match writing {
            Writing::Cached => None,
            Writing::PastCache { bytes } => {
                let free = self.free_bytes().unwrap_or(0);
                self.reserve.spare().rename_for(bytes, free, path.as_ref())?
            }
        };
        options.create_new(again.is_none());
        let opened = self.reserve.making_room(|| options.open(&path)).and_then(|file| {
            let direct = match writing {
                Writing::Cached => None,
                Writing::PastCache { .. } => open_direct(path.as_ref(), File::options().write(true))
                    .inspect_err(|_| drop(fs::remove_file(&path)))?,
            };
            Ok((file, direct))
        });
        if opened.is_err() && again.is_some() {
            // The spare file that it was; what cannot be removed now is removed by the next opening.
            let _ = fs::remove_file(&path);
        }
        let (file, direct) = opened?;
        let has = again.unwrap_or(0);
        Ok(Box::new(FileWriter::new(
            file,
            direct,
            Arc::clone(&self.reserve),
            has,
        )))
    }

    fn reads_unfinished(&self) -> bool {
        true
    }

    fn open_object(&self, name: ObjectName) -> io::Result<Arc<dyn Object>> {
        let path = self.path(name);
        Ok(Arc::new(FileObject::open(path)?))
    }

    fn remove_object(&self, name: ObjectName) -> io::Result<()> {
        self.check_writable()?;
        fs::remove_file(self.path(name))
    }

    fn retire_object(&self, name: ObjectName) -> io::Result<()> {
        self.check_writable()?;
        let path = self.path(name);
        let free = self.free_bytes().unwrap_or(0);
        match self.reserve.spare().keep(path.as_ref(), free) {
            Ok(true) => Ok(()),
            _ => fs::remove_file(path),
        }
    }

    fn list_objects(&self, area: Area) -> io::Result<Vec<ObjectName>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.inside(directory(area)))? {
            let file_name = entry?.file_name();
            let parsed = file_name.to_str().and_then(|text| match area {
                Area::Root => (text == "store.json").then_some(ObjectName::Parameters),
                Area::Manifest => text.parse().ok().map(ObjectName::Manifest),
                Area::Segment => text.parse::<SegmentId>().ok().map(ObjectName::Segment),
                Area::Journal => None,
            });
            // Only what the engine would write itself: `007` is not manifest 7.
            names.extend(
                parsed
                    .filter(|name| Path::new(&name.to_string()).file_name() == Some(OsStr::new(&file_name))),
            );
        }
        Ok(names)
    }

    fn sync_area(&self, area: Area) -> io::Result<()> {
        let renamed = (area == Area::Segment).then(|| self.reserve.spare().renamed());
        File::open(self.root.inside(directory(area)))?.sync_all()?;
        renamed.inspect(|&renamed| self.reserve.spare().settle(renamed));
        Ok(())
    }

    fn journal_files(&self) -> io::Result<u32> {
        Ok(self.journal.lock().len() as u32)
    }

    fn journal_file_bytes(&self, file: u32) -> io::Result<u64> {
        self.journal_file(file)?.length()
    }

    fn create_journal_file(&self, file: u32, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        let path = self.journal_path(file);
        let made = self.reserve.making_room(|| write_zeroes(path.as_ref(), bytes));
        if let Err(error) = made {
            // On a full disk half a file would take the room that others need.
            let known = (file as usize) < self.journal.lock().len();
            let _ = if known {
                File::options()
                    .write(true)
                    .open(&path)
                    .and_then(|short| short.set_len(0))
            } else {
                fs::remove_file(&path)
            };
            return Err(error);
        }
        let opened = self.open_journal_file(file)?;
        let mut files = self.journal.lock();
        let count = files.len();
        match files.get_mut(file as usize) {
            Some(short) => *short = opened,
            None if file as usize == count => files.push(opened),
            None => return Err(io::Error::other("journal files are numbered without gaps")),
        }
        Ok(())
    }

    fn write_journal(&self, file: u32, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.journal_file(file)?.write(bytes, offset)
    }

    fn sync_journal(&self, file: u32, by: Syncer) -> io::Result<()> {
        self.journal_file(file)?.sync(by)
    }

    fn read_journal(&self, file: u32, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.journal_file(file)?.read(bytes, offset)
    }

    fn can_overwrite(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let status = statvfs(self.root.path())?;
        let free = status.f_bavail.saturating_mul(status.f_frsize);
        Ok(self.reserve.free_beside(free))
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.reserve.hold(bytes)
    }

    fn give_back(&self) -> bool {
        self.reserve.give_back()
    }

    fn become_reader(&self, kept: &[SegmentId]) -> io::Result<()> {
        if self.access == Access::Read {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let lease = Lease::take(&self.root, kept)?;
        self.reserve.spare().clear();
        // Before another process can have the lock, nothing here can change its journal and its reserve any more.
        self.journal.lock().clear();
        self.reserve.leave();
        *self.hold.lock() = Hold::Lease { _lease: lease };
        Ok(())
    }

    fn leased(&self) -> io::Result<Vec<SegmentId>> {
        lease::held(self.root.path())
    }

    fn folder(&self) -> Option<&Arc<Folder>> {
        Some(&self.root)
    }
}
