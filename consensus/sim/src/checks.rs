//! What must hold at every step, whatever fails and whoever lies.
//!
//! One [`Checks`] for a whole simulation hears of everything that honest nodes do: blocks handed over as final, blocks made durable and
//! reported as final, executions, restarts. It keeps the first violation; the simulation then ends and names its seed. It remembers
//! across restarts, unlike the nodes. Byzantine nodes are not heard.
//!
//! | rule | violation |
//! |---|---|
//! | one block at a height, on every node and across restarts | [`Violation::Fork`] |
//! | heights come in order, without a gap | [`Violation::Order`] |
//! | equal roots and codes at equal heights | [`Violation::Roots`] |
//! | a header attests the roots that were computed | [`Violation::Attested`] |
//! | no batch is listed twice | [`Violation::ListedTwice`] |
//! | no transaction takes effect twice | [`Violation::AppliedTwice`] |
//! | what was reported final is still there after a crash | [`Violation::FinalLost`] |
//! | every transaction reported final is in every node's chain at the end | [`Violation::Missing`] |
//! | all balances add up | [`Violation::Money`] |
//! | one sovereign | [`Violation::Sovereigns`] |
//! | honest nodes do not block each other, nor prove things against each other | [`Violation::Framed`] |
//! | progress after healing | [`Violation::Stalled`] |
//! | anything that a node could not do although rules say it can | [`Violation::Broken`] |

use std::collections::BTreeMap;

use tana_order::ExecutedRoots;
use tana_types::Hash;
use tana_types::header::BlockHeader;
use thiserror::Error;

use crate::ledger::Executed;

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// Two blocks at a height.
    #[error("two finalized blocks at height {height}: {first} on node {first_node}, {second} on node {second_node}")]
    Fork {
        /// The height.
        height: u64,
        /// Who had the first.
        first_node: usize,
        /// Its hash in hexadecimal digits.
        first: String,
        /// Who had the other one.
        second_node: usize,
        /// Its hash.
        second: String,
    },
    /// A height out of order.
    #[error("node {node} was given height {height} as final behind height {tip}")]
    Order {
        /// Whom.
        node: usize,
        /// What it was given.
        height: u64,
        /// What it had.
        tip: u64,
    },
    /// Different results of one block.
    #[error("nodes {first_node} and {second_node} computed different roots or codes at height {height}")]
    Roots {
        /// The height.
        height: u64,
        /// Who computed it first.
        first_node: usize,
        /// Who computed something else.
        second_node: usize,
    },
    /// A finalized header with wrong roots.
    #[error(
        "the finalized header at height {height} attests roots of height {attested} that node {node} did not compute"
    )]
    Attested {
        /// The header's height.
        height: u64,
        /// What it attests.
        attested: u64,
        /// Who noticed.
        node: usize,
    },
    /// A batch in two blocks.
    #[error("one batch is listed at height {first} and at height {second}")]
    ListedTwice {
        /// The lower height.
        first: u64,
        /// The higher one.
        second: u64,
    },
    /// A transaction with two effects.
    #[error("transaction {id} took effect at height {first} and at height {second}")]
    AppliedTwice {
        /// Its identifier.
        id: String,
        /// Where first.
        first: u64,
        /// Where again.
        second: u64,
    },
    /// Reported final, and gone after a restart.
    #[error("node {node} had reported height {reported} as final and came back with height {recovered}")]
    FinalLost {
        /// Which.
        node: usize,
        /// What it had reported.
        reported: u64,
        /// What it came back with.
        recovered: u64,
    },
    /// Reported final, and not in a node's chain.
    #[error("transaction {id}, reported final at height {height}, is {count} times in the chain of node {node}")]
    Missing {
        /// Its identifier.
        id: String,
        /// Where it was reported.
        height: u64,
        /// Whose chain.
        node: usize,
        /// How often it is there, or how often it took effect.
        count: usize,
    },
    /// Money came or went.
    #[error("after height {height} all balances add up to {found} on node {node}, not to {expected}")]
    Money {
        /// The height.
        height: u64,
        /// On which node.
        node: usize,
        /// The sum.
        found: u128,
        /// What it should be.
        expected: u128,
    },
    /// None or several.
    #[error("after height {height} there are {count} sovereigns on node {node}")]
    Sovereigns {
        /// The height.
        height: u64,
        /// On which node.
        node: usize,
        /// How many.
        count: usize,
    },
    /// An honest node was taken for a liar.
    #[error("honest node {node} {deed} honest node {victim}")]
    Framed {
        /// Who.
        node: usize,
        /// What it did.
        deed: &'static str,
        /// Whom.
        victim: usize,
    },
    /// No progress.
    #[error("{waited_ms} ms after healing, {what}")]
    Stalled {
        /// How long it was waited, simulated milliseconds.
        waited_ms: u64,
        /// What did not happen.
        what: String,
    },
    /// Something else.
    #[error("node {node}: {what}")]
    Broken {
        /// Which.
        node: usize,
        /// What.
        what: String,
    },
}

/// What is known of a height.
#[derive(Debug, Clone)]
struct Height {
    node: usize,
    hash: Hash,
    executed: Option<(usize, ExecutedRoots, Vec<u8>)>,
}

/// See the module's text.
#[derive(Debug, Clone, Default)]
pub struct Checks {
    money: u128,
    heights: BTreeMap<u64, Height>,
    /// The last height that each node was given since it started, and the last one that it reported as final ever.
    tips: BTreeMap<usize, u64>,
    reported_heights: BTreeMap<usize, u64>,
    /// Where each batch is listed.
    listed: BTreeMap<Hash, u64>,
    /// Where each transaction took effect.
    effects: BTreeMap<Hash, u64>,
    /// Where each transaction was reported final.
    reported: BTreeMap<Hash, u64>,
    violation: Option<Violation>,
}

