//! What travels on the sync channel, byte by byte. Every request carries a number that its answer repeats; every count and length is checked
//! before it is used; bytes left over are refused.
//!
//! Everything large is an *object* that is read in parts: the asker names object and offset, the answer says how long the whole is and brings at
//! most [`PART_BYTES_MAX`] bytes from there.
//!
//! ```text
//! request  = version 1 (1), kind (1), number (4), body        answer = version 1 (1), kind (1), number (4), body
//!   1 head                                                      1 head     finalized 8, committed 8, next boundary 8, count 1, heights 8 each
//!   2 freeze   height 8                                         2 frozen   height 8
//!   3 part     height 8, object 1, argument 8, offset 8         3 part     total 8, offset 8, bytes
//!                                                               4 refused  reason 1
//! ```
//! Objects: 0 state; 1 chunk (argument: its number); 2 proof (argument: the epoch whose validator set the asker trusts); 3 anchor (argument: the
//! height of a header that the asker trusts).

use tana_types::codec::{DecodeError, Reader, Writer};

use super::chunk::CHUNK_BYTES_MAX;

/// The only version of the messages.
const VERSION: u8 = 1;
/// The most bytes of an object in one answer.
pub const PART_BYTES_MAX: usize = 1 << 20;
/// The most snapshots that an answer names.
pub const HEIGHTS_MAX: usize = 8;
/// The largest state object: header, small sections, one hash for each 4,096 accounts.
pub const STATE_BYTES_MAX: usize = 96 << 20;
/// The largest proof.
pub const PROOF_BYTES_MAX: usize = 64 << 20;
/// The largest anchor: a header and a validator set.
pub const ANCHOR_BYTES_MAX: usize = 128 << 10;

/// Something that is read in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The snapshot's [`super::manifest::StateManifest`].
    State,
    /// A run of accounts.
    Chunk(u32),
    /// Why the state is that of the chain, for one who trusts the validator set of this epoch: a [`super::proof::TrustProof`].
    Proof {
        /// The epoch.
        from_epoch: u64,
    },
    /// The header of this height with the validator set that it names.
    Anchor {
        /// The height.
        height: u64,
    },
}

impl Object {
    /// The most bytes that it can have.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::State => STATE_BYTES_MAX,
            Self::Chunk(_) => CHUNK_BYTES_MAX,
            Self::Proof { .. } => PROOF_BYTES_MAX,
            Self::Anchor { .. } => ANCHOR_BYTES_MAX,
        }
    }

    fn encode(self, writer: &mut Writer) {
        let (kind, argument) = match self {
            Self::State => (0, 0),
            Self::Chunk(number) => (1, u64::from(number)),
            Self::Proof { from_epoch } => (2, from_epoch),
            Self::Anchor { height } => (3, height),
        };
        writer.u8(kind).u64(argument);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, argument) = (reader.u8("object")?, reader.u64("object argument")?);
        match (kind, u32::try_from(argument)) {
            (0, Ok(0)) => Ok(Self::State),
            (1, Ok(number)) => Ok(Self::Chunk(number)),
            (2, _) => Ok(Self::Proof { from_epoch: argument }),
            (3, _) => Ok(Self::Anchor { height: argument }),
            _ => Err(DecodeError::Invalid { field: "object", rule: "0 to 3, with an argument that it can have" }),
        }
    }
}

/// What a syncing node asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Where are you, and which snapshots do you have?
    Head,
    /// Please make a snapshot at this epoch boundary.
    Freeze {
        /// The boundary.
        height: u64,
    },
    /// A part of an object of the snapshot at `height`.
    Part {
        /// The snapshot's height; for an anchor, 0.
        height: u64,
        /// Which object.
        object: Object,
        /// The first byte wanted.
        offset: u64,
    },
}

