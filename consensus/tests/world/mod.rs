//! A small world for agreement: a simulated network on the deterministic runtime, and replicas that keep everything in memory and "execute" a block
//! by hashing its header behind the state before.
#![allow(clippy::unwrap_used, clippy::large_enum_variant, clippy::type_complexity, dead_code)]

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use commonware_p2p::simulated::{self, Link, Network, Oracle};
use commonware_runtime::{Clock, Handle, Quota, Spawner, Supervisor, deterministic};
use commonware_utils::{NZU32, Probability};
use ed25519_dalek::SigningKey;
use parking_lot::Mutex;
use tana_consensus::core::keys::{PublicKey, public_key};
use tana_consensus::core::{self, Channels, CoreConfig};
use tana_consensus::{
    ChainStart, ConsensusHandle, EpochSet, Event, Execution, FinalizedBlock, Host, RecordStore, Timeouts, Validator,
};
use tana_lane::{Evidence, HeldBatch, Lane, LaneLimits};
use tana_order::{AuthorMarks, ChainRules, ExecutedRoots, LaneFloors, enter_floors};
use tana_types::Hash;
use tana_types::batch::{Batch, Origin, Seal};
use tana_types::genesis::Rules;
use tana_types::header::BlockHeader;
use tana_types::key::PublicKey as AccountKey;
use tana_types::payload::Payload;
use tana_types::transaction::{Chain, Transaction, sign};

pub const GENESIS: Hash = [7; 32];
pub const GENESIS_MS: u64 = 1;

pub type Context = deterministic::Context;

/// Which validators (by number) are in the set of an epoch.
pub type Schedule = Arc<dyn Fn(u64) -> Vec<usize> + Send + Sync>;

/// What all nodes agree on.
#[derive(Clone)]
pub struct Plan {
    pub rules: ChainRules,
    pub schedule: Schedule,
    pub leader_timeout: Duration,
    /// Where each validator's links listen.
    pub address: Arc<dyn Fn(usize) -> String + Send + Sync>,
}

impl Plan {
    pub fn new(epoch_blocks: u64, schedule: impl Fn(u64) -> Vec<usize> + Send + Sync + 'static) -> Self {
        let rules = Rules { epoch_blocks, lag_blocks_max: 16, batch_expiry_blocks: 1_000, ..Rules::default() };
        Self {
            rules: ChainRules::new(&rules, 2_000, 10, 200),
            schedule: Arc::new(schedule),
            leader_timeout: Duration::from_secs(1),
            address: Arc::new(|number| format!("node-{number}")),
        }
    }

    fn sets(&self, epochs: std::ops::RangeInclusive<u64>) -> Vec<EpochSet> {
        let validator = |number: usize| Validator { key: key_bytes(number), address: (self.address)(number) };
        epochs
            .map(|epoch| EpochSet { epoch, validators: (self.schedule)(epoch).into_iter().map(validator).collect() })
            .collect()
    }
}

pub fn key(number: usize) -> SigningKey {
    SigningKey::from_bytes(&[number as u8 + 1; 32])
}

pub fn key_bytes(number: usize) -> [u8; 32] {
    key(number).verifying_key().to_bytes()
}

pub fn peer(number: usize) -> PublicKey {
    public_key(&key_bytes(number)).unwrap()
}

/// What a replica was asked to do and has not done yet.
enum Work {
    Verify(Bytes),
    Execute(FinalizedBlock),
    Reseal(u64),
}

/// What survives a crash, and what is under way.
#[derive(Default)]
struct Disk {
    batches: BTreeMap<Hash, Bytes>,
    blocks: Vec<FinalizedBlock>,
    /// Roots by height, from 0.
    roots: Vec<Hash>,
    marks: AuthorMarks,
    floors: LaneFloors,
    record: Option<Vec<u8>>,
    evidence: Vec<Evidence>,
    next_sequence: u64,
}

/// A node's host.
pub struct Replica {
    number: usize,
    plan: Plan,
    disk: Mutex<Disk>,
    work: Mutex<VecDeque<Work>>,
    handle: Mutex<Option<ConsensusHandle>>,
    events: Mutex<Option<Arc<dyn Fn(Event) + Send + Sync>>>,
    stopped: Mutex<bool>,
    /// Batches that the host says no to, to see that the sender is held back.
    pub full: Mutex<bool>,
}

