//! The disk as a FUSE file system: each call of a program becomes one call of [`Disk`](crate::disk::Disk).
//!
//! **Invariant:** the kernel keeps nothing for itself. Files are opened for direct I/O, names and attributes are valid
//! for no time, nothing is written back later: a `write` or `fsync` that returned has been here.
//!
//! Absent: `syncfs` never reaches a FUSE server, so it syncs nothing here; `mmap` for writing and symbolic links.

use crate::device::{Device, Operation, State};
use crate::disk::{Access, Inode, Kind, Make, SECTOR_BYTES};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::fcntl::{FallocateFlags, OFlag};
use nix::sys::stat::SFlag;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Nothing that the kernel learns here is valid later.
const VALID: Duration = Duration::ZERO;
/// The largest write that arrives in one piece; more pages than the kernel's default limit would be split anyway.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// How large and how free the disk claims to be.
const CAPACITY_BYTES: u64 = 64 << 30;

/// The file system of one mount.
#[derive(Debug)]
pub(crate) struct Server {
    device: Arc<Device>,
    handles: Mutex<Handles>,
}

/// What is open.
#[derive(Debug, Default)]
struct Handles {
    next: u64,
    files: BTreeMap<u64, u64>,
    directories: BTreeMap<u64, Vec<(Inode, FileType, OsString)>>,
}

impl Server {
    /// Returns a file system that shows the disk of `device`.
    pub(crate) fn new(device: Arc<Device>) -> Self {
        Self {
            device,
            handles: Mutex::default(),
        }
    }

