//! Processes of a run: this binary started again as validator or load generator, spoken to in lines of JSON on standard output.
//!
//! A child ends with its handle: a validator by SIGTERM and, if it does not end, by SIGKILL; each by its own process id.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_net::{ServerPin, TxClient};
use tana_types::key::PublicKey;
use tana_types::query::{Answer, Request, Response};
use thiserror::Error;

/// How long a validator has to start: a million accounts are derived in a few seconds, replays take their time.
const START: Duration = Duration::from_secs(300);
/// How long a validator has to stop.
const STOP: Duration = Duration::from_secs(60);

/// Why a child could not be used.
#[derive(Debug, Error)]
pub enum ChildError {
    /// It could not be started.
    #[error("cannot start this program again: {0}")]
    Spawn(std::io::Error),
    /// It ended or said something else than expected.
    #[error("the validator did not start: {0}")]
    NotReady(String),
    /// It did not answer a question.
    #[error("the validator does not answer: {0}")]
    Query(String),
    /// It ended badly.
    #[error("the validator did not stop cleanly: {0}")]
    Stop(String),
}

/// The first line of a validator.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Where it takes transactions.
    pub listen: SocketAddr,
    /// The signature path.
    pub verify_backend: String,
    /// The log writer.
    pub log_backend: String,
    /// The recovered height.
    pub height: u64,
    /// Blocks executed again.
    pub replayed_blocks: u64,
    /// How long recovery took, milliseconds.
    pub recovery_ms: u64,
}

/// Runs a validator in this process until SIGTERM or SIGINT; the other side of [`Validator`].
pub fn run_validator(config: &Path) -> Result<(), String> {
    let config = NodeConfig::load(config).map_err(|error| error.to_string())?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let mut terminate = runtime
        .block_on(async { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) })
        .map_err(|error| error.to_string())?;
    let node = Node::start(&config, &|_, _, _| {}).map_err(|error| error.to_string())?;
    tana_cli::memory::give_back_unused();
    let report = node.report();
    let ready = Ready {
        listen: report.listen,
        verify_backend: report.verify_backend.clone(),
        log_backend: report.log_backend.clone(),
        height: report.height,
        replayed_blocks: report.replayed_blocks,
        recovery_ms: report.recovery.as_millis() as u64,
    };
    println!("{}", serde_json::to_string(&ready).map_err(|error| error.to_string())?);
    loop {
        let stopped = runtime
            .block_on(async { tokio::time::timeout(Duration::from_millis(200), terminate.recv()).await.is_ok() });
        if stopped || node.wait_for_failure(Duration::ZERO).is_some() {
            return node.stop().map_err(|error| error.to_string());
        }
    }
}

/// A running validator.
pub struct Validator {
    child: Child,
    /// What it said when it was ready.
    pub ready: Ready,
    key: PublicKey,
    _output: BufReader<ChildStdout>,
}

/// How a child of this binary is started: this program, a hidden word, the configuration.
pub fn start_self(words: &[&std::ffi::OsStr]) -> Result<Child, ChildError> {
    let program = std::env::current_exe().map_err(ChildError::Spawn)?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().map_err(ChildError::Spawn)
}

impl Validator {
    /// Starts a validator and waits until it takes transactions.
    pub fn start(config: &Path, key: PublicKey) -> Result<Self, ChildError> {
        let mut child = start_self(&["validator".as_ref(), config.as_os_str()])?;
        let not_ready = |reason: &str| ChildError::NotReady(reason.to_owned());
        let output = child.stdout.take().ok_or_else(|| not_ready("it has no output"))?;
        let mut output = BufReader::new(output);
        let started = Instant::now();
        let mut line = String::new();
        // A validator that fails ends, and the end of its output ends the wait; one that hangs is a defect that the run's owner sees.
        let read = output.read_line(&mut line).map_err(|error| not_ready(&error.to_string()))?;
        if read == 0 || started.elapsed() > START {
            let status = child.wait().map_err(|error| not_ready(&error.to_string()))?;
            return Err(not_ready(&format!("it ended with {status}; its error is printed above")));
        }
        let ready = serde_json::from_str(&line).map_err(|error| not_ready(&error.to_string()))?;
        Ok(Self { child, ready, key, _output: output })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks one question on a connection of its own.
    pub fn ask(&self, request: &Request) -> Result<Answer, ChildError> {
        let error = |text: String| ChildError::Query(text);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| error(source.to_string()))?;
        runtime.block_on(async {
            let pin = ServerPin::Key(self.key.0);
            let client =
                TxClient::connect(self.ready.listen, pin, None).await.map_err(|source| error(source.to_string()))?;
            let bytes = serde_json::to_vec(request).map_err(|source| error(source.to_string()))?;
            let response = client.query(&bytes).await.map_err(|source| error(source.to_string()))?;
            match serde_json::from_slice(&response).map_err(|source| error(source.to_string()))? {
                Response::Ok(answer) => Ok(answer),
                Response::Error(reason) => Err(error(reason)),
            }
        })
    }

    /// Its counters.
    pub fn metrics(&self) -> Result<serde_json::Value, ChildError> {
        match self.ask(&Request::Metrics)? {
            Answer::Metrics(text) => {
                serde_json::from_str(&text.0).map_err(|error| ChildError::Query(error.to_string()))
            }
            other => Err(ChildError::Query(format!("it answered {other:?}"))),
        }
    }

    /// Kills it at once.
    pub fn kill(mut self) -> Result<(), ChildError> {
        self.child.kill().map_err(ChildError::Spawn)?;
        self.child.wait().map_err(ChildError::Spawn)?;
        Ok(())
    }

    /// Stops it cleanly.
    pub fn stop(mut self) -> Result<(), ChildError> {
        self.terminate();
        let deadline = Instant::now() + STOP;
        loop {
            match self.child.try_wait().map_err(ChildError::Spawn)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(ChildError::Stop(status.to_string())),
                None if Instant::now() > deadline => return Err(ChildError::Stop("it took over a minute".to_owned())),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself, which the caller sees by its status.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
