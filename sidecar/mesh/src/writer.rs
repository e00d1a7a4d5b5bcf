//! The one thread that writes: it takes what waits, applies it together, writes it in one transaction and answers then.
//!
//! A single registration pays one disk sync; many at once share one. Heartbeats go along every [`FLUSH_INTERVAL_MS`], so a crash loses the
//! last second of them: a node then seems to have been heard of a second earlier, which its next heartbeat (every 5 s) makes good long before
//! the five minutes of silence are over.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use parking_lot::RwLock;
use tana_http::clock::Clock;
use tana_http::error::ApiError;
use tokio::sync::oneshot;

use crate::chain::{Members, ValidatorSet};
use crate::limits::{COMMANDS_MAX, FLUSH_INTERVAL_MS, GROUP_MAX};
use crate::node::Node;
use crate::state::{Decided, Described, State, Turn};
use crate::store::{MeshStoreError, Store};
use crate::wire::{NodeStatus, ValidatorLink};

/// Where an answer goes when its change is on disk.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// A change that must outlast a crash.
pub(crate) enum Command {
    /// Adds a node.
    Register(Box<Node>, Reply<()>),
    /// Takes what a node says of itself now.
    Update(Box<Node>, Reply<NodeStatus>),
    /// Approves or denies one.
    Decide(Decided, Reply<Option<ValidatorLink>>),
    /// Describes a sovereign key.
    Describe(Described, Reply<()>),
    /// Finds who fell silent.
    Sweep(Reply<usize>),
    /// Writes the heartbeats that wait.
    Flush(Reply<()>),
    /// Writes them and ends the thread.
    Close(Reply<()>),
}

/// An answer that waits for the disk.
type Answer = Box<dyn FnOnce(Result<(), ApiError>) + Send>;

/// Where commands go, and whether that is over. Whoever sends holds the lock for reading, and looks first: so the thread, which closes it before
/// it drops what is left, has seen every command that was sent, and nobody waits for an answer that cannot come.
pub(crate) struct Door {
    commands: Sender<Command>,
    closed: Arc<RwLock<bool>>,
}

/// Why a command was not taken.
pub(crate) enum NotTaken {
    /// Too many wait.
    Full,
    /// The thread has ended.
    Closed,
}

impl Door {
    /// Hands a command over.
    pub fn send(&self, command: Command) -> Result<(), NotTaken> {
        let closed = self.closed.read();
        if *closed {
            return Err(NotTaken::Closed);
        }
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => NotTaken::Full,
            TrySendError::Disconnected(_) => NotTaken::Closed,
        })
    }
}

/// Starts the thread. It ends when told to, or when all senders are gone, and writes what waits before.
pub(crate) fn start(
    store: Store,
    state: Arc<RwLock<State>>,
    set: Option<Arc<dyn ValidatorSet>>,
    clock: Clock,
) -> Result<(Door, JoinHandle<()>), MeshStoreError> {
    let (sender, commands) = bounded(COMMANDS_MAX);
    let folder = store.folder().to_path_buf();
    let closed = Arc::new(RwLock::new(false));
    let door = Door { commands: sender, closed: closed.clone() };
    let writer = Writer { store, state, set, clock, closed, next_flush: Instant::now() + flush_interval() };
    let thread = std::thread::Builder::new().name("mesh-writer".to_owned()).spawn(move || writer.run(&commands));
    let thread = thread.map_err(|error| MeshStoreError::Folder {
        path: folder,
        cause: format!("no thread for its writer: {error}"),
    })?;
    Ok((door, thread))
}

fn flush_interval() -> Duration {
    Duration::from_millis(FLUSH_INTERVAL_MS)
}

struct Writer {
    store: Store,
    state: Arc<RwLock<State>>,
    set: Option<Arc<dyn ValidatorSet>>,
    clock: Clock,
    closed: Arc<RwLock<bool>>,
    next_flush: Instant,
}

impl Writer {
    fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let mut group = Vec::new();
            let mut ending = false;
            match commands.recv_timeout(self.next_flush.saturating_duration_since(Instant::now())) {
                Ok(first) => {
                    group.push(first);
                    group.extend(commands.try_iter().take(GROUP_MAX - 1));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => ending = true,
            }
            ending |= self.turn(group, ending);
            if ending {
                *self.closed.write() = true;
                // Without their replies those who wait hear that it is over.
                commands.try_iter().for_each(drop);
                return;
            }
        }
    }

    /// Applies, writes and answers a group. Says whether it was told to end.
    fn turn(&mut self, group: Vec<Command>, ending: bool) -> bool {
        let members: Option<Arc<Members>> = self.set.as_ref().and_then(|set| set.members());
        let mut turn = Turn::new(members);
        let mut answers: Vec<Answer> = Vec::with_capacity(group.len());
        let mut flush = ending || Instant::now() >= self.next_flush;
        let mut end = false;
        let now = (self.clock)();
        {
            let mut state = self.state.write();
            for command in group {
                answers.push(match command {
                    Command::Register(node, reply) => answer(reply, state.register(&mut turn, *node)),
                    Command::Update(node, reply) => answer(reply, state.update(&mut turn, *node)),
                    Command::Decide(decided, reply) => answer(reply, state.decide(&mut turn, &decided, now)),
                    Command::Describe(described, reply) => answer(reply, state.describe(&mut turn, &described, now)),
                    Command::Sweep(reply) => answer(reply, Ok(state.sweep(&mut turn, now))),
                    Command::Flush(reply) => {
                        flush = true;
                        answer(reply, Ok(()))
                    }
                    Command::Close(reply) => {
                        (flush, end) = (true, true);
                        answer(reply, Ok(()))
                    }
                });
            }
            state.fill(&mut turn, flush);
        }
        if flush {
            self.next_flush = Instant::now() + flush_interval();
        }
        let written = if turn.batch.is_empty() { Ok(()) } else { self.store.write(&turn.batch) };
        let outcome = match written {
            Ok(()) => {
                self.state.write().written(turn, now);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the registry could not write; what was asked for is refused and may be asked for again");
                self.state.write().take_back(turn);
                Err(ApiError::unavailable("the registry cannot write to its disk now; nothing was changed")
                    .with_code("storage"))
            }
        };
        for answer in answers {
            answer(outcome.clone());
        }
        end
    }
}

/// The result of a change, to be sent when it is known whether it could be written.
fn answer<T: Send + 'static>(reply: Reply<T>, result: Result<T, ApiError>) -> Answer {
    Box::new(move |written| {
        // Whoever asked may have gone.
        let _ = reply.send(written.and(result));
    })
}
