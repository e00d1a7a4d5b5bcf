//! Networks in temporary folders; nothing is started.
#![allow(clippy::unwrap_used)]

use clap::Parser;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: DevnetArguments,
}

fn arguments(line: &str) -> DevnetArguments {
    Line::try_parse_from(std::iter::once("devnet").chain(line.split_ascii_whitespace())).unwrap().arguments
}

fn make(line: &str) -> (TempDir, Result<Network, CliError>) {
    let folder = tempfile::tempdir().unwrap();
    let network = open_or_create(&folder.path().join("net"), line);
    (folder, network)
}

fn open_or_create(folder: &Path, line: &str) -> Result<Network, CliError> {
    let arguments = arguments(line);
    Network::open_or_create(folder, arguments.validators, &NetworkPlan::from(&arguments))
}

#[test]
fn a_new_network_has_a_key_and_ports_for_each_and_one_genesis() {
    let (_folder, network) =
        make("--validators 3 --accounts 50 --base-port 12000 --epoch-blocks 7 --set log.segment_mib=16");
    let network = network.unwrap();
    assert!(network.is_new);
    assert_eq!(network.genesis.rules.epoch_blocks, 7);
    assert_eq!(network.genesis.rules.block_transactions, block_transactions_in(16), "what a node's log has room for");
    assert_eq!(network.genesis.bulk.as_ref().unwrap().count, 50);
    let addresses: Vec<_> = network.genesis.validators.iter().map(|validator| validator.address.as_str()).collect();
    assert_eq!(addresses, ["127.0.0.1:12000", "127.0.0.1:12010", "127.0.0.1:12020"]);
    for (number, member) in (0u16..).zip(&network.members) {
        let config = NodeConfig::load(&member.config()).unwrap();
        assert_eq!((config.listen.port(), member.http.port()), (12_002 + 10 * number, 12_001 + 10 * number));
        assert_eq!((config.log.segment_mib, config.threads.pin), (16, false));
        let key = tana_engine::keyfile::load_key_file(&config.key).unwrap();
        assert_eq!(keys::public_key(&key), member.key);
        assert!(member.folder.join("data/voted").exists(), "the key was just made");
        assert_eq!(config.key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Genesis::load(&config.genesis).unwrap().hash(), network.genesis.hash());
    }
}

#[test]
fn a_network_that_is_there_goes_on_as_it_is() {
    let (folder, network) = make("--validators 2 --accounts 10");
    let path = folder.path().join("net");
    let hash = network.unwrap().genesis.hash();
    let again = open_or_create(&path, "--accounts 99").unwrap();
    assert_eq!((again.genesis.hash(), again.is_new, again.members.len()), (hash, false, 2));
    let error = open_or_create(&path, "--validators 3").unwrap_err().to_string();
    assert!(error.contains("has 2 validators, not 3"), "{error}");
    again.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn each_account_is_given_to_one_flood() {
    let (folder, network) = make("--validators 2 --accounts 10");
    let network = network.unwrap();
    assert_eq!(network.take_accounts(Some(4)).unwrap(), (0, 4));
    let again = open_or_create(&folder.path().join("net"), "").unwrap();
    assert_eq!(again.take_accounts(None).unwrap(), (4, 6));
    let error = again.take_accounts(None).unwrap_err().to_string();
    assert!(error.contains("0 of this network's 10"), "{error}");
    assert!(network.take_accounts(Some(1)).is_err());
}

#[test]
fn mistakes_are_refused_and_leave_nothing_behind() {
    for (line, text) in [
        ("--validators 4 --base-port 65500", "--base-port 65500"),
        ("--base-port 80", "--base-port 80"),
        ("--validators 2 --solo", "--validators 1"),
        ("--set nonsense", "KEY=VALUE"),
        ("--set no.such=1", "no"),
        ("--set ingest.flush_ms=0", "ingest.flush_ms"),
        ("--set listen.x=1", "no table"),
        ("--accounts 4000000000", "accounts_total"),
    ] {
        let (folder, network) = make(line);
        let error = network.unwrap_err().to_string();
        assert!(error.contains(text), "{line}: {error}");
        assert!(!folder.path().join("net").exists(), "{line}");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("mine"), "").unwrap();
    let error = open_or_create(folder.path(), "").unwrap_err().to_string();
    assert!(error.contains("other files"), "{error}");
    assert!(folder.path().join("mine").exists());
}

#[test]
fn a_port_that_another_program_has_is_named_before_anything_starts() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let http = other.local_addr().unwrap().port();
    // The ports beside it may be taken too; each gives the same error.
    let (_folder, network) = make(&format!("--validators 1 --base-port {}", http - 1));
    let error = crate::commands::devnet::ports::check_free(&network.unwrap()).unwrap_err();
    assert!(matches!(error, CliError::Usage(_)), "{error:?}");
    assert!(error.to_string().contains("is in use: another network"), "{error}");
}
