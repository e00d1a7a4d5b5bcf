//! A validator process that may be killed at any moment, ready or not, and may stop by itself.
//!
//! [`crate::child::Validator`] waits until its process is ready and expects it to end well; the long tests expect neither. So here the first
//! line is read by a thread and fetched with a deadline, and what the process prints to standard error is kept (its end, bounded) for
//! the report.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;

use crate::child::Ready;

/// The most that is kept of what a process prints to standard error.
const ERRORS_BYTES_MAX: usize = 64 * 1024;
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(5);

/// Why a validator could not be used.
#[derive(Debug, Error)]
pub enum VictimError {
    /// The system refused.
    #[error("cannot {action} the validator's process: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended before it was ready.
    #[error("the validator did not start: {0}")]
    Ended(String),
    /// It was not ready in time.
    #[error("the validator was not ready after {0:?}; a replay that hangs is a defect")]
    Late(Duration),
    /// It did not end in time.
    #[error("the validator did not stop within {0:?}")]
    Hangs(Duration),
    /// It ended, but not well.
    #[error("the validator ended with {status}: {errors}")]
    Failed {
        /// Its status.
        status: ExitStatus,
        /// The end of what it printed.
        errors: String,
    },
}

fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> VictimError {
    move |source| VictimError::System { action, source }
}

/// A validator's process. It is killed with its handle.
pub struct Victim {
    child: Child,
    first_line: Receiver<String>,
    errors: Arc<Mutex<String>>,
    ready: Option<Ready>,
}

impl Victim {
    /// Starts `program validator config`; it is not ready yet when this returns.
    pub fn spawn(program: &Path, config: &Path) -> Result<Self, VictimError> {
        let mut command = Command::new(program);
        command.arg("validator").arg(config);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(system("start"))?;
        let (line_sender, first_line) = channel();
        if let Some(output) = child.stdout.take() {
            // Both threads end with the process, whose pipes they read.
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut line = String::new();
                if output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                    let _ = line_sender.send(line);
                }
                drop(line_sender);
                let _ = std::io::copy(&mut output, &mut std::io::sink());
            });
        }
        let errors = Arc::new(Mutex::new(String::new()));
        if let Some(output) = child.stderr.take() {
            let errors = errors.clone();
            std::thread::spawn(move || keep(output, &errors));
        }
        Ok(Self { child, first_line, errors, ready: None })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it takes transactions.
    pub fn wait_ready(&mut self, timeout: Duration) -> Result<Ready, VictimError> {
        if let Some(ready) = &self.ready {
            return Ok(ready.clone());
        }
        match self.first_line.recv_timeout(timeout) {
            Ok(line) => {
                let ready: Ready =
                    serde_json::from_str(&line).map_err(|error| VictimError::Ended(error.to_string()))?;
                self.ready = Some(ready.clone());
                Ok(ready)
            }
            Err(RecvTimeoutError::Timeout) => Err(VictimError::Late(timeout)),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.wait(timeout)?;
                Err(VictimError::Ended(format!("{status}: {}", self.errors())))
            }
        }
    }

    /// The end of what it printed to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned()
    }

    /// Its status, if it has ended.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, VictimError> {
        self.child.try_wait().map_err(system("wait for"))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, timeout: Duration) -> Result<ExitStatus, VictimError> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.status()? {
                Some(status) => return Ok(status),
                None if Instant::now() > deadline => return Err(VictimError::Hangs(timeout)),
                None => std::thread::sleep(LOOK),
            }
        }
    }

    /// Kills it at once, as a power failure of the process: nothing of it runs any more when this returns.
    pub fn kill(&mut self) -> Result<ExitStatus, VictimError> {
        self.child.kill().map_err(system("kill"))?;
        self.child.wait().map_err(system("wait for"))
    }

    /// Stops it cleanly.
    pub fn stop(mut self, timeout: Duration) -> Result<(), VictimError> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself, which its status tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        let status = self.wait(timeout)?;
        match status.success() {
            true => Ok(()),
            false => Err(VictimError::Failed { status, errors: self.errors() }),
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Reads until the end and keeps the last part.
fn keep(mut output: impl Read, errors: &Mutex<String>) {
    let mut bytes = [0; 4_096];
    while let Ok(count) = output.read(&mut bytes) {
        if count == 0 {
            break;
        }
        let mut kept = errors.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if kept.len() > ERRORS_BYTES_MAX {
            let from = kept.ceil_char_boundary(kept.len() - ERRORS_BYTES_MAX / 2);
            *kept = kept.split_off(from);
        }
    }
}

/// Anonymous resident memory of a process in bytes: what it allocated, mapped files left out. None where `/proc` does not tell.
pub fn anonymous_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1_024)
}
