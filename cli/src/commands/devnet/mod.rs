//! `tana devnet`: a network of validators on this machine, each a process of its own.
//!
//! 1. The network's files are made, or found ([`network`]).
//! 2. Every port is looked at ([`ports`]), then a process for each validator starts ([`process`]); a line for each that votes ([`watch`]).
//! 3. With --flood, transactions are signed ahead and sent to all of them ([`flood`]); without, time passes until --seconds or Ctrl-C.
//! 4. Between warm-up and end the processes and heights are read ([`watch`]); afterwards the chain is asked what the blocks in between
//!    hold ([`blocks`]), and all validators for their state root at one height.
//! 5. All are stopped, cleanly; the figures are printed and written ([`summary`]); the folder is removed unless it is to be kept, was there
//!    before, or holds what a person needs to see what went wrong.

pub mod arguments;
pub mod blocks;
pub mod flood;
pub mod network;
pub mod ports;
pub mod process;
pub mod summary;
pub mod usage;
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tx_gen::{Ended, Report, StopHandle, Tick};

use self::arguments::{DevnetArguments, FloodPace};
use self::flood::SignedFlood;
use self::network::{Network, NetworkPlan};
use self::process::{Process, stop_all};
use self::summary::{Measured, Summary};
use self::watch::Reading;
use crate::error::CliError;
use crate::home::Home;
use crate::output::{JsonTarget, Output, grouped};
use crate::progress::Live;
use crate::signals;

/// The load generator's name among the processes: it is this one.
const LOAD: &str = "tx-gen";
/// How often the validators are looked at while time passes.
const LOOK: Duration = Duration::from_millis(100);
/// How often the live line asks for a height.
const HEIGHT_EVERY: Duration = Duration::from_secs(1);

/// Runs `tana devnet`.
///
/// # Errors
/// [`CliError`] when the network cannot be made or started, or when something went wrong on the way: then the summary has it too.
pub fn run(
    arguments: &DevnetArguments,
    home: impl FnOnce() -> Result<Home, CliError>,
    output: &Output,
) -> Result<(), CliError> {
    let folder = match &arguments.data {
        Some(folder) => folder.clone(),
        None => home()?.folder().join("devnet"),
    };
    let stop = StopHandle::default();
    let children = Arc::new(Mutex::new(Vec::<u32>::new()));
    let stopping = listen(stop.clone(), children.clone())?;
    let network = Network::open_or_create(&folder, arguments.validators, &NetworkPlan::from(arguments))?;
    if arguments.flood.is_some() {
        // Better now than when the validators have started.
        network.free_accounts(arguments.flood_accounts)?;
    }
    if let Err(error) = ports::check_free(&network) {
        finish(&network, arguments, true, output)?;
        return Err(error);
    }
    describe(&network, output);
    let program = std::env::current_exe().map_err(|source| CliError::System { action: "find this program", source })?;
    let begin = Instant::now();
    let mut processes = Vec::with_capacity(network.members.len());
    for member in &network.members {
        let process = Process::start(&program, member)?;
        children.lock().push(process.id());
        processes.push(process);
    }
    let run = Run { arguments, network: &network, stop, stopping: &stopping, output };
    let measured = run.measure(&mut processes, begin);
    output.note("stopping");
    let unclean = stop_all(&mut processes);
    children.lock().clear();
    let kept = finish(&network, arguments, measured.is_ok() && unclean.is_empty(), output);
    let Some(mut summary) = measured? else {
        return unclean.into_iter().next().map_or(kept, |text| Err(CliError::Node(text)));
    };
    summary.failures.extend(unclean);
    if !summary.roots_equal {
        summary
            .failures
            .push(format!("the state roots at height {} are not equal, or not all could be read", summary.height));
    }
    report(arguments, &summary, output)?;
    match summary.failures.as_slice() {
        [] => kept,
        failures => Err(CliError::Node(failures.join("; "))),
    }
}

/// The first signal stops what is under way, the second one kills the validators by their process ids.
fn listen(stop: StopHandle, children: Arc<Mutex<Vec<u32>>>) -> Result<Arc<AtomicBool>, CliError> {
    let on_first = move || stop.stop();
    let on_second = move || {
        for id in children.lock().iter() {
            if let Some(pid) = i32::try_from(*id).ok().and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    };
    signals::listen(on_first, on_second)
}

fn describe(network: &Network, output: &Output) {
    let accounts = network.genesis.bulk.as_ref().map_or(0, |bulk| bulk.count);
    let what = if network.is_new { "a new network" } else { "the network" };
    output.note(format!(
        "{what} of {} validators in {}, {} test accounts, genesis {}",
        network.members.len(),
        network.folder.display(),
        grouped(accounts.into()),
        hex::encode(network.genesis.hash())
    ));
    for (member, validator) in network.members.iter().zip(&network.genesis.validators) {
        output.note(format!(
            "{:<13} links {}, transactions {}, http://{}, {}",
            member.name, validator.address, member.transactions, member.http, member.key
        ));
    }
}

/// What a run needs to know while its validators run.
struct Run<'a> {
    arguments: &'a DevnetArguments,
    network: &'a Network,
    stop: StopHandle,
    stopping: &'a AtomicBool,
    output: &'a Output,
}

