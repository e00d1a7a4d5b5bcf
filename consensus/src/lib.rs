//! Agreement: what validators decide together, and how this one keeps up.
//!
//! Simplex and marshal of `commonware-consensus` agree and deliver; this crate gives them blocks ([`core::block`]), our rules (the pure machines
//! of `stages/order` and `stages/lane`), our links, and a guard against voting twice. Nothing outside of it names a type of the library, except
//! the simulation, which drives [`core`] itself.
//!
//! - [`api`]: what the engine and agreement say to each other.
//! - [`node`]: agreement in a validator: its own thread, the library's runtime, links.
//! - [`core`]: the same, generic over runtime and network.
//! - [`certificate`], [`evidence`]: checks for those who have only bytes and a validator set.
//! - [`observation`]: what happens, for those who watch.
//! - [`record`]: whether a key has voted.

pub mod api;
pub mod certificate;
pub mod core;
pub mod evidence;
pub mod node;
pub mod observation;
pub mod record;
mod transport;

pub use self::core::{ConsensusHandle, StartError, Timeouts};
pub use api::{
    ChainStart, ConsensusStatus, Counts, EpochSet, Event, Execution, FinalizedBlock, Host, NOT_A_MEMBER, PeerReport,
    Validator,
};
pub use node::{Consensus, ConsensusConfig, NodeHandle};
pub use observation::{Observation, VoteKind, Voters, quorum};
pub use record::{FileRecord, RecordStore};
