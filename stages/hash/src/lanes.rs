//! Sixteen BLAKE3 messages at once, one in each 32-bit lane of the AVX-512 registers.
//!
//! This is the only module of the crate with `unsafe`. Every message is at most one BLAKE3 chunk (1024 bytes), so that
//! its hash is a chain of at most 16 compressions whose last one carries the flags CHUNK_END and ROOT. Per step:
//! 1. Load the step's 64-byte block of each lane; bytes beyond a message's end are masked out and read as zero.
//! 2. Transpose the 16 blocks, so that register `w` holds word `w` of all sixteen.
//! 3. Compress all lanes together; block length and flags are vectors too, so that the lanes' lengths may differ.
//! 4. Lanes whose message has already ended keep the chaining value that they had.
//!
//! At the end the eight words of the chaining values are transposed back into sixteen hashes.
//!
//! [`Lanes`] is a token: holding one proves that the CPU has the instructions, which is what makes the methods safe.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::Hash;

/// Messages hashed at once: 512 bits of 32-bit words.
pub(crate) const LANES: usize = 16;

/// Bytes of a BLAKE3 block.
pub(crate) const BLOCK_BYTES: usize = 64;

/// Longest message that this module hashes: one BLAKE3 chunk. Longer ones are a tree of chunks.
pub(crate) const CHUNK_BYTES: usize = 1024;

/// The initialisation vector, which is also the key of unkeyed hashing (the same as SHA-256's).
const IV: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];

const FLAG_CHUNK_START: u32 = 1;
const FLAG_CHUNK_END: u32 = 2;
const FLAG_ROOT: u32 = 8;
const FLAG_KEYED: u32 = 16;

/// Which message word each step of each round takes: every row is the row above under BLAKE3's fixed permutation.
const SCHEDULE: [[usize; 16]; 7] = schedule();

const fn schedule() -> [[usize; 16]; 7] {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut rows = [[0; 16]; 7];
    let mut word = 0;
    while word < 16 {
        rows[0][word] = word;
        word += 1;
    }
    let mut round = 1;
    while round < 7 {
        let mut word = 0;
        while word < 16 {
            rows[round][word] = rows[round - 1][PERMUTATION[word]];
            word += 1;
        }
        round += 1;
    }
    rows
}

/// What a message is hashed under: the first chaining value and the flags of every block.
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    words: [u32; 8],
    flags: u32,
}

impl Mode {
    /// Plain BLAKE3.
    pub(crate) const PLAIN: Self = Self { words: IV, flags: 0 };

    /// BLAKE3 under a key.
    pub(crate) fn keyed(key: &[u8; 32]) -> Self {
        let (words, _) = key.as_chunks::<4>();
        Self { words: std::array::from_fn(|index| u32::from_le_bytes(words[index])), flags: FLAG_KEYED }
    }
}

/// Proof that this CPU has AVX-512 F and BW, and BMI2.
#[derive(Clone, Copy)]
pub(crate) struct Lanes(());

#[cfg(not(target_arch = "x86_64"))]
impl Lanes {
    pub(crate) fn detect() -> Option<Self> {
        None
    }

    // `detect` never gives a token here, so that these are never called; they answer with nothing rather than panic.
    pub(crate) fn hash_mixed(self, _mode: &Mode, _inputs: &[&[u8]; LANES], _out: &mut [Hash; LANES]) {}

