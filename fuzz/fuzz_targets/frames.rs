//! A stream of bytes in chunks of any size, cut into frames: the same frames as when it comes in one piece, and no more memory than arrived.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tana_fuzz::Input;
use tana_net::frame::{FRAME_BYTES_MAX, FrameAssembler};

fuzz_target!(|bytes: &[u8]| {
    let mut input = Input::new(bytes);
    let step = usize::from(input.u8()) + 1;
    let take_buffer = input.u8() & 1 == 1;
    let stream = input.rest();
    let whole = cut(stream, stream.len().max(1), false);
    assert_eq!(cut(stream, step, take_buffer), whole);
});

fn cut(stream: &[u8], step: usize, take_buffer: bool) -> (Vec<Vec<u8>>, bool) {
    let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
    let mut frames = Vec::new();
    for chunk in stream.chunks(step) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let Ok(step) = assembler.step(rest) else { return (frames, false) };
            assert!(step.consumed >= 1 && step.consumed <= rest.len());
            frames.extend(step.frame.map(<[u8]>::to_vec));
            rest = &rest[step.consumed..];
        }
        assert!(assembler.partial_bytes() <= stream.len());
        if take_buffer && let Some(buffer) = assembler.take_buffer() {
            assembler.give_buffer(buffer);
        }
    }
    (frames, true)
}
