//! Floods a validator until its disk is full, and starts it again when there is room.
//!
//! The folder lies on a small file system. A balloon file takes a part of it first. The node must stop by itself with an error that says
//! what to do; when the balloon is gone it must start and know everything that it had reported.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::crash::{CrashPlan, Run};

/// The most free bytes of a file system that is filled: more is somebody's real disk.
const FREE_BYTES_MAX: u64 = 2 << 30;
/// The least: segments of three logs, written ahead, and the balloon.
const FREE_BYTES_MIN: u64 = 48 << 20;
/// Bytes of the balloon, which is the room that the restart has.
const BALLOON_BYTES: usize = 24 << 20;
/// How long filling may take: two gigabytes at 4 MB/s.
const FILL_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the node has to stop when its disk is full.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// Transactions per second: about 4 MB/s of logs.
const RATE: u64 = 10_000;

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct DiskFullOutcome {
    /// Bytes that were free before.
    pub free_bytes: u64,
    /// What the node printed when it stopped.
    pub error: String,
    /// Transactions that it had reported applied.
    pub applied_reports: u64,
    /// Its committed height after the restart.
    pub height: u64,
    /// Transactions applied on disk then.
    pub applied: u64,
}

/// Free bytes of the file system of a folder.
fn free_bytes(folder: &Path) -> Result<u64, String> {
    let found = rustix::fs::statvfs(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Fills the file system of the plan's folder.
pub fn disk_full(plan: &CrashPlan) -> Result<DiskFullOutcome, String> {
    let folder = &plan.folder;
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let free = free_bytes(folder)?;
    if !(FREE_BYTES_MIN..=FREE_BYTES_MAX).contains(&free) {
        return Err(format!(
            "{} has {} MiB free, and this fills its disk; mount a small one (48 MiB to 2 GiB) there, such as: mount -t tmpfs -o size=96m tmpfs FOLDER",
            folder.display(),
            free >> 20
        ));
    }
    let balloon = folder.join("balloon");
    std::fs::write(&balloon, vec![1; BALLOON_BYTES]).map_err(|error| format!("cannot write the balloon: {error}"))?;
    let plan = CrashPlan { rate: RATE, ..plan.clone() };
    let mut run = Run::new(&plan, |config| config.use_segments_of(4))?;
    let mut victim = run.spawn()?;
    let ready = run.await_ready(&mut victim)?;
    let flooded = run.flood(&mut victim, &ready, FILL_TIMEOUT);
    if flooded.is_ok() {
        return Err(format!("the disk was not full after {FILL_TIMEOUT:?}"));
    }
    let status = victim.wait(STOP_TIMEOUT).map_err(|error| error.to_string())?;
    let error = victim.errors();
    if status.success() || !error.contains("disk full") || !error.contains("free that much space") {
        return Err(format!("the node ended with {status} and not with a clear error about the disk: {error}"));
    }
    std::fs::remove_file(&balloon).map_err(|error| format!("cannot remove the balloon: {error}"))?;
    run.full_check()?;
    let outcome = &run.outcome;
    Ok(DiskFullOutcome {
        free_bytes: free,
        error: error.lines().last().unwrap_or("").to_owned(),
        applied_reports: outcome.applied_reports,
        height: outcome.height,
        applied: outcome.applied,
    })
}
