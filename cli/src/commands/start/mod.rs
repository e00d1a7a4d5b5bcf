//! `tana start` and `tana stop`: a whole network of this machine, in the background.
//!
//! 1. The network's files are made, or found ([`layout`]); every port of what is about to start is looked at.
//! 2. The validators start ([`processes`]), and are waited for until all vote. Nobody waits for those that were added since the genesis (they may
//!    not be let in yet), nor for one that says that the chain has put it out of its set.
//! 3. What runs beside each starts: the mesh, the ledger APIs, the page ([`sidecars`]).
//! 4. Each node registers itself with the mesh; those of this network are approved with its sovereign's key ([`registry`]).
//! 5. With --flood a load generator goes on in the background ([`flood`]).
//!
//! Whatever runs already is left alone, so a second start repairs what is missing and changes nothing else.

pub mod arguments;
pub mod flood;
pub mod layout;
pub mod processes;
pub mod registry;
pub mod sidecars;
pub mod status;
pub mod stop;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use tana_consensus::NOT_A_MEMBER;

use self::arguments::{StartArguments, VALIDATORS};
use self::layout::{LINKS_PORT, Place, chaos_token, network_folder, pids_folder, places};
use self::processes::Processes;
use crate::commands::devnet::arguments::FloodPace;
use crate::commands::devnet::network::{Network, NetworkPlan};
use crate::commands::devnet::ports::{check_tcp, check_udp};
use crate::commands::devnet::process::tail;
use crate::error::CliError;
use crate::home::Home;
use crate::http::client::get;
use crate::http::view::Health;
use crate::output::{Output, grouped};
use crate::progress::Live;
use crate::signals;

/// The name of the load generator's process.
pub const FLOOD: &str = "flood";
/// How often something that starts is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a step of the start may take: accounts are derived, logs replayed.
const START: Duration = Duration::from_secs(300);

/// What a start works with.
pub struct Starting<'a> {
    /// The home.
    pub home: &'a Home,
    /// The network.
    pub network: Network,
    /// Its validators.
    pub places: Vec<Place>,
    /// The processes.
    pub processes: Processes,
    /// This program.
    pub program: PathBuf,
    /// How to print.
    pub output: &'a Output,
}

/// Runs `tana start`.
///
/// # Errors
/// [`CliError`] when something of the network cannot be made or started, with the end of its log.
pub fn run(arguments: &StartArguments, home: &Home, output: &Output) -> Result<(), CliError> {
    let begin = Instant::now();
    let folder = network_folder(home);
    let mut plan = NetworkPlan::of_start(arguments.validators.unwrap_or(VALIDATORS), arguments.accounts);
    plan.base_port = LINKS_PORT.saturating_add(arguments.port_offset);
    let network = Network::open_or_create(&folder, arguments.validators, &plan)?;
    let places = places(&network)?;
    let program = std::env::current_exe().map_err(|source| CliError::System { action: "find this program", source })?;
    let processes = Processes::new(pids_folder(home));
    let starting = Starting { home, network, places, processes, program, output };
    // Listened for from here on, so that Ctrl-C during a start ends what has started.
    let stopping = signals::listen(|| {}, || {})?;
    let is_stopping = || stopping.load(std::sync::atomic::Ordering::SeqCst);
    let started = starting.all(arguments, &is_stopping);
    let goes_on = || starting.processes.names().iter().any(|name| starting.processes.running(name).is_some());
    if started.is_err() && !is_stopping() && goes_on() {
        output.note("what has started goes on; `tana stop` ends it");
    }
    if is_stopping() {
        return stop::stop_all(home, output);
    }
    started?;
    starting.report(begin.elapsed());
    if arguments.foreground {
        output.note("Ctrl-C stops all of it");
        while !is_stopping() {
            std::thread::sleep(LOOK);
        }
        return stop::stop_all(home, output);
    }
    Ok(())
}

