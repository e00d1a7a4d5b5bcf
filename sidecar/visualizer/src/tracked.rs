//! What is known of one validator, from its own reports.

use std::collections::{BTreeMap, VecDeque};

use crate::frame::{Latency, Pending, Stage};
use crate::report::{PEERS_MAX, PeerLink, Report, Sample, SourceId, Status};

/// Proposers of heights that are remembered.
const PROPOSERS_MAX: usize = 32;
/// Views whose leader is remembered: enough that one that is a little ahead still says who led the view of the others.
const VIEWS_MAX: usize = 16;
/// A validator whose links the others have lost is offline when it is silent for so many of its usual intervals: it need not be waited for.
const SILENT_INTERVALS: u64 = 3;
/// How often a validator is heard, milliseconds, until its source says it.
const INTERVAL_MS: u64 = 1_000;

/// A validator.
#[derive(Debug, Default)]
pub struct Tracked {
    /// Whose reports count.
    pub source: SourceId,
    /// Its key in the registry.
    pub public_key: String,
    /// Its key as it says itself, where that is another one.
    pub own_key: Option<String>,
    /// Whether it answers.
    pub answers: bool,
    /// Why it does not.
    pub silence: String,
    /// When it was last heard of, milliseconds; 0 is never.
    pub heard_at: u64,
    /// How often it is usually heard, milliseconds; 0 while nobody said.
    interval_ms: u64,
    /// Its status.
    pub status: Status,
    /// Its links by the other's key: whether they are up.
    pub peers: BTreeMap<String, bool>,
    /// Its counters.
    pub sample: Sample,
    /// Transactions that wait there.
    pub pending: Vec<Pending>,
    /// Who proposed the last heights, as far as it said.
    proposers: VecDeque<(u64, String)>,
    /// Who leads the last views that it was in, as far as it said: (epoch, view), the leader's key.
    views: VecDeque<((u64, u64), String)>,
}

impl Tracked {
    /// One of which only its key in the registry is known.
    pub fn new(public_key: &str) -> Self {
        Self { public_key: public_key.to_owned(), ..Self::default() }
    }

    /// Takes in what is kept of a report. What is only told on (proposals, votes, evidence) is the model's.
    pub fn take(&mut self, report: &Report, now_ms: u64) {
        if let Report::Down(reason) = report {
            self.down(reason);
            return;
        }
        self.heard_at = now_ms;
        match report {
            Report::Up { every_ms } => self.interval_ms = *every_ms,
            Report::Status(status) => {
                self.answers = true;
                self.silence.clear();
                self.own_key = (!status.key.is_empty() && status.key != self.public_key).then(|| status.key.clone());
                self.status = status.clone();
                self.remember_leader();
            }
            Report::Peers(peers) => {
                self.peers = peers.iter().take(PEERS_MAX).map(|peer| (peer.key.clone(), peer.connected)).collect();
            }
            Report::Peer(PeerLink { key, connected }) => {
                if self.peers.contains_key(key) || self.peers.len() < PEERS_MAX {
                    self.peers.insert(key.clone(), *connected);
                }
            }
            Report::View { epoch, view, leader } => {
                (self.status.epoch, self.status.view) = (*epoch, *view);
                self.status.leader.clone_from(leader);
                self.remember_leader();
            }
            Report::Committed(height) => self.status.height = *height,
            Report::Finalized { height, proposer } => {
                self.status.finalized_height = *height;
                if !proposer.is_empty() {
                    self.proposers.truncate(PROPOSERS_MAX - 1);
                    self.proposers.push_front((*height, proposer.clone()));
                }
            }
            Report::Sample(sample) => self.sample = sample.clone(),
            Report::Pending(pending) => self.pending.clone_from(pending),
            Report::Proposal { .. } | Report::Vote(_) | Report::Evidence(_) | Report::Down(_) => {}
        }
    }

    /// What it said of the present is no longer so; heights and totals stay as the last that was known.
    fn down(&mut self, reason: &str) {
        self.answers = false;
        reason.clone_into(&mut self.silence);
        self.peers.clear();
        self.pending.clear();
        self.status.voting = false;
        self.sample = Sample {
            applied_total: self.sample.applied_total,
            latency: Latency::default(),
            stages: self
                .sample
                .stages
                .iter()
                .map(|stage| Stage { name: stage.name.clone(), ..Stage::default() })
                .collect(),
            ..Sample::default()
        };
    }

    /// Whether it has been silent for longer than it usually is.
    pub fn is_silent(&self, now_ms: u64) -> bool {
        let interval = if self.interval_ms == 0 { INTERVAL_MS } else { self.interval_ms };
        now_ms.saturating_sub(self.heard_at) > SILENT_INTERVALS * interval
    }

    /// The view that it is in, with its epoch.
    pub fn view(&self) -> (u64, u64) {
        (self.status.epoch, self.status.view)
    }

    fn remember_leader(&mut self) {
        let (view, leader) = (self.view(), &self.status.leader);
        if leader.is_empty() {
            return;
        }
        self.views.retain(|(known, _)| *known != view);
        self.views.truncate(VIEWS_MAX - 1);
        self.views.push_front((view, leader.clone()));
    }

    /// Who leads a view with its epoch, as far as it said: a key.
    pub fn leader(&self, view: (u64, u64)) -> Option<&str> {
        self.views.iter().find(|(known, _)| *known == view).map(|(_, key)| key.as_str())
    }

    /// Who proposed a height, as far as it said.
    pub fn proposer(&self, height: u64) -> Option<&str> {
        self.proposers.iter().find(|(known, _)| *known == height).map(|(_, key)| key.as_str())
    }
}
