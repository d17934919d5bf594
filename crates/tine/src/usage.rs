//! What is wrong with a command line, in the words of every other error: what, the remedy, the near name.
//!
//! The parser finds the errors; only how they read is decided here. What this does not know keeps the parser's words.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use crate::args::Refused;
use crate::cli::Cli;
use crate::near::near_command;
use crate::stdout;
use crate::ui::{Ui, output_failed};

/// Prints the help that was asked for, or what is wrong; returns the exit status.
pub(crate) fn report(error: &Error, ui: &Ui) -> ExitCode {
    if !error.use_stderr() {
        let printed = stdout::check()
            .and_then(|()| error.print())
            .and_then(|()| std::io::stdout().flush());
        return printed.map_or_else(|error| output_failed(error).report(ui), |()| ExitCode::SUCCESS);
    }
    match error.kind() {
        // The help stands in for the command that is missing.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell when standard error is gone.
            let _ = error.print();
        }
        _ => {
            let Wrong { message, hint, usage } = Wrong::new(error);
            ui.error(&message);
            if let Some(usage) = usage {
                ui.usage(&usage);
            }
            ui.hint(&hint);
        }
    }
    ExitCode::from(2)
}

struct Wrong {
    message: String,
    hint: String,
    usage: Option<String>,
}

impl Wrong {
    fn new(error: &Error) -> Self {
        let usage = text(error, ContextKind::Usage);
        let command = &match &usage {
            Some(usage) => called(usage).to_owned(),
            None => typed(std::env::args_os().skip(1)),
        };
        let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
        let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
        let help = format!("`{command} --help` tells more");
        let with_usage = |message: String, hint: String| Self {
            message,
            hint,
            usage: usage.clone(),
        };
        let without_usage = |message: String, hint: String| Self {
            message,
            hint,
            usage: None,
        };
        match error.kind() {
            ErrorKind::InvalidSubcommand => {
                let name = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
                let (message, hint) = unknown_command(&name);
                without_usage(message, hint)
            }
            ErrorKind::UnknownArgument => unknown_argument(error, command, &argument, usage.clone()),
            ErrorKind::MissingRequiredArgument => {
                let missing = strings(error, ContextKind::InvalidArg).join(" and ");
                with_usage(format!("`{command}` needs {missing}"), help)
            }
            ErrorKind::ValueValidation => {
                match error.source().and_then(|source| source.downcast_ref::<Refused>()) {
                    Some(refused) if argument.starts_with('-') => without_usage(
                        format!("`{}`: {refused}", option_alone(&argument)),
                        refused.hint.clone().unwrap_or(help),
                    ),
                    Some(refused) => without_usage(refused.to_string(), refused.hint.clone().unwrap_or(help)),
                    None => with_usage(plain(error), help),
                }
            }
            ErrorKind::InvalidValue if value.is_empty() => {
                without_usage(format!("`{}` needs a value", option_alone(&argument)), help)
            }
            ErrorKind::InvalidValue => {
                let choice = strings(error, ContextKind::ValidValue).join(", ");
                let near = text(error, ContextKind::SuggestedValue)
                    .map_or_else(String::new, |near| format!("did you mean `{near}`? "));
                without_usage(
                    format!("`{value}` will not do for {argument}"),
                    format!("{near}it is one of {choice}"),
                )
            }
            ErrorKind::ArgumentConflict => {
                let other = strings(error, ContextKind::PriorArg).join(" and ");
                let message = if other.is_empty() || other == argument {
                    format!("`{argument}` is given more than once")
                } else {
                    format!("`{argument}` does not go together with `{other}`")
                };
                without_usage(message, help)
            }
            ErrorKind::MissingSubcommand => with_usage(
                "no command is given".into(),
                "`tine help` shows all commands".into(),
            ),
            _ => with_usage(plain(error), help),
        }
    }
}

/// Says that there is no such command, and which could have been meant.
pub(crate) fn unknown_command(name: &str) -> (String, String) {
    let mut hint = String::new();
    if let Some(near) = near_command(name) {
        let _ = write!(hint, "did you mean `{near}`? ");
    }
    hint.push_str("`tine help` shows all commands");
    (format!("no command named `{name}`"), hint)
}

fn unknown_argument(error: &Error, command: &str, argument: &str, usage: Option<String>) -> Wrong {
    if !argument.starts_with('-') {
        return Wrong {
            message: format!("`{command}` does not know what to do with `{argument}`"),
            hint: format!("`{command} --help` tells what it takes"),
            usage,
        };
    }
    let near = text(error, ContextKind::SuggestedArg);
    let remark = match near {
        Some(near) => format!("did you mean `{near}`? "),
        None if argument[1..].starts_with(|c: char| c.is_ascii_digit()) => {
            "nothing is less than 0 here; ".into()
        }
        None => String::new(),
    };
    Wrong {
        message: format!("`{command}` has no option `{argument}`"),
        hint: format!("{remark}`{command} --help` shows all"),
        usage: None,
    }
}

/// Returns the command of a usage line: `tine fork`, or `tine` where none was reached.
fn called(usage: &str) -> &str {
    let words = usage.strip_prefix("Usage: ").unwrap_or(usage);
    let ends = words.find([' ', '\n']).map_or(words.len(), |first| {
        let rest = &words[first + 1..];
        let second = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
        first + if second == 0 { 0 } else { 1 + second }
    });
    &words[..ends]
}

/// Returns the command among words as they were typed: the first that is one.
fn typed(words: impl Iterator<Item = OsString>) -> String {
    let tine = Cli::command();
    words
        .filter_map(|word| word.into_string().ok())
        .find(|word| tine.find_subcommand(word).is_some())
        .map_or_else(|| "tine".to_owned(), |command| format!("tine {command}"))
}

/// Leaves out what the option takes: `--count <N>` is `--count`.
fn option_alone(argument: &str) -> &str {
    argument.split(' ').next().unwrap_or(argument)
}

/// Returns the parser's own words, without its label and its advice.
fn plain(error: &Error) -> String {
    let words = error.to_string();
    let words = words.lines().next().unwrap_or_default();
    words.strip_prefix("error: ").unwrap_or(words).to_owned()
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::StyledStr(text) => Some(text.to_string()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

fn strings(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::String(text)) => vec![text.clone()],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_where_it_was_typed() {
        let typed = |line: &str| typed(line.split(' ').map(OsString::from));
        assert_eq!(typed("--quiet fork golden --count 0"), "tine fork");
        assert_eq!(typed("--quiet"), "tine");
    }

    #[test]
    fn a_usage_line_tells_which_command_it_is_of() {
        assert_eq!(called("Usage: tine fork [OPTIONS] <SOURCE>"), "tine fork");
        assert_eq!(called("Usage: tine fork --count <N> <SOURCE>"), "tine fork");
        assert_eq!(called("Usage: tine [OPTIONS] <COMMAND>"), "tine");
        assert_eq!(called("Usage: tine --json <COMMAND>"), "tine");
        assert_eq!(called("Usage: tine demo"), "tine demo");
    }
}
