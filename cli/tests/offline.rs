//! The commands that need no node, and every mistake that can be noticed without one.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::TestHome;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn init_makes_a_private_home_that_can_be_read_back() {
    let home = TestHome::empty();
    let made = home.tana(&["init", "--json", "--chain", "demo", "--accounts", "25", "--seed", "s"]).json(0);
    assert_eq!(made["chain"], "demo");
    assert_eq!(made["accounts"], 25);
    assert_eq!(mode(&home.path("")), 0o700);
    assert_eq!(mode(&home.path("validator.json")), 0o600);
    assert_eq!(mode(&home.path("sovereign.json")), 0o600);
    let genesis = tana_types::genesis::Genesis::load(&home.path("genesis.toml")).unwrap();
    assert_eq!(made["genesis_hash"], hex::encode(genesis.hash()));
    let allocations: Vec<_> = genesis.sovereign.allocations.iter().map(|entry| entry.amount.as_str()).collect();
    assert_eq!(allocations, ["1000000000", "100000", "1000000"]);
    assert_eq!(genesis.bulk.unwrap().count, 25);
    let config = tana_engine::config::NodeConfig::load(&home.path("node.toml")).unwrap();
    assert_eq!(config.key, home.path("validator.json"));
    for (file, key) in [("validator.json", &made["validator"]), ("sovereign.json", &made["sovereign"])] {
        let shown = home.tana(&["keys", "show", home.path(file).to_str().unwrap(), "--json"]).json(0);
        assert_eq!(&shown["public_key"], key);
    }
}

#[test]
fn init_never_destroys_an_earlier_home() {
    let home = TestHome::initialised("first");
    let key = fs::read(home.path("sovereign.json")).unwrap();
    home.tana(&["init"]).fails(1, &["sovereign.json", "genesis.toml", "--force", "--home"]);
    assert_eq!(fs::read(home.path("sovereign.json")).unwrap(), key);
    let voted = fs::read(home.path("data/voted")).unwrap();
    assert_eq!(&voted[8..24], &[0; 16], "the key was just made: no start, no epoch");
    let made = home.tana(&["init", "--force", "--json"]).json(0);
    let moved = std::path::Path::new(made["moved_to"].as_str().unwrap());
    assert_eq!(fs::read(moved.join("sovereign.json")).unwrap(), key);
    assert!(moved.join("data/voted").exists() && home.path("data/voted").exists());
    assert_ne!(fs::read(home.path("sovereign.json")).unwrap(), key);
}

#[test]
fn init_says_what_is_wrong_with_a_choice_before_it_writes() {
    let home = TestHome::empty();
    home.tana(&["init", "--chain", ""]).fails(1, &["1 to 64 bytes"]);
    home.tana(&["init", "--accounts", "4000000000"]).fails(1, &["accounts_total"]);
    home.tana(&["init", "--listen", "somewhere"]).fails(2, &["--listen"]);
    assert!(!home.path("").exists());
    fs::write(home.beside("home"), "a file").unwrap();
    home.tana(&["init"]).fails(1, &["make the folder", "check the path"]);
}

#[test]
fn a_new_key_is_private_and_its_secret_is_shown_only_when_asked_for() {
    let home = TestHome::empty();
    let made = home.tana(&["keys", "new", "@Alice", "--display-name", "Alice A.", "--json"]).json(0);
    let path = home.path("users/@alice.json");
    assert_eq!((mode(&path), mode(&home.path("users"))), (0o600, 0o700));
    let file: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let secret = file["privateKey"].as_str().unwrap();
    assert_eq!(file["publicKey"], made["public_key"]);
    assert_eq!(
        (&file["username"], &file["displayName"], &file["role"]),
        (&"@alice".into(), &"Alice A.".into(), &"user".into())
    );
    for shown in
        [home.tana(&["keys", "show", "alice"]), home.tana(&["keys", "list"]), home.tana(&["keys", "list", "--json"])]
    {
        let shown = shown.ok();
        assert!(shown.stdout.contains(made["public_key"].as_str().unwrap()) && !shown.stdout.contains(&secret[8..]));
    }
    assert!(home.tana(&["keys", "show", "@alice", "--secret"]).ok().stdout.contains(secret));
    home.tana(&["keys", "new", "@alice"]).fails(1, &["exists already"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap(), file);
    home.tana(&["keys", "new", "not a name"]).fails(2, &["is not a username"]);
    home.tana(&["keys", "new"]).fails(2, &["@USER"]);
}

#[test]
fn a_key_file_of_the_replaced_system_is_taken() {
    let home = TestHome::empty();
    let seed = "07".repeat(32);
    let public = hex::encode(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
    let text = format!(
        r#"{{"username":"@bob","publicKey":"ed25519_{public}","privateKey":"ed25519_{seed}","displayName":"Bob","role":"user",
            "createdAt":"2025-11-22T10:00:00.000Z","chains":{{}}}}"#
    );
    fs::write(home.beside("bob.json"), text).unwrap();
    let shown = home.tana(&["keys", "show", "bob.json", "--json"]);
    assert_eq!(shown.json(0)["public_key"], format!("ed25519_{public}"));
    shown.fails(0, &["chmod 600 bob.json", "0644"]);
}

