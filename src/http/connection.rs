//! One connection: heads in, answers out, until one side ends it or it becomes a stream.

use super::body::Body;
use super::head::{Head, Parsed, parse};
use super::listener::Entry;
use super::problem::{Problem, problem};
use super::reply::{Reply, send_stream_head};
use super::request::Answer;
use super::router;
use super::server::{Shared, Streams};
use super::wire::Wire;
use crate::push::Format;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tiny_http::{HTTPVersion, Method};

/// Serves a connection to its end.
pub(crate) fn run(shared: &Arc<Shared>, entry: &Entry) {
    let mut wire = Wire::new(Arc::clone(&entry.socket), shared.times);
    while !shared.is_stopping() {
        let head = match read_head(&mut wire) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(refusal) => {
                shared.metrics().requests_bad_total.inc();
                let _ = Reply::from(refusal).send(&wire, &HTTPVersion(1, 1), false, false);
                wire.linger();
                break;
            }
        };
        shared.register.busy(entry);
        shared.metrics().requests_total.inc();
        let outcome = serve(shared, entry, &mut wire, &head);
        shared.register.idle(entry);
        match outcome {
            Outcome::Next => wire.rest(),
            Outcome::End => break,
            Outcome::EndPolitely => {
                wire.linger();
                break;
            }
        }
    }
}

/// Waits for a head. None: the peer has gone or has been silent for too long.
fn read_head(wire: &mut Wire) -> Result<Option<Box<Head>>, Problem> {
    let silent_until = Instant::now() + wire.times.idle;
    // The clock of a head starts with its first byte and does not start again with the next.
    let mut head_until = (!wire.unused().is_empty()).then(|| Instant::now() + wire.times.head);
    let mut parsed_to = 0;
    loop {
        let unused = wire.unused();
        // Only a line end can complete a head; looking again at every byte would be work for nothing.
        let worth_it = parsed_to == 0
            || unused.len() >= crate::limits::HEAD_BYTES
            || unused[parsed_to..].contains(&b'\n');
        if !unused.is_empty() && worth_it {
            parsed_to = unused.len();
            if let Parsed::Whole(head, length) = parse(unused)? {
                wire.advance(length);
                return Ok(Some(head));
            }
        }
        match wire.fill(head_until.unwrap_or(silent_until)) {
            Ok(0) => return Ok(None),
            Ok(_) => {
                head_until.get_or_insert_with(|| Instant::now() + wire.times.head);
            }
            Err(e) if e.kind() == io::ErrorKind::TimedOut && head_until.is_some() => {
                return Err(problem(
                    408,
                    "head_timeout",
                    "Request timeout",
                    format!("the head of the request was not there within {:?}", wire.times.head),
                ));
            }
            Err(_) => return Ok(None),
        }
    }
}

enum Outcome {
    /// The connection may serve another request.
    Next,
    End,
    /// The peer may still be sending: let it read the answer first.
    EndPolitely,
}

fn serve(shared: &Arc<Shared>, entry: &Entry, wire: &mut Wire, head: &Head) -> Outcome {
    let mut body = Body::new(wire, head.framing, head.expects_continue);
    let answer = router::answer(shared, head, &mut body, entry.peer);
    let rest_read = body.finish();
    let reply = match answer {
        Ok(Answer::Stream(request)) if head.method != Method::Head => {
            return stream(shared, entry, wire, head, *request);
        }
        Ok(Answer::Stream(request)) => Reply::new(200, content_type(request.format), Vec::new()),
        Ok(Answer::Reply(reply)) => reply,
        Err(problem) => {
            if problem.status == 400 {
                shared.metrics().requests_bad_total.inc();
            }
            problem.into()
        }
    };
    let keep_alive = head.keep_alive && rest_read && !shared.is_stopping();
    let reply =
        cross_origin(shared, head).into_iter().fold(reply, |reply, (name, value)| reply.header(name, value));
    shared.register.sending(entry);
    match reply.send(wire, &head.version, head.method == Method::Head, keep_alive) {
        Ok(()) if keep_alive => Outcome::Next,
        Ok(()) if rest_read => Outcome::End,
        Ok(()) => Outcome::EndPolitely,
        Err(_) => Outcome::End,
    }
}

/// What a page of a configured origin needs to read the answer.
fn cross_origin(shared: &Shared, head: &Head) -> Vec<(&'static str, String)> {
    match shared.doors.friend(head) {
        Some(origin) => {
            vec![("Access-Control-Allow-Origin", origin.to_string()), ("Vary", "Origin".to_string())]
        }
        None => Vec::new(),
    }
}

fn content_type(format: Format) -> &'static str {
    match format {
        Format::Sse => "text/event-stream",
        Format::Ndjson => "application/x-ndjson",
    }
}

/// Writes the head of a stream and hands the socket over; the push layer ends it.
fn stream(
    shared: &Arc<Shared>,
    entry: &Entry,
    wire: &mut Wire,
    head: &Head,
    request: crate::push::Request,
) -> Outcome {
    let Some(place) = Streams::take(shared, entry.peer.ip()) else {
        let full = problem(
            503,
            "too_many_streams",
            "Too many streams",
            "every place for a stream is taken; poll /api/events instead, or try again",
        )
        .retry_after(5);
        let _ = Reply::from(full).send(wire, &head.version, false, false);
        return Outcome::End;
    };
    if send_stream_head(wire, content_type(request.format), &cross_origin(shared, head)).is_err() {
        return Outcome::End;
    }
    shared.register.stream(entry);
    shared.parts.push.serve(Arc::clone(&entry.socket), request, Box::new(place));
    Outcome::End
}
