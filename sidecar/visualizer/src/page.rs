//! The page: the files of `sidecar/web/dist`, built into the binary, each under its own path.
//!
//! A file below `assets/` has a hash in its name and is kept for a year; the others are asked for again with their `ETag`. The content security
//! policy lets the page load nothing from elsewhere, and connect to the host that it came from alone.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::{EmbeddedFile, RustEmbed};
use tana_http::error::ApiError;

/// The page's first file.
const INDEX: &str = "index.html";
/// Where files with a hash in their names are.
const HASHED: &str = "assets/";
/// What nobody has to ask for again.
const CACHE_FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What is asked for again with its `ETag`.
const CACHE_CHECKED: HeaderValue = HeaderValue::from_static("no-cache");
/// Ports that the policy names at most.
const PORTS_MAX: usize = 256;

#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// Where the page may connect to besides its own origin.
#[derive(Debug, Clone, Default)]
pub struct PageOptions {
    /// Ports of the host that it came from: the visualizer's, and every ledger's. The first 256 count.
    pub ports: Vec<u16>,
    /// Hosts and ports of ledgers that are elsewhere, such as `node2.tail.net:8080`; others than names, addresses and ports are left out.
    pub elsewhere: Vec<String>,
}

/// The routes of the page: `/`, and one for each file.
pub fn page_router(options: PageOptions) -> Router {
    let mut router = Router::new().route("/", get(index));
    for path in Dist::iter() {
        // Braces would be a pattern of the router.
        if !path.contains(['{', '}']) {
            router = router.route(&format!("/{path}"), get(file));
        }
    }
    router.with_state(Arc::new(options))
}

async fn index(State(options): State<Arc<PageOptions>>, headers: HeaderMap) -> Response {
    match Dist::get(INDEX) {
        Some(found) => answer(INDEX, &found, &headers, &options),
        None => ApiError::not_found("this program was built without its page").into_response(),
    }
}

async fn file(State(options): State<Arc<PageOptions>>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    match Dist::get(path) {
        Some(found) => answer(path, &found, &headers, &options),
        None => ApiError::not_found("there is no such file").into_response(),
    }
}

fn answer(path: &str, found: &EmbeddedFile, request: &HeaderMap, options: &PageOptions) -> Response {
    let etag = format!("\"{}\"", hex::encode(&found.metadata.sha256_hash()[..16]));
    let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let unchanged = known.flat_map(|value| value.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
    });
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(match &found.data {
            std::borrow::Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            std::borrow::Cow::Owned(bytes) => Bytes::copy_from_slice(bytes),
        }))
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, if path.starts_with(HASHED) { CACHE_FOREVER } else { CACHE_CHECKED });
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::from_str(&policy(request, options)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

fn policy(request: &HeaderMap, options: &PageOptions) -> String {
    let mut connect = String::from("'self'");
    // The page is reached under many names; it may connect to the one that it was asked for by.
    if let Some(host) = request.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(host_name) {
        let own = options.ports.iter().take(PORTS_MAX).map(|port| format!("{host}:{port}"));
        let elsewhere = options.elsewhere.iter().take(PORTS_MAX).filter(|place| host_name(place).is_some());
        for place in own.chain(elsewhere.cloned()) {
            connect.push_str(&format!(" http://{place} https://{place} ws://{place} wss://{place}"));
        }
    }
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; \
         manifest-src 'self'; worker-src 'self'; connect-src {connect}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
}

/// The host of `host` or `host:port`, if it is a name or an address and nothing else.
fn host_name(authority: &str) -> Option<&str> {
    let host = match authority.strip_prefix('[') {
        Some(rest) => &authority[..rest.find(']')? + 2],
        None => authority.split(':').next()?,
    };
    let port = &authority[host.len()..];
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    let inner = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = match host.starts_with('[') {
        true => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        false => {
            !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        }
    };
    (is_port && is_host && host.len() <= 255).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_host_that_was_asked_and_nothing_that_was_slipped_in() {
        let options =
            PageOptions { ports: vec![8191], elsewhere: vec!["b.net:8080".to_owned(), "x; script-src *".to_owned()] };
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8190"));
        let told = policy(&headers, &options);
        assert!(
            told.contains("connect-src 'self' http://127.0.0.1:8191 https://127.0.0.1:8191 ws://127.0.0.1:8191"),
            "{told}"
        );
        assert!(told.contains(" ws://b.net:8080 "), "{told}");
        assert!(!told.contains('*'), "{told}");
        headers.insert(header::HOST, HeaderValue::from_static("x; script-src *"));
        assert!(policy(&headers, &options).contains("connect-src 'self';"));
    }

    #[test]
    fn hosts_are_told_from_what_is_none() {
        for (authority, host) in [("a.net:80", "a.net"), ("localhost", "localhost"), ("[::1]:8190", "[::1]")] {
            assert_eq!(host_name(authority), Some(host));
        }
        for authority in ["", ":80", "a b", "a:b", "[::1", "[x]", "a/b", "a:80:80", "'self'"] {
            assert_eq!(host_name(authority), None, "{authority}");
        }
    }
}
