//! Counters in Prometheus' text exposition format, version 0.0.4: per metric a line of help, a line with its type, and a sample per set of
//! labels. Names begin with `tana_`, units come last, counters end in `_total`; a name that is here keeps its meaning.

use std::fmt::{Display, Write};

use tana_engine::metrics::MetricsReading;
use tana_engine::published::LatencySummary;

use super::view::{Health, PeerView};

/// A counter without labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How many.
    pub value: u64,
}

/// The text of everything that a node tells; `counters` are those of agreement.
pub fn text(reading: &MetricsReading, health: &Health, peers: &[PeerView], counters: &[Counter]) -> String {
    let mut page = Page::default();
    heights(&mut page, reading, health);
    transactions(&mut page, reading);
    stages(&mut page, reading);
    latencies(
        &mut page,
        "tana_latency_final_seconds",
        "From arrival to final, inside the node.",
        &reading.latency_final,
    );
    latencies(
        &mut page,
        "tana_latency_applied_seconds",
        "From arrival to applied, inside the node.",
        &reading.latency_applied,
    );
    network(&mut page, reading);
    links(&mut page, peers);
    for counter in counters {
        page.counter(counter.name, counter.help, counter.value);
    }
    page.text
}

fn heights(page: &mut Page, reading: &MetricsReading, health: &Health) {
    page.gauge("tana_uptime_seconds", "Since the start.", reading.uptime_ns as f64 / 1e9);
    page.gauge("tana_voting", "1 when the validator votes.", u8::from(health.voting));
    page.gauge("tana_epoch", "The epoch of the next block.", health.epoch);
    page.gauge("tana_view", "The view in that epoch.", health.view);
    page.gauge("tana_finalized_height", "The last final height.", reading.finalized_height);
    page.gauge("tana_committed_height", "The last committed height.", reading.committed_height);
    page.gauge("tana_accounts", "Accounts of the state.", reading.accounts);
    let (all, anonymous) = reading.resident_bytes;
    page.gauge("tana_resident_bytes", "Resident memory, mapped files included.", all);
    page.gauge("tana_resident_anonymous_bytes", "Resident memory without mapped files.", anonymous);
}

fn transactions(page: &mut Page, reading: &MetricsReading) {
    page.counter("tana_admitted_transactions_total", "Admitted at ingest since the start.", reading.admitted);
    page.counter("tana_applied_transactions_total", "Applied since genesis.", reading.applied);
    page.counter("tana_failed_transactions_total", "Failed since the start.", reading.failed);
    page.counter("tana_skipped_transactions_total", "Passed over by execution since the start.", reading.skipped);
    page.gauge("tana_waiting_transactions", "Sealed and not committed.", reading.waiting);
    page.gauge("tana_pool_free_batches", "Batches that are free.", reading.pool.0);
    page.gauge("tana_pool_batches", "Batches in existence.", reading.pool.1);
    page.family("tana_dropped_transactions_total", "counter", "Refused since the start, by code.");
    for (code, count) in &reading.dropped {
        page.sample("tana_dropped_transactions_total", &[("code", code)], count);
    }
}

fn stages(page: &mut Page, reading: &MetricsReading) {
    page.family("tana_stage_transactions_total", "counter", "Handled by a stage.");
    for stage in &reading.stages {
        page.sample("tana_stage_transactions_total", &[("stage", stage.name)], stage.transactions);
    }
    page.family(
        "tana_stage_seconds_total",
        "counter",
        "Time of a stage's threads: busy, waiting for input, held back.",
    );
    for stage in &reading.stages {
        let regimes = [("busy", stage.busy_ns), ("input", stage.waiting_input_ns), ("output", stage.waiting_output_ns)];
        for (regime, nanoseconds) in regimes {
            let labels = [("stage", stage.name), ("regime", regime)];
            page.sample("tana_stage_seconds_total", &labels, nanoseconds as f64 / 1e9);
        }
    }
}

