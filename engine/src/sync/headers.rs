//! Reads what proofs are made of from a node's logs: headers, the sections of a boundary's state, and certificates.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tana_commit::CommitRecord;
use tana_store::{LogReader, Position};
use tana_types::Hash;
use tana_types::header::BlockHeader;
use tana_types::state::StateSections;

use super::proof::{CHAIN_HEADERS_MAX, FinalChain};
use crate::block_index::BlockIndex;
use crate::pipeline::{BLOCK_LOG, LOG_NAMES};
use crate::published::Published;

/// Gives certificates of finalized blocks; agreement keeps them.
pub trait Finalizations: Send + Sync {
    /// The certificate of the block `hash` at `height`, when this node has one.
    fn certificate(&self, height: u64, hash: &Hash) -> Option<Vec<u8>>;
}

/// A node's own chain, as far as it is committed.
pub trait ChainReader: Send + Sync {
    /// The header at a height; none when it is not there (any more).
    ///
    /// # Errors
    /// A text when the logs cannot be read.
    fn header(&self, height: u64) -> Result<Option<BlockHeader>, String>;

    /// What the state root behind a height commits to.
    ///
    /// # Errors
    /// A text when the logs cannot be read.
    fn sections(&self, height: u64) -> Result<Option<StateSections>, String>;

    /// The headers behind a boundary, over the one that attests it, to the first one behind that with a certificate; all of one epoch. None when
    /// it is not there yet.
    ///
    /// # Errors
    /// A text when the logs cannot be read.
    fn attestation(&self, boundary: u64) -> Result<Option<FinalChain>, String>;

    /// The certificate of a committed block.
    fn certificate(&self, height: u64, hash: &Hash) -> Option<Vec<u8>>;
}

/// The chain in the block log.
pub struct LoggedChain {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
    /// What is committed.
    pub published: Arc<Published>,
    /// Certificates.
    pub finalizations: Arc<dyn Finalizations>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl LoggedChain {
    /// Hands committed records from `height` on to `visit`, until it says stop. Nothing is visited when the height is not there.
    fn visit(&self, height: u64, visit: &mut dyn FnMut(CommitRecord<'_>) -> bool) -> Result<(), String> {
        let committed = self.published.committed.load(Ordering::Acquire);
        let Some((_, position)) = self.blocks.at_or_below(height) else { return Ok(()) };
        if height > committed {
            return Ok(());
        }
        let reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(text)?;
        let mut records = reader.iter_from(Position::from_u64(position)).map_err(text)?;
        let mut next = height;
        while let Some(record) = records.next_record().map_err(text)? {
            let commit = CommitRecord::decode(record.payload).map_err(text)?;
            let found = commit.header.height;
            if found < height {
                continue;
            }
            if found > committed || found != next || !visit(commit) {
                break;
            }
            next += 1;
        }
        Ok(())
    }
}

impl ChainReader for LoggedChain {
    fn header(&self, height: u64) -> Result<Option<BlockHeader>, String> {
        let mut header = None;
        self.visit(height, &mut |record| {
            header = Some(record.header);
            false
        })?;
        Ok(header)
    }

    fn sections(&self, height: u64) -> Result<Option<StateSections>, String> {
        let mut sections = None;
        self.visit(height, &mut |record| {
            sections = Some(record.sections);
            false
        })?;
        Ok(sections)
    }

    fn attestation(&self, boundary: u64) -> Result<Option<FinalChain>, String> {
        let mut headers: Vec<BlockHeader> = Vec::new();
        let mut certificate = None;
        self.visit(boundary + 1, &mut |record| {
            let header = record.header;
            let same_epoch = headers.first().is_none_or(|first| first.epoch == header.epoch);
            if !same_epoch || headers.len() == CHAIN_HEADERS_MAX {
                return false;
            }
            if header.executed_height >= boundary {
                certificate = self.finalizations.certificate(header.height, &header.hash());
            }
            headers.push(header);
            certificate.is_none()
        })?;
        Ok(certificate.map(|certificate| FinalChain { headers, certificate }))
    }

    fn certificate(&self, height: u64, hash: &Hash) -> Option<Vec<u8>> {
        self.finalizations.certificate(height, hash)
    }
}
