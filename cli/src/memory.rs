//! Gives back to the system what a start needed and the node does not: mimalloc does so by itself only while its thread goes on allocating,
//! and the thread that recovers a node then waits.

/// See the module's text.
#[allow(unsafe_code)]
pub fn give_back_unused() {
    // SAFETY: mi_collect takes no pointer and may be called at any time from any thread; it only releases pages without live objects.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
