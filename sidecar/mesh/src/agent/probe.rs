//! Whether a node's own services answer.

use std::time::Duration;

use reqwest::Url;
use tana_http::clock::Clock;
use tokio::task::JoinSet;

use super::client::{AddressError, http_client, innermost, parse_address};
use crate::wire::ServiceHealth;

/// Asks services for their health, all at once.
#[derive(Debug)]
pub(super) struct Prober {
    http: reqwest::Client,
    services: Vec<(String, Url)>,
}

impl Prober {
    /// For services by type and the URL of their health. Each may take `timeout`.
    pub(super) fn new(services: &[(String, String)], timeout: Duration) -> Result<Self, AddressError> {
        let http = http_client(timeout).map_err(|error| AddressError::Client(innermost(&error)))?;
        let parse = |(kind, url): &(String, String)| Ok((kind.clone(), parse_address(url)?));
        Ok(Self { http, services: services.iter().map(parse).collect::<Result<_, AddressError>>()? })
    }

    /// How they are now, by type. Healthy is what answers with a status from 200 to 299.
    pub(super) async fn ask(&self, clock: &Clock) -> Vec<ServiceHealth> {
        let mut asked = JoinSet::new();
        for (kind, url) in &self.services {
            let (kind, request) = (kind.clone(), self.http.get(url.clone()));
            let clock = clock.clone();
            asked.spawn(async move {
                // The body does not matter and is not read.
                let healthy = request.send().await.is_ok_and(|response| response.status().is_success());
                ServiceHealth { kind, healthy, last_check: Some(clock()) }
            });
        }
        let mut health = Vec::with_capacity(self.services.len());
        while let Some(Ok(one)) = asked.join_next().await {
            health.push(one);
        }
        health.sort_by(|a: &ServiceHealth, b| a.kind.cmp(&b.kind));
        health
    }
}
