//! The ledger API in a process of its own, as `tana sidecar` runs it, without the bound on one address: all load comes from one here.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout};
use std::time::{Duration, Instant};

use tana_engine::config::NodeConfig;
use tana_http::limits::LimitsConfig;
use tana_http::server::{ServerConfig, bind};
use tana_ledger::api::{self, ApiConfig, ApiState};
use tana_ledger::chain::{Chain, Phase};
use tana_types::genesis::Genesis;

use crate::child::start_self;

/// Threads that serve, as in `tana sidecar`.
const WORKERS: usize = 2;
/// How long it may take to have read the node's files.
const START: Duration = Duration::from_secs(120);

/// Serves the node of this configuration until the process is killed; prints its address once it has read the node's files.
pub fn run_ledger(config: &Path) -> Result<(), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let node = NodeConfig::load(config).map_err(|error| text(&error))?;
    let genesis = Genesis::load(&node.genesis).map_err(|error| text(&error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| text(&error))?;
    runtime.block_on(async {
        let chain = Chain::open(&node.data, genesis).map_err(|error| text(&error))?;
        let begun = Instant::now();
        while chain.phase() != Phase::Following {
            if begun.elapsed() > START {
                return Err(format!("the node's files were not read in {} s: {:?}", START.as_secs(), chain.phase()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let state = ApiState::start(chain, ApiConfig::default());
        let limits = LimitsConfig { rate: None, ..api::default_limits() };
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(|error| text(&error))?;
        println!("{}", listener.address());
        let server = listener.serve(api::router(state, &limits).0, ServerConfig::default());
        std::future::pending::<()>().await;
        server.stop().await;
        Ok(())
    })
}

/// A running API. It is killed when this is dropped: it only reads.
pub struct Ledger {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
    _output: BufReader<ChildStdout>,
}

impl Ledger {
    /// Starts it beside the node of this configuration, and waits until it has read the node's files.
    pub fn start(config: &Path) -> Result<Self, String> {
        let mut child = start_self(&["ledger".as_ref(), config.as_os_str()]).map_err(|error| error.to_string())?;
        let output = child.stdout.take().ok_or("the ledger API has no output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line).map_err(|error| error.to_string())?;
        match line.trim().parse() {
            Ok(address) => Ok(Self { child, address, _output: output }),
            Err(_) => {
                // It ended, or says something else: its error is printed above.
                let _ = child.kill();
                let _ = child.wait();
                Err("the ledger API did not start; its error is printed above".to_owned())
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
