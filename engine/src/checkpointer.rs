//! The checkpoint: now and then the whole state as of one height goes to LMDB, without stopping execution.
//!
//! 1. The execute stage begins one at a block boundary ([`CheckpointFeed`]): the small parts of the state are written into a blob at once,
//!    changed pages are handed over a few at a time between blocks, each as it was at that height.
//! 2. A thread of its own puts them into one write transaction.
//! 3. When all are there and the block of that height is durable in the block log, the transaction is committed, together with the
//!    places in the logs from which a restart goes on. So a checkpoint is never ahead of the log.
//!
//! The channel between the two holds a few megabytes; when it is full, execution keeps what it must save and goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tana_execute::{CheckpointHead, State};
use tana_order::ExecutedRoots;
use tana_store::{Checkpoint, CheckpointMeta, Position, StoreError};
use tana_types::Hash;
use tana_types::codec::{DecodeError, Reader, Writer};

use crate::channel::{Inlet, Outlet, channel};
use crate::failure::Failure;
use crate::sync::wishes::{CheckpointWish, Wishes};

/// Pages handed over at a time: 64 of 4,032 bytes.
const PAGES_PER_STEP: usize = 64;
/// Messages between execution and the checkpoint's thread: 4 MiB of pages.
const MESSAGES_MAX: usize = 16;
/// Steps per poll of the execute stage.
const STEPS_PER_POLL: usize = 8;

/// Pages by number.
pub type Pages = Vec<(u32, Vec<u8>)>;

/// What the checkpoint's thread is told.
pub enum CheckpointMessage {
    /// A checkpoint begins; what it holds beside pages.
    Begin(Box<CheckpointHead>),
    /// Some of its pages.
    Pages(Pages),
    /// All pages were sent.
    AllPages,
    /// The block of its height is durable.
    Committed(CommittedAt),
}

/// Where the logs stand at the checkpoint's height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedAt {
    /// The height.
    pub height: u64,
    /// The state root after it.
    pub state_root: Hash,
    /// The lowest place in the batch log that later blocks may need; 0 while the log is empty.
    pub batch_position: u64,
    /// Its header in the order log.
    pub order_position: u64,
    /// Its record in the block log.
    pub block_position: u64,
    /// The end of the chain at that height.
    pub resume: Resume,
}

/// What a restart must know of the chain at the checkpoint's height to go on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The header's hash.
    pub hash: Hash,
    /// The header's timestamp.
    pub timestamp_ms: u64,
    /// The height that the header attests.
    pub executed_height: u64,
    /// The highest own sequence that was durable when the block was made: none up to it is used again.
    pub last_sequence: u64,
    /// Transactions applied since genesis.
    pub applied: u64,
    /// Accounts, the sentinel included.
    pub account_count: u32,
    /// Roots that later headers may attest.
    pub roots: Vec<ExecutedRoots>,
}

impl Resume {
    fn encode(&self, writer: &mut Writer) {
        writer.bytes(&self.hash).u64(self.timestamp_ms).u64(self.executed_height).u64(self.last_sequence);
        writer.u64(self.applied).u32(self.account_count).u32(self.roots.len() as u32);
        for roots in &self.roots {
            writer.u64(roots.height).bytes(&roots.state_root).bytes(&roots.receipts_root);
            writer.bytes(&roots.validator_set_hash);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut resume = Self {
            hash: reader.array("hash")?,
            timestamp_ms: reader.u64("timestamp_ms")?,
            executed_height: reader.u64("executed_height")?,
            last_sequence: reader.u64("last_sequence")?,
            applied: reader.u64("applied")?,
            account_count: reader.u32("account_count")?,
            roots: Vec::new(),
        };
        for _ in 0..reader.u32("roots count")? {
            resume.roots.push(ExecutedRoots {
                height: reader.u64("roots height")?,
                state_root: reader.array("state_root")?,
                receipts_root: reader.array("receipts_root")?,
                validator_set_hash: reader.array("validator_set_hash")?,
            });
        }
        Ok(resume)
    }

    /// A checkpoint's blob: this, then the state's own part.
    pub fn to_blob(&self, meta: &[u8]) -> Vec<u8> {
        let mut blob = Writer::with_capacity(1_024 + meta.len());
        self.encode(&mut blob);
        blob.bytes(meta);
        blob.finish()
    }

    /// Splits a checkpoint's blob into this and the state's own part.
    pub fn split_blob(blob: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(blob);
        let resume = Self::decode(&mut reader)?;
        let length = reader.remaining();
        Ok((resume, reader.bytes(length, "state")?))
    }
}

/// What became of a checkpoint behind a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// None was due, or the last one is not done and a later one will do.
    None,
    /// It has begun.
    Begun,
    /// It must begin behind this very block, and cannot yet.
    Owed,
}

