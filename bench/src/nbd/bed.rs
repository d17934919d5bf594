//! What is served: one disk full of data, as a raw file and as a branch, and what contestants make of it.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tine_store::{CreateOptions, OpenOptions, Store};

use super::fio::Load;
use super::server::{self, Server, Tine};
use crate::Result;
use crate::data::{LARGE, Random};
use crate::memory::have_backed;
use crate::place::{Place, drop_cache};
use crate::raw::RawFile;
use crate::reflink::{FILE_SYSTEMS, LoopMount};
use crate::suite::Context;
use bench_measure::Comparison;

/// The golden disk, and where contestants keep theirs.
pub(super) struct Bed<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) room: Place,
    pub(super) raw: RawFile,
}

/// What an overlay with subclusters is made with.
pub(super) const EXTENDED_L2: &[&str] = &["-o", "extended_l2=on,cluster_size=128k"];

/// What a contestant serves in a round.
pub(super) struct Served {
    /// Each with what it is called by its server.
    pub(super) disks: Vec<(Rc<Server>, String)>,
    /// What has to be done when the round is over.
    pub(super) after: Option<Box<dyn FnOnce() -> Result>>,
}

impl Served {
    pub(super) fn by(server: Server) -> Result<Self> {
        Ok(Self {
            disks: vec![(Rc::new(server), String::new())],
            after: None,
        })
    }

    /// A branch of the daemon's, as it is.
    pub(super) fn branch(tine: &Tine, name: String) -> Self {
        Self {
            disks: vec![(Rc::clone(&tine.server), name)],
            after: None,
        }
    }

    pub(super) fn uris(&self) -> Vec<String> {
        self.disks.iter().map(|(server, name)| server.uri(name)).collect()
    }

    /// Returns the processor time that all of its servers have taken.
    fn processor_time(&self) -> Result<Duration> {
        let mut sum = Duration::ZERO;
        for (at, (server, _)) in self.disks.iter().enumerate() {
            if !self.disks[..at]
                .iter()
                .any(|(before, _)| Rc::ptr_eq(before, server))
            {
                sum += server.processor_time()?;
            }
        }
        Ok(sum)
    }
}

impl<'a> Bed<'a> {
    pub(super) fn new(context: &'a Context<'a>, row: &str) -> Result<Self> {
        let room = context.place.room(row)?;
        let raw = RawFile::create(&room.join("golden"), context.scale.disk_bytes, &context.blocks)?;
        Ok(Self { context, room, raw })
    }

    pub(super) fn golden(&self) -> PathBuf {
        self.room.join("golden")
    }

    /// Makes a store whose branch `golden` is the golden disk, and whose branches `depth-N` are the last of N forks of
    /// forks, each with some random writes; serves it.
    pub(super) fn tine(&self, depths: &[u64], writes_each: u64) -> Result<Rc<Tine>> {
        let path = self.room.join("store");
        let store = Store::create(&path, &CreateOptions::default(), OpenOptions::default())?;
        let golden = store.create_branch(&"golden".parse()?, self.raw.bytes)?;
        let mut buffer = vec![0; LARGE];
        for at in (0..self.raw.bytes).step_by(LARGE) {
            let first = at / crate::data::BLOCK_BYTES;
            self.context.blocks.fill(&mut buffer, first, 0);
            golden.write_at(&buffer, at)?;
        }
        golden.flush()?;
        drop(golden);
        let mut random = Random::new(11);
        let mut block = vec![0; crate::data::BLOCK];
        let mut before = "golden".to_owned();
        for depth in 1..=depths.iter().copied().max().unwrap_or(0) {
            let name = format!("depth-{depth}");
            store.fork(&before.parse()?, &name.parse()?)?;
            let branch = store.branch(&name.parse()?)?;
            for _ in 0..writes_each {
                let number = random.below(self.context.scale.disk_blocks());
                self.context.blocks.fill(&mut block, number, depth);
                branch.write_at(&block, number * crate::data::BLOCK_BYTES)?;
            }
            before = name;
        }
        store.close()?;
        let tine = Rc::new(Tine::serve(&path)?);
        self.warm_store()?;
        Ok(tine)
    }

    /// Has the cache hold all that the store has.
    pub(super) fn warm_store(&self) -> Result {
        let mut buffer = vec![0; LARGE];
        for entry in std::fs::read_dir(self.room.join("store/segments"))? {
            use std::io::Read;
            let mut file = std::fs::File::open(entry?.path())?;
            while file.read(&mut buffer)? > 0 {}
        }
        Ok(())
    }

    /// Forks the golden disk for a round, durably; it is dropped when that is over.
    pub(super) fn forks(tine: &Rc<Tine>, names: Vec<String>) -> Result<Served> {
        for name in &names {
            tine.run(&["fork", "golden", name])?;
        }
        let disks = names.iter().map(|name| (Rc::clone(&tine.server), name.clone()));
        let (after, disks) = (Rc::clone(tine), disks.collect());
        Ok(Served {
            disks,
            after: Some(Box::new(move || {
                let mut words = vec!["drop", "--yes", "--force"];
                words.extend(names.iter().map(String::as_str));
                after.run(&words)
            })),
        })
    }

    /// Brings the raw file where it does best: nothing of it in the cache before writes, all of it before reads.
    pub(super) fn make_raw_ready(&self, load: &Load) -> Result {
        if load.direction.contains("read") {
            self.raw.read_all()
        } else {
            self.raw.drop_cache()
        }
    }

