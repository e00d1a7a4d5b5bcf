//! A small chain with real state, tree and checkpoints, whose certificates are a hash of what they certify; and a network in this thread.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_execute::State;
use tana_order::{Block, SealedBatch};
use tana_store::checkpoint::MAP_BYTES_DEFAULT;
use tana_store::{Checkpoint, CheckpointMeta, CheckpointMode, Position};
use tana_types::Hash;
use tana_types::account::NO_ACCOUNT;
use tana_types::batch::{Batch, Origin};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::state::StateSections;
use tana_types::transaction::{Transaction, sign};

use crate::checkpointer::Resume;
use crate::pipeline::verify::fill_ids;
use crate::published::Published;
use crate::replay::Replayer;
use crate::sync::changes::SetChanges;
use crate::sync::headers::{Certified, ChainReader};
use crate::sync::proof::{CertificateVerifier, FinalChain};
use crate::sync::service::{SyncParts, SyncService};
use crate::sync::snapshot::{SnapshotSource, SnapshotStore};
use crate::sync::wishes::{CheckpointWish, Wishes};
use crate::sync::{PeerKey, SyncConfig, Transport};

pub const EPOCH_BLOCKS: u64 = 8;
/// Two full runs of accounts and a bit.
pub const ACCOUNTS: u32 = 8_300;
pub const SEED: &str = "world";
const START_MS: u64 = 1_730_592_000_000;

pub fn sovereign() -> SigningKey {
    SigningKey::from_bytes(&[6; 32])
}

pub fn validator(number: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[100 + number; 32]).verifying_key().to_bytes()
}

fn printed(bytes: &[u8; 32]) -> String {
    format!("ed25519_{}", hex::encode(bytes))
}

pub fn genesis(accounts: u32) -> Genesis {
    let mut text = format!(
        r#"
chain = "world"
timestamp_ms = {START_MS}
[rules]
epoch_blocks = {EPOCH_BLOCKS}
[sovereign]
key = "{}"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
[bulk]
seed = "{SEED}"
count = {accounts}
currency = "USD"
amount = "100.00"
"#,
        printed(&sovereign().verifying_key().to_bytes())
    );
    for number in 0..4 {
        let key = printed(&validator(number));
        text += &format!("[[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:90{number}0\"\n");
    }
    Genesis::parse(&text).unwrap()
}

/// Certificates of the world: a hash of all that they certify.
#[derive(Clone, Copy)]
pub struct Hashed;

pub fn certificate(epoch: u64, set: &[[u8; 32]], hash: &Hash) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&epoch.to_le_bytes()).update(set.as_flattened()).update(hash);
    hasher.finalize().as_bytes().to_vec()
}

impl CertificateVerifier for Hashed {
    fn verify(&self, epoch: u64, set: &[[u8; 32]], hash: &Hash, bytes: &[u8]) -> Result<(), String> {
        match bytes == certificate(epoch, set, hash) {
            true => Ok(()),
            false => Err("too few signatures".to_owned()),
        }
    }
}

/// What the chain's validators remember.
#[derive(Default, Clone)]
pub struct Remembered {
    pub blocks: BTreeMap<u64, (BlockHeader, StateSections)>,
    /// Sets by epoch.
    pub sets: BTreeMap<u64, Vec<[u8; 32]>>,
}

impl ChainReader for Remembered {
    fn header(&self, height: u64) -> Result<Option<Certified>, String> {
        let header = self.blocks.get(&height).map(|(header, _)| header.clone());
        Ok(header.map(|header| {
            let certificate = self.certificate(height, &header.hash()).unwrap_or_default();
            (header, certificate)
        }))
    }

    fn sections(&self, height: u64) -> Result<Option<StateSections>, String> {
        Ok(self.blocks.get(&height).map(|(_, sections)| *sections))
    }

    fn attestation(&self, boundary: u64) -> Result<Option<FinalChain>, String> {
        let mut headers: Vec<BlockHeader> = Vec::new();
        for (_, (header, _)) in self.blocks.range(boundary + 1..=boundary + EPOCH_BLOCKS) {
            headers.push(header.clone());
            let certificate = self.certificate(header.height, &header.hash());
            if let Some(certificate) = certificate.filter(|_| header.executed_height >= boundary) {
                return Ok(Some(FinalChain { headers, certificate }));
            }
        }
        Ok(None)
    }
}

impl Remembered {
    /// Only every third block and each epoch's last have certificates of their own.
    fn certificate(&self, height: u64, hash: &Hash) -> Option<Vec<u8>> {
        let epoch = (height - 1) / EPOCH_BLOCKS;
        (height.is_multiple_of(3) || height.is_multiple_of(EPOCH_BLOCKS))
            .then(|| certificate(epoch, &self.sets[&epoch], hash))
    }
}

