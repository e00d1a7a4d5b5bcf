//! Several whole nodes in this process, whose blocks come from a sequencer that stands where agreement stands: batches of others, delivery
//! at least once, sealing again, and what a restart finds.

#![allow(clippy::unwrap_used)]

#[path = "agreed/chain.rs"]
mod chain;
#[path = "agreed/sequencer.rs"]
mod sequencer;

use std::sync::Arc;

use bytes::Bytes;
use chain::{applied, no_failure, send, set_up, transfer, validator, wait};
use sequencer::Sequencer;
use tana_engine::config::NodeConfig;
use tana_engine::node::Node;
use tana_engine::verify_log::verify_log;
use tana_types::batch::{Batch, Origin};
use tana_types::genesis::Genesis;
use tana_types::transaction::Transaction;

fn start(config: &NodeConfig, sequencer: &Arc<Sequencer>) -> Node {
    Node::start_with(config, &|start, host| Ok(sequencer.join(start, host)), &|_, _, _| {}).unwrap()
}

#[test]
fn three_nodes_execute_each_others_batches_and_one_that_was_away_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), &[9_000, 9_010, 9_020]);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let sequencer = Sequencer::new(&genesis);
    let mut nodes: Vec<Option<Node>> = configs.iter().map(|config| Some(start(config, &sequencer))).collect();
    for (number, node) in (0u8..).zip(&nodes) {
        let first = 20 * u32::from(number);
        send(node.as_ref().unwrap(), &genesis, number, first..first + 20, 1..6);
    }
    for node in nodes.iter().flatten() {
        wait("300 transfers", || applied(node) == 300);
        no_failure(node);
    }
    // One stops; the others go on.
    nodes[2].take().unwrap().stop().unwrap();
    send(nodes[0].as_ref().unwrap(), &genesis, 0, 0..20, 6..16);
    wait("200 more", || applied(nodes[1].as_ref().unwrap()) == 500);
    nodes[2] = Some(start(&configs[2], &sequencer));
    send(nodes[2].as_ref().unwrap(), &genesis, 2, 40..60, 6..8);
    for node in nodes.iter().flatten() {
        wait("everything", || applied(node) == 540);
    }
    let height = sequencer.height();
    for node in nodes.iter().flatten() {
        wait("the last block", || node.published().head().0 >= height);
        no_failure(node);
    }
    sequencer.assert_equal_roots();
    for node in nodes.into_iter().flatten() {
        node.stop().unwrap();
    }
    for config in &configs {
        let report = verify_log(&config.data, &genesis, &|_, _, _| {}).unwrap();
        assert_eq!((report.applied, report.certificates), (540, report.blocks));
    }
}

#[test]
fn own_batches_that_expired_are_sealed_again_and_applied_once_also_across_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), &[9_000, 9_010]);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let sequencer = Sequencer::new(&genesis);
    let node = start(&configs[0], &sequencer);
    let other = start(&configs[1], &sequencer);
    let author = validator(0).verifying_key().to_bytes();
    send(&node, &genesis, 0, 0..20, 1..3);
    wait("the first batches", || applied(&other) == 40);
    sequencer.hold_back(author, true);
    send(&node, &genesis, 0, 0..20, 3..6);
    let last = wait_for_held(&sequencer, author, 60);
    let mark = sequencer.mark(author);
    assert!(last > mark);
    sequencer.reseal(author);
    wait("a batch that withdraws others", || sequencer.skipped(author) == last - mark);
    wait("all of them again", || sequencer.held_transactions_above(author, last) == 60);
    // A restart finds both generations on disk and offers the second only.
    node.stop().unwrap();
    sequencer.forget_held(author);
    let node = start(&configs[0], &sequencer);
    wait("the second generation", || sequencer.held_transactions_above(author, mark) == 60);
    assert!(sequencer.lowest_held(author) > last);
    sequencer.hold_back(author, false);
    for node in [&node, &other] {
        wait("all transfers", || applied(node) == 100);
        no_failure(node);
    }
    send(&node, &genesis, 0, 0..20, 6..7);
    wait("the transfers after", || applied(&other) == 120);
    sequencer.assert_equal_roots();
    node.stop().unwrap();
    other.stop().unwrap();
}

fn wait_for_held(sequencer: &Sequencer, author: [u8; 32], transactions: u64) -> u64 {
    let mark = sequencer.mark(author);
    wait("held batches", || sequencer.held_transactions_above(author, mark) == transactions);
    sequencer.highest_held(author)
}

#[test]
fn a_batch_with_a_bad_signature_is_refused_with_proof_and_a_torn_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let configs = set_up(folder.path(), &[9_000, 9_010]);
    let genesis = Genesis::load(&configs[0].genesis).unwrap();
    let chain = genesis.to_chain();
    let sequencer = Sequencer::new(&genesis);
    let node = start(&configs[0], &sequencer);
    let author = validator(1);
    let make = |sequence: u64, spoil: bool| {
        let mut batch = Batch::with_capacity(4, 1_000);
        for from in 0..4 {
            let mut bytes = transfer(&genesis, from, sequence);
            let middle = bytes.len() - 40;
            bytes[middle] ^= u8::from(spoil && from == 2);
            batch.push(Transaction::exactly(&bytes).unwrap(), 0, Origin::default());
        }
        batch.seal(&chain, &author, 0, sequence, 0, 100);
        batch.sealed_bytes().to_vec()
    };
    let key = author.verifying_key().to_bytes();
    let host = sequencer.host(0);
    assert!(host.verify(Bytes::from(make(1, true)), key));
    let refusal = wait_for_refusal(&sequencer);
    assert_eq!((refusal.author, refusal.sequence), (key, 1));
    let evidence = refusal.evidence.unwrap();
    assert_eq!(evidence.verify(&chain), Ok(key));
    host.evidence(&evidence);
    assert_eq!(tana_engine::evidence_store::read(&configs[0].data.join("evidence")).unwrap(), [evidence]);

    let mut torn = make(2, false);
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert!(host.verify(Bytes::from(torn), key));
    let refusal = wait_for_refusal(&sequencer);
    assert_eq!((refusal.sequence, refusal.evidence), (2, None));

    let good = make(2, false);
    assert!(host.verify(Bytes::from(good.clone()), key));
    wait("the good batch", || sequencer.highest_held(key) == 2);
    let digest = sequencer.held_digest(key, 2);
    assert_eq!(host.read_batch(&digest, 0).unwrap(), good);
    no_failure(&node);
    node.stop().unwrap();
}

fn wait_for_refusal(sequencer: &Sequencer) -> tana_engine::agreement::Refusal {
    let mut refusal = None;
    wait("a refusal", || {
        refusal = sequencer.take_refusal();
        refusal.is_some()
    });
    refusal.unwrap()
}
