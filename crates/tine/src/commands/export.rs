//! `tine export`: a disk as a raw image.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, IsTerminal as _};
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use tine_server::api::Read;
use tine_server::words::human;
use tine_store::{ExportReport, ExportTarget, Image, Piece, Progress, StoreError, Target};

use crate::args;
use crate::context::{Context, Reading};
use crate::error::{CommandError, Exit, Outcome};
use crate::interrupt;
use crate::progress::Meter;
use crate::stdout;
use crate::ui::output_failed;

/// Writes a branch or snapshot to a raw image
///
/// The image is sparse. It is made as FILE.partial, synced and then renamed, so FILE is never half an image. One that
/// replaces a file has its mode, and its owner where that is allowed.
///
/// The image is of the moment at which the command begins. Others can use the store meanwhile, and drop what is exported.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine export web1 web1.img
  tine export web1@clean - | zstd > web1.img.zst
  tine export web1 - | dd of=/dev/sdX bs=1M conv=fsync")]
pub(crate) struct Args {
    /// The branch or snapshot
    #[arg(value_name = "NAME[@SNAP]", value_parser = args::target)]
    target: Target,
    /// The image to make, or `-` for standard output
    #[arg(value_name = "FILE|-")]
    file: PathBuf,
    /// Replaces FILE if it exists
    #[arg(short, long)]
    force: bool,
}

#[derive(Serialize)]
struct Exported<'a> {
    name: String,
    file: Cow<'a, str>,
    size: u64,
    data: u64,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let started = Instant::now();
    let is_stream = args.file == Path::new("-");
    let report = if is_stream {
        to_stream(args, context)?
    } else {
        to_file(args, context)?
    };
    let ExportReport { size, data, .. } = report;
    context.ui.say(format_args!(
        "Exported `{}` to {}: {}, {} of it data, in {:.1} s",
        args.target,
        if is_stream {
            "standard output".to_owned()
        } else {
            format!("`{}`", args.file.display())
        },
        human(size),
        human(data),
        started.elapsed().as_secs_f64()
    ));
    if context.ui.json && !is_stream {
        context.ui.object(&Exported {
            name: args.target.to_string(),
            file: args.file.to_string_lossy(),
            size,
            data,
        })?;
    }
    Ok(Exit::Done)
}

/// Signals keep their default here: there is nothing to clean up.
fn to_stream(args: &Args, context: &Context) -> Outcome<ExportReport> {
    if io::stdout().is_terminal() {
        return Err(CommandError::new("standard output is a terminal")
            .hint("`tine export NAME - | …`, or name a file"));
    }
    let mut stdout = stdout::file().map_err(output_failed)?;
    let out = &mut stdout;
    let failed = |error: StoreError| match &error {
        StoreError::Caller { source, .. } => output_failed(same(source)),
        _ => error.into(),
    };
    make(
        args,
        context,
        move |size| Ok(ExportTarget::Stream(out).begin(size)?),
        failed,
    )
}

/// Returns an error like one that is shared.
fn same(error: &io::Error) -> io::Error {
    error
        .raw_os_error()
        .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn to_file(args: &Args, context: &Context) -> Outcome<ExportReport> {
    let (file, replaced) = destination(args)?;
    not_in_the_store(&file, &context.store_path()?)?;
    let made = OnceCell::new();
    let begin = |size| {
        // The name is known by now: a mistyped one must not leave a file behind.
        interrupt::catch()?;
        let partial = Partial::create(&file, args.force, replaced.as_ref())?;
        let partial: &Partial = made.get_or_init(|| partial);
        let image = ExportTarget::File(&partial.file).begin(size);
        image.map_err(|error| too_large(error, args, size))
    };
    let failed = |error: StoreError| match &error {
        StoreError::Caller { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
            let folder = folder_of(&file).display().to_string();
            CommandError::from(error).hint(format!(
                "free some space in `{folder}`; what was made of the image is removed"
            ))
        }
        _ => error.into(),
    };
    let report = make(args, context, begin, failed)?;
    if let Some(partial) = made.into_inner() {
        partial.publish(&file)?;
    }
    Ok(report)
}

/// Reads the disk into the image that `begin` begins; `failed` puts into words what becomes of a target that fails.
fn make<'a>(
    args: &Args,
    context: &Context,
    begin: impl FnOnce(u64) -> Outcome<Image<'a>>,
    failed: impl Fn(StoreError) -> CommandError,
) -> Outcome<ExportReport> {
    let mut making = Making {
        begin: Some(begin),
        failed,
        image: None,
        size: 0,
        meter: Meter::new(&context.ui, "Exporting"),
    };
    let request = Read {
        target: args.target.clone(),
        offset: 0,
        length: None,
    };
    context.read(request, &mut making)?;
    let Making { image, failed, .. } = making;
    let image = image.ok_or_else(|| CommandError::new(format!("nothing came of `{}`", args.target)))?;
    image.finish().map_err(failed)
}

/// An image in the making, that is begun when the size of the disk is known.
struct Making<'a, B, F> {
    begin: Option<B>,
    failed: F,
    image: Option<Image<'a>>,
    size: u64,
    meter: Meter,
}

impl<'a, B, F> Reading for Making<'a, B, F>
where
    B: FnOnce(u64) -> Outcome<Image<'a>>,
    F: Fn(StoreError) -> CommandError,
{
    fn begin(&mut self, range: Range<u64>) -> Outcome<()> {
        self.size = range.end;
        if let Some(begin) = self.begin.take() {
            self.image = Some(begin(self.size)?);
        }
        Ok(())
    }

    fn piece(&mut self, piece: Piece<'_>) -> Outcome<()> {
        let Self {
            failed,
            image: Some(image),
            size,
            meter,
            ..
        } = self
        else {
            return Ok(());
        };
        let mut follow = |done| match meter.report(Progress {
            done,
            total: Some(*size),
        }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(StoreError::Cancelled),
        };
        image.put(piece, &mut follow).map_err(failed)
    }
}

