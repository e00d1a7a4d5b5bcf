//! The log from outside: write, reopen, read, follow, fail, and the format that must not change.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam::channel::{bounded, unbounded};
use proptest::prelude::*;
use support::{PATIENCE, Write, append_groups, config, read_all, write};
use tana_store::{
    DataLock, Durable, DurableReader, DurableState, DurableWriter, Fault, FaultPlan, LogBackend, LogConfig, LogReader,
    LogThread, Position, StoreError,
};

type Seen = (Position, usize, u8, Vec<u8>);

fn seen(durable: Vec<Durable<Write>>) -> Vec<Seen> {
    durable.into_iter().map(|done| (done.position, done.write.log, done.write.kind, done.write.payload)).collect()
}

fn of_log(all: &[Seen], log: usize) -> Vec<(Position, u8, Vec<u8>)> {
    all.iter().filter(|record| record.1 == log).map(|(at, _, kind, bytes)| (*at, *kind, bytes.clone())).collect()
}

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
    let mut all: Vec<Seen> = Vec::new();
    for part in groups.chunks(5) {
        let (durable, found, result) = append_groups(&config, part);
        result.unwrap();
        assert!(found.iter().all(|log| log.cut.is_none()));
        assert_eq!(found[0].next_number, of_log(&all, 0).len() as u64);
        assert_eq!(found[1].last, of_log(&all, 1).last().map(|record| record.0));
        all.extend(seen(durable));
    }
    let submitted: Vec<_> = groups.iter().flatten().map(|write| write.payload.clone()).collect();
    assert_eq!(all.iter().map(|record| record.3.clone()).collect::<Vec<_>>(), submitted, "in order of submission");
    for (log, name) in ["batches", "order"].iter().enumerate() {
        let expected = of_log(&all, log);
        assert_eq!(read_all(folder.path(), name, None).unwrap(), expected);
        assert!(expected.last().unwrap().0.segment > 1, "the test must roll over");
        let middle = expected.len() / 2;
        assert_eq!(read_all(folder.path(), name, Some(expected[middle].0)).unwrap(), expected[middle..]);
        let mut reader = LogReader::open(folder.path(), name).unwrap();
        for (position, kind, payload) in expected.iter().rev() {
            let record = reader.read_at(*position).unwrap();
            assert_eq!((record.kind, &record.payload), (*kind, payload));
        }
        let mut after = reader.iter_after(expected[middle].0).unwrap();
        assert_eq!(after.next_record().unwrap().unwrap().position, expected[middle + 1].0);
        let odd = Position { offset: expected[0].0.offset + 8, ..expected[0].0 };
        assert!(matches!(reader.read_at(odd), Err(StoreError::Damaged { .. })));
        assert!(reader.iter_from(odd).unwrap().next_record().is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Both writers, any grouping: the same records at the same positions, up to the largest record allowed.
    #[test]
    fn both_backends_write_the_same(
        lengths in prop::collection::vec(prop::collection::vec((0usize..2, prop_oneof![0usize..300, 0usize..40_961]), 1..8), 1..6)
    ) {
        let mut results = Vec::new();
        for backend in [LogBackend::Plain, LogBackend::Uring] {
            let folder = tempfile::tempdir().unwrap();
            let mut config = config(folder.path(), &["batches", "order"]);
            config.backend = backend;
            config.salt = Some(7);
            let mut seed = 0;
            let groups: Vec<Vec<Write>> = lengths
                .iter()
                .map(|group| group.iter().map(|(log, length)| { seed += 1; write(*log, seed, *length) }).collect())
                .collect();
            let (durable, _, result) = append_groups(&config, &groups);
            result.unwrap();
            let all = seen(durable);
            prop_assert_eq!(all.len(), groups.iter().flatten().count());
            for (log, name) in ["batches", "order"].iter().enumerate() {
                prop_assert_eq!(&read_all(folder.path(), name, None).unwrap(), &of_log(&all, log));
            }
            let bytes = std::fs::read(folder.path().join("batches/00000001.seg")).unwrap();
            results.push((all, bytes));
        }
        prop_assert!(results[0] == results[1]);
    }
}

#[test]
fn the_backend_is_chosen_once_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &["batches"]);
    config.backend = LogBackend::Auto;
    let start = || {
        let (send, receive) = unbounded::<Write>();
        let thread = LogThread::start(config.clone(), receive, |_| {}, |_| {}).unwrap();
        drop(send);
        let text = (thread.backend_name().to_string(), thread.reason().to_string());
        thread.join().unwrap();
        text
    };
    let first = start();
    let second = start();
    assert_eq!(first.0, second.0);
    assert!(!first.1.is_empty());
    if io_uring::IoUring::new(8).is_ok() {
        let stored = std::fs::read_to_string(folder.path().join("log_backend")).unwrap();
        assert!(stored.starts_with("plain\n") || stored.starts_with("uring\n"), "{stored}");
        assert!(second.1.contains("kept from the first start"), "{}", second.1);
        std::fs::write(folder.path().join("log_backend"), "uring\nby hand\n").unwrap();
        let third = start();
        assert!(third.0.starts_with("io_uring") && third.1.contains("by hand"), "{third:?}");
    } else {
        assert!(second.1.contains("denies"), "{}", second.1);
    }
}

