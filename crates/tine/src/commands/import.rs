//! `tine import`: brings a disk into the store.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tine_server::words::{human, near};
use tine_store::{BranchName, ImportSource};

use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::input::Input;
use crate::interrupt;
use crate::progress::Meter;
use crate::{args, image};

/// Brings a raw image, a directory or a stream in as a branch
///
/// The branch appears when all of it is there. Holes and zeroes take no space. A directory becomes an ext4 file system
/// with its files in it (by mke2fs, without root).
///
/// From the first byte to the last no other command can use the store: of a slow stream (a download, say) make a file first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine import disk.img golden
  tine import ./rootfs golden --size 10GiB
  qemu-img convert -O raw disk.qcow2 disk.img && tine import disk.img golden
  zstdcat disk.img.zst | tine import - golden")]
pub(crate) struct Args {
    /// A raw image, a block device, a directory, or `-` for standard input
    #[arg(value_name = "FILE|DIR|-")]
    source: PathBuf,
    /// The new branch
    #[arg(value_parser = args::branch)]
    name: BranchName,
    /// The size of the file system made of a directory [default: twice what is in it and more]
    #[arg(long, value_parser = args::bytes)]
    size: Option<u64>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let source = Source::open(args, context)?;
    interrupt::catch()?;
    let started = Instant::now();
    let mut meter = Meter::new(&context.ui, "Importing");
    let progress = &mut |progress| meter.report(progress);
    let name = args.name.clone();
    let imported = match &source {
        Source::File(file) => context.import(name, ImportSource::File(file), progress),
        Source::Stream(input) => context.import(name, ImportSource::Stream(&mut input.reader()), progress),
    };
    // A stream that a signal ended comes back as the reader's error.
    interrupt::check()?;
    let imported = imported?;
    drop(meter);
    context.ui.say(format_args!(
        "Imported `{}`: {}, {} of it data, in {:.1} s",
        imported.name,
        human(imported.size),
        human(imported.data),
        started.elapsed().as_secs_f64()
    ));
    if context.ui.json {
        context.ui.object(&imported)?;
    }
    Ok(Exit::Done)
}

/// Where the disk comes from.
enum Source {
    File(File),
    Stream(Input),
}

impl Source {
    fn open(args: &Args, context: &Context) -> Outcome<Self> {
        let path = args.source.as_path();
        let is_stream = path == Path::new("-");
        let metadata = if is_stream {
            None
        } else {
            Some(fs::metadata(path).map_err(|error| cannot_open(path, error))?)
        };
        if let Some(metadata) = &metadata
            && metadata.is_dir()
        {
            return Ok(Self::File(image::ext4(path, args.size, &scratch(context)?)?));
        }
        if args.size.is_some() {
            return Err(
                CommandError::new("`--size` is for directories: an image has a size of its own")
                    .hint("import it first, then `tine resize`"),
            );
        }
        let Some(metadata) = metadata else {
            return Ok(Self::Stream(Input::standard(&context.ui)?));
        };
        if metadata.file_type().is_socket() {
            return Err(
                CommandError::new(format!("`{}` is a socket: no disk is in it", path.display()))
                    .hint("name a raw image, a block device, a directory, or `-` for standard input"),
            );
        }
        let file = File::open(path).map_err(|error| cannot_open(path, error))?;
        if metadata.file_type().is_fifo() || metadata.file_type().is_char_device() {
            return Ok(Self::Stream(Input::new(file, &format!("`{}`", path.display()))?));
        }
        let has_bytes = refuse_formats(path, &file)?;
        if metadata.is_file() && metadata.len() == 0 && has_bytes {
            // The kernel makes such a file (in /proc, say) as it is read, and does not know its length.
            return Ok(Self::Stream(Input::new(file, &format!("`{}`", path.display()))?));
        }
        Ok(Self::File(file))
    }
}

/// Returns the error of a source that does not open; a path that is not there gets the one near to it.
fn cannot_open(path: &Path, error: io::Error) -> CommandError {
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let failed = CommandError::io(format!("open `{}`", path.display()), error);
    match near_path(path) {
        Some(near) if is_missing => failed.hint(format!("did you mean `{}`?", near.display())),
        _ => failed,
    }
}

/// Returns what lies beside a path with a name like its own.
fn near_path(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let beside: Vec<String> = fs::read_dir(folder.unwrap_or(Path::new(".")))
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let near = near(name, beside.iter().map(String::as_str));
    Some(path.with_file_name(near.first()?))
}

/// Returns a directory with room for an image: $TMPDIR if set, else beside the store, which has to have room anyway.
fn scratch(context: &Context) -> Outcome<PathBuf> {
    if let Some(folder) = std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty()) {
        return Ok(folder.into());
    }
    let store = context.store_path()?;
    let beside = store
        .ancestors()
        .skip(1)
        .find(|folder| folder.is_dir())
        .map(Path::to_owned);
    Ok(beside.unwrap_or_else(std::env::temp_dir))
}

/// Refuses an image whose bytes are not the disk's: imported as they are, they would make a disk that no guest can read.
/// Returns whether there are any bytes.
fn refuse_formats(path: &Path, file: &File) -> Outcome<bool> {
    const FORMATS: [(&[u8], &str, &str); 4] = [
        (b"QFI\xfb", "qcow2", "qcow2"),
        (b"KDMV", "VMDK", "vmdk"),
        (b"vhdxfile", "VHDX", "vhdx"),
        (b"conectix", "VHD", "vpc"),
    ];
    let mut start = [0; 8];
    let length = file
        .read_at(&mut start, 0)
        .map_err(|error| CommandError::io(format!("read `{}`", path.display()), error))?;
    for (magic, name, format) in FORMATS {
        if start[..length].starts_with(magic) {
            let path = path.display();
            return Err(CommandError::new(format!("`{path}` is a {name} image; only raw images are read so far")).hint(
                format!("`qemu-img convert -f {format} -O raw {path} disk.img` makes a raw one (`-` imports any bytes as they are)"),
            ));
        }
    }
    Ok(length > 0)
}
