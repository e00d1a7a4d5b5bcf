//! The bytes of a segment against a committed fixture: a change of the format cannot pass unnoticed.
//!
//! The fixture holds everything that a segment can hold: two groups, empty and short payloads, the marker of a cut group, and
//! the seal. To make it anew after a deliberate change (which needs a new version byte): run with `TANA_WRITE_FIXTURES=1`.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use support::{Write, append_groups, config, read_all};
use tana_store::{Fault, FaultPlan};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/segment.hex");
const ROW_BYTES: usize = 32;

/// Rows that are not all zero, as `offset: hex`.
fn dump(bytes: &[u8]) -> String {
    let mut text = format!("# {} bytes; rows that are missing are zero\n", bytes.len());
    for (row, chunk) in bytes.chunks(ROW_BYTES).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            writeln!(text, "{:08x}: {}", row * ROW_BYTES, hex::encode(chunk)).unwrap();
        }
    }
    text
}

/// The inverse of `dump`, for a segment of `length` bytes.
fn undump(text: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (offset, row) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        let row = hex::decode(row).unwrap();
        bytes[offset..offset + row.len()].copy_from_slice(&row);
    }
    bytes
}

fn record(kind: u8, text: &str) -> Write {
    Write { log: 0, kind, payload: text.as_bytes().to_vec() }
}

#[test]
fn the_format_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &["fixture"]);
    config.segment_bytes = 16 << 10;
    config.record_bytes_max = 4_000;
    config.salt = Some(0x0123_4567_89ab_cdef);
    config.faults = FaultPlan::one(Fault::Tear { write: 1, bytes: 60 });
    let torn = vec![record(7, "kept"), record(8, "torn")];
    let groups = [vec![record(1, ""), record(2, "a payload"), record(255, "the end")], torn];
    assert!(append_groups(&config, &groups).2.is_err());
    config.faults = FaultPlan::default();
    // The segment has room for two blocks of groups: this goes into the next one, and seals the first.
    append_groups(&config, &[vec![record(9, "next")]]).2.unwrap();
    let path = folder.path().join("fixture/00000001.seg");
    let bytes = std::fs::read(&path).unwrap();
    if std::env::var_os("TANA_WRITE_FIXTURES").is_some() {
        std::fs::create_dir_all(Path::new(FIXTURE).parent().unwrap()).unwrap();
        std::fs::write(FIXTURE, dump(&bytes)).unwrap();
    }
    let fixture = std::fs::read_to_string(FIXTURE).unwrap();
    assert_eq!(dump(&bytes), fixture, "the format changed: raise its version and make the fixture anew");

    // And the committed bytes read as what they hold.
    std::fs::write(&path, undump(&fixture, bytes.len())).unwrap();
    let records = read_all(folder.path(), "fixture", None).unwrap();
    let texts: Vec<_> =
        records.iter().map(|(_, kind, payload)| (*kind, String::from_utf8(payload.clone()).unwrap())).collect();
    let expected = [(1, ""), (2, "a payload"), (255, "the end"), (7, "kept"), (9, "next")];
    assert_eq!(texts, expected.map(|(kind, text)| (kind, text.to_string())));
}