impl Request {
    /// The canonical bytes, under `number`.
    pub fn encode(&self, number: u32) -> Vec<u8> {
        let mut writer = Writer::with_capacity(32);
        writer.u8(VERSION);
        match self {
            Self::Head => {
                writer.u8(1).u32(number);
            }
            Self::Freeze { height } => {
                writer.u8(2).u32(number).u64(*height);
            }
            Self::Part { height, object, offset } => {
                writer.u8(3).u32(number).u64(*height);
                object.encode(&mut writer);
                writer.u64(*offset);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes: the number and the request.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<(u32, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let (kind, number) = read_start(&mut reader)?;
        let request = match kind {
            1 => Self::Head,
            2 => Self::Freeze { height: reader.u64("height")? },
            3 => Self::Part {
                height: reader.u64("height")?,
                object: Object::decode(&mut reader)?,
                offset: reader.u64("offset")?,
            },
            _ => return Err(DecodeError::Invalid { field: "request", rule: "1 to 3" }),
        };
        reader.finish()?;
        Ok((number, request))
    }
}

/// Why a request was not granted. None of these is an offence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such snapshot or object here (any more).
    NotHere,
    /// Not now: something is still being made, or too much is going on.
    Later,
    /// The height is no epoch boundary that is still to come.
    NoBoundary,
}

/// What a node answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where it is.
    Head(Head),
    /// It will make a snapshot at this height.
    Frozen {
        /// The height.
        height: u64,
    },
    /// A part of an object.
    Part {
        /// Bytes of the whole object.
        total: u64,
        /// Where these bytes begin.
        offset: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// It does not.
    Refused(Refusal),
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// The last final height.
    pub finalized: u64,
    /// The last committed height.
    pub committed: u64,
    /// The next epoch boundary that can be frozen.
    pub next_boundary: u64,
    /// Heights of snapshots that it has, ascending; at most [`HEIGHTS_MAX`].
    pub snapshots: Vec<u64>,
}

impl Answer {
    /// The canonical bytes, under the request's `number`.
    pub fn encode(&self, number: u32) -> Vec<u8> {
        let mut writer = Writer::with_capacity(128);
        writer.u8(VERSION);
        match self {
            Self::Head(head) => {
                writer.u8(1).u32(number).u64(head.finalized).u64(head.committed).u64(head.next_boundary);
                let heights = &head.snapshots[..head.snapshots.len().min(HEIGHTS_MAX)];
                writer.u8(heights.len() as u8);
                heights.iter().for_each(|height| {
                    writer.u64(*height);
                });
            }
            Self::Frozen { height } => {
                writer.u8(2).u32(number).u64(*height);
            }
            Self::Part { total, offset, bytes } => {
                writer.u8(3).u32(number).u64(*total).u64(*offset).bytes(bytes);
            }
            Self::Refused(refusal) => {
                let reason = match refusal {
                    Refusal::NotHere => 0,
                    Refusal::Later => 1,
                    Refusal::NoBoundary => 2,
                };
                writer.u8(4).u32(number).u8(reason);
            }
        }
        writer.finish()
    }

    /// Reads canonical bytes: the request's number and the answer.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<(u32, Self), DecodeError> {
        let mut reader = Reader::new(bytes);
        let (kind, number) = read_start(&mut reader)?;
        let answer = match kind {
            1 => Self::Head(read_head(&mut reader)?),
            2 => Self::Frozen { height: reader.u64("height")? },
            3 => read_part(&mut reader)?,
            4 => Self::Refused(match reader.u8("refusal")? {
                0 => Refusal::NotHere,
                1 => Refusal::Later,
                2 => Refusal::NoBoundary,
                _ => return Err(DecodeError::Invalid { field: "refusal", rule: "0 to 2" }),
            }),
            _ => return Err(DecodeError::Invalid { field: "answer", rule: "1 to 4" }),
        };
        reader.finish()?;
        Ok((number, answer))
    }
}

fn read_start(reader: &mut Reader<'_>) -> Result<(u8, u32), DecodeError> {
    if reader.u8("version")? != VERSION {
        return Err(DecodeError::Invalid { field: "version", rule: "1" });
    }
    Ok((reader.u8("kind")?, reader.u32("number")?))
}

fn read_head(reader: &mut Reader<'_>) -> Result<Head, DecodeError> {
    let mut head = Head {
        finalized: reader.u64("finalized")?,
        committed: reader.u64("committed")?,
        next_boundary: reader.u64("next boundary")?,
        snapshots: Vec::new(),
    };
    let count = usize::from(reader.u8("snapshot count")?);
    if count > HEIGHTS_MAX {
        return Err(DecodeError::Invalid { field: "snapshot count", rule: "at most 8" });
    }
    for _ in 0..count {
        let height = reader.u64("snapshot height")?;
        if head.snapshots.last().is_some_and(|last| *last >= height) {
            return Err(DecodeError::Invalid { field: "snapshot heights", rule: "ascending" });
        }
        head.snapshots.push(height);
    }
    Ok(head)
}

fn read_part(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let (total, offset) = (reader.u64("total")?, reader.u64("offset")?);
    let count = reader.remaining();
    let end = offset.checked_add(count as u64);
    if count > PART_BYTES_MAX || end.is_none_or(|end| end > total) {
        return Err(DecodeError::Invalid { field: "part", rule: "at most 1 MiB, inside its object" });
    }
    Ok(Answer::Part { total, offset, bytes: reader.bytes(count, "bytes")?.to_vec() })
}