#[test]
fn a_full_disk_stops_the_store_before_anything_is_acknowledged() {
    for backend in [LogBackend::Plain, LogBackend::Uring] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &["batches", "order"]);
        config.backend = backend;
        config.faults = FaultPlan::one(Fault::NoSpace { write: 4 });
        // Two writes a commit: the third commit's first write fails.
        let groups: Vec<Vec<_>> = (0..6).map(|seed| vec![write(0, seed, 900), write(1, seed, 10)]).collect();
        let (durable, _, result) = append_groups(&config, &groups);
        let error = result.unwrap_err();
        assert!(error.is_no_space());
        let text = error.to_string();
        assert!(text.contains("disk full") && text.contains("4096") && text.contains("00000001.seg"), "{text}");
        assert_eq!(durable.len(), 4);
        config.faults = FaultPlan::default();
        for (log, name) in ["batches", "order"].iter().enumerate() {
            assert_eq!(read_all(folder.path(), name, None).unwrap(), of_log(&seen(durable.clone()), log));
        }
        let (_, found, result) = append_groups(&config, &[vec![write(0, 99, 900)]]);
        result.unwrap();
        assert!(found.iter().all(|log| log.cut.is_none()));
    }
}

#[test]
fn no_room_for_the_next_segment_stops_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &["batches"]);
    config.faults = FaultPlan::one(Fault::NoSpaceForSegment { segment: 2 });
    let groups: Vec<Vec<_>> = (0..10).map(|seed| vec![write(0, seed, 20_000)]).collect();
    let (durable, _, result) = append_groups(&config, &groups);
    let text = result.unwrap_err().to_string();
    assert!(text.contains(&format!("at least {} more bytes", config.segment_bytes)), "{text}");
    assert!(!durable.is_empty() && durable.iter().all(|done| done.position.segment == 1));
    config.faults = FaultPlan::default();
    let rest = &groups[durable.len()..];
    let (more, found, result) = append_groups(&config, rest);
    result.unwrap();
    assert_eq!(found[0].next_number, durable.len() as u64);
    assert_eq!(durable.len() + more.len(), groups.len());
}

#[test]
fn what_breaks_the_rules_stops_the_store_with_the_reason() {
    for bad in [write(2, 1, 1), Write { log: 0, kind: 0, payload: vec![] }, write(0, 1, 40_962)] {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path(), &["batches", "order"]);
        config.record_bytes_max = 40_961;
        let (durable, _, result) = append_groups(&config, &[vec![write(0, 1, 9)], vec![bad]]);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("record_bytes_max is 40961"), "{text}");
        assert_eq!(durable.len(), 1);
    }
    let folder = tempfile::tempdir().unwrap();
    let good = config(folder.path(), &["batches"]);
    let changes: [fn(&mut LogConfig); 7] = [
        |config| config.logs.clear(),
        |config| config.logs.push("batches".into()),
        |config| config.logs.push("../up".into()),
        |config| config.segment_bytes += 1,
        |config| config.segment_bytes = 1 << 40,
        |config| config.record_bytes_max = 64 << 10,
        |config| config.group_bytes_max = 1,
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert!(matches!(bad.validate(), Err(StoreError::Setting(_))));
        let (_send, receive) = unbounded::<Write>();
        assert!(LogThread::start(bad, receive, |_| {}, |_| {}).is_err());
    }
}

#[test]
fn the_thread_hook_runs_on_the_log_thread() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &["batches"]);
    let name = Arc::new(Mutex::new(None));
    let name_of_hook = Arc::clone(&name);
    config.thread_start = Some(Arc::new(move || {
        *name_of_hook.lock().unwrap() = std::thread::current().name().map(str::to_string);
    }));
    append_groups(&config, &[vec![write(0, 1, 1)]]).2.unwrap();
    assert_eq!(name.lock().unwrap().as_deref(), Some("log"));
}

/// Reads until `total` records were seen, checking that they are the expected ones.
fn follow(directory: &Path, total: u64, limited: bool, failed: &AtomicBool) {
    let published = DurableReader::open(directory).unwrap();
    let reader = LogReader::open(directory, "batches").unwrap();
    let mut iterator = reader.iter().unwrap();
    let begin = Instant::now();
    let mut next = 0;
    while next < total {
        assert!(begin.elapsed() < PATIENCE && !failed.load(Ordering::Relaxed), "only {next} of {total} records came");
        if limited {
            let Some(state) = published.read().unwrap() else { continue };
            assert!(state.height >= next);
            iterator.set_limit(Some(state.positions[0]));
        }
        while let Some(record) = iterator.next_record().unwrap() {
            let expected = write(0, next, (next * 37 % 3_000) as usize);
            assert_eq!(record.number, next);
            assert_eq!((record.kind, record.payload), (expected.kind, &expected.payload[..]));
            next += 1;
        }
        std::thread::yield_now();
    }
}

