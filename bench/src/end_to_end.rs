//! A flooded validator: both as processes of their own, on the same cores, over QUIC on loopback, with durable commit.
//!
//! The load generator signs everything first and says so; then the validator's counters are read, the flood is let go, and the counters
//! are read again.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tana_net::ServerPin;
use tana_types::genesis::Genesis;
use tx_gen::{Flood, FloodConfig, LoadPlan, Pace, Report, Stage, sign_load};

use crate::chain::Chain;
use crate::child::Validator;
use crate::figures::StageFigures;
use crate::step::bar;

/// What a load generator is told, as a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FloodOrder {
    /// The genesis file.
    pub genesis: PathBuf,
    /// What to sign.
    pub plan: LoadPlan,
    /// Where to send it.
    pub to: SocketAddr,
    /// The validator's key.
    pub key: [u8; 32],
    /// From where.
    pub bind: Option<IpAddr>,
    /// Transactions per second; none for as fast as they are taken.
    pub rate: Option<u64>,
    /// The most in flight per connection.
    pub in_flight: Option<u64>,
    /// Seconds to measure.
    pub seconds: u64,
    /// Seconds before.
    pub warm_up: u64,
    /// How often each connection may be made anew.
    pub reconnects: u32,
    /// Where to write the picture.
    pub html: Option<PathBuf>,
}

/// The load generator's side: signs, says so, waits for the word, floods, prints the report.
pub fn run_flood(order: &Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let order = std::fs::read(order).map_err(|error| text(&error))?;
    let order: FloodOrder = serde_json::from_slice(&order).map_err(|error| text(&error))?;
    let genesis = Genesis::load(&order.genesis).map_err(|error| text(&error))?;
    let (keys, signed) = (bar("making keys", 0), bar("signing transactions", 0));
    let load = sign_load(&genesis, &order.plan, &mut |progress| {
        let bar = if progress.stage == Stage::Keys { &keys } else { &signed };
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    keys.finish_and_clear();
    signed.finish_and_clear();
    let load = load.map_err(|error| text(&error))?;
    println!("signed");
    let mut word = String::new();
    std::io::stdin().read_line(&mut word).map_err(|error| text(&error))?;
    let mut config = FloodConfig::new(order.to, ServerPin::Key(order.key));
    config.bind = order.bind;
    config.reconnects = order.reconnects;
    config.pace = match order.rate {
        Some(rate) => Pace::Open { rate },
        None => Pace::Closed { in_flight: order.in_flight },
    };
    config.duration = Some(Duration::from_secs(order.seconds));
    config.warm_up = Duration::from_secs(order.warm_up);
    config.window_ms = Some(genesis.rules.transaction_window_ms);
    let report = Flood::run(&load, &config, &mut |_| {}).map_err(|error| text(&error))?;
    if let Some(path) = &order.html {
        std::fs::write(path, tx_gen::html::page(&report)).map_err(|error| text(&error))?;
    }
    println!("{}", serde_json::to_string(&report).map_err(|error| text(&error))?);
    Ok(())
}

/// A load generator that has signed its load.
pub struct SignedFlood {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl SignedFlood {
    /// Starts a load generator and waits until it has signed.
    pub fn sign(folder: &Path, name: &str, order: &FloodOrder) -> Result<Self, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, serde_json::to_vec(order).map_err(|error| text(&error))?)
            .map_err(|error| text(&error))?;
        let program = std::env::current_exe().map_err(|error| text(&error))?;
        let mut command = Command::new(program);
        command.arg("load").arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| text(&error))?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (input, output) = ends.ok_or_else(|| "the load generator has no pipes".to_owned())?;
        let mut flood = Self { child, input, output: BufReader::new(output) };
        if flood.line()?.trim() != "signed" {
            return Err("the load generator did not sign its load; its error is printed above".to_owned());
        }
        Ok(flood)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        Ok(line)
    }

    /// Lets the flood go.
    pub fn go(&mut self) -> Result<(), String> {
        self.input.write_all(b"go\n").and_then(|()| self.input.flush()).map_err(|error| error.to_string())
    }

    /// Waits for the report.
    pub fn report(mut self) -> Result<Report, String> {
        let line = self.line()?;
        self.child.wait().map_err(|error| error.to_string())?;
        serde_json::from_str(&line)
            .map_err(|_| "the load generator ended without a report; its error is printed above".to_owned())
    }
}

impl Drop for SignedFlood {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a flood made of a validator.
pub struct Flooded {
    /// The load generator's report.
    pub report: Report,
    /// The validator's counters before and after, and the seconds between.
    pub metrics: (Value, Value, f64),
    /// The validator, still running.
    pub validator: Validator,
}

/// An order for this chain.
pub fn order(chain: &Chain, validator: &Validator, plan: LoadPlan, seconds: u64, warm_up: u64) -> FloodOrder {
    FloodOrder {
        genesis: chain.config.genesis.clone(),
        plan,
        to: validator.ready.listen,
        key: chain.validator.0,
        bind: None,
        rate: None,
        in_flight: None,
        seconds,
        warm_up,
        reconnects: 3,
        html: None,
    }
}

/// Starts a validator on `chain`, lets the load that `order` describes be signed, floods, and leaves the validator running.
pub fn flood(chain: &Chain, order: impl FnOnce(&Validator) -> FloodOrder) -> Result<Flooded, String> {
    let validator = Validator::start(&chain.config_file(), chain.validator).map_err(|error| error.to_string())?;
    let order = order(&validator);
    let mut flood = SignedFlood::sign(&chain.folder, "load", &order)?;
    let before = validator.metrics().map_err(|error| error.to_string())?;
    let start = Instant::now();
    flood.go()?;
    let report = flood.report()?;
    let after = validator.metrics().map_err(|error| error.to_string())?;
    if let Some(failure) = &report.failure {
        return Err(format!("the flood failed: {}", failure.message));
    }
    Ok(Flooded { report, metrics: (before, after, start.elapsed().as_secs_f64()), validator })
}

/// The stages' rates and regimes between two readings.
pub fn stage_figures((before, after, seconds): &(Value, Value, f64)) -> Vec<StageFigures> {
    let empty = Vec::new();
    let stages = |reading: &Value| reading["stages"].as_array().unwrap_or(&empty).clone();
    let (before, after) = (stages(before), stages(after));
    let figures = after.iter().map(|stage| {
        let earlier = before.iter().find(|other| other["name"] == stage["name"]);
        let grown = |field: &str| {
            stage[field].as_f64().unwrap_or(0.0) - earlier.and_then(|stage| stage[field].as_f64()).unwrap_or(0.0)
        };
        StageFigures {
            name: stage["name"].as_str().unwrap_or("").to_owned(),
            tps: grown("transactions") / seconds,
            busy: grown("busy_ns") / 1e9 / seconds,
            waiting_input: grown("waiting_input_ns") / 1e9 / seconds,
            waiting_output: grown("waiting_output_ns") / 1e9 / seconds,
        }
    });
    figures.collect()
}
