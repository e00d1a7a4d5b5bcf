//! Crashes and damage: any cut or tear of the last group is repaired, anything else is refused with a helpful error.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use support::{Write, append_groups, config, read_all, write};
use tana_store::log::{BLOCK_BYTES, RECORD_HEADER_BYTES};
use tana_store::{Durable, Fault, FaultPlan, LogConfig, Position, StoreError};

/// The only log of these tests.
const LOG: &str = "batches";

fn segment_path(folder: &Path, segment: u32) -> PathBuf {
    folder.join(LOG).join(format!("{segment:08}.seg"))
}

/// Changes bytes of a segment.
fn patch(folder: &Path, segment: u32, offset: u64, change: impl FnOnce(&mut [u8]), length: usize) {
    let file = OpenOptions::new().read(true).write(true).open(segment_path(folder, segment)).unwrap();
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset).unwrap();
    change(&mut bytes);
    file.write_all_at(&bytes, offset).unwrap();
}

/// Groups of payload lengths as groups of records.
fn groups_of(lengths: &[Vec<usize>]) -> Vec<Vec<Write>> {
    let mut seed = 0;
    let mut next = |length: &usize| {
        seed += 1;
        write(0, seed, *length)
    };
    lengths.iter().map(|group| group.iter().map(&mut next).collect()).collect()
}

/// Opens the log, checks that its records are those of `kept`, appends one more and reads again.
fn assert_holds(config: &LogConfig, kept: &[Durable<Write>]) {
    let (more, _, result) = append_groups(config, &[vec![write(0, 999_999, 77)]]);
    result.unwrap();
    let expected: Vec<_> =
        kept.iter().chain(&more).map(|done| (done.position, done.write.kind, done.write.payload.clone())).collect();
    assert_eq!(read_all(&config.directory, LOG, None).unwrap(), expected);
    let (_, found, result) = append_groups(config, &[]);
    result.unwrap();
    assert_eq!(found[0].cut, None, "what was repaired stays repaired");
    assert_eq!(found[0].next_number, expected.len() as u64);
    assert_eq!(found[0].last, more.last().map(|done| done.position));
}

fn end_of(done: &Durable<Write>) -> u64 {
    u64::from(done.position.offset) + (RECORD_HEADER_BYTES + done.write.payload.len()) as u64
}

