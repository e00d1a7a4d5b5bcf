//! What becomes of a node: silence and return, restarts, the feed, and who may have the folder.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::{Value, json};
use tana_mesh::limits::{PENDING_LIFE_MS, SILENCE_MS, START_GRACE_MS};
use tana_mesh::wire::Decision;
use tana_mesh::{ChangeKind, FixedSovereigns, Members, Registry, ValidatorSet};
use tana_types::key::PublicKey;

use crate::mesh::{Mesh, START, code, ids, key, refusal};

#[tokio::test]
async fn who_falls_silent_is_offline_and_comes_back() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.register("never-heard", &key(2)).await;
    mesh.approve("a", 1).await;
    mesh.approve("never-heard", 2).await;
    mesh.later(10_000);
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    mesh.later(SILENCE_MS - 10_000);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 0, "five minutes are not more than five minutes");
    mesh.later(1);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 1);
    assert_eq!(mesh.status("never-heard").await, "offline", "counted from its approval");
    assert_eq!(mesh.status("a").await, "active");
    mesh.later(10_000);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 1);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 0, "once");
    assert_eq!(mesh.status("a").await, "offline");
    assert_eq!(ids(&mesh.get("/topology").await.1, "nodes"), json!([]));
    // Whoever is offline is not approved again, and a bad signature does not bring it back.
    let again = mesh.decision(Decision::Approve, "a", 3);
    assert_eq!(refusal(mesh.post("/approve/a", &again).await), code(404, "not_pending"));
    assert_eq!(mesh.heartbeat("a", &key(2)).await.0, 401);
    assert_eq!(mesh.status("a").await, "offline");
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    assert_eq!(mesh.status("a").await, "active");
    assert_eq!(ids(&mesh.get("/topology").await.1, "nodes"), json!(["a"]));
    assert_eq!(
        mesh.get("/info").await.1["nodes"],
        json!({"pending": 0, "active": 1, "offline": 1, "denied": 0, "total": 2})
    );
}

#[tokio::test]
async fn a_restart_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("mesh");
    let mesh = Mesh::open(&folder, START, None).await;
    for (id, number) in [("on", 1), ("off", 2), ("denied", 3), ("waits", 4)] {
        mesh.register(id, &key(number)).await;
    }
    mesh.approve("on", 1).await;
    mesh.approve("off", 2).await;
    mesh.deny("denied", 3).await;
    let spent = mesh.decision(Decision::Deny, "denied", 3);
    mesh.later(SILENCE_MS + 1);
    assert_eq!(mesh.heartbeat("on", &key(1)).await.0, 200);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 1);
    let recent = mesh.decision(Decision::Approve, "on", 9);
    assert_eq!(refusal(mesh.post("/approve/on", &recent).await), code(404, "not_pending"));
    let before = mesh.get("/nodes?status=all").await.1;
    let history = mesh.get("/nodes/on").await.1;
    assert_eq!(before["nodes"].as_array().unwrap().len(), 4);
    let now = mesh.now();
    mesh.registry.close().await.unwrap();
    let late = mesh.registration("late", &key(7));
    let refused = mesh.registry.register(late, None).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.code), (503, "closed"));
    drop(mesh);

    let mesh = reopened(&folder, now).await;
    assert_eq!(mesh.get("/nodes?status=all").await.1, before);
    assert_eq!(mesh.get("/nodes/on").await.1, history);
    // What was used up stays used up, and names stay taken.
    assert_eq!(refusal(mesh.post("/approve/on", &recent).await), code(401, "replayed"));
    assert_eq!(refusal(mesh.post("/deny/denied", &spent).await), code(401, "stale_timestamp"));
    assert_eq!(refusal(mesh.post("/register", &mesh.registration("waits", &key(8))).await), code(409, "duplicate_id"));
    assert_eq!(refusal(mesh.post("/register", &mesh.registration("new", &key(3))).await), code(409, "duplicate_key"));
    assert_eq!(mesh.heartbeat("off", &key(2)).await.0, 200);
    assert_eq!(mesh.status("off").await, "active");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_it_closes_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let folder = folder.path().join(round.to_string());
        let mesh =
            Registry::open(&folder, Arc::new(FixedSovereigns::new([])), None, tana_http::clock::system()).unwrap();
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let mesh = mesh.clone();
                // Until the first refusal: those before it are answered, and so must that one be.
                tokio::spawn(async move { while mesh.flush().await.is_ok() {} })
            })
            .collect();
        mesh.close().await.unwrap();
        for asks in asking {
            tokio::time::timeout(std::time::Duration::from_secs(60), asks).await.expect("an answer").unwrap();
        }
    }
}

