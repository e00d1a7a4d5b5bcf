//! What a feed costs while its client misbehaves: looks into files under way, and its place.

#![allow(clippy::unwrap_used)]

use std::future::Future;
use std::sync::mpsc;

use futures_util::StreamExt;
use tana_http::server::Stopping;
use tana_types::genesis::Genesis;
use tokio::time::timeout;

use super::*;

const MOMENT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);

fn chain(folder: &std::path::Path) -> Chain {
    let key = "ed25519_66be7e332c7a453332bd9d0a7f7db055f5c5ef1a06ada66d98b39fb6810c473a";
    let text = format!(
        "chain = \"test\"\ntimestamp_ms = 1\n[sovereign]\nkey = \"{key}\"\nusername = \"@sovereign\"\n\
        [[currency]]\ncode = \"USD\"\ndecimals = 2\ntype = \"fiat\"\n\
        [[validator]]\nkey = \"{key}\"\naddress = \"127.0.0.1:9000\"\n"
    );
    Chain::open(folder, Genesis::parse(&text).unwrap()).unwrap()
}

/// Feeds above a reader that never has a state, so that every look into its files fails.
fn feeds(config: FeedConfig) -> (Feeds, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Feeds::start(chain(folder.path()), config), folder)
}

async fn dropped<T>(future: impl Future<Output = T>) {
    assert!(timeout(MOMENT, future).await.is_err(), "it was to be dropped before its end");
}

async fn until(what: &str, mut look: impl FnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !look() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited too long for {what}");
}

#[tokio::test]
async fn a_look_whose_subscriber_is_gone_counts_until_it_ends() {
    let (feeds, _folder) = feeds(FeedConfig::default());
    let mut ends = Vec::new();
    for _ in 0..FEED_READS_MAX {
        let (end, ended) = mpsc::channel::<()>();
        ends.push(end);
        dropped(feeds.shared.read(move |_| {
            let _ = ended.recv();
            Ok(())
        }))
        .await;
    }
    assert_eq!(feeds.shared.reads.available_permits(), 0);
    dropped(feeds.shared.read(|_| Ok(()))).await;
    // The look of the task that encodes new blocks does not wait behind them.
    assert!(timeout(PATIENCE, look(&feeds.shared.chain, |_| Ok(()))).await.unwrap().is_ok());
    drop(ends);
    assert!(timeout(PATIENCE, feeds.shared.read(|_| Ok(()))).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_dropped_wait_for_the_next_frame_goes_on_with_the_look_that_is_under_way() {
    let (feeds, _folder) = feeds(FeedConfig::default());
    let mut reader = feeds.subscribe(What::Blocks, Begin::At(1)).unwrap();
    feeds.shared.tip.send_replace(5);
    assert!(reader.next().await.text.contains("open"));
    dropped(reader.next()).await;
    let first = reader.look_under_way().unwrap();
    dropped(reader.next()).await;
    assert_eq!(reader.look_under_way(), Some(first), "each wait that was dropped began another look");
}

#[tokio::test]
async fn an_event_stream_that_nobody_takes_gives_its_place_back_and_ends() {
    let config =
        FeedConfig { stall: Duration::from_millis(100), ping: Duration::from_millis(10), ..FeedConfig::default() };
    let (feeds, _folder) = feeds(config);
    let places = || feeds.shared.subscribers.available_permits();
    let reader = feeds.subscribe(What::Blocks, Begin::Now).unwrap();
    assert_eq!(places(), FEED_SUBSCRIBERS_MAX - 1);
    let response = sse::respond(reader, Stopping::never());
    until("the place", || places() == FEED_SUBSCRIBERS_MAX).await;
    // What was handed over before comes, and then the end.
    let mut body = response.into_body().into_data_stream();
    let mut text = Vec::new();
    while let Some(piece) = timeout(PATIENCE, body.next()).await.unwrap() {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(text, b"retry: 2000\n\n");
    // One that is read stays, and its place is free as soon as it is dropped.
    let reader = feeds.subscribe(What::Blocks, Begin::Now).unwrap();
    let mut body = sse::respond(reader, Stopping::never()).into_body().into_data_stream();
    for _ in 0..40 {
        assert!(timeout(PATIENCE, body.next()).await.unwrap().is_some());
    }
    assert_eq!(places(), FEED_SUBSCRIBERS_MAX - 1);
    drop(body);
    until("the place", || places() == FEED_SUBSCRIBERS_MAX).await;
}
