//! Accounts, what they hold, and the currencies.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tana_types::amount::print_amount;
use tana_types::currency::CurrencyCode;
use utoipa::IntoParams;

use super::error::Refusal;
use super::extract::{Path, Query, bad_parameter, limit, number_cursor, query_number};
use super::limits::PAGE_MAX;
use super::model::{Balance, BalanceList, CurrencyList, NonceAnswer, OneBalance, TransactionList, User, UserPage};
use super::refusals::{Always, Asked, Looked};
use super::state::ApiState;
use super::transactions::{TransactionsQuery, list_of};
use crate::chain::{AccountView, ChainError};

/// Which page of accounts.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Accounts on the page; 50 when left out.
    #[serde(default, deserialize_with = "query_number")]
    #[param(minimum = 1, maximum = 1000, value_type = u64, required = false)]
    limit: Option<u64>,
    /// `nextCursor` of the page before: an account's index, the page begins behind it.
    #[param(max_length = 10, pattern = "^[0-9]{1,9}$", value_type = String, required = false)]
    cursor: Option<String>,
}

/// Whose balance of what.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BalanceQuery {
    /// The account: a key or an @username.
    #[param(max_length = 72, pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$")]
    owner_id: String,
    /// Always user; may be left out.
    #[param(max_length = 4, pattern = "^user$", value_type = String, required = false)]
    owner_type: Option<String>,
    /// 3 to 10 capital letters.
    #[param(min_length = 3, max_length = 10, pattern = "^[A-Z]{3,10}$")]
    currency_code: String,
}

/// Accounts in order of creation.
#[utoipa::path(
    get, path = "/users", tag = "users", params(UsersQuery),
    responses((status = 200, body = UserPage), Asked, Always)
)]
pub async fn list(State(state): State<ApiState>, Query(query): Query<UsersQuery>) -> Result<Json<UserPage>, Refusal> {
    let limit = limit(query.limit, 50, PAGE_MAX)?;
    let after = match number_cursor(query.cursor.as_deref())? {
        None => None,
        Some(index) => Some(u32::try_from(index).map_err(|_| bad_parameter("`cursor` is no account's index"))?),
    };
    // One more than asked for tells whether there is a next page; the reader's own bound is kept.
    let mut views = state.chain().accounts(after, limit)?;
    let more = match views.last() {
        Some(last) if views.len() == limit => !state.chain().accounts(Some(last.index), 1)?.is_empty(),
        _ => false,
    };
    let next_cursor = views.last().filter(|_| more).map(|last| last.index.to_string());
    Ok(Json(UserPage { users: views.drain(..).map(User::from).collect(), next_cursor }))
}

/// The account with a key or an @username.
#[utoipa::path(
    get, path = "/users/{id}", tag = "users",
    params(("id" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$")),
    responses((status = 200, body = User), Asked, Looked, Always)
)]
pub async fn by_id(State(state): State<ApiState>, Path([id]): Path<1>) -> Result<Json<User>, Refusal> {
    Ok(Json(state.chain().account(&id)?.into()))
}

/// The account with a username, `@` or not.
#[utoipa::path(
    get, path = "/users/username/{name}", tag = "users",
    params(("name" = String, Path, description = "@ may be left out", max_length = 50, pattern = "^@?[a-z0-9_-]{1,49}$")),
    responses((status = 200, body = User), Asked, Looked, Always)
)]
pub async fn by_username(State(state): State<ApiState>, Path([name]): Path<1>) -> Result<Json<User>, Refusal> {
    // With its `@` the name is never taken for a key.
    let name = if name.starts_with('@') { name } else { format!("@{name}") };
    Ok(Json(state.chain().account(&name)?.into()))
}

/// The account with a key.
#[utoipa::path(
    get, path = "/users/publicKey/{key}", tag = "users",
    params(("key" = String, Path, description = "`ed25519_` may be left out", max_length = 72, pattern = "^(ed25519_)?[0-9a-f]{64}$")),
    responses((status = 200, body = User), Asked, Looked, Always)
)]
pub async fn by_key(State(state): State<ApiState>, Path([key]): Path<1>) -> Result<Json<User>, Refusal> {
    let key: tana_types::key::PublicKey = key.parse().map_err(|error| bad_parameter(format!("{error}")))?;
    Ok(Json(state.chain().account(&key.to_string())?.into()))
}

