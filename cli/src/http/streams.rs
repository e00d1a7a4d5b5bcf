//! `GET /telemetry`: one task that reads what happens and hands it to all readers.
//!
//! 1. While nobody reads, the task sleeps and the node keeps no events.
//! 2. A reader joins: it gets a snapshot, and from then on what the others get. At most [`STREAMS_MAX`] read at a time.
//! 3. Every [`TURN`] events are taken, written once, and put into the readers' queues as the same bytes; every [`SAMPLE_TIME`] a sample.
//! 4. What finds a queue full is left out for that reader and counted. When there is room again it gets `lost` and a new snapshot, so what it knows
//!    is right again. A queue holds [`FRAMES_MAX`] frames; one that is not emptied for [`STALL_TIME`] ends its stream.
//!
//! So a reader costs bounded memory, and can slow down neither the node nor other readers.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tana_engine::telemetry::Stamped;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::frames::{Lost, Snapshot, comment, event_frames, frame};
use super::view::{Identity, NodeView, PeerLine, Sample, Sampler};

/// Readers at a time.
pub const STREAMS_MAX: usize = 8;
/// Frames that wait for one reader, of about 16 KiB at the most.
pub const FRAMES_MAX: usize = 64;
/// How long events wait to be sent together.
pub const TURN: Duration = Duration::from_millis(15);
/// How often counters are told.
pub const SAMPLE_TIME: Duration = Duration::from_millis(250);
/// How often a comment shows that the stream lives.
pub const COMMENT_TIME: Duration = Duration::from_secs(15);
/// How long a reader may take nothing.
pub const STALL_TIME: Duration = Duration::from_secs(60);

/// A reader as its connection holds it.
pub struct Reader {
    /// What is to be sent.
    pub frames: mpsc::Receiver<Bytes>,
    /// Says `()` when the stream is to be cut off; an error when it ends as it should.
    pub cut_off: oneshot::Receiver<()>,
}

/// The way to the task; it ends when the last clone is dropped.
#[derive(Clone)]
pub struct Streams {
    joins: mpsc::Sender<Client>,
}

impl Streams {
    /// The way, and the task, which the caller spawns.
    pub fn new(view: Arc<dyn NodeView>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (joins, joined) = mpsc::channel(STREAMS_MAX);
        (Self { joins }, run(view, joined))
    }

    /// Joins; none when the task has ended.
    pub async fn join(&self) -> Option<Reader> {
        let (sender, frames) = mpsc::channel(FRAMES_MAX);
        let (cut, cut_off) = oneshot::channel();
        let client = Client { frames: sender, cut: Some(cut), lost: Lost::default(), behind_since: None };
        self.joins.send(client).await.ok()?;
        Some(Reader { frames, cut_off })
    }
}

/// A reader as the task holds it.
struct Client {
    frames: mpsc::Sender<Bytes>,
    cut: Option<oneshot::Sender<()>>,
    lost: Lost,
    /// Since when its queue has been full.
    behind_since: Option<Instant>,
}

impl Client {
    /// Puts a frame into the queue, or counts what it held.
    fn offer(&mut self, frame: &Bytes, content: Lost, now: Instant) {
        if self.behind_since.is_none() {
            match self.frames.try_send(frame.clone()) {
                Ok(()) => return,
                // It is found to be gone below.
                Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(_)) => self.behind_since = Some(now),
            }
        }
        self.lost.events += content.events;
        self.lost.samples += content.samples;
    }

    /// Whether it stays; cuts it off when it has taken nothing for too long.
    fn stays(&mut self, now: Instant) -> bool {
        if self.frames.is_closed() {
            return false;
        }
        let is_stalled = self.behind_since.is_some_and(|since| now.duration_since(since) >= STALL_TIME);
        if is_stalled && let Some(cut) = self.cut.take() {
            let _ = cut.send(());
        }
        !is_stalled
    }
}

/// Events are kept as long as this lives.
struct Listening(Arc<dyn NodeView>);

impl Listening {
    fn start(view: &Arc<dyn NodeView>) -> Self {
        view.events().listen(true);
        Self(view.clone())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.events().listen(false);
    }
}

