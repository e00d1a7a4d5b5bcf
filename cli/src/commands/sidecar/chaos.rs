//! The chaos panel's hands: faults of the devnet that `tana start` runs on this machine.
//!
//! | action | what happens |
//! |---|---|
//! | kill | SIGKILL to the validator's process |
//! | partition | links between the named validators and all others lose everything (`consensus.trouble`) |
//! | lag | what the validator sends to others comes late |
//! | corrupt | the validator is killed, one byte of its newest log segment is changed, and it is started again: it must refuse to run |
//! | byzantine | a twin of the validator starts: the same key on a copy of its data, so that it votes twice |
//! | recover | all of it undone: the byte put back, twins ended, links whole, dead validators started |
//!
//! Only processes of the home's own records are signalled.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tana_engine::config::NodeConfig;
use tana_engine::trouble::TroubleFile;
use tana_visualizer::ChaosError;
use tana_visualizer::chaos::{Chaos, Done};

use crate::commands::devnet::network::Network;
use crate::commands::start::layout::{Place, network_folder, pids_folder, places};
use crate::commands::start::processes::Processes;
use crate::home::Home;

/// How long a process may take to end by SIGKILL.
const KILLED: Duration = Duration::from_secs(5);
/// How much data a twin's copy may be.
const TWIN_BYTES_MAX: u64 = 4 << 30;
/// From a validator's ports to its twin's: the next validator's begin at 10.
const TWIN_PORTS: u16 = 5;

/// A byte that was changed, so that it can be put back.
#[derive(Debug, Serialize, Deserialize)]
struct Damage {
    file: PathBuf,
    at: u64,
    was: u8,
}

/// Acts on the devnet of a home.
pub struct LocalChaos {
    home: PathBuf,
}

type Outcome = Result<String, ChaosError>;

fn failed(error: impl std::fmt::Display) -> ChaosError {
    ChaosError::Failed(error.to_string())
}

impl LocalChaos {
    /// The devnet of `home`.
    pub fn new(home: PathBuf) -> Self {
        Self { home }
    }

    fn hands(&self) -> Result<Hands, ChaosError> {
        let home = Home::resolve(Some(&self.home)).map_err(failed)?;
        let network = Network::open(&network_folder(&home), None).map_err(failed)?;
        let places = places(&network).map_err(failed)?;
        Ok(Hands { processes: Processes::new(pids_folder(&home)), places })
    }

    /// Runs `act` where it may wait for files and processes.
    fn act<'a>(&'a self, act: impl FnOnce(Hands) -> Outcome + Send + 'static) -> Done<'a> {
        let hands = self.hands();
        Box::pin(async move {
            let hands = hands?;
            tokio::task::spawn_blocking(move || act(hands)).await.unwrap_or_else(|error| Err(failed(error)))
        })
    }
}

impl Chaos for LocalChaos {
    fn kill<'a>(&'a self, validator: &'a str) -> Done<'a> {
        let id = validator.to_owned();
        self.act(move |hands| {
            let place = hands.place(&id)?;
            hands.kill(place)?;
            Ok(format!("{} was killed", place.validator()))
        })
    }

    fn partition<'a>(&'a self, validators: &'a [String]) -> Done<'a> {
        let ids = validators.to_vec();
        self.act(move |hands| {
            let apart: Vec<&Place> = ids.iter().map(|id| hands.place(id)).collect::<Result<_, _>>()?;
            let is_apart = |place: &Place| apart.iter().any(|one| one.number == place.number);
            for place in &hands.places {
                let cut =
                    hands.places.iter().filter(|other| is_apart(other) != is_apart(place)).map(|other| other.links);
                let delay_ms = read_trouble(place)?.delay_ms;
                write_trouble(place, &TroubleFile { cut: cut.collect(), delay_ms })?;
            }
            Ok(format!("{} of {} validators are cut off from the others", apart.len(), hands.places.len()))
        })
    }

