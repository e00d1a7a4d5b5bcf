//! The streams of a connection: reading frames, writing answers, answering queries.
//!
//! A read takes up to [`CHUNKS`] chunks that have arrived, cuts the frames out of them in place and offers each to the
//! intake. Between frames a stream gives its buffer back to the shard's pool, so an idle one holds only its task.
//!
//! A frame that was started must complete within the frame deadline. The clock stands still while the server itself
//! holds the connection back (the intake is full, or the address is slowed), because then the client cannot send.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{ReadError, RecvStream, SendStream, VarInt};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::{AnswerEvent, EVENT_BYTES};
use crate::connection::ConnectionContext;
use crate::frame::{
    FRAME_BYTES_MAX, FrameAssembler, FrameError, HEADER_BYTES, RESPONSE_BYTES_MAX, STREAM_TYPE_QUERY,
    STREAM_TYPE_SUBMIT,
};
use crate::hub::StreamAnswers;
use crate::intake::StreamId;
use crate::limits::CloseCode;
use crate::metrics::add;
use crate::server::Phase;

/// Chunks (of about one packet each) that one read takes.
const CHUNKS: usize = 16;

/// Buffers that a shard keeps for unfinished frames: 64 times at most 128 KiB.
const BUFFERS_MAX: usize = 64;

/// Answer events in one frame: 32 KiB, so that a slow client does not keep many in memory twice.
const EVENTS_PER_FRAME_MAX: usize = 1_024;

/// How a stream ended.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// In order.
    Done,
    /// With its connection.
    Lost,
    /// The client abandoned it.
    Reset,
    /// The whole connection is to be closed.
    Close(CloseCode, String),
}

/// Buffers that streams use for unfinished frames and give back between them.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    buffers: Mutex<Vec<Vec<u8>>>,
}

impl BufferPool {
    fn take(&self) -> Vec<u8> {
        self.buffers.lock().pop().unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock();
        if buffer.capacity() > 0 && buffers.len() < BUFFERS_MAX {
            buffers.push(buffer);
        }
    }
}

/// Reads frames of one stream and keeps its accounts; dropping it settles them.
struct FrameReader<'a> {
    context: &'a ConnectionContext,
    receive: RecvStream,
    assembler: FrameAssembler,
    chunks: [Bytes; CHUNKS],
    /// Bytes of an unfinished frame that the connection's account knows of.
    accounted: usize,
    /// Bytes that were read since the address was last charged.
    unpaid_bytes: usize,
    /// When the unfinished frame must be complete.
    deadline: Instant,
}

impl<'a> FrameReader<'a> {
    fn new(context: &'a ConnectionContext, receive: RecvStream) -> Self {
        FrameReader {
            context,
            receive,
            assembler: FrameAssembler::new(FRAME_BYTES_MAX),
            chunks: [const { Bytes::new() }; CHUNKS],
            accounted: 0,
            unpaid_bytes: 0,
            deadline: Instant::now(),
        }
    }

    /// Fills `chunks` with what arrives next; returns how many, 0 at the end of the stream.
    async fn read(&mut self) -> Result<usize, StreamEnd> {
        let count = if self.accounted == 0 {
            self.receive.read_chunks(&mut self.chunks).await
        } else {
            loop {
                match tokio::time::timeout_at(self.deadline, self.receive.read_chunks(&mut self.chunks)).await {
                    Ok(count) => break count,
                    Err(_) => self.extend_deadline()?,
                }
            }
        };
        match count {
            Ok(Some(count)) => Ok(count),
            Ok(None) if self.accounted > 0 => Err(close(CloseCode::MalformedFrame, "a stream ended within a frame")),
            Ok(None) => Ok(0),
            Err(ReadError::Reset(_)) => Err(StreamEnd::Reset),
            Err(_) => Err(StreamEnd::Lost),
        }
    }

