//! Failures on demand: a full disk or a torn write at a chosen write, without root, quota or a broken disk.
//!
//! A plan is part of the configuration and empty by default. Writes are counted from 0 in the order in which a store
//! issues them: the log thread counts group and seal writes over all its logs, the checkpoint counts commits.

/// One failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Write number `write` fails as on a full disk; nothing of it reaches the file.
    NoSpace {
        /// Number of the write, from 0.
        write: u64,
    },
    /// Of write number `write` only the first `bytes` bytes reach the file, then it fails, as in a power cut.
    Tear {
        /// Number of the write, from 0.
        write: u64,
        /// Bytes that still reach the file.
        bytes: usize,
    },
    /// Segment number `segment` (of any log) cannot be created: the disk is full.
    NoSpaceForSegment {
        /// Segment number, from 1.
        segment: u32,
    },
}

/// Which failures to inject; the default injects none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// The failures, in any order.
    pub faults: Vec<Fault>,
}

/// What the plan says about one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Do the write.
    Pass,
    /// Fail as on a full disk.
    NoSpace,
    /// Write this many bytes, then fail.
    Tear(usize),
}

impl FaultPlan {
    /// A plan of one failure.
    pub fn one(fault: Fault) -> Self {
        Self { faults: vec![fault] }
    }

    /// What happens to write number `number`.
    pub(crate) fn verdict(&self, number: u64) -> Verdict {
        for fault in &self.faults {
            match fault {
                Fault::NoSpace { write } if *write == number => return Verdict::NoSpace,
                Fault::Tear { write, bytes } if *write == number => return Verdict::Tear(*bytes),
                _ => {}
            }
        }
        Verdict::Pass
    }

    /// Whether segment `number` cannot be created.
    pub(crate) fn refuses_segment(&self, number: u32) -> bool {
        self.faults.iter().any(|fault| matches!(fault, Fault::NoSpaceForSegment { segment } if *segment == number))
    }
}

/// The error of a full disk.
pub(crate) fn no_space() -> std::io::Error {
    rustix::io::Errno::NOSPC.into()
}
