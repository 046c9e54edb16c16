//! The head of a request: bytes in, a checked [`Head`] or a [`Refusal`] out. Pure.
//!
//! `httparse` finds the parts; here is decided which of them are acceptable. Wherever RFC 9112 leaves a choice that
//! two parties could make differently (lengths, folding, hosts), the request is refused rather than guessed at.

use super::problem::{Problem, problem};
use crate::limits;
use std::str::FromStr;
use tiny_http::{HTTPVersion, Method};

/// How much body follows the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// None.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

/// A checked head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub method: Method,
    /// Segments of the path, decoded; `/` has none, `/a/` has `a` and an empty one.
    pub path: Vec<String>,
    /// What follows the `?`, as it came.
    pub query: String,
    pub version: HTTPVersion,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub framing: Framing,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// The connection may serve another request after this one.
    pub keep_alive: bool,
    /// Name and port the client thinks it talks to; none only in HTTP/1.0.
    pub host: Option<String>,
}

impl Head {
    /// The value of a header, if it came; the first where it came more than once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Whether the content type says that the body is lines of JSON.
    pub fn says_lines(&self) -> bool {
        let content = self.header("content-type").unwrap_or_default().to_ascii_lowercase();
        ["ndjson", "jsonl", "json-seq"].iter().any(|kind| content.contains(kind))
    }

    /// The path as text, for messages.
    pub fn path_text(&self) -> String {
        format!("/{}", self.path.join("/"))
    }
}

/// What a buffer holds.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// The beginning of a head.
    Partial,
    /// A head of so many bytes.
    Whole(Box<Head>, usize),
}

/// A request that can't be served; the connection ends after the answer.
pub(crate) type Refusal = Problem;

fn malformed(detail: impl Into<String>) -> Refusal {
    problem(400, "malformed_request", "Malformed request", detail)
}

/// Reads one head from the start of `buffer`.
pub(crate) fn parse(buffer: &[u8]) -> Result<Parsed, Refusal> {
    let mut space = [httparse::EMPTY_HEADER; limits::HEADERS];
    let mut request = httparse::Request::new(&mut space);
    // A prefix of what is too long is too long already.
    let window = &buffer[..buffer.len().min(limits::HEAD_BYTES)];
    let length = match request.parse(window) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if buffer.len() >= limits::HEAD_BYTES => {
            return Err(if window.contains(&b'\n') { too_large() } else { too_long() });
        }
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::TooManyHeaders) => return Err(too_large()),
        Err(httparse::Error::Version) => {
            return Err(problem(
                505,
                "http_version",
                "HTTP version not supported",
                "this server speaks HTTP/1.1 and HTTP/1.0",
            ));
        }
        Err(e) => return Err(malformed(format!("the head of the request is not HTTP: {e}"))),
    };
    // With `Complete` all three are there.
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(malformed("the request line is incomplete"));
    };
    if method.len() > 32 {
        return Err(malformed("the method is longer than 32 characters"));
    }
    let method = Method::from_str(method).map_err(|()| malformed("the method is not ASCII"))?;
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
        .collect();
    let framing = framing(&headers, minor)?;
    let (target, authority) = split_target(target, &method)?;
    let mut hosts = headers.iter().filter(|(n, _)| n == "host").map(|(_, v)| v.trim());
    let said = hosts.next();
    if hosts.next().is_some() {
        return Err(malformed("there is more than one Host header; expected exactly one"));
    }
    if said.is_none() && minor == 1 {
        return Err(malformed("there is no Host header; HTTP/1.1 demands one"));
    }
    // RFC 9112 3.2.2: with an absolute target its authority counts, not the header.
    let host = authority.or(said).map(str::to_string);
    let (path, query) = if target == "*" { (Vec::new(), String::new()) } else { decode_target(target)? };
    let expects_continue = match headers.iter().find(|(n, _)| n == "expect").map(|(_, v)| v.as_str()) {
        None => false,
        Some(v) if v.eq_ignore_ascii_case("100-continue") => minor == 1,
        Some(_) => {
            return Err(problem(
                417,
                "expectation",
                "Expectation failed",
                "the only expectation known is 100-continue",
            ));
        }
    };
    let said = |token: &str| {
        headers
            .iter()
            .any(|(n, v)| n == "connection" && v.split(',').any(|t| t.trim().eq_ignore_ascii_case(token)))
    };
    let keep_alive = if minor == 1 { !said("close") } else { said("keep-alive") && !said("close") };
    let head = Head {
        method,
        path,
        query,
        version: HTTPVersion(1, minor),
        framing,
        expects_continue,
        keep_alive,
        host,
        headers,
    };
    Ok(Parsed::Whole(Box::new(head), length))
}