    fn lag<'a>(&'a self, validator: &'a str, latency_ms: u64) -> Done<'a> {
        let id = validator.to_owned();
        self.act(move |hands| {
            let place = hands.place(&id)?;
            let cut = read_trouble(place)?.cut;
            write_trouble(place, &TroubleFile { cut, delay_ms: latency_ms })?;
            Ok(format!("what {} sends is {latency_ms} ms late", place.validator()))
        })
    }

    fn corrupt<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a> {
        let (id, kind) = (validator.to_owned(), kind.unwrap_or("log").to_owned());
        self.act(move |hands| {
            let log = match kind.as_str() {
                "log" | "blocks" | "block" => "blocks",
                "transactions" | "batches" => "batches",
                other => {
                    return Err(ChaosError::UnknownKind(format!(
                        "there is no data called {other}: blocks or transactions"
                    )));
                }
            };
            let place = hands.place(&id)?;
            hands.corrupt(place, log)
        })
    }

    fn byzantine<'a>(&'a self, validator: &'a str, kind: Option<&'a str>) -> Done<'a> {
        let (id, kind) = (validator.to_owned(), kind.unwrap_or("double-vote").to_owned());
        self.act(move |hands| match kind.as_str() {
            "double-vote" | "equivocate" | "twin" => hands.twin(hands.place(&id)?),
            other => Err(ChaosError::UnknownKind(format!(
                "no validator can be made to {other}: double-vote is what there is"
            ))),
        })
    }

    fn recover(&self) -> Done<'_> {
        self.act(|hands| hands.recover())
    }
}

/// The validators and their processes.
struct Hands {
    processes: Processes,
    places: Vec<Place>,
}

impl Hands {
    fn place(&self, id: &str) -> Result<&Place, ChaosError> {
        let found = self.places.iter().find(|place| place.id() == id || place.validator() == id);
        found.ok_or_else(|| ChaosError::UnknownValidator(id.to_owned()))
    }

    /// Kills a validator and waits for its end.
    fn kill(&self, place: &Place) -> Result<(), ChaosError> {
        let name = place.validator();
        let Some(record) = self.processes.running(&name) else {
            return Err(ChaosError::NotNow(format!("{name} does not run")));
        };
        record.signal(Signal::KILL);
        self.processes.stop(&[name], KILLED);
        Ok(())
    }

    fn start(&self, name: &str, arguments: &[String], log: &Path) -> Result<(), ChaosError> {
        let program = std::env::current_exe().map_err(failed)?;
        self.processes.start(name, &program, arguments, log).map(drop).map_err(failed)
    }

    fn start_validator(&self, place: &Place) -> Result<(), ChaosError> {
        self.start(&place.validator(), &place.validator_arguments(), &place.log())
    }

    fn corrupt(&self, place: &Place, log: &str) -> Outcome {
        let notes = damage_file(place);
        if notes.exists() {
            return Err(ChaosError::NotNow(format!("{} is damaged already; recover it first", place.validator())));
        }
        let data = NodeConfig::load(&place.config()).map_err(failed)?.data;
        if self.processes.running(&place.validator()).is_some() {
            self.kill(place)?;
        }
        let damage = flip_a_byte(&newest_segment(&data.join("logs").join(log))?)?;
        let text = serde_json::to_vec(&damage).map_err(failed)?;
        std::fs::write(&notes, text).map_err(failed)?;
        self.start_validator(place)?;
        Ok(format!(
            "one byte of {} is changed; {} was started again and must refuse to run",
            damage.file.display(),
            place.validator()
        ))
    }

