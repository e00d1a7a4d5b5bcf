//! `tana init`: a home with a validator's key, a sovereign's key, a genesis and a configuration, ready for `tana validator`.
//!
//! 1. Look at what is there. Anything of an earlier home is a reason to refuse; with --force it is moved aside, never deleted:
//!    a sovereign's key that is gone is gone for good.
//! 2. Make the keys and both texts, and check them, before anything is written.
//! 3. Write the files, each of which must be new.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use serde_json::json;
use tana_engine::consensus::vote_record;
use tana_types::genesis::{Genesis, Rules};

use crate::arguments::InitArguments;
use crate::error::CliError;
use crate::genesis_text::{GenesisChoices, genesis_text};
use crate::home::{Home, create_private_folder, loose_mode};
use crate::keys::{self, KeyOwner};
use crate::node_text::{NodeChoices, node_text};
use crate::output::{Output, grouped};
use crate::time::now_ms;

/// How far below the port for transactions that of the links is: 9002 and 9000.
const LINK_PORT_OFFSET: u16 = 2;

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The genesis.
    pub genesis: Genesis,
    /// Where an earlier home was moved.
    pub moved_to: Option<PathBuf>,
}

/// Runs `tana init`.
///
/// # Errors
/// [`CliError`] when the home exists or cannot be written.
pub fn run(choices: &InitArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let made = make_home(choices, home)?;
    if let Ok(Some(mode)) = loose_mode(home.folder()) {
        let folder = home.folder().display();
        output
            .note(format!("note: others may look into {folder} (mode {mode:04o}); chmod 700 {folder} shuts them out"));
    }
    let genesis = &made.genesis;
    let hash = hex::encode(genesis.hash());
    let summary = json!({
        "home": home.folder(),
        "chain": genesis.chain,
        "genesis_hash": hash,
        "validator": genesis.validators[0].key,
        "sovereign": genesis.sovereign.key,
        "accounts": genesis.bulk.as_ref().map_or(0, |bulk| bulk.count),
        "files": { "validator": home.validator_key(), "sovereign": home.sovereign_key(),
                   "genesis": home.genesis(), "node": home.node_config() },
        "moved_to": made.moved_to,
    });
    output.result(&summary, |output| {
        output.pairs([
            ("chain", genesis.chain.clone()),
            ("genesis hash", hash.clone()),
            ("validator", format!("{}  {}", genesis.validators[0].key, home.validator_key().display())),
            ("sovereign", format!("{}  {}", genesis.sovereign.key, home.sovereign_key().display())),
            ("genesis", home.genesis().display().to_string()),
            ("configuration", home.node_config().display().to_string()),
            ("test accounts", grouped(genesis.bulk.as_ref().map_or(0, |bulk| bulk.count).into())),
        ]);
        if let Some(folder) = &made.moved_to {
            output.line(format!("The earlier home was moved to {}.", folder.display()));
        }
        output.line(next_steps(home));
    });
    Ok(())
}

fn next_steps(home: &Home) -> String {
    let default = Home::resolve(None).is_ok_and(|standard| standard == *home);
    let option = if default { String::new() } else { format!(" --home {}", home.folder().display()) };
    format!(
        "\nNext:\n  \
         tana validator{option}\n\
         and in another terminal:\n  \
         tana status{option}\n  \
         tana keys new @alice{option}\n  \
         tana submit user-creation --key @alice{option}\n  \
         tana submit transfer --key sovereign --to @alice --amount 12.50 --currency USD{option}\n  \
         tana account @alice{option}\n\
         Keep sovereign.json somewhere safe: whoever has it rules the chain, and nobody can replace it."
    )
}

