//! The registry over HTTP. Handlers only read the request and write the answer; what counts is decided in [`Registry`].

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::{Json, Router};
use serde_json::{Map, Value};
use tana_http::error::{ApiError, Body, parse_json};
use tana_http::guard::{Caller, Guard};
use tana_http::limits::{Cors, LimitsConfig, Rate, standard_layers};
use tana_http::routes::Routes;
use tana_http::server::ServerConfig;

use crate::limits::{
    BODY_BYTES_MAX, CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, REQUESTS_AT_ONCE, REQUESTS_PER_SECOND,
};
use crate::registry::{Page, Registry};
use crate::signed::of_map;
use crate::wire::{
    ActiveValidators, Decision, DecisionAnswer, HealthAnswer, HeartbeatAnswer, HeartbeatRequest, InfoAnswer,
    NodeAnswer, NodeList, NodeStatus, RegisterAnswer, RegisterRequest, SovereignAddAnswer, SovereignAddRequest,
    SovereignList, SovereignVerifyAnswer, SovereignVerifyRequest, Topology, UpdateAnswer, ValidatorAnswer,
    ValidatorHeartbeatAnswer, ValidatorHeartbeatRequest, ValidatorRequest, ValidatorView,
};

/// What `service` says in answers.
const SERVICE: &str = "mesh";

/// An answer or a refusal.
type Answer<T> = Result<Json<T>, ApiError>;
/// An answer with status 201, or a refusal.
type Created<T> = Result<(StatusCode, Json<T>), ApiError>;
/// The one parameter of a path.
type Id = Result<Path<String>, PathRejection>;
/// All parameters of a query, in their order.
type Parameters = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// To whom a token must be made out that is to count here.
pub const AUDIENCE: &str = "mesh";

/// All routes of `registry`: to be served as they are by [`router`], or merged with others.
pub fn routes(registry: &Registry) -> Routes<Registry> {
    let guard = Guard::new(Arc::new(registry.clone()), AUDIENCE, registry.clock());
    Routes::guarded(guard)
        .read("/health", health)
        .read("/info", info)
        .signed(Method::POST, "/register", register)
        .read("/nodes", nodes)
        .read("/nodes/{id}", node)
        .token(Method::PUT, "/nodes/{id}", update)
        .read("/topology", topology)
        .signed(Method::POST, "/approve/{nodeId}", approve)
        .signed(Method::POST, "/deny/{nodeId}", deny)
        .signed(Method::POST, "/heartbeat", heartbeat)
        .read("/validators/active", active_validators)
        .signed(Method::POST, "/validators", register_validator)
        .signed(Method::POST, "/validators/{id}/heartbeat", validator_heartbeat)
        .read("/validators/{id}", validator)
        .read("/sovereigns", sovereigns)
        .signed(Method::POST, "/sovereign/add", add_sovereign)
        .ask(Method::POST, "/sovereign/verify", verify_sovereign)
}

/// Limits as the old system's callers know them: every origin may ask, a body has at most 64 KiB. The rate lets many nodes be behind one address.
pub fn limits() -> LimitsConfig {
    let rate = Rate { per_second: REQUESTS_PER_SECOND, burst: REQUESTS_AT_ONCE };
    LimitsConfig { rate: Some(rate), cors: Cors::Any, body_bytes: BODY_BYTES_MAX, ..LimitsConfig::default() }
}

/// How many connections a server of this registry takes: each node keeps one, and others look.
pub fn server_config() -> ServerConfig {
    ServerConfig {
        connections_max: CONNECTIONS_MAX,
        connections_per_address: CONNECTIONS_PER_ADDRESS_MAX,
        ..ServerConfig::default()
    }
}

/// The whole service, with `limits` around it.
pub fn router(registry: Registry, limits: &LimitsConfig) -> Router {
    standard_layers(routes(&registry).finish(registry).0, limits)
}

async fn health() -> Json<HealthAnswer> {
    Json(HealthAnswer { status: "ok".to_owned(), service: SERVICE.to_owned() })
}

async fn info(State(registry): State<Registry>) -> Json<InfoAnswer> {
    Json(InfoAnswer { service: SERVICE.to_owned(), nodes: registry.count() })
}

async fn register(
    State(registry): State<Registry>,
    Peer(peer): Peer,
    Body(request): Body<RegisterRequest>,
) -> Created<RegisterAnswer> {
    Ok((StatusCode::CREATED, Json(registry.register(request, peer).await?)))
}

async fn register_validator(
    State(registry): State<Registry>,
    Peer(peer): Peer,
    Body(request): Body<ValidatorRequest>,
) -> Created<ValidatorAnswer> {
    Ok((StatusCode::CREATED, Json(registry.register_validator(request, peer).await?)))
}