    /// Starts a second process with the validator's key on a copy of its data.
    fn twin(&self, place: &Place) -> Outcome {
        let (name, folder) = (twin(place), place.folder.join("twin"));
        if self.processes.running(&name).is_some() {
            return Err(ChaosError::NotNow(format!("{} has a twin already", place.validator())));
        }
        let config = NodeConfig::load(&place.config()).map_err(failed)?;
        // A copy of files that are written to would be torn.
        if self.processes.running(&place.validator()).is_some() {
            self.kill(place)?;
        }
        let _ = std::fs::remove_dir_all(&folder);
        let mut room = TWIN_BYTES_MAX;
        let copied = copy_folder(&config.data, &folder.join("data"), &mut room);
        self.start_validator(place)?;
        copied?;
        let shift = |address: SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(TWIN_PORTS));
        let mut twin_config = config.clone();
        twin_config.data = folder.join("data");
        twin_config.listen = shift(config.listen);
        twin_config.http = config.http.map(shift);
        twin_config.consensus.listen = shift(config.consensus.listen);
        twin_config.consensus.trouble = None;
        let path = folder.join("node.toml");
        std::fs::write(&path, toml::to_string(&twin_config).map_err(failed)?).map_err(failed)?;
        let arguments = ["validator", "--no-live", "--json", "--own-session", "--config"].map(str::to_owned);
        let arguments: Vec<String> = arguments.into_iter().chain([path.display().to_string()]).collect();
        self.start(&name, &arguments, &folder.join("node.log"))?;
        Ok(format!("{} has a twin: two processes vote with its key", place.validator()))
    }

    fn recover(&self) -> Outcome {
        let mut undone = 0;
        for place in &self.places {
            let name = twin(place);
            if self.processes.running(&name).is_some() {
                self.processes.stop(std::slice::from_ref(&name), KILLED);
                undone += 1;
            }
            self.processes.forget(&name);
            let _ = std::fs::remove_dir_all(place.folder.join("twin"));
            let path = trouble_file(place)?;
            if path.exists() {
                std::fs::remove_file(&path).map_err(failed)?;
                undone += 1;
            }
            let notes = damage_file(place);
            if notes.exists() {
                if self.processes.running(&place.validator()).is_some() {
                    self.kill(place)?;
                }
                let damage: Damage = serde_json::from_slice(&std::fs::read(&notes).map_err(failed)?).map_err(failed)?;
                put_back(&damage)?;
                std::fs::remove_file(&notes).map_err(failed)?;
                undone += 1;
            }
            if self.processes.running(&place.validator()).is_none() {
                self.start_validator(place)?;
                undone += 1;
            }
        }
        Ok(if undone == 0 { "nothing was wrong".to_owned() } else { format!("{undone} things were put right") })
    }
}

fn twin(place: &Place) -> String {
    format!("twin-{}", place.number)
}

fn damage_file(place: &Place) -> PathBuf {
    place.folder.join("damage.json")
}

fn trouble_file(place: &Place) -> Result<PathBuf, ChaosError> {
    let config = NodeConfig::load(&place.config()).map_err(failed)?;
    config.consensus.trouble.ok_or_else(|| {
        ChaosError::NotNow(format!(
            "{} has no consensus.trouble in its node.toml, so its links cannot be touched",
            place.validator()
        ))
    })
}

fn read_trouble(place: &Place) -> Result<TroubleFile, ChaosError> {
    TroubleFile::read(&trouble_file(place)?).map_err(failed)
}

/// Written beside it and renamed, so that nobody reads half of it.
fn write_trouble(place: &Place, trouble: &TroubleFile) -> Result<(), ChaosError> {
    let path = trouble_file(place)?;
    let new = path.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(trouble).map_err(failed)?).map_err(failed)?;
    std::fs::rename(&new, &path).map_err(failed)
}

/// The file of a log that was written last and holds anything.
fn newest_segment(folder: &Path) -> Result<PathBuf, ChaosError> {
    let entries = std::fs::read_dir(folder).map_err(failed)?.flatten();
    let files = entries.filter(|entry| entry.metadata().is_ok_and(|found| found.is_file() && found.len() > 0));
    let newest = files.map(|entry| entry.path()).max();
    newest.ok_or_else(|| ChaosError::NotNow(format!("{} holds no log yet", folder.display())))
}

/// Changes a byte in the middle of what is written, where a torn tail cannot be meant.
fn flip_a_byte(path: &Path) -> Result<Damage, ChaosError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let written = written_bytes(&mut file).map_err(failed)?;
    let mut byte = [0];
    // From the middle on to a byte that is not padding.
    for at in written / 2..written {
        file.read_exact_at(&mut byte, at).map_err(failed)?;
        if byte[0] != 0 {
            file.write_all_at(&[byte[0] ^ 0x10], at).map_err(failed)?;
            file.sync_all().map_err(failed)?;
            return Ok(Damage { file: path.to_owned(), at, was: byte[0] });
        }
    }
    Err(ChaosError::NotNow(format!("{} holds nothing that could be changed", path.display())))
}

