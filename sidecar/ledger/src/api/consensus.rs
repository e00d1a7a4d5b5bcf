//! What validators agreed on: the sets, certificates, ranges of blocks, proofs of accounts.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::blocks::with_transactions;
use super::error::Refusal;
use super::extract::{Path, Query, bad_parameter, hash, number, query_number};
use super::limits::{EMBEDDED_DEFAULT, RANGE_MAX};
use super::model::Block;
use super::refusals::{Always, Asked, Looked};
use super::state::ApiState;
use crate::chain::proof::AccountProof;
use crate::chain::{CertificateView, ChainError, ValidatorSetView};

/// Which set of validators.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ValidatorsQuery {
    /// The epoch: the current one when left out, or a later one as far as it is known.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 0, maximum = 9007199254740991_u64, value_type = u64, required = false)]
    epoch: Option<u64>,
}

/// What made a block final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quorum {
    /// The block's hash.
    pub block_hash: String,
    /// Its height.
    pub block_height: u64,
    /// Its epoch.
    pub epoch: u64,
    /// Validators of that epoch; null when the epoch is over and its set is not kept.
    pub total_validators: Option<u64>,
    /// Votes that make a block final, more than two thirds; null as above.
    pub required: Option<u32>,
    /// Always true: a block that this ledger knows is final.
    pub has_quorum: bool,
    /// The nearest certificate, of this block or of a block built on it; null where validators do not vote (consensus off) or none has come.
    pub certificate: Option<CertificateView>,
}

/// Blocks in ascending order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockRange {
    /// The blocks; fewer than asked for at the head.
    pub blocks: Vec<Block>,
}

/// The validators of an epoch.
#[utoipa::path(
    get, path = "/validators", tag = "consensus", params(ValidatorsQuery),
    responses((status = 200, body = ValidatorSetView), Asked, Looked, Always)
)]
pub async fn validators(
    State(state): State<ApiState>,
    Query(query): Query<ValidatorsQuery>,
) -> Result<Json<ValidatorSetView>, Refusal> {
    Ok(Json(state.chain().validators(query.epoch)?))
}

/// What made the block with a hash final.
#[utoipa::path(
    get, path = "/consensus/quorum/{hash}", tag = "consensus",
    params(("hash" = String, Path, description = "64 hexadecimal digits", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, body = Quorum), Asked, Looked, Always)
)]
pub async fn quorum(State(state): State<ApiState>, Path([text]): Path<1>) -> Result<Json<Quorum>, Refusal> {
    let wanted = hash("block hash", &text)?;
    let quorum = state.read(move |chain| {
        let block = chain.block_by_hash(&wanted)?;
        let certificate = match chain.certificate(block.height) {
            Ok(certificate) => Some(certificate),
            Err(ChainError::NotFound(_)) => None,
            Err(other) => return Err(other),
        };
        let set = match chain.validators(Some(block.epoch)) {
            Ok(set) => Some(set),
            Err(ChainError::NotFound(_)) => None,
            Err(other) => return Err(other),
        };
        Ok(Quorum {
            block_hash: block.hash.clone(),
            block_height: block.height,
            epoch: block.epoch,
            total_validators: set.as_ref().map(|set| set.validators.len() as u64),
            required: set.as_ref().map(|set| set.required),
            has_quorum: true,
            certificate,
        })
    });
    Ok(Json(quorum.await?))
}

/// The blocks from one height to another, both included, ascending; at most 100.
#[utoipa::path(
    get, path = "/consensus/blocks/{from}/{to}", tag = "consensus",
    params(
        ("from" = u64, Path, description = "The first height, from 1", minimum = 1, maximum = 9007199254740991_u64),
        ("to" = u64, Path, description = "The last height, at most 99 above the first", minimum = 1, maximum = 9007199254740991_u64),
    ),
    responses((status = 200, body = BlockRange), Asked, Looked, Always)
)]
pub async fn range(State(state): State<ApiState>, Path([from, to]): Path<2>) -> Result<Json<BlockRange>, Refusal> {
    let (from, to) = (number("height", &from)?, number("height", &to)?);
    if from == 0 || to < from || to - from >= RANGE_MAX {
        return Err(bad_parameter(format!("ask for 1 to {RANGE_MAX} blocks: FROM from 1, TO at or above it")));
    }
    let blocks = state.read(move |chain| {
        let head = chain.head()?;
        if from > head.height {
            return Ok(Vec::new());
        }
        let to = to.min(head.height);
        if from < head.oldest_height {
            return Err(ChainError::Pruned { what: format!("block {from}"), oldest: head.oldest_height });
        }
        let mut views = chain.blocks(Some(to + 1), (to - from + 1) as usize)?;
        views.reverse();
        Ok(views.iter().map(|view| Block::from(&**view)).collect())
    });
    Ok(Json(BlockRange { blocks: blocks.await? }))
}

/// The block with a hash, with its first 100 transactions.
#[utoipa::path(
    get, path = "/consensus/block/{hash}", tag = "consensus",
    params(("hash" = String, Path, description = "64 hexadecimal digits", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, body = Block), Asked, Looked, Always)
)]
pub async fn block(State(state): State<ApiState>, Path([text]): Path<1>) -> Result<Json<Block>, Refusal> {
    let wanted = hash("block hash", &text)?;
    let block = state.read(move |chain| {
        let view = chain.block_by_hash(&wanted)?;
        with_transactions(chain, &view, EMBEDDED_DEFAULT as usize)
    });
    Ok(Json(block.await?))
}

/// A proof of what an account is at an attested height, or that no account has the key. `tana proof verify` checks it against the genesis.
#[utoipa::path(
    get, path = "/proofs/accounts/{key}", tag = "proofs",
    params(("key" = String, Path, description = "A key, or the @username of an account that exists", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@[a-z0-9_-]{1,49})$")),
    responses((status = 200, body = AccountProof), Asked, Looked, Always)
)]
pub async fn account_proof(State(state): State<ApiState>, Path([key]): Path<1>) -> Result<Json<AccountProof>, Refusal> {
    Ok(Json(state.read(move |chain| chain.account_proof(&key)).await?))
}
