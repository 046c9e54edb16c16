//! `POST /api/events`: one event, an array, or lines.
//!
//! An array and a single event are published all or not at all. Lines (NDJSON, or any chunked upload whose first line
//! is an event) are published as they arrive, those that arrived together in one step of the bus; at a fault the
//! answer says how many were accepted before it.

use super::lines::{self, Came, nothing};
use crate::bus::{Published, Refused};
use crate::http::body::Body;
use crate::http::head::{Framing, Head};
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::http::server::Shared;
use crate::limits;
use crate::model::{Cursor, Draft, DraftError, Fault};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

pub(crate) fn events(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let wish = Wish::read(request.head)?;
    let mut sum = Sum::new(request.shared);
    let said_lines = request.head.says_lines();
    // With an idempotency key all is published in one step, so all of it has to be there first.
    let outcome = if wish.key.is_none() && (said_lines || request.head.framing == Framing::Chunked) {
        as_they_come(request.body, said_lines, &mut sum)
    } else {
        request
            .body
            .whole(limits::BODY_BYTES, &request.shared.bodies)
            .and_then(|body| at_once(&body, &wish, &mut sum))
    };
    match outcome {
        Ok(()) => finish(&wish, &sum),
        Err(problem) => Err(sum.tell(problem)),
    }
}

/// What the request asks of publishing.
pub(super) struct Wish {
    pub durable: bool,
    pub key: Option<String>,
}

impl Wish {
    pub fn read(head: &Head) -> Result<Wish, Problem> {
        let durable = Query::read(&head.query, &["durable"])?.flag("durable")?.unwrap_or(false);
        let key = match head.header("idempotency-key") {
            None => None,
            Some(key) if (1..=128).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()) => {
                Some(format!("idem:{key}"))
            }
            Some(key) => {
                return Err(problem(
                    400,
                    "bad_idempotency_key",
                    "Bad Idempotency-Key",
                    format!(
                        "the Idempotency-Key is {:?}; expected 1 to 128 visible ASCII characters",
                        shown(key)
                    ),
                ));
            }
        };
        Ok(Wish { durable, key })
    }
}

/// What has been published so far.
pub(super) struct Sum<'s> {
    shared: &'s Shared,
    accepted: usize,
    duplicates: usize,
    cursor: Option<Cursor>,
}

impl<'s> Sum<'s> {
    pub fn new(shared: &'s Shared) -> Sum<'s> {
        Sum { shared, accepted: 0, duplicates: 0, cursor: None }
    }

    pub fn publish(&mut self, drafts: Vec<Draft>, key: Option<&str>) -> Result<(), Problem> {
        if drafts.is_empty() {
            return Ok(());
        }
        let parts = &self.shared.parts;
        let Published { cursor, accepted, duplicates } =
            parts.instruments.publish(&parts.bus, drafts, key).map_err(refused)?;
        self.accepted += accepted;
        self.duplicates += duplicates;
        self.cursor = Some(cursor);
        Ok(())
    }

    /// Whether anything was published that had not been before.
    pub fn is_new(&self) -> bool {
        self.accepted > 0
    }

    fn cursor(&self) -> Cursor {
        self.cursor.unwrap_or_else(|| self.shared.parts.bus.head())
    }

    /// Adds what was accepted before a fault.
    fn tell(&self, problem: Problem) -> Problem {
        let problem = problem.with("accepted", self.accepted);
        match self.cursor {
            Some(cursor) => problem.with("cursor", cursor.to_string()),
            None => problem,
        }
    }
}

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Lagging => problem(503, "store_lags", "The store lags", why.to_string()).retry_after(5),
        Refused::Stopping => problem(503, "stopping", "Stopping", why.to_string()).retry_after(5),
        Refused::TooManyKeys => problem(422, "too_many_ids", "Too many ids", why.to_string()),
    }
}

/// The answer to what was published: 202, or 201 once it is on the disk.
pub(super) fn finish(wish: &Wish, sum: &Sum<'_>) -> Result<Answer, Problem> {
    finish_with(wish, sum, "")
}