    /// Gives a late frame more time if the server held the connection back meanwhile.
    fn extend_deadline(&mut self) -> Result<(), StreamEnd> {
        let allowed = self.context.shared.limits.frame_deadline;
        match self.context.since_held() {
            Some(since) if since < allowed => {
                self.deadline = Instant::now() + (allowed - since);
                Ok(())
            }
            _ => Err(close(CloseCode::SlowFrame, CloseCode::SlowFrame.meaning())),
        }
    }

    /// Reads once and offers every frame that this completes; `false` at the end of the stream.
    async fn pump(&mut self, stream: StreamId) -> Result<bool, StreamEnd> {
        self.pay().await;
        let count = self.read().await?;
        if self.accounted == 0 {
            self.assembler.give_buffer(self.context.buffers.take());
        }
        let (mut frames, mut bytes, mut turn) = (0, 0, None);
        for chunk in &mut self.chunks[..count] {
            let chunk = std::mem::take(chunk);
            bytes += chunk.len();
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let step = self.assembler.step(rest).map_err(refuse_frame)?;
                rest = &rest[step.consumed..];
                if let Some(frame) = step.frame {
                    frames += 1;
                    self.context.offer(stream, frame, &mut turn).await?;
                }
            }
        }
        self.settle(frames, bytes)?;
        Ok(count > 0)
    }

    /// Waits until a slowed address may read again; what this stream read last is charged first.
    async fn pay(&mut self) {
        let mut bytes = std::mem::take(&mut self.unpaid_bytes);
        while let Some(delay) = self.context.source.score.pace(bytes) {
            add(&self.context.shared.metrics.paced, 1);
            let _hold = self.context.hold();
            tokio::time::sleep(delay).await;
            bytes = 0;
        }
    }

    /// Keeps the accounts after a read: counters, unfinished bytes, deadline, buffer.
    fn settle(&mut self, frames: u64, bytes: usize) -> Result<(), StreamEnd> {
        self.context.count(frames, bytes);
        self.unpaid_bytes += bytes;
        let partial = self.assembler.partial_bytes();
        if partial > 0 && (self.accounted == 0 || frames > 0) {
            self.deadline = Instant::now() + self.context.shared.limits.frame_deadline;
        }
        let before = std::mem::replace(&mut self.accounted, partial);
        self.context.change_partial(before, partial)?;
        if let Some(buffer) = self.assembler.take_buffer() {
            self.context.buffers.give(buffer);
        }
        Ok(())
    }

    /// Reads up to the next complete frame of a stream that carries few; `None` at its end.
    ///
    /// Bytes after it are kept in `pending`.
    async fn next_frame(&mut self, pending: &mut Bytes) -> Result<Option<Vec<u8>>, StreamEnd> {
        loop {
            while !pending.is_empty() {
                let step = self.assembler.step(pending).map_err(refuse_frame)?;
                let (consumed, frame) = (step.consumed, step.frame.map(<[u8]>::to_vec));
                let _ = pending.split_to(consumed);
                let bytes = consumed;
                self.settle(u64::from(frame.is_some()), bytes)?;
                if frame.is_some() {
                    return Ok(frame);
                }
            }
            self.pay().await;
            match self.read().await? {
                0 => return Ok(None),
                1 => *pending = std::mem::take(&mut self.chunks[0]),
                count => *pending = self.chunks[..count].concat().into(),
            }
        }
    }
}

impl Drop for FrameReader<'_> {
    fn drop(&mut self) {
        // Shrinking never fails.
        let _ = self.context.change_partial(self.accounted, 0);
    }
}

fn close(code: CloseCode, reason: impl Into<String>) -> StreamEnd {
    StreamEnd::Close(code, reason.into())
}

fn refuse_frame(error: FrameError) -> StreamEnd {
    let code = match error {
        FrameError::Empty => CloseCode::MalformedFrame,
        FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
    };
    close(code, error.to_string())
}

