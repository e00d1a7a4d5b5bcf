//! Clients that break the protocol, each kind many times: none may stop the node, grow it, or disturb an honest client.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tana_net::{ClientSocket, ServerPin, TxClient};

/// How many clients of a kind are at work side by side.
const AT_ONCE: usize = 32;
/// How long a client waits for the server's verdict before it goes away by itself.
const VERDICT: Duration = Duration::from_secs(2);
/// Bytes that the slow one sends, one a second.
const SLOW_BYTES: usize = 10;

/// What a client does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A frame of length 0.
    EmptyFrame,
    /// A frame whose content is no transaction.
    Garbage,
    /// A frame that announces more than is allowed.
    Oversized,
    /// One byte of a frame each second.
    OneByteASecond,
    /// Ends its stream inside a frame and stays.
    HalfClosed,
    /// Resets its stream inside a frame.
    ResetInFrame,
    /// Asks a question that is no question and goes without reading the answer.
    BadQuery,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] = [
        Kind::EmptyFrame,
        Kind::Garbage,
        Kind::Oversized,
        Kind::OneByteASecond,
        Kind::HalfClosed,
        Kind::ResetInFrame,
        Kind::BadQuery,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Kind::EmptyFrame => "empty frame",
            Kind::Garbage => "garbage",
            Kind::Oversized => "oversized frame",
            Kind::OneByteASecond => "one byte a second",
            Kind::HalfClosed => "half closed",
            Kind::ResetInFrame => "reset in a frame",
            Kind::BadQuery => "bad query",
        }
    }
}

/// What came of the clients of one kind.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Misbehaved {
    /// The kind.
    pub kind: Kind,
    /// Clients.
    pub clients: u64,
    /// Of these, let in.
    pub connected: u64,
    /// Of these, closed by the server.
    pub closed: u64,
}

/// Lets `count` clients of each kind loose, each kind from an address of its own.
pub async fn misbehave(to: SocketAddr, pin: ServerPin, count: usize) -> Result<Vec<Misbehaved>, String> {
    let mut results = Vec::new();
    for (number, kind) in (1u8..).zip(Kind::ALL) {
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 3, number));
        let socket = ClientSocket::open(address).map_err(|error| error.to_string())?;
        let mut result = Misbehaved { kind, clients: 0, connected: 0, closed: 0 };
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..count {
            if tasks.len() >= AT_ONCE {
                take(&mut result, tasks.join_next().await);
            }
            let socket = socket.clone();
            tasks.spawn(async move {
                let client = socket.connect(to, pin).await.ok()?;
                // What the server does to it is not this client's to complain about.
                let _ = act(kind, &client).await;
                let verdict = tokio::time::timeout(VERDICT, client.closed()).await;
                Some(verdict.is_ok())
            });
        }
        while let Some(joined) = tasks.join_next().await {
            take(&mut result, Some(joined));
        }
        results.push(result);
    }
    Ok(results)
}

fn take(result: &mut Misbehaved, joined: Option<Result<Option<bool>, tokio::task::JoinError>>) {
    result.clients += 1;
    if let Some(Ok(Some(closed))) = joined {
        result.connected += 1;
        result.closed += u64::from(closed);
    }
}

/// A frame's beginning: it announces 1,000 bytes and brings 100.
fn begun() -> Bytes {
    let mut bytes = 1_000u32.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[7; 100]);
    bytes.into()
}

async fn act(kind: Kind, client: &TxClient) -> Result<(), tana_net::ClientError> {
    if kind == Kind::BadQuery {
        let mut stream = client.open_query().await?;
        let asked = tokio::time::timeout(Duration::from_millis(1), stream.ask(b"{\"no\": such}"));
        let _ = asked.await;
        return Ok(());
    }
    let (mut sender, _answers) = client.open_submit().await?;
    match kind {
        Kind::EmptyFrame => sender.send_frames(&mut [Bytes::from_static(&[0; 4])]).await?,
        Kind::Garbage => sender.send(&[0xa5; 400]).await?,
        Kind::Oversized => sender.send_frames(&mut [Bytes::from_static(&[0xff; 64])]).await?,
        Kind::OneByteASecond => {
            for byte in begun().iter().take(SLOW_BYTES) {
                sender.send_frames(&mut [Bytes::copy_from_slice(&[*byte])]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Kind::HalfClosed => {
            sender.send_frames(&mut [begun()]).await?;
            sender.finish().await?;
        }
        Kind::ResetInFrame => {
            sender.send_frames(&mut [begun()]).await?;
            sender.reset();
        }
        Kind::BadQuery => {}
    }
    Ok(())
}
