//! Processes that go on when the command that started them has ended, each found again by a file.
//!
//! `pids/NAME.json` of the home holds a process's id and when the system says that it began: an id alone may belong to a stranger by now, and
//! a stranger is never signalled. A process ends by SIGTERM, and by SIGKILL when it has not ended in time.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tana_mesh::config::VARIABLES;

use crate::error::CliError;
use crate::home::create_private_folder;

/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long an end by SIGKILL may take.
const KILLED: Duration = Duration::from_secs(5);

/// What a file of `pids/` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The process id.
    pub pid: u32,
    /// When it began, in the system's ticks since the machine started.
    pub began_ticks: u64,
    /// What it says, of all its starts.
    pub log: PathBuf,
}

impl Record {
    /// Whether the process of this record runs. One that has ended and was not waited for does not.
    pub fn is_running(&self) -> bool {
        process_state(self.pid).is_some_and(|(state, began)| {
            // One that was killed is called a zombie as soon as its first thread is gone; the others may still hold its files and their locks.
            began == self.began_ticks && (state != 'Z' || threads(self.pid) > 1) && state != 'X'
        })
    }

    /// Sends `signal` if it runs.
    pub fn signal(&self, signal: Signal) {
        if self.is_running()
            && let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw)
        {
            // It may end at this moment.
            let _ = kill_process(pid, signal);
        }
    }
}

/// How many threads a process has that have not ended.
fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The folder of the records.
#[derive(Debug, Clone)]
pub struct Processes {
    folder: PathBuf,
}

impl Processes {
    /// Those whose records lie in `folder`, whether it exists or not.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.json"))
    }

    /// The process called `name`, if it runs.
    pub fn running(&self, name: &str) -> Option<Record> {
        self.record(name).filter(Record::is_running)
    }

    /// The record of `name`; none as well where the file cannot be read, because then nothing can be told of the process.
    pub fn record(&self, name: &str) -> Option<Record> {
        serde_json::from_slice(&std::fs::read(self.path(name)).ok()?).ok()
    }

    /// The names of all records, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned())).collect();
        names.sort();
        names
    }

    /// Starts `program` with `arguments` as `name`; what it says is added to `log`. It must leave the session by itself
    /// (`--own-session`, [`leave_session`]), so that a closed terminal does not end it.
    ///
    /// # Errors
    /// [`CliError`] when a file cannot be written or the system gives no process.
    pub fn start(&self, name: &str, program: &Path, arguments: &[String], log: &Path) -> Result<Record, CliError> {
        create_private_folder(&self.folder)?;
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let output = open(log).map_err(|source| CliError::file("open", log, source))?;
        let errors = output.try_clone().map_err(|source| CliError::file("open", log, source))?;
        let mut command = Command::new(program);
        // Where the parts of this network are is in their files; a variable that is meant for another mesh must not move this one.
        VARIABLES.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().map_err(|source| CliError::System { action: "start a process", source })?;
        let pid = child.id();
        // A child that was not waited for keeps its entry in /proc, so this fails only where there is no /proc.
        let began_ticks = process_state(pid).map_or(0, |(_, began)| began);
        let record = Record { pid, began_ticks, log: log.to_owned() };
        let path = self.path(name);
        let text = serde_json::to_vec(&record)
            .map_err(|error| CliError::file("write", &path, std::io::Error::other(error)))?;
        std::fs::write(&path, text).map_err(|source| CliError::file("write", &path, source))?;
        Ok(record)
    }

    /// Takes the record of `name` away.
    pub fn forget(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
    }

    /// Ends all of `names`: SIGTERM, and after `patience` SIGKILL. Their records go. Says which had to be killed.
    pub fn stop(&self, names: &[String], patience: Duration) -> Vec<String> {
        let running: Vec<(&String, Record)> =
            names.iter().filter_map(|name| Some((name, self.running(name)?))).collect();
        running.iter().for_each(|(_, record)| record.signal(Signal::TERM));
        let late = wait_for_ends(&running, patience);
        late.iter().for_each(|(_, record)| record.signal(Signal::KILL));
        wait_for_ends(&late, KILLED);
        names.iter().for_each(|name| self.forget(name));
        late.into_iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Leaves the terminal's session, so that closing it does not end this process. A process that leads a group already stays where it is.
pub fn leave_session() {
    let _ = rustix::process::setsid();
}

/// Waits until none runs or `patience` is over; gives those that still run.
fn wait_for_ends<'a>(all: &[(&'a String, Record)], patience: Duration) -> Vec<(&'a String, Record)> {
    let deadline = Instant::now() + patience;
    loop {
        let left: Vec<_> = all.iter().filter(|(_, record)| record.is_running()).cloned().collect();
        if left.is_empty() || Instant::now() >= deadline {
            return left;
        }
        std::thread::sleep(LOOK);
    }
}

/// The state letter of a process and when it began; none when there is no such process.
fn process_state(pid: u32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(text: &str) -> Option<(char, u64)> {
    // The name may hold spaces and brackets; behind it the state is the first field and the start the twentieth.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(folder: &Path, script: &str) -> (Processes, Record) {
        let processes = Processes::new(folder.join("pids"));
        let arguments = ["-c".to_owned(), script.to_owned()];
        let record = processes.start("one", Path::new("/bin/sh"), &arguments, &folder.join("one.log")).unwrap();
        (processes, record)
    }

    #[test]
    fn a_process_is_found_by_its_record_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (processes, record) = start(folder.path(), "exec sleep 1000");
        assert_eq!(processes.running("one"), Some(record));
        assert_eq!(processes.names(), ["one"]);
        assert_eq!(
            processes.stop(&["one".to_owned(), "other".to_owned()], Duration::from_secs(30)),
            Vec::<String>::new()
        );
        assert_eq!((processes.running("one"), processes.record("one")), (None, None));
    }

    #[test]
    fn one_that_does_not_listen_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (processes, _) = start(folder.path(), "trap '' TERM; echo ready; while :; do sleep 0.01; done");
        while !std::fs::read_to_string(folder.path().join("one.log")).unwrap().contains("ready") {
            std::thread::yield_now();
        }
        assert_eq!(processes.stop(&["one".to_owned()], Duration::from_millis(50)), ["one"]);
        assert_eq!(processes.running("one"), None);
    }

    #[test]
    fn another_process_with_the_same_id_is_a_stranger() {
        let own = std::process::id();
        let (_, began_ticks) = process_state(own).unwrap();
        let record = Record { pid: own, began_ticks, log: PathBuf::new() };
        assert!(record.is_running());
        assert!(!Record { began_ticks: began_ticks + 1, ..record }.is_running());
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let text = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 1 0 5678 6 7";
        assert_eq!(parse_stat(text), Some(('S', 5_678)));
        assert_eq!(parse_stat("42 (a"), None);
    }
}