/// Makes the home: what `tana init` does, without printing.
///
/// # Errors
/// [`CliError`] when the home exists (without `force`), a choice breaks a rule, or a file cannot be written.
pub fn make_home(choices: &InitArguments, home: &Home) -> Result<Made, CliError> {
    let now_ms = now_ms();
    let existing = existing(home);
    if !existing.is_empty() && !choices.force {
        let names = existing.iter().map(|path| file_name(path)).collect::<Vec<_>>().join(", ");
        return Err(CliError::HomeExists { folder: home.folder().to_owned(), names });
    }
    let (validator, sovereign) = (keys::new_key()?, keys::new_key()?);
    let bulk = (choices.accounts > 0).then(|| bulk_seed(choices)).transpose()?;
    let text = genesis_text(&GenesisChoices {
        chain: choices.chain.clone(),
        timestamp_ms: now_ms,
        sovereign: keys::public_key(&sovereign),
        validators: vec![(keys::public_key(&validator), link_address(choices.listen).to_string())],
        rules: Rules::default(),
        bulk: bulk.map(|seed| (seed, choices.accounts)),
    })?;
    let genesis = Genesis::parse(&text)?;

    create_private_folder(home.folder())?;
    let moved_to = if existing.is_empty() { None } else { Some(move_aside(home, &existing, now_ms)?) };
    write_files(choices, home, &genesis, &text, &validator, &sovereign, now_ms).inspect_err(|error| {
        // Half a home would only be in the way of the next try. A file that is there although it was not a moment ago belongs to
        // somebody else who is making this home: then nothing is touched.
        if matches!(error, CliError::FileExists(_)) {
            return;
        }
        for path in [home.validator_key(), home.sovereign_key(), home.genesis(), home.node_config()] {
            let _ = std::fs::remove_file(path);
        }
        let _ = std::fs::remove_file(vote_record(&home.data()));
        let _ = std::fs::remove_dir(home.data());
    })?;
    Ok(Made { genesis, moved_to })
}

fn write_files(
    choices: &InitArguments,
    home: &Home,
    genesis: &Genesis,
    text: &str,
    validator: &SigningKey,
    sovereign: &SigningKey,
    now_ms: u64,
) -> Result<(), CliError> {
    keys::write_key_file(&home.validator_key(), validator, &KeyOwner::default(), "validator", now_ms)?;
    create_private_folder(&home.data())?;
    keys::write_vote_record(&home.data())?;
    let owner = KeyOwner { username: genesis.sovereign.username.clone(), display_name: String::new() };
    keys::write_key_file(&home.sovereign_key(), sovereign, &owner, "sovereign", now_ms)?;
    keys::write_new_file(&home.genesis(), text.as_bytes(), 0o644)?;
    let links = link_address(choices.listen);
    let node = NodeChoices { links, consensus: true, ..NodeChoices::listening(choices.listen) };
    keys::write_new_file(&home.node_config(), node_text(&node).as_bytes(), 0o644)
}

/// What is there of an earlier home.
fn existing(home: &Home) -> Vec<PathBuf> {
    let candidates =
        [home.validator_key(), home.sovereign_key(), home.genesis(), home.node_config(), home.data(), home.users()];
    // A link that leads nowhere is there too.
    candidates.into_iter().filter(|path| path.symlink_metadata().is_ok()).collect()
}

fn move_aside(home: &Home, existing: &[PathBuf], now_ms: u64) -> Result<PathBuf, CliError> {
    let folder = home.folder().join(format!("replaced-{now_ms}"));
    create_private_folder(&folder)?;
    for path in existing {
        let to = folder.join(file_name(path));
        std::fs::rename(path, &to).map_err(|source| CliError::file("move aside", path, source))?;
    }
    Ok(folder)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn bulk_seed(choices: &InitArguments) -> Result<String, CliError> {
    match &choices.seed {
        Some(seed) => Ok(seed.clone()),
        None => Ok(hex::encode(&keys::new_key()?.as_bytes()[..16])),
    }
}

/// Where the validator's links will listen.
fn link_address(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(listen.ip(), listen.port().saturating_sub(LINK_PORT_OFFSET))
}
