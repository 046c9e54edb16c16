//! Answers and how they are written: the message layer is `tiny_http::Response`, the headers every answer has are here.
//!
//! `raw_print` writes Date, Server, Content-Length and the status line, and leaves the body out for HEAD and 304.
//! It has no way to say `Connection`, so [`Connection`] puts that line in behind the status line. The request's headers
//! are kept from it: it would follow `TE`, which only makes answers chunked that need not be.

use super::wire::{Sender, Wire};
use std::io::{self, Read, Write};
use std::time::Instant;
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

enum Content {
    Bytes(Vec<u8>),
    Static(&'static [u8]),
    /// No body, but the length it would have: 304, and 416.
    Absent(usize),
    /// A body that is made while it is sent, so that it is never in memory as a whole; its length where that is known.
    Written(Option<u64>, Body),
}

/// Writes a body piece by piece; each piece has to be taken by the peer within the time of a body.
pub(crate) type Body = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()>>;

/// An answer: status, headers, body.
pub(crate) struct Reply {
    pub status: u16,
    headers: Vec<(&'static str, String)>,
    content: Content,
}

/// What every answer says.
const ALWAYS: [(&str, &str); 5] = [
    ("Server", "telltale"),
    ("X-Content-Type-Options", "nosniff"),
    (
        "Content-Security-Policy",
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
         object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
    ),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
];

impl Reply {
    pub fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Reply {
        Reply { status, headers: vec![("Content-Type", content_type.into())], content: Content::Bytes(body) }
    }

    /// JSON that must not be kept by a cache.
    pub fn json(status: u16, value: &impl serde::Serialize) -> Reply {
        let body =
            serde_json::to_vec(value).unwrap_or_else(|e| format!("{{\"error\":\"{e}\"}}").into_bytes());
        Reply::new(status, "application/json", body)
    }

    /// The same of text that is JSON already.
    pub fn json_text(status: u16, text: String) -> Reply {
        Reply::new(status, "application/json", text.into_bytes())
    }

    pub fn of_static(status: u16, content_type: &'static str, body: &'static [u8]) -> Reply {
        Reply { status, headers: vec![("Content-Type", content_type.into())], content: Content::Static(body) }
    }

    /// A body that is written as it goes out, of a known length (which the writer must keep to) or in chunks.
    pub fn written(status: u16, content_type: impl Into<String>, length: Option<u64>, body: Body) -> Reply {
        let headers = vec![("Content-Type", content_type.into())];
        Reply { status, headers, content: Content::Written(length, body) }
    }

    /// No body; `length` is that of the body it stands for (RFC 9110 section 8.6).
    pub fn empty(status: u16, length: usize) -> Reply {
        Reply { status, headers: Vec::new(), content: Content::Absent(length) }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }

    #[cfg(test)]
    pub fn bytes(&self) -> &[u8] {
        match &self.content {
            Content::Bytes(bytes) => bytes,
            Content::Static(bytes) => bytes,
            Content::Absent(_) | Content::Written(..) => &[],
        }
    }

    /// Writes the answer. `head_only` leaves the body out but says its length.
    pub fn send(
        self,
        wire: &Wire,
        version: &HTTPVersion,
        head_only: bool,
        keep_alive: bool,
    ) -> io::Result<()> {
        if let Content::Written(length, body) = self.content {
            let head = Written { status: self.status, headers: &self.headers, length, version, keep_alive };
            return head.send(wire, (!head_only).then_some(body));
        }
        let said = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let cache = (!said("Cache-Control")).then_some(("Cache-Control", "no-store"));
        let always = ALWAYS
            .into_iter()
            .chain(cache)
            .filter_map(|(name, value)| header(name, value))
            .collect::<Vec<_>>();
        let own = self.headers.iter().filter_map(|(name, value)| header(name, value));
        let headers: Vec<Header> = own.chain(always).collect();
        let (body, length): (Box<dyn Read + '_>, usize) = match &self.content {
            Content::Bytes(bytes) => (Box::new(bytes.as_slice()), bytes.len()),
            Content::Static(bytes) => (Box::new(*bytes), bytes.len()),
            Content::Absent(length) => (Box::new(io::empty()), *length),
            Content::Written(..) => (Box::new(io::empty()), 0),
        };
        let bodiless = matches!(self.content, Content::Absent(_));
        let line = match (keep_alive, version) {
            (false, _) => "Connection: close\r\n",
            (true, HTTPVersion(1, 0)) => "Connection: keep-alive\r\n",
            (true, _) => "",
        };
        let mut out = Connection { to: Sender::new(wire), line: Some(line), after_cr: false };
        Response::new(StatusCode(self.status), headers, body, Some(length), None)
            .with_chunked_threshold(usize::MAX)
            .raw_print(&mut out, version.clone(), &[], head_only || bodiless, None)?;
        out.flush()
    }
}

/// The head of an answer that is made while it is sent. `Response::raw_print` knows lengths of a machine word only and would
/// hold what has none in memory for HTTP/1.0.
struct Written<'a> {
    status: u16,
    headers: &'a [(&'static str, String)],
    length: Option<u64>,
    version: &'a HTTPVersion,
    keep_alive: bool,
}