impl Checks {
    /// Checks of a chain whose balances add up to `money`.
    pub fn new(money: u128) -> Self {
        Self { money, ..Self::default() }
    }

    /// The first broken rule.
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes a broken rule; only the first one is kept.
    pub fn broken(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// The highest finalized height of any node.
    pub fn highest(&self) -> u64 {
        self.heights.last_key_value().map_or(0, |(&height, _)| height)
    }

    /// The finalized hash at a height.
    pub fn hash_at(&self, height: u64) -> Option<Hash> {
        self.heights.get(&height).map(|known| known.hash)
    }

    /// Transactions that were reported final.
    pub fn reported_count(&self) -> usize {
        self.reported.len()
    }

    /// A node starts, with this tip from its disk.
    pub fn started(&mut self, node: usize, tip: u64) {
        let reported = self.reported_heights.get(&node).copied().unwrap_or(0);
        if tip < reported {
            self.broken(Violation::FinalLost { node, reported, recovered: tip });
        }
        self.tips.insert(node, tip);
    }

    /// A node is given a finalized block.
    pub fn finalized(&mut self, node: usize, header: &BlockHeader, hash: &Hash) {
        let height = header.height;
        let tip = self.tips.insert(node, height).unwrap_or(0);
        if tip + 1 != height {
            self.broken(Violation::Order { node, height, tip });
        }
        self.one_block(node, height, hash);
        for digest in header.lanes.iter().flat_map(|lane| &lane.digests) {
            let first = *self.listed.entry(*digest).or_insert(height);
            if first != height {
                self.broken(Violation::ListedTwice { first: first.min(height), second: first.max(height) });
            }
        }
    }

    fn one_block(&mut self, node: usize, height: u64, hash: &Hash) {
        let known = self.heights.entry(height).or_insert_with(|| Height { node, hash: *hash, executed: None });
        if &known.hash != hash {
            let (first_node, first) = (known.node, hex::encode(known.hash));
            self.broken(Violation::Fork { height, first_node, first, second_node: node, second: hex::encode(hash) });
        }
    }

    /// A node has made a block durable and told its clients that these transactions are final.
    pub fn reported(&mut self, node: usize, height: u64, ids: impl IntoIterator<Item = Hash>) {
        let highest = self.reported_heights.entry(node).or_default();
        *highest = (*highest).max(height);
        for id in ids {
            self.reported.entry(id).or_insert(height);
        }
    }

    /// A node has executed a block whose transactions have these identifiers.
    pub fn executed(&mut self, node: usize, header: &BlockHeader, ids: &[Hash], executed: &Executed) {
        let height = header.height;
        self.one_block(node, height, &header.hash());
        if executed.money != self.money {
            let expected = self.money;
            self.broken(Violation::Money { height, node, found: executed.money, expected });
        }
        if executed.sovereigns != 1 {
            self.broken(Violation::Sovereigns { height, node, count: executed.sovereigns });
        }
        self.attested(node, header);
        let Some(known) = self.heights.get_mut(&height) else { return };
        match &known.executed {
            None => known.executed = Some((node, executed.roots, executed.codes.clone())),
            Some((first_node, roots, codes)) => {
                if roots != &executed.roots || codes != &executed.codes {
                    let first_node = *first_node;
                    self.broken(Violation::Roots { height, first_node, second_node: node });
                }
                return;
            }
        }
        for (id, _) in ids.iter().zip(&executed.codes).filter(|(_, code)| Executed::took_effect(**code)) {
            let first = *self.effects.entry(*id).or_insert(height);
            if first != height {
                self.broken(Violation::AppliedTwice { id: hex::encode(id), first, second: height });
            }
        }
    }

    /// The roots in a finalized header are those that were computed.
    fn attested(&mut self, node: usize, header: &BlockHeader) {
        let attested = header.executed_height;
        let Some((_, roots, _)) = self.heights.get(&attested).and_then(|known| known.executed.as_ref()) else { return };
        let claimed = (header.state_root, header.receipts_root, header.validator_set_hash);
        if claimed != (roots.state_root, roots.receipts_root, roots.validator_set_hash) {
            self.broken(Violation::Attested { height: header.height, attested, node });
        }
    }

    /// At the end: the whole chain of a node, read from its disk and executed again, as (height, identifiers, codes).
    pub fn audited(&mut self, node: usize, chain: &[(u64, Vec<Hash>, Vec<u8>)]) {
        let end = chain.last().map_or(0, |(height, ..)| *height);
        let mut present: BTreeMap<Hash, (usize, usize)> = BTreeMap::new();
        for (_, ids, codes) in chain {
            for (id, code) in ids.iter().zip(codes) {
                let counts = present.entry(*id).or_default();
                counts.0 += 1;
                counts.1 += usize::from(Executed::took_effect(*code));
            }
        }
        let bad = self.reported.iter().filter(|(_, height)| **height <= end).find_map(|(id, &height)| {
            let (there, effects) = present.get(id).copied().unwrap_or_default();
            // A copy that takes effect may lie above this node's end.
            let expected = usize::from(self.effects.get(id).is_some_and(|height| *height <= end));
            let good = there > 0 && effects == expected;
            (!good).then(|| Violation::Missing {
                id: hex::encode(id),
                height,
                node,
                count: if there == 0 { 0 } else { effects },
            })
        });
        if let Some(violation) = bad {
            self.broken(violation);
        }
    }
}

#[cfg(test)]
mod tests;
