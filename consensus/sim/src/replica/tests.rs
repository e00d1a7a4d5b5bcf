//! A replica alone: what is durable survives, what is not was never told.

use tana_types::payload::Payload;
use tana_types::transaction::sign;

use super::*;
use crate::chain::{ChainNumbers, START_MS};

fn chain() -> Arc<SimChain> {
    let numbers = ChainNumbers { validators: 4, spare: 0, epoch_blocks: 3, lag_blocks_max: 8, expiry_blocks: 40 };
    Arc::new(SimChain::new(numbers).unwrap())
}

fn transfer(chain: &SimChain, account: usize, nonce: u64) -> Vec<u8> {
    let payload = Payload::Transfer {
        recipient: tana_types::key::PublicKey(chain.accounts[account + 1].verifying_key().to_bytes()),
        currency: chain.currency,
        amount: 5,
    };
    sign(&chain.chain, &chain.accounts[account], nonce, START_MS, &payload).unwrap()
}

/// Runs everything that will ever be due.
fn finish(replica: &mut Replica, checks: &mut Checks) -> Vec<Output> {
    let mut outputs = replica.run(0, Some(checks));
    while let Some(due_us) = replica.next_due_us() {
        outputs.extend(replica.run(due_us, Some(checks)));
    }
    outputs
}

/// The header on top of what the replica executed, listing these batches of lane 0.
fn header(replica: &Replica, held: &[HeldBatch]) -> BlockHeader {
    let progress = replica.ledger.state().progress();
    let ids: Vec<Hash> = held.iter().flat_map(|batch| batch.ids.iter().copied()).collect();
    let lanes = held.first().map(|first| tana_types::header::LaneBatches {
        lane: 0,
        first_sequence: first.sequence,
        digests: held.iter().map(|batch| batch.digest).collect(),
    });
    BlockHeader {
        height: progress.height + 1,
        epoch: replica.chain.epoch_of(progress.height + 1),
        parent: progress.block_hash,
        proposer: replica.key,
        timestamp_ms: START_MS + progress.height + 1,
        executed_height: 0,
        state_root: replica.chain_root(),
        receipts_root: tana_execute::receipts_root(std::iter::empty(), &[], 0),
        transaction_root: tana_execute::transaction_root(&ids),
        transaction_count: ids.len() as u32,
        validator_set_hash: replica.ledger.state().validator_set_hash(0),
        lanes: lanes.into_iter().collect(),
    }
}

impl Replica {
    fn chain_root(&self) -> Hash {
        Ledger::new(&self.chain).unwrap().genesis_roots().state_root
    }
}

fn held(outputs: &[Output]) -> Vec<HeldBatch> {
    let held = outputs.iter().filter_map(|output| match output {
        Output::Held(held, _) => Some(held.clone()),
        _ => None,
    });
    held.collect()
}

#[test]
fn a_block_runs_through_and_survives_a_crash() {
    let chain = chain();
    let mut checks = Checks::new(chain.money());
    let (mut replica, found) = Replica::start(&chain, 0, 0, Disk::default(), Some(&mut checks)).unwrap();
    assert_eq!((found.base, found.above.len(), found.sets.len()), (None, 0, 2));
    for nonce in 1..=3 {
        assert!(replica.submit(&transfer(&chain, 0, nonce), 0));
    }
    let own = held(&finish(&mut replica, &mut checks));
    assert_eq!((own.len(), own[0].transactions), (1, 3));
    let block = header(&replica, &own);
    replica.finalized(block.clone(), &block.hash(), 0, Some(&mut checks));
    let outputs = finish(&mut replica, &mut checks);
    assert!(matches!(outputs[..], [Output::Executed(..), Output::Committed(1)]), "{outputs:?}");
    assert_eq!((checks.violation(), checks.reported_count()), (None, 3));

    let disk = replica.crash(&mut Dice::new(1, "crash"));
    let (mut replica, found) = Replica::start(&chain, 0, 0, disk, Some(&mut checks)).unwrap();
    finish(&mut replica, &mut checks);
    // Its commit record may not have been safe yet when power failed.
    assert_eq!(found.base.as_ref().or(found.above.first()), Some(&block));
    assert_eq!((replica.tip(), replica.executed_height()), (1, 1));
    assert_eq!(replica.lane.next_sequence(), 2);
    assert_eq!(checks.violation(), None);
}