/// Up to the last byte that is not zero: segments are made long before they are full.
fn written_bytes(file: &mut File) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let (mut at, mut written) = (0, 0);
    file.seek(SeekFrom::Start(0))?;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(written);
        }
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            written = at + last as u64 + 1;
        }
        at += read as u64;
    }
}

fn put_back(damage: &Damage) -> Result<(), ChaosError> {
    let mut file = OpenOptions::new().write(true).open(&damage.file).map_err(failed)?;
    file.seek(SeekFrom::Start(damage.at)).map_err(failed)?;
    file.write_all(&[damage.was]).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// Copies a folder and what is in it, as long as there is `room`.
fn copy_folder(from: &Path, to: &Path, room: &mut u64) -> Result<(), ChaosError> {
    std::fs::create_dir_all(to).map_err(failed)?;
    for entry in std::fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (kind, target) = (entry.file_type().map_err(failed)?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_folder(&entry.path(), &target, room)?;
        } else if kind.is_file() {
            let length = entry.metadata().map_err(failed)?.len();
            *room = room.checked_sub(length).ok_or_else(|| {
                ChaosError::Failed(format!("the data is larger than {} GiB, too much to copy", TWIN_BYTES_MAX >> 30))
            })?;
            std::fs::copy(entry.path(), &target).map_err(failed)?;
        }
    }
    Ok(())
}

/// Every address that `trouble` cuts off; for tests.
#[cfg(test)]
fn cut_of(place: &Place) -> std::collections::BTreeSet<SocketAddr> {
    read_trouble(place).unwrap().cut
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::devnet::network::NetworkPlan;
    use tempfile::TempDir;

    fn devnet() -> (TempDir, LocalChaos, Vec<Place>) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::resolve(Some(folder.path())).unwrap();
        let network = Network::open_or_create(&network_folder(&home), None, &NetworkPlan::of_start(4, 10)).unwrap();
        let places = places(&network).unwrap();
        let chaos = LocalChaos::new(folder.path().to_owned());
        (folder, chaos, places)
    }

    #[tokio::test]
    async fn a_partition_cuts_both_sides_and_a_lag_leaves_it() {
        let (_folder, chaos, places) = devnet();
        chaos.partition(&[places[0].id()]).await.unwrap();
        assert_eq!(cut_of(&places[0]), places[1..].iter().map(|place| place.links).collect());
        assert_eq!(cut_of(&places[2]), BTreeSet::from([places[0].links]));
        chaos.lag(&places[0].id(), 70).await.unwrap();
        assert_eq!(read_trouble(&places[0]).unwrap().delay_ms, 70);
        assert_eq!(cut_of(&places[0]).len(), 3);
    }

    #[tokio::test]
    async fn who_is_not_there_cannot_be_harmed() {
        let (_folder, chaos, places) = devnet();
        assert!(matches!(chaos.kill("val_00000000").await, Err(ChaosError::UnknownValidator(_))));
        assert!(matches!(chaos.kill(&places[0].id()).await, Err(ChaosError::NotNow(_))));
        let id = places[0].id();
        assert!(matches!(chaos.byzantine(&id, Some("lie")).await, Err(ChaosError::UnknownKind(_))));
        assert!(matches!(chaos.corrupt(&id, Some("soul")).await, Err(ChaosError::UnknownKind(_))));
    }

    #[test]
    fn a_byte_is_changed_and_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let mut bytes = vec![7u8; 5_000];
        bytes.extend([0; 10_000]);
        std::fs::write(&path, &bytes).unwrap();
        let damage = flip_a_byte(&path).unwrap();
        assert_eq!((damage.at, damage.was), (2_500, 7));
        assert_ne!(std::fs::read(&path).unwrap(), bytes);
        put_back(&damage).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
