//! Follows one validator over its HTTP, for as long as the registry names it.
//!
//! 1. While somebody looks: its telemetry stream. Where it has none, `/health` and `/peers` twice a second.
//! 2. While nobody looks: `/health` and `/peers` once a second.
//! 3. A stream that ends is asked for again at once. A port that refuses makes the validator offline at once, one that does not answer in
//!    time at the second try: within a second, and a short stall alone does not.
//! 4. Tries follow each other after pauses that grow from a tenth of a second to two, never all at the same time.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::report::{Input, Report, Sample, SourceId};
use crate::sse::{SseEvent, SseReader};
use crate::telemetry::{Decoder, SAMPLE_MS};

/// How long a connection and an answer's first bytes may take.
const ANSWER_TIME: Duration = Duration::from_millis(400);
/// How long a whole answer may take that is no stream.
const BODY_TIME: Duration = Duration::from_millis(1_000);
/// A stream that says nothing for so long is given up.
const SILENT_TIME: Duration = Duration::from_secs(3);
/// Bytes of an answer that is no stream.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How often a validator without telemetry is asked while somebody looks.
const POLL_TIME: Duration = Duration::from_millis(500);
/// How often any is asked while nobody looks.
const IDLE_TIME: Duration = Duration::from_millis(1_000);
/// How long a validator without telemetry is polled before it is asked for telemetry again.
const NO_TELEMETRY_TIME: Duration = Duration::from_secs(30);
/// A stream that ends earlier than this is not asked for again at once.
const SHORT_TIME: Duration = Duration::from_secs(1);
/// The first pause after a try that failed.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Things in a stream that cannot be read before it is given up.
const MALFORMED_MAX: u64 = 1_000;

/// Why a try ended.
enum Ended {
    /// It refuses connections, or breaks them off.
    Refused(String),
    /// It does not answer in time.
    Late,
    /// It has no telemetry.
    NoTelemetry,
    /// It sends what is no telemetry, or too much.
    Nonsense(String),
    /// Nobody looks any more, or somebody does now.
    InterestChanged,
    /// The visualizer is gone.
    Gone,
}

impl Ended {
    fn text(&self) -> String {
        match self {
            Self::Refused(text) | Self::Nonsense(text) => text.clone(),
            Self::Late => "does not answer in time".to_owned(),
            Self::NoTelemetry => "has no telemetry".to_owned(),
            Self::InterestChanged | Self::Gone => String::new(),
        }
    }
}

/// See the module's text.
pub(crate) struct Source {
    pub(crate) id: SourceId,
    /// `http://host:port`.
    pub(crate) url: String,
    pub(crate) client: Client,
    pub(crate) interest: watch::Receiver<bool>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

impl Source {
    /// Follows the validator until the task is ended.
    pub(crate) async fn run(mut self) {
        let (mut failures, mut late, mut down) = (0u32, 0u32, false);
        let mut no_telemetry_until: Option<Instant> = None;
        loop {
            let wanted = *self.interest.borrow_and_update();
            let polls = no_telemetry_until.is_some_and(|until| Instant::now() < until);
            let (mut heard, begun) = (false, Instant::now());
            let ended = match (wanted, polls) {
                (true, false) => self.stream(&mut heard).await,
                (true, true) => self.poll(POLL_TIME, no_telemetry_until, &mut heard).await,
                (false, _) => self.poll(IDLE_TIME, None, &mut heard).await,
            };
            if heard {
                (failures, late, down) = (0, 0, false);
            }
            match ended {
                Ended::Gone => return,
                Ended::InterestChanged => continue,
                Ended::NoTelemetry => {
                    no_telemetry_until = Some(Instant::now() + NO_TELEMETRY_TIME);
                    continue;
                }
                // It was well until now: what ended may be the stream alone.
                Ended::Refused(_) | Ended::Late if heard => {
                    late = u32::from(matches!(ended, Ended::Late));
                    if begun.elapsed() < SHORT_TIME {
                        self.pause(1).await;
                    }
                    continue;
                }
                Ended::Late if late == 0 => {
                    late += 1;
                    continue;
                }
                Ended::Refused(_) | Ended::Late | Ended::Nonsense(_) => {}
            }
            if !down && self.tell(Report::Down(ended.text())).await.is_err() {
                return;
            }
            down = true;
            failures += 1;
            self.pause(failures).await;
        }
    }

    /// Waits before the next try, but for no longer than until somebody looks.
    async fn pause(&mut self, failures: u32) {
        let longest = PAUSE_MIN.saturating_mul(1 << failures.min(8).saturating_sub(1)).min(PAUSE_MAX);
        let pause = longest.mul_f64(rand::random_range(0.5..1.0));
        tokio::select! {
            () = sleep(pause) => {}
            changed = self.interest.changed() => if changed.is_err() { sleep(pause).await },
        }
    }

    async fn tell(&self, report: Report) -> Result<(), Ended> {
        self.inputs.send(Input::Report(self.id, report)).await.map_err(|_| Ended::Gone)
    }