/// The chain as it runs.
pub struct World {
    pub genesis: Genesis,
    pub replayer: Replayer,
    pub remembered: Remembered,
    pub checkpoint: Checkpoint,
    pub changes: SetChanges,
    pub snapshots: Arc<SnapshotStore>,
    pub wishes: Arc<Wishes>,
    nonces: BTreeMap<[u8; 32], u64>,
    /// The transactions of every block.
    pub transactions: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl World {
    pub fn new(folder: &Path, accounts: u32) -> Self {
        let genesis = genesis(accounts);
        let replayer = Replayer::from_genesis(&genesis, &|_, _, _| {}).unwrap();
        let checkpoint =
            Checkpoint::open(&folder.join("checkpoint"), CheckpointMode::ReadWrite, MAP_BYTES_DEFAULT).unwrap();
        Self {
            replayer,
            remembered: Remembered::default(),
            checkpoint,
            changes: SetChanges::new(&folder.join("sync/changes"), &genesis),
            snapshots: Arc::new(SnapshotStore::open(&folder.join("snapshots")).unwrap()),
            wishes: Arc::new(Wishes::new(EPOCH_BLOCKS, 0)),
            nonces: BTreeMap::new(),
            transactions: BTreeMap::new(),

            genesis,
        }
    }

    pub fn state(&self) -> &State {
        &self.replayer.state
    }

    pub fn height(&self) -> u64 {
        self.replayer.height
    }

    pub fn signed(&mut self, key: &SigningKey, payload: &Payload<'_>) -> Vec<u8> {
        let first = u64::from(!matches!(payload, Payload::UserCreation { .. }));
        let nonce = self.nonces.entry(key.verifying_key().to_bytes()).or_insert(first);
        let bytes = sign(&self.genesis.to_chain(), key, *nonce, START_MS, payload).unwrap();
        *nonce += 1;
        bytes
    }

    fn transfer(&mut self, from: u32, to: u32) -> Vec<u8> {
        let recipient = PublicKey(bulk_key(SEED, to).verifying_key().to_bytes());
        let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount: 7 };
        self.signed(&bulk_key(SEED, from), &payload)
    }

    /// What a header of the next height attests: a few heights behind, never over an epoch's end, and not every height.
    fn executed_height(&self) -> u64 {
        let height = self.height() + 1;
        let parent = self.remembered.blocks.get(&(height - 1)).map_or(0, |(header, _)| header.executed_height);
        let boundary = (parent / EPOCH_BLOCKS + 1) * EPOCH_BLOCKS;
        let wanted = if height.is_multiple_of(2) { height.saturating_sub(2).max(parent) } else { parent };
        if wanted >= boundary { boundary } else { wanted }
    }

    /// Adds a block with these transactions and a few transfers.
    pub fn step(&mut self, mut transactions: Vec<Vec<u8>>) {
        let height = self.height() + 1;
        for number in 0..3u32 {
            let from = height as u32 * 31 + number * 13;
            let bytes = self.transfer(from % 40, (from + 1) % 40);
            transactions.push(bytes);
        }
        let batch = batch_of(&transactions);
        let digest = *blake3::hash(&transactions.concat()).as_bytes();
        let epoch = self.state().epoch_of(height);
        let attested = self.executed_height();
        let roots = *self.replayer.attested.roots().find(|roots| roots.height == attested).unwrap();
        let lane = (height % 4) as u16;
        let sequence = self.state().progress().lane_marks.get(&lane).map_or(1, |mark| mark + 1);
        let header = BlockHeader {
            height,
            epoch,
            parent: self.replayer.parent,
            proposer: validator(0),
            timestamp_ms: START_MS + height,
            executed_height: attested,
            state_root: roots.state_root,
            receipts_root: roots.receipts_root,
            transaction_root: tana_execute::transaction_root(&batch.ids),
            transaction_count: batch.len() as u32,
            validator_set_hash: roots.validator_set_hash,
            lanes: vec![LaneBatches { lane, first_sequence: sequence, digests: vec![digest] }],
        };
        let set = self.state().validators(epoch).iter().map(|member| member.key.0).collect();
        self.remembered.sets.insert(epoch, set);
        let block = block_of(header, batch);
        self.transactions.insert(height, transactions);
        let replayed = self.replayer.apply(&block).unwrap();
        let codes = &self.replayer.outcome.codes;
        assert!(codes.iter().all(|code| *code == tana_types::code::Code::Applied as u8), "{codes:?}");
        self.remembered.blocks.insert(height, (block.header, replayed.sections));
        self.changes.executed(&self.replayer.state).unwrap();
        if matches!(self.wishes.behind(&self.replayer.state), CheckpointWish::Now | CheckpointWish::Must) {
            self.make_snapshot();
        }
    }

    pub fn steps_to(&mut self, height: u64) {
        while self.height() < height {
            self.step(Vec::new());
        }
    }

