//! `tana validator`: runs a node in the foreground until it is told to stop.
//!
//! 1. The configuration: the home's node.toml, or --config, with what the command line says instead.
//! 2. Start: the node recovers and opens its ports; a table (or one JSON document) says what it found and chose.
//! 3. Run: a line on the terminal, or a log line now and then.
//! 4. Stop: the first SIGINT or SIGTERM lets what is inside finish; a second one ends the process at once, which loses nothing that was
//!    reported final or applied.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tana_engine::config::NodeConfig;
use tana_engine::node::{Node, StartReport};

use crate::arguments::ValidatorArguments;
use crate::error::CliError;
use crate::home::{Home, create_private_folder};
use crate::http::server::HttpServer;
use crate::http::telemetry::NodeTelemetry;
use crate::output::{Output, grouped};
use crate::progress::{Live, start_logs};
use crate::signals;

/// How often the live line is renewed and signals are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two log lines where no person watches: 10 s.
const LOOKS_PER_LOG: u32 = 50;

/// Runs `tana validator`.
///
/// # Errors
/// [`CliError::Node`] when the node does not start or stops by itself.
pub fn run(arguments: &ValidatorArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    if arguments.own_session {
        super::start::processes::leave_session();
    }
    let config = configuration(arguments, home)?;
    let quiet = Output::new(true);
    let live = Live::new(if arguments.no_live { &quiet } else { output });
    let is_live = output.is_live() && !arguments.no_live;
    // What the library says of its own insides is for those who ask by RUST_LOG.
    start_logs(&live, if is_live { "warn" } else { "info,commonware=warn" });
    let stopping = signals::listen(|| {}, || {})?;
    if arguments.stop_with_input {
        signals::stop_with_input(stopping.clone())?;
    }

    if arguments.new_key {
        create_private_folder(&config.data)?;
        crate::keys::write_vote_record(&config.data)?;
    }
    if arguments.join {
        let patience = Duration::from_secs(arguments.join_patience);
        let joined = super::join::run(&config, arguments.trust, patience, stopping.clone(), output);
        if !joined.inspect_err(|_| live.clear())? {
            return Ok(());
        }
    }
    let node = Node::start(&config, &|what, done, total| live.step(what, done, total));
    let node = node.map_err(|error| {
        live.clear();
        CliError::Node(error.to_string())
    })?;
    live.clear();
    crate::memory::give_back_unused();
    let http = match start_http(&config, &node) {
        Ok(http) => http,
        Err(error) => {
            // What a stop could say as well is less than why it stops.
            let _ = node.stop();
            return Err(error);
        }
    };
    print_start(node.report(), http.as_ref().map(HttpServer::address), output);
    let live = Live::new(if is_live { output } else { &quiet });
    let failure = watch(&node, &stopping, &live, is_live);
    live.say("stopping: finishing what is inside (Ctrl-C again ends at once)".to_owned());
    let (height, _) = node.published().head();
    // A failure has been logged where it happened, and comes back from `stop`.
    if failure.is_none() {
        tracing::info!(height, "stopping: nothing more is taken in, what is inside is finished");
    }
    let published = node.published().clone();
    drop(http);
    let stopped = node.stop();
    live.clear();
    let (height, root) = published.head();
    stopped.map_err(|error| CliError::Node(error.to_string()))?;
    let summary = json!({ "stopped": true, "height": height, "state_root": hex::encode(root) });
    output.result(&summary, |output| output.line(format!("stopped cleanly at height {}", grouped(height))));
    Ok(())
}

fn configuration(arguments: &ValidatorArguments, home: &Home) -> Result<NodeConfig, CliError> {
    let mut config = NodeConfig::load(&arguments.config.clone().unwrap_or_else(|| home.node_config()))?;
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    for (given, path) in [
        (&arguments.data, &mut config.data),
        (&arguments.genesis, &mut config.genesis),
        (&arguments.key, &mut config.key),
    ] {
        if let Some(given) = given {
            path.clone_from(given);
        }
    }
    Ok(config)
}

