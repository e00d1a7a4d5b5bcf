//! The library's own store of finalized blocks and certificates, from which it answers peers that were away.
//!
//! Both are archives by height that can be pruned from below. They repeat what the host keeps in its order log, a few hundred bytes a block,
//! because the library must be able to serve them in its own form without asking anybody.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};

use commonware_consensus::marshal::core::Actor;
use commonware_consensus::marshal::{Config, Start};
use commonware_consensus::simplex::types::Finalization;
use commonware_consensus::types::ViewDelta;
use commonware_cryptography::Digested;
use commonware_cryptography::certificate::Verifier as _;
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_storage::archive::{Archive as _, prunable};
use commonware_storage::translator::EightCap;

use super::block::{Block, BlockConfig, Digest};
use super::deliver::BLOCKS_IN_FLIGHT_MAX;
use super::heights::Epochs;
use super::scheme::{Scheme, Schemes};
use super::{Environment, StartError};

/// A number that is above 0 as written.
macro_rules! above_zero {
    ($kind:ty, $value:expr) => {{
        const VALUE: $kind = <$kind>::new($value).unwrap();
        VALUE
    }};
}
pub(crate) use above_zero;

/// Blocks of one file: what pruning frees at a time.
const ITEMS_PER_SECTION: NonZeroU64 = above_zero!(NonZeroU64, 1_024);
/// Bytes gathered before they are written.
const WRITE_BUFFER_BYTES: NonZeroUsize = above_zero!(NonZeroUsize, 64 << 10);
/// Bytes read at a time at start.
pub(crate) const REPLAY_BUFFER_BYTES: NonZeroUsize = above_zero!(NonZeroUsize, 1 << 20);
/// A page of the cache, with the library's checksum of 12 bytes 4 KiB on the disk.
const PAGE_BYTES: NonZeroU16 = above_zero!(NonZeroU16, 4_084);
/// Pages of the cache: 2 MiB.
const PAGES: NonZeroUsize = above_zero!(NonZeroUsize, 512);
/// Messages that may wait in one of the library's mailboxes before its overflow policy applies.
pub(crate) const MAILBOX_MESSAGES: NonZeroUsize = above_zero!(NonZeroUsize, 1_024);
/// Heights that are fetched at a time by a node that was away.
const REPAIR_HEIGHTS: NonZeroUsize = above_zero!(NonZeroUsize, 64);
/// Views for which blocks that were not finalized stay at hand.
const VIEWS_KEPT: u64 = 64;

/// The archive of finalization certificates.
pub(crate) type Certificates<E> = prunable::Archive<EightCap, E, Digest, Finalization<Scheme, Digest>>;
/// The archive of finalized blocks.
pub(crate) type Blocks<E> = prunable::Archive<EightCap, E, Digest, std::sync::Arc<Block>>;
/// Marshal over these archives.
pub(crate) type Marshal<E> = Actor<
    E,
    commonware_consensus::marshal::standard::Standard<Block>,
    Schemes,
    Certificates<E>,
    Blocks<E>,
    Epochs,
    Sequential,
>;

/// Opened archives.
pub(crate) struct Store<E: Environment> {
    pub certificates: Certificates<E>,
    pub blocks: Blocks<E>,
    /// The highest block stored; 0 where none is.
    pub highest: u64,
    pub page_cache: CacheRef,
}

/// Opens the archives under `prefix`.
pub(crate) async fn open<E: Environment>(
    context: &E,
    prefix: &str,
    config: BlockConfig,
) -> Result<Store<E>, StartError> {
    let page_cache = CacheRef::new(PAGE_BYTES, PAGES);
    let certificates = prunable::Archive::init(
        context.child("certificates"),
        archive_config(&format!("{prefix}-certificates"), &page_cache, Scheme::certificate_codec_config_unbounded()),
    )
    .await
    .map_err(StartError::storage)?;
    let blocks: Blocks<E> = prunable::Archive::init(
        context.child("blocks"),
        archive_config(&format!("{prefix}-blocks"), &page_cache, config),
    )
    .await
    .map_err(StartError::storage)?;
    let highest = blocks.last_index().unwrap_or(0);
    Ok(Store { certificates, blocks, highest, page_cache })
}

fn archive_config<C>(prefix: &str, page_cache: &CacheRef, codec_config: C) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{prefix}-metadata"),
        key_partition: format!("{prefix}-keys"),
        key_page_cache: page_cache.clone(),
        value_partition: format!("{prefix}-values"),
        compression: None,
        codec_config,
        items_per_section: ITEMS_PER_SECTION,
        key_write_buffer: WRITE_BUFFER_BYTES,
        value_write_buffer: WRITE_BUFFER_BYTES,
        replay_buffer: REPLAY_BUFFER_BYTES,
    }
}

/// How marshal is set up.
pub(crate) fn marshal_config(
    prefix: &str,
    schemes: Schemes,
    epochs: Epochs,
    start: Start<Scheme, Digest, Digested<Block>>,
    config: BlockConfig,
    page_cache: CacheRef,
) -> Config<Schemes, Epochs, Sequential, Block, Digested<Block>> {
    Config {
        provider: schemes,
        epocher: epochs,
        start,
        partition_prefix: format!("{prefix}-marshal"),
        mailbox_size: MAILBOX_MESSAGES,
        view_retention: ViewDelta::new(VIEWS_KEPT),
        prunable_items_per_section: ITEMS_PER_SECTION,
        page_cache,
        replay_buffer: REPLAY_BUFFER_BYTES,
        key_write_buffer: WRITE_BUFFER_BYTES,
        value_write_buffer: WRITE_BUFFER_BYTES,
        block_codec_config: config,
        max_repair: REPAIR_HEIGHTS,
        max_pending_acks: BLOCKS_IN_FLIGHT_MAX,
        strategy: Sequential,
    }
}
