//! What is served: the traits that a disk, and a set of disks with names, implement.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::client::Client;
use crate::error::{Errno, Fault, Refusal};

/// The context that the protocol itself defines (proto.md, "Metadata contexts"): its flags are [`STATE_HOLE`] and
/// [`STATE_ZERO`].
pub const BASE_ALLOCATION: &str = "base:allocation";

/// `NBD_STATE_HOLE`: nothing is stored here, and writing here needs space.
pub const STATE_HOLE: u64 = 1;

/// `NBD_STATE_ZERO`: reads as zeroes.
pub const STATE_ZERO: u64 = 2;

/// A set of disks with names. Names are what clients send: any UTF-8 of at most 4096 bytes, `""` for whatever the default is.
///
/// All methods may wait for a disk: each runs on the thread of the connection that asks.
pub trait Exports: Send + Sync {
    /// Returns what `NBD_OPT_LIST` shows to this client.
    ///
    /// # Errors
    /// When nothing is listed for this client.
    fn list(&self, client: &Client) -> Result<Vec<Listing>, Refusal>;

    /// Describes an export, without opening it: what `NBD_OPT_INFO` asks for. Changes nothing and makes nothing.
    ///
    /// # Errors
    /// When [`Exports::open`] would refuse it.
    fn info(&self, name: &str, client: &Client) -> Result<ExportInfo, Refusal>;

    /// Returns the names of the contexts that `NBD_CMD_BLOCK_STATUS` can tell about, such as [`BASE_ALLOCATION`]: a
    /// namespace, a colon and the rest, at most 4096 bytes. Changes nothing and makes nothing.
    ///
    /// # Errors
    /// When [`Exports::open`] would refuse it.
    fn contexts(&self, name: &str, client: &Client) -> Result<Vec<String>, Refusal>;

    /// Opens an export for this connection, which enters transmission with it (`NBD_OPT_GO`, `NBD_OPT_EXPORT_NAME`).
    /// Called at most once with success for each connection, whose end drops what is returned: after the last of its requests is done,
    /// whether the client took its leave or vanished.
    ///
    /// # Errors
    /// Sent to the client; with `NBD_OPT_EXPORT_NAME` the connection ends.
    fn open(&self, name: &str, client: &Client) -> Result<Arc<dyn Export>, Refusal>;
}

/// One line of what [`Exports::list`] returns.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// What a client asks for to have it; at most 4096 bytes.
    pub name: String,
    /// Shown to humans; at most 4096 bytes, and may be empty.
    pub description: String,
}

/// What an export is like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExportInfo {
    /// In bytes.
    pub size: u64,
    /// What it can do.
    pub features: Features,
    /// Its name as the server spells it, for `NBD_INFO_NAME`: that of the default export when `""` was asked for.
    pub name: String,
    /// Shown to humans; may be empty.
    pub description: String,
}

/// What an export can do, beyond what every export here can: flush, FUA, caching, and, unless it is read-only, trimming and
/// writing zeroes, also fast (proto.md, "Transmission flags").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Features {
    /// Nothing can be written: the crate refuses with [`Errno::NotPermitted`] what would write, before the export sees it.
    pub read_only: bool,
    /// `NBD_FLAG_CAN_MULTI_CONN`: what any connection to it has been answered is seen by all of them at once, and a
    /// flush on one makes durable what all of them have written.
    pub multi_conn: bool,
}

/// How zeroes are to be written (proto.md, `NBD_CMD_WRITE_ZEROES`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Zeroing {
    /// The range must not become a hole. An export may keep space for what is written there later, and need not.
    pub no_hole: bool,
    /// Fail at once with [`Errno::NotSupported`] if it would not be faster than writing zeroes as data.
    pub fast: bool,
}

/// A range about which a context says one thing. Extents follow each other without gaps, from the begin of what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// In bytes, at least 1.
    pub length: u64,
    /// What the context says. Clients without extended headers see the low 32 bits.
    pub flags: u64,
}

