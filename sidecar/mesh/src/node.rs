//! A node as the registry holds it in memory and on disk, and how it is shown.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tana_types::key::PublicKey;

use crate::chain::Members;
use crate::check::{CONSENSUS, host_of};
use crate::limits::HEARTBEATS_KEPT;
use crate::wire::{
    ActiveValidator, ChainStanding, HeartbeatRow, NodeRow, NodeStatus, NodeView, Service, ServiceHealth, ServiceRow,
    TopologyNode, ValidatorLink,
};

/// A service of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRecord {
    /// The port that it listens on.
    pub port: u16,
    /// The key that it signs with.
    pub public_key: PublicKey,
    /// When it was registered, in ms since 1970.
    pub created_at: u64,
    /// What the last heartbeat said of it, and when the node had asked it. Not kept on disk: it is stale after a restart.
    #[serde(skip)]
    pub health: Option<(bool, Option<u64>)>,
}

/// What is remembered of a node's heartbeats.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeats {
    /// When the newest came, by the mesh's clock.
    pub heard_at: Option<u64>,
    /// The last of them, oldest first: what the node signed, and the address that it named.
    pub last: VecDeque<(u64, Option<IpAddr>)>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its key.
    pub public_key: PublicKey,
    /// A host name, or a URL whose host it is.
    pub hostname: String,
    /// Its address, when one was registered.
    pub ip: Option<String>,
    /// Where it stands.
    pub status: NodeStatus,
    /// When it was registered, by the mesh's clock.
    pub registered_at: u64,
    /// What its registration was signed with: the signature and its time.
    pub registration: (String, u64),
    /// From where: the address that a cap counts it under.
    pub source: Option<IpAddr>,
    /// When it was last approved, by the mesh's clock, and by whom.
    pub approved: Option<(u64, PublicKey)>,
    /// The signed time of the last decision about it: an older one does not count any more.
    pub decided: Option<u64>,
    /// Its services by type.
    pub services: BTreeMap<String, ServiceRecord>,
    /// Their types in the order in which the registration was signed; what an earlier version wrote has none.
    #[serde(default)]
    pub order: Vec<String>,
    /// Kept apart on disk, because they change all the time.
    #[serde(skip)]
    pub heartbeats: Heartbeats,
    /// Whether its heartbeats wait to be written.
    #[serde(skip)]
    pub heartbeats_unwritten: bool,
    /// Whether the rest of it does.
    #[serde(skip)]
    pub unwritten: bool,
}

impl Node {
    /// Takes a heartbeat signed at `timestamp` that came at `now`. Says whether it was newer than those before; one that is not changes nothing.
    pub fn hear(&mut self, timestamp: u64, now: u64, ip: Option<IpAddr>, services: &[ServiceHealth]) -> bool {
        let last = &mut self.heartbeats.last;
        if last.back().is_some_and(|(newest, _)| timestamp <= *newest) {
            return false;
        }
        while last.len() >= HEARTBEATS_KEPT {
            last.pop_front();
        }
        last.push_back((timestamp, ip));
        self.heartbeats.heard_at = Some(now);
        for service in services {
            if let Some(record) = self.services.get_mut(&service.kind) {
                record.health = Some((service.healthy, service.last_check));
            }
        }
        true
    }

    /// Takes over what was heard of the node after `self` was kept apart, when that counts for it.
    pub fn keep_heartbeats_of(&mut self, later: &Self) {
        let may_beat = matches!(self.status, NodeStatus::Active | NodeStatus::Offline);
        if !may_beat || later.public_key != self.public_key || later.newest_heartbeat() <= self.newest_heartbeat() {
            return;
        }
        self.heartbeats.clone_from(&later.heartbeats);
        self.heartbeats_unwritten = true;
        for (kind, record) in &mut self.services {
            record.health = later.services.get(kind).and_then(|later| later.health).or(record.health);
        }
        if self.status == NodeStatus::Offline {
            self.status = NodeStatus::Active;
            self.unwritten = true;
        }
    }

    /// Its services in the order in which they were signed.
    fn ordered(&self) -> impl Iterator<Item = (&String, &ServiceRecord)> {
        let signed = self.order.iter().filter_map(|kind| self.services.get_key_value(kind));
        signed.chain(self.services.iter().filter(|(kind, _)| !self.order.contains(kind)))
    }

