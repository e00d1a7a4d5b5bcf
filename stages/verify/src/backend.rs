//! Which path verifies, and why.

use core::fmt;

/// The ways to verify, fastest first. All give the same verdict on every input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// Eight signatures side by side in AVX-512 IFMA lanes. x86-64 only.
    Ifma,
    /// The batch equation on curve25519-dalek.
    Portable,
    /// One signature at a time on curve25519-dalek.
    Reference,
}

impl Backend {
    /// All backends, fastest first.
    pub const ALL: [Backend; 3] = [Backend::Ifma, Backend::Portable, Backend::Reference];

    /// The fastest backend that this CPU can run, and why it is that one, in words for the log.
    pub fn detect() -> (Backend, &'static str) {
        if Backend::Ifma.is_available() {
            (Backend::Ifma, "the CPU has AVX-512 F, IFMA, VL, DQ and BW")
        } else if cfg!(target_arch = "x86_64") {
            (Backend::Portable, "the CPU lacks one of AVX-512 F, IFMA, VL, DQ and BW")
        } else {
            (Backend::Portable, "the lanes are written for x86-64 only")
        }
    }

    /// Whether this CPU can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Backend::Ifma => crate::ifma::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Backend::Ifma => false,
            Backend::Portable | Backend::Reference => true,
        }
    }
}

/// The vector instructions that curve25519-dalek chooses, by the same rules as its own.
fn portable_simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        #[allow(unexpected_cfgs)] // set, or not, in the build's flags; see .cargo/config.toml
        if cfg!(curve25519_dalek_backend = "avx512")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("avx512vl")
        {
            return "portable-avx512";
        }
        if is_x86_feature_detected!("avx2") {
            return "portable-avx2";
        }
    }
    "portable-scalar"
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Backend::Ifma => "avx512-ifma",
            Backend::Portable => portable_simd(),
            Backend::Reference => "reference",
        })
    }
}