impl Replica {
    pub fn new(number: usize, plan: Plan) -> Arc<Self> {
        // The key was just made.
        let record = Some(tana_consensus::record::Record::default().encode());
        let disk = Disk { roots: vec![GENESIS], record, ..Disk::default() };
        Arc::new(Self {
            number,
            plan,
            disk: Mutex::new(disk),
            work: Mutex::default(),
            handle: Mutex::default(),
            events: Mutex::default(),
            stopped: Mutex::default(),
            full: Mutex::default(),
        })
    }

    pub fn handle(&self) -> ConsensusHandle {
        self.handle.lock().clone().unwrap()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where events go.
    pub fn set_events(&self, events: impl Fn(Event) + Send + Sync + 'static) {
        *self.events.lock() = Some(Arc::new(events));
    }

    fn send(&self, event: Event) {
        let events = self.events.lock().clone();
        events.unwrap()(event);
    }

    pub fn stop(&self) {
        *self.stopped.lock() = true;
    }

    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock()
    }

    /// What a crash leaves: the disk.
    pub fn reset(&self) {
        self.work.lock().clear();
        *self.events.lock() = None;
        *self.handle.lock() = None;
        *self.stopped.lock() = false;
    }

    /// Does what waits.
    pub fn do_work(&self) {
        loop {
            let Some(work) = self.work.lock().pop_front() else { return };
            for event in self.done(work) {
                self.send(event);
            }
        }
    }

    pub fn height(&self) -> u64 {
        self.disk.lock().blocks.len() as u64
    }

    pub fn blocks(&self) -> Vec<FinalizedBlock> {
        self.disk.lock().blocks.clone()
    }

    pub fn hashes(&self) -> Vec<Hash> {
        self.disk.lock().blocks.iter().map(|block| block.hash).collect()
    }

    pub fn evidence_kept(&self) -> Vec<Evidence> {
        self.disk.lock().evidence.clone()
    }

    /// Transactions in all blocks.
    pub fn transactions(&self) -> u64 {
        self.disk.lock().blocks.iter().map(|block| u64::from(block.header.transaction_count)).sum()
    }

    /// Every digest listed, in order.
    pub fn listed(&self) -> Vec<Hash> {
        let disk = self.disk.lock();
        disk.blocks.iter().flat_map(|block| block.header.batches().map(|(_, _, digest)| *digest)).collect()
    }

    pub fn forget_record(&self) {
        self.disk.lock().record = None;
    }

    pub fn has_record(&self) -> bool {
        self.disk.lock().record.is_some()
    }

    pub fn set_record(&self, record: Vec<u8>) {
        self.disk.lock().record = Some(record);
    }

    fn roots(&self, disk: &Disk, height: u64) -> ExecutedRoots {
        ExecutedRoots {
            height,
            state_root: disk.roots[height as usize],
            receipts_root: [9; 32],
            validator_set_hash: [8; 32],
        }
    }

    /// Where agreement goes on after a crash: all of it executed.
    pub fn chain_start(&self) -> ChainStart {
        let disk = self.disk.lock();
        let base = disk.blocks.last().map(|block| block.header.clone());
        let height = base.as_ref().map_or(0, |base| base.height);
        let epoch_blocks = self.plan.rules.epoch_blocks;
        let attested = base.as_ref().map_or(0, |base| base.executed_height);
        let epoch = height.saturating_sub(1) / epoch_blocks;
        let last = if height > 0 && height.is_multiple_of(epoch_blocks) { epoch + 2 } else { epoch + 1 };
        ChainStart {
            genesis_timestamp_ms: GENESIS_MS,
            base,
            marks: disk.marks.clone(),
            floors: disk.floors.clone(),
            executed: (attested..=height).map(|height| self.roots(&disk, height)).collect(),
            sets: self.plan.sets(epoch..=last),
            above: Vec::new(),
            boundary: None,
            certificate: None,
        }
    }

