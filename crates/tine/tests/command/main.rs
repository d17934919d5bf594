//! Goal: what a person or a script sees is what was meant, word for word.
//! Method: the real binary, its standard output, standard error and exit status as one snapshot, with times, places
//! and process ids filtered.

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

mod bad_input;
mod bytes;
mod damage;
mod defrag;
mod documents;
mod export;
mod freeze;
mod help;
mod losing;
mod names;
mod process;
mod story;
