//! Reads what proofs are made of from a node's logs: headers with their certificates, and the sections of a boundary's state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tana_commit::CommitRecord;
use tana_store::{DurableReader, DurableState, LogReader, Position, StoreError};
use tana_types::Hash;
use tana_types::header::BlockHeader;
use tana_types::state::StateSections;

use super::proof::{CHAIN_HEADERS_MAX, FinalChain};
use crate::block_index::BlockIndex;
use crate::pipeline::{BLOCK_LOG, LOG_NAMES, ORDER_LOG};

/// A header with its certificate, which is empty where none came.
pub type Certified = (BlockHeader, Vec<u8>);

/// A node's own chain, as far as it is committed.
pub trait ChainReader: Send + Sync {
    /// The header at a height; none when it is not there (any more).
    ///
    /// # Errors
    /// A text when the logs cannot be read.
    fn header(&self, height: u64) -> Result<Option<Certified>, String>;

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
}

/// The chain in the logs.
pub struct LoggedChain {
    /// The folder of the logs.
    pub logs: PathBuf,
    /// Where blocks lie.
    pub blocks: Arc<BlockIndex>,
}

/// Headers behind a block that are looked at for a certificate: in a chain that goes on, one comes within a few.
const CERTIFICATE_HEADERS_MAX: usize = 4_096;

/// A committed block that was looked up by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its height.
    pub height: u64,
    /// Its epoch.
    pub epoch: u64,
    /// The height at or above it whose certificate makes it final, and the certificate; none where none is there (yet).
    pub certificate: Option<(u64, Vec<u8>)>,
}

/// Why a block was not found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFound {
    /// No committed block that is kept here has the hash.
    Unknown,
    /// There was no time to look at all that are kept.
    TimeOver,
    /// The logs cannot be read.
    Unreadable(String),
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl LoggedChain {
    /// How far the logs may be read beside their writer.
    fn durable(&self) -> Result<Option<DurableState>, String> {
        DurableReader::open(&self.logs).and_then(|reader| reader.read()).map_err(text)
    }

    /// The last segment of the order log that begins at or below a height.
    fn order_segment(&self, height: u64, last: u32) -> Result<Option<u32>, String> {
        let reader = LogReader::open(&self.logs, LOG_NAMES[ORDER_LOG]).map_err(text)?;
        for segment in (reader.first_position().map_err(text)?.segment..=last).rev() {
            let mut records = match reader.iter_from(Position::segment_start(segment)) {
                Err(StoreError::Missing { .. }) => return Ok(None),
                other => other.map_err(text)?,
            };
            records.set_limit(Some(Position { segment, offset: u32::MAX }));
            let Some(record) = records.next_record().map_err(text)? else { continue };
            let (header, _) = crate::order_record::decode(record.payload).map_err(text)?;
            if header.height <= height {
                return Ok(Some(segment));
            }
        }
        Ok(None)
    }

    /// Looks a committed block up by its hash, the newest segment of the order log first; `height` says where it is, if that is known. Takes the time
    /// of reading the log, so it ends at `until`.
    ///
    /// # Errors
    /// [`NotFound`].
    pub fn find(&self, hash: &Hash, height: Option<u64>, until: Instant) -> Result<FoundBlock, NotFound> {
        let height = match height {
            Some(height) => height,
            None => self.height_of(hash, until)?.ok_or(NotFound::Unknown)?,
        };
        let (mut found, mut looked, mut over) = (None, 0, false);
        let visited = self.visit(height, &mut |header, certificate| {
            over = Instant::now() >= until;
            if looked == 0 && header.hash() == *hash {
                found = Some(FoundBlock { height, epoch: header.epoch, certificate: None });
            }
            looked += 1;
            let Some(block) = &mut found else { return false };
            if !certificate.is_empty() {
                block.certificate = Some((header.height, certificate.to_vec()));
            }
            block.certificate.is_none() && looked < CERTIFICATE_HEADERS_MAX && !over
        });
        visited.map_err(NotFound::Unreadable)?;
        match found {
            Some(block) if block.certificate.is_none() && over => Err(NotFound::TimeOver),
            Some(block) => Ok(block),
            None => Err(NotFound::Unknown),
        }
    }

    fn height_of(&self, hash: &Hash, until: Instant) -> Result<Option<u64>, NotFound> {
        let unreadable = |error: StoreError| NotFound::Unreadable(error.to_string());
        let durable = self.durable().map_err(NotFound::Unreadable)?;
        let Some(durable) = durable else { return Ok(None) };
        let Some(limit) = durable.positions.get(ORDER_LOG).copied() else { return Ok(None) };
        let reader = LogReader::open(&self.logs, LOG_NAMES[ORDER_LOG]).map_err(unreadable)?;
        for segment in (reader.first_position().map_err(unreadable)?.segment..=limit.segment).rev() {
            let mut records = match reader.iter_from(Position::segment_start(segment)) {
                Err(StoreError::Missing { .. }) => return Ok(None),
                other => other.map_err(unreadable)?,
            };
            records.set_limit(Some(limit));
            while let Some(record) = records.next_record().map_err(unreadable)? {
                if Instant::now() >= until {
                    return Err(NotFound::TimeOver);
                }
                let decoded = crate::order_record::decode(record.payload);
                let (header, _) = decoded.map_err(|error| NotFound::Unreadable(error.to_string()))?;
                if record.position.segment != segment || header.height > durable.height {
                    break;
                }
                if header.hash() == *hash {
                    return Ok(Some(header.height));
                }
            }
        }
        Ok(None)
    }

    /// Hands committed headers from `height` on to `visit`, until it says stop. Nothing is visited when the height is not there.
    fn visit(&self, height: u64, visit: &mut dyn FnMut(BlockHeader, &[u8]) -> bool) -> Result<(), String> {
        let Some(durable) = self.durable()?.filter(|durable| durable.height >= height) else { return Ok(()) };
        let Some(limit) = durable.positions.get(ORDER_LOG).copied() else { return Ok(()) };
        let Some(segment) = self.order_segment(height, limit.segment)? else { return Ok(()) };
        let reader = LogReader::open(&self.logs, LOG_NAMES[ORDER_LOG]).map_err(text)?;
        let mut records = reader.iter_from(Position::segment_start(segment)).map_err(text)?;
        records.set_limit(Some(limit));
        let mut next = height;
        while let Some(record) = records.next_record().map_err(text)? {
            let (header, certificate) = crate::order_record::decode(record.payload).map_err(text)?;
            if header.height < height {
                continue;
            }
            if header.height != next || !visit(header, certificate) {
                break;
            }
            next += 1;
        }
        Ok(())
    }
}