/// The same with further members, such as `,"cancel":true`.
pub(super) fn finish_with(wish: &Wish, sum: &Sum<'_>, more: &str) -> Result<Answer, Problem> {
    let cursor = sum.cursor();
    if wish.durable && !sum.shared.parts.bus.wait_durable(cursor.seq, limits::DURABLE_TIME) {
        return Err(problem(503, "not_durable_yet", "Not durable yet", format!(
            "{} events were accepted but are not on the disk after {:?}; don't send them again, or with the same Idempotency-Key",
            sum.accepted, limits::DURABLE_TIME
        ))
        .with("accepted", sum.accepted)
        .with("cursor", cursor.to_string())
        .retry_after(5));
    }
    let text = format!(
        "{{\"accepted\":{},\"duplicates\":{},\"cursor\":\"{cursor}\"{more}}}",
        sum.accepted, sum.duplicates
    );
    Ok(Reply::json_text(if wish.durable { 201 } else { 202 }, text).into())
}

/// Publishes line by line while the body arrives.
fn as_they_come(body: &mut Body<'_>, said_lines: bool, sum: &mut Sum<'_>) -> Result<(), Problem> {
    let shared = sum.shared;
    match lines::read(body, said_lines, &shared.bodies, |text, before| publish_lines(text, before, sum))? {
        Came::Lines => Ok(()),
        Came::Whole(body) => at_once(&body, &Wish { durable: false, key: None }, sum),
    }
}

/// Publishes whole lines, in steps that the bus takes at once.
fn publish_lines(text: &[u8], before: usize, sum: &mut Sum<'_>) -> Result<(), Problem> {
    let mut drafts = Vec::new();
    for (line, text) in lines::each(text, before) {
        match draft(text) {
            Ok(draft) => drafts.push(draft),
            Err(wrong) => {
                sum.publish(drafts, None)?;
                return Err(wrong.at("line", line));
            }
        }
        if drafts.len() == limits::BATCH {
            sum.publish(std::mem::take(&mut drafts), None)?;
        }
    }
    sum.publish(drafts, None)
}

/// Publishes a body that is there as a whole.
fn at_once(body: &[u8], wish: &Wish, sum: &mut Sum<'_>) -> Result<(), Problem> {
    let key = wish.key.as_deref();
    match shape(body)? {
        Shape::One(text) => sum.publish(vec![draft(text).map_err(|w| w.at("", 0))?], key),
        Shape::Array(items) => {
            let drafts = items
                .iter()
                .enumerate()
                .map(|(index, item)| draft(item.get().as_bytes()).map_err(|w| w.at("index", index)));
            sum.publish(drafts.collect::<Result<_, _>>()?, key)
        }
        Shape::Lines if key.is_none() => publish_lines(body, 0, sum),
        Shape::Lines => {
            let lines = body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty());
            let drafts = lines
                .map(|(n, l)| draft(l).map_err(|w| w.at("line", n + 1)))
                .collect::<Result<Vec<_>, _>>()?;
            few_enough(drafts.len())?;
            sum.publish(drafts, key)
        }
    }
}

/// What a body consists of.
pub(super) enum Shape<'b> {
    One(&'b [u8]),
    Array(Vec<&'b RawValue>),
    Lines,
}

/// Finds out what a body consists of by looking at it: nobody sets Content-Type right.
pub(super) fn shape(body: &[u8]) -> Result<Shape<'_>, Problem> {
    match body.trim_ascii_start().first() {
        None => Err(nothing()),
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_slice(body).map_err(|e| Wrong::json(&e).at("", 0))?;
            few_enough(items.len())?;
            Ok(Shape::Array(items))
        }
        Some(_) => match serde_json::from_slice::<&RawValue>(body) {
            Err(e) if e.to_string().starts_with("trailing characters") => Ok(Shape::Lines),
            _ => Ok(Shape::One(body)),
        },
    }
}

