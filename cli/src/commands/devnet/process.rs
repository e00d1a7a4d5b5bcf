//! The validators as child processes of this one: this program again, each in a process group of its own so that Ctrl-C reaches only the
//! parent, each with a pipe as standard input so that none outlives it.
//!
//! A child ends with its handle: by SIGTERM, and if it does not end in time by SIGKILL, each by its own process id.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::network::Member;
use crate::error::CliError;

/// How long all together have to stop: a validator finishes what is inside for up to 30 s.
pub const STOP: Duration = Duration::from_secs(60);
/// How often ends are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How much of a log's end is shown when its validator failed.
const TAIL_BYTES: u64 = 4_096;
/// How many lines of it.
const TAIL_LINES: usize = 6;

/// A running validator.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts the validator of `member` with the program `program`.
    ///
    /// # Errors
    /// [`CliError`] when its log cannot be opened or the system gives no process.
    pub fn start(program: &Path, member: &Member) -> Result<Self, CliError> {
        let log = OpenOptions::new().create(true).append(true).open(member.log());
        let log = log.map_err(|source| CliError::file("open", &member.log(), source))?;
        let output = log.try_clone().map_err(|source| CliError::file("open", &member.log(), source))?;
        let mut command = Command::new(program);
        command.args(["validator", "--no-live", "--json", "--stop-with-input", "--config"]).arg(member.config());
        command.stdin(Stdio::piped()).stdout(output).stderr(log).process_group(0);
        let child = command.spawn().map_err(|source| CliError::System { action: "start a validator", source })?;
        Ok(Self { name: member.name.clone(), child, log: member.log(), ended: None })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// An error if it has ended although nobody told it to.
    ///
    /// # Errors
    /// [`CliError::Node`] with the end of its log.
    pub fn check(&mut self) -> Result<(), CliError> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(CliError::Node(format!(
                "{} ended by itself ({status}); the end of {}:\n{}",
                self.name,
                self.log.display(),
                tail(&self.log)
            ))),
        }
    }

    /// Tells it to finish what it has and stop.
    pub fn terminate(&mut self) {
        if self.ended().is_none()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            // It may end at this moment, which is what is asked for.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Stops all: SIGTERM to each, SIGKILL to those that are still there after [`STOP`]. Says which did not end cleanly.
pub fn stop_all(processes: &mut [Process]) -> Vec<String> {
    processes.iter_mut().for_each(Process::terminate);
    let deadline = Instant::now() + STOP;
    while processes.iter_mut().any(|process| process.ended().is_none()) && Instant::now() < deadline {
        std::thread::sleep(LOOK);
    }
    let mut bad = Vec::new();
    for process in processes {
        match process.ended() {
            Some(status) if status.success() => {}
            Some(status) => bad.push(format!(
                "{} did not stop cleanly ({status}); the end of {}:\n{}",
                process.name,
                process.log.display(),
                tail(&process.log)
            )),
            None => {
                process.kill();
                bad.push(format!("{} did not stop within {} s and was killed", process.name, STOP.as_secs()));
            }
        }
    }
    bad
}

/// The last lines of a log.
pub fn tail(path: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tana_types::key::PublicKey;

    /// A member whose program is `script` instead of a validator.
    fn start(folder: &Path, script: &str) -> Process {
        let program = folder.join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let member = Member {
            name: "validator-0".to_owned(),
            key: PublicKey([0; 32]),
            folder: folder.to_owned(),
            transactions: address,
            http: address,
        };
        Process::start(&program, &member).unwrap()
    }

    #[test]
    fn one_that_ends_by_itself_is_an_error_with_the_end_of_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start(folder.path(), "echo first; echo the reason >&2; exit 7");
        while process.ended().is_none() {
            std::thread::yield_now();
        }
        let error = process.check().unwrap_err().to_string();
        assert!(error.contains("the reason") && error.contains('7') && error.contains("node.log"), "{error}");
        assert_eq!(stop_all(&mut [process]).len(), 1);
    }

    #[test]
    fn one_that_runs_is_told_to_stop() {
        let folder = tempfile::tempdir().unwrap();
        let mut processes = [start(folder.path(), "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")];
        while !std::fs::read_to_string(folder.path().join("node.log")).unwrap().contains("ready") {
            std::thread::yield_now();
        }
        processes[0].check().unwrap();
        assert_eq!(stop_all(&mut processes), Vec::<String>::new());
    }

    #[test]
    fn one_whose_handle_is_gone_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let process = start(folder.path(), "exec sleep 1000");
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}/stat")).exists());
    }
}
