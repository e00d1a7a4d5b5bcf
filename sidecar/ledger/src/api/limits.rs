//! Every bound of the API, by name: pages, bodies, what waits, and for how long.

use std::time::Duration;

/// The most entries of one page.
pub const PAGE_MAX: u32 = 1_000;
/// The most blocks of one page of `/blocks`; a block may list a thousand batches.
pub const BLOCKS_PAGE_MAX: u32 = 100;
/// Blocks that `/consensus/blocks/:from/:to` gives at most, as the replaced system did.
pub const RANGE_MAX: u64 = 100;
/// The most transactions that a block's own answer carries; the others are a list of their own.
pub const EMBEDDED_MAX: u32 = 1_000;
/// Transactions in a block's own answer when nothing is said.
pub const EMBEDDED_DEFAULT: u32 = 100;
/// The highest number of a path or query: whole numbers up to here survive JSON readers that know only floating point.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// Reads of files under way at a time, for all requests together.
pub const READS_MAX: usize = 16;
/// How long a request waits for its turn to read files; then it is refused with 503.
pub const READ_WAIT: Duration = Duration::from_secs(2);

/// The largest body of a submission in bytes: as many transactions as fit one, in hexadecimal, with room to spare.
pub const SUBMIT_BYTES_MAX: usize = 1 << 20;
/// The most transactions of one submission.
pub const SUBMIT_TRANSACTIONS_MAX: usize = 1_000;
/// Transactions of all requests that are followed at a time; a request that would pass it is refused with 503.
pub const SUBMIT_IN_FLIGHT_MAX: usize = 16_384;
/// Submissions that wait to be written to the node.
pub const SUBMIT_QUEUE_MAX: usize = 1_024;
/// Submissions whose signatures are checked at a time.
pub const SUBMIT_CHECKS_MAX: usize = 2;
/// How long a submission is followed when nothing is said.
pub const FOLLOW_DEFAULT: Duration = Duration::from_secs(10);
/// How long a submission may be followed at the most.
pub const FOLLOW_MAX: Duration = Duration::from_secs(25);
/// How long connecting to the node may take.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long nothing is tried after the node could not be reached.
pub const CONNECT_HOLD: Duration = Duration::from_millis(500);
/// A node that was handed something and says nothing at all for so long counts as gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(8);
/// How often that is looked at.
pub const SILENCE_LOOK: Duration = Duration::from_secs(1);

/// Subscribers of feeds at a time. Each has a connection, of which the server takes 2,048: a quarter is left for requests.
pub const FEED_SUBSCRIBERS_MAX: usize = 1_536;
/// Subscribers of accounts' transactions among them: each looks into every block that holds a transaction.
pub const FEED_ACCOUNTS_MAX: usize = 256;
/// Newest blocks whose encoded frames are kept for all subscribers.
pub const FEED_FRAMES_MAX: usize = 1_024;
/// Bytes of those frames.
pub const FEED_FRAME_BYTES_MAX: usize = 32 << 20;
/// Blocks that one look into the log takes for a subscriber that catches up.
pub const FEED_CHUNK: u64 = 32;
/// Looks into files for subscribers at a time.
pub const FEED_READS_MAX: usize = 4;
/// How far behind the head a subscriber of an account may begin: every block in between has to be looked into.
pub const FEED_ACCOUNT_BACK_MAX: u64 = 10_000;
/// Frames of one look into the log after which it ends, however many blocks are left of its chunk.
pub const FEED_CHUNK_FRAMES: usize = 8;
/// Bytes of those frames after which it ends.
pub const FEED_CHUNK_BYTES: usize = 256 << 10;
/// The most transactions of one frame of an account's feed.
pub const FEED_TRANSACTIONS_MAX: usize = 256;
/// Texts and binary messages that a WebSocket client may send us: none is asked for.
pub const FEED_CLIENT_MESSAGES_MAX: u32 = 16;
/// Messages of any kind, pings and pongs included, that a WebSocket client may send between two of our own pings.
pub const FEED_CLIENT_PINGS_MAX: u32 = 64;
/// The largest message that is read from a WebSocket client, in bytes.
pub const FEED_CLIENT_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use tana_http::server::ServerConfig;

    use super::*;

    #[test]
    fn feeds_leave_connections_for_requests() {
        let connections = ServerConfig::default().connections_max as usize;
        assert_eq!(FEED_SUBSCRIBERS_MAX, connections / 4 * 3);
    }
}
