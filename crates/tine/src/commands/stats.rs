//! `tine stats`: the store in numbers, and who uses its disks.

use serde_json::Value;
use tine_server::api::{AttachedClient, Job, Stats};
use tine_server::words::{count, human};

use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};
use crate::text::{columns, when};

/// Shows the store in numbers
///
/// While it is served, also the clients that are attached to disks, and the throwaway forks that jobs have.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  tine stats
  tine stats --json | jq .journal.bytes")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Outcome {
    let stats = context.ask(Missing::Refuse, Stats {})?;
    if context.ui.json {
        context.ui.object(&stats)?;
        return Ok(Exit::Done);
    }
    let groups = serde_json::to_value(&stats.store)
        .map_err(|error| CommandError::io("write statistics", error.into()))?;
    show(context, &groups, "", "")?;
    let clients: Vec<_> = stats.clients.iter().map(of_client).collect();
    let jobs: Vec<_> = stats.jobs.iter().map(of_job).collect();
    for (heading, rows) in [("clients", &clients), ("jobs", &jobs)] {
        if !rows.is_empty() {
            context.ui.heading(heading)?;
        }
        for line in columns(rows, &[]) {
            context.ui.line(line)?;
        }
    }
    Ok(Exit::Done)
}

fn of_client(client: &AttachedClient) -> [String; 4] {
    let who = match (&client.address, client.pid, &client.command) {
        (Some(address), ..) => address.clone(),
        (None, Some(pid), Some(command)) => format!("process {pid} (`{command}`)"),
        (None, Some(pid), None) => format!("process {pid}"),
        (None, None, _) => "unknown".to_owned(),
    };
    [
        match &client.disk {
            Some(now) => format!("  {} (now {now})", client.export),
            None => format!("  {}", client.export),
        },
        if client.writes { "writes" } else { "reads" }.to_owned(),
        who,
        format!(
            "{} since {}",
            count(client.connections, "connection"),
            when(client.since)
        ),
    ]
}

fn of_job(job: &Job) -> [String; 4] {
    let fate = match (&job.kept, job.forgotten_in) {
        (Some(kept), _) => format!("kept as `{kept}`"),
        (None, Some(milliseconds)) => format!("dropped in {} s", milliseconds.div_ceil(1000)),
        (None, None) => String::new(),
    };
    [
        format!("  {}", job.job),
        format!("fork of {}", job.source),
        count(job.connections, "connection"),
        fate,
    ]
}

/// Shows a group of numbers, then the groups in it.
fn show(context: &Context, group: &Value, of: &str, indent: &str) -> Outcome<()> {
    let Value::Object(fields) = group else {
        return Ok(());
    };
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_object()) {
        let words = name.replace('_', " ");
        match value.as_u64() {
            Some(bytes) if is_bytes(of, name) => {
                context
                    .ui
                    .line(format_args!("{indent}{words:<20} {:>12}", human(bytes)))?;
            }
            Some(microseconds) if name == "held_back" => context
                .ui
                .line(format_args!("{indent}{words:<20} {:>9} ms", microseconds / 1000))?,
            _ => context
                .ui
                .line(format_args!("{indent}{words:<20} {:>12}", value.to_string()))?,
        }
    }
    for (name, value) in fields.iter().filter(|(_, value)| value.is_object()) {
        context.ui.heading(format_args!("{indent}{name}"))?;
        show(context, value, name, &format!("{indent}  "))?;
    }
    Ok(())
}

/// The numbers that are bytes; the others count things.
fn is_bytes(group: &str, name: &str) -> bool {
    match name {
        "soft" | "hard" => group != "descriptors",
        "live" | "used" | "written" | "free" | "user_written" | "medium_written" => true,
        _ => name.ends_with("bytes"),
    }
}
