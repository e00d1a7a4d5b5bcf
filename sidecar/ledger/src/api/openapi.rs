//! The OpenAPI document, from the handlers themselves, and the page to try it, from files in this binary.

use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use utoipa::OpenApi;
use utoipa_swagger_ui::Config;

use super::error::Refusal;
use super::extract::Path;
use super::feed::{GapNotice, HeightNotice, TransactionsNotice};
use super::{about, blocks, consensus, feed, submit, transactions, users, validate};

/// Where the document is.
pub const DOCUMENT_PATH: &str = "/openapi.json";

/// What the macro makes the document of.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tana ledger",
        description = "Blocks, transactions, accounts, proofs and feeds of one node; submits signed transactions."
    ),
    paths(
        about::about,
        about::health,
        about::ready,
        blocks::list,
        blocks::latest,
        blocks::at_height,
        blocks::by_hash,
        blocks::transactions,
        transactions::list,
        transactions::by_id,
        transactions::by_account,
        transactions::pending,
        transactions::transactions_pending,
        transactions::pending_deposits,
        transactions::pending_withdraws,
        transactions::pending_sovereign,
        users::list,
        users::by_id,
        users::by_username,
        users::by_key,
        users::balances,
        users::nonce,
        users::transactions,
        users::balance,
        users::currencies,
        consensus::validators,
        consensus::quorum,
        consensus::range,
        consensus::block,
        consensus::account_proof,
        validate::validate,
        submit::submit,
        submit::create_user,
        feed::blocks,
        feed::account
    ),
    components(schemas(HeightNotice, GapNotice, TransactionsNotice))
)]
struct Document;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let text = document().to_json().unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
    text.into()
});

static PAGE: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::from(DOCUMENT_PATH).try_it_out_enabled(true).validator_url("none")));

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// `GET /openapi.json`.
pub async fn json() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.clone()).into_response()
}

/// `GET /docs`.
pub async fn page_without_slash() -> Redirect {
    Redirect::permanent("/docs/")
}

/// `GET /docs/`.
pub async fn page() -> Response {
    file("index.html")
}

/// `GET /docs/{*rest}`.
pub async fn page_file(Path([name]): Path<1>) -> Result<Response, Refusal> {
    Ok(file(&name))
}

fn file(name: &str) -> Response {
    let not_found = || tana_http::error::ApiError::not_found("the page has no such file").into_response();
    match utoipa_swagger_ui::serve(name, PAGE.clone()) {
        Ok(Some(file)) => match HeaderValue::from_str(&file.content_type) {
            Ok(content_type) => {
                let mut response = (StatusCode::OK, file.bytes.into_owned()).into_response();
                response.headers_mut().insert(header::CONTENT_TYPE, content_type);
                if file.gzpipped {
                    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                }
                response
            }
            Err(_) => not_found(),
        },
        Ok(None) | Err(_) => not_found(),
    }
}
