//! Leases: files in `readers/` in which processes that let the store go say which segments they still read.
//!
//! Invariant: only who has the store's lock takes a lease, so none appears while somebody else has it. A lease lives as
//! long as its file is locked, so it ends with its process, however that ends; nothing of it has to be durable.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use super::directory::folder::{Folder, Inside};
use super::directory::own_name;
use crate::segment::SegmentId;

/// The directory of leases in that of the store.
pub(super) const FOLDER: &str = "readers";

/// A lease of this process.
pub(super) struct Lease {
    path: Inside,
    /// Locked.
    _file: File,
}

impl Lease {
    /// Takes a lease on segments. Called with the store's lock held.
    pub(super) fn take(root: &Arc<Folder>, kept: &[SegmentId]) -> io::Result<Self> {
        let folder = root.inside(FOLDER);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let (name, file) = create(folder.as_ref())?;
        let path = root.inside(Path::new(FOLDER).join(name));
        // From here on the file goes with the value, whatever fails.
        let mut lease = Self { path, _file: file };
        flock(&lease._file, FlockOperation::NonBlockingLockExclusive)?;
        let mut text = own_name();
        for segment in kept {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{segment}");
        }
        lease._file.write_all(text.as_bytes())?;
        Ok(lease)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What stays is void as soon as the file is closed, and removed by the next who looks.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes a file of a new name, which is returned: one of the same process id may be there, from before or from another namespace.
fn create(folder: &Path) -> io::Result<(String, File)> {
    let id = std::process::id();
    let mut number = 0_u64;
    loop {
        let name = format!("{id}-{number}");
        // Readable by all who reach it: another user of the store has to find out that it is void.
        match File::options()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(folder.join(&name))
        {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            file => return Ok((name, file?)),
        }
    }
}

/// Returns the segments that leases name, and removes the leases that are void. Called with the store's lock held.
pub(super) fn held(root: &Path) -> io::Result<Vec<SegmentId>> {
    let entries = match fs::read_dir(root.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        if !is_lease(&entry.file_name().to_string_lossy()) {
            continue;
        }
        let path = entry.path();
        let mut file = match File::open(&path) {
            // Its holder has ended meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                // What cannot be removed is no less void.
                let _ = fs::remove_file(&path);
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                segments.extend(parse(&text)?);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(segments)
}

/// Tells whether a file has the name of a lease.
fn is_lease(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.split_once('-')
        .is_some_and(|(id, count)| number(id) && number(count))
}

/// Returns the segments in the text of a lease: one a line, behind the line of who holds it.
pub(crate) fn parse(text: &str) -> io::Result<Vec<SegmentId>> {
    let unknown = |line: &str| {
        let what = format!("a lease has the line `{line}`, which names no segment");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    text.lines()
        .skip(1)
        .map(|line| line.parse().map_err(|()| unknown(line)))
        .collect()
}
