//! A blocked Bloom filter: says of most absent keys that they are absent, by reading one line of 64 bytes.
//!
//! The key is mixed (account indexes are small and dense); one part of the mix picks the line, others pick [`PROBES`] bits in it.
//! With 40 keys a line of 480 bits, 12 bits a key, about 2 of 100 absent keys pass. Each line carries its own checksum, so a
//! flipped bit never hides a key.

use crate::bytes::{put_u32, u32_at};

/// Bytes of a line.
pub(super) const LINE_BYTES: usize = 64;
/// Bits of a line, its checksum apart.
const LINE_BITS: u64 = 480;
/// Where the checksum of a line stands.
const CHECKSUM_AT: usize = 60;
/// Keys that a line is meant for.
const LINE_KEYS: u64 = 40;
/// Bits set for a key.
const PROBES: u32 = 6;

/// Lines of the filter of a table with `entries` entries; never 0, so that an empty table has a filter that says no.
pub(super) fn line_count(entries: u64) -> u64 {
    entries.div_ceil(LINE_KEYS).max(1)
}

/// Spreads a key over 64 bits (the finaliser of SplitMix64).
fn mix(key: u64) -> u64 {
    let mut value = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// The line of `key` in a filter of `lines` lines.
pub(super) fn line_of(key: u64, lines: u64) -> u64 {
    // The upper half of a product is a division without its price; below `lines` because the factor is below 2^64.
    ((u128::from(mix(key)) * u128::from(lines)) >> 64) as u64
}

/// The bits of `key` in its line.
fn bits_of(key: u64) -> impl Iterator<Item = usize> {
    // Mixed once more: the first mix has picked the line.
    let second = mix(mix(key));
    let (start, stride) = (second & 0xffff_ffff, (second >> 32) | 1);
    (0..u64::from(PROBES)).map(move |probe| ((start + probe * stride) % LINE_BITS) as usize)
}

/// A filter being built.
#[derive(Debug)]
pub(super) struct Filter {
    bytes: Vec<u8>,
    lines: u64,
}

impl Filter {
    /// An empty filter for `entries` entries.
    pub fn new(entries: u64) -> Self {
        let lines = line_count(entries);
        Self { bytes: vec![0u8; lines as usize * LINE_BYTES], lines }
    }

    /// Adds a key.
    pub fn add(&mut self, key: u64) {
        let start = line_of(key, self.lines) as usize * LINE_BYTES;
        for bit in bits_of(key) {
            self.bytes[start + bit / 8] |= 1 << (bit % 8);
        }
    }

    /// The filter's bytes, with checksums.
    pub fn finish(mut self) -> Vec<u8> {
        for (number, line) in self.bytes.chunks_exact_mut(LINE_BYTES).enumerate() {
            let value = checksum(line, number as u64);
            put_u32(line, CHECKSUM_AT, value);
        }
        self.bytes
    }
}

/// Whether `key` may be in the table, by its line; `None` when the line is damaged.
pub(super) fn may_hold(line: &[u8], number: u64, key: u64) -> Option<bool> {
    if line.len() != LINE_BYTES || checksum(line, number) != u32_at(line, CHECKSUM_AT) {
        return None;
    }
    Some(bits_of(key).all(|bit| line[bit / 8] & (1 << (bit % 8)) != 0))
}

/// Checksum of a line as line number `number`.
fn checksum(line: &[u8], number: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), &line[..CHECKSUM_AT])
}
