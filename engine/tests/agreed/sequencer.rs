//! Stands where agreement stands: one thread that makes blocks of what all running nodes hold, and delivers them to all, some twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use bytes::Bytes;
use tana_engine::agreement::{PipelineEvent, Refusal};
use tana_engine::agreement_host::{Agreement, AgreementStart, PipelineHost};
use tana_engine::pipeline::held::AgreedBlock;
use tana_order::ExecutedRoots;
use tana_types::Hash;
use tana_types::genesis::Genesis;
use tana_types::header::{BlockHeader, LaneBatches};

/// Batches of one lane in a block.
const LANE_BATCHES: usize = 8;
/// How far blocks may run ahead of execution.
const LAG: u64 = 8;

type Author = [u8; 32];

struct Known {
    digest: Hash,
    skipped: u64,
    ids: Arc<[Hash]>,
    holders: BTreeSet<usize>,
}

struct Member {
    host: Arc<PipelineHost>,
    outbox: VecDeque<(Bytes, Author)>,
    executed: u64,
    committed: u64,
}

#[derive(Default)]
struct State {
    chain: Vec<AgreedBlock>,
    members: BTreeMap<usize, Member>,
    known: BTreeMap<(Author, u64), Known>,
    bytes: HashMap<Hash, (Bytes, Author)>,
    marks: BTreeMap<Author, u64>,
    roots: BTreeMap<u64, ExecutedRoots>,
    held_back: BTreeSet<Author>,
    refusals: VecDeque<Refusal>,
    last_full: u64,
}

pub struct Sequencer {
    authors: Vec<Author>,
    genesis_hash: Hash,
    state: Mutex<State>,
    this: Weak<Sequencer>,
}

struct Membership {
    sequencer: Arc<Sequencer>,
    number: usize,
}

impl Agreement for Membership {
    fn stop(self: Box<Self>) {
        self.sequencer.lock().members.remove(&self.number);
    }
}