async fn run(view: Arc<dyn NodeView>, mut joined: mpsc::Receiver<Client>) {
    let identity = view.identity();
    let mut sequence = 0;
    while let Some(first) = joined.recv().await {
        let _listening = Listening::start(&view);
        let mut session = Session::start(view.clone(), &identity, sequence);
        session.join(first);
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !session.clients.is_empty() {
            tokio::select! {
                client = joined.recv() => match client {
                    Some(client) => session.join(client),
                    None => return,
                },
                _ = turns.tick() => session.turn(),
            }
        }
        sequence = session.sequence;
    }
}

/// The time in which somebody reads.
struct Session<'a> {
    view: Arc<dyn NodeView>,
    identity: &'a Identity,
    sampler: Box<dyn Sampler>,
    sample: Sample,
    sample_at: Instant,
    comment_at: Instant,
    /// The number of the last event that was taken or lost.
    sequence: u64,
    events: Vec<Stamped>,
    clients: Vec<Client>,
}

impl<'a> Session<'a> {
    fn start(view: Arc<dyn NodeView>, identity: &'a Identity, sequence: u64) -> Self {
        let mut sampler = view.sampler();
        let (sample, now) = (sampler.sample(), Instant::now());
        let (sample_at, comment_at) = (now + SAMPLE_TIME, now + COMMENT_TIME);
        Self {
            view,
            identity,
            sampler,
            sample,
            sample_at,
            comment_at,
            sequence,
            events: Vec::new(),
            clients: Vec::new(),
        }
    }

    /// A reader joins behind the events that happened so far.
    fn join(&mut self, mut client: Client) {
        let now = Instant::now();
        self.tell_events(now);
        client.offer(&self.snapshot(), Lost::default(), now);
        self.clients.push(client);
    }

    fn turn(&mut self) {
        let now = Instant::now();
        self.tell_events(now);
        if now >= self.sample_at {
            self.sample = self.sampler.sample();
            self.sample_at = now + SAMPLE_TIME;
            let told = frame("sample", self.sequence, &self.sample);
            self.tell(&told, Lost { events: 0, samples: 1 }, now);
        }
        if now >= self.comment_at {
            self.comment_at = now + COMMENT_TIME;
            self.tell(&comment(), Lost::default(), now);
        }
        self.catch_up();
        self.clients.retain_mut(|client| client.stays(now));
    }

    fn tell(&mut self, told: &Bytes, content: Lost, now: Instant) {
        for client in &mut self.clients {
            client.offer(told, content, now);
        }
    }

    fn tell_events(&mut self, now: Instant) {
        self.events.clear();
        let lost = self.view.events().drain(&mut self.events);
        for (told, count) in event_frames(&self.events, self.sequence) {
            self.tell(&told, Lost { events: count, samples: 0 }, now);
        }
        self.sequence += self.events.len() as u64 + lost;
        if lost > 0 {
            // The node's own queue was full: all readers have missed the same.
            for client in &mut self.clients {
                client.lost.events += lost;
                client.behind_since.get_or_insert(now);
            }
        }
    }

    /// Readers that missed something and have room again are told, and get everything anew.
    fn catch_up(&mut self) {
        let ready = |client: &Client| client.behind_since.is_some() && client.frames.capacity() >= 2;
        if !self.clients.iter().any(ready) {
            return;
        }
        let (snapshot, sequence) = (self.snapshot(), self.sequence);
        for client in self.clients.iter_mut().filter(|client| ready(client)) {
            let lost = frame("lost", sequence, &client.lost);
            // Nobody else sends to this queue, so both find the room that was seen, unless the reader has gone.
            if client.frames.try_send(lost).is_ok() && client.frames.try_send(snapshot.clone()).is_ok() {
                (client.lost, client.behind_since) = (Lost::default(), None);
            }
        }
    }

    fn snapshot(&mut self) -> Bytes {
        self.sample.refresh(&self.view.health());
        let line = |peer: super::view::PeerView| PeerLine {
            id: peer.id,
            key: peer.key,
            address: peer.address,
            connected: peer.connected,
        };
        let peers: Vec<PeerLine> = self.view.peers().into_iter().map(line).collect();
        let (identity, sequence) = (self.identity, self.sequence);
        frame("snapshot", sequence, &Snapshot { identity, sequence, peers: &peers, sample: &self.sample })
    }
}
