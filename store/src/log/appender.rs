//! One log as the log thread sees it: where the next group goes, the group being collected, the move to the next segment.

use std::path::PathBuf;

use super::Position;
use super::config::LogConfig;
use super::format::{BLOCK_BYTES, RecordHeader, Seal, SegmentHeader};
use super::maker::SegmentMaker;
use super::metrics::LogMetrics;
use super::recover::Recovered;
use super::segment::{Durability, Segment, segment_path};
use super::staging::Staging;
use super::writer::Writer;
use crate::StoreError;
use crate::fault::{FaultPlan, Verdict, no_space};

/// The segment after the current one.
#[derive(Debug)]
enum Spare {
    /// Not ordered yet: the current segment is still empty.
    None,
    /// The maker is at it.
    Ordered,
    /// Written ahead.
    Ready,
    /// It could not be made; tried again when it is needed.
    Failed,
}

/// The writer, and what stands between it and the disk in tests.
pub(super) struct Disk {
    pub writer: Writer,
    pub durability: Durability,
    pub faults: FaultPlan,
    pub writes: u64,
}

impl Disk {
    /// Writes whole blocks, unless the fault plan says otherwise.
    fn write(&mut self, log: usize, staging: &mut Staging, length: usize, offset: u64) -> std::io::Result<()> {
        let verdict = self.faults.verdict(self.writes);
        self.writes += 1;
        match verdict {
            Verdict::Pass => self.writer.write(log, &mut staging.buffer, length, offset),
            Verdict::NoSpace => Err(no_space()),
            Verdict::Tear(bytes) => {
                staging.buffer.bytes_mut()[bytes.min(length)..length].fill(0);
                self.writer.write(log, &mut staging.buffer, length, offset)?;
                Err(std::io::Error::other("the fault plan tore this write"))
            }
        }
    }
}

/// Where a record went, or that it must wait for the next commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is in the group, and will stand there.
    At(Position),
    /// The group is full.
    Full,
    /// The segment is full and the group empty: roll over, then place it again.
    SegmentFull,
}

/// One log, being appended to.
pub(super) struct Appender {
    log: usize,
    name: String,
    folder: PathBuf,
    header: SegmentHeader,
    seed: u32,
    offset: u64,
    number: u64,
    group: u64,
    first_number: u64,
    first_group: u64,
    group_bytes_max: u64,
    staging: Staging,
    spare: Spare,
}

impl Appender {
    /// Continues a recovered log and opens its tail for writing.
    pub fn new(config: &LogConfig, log: usize, recovered: Recovered, disk: &mut Disk) -> Result<Self, StoreError> {
        // A single record may be larger than a group is meant to grow.
        let capacity = Staging::record_bytes(config.record_bytes_max).max(config.group_bytes_max as u64) as usize;
        let appender = Self {
            log,
            name: recovered.found.name,
            folder: recovered.folder,
            seed: recovered.header.seed(),
            header: recovered.header,
            offset: recovered.offset,
            number: recovered.expect.number,
            group: recovered.expect.group,
            first_number: recovered.first_number,
            first_group: recovered.first_group,
            group_bytes_max: config.group_bytes_max as u64,
            staging: Staging::new(capacity),
            spare: if recovered.spare_ready { Spare::Ready } else { Spare::None },
        };
        appender.attach(disk)?;
        Ok(appender)
    }

    /// Opens the current segment for writing.
    fn attach(&self, disk: &mut Disk) -> Result<(), StoreError> {
        let path = self.path();
        let file =
            disk.durability.open(&path).map_err(|source| StoreError::io("open for writing", &path, source, 0))?;
        disk.writer.attach(self.log, file);
        Ok(())
    }

    /// Path of the current segment.
    fn path(&self) -> PathBuf {
        segment_path(&self.folder, self.header.segment)
    }

    /// Bytes left for groups in the current segment.
    fn room(&self) -> u64 {
        (self.header.segment_bytes - BLOCK_BYTES as u64).saturating_sub(self.offset)
    }

