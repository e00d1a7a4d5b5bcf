//! What a validator has reported about transactions, as a client remembers it: the promises that a crash must not break.
//!
//! Kept per height, because they are checked against the logs in order of height. Events name runs of a stream's sequences; the
//! sender knows which identifiers stand behind them.

use std::collections::BTreeMap;

use tana_types::Hash;

/// The most reports that are kept: 64 bytes each, half a gigabyte. A run that would need more has chosen its rate too high.
pub const REPORTS_MAX: usize = 8_000_000;

/// A report: this transaction stands at this place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The transaction.
    pub id: Hash,
    /// Its block.
    pub height: u64,
    /// Its place there.
    pub index: u64,
    /// How it ended; none where the block was final and not yet committed.
    pub code: Option<u8>,
}

/// All reports.
#[derive(Debug, Default)]
pub struct Reports {
    by_height: BTreeMap<u64, Vec<Report>>,
    /// Reports of applied transactions, for samples: place in `by_height`.
    applied: Vec<(u64, u32)>,
    count: usize,
    /// The highest block that was reported final.
    pub final_height: u64,
    /// The highest block of which a transaction was reported applied, failed or skipped.
    pub committed_height: u64,
    /// Reports of final ones.
    pub finals: u64,
}

impl Reports {
    /// Remembers one; beyond [`REPORTS_MAX`] only the heights are.
    pub fn push(&mut self, report: Report) {
        match report.code {
            None => {
                self.final_height = self.final_height.max(report.height);
                self.finals += 1;
            }
            Some(_) => self.committed_height = self.committed_height.max(report.height),
        }
        if self.count >= REPORTS_MAX {
            return;
        }
        self.count += 1;
        let block = self.by_height.entry(report.height).or_default();
        if report.code == Some(0) {
            self.applied.push((report.height, block.len() as u32));
        }
        block.push(report);
    }

    /// How many transactions were reported applied.
    pub fn applied_count(&self) -> usize {
        self.applied.len()
    }

    /// The reports of one block.
    pub fn at(&self, height: u64) -> &[Report] {
        self.by_height.get(&height).map_or(&[], Vec::as_slice)
    }

    /// The highest height that any report names.
    pub fn height_max(&self) -> u64 {
        self.by_height.last_key_value().map_or(0, |(height, _)| *height)
    }

    /// Up to `count` reports of applied transactions: the newest, which a crash endangers most, and as many others, which `draw` chooses
    /// below the bound that it is given.
    pub fn sample(&self, count: usize, mut draw: impl FnMut(usize) -> usize) -> Vec<Report> {
        if self.applied.is_empty() {
            return Vec::new();
        }
        let newest = self.applied.iter().rev().take(count.div_ceil(2)).copied();
        let others: Vec<_> = (0..count / 2).map(|_| self.applied[draw(self.applied.len())]).collect();
        newest.chain(others).filter_map(|(height, place)| self.at(height).get(place as usize).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_found_by_height_and_samples_are_applied_ones() {
        let mut reports = Reports::default();
        for height in 1..=10u64 {
            let id = [height as u8; 32];
            reports.push(Report { id, height, index: 0, code: None });
            reports.push(Report { id, height, index: 0, code: Some(u8::from(height % 2 == 0)) });
        }
        assert_eq!((reports.applied_count(), reports.finals, reports.final_height), (5, 10, 10));
        assert_eq!(
            (reports.committed_height, reports.height_max(), reports.at(4).len(), reports.at(11).len()),
            (10, 10, 2, 0)
        );
        let sample = reports.sample(4, |bound| bound - 1);
        assert_eq!(sample.iter().map(|report| report.height).collect::<Vec<_>>(), [9, 7, 9, 9]);
        assert!(Reports::default().sample(4, |_| 0).is_empty());
    }
}