impl Sequencer {
    pub fn new(genesis: &Genesis) -> Arc<Self> {
        let authors = genesis.validators.iter().map(|validator| validator.key.0).collect();
        let genesis_hash = genesis.hash();
        let sequencer =
            Arc::new_cyclic(|this| Self { authors, genesis_hash, state: Mutex::default(), this: this.clone() });
        let weak = Arc::downgrade(&sequencer);
        std::thread::spawn(move || {
            while let Some(sequencer) = weak.upgrade() {
                sequencer.tick();
                drop(sequencer);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        sequencer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn number(&self, author: &Author) -> usize {
        self.authors.iter().position(|other| other == author).unwrap()
    }

    /// A node joins; what it has not committed is delivered, and two blocks that it has.
    pub fn join(&self, start: AgreementStart, host: Arc<PipelineHost>) -> Box<dyn Agreement> {
        let number = self.number(&start.key.verifying_key().to_bytes());
        let base = start.base.as_ref().map_or(0, |base| base.height);
        let tip = base + start.above.len() as u64;
        let mut state = self.lock();
        for header in start.base.iter().chain(&start.above) {
            assert_eq!(header.hash(), state.chain[header.height as usize - 1].hash);
        }
        if base == state.chain.len() as u64 {
            assert_eq!(start.marks, state.marks);
        }
        assert_eq!(start.boundary, Some(self.genesis_hash), "these chains stay in their first epoch");
        assert_eq!(start.sets.iter().map(|(epoch, _)| *epoch).collect::<Vec<_>>(), [0, 1]);
        for block in state.chain.iter().skip(base.saturating_sub(2) as usize) {
            host.finalized(block.clone());
        }
        let listed = state.chain.iter().skip(tip as usize).flat_map(|block| block.header.batches());
        let listed: Vec<Hash> = listed.map(|(_, _, digest)| *digest).collect();
        let unlisted = state.known.values().map(|known| known.digest);
        let outbox = listed.iter().copied().chain(unlisted).filter_map(|digest| state.bytes.get(&digest).cloned());
        let outbox = outbox.filter(|(_, author)| *author != self.authors[number]).collect();
        let executed = start.executed.last().map_or(0, |roots| roots.height);
        for roots in start.executed {
            assert_eq!(*state.roots.entry(roots.height).or_insert(roots), roots);
        }
        state.members.insert(number, Member { host: host.clone(), outbox, executed, committed: base });
        drop(state);
        let sequencer = self.this.upgrade().unwrap();
        let there = sequencer.clone();
        host.listen(move |event| there.hear(number, event));
        Box::new(Membership { sequencer, number })
    }

    fn hear(&self, number: usize, event: PipelineEvent) {
        let mut state = self.lock();
        match event {
            PipelineEvent::Held { batch, own } => {
                let known = state.known.entry((batch.author, batch.sequence)).or_insert_with(|| Known {
                    digest: batch.digest,
                    skipped: u64::from(batch.skipped),
                    ids: batch.ids.clone(),
                    holders: BTreeSet::new(),
                });
                assert_eq!(known.digest, batch.digest, "a sequence was used twice");
                known.holders.insert(number);
                assert_eq!(own.is_some(), self.authors[number] == batch.author);
                let Some(bytes) = own else { return };
                state.bytes.insert(batch.digest, (bytes.clone(), batch.author));
                for (&other, member) in &mut state.members {
                    if other != number {
                        member.outbox.push_back((bytes.clone(), batch.author));
                    }
                }
            }
            PipelineEvent::Refused(refusal) => state.refusals.push_back(refusal),
            PipelineEvent::Executed(note) => {
                assert_eq!(*state.roots.entry(note.roots.height).or_insert(note.roots), note.roots);
                assert!(note.sets.iter().all(|(_, set)| set.len() == self.authors.len()));
                if let Some(member) = state.members.get_mut(&number) {
                    assert_eq!(note.roots.height, member.executed + 1);
                    member.executed += 1;
                }
            }
            PipelineEvent::Committed(height) => {
                if let Some(member) = state.members.get_mut(&number) {
                    assert!(height <= member.committed + 1);
                    member.committed = member.committed.max(height);
                }
            }
        }
    }

    fn tick(&self) {
        let mut state = self.lock();
        for member in state.members.values_mut() {
            while let Some((bytes, author)) = member.outbox.front() {
                if !member.host.verify(bytes.clone(), *author) {
                    break;
                }
                member.outbox.pop_front();
            }
        }
        let Some(block) = self.propose(&state) else { return };
        for (lane, sequence, _) in block.header.batches() {
            state.marks.insert(self.authors[usize::from(lane)], sequence);
        }
        if block.header.batch_count() > 0 {
            state.last_full = block.header.height;
        }
        let listed: Vec<Hash> = block.header.batches().map(|(_, _, digest)| *digest).collect();
        state.chain.push(block.clone());
        for member in state.members.values() {
            member.host.finalized(block.clone());
            // Every block is delivered twice, and its batches are forgotten at once.
            member.host.finalized(block.clone());
            member.host.forget(&listed);
        }
    }

    fn propose(&self, state: &State) -> Option<AgreedBlock> {
        let executed = state.members.values().map(|member| member.executed).min()?;
        let tip = state.chain.last();
        let height = tip.map_or(0, |tip| tip.header.height) + 1;
        let executed = executed.max(tip.map_or(0, |tip| tip.header.executed_height)).min(height - 1);
        if height - executed > LAG {
            return None;
        }
        let (lanes, ids) = self.lanes(state);
        let attested = tip.map_or(0, |tip| tip.header.executed_height);
        if lanes.is_empty() && (attested >= state.last_full || executed == attested) {
            return None;
        }
        let roots = state.roots.get(&executed)?;
        let header = BlockHeader {
            height,
            epoch: 0,
            parent: tip.map_or(self.genesis_hash, |tip| tip.hash),
            proposer: self.authors[0],
            timestamp_ms: tana_engine::clock::wall_ms().max(tip.map_or(0, |tip| tip.header.timestamp_ms) + 1),
            executed_height: executed,
            state_root: roots.state_root,
            receipts_root: roots.receipts_root,
            transaction_root: tana_execute::transaction_root(&ids),
            transaction_count: ids.len() as u32,
            validator_set_hash: roots.validator_set_hash,
            lanes,
        };
        Some(AgreedBlock { hash: header.hash(), header, certificate: b"certificate".to_vec() })
    }

    /// The batches behind each lane's mark that every running node holds.
    fn lanes(&self, state: &State) -> (Vec<LaneBatches>, Vec<Hash>) {
        let (mut lanes, mut ids) = (Vec::new(), Vec::new());
        for (lane, author) in (0u16..).zip(&self.authors) {
            let mark = self.mark_of(state, author);
            let mut digests = Vec::new();
            let mut first_sequence = 0;
            for ((_, sequence), known) in state.known.range((*author, mark + 1)..=(*author, u64::MAX)) {
                let follows = if digests.is_empty() {
                    sequence - 1 - known.skipped <= mark
                } else {
                    *sequence == first_sequence + digests.len() as u64
                };
                let is_held = state.members.keys().all(|number| known.holders.contains(number));
                if digests.is_empty() && !(follows && is_held) {
                    continue;
                }
                if !follows || !is_held || digests.len() == LANE_BATCHES || state.held_back.contains(author) {
                    break;
                }
                if digests.is_empty() {
                    first_sequence = *sequence;
                }
                digests.push(known.digest);
                ids.extend_from_slice(&known.ids);
            }
            if !digests.is_empty() {
                lanes.push(LaneBatches { lane, first_sequence, digests });
            }
        }
        (lanes, ids)
    }

    fn mark_of(&self, state: &State, author: &Author) -> u64 {
        state.marks.get(author).copied().unwrap_or(0)
    }

    pub fn mark(&self, author: Author) -> u64 {
        self.mark_of(&self.lock(), &author)
    }

    pub fn height(&self) -> u64 {
        self.lock().chain.len() as u64
    }

    pub fn hold_back(&self, author: Author, hold: bool) {
        let mut state = self.lock();
        if hold {
            state.held_back.insert(author)
        } else {
            state.held_back.remove(&author)
        };
    }

    pub fn host(&self, number: usize) -> Arc<PipelineHost> {
        self.lock().members[&number].host.clone()
    }

    /// Tells the author to seal again what is behind its mark.
    pub fn reseal(&self, author: Author) {
        let (number, mark) = (self.number(&author), self.mark(author));
        self.lock().members[&number].host.reseal_own(mark);
    }

    /// Forgets what the author said that it holds itself.
    pub fn forget_held(&self, author: Author) {
        let number = self.number(&author);
        for known in self.lock().known.values_mut() {
            known.holders.remove(&number);
        }
    }

    fn held<T>(
        &self,
        author: Author,
        above: u64,
        fold: impl FnOnce(&mut dyn Iterator<Item = (u64, &Known)>) -> T,
    ) -> T {
        let state = self.lock();
        let range = state.known.range((author, above + 1)..=(author, u64::MAX));
        // Batches that no node sealed here are held by whoever was given them.
        let mut held =
            range.filter(|(_, known)| !known.holders.is_empty()).map(|((_, sequence), known)| (*sequence, known));
        fold(&mut held)
    }

    fn is_with_author(&self, author: &Author, known: &Known) -> bool {
        known.holders.contains(&self.number(author))
    }

    pub fn held_transactions_above(&self, author: Author, above: u64) -> u64 {
        self.held(author, above, |held| {
            held.filter(|(_, known)| self.is_with_author(&author, known)).map(|(_, known)| known.ids.len() as u64).sum()
        })
    }

    pub fn highest_held(&self, author: Author) -> u64 {
        self.held(author, 0, |held| held.map(|(sequence, _)| sequence).max().unwrap_or(0))
    }

    pub fn lowest_held(&self, author: Author) -> u64 {
        let mark = self.mark(author);
        self.held(author, mark, |held| {
            held.filter(|(_, known)| self.is_with_author(&author, known)).map(|(sequence, _)| sequence).min().unwrap()
        })
    }

    pub fn held_digest(&self, author: Author, sequence: u64) -> Hash {
        self.lock().known[&(author, sequence)].digest
    }

    /// The largest number of sequences that a batch of the author withdraws.
    pub fn skipped(&self, author: Author) -> u64 {
        self.held(author, 0, |held| held.map(|(_, known)| known.skipped).max().unwrap_or(0))
    }

    pub fn take_refusal(&self) -> Option<Refusal> {
        self.lock().refusals.pop_front()
    }

    /// Roots were compared as they came; this says that there were any.
    pub fn assert_equal_roots(&self) {
        assert!(self.lock().roots.len() > 3);
    }
}
