//! Holds what was reported against what lies on disk: every committed block, every transaction.
//!
//! 1. The block log is read from its beginning; each record names its batches, which give the transactions' identifiers.
//! 2. No identifier may take effect (code 0) twice.
//! 3. Each report of the block's height must find its transaction at its place, with its code.
//! 4. No report may name a block that is not there.

use std::collections::HashSet;
use std::path::Path;

use tana_engine::history::read_batch;
use tana_engine::replay::{DataFolders, RecordSource};
use tana_types::transaction::Chain;

use crate::reports::{Report, Reports};

/// The most violations that are described; one is enough to fail.
const VIOLATIONS_MAX: usize = 20;

/// What a scan found.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Scan {
    /// Committed blocks.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Of these, applied.
    pub applied: u64,
    /// Reports that were held against them.
    pub reports: u64,
    /// What must not be.
    pub violations: Vec<String>,
}

impl Scan {
    fn violation(&mut self, text: impl FnOnce() -> String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text());
        }
    }
}

fn describe(report: &Report) -> String {
    let kind = report.code.map_or_else(|| "final".to_owned(), |code| format!("ended with code {code}"));
    format!("{} was reported {kind} at {}/{}", hex::encode(report.id), report.height, report.index)
}

/// Reads all of `data` and checks `reports`; no node may be running on it.
pub fn scan(data: &Path, chain: &Chain, reports: &Reports) -> Result<Scan, String> {
    let folders = DataFolders::new(data);
    let mut records = RecordSource::open(&folders.logs, None).map_err(|error| error.to_string())?;
    let mut scan = Scan::default();
    let mut applied = HashSet::new();
    let mut last = 0;
    loop {
        let next = records
            .next_record(|record, _| Ok((record.header.height, record.batch_positions.clone(), record.codes.to_vec())));
        let Some((height, positions, codes)) = next.map_err(|error| error.to_string())? else { break };
        if height != last + 1 {
            scan.violation(|| format!("block {height} follows block {last}"));
        }
        last = height;
        let mut ids = Vec::with_capacity(codes.len());
        for position in positions {
            ids.extend_from_slice(&read_batch(&folders.logs, chain, position)?.ids);
        }
        if ids.len() != codes.len() {
            scan.violation(|| format!("block {height} has {} transactions and {} codes", ids.len(), codes.len()));
        }
        scan.blocks += 1;
        scan.transactions += ids.len() as u64;
        for (id, _) in ids.iter().zip(&codes).filter(|(_, code)| **code == 0) {
            scan.applied += 1;
            if !applied.insert(*id) {
                scan.violation(|| format!("{} takes effect again in block {height}", hex::encode(id)));
            }
        }
        for report in reports.at(height) {
            scan.reports += 1;
            let place = usize::try_from(report.index).unwrap_or(usize::MAX);
            let is_there = ids.get(place) == Some(&report.id);
            let is_same = report.code.is_none_or(|code| codes.get(place) == Some(&code));
            if !is_there || !is_same {
                let found = ids.get(place).map_or_else(|| "nothing".to_owned(), hex::encode);
                let code = codes.get(place).copied();
                scan.violation(|| format!("{}, but {found} with code {code:?} is there", describe(report)));
            }
        }
    }
    for height in last + 1..=reports.height_max() {
        if let Some(report) = reports.at(height).first() {
            scan.violation(|| format!("{}, but the last committed block is {last}", describe(report)));
        }
    }
    Ok(scan)
}
