//! `tine attach`: a disk for as long as a command runs.

mod child;
mod hold;

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead, BufReader, IsTerminal as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tine_server::api::{self, Failure, Forget, Keep, Kind, Request, Served, Show, Status, perform};
use tine_server::{Daemon, Endpoints, ExportName, Policy, Serving};
use tine_store::{BranchName, StoreError, Target};

use crate::args;
use crate::context::{Context, Missing};
use crate::error::{CommandError, Outcome};
use crate::interrupt::{self, Interruptible};
use crate::ui::tell;

/// What is in flight when the command has ended has so long to finish.
const GRACE: Duration = Duration::from_secs(10);

/// Runs a command with a disk attached by NBD
///
/// The command finds the disk's URI in $TINE_URI, and in place of `{}` among its arguments. With SOURCE+fork it has a
/// fresh fork, which is kept or dropped when it ends; on a terminal you are asked, elsewhere it is kept. The exit status
/// is the command's.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine attach golden+fork --drop -- qemu-system-x86_64 -drive file={},format=raw,if=virtio
  tine attach web1 -- sh -c 'qemu-img map \"$TINE_URI\"'
  tine attach golden+fork --keep web2 -- nbdcopy new.img {}")]
pub(crate) struct Args {
    /// A branch, a snapshot, or SOURCE+fork for a fork of either
    #[arg(value_name = "NAME|SOURCE+fork", value_parser = args::export)]
    disk: ExportName,
    /// Keeps the fork, as a branch of that name [default: SOURCE with a number]
    #[arg(long, value_name = "NAME", num_args = 0..=1, value_parser = args::branch)]
    keep: Option<Option<BranchName>>,
    /// Drops the fork
    #[arg(long, conflicts_with = "keep")]
    drop: bool,
    /// The command, and what it is told
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

/// What becomes of the fork.
enum Fate {
    Keep(Option<BranchName>),
    Drop,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    let (export, fork) = match &args.disk {
        ExportName::Disk(target) => {
            if args.keep.is_some() || args.drop {
                return Err(CommandError::new(format!(
                    "`{target}` is no fork that could be kept or dropped"
                ))
                .hint(format!("`tine attach {target}+fork` attaches a fork of it")));
            }
            (args.disk.clone(), None)
        }
        ExportName::Fork(source, job) => {
            let job = match job {
                Some(job) => job.clone(),
                None => own_job()?,
            };
            (
                ExportName::Fork(source.clone(), Some(job.clone())),
                Some((source, job)),
            )
        }
    };
    let place = Place::find(&export, context)?;
    let done = attach(args, &export, fork, &place, context);
    let stopped = place.stop();
    let exit = done?;
    stopped?;
    Ok(exit)
}

fn attach(
    args: &Args,
    export: &ExportName,
    fork: Option<(&Target, BranchName)>,
    place: &Place,
    context: &Context,
) -> Outcome {
    if let Some(Some(name)) = &args.keep {
        place.refuse_taken(context, name)?;
    }
    let served = place.served();
    let name = export.to_string();
    let option = match fork {
        Some(_) => hold::Option::Have,
        None => hold::Option::Look,
    };
    let held = hold::ask(Path::new(&served.socket), &name, &args.disk, option)?;
    if fork.is_none() {
        // The command is the client, and there is one at a time.
        drop(held.shutdown(std::net::Shutdown::Both));
    }
    let started = child::start(&args.command, &served.uri(&name));
    if let (Err(_), Some((_, job))) = (&started, &fork)
        && is_ours_alone(args, place)
    {
        // Nobody wrote to it, and its name is free for who tries again. What is left of it otherwise is in nobody's way.
        let _ = place.ask(context, Forget { job: job.clone() });
    }
    let exit = started?.wait()?;
    // From now on signals only end the question: they were the command's until it ended.
    interrupt::catch()?;
    if let Some((source, job)) = fork {
        match fate(args, source) {
            Fate::Keep(name) => {
                keep(place, context, source, &job, name)?;
                // What was written is a branch's now: nobody comes back for it by the job's name.
                place.ask(context, Forget { job })?;
            }
            Fate::Drop => {
                let forgotten = place.ask(context, Forget { job })?;
                // One of them is ours.
                let others = forgotten.connections.saturating_sub(1);
                match forgotten.kept {
                    Some(kept) => context.ui.say(format_args!(
                        "The fork of `{source}` was kept as `{kept}` meanwhile; it is not dropped"
                    )),
                    None if others > 0 => context.ui.say(format_args!(
                        "The fork of `{source}` goes when all who are attached to it have left"
                    )),
                    None => context.ui.say(format_args!("Dropped the fork of `{source}`")),
                }
            }
        }
        // Who names the job next begins anew.
        hold::leave(&held);
    }
    Ok(exit)
}

/// Tells whether nobody else can have the job of the fork.
fn is_ours_alone(args: &Args, place: &Place) -> bool {
    matches!(args.disk, ExportName::Fork(_, None)) || matches!(place, Place::Own(..))
}

/// Keeps the fork, if need be by another name: what the command wrote is not lost for a name.
fn keep(
    place: &Place,
    context: &Context,
    source: &Target,
    job: &BranchName,
    name: Option<BranchName>,
) -> Outcome<()> {
    let ask = |name| {
        let job = job.clone();
        place.ask(context, Keep { job, name })
    };
    let kept = match (ask(name.clone()), name) {
        (Err(error), Some(name))
            if error
                .failure()
                .is_some_and(|failure| failure.kind == Kind::Exists) =>
        {
            let kept = ask(None).map_err(|error| place.not_kept(error, source, job))?;
            context
                .ui
                .error(&format!("there is already a branch named `{name}`"));
            context
                .ui
                .hint(&format!("`tine rename {} NAME` gives it another name", kept.name));
            kept
        }
        (asked, _) => asked.map_err(|error| place.not_kept(error, source, job))?,
    };
    if context.ui.json {
        context.ui.object(&kept)?;
    }
    context
        .ui
        .say(format_args!("Kept the fork of `{source}` as `{}`", kept.name));
    Ok(())
}

/// Returns a name for a job that no other has.
fn own_job() -> Outcome<BranchName> {
    // Each of these has other keys.
    let random = RandomState::new().build_hasher().finish();
    Ok(format!("attach-{}-{random:016x}", std::process::id()).parse()?)
}

fn fate(args: &Args, source: &Target) -> Fate {
    if args.drop {
        return Fate::Drop;
    }
    if let Some(name) = &args.keep {
        return Fate::Keep(name.clone());
    }
    let Some(mut answers) = answers() else {
        return Fate::Keep(None);
    };
    loop {
        tell(format_args!("Keep the fork of `{source}`? [Y/n/NAME] "));
        let mut answer = String::new();
        // When nobody answers any more, or a signal comes instead, nothing is lost.
        if !answers.read_line(&mut answer).is_ok_and(|read| read > 0) {
            tell(format_args!("\n"));
            return Fate::Keep(None);
        }
        match answer.trim() {
            "" | "y" | "Y" | "yes" => return Fate::Keep(None),
            "n" | "N" | "no" => return Fate::Drop,
            name => match name.parse() {
                Ok(name) => return Fate::Keep(Some(name)),
                Err(error) => tell(format_args!("{error}\n")),
            },
        }
    }
}

/// Returns where answers come from, if somebody is there to be asked.
fn answers() -> Option<impl BufRead> {
    let input = io::stdin();
    if !input.is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    let input = File::from(input.as_fd().try_clone_to_owned().ok()?);
    Some(BufReader::new(Interruptible::new(input)))
}

/// Who serves the disk.
enum Place {
    /// A daemon that was there. Its store is held.
    Daemon(Served),
    /// This process, as long as the command runs; by a socket in a folder of its own.
    Own(Box<Serving>, TempDir),
}

impl Place {
    fn find(export: &ExportName, context: &Context) -> Outcome<Self> {
        match context.ask(Missing::Refuse, Status {}) {
            Ok(Served {
                only: Some(only),
                pid,
                ..
            }) => {
                return Err(CommandError::new(format!(
                    "`tine attach` has the store: process {pid} serves `{only}` alone"
                ))
                .hint(
                    "wait until its command ends; with `tine serve` any number of commands can be attached",
                ));
            }
            Ok(_) => {
                // It may be moved while the command runs: its daemon is asked in the end, not that of what took its place. So
                // whatever is known from here on is of what is held.
                context.hold_store()?;
                return Ok(Self::Daemon(context.ask(Missing::Refuse, Status {})?));
            }
            Err(error) if is_unserved(&error) => {}
            Err(error) => return Err(error),
        }
        let (store, path) = context.open_to_serve()?;
        // For its owner alone.
        let folder = tempfile::Builder::new()
            .prefix("tine-")
            .tempdir()
            .map_err(|error| {
                let within = std::env::temp_dir();
                CommandError::io(format_args!("make a directory in `{}`", within.display()), error)
                    .hint("TMPDIR names another place for what is there for a while")
            })?;
        let endpoints = Endpoints {
            store: path,
            socket: folder.path().join("nbd.sock"),
            control: None,
            listen: None,
            only: Some(export.clone()),
            short: super::runtime_folder(),
        };
        // Whoever has the socket is the command, or was started by it.
        let policy = Policy {
            shared: true,
            ..Policy::default()
        };
        super::serve::raise_descriptor_limit();
        let serving = super::serve::start(Daemon::with_policy(store, policy), &endpoints, context)?;
        Ok(Self::Own(Box::new(serving), folder))
    }

