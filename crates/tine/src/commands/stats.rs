//! `tine stats`: the store in numbers.

use serde_json::Value;
use tine_server::api::Stats;
use tine_server::words::human;

use crate::context::{Context, Missing};
use crate::error::{CommandError, Exit, Outcome};

/// Shows the store in numbers
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
    let groups =
        serde_json::to_value(&stats).map_err(|error| CommandError::io("write statistics", error.into()))?;
    show(context, &groups, "", "")?;
    Ok(Exit::Done)
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
