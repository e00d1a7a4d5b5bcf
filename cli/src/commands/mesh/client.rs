//! Talking to a mesh over HTTP: the first of several addresses that answers, bounded in time and size.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::commands::start::layout::mesh_url;
use crate::error::CliError;
use crate::home::Home;
use crate::node::printable;

/// The environment variable that names the mesh.
pub const MESH_VARIABLE: &str = "MESH_URL";
/// The mesh unless somebody says another.
pub const MESH_DEFAULT: &str = "http://127.0.0.1:8190";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes of an answer: a page of nodes is far smaller.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What the mesh said when it did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Why.
    pub error: String,
}

/// A mesh that can be asked.
#[derive(Debug, Clone)]
pub struct Mesh {
    http: reqwest::Client,
    urls: Vec<String>,
}

impl Mesh {
    /// The meshes given, else that of `MESH_URL`, else that of the home's network, else the one on this machine.
    ///
    /// # Errors
    /// [`CliError::Usage`] when an address is no `http://` URL.
    pub fn new(given: &[String], home: &Home) -> Result<Self, CliError> {
        let mut urls = given.to_vec();
        if urls.is_empty() {
            let named = std::env::var(MESH_VARIABLE).ok().filter(|url| !url.is_empty());
            urls.push(named.or_else(|| mesh_url(home)).unwrap_or_else(|| MESH_DEFAULT.to_owned()));
        }
        for url in &mut urls {
            if !url.starts_with("http://") {
                return Err(CliError::Usage(format!(
                    "`{}` is no address of a mesh; write http://HOST:PORT",
                    printable(url)
                )));
            }
            url.truncate(url.trim_end_matches('/').len());
        }
        let http =
            reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        let http = http.map_err(|error| CliError::Node(format!("cannot make an HTTP client: {error}")))?;
        Ok(Self { http, urls })
    }

    /// `GET` of a path that begins with `/`.
    ///
    /// # Errors
    /// [`CliError::Node`] when no mesh answers, or one refuses.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.ask(path, |url| self.http.get(url)).await?.map_err(|refusal| refused(path, &refusal))
    }

    /// `POST` of a JSON body; a refusal is for the caller to judge.
    ///
    /// # Errors
    /// [`CliError::Node`] when no mesh answers.
    pub async fn try_post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<T, Refusal>, CliError> {
        self.ask(path, |url| self.http.post(url).json(body)).await
    }

    /// `POST` of a JSON body.
    ///
    /// # Errors
    /// [`CliError::Node`] when no mesh answers, or one refuses.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CliError> {
        self.try_post(path, body).await?.map_err(|refusal| refused(path, &refusal))
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        path: &str,
        request: impl Fn(String) -> reqwest::RequestBuilder,
    ) -> Result<Result<T, Refusal>, CliError> {
        let mut failures = Vec::new();
        for url in &self.urls {
            match request(format!("{url}{path}")).send().await {
                Ok(response) => return read(url, response).await,
                Err(error) => failures.push(format!("{url}: {}", cause(&error))),
            }
        }
        Err(CliError::Node(format!(
            "no mesh answers ({}); start one with `tana start`, or name another with --mesh or {MESH_VARIABLE}",
            failures.join("; ")
        )))
    }
}

/// The innermost reason of an error: what is around it only repeats the address.
fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

fn refused(path: &str, refusal: &Refusal) -> CliError {
    CliError::Node(format!("the mesh answers {} to {path}: {}", refusal.status, refusal.error))
}

async fn read<T: DeserializeOwned>(url: &str, mut response: reqwest::Response) -> Result<Result<T, Refusal>, CliError> {
    let bad = |detail: String| CliError::BadAnswer { node: url.to_owned(), detail };
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| bad(cause(&error)))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(bad(format!("it is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        #[derive(serde::Deserialize)]
        struct Body {
            error: String,
        }
        let error = serde_json::from_slice::<Body>(&body)
            .map_or_else(|_| String::from_utf8_lossy(&body).into_owned(), |body| body.error);
        return Ok(Err(Refusal { status: status.as_u16(), error: printable(error.trim()) }));
    }
    serde_json::from_slice(&body).map(Ok).map_err(|error| bad(error.to_string()))
}