fn few_enough(count: usize) -> Result<(), Problem> {
    if count > limits::BATCH {
        return Err(problem(
            413,
            "too_many_events",
            "Too many events",
            format!(
                "there are {count} events; at most {} in one step, or any number as NDJSON",
                limits::BATCH
            ),
        ));
    }
    Ok(())
}

/// A fault of one event, before it is known which.
pub(super) struct Wrong {
    status: u16,
    field: String,
    detail: String,
}

impl Wrong {
    pub fn json(e: &serde_json::Error) -> Wrong {
        let text = e.to_string();
        let what = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
        Wrong {
            status: 400,
            field: String::new(),
            detail: format!("not the JSON expected at column {}: {}", e.column(), shown(what)),
        }
    }

    /// JSON that breaks a rule.
    pub fn rule(field: &str, detail: impl Into<String>) -> Wrong {
        Wrong { status: 422, field: field.into(), detail: detail.into() }
    }

    /// More than fits.
    pub fn too_large(detail: impl Into<String>) -> Wrong {
        Wrong { status: 413, field: String::new(), detail: detail.into() }
    }

    fn field(field: &str, detail: impl Into<String>) -> Wrong {
        Wrong { status: 400, field: field.into(), detail: detail.into() }
    }

    /// The problem, with the place where the event stands: `line` (from 1) or `index` (from 0).
    pub fn at(self, place: &str, number: usize) -> Problem {
        let (code, title) = match self.status {
            413 => ("event_too_large", "Event too large"),
            422 => ("invalid_event", "Invalid event"),
            _ => ("malformed_event", "Malformed event"),
        };
        let detail =
            if place.is_empty() { self.detail } else { format!("{place} {number}: {}", self.detail) };
        let mut problem = problem(self.status, code, title, detail);
        if !place.is_empty() {
            problem = problem.with(place, number);
        }
        if !self.field.is_empty() {
            problem = problem.with("field", self.field);
        }
        problem
    }
}

impl From<DraftError> for Wrong {
    fn from(e: DraftError) -> Wrong {
        let status = match e.fault {
            Fault::Malformed => 400,
            Fault::Rule => 422,
            Fault::TooLarge => 413,
        };
        Wrong { status, field: e.field, detail: e.detail }
    }
}

/// An event as it comes in. Unknown members are ignored.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    topic: Option<Text<'a>>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<Text<'a>>,
    #[serde(borrow)]
    producer: Option<Text<'a>>,
    producer_seq: Option<u64>,
}

/// A string that is borrowed where it has no escapes. (serde borrows a bare `Cow`, but not one in an `Option`.)
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                if text.len() > 256 {
                    Err(E::custom("a string is longer than 256 bytes"))
                } else {
                    Ok(Text(Cow::Owned(text.into())))
                }
            }
        }
        d.deserialize_str(Read).map_err(D::Error::custom)
    }
}

