//! Joins a chain from nothing: finds a snapshot that peers have, proves that it is the chain's, fetches its accounts from all of them at once, and
//! installs it.
//!
//! 1. Ask every connected peer where it is, again every second. Whom to trust is known from the start: the genesis' validators, or the set that a
//!    header names whose height and hash the operator gave.
//! 2. Choose a snapshot that is not older than two epochs; where there is none, ask for one at the next epoch's end and wait for it.
//! 3. Take manifest and proof from one peer and check them together; when they do not hold, that peer is expelled and the next one asked.
//! 4. Fetch runs of accounts from every peer that has the snapshot, several at a time, each from one peer and checked by its own node: a wrong
//!    one names its sender. Runs that do not come in time are asked of others.
//! 5. Install. When all peers have dropped the snapshot meanwhile, start over at 2.
//!
//! Memory is bounded by the manifest, one proof and [`CHUNKS_IN_FLIGHT_MAX`] runs; the disk by what the manifest's account count says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tana_store::DataLock;
use tana_types::Hash;
use tana_types::genesis::Genesis;
use thiserror::Error;

use super::chunk::{Chunk, accounts_in, chunk_count};
use super::exchange::{Event, Exchange, FetchFailure, PeerKey, Transport};
use super::floor::Floor;
use super::install::{InstallError, Installation, Staging, is_empty};
use super::manifest::{CheckedManifest, StateManifest};
use super::message::{Head, Object};
use super::proof::{Anchor, CertificateVerifier, Proven, SetStep, TrustProof, TrustedSet};
use crate::replay::Progress;

/// Runs under way in all.
pub const CHUNKS_IN_FLIGHT_MAX: usize = 16;
/// Runs under way from one peer.
const CHUNKS_PER_PEER_MAX: usize = 6;
/// Times that a peer may be silent before it is left alone.
const STRIKES_MAX: u32 = 3;
/// How often peers are asked where they are.
const HEAD_INTERVAL: Duration = Duration::from_millis(500);
/// How long one look at the network waits.
const LOOK: Duration = Duration::from_millis(50);
/// Epochs that a snapshot may be old.
const FRESH_EPOCHS: u64 = 2;

/// Why a node did not join.
#[derive(Debug, Error)]
pub enum SyncError {
    /// Nobody could be asked.
    #[error(
        "no validator could be reached within {0:?}; check the addresses in the genesis, the network and the other validators"
    )]
    NoPeers(Duration),
    /// It did not get done.
    #[error("the state could not be fetched within {waited:?}: {reason}; peers left alone: {expelled}")]
    Patience {
        /// How long nothing came.
        waited: Duration,
        /// What it waited for.
        reason: &'static str,
        /// Peers that were expelled, with reasons.
        expelled: String,
    },
    /// Who runs it asked it to stop; nothing is left behind, and the next start begins anew.
    #[error("it was stopped before the state was here; start it again to go on")]
    Stopped,
    /// The data folder refused.
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// How a sync goes about it.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// The data folder, which holds no chain yet.
    pub data: PathBuf,
    /// The chain's rules.
    pub genesis: Genesis,
    /// The node's own key.
    pub own_key: PeerKey,
    /// A height and the hash of its block that the operator trusts; none trusts the genesis' validators.
    pub trust: Option<(u64, Hash)>,
    /// How long an answer may take.
    pub answer_patience: Duration,
    /// How long it may go on without anything coming.
    pub patience: Duration,
    /// After how long an older snapshot is taken when no fresh one comes.
    pub stale_after: Duration,
    /// Becomes true when it is to stop.
    pub stopping: Arc<AtomicBool>,
}

impl SyncConfig {
    /// The usual times: 10 s for an answer, 15 minutes without progress.
    pub fn new(data: PathBuf, genesis: Genesis, own_key: PeerKey) -> Self {
        Self {
            data,
            genesis,
            own_key,
            trust: None,
            answer_patience: Duration::from_secs(10),
            patience: Duration::from_secs(900),
            stale_after: Duration::from_secs(300),
            stopping: Arc::default(),
        }
    }
}

