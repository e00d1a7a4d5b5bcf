//! A node's start from what its disk kept. See [`Replica`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tana_execute::LaneFloors;
use tana_lane::Lane;
use tana_order::{AuthorMarks, ExecutedRoots, marks_by_author};
use tana_types::Hash;
use tana_types::batch::Batch;
use tana_types::header::BlockHeader;
use tana_verify::{Backend, Verifier};

use super::batches::fill_ids;
use super::{EpochSets, HEALTHY, Output, Replica};
use crate::chain::SimChain;
use crate::checks::Checks;
use crate::disk::{Disk, Record};
use crate::ledger::Ledger;

/// What a node finds on its disk, for agreement.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The last header whose execution is complete on the disk.
    pub base: Option<BlockHeader>,
    /// Marks by author as it leaves them.
    pub marks: AuthorMarks,
    /// What is left of the lanes of authors that left the set before.
    pub floors: LaneFloors,
    /// Roots of all executed heights, from 0 up to its own.
    pub executed: Vec<ExecutedRoots>,
    /// Known validator sets by epoch, from that of its height on.
    pub sets: EpochSets,
    /// The final headers above it, which are executed from now on.
    pub above: Vec<BlockHeader>,
    /// The hash of the last block of the epoch before the next height's.
    pub boundary: Option<Hash>,
    /// Every executed block: its height, the identifiers of its transactions and their codes.
    pub contents: Vec<(u64, Vec<Hash>, Vec<u8>)>,
}

impl Replica {
    /// The node with this number and validator key, on this disk, and what it found there. Without checks it is a liar.
    ///
    /// # Errors
    /// When the disk holds what cannot be executed: a broken rule.
    pub fn start(
        chain: &Arc<SimChain>,
        node: usize,
        validator: usize,
        mut disk: Disk,
        mut checks: Option<&mut Checks>,
    ) -> Result<(Self, Recovered), String> {
        let records = disk.recover();
        let mut replica = Self::empty(chain, node, validator, disk)?;
        let mut last_own = 0;
        let (mut headers, mut committed) = (Vec::new(), 0);
        for record in records {
            match record {
                Record::Batch(sealed) => last_own = replica.recover_batch(&sealed)?.max(last_own),
                Record::Header(bytes) => {
                    headers
                        .push(BlockHeader::decode(&bytes).map_err(|error| format!("a header on the disk: {error}"))?);
                }
                Record::Commit(height, _) => committed = height,
                Record::Evidence(_) => {}
            }
        }
        replica.lane =
            Lane::new(chain.chain, chain.validators[validator].clone(), last_own, chain.numbers.expiry_blocks);
        if let Some(checks) = checks.as_deref_mut() {
            checks.started(node, headers.len() as u64);
        }
        let recovered = replica.recover_chain(headers, committed, checks)?;
        Ok((replica, recovered))
    }

    fn empty(chain: &Arc<SimChain>, node: usize, validator: usize, disk: Disk) -> Result<Self, String> {
        Ok(Self {
            chain: chain.clone(),
            node,
            key: chain.public(validator),
            wrong_roots: false,
            disk,
            pace: HEALTHY,
            // The seed need not be secret: nobody in a simulation forges by foreseeing it.
            verifier: Verifier::new(Backend::Portable, [node as u8; 32]),
            ledger: Ledger::new(chain).map_err(|error| error.to_string())?,
            lane: Lane::new(chain.chain, chain.validators[validator].clone(), 0, chain.numbers.expiry_blocks),
            batches: BTreeMap::new(),
            own_unlisted: BTreeMap::new(),
            resealing: None,
            intake: VecDeque::new(),
            sealing: false,
            jobs: BTreeMap::new(),
            job_count: 0,
            verifying: 0,
            verifier_free_us: 0,
            waiting: VecDeque::new(),
            syncing: false,
            executing: VecDeque::new(),
            executor_free_us: 0,
            tip: 0,
            outputs: Vec::new(),
        })
    }

    /// Takes a batch from the disk; its signatures were checked before it was written. Gives its sequence if it is an own one.
    fn recover_batch(&mut self, sealed: &Bytes) -> Result<u64, String> {
        let mut batch = Batch::default();
        batch.load_sealed(sealed, &self.chain.chain).map_err(|error| format!("a batch on the disk: {error}"))?;
        fill_ids(&mut batch);
        let (digest, _) = self.remember(batch, true);
        let held = &self.batches[&digest].held;
        if held.author != self.key {
            return Ok(0);
        }
        let (sequence, skipped) = (held.sequence, u64::from(held.skipped));
        // What it withdrew was sealed again behind it.
        self.own_unlisted.retain(|unlisted, _| *unlisted < sequence - skipped);
        self.own_unlisted.insert(sequence, digest);
        Ok(sequence)
    }

    /// Executes the blocks again whose execution was complete, begins with the others, and offers what no block lists.
    fn recover_chain(
        &mut self,
        mut headers: Vec<BlockHeader>,
        committed: u64,
        mut checks: Option<&mut Checks>,
    ) -> Result<Recovered, String> {
        let mut executed = vec![self.ledger.genesis_roots()];
        let mut contents = Vec::new();
        let mut listed = BTreeSet::new();
        for header in &headers {
            if header.height != self.tip + 1 {
                return Err(format!("height {} lies behind height {} on the disk", header.height, self.tip));
            }
            self.tip = header.height;
            self.settle_own(header);
            listed.extend(header.batches().map(|(_, _, digest)| *digest));
            if header.height <= committed {
                let (roots, _) = self.execute_now(header, checks.as_deref_mut())?;
                executed.push(roots);
                contents.push((header.height, self.ids(header).unwrap_or_default(), self.ledger.codes().to_vec()));
            }
        }
        let boundary = self.chain.epoch_of(self.tip + 1) * self.chain.numbers.epoch_blocks;
        let boundary = (boundary as usize).checked_sub(1).and_then(|place| headers.get(place)).map(BlockHeader::hash);
        let state = self.ledger.state();
        let members: Vec<_> =
            state.validators(self.chain.epoch_of(committed)).iter().map(|validator| validator.key.0).collect();
        let marks = marks_by_author(&state.progress().lane_marks, &members);
        let floors = state.progress().lane_floors.clone();
        let sets = self.sets(committed);
        let above = headers.split_off((committed as usize).min(headers.len()));
        for header in &above {
            self.header_is_durable(header.clone(), 0, checks.as_deref_mut());
        }
        self.offer_again(&listed);
        Ok(Recovered {
            marks,
            floors,
            executed,
            sets,
            boundary,
            contents,
            above,
            base: headers.into_iter().next_back(),
        })
    }

    /// Batches that no final block lists are told as held again; own ones only where they were not withdrawn.
    fn offer_again(&mut self, listed: &BTreeSet<Hash>) {
        let mut again: Vec<_> = (self.batches.values())
            .filter(|stored| !listed.contains(&stored.held.digest))
            .filter(|stored| {
                stored.held.author != self.key
                    || self.own_unlisted.get(&stored.held.sequence) == Some(&stored.held.digest)
            })
            .collect();
        again.sort_by_key(|stored| (stored.held.author, stored.held.sequence, stored.held.digest));
        for stored in again {
            let own = (stored.held.author == self.key).then(|| Bytes::copy_from_slice(stored.batch.sealed_bytes()));
            self.outputs.push(Output::Held(stored.held.clone(), own));
        }
    }
}