/// Reads one event.
fn draft(text: &[u8]) -> Result<Draft, Wrong> {
    let incoming: Incoming<'_> = serde_json::from_slice(text).map_err(|e| Wrong::json(&e))?;
    let Some(kind) = incoming.kind else {
        return Err(Wrong::field("type", "type is missing; expected a string"));
    };
    let Some(payload) = incoming.payload else {
        return Err(Wrong::field("payload", "payload is missing; expected an object"));
    };
    let draft = Draft::raw(&kind.0, incoming.topic.as_ref().map(|t| &*t.0), payload)?;
    let is_name = |text: &str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match (incoming.producer, incoming.producer_seq, incoming.key) {
        (None, None, None) => Ok(draft),
        (Some(producer), Some(seq), None) if is_name(&producer.0) => {
            Ok(draft.by(&format!("p:{}", producer.0), seq))
        }
        // A key is a producer that sends one event.
        (None, None, Some(key)) if is_name(&key.0) => Ok(draft.by(&format!("k:{}", key.0), 1)),
        (Some(_), Some(_), None) => {
            Err(Wrong::field("producer", "producer is not 1 to 128 visible ASCII characters"))
        }
        (None, None, Some(_)) => Err(Wrong::field("key", "key is not 1 to 128 visible ASCII characters")),
        (Some(_), None, _) | (None, Some(_), _) => Err(Wrong::field(
            "producer_seq",
            "producer and producer_seq go together; only one of them is there",
        )),
        (Some(_), Some(_), Some(_)) => {
            Err(Wrong::field("key", "there are both key and producer; expected one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(text: &str) -> u16 {
        match draft(text.as_bytes()) {
            Ok(_) => 200,
            Err(wrong) => wrong.at("line", 1).status,
        }
    }

    #[test]
    fn events_are_read_and_faults_are_sorted() {
        assert_eq!(status(r#"{"type":"mine","topic":"app/x","payload":{"a":1},"more":[1]}"#), 200);
        assert_eq!(
            status("{\"type\":\"m\\u0069ne\",\"topic\":null,\"topic2\":1,\"payload\":{}}"),
            422,
            "an own type needs a topic"
        );
        assert_eq!(
            status(
                r#"{"type":"log","payload":{"level":"INFO","message":"x","timestamp":"2026-01-07T15:30:00.000Z"}}"#
            ),
            200
        );
        for (text, expected) in [
            ("", 400),
            ("{", 400),
            ("[]", 400),
            ("{}", 400),
            (r#"{"type":5,"payload":{}}"#, 400),
            (r#"{"type":"mine","topic":"app/x"}"#, 400),
            (r#"{"type":"mine","topic":"app/x","payload":[]}"#, 400),
            (r#"{"type":"mine","topic":"app/x","payload":{}} x"#, 400),
            (r#"{"type":"mine","topic":"app/a\r\nid: 1","payload":{}}"#, 422),
            (r#"{"type":"hello","topic":"app/x","payload":{}}"#, 422),
            (r#"{"type":"log","payload":{}}"#, 422),
            (r#"{"type":"mine","topic":"app/x","payload":{},"producer":"a"}"#, 400),
            (r#"{"type":"mine","topic":"app/x","payload":{},"producer":"a","producer_seq":-1}"#, 400),
            (
                r#"{"type":"mine","topic":"app/x","payload":{},"producer":"a","producer_seq":1,"key":"b"}"#,
                400,
            ),
            (r#"{"type":"mine","topic":"app/x","payload":{},"key":"b b"}"#, 400),
        ] {
            assert_eq!(status(text), expected, "{text}");
        }
        let bomb = format!(r#"{{"type":"mine","topic":"app/x","payload":{{"a":{}}}}}"#, "[".repeat(50_000));
        assert_eq!(status(&bomb), 400);
        let closed = format!(
            r#"{{"type":"mine","topic":"app/x","payload":{{"a":{}{}}}}}"#,
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        assert_eq!(status(&closed), 400);
        let ours =
            format!(r#"{{"type":"log","payload":{{"a":{}{}}}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(status(&ours), 400);
    }

    #[test]
    fn the_shape_is_seen() {
        assert!(matches!(shape(b" {\"a\":1}\n "), Ok(Shape::One(_))));
        assert!(matches!(shape(b"{\n\"a\":\n1}"), Ok(Shape::One(_))));
        assert!(matches!(shape(b"{}\n{}"), Ok(Shape::Lines)));
        assert!(matches!(shape(b"\n[{}, {}]"), Ok(Shape::Array(items)) if items.len() == 2));
        assert!(shape(b" \r\n").is_err() && shape(b"[{}").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = shape(&bytes);
            let _ = draft(&bytes);
        }

        #[test]
        fn nearly_events_are_read_without_panic(text in r#"\{("(type|topic|payload|key|producer|producer_seq)":("mine"|"app/x"|\{"a":1\}|1|null|\[\]),?){0,6}\}"#) {
            let _ = draft(text.as_bytes());
        }
    }
}