impl Starting<'_> {
    fn all(&self, arguments: &StartArguments, is_stopping: &dyn Fn() -> bool) -> Result<(), CliError> {
        let what = if self.network.is_new { "a new network" } else { "the network" };
        self.output.note(format!("{what} of {} validators in {}", self.places.len(), self.network.folder.display()));
        self.check_ports()?;
        chaos_secret(&self.network.folder)?;
        for place in &self.places {
            self.start_validator(place)?;
        }
        let of_genesis: Vec<&Place> = self.places.iter().filter(|place| !place.is_added).collect();
        let members = self.await_each(&of_genesis, "votes", is_stopping, |place| {
            voting(get(place.http, "/health", PATIENCE).ok().and_then(|page| page.json().ok()))
        })?;
        for place in &self.places {
            self.start_sidecar(place)?;
        }
        self.await_each(&members, "has its ledger", is_stopping, |place| {
            match get(place.ledger(), "/ready", PATIENCE) {
                Ok(page) if page.status == 200 => Stage::Ready(format!("http://{}", place.ledger())),
                Ok(page) => Stage::Late(format!("its ledger is not ready: {}", page.body.trim())),
                Err(error) => Stage::Late(format!("its ledger does not answer yet: {error}")),
            }
        })?;
        registry::approve_all(self, START, is_stopping)?;
        if let Some(pace) = arguments.flood {
            self.start_flood(pace)?;
        }
        Ok(())
    }

    /// Starts the validator of `place` unless it runs.
    ///
    /// # Errors
    /// [`CliError`] when the system gives no process.
    pub fn start_validator(&self, place: &Place) -> Result<(), CliError> {
        if self.processes.running(&place.validator()).is_some() {
            return Ok(());
        }
        self.processes.start(&place.validator(), &self.program, &place.validator_arguments(), &place.log()).map(drop)
    }

    /// Starts what runs beside the validator of `place`, unless it runs.
    ///
    /// # Errors
    /// [`CliError`] when its configuration cannot be written or the system gives no process.
    pub fn start_sidecar(&self, place: &Place) -> Result<(), CliError> {
        if self.processes.running(&place.sidecar()).is_some() {
            return Ok(());
        }
        sidecars::write_config(self, place)?;
        let mut arguments = words(&["sidecar", "--json", "--own-session", "--config"]);
        arguments.push(place.sidecar_config().display().to_string());
        self.processes.start(&place.sidecar(), &self.program, &arguments, &place.sidecar_log()).map(drop)
    }

    fn start_flood(&self, pace: FloodPace) -> Result<(), CliError> {
        if self.processes.running(FLOOD).is_some() {
            self.output.note("a flood is under way already; it goes on as it is");
            return Ok(());
        }
        let mut arguments = words(&["flood", "--own-session", "--home"]);
        arguments.push(self.home.folder().display().to_string());
        arguments.push(match pace {
            FloodPace::Max => "max".to_owned(),
            FloodPace::Rate(rate) => rate.to_string(),
        });
        let log = self.network.folder.join("flood.log");
        self.processes.start(FLOOD, &self.program, &arguments, &log).map(drop)
    }

    /// Every port of what is about to start is free.
    fn check_ports(&self) -> Result<(), CliError> {
        for place in &self.places {
            if self.processes.running(&place.validator()).is_none() {
                check_udp(&place.validator(), "links", place.links)?;
                check_udp(&place.validator(), "transactions", place.transactions)?;
                check_tcp(&place.validator(), "HTTP", place.http)?;
            }
            if self.processes.running(&place.sidecar()).is_none() {
                check_tcp(&place.sidecar(), "ledger API", place.ledger())?;
                if place.number == 0 {
                    check_tcp(&place.sidecar(), "mesh", place.mesh())?;
                    check_tcp(&place.sidecar(), "visualizer", place.visualizer())?;
                }
            }
        }
        Ok(())
    }

    /// Asks `question` of every place until none is late; a line for each that is ready or will not be. Gives those that are ready.
    fn await_each<'a>(
        &self,
        places: &[&'a Place],
        done: &str,
        is_stopping: &dyn Fn() -> bool,
        question: impl Fn(&Place) -> Stage,
    ) -> Result<Vec<&'a Place>, CliError> {
        let (begin, live) = (Instant::now(), Live::new(self.output));
        let mut states = vec![Stage::Late("was not asked yet".to_owned()); places.len()];
        loop {
            for (place, state) in places.iter().zip(&mut states).filter(|(_, state)| matches!(state, Stage::Late(_))) {
                self.check_running(place).inspect_err(|_| live.clear())?;
                *state = question(place);
                let seconds = begin.elapsed().as_secs_f64();
                let said = match state {
                    Stage::Late(_) => continue,
                    Stage::Ready(detail) => format!("{done} after {seconds:.1} s, {detail}"),
                    Stage::Outside(why) => format!("is not waited for: {why}"),
                };
                live.above(|| self.output.note(format!("{:<13} {} {said}", place.validator(), place.id())));
            }
            let settled = states.iter().filter(|state| !matches!(state, Stage::Late(_))).count();
            if settled == states.len() || is_stopping() {
                live.clear();
                let ready = places.iter().zip(&states).filter(|(_, state)| matches!(state, Stage::Ready(_)));
                return Ok(ready.map(|(place, _)| *place).collect());
            }
            if begin.elapsed() > START {
                live.clear();
                let late = places.iter().zip(&states).filter_map(|(place, state)| match state {
                    Stage::Late(why) => Some(format!("\n  {}: {why}", place.validator())),
                    Stage::Ready(_) | Stage::Outside(_) => None,
                });
                let late: String = late.collect();
                return Err(CliError::Node(format!(
                    "not all of the network is there within {} s; logs are in {}{late}",
                    START.as_secs(),
                    self.network.folder.display()
                )));
            }
            live.say(format!("{settled} of {} {done}", states.len()));
            std::thread::sleep(LOOK);
        }
    }

    /// An error with the end of its log for a process of `place` that has started and ended by itself.
    fn check_running(&self, place: &Place) -> Result<(), CliError> {
        for name in [place.validator(), place.sidecar()] {
            if let Some(record) = self.processes.record(&name).filter(|record| !record.is_running()) {
                self.processes.forget(&name);
                return Err(CliError::Node(format!(
                    "{name} ended by itself; the end of {}:\n{}",
                    record.log.display(),
                    tail(&record.log)
                )));
            }
        }
        Ok(())
    }

    fn report(&self, took: Duration) {
        let Some(first) = self.places.first() else { return };
        let (page, stream) = (format!("http://{}", first.mesh()), format!("ws://{}", first.visualizer()));
        // The secret stands behind the #, which a browser sends to nobody.
        let token = std::fs::read_to_string(chaos_token(&self.network.folder)).unwrap_or_default();
        let link = format!("{page}/#chaos={}", token.trim());
        let validators: Vec<_> = self
            .places
            .iter()
            .map(|place| {
                json!({
                    "id": place.id(), "publicKey": place.key, "links": place.links, "transactions": place.transactions,
                    "http": format!("http://{}", place.http), "ledger": format!("http://{}", place.ledger()),
                })
            })
            .collect();
        let value = json!({ "page": link, "mesh": page, "visualizer": stream, "validators": validators, "seconds": took.as_secs_f64() });
        self.output.result(&value, |output| {
            output.pairs([
                ("page", link.clone()),
                ("mesh", page.clone()),
                ("visualizer", stream.clone()),
                ("ledger API", format!("http://{0}   http://{0}/docs", first.ledger())),
                ("validators", format!("{}: tana mesh list", self.places.len())),
                ("network", self.network.folder.display().to_string()),
            ]);
            output.note(format!("up after {:.1} s; `tana stop` ends it, `tana status` shows it", took.as_secs_f64()));
        });
    }
}

