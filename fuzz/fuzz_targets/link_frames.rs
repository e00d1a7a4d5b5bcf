//! A stream of a link in chunks of any size, cut into messages: the same messages as when it comes in one piece, they encode to the stream again,
//! and no more memory is reserved than the bounds say.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tana_fuzz::Input;
use tana_net::link::frame::{FrameReader, RESERVE_BYTES_MAX};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let step = usize::from(input.u8()) + 1;
    let message_bytes_max = usize::from(input.u16()) + 1;
    let stream = input.rest();
    let (messages, whole) = cut(stream, stream.len().max(1), message_bytes_max);
    assert_eq!(cut(stream, step, message_bytes_max), (messages.clone(), whole));
    let mut again = Vec::new();
    for message in &messages {
        assert!(!message.is_empty() && message.len() <= message_bytes_max);
        again.extend((message.len() as u32).to_le_bytes());
        again.extend(message);
    }
    assert!(stream.starts_with(&again));
});

fn cut(stream: &[u8], step: usize, message_bytes_max: usize) -> (Vec<Bytes>, bool) {
    let mut reader = FrameReader::new(message_bytes_max);
    let mut messages = Vec::new();
    let mut arrived = 0;
    for piece in stream.chunks(step) {
        let mut chunk = Bytes::copy_from_slice(piece);
        arrived += chunk.len();
        while !chunk.is_empty() {
            let before = chunk.len();
            let Ok(message) = reader.step(&mut chunk) else { return (messages, false) };
            assert!(chunk.len() < before);
            messages.extend(message);
        }
        assert!(reader.partial_bytes() <= arrived);
        assert!(reader.reserved_bytes() <= RESERVE_BYTES_MAX.max(4 * arrived));
    }
    (messages, true)
}