#[test]
fn readers_follow_a_live_writer_over_segments() {
    const TOTAL: u64 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &["batches"]);
    let (send, receive) = bounded::<Write>(64);
    let mut published = DurableWriter::open(folder.path()).unwrap();
    let mut count = 0;
    let output = move |done: Durable<Write>| {
        count += 1;
        published.publish(&DurableState { height: count, positions: vec![done.position] }).unwrap();
    };
    let thread = LogThread::start(config, receive, output, |_| {}).unwrap();
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let followers: Vec<_> = [true, false]
            .map(|limited| {
                scope.spawn({
                    let (failed, directory) = (&failed, folder.path());
                    move || follow(directory, TOTAL, limited, failed)
                })
            })
            .into();
        for number in 0..TOTAL {
            send.send(write(0, number, (number * 37 % 3_000) as usize)).unwrap();
        }
        drop(send);
        let results: Vec<_> = followers.into_iter().map(|follower| follower.join()).collect();
        failed.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok));
    });
    let totals = thread.metrics().totals();
    assert_eq!(totals.records, TOTAL);
    assert!(totals.segments > 10 && totals.commits <= TOTAL);
    thread.join().unwrap();
}

#[test]
fn a_limit_is_a_promise() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), &["batches"]);
    let (durable, _, result) = append_groups(&config, &[vec![write(0, 1, 10), write(0, 2, 10)], vec![write(0, 3, 10)]]);
    result.unwrap();
    let reader = LogReader::open(folder.path(), "batches").unwrap();
    let mut iterator = reader.iter().unwrap();
    iterator.set_limit(Some(durable[1].position));
    assert_eq!(iterator.next_record().unwrap().unwrap().number, 0);
    assert_eq!(iterator.next_record().unwrap().unwrap().number, 1);
    assert!(iterator.next_record().unwrap().is_none());
    iterator.set_limit(Some(durable[2].position));
    assert_eq!(iterator.next_record().unwrap().unwrap().number, 2);
    // Beyond what was written: whoever published that was wrong.
    iterator.set_limit(Some(Position { segment: 1, offset: 40_000 }));
    assert!(iterator.next_record().unwrap_err().to_string().contains("published"));
}

#[test]
fn an_earlier_record_is_durable_no_later_than_a_later_one() {
    // Group 1 fails in log 1; log 0, written before it, may keep its records, log 2 must not have any.
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path(), &["batches", "order", "blocks"]);
    config.faults = FaultPlan::one(Fault::NoSpace { write: 1 });
    let (durable, _, result) = append_groups(&config, &[vec![write(2, 1, 9), write(0, 2, 9), write(1, 3, 9)]]);
    assert!(result.is_err() && durable.is_empty());
    let counts = ["batches", "order", "blocks"].map(|name| read_all(folder.path(), name, None).unwrap().len());
    assert_eq!(counts, [1, 0, 0]);
}

#[test]
fn one_writer_per_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let lock = DataLock::acquire(&data).unwrap();
    assert_eq!(lock.directory(), data);
    let text = DataLock::acquire(&data).unwrap_err().to_string();
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    drop(lock);
    DataLock::acquire(&data).unwrap();
}

#[test]
fn a_published_statement_is_never_half_of_another() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(DurableReader::open(folder.path()), Err(StoreError::Missing { .. })));
    let mut writer = DurableWriter::open(folder.path()).unwrap();
    let reader = DurableReader::open(folder.path()).unwrap();
    assert_eq!(reader.read().unwrap(), None);
    let state = |height: u64| DurableState {
        height,
        positions: (0..8).map(|log| Position { segment: height as u32, offset: height as u32 * 8 + log }).collect(),
    };
    writer.publish(&state(1)).unwrap();
    const LAST: u32 = 20_000;
    let published = AtomicU32::new(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for height in 2..=LAST {
                writer.publish(&state(u64::from(height))).unwrap();
                published.store(height, Ordering::Release);
            }
        });
        let mut last = 0;
        while last < u64::from(LAST) {
            let floor = published.load(Ordering::Acquire);
            let read = reader.read().unwrap().unwrap();
            assert_eq!(read, state(read.height));
            assert!(read.height >= last && read.height >= u64::from(floor), "it went back");
            last = read.height;
        }
    });
    let mut again = DurableWriter::open(folder.path()).unwrap();
    again.publish(&state(5)).unwrap();
    assert_eq!(reader.read().unwrap(), Some(state(5)), "a later statement wins, whatever it says");
    assert!(again.publish(&DurableState { height: 0, positions: vec![Position::default(); 9] }).is_err());
    std::fs::write(folder.path().join("durable"), [1u8; 256]).unwrap();
    assert!(reader.read().unwrap_err().to_string().contains("start the node"));
}
