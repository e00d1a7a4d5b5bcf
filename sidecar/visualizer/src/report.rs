//! What the sources tell the model: readings of the registry, and reports of validators. A report is untrusted; [`crate::telemetry`]
//! bounds its lists and texts, and the model believes no single validator about the others or about the chain.

use crate::frame::{Latency, MeshNode, Pending, Stage};

/// Peers that a report names at most.
pub const PEERS_MAX: usize = 256;
/// Stages that a report names at most.
pub const STAGES_MAX: usize = 32;
/// Characters of a text of a report.
pub const TEXT_CHARACTERS_MAX: usize = 160;

/// The number of a source: every validator's source has its own, and one that is started anew gets another. So what an old source still
/// has on the way is told apart.
pub type SourceId = u64;

/// One thing that the model is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// All nodes of the registry.
    Nodes(Vec<MeshNode>),
    /// What a source says of its validator.
    Report(SourceId, Report),
}

/// What a source says of its validator. Everything but [`Report::Down`] means that the validator was heard.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// It answers. The next word of it is expected within so many milliseconds.
    Up {
        /// How often it is usually heard, milliseconds.
        every_ms: u64,
    },
    /// It does not answer, and why.
    Down(String),
    /// Who and how it is.
    Status(Status),
    /// All its links.
    Peers(Vec<PeerLink>),
    /// One of its links changed.
    Peer(PeerLink),
    /// It entered a view.
    View {
        /// The epoch.
        epoch: u64,
        /// The view in it.
        view: u64,
        /// The leader's key; empty where it does not know.
        leader: String,
    },
    /// The last height that it has executed and stored.
    Committed(u64),
    /// The last height that it knows to be final.
    Finalized {
        /// The height.
        height: u64,
        /// Who proposed it; empty where it does not know.
        proposer: String,
    },
    /// A leader's block came in, or was sent when it leads itself.
    Proposal {
        /// The leader's key.
        leader: String,
    },
    /// It saw a vote, perhaps its own.
    Vote(Vote),
    /// Its counters.
    Sample(Sample),
    /// Transactions that wait there, newest last.
    Pending(Vec<Pending>),
    /// It found a proof against the validator with this key; empty where the proof names nobody.
    Evidence(String),
}

/// What is voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoteKind {
    /// A block is supported.
    Notarize,
    /// A block is to be final.
    Finalize,
    /// A view is to be skipped.
    Nullify,
}

/// A vote that somebody saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// The epoch.
    pub epoch: u64,
    /// The view in it.
    pub view: u64,
    /// Whose vote it is, a key.
    pub voter: String,
    /// What it says.
    pub kind: VoteKind,
    /// The key of the view's leader; empty where it is not known.
    pub leader: String,
}

/// Who and how a validator is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its key as it says itself.
    pub key: String,
    /// Whether its votes count.
    pub voting: bool,
    /// Why not.
    pub reason: String,
    /// The last height that it has executed and stored.
    pub height: u64,
    /// The last height that it knows to be final.
    pub finalized_height: u64,
    /// The epoch.
    pub epoch: u64,
    /// The view in it.
    pub view: u64,
    /// The leader's key; empty where it does not know.
    pub leader: String,
}

/// A link of a validator to another one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerLink {
    /// The other one's key.
    pub key: String,
    /// Whether it is up.
    pub connected: bool,
}

/// Counters of a validator, rounded to what a person can see.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Transactions applied since the genesis.
    pub applied_total: u64,
    /// Transactions applied a second.
    pub applied_tps: f64,
    /// Transactions made final a second.
    pub finalized_tps: f64,
    /// Transactions that wait there.
    pub waiting: u64,
    /// How long transactions take.
    pub latency: Latency,
    /// What its stages do.
    pub stages: Vec<Stage>,
}