    /// Seals a batch of `transactions` transfers, stores it and tells agreement.
    pub fn make_batch(&self, transactions: u64) {
        let chain = Chain::new(GENESIS);
        let payload = Payload::Transfer { recipient: AccountKey([3; 32]), currency: "USD".parse().unwrap(), amount: 1 };
        let (sequence, height) = {
            let mut disk = self.disk.lock();
            disk.next_sequence += 1;
            (disk.next_sequence, disk.blocks.len() as u64)
        };
        let mut batch = Batch::with_capacity(transactions as usize, 200 * transactions as usize);
        for transaction in 0..transactions {
            let nonce = sequence << 16 | transaction;
            let bytes = sign(&chain, &key(self.number), nonce, 1, &payload).unwrap();
            batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
        }
        let epoch = height / self.plan.rules.epoch_blocks;
        let mut lane = Lane::new(chain, key(self.number), sequence - 1, self.plan.rules.batch_expiry_blocks);
        let sealed = lane.seal(&mut batch, epoch, height);
        let bytes = Bytes::copy_from_slice(batch.sealed_bytes());
        self.disk.lock().batches.insert(sealed.digest, bytes.clone());
        let batch = held(&bytes);
        self.send(Event::Held { batch, own: Some(bytes) });
    }

    /// Seals the transactions of all own unlisted batches behind `mark` again, unless that was done already.
    fn reseal(&self, mark: u64) -> Vec<Event> {
        let listed = self.listed();
        let mut disk = self.disk.lock();
        let own: BTreeMap<u64, Bytes> = (disk.batches.iter())
            .filter(|(digest, sealed)| !listed.contains(*digest) && held(sealed).author == key_bytes(self.number))
            .map(|(_, sealed)| (held(sealed).sequence, sealed.clone()))
            .filter(|(sequence, _)| *sequence > mark)
            .collect();
        if own.values().any(|sealed| held(sealed).follows(mark)) {
            return Vec::new();
        }
        let chain = Chain::new(GENESIS);
        let height = disk.blocks.len() as u64;
        let rules = &self.plan.rules;
        let mut lane = Lane::new(chain, key(self.number), disk.next_sequence, rules.batch_expiry_blocks);
        lane.withdraw(mark);
        let mut events = Vec::new();
        for sealed in own.into_values() {
            let mut batch = Batch::default();
            batch.load_sealed(&sealed, &chain).unwrap();
            let again = lane.seal(&mut batch, height / rules.epoch_blocks, height);
            let bytes = Bytes::copy_from_slice(batch.sealed_bytes());
            disk.batches.insert(again.digest, bytes.clone());
            disk.next_sequence = again.sequence;
            events.push(Event::Held { batch: held(&bytes), own: Some(bytes) });
        }
        events
    }

    /// The transactions of all listed batches of an author, by identifier.
    pub fn listed_of(&self, author: usize) -> Vec<Hash> {
        let disk = self.disk.lock();
        let digests = disk.blocks.iter().flat_map(|block| block.header.batches().map(|(_, _, digest)| *digest));
        let batches = digests.map(|digest| held(&disk.batches[&digest]));
        let ids = batches.filter(|batch| batch.author == key_bytes(author)).map(|batch| batch.ids.to_vec());
        ids.flatten().collect()
    }

    /// What recovery tells: every batch on the disk that no block lists.
    pub fn tell_held(&self) {
        let listed = self.listed();
        let batches = self.disk.lock().batches.clone();
        for sealed in batches.into_iter().filter(|(digest, _)| !listed.contains(digest)).map(|(_, sealed)| sealed) {
            let batch = held(&sealed);
            let own = (batch.author == key_bytes(self.number)).then_some(sealed);
            self.send(Event::Held { batch, own });
        }
    }

    /// Does what waits, one piece at a time, every millisecond.
    async fn work(self: Arc<Self>, context: Context) {
        loop {
            context.sleep(Duration::from_millis(1)).await;
            self.do_work();
        }
    }

