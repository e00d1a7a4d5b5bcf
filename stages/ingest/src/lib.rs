//! Ingest: bytes of frames become batches of transactions that are worth a signature check.
//!
//! A signature check costs more than everything else together, so every question that can be answered without one is asked first,
//! against the state as it was last executed. Nothing here is a promise: what ingest lets through may still fail, and what it
//! refuses is refused by this node only.
//!
//! 1. [`Batcher::offer`] takes a frame (see docs/protocol.md) and looks at its transactions where they lie, 16 at a time, so that the
//!    cache misses of their look-ups overlap.
//! 2. [`Admission`] judges each: chain, kind and payload, clock, sender, nonce; each refusal has a [`tana_types::code::Code`] and a
//!    counter ([`Counters`]).
//! 3. [`DuplicateFilter`] refuses bytes that were admitted within the last ten seconds. It judges the full signed bytes and comes
//!    last, and the nonce window is that of the executed state; so a copy with a broken signature, which other bytes have, can never
//!    shut out the real transaction.
//! 4. What is left is copied, once, into the shard's open batch: one for ordinary sources and one for suspect sources, so that the
//!    batch equation of the former is never spoilt by the latter.
//! 5. A batch leaves when it is full, or by [`Batcher::flush`] when it has waited long enough.
//!
//! Time, batches and random keys are arguments. [`Admission`] is shared by all ingest threads and holds only atomics; each thread
//! owns a [`Batcher`]. Nothing is allocated or locked per transaction, and memory is fixed from the start.

mod admission;
mod batcher;
mod counters;
mod creations;
mod duplicates;
mod prefetch;

pub use admission::{Admission, AdmissionConfig, ConfigError, Moment, NONCE_WINDOW};
pub use batcher::{BatchLimits, BatchPort, Batcher, FrameOrigin, Offered, Rejection};
pub use counters::Counters;
pub use creations::CreationGate;
pub use duplicates::{DUPLICATE_LIFETIME_NS, DuplicateFilter};
