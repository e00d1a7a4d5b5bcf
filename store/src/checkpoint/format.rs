//! The bytes of the checkpoint's values. All integers little-endian, keys big-endian so that they sort as numbers.

use crate::bytes::{put_u32, put_u64, u32_at, u64_at};
use crate::log::{LOGS_MAX, Position};

/// Largest page: 63 records of 64 bytes.
pub const PAGE_BYTES_MAX: usize = 4032;
/// Largest overflow entry.
pub const OVERFLOW_BYTES_MAX: usize = 1 << 20;
/// Largest blob of the meta record.
pub const META_BLOB_BYTES_MAX: usize = 256 << 20;

/// Kinds enter the checksum, so that a value never passes for one of another database.
pub(super) const KIND_META: u8 = 1;
pub(super) const KIND_PAGE: u8 = 2;
pub(super) const KIND_OVERFLOW: u8 = 3;
/// Key of the one meta record.
pub(super) const META_KEY: [u8; 4] = *b"meta";

/// Bytes of the checksum before each value.
const CHECKSUM_BYTES: usize = 4;
const VERSION: u32 = 1;
/// Version, count of positions, height, root.
const FIXED_BYTES: usize = 4 + 4 + 8 + 32;

// A page and its checksum fit one LMDB overflow page: 4096 bytes less its header of 16.
const _: () = assert!(CHECKSUM_BYTES + PAGE_BYTES_MAX <= 4096 - 16);

/// What a checkpoint is a checkpoint of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckpointMeta {
    /// The height whose state it holds.
    pub height: u64,
    /// Per log, where the replay goes on. At most [`LOGS_MAX`].
    pub positions: Vec<Position>,
    /// The state root of that height.
    pub state_root: [u8; 32],
    /// The caller's own, at most [`META_BLOB_BYTES_MAX`] bytes.
    pub blob: Vec<u8>,
}

impl CheckpointMeta {
    /// The record's bytes; the caller has checked the limits.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0u8; FIXED_BYTES + 8 * self.positions.len()];
        put_u32(&mut bytes, 0, VERSION);
        put_u32(&mut bytes, 4, self.positions.len() as u32);
        put_u64(&mut bytes, 8, self.height);
        bytes[16..FIXED_BYTES].copy_from_slice(&self.state_root);
        for (index, position) in self.positions.iter().enumerate() {
            put_u64(&mut bytes, FIXED_BYTES + 8 * index, position.to_u64());
        }
        bytes.extend_from_slice(&self.blob);
        bytes
    }

    /// The record in `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < FIXED_BYTES || u32_at(bytes, 0) != VERSION {
            return None;
        }
        let count = u32_at(bytes, 4) as usize;
        let blob_at = FIXED_BYTES + 8 * count;
        if count > LOGS_MAX || bytes.len() < blob_at {
            return None;
        }
        let mut state_root = [0u8; 32];
        state_root.copy_from_slice(&bytes[16..FIXED_BYTES]);
        Some(Self {
            height: u64_at(bytes, 8),
            positions: (0..count).map(|index| Position::from_u64(u64_at(bytes, FIXED_BYTES + 8 * index))).collect(),
            state_root,
            blob: bytes[blob_at..].to_vec(),
        })
    }
}

/// CRC-32C of kind, key and bytes.
fn checksum(kind: u8, key: &[u8], bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(&[kind]), key), bytes)
}

/// Puts the stored form of `bytes` into `value`: checksum, then the bytes.
pub(super) fn seal_value(kind: u8, key: &[u8], bytes: &[u8], value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&checksum(kind, key, bytes).to_le_bytes());
    value.extend_from_slice(bytes);
}

/// The bytes of a stored value, when its checksum holds.
pub(super) fn open_value<'a>(kind: u8, key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    if value.len() < CHECKSUM_BYTES {
        return None;
    }
    let bytes = &value[CHECKSUM_BYTES..];
    (u32_at(value, 0) == checksum(kind, key, bytes)).then_some(bytes)
}

/// The number in a key.
pub(super) fn number_of_key(key: &[u8]) -> Option<u32> {
    key.try_into().ok().map(u32::from_be_bytes)
}
