//! Who is let in by a token: a layer in front of routes that write.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;

use crate::clock::Clock;
use crate::error::ApiError;
use crate::token::{Claims, NodeStanding, Service, Unverified};

/// What a look-up of a node gives: nothing when there is no such node, an error when it cannot be said now.
pub type StandingFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<NodeStanding>, ApiError>> + Send + 'a>>;

/// Whoever can say where a node stands with the mesh: the registry itself, or a client of it.
pub trait Standing: Send + Sync {
    /// Looks a node up by its id.
    fn standing<'a>(&'a self, node: &'a str) -> StandingFuture<'a>;
}

/// A look-up that answers at once, as a [`Standing`].
#[derive(Debug, Clone, Copy)]
pub struct AtOnce<F>(pub F);

impl<F: Fn(&str) -> Option<NodeStanding> + Send + Sync> Standing for AtOnce<F> {
    fn standing<'a>(&'a self, node: &'a str) -> StandingFuture<'a> {
        let found = (self.0)(node);
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// Lets requests through that carry a token for one audience, and puts its [`Claims`] into their extensions ([`Caller`] reads them).
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    standing: Arc<dyn Standing>,
    audience: String,
    clock: Clock,
    services: Option<Vec<Service>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("audience", &self.0.audience)
            .field("services", &self.0.services)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard that takes tokens of any service, made for `audience`.
    pub fn new(standing: Arc<dyn Standing>, audience: impl Into<String>, clock: Clock) -> Self {
        Self(Arc::new(Inner { standing, audience: audience.into(), clock, services: None }))
    }

    /// The same, for tokens of these services alone.
    pub fn only(&self, services: impl Into<Vec<Service>>) -> Self {
        Self(Arc::new(Inner {
            standing: self.0.standing.clone(),
            audience: self.0.audience.clone(),
            clock: self.0.clock.clone(),
            services: Some(services.into()),
        }))
    }

    /// Judges the headers of a request.
    ///
    /// # Errors
    /// 401 without a token or with one that proves nothing, 403 when it is proven who asks and that one may not, 503 when the mesh cannot be
    /// asked.
    pub async fn check(&self, headers: &HeaderMap) -> Result<Claims, ApiError> {
        let token = Unverified::read(bearer(headers)?)?;
        let standing = self.0.standing.standing(token.node()).await?;
        let claims = token.verify(standing.as_ref(), &self.0.audience, (self.0.clock)())?;
        match &self.0.services {
            Some(services) if !services.contains(&claims.service) => {
                let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
                let message = format!("this is for the service {}, not for {}", names.join(" or "), claims.service);
                Err(ApiError::forbidden(message).with_code("token_service"))
            }
            _ => Ok(claims),
        }
    }

    /// Puts this guard in front of all methods that the router has.
    pub fn protect<S: Clone + Send + Sync + 'static>(&self, router: MethodRouter<S>) -> MethodRouter<S> {
        router.route_layer(from_fn_with_state(self.clone(), require))
    }
}

/// The layer: no token, no way in.
async fn require(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.check(request.headers()).await {
        Ok(claims) => {
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    }
}

/// Who asks: the claims of the token that a [`Guard`] let in. On a route without a guard nobody gets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Claims);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Claims>().cloned().map(Self).ok_or_else(missing)
    }
}

fn missing() -> ApiError {
    ApiError::unauthorized(
        "this needs a token: send the header `authorization: Bearer v4.public...` (`tana token issue` makes one)",
    )
    .with_code("token_missing")
}

/// The token of `Authorization: Bearer <token>`.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(ApiError::unauthorized("there is more than one header `authorization`").with_code("token_missing"));
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}
