//! The one connection to the node, and on it one stream: requests are written one after the other, answers are dealt out by sequence.
//!
//! Nothing here retries a transaction: what was on its way when the connection broke may have arrived, and its request is told so.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tana_net::{AnswerReceiver, ClientError, SubmitSender, TxClient};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::follow::Followed;
use crate::api::config::NodeTarget;
use crate::api::limits::{
    CONNECT_HOLD, CONNECT_WAIT, SILENCE_LOOK, SILENCE_MAX, SUBMIT_IN_FLIGHT_MAX, SUBMIT_QUEUE_MAX,
};

/// Requests on the stream by the sequence of their first transaction.
type OnStream = Arc<Mutex<BTreeMap<u64, Arc<Followed>>>>;

/// Transactions of one request, as frames.
struct Job {
    frames: Vec<Bytes>,
    followed: Arc<Followed>,
}

/// All places are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The way to the node. Clones share it; it ends when the last one is dropped.
#[derive(Clone)]
pub struct NodeLink {
    jobs: mpsc::Sender<Job>,
    in_flight: Arc<Semaphore>,
    on_stream: OnStream,
}

/// A request's hold on its transactions. When it is dropped, their answers are no longer waited for, and their places are free.
pub struct Ticket {
    followed: Arc<Followed>,
    on_stream: OnStream,
    _places: OwnedSemaphorePermit,
}

impl Ticket {
    /// What is known of the transactions.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut on_stream = self.on_stream.lock();
        // Under the lock, so that it is either seen before it goes onto the stream or found there.
        self.followed.abandon();
        if let Some(first) = self.followed.first()
            && on_stream.get(&first).is_some_and(|followed| Arc::ptr_eq(followed, &self.followed))
        {
            on_stream.remove(&first);
        }
    }
}

impl NodeLink {
    /// Starts the task that keeps the connection, which is made when it is first needed.
    pub fn start(target: NodeTarget) -> Self {
        let (jobs, queue) = mpsc::channel(SUBMIT_QUEUE_MAX);
        let on_stream = OnStream::default();
        tokio::spawn(run(target, queue, on_stream.clone()));
        Self { jobs, in_flight: Arc::new(Semaphore::new(SUBMIT_IN_FLIGHT_MAX)), on_stream }
    }

    /// Hands `count` transactions over, as payloads of frames (at most 65,536 bytes each, transactions back to back).
    ///
    /// # Errors
    /// [`Full`] when too many are followed already, or the node takes none.
    pub fn submit(&self, frames: Vec<Bytes>, count: usize) -> Result<Ticket, Full> {
        let places = u32::try_from(count).map_err(|_| Full)?;
        let places = self.in_flight.clone().try_acquire_many_owned(places).map_err(|_| Full)?;
        let followed = Arc::new(Followed::new(count));
        match self.jobs.try_send(Job { frames, followed: followed.clone() }) {
            Ok(()) => Ok(Ticket { followed, on_stream: self.on_stream.clone(), _places: places }),
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => Err(Full),
        }
    }
}

/// Keeps a connection for as long as anybody may submit.
async fn run(target: NodeTarget, mut queue: mpsc::Receiver<Job>, on_stream: OnStream) {
    let mut held_until: Option<(Instant, String)> = None;
    while let Some(job) = queue.recv().await {
        if job.followed.is_abandoned() {
            continue;
        }
        if let Some((until, why)) = &held_until
            && Instant::now() < *until
        {
            job.followed.give_up(why.clone());
            continue;
        }
        match connect(target).await {
            Err(error) => {
                tracing::warn!(node = %target.address, "cannot hand transactions to the node: {error}");
                job.followed.give_up(error.clone());
                held_until = Some((Instant::now() + CONNECT_HOLD, error));
            }
            Ok((client, sender, answers)) => {
                held_until = None;
                let ended = serve(job, &mut queue, sender, answers, &on_stream).await;
                let why = ended.err().unwrap_or_else(|| "the node ended the stream".to_owned());
                tracing::info!(node = %target.address, "the stream to the node has ended: {why}");
                for (_, followed) in std::mem::take(&mut *on_stream.lock()) {
                    followed.give_up(why.clone());
                }
                drop(client);
            }
        }
    }
}

async fn connect(target: NodeTarget) -> Result<(TxClient, SubmitSender, AnswerReceiver), String> {
    let open = async {
        let client = TxClient::connect(target.address, target.pin, None).await?;
        let (sender, answers) = client.open_submit().await?;
        Ok::<_, ClientError>((client, sender, answers))
    };
    match timeout(CONNECT_WAIT, open).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer from {} within {} s", target.address, CONNECT_WAIT.as_secs())),
    }
}

/// Makes a request's answers findable, unless nobody waits for them any more.
fn put_on(on_stream: &OnStream, first: u64, followed: &Arc<Followed>) -> bool {
    let mut on_stream = on_stream.lock();
    if followed.is_abandoned() {
        return false;
    }
    followed.sent(first);
    on_stream.insert(first, followed.clone());
    true
}

/// Writes requests and deals out answers until the stream or the queue ends.
async fn serve(
    first: Job,
    queue: &mut mpsc::Receiver<Job>,
    mut sender: SubmitSender,
    mut answers: AnswerReceiver,
    on_stream: &OnStream,
) -> Result<(), String> {
    // When something was first written since the node has said anything: every transaction is answered, so silence means that it is gone.
    let asked = Mutex::new(None::<Instant>);
    let write = async {
        let mut sequence = 0;
        let mut next = Some(first);
        while let Some(job) = next {
            if put_on(on_stream, sequence, &job.followed) {
                sequence += job.followed.count();
                asked.lock().get_or_insert_with(Instant::now);
                for frame in job.frames {
                    sender.send_bytes(frame).await?;
                }
            }
            next = queue.recv().await;
        }
        Ok::<(), ClientError>(())
    };
    let read = async {
        let mut events = Vec::new();
        while answers.receive(&mut events).await? > 0 {
            *asked.lock() = None;
            for event in &events {
                let end = event.first.saturating_add(u64::from(event.count));
                // Newest first, down to the one that the run begins in. Those that nobody waits for are not there.
                for (first, followed) in on_stream.lock().range(..end).rev() {
                    if first + followed.count() <= event.first {
                        break;
                    }
                    followed.note(event, *first);
                }
            }
            events.clear();
        }
        Ok(())
    };
    let silence = async {
        loop {
            sleep(SILENCE_LOOK).await;
            if asked.lock().is_some_and(|asked| asked.elapsed() > SILENCE_MAX) {
                return;
            }
        }
    };
    tokio::select! {
        written = write => written.map_err(|error| error.to_string()),
        read = read => read.map_err(|error: ClientError| error.to_string()),
        () = silence => Err(format!("the node has said nothing for {} s", SILENCE_MAX.as_secs())),
    }
}
