//! Transactions: by identifier, by account, the newest, and what waits for the sovereign.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::Refusal;
use super::extract::{Path, Query, hash, limit, query_number};
use super::limits::PAGE_MAX;
use super::model::{Pending, PendingPage, Transaction, TransactionList};
use super::refusals::{Always, Asked, Looked};
use super::state::ApiState;
use crate::chain::{Chain, ChainError, PAGE_MAX as READER_PAGE_MAX, PendingView, Place, TransactionPage};

/// Which page of a list of transactions.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TransactionsQuery {
    /// Transactions on the page; 100 when left out (10 under /users).
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 1, maximum = 1000, value_type = u64, required = false)]
    limit: Option<u64>,
    /// `nextCursor` of the page before: HEIGHT-INDEX, the page begins below that place.
    #[param(max_length = 30, pattern = "^[0-9]{1,13}-[0-9]{1,8}$", value_type = String, required = false)]
    cursor: Option<String>,
}

/// Which page of what waits.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PendingQuery {
    /// Entries on the page; 100 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 1, maximum = 1000, value_type = u64, required = false)]
    limit: Option<u64>,
    /// `nextCursor` of the page before: an identifier, the page begins behind it.
    #[param(max_length = 64, pattern = "^[0-9a-f]{64}$", value_type = String, required = false)]
    cursor: Option<String>,
}

impl TransactionsQuery {
    /// Place and limit of the page.
    pub(super) fn page(&self, default: u32) -> Result<(Option<Place>, usize), Refusal> {
        let before = self.cursor.as_deref().map(str::parse::<Place>).transpose()?;
        Ok((before, limit(self.limit, default, PAGE_MAX)?))
    }
}

pub(super) fn list_of(page: TransactionPage) -> TransactionList {
    TransactionList {
        transactions: page.transactions.into_iter().map(Transaction::from).collect(),
        next_cursor: page.next.map(|place| place.to_string()),
    }
}

/// The newest transactions, newest first.
#[utoipa::path(
    get, path = "/transactions", tag = "transactions", params(TransactionsQuery),
    responses((status = 200, body = TransactionList), Asked, Looked, Always)
)]
pub async fn list(
    State(state): State<ApiState>,
    Query(query): Query<TransactionsQuery>,
) -> Result<Json<TransactionList>, Refusal> {
    let (before, limit) = query.page(100)?;
    let page = state.read(move |chain| chain.transactions(before, limit)).await?;
    Ok(Json(list_of(page)))
}

/// A transaction: where it took effect, else where it failed, else where it was passed over.
#[utoipa::path(
    get, path = "/transactions/{id}", tag = "transactions",
    params(("id" = String, Path, description = "64 hexadecimal digits", pattern = "^[0-9a-f]{64}$")),
    responses((status = 200, body = Transaction), Asked, Looked, Always)
)]
pub async fn by_id(State(state): State<ApiState>, Path([text]): Path<1>) -> Result<Json<Transaction>, Refusal> {
    let id = hash("identifier of a transaction", &text)?;
    let view = state.read(move |chain| chain.transaction(&id)).await?;
    Ok(Json(view.into()))
}

/// The transactions from or to an account, newest first.
#[utoipa::path(
    get, path = "/transactions/account/{account}", tag = "transactions",
    params(("account" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$"), TransactionsQuery),
    responses((status = 200, body = TransactionList), Asked, Looked, Always)
)]
pub async fn by_account(
    State(state): State<ApiState>,
    Path([account]): Path<1>,
    Query(query): Query<TransactionsQuery>,
) -> Result<Json<TransactionList>, Refusal> {
    let (before, limit) = query.page(100)?;
    let page = state.read(move |chain| chain.account_transactions(&account, before, limit)).await?;
    Ok(Json(list_of(page)))
}

/// A page of what waits, of one kind or of both.
fn pending_page(
    chain: &Chain,
    mut after: Option<[u8; 32]>,
    limit: usize,
    kind: Option<&'static str>,
) -> Result<(Vec<PendingView>, bool), ChainError> {
    let mut found: Vec<PendingView> = Vec::new();
    loop {
        let page = chain.pending(after, READER_PAGE_MAX)?;
        let is_last = page.len() < READER_PAGE_MAX;
        let end = page.last().and_then(|last| hex::decode(&last.request).ok());
        for view in page {
            if kind.is_none_or(|kind| view.kind == kind) {
                found.push(view);
            }
            if found.len() > limit {
                found.truncate(limit);
                return Ok((found, true));
            }
        }
        after = end.and_then(|bytes| bytes.try_into().ok());
        if is_last || after.is_none() {
            return Ok((found, false));
        }
    }
}

async fn pending_of(
    state: ApiState,
    query: PendingQuery,
    kind: Option<&'static str>,
) -> Result<Json<PendingPage>, Refusal> {
    let limit = limit(query.limit, 100, PAGE_MAX)?;
    let after = query.cursor.as_deref().map(|text| hash("cursor of this list", text)).transpose()?;
    // From memory, but up to 65,536 entries may have to be passed over: not on a thread that serves others.
    let (views, more) = state.read(move |chain| pending_page(chain, after, limit, kind)).await?;
    let next_cursor = views.last().filter(|_| more).map(|last| last.request.clone());
    let transactions: Vec<Pending> = views.into_iter().map(Pending::from).collect();
    Ok(Json(PendingPage { count: transactions.len() as u64, transactions, next_cursor }))
}

/// Deposits and withdrawals that wait for the sovereign.
#[utoipa::path(
    get, path = "/pending", tag = "pending", params(PendingQuery),
    responses((status = 200, body = PendingPage), Asked, Always)
)]
pub async fn pending(
    State(state): State<ApiState>,
    Query(query): Query<PendingQuery>,
) -> Result<Json<PendingPage>, Refusal> {
    pending_of(state, query, None).await
}

/// The same as /pending.
#[utoipa::path(
    get, path = "/transactions/pending", tag = "pending", params(PendingQuery),
    responses((status = 200, body = PendingPage), Asked, Always)
)]
pub async fn transactions_pending(
    State(state): State<ApiState>,
    Query(query): Query<PendingQuery>,
) -> Result<Json<PendingPage>, Refusal> {
    pending_of(state, query, None).await
}

/// Deposits that wait for the sovereign.
#[utoipa::path(
    get, path = "/transactions/pending/deposits", tag = "pending", params(PendingQuery),
    responses((status = 200, body = PendingPage), Asked, Always)
)]
pub async fn pending_deposits(
    State(state): State<ApiState>,
    Query(query): Query<PendingQuery>,
) -> Result<Json<PendingPage>, Refusal> {
    pending_of(state, query, Some("deposit")).await
}

/// Withdrawals that wait for the sovereign.
#[utoipa::path(
    get, path = "/transactions/pending/withdraws", tag = "pending", params(PendingQuery),
    responses((status = 200, body = PendingPage), Asked, Always)
)]
pub async fn pending_withdraws(
    State(state): State<ApiState>,
    Query(query): Query<PendingQuery>,
) -> Result<Json<PendingPage>, Refusal> {
    pending_of(state, query, Some("withdraw")).await
}

/// All that only the sovereign can decide: the same as /pending.
#[utoipa::path(
    get, path = "/transactions/pending/sovereign", tag = "pending", params(PendingQuery),
    responses((status = 200, body = PendingPage), Asked, Always)
)]
pub async fn pending_sovereign(
    State(state): State<ApiState>,
    Query(query): Query<PendingQuery>,
) -> Result<Json<PendingPage>, Refusal> {
    pending_of(state, query, None).await
}
