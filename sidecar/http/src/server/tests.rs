//! The server over real sockets: what it serves, what it cuts off, and how it ends.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::net::Ipv4Addr;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{Message, WebSocket};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite;

use super::*;

/// Longer than any test takes unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than the sockets of both sides can hold.
const PIECES: usize = 1_024;
const PIECE: &str = match std::str::from_utf8(&[b'x'; 64 * 1_024]) {
    Ok(piece) => piece,
    Err(_) => "",
};

async fn serve_with(router: Router, config: ServerConfig) -> Server {
    bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap().serve(router, config)
}

fn url(server: &Server, path: &str) -> String {
    format!("http://{}{path}", server.address())
}

/// Waits until there are this many connections.
async fn connections(server: &Server, count: usize) {
    let reached = async {
        while server.connections() != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{} connections", server.connections()));
}

/// Reads to the end of the stream, whatever puts an end to it.
async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it ends");
    all
}

#[tokio::test]
async fn it_answers_and_knows_who_asks() {
    let peer = get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.ip().to_string() });
    let server = serve_with(Router::new().route("/peer", peer), ServerConfig::default()).await;
    let answer = reqwest::get(url(&server, "/peer")).await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "127.0.0.1"));
    assert!(server.stop().await);
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_with_a_remedy() {
    let first = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let error = bind(first.address()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&first.address().to_string()) && text.contains("configure another port"), "{text}");
    let nowhere = bind("192.0.2.1:80".parse().unwrap()).await.unwrap_err().to_string();
    assert!(nowhere.contains("192.0.2.1:80"), "{nowhere}");
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed() {
    let config = ServerConfig { connections_max: 2, ..ServerConfig::default() };
    let server = serve_with(Router::new().route("/", get(async || "hello")), config).await;
    let first = TcpStream::connect(server.address()).await.unwrap();
    let _second = TcpStream::connect(server.address()).await.unwrap();
    connections(&server, 2).await;
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, b"");
    assert_eq!(server.refused(), 1);
    drop(first);
    connections(&server, 1).await;
    assert_eq!(reqwest::get(url(&server, "/")).await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn one_address_has_only_a_part_of_all_connections() {
    let config = ServerConfig { connections_max: 8, connections_per_address: 2, ..ServerConfig::default() };
    let server = serve_with(Router::new().route("/", get(async || "hello")), config).await;
    let first = TcpStream::connect(server.address()).await.unwrap();
    let _second = TcpStream::connect(server.address()).await.unwrap();
    connections(&server, 2).await;
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(read_to_end(&mut third).await, b"");
    assert_eq!((server.refused(), server.connections()), (1, 2));
    drop(first);
    connections(&server, 1).await;
    assert_eq!(reqwest::get(url(&server, "/")).await.unwrap().text().await.unwrap(), "hello");
}

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let config = ServerConfig { headers_time: Duration::from_millis(50), ..ServerConfig::default() };
    let server = serve_with(Router::new().route("/", get(async || "hello")), config).await;
    for sent in ["", "GET / HTTP/1.1\r\nhost: a\r\n"] {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
    // And so do too many of them.
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let headers = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(8 * BUFFER_BYTES));
    let _ = stream.write_all(headers.as_bytes()).await;
    assert!(!read_to_end(&mut stream).await.starts_with(b"HTTP/1.1 200"));
    connections(&server, 0).await;
}

/// An answer of [`PIECES`] pieces.
fn long_answer(kind: &'static str) -> Response {
    let pieces = futures_util::stream::iter((0..PIECES).map(|_| Ok::<_, Infallible>(PIECE)));
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(pieces)).into_response()
}

