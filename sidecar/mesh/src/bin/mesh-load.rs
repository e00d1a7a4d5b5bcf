//! Loads a registry with heartbeats over loopback and prints how long they took: `mesh-load [nodes] [rate] [seconds]`.
//!
//! The mesh runs on one thread, pinned with its writer to the first core; the load comes from the others. The load is open: each heartbeat
//! has a moment at which it is due, and its time counts from there, so a mesh that falls behind cannot hide it by slowing the load down.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_http::clock;
use tana_http::server::{ServerConfig, bind};
use tana_mesh::limits::CONNECTIONS_MAX;
use tana_mesh::wire::{Decision, DecisionRequest, HeartbeatRequest, RegisterRequest, Service};
use tana_mesh::{FixedSovereigns, Registry, routes};
use tana_types::key::PublicKey;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Requests under way at once; more than ever wait at the rates that are measured.
const WORKERS: usize = 64;
/// Registrations under way at once while the registry is filled: fewer than may wait from one address.
const FILLERS: usize = 128;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let nodes = numbers.next().transpose()?.unwrap_or(10_000);
    let rate = numbers.next().transpose()?.unwrap_or(2_000).max(1);
    let seconds = numbers.next().transpose()?.unwrap_or(10);
    let folder = std::env::temp_dir().join(format!("mesh-load-{}", std::process::id()));
    let result = run(&folder, nodes.max(1), rate, seconds);
    std::fs::remove_dir_all(&folder)?;
    println!("{}", result?);
    Ok(())
}

/// Starts the mesh, loads it, ends it.
fn run(folder: &Path, nodes: usize, rate: usize, seconds: usize) -> Result<serde_json::Value, Failure> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (ready, address) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    let mesh_core = cores.first().copied();
    let mesh_folder = folder.to_path_buf();
    let mesh = std::thread::spawn(move || {
        // Threads that it starts inherit the core.
        if let Some(core) = mesh_core {
            core_affinity::set_for_current(core);
        }
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve(
            mesh_folder,
            nodes,
            ready,
            stopped,
        ))
    });
    let load = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.len().saturating_sub(1).max(1))
        .on_thread_start(move || {
            if let Some(core) = cores.get(1) {
                core_affinity::set_for_current(*core);
            }
        })
        .enable_all()
        .build()?;
    let result = load.block_on(async {
        let address = address.await.map_err(|_| "the mesh did not start")?;
        drive(address, nodes, rate, seconds).await
    });
    let _ = stop.send(());
    mesh.join().map_err(|_| "the mesh panicked")??;
    result
}

/// The mesh: fills the registry, then serves until told to stop.
async fn serve(
    folder: PathBuf,
    nodes: usize,
    ready: oneshot::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    let sovereign = key(usize::MAX);
    let sovereigns = FixedSovereigns::new([PublicKey(sovereign.verifying_key().to_bytes())]);
    let registry = Registry::open(&folder, Arc::new(sovereigns), None, clock::system())?;
    let mut filling = JoinSet::new();
    for number in 0..nodes {
        if filling.len() >= FILLERS {
            filling.join_next().await.ok_or("nothing to wait for")???;
        }
        filling.spawn(admit(registry.clone(), sovereign.clone(), number));
    }
    while let Some(done) = filling.join_next().await {
        done??;
    }
    let sweeper = tokio::spawn(registry.clone().keep_swept());
    let mut limits = routes::limits();
    limits.rate = None;
    let bound = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = bound.address();
    // All of the load comes from one address.
    let config = ServerConfig { connections_per_address: CONNECTIONS_MAX, ..tana_mesh::routes::server_config() };
    let server = bound.serve(routes::router(registry.clone(), &limits), config);
    ready.send(address).map_err(|_| "nobody waits for the mesh")?;
    let _ = stopped.await;
    server.stop().await;
    sweeper.abort();
    registry.close().await?;
    Ok(())
}

/// Registers and approves a node.
async fn admit(registry: Registry, sovereign: SigningKey, number: usize) -> Result<(), Failure> {
    let (signer, now, id) = (key(number), clock::system()(), id(number));
    let public_key = PublicKey(signer.verifying_key().to_bytes()).to_string();
    let services = [("ledger", 8080), ("content", 8180), ("consensus", 9000)]
        .map(|(kind, port)| Service { kind: kind.to_owned(), port, public_key: public_key.clone() })
        .to_vec();
    let request = RegisterRequest {
        node_id: id.clone(),
        public_key,
        tailscale_hostname: format!("{id}.local.ts.net"),
        tailscale_ip: Some("127.0.0.1".to_owned()),
        services,
        signature: String::new(),
        timestamp: None,
    };
    registry.register(request.sign(&signer, now), None).await?;
    let decision = DecisionRequest::signed(Decision::Approve, &id, &sovereign, now, &format!("load-{number:016}"));
    let serde_json::Value::Object(body) = serde_json::to_value(decision)? else {
        return Err("a request is an object".into());
    };
    registry.decide(Decision::Approve, &id, body).await?;
    Ok(())
}

fn id(number: usize) -> String {
    format!("node-{number}")
}

fn key(number: usize) -> SigningKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
    SigningKey::from_bytes(&seed)
}

/// Sends heartbeats at `rate` a second and measures them.
async fn drive(address: SocketAddr, nodes: usize, rate: usize, seconds: usize) -> Result<serde_json::Value, Failure> {
    let count = rate * seconds;
    let now = clock::system()();
    // Signed ahead, each with its own time, so that none is a replay of the one before.
    let bodies = (0..count).map(|number| {
        let node = number % nodes;
        let due = u64::try_from(number * 1_000 / rate).unwrap_or(u64::MAX);
        serde_json::to_vec(&HeartbeatRequest::signed(&id(node), &key(node), now + due))
    });
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new(bodies.collect::<Result<_, _>>()?);
    let client = reqwest::Client::builder().pool_max_idle_per_host(WORKERS).build()?;
    let next = Arc::new(AtomicUsize::new(0));
    let start = Instant::now() + Duration::from_millis(100);
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (client, next, bodies) = (client.clone(), next.clone(), bodies.clone());
        let url = format!("http://{address}/heartbeat");
        workers.spawn(async move {
            let (mut times, mut failed) = (Vec::new(), 0usize);
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(number) else { return (times, failed) };
                let due = start + Duration::from_secs_f64(number as f64 / rate as f64);
                tokio::time::sleep_until(due.into()).await;
                let sent = client.post(&url).header("content-type", "application/json").body(body.clone()).send().await;
                let answered = match sent {
                    Ok(response) => response.status() == 200 && response.bytes().await.is_ok(),
                    Err(_) => false,
                };
                // The timer ticks in milliseconds, so a heartbeat is sent up to one late: that is in its time too.
                times.push(due.elapsed());
                failed += usize::from(!answered);
            }
        });
    }
    let (mut times, mut failed) = (Vec::with_capacity(count), 0);
    while let Some(worker) = workers.join_next().await {
        let (own, own_failed) = worker?;
        times.extend(own);
        failed += own_failed;
    }
    let wall = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map(|time| (time.as_secs_f64() * 1e6).round() / 1e3)
    };
    Ok(serde_json::json!({
        "nodes": nodes, "rate": rate, "seconds": seconds, "sent": times.len(), "failed": failed,
        "achieved_per_second": (times.len() as f64 / wall).round(),
        "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0),
    }))
}
