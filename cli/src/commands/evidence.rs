//! `tana evidence`: the proofs against validators that a node keeps, each checked again here from its bytes.
//!
//! Conflicting seals and bad batches need nothing but the chain. Votes name an epoch; they are checked against the sets that the data folder
//! knows: that of the genesis, and those that later changes led to. A vote that none of them explains is shown as not checked.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use tana_engine::config::NodeConfig;
use tana_engine::evidence_store;
use tana_engine::sync::changes::SetChanges;
use tana_engine::sync::install::changes_folder;
use tana_lane::Evidence;
use tana_types::batch::Seal;
use tana_types::genesis::Genesis;
use tana_types::key::PublicKey;
use tana_types::transaction::Chain;
use zerocopy::FromBytes;

use crate::error::CliError;
use crate::home::Home;
use crate::output::{Output, grouped};

/// What `tana evidence` takes.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    tana evidence\n  \
    tana evidence --data /var/lib/tana --genesis /etc/tana/genesis.toml --json\n\n\
    Reads the file of a data folder; a running node does not mind. Exit code 1 when a stored proof does not hold.")]
pub struct EvidenceArguments {
    /// The node's data folder [default: that of the home's node.toml]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The genesis file [default: that of the home's node.toml]
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
}

/// One proof, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// `conflicting seals`, `bad batch`, `conflicting notarize votes`, `conflicting finalize votes` or `nullify and finalize votes`.
    pub kind: &'static str,
    /// The culprit's key; none where that cannot be told.
    pub author: Option<PublicKey>,
    /// The epoch that the messages name.
    pub epoch: Option<u64>,
    /// The sequence of the seals or of the batch.
    pub sequence: Option<u64>,
    /// The view of the votes.
    pub view: Option<u64>,
    /// The transaction of a bad batch; none when its whole body is bad.
    pub transaction: Option<u32>,
    /// `proven`, or `not checked`, or `false`.
    pub verdict: &'static str,
    /// Why it is not proven; empty when it is.
    pub reason: String,
    /// Bytes of the proof.
    pub bytes: usize,
}

/// Runs `tana evidence`.
///
/// # Errors
/// [`CliError`] when the file cannot be read, or a proof in it does not hold.
pub fn run(
    arguments: &EvidenceArguments,
    home: impl FnOnce() -> Result<Home, CliError>,
    output: &Output,
) -> Result<(), CliError> {
    let (data, genesis) = match (&arguments.data, &arguments.genesis) {
        (Some(data), Some(genesis)) => (data.clone(), genesis.clone()),
        (data, genesis) => {
            let config = NodeConfig::load(&home()?.known_node_config())?;
            (data.clone().unwrap_or(config.data), genesis.clone().unwrap_or(config.genesis))
        }
    };
    let genesis = Genesis::load(&genesis)?;
    let path = data.join("evidence");
    let stored = match evidence_store::read(&path) {
        Ok(stored) => stored,
        // A node makes the file when it starts; without one, nobody was caught here.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && data.is_dir() => Vec::new(),
        Err(error) => return Err(CliError::file("read", &path, error)),
    };
    let sets = known_sets(&data, &genesis);
    let proofs: Vec<Proof> = stored.iter().map(|evidence| describe(evidence, &genesis, &sets)).collect();
    output.result(&proofs, |output| print(&proofs, output));
    match proofs.iter().filter(|proof| proof.verdict == "false").count() {
        0 => Ok(()),
        count => Err(CliError::Log(format!(
            "{count} of the {} proofs in {} do not hold; was the right --genesis given?",
            proofs.len(),
            path.display()
        ))),
    }
}

fn print(proofs: &[Proof], output: &Output) {
    if proofs.is_empty() {
        output.line("no validator was caught here");
        return;
    }
    let number = |number: Option<u64>| number.map(grouped).unwrap_or_default();
    let row = |proof: &Proof| {
        let author = proof.author.map(|key| key.to_string()).unwrap_or_default();
        let verdict = if proof.reason.is_empty() {
            proof.verdict.to_owned()
        } else {
            format!("{}: {}", proof.verdict, proof.reason)
        };
        vec![proof.kind.to_owned(), author, number(proof.epoch), number(proof.sequence), number(proof.view), verdict]
    };
    output.rows(&["kind", "validator", "epoch", "sequence", "view", ""], &[2, 3, 4], proofs.iter().map(row));
}

