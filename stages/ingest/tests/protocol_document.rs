//! docs/protocol.md against the code: codes, examples, domain texts, requests and sizes. What outside clients are written from must not
//! drift away from what the node does.

use tana_types::batch::SEAL_TAG;
use tana_types::bulk::BULK_CONTEXT;
use tana_types::code::Code;
use tana_types::genesis::{GENESIS_CONTEXT, Genesis, Rules};
use tana_types::header::HEADER_CONTEXT;
use tana_types::payload::Kind;
use tana_types::query::{Request, Response, pending_page};
use tana_types::state::STATE_CONTEXT;
use tana_types::transaction::{SIGNING_TAG, Transaction};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");
const FIXTURES: &str = include_str!("../../types/tests/fixtures/layouts.txt");

/// The document without white space, so that wrapped hexadecimal digits can be found.
fn dense() -> String {
    DOCUMENT.split_whitespace().collect()
}

fn fixture(name: &str) -> &'static str {
    FIXTURES.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the fixture exists")
}

#[test]
fn every_code_is_listed_as_it_is() {
    for &code in Code::ALL {
        let skipped = if code.is_skipped() { " *(skipped)*" } else { "" };
        let row = format!("| {} | `{}` | {}{skipped} |", code as u8, code.name(), code.explanation());
        assert!(DOCUMENT.contains(&row), "docs/protocol.md lacks the row\n{row}");
    }
}

#[test]
fn every_kind_is_listed_with_its_number() {
    for kind in Kind::ALL {
        assert!(DOCUMENT.contains(&format!("| {} | {} |", kind as u8, kind.name())), "{kind:?}");
    }
}

#[test]
fn examples_are_the_fixtures() {
    let document = dense();
    for name in [
        "genesis",
        "genesis_hash",
        "transfer_id",
        "batch_digest",
        "header",
        "header_hash",
        "account_record",
        "overflow",
    ] {
        assert!(document.contains(fixture(name)), "{name}");
    }
    assert!(document.contains(&fixture("sealed_batch")[..400]));
}

/// The digits of the worked example stand in lines of offset, digits and name.
#[test]
fn the_worked_transfer_reads_back() {
    let example = DOCUMENT.split("## 17.").nth(1).and_then(|text| text.split("```").nth(1)).expect("it is there");
    let digits = example.lines().filter_map(|line| line.split_whitespace().nth(1));
    let digits: String = digits.collect();
    assert_eq!(digits, fixture("transfer"));
    let bytes = hex::decode(digits).expect("digits");
    let transaction = Transaction::exactly(&bytes).expect("a transaction");
    assert_eq!(hex::encode(transaction.id()), fixture("transfer_id"));
}

#[test]
fn the_genesis_file_has_the_hash_that_is_told() {
    let text = DOCUMENT.split("```toml").nth(1).and_then(|text| text.split("```").next()).expect("it is there");
    let genesis = Genesis::parse(text).expect("a genesis");
    assert_eq!(hex::encode(genesis.hash()), fixture("genesis_hash"));
    let rules = Rules::default();
    for (name, value) in [
        ("transaction_window_ms", rules.transaction_window_ms),
        ("accounts_per_block", u64::from(rules.accounts_per_block)),
        ("accounts_total", u64::from(rules.accounts_total)),
        ("pending_total", u64::from(rules.pending_total)),
        ("pending_per_account", u64::from(rules.pending_per_account)),
        ("epoch_blocks", rules.epoch_blocks),
        ("batch_expiry_blocks", rules.batch_expiry_blocks),
        ("block_transactions", u64::from(rules.block_transactions)),
    ] {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| `rules.{name}`"))).expect(name);
        assert!(row.replace(',', "").contains(&value.to_string()), "{row}");
    }
}

#[test]
fn tags_and_contexts_are_told() {
    for context in [GENESIS_CONTEXT, HEADER_CONTEXT, STATE_CONTEXT, BULK_CONTEXT] {
        assert!(DOCUMENT.contains(&format!("`{context}`")), "{context}");
    }
    for tag in [SIGNING_TAG, SEAL_TAG] {
        assert!(DOCUMENT.contains(&hex::encode(tag)));
    }
}

#[test]
fn requests_are_understood() {
    let section = DOCUMENT.split("## 6.").nth(1).and_then(|text| text.split("## 7.").next()).expect("it is there");
    let mut understood = 0;
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.split(" | ").next().expect("a first column");
        for request in cell.split('`').skip(1).step_by(2) {
            let parsed = serde_json::from_str::<Request>(request);
            assert!(parsed.is_ok(), "{request}: {parsed:?}");
            understood += 1;
        }
    }
    assert_eq!(understood, 11);
    let refusal = serde_json::to_string(&Response::Error("no".to_owned())).expect("it serializes");
    assert_eq!(refusal, r#"{"error":"no"}"#);
}

#[test]
fn pages_of_pending_requests_are_asked_for_easily() {
    let read = |text: &str| match serde_json::from_str(text).expect(text) {
        Request::Pending { after, limit } => pending_page(after.as_deref(), limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(read(r#"{"pending":{}}"#), Ok((None, 100)));
    let digits = "ab".repeat(32);
    let text = format!(r#"{{"pending":{{"after":"{digits}","limit":1000}}}}"#);
    assert_eq!(read(&text), Ok((Some([0xAB; 32]), 1_000)));
    assert_eq!(read(r#"{"pending":{"limit":1}}"#), Ok((None, 1)));
    for (text, named) in [
        (r#"{"pending":{"limit":0}}"#, "limit"),
        (r#"{"pending":{"limit":1001}}"#, "limit"),
        (r#"{"pending":{"after":""}}"#, "after"),
        (r#"{"pending":{"after":"abcd"}}"#, "after"),
        (r#"{"pending":{"after":"é"}}"#, "after"),
    ] {
        assert!(read(text).is_err_and(|reason| reason.contains(named)), "{text}");
    }
}
