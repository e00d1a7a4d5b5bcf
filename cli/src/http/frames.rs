//! Telemetry as server-sent events: an event's fields as JSON, and frames with a name, a number and one line of data.

use hyper::body::Bytes;
use serde::Serialize;
use tana_consensus::Observation;
use tana_engine::telemetry::{Event, Stamped};
use tana_types::Hash;
use tana_types::key::PublicKey;

use super::view::{Identity, PeerLine, Sample, short_name};

/// The most bytes of the data of one frame of events, by which a longer list is cut into several.
pub const EVENTS_BYTES_MAX: usize = 16 * 1_024;

/// An event as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its number: one more than that of the event before it.
    pub sequence: u64,
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened, by `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[allow(missing_docs, reason = "docs/node-http.md describes each field, and these are its words")]
pub enum What {
    View { epoch: u64, view: u64, leader: String },
    Proposal { epoch: u64, view: u64, height: u64, proposer: String, hash: String, transactions: u32, batches: u32 },
    Vote { epoch: u64, view: u64, validator: String, vote: &'static str, hash: String },
    Certificate { epoch: u64, view: u64, vote: &'static str, hash: String, voters: u32, validators: u32 },
    Finalized { height: u64, hash: String, proposer: String, transactions: u32 },
    Committed { height: u64, hash: String, applied: u32, failed: u32, skipped: u32 },
    Peer { validator: String, id: String, connected: bool },
    Evidence { validator: String },
    Epoch { epoch: u64, validators: u32, voting: bool },
}

/// A key; empty for zeros, which name nobody.
fn key(bytes: [u8; 32]) -> String {
    if bytes == [0; 32] { String::new() } else { PublicKey(bytes).to_string() }
}

/// A hash; empty for zeros, which name no block.
fn hash(bytes: Hash) -> String {
    if bytes == [0; 32] { String::new() } else { hex::encode(bytes) }
}

impl From<Event> for What {
    fn from(event: Event) -> Self {
        match event {
            Event::Agreement(observation) => observation.into(),
            Event::Finalized { height, hash: block, proposer, transactions } => {
                Self::Finalized { height, hash: hash(block), proposer: key(proposer), transactions }
            }
            Event::Committed { height, hash: block, applied, failed, skipped } => {
                Self::Committed { height, hash: hash(block), applied, failed, skipped }
            }
        }
    }
}

impl From<Observation> for What {
    fn from(observation: Observation) -> Self {
        match observation {
            Observation::Epoch { epoch, validators, voting } => Self::Epoch { epoch, validators, voting },
            Observation::View { epoch, view, leader } => Self::View { epoch, view, leader: key(leader) },
            Observation::Proposal { epoch, view, height, proposer, block, transactions, batches } => Self::Proposal {
                epoch,
                view,
                height,
                proposer: key(proposer),
                hash: hash(block),
                transactions,
                batches,
            },
            Observation::Vote { epoch, view, validator, kind, block, .. } => {
                Self::Vote { epoch, view, validator: key(validator), vote: kind.name(), hash: hash(block) }
            }
            Observation::Certificate { epoch, view, kind, block, voters, validators } => Self::Certificate {
                epoch,
                view,
                vote: kind.name(),
                hash: hash(block),
                voters: voters.count(),
                validators,
            },
            Observation::Evidence { culprit } => Self::Evidence { validator: key(culprit) },
            Observation::Peer { key: peer, connected } => {
                Self::Peer { validator: key(peer), id: short_name(&PublicKey(peer)), connected }
            }
        }
    }
}

/// The data of a `snapshot`.
#[derive(Debug, Serialize)]
pub struct Snapshot<'a> {
    /// Who the node is.
    #[serde(flatten)]
    pub identity: &'a Identity,
    /// The number of the last event that is in it.
    pub sequence: u64,
    /// The other validators.
    pub peers: &'a [PeerLine],
    /// How the node does.
    #[serde(flatten)]
    pub sample: &'a Sample,
}

/// The data of a `lost`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Lost {
    /// Events that were not sent.
    pub events: u64,
    /// Samples that were not sent.
    pub samples: u64,
}

/// A frame of which `data` is written as one line of JSON.
pub fn frame(name: &str, sequence: u64, data: &impl Serialize) -> Bytes {
    // These types hold only texts, numbers and lists, which always serialize; JSON has no line breaks outside of texts, and none inside.
    raw_frame(name, sequence, &serde_json::to_string(data).unwrap_or_default())
}

fn raw_frame(name: &str, sequence: u64, data: &str) -> Bytes {
    Bytes::from(format!("id: {sequence}\nevent: {name}\ndata: {data}\n\n"))
}

/// A comment, which readers pass over: it shows that the stream lives.
pub fn comment() -> Bytes {
    Bytes::from_static(b": alive\n\n")
}

/// Frames of `events`, which are numbered from behind `sequence` on, each with how many it holds.
pub fn event_frames(events: &[Stamped], mut sequence: u64) -> Vec<(Bytes, u64)> {
    let (mut frames, mut data, mut count) = (Vec::new(), String::new(), 0);
    for stamped in events {
        sequence += 1;
        let line = Line { sequence, time_ms: stamped.time_ms, what: stamped.event.into() };
        let text = serde_json::to_string(&line).unwrap_or_default();
        data.push(if count == 0 { '[' } else { ',' });
        data.push_str(&text);
        count += 1;
        if data.len() >= EVENTS_BYTES_MAX {
            data.push(']');
            frames.push((raw_frame("events", sequence, &data), count));
            data.clear();
            count = 0;
        }
    }
    if count > 0 {
        data.push(']');
        frames.push((raw_frame("events", sequence, &data), count));
    }
    frames
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tana_consensus::VoteKind;

    fn stamped(event: Event) -> Stamped {
        Stamped { time_ms: 5, event }
    }

    fn data(frame: &Bytes) -> serde_json::Value {
        let text = std::str::from_utf8(frame).unwrap();
        assert!(text.ends_with("\n\n") && text.lines().count() == 4, "{text}");
        serde_json::from_str(text.lines().nth(2).unwrap().strip_prefix("data: ").unwrap()).unwrap()
    }

    #[test]
    fn events_are_one_line_of_json_with_their_numbers() {
        let vote = Observation::Vote {
            epoch: 1,
            view: 2,
            validator: [3; 32],
            place: 0,
            validators: 4,
            kind: VoteKind::Nullify,
            block: [0; 32],
        };
        let peer = Observation::Peer { key: [0xab; 32], connected: true };
        let events = [stamped(Event::Agreement(vote)), stamped(Event::Agreement(peer))];
        let frames = event_frames(&events, 40);
        assert_eq!((frames.len(), frames[0].1), (1, 2));
        assert!(frames[0].0.starts_with(b"id: 42\nevent: events\n"));
        let expected = serde_json::json!([
            {"sequence": 41, "time_ms": 5, "kind": "vote", "epoch": 1, "view": 2, "vote": "nullify", "hash": "",
             "validator": format!("ed25519_{}", "03".repeat(32))},
            {"sequence": 42, "time_ms": 5, "kind": "peer", "id": "val_abababab", "connected": true,
             "validator": format!("ed25519_{}", "ab".repeat(32))},
        ]);
        assert_eq!(data(&frames[0].0), expected);
        assert!(event_frames(&[], 40).is_empty());
    }

    #[test]
    fn a_long_list_is_cut_into_frames_without_loss() {
        let events: Vec<_> = (0..1_000)
            .map(|height| stamped(Event::Committed { height, hash: [1; 32], applied: 2, failed: 3, skipped: 4 }))
            .collect();
        let frames = event_frames(&events, 0);
        assert!(frames.len() > 1);
        let mut heights = Vec::new();
        for (frame, count) in &frames {
            assert!(frame.len() < EVENTS_BYTES_MAX + 1_024);
            let lines = data(frame);
            assert_eq!(lines.as_array().unwrap().len() as u64, *count);
            heights.extend(lines.as_array().unwrap().iter().map(|line| line["height"].as_u64().unwrap()));
        }
        assert_eq!(heights, (0..1_000).collect::<Vec<_>>());
    }
}
