//! The agent against a real registry over loopback: one that is there, one that comes later, one that goes and comes back, one that is none.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{any, get};
use tana_http::guard::Standing;
use tana_http::limits::LimitsConfig;
use tana_http::server::{Server, ServerConfig, bind};
use tana_http::token::NodeStatus as TokenStatus;
use tana_types::key::PublicKey;

use super::*;
use crate::wire::{Decision, DecisionAnswer, DecisionRequest, NodeAnswer};
use crate::{FixedSovereigns, Registry, router};

/// Longer than any test takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
const ID: &str = "val_a";

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn printed(key: &SigningKey) -> String {
    PublicKey(key.verifying_key().to_bytes()).to_string()
}

/// The sovereign's key.
fn sovereign() -> SigningKey {
    key(99)
}

/// A mesh that listens.
struct Mesh {
    registry: Registry,
    server: Server,
}

impl Mesh {
    async fn start(folder: &Path, address: SocketAddr) -> Self {
        let sovereigns = FixedSovereigns::new([PublicKey(sovereign().verifying_key().to_bytes())]);
        let registry = Registry::open(folder, Arc::new(sovereigns), None, tana_http::clock::system()).unwrap();
        let limits = LimitsConfig { rate: None, ..LimitsConfig::default() };
        let server = bind(address).await.unwrap().serve(router(registry.clone(), &limits), ServerConfig::default());
        Self { registry, server }
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    async fn decide(&self, decision: Decision, id: &str, nonce: &str) {
        let client = MeshClient::new(&[self.url()], PATIENCE).unwrap();
        let now = tana_http::clock::system()();
        let request = DecisionRequest::signed(decision, id, &sovereign(), now, nonce);
        let _: DecisionAnswer = client.post(&[decision.verb(), id], &request).await.unwrap();
    }

    async fn approve(&self, id: &str) {
        self.decide(Decision::Approve, id, &format!("nonce-of-the-approval-of-{id}")).await;
    }

    /// Ends it; its folder is free then.
    async fn stop(self) {
        self.server.stop().await;
        self.registry.close().await.unwrap();
    }
}

async fn served(router: Router) -> Server {
    bind(any_port()).await.unwrap().serve(router, ServerConfig::default())
}

fn any_port() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// An address where nobody listens, and that nobody is given: it is not the one from which ports are dealt out.
async fn free_address() -> SocketAddr {
    bind((Ipv4Addr::new(127, 41, 90, 7), 0).into()).await.unwrap().address()
}

/// An agent's configuration with short times.
fn config(meshes: &[String]) -> AgentConfig {
    AgentConfig {
        interval: Duration::from_millis(20),
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_millis(40),
        timeout: PATIENCE,
        ..AgentConfig::new(ID, key(1), "a.example", meshes.to_vec())
    }
}

/// Waits until the agent's state is as it should be.
async fn until(agent: &Agent, reached: impl FnMut(&AgentState) -> bool) -> AgentState {
    let mut state = agent.state();
    let found = tokio::time::timeout(PATIENCE, state.wait_for(reached)).await;
    match found {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("it stays at {:?}", agent.state().borrow()),
    }
}

fn is(status: NodeStatus) -> impl Fn(&AgentState) -> bool {
    move |state| state.problem.is_none() && state.registered && state.status == Some(status)
}

async fn node(mesh: &Mesh) -> NodeAnswer {
    MeshClient::new(&[mesh.url()], PATIENCE).unwrap().get(&["nodes", ID], &[]).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_registers_waits_for_approval_and_is_alive_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let healthy = served(Router::new().route("/health", get(async || "ok"))).await;
    let unwell = served(Router::new().route("/health", get(async || StatusCode::SERVICE_UNAVAILABLE))).await;
    let service = |kind: &str, port: u16| Service { kind: kind.to_owned(), port, public_key: printed(&key(1)) };
    let agent = Agent::start(AgentConfig {
        ip: Some("10.0.0.1".to_owned()),
        services: vec![service("ledger", 8080), service("consensus", 9000), service("content", 8180)],
        probes: vec![
            ("ledger".to_owned(), format!("http://{}/health", healthy.address())),
            ("consensus".to_owned(), format!("http://{}/health", unwell.address())),
            ("content".to_owned(), format!("http://{}/health", free_address().await)),
        ],
        ..config(&[mesh.url()])
    })
    .unwrap();

    until(&agent, is(NodeStatus::Pending)).await;
    assert!(agent.peers().borrow().is_empty());
    mesh.approve(ID).await;
    let state = until(&agent, |state| is(NodeStatus::Active)(state) && state.last_heartbeat.is_some()).await;
    assert_eq!(state.mesh, Some(mesh.url()));
    let found = node(&mesh).await.node;
    assert_eq!(found.row.status, NodeStatus::Active);
    assert_eq!(found.row.public_key, printed(&key(1)));
    assert_eq!(found.row.tailscale_hostname, "a.example");
    let health: Vec<_> =
        found.services.iter().map(|service| (service.service_type.as_str(), service.healthy)).collect();
    assert_eq!(health, [("ledger", Some(true)), ("consensus", Some(false)), ("content", Some(false))]);

    // Peers: itself, and whoever comes.
    let mut peers = agent.peers();
    let list =
        tokio::time::timeout(PATIENCE, peers.wait_for(|peers| !peers.is_empty())).await.unwrap().unwrap().clone();
    assert_eq!((list[0].id.as_str(), list[0].ws_url.as_str()), (ID, "a.example"));
    let other = AgentConfig {
        node_id: "val_b".to_owned(),
        key: key(2),
        hostname: "b.example".to_owned(),
        ..config(&[mesh.url()])
    };
    let other = Agent::start(other).unwrap();
    until(&other, is(NodeStatus::Pending)).await;
    mesh.approve("val_b").await;
    let list = tokio::time::timeout(PATIENCE, peers.wait_for(|peers| peers.len() == 2)).await.unwrap().unwrap().clone();
    assert_eq!(list[1].public_key, printed(&key(2)));

    // A denied node goes on asking, and is told so.
    mesh.decide(Decision::Deny, ID, "nonce-of-the-denial").await;
    until(&agent, is(NodeStatus::Denied)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_that_comes_later_goes_and_comes_back_needs_no_hand() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address().await;
    let agent = Agent::start(config(&[format!("http://{address}")])).unwrap();
    let state = until(&agent, |state| state.problem.is_some()).await;
    assert!(!state.registered && state.problem.unwrap().contains(&address.to_string()));

    let mesh = Mesh::start(folder.path(), address).await;
    until(&agent, is(NodeStatus::Pending)).await;
    mesh.approve(ID).await;
    until(&agent, |state| is(NodeStatus::Active)(state) && state.last_heartbeat.is_some()).await;
    mesh.stop().await;
    let gone = until(&agent, |state| state.problem.is_some()).await;
    assert!(gone.registered, "it knows that it is registered");

    let mesh = Mesh::start(folder.path(), address).await;
    let back = until(&agent, |state| state.problem.is_none() && state.last_heartbeat > gone.last_heartbeat).await;
    assert_eq!(back.status, Some(NodeStatus::Active), "approved is approved");
    mesh.stop().await;
    until(&agent, |state| state.problem.is_some()).await;

    // A mesh that lost everything: the node registers again.
    let empty = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(empty.path(), address).await;
    until(&agent, is(NodeStatus::Pending)).await;
    assert_eq!(node(&mesh).await.node.row.public_key, printed(&key(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_starts_again_is_registered_already() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let first = Agent::start(config(&[mesh.url()])).unwrap();
    until(&first, is(NodeStatus::Pending)).await;
    mesh.approve(ID).await;
    drop(first);
    let again = Agent::start(config(&[mesh.url()])).unwrap();
    until(&again, |state| is(NodeStatus::Active)(state) && state.last_heartbeat.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_moved_tells_the_mesh_once_it_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let first = Agent::start(config(&[mesh.url()])).unwrap();
    until(&first, is(NodeStatus::Pending)).await;
    drop(first);
    let moved = AgentConfig { hostname: "elsewhere.example".to_owned(), ..config(&[mesh.url()]) };
    let again = Agent::start(moved).unwrap();
    let waits = until(&again, |state| state.problem.is_some()).await;
    assert!(waits.registered && waits.problem.unwrap().contains("another address"));
    assert_ne!(node(&mesh).await.node.row.tailscale_hostname, "elsewhere.example", "nobody has let it in");
    mesh.approve(ID).await;
    until(&again, |state| state.problem.is_none() && state.last_heartbeat.is_some()).await;
    let known = node(&mesh).await.node;
    assert_eq!(known.row.tailscale_hostname, "elsewhere.example");
    assert_eq!(known.row.status, NodeStatus::Active);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_or_a_key_of_somebody_else_is_a_problem_that_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let first = Agent::start(config(&[mesh.url()])).unwrap();
    until(&first, is(NodeStatus::Pending)).await;
    for (id, key) in [(ID, key(2)), ("val_b", key(1))] {
        let other = AgentConfig { node_id: id.to_owned(), key, ..config(&[mesh.url()]) };
        let other = Agent::start(other).unwrap();
        let state = until(&other, |state| state.problem.is_some()).await;
        assert!(!state.registered, "{state:?}");
        assert!(state.problem.as_ref().unwrap().contains("409"), "{state:?}");
    }
}

/// Servers that are no mesh, in many ways. Each counts what it is asked.
async fn impostors() -> Vec<(&'static str, Server, Arc<AtomicUsize>)> {
    let endless = || {
        let pieces = futures_util::stream::repeat_with(|| Ok::<_, std::convert::Infallible>([b' '; 65_536].to_vec()));
        Body::from_stream(pieces)
    };
    let routers: [(&'static str, Router); 5] = [
        ("a page", Router::new().fallback(any(async || "<html>hello</html>"))),
        ("a page that is not there", Router::new()),
        ("endless blanks", Router::new().fallback(any(async move || endless()))),
        ("other JSON", Router::new().fallback(any(async || "[1, 2, {\"a\": null}]"))),
        (
            "a defect",
            Router::new().fallback(any(async || (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error":"e","code":"c"}"#))),
        ),
    ];
    let mut servers = Vec::new();
    for (name, router) in routers {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let router = router.layer(axum::middleware::map_request(move |request: axum::extract::Request| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(request)
        }));
        servers.push((name, served(router).await, count));
    }
    servers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_nonsense_is_passed_over_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let impostors = impostors().await;
    for (name, server, count) in &impostors {
        let agent = Agent::start(config(&[format!("http://{}", server.address())])).unwrap();
        let state = until(&agent, |state| state.problem.is_some()).await;
        assert!(!state.registered, "{name}: {state:?}");
        let asked_again = async {
            while count.load(Ordering::Relaxed) < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked_again).await.unwrap_or_else(|_| panic!("{name} is not asked again"));
    }
    // Behind all of them, and behind one that is not there, stands the mesh.
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let mut meshes = vec![format!("http://{}", free_address().await)];
    meshes.extend(impostors.iter().map(|(_, server, _)| format!("http://{}", server.address())));
    meshes.push(mesh.url());
    let agent = Agent::start(config(&meshes)).unwrap();
    let state = until(&agent, is(NodeStatus::Pending)).await;
    assert_eq!(state.mesh, Some(mesh.url()));
    mesh.approve(ID).await;
    until(&agent, |state| state.last_heartbeat.is_some()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mesh_that_does_not_answer_costs_its_time_alone() {
    let folder = tempfile::tempdir().unwrap();
    let silent = served(Router::new().fallback(any(std::future::pending::<&'static str>))).await;
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let meshes = [format!("http://{}", silent.address()), mesh.url()];
    let client = MeshClient::new(&meshes, Duration::from_millis(200)).unwrap();
    let calls = async { while client.get::<serde_json::Value>(&["health"], &[]).await.is_err() {} };
    tokio::time::timeout(PATIENCE, calls).await.unwrap();
    assert_eq!(client.address(), mesh.url());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_led_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let there = format!("{}/health", mesh.url());
    let leads = any(async move || axum::response::Redirect::temporary(&there));
    let elsewhere = served(Router::new().fallback(leads)).await;
    let client = MeshClient::new(&[format!("http://{}", elsewhere.address())], PATIENCE).unwrap();
    let error = client.get::<serde_json::Value>(&["health"], &[]).await.unwrap_err();
    assert!(matches!(error, CallError::NoAnswer(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_elsewhere_learn_where_a_node_stands() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let client = || Arc::new(MeshClient::new(&[mesh.url()], PATIENCE).unwrap());
    assert_eq!(RemoteStanding::new(client()).standing(ID).await.unwrap(), None);
    let agent = Agent::start(config(&[mesh.url()])).unwrap();
    until(&agent, is(NodeStatus::Pending)).await;
    let remote = RemoteStanding::new(client());
    let found = remote.standing(ID).await.unwrap().unwrap();
    assert_eq!((found.key.to_string(), found.status), (printed(&key(1)), TokenStatus::Pending));
    mesh.approve(ID).await;
    // What is remembered is forgotten in time.
    let active = async {
        while remote.standing(ID).await.unwrap().unwrap().status != TokenStatus::Active {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, active).await.unwrap();
    for name in ["../health", ".", "..", "", "active", "a b", &"x".repeat(65)] {
        assert_eq!(remote.standing(name).await.unwrap(), None, "{name}: a name stays in its place");
    }
    let nobody = MeshClient::new(&[format!("http://{}", free_address().await)], PATIENCE).unwrap();
    let error = RemoteStanding::new(Arc::new(nobody)).standing(ID).await.unwrap_err();
    assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_about_another_node_counts_for_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = Mesh::start(folder.path(), any_port()).await;
    let agent = Agent::start(config(&[mesh.url()])).unwrap();
    until(&agent, is(NodeStatus::Pending)).await;
    let about = serde_json::to_value(mesh.registry.node(ID).unwrap()).unwrap();
    let wrong = served(Router::new().fallback(any(async move || axum::Json(about)))).await;
    let client = Arc::new(MeshClient::new(&[format!("http://{}", wrong.address())], PATIENCE).unwrap());
    let remote = RemoteStanding::new(client);
    assert!(remote.standing(ID).await.unwrap().is_some());
    let error = remote.standing("val_b").await.unwrap_err();
    assert_eq!(error.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_configuration_that_can_never_work_is_an_error_at_once() {
    let with =
        |meshes: &[&str]| Agent::start(config(&meshes.iter().map(|mesh| (*mesh).to_owned()).collect::<Vec<_>>())).err();
    assert_eq!(with(&[]), Some(AgentError::Address(AddressError::None)));
    for wrong in ["localhost:8190", "https://a", "ftp://a", "http://", "http://u:p@a", "http://a/?x", "nonsense"] {
        assert_eq!(with(&["http://a", wrong]), Some(AgentError::Address(AddressError::Url(wrong.to_owned()))));
    }
    assert_eq!(with(&["http://a"; 17]), Some(AgentError::Address(AddressError::TooMany)));
    let probes = vec![("ledger".to_owned(), "8080".to_owned())];
    let probing = AgentConfig { probes, ..config(&["http://a".to_owned()]) };
    assert!(matches!(Agent::start(probing), Err(AgentError::Address(AddressError::Url(_)))));
    let service = Service { kind: "ledger".to_owned(), port: 1, public_key: printed(&key(1)) };
    let many = AgentConfig { services: vec![service; 17], ..config(&["http://a".to_owned()]) };
    assert_eq!(Agent::start(many).err(), Some(AgentError::Services));
    assert!(!format!("{:?}", config(&[])).contains("key"));
}
