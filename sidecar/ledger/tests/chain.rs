//! The reader beside a real node, which is another process: everything it answers is held against what the node answers, while the node runs,
//! is killed, starts again, and prunes; and what is damaged is never served.

#![allow(clippy::unwrap_used)]

mod chain_support;

use std::collections::BTreeMap;

use chain_support::{ACCOUNTS, Client, Kind, NodeProcess, key_of, run_if_node, set_up, sovereign, wait, wait_height};
use ed25519_dalek::SigningKey;
use tana_engine::config::NodeConfig;
use tana_ledger::chain::proof::{AccountProof, verify_account_proof};
use tana_ledger::chain::{Chain, ChainError, Phase, Place};
use tana_types::bulk::bulk_key;
use tana_types::code::Code;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role};
use tana_types::query::{Answer, Request};

/// The node that the other tests start is this test in another process.
#[test]
fn node_process() {
    run_if_node();
}

const USUAL: Kind = Kind { consensus: true, keep_heights: 0, checkpoint_s: 1 };

fn start(kind: Kind) -> (tempfile::TempDir, NodeConfig, Genesis) {
    let folder = tempfile::tempdir().unwrap();
    let config = set_up(folder.path(), kind);
    let genesis = Genesis::load(&config.genesis).unwrap();
    (folder, config, genesis)
}

fn user(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[100 + number; 32])
}

/// One of each kind of transaction that changes more than balances; gives the last height. The sovereign's nonces begin behind `nonce`.
fn every_kind(client: &Client, nonce: u64) -> u64 {
    let (alice, bob) = (user(1), user(2));
    let usd = "USD".parse().unwrap();
    let create = |key: &SigningKey, username, display_name| {
        client.sign(key, 0, &Payload::UserCreation { username, display_name, biography: "" })
    };
    client.apply(&[create(&alice, "@alice", "Alice"), create(&bob, "", "")]);
    let info = tana_types::currency::CurrencyInfo {
        code: "BTC".parse().unwrap(),
        decimals: 8,
        currency_type: tana_types::currency::CurrencyType::Crypto,
        verified: true,
        name: "Bitcoin".to_owned(),
        symbol: "B".to_owned(),
    };
    let third = tana_types::currency::CurrencyInfo { code: "EUR".parse().unwrap(), decimals: 2, ..info.clone() };
    let sovereign = sovereign();
    let by_sovereign = |place: u64, payload: Payload<'_>| client.sign(&sovereign, nonce + place, &payload);
    let reason = "a correction of the books";
    let adjust = |account: &SigningKey, currency: &str, amount| Payload::BalanceAdjustment {
        account: key_of(account),
        currency: currency.parse().unwrap(),
        amount,
        reason,
    };
    let validator = key_of(&user(9));
    client.apply(&[
        by_sovereign(1, Payload::CurrencyCreation(info)),
        by_sovereign(2, Payload::CurrencyCreation(third)),
        by_sovereign(3, adjust(&alice, "BTC", 500_000_000)),
        by_sovereign(4, adjust(&alice, "EUR", 77)),
        // A third currency goes into the overflow, and one is taken away again.
        by_sovereign(5, adjust(&alice, "USD", 9_000)),
        by_sovereign(6, adjust(&alice, "BTC", 250_000_000)),
        by_sovereign(7, Payload::RoleChange { account: key_of(&bob), role: Role::Staff }),
        by_sovereign(8, Payload::ValidatorSetChange { add: true, validator, epoch: 1_000, address: "127.0.0.1:1" }),
    ]);
    let ask = |key: &SigningKey, nonce, payload: &Payload<'_>| client.sign(key, nonce, payload);
    let deposit = |amount| Payload::Deposit { currency: usd, amount };
    let withdraw = |amount| Payload::Withdraw { currency: usd, amount };
    let requests = [
        ask(&alice, 1, &deposit(100)),
        ask(&alice, 2, &deposit(200)),
        ask(&alice, 3, &withdraw(300)),
        ask(&alice, 4, &withdraw(400)),
        ask(&alice, 5, &withdraw(500)),
        ask(&alice, 6, &deposit(600)),
    ];
    client.apply(&requests);
    let id = |place: usize| tana_hash::hash(&requests[place]);
    let into = |place: usize, confirm| Payload::DepositConfirmation { request: id(place), confirm };
    let out = |place: usize, confirm| Payload::WithdrawalConfirmation { request: id(place), confirm };
    client.apply(&[
        by_sovereign(9, into(0, true)),
        by_sovereign(10, into(1, false)),
        by_sovereign(11, out(2, true)),
        by_sovereign(12, out(3, false)),
    ]);
    // Two that fail: without money, and without the currency.
    let transfer = |currency: &str| Payload::Transfer {
        recipient: key_of(&alice),
        currency: currency.parse().unwrap(),
        amount: u128::from(u64::MAX),
    };
    let ends = client.send(&[ask(&bob, 1, &transfer("USD")), ask(&bob, 2, &transfer("NIX"))]);
    assert!(ends.iter().all(|(code, _)| *code != Code::Applied as u8), "{ends:?}");
    ends.iter().map(|(_, height)| *height).max().unwrap()
}

