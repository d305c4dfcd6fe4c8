//! How many bytes are done, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use oncelog::Progress;

/// Updates a second.
const HERTZ: u8 = 8;

/// A progress bar in a terminal; nothing elsewhere.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(HERTZ));
        let template = "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        Self { bar }
    }

    pub(super) fn tell(&self, progress: Progress) {
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.bytes);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
