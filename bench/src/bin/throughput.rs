//! The macro benchmark: the ceiling, the parts, and the whole engine flooded over QUIC, in one run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tana_bench::ceiling::{Sample, dalek_batch_one_core_tps, library_one_core_tps};
use tana_bench::chain::{Chain, ChainChoices};
use tana_bench::end_to_end::{Flooded, flood, order, run_flood, stage_figures};
use tana_bench::figures::{Figures, Percentiles, cpu_name};
use tana_bench::step::{cores, spinner};
use tana_bench::{child, garbage, ingest, post_verify, signing};
use tana_verify::Backend;
use tx_gen::report::Latency;
use tx_gen::{LoadPlan, Report};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds of a flood before anything is measured.
const WARM_UP_SECONDS: u64 = 3;
/// How long each of the small measurements takes.
const PART: Duration = Duration::from_secs(3);

#[derive(Parser)]
#[command(
    name = "throughput",
    about = "Measures the whole engine on this machine: raw verification, each part alone, and a flooded validator.",
    after_help = "Examples:\n  throughput                                   one million accounts, 20 s\n  throughput --seconds 5 --accounts 100000     a quick look\n  throughput --full --json figures.json        every row of the table of bars, about ten minutes"
)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Seconds of the measured flood.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Accounts of the chain.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=20_000_000))]
    accounts: u32,
    /// Write the figures to this file as one JSON object ("-": standard output, and no tables).
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the picture of the flood to this file.
    #[arg(long, value_name = "FILE", default_value = "bench-out/throughput.html")]
    html: PathBuf,
    /// The folder for the validator's data; it should lie on the disk that is to be measured.
    #[arg(long, value_name = "DIR", default_value = "bench-out/throughput")]
    data: PathBuf,
    /// Measure every row of the table of bars.
    #[arg(long)]
    full: bool,
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.role {
        Some(Role::Validator { config }) => child::run_validator(config),
        Some(Role::Load { order }) => run_flood(order),
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
    for folder in [Some(arguments.data.as_path()), arguments.html.parent()].into_iter().flatten() {
        std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    let mut figures = Figures {
        accounts: arguments.accounts,
        seconds: arguments.seconds,
        cpu: cpu_name(),
        cores: cores().len(),
        tx_bytes: tana_types::transaction::TRANSFER_BYTES as u64,
        ..Figures::default()
    };
    verification(&mut figures);
    parts(&mut figures, arguments)?;
    let resident = whole(&mut figures, arguments)?;
    if arguments.full {
        full(&mut figures, arguments, resident)?;
    }
    let json = serde_json::to_string_pretty(&figures).map_err(|error| error.to_string())?;
    match &arguments.json {
        Some(path) if path == Path::new("-") => println!("{json}"),
        path => {
            println!("{}\n{}\n{}", figures.summary_table(), figures.stages_table(), figures.bars_table());
            println!("picture: {}", arguments.html.display());
            if let Some(path) = path {
                std::fs::write(path, json).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Raw verification, ours and the library's.
fn verification(figures: &mut Figures) {
    let step = spinner("raw verification");
    let mut sample = Sample::new();
    let backend = Backend::detect().0;
    figures.verify_one_core_tps = sample.one_core_tps(backend, PART);
    figures.library_verify_one_core_tps = library_one_core_tps(PART);
    figures.dalek_verify_batch_one_core_tps = dalek_batch_one_core_tps(&sample, PART);
    figures.portable_one_core_tps = sample.one_core_tps(Backend::Portable, PART);
    figures.verify_ceiling_tps = sample.all_cores_tps(backend, PART);
    sample.spoil_one_percent();
    figures.bad1pct_one_core_tps = sample.one_core_tps(backend, PART);
    figures.verify_vs_library = figures.verify_one_core_tps / figures.library_verify_one_core_tps;
    figures.portable_vs_library = figures.portable_one_core_tps / figures.library_verify_one_core_tps;
    step.finish_and_clear();
}

/// What follows verification, and ingest, each alone on one core.
fn parts(figures: &mut Figures, arguments: &Arguments) -> Result<(), String> {
    let step = spinner("execution, root and commit on one core");
    let folder = arguments.data.join("post-verify");
    let _ = std::fs::remove_dir_all(&folder);
    let measured = post_verify::measure(&folder, arguments.accounts, 150)?;
    let _ = std::fs::remove_dir_all(&folder);
    figures.post_verify_tps_one_core = measured.tps;
    figures.state_root_ns_per_account = measured.root_ns_per_account;
    step.finish_and_clear();
    let step = spinner("ingest on one core");
    figures.ingest_tps_one_core = ingest::one_core_tps(arguments.accounts, 6_000_000)?;
    step.finish_and_clear();
    Ok(())
}

fn percentiles(latency: &Latency) -> Percentiles {
    Percentiles { p50: latency.p50, p99: latency.p99, p999: latency.p999 }
}

fn plan(accounts: u32, count: f64) -> LoadPlan {
    LoadPlan { accounts, count: count as u64, ..LoadPlan::default() }
}

fn new_chain(arguments: &Arguments, name: &str, accounts: u32) -> Result<Chain, String> {
    let choices = ChainChoices { accounts, ..ChainChoices::default() };
    Chain::create(&arguments.data.join(name), &choices, |_| {}).map_err(|error| error.to_string())
}

fn end(flooded: Flooded, chain: &Chain) -> Result<Report, String> {
    flooded.validator.stop().map_err(|error| error.to_string())?;
    let _ = std::fs::remove_dir_all(&chain.config.data);
    Ok(flooded.report)
}

/// The whole engine under full load; gives the validator's resident bytes.
fn whole(figures: &mut Figures, arguments: &Arguments) -> Result<f64, String> {
    let step = spinner("the whole engine: signing, then the flood");
    let chain = new_chain(arguments, "whole", arguments.accounts)?;
    // More than can be applied: the ceiling itself is out of reach, as the other stages share its cores.
    let seconds = (arguments.seconds + WARM_UP_SECONDS) as f64;
    let count = figures.verify_ceiling_tps * 0.85 * seconds;
    let flooded = flood(&chain, |validator| {
        let mut order = order(&chain, validator, plan(arguments.accounts, count), arguments.seconds, WARM_UP_SECONDS);
        order.html = Some(arguments.html.clone());
        order
    })?;
    let (_, after, _) = &flooded.metrics;
    let resident = after["resident_bytes"][1].as_f64().unwrap_or(0.0);
    figures.rss_mib = after["resident_bytes"][0].as_f64().unwrap_or(0.0) / 1_048_576.0;
    figures.stages = stage_figures(&flooded.metrics);
    figures.verify_backend = flooded.validator.ready.verify_backend.clone();
    figures.log_backend = flooded.validator.ready.log_backend.clone();
    figures.durability = "batch, order and commit records synced before final and applied".to_owned();
    let report = end(flooded, &chain)?;
    figures.applied_tps = report.per_second.applied;
    figures.ceiling_ratio = figures.applied_tps / figures.verify_ceiling_tps;
    figures.batch_transactions = chain.config.ingest.batch_transactions as f64;
    figures.latency_final_ms = percentiles(&report.latency_final_ms);
    figures.latency_applied_ms = percentiles(&report.latency_applied_ms);
    figures.dropped = report.codes.clone();
    figures.client_ns_per_transaction = report.client_cpu_ns_per_transaction;
    step.finish_and_clear();
    Ok(resident)
}

/// The rows that take their time.
fn full(figures: &mut Figures, arguments: &Arguments, resident: f64) -> Result<(), String> {
    let step = spinner("latency at half load");
    let chain = new_chain(arguments, "half", arguments.accounts)?;
    let rate = figures.applied_tps / 2.0;
    let flooded = flood(&chain, |validator| {
        let plan = LoadPlan { rate: Some(rate as u64), ..plan(arguments.accounts, rate * 12.5) };
        let mut order = order(&chain, validator, plan, 10, 2);
        order.rate = Some(rate as u64);
        order
    })?;
    figures.latency_applied_half_load_ms = Some(percentiles(&end(flooded, &chain)?.latency_applied_ms));
    step.finish_and_clear();

    let step = spinner("beside a client that sends bad signatures");
    let chain = new_chain(arguments, "garbage", arguments.accounts)?;
    let count = figures.applied_tps * 1.1 * 13.0;
    let honest = garbage::honest_tps(&chain, plan(arguments.accounts, count), 10)?;
    figures.honest_ratio_under_garbage = Some(honest / figures.applied_tps);
    let _ = std::fs::remove_dir_all(&chain.config.data);
    step.finish_and_clear();

    let step = spinner("memory of a small chain");
    let chain = new_chain(arguments, "small", 1_000)?;
    let flooded = flood(&chain, |validator| {
        let count = figures.applied_tps * 1.1 * 7.0;
        order(&chain, validator, plan(1_000, count), 5, 2)
    })?;
    let base = flooded.metrics.1["resident_bytes"][1].as_f64().unwrap_or(0.0);
    end(flooded, &chain)?;
    figures.rss_bytes_per_account = Some((resident - base) / f64::from(arguments.accounts - 1_000));
    step.finish_and_clear();

    let step = spinner("signing");
    let library = signing::library_one_core_tps(PART);
    figures.sign_vs_library = Some(signing::tx_gen_per_core_tps(&chain.genesis, 500_000)? / library);
    step.finish_and_clear();

    let step = spinner("state root at one and ten million accounts");
    let one = post_verify::root_ns_per_account(1_000_000, 50)?;
    let ten = post_verify::root_ns_per_account(10_000_000, 50)?;
    figures.root_10m_ratio = Some(ten / one);
    step.finish_and_clear();
    Ok(())
}