    fn served(&self) -> &Served {
        match self {
            Self::Daemon(served) => served,
            Self::Own(serving, _) => serving.served(),
        }
    }

    fn ask<R: Request>(&self, context: &Context, request: R) -> Outcome<R::Answer> {
        match self {
            Self::Daemon(_) => context.ask(Missing::Refuse, request),
            Self::Own(serving, _) => Ok(perform(request, serving.daemon())?),
        }
    }

    /// Fails if a branch has that name already: better before the command has worked for hours than after it.
    fn refuse_taken(&self, context: &Context, name: &BranchName) -> Outcome<()> {
        let target = Target::Branch(name.clone());
        match self.ask(context, Show { target }) {
            Ok(_) => {
                let error = CommandError::from(StoreError::BranchExists { name: name.clone() });
                Err(error.hint("choose another name for the fork; nothing was run"))
            }
            Err(error)
                if error
                    .failure()
                    .is_some_and(|failure| failure.kind == Kind::NotFound) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Adds to the error of keeping a fork what becomes of that.
    fn not_kept(&self, error: CommandError, source: &Target, job: &BranchName) -> CommandError {
        let kind = error.failure().map(|failure| failure.kind);
        match (self, kind) {
            (Self::Own(..), _) => error.hint_more("the fork is lost, with all that was written to it"),
            (Self::Daemon(_), Some(Kind::NotFound)) => CommandError::new(format!(
                "the fork of `{source}` went with the daemon that had it, and all that was written to it"
            ))
            .hint("what is to outlive a daemon is written to a branch: `tine fork`, then `tine attach`"),
            (Self::Daemon(_), _) => error.hint_more(format!(
                "as long as its daemon has the fork, `tine keep {job}` keeps it"
            )),
        }
    }

    fn stop(self) -> Outcome<()> {
        if let Self::Own(serving, _folder) = self {
            serving.stop(GRACE)?;
        }
        Ok(())
    }
}

/// Tells whether the answer was that nobody serves the store.
fn is_unserved(error: &CommandError) -> bool {
    let of_kind = |failure: &Failure| failure.kind == Kind::NotFound && failure.message == api::NOT_SERVED;
    error.failure().is_some_and(of_kind)
}
