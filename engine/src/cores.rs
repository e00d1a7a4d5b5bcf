//! Which cores the stages run on.
//!
//! `auto` takes the cores that this process may use: isolated ones first if the kernel has any, then one hardware thread of each physical
//! core, lowest NUMA node first, then the second hardware threads. The order comes from `/sys`; where that is missing, by number.
//! A core that is asked for and not there is a message, not a crash.

use std::collections::BTreeSet;
use std::path::Path;

use thiserror::Error;

/// A core that is not there.
#[derive(Debug, Error)]
#[error(
    "threads.cores names core {core}, but this process may only use cores {available:?}; correct the list or leave it empty"
)]
pub struct CoreError {
    core: usize,
    available: Vec<usize>,
}

/// Parses the kernel's list form, such as `0-3,8`. Anything that does not parse is left out.
fn parse_list(text: &str) -> BTreeSet<usize> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
    };
    text.trim().split(',').filter_map(range).filter(|range| range.clone().count() <= 65_536).flatten().collect()
}

fn read_list(path: &Path) -> BTreeSet<usize> {
    std::fs::read_to_string(path).map(|text| parse_list(&text)).unwrap_or_default()
}

fn numa_node(core: usize, folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder.join(format!("cpu{core}"))) else { return 0 };
    let node = |name: &str| name.strip_prefix("node").and_then(|number| number.parse().ok());
    entries.flatten().filter_map(|entry| node(&entry.file_name().to_string_lossy())).min().unwrap_or(0)
}

/// The cores for stages, best first.
pub fn layout(wanted: &[usize]) -> Result<Vec<usize>, CoreError> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    if let Some(&core) = wanted.iter().find(|core| !available.contains(core)) {
        return Err(CoreError { core, available });
    }
    if !wanted.is_empty() {
        return Ok(wanted.to_vec());
    }
    let folder = Path::new("/sys/devices/system/cpu");
    let isolated = read_list(&folder.join("isolated"));
    let sibling_rank = |core: usize| {
        let siblings = read_list(&folder.join(format!("cpu{core}/topology/thread_siblings_list")));
        siblings.iter().position(|&sibling| sibling == core).unwrap_or(0)
    };
    let mut cores: Vec<usize> = match available.iter().any(|core| isolated.contains(core)) {
        true => available.iter().copied().filter(|core| isolated.contains(core)).collect(),
        false => available,
    };
    cores.sort_by_key(|&core| (sibling_rank(core), numa_node(core, folder), core));
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_lists_are_read() {
        assert_eq!(parse_list("0-2,8\n"), BTreeSet::from([0, 1, 2, 8]));
        assert_eq!(parse_list("\n"), BTreeSet::new());
        assert_eq!(parse_list("x,5-3,7"), BTreeSet::from([7]));
    }

    #[test]
    fn a_core_that_is_not_there_is_a_message() {
        let error = layout(&[1_000_000]).unwrap_err().to_string();
        assert!(error.contains("1000000") && error.contains("threads.cores"), "{error}");
        assert!(!layout(&[]).unwrap().is_empty());
    }
}
