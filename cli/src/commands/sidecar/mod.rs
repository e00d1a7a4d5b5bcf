//! `tana sidecar`: what stands beside a validator, in a process of its own.
//!
//! Each section of [`config`] is one part: the ledger API reads the node's files; the mesh holds the registry, and serves the page where there is a
//! visualizer; the agent speaks for the node at the mesh. All of them stop together at the first signal.

mod chain;
mod chaos;
pub mod config;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tana_engine::config::NodeConfig;
use tana_engine::keyfile::load_key_file;
use tana_http::clock;
use tana_http::limits::{Cors, LimitsConfig, standard_layers};
use tana_http::server::{Bound, Server, ServerConfig, bind};
use tana_ledger::api::{self, ApiConfig, ApiState, NodeTarget};
use tana_ledger::chain::Chain;
use tana_mesh::agent::{Agent, AgentConfig};
use tana_mesh::wire::Service;
use tana_mesh::{FixedSovereigns, Registry, Sovereigns, ValidatorSet};
use tana_net::ServerPin;
use tana_types::genesis::Genesis;
use tana_visualizer::{DevnetToken, PageOptions, RegistryNodes, Visualizer, chaos_router, page_router};

use self::chain::OfChain;
use self::chaos::LocalChaos;
use self::config::{LedgerSection, MeshSection, SidecarConfig, VisualizerSection};
use crate::commands::start::layout::{LEDGER_PORT, node_id};
use crate::commands::start::processes::leave_session;
use crate::error::CliError;
use crate::keys::public_key;
use crate::output::Output;
use crate::progress::{Live, start_logs};
use crate::signals;

/// How often signals are looked for.
const LOOK: Duration = Duration::from_millis(50);
/// Ledger ports that the page may ask beside its own sidecar's: those of a devnet.
const LEDGER_PORTS: u16 = 32;
/// Threads that serve.
const WORKERS: usize = 2;

/// What `tana sidecar` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  tana sidecar --config sidecar.toml\n\n\
    sidecar.toml names the node.toml of the validator beside it, and has a section for each part to run:\n\n  \
    node = \"node.toml\"\n  \
    [ledger]\n  listen = \"127.0.0.1:8080\"\n  \
    [agent]\n  meshes = [\"http://10.0.0.1:8190\"]\n  host = \"10.0.0.2\"\n  \
    [mesh]                      one a network; TANA_MESH_PORT and TANA_MESH_DB_PATH go before it\n  listen = \"127.0.0.1:8190\"\n  data = \"mesh\"\n  \
    [visualizer]                beside the mesh\n  listen = \"127.0.0.1:8191\"")]
pub struct SidecarArguments {
    /// Its configuration
    #[arg(long, value_name = "FILE", default_value = "sidecar.toml")]
    pub config: PathBuf,
    /// Leave the terminal's session, so that closing it does not end the sidecar
    #[arg(long, hide = true)]
    pub own_session: bool,
}

/// Runs `tana sidecar`.
///
/// # Errors
/// [`CliError`] when a part cannot be started: a file, a key, a port.
pub fn run(arguments: &SidecarArguments, output: &Output) -> Result<(), CliError> {
    if arguments.own_session {
        leave_session();
    }
    start_logs(&Live::new(&Output::new(true)), "info");
    let stopping = signals::listen(|| {}, || {})?;
    let config = SidecarConfig::load(&arguments.config)?;
    raise_file_limit();
    let system = |source| CliError::System { action: "start the network runtime", source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().map_err(system)?;
    let stopped = runtime.block_on(serve(&config, &stopping, output));
    // Look-ups that still read files are not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    stopped
}

/// Lets this process have as many open files as the system allows it: each connection is one, and the usual limit is 1,024.
fn raise_file_limit() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limits.current, "the limit of open files stays as it is; raise it with `ulimit -n`");
    }
}

/// Everything that runs.
#[derive(Default)]
struct Parts {
    servers: Vec<Server>,
    registry: Option<Registry>,
    sweep: Option<tokio::task::JoinHandle<()>>,
    visualizer: Option<Visualizer>,
    agent: Option<Agent>,
}