    pub(crate) fn hash_fixed<const N: usize>(
        self,
        _mode: &Mode,
        _inputs: &[&[u8; N]; LANES],
        _touch: impl Fn(usize),
        _out: &mut [Hash; LANES],
    ) {
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes {
    /// A token, if the CPU has the instructions. The standard library keeps the answer, so that asking again is cheap.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("bmi2");
        found.then_some(Self(()))
    }

    /// Hashes sixteen messages of at most [`CHUNK_BYTES`] each. A longer message would get a wrong hash, never a wild
    /// read; the caller sends those to the `blake3` crate.
    pub(crate) fn hash_mixed(self, mode: &Mode, inputs: &[&[u8]; LANES], out: &mut [Hash; LANES]) {
        // SAFETY: a `Lanes` exists only if `detect` found avx512f, avx512bw and bmi2 on this CPU.
        unsafe { hash_mixed(mode, inputs, out) }
    }

    /// Hashes sixteen messages of `N` bytes each; lengths, masks and flags are then constants. `touch` is called once for each lane,
    /// spread over the steps.
    #[inline]
    pub(crate) fn hash_fixed<const N: usize>(
        self,
        mode: &Mode,
        inputs: &[&[u8; N]; LANES],
        touch: impl Fn(usize),
        out: &mut [Hash; LANES],
    ) {
        const { assert!(N > 0 && N <= CHUNK_BYTES) };
        // SAFETY: a `Lanes` exists only if `detect` found avx512f, avx512bw and bmi2 on this CPU.
        unsafe { hash_fixed(mode, inputs, touch, out) }
    }
}

/// Asks the CPU to bring bytes that are needed soon into the nearest cache. A hint: nothing depends on it.
#[inline]
pub fn prefetch<const N: usize>(bytes: &[u8; N]) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(BLOCK_BYTES) {
        // SAFETY: a prefetch never faults, and `line` is valid memory anyway; SSE is part of the x86-64 base.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}

/// As [`prefetch`], for the cache line in which a value begins.
#[inline]
pub fn prefetch_value<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and the address is a live reference's; SSE is part of the x86-64 base.
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn hash_mixed(mode: &Mode, inputs: &[&[u8]; LANES], out: &mut [Hash; LANES]) {
    // Clamped, so that the lengths fit 32 bits and the steps are bounded whatever the caller sends.
    let lengths = inputs.map(|input| input.len().min(CHUNK_BYTES) as u32);
    let longest = lengths.iter().fold(0, |most, &length| most.max(length)) as usize;
    let shortest = lengths.iter().fold(CHUNK_BYTES as u32, |least, &length| least.min(length)) as usize;
    let zero = _mm512_setzero_si512();
    let block_bytes = _mm512_set1_epi32(BLOCK_BYTES as i32);
    let final_flags = _mm512_set1_epi32((mode.flags | FLAG_CHUNK_END | FLAG_ROOT) as i32);
    let more_flags = _mm512_set1_epi32(mode.flags as i32);
    let mut first_flag = _mm512_set1_epi32(FLAG_CHUNK_START as i32);
    let mut rest = load_words(&lengths);
    let mut live: __mmask16 = !0;
    let mut chaining = mode.words.map(|word| _mm512_set1_epi32(word as i32));
    for start in (0..longest.max(1)).step_by(BLOCK_BYTES) {
        let rows = if start + BLOCK_BYTES <= shortest {
            load_full_blocks(inputs, start)
        } else {
            load_partial_blocks(inputs, start)
        };
        let more = _mm512_cmpgt_epi32_mask(rest, block_bytes);
        let flags = _mm512_or_si512(_mm512_mask_mov_epi32(final_flags, more, more_flags), first_flag);
        let next = compress(&chaining, &transpose(&rows), _mm512_min_epi32(rest, block_bytes), flags);
        for word in 0..8 {
            chaining[word] = _mm512_mask_mov_epi32(chaining[word], live, next[word]);
        }
        live = more;
        rest = _mm512_max_epi32(_mm512_sub_epi32(rest, block_bytes), zero);
        first_flag = zero;
    }
    store_hashes(&chaining, out);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn hash_fixed<const N: usize>(mode: &Mode, inputs: &[&[u8; N]; LANES], touch: impl Fn(usize), out: &mut [Hash; LANES]) {
    let last_block = (N - 1) / BLOCK_BYTES;
    let mut chaining = mode.words.map(|word| _mm512_set1_epi32(word as i32));
    for block in 0..=last_block {
        let start = block * BLOCK_BYTES;
        let mut flags = mode.flags;
        flags |= if block == 0 { FLAG_CHUNK_START } else { 0 };
        flags |= if block == last_block { FLAG_CHUNK_END | FLAG_ROOT } else { 0 };
        let mut rows = [_mm512_setzero_si512(); LANES];
        for lane in 0..LANES {
            rows[lane] = load_block(&inputs[lane][start..]);
        }
        for lane in LANES * block / (last_block + 1)..LANES * (block + 1) / (last_block + 1) {
            touch(lane);
        }
        let length = (N - start).min(BLOCK_BYTES) as i32;
        chaining = compress(&chaining, &transpose(&rows), _mm512_set1_epi32(length), _mm512_set1_epi32(flags as i32));
    }
    store_hashes(&chaining, out);
}

/// The blocks at `start` of sixteen messages that all reach beyond `start + 64`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_full_blocks(inputs: &[&[u8]; LANES], start: usize) -> [__m512i; LANES] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for lane in 0..LANES {
        if let Some(block) = inputs[lane].get(start..start + BLOCK_BYTES) {
            // SAFETY: `block` is 64 readable bytes, and the unaligned load asks for no alignment.
            rows[lane] = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        }
    }
    rows
}

/// The blocks at `start` of sixteen messages; what lies beyond a message's end is zero and is not read.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn load_partial_blocks(inputs: &[&[u8]; LANES], start: usize) -> [__m512i; LANES] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for lane in 0..LANES {
        rows[lane] = load_block(&inputs[lane][start.min(inputs[lane].len())..]);
    }
    rows
}