#[test]
fn a_crash_at_any_moment_loses_nothing_that_was_told() {
    for seed in 0..60 {
        let chain = chain();
        let mut dice = Dice::new(seed, "moments");
        let mut checks = Checks::new(chain.money());
        let (mut replica, _) = Replica::start(&chain, 0, 0, Disk::default(), Some(&mut checks)).unwrap();
        let mut told = Vec::new();
        for nonce in 1..=3 {
            replica.submit(&transfer(&chain, 0, nonce), 0);
            let own = held(&finish(&mut replica, &mut checks));
            let block = header(&replica, &own);
            told.extend(own);
            replica.finalized(block.clone(), &block.hash(), 0, Some(&mut checks));
            // Some of what is due happens, then power fails.
            for _ in 0..dice.below(4) {
                let Some(due_us) = replica.next_due_us() else { break };
                replica.run(due_us, Some(&mut checks));
            }
            let disk = replica.crash(&mut dice);
            let (next, found) = Replica::start(&chain, 0, 0, disk, Some(&mut checks)).unwrap();
            assert_eq!(checks.violation(), None, "seed {seed}");
            replica = next;
            for batch in &told {
                assert!(replica.read_batch(&batch.digest).is_some(), "a held batch is gone, seed {seed}");
            }
            if found.base.map_or(0, |base| base.height) + (found.above.len() as u64) < nonce {
                // The header was not safe: agreement gives it again.
                replica.finalized(block.clone(), &block.hash(), 0, Some(&mut checks));
            }
            finish(&mut replica, &mut checks);
        }
        assert_eq!((checks.violation(), replica.executed_height()), (None, 3), "seed {seed}");
    }
}

#[test]
fn bad_batches_are_refused_with_proof_only_against_their_author() {
    let chain = chain();
    let mut checks = Checks::new(chain.money());
    let (mut author, _) = Replica::start(&chain, 1, 1, Disk::default(), None).unwrap();
    author.submit(&transfer(&chain, 0, 1), 0);
    let mut outputs = Vec::new();
    while let Some(due_us) = author.next_due_us() {
        outputs.extend(author.run(due_us, None));
    }
    let sealed = author.read_batch(&held(&outputs)[0].digest).unwrap();
    let (mut replica, _) = Replica::start(&chain, 0, 0, Disk::default(), Some(&mut checks)).unwrap();

    let mut damaged = sealed.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(replica.verify(damaged.into(), 0));
    let outputs = finish(&mut replica, &mut checks);
    assert!(matches!(outputs[..], [Output::Refused { evidence: None, .. }]), "{outputs:?}");

    let lie = crate::byzantine::reseal(&chain, 1, &sealed, crate::byzantine::Lie::BadSignature).unwrap();
    assert!(replica.verify(lie.into(), 0));
    let outputs = finish(&mut replica, &mut checks);
    let [Output::Refused { evidence: Some(evidence), .. }] = &outputs[..] else { panic!("{outputs:?}") };
    assert_eq!(evidence.verify(&chain.chain).unwrap(), chain.public(1));

    assert!(replica.verify(sealed, 0));
    assert!(matches!(finish(&mut replica, &mut checks)[..], [Output::Held(_, None)]));
}

#[test]
fn expired_batches_are_sealed_again_once() {
    let chain = chain();
    let mut checks = Checks::new(chain.money());
    let (mut replica, _) = Replica::start(&chain, 0, 0, Disk::default(), Some(&mut checks)).unwrap();
    for nonce in 1..=2 {
        replica.submit(&transfer(&chain, 0, nonce), 0);
        assert_eq!(held(&finish(&mut replica, &mut checks)).len(), 1);
    }
    replica.reseal_own(0, 0);
    replica.reseal_own(0, 0);
    let again = held(&finish(&mut replica, &mut checks));
    let places: Vec<_> = again.iter().map(|batch| (batch.sequence, batch.skipped)).collect();
    assert_eq!(places, [(3, 2), (4, 0)]);

    // After a restart only the new ones are offered.
    let disk = replica.crash(&mut Dice::new(1, "crash"));
    let (mut replica, _) = Replica::start(&chain, 0, 0, disk, Some(&mut checks)).unwrap();
    let offered: Vec<_> = held(&replica.run(0, Some(&mut checks))).iter().map(|batch| batch.sequence).collect();
    assert_eq!(offered, [3, 4]);
}

#[test]
fn a_full_node_says_so() {
    let chain = chain();
    let (mut replica, _) = Replica::start(&chain, 0, 0, Disk::default(), None).unwrap();
    let offers = (0..20).filter(|_| replica.verify(Bytes::from_static(b"anything"), 0)).count();
    assert_eq!(offers, VERIFY_QUEUE_MAX);
    let taken = (0..100).filter(|_| replica.submit(b"anything", 0)).count();
    assert_eq!(taken, INTAKE_MAX);
}
