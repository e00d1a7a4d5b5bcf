//! Kills a flooded validator again and again at random instants, and holds what it had promised against what it knows afterwards.
//!
//! A round:
//!
//! 1. The validator is started. In one round of four it is killed while it recovers; else it becomes ready, and the height that it
//!    recovered must be at least that of everything reported as committed.
//! 2. Transactions that had no end when the last round ended are sent again, byte for byte: they may take effect once in all.
//! 3. It is flooded on two streams by [`crate::wallet`], with the nonces that it reports. Meanwhile a sample of everything that was ever
//!    reported applied is asked back: same height, same place, same code.
//! 4. At a random instant it gets SIGKILL. What it had sent until then counts as reported.
//!
//! Now and then, and at the end, it is stopped cleanly: the whole log is scanned ([`crate::scan`]), replayed from the genesis by
//! `verify_log`, and the replay's state root is compared with the one that the restarted node reports for that height.

use std::cell::RefCell;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tana_engine::verify_log::verify_log;
use tana_net::{ServerPin, TxClient};
use tana_types::currency::CurrencyCode;
use tana_types::query::{Answer, Request};
use tokio::runtime::Runtime;

use crate::chain::{Chain, ChainChoices};
use crate::child::Ready;
use crate::dice::Dice;
use crate::reports::Reports;
use crate::scan::scan;
use crate::victim::Victim;
use crate::wallet::{Wallet, WalletCounts, WalletError, ask, ask_nonces, run};

/// How long a start may take.
const READY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a clean stop may take.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long answers that were under way when the process was killed are still taken.
const DRAIN: Duration = Duration::from_millis(50);
/// How long a node whose connections broke has to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(20);
/// Streams that flood.
const STREAMS: u32 = 2;
/// Accounts of each stream.
const ACCOUNTS_PER_STREAM: u32 = 64;
/// Signal number of SIGKILL.
const SIGKILL: i32 = 9;
/// How many blocks behind the replayed height are searched for one that attests it.
const ATTEST_BLOCKS_MAX: u64 = 64;

/// What to do.
#[derive(Debug, Clone)]
pub struct CrashPlan {
    /// This program, or any other that runs a validator for `validator CONFIG`.
    pub program: PathBuf,
    /// Folder of the chain; an earlier run's data in it is removed.
    pub folder: PathBuf,
    /// How many kills.
    pub kills: u32,
    /// Bulk accounts.
    pub accounts: u32,
    /// Decides instants, accounts and samples.
    pub seed: u64,
    /// Transactions per second.
    pub rate: u64,
    /// When a ready node is killed, milliseconds after it became ready.
    pub delay_ms: (u64, u64),
    /// Latest moment of a kill during recovery, milliseconds after the start of the process.
    pub recovery_ms: u64,
    /// Transactions that are asked back in a round.
    pub samples: usize,
    /// Kills between full checks.
    pub full_every: u32,
}