/// The first 64 bytes of `tail`; where it has fewer, the rest is zero and is not read.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,bmi2")]
fn load_block(tail: &[u8]) -> __m512i {
    let mask: __mmask64 = _bzhi_u64(!0, tail.len().min(BLOCK_BYTES) as u32);
    // SAFETY: the mask selects only bytes inside `tail`; bytes that it leaves out are not accessed. No alignment is needed.
    unsafe { _mm512_maskz_loadu_epi8(mask, tail.as_ptr().cast()) }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_words(words: &[u32; LANES]) -> __m512i {
    // SAFETY: `words` is 64 readable bytes, and the unaligned load asks for no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

/// Turns sixteen rows of sixteen words into sixteen columns: the result's register `w` holds word `w` of every row.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: &[__m512i; 16]) -> [__m512i; 16] {
    let mut columns = [_mm512_setzero_si512(); 16];
    // Within each 128-bit quarter: `quads[group][k]` holds, in quarter q, word 4q + k of the rows 4 group .. 4 group + 3.
    let mut quads = [[_mm512_setzero_si512(); 4]; 4];
    for group in 0..4 {
        let row = &rows[4 * group..4 * group + 4];
        let low_01 = _mm512_unpacklo_epi32(row[0], row[1]);
        let high_01 = _mm512_unpackhi_epi32(row[0], row[1]);
        let low_23 = _mm512_unpacklo_epi32(row[2], row[3]);
        let high_23 = _mm512_unpackhi_epi32(row[2], row[3]);
        quads[group] = [
            _mm512_unpacklo_epi64(low_01, low_23),
            _mm512_unpackhi_epi64(low_01, low_23),
            _mm512_unpacklo_epi64(high_01, high_23),
            _mm512_unpackhi_epi64(high_01, high_23),
        ];
    }
    // Across quarters: a 4 x 4 transposition of 128-bit pieces for each k.
    for k in 0..4 {
        let even_01 = _mm512_shuffle_i32x4::<0b10_00_10_00>(quads[0][k], quads[1][k]);
        let odd_01 = _mm512_shuffle_i32x4::<0b11_01_11_01>(quads[0][k], quads[1][k]);
        let even_23 = _mm512_shuffle_i32x4::<0b10_00_10_00>(quads[2][k], quads[3][k]);
        let odd_23 = _mm512_shuffle_i32x4::<0b11_01_11_01>(quads[2][k], quads[3][k]);
        columns[k] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even_01, even_23);
        columns[4 + k] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd_01, odd_23);
        columns[8 + k] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even_01, even_23);
        columns[12 + k] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd_01, odd_23);
    }
    columns
}

/// Half a round: four quarter-rounds G on state words `a b c d`, the first of each taking message words `w` and `w + 1` of
/// the round's schedule. Written step by step across the four, so that neighbouring instructions do not wait for each other.
///
/// A macro and not a function, because the state must live in registers: every index has to be a constant.
#[cfg(target_arch = "x86_64")]
macro_rules! half_round {
    ($state:ident, $message:ident, $round:literal, $($a:literal $b:literal $c:literal $d:literal $w:literal),*) => {
        $($state[$a] = _mm512_add_epi32(_mm512_add_epi32($state[$a], $message[SCHEDULE[$round][$w]]), $state[$b]);)*
        $($state[$d] = _mm512_ror_epi32::<16>(_mm512_xor_si512($state[$d], $state[$a]));)*
        $($state[$c] = _mm512_add_epi32($state[$c], $state[$d]);)*
        $($state[$b] = _mm512_ror_epi32::<12>(_mm512_xor_si512($state[$b], $state[$c]));)*
        $($state[$a] = _mm512_add_epi32(_mm512_add_epi32($state[$a], $message[SCHEDULE[$round][$w + 1]]), $state[$b]);)*
        $($state[$d] = _mm512_ror_epi32::<8>(_mm512_xor_si512($state[$d], $state[$a]));)*
        $($state[$c] = _mm512_add_epi32($state[$c], $state[$d]);)*
        $($state[$b] = _mm512_ror_epi32::<7>(_mm512_xor_si512($state[$b], $state[$c]));)*
    };
}

