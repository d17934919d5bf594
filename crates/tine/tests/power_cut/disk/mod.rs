//! A disk with a file system that forgets what was not synced: the strictest reading of POSIX.
//!
//! | what | durable after |
//! |---|---|
//! | bytes and size of a file | `fsync` or `fdatasync` of it, or a write with `O_DSYNC` |
//! | a name made, moved or removed | `fsync` of its directory |
//! | mode, owner and times of a file that has a durable name | at once: no promise of ours rests on them |
//!
//! Syncing a file does not keep its name, and the other way round. A rename is one change: after a cut a file that
//! replaced another is there, or the other is. Renamed between directories, it is durable when either is synced.
//!
//! Everything here is plain data; [`crate::mount`] serves it to programs.

mod data;
mod fate;

pub(crate) use data::{Access, Data, SECTOR_BYTES};
pub(crate) use fate::{Fate, Survival};

use crate::random::Random;
use fuser::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

/// A file's or directory's number. It is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Inode(pub(crate) u64);

/// The directory in which all paths start.
pub(crate) const ROOT: Inode = Inode(1);

/// What an inode is.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Data),
    Directory(Directory),
    /// A name to connect to, and nothing on any medium but that.
    Socket,
}

/// What can be made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Make {
    File,
    Directory,
    Socket,
}

/// A file, directory or socket.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: u32,
    pub(crate) group: u32,
    pub(crate) modified: SystemTime,
    /// How many names lead here.
    pub(crate) links: u32,
    /// How many syncs of it have failed; each file descriptor that was open then reports it once.
    pub(crate) failed_syncs: u64,
}

/// The names in a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) parent: Inode,
    pub(crate) names: BTreeMap<OsString, Inode>,
    /// What is on the medium: for each name the latest change that got there, and what it leads to since.
    durable: BTreeMap<OsString, (u64, Option<Inode>)>,
}

/// A change of names that is all there or not at all.
#[derive(Debug)]
struct NameChange {
    order: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    directory: Inode,
    name: OsString,
    leads_to: Option<Inode>,
}

/// The disk. Inodes whose last name is gone are kept until the next cut: programs may have them open, and an
/// unlink that was not synced may be undone.
#[derive(Debug)]
pub(crate) struct Disk {
    nodes: BTreeMap<Inode, Node>,
    names_pending: Vec<NameChange>,
    /// The number of the next change, in the order in which the program made them.
    next_order: u64,
    next_inode: u64,
}

impl Node {
    fn new(kind: Kind, mode: u32, (owner, group): (u32, u32)) -> Self {
        let modified = SystemTime::now();
        Self {
            kind,
            mode,
            owner,
            group,
            modified,
            links: 1,
            failed_syncs: 0,
        }
    }
}

impl Directory {
    fn new(parent: Inode) -> Self {
        Self {
            parent,
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
        }
    }

    fn make_durable(&mut self, order: u64, name: &OsStr, leads_to: Option<Inode>) {
        let latest = self.durable.entry(name.to_owned()).or_insert((order, leads_to));
        if latest.0 <= order {
            *latest = (order, leads_to);
        }
    }
}

