//! `tana start` as a person uses it: a whole network in the background, with its registry, ledger API and page; a further validator that is let in;
//! a fault from the chaos panel; and the end of all of it.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::TestHome;
use tana_cli::http::client::{Page, get};

/// How long anything here may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(120);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// An offset at which all ports of four validators are free now.
fn port_offset() -> u16 {
    let first = 20_000 + (std::process::id() % 200) as u16 * 100;
    let is_free = |offset: u16| {
        let udp =
            [0, 2, 10, 12, 20, 22, 30, 32].iter().all(|port| UdpSocket::bind(local(9_000 + offset + port)).is_ok());
        let tcp = [9_001, 9_011, 9_021, 9_031, 8_080, 8_081, 8_082, 8_083, 8_190, 8_191];
        udp && tcp.iter().all(|port| TcpListener::bind(local(port + offset)).is_ok())
    };
    (0..100).map(|step| first + step * 7).find(|offset| is_free(*offset)).expect("free ports on loopback")
}

/// A started network; it is stopped when the test ends, however that is.
struct Network {
    home: TestHome,
    offset: u16,
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.home.tana(&["stop"]);
    }
}

impl Network {
    fn page(&self, port: u16, path: &str) -> Page {
        get(local(port + self.offset), path, Duration::from_secs(10)).unwrap()
    }

    fn json(&self, port: u16, path: &str) -> Value {
        self.page(port, path).json().unwrap()
    }

    /// What `tana status` says of validator `number`.
    fn validator(&self, number: usize) -> Value {
        let status: Value = serde_json::from_str(&self.home.tana(&["status", "--json"]).stdout).unwrap();
        status["validators"][number].clone()
    }

    /// The end of what each validator said.
    fn logs(&self) -> String {
        let log = |number| {
            let text = std::fs::read_to_string(self.home.path(&format!("network/validator-{number}/node.log"))).ok()?;
            let lines: Vec<&str> = text.lines().collect();
            Some(format!("validator-{number}:\n{}\n", lines[lines.len().saturating_sub(12)..].join("\n")))
        };
        (0..4).filter_map(log).collect()
    }

