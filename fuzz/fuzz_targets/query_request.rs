//! Bytes as a JSON request of a query stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_types::query::Request;

fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = serde_json::from_slice::<Request>(bytes) else { return };
    let text = serde_json::to_vec(&request).expect("texts and numbers serialize");
    assert_eq!(serde_json::from_slice::<Request>(&text).expect("what was written is read"), request);
});
