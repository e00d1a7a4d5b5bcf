//! The log from outside: write, reopen, read, roll over, prune, fail.
#![allow(missing_docs)]

mod support;

use support::{append_groups, config, read_all, write};
use tana_store::Position;

#[test]
fn positions_order_as_numbers_do() {
    let positions = [(1, 4096), (1, 8192), (2, 0), (7, u32::MAX), (u32::MAX, 1)];
    let numbers: Vec<u64> =
        positions.iter().map(|(segment, offset)| Position { segment: *segment, offset: *offset }.to_u64()).collect();
    assert!(numbers.is_sorted());
    assert!(numbers.iter().all(|number| Position::from_u64(*number).to_u64() == *number));
}

#[test]
fn what_is_written_is_read_back_in_order_across_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &["batches", "order"]);
    let groups: Vec<Vec<_>> = (0..20u64)
        .map(|group| (0..7).map(|item| write((item % 2) as usize, group * 10 + item, (item * 700) as usize)).collect())
        .collect();
    let mut all: Vec<(Position, usize, u8, Vec<u8>)> = Vec::new();
    for part in groups.chunks(5) {
        let (durable, found, result) = append_groups(&config, part);
        result.unwrap();
        assert!(found.iter().all(|log| log.cut.is_none()));
        assert_eq!(found[0].next_number, all.iter().filter(|(_, log, ..)| *log == 0).count() as u64);
        all.extend(
            durable.into_iter().map(|done| (done.position, done.write.log, done.write.kind, done.write.payload)),
        );
    }
    for (log, name) in ["batches", "order"].iter().enumerate() {
        let expected: Vec<_> =
            all.iter().filter(|record| record.1 == log).map(|(p, _, k, b)| (*p, *k, b.clone())).collect();
        assert_eq!(read_all(folder.path(), name, None).unwrap(), expected);
        assert!(expected.last().unwrap().0.segment > 1, "the test must roll over");
        let middle = expected.len() / 2;
        assert_eq!(read_all(folder.path(), name, Some(expected[middle].0)).unwrap(), expected[middle..]);
    }
}
