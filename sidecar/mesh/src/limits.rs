//! Every bound of the registry, with its unit. Together they bound its memory and its database: below 200 MB when all are met at once.

use std::num::NonZeroU32;

/// Nodes of any status.
pub const NODES_MAX: usize = 16_384;
/// Nodes that wait for the sovereign.
pub const PENDING_MAX: usize = 2_048;
/// Of these, from one address (of IPv6: from one /64).
pub const PENDING_PER_ADDRESS_MAX: usize = 256;
/// Services of a node.
pub const SERVICES_MAX: usize = 16;
/// Characters of a node's id.
pub const ID_CHARACTERS_MAX: usize = 64;
/// Characters of a host name or URL.
pub const HOSTNAME_CHARACTERS_MAX: usize = 255;
/// Characters of a service's type.
pub const SERVICE_TYPE_CHARACTERS_MAX: usize = 32;
/// Characters of a sovereign key's description.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 200;
/// Sovereign keys with a description.
pub const DESCRIPTIONS_MAX: usize = 64;
/// Least characters of a nonce.
pub const NONCE_CHARACTERS_MIN: usize = 16;
/// Most characters of a nonce.
pub const NONCE_CHARACTERS_MAX: usize = 64;
/// Nonces that are remembered at a time, each for [`NONCE_LIFE_MS`].
pub const NONCES_MAX: usize = 65_536;
/// How far a signed time may be from the mesh's clock, either way.
pub const WINDOW_MS: u64 = 60_000;
/// How long behind its signed time a nonce is remembered: the window, and as much again should the clock be set back.
pub const NONCE_LIFE_MS: u64 = 2 * WINDOW_MS;
/// Heartbeats of each node that are kept.
pub const HEARTBEATS_KEPT: usize = 16;
/// Silence after which an active node is offline.
pub const SILENCE_MS: u64 = 5 * 60_000;
/// Least time that a mesh listens, after its start, before it calls anybody silent.
pub const START_GRACE_MS: u64 = 60_000;
/// How long a registration waits for the sovereign before it is forgotten.
pub const PENDING_LIFE_MS: u64 = 7 * 24 * 3_600_000;
/// How often the registry looks for silent nodes.
pub const SWEEP_INTERVAL_MS: u64 = 5_000;
/// How often heartbeats are written to disk: what a crash may lose of them.
pub const FLUSH_INTERVAL_MS: u64 = 1_000;
/// Nodes in one answer; `next` tells where the following begins.
pub const PAGE_MAX: usize = 1_000;
/// Changes to the registry that wait for their writing; beyond them they are refused with 503.
pub const COMMANDS_MAX: usize = 1_024;
/// Of these, written in one transaction.
pub const GROUP_MAX: usize = 256;
/// Changes that a slow subscriber of the feed may fall behind before it has to take a new snapshot.
pub const FEED_MAX: usize = 1_024;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 64 * 1_024;
/// Connections that a server for this registry should take: every node keeps one, and others look.
pub const CONNECTIONS_MAX: u32 = 20_480;
/// Of these, from one address: many nodes may stand behind one, and none may take all.
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 5_120;
/// Requests of one address a second: 10,000 nodes behind it that each send a heartbeat and read who is there every five seconds.
pub const REQUESTS_PER_SECOND: NonZeroU32 = NonZeroU32::new(4_000).expect("not zero");
/// Requests of one address at once, after a pause.
pub const REQUESTS_AT_ONCE: NonZeroU32 = NonZeroU32::new(8_000).expect("not zero");
