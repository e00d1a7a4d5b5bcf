//! What anybody may read.

use serde_json::{Value, json};

use crate::mesh::{Mesh, code, ids, key, public, refusal};

#[tokio::test]
async fn health_and_counts() {
    let (mesh, _folder) = Mesh::new().await;
    assert_eq!(mesh.get("/health").await, (200, json!({"status": "ok", "service": "mesh"})));
    mesh.register("a", &key(1)).await;
    mesh.register("b", &key(2)).await;
    mesh.register("c", &key(3)).await;
    mesh.approve("b", 1).await;
    mesh.deny("c", 2).await;
    let nodes = json!({"pending": 1, "active": 1, "offline": 0, "denied": 1, "total": 3});
    assert_eq!(mesh.get("/info").await, (200, json!({"service": "mesh", "nodes": nodes})));
}

#[tokio::test]
async fn lists_by_status() {
    let (mesh, _folder) = Mesh::new().await;
    for (id, number) in [("waits", 1), ("on", 2), ("denied", 3)] {
        mesh.register(id, &key(number)).await;
    }
    mesh.approve("on", 1).await;
    mesh.deny("denied", 2).await;
    for (query, expected) in [
        ("", json!(["on"])),
        ("?status=active", json!(["on"])),
        ("?status=pending", json!(["waits"])),
        ("?status=denied", json!(["denied"])),
        ("?status=offline", json!([])),
        ("?status=pending&status=active", json!(["on", "waits"])),
        ("?status=pending,denied", json!(["denied", "waits"])),
        ("?status=all", json!(["denied", "on", "waits"])),
        ("?other=1", json!(["on"])),
    ] {
        let (status, answer) = mesh.get(&format!("/nodes{query}")).await;
        assert_eq!((status, ids(&answer, "nodes")), (200, expected), "{query}");
    }
    for query in ["?status=", "?status=Active", "?status=pending,x", "?limit=0", "?limit=x", "?limit=-1"] {
        assert_eq!(refusal(mesh.get(&format!("/nodes{query}")).await), code(400, "bad_field"), "{query}");
    }
}

#[tokio::test]
async fn lists_have_pages() {
    let (mesh, _folder) = Mesh::new().await;
    for number in 1..=5u8 {
        mesh.register(&format!("n{number}"), &key(number)).await;
        mesh.approve(&format!("n{number}"), u64::from(number)).await;
    }
    mesh.deny("n3", 9).await;
    for (path, list) in [("/nodes", "nodes"), ("/topology", "nodes"), ("/validators/active", "validators")] {
        let (_, first) = mesh.get(&format!("{path}?limit=2")).await;
        assert_eq!((ids(&first, list), &first["next"]), (json!(["n1", "n2"]), &json!("n2")), "{path}");
        let (_, second) = mesh.get(&format!("{path}?limit=2&after=n2")).await;
        assert_eq!((ids(&second, list), &second["next"]), (json!(["n4", "n5"]), &Value::Null), "{path}");
        let (_, whole) = mesh.get(path).await;
        assert_eq!((ids(&whole, list), &whole["next"]), (json!(["n1", "n2", "n4", "n5"]), &Value::Null), "{path}");
        let (_, none) = mesh.get(&format!("{path}?after=zzz")).await;
        assert_eq!(ids(&none, list), json!([]));
    }
}

#[tokio::test]
async fn topology_and_validators() {
    let (mesh, _folder) = Mesh::new().await;
    mesh.register("a", &key(1)).await;
    let mut plain = mesh.registration("plain", &key(2));
    plain.services.clear();
    assert_eq!(mesh.post("/register", &plain.sign(&key(2), mesh.now())).await.0, 201);
    mesh.register("waits", &key(3)).await;
    mesh.approve("a", 1).await;
    mesh.approve("plain", 2).await;
    let (_, answer) = mesh.get("/topology").await;
    assert_eq!(ids(&answer, "nodes"), json!(["a", "plain"]));
    let service = |kind: &str, port: u16| json!({"type": kind, "port": port, "publicKey": public(&key(1))});
    assert_eq!(answer["nodes"][0]["services"], json!([service("ledger", 8080), service("consensus", 9000)]));
    assert_eq!(answer["nodes"][0]["tailscale_hostname"], "a.local.ts.net");
    assert_eq!(answer["nodes"][1]["services"], json!([]), "no service is no service");
    let (_, answer) = mesh.get("/validators/active").await;
    assert_eq!(
        answer["validators"][0],
        json!({"id": "a", "publicKey": public(&key(1)), "wsUrl": "a.local.ts.net", "lastSeen": null})
    );
    let (status, answer) = mesh.get("/validators/waits").await;
    assert_eq!((status, &answer["validator"]["status"]), (200, &json!("pending")));
    assert_eq!(answer["validator"]["services"][0]["node_id"], "waits");
}

#[tokio::test]
async fn unknown_things() {
    let (mesh, _folder) = Mesh::new().await;
    for path in ["/nodes/nobody", "/validators/nobody", "/nodes/%F0%9F%98%80", "/nodes/a%2Fb"] {
        assert_eq!(refusal(mesh.get(path).await), code(404, "unknown_node"), "{path}");
    }
    assert_eq!(mesh.get("/nodes/%ff").await.0, 400);
    assert_eq!(refusal(mesh.get("/nothing").await), code(404, "not_found"));
    assert_eq!(refusal(mesh.get("/register").await), code(405, "method_not_allowed"));
}
