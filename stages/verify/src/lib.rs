//! Ed25519 signature verification in batches: nearly all of the cost of a transaction, so the kernel of the engine.
//!
//! **Rule.** ZIP-215: a signature (R, s) of a text by key A is valid if s is below the group order l, A and R decode
//! (encodings that are not canonical included), and 8 s B = 8 R + 8 k A with k = SHA-512(R, A, text) mod l. The factor 8
//! makes a batch equation and a single check agree on *every* input. Rules without it do not, and validators that batch
//! differently would split: a verdict here never depends on what else is in the batch.
//!
//! **Paths**, behind one [`Verifier`] and chosen at run time ([`Backend::detect`]):
//!
//! 1. [`Backend::Ifma`]: eight different signatures side by side in AVX-512 IFMA lanes.
//! 2. [`Backend::Portable`]: the batch equation on curve25519-dalek, which uses AVX-512, AVX2 or plain integers by itself.
//! 3. [`Backend::Reference`]: one signature at a time on curve25519-dalek; what the others are held against.
//!
//! **A batch**: items that cannot be valid (s too large, A or R not a point) are set aside; the others are multiplied by
//! random 126-bit numbers and added up into one equation, in which terms of one key are one term. Holds it, all are valid;
//! if not, each is checked on its own. Halving a failed batch instead would cost more at any share of bad signatures.
//! [`Mode::EachAlone`] leaves the equation out, for sources that keep failing.
//!
//! **Decoded keys** come from a [`KeyCache`] that the caller owns, 32 bytes a key. The random numbers come from a
//! ChaCha generator seeded by the caller; whoever can foresee them can forge, so the seed must be secret and fresh.
//!
//! ```
//! use ed25519_dalek::{Signer, SigningKey};
//! use tana_verify::{Backend, Item, Mode, NoCache, Verifier};
//!
//! let signer = SigningKey::from_bytes(&[7; 32]);
//! let key = signer.verifying_key().to_bytes();
//! let signature = signer.sign(b"prefix and message").to_bytes();
//! let item = Item { key: &key, message: b" and message", signature: &signature, hint: u32::MAX };
//!
//! let (backend, _reason) = Backend::detect();
//! let mut verifier = Verifier::new(backend, [0; 32]); // in earnest, a seed from the operating system
//! let mut verdicts = Vec::new();
//! let outcome = verifier.verify(b"prefix", &[item], &NoCache, Mode::BatchFirst, &mut verdicts);
//! assert_eq!((outcome.valid, outcome.invalid), (1, 0));
//! assert_eq!(verdicts, [true]);
//! ```

mod backend;
mod cache;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod merge;
mod portable;
mod reference;
mod verifier;

pub use backend::Backend;
pub use cache::{DecodedKey, KeyCache, NoCache};
pub use verifier::{Item, Mode, Outcome, Verifier};
