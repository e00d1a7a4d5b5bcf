//! Runs the built `tana` binary in a temporary home, as a person would.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

#[allow(dead_code, reason = "each test binary uses a part of this")]
impl Ran {
    /// The result as JSON; the run must have ended with `code`.
    #[track_caller]
    pub fn json(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{self:?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The run must have ended with 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// The run must have ended with `code` and said each of `texts` as an error.
    #[track_caller]
    pub fn fails(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.stderr.contains(text), "no `{text}` in: {}", self.stderr);
        }
    }
}

/// A home that goes away with the test.
pub struct TestHome {
    folder: TempDir,
}

#[allow(dead_code, reason = "each test binary uses a part of this")]
impl TestHome {
    /// An empty folder whose sub-folder `home` is the home; nothing is made yet.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A home after `tana init` with a listener on a free port.
    pub fn initialised(chain: &str) -> Self {
        let home = Self::empty();
        home.tana(&["init", "--chain", chain, "--listen", "127.0.0.1:0"]).ok();
        home
    }

    /// A path in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    /// A path beside the home.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tana"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("TANA_HOME", self.path("")).env("HOME", self.folder.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs the command to its end.
    pub fn tana(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
