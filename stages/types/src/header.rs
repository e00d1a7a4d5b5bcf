//! The block header, which is the whole block: it lists batches by digest, never transactions, and so stays a few kilobytes.
//!
//! Layout (little-endian): version 2, height 8, epoch 8, parent 32, proposer 32, timestamp 8, executed height 8, state root 32, receipts
//! root 32, transaction root 32, transaction count 4, validator-set hash 32, lane count 2, then per lane: lane 2, first sequence 8, digest
//! count 2, digests 32 each. Its hash is BLAKE3 in keyed mode under [`HEADER_CONTEXT`], over all of these bytes.

use crate::Hash;
use crate::codec::{COUNTER_MAX, DecodeError, Reader, Writer, invalid};

/// The only version of the header.
pub const HEADER_VERSION: u16 = 1;
/// The key of the header hash is the BLAKE3 hash of this text.
pub const HEADER_CONTEXT: &str = "tana block header v1";
/// The most lanes of a block: one per validator.
pub const LANES_MAX: usize = 256;
/// The most batches of a block, all lanes together.
pub const BLOCK_BATCHES_MAX: usize = 1_024;
/// Bytes of a header without lanes, the count of the lanes included.
pub const HEADER_FIXED_BYTES: usize = 232;
/// The most bytes of an encoded header: the fixed ones, 12 a lane, 32 a batch.
pub const HEADER_BYTES_MAX: usize = HEADER_FIXED_BYTES + 12 * LANES_MAX + 32 * BLOCK_BATCHES_MAX;

/// Consecutive batches of one validator's lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneBatches {
    /// The lane: the author's place in the validator set.
    pub lane: u16,
    /// The sequence of the first digest; the lane's mark after the block is `first_sequence + digests.len() - 1`.
    pub first_sequence: u64,
    /// The batches' digests, in sequence order.
    pub digests: Vec<Hash>,
}

/// What validators agree on. Everything in it is committed to by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockHeader {
    /// Its height; the genesis is 0 and has no header.
    pub height: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The hash of the header below; at height 1 the genesis hash.
    pub parent: Hash,
    /// The validator that proposed it.
    pub proposer: [u8; 32],
    /// Milliseconds since 1970-01-01T00:00:00Z, above the parent's.
    pub timestamp_ms: u64,
    /// The finalized height r whose execution this header attests; below `height`, never below the parent's.
    pub executed_height: u64,
    /// The state root after r.
    pub state_root: Hash,
    /// The receipts root of r.
    pub receipts_root: Hash,
    /// The Merkle root over the identifiers of this block's transactions, in order.
    pub transaction_root: Hash,
    /// How many transactions its batches hold.
    pub transaction_count: u32,
    /// The hash of the validator set of the epoch of `executed_height`, as that height left it.
    pub validator_set_hash: Hash,
    /// Its batches by lane, ascending by lane.
    pub lanes: Vec<LaneBatches>,
}

impl BlockHeader {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(256 + 32 * self.batch_count());
        writer.u16(HEADER_VERSION).u64(self.height).u64(self.epoch).bytes(&self.parent).bytes(&self.proposer);
        writer.u64(self.timestamp_ms).u64(self.executed_height).bytes(&self.state_root).bytes(&self.receipts_root);
        writer.bytes(&self.transaction_root).u32(self.transaction_count).bytes(&self.validator_set_hash);
        writer.u16(self.lanes.len() as u16);
        for lane in &self.lanes {
            writer.u16(lane.lane).u64(lane.first_sequence).u16(lane.digests.len() as u16);
            for digest in &lane.digests {
                writer.bytes(digest);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes; anything else is refused.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u16("version")? != HEADER_VERSION {
            return invalid("version", "1");
        }
        let mut header = Self {
            height: reader.u64("height")?,
            epoch: reader.u64("epoch")?,
            parent: reader.array("parent")?,
            proposer: reader.array("proposer")?,
            timestamp_ms: reader.u64("timestamp_ms")?,
            executed_height: reader.u64("executed_height")?,
            state_root: reader.array("state_root")?,
            receipts_root: reader.array("receipts_root")?,
            transaction_root: reader.array("transaction_root")?,
            transaction_count: reader.u32("transaction_count")?,
            validator_set_hash: reader.array("validator_set_hash")?,
            lanes: Vec::new(),
        };
        if header.height == 0 || header.executed_height >= header.height {
            return invalid("executed_height", "below the height, which is at least 1");
        }
        if header.height.max(header.epoch).max(header.timestamp_ms) > COUNTER_MAX {
            return invalid("height, epoch or timestamp", "below 2^63");
        }
        let lane_count = reader.u16("lane count")? as usize;
        if lane_count > LANES_MAX {
            return invalid("lane count", "at most 256");
        }
        let mut batches = 0;
        for _ in 0..lane_count {
            let lane = read_lane(&mut reader)?;
            batches += lane.digests.len();
            if batches > BLOCK_BATCHES_MAX || header.lanes.last().is_some_and(|last| last.lane >= lane.lane) {
                return invalid("lanes", "ascending, with at most 1,024 batches in all");
            }
            header.lanes.push(lane);
        }
        reader.finish()?;
        Ok(header)
    }

    /// The header's hash: the block's name.
    pub fn hash(&self) -> Hash {
        *blake3::keyed_hash(blake3::hash(HEADER_CONTEXT.as_bytes()).as_bytes(), &self.encode()).as_bytes()
    }

    /// Batches in all lanes.
    pub fn batch_count(&self) -> usize {
        self.lanes.iter().map(|lane| lane.digests.len()).sum()
    }

    /// Every batch as (lane, sequence, digest), in the order of execution.
    pub fn batches(&self) -> impl Iterator<Item = (u16, u64, &Hash)> {
        // Counted from the front: a range of sequences would step past the last one, and 2^64 - 1 has no successor.
        self.lanes.iter().flat_map(|lane| {
            let numbered = lane.digests.iter().enumerate();
            numbered.map(|(place, digest)| (lane.lane, lane.first_sequence.saturating_add(place as u64), digest))
        })
    }
}

fn read_lane(reader: &mut Reader<'_>) -> Result<LaneBatches, DecodeError> {
    let lane = reader.u16("lane")?;
    let first_sequence = reader.u64("first sequence")?;
    let count = reader.u16("digest count")? as usize;
    if count == 0
        || count > BLOCK_BATCHES_MAX
        || first_sequence == 0
        || first_sequence.saturating_add(count as u64) > COUNTER_MAX
    {
        return invalid("digest count", "1 to 1,024, from sequence 1 on and below 2^63");
    }
    let digests = (0..count).map(|_| reader.array("digest")).collect::<Result<_, _>>()?;
    Ok(LaneBatches { lane, first_sequence, digests })
}
