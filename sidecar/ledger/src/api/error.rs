//! How what the reader says becomes an HTTP refusal.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tana_http::error::ApiError;

use crate::chain::ChainError;

/// A refusal, with the seconds after which to try again where that may help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is said.
    pub error: ApiError,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// 503 with `Retry-After: 1`: all places are taken at this moment.
    pub fn busy(code: &'static str, message: impl Into<String>) -> Self {
        Self { error: ApiError::unavailable(message).with_code(code), retry_after: Some(1) }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { error, retry_after: None }
    }
}

impl From<ChainError> for Refusal {
    fn from(error: ChainError) -> Self {
        let code = error.code();
        let message = error.to_string();
        let (status, retry_after) = match &error {
            ChainError::NotFound(_) => (StatusCode::NOT_FOUND, None),
            ChainError::Pruned { .. } => (StatusCode::GONE, None),
            ChainError::Invalid(_) => (StatusCode::BAD_REQUEST, None),
            ChainError::NotReady(_) | ChainError::TooLong | ChainError::TimeOver => {
                (StatusCode::SERVICE_UNAVAILABLE, Some(2))
            }
            ChainError::Stopped(_) | ChainError::Read(_) => {
                tracing::warn!(code, "{message}");
                (StatusCode::SERVICE_UNAVAILABLE, Some(10))
            }
        };
        Self { error: ApiError::new(status, code, message), retry_after }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.error.into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_of_the_reader_is_a_500_and_what_may_pass_says_when_to_try_again() {
        let errors = [
            ChainError::NotReady("x".to_owned()),
            ChainError::Stopped("x".to_owned()),
            ChainError::NotFound("x".to_owned()),
            ChainError::Pruned { what: "block 3".to_owned(), oldest: 9 },
            ChainError::Invalid("x".to_owned()),
            ChainError::TooLong,
            ChainError::TimeOver,
            ChainError::Read("x".to_owned()),
        ];
        for error in errors {
            let code = error.code();
            let refusal = Refusal::from(error);
            assert_ne!(refusal.error.status, StatusCode::INTERNAL_SERVER_ERROR, "{code}");
            assert_eq!(refusal.error.code, code);
            let temporary = refusal.error.status == StatusCode::SERVICE_UNAVAILABLE;
            assert_eq!(refusal.retry_after.is_some(), temporary, "{code}");
        }
    }
}
