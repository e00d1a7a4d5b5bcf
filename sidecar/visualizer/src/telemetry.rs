//! Reads what a validator tells over HTTP (docs/node-http.md) into reports. Whatever cannot be read is passed over and counted; texts, lists
//! and numbers are cut to what is shown.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::frame::{Latency, PENDING_MAX, Pending, Stage};
use crate::report::{PEERS_MAX, PeerLink, Report, STAGES_MAX, Sample, Status, TEXT_CHARACTERS_MAX, Vote, VoteKind};
use crate::sse::SseEvent;

/// How often a validator that streams is heard, milliseconds.
pub const SAMPLE_MS: u64 = 250;
/// Events of one message.
const EVENTS_MAX: usize = 2_048;
/// Views whose leaders are remembered: votes come in after their view.
const VIEWS_MAX: usize = 32;
/// The greatest whole number that JavaScript holds exactly.
const WHOLE_MAX: u64 = (1 << 53) - 1;
/// The greatest rate that is shown.
const RATE_MAX: f64 = 1e12;

/// `GET /health`, and the part of snapshots and samples that says the same.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireStatus {
    validator: String,
    voting: bool,
    reason: String,
    height: u64,
    finalized_height: u64,
    epoch: u64,
    view: u64,
    leader: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WirePeer {
    key: String,
    connected: bool,
}

/// `GET /peers`: a list, or an object that holds it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum WirePeers {
    List(Vec<WirePeer>),
    Object { peers: Vec<WirePeer> },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireSnapshot {
    peers: Option<Vec<WirePeer>>,
}