    /// Takes a checkpoint of this height and exports it, as a node does.
    pub fn make_snapshot(&mut self) {
        let mut write = self.checkpoint.begin().unwrap();
        let head = self.replayer.state.begin_checkpoint().unwrap();
        for (index, bytes) in &head.overflows {
            write.put_overflow(*index, bytes.as_ref().unwrap()).unwrap();
        }
        let mut pages = Vec::new();
        while !self.replayer.state.checkpoint_step(64, &mut |page, bytes| pages.push((page, bytes.to_vec()))) {}
        for (number, bytes) in pages {
            write.put_page(number, &bytes).unwrap();
        }
        let (header, sections) = self.remembered.blocks[&self.height()].clone();
        let resume = Resume {
            hash: header.hash(),
            timestamp_ms: header.timestamp_ms,
            executed_height: header.executed_height,
            last_sequence: 0,
            applied: 0,
            account_count: head.account_count,
            roots: self.replayer.attested.roots().copied().collect(),
        };
        let meta = CheckpointMeta {
            height: self.height(),
            positions: vec![Position::default(); 3],
            state_root: sections.root(),
            blob: resume.to_blob(&head.meta),
        };
        write.commit(&meta).unwrap();
        let checkpoint = self.checkpoint.snapshot().unwrap();
        let source = SnapshotSource { checkpoint: &checkpoint, meta: &head.meta, header, sections };
        self.snapshots.make(source, Instant::now()).unwrap();
    }

    /// A service over what this world is now.
    pub fn service(&self) -> Arc<SyncService> {
        let published = Published::new(self.height(), [0; 32], 0, 0);
        published.finalized.store(self.height(), std::sync::atomic::Ordering::Release);
        Arc::new(SyncService::new(SyncParts {
            published: Arc::new(published),
            snapshots: self.snapshots.clone(),
            changes: self.changes.clone(),
            wishes: self.wishes.clone(),
            chain: Arc::new(self.remembered.clone()),
            genesis: self.genesis.clone(),
            known_sets: Vec::new(),
        }))
    }

    /// A client's configuration with times for tests.
    pub fn config(&self, data: &Path) -> SyncConfig {
        SyncConfig {
            answer_patience: Duration::from_millis(400),
            patience: Duration::from_secs(5),
            stale_after: Duration::ZERO,
            ..SyncConfig::new(data.to_owned(), self.genesis.clone(), validator(2))
        }
    }
}

fn batch_of(transactions: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::default();
    batch.clear();
    for bytes in transactions {
        batch.push(Transaction::exactly(bytes).unwrap(), NO_ACCOUNT, Origin::default());
    }
    fill_ids(&mut batch);
    batch
}

fn block_of(header: BlockHeader, batch: Batch) -> Block {
    let lane = &header.lanes[0];
    let sealed =
        SealedBatch { batch, digest: lane.digests[0], lane: lane.lane, sequence: lane.first_sequence, position: 0 };
    Block { hash: header.hash(), header, batches: vec![sealed] }
}

impl World {
    /// A block of the chain, as a node that comes later gets it.
    pub fn block(&self, height: u64) -> Block {
        block_of(self.remembered.blocks[&height].0.clone(), batch_of(&self.transactions[&height]))
    }
}

/// Answers a request, or not.
pub type Answerer = Box<dyn FnMut(&[u8]) -> Option<Vec<u8>>>;

/// A network in this thread: every request is answered as soon as it is sent.
#[derive(Default)]
pub struct Network {
    pub peers: BTreeMap<PeerKey, Answerer>,
    inbox: VecDeque<(PeerKey, Vec<u8>)>,
    pub expelled: Vec<(PeerKey, String)>,
    pub sent: usize,
    /// Peers that are gone after so many messages.
    pub ends_after: Option<usize>,
}

impl Network {
    pub fn honest(&mut self, number: u8, service: &Arc<SyncService>) {
        let service = service.clone();
        self.peers.insert(validator(number), Box::new(move |request| service.answer(request)));
    }

    /// A peer whose answers `lie` may change.
    pub fn lying(
        &mut self,
        number: u8,
        service: &Arc<SyncService>,
        mut lie: impl FnMut(&[u8], Vec<u8>) -> Option<Vec<u8>> + 'static,
    ) {
        let service = service.clone();
        let answerer = move |request: &[u8]| lie(request, service.answer(request)?);
        self.peers.insert(validator(number), Box::new(answerer));
    }

    fn over(&self) -> bool {
        self.ends_after.is_some_and(|end| self.sent >= end)
    }
}

impl Transport for Network {
    fn peers(&self) -> Vec<PeerKey> {
        if self.over() { Vec::new() } else { self.peers.keys().copied().collect() }
    }

    fn send(&mut self, peer: &PeerKey, message: Vec<u8>) -> bool {
        if self.over() {
            return false;
        }
        self.sent += 1;
        if let Some(answer) = self.peers.get_mut(peer).and_then(|answerer| answerer(&message)) {
            self.inbox.push_back((*peer, answer));
        }
        true
    }

    fn receive(&mut self, timeout: Duration) -> Option<(PeerKey, Vec<u8>)> {
        let message = self.inbox.pop_front();
        if message.is_none() {
            std::thread::sleep(timeout.min(Duration::from_millis(5)));
        }
        message
    }

    fn expel(&mut self, peer: &PeerKey, reason: &str) {
        self.peers.remove(peer);
        self.inbox.retain(|(from, _)| from != peer);
        self.expelled.push((*peer, reason.to_owned()));
    }
}
