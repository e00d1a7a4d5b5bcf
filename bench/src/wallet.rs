//! A small client that sends real transfers of bulk accounts at a steady rate and remembers what is reported about each.
//!
//! 1. Each stream has accounts of its own; their nonces are asked from the node when the stream begins.
//! 2. Every ten milliseconds a frame of transfers is signed and sent, round the accounts, unless too many wait for their end.
//! 3. Answers are runs of the stream's sequences; each is looked up and kept as a [`Report`].
//! 4. An account whose transaction was rejected or passed over rests, because its nonces are no longer known. When all rest, the nonces
//!    are asked again.
//!
//! What was sent and has no end is given back, so that the same bytes can be sent again after a crash: they must take effect
//! at most once.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use tana_engine::clock::wall_ms;
use tana_net::{AnswerEvent, AnswerKind, AnswerReceiver, ClientError, QueryStream, SubmitSender, TxClient};
use tana_types::Hash;
use tana_types::bulk::bulk_key;
use tana_types::currency::CurrencyCode;
use tana_types::key::PublicKey;
use tana_types::payload::Payload;
use tana_types::query::{Answer, Request, Response};
use tana_types::transaction::{Chain, sign};
use thiserror::Error;

use crate::chain::SEED;
use crate::reports::{Report, Reports};

/// How often a frame is sent.
const TICK: Duration = Duration::from_millis(10);
/// The most transactions of a stream that wait for their end.
const WAITING_MAX: usize = 20_000;
/// Transactions that stand in one frame.
const FRAME_MAX: usize = 200;
/// Transactions without an end that are kept to be sent again.
const RESEND_MAX: usize = 256;

/// Why a wallet stopped.
#[derive(Debug, Error)]
pub enum WalletError {
    /// The connection ended; after a kill that is what should happen.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A transaction could not be built.
    #[error("cannot build a transfer: {0}")]
    Build(#[from] tana_types::codec::DecodeError),
    /// The node answered a question with an error or with something else.
    #[error("the node does not answer as it should: {0}")]
    Answer(String),
    /// An answer breaks the protocol.
    #[error("the node reported {0:?}, but no transaction of this stream waits for it (from sequence {1} on they do)")]
    Unexpected(AnswerEvent, u64),
}

/// Asks one question.
pub async fn ask(stream: &mut QueryStream, request: &Request) -> Result<Result<Answer, String>, WalletError> {
    let bytes = serde_json::to_vec(request).map_err(|error| WalletError::Answer(error.to_string()))?;
    let response = stream.ask(&bytes).await?;
    match serde_json::from_slice(&response).map_err(|error| WalletError::Answer(error.to_string()))? {
        Response::Ok(answer) => Ok(Ok(answer)),
        Response::Error(reason) => Ok(Err(reason)),
    }
}

/// A transaction that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    id: Hash,
    /// Place of its account in the wallet.
    account: usize,
    bytes: Vec<u8>,
    ended: bool,
}

struct Account {
    key: SigningKey,
    next_nonce: u64,
    rests: bool,
}

/// Counts of everything that wallets did and heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct WalletCounts {
    /// Transactions sent, those sent again included.
    pub sent: u64,
    /// Of these, sent again after a crash.
    pub resent: u64,
    /// Reported applied.
    pub applied: u64,
    /// Reported failed.
    pub failed: u64,
    /// Reported as passed over.
    pub skipped: u64,
    /// Rejected.
    pub rejected: u64,
    /// Answers that the node says it dropped.
    pub answers_lost: u64,
}

impl WalletCounts {
    /// Adds those of another wallet.
    pub fn add(&mut self, more: &Self) {
        self.sent += more.sent;
        self.resent += more.resent;
        self.applied += more.applied;
        self.failed += more.failed;
        self.skipped += more.skipped;
        self.rejected += more.rejected;
        self.answers_lost += more.answers_lost;
    }
}

/// The transactions of one stream.
pub struct Wallet {
    chain: Chain,
    accounts: Vec<Account>,
    recipients: Vec<PublicKey>,
    currency: CurrencyCode,
    turn: usize,
    /// Sequence of the first of `sent`.
    first: u64,
    sent: VecDeque<Sent>,
    /// What was sent and has no end.
    waiting: usize,
    counts: WalletCounts,
}

impl Wallet {
    /// A wallet of these bulk accounts, which pay each other.
    pub fn new(chain: Chain, currency: CurrencyCode, numbers: &[u32]) -> Self {
        let account = |number: &u32| Account { key: bulk_key(SEED, *number), next_nonce: 0, rests: true };
        let accounts: Vec<Account> = numbers.iter().map(account).collect();
        let recipients = accounts.iter().map(|account| PublicKey(account.key.verifying_key().to_bytes())).collect();
        let (turn, first, sent, waiting, counts) = (0, 0, VecDeque::new(), 0, WalletCounts::default());
        Self { chain, accounts, recipients, currency, turn, first, sent, waiting, counts }
    }

