//! `POST /propose`: signed transactions in hexadecimal, handed to this validator's own ingest over its own QUIC port, as any client does it.
//!
//! 1. A node that no block would list for is told so; an address beyond its share is too; at most [`BODIES_MAX`] bodies are taken at a time.
//! 2. The body is read within [`BODY_TIME`] and [`BODY_BYTES_MAX`].
//! 3. On a thread that may take its time: what is no transaction of this chain, or not signed by its sender, is refused here. Passed on it
//!    would be booked on this machine's own address, by which everybody else on this machine comes too.
//! 4. The rest is sent in one stream, and the answer is given when each was accepted or refused, at the latest after [`ANSWER_TIME`].
//!
//! No key and no token is asked for: a transaction carries its sender's signature, and nothing else gets in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Bytes, Incoming};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tana_net::frame::FRAME_BYTES_MAX;
use tana_net::{AnswerKind, ClientError, ServerPin, TxClient};
use tana_types::code::Code;
use tana_types::transaction::{Chain, Transaction};
use tana_verify::{Backend, Item, Mode, NoCache, Verifier};
use tokio::sync::Semaphore;

use super::answer::{Answer, Problem, json};
use super::rate::Shares;
use super::view::{IngestPort, NodeView};

/// The most bytes of a body.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// The most transactions of a body.
pub const TRANSACTIONS_MAX: usize = 1_000;
/// Bodies that are taken at a time.
pub const BODIES_MAX: usize = 4;
/// How long a body may take to arrive.
pub const BODY_TIME: Duration = Duration::from_secs(5);
/// How long the answers may take.
pub const ANSWER_TIME: Duration = Duration::from_secs(8);
/// Transactions that an address may send in a second, and at once.
const SHARE: (u32, u32) = (1_000, 2_000);
/// What a request costs of the share beside its transactions.
const REQUEST_COST: u32 = 10;

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Proposed {
    success: bool,
    accepted: u32,
    rejected: Vec<Rejected>,
}

/// A transaction that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Rejected {
    index: u32,
    code: &'static str,
}

/// Everything that stands behind the page.
pub struct Proposals {
    bodies: Semaphore,
    shares: Shares,
    verifier: Arc<Mutex<Verifier>>,
    /// The connection to the own ingest, once one was needed.
    client: tokio::sync::Mutex<Option<TxClient>>,
}

impl Default for Proposals {
    fn default() -> Self {
        let verifier = Arc::new(Mutex::new(Verifier::new(Backend::detect().0, rand::random())));
        let (per_second, most) = SHARE;
        Self {
            bodies: Semaphore::new(BODIES_MAX),
            shares: Shares::new(per_second, most),
            verifier,
            client: tokio::sync::Mutex::default(),
        }
    }
}

impl Proposals {
    /// Answers.
    pub async fn answer(&self, body: Incoming, ip: IpAddr, view: &Arc<dyn NodeView>) -> Answer {
        match self.propose(body, ip, view).await {
            Ok(proposed) => json(StatusCode::OK, &proposed),
            Err(problem) => problem.into(),
        }
    }

    async fn propose(&self, body: Incoming, ip: IpAddr, view: &Arc<dyn NodeView>) -> Result<Proposed, Problem> {
        let ingest = view.ingest().ok_or_else(|| {
            let text = "this node is in no validator set now or in the next epoch, so no block would list what it takes in; send it to a validator";
            Problem::new(StatusCode::BAD_REQUEST, "not_validator", text)
        })?;
        self.take(ip, REQUEST_COST)?;
        let _body = self.bodies.try_acquire().map_err(|_| {
            let text =
                format!("{BODIES_MAX} bodies are under way, which is as many as are taken at a time; send it again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text).retry_after(Duration::from_secs(1))
        })?;
        let body = read(body).await?;
        let texts = parse(&body)?;
        self.take(ip, texts.len() as u32)?;
        let (verifier, chain) = (self.verifier.clone(), Chain::new(ingest.genesis_hash));
        let checked = tokio::task::spawn_blocking(move || check(&texts, &chain, &mut verifier.lock()));
        let mut checked = checked.await.map_err(|_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the check ended by a defect; please report it")
        })??;
        let mut answers = Answers::default();
        if !checked.places.is_empty() {
            let frames = std::mem::take(&mut checked.frames);
            let submitted = self.submit(&ingest, frames, checked.places.len(), &mut answers);
            let submitted = tokio::time::timeout(ANSWER_TIME, submitted).await;
            let failure = match submitted {
                Err(_) => Some(format!("not within {} s", ANSWER_TIME.as_secs())),
                Ok(Err(error)) => Some(error.to_string()),
                Ok(Ok(())) if answers.count() < checked.places.len() => Some("the node ended the stream".to_owned()),
                Ok(Ok(())) => None,
            };
            if let Some(failure) = failure {
                // The next one begins with a connection of its own.
                self.client.lock().await.take();
                let (given, all) = (answers.count(), checked.places.len());
                let text = format!(
                    "{given} of {all} transactions were accepted or refused: {failure}; ask for them by their identifiers"
                );
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_answered", text));
            }
        }
        Ok(checked.proposed(answers))
    }

    fn take(&self, ip: IpAddr, points: u32) -> Result<(), Problem> {
        self.shares.take(ip, points, Instant::now()).map_err(|wait| {
            let text = format!("this address has used up its share of {} transactions a second", SHARE.0);
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many", text).retry_after(wait)
        })
    }