/// The execute stage's end.
pub struct CheckpointFeed {
    output: Outlet<CheckpointMessage>,
    busy: Arc<AtomicBool>,
    wishes: Arc<Wishes>,
    interval_ns: u64,
    next_ns: u64,
    /// Pages of the running checkpoint are still to be sent.
    sending: bool,
}

impl CheckpointFeed {
    /// Begins a checkpoint if one is due, or wished for at this height, and the last one is done; to be called once, right behind every block.
    pub fn begin_if_due(&mut self, state: &mut State, now_ns: u64) -> Beginning {
        let (is_due, must) = match self.wishes.behind(state) {
            CheckpointWish::AsUsual => (now_ns >= self.next_ns, false),
            CheckpointWish::Wait => (false, false),
            CheckpointWish::Now => (true, false),
            CheckpointWish::Must => (true, true),
        };
        match is_due && self.begin(state, now_ns) {
            true => Beginning::Begun,
            false if must => Beginning::Owed,
            false => Beginning::None,
        }
    }

    /// Begins a checkpoint if the last one is done.
    pub fn begin(&mut self, state: &mut State, now_ns: u64) -> bool {
        if self.sending || self.output.is_full() || self.busy.swap(true, Ordering::AcqRel) {
            return false;
        }
        self.next_ns = now_ns + self.interval_ns;
        let Some(head) = state.begin_checkpoint() else {
            // Nothing was begun, so whoever asks again must not find it under way for ever.
            self.busy.store(false, Ordering::Release);
            return false;
        };
        self.sending = true;
        self.output.send(CheckpointMessage::Begin(Box::new(head)))
    }

    /// Sends some pages if there is room; tells whether it did.
    pub fn step(&mut self, state: &mut State) -> bool {
        let mut worked = false;
        for _ in 0..STEPS_PER_POLL {
            if !self.sending || self.output.is_full() {
                break;
            }
            let mut pages = Pages::with_capacity(PAGES_PER_STEP);
            let done = state.checkpoint_step(PAGES_PER_STEP, &mut |page, bytes| pages.push((page, bytes.to_vec())));
            if !pages.is_empty() {
                self.output.send(CheckpointMessage::Pages(pages));
            }
            worked = true;
            if done && !self.output.is_full() {
                self.sending = false;
                self.output.send(CheckpointMessage::AllPages);
            }
        }
        worked
    }
}

/// What is done behind a committed checkpoint, on its thread.
pub type AfterCommit = Box<dyn FnMut(&Checkpoint, &CheckpointMeta) + Send>;

/// The checkpoint's thread.
pub struct Checkpointer {
    thread: JoinHandle<()>,
    /// Ends it when dropped with the feed's.
    pub stop: Arc<AtomicBool>,
}

