//! Progress on the terminal, and timed loops that are bounded in time.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A line with a moving mark, for a step that takes a while; silent where there is no terminal.
pub fn spinner(text: impl Into<String>) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(text.into());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// A bar over `length`, for work whose end is known.
pub fn bar(text: impl Into<String>, length: u64) -> ProgressBar {
    let template = "{msg:34} {bar:30} {human_pos}/{human_len} {per_sec} {eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style).with_message(text.into())
}

/// Calls `work` until `duration` has passed, once more to finish; gives units of work per second. `work` tells how much it did.
pub fn rate(duration: Duration, mut work: impl FnMut() -> u64) -> f64 {
    work();
    let start = Instant::now();
    let mut done = 0;
    while start.elapsed() < duration {
        done += work();
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// Ties the calling thread to a core; without that core it runs on any.
pub fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// How many cores this process may use, in the engine's order.
pub fn cores() -> Vec<usize> {
    tana_engine::cores::layout(&[]).unwrap_or_else(|_| vec![0])
}