fn too_large() -> Refusal {
    problem(
        431,
        "head_too_large",
        "Request header fields too large",
        format!(
            "the head of the request has more than {} bytes or {} headers",
            limits::HEAD_BYTES,
            limits::HEADERS
        ),
    )
}

fn too_long() -> Refusal {
    problem(
        414,
        "target_too_long",
        "URI too long",
        format!("the request line has more than {} bytes", limits::HEAD_BYTES),
    )
}

fn framing(headers: &[(String, String)], minor: u8) -> Result<Framing, Refusal> {
    let all = |name: &'static str| headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.trim());
    let coding: Vec<&str> = all("transfer-encoding").collect();
    let lengths: Vec<&str> = all("content-length").collect();
    match (coding.as_slice(), lengths.as_slice()) {
        ([], []) => Ok(Framing::Empty),
        ([], [length]) => {
            if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(malformed("Content-Length is not a number of bytes"));
            }
            // More digits than fit are a length that is too large, not a malformed one.
            Ok(match length.parse().unwrap_or(u64::MAX) {
                0 => Framing::Empty,
                length => Framing::Length(length),
            })
        }
        ([], _) => Err(malformed("there is more than one Content-Length; expected at most one")),
        (_, [_, ..]) => {
            Err(malformed("there are both Content-Length and Transfer-Encoding; expected one of them"))
        }
        ([_], []) if minor == 0 => Err(malformed("HTTP/1.0 has no Transfer-Encoding")),
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([_], []) => Err(problem(
            501,
            "transfer_encoding",
            "Transfer coding not implemented",
            "the only transfer coding known is chunked",
        )),
        _ => Err(malformed("there is more than one Transfer-Encoding; expected at most one")),
    }
}

/// Splits an absolute target into what a server cares for and the authority.
fn split_target<'a>(target: &'a str, method: &Method) -> Result<(&'a str, Option<&'a str>), Refusal> {
    if target.starts_with('/') || (target == "*" && *method == Method::Options) {
        return Ok((target, None));
    }
    let scheme_end = target.find("://").unwrap_or(0);
    if !matches!(target[..scheme_end].to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(malformed("the request target is neither a path nor an http URL"));
    }
    let rest = &target[scheme_end + 3..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return Err(malformed("the request target names no plain host"));
    }
    match path {
        "" => Ok(("/", Some(authority))),
        p if p.starts_with('?') => Err(malformed("the request target has a query without a path")),
        p => Ok((p, Some(authority))),
    }
}