    fn with_handles<T>(&self, work: impl FnOnce(&mut Handles) -> T) -> T {
        work(&mut self.handles.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers that a file is open, and which failed syncs it need not report.
    fn open_file(&self, state: &State, inode: Inode) -> Result<FileHandle, Errno> {
        let failed_syncs = state.disk.node(inode)?.failed_syncs;
        Ok(FileHandle(self.with_handles(|handles| {
            handles.next += 1;
            handles.files.insert(handles.next, failed_syncs);
            handles.next
        })))
    }

    fn make(
        &self,
        request: &Request,
        (directory, name): (INodeNo, &OsStr),
        what: Make,
        mode: u32,
    ) -> Result<(FileAttr, Option<FileHandle>), Errno> {
        let mut state = self.device.begin(Operation::Name)?;
        let owner = (request.uid(), request.gid());
        let inode = state
            .disk
            .create(Inode(directory.0), name, what, mode & 0o7777, owner)?;
        let handle = match what {
            Make::File => Some(self.open_file(&state, inode)?),
            Make::Directory | Make::Socket => None,
        };
        Ok((attributes(&state, inode)?, handle))
    }

    fn set_attributes(
        &self,
        inode: Inode,
        (mode, owner, group): (Option<u32>, Option<u32>, Option<u32>),
        size: Option<u64>,
        modified: Option<TimeOrNow>,
    ) -> Result<FileAttr, Errno> {
        let mut state = match size {
            Some(_) => self.device.begin(Operation::Reshape)?,
            None => self.device.begin_read()?,
        };
        if let Some(size) = size {
            state
                .disk
                .change_data(inode, |data, order| data.resize(order, size))?;
        }
        let node = state.disk.node_mut(inode)?;
        node.mode = mode.map_or(node.mode, |mode| mode & 0o7777);
        node.owner = owner.unwrap_or(node.owner);
        node.group = group.unwrap_or(node.group);
        node.modified = match modified {
            Some(TimeOrNow::SpecificTime(time)) => time,
            Some(TimeOrNow::Now) => SystemTime::now(),
            None => node.modified,
        };
        attributes(&state, inode)
    }

    fn write_file(&self, inode: Inode, offset: u64, bytes: &[u8], flags: OFlag) -> Result<u32, Errno> {
        // O_SYNC contains O_DSYNC; RWF_DSYNC arrives as the flag of this one write.
        let synced = flags.contains(OFlag::O_DSYNC);
        let operation = Operation::Write {
            bytes: bytes.len() as u64,
            synced,
        };
        let mut state = self.device.begin(operation)?;
        let access = access(flags, offset, bytes.len() as u64)?;
        state
            .disk
            .change_data(inode, |data, order| data.write(order, access, offset, bytes))?;
        if synced {
            sync(&mut state, inode)?;
        }
        Ok(bytes.len() as u32)
    }

    fn sync_file(&self, inode: Inode, handle: FileHandle) -> Result<(), Errno> {
        let mut state = self.device.begin(Operation::Sync)?;
        let done = sync(&mut state, inode);
        let failed_syncs = state.disk.node(inode)?.failed_syncs;
        let reported = self.with_handles(|handles| handles.files.insert(handle.0, failed_syncs));
        // Somebody else's sync failed while this file descriptor was open: it is told once.
        if reported.is_some_and(|reported| reported < failed_syncs) {
            Err(Errno::EIO)
        } else {
            done
        }
    }

    fn allocate(&self, inode: Inode, offset: u64, length: u64, mode: FallocateFlags) -> Result<(), Errno> {
        let keeps_size = mode.contains(FallocateFlags::FALLOC_FL_KEEP_SIZE);
        let zeroes = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_ZERO_RANGE;
        if !(zeroes | FallocateFlags::FALLOC_FL_KEEP_SIZE).contains(mode) {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(length).ok_or(Errno::EFBIG)?;
        let mut state = self.device.begin(Operation::Reshape)?;
        state.disk.change_data(inode, |data, order| {
            if mode.intersects(zeroes) {
                data.clear(order, offset, length);
            }
            if !keeps_size {
                data.grow(order, end);
            }
        })
    }

    fn list(&self, directory: Inode) -> Result<FileHandle, Errno> {
        let state = self.device.begin_read()?;
        let names = state.disk.directory(directory)?;
        let mut entries = vec![
            (directory, FileType::Directory, OsString::from(".")),
            (names.parent, FileType::Directory, OsString::from("..")),
        ];
        for (name, inode) in &names.names {
            entries.push((*inode, file_type(&state.disk.node(*inode)?.kind), name.clone()));
        }
        Ok(FileHandle(self.with_handles(|handles| {
            handles.next += 1;
            handles.directories.insert(handles.next, entries);
            handles.next
        })))
    }
}

/// Syncs a file, or fails to when the test has said so.
fn sync(state: &mut State, inode: Inode) -> Result<(), Errno> {
    match state.failure_of_sync() {
        Some(random) => {
            state.disk.fail_to_sync_file(inode, random)?;
            Err(Errno::EIO)
        }
        None => state.disk.sync_file(inode),
    }
}

/// Returns how a call reaches the file, which past the cache is possible in whole sectors only.
fn access(flags: OFlag, offset: u64, length: u64) -> Result<Access, Errno> {
    if !flags.contains(OFlag::O_DIRECT) {
        return Ok(Access::Cached);
    }
    let aligned = offset.is_multiple_of(SECTOR_BYTES) && length.is_multiple_of(SECTOR_BYTES);
    if aligned {
        Ok(Access::Direct)
    } else {
        Err(Errno::EINVAL)
    }
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Directory(_) => FileType::Directory,
        Kind::Socket => FileType::Socket,
    }
}

fn attributes(state: &State, inode: Inode) -> Result<FileAttr, Errno> {
    let node = state.disk.node(inode)?;
    let (size, blocks) = match &node.kind {
        Kind::File(data) => (data.size(), data.allocated_bytes() / SECTOR_BYTES),
        Kind::Directory(_) | Kind::Socket => (0, 0),
    };
    Ok(FileAttr {
        ino: INodeNo(inode.0),
        size,
        blocks,
        atime: node.modified,
        mtime: node.modified,
        ctime: node.modified,
        crtime: node.modified,
        kind: file_type(&node.kind),
        perm: node.mode as u16,
        nlink: node.links,
        uid: node.owner,
        gid: node.group,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

/// Answers with the value or the error.
macro_rules! answer {
    ($reply:ident, $result:expr, $value:pat => $good:expr) => {
        match $result {
            Ok($value) => $good,
            Err(error) => $reply.error(error),
        }
    };
}

impl Filesystem for Server {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        config
            .set_max_write(WRITE_BYTES_MAX)
            .map(drop)
            .map_err(|nearest| io::Error::other(format!("the largest write is {nearest} bytes")))
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.device.begin_read().and_then(|state| {
            let inode = state.disk.lookup(Inode(parent.0), name)?;
            attributes(&state, inode)
        });
        answer!(reply, found, attributes => reply.entry(&VALID, &attributes, Generation(0)));
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let found = self
            .device
            .begin_read()
            .and_then(|state| attributes(&state, Inode(inode.0)));
        answer!(reply, found, attributes => reply.attr(&VALID, &attributes));
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        owner: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        _accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _changed_attributes: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = self.set_attributes(Inode(inode.0), (mode, owner, group), size, modified);
        answer!(reply, set, attributes => reply.attr(&VALID, &attributes));
    }

    /// Makes a socket; nothing else that is neither file nor directory is needed.
    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _device: u32,
        reply: ReplyEntry,
    ) {
        if SFlag::from_bits_truncate(mode) & SFlag::S_IFMT != SFlag::S_IFSOCK {
            return reply.error(Errno::EPERM);
        }
        let made = self.make(request, (parent, name), Make::Socket, mode & !umask);
        answer!(reply, made, (attributes, _) => reply.entry(&VALID, &attributes, Generation(0)));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        let made = self.make(request, (parent, name), Make::Directory, mode & !umask);
        answer!(reply, made, (attributes, _) => reply.entry(&VALID, &attributes, Generation(0)));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make(request, (parent, name), Make::File, mode & !umask);
        let opened = made.and_then(|(attributes, handle)| Ok((attributes, handle.ok_or(Errno::EISDIR)?)));
        answer!(reply, opened, (attributes, handle) => {
            reply.created(&VALID, &attributes, Generation(0), handle, OPEN);
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let begun = self.device.begin(Operation::Name);
        answer!(reply, begun.and_then(|mut state| state.disk.unlink(Inode(parent.0), name)), () => reply.ok());
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let begun = self.device.begin(Operation::Name);
        let removed = begun.and_then(|mut state| state.disk.remove_directory(Inode(parent.0), name));
        answer!(reply, removed, () => reply.ok());
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let renamed = self.device.begin(Operation::Name).and_then(|mut state| {
            let (from, to) = ((Inode(parent.0), name), (Inode(new_parent.0), new_name));
            state.disk.rename(from, to, !flags.is_empty())
        });
        answer!(reply, renamed, () => reply.ok());
    }

    fn link(&self, _request: &Request, file: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.device.begin(Operation::Name).and_then(|mut state| {
            state.disk.link(Inode(file.0), Inode(parent.0), name)?;
            attributes(&state, Inode(file.0))
        });
        answer!(reply, linked, attributes => reply.entry(&VALID, &attributes, Generation(0)));
    }

    fn open(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let opened = self
            .device
            .begin_read()
            .and_then(|state| self.open_file(&state, Inode(inode.0)));
        answer!(reply, opened, handle => reply.opened(handle, OPEN));
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u32,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.device.begin_read().and_then(|state| {
            let access = access(OFlag::from_bits_retain(flags.0), offset, length.into())?;
            Ok(state
                .disk
                .data(Inode(inode.0))?
                .read(access, offset, length.into()))
        });
        answer!(reply, read, bytes => reply.data(&bytes));
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        bytes: &[u8],
        _write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.write_file(Inode(inode.0), offset, bytes, OFlag::from_bits_retain(flags.0));
        answer!(reply, written, length => reply.written(length));
    }

    fn flush(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Closing a file makes nothing durable.
        reply.ok();
    }

    fn release(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.with_handles(|handles| handles.files.remove(&handle.0));
        reply.ok();
    }

    fn fsync(
        &self,
        _request: &Request,
        inode: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        answer!(reply, self.sync_file(Inode(inode.0), handle), () => reply.ok());
    }

    fn opendir(&self, _request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        answer!(reply, self.list(Inode(inode.0)), handle => reply.opened(handle, FopenFlags::empty()));
    }

    fn readdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        if let Err(error) = self.device.begin_read() {
            return reply.error(error);
        }
        self.with_handles(|handles| {
            let entries = handles.directories.get(&handle.0).into_iter().flatten();
            for (place, (inode, kind, name)) in (1..).zip(entries).skip(offset as usize) {
                if reply.add(INodeNo(inode.0), place, *kind, name) {
                    break;
                }
            }
        });
        reply.ok();
    }

    fn releasedir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.with_handles(|handles| handles.directories.remove(&handle.0));
        reply.ok();
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let begun = self.device.begin(Operation::SyncDirectory);
        answer!(reply, begun.and_then(|mut state| state.disk.sync_directory(Inode(inode.0))), () => reply.ok());
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        let blocks = CAPACITY_BYTES / 4096;
        reply.statfs(
            blocks,
            blocks,
            blocks,
            u64::from(u32::MAX),
            u64::from(u32::MAX),
            4096,
            255,
            4096,
        );
    }

    fn fallocate(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let mode = FallocateFlags::from_bits_retain(mode);
        answer!(reply, self.allocate(Inode(inode.0), offset, length, mode), () => reply.ok());
    }

    fn lseek(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        // The kernel asks only about data (SEEK_DATA is 3) and holes.
        let found = self.device.begin_read().and_then(|state| {
            let offset = u64::try_from(offset).map_err(|_| Errno::EINVAL)?;
            let place = state.disk.data(Inode(inode.0))?.seek(offset, whence == SEEK_DATA);
            place.ok_or(Errno::ENXIO)
        });
        answer!(reply, found, place => reply.offset(place as i64));
    }
}

const SEEK_DATA: i32 = nix::unistd::Whence::SeekData as i32;

/// How files are opened: past the kernel's page cache, and its one lock for each file left out.
const OPEN: FopenFlags = FopenFlags::FOPEN_DIRECT_IO.union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);