impl CrashPlan {
    /// The soak's plan.
    pub fn new(program: PathBuf, folder: PathBuf, seed: u64) -> Self {
        Self {
            program,
            folder,
            kills: 100,
            accounts: 2_000,
            seed,
            rate: 2_000,
            delay_ms: (50, 1_500),
            recovery_ms: 60,
            samples: 200,
            full_every: 10,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CrashOutcome {
    /// The seed.
    pub seed: u64,
    /// Kills in all.
    pub kills: u32,
    /// Of these, before the node was ready.
    pub kills_in_recovery: u32,
    /// Full checks: scan, replay, comparison of roots.
    pub full_checks: u32,
    /// Transactions asked back after restarts.
    pub samples: u64,
    /// Reports of final transactions.
    pub finals: u64,
    /// Reports of applied transactions.
    pub applied_reports: u64,
    /// What the wallets did.
    pub wallets: WalletCounts,
    /// The committed height at the end.
    pub height: u64,
    /// Transactions applied on disk at the end.
    pub applied: u64,
    /// The most blocks that a restart executed again.
    pub replayed_blocks_max: u64,
    /// The longest recovery, milliseconds.
    pub recovery_ms_max: u64,
    /// The state root at the end, as the replay from the genesis has it.
    pub state_root: String,
}

/// A promise that was broken, or a run that could not go on.
#[derive(Debug, thiserror::Error)]
#[error("after kill {kill} (seed {seed}): {reason}; the data is kept in {folder}")]
pub struct CrashFailure {
    /// Kills until then.
    pub kill: u32,
    /// The run's seed.
    pub seed: u64,
    /// What happened.
    pub reason: String,
    /// Where the data lies.
    pub folder: PathBuf,
}

pub(crate) struct Run {
    plan: CrashPlan,
    chain: Chain,
    currency: CurrencyCode,
    dice: RefCell<Dice>,
    pub(crate) reports: RefCell<Reports>,
    runtime: Runtime,
    again: Vec<Vec<u8>>,
    pub(crate) outcome: CrashOutcome,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Runs the plan; `progress` hears of the outcome so far after each kill.
pub fn crash(plan: &CrashPlan, progress: &mut dyn FnMut(&CrashOutcome)) -> Result<CrashOutcome, Box<CrashFailure>> {
    let failure = |kill, reason| {
        let (seed, folder) = (plan.seed, plan.folder.clone());
        Box::new(CrashFailure { kill, seed, reason, folder })
    };
    let mut run = Run::new(plan, |_| {}).map_err(|reason| failure(0, reason))?;
    while run.outcome.kills < plan.kills {
        run.round().map_err(|reason| failure(run.outcome.kills, reason))?;
        if run.outcome.kills.is_multiple_of(plan.full_every.max(1)) || run.outcome.kills == plan.kills {
            run.full_check().map_err(|reason| failure(run.outcome.kills, reason))?;
        }
        progress(&run.outcome);
    }
    Ok(run.outcome)
}

impl Run {
    /// A fresh chain with small segments, so that their rotation is hit too, and few empty blocks.
    pub(crate) fn new(
        plan: &CrashPlan,
        change: impl FnOnce(&mut tana_engine::config::NodeConfig),
    ) -> Result<Self, String> {
        let choices = ChainChoices { accounts: plan.accounts, ..ChainChoices::default() };
        let chain = Chain::create(&plan.folder, &choices, |config| {
            config.use_segments_of(1);
            config.checkpoint.interval_s = 1;
            config.order.empty_interval_ms = 5_000;
            change(config);
        })
        .map_err(text)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(text)?;
        Ok(Self {
            plan: plan.clone(),
            chain,
            currency: "USD".parse().map_err(text)?,
            dice: RefCell::new(Dice::new(plan.seed)),
            reports: RefCell::default(),
            runtime,
            again: Vec::new(),
            outcome: CrashOutcome { seed: plan.seed, ..CrashOutcome::default() },
        })
    }

    pub(crate) fn spawn(&self) -> Result<Victim, String> {
        Victim::spawn(&self.plan.program, &self.chain.config_file()).map_err(text)
    }

    /// Waits for a restarted node and checks the height that it recovered.
    pub(crate) fn await_ready(&mut self, victim: &mut Victim) -> Result<Ready, String> {
        let ready = victim.wait_ready(READY_TIMEOUT).map_err(text)?;
        let promised = self.reports.borrow().committed_height;
        if ready.height < promised {
            return Err(format!("the node recovered height {}, but reported block {promised} committed", ready.height));
        }
        self.outcome.replayed_blocks_max = self.outcome.replayed_blocks_max.max(ready.replayed_blocks);
        self.outcome.recovery_ms_max = self.outcome.recovery_ms_max.max(ready.recovery_ms);
        Ok(ready)
    }

    fn round(&mut self) -> Result<(), String> {
        let mut victim = self.spawn()?;
        let (early, at) = {
            let mut dice = self.dice.borrow_mut();
            let early = dice.below(4) == 0;
            let (low, high) = if early { (0, self.plan.recovery_ms) } else { self.plan.delay_ms };
            (early, Duration::from_millis(dice.range(low, high)))
        };
        if early {
            std::thread::sleep(at);
            self.outcome.kills_in_recovery += 1;
            self.outcome.kills += 1;
            return killed(&mut victim);
        }
        let ready = self.await_ready(&mut victim)?;
        self.outcome.kills += 1;
        self.flood(&mut victim, &ready, at)
    }

    /// Floods until `delay` has passed, then kills. A connection that ends before that is a failure.
    pub(crate) fn flood(&mut self, victim: &mut Victim, ready: &Ready, delay: Duration) -> Result<(), String> {
        let first = self.dice.borrow_mut().below(u64::from(self.plan.accounts)) as u32;
        let accounts = self.plan.accounts;
        let wallets: Vec<RefCell<Wallet>> = (0..STREAMS)
            .map(|stream| {
                let place = |number| (first + stream * ACCOUNTS_PER_STREAM + number) % accounts;
                let numbers: Vec<u32> = (0..ACCOUNTS_PER_STREAM.min(accounts / STREAMS)).map(place).collect();
                RefCell::new(Wallet::new(self.chain.genesis.to_chain(), self.currency, &numbers))
            })
            .collect();
        let sampled = RefCell::new(0);
        let work = self.work(&wallets, ready, &sampled);
        let result = self.runtime.block_on(async {
            tokio::pin!(work);
            let ended = tokio::select! {
                result = &mut work => Some(result),
                () = tokio::time::sleep(delay) => None,
            };
            if ended.is_some() {
                // A node that stops by itself is given the time to say why.
                let _ = victim.wait(LAST_WORDS);
            }
            let killed = killed(victim);
            match ended {
                None => {
                    // Whatever comes now was sent before the kill; that the connection breaks is what was meant.
                    let drained = tokio::time::timeout(DRAIN, &mut work).await;
                    match drained {
                        Ok(Err(error)) if !matches!(error, WalletError::Client(_)) => Err(error.to_string()),
                        _ => killed,
                    }
                }
                Some(Ok(())) => Err("the node ended its answers by itself".to_owned()),
                Some(Err(error)) => match killed {
                    Ok(()) => Err(format!("before the kill: {error}")),
                    Err(reason) => Err(format!("{reason} (the client saw: {error})")),
                },
            }
        });
        self.again = wallets.iter().flat_map(|wallet| wallet.borrow().without_end()).collect();
        self.outcome.samples += sampled.into_inner();
        for wallet in &wallets {
            self.outcome.wallets.add(&wallet.borrow().counts());
        }
        let reports = self.reports.borrow();
        (self.outcome.finals, self.outcome.applied_reports) = (reports.finals, reports.applied_count() as u64);
        result
    }

    /// Everything that a round does to a running node; ends only by an error, or when the node ends its streams.
    async fn work(
        &self,
        wallets: &[RefCell<Wallet>],
        ready: &Ready,
        sampled: &RefCell<u64>,
    ) -> Result<(), WalletError> {
        let client = TxClient::connect(ready.listen, ServerPin::Key(self.chain.validator.0), None).await?;
        let nobody: &[Vec<u8>] = &[];
        let flood = async |place: usize| {
            let wallet = &wallets[place];
            ask_nonces(wallet, &client).await?;
            let again = if place == 0 { self.again.as_slice() } else { nobody };
            let rate = self.plan.rate / u64::from(STREAMS);
            run(wallet, &client, again, rate, None, &self.reports).await
        };
        tokio::try_join!(flood(0), flood(1), self.ask_back(&client, sampled))?;
        Ok(())
    }

    /// Asks a sample of what was reported applied.
    pub(crate) async fn ask_back(&self, client: &TxClient, sampled: &RefCell<u64>) -> Result<(), WalletError> {
        let draw = |bound: usize| self.dice.borrow_mut().below(bound as u64) as usize;
        let sample = self.reports.borrow().sample(self.plan.samples, draw);
        let mut stream = client.open_query().await?;
        for report in sample {
            let id = hex::encode(report.id);
            let wrong = |found: String| {
                let (height, index) = (report.height, report.index);
                WalletError::Answer(format!("{id} was reported applied at {height}/{index}, but the node says {found}"))
            };
            match ask(&mut stream, &Request::Transaction { id: id.clone() }).await? {
                Ok(Answer::Transaction(found)) => {
                    let same = (found.height, u64::from(found.index)) == (report.height, report.index);
                    if !same || found.code != "applied" {
                        return Err(wrong(format!("{found:?}")));
                    }
                }
                Ok(other) => return Err(wrong(format!("{other:?}"))),
                Err(reason) => return Err(wrong(reason)),
            }
            *sampled.borrow_mut() += 1;
        }
        Ok(())
    }

    /// Stops the node cleanly, scans and replays everything, and compares roots with the restarted node.
    pub(crate) fn full_check(&mut self) -> Result<(), String> {
        let mut victim = self.spawn()?;
        let ready = self.await_ready(&mut victim)?;
        let sampled = RefCell::new(0);
        self.runtime
            .block_on(async {
                let client = TxClient::connect(ready.listen, ServerPin::Key(self.chain.validator.0), None).await?;
                self.ask_back(&client, &sampled).await
            })
            .map_err(text)?;
        self.outcome.samples += sampled.into_inner();
        victim.stop(STOP_TIMEOUT).map_err(text)?;
        let found = scan(&self.chain.config.data, &self.chain.genesis.to_chain(), &self.reports.borrow())?;
        if !found.violations.is_empty() {
            return Err(found.violations.join("\n"));
        }
        let verified = verify_log(&self.chain.config.data, &self.chain.genesis, &|_, _, _| {}).map_err(text)?;
        if (verified.committed_blocks, verified.applied) != (found.blocks, found.applied) {
            return Err(format!(
                "the replay found {verified:?}, the scan {} blocks, {} applied",
                found.blocks, found.applied
            ));
        }
        let mut victim = self.spawn()?;
        let ready = self.await_ready(&mut victim)?;
        let reported = self.runtime.block_on(self.root_at(&ready, verified.committed_blocks))?;
        if reported != verified.state_root {
            let (height, replayed) = (verified.committed_blocks, verified.state_root);
            return Err(format!(
                "the node says the state root after block {height} is {reported}, the replay {replayed}"
            ));
        }
        victim.stop(STOP_TIMEOUT).map_err(text)?;
        self.outcome.full_checks += 1;
        (self.outcome.height, self.outcome.applied) = (found.blocks, found.applied);
        self.outcome.state_root = verified.state_root;
        Ok(())
    }

    /// The state root after block `height` as the node reports it: its status, or the first later block that attests that height.
    async fn root_at(&self, ready: &Ready, height: u64) -> Result<String, String> {
        let pin = ServerPin::Key(self.chain.validator.0);
        let client = TxClient::connect(ready.listen, pin, None).await.map_err(text)?;
        let mut stream = client.open_query().await.map_err(text)?;
        match ask(&mut stream, &Request::Status).await.map_err(text)?? {
            Answer::Status(status) if status.height == height => return Ok(status.state_root),
            Answer::Status(status) if status.height > height => {}
            other => return Err(format!("the node should be at block {height} or behind it, it says {other:?}")),
        }
        for later in height + 1..=height + ATTEST_BLOCKS_MAX {
            let block = ask(&mut stream, &Request::Block { height: Some(later) }).await.map_err(text)??;
            if let Answer::Block(block) = block
                && block.executed_height == height
            {
                return Ok(block.state_root);
            }
        }
        Err(format!("no block attests the state after block {height}"))
    }
}

/// Kills the process, which must have been alive.
fn killed(victim: &mut Victim) -> Result<(), String> {
    let status = victim.kill().map_err(text)?;
    match status.signal() {
        Some(SIGKILL) => Ok(()),
        _ => Err(format!("the node ended by itself with {status}: {}", victim.errors())),
    }
}
