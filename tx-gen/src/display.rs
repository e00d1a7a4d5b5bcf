//! What a person sees while tx-gen works: a progress bar for signing, a live line for the flood. Nothing where nobody looks.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tx_gen::summary::grouped;
use tx_gen::{Progress, Stage, Tick};

/// Standard error, as far as it may be used.
#[derive(Debug)]
pub(crate) struct Display {
    is_quiet: bool,
    is_terminal: bool,
    bar: Option<(Option<Stage>, ProgressBar)>,
}

impl Display {
    pub(crate) fn new(is_quiet: bool) -> Self {
        Self { is_quiet, is_terminal: std::io::stderr().is_terminal(), bar: None }
    }

    /// One sentence.
    pub(crate) fn say(&mut self, sentence: &str) {
        self.clear();
        if !self.is_quiet {
            eprintln!("{sentence}");
        }
    }

    /// How far signing has come.
    pub(crate) fn signing(&mut self, progress: Progress) {
        if self.is_quiet || !self.is_terminal {
            return;
        }
        if self.bar.as_ref().is_none_or(|(stage, _)| *stage != Some(progress.stage)) {
            self.clear();
            let what = match progress.stage {
                Stage::Keys => "account keys",
                Stage::Signing => "signing",
            };
            let bar = ProgressBar::new(progress.total)
                .with_message(what)
                .with_style(style("{msg:12} [{bar:32}] {human_pos}/{human_len}  {per_sec}, {eta} left"));
            self.bar = Some((Some(progress.stage), bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(progress.done);
        }
    }

    /// Signing is done.
    pub(crate) fn signed(&mut self, count: u64) {
        self.say(&format!("signed {} transactions", grouped(count as f64)));
    }

    /// How the flood stands.
    pub(crate) fn flooding(&mut self, tick: &Tick) {
        if self.is_quiet || !self.is_terminal {
            return;
        }
        let (_, bar) = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            (None, bar)
        });
        let warm_up = if tick.is_warm_up { " (warm-up)" } else { "" };
        bar.set_message(format!(
            "{:>3} s{warm_up}  sent {}/s  applied {}/s  in flight {}  p99 {:.1} ms  rejected {}",
            tick.elapsed.as_secs(),
            grouped(tick.sent_tps),
            grouped(tick.applied_tps),
            grouped(tick.in_flight as f64),
            tick.latency_p99_ms,
            grouped(tick.totals.rejected as f64)
        ));
    }

    /// Takes away whatever is shown.
    pub(crate) fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that cannot be read would be a defect; the default style says enough then.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}
