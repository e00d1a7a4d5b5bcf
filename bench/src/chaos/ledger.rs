//! What lies on the disks when a scenario is over, held against each other and against what clients were told. No validator runs then.
//!
//! 1. Every validator's log is replayed from the genesis ([`verify_log`]: hashes, signatures, roots, totals).
//! 2. At every height, all validators that have it have the same block: nothing forked.
//! 3. Every report that any client got, from whichever validator, finds its transaction at its place on every validator that has kept the whole
//!    chain, with its code, and no transaction took effect twice ([`scan`]). A report beyond a validator's last block is held against the
//!    validators that are further.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use tana_engine::replay::{DataFolders, RecordSource};
use tana_engine::verify_log::verify_log;
use tana_types::Hash;
use tana_types::genesis::Genesis;

use super::network::Member;
use crate::reports::Reports;
use crate::scan::scan;

/// What was compared.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// Validators whose logs were replayed.
    pub replayed: usize,
    /// The lowest last committed height of them.
    pub height: u64,
    /// Transactions that took effect, on the longest of them.
    pub applied: u64,
    /// Reports that were found at their places, over all validators.
    pub reports: u64,
    /// What must not be.
    pub violations: Vec<String>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The block hash at each committed height.
fn hashes(data: &Path) -> Result<BTreeMap<u64, Hash>, String> {
    let folders = DataFolders::new(data);
    let mut records = RecordSource::open(&folders.logs, None).map_err(text)?;
    let mut hashes = BTreeMap::new();
    while let Some((height, hash)) =
        records.next_record(|record, _| Ok((record.header.height, record.header.hash()))).map_err(text)?
    {
        hashes.insert(height, hash);
    }
    Ok(hashes)
}

/// Compares everything. `whole` are the validators that have the chain from its first block, `joined` those that began with a snapshot.
pub fn compare(whole: &[&Member], joined: &[&Member], genesis: &Genesis, reports: &Reports) -> Ledger {
    let mut ledger = Ledger { height: u64::MAX, ..Ledger::default() };
    let mut chains: Vec<(&str, BTreeMap<u64, Hash>)> = Vec::new();
    for member in whole.iter().chain(joined) {
        match hashes(&member.data()) {
            Ok(found) => chains.push((&member.name, found)),
            Err(error) => ledger.violations.push(format!("{}: {error}", member.name)),
        }
    }
    let chains: Vec<(&str, &BTreeMap<u64, Hash>)> = chains.iter().map(|(name, chain)| (*name, chain)).collect();
    ledger.violations.extend(fork(&chains));
    let last = chains.iter().filter_map(|(_, chain)| chain.last_key_value()).map(|(height, _)| *height).max();
    let last = last.unwrap_or(0);
    if reports.height_max() > last {
        ledger.violations.push(format!(
            "a transaction was reported final at height {}, but no validator has more than {last} blocks",
            reports.height_max()
        ));
    }
    for member in whole {
        if let Err(error) = replay(member, genesis, reports, &mut ledger) {
            ledger.violations.push(format!("{}: {error}", member.name));
        }
    }
    if ledger.replayed == 0 {
        ledger.height = 0;
    }
    ledger
}

fn replay(member: &Member, genesis: &Genesis, reports: &Reports, ledger: &mut Ledger) -> Result<(), String> {
    let verified =
        verify_log(&member.data(), genesis, &|_, _, _| {}).map_err(|error| format!("verify-log: {error}"))?;
    let last = verified.committed_blocks;
    let found = scan(&member.data(), &genesis.to_chain(), reports)?;
    // A scan says so too when a report lies beyond the last block; here another validator may have that block.
    let is_shorter = reports.height_max() > last;
    let beyond = format!("but the last committed block is {last}");
    let broken = found.violations.iter().filter(|violation| !(is_shorter && violation.ends_with(&beyond)));
    ledger.violations.extend(broken.map(|violation| format!("{}: {violation}", member.name)));
    if (last, verified.applied) != (found.blocks, found.applied) {
        ledger.violations.push(format!(
            "{}: the replay has {last} blocks and {} applied, the scan {} and {}",
            member.name, verified.applied, found.blocks, found.applied
        ));
    }
    ledger.replayed += 1;
    ledger.height = ledger.height.min(last);
    ledger.applied = ledger.applied.max(found.applied);
    ledger.reports += found.reports;
    Ok(())
}

/// The first height at which two chains differ, as a sentence for each pair with the first chain that has it.
fn fork(chains: &[(&str, &BTreeMap<u64, Hash>)]) -> Vec<String> {
    let mut seen: BTreeMap<u64, (&str, &Hash)> = BTreeMap::new();
    let mut violations = Vec::new();
    for (name, chain) in chains {
        let mut is_forked = false;
        for (height, hash) in *chain {
            let (first, expected) = seen.entry(*height).or_insert((name, hash));
            if *expected != hash && !is_forked {
                is_forked = true;
                let (hash, expected) = (hex::encode(hash), hex::encode(*expected));
                violations.push(format!("FORK at height {height}: {first} has {expected}, {name} has {hash}"));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_is_found_and_a_shorter_chain_is_none() {
        let chain = |from: u64, to: u64, odd: Option<u64>| -> BTreeMap<u64, Hash> {
            (from..=to).map(|height| (height, [if odd == Some(height) { 99 } else { height as u8 }; 32])).collect()
        };
        let (long, short, joined) = (chain(1, 10, None), chain(1, 7, None), chain(5, 9, None));
        assert_eq!(fork(&[("a", &long), ("b", &short), ("c", &joined)]), Vec::<String>::new());
        let other = chain(5, 9, Some(8));
        let found = fork(&[("a", &long), ("b", &short), ("c", &other)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("FORK at height 8: a has 08"), "{found:?}");
    }
}
