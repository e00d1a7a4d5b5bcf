//! Ingest alone, its server on one core: QUIC, frames, decoding, admission and the copy into batches. What comes out is thrown away.
//! The figure is transactions per second of the server thread's processor time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ed25519_dalek::SigningKey;
use tana_accounts::directory;
use tana_engine::channel::channel;
use tana_engine::clock::{Clock, wall_ms};
use tana_engine::intake::{IntakeParts, NodeIntake};
use tana_engine::pool::Pool;
use tana_engine::published::Published;
use tana_engine::sources::Sources;
use tana_ingest::{Admission, AdmissionConfig, BatchLimits};
use tana_net::{Identity, ServerConfig, ServerPin, TxClient, TxServer};
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;

use crate::chain::{ChainChoices, genesis_text};
use crate::post_verify::{fake_key, unsigned_transfer};
use crate::step::{cores, pin, time_of_thread};

/// Transactions of a frame.
const FRAME_TRANSACTIONS: u32 = 64;
/// Connections of the sender.
const CONNECTIONS: usize = 4;

/// Transactions per second that one core takes in, out of `count` on `accounts` accounts.
pub fn one_core_tps(accounts: u32, count: u32) -> Result<f64, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let choices = ChainChoices { accounts, ..ChainChoices::default() };
    let genesis = Genesis::parse(&genesis_text(&choices, &PublicKey([9; 32]))).map_err(|error| text(&error))?;
    let (mut writer, accounts_by_key) = directory(accounts as usize);
    for number in 0..accounts {
        writer.insert(fake_key(number));
    }
    let seeds = AdmissionConfig::with_seeds(rand::random());
    let admission = Admission::new(&seeds, &genesis.to_chain(), &genesis.rules, accounts_by_key);
    let admission = Arc::new(admission.map_err(|error| text(&error))?);
    let pool = Arc::new(Pool::new(256));
    let (outlet, inlet) = channel(256, Vec::new());
    let sources = Arc::new(Sources::default());
    let published = Arc::new(Published::new(0, [0; 32], 0, 0));
    let parts = IntakeParts { admission: admission.clone(), pool: pool.clone(), verify: outlet, sources, published };
    let intake = NodeIntake::new(parts, BatchLimits::default(), 1, Clock::new());
    let intake = Arc::new(intake.map_err(|error| text(&error))?);
    let key = SigningKey::from_bytes(&[8; 32]);
    let identity = Identity::from_signing_key(&key).map_err(|error| text(&error))?;
    let (server_core, client_core) = (cores()[0], *cores().last().unwrap_or(&0));
    let server_thread = Arc::new(AtomicI32::new(0));
    let server_thread_there = server_thread.clone();
    let config = ServerConfig {
        on_thread_start: Some(Arc::new(move |_| {
            pin(server_core);
            server_thread_there.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Release);
        })),
        ..ServerConfig::new(([127, 0, 0, 1], 0).into(), identity)
    };
    let server = TxServer::start(config, intake.clone()).map_err(|error| text(&error))?;
    intake.open_without_queries(server.answers());
    let frames = make_frames(&genesis, accounts, count);
    let taken = Arc::new(AtomicU64::new(0));
    let sink = {
        let taken = taken.clone();
        std::thread::spawn(move || {
            pin(client_core);
            while let Ok(batch) = inlet.receiver().recv() {
                taken.fetch_add(batch.len() as u64, Ordering::Relaxed);
                pool.put(batch);
            }
        })
    };
    let start = Instant::now();
    send(server.local_addr(), key.verifying_key().to_bytes(), frames, client_core)?;
    let deadline = start + Duration::from_secs(120);
    let mut end = Instant::now();
    while taken.load(Ordering::Relaxed) < u64::from(count) && end < deadline {
        intake.flush_all();
        std::thread::sleep(Duration::from_millis(1));
        end = Instant::now();
    }
    let seconds = time_of_thread(server_thread.load(Ordering::Acquire)).as_secs_f64();
    let all = taken.load(Ordering::Relaxed);
    server.shutdown(Duration::from_millis(100));
    drop(intake);
    let _ = sink.join();
    if all < u64::from(count) {
        let codes: Vec<_> = admission.counters().rejected_by_code().collect();
        return Err(format!("only {all} of {count} transactions were taken; refused: {codes:?}"));
    }
    Ok(all as f64 / seconds)
}

/// Frames of 64 transfers from all accounts in turn.
fn make_frames(genesis: &Genesis, accounts: u32, count: u32) -> Vec<Vec<u8>> {
    let now = wall_ms();
    // A step that shares no factor with the number of accounts visits all of them in an order without pattern for the cache.
    let account = |number: u32| (u64::from(number) * 7_368_787 % u64::from(accounts)) as u32;
    let frame = |first: u32| -> Vec<u8> {
        let end = (first + FRAME_TRANSACTIONS).min(count);
        (first..end)
            .flat_map(|number| {
                let from = account(number);
                unsigned_transfer(genesis, from, account(number + 1), 1 + u64::from(number / accounts), now)
            })
            .collect()
    };
    (0..count).step_by(FRAME_TRANSACTIONS as usize).map(frame).collect()
}

fn send(to: std::net::SocketAddr, key: [u8; 32], frames: Vec<Vec<u8>>, core: usize) -> Result<(), String> {
    let run = std::thread::spawn(move || -> Result<(), String> {
        pin(core);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let mut shares: Vec<Vec<Vec<u8>>> = vec![Vec::new(); CONNECTIONS];
            for (number, frame) in frames.into_iter().enumerate() {
                shares[number % CONNECTIONS].push(frame);
            }
            let mut tasks = tokio::task::JoinSet::new();
            for share in shares {
                tasks.spawn(async move {
                    let client = TxClient::connect(to, ServerPin::Key(key), None).await?;
                    let mut stream = client.open_flood().await?;
                    for frame in share {
                        stream.send_bytes(frame.into()).await?;
                    }
                    stream.finish().await
                });
            }
            while let Some(task) = tasks.join_next().await {
                task.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
    });
    run.join().map_err(|_| "the sending thread panicked".to_owned())?
}
