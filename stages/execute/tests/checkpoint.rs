//! Checkpoints taken while blocks go on, and what comes back from them.
// Helpers of tests may panic as tests may.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tana_accounts::directory;
use tana_execute::{CheckpointHead, Outcome, RestoreError, State};
use tana_types::code::Code;
use tana_types::genesis::{Bulk, Genesis};
use tana_types::payload::Payload;

/// A disk: pages and overflows as the last complete checkpoint left them.
#[derive(Default, Clone)]
struct Disk {
    meta: Vec<u8>,
    pages: BTreeMap<u32, Vec<u8>>,
    overflows: BTreeMap<u32, Vec<u8>>,
}

impl Disk {
    fn commit(&mut self, head: CheckpointHead, pages: BTreeMap<u32, Vec<u8>>) {
        assert_eq!(head.pages, pages.len() as u64);
        self.meta = head.meta;
        self.pages.extend(pages);
        for (index, bytes) in head.overflows {
            match bytes {
                Some(bytes) => self.overflows.insert(index, bytes),
                None => self.overflows.remove(&index),
            };
        }
    }

    fn restore(&self, genesis: &Genesis) -> Result<State, RestoreError> {
        let (pages, overflows) = (self.pages.clone(), self.overflows.clone());
        State::restore(genesis, &self.meta, pages, overflows, directory(10).0)
    }
}

fn large_genesis() -> Genesis {
    let mut genesis = genesis();
    genesis.rules.accounts_total = 5_000;
    genesis.bulk = Some(Bulk {
        seed: "checkpoint".into(),
        count: 1_500,
        currency: "BTC".parse().unwrap(),
        amount: "1.00000000".into(),
    });
    genesis
}

fn names(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("@name-{number}")).collect()
}

/// One block of transfers from the sovereign to random bulk accounts, a creation, a currency move into an overflow.
fn random_block(chain: &mut TestChain, random: &mut ChaCha8Rng, round: u32) {
    let genesis = chain.genesis.clone();
    let mut nonce = chain.next_nonce(0);
    let mut transactions = Vec::new();
    for _ in 0..random.random_range(0..40) {
        let recipient = chain.directory.key(random.random_range(1..chain.state.account_count()));
        let payload = Payload::Transfer { recipient, currency: "USD".parse().unwrap(), amount: 1 };
        transactions.push(transaction(&genesis, key(0), nonce, &payload));
        nonce += 1;
    }
    let name = &names(round..round + 1)[0];
    transactions.push(transaction(&genesis, key(round + 10), 0, &user(name)));
    let deposit = Payload::Deposit { currency: "BTC".parse().unwrap(), amount: u128::from(round) + 1 };
    transactions.push(transaction(&genesis, key(0), nonce, &deposit));
    let codes = chain.block(&transactions);
    assert!(codes.iter().all(|code| matches!(code, Code::Applied | Code::PendingPerAccount)), "{codes:?}");
}

#[test]
fn a_checkpoint_shows_its_height_while_blocks_go_on() {
    for seed in 0..6 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut chain = TestChain::with(large_genesis());
        let mut disk = Disk::default();
        let (mut round, mut put_aside) = (0, 0);
        for _ in 0..5 {
            for _ in 0..random.random_range(0..4) {
                random_block(&mut chain, &mut random, round);
                round += 1;
            }
            let expected = chain.fingerprint();
            let head = chain.state.begin_checkpoint().unwrap();
            assert!(chain.state.begin_checkpoint().is_none(), "one at a time");
            assert_eq!(head.height, chain.state.progress().height);
            let mut pages = BTreeMap::new();
            let mut sink = |page, bytes: &[u8]| assert!(pages.insert(page, bytes.to_vec()).is_none());
            while !chain.state.checkpoint_step(random.random_range(1..15), &mut sink) {
                random_block(&mut chain, &mut random, round);
                put_aside += chain.state.checkpoint_backlog();
                round += 1;
            }
            assert!(chain.state.checkpoint_step(9, &mut sink), "a complete checkpoint emits nothing more");
            assert_eq!(chain.state.checkpoint_backlog(), 0);
            disk.commit(head, pages);
            let restored = disk.restore(&chain.genesis).unwrap();
            assert_eq!(fingerprint(&restored), expected, "seed {seed}");
        }
        assert!(put_aside > 100, "blocks changed accounts whose pages were still to be saved");
    }
}

