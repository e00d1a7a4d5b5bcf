//! What cannot be reached from outside: books that do not balance, and the state that a small genesis makes, byte for byte.

use tana_accounts::directory;
use tana_types::genesis::{Bulk, Genesis};
use tana_types::header::BlockHeader;

use crate::{ExecuteError, GenesisStateError, Outcome, State};

const GENESIS: &str = r#"
chain = "fixture"
timestamp_ms = 1730592000000
[sovereign]
key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000000000.00"
[[sovereign.allocation]]
currency = "BTC"
amount = "21.00000000"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
verified = true
name = "US Dollar"
symbol = "$"
[[currency]]
code = "BTC"
decimals = 8
type = "crypto"
[[validator]]
key = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
address = "127.0.0.1:9000"
[bulk]
seed = "fixture"
count = 100
currency = "BTC"
amount = "0.5"
"#;

fn genesis() -> Genesis {
    Genesis::parse(GENESIS).unwrap()
}

fn state() -> State {
    State::from_genesis(&genesis(), directory(10).0, &|_, _| ()).unwrap()
}

fn header(state: &State) -> BlockHeader {
    BlockHeader {
        height: state.progress().height + 1,
        epoch: 0,
        parent: state.progress().block_hash,
        proposer: [0; 32],
        timestamp_ms: 1_730_592_000_001,
        executed_height: state.progress().height,
        state_root: [0; 32],
        receipts_root: [0; 32],
        transaction_root: [0; 32],
        transaction_count: 0,
        validator_set_hash: [0; 32],
        lanes: vec![],
    }
}

#[test]
fn the_genesis_state_has_not_moved() {
    let state = state();
    let mut hasher = blake3::Hasher::new();
    for (record, overflow) in state.leaves(0..u32::MAX) {
        hasher.update(&record).update(&overflow.unwrap_or([0; 32]));
    }
    let mut found = format!("leaves {}\n", hasher.finalize().to_hex());
    found += &format!("sections {}\n", hex::encode(state.sections(*hasher.finalize().as_bytes()).encode()));
    found += &format!("validator_set {}\n", hex::encode(state.validator_set_hash(0)));
    let id = [7; 32];
    found +=
        &format!("receipts_root {}\n", hex::encode(crate::receipts_root([&id, &id, &id].into_iter(), &[0, 1, 12], 5)));
    found += &format!("transaction_root {}\n", hex::encode(crate::transaction_root([&id, &id])));
    if std::env::var_os("TANA_WRITE_FIXTURES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/genesis.txt"), &found).unwrap();
        return;
    }
    assert_eq!(found, include_str!("../tests/fixtures/genesis.txt"));
}

#[test]
fn progress_reads_back_with_its_floors() {
    let mut progress = state().progress().clone();
    progress.lane_marks.insert(3, 9);
    for author in [[1; 32], [2; 32]] {
        progress.lane_floors.insert(author, crate::LaneFloor { mark: 7, until: 10_041 });
    }
    let bytes = progress.encode();
    assert_eq!(crate::Progress::decode(&bytes).unwrap(), progress);
    let floors = bytes.len() - 96;
    let swapped = [&bytes[..floors], &bytes[floors + 48..], &bytes[floors..floors + 48]].concat();
    assert!(crate::Progress::decode(&swapped).is_err(), "one encoding only");
}

#[test]
fn receipts_are_hashed_alike_alone_and_together() {
    let ids: Vec<_> = (0..1_000u32).map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
    let codes: Vec<_> = (0..1_000u32).map(|number| (number % 30) as u8).collect();
    let leaves = crate::receipt_leaves(ids.iter(), &codes, 77);
    assert_eq!(leaves.len(), ids.len());
    for (index, leaf) in leaves.iter().enumerate() {
        assert_eq!(*leaf, crate::receipt_leaf(&ids[index], 77, index as u32, codes[index]));
    }
    assert_ne!(crate::receipts_root(ids.iter(), &codes, 77), crate::receipts_root(ids.iter(), &codes, 78));
}

