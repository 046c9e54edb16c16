//! Reading the log back: lines for people and what became of alerts, newest first; and lines as a file.

use super::resources;
use crate::clock::Wall;
use crate::http::problem::{Problem, problem};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::{Cursor, Level};
use crate::store::{self, Found, Search, Searched, Trail};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

/// Names of sources that one answer lists.
const SOURCES: usize = 100;
/// Items of one answer.
const MOST: usize = 1_000;

/// An envelope as far as these routes need it.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    corrected: Option<Wall>,
    /// `unsynced` where nobody vouched for the time.
    #[serde(borrow)]
    clock: Option<Cow<'a, str>>,
}

/// A line: `log` or `queue_log`.
#[derive(Deserialize)]
struct Line<'a> {
    level: Level,
    #[serde(borrow)]
    message: Cow<'a, str>,
    timestamp: Value,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    queue_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    scan_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    data: Option<Value>,
}

/// `GET /api/log`.
pub(crate) fn lines(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    lines_of(request, |_, _| true)
}

/// `GET /api/scans/{id}/log` and `/api/queues/{id}/log`: lines on its topic, and those that name it.
pub(crate) fn lines_of_one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let kind = if request.head.path.get(1).is_some_and(|k| k == "queues") { "queue" } else { "scan" };
    let topic = crate::model::Topic::of(kind, request.param(0))
        .map_err(|e| problem(404, "unknown_id", "Not found", e.to_string()))?;
    let id = request.param(0).to_string();
    lines_of(request, move |found, line| {
        let named = if kind == "queue" { &line.queue_id } else { &line.scan_id };
        found.topic == topic.as_str() || named.as_deref() == Some(&*id)
    })
}

fn lines_of(
    request: &mut Request<'_, '_>,
    wanted: impl Fn(&Found<'_>, &Line<'_>) -> bool,
) -> Result<Answer, Problem> {
    let known = ["level", "text", "source", "since", "before", "limit", "format"];
    let query = Query::read(&request.head.query, &known)?;
    let given = |name: &str| query.value(name).filter(|text| !text.is_empty());
    let level = match given("level") {
        None => Level::Debug,
        Some(text) => {
            Level::parse(text).ok_or_else(|| bad("level", text, "DEBUG, INFO, WARNING, ERROR or CRITICAL"))?
        }
    };
    let text = given("text").map(str::to_lowercase);
    let source = given("source").map(str::to_string);
    let format = match given("format") {
        None | Some("json") => None,
        Some("text") => Some(Format::Text),
        Some("ndjson") => Some(Format::Ndjson),
        Some(other) => return Err(bad("format", other, "json, text or ndjson")),
    };
    let most = limit(&query, if format.is_some() { limits::LOG_FILE_LINES } else { 200 })?;
    let trail = if level >= Level::Warning { Trail::Warnings } else { Trail::Log };
    let what = Search {
        before: position(request, &query, "before")?,
        after: position(request, &query, "since")?.unwrap_or(0),
        ..Search::of(&[trail])
    };
    let mut sources = BTreeSet::new();
    let take = |found: &Found<'_>| {
        let envelope: Envelope<'_> = serde_json::from_str(&found.data).ok()?;
        let line: Line<'_> = serde_json::from_str(envelope.payload.get()).ok()?;
        if !wanted(found, &line) {
            return None;
        }
        if let Some(name) = &line.source
            && sources.len() < SOURCES
        {
            sources.insert(name.to_string());
        }
        let said = |text: &str| text.to_lowercase();
        let has = |wanted: &String| {
            said(&line.message).contains(wanted)
                || line.source.as_ref().is_some_and(|s| said(s).contains(wanted))
                || said(found.topic).contains(wanted)
        };
        let fits = line.level >= level
            && source.as_ref().is_none_or(|wanted| line.source.as_deref() == Some(wanted))
            && text.as_ref().is_none_or(has);
        fits.then(|| item(found, envelope, line))
    };
    if let Some(format) = format {
        return file(request, what, most, format, take);
    }
    let page = page(request, &what, most, take)?;
    Ok(Reply::json(200, &json!({ "items": page.items, "next": page.next, "sources": sources })).into())
}

/// A line as it is answered.
fn item(found: &Found<'_>, envelope: Envelope<'_>, line: Line<'_>) -> Value {
    let mut item = json!({
        "id": found.cursor,
        "level": line.level,
        "message": line.message,
        "timestamp": line.timestamp,
        "source": line.source,
        "topic": found.topic,
    });
    if let Some(time) = envelope.corrected {
        item["corrected"] = json!(time);
    }
    if let Some(clock) = envelope.clock {
        item["clock"] = json!(clock);
    }
    for (name, value) in [("queue_id", line.queue_id), ("scan_id", line.scan_id), ("code", line.code)] {
        if let Some(value) = value {
            item[name] = json!(value);
        }
    }
    if let Some(data) = line.data {
        item["data"] = data;
    }
    item
}

/// What a file of lines is.
#[derive(Clone, Copy)]
enum Format {
    /// As the page shows them, for people.
    Text,
    /// An object a line, for programs.
    Ndjson,
}

