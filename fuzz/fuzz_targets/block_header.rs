//! Bytes as a block header: what decodes has one encoding, and its lanes are in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::header::{BLOCK_BATCHES_MAX, BlockHeader, HEADER_BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = BlockHeader::decode(bytes) else { return };
    assert_eq!(header.encode(), bytes);
    assert!(bytes.len() <= HEADER_BYTES_MAX && header.batch_count() <= BLOCK_BATCHES_MAX);
    assert!(header.executed_height < header.height);
    let places: Vec<_> = header.batches().map(|(lane, sequence, _)| (lane, sequence)).collect();
    assert!(places.is_sorted_by(|left, right| left < right));
});
