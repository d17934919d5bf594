//! A disk in memory, and a set of them: what the tests serve, and what `examples/ram_disk.rs` shows.

#![allow(unreachable_pub, reason = "a module of several programs")]

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tine_nbd::{
    BASE_ALLOCATION, Client, Export, ExportInfo, Exports, Extent, Fault, Features, Listing, Refusal,
    RefusalKind, STATE_HOLE, STATE_ZERO, Zeroing,
};

/// Memory is allocated in chunks of this size.
const CHUNK_BYTES: usize = 32 << 10;

/// A context of its own: 1 where something was written, also zeroes.
pub const WRITTEN: &str = "ram:written";

type Chunk = Option<Box<[u8; CHUNK_BYTES]>>;

/// A sparse disk in memory.
pub struct RamDisk {
    size: u64,
    features: Features,
    chunks: Vec<RwLock<(Chunk, bool)>>,
    flushes: AtomicU64,
}

impl RamDisk {
    pub fn new(size: u64) -> Self {
        Self::with(
            size,
            Features {
                read_only: false,
                multi_conn: true,
            },
        )
    }

    pub fn with(size: u64, features: Features) -> Self {
        Self {
            size,
            features,
            chunks: (0..size.div_ceil(CHUNK_BYTES as u64))
                .map(|_| RwLock::default())
                .collect(),
            flushes: AtomicU64::new(0),
        }
    }

    /// Returns how often it was flushed.
    #[allow(dead_code, reason = "the example does not ask")]
    pub fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    /// Calls `visit` with the chunks that a range touches: which, where in it, where in the range.
    fn each(range: Range<u64>, mut visit: impl FnMut(usize, Range<usize>, Range<usize>) -> ControlFlow<()>) {
        let mut at = range.start;
        while at < range.end {
            let (chunk, begin) = (at / CHUNK_BYTES as u64, (at % CHUNK_BYTES as u64) as usize);
            let length = (CHUNK_BYTES - begin).min((range.end - at) as usize);
            let done = (at - range.start) as usize;
            if visit(chunk as usize, begin..begin + length, done..done + length).is_break() {
                return;
            }
            at += length as u64;
        }
    }

    fn zero(&self, range: Range<u64>, keep: bool) {
        Self::each(range, |chunk, inside, _| {
            let mut chunk = self.chunks[chunk].write();
            chunk.1 = true;
            match &mut chunk.0 {
                memory if inside.len() == CHUNK_BYTES && !keep => *memory = None,
                Some(memory) => memory[inside].fill(0),
                memory if keep => *memory = Some(new_chunk()),
                None => (),
            }
            ControlFlow::Continue(())
        });
    }
}

fn new_chunk() -> Box<[u8; CHUNK_BYTES]> {
    let memory = vec![0; CHUNK_BYTES].into_boxed_slice();
    memory.try_into().expect("it has that length")
}

impl Export for RamDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn features(&self) -> Features {
        self.features
    }

    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        self.read(into, offset)?;
        Ok(true)
    }

    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault> {
        let range = offset..offset + into.len() as u64;
        Self::each(range, |chunk, inside, outside| {
            match &self.chunks[chunk].read().0 {
                Some(memory) => into[outside].copy_from_slice(&memory[inside]),
                None => into[outside].fill(0),
            }
            ControlFlow::Continue(())
        });
        Ok(())
    }

    fn read_sparse(
        &self,
        into: &mut [u8],
        offset: u64,
        hole: &mut dyn FnMut(Range<usize>),
    ) -> Result<(), Fault> {
        let range = offset..offset + into.len() as u64;
        Self::each(range, |chunk, inside, outside| {
            match &self.chunks[chunk].read().0 {
                Some(memory) => into[outside].copy_from_slice(&memory[inside]),
                None => hole(outside),
            }
            ControlFlow::Continue(())
        });
        Ok(())
    }

    fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool, Fault> {
        self.write(bytes, offset)?;
        Ok(true)
    }

    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault> {
        let range = offset..offset + bytes.len() as u64;
        Self::each(range, |chunk, inside, outside| {
            let mut chunk = self.chunks[chunk].write();
            chunk.1 = true;
            chunk.0.get_or_insert_with(new_chunk)[inside].copy_from_slice(&bytes[outside]);
            ControlFlow::Continue(())
        });
        Ok(())
    }

    fn write_zeroes(&self, range: Range<u64>, how: Zeroing) -> Result<(), Fault> {
        self.zero(range, how.no_hole);
        Ok(())
    }

    fn trim(&self, range: Range<u64>) -> Result<(), Fault> {
        self.zero(range, false);
        Ok(())
    }

    fn flush(&self) -> Result<(), Fault> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn extents(
        &self,
        context: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        Self::each(range, |chunk, inside, _| {
            let chunk = self.chunks[chunk].read();
            let flags = match context {
                BASE_ALLOCATION if chunk.0.is_none() => STATE_HOLE | STATE_ZERO,
                BASE_ALLOCATION => 0,
                _ => chunk.1.into(),
            };
            visit(Extent {
                length: inside.len() as u64,
                flags,
            })
        });
        Ok(())
    }
}

/// Disks with names; the empty name is the first of them.
#[derive(Default)]
pub struct RamDisks {
    disks: Mutex<BTreeMap<String, Arc<dyn Export>>>,
    /// How often one was opened.
    opened: AtomicU64,
}

impl RamDisks {
    pub fn insert(&self, name: &str, disk: Arc<dyn Export>) {
        self.disks.lock().insert(name.to_owned(), disk);
    }

    #[allow(dead_code, reason = "the example does not ask")]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    fn find(&self, name: &str) -> Result<(String, Arc<dyn Export>), Refusal> {
        let disks = self.disks.lock();
        let found = match name {
            "" => disks.first_key_value(),
            _ => disks.get_key_value(name),
        };
        found
            .map(|(name, disk)| (name.clone(), Arc::clone(disk)))
            .ok_or_else(|| Refusal::new(RefusalKind::Unknown, format!("no disk is named `{name}`")))
    }
}

impl Exports for RamDisks {
    fn list(&self, _: &Client) -> Result<Vec<Listing>, Refusal> {
        let disks = self.disks.lock();
        let listing = |(name, disk): (&String, &Arc<dyn Export>)| Listing {
            name: name.clone(),
            description: format!("{} bytes of memory", disk.size()),
        };
        Ok(disks.iter().map(listing).collect())
    }

    fn info(&self, name: &str, _: &Client) -> Result<ExportInfo, Refusal> {
        let (name, disk) = self.find(name)?;
        Ok(ExportInfo {
            size: disk.size(),
            features: disk.features(),
            description: format!("{} bytes of memory", disk.size()),
            name,
        })
    }

    fn contexts(&self, name: &str, _: &Client) -> Result<Vec<String>, Refusal> {
        self.find(name)?;
        Ok(vec![BASE_ALLOCATION.into(), WRITTEN.into()])
    }

    fn open(&self, name: &str, _: &Client) -> Result<Arc<dyn Export>, Refusal> {
        let (_, disk) = self.find(name)?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(disk)
    }
}
