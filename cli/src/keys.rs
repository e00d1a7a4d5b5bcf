//! Key files: making them, writing them so that only their owner can read them, reading them with a warning when others can.
//!
//! The form is that of the system that this one replaces, so its files carry over: JSON with `publicKey` and `privateKey` as
//! `ed25519_` and 64 hexadecimal digits, and for users `username`, `displayName`, `role` and `createdAt` too. Secret text lives in
//! memory that is wiped when it is dropped.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use rand::TryRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use tana_engine::consensus::{create_vote_record, vote_record};
use tana_engine::keyfile::load_key_file;
use tana_types::key::{KEY_PREFIX, PublicKey};
use tana_types::username::Username;
use zeroize::{Zeroize, Zeroizing};

use crate::error::CliError;
use crate::home::{Home, create_private_folder, loose_mode};
use crate::output::Output;
use crate::time::iso8601;

/// Who a key belongs to, as far as its file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyOwner {
    /// The username with its `@`, or empty.
    pub username: String,
    /// The display name, or empty.
    pub display_name: String,
}

/// A key file that was read.
pub struct KeyFile {
    /// Where it lies.
    pub path: PathBuf,
    /// The key.
    pub key: SigningKey,
    /// Whose it is.
    pub owner: KeyOwner,
}

impl KeyFile {
    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        public_key(&self.key)
    }
}

/// The public key of a key.
pub fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key().to_bytes())
}

/// A new key from the system's source of randomness.
pub fn new_key() -> Result<SigningKey, CliError> {
    let mut secret = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(secret.as_mut_slice()).map_err(|error| CliError::System {
        action: "get randomness from the system",
        source: io::Error::other(error.to_string()),
    })?;
    Ok(SigningKey::from_bytes(&secret))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Content<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    public_key: String,
    private_key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    display_name: &'a str,
    role: &'a str,
    created_at: String,
}

/// The secret key in its printed form.
pub fn print_secret(key: &SigningKey) -> Zeroizing<String> {
    let mut digits = hex::encode(key.as_bytes());
    let text = Zeroizing::new(format!("{KEY_PREFIX}{digits}"));
    digits.zeroize();
    text
}

/// Writes a key file with mode 0600. A file that exists is never replaced.
pub fn write_key_file(
    path: &Path,
    key: &SigningKey,
    owner: &KeyOwner,
    role: &str,
    created_ms: u64,
) -> Result<(), CliError> {
    let secret = print_secret(key);
    let content = Content {
        username: &owner.username,
        public_key: public_key(key).to_string(),
        private_key: &secret,
        display_name: &owner.display_name,
        role,
        created_at: iso8601(created_ms),
    };
    let mut text = Zeroizing::new(Vec::with_capacity(1_024));
    serde_json::to_writer_pretty(&mut *text, &content)
        .map_err(|error| CliError::file("write", path, io::Error::other(error)))?;
    text.push(b'\n');
    write_new_file(path, &text, 0o600)
}

/// Writes down in a data folder that the key for it was just made and has not voted: without this word a validator does not vote.
///
/// # Errors
/// [`CliError::FileExists`] when the folder has such a word already, [`CliError::File`] when it cannot be written.
pub fn write_vote_record(data: &Path) -> Result<(), CliError> {
    let path = vote_record(data);
    create_vote_record(data).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::FileExists(path),
        _ => CliError::file("write", &path, source),
    })
}

/// Writes a file that must not exist yet, and makes it durable. What cannot be written whole is not left behind.
pub fn write_new_file(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CliError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = opened.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::FileExists(path.to_owned()),
        _ => CliError::file("make", path, source),
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|source| {
        let _ = std::fs::remove_file(path);
        CliError::file("write", path, source)
    })
}

/// Makes the folder of a user's key file and the file.
pub fn write_user_key(
    home: &Home,
    path: &Path,
    key: &SigningKey,
    owner: &KeyOwner,
    now_ms: u64,
) -> Result<(), CliError> {
    if path.starts_with(home.users()) {
        create_private_folder(home.folder())?;
        create_private_folder(&home.users())?;
    }
    write_key_file(path, key, owner, "user", now_ms)
}

/// Finds the file that `text` means: a path, or the name of a key in the home (`@alice`, `alice`, `sovereign`, `validator`).
pub fn locate_key(home: &Home, text: &str) -> PathBuf {
    let given = Path::new(text);
    if text.contains('/') || text.ends_with(".json") || given.exists() {
        return given.to_owned();
    }
    match text {
        "sovereign" => home.known_sovereign_key(),
        "validator" => home.known_validator_key(),
        name => match name.parse::<Username>() {
            Ok(username) => home.user_key(username.as_str()),
            Err(_) => given.to_owned(),
        },
    }
}

/// Reads a key file; warns when others can read it too.
pub fn read_key_file(path: &Path, output: &Output) -> Result<KeyFile, CliError> {
    let key = load_key_file(path)?;
    if let Ok(Some(mode)) = loose_mode(path) {
        let shown = path.display();
        output.warn(format!(
            "others on this machine may use the key file {shown} (mode {mode:04o}); run: chmod 600 {shown}"
        ));
    }
    // The file was valid a moment ago; who owns it is a courtesy, so a failure here leaves it unknown.
    let text = Zeroizing::new(std::fs::read_to_string(path).unwrap_or_default());
    let owner = serde_json::from_str(&text).unwrap_or_default();
    Ok(KeyFile { path: path.to_owned(), key, owner })
}