/// Everything about accounts, currencies and requests, as the node and as the reader say it.
fn compare_state(chain: &Chain, client: &Client) {
    let listed = {
        let mut all = Vec::new();
        while let Some(page) =
            Some(chain.accounts(all.last().map(|last: &tana_ledger::chain::AccountView| last.index), 7).unwrap())
                .filter(|page| !page.is_empty())
        {
            all.extend(page);
        }
        all
    };
    let Answer::Status(status) = client.ask(&Request::Status) else { panic!() };
    assert_eq!(listed.len() as u64, status.accounts);
    for (account, index) in listed.iter().zip(1..) {
        let Answer::Account(own) = client.ask(&Request::Account { name: account.public_key.clone() }) else { panic!() };
        assert_eq!((account.index, own.index), (index, index));
        let balances: Vec<_> =
            own.balances.iter().map(|balance| (balance.currency.clone(), balance.amount.clone())).collect();
        let read: Vec<_> =
            account.balances.iter().map(|balance| (balance.currency_code.clone(), balance.amount.clone())).collect();
        assert_eq!(read, balances);
        assert_eq!(
            (&account.username, &account.display_name, &account.bio),
            (&own.username, &own.display_name, &own.biography)
        );
        assert_eq!((&account.role, account.nonce, account.created_height), (&own.role, own.nonce, own.created_height));
        let again = chain.account(account.username.as_ref().unwrap_or(&account.public_key)).unwrap();
        assert_eq!(again.index, index);
    }
    let Answer::Currencies(currencies) = client.ask(&Request::Currencies) else { panic!() };
    let own: Vec<_> = currencies
        .iter()
        .map(|entry| (entry.info.code.to_string(), entry.info.decimals, entry.total.clone()))
        .collect();
    let read: Vec<_> =
        chain.currencies().unwrap().into_iter().map(|entry| (entry.code, entry.decimals, entry.total)).collect();
    assert_eq!(read, own);
    let Answer::Pending(pending) = client.ask(&Request::Pending { after: None, limit: None }) else { panic!() };
    let own: Vec<_> = pending
        .iter()
        .map(|entry| (&*entry.request, &*entry.kind, &*entry.account, &*entry.currency, &*entry.amount, entry.height))
        .collect();
    let pending = chain.pending(None, 100).unwrap();
    let read: Vec<_> = pending
        .iter()
        .map(|entry| {
            (&*entry.request, &*entry.kind, &*entry.account, &*entry.currency_code, &*entry.amount, entry.height)
        })
        .collect();
    assert_eq!(read, own);
}