#[test]
fn wrong_key_files_are_told_apart() {
    let home = TestHome::initialised("keys");
    let submit = |file: &str| {
        let to = format!("ed25519_{}", "01".repeat(32));
        home.tana(&[
            "submit",
            "transfer",
            "--key",
            file,
            "--to",
            &to,
            "--amount",
            "1",
            "--currency",
            "USD",
            "--nonce",
            "1",
            "--dry-run",
        ])
    };
    submit("missing.json").fails(1, &["cannot read the key file missing.json", "tana keys new"]);
    submit("@nobody").fails(1, &["@nobody.json", "tana keys new"]);
    fs::write(home.beside("text.json"), "privateKey: ed25519_secret").unwrap();
    let ran = submit("text.json");
    ran.fails(1, &["is not a key file", "JSON"]);
    assert!(!ran.stderr.contains("secret"));
    fs::write(home.beside("short.json"), r#"{"publicKey":"ed25519_00","privateKey":"ed25519_00"}"#).unwrap();
    submit("short.json").fails(1, &["64 hexadecimal digits"]);
    let other = format!(r#"{{"publicKey":"ed25519_{0}","privateKey":"ed25519_{0}"}}"#, "05".repeat(32));
    fs::write(home.beside("other.json"), other).unwrap();
    submit("other.json").fails(1, &["does not belong"]);
}

#[test]
fn amounts_names_and_keys_that_are_wrong_are_usage_errors() {
    let home = TestHome::initialised("amounts");
    let to = format!("ed25519_{}", "01".repeat(32));
    let transfer = |to: &str, amount: &str, currency: &str| {
        let amount = format!("--amount={amount}");
        home.tana(&[
            "submit",
            "transfer",
            "--key",
            "sovereign",
            "--to",
            to,
            &amount,
            "--currency",
            currency,
            "--nonce",
            "1",
            "--dry-run",
        ])
    };
    transfer(&to, "12.50", "USD").ok();
    transfer(&to, "12.505", "USD").fails(2, &["more than the 2 decimals"]);
    transfer(&to, "12,50", "USD").fails(2, &["is not an amount", "12.50"]);
    transfer(&to, "-1", "USD").fails(2, &["is not an amount"]);
    transfer(&to, "0.00", "USD").fails(2, &["zero"]);
    transfer(&to, "1", "usd").fails(2, &["3 to 10 capital letters"]);
    transfer("ed25519_12", "1", "USD").fails(2, &["64 hexadecimal digits"]);
    transfer("alice", "1", "USD").fails(2, &["neither a key nor a username", "@alice"]);
    transfer("@al ice", "1", "USD").fails(2, &["is not a username"]);
    home.tana(&["submit", "transfer", "--to", &to, "--amount", "1", "--currency", "USD"])
        .fails(2, &["--key", "tana keys"]);
    home.tana(&["submit", "confirm-deposit", "--request", "12"]).fails(2, &["64 hexadecimal digits"]);
    home.tana(&["submit", "nothing"]).fails(2, &["nothing"]);
    let adjust = [
        "submit",
        "balance-adjustment",
        "--account",
        &to,
        "--amount",
        "1",
        "--currency",
        "USD",
        "--nonce",
        "1",
        "--dry-run",
    ];
    home.tana(&[&adjust[..], &["--reason", "short"]].concat()).fails(2, &["reason", "10 characters"]);
}

#[test]
fn a_node_that_is_not_there_or_not_known_is_an_error_that_says_what_to_do() {
    let home = TestHome::initialised("nobody");
    // A port that was free a moment ago: bound here, so that no other test gets it, and never answered.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    drop(socket);
    home.tana(&["status", "--node", &address]).fails(1, &["nothing listens", "start the validator"]);
    let other = TestHome::empty();
    other.tana(&["status", "--node", &address]).fails(2, &["--server-key", "--insecure", "--home"]);
    other.tana(&["status", "--node", "no-port"]).fails(2, &["HOST:PORT"]);
    let error = other.tana(&["status", "--node", &address, "--insecure", "--json"]);
    assert_eq!(error.code, 1);
    let text: serde_json::Value = serde_json::from_str(&error.stderr).unwrap();
    assert!(text["error"].as_str().unwrap().contains("nothing listens") && text["exit_code"] == 1);
}

#[test]
fn a_validator_without_what_it_needs_says_what_is_missing() {
    let home = TestHome::empty();
    home.tana(&["validator"]).fails(1, &["node.toml", "tana init"]);
    home.tana(&["verify-log"]).fails(1, &["node.toml", "tana init"]);
    let home = TestHome::initialised("parts");
    home.tana(&["verify-log"]).fails(1, &["no logs in the data folder", "--data"]);
    fs::rename(home.path("genesis.toml"), home.beside("genesis.toml")).unwrap();
    home.tana(&["validator"]).fails(1, &["genesis.toml", "tana init", "--genesis"]);
    fs::rename(home.beside("genesis.toml"), home.path("genesis.toml")).unwrap();
    fs::remove_file(home.path("validator.json")).unwrap();
    home.tana(&["validator"]).fails(1, &["validator.json", "tana init"]);
    let sovereign = home.path("sovereign.json");
    home.tana(&["validator", "--key", sovereign.to_str().unwrap()]).fails(1, &["is not the validator of this genesis"]);
    let text = fs::read_to_string(home.path("node.toml")).unwrap();
    fs::write(home.path("node.toml"), text.replace("flush_ms = 10", "flush_ms = 0")).unwrap();
    home.tana(&["validator"]).fails(1, &["ingest.flush_ms", "1 to 1,000"]);
    fs::write(home.path("node.toml"), "lisen = \"127.0.0.1:9002\"").unwrap();
    home.tana(&["validator"]).fails(1, &["node.toml", "lisen"]);
}

#[test]
fn every_command_shows_examples_and_completions_come_for_each_shell() {
    let home = TestHome::empty();
    let commands: &[&[&str]] = &[
        &["--help"],
        &["init", "--help"],
        &["validator", "--help"],
        &["keys", "new", "--help"],
        &["keys", "show", "--help"],
        &["keys", "list", "--help"],
        &["submit", "--help"],
        &["submit", "user-creation", "--help"],
        &["submit", "transfer", "--help"],
        &["submit", "deposit", "--help"],
        &["submit", "withdraw", "--help"],
        &["submit", "confirm-deposit", "--help"],
        &["submit", "confirm-withdrawal", "--help"],
        &["submit", "currency-creation", "--help"],
        &["submit", "role-change", "--help"],
        &["submit", "sovereignty-transfer", "--help"],
        &["submit", "balance-adjustment", "--help"],
        &["submit", "validator-set-change", "--help"],
        &["account", "--help"],
        &["block", "--help"],
        &["transaction", "--help"],
        &["pending", "--help"],
        &["currencies", "--help"],
        &["status", "--help"],
        &["metrics", "--help"],
        &["verify-log", "--help"],
        &["completions", "--help"],
        &["keys", "--help"],
    ];
    for command in commands {
        let shown = home.tana(command).ok();
        assert!(shown.stdout.contains("Examples:"), "{command:?} shows no example");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.tana(&["completions", shell]).ok().stdout.contains("verify-log"));
    }
}
