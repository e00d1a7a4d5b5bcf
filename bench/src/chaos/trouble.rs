//! Bad networks, processes that stand still, and full disks.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::crashes::RECOVERY;
use super::outcome::Figure;
use super::remains;
use super::stage::{Stage, Trouble};
use super::wire::Fault;

/// Room of the small disk.
const DISK: &std::ffi::CStr = c"size=384m,mode=700";
/// What a balloon leaves of it: less than one more segment of each log needs.
const LEFT_BYTES: u64 = 24 << 20;
/// How long it may take until the disk is full: 24 MiB at more than 1 MB/s.
const FULL: Duration = Duration::from_secs(180);

/// Every packet between validators takes 100 ms, and one in twenty is lost.
pub fn slow_network(stage: &mut Stage) -> Result<(), Trouble> {
    stage.between(&[0, 1, 2, 3], &[0, 1, 2, 3], Fault::lossy(5, 100, 10));
    let first = stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    let (begun, height, finals) = (Instant::now(), stage.finalized(0), stage.finals());
    stage.hold(stage.seconds(30))?;
    let seconds = begun.elapsed().as_secs_f64();
    let blocks = stage.finalized(0).saturating_sub(height) as f64 / seconds;
    let transactions = (stage.finals() - finals) as f64 / seconds;
    stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    stage.note(Figure::new("first blocks after s", first.as_secs_f64()));
    stage.note(Figure::new("blocks/s", blocks));
    stage.note(Figure::new("final tx/s", transactions.round()));
    Ok(())
}

/// One stands still for a while and goes on, as a machine does that was suspended.
pub fn pause(stage: &mut Stage) -> Result<(), Trouble> {
    stage.machines[3].pause();
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.hold(stage.seconds(20))?;
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    stage.machines[3].resume();
    let back = stage.catches_up(3, 0, RECOVERY)?;
    stage.note(Figure::new("back after s", back.as_secs_f64()));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}

/// A small file system on a folder; unmounted with its handle.
struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    fn mount(folder: &Path) -> Result<Self, Trouble> {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        mount("tmpfs", folder, "tmpfs", MountFlags::empty(), DISK)
            .map_err(|error| Trouble::NotHere(format!("root may not mount a tmpfs here ({error})")))?;
        remains::note_mount(folder);
        Ok(Self { folder: folder.to_owned() })
    }

    fn free_bytes(&self) -> Result<u64, String> {
        let found = rustix::fs::statvfs(&self.folder).map_err(|error| format!("{}: {error}", self.folder.display()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Takes all room but [`LEFT_BYTES`]; the file that takes it.
    fn fill(&self) -> Result<PathBuf, String> {
        let path = self.folder.join("balloon");
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut file = OpenOptions::new().create_new(true).write(true).open(&path).map_err(failed)?;
        let piece = vec![1; 1 << 20];
        for _ in 0..self.free_bytes()?.saturating_sub(LEFT_BYTES) >> 20 {
            file.write_all(&piece).map_err(failed)?;
        }
        Ok(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The validator has ended or is about to be killed; its open files keep the file system until then.
        if unmount(&self.folder, UnmountFlags::DETACH).is_ok() {
            remains::forget_mount(&self.folder);
        }
    }
}

/// The disk of one runs full: it ends with a clear error, the others go on, and with room it comes back.
///
/// The small disk is unmounted when everything is compared, so this scenario finishes its stage itself: see [`super::scenario`].
pub fn full_disk(mut stage: Stage, name: &str) -> Result<super::outcome::Outcome, Trouble> {
    let disk = SmallDisk::mount(&stage.machines[3].member.data())?;
    // What was said of the key before lies below the mount.
    tana_engine::consensus::create_vote_record(&stage.machines[3].member.data()).map_err(|error| error.to_string())?;
    let played = fill_up(&mut stage, &disk);
    let outcome = stage.finish(name, played);
    drop(disk);
    outcome
}

fn fill_up(stage: &mut Stage, disk: &SmallDisk) -> Result<(), Trouble> {
    stage.start_voting(&[0, 1, 2, 3])?;
    stage.flood(&[0, 1, 2, 3], 8_000)?;
    stage.goes_on(&[0, 1, 2, 3], RECOVERY)?;
    let balloon = disk.fill()?;
    stage.is_to_end = Some(3);
    let mut ended = None;
    let full = stage.until("the validator with the full disk ends", FULL, |stage| {
        ended = stage.machines[3].ended();
        ended.is_some()
    })?;
    stage.is_to_end = None;
    stage.note(Figure::new("full after s", full.as_secs_f64()));
    let log = std::fs::read_to_string(stage.machines[3].member.log()).unwrap_or_default();
    if !log.contains("disk full") {
        let tail = stage.machines[3].tail();
        return Err(Trouble::Violation(format!("the validator ended without a clear error about its disk:\n{tail}")));
    }
    if ended.is_some_and(|status| status.code() != Some(1)) {
        return Err(Trouble::Violation(format!("the validator ended with {ended:?} and not with status 1")));
    }
    stage.goes_on(&[0, 1, 2], RECOVERY)?;
    std::fs::remove_file(&balloon).map_err(|error| format!("{}: {error}", balloon.display()))?;
    stage.start(3)?;
    let back = stage.catches_up(3, 0, RECOVERY)?;
    stage.note(Figure::new("back after s", back.as_secs_f64()));
    stage.goes_on(&[0, 1, 2, 3], RECOVERY).map(drop)
}
