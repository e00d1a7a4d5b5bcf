//! Two connections between the same two validators: which one stays, and that the only one that works is never lost.

#![allow(clippy::unwrap_used)]

mod link_support;

use std::time::Duration;

use link_support::{Node, Relay, introduce, ordered, public, until};
use tana_net::link::{LinkConfig, Peer, SendOutcome};

/// Nobody is there.
const NOWHERE: &str = "127.0.0.1:1";

fn quick(config: &mut LinkConfig) {
    config.limits.courtesy = Duration::ZERO;
    config.limits.retire_timeout = Duration::from_millis(300);
    config.limits.idle_timeout = Duration::from_secs(3);
    config.limits.keep_alive = Duration::from_millis(200);
}

/// Two nodes, the smaller key first.
fn two() -> (Node, Node) {
    let (small, large) = ordered(1, 2);
    (Node::start(small, quick), Node::start(large, quick))
}

async fn talk(from: &Node, to: &mut Node, text: &'static str) {
    until("a connection", || (from.send(to, 6, text) == SendOutcome::Sent).then_some(())).await;
    assert_eq!(to.next(6).await.1, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_at_once_end_with_one_connection() {
    for _ in 0..6 {
        let (mut small, mut large) = two();
        introduce(&[&small, &large]);
        talk(&small, &mut large, "to the large one").await;
        talk(&large, &mut small, "to the small one").await;
        // Where they crossed, the smaller key has accepted one, which ends.
        let crossed = small.links.metrics().accepted > 0 && large.links.metrics().accepted > 0;
        if crossed {
            small.metrics_until("the larger one's end", |metrics| metrics.incoming == 0).await;
        }
        let (small, large) = (small.links.metrics(), large.links.metrics());
        assert_eq!((small.violations, large.violations), (0, 0));
        assert_eq!((small.peers_connected, large.peers_connected), (1, 1));
    }
}

/// `first` and `second` cross for sure: the first one's handshake hangs in a relay while the second one's completes.
async fn cross(first: &Node, second: &Node) -> Relay {
    let relay = Relay::start(second.address).await;
    relay.forward(true, false);
    first.links.set_peers(vec![Peer { key: second.key(), address: relay.address.to_string() }]);
    second.metrics_until("an attempt", |metrics| metrics.incoming == 1).await;
    second.links.set_peers(vec![first.peer()]);
    first.connected_to(second).await;
    second.connected_to(first).await;
    assert_eq!((first.links.metrics().accepted, second.links.metrics().accepted), (1, 0));
    relay
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_cross_the_smaller_keys_stays_in_either_order() {
    for small_is_first in [true, false] {
        let (mut small, mut large) = two();
        let (first, second) = if small_is_first { (&small, &large) } else { (&large, &small) };
        let relay = cross(first, second).await;
        relay.forward(true, true);
        second.metrics_until("the second connection", |metrics| metrics.accepted == 1).await;
        small.metrics_until("the larger one's end", |metrics| metrics.incoming == 0).await;
        large.metrics_until("the smaller one's place", |metrics| metrics.incoming == 1).await;
        talk(&small, &mut large, "after").await;
        talk(&large, &mut small, "after too").await;
        for (node, other) in [(&small, &large), (&large, &small)] {
            let metrics = node.links.metrics();
            assert_eq!((metrics.violations, metrics.dial_failures, metrics.dialled), (0, 0, 1), "{small_is_first}");
            assert!(node.links.is_connected(&other.key()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spare_takes_over_when_the_preferred_connection_is_dead() {
    let (mut small, mut large) = two();
    // The smaller key's connection goes through a relay that falls silent, while the larger one's attempt hangs.
    let of_large = Relay::start(small.address).await;
    of_large.forward(true, false);
    large.links.set_peers(vec![Peer { key: small.key(), address: of_large.address.to_string() }]);
    small.metrics_until("an attempt", |metrics| metrics.incoming == 1).await;
    let of_small = Relay::start(large.address).await;
    small.links.set_peers(vec![Peer { key: large.key(), address: of_small.address.to_string() }]);
    small.connected_to(&large).await;
    large.connected_to(&small).await;
    of_small.forward(false, false);
    of_large.forward(true, true);
    small.metrics_until("the spare", |metrics| metrics.accepted == 1).await;
    // What is sent now is lost with the dead connection; then the spare is used, without another attempt.
    until("the spare in use", || (small.status_of(&large.key()).connects == 2).then_some(())).await;
    until("the spare in use", || (large.status_of(&small.key()).connects == 2).then_some(())).await;
    talk(&small, &mut large, "after").await;
    talk(&large, &mut small, "after too").await;
    for node in [&small, &large] {
        let metrics = node.links.metrics();
        assert_eq!((metrics.dialled, metrics.dial_failures, metrics.violations), (1, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_dialled_dials() {
    // Only the larger key knows where the other one is.
    let (mut small, mut large) = two();
    small.links.set_peers(vec![Peer { key: large.key(), address: NOWHERE.to_owned() }]);
    large.links.set_peers(vec![small.peer()]);
    talk(&small, &mut large, "there").await;
    talk(&large, &mut small, "and back").await;
    assert_eq!(small.links.connected(), [public(large.number)]);
}
