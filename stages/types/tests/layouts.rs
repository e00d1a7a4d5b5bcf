//! The layouts against garbage, against themselves and against fixtures that must never change by accident.

#![allow(clippy::unwrap_used)]

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use tana_types::account::{HotAccount, Overflow};
use tana_types::batch::{Batch, Origin, Seal};
use tana_types::bulk::bulk_key;
use tana_types::genesis::Genesis;
use tana_types::header::{
    BLOCK_BATCHES_MAX, BlockHeader, HEADER_BYTES_MAX, HEADER_FIXED_BYTES, LANES_MAX, LaneBatches,
};
use tana_types::key::PublicKey;
use tana_types::payload::{Kind, Payload, Role};
use tana_types::state::StateSections;
use tana_types::transaction::{Chain, TRANSFER_BYTES, Transaction, sign};

const GENESIS: &str = r#"
chain = "fixture"
timestamp_ms = 1730592000000
[sovereign]
key = "ed25519_d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
username = "@sovereign"
[[sovereign.allocation]]
currency = "USD"
amount = "1000000000.00"
[[currency]]
code = "USD"
decimals = 2
type = "fiat"
verified = true
name = "US Dollar"
symbol = "$"
[[validator]]
key = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
address = "127.0.0.1:9000"
"#;

fn chain() -> Chain {
    Chain::new([7; 32])
}

fn transfer(nonce: u64) -> Vec<u8> {
    let payload = Payload::Transfer { recipient: PublicKey([2; 32]), currency: "USD".parse().unwrap(), amount: 1_250 };
    sign(&chain(), &SigningKey::from_bytes(&[1; 32]), nonce, 1_700_000_000_000, &payload).unwrap()
}

#[test]
fn fixtures_have_not_moved() {
    let fixtures = include_str!("fixtures/layouts.txt");
    let genesis = Genesis::parse(GENESIS).unwrap();
    let mut batch = Batch::with_capacity(2, 1_000);
    for nonce in 1..=2 {
        batch.push(Transaction::exactly(&transfer(nonce)).unwrap(), 5, Origin::default());
    }
    let digest = batch.seal(&chain(), &SigningKey::from_bytes(&[3; 32]), 1, 9, 0, 1_000);
    let header = header(vec![LaneBatches { lane: 0, first_sequence: 9, digests: vec![digest] }]);
    let mut hot = HotAccount::new(Role::Staff, 17);
    hot.nonce.set(3);
    hot.currencies[0].set(1);
    hot.amounts[0].set(77);
    let mut found = String::new();
    for (name, bytes) in [
        ("genesis", genesis.encode()),
        ("genesis_hash", genesis.hash().to_vec()),
        ("transfer", transfer(1)),
        ("transfer_id", Transaction::exactly(&transfer(1)).unwrap().id().to_vec()),
        ("sealed_batch", batch.sealed_bytes().to_vec()),
        ("batch_digest", digest.to_vec()),
        ("header", header.encode()),
        ("header_hash", header.hash().to_vec()),
        ("account_record", hot.record(&PublicKey([9; 32])).to_vec()),
        ("overflow", overflow().encode()),
        ("state_root", sections().root().to_vec()),
        ("bulk_public_key_7", bulk_key("seed", 7).verifying_key().to_bytes().to_vec()),
    ] {
        found += &format!("{name} {}\n", hex::encode(bytes));
    }
    if std::env::var_os("TANA_WRITE_FIXTURES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/layouts.txt"), &found).unwrap();
        return;
    }
    for (line, expected) in found.lines().zip(fixtures.lines()) {
        assert_eq!(line, expected, "a layout has changed: that is a new version, not a new fixture");
    }
    assert_eq!(found.lines().count(), fixtures.lines().count());
}

fn overflow() -> Overflow {
    Overflow {
        username: Some("@alice".parse().unwrap()),
        display_name: "Alice".into(),
        biography: "keeps books".into(),
        balances: vec![(3, 5), (9, 1)],
    }
}

fn sections() -> StateSections {
    StateSections {
        height: 4,
        account_count: 2,
        accounts_root: [1; 32],
        currencies_hash: [2; 32],
        pending_hash: [3; 32],
        validators_hash: [4; 32],
        progress_hash: [5; 32],
    }
}

fn header(lanes: Vec<LaneBatches>) -> BlockHeader {
    BlockHeader {
        height: 12,
        epoch: 1,
        parent: [1; 32],
        proposer: [2; 32],
        timestamp_ms: 1_700_000_000_001,
        executed_height: 11,
        state_root: [3; 32],
        receipts_root: [4; 32],
        transaction_root: [5; 32],
        transaction_count: 2,
        validator_set_hash: [6; 32],
        lanes,
    }
}

#[test]
fn a_transfer_has_180_bytes_and_reads_back() {
    let bytes = transfer(3);
    assert_eq!((bytes.len(), TRANSFER_BYTES), (180, 180));
    let transaction = Transaction::exactly(&bytes).unwrap();
    assert_eq!(transaction.header().nonce.get(), 3);
    assert_eq!(transaction.header().chain.get(), chain().tag());
    assert!(matches!(transaction.payload().unwrap(), Payload::Transfer { amount: 1_250, .. }));
    let mut message = chain().signing_prefix().to_vec();
    message.extend_from_slice(transaction.body());
    let signature = ed25519_dalek::Signature::from_bytes(transaction.signature());
    SigningKey::from_bytes(&[1; 32]).verifying_key().verify_strict(&message, &signature).unwrap();
}