    /// Sends frames of `count` transactions and waits until each was answered.
    async fn submit(
        &self,
        ingest: &IngestPort,
        frames: Vec<Bytes>,
        count: usize,
        answers: &mut Answers,
    ) -> Result<(), ClientError> {
        let client = self.client(ingest).await?;
        let (mut sender, mut receiver) = client.open_submit().await?;
        for frame in frames {
            sender.send_bytes(frame).await?;
        }
        let mut events = Vec::new();
        while answers.count() < count {
            events.clear();
            if receiver.receive(&mut events).await? == 0 {
                break;
            }
            for event in &events {
                let sequences = event.first..event.first.saturating_add(u64::from(event.count)).min(count as u64);
                match event.kind {
                    AnswerKind::Accepted => answers.accepted += sequences.count(),
                    AnswerKind::Rejected => answers.rejected.extend(sequences.map(|sequence| (sequence, event.code))),
                    // What comes later is told to those who wait for it; what was lost is missing in the count.
                    AnswerKind::Final
                    | AnswerKind::Applied
                    | AnswerKind::Failed
                    | AnswerKind::Skipped
                    | AnswerKind::Lost => {}
                }
            }
        }
        Ok(())
    }

    async fn client(&self, ingest: &IngestPort) -> Result<TxClient, ClientError> {
        let mut client = self.client.lock().await;
        if let Some(open) = client.as_ref().filter(|open| open.close_reason().is_none()) {
            return Ok(open.clone());
        }
        let opened = TxClient::connect(ingest.address, ServerPin::Key(ingest.key), None).await?;
        Ok(client.insert(opened).clone())
    }
}

/// What the node has answered so far, by sequence in the stream.
#[derive(Debug, Default)]
struct Answers {
    accepted: usize,
    rejected: BTreeMap<u64, u8>,
}

impl Answers {
    fn count(&self) -> usize {
        self.accepted + self.rejected.len()
    }
}

/// A list that was looked at.
#[derive(Debug, Default)]
struct Checked {
    /// What goes to the node.
    frames: Vec<Bytes>,
    /// By sequence in the stream, the place in the list.
    places: Vec<u32>,
    /// What was refused here.
    rejected: Vec<Rejected>,
}

impl Checked {
    fn proposed(self, answers: Answers) -> Proposed {
        let name = |code: u8| Code::from_u8(code).map_or("unknown", Code::name);
        let place = |sequence: u64| self.places.get(usize::try_from(sequence).ok()?).copied();
        let by_node = answers
            .rejected
            .iter()
            .filter_map(|(sequence, code)| Some(Rejected { index: place(*sequence)?, code: name(*code) }));
        let mut rejected: Vec<Rejected> = by_node.chain(self.rejected).collect();
        rejected.sort_by_key(|rejected| rejected.index);
        Proposed { success: true, accepted: answers.accepted as u32, rejected }
    }
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let too_large = || {
        let text = format!("a body has at most {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(bad_request("the body ended before it was complete")),
        Err(_) => {
            let text = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", text))
        }
    }
}

fn bad_request(text: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", text)
}

/// The texts of a body.
fn parse(body: &[u8]) -> Result<Vec<String>, Problem> {
    #[derive(Deserialize)]
    struct Body {
        transactions: Vec<String>,
    }
    let form = r#"the body must be {"transactions": ["<a signed transaction in hexadecimal>", ...]}"#;
    let body: Body = serde_json::from_slice(body).map_err(|error| bad_request(format!("{form}: {error}")))?;
    match body.transactions.len() {
        0 => Err(bad_request("the list of transactions is empty")),
        1..=TRANSACTIONS_MAX => Ok(body.transactions),
        more => {
            let text = format!("{more} transactions are too many; a body has at most {TRANSACTIONS_MAX}");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text))
        }
    }
}

/// Decodes transactions, refuses those that are none of this chain or not signed by their senders, and packs the others into frames.
fn check(texts: &[String], chain: &Chain, verifier: &mut Verifier) -> Result<Checked, Problem> {
    let bytes: Vec<Vec<u8>> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| hex::decode(text).map_err(|error| bad_request(format!("transactions[{index}]: {error}"))))
        .collect::<Result<_, _>>()?;
    let mut checked = Checked::default();
    let mut candidates: Vec<(u32, Transaction<'_>)> = Vec::with_capacity(bytes.len());
    for (index, bytes) in (0..).zip(&bytes) {
        let code = match Transaction::exactly(bytes) {
            Some(transaction) if transaction.header().chain.get() == chain.tag() => {
                candidates.push((index, transaction));
                continue;
            }
            Some(_) => Code::WrongChain,
            None => Code::Malformed,
        };
        checked.rejected.push(Rejected { index, code: code.name() });
    }
    let items: Vec<Item<'_>> = candidates
        .iter()
        .map(|(_, transaction)| Item {
            key: &transaction.header().sender,
            message: transaction.body(),
            signature: transaction.signature(),
            hint: u32::MAX,
        })
        .collect();
    let mut verdicts = Vec::new();
    verifier.verify(chain.signing_prefix(), &items, &NoCache, Mode::BatchFirst, &mut verdicts);
    let mut frame: Vec<u8> = Vec::new();
    for ((index, transaction), is_valid) in candidates.iter().zip(verdicts) {
        if !is_valid {
            checked.rejected.push(Rejected { index: *index, code: Code::BadSignature.name() });
            continue;
        }
        if frame.len() + transaction.bytes().len() > FRAME_BYTES_MAX {
            checked.frames.push(std::mem::take(&mut frame).into());
        }
        frame.extend_from_slice(transaction.bytes());
        checked.places.push(*index);
    }
    if !frame.is_empty() {
        checked.frames.push(frame.into());
    }
    Ok(checked)
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
