//! Bytes as a transaction: bounds, payload, and that what decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::payload::{Kind, Payload};
use tana_types::transaction::Transaction;

fuzz_target!(|bytes: &[u8]| {
    if let Some(transaction) = Transaction::first_of(bytes) {
        assert!(bytes.starts_with(transaction.bytes()));
        assert_eq!(transaction.body().len() + 64, transaction.bytes().len());
        assert_eq!(Transaction::exactly(transaction.bytes()).map(|same| same.id()), Some(transaction.id()));
        if let Ok(payload) = transaction.payload() {
            assert_eq!(Some(payload.kind()), transaction.kind());
            assert_eq!(payload.encode().as_deref(), Ok(transaction.payload_bytes()));
        }
    }
    // Payloads without 120 bytes around them, so that the fuzzer reaches them sooner.
    if let Some((&first, payload)) = bytes.split_first()
        && let Some(kind) = Kind::from_u8(first)
        && let Ok(decoded) = Payload::decode(kind, payload)
    {
        assert_eq!(decoded.encode().as_deref(), Ok(payload));
    }
});