fn decode_target(target: &str) -> Result<(Vec<String>, String), Refusal> {
    if target.contains('#') {
        return Err(malformed("the request target has a fragment"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut segments = Vec::new();
    for segment in path.split('/').skip(1) {
        let text = percent_decode(segment, false).ok_or_else(|| {
            malformed("the path has a % that is not followed by two hex digits, or is not UTF-8")
        })?;
        if text == "." || text == ".." || text.contains(['/', '\\']) || text.chars().any(char::is_control) {
            return Err(malformed("the path contains `.`, `..`, an encoded slash or a control character"));
        }
        segments.push(text);
    }
    if segments.len() == 1 && segments[0].is_empty() {
        segments.clear();
    }
    Ok((segments, query.to_string()))
}

/// Decodes `%xx`, and `+` to a space in queries; `None` when a `%` is not followed by two hex digits or the result is
/// not UTF-8.
pub(crate) fn percent_decode(text: &str, plus: bool) -> Option<String> {
    let digit = |b: &u8| (*b as char).to_digit(16);
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'%' => {
                let high = bytes.get(at).and_then(digit)?;
                let low = bytes.get(at + 1).and_then(digit)?;
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Head {
        match parse(text.as_bytes()) {
            Ok(Parsed::Whole(head, length)) => {
                assert_eq!(length, text.len());
                *head
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: &str) -> u16 {
        match parse(text.as_bytes()) {
            Err(problem) => problem.status,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn an_ordinary_request_is_read() {
        let head = whole(
            "POST /api/scans/S%201/stop?a=1&b HTTP/1.1\r\nHost: pi.local:8080\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        );
        assert_eq!(head.method, Method::Post);
        assert_eq!(head.path, ["api", "scans", "S 1", "stop"]);
        assert_eq!(head.query, "a=1&b");
        assert_eq!(head.framing, Framing::Length(5));
        assert_eq!(head.host.as_deref(), Some("pi.local:8080"));
        assert!(head.keep_alive && head.header("x") == Some("y"));
        let old = whole("GET / HTTP/1.0\r\n\r\n");
        assert!(!old.keep_alive && old.host.is_none() && old.path.is_empty());
        assert!(whole("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").keep_alive);
        assert!(!whole("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, close\r\n\r\n").keep_alive);
        assert_eq!(whole("GET /a/ HTTP/1.1\r\nHost: a\r\n\r\n").path, ["a", ""]);
        let absolute = whole("GET http://other:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((absolute.host.as_deref(), absolute.query.as_str()), (Some("other:1"), "y"));
        assert!(whole("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path.is_empty());
        assert_eq!(
            whole("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n").framing,
            Framing::Chunked
        );
        let huge = whole("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n");
        assert_eq!(huge.framing, Framing::Length(u64::MAX));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let with = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        for headers in [
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 5",
            "Content-Length: -1",
            "Content-Length: +1",
            "Content-Length: 0x10",
            "Content-Length:",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding : chunked",
            "X: a\r\n folded",
            "X: a\u{0}b",
            "X: a\rb",
            "Host: b",
            "X Y: z",
        ] {
            assert_eq!(refused(&with(headers)), 400, "{headers:?}");
        }
        assert_eq!(refused(&with("Transfer-Encoding: gzip, chunked")), 501);
        assert_eq!(refused(&with("Transfer-Encoding: identity")), 501);
        assert_eq!(refused(&with("Expect: tea")), 417);
        assert_eq!(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(refused("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
        assert_eq!(refused("\u{16}\u{3}\u{1}"), 400);
    }

    #[test]
    fn paths_can_not_climb() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/a/%2e%2e/b",
            "/%2E%2E",
            "/a/./b",
            "/a%2fb",
            "/a%5cb",
            "/a%00",
            "/%0d%0aX",
            "/%zz",
            "/%",
            "/%ff",
            "nothing",
            "ftp://x/",
            "http:///x",
            "http://u@h/",
            "/a#b",
            "*",
        ] {
            assert_eq!(refused(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")), 400, "{path}");
        }
    }

    #[test]
    fn heads_are_bounded() {
        let line = format!("GET /{}", "a".repeat(limits::HEAD_BYTES));
        assert_eq!(refused(&line), 414);
        assert_eq!(refused(&format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(limits::HEAD_BYTES))), 431);
        assert_eq!(
            refused(&format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(limits::HEADERS + 1))),
            431
        );
        assert_eq!(refused(&"\r\n".repeat(limits::HEAD_BYTES)), 431);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn nearly_http_is_read_without_panic(text in "(GET|POST|OPTIONS|X) [/a%.2e*?#:]{0,12} HTTP/1.[01]\r\n((Host|Content-Length|Transfer-Encoding|Connection|Expect): ?[a-z0-9,:-]{0,9}\r\n){0,4}\r\n") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn a_head_in_two_parts_is_the_same_head(
            path in "(/[a-z%2041]{0,6}){1,3}", value in "[ -~]{0,20}", cut in 0usize..200,
        ) {
            let text = format!("GET {path} HTTP/1.1\r\nHost: a\r\nX-Y: {value}\r\n\r\n");
            let cut = cut.min(text.len().saturating_sub(1));
            let first = parse(&text.as_bytes()[..cut]);
            prop_assert!(matches!(first, Ok(Parsed::Partial)), "{:?}", first);
            match (parse(text.as_bytes()), parse(format!("{text}GET / HTTP/1.1").as_bytes())) {
                (Ok(Parsed::Whole(a, n)), Ok(Parsed::Whole(b, m))) => {
                    prop_assert_eq!(n, text.len());
                    prop_assert_eq!(m, text.len());
                    prop_assert_eq!(&a.path, &b.path);
                    prop_assert_eq!(&a.headers, &b.headers);
                }
                (Err(a), Err(b)) => prop_assert_eq!(a.status, b.status),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
