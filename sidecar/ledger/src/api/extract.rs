//! Path and query of a request, checked: whatever does not fit is a 400 that names the parameter, never a plain text.

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use tana_http::error::ApiError;

use super::error::Refusal;
use super::limits::{NUMBER_MAX, PAGE_MAX};

/// Bytes of a query text that are shown back.
const SHOWN: usize = 40;

/// The query of a request as a `T`.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(bad_parameter(rejection.body_text())),
        }
    }
}

/// The parameters of a path, in order, as texts.
#[derive(Debug, Clone)]
pub struct Path<const N: usize>(pub [String; N]);

impl<S: Send + Sync, const N: usize> FromRequestParts<S> for Path<N> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Ok(raw) = RawPathParams::from_request_parts(parts, state).await else {
            return Err(bad_parameter("the path is not UTF-8 behind its percent signs"));
        };
        let texts: Vec<String> = raw.iter().map(|(_, text)| text.to_owned()).collect();
        match texts.try_into() {
            Ok(texts) => Ok(Self(texts)),
            Err(_) => Err(bad_parameter("the path has another number of parameters")),
        }
    }
}

/// 400 `bad_parameter`.
pub fn bad_parameter(message: impl Into<String>) -> Refusal {
    ApiError::bad_request(message).with_code("bad_parameter").into()
}

/// The beginning of what was given, for a message.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// A whole number of decimal digits, at most [`NUMBER_MAX`]. `what` names it in the refusal.
pub fn number(what: &str, text: &str) -> Result<u64, Refusal> {
    parse_number(text).ok_or_else(|| {
        bad_parameter(format!("`{}` is no {what}: write a whole number up to {NUMBER_MAX}", shown(text)))
    })
}

fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= NUMBER_MAX)
}

/// 32 bytes as 64 hexadecimal digits. `what` names them in the refusal.
pub fn hash(what: &str, text: &str) -> Result<[u8; 32], Refusal> {
    let mut bytes = [0; 32];
    match hex::decode_to_slice(text, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(bad_parameter(format!("`{}` is no {what}: write 64 hexadecimal digits", shown(text)))),
    }
}

/// The number of a query parameter: digits and nothing else, so no sign, fraction or blank.
pub fn query_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_number(&text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("`{}` is not a whole number from 0 to {NUMBER_MAX}", shown(&text))))
}

/// How many entries a page has: 1 to `max`, else 400.
pub fn limit(given: Option<u64>, default: u32, max: u32) -> Result<usize, Refusal> {
    match given {
        None => Ok(default as usize),
        Some(limit) if (1..=u64::from(max.min(PAGE_MAX))).contains(&limit) => Ok(limit as usize),
        Some(limit) => Err(bad_parameter(format!("`limit` is {limit}, but must be 1 to {max}"))),
    }
}

/// A cursor that is a number.
pub fn number_cursor(cursor: Option<&str>) -> Result<Option<u64>, Refusal> {
    cursor.map(|text| number("cursor of this list", text)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(number("height", "0").unwrap(), 0);
        assert_eq!(number("height", "9007199254740991").unwrap(), NUMBER_MAX);
        for bad in ["", "+1", "-1", " 1", "1.0", "1e3", "0x1", "9007199254740992", "99999999999999999999", "١"] {
            assert!(number("height", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_limit_is_one_to_the_most() {
        assert_eq!(limit(None, 10, 100).unwrap(), 10);
        assert_eq!(limit(Some(100), 10, 100).unwrap(), 100);
        assert!(limit(Some(0), 10, 100).is_err() && limit(Some(101), 10, 100).is_err());
    }

    #[test]
    fn a_refusal_shows_no_more_than_the_beginning_of_what_was_given() {
        let refusal = hash("identifier", &"é".repeat(5_000)).unwrap_err();
        assert!(refusal.error.message.len() < 200);
    }
}