#[test]
fn a_restored_state_goes_on_like_the_one_that_never_stopped() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut chain = TestChain::with(large_genesis());
    let mut disk = Disk::default();
    random_block(&mut chain, &mut random, 0);
    let mut pages = BTreeMap::new();
    let head = chain.state.begin_checkpoint().unwrap();
    while !chain.state.checkpoint_step(50, &mut |page, bytes| drop(pages.insert(page, bytes.to_vec()))) {}
    disk.commit(head, pages);
    let (writer, shared) = directory(10);
    let state = State::restore(&chain.genesis, &disk.meta, disk.pages.clone(), disk.overflows.clone(), writer).unwrap();
    assert_eq!(shared.nonce(1), chain.state.nonce(1), "the directory has the nonces");
    let mut again = TestChain { genesis: chain.genesis.clone(), state, directory: shared, outcome: Outcome::default() };
    for round in 1..6 {
        let mut twin = random.clone();
        random_block(&mut chain, &mut random, round);
        random_block(&mut again, &mut twin, round);
        assert_eq!(chain.outcome, again.outcome);
        assert_eq!(chain.fingerprint(), again.fingerprint());
    }
    assert!(again.state.account("@name-0").is_some() && again.state.account("@name-5").is_some());
    // A second checkpoint of the restored state fits onto the first.
    let mut pages = BTreeMap::new();
    let head = again.state.begin_checkpoint().unwrap();
    while !again.state.checkpoint_step(5, &mut |page, bytes| drop(pages.insert(page, bytes.to_vec()))) {}
    assert!(pages.len() < disk.pages.len(), "only changed pages");
    disk.commit(head, pages);
    assert_eq!(fingerprint(&disk.restore(&chain.genesis).unwrap()), again.fingerprint());
}

#[test]
fn damaged_checkpoints_are_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let mut chain = TestChain::with(large_genesis());
    for round in 0..3 {
        random_block(&mut chain, &mut random, round);
    }
    let mut disk = Disk::default();
    let mut pages = BTreeMap::new();
    let head = chain.state.begin_checkpoint().unwrap();
    while !chain.state.checkpoint_step(50, &mut |page, bytes| drop(pages.insert(page, bytes.to_vec()))) {}
    disk.commit(head, pages);
    assert!(disk.restore(&chain.genesis).is_ok());
    let refused = |change: &dyn Fn(&mut Disk)| {
        let mut damaged = disk.clone();
        change(&mut damaged);
        damaged.restore(&chain.genesis).err().unwrap()
    };
    let byte = |page: u32, place: usize| move |disk: &mut Disk| disk.pages.get_mut(&page).unwrap()[place] ^= 1;
    assert!(matches!(refused(&|disk| drop(disk.pages.remove(&3))), RestoreError::Page { page: 3, .. }));
    assert!(matches!(refused(&|disk| drop(disk.pages.pop_last())), RestoreError::Page { .. }));
    assert!(matches!(refused(&|disk| disk.pages.get_mut(&2).unwrap().truncate(95)), RestoreError::Page { .. }));
    assert!(matches!(refused(&|disk| drop(disk.overflows.pop_last())), RestoreError::Account { .. }));
    assert!(matches!(refused(&|disk| drop(disk.overflows.insert(9, vec![1]))), RestoreError::Account { index: 9, .. }));
    // A sentinel with a key, a link, a role, a balance, a currency, a flag.
    assert!(matches!(refused(&byte(0, 0)), RestoreError::Account { index: 0, .. }));
    assert!(matches!(refused(&byte(5, 40)), RestoreError::Account { .. }));
    assert!(matches!(refused(&|disk| disk.pages.get_mut(&5).unwrap()[44] = 2), RestoreError::Sovereigns(2)));
    assert!(matches!(refused(&byte(5, 56)), RestoreError::Total { .. }));
    assert!(matches!(refused(&byte(5, 48)), RestoreError::Account { .. } | RestoreError::Total { .. }));
    assert!(matches!(refused(&byte(5, 45)), RestoreError::Account { .. }));
    let mut other = chain.genesis.clone();
    other.chain = "other".into();
    assert!(matches!(disk.restore(&other), Err(RestoreError::OtherChain { .. })));
    // No damage of the meta bytes makes it panic; most of it is noticed here, the rest by the state root.
    for place in 0..disk.meta.len() {
        let mut damaged = disk.clone();
        damaged.meta[place] ^= 0x41;
        if let Ok(state) = damaged.restore(&chain.genesis) {
            assert_ne!(fingerprint(&state), chain.fingerprint());
        }
        damaged.meta.truncate(place);
        assert!(damaged.restore(&chain.genesis).is_err());
    }
}
