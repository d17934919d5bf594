//! What goes back to a client that does not get what it asked for.

/// The error numbers that the protocol knows (proto.md, "Error values"); others are never sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Errno {
    /// Writing to what is read-only.
    NotPermitted = 1,
    /// The medium or the engine failed.
    Io = 5,
    /// No memory for it.
    NoMemory = 12,
    /// The request is malformed, or reads past the end.
    Invalid = 22,
    /// The medium is full, or a write goes past the end of the disk.
    NoSpace = 28,
    /// An unfragmented reply would be too large.
    Overflow = 75,
    /// A fast zeroing would not be fast.
    NotSupported = 95,
    /// The server is ending.
    ShuttingDown = 108,
}

impl Errno {
    /// Returns the number that is sent.
    pub fn number(self) -> u32 {
        self as u32
    }
}

/// Why a request failed: a number for the program at the other end, and words for who reads its messages. The words go
/// to clients that negotiated structured replies or extended headers; they are cut at 4096 bytes.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of failure it is.
    pub errno: Errno,
    /// What failed, and what to do about it.
    pub message: String,
}

impl Fault {
    /// Returns a fault of that kind.
    pub fn new(errno: Errno, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { errno, message }
    }
}

/// Why an export cannot be had (proto.md, "Option reply types": the errors). With `NBD_OPT_EXPORT_NAME`, which
/// cannot fail, the connection ends instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Which reply it is.
    pub kind: RefusalKind,
    /// Why, and what to do about it; cut at 4096 bytes.
    pub message: String,
}

impl Refusal {
    /// Returns a refusal of that kind.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }
}

/// Kinds of refusals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum RefusalKind {
    /// `NBD_REP_ERR_POLICY`: it is there, and this client may not have it.
    Policy = (1 << 31) + 2,
    /// `NBD_REP_ERR_INVALID`: such a name cannot be.
    Invalid = (1 << 31) + 3,
    /// `NBD_REP_ERR_UNKNOWN`: there is no export of that name.
    Unknown = (1 << 31) + 6,
    /// `NBD_REP_ERR_SHUTDOWN`: the server is ending.
    ShuttingDown = (1 << 31) + 7,
}