    fn done(&self, work: Work) -> Vec<Event> {
        match work {
            Work::Verify(sealed) => {
                let batch = held(&sealed);
                self.disk.lock().batches.insert(batch.digest, sealed);
                vec![Event::Held { batch, own: None }]
            }
            Work::Execute(block) => {
                let height = block.header.height;
                let mut disk = self.disk.lock();
                assert_eq!(disk.blocks.len() as u64 + 1, height, "blocks come in order");
                for (_, _, digest) in block.header.batches() {
                    assert!(disk.batches.contains_key(digest), "a finalized block's batches are held");
                }
                let epoch = block.header.epoch;
                let members: Vec<_> = (self.plan.schedule)(epoch).into_iter().map(key_bytes).collect();
                if height > 1 && height % self.plan.rules.epoch_blocks == 1 {
                    let marks = std::mem::take(&mut disk.marks);
                    let (stay, left): (AuthorMarks, AuthorMarks) =
                        marks.into_iter().partition(|(author, _)| members.contains(author));
                    disk.marks = stay;
                    enter_floors(&mut disk.floors, left, height, self.plan.rules.batch_expiry_blocks);
                }
                for lane in &block.header.lanes {
                    let last = lane.first_sequence + lane.digests.len() as u64 - 1;
                    disk.marks.insert(members[usize::from(lane.lane)], last);
                }
                let root = blake3::hash(&[disk.roots[height as usize - 1], block.hash].concat());
                disk.roots.push(*root.as_bytes());
                disk.blocks.push(block);
                let roots = self.roots(&disk, height);
                let sets = self.plan.sets(epoch..=epoch + 2);
                vec![Event::Executed(Execution { roots, sets }), Event::Committed(height)]
            }
            Work::Reseal(mark) => self.reseal(mark),
        }
    }
}

/// What agreement is told of a batch.
pub fn held(sealed: &Bytes) -> HeldBatch {
    let chain = Chain::new(GENESIS);
    let (seal, _) = Seal::decode(sealed, &chain).unwrap();
    let mut batch = Batch::default();
    batch.load_sealed(sealed, &chain).unwrap();
    let ids: Vec<Hash> = batch.transactions().map(|transaction| transaction.id()).collect();
    HeldBatch::from_seal(seal, ids.into())
}

impl Host for Replica {
    fn verify(&self, batch: Bytes, _author: [u8; 32]) -> bool {
        if *self.full.lock() {
            return false;
        }
        self.work.lock().push_back(Work::Verify(batch));
        true
    }

    fn finalized(&self, block: FinalizedBlock) {
        self.work.lock().push_back(Work::Execute(block));
    }

    fn read_batch(&self, digest: &Hash, _height_hint: u64) -> Option<Bytes> {
        self.disk.lock().batches.get(digest).cloned()
    }

    fn forget(&self, _digests: &[Hash]) {}

    fn reseal_own(&self, mark: u64) {
        self.work.lock().push_back(Work::Reseal(mark));
    }

    fn evidence(&self, evidence: Evidence) {
        self.disk.lock().evidence.push(evidence);
    }

    fn answer_sync(&self, _peer: &[u8; 32], _request: Bytes) -> Option<Bytes> {
        None
    }
}

struct DiskRecord(Arc<Replica>);

impl RecordStore for DiskRecord {
    fn load(&self) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.disk.lock().record.clone())
    }

    fn store(&self, bytes: &[u8]) -> Result<(), String> {
        self.0.disk.lock().record = Some(bytes.to_vec());
        Ok(())
    }
}

/// A running node.
pub struct Node {
    pub replica: Arc<Replica>,
    task: Handle<()>,
}

impl Node {
    /// Ends every task of the node at once; what was synced stays.
    pub async fn crash(self) -> Arc<Replica> {
        self.task.abort();
        let _ = self.task.await;
        self.replica.reset();
        self.replica
    }
}

/// The network and what starts nodes on it.
pub struct World {
    pub context: Context,
    pub oracle: Oracle<PublicKey, Context>,
    pub plan: Plan,
}

const QUOTA: Quota = Quota::per_second(NZU32!(100_000));

