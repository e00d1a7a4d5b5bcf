//! The binary as a person uses it: figures, files, mistakes.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use support::{Behaviour, Node, genesis_text};
use tana_types::code::Code;
use tx_gen::{Ended, Report};

fn tx_gen(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tx-gen"));
    command.current_dir(folder).args(line.split_ascii_whitespace()).output().unwrap()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("genesis.toml"), genesis_text(500)).unwrap();
    folder
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_flood_prints_a_table_and_writes_json_and_a_page() {
    let (folder, node) = (folder(), Node::start(Behaviour::default()));
    let line = format!("--to {} --count 5000 --json out.json --html out.html", node.address());
    let output = tx_gen(folder.path(), &line);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for row in ["sent", "applied", "latency to final", "5,000 in all"] {
        assert!(table.contains(row), "{row} in {table}");
    }
    let report: Report = serde_json::from_slice(&std::fs::read(folder.path().join("out.json")).unwrap()).unwrap();
    assert_eq!((report.totals.applied, report.ended), (5_000, Ended::LoadUsedUp));
    assert!(std::fs::read_to_string(folder.path().join("out.html")).unwrap().contains("<svg"));
}

#[test]
fn a_saved_load_is_sent_later_and_json_stands_alone_on_standard_output() {
    let (folder, node) = (folder(), Node::start(Behaviour::default()));
    assert!(tx_gen(folder.path(), "--count 3000 --connections 2 --save load.bin").status.success());
    assert_eq!(node.transactions().len(), 0);
    let output = tx_gen(folder.path(), &format!("--to {} --load load.bin --in-flight max --json -", node.address()));
    let report: Report = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((report.totals.applied, report.plan.connections), (3_000, 2));
    assert_eq!(text(&output.stderr), "", "quiet beside JSON");
}

#[test]
fn failures_have_a_cause_a_remedy_and_an_exit_code() {
    let (folder, node) = (folder(), Node::start(Behaviour { reject: Some(Code::WrongChain), ..Behaviour::default() }));
    let failed = |line: &str, expected: &[&str]| {
        let output = tx_gen(folder.path(), line);
        assert_eq!(output.status.code(), Some(1), "{line}");
        let said = text(&output.stderr) + &text(&output.stdout);
        for part in expected {
            assert!(said.contains(part), "{line}: {part} in {said}");
        }
    };
    let to = node.address();
    failed(&format!("--to {to} --count 100000"), &["wrong_chain", "genesis"]);
    failed("--genesis nowhere.toml", &["nowhere.toml", "tana init"]);
    failed("--to 127.0.0.1:9 --count 10", &["127.0.0.1:9"]);
    failed(&format!("--to {to} --count 10 --accounts 501"), &["500 bulk accounts"]);
    let key = format!("ed25519_{}", "07".repeat(32));
    failed(&format!("--to {to} --count 10 --server-key {key}"), &[&key]);
    std::fs::write(folder.path().join("load.bin"), b"TANALOADgarbage that is no load").unwrap();
    failed("--load load.bin", &["load.bin", "--save"]);
}

#[test]
fn help_shows_examples() {
    let output = tx_gen(Path::new("/"), "--help");
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("Examples:"));
}
