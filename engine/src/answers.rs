//! Tells clients what became of their transactions, as runs rather than one by one.
//!
//! A batch holds long runs of one stream in sequence (a frame brings 64 at a time), so a run is cut only where the stream, the sequence or
//! the code breaks. Transactions of flood streams want no answer.

use tana_net::{AnswerEvent, AnswerHub, AnswerKind, StreamId};
use tana_types::batch::{Entry, Origin};
use tana_types::code::Code;

/// Collects runs and sends them per stream.
pub struct Answers {
    hub: AnswerHub,
    events: Vec<AnswerEvent>,
    stream: StreamId,
}

/// Where a block's transactions stand, for events that name a place.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The block.
    pub height: u64,
    /// The place of the batch's first transaction in the block.
    pub first_index: u64,
}

impl Answers {
    /// Answers through `hub`.
    pub fn new(hub: AnswerHub) -> Self {
        Self { hub, events: Vec::new(), stream: StreamId::NONE }
    }

    /// Every transaction of a batch was accepted.
    pub fn accepted(&mut self, entries: &[Entry]) {
        self.runs(entries, |_| (AnswerKind::Accepted, 0), None);
    }

    /// Every transaction of a batch is in a final block.
    pub fn in_final_block(&mut self, entries: &[Entry], place: Place) {
        self.runs(entries, |_| (AnswerKind::Final, 0), Some(place));
    }

    /// A batch was committed with these codes.
    pub fn committed(&mut self, entries: &[Entry], codes: &[u8], place: Place) {
        let kind = |position: usize| {
            let code = codes.get(position).copied().unwrap_or(0);
            let kind = match Code::from_u8(code) {
                Some(Code::Applied) => AnswerKind::Applied,
                Some(code) if code.is_skipped() => AnswerKind::Skipped,
                _ => AnswerKind::Failed,
            };
            (kind, code)
        };
        self.runs(entries, kind, Some(place));
    }

    /// Single transactions were rejected.
    pub fn rejected(&mut self, rejections: impl IntoIterator<Item = (Origin, Code)>) {
        for (origin, code) in rejections {
            self.push(origin.stream, AnswerEvent::here(AnswerKind::Rejected, code as u8, origin.sequence));
        }
        self.flush();
    }

    fn runs(&mut self, entries: &[Entry], kind: impl Fn(usize) -> (AnswerKind, u8), place: Option<Place>) {
        let mut start = 0;
        while start < entries.len() {
            let first = entries[start].origin;
            let said = kind(start);
            let mut end = start + 1;
            while end < entries.len()
                && entries[end].origin.stream == first.stream
                && entries[end].origin.sequence == first.sequence + (end - start) as u64
                && kind(end) == said
            {
                end += 1;
            }
            if first.stream != StreamId::NONE.0 {
                let mut event = match place {
                    None => AnswerEvent::here(said.0, said.1, first.sequence),
                    Some(place) => {
                        let index = place.first_index + start as u64;
                        AnswerEvent::in_block(said.0, said.1, first.sequence, place.height, index)
                    }
                };
                event.count = (end - start) as u32;
                self.push(first.stream, event);
            }
            start = end;
        }
        self.flush();
    }

    fn push(&mut self, stream: u32, event: AnswerEvent) {
        if stream == StreamId::NONE.0 {
            return;
        }
        if self.stream.0 != stream {
            self.flush();
            self.stream = StreamId(stream);
        }
        self.events.push(event);
    }

    fn flush(&mut self) {
        if !self.events.is_empty() {
            self.hub.send_all(self.stream, &self.events);
            self.events.clear();
        }
    }
}