impl World {
    /// A network of `count` nodes, all linked with a few milliseconds between them.
    pub async fn new(context: Context, plan: Plan, count: usize) -> Self {
        let peers: Vec<_> = (0..count).map(peer).collect();
        let config = simulated::Config {
            max_size: 4 << 20,
            max_peers_per_set: NonZeroUsize::new(count.max(1)).unwrap(),
            disconnect_on_block: true,
            tracked_peer_sets: NonZeroUsize::new(4).unwrap(),
        };
        let (network, oracle) = Network::new_with_peers(context.child("network"), config, peers.clone()).await;
        network.start();
        let world = Self { context, oracle, plan };
        for from in 0..count {
            for to in 0..count {
                world.link(from, to, 3).await;
            }
        }
        world
    }

    pub async fn link(&self, from: usize, to: usize, milliseconds: u64) {
        if from == to {
            return;
        }
        let link = Link {
            latency: Duration::from_millis(milliseconds),
            jitter: Duration::from_millis(1),
            success_rate: Probability::new(1, 1).unwrap(),
        };
        self.oracle.add_link(peer(from), peer(to), link).await.unwrap();
    }

    pub async fn unlink(&self, from: usize, to: usize) {
        if from != to {
            self.oracle.remove_link(peer(from), peer(to)).await.unwrap();
        }
    }

    pub async fn start(&self, number: usize) -> Node {
        self.start_on(Replica::new(number, self.plan.clone()), &format!("node-{number}")).await
    }

    /// Starts a node on a replica with storage under `prefix`.
    pub async fn start_on(&self, replica: Arc<Replica>, prefix: &str) -> Node {
        let (there, number) = (replica.clone(), replica.number);
        let (oracle, plan, prefix) = (self.oracle.clone(), self.plan.clone(), prefix.to_owned());
        let task = self.context.child("node").with_attribute("number", number).spawn(move |context| async move {
            let control = oracle.control(peer(number));
            let mut pairs = Vec::new();
            for channel in 0..8 {
                pairs.push(control.register(channel, QUOTA).await.unwrap());
            }
            let mut pairs = pairs.into_iter();
            let mut next = || pairs.next().unwrap();
            let channels = Channels {
                votes: next(),
                certificates: next(),
                certificate_fetches: next(),
                blocks: next(),
                block_fetches: next(),
                marks: next(),
                batches: next(),
                batch_fetches: next(),
            };
            let config = CoreConfig {
                key: key(number),
                genesis_hash: GENESIS,
                rules: plan.rules.clone(),
                lanes: LaneLimits::default(),
                timeouts: Timeouts::from_leader(plan.leader_timeout),
                keep_heights: 0,
                prefix,
                clock_offset_ms: 0,
            };
            let record = Arc::new(DiskRecord(there.clone()));
            let start = there.chain_start();
            let handle = core::start(
                context.child("core"),
                config,
                start,
                there.clone(),
                record,
                channels,
                control,
                oracle.manager(),
            )
            .await
            .unwrap();
            let events = handle.clone();
            there.set_events(move |event| events.send(event));
            *there.handle.lock() = Some(handle);
            there.work(context).await;
        });
        while replica.handle.lock().is_none() {
            self.context.sleep(Duration::from_millis(1)).await;
        }
        replica.tell_held();
        Node { replica, task }
    }

    pub async fn sleep(&self, milliseconds: u64) {
        self.context.sleep(Duration::from_millis(milliseconds)).await;
    }

    /// Waits until `reached` holds, for at most `seconds` of simulated time.
    pub async fn until(&self, what: &str, seconds: u64, reached: impl Fn() -> bool) {
        for _ in 0..seconds * 100 {
            if reached() {
                return;
            }
            self.sleep(10).await;
        }
        panic!("not within {seconds} simulated seconds: {what}");
    }
}

/// Asserts that every replica's blocks are a prefix of the longest ones.
pub fn assert_one_chain(replicas: &[&Arc<Replica>]) {
    let longest = replicas.iter().map(|replica| replica.hashes()).max_by_key(Vec::len).unwrap();
    for replica in replicas {
        let hashes = replica.hashes();
        assert_eq!(hashes, longest[..hashes.len()], "node {}", replica.number);
    }
}

/// The header at a height.
pub fn header(replica: &Replica, height: u64) -> BlockHeader {
    replica.disk.lock().blocks[height as usize - 1].header.clone()
}