/// Resolves when nothing is to be read any more.
async fn reading_stops(mut phase: watch::Receiver<Phase>) {
    // An error means that the server is gone.
    let _ = phase.wait_for(|phase| *phase >= Phase::Draining).await;
}

/// Reads all frames of `receive` and offers them as `stream`'s, until it ends or the server stops reading.
async fn read_frames(context: &ConnectionContext, receive: RecvStream, stream: StreamId) -> StreamEnd {
    let mut reader = FrameReader::new(context, receive);
    let stop = reading_stops(context.shared.phase.subscribe());
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return StreamEnd::Done,
            more = reader.pump(stream) => match more {
                Ok(true) => {}
                Ok(false) => return StreamEnd::Done,
                Err(end) => return end,
            },
        }
    }
}

/// Serves a uni-stream: transactions without answers.
pub(crate) async fn flood(context: Arc<ConnectionContext>, receive: RecvStream) -> StreamEnd {
    read_frames(&context, receive, StreamId::NONE).await
}

/// Serves a bidirectional stream, whose first byte says what it is for.
pub(crate) async fn answered(context: Arc<ConnectionContext>, send: SendStream, mut receive: RecvStream) -> StreamEnd {
    let mut kind = [0];
    let read = tokio::select! {
        read = receive.read(&mut kind) => read,
        () = reading_stops(context.shared.phase.subscribe()) => return StreamEnd::Done,
    };
    match read {
        Ok(Some(_)) if kind[0] == STREAM_TYPE_SUBMIT => submit(&context, send, receive).await,
        Ok(Some(_)) if kind[0] == STREAM_TYPE_QUERY => query(&context, send, receive).await,
        Ok(Some(_)) => close(CloseCode::MalformedFrame, format!("stream type {} is not known; 1 or 2 are", kind[0])),
        Ok(None) => StreamEnd::Done,
        Err(ReadError::ConnectionLost(_)) => StreamEnd::Lost,
        Err(_) => StreamEnd::Reset,
    }
}

/// Closes a submit stream's books when its task ends, however it ends.
struct Registration<'a> {
    context: &'a ConnectionContext,
    stream: StreamId,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.context.shared.hub.unregister(self.stream);
        self.context.shared.intake.closed(self.stream);
    }
}

/// Serves a submit stream: reads transactions and writes answers, each way until it ends.
async fn submit(context: &ConnectionContext, send: SendStream, receive: RecvStream) -> StreamEnd {
    let (stream, answers) = context.shared.hub.register(context.source.score.clone());
    let _registration = Registration { context, stream };
    if *context.shared.phase.borrow() >= Phase::Finishing {
        return StreamEnd::Done;
    }
    let (mut reading, mut writing) = (true, true);
    let reader = read_frames(context, receive, stream);
    let writer = write_answers(context, send, &answers);
    tokio::pin!(reader, writer);
    while reading || writing {
        tokio::select! {
            end = &mut reader, if reading => match end {
                StreamEnd::Done => {
                    context.shared.intake.finished(stream);
                    reading = false;
                }
                end => return end,
            },
            () = &mut writer, if writing => {
                context.shared.hub.unregister(stream);
                writing = false;
            }
        }
    }
    StreamEnd::Done
}