/// A number, or nothing: a rate that is none comes as `null`.
fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(0.0))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireStage {
    name: String,
    #[serde(deserialize_with = "number")]
    per_s: f64,
    #[serde(deserialize_with = "number")]
    busy: f64,
    #[serde(deserialize_with = "number")]
    input: f64,
    #[serde(deserialize_with = "number")]
    output: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireLatency {
    count: u64,
    #[serde(deserialize_with = "number")]
    p50_ms: f64,
    #[serde(deserialize_with = "number")]
    p99_ms: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct WireSample {
    window_ms: u64,
    applied: u64,
    #[serde(deserialize_with = "number")]
    applied_per_s: f64,
    waiting: u64,
    stages: Vec<WireStage>,
    latency_final: WireLatency,
    latency_applied: WireLatency,
    pending: Option<Vec<Pending>>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WireEvent {
    View {
        epoch: u64,
        view: u64,
        #[serde(default)]
        leader: String,
    },
    Proposal {
        proposer: String,
    },
    Vote {
        epoch: u64,
        view: u64,
        validator: String,
        vote: WireVote,
    },
    Finalized {
        height: u64,
        #[serde(default)]
        proposer: String,
        #[serde(default)]
        transactions: u64,
    },
    Committed {
        height: u64,
    },
    Peer {
        validator: String,
        connected: bool,
    },
    Evidence {
        #[serde(default)]
        validator: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireVote {
    Notarize,
    Finalize,
    Nullify,
}

/// Reads one validator's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The validator's key, as its snapshot said.
    key: String,
    views: VecDeque<(u64, u64, String)>,
    /// Transactions that became final since the last sample.
    finalized: u64,
    malformed: u64,
}

impl Decoder {
    /// Things that could not be read.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Reads an event of the stream, and puts what it says behind `reports`.
    pub fn event(&mut self, event: &SseEvent, reports: &mut Vec<Report>) {
        match event.name.as_str() {
            "snapshot" => self.snapshot(&event.data, reports),
            "sample" => self.sample(&event.data, reports),
            "events" => self.events(&event.data, reports),
            // After `lost` comes a snapshot, which says all that is needed.
            _ => {}
        }
    }

    /// Reads the body of `GET /health`.
    pub fn health(&mut self, body: &[u8], reports: &mut Vec<Report>) {
        if let Some(status) = self.read::<WireStatus>(body) {
            self.status(status, reports);
        }
    }

    /// Reads the body of `GET /peers`.
    pub fn peers(&mut self, body: &[u8], reports: &mut Vec<Report>) {
        if let Some(WirePeers::List(peers) | WirePeers::Object { peers }) = self.read(body) {
            reports.push(Report::Peers(links(peers)));
        }
    }

    fn read<'a, T: Deserialize<'a>>(&mut self, text: &'a [u8]) -> Option<T> {
        let read = serde_json::from_slice(text).ok();
        self.malformed += u64::from(read.is_none());
        read
    }

    fn snapshot(&mut self, data: &str, reports: &mut Vec<Report>) {
        // What was lost before it may have been final blocks: this window has no rate.
        self.finalized = 0;
        self.sample(data, reports);
        if let Some(WireSnapshot { peers: Some(peers) }) = self.read(data.as_bytes()) {
            reports.push(Report::Peers(links(peers)));
        }
    }

    fn sample(&mut self, data: &str, reports: &mut Vec<Report>) {
        let (status, sample) = (self.read::<WireStatus>(data.as_bytes()), self.read::<WireSample>(data.as_bytes()));
        let (Some(status), Some(sample)) = (status, sample) else { return };
        self.status(status, reports);
        let finalized = std::mem::take(&mut self.finalized) as f64;
        let finalized_tps = if sample.window_ms == 0 { 0.0 } else { finalized * 1_000.0 / sample.window_ms as f64 };
        if let Some(pending) = sample.pending {
            reports.push(Report::Pending(waiting(pending)));
        }
        let (to_final, to_applied) = (sample.latency_final, sample.latency_applied);
        let measured = |latency: &WireLatency, value: f64| (latency.count > 0).then(|| tenths(value));
        reports.push(Report::Sample(Sample {
            applied_total: whole(sample.applied),
            applied_tps: tenths(sample.applied_per_s),
            finalized_tps: tenths(finalized_tps),
            waiting: whole(sample.waiting),
            latency: Latency {
                final_p50: measured(&to_final, to_final.p50_ms),
                final_p99: measured(&to_final, to_final.p99_ms),
                applied_p50: measured(&to_applied, to_applied.p50_ms),
                applied_p99: measured(&to_applied, to_applied.p99_ms),
            },
            stages: sample.stages.into_iter().take(STAGES_MAX).map(stage).collect(),
        }));
    }

    fn status(&mut self, wire: WireStatus, reports: &mut Vec<Report>) {
        if !wire.validator.is_empty() {
            self.key = short(&wire.validator);
        }
        let leader = short(&wire.leader);
        self.entered(wire.epoch, wire.view, &leader);
        reports.push(Report::Status(Status {
            key: self.key.clone(),
            voting: wire.voting,
            reason: short(&wire.reason),
            height: whole(wire.height),
            finalized_height: whole(wire.finalized_height),
            epoch: whole(wire.epoch),
            view: whole(wire.view),
            leader,
        }));
    }

    fn events(&mut self, data: &str, reports: &mut Vec<Report>) {
        let Some(events) = self.read::<Vec<Value>>(data.as_bytes()) else { return };
        for event in events.into_iter().take(EVENTS_MAX) {
            match serde_json::from_value::<WireEvent>(event) {
                Ok(event) => reports.extend(self.one(event)),
                Err(_) => self.malformed += 1,
            }
        }
    }

    fn one(&mut self, event: WireEvent) -> Option<Report> {
        Some(match event {
            WireEvent::View { epoch, view, leader } => {
                let leader = short(&leader);
                self.entered(epoch, view, &leader);
                Report::View { epoch: whole(epoch), view: whole(view), leader }
            }
            WireEvent::Proposal { proposer } => Report::Proposal { leader: short(&proposer) },
            WireEvent::Vote { epoch, view, validator, vote } => {
                let known = self.views.iter().find(|(of, number, _)| (*of, *number) == (epoch, view));
                Report::Vote(Vote {
                    epoch,
                    view,
                    voter: short(&validator),
                    kind: match vote {
                        WireVote::Notarize => VoteKind::Notarize,
                        WireVote::Finalize => VoteKind::Finalize,
                        WireVote::Nullify => VoteKind::Nullify,
                    },
                    leader: known.map(|(_, _, leader)| leader.clone()).unwrap_or_default(),
                })
            }
            WireEvent::Finalized { height, proposer, transactions } => {
                self.finalized = self.finalized.saturating_add(transactions);
                Report::Finalized { height: whole(height), proposer: short(&proposer) }
            }
            WireEvent::Committed { height } => Report::Committed(whole(height)),
            WireEvent::Peer { validator, connected } => Report::Peer(PeerLink { key: short(&validator), connected }),
            WireEvent::Evidence { validator } => Report::Evidence(short(&validator)),
            WireEvent::Other => return None,
        })
    }

    fn entered(&mut self, epoch: u64, view: u64, leader: &str) {
        let known = self.views.iter().any(|(of, number, _)| (*of, *number) == (epoch, view));
        if !known && !leader.is_empty() {
            self.views.truncate(VIEWS_MAX - 1);
            self.views.push_front((epoch, view, leader.to_owned()));
        }
    }
}

fn links(peers: Vec<WirePeer>) -> Vec<PeerLink> {
    let link = |peer: WirePeer| PeerLink { key: short(&peer.key), connected: peer.connected };
    peers.into_iter().take(PEERS_MAX).map(link).collect()
}

fn waiting(pending: Vec<Pending>) -> Vec<Pending> {
    let newest = pending.len().saturating_sub(PENDING_MAX);
    let cut = |pending: Pending| Pending {
        id: short(&pending.id),
        kind: short(&pending.kind),
        from: pending.from.as_deref().map(short),
        to: pending.to.as_deref().map(short),
        timestamp: whole(pending.timestamp),
    };
    pending.into_iter().skip(newest).map(cut).collect()
}

fn stage(wire: WireStage) -> Stage {
    let share = |share: f64| (share.clamp(0.0, 1.0) * 100.0).round() / 100.0;
    Stage {
        name: short(&wire.name),
        busy: share(wire.busy),
        input: share(wire.input),
        output: share(wire.output),
        transactions_per_second: tenths(wire.per_s),
    }
}

/// A text without control characters, cut.
fn short(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(TEXT_CHARACTERS_MAX).collect()
}

fn whole(number: u64) -> u64 {
    number.min(WHOLE_MAX)
}

/// A number to one decimal, not negative.
fn tenths(number: f64) -> f64 {
    (number.clamp(0.0, RATE_MAX) * 10.0).round() / 10.0
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
