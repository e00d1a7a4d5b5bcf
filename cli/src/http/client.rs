//! Asks a node's HTTP pages: one request, one connection, everything within a deadline and a bound on the answer. Only what
//! [`super::server`] answers is understood; the length is that of the connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

/// The most bytes of an answer.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A page: the status and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Page {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is none.
    pub fn json<T: DeserializeOwned>(&self) -> io::Result<T> {
        serde_json::from_str(&self.body).map_err(|error| invalid(error.to_string()))
    }
}

/// Asks `address` for `path` and waits at most `patience`.
///
/// # Errors
/// What the system says, [`io::ErrorKind::TimedOut`], or [`io::ErrorKind::InvalidData`] for an answer that is no HTTP or too long.
pub fn get(address: SocketAddr, path: &str, patience: Duration) -> io::Result<Page> {
    let deadline = Instant::now() + patience;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut stream = TcpStream::connect_timeout(&address, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1_024]);
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let read = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        };
        if answer.len() + read > ANSWER_BYTES_MAX {
            return Err(invalid(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        answer.extend_from_slice(&buffer[..read]);
    }
    parse(&answer)
}

fn parse(answer: &[u8]) -> io::Result<Page> {
    let text = std::str::from_utf8(answer).map_err(|_| invalid("the answer is no text"))?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| invalid("the answer is no HTTP"))?;
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let status = match (words.next(), words.next().and_then(|status| status.parse().ok())) {
        (Some("HTTP/1.1"), Some(status)) => status,
        _ => return Err(invalid("the answer is no HTTP/1.1")),
    };
    let length = head.lines().filter_map(|line| line.split_once(':')).find_map(|(name, value)| {
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        return Err(invalid("the answer was cut off"));
    }
    Ok(Page { status, body: body.to_owned() })
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let page = parse(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\n{}\n").unwrap();
        assert_eq!(page, Page { status: 503, body: "{}\n".to_owned() });
        assert!(page.json::<serde_json::Value>().unwrap().is_object());
    }

    #[test]
    fn what_is_no_whole_answer_is_an_error() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
            b"HTTP/1.1 x\r\n\r\n",
            b"\xff\r\n\r\n",
        ] {
            assert_eq!(parse(bytes).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bytes:?}");
        }
    }
}