/// Writes answers as they come, until they are finished, the client stops listening or reading, or the connection is
/// lost.
async fn write_answers(context: &ConnectionContext, mut send: SendStream, answers: &StreamAnswers) {
    let stopped = send.stopped();
    tokio::pin!(stopped);
    let (mut events, mut frame): (Vec<AnswerEvent>, Vec<u8>) = (Vec::new(), Vec::new());
    loop {
        let finishing = answers.is_finishing();
        context.shared.hub.take(answers, EVENTS_PER_FRAME_MAX, &mut events);
        if !events.is_empty() {
            let length = u32::try_from(events.len() * EVENT_BYTES).unwrap_or(u32::MAX);
            frame.extend_from_slice(&length.to_le_bytes());
            events.iter().for_each(|event| frame.extend_from_slice(&event.encode()));
            match write_with_progress(&mut send, &frame, context.shared.limits.answer_write_timeout).await {
                Written::All => {}
                Written::Gone => return,
                Written::Stalled { rest } => {
                    let written = events.len().saturating_sub(rest.div_ceil(EVENT_BYTES));
                    context.shared.hub.give_up(answers, &events[written..]);
                    // An error means that the stream is gone already.
                    let _ = send.reset(VarInt::from_u32(CloseCode::QueryAborted as u32));
                    return;
                }
            }
            events.clear();
            frame.clear();
            continue;
        }
        if finishing {
            // Errors mean that the client is gone; until it has everything, the connection must stay open.
            if send.finish().is_ok() {
                let _ = stopped.await;
            }
            return;
        }
        // Nothing waits: an idle stream keeps no buffers.
        (events, frame) = (Vec::new(), Vec::new());
        tokio::select! {
            () = answers.bell.notified() => {}
            _ = &mut stopped => return,
        }
    }
}

/// How far a write came.
enum Written {
    All,
    /// The client stopped listening or the connection is lost.
    Gone,
    /// Nothing moved for too long; so many bytes at the end were not written.
    Stalled {
        rest: usize,
    },
}

/// Writes `bytes`, as long as some of them leave within each `timeout`.
async fn write_with_progress(send: &mut SendStream, bytes: &[u8], timeout: Duration) -> Written {
    let mut rest = bytes;
    while !rest.is_empty() {
        match tokio::time::timeout(timeout, send.write(rest)).await {
            Ok(Ok(count)) => rest = rest.get(count..).unwrap_or(&[]),
            Ok(Err(_)) => return Written::Gone,
            Err(_) => return Written::Stalled { rest: rest.len() },
        }
    }
    Written::All
}

/// Serves a query stream: one request, one response, repeated.
async fn query(context: &ConnectionContext, mut send: SendStream, receive: RecvStream) -> StreamEnd {
    let mut reader = FrameReader::new(context, receive);
    let mut pending = Bytes::new();
    let stop = reading_stops(context.shared.phase.subscribe());
    tokio::pin!(stop);
    loop {
        let request = tokio::select! {
            biased;
            () = &mut stop => return StreamEnd::Done,
            request = reader.next_frame(&mut pending) => match request {
                Ok(Some(request)) => request,
                Ok(None) => {
                    let _ = send.finish();
                    return StreamEnd::Done;
                }
                Err(end) => return end,
            },
        };
        if !answer_query(context, &mut send, request).await {
            add(&context.shared.metrics.queries_aborted, 1);
            let _ = send.reset(VarInt::from_u32(CloseCode::QueryAborted as u32));
            return StreamEnd::Done;
        }
        add(&context.shared.metrics.queries, 1);
    }
}

/// Answers one query within the limits; `false` when the answer could not be delivered.
async fn answer_query(context: &ConnectionContext, send: &mut SendStream, request: Vec<u8>) -> bool {
    // Own share first, so that a greedy connection waits on itself before it takes a place from others. The
    // semaphores are never closed.
    let Ok(_of_connection) = context.queries.acquire().await else { return false };
    let Ok(_of_ip) = context.source.score.queries.acquire().await else { return false };
    let Ok(_of_all) = context.shared.queries.acquire().await else { return false };
    let response = context.shared.intake.query(request).await;
    let length = match u32::try_from(response.len()) {
        Ok(length) if response.len() <= RESPONSE_BYTES_MAX => length,
        _ => return false,
    };
    let timeout: Duration = context.shared.limits.query_write_timeout;
    let write = async {
        let header: [u8; HEADER_BYTES] = length.to_le_bytes();
        send.write_all(&header).await?;
        send.write_chunk(Bytes::from(response)).await
    };
    matches!(tokio::time::timeout(timeout, write).await, Ok(Ok(())))
}