impl Checkpointer {
    /// Starts the thread. `first_now` makes the first checkpoint due at once, for a chain that has none; `wishes` are for checkpoints at
    /// certain heights; `after` hears of every one that was committed.
    pub fn start(
        checkpoint: Checkpoint,
        interval: Duration,
        first_now: bool,
        wishes: Arc<Wishes>,
        mut after: AfterCommit,
        failure: Arc<Failure>,
    ) -> std::io::Result<(Self, CheckpointFeed, Outlet<CheckpointMessage>)> {
        let (output, input) = channel(MESSAGES_MAX, Vec::new());
        let (busy, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (busy_there, stop_there) = (busy.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("checkpoint".to_owned()).spawn(move || {
            while !stop_there.load(Ordering::Acquire) {
                match write_one(&checkpoint, &input, &stop_there) {
                    Ok(Some(meta)) => {
                        tracing::debug!(height = meta.height, "checkpoint written");
                        after(&checkpoint, &meta);
                        busy_there.store(false, Ordering::Release);
                    }
                    // The node stops, or never came to start.
                    Ok(None) => return,
                    Err(error) => {
                        failure.tell(format!("the checkpoint cannot be written: {error}"));
                        return;
                    }
                }
            }
        })?;
        let interval_ns = interval.as_nanos() as u64;
        let next_ns = if first_now { 0 } else { interval_ns };
        let feed = CheckpointFeed { output: output.clone(), busy, wishes, interval_ns, next_ns, sending: false };
        Ok((Self { thread, stop }, feed, output))
    }

    /// Ends the thread. A checkpoint that is not complete is given up; the one before it stays.
    pub fn join(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.thread.join();
    }
}

/// How often a waiting thread looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);

fn receive(input: &Inlet<CheckpointMessage>, stop: &AtomicBool) -> Option<CheckpointMessage> {
    loop {
        match input.receiver().recv_timeout(LOOK) {
            Ok(message) => return Some(message),
            Err(crossbeam::channel::RecvTimeoutError::Timeout) if !stop.load(Ordering::Acquire) => {}
            Err(_) => return None,
        }
    }
}

/// Writes one checkpoint from its messages; gives what it holds, or none when the node stops first.
fn write_one(
    checkpoint: &Checkpoint,
    input: &Inlet<CheckpointMessage>,
    stop: &AtomicBool,
) -> Result<Option<CheckpointMeta>, StoreError> {
    let head = loop {
        match receive(input, stop) {
            Some(CheckpointMessage::Begin(head)) => break head,
            Some(_) => {}
            None => return Ok(None),
        }
    };
    let mut write = checkpoint.begin()?;
    for (index, bytes) in &head.overflows {
        match bytes {
            Some(bytes) => write.put_overflow(*index, bytes)?,
            None => {
                write.delete_overflow(*index)?;
            }
        }
    }
    let (mut all_pages, mut committed) = (false, None);
    while !all_pages || committed.is_none() {
        match receive(input, stop) {
            Some(CheckpointMessage::Pages(pages)) => {
                for (number, bytes) in &pages {
                    write.put_page(*number, bytes)?;
                }
            }
            Some(CheckpointMessage::AllPages) => all_pages = true,
            Some(CheckpointMessage::Committed(at)) => committed = Some(at),
            Some(CheckpointMessage::Begin(_)) => {}
            None => return Ok(None),
        }
    }
    let Some(at) = committed else { return Ok(None) };
    let meta = CheckpointMeta {
        height: at.height,
        positions: [at.batch_position, at.order_position, at.block_position].map(Position::from_u64).to_vec(),
        state_root: at.state_root,
        blob: at.resume.to_blob(&head.meta),
    };
    write.commit(&meta)?;
    Ok(Some(meta))
}

#[cfg(test)]
mod tests {
    use tana_types::key::PublicKey;
    use tana_types::payload::Payload;

    use super::*;
    use crate::channel::channel;
    use crate::sync::tests::world::{EPOCH_BLOCKS, World, sovereign, validator};

    #[test]
    fn behind_the_boundary_that_a_newcomer_needs_nothing_goes_on_without_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World::new(folder.path(), 50);
        world.steps_to(1);
        let add = Payload::ValidatorSetChange {
            add: true,
            validator: PublicKey(validator(9)),
            epoch: 2,
            address: "127.0.0.1:9990",
        };
        let transactions = vec![world.signed(&sovereign(), &add)];
        world.step(transactions);
        world.steps_to(EPOCH_BLOCKS - 1);
        let (output, input) = channel(16, Vec::new());
        let busy = Arc::new(AtomicBool::new(true));
        let mut feed = CheckpointFeed {
            output,
            busy: busy.clone(),
            wishes: Arc::new(Wishes::new(EPOCH_BLOCKS, EPOCH_BLOCKS - 2)),
            interval_ns: 1,
            next_ns: 0,
            sending: false,
        };
        // The last one is still being written.
        assert_eq!(feed.begin_if_due(&mut world.replayer.state, 5), Beginning::None);
        world.steps_to(EPOCH_BLOCKS);
        assert_eq!(feed.begin_if_due(&mut world.replayer.state, 5), Beginning::Owed);
        assert!(!feed.begin(&mut world.replayer.state, 5));
        busy.store(false, Ordering::Release);
        assert!(feed.begin(&mut world.replayer.state, 5));
        assert!(matches!(input.take(), Some(CheckpointMessage::Begin(_))));
    }
}
