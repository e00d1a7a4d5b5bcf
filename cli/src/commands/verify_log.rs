//! `tana verify-log`: replays the logs from the genesis file and checks every hash, signature, root and total; the exit code says.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;
use tana_engine::config::NodeConfig;
use tana_engine::verify_log::{VerifyReport, verify_log, verify_log_and_certificates};
use tana_types::genesis::Genesis;

use crate::arguments::VerifyLogArguments;
use crate::error::CliError;
use crate::home::Home;
use crate::output::{Output, grouped};
use crate::progress::Live;

/// How often the progress line is renewed at most.
const REDRAW: Duration = Duration::from_millis(50);

/// Runs `tana verify-log`.
///
/// # Errors
/// [`CliError::Log`] when anything does not hold.
pub fn run(arguments: &VerifyLogArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let (data, genesis) = match (&arguments.data, &arguments.genesis) {
        (Some(data), Some(genesis)) => (data.clone(), genesis.clone()),
        (data, genesis) => {
            let config = NodeConfig::load(&home.known_node_config())?;
            (data.clone().unwrap_or(config.data), genesis.clone().unwrap_or(config.genesis))
        }
    };
    if !data.join("logs").is_dir() {
        return Err(CliError::Log(format!(
            "there are no logs in the data folder {}: a node makes them at its first start; --data names another",
            data.display()
        )));
    }
    let genesis = Genesis::load(&genesis)?;
    let live = Live::new(output);
    let begun = Instant::now();
    let drawn = Cell::new(None::<Instant>);
    let audit = if arguments.certificates { verify_log_and_certificates } else { verify_log };
    let report = audit(&data, &genesis, &|what, done, total| {
        if drawn.get().is_none_or(|last| last.elapsed() >= REDRAW) {
            drawn.set(Some(Instant::now()));
            live.step(what, done, total);
        }
    });
    live.clear();
    let report = report.map_err(|error| CliError::Log(error.to_string()))?;
    let seconds = begun.elapsed().as_secs_f64();
    let summary = json!({ "valid": true, "seconds": seconds, "data": data, "report": report });
    output.result(&summary, |output| {
        output.pairs([
            ("blocks", format!("{}, {} of them committed", grouped(report.blocks), grouped(report.committed_blocks))),
            ("certificates", certificates(&report, arguments.certificates)),
            (
                "batches",
                format!("{}, and {} that no block lists", grouped(report.batches), grouped(report.unlisted_batches)),
            ),
            ("transactions", grouped(report.transactions)),
            (
                "ended as",
                format!(
                    "{} applied, {} failed, {} passed over",
                    grouped(report.applied),
                    grouped(report.failed),
                    grouped(report.skipped)
                ),
            ),
            ("accounts", grouped(report.accounts)),
            ("state root", report.state_root.clone()),
            ("time", format!("{seconds:.1} s")),
        ]);
        let totals = report.totals.iter().map(|(code, total)| vec![code.clone(), total.clone()]);
        output.rows(&["currency", "total"], &[1], totals);
        output.line("everything holds: hashes, signatures, roots and totals");
    });
    Ok(())
}

/// How far the certificates reach, and whether they were checked.
fn certificates(report: &VerifyReport, are_checked: bool) -> String {
    if report.certificates == 0 {
        return "none: these blocks were not agreed on".to_owned();
    }
    let checked = if are_checked { "checked" } else { "not checked (--certificates does)" };
    let reach = match report.last_block - report.certified_to {
        0 => "the last block has one".to_owned(),
        above => {
            format!("they reach block {}; the {} above it have none yet", grouped(report.certified_to), grouped(above))
        }
    };
    format!("{}, {checked}; {reach}", grouped(report.certificates))
}