#[test]
fn an_invalid_payload_is_never_signed() {
    let key = SigningKey::from_bytes(&[1; 32]);
    let account = PublicKey([2; 32]);
    let validator = PublicKey(key.verifying_key().to_bytes());
    let currency = "USD".parse().unwrap();
    for payload in [
        Payload::UserCreation { username: "Alice", display_name: "", biography: "" },
        Payload::UserCreation { username: "@alice", display_name: &"x".repeat(101), biography: "" },
        Payload::UserCreation { username: "@alice", display_name: "", biography: &"x".repeat(1_001) },
        Payload::RoleChange { account, role: Role::Sovereign },
        Payload::BalanceAdjustment { account, currency, amount: 1, reason: "too short" },
        Payload::BalanceAdjustment { account, currency, amount: 1, reason: &"x".repeat(513) },
        Payload::ValidatorSetChange { add: true, validator, epoch: 1, address: "" },
        Payload::ValidatorSetChange { add: false, validator, epoch: 1, address: "a:1" },
        Payload::ValidatorSetChange { add: true, validator: account, epoch: 1, address: "a:1" },
    ] {
        assert!(sign(&chain(), &key, 1, 1, &payload).is_err(), "{payload:?}");
    }
}

#[test]
fn retaining_keeps_bytes_entries_and_identifiers_together() {
    let mut batch = Batch::with_capacity(8, 4_096);
    for nonce in 1..=5 {
        let bytes = transfer(nonce);
        let transaction = Transaction::exactly(&bytes).unwrap();
        batch.push(transaction, nonce as u32, Origin { sequence: nonce, ..Origin::default() });
        batch.ids.push(transaction.id());
    }
    batch.retain(&[true, false, true, false, true]);
    let nonces: Vec<_> = batch.transactions().map(|transaction| transaction.header().nonce.get()).collect();
    assert_eq!(nonces, [1, 3, 5]);
    for (position, entry) in batch.entries().iter().enumerate() {
        assert_eq!(u64::from(entry.sender), entry.origin.sequence);
        assert_eq!(batch.ids[position], batch.transaction(position).id());
    }
    assert_eq!(batch.body_length(), 3 * TRANSFER_BYTES);
}

#[test]
fn a_sealed_batch_reads_back_and_any_changed_byte_is_noticed() {
    let author = SigningKey::from_bytes(&[3; 32]);
    let mut batch = Batch::with_capacity(8, 4_096);
    for nonce in 1..=3 {
        batch.push(Transaction::exactly(&transfer(nonce)).unwrap(), 0, Origin::default());
    }
    let digest = batch.seal(&chain(), &author, 1, 2, 1, 50);
    let sealed = batch.sealed_bytes().to_vec();
    let mut read = Batch::default();
    read.load_sealed(&sealed, &chain()).unwrap();
    assert_eq!((read.len(), read.seal_header().digest()), (3, digest));
    assert!(read.seal_header().signature_is_valid());
    assert!(Seal::decode(&sealed, &Chain::new([8; 32])).is_err());
    for position in 0..sealed.len() {
        let mut broken = sealed.clone();
        broken[position] ^= 1;
        let noticed = match read.load_sealed(&broken, &chain()) {
            Err(_) => true,
            Ok(()) => !read.seal_header().signature_is_valid(),
        };
        assert!(noticed, "byte {position}");
    }
}

#[test]
fn a_genesis_is_named_by_its_meaning() {
    let genesis = Genesis::parse(GENESIS).unwrap();
    let again = Genesis::parse(&genesis.to_toml().unwrap()).unwrap();
    assert_eq!(genesis.hash(), again.hash());
    let other = Genesis::parse(&GENESIS.replace("1000000000.00", "1000000000.01")).unwrap();
    assert_ne!(genesis.hash(), other.hash());
    for (from, to) in [
        ("amount = \"1000000000.00\"", "amount = \"1.001\""),
        ("currency = \"USD\"", "currency = \"EUR\""),
        ("@sovereign", "@Sovereign"),
        ("chain = \"fixture\"", "chain = \"\""),
        ("decimals = 2", "decimals = 19"),
        ("timestamp_ms", "timestamp"),
        ("[[validator]]", "[[validators]]"),
    ] {
        assert!(Genesis::parse(&GENESIS.replace(from, to)).is_err(), "{to}");
    }
}

#[test]
fn a_genesis_names_validators_that_can_vote_each_once() {
    let key = "ed25519_3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    let no_point = format!("ed25519_{}", "02".repeat(32));
    let refused = Genesis::parse(&GENESIS.replace(key, &no_point)).unwrap_err().to_string();
    assert!(refused.contains(&no_point) && refused.contains("not the encoding of a point"), "{refused}");
    let twice = format!("{GENESIS}[[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:9010\"\n");
    let refused = Genesis::parse(&twice).unwrap_err().to_string();
    assert!(refused.contains("is there twice"), "{refused}");
}

