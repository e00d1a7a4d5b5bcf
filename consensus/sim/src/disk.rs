//! A simulated disk: one append-only file that keeps what was synced, and of the rest what the crash happens to leave.
//!
//! 1. [`Disk::append`] writes a record behind the last one; it is in the file but not safe.
//! 2. [`Disk::sync_to`] makes everything up to a position safe. How long that takes is the caller's business (it owns the time).
//! 3. [`Disk::crash`] loses any part of what is not safe, from some byte on: whole records, or the rest of one that is torn.
//! 4. [`Disk::recover`] reads the records from the front, cuts a torn one off, and what is left is safe from then on, as after a real
//!    restart, where everything that could be read is written through before anything is built on it.
//!
//! The node's logs (batches, order, blocks) share the file, so their order is the order in which the engine guarantees it: a record
//! survives only with everything that was written before it.
//!
//! ```text
//! record: length 4 (of kind and content), check 8 (BLAKE3 of kind and content), kind 1, content
//! ```

use bytes::Bytes;

use tana_sim_network::dice::Dice;

/// Bytes in front of a record's kind.
const PREFIX_BYTES: usize = 12;
/// The longest record: a sealed batch and some room.
const RECORD_BYTES_MAX: usize = 2 << 20;

/// What a node keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A verified batch, sealed.
    Batch(Bytes),
    /// A finalized header.
    Header(Vec<u8>),
    /// A height whose execution is complete: the height and its state root.
    Commit(u64, [u8; 32]),
    /// Proof against a validator.
    Evidence(Vec<u8>),
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let (kind, content) = match self {
            Record::Batch(sealed) => (1, sealed.to_vec()),
            Record::Header(header) => (2, header.clone()),
            Record::Commit(height, root) => (3, [height.to_le_bytes().as_slice(), root].concat()),
            Record::Evidence(evidence) => (4, evidence.clone()),
        };
        let mut bytes = Vec::with_capacity(PREFIX_BYTES + 1 + content.len());
        bytes.extend_from_slice(&(1 + content.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.push(kind);
        bytes.extend_from_slice(&content);
        let check = blake3::hash(&bytes[PREFIX_BYTES..]);
        bytes[4..PREFIX_BYTES].copy_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    /// The first record and its length; none where the bytes do not hold a whole one.
    fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
        if length == 0 || length > RECORD_BYTES_MAX {
            return None;
        }
        let end = PREFIX_BYTES + length;
        let body = bytes.get(PREFIX_BYTES..end)?;
        if blake3::hash(body).as_bytes()[..8] != bytes[4..PREFIX_BYTES] {
            return None;
        }
        let (kind, content) = body.split_first()?;
        let record = match kind {
            1 => Record::Batch(Bytes::copy_from_slice(content)),
            2 => Record::Header(content.to_vec()),
            3 => {
                let (height, root) = content.split_first_chunk()?;
                Record::Commit(u64::from_le_bytes(*height), root.try_into().ok()?)
            }
            4 => Record::Evidence(content.to_vec()),
            _ => return None,
        };
        Some((record, end))
    }
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    bytes: Vec<u8>,
    synced: usize,
    /// The voting record, which is written through at once.
    vote_record: Option<Vec<u8>>,
}

impl Disk {
    /// Writes a record; gives the position behind it.
    pub fn append(&mut self, record: &Record) -> u64 {
        self.bytes.extend_from_slice(&record.encode());
        self.end()
    }

    /// The position behind everything that was written.
    pub fn end(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The position up to which everything survives a crash.
    pub fn synced(&self) -> u64 {
        self.synced as u64
    }

    /// Everything up to `position` is safe.
    pub fn sync_to(&mut self, position: u64) {
        self.synced = self.synced.max((position as usize).min(self.bytes.len()));
    }

    /// Power fails: of what is not safe, a part of any length is left, often nothing, sometimes all.
    pub fn crash(&mut self, dice: &mut Dice) {
        let unsafe_bytes = self.bytes.len() - self.synced;
        let left = match dice.below(4) {
            0 => 0,
            1 => unsafe_bytes,
            _ => dice.place(unsafe_bytes + 1),
        };
        self.bytes.truncate(self.synced + left);
    }

    /// What is on the disk after a restart, in the order in which it was written.
    pub fn recover(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        let mut at = 0;
        while let Some((record, length)) = Record::decode(&self.bytes[at..]) {
            records.push(record);
            at += length;
        }
        self.bytes.truncate(at);
        self.synced = at;
        records
    }

    /// The voting record.
    pub fn vote_record(&self) -> Option<Vec<u8>> {
        self.vote_record.clone()
    }

    /// Writes the voting record through.
    pub fn set_vote_record(&mut self, bytes: &[u8]) {
        self.vote_record = Some(bytes.to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        vec![
            Record::Batch(Bytes::from(vec![7; 300])),
            Record::Header(vec![1, 2, 3]),
            Record::Commit(9, [4; 32]),
            Record::Evidence(vec![5; 40]),
        ]
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        for seed in 0..200 {
            let (mut disk, mut dice) = (Disk::default(), Dice::new(seed, "disk"));
            let all = records();
            let synced = dice.place(all.len() + 1);
            for (place, record) in all.iter().enumerate() {
                let end = disk.append(record);
                if place < synced {
                    disk.sync_to(end);
                }
            }
            disk.crash(&mut dice);
            let left = disk.recover();
            assert!(left.len() >= synced, "a synced record is gone");
            assert_eq!(left, all[..left.len()]);
            assert_eq!(disk.synced(), disk.end());
        }
    }

    #[test]
    fn unsynced_records_are_lost_kept_and_torn() {
        let (mut lost, mut torn, mut kept) = (0, 0, 0);
        for seed in 0..200 {
            let (mut disk, mut dice) = (Disk::default(), Dice::new(seed, "disk"));
            let end = disk.append(&records()[0]);
            disk.crash(&mut dice);
            match (disk.end(), disk.recover().len()) {
                (0, _) => lost += 1,
                (left, 1) if left == end => kept += 1,
                _ => torn += 1,
            }
        }
        assert!(lost > 20 && torn > 20 && kept > 20, "{lost} lost, {torn} torn, {kept} kept");
    }

    #[test]
    fn a_flipped_byte_ends_the_file() {
        let mut disk = Disk::default();
        let first = disk.append(&records()[0]);
        disk.append(&records()[1]);
        disk.bytes[first as usize + PREFIX_BYTES + 2] ^= 1;
        assert_eq!(disk.recover(), records()[..1]);
    }
}
