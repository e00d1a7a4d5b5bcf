//! The registry on disk: an LMDB environment in a folder of its own, read whole at the start and written by one thread.
//!
//! Each record is JSON under its id, so that it can be read by other tools and gain fields. A batch is one transaction: after a crash it is
//! there whole or not at all.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, RwTxn, WithoutTls};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tana_store::DataLock;
use tana_types::key::PublicKey;
use thiserror::Error;

use crate::node::{Heartbeats, Node};

/// The most that the database may grow to, in bytes; address space only. Several times what the limits admit.
const MAP_BYTES: usize = 1 << 30;
/// The mode of the folder: nobody else reads it.
const FOLDER_MODE: u32 = 0o700;
/// Names of the databases.
const NAMES: [&str; 5] = ["meta", "nodes", "heartbeats", "nonces", "sovereigns"];
/// Where the format's number stands in `meta`.
const FORMAT_KEY: &[u8] = b"format";
/// The number of this format.
const FORMAT: &[u8] = b"1";

/// Databases of raw bytes.
type Bytemap = Database<'static, Bytes, Bytes>;

/// The database cannot be used. The text names the place and the remedy.
#[derive(Debug, Error)]
pub enum MeshStoreError {
    /// The folder cannot be made or locked, or is a file.
    #[error("the mesh's folder {}: {cause}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// LMDB refused.
    #[error("the mesh's database {}: {cause}; check the disk and the folder's permissions", path.display())]
    Lmdb {
        /// The folder.
        path: PathBuf,
        /// LMDB's own words.
        cause: heed::Error,
    },
    /// A record is not what this program writes.
    #[error("the mesh's database {} has a record in `{database}` that cannot be read: {cause}; restore the folder from a copy, or move it away and let all nodes register again", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// Which database.
        database: &'static str,
        /// What is wrong.
        cause: String,
    },
}

/// A sovereign key's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// For people.
    pub text: Option<String>,
    /// When it was given, in ms since 1970 by the mesh's clock.
    pub added_at: u64,
}

/// A nonce and the key that used it.
pub type NonceKey = (PublicKey, String);

/// All that is written in one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    /// Nodes as they are now; none when they are gone, and their heartbeats with them.
    pub nodes: Vec<(String, Option<Node>)>,
    /// Heartbeats as they are now.
    pub heartbeats: Vec<(String, Heartbeats)>,
    /// Used nonces and until when they are remembered.
    pub nonces: Vec<(NonceKey, u64)>,
    /// Nonces that may be forgotten.
    pub nonces_gone: Vec<NonceKey>,
    /// Sovereign keys with a description.
    pub descriptions: Vec<(PublicKey, Description)>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
            && self.heartbeats.is_empty()
            && self.nonces.is_empty()
            && self.nonces_gone.is_empty()
            && self.descriptions.is_empty()
    }
}

/// All that was found at the start.
#[derive(Debug, Default)]
pub struct Found {
    /// The nodes, with their heartbeats.
    pub nodes: Vec<Node>,
    /// Used nonces and until when they are remembered.
    pub nonces: Vec<(NonceKey, u64)>,
    /// Sovereign keys with a description.
    pub descriptions: Vec<(PublicKey, Description)>,
}

/// The open database. One process has it at a time.
pub struct Store {
    environment: Env<WithoutTls>,
    folder: PathBuf,
    nodes: Bytemap,
    heartbeats: Bytemap,
    nonces: Bytemap,
    sovereigns: Bytemap,
    _lock: DataLock,
}

