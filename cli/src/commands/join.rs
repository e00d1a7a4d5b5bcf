//! `tana validator --join`: a validator that has no chain yet takes the state from the others before it starts.
//!
//! 1. A data folder that holds a chain is left alone: the node goes on from there, so the flag may stay in a unit file.
//! 2. Links to the validators of the genesis; whoever else is in the set now comes by itself once the state is here.
//! 3. A snapshot at an attested height, proven from the genesis (or from a height and hash that the operator trusts), account by account,
//!    from several peers, with a progress bar.
//! 4. The links are closed again: the node makes its own when it starts.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use tana_consensus::certificate;
use tana_engine::config::NodeConfig;
use tana_engine::keyfile::load_key_file;
use tana_engine::sync::{CertificateVerifier, LinkTransport, SyncClient, SyncConfig, SyncError, is_empty};
use tana_net::link::Peer;
use tana_types::Hash;
use tana_types::genesis::Genesis;

use crate::error::CliError;
use crate::home::create_private_folder;
use crate::output::{Output, grouped};
use crate::progress::Live;

/// A block that the operator trusts: `HEIGHT:HASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedBlock {
    /// Its height.
    pub height: u64,
    /// Its hash.
    pub hash: Hash,
}

impl std::str::FromStr for TrustedBlock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write HEIGHT:HASH, the hash as 64 hexadecimal digits, as `tana block` prints them";
        let (height, digits) = text.split_once(':').ok_or(help)?;
        let mut hash = Hash::default();
        hex::decode_to_slice(digits, &mut hash).map_err(|_| help)?;
        let height = height.parse().ok().filter(|height| *height > 0).ok_or(help)?;
        Ok(Self { height, hash })
    }
}

/// Certificates are checked by the crate that speaks consensus.
struct Certificates {
    genesis_hash: Hash,
}

impl CertificateVerifier for Certificates {
    fn verify(&self, epoch: u64, set: &[[u8; 32]], hash: &Hash, certificate: &[u8]) -> Result<(), String> {
        match certificate::check(&self.genesis_hash, set, certificate) {
            Some(certified) if certified.hash == *hash && certified.epoch == epoch => Ok(()),
            Some(_) => Err("it certifies another block".to_owned()),
            None => Err("it does not hold the signatures of two thirds of the validators".to_owned()),
        }
    }
}

/// Fills an empty data folder with the chain's state; does nothing where there is a chain. `patience` is how long to wait without anything
/// coming from anybody. Says whether the chain is there: not when it was told to stop before.
///
/// # Errors
/// [`CliError`] when a file cannot be read, the links cannot be made, or nobody has told a provable state in time.
pub fn run(
    config: &NodeConfig,
    trust: Option<TrustedBlock>,
    patience: Duration,
    stopping: Arc<AtomicBool>,
    output: &Output,
) -> Result<bool, CliError> {
    create_private_folder(&config.data)?;
    if !is_empty(&config.data).map_err(|error| CliError::Node(error.to_string()))? {
        return Ok(true);
    }
    let genesis = Genesis::load(&config.genesis)?;
    let key = load_key_file(&config.key)?;
    let own_key = key.verifying_key().to_bytes();
    let genesis_hash = genesis.hash();
    let peer = |validator: &tana_types::genesis::GenesisValidator| Peer {
        key: validator.key.0,
        address: validator.address.clone(),
    };
    let others = genesis.validators.iter().filter(|validator| validator.key.0 != own_key).map(peer).collect();
    let failed = |error: String| CliError::Node(format!("cannot join the chain: {error}"));
    let mut transport = LinkTransport::start(key, genesis_hash, config.consensus.listen, others)
        .map_err(|error| failed(error.to_string()))?;
    let settings = SyncConfig {
        trust: trust.map(|block| (block.height, block.hash)),
        patience,
        stopping,
        ..SyncConfig::new(config.data.clone(), genesis, own_key)
    };
    let live = Live::new(output);
    let begin = Instant::now();
    let verifier = Certificates { genesis_hash };
    let client = SyncClient::new(&settings, &mut transport, &verifier);
    let synced = client.run(&|what, done, total| live.step(what, done, total));
    live.clear();
    if let Err(SyncError::Stopped) = &synced {
        output.note("stopped before the state was here; the next start with --join begins anew");
        return Ok(false);
    }
    let synced = synced.map_err(|error| failed(error.to_string()))?;
    let seconds = begin.elapsed().as_secs_f64();
    let (height, accounts) = (synced.height, synced.account_count.saturating_sub(1));
    tracing::info!(height, accounts, seconds, "the state is here");
    output.note(format!(
        "joined at height {} with {} accounts in {seconds:.1} s",
        grouped(height),
        grouped(accounts.into())
    ));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trusted_block_is_a_height_and_a_hash() {
        let block: TrustedBlock = format!("12:{}", "ab".repeat(32)).parse().unwrap();
        assert_eq!(block, TrustedBlock { height: 12, hash: [0xab; 32] });
        for text in ["", "12", "12:ab", ":ab", &format!("0:{}", "ab".repeat(32)), &format!("x:{}", "ab".repeat(32))] {
            assert!(text.parse::<TrustedBlock>().is_err(), "{text}");
        }
    }
}
