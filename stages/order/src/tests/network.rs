//! Several validators, batches and marks in any order: what an honest leader proposes is valid everywhere once its batches are held; every batch
//! ends up on the chain once; and no branch lists a batch twice.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tana_lane::{Admission, HeldBatch};
use tana_types::Hash;
use tana_types::batch::Seal;
use tana_types::header::BlockHeader;
use zerocopy::FromZeros;

use super::support::*;
use crate::*;

const COUNT: usize = 4;

/// The network: validators, and every batch that was sealed.
struct World {
    nodes: Vec<Node>,
    seals: BTreeMap<Hash, (Seal, HeldBatch)>,
    sealed: [u64; COUNT],
    /// What each validator has on its disk: everything that it ever held, for whoever asks.
    disks: [BTreeSet<Hash>; COUNT],
    listed: Vec<Hash>,
    ms: u64,
}

impl World {
    fn new() -> Self {
        let nodes = nodes(COUNT as u8, &ChainRules { epoch_blocks: 5, ..rules() });
        Self {
            nodes,
            seals: BTreeMap::new(),
            sealed: [0; COUNT],
            disks: Default::default(),
            listed: Vec::new(),
            ms: 1_000,
        }
    }

    /// Validator `author` seals and holds a batch.
    fn seal(&mut self, author: usize) {
        self.sealed[author] += 1;
        let mut seal = Seal::new_zeroed();
        seal.author = key(author as u8);
        seal.sequence.set(self.sealed[author]);
        seal.count.set(10);
        seal.body_length.set(1_800);
        seal.expiry_height.set(900);
        let ids = batch(key(author as u8), self.sealed[author]).ids;
        let held = HeldBatch::from_seal(&seal, ids);
        self.seals.insert(held.digest, (seal, held.clone()));
        self.disks[author].insert(held.digest);
        self.nodes[author].book.held(held);
    }

    /// Sends the next own batch of `from` to `to`, if there is one.
    fn send(&mut self, from: usize, to: usize) -> bool {
        let (sender, receiver) = (key(from as u8), key(to as u8));
        let Some(digest) = self.nodes[from].book.own_to_send(&receiver, self.ms) else { return false };
        self.nodes[from].book.sent(&receiver, &digest, self.ms);
        self.receive(to, &sender, &digest);
        true
    }

    fn receive(&mut self, to: usize, from: &[u8; 32], digest: &Hash) {
        let (seal, held) = self.seals[digest].clone();
        if self.nodes[to].book.admit(from, &seal, self.ms) == Admission::Verify {
            self.disks[to].insert(*digest);
            self.nodes[to].book.held(held);
        }
    }

    fn marks(&mut self, from: usize, to: usize) {
        let marks = self.nodes[from].book.marks();
        self.nodes[to].book.on_marks(&key(from as u8), &marks);
    }

    /// The judgement of `at`, waiting for whatever it waits for.
    fn judge(&mut self, at: usize, header: &BlockHeader) -> Verdict {
        loop {
            match self.nodes[at].verify(header, self.ms) {
                Verdict::WaitBatches(missing) => self.fetch(at, header, &missing),
                Verdict::WaitExecuted(height) => self.execute(at, height),
                verdict => return verdict,
            }
        }
    }

    /// Asks others until all is here; who never held a batch says so.
    fn fetch(&mut self, at: usize, header: &BlockHeader, missing: &[Hash]) {
        for digest in missing {
            assert!(self.nodes[at].book.want(*digest, None, header.height, &[header.proposer]));
        }
        let give_up_ms = self.ms + 60_000;
        while self.nodes[at].book.wanted() > 0 {
            assert!(self.ms < give_up_ms, "nobody has what a block lists");
            let Some((peer, request)) = self.nodes[at].book.next_fetch(self.ms) else {
                self.ms += 50;
                continue;
            };
            assert_ne!(peer, self.nodes[at].key);
            let holder = self.nodes.iter().position(|node| node.key == peer).unwrap();
            for wanted in request.wanted {
                if self.disks[holder].contains(&wanted.digest) {
                    self.receive(at, &peer, &wanted.digest);
                } else {
                    self.nodes[at].book.fetch_failed(&peer, &wanted.digest);
                }
            }
        }
    }

