//! `tana testnet` and `scripts/deploy`, below a temporary root: what would lie on a host, and that a validator runs from it.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use support::{Ran, TestHome};

const BINARY: &str = env!("CARGO_BIN_EXE_tana");

fn deploy(home: &TestHome, words: &[&str]) -> Ran {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/deploy");
    let mut command = Command::new(script);
    command.args(words).arg("--root").arg(home.beside("root")).stdin(Stdio::null());
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_testnet_has_a_folder_for_each_host() {
    let home = TestHome::empty();
    let words =
        ["testnet", "--host", "alpha=10.0.0.1", "--host", "beta=two.example:9100", "--chain", "trial", "--json"];
    let made = home.tana(&words).json(0);
    assert_eq!((&made["chain"], made["hosts"].as_array().unwrap().len()), (&"trial".into(), 2));
    assert_eq!(mode(&home.beside("testnet")), 0o700);
    assert_eq!(mode(&home.beside("testnet/sovereign.json")), 0o600);
    let mut hashes = Vec::new();
    for (place, name) in ["alpha", "beta"].into_iter().enumerate() {
        let file = |file: &str| home.beside(&format!("testnet/{name}/{file}"));
        assert_eq!(mode(&file("validator.json")), 0o600);
        assert!(file("voted").exists(), "the key was just made");
        let genesis = tana_types::genesis::Genesis::load(&file("genesis.toml")).unwrap();
        let key = tana_engine::keyfile::load_key_file(&file("validator.json")).unwrap();
        assert_eq!(genesis.validators[place].key, tana_cli::keys::public_key(&key));
        assert_eq!(genesis.validators[place].address, ["10.0.0.1:9000", "two.example:9100"][place]);
        let config = tana_engine::config::NodeConfig::load(&file("node.toml")).unwrap();
        assert_eq!(config.listen.port(), [9_002, 9_102][place]);
        assert!(std::fs::read_to_string(file("tana-validator.service")).unwrap().contains("NoNewPrivileges=yes"));
        hashes.push(genesis.hash());
    }
    assert_eq!(hashes[0], hashes[1]);
    assert_eq!(made["genesis_hash"], hex::encode(hashes[0]));
    home.tana(&words).fails(1, &["testnet exists already"]);
    home.tana(&["testnet"]).fails(2, &["--host"]);
    home.tana(&["testnet", "--host", "a=b", "--host", "a=c"]).fails(2, &["two hosts are called a"]);
    home.tana(&["testnet", "--host", "nothing"]).fails(2, &["NAME=ADDRESS"]);
}

#[test]
fn a_data_folder_from_elsewhere_gets_no_voting_record() {
    let home = TestHome::empty();
    home.tana(&["testnet", "--host", "alpha=127.0.0.1:18350"]).ok();
    let folder = home.beside("testnet/alpha");
    std::fs::create_dir_all(home.beside("root/var/lib/tana/logs")).unwrap();
    let installed = deploy(&home, &["install", folder.to_str().unwrap(), "--binary", BINARY]).ok();
    assert!(installed.stdout.contains("follows without voting"), "{installed:?}");
    assert!(!home.beside("root/var/lib/tana/voted").exists() && folder.join("voted").exists());
}

#[test]
fn a_validator_is_installed_runs_is_upgraded_and_removed() {
    let home = TestHome::empty();
    // A port that no other test has; 0 would not tell the others where to connect.
    home.tana(&["testnet", "--host", "alpha=127.0.0.1:18340"]).ok();
    let folder = home.beside("testnet/alpha");
    let folder = folder.to_str().unwrap();
    deploy(&home, &["status"]).fails(1, &[]);
    deploy(&home, &["start"]).fails(1, &["install first"]);
    deploy(&home, &["install", folder, "--binary", "/nowhere/tana"]).fails(1, &["is no file"]);
    let installed = deploy(&home, &["install", folder, "--binary", BINARY]).ok();
    assert!(installed.stdout.contains("start it by hand"), "{installed:?}");
    let at = |path: &str| home.beside("root").join(path);
    assert_eq!(mode(&at("etc/tana/validator.json")), 0o600);
    assert_eq!(mode(&at("var/lib/tana")), 0o700);
    assert!(at("etc/systemd/system/tana-validator.service").exists());
    // The word that the key has not voted went with it, and is not there a second time.
    assert!(at("var/lib/tana/voted").exists() && !home.beside("testnet/alpha/voted").exists());
    // The same again changes nothing; another key is not put over the one that is there.
    deploy(&home, &["install", folder, "--binary", BINARY]).ok();
    home.tana(&["testnet", "--host", "alpha=127.0.0.1:18340", "--out", "other"]).ok();
    let other = home.beside("other/alpha");
    deploy(&home, &["install", other.to_str().unwrap(), "--binary", BINARY]).fails(1, &["is not replaced"]);
    deploy(&home, &["start"]).fails(1, &["start it by hand"]);

    let mut command = Command::new(at("usr/local/bin/tana"));
    command.args(["validator", "--json", "--config"]).arg(at("etc/tana/node.toml"));
    let mut child = command.arg("--data").arg(at("var/lib/tana")).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("genesis_hash"), "{first}");
    deploy(&home, &["upgrade", "--binary", BINARY]).ok();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(deploy(&home, &["status"]).ok().stdout.contains("binary"));

    deploy(&home, &["remove"]).ok();
    assert!(!at("usr/local/bin/tana").exists() && at("etc/tana/validator.json").exists());
    deploy(&home, &["remove", "--purge"]).ok();
    assert!(!at("etc/tana").exists() && !at("var/lib/tana").exists());
    deploy(&home, &["nonsense"]).fails(2, &["unknown command"]);
}