impl Run<'_> {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// From the start of the processes to the figures; none when a person stopped it before there was anything to measure.
    fn measure(&self, processes: &mut [Process], begin: Instant) -> Result<Option<Summary>, CliError> {
        if !watch::await_votes(self.network, processes, &|| self.is_stopping(), self.output)? {
            return Ok(None);
        }
        let started = begin.elapsed();
        let (window, report) = match self.arguments.flood {
            Some(pace) => {
                let (window, report) = self.flood(processes, pace)?;
                (window, Some(report))
            }
            None => (self.pass_time(processes)?, None),
        };
        let Some(window) = window else { return Ok(None) };
        for process in &mut *processes {
            process.check()?;
        }
        self.output.note("reading the chain");
        let (begin, end) = &window;
        let ranges = [(begin.finalized, end.finalized), (begin.committed, end.committed)];
        let blocks = blocks::sums(&self.network.members[0], ranges)?;
        Ok(Some(Summary::new(Measured {
            validators: self.network.members.len(),
            accounts: self.network.genesis.bulk.as_ref().map_or(0, |bulk| bulk.count.into()),
            started,
            window: &window,
            blocks: &blocks,
            report: report.as_ref(),
            roots: watch::common_roots(self.network),
        })))
    }

    fn read(&self, processes: &[Process]) -> Reading {
        let load = self.arguments.flood.map(|_| (LOAD, std::process::id()));
        watch::read(self.network, processes, load.as_slice())
    }

    /// Signs and sends. The window is none when sending ended within the warm-up.
    fn flood(
        &self,
        processes: &mut [Process],
        pace: FloodPace,
    ) -> Result<(Option<(Reading, Reading)>, Report), CliError> {
        let signed = SignedFlood::sign(self.network, self.arguments, pace, self.stop.clone(), self.output)?;
        self.output.note(format!("flooding with {} signed transactions", grouped(signed.count())));
        let (warm_up, seconds) = (self.arguments.warm_up, self.arguments.measured_s().unwrap_or(0));
        let (from, to) = (Duration::from_secs(warm_up), Duration::from_secs(warm_up + seconds));
        let live = Live::new(self.output);
        let (mut first, mut last) = (None, None);
        let mut height = (Instant::now(), 0);
        let mut failed = None;
        let mut on_tick = |tick: &Tick, is_all_sent: bool| {
            if first.is_none() && tick.elapsed >= from {
                first = Some(self.read(processes));
            } else if first.is_some() && last.is_none() && (tick.elapsed >= to || is_all_sent) {
                last = Some(self.read(processes));
            }
            if height.0.elapsed() >= HEIGHT_EVERY {
                height = (Instant::now(), self.height());
            }
            live.say(flood::line(tick, height.1));
            if let Some(error) = processes.iter_mut().find_map(|process| process.check().err()) {
                failed.get_or_insert(error);
                self.stop.stop();
            }
        };
        let report = signed.run(&mut on_tick);
        live.clear();
        if let Some(error) = failed {
            return Err(error);
        }
        let report = report?;
        if report.ended == Ended::LoadUsedUp && pace == FloodPace::Max {
            self.output.note("the signed transactions were used up before the time was over; raise --at-most for a longer measurement");
        }
        let last = last.or_else(|| first.as_ref().map(|_| self.read(processes)));
        Ok((first.zip(last), report))
    }

    /// Lets time pass until --seconds are over or a person stops it.
    fn pass_time(&self, processes: &mut [Process]) -> Result<Option<(Reading, Reading)>, CliError> {
        let begin = Instant::now();
        let seconds = self.arguments.measured_s();
        // Without an end there is no point in a warm-up either.
        let warm_up = Duration::from_secs(seconds.map_or(0, |_| self.arguments.warm_up));
        if seconds.is_none() {
            self.output.note("running; Ctrl-C stops it");
        }
        let live = Live::new(self.output);
        let mut first: Option<Reading> = None;
        let mut height = Instant::now();
        loop {
            processes.iter_mut().try_for_each(Process::check).inspect_err(|_| live.clear())?;
            if first.is_none() && begin.elapsed() >= warm_up {
                first = Some(self.read(processes));
            }
            let is_over = seconds.is_some_and(|seconds| begin.elapsed() >= warm_up + Duration::from_secs(seconds));
            if is_over || self.is_stopping() {
                live.clear();
                // Without an end there was nothing to measure, and perhaps a day of blocks to ask for.
                let first = first.filter(|_| seconds.is_some());
                return Ok(first.map(|first| (first, self.read(processes))));
            }
            if height.elapsed() >= HEIGHT_EVERY {
                height = Instant::now();
                live.say(format!("{} s  height {}", begin.elapsed().as_secs(), grouped(self.height())));
            }
            std::thread::sleep(LOOK);
        }
    }

    fn height(&self) -> u64 {
        watch::health(&self.network.members[0]).map_or(0, |health| health.height)
    }
}

/// Removes the network unless it is to stay.
fn finish(network: &Network, arguments: &DevnetArguments, is_good: bool, output: &Output) -> Result<(), CliError> {
    if network.is_new && !arguments.keep && is_good {
        return network.remove();
    }
    let why = if is_good { "kept" } else { "kept for its logs" };
    output.note(format!("the network in {} is {why}; the same command goes on with it", network.folder.display()));
    Ok(())
}

fn report(arguments: &DevnetArguments, summary: &Summary, output: &Output) -> Result<(), CliError> {
    if let Some(JsonTarget::File(path)) = &arguments.json {
        write_json(path, summary)?;
    }
    output.result(summary, |output| summary.print(output));
    Ok(())
}

fn write_json(path: &Path, summary: &Summary) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(summary)
        .map_err(|error| CliError::file("write", path, std::io::Error::other(error)))?;
    std::fs::write(path, text + "\n").map_err(|source| CliError::file("write", path, source))
}
