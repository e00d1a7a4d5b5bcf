//! Progress of long work on a terminal, and log lines that do not tear the line that is redrawn.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::output::{Output, grouped};

/// How often a line that is being redrawn moves.
const TICK: Duration = Duration::from_millis(120);

/// One line that is redrawn on standard error; nothing where no person watches.
#[derive(Debug, Clone)]
pub struct Live {
    bar: ProgressBar,
}

impl Live {
    /// A line for `output`.
    pub fn new(output: &Output) -> Self {
        let bar = if output.is_live() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        if output.is_live() {
            bar.enable_steady_tick(TICK);
        }
        Self { bar }
    }

    /// Shows `text` from now on.
    pub fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Shows how far some work is: `total` is 0 when that is not known.
    pub fn step(&self, what: &'static str, done: u64, total: u64) {
        if total > 0 && self.bar.length() != Some(total) {
            self.bar.set_length(total);
            // The template is a constant and right; the fallback only looks plainer.
            let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {human_pos}/{human_len} {eta}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar.set_style(style);
        }
        if total == 0 && self.bar.length().is_some() {
            self.bar.unset_length();
            self.bar.set_style(ProgressStyle::default_spinner());
        }
        if total > 0 {
            self.bar.set_position(done);
            self.bar.set_message(what);
        } else {
            self.bar.set_message(format!("{what} {}", grouped(done)));
        }
    }

    /// Does `print` while the line is away, so that it does not tear what is printed.
    pub fn above(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Write for Live {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bar.suspend(|| io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

impl<'a> MakeWriter<'a> for Live {
    type Writer = Live;

    fn make_writer(&'a self) -> Live {
        self.clone()
    }
}

/// Sends logs to standard error, at the level of `RUST_LOG`, else at `level`. Called once a process; a second call changes nothing.
pub fn start_logs(live: &Live, level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(live.clone()).try_init();
}
