//! What a test has made outside of its own process: processes, mounts and namespaces. Each is removed by its owner's `Drop`; this list is for
//! the moment when a person presses Ctrl-C a second time, or a panic ends the program, and no owner has its turn.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use super::space;

#[derive(Debug)]
struct Remains {
    processes: Vec<u32>,
    mounts: Vec<PathBuf>,
    spaces: Vec<String>,
}

static REMAINS: Mutex<Remains> = Mutex::new(Remains { processes: Vec::new(), mounts: Vec::new(), spaces: Vec::new() });

fn remains() -> MutexGuard<'static, Remains> {
    REMAINS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes a process that was started.
pub fn note_process(id: u32) {
    remains().processes.push(id);
}

/// Forgets a process that has ended and was waited for: its number may be somebody else's soon.
pub fn forget_process(id: u32) {
    remains().processes.retain(|process| *process != id);
}

/// Notes a file system that was mounted.
pub fn note_mount(folder: &Path) {
    remains().mounts.push(folder.to_owned());
}

/// Forgets a file system that was unmounted.
pub fn forget_mount(folder: &Path) {
    remains().mounts.retain(|mount| mount != folder);
}

/// Notes namespaces that were made.
pub fn note_spaces(names: &[String]) {
    remains().spaces.extend_from_slice(names);
}

/// Forgets namespaces that were removed.
pub fn forget_spaces(names: &[String]) {
    remains().spaces.retain(|name| !names.contains(name));
}

/// Sends a signal to a process of ours; one that has just ended does not mind.
pub fn signal(id: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Removes everything that is left, at once.
pub fn remove_all() {
    let mut remains = remains();
    for process in remains.processes.drain(..) {
        signal(process, Signal::KILL);
    }
    for mount in remains.mounts.drain(..) {
        // Lazily: a process that is just being killed may still have files open.
        let _ = unmount(mount, UnmountFlags::DETACH);
    }
    space::remove(&std::mem::take(&mut remains.spaces));
}
