//! Asking for batches by digest, and the answers.
//!
//! Bytes (little-endian): version 1 (u8), kind (u8), then by kind
//!
//! | kind | | fields |
//! |---|---|---|
//! | 1 | request | count u16 (1 to [`FETCH_DIGESTS_MAX`]), then each: digest 32, height u64 |
//! | 2 | batch | a sealed batch, to the end of the message |
//! | 3 | not held | digest 32 |
//!
//! The height is that of a block that lists the batch; it tells whoever answers where to look. Every digest of a request is answered by a
//! message of its own, in any order. A batch in an answer is judged like any other: nothing here looks into it but at its length.

use tana_types::Hash;
use tana_types::batch::{BATCH_BODY_BYTES_MAX, SEAL_BYTES};
use tana_types::codec::{DecodeError, Reader, Writer};

/// The only version of the messages.
const FETCH_VERSION: u8 = 1;
const KIND_REQUEST: u8 = 1;
const KIND_BATCH: u8 = 2;
const KIND_NOT_HELD: u8 = 3;

/// The most batches of one request: 8 of at most 1 MiB each keep a link busy and fit what it may hold.
pub const FETCH_DIGESTS_MAX: usize = 8;
/// Bytes in front of the sealed batch in an answer.
pub const FETCH_PREFIX_BYTES: usize = 2;
/// The most bytes of a sealed batch: its seal and 1 MiB.
pub const SEALED_BATCH_BYTES_MAX: usize = SEAL_BYTES + BATCH_BODY_BYTES_MAX;

/// A batch that somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What blocks name it by.
    pub digest: Hash,
    /// The height of a block that lists it.
    pub height: u64,
}

/// A request for batches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchRequest {
    /// 1 to [`FETCH_DIGESTS_MAX`] of them.
    pub wanted: Vec<Wanted>,
}

impl FetchRequest {
    /// The bytes of the whole message.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(FETCH_PREFIX_BYTES + 2 + 40 * self.wanted.len());
        writer.u8(FETCH_VERSION).u8(KIND_REQUEST).u16(self.wanted.len() as u16);
        for wanted in &self.wanted {
            writer.bytes(&wanted.digest).u64(wanted.height);
        }
        writer.finish()
    }
}

/// A message on the channel on which batches are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch<'a> {
    /// Send me these.
    Request(FetchRequest),
    /// Here is one, sealed.
    Batch(&'a [u8]),
    /// I do not have this one.
    NotHeld(Hash),
}

impl<'a> Fetch<'a> {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let prefix = |kind, room| {
            let mut writer = Writer::with_capacity(FETCH_PREFIX_BYTES + room);
            writer.u8(FETCH_VERSION).u8(kind);
            writer
        };
        match self {
            Fetch::Request(request) => request.encode(),
            Fetch::Batch(sealed) => {
                let mut writer = prefix(KIND_BATCH, sealed.len());
                writer.bytes(sealed);
                writer.finish()
            }
            Fetch::NotHeld(digest) => {
                let mut writer = prefix(KIND_NOT_HELD, digest.len());
                writer.bytes(digest);
                writer.finish()
            }
        }
    }

    /// Reads canonical bytes; anything else is refused. A sealed batch stays where it is, [`FETCH_PREFIX_BYTES`] behind the start.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        if reader.u8("fetch version")? != FETCH_VERSION {
            return Err(DecodeError::Invalid { field: "fetch version", rule: "1" });
        }
        let message = match reader.u8("fetch kind")? {
            KIND_REQUEST => {
                let count = reader.u16("digest count")? as usize;
                if count == 0 || count > FETCH_DIGESTS_MAX {
                    return Err(DecodeError::Invalid { field: "digest count", rule: "1 to 8" });
                }
                let wanted = (0..count)
                    .map(|_| Ok(Wanted { digest: reader.array("digest")?, height: reader.u64("height")? }))
                    .collect::<Result<_, DecodeError>>()?;
                Fetch::Request(FetchRequest { wanted })
            }
            KIND_BATCH => {
                let sealed = reader.bytes(reader.remaining(), "sealed batch")?;
                if sealed.len() < SEAL_BYTES || sealed.len() > SEALED_BATCH_BYTES_MAX {
                    return Err(DecodeError::Invalid { field: "sealed batch", rule: "a seal and at most 1 MiB" });
                }
                Fetch::Batch(sealed)
            }
            KIND_NOT_HELD => Fetch::NotHeld(reader.array("digest")?),
            _ => return Err(DecodeError::Invalid { field: "fetch kind", rule: "1 to 3" }),
        };
        reader.finish()?;
        Ok(message)
    }
}
