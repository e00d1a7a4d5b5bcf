//! Checks a block that somebody shows: against the chain where the chain has a block at its height, else as the next one. Writes nothing.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tana_engine::clock::wall_ms;
use tana_http::error::Body;
use tana_types::header::{BlockHeader, HEADER_BYTES_MAX};
use tana_types::key::PublicKey;
use utoipa::ToSchema;

use super::blocks::with_transactions;
use super::error::Refusal;
use super::extract::bad_parameter;
use super::limits::EMBEDDED_MAX;
use super::refusals::{Always, Asked, Sent};
use super::state::ApiState;
use crate::chain::{Chain, ChainError};

/// How far a block's time may be ahead of this clock: what validators themselves allow.
const AHEAD_MS: u64 = 500;

/// A block to look at.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateRequest {
    /// Either `header`, the canonical bytes in hexadecimal, or any of the fields of a block as this API gives them, `height` or `hash`
    /// among them; each field that is there is compared.
    #[schema(value_type = Object, example = json!({"height": 1}))]
    block: Map<String, Value>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ValidateAnswer {
    /// Whether nothing was found wrong.
    pub valid: bool,
    /// What is wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True when it was compared with the committed block of its height; false when it could only be checked as the next one.
    pub known: bool,
}

impl ValidateAnswer {
    fn new(known: bool, reason: Option<String>) -> Self {
        Self { valid: reason.is_none(), reason, known }
    }
}

/// Checks a block: the recomputed hash, and every field that is given.
#[utoipa::path(
    post, path = "/consensus/validate", tag = "consensus", request_body = ValidateRequest,
    responses((status = 200, body = ValidateAnswer), Asked, Sent, Always)
)]
pub async fn validate(
    State(state): State<ApiState>,
    body: Result<Body<ValidateRequest>, tana_http::error::ApiError>,
) -> Result<Json<ValidateAnswer>, Refusal> {
    let Body(ValidateRequest { mut block }) = body?;
    let header = match block.remove("header") {
        None => None,
        Some(Value::String(digits)) => Some(decode(&digits)?),
        Some(_) => return Err(bad_parameter("`block.header` must be hexadecimal digits")),
    };
    let answer = state.read(move |chain| match header {
        Some(header) => check_header(chain, &header, &block),
        None => check_fields(chain, &block),
    });
    Ok(Json(answer.await?))
}

fn decode(digits: &str) -> Result<BlockHeader, Refusal> {
    if digits.len() > 2 * HEADER_BYTES_MAX {
        return Err(bad_parameter(format!("`block.header` has at most {} digits", 2 * HEADER_BYTES_MAX)));
    }
    let bytes = hex::decode(digits).map_err(|_| bad_parameter("`block.header` must be hexadecimal digits"))?;
    BlockHeader::decode(&bytes).map_err(|error| bad_parameter(format!("`block.header` is no header: {error}")))
}

/// Where to find our own block, if there is one.
fn ours(chain: &Chain, given: &Map<String, Value>) -> Result<Option<u64>, ChainError> {
    let by_height = given.get("height").and_then(Value::as_u64);
    let by_hash = given.get("hash").and_then(Value::as_str);
    match (by_height, by_hash) {
        (Some(height), _) => Ok(Some(height)),
        (None, Some(digits)) => {
            let mut hash = [0; 32];
            if hex::decode_to_slice(digits, &mut hash).is_err() {
                return Err(ChainError::Invalid("`block.hash` must be 64 hexadecimal digits".to_owned()));
            }
            match chain.block_by_hash(&hash) {
                Ok(block) => Ok(Some(block.height)),
                Err(ChainError::NotFound(_)) => Ok(None),
                Err(other) => Err(other),
            }
        }
        (None, None) => Err(ChainError::Invalid(
            "give `block.header`, `block.height` or `block.hash` to say which block it is".to_owned(),
        )),
    }
}

fn check_fields(chain: &Chain, given: &Map<String, Value>) -> Result<ValidateAnswer, ChainError> {
    let Some(height) = ours(chain, given)? else {
        return Ok(ValidateAnswer::new(false, Some("no committed block has this hash".to_owned())));
    };
    let view = match chain.block(height) {
        Ok(view) => view,
        Err(ChainError::NotFound(reason)) => return Ok(ValidateAnswer::new(false, Some(reason))),
        Err(other) => return Err(other),
    };
    let shown = given.get("transactions").and_then(Value::as_array).map_or(0, Vec::len);
    if shown > EMBEDDED_MAX as usize {
        return Err(ChainError::Invalid(format!("`block.transactions` has at most {EMBEDDED_MAX} entries here")));
    }
    let Ok(Value::Object(ours)) = serde_json::to_value(with_transactions(chain, &view, shown)?) else {
        return Err(ChainError::Read("the block cannot be written as JSON".to_owned()));
    };
    // Where more transactions follow is no property of the block.
    let differing = given.iter().find(|(name, value)| *name != "transactionsCursor" && ours.get(*name) != Some(value));
    Ok(ValidateAnswer::new(
        true,
        differing.map(|(name, _)| match ours.contains_key(name) {
            true => format!("`{}` differs from the committed block {height}", short(name)),
            false => format!("a block has no field `{}`", short(name)),
        }),
    ))
}

fn check_header(chain: &Chain, header: &BlockHeader, given: &Map<String, Value>) -> Result<ValidateAnswer, ChainError> {
    let hash = hex::encode(header.hash());
    let said: [(&str, Value); 6] = [
        ("height", header.height.into()),
        ("hash", hash.clone().into()),
        ("previousHash", hex::encode(header.parent).into()),
        ("timestamp", header.timestamp_ms.into()),
        ("producer", PublicKey(header.proposer).to_string().into()),
        ("txRoot", hex::encode(header.transaction_root).into()),
    ];
    let contradicted = given.iter().find(|(name, value)| said.iter().all(|(said, is)| said != name || is != *value));
    if let Some((name, _)) = contradicted {
        return Ok(ValidateAnswer::new(false, Some(format!("`{}` is not what the header says", short(name)))));
    }
    let head = chain.head()?;
    if header.height <= head.height {
        let view = chain.block(header.height)?;
        let reason =
            (view.hash != hash).then(|| format!("the committed block {} has the hash {}", view.height, view.hash));
        return Ok(ValidateAnswer::new(true, reason));
    }
    let reason = if header.height > head.height + 1 {
        Some(format!("its height is {}, but the next one is {}", header.height, head.height + 1))
    } else if hex::encode(header.parent) != head.hash {
        Some(format!("its parent is not the committed block {}, which has the hash {}", head.height, head.hash))
    } else if header.timestamp_ms <= head.timestamp_ms {
        Some("its time is not above its parent's".to_owned())
    } else if header.timestamp_ms > wall_ms() + AHEAD_MS {
        Some(format!("its time is more than {AHEAD_MS} ms ahead of this clock"))
    } else {
        None
    };
    Ok(ValidateAnswer::new(false, reason))
}

fn short(name: &str) -> String {
    super::extract::shown(name)
}