    /// Copies one record into the group if there is room. The caller has checked its length against the configuration.
    pub fn place(&mut self, kind: u8, parts: &[&[u8]], length: usize) -> Placed {
        let room = self.room();
        let limit = if self.staging.is_empty() { room } else { room.min(self.group_bytes_max) };
        if !self.staging.fits(length, limit) {
            return if self.staging.is_empty() { Placed::SegmentFull } else { Placed::Full };
        }
        let header = RecordHeader {
            kind,
            flags: 0,
            length: length as u32,
            segment: self.header.segment,
            number: self.number,
            group: self.group,
            group_index: 0,
        };
        let offset = self.offset + self.staging.push(header, parts, self.seed);
        self.number += 1;
        Placed::At(Position { segment: self.header.segment, offset: offset as u32 })
    }

    /// Makes the collected group durable; does nothing when it is empty.
    pub fn commit(&mut self, disk: &mut Disk, maker: &SegmentMaker, metrics: &LogMetrics) -> Result<(), StoreError> {
        if self.staging.is_empty() {
            return Ok(());
        }
        let records = u64::from(self.staging.count());
        let length = self.staging.close();
        disk.write(self.log, &mut self.staging, length, self.offset)
            .map_err(|source| StoreError::io("append to", &self.path(), source, length as u64))?;
        self.staging.clear();
        self.offset += length as u64;
        self.group += 1;
        metrics.add_group(records, length as u64);
        if matches!(self.spare, Spare::None) {
            self.order_spare(maker);
        }
        Ok(())
    }

    /// Orders the next segment.
    fn order_spare(&mut self, maker: &SegmentMaker) {
        let ordered = maker.order(self.log, &self.name, self.folder.clone(), self.header.segment + 1);
        self.spare = if ordered { Spare::Ordered } else { Spare::Failed };
    }

    /// The maker has answered for this log.
    pub fn spare_done(&mut self, result: Result<(), StoreError>) -> Option<StoreError> {
        match result {
            Ok(()) => {
                self.spare = Spare::Ready;
                None
            }
            Err(error) => {
                tracing::warn!(log = %self.name, %error, "the next segment cannot be written ahead; trying again when it is needed");
                self.spare = Spare::Failed;
                Some(error)
            }
        }
    }

    /// Whether the next segment stands ready; orders it when nobody has, or when an earlier attempt failed.
    pub fn spare_ready(&mut self, maker: &SegmentMaker) -> bool {
        match self.spare {
            Spare::Ready => true,
            Spare::Ordered => false,
            Spare::None | Spare::Failed => {
                self.order_spare(maker);
                false
            }
        }
    }

    /// Seals the current segment and goes on in the next, which stands ready. The group is empty.
    pub fn roll_over(&mut self, disk: &mut Disk, metrics: &LogMetrics) -> Result<(), StoreError> {
        let seal = Seal {
            segment: self.header.segment,
            end_offset: self.offset as u32,
            first_number: self.first_number,
            next_number: self.number,
            first_group: self.first_group,
            next_group: self.group,
        };
        let seal_offset = self.header.segment_bytes - BLOCK_BYTES as u64;
        seal.encode(self.staging.buffer.bytes_mut(), self.seed);
        disk.write(self.log, &mut self.staging, BLOCK_BYTES, seal_offset)
            .map_err(|source| StoreError::io("seal", &self.path(), source, BLOCK_BYTES as u64))?;
        let next = Segment::open(&self.folder, &self.name, self.header.segment + 1)?;
        self.seed = next.seed;
        self.header = next.header;
        self.offset = BLOCK_BYTES as u64;
        self.first_number = self.number;
        self.first_group = self.group;
        self.spare = Spare::None;
        metrics.add_segment();
        self.attach(disk)
    }

    /// Whether the current segment holds no group yet.
    pub fn segment_is_empty(&self) -> bool {
        self.offset == BLOCK_BYTES as u64
    }
}