/// How far something is that a start waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// There, with a detail for people.
    Ready(String),
    /// Not yet, and why.
    Late(String),
    /// It runs, and will not be what is waited for until the sovereign says otherwise.
    Outside(String),
}

/// Whether a validator votes, by what it says of itself; nothing when it does not answer.
fn voting(health: Option<Health>) -> Stage {
    match health {
        Some(health) if health.voting => Stage::Ready(format!("at height {}", grouped(health.height))),
        Some(health) if health.reason == NOT_A_MEMBER => Stage::Outside(health.reason),
        Some(health) => Stage::Late(health.reason),
        None => Stage::Late("does not answer over HTTP yet".to_owned()),
    }
}

/// The secret of the chaos panel: made once.
fn chaos_secret(network: &Path) -> Result<(), CliError> {
    let path = chaos_token(network);
    if path.exists() {
        return Ok(());
    }
    let key = crate::keys::new_key()?;
    crate::keys::write_new_file(&path, format!("{}\n", hex::encode(&key.as_bytes()[..16])).as_bytes(), 0o600)
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_in_the_set_is_not_waited_for() {
        let health = |voting, reason: &str| Some(Health { voting, reason: reason.to_owned(), ..Health::default() });
        assert!(matches!(voting(health(true, "")), Stage::Ready(_)));
        assert!(matches!(voting(health(false, NOT_A_MEMBER)), Stage::Outside(_)));
        assert!(matches!(voting(health(false, "it is starting")), Stage::Late(_)));
        assert!(matches!(voting(None), Stage::Late(_)));
    }
}
