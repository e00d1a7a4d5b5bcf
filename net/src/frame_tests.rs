//! Frames survive every way of cutting their stream into chunks, and bad lengths are named.

use super::*;
use proptest::prelude::*;

/// Feeds `chunks` and returns the frames that came out.
fn assemble(assembler: &mut FrameAssembler, chunks: &[&[u8]]) -> Result<Vec<Vec<u8>>, FrameError> {
    let mut frames = Vec::new();
    for chunk in chunks {
        let mut rest = *chunk;
        while !rest.is_empty() {
            let step = assembler.step(rest)?;
            assert!(step.consumed > 0, "a step must make progress");
            if let Some(frame) = step.frame {
                frames.push(frame.to_vec());
            }
            rest = &rest[step.consumed..];
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_survive_any_cut(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        cuts in prop::collection::vec(1usize..200, 1..50),
    ) {
        let mut stream = Vec::new();
        for payload in &payloads {
            encode(payload, &mut stream).unwrap();
        }
        let mut chunks = Vec::new();
        let (mut rest, mut turn) = (&stream[..], 0);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
            chunks.push(chunk);
            (rest, turn) = (after, turn + 1);
        }
        let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
        prop_assert_eq!(assemble(&mut assembler, &chunks).unwrap(), payloads);
        prop_assert_eq!(assembler.partial_bytes(), 0);
        prop_assert!(assembler.take_buffer().is_some());
    }

    #[test]
    fn arbitrary_bytes_never_hold_more_than_arrived(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let mut assembler = FrameAssembler::new(512);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Ok(step) = assembler.step(rest) else { break };
            prop_assert!(step.frame.is_none_or(|frame| (1..=512).contains(&frame.len())));
            rest = &rest[step.consumed..];
        }
        prop_assert!(assembler.partial_bytes() <= bytes.len().min(512 + HEADER_BYTES));
    }
}

#[test]
fn a_whole_frame_is_a_slice_of_its_chunk() {
    let mut stream = Vec::new();
    encode(b"payments", &mut stream).unwrap();
    let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
    let step = assembler.step(&stream).unwrap();
    let frame = step.frame.unwrap();
    assert_eq!(frame.as_ptr(), stream[HEADER_BYTES..].as_ptr(), "the frame was copied");
    assert_eq!(assembler.take_buffer().map(|buffer| buffer.capacity()), Some(0));
}

#[test]
fn an_unfinished_frame_is_counted_and_keeps_its_buffer() {
    let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
    assert_eq!(assemble(&mut assembler, &[&[5, 0, 0, 0, 1, 2]]).unwrap(), Vec::<Vec<u8>>::new());
    assert_eq!(assembler.partial_bytes(), 6);
    assert!(assembler.take_buffer().is_none());
    assert_eq!(assemble(&mut assembler, &[&[3, 4, 5]]).unwrap(), vec![vec![1, 2, 3, 4, 5]]);
    assert_eq!(assembler.partial_bytes(), 0);
}

#[test]
fn an_announced_length_reserves_nothing() {
    let mut assembler = FrameAssembler::new(FRAME_BYTES_MAX);
    assemble(&mut assembler, &[&65_536u32.to_le_bytes(), &[7]]).unwrap();
    assert!(assembler.buffer.capacity() < 64);
}

#[test]
fn bad_lengths_are_named() {
    let refuse = |length: u32| assemble(&mut FrameAssembler::new(FRAME_BYTES_MAX), &[&length.to_le_bytes()]);
    assert_eq!(refuse(0), Err(FrameError::Empty));
    assert_eq!(refuse(65_537), Err(FrameError::TooLarge { length: 65_537, length_max: 65_536 }));
    assert_eq!(refuse(u32::MAX), Err(FrameError::TooLarge { length: u32::MAX, length_max: 65_536 }));
    assert!(refuse(65_536).is_ok());
    let mut out = vec![9];
    assert_eq!(encode(&[], &mut out), Err(FrameError::Empty));
    assert!(matches!(encode(&vec![0; 65_537], &mut out), Err(FrameError::TooLarge { .. })));
    assert_eq!(out, [9]);
}
