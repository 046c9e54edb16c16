//! `GET /api/scans/{id}/data` and what else shows the rows of a scan: chart, files, playback.

use crate::clock::Wall;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::http::server::Shared;
use crate::limits;
use crate::model::ScanState;
use crate::runner::book::chart::{self, Ask, ChartError};
use crate::runner::book::export::Format;
use crate::runner::book::playback::{Line, Playback};
use crate::runner::book::{Book, View};
use crate::runner::plan::MEASUREMENT;
use crate::store::{self, Search, StoreError, Trail};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Rows of an answer without `limit`.
const USUAL: u64 = 1_000;
/// Lines of the log that a playback shows.
const LINES: usize = 1_000;
/// How often a playback that waits looks whether it is time to end.
const LOOK: Duration = Duration::from_millis(100);
/// Playback as fast as it is read.
const FASTEST: f64 = 1e6;

fn unreadable(e: StoreError) -> Problem {
    problem(503, "store_unreadable", "The store can't be read", e.to_string()).retry_after(5)
}

fn view(request: &Request<'_, '_>, query: &Query) -> Result<View, Problem> {
    let id = request.param(0);
    let measurement = query.value("measurement").filter(|name| !name.is_empty());
    let book = request.shared.parts.lab.book();
    match book.view(id, measurement).map_err(unreadable)? {
        Some(mut view) => {
            // Its rows are told to have ended a moment after the scan has.
            view.ended |= request.shared.parts.lab.state(id).is_some_and(has_ended);
            Ok(view)
        }
        None => {
            // A scan that waits has columns and no rows.
            let name = measurement.unwrap_or(MEASUREMENT);
            match request.shared.parts.lab.scan(id) {
                Some(mut scan) if measurement.is_none() || scan.columns.contains_key(name) => {
                    let mut view = book.blank(id, name, scan.columns.remove(name).unwrap_or_default());
                    view.ended = has_ended(scan.status.status);
                    Ok(view)
                }
                _ => Err(no_rows(book, id, measurement)),
            }
        }
    }
}

fn has_ended(status: ScanState) -> bool {
    matches!(status, ScanState::Completed | ScanState::Aborted | ScanState::Failed)
}

fn no_rows(book: &Book, id: &str, measurement: Option<&str>) -> Problem {
    let names: Vec<String> = book.measurements(id).into_keys().collect();
    let detail = match measurement {
        Some(name) if !names.is_empty() => {
            format!("{:?} has no measurement {:?}; expected {}", shown(id), shown(name), names.join(", "))
        }
        _ => format!("there are no rows of a scan {:?}", shown(id)),
    };
    problem(404, "unknown_id", "Not found", detail).with("measurements", names)
}

fn whole(query: &Query, name: &str) -> Result<Option<u64>, Problem> {
    match query.value(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| bad(name, text, "a whole number, 0 or more")),
    }
}

fn seconds(query: &Query, name: &str) -> Result<Option<f64>, Problem> {
    match query.value(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<f64>() {
            Ok(t) if t.is_finite() => Ok(Some(t)),
            _ => Err(bad(name, text, "seconds since the start of the scan")),
        },
    }
}

/// `GET /api/scans/{id}/data`: a page of rows, a column each.
pub(crate) fn page(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["measurement", "from", "limit"])?;
    let from = whole(&query, "from")?.unwrap_or(0);
    let limit = match whole(&query, "limit")? {
        None => USUAL,
        Some(n) if (1..=limits::BATCH as u64).contains(&n) => n,
        Some(n) => {
            return Err(bad("limit", &n.to_string(), &format!("a number from 1 to {}", limits::BATCH)));
        }
    };
    let view = view(request, &query)?;
    let page = view.rows(from, limit).map_err(unreadable)?;
    let (mut index, mut t_rel, mut timestamp) = (Vec::new(), Vec::new(), Vec::new());
    let mut quality = Map::new();
    let mut data: Map<String, Value> =
        view.columns.iter().map(|c| (c.name.clone(), Value::Array(Vec::new()))).collect();
    for chunk in &page.chunks {
        for (n, label) in chunk.labels.iter().enumerate() {
            index.push(chunk.first + n as u64);
            t_rel.push(label.t_rel);
            timestamp.push(label.at.rfc3339());
            if label.quality.is_some() {
                quality.insert((chunk.first + n as u64).to_string(), json!(chunk.quality(n)));
            }
        }
        for (name, list) in &mut data {
            if let Value::Array(list) = list {
                list.extend((0..chunk.len()).map(|n| chunk.cell(name, n).json()));
            }
        }
    }
    let mut body = view.about();
    if let Value::Object(body) = &mut body {
        body.extend([
            ("sequence_index".to_string(), json!(index)),
            ("t_rel".to_string(), json!(t_rel)),
            ("timestamp".to_string(), json!(timestamp)),
            ("data".to_string(), Value::Object(data)),
            ("quality".to_string(), Value::Object(quality)),
            ("next".to_string(), json!(page.next)),
        ]);
    }
    Ok(Reply::json(200, &body).into())
}