#[test]
fn the_largest_header_has_the_most_bytes() {
    let lanes = (0..LANES_MAX as u16).map(|lane| {
        let digests = vec![[7; 32]; BLOCK_BATCHES_MAX / LANES_MAX];
        LaneBatches { lane, first_sequence: 1, digests }
    });
    let largest = header(lanes.collect());
    assert_eq!((header(vec![]).encode().len(), largest.encode().len()), (HEADER_FIXED_BYTES, HEADER_BYTES_MAX));
    assert_eq!(BlockHeader::decode(&largest.encode()).unwrap(), largest);
}

#[test]
fn rules_have_ranges() {
    let with =
        |rules: &str| Genesis::parse(&GENESIS.replace("[sovereign]\n", &format!("[rules]\n{rules}\n[sovereign]\n")));
    let names_the_chain = |rules: &str| with(rules).unwrap().hash() != Genesis::parse(GENESIS).unwrap().hash();
    for rule in [
        "pending_per_account = 1",
        "pending_per_account = 65536",
        "batch_expiry_blocks = 1000",
        "block_transactions = 1",
    ] {
        assert!(names_the_chain(rule), "{rule}");
    }
    assert!(
        !names_the_chain("pending_per_account = 16\nbatch_expiry_blocks = 10000\nblock_transactions = 20000"),
        "the defaults"
    );
    for rule in [
        "pending_per_account = 0",
        "pending_per_account = 65537",
        "batch_expiry_blocks = 999",
        "block_transactions = 0",
    ] {
        let refused = with(rule).unwrap_err().to_string();
        assert!(refused.contains(rule.split(' ').next().unwrap()), "{refused}");
    }
}

proptest! {
    #[test]
    fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0u8..14) {
        if let Some(transaction) = Transaction::first_of(&bytes) {
            let _ = transaction.payload();
        }
        if let Some(kind) = Kind::from_u8(kind)
            && let Ok(payload) = Payload::decode(kind, &bytes)
        {
            prop_assert_eq!(payload.encode().unwrap(), bytes.clone());
        }
        if let Ok(header) = BlockHeader::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes.clone());
        }
        if let Ok(overflow) = Overflow::decode(&bytes) {
            prop_assert_eq!(overflow.encode(), bytes.clone());
        }
        let _ = StateSections::decode(&bytes);
        let _ = Batch::default().load_sealed(&bytes, &chain());
    }

    #[test]
    fn headers_read_back(lanes in proptest::collection::btree_map(any::<u16>(), (1u64..1 << 40, 1usize..5), 0..6)) {
        let lanes = lanes.into_iter().map(|(lane, (first_sequence, count))| LaneBatches { lane, first_sequence, digests: vec![[lane as u8; 32]; count] }).collect();
        let header = header(lanes);
        prop_assert_eq!(BlockHeader::decode(&header.encode()).unwrap(), header);
    }

    #[test]
    fn user_creations_read_back(name in "@[a-z0-9_-]{1,49}", display_name in ".{0,25}", biography in ".{0,250}") {
        let payload = Payload::UserCreation { username: &name, display_name: &display_name, biography: &biography };
        let bytes = payload.encode().unwrap();
        prop_assert_eq!(Payload::decode(Kind::UserCreation, &bytes).unwrap(), payload);
    }

    #[test]
    fn records_read_back(bytes: [u8; 32], more in proptest::array::uniform32(any::<u8>()), last in proptest::array::uniform32(any::<u8>())) {
        let mut record = [0; 96];
        record[..32].copy_from_slice(&bytes);
        record[32..64].copy_from_slice(&more);
        record[64..].copy_from_slice(&last);
        let (key, hot) = HotAccount::from_record(&record);
        prop_assert_eq!(hot.record(&key), record);
    }
}

#[test]
fn numbers_that_cannot_be_counted_on_from_are_refused() {
    let lane = |first_sequence| vec![LaneBatches { lane: 0, first_sequence, digests: vec![[1; 32], [2; 32]] }];
    let last = u64::MAX >> 1;
    let good = header(lane(last - 2));
    assert_eq!(
        BlockHeader::decode(&good.encode()).unwrap().batches().map(|batch| batch.1).collect::<Vec<_>>(),
        [last - 2, last - 1]
    );
    for first in [last - 1, u64::MAX - 2] {
        assert!(BlockHeader::decode(&header(lane(first)).encode()).is_err());
    }
    // Such a header cannot be decoded, but it can be made: walking over it must end too.
    assert_eq!(header(lane(u64::MAX - 1)).batches().count(), 2);
    let changes: [fn(&mut BlockHeader, u64); 3] = [
        |header, value| header.height = value,
        |header, value| header.epoch = value,
        |header, value| header.timestamp_ms = value,
    ];
    for change in changes {
        let mut bad = header(lane(1));
        change(&mut bad, last + 1);
        assert!(BlockHeader::decode(&bad.encode()).is_err());
    }
}