fn lengths(groups: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Vec<usize>>> {
    let length = prop_oneof![4 => 0usize..600, 1 => 600usize..6_000];
    prop::collection::vec(prop::collection::vec(length, 1..6), groups)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// A crash in the middle of a commit: the last write stops after any number of bytes.
    #[test]
    fn a_torn_commit_is_cut_and_everything_before_it_stays(lengths in lengths(1..8), torn in 0usize..20_000) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &[LOG]);
        config.segment_bytes = 1 << 20;
        let groups = groups_of(&lengths);
        let last = groups.len() as u64 - 1;
        config.faults = FaultPlan::one(Fault::Tear { write: last, bytes: torn });
        let (durable, _, result) = append_groups(&config, &groups);
        prop_assert!(result.is_err());
        let acknowledged: usize = groups[..last as usize].iter().map(Vec::len).sum();
        prop_assert_eq!(durable.len(), acknowledged, "nothing of a failed commit is acknowledged");
        config.faults = FaultPlan::default();
        // Whole records at the front of the torn group may stay: they were never promised, and never lost either.
        let survivors = read_all(folder.path(), LOG, None).unwrap();
        prop_assert!(survivors.len() >= acknowledged);
        let (_, found, result) = append_groups(&config, &[]);
        result.unwrap();
        let after = read_all(folder.path(), LOG, None).unwrap();
        prop_assert_eq!(&after, &survivors);
        prop_assert_eq!(found[0].next_number, after.len() as u64);
        let all: Vec<_> = groups.iter().flatten().collect();
        for (record, expected) in after.iter().zip(&all) {
            prop_assert_eq!(&record.2, &expected.payload);
        }
        let kept: Vec<_> = after
            .iter()
            .zip(&all)
            .map(|(record, write)| Durable { position: record.0, write: (*write).clone() })
            .collect();
        assert_holds(&config, &kept);
    }

    /// Sectors of the last commit reach the disk in any order: any set of its blocks may be missing.
    #[test]
    fn a_commit_with_any_blocks_missing_is_cut(lengths in lengths(2..6), missing in any::<u64>()) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &[LOG]);
        config.segment_bytes = 1 << 20;
        let groups = groups_of(&lengths);
        let (durable, _, result) = append_groups(&config, &groups);
        result.unwrap();
        let before: usize = groups[..groups.len() - 1].iter().map(Vec::len).sum();
        let start = u64::from(durable[before].position.offset);
        let blocks = (end_of(&durable[durable.len() - 1]) - start).div_ceil(512);
        for block in (0..blocks).filter(|block| missing >> (block % 64) & 1 == 1) {
            patch(folder.path(), 1, start + block * 512, |bytes| bytes.fill(0), 512);
        }
        let kept = durable
            .iter()
            .position(|done| {
                let first = u64::from(done.position.offset).saturating_sub(start) / 512;
                let last = (end_of(done) - 1).saturating_sub(start) / 512;
                end_of(done) > start
                    && (first..=last).any(|block| missing >> (block % 64) & 1 == 1)
                    && u64::from(done.position.offset) >= start
                    && changed(folder.path(), done)
            })
            .unwrap_or(durable.len());
        prop_assert!(kept >= before);
        assert_holds(&config, &durable[..kept]);
    }

    /// A flipped bit: in the last group it looks like a torn commit and is cut; anywhere before it is refused.
    #[test]
    fn a_flipped_bit_is_cut_in_the_last_group_and_refused_before(
        lengths in lengths(2..6), place in any::<prop::sample::Index>(), bit in 0u8..8
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &[LOG]);
        config.segment_bytes = 1 << 20;
        let groups = groups_of(&lengths);
        let (durable, _, result) = append_groups(&config, &groups);
        result.unwrap();
        let before: usize = groups[..groups.len() - 1].iter().map(Vec::len).sum();
        let last_start = u64::from(durable[before].position.offset);
        let end = end_of(&durable[durable.len() - 1]).next_multiple_of(BLOCK_BYTES as u64);
        let offset = BLOCK_BYTES as u64 + place.index((end - BLOCK_BYTES as u64) as usize) as u64;
        patch(folder.path(), 1, offset, |bytes| bytes[0] ^= 1 << bit, 1);
        let (_, found, result) = append_groups(&config, &[]);
        if offset < last_start {
            let error = result.unwrap_err();
            prop_assert!(matches!(error, StoreError::Damaged { .. }), "{}", error);
            let text = error.to_string();
            prop_assert!(text.contains("00000001.seg") && text.contains("offset") && text.contains("restore"), "{}", text);
            prop_assert!(read_all(folder.path(), LOG, None).is_err());
        } else {
            result.unwrap();
            prop_assert!(found[0].cut.is_some());
            let kept = durable.iter().position(|done| end_of(done) > offset);
            assert_holds(&config, &durable[..kept.unwrap_or(durable.len())]);
        }
    }
}

/// Whether the record's bytes in the file are no longer what was written.
fn changed(folder: &Path, done: &Durable<Write>) -> bool {
    let mut reader = tana_store::LogReader::open(folder, LOG).unwrap();
    reader.read_at(done.position).is_err()
}

/// A log of several segments, its records, and its configuration.
fn several_segments() -> (tempfile::TempDir, LogConfig, Vec<Durable<Write>>) {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &[LOG]);
    let groups = groups_of(&vec![vec![3_000, 5_000, 200]; 24]);
    let (durable, _, result) = append_groups(&config, &groups);
    result.unwrap();
    assert!(durable.last().unwrap().position.segment >= 4);
    (folder, config, durable)
}

/// The text of the error with which opening fails.
fn refusal(config: &LogConfig) -> String {
    append_groups(config, &[]).2.unwrap_err().to_string()
}

