//! Large pages for large levels.
//!
//! Walking a tree of 10 million accounts touches some 100,000 places that have nothing to do with each other, and with pages of
//! 4 KiB nearly each of them costs a page table walk on top of the trip to memory. Pages of 2 MiB make updates about a tenth
//! faster. Linux gives them to memory for which it is asked (`madvise`); a refusal changes nothing but the speed.
//!
//! This is the only module of the crate with `unsafe`.

use crate::group::Group;

/// Below this size a level has nothing to gain.
const LEVEL_BYTES_MIN: usize = 4 << 20;

/// Both ends of the advised range are multiples of this: the largest page size of the platforms in use, so that the range is
/// aligned on each of them.
const PAGE_BYTES: usize = 64 << 10;

/// Asks for large pages for all memory that the level has reserved. Best called before that memory is used.
#[cfg(target_os = "linux")]
pub(crate) fn advise(level: &mut Vec<Group>) {
    let bytes = level.capacity() * size_of::<Group>();
    if bytes < LEVEL_BYTES_MIN {
        return;
    }
    let skip = level.as_ptr().cast::<u8>().align_offset(PAGE_BYTES);
    let length = bytes.saturating_sub(skip) / PAGE_BYTES * PAGE_BYTES;
    if length == 0 {
        return;
    }
    let start = level.as_mut_ptr().cast::<u8>().wrapping_add(skip);
    // SAFETY: `start .. start + length` lies within the vector's own allocation, because `skip + length <= bytes`. This advice
    // changes neither content nor access rights, only the size of the pages behind the range.
    let advised = unsafe { rustix::mm::madvise(start.cast(), length, rustix::mm::Advice::LinuxHugepage) };
    // A kernel without large pages says so here; the level then has small ones, as it would have had anyway.
    let _ = advised;
}

/// Other systems choose page sizes themselves.
#[cfg(not(target_os = "linux"))]
pub(crate) fn advise(_level: &mut Vec<Group>) {}