/// Blocks up to `height` and the transactions in them, as the node and as the reader say it.
fn compare_blocks(chain: &Chain, client: &Client, height: u64) {
    let mut listed = Vec::new();
    loop {
        let before =
            listed.last().map_or(height + 1, |block: &std::sync::Arc<tana_ledger::chain::BlockView>| block.height);
        let page = chain.blocks(Some(before), 13).unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|block| block.height).collect::<Vec<_>>(), (1..=height).rev().collect::<Vec<_>>());
    let mut by_account: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for block in &listed {
        let Answer::Block(own) = client.ask(&Request::Block { height: Some(block.height) }) else { panic!() };
        let ours = (&block.hash, &block.previous_hash, &block.producer, &block.attested_state_root, block.tx_count);
        assert_eq!(ours, (&own.hash, &own.parent, &own.proposer, &own.state_root, own.transactions));
        let codes: Vec<_> = block.codes.iter().map(|entry| (entry.code.clone(), entry.count)).collect();
        assert_eq!((codes, block.batches.len()), (own.codes, own.batches.len()));
        let mut hash = [0; 32];
        hex::decode_to_slice(&block.hash, &mut hash).unwrap();
        assert_eq!(chain.block_by_hash(&hash).unwrap().height, block.height);
        let transactions = chain.block_transactions(block.height, None, 1_000).unwrap();
        assert_eq!(transactions.len(), block.tx_count as usize);
        for transaction in transactions.iter().rev() {
            let mut parties = vec![transaction.from.clone()];
            let names_account = !["validator_set_change"].contains(&&*transaction.kind);
            parties.extend(transaction.to.clone().filter(|to| names_account && *to != transaction.from));
            for party in parties {
                by_account.entry(party).or_default().push(transaction.id.clone());
            }
            let Answer::Transaction(own) = client.ask(&Request::Transaction { id: transaction.id.clone() }) else {
                panic!()
            };
            let mut id = [0; 32];
            hex::decode_to_slice(&transaction.id, &mut id).unwrap();
            let found = chain.transaction(&id).unwrap();
            let ours = (found.block_height, found.index, &found.code, &found.kind, &found.from, found.nonce);
            assert_eq!(ours, (own.height, own.index, &own.code, &own.kind, &own.sender, own.nonce));
        }
    }
    for (account, expected) in by_account {
        if chain.account(&account).is_err() {
            continue;
        }
        let (mut found, mut before) = (Vec::new(), None::<Place>);
        loop {
            let page = chain.account_transactions(&account, before, 3).unwrap();
            found.extend(page.transactions.into_iter().map(|transaction| transaction.id));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{account}");
    }
}

/// The node's height and root at one moment, and the same block's at the reader.
fn compare_root(chain: &Chain, client: &Client) -> u64 {
    let Answer::Status(status) = client.ask(&Request::Status) else { panic!() };
    wait_height(chain, status.height);
    assert_eq!(chain.block(status.height).unwrap().state_root, status.state_root);
    status.height
}

/// A proof of a height at or above `height`.
fn proof_of(chain: &Chain, name: &str, height: u64) -> AccountProof {
    wait("an attested height", || chain.account_proof(name).ok().filter(|proof| proof.height >= height))
}

#[test]
fn follows_a_node_that_is_started_killed_and_started_again() {
    let (folder, config, genesis) = start(USUAL);
    let chain = Chain::open(&config.data, genesis.clone()).unwrap();
    let mut heads = chain.subscribe();
    wait("the reader to wait", || matches!(chain.phase(), Phase::Waiting(_)).then_some(()));
    assert!(matches!(chain.head(), Err(ChainError::NotReady(_))));

    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    client.round(1);
    let height = every_kind(&client, 0);
    wait_height(&chain, height);
    compare_state(&chain, &client);
    let height = compare_root(&chain, &client);
    compare_blocks(&chain, &client, height);
    assert!(*heads.borrow_and_update() >= height);
    let set = chain.validators(None).unwrap();
    assert_eq!((set.validators.len(), set.required, set.epoch), (1, 1, 0));
    assert_eq!(chain.validators(Some(1_000)).unwrap().validators.len(), 2);

    node.kill();
    // The reader goes on answering for the last committed height.
    assert!(chain.head().unwrap().height >= height);
    compare_known(&chain);
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let height = client.round(2);
    wait_height(&chain, height);
    compare_state(&chain, &client);
    compare_root(&chain, &client);
    node.stop();

    // A second reader, which loads a later checkpoint, says the same.
    let head = chain.head().unwrap();
    let accounts = chain.accounts(None, 1_000).unwrap();
    drop(chain);
    let chain = Chain::open(&config.data, genesis).unwrap();
    wait_height(&chain, head.height);
    let again = chain.head().unwrap();
    assert_eq!(
        (again.height, again.state_root, again.applied, again.failed, again.skipped),
        (head.height, head.state_root, head.applied, head.failed, head.skipped)
    );
    assert_eq!(chain.accounts(None, 1_000).unwrap(), accounts);
    assert_eq!(chain.block(1).unwrap().height, 1);
}