impl Written<'_> {
    fn send(&self, wire: &Wire, body: Option<Body>) -> io::Result<()> {
        use std::fmt::Write as _;
        let old = *self.version <= HTTPVersion(1, 0);
        let chunked = self.length.is_none() && !old;
        let mut head =
            format!("HTTP/1.1 {} {}\r\n", self.status, StatusCode(self.status).default_reason_phrase());
        let _ = match self.length {
            Some(length) => write!(head, "Content-Length: {length}\r\n"),
            None if chunked => write!(head, "Transfer-Encoding: chunked\r\n"),
            // The end of the connection is the end of the body.
            None => Ok(()),
        };
        match (self.keep_alive && (chunked || self.length.is_some()), old) {
            (false, _) => head.push_str("Connection: close\r\n"),
            (true, true) => head.push_str("Connection: keep-alive\r\n"),
            (true, false) => {}
        }
        let said = |name: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let cache = (!said("Cache-Control")).then_some(("Cache-Control", "no-store"));
        let always = ALWAYS.into_iter().chain(cache).filter_map(|(name, value)| header(name, value));
        for header in self.headers.iter().filter_map(|(name, value)| header(name, value)).chain(always) {
            let _ = write!(head, "{header}\r\n");
        }
        head.push_str("\r\n");
        let mut out = Sender::new(wire);
        out.write_all(head.as_bytes())?;
        let Some(body) = body else { return out.flush() };
        if chunked {
            let mut chunks = Chunks(&mut out);
            body(&mut chunks)?;
            out.write_all(b"0\r\n\r\n")?;
        } else {
            let mut counted = Counted { to: &mut out, left: self.length };
            body(&mut counted)?;
            if counted.left.is_some_and(|left| left > 0) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        out.flush()?;
        // Without a length the connection has to end here.
        if self.length.is_none() && old { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// Each write is a chunk (RFC 9112 section 7.1).
struct Chunks<'a, 'w>(&'a mut Sender<'w>);

impl Write for Chunks<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            write!(self.0, "{:x}\r\n", bytes.len())?;
            self.0.write_all(bytes)?;
            self.0.write_all(b"\r\n")?;
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Never more than was announced.
struct Counted<'a, 'w> {
    to: &'a mut Sender<'w>,
    left: Option<u64>,
}

impl Write for Counted<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::WriteZero)?;
        }
        self.to.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A header; none when the value could break the line, which no value of ours does.
fn header(name: &str, value: &str) -> Option<Header> {
    if value.chars().any(char::is_control) {
        return None;
    }
    Header::from_bytes(name, value).ok()
}

/// Writes the head of a stream: no length and no chunks, the end of the connection is its end.
pub(crate) fn send_stream_head(
    wire: &Wire,
    content_type: &str,
    extra: &[(&'static str, String)],
) -> io::Result<()> {
    use std::fmt::Write;
    let mut head = format!(
        "HTTP/1.1 200 {}\r\nContent-Type: {content_type}\r\n",
        StatusCode(200).default_reason_phrase()
    );
    head.push_str("Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nConnection: close\r\n");
    let always = ALWAYS.into_iter().filter_map(|(name, value)| header(name, value));
    for header in always.chain(extra.iter().filter_map(|(name, value)| header(name, value))) {
        let _ = write!(head, "{header}\r\n");
    }
    head.push_str("\r\n");
    wire.write_all(head.as_bytes(), Instant::now() + wire.times.body)
}

/// Puts a line in behind the first one.
struct Connection<'a> {
    to: Sender<'a>,
    line: Option<&'static str>,
    after_cr: bool,
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(line) = self.line else { return self.to.write(bytes) };
        for (at, byte) in bytes.iter().enumerate() {
            if self.after_cr && *byte == b'\n' {
                self.line = None;
                self.to.write_all(&bytes[..=at])?;
                self.to.write_all(line.as_bytes())?;
                self.to.write_all(&bytes[at + 1..])?;
                return Ok(bytes.len());
            }
            self.after_cr = *byte == b'\r';
        }
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
