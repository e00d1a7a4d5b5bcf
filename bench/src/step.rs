//! Progress on the terminal, and timed loops that are bounded in time.
//!
//! Rates of one core are per second of processor time: what else runs on the machine then lengthens a measurement and does not change it.

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

/// Processor time that the calling thread has used, which other programs on the machine do not lengthen.
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // The clock counts from the thread's start, so both parts are in range.
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Processor time that thread `id` of this process has used, in steps of 10 ms; zero where the system does not tell.
pub fn time_of_thread(id: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    // The name may hold spaces; user and system time are the 14th and 15th fields, the 12th and 13th behind it.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Calls `work` for `duration`; gives units of work per second of the calling thread's processor time. `work` tells how much it did.
pub fn rate(duration: Duration, mut work: impl FnMut() -> u64) -> f64 {
    work();
    let (start, used) = (Instant::now(), thread_time());
    let mut done = 0;
    while start.elapsed() < duration {
        done += work();
    }
    done as f64 / (thread_time() - used).as_secs_f64()
}

/// Ties the calling thread to a core; without that core it runs on any.
pub fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// How many cores this process may use, in the engine's order.
pub fn cores() -> Vec<usize> {
    tana_engine::cores::layout(&[]).unwrap_or_else(|_| vec![0])
}