#[test]
fn a_shortened_last_segment_keeps_what_is_whole() {
    let (folder, config, durable) = several_segments();
    let last = durable.last().unwrap().position;
    let in_last: Vec<_> = durable.iter().filter(|done| done.position.segment == last.segment).collect();
    let cut_at = end_of(in_last[in_last.len() - 2]) + 50;
    let file = OpenOptions::new().write(true).open(segment_path(folder.path(), last.segment)).unwrap();
    file.set_len(cut_at).unwrap();
    // The segment written ahead behind it may or may not exist yet; both are fine.
    let (_, found, result) = append_groups(&config, &[]);
    result.unwrap();
    let cut = found[0].cut.unwrap();
    assert_eq!(cut.missing_bytes, config.segment_bytes - cut_at);
    assert_eq!(file.metadata().unwrap().len(), config.segment_bytes, "it has its full size again");
    assert_holds(&config, &durable[..durable.len() - 1]);
}

#[test]
fn a_segment_cut_in_its_header_is_refused() {
    let (folder, config, durable) = several_segments();
    let last = durable.last().unwrap().position.segment;
    let file = OpenOptions::new().write(true).open(segment_path(folder.path(), last)).unwrap();
    file.set_len(100).unwrap();
    let text = refusal(&config);
    assert!(text.contains("header block") && text.contains(&format!("{last:08}.seg")), "{text}");
}

#[test]
fn a_missing_middle_or_last_segment_is_refused() {
    for missing in [1, 2] {
        let (folder, config, _) = several_segments();
        std::fs::remove_file(segment_path(folder.path(), missing)).unwrap();
        let text = refusal(&config);
        assert!(text.contains(&format!("{missing:08}.seg")) && text.contains("missing"), "{text}");
    }
    let (folder, config, durable) = several_segments();
    let last = durable.last().unwrap().position.segment;
    for number in last..last + 2 {
        let _ = std::fs::remove_file(segment_path(folder.path(), number));
    }
    let text = refusal(&config);
    assert!(text.contains(&format!("{last:08}.seg")) && text.contains("sealed"), "{text}");
}

#[test]
fn a_damaged_or_shortened_sealed_segment_is_refused() {
    let (folder, config, durable) = several_segments();
    let victim = durable.iter().rev().find(|done| done.position.segment == 2).unwrap();
    let offset = u64::from(victim.position.offset) + 60;
    patch(folder.path(), 2, offset, |bytes| bytes[0] ^= 4, 1);
    let text = refusal(&config);
    assert!(text.contains("00000002.seg") && text.contains("sealed"), "{text}");
    // The reader meets it too, and not before it.
    let mut iterator = tana_store::LogReader::open(folder.path(), LOG).unwrap().iter().unwrap();
    let mut read = 0;
    let error = loop {
        match iterator.next_record() {
            Ok(record) => {
                assert_eq!(record.unwrap().position, durable[read].position);
                read += 1;
            }
            Err(error) => break error,
        }
    };
    assert_eq!(durable[read].position, victim.position);
    assert!(matches!(error, StoreError::Damaged { offset, .. } if offset == u64::from(victim.position.offset)));

    let (folder, config, _) = several_segments();
    let file = OpenOptions::new().write(true).open(segment_path(folder.path(), 2)).unwrap();
    file.set_len(config.segment_bytes - 1).unwrap();
    assert!(refusal(&config).contains("00000002.seg"));
    file.set_len(config.segment_bytes / 2).unwrap();
    assert!(refusal(&config).contains("00000002.seg"));
}

#[test]
fn a_lost_seal_and_a_foreign_segment_are_refused() {
    let (folder, config, _) = several_segments();
    patch(folder.path(), 2, config.segment_bytes - BLOCK_BYTES as u64, |bytes| bytes.fill(0), BLOCK_BYTES);
    assert!(refusal(&config).contains("lost its seal"));

    let (folder, config, _) = several_segments();
    std::fs::copy(segment_path(folder.path(), 1), segment_path(folder.path(), 2)).unwrap();
    assert!(refusal(&config).contains("it is segment 1"));
}

#[test]
fn only_as_many_sealed_bytes_as_wanted_are_scanned() {
    let (folder, mut config, durable) = several_segments();
    let first = &durable[1];
    patch(folder.path(), 1, u64::from(first.position.offset) + 60, |bytes| bytes[0] ^= 4, 1);
    assert!(refusal(&config).contains("00000001.seg"));
    config.scan_bytes_max = 0;
    let (_, found, result) = append_groups(&config, &[]);
    result.unwrap();
    assert_eq!(found[0].last, durable.last().map(|done| done.position));
}

