//! The data plane's threads and clocks: the pipeline that moves batches from stage to stage, and the node around it.

//!
//! Read in this order: [`node`] (start and stop), [`config`] and [`keyfile`] (what it is told), [`recover`] and [`replay`] (what it finds),
//! [`wiring`], [`layout`] and [`room`] (which stage runs where, and what must fit), [`executor`], [`stage`] and [`channel`] (how a stage runs), [`pipeline`] (the stages),
//! [`intake`] and [`answers`] (the two ends towards the network), [`checkpointer`], [`indexer`], [`history`] and [`query`] (beside the
//! pipeline), [`telemetry`], [`votes`] and [`latency_window`] (for those who watch), [`verify_log`] (the audit).

pub mod agreement;
pub mod agreement_host;
pub mod answers;
pub mod attested;
pub mod batch_places;
pub mod block_index;
pub mod channel;
pub mod checkpointer;
pub mod clock;
pub mod config;
pub mod consensus;
pub mod cores;
pub mod evidence_store;
pub mod executor;
pub mod failure;
pub mod history;
pub mod indexer;
pub mod intake;
pub mod keyfile;
pub mod latency_window;
pub mod layout;
pub mod metrics;
pub mod node;
pub mod order_record;
mod owner;
pub mod pipeline;
pub mod pool;
pub mod prune;
pub mod published;
pub mod query;
pub mod recover;
pub mod replay;
pub mod room;
pub mod sources;
pub mod stage;
pub mod sync;
pub mod telemetry;
pub mod trouble;
pub mod verify_kept;
pub mod verify_log;
pub mod votes;
pub mod wiring;
