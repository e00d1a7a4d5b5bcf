//! Answers questions: what is in memory at once, what is state between two blocks, what is history from the logs.
//!
//! Answers about the state are given only when the height they are as of is committed, so nobody is told what a crash could take back.
//! History is read on a thread that may wait; nothing here touches a stage but for one bounded channel of questions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tana_consensus::ConsensusHandle;
use tana_execute::State;
use tana_net::QueryFuture;
use tana_types::query::{AgreementStatus, Answer, Request, Response, Status, pending_page, serde_json_text::Text};
use tokio::sync::{Semaphore, oneshot};

use crate::channel::Outlet;
use crate::history::History;
use crate::metrics::NodeMetrics;
use crate::pipeline::execute::StateQuestion;
use crate::published::Published;
use std::sync::atomic::Ordering;

/// Questions about the state that may wait at once; more are refused.
pub const QUESTIONS_MAX: usize = 256;
/// How long an answer waits for its height to be committed.
const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// Look-ups in the logs at once; the others wait.
pub const READS_MAX: usize = 2;
/// How long a look-up in the logs may take.
const READ_TIME: Duration = Duration::from_secs(5);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// What stays the same while a node runs.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// The chain's name.
    pub chain: String,
    /// The genesis hash in hexadecimal.
    pub genesis_hash: String,
    /// The genesis file's text.
    pub genesis: String,
    /// The validator's key.
    pub validator: String,
    /// The signature path.
    pub verify_backend: String,
    /// The log writer.
    pub log_backend: String,
}

/// See the module's text.
pub struct QueryService {
    /// What stays the same.
    pub facts: NodeFacts,
    /// Heights and totals.
    pub published: Arc<Published>,
    /// The way to the execute stage.
    pub questions: Outlet<StateQuestion>,
    /// The logs.
    pub history: Arc<History>,
    /// How many read the logs at once.
    pub reads: Arc<Semaphore>,
    /// Counters.
    pub metrics: Arc<NodeMetrics>,
    /// Agreement, where blocks are agreed on.
    pub agreement: Option<ConsensusHandle>,
}

impl QueryService {
    /// Answers one request; never fails, an error is an answer too.
    pub fn answer(self: Arc<Self>, request: Vec<u8>) -> QueryFuture {
        Box::pin(async move {
            let response = match parse(&request) {
                Ok(request) => self.respond(request).await,
                Err(reason) => Response::Error(reason),
            };
            // These types hold only texts, numbers and lists, which always serialize.
            serde_json::to_vec(&response).unwrap_or_default()
        })
    }

    async fn respond(self: Arc<Self>, request: Request) -> Response {
        let answer = match request {
            Request::Status => Ok(Answer::Status(self.status())),
            Request::Genesis => Ok(Answer::Genesis(self.facts.genesis.clone())),
            Request::Metrics => Ok(Answer::Metrics(Text(self.metrics.to_json()))),
            Request::Account { name } => {
                self.ask(move |state| state.account(&name).map(Answer::Account).ok_or_else(|| unknown_account(&name)))
                    .await
            }
            Request::Currencies => self.ask(|state| Ok(Answer::Currencies(state.currencies()))).await,
            Request::Pending { after, limit } => match pending_page(after.as_deref(), limit) {
                Ok((after, limit)) => self.ask(move |state| Ok(Answer::Pending(state.pending(after, limit)))).await,
                Err(reason) => Err(reason),
            },
            Request::Block { height } => {
                self.read(move |history| history.block(height, until()).map(Answer::Block)).await
            }
            Request::Transaction { id } => {
                self.read(move |history| history.transaction(&id, until()).map(Answer::Transaction)).await
            }
        };
        answer.map_or_else(Response::Error, Response::Ok)
    }

    fn status(&self) -> Status {
        let (height, state_root) = self.published.head();
        Status {
            chain: self.facts.chain.clone(),
            genesis_hash: self.facts.genesis_hash.clone(),
            validator: self.facts.validator.clone(),
            height,
            state_root: hex::encode(state_root),
            accounts: self.published.accounts.load(Ordering::Relaxed).saturating_sub(1),
            transactions_applied: self.published.applied.load(Ordering::Relaxed),
            verify_backend: self.facts.verify_backend.clone(),
            log_backend: self.facts.log_backend.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            agreement: self.agreement.as_ref().map(|agreement| {
                let status = agreement.status();
                let (epoch, final_height) = (status.epoch, status.finalized_height);
                Box::new(AgreementStatus { epoch, final_height, voting: status.voting, reason: status.reason })
            }),
        }
    }

    async fn ask(
        &self,
        question: impl FnOnce(&State) -> Result<Answer, String> + Send + 'static,
    ) -> Result<Answer, String> {
        if self.questions.is_full() {
            return Err("the node answers too many questions at this moment; ask again".to_owned());
        }
        let (sender, receiver) = oneshot::channel();
        self.questions.send(Box::new(move |state| {
            let _ = sender.send((state.progress().height, question(state)));
        }));
        let Ok((height, answer)) = receiver.await else { return Err("the node is stopping".to_owned()) };
        let committed = async {
            while self.published.committed.load(Ordering::Acquire) < height {
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(COMMIT_WAIT, committed).await {
            Ok(()) => answer,
            Err(_) => Err(format!("height {height} is not committed yet; the disk may be slow or full, ask again")),
        }
    }

    async fn read(
        &self,
        question: impl FnOnce(&History) -> Result<Answer, String> + Send + 'static,
    ) -> Result<Answer, String> {
        // The permit goes along: a question whose client is gone still counts until it ends.
        let Ok(permit) = self.reads.clone().acquire_owned().await else {
            return Err("the node is stopping".to_owned());
        };
        let history = self.history.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            question(&history)
        })
        .await;
        answer.unwrap_or_else(|_| Err("the look-up failed; this is a defect of the node, please report it".to_owned()))
    }
}

fn until() -> Instant {
    Instant::now() + READ_TIME
}

fn unknown_account(name: &str) -> String {
    let shown: String = name.chars().take(80).collect();
    format!("no account is named {shown}; name an account by its ed25519_ key or by its @username")
}

fn parse(request: &[u8]) -> Result<Request, String> {
    if request.len() > tana_types::query::REQUEST_BYTES_MAX {
        return Err("a request has at most 4,096 bytes".to_owned());
    }
    serde_json::from_slice(request).map_err(|error| format!("the request cannot be read: {error}"))
}