    async fn tell_all(&self, reports: &mut Vec<Report>) -> Result<(), Ended> {
        for report in reports.drain(..) {
            self.tell(report).await?;
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Response, Ended> {
        match timeout(ANSWER_TIME, self.client.get(format!("{}{path}", self.url)).send()).await {
            Err(_) => Err(Ended::Late),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(broken(&error)),
        }
    }

    /// Follows the stream until it ends; `heard` says whether it said who the validator is.
    async fn stream(&mut self, heard: &mut bool) -> Ended {
        let result = self.stream_until(heard).await;
        result.err().unwrap_or(Ended::InterestChanged)
    }

    async fn stream_until(&mut self, heard: &mut bool) -> Result<(), Ended> {
        let mut response = self.get("/telemetry").await?;
        match response.status() {
            StatusCode::OK if is_event_stream(&response) => {}
            // All its streams are taken: it is asked as if it had none.
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::OK => return Err(Ended::NoTelemetry),
            status => return Err(Ended::Nonsense(format!("answers {} when asked for telemetry", status.as_u16()))),
        }
        self.tell(Report::Up { every_ms: SAMPLE_MS }).await?;
        let (mut reader, mut decoder) = (SseReader::default(), Decoder::default());
        let (mut events, mut reports): (Vec<SseEvent>, Vec<Report>) = (Vec::new(), Vec::new());
        loop {
            let patience = if *heard { SILENT_TIME } else { ANSWER_TIME };
            let chunk = tokio::select! {
                chunk = timeout(patience, response.chunk()) => chunk,
                // Interest that changed and changed back is no change.
                changed = self.interest.changed() => match changed {
                    Ok(()) if *self.interest.borrow_and_update() => continue,
                    Ok(()) => {
                        self.tell(Report::Sample(Sample::default())).await?;
                        self.tell(Report::Pending(Vec::new())).await?;
                        return Ok(());
                    }
                    Err(_) => return Err(Ended::Gone),
                },
            };
            let bytes = match chunk {
                Err(_) => return Err(Ended::Late),
                Ok(Ok(Some(bytes))) => bytes,
                Ok(Ok(None)) => return Err(Ended::Refused("ended its telemetry".to_owned())),
                Ok(Err(error)) => return Err(broken(&error)),
            };
            reader.feed(&bytes, &mut events).map_err(|error| Ended::Nonsense(error.to_string()))?;
            for event in events.drain(..) {
                decoder.event(&event, &mut reports);
            }
            if decoder.malformed() > MALFORMED_MAX {
                return Err(Ended::Nonsense("sends telemetry that cannot be read".to_owned()));
            }
            *heard |= reports.iter().any(|report| matches!(report, Report::Status(_)));
            self.tell_all(&mut reports).await?;
        }
    }

    /// Asks again and again until `until`, until interest changes, or until no answer comes.
    async fn poll(&mut self, every: Duration, until: Option<Instant>, heard: &mut bool) -> Ended {
        let result = self.poll_until(every, until, heard).await;
        result.err().unwrap_or(Ended::InterestChanged)
    }

    async fn poll_until(&mut self, every: Duration, until: Option<Instant>, heard: &mut bool) -> Result<(), Ended> {
        self.tell(Report::Up { every_ms: every.as_millis() as u64 }).await?;
        let mut decoder = Decoder::default();
        let mut reports = Vec::new();
        loop {
            // The health of a validator that does not vote comes with status 503.
            decoder.health(&self.body("/health").await?, &mut reports);
            if reports.is_empty() {
                return Err(Ended::Nonsense("its /health cannot be read".to_owned()));
            }
            decoder.peers(&self.body("/peers").await?, &mut reports);
            *heard = true;
            self.tell_all(&mut reports).await?;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(());
            }
            tokio::select! {
                () = sleep(every) => {}
                changed = self.interest.changed() => return if changed.is_ok() { Ok(()) } else { Err(Ended::Gone) },
            }
        }
    }

    async fn body(&self, path: &str) -> Result<Vec<u8>, Ended> {
        let deadline = Instant::now() + BODY_TIME;
        let mut response = self.get(path).await?;
        let mut body = Vec::new();
        loop {
            match timeout_at(deadline, response.chunk()).await {
                Err(_) => return Err(Ended::Late),
                Ok(Err(error)) => return Err(broken(&error)),
                Ok(Ok(None)) => return Ok(body),
                Ok(Ok(Some(bytes))) if body.len() + bytes.len() <= BODY_BYTES_MAX => body.extend_from_slice(&bytes),
                Ok(Ok(Some(_))) => {
                    return Err(Ended::Nonsense(format!("its {path} is larger than {BODY_BYTES_MAX} bytes")));
                }
            }
        }
    }
}

fn is_event_stream(response: &Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

fn broken(error: &reqwest::Error) -> Ended {
    if error.is_timeout() {
        return Ended::Late;
    }
    let text = if error.is_connect() { "refuses connections" } else { "broke its connection off" };
    Ended::Refused(text.to_owned())
}

/// The client that all sources share: plain HTTP, straight to the validator.
pub(crate) fn client() -> Result<Client, reqwest::Error> {
    Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .connect_timeout(ANSWER_TIME)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .build()
}

/// The address of a validator's HTTP, or `None` where host and port make none. Only host names and IP addresses are hosts.
pub(crate) fn url(host: &str, port: u16) -> Option<String> {
    let host = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        Ok(std::net::IpAddr::V4(address)) => address.to_string(),
        Err(_) => {
            let named = !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
            named.then(|| host.to_owned())?
        }
    };
    (port != 0).then(|| format!("http://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_and_ports_make_an_address() {
        assert_eq!(url("127.0.0.1", 9001).as_deref(), Some("http://127.0.0.1:9001"));
        assert_eq!(url("::1", 9001).as_deref(), Some("http://[::1]:9001"));
        assert_eq!(url("node-1.tail.net", 80).as_deref(), Some("http://node-1.tail.net:80"));
        for host in ["", "a/b", "user@host", "host:1", "a b", "host?x", "host#x", "\u{e4}.de"] {
            assert_eq!(url(host, 80), None, "{host}");
        }
        assert_eq!(url("127.0.0.1", 0), None);
    }
}