    fn until<T>(&self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            if let Some(found) = look() {
                return found;
            }
            let status = || self.home.tana(&["status"]).stdout;
            assert!(begin.elapsed() < PATIENCE, "{what} did not come; status: {}\n{}", status(), self.logs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks for a fault; gives the HTTP status.
    fn chaos(&self, action: &str, token: &str, body: &str) -> u16 {
        let mut stream = TcpStream::connect(local(8_190 + self.offset)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "POST /api/chaos/{action} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[test]
fn a_network_starts_takes_in_a_validator_survives_a_fault_and_stops() {
    let network = Network { home: TestHome::empty(), offset: port_offset() };
    let offset = network.offset.to_string();
    let start = ["start", "--validators", "1", "--accounts", "50", "--port-offset", &offset, "--json"];
    let started = network.home.tana(&start).json(0);
    assert_eq!(started["validators"].as_array().unwrap().len(), 1, "{started}");

    // A second start changes nothing.
    let pid = network.validator(0)["pid"].clone();
    assert!(pid.is_u64());
    network.home.tana(&start).json(0);
    assert_eq!(network.validator(0)["pid"], pid);

    // The registry has it as active, the page is there, and money moves.
    let nodes = network.json(8_190, "/nodes");
    assert_eq!(nodes["nodes"][0]["status"], "active", "{nodes}");
    assert_eq!(network.page(8_190, "/").status, 200);
    network.home.tana(&["new", "user", "@alice", "--name", "Alice"]).ok();
    network.home.tana(&["transfer", "sovereign", "@alice", "12.50", "usd"]).ok();
    assert_eq!(network.home.tana(&["balance", "@alice", "-c", "USD"]).ok().stdout, "12.50 USD\n");
    let user = network.until("the ledger", || {
        let page = network.page(8_080, "/users/username/@alice");
        (page.status == 200).then(|| page.json::<Value>().unwrap())
    });
    assert_eq!(user["displayName"], "Alice");

    // Another validator registers, is let in by the sovereign, takes the state, and votes: every block needs both from its first epoch on.
    let registered = network.home.tana(&["mesh", "register", "--dev", "--json"]).json(0);
    let id = registered["nodeId"].as_str().unwrap().to_owned();
    assert_eq!(network.json(8_190, "/info")["nodes"]["pending"], 1);
    network.home.tana(&["mesh", "approve", &id]).ok();
    // The same again finds both done, though the chain puts the change in force only two epochs from now.
    let again = network.home.tana(&["mesh", "approve", &id]).ok();
    assert!(again.stdout.contains("already") && again.stderr.contains("so already"), "{again:?}");
    network
        .until("the vote of the new validator", || network.validator(1)["health"]["voting"].as_bool()?.then_some(()));
    network.until("its heartbeat", || {
        let node = network.json(8_190, &format!("/nodes/{id}"));
        (node["node"]["status"] == "active" && node["node"]["last_heartbeat"].is_u64()).then_some(())
    });
    network.until("a block of both", || {
        (network.json(8_080, "/validators")["validators"].as_array().unwrap().len() == 2).then_some(())
    });

    // The chaos panel acts for whoever knows its secret, and for nobody else.
    let token = std::fs::read_to_string(network.home.path("network/chaos.token")).unwrap();
    let body = format!("{{\"validatorId\":\"{id}\"}}");
    assert_eq!(network.chaos("kill-validator", "not the secret", &body), 401);
    assert!(network.validator(1)["pid"].is_u64());
    assert_eq!(network.chaos("kill-validator", token.trim(), &body), 200);
    assert!(network.validator(1)["pid"].is_null());
    assert_eq!(network.chaos("recover-all", token.trim(), "{}"), 200);
    network.until("the vote of the validator that was killed", || {
        network.validator(1)["health"]["voting"].as_bool()?.then_some(())
    });

    // A validator that is put out of the set again, and one that nobody has let in: the network comes up without waiting for either.
    let denied = network.home.tana(&["mesh", "deny", &id]).ok();
    assert!(denied.stdout.contains("votes no more"), "{denied:?}");
    network.until("the end of its votes", || {
        let set = network.json(8_080, "/validators");
        (set["validators"].as_array().unwrap().len() == 1).then_some(())
    });
    network.home.tana(&["mesh", "register", "--dev"]).ok();
    network.home.tana(&["stop"]).ok();
    network.home.tana(&start).json(0);
    assert!(network.validator(0)["health"]["voting"].as_bool().unwrap());
    for outside in [1, 2] {
        assert!(network.validator(outside)["pid"].is_u64(), "{outside}");
        assert_ne!(network.validator(outside)["health"]["voting"], true, "{outside}");
    }
    // The panel's recovery starts them as the start does, so that the one that waits goes on waiting.
    let log = || std::fs::read_to_string(network.home.path("network/validator-2/node.log")).unwrap();
    let id = network.validator(2)["id"].as_str().unwrap().to_owned();
    assert_eq!(network.chaos("kill-validator", token.trim(), &format!("{{\"validatorId\":\"{id}\"}}")), 200);
    assert_eq!(network.chaos("recover-all", token.trim(), "{}"), 200);
    assert!(network.validator(2)["pid"].is_u64(), "{}", log());
    network.home.tana(&["mesh", "approve", &id]).ok();
    network
        .until("the vote of the one that waited", || network.validator(2)["health"]["voting"].as_bool()?.then_some(()));

    // The end: nothing runs, and its ports are free.
    let stopped = network.home.tana(&["stop", "--json"]).json(0);
    assert_eq!(stopped["stopped"], 6, "{stopped}");
    network.home.tana(&["status"]).fails(1, &["nothing of the network runs"]);
    assert!(TcpListener::bind(local(8_190 + network.offset)).is_ok());
    network.home.tana(&["stop", "--delete"]).ok();
    assert!(!network.home.path("network").exists());
}
