//! Routes of the replaced ledger that wrote without a signature. They write nothing any more: each says what to do instead.

use axum::http::StatusCode;
use tana_http::error::ApiError;

fn gone(message: &'static str) -> ApiError {
    ApiError::new(StatusCode::GONE, "retired", message)
}

/// PATCH and DELETE /users/:id.
pub async fn user() -> ApiError {
    gone(
        "an account is changed by nobody but its holder and the sovereign, by signed transactions: a role by `role_change`; names and \
         biography are given once, by `user_creation`; an account is never deleted. Send them to POST /transactions.",
    )
}

/// POST /balances.
pub async fn balance() -> ApiError {
    gone(
        "a balance is set by the sovereign's signed transaction `balance_adjustment`, with a reason. Send it to POST /transactions.",
    )
}

/// POST /balances/currencies and /balances/currencies/seed.
pub async fn currency() -> ApiError {
    gone(
        "a currency is created by the genesis or by the sovereign's signed transaction `currency_creation`. Send it to POST /transactions.",
    )
}

/// POST /transactions/:id/confirm.
pub async fn confirm() -> ApiError {
    gone(
        "a deposit or withdrawal is decided by the sovereign's signed transaction `deposit_confirmation` or `withdrawal_confirmation`. Send it to \
         POST /transactions.",
    )
}

/// POST /consensus/votes.
pub async fn votes() -> ApiError {
    gone(
        "validators vote on their own authenticated links, never over HTTP. GET /consensus/quorum/:hash tells what came of it.",
    )
}

/// /contracts and everything below it.
pub async fn contracts() -> ApiError {
    gone(
        "this ledger runs no contracts. What its core contracts did are kinds of transactions now; see docs/protocol.md.",
    )
}
