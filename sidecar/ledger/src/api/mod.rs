//! The ledger over HTTP, by default on port 8080: what the node's files say, feeds of what is new, and a way in for signed transactions.
//!
//! Paths and JSON names are those of the replaced ledger where a user of it would meet them; docs/ledger.md lists both and what differs.
//! Nothing here changes anything by itself: what writes is a transaction, signed by its sender, and goes to the node.
//!
//! [`routes`] is the table of all of it; [`ApiState::start`] makes what the handlers share; `tana_http` puts limits around it and serves it.

pub mod about;
pub mod blocks;
pub mod config;
pub mod consensus;
pub mod error;
pub mod extract;
pub mod feed;
pub mod limits;
pub mod model;
pub mod openapi;
pub mod refusals;
mod retired;
pub mod state;
pub mod submit;
pub mod transactions;
pub mod users;
pub mod validate;

use axum::Router;
use axum::http::Method;
use tana_http::limits::{LimitsConfig, standard_layers};
use tana_http::routes::{Route, Routes};

pub use config::{ApiConfig, FeedConfig, NodeTarget};
pub use state::ApiState;

use self::limits::{FOLLOW_MAX, SUBMIT_BYTES_MAX};

/// The methods of routes that were retired whole.
const ALL_METHODS: [Method; 5] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// Every route.
pub fn routes() -> Routes<ApiState> {
    reads().merge(writes()).merge(retired_routes())
}

fn reads() -> Routes<ApiState> {
    Routes::new()
        .read("/", about::about)
        .read("/health", about::health)
        .read("/ready", about::ready)
        .read("/blocks", blocks::list)
        .read("/blocks/latest", blocks::latest)
        .read("/blocks/{height}", blocks::at_height)
        .read("/blocks/hash/{hash}", blocks::by_hash)
        .read("/blocks/{height}/transactions", blocks::transactions)
        .read("/transactions", transactions::list)
        .read("/transactions/{id}", transactions::by_id)
        .read("/transactions/account/{account}", transactions::by_account)
        .read("/pending", transactions::pending)
        .read("/transactions/pending", transactions::transactions_pending)
        .read("/transactions/pending/deposits", transactions::pending_deposits)
        .read("/transactions/pending/withdraws", transactions::pending_withdraws)
        .read("/transactions/pending/sovereign", transactions::pending_sovereign)
        .read("/users", users::list)
        .read("/users/{id}", users::by_id)
        .read("/users/username/{name}", users::by_username)
        .read("/users/publicKey/{key}", users::by_key)
        .read("/users/{id}/balances", users::balances)
        .read("/users/{id}/nonce", users::nonce)
        .read("/users/{id}/transactions", users::transactions)
        .read("/balances", users::balance)
        .read("/balances/currencies", users::currencies)
        .read("/validators", consensus::validators)
        .read("/consensus/quorum/{hash}", consensus::quorum)
        .read("/consensus/blocks/{from}/{to}", consensus::range)
        .read("/consensus/block/{hash}", consensus::block)
        .ask(Method::POST, "/consensus/validate", validate::validate)
        .read("/proofs/accounts/{key}", consensus::account_proof)
        .read("/feed/blocks", feed::blocks)
        .read("/feed/accounts/{account}/transactions", feed::account)
        .read(openapi::DOCUMENT_PATH, openapi::json)
        .read("/docs", openapi::page_without_slash)
        .read("/docs/", openapi::page)
        .read("/docs/{*file}", openapi::page_file)
}

/// What hands something to the node: a transaction's signature is its permission.
fn writes() -> Routes<ApiState> {
    Routes::new().signed(Method::POST, "/transactions", submit::submit).signed(
        Method::POST,
        "/users",
        submit::create_user,
    )
}

/// What wrote without a signature in the replaced ledger. Nobody is let in here: all of it is refused.
fn retired_routes() -> Routes<ApiState> {
    let mut routes = Routes::new()
        .signed(Method::PATCH, "/users/{id}", retired::user)
        .signed(Method::DELETE, "/users/{id}", retired::user)
        .signed(Method::POST, "/balances", retired::balance)
        .signed(Method::POST, "/balances/currencies", retired::currency)
        .signed(Method::POST, "/balances/currencies/seed", retired::currency)
        .signed(Method::POST, "/transactions/{id}/confirm", retired::confirm)
        .signed(Method::POST, "/consensus/votes", retired::votes);
    for method in ALL_METHODS {
        routes = routes.signed(method.clone(), "/contracts", retired::contracts).signed(
            method,
            "/contracts/{*rest}",
            retired::contracts,
        );
    }
    routes
}

/// What to give [`router`] when nothing else is configured: bodies as large as a submission may be, and time to follow one to its end.
pub fn default_limits() -> LimitsConfig {
    LimitsConfig {
        body_bytes: SUBMIT_BYTES_MAX,
        request_time: FOLLOW_MAX + limits::READ_WAIT * 2,
        ..LimitsConfig::default()
    }
}

/// The whole API with its limits, ready for [`tana_http::server::Bound::serve`], and the list of its routes.
pub fn router(state: ApiState, limits: &LimitsConfig) -> (Router, Vec<Route>) {
    let (router, table) = routes().finish(state);
    (standard_layers(router, limits), table)
}
