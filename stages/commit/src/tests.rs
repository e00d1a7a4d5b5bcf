//! Tests of this crate as a whole.

use super::*;
use proptest::prelude::*;
use tana_types::header::{BlockHeader, LaneBatches};
use tana_types::state::StateSections;

fn header(batches: usize, transactions: u32) -> BlockHeader {
    let lanes = if batches == 0 {
        vec![]
    } else {
        vec![LaneBatches { lane: 0, first_sequence: 4, digests: vec![[8; 32]; batches] }]
    };
    BlockHeader {
        height: 9,
        epoch: 0,
        parent: [1; 32],
        proposer: [2; 32],
        timestamp_ms: 10,
        executed_height: 8,
        state_root: [3; 32],
        receipts_root: [4; 32],
        transaction_root: [5; 32],
        transaction_count: transactions,
        validator_set_hash: [6; 32],
        lanes,
    }
}

fn sections(height: u64) -> StateSections {
    StateSections {
        height,
        account_count: 3,
        accounts_root: [1; 32],
        currencies_hash: [2; 32],
        pending_hash: [3; 32],
        validators_hash: [4; 32],
        progress_hash: [5; 32],
    }
}

#[test]
fn a_record_reads_back_and_every_cut_is_refused() {
    let (header, sections) = (header(2, 3), sections(9));
    let overflows = [(1, &[7; 20][..])];
    let parts = CommitParts {
        header: &header,
        receipts_root: [9; 32],
        sections: &sections,
        batch_positions: &[100, 200],
        codes: &[0, 12, 0],
        changed: &[1, 5],
        overflows: &overflows,
    };
    let records = [[1; 96], [2; 96]];
    let bytes = parts.assemble(&records);
    let read = CommitRecord::decode(&bytes).unwrap();
    assert_eq!((read.header, read.state_root, read.receipts_root), (header, sections.root(), [9; 32]));
    assert_eq!((read.batch_positions, read.codes, read.changed), (vec![100, 200], &[0, 12, 0][..], vec![1, 5]));
    assert_eq!((read.records, read.overflows), (&records[..], vec![(1, &[7; 20][..])]));
    for length in 0..bytes.len() {
        assert!(CommitRecord::decode(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn a_record_that_contradicts_itself_is_refused() {
    let header = header(0, 0);
    for (sections, changed) in [(sections(8), vec![1]), (sections(9), vec![5, 1]), (sections(9), vec![5, 5])] {
        let parts = CommitParts {
            header: &header,
            receipts_root: [9; 32],
            sections: &sections,
            batch_positions: &[],
            codes: &[],
            changed: &changed,
            overflows: &[],
        };
        assert!(CommitRecord::decode(&parts.assemble(&vec![[0; 96]; changed.len()])).is_err());
    }
}

#[test]
fn heights_are_published_without_a_gap() {
    let mut watermark = Watermark::new(5);
    assert!(!watermark.advance(7));
    assert!(watermark.advance(6));
    assert!(!watermark.advance(6));
    assert_eq!(watermark.height(), 6);
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..800)) {
        let _ = CommitRecord::decode(&bytes);
    }
}
