//! Damaged data folders: a torn tail loses nothing, everything else is found and refused with a remedy, and what can be rebuilt is.
//!
//! One clean run makes a data folder; each case works on a copy. Records are found by their magic number: the tests know the layout of
//! a segment (see `tana_store::log`), not the store's code.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use tana_bench::chain::{Chain, ChainChoices};
use tana_bench::dice::Dice;
use tana_bench::reports::Reports;
use tana_bench::scan::scan;
use tana_bench::wallet::{Wallet, ask_nonces, run};
use tana_engine::node::Node;
use tana_engine::verify_log::{VerifyReport, verify_log};
use tana_net::{ServerPin, TxClient};

const ACCOUNTS: u32 = 200;
const TRANSACTIONS: u64 = 8_000;
const HEADER_BYTES: usize = 40;
const BLOCK_BYTES: usize = 4_096;
const LOGS: [&str; 3] = ["batches", "order", "blocks"];
/// Flips per log.
const FLIPS: usize = 6;

/// A data folder as a clean run left it, and what it holds.
struct Original {
    folder: tempfile::TempDir,
    chain: Chain,
    verified: VerifyReport,
    reports: Reports,
}

fn make() -> Original {
    let folder = tempfile::tempdir().unwrap();
    let choices = ChainChoices { accounts: ACCOUNTS, ..ChainChoices::default() };
    let chain = Chain::create(folder.path(), &choices, |config| {
        config.use_segments_of(1);
        config.checkpoint.interval_s = 1;
        config.order.empty_interval_ms = 3_600_000;
        config.threads.pin = false;
    })
    .unwrap();
    let node = Node::start(&chain.config, &|_, _, _| {}).unwrap();
    let numbers: Vec<u32> = (0..ACCOUNTS).collect();
    let wallet = RefCell::new(Wallet::new(chain.genesis.to_chain(), "USD".parse().unwrap(), &numbers));
    let reports = RefCell::new(Reports::default());
    runtime().block_on(async {
        let pin = ServerPin::Key(chain.validator.0);
        let client = TxClient::connect(node.report().listen, pin, None).await.unwrap();
        ask_nonces(&wallet, &client).await.unwrap();
        run(&wallet, &client, &[], 20_000, Some(TRANSACTIONS), &reports).await.unwrap();
    });
    node.stop().unwrap();
    let verified = verify_log(&chain.config.data, &chain.genesis, &|_, _, _| {}).unwrap();
    assert_eq!(verified.applied, TRANSACTIONS);
    Original { folder, chain, verified, reports: reports.into_inner() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of the chain with its data.
struct Copy {
    _folder: tempfile::TempDir,
    chain: Chain,
}

impl Original {
    fn copy(&self) -> Copy {
        let folder = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), folder.path());
        let mut chain = self.chain.clone();
        chain.folder = folder.path().to_owned();
        for path in [&mut chain.config.data, &mut chain.config.genesis, &mut chain.config.key] {
            *path = folder.path().join(path.strip_prefix(self.folder.path()).unwrap());
        }
        Copy { _folder: folder, chain }
    }
}

impl Copy {
    fn log(&self, name: &str) -> PathBuf {
        self.chain.config.data.join("logs").join(name)
    }

    /// The segments of a log that hold records, in order.
    fn segments(&self, name: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.log(name)).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect();
        segments.sort();
        segments.retain(|path| !records(&std::fs::read(path).unwrap()).is_empty());
        segments
    }

    fn start(&self) -> Result<Node, String> {
        Node::start(&self.chain.config, &|_, _, _| {}).map_err(|error| error.to_string())
    }

    fn verify(&self) -> Result<VerifyReport, String> {
        verify_log(&self.chain.config.data, &self.chain.genesis, &|_, _, _| {}).map_err(|error| error.to_string())
    }

    fn remove_checkpoint(&self) {
        std::fs::remove_dir_all(self.chain.config.data.join("checkpoint")).unwrap();
    }

    /// It starts, and everything that was reported is there.
    fn starts_whole(&self, original: &Original) -> bool {
        let node = self.start().unwrap();
        let from_checkpoint = node.report().from_checkpoint;
        assert!(
            node.report().height >= original.verified.committed_blocks
                || node.published().wait_for(original.verified.committed_blocks, std::time::Duration::from_secs(30))
        );
        assert_eq!(node.published().applied.load(Ordering::Relaxed), TRANSACTIONS);
        node.stop().unwrap();
        let verified = self.verify().unwrap();
        assert_eq!((verified.applied, &verified.totals), (TRANSACTIONS, &original.verified.totals));
        let found = scan(&self.chain.config.data, &self.chain.genesis.to_chain(), &original.reports).unwrap();
        assert!(found.violations.is_empty(), "{:?}", found.violations);
        from_checkpoint
    }
}

