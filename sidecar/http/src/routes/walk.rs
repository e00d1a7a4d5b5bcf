//! Tries every route of a router as a stranger would, and says what it should not have done. For tests, in this crate and in others.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Access, Route};

/// What a `{name}` in a path is filled with.
const PARAMETER: &str = "1";
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// The methods that are tried at every path.
const METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Tries all routes without a signature or token that counts. Returns what is wrong, nothing if all is well:
///
/// - a route that writes and answers with anything but 4xx, or without an `error` and a `code`;
/// - a route for tokens that answers with anything but 401 to whoever has none;
/// - a method at one of the paths that is answered and is not in the list.
///
/// `bodies` gives further bodies for a route: well-formed ones whose signature does not count are what tests most.
pub async fn strangers(router: &Router, routes: &[Route], bodies: impl Fn(&Route) -> Vec<Value>) -> Vec<String> {
    let mut wrong = Vec::new();
    for route in routes.iter().filter(|route| route.access != Access::Read) {
        let usual = [json!({}), json!({"signature": "ed25519_sig_00"}), json!([]), json!(null)];
        let given = bodies(route);
        for body in std::iter::once(None).chain(usual.iter().chain(&given).map(Some)) {
            for authorization in [None, Some("Bearer "), Some("Bearer v4.public.AAAA"), Some("Basic QTpC")] {
                let (status, answer) = send(router, &route.method, &route.path, body, authorization).await;
                let refused = match route.access {
                    Access::Token => status == StatusCode::UNAUTHORIZED,
                    Access::Read | Access::SignedText => status.is_client_error() && status != StatusCode::NOT_FOUND,
                };
                // A path with a parameter may well lead to nothing: that is a refusal too.
                let nowhere =
                    status == StatusCode::NOT_FOUND && route.access == Access::SignedText && route.path.contains('{');
                let said = answer.get("error").is_some_and(Value::is_string)
                    && answer.get("code").is_some_and(Value::is_string);
                if !(refused || nowhere) || !said {
                    wrong.push(format!("{route}: {status} {answer} to the body {body:?} with {authorization:?}"));
                }
            }
        }
    }
    for route in routes {
        for method in METHODS {
            if routes.iter().any(|other| other.path == route.path && other.method == method) {
                continue;
            }
            let (status, _) = send(router, &method, &route.path, None, None).await;
            if status != StatusCode::METHOD_NOT_ALLOWED {
                wrong.push(format!("{method} {}: {status}, and it is not in the list", route.path));
            }
        }
    }
    wrong
}

/// Sends one request into the router. Returns the status, and the body if it is JSON.
async fn send(
    router: &Router,
    method: &Method,
    path: &str,
    body: Option<&Value>,
    authorization: Option<&str>,
) -> (StatusCode, Value) {
    let mut request = Request::builder().method(method).uri(filled(path));
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = request.body(body).expect("a path of a router is a path");
    let response = match router.clone().oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let status = response.status();
    let bytes = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// `/nodes/{id}/x` as `/nodes/1/x`.
fn filled(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { PARAMETER } else { segment });
    segments.collect::<Vec<_>>().join("/")
}
