//! `tana submit --dry-run` of every kind against fixed identifiers, and against the payload that was meant: key, genesis, nonce and time
//! are fixed, so the bytes are.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::fs;

use ed25519_dalek::{Signature, VerifyingKey};
use support::TestHome;
use tana_types::currency::{CurrencyInfo, CurrencyType};
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::payload::{Payload, Role};
use tana_types::transaction::Transaction;

const GENESIS: &str = include_str!("fixtures/genesis.toml");
/// One identifier a line, in the order of the cases below.
const IDS: &str = include_str!("fixtures/dry_run_ids.txt");
const KEY: [u8; 32] = [0xAB; 32];

fn cases() -> Vec<(Vec<&'static str>, Payload<'static>)> {
    let key = PublicKey(KEY);
    let request = [0x5C; 32];
    let text = "ed25519_abababababababababababababababababababababababababababababababab";
    // A validator's key must be a point of the curve.
    let validator = PublicKey([9; 32]);
    let point = "ed25519_0909090909090909090909090909090909090909090909090909090909090909";
    let id = "5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c";
    let usd = "USD".parse().unwrap();
    let btc = "BTC".parse().unwrap();
    let euro = CurrencyInfo {
        code: "EUR".parse().unwrap(),
        decimals: 2,
        currency_type: CurrencyType::Fiat,
        verified: true,
        name: "Euro".to_owned(),
        symbol: "€".to_owned(),
    };
    vec![
        (
            vec!["user-creation", "--username", "Alice", "--display-name", "Alice", "--biography", "Here."],
            Payload::UserCreation { username: "@alice", display_name: "Alice", biography: "Here." },
        ),
        (vec!["user-creation"], Payload::UserCreation { username: "@vector", display_name: "Vector", biography: "" }),
        (
            vec!["transfer", "--to", text, "--amount", "12.5", "--currency", "USD"],
            Payload::Transfer { recipient: key, currency: usd, amount: 1_250 },
        ),
        (vec!["deposit", "--amount", "0.00000001", "--currency", "BTC"], Payload::Deposit { currency: btc, amount: 1 }),
        (vec!["withdraw", "--amount", "40", "--currency", "USD"], Payload::Withdraw { currency: usd, amount: 4_000 }),
        (vec!["confirm-deposit", "--request", id], Payload::DepositConfirmation { request, confirm: true }),
        (
            vec!["deposit-confirmation", "--request", id, "--refuse"],
            Payload::DepositConfirmation { request, confirm: false },
        ),
        (vec!["confirm-withdrawal", "--request", id], Payload::WithdrawalConfirmation { request, confirm: true }),
        (
            vec![
                "currency-creation",
                "--code",
                "EUR",
                "--decimals",
                "2",
                "--type",
                "fiat",
                "--name",
                "Euro",
                "--symbol",
                "€",
                "--verified",
            ],
            Payload::CurrencyCreation(euro),
        ),
        (
            vec!["role-change", "--account", text, "--role", "staff"],
            Payload::RoleChange { account: key, role: Role::Staff },
        ),
        (vec!["sovereignty-transfer", "--to", text], Payload::SovereigntyTransfer { account: key }),
        (
            vec![
                "balance-adjustment",
                "--account",
                text,
                "--amount",
                "0",
                "--currency",
                "USD",
                "--reason",
                "Booked twice.",
            ],
            Payload::BalanceAdjustment { account: key, currency: usd, amount: 0, reason: "Booked twice." },
        ),
        (
            vec!["validator-set-change", "--add", point, "--address", "10.0.0.6:9000", "--epoch", "12"],
            Payload::ValidatorSetChange { add: true, validator, epoch: 12, address: "10.0.0.6:9000" },
        ),
        (
            vec!["validator-set-change", "--remove", text, "--epoch", "13"],
            Payload::ValidatorSetChange { add: false, validator: key, epoch: 13, address: "" },
        ),
    ]
}

#[test]
fn every_kind_gives_the_bytes_that_were_meant() {
    let home = TestHome::empty();
    let seed = ed25519_dalek::SigningKey::from_bytes(&[0x11; 32]);
    let public = seed.verifying_key().to_bytes();
    fs::write(home.beside("genesis.toml"), GENESIS).unwrap();
    let file = serde_json::json!({
        "username": "@vector", "displayName": "Vector",
        "publicKey": format!("ed25519_{}", hex::encode(public)), "privateKey": format!("ed25519_{}", "11".repeat(32)),
    });
    fs::write(home.beside("key.json"), file.to_string()).unwrap();
    let chain = Genesis::parse(GENESIS).unwrap().to_chain();
    let cases = cases();
    let ids: Vec<&str> = IDS.lines().collect();
    let mut found = Vec::new();
    for (arguments, payload) in &cases {
        let creation = matches!(payload, Payload::UserCreation { .. });
        let mut all = vec!["submit"];
        all.extend(arguments);
        all.extend([
            "--key",
            "key.json",
            "--genesis",
            "genesis.toml",
            "--timestamp",
            "1700000000000",
            "--dry-run",
            "--json",
        ]);
        if !creation {
            all.extend(["--nonce", "7"]);
        }
        let printed = home.tana(&all).json(0);
        let bytes = hex::decode(printed["bytes"].as_str().unwrap()).unwrap();
        let transaction = Transaction::exactly(&bytes).unwrap();
        assert_eq!(&transaction.payload().unwrap(), payload, "{arguments:?}");
        let header = transaction.header();
        assert_eq!((header.nonce.get(), header.timestamp_ms.get()), (if creation { 0 } else { 7 }, 1_700_000_000_000));
        assert_eq!(header.sender, public);
        let signed = [&chain.signing_prefix()[..], transaction.body()].concat();
        let signature = Signature::from_bytes(transaction.signature());
        VerifyingKey::from_bytes(&public).unwrap().verify_strict(&signed, &signature).unwrap();
        assert_eq!(printed["id"], hex::encode(transaction.id()));
        found.push(printed["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(found, ids, "the identifiers changed: the layout, the genesis hash or the signature did");
}