/// What a sync has made.
#[derive(Debug, Clone)]
pub struct Synced {
    /// The height whose state it is.
    pub height: u64,
    /// The hash of its block.
    pub hash: Hash,
    /// Its state root.
    pub state_root: Hash,
    /// Accounts, the sentinel included.
    pub account_count: u32,
    /// Where agreement goes on.
    pub floor: Floor,
    /// Peers that were expelled, with reasons.
    pub expelled: Vec<(PeerKey, String)>,
}

/// What is known of a peer.
#[derive(Default)]
struct Peer {
    head: Option<Head>,
    asked_at: Option<Instant>,
    frozen: u64,
    strikes: u32,
    /// Heights that it said it does not have.
    lost: BTreeSet<u64>,
}

/// See the module's text.
pub struct SyncClient<'a> {
    config: &'a SyncConfig,
    transport: &'a mut dyn Transport,
    verifier: &'a dyn CertificateVerifier,
    exchange: Exchange,
    peers: BTreeMap<PeerKey, Peer>,
    expelled: BTreeMap<PeerKey, String>,
    /// When something came at last.
    progress_at: Instant,
}

/// A snapshot that was proven.
struct ProvenSnapshot {
    snapshot: CheckedManifest,
    proven: Proven,
    floor: Floor,
    steps: Vec<SetStep>,
}

/// What an attempt to fetch one object gave.
enum Fetched {
    Bytes(Vec<u8>),
    NotNow,
}

impl<'a> SyncClient<'a> {
    /// A client that has asked nobody yet.
    pub fn new(
        config: &'a SyncConfig,
        transport: &'a mut dyn Transport,
        verifier: &'a dyn CertificateVerifier,
    ) -> Self {
        let exchange = Exchange::new(config.answer_patience);
        let (peers, expelled) = (BTreeMap::new(), BTreeMap::new());
        Self { config, transport, verifier, exchange, peers, expelled, progress_at: Instant::now() }
    }

    /// Does all of it; `progress` hears of accounts.
    ///
    /// # Errors
    /// When nobody honest could be found in time, or the data folder refuses.
    pub fn run(mut self, progress: Progress<'_>) -> Result<Synced, SyncError> {
        // Held to the end: of two processes that join with one folder, the second is told who the first is.
        let _lock = DataLock::acquire(&self.config.data).map_err(InstallError::from)?;
        if !is_empty(&self.config.data).map_err(InstallError::from)? {
            return Err(InstallError::NotEmpty { path: self.config.data.clone() }.into());
        }
        let trusted = self.find_trusted(progress)?;
        loop {
            let height = self.choose(progress)?;
            let Some(proven) = self.prove(height, &trusted)? else { continue };
            let staging = Staging::begin(&self.config.data)?;
            let Some(staging) = self.fetch_accounts(&proven.snapshot, staging, progress)? else { continue };
            progress("write the state", 0, 0);
            staging.install(&Installation {
                snapshot: &proven.snapshot,
                proven: &proven.proven,
                floor: &proven.floor,
                steps: &proven.steps,
                trusted_epoch: trusted.epoch,
                genesis: &self.config.genesis,
                own_key: self.config.own_key,
            })?;
            return Ok(Synced {
                height: proven.snapshot.height(),
                hash: proven.snapshot.hash,
                state_root: proven.snapshot.state_root,
                account_count: proven.snapshot.account_count(),
                floor: proven.floor,
                expelled: self.expelled.into_iter().collect(),
            });
        }
    }

    fn expel(&mut self, peer: &PeerKey, reason: impl std::fmt::Display) {
        let reason = reason.to_string();
        tracing::warn!(peer = hex::encode(peer), reason, "state sync leaves this peer alone");
        self.transport.expel(peer, &reason);
        self.peers.remove(peer);
        self.expelled.insert(*peer, reason);
    }

