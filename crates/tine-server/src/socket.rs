//! Unix sockets: made for their owner alone, in place of those of the dead, at paths of any length.
//!
//! A socket address has 108 bytes. What lies at a longer path is reached through its directory, by way of
//! `/proc/self/fd`.
//!
//! **Invariant:** a socket that somebody answers on is never removed, nor is anything that is no socket. Looking whether
//! somebody answers, removing and listening are one step to other processes of tine: each takes its turn (`Turn`).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, fchmod, flock, fstat, open};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tine_store::medium::{Folder, Inside};

/// The most that a socket address holds, without the byte that ends it.
const ADDRESS_BYTES_MAX: usize = 107;

/// The kernel allows no more than its own bound, however many are asked for.
const BACKLOG: i32 = 4096;

/// A daemon accepts at once, and thousands wait for one that cannot. So long the next one waits.
const ACCEPT_WAIT: Duration = Duration::from_secs(10);

/// A turn takes less than a millisecond. So long it is waited for: others could lock a directory that is everybody's.
const TURN_WAIT: Duration = Duration::from_secs(5);
const TURN_AGAIN: Duration = Duration::from_millis(1);

/// The file that is locked where the directory cannot be read. It is there as long as a turn takes.
const TURN_FILE: &str = ".tine-turn";

/// An address, with the directory that it is reached through.
struct Address {
    address: SocketAddrUnix,
    _folder: Option<OwnedFd>,
}

impl Address {
    fn of(path: &Path) -> io::Result<Self> {
        if fits(path) {
            return Ok(Self {
                address: SocketAddrUnix::new(path)?,
                _folder: None,
            });
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let folder = open(
            folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        use std::os::fd::AsRawFd as _;
        let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
        Ok(Self {
            address: SocketAddrUnix::new(&short)?,
            _folder: Some(folder),
        })
    }
}

/// Tells whether other programs, too, can reach a socket at this path.
pub fn fits(path: &Path) -> bool {
    path.as_os_str().len() <= ADDRESS_BYTES_MAX
}

fn new_socket() -> io::Result<OwnedFd> {
    Ok(net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Connects to a socket.
///
/// # Errors
/// Those of the operating system: `ConnectionRefused` when nobody listens there any more, `TimedOut` when who listens
/// accepts nobody.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = new_socket()?;
    let address = Address::of(path)?;
    // When more wait than the listener wanted to, the kernel lets the next wait for as long as it may take to send.
    set_socket_timeout(&socket, Timeout::Send, Some(ACCEPT_WAIT))?;
    match net::connect(&socket, &address.address) {
        Err(Errno::AGAIN) => {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "who listens there accepts nobody",
            ));
        }
        connected => connected?,
    }
    set_socket_timeout(&socket, Timeout::Send, None)?;
    Ok(socket.into())
}

/// A socket that this process listens on; its file goes with it, wherever its directory was moved.
#[derive(Debug)]
pub struct SocketFile {
    file: Inside,
    /// Whose place nobody else has taken meanwhile.
    identity: (u64, u64),
}

impl SocketFile {
    /// Returns the file, for as long as this lives.
    pub(crate) fn file(&self) -> &Inside {
        &self.file
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If there is no turn to be had, what is left is the socket of a dead process, which anybody replaces.
        let Ok(_turn) = Turn::take(self.file.as_ref()) else {
            return;
        };
        if identity(self.file.as_ref()).is_ok_and(|now| now == self.identity) {
            // Whoever comes finds that nobody listens.
            let _ = fs::remove_file(&self.file);
        }
    }
}

/// Returns the directory that a path is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Listens at a path, for this user alone: connecting takes the right to write to the socket. The socket of a process
/// that is dead is replaced.
///
/// # Errors
/// `AddrInUse` when somebody listens there, `AlreadyExists` when something else than a socket is there, `TimedOut` when
/// another process keeps the directory locked, and those of the operating system.
pub fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let file = Folder::hold(folder_of(path))?.inside(name);
    let _turn = Turn::take(path)?;
    clear(path)?;
    let socket = new_socket()?;
    // The file gets the mode of the socket, so that there is no moment at which others could connect.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let address = Address::of(path)?;
    net::bind(&socket, &address.address)?;
    let file = SocketFile {
        identity: identity(file.as_ref())?,
        file,
    };
    net::listen(&socket, BACKLOG)?;
    Ok((socket.into(), file))
}

/// The turn to change which sockets are in a directory, as long as it lives.
///
/// It is the directory that is locked: a file for that would be in the way of other users when its process has died. But to
/// open a directory takes the right to read it, and to listen in it does not; so who may not read it locks a file after all.
/// Users of whom one may and the other may not do not exclude each other: the sockets of the one are not the other's to replace.
struct Turn {
    _lock: OwnedFd,
    /// The file that is locked, if it is one; it goes with the turn.
    file: Option<PathBuf>,
}

