//! Real validators on machines of their own (network namespaces), and what may happen to them: crashes, partitions, bad networks, full disks,
//! twins, newcomers. Each scenario ends with a comparison of all disks with each other and with everything that clients were told.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Parser, Subcommand};
use tana_bench::chaos::outcome::{Outcome, table};
use tana_bench::chaos::remains;
use tana_bench::chaos::scenario::{KILLS, Scenario};
use tana_bench::chaos::space::{self, LabError};
use tana_bench::chaos::stage::{Settings, Trouble};
use tana_bench::output::write_json;
use tana_cli::arguments::Tana;
use tana_cli::output::{JsonTarget, Output};
use tana_cli::signals;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The exit code when this machine has no network namespaces: nothing was tested.
const NOT_RUN: u8 = 77;
/// The exit code when a person stopped it.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(
    name = "chaos",
    about = "Runs four validators in network namespaces under load, lets something happen to them, and checks that nothing forks or is lost.",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  chaos                          every scenario, about half an hour\n  chaos --list\n  chaos crash-two halves         only these\n  \
        chaos kills --seconds 60       a minute of SIGKILLs\n\n\
        Needs root, /dev/net/tun and iproute2; without them it says so and ends with 77. Exit code 1: something was violated; what is\n\
        only slower than it should be is marked and is no violation. Ctrl-C stops it and removes what it made."
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Which scenarios [default: all]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
    /// All but `kills`, which takes ten minutes.
    #[arg(long, conflicts_with = "scenarios")]
    without_kills: bool,
    /// How long faults last, instead of each scenario's own time.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Transactions per second in all, instead of each scenario's own rate.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(4..=40_000))]
    rate: Option<u64>,
    /// The folder for the validators' data.
    #[arg(long, value_name = "DIR", default_value = "bench-out/chaos")]
    data: PathBuf,
    /// Decides what is left to chance; a random one unless given.
    #[arg(long)]
    seed: Option<u64>,
    /// Write what was found to this file as one JSON list ("-": standard output, and no table).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What this program is when it starts itself again.
#[derive(Subcommand)]
enum Role {
    /// The `tana` command (used by this program itself).
    #[command(hide = true, disable_help_flag = true)]
    Tana {
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Role::Tana { arguments }) = &arguments.role {
        return tana(arguments);
    }
    if arguments.list {
        for scenario in Scenario::all() {
            println!("{:<13} {}", scenario.name, scenario.about);
        }
        return ExitCode::SUCCESS;
    }
    // A panic unwinds through the owners of processes and namespaces; this is for what it does not reach.
    let result = std::panic::catch_unwind(|| run(&arguments));
    remains::remove_all();
    match result {
        Ok(Ok(code)) => code,
        Ok(Err(reason)) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn tana(words: &[std::ffi::OsString]) -> ExitCode {
    let arguments = Tana::parse_from(std::iter::once(&std::ffi::OsString::from("tana")).chain(words));
    let output = Output::new(arguments.shared.json == Some(JsonTarget::Standard));
    match tana_cli::commands::run(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn chosen(names: &[String], without_kills: bool) -> Result<Vec<Scenario>, String> {
    if names.is_empty() {
        return Ok(Scenario::all().filter(|scenario| !(without_kills && scenario.name == KILLS.name)).collect());
    }
    let find = |name: &String| {
        let found = Scenario::all().find(|scenario| scenario.name == name.as_str());
        found.ok_or_else(|| format!("there is no scenario {name:?}; chaos --list names them"))
    };
    names.iter().map(find).collect()
}

fn run(arguments: &Arguments) -> Result<ExitCode, String> {
    let scenarios = chosen(&arguments.scenarios, arguments.without_kills)?;
    match space::check() {
        Err(LabError::NotHere(reason)) => {
            println!("not run: {reason}");
            return Ok(ExitCode::from(NOT_RUN));
        }
        other => other.map_err(|error| error.to_string())?,
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let settings = Settings {
        program: std::env::current_exe().map_err(|error| format!("cannot find this program again: {error}"))?,
        folder: arguments.data.clone(),
        seconds: arguments.seconds,
        rate: arguments.rate,
        seed,
        stopping: signals::listen(|| {}, remains::remove_all).map_err(|error| error.to_string())?,
    };
    eprintln!("seed {seed}");
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        match scenario.play(&settings) {
            Ok(outcome) => {
                outcome.violations.iter().for_each(|violation| eprintln!("  VIOLATION: {violation}"));
                outcomes.push(outcome);
            }
            Err(Trouble::NotHere(reason)) => {
                println!("not run: {reason}");
                return Ok(ExitCode::from(NOT_RUN));
            }
            Err(Trouble::Interrupted) => break,
            Err(Trouble::Violation(reason)) => {
                eprintln!("  VIOLATION: {reason}");
                let violations = vec![reason];
                outcomes.push(Outcome { scenario: scenario.name.to_owned(), violations, ..Outcome::default() });
            }
        }
    }
    write_json(arguments.json.as_deref(), &outcomes, || println!("{}", table(&outcomes)))?;
    let is_good = outcomes.iter().all(Outcome::is_passed);
    if !is_good {
        eprintln!("seed {seed}; the data of what was violated is kept in {}", settings.folder.display());
    }
    Ok(match (is_good, settings.stopping.load(Ordering::SeqCst)) {
        (false, _) => ExitCode::FAILURE,
        (true, true) => ExitCode::from(INTERRUPTED),
        (true, false) => ExitCode::SUCCESS,
    })
}
