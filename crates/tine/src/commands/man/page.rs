//! A manual page from a command's own help, in the macros of man(7).
//!
//! **Invariant:** a page is ASCII, and no line of text begins with what roff takes for a request.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// What all commands look at, and what becomes of it.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("TINE_STORE", "The store, where `--store` does not name one."),
    (
        "XDG_DATA_HOME",
        "The user's data directory: the store is `tine/store` in it, where neither `--store` nor TINE_STORE names one. \
         `~/.local/share` where it is not set.",
    ),
    ("HOME", "The user's home, for the directory above."),
    (
        "TMPDIR",
        "Where `tine import DIR` and `tine demo` make their images. Without it an import makes them beside the store, \
         and the demo in `/tmp`.",
    ),
    (
        "NO_COLOR",
        "No colours, whatever it is set to, if not to nothing. There are none either off a terminal, or where TERM is `dumb`.",
    ),
    ("CLICOLOR_FORCE", "Colours off a terminal, too."),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "Whether `tine tree` may draw its lines with characters beyond ASCII.",
    ),
];

const FILES: [(&str, &str); 2] = [
    (
        "~/.local/share/tine/store",
        "The user's own store, made at first use. A store is a directory that tine alone writes to; a copy of it made \
         while no process has it open is a store, too.",
    ),
    (
        "FILE.partial",
        "An image in the making, beside the FILE of `tine export`; a killed export leaves it behind.",
    ),
];

const EXIT_STATUS: [(&str, &str); 4] = [
    ("0", "Done."),
    (
        "1",
        "The two differ (`diff --exit-code`), or damage was found (`check`).",
    ),
    (
        "2",
        "An error: it is told on standard error, with the remedy where one is known.",
    ),
    ("130", "Interrupted by Ctrl-C; 143 by SIGTERM, 129 by SIGHUP."),
];

/// Returns the page of `tine` itself.
pub(super) fn of_all(tine: &Command) -> String {
    let mut page = begin("tine", tine);
    heading(&mut page, "SYNOPSIS");
    page.push_str(".B tine\n[\\fIOPTIONS\\fR] \\fICOMMAND\\fR [\\fIARGUMENTS\\fR]\n");
    description(&mut page, tine);
    heading(&mut page, "COMMANDS");
    for command in tine.get_subcommands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        tagged(
            &mut page,
            &format!("\\fBtine\\-{}\\fR(1)", roff(command.get_name())),
            &about,
        );
    }
    options(&mut page, "OPTIONS", tine.get_arguments());
    end(&mut page, tine);
    heading(&mut page, "SEE ALSO");
    page.push_str("\\fBtine demo\\fR shows all of it at work.\n");
    page
}

/// Returns the page of one command.
pub(super) fn of_command(command: &Command) -> String {
    let name = command.get_name();
    let mut page = begin(&format!("tine-{name}"), command);
    heading(&mut page, "SYNOPSIS");
    page.push_str(&synopsis(command));
    description(&mut page, command);
    let (shared, own): (Vec<_>, Vec<_>) = command.get_arguments().partition(|arg| arg.is_global_set());
    let (positional, named): (Vec<_>, Vec<_>) = own.into_iter().partition(|arg| arg.is_positional());
    options(&mut page, "OPTIONS", positional.into_iter().chain(named));
    options(&mut page, "GLOBAL OPTIONS", shared.into_iter());
    end(&mut page, command);
    heading(&mut page, "SEE ALSO");
    page.push_str("\\fBtine\\fR(1)\n");
    page
}

fn begin(name: &str, command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut page = format!(
        ".TH {} 1 \"\" \"tine {}\" \"User Commands\"\n.nh\n.ad l\n",
        roff(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION")
    );
    heading(&mut page, "NAME");
    let _ = writeln!(page, "{} \\- {}", roff(name), roff(&begin_small(&about)));
    page
}

/// The usual form of a NAME line: no capital, no full stop.
fn begin_small(about: &str) -> String {
    let mut letters = about.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first
        .into_iter()
        .chain(letters)
        .collect::<String>()
        .trim_end_matches('.')
        .to_owned()
}

fn heading(page: &mut String, text: &str) {
    let _ = writeln!(page, ".SH {text}");
}

/// Writes a paragraph that hangs on a tag, which is roff already.
fn tagged(page: &mut String, tag: &str, text: &str) {
    let _ = writeln!(page, ".TP\n{tag}\n{}", paragraphs(text));
}

/// Returns text as filled paragraphs; within a tagged one they stay indented.
fn paragraphs(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| roff(&paragraph.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    paragraphs.join("\n.sp\n")
}

fn synopsis(command: &Command) -> String {
    let mut line = format!(".B tine {}\n", roff(command.get_name()));
    let own = || {
        command
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && arg.get_id() != "help")
    };
    for arg in own().filter(|arg| !arg.is_positional()) {
        let _ = writeln!(line, "[{}]", option_words(arg, "|"));
    }
    line.push_str("[\\fIGLOBAL OPTIONS\\fR]\n");
    for arg in own().filter(|arg| arg.is_positional()) {
        let many = if matches!(arg.get_action(), ArgAction::Append) {
            "..."
        } else {
            ""
        };
        let value = value_words(arg);
        let _ = if arg.is_required_set() {
            writeln!(line, "{value}{many}")
        } else {
            writeln!(line, "[{value}{many}]")
        };
    }
    line
}

/// Writes an option as it is typed: `-q`, `--quiet`, `--count N`.
fn option_words(arg: &Arg, between: &str) -> String {
    let short = arg.get_short().map(|short| format!("\\fB\\-{short}\\fR"));
    let long = arg.get_long().map(|long| format!("\\fB\\-\\-{}\\fR", roff(long)));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let mut words = names.join(between);
    if matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        let _ = write!(words, " {}", value_words(arg));
    }
    words
}

