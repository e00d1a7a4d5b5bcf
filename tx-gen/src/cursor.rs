//! A connection's frames, cut off its chunks in order without copying.

use bytes::Bytes;

use crate::chunk::LENGTH_BYTES;
use crate::load::ConnectionLoad;

/// Where a connection is in its load.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    load: ConnectionLoad,
    frame_transactions: u64,
    chunk: usize,
    offset: usize,
    /// Frames before this place.
    frame: u64,
}

/// Some whole frames, back to back.
#[derive(Debug, Clone)]
pub(crate) struct Frames {
    /// As they go over the wire.
    pub bytes: Bytes,
    /// Transactions in them.
    pub transactions: u64,
}

impl Cursor {
    pub(crate) fn new(load: ConnectionLoad, frame_transactions: u32) -> Self {
        Self { load, frame_transactions: u64::from(frame_transactions.max(1)), chunk: 0, offset: 0, frame: 0 }
    }

    /// Frames before this place.
    pub(crate) fn frame(&self) -> u64 {
        self.frame
    }

    /// Index among the connection's transactions of the first one of frame `frame`.
    pub(crate) fn index_of(&self, frame: u64) -> u64 {
        frame * self.frame_transactions
    }

    /// Whether all is cut off.
    pub(crate) fn is_at_end(&self) -> bool {
        self.chunk >= self.load.chunks.len()
    }

    /// Cuts off up to `frames_max` (at least 1) frames that lie in one chunk; `None` at the end.
    pub(crate) fn next(&mut self, frames_max: u64) -> Option<Frames> {
        let chunk = self.load.chunks.get(self.chunk)?;
        let (start, mut end, mut frames) = (self.offset, self.offset, 0);
        while frames < frames_max.max(1) {
            let Some(length) = chunk.get(end..).and_then(|rest| rest.first_chunk::<LENGTH_BYTES>()) else { break };
            end += LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
            frames += 1;
        }
        // Chunks are whole frames: they are made so, and files are checked.
        let bytes = chunk.slice(start..end.min(chunk.len()));
        if end >= chunk.len() {
            self.chunk += 1;
            self.offset = 0;
        } else {
            self.offset = end;
        }
        let first = self.index_of(self.frame);
        self.frame += frames;
        let transactions = self.index_of(self.frame).min(self.load.count) - first.min(self.load.count);
        Some(Frames { bytes, transactions })
    }

    /// Goes to frame `frame`, counted from the start.
    pub(crate) fn seek(&mut self, frame: u64) {
        (self.chunk, self.offset, self.frame) = (0, 0, 0);
        while self.frame < frame {
            if self.next(frame - self.frame).is_none() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::sign_load;
    use crate::plan::LoadPlan;
    use crate::testing::genesis;

    fn cursor() -> Cursor {
        let plan =
            LoadPlan { accounts: 10, connections: 1, count: 9_001, timestamp_ms: Some(0), ..LoadPlan::default() };
        let load = sign_load(&genesis(10), &plan, &mut |_| ()).unwrap();
        Cursor::new(load.connections[0].clone(), load.frame_transactions)
    }

    #[test]
    fn all_frames_come_once_in_order() {
        let whole: Vec<u8> = cursor().load.chunks.iter().flat_map(|chunk| chunk.to_vec()).collect();
        for frames_max in [1, 3, 8, 1_000] {
            let mut cursor = cursor();
            let (mut bytes, mut transactions) = (Vec::new(), 0);
            let mut before = 0;
            while let Some(next) = cursor.next(frames_max) {
                assert!((before + 1..=before + frames_max).contains(&cursor.frame()));
                before = cursor.frame();
                bytes.extend_from_slice(&next.bytes);
                transactions += next.transactions;
            }
            assert!(cursor.is_at_end());
            assert_eq!((transactions, cursor.frame()), (9_001, 141));
            assert!(bytes == whole, "{frames_max} at a time");
        }
    }

    #[test]
    fn a_sought_frame_is_the_one_that_would_have_come() {
        for frame in [0, 1, 63, 64, 65, 140] {
            let mut walked = cursor();
            (0..frame).for_each(|_| drop(walked.next(1)));
            let mut sought = cursor();
            sought.next(77);
            sought.seek(frame);
            assert_eq!(sought.frame(), frame);
            assert!(sought.next(1).unwrap().bytes == walked.next(1).unwrap().bytes, "frame {frame}");
        }
        let mut past = cursor();
        past.seek(500);
        assert!(past.next(1).is_none());
    }
}
