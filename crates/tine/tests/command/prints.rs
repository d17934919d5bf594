//! What a step printed, as a snapshot beside it.

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