fn value_words(arg: &Arg) -> String {
    let names: Vec<String> = match arg.get_value_names() {
        Some(names) => names.iter().map(|name| roff(name)).collect(),
        None => vec![roff(&arg.get_id().as_str().to_uppercase())],
    };
    format!("\\fI{}\\fR", names.join(" "))
}

fn description(page: &mut String, command: &Command) {
    heading(page, "DESCRIPTION");
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let all = command
        .get_long_about()
        .map_or(about.clone(), ToString::to_string);
    // The long text opens with the short one, which lacks a full stop.
    let rest = all.strip_prefix(&about).unwrap_or(&all).trim();
    let _ = writeln!(page, "{}.", roff(about.trim_end_matches('.')));
    if !rest.is_empty() {
        let _ = writeln!(page, ".PP\n{}", paragraphs(rest));
    }
}

fn options<'a>(page: &mut String, title: &str, args: impl Iterator<Item = &'a Arg>) {
    let mut begun = false;
    for arg in args {
        if !begun {
            heading(page, title);
            begun = true;
        }
        let tag = if arg.is_positional() {
            value_words(arg)
        } else {
            option_words(arg, ", ")
        };
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string);
        let mut help = match arg.get_id().as_str() {
            // The parser's own words are about its two lengths of help.
            "help" => "Prints a help text: `-h` a short one, `--help` a long one".to_owned(),
            "version" => "Prints the version".to_owned(),
            _ => help.unwrap_or_default(),
        };
        let choice: Vec<String> = arg
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && matches!(arg.get_action(), ArgAction::Set))
            .map(|value| value.get_name().to_owned())
            .collect();
        if !choice.is_empty() {
            let _ = write!(help, ": {}", choice.join(", "));
        }
        let default: Vec<_> = arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy())
            .collect();
        if !default.is_empty() && matches!(arg.get_action(), ArgAction::Set) {
            let _ = write!(help, " [default: {}]", default.join(" "));
        }
        tagged(page, &tag, &help);
    }
}

/// Writes what every page ends with: the examples, and what all commands have in common.
fn end(page: &mut String, command: &Command) {
    let after = command
        .get_after_long_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut examples = Vec::new();
    let mut notes = Vec::new();
    for part in after.split("\n\n") {
        match part
            .strip_prefix("Examples:\n")
            .or_else(|| part.strip_prefix("Example:\n"))
        {
            Some(lines) => examples.extend(lines.lines().map(|line| line.strip_prefix("  ").unwrap_or(line))),
            // It has a section of its own.
            None if part.starts_with("Exit status:") => {}
            None => notes.push(part),
        }
    }
    if !notes.is_empty() {
        heading(page, "NOTES");
        let _ = writeln!(page, "{}", paragraphs(&notes.join("\n\n")));
    }
    if !examples.is_empty() {
        heading(page, "EXAMPLES");
        page.push_str(".nf\n");
        for line in examples {
            let _ = writeln!(page, "{}", roff(line));
        }
        page.push_str(".fi\n");
    }
    heading(page, "EXIT STATUS");
    for (status, meaning) in EXIT_STATUS {
        tagged(page, &format!("\\fB{status}\\fR"), meaning);
    }
    heading(page, "ENVIRONMENT");
    for (name, meaning) in ENVIRONMENT {
        tagged(page, &format!("\\fB{}\\fR", roff(name)), meaning);
    }
    heading(page, "FILES");
    for (file, meaning) in FILES {
        tagged(page, &format!("\\fI{}\\fR", roff(file)), meaning);
    }
}

/// Writes text so that roff shows it as it is; what stands between backticks becomes bold.
fn roff(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut bold = false;
    for c in text.chars() {
        match c {
            '`' => {
                bold = !bold;
                out.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    if bold {
        out.push_str("\\fR");
    }
    if out.starts_with('.') {
        out.insert_str(0, "\\&");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_as_it_is() {
        assert_eq!(roff("a-b `tine ls` c:\\"), "a\\-b \\fBtine ls\\fR c:\\e");
        assert_eq!(roff(".dot 'quote' …"), "\\&.dot \\(aqquote\\(aq \\[u2026]");
        assert_eq!(roff("an odd ` one"), "an odd \\fB one\\fR");
    }

    #[test]
    fn every_page_has_every_section_and_is_ascii() {
        let tine = super::super::whole();
        let pages = tine
            .get_subcommands()
            .map(|command| (command.get_name(), of_command(command)));
        for (name, page) in pages.chain([("tine", of_all(&tine))]) {
            for section in [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "EXAMPLES",
                "EXIT STATUS",
                "ENVIRONMENT",
                "FILES",
                "SEE ALSO",
            ] {
                let heading = format!("\n.SH {section}\n");
                assert_eq!(page.matches(&heading).count(), 1, "{name}: {section}");
            }
            assert!(page.is_ascii(), "{name}");
            assert!(!page.contains('`'), "{name}");
        }
    }

    #[test]
    fn a_synopsis_shows_what_a_command_takes() {
        let tine = super::super::whole();
        let fork = tine.find_subcommand("fork").unwrap();
        assert_eq!(
            synopsis(fork),
            ".B tine fork\n[\\fB\\-\\-count\\fR \\fIN\\fR]\n[\\fB\\-\\-freeze\\-hook\\fR \\fICMD\\fR]\n[\\fIGLOBAL OPTIONS\\fR]\n\\fISOURCE\\fR\n[\\fINAME\\fR]\n"
        );
        let drop = tine.find_subcommand("drop").unwrap();
        assert!(
            synopsis(drop).ends_with("\\fINAME[@SNAP]\\fR...\n"),
            "{}",
            synopsis(drop)
        );
    }
}
