//! What the chain itself says of a range of heights: how many transactions its blocks hold, and how they ended. Asked of one validator,
//! block by block, after the flood.

use std::time::{Duration, Instant};

use tana_net::ServerPin;
use tana_types::query::{Answer, Block, Request};

use super::network::Member;
use super::watch;
use crate::error::CliError;
use crate::node::{Node, Target, runtime};

/// How long the validator may take until it has committed the last of them.
const COMMITTED: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Sums over a range of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockSums {
    /// Blocks.
    pub blocks: u64,
    /// Of these, without transactions.
    pub empty: u64,
    /// Transactions listed.
    pub transactions: u64,
    /// Of these, applied.
    pub applied: u64,
    /// The most transactions of one block.
    pub transactions_max: u64,
}

impl BlockSums {
    fn add(&mut self, block: &Block) {
        let transactions = u64::from(block.transactions);
        self.blocks += 1;
        self.empty += u64::from(transactions == 0);
        self.transactions += transactions;
        self.applied +=
            block.codes.iter().filter(|(code, _)| code == "applied").map(|(_, count)| u64::from(*count)).sum::<u64>();
        self.transactions_max = self.transactions_max.max(transactions);
    }
}

/// Sums over several ranges of heights, each `(after, up to)`: the first height is not counted, the last one is.
///
/// # Errors
/// [`CliError`] when the validator does not answer, or has not committed the last height within 30 s.
pub fn sums<const N: usize>(member: &Member, ranges: [(u64, u64); N]) -> Result<[BlockSums; N], CliError> {
    let mut sums = [BlockSums::default(); N];
    let first = ranges.iter().filter(|(after, to)| to > after).map(|(after, _)| *after).min();
    let last = ranges.iter().map(|(_, to)| *to).max().unwrap_or(0);
    let Some(first) = first else { return Ok(sums) };
    await_commit(member, last)?;
    runtime()?.block_on(async {
        let target = Target::known(member.transactions, ServerPin::Key(member.key.0), member.name.clone());
        let node = target.connect().await?;
        for height in first + 1..=last {
            let block = ask(&node, height).await?;
            for (sum, (after, to)) in sums.iter_mut().zip(ranges) {
                if (after + 1..=to).contains(&height) {
                    sum.add(&block);
                }
            }
        }
        node.close().await;
        Ok(sums)
    })
}

async fn ask(node: &Node, height: u64) -> Result<Block, CliError> {
    match node.ask(&Request::Block { height: Some(height) }).await? {
        Answer::Block(block) => Ok(block),
        _ => Err(node.other_answer("block")),
    }
}

fn await_commit(member: &Member, height: u64) -> Result<(), CliError> {
    let begin = Instant::now();
    loop {
        let committed = watch::health(member).map_or(0, |health| health.height);
        if committed >= height {
            return Ok(());
        }
        if begin.elapsed() > COMMITTED {
            let (name, seconds) = (&member.name, COMMITTED.as_secs());
            return Err(CliError::Node(format!(
                "{name} has committed height {committed} {seconds} s after the flood, but height {height} is final; see {}",
                member.log().display()
            )));
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_added_up() {
        let block = |transactions, codes: &[(&str, u32)]| Block {
            height: 1,
            hash: String::new(),
            parent: String::new(),
            proposer: String::new(),
            timestamp_ms: 0,
            executed_height: 0,
            state_root: String::new(),
            receipts_root: String::new(),
            transaction_root: String::new(),
            batches: Vec::new(),
            transactions,
            codes: codes.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect(),
        };
        let mut sums = BlockSums::default();
        sums.add(&block(10, &[("applied", 8), ("duplicate", 2)]));
        sums.add(&block(0, &[]));
        sums.add(&block(3, &[("applied", 3)]));
        assert_eq!(sums, BlockSums { blocks: 3, empty: 1, transactions: 13, applied: 11, transactions_max: 10 });
    }
}
