//! What the service is, whether it runs, and whether its answers are fresh.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tana_engine::clock::wall_ms;
use utoipa::ToSchema;

use super::model::Problem;
use super::refusals::Always;
use super::state::ApiState;
use crate::chain::{Head, Phase};

/// What the service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Always tana-ledger.
    pub service: String,
    /// Its version.
    pub version: String,
    /// healthy while it answers from a loaded state, else waiting, loading or stopped.
    pub status: String,
    /// This machine's clock in milliseconds.
    pub timestamp: u64,
    /// The chain's name.
    pub chain: String,
    /// The genesis hash, which every transaction is signed for.
    pub genesis_hash: String,
    /// Where the ledger stands; null before the state is loaded.
    pub head: Option<Head>,
}

/// Whether the process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always ok.
    pub status: String,
}

/// Whether the answers are fresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    /// ready, waiting, loading, behind or stopped.
    pub status: String,
    /// Why it is not ready; empty when it is.
    pub reason: String,
    /// The height that answers are as of; 0 before the state is loaded.
    pub height: u64,
    /// The height that the node has published as committed.
    pub finalized_height: u64,
    /// Committed blocks that the answers do not hold yet.
    pub blocks_behind: u64,
    /// So many may be missing while this says ready.
    pub blocks_behind_max: u64,
}

fn phase_word(phase: &Phase) -> (&'static str, String) {
    match phase {
        Phase::Waiting(what) => ("waiting", what.clone()),
        Phase::Loading => ("loading", "the state is being read".to_owned()),
        Phase::Following => ("healthy", String::new()),
        Phase::Stopped(why) => ("stopped", why.clone()),
    }
}

/// What the service is, and where the ledger stands.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, body = About), Always))]
pub async fn about(State(state): State<ApiState>) -> Json<About> {
    let chain = state.chain();
    let (status, _) = phase_word(&chain.phase());
    Json(About {
        service: "tana-ledger".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        status: status.to_owned(),
        timestamp: wall_ms(),
        chain: chain.genesis().chain.clone(),
        genesis_hash: hex::encode(chain.genesis().hash()),
        head: chain.head().ok(),
    })
}

/// Whether the process runs: 200 as soon as it does. What it answers may be old; see /ready.
#[utoipa::path(get, path = "/health", tag = "service", responses((status = 200, body = Health), Always))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Whether answers are fresh: 503 until the state is loaded and no more than a few final blocks behind.
#[utoipa::path(
    get,
    path = "/ready",
    tag = "service",
    responses(
        (status = 200, body = Ready),
        (status = 408, description = "The request took too long", body = Problem),
        (status = 429, description = "More requests than one address may make", body = Problem),
        (status = 503, description = "The state is not loaded, or too far behind", body = Ready),
    )
)]
pub async fn ready(State(state): State<ApiState>) -> Response {
    let blocks_behind_max = state.config().ready_blocks_behind;
    let (word, reason) = phase_word(&state.chain().phase());
    let head = state.chain().head();
    let (height, finalized_height) = head.as_ref().map_or((0, 0), |head| (head.height, head.finalized_height));
    let blocks_behind = finalized_height.saturating_sub(height);
    let (status, reason) = match (word, head) {
        ("healthy", Ok(_)) if blocks_behind <= blocks_behind_max => ("ready", reason),
        ("healthy", Ok(_)) => ("behind", format!("{blocks_behind} final blocks are not taken in yet; wait")),
        // The state went between the two looks.
        ("healthy", Err(error)) => ("loading", error.to_string()),
        (other, _) => (other, reason),
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let status = status.to_owned();
    (code, Json(Ready { status, reason, height, finalized_height, blocks_behind, blocks_behind_max })).into_response()
}
