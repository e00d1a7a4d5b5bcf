//! Accounts by index, in chunks that are added and never move.
//!
//! A chunk is two arrays: key and decoded key of an account share a cache line, because verification wants both; nonces lie by
//! themselves, because ingest and execution want only them and eight then share a line. Chunks come zeroed from the allocator, so that
//! the part not yet used takes no memory.
//!
//! Order of writes: the key's words first, then the table's slot or the count with release order. Whoever learned of an index by
//! either (acquire) sees its key. The decoded key is a pure function of the key: threads that fill it at once write the same words,
//! and the last word carries a bit that says "complete" (an x coordinate is below 2^255, so its top bit is free).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tana_types::account::AccountIndex;
use zerocopy::{FromZeros, KnownLayout};

/// The most accounts a directory holds, the sentinel included: what the rules of a chain allow at most.
pub const ACCOUNTS_MAX: u32 = 4_000_000_000;

/// Accounts of a chunk: 4.5 MiB.
const CHUNK_ACCOUNTS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 16;
const CHUNKS_MAX: usize = ACCOUNTS_MAX as usize / CHUNK_ACCOUNTS + 1;

/// Set in the last word of a decoded key that is complete.
const DECODED: u64 = 1 << 63;

/// Key and decoded key of one account.
#[derive(FromZeros, KnownLayout)]
#[repr(C, align(64))]
struct Entry {
    key: [AtomicU64; 4],
    decoded: [AtomicU64; 4],
}

struct Chunk {
    entries: Box<[Entry; CHUNK_ACCOUNTS]>,
    nonces: Box<[AtomicU64; CHUNK_ACCOUNTS]>,
}

/// All accounts by index.
pub(crate) struct Store {
    chunks: Box<[OnceLock<Chunk>]>,
}

/// A key as four words, which is how it is stored and compared.
pub(crate) fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    std::array::from_fn(|word| u64::from_le_bytes(words[word]))
}

fn bytes(words: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

impl Store {
    pub(crate) fn new() -> Self {
        Self { chunks: (0..CHUNKS_MAX).map(|_| OnceLock::new()).collect() }
    }

    #[inline]
    fn entry(&self, index: AccountIndex) -> Option<&Entry> {
        let chunk = self.chunks.get((index >> CHUNK_BITS) as usize)?.get()?;
        Some(&chunk.entries[index as usize % CHUNK_ACCOUNTS])
    }

    #[inline]
    fn nonce_slot(&self, index: AccountIndex) -> Option<&AtomicU64> {
        let chunk = self.chunks.get((index >> CHUNK_BITS) as usize)?.get()?;
        Some(&chunk.nonces[index as usize % CHUNK_ACCOUNTS])
    }

    /// Writes a new account's key. The caller publishes the index afterwards, with release order.
    pub(crate) fn write_key(&self, index: AccountIndex, key: &[u8; 32]) {
        let Some(slot) = self.chunks.get((index >> CHUNK_BITS) as usize) else { return };
        let chunk = slot.get_or_init(Chunk::zeroed);
        for (slot, word) in chunk.entries[index as usize % CHUNK_ACCOUNTS].key.iter().zip(words(key)) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// Whether the account's key is this one.
    #[inline]
    pub(crate) fn has_key(&self, index: AccountIndex, key: &[u64; 4]) -> bool {
        self.entry(index).is_some_and(|entry| {
            let load = |word: usize| entry.key[word].load(Ordering::Relaxed) ^ key[word];
            load(0) | load(1) | load(2) | load(3) == 0
        })
    }

    /// The first word of the key: asks for the account's cache line without waiting for it.
    #[inline]
    pub(crate) fn touch(&self, index: AccountIndex) -> u64 {
        self.entry(index).map_or(0, |entry| entry.key[0].load(Ordering::Relaxed))
    }

    /// A word of everything kept of the account, for the same purpose.
    #[inline]
    pub(crate) fn warm(&self, index: AccountIndex) -> u64 {
        self.touch(index) ^ self.nonce(index)
    }

    #[inline]
    pub(crate) fn key(&self, index: AccountIndex) -> [u8; 32] {
        self.entry(index).map_or([0; 32], |entry| bytes(entry.key.each_ref().map(|word| word.load(Ordering::Relaxed))))
    }

    #[inline]
    pub(crate) fn nonce(&self, index: AccountIndex) -> u64 {
        self.nonce_slot(index).map_or(0, |slot| slot.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn set_nonce(&self, index: AccountIndex, nonce: u64) {
        if let Some(slot) = self.nonce_slot(index) {
            slot.store(nonce, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn decoded(&self, index: AccountIndex) -> Option<[u8; 32]> {
        let entry = self.entry(index)?;
        let last = entry.decoded[3].load(Ordering::Acquire);
        if last & DECODED == 0 {
            return None;
        }
        let load = |word: usize| entry.decoded[word].load(Ordering::Relaxed);
        Some(bytes([load(0), load(1), load(2), last & !DECODED]))
    }

    pub(crate) fn set_decoded(&self, index: AccountIndex, x: &[u8; 32]) {
        let words = words(x);
        if let Some(entry) = self.entry(index)
            && words[3] & DECODED == 0
        {
            for (slot, word) in entry.decoded.iter().zip(&words[..3]) {
                slot.store(*word, Ordering::Relaxed);
            }
            entry.decoded[3].store(words[3] | DECODED, Ordering::Release);
        }
    }

    /// Bytes of the chunks in use.
    pub(crate) fn memory_bytes(&self) -> usize {
        let used = self.chunks.iter().take_while(|chunk| chunk.get().is_some()).count();
        used * CHUNK_ACCOUNTS * (size_of::<Entry>() + size_of::<AtomicU64>()) + size_of_val(&*self.chunks)
    }
}

impl Chunk {
    fn zeroed() -> Self {
        // Fails only when the machine has no memory left, where any other allocation would abort too.
        #[allow(clippy::expect_used)]
        Self {
            entries: FromZeros::new_box_zeroed().expect("memory for a chunk of accounts"),
            nonces: FromZeros::new_box_zeroed().expect("memory for a chunk of nonces"),
        }
    }
}
