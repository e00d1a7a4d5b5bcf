//! Thousands of idle connections, and clients that misbehave: the node stays small and serves its honest client.
//!
//! A phase:
//!
//! 1. A validator starts; an honest client connects.
//! 2. Idle clients connect from many loopback addresses over a few sockets, as many as are let in.
//! 3. They stay, for a while, with nothing but keep-alives. Meanwhile the honest client sends transfers, all of which must be applied.
//! 4. The node's anonymous memory at its largest, against that before, is what an idle connection costs.
//! 5. In the phase with default limits, clients misbehave afterwards; and then the honest client's transfers must be applied again.
//!
//! The first phase raises the limits so that everybody is let in; the second has the default ones, which refuse most.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use tana_net::{ClientSocket, ServerPin, TxClient};

use crate::chain::{Chain, ChainChoices};
use crate::child::Validator;
use crate::misbehave::{Misbehaved, misbehave};
use crate::reports::Reports;
use crate::victim::anonymous_bytes;
use crate::wallet::{Wallet, ask_nonces, run};

/// Addresses that idle clients come from: 10,000 connections are 200 each, less than an address may open at once.
const ADDRESSES: u32 = 50;
/// Handshakes under way at a time.
const HANDSHAKES: usize = 64;
/// How long connecting may take, all together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);
/// Connections refused in a row after which no more are tried: the node is full.
const REFUSED_MAX: usize = 2_000;
/// Transfers that the honest client sends in a phase.
const TRANSFERS: u64 = 1_000;
/// Transfers per second.
const RATE: u64 = 200;
/// How long they may take.
const TRANSFERS_TIMEOUT: Duration = Duration::from_secs(60);
/// What an idle connection may cost.
const BYTES_PER_CONNECTION_MAX: u64 = 64 * 1024;
/// What a node may grow by whatever else happens.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
/// Connections that the raised limits allow.
const RAISED_CONNECTIONS: usize = 20_000;
/// Accounts of the chain, and of the honest client.
const ACCOUNTS: u32 = 1_000;
const WALLET_ACCOUNTS: u32 = 50;

/// What to do.
#[derive(Debug, Clone)]
pub struct IdlePlan {
    /// Folder of the chains.
    pub folder: PathBuf,
    /// Idle connections that are tried.
    pub connections: usize,
    /// How long they stay.
    pub seconds: u64,
    /// Misbehaving clients of each kind.
    pub misbehaving: usize,
}

/// One phase.
#[derive(Debug, Clone, Serialize)]
pub struct IdlePhase {
    /// Its name.
    pub name: String,
    /// Idle connections that were let in.
    pub connected: u64,
    /// Idle connections that were refused.
    pub refused: u64,
    /// Of those let in, how many were still there at the end.
    pub alive: u64,
    /// Seconds that connecting took.
    pub connect_seconds: f64,
    /// Memory before, bytes.
    pub memory_before_bytes: u64,
    /// The most while they were there, bytes.
    pub memory_most_bytes: u64,
    /// What an idle connection costs, bytes.
    pub bytes_per_connection: u64,
    /// Transfers of the honest client that were applied.
    pub honest_applied: u64,
    /// Clients that misbehaved.
    pub misbehaved: Vec<Misbehaved>,
    /// Memory after them, bytes.
    pub memory_after_bytes: u64,
    /// What is not as it should be.
    pub violations: Vec<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Raises the limit of open files as far as this user may; what it is then.
fn raise_open_files() -> u64 {
    let limits = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limits.maximum, maximum: limits.maximum };
    // Sockets are shared by many connections, so a low limit hurts little.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Runs both phases; `progress` hears of the step, how far it is, and its end.
pub fn idle(plan: &IdlePlan, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<Vec<IdlePhase>, String> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
    let raised = IdlePlan { misbehaving: 0, ..plan.clone() };
    [("raised limits", Some(RAISED_CONNECTIONS), &raised), ("default limits", None, plan)]
        .into_iter()
        .map(|(name, limit, plan)| runtime.block_on(phase(name, limit, plan, progress)))
        .collect()
}

/// What of the validator is watched.
struct Watched {
    chain: Chain,
    validator: Validator,
    most: u64,
}

impl Watched {
    fn memory(&mut self) -> Result<u64, String> {
        let now = anonymous_bytes(self.validator.id()).ok_or("the validator is gone, or its memory cannot be read")?;
        self.most = self.most.max(now);
        Ok(now)
    }