#[tokio::test]
async fn who_does_not_read_an_answer_is_cut_off_but_not_from_a_feed() {
    let config = ServerConfig { stall_time: Duration::from_millis(50), ..ServerConfig::default() };
    let router = Router::new()
        .route("/page", get(async || long_answer("text/plain")))
        .route("/feed", get(async || long_answer("text/event-stream")));
    let server = serve_with(router, config).await;
    let mut page = TcpStream::connect(server.address()).await.unwrap();
    page.write_all(b"GET /page HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    connections(&server, 1).await;
    let mut feed = TcpStream::connect(server.address()).await.unwrap();
    feed.write_all(b"GET /feed HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    connections(&server, 2).await;
    // The page is given up.
    connections(&server, 1).await;
    assert!(read_to_end(&mut page).await.len() < PIECES * PIECE.len());
    // The feed, which was not read for many times the patience with pages, comes whole.
    tokio::time::sleep(config.stall_time * 4).await;
    assert!(read_to_end(&mut feed).await.len() >= PIECES * PIECE.len());
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (entered, release) = (entered.clone(), release.clone());
        async move || {
            entered.notify_one();
            release.notified().await;
            "finished"
        }
    };
    let server =
        serve_with(Router::new().route("/", get(handler)), ServerConfig { drain_time: PATIENCE, ..Default::default() })
            .await;
    let address = server.address();
    let asked = tokio::spawn(reqwest::get(url(&server, "/")));
    entered.notified().await;
    let stopped = tokio::spawn(server.stop());
    // New connections are refused as soon as the stop is under way.
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    release.notify_one();
    assert_eq!(asked.await.unwrap().unwrap().text().await.unwrap(), "finished");
    assert!(stopped.await.unwrap());
    bind(address).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let entered = Arc::new(Notify::new());
    let handler = {
        let entered = entered.clone();
        async move || {
            entered.notify_one();
            std::future::pending::<&'static str>().await
        }
    };
    let config = ServerConfig { drain_time: Duration::from_millis(50), ..ServerConfig::default() };
    let server = serve_with(Router::new().route("/", get(handler)), config).await;
    let asked = tokio::spawn(reqwest::get(url(&server, "/")));
    entered.notified().await;
    assert!(!server.stop().await);
    assert!(asked.await.unwrap().is_err());
}

/// Sends back what comes, and says goodbye at a stop.
async fn echo(mut socket: WebSocket, mut stopping: Stopping) {
    loop {
        tokio::select! {
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => socket.send(Message::Text(text)).await.unwrap(),
                Some(Ok(_)) => {}
                _ => return,
            },
            () = stopping.wait() => {
                assert!(stopping.is_stopping());
                let _ = socket.send(Message::Text("bye".into())).await;
                let _ = socket.send(Message::Close(None)).await;
                return;
            }
        }
    }
}

#[tokio::test]
async fn a_websocket_counts_as_long_as_it_is_open_and_hears_of_the_stop() {
    let upgrade = |upgrade: WebSocketUpgrade, stopping: Stopping| async move {
        upgrade.on_upgrade(move |socket| echo(socket, stopping))
    };
    let config = ServerConfig { connections_max: 2, drain_time: PATIENCE, ..ServerConfig::default() };
    let server = serve_with(Router::new().route("/ws", get(upgrade)), config).await;
    let address = format!("ws://{}/ws", server.address());
    let (mut first, _) = tokio_tungstenite::connect_async(&address).await.unwrap();
    let (mut second, _) = tokio_tungstenite::connect_async(&address).await.unwrap();
    for socket in [&mut first, &mut second] {
        socket.send(tungstenite::Message::text("hello")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), tungstenite::Message::text("hello"));
    }
    assert_eq!(server.connections(), 2);
    assert!(tokio_tungstenite::connect_async(&address).await.is_err());
    second.close(None).await.unwrap();
    drop(second);
    connections(&server, 1).await;
    let stopped = tokio::spawn(server.stop());
    assert_eq!(first.next().await.unwrap().unwrap(), tungstenite::Message::text("bye"));
    while first.next().await.is_some() {}
    drop(first);
    assert!(stopped.await.unwrap());
}

#[tokio::test]
async fn a_server_that_is_dropped_stops() {
    let server = serve_with(Router::new().route("/", get(async || "hello")), ServerConfig::default()).await;
    let address = server.address();
    let mut idle = TcpStream::connect(address).await.unwrap();
    connections(&server, 1).await;
    drop(server);
    assert_eq!(read_to_end(&mut idle).await, b"");
    assert!(!Stopping::never().is_stopping());
}
