//! Kills a flooded validator again and again and checks every promise that it made; or fills its disk.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use tana_bench::child::run_validator;
use tana_bench::crash::{CrashOutcome, CrashPlan, crash};
use tana_bench::disk_full::disk_full;
use tana_bench::output::write_json;
use tana_bench::step::bar;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "crash",
    about = "Kills a flooded validator at random instants and checks after each restart that nothing it had reported is lost, changed or doubled.",
    after_help = "Examples:\n  crash                             100 kills, about four minutes\n  crash --kills 5 --seed 7          a quick look, always the same instants\n  crash --disk-full --data FOLDER   fills the small file system that is mounted at FOLDER"
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// How often it is killed.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// Accounts of the chain.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    accounts: u32,
    /// Transactions per second between kills.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..=20_000))]
    rate: u64,
    /// The folder for the validator's data.
    #[arg(long, value_name = "DIR", default_value = "bench-out/crash")]
    data: PathBuf,
    /// Decides the instants; a random one unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Fill the file system of --data instead of killing.
    #[arg(long)]
    disk_full: bool,
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.role {
        Some(Role::Validator { config }) => run_validator(config),
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
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program again: {error}"))?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let plan = CrashPlan {
        kills: arguments.kills,
        accounts: arguments.accounts,
        rate: arguments.rate,
        ..CrashPlan::new(program, arguments.data.clone(), seed)
    };
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(100);
    if arguments.disk_full {
        let found = disk_full(&plan).map_err(|reason| format!("{reason} (seed {seed})"))?;
        table.set_header(["a full disk", "passed"]);
        table.add_row(["free before", &format!("{} MiB", found.free_bytes >> 20)]);
        table.add_row(["the node said", &found.error]);
        table.add_row(["reported applied", &found.applied_reports.to_string()]);
        table.add_row(["applied on disk", &found.applied.to_string()]);
        table.add_row(["height after the restart", &found.height.to_string()]);
        return write_json(arguments.json.as_deref(), &found, || println!("{table}"));
    }
    eprintln!("seed {seed}");
    let line = bar("kills", u64::from(arguments.kills));
    let found = crash(&plan, &mut |so_far| {
        line.set_position(u64::from(so_far.kills));
        line.set_message(format!("kills, {} reports of applied", so_far.applied_reports));
    });
    line.finish_and_clear();
    let found = found.map_err(|failure| failure.to_string())?;
    fill(&mut table, &found);
    write_json(arguments.json.as_deref(), &found, || println!("{table}"))
}

fn fill(table: &mut Table, found: &CrashOutcome) {
    table.set_header(["kills", "passed: nothing reported was lost, changed or doubled"]);
    let rows = [
        ("seed", found.seed.to_string()),
        ("kills", found.kills.to_string()),
        ("of these during recovery", found.kills_in_recovery.to_string()),
        ("full replays with the same root", found.full_checks.to_string()),
        ("transactions sent", found.wallets.sent.to_string()),
        ("sent again, byte for byte", found.wallets.resent.to_string()),
        ("reported final", found.finals.to_string()),
        ("reported applied", found.applied_reports.to_string()),
        ("asked back", found.samples.to_string()),
        ("applied on disk", found.applied.to_string()),
        ("height", found.height.to_string()),
        ("most blocks executed again", found.replayed_blocks_max.to_string()),
        ("longest recovery", format!("{} ms", found.recovery_ms_max)),
        ("state root", found.state_root.clone()),
    ];
    for (name, value) in rows {
        table.add_row([name, &value]);
    }
}