#[test]
fn money_from_nowhere_stops_the_node() {
    let mut state = state();
    let mut outcome = Outcome::default();
    // As a defect would do it: a balance changes and no kind says that it minted.
    let header = header(&state);
    state.accounts.set_balance(5, 2, 50_000_001);
    let error = state.execute(&header, &[], &mut outcome).unwrap_err();
    assert_eq!(error, ExecuteError::Conservation { height: 1, currency: 2, moved: 1, minted: 0, burned: 0 });
}

#[test]
fn minting_without_a_balance_stops_the_node() {
    let mut state = state();
    let header = header(&state);
    state.accounts.movements.mint(1, 7);
    let error = state.execute(&header, &[], &mut Outcome::default()).unwrap_err();
    assert_eq!(error, ExecuteError::Conservation { height: 1, currency: 1, moved: 0, minted: 7, burned: 0 });
}

#[test]
fn blocks_come_in_order_and_complete() {
    let mut state = state();
    let mut outcome = Outcome::default();
    let before = state.sections([0; 32]);
    let (mut early, mut incomplete) = (header(&state), header(&state));
    early.height = 2;
    assert_eq!(state.execute(&early, &[], &mut outcome), Err(ExecuteError::Height { height: 2, executed: 0 }));
    incomplete.transaction_count = 1;
    assert!(matches!(state.execute(&incomplete, &[], &mut outcome), Err(ExecuteError::Batches { .. })));
    assert_eq!(state.sections([0; 32]), before);
    let header = header(&state);
    assert_eq!(state.execute(&header, &[], &mut outcome), Ok(()));
    assert_eq!(state.progress().block_hash, header.hash());
    assert!(matches!(state.execute(&header, &[], &mut outcome), Err(ExecuteError::Height { height: 1, executed: 1 })));
}

#[test]
fn a_genesis_without_a_state_is_refused() {
    let mut twice = genesis();
    twice.sovereign.key =
        tana_types::key::PublicKey(tana_types::bulk::bulk_key("fixture", 3).verifying_key().to_bytes());
    let error = State::from_genesis(&twice, directory(10).0, &|_, _| ()).err();
    assert!(matches!(error, Some(GenesisStateError::KeyTwice(key)) if key == twice.sovereign.key));
    let mut zero = genesis();
    zero.sovereign.key.0 = [0; 32];
    let error = State::from_genesis(&zero, directory(10).0, &|_, _| ()).err();
    assert!(matches!(error, Some(GenesisStateError::ZeroKey)));
    let (mut writer, _) = directory(10);
    writer.insert(genesis().sovereign.key);
    let error = State::from_genesis(&genesis(), writer, &|_, _| ()).err();
    assert!(matches!(error, Some(GenesisStateError::DirectoryInUse(2))));
    let mut unknown = genesis();
    unknown.bulk = Some(Bulk { currency: "EUR".parse().unwrap(), ..unknown.bulk.unwrap() });
    let error = State::from_genesis(&unknown, directory(10).0, &|_, _| ()).err();
    assert!(matches!(error, Some(GenesisStateError::Genesis(_))));
}

#[test]
fn progress_of_the_bulk_accounts_is_told() {
    let told = std::cell::RefCell::new(Vec::new());
    let state =
        State::from_genesis(&genesis(), directory(10).0, &|done, of| told.borrow_mut().push((done, of))).unwrap();
    assert_eq!(*told.borrow(), [(100, 100)]);
    assert_eq!(state.account_count(), 102);
    let number_3 = tana_types::bulk::bulk_key("fixture", 3).verifying_key().to_bytes();
    assert_eq!(state.find(&tana_types::key::PublicKey(number_3)), Some(5));
    assert_eq!(state.balance(5, 2), 50_000_000);
    assert_eq!(state.currencies()[1].total, "71.00000000");
}
