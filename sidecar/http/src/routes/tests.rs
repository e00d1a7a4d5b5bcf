//! The list of routes, the guard that goes with it, and that the walk finds what is wrong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::routing::{any, post};
use ed25519_dalek::SigningKey;
use serde::Deserialize;
use serde_json::json;
use tana_types::key::PublicKey;
use tower::ServiceExt;

use super::*;
use crate::error::{ApiError, Body as Json};
use crate::guard::{AtOnce, Caller};
use crate::signature::verify_text;
use crate::token::{Claims, NodeStanding, NodeStatus, Service, issue};

const NOW: u64 = 1_795_213_896_000;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn guard(standing: Arc<dyn crate::guard::Standing>) -> Guard {
    Guard::new(standing, "mesh", Arc::new(|| NOW))
}

fn active() -> Guard {
    guard(Arc::new(AtOnce(|node: &str| {
        let key = PublicKey(key().verifying_key().to_bytes());
        (node == "a").then_some(NodeStanding { key, status: NodeStatus::Active })
    })))
}

#[derive(Deserialize)]
struct Signed {
    signature: String,
}

async fn signed(Json(body): Json<Signed>) -> Result<&'static str, ApiError> {
    let key = PublicKey(key().verifying_key().to_bytes());
    verify_text(&key, "text", &body.signature).map_err(|error| ApiError::unauthorized(error.to_string()))?;
    Ok("done")
}

async fn stored(Caller(claims): Caller) -> String {
    format!("{} of {}", claims.service, claims.node)
}

fn routes() -> Routes {
    Routes::guarded(active())
        .read("/things", async || "things")
        .ask(Method::POST, "/verify", async || "no")
        .signed(Method::POST, "/things", signed)
        .signed(Method::POST, "/things/{id}/approve", signed)
        .token(Method::PUT, "/things/{id}", stored)
        .read("/things/{id}", async || "thing")
}

async fn put(router: &Router, authorization: &[&str]) -> (u16, String) {
    let mut request = Request::put("/things/1");
    for value in authorization {
        request = request.header(header::AUTHORIZATION, *value);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn the_list_is_what_was_put_in() {
    let (router, table) = routes().merge(Routes::new().read("/health", async || "ok")).finish(());
    let list: Vec<String> = table.iter().map(|route| format!("{route} {:?}", route.access)).collect();
    assert_eq!(
        list,
        [
            "GET /things Read",
            "POST /verify Read",
            "POST /things SignedText",
            "POST /things/{id}/approve SignedText",
            "PUT /things/{id} Token",
            "GET /things/{id} Read",
            "GET /health Read"
        ]
    );
    let response = router.oneshot(Request::get("/health").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_opens_its_route() {
    let (router, _) = routes().finish(());
    let token = issue(&key(), &Claims::new(Service::Ledger, "a", "mesh", NOW)).unwrap();
    assert_eq!(put(&router, &[&format!("Bearer {token}")]).await, (200, "ledger of a".to_owned()));
    assert_eq!(put(&router, &[&format!("bEARER  {token} ")]).await.0, 200);
    for wrong in [vec![], vec!["Bearer"], vec![&token as &str], vec![&format!("Bearer {token}") as &str, "Bearer x"]] {
        let (status, body) = put(&router, &wrong).await;
        assert_eq!(status, 401, "{body}");
        assert!(body.contains("token_missing"), "{body}");
    }
    for (claims, status, code) in [
        (Claims::new(Service::Ledger, "b", "mesh", NOW), 401, "token_unknown_node"),
        (Claims::new(Service::Ledger, "a", "ledger", NOW), 403, "token_audience"),
        (Claims::new(Service::Ledger, "a", "mesh", NOW - 3_600_000), 401, "token_expired"),
        (Claims::new(Service::Ledger, "a", "mesh", NOW + 61_000), 401, "token_from_the_future"),
    ] {
        let token = issue(&key(), &claims).unwrap();
        let (found, body) = put(&router, &[&format!("Bearer {token}")]).await;
        assert_eq!(found, status, "{body}");
        assert!(body.contains(code), "{body}");
    }
}

#[tokio::test]
async fn a_guard_may_ask_for_a_service() {
    let only = active().only([Service::Ledger, Service::Mesh]);
    let (router, _) = Routes::guarded(only).token(Method::PUT, "/things/{id}", stored).finish(());
    for (service, status) in [(Service::Ledger, 200), (Service::Mesh, 200), (Service::Content, 403)] {
        let token = issue(&key(), &Claims::new(service, "a", "mesh", NOW)).unwrap();
        let (found, body) = put(&router, &[&format!("Bearer {token}")]).await;
        assert_eq!(found, status, "{body}");
    }
}

/// A mesh that cannot be asked.
struct Gone;

impl crate::guard::Standing for Gone {
    fn standing<'a>(&'a self, _: &'a str) -> crate::guard::StandingFuture<'a> {
        Box::pin(async { Err(ApiError::unavailable("the mesh does not answer")) })
    }
}

#[tokio::test]
async fn without_the_mesh_nobody_gets_in() {
    let (router, _) = Routes::guarded(guard(Arc::new(Gone))).token(Method::PUT, "/things/{id}", stored).finish(());
    let token = issue(&key(), &Claims::new(Service::Ledger, "a", "mesh", NOW)).unwrap();
    assert_eq!(put(&router, &[&format!("Bearer {token}")]).await.0, 503);
    assert_eq!(put(&router, &[]).await.0, 401);
}

#[tokio::test]
async fn the_walk_finds_what_stands_open() {
    let bodies = |_: &Route| vec![json!({"signature": format!("ed25519_sig_{}", "0".repeat(128))})];
    let (router, table) = routes().finish(());
    assert_eq!(walk::strangers(&router, &table, bodies).await, Vec::<String>::new());

    let open = |routes: Routes| async move {
        let (router, table) = routes.finish(());
        walk::strangers(&router, &table, bodies).await
    };
    // It says that it checks a text, and does not.
    let careless = open(Routes::new().signed(Method::POST, "/open", async || "done")).await;
    assert!(careless[0].starts_with("POST /open: 200"), "{careless:?}");
    // A defect at bad input.
    let broken = open(Routes::new().signed(Method::POST, "/open", async || ApiError::internal("oh"))).await;
    assert!(broken[0].starts_with("POST /open: 500"), "{broken:?}");
    // A refusal without a reason.
    let mute = open(Routes::new().signed(Method::POST, "/open", async || StatusCode::UNAUTHORIZED)).await;
    assert!(!mute.is_empty());
    // A path with more methods than are in the list.
    let hidden = open(Routes::new().method_router(Access::SignedText, Method::POST, "/open", any(signed))).await;
    assert!(hidden.iter().any(|wrong| wrong.starts_with("DELETE /open")), "{hidden:?}");
    // A route for tokens without a guard: only the general form could do that, and not even `Caller` lets anybody in.
    let (router, _) = Routes::new().method_router(Access::SignedText, Method::POST, "/open", post(stored)).finish(());
    let table = [Route { method: Method::POST, path: "/open".to_owned(), access: Access::Token }];
    assert_eq!(walk::strangers(&router, &table, bodies).await, Vec::<String>::new());
}

#[test]
#[should_panic(expected = "Routes::guarded")]
fn a_route_for_tokens_needs_a_guard() {
    let _ = Routes::<()>::new().token(Method::PUT, "/things/{id}", stored);
}
