//! `tine serve`: every branch as a disk that NBD clients attach by name.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tine_server::words::{count, list};
use tine_server::{Daemon, Endpoints, Policy, Serving, Stopped};

use crate::args::{self, Refused};
use crate::context::Context;
use crate::error::{CommandError, Exit, Outcome};
use crate::{idle_memory, signals};

/// What is in flight when the daemon is told to end has so long to finish.
const GRACE: Duration = Duration::from_secs(10);

/// Serves every branch as a disk to NBD clients
///
/// QEMU, libvirt, nbdcopy, fio, the kernel's nbd client and all others attach a disk by its name, as
/// nbd+unix:///NAME?socket=PATH: a branch, a snapshot `NAME@SNAPSHOT` (read-only), or a throwaway fork: `NAME+fork` for
/// one connection, `NAME+fork=JOB` for all that name the job. All other commands go through the daemon while it runs. It
/// ends well by Ctrl-C or SIGTERM.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine serve
  tine serve --socket /run/tine/nbd.sock --control /run/tine/control.sock
  tine serve --listen 127.0.0.1:10809 --insecure-loopback
  qemu-img info 'nbd+unix:///golden+fork?socket=/var/lib/tine/nbd.sock'")]
pub(crate) struct Args {
    /// The socket for NBD [default: nbd.sock in the store]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The socket for commands [default: control.sock in the store]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Serves NBD by TCP, too; only on loopback so far
    #[arg(long, value_name = "ADDR", value_parser = loopback, requires = "insecure_loopback")]
    listen: Option<SocketAddr>,
    /// Lets any user of this machine connect by TCP
    ///
    /// TCP without TLS is neither encrypted nor does it tell who connects.
    #[arg(long)]
    insecure_loopback: bool,
    /// Lets several clients write to one disk
    ///
    /// Without it a second one is refused: two file systems on one disk destroy it. Connections of one process are one client.
    #[arg(long)]
    shared: bool,
    /// How long the fork of a job stays after its last connection
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = args::number_in(0..=1_000_000))]
    linger: u32,
}

#[derive(Serialize)]
struct Announced<'a> {
    #[serde(flatten)]
    served: &'a tine_server::api::Served,
    uri: String,
}

pub(crate) fn run(args: &Args, context: &Context) -> Outcome {
    // Before anybody is told that it is there.
    let mut signals = Signals::new(signals::catchable(&[SIGINT, SIGTERM, SIGHUP]))
        .map_err(|error| CommandError::io("catch signals", error))?;
    raise_descriptor_limit();
    let (store, path) = context.open_to_serve()?;
    let policy = Policy {
        shared: args.shared,
        linger: Duration::from_secs(args.linger.into()),
    };
    let endpoints = Endpoints {
        socket: args.socket.clone().unwrap_or_else(|| path.join("nbd.sock")),
        store: path,
        control: args.control.clone(),
        listen: args.listen,
        only: None,
        short: super::runtime_folder(),
    };
    let serving = start(Daemon::with_policy(store, policy), &endpoints, context)?;
    announce(&serving, context)?;
    // Blocks until somebody wants it to end.
    thread::scope(|scope| {
        let (_running, ended) = mpsc::channel();
        let daemon = serving.daemon();
        scope.spawn(move || idle_memory::give_back(daemon, &ended));
        signals.forever().next();
    });
    thread::spawn(move || {
        // Who asks twice does not want to wait.
        if let Some(signal) = signals.forever().next() {
            process::exit(128 + signal);
        }
    });
    context.ui.say("Stopping: what is in flight finishes");
    context.ui.say(in_words(&serving.stop(GRACE)?));
    Ok(Exit::Done)
}

/// Says how it ended: what is saved, and what is not.
fn in_words(stopped: &Stopped) -> String {
    let mut words = String::from(if stopped.in_time {
        "Stopped; everything is saved"
    } else {
        "Stopped; requests that took too long were cut off, everything that was answered is saved"
    });
    let mut gone = Vec::new();
    match stopped.jobs.as_slice() {
        [] => {}
        [job] => gone.push(format!("of the job `{job}`")),
        jobs => gone.push(format!("of the jobs {}", list(jobs))),
    }
    if stopped.forks > 0 {
        gone.push(format!("of {}", count(stopped.forks, "connection")));
    }
    if !gone.is_empty() {
        let forks = stopped.jobs.len() as u64 + stopped.forks;
        words.push_str(", but for the throwaway ");
        words.push_str(if forks == 1 { "fork " } else { "forks " });
        words.push_str(&gone.join(" and "));
    }
    words
}

/// Allows as many descriptors as there may be: each connection has one, and each segment that is read.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it is refused, fewer clients fit.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    );
}

/// Serves a store, or closes it. Warns of what is less than it should be.
pub(super) fn start(daemon: Daemon, endpoints: &Endpoints, context: &Context) -> Outcome<Serving> {
    let store = daemon.store().clone();
    let serving = Serving::start(daemon, endpoints).map_err(|error| {
        // The error that was first is the one to tell.
        let _ = store.close();
        CommandError::io(error.what, error.source)
    })?;
    if let Some(warning) = serving.warning() {
        context.ui.warning(&warning.message);
        if let Some(hint) = &warning.hint {
            context.ui.hint(hint);
        }
    }
    Ok(serving)
}

fn announce(serving: &Serving, context: &Context) -> Outcome<()> {
    let served = serving.served();
    let uri = served.uri("NAME");
    if context.ui.json {
        context.ui.object(&Announced { served, uri })?;
        return context.ui.finish();
    }
    let also = match &served.listen {
        Some(address) => format!(" and nbd://{address}/NAME"),
        None => String::new(),
    };
    context
        .ui
        .say(format_args!("Serving `{}` at {uri}{also}", served.store));
    Ok(())
}

/// Reads an address of this machine's own.
fn loopback(text: &str) -> Result<SocketAddr, Refused> {
    const LIKE: &str = "an address is like 127.0.0.1:10809";
    let first = text.to_socket_addrs().ok().and_then(|mut found| found.next());
    match first {
        Some(address) if address.ip().is_loopback() => Ok(address),
        Some(_) => Err(Refused::new(
            format!(
                "`{text}` is no address of loopback, and without TLS, which comes later, no other is served"
            ),
            LIKE,
        )),
        None => Err(Refused::new(format!("`{text}` is no address with a port"), LIKE)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Stopped, in_words, loopback};

    #[test]
    fn what_is_not_saved_is_said() {
        let said = |in_time, jobs: &[&str], forks| {
            let jobs = jobs.iter().map(|job| job.parse().unwrap()).collect();
            in_words(&Stopped { in_time, jobs, forks })
        };
        assert_eq!(said(true, &[], 0), "Stopped; everything is saved");
        assert_eq!(
            said(true, &["a"], 0),
            "Stopped; everything is saved, but for the throwaway fork of the job `a`"
        );
        assert_eq!(
            said(true, &["a", "b"], 1),
            "Stopped; everything is saved, but for the throwaway forks of the jobs `a` and `b` and of 1 connection"
        );
        assert!(said(false, &[], 2).ends_with("is saved, but for the throwaway forks of 2 connections"));
    }

    #[test]
    fn only_this_machine_is_listened_to() {
        for good in ["127.0.0.1:10809", "[::1]:0", "127.8.8.8:1"] {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in [
            "0.0.0.0:10809",
            "[::]:10809",
            "192.0.2.1:10809",
            "127.0.0.1",
            "10809",
            "",
        ] {
            assert!(loopback(bad).is_err(), "{bad}");
        }
    }
}
