//! What consensus costs beside its messages: proposing and verifying a block of ten batches of 1,024 transactions, and the transaction root
//! alone for comparison.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tana_lane::{HeldBatch, LaneBook, LaneLimits};
use tana_order::{Chain, ChainRules, ExecutedRoots, Now, Proposal, StartPoint, StartTip, Verdict};
use tana_types::Hash;
use tana_types::genesis::Rules;

const KEY: [u8; 32] = [1; 32];
const BATCHES: u64 = 10;
const TRANSACTIONS: u32 = 1_024;

fn batch(sequence: u64) -> HeldBatch {
    let ids =
        (0..TRANSACTIONS).map(|number| *blake3::hash(&[sequence as u8, number as u8, (number >> 8) as u8]).as_bytes());
    HeldBatch {
        author: KEY,
        epoch: 0,
        sequence,
        digest: [sequence as u8; 32],
        transactions: TRANSACTIONS,
        bytes: TRANSACTIONS * 180,
        skipped: 0,
        expiry_height: 1_000,
        ids: ids.collect::<Vec<Hash>>().into(),
    }
}

fn chain(criterion: &mut Criterion) {
    let roots = ExecutedRoots { height: 0, state_root: [2; 32], receipts_root: [3; 32], validator_set_hash: [4; 32] };
    let chain = Chain::new(
        ChainRules::new(&Rules::default(), 100_000, 0, 1_000),
        StartPoint {
            tip: StartTip::Genesis { hash: [5; 32], timestamp_ms: 1 },
            marks: BTreeMap::new(),
            floors: BTreeMap::new(),
            executed: vec![roots],
            sets: BTreeMap::from([(0, vec![KEY]), (1, vec![KEY])]),
        },
    );
    let mut book = LaneBook::new(KEY, LaneLimits::default());
    book.set_members(&[KEY], &[]);
    (1..=BATCHES).for_each(|sequence| book.held(batch(sequence)));
    let now = Now { engine_ns: 0, wall_ms: 10 };
    let Proposal::Block(header) = chain.propose([5; 32], KEY, 0, now, &book) else { panic!("a block is due") };
    assert_eq!(header.transaction_count, BATCHES as u32 * TRANSACTIONS);
    let ids: Vec<Hash> = (1..=BATCHES).flat_map(|sequence| batch(sequence).ids.to_vec()).collect();
    criterion.bench_function("order::transaction_root/transactions=10240", |bencher| {
        bencher.iter(|| tana_execute::transaction_root(black_box(&ids)));
    });
    criterion.bench_function("order::propose/transactions=10240", |bencher| {
        bencher.iter(|| chain.propose(black_box([5; 32]), KEY, 0, now, &book));
    });
    criterion.bench_function("order::verify/transactions=10240", |bencher| {
        bencher.iter(|| assert_eq!(chain.verify(black_box(&header), &KEY, now, &book), Verdict::Valid));
    });
}

criterion_group!(benches, chain);
criterion_main!(benches);
