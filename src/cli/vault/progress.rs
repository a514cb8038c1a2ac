//! A progress bar for work that takes a while, on standard error and only where a person looks at it.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar.
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for that work; none is drawn where the output is for machines or no terminal is there.
    pub fn new(work: &'static str, as_json: bool) -> Self {
        let target = if as_json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}")
        {
            bar.set_style(style);
        }
        bar.set_message(work);
        Self(bar)
    }

    /// So much is done of so much.
    pub fn at(&self, done: u64, all: u64) {
        self.0.set_length(all.max(done));
        self.0.set_position(done);
    }

    /// Takes it away.
    pub fn end(&self) {
        self.0.finish_and_clear();
    }
}