impl ChainReader for LoggedChain {
    fn header(&self, height: u64) -> Result<Option<Certified>, String> {
        let mut found = None;
        self.visit(height, &mut |header, certificate| {
            found = Some((header, certificate.to_vec()));
            false
        })?;
        Ok(found)
    }

    fn sections(&self, height: u64) -> Result<Option<StateSections>, String> {
        let Some(durable) = self.durable()?.filter(|durable| durable.height >= height) else { return Ok(None) };
        let Some((_, position)) = self.blocks.at_or_below(height) else { return Ok(None) };
        let reader = LogReader::open(&self.logs, LOG_NAMES[BLOCK_LOG]).map_err(text)?;
        let mut records = reader.iter_from(Position::from_u64(position)).map_err(text)?;
        records.set_limit(durable.positions.get(BLOCK_LOG).copied());
        while let Some(record) = records.next_record().map_err(text)? {
            let commit = CommitRecord::decode(record.payload).map_err(text)?;
            if commit.header.height >= height {
                return Ok(Some(commit.sections).filter(|sections| sections.height == height));
            }
        }
        Ok(None)
    }

    fn attestation(&self, boundary: u64) -> Result<Option<FinalChain>, String> {
        let mut headers: Vec<BlockHeader> = Vec::new();
        let mut found = None;
        self.visit(boundary + 1, &mut |header, certificate| {
            let same_epoch = headers.first().is_none_or(|first| first.epoch == header.epoch);
            if !same_epoch || headers.len() == CHAIN_HEADERS_MAX {
                return false;
            }
            if header.executed_height >= boundary && !certificate.is_empty() {
                found = Some(certificate.to_vec());
            }
            headers.push(header);
            found.is_none()
        })?;
        Ok(found.map(|certificate| FinalChain { headers, certificate }))
    }
}