impl Turn {
    /// Waits for the turn to change which sockets are in the directory of `path`.
    fn take(path: &Path) -> io::Result<Self> {
        let folder = folder_of(path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match open(folder, flags, Mode::empty()) {
            Err(Errno::ACCESS) => Self::by_file(folder.join(TURN_FILE)),
            folder => {
                let folder = folder?;
                lock(&folder, Instant::now())?;
                Ok(Self {
                    _lock: folder,
                    file: None,
                })
            }
        }
    }

    fn by_file(file: PathBuf) -> io::Result<Self> {
        let begun = Instant::now();
        loop {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = open(&file, flags, Mode::RUSR | Mode::WUSR)?;
            lock(&opened, begun)?;
            let status = fstat(&opened)?;
            // Else it is the file of a turn that is over, and somebody may have locked the next by now.
            if identity(&file).is_ok_and(|now| now == (status.st_dev, status.st_ino)) {
                return Ok(Self {
                    _lock: opened,
                    file: Some(file),
                });
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // It is locked still. One that stays is used again.
            let _ = fs::remove_file(file);
        }
    }
}

/// Locks a file or a directory, within the time that a turn is waited for.
fn lock(file: &OwnedFd, begun: Instant) -> io::Result<()> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK | Errno::INTR) if begun.elapsed() < TURN_WAIT => thread::sleep(TURN_AGAIN),
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another process keeps the directory of the socket locked",
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the socket of a process that is dead.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "something that is no socket is there; remove it, or name another path",
            ));
        }
        Ok(_) => {}
    }
    match connect(path) {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process listens there",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::sync::Barrier;

    use super::*;

    fn says_hello(path: &Path) {
        let (listener, _file) = bind(path).expect("a socket");
        let mode = fs::symlink_metadata(path)
            .expect("the socket")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut there = connect(path).expect("a connection");
        let (mut here, _) = listener.accept().expect("a connection");
        here.write_all(b"hello").expect("writing");
        let mut heard = [0; 5];
        there.read_exact(&mut heard).expect("reading");
        assert_eq!(&heard, b"hello");
    }

    #[test]
    fn a_path_of_any_length_will_do() {
        let folder = tempfile::tempdir().expect("a folder");
        says_hello(&folder.path().join("nbd.sock"));
        let long = folder.path().join("x".repeat(100)).join("y".repeat(200));
        fs::create_dir_all(&long).expect("a long path");
        says_hello(&long.join("nbd.sock"));
    }

    #[test]
    fn it_goes_from_where_its_directory_was_moved() {
        let place = tempfile::tempdir().expect("a folder");
        let (folder, moved) = (place.path().join("folder"), place.path().join("moved"));
        fs::create_dir(&folder).expect("a folder");
        let (_listener, file) = bind(&folder.join("nbd.sock")).expect("a socket");
        fs::rename(&folder, &moved).expect("moving it");
        fs::create_dir(&folder).expect("another in its place");
        let (_other, others) = bind(&folder.join("nbd.sock")).expect("a socket");
        drop(file);
        assert!(!moved.join("nbd.sock").exists() && folder.join("nbd.sock").exists());
        drop(others);
        assert!(!folder.join("nbd.sock").exists());
    }

    #[test]
    fn the_socket_of_the_dead_is_replaced_and_that_of_the_living_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nbd.sock");
        let (listener, file) = bind(&path).expect("a socket");
        let refused = bind(&path).expect_err("somebody listens");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        // Killed: the file stays and nobody listens.
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let (_listener, file) = bind(&path).expect("the place of the dead");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn of_several_who_come_at_once_one_listens_and_can_be_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        one_listens_and_can_be_reached(&folder.path().join("nbd.sock"));
    }

    #[test]
    fn a_directory_that_cannot_be_read_will_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nbd.sock");
        // As who is not told what is there. For the administrator there is no such directory: a user of its own, then.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o300)).expect("permissions");
        let nobody = rustix::process::Uid::from_raw(65534);
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(65534), None).expect("an owner");
            // Of this thread alone, and of those that it starts; the test ends with it.
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).expect("another user");
        }
        let unreadable = fs::read_dir(folder.path()).expect_err("it cannot be read");
        assert_eq!(unreadable.kind(), io::ErrorKind::PermissionDenied);
        says_hello(&path);
        one_listens_and_can_be_reached(&path);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("permissions");
        let left: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn one_listens_and_can_be_reached(path: &Path) {
        for round in 0..200 {
            // A dead one is in the way.
            let (listener, file) = bind(path).expect("a socket");
            std::mem::forget(file);
            drop(listener);
            let begin = Barrier::new(4);
            let bound: Vec<_> = thread::scope(|scope| {
                let binding: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            begin.wait();
                            bind(path)
                        })
                    })
                    .collect();
                binding
                    .into_iter()
                    .map(|one| one.join().expect("binding"))
                    .collect()
            });
            let (winners, others): (Vec<_>, Vec<_>) = bound.into_iter().partition(Result::is_ok);
            assert_eq!(winners.len(), 1, "round {round}");
            for refused in others {
                let refused = refused.expect_err("somebody listens");
                assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{refused}");
            }
            drop(connect(path).expect("who listens is reached"));
        }
    }

    #[test]
    fn nothing_but_sockets_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("nbd.sock");
        fs::write(&path, b"somebody's").expect("a file");
        let refused = bind(&path).expect_err("a file is there");
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).expect("the file"), b"somebody's");
    }
}