/// What an account holds.
#[utoipa::path(
    get, path = "/users/{id}/balances", tag = "balances",
    params(("id" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$")),
    responses((status = 200, body = BalanceList), Asked, Looked, Always)
)]
pub async fn balances(State(state): State<ApiState>, Path([id]): Path<1>) -> Result<Json<BalanceList>, Refusal> {
    let AccountView { public_key, balances, height, .. } = state.chain().account(&id)?;
    let row = |held: crate::chain::BalanceView| Balance {
        user_id: public_key.clone(),
        currency_code: held.currency_code,
        amount: held.amount,
    };
    Ok(Json(BalanceList { balances: balances.into_iter().map(row).collect(), height }))
}

/// The nonce that an account's next transaction carries.
#[utoipa::path(
    get, path = "/users/{id}/nonce", tag = "users",
    params(("id" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$")),
    responses((status = 200, body = NonceAnswer), Asked, Looked, Always)
)]
pub async fn nonce(State(state): State<ApiState>, Path([id]): Path<1>) -> Result<Json<NonceAnswer>, Refusal> {
    let account = state.chain().account(&id)?;
    let next_nonce = account.nonce.saturating_add(1);
    Ok(Json(NonceAnswer {
        user_id: account.public_key,
        username: account.username,
        current_nonce: account.nonce,
        next_nonce,
        message: format!("use nonce {next_nonce}, and one more for each transaction that is under way"),
    }))
}

/// The transactions from or to an account, newest first.
#[utoipa::path(
    get, path = "/users/{id}/transactions", tag = "users",
    params(("id" = String, Path, description = "A key or an @username", max_length = 72,
        pattern = "^((ed25519_)?[0-9a-f]{64}|@?[a-z0-9_-]{1,49})$"), TransactionsQuery),
    responses((status = 200, body = TransactionList), Asked, Looked, Always)
)]
pub async fn transactions(
    State(state): State<ApiState>,
    Path([id]): Path<1>,
    Query(query): Query<TransactionsQuery>,
) -> Result<Json<TransactionList>, Refusal> {
    let (before, limit) = query.page(10)?;
    let page = state.read(move |chain| chain.account_transactions(&id, before, limit)).await?;
    Ok(Json(list_of(page)))
}

/// What an account holds of a currency; zero when it never held it.
#[utoipa::path(
    get, path = "/balances", tag = "balances", params(BalanceQuery),
    responses((status = 200, body = OneBalance), Asked, Looked, Always)
)]
pub async fn balance(
    State(state): State<ApiState>,
    Query(query): Query<BalanceQuery>,
) -> Result<Json<OneBalance>, Refusal> {
    if query.owner_type.is_some_and(|owner_type| owner_type != "user") {
        return Err(bad_parameter("`ownerType` must be `user` or left out: only accounts hold money"));
    }
    let code: CurrencyCode = query.currency_code.parse().map_err(|error| bad_parameter(format!("{error}")))?;
    let code = code.to_string();
    let account = state.chain().account(&query.owner_id)?;
    let Some(currency) = state.chain().currencies()?.into_iter().find(|currency| currency.code == code) else {
        return Err(
            ChainError::NotFound(format!("there is no currency {code}; GET /balances/currencies lists them")).into()
        );
    };
    let held = account.balances.into_iter().find(|held| held.currency_code == code);
    let amount = held.map_or_else(|| print_amount(0, currency.decimals), |held| held.amount);
    let (user_id, height) = (account.public_key, account.height);
    Ok(Json(OneBalance { user_id, currency_code: code, balance: amount.clone(), amount, height }))
}

/// All currencies, in order of creation.
#[utoipa::path(
    get, path = "/balances/currencies", tag = "balances",
    responses((status = 200, body = CurrencyList), Always)
)]
pub async fn currencies(State(state): State<ApiState>) -> Result<Json<CurrencyList>, Refusal> {
    Ok(Json(CurrencyList { currencies: state.chain().currencies()? }))
}
