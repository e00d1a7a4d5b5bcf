//! Which writer serves this data folder best, found out once and remembered.
//!
//! 1. Direct I/O: one block is written with `O_DIRECT | O_DSYNC`; where the file system refuses, `fdatasync` it is.
//! 2. `Auto`: a scratch file is written ahead, then each writer rewrites it group by group, turn and turn about so that
//!    both meet the same disk; the smaller median wins. io_uring must win by a tenth: the plain path is the simpler one.
//! 3. The choice and its reason are stored in `<dir>/log_backend`; deleting that file makes the next start measure again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::config::LogBackend;
use super::format::BLOCK_BYTES;
use super::segment::Durability;
use super::staging::AlignedBuffer;
use super::writer::Writer;
use crate::StoreError;

/// File that holds the choice.
const CHOICE_FILE: &str = "log_backend";
/// Scratch file of the measurement.
const SCRATCH_FILE: &str = "log_backend.probe";
/// Bytes of one measured write: a group of a thousand transactions.
const GROUP_BYTES: usize = 160 << 10;
/// Measured writes of each writer.
const ROUNDS: usize = 24;
/// The measurement ends after this time however slow the disk is.
const DURATION_MAX: Duration = Duration::from_secs(2);

/// What was chosen, and why, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendChoice {
    /// Whether io_uring writes.
    pub uring: bool,
    /// For example `plain, O_DIRECT`.
    pub name: String,
    /// Why this one.
    pub reason: String,
    /// How writes become durable.
    pub(super) durability: Durability,
}

/// Chooses the writer for the logs under `directory`.
///
/// # Errors
/// [`StoreError::Io`] or [`StoreError::NoSpace`] when not even the probe can be written.
pub(super) fn choose_backend(directory: &Path, wanted: LogBackend) -> Result<BackendChoice, StoreError> {
    let durability = probe_durability(directory)?;
    let (uring, reason) = match wanted {
        LogBackend::Plain => (false, "set in the configuration".to_string()),
        LogBackend::Uring => match uring_denied() {
            None => (true, "set in the configuration".to_string()),
            Some(error) => (false, format!("io_uring is set in the configuration, but the kernel denies it: {error}")),
        },
        LogBackend::Auto => auto(directory, durability)?,
    };
    Ok(BackendChoice { uring, name: backend_name(uring, durability).to_string(), reason, durability })
}

/// The name that reports show.
pub(super) fn backend_name(uring: bool, durability: Durability) -> &'static str {
    match (uring, durability) {
        (false, Durability::Direct) => "plain, O_DIRECT and O_DSYNC",
        (false, Durability::Synced) => "plain, fdatasync (the file system refuses O_DIRECT)",
        (true, Durability::Direct) => "io_uring, O_DIRECT and O_DSYNC",
        (true, Durability::Synced) => "io_uring, fdatasync (the file system refuses O_DIRECT)",
    }
}

/// The stored choice, or a measurement.
fn auto(directory: &Path, durability: Durability) -> Result<(bool, String), StoreError> {
    let denied = uring_denied();
    let path = directory.join(CHOICE_FILE);
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let stored_reason = stored.lines().nth(1).unwrap_or("no reason stored").to_string();
    match (stored.lines().next(), &denied) {
        (Some("plain"), _) => return Ok((false, format!("kept from the first start: {stored_reason}"))),
        (Some("uring"), None) => return Ok((true, format!("kept from the first start: {stored_reason}"))),
        _ => {}
    }
    if let Some(error) = denied {
        // Not stored: the same folder may later be used where io_uring is allowed.
        return Ok((false, format!("the kernel denies io_uring: {error}")));
    }
    let (uring, reason) = match measure(directory, durability) {
        Ok(measured) => measured,
        // Not stored either: the disk may be full today and not tomorrow, and the logs themselves may still have room.
        Err(error) => return Ok((false, format!("the two writers could not be compared: {error}"))),
    };
    let text = format!("{}\n{reason}\n", if uring { "uring" } else { "plain" });
    std::fs::write(&path, &text)
        .map_err(|source| StoreError::io("store the choice in", &path, source, text.len() as u64))?;
    Ok((uring, reason))
}

