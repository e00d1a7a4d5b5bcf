//! `tana keys`: makes, shows and lists key files. A secret is printed only when asked for by name.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use tana_types::key::PublicKey;
use tana_types::username::Username;

use crate::error::CliError;
use crate::home::{Home, loose_mode};
use crate::keys::{self, KeyOwner};
use crate::output::Output;
use crate::time::now_ms;

/// The commands about keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key file, readable by you alone
    #[command(after_help = "Examples:\n  \
        tana keys new @alice                            HOME/users/@alice.json\n  \
        tana keys new @alice --display-name Alice\n  \
        tana keys new --out ./till.json")]
    New {
        /// The username that it is for
        #[arg(value_name = "@USER", required_unless_present = "out")]
        name: Option<String>,
        /// The file to write [default: HOME/users/@USER.json]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// A name for people, up to 100 bytes
        #[arg(long, default_value = "", value_name = "TEXT")]
        display_name: String,
    },
    /// Show the public key of a key file
    #[command(
        after_help = "Examples:\n  tana keys show @alice\n  tana keys show sovereign\n  tana keys show ./till.json --secret"
    )]
    Show {
        /// A key file, or a name from `tana keys list`
        #[arg(value_name = "FILE|NAME")]
        key: String,
        /// Print the secret key too
        #[arg(long)]
        secret: bool,
    },
    /// List the keys of the home
    #[command(after_help = "Examples:\n  tana keys list\n  tana keys list --json")]
    List,
}

/// Runs `tana keys ...`.
///
/// # Errors
/// [`CliError`] when a key file cannot be read or written.
pub fn run(command: &KeysCommand, home: &Home, output: &Output) -> Result<(), CliError> {
    match command {
        KeysCommand::New { name, out, display_name } => {
            new(name.as_deref(), out.as_deref(), display_name, home, output)
        }
        KeysCommand::Show { key, secret } => show(key, *secret, home, output),
        KeysCommand::List => list(home, output),
    }
}

fn new(
    name: Option<&str>,
    out: Option<&Path>,
    display_name: &str,
    home: &Home,
    output: &Output,
) -> Result<(), CliError> {
    let username = name.map(str::parse::<Username>).transpose()?;
    let path = match (out, &username) {
        (Some(path), _) => path.to_owned(),
        (None, Some(username)) => home.user_key(username.as_str()),
        (None, None) => return Err(CliError::Usage("give an @username or --out FILE".to_owned())),
    };
    let owner = KeyOwner {
        username: username.map_or_else(String::new, |username| username.to_string()),
        display_name: display_name.to_owned(),
    };
    let public = make(&path, &owner, home)?;
    output.result(&json!({ "public_key": public, "file": path, "username": owner.username }), |output| {
        output.pairs([("public key", public.to_string()), ("file", path.display().to_string())]);
        let shown = if out.is_some() { path.display().to_string() } else { owner.username.clone() };
        output.note(format!("Next: tana submit user-creation --key {shown}"));
    });
    Ok(())
}

/// Writes a new key to `path`; gives its public half.
///
/// # Errors
/// [`CliError`] when the file is there already or cannot be written.
pub fn make(path: &Path, owner: &KeyOwner, home: &Home) -> Result<PublicKey, CliError> {
    let key = keys::new_key()?;
    keys::write_user_key(home, path, &key, owner, now_ms())?;
    Ok(keys::public_key(&key))
}

fn show(key: &str, secret: bool, home: &Home, output: &Output) -> Result<(), CliError> {
    let file = keys::read_key_file(&keys::locate_key(home, key), output)?;
    let mut value = json!({ "public_key": file.public_key(), "file": file.path, "username": file.owner.username });
    let printed = keys::print_secret(&file.key);
    if secret {
        value["private_key"] = json!(printed.as_str());
    }
    output.result(&value, |output| {
        let mut pairs = vec![("public key", file.public_key().to_string())];
        if !file.owner.username.is_empty() {
            pairs.push(("username", file.owner.username.clone()));
        }
        pairs.push(("file", file.path.display().to_string()));
        if secret {
            pairs.push(("private key", printed.to_string()));
        }
        output.pairs(pairs);
    });
    Ok(())
}

fn list(home: &Home, output: &Output) -> Result<(), CliError> {
    let mut paths = vec![home.known_validator_key(), home.known_sovereign_key()];
    if let Ok(entries) = std::fs::read_dir(home.users()) {
        let mut users: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        users.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        users.sort();
        paths.extend(users);
    }
    paths.retain(|path| path.exists());
    let (mut values, mut rows) = (Vec::new(), Vec::new());
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (public, note) = match tana_engine::keyfile::load_key_file(&path) {
            Ok(key) => match loose_mode(&path) {
                Ok(Some(mode)) => (keys::public_key(&key).to_string(), format!("mode {mode:04o}: run chmod 600")),
                _ => (keys::public_key(&key).to_string(), String::new()),
            },
            Err(error) => (String::new(), error.to_string()),
        };
        values.push(json!({ "name": name, "public_key": public, "file": path, "note": note }));
        rows.push(vec![name, public, note]);
    }
    output.result(&values, |output| {
        if rows.is_empty() {
            output.note(format!(
                "no keys in {}; `tana init` or `tana keys new @alice` makes some",
                home.folder().display()
            ));
        } else {
            output.rows(&["name", "public key", ""], &[], rows);
        }
    });
    Ok(())
}