async fn serve(config: &SidecarConfig, stopping: &AtomicBool, output: &Output) -> Result<(), CliError> {
    let node = NodeConfig::load(&config.node)?;
    let genesis = Genesis::load(&node.genesis)?;
    let key = load_key_file(&node.key)?;
    let mut parts = Parts::default();
    let chain = match &config.ledger {
        Some(_) => Some(Chain::open(&node.data, genesis.clone()).map_err(|error| CliError::Node(error.to_string()))?),
        None => None,
    };
    if let (Some(section), Some(chain)) = (&config.ledger, &chain) {
        let target = NodeTarget { address: node.listen, pin: ServerPin::Key(public_key(&key).0) };
        parts.servers.push(ledger(section, chain.clone(), target).await?);
    }
    if let Some(section) = &config.mesh {
        mesh(section, config.visualizer.as_ref(), config.ledger.as_ref(), &genesis, chain.clone(), &mut parts).await?;
    }
    if let Some(section) = &config.agent {
        let public = public_key(&key);
        let id = section.id.clone().unwrap_or_else(|| node_id(&public));
        let mut agent = AgentConfig::new(id, key, section.host.clone(), section.meshes.clone());
        agent.ip = section.ip.map(|ip| ip.to_string());
        let mut offer = |kind: &str, port: u16, probe: Option<String>| {
            agent.services.push(Service { kind: kind.to_owned(), port, public_key: public.to_string() });
            agent.probes.extend(probe.map(|url| (kind.to_owned(), url)));
        };
        if node.consensus.enabled {
            offer(
                "consensus",
                node.consensus.listen.port(),
                node.http.map(|address| format!("http://{address}/health")),
            );
        }
        if let Some(section) = &config.ledger {
            offer("ledger", section.listen.port(), Some(format!("http://{}/health", section.listen)));
        }
        parts.agent = Some(Agent::start(agent).map_err(|error| CliError::Node(error.to_string()))?);
    }
    let listening: Vec<String> = parts.servers.iter().map(|server| server.address().to_string()).collect();
    let value = json!({ "listening": listening, "pid": std::process::id() });
    output.result(&value, |output| {
        listening.iter().for_each(|address| output.line(format!("listening on http://{address}")));
        output.note("Ctrl-C stops it");
    });
    while !stopping.load(Ordering::SeqCst) {
        tokio::time::sleep(LOOK).await;
    }
    stop(parts).await;
    Ok(())
}

/// Ends what takes requests first, then what they ask.
async fn stop(parts: Parts) {
    drop(parts.agent);
    drop(parts.visualizer);
    for server in parts.servers {
        server.stop().await;
    }
    if let Some(sweep) = parts.sweep {
        sweep.abort();
    }
    if let Some(registry) = parts.registry
        && let Err(error) = registry.close().await
    {
        tracing::error!(?error, "the registry was not written to its end");
    }
}

async fn bound(address: std::net::SocketAddr) -> Result<Bound, CliError> {
    bind(address).await.map_err(|error| CliError::Node(error.to_string()))
}

fn cors(origins: &[String]) -> Result<Cors, CliError> {
    let text = if origins.is_empty() { "none".to_owned() } else { origins.join(",") };
    text.parse().map_err(|error: tana_http::limits::CorsError| CliError::Usage(error.to_string()))
}

async fn ledger(section: &LedgerSection, chain: Chain, node: NodeTarget) -> Result<Server, CliError> {
    let listener = bound(section.listen).await?;
    let state = ApiState::start(chain, ApiConfig { node: Some(node), ..ApiConfig::default() });
    let limits = LimitsConfig { cors: cors(&section.origins)?, ..api::default_limits() };
    let (router, _) = api::router(state, &limits);
    Ok(listener.serve(router, ServerConfig::default()))
}

async fn mesh(
    section: &MeshSection,
    visualizer: Option<&VisualizerSection>,
    ledger: Option<&LedgerSection>,
    genesis: &Genesis,
    chain: Option<Chain>,
    parts: &mut Parts,
) -> Result<(), CliError> {
    let listener = bound(section.listen).await?;
    let failed = |error: &dyn std::fmt::Display| CliError::Node(error.to_string());
    // With a chain beside it the mesh knows when sovereignty changes hands; without, the genesis must do.
    let (sovereigns, set): (Arc<dyn Sovereigns>, Option<Arc<dyn ValidatorSet>>) = match chain {
        Some(chain) => {
            let chain = Arc::new(OfChain::new(chain));
            (chain.clone(), Some(chain))
        }
        None => (Arc::new(FixedSovereigns::of_genesis(genesis)), None),
    };
    let registry = Registry::open(&section.data, sovereigns, set, clock::system()).map_err(|error| failed(&error))?;
    parts.registry = Some(registry.clone());
    parts.sweep = Some(tokio::spawn(registry.clone().keep_swept()));
    let (mut router, _) = tana_mesh::routes(&registry).finish(registry.clone());
    if let Some(section) = visualizer {
        let stream = bound(section.listen).await?;
        let running = Visualizer::start(Arc::new(RegistryNodes::new(registry)), tana_visualizer::Options::default())
            .map_err(|error| failed(&error))?;
        parts.servers.push(stream.serve(running.ws_router(), ServerConfig::default()));
        let acts = match &section.chaos {
            Some(chaos) => {
                let secret = std::fs::read_to_string(&chaos.token)
                    .map_err(|source| CliError::file("read", &chaos.token, source))?;
                let token = DevnetToken::new(secret.trim()).ok_or_else(|| {
                    CliError::Usage(format!(
                        "the secret in {} is too short; delete the file, and `tana start` makes a new one",
                        chaos.token.display()
                    ))
                })?;
                Some((Arc::new(LocalChaos::new(chaos.home.clone())) as Arc<dyn tana_visualizer::Chaos>, token))
            }
            None => None,
        };
        let first = ledger.map_or(LEDGER_PORT, |section| section.listen.port());
        let ports = (first..first.saturating_add(LEDGER_PORTS)).chain([section.listen.port()]).collect();
        router = router
            .merge(page_router(PageOptions { ports, elsewhere: Vec::new() }))
            .merge(running.api_router())
            .merge(chaos_router(acts));
        parts.visualizer = Some(running);
    }
    let router = standard_layers(router, &tana_mesh::routes::limits());
    parts.servers.push(listener.serve(router, tana_mesh::routes::server_config()));
    Ok(())
}