/// Why io_uring cannot be used, `None` when it can.
fn uring_denied() -> Option<io::Error> {
    io_uring::IoUring::new(8).err()
}

/// Whether direct, synced writes work in this folder.
fn probe_durability(directory: &Path) -> Result<Durability, StoreError> {
    let path = directory.join(SCRATCH_FILE);
    let failed = |source| StoreError::io("write a probe to", &path, source, BLOCK_BYTES as u64);
    let mut block = AlignedBuffer::zeroed(BLOCK_BYTES);
    block.bytes_mut().fill(1);
    let file = File::create(&path).map_err(failed)?;
    let written = file.write_all_at(block.bytes(), 0).and_then(|()| file.sync_all());
    let direct = Durability::Direct.open(&path).and_then(|file| file.write_all_at(block.bytes(), 0));
    // A probe left behind does no harm: the next one overwrites it.
    let _ = std::fs::remove_file(&path);
    written.map_err(failed)?;
    Ok(if direct.is_ok() { Durability::Direct } else { Durability::Synced })
}

/// Writes with both and compares.
fn measure(directory: &Path, durability: Durability) -> Result<(bool, String), StoreError> {
    let path = directory.join(SCRATCH_FILE);
    let bytes = (GROUP_BYTES * ROUNDS) as u64;
    let failed = |source| StoreError::io("write a probe to", &path, source, bytes);
    let times = measure_file(&path, durability);
    let _ = std::fs::remove_file(&path);
    let (mut plain, mut uring) = times.map_err(failed)?;
    let (Some(plain), Some(uring)) = (median(&mut plain), median(&mut uring)) else {
        return Ok((false, "the disk was too slow to compare; plain is the simpler one".to_string()));
    };
    let micros = |duration: Duration| duration.as_micros();
    let chosen = uring * 10 < plain * 9;
    let reason = format!(
        "a synced write of {} KiB took {} us plain and {} us with io_uring (medians; io_uring must win by a tenth)",
        GROUP_BYTES >> 10,
        micros(plain),
        micros(uring)
    );
    Ok((chosen, reason))
}

/// Times of the plain and of the io_uring writer, turn and turn about.
fn measure_file(path: &Path, durability: Durability) -> io::Result<(Vec<Duration>, Vec<Duration>)> {
    let mut buffer = AlignedBuffer::zeroed(GROUP_BYTES);
    let scratch = File::create(path)?;
    for round in 0..ROUNDS {
        scratch.write_all_at(buffer.bytes(), (round * GROUP_BYTES) as u64)?;
    }
    scratch.sync_all()?;
    buffer.bytes_mut().fill(0xa5);
    let mut plain = Writer::plain(1, durability);
    plain.attach(0, durability.open(path)?);
    let mut uring = match Writer::uring(1, durability) {
        Ok(writer) => writer,
        Err(_) => return Ok((Vec::new(), Vec::new())),
    };
    uring.attach(0, durability.open(path)?);
    let (mut plain_times, mut uring_times) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    for round in 0..ROUNDS {
        if begin.elapsed() > DURATION_MAX {
            break;
        }
        let offset = (round * GROUP_BYTES) as u64;
        for (writer, times) in [(&mut plain, &mut plain_times), (&mut uring, &mut uring_times)] {
            let start = Instant::now();
            writer.write(0, &mut buffer, GROUP_BYTES, offset)?;
            times.push(start.elapsed());
        }
    }
    Ok((plain_times, uring_times))
}

/// The middle one, if there are enough to speak of a middle.
fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    if times.len() < 3 { None } else { times.get(times.len() / 2).copied() }
}
