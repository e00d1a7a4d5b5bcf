//! Bytes as a sealed batch from a peer or a disk: as they are, and with the seal's hash, chain and lengths repaired so that the body is
//! reached.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_fuzz::chain;
use tana_types::batch::{Batch, SEAL_BYTES};

fuzz_target!(|bytes: &[u8]| {
    let chain = chain();
    let mut batch = Batch::with_capacity(4, 1_024);
    check(&mut batch, bytes, &chain);
    if bytes.len() > SEAL_BYTES {
        let mut repaired = bytes.to_vec();
        repaired[..4].copy_from_slice(&[1, 0, 0, 0]);
        repaired[8..16].copy_from_slice(&((bytes.len() - SEAL_BYTES) as u64).to_le_bytes());
        repaired[40..72].copy_from_slice(chain.genesis_hash());
        let hash = *blake3::hash(&repaired[SEAL_BYTES..]).as_bytes();
        repaired[104..136].copy_from_slice(&hash);
        check(&mut batch, &repaired, &chain);
    }
});

fn check(batch: &mut Batch, bytes: &[u8], chain: &tana_types::transaction::Chain) {
    if batch.load_sealed(bytes, chain).is_err() {
        assert!(batch.is_empty());
        return;
    }
    assert_eq!(batch.sealed_bytes(), bytes);
    assert_eq!(batch.len(), batch.seal_header().count.get() as usize);
    let length: usize = batch.transactions().map(|transaction| transaction.bytes().len()).sum();
    assert_eq!(length, batch.body_length());
    batch.seal_header().signature_is_valid();
    let verdicts: Vec<bool> = (0..batch.len()).map(|position| bytes[position] & 1 == 0).collect();
    batch.retain(&verdicts);
    assert_eq!(batch.len(), verdicts.iter().filter(|&&keep| keep).count());
    assert_eq!(batch.transactions().count(), batch.len());
}
