//! Room in the log: whatever becomes final can also be committed, so a node that lacks the room for the largest block does not start.

use tana_types::account::{ACCOUNT_CURRENCIES_MAX, RECORD_BYTES};
use tana_types::batch::{BATCH_BODY_BYTES_MAX, SEAL_BYTES};
use tana_types::genesis::{BLOCK_TRANSACTIONS_MAX, Genesis};
use tana_types::header::HEADER_BYTES_MAX;

use crate::config::NodeConfig;
use crate::node::NodeError;

/// The largest record, whatever the size of a segment.
const RECORD_BYTES_MAX: usize = 256 << 20;
/// The most bytes that one transaction adds to a commit record: its code, and for each of two accounts an index, a record, and the largest
/// overflow (version, username, display name, biography, 64 balances of 20 bytes) behind its place and length.
const COMMIT_BYTES_PER_TRANSACTION: usize =
    1 + 2 * (4 + RECORD_BYTES + 8 + (1 + 51 + 101 + 1_002 + 2 + 20 * ACCOUNT_CURRENCIES_MAX));
/// What a commit record holds beside its transactions.
const COMMIT_BYTES_FIXED: usize = 2 * HEADER_BYTES_MAX;

/// The most bytes of a record in segments of this size: half of one.
pub(crate) fn record_bytes_max(segment_mib: u64) -> usize {
    RECORD_BYTES_MAX.min((segment_mib << 19) as usize)
}

/// The most transactions of a block whose commit surely fits segments of this size; `rules.block_transactions` may be that at most.
pub fn block_transactions_in(segment_mib: u64) -> u32 {
    let room = record_bytes_max(segment_mib).saturating_sub(COMMIT_BYTES_FIXED) / COMMIT_BYTES_PER_TRANSACTION;
    (room as u32).clamp(1, BLOCK_TRANSACTIONS_MAX)
}

/// Checks that whatever becomes final can also be committed, and that no batch can expire while it waits.
pub(crate) fn check_room(config: &NodeConfig, genesis: &Genesis) -> Result<(), NodeError> {
    let alone = !config.consensus.enabled;
    let own = config.order.block_transactions.max(config.ingest.batch_transactions);
    let agreed = genesis.rules.block_transactions as usize;
    if !alone && config.ingest.batch_transactions > agreed {
        return Err(NodeError::Batch { transactions: config.ingest.batch_transactions, block: agreed });
    }
    // Any validator may lead, with a block as large and batches as large as the rules allow.
    let transactions = if alone { own } else { agreed };
    let block = transactions * COMMIT_BYTES_PER_TRANSACTION + COMMIT_BYTES_FIXED;
    let body = if alone { config.ingest.batch_kib << 10 } else { BATCH_BODY_BYTES_MAX };
    let batch = body + SEAL_BYTES;
    let needed = block.max(batch);
    if needed > record_bytes_max(config.log.segment_mib) {
        let needed_mib = needed.div_ceil(1 << 19) as u64;
        let lower = if alone {
            "order.block_transactions and ingest.batch_transactions"
        } else {
            "rules.block_transactions of a new chain's genesis"
        };
        return Err(NodeError::Room { transactions, needed_mib, lower });
    }
    if alone && 2 * config.ingest.pool_batches as u64 > genesis.rules.batch_expiry_blocks {
        let (pool, expiry) = (config.ingest.pool_batches as u64, genesis.rules.batch_expiry_blocks);
        return Err(NodeError::Expiry { pool, expiry });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use tana_types::genesis::Rules;
    use tana_types::key::PublicKey;

    use super::*;

    fn with(segment_mib: u64, block_transactions: u32) -> (NodeConfig, Genesis) {
        let mut config = NodeConfig::default();
        config.consensus.enabled = true;
        config.ingest.batch_transactions = 1;
        config.log.segment_mib = segment_mib;
        let key = PublicKey(SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes());
        let text = format!(
            "chain = \"room\"\ntimestamp_ms = 1\n[rules]\nblock_transactions = {block_transactions}\n[sovereign]\nkey = \"{key}\"\n\
             [[currency]]\ncode = \"USD\"\ndecimals = 2\ntype = \"fiat\"\n[[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:9000\"\n"
        );
        (config, Genesis::parse(&text).unwrap())
    }

    #[test]
    fn the_largest_block_of_any_leader_has_room_or_the_node_does_not_start() {
        for segment_mib in [4, 16, 128, 256, 512] {
            let fits = block_transactions_in(segment_mib);
            let (config, genesis) = with(segment_mib, fits);
            check_room(&config, &genesis).unwrap();
            let (config, genesis) = with(segment_mib, fits + 1);
            let refused = check_room(&config, &genesis).unwrap_err().to_string();
            assert!(refused.contains("rules.block_transactions"), "{refused}");
        }
    }

    #[test]
    fn the_defaults_have_room() {
        let (mut config, genesis) = with(NodeConfig::default().log.segment_mib, Rules::default().block_transactions);
        config.ingest = NodeConfig::default().ingest;
        check_room(&config, &genesis).unwrap();
    }

    #[test]
    fn own_batches_fit_a_block() {
        let (mut config, genesis) = with(256, 100);
        config.ingest.batch_transactions = 101;
        let refused = check_room(&config, &genesis).unwrap_err().to_string();
        assert!(refused.contains("ingest.batch_transactions"), "{refused}");
    }
}