    /// One height: the leader proposes, all judge, all finalize; the ones in `executing` execute it.
    fn block(&mut self, executing: u8) {
        self.ms += 1_000;
        let (height, tip) = self.nodes[0].chain.tip();
        let leader = (height as usize + 1) % COUNT;
        let epoch = self.nodes[leader].chain.rules().epoch_of(height + 1);
        let proposal = loop {
            let node = &mut self.nodes[leader];
            match node.chain.propose(tip, node.key, epoch, now(self.ms), &node.book) {
                Proposal::Block(header) => break header,
                Proposal::WaitUntil(at) => self.ms = at - START_MS,
                Proposal::Wait => self.execute(leader, height),
            }
        };
        for (_, _, digest) in proposal.batches() {
            let holding = self.nodes.iter().filter(|node| node.book.get(digest).is_some()).count();
            assert!(holding >= 3, "proposed with {holding} of 4 holding it");
            self.listed.push(*digest);
        }
        for at in 0..COUNT {
            assert_eq!(self.judge(at, &proposal), Verdict::Valid);
            self.nodes[at].finalize(&proposal, self.ms);
            if executing >> at & 1 == 1 {
                self.execute(at, proposal.height);
            }
        }
    }

    /// Executes up to a height; the set never changes here.
    fn execute(&mut self, at: usize, height: u64) {
        let chain = &mut self.nodes[at].chain;
        for height in chain.executed_height()..=height {
            let epoch = chain.rules().epoch_of(height);
            let sets = (epoch..epoch + 4).map(|epoch| (epoch, keys(COUNT as u8))).collect();
            chain.executed(Executed { roots: roots(height), sets });
        }
    }

    fn settle(&mut self) {
        for round in 0..40 {
            for from in 0..COUNT {
                for to in (0..COUNT).filter(|&to| to != from) {
                    while self.send(from, to) {}
                }
            }
            for from in 0..COUNT {
                (0..COUNT).for_each(|to| self.marks(from, to));
            }
            self.block(if round % 3 == 0 { 0b1111 } else { 0b0101 });
            // Time for batches that were lost on the way to be sent again.
            self.ms += 2_000;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn honest_proposals_are_valid_everywhere_and_every_batch_is_listed_once(
        steps in proptest::collection::vec((0u8..8, 0usize..COUNT, 0usize..COUNT, any::<u8>()), 1..300),
    ) {
        let mut world = World::new();
        for (step, a, b, bits) in steps {
            match step {
                0 | 1 => world.seal(a),
                2..=4 if a != b => { world.send(a, b); }
                5 | 6 => world.marks(a, b),
                7 => world.block(bits),
                // A batch that is lost on the way.
                _ => {
                    let peer = key((a as u8 + 1) % COUNT as u8);
                    if let Some(digest) = world.nodes[a].book.own_to_send(&peer, world.ms) {
                        world.nodes[a].book.sent(&peer, &digest, world.ms);
                    }
                }
            }
        }
        world.settle();
        let once: BTreeSet<Hash> = world.listed.iter().copied().collect();
        prop_assert_eq!(once.len(), world.listed.len(), "a batch was listed twice");
        prop_assert_eq!(once.len(), world.seals.len(), "a batch was never listed");
        let tips: BTreeSet<_> = world.nodes.iter().map(|node| node.chain.tip()).collect();
        prop_assert_eq!(tips.len(), 1);
    }

    #[test]
    fn no_branch_lists_a_batch_twice(
        steps in proptest::collection::vec((any::<u8>(), 0u8..4, 1u64..4), 1..40),
    ) {
        let mut node = Node::new(0, &keys(1), rules());
        let mut blocks: Vec<Vec<BlockHeader>> = vec![vec![]];
        let mut sealed = 0;
        for (place, new, ms) in steps {
            for _ in 0..new {
                sealed += 1;
                node.book.held(batch(key(0), sealed));
            }
            let path = blocks[usize::from(place) % blocks.len()].clone();
            let parent = path.last().map_or(GENESIS, BlockHeader::hash);
            let before = path.last().map_or(START_MS, |header| header.timestamp_ms);
            let header = node.propose(parent, before - START_MS + 500 + ms);
            let ms = header.timestamp_ms - START_MS;
            prop_assert_eq!(node.verify(&header, ms), Verdict::Valid);
            node.insert(&header, ms);
            let digests: Vec<_> = path.iter().chain([&header]).flat_map(|header| header.batches().map(|batch| *batch.2)).collect();
            prop_assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
            // Nothing that an ancestor lists passes in a child.
            for ancestor in path.iter().filter(|ancestor| !ancestor.lanes.is_empty()) {
                let mut twice = header.clone();
                twice.lanes = ancestor.lanes.clone();
                let verdict = node.verify(&twice, ms);
                prop_assert!(matches!(verdict, Verdict::Invalid(rule) if rule.contains("listed before")), "{:?}", verdict);
            }
            blocks.push([path, vec![header]].concat());
        }
    }
}
