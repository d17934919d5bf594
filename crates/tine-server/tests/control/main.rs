//! Goal: the control API is what docs/control.md says, whoever asks, however badly.
//! Method: a store with its control plane in this process; requests byte by byte, and by the client.

mod cut;
mod desk;
mod documents;
mod ending;
mod hostile;
mod slow;

/// Shows what requests were answered, with times and processes filtered.
macro_rules! answers {
    ($desk:expr, $($line:expr),+ ; @$expected:literal) => {{
        let mut told = String::new();
        $(told.push_str(&$desk.told($line));)+
        insta::with_settings!({ filters => vec![
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[time]"),
            (r#""pid":\d+"#, r#""pid":[pid]"#),
            (r#""frames":\d+"#, r#""frames":[n]"#),
            // Whether there is time for it.
            (r#"\{"progress":[^\n]*\n"#, ""),
        ] }, { insta::assert_snapshot!(told, @$expected) });
    }};
}
pub(crate) use answers;