    fn strike(&mut self, peer: &PeerKey) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.strikes += 1;
        if known.strikes >= STRIKES_MAX {
            self.expel(&peer.clone(), "it does not answer");
        }
    }

    /// Whether to go on: not when it is to stop, and not when nothing has come for too long.
    fn go_on(&self, reason: &'static str) -> Result<(), SyncError> {
        if self.config.stopping.load(Ordering::SeqCst) {
            return Err(SyncError::Stopped);
        }
        let waited = self.progress_at.elapsed();
        if waited < self.config.patience {
            return Ok(());
        }
        if self.peers.is_empty() && self.expelled.is_empty() {
            return Err(SyncError::NoPeers(waited));
        }
        let names = self.expelled.iter().map(|(peer, reason)| format!("{} ({reason})", hex::encode(&peer[..4])));
        let expelled = names.collect::<Vec<_>>().join(", ");
        Err(SyncError::Patience { waited, reason, expelled })
    }

    /// One look at the network: asks who has not been asked for a while, takes heads in, and gives everything else.
    fn look(&mut self) -> Vec<Event> {
        let now = Instant::now();
        for key in self.transport.peers() {
            if self.expelled.contains_key(&key) {
                continue;
            }
            let peer = self.peers.entry(key).or_default();
            if peer.asked_at.is_none_or(|at| now.saturating_duration_since(at) >= HEAD_INTERVAL) {
                peer.asked_at = Some(now);
                self.exchange.ask_head(self.transport, &key);
            }
        }
        let mut events = self.exchange.poll(self.transport, LOOK);
        events.retain(|event| match event {
            Event::Head(key, head) => {
                if let Some(peer) = self.peers.get_mut(key) {
                    peer.head = Some(head.clone());
                }
                false
            }
            Event::Garbage(_) => true,
            _ => true,
        });
        for event in &events {
            if let Event::Garbage(key) = event
                && !self.expelled.contains_key(key)
            {
                self.expel(key, "it sent bytes that are no message");
            }
        }
        events
    }

    /// Peers that say they have the snapshot.
    fn serving(&self, height: u64) -> Vec<PeerKey> {
        let has = |peer: &Peer| {
            peer.head.as_ref().is_some_and(|head| head.snapshots.contains(&height)) && !peer.lost.contains(&height)
        };
        self.peers.iter().filter(|(_, peer)| has(peer)).map(|(key, _)| *key).collect()
    }

    /// The set to begin with.
    fn find_trusted(&mut self, progress: Progress<'_>) -> Result<TrustedSet, SyncError> {
        let Some((height, hash)) = self.config.trust else {
            return Ok(TrustedSet::of_genesis(&self.config.genesis));
        };
        let epoch_blocks = self.config.genesis.rules.epoch_blocks;
        progress("find the trusted block", 0, 0);
        loop {
            self.go_on("nobody knows the block that --trust names")?;
            self.look();
            for peer in self.peers.keys().copied().collect::<Vec<_>>() {
                let object = Object::Anchor { height };
                let Fetched::Bytes(bytes) = self.fetch_one(peer, 0, object)? else { continue };
                let anchor = Anchor::decode(&bytes).map_err(|error| error.to_string());
                let checked = anchor
                    .and_then(|anchor| anchor.check(height, &hash, epoch_blocks).map_err(|error| error.to_string()));
                match checked {
                    Ok(trusted) => return Ok(trusted),
                    Err(reason) => self.expel(&peer, reason),
                }
            }
        }
    }

    /// The snapshot to take: of those that are fresh, the one that most peers have; asks for one where there is none.
    fn choose(&mut self, progress: Progress<'_>) -> Result<u64, SyncError> {
        let began = Instant::now();
        loop {
            self.go_on("no peer has a snapshot of a finished epoch")?;
            progress("wait for a snapshot", 0, 0);
            self.look();
            let mut finalized: Vec<u64> =
                self.peers.values().filter_map(|peer| peer.head.as_ref()).map(|head| head.finalized).collect();
            finalized.sort_unstable();
            let Some(&middle) = finalized.get(finalized.len().saturating_sub(1) / 2) else { continue };
            let oldest = match began.elapsed() > self.config.stale_after {
                true => 0,
                false => middle.saturating_sub(FRESH_EPOCHS * self.config.genesis.rules.epoch_blocks),
            };
            let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
            for (key, peer) in &self.peers {
                let heights = peer.head.iter().flat_map(|head| &head.snapshots);
                for height in heights.filter(|height| **height >= oldest && !self.peers[key].lost.contains(height)) {
                    *counts.entry(*height).or_default() += 1;
                }
            }
            if let Some((height, _)) = counts.into_iter().max_by_key(|(height, count)| (*count, *height)) {
                return Ok(height);
            }
            self.ask_for_snapshots();
        }
    }

    fn ask_for_snapshots(&mut self) {
        for (key, peer) in &mut self.peers {
            let boundary = peer.head.as_ref().map_or(0, |head| head.next_boundary);
            if boundary > peer.frozen || boundary < peer.frozen && boundary > 0 {
                peer.frozen = boundary;
                self.exchange.ask_freeze(self.transport, key, boundary);
            }
        }
    }

    /// Fetches one object from one peer, with nothing else under way.
    fn fetch_one(&mut self, peer: PeerKey, height: u64, object: Object) -> Result<Fetched, SyncError> {
        self.exchange.give_up(None);
        self.exchange.start(peer, height, object, Instant::now());
        loop {
            for event in self.look() {
                match event {
                    Event::Done { peer: from, object: done, bytes } if from == peer && done == object => {
                        self.progress_at = Instant::now();
                        return Ok(Fetched::Bytes(bytes));
                    }
                    Event::Failed { peer: from, object: failed, failure } if from == peer && failed == object => {
                        match failure {
                            FetchFailure::Silent => self.strike(&peer),
                            FetchFailure::Broken(reason) => self.expel(&peer, reason),
                            FetchFailure::Refused(_) => {}
                        }
                        return Ok(Fetched::NotNow);
                    }
                    _ => {}
                }
            }
            if !self.peers.contains_key(&peer) {
                self.exchange.give_up(Some(&peer));
                return Ok(Fetched::NotNow);
            }
        }
    }

    /// Manifest and proof of a snapshot, checked together, from the first peer whose hold. None when nobody has it any more.
    fn prove(&mut self, height: u64, trusted: &TrustedSet) -> Result<Option<ProvenSnapshot>, SyncError> {
        loop {
            let serving = self.serving(height);
            if serving.is_empty() {
                return Ok(None);
            }
            for peer in serving {
                self.go_on("no peer can prove its snapshot yet")?;
                let Fetched::Bytes(state) = self.fetch_one(peer, height, Object::State)? else {
                    self.lose(&peer, height);
                    continue;
                };
                let object = Object::Proof { from_epoch: trusted.epoch };
                // The block that attests the snapshot may still be on its way: the same peer is asked again.
                let Fetched::Bytes(proof) = self.fetch_one(peer, height, object)? else { continue };
                match self.check(height, state, &proof, trusted) {
                    Ok(proven) => return Ok(Some(proven)),
                    Err(reason) => self.expel(&peer, reason),
                }
            }
        }
    }

    fn check(&self, height: u64, state: Vec<u8>, proof: &[u8], trusted: &TrustedSet) -> Result<ProvenSnapshot, String> {
        let genesis = &self.config.genesis;
        let manifest = StateManifest::decode(&state).map_err(|error| error.to_string())?;
        drop(state);
        if manifest.header.height != height {
            return Err("its manifest is of another height".to_owned());
        }
        let snapshot = manifest.check(genesis).map_err(|error| error.to_string())?;
        let proof = TrustProof::decode(proof).map_err(|error| error.to_string())?;
        let proven =
            proof.check(trusted.clone(), &snapshot, genesis, self.verifier).map_err(|error| error.to_string())?;
        let floor = Floor {
            header: snapshot.manifest.header.clone(),
            certificate: proof.attestation.certificate,
            chain: proof.attestation.chain,
        };
        Ok(ProvenSnapshot { snapshot, proven, floor, steps: proof.steps })
    }

    fn lose(&mut self, peer: &PeerKey, height: u64) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.lost.insert(height);
        }
    }

    /// Fetches all accounts. None when nobody has the snapshot any more.
    fn fetch_accounts(
        &mut self,
        snapshot: &CheckedManifest,
        mut staging: Staging,
        progress: Progress<'_>,
    ) -> Result<Option<Staging>, SyncError> {
        let (height, account_count) = (snapshot.height(), snapshot.account_count());
        let count = chunk_count(account_count);
        let mut waiting: BTreeSet<u32> = (0..count).collect();
        let (mut done, mut accounts) = (0u32, 0u64);
        self.exchange.give_up(None);
        while done < count {
            self.go_on("no peer sends accounts")?;
            let serving = self.serving(height);
            if serving.is_empty() && self.exchange.is_empty() {
                return Ok(None);
            }
            self.assign(&serving, height, &mut waiting);
            for event in self.look() {
                match event {
                    Event::Done { peer, object: Object::Chunk(number), bytes } => {
                        let in_chunk = accounts_in(account_count, number);
                        let checked = check_chunk(&bytes, number, in_chunk, snapshot);
                        match checked {
                            Ok(chunk) => {
                                staging.put(number, &chunk)?;
                                (done, accounts) = (done + 1, accounts + u64::from(in_chunk));
                                self.progress_at = Instant::now();
                                progress("fetch accounts", accounts, u64::from(account_count));
                            }
                            Err(reason) => {
                                waiting.insert(number);
                                self.leave(&peer, reason, &mut waiting);
                            }
                        }
                    }
                    Event::Failed { peer, object: Object::Chunk(number), failure } => {
                        waiting.insert(number);
                        match failure {
                            FetchFailure::Silent => self.strike(&peer),
                            FetchFailure::Refused(_) => self.lose(&peer, height),
                            FetchFailure::Broken(reason) => self.leave(&peer, reason.to_owned(), &mut waiting),
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(staging))
    }

    /// Expels a peer; what was asked of it is asked of others.
    fn leave(&mut self, peer: &PeerKey, reason: String, waiting: &mut BTreeSet<u32>) {
        self.expel(peer, reason);
        for object in self.exchange.give_up(Some(peer)) {
            if let Object::Chunk(number) = object {
                waiting.insert(number);
            }
        }
    }

    /// Asks the peers that have least under way, as far as there is room.
    fn assign(&mut self, serving: &[PeerKey], height: u64, waiting: &mut BTreeSet<u32>) {
        while self.exchange.len() < CHUNKS_IN_FLIGHT_MAX {
            let free = serving
                .iter()
                .filter(|peer| self.peers.contains_key(*peer))
                .map(|peer| (self.exchange.under_way(peer), peer))
                .min()
                .filter(|(under_way, _)| *under_way < CHUNKS_PER_PEER_MAX);
            let Some((_, peer)) = free else { return };
            let Some(number) = waiting.pop_first() else { return };
            self.exchange.start(*peer, height, Object::Chunk(number), Instant::now());
        }
    }
}

fn check_chunk<'b>(
    bytes: &'b [u8],
    number: u32,
    accounts: u32,
    snapshot: &CheckedManifest,
) -> Result<Chunk<'b>, String> {
    let chunk = Chunk::decode(bytes, accounts).map_err(|error| error.to_string())?;
    let roots = &snapshot.manifest.chunk_roots;
    match roots.get(number as usize) {
        Some(root) if chunk.root(roots.len() == 1) == *root => Ok(chunk),
        _ => Err(format!("run {number} of the accounts is not what the state root commits to")),
    }
}
