//! Bytes as the sections of a state root: what decodes has one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::state::StateSections;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(sections) = StateSections::decode(bytes) {
        assert_eq!(sections.encode(), bytes);
        sections.root();
    }
});
