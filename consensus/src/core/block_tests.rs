//! Blocks' bytes: what is written is read, and nothing else is.
#![allow(clippy::unwrap_used)]

use super::*;
use commonware_codec::{Copying, Decode, Encode};
use proptest::prelude::*;
use tana_types::header::{BLOCK_BATCHES_MAX, LANES_MAX, LaneBatches};

const CONFIG: BlockConfig = BlockConfig { genesis_hash: [7; 32] };

fn header(height: u64, batches: Vec<u16>) -> BlockHeader {
    let lane = |(lane, count): (usize, u16)| LaneBatches {
        lane: lane as u16,
        first_sequence: height,
        digests: (0..count).map(|number| [number as u8; 32]).collect(),
    };
    BlockHeader {
        height,
        epoch: 3,
        parent: [1; 32],
        proposer: [2; 32],
        timestamp_ms: 4,
        executed_height: height - 1,
        state_root: [5; 32],
        receipts_root: [6; 32],
        transaction_root: [8; 32],
        transaction_count: 9,
        validator_set_hash: [10; 32],
        lanes: batches.into_iter().enumerate().filter(|(_, count)| *count > 0).map(lane).collect(),
    }
}

#[test]
fn the_largest_block_fits_the_bound_and_the_genesis_is_that_of_the_chain() {
    let mut batches = vec![1; LANES_MAX];
    batches[0] += (BLOCK_BATCHES_MAX - LANES_MAX) as u16;
    let block = Block::new(header(1, batches));
    assert_eq!(block.encode_size(), Block::max_encode_size(&CONFIG));
    assert_eq!(Block::decode_cfg(block.encode(), &CONFIG).unwrap(), block);
    let genesis = Block::genesis([7; 32]).encode();
    assert_eq!(Block::decode_cfg(genesis.clone(), &CONFIG).unwrap().hash(), [7; 32]);
    assert!(Block::decode_cfg(genesis, &BlockConfig { genesis_hash: [8; 32] }).is_err());
}

proptest! {
    #[test]
    fn blocks_come_back(height in 1_u64..u64::MAX >> 1, batches in prop::collection::vec(0_u16..4, 0..6)) {
        let block = Block::new(header(height, batches));
        let bytes = block.encode();
        prop_assert_eq!(bytes.len(), block.encode_size());
        let read = Block::decode_cfg(bytes, &CONFIG).unwrap();
        prop_assert_eq!(read.digest(), block.digest());
        prop_assert_eq!(read, block);
    }

    #[test]
    fn any_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(block) = Block::decode_cfg(Copying(&bytes), &CONFIG) {
            prop_assert_eq!(block.encode().to_vec(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_another_block(at in 0_usize..300, flip in 1_u8..=255) {
        let block = Block::new(header(5, vec![1, 1]));
        let mut bytes = block.encode().to_vec();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        if let Ok(changed) = Block::decode_cfg(Copying(&bytes), &CONFIG) {
            prop_assert_ne!(changed.digest(), block.digest());
        }
    }
}