/// The newest lines as a file, the oldest of them first. A file has so many lines and bytes at most and is looked for so
/// long; where there may be older lines, `X-Next` says before which id, and a text says so in its first line.
fn file(
    request: &Request<'_, '_>,
    mut what: Search,
    most: usize,
    format: Format,
    mut take: impl FnMut(&Found<'_>) -> Option<Value>,
) -> Result<Answer, Problem> {
    let until = Instant::now() + limits::LOG_FILE_TIME;
    let (mut lines, mut bytes, mut last) = (Vec::new(), 0, None);
    let older = 'file: loop {
        let page = page(request, &what, (most - lines.len()).min(MOST), &mut take)?;
        for item in page.items {
            let line = match format {
                Format::Text => as_text(&item),
                Format::Ndjson => format!("{item}\n"),
            };
            if bytes + line.len() > limits::LOG_FILE_BYTES {
                break 'file last;
            }
            bytes += line.len();
            lines.push(line);
            last = item.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Cursor>().ok());
        }
        let Some(next) = page.next else { break None };
        if lines.len() >= most || Instant::now() >= until {
            break Some(next);
        }
        what.before = Some(next.seq);
    };
    let mut text = String::with_capacity(bytes);
    if let (Format::Text, Some(next)) = (format, older) {
        text.push_str(&format!("# older lines are left out: ask with before={next}\n"));
    }
    lines.iter().rev().for_each(|line| text.push_str(line));
    let name = match request.head.path.as_slice() {
        [_, _, id, _] => id.as_str(),
        _ => "telltale",
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let (kind, extension) = match format {
        Format::Text => ("text/plain; charset=utf-8", "log"),
        Format::Ndjson => ("application/x-ndjson", "log.ndjson"),
    };
    let reply = Reply::new(200, kind, text.into_bytes())
        .header("Content-Disposition", format!("attachment; filename=\"{name}.{extension}\""));
    Ok(match older {
        Some(next) => reply.header("X-Next", next.to_string()),
        None => reply,
    }
    .into())
}

/// A line for people, as the page copies it: when, how bad, who, what; further lines of a message are indented.
fn as_text(item: &Value) -> String {
    let of = |name: &str| item.get(name).and_then(Value::as_str);
    let at = of("corrected").or(of("timestamp")).unwrap_or_default();
    let source = of("source").map(|source| format!("{source}: ")).unwrap_or_default();
    let message = of("message").unwrap_or_default().replace("\r\n", "\n").replace('\n', "\n    ");
    format!("{at} {:<8} {source}{message}\n", of("level").unwrap_or_default())
}

/// `GET /api/alerts`, and with `history=true` every change of every alert.
pub(crate) fn alerts(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    if request.head.query.is_empty() {
        return resources::list(request);
    }
    let query = Query::read(&request.head.query, &["history", "before", "limit"])?;
    if query.flag("history")? != Some(true) {
        return Err(problem(
            400,
            "bad_parameter",
            "Bad query parameter",
            "before and limit are for history=true; the open alerts are always given whole",
        ));
    }
    let most = limit(&query, 100)?;
    let what = Search { before: position(request, &query, "before")?, ..Search::of(&[Trail::Alerts]) };
    let page = page(request, &what, most, |found| {
        let envelope: Envelope<'_> = serde_json::from_str(&found.data).ok()?;
        let mut item: Value = serde_json::from_str(envelope.payload.get()).ok()?;
        item["id"] = json!(found.cursor);
        if let Some(time) = envelope.corrected {
            item["corrected"] = json!(time);
        }
        Some(item)
    })?;
    Ok(Reply::json(200, &json!({ "items": page.items, "next": page.next })).into())
}

struct Page {
    items: Vec<Value>,
    /// Where to go on; none at the end.
    next: Option<Cursor>,
}

/// The newest `most` that `take` makes an item of. Fewer, with a `next`, when much had to be looked through.
fn page(
    request: &Request<'_, '_>,
    what: &Search,
    most: usize,
    mut take: impl FnMut(&Found<'_>) -> Option<Value>,
) -> Result<Page, Problem> {
    let parts = &request.shared.parts;
    let mut items = Vec::new();
    let mut full = false;
    let came = store::search(&parts.bus, &parts.store, what, |found| {
        if let Some(item) = take(&found) {
            if items.len() == most {
                full = true;
                return ControlFlow::Break(());
            }
            items.push(item);
        }
        ControlFlow::Continue(())
    });
    let came =
        came.map_err(|e| problem(503, "store", "The store does not answer", e.to_string()).retry_after(5))?;
    let next = match came {
        Searched::All => None,
        // The one that did not fit comes first next time.
        Searched::Before(seq) => Some(if full { seq + 1 } else { seq }),
    };
    let id = |seq: u64| Cursor { epoch: parts.store.epoch_of(seq), seq };
    Ok(Page { items, next: next.map(id) })
}

fn limit(query: &Query, usual: usize) -> Result<usize, Problem> {
    match query.value("limit").filter(|text| !text.is_empty()) {
        None => Ok(usual),
        Some(text) => {
            let most = usual.max(MOST);
            match text.parse() {
                Ok(n) if (1..=most).contains(&n) => Ok(n),
                _ => Err(bad("limit", text, &format!("a number from 1 to {most}"))),
            }
        }
    }
}

/// An id of this telltale as a position in the log.
fn position(request: &Request<'_, '_>, query: &Query, name: &str) -> Result<Option<u64>, Problem> {
    let Some(text) = query.value(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.parse::<Cursor>() {
        Ok(id) if id.epoch == 0 || request.shared.parts.store.epoch(id.epoch).is_some() => Ok(Some(id.seq)),
        _ => Err(bad(name, text, "an id of this telltale, such as the next of an earlier answer")),
    }
}
