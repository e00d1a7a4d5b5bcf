//! Watching the validators of a devnet from outside: over HTTP and by `/proc`.
//!
//! The measured window lies between two [`Reading`]s. Heights are taken where a quorum has them: at the height that 2f+1 validators
//! report, so one that lags behind neither slows the figures down nor one that is ahead makes them better.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::network::{Member, Network};
use super::process::Process;
use super::usage::{cpu_time, resident_mib};
use crate::error::CliError;
use crate::http::client::get;
use crate::http::view::{Health, PeerView, Peers};
use crate::output::{Output, grouped};
use crate::progress::Live;

/// How long one answer may take: the validators are flooded while they are asked.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often validators are asked whether they vote, or for their roots.
const LOOK: Duration = Duration::from_millis(50);
/// How long a network may take until all vote: accounts are derived, logs replayed.
const START: Duration = Duration::from_secs(300);
/// How long the validators may take to be seen at one height.
const AGREEMENT: Duration = Duration::from_secs(30);

/// Everything that is read at one moment.
#[derive(Debug, Clone)]
pub struct Reading {
    /// When.
    pub at: Instant,
    /// The height that is final at a quorum.
    pub finalized: u64,
    /// The height that is committed at a quorum.
    pub committed: u64,
    /// The epoch that a quorum is in.
    pub epoch: u64,
    /// Processor time by process.
    pub cpu: Vec<(String, Duration)>,
    /// Resident memory by process, MiB.
    pub resident_mib: Vec<(String, f64)>,
    /// Bytes of messages that validators have sent each other since their start.
    pub link_bytes: u64,
    /// The same as UDP payload.
    pub wire_bytes: u64,
}

/// What `/health` of `member` says; none when it does not answer.
pub fn health(member: &Member) -> Option<Health> {
    get(member.http, "/health", PATIENCE).ok()?.json().ok()
}

/// Reads everything now; `others` are further processes to look at, with their ids.
pub fn read(network: &Network, processes: &[Process], others: &[(&str, u32)]) -> Reading {
    let at = Instant::now();
    let healths: Vec<Health> = network.members.iter().filter_map(health).collect();
    let peers: Vec<PeerView> = network.members.iter().filter_map(peers).flatten().collect();
    let ids = || {
        let validators = processes.iter().map(|process| (process.name(), process.id()));
        validators.chain(others.iter().copied()).map(|(name, id)| (name.to_owned(), id))
    };
    let count = network.members.len();
    let at_quorum = |height: fn(&Health) -> u64| quorum(count, healths.iter().map(height).collect());
    Reading {
        at,
        finalized: at_quorum(|health| health.finalized_height),
        committed: at_quorum(|health| health.height),
        epoch: at_quorum(|health| health.epoch),
        cpu: ids().map(|(name, id)| (name, cpu_time(id))).collect(),
        resident_mib: ids().map(|(name, id)| (name, resident_mib(id))).collect(),
        link_bytes: peers.iter().map(PeerView::bytes_out_all).sum(),
        wire_bytes: peers.iter().map(|peer| peer.wire_bytes_out).sum(),
    }
}

fn peers(member: &Member) -> Option<Vec<PeerView>> {
    get(member.http, "/peers", PATIENCE).ok()?.json().ok().map(|peers: Peers| peers.peers)
}

/// The highest value that a quorum of `count` validators has reached; 0 when fewer answer.
fn quorum(count: usize, mut values: Vec<u64>) -> u64 {
    values.sort_unstable_by(|one, other| other.cmp(one));
    let needed = count - count.saturating_sub(1) / 3;
    values.get(needed - 1).copied().unwrap_or(0)
}

/// Waits until every validator votes; a line for each that does. `stopping` ends the wait: then nothing is wrong, but not all vote.
///
/// # Errors
/// [`CliError::Node`] when a validator ends, or not all vote within five minutes.
pub fn await_votes(
    network: &Network,
    processes: &mut [Process],
    stopping: &dyn Fn() -> bool,
    output: &Output,
) -> Result<bool, CliError> {
    let begin = Instant::now();
    let live = Live::new(output);
    let mut states: Vec<Option<Health>> = vec![None; network.members.len()];
    loop {
        for ((member, process), state) in network.members.iter().zip(&mut *processes).zip(&mut states) {
            process.check().inspect_err(|_| live.clear())?;
            if state.as_ref().is_some_and(|health| health.voting) {
                continue;
            }
            *state = health(member);
            if let Some(health) = state.as_ref().filter(|health| health.voting) {
                let (height, seconds) = (grouped(health.height), begin.elapsed().as_secs_f64());
                live.above(|| {
                    output.note(format!("{:<13} votes after {seconds:.1} s, at height {height}", member.name))
                });
            }
        }
        let voting = states.iter().flatten().filter(|health| health.voting).count();
        if voting == states.len() {
            live.clear();
            return Ok(true);
        }
        if stopping() {
            live.clear();
            return Ok(false);
        }
        if begin.elapsed() > START {
            live.clear();
            return Err(CliError::Node(not_voting(network, &states)));
        }
        live.say(format!("{voting} of {} validators vote", states.len()));
        std::thread::sleep(LOOK);
    }
}

fn not_voting(network: &Network, states: &[Option<Health>]) -> String {
    let reason = |state: &Option<Health>| match state {
        None => Some("does not answer over HTTP yet".to_owned()),
        Some(health) if !health.voting => Some(health.reason.clone()),
        Some(_) => None,
    };
    let reasons = network.members.iter().zip(states);
    let reasons = reasons.filter_map(|(member, state)| Some(format!("\n  {}: {}", member.name, reason(state)?)));
    format!(
        "not all validators vote within {} s; their logs are in {}{}",
        START.as_secs(),
        network.folder.display(),
        reasons.collect::<String>()
    )
}

/// The state roots of all validators at one common height, and that height. Blocks go on being made, so each validator is asked until one
/// height has been seen at all of them. Gives what was seen at the last height when that does not happen.
pub fn common_roots(network: &Network) -> (u64, BTreeMap<String, String>) {
    let begin = Instant::now();
    let mut seen: BTreeMap<u64, BTreeMap<String, String>> = BTreeMap::new();
    loop {
        for member in &network.members {
            if let Some(health) = health(member) {
                let roots = seen.entry(health.height).or_default();
                roots.insert(member.name.clone(), health.state_root);
                if roots.len() == network.members.len() {
                    return (health.height, roots.clone());
                }
            }
        }
        if begin.elapsed() > AGREEMENT {
            return seen.pop_last().unwrap_or_default();
        }
        // Far more heights than can pass in the time that is waited; what is old is not needed.
        while seen.len() > 4_096 {
            seen.pop_first();
        }
        std::thread::sleep(LOOK / 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_is_two_thirds_and_more() {
        assert_eq!(quorum(1, vec![7]), 7);
        assert_eq!(quorum(4, vec![9, 1, 7, 8]), 7);
        assert_eq!(quorum(4, vec![9, 8]), 0);
        assert_eq!(quorum(7, vec![1, 2, 3, 4, 5, 6, 7]), 3);
        assert_eq!(quorum(3, vec![1, 2, 3]), 1);
    }
}
