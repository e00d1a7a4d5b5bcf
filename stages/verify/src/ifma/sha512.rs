//! SHA-512 (FIPS 180-4) of eight texts at once, one in each lane.
//!
//! 1. Each text is written, padded, into its lane of the block buffer: word `w` of block `b` of all eight texts stand
//!    side by side, big-endian already undone, so that the rounds load whole vectors.
//! 2. The 80 rounds run once for all eight. Texts may differ in length: a lane whose text has ended keeps its state
//!    while the others go on, so a group costs as many blocks as its longest text. Callers group texts by length.
//!
//! Texts above [`TEXT_BYTES_MAX`] do not belong here (the buffer would grow with them); callers hash those one by one.

use super::field::{Lanes, Mask, splat};
use super::memory::{LaneWords, load};
use core::arch::x86_64::*;

/// The longest text that lanes take: 64 blocks less the padding.
pub(super) const TEXT_BYTES_MAX: usize = 64 * BLOCK_BYTES - 17;

const BLOCK_BYTES: usize = 128;

/// Blocks of a text: one byte 0x80, zeros, and 16 bytes for its length in bits.
pub(super) fn blocks_of(text_bytes: usize) -> usize {
    (text_bytes + 17).div_ceil(BLOCK_BYTES)
}

const INITIAL: [u64; 8] = [
    0x6a09e667f3bcc908,
    0xbb67ae8584caa73b,
    0x3c6ef372fe94f82b,
    0xa54ff53a5f1d36f1,
    0x510e527fade682d1,
    0x9b05688c2b3e6c1f,
    0x1f83d9abfb41bd6b,
    0x5be0cd19137e2179,
];

#[rustfmt::skip]
const ROUND: [u64; 80] = [
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
];

/// Eight texts, padded and cut into words. Reused from group to group.
#[derive(Default)]
pub(super) struct Blocks {
    /// Word `w` of block `b` of all lanes at `16 b + w`.
    words: Vec<LaneWords>,
    /// Blocks that the text of each lane has.
    counts: [usize; 8],
    /// One text in a row.
    text: Vec<u8>,
}

impl Blocks {
    /// Makes text `lane` the parts one after the other. Their total must not exceed [`TEXT_BYTES_MAX`].
    pub(super) fn set(&mut self, lane: usize, parts: &[&[u8]]) {
        self.text.clear();
        for part in parts {
            self.text.extend_from_slice(part);
        }
        let text_bytes = self.text.len();
        assert!(text_bytes <= TEXT_BYTES_MAX && lane < 8, "callers send longer texts elsewhere");
        let count = blocks_of(text_bytes);
        self.text.push(0x80);
        self.text.resize(count * BLOCK_BYTES - 8, 0);
        self.text.extend_from_slice(&(text_bytes as u64 * 8).to_be_bytes());
        self.counts[lane] = count;
        if self.words.len() < count * 16 {
            self.words.resize(count * 16, LaneWords::default());
        }
        let (words, _) = self.text.as_chunks::<8>();
        for (row, word) in self.words.iter_mut().zip(words) {
            row.0[lane] = u64::from_be_bytes(*word);
        }
    }

    /// The eight digests: word `i` of the result holds bytes `8 i` to `8 i + 7` of each as a little-endian number.
    #[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
    pub(super) fn digest(&self) -> [Lanes; 8] {
        let mut state = INITIAL.map(|word| _mm512_set1_epi64(word as i64));
        let blocks_max = self.counts.into_iter().max().unwrap_or(0);
        let (blocks, _) = self.words.as_chunks::<16>();
        for (index, block) in blocks.iter().take(blocks_max).enumerate() {
            let mut running: Mask = 0;
            for (lane, count) in self.counts.iter().enumerate() {
                running |= ((index < *count) as Mask) << lane;
            }
            compress(&mut state, block, running);
        }
        let swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
        for word in &mut state {
            *word = _mm512_shuffle_epi8(*word, swap);
        }
        state
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn plus(a: Lanes, b: Lanes) -> Lanes {
    _mm512_add_epi64(a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn xor_3(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// One block of every lane; lanes outside `running` keep their state.
#[target_feature(enable = "avx512f,avx512ifma,avx512vl,avx512dq,avx512bw")]
fn compress(state: &mut [Lanes; 8], block: &[LaneWords; 16], running: Mask) {
    let mut w = [splat(0); 16];
    for (word, row) in w.iter_mut().zip(block) {
        *word = load(row);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for base in (0..80).step_by(16) {
        for i in 0..16 {
            if base > 0 {
                let (x, y) = (w[(i + 1) & 15], w[(i + 14) & 15]);
                let s0 = xor_3(_mm512_ror_epi64::<1>(x), _mm512_ror_epi64::<8>(x), _mm512_srli_epi64::<7>(x));
                let s1 = xor_3(_mm512_ror_epi64::<19>(y), _mm512_ror_epi64::<61>(y), _mm512_srli_epi64::<6>(y));
                w[i] = plus(plus(w[i], s0), plus(w[(i + 9) & 15], s1));
            }
            let s1 = xor_3(_mm512_ror_epi64::<14>(e), _mm512_ror_epi64::<18>(e), _mm512_ror_epi64::<41>(e));
            let choose = _mm512_ternarylogic_epi64::<0xca>(e, f, g);
            let t1 = plus(plus(plus(h, s1), plus(choose, splat(ROUND[base + i]))), w[i]);
            let s0 = xor_3(_mm512_ror_epi64::<28>(a), _mm512_ror_epi64::<34>(a), _mm512_ror_epi64::<39>(a));
            let majority = _mm512_ternarylogic_epi64::<0xe8>(a, b, c);
            (h, g, f, e) = (g, f, e, plus(d, t1));
            (d, c, b, a) = (c, b, a, plus(t1, plus(s0, majority)));
        }
    }
    for (word, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word = _mm512_mask_add_epi64(*word, running, *word, new);
    }
}
