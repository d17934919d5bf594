//! `tine demo`: the whole house in half a minute.
//!
//! The demo types what a user would: every step is this very binary as a process of its own, in a store of its own.
//! Where nbdcopy or qemu-io is installed, a part of it goes through a daemon and these clients.
//!
//! **Invariant:** all it makes is in one temporary directory, removed when the demo ends, also by Ctrl-C.

mod disk;
mod served;
mod stage;

use std::time::Instant;

use disk::Disk;
use served::Served;
use stage::{Show, Stage};

use crate::args;
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::interrupt;

/// Shows tine at work on a disk with a thousand forks
///
/// A disk goes in, is forked, written, compared, served, rolled back, exported, and everything is proved right. Works in a
/// temporary directory and removes it at the end. The disk is an ext4 file system where e2fsprogs is installed; e2fsck
/// judges what comes out.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine demo --forks 10000")]
pub(crate) struct Args {
    /// How many forks to make, 3 to 50000
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = args::number_in(3..=50_000))]
    forks: u32,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    interrupt::catch()?;
    let started = Instant::now();
    let stage = Stage::new(&context.ui)?;
    stage.remark(format_args!(
        "All of this happens in {} and is removed at the end.",
        stage.folder().display()
    ))?;
    play(args, &stage)?;
    let folder = stage.folder().to_owned();
    stage.clear()?;
    context.ui.line(format_args!(
        "\nEverything held. Removed {}; {:.1} s in all.",
        folder.display(),
        started.elapsed().as_secs_f64()
    ))?;
    Ok(Exit::Done)
}

fn play(args: &Args, stage: &Stage<'_>) -> Outcome<()> {
    stage.scene("A disk goes in.")?;
    let disk = Disk::make(stage)?;
    stage.tine(&["import", "golden.img", "golden"], Show::All)?;

    stage.scene("Forks of it, each a disk of its own that costs nothing until it is written.")?;
    stage.tine(
        &["fork", "golden", "--count", &args.forks.to_string(), "job"],
        Show::Lines(2),
    )?;

    stage.scene(
        "Some of them go their own way: one is edited, one is wrecked, one takes a snapshot on its way.",
    )?;
    disk.edit(stage, "job-1")?;
    stage.tine_with(
        disk::garbage(),
        "head -c 1M /dev/urandom",
        &["write", "job-2"],
        Show::All,
    )?;
    stage.tine_with(
        disk::garbage(),
        "head -c 1M /dev/urandom",
        &["write", "job-3", "--offset", "8MiB"],
        Show::All,
    )?;
    stage.tine(&["snapshot", "job-3@halfway"], Show::All)?;
    stage.tine_with(
        vec![b'!'; 4096],
        "head -c 4k /dev/zero | tr '\\0' '!'",
        &["write", "job-3", "--offset", "12MiB"],
        Show::All,
    )?;

    stage.scene("What there is now. WRITTEN is exact: what was written since the fork or the snapshot.")?;
    stage.tine(&["ls"], Show::Lines(7))?;
    stage.tine(&["tree"], Show::Lines(7))?;
    stage.tine(&["diff", "golden", "job-1"], Show::All)?;
    stage.tine(&["diff", "golden", "job-3", "--stat"], Show::All)?;
    stage.tine(&["show", "job-3"], Show::All)?;

    let served = Served::start(stage)?;

    stage.scene("The wrecked one is rolled back, and is the golden disk again, byte for byte.")?;
    stage.tine(&["rollback", "job-2", "--yes"], Show::All)?;
    stage.tine(&["export", "job-2", "job-2.img"], Show::All)?;
    stage.compare("golden.img", "job-2.img")?;
    disk.judge(stage, "job-2.img")?;

    stage.scene("The edited one has its edit; a fork that nobody touched, and the golden disk, have not.")?;
    stage.tine(&["export", "job-1", "job-1.img"], Show::All)?;
    disk.judge(stage, "job-1.img")?;
    disk.look_for_edit(stage, "job-1", "job-1.img")?;
    if let Some(served) = &served {
        served.copy_out(stage, "job-1", "job-1.img")?;
    }
    let last = format!("job-{}", args.forks);
    let last_image = format!("{last}.img");
    stage.tine(&["export", &last, &last_image], Show::All)?;
    stage.compare("golden.img", &last_image)?;
    stage.tine(&["export", "golden", "golden-again.img"], Show::All)?;
    stage.compare("golden.img", "golden-again.img")?;

    if let Some(served) = served {
        stage.scene("The daemon ends well.")?;
        served.stop(stage)?;
    }

    stage.scene("And the store is whole: every block's checksum is right.")?;
    stage.tine(&["check", "--data"], Show::All)?;
    disk.name_what_is_missing(stage)
}

/// Returns the error of a demo that did not show what it should: a defect of tine's.
fn broken(what: impl std::fmt::Display) -> CommandError {
    CommandError::new(format!("the demo went wrong: {what}"))
        .hint("this is a defect of tine; please report it")
}