/// Shows how the node does, until it is told to stop or fails.
fn watch(node: &Node, stopping: &AtomicBool, live: &Live, is_live: bool) -> Option<String> {
    let published = node.published();
    let (mut applied_before, mut looked) = (published.applied.load(Ordering::Relaxed), Instant::now());
    let (mut logged_applied, mut logged_at) = (applied_before, looked);
    let mut rate = 0.0;
    for look in 1u32.. {
        if let Some(reason) = node.wait_for_failure(LOOK) {
            return Some(reason);
        }
        if stopping.load(Ordering::SeqCst) {
            return None;
        }
        let applied = published.applied.load(Ordering::Relaxed);
        let height = published.committed.load(Ordering::Relaxed);
        let pending = published.waiting.load(Ordering::Relaxed);
        if is_live && looked.elapsed() >= Duration::from_secs(1) {
            rate = applied.saturating_sub(applied_before) as f64 / looked.elapsed().as_secs_f64();
            (applied_before, looked) = (applied, Instant::now());
        }
        live.say(format!(
            "height {}   {} tx/s   {} pending   {} applied",
            grouped(height),
            grouped(rate as u64),
            grouped(pending),
            grouped(applied)
        ));
        if !is_live && look.is_multiple_of(LOOKS_PER_LOG) && applied != logged_applied {
            let per_s = ((applied - logged_applied) as f64 / logged_at.elapsed().as_secs_f64()) as u64;
            tracing::info!(height, per_s, pending, applied, "running");
            (logged_applied, logged_at) = (applied, Instant::now());
        }
    }
    None
}

/// Health, peers and metrics over HTTP, where the configuration asks for them.
fn start_http(config: &NodeConfig, node: &Node) -> Result<Option<HttpServer>, CliError> {
    let Some(address) = config.http else { return Ok(None) };
    let started = HttpServer::start(address, Arc::new(NodeTelemetry::new(node)));
    started.map(Some).map_err(|source| {
        CliError::Node(format!(
            "cannot serve HTTP on {address}: {source}; set `http` in node.toml to another address, or leave it out for none"
        ))
    })
}

fn print_start(report: &StartReport, http: Option<SocketAddr>, output: &Output) {
    let recovery_ms = u64::try_from(report.recovery.as_millis()).unwrap_or(u64::MAX);
    let summary = json!({
        "chain": report.chain, "genesis_hash": report.genesis_hash, "validator": report.validator,
        "listen": report.listen, "http": http, "verify_backend": report.verify_backend, "verify_reason": report.verify_reason,
        "log_backend": report.log_backend, "log_reason": report.log_reason, "height": report.height,
        "replayed_blocks": report.replayed_blocks, "from_checkpoint": report.from_checkpoint,
        "accounts": report.accounts, "threads": report.threads, "recovery_ms": recovery_ms,
        "pid": std::process::id(),
    });
    tracing::info!(
        chain = report.chain, listen = %report.listen, validator = %report.validator, height = report.height,
        verify = report.verify_backend, log = report.log_backend, recovery_ms, "started"
    );
    output.result(&summary, |output| {
        let start = if report.from_checkpoint { "checkpoint" } else { "genesis" };
        let mut pairs = vec![
            ("chain", format!("{}  {}", report.chain, report.genesis_hash)),
            ("validator", report.validator.to_string()),
            ("transactions", format!("UDP {}", report.listen)),
            (
                "http",
                http.map_or_else(|| "none".to_owned(), |address| format!("http://{address}/health, /peers, /metrics")),
            ),
            ("signatures", format!("{}: {}", report.verify_backend, report.verify_reason)),
            ("log writer", format!("{}: {}", report.log_backend, report.log_reason)),
            (
                "recovered",
                format!(
                    "height {} from the {start} and {} blocks, {} ms",
                    grouped(report.height),
                    grouped(report.replayed_blocks),
                    grouped(recovery_ms)
                ),
            ),
            ("accounts", grouped(report.accounts)),
        ];
        pairs.extend(report.threads.iter().map(|thread| ("thread", thread.clone())));
        output.pairs(pairs);
        output.note("Ctrl-C stops it cleanly.");
    });
}
