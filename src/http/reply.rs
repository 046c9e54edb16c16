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
}

/// An answer with a body in memory.
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
            Content::Absent(_) => &[],
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
