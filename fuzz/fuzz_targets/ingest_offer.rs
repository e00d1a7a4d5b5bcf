//! Frames at the intake: whatever they hold and however often no batch is to be had, every byte is judged once and what comes out is in order.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tana_accounts::{DirectoryWriter, directory};
use tana_fuzz::{Input, chain};
use tana_ingest::{Admission, AdmissionConfig, BatchLimits, BatchPort, Batcher, FrameOrigin, Moment};
use tana_types::batch::Batch;
use tana_types::genesis::Rules;
use tana_types::key::PublicKey;
use tana_types::transaction::Transaction;

const WALL_MS: u64 = 1_700_000_000_000;

/// Accounts whose keys are one byte repeated, so that the fuzzer finds them.
static ACCOUNTS: LazyLock<DirectoryWriter> = LazyLock::new(|| {
    let (mut writer, _) = directory(256);
    for number in 1..=200 {
        let index = writer.insert(PublicKey([number; 32]));
        writer.set_nonce(index, u64::from(number) % 4);
    }
    writer
});

#[derive(Default)]
struct Port {
    left: Vec<Batch>,
    available: usize,
}

impl BatchPort for Port {
    fn take(&mut self) -> Option<Batch> {
        self.available = self.available.checked_sub(1)?;
        Some(Batch::with_capacity(4, 1_400))
    }
    fn send(&mut self, batch: Batch) {
        self.left.push(batch);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let seeds = [1, 2, 3, u64::from(input.u8())];
    let limits = BatchLimits { transactions: 1 + usize::from(input.u8() % 8), body_bytes: 1_400 };
    let (refill, suspect, repair) = (1 + usize::from(input.u8() % 3), input.u8() & 1 == 1, input.u8() & 1 == 1);
    let mut frame = input.rest().to_vec();
    if repair {
        repair_transactions(&mut frame);
    }

    let config = AdmissionConfig { duplicate_slots: 64, ..AdmissionConfig::with_seeds(seeds) };
    let directory = ACCOUNTS.directory().clone();
    let admission = Admission::new(&config, &chain(), &Rules::default(), directory).expect("valid settings");
    let mut batcher = Batcher::new(limits).expect("valid limits");
    let (mut port, mut rejected) = (Port::default(), Vec::new());
    let (mut consumed, mut first_sequence, mut accepted) = (0, 0, 0);
    loop {
        let origin = FrameOrigin { stream: 1, source: 1, first_sequence, suspect };
        let now = Moment { engine_ns: consumed as u64, wall_ms: WALL_MS };
        let offered = batcher.offer(&admission, &origin, &frame[consumed..], now, &mut port, &mut rejected);
        consumed += offered.consumed;
        first_sequence += offered.transactions;
        accepted += offered.accepted;
        if !offered.full {
            break;
        }
        assert!(consumed < frame.len());
        port.available = refill;
    }
    batcher.flush(&admission, u64::MAX, &mut port);
    assert_eq!(consumed, frame.len());
    assert_eq!(first_sequence, accepted + rejected.len() as u64);
    let entries: Vec<u64> = port.left.iter().flat_map(Batch::entries).map(|entry| entry.origin.sequence).collect();
    assert!(entries.is_sorted_by(|left, right| left < right) && entries.len() as u64 == accepted);
    assert!(rejected.iter().all(|rejection| entries.binary_search(&rejection.sequence).is_err()));
    assert!(port.left.iter().all(|batch| batch.len() <= limits.transactions && batch.body_length() <= 1_400));
});

/// Writes the version, the chain and a good timestamp over each transaction, so that more than the first questions are reached.
fn repair_transactions(frame: &mut [u8]) {
    let mut offset = 0;
    while frame.len() - offset >= 120 {
        let rest = &mut frame[offset..];
        rest[0] = 1;
        rest[3] &= 3;
        rest[4..8].copy_from_slice(&chain().tag().to_le_bytes());
        rest[16..24].copy_from_slice(&WALL_MS.to_le_bytes());
        match Transaction::first_of(rest) {
            Some(transaction) => offset += transaction.bytes().len(),
            None => return,
        }
    }
}