/// Names the file and its size where none of that size may be.
fn too_large(error: StoreError, args: &Args, size: u64) -> CommandError {
    let StoreError::Caller { source, .. } = &error else {
        return error.into();
    };
    if source.kind() != io::ErrorKind::FileTooLarge {
        return error.into();
    }
    let (file, target) = (args.file.display(), &args.target);
    let stream = format!("`tine export {target} - | …`");
    match getrlimit(Resource::Fsize).current {
        Some(limit) if limit < size => CommandError::new(format!(
            "`{file}`: the limit of the size of files (`ulimit -f`) is {}, and {} are needed",
            human(limit),
            human(size)
        ))
        .hint(format!(
            "raise the limit (`ulimit -f unlimited`), or {stream} without a file"
        )),
        _ => CommandError::new(format!(
            "`{file}`: its file system takes no file of {}",
            human(size)
        ))
        .hint(format!("name a file on another, or {stream} without one")),
    }
}

/// Returns the file to make, behind symbolic links, and what is there if it replaces something.
fn destination(args: &Args) -> Outcome<(PathBuf, Option<Metadata>)> {
    let path = &args.file;
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_named = !path.as_os_str().as_encoded_bytes().ends_with(b"/");
            let folder = if is_named { folder_of(path) } else { path };
            if !is_named || !folder.is_dir() {
                let missing = format!("there is no directory `{}`", folder.display());
                return Err(CommandError::new(missing).hint("make it first, or name a file elsewhere"));
            }
            return Ok((path.clone(), None));
        }
        Err(error) => return Err(CommandError::io(format!("look at `{shown}`"), error)),
    };
    if metadata.is_dir() {
        let inside = path.join(format!("{}.img", args.target));
        return Err(CommandError::new(format!("`{shown}` is a directory"))
            .hint(format!("name a file in it, such as `{}`", inside.display())));
    }
    if !metadata.is_file() {
        return Err(
            CommandError::new(format!("`{shown}` is not a regular file")).hint(format!(
                "`tine export {} - | dd of={shown} bs=1M conv=fsync` writes to it",
                args.target
            )),
        );
    }
    if !args.force {
        return Err(CommandError::new(format!("`{shown}` exists")).hint("`--force` replaces it"));
    }
    let file = fs::canonicalize(path);
    let file = file.map_err(|error| CommandError::io(format!("look at `{shown}`"), error))?;
    Ok((file, Some(metadata)))
}

/// Refuses a file within the store: `--force` would replace a part of it.
fn not_in_the_store(file: &Path, store: &Path) -> Outcome<()> {
    // What cannot be found is told when it is opened.
    let (Ok(folder), Ok(store)) = (fs::canonicalize(folder_of(file)), fs::canonicalize(store)) else {
        return Ok(());
    };
    if folder.starts_with(store) {
        return Err(
            CommandError::new(format!("`{}` is within the store", file.display()))
                .hint("name a file elsewhere"),
        );
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// An image in the making; removed again unless it is published.
struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Partial {
    /// Creates the file. Nobody can read in it what they could not read in the one that it will replace.
    fn create(file: &Path, force: bool, replaced: Option<&Metadata>) -> Outcome<Self> {
        let mut name = file
            .file_name()
            .map(ToOwned::to_owned)
            .ok_or_else(|| CommandError::new(format!("`{}` names no file", file.display())))?;
        name.push(".partial");
        let path = file.with_file_name(name);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        if replaced.is_some() {
            options.mode(0o600);
        }
        if force {
            // Not reused: whoever has it open would read along.
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(CommandError::io(format!("remove `{}`", path.display()), error));
                }
                _ => {}
            }
        }
        match options.open(&path) {
            Ok(file) => {
                if let Some(replaced) = replaced {
                    resemble(&file, replaced);
                }
                Ok(Self {
                    file,
                    path,
                    published: false,
                })
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(CommandError::new(format!("`{}` is in the way", path.display()))
                    .hint("an export that was killed left it, or one is at work; `--force` overwrites it"))
            }
            Err(error) => Err(CommandError::io(format!("create `{}`", path.display()), error)),
        }
    }

    /// Makes the image durable, gives it its name, and makes that durable.
    fn publish(mut self, file: &Path) -> Outcome<()> {
        self.file
            .sync_all()
            .map_err(|error| CommandError::io(format_args!("sync `{}`", self.path.display()), error))?;
        let failed = |error| {
            CommandError::io(
                format!("rename `{}` to `{}`", self.path.display(), file.display()),
                error,
            )
        };
        fs::rename(&self.path, file).map_err(failed)?;
        self.published = true;
        File::open(folder_of(&self.path))
            .and_then(|folder| folder.sync_all())
            .map_err(|error| CommandError::io(format!("sync the directory of `{}`", file.display()), error))
    }
}

/// Gives `file`, which is its maker's alone, the owner, group and mode of `replaced` as far as that is allowed.
fn resemble(file: &File, replaced: &Metadata) {
    let (user, group) = (replaced.uid(), replaced.gid());
    let has_group = fchown(file, Some(user), Some(group)).is_ok() || fchown(file, None, Some(group)).is_ok();
    // Another group has no claim to what this one could read.
    let mode = replaced.mode() & if has_group { 0o777 } else { 0o707 };
    // Where that fails the file stays private.
    let _ = file.set_permissions(Permissions::from_mode(mode));
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // Nobody is left to tell; the next export says what is in the way.
            let _ = fs::remove_file(&self.path);
        }
    }
}
