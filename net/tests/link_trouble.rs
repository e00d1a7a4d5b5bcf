//! Links whose network is in trouble on purpose.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use link_support::{Node, introduce, until};
use tana_net::link::{SendOutcome, Trouble};

mod link_support;

fn troubled(number: u8) -> (Node, Arc<Trouble>) {
    let trouble = Arc::new(Trouble::default());
    let given = trouble.clone();
    let node = Node::start(number, |config| {
        config.trouble = Some(given);
        config.limits.keep_alive = Duration::from_millis(200);
        config.limits.idle_timeout = Duration::from_secs(1);
    });
    (node, trouble)
}

#[tokio::test]
async fn a_cut_ends_the_link_and_it_comes_back_when_the_cut_is_gone() {
    let ((a, trouble_a), (mut b, trouble_b)) = (troubled(1), troubled(2));
    introduce(&[&a, &b]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    trouble_a.set(BTreeSet::from([b.address]), Duration::ZERO);
    trouble_b.set(BTreeSet::from([a.address]), Duration::ZERO);
    until("the end of the link", || (!a.links.is_connected(&b.key()) && !b.links.is_connected(&a.key())).then_some(()))
        .await;
    assert!(trouble_a.lost() + trouble_b.lost() > 0);
    trouble_a.set(BTreeSet::new(), Duration::ZERO);
    trouble_b.set(BTreeSet::new(), Duration::ZERO);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    until("room for a message", || (a.send(&b, 0, &b"hello"[..]) == SendOutcome::Sent).then_some(())).await;
    assert_eq!(&b.next(0).await.1[..], b"hello");
}

#[tokio::test]
async fn a_delay_is_added_to_everything() {
    let ((a, trouble), (mut b, _)) = (troubled(1), troubled(2));
    introduce(&[&a, &b]);
    a.connected_to(&b).await;
    b.connected_to(&a).await;
    let delay = Duration::from_millis(60);
    trouble.set(BTreeSet::new(), delay);
    let begin = Instant::now();
    assert_eq!(a.send(&b, 0, &b"late"[..]), SendOutcome::Sent);
    assert_eq!(&b.next(0).await.1[..], b"late");
    assert!(begin.elapsed() >= delay);
}
