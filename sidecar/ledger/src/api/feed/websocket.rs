//! A feed over a WebSocket: one message at a time, the next when the socket has taken the last.

use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use bytes::Bytes;
use tana_http::server::Stopping;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::reader::Reader;
use crate::api::limits::{FEED_CLIENT_MESSAGES_MAX, FEED_CLIENT_PINGS_MAX};

/// Pings without an answer after which a client counts as gone.
const PINGS_MAX: u32 = 3;

/// Sends until the client goes, stops reading for too long, or the server stops.
pub async fn serve(mut socket: WebSocket, mut reader: Reader, mut stopping: Stopping) {
    let stall = reader.stall();
    let mut ping = interval(reader.ping());
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once.
    ping.tick().await;
    // What the client said in all, what came of any kind since our last ping, and our pings since anything came.
    let (mut messages, mut since_ping, mut silent_pings) = (0, 0, 0);
    loop {
        let out = tokio::select! {
            biased;
            () = stopping.wait() => return close(socket, close_code::RESTART, "the server is stopping; connect again later", stall).await,
            message = socket.recv() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(message)) => {
                    silent_pings = 0;
                    since_ping += 1;
                    messages += u32::from(matches!(message, Message::Text(_) | Message::Binary(_)));
                    // Each one wakes this task, and a ping is answered.
                    if messages > FEED_CLIENT_MESSAGES_MAX || since_ping > FEED_CLIENT_PINGS_MAX {
                        return close(socket, close_code::POLICY, "this feed takes no messages", stall).await;
                    }
                    continue;
                }
            },
            frame = reader.next() => vec![Message::Text(frame.text)],
            _ = ping.tick() => {
                (since_ping, silent_pings) = (0, silent_pings + 1);
                if silent_pings > PINGS_MAX {
                    return close(socket, close_code::AWAY, "no answer to pings", stall).await;
                }
                let height = reader.height().map(|frame| Message::Text(frame.text));
                height.into_iter().chain([Message::Ping(Bytes::new())]).collect()
            }
        };
        for message in out {
            // A reader that takes nothing costs this one message and the socket's own buffer, and not for ever.
            match timeout(stall, socket.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }
}

async fn close(mut socket: WebSocket, code: u16, reason: &'static str, time: std::time::Duration) {
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    // Whoever does not take it is cut off without a word.
    let _ = timeout(time, socket.send(frame)).await;
}
