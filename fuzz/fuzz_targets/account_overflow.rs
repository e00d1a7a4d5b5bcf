//! Bytes as an account's overflow record: what decodes has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::account::Overflow;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(overflow) = Overflow::decode(bytes) {
        assert_eq!(overflow.encode(), bytes);
    }
});
