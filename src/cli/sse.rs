//! Reads server-sent events: the part of the HTML standard's event stream that a client needs to resume exactly.

use std::io::{self, BufRead, Read};

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its type; empty when the stream did not say.
    pub event: String,
    /// Its data; lines joined by line feeds.
    pub data: String,
}

/// The longest line; the server's largest frame is a fraction of it.
const LINE_BYTES: u64 = 8 * 1024 * 1024;

/// An event stream.
pub(super) struct Frames<R> {
    from: R,
    first: bool,
    /// The id to resume after: that of the last event that was given.
    pub last_id: Option<String>,
    /// The time to wait before connecting again, when the server named one, in milliseconds.
    pub retry_ms: Option<u64>,
}

impl<R: BufRead> Frames<R> {
    pub fn new(from: R, last_id: Option<String>) -> Self {
        Frames { from, first: true, last_id, retry_ms: None }
    }

    /// The next event; none at the end of the stream. An event that was cut off by the end is not given, and its id
    /// does not count.
    ///
    /// # Errors
    /// Those of the connection; `InvalidData` for a line without end or text that is not UTF-8.
    pub fn next(&mut self) -> io::Result<Option<Frame>> {
        let mut frame = Frame::default();
        let (mut id, mut any) = (None, false);
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            if line.is_empty() {
                if let Some(id) = id.take() {
                    self.last_id = Some(id);
                }
                if any {
                    return Ok(Some(frame));
                }
                frame = Frame::default();
                continue;
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => frame.event = value.into(),
                "data" => {
                    if any {
                        frame.data.push('\n');
                    }
                    any = true;
                    frame.data.push_str(value);
                }
                "id" if !value.contains('\0') => id = Some(value.to_string()),
                "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
                _ => {}
            }
        }
    }

    /// A line without its end; none when the stream ended before there was one.
    fn line(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        (&mut self.from).take(LINE_BYTES).read_until(b'\n', &mut bytes)?;
        if bytes.pop() != Some(b'\n') {
            let whole = bytes.len() as u64 + 1 < LINE_BYTES;
            return if whole {
                Ok(None)
            } else {
                Err(io::Error::new(io::ErrorKind::InvalidData, "a line without end"))
            };
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let mut line =
            String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8"))?;
        if std::mem::take(&mut self.first) && line.starts_with('\u{FEFF}') {
            line.remove(0);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8]) -> (Vec<Frame>, Option<String>) {
        let mut frames = Frames::new(text, None);
        let mut seen = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            seen.push(frame);
        }
        (seen, frames.last_id)
    }

    #[test]
    fn frames_are_read_and_a_cut_one_does_not_count() {
        let text = b"\xEF\xBB\xBFretry: 1500\r\n: comment\nid: 7-1\nevent: a\ndata: 1\ndata:  2\n\nid: 7-2\n\nid: 7-3\ndata: cut\n";
        let (seen, last) = all(text);
        assert_eq!(seen, [Frame { event: "a".into(), data: "1\n 2".into() }]);
        assert_eq!(last.as_deref(), Some("7-2"));
        let mut frames = Frames::new(&text[..], None);
        frames.next().unwrap();
        assert_eq!(frames.retry_ms, Some(1500));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = all(&bytes);
        }

        #[test]
        fn what_is_written_is_read(frames in proptest::collection::vec(("[a-z_]{1,9}", "[^\r\n]{0,30}"), 0..8)) {
            let text: String = frames.iter().enumerate().map(|(i, (e, d))| format!("id: 1-{i}\nevent: {e}\ndata: {d}\n\n")).collect();
            let (seen, last) = all(text.as_bytes());
            let expected: Vec<Frame> = frames.iter().map(|(e, d)| Frame { event: e.clone(), data: d.clone() }).collect();
            prop_assert_eq!(last, frames.len().checked_sub(1).map(|i| format!("1-{i}")));
            prop_assert_eq!(seen, expected);
        }
    }
}
