//! Blocks: by height, by hash, the latest, pages of them, and their transactions.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::Refusal;
use super::extract::{Path, Query, bad_parameter, hash, limit, number, number_cursor, query_number};
use super::limits::{BLOCKS_PAGE_MAX, EMBEDDED_DEFAULT, EMBEDDED_MAX, NUMBER_MAX, PAGE_MAX};
use super::model::{Block, BlockPage, Transaction, TransactionList};
use super::refusals::{Always, Asked, Looked};
use super::state::ApiState;
use crate::chain::{BlockView, Chain, ChainError};

/// Which page of blocks.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BlocksQuery {
    /// Blocks on the page; 10 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 1, maximum = 100, value_type = u64, required = false)]
    limit: Option<u64>,
    /// `nextCursor` of the page before: a height, the page begins below it.
    #[param(max_length = 16, pattern = "^[0-9]{1,15}$", value_type = String, required = false)]
    cursor: Option<String>,
}

/// How many transactions come along with a block.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EmbedQuery {
    /// The first so many transactions of the block come along; 100 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 0, maximum = 1000, value_type = u64, required = false)]
    transactions: Option<u64>,
}

/// Which page of a block's transactions.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BlockTransactionsQuery {
    /// Transactions on the page; 100 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 1, maximum = 1000, value_type = u64, required = false)]
    limit: Option<u64>,
    /// `nextCursor` of the page before: a place in the block, the page begins behind it.
    #[param(max_length = 10, pattern = "^[0-9]{1,9}$", value_type = String, required = false)]
    cursor: Option<String>,
}

impl EmbedQuery {
    fn count(&self) -> Result<usize, Refusal> {
        match self.transactions {
            None => Ok(EMBEDDED_DEFAULT as usize),
            Some(count) if count <= u64::from(EMBEDDED_MAX) => Ok(count as usize),
            Some(count) => Err(bad_parameter(format!("`transactions` is {count}, but must be 0 to {EMBEDDED_MAX}"))),
        }
    }
}

/// A block with its first `count` transactions.
pub(super) fn with_transactions(chain: &Chain, view: &BlockView, count: usize) -> Result<Block, ChainError> {
    let mut block = Block::from(view);
    let mut transactions = Vec::new();
    if count > 0 && view.tx_count > 0 {
        let views = chain.block_transactions(view.height, None, count)?;
        transactions = views.into_iter().map(Transaction::from).collect();
    }
    if let Some(last) = transactions.last().filter(|_| transactions.len() < view.tx_count as usize) {
        block.transactions_cursor = Some(last.index.to_string());
    }
    block.transactions = Some(transactions);
    Ok(block)
}

/// Blocks, newest first.
#[utoipa::path(
    get, path = "/blocks", tag = "blocks", params(BlocksQuery),
    responses((status = 200, body = BlockPage), Asked, Always)
)]
pub async fn list(State(state): State<ApiState>, Query(query): Query<BlocksQuery>) -> Result<Json<BlockPage>, Refusal> {
    let limit = limit(query.limit, 10, BLOCKS_PAGE_MAX)?;
    let before = number_cursor(query.cursor.as_deref())?;
    let views = state.read(move |chain| chain.blocks(before, limit)).await?;
    let oldest = state.chain().head()?.oldest_height.max(1);
    let next = views.last().filter(|last| views.len() == limit && last.height > oldest);
    let next_cursor = next.map(|last| last.height.to_string());
    Ok(Json(BlockPage { blocks: views.iter().map(|view| Block::from(&**view)).collect(), next_cursor }))
}

/// The latest committed block.
#[utoipa::path(
    get, path = "/blocks/latest", tag = "blocks", params(EmbedQuery),
    responses((status = 200, body = Block), Asked, Looked, Always)
)]
pub async fn latest(State(state): State<ApiState>, Query(query): Query<EmbedQuery>) -> Result<Json<Block>, Refusal> {
    let count = query.count()?;
    let block = state.read(move |chain| {
        let height = chain.head()?.height;
        if height == 0 {
            return Err(ChainError::NotFound("there is no block yet: the chain stands at its genesis".to_owned()));
        }
        with_transactions(chain, &*chain.block(height)?, count)
    });
    Ok(Json(block.await?))
}

/// The block at a height.
#[utoipa::path(
    get, path = "/blocks/{height}", tag = "blocks",
    params(("height" = u64, Path, description = "From 1; 0 is the genesis, which has no block", minimum = 0, maximum = 9007199254740991_u64), EmbedQuery),
    responses((status = 200, body = Block), Asked, Looked, Always)
)]
pub async fn at_height(
    State(state): State<ApiState>,
    Path([height]): Path<1>,
    Query(query): Query<EmbedQuery>,
) -> Result<Json<Block>, Refusal> {
    let height = number("height", &height)?;
    let count = query.count()?;
    let block = state.read(move |chain| with_transactions(chain, &*chain.block(height)?, count));
    Ok(Json(block.await?))
}

/// The block with a hash, among the newest million.
#[utoipa::path(
    get, path = "/blocks/hash/{hash}", tag = "blocks",
    params(("hash" = String, Path, description = "64 hexadecimal digits", pattern = "^[0-9a-f]{64}$"), EmbedQuery),
    responses((status = 200, body = Block), Asked, Looked, Always)
)]
pub async fn by_hash(
    State(state): State<ApiState>,
    Path([text]): Path<1>,
    Query(query): Query<EmbedQuery>,
) -> Result<Json<Block>, Refusal> {
    let wanted = hash("block hash", &text)?;
    let count = query.count()?;
    let block = state.read(move |chain| with_transactions(chain, &*chain.block_by_hash(&wanted)?, count));
    Ok(Json(block.await?))
}

/// The transactions of a block, in the order of execution.
#[utoipa::path(
    get, path = "/blocks/{height}/transactions", tag = "blocks",
    params(("height" = u64, Path, description = "From 1", minimum = 0, maximum = 9007199254740991_u64), BlockTransactionsQuery),
    responses((status = 200, body = TransactionList), Asked, Looked, Always)
)]
pub async fn transactions(
    State(state): State<ApiState>,
    Path([height]): Path<1>,
    Query(query): Query<BlockTransactionsQuery>,
) -> Result<Json<TransactionList>, Refusal> {
    let height = number("height", &height)?;
    let limit = limit(query.limit, 100, PAGE_MAX)?;
    let after = match number_cursor(query.cursor.as_deref())? {
        None => None,
        Some(place) => Some(u32::try_from(place).map_err(|_| bad_parameter("`cursor` is no place in a block"))?),
    };
    let (views, count) = state
        .read(move |chain| {
            let count = chain.block(height)?.tx_count;
            Ok((chain.block_transactions(height, after, limit)?, count))
        })
        .await?;
    let next = views.last().filter(|last| u64::from(last.index) + 1 < u64::from(count));
    let next_cursor = next.map(|last| last.index.to_string());
    Ok(Json(TransactionList { transactions: views.into_iter().map(Transaction::from).collect(), next_cursor }))
}

const _: () = assert!(NUMBER_MAX == 9_007_199_254_740_991, "the document's maxima say so");
