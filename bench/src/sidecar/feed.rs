//! A thousand WebSockets on the feed of blocks: each must get every block, and soon.
//!
//! A client submits transfers to the node and follows them. When the node tells that one is applied, its block has been committed: from that
//! moment to the one at which a subscriber has read the block's message is what is measured, for each subscriber and each such block.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde::Serialize;
use tana_engine::clock::wall_ms;
use tana_net::{AnswerKind, ServerPin, TxClient};
use tana_types::bulk::bulk_key;
use tana_types::payload::Payload;
use tana_types::transaction::sign;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

use super::Times;
use crate::chain::{Chain, SEED};

/// How often a transfer is sent: more often than blocks are made, so that most blocks hold one.
const EVERY: Duration = Duration::from_millis(50);
/// Subscribers that connect at a time.
const HANDSHAKES: usize = 64;
/// How long connecting, and the last blocks, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FeedOutcome {
    /// Subscribers.
    pub subscribers: u64,
    /// Blocks that the node committed while all were there, as far as the transfers reached.
    pub blocks: u64,
    /// Subscribers that got each of these, in order.
    pub complete: u64,
    /// From the commit to the socket.
    pub times: Times,
}

/// When each height was read, by one subscriber.
type Read = Vec<(u64, Instant)>;

async fn subscribe(address: SocketAddr, there: Arc<AtomicU64>, last: Arc<AtomicU64>) -> Result<Read, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| text(&error))?;
    let url = format!("ws://{address}/feed/blocks");
    let (mut socket, _) = client_async(url, stream).await.map_err(|error| text(&error))?;
    there.fetch_add(1, Ordering::SeqCst);
    let mut read: Read = Vec::new();
    let mut quiet = Instant::now();
    loop {
        let end = last.load(Ordering::SeqCst);
        let has_all = end > 0 && read.last().is_some_and(|(height, _)| *height >= end);
        if has_all || quiet.elapsed() > PATIENCE {
            return Ok(read);
        }
        // Every now and then it looks whether it has the last block already.
        let Ok(message) = tokio::time::timeout(Duration::from_millis(200), socket.next()).await else { continue };
        let message = message.ok_or("the feed ended")?.map_err(|error| text(&error))?;
        let now = Instant::now();
        let Message::Text(frame) = message else { continue };
        if let Some(height) = height_of(&frame) {
            read.push((height, now));
            quiet = now;
        }
    }
}

/// The height in a message of a block; none in another message. To parse each message a thousand times would be most of what is measured.
fn height_of(frame: &str) -> Option<u64> {
    let rest = frame.strip_prefix("{\"type\":\"block\"")?.split_once("\"height\":")?.1;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Sends transfers of account `number` for a while; when each height was first known to be committed.
async fn commits(
    chain: &Chain,
    node: SocketAddr,
    number: u32,
    time: Duration,
) -> Result<BTreeMap<u64, Instant>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let client =
        TxClient::connect(node, ServerPin::Key(chain.validator.0), None).await.map_err(|error| text(&error))?;
    let (mut sender, mut answers) = client.open_submit().await.map_err(|error| text(&error))?;
    let key = bulk_key(SEED, number);
    let currency = "USD".parse().map_err(|_| "USD is no currency")?;
    let payload = Payload::Transfer { recipient: chain.account_key(0), currency, amount: 1 };
    let sending = async {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(EVERY);
        let mut nonce = 0;
        while begun.elapsed() < time {
            ticks.tick().await;
            nonce += 1;
            let bytes = sign(&chain.genesis.to_chain(), &key, nonce, wall_ms(), &payload).map_err(|e| e.to_string())?;
            sender.send(&bytes).await.map_err(|error| error.to_string())?;
        }
        Ok::<u64, String>(nonce)
    };
    let heights = std::cell::RefCell::new(BTreeMap::new());
    let applied = std::cell::Cell::new(0u64);
    let hearing = async {
        let mut events = Vec::new();
        loop {
            events.clear();
            if answers.receive(&mut events).await.map_err(|error| error.to_string())? == 0 {
                return Err::<(), String>("the node closed the stream".to_owned());
            }
            let now = Instant::now();
            for event in &events {
                match event.kind {
                    AnswerKind::Accepted | AnswerKind::Final => {}
                    AnswerKind::Applied => {
                        heights.borrow_mut().entry(event.height).or_insert(now);
                        applied.set(applied.get() + u64::from(event.count));
                    }
                    other => return Err(format!("a transfer ended as {other:?}, code {}", event.code)),
                }
            }
        }
    };
    tokio::pin!(hearing);
    let sent = tokio::select! {
        sent = sending => sent?,
        heard = &mut hearing => return Err(heard.err().unwrap_or_default()),
    };
    let begun = Instant::now();
    while applied.get() < sent {
        if begun.elapsed() > PATIENCE {
            return Err(format!("only {} of {sent} transfers were applied", applied.get()));
        }
        let look = tokio::time::timeout(Duration::from_millis(20), &mut hearing);
        if let Ok(heard) = look.await {
            return Err(heard.err().unwrap_or_default());
        }
    }
    Ok(heights.take())
}

/// `subscribers` WebSockets for `seconds`, beside transfers of account `number`.
pub async fn feed(
    chain: &Chain,
    node: SocketAddr,
    ledger: SocketAddr,
    number: u32,
    subscribers: usize,
    seconds: u64,
) -> Result<FeedOutcome, String> {
    let there = Arc::new(AtomicU64::new(0));
    let last = Arc::new(AtomicU64::new(0));
    let mut sockets = JoinSet::new();
    let begun = Instant::now();
    for opened in 0..subscribers {
        sockets.spawn(subscribe(ledger, there.clone(), last.clone()));
        while opened + 1 >= there.load(Ordering::SeqCst) as usize + HANDSHAKES {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if begun.elapsed() > PATIENCE {
                return Err(format!("only {} subscribers were let in", there.load(Ordering::SeqCst)));
            }
        }
    }
    while (there.load(Ordering::SeqCst) as usize) < subscribers {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if begun.elapsed() > PATIENCE {
            return Err(format!("only {} subscribers were let in", there.load(Ordering::SeqCst)));
        }
    }
    let committed = commits(chain, node, number, Duration::from_secs(seconds)).await?;
    let (Some((first, _)), Some((end, _))) = (committed.first_key_value(), committed.last_key_value()) else {
        return Err("no transfer was applied".to_owned());
    };
    last.store(*end, Ordering::SeqCst);
    let mut outcome =
        FeedOutcome { subscribers: subscribers as u64, blocks: end - first + 1, ..FeedOutcome::default() };
    let mut times = Vec::new();
    while let Some(read) = sockets.join_next().await {
        let read = read.map_err(|error| error.to_string())??;
        let wanted: Vec<u64> = read.iter().map(|(height, _)| *height).filter(|h| (first..=end).contains(&h)).collect();
        outcome.complete += u64::from(wanted.iter().copied().eq(*first..=*end));
        times.extend(read.iter().filter_map(|(height, at)| {
            committed.get(height).map(|committed| at.saturating_duration_since(*committed))
        }));
    }
    outcome.times = Times::of(times);
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_read_from_messages_of_blocks_alone() {
        assert_eq!(height_of(r#"{"type":"block","block":{"height":1234,"hash":"00"}}"#), Some(1_234));
        assert_eq!(height_of(r#"{"type":"open","height":7}"#), None);
    }
}
