//! The one interface to all paths.

use crate::merge::KeyMerge;
use crate::portable::Portable;
use crate::{Backend, KeyCache, reference};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

/// One signature to judge. The signed text is the batch's prefix followed by `message`.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The public key that should have signed.
    pub key: &'a [u8; 32],
    /// The rest of the signed text, of any length.
    pub message: &'a [u8],
    /// R, then s.
    pub signature: &'a [u8; 64],
    /// The account index that the key belongs to, for the [`KeyCache`]; `u32::MAX` for none. Equal keys with different
    /// hints are one key all the same.
    pub hint: u32,
}

/// Whether a batch starts with the equation over all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One equation for the batch; if it fails, each signature on its own.
    BatchFirst,
    /// Each signature on its own at once: for sources whose batches keep failing.
    EachAlone,
}

/// What came of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Signatures found valid.
    pub valid: usize,
    /// Signatures found invalid.
    pub invalid: usize,
    /// Whether a batch equation was tried and did not hold, so that the batch was paid for twice. Signatures that are
    /// invalid on sight (s too large, a key or R that is no point) do not make it fail.
    pub batch_equation_failed: bool,
}

/// Verifies batches on one thread. Each thread has its own: it holds the work space, which is reused, and the generator
/// of random coefficients.
pub struct Verifier {
    engine: Engine,
    random: ChaCha20Rng,
}

// Verifiers are made in one place and moved to their threads.
const _: () = {
    const fn moves_to_another_thread<T: Send>() {}
    moves_to_another_thread::<Verifier>()
};

enum Engine {
    #[cfg(target_arch = "x86_64")]
    Ifma(Box<crate::ifma::Engine>),
    Portable(Box<Portable>),
    Reference,
}

impl Verifier {
    /// A verifier on `backend`, or on [`Backend::Portable`] where this CPU cannot run it; [`Verifier::backend`] tells.
    ///
    /// `seed` must be unpredictable to whoever sends signatures and never be used for another verifier: draw it from the
    /// operating system. The first verifier of a process on the lanes computes a table of 64 KiB (milliseconds).
    pub fn new(backend: Backend, seed: [u8; 32]) -> Verifier {
        let mut random = ChaCha20Rng::from_seed(seed);
        let engine = match backend {
            Backend::Reference => Engine::Reference,
            Backend::Portable => Engine::portable(&mut random),
            Backend::Ifma => Engine::ifma(&mut random),
        };
        Verifier { engine, random }
    }

    /// The backend that this verifier runs.
    pub fn backend(&self) -> Backend {
        match self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma(_) => Backend::Ifma,
            Engine::Portable(_) => Backend::Portable,
            Engine::Reference => Backend::Reference,
        }
    }

    /// Judges every item. `verdicts` is cleared and gets one entry per item, in order. Any number of items will do, none
    /// included; at about 512 the equation gains most of what it can.
    ///
    /// The verdict on an item depends on its bytes and the prefix only. (With probability 2^-126 an equation holds although
    /// a signature in it is invalid.)
    pub fn verify(
        &mut self,
        prefix: &[u8],
        items: &[Item<'_>],
        cache: &impl KeyCache,
        mode: Mode,
        verdicts: &mut Vec<bool>,
    ) -> Outcome {
        verdicts.clear();
        verdicts.resize(items.len(), true);
        let batch_equation_failed = match &mut self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::Ifma(engine) => engine.verify(prefix, items, cache, mode, &mut self.random, verdicts),
            Engine::Portable(engine) => engine.verify(prefix, items, cache, mode, &mut self.random, verdicts),
            Engine::Reference => {
                reference::verify(prefix, items, cache, verdicts);
                false
            }
        };
        let valid = verdicts.iter().filter(|verdict| **verdict).count();
        Outcome { valid, invalid: items.len() - valid, batch_equation_failed }
    }
}

impl Engine {
    fn portable(random: &mut ChaCha20Rng) -> Engine {
        Engine::Portable(Box::new(Portable::new(KeyMerge::new(random))))
    }

    #[cfg(target_arch = "x86_64")]
    fn ifma(random: &mut ChaCha20Rng) -> Engine {
        match crate::ifma::Engine::new(KeyMerge::new(random)) {
            Some(engine) => Engine::Ifma(Box::new(engine)),
            None => Engine::portable(random),
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn ifma(random: &mut ChaCha20Rng) -> Engine {
        Engine::portable(random)
    }
}
