//! Keeps one peer dialled for as long as it is in the set.
//!
//! 1. Wait until there is no connection with the peer, and it is not blocked.
//! 2. Wait a little: nothing the first time for the smaller key, the courtesy time for the larger one (so that two nodes
//!    that start together rarely cross), and after failures twice as long each time, jittered, up to the longest.
//! 3. Resolve the address anew, and try each of what it stands for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::accept::{explain, refusal_of};
use super::connection;
use super::handle::Shared;
use super::metrics::add;
use super::peer::{DialNeed, PeerState};
use super::tls::SERVER_NAME;

/// Addresses that are tried of those that a name stands for.
const ADDRESSES_MAX: usize = 4;

/// Time for the look-up of a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Dials `peer` whenever it should be, until it is removed or the node shuts down.
pub(crate) async fn keep_dialled(shared: Arc<Shared>, peer: Arc<PeerState>) {
    let mut changed = peer.changed.subscribe();
    let mut closing = shared.closing.subscribe();
    let work = async {
        loop {
            match peer.dial_need() {
                DialNeed::Removed => return,
                DialNeed::Connected => {
                    if changed.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                DialNeed::Blocked(left) => {
                    let _ = tokio::time::timeout(left, changed.changed()).await;
                    continue;
                }
                DialNeed::Wanted => {}
            }
            let failures = peer.failures.load(Ordering::Relaxed);
            tokio::time::sleep(shared.dial_delay(&peer, failures)).await;
            changed.mark_unchanged();
            if peer.dial_need() == DialNeed::Wanted {
                attempt(&shared, &peer).await;
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = closing.wait_for(|closing| *closing) => {}
    }
}

/// Dials once; a connection that this makes runs by itself.
async fn attempt(shared: &Arc<Shared>, peer: &Arc<PeerState>) {
    match dial(shared, peer).await {
        Ok(connection) => {
            add(&shared.counters.dialled, 1);
            // Takes its place with the peer before its first wait, but on its own task: this one must see it there.
            let (shared, served) = (shared.clone(), peer.clone());
            let mut changed = peer.changed.subscribe();
            let task = tokio::spawn(connection::run(shared, served, connection, true));
            while peer.dial_need() == DialNeed::Wanted && !task.is_finished() {
                let _ = tokio::time::timeout(Duration::from_millis(10), changed.changed()).await;
            }
        }
        Err(text) => {
            add(&shared.counters.dial_failures, 1);
            peer.failures.fetch_add(1, Ordering::Relaxed);
            peer.note_error(&text);
            tracing::debug!(address = %peer.address.lock(), "link: {text}");
        }
    }
}

/// Tries the addresses of `peer` one after the other.
async fn dial(shared: &Arc<Shared>, peer: &PeerState) -> Result<quinn::Connection, String> {
    let address = peer.address.lock().clone();
    let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(&address)).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(format!("cannot resolve {address}: {error}; write it as host:port")),
        Err(_) => return Err(format!("cannot resolve {address}: no answer in 5 s")),
    };
    let reachable: Vec<SocketAddr> =
        found.filter(|address| address.is_ipv4() || shared.dials_ipv6).take(ADDRESSES_MAX).collect();
    let mut text = format!("{address} stands for no address that this node can reach from its own");
    for remote in reachable {
        let config = shared.identity.client_config(shared.peers.clone(), peer.key, &shared.limits);
        let config = config.map_err(|error| error.to_string())?;
        let connecting =
            shared.endpoint.connect_with(config, remote, SERVER_NAME).map_err(|error| error.to_string())?;
        match tokio::time::timeout(shared.limits.handshake_timeout, connecting).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => {
                if let Some(refusal) = refusal_of(&error).filter(|_| is_refusal(&error)) {
                    shared.peers.refused.count(refusal);
                }
                text = format!("{remote}: {}", explain(&error));
            }
            Err(_) => text = format!("{remote}: no answer; check the address, and that UDP reaches it"),
        }
    }
    Err(text)
}

/// Whether this side found something wrong with who answered, other than silence.
fn is_refusal(error: &quinn::ConnectionError) -> bool {
    matches!(error, quinn::ConnectionError::TransportError(_))
}

/// Whether a node that listens on `listen` can dial IPv6.
pub(crate) fn dials_ipv6(listen: IpAddr) -> bool {
    listen.is_ipv6()
}
