//! Thousands of idle connections and misbehaving clients against a validator.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use tana_bench::child::run_validator;
use tana_bench::idle::{IdlePhase, IdlePlan, idle};
use tana_bench::output::write_json;
use tana_bench::step::bar;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "idle",
    about = "Opens thousands of idle connections, lets clients misbehave, and checks that the validator stays small and serves an honest client.",
    after_help = "Examples:\n  idle                                   10,000 connections, about four minutes\n  idle --connections 500 --seconds 5     a quick look"
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Idle connections.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=20_000))]
    connections: u32,
    /// How long they stay, seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Misbehaving clients of each kind.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=400))]
    misbehaving: u32,
    /// The folder for the validator's data.
    #[arg(long, value_name = "DIR", default_value = "bench-out/idle")]
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
    let plan = IdlePlan {
        folder: arguments.data.clone(),
        connections: arguments.connections as usize,
        seconds: arguments.seconds,
        misbehaving: arguments.misbehaving as usize,
    };
    let line = bar("", 0);
    let found = idle(&plan, &mut |step, done, all| {
        line.set_message(step.to_owned());
        line.set_length(all);
        line.set_position(done);
    });
    line.finish_and_clear();
    let found = found?;
    write_json(arguments.json.as_deref(), &found, || println!("{}", table(&found)))?;
    let violations: Vec<String> = found.iter().flat_map(|phase| phase.violations.clone()).collect();
    match violations.is_empty() {
        true => Ok(()),
        false => Err(violations.join("\n")),
    }
}

fn table(phases: &[IdlePhase]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED);
    let mut row = |name: &str, value: &dyn Fn(&IdlePhase) -> String| {
        let cells: Vec<String> = std::iter::once(name.to_owned()).chain(phases.iter().map(value)).collect();
        table.add_row(cells);
    };
    row("idle connections", &|phase| phase.name.clone());
    row("let in", &|phase| phase.connected.to_string());
    row("refused", &|phase| phase.refused.to_string());
    row("still there at the end", &|phase| phase.alive.to_string());
    row("connecting took", &|phase| format!("{:.1} s", phase.connect_seconds));
    row("memory before", &|phase| format!("{} MiB", phase.memory_before_bytes >> 20));
    row("memory at most", &|phase| format!("{} MiB", phase.memory_most_bytes >> 20));
    row("an idle connection costs", &|phase| format!("{:.1} KiB", phase.bytes_per_connection as f64 / 1_024.0));
    row("honest transfers applied", &|phase| phase.honest_applied.to_string());
    row("misbehaving: let in, closed by the node", &|phase| {
        let kinds = phase.misbehaved.iter();
        kinds
            .map(|kind| format!("{}: {}, {}", kind.kind.name(), kind.connected, kind.closed))
            .collect::<Vec<_>>()
            .join("\n")
    });
    row("memory after", &|phase| format!("{} MiB", phase.memory_after_bytes >> 20));
    row("", &|phase| if phase.violations.is_empty() { "passed".to_owned() } else { "FAILED".to_owned() });
    table
}