    /// Transfers of the honest client that were applied.
    async fn transfer(&self, client: &TxClient) -> Result<u64, String> {
        let numbers: Vec<u32> = (0..WALLET_ACCOUNTS).collect();
        let currency = "USD".parse().map_err(text)?;
        let wallet = RefCell::new(Wallet::new(self.chain.genesis.to_chain(), currency, &numbers));
        ask_nonces(&wallet, client).await.map_err(text)?;
        let reports = RefCell::new(Reports::default());
        let sent = run(&wallet, client, &[], RATE, Some(TRANSFERS), &reports);
        tokio::time::timeout(TRANSFERS_TIMEOUT, sent).await.map_err(text)?.map_err(text)?;
        Ok(reports.borrow().applied_count() as u64)
    }
}

async fn phase(
    name: &str,
    limit: Option<usize>,
    plan: &IdlePlan,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<IdlePhase, String> {
    let choices = ChainChoices { accounts: ACCOUNTS, ..ChainChoices::default() };
    let chain = Chain::create(&plan.folder, &choices, |config| {
        if let Some(limit) = limit {
            config.ingest.connections_max = limit;
            config.ingest.connections_per_ip_max = limit;
        }
    })
    .map_err(text)?;
    let validator = Validator::start(&chain.config_file(), chain.validator).map_err(text)?;
    let (to, pin) = (validator.ready.listen, ServerPin::Key(chain.validator.0));
    let mut watched = Watched { chain, validator, most: 0 };
    let honest = TxClient::connect(to, pin, None).await.map_err(text)?;
    let mut violations = Vec::new();
    let warm = watched.transfer(&honest).await?;
    let before = watched.memory()?;
    watched.most = before;
    let start = Instant::now();
    let (clients, refused) = connect_all(to, pin, plan.connections, &mut |done, all| progress(name, done, all)).await?;
    let connect_seconds = start.elapsed().as_secs_f64();
    let mut honest_applied = warm;
    honest_applied += watched.transfer(&honest).await?;
    let end = Instant::now() + Duration::from_secs(plan.seconds);
    while Instant::now() < end {
        watched.memory()?;
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        progress(&format!("{name}: idle"), plan.seconds.saturating_sub(left), plan.seconds);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    honest_applied += watched.transfer(&honest).await?;
    watched.memory()?;
    let connected = clients.len() as u64;
    let alive = clients.iter().filter(|client| client.close_reason().is_none()).count() as u64;
    let bytes_per_connection = (watched.most - before) / connected.max(1);
    drop(clients);
    let most = watched.most;
    let mut misbehaved = Vec::new();
    if plan.misbehaving > 0 {
        progress(&format!("{name}: misbehaving"), 0, 1);
        misbehaved = misbehave(to, pin, plan.misbehaving).await?;
        honest_applied += watched.transfer(&honest).await?;
    }
    let after = watched.memory()?;
    let expected = TRANSFERS * if plan.misbehaving > 0 { 4 } else { 3 };
    if honest_applied != expected {
        violations.push(format!("{name}: {honest_applied} of {expected} honest transfers were applied"));
    }
    if limit.is_some() && (refused > 0 || alive != connected) {
        violations.push(format!("{name}: {refused} connections were refused and {} lost", connected - alive));
    }
    // A few connections cannot be told from what the node needs anyway.
    if connected >= 1_000 && bytes_per_connection > BYTES_PER_CONNECTION_MAX {
        violations.push(format!("{name}: an idle connection costs {bytes_per_connection} bytes, allowed are 65,536"));
    }
    if after.saturating_sub(most) > GROWTH_BYTES_MAX {
        violations.push(format!(
            "{name}: misbehaving clients grew the node from {} to {} MiB",
            most >> 20,
            after >> 20
        ));
    }
    for kind in misbehaved.iter().filter(|kind| kind.connected == 0) {
        violations
            .push(format!("{name}: no client of the kind `{}` was let in, so nothing was tested", kind.kind.name()));
    }
    drop(honest);
    watched.validator.stop().map_err(text)?;
    Ok(IdlePhase {
        name: name.to_owned(),
        connected,
        refused,
        alive,
        connect_seconds,
        memory_before_bytes: before,
        memory_most_bytes: most,
        bytes_per_connection,
        honest_applied,
        misbehaved,
        memory_after_bytes: after,
        violations,
    })
}

/// Opens `count` connections, spread over the addresses; those that were let in, and how many were refused.
async fn connect_all(
    to: SocketAddr,
    pin: ServerPin,
    count: usize,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Vec<TxClient>, u64), String> {
    let sockets: Vec<ClientSocket> = (1..=ADDRESSES)
        .map(|number| ClientSocket::open(IpAddr::V4(Ipv4Addr::new(127, 0, 1, number as u8))))
        .collect::<Result<_, _>>()
        .map_err(text)?;
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut clients = Vec::new();
    let (mut refused, mut in_a_row) = (0, 0);
    let mut tasks = tokio::task::JoinSet::new();
    let mut started = 0;
    loop {
        let goes_on = started < count && in_a_row < REFUSED_MAX && Instant::now() < deadline;
        if goes_on && tasks.len() < HANDSHAKES {
            let socket = sockets[started % sockets.len()].clone();
            tasks.spawn(async move { socket.connect(to, pin).await });
            started += 1;
            continue;
        }
        match tasks.join_next().await {
            None => break,
            Some(Ok(Ok(client))) => {
                clients.push(client);
                in_a_row = 0;
            }
            Some(_) => {
                refused += 1;
                in_a_row += 1;
            }
        }
        progress(clients.len() as u64 + refused, count as u64);
    }
    Ok((clients, refused))
}
