//! Bytes as requests and answers of state sync: what decodes has one encoding, and no answer brings more than a part may hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_engine::sync::message::{Answer, HEIGHTS_MAX, PART_BYTES_MAX, Request};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((number, request)) = Request::decode(bytes) {
        assert_eq!(request.encode(number), bytes);
    }
    let Ok((number, answer)) = Answer::decode(bytes) else { return };
    assert_eq!(answer.encode(number), bytes);
    match answer {
        Answer::Part { total, offset, bytes } => {
            assert!(bytes.len() <= PART_BYTES_MAX && offset + bytes.len() as u64 <= total);
        }
        Answer::Head(head) => assert!(head.snapshots.len() <= HEIGHTS_MAX),
        _ => {}
    }
});
