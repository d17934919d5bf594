//! Printing: tables for people, JSON lines for programs.

use serde::Serialize;
use serde_json::json;

use crate::calm::LITTLE;
use crate::machine::Machine;
use crate::measure::{Goal, Outcome, Sample, Series, Spread, Unit, Verdict};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// One object a line, for programs.
    JsonLines,
}

/// Prints results as they come.
pub struct Printer {
    format: Format,
    smoke: bool,
}

impl Unit {
    /// Writes a value with three digits that count.
    fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => {
                let (factor, unit) = match value.abs() {
                    value if value < 1e-6 => (1e9, "ns"),
                    value if value < 1e-3 => (1e6, "µs"),
                    value if value < 1.0 => (1e3, "ms"),
                    _ => (1.0, "s"),
                };
                format!("{} {unit}", digits(value * factor))
            }
            Self::PerSecond => format!("{}/s", digits(value)),
            Self::BytesPerSecond => format!("{}/s", bytes(value)),
            Self::Bytes => bytes(value),
        }
    }
}

/// Writes a number of bytes with three digits that count.
pub fn bytes(value: f64) -> String {
    let (divisor, unit) = match value.abs() {
        value if value < 1024.0 => (1.0, "B"),
        value if value < 1024.0 * 1024.0 => (1024.0, "KiB"),
        value if value < 1024.0 * 1024.0 * 1024.0 => (1024.0 * 1024.0, "MiB"),
        _ => (1024.0 * 1024.0 * 1024.0, "GiB"),
    };
    format!("{} {unit}", digits(value / divisor))
}

fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Goal {
    /// Returns against what, and the bound.
    fn show(&self, unit: Unit) -> (String, String) {
        match self {
            Self::AtMost(times, other) => (format!("against {other}"), format!("≤ {times} ×")),
            Self::AtLeast(times, other) => (format!("against {other}"), format!("≥ {times} ×")),
            Self::Faster(times, other) => (format!("faster than {other}"), format!("≥ {times} ×")),
            Self::AtMostPlus(times, other, plus) => (
                format!("against {times} × {other} plus {plus}"),
                "≤ 1 ×".to_owned(),
            ),
            Self::Beyond(by, other) => (format!("beyond {other}"), format!("≤ {}", unit.show(*by))),
            Self::Within(value) => (String::new(), format!("≤ {}", unit.show(*value))),
            Self::Processor(times, other) => (
                format!("in processor time against {other}"),
                format!("≤ {times} ×"),
            ),
        }
    }

    fn is_ratio(&self) -> bool {
        !matches!(self, Self::Beyond(..) | Self::Within(_))
    }
}

#[derive(Serialize)]
struct Line {
    median: f64,
    least: f64,
    most: f64,
    rounds: Vec<f64>,
    syncs: Option<f64>,
    bytes: Option<f64>,
    processor: Option<f64>,
    client: Option<f64>,
}

impl Printer {
    /// Returns a printer; of a `smoke` run it prints only what works, since the numbers mean nothing.
    pub fn new(format: Format, smoke: bool) -> Self {
        Self { format, smoke }
    }

    /// Prints where and with what this runs: `scale` is its name, `sizes` what that means.
    pub fn header(&self, machine: &Machine, scale: &str, sizes: &str, rounds: u32) {
        match self.format {
            Format::Table => {
                for (what, value) in machine.facts() {
                    println!("{what:>12}  {value}");
                }
                let plural = if rounds == 1 {
                    "round"
                } else {
                    "rounds, interleaved"
                };
                println!("{:>12}  {scale}: {sizes}, {rounds} {plural}", "scale");
                if !self.smoke {
                    println!(
                        "{:>12}  median (least … most); a ratio is taken within each round",
                        "values"
                    );
                }
            }
            Format::JsonLines => {
                let facts: serde_json::Map<_, _> = machine
                    .facts()
                    .into_iter()
                    .map(|(what, value)| (what.to_owned(), json!(value)))
                    .collect();
                println!(
                    "{}",
                    json!({ "machine": facts, "scale": scale, "rounds": rounds })
                );
            }
        }
    }

