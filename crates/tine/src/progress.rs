//! A bar for what takes more than a second.

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tine_server::words::human;
use tine_store::Progress;

use crate::error::Outcome;
use crate::interrupt;
use crate::ui::Ui;

const SHOW_AFTER: Duration = Duration::from_secs(1);

/// Shows how far a long operation is, on a terminal only, and passes on that it shall stop.
pub(crate) struct Meter {
    label: &'static str,
    started: Instant,
    draws: bool,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Makes a meter that says `label` before the bar.
    pub(crate) fn new(ui: &Ui, label: &'static str) -> Self {
        Self {
            label,
            started: Instant::now(),
            draws: ui.may_draw(),
            bar: None,
        }
    }

    /// Makes a meter for a command that prints as it goes: beside that a bar is drawn only if it goes elsewhere.
    pub(crate) fn beside_output(ui: &Ui, label: &'static str) -> Self {
        let mut meter = Self::new(ui, label);
        meter.draws &= !io::stdout().is_terminal();
        meter
    }

    /// Takes a report of progress; breaks when a signal was caught.
    pub(crate) fn report(&mut self, progress: Progress) -> ControlFlow<()> {
        self.show(progress);
        interrupt::go_on()
    }

    /// Shows how far it is; fails when a signal was caught.
    pub(crate) fn follow(&mut self, progress: Progress) -> Outcome<()> {
        self.show(progress);
        interrupt::check()
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, progress: Progress) {
        let elapsed = self.started.elapsed();
        if self.draws && elapsed >= SHOW_AFTER {
            let bar = self.bar.get_or_insert_with(|| new_bar(self.label));
            if progress.total != bar.length() {
                bar.set_style(style(progress.total.is_some()));
                bar.set_length(progress.total.unwrap_or(0));
            }
            bar.set_position(progress.done);
            bar.set_message(words(&progress, elapsed));
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(label: &'static str) -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10))
        .with_prefix(label)
        .with_style(style(false))
}

/// Without colours: a bar is plain to see.
fn style(has_total: bool) -> ProgressStyle {
    let template = if has_total {
        "{prefix} {wide_bar} {msg}"
    } else {
        "{prefix} {spinner} {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Says how much is done, how fast it goes on the whole, and how long it will take.
fn words(progress: &Progress, elapsed: Duration) -> String {
    let done = human(progress.done);
    let rate = progress.done as f64 / elapsed.as_secs_f64();
    let per_second = human(rate as u64);
    match progress.total {
        Some(total) if rate >= 1.0 => {
            let left = (total.saturating_sub(progress.done) as f64 / rate).ceil() as u64;
            format!(
                "{done} of {}, {per_second}/s, {}:{:02} left",
                human(total),
                left / 60,
                left % 60
            )
        }
        _ => format!("{done}, {per_second}/s"),
    }
}
