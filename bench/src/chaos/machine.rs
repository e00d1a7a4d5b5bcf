//! A validator's process on its machine: `tana validator`, which is this program again, run inside the machine's namespace.
//!
//! It may be killed, stopped, paused and started again. Its standard input is a pipe, so it ends when this program does, and it is in a process
//! group of its own, so Ctrl-C reaches only this program. Whether it is meant to run is known, so that one which ends by itself is noticed.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::network::Member;
use super::remains;
use super::space::Lab;

/// How often an end is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How much of a log's end is shown.
const TAIL_BYTES: u64 = 4_096;
/// How many lines of it.
const TAIL_LINES: usize = 8;

/// A machine that a validator may run on.
#[derive(Debug)]
pub struct Machine {
    /// The validator.
    pub member: Member,
    /// Further words for `tana validator`, such as `--join`.
    pub words: Vec<&'static str>,
    program: PathBuf,
    child: Option<Child>,
    is_paused: bool,
}

impl Machine {
    /// A machine for `member`; nothing runs yet. `program` is this program.
    pub fn new(member: Member, program: &Path) -> Self {
        Self { member, words: Vec::new(), program: program.to_owned(), child: None, is_paused: false }
    }

    /// Starts the validator.
    ///
    /// # Errors
    /// A sentence that says why there is no process.
    pub fn start(&mut self, lab: &Lab) -> Result<(), String> {
        if self.is_running() {
            return Err(format!("{} runs already", self.member.name));
        }
        let failed = |error: std::io::Error| format!("cannot start {}: {error}", self.member.name);
        let log = OpenOptions::new().create(true).append(true).open(self.member.log()).map_err(failed)?;
        let output = log.try_clone().map_err(failed)?;
        let mut command = lab.command(self.member.machine, &self.program);
        command.args(["tana", "validator", "--no-live", "--json", "--stop-with-input", "--config"]);
        command.arg(self.member.config()).args(&self.words);
        let child =
            command.stdin(Stdio::piped()).stdout(output).stderr(log).process_group(0).spawn().map_err(failed)?;
        remains::note_process(child.id());
        self.child = Some(child);
        Ok(())
    }

    /// Whether it is meant to run.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Whether it is meant to answer.
    pub fn is_answering(&self) -> bool {
        self.is_running() && !self.is_paused
    }

    /// Its process id, while it is meant to run.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it has although nobody told it to; then it no longer is meant to run.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        self.forget();
        Some(status)
    }

    /// An error when it has ended by itself.
    ///
    /// # Errors
    /// A sentence with its status and the end of its log.
    pub fn check(&mut self) -> Result<(), String> {
        match self.ended() {
            None => Ok(()),
            Some(status) => Err(format!("{} ended by itself ({status}):\n{}", self.member.name, self.tail())),
        }
    }

    /// Kills it: nothing of it runs any more when this returns.
    ///
    /// # Errors
    /// A sentence when it had ended by itself before.
    pub fn kill(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        let _ = child.kill();
        let status = child.wait().map_err(|error| format!("cannot wait for {}: {error}", self.member.name))?;
        self.forget();
        match status.signal() {
            Some(signal) if signal == Signal::KILL.as_raw() => Ok(()),
            _ => Err(format!("{} had ended by itself ({status}):\n{}", self.member.name, self.tail())),
        }
    }

    /// Lets it stand still: it has its memory, its files and its connections, and does nothing.
    pub fn pause(&mut self) {
        if let Some(id) = self.id() {
            remains::signal(id, Signal::STOP);
            self.is_paused = true;
        }
    }

    /// Lets it go on.
    pub fn resume(&mut self) {
        if let Some(id) = self.id() {
            remains::signal(id, Signal::CONT);
            self.is_paused = false;
        }
    }

    /// Tells it to finish what it has and end.
    pub fn terminate(&mut self) {
        self.resume();
        if let Some(id) = self.id() {
            remains::signal(id, Signal::TERM);
        }
    }

    /// Waits until it has ended, and tells how; kills it when it does not in time.
    ///
    /// # Errors
    /// A sentence when it does not end in time, or not well.
    pub fn await_end(&mut self, within: Duration) -> Result<(), String> {
        let deadline = Instant::now() + within;
        while self.is_running() {
            match self.ended() {
                Some(status) if status.success() => {}
                Some(status) => {
                    return Err(format!("{} did not stop cleanly ({status}):\n{}", self.member.name, self.tail()));
                }
                None if Instant::now() > deadline => {
                    self.kill()?;
                    return Err(format!(
                        "{} did not stop within {} s:\n{}",
                        self.member.name,
                        within.as_secs(),
                        self.tail()
                    ));
                }
                None => std::thread::sleep(LOOK),
            }
        }
        Ok(())
    }

    /// The last lines of its log.
    pub fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(self.member.log())?;
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

    fn forget(&mut self) {
        if let Some(child) = self.child.take() {
            remains::forget_process(child.id());
        }
        self.is_paused = false;
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
            self.forget();
        }
    }
}