    /// Prints that something is not measured, and why.
    pub fn skipped(&self, row: &str, what: &str, why: &str) {
        match self.format {
            Format::Table => println!("\n{row}: skipped: {what} ({why})"),
            Format::JsonLines => println!("{}", json!({ "row": row, "skipped": what, "why": why })),
        }
    }

    /// Prints that a row could not be run.
    pub fn failed(&self, row: &str, error: &str) {
        match self.format {
            Format::Table => println!("\n{row}: FAILED: {error}"),
            Format::JsonLines => println!("{}", json!({ "row": row, "failed": error })),
        }
    }

    /// Prints a comparison.
    pub fn outcome(&self, outcome: &Outcome) {
        match self.format {
            Format::Table if self.smoke => smoke(outcome),
            Format::Table => table(outcome),
            Format::JsonLines => json_lines(outcome),
        }
    }
}

fn smoke(outcome: &Outcome) {
    let failed = outcome.series.iter().filter(|series| series.failure.is_some());
    let works = outcome.series.len() - failed.clone().count();
    println!("{}: {works} of {} work", outcome.row, outcome.series.len());
    for series in failed {
        let failure = series.failure.as_deref().unwrap_or_default();
        println!("  {}: FAILED: {failure}", series.name);
    }
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    Spread::of(samples.iter().filter_map(of)).map(|spread| spread.median)
}

fn table(outcome: &Outcome) {
    let unit = outcome.unit;
    println!("\n{}  {}", outcome.row, outcome.title);
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut outcome.series.iter().map(|series| series.name.chars().count()));
    let mut samples = outcome.series.iter().flat_map(|series| &series.samples);
    let counted = samples
        .clone()
        .any(|sample| sample.effort.syncs.is_some() || sample.effort.bytes.is_some());
    let timed = samples.any(|sample| sample.effort.processor.is_some());
    let ratios: Vec<String> = outcome
        .series
        .iter()
        .map(|series| ratio(outcome, series))
        .collect();
    let ratio_width = width(&mut ratios.iter().map(|ratio| ratio.chars().count()));
    if timed {
        println!(
            "  {:names$}  {:>12}  {:27}  {:>12}  {:>12}",
            "", "", "", "processor/op", "client's/op"
        );
    }
    if counted {
        println!(
            "  {:names$}  {:>12}  {:27}  {:>9}  {:>10}",
            "", "", "", "syncs/op", "bytes/op"
        );
    }
    for (series, ratio) in outcome.series.iter().zip(&ratios) {
        if let Some(failure) = &series.failure {
            println!("  {:names$}  FAILED: {failure}", series.name);
            continue;
        }
        let Some(spread) = Spread::of(series.samples.iter().map(|sample| sample.value)) else {
            continue;
        };
        let range = format!("({} … {})", unit.show(spread.least), unit.show(spread.most));
        let syncs = mean(&series.samples, |sample| sample.effort.syncs);
        let written = mean(&series.samples, |sample| sample.effort.bytes);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let line = format!(
            "  {:names$}  {:>12}  {range:27}",
            series.name,
            unit.show(spread.median)
        );
        if timed {
            let processor = mean(&series.samples, |sample| sample.effort.processor);
            let client = mean(&series.samples, |sample| sample.effort.client);
            let [processor, client] =
                [processor, client].map(|time| or_dash(time.map(|seconds| Unit::Seconds.show(seconds))));
            println!("{line}  {processor:>12}  {client:>12}");
        } else if counted {
            let (syncs, written) = (or_dash(syncs.map(digits)), or_dash(written.map(bytes)));
            println!("{line}  {syncs:>9}  {written:>10}");
        } else {
            println!("{}", format!("{line}  {ratio:>ratio_width$}").trim_end());
        }
    }
    let verdicts: Vec<[String; 4]> = outcome
        .verdicts
        .iter()
        .map(|verdict| describe(verdict, unit))
        .collect();
    let widths = [0, 1, 2]
        .map(|column: usize| width(&mut verdicts.iter().map(|verdict| verdict[column].chars().count())));
    for [what, bound, measured, met] in &verdicts {
        println!(
            "  {what:a$}  {bound:>b$}  {measured:>c$}  {met}",
            a = widths[0],
            b = widths[1],
            c = widths[2]
        );
    }
    for note in &outcome.notes {
        println!("  note: {note}");
    }
    if outcome.taken > LITTLE {
        println!(
            "  caution: the host took up to {:.0} % of the processor time that was asked for",
            100.0 * outcome.taken
        );
    }
}

