//! What the log tests share: a record type, a small configuration, writing all and waiting for it, reading all.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use crossbeam::channel::{bounded, unbounded};
use tana_store::{Durable, LogBackend, LogConfig, LogFound, LogReader, LogThread, LogWrite, Position, StoreError};

/// Patience for anything that must happen; never reached when it does.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub log: usize,
    pub kind: u8,
    pub payload: Vec<u8>,
}

impl LogWrite for Write {
    fn log(&self) -> usize {
        self.log
    }
    fn kind(&self) -> u8 {
        self.kind
    }
    fn parts(&self) -> [&[u8]; 4] {
        let (head, tail) = self.payload.split_at(self.payload.len() / 3);
        [head, &[], tail, &[]]
    }
}

/// A record whose payload is recognisable by `seed`.
pub fn write(log: usize, seed: u64, length: usize) -> Write {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let payload = (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect();
    Write { log, kind: 1 + (seed % 200) as u8, payload }
}

pub fn config(directory: &Path, logs: &[&str]) -> LogConfig {
    let mut config = LogConfig::new(directory, logs);
    config.segment_bytes = 64 << 10;
    config.group_bytes_max = 32 << 10;
    config.record_bytes_max = 40 << 10;
    config.backend = LogBackend::Plain;
    config
}

/// Appends `groups`, one commit each (unless a group is larger than the configuration's limits), and waits for the end.
///
/// Each group is queued whole while the log thread is held back in the completion that ended the group before.
pub fn append_groups(
    config: &LogConfig,
    groups: &[Vec<Write>],
) -> (Vec<Durable<Write>>, Vec<LogFound>, Result<(), StoreError>) {
    let (send, receive) = unbounded();
    let (done_send, done) = unbounded();
    let (fail_send, failed) = bounded(1);
    let (gate_send, gate) = bounded::<()>(0);
    let (end_send, group_ended) = bounded::<()>(0);
    let mut ends: Vec<usize> = groups
        .iter()
        .scan(0, |sum, group| {
            *sum += group.len();
            Some(*sum)
        })
        .collect();
    ends.dedup();
    let (mut count, ends_of_thread) = (0, ends.clone());
    let output = move |write: Durable<Write>| {
        let _ = done_send.send(write);
        count += 1;
        if ends_of_thread.binary_search(&count).is_ok() {
            let _ = end_send.send(());
            let _ = gate.recv();
        }
    };
    let mut groups = groups.iter().filter(|group| !group.is_empty());
    let queue = |group: &Vec<Write>| group.iter().all(|write| send.send(write.clone()).is_ok());
    assert!(groups.next().is_none_or(queue));
    let thread = match LogThread::start(config.clone(), receive, output, move |error| {
        let _ = fail_send.send(error.to_string());
    }) {
        Ok(thread) => thread,
        Err(error) => return (Vec::new(), Vec::new(), Err(error)),
    };
    let found = thread.found().to_vec();
    for group in groups {
        if group_ended.recv().is_err() || !queue(group) || gate_send.send(()).is_err() {
            break;
        }
    }
    drop((group_ended, gate_send, send));
    let result = thread.join();
    assert_eq!(result.is_err(), failed.try_recv().is_ok());
    (done.try_iter().collect(), found, result)
}

/// All records of a log from `from` (default: its start) on.
pub fn read_all(
    directory: &Path,
    name: &str,
    from: Option<Position>,
) -> Result<Vec<(Position, u8, Vec<u8>)>, StoreError> {
    let reader = LogReader::open(directory, name)?;
    let mut iterator = match from {
        Some(position) => reader.iter_from(position)?,
        None => reader.iter()?,
    };
    let mut records = Vec::new();
    while let Some(record) = iterator.next_record()? {
        records.push((record.position, record.kind, record.payload.to_vec()));
    }
    Ok(records)
}