    /// Serves overlays of the golden disk, made anew, each by a server of its own. The golden disk is in the cache, which is where
    /// they do best: it is read also for what a small write leaves of a cluster.
    pub(super) fn overlays(&self, names: &[String], options: &[&str]) -> Result<Served> {
        self.raw.read_all()?;
        let serve = |name: &String| {
            let file = self.room.join(name);
            server::overlay(&file, &self.golden(), "raw", options)?;
            Ok((Rc::new(server::qemu_nbd(&file, "qcow2")?), String::new()))
        };
        Ok(Served {
            disks: names.iter().map(serve).collect::<Result<_>>()?,
            after: None,
        })
    }

    /// Serves an overlay of the golden disk, made anew.
    pub(super) fn overlay(&self, options: &[&str]) -> Result<Served> {
        self.overlays(&["overlay".to_owned()], options)
    }

    /// Makes a chain of overlays with some random writes in each, up to the deepest; returns those at the depths.
    pub(super) fn chain(&self, depths: &[u64], writes_each: u64) -> Result<Vec<PathBuf>> {
        let mut random = Random::new(12);
        let (mut base, mut format) = (self.golden(), "raw");
        let mut found = Vec::new();
        for depth in 1..=depths.iter().copied().max().unwrap_or(0) {
            let file = self.room.join(format!("chain-{depth}"));
            server::overlay(&file, &base, format, &[])?;
            let mut writes = String::new();
            for _ in 0..writes_each {
                let at = random.below(self.context.scale.disk_blocks()) * crate::data::BLOCK_BYTES;
                writes.push_str(&format!("write -q -P {} {at} 4k\n", depth % 251));
            }
            let script = self.room.join("writes");
            std::fs::write(&script, writes + "quit\n")?;
            let status = std::process::Command::new("qemu-io")
                .args(["-f", "qcow2"])
                .arg(&file)
                .stdin(std::fs::File::open(&script)?)
                .stdout(std::process::Stdio::null())
                .status()?;
            if !status.success() {
                return Err(format!("qemu-io failed on {} ({status})", file.display()).into());
            }
            if depths.contains(&depth) {
                found.push(file.clone());
            }
            (base, format) = (file, "qcow2");
        }
        Ok(found)
    }

    /// Makes an XFS that holds a reflink source; `None` where that cannot be, which is said.
    pub(super) fn xfs(&self, row: &str) -> Option<(LoopMount, PathBuf)> {
        let (kind, program, options) = FILE_SYSTEMS[0];
        let made = LoopMount::new(&self.room, kind, program, options, 3 * self.raw.bytes).and_then(|mount| {
            let golden = mount.at.join("golden");
            std::fs::copy(self.golden(), &golden)?;
            Ok((mount, golden))
        });
        match made {
            Ok(made) => Some(made),
            Err(error) => {
                let printer = &self.context.printer;
                printer.skipped(row, "reflink, xfs", &error.to_string());
                None
            }
        }
    }
}

/// Makes a reflink copy for a round.
fn reflinked(golden: &Path) -> Result<PathBuf> {
    let copy = golden.with_file_name("copy");
    let _ = std::fs::remove_file(&copy);
    let source = std::fs::File::open(golden)?;
    let made = std::fs::File::create_new(&copy)?;
    rustix::fs::ioctl_ficlone(&made, source)?;
    drop_cache(&made)?;
    Ok(copy)
}

/// Adds a reflink copy of the golden disk on XFS, where that can be had.
pub(super) fn add_reflink<'a>(bed: &Bed<'a>, row: &mut LoadRow<'a>, name: &str) {
    if let Some((mount, golden)) = bed.xfs(name) {
        row.add("xfs reflink, nbdkit file", move |_| {
            let copy = reflinked(&golden)?;
            let _keeps = &mount;
            Served::by(server::nbdkit_file(&copy)?)
        });
    }
}

/// A row in which everybody does the same with a disk of its own.
pub(super) struct LoadRow<'a> {
    pub(super) comparison: Comparison<'a>,
    context: &'a Context<'a>,
    load: Load,
}

impl<'a> LoadRow<'a> {
    pub(super) fn new(context: &'a Context<'a>, row: &'static str, title: String, load: Load) -> Self {
        Self {
            comparison: Comparison::new(row, title, load.unit()),
            context,
            load,
        }
    }

    /// Adds what the disk alone does, for whom to see what there is to be had.
    pub(super) fn add_disk(&mut self, bed: &'a Bed<'a>) {
        let (context, load) = (self.context, self.load);
        self.comparison
            .add_fn("the disk alone, past the cache", move |_| {
                bed.raw.drop_cache()?;
                let done = load.run_on_disk(&bed.golden(), context.scale)?;
                Ok(done.sample(&load, None))
            });
    }

    /// Adds a contestant; `serve` prepares each of its rounds.
    pub(super) fn add(&mut self, name: &str, mut serve: impl FnMut(u32) -> Result<Served> + 'a) {
        let (context, load) = (self.context, self.load);
        self.comparison.add_fn(name, move |round| {
            let served = serve(round)?;
            have_backed(context.scale.backed_bytes);
            let before = served.processor_time()?;
            let done = load.run(&served.uris(), context.scale)?;
            let spent = served.processor_time()? - before;
            if let Some(after) = served.after {
                after()?;
            }
            Ok(done.sample(&load, Some(spent)))
        });
    }
}
