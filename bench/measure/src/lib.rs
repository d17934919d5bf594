//! How tine is measured beside its peers: contestants that take turns, ratios within a round, goals, and the tables
//! that say so. What is measured lies in the suites: `bench` has those of disks, `bench-values` that of values.

mod arguments;
mod calm;
mod machine;
mod measure;
mod table;

use std::error::Error;

pub use arguments::{ScaleName, SuiteArgs};
pub use machine::{Machine, first_line};
pub use measure::{
    Comparison, Effort, Goal, Outcome, Peer, Sample, Series, Spread, Unit, Verdict, median_of, timed,
};
pub use table::{Format, Printer, bytes};

/// What anything here can fail with: it is printed, not matched.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Returns what went wrong, with its causes behind it.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