/// `GET /api/scans/{id}/data.csv`.
pub(crate) fn csv(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    file(request, Format::Csv, "text/csv; charset=utf-8", "csv")
}

/// `GET /api/scans/{id}/data.json`.
pub(crate) fn whole_json(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    file(request, Format::Json, "application/json", "json")
}

/// `GET /api/scans/{id}/data.ndjson`.
pub(crate) fn ndjson(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    file(request, Format::Ndjson, "application/x-ndjson", "ndjson")
}

fn file(
    request: &mut Request<'_, '_>,
    format: Format,
    kind: &'static str,
    extension: &str,
) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["measurement", "meta"])?;
    let meta = query.flag("meta")?.unwrap_or(false);
    let view = view(request, &query)?;
    let plain = |text: &str| {
        text.chars()
            .map(|c| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' })
            .collect::<String>()
    };
    let name = format!("{}_{}.{extension}", plain(&view.scan), plain(&view.measurement));
    let rows = view.len().to_string();
    let write = move |out: &mut dyn Write| view.export(format, meta, out);
    Ok(Reply::written(200, kind, None, Box::new(write))
        .header("Content-Disposition", format!("attachment; filename=\"{name}\""))
        .header("X-Num-Points", rows)
        .into())
}

/// `GET /api/scans/{id}/chart`.
pub(crate) fn chart(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let known = ["measurement", "x", "y", "from", "to", "from_t", "to_t", "points", "method"];
    let query = Query::read(&request.head.query, &known)?;
    let (least, most) = chart::POINTS;
    let points = match query.value("points").filter(|text| !text.is_empty()) {
        None => 800,
        Some(text) => match text.parse() {
            Ok(points) if (least..=most).contains(&points) => points,
            _ => return Err(bad("points", text, &format!("a number from {least} to {most}"))),
        },
    };
    let raw = match query.value("method") {
        None | Some("" | "minmax") => false,
        Some("raw") => true,
        Some(other) => return Err(bad("method", other, "minmax or raw")),
    };
    let names = query.value("y").unwrap_or_default();
    let y: Vec<String> = names.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect();
    if y.len() > chart::SERIES {
        return Err(bad("y", names, &format!("at most {} columns", chart::SERIES)));
    }
    let ask = Ask {
        x: query.value("x").map(str::to_string),
        y,
        from: whole(&query, "from")?,
        to: whole(&query, "to")?,
        from_t: seconds(&query, "from_t")?,
        to_t: seconds(&query, "to_t")?,
        points,
        raw,
    };
    match view(request, &query)?.chart(&ask) {
        Ok((chart, _)) => Ok(Reply::json(200, &chart).into()),
        Err(ChartError::Store(e)) => Err(unreadable(e)),
        Err(ChartError::Column(name, there)) => Err(problem(
            422,
            "unknown_column",
            "Unknown column",
            format!("there is no column {:?}; expected {}, t_rel or index", shown(&name), there.join(", ")),
        )
        .with("columns", there)),
    }
}

/// A place among the playbacks, until dropped.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Place> {
        let more = |n: usize| (n < limits::PLAYBACKS).then_some(n + 1);
        shared.playbacks.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Place(Arc::clone(shared)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.playbacks.fetch_sub(1, Ordering::AcqRel);
    }
}

/// `GET /api/scans/{id}/playback`.
pub(crate) fn playback(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["rate", "from", "format", "last_event_id"])?;
    let rate = match query.value("rate").filter(|text| !text.is_empty()) {
        None => 1.0,
        Some(text) => match text.parse::<f64>() {
            Ok(rate) if (0.01..=FASTEST).contains(&rate) => rate,
            _ => return Err(bad("rate", text, "how many times as fast, 0.01 to 1000000")),
        },
    };
    let accepted = request.head.header("accept").unwrap_or_default();
    let sse = match query.value("format") {
        None => !accepted.contains("ndjson"),
        Some("sse") => true,
        Some("ndjson") => false,
        Some(other) => return Err(bad("format", other, "sse or ndjson")),
    };
    // What a reader already has: it lost its connection and comes again.
    let last = request.head.header("last-event-id").or(query.value("last_event_id"));
    let had = last.and_then(|id| id.strip_prefix("p-")?.parse().ok()).unwrap_or(0);
    let from = whole(&query, "from")?.unwrap_or(0);
    let id = request.param(0).to_string();
    let parts = &request.shared.parts;
    let book = parts.lab.book();
    let mut views = Vec::new();
    for name in book.measurements(&id).into_keys() {
        views.extend(book.view(&id, Some(&name)).map_err(unreadable)?);
    }
    if views.is_empty() {
        return Err(no_rows(book, &id, None));
    }
    let lines = lines(request, &id)?;
    let status = parts.bus.state_of(&format!("scan_status/{id}")).map(|e| e.payload().to_string());
    let playback = Playback::new(views, lines, rate, from).map_err(unreadable)?;
    let Some(place) = Place::take(request.shared) else {
        return Err(problem(
            503,
            "too_many_playbacks",
            "Too many playbacks",
            format!("{} scans are being played back already; try again later", limits::PLAYBACKS),
        )
        .retry_after(10));
    };
    let play = Play { place, playback, status, scan: id, rate, sse, had, number: 0 };
    let kind = if sse { "text/event-stream" } else { "application/x-ndjson" };
    Ok(Reply::written(200, kind, None, Box::new(move |out| play.run(out)))
        .header("Cache-Control", "no-store, no-transform")
        .header("X-Accel-Buffering", "no")
        .into())
}

