//! Bytes as answer events: what decodes has one encoding; and a queue with these events never holds more than its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_net::{AnswerEvent, AnswerQueue};

fuzz_target!(|bytes: &[u8]| {
    let mut events = Vec::new();
    let all = AnswerEvent::decode_all(bytes, &mut events).is_ok();
    let encoded: Vec<u8> = events.iter().flat_map(AnswerEvent::encode).collect();
    assert!(bytes.starts_with(&encoded) && (!all || encoded.len() == bytes.len()));

    const EVENTS_MAX: usize = 8;
    let mut queue = AnswerQueue::default();
    let mut out = Vec::new();
    for (position, event) in events.into_iter().enumerate() {
        queue.push(event, EVENTS_MAX);
        assert!(queue.len() <= EVENTS_MAX);
        if position % 11 == 10 {
            queue.drain(3, &mut out);
        }
    }
    queue.drain(usize::MAX, &mut out);
    assert!(queue.is_empty());
    for event in &out {
        assert_eq!(AnswerEvent::decode(&event.encode()), Ok(*event));
    }
});