fn compare_known(chain: &Chain) {
    assert!(matches!(chain.account("@nobody"), Err(ChainError::NotFound(_))));
    assert!(matches!(chain.account("not a name"), Err(ChainError::Invalid(_))));
    assert!(matches!(chain.block(0), Err(ChainError::NotFound(_))));
    assert!(matches!(chain.block(1 << 40), Err(ChainError::NotFound(_))));
    assert!(matches!(chain.transaction(&[9; 32]), Err(ChainError::NotFound(_))));
    assert!(matches!(chain.accounts(None, 0), Err(ChainError::Invalid(_))));
    assert_eq!(chain.accounts(Some(u32::MAX), 10).unwrap(), []);
    assert!(matches!(chain.account_at(0), Err(ChainError::NotFound(_))));
}

#[test]
fn proofs_hold_and_no_byte_of_one_can_be_changed() {
    let (folder, config, genesis) = start(USUAL);
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let chain = Chain::open(&config.data, genesis.clone()).unwrap();
    client.round(1);
    let height = every_kind(&client, 0);
    client.round(2);
    let mut shown = Vec::new();
    for name in ["@alice".to_owned(), key_of(&bulk_key("test", 7)).to_string(), key_of(&sovereign()).to_string()] {
        let proof = proof_of(&chain, &name, height);
        let verified = verify_account_proof(&genesis, None, &proof).unwrap();
        let (account, current) = (verified.account.unwrap(), chain.account(&name).unwrap());
        assert_eq!(
            (&account.username, account.index, &account.role),
            (&current.username, current.index, &current.role)
        );
        shown.push(proof);
    }
    let alice = verify_account_proof(&genesis, None, &shown[0]).unwrap().account.unwrap();
    let Answer::Account(own) = client.ask(&Request::Account { name: "@alice".to_owned() }) else { panic!() };
    assert_eq!(alice.balances.len(), 3);
    for (proven, own) in alice.balances.iter().zip(&own.balances) {
        assert_eq!((&proven.currency_code, &proven.amount), (&own.currency, &own.amount));
    }
    // Keys that nobody has, before, between and behind those of others.
    for first in [0x00, 0x55, 0xaa, 0xff] {
        let key = PublicKey(std::array::from_fn(|place| if place == 31 { 1 } else { first }));
        let proof = proof_of(&chain, &key.to_string(), height);
        assert_eq!(verify_account_proof(&genesis, None, &proof).unwrap().account, None);
        shown.push(proof);
    }
    assert!(matches!(chain.account_proof("@nobody"), Err(ChainError::NotFound(_))));
    node.stop();
    for proof in [&shown[0], &shown[1], &shown[4]] {
        no_byte_can_be_changed(&genesis, proof);
    }
    let mut other = genesis.clone();
    other.chain = "other".to_owned();
    assert!(verify_account_proof(&other, None, &shown[0]).is_err());
}

fn no_byte_can_be_changed(genesis: &Genesis, proof: &AccountProof) {
    let text = serde_json::to_string(proof).unwrap();
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        // Another digit for a digit, another letter for a letter: what stays readable is the harder case.
        bytes[place] = match bytes[place] {
            b'0'..=b'8' | b'a'..=b'e' => bytes[place] + 1,
            b'9' | b'f' => bytes[place] - 1,
            other => other ^ 1,
        };
        let Ok(changed) = serde_json::from_slice::<AccountProof>(&bytes) else { continue };
        assert_ne!(changed, *proof);
        let Ok(verified) = verify_account_proof(genesis, None, &changed) else { continue };
        // What shows that nobody has a key shows the same of others close by: still the truth, and about the key that it names.
        assert!(verified.account.is_none() && verified.public_key != proof.public_key, "byte {place} of {text}");
    }
    let upper = AccountProof { certificate: proof.certificate.to_uppercase(), ..proof.clone() };
    assert!(verify_account_proof(genesis, None, &upper).is_err());
}

#[test]
fn a_chain_without_consensus_is_read_but_not_proven() {
    let (folder, config, genesis) = start(Kind { consensus: false, ..USUAL });
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let chain = Chain::open(&config.data, genesis.clone()).unwrap();
    let height = client.round(1);
    wait_height(&chain, height);
    compare_state(&chain, &client);
    wait("an attested height", || chain.head().ok().filter(|head| head.attested_height >= height));
    assert!(matches!(chain.account_proof("@sovereign"), Err(ChainError::NotReady(_))));
    assert!(matches!(chain.certificate(1), Err(ChainError::NotFound(_))));
    node.stop();
}