/// Rounds: the columns of the 4 x 4 state, then its diagonals.
#[cfg(target_arch = "x86_64")]
macro_rules! rounds {
    ($state:ident, $message:ident, $($round:literal)*) => {
        $(
            half_round!($state, $message, $round, 0 4 8 12 0, 1 5 9 13 2, 2 6 10 14 4, 3 7 11 15 6);
            half_round!($state, $message, $round, 0 5 10 15 8, 1 6 11 12 10, 2 7 8 13 12, 3 4 9 14 14);
        )*
    };
}

/// The compression function (BLAKE3 paper, section 2.2) on all lanes, with counter 0: the first eight words of its output.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(chaining: &[__m512i; 8], message: &[__m512i; 16], length: __m512i, flags: __m512i) -> [__m512i; 8] {
    let zero = _mm512_setzero_si512();
    let [c0, c1, c2, c3, c4, c5, c6, c7] = *chaining;
    let [iv0, iv1, iv2, iv3] = [IV[0], IV[1], IV[2], IV[3]].map(|word| _mm512_set1_epi32(word as i32));
    let mut state = [c0, c1, c2, c3, c4, c5, c6, c7, iv0, iv1, iv2, iv3, zero, zero, length, flags];
    rounds!(state, message, 0 1 2 3 4 5 6);
    [
        _mm512_xor_si512(state[0], state[8]),
        _mm512_xor_si512(state[1], state[9]),
        _mm512_xor_si512(state[2], state[10]),
        _mm512_xor_si512(state[3], state[11]),
        _mm512_xor_si512(state[4], state[12]),
        _mm512_xor_si512(state[5], state[13]),
        _mm512_xor_si512(state[6], state[14]),
        _mm512_xor_si512(state[7], state[15]),
    ]
}

/// Writes the chaining values, eight registers of one word of each lane, as sixteen hashes.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_hashes(chaining: &[__m512i; 8], out: &mut [Hash; LANES]) {
    // After two rounds of unpacking, `halves[h][k]` holds in quarter q the words 4h .. 4h + 3 of lane 4q + k.
    let mut halves = [[_mm512_setzero_si512(); 4]; 2];
    for half in 0..2 {
        let word = &chaining[4 * half..4 * half + 4];
        let low_01 = _mm512_unpacklo_epi32(word[0], word[1]);
        let high_01 = _mm512_unpackhi_epi32(word[0], word[1]);
        let low_23 = _mm512_unpacklo_epi32(word[2], word[3]);
        let high_23 = _mm512_unpackhi_epi32(word[2], word[3]);
        halves[half] = [
            _mm512_unpacklo_epi64(low_01, low_23),
            _mm512_unpackhi_epi64(low_01, low_23),
            _mm512_unpacklo_epi64(high_01, high_23),
            _mm512_unpackhi_epi64(high_01, high_23),
        ];
    }
    let quarters_01 = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
    let quarters_23 = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for k in 0..4 {
        let lanes_01 = _mm512_permutex2var_epi64(halves[0][k], quarters_01, halves[1][k]);
        let lanes_23 = _mm512_permutex2var_epi64(halves[0][k], quarters_23, halves[1][k]);
        store_hash(&mut out[k], _mm512_castsi512_si256(lanes_01));
        store_hash(&mut out[4 + k], _mm512_extracti64x4_epi64::<1>(lanes_01));
        store_hash(&mut out[8 + k], _mm512_castsi512_si256(lanes_23));
        store_hash(&mut out[12 + k], _mm512_extracti64x4_epi64::<1>(lanes_23));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn store_hash(out: &mut Hash, value: __m256i) {
    // SAFETY: `out` is 32 writable bytes, and the unaligned store asks for no alignment.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), value) }
}