/// The validator sets that the chain is known to have had: that of the genesis and those after each change, as keys.
fn known_sets(data: &Path, genesis: &Genesis) -> Vec<Vec<[u8; 32]>> {
    let later = SetChanges::new(&changes_folder(data), genesis).sets(genesis);
    let first = genesis.validators.iter().map(|validator| validator.key.0).collect();
    let later = later.into_iter().map(|set| set.into_iter().map(|validator| validator.key.0).collect());
    std::iter::once(first).chain(later).collect()
}

/// What a proof says, and whether it holds.
fn describe(evidence: &Evidence, genesis: &Genesis, sets: &[Vec<[u8; 32]>]) -> Proof {
    let chain = genesis.to_chain();
    let bytes = evidence.encode().len();
    let blank = Proof {
        kind: "",
        author: None,
        epoch: None,
        sequence: None,
        view: None,
        transaction: None,
        verdict: "not checked",
        reason: String::new(),
        bytes,
    };
    match evidence {
        Evidence::ConflictingSeals(seals) => {
            judged(Proof { kind: "conflicting seals", ..of_seal(&seals[0], blank) }, evidence, &chain)
        }
        Evidence::BadBatch { sealed, index } => {
            let sealed = Seal::read_from_prefix(sealed).map(|(seal, _)| of_seal(&seal, blank.clone())).unwrap_or(blank);
            let transaction = (*index != tana_lane::BAD_BODY).then_some(*index);
            judged(Proof { kind: "bad batch", transaction, ..sealed }, evidence, &chain)
        }
        Evidence::Votes { kind, first, second } => votes((*kind, first, second), genesis, sets, blank),
    }
}

fn of_seal(seal: &Seal, blank: Proof) -> Proof {
    let author = Some(PublicKey(seal.author));
    Proof { author, epoch: Some(seal.epoch.get()), sequence: Some(seal.sequence.get()), ..blank }
}

fn judged(proof: Proof, evidence: &Evidence, chain: &Chain) -> Proof {
    match evidence.verify(chain) {
        Ok(author) => Proof { author: Some(PublicKey(author)), verdict: "proven", ..proof },
        Err(error) => Proof { verdict: "false", reason: error.to_string(), ..proof },
    }
}

fn votes((kind, first, second): (u8, &[u8], &[u8]), genesis: &Genesis, sets: &[Vec<[u8; 32]>], blank: Proof) -> Proof {
    use tana_consensus::evidence::{
        CONFLICTING_FINALIZE, CONFLICTING_NOTARIZE, NULLIFY_FINALIZE, VotesError, check, epoch,
    };
    let name = match kind {
        CONFLICTING_NOTARIZE => "conflicting notarize votes",
        CONFLICTING_FINALIZE => "conflicting finalize votes",
        NULLIFY_FINALIZE => "nullify and finalize votes",
        _ => "votes of an unknown kind",
    };
    let proof = Proof { kind: name, epoch: epoch(kind, first, second), ..blank };
    let hash = genesis.hash();
    // Only the set of the epoch explains the signatures; another one leaves them unsigned.
    let mut verdicts = sets.iter().map(|set| check(&hash, set, kind, first, second));
    let verdict = verdicts.find(|verdict| *verdict != Err(VotesError::Unsigned)).unwrap_or(Err(VotesError::Unsigned));
    match verdict {
        Ok(offence) => Proof {
            author: Some(PublicKey(offence.culprit)),
            epoch: Some(offence.epoch),
            view: Some(offence.view),
            verdict: "proven",
            ..proof
        },
        // Epochs 0 and 1 have the set of the genesis; a later one may have another.
        Err(VotesError::Unsigned) if proof.epoch.is_some_and(|epoch| epoch > 1) => {
            Proof { reason: "not signed by a validator of a set that this data folder knows".to_owned(), ..proof }
        }
        Err(error) => Proof { verdict: "false", reason: error.to_string(), ..proof },
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