    /// The signed time of its newest heartbeat.
    pub fn newest_heartbeat(&self) -> Option<u64> {
        self.heartbeats.last.back().map(|(timestamp, _)| *timestamp)
    }

    /// The last moment at which it was known to be alive: its newest heartbeat or its approval.
    pub fn alive_at(&self) -> u64 {
        self.heartbeats.heard_at.max(self.approved.map(|(at, _)| at)).unwrap_or(self.registered_at)
    }

    /// The key of its validator, if it is one.
    pub fn validator_key(&self) -> Option<PublicKey> {
        self.services.get(CONSENSUS).map(|service| service.public_key)
    }

    /// The key that it says its validator has, where that is not its own: nothing proves that the key is this node's.
    pub fn claimed_key(&self) -> Option<PublicKey> {
        self.validator_key().filter(|key| *key != self.public_key)
    }

    /// What a validator-set transaction says of it, if it is a validator.
    pub fn link(&self, members: Option<&Members>) -> Option<ValidatorLink> {
        let service = self.services.get(CONSENSUS)?;
        let host = self.ip.as_deref().unwrap_or_else(|| host_of(&self.hostname).0);
        let address = match host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]:{}", service.port),
            _ => format!("{host}:{}", service.port),
        };
        Some(ValidatorLink {
            public_key: service.public_key.to_string(),
            address: Some(address),
            chain: self.standing(members.map(|members| &members.decided)),
        })
    }

    /// Whether its validator is in this set.
    fn standing(&self, set: Option<&HashSet<PublicKey>>) -> Option<ChainStanding> {
        let inside = set?.contains(&self.validator_key()?);
        Some(if inside { ChainStanding::InSet } else { ChainStanding::NotInSet })
    }

    fn row(&self, members: Option<&Members>) -> NodeRow {
        NodeRow {
            id: self.id.clone(),
            public_key: self.public_key.to_string(),
            tailscale_hostname: self.hostname.clone(),
            tailscale_ip: self.ip.clone(),
            status: self.status,
            registered_at: self.registered_at,
            approved_at: self.approved.map(|(at, _)| at),
            approved_by: self.approved.map(|(_, key)| key.to_string()),
            last_heartbeat: self.heartbeats.heard_at,
            registration_signature: self.registration.0.clone(),
            registration_timestamp: self.registration.1,
            chain: self.standing(members.map(|members| &members.now)),
        }
    }

    /// As `GET /nodes` shows it.
    pub fn view(&self, members: Option<&Members>) -> NodeView {
        let service = |(kind, record): (&String, &ServiceRecord)| ServiceRow {
            node_id: self.id.clone(),
            service_type: kind.clone(),
            port: record.port,
            public_key: record.public_key.to_string(),
            created_at: record.created_at,
            healthy: record.health.map(|(healthy, _)| healthy),
            last_check: record.health.and_then(|(_, at)| at),
        };
        NodeView { row: self.row(members), services: self.ordered().map(service).collect() }
    }

    /// As `GET /topology` shows it.
    pub fn topology(&self, members: Option<&Members>) -> TopologyNode {
        let service = |(kind, record): (&String, &ServiceRecord)| Service {
            kind: kind.clone(),
            port: record.port,
            public_key: record.public_key.to_string(),
        };
        TopologyNode { row: self.row(members), services: self.ordered().map(service).collect() }
    }

    /// As `GET /validators/active` shows it.
    pub fn active(&self) -> ActiveValidator {
        ActiveValidator {
            id: self.id.clone(),
            public_key: self.public_key.to_string(),
            ws_url: self.hostname.clone(),
            last_seen: self.heartbeats.heard_at,
        }
    }

    /// Its last heartbeats, newest first.
    pub fn history(&self) -> Vec<HeartbeatRow> {
        let row = |(timestamp, ip): &(u64, Option<IpAddr>)| HeartbeatRow {
            timestamp: *timestamp,
            tailscale_ip: ip.map(|ip| ip.to_string()),
        };
        self.heartbeats.last.iter().rev().map(row).collect()
    }
}
