//! Offers a validator more than it may execute, for long: its memory must stay flat and nothing may be lost.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use tana_bench::child::run_validator;
use tana_bench::held_back::{HeldBackOutcome, HeldBackPlan, held_back, run_send};
use tana_bench::output::write_json;
use tana_bench::step::bar;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "flood",
    about = "Floods a validator whose execution is limited, and checks that it holds its clients back instead of growing or dropping.",
    after_help = "Examples:\n  flood                               ten minutes at twice 20,000 transactions a second; needs 9 GB of disk and memory\n  flood --seconds 30 --limit 5000     a quick look"
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Seconds of the measured flood.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..=86_000))]
    seconds: u64,
    /// Accounts of the chain.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    accounts: u32,
    /// Transactions per second that the validator may execute.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(2_000..=1_000_000))]
    limit: u64,
    /// How many times that is signed and offered.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=10))]
    factor: u64,
    /// The folder for the load and the validator's data.
    #[arg(long, value_name = "DIR", default_value = "bench-out/flood")]
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
    /// Sends a signed load (used by this program itself).
    #[command(hide = true)]
    Send {
        /// Its order.
        order: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.role {
        Some(Role::Validator { config }) => run_validator(config),
        Some(Role::Send { order }) => run_send(order),
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
    let plan = HeldBackPlan {
        folder: arguments.data.clone(),
        seconds: arguments.seconds,
        accounts: arguments.accounts,
        limit: arguments.limit,
        factor: arguments.factor,
    };
    let line = bar("", 0);
    let found = held_back(&plan, &mut |step, done, all| {
        line.set_message(step.to_owned());
        line.set_length(all);
        line.set_position(done);
    });
    line.finish_and_clear();
    let found = found?;
    write_json(arguments.json.as_deref(), &found, || println!("{}", table(&found)))?;
    match found.violations.is_empty() {
        true => Ok(()),
        false => Err(found.violations.join("\n")),
    }
}

fn table(found: &HeldBackOutcome) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    table.set_header(["held back", if found.violations.is_empty() { "passed" } else { "FAILED" }]);
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    let rows = [
        ("seconds", found.seconds.to_string()),
        ("execution limit", format!("{}/s", found.limit_tps)),
        ("applied", format!("{:.0}/s", found.applied_tps)),
        ("sent in all", found.sent.to_string()),
        ("applied in all", found.applied.to_string()),
        ("not applied", found.not_applied.to_string()),
        ("memory, median of the first fifth", mib(found.memory_early_bytes)),
        ("memory, most of the rest", mib(found.memory_late_bytes)),
        ("latency to applied, p99", format!("{:.0} ms", found.latency_p99_ms)),
        ("what pool and windows explain", format!("{:.0} ms", found.latency_bound_ms)),
    ];
    for (name, value) in rows {
        table.add_row([name, &value]);
    }
    table
}
