//! The `tx-gen` binary: signs a load, floods a node with it, and says what came of it.
//!
//! 1. The command line becomes a plan (what to sign) and a configuration (how to send).
//! 2. The node is asked whether the plan fits it, before minutes of signing are spent on it.
//! 3. The load is signed, with a progress bar, or read from a file (and then the node is asked); with `--save` that is all.
//! 4. The flood runs, with a live line on a terminal. Ctrl-C stops sending and keeps what was measured; a second one ends at once.
//! 5. The report goes where it is wanted: table, JSON, page.
//!
//! Figures go to standard output, everything else to standard error. The exit code is 0 when the flood ran to its end, 1 when
//! something failed, 2 for a wrong command line, 130 after Ctrl-C.

mod args;
mod display;

use std::process::ExitCode;

use clap::Parser;
use tana_types::genesis::Genesis;
use tx_gen::file;
use tx_gen::probe::probe;
use tx_gen::{Ended, Flood, FloodConfig, Load, LoadPlan, Report, StopHandle, html, sign_load, summary};

use crate::args::Args;
use crate::display::Display;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that ends the program, with its sentence.
type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("tx-gen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<ExitCode, Failed> {
    let genesis = Genesis::load(&args.genesis)?;
    let mut display = Display::new(args.quiet || args.json_to_stdout());
    let stop = StopHandle::default();
    let config = args.config(&genesis, stop.clone())?;
    let load = obtain(args, &genesis, &config, &mut display)?;
    if let Some(path) = &args.save {
        file::save(&load, path)?;
        let bytes = load.bytes() as f64 / 1e6;
        display.say(&format!("wrote {} transactions, {bytes:.1} MB, to {}", load.count(), path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    stop_on_interrupt(stop)?;
    let report = flood(args, &load, config, &mut display)?;
    write(args, &report)?;
    Ok(match report.ended {
        Ended::Failed => ExitCode::FAILURE,
        Ended::Stopped => ExitCode::from(130),
        Ended::Time | Ended::LoadUsedUp => ExitCode::SUCCESS,
    })
}

/// Reads or signs the load; unless it is only to be saved, the node is asked first whether it fits.
fn obtain(args: &Args, genesis: &Genesis, config: &FloodConfig, display: &mut Display) -> Result<Load, Failed> {
    if let Some(path) = &args.load {
        let load = file::load(path, &genesis.hash())?;
        display.say(&format!("read {} transactions from {}", load.count(), path.display()));
        ask_node(args, genesis, &load.plan, config, display)?;
        return Ok(load);
    }
    let plan = args.plan(genesis)?;
    ask_node(args, genesis, &plan, config, display)?;
    let load = sign_load(genesis, &plan, &mut |progress| display.signing(progress))?;
    display.signed(load.count());
    // Signing may have taken minutes.
    ask_node(args, genesis, &load.plan, config, display)?;
    Ok(load)
}

fn ask_node(
    args: &Args,
    genesis: &Genesis,
    plan: &LoadPlan,
    config: &FloodConfig,
    display: &mut Display,
) -> Result<(), Failed> {
    if !args.no_check && args.save.is_none() && probe(genesis, plan, config)?.is_none() {
        display.say("the node answers no questions, so neither its chain nor the accounts' nonces were checked");
    }
    Ok(())
}

fn flood(args: &Args, load: &Load, mut config: FloodConfig, display: &mut Display) -> Result<Report, Failed> {
    config.pace = args.pace(load);
    let report = Flood::run(load, &config, &mut |tick| display.flooding(tick))?;
    display.clear();
    Ok(report)
}

/// The first Ctrl-C stops the flood, the second one the program.
fn stop_on_interrupt(stop: StopHandle) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.stop();
                eprintln!("\nstopping: waiting up to 2 s for answers; press Ctrl-C again to end at once");
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(130);
            }
        });
    })?;
    Ok(())
}

fn write(args: &Args, report: &Report) -> Result<(), Failed> {
    let named = |path: &std::path::Path, error| format!("cannot write {}: {error}", path.display());
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(report)).map_err(|error| named(path, error))?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(report)?;
        if args.json_to_stdout() {
            println!("{json}");
        } else {
            std::fs::write(path, json + "\n").map_err(|error| named(path, error))?;
        }
    }
    if !args.json_to_stdout() {
        println!("{}", summary::table(report));
    } else if let Some(failure) = &report.failure {
        eprintln!("tx-gen: {}", failure.message);
    }
    Ok(())
}
