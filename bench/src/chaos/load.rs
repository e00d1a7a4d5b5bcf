//! Clients of all validators, on a thread of their own: each sends real transfers at a steady rate to one validator, remembers every report, and
//! comes back when its connection breaks.
//!
//! 1. Every validator has one [`Wallet`] with accounts of its own.
//! 2. A wallet connects, asks the nonces of its accounts, sends again what had no end, and goes on until the connection ends or the program says
//!    that it should ([`Load::reconnect`]: a client notices a dead server only after a while).
//! 3. An answer that breaks the protocol ends the wallet and is a violation.
//!
//! All reports come into one list, which is given back at the end.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tana_net::{ServerPin, TxClient};
use tana_types::currency::CurrencyCode;
use tana_types::key::PublicKey;
use tana_types::transaction::Chain;

use crate::reports::Reports;
use crate::wallet::{Wallet, WalletCounts, WalletError, ask_nonces, run};

/// Accounts of a wallet: 20,000 transactions in flight are 157 of each.
pub const ACCOUNTS_EACH: u32 = 128;
/// How often a wallet looks whether it is to stop or to reconnect.
const LOOK: Duration = Duration::from_millis(20);
/// The pause before a wallet connects again.
const RETRY: Duration = Duration::from_millis(200);
/// How long a wallet may be connected without an answer until it gives up sending again what had no end.
const SILENCE: Duration = Duration::from_secs(30);

/// What to send.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// The chain.
    pub chain: Chain,
    /// Where to.
    pub targets: Vec<(SocketAddr, PublicKey)>,
    /// The first bulk account that is used.
    pub first_account: u32,
    /// Transactions per second in all.
    pub rate: u64,
}

/// What the clients did and heard.
#[derive(Debug, Default)]
pub struct LoadOutcome {
    /// Every report.
    pub reports: Reports,
    /// Sums over the wallets.
    pub counts: WalletCounts,
    /// Answers that break the protocol.
    pub violations: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    /// How often each wallet was told to reconnect.
    breaks: Vec<AtomicU64>,
    finals: AtomicU64,
    final_height: AtomicU64,
}

/// Clients that run.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<LoadOutcome>>,
}

impl Load {
    /// Starts one client for each target.
    ///
    /// # Errors
    /// A sentence when the system gives no thread.
    pub fn start(plan: LoadPlan) -> Result<Self, String> {
        let currency: CurrencyCode = "USD".parse().map_err(|error| format!("USD: {error}"))?;
        let breaks = plan.targets.iter().map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { breaks, ..Shared::default() });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new().name("clients".to_owned());
        let thread = thread.spawn(move || send(&plan, currency, &theirs)).map_err(|error| error.to_string())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Reports of final transactions so far.
    pub fn finals(&self) -> u64 {
        self.shared.finals.load(Ordering::Relaxed)
    }

    /// The highest block that was reported final so far.
    pub fn final_height(&self) -> u64 {
        self.shared.final_height.load(Ordering::Relaxed)
    }

