//! Reads server-sent events out of bytes as they come, with bounds: a line or an event that is too long ends it.

/// Bytes of an event at most: its lines and what is kept of a line that is not yet complete.
pub const EVENT_BYTES_MAX: usize = 256 * 1_024;

/// An event: its name (`message` where none is given) and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// What follows `event:`.
    pub name: String,
    /// What follows `data:`; several lines are joined by line ends.
    pub data: String,
}

/// An event was larger than [`EVENT_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// The state between two pieces of the stream.
#[derive(Debug, Default)]
pub struct SseReader {
    line: Vec<u8>,
    after_return: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl SseReader {
    /// Takes the next bytes, and puts every event that they complete behind `events`.
    ///
    /// # Errors
    /// [`TooLong`]; nothing more can be read then.
    pub fn feed(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLong> {
        for &byte in bytes {
            let line_feed_of_pair = byte == b'\n' && std::mem::take(&mut self.after_return);
            match byte {
                b'\n' if line_feed_of_pair => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    self.end_line(events);
                }
                _ => {
                    self.after_return = false;
                    if self.line.len() + self.data.len() + self.name.len() >= EVENT_BYTES_MAX {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<SseEvent>) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            let data = std::mem::take(&mut self.data);
            if std::mem::take(&mut self.has_data) {
                events.push(SseEvent { name: if name.is_empty() { "message".to_owned() } else { name }, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            // Comments, ids and times to wait are of no use here.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(pieces: &[&[u8]]) -> Result<Vec<(String, String)>, TooLong> {
        let (mut reader, mut events) = (SseReader::default(), Vec::new());
        for piece in pieces {
            reader.feed(piece, &mut events)?;
        }
        Ok(events.into_iter().map(|event| (event.name, event.data)).collect())
    }

    #[test]
    fn events_are_read_however_the_stream_is_cut() {
        let stream = b": hello\n\nevent: sample\ndata: {\"a\":\r\ndata:1}\r\nid: 4\n\ndata: x\n\nevent: empty\n\ndata: unfinished";
        let expected = vec![("sample".to_owned(), "{\"a\":\n1}".to_owned()), ("message".to_owned(), "x".to_owned())];
        assert_eq!(read(&[stream]).unwrap(), expected);
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&single).unwrap(), expected);
    }

    #[test]
    fn what_is_too_long_is_refused_in_one_line_and_in_many() {
        let line = vec![b'a'; EVENT_BYTES_MAX + 1];
        assert_eq!(read(&[&line]), Err(TooLong));
        let lines = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(read(&[&lines]), Err(TooLong));
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        assert_eq!(
            read(&[b"data: \xff\xfe\n\n"]).unwrap(),
            vec![("message".to_owned(), "\u{fffd}\u{fffd}".to_owned())]
        );
    }
}
