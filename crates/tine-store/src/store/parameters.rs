//! `store.json`: what a store was made as, and what another version must know before it reads anything else.
//!
//! **Invariant:** nothing of it is believed before format, version and checksum are right.

use serde::{Deserialize, Serialize};

use crate::checksum::crc32c;
use crate::error::{Result, StoreError};
use crate::journal::frame::{FRAME_ALIGNMENT, JournalKey};
use crate::journal::ring::Shape;
use crate::medium::{Medium, ObjectName, Reading};

const FORMAT: &str = "tine";
const FORMAT_VERSION: u32 = 4;

/// The smallest journal file: an epoch's copies and some frames.
pub(super) const JOURNAL_FILE_BYTES_MIN: u64 = 32 << 10;
/// The largest.
pub(super) const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 32;

/// The longest that is read; a few hundred bytes are usual.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// `store.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    format: String,
    version: u32,
    /// Unstable until 0.1: another version may not read it.
    stable: bool,
    /// Features without which the store cannot be read.
    incompatible_features: Vec<String>,
    /// 128 random bits, in hexadecimal.
    id: String,
    /// 128 random bits, in hexadecimal, that mark the journal's frames. Secret from whoever writes to the disks.
    journal_key: String,
    block_bytes: u64,
    journal_file_bytes: u64,
    journal_files: u32,
    /// The crc32c of all of this without white space and with this field empty, in hexadecimal.
    checksum: String,
}

/// What `store.json` has in every version.
#[derive(Deserialize)]
struct Heading {
    format: String,
    version: u32,
}

impl Parameters {
    /// Returns those of a new store.
    pub(crate) fn new(shape: Shape, id: &[u8; 16]) -> Result<Self> {
        Self {
            format: FORMAT.into(),
            version: FORMAT_VERSION,
            stable: false,
            incompatible_features: Vec::new(),
            id: hexadecimal(id),
            journal_key: hexadecimal(&shape.key),
            block_bytes: crate::block::BLOCK_BYTES,
            journal_file_bytes: shape.file_bytes,
            journal_files: shape.files,
            checksum: String::new(),
        }
        .summed()
    }

    /// Gives it the checksum of all other fields.
    pub(crate) fn summed(self) -> Result<Self> {
        let blank = Self {
            checksum: String::new(),
            ..self
        };
        let text = serde_json::to_vec(&blank).map_err(cannot_write)?;
        let checksum = format!("{:08x}", crc32c(&text));
        Ok(Self { checksum, ..blank })
    }

    /// Returns the text of `store.json`.
    pub(crate) fn encode(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(cannot_write)?;
        Ok(text + "\n")
    }

    /// Understands the text of `store.json`.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let parameters: Self = serde_json::from_slice(bytes).map_err(|error| {
            // A later version may have other fields.
            match serde_json::from_slice(bytes) {
                Ok(Heading { format, version }) if format == FORMAT && version != FORMAT_VERSION => {
                    other_format(&format, version)
                }
                _ => StoreError::damaged(format!("store.json cannot be understood ({error})")),
            }
        })?;
        let whole = parameters.clone().summed()? == parameters;
        let unsupported = |what: String| Err(StoreError::Unsupported { what });
        let ours = parameters.format == FORMAT;
        if (ours && parameters.version != FORMAT_VERSION) || (!ours && whole) {
            return Err(other_format(&parameters.format, parameters.version));
        }
        if !whole {
            return Err(StoreError::damaged("store.json does not have its checksum"));
        }
        if let Some(feature) = parameters.incompatible_features.first() {
            return unsupported(format!(
                "it uses the feature `{feature}`, which this version does not know"
            ));
        }
        let file_bytes = parameters.journal_file_bytes;
        if parameters.block_bytes != crate::block::BLOCK_BYTES
            || !(JOURNAL_FILE_BYTES_MIN..=JOURNAL_FILE_BYTES_MAX).contains(&file_bytes)
            || !file_bytes.is_multiple_of(FRAME_ALIGNMENT as u64)
        {
            return unsupported("store.json has parameters that no store can have".into());
        }
        Ok(parameters)
    }

    /// Returns what the journal's ring was made as.
    pub(crate) fn shape(&self) -> Result<Shape> {
        Ok(Shape {
            file_bytes: self.journal_file_bytes,
            files: self.journal_files,
            key: self.key()?,
        })
    }

    fn key(&self) -> Result<JournalKey> {
        let bad = || StoreError::Unsupported {
            what: "store.json is bad: `journal_key` is no 128 bits in hexadecimal".into(),
        };
        let digits = self.journal_key.as_bytes();
        let mut key = JournalKey::default();
        if digits.len() != key.len() * 2 {
            return Err(bad());
        }
        let digit = |at: usize| char::from(digits[at]).to_digit(16).ok_or_else(bad);
        for (at, byte) in key.iter_mut().enumerate() {
            *byte = (digit(2 * at)? << 4 | digit(2 * at + 1)?) as u8;
        }
        Ok(key)
    }
}

/// Reads `store.json` and returns what the journal's ring was made as.
pub(super) fn read(medium: &dyn Medium) -> Result<Shape> {
    let name = ObjectName::Parameters;
    let read = || {
        let object = medium.open_object(name)?;
        let length = usize::try_from(object.length()?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(TEXT_BYTES_MAX)];
        object.read_at(&mut bytes, 0, Reading::Cached)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e| StoreError::io(name, "read", e))?;
    Parameters::decode(&bytes)?.shape()
}

fn cannot_write(error: serde_json::Error) -> StoreError {
    StoreError::io("store.json", "write", std::io::Error::other(error))
}

fn other_format(format: &str, version: u32) -> StoreError {
    StoreError::Unsupported {
        what: format!(
            "its format is `{format}` version {version}, this is for `{FORMAT}` version {FORMAT_VERSION}"
        ),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
