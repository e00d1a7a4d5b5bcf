//! The command `sim`: one seed with all its events, or many seeds on all cores.

use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tana_sim::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Deterministic simulation of validators under faults. The same seed is the same run, bit for bit.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The seed to run.
    #[arg(required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Seeds to run, from A up to but not including B.
    #[arg(long, value_name = "A..B", value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// Prints every event of the simulation.
    #[arg(long, conflicts_with = "seeds")]
    trace: bool,
    /// Prints one JSON object for each seed.
    #[arg(long)]
    json: bool,
    /// Threads for many seeds; all cores without it.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let bad = || format!("`{text}` is not a range of seeds; write for example 0..1000");
    let (start, end) = text.split_once("..").ok_or_else(bad)?;
    let (start, end) = (start.parse().map_err(|_| bad())?, end.parse().map_err(|_| bad())?);
    if start < end { Ok(start..end) } else { Err(bad()) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Events of the libraries, for those who ask for them with RUST_LOG.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let failed = match (arguments.seed, &arguments.seeds) {
        (Some(seed), _) => {
            let report = tana_sim::run(seed, arguments.trace);
            print(&report, arguments.json);
            u64::from(report.violation.is_some())
        }
        (None, Some(seeds)) => run_many(seeds.clone(), &arguments),
        (None, None) => 0,
    };
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(report: &Report, json: bool) {
    if json {
        // A report is numbers and texts, which always have a JSON form.
        println!("{}", serde_json::to_string(report).unwrap_or_default());
        return;
    }
    println!(
        "seed {}: {}\n  height {}, {} transfers applied, {} transactions final, {} proofs, {} ms simulated, {} events\n  digest {}",
        report.seed,
        report.faults,
        report.height,
        report.transfers,
        report.reported,
        report.proofs,
        report.simulated_ms,
        report.events,
        report.digest
    );
    if let Some(violation) = &report.violation {
        println!("  VIOLATION: {violation}\n  again with: sim {} --trace", report.seed);
    }
}

/// Runs seeds on all cores; gives how many failed.
fn run_many(seeds: Range<u64>, arguments: &Arguments) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = if arguments.threads == 0 { cores } else { arguments.threads };
    let bar = ProgressBar::new(seeds.end - seeds.start);
    // A template that is written here cannot be wrong.
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left  {msg}") {
        bar.set_style(style);
    }
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || sender.send(tana_sim::run(seed, false)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for report in receiver {
            bar.inc(1);
            if report.violation.is_some() {
                failed.fetch_add(1, Ordering::Relaxed);
                bar.set_message(format!("{} failed", failed.load(Ordering::Relaxed)));
            }
            if arguments.json || report.violation.is_some() {
                bar.suspend(|| print(&report, arguments.json));
            }
        }
    });
    bar.finish_and_clear();
    let failed = failed.into_inner();
    if !arguments.json {
        println!("{} seeds, {failed} failed", seeds.end - seeds.start);
    }
    failed
}
