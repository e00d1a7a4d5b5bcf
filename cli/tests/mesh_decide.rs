//! `tana mesh approve` and `deny` against a registry in this process: what is shown and compared, and that nothing is half done.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it must be")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use serde_json::Value;
use support::TestHome;
use tana_http::server::{Server, ServerConfig, bind};
use tana_mesh::wire::{RegisterRequest, Service};
use tana_mesh::{FixedSovereigns, Registry, routes};
use tana_types::key::PublicKey;
use tokio::runtime::Runtime;

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// A home with a sovereign, and a registry that knows this sovereign.
struct Network {
    home: TestHome,
    registry: Registry,
    url: String,
    runtime: Runtime,
    _server: Server,
}

impl Network {
    fn new() -> Self {
        let home = TestHome::initialised("mesh");
        let file: Value = serde_json::from_str(&std::fs::read_to_string(home.path("sovereign.json")).unwrap()).unwrap();
        let sovereign: PublicKey = file["publicKey"].as_str().unwrap().parse().unwrap();
        let runtime = Runtime::new().unwrap();
        let sovereigns = Arc::new(FixedSovereigns::new([sovereign]));
        let registry = Registry::open(&home.beside("mesh"), sovereigns, None, tana_http::clock::system()).unwrap();
        let server = runtime.block_on(async {
            let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
            bound.serve(routes::router(registry.clone(), &routes::limits()), ServerConfig::default())
        });
        let url = format!("http://{}", server.address());
        Self { home, registry, url, runtime, _server: server }
    }

    /// Registers the node `id` with the key `own` and the validator key `validator`.
    fn register(&self, id: &str, own: u8, validator: u8) {
        let request = RegisterRequest {
            node_id: id.to_owned(),
            public_key: String::new(),
            tailscale_hostname: "127.0.0.1".to_owned(),
            tailscale_ip: None,
            services: vec![Service {
                kind: "consensus".to_owned(),
                port: 9_000,
                public_key: public(&key(validator)).to_string(),
            }],
            signature: String::new(),
            timestamp: None,
        };
        let request = request.sign(&key(own), tana_http::clock::system()());
        self.runtime.block_on(self.registry.register(request, None)).unwrap();
    }

    fn tana(&self, arguments: &[&str]) -> support::Ran {
        let mut all = vec!["mesh"];
        all.extend_from_slice(arguments);
        all.extend(["--mesh", &self.url]);
        self.home.tana(&all)
    }

    fn status(&self, id: &str) -> String {
        self.registry.node(id).unwrap().node.row.status.name().to_owned()
    }
}

#[test]
fn keys_are_shown_and_compared_before_anything_is_decided() {
    let network = Network::new();
    network.register("val_a", 1, 1);
    let (own, other) = (public(&key(1)).to_string(), public(&key(2)).to_string());
    network.tana(&["approve", "val_a", "--no-chain", "--public-key", &other]).fails(2, &[&own, "not the node"]);
    assert_eq!(network.status("val_a"), "pending");
    let approved = network.tana(&["approve", "val_a", "--no-chain", "--public-key", &own]).ok();
    assert!(approved.stderr.contains(&own) && approved.stderr.contains("links at 127.0.0.1:9000"), "{approved:?}");
    assert_eq!(network.status("val_a"), "active");
    // Once more is no error: there may be more to do behind it.
    let again = network.tana(&["approve", "val_a", "--no-chain"]).ok();
    assert!(again.stdout.contains("already"), "{again:?}");
    let shown = network.tana(&["status", "val_a"]).ok().stdout;
    assert!(shown.contains(&own) && shown.contains("127.0.0.1:9000"), "{shown}");
    assert!(network.tana(&["list", "--all"]).ok().stdout.contains(&own));
}

#[test]
fn a_stranger_that_names_an_honest_validators_key_leads_to_nothing() {
    let network = Network::new();
    let honest = public(&key(7)).to_string();
    network.register("evil", 1, 7);
    network.tana(&["approve", "evil"]).fails(2, &["--validator-key", &honest]);
    assert_eq!(network.status("evil"), "pending");
    assert!(network.tana(&["list", "--all"]).ok().stdout.contains(&format!("with the key {honest}")));
    // No node of the chain runs here: that this ends well shows that the chain was not asked for anything.
    network.tana(&["deny", "evil"]).ok();
    assert_eq!(network.status("evil"), "denied");
    network.tana(&["deny", "evil"]).ok();
}

#[test]
fn a_chain_that_is_not_reached_leaves_the_registry_as_it_was() {
    let network = Network::new();
    network.register("val_a", 1, 1);
    let ran = network.tana(&["approve", "val_a", "--node", "127.0.0.1:1", "--insecure"]);
    assert_ne!(ran.code, 0, "{ran:?}");
    assert_eq!(network.status("val_a"), "pending");
}
