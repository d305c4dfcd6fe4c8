//! What a run is doing, on standard error: a bar in a terminal, a line a figure elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far a run has come.
pub struct Progress {
    bar: ProgressBar,
    total: u64,
    quiet: bool,
}

impl Progress {
    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), total: 0, quiet: true }
    }

    /// Shows progress on standard error.
    #[must_use]
    pub fn shown() -> Self {
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{pos}/{len}] {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, total: 0, quiet: false }
    }

    /// Sets how many steps there are.
    pub(crate) fn steps(&mut self, total: usize) {
        self.total = total as u64;
        self.bar.set_length(self.total);
    }

    /// Says what comes next.
    #[allow(clippy::print_stderr, reason = "without a terminal there is no bar, and silence looks like a hang")]
    pub(crate) fn step(&self, number: usize, what: &str) {
        self.bar.set_position(number as u64);
        self.bar.set_message(what.to_owned());
        if self.bar.is_hidden() && !self.quiet {
            eprintln!("[{}/{}] {what}", number + 1, self.total);
        }
    }

    /// Says how much of a long step is done, from 0 to 1.
    pub(crate) fn part(&self, share: f64) {
        self.about(&format!("{:.0} %", share * 100.0));
    }

    /// Says where in a long step it is.
    pub(crate) fn about(&self, where_in_it: &str) {
        let what = self.bar.message();
        let what = what.split(" (").next().unwrap_or_default();
        self.bar.set_message(format!("{what} ({where_in_it})"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