impl Disk {
    /// Returns an empty disk, whose root directory belongs to `owner` (user and group).
    pub(crate) fn new(owner: (u32, u32)) -> Self {
        let root = Node::new(Kind::Directory(Directory::new(ROOT)), 0o755, owner);
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            names_pending: Vec::new(),
            next_order: 0,
            next_inode: ROOT.0 + 1,
        }
    }

    /// Returns the file or directory, which may have lost its last name.
    pub(crate) fn node(&self, inode: Inode) -> Result<&Node, Errno> {
        self.nodes.get(&inode).ok_or(Errno::ENOENT)
    }

    /// Returns the file or directory, to change what a power cut does not forget.
    pub(crate) fn node_mut(&mut self, inode: Inode) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&inode).ok_or(Errno::ENOENT)
    }

    /// Returns the file's content.
    pub(crate) fn data(&self, inode: Inode) -> Result<&Data, Errno> {
        match &self.node(inode)?.kind {
            Kind::File(data) => Ok(data),
            Kind::Directory(_) => Err(Errno::EISDIR),
            Kind::Socket => Err(Errno::ENXIO),
        }
    }

    /// Changes the file's content with `edit`, which is told the number of the change.
    pub(crate) fn change_data(
        &mut self,
        inode: Inode,
        edit: impl FnOnce(&mut Data, u64),
    ) -> Result<(), Errno> {
        let order = self.order();
        let node = self.node_mut(inode)?;
        let Kind::File(data) = &mut node.kind else {
            return Err(Errno::EISDIR);
        };
        edit(data, order);
        node.modified = SystemTime::now();
        Ok(())
    }

    /// Returns the directory's names.
    pub(crate) fn directory(&self, inode: Inode) -> Result<&Directory, Errno> {
        match &self.node(inode)?.kind {
            Kind::Directory(directory) => Ok(directory),
            Kind::File(_) | Kind::Socket => Err(Errno::ENOTDIR),
        }
    }

    /// Returns what `name` leads to.
    pub(crate) fn lookup(&self, directory: Inode, name: &OsStr) -> Result<Inode, Errno> {
        let names = &self.directory(directory)?.names;
        names.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// Makes something with a name.
    pub(crate) fn create(
        &mut self,
        directory: Inode,
        name: &OsStr,
        make: Make,
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Inode, Errno> {
        self.must_be_free(directory, name)?;
        let inode = Inode(self.next_inode);
        self.next_inode += 1;
        let kind = match make {
            Make::File => Kind::File(Data::default()),
            Make::Directory => Kind::Directory(Directory::new(directory)),
            Make::Socket => Kind::Socket,
        };
        self.nodes.insert(inode, Node::new(kind, mode, owner));
        self.change_names(vec![entry(directory, name, Some(inode))])?;
        Ok(inode)
    }

    /// Gives a file one more name.
    pub(crate) fn link(&mut self, file: Inode, directory: Inode, name: &OsStr) -> Result<(), Errno> {
        self.data(file).map_err(|_| Errno::EPERM)?;
        self.must_be_free(directory, name)?;
        self.change_names(vec![entry(directory, name, Some(file))])?;
        self.node_mut(file)?.links += 1;
        Ok(())
    }

    /// Removes the name of a file or socket.
    pub(crate) fn unlink(&mut self, directory: Inode, name: &OsStr) -> Result<(), Errno> {
        let file = self.lookup(directory, name)?;
        if self.directory(file).is_ok() {
            return Err(Errno::EISDIR);
        }
        self.change_names(vec![entry(directory, name, None)])?;
        self.node_mut(file)?.links -= 1;
        Ok(())
    }

    /// Removes an empty directory.
    pub(crate) fn remove_directory(&mut self, directory: Inode, name: &OsStr) -> Result<(), Errno> {
        let removed = self.lookup(directory, name)?;
        if !self.directory(removed)?.names.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.change_names(vec![entry(directory, name, None)])?;
        self.node_mut(removed)?.links -= 1;
        Ok(())
    }

    /// Moves a name, replacing the file or empty directory that had the new one unless `keep_target`. The kernel has
    /// seen to it that no directory moves into itself.
    pub(crate) fn rename(
        &mut self,
        (from, name): (Inode, &OsStr),
        (to, new_name): (Inode, &OsStr),
        keep_target: bool,
    ) -> Result<(), Errno> {
        let moved = self.lookup(from, name)?;
        let moves_directory = self.directory(moved).is_ok();
        match self.lookup(to, new_name) {
            Ok(_) if keep_target => return Err(Errno::EEXIST),
            Ok(target) if target == moved => return Ok(()),
            Ok(target) => match (moves_directory, self.directory(target)) {
                (true, Ok(directory)) if !directory.names.is_empty() => return Err(Errno::ENOTEMPTY),
                (true, Err(_)) => return Err(Errno::ENOTDIR),
                (false, Ok(_)) => return Err(Errno::EISDIR),
                _ => self.node_mut(target)?.links -= 1,
            },
            Err(_) => {}
        }
        self.change_names(vec![entry(from, name, None), entry(to, new_name, Some(moved))])?;
        if let Kind::Directory(directory) = &mut self.node_mut(moved)?.kind {
            directory.parent = to;
        }
        Ok(())
    }

    /// Makes a file's bytes and size durable; not its names.
    pub(crate) fn sync_file(&mut self, inode: Inode) -> Result<(), Errno> {
        match &mut self.node_mut(inode)?.kind {
            Kind::File(data) => data.sync(),
            Kind::Directory(_) => return Err(Errno::EISDIR),
            Kind::Socket => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Fails to sync a file: any of its unsynced pages may be on the medium, and no later sync writes the others.
    pub(crate) fn fail_to_sync_file(&mut self, inode: Inode, random: Random) -> Result<(), Errno> {
        let mut fate = Fate::new(Survival::Sectors, random, 0..0);
        let node = self.node_mut(inode)?;
        node.failed_syncs += 1;
        match &mut node.kind {
            Kind::File(data) => data.fail_to_sync(&mut fate),
            Kind::Directory(_) => return Err(Errno::EISDIR),
            Kind::Socket => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    /// Makes a directory's names durable; not the files that they lead to.
    pub(crate) fn sync_directory(&mut self, inode: Inode) -> Result<(), Errno> {
        self.directory(inode)?;
        let touches = |change: &NameChange| change.entries.iter().any(|entry| entry.directory == inode);
        let (synced, pending) = std::mem::take(&mut self.names_pending)
            .into_iter()
            .partition(touches);
        self.names_pending = pending;
        for change in synced {
            self.make_durable(&change);
        }
        Ok(())
    }

    /// Returns the disk as it is found after a power cut at this moment.
    pub(crate) fn after_cut(mut self, survival: Survival, random: Random) -> Self {
        let mut fate = Fate::new(survival, random, self.first_unsynced()..self.next_order);
        for change in std::mem::take(&mut self.names_pending) {
            if fate.keeps(change.order) {
                self.make_durable(&change);
            }
        }
        let mut left = Self::new((0, 0));
        (left.next_inode, left.next_order) = (self.next_inode, 0);
        let mut visited = BTreeSet::new();
        self.recover_directory(&mut left, &mut fate, &mut visited, (ROOT, ROOT));
        left
    }

    /// Moves `directory` and what its durable names lead to into `left`.
    ///
    /// A directory of which two moves survived in part is found by its first name only.
    fn recover_directory(
        &mut self,
        left: &mut Self,
        fate: &mut Fate,
        visited: &mut BTreeSet<Inode>,
        (directory, parent): (Inode, Inode),
    ) {
        visited.insert(directory);
        let Some(mut node) = self.nodes.remove(&directory) else {
            return;
        };
        let Kind::Directory(was) = &mut node.kind else {
            return;
        };
        let mut found = Directory::new(parent);
        for (name, (_, leads_to)) in std::mem::take(&mut was.durable) {
            let Some(inode) = leads_to else { continue };
            if visited.contains(&inode) {
                continue;
            } else if self.directory(inode).is_ok() {
                self.recover_directory(left, fate, visited, (inode, directory));
            } else if let Some(node) = self.nodes.remove(&inode) {
                let kind = match node.kind {
                    Kind::File(data) => Kind::File(data.after_cut(fate)),
                    other => other,
                };
                left.nodes
                    .insert(inode, Node::new(kind, node.mode, (node.owner, node.group)));
            } else if let Some(known) = left.nodes.get_mut(&inode) {
                known.links += 1;
            }
            found.durable.insert(name.clone(), (0, Some(inode)));
            found.names.insert(name, inode);
        }
        let kept = Node::new(Kind::Directory(found), node.mode, (node.owner, node.group));
        left.nodes.insert(directory, kept);
    }

    fn first_unsynced(&self) -> u64 {
        let bytes = self.nodes.values().filter_map(|node| match &node.kind {
            Kind::File(data) => data.first_unsynced(),
            Kind::Directory(_) | Kind::Socket => None,
        });
        let names = self.names_pending.first().map(|change| change.order);
        bytes.chain(names).min().unwrap_or(self.next_order)
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order - 1
    }

    fn must_be_free(&self, directory: Inode, name: &OsStr) -> Result<(), Errno> {
        match self.lookup(directory, name) {
            Ok(_) => Err(Errno::EEXIST),
            Err(error) if error == Errno::ENOENT => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn change_names(&mut self, entries: Vec<Entry>) -> Result<(), Errno> {
        let now = SystemTime::now();
        for Entry {
            directory,
            name,
            leads_to,
        } in &entries
        {
            let node = self.node_mut(*directory)?;
            node.modified = now;
            let Kind::Directory(directory) = &mut node.kind else {
                return Err(Errno::ENOTDIR);
            };
            match leads_to {
                Some(inode) => directory.names.insert(name.clone(), *inode),
                None => directory.names.remove(name),
            };
        }
        let order = self.order();
        self.names_pending.push(NameChange { order, entries });
        Ok(())
    }

    fn make_durable(&mut self, change: &NameChange) {
        for Entry {
            directory,
            name,
            leads_to,
        } in &change.entries
        {
            if let Some(Node {
                kind: Kind::Directory(directory),
                ..
            }) = self.nodes.get_mut(directory)
            {
                directory.make_durable(change.order, name, *leads_to);
            }
        }
    }
}

fn entry(directory: Inode, name: &OsStr, leads_to: Option<Inode>) -> Entry {
    Entry {
        directory,
        name: name.to_owned(),
        leads_to,
    }
}