impl Store {
    /// Opens the database in `folder`, which is made with mode 0700 when it is missing and set to it when it is not.
    ///
    /// # Errors
    /// When the folder is a file (as the old system's database was), is in use by another process, or holds something else.
    pub fn open(folder: &Path) -> Result<Self, MeshStoreError> {
        let refused = |cause: String| MeshStoreError::Folder { path: folder.to_path_buf(), cause };
        if folder.is_file() {
            return Err(refused(
                "is a file, perhaps the SQLite database of the old system; name a folder (`data` of [mesh] in sidecar.toml, or TANA_MESH_DB_PATH), nodes register there anew".to_owned(),
            ));
        }
        if holds_something_else(folder) {
            return Err(refused("holds files that are not the mesh's; name an empty folder or a new one".to_owned()));
        }
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(|error| refused(format!("cannot be made: {error}")))?;
        std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))
            .map_err(|error| refused(format!("cannot be closed to others: {error}")))?;
        let lock = DataLock::acquire(folder).map_err(|error| refused(error.to_string()))?;
        let lmdb = |cause| MeshStoreError::Lmdb { path: folder.to_path_buf(), cause };
        let environment = open_environment(folder).map_err(lmdb)?;
        let [meta, nodes, heartbeats, nonces, sovereigns] = open_databases(&environment).map_err(lmdb)?;
        let store =
            Self { environment, folder: folder.to_path_buf(), nodes, heartbeats, nonces, sovereigns, _lock: lock };
        store.check_format(meta)?;
        Ok(store)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn check_format(&self, meta: Bytemap) -> Result<(), MeshStoreError> {
        let mut transaction = self.environment.write_txn().map_err(|cause| self.lmdb(cause))?;
        let found = meta.get(&transaction, FORMAT_KEY).map_err(|cause| self.lmdb(cause))?.map(<[u8]>::to_vec);
        match found {
            None => {
                meta.put(&mut transaction, FORMAT_KEY, FORMAT).map_err(|cause| self.lmdb(cause))?;
                transaction.commit().map_err(|cause| self.lmdb(cause))
            }
            Some(found) if found == FORMAT => Ok(()),
            Some(found) => {
                let cause = format!("its format is `{}`, this program knows `1`", String::from_utf8_lossy(&found));
                Err(self.damaged("meta", cause))
            }
        }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When a record is not what this program writes.
    pub fn load(&self) -> Result<Found, MeshStoreError> {
        let mut found = Found::default();
        self.each(self.nodes, |_, value| {
            found.nodes.push(self.decode("nodes", value)?);
            Ok(())
        })?;
        let mut heartbeats = std::collections::HashMap::new();
        self.each(self.heartbeats, |key, value| {
            heartbeats.insert(key.to_vec(), self.decode::<Heartbeats>("heartbeats", value)?);
            Ok(())
        })?;
        for node in &mut found.nodes {
            node.heartbeats = heartbeats.remove(node.id.as_bytes()).unwrap_or_default();
        }
        self.each(self.nonces, |key, value| {
            let bad = || self.damaged("nonces", "a key that is none".to_owned());
            let (approver, nonce) = key.split_at_checked(32).ok_or_else(bad)?;
            let approver = PublicKey(approver.try_into().map_err(|_| bad())?);
            let nonce = String::from_utf8(nonce.to_vec()).map_err(|_| bad())?;
            found.nonces.push(((approver, nonce), self.decode("nonces", value)?));
            Ok(())
        })?;
        self.each(self.sovereigns, |key, value| {
            let key = key.try_into().map_err(|_| self.damaged("sovereigns", "a key that is none".to_owned()))?;
            found.descriptions.push((PublicKey(key), self.decode("sovereigns", value)?));
            Ok(())
        })?;
        Ok(found)
    }

    /// Writes a batch; it is durable when this returns.
    ///
    /// # Errors
    /// When it could not be written: then nothing of it was.
    pub fn write(&self, batch: &Batch) -> Result<(), MeshStoreError> {
        let mut transaction = self.environment.write_txn().map_err(|cause| self.lmdb(cause))?;
        self.put_all(&mut transaction, batch).map_err(|cause| self.lmdb(cause))?;
        transaction.commit().map_err(|cause| self.lmdb(cause))
    }

    fn put_all(&self, transaction: &mut RwTxn<'_>, batch: &Batch) -> Result<(), heed::Error> {
        for (id, node) in &batch.nodes {
            match node {
                Some(node) => self.nodes.put(transaction, id.as_bytes(), &encode(node)?)?,
                None => {
                    self.nodes.delete(transaction, id.as_bytes())?;
                    self.heartbeats.delete(transaction, id.as_bytes())?;
                }
            }
        }
        for (id, heartbeats) in &batch.heartbeats {
            self.heartbeats.put(transaction, id.as_bytes(), &encode(heartbeats)?)?;
        }
        for (key, until) in &batch.nonces {
            self.nonces.put(transaction, &nonce_key(key), &encode(until)?)?;
        }
        for key in &batch.nonces_gone {
            self.nonces.delete(transaction, &nonce_key(key))?;
        }
        for (key, description) in &batch.descriptions {
            self.sovereigns.put(transaction, &key.0, &encode(description)?)?;
        }
        Ok(())
    }

    fn each(
        &self,
        database: Bytemap,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), MeshStoreError>,
    ) -> Result<(), MeshStoreError> {
        let transaction = self.environment.read_txn().map_err(|cause| self.lmdb(cause))?;
        for entry in database.iter(&transaction).map_err(|cause| self.lmdb(cause))? {
            let (key, value) = entry.map_err(|cause| self.lmdb(cause))?;
            visit(key, value)?;
        }
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, database: &'static str, value: &[u8]) -> Result<T, MeshStoreError> {
        serde_json::from_slice(value).map_err(|error| self.damaged(database, error.to_string()))
    }

    fn lmdb(&self, cause: heed::Error) -> MeshStoreError {
        MeshStoreError::Lmdb { path: self.folder.clone(), cause }
    }

    fn damaged(&self, database: &'static str, cause: String) -> MeshStoreError {
        MeshStoreError::Damaged { path: self.folder.clone(), database, cause }
    }
}

/// Whether the folder is there, has files, and LMDB's is not among them: it must not be closed to others then.
fn holds_something_else(folder: &Path) -> bool {
    let Ok(mut entries) = std::fs::read_dir(folder) else { return false };
    !folder.join("data.mdb").is_file() && entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != "LOCK"))
}

/// JSON bytes of a record.
fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, heed::Error> {
    serde_json::to_vec(value).map_err(|error| heed::Error::Encoding(Box::new(error)))
}

/// The approver's key, then the nonce.
fn nonce_key((approver, nonce): &NonceKey) -> Vec<u8> {
    [&approver.0[..], nonce.as_bytes()].concat()
}

fn open_environment(folder: &Path) -> Result<Env<WithoutTls>, heed::Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    options.map_size(MAP_BYTES).max_dbs(u32::try_from(NAMES.len()).unwrap_or(u32::MAX)).max_readers(8);
    // SAFETY: the mapped file must not be changed except through LMDB, and not be opened twice in one process. The folder is this
    // program's own, [`DataLock`] keeps other processes out, and heed refuses a second opening in this one. No flag gives up safety.
    unsafe { options.open(folder) }
}

fn open_databases(environment: &Env<WithoutTls>) -> Result<[Bytemap; NAMES.len()], heed::Error> {
    let transaction = environment.write_txn()?;
    let opened = environment.create_databases_and_commit(transaction, |opener, transaction| {
        let [meta, nodes, heartbeats, nonces, sovereigns] =
            NAMES.map(|name| opener.create_database::<Bytes, Bytes>(transaction, Some(name)));
        Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((meta?, nodes?, heartbeats?, nonces?, sovereigns?)))
    })?;
    let (meta, nodes, heartbeats, nonces, sovereigns) = opened.commit().expect("it is never given up");
    Ok([meta, nodes, heartbeats, nonces, sovereigns])
}
