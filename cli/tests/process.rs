//! A real node, used as a new user would: init, validator, submit, account, stop, verify-log, start again; and the mistakes that need a
//! node to be noticed. Ports are chosen by the system, waiting is for events and never for time.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Ran, TestHome};

/// A running validator; killed if a test ends before it was stopped.
struct Validator<'a> {
    home: &'a TestHome,
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    start: Value,
    address: String,
}

impl<'a> Validator<'a> {
    #[track_caller]
    fn start(home: &'a TestHome) -> Self {
        let log = std::fs::File::create(home.beside("node.log")).unwrap();
        let mut command = home.command(&["validator", "--json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(Ok(line)) = lines.next() else {
            let _ = child.wait();
            panic!("no start: {}", std::fs::read_to_string(home.beside("node.log")).unwrap());
        };
        let start: Value = serde_json::from_str(&line).unwrap();
        let address = start["listen"].as_str().unwrap().to_owned();
        Self { home, child, lines, start, address }
    }

    /// Runs a command that talks to this node.
    fn tana(&self, arguments: &[&str]) -> Ran {
        self.home.tana(&[arguments, &["--node", &self.address]].concat())
    }

    #[track_caller]
    fn submit(&self, arguments: &[&str]) -> Value {
        let result = self.tana(&[&["submit"], arguments, &["--json"]].concat()).json(0);
        assert_eq!(result["outcome"], "applied", "{result}");
        assert!(result["height"].as_u64().unwrap() > 0 && result["index"].is_u64());
        result
    }

    #[track_caller]
    fn balance(&self, name: &str, currency: &str) -> String {
        let account = self.tana(&["account", name, "--json"]).json(0);
        let balances = account["balances"].as_array().unwrap();
        let found = balances.iter().find(|balance| balance["currency"] == currency);
        found.map_or_else(|| "none".to_owned(), |balance| balance["amount"].as_str().unwrap().to_owned())
    }

    /// Tells it to stop and waits for it; returns what it said last.
    #[track_caller]
    fn stop(mut self) -> Value {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let last = self.lines.by_ref().map_while(Result::ok).last().unwrap();
        assert!(
            self.child.wait().unwrap().success(),
            "{}",
            std::fs::read_to_string(self.home.beside("node.log")).unwrap()
        );
        serde_json::from_str(&last).unwrap()
    }
}

impl Drop for Validator<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_new_users_first_hour() {
    let home = TestHome::initialised("first-hour");
    let node = Validator::start(&home);
    let status = node.tana(&["status", "--json"]).json(0);
    assert_eq!((&status["chain"], &status["genesis_hash"]), (&"first-hour".into(), &node.start["genesis_hash"]));
    accounts_and_transfers(&node);
    deposits_and_withdrawals(&node);
    what_only_the_sovereign_does(&node);
    questions(&node);
    let (alice, sovereign) = (node.balance("@alice", "USD"), node.balance("sovereign", "USD"));
    let stopped = node.stop();

    let checked = home.tana(&["verify-log", "--json"]).json(0);
    assert_eq!(checked["report"]["state_root"], stopped["state_root"]);
    assert_eq!(checked["report"]["committed_blocks"], stopped["height"]);