    /// Tells the client of target `number` that its server is gone or has changed.
    pub fn reconnect(&self, number: usize) {
        if let Some(count) = self.shared.breaks.get(number) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Stops all clients and gives what they heard.
    pub fn stop(mut self) -> LoadOutcome {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let ended = self.thread.take().and_then(|thread| thread.join().ok());
        ended.unwrap_or_else(|| LoadOutcome {
            violations: vec!["the clients' thread ended unexpectedly".to_owned()],
            ..LoadOutcome::default()
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread: all wallets take turns on it.
fn send(plan: &LoadPlan, currency: CurrencyCode, shared: &Arc<Shared>) -> LoadOutcome {
    let failed = |reason: String| LoadOutcome { violations: vec![reason], ..LoadOutcome::default() };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(format!("no event loop for the clients: {error}")),
    };
    let reports = Rc::new(RefCell::new(Reports::default()));
    let tasks = tokio::task::LocalSet::new();
    let rate = (plan.rate / plan.targets.len().max(1) as u64).max(1);
    let clients: Vec<_> = (0..)
        .zip(&plan.targets)
        .map(|(number, (address, key))| {
            let first = plan.first_account + number * ACCOUNTS_EACH;
            let numbers: Vec<u32> = (first..first + ACCOUNTS_EACH).collect();
            let client = Client {
                number: number as usize,
                address: *address,
                key: *key,
                wallet: RefCell::new(Wallet::new(plan.chain, currency, &numbers)),
                rate,
                reports: reports.clone(),
                shared: shared.clone(),
            };
            tasks.spawn_local(client.drive())
        })
        .collect();
    let mut outcome = LoadOutcome::default();
    runtime.block_on(tasks.run_until(async {
        for client in clients {
            match client.await {
                Ok((counts, violation)) => {
                    outcome.counts.add(&counts);
                    outcome.violations.extend(violation);
                }
                Err(error) => outcome.violations.push(format!("a client ended unexpectedly: {error}")),
            }
        }
    }));
    drop(tasks);
    outcome.reports = Rc::try_unwrap(reports).map(RefCell::into_inner).unwrap_or_default();
    outcome
}

struct Client {
    number: usize,
    address: SocketAddr,
    key: PublicKey,
    wallet: RefCell<Wallet>,
    rate: u64,
    reports: Rc<RefCell<Reports>>,
    shared: Arc<Shared>,
}

impl Client {
    /// Sends until it is told to stop; what it did, and which rule of the protocol an answer broke.
    async fn drive(self) -> (WalletCounts, Option<String>) {
        let mut again = Vec::new();
        while !self.shared.stopping.load(Ordering::Relaxed) {
            let before = self.ends();
            let breaks = self.breaks();
            let ended = tokio::select! {
                ended = self.converse(&again) => ended,
                () = self.until_told(breaks) => Ok(()),
            };
            if let Err(error @ (WalletError::Unexpected(..) | WalletError::Build(_))) = ended {
                return (self.wallet.borrow().counts(), Some(format!("validator {}: {error}", self.number)));
            }
            // What brought no answer at all would not bring one the next time either.
            again = if self.ends() == before { Vec::new() } else { self.wallet.borrow().without_end() };
            if !self.shared.stopping.load(Ordering::Relaxed) {
                tokio::time::sleep(RETRY).await;
            }
        }
        (self.wallet.borrow().counts(), None)
    }

    async fn converse(&self, again: &[Vec<u8>]) -> Result<(), WalletError> {
        let client = TxClient::connect(self.address, ServerPin::Key(self.key.0), None).await?;
        ask_nonces(&self.wallet, &client).await?;
        run(&self.wallet, &client, again, self.rate, None, &self.reports).await
    }

    /// Waits until there is a reason to break the connection; meanwhile others see what was reported.
    async fn until_told(&self, breaks: u64) {
        let (mut ends, mut heard) = (self.ends(), Instant::now());
        loop {
            tokio::time::sleep(LOOK).await;
            {
                let reports = self.reports.borrow();
                self.shared.finals.store(reports.finals, Ordering::Relaxed);
                self.shared.final_height.store(reports.final_height, Ordering::Relaxed);
            }
            if self.ends() != ends {
                (ends, heard) = (self.ends(), Instant::now());
            }
            let is_told = self.shared.stopping.load(Ordering::Relaxed) || self.breaks() != breaks;
            if is_told || heard.elapsed() > SILENCE {
                return;
            }
        }
    }

    fn breaks(&self) -> u64 {
        self.shared.breaks[self.number].load(Ordering::Relaxed)
    }

    /// How many transactions have an end.
    fn ends(&self) -> u64 {
        let counts = self.wallet.borrow().counts();
        counts.applied + counts.failed + counts.skipped + counts.rejected
    }
}