fn latencies(page: &mut Page, name: &str, help: &str, latency: &LatencySummary) {
    page.family(name, "summary", help);
    for (quantile, milliseconds) in [("0.5", latency.p50_ms), ("0.99", latency.p99_ms), ("0.999", latency.p999_ms)] {
        page.sample(name, &[("quantile", quantile)], milliseconds / 1e3);
    }
    page.sample(&format!("{name}_count"), &[], latency.count);
}

fn network(page: &mut Page, reading: &MetricsReading) {
    let network = &reading.network;
    page.gauge("tana_client_connections", "Open connections of clients.", network.connections);
    page.counter("tana_client_frames_total", "Frames read from clients.", network.frames);
    page.counter("tana_client_bytes_total", "Bytes read from clients.", network.bytes);
    page.counter("tana_client_answers_lost_total", "Answers that slow clients lost.", network.answers_lost);
    page.family("tana_client_connections_ended_total", "counter", "Refused and closed by the node, by reason.");
    for (reason, count) in &network.refused_and_closed {
        page.sample("tana_client_connections_ended_total", &[("reason", reason)], count);
    }
}

fn links(page: &mut Page, peers: &[PeerView]) {
    page.family("tana_link_connected", "gauge", "1 when the link to this validator stands.");
    for peer in peers {
        page.sample("tana_link_connected", &[("peer", &peer.key)], u8::from(peer.connected));
    }
    page.family("tana_link_round_trip_seconds", "gauge", "The measured round trip to this validator.");
    for peer in peers {
        page.sample("tana_link_round_trip_seconds", &[("peer", &peer.key)], peer.round_trip_ms / 1e3);
    }
    page.family("tana_link_bytes_total", "counter", "Bytes of messages between validators.");
    for peer in peers {
        for (direction, channels) in [("in", &peer.bytes_in), ("out", &peer.bytes_out)] {
            for (channel, bytes) in channels {
                let labels = [("peer", peer.key.as_str()), ("direction", direction), ("channel", channel)];
                page.sample("tana_link_bytes_total", &labels, bytes);
            }
        }
    }
    page.family("tana_link_wire_bytes_total", "counter", "UDP payload between validators.");
    for peer in peers {
        for (direction, bytes) in [("in", peer.wire_bytes_in), ("out", peer.wire_bytes_out)] {
            page.sample("tana_link_wire_bytes_total", &[("peer", &peer.key), ("direction", direction)], bytes);
        }
    }
    page.family("tana_link_dropped_messages_total", "counter", "Messages dropped where a queue was full.");
    for peer in peers {
        for (channel, count) in &peer.dropped {
            page.sample("tana_link_dropped_messages_total", &[("peer", &peer.key), ("channel", channel)], count);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"{}\"", if place == 0 { "{" } else { "," }, escaped(value));
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }
}

/// A label's value: what would end it is escaped.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_help_type_and_escaped_labels() {
        let mut page = Page::default();
        page.counter("tana_x_total", "What x is.", 3);
        page.sample("tana_y", &[("a", "b\"c\\d\ne"), ("f", "g")], 1.5);
        assert_eq!(
            page.text,
            "# HELP tana_x_total What x is.\n# TYPE tana_x_total counter\ntana_x_total 3\n\
             tana_y{a=\"b\\\"c\\\\d\\ne\",f=\"g\"} 1.5\n"
        );
    }

    #[test]
    fn links_are_told_by_peer_direction_and_channel() {
        let mut page = Page::default();
        let peer = PeerView {
            key: "ed25519_aa".to_owned(),
            connected: true,
            bytes_out: [("batches".to_owned(), 7)].into(),
            dropped: [("votes".to_owned(), 2)].into(),
            ..PeerView::default()
        };
        links(&mut page, &[peer]);
        for line in [
            "tana_link_connected{peer=\"ed25519_aa\"} 1",
            "tana_link_bytes_total{peer=\"ed25519_aa\",direction=\"out\",channel=\"batches\"} 7",
            "tana_link_dropped_messages_total{peer=\"ed25519_aa\",channel=\"votes\"} 2",
        ] {
            assert!(page.text.lines().any(|found| found == line), "{line} is not in\n{}", page.text);
        }
    }
}