    /// Forgets what an earlier stream sent: sequences count from 0 on each.
    fn begin_stream(&mut self) {
        (self.first, self.waiting) = (0, 0);
        self.sent.clear();
    }

    /// Signs the next transfers, at most `count`; fewer when accounts rest or too many wait.
    fn next_frame(&mut self, count: usize) -> Result<Vec<u8>, WalletError> {
        let mut frame = Vec::new();
        let accounts = self.accounts.len();
        let mut looked = 0;
        let mut made = 0;
        while made < count.min(FRAME_MAX) && self.waiting < WAITING_MAX && looked < accounts {
            let place = self.turn % accounts;
            self.turn = self.turn.wrapping_add(1);
            if self.accounts[place].rests {
                looked += 1;
                continue;
            }
            looked = 0;
            let recipient = self.recipients[(place + 1) % accounts];
            let payload = Payload::Transfer { recipient, currency: self.currency, amount: 1 };
            let account = &mut self.accounts[place];
            let bytes = sign(&self.chain, &account.key, account.next_nonce, wall_ms(), &payload)?;
            account.next_nonce += 1;
            frame.extend_from_slice(&bytes);
            self.sent.push_back(Sent { id: tana_hash::hash(&bytes), account: place, bytes, ended: false });
            made += 1;
        }
        self.waiting += made;
        self.counts.sent += made as u64;
        Ok(frame)
    }

    /// Whether no account can send.
    fn all_rest(&self) -> bool {
        self.accounts.iter().all(|account| account.rests)
    }

    /// Takes what was reported about the stream's transactions.
    fn hear(&mut self, events: &[AnswerEvent], reports: &RefCell<Reports>) -> Result<(), WalletError> {
        for event in events {
            if event.kind == AnswerKind::Lost {
                self.counts.answers_lost += u64::from(event.count);
                continue;
            }
            for step in 0..u64::from(event.count) {
                self.hear_one(event, event.first + step, event.index.wrapping_add(step), reports)?;
            }
        }
        while self.sent.front().is_some_and(|sent| sent.ended) {
            self.sent.pop_front();
            self.first += 1;
        }
        Ok(())
    }

    fn hear_one(
        &mut self,
        event: &AnswerEvent,
        sequence: u64,
        index: u64,
        reports: &RefCell<Reports>,
    ) -> Result<(), WalletError> {
        let unexpected = || WalletError::Unexpected(*event, self.first);
        let place = sequence.checked_sub(self.first).ok_or_else(unexpected)? as usize;
        let sent = self.sent.get_mut(place).ok_or(WalletError::Unexpected(*event, self.first))?;
        let counts = &mut self.counts;
        let report = |code| Report { id: sent.id, height: event.height, index, code };
        match event.kind {
            AnswerKind::Accepted | AnswerKind::Lost => return Ok(()),
            AnswerKind::Final => {
                reports.borrow_mut().push(report(None));
                return Ok(());
            }
            AnswerKind::Rejected => counts.rejected += 1,
            AnswerKind::Applied => {
                counts.applied += 1;
                reports.borrow_mut().push(report(Some(0)));
            }
            AnswerKind::Failed | AnswerKind::Skipped => {
                *(if event.kind == AnswerKind::Failed { &mut counts.failed } else { &mut counts.skipped }) += 1;
                reports.borrow_mut().push(report(Some(event.code)));
            }
        }
        if matches!(event.kind, AnswerKind::Rejected | AnswerKind::Skipped)
            && let Some(account) = self.accounts.get_mut(sent.account)
        {
            account.rests = true;
        }
        if !sent.ended {
            sent.ended = true;
            self.waiting -= 1;
        }
        Ok(())
    }

    /// What it did so far.
    pub fn counts(&self) -> WalletCounts {
        self.counts
    }

    /// The bytes of the newest transactions without an end, oldest first.
    pub fn without_end(&self) -> Vec<Vec<u8>> {
        let open: Vec<_> = self.sent.iter().filter(|sent| !sent.ended).collect();
        open[open.len().saturating_sub(RESEND_MAX)..].iter().map(|sent| sent.bytes.clone()).collect()
    }
}

/// Asks the nonces of all accounts, all of which take part again.
pub async fn ask_nonces(wallet: &RefCell<Wallet>, client: &TxClient) -> Result<(), WalletError> {
    let mut stream = client.open_query().await?;
    let keys = wallet.borrow().recipients.clone();
    for (place, key) in keys.iter().enumerate() {
        match ask(&mut stream, &Request::Account { name: key.to_string() }).await? {
            Ok(Answer::Account(found)) => {
                if let Some(account) = wallet.borrow_mut().accounts.get_mut(place) {
                    (account.next_nonce, account.rests) = (found.nonce + 1, false);
                }
            }
            other => return Err(WalletError::Answer(format!("{other:?} about {key}"))),
        }
    }
    Ok(())
}

