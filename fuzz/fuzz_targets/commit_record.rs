//! Bytes as a record of the block log: as they are, and with the state root in it repaired so that what follows is reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_commit::CommitRecord;
use tana_types::state::{STATE_SECTIONS_BYTES, StateSections};

/// Where the state root and the sections stand: behind version 2, height 8, header length 4.
const ROOT: usize = 14;
const SECTIONS: usize = ROOT + 64;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Some(sections) = bytes.get(SECTIONS..SECTIONS + STATE_SECTIONS_BYTES)
        && let Ok(sections) = StateSections::decode(sections)
    {
        let mut repaired = bytes.to_vec();
        repaired[ROOT..ROOT + 32].copy_from_slice(&sections.root());
        check(&repaired);
    }
});

fn check(bytes: &[u8]) {
    let Ok(record) = CommitRecord::decode(bytes) else { return };
    assert_eq!(record.codes.len(), record.header.transaction_count as usize);
    assert_eq!(record.batch_positions.len(), record.header.batch_count());
    assert_eq!(record.records.len(), record.changed.len());
    assert!(record.overflows.iter().all(|&(position, _)| (position as usize) < record.changed.len()));
}