#[test]
fn pruned_segments_stay_gone_and_the_numbering_goes_on() {
    let (folder, config, durable) = several_segments();
    let keep = durable.iter().position(|done| done.position.segment == 3).unwrap();
    let position = Position { segment: 3, offset: 8_000 };
    assert_eq!(tana_store::remove_segments_before(folder.path(), LOG, position).unwrap(), 2);
    assert_eq!(tana_store::remove_segments_before(folder.path(), LOG, position).unwrap(), 0);
    let records = read_all(folder.path(), LOG, None).unwrap();
    assert_eq!(records.len(), durable.len() - keep);
    assert_eq!(records[0].0, durable[keep].position);
    let (more, found, result) = append_groups(&config, &[vec![write(0, 1, 5)]]);
    result.unwrap();
    assert_eq!(found[0].next_number, durable.len() as u64);
    assert_eq!(found[0].first, Position { segment: 3, offset: BLOCK_BYTES as u32 });
    let mut reader = tana_store::LogReader::open(folder.path(), LOG).unwrap();
    assert_eq!(reader.read_at(more[0].position).unwrap().number, durable.len() as u64);
    assert!(matches!(reader.read_at(durable[0].position), Err(StoreError::Missing { .. })));
    // Nothing may go that is not sealed, however far the position.
    let far = Position { segment: u32::MAX, offset: 0 };
    tana_store::remove_segments_before(folder.path(), LOG, far).unwrap();
    let (_, found, result) = append_groups(&config, &[vec![write(0, 2, 5)]]);
    result.unwrap();
    assert_eq!(found[0].next_number, durable.len() as u64 + 1);
    // A segment that vanishes without pruning is noticed.
    std::fs::remove_file(segment_path(folder.path(), found[0].first.segment)).unwrap();
    assert!(refusal(&config).contains("missing"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the bytes: opening and reading end, without a panic, and what opening accepts can be appended to and read.
    #[test]
    fn arbitrary_bytes_never_panic(
        patches in prop::collection::vec(
            (1u32..4, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..60), any::<bool>()), 1..6
        ),
        copy in any::<(bool, prop::sample::Index, prop::sample::Index)>()
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &[LOG]);
        config.segment_bytes = 32 << 10;
        config.record_bytes_max = 20_000;
        let (durable, _, result) = append_groups(&config, &groups_of(&vec![vec![900, 0, 4_000]; 10]));
        result.unwrap();
        for (segment, place, bytes, header) in &patches {
            let offset = if *header {
                // Where it hurts: in the header of a record.
                let here: Vec<_> = durable.iter().filter(|done| done.position.segment == *segment).collect();
                if here.is_empty() { continue }
                u64::from(here[place.index(here.len())].position.offset) + place.index(40) as u64
            } else {
                place.index(config.segment_bytes as usize - 64) as u64
            };
            patch(folder.path(), *segment, offset, |old| old.copy_from_slice(bytes), bytes.len());
        }
        if copy.0 {
            // A whole block of records in another place.
            let (from, to) = (copy.1.index(8) as u64 * BLOCK_BYTES as u64, copy.2.index(8) as u64 * BLOCK_BYTES as u64);
            let bytes = std::fs::read(segment_path(folder.path(), 1)).unwrap();
            let block = bytes[from as usize..from as usize + BLOCK_BYTES].to_vec();
            patch(folder.path(), 2, to, |old| old.copy_from_slice(&block), BLOCK_BYTES);
        }
        let _ = read_all(folder.path(), LOG, None);
        let mut reader = tana_store::LogReader::open(folder.path(), LOG).unwrap();
        for done in &durable {
            if let Ok(record) = reader.read_at(done.position) {
                prop_assert_eq!(&record.payload, &done.write.payload);
            }
        }
        let (more, found, result) = append_groups(&config, &[vec![write(0, 5, 10)]]);
        if result.is_ok() {
            let records = read_all(folder.path(), LOG, None).unwrap();
            prop_assert_eq!(records.last().map(|record| record.0), more.last().map(|done| done.position));
            prop_assert_eq!(found[0].next_number + 1, records.len() as u64);
            for (record, done) in records.iter().zip(&durable).take(found[0].next_number as usize) {
                prop_assert_eq!(&record.2, &done.write.payload);
            }
        }
    }
}
