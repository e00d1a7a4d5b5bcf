//! Large pages for large tables.
//!
//! Every transaction touches some ten places of tables that hold a hundred bytes and more per account, and no two transactions touch the
//! same ones. With pages of 4 KiB nearly each touch costs a page table walk on top of the trip to memory, and on a virtual machine the walk is
//! the dearer part. Pages of 2 MiB do away with it. Linux gives them to memory for which it is asked (`madvise`); a refusal changes nothing
//! but the speed.
//!
//! Large pages come whole, so a table asks for them only where it will be filled, or nearly: tables of a chunk are aligned to the page
//! ([`HUGE_PAGE_BYTES`]) and are multiples of it, so that nothing but the unused end of the last page is lost.
//!
//! This is the only module of the crate with `unsafe`.

/// Bytes of a large page where this engine is mostly run; other sizes work too.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Both ends of the advised range are multiples of this: the largest small page of the platforms in use, so that the range is
/// aligned on each of them.
#[cfg(target_os = "linux")]
const PAGE_BYTES: usize = 64 << 10;

/// Asks for large pages behind `memory`, if it is large enough to gain by them. Best called before that memory is written to.
#[cfg(target_os = "linux")]
pub fn use_huge_pages<T: ?Sized>(memory: &mut T) {
    let bytes = size_of_val(memory);
    if bytes < HUGE_PAGE_BYTES {
        return;
    }
    let first = std::ptr::from_mut(memory).cast::<u8>();
    let skip = first.align_offset(PAGE_BYTES);
    let length = bytes.saturating_sub(skip) / PAGE_BYTES * PAGE_BYTES;
    let start = first.wrapping_add(skip);
    // SAFETY: `start .. start + length` lies within the value behind the exclusive reference, because `skip + length <= bytes`. This
    // advice changes neither content nor access rights, only the size of the pages behind the range.
    let advised = unsafe { rustix::mm::madvise(start.cast(), length, rustix::mm::Advice::LinuxHugepage) };
    // A kernel without large pages says so here; the table then has small ones, as it would have had anyway.
    let _ = advised;
}

/// Other systems choose page sizes themselves.
#[cfg(not(target_os = "linux"))]
pub fn use_huge_pages<T: ?Sized>(_memory: &mut T) {}