/// A mesh in a folder that another one had a moment ago: its server's tasks may still be letting go of it.
async fn reopened(folder: &std::path::Path, now: u64) -> Mesh {
    loop {
        let free = tana_store::DataLock::acquire(folder).is_ok();
        if free {
            return Mesh::open(folder, now, None).await;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_mesh_that_was_away_listens_before_it_judges() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("mesh");
    let mesh = Mesh::open(&folder, START, None).await;
    mesh.register("a", &key(1)).await;
    mesh.approve("a", 1).await;
    mesh.registry.close().await.unwrap();
    drop(mesh);
    let mesh = reopened(&folder, START + 10 * SILENCE_MS).await;
    assert_eq!(mesh.registry.sweep().await.unwrap(), 0);
    mesh.later(START_GRACE_MS + 1);
    assert_eq!(mesh.registry.sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn a_registration_does_not_wait_for_ever() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    mesh.later(PENDING_LIFE_MS);
    mesh.registry.sweep().await.unwrap();
    assert_eq!(mesh.status("a").await, "pending");
    mesh.later(1);
    mesh.registry.sweep().await.unwrap();
    assert_eq!(refusal(mesh.get("/nodes/a").await), code(404, "unknown_node"));
    mesh.register("a", &key(1)).await;
}

#[tokio::test]
async fn the_feed_says_what_changes() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("old", &key(9)).await;
    let mut feed = mesh.registry.subscribe();
    let snapshot = mesh.registry.snapshot();
    assert_eq!((snapshot.sequence, snapshot.nodes.len(), snapshot.count.pending), (1, 1, 1));
    mesh.register("a", &key(1)).await;
    mesh.approve("a", 1).await;
    mesh.later(SILENCE_MS + 1);
    mesh.registry.sweep().await.unwrap();
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    assert_eq!(mesh.heartbeat("a", &key(1)).await.0, 200);
    mesh.deny("a", 2).await;
    let kinds =
        [ChangeKind::Registered, ChangeKind::Approved, ChangeKind::Offline, ChangeKind::Back, ChangeKind::Denied];
    for (at, kind) in kinds.into_iter().enumerate() {
        let change = feed.try_recv().unwrap();
        assert_eq!((change.sequence, change.kind), (at as u64 + 2, kind));
        assert_eq!(change.node.row.id, "a");
    }
    assert!(feed.try_recv().is_err(), "nothing else");
    assert_eq!(mesh.registry.snapshot().sequence, 6);
}

/// A set that does not change while it is looked at.
struct Set(Members);

impl ValidatorSet for Set {
    fn members(&self) -> Option<Arc<Members>> {
        Some(Arc::new(self.0.clone()))
    }
}

fn public_key(number: u8) -> PublicKey {
    PublicKey(key(number).verifying_key().to_bytes())
}

#[tokio::test]
async fn the_chain_says_who_is_in_its_set() {
    let folder = tempfile::tempdir().unwrap();
    let set = Arc::new(Set(Members::settled([public_key(1)])));
    let mesh = Mesh::open(&folder.path().join("mesh"), START, Some(set)).await;
    mesh.register("in", &key(1)).await;
    mesh.register("out", &key(2)).await;
    assert_eq!(mesh.get("/nodes/in").await.1["node"]["chain"], "in_set");
    assert_eq!(mesh.approve("out", 1).await["validator"]["chain"], "not_in_set");
    assert_eq!(mesh.get("/topology").await.1["nodes"][0]["chain"], "not_in_set");
    let (without, _folder) = Mesh::new().await;
    without.register("a", &key(1)).await;
    assert_eq!(without.get("/nodes/a").await.1["node"]["chain"], Value::Null);
}

#[tokio::test]
async fn a_decision_is_about_the_set_that_is_decided_already() {
    let folder = tempfile::tempdir().unwrap();
    // The first enters two epochs from now, the second leaves.
    let members = Members { now: [public_key(2)].into(), decided: [public_key(1)].into() };
    let mesh = Mesh::open(&folder.path().join("mesh"), START, Some(Arc::new(Set(members)))).await;
    for (id, number, row, link) in [("enters", 1, "not_in_set", "in_set"), ("leaves", 2, "in_set", "not_in_set")] {
        mesh.register(id, &key(number)).await;
        assert_eq!(mesh.approve(id, u64::from(number)).await["validator"]["chain"], link, "{id}");
        let (_, answer) = mesh.get(&format!("/nodes/{id}")).await;
        assert_eq!((&answer["node"]["chain"], &answer["validator"]["chain"]), (&json!(row), &json!(link)), "{id}");
        let denied =
            mesh.post(&format!("/deny/{id}"), &mesh.decision(Decision::Deny, id, 10 + u64::from(number))).await;
        assert_eq!(denied.1["validator"]["chain"], link, "{id}");
    }
}

#[tokio::test]
async fn the_folder_is_the_meshs_own() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &std::path::Path| {
        Registry::open(path, Arc::new(FixedSovereigns::new([])), None, tana_http::clock::system())
            .map_err(|error| error.to_string())
    };
    let mesh = folder.path().join("mesh");
    std::fs::create_dir(&mesh).unwrap();
    std::fs::set_permissions(&mesh, std::fs::Permissions::from_mode(0o755)).unwrap();
    let first = open(&mesh).unwrap();
    assert_eq!(std::fs::metadata(&mesh).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(open(&mesh).err().unwrap().contains("in use"));
    drop(first);
    open(&mesh).unwrap();
    // The old system's file, and somebody else's folder.
    let file = folder.path().join("mesh.db");
    std::fs::write(&file, "SQLite format 3").unwrap();
    assert!(open(&file).err().unwrap().contains("is a file"));
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("letter"), "dear").unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(open(&other).err().unwrap().contains("not the mesh's"));
    assert_eq!(std::fs::metadata(&other).unwrap().permissions().mode() & 0o777, 0o755);
}