/// Returns how many times the baseline's value a contestant has, if there is a baseline that it is not itself.
fn ratio(outcome: &Outcome, series: &Series) -> String {
    match (&outcome.baseline, outcome.ratio_to_baseline(series)) {
        (Some(baseline), Some(spread)) if *baseline != series.name => {
            format!("{} × {baseline}", digits(spread.median))
        }
        _ => String::new(),
    }
}

fn describe(verdict: &Verdict, unit: Unit) -> [String; 4] {
    let (against, bound) = verdict.goal.show(unit);
    let show = |value: f64| {
        if verdict.goal.is_ratio() {
            digits(value)
        } else {
            unit.show(value)
        }
    };
    let sign = if verdict.goal.is_ratio() { " ×" } else { "" };
    let (measured, met) = match &verdict.measured {
        Some((spread, met)) => (
            format!(
                "{}{sign} ({} … {})",
                show(spread.median),
                show(spread.least),
                show(spread.most)
            ),
            // Where the rounds do not agree, the word rests on the median alone.
            match (met, verdict.is_clear()) {
                (true, true) => "met",
                (true, false) => "met (not in every round)",
                (false, true) => "MISSED",
                (false, false) => "MISSED (not in every round)",
            },
        ),
        None => ("not measured".to_owned(), "–"),
    };
    [
        format!("→ {} {against}", verdict.subject).trim_end().to_owned(),
        bound,
        measured,
        met.to_owned(),
    ]
}

fn json_lines(outcome: &Outcome) {
    let unit = match outcome.unit {
        Unit::Seconds => "seconds",
        Unit::PerSecond => "per_second",
        Unit::BytesPerSecond => "bytes_per_second",
        Unit::Bytes => "bytes",
    };
    for series in &outcome.series {
        let result = Spread::of(series.samples.iter().map(|sample| sample.value)).map(|spread| Line {
            median: spread.median,
            least: spread.least,
            most: spread.most,
            rounds: series.samples.iter().map(|sample| sample.value).collect(),
            syncs: mean(&series.samples, |sample| sample.effort.syncs),
            bytes: mean(&series.samples, |sample| sample.effort.bytes),
            processor: mean(&series.samples, |sample| sample.effort.processor),
            client: mean(&series.samples, |sample| sample.effort.client),
        });
        let line = json!({
            "row": outcome.row, "title": outcome.title, "contestant": series.name, "unit": unit,
            "result": result, "failed": series.failure, "baseline": outcome.baseline, "taken": outcome.taken,
            "ratio": outcome.ratio_to_baseline(series).map(|spread| spread.median),
        });
        println!("{line}");
    }
    for verdict in &outcome.verdicts {
        let [what, bound, ..] = describe(verdict, outcome.unit);
        let measured = verdict.measured.as_ref();
        let line = json!({
            "row": outcome.row, "title": outcome.title, "target": what.trim_start_matches("→ "), "bound": bound,
            "measured": measured.map(|(spread, _)| spread.median),
            "least": measured.map(|(spread, _)| spread.least), "most": measured.map(|(spread, _)| spread.most),
            "met": measured.map(|(_, met)| met), "in_every_round": measured.map(|_| verdict.is_clear()),
        });
        println!("{line}");
    }
    for note in &outcome.notes {
        println!(
            "{}",
            json!({ "row": outcome.row, "title": outcome.title, "note": note })
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_that_fits() {
        assert_eq!(Unit::Seconds.show(0.000_062_4), "62.4 µs");
        assert_eq!(Unit::Seconds.show(1.955), "1.96 s");
        assert_eq!(Unit::PerSecond.show(23_456.7), "23457/s");
        assert_eq!(Unit::Bytes.show(8192.0), "8.00 KiB");
        assert_eq!(Unit::BytesPerSecond.show(3.0 * 1024.0 * 1024.0), "3.00 MiB/s");
    }
}