/// Runs a wallet on a submit stream at `rate` transactions a second until the connection ends, or until `total` were sent and all of them have
/// their end. `again` is sent first, as it is.
pub async fn run(
    wallet: &RefCell<Wallet>,
    client: &TxClient,
    again: &[Vec<u8>],
    rate: u64,
    total: Option<u64>,
    reports: &RefCell<Reports>,
) -> Result<(), WalletError> {
    if !again.is_empty() {
        resend(client, again, reports, wallet).await?;
    }
    wallet.borrow_mut().begin_stream();
    let (sender, answers) = client.open_submit().await?;
    let hearing = hear_all(wallet, answers, total, reports);
    let sending = send_all(wallet, client, sender, rate, total);
    tokio::pin!(hearing);
    tokio::select! {
        heard = &mut hearing => heard,
        sent = sending => match sent {
            Ok(_open) => hearing.await,
            Err(error) => Err(error),
        },
    }
}

/// Sends every tick; gives the open stream back when all is sent.
async fn send_all(
    wallet: &RefCell<Wallet>,
    client: &TxClient,
    mut sender: SubmitSender,
    rate: u64,
    total: Option<u64>,
) -> Result<SubmitSender, WalletError> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let before = wallet.borrow().counts.sent;
    let mut owed = 0.0;
    loop {
        ticks.tick().await;
        owed = (owed + rate as f64 * TICK.as_secs_f64()).min(FRAME_MAX as f64);
        let left = total.map_or(u64::MAX, |total| total - (wallet.borrow().counts.sent - before));
        if left == 0 {
            return Ok(sender);
        }
        let frame = wallet.borrow_mut().next_frame((owed as u64).min(left) as usize)?;
        if !frame.is_empty() {
            let made = frame.len() / tana_types::transaction::TRANSFER_BYTES;
            owed -= made as f64;
            sender.send(&frame).await?;
        } else if wallet.borrow().all_rest() && wallet.borrow().waiting == 0 {
            ask_nonces(wallet, client).await?;
        }
    }
}

async fn hear_all(
    wallet: &RefCell<Wallet>,
    mut answers: AnswerReceiver,
    total: Option<u64>,
    reports: &RefCell<Reports>,
) -> Result<(), WalletError> {
    let mut events = Vec::new();
    let mut ended = 0;
    loop {
        events.clear();
        if answers.receive(&mut events).await? == 0 {
            return Ok(());
        }
        wallet.borrow_mut().hear(&events, reports)?;
        ended += events
            .iter()
            .filter(|event| !matches!(event.kind, AnswerKind::Accepted | AnswerKind::Final))
            .map(|event| u64::from(event.count))
            .sum::<u64>();
        if total.is_some_and(|total| ended >= total) {
            return Ok(());
        }
    }
}

/// Sends the same bytes again on a stream of their own and follows them to their ends.
async fn resend(
    client: &TxClient,
    again: &[Vec<u8>],
    reports: &RefCell<Reports>,
    wallet: &RefCell<Wallet>,
) -> Result<(), WalletError> {
    let (mut sender, mut answers) = client.open_submit().await?;
    for frame in again.chunks(FRAME_MAX) {
        sender.send(&frame.concat()).await?;
    }
    let ids: Vec<Hash> = again.iter().map(|bytes| tana_hash::hash(bytes)).collect();
    let mut ended = BTreeMap::new();
    let mut events = Vec::new();
    wallet.borrow_mut().counts.sent += again.len() as u64;
    wallet.borrow_mut().counts.resent += again.len() as u64;
    while ended.len() < ids.len() {
        events.clear();
        if answers.receive(&mut events).await? == 0 {
            break;
        }
        for event in &events {
            for step in 0..u64::from(event.count) {
                let sequence = event.first + step;
                let id = *ids.get(sequence as usize).ok_or(WalletError::Unexpected(*event, 0))?;
                let code = match event.kind {
                    AnswerKind::Accepted => continue,
                    AnswerKind::Lost | AnswerKind::Rejected => {
                        ended.insert(sequence, ());
                        continue;
                    }
                    AnswerKind::Final => None,
                    AnswerKind::Applied | AnswerKind::Failed | AnswerKind::Skipped => Some(event.code),
                };
                reports.borrow_mut().push(Report { id, height: event.height, index: event.index + step, code });
                if code.is_some() {
                    ended.insert(sequence, ());
                }
            }
        }
    }
    Ok(())
}
