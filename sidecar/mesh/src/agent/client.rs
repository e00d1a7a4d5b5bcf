//! A client of the mesh: several addresses, of which the first that answers is used; bounded time, bounded answers.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error as ThisError;

/// The most bytes of an answer that are read: several times what a page of 200 nodes has where each says as much of itself as it may. A page of
/// [`crate::limits::PAGE_MAX`] such nodes does not fit, so whoever asks for nodes with their services asks for fewer.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// The most addresses of a mesh that are tried, one after another.
pub const ADDRESSES_MAX: usize = 16;
/// How long an unused connection is kept: less than the server's patience, so that none is used in the moment in which it is closed.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// An address, or a list of them, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum AddressError {
    /// There is none.
    #[error("no address of the mesh is configured: give at least one, as `http://host:8190`")]
    None,
    /// There are too many.
    #[error("more than {ADDRESSES_MAX} addresses of the mesh are configured")]
    TooMany,
    /// One is no HTTP URL.
    #[error("`{0}` is no address of a mesh: it must be as `http://host:8190`")]
    Url(String),
    /// The HTTP client cannot be made.
    #[error("no HTTP client can be had: {0}")]
    Client(String),
}

/// Why a call gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum CallError {
    /// The mesh answered, and refused.
    #[error("the mesh refuses ({status} {code}): {message}")]
    Refused {
        /// The HTTP status, from 400 to 499.
        status: u16,
        /// For programs.
        code: String,
        /// For people.
        message: String,
    },
    /// None of the addresses gave an answer of a mesh. Says what the last one did.
    #[error("no mesh answers: {0}")]
    NoAnswer(String),
}

impl CallError {
    /// The status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::NoAnswer(_) => None,
        }
    }
}

/// What a refusal looks like.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    code: String,
}

/// A client of the mesh.
#[derive(Debug)]
pub struct MeshClient {
    http: reqwest::Client,
    addresses: Vec<Url>,
    /// Which address answered last; the others are tried after it.
    current: AtomicUsize,
}

impl MeshClient {
    /// A client for these addresses, in the order in which they are tried. Each request may take `timeout`.
    ///
    /// # Errors
    /// No address, too many, or one that is no HTTP URL.
    pub fn new<A: AsRef<str>>(addresses: &[A], timeout: Duration) -> Result<Self, AddressError> {
        match addresses.len() {
            0 => return Err(AddressError::None),
            1..=ADDRESSES_MAX => {}
            _ => return Err(AddressError::TooMany),
        }
        let addresses = addresses.iter().map(|address| parse_address(address.as_ref())).collect::<Result<_, _>>()?;
        let http = http_client(timeout).map_err(|error| AddressError::Client(innermost(&error)))?;
        Ok(Self { http, addresses, current: AtomicUsize::new(0) })
    }

    /// The address that answered last; the first one before any did.
    pub fn address(&self) -> &str {
        self.addresses
            .get(self.current.load(Ordering::Relaxed))
            .map_or("", |address| address.as_str().trim_end_matches('/'))
    }

    /// `GET`; `path` in its segments, which are escaped.
    ///
    /// # Errors
    /// A refusal, or no answer of a mesh from any address.
    pub async fn get<A: DeserializeOwned>(&self, path: &[&str], query: &[(&str, &str)]) -> Result<A, CallError> {
        self.call(Method::GET, path, query, None::<&()>, None).await
    }

    /// `POST` of a JSON body; `path` in its segments, which are escaped.
    ///
    /// # Errors
    /// A refusal, or no answer of a mesh from any address. Without an answer it may have been done all the same.
    pub async fn post<T: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &T,
    ) -> Result<A, CallError> {
        self.call(Method::POST, path, &[], Some(body), None).await
    }

    /// `PUT` of a JSON body with a token; `path` in its segments, which are escaped.
    ///
    /// # Errors
    /// As [`MeshClient::post`].
    pub async fn put<T: Serialize + Sync, A: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &T,
        token: &str,
    ) -> Result<A, CallError> {
        self.call(Method::PUT, path, &[], Some(body), Some(token)).await
    }

    async fn call<T: Serialize + Sync, A: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&T>,
        token: Option<&str>,
    ) -> Result<A, CallError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut problem = String::new();
        for turn in 0..self.addresses.len() {
            let index = (first + turn) % self.addresses.len();
            let mut url = self.addresses[index].clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(path);
            }
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let mut request = self.http.request(method.clone(), url);
            if let Some(body) = body {
                request = request.json(body);
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            match answer(request).await {
                Ok(answer) => {
                    self.current.store(index, Ordering::Relaxed);
                    return answer;
                }
                Err(text) => problem = format!("{}: {text}", self.addresses[index].as_str().trim_end_matches('/')),
            }
        }
        Err(CallError::NoAnswer(problem))
    }
}

/// Sends a request. The outer error is anything that no mesh says, or a mesh only when it is not well: the next address is asked then.
async fn answer<A: DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<Result<A, CallError>, String> {
    let mut response = request.send().await.map_err(|error| innermost(&error))?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| innermost(&error))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        bytes.extend_from_slice(&chunk);
    }
    if status.is_success() {
        return serde_json::from_slice(&bytes)
            .map(Ok)
            .map_err(|error| format!("it answers what no mesh would: {error}"));
    }
    match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(Refusal { error, code }) if status.is_client_error() => {
            Ok(Err(CallError::Refused { status: status.as_u16(), code: short(&code), message: short(&error) }))
        }
        Ok(Refusal { error, .. }) => Err(format!("{}: {}", status.as_u16(), short(&error))),
        Err(_) => Err(format!("it answers {} as no mesh would", status.as_u16())),
    }
}

/// A client that goes straight to where it is told, and to nowhere else.
pub(super) fn http_client(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(timeout)
        .connect_timeout(timeout)
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(1)
        .build()
}

/// An URL of the form `http://host:port`, perhaps with a path.
pub(super) fn parse_address(text: &str) -> Result<Url, AddressError> {
    let wrong = || AddressError::Url(short(text));
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let fits = url.scheme() == "http" && url.has_host() && url.query().is_none() && url.fragment().is_none();
    if fits && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(wrong()) }
}

/// What lies at the bottom of an error: the system's own words.
pub(super) fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The beginning of a text that somebody else wrote.
fn short(text: &str) -> String {
    text.chars().take(300).collect()
}
