//! The project's macro benchmarks: what the whole engine does on this machine, measured in one run.
//!
//! `throughput` measures the data plane end to end and its parts; `crash`, `flood` and `idle` are the long tests that `scripts/soak` runs.
//! Each binary starts itself again for the validator and for the load generator, so nothing else needs to be built.
//!
//! - [`chain`]: a chain for a run: keys, genesis, configuration in a folder.
//! - [`child`]: a validator or a load generator as a process of its own.
//! - [`ceiling`]: signature verification alone, against the best library.
//! - [`signing`]: signing alone.
//! - [`post_verify`]: execution, root and durable commit alone, on one core.
//! - [`ingest`]: QUIC, frames, decoding and admission alone, on one core.
//! - [`end_to_end`]: a flooded validator.
//! - [`garbage`]: an honest client beside one that sends bad signatures.
//! - [`figures`]: what comes out, as JSON and as a table.
//! - [`victim`], [`wallet`], [`reports`], [`scan`]: a validator that may die at any moment, a client that remembers what it was told, and
//!   the comparison of the two.
//! - [`crash`], [`disk_full`]: kills and a full disk.
//! - [`held_back`]: a flood at more than execution may take.
//! - [`idle`], [`misbehave`]: idle connections and clients that break the protocol.
//! - [`sidecar`]: the ledger API beside a validator: what it can bear, and what it costs.
//! - [`dice`], [`output`]: random choices from one seed; results as JSON.

pub mod ceiling;
pub mod chain;
pub mod chaos;
pub mod child;
pub mod crash;
pub mod dice;
pub mod disk_full;
pub mod end_to_end;
pub mod figures;
pub mod garbage;
pub mod held_back;
pub mod idle;
pub mod ingest;
pub mod misbehave;
pub mod output;
pub mod post_verify;
pub mod reports;
pub mod scan;
pub mod sidecar;
pub mod signing;
pub mod step;
pub mod victim;
pub mod wallet;
