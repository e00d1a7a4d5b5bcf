//! A test network's trouble, read from a file: whom this node's links do not reach, and how late everything else is.
//!
//! `{"cut": ["127.0.0.1:9010"], "delay_ms": 100}`; the file is looked at four times a second, and without it nothing is wrong. Only a node
//! whose configuration names the file (`consensus.trouble`) has any of this.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tana_net::link::Trouble;

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The longest delay that makes sense: more is a partition.
const DELAY_MS_MAX: u64 = 10_000;
/// The largest file.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TroubleFile {
    /// Addresses of links that nothing reaches.
    pub cut: BTreeSet<SocketAddr>,
    /// Milliseconds by which everything else is late, 10,000 at most.
    pub delay_ms: u64,
}

impl TroubleFile {
    /// Reads `path`; no file is no trouble.
    ///
    /// # Errors
    /// A sentence when it cannot be read or is not valid.
    pub fn read(path: &Path) -> Result<Self, String> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(found) if found.len() > FILE_BYTES_MAX => {
                return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
            }
            _ => {}
        }
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }

    fn set(self, trouble: &Trouble) {
        trouble.set(self.cut, Duration::from_millis(self.delay_ms.min(DELAY_MS_MAX)));
    }
}

/// The trouble that `path` tells, for as long as somebody holds it.
pub fn follow(path: PathBuf) -> Arc<Trouble> {
    let trouble = Arc::new(Trouble::default());
    let weak = Arc::downgrade(&trouble);
    let spawned = std::thread::Builder::new().name("trouble".to_owned()).spawn(move || look(&path, &weak));
    if let Err(error) = spawned {
        tracing::warn!(%error, "there is no thread that looks for trouble, so there will be none");
    }
    trouble
}

fn look(path: &Path, trouble: &Weak<Trouble>) {
    let mut seen: Option<Option<SystemTime>> = None;
    while let Some(trouble) = trouble.upgrade() {
        let changed = std::fs::metadata(path).and_then(|found| found.modified()).ok();
        if seen != Some(changed) {
            match TroubleFile::read(path) {
                Ok(file) => {
                    if seen.is_some() || file != TroubleFile::default() {
                        tracing::warn!(cut = ?file.cut, delay_ms = file.delay_ms, "trouble on purpose: links are so from now on");
                    }
                    file.set(&trouble);
                    seen = Some(changed);
                }
                // It may be half written: it is read again at the next look.
                Err(error) => {
                    tracing::warn!(path = %path.display(), error, "trouble cannot be read; it stays as it was")
                }
            }
        }
        drop(trouble);
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_is_read_and_no_file_is_no_trouble() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trouble.json");
        assert_eq!(TroubleFile::read(&path), Ok(TroubleFile::default()));
        std::fs::write(&path, r#"{"cut":["127.0.0.1:9010"],"delay_ms":100}"#).unwrap();
        let file = TroubleFile::read(&path).unwrap();
        assert_eq!((file.cut.len(), file.delay_ms), (1, 100));
        for text in ["", "{", r#"{"cut":["nowhere"]}"#, r#"{"speed":1}"#] {
            std::fs::write(&path, text).unwrap();
            assert!(TroubleFile::read(&path).is_err(), "{text}");
        }
    }
}
