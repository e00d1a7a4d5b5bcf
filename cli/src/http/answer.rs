//! Answers: whole pages, errors as JSON, and bodies that go on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;

/// What an answer carries.
pub enum Body {
    /// A page.
    Whole(Full<Bytes>),
    /// Pieces as they come, until the other end is dropped.
    Pieces(mpsc::Receiver<Bytes>),
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(page) => Pin::new(page).poll_frame(context),
            Self::Pieces(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(page) => page.is_end_stream(),
            Self::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(page) => page.size_hint(),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}

/// An answer.
pub type Answer = Response<Body>;

/// What is wrong with a request, or with this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: String,
    code: &'static str,
    #[serde(skip)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A status, a fixed word and a sentence for people.
    pub fn new(status: StatusCode, code: &'static str, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), code, retry_after: None }
    }

    /// The same with a word on when to come again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let mut answer = json(problem.status, &problem);
        if let Some(wait) = problem.retry_after {
            // At least a second: that is what the header counts in.
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// The answer to a page that is there but not by this method.
pub fn wrong_method(allowed: &'static str) -> Answer {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this page answers {allowed} and nothing else"),
    );
    let mut answer = Answer::from(problem);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// A JSON document.
pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // These types hold only texts, numbers, lists and maps with text keys, which always serialize.
    let body = serde_json::to_string(value).unwrap_or_default();
    page(status, "application/json", body + "\n")
}

/// A page of any kind.
pub fn page(status: StatusCode, kind: &'static str, body: String) -> Answer {
    with_kind(status, kind, Body::Whole(Full::new(Bytes::from(body))))
}

/// Pieces as they come.
pub fn pieces(kind: &'static str, pieces: mpsc::Receiver<Bytes>) -> Answer {
    with_kind(StatusCode::OK, kind, Body::Pieces(pieces))
}

fn with_kind(status: StatusCode, kind: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