/// The lines of a scan, oldest first: the newest [`LINES`] of them, as far as one search finds them.
fn lines(request: &Request<'_, '_>, id: &str) -> Result<Vec<Line>, Problem> {
    let parts = &request.shared.parts;
    let topic = format!("scan/{id}");
    let mut lines = Vec::new();
    let searched = store::search(&parts.bus, &parts.store, &Search::of(&[Trail::Log]), |found| {
        if found.topic == topic {
            let envelope: Value = serde_json::from_str(&found.data).unwrap_or_default();
            let at = envelope["payload"]["timestamp"].as_str().and_then(Wall::parse);
            let at = at.or_else(|| envelope["timestamp"].as_str().and_then(Wall::parse));
            if let Some(at) = at {
                let payload = envelope["payload"].to_string();
                lines.push(Line { kind: found.kind.to_string(), at, payload });
            }
        }
        if lines.len() < LINES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    searched.map_err(unreadable)?;
    lines.reverse();
    Ok(lines)
}

/// A playback under way, on the connection's thread.
struct Play {
    place: Place,
    playback: Playback,
    status: Option<String>,
    scan: String,
    rate: f64,
    sse: bool,
    /// Frames that the reader has.
    had: u64,
    number: u64,
}

impl Play {
    fn run(mut self, out: &mut dyn Write) -> io::Result<()> {
        let about = json!({
            "scan_id": self.scan,
            "rate": self.rate,
            "start_time": self.playback.start_time(),
            "points_total": self.playback.points_total(),
        });
        self.send(out, "playback", &about.to_string())?;
        out.flush()?;
        // The pace is kept from the first frame that is sent.
        let mut begun: Option<(Instant, Duration)> = None;
        while let Some(frame) = self.playback.next_frame().map_err(io::Error::other)? {
            if self.place.0.is_stopping() {
                return self.bye(out, "shutdown");
            }
            if self.number + 1 > self.had {
                let (at, due) = *begun.get_or_insert((Instant::now(), frame.due));
                if !self.wait(out, at + frame.due.saturating_sub(due))? {
                    return self.bye(out, "shutdown");
                }
            }
            self.send(out, &frame.kind, &frame.payload)?;
        }
        if let Some(status) = self.status.take() {
            self.send(out, "scan_status", &status)?;
        }
        self.bye(out, "finished")
    }

    /// Waits until `due`, and says every few seconds that it lives; false when it is time to end.
    fn wait(&mut self, out: &mut dyn Write, due: Instant) -> io::Result<bool> {
        let mut said = Instant::now();
        let mut flushed = false;
        loop {
            if self.place.0.is_stopping() {
                return Ok(false);
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            if !flushed {
                out.flush()?;
                flushed = true;
            }
            if said.elapsed() >= limits::HEARTBEAT {
                said = Instant::now();
                let now = json!({ "now": Wall::now() });
                self.write(out, None, "heartbeat", &now.to_string())?;
                out.flush()?;
            }
            std::thread::sleep(left.min(LOOK));
        }
    }

    fn bye(&mut self, out: &mut dyn Write, reason: &str) -> io::Result<()> {
        self.send(out, "bye", &json!({ "reason": reason }).to_string())?;
        out.flush()
    }

    /// Sends a frame with the next number, if the reader has it not.
    fn send(&mut self, out: &mut dyn Write, kind: &str, payload: &str) -> io::Result<()> {
        self.number += 1;
        // What is no part of the scan itself is said again.
        let again = matches!(kind, "playback" | "bye");
        if self.number > self.had || again {
            self.write(out, Some(self.number), kind, payload)?;
        }
        Ok(())
    }

    fn write(&self, out: &mut dyn Write, number: Option<u64>, kind: &str, payload: &str) -> io::Result<()> {
        let now = Wall::now().rfc3339();
        let id = number.map_or(String::new(), |n| format!("\"id\":\"p-{n}\","));
        let data = format!(
            "{{\"type\":\"{kind}\",{id}\"topic\":\"scan/{}\",\"timestamp\":\"{now}\",\"playback\":true,\"payload\":{payload}}}",
            self.scan
        );
        let text = match (self.sse, number) {
            (true, Some(n)) => format!("id: p-{n}\nevent: {kind}\ndata: {data}\n\n"),
            (true, None) => format!("event: {kind}\ndata: {data}\n\n"),
            (false, _) => format!("{data}\n"),
        };
        out.write_all(text.as_bytes())
    }
}
