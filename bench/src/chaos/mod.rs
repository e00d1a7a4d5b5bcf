//! Real validators on machines of their own, and what may happen to them: the parts of the program `chaos`.
//!
//! - [`tun`], [`wire`], [`switch`], [`space`]: network namespaces and the network between them, with delay, loss and cuts.
//! - [`network`]: keys, genesis and configurations of a chain whose validators live there.
//! - [`remains`]: what has to be removed whatever happens.
//! - [`machine`]: a validator's process on its machine.
//! - [`watch`]: questions to a validator over HTTP.
//! - [`load`]: clients that remember what they were told.
//! - [`ledger`]: what lies on the disks afterwards, held against each other and against what clients were told.
//! - [`stage`]: all of these together, with waits that end.
//! - [`scenario`]: the list of what may happen; [`crashes`], [`partitions`], [`trouble`], [`twin`], [`join`]: how.
//! - [`outcome`]: what came of it.

pub mod crashes;
pub mod join;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod network;
pub mod outcome;
pub mod partitions;
pub mod remains;
pub mod scenario;
pub mod space;
pub mod stage;
pub mod switch;
pub mod trouble;
pub mod tun;
pub mod twin;
pub mod watch;
pub mod wire;
