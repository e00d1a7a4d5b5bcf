//! Opening the LMDB environment: the crate's only unsafe code.
//!
//! The map is sized hugely at the start, because growing it later is forbidden while anybody reads. It is address space only;
//! where the system limits that, smaller sizes are tried, each a quarter of the one before.

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};

use super::{CheckpointMode, lmdb_error, no_checkpoint};
use crate::StoreError;

/// LMDB's data file.
const DATA_FILE: &str = "data.mdb";
/// Smallest map that is still tried.
const MAP_BYTES_MIN: usize = 1 << 30;
/// Reader slots: processes and threads that read at the same time.
const READERS_MAX: u32 = 126;

/// Opens the environment with the largest map that the system grants, up to `map_bytes`.
pub(super) fn open_environment(
    folder: &Path,
    mode: CheckpointMode,
    map_bytes: usize,
) -> Result<Env<WithoutTls>, StoreError> {
    if mode == CheckpointMode::ReadOnly {
        if !folder.join(DATA_FILE).is_file() {
            return Err(no_checkpoint(folder));
        }
    } else {
        std::fs::create_dir_all(folder).map_err(|source| StoreError::io("create", folder, source, 0))?;
    }
    let mut size = map_bytes;
    loop {
        match open_sized(folder, mode, size) {
            Err(heed::Error::Io(error))
                if error.kind() == std::io::ErrorKind::OutOfMemory && size / 4 >= MAP_BYTES_MIN =>
            {
                size /= 4;
            }
            Err(error) => return Err(lmdb_error("be opened", folder, error)),
            Ok(environment) => {
                if size < map_bytes {
                    tracing::warn!(
                        folder = %folder.display(), wanted = map_bytes, granted = size,
                        "the system grants the checkpoint less address space than wanted; it cannot outgrow it"
                    );
                }
                return Ok(environment);
            }
        }
    }
}

/// Opens the environment with a map of `size` bytes.
fn open_sized(folder: &Path, mode: CheckpointMode, size: usize) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(size).max_dbs(4).max_readers(READERS_MAX);
    if mode == CheckpointMode::ReadOnly {
        // SAFETY: READ_ONLY takes rights away and weakens none of LMDB's guarantees.
        unsafe { options.flags(EnvFlags::READ_ONLY) };
    }
    // SAFETY: the mapped file must not be changed except through LMDB, and not be opened twice in one process. The node owns its
    // data folder (`DataLock`), other processes open it read-only through this module, and heed refuses a second opening in
    // this process. The flags that give up safety (WRITEMAP, NOSYNC, NOLOCK) are not used.
    unsafe { options.open(folder) }
}
