//! What the ledger API beside a validator can bear, and what it costs the validator.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use tana_bench::child::run_validator;
use tana_bench::end_to_end::run_flood;
use tana_bench::output::write_json;
use tana_bench::sidecar::cost::{SidecarOutcome, SidecarPlan, cost, median};
use tana_bench::sidecar::reads::ReadOutcome;
use tana_bench::sidecar::serve::run_ledger;
use tana_bench::step::spinner;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "sidecar",
    about = "Measures the ledger API beside a flooded validator: reads, subscribers, and what it takes from the validator.",
    after_help = "Examples:\n  sidecar                                 about five minutes on two cores\n  sidecar --rounds 1 --seconds 5          a quick look"
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Accounts of the chains.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    accounts: u32,
    /// Measured seconds of each flood.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// Rounds at half capacity, each without the API and with it.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    rounds: u64,
    /// Reads a second.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    rate: u64,
    /// Subscribers of the feed.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=4_000))]
    subscribers: u64,
    /// What is signed for the first flood: more than this machine applies a second.
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    expected: u64,
    /// The folder for the validators' data.
    #[arg(long, value_name = "DIR", default_value = "bench-out/sidecar")]
    data: PathBuf,
    /// Write what was found to this file as one JSON object ("-": standard output, and no table).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What this program is when it starts itself again.
#[derive(Subcommand)]
enum Role {
    /// Runs a validator (used by this program itself).
    #[command(hide = true)]
    Validator {
        /// Its configuration.
        config: PathBuf,
    },
    /// Runs a load generator (used by this program itself).
    #[command(hide = true)]
    Load {
        /// Its order.
        order: PathBuf,
    },
    /// Runs the ledger API (used by this program itself).
    #[command(hide = true)]
    Ledger {
        /// The configuration of the validator beside it.
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.role {
        Some(Role::Validator { config }) => run_validator(config),
        Some(Role::Load { order }) => run_flood(order),
        Some(Role::Ledger { config }) => run_ledger(config),
        None => measure(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Result<(), String> {
    let plan = SidecarPlan {
        folder: arguments.data.clone(),
        accounts: arguments.accounts,
        seconds: arguments.seconds,
        rounds: arguments.rounds as usize,
        rate: arguments.rate,
        subscribers: arguments.subscribers as usize,
        expected_tps: arguments.expected,
    };
    let line = spinner("");
    let found = cost(&plan, &|step| line.set_message(step.to_owned()));
    line.finish_and_clear();
    let found = found?;
    write_json(arguments.json.as_deref(), &found, || println!("{}", table(&found)))?;
    // A bar that is missed is a figure; a read without an answer is a defect.
    let failed = [&found.reads_at_half, &found.reads_flooded, &found.reads_idle];
    match failed.into_iter().find_map(|reads| reads.first_failure.as_ref()) {
        Some(reason) => Err(format!("a read failed: {reason}")),
        None if found.feed.complete < found.feed.subscribers => Err("not every subscriber got every block".to_owned()),
        None => Ok(()),
    }
}

fn table(found: &SidecarOutcome) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["the ledger API beside a validator", "measured", "bar"]);
    let tps = |tps: f64| format!("{tps:.0}/s");
    let reads = |reads: &ReadOutcome| {
        let failed = if reads.failed > 0 { format!(", {} FAILED", reads.failed) } else { String::new() };
        format!("{:.0}/s, p50 {:.1}, p99 {:.1} ms{failed}", reads.per_second, reads.times.p50_ms, reads.times.p99_ms)
    };
    let reads_bar = |reads: &ReadOutcome| format!("{}/s, p99 below 10 ms", reads.rate);
    let feed = &found.feed;
    let rows = [
        ("capacity, without it", tps(found.capacity_tps), String::new()),
        ("half capacity without it: applied", tps(median(&found.without, |half| half.applied_tps)), String::new()),
        ("... p99 to applied", format!("{:.1} ms", median(&found.without, |half| half.p99_ms)), String::new()),
        ("applied with it, over without", format!("{:.3}", found.applied_ratio()), "0.95".to_owned()),
        ("p99 with it, over without", format!("{:.2}", found.p99_ratio()), "at most 1.05".to_owned()),
        ("half capacity with reads: applied", tps(found.with_reads.applied_tps), String::new()),
        ("... p99 to applied", format!("{:.1} ms", found.with_reads.p99_ms), String::new()),
        ("reads at half capacity", reads(&found.reads_at_half), reads_bar(&found.reads_at_half)),
        ("a flood beside reads: applied", tps(found.flooded_tps), String::new()),
        ("reads beside a flood", reads(&found.reads_flooded), reads_bar(&found.reads_flooded)),
        ("reads of an idle node", reads(&found.reads_idle), reads_bar(&found.reads_idle)),
        (
            "subscribers that got every block",
            format!("{} of {}, {} blocks", feed.complete, feed.subscribers, feed.blocks),
            "all".to_owned(),
        ),
        (
            "commit to socket",
            format!("p50 {:.1}, p99 {:.1} ms", feed.times.p50_ms, feed.times.p99_ms),
            "p99 below 100 ms".to_owned(),
        ),
    ];
    for (name, measured, bar) in rows {
        table.add_row([name, &measured, &bar]);
    }
    table
}