/// Where the records of a segment begin, and where each ends.
fn records(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = BLOCK_BYTES;
    while at + HEADER_BYTES <= segment.len() {
        if &segment[at..at + 4] == b"TREC" {
            let length = u32::from_le_bytes(segment[at + 8..at + 12].try_into().unwrap()) as usize;
            found.push((at, at + HEADER_BYTES + length));
            at = (at + HEADER_BYTES + length).next_multiple_of(8);
        } else {
            at = (at + 1).next_multiple_of(BLOCK_BYTES);
        }
    }
    found
}

fn has_remedy(error: &str) -> bool {
    ["restore the data folder", "restore it from a copy", "remove the folder"]
        .iter()
        .any(|remedy| error.contains(remedy))
}

#[test]
fn damage_is_refused_with_a_remedy_and_a_torn_tail_loses_nothing() {
    let original = make();
    torn_tails(&original);
    truncated_segments(&original);
    flipped_bits(&original);
    lost_checkpoint(&original);
    damaged_checkpoint(&original);
}

/// A commit that did not get to its end lies behind the last record; a file cut there has lost only zeros.
fn torn_tails(original: &Original) {
    for name in LOGS {
        let copy = original.copy();
        let path = copy.segments(name).pop().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = records(&bytes).last().unwrap().1;
        let torn = end.next_multiple_of(BLOCK_BYTES);
        // The first half of a record, as if power had failed while it was written.
        let begun = bytes[BLOCK_BYTES..BLOCK_BYTES + 100].to_vec();
        bytes[torn..torn + begun.len()].copy_from_slice(&begun);
        std::fs::write(&path, &bytes).unwrap();
        copy.starts_whole(original);

        let copy = original.copy();
        let path = copy.segments(name).pop().unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(torn as u64).unwrap();
        copy.starts_whole(original);
    }
}

/// A segment that is followed by others must be whole.
fn truncated_segments(original: &Original) {
    let mut cases = 0;
    for name in LOGS {
        let copy = original.copy();
        let segments = copy.segments(name);
        if segments.len() < 2 {
            continue;
        }
        cases += 1;
        std::fs::OpenOptions::new().write(true).open(&segments[0]).unwrap().set_len(300_000).unwrap();
        let refused = copy.verify().unwrap_err();
        assert!(has_remedy(&refused), "{name}: {refused}");
        copy.remove_checkpoint();
        let refused = copy.start().map(|_| ()).unwrap_err();
        assert!(has_remedy(&refused), "{refused}");
    }
    assert!(cases > 0, "no log has a sealed segment, so nothing was tested");
}

/// One bit anywhere in a record that others follow.
fn flipped_bits(original: &Original) {
    let mut dice = Dice::new(23);
    for name in LOGS {
        for _ in 0..FLIPS {
            let copy = original.copy();
            let path = copy.segments(name).remove(0);
            let mut bytes = std::fs::read(&path).unwrap();
            let all = records(&bytes);
            let (start, end) = all[dice.below(all.len() as u64 / 2) as usize];
            let at = start + dice.below((end - start) as u64) as usize;
            let bit = dice.below(8);
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let place = format!("{name}: bit {bit} of byte {at} in the record at {start}");
            let refused = copy.verify().map(|_| ()).expect_err(&place);
            assert!(has_remedy(&refused), "{place}: {refused}");
            copy.remove_checkpoint();
            let refused = copy.start().map(|_| ()).expect_err(&place);
            assert!(has_remedy(&refused), "{place}: {refused}");
        }
    }
}

/// Without a checkpoint everything is executed again, and each block's root is compared with its record.
fn lost_checkpoint(original: &Original) {
    let copy = original.copy();
    assert!(copy.starts_whole(original), "a clean run leaves a checkpoint");
    copy.remove_checkpoint();
    let node = copy.start().unwrap();
    let report = node.report();
    assert!(!report.from_checkpoint && report.replayed_blocks == report.height, "{report:?}");
    assert!(report.height >= original.verified.committed_blocks);
    node.stop().unwrap();
}

/// An account's key is flipped wherever it stands in the checkpoint, in old pages too.
fn damaged_checkpoint(original: &Original) {
    let copy = original.copy();
    let path = copy.chain.config.data.join("checkpoint").join("data.mdb");
    let mut bytes = std::fs::read(&path).unwrap();
    let key = copy.chain.account_key(5).0;
    let places: Vec<usize> =
        (0..bytes.len() - 32).filter(|&at| bytes[at] == key[0] && bytes[at..at + 32] == key).collect();
    assert!(!places.is_empty(), "the checkpoint holds the account");
    for at in places {
        bytes[at + 9] ^= 4;
    }
    std::fs::write(&path, &bytes).unwrap();
    let refused = copy.start().map(|_| ()).unwrap_err();
    assert!(refused.contains("checkpoint") && (refused.contains("remove") || has_remedy(&refused)), "{refused}");
    copy.remove_checkpoint();
    copy.starts_whole(original);
}
