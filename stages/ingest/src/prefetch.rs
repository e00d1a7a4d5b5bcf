//! The one place of this crate with `unsafe`: a hint to the processor to fetch memory that will be asked for soon.
//!
//! Unlike a read, the hint is done with at once; look-ups of a whole group are under way while the next thing is computed.

/// Asks for the cache line where `target` begins. Does nothing where there is no such instruction.
#[inline(always)]
pub(crate) fn prefetch<T>(target: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of every x86-64 processor; the instruction changes no memory, and the address is a live reference's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(target).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}