/// A disk that is served to one connection.
///
/// Any number of threads call at the same time. The crate has checked every range: it is not empty, and lies within [`Export::size`] as it
/// was when the request was looked at; a disk that shrinks meanwhile answers for itself. Requests in flight may be
/// carried out in any order (proto.md, "Ordering of messages and writes").
///
/// `…_at_once` are for the thread that reads the connection's socket: they return `Ok(false)` instead of waiting for a disk, and
/// the request is done again, by the other method, where it holds up nobody. Their defaults always do so, which is right and slow.
pub trait Export: Send + Sync {
    /// Returns the size in bytes. O(1): asked for at every request.
    fn size(&self) -> u64;

    /// Returns what it can do. Asked for once.
    fn features(&self) -> Features;

    /// Fills `into` from `offset` on if that needs no waiting, else returns `false`; `into` may then hold anything. Asked for
    /// reads of less than 64 KiB, with memory of the reply itself: nothing is copied after it.
    ///
    /// # Errors
    /// Sent to the client.
    fn read_at_once(&self, into: &mut [u8], offset: u64) -> Result<bool, Fault> {
        let _ = (into, offset);
        Ok(false)
    }

    /// Fills `into` from `offset` on, however long that takes.
    ///
    /// # Errors
    /// Sent to the client.
    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), Fault>;

    /// Like [`Export::read`], for large reads: may leave what it knows to read as zeroes as it is in `into` and call `hole` for it
    /// instead, with ranges of `into` that ascend and do not overlap. `into` begins at a page, as far as `offset` does, and has
    /// at most 1 MiB.
    ///
    /// # Errors
    /// Sent to the client.
    fn read_sparse(
        &self,
        into: &mut [u8],
        offset: u64,
        hole: &mut dyn FnMut(Range<usize>),
    ) -> Result<(), Fault> {
        let _ = hole;
        self.read(into, offset)
    }

    /// Writes `bytes` at `offset` if that needs no waiting, else returns `false` and has written nothing.
    ///
    /// # Errors
    /// Sent to the client.
    fn write_at_once(&self, bytes: &[u8], offset: u64) -> Result<bool, Fault> {
        let _ = (bytes, offset);
        Ok(false)
    }

    /// Writes `bytes` at `offset`; durable with the next [`Export::flush`]. At most 1 MiB: larger requests come in
    /// several, in any order. From 64 KiB on, `bytes` lie in memory as far from a page's begin as `offset` does from a
    /// multiple of 4096, so that what is aligned on the disk is aligned in memory.
    ///
    /// # Errors
    /// Sent to the client.
    fn write(&self, bytes: &[u8], offset: u64) -> Result<(), Fault>;

    /// Makes a range read as zeroes.
    ///
    /// # Errors
    /// Sent to the client; [`Errno::NotSupported`] when `how` asks for what is not fast.
    fn write_zeroes(&self, range: Range<u64>, how: Zeroing) -> Result<(), Fault>;

    /// Takes note that the range's content is not needed any more; it may read as anything that was there before, or zeroes.
    ///
    /// # Errors
    /// Sent to the client.
    fn trim(&self, range: Range<u64>) -> Result<(), Fault>;

    /// Fetches a range so that reading it later is fast. The default does nothing, which the protocol allows.
    ///
    /// # Errors
    /// Sent to the client.
    fn cache(&self, range: Range<u64>) -> Result<(), Fault> {
        let _ = range;
        Ok(())
    }

    /// Makes durable what was written before the call: on this connection, and with [`Features::multi_conn`] on all of
    /// them. FUA is the request and then this.
    ///
    /// # Errors
    /// Sent to the client.
    fn flush(&self) -> Result<(), Fault>;

    /// Told of each context that was selected for the connection, before transmission begins: from now on it is about the
    /// same, whatever its name comes to mean. The default does nothing.
    fn select(&self, context: &str) {
        let _ = context;
    }

    /// Tells what `context`, one of those that [`Exports::contexts`] named, says about `range`: calls `visit` for one extent after the
    /// other until the range's end, or until `visit` breaks. Neighbours that say the same need not be one.
    /// Returning without any extent counts as flags of 0 for the whole range.
    ///
    /// # Errors
    /// Sent to the client, also when the context has gone since it was named.
    fn extents(
        &self,
        context: &str,
        range: Range<u64>,
        visit: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let _ = (range, visit);
        Err(Fault::new(Errno::Invalid, format!("no context `{context}`")))
    }
}
