//! The layers around a router: that each refusal is JSON, and that none of them is in the way of what is allowed.
#![allow(clippy::unwrap_used)]

use axum::extract::{Path, Query};
use axum::http::Method;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::error::Body as Json;

#[derive(Debug, Deserialize)]
struct Sent {
    amount: u64,
    to: Option<Inner>,
}

#[derive(Debug, Deserialize)]
struct Inner {
    #[expect(dead_code, reason = "only its type matters here")]
    name: String,
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: u32,
}

fn router(config: &LimitsConfig) -> Router {
    let router = Router::new()
        .route("/sent", post(|Json(sent): Json<Sent>| async move { format!("{} {}", sent.amount, sent.to.is_some()) }))
        .route("/raw", post(|body: String| async move { body }))
        .route("/blocks/{height}", get(|Path(height): Path<u64>| async move { height.to_string() }))
        .route("/page", get(|Query(page): Query<Page>| async move { page.limit.to_string() }))
        .route("/panic", get(async || if true { panic!("the secret is 7") } else { "" }))
        .route("/never", get(std::future::pending::<&'static str>))
        .route("/", get(async || "hello"));
    standard_layers(router, config)
}

/// Sends a request; returns status, headers and body.
async fn send(router: &Router, request: Request) -> (StatusCode, axum::http::HeaderMap, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn request(method: Method, path: &str, body: impl Into<Body>) -> Request {
    let builder = axum::http::Request::builder().method(method).uri(path);
    builder.header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

fn get_request(path: &str) -> Request {
    request(Method::GET, path, Body::empty())
}

/// Sends a request that is to be refused; returns status, code and message.
async fn refused(router: &Router, request: Request) -> (u16, String, String) {
    let (status, headers, body) = send(router, request).await;
    assert_eq!(headers[header::CONTENT_TYPE], "application/json", "{body}");
    // The server fills it in where it is not there; a wrong one would break the connection.
    let length = headers.get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap().to_owned());
    assert!(length.is_none_or(|length| length == body.len().to_string()));
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    assert_eq!(body.as_object().unwrap().len(), 2);
    (status.as_u16(), text("code"), text("error"))
}

#[tokio::test]
async fn a_body_that_does_not_fit_is_told_where() {
    let router = router(&LimitsConfig::default());
    let (status, _, body) =
        send(&router, request(Method::POST, "/sent", r#" {"amount": 7, "to": {"name": "a"}} "#)).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "7 true"));
    for (body, code, says) in [
        ("{}", "bad_field", "missing field `amount`"),
        (r#"{"amount": "7"}"#, "bad_field", "`amount`"),
        (r#"{"amount": -7}"#, "bad_field", "`amount`"),
        (r#"{"amount": 7, "to": {"name": 1}}"#, "bad_field", "`to.name`"),
        (r#"{"amount": 7, "to": {}}"#, "bad_field", "`to`: missing field `name`"),
        (r#"{"amount": 7, "amount": 8}"#, "bad_field", "duplicate field `amount`"),
        ("[7]", "bad_field", "the body does not fit"),
        ("", "bad_json", "not JSON"),
        ("{", "bad_json", "not JSON"),
        (r#"{"amount": 7} x"#, "bad_json", "not JSON"),
        ("\u{0}", "bad_json", "not JSON"),
    ] {
        let (status, found, message) = refused(&router, request(Method::POST, "/sent", body)).await;
        assert_eq!((status, found.as_str()), (400, code), "{body}: {message}");
        assert!(message.contains(says), "{body}: {message}");
    }
    let bytes = request(Method::POST, "/sent", vec![b'"', 0xff, b'"']);
    assert_eq!(refused(&router, bytes).await.0, 400);
    // As deep as a thief would have it, and no deeper than the stack is.
    let deep = request(Method::POST, "/sent", "[".repeat(60_000));
    assert_eq!(refused(&router, deep).await.0, 400);
}

#[tokio::test]
async fn a_body_of_another_type_is_refused() {
    let router = router(&LimitsConfig::default());
    for (kind, status) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/json; charset=utf-8"), 200),
        (Some("Application/JSON"), 200),
        (Some("application/problem+json"), 200),
    ] {
        let mut sent = request(Method::POST, "/sent", r#"{"amount": 7}"#);
        sent.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(kind) = kind {
            sent.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        assert_eq!(send(&router, sent).await.0.as_u16(), status, "{kind:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_it_says_so_or_not() {
    let router = router(&LimitsConfig { body_bytes: 100, ..LimitsConfig::default() });
    for path in ["/sent", "/raw"] {
        let mut announced = request(Method::POST, path, "1");
        announced.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("101"));
        assert_eq!(refused(&router, announced).await.1, "too_large");
        let mut endless = request(Method::POST, path, "1");
        endless.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("99999999999999999999"));
        assert_ne!(send(&router, endless).await.0, StatusCode::INTERNAL_SERVER_ERROR);
        // In pieces, without a length.
        let pieces = futures_util::stream::iter((0..11).map(|_| Ok::<_, std::io::Error>("0123456789")));
        let (status, code, _) = refused(&router, request(Method::POST, path, Body::from_stream(pieces))).await;
        assert_eq!((status, code.as_str()), (413, "too_large"), "{path}");
    }
    let (status, _, body) = send(&router, request(Method::POST, "/raw", "x".repeat(100))).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 100));
}

#[tokio::test]
async fn refusals_of_the_library_are_json_too() {
    let router = router(&LimitsConfig::default());
    for (method, path, status, code) in [
        (Method::GET, "/nowhere", 404, "not_found"),
        (Method::POST, "/blocks/1", 405, "method_not_allowed"),
        (Method::GET, "/blocks/x", 400, "bad_request"),
        (Method::GET, "/blocks/-1", 400, "bad_request"),
        (Method::GET, "/blocks/18446744073709551616", 400, "bad_request"),
        (Method::GET, "/page", 400, "bad_request"),
        (Method::GET, "/page?limit=x", 400, "bad_request"),
        (Method::GET, "/page?limit=%ff", 400, "bad_request"),
    ] {
        let (found, found_code, message) = refused(&router, request(method, path, Body::empty())).await;
        assert_eq!((found, found_code.as_str()), (status, code), "{path}: {message}");
    }
    let (_, headers, _) = send(&router, request(Method::POST, "/blocks/1", Body::empty())).await;
    assert_eq!(headers[header::ALLOW], "GET,HEAD");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[tokio::test]
async fn a_panic_is_an_answer_that_gives_nothing_away() {
    let router = router(&LimitsConfig::default());
    let (status, code, message) = refused(&router, get_request("/panic")).await;
    assert_eq!((status, code.as_str()), (500, "internal"));
    assert!(!message.contains("secret"), "{message}");
    assert_eq!(send(&router, get_request("/")).await.2, "hello", "and nothing else is harmed");
}

#[tokio::test]
async fn a_request_ends_in_its_time() {
    let router = router(&LimitsConfig { request_time: Duration::from_millis(50), ..LimitsConfig::default() });
    let (status, code, _) = refused(&router, get_request("/never")).await;
    assert_eq!((status, code.as_str()), (408, "timeout"));
    // A body that never ends counts as well.
    let body = Body::from_stream(futures_util::stream::pending::<Result<&'static str, std::io::Error>>());
    assert_eq!(refused(&router, request(Method::POST, "/sent", body)).await.0, 408);
}

#[tokio::test]
async fn an_address_has_its_rate() {
    let rate = Rate { per_second: 1.try_into().unwrap(), burst: 3.try_into().unwrap() };
    let router = router(&LimitsConfig { rate: Some(rate), ..LimitsConfig::default() });
    let from = |peer: &str| {
        let mut request = get_request("/");
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        request
    };
    for _ in 0..3 {
        assert_eq!(send(&router, from("10.0.0.1:1")).await.0, StatusCode::OK);
    }
    // Nine at once take far less than the second in which one more is allowed.
    let (mut refusals, mut passed) = (0, 0);
    for port in 2..11 {
        let (status, headers, body) = send(&router, from(&format!("10.0.0.1:{port}"))).await;
        if status == StatusCode::OK {
            passed += 1;
            continue;
        }
        assert_eq!((status, &headers[header::RETRY_AFTER]), (StatusCode::TOO_MANY_REQUESTS, &HeaderValue::from(1)));
        assert!(body.contains("too_many"), "{body}");
        refusals += 1;
    }
    assert!(refusals > 0, "{passed} passed");
    assert_eq!(send(&router, from("10.0.0.2:1")).await.0, StatusCode::OK);
    let unlimited = self::router(&LimitsConfig { rate: None, ..LimitsConfig::default() });
    for _ in 0..2_000 {
        assert_eq!(send(&unlimited, from("10.0.0.1:1")).await.0, StatusCode::OK);
    }
}

#[tokio::test]
async fn other_origins_ask_only_where_they_may() {
    let asked = |path: &str, origin: &str, method: Method| {
        let mut request = request(method, path, Body::empty());
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        request.headers_mut().insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("POST"));
        request
    };
    let allowed = header::ACCESS_CONTROL_ALLOW_ORIGIN;
    let with = |cors: &str| router(&LimitsConfig { cors: cors.parse().unwrap(), ..LimitsConfig::default() });

    let none = with("none");
    let (_, headers, _) = send(&none, asked("/", "https://a.example", Method::GET)).await;
    assert!(!headers.contains_key(&allowed));
    let any = with("*");
    let (_, headers, _) = send(&any, asked("/nowhere", "https://a.example", Method::GET)).await;
    assert_eq!(headers[&allowed], "*", "on refusals too, so that the page can read them");
    let some = with("https://a.example, https://b.example");
    let (status, headers, _) = send(&some, asked("/sent", "https://b.example", Method::OPTIONS)).await;
    assert_eq!((status, &headers[&allowed]), (StatusCode::OK, &HeaderValue::from_static("https://b.example")));
    let (_, headers, _) = send(&some, asked("/sent", "https://c.example", Method::OPTIONS)).await;
    assert!(!headers.contains_key(&allowed));
}