#[test]
fn a_node_prunes_under_the_reader() {
    let (folder, config, genesis) = start(Kind { consensus: false, keep_heights: 100, checkpoint_s: 1 });
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let chain = Chain::open(&config.data, genesis.clone()).unwrap();
    let first = client.transfer(0, 1, 1, 1);
    client.apply(std::slice::from_ref(&first));
    client.apply(&(1..ACCOUNTS).map(|from| client.transfer(from, 1, 0, 1)).collect::<Vec<_>>());
    let old = tana_hash::hash(&first);
    wait("the reader", || chain.transaction(&old).ok());
    let mut nonce = 1;
    let oldest = wait("the node to prune", || {
        nonce += 1;
        client.round(nonce);
        chain.head().ok().map(|head| head.oldest_height).filter(|oldest| *oldest > 1)
    });
    assert!(matches!(chain.block(1), Err(ChainError::Pruned { .. })), "{:?}", chain.block(1));
    let height = client.round(nonce + 1);
    wait_height(&chain, height);
    compare_state(&chain, &client);
    compare_root(&chain, &client);
    assert_eq!(chain.block(height).unwrap().height, height);
    assert!(chain.blocks(None, 1_000).unwrap().last().unwrap().height >= oldest.min(height.saturating_sub(999)));
    let again = Chain::open(&config.data, genesis).unwrap();
    wait_height(&again, height);
    assert_eq!(again.accounts(None, 1_000).unwrap().len(), ACCOUNTS as usize + 1);
    node.stop();
}

#[test]
fn a_folder_that_was_replaced_is_loaded_again() {
    let (folder, config, genesis) = start(Kind { consensus: false, ..USUAL });
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let chain = Chain::open(&config.data, genesis.clone()).unwrap();
    let mut height = 0;
    for nonce in 1..6 {
        height = client.round(nonce);
    }
    wait_height(&chain, height);
    let before = chain.head().unwrap();
    node.kill();
    std::fs::remove_dir_all(&config.data).unwrap();

    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    let height = client.round(1);
    let hash = wait("the new chain", || {
        let block = chain.block(height).ok()?;
        let Answer::Block(own) = client.ask(&Request::Block { height: Some(height) }) else { panic!() };
        (own.hash == block.hash && chain.head().ok()?.applied == u64::from(ACCOUNTS)).then(|| block.hash.clone())
    });
    assert_ne!(hash, before.hash);
    compare_state(&chain, &client);
    node.stop();
}

/// Damages the last record of the block log.
fn damage_last_record(config: &NodeConfig) {
    let entries = std::fs::read_dir(config.data.join("logs").join("blocks")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    // Behind the segment's own header; a segment that was only prepared holds nothing there.
    let (path, mut bytes, end) = paths
        .iter()
        .rev()
        .find_map(|path| {
            let bytes = std::fs::read(path).unwrap();
            let end = bytes.iter().rposition(|byte| *byte != 0).filter(|end| *end > 8_192)?;
            Some((path, bytes, end))
        })
        .unwrap();
    bytes[end - 50] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_or_of_another_chain_stops_the_reader() {
    let (folder, config, genesis) = start(Kind { consensus: false, keep_heights: 0, checkpoint_s: 3_600 });
    let node = NodeProcess::start(folder.path());
    let client = Client::connect(&node, &genesis);
    client.round(1);
    client.round(2);
    node.stop();

    let mut other = genesis.clone();
    other.chain = "other".to_owned();
    let chain = Chain::open(&config.data, other).unwrap();
    let reason = wait("the reader to stop", || match chain.phase() {
        Phase::Stopped(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("genesis"), "{reason}");
    drop(chain);

    damage_last_record(&config);
    let chain = Chain::open(&config.data, genesis).unwrap();
    let reason = wait("the reader to stop", || match chain.phase() {
        Phase::Stopped(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("damaged") && reason.contains("blocks"), "{reason}");
    assert!(matches!(chain.head(), Err(ChainError::Stopped(_))));
    assert!(matches!(chain.account("@sovereign"), Err(ChainError::Stopped(_))));
}
