//! What a block did, for the root, the log, the clients and the metrics; one value that is used for every block.

use tana_types::Hash;
use tana_types::account::{AccountIndex, RECORD_BYTES};
use tana_types::code::Code;

use crate::currencies::Movement;

/// What a block did. Keep one and pass it to every [`crate::State::execute`]: its memory is used again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// One [`Code`] number per transaction, in block order.
    pub codes: Vec<u8>,
    /// Accounts that changed or are new, ascending, each once.
    pub changed: Vec<AccountIndex>,
    /// Their records after the block.
    pub records: Vec<[u8; RECORD_BYTES]>,
    /// Those of them that have an overflow: position in `changed`, ascending, and the overflow's hash.
    pub overflow_hashes: Vec<(u32, Hash)>,
    /// Transactions that took effect.
    pub applied: u32,
    /// Transactions that failed with a final receipt.
    pub failed: u32,
    /// Transactions that were passed over ([`Code::is_skipped`]).
    pub skipped: u32,
    /// Accounts created.
    pub creations: u32,
    /// What happened to each currency that moved, by identifier.
    pub movements: Vec<Movement>,
    /// Position in `changed`, end in `overflow_bytes`, and whether the overflow is still there.
    overflow_ends: Vec<(u32, usize, bool)>,
    overflow_bytes: Vec<u8>,
}

impl Outcome {
    /// Forgets the content and keeps the room.
    pub fn clear(&mut self) {
        self.codes.clear();
        self.changed.clear();
        self.records.clear();
        self.overflow_hashes.clear();
        (self.applied, self.failed, self.skipped, self.creations) = (0, 0, 0, 0);
        self.movements.clear();
        self.overflow_ends.clear();
        self.overflow_bytes.clear();
    }

    /// Overflows that the block changed: position in `changed`, ascending, and the new canonical bytes, `None` when it is gone.
    pub fn overflow_changes(&self) -> impl Iterator<Item = (u32, Option<&[u8]>)> {
        let mut start = 0;
        self.overflow_ends.iter().map(move |&(position, end, there)| {
            let bytes = &self.overflow_bytes[start..end];
            start = end;
            (position, there.then_some(bytes))
        })
    }

    pub(crate) fn push_overflow(&mut self, position: u32, bytes: Option<&[u8]>) {
        self.overflow_bytes.extend_from_slice(bytes.unwrap_or(&[]));
        self.overflow_ends.push((position, self.overflow_bytes.len(), bytes.is_some()));
    }

    #[inline]
    pub(crate) fn push_code(&mut self, code: Code) {
        self.codes.push(code as u8);
        if code == Code::Applied {
            self.applied += 1;
        } else if code.is_skipped() {
            self.skipped += 1;
        } else {
            self.failed += 1;
        }
    }
}