async fn approve(
    State(registry): State<Registry>,
    id: Id,
    Body(body): Body<Map<String, Value>>,
) -> Answer<DecisionAnswer> {
    Ok(Json(registry.decide(Decision::Approve, &parameter(id)?, body).await?))
}

async fn deny(
    State(registry): State<Registry>,
    id: Id,
    Body(body): Body<Map<String, Value>>,
) -> Answer<DecisionAnswer> {
    Ok(Json(registry.decide(Decision::Deny, &parameter(id)?, body).await?))
}

async fn heartbeat(State(registry): State<Registry>, Body(request): Body<HeartbeatRequest>) -> Answer<HeartbeatAnswer> {
    Ok(Json(registry.heartbeat(request)?))
}

/// The body may be empty, as in the old system, so that such a caller reads what is missing now.
async fn validator_heartbeat(
    State(registry): State<Registry>,
    id: Id,
    body: Bytes,
) -> Answer<ValidatorHeartbeatAnswer> {
    // As an object first: a list of nothing would pass for a request without any field.
    let body: Map<String, Value> = if body.trim_ascii().is_empty() { Map::new() } else { parse_json(&body)? };
    let request: ValidatorHeartbeatRequest = of_map(body)?;
    Ok(Json(registry.validator_heartbeat(&parameter(id)?, &request)?))
}

async fn nodes(State(registry): State<Registry>, query: Parameters) -> Answer<NodeList> {
    let (statuses, page) = read_query(query, true)?;
    let statuses = if statuses.is_empty() { vec![NodeStatus::Active] } else { statuses };
    Ok(Json(registry.nodes(&statuses, &page)))
}

async fn node(State(registry): State<Registry>, id: Id) -> Answer<NodeAnswer> {
    Ok(Json(registry.node(&parameter(id)?)?))
}

async fn update(
    State(registry): State<Registry>,
    Caller(caller): Caller,
    id: Id,
    Body(request): Body<RegisterRequest>,
) -> Answer<UpdateAnswer> {
    Ok(Json(registry.update(&caller.node, &parameter(id)?, request).await?))
}

async fn topology(State(registry): State<Registry>, query: Parameters) -> Answer<Topology> {
    Ok(Json(registry.topology(&read_query(query, false)?.1)))
}

async fn active_validators(State(registry): State<Registry>, query: Parameters) -> Answer<ActiveValidators> {
    Ok(Json(registry.active(&read_query(query, false)?.1)))
}

async fn validator(State(registry): State<Registry>, id: Id) -> Answer<ValidatorView> {
    Ok(Json(registry.validator(&parameter(id)?)?))
}

async fn sovereigns(State(registry): State<Registry>) -> Answer<SovereignList> {
    Ok(Json(registry.sovereigns().await?))
}

async fn add_sovereign(
    State(registry): State<Registry>,
    Body(request): Body<SovereignAddRequest>,
) -> Answer<SovereignAddAnswer> {
    Ok(Json(registry.add_sovereign(request).await?))
}

async fn verify_sovereign(
    State(registry): State<Registry>,
    Body(request): Body<SovereignVerifyRequest>,
) -> Answer<SovereignVerifyAnswer> {
    Ok(Json(registry.verify_sovereign(&request).await?))
}

/// The address that a request comes from, where the server tells.
struct Peer(Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip())))
    }
}

fn parameter(id: Id) -> Result<String, ApiError> {
    match id {
        Ok(Path(id)) => Ok(id),
        Err(error) => Err(ApiError::bad_request(error.body_text())),
    }
}

/// Reads `status` (any number of times, also as a list with commas, and `all`), `after` and `limit`.
fn read_query(query: Parameters, with_status: bool) -> Result<(Vec<NodeStatus>, Page), ApiError> {
    let Query(parameters) = query.map_err(|error| ApiError::bad_request(error.body_text()))?;
    let bad = |name: &str, rule: &str| ApiError::bad_request(format!("`{name}` {rule}")).with_code("bad_field");
    let (mut statuses, mut page) = (Vec::new(), Page::default());
    for (name, value) in parameters {
        match name.as_str() {
            "status" if with_status => {
                for word in value.split(',') {
                    match NodeStatus::from_name(word) {
                        Some(status) => statuses.push(status),
                        None if word == "all" => statuses.extend(NodeStatus::ALL),
                        None => return Err(bad("status", "must be pending, active, denied, offline or all")),
                    }
                }
            }
            "after" => page.after = Some(value),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                page.limit = Some(limit.ok_or_else(|| bad("limit", "must be a number from 1 on"))?);
            }
            // Other parameters say nothing here, as in the old system.
            _ => {}
        }
    }
    Ok((statuses, page))
}
