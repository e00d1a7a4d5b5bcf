//! What fuzz targets share: a splitter of the fuzzer's bytes, and edits of known good bytes.
//!
//! Formats behind a checksum or a hash are never reached by random bytes. Such targets begin with good bytes and let the fuzzer edit them, or
//! repair the hash afterwards.

use tana_types::transaction::Chain;

/// The chain of all targets.
pub fn chain() -> Chain {
    Chain::new([7; 32])
}

/// Takes pieces off the fuzzer's bytes; what is not there is zero or empty.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// All of the fuzzer's bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// At most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = tail;
        head
    }

    /// Exactly `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    /// One byte.
    pub fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// Two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.bytes(usize::MAX)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Changes `good` as the input says: a count, then so many edits of a place (3 bytes) and a value, then maybe a new length. Returns whether
/// the bytes are other ones now.
pub fn edit(good: &mut Vec<u8>, input: &mut Input<'_>) -> bool {
    let before = good.clone();
    for _ in 0..input.u8() % 16 {
        let [low, middle, high, value] = input.array();
        let place = u32::from_le_bytes([low, middle, high, 0]) as usize;
        if !good.is_empty() {
            let place = place % good.len();
            good[place] = value;
        }
    }
    if input.u8() % 8 == 1 {
        let length = usize::from(input.u16()) % (good.len() + 1);
        good.truncate(length);
    }
    *good != before
}
