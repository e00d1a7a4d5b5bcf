//! The network between simulated nodes, and agreement on it.
//!
//! The library's network delays, spreads and loses messages link by link, and links are cut and mended in each direction. It keeps the
//! order on a link and delivers once. [`Mail`] adds what it does not do; a [`Company`] is the set of peers that one node tracks;
//! [`start`] starts the core of agreement of one node on both. [`dice`] is where chance comes from.
//!
//! It is a package of its own because the core is compiled here, for the runtime and network of simulations: that takes minutes, and
//! nothing in the simulation itself changes it.

mod company;
pub mod dice;
mod mail;

use std::sync::Arc;

use commonware_p2p::simulated::{self, Oracle};
use tana_consensus::core::keys::{PublicKey, public_key};
use tana_consensus::core::{self, Channels, CoreConfig};
use tana_consensus::{ChainStart, ConsensusHandle, Host, RecordStore, StartError};

pub use company::Company;
pub use mail::{Context, Hand, Mail, Side, Sky, Twist, Twisted, Weather};

/// Channels of agreement.
pub const CHANNELS: u64 = 8;

/// A channel's end at a node.
pub type End = (Mail, simulated::Receiver<PublicKey>);

/// Starts agreement of the node with this configuration; its tasks are children of the calling task.
///
/// # Errors
/// Those of the core, and [`StartError::Channel`] where there are not [`CHANNELS`] ends.
pub async fn start(
    context: Context,
    config: CoreConfig,
    from: ChainStart,
    host: Arc<dyn Host>,
    record: Arc<dyn RecordStore>,
    ends: Vec<End>,
    oracle: Oracle<PublicKey, Context>,
) -> Result<ConsensusHandle, StartError> {
    let me = public_key(&config.key.verifying_key().to_bytes());
    let me = me.ok_or_else(|| StartError::Channel("the key is no point of the curve".into()))?;
    let ends: [End; CHANNELS as usize] =
        ends.try_into().map_err(|_| StartError::Channel("there must be eight".into()))?;
    let [votes, certificates, certificate_fetches, blocks, block_fetches, marks, batches, batch_fetches] = ends;
    let channels =
        Channels { votes, certificates, certificate_fetches, blocks, block_fetches, marks, batches, batch_fetches };
    core::start(context, config, from, host, record, channels, oracle.control(me), Company::default()).await
}
