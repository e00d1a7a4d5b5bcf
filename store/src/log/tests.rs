//! What cannot be reached from outside: the writers without direct I/O, and the aligned buffer.

use super::format::BLOCK_BYTES;
use super::probe::backend_name;
use super::segment::Durability;
use super::staging::AlignedBuffer;
use super::writer::Writer;

#[test]
fn buffers_stand_on_block_boundaries() {
    for blocks in 1..20 {
        let mut buffer = AlignedBuffer::zeroed(blocks * BLOCK_BYTES);
        assert_eq!(buffer.bytes().as_ptr() as usize % BLOCK_BYTES, 0);
        assert_eq!(buffer.bytes().len(), blocks * BLOCK_BYTES);
        let (memory, start) = buffer.take();
        assert_eq!(memory[start..].as_ptr() as usize % BLOCK_BYTES, 0);
        buffer.put_back(memory);
        assert!(buffer.bytes_mut().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn every_writer_writes_what_it_is_given() {
    for durability in [Durability::Direct, Durability::Synced] {
        for uring in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            std::fs::write(&path, vec![0; 4 * BLOCK_BYTES]).unwrap();
            // Both may be refused where the test runs; the probe then never chooses them.
            let Ok(file) = durability.open(&path) else { continue };
            let writer = if uring { Writer::uring(2, durability) } else { Ok(Writer::plain(2, durability)) };
            let Ok(mut writer) = writer else { continue };
            let mut buffer = AlignedBuffer::zeroed(2 * BLOCK_BYTES);
            buffer.bytes_mut().fill(0xab);
            assert!(writer.write(1, &mut buffer, BLOCK_BYTES, 0).is_err(), "no file is attached yet");
            writer.attach(1, file);
            writer.write(1, &mut buffer, 2 * BLOCK_BYTES, BLOCK_BYTES as u64).unwrap();
            let mut expected = vec![0; 4 * BLOCK_BYTES];
            expected[BLOCK_BYTES..3 * BLOCK_BYTES].fill(0xab);
            assert!(std::fs::read(&path).unwrap() == expected, "{}", backend_name(uring, durability));
        }
    }
}
