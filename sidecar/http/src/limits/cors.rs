//! Which pages of other origins may ask from a browser.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Method, header};
use thiserror::Error;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// How long a browser may remember what it may do.
const PREFLIGHT_AGE: Duration = Duration::from_secs(600);

/// Which other origins may ask. No credentials of a browser (cookies) are ever used here, so `*` gives nobody anything but what is public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cors {
    /// Only the page's own origin.
    #[default]
    None,
    /// Every origin.
    Any,
    /// These, as `https://host` or `https://host:port`.
    Origins(Vec<HeaderValue>),
}

/// A text that is no list of origins.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an origin: give `*`, `none`, or `http://host:port` and others like it with commas between")]
pub struct CorsError(String);

impl FromStr for Cors {
    type Err = CorsError;

    /// `*`, `none`, or origins with commas between.
    fn from_str(text: &str) -> Result<Self, CorsError> {
        match text.trim() {
            "*" => Ok(Self::Any),
            "none" | "" => Ok(Self::None),
            list => {
                list.split(',').map(|origin| parse_origin(origin.trim())).collect::<Result<_, _>>().map(Self::Origins)
            }
        }
    }
}

/// A browser sends scheme, host and port in lower case and nothing behind them, and compares byte by byte.
fn parse_origin(text: &str) -> Result<HeaderValue, CorsError> {
    let wrong = || CorsError(text.chars().take(60).collect());
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).ok_or_else(wrong)?;
    let fits = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
    };
    if host.is_empty() || !host.bytes().all(fits) {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_| wrong())
}

impl Cors {
    /// The layer, if there is anything to allow.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let origin = match self {
            Self::None => return None,
            Self::Any => AllowOrigin::any(),
            Self::Origins(origins) => AllowOrigin::list(origins.iter().cloned()),
        };
        Some(
            CorsLayer::new()
                .allow_origin(origin)
                .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
                .allow_headers([
                    header::CONTENT_TYPE,
                    header::AUTHORIZATION,
                    header::HeaderName::from_static("last-event-id"),
                ])
                .expose_headers([header::RETRY_AFTER])
                .max_age(PREFLIGHT_AGE),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lists_of_origins() {
        assert_eq!("*".parse(), Ok(Cors::Any));
        assert_eq!("none".parse(), Ok(Cors::None));
        let two = Cors::Origins(vec![
            HeaderValue::from_static("https://a.example"),
            HeaderValue::from_static("http://[::1]:5173"),
        ]);
        assert_eq!("https://a.example, http://[::1]:5173".parse(), Ok(two));
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://A.example",
            "https://a,*",
            "ftp://a",
            "https://a b",
        ] {
            assert!(wrong.parse::<Cors>().is_err(), "{wrong}");
        }
    }
}
