//! Goal: with a daemon everything is as it is without, word for word.
//! Method: the tests of `command`, their snapshots included, on stores that are served; but for those of what only a
//! command without a daemon does.

#[path = "../common/mod.rs"]
mod common;

/// Compares what a step printed with the snapshot beside it.
macro_rules! prints {
    ($bench:expr, $($line:expr),+ ; @$expected:literal) => {{
        let mut printed = String::new();
        $(printed.push_str(&$bench.session($line));)+
        insta::with_settings!({ filters => vec![
            (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\dZ?", "[time]"),
            (r"in \d+\.\d s\b", "in [seconds]"),
            (r"process \d+", "process [pid]"),
            (r"\d+ frames?", "[n] frames"),
            (r#""frames":\d+"#, r#""frames":[n]"#),
            (r"segments/[0-9a-f-]+", "segments/[id]"),
            (r"checksum (is )?[0-9a-f]{8}, not [0-9a-f]{8}", "checksum ${1}[this], not [that]"),
        ] }, { insta::assert_snapshot!(printed, @$expected) });
    }};
}

#[path = "../command/bad_input.rs"]
mod bad_input;
#[path = "../command/bytes.rs"]
mod bytes;
#[path = "../command/damage.rs"]
mod damage;
#[path = "../command/defrag.rs"]
mod defrag;
#[path = "../command/documents.rs"]
mod documents;
#[path = "../command/export.rs"]
mod export;
#[path = "../command/freeze.rs"]
mod freeze;
#[path = "../command/losing.rs"]
mod losing;
#[path = "../command/names.rs"]
mod names;
#[path = "../command/process.rs"]
mod process;
#[path = "../command/story.rs"]
mod story;
