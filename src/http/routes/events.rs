//! `GET /api/events`: one cursor, three transports.

use crate::http::head::Head;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::{Role, Since, TopicFilter};
use crate::push::{self, Format};
use std::time::Duration;

const KNOWN: [&str; 9] =
    ["topics", "types", "since", "last_event_id", "limit", "state", "interval", "format", "client"];

/// How the events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Sse,
    Ndjson,
    Poll,
}

pub(crate) fn read(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &KNOWN)?;
    let transport = match query.value("format") {
        None => negotiate(request.head.header("accept").unwrap_or("*/*")),
        Some("sse") => Transport::Sse,
        Some("ndjson") => Transport::Ndjson,
        Some("json") => Transport::Poll,
        Some(other) => return Err(bad("format", other, "sse, ndjson or json")),
    };
    let wanted = wanted(&query, request.head, transport, request.caller.role.unwrap_or(Role::View))?;
    if transport != Transport::Poll {
        return Ok(Answer::Stream(Box::new(wanted)));
    }
    let poll = request
        .shared
        .parts
        .push
        .poll(&wanted)
        .map_err(|e| problem(503, "store", "The store does not answer", e.to_string()).retry_after(5))?;
    let size = poll.events.iter().map(|e| e.len() + 1).sum::<usize>() + 128;
    let mut text = String::with_capacity(size);
    text.push_str("{\"events\":[");
    text.push_str(&poll.events.join(","));
    text.push_str(&format!(
        "],\"cursor\":\"{}\",\"more\":{},\"gap\":{}}}",
        poll.cursor,
        poll.more,
        poll.gap.as_deref().unwrap_or("null")
    ));
    Ok(Reply::json_text(200, text).into())
}

fn wanted(query: &Query, head: &Head, transport: Transport, role: Role) -> Result<push::Request, Problem> {
    let topics = filter(query.value("topics"))?;
    let types = match query.value("types") {
        None | Some("") => None,
        Some(text) => {
            let mut types: Vec<String> =
                text.split(',').map(|t| t.trim().to_string()).filter(|t| !t.is_empty()).collect();
            let named = |t: &String| {
                t.len() <= 64 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            };
            if types.len() > TopicFilter::MOST || !types.iter().all(named) {
                return Err(bad("types", text, "at most 64 names of [a-z0-9_], separated by commas"));
            }
            types.sort();
            types.dedup();
            Some(types)
        }
    };
    let interval = match query.value("interval") {
        None | Some("" | "0" | "0s") => None,
        Some(text) => match humantime::parse_duration(text) {
            Ok(time) if (SHORTEST..=LONGEST).contains(&time) => Some(time),
            _ => return Err(bad("interval", text, "a duration from 50ms to 1h, such as 2s")),
        },
    };
    let limit = match query.value("limit") {
        None | Some("") => None,
        Some(text) => match text.parse() {
            Ok(n) if (1..=limits::BATCH).contains(&n) => Some(n),
            _ => return Err(bad("limit", text, &format!("a number from 1 to {}", limits::BATCH))),
        },
    };
    // The header is what a reconnecting EventSource adds to the URL it was made with: it is the newer one.
    let cursor = head.header("last-event-id").filter(|id| !id.is_empty());
    let cursor = cursor.or(query.value("last_event_id").filter(|id| !id.is_empty())).or(query.value("since"));
    Ok(push::Request {
        topics,
        types,
        interval,
        format: if transport == Transport::Ndjson { Format::Ndjson } else { Format::Sse },
        since: cursor.map(Since::from_text).unwrap_or_default(),
        state: query.flag("state")?,
        limit,
        role,
    })
}

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads `topics=`.
pub(super) fn filter(topics: Option<&str>) -> Result<TopicFilter, Problem> {
    let text = topics.unwrap_or_default();
    TopicFilter::parse(text).map_err(|e| {
        problem(400, "unknown_topic", "Unknown topic", e.to_string()).with("topics", shown(text))
    })
}

/// What of the three the client likes best; a poll where it does not say.
fn negotiate(accept: &str) -> Transport {
    let mut best = (0.0, Transport::Poll);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let transport = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/event-stream" => Transport::Sse,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Transport::Ndjson,
            "application/json" | "application/*" | "*/*" => Transport::Poll,
            _ => continue,
        };
        let weight =
            parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        if weight > best.0 {
            best = (weight, transport);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Parsed, parse};
    use proptest::prelude::*;

    fn ask(target: &str, headers: &str) -> Result<push::Request, u16> {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        let Parsed::Whole(head, _) = parse(text.as_bytes()).unwrap() else { panic!() };
        let query = Query::read(&head.query, &KNOWN).map_err(|p| p.status)?;
        wanted(&query, &head, Transport::Sse, Role::View).map_err(|p| p.status)
    }

    #[test]
    fn transports_are_negotiated() {
        for (accept, transport) in [
            ("text/event-stream", Transport::Sse),
            ("application/x-ndjson", Transport::Ndjson),
            ("application/json", Transport::Poll),
            ("*/*", Transport::Poll),
            ("", Transport::Poll),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Transport::Poll),
            ("application/json;q=0.5, text/event-stream", Transport::Sse),
            ("text/event-stream;q=0, */*", Transport::Poll),
            ("text/event-stream, */*", Transport::Sse),
        ] {
            assert_eq!(negotiate(accept), transport, "{accept}");
        }
    }

    #[test]
    fn the_header_wins_and_a_bad_cursor_is_no_error() {
        let since = |target: &str, headers: &str| ask(target, headers).unwrap().since;
        assert_eq!(since("/e?since=earliest", ""), Since::Earliest);
        assert_eq!(
            since("/e?since=latest&last_event_id=1-2", "Last-Event-ID: 3-4\r\n"),
            "3-4".parse().map(Since::After).unwrap()
        );
        assert_eq!(
            since("/e?last_event_id=1-2", "Last-Event-ID: \r\n"),
            "1-2".parse().map(Since::After).unwrap()
        );
        assert_eq!(since("/e", ""), Since::Nothing);
        assert!(matches!(since("/e?since=%00%0d%0agarbage", ""), Since::Unreadable(_)));
        assert!(matches!(since("/e", "Last-Event-ID: \u{e9}{}\r\n"), Since::Unreadable(_)));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for bad in [
            "topic=x",
            "topics=nope",
            "topics=scan/a%0d%0aid:1",
            "types=A",
            "interval=1ms",
            "interval=x",
            "limit=0",
            "limit=-1",
            "limit=99999999",
            "state=2",
            "state=1&state=1",
        ] {
            assert_eq!(ask(&format!("/e?{bad}"), "").unwrap_err(), 400, "{bad}");
        }
        let request =
            ask("/e?topics=scan/*,global&types=b,a,b&interval=2s&limit=5&state=false&client=tab1", "")
                .unwrap();
        assert_eq!(request.types, Some(vec!["a".into(), "b".into()]));
        assert_eq!(
            (request.interval, request.limit, request.state),
            (Some(Duration::from_secs(2)), Some(5), Some(false))
        );
    }

    proptest! {
        #[test]
        fn no_cursor_is_ever_an_error(text in "[ -~]{0,60}") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
            let target = format!("/e?since={encoded}");
            prop_assert!(ask(&target, "").is_ok());
        }
    }
}