    let node = Validator::start(&home);
    assert_eq!(node.start["height"], stopped["height"]);
    assert_eq!((node.balance("@alice", "USD"), node.balance("@sovereign", "USD")), (alice, sovereign));
    node.submit(&["transfer", "--key", "@alice", "--to", "@sovereign", "--amount", "1", "--currency", "USD"]);
    node.stop();
    home.tana(&["verify-log"]).ok();
}

fn accounts_and_transfers(node: &Validator<'_>) {
    for name in ["@alice", "@bob"] {
        node.home.tana(&["keys", "new", name]).ok();
        node.submit(&["user-creation", "--key", name]);
    }
    node.submit(&["transfer", "--key", "sovereign", "--to", "@alice", "--amount", "12.50", "--currency", "USD"]);
    node.submit(&["transfer", "--key", "@alice", "--to", "@bob", "--amount", "2.5", "--currency", "USD"]);
    assert_eq!((node.balance("@alice", "USD").as_str(), node.balance("@bob", "USD").as_str()), ("10.00", "2.50"));
    let shown = node.tana(&["account", "@alice"]).ok().stdout;
    assert!(shown.contains("10.00") && shown.contains("@alice"), "{shown}");

    let transfer = |to: &str, amount: &str, more: &[&str]| {
        let arguments = ["submit", "transfer", "--key", "@bob", "--to", to, "--amount", amount, "--currency", "USD"];
        node.tana(&[&arguments[..], more].concat())
    };
    let ran = transfer("@alice", "1000", &[]);
    assert!(
        ran.code == 3 && ran.stdout.contains("insufficient_funds") && ran.stdout.contains("tana account"),
        "{ran:?}"
    );
    let ran = transfer("@alice", "1000", &["--json"]).json(3);
    assert_eq!((&ran["outcome"], &ran["code"]), (&"failed".into(), &"insufficient_funds".into()));
    transfer("@nobody", "1", &[]).fails(1, &["no account is called @nobody", "user-creation"]);
    let stranger = format!("ed25519_{}", "02".repeat(32));
    assert_eq!(transfer(&stranger, "1", &["--json"]).json(3)["code"], "unknown_recipient");
    assert_eq!(transfer("@alice", "1", &["--nonce", "1", "--json"]).json(3)["code"], "nonce_used");
    node.home.tana(&["keys", "new", "--out", "stranger.json"]).ok();
    let arguments =
        ["submit", "transfer", "--key", "stranger.json", "--to", "@bob", "--amount", "1", "--currency", "USD"];
    node.tana(&arguments).fails(1, &["has no account", "user-creation"]);
    let ran = node.tana(&["submit", "user-creation", "--key", "stranger.json", "--username", "@bob", "--json"]).json(3);
    assert_eq!(ran["code"], "username_taken");
    let ran =
        node.tana(&["submit", "transfer", "--key", "@bob", "--to", "@alice", "--amount", "1", "--currency", "XYZ"]);
    ran.fails(1, &["no currency XYZ", "USD"]);
}

fn deposits_and_withdrawals(node: &Validator<'_>) {
    let ask = |kind: &str, amount: &str| {
        let asked = node.submit(&[kind, "--key", "@alice", "--amount", amount, "--currency", "USD"]);
        asked["id"].as_str().unwrap().to_owned()
    };
    let deposit = ask("deposit", "100");
    let pending = node.tana(&["pending", "--json"]).json(0);
    assert_eq!((&pending[0]["request"], &pending[0]["amount"]), (&deposit.as_str().into(), &"100.00".into()));
    assert_eq!(node.balance("@alice", "USD"), "10.00");
    node.submit(&["confirm-deposit", "--request", &deposit]);
    assert_eq!(node.balance("@alice", "USD"), "110.00");
    let ran = node.tana(&["submit", "confirm-deposit", "--request", &deposit, "--json"]).json(3);
    assert_eq!(ran["code"], "unknown_request");
    let refused = ask("deposit", "5");
    node.submit(&["confirm-deposit", "--request", &refused, "--refuse"]);
    let withdrawal = ask("withdraw", "40");
    assert_eq!(node.balance("@alice", "USD"), "70.00");
    node.submit(&["confirm-withdrawal", "--request", &withdrawal]);
    let back = ask("withdraw", "20");
    node.submit(&["confirm-withdrawal", "--request", &back, "--refuse"]);
    assert_eq!(node.balance("@alice", "USD"), "70.00");
    assert_eq!(node.tana(&["pending", "--json"]).json(0), serde_json::json!([]));
}

fn what_only_the_sovereign_does(node: &Validator<'_>) {
    node.submit(&["currency-creation", "--code", "EUR", "--decimals", "2", "--type", "fiat", "--name", "Euro"]);
    node.submit(&[
        "balance-adjustment",
        "--account",
        "@bob",
        "--amount",
        "3.33",
        "--currency",
        "EUR",
        "--reason",
        "A first balance",
    ]);
    assert_eq!(node.balance("@bob", "EUR"), "3.33");
    node.submit(&["role-change", "--account", "@bob", "--role", "staff"]);
    assert_eq!(node.tana(&["account", "@bob", "--json"]).json(0)["role"], "staff");
    let ran = node
        .tana(&["submit", "role-change", "--account", "@bob", "--role", "user", "--key", "@alice", "--json"])
        .json(3);
    assert_eq!(ran["code"], "not_sovereign");
    node.submit(&["sovereignty-transfer", "--to", "@alice"]);
    assert_eq!(node.tana(&["account", "@sovereign", "--json"]).json(0)["role"], "user");
    node.submit(&["sovereignty-transfer", "--to", "@sovereign", "--key", "@alice"]);
    let currencies = node.tana(&["currencies", "--json"]).json(0);
    let totals: Vec<_> =
        currencies.as_array().unwrap().iter().map(|entry| (entry["code"].clone(), entry["total"].clone())).collect();
    assert!(totals.contains(&("USD".into(), "1000000060.00".into())), "{totals:?}");
    assert!(totals.contains(&("EUR".into(), "3.33".into())), "{totals:?}");
}

fn questions(node: &Validator<'_>) {
    let sent = node.submit(&["transfer", "--key", "@alice", "--to", "@bob", "--amount", "0.01", "--currency", "USD"]);
    let found = node.tana(&["transaction", sent["id"].as_str().unwrap(), "--json"]).json(0);
    assert_eq!(
        (&found["height"], &found["index"], &found["code"]),
        (&sent["height"], &sent["index"], &"applied".into())
    );
    let height = sent["height"].to_string();
    let block = node.tana(&["block", &height, "--json"]).json(0);
    assert_eq!((&block["transactions"], &block["codes"]), (&1.into(), &serde_json::json!([["applied", 1]])));
    assert!(node.tana(&["block"]).ok().stdout.contains("state root"));
    assert!(node.tana(&["metrics", "--json"]).json(0)["applied"].as_u64().unwrap() > 10);
    assert!(node.tana(&["metrics"]).ok().stdout.contains("stages"));
    node.tana(&["block", "1000000"]).fails(1, &["no block"]);
    node.tana(&["transaction", &"00".repeat(32)]).fails(1, &["no committed block"]);
    node.tana(&["account", "@nobody"]).fails(1, &["@nobody"]);
    let key = format!("ed25519_{}", "03".repeat(32));
    node.tana(&["status", "--server-key", &key]).fails(1, &[&key, "pin"]);
    let accepted = node.tana(&[
        "submit",
        "transfer",
        "--key",
        "@alice",
        "--to",
        "@bob",
        "--amount",
        "0.01",
        "--currency",
        "USD",
        "--no-wait",
        "--json",
    ]);
    assert_eq!(accepted.json(0)["outcome"], "accepted");
}

#[test]
fn a_second_validator_another_chain_and_a_taken_port_are_refused() {
    let home = TestHome::initialised("one");
    let other = TestHome::initialised("two");
    let node = Validator::start(&home);
    home.tana(&["validator"]).fails(1, &["in use by process", "data folder of its own"]);
    other.tana(&["validator", "--listen", &node.address]).fails(1, &["is in use", &node.address]);
    let wrong = other.path("genesis.toml");
    let transfer =
        ["submit", "transfer", "--key", "sovereign", "--to", "@sovereign", "--amount", "1", "--currency", "USD"];
    let server = node.start["validator"].as_str().unwrap();
    let ran = node.tana(&[&transfer[..], &["--genesis", wrong.to_str().unwrap(), "--server-key", server]].concat());
    ran.fails(1, &["is on chain", "--genesis"]);
    node.tana(&["status", "--genesis", wrong.to_str().unwrap(), "--server-key", server]).fails(1, &["is on chain"]);
    let negative = [&transfer[..7], &["-1", "--currency", "USD"]].concat();
    node.tana(&negative).fails(2, &["`-1` is not an amount", "no sign"]);
    node.stop();

    let (genesis, key) = (other.path("genesis.toml"), other.path("validator.json"));
    let swapped = ["validator", "--genesis", genesis.to_str().unwrap(), "--key", key.to_str().unwrap()];
    home.tana(&swapped).fails(1, &["belongs to the chain", "--data"]);
    home.tana(&["verify-log", "--data", home.path("data").to_str().unwrap(), "--genesis", genesis.to_str().unwrap()])
        .fails(1, &["is of the chain", "give the genesis file of that chain"]);
    home.tana(&["verify-log"]).ok();
}

#[test]
fn a_damaged_log_is_found() {
    let home = TestHome::initialised("damaged");
    let node = Validator::start(&home);
    node.submit(&["transfer", "--key", "sovereign", "--to", "@sovereign", "--amount", "1", "--currency", "USD"]);
    node.stop();
    home.tana(&["verify-log"]).ok();
    let segment = home.path("data/logs/batches/00000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    // In the middle of the first batch, whose record begins with the segment's second block of 4 KiB or earlier.
    let tag = b"USD\0\0\0\0\0\0\0\0\0";
    let at = bytes.windows(tag.len()).position(|window| window == tag).expect("the transfer lies in the batch log");
    bytes[at] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let ran = home.tana(&["verify-log"]);
    assert!(ran.code == 1 && ran.stderr.starts_with("error: "), "{ran:?}");
}
