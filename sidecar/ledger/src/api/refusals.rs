//! The refusals that the OpenAPI document names, by kind of endpoint.

use utoipa::IntoResponses;

use super::model::Problem;

/// What every endpoint may say: too many requests, too slow, not now.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub enum Always {
    /// The request took too long.
    #[response(status = 408)]
    TooSlow(#[to_schema] Problem),
    /// More requests than one address may make; the header `Retry-After` says in how many seconds to try again.
    #[response(status = 429)]
    TooMany(#[to_schema] Problem),
    /// The state is not loaded yet, or all places are taken; the header `Retry-After` says in how many seconds to try again.
    #[response(status = 503)]
    NotNow(#[to_schema] Problem),
}

/// What endpoints that take parameters say beside that.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub enum Asked {
    /// A parameter is not what it must be; the text names it.
    #[response(status = 400)]
    BadParameter(#[to_schema] Problem),
}

/// What endpoints that look for one thing say beside that.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub enum Looked {
    /// There is no such thing at the committed height.
    #[response(status = 404)]
    NotFound(#[to_schema] Problem),
    /// It is older than what this node keeps; ask a validator that is an archive.
    #[response(status = 410)]
    Pruned(#[to_schema] Problem),
}

/// What endpoints that take a body say beside that.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub enum Sent {
    /// The body is larger than the route takes.
    #[response(status = 413)]
    TooLarge(#[to_schema] Problem),
    /// The content type is none that the route takes.
    #[response(status = 415)]
    OtherType(#[to_schema] Problem),
}
