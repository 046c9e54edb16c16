//! `/api/recordings`: the list, one of them, what may be done to it, its sound, its waveform, archives.

use super::{object, text, wrong};
use crate::clock::Wall;
use crate::http::assets::type_of;
use crate::http::problem::{Problem, problem};
use crate::http::query::{Query, bad};
use crate::http::range::{Span, span};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::http::routes::etag_matches;
use crate::sources::recordings::{
    self, Clip, Opened, Packed, Patch, Place, Refusal, Refused, Sort, Waveform,
};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::sync::Arc;

/// Parameters that choose among recordings.
const FILTERS: [&str; 13] = [
    "text",
    "day",
    "from",
    "to",
    "min_s",
    "max_s",
    "extension",
    "trigger",
    "pinned",
    "bin",
    "sort",
    "limit",
    "cursor",
];

pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = filters(&Query::read(&request.head.query, &FILTERS)?)?;
    let (page, summary) = request.shared.parts.recordings.list(&query)?;
    let mut body = serde_json::to_value(page).unwrap_or_default();
    if let Value::Object(members) = &mut body {
        members.insert("summary".into(), summary);
    }
    Ok(Reply::json(200, &body).into())
}

pub(crate) fn one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    Ok(Reply::json(200, &request.shared.parts.recordings.one(request.param(0))?).into())
}

pub(crate) fn patch(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let members = object(request)?;
    let label = match members.get("label") {
        None => None,
        Some(Value::Null) => Some(None),
        Some(_) => Some(text(&members, "label")?),
    };
    let patch = Patch {
        name: text(&members, "name")?,
        label,
        pinned: switch(&members, "pinned")?,
        restore: switch(&members, "restore")?.unwrap_or(false),
        if_name: text(&members, "if_name")?,
    };
    Ok(Reply::json(200, &request.shared.parts.recordings.patch(request.param(0), patch)?).into())
}

pub(crate) fn delete(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["purge"])?;
    let (recordings, id) = (&request.shared.parts.recordings, request.param(0));
    let done =
        if query.flag("purge")?.unwrap_or(false) { recordings.purge(id)? } else { recordings.bin(id)? };
    Ok(Reply::json(200, &done).into())
}

pub(crate) fn empty_bin(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    confirmed(request)?;
    Ok(Reply::json(200, &request.shared.parts.recordings.empty_bin()?).into())
}

pub(crate) fn purge_held(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    confirmed(request)?;
    Ok(Reply::json(200, &request.shared.parts.recordings.run_held()?).into())
}

/// What can't be undone has to say that it is meant.
fn confirmed(request: &mut Request<'_, '_>) -> Result<(), Problem> {
    Query::read(&request.head.query, &[])?;
    if switch(&object(request)?, "confirm")? == Some(true) {
        return Ok(());
    }
    let detail = "this can't be undone; expected {\"confirm\":true}";
    Err(problem(422, "not_confirmed", "Not confirmed", detail).with("field", "confirm"))
}

pub(crate) fn clip(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let members = object(request)?;
    let seconds = |name: &str| match members.get(name) {
        Some(value) => value
            .as_f64()
            .filter(|s| (0.0..1e9).contains(s))
            .ok_or_else(|| wrong(name, value, "seconds from the beginning")),
        None => Err(problem(400, "bad_field", "Bad field", format!("{name} is missing; expected seconds"))
            .with("field", name)),
    };
    let clip = Clip {
        start_s: seconds("start_s")?,
        end_s: seconds("end_s")?,
        name: text(&members, "name")?,
        overwrite: switch(&members, "overwrite")?.unwrap_or(false),
    };
    Ok(Reply::json(201, &request.shared.parts.recordings.clip(request.param(0), clip)?).into())
}

pub(crate) fn waveform(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["points", "from_s", "until_s"])?;
    let points = whole(&query, "points", 10, 8192)?.unwrap_or(1000);
    let span = (seconds(&query, "from_s")?, seconds(&query, "until_s")?);
    Ok(match request.shared.parts.recordings.waveform(request.param(0), points, span)? {
        Waveform::Drawn(drawn) => Reply::json(200, &drawn),
        Waveform::Pending(progress) => Reply::json(202, &json!({ "pending": true, "progress": progress })),
    }
    .into())
}

pub(crate) fn audio(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["download"])?;
    let download = query.flag("download")?.unwrap_or(false);
    let opened = request.shared.parts.recordings.open(request.param(0))?;
    let (etag, length, growing) = (opened.etag.clone(), opened.length, opened.growing);
    let kind = type_of(&format!(".{}", opened.extension));
    let disposition = disposition(if download { "attachment" } else { "inline" }, &opened.name);
    let modified = httpdate(opened.modified);
    let dress = |reply: Reply| {
        reply
            .header("ETag", etag.clone())
            .header("Accept-Ranges", "bytes")
            .header("Cache-Control", if growing { "no-store" } else { "no-cache" })
            .header("Last-Modified", modified.clone())
            .header("Content-Disposition", disposition.clone())
    };
    // What grows has one tag, so that a seek goes on in it; but whoever has it has not all of it any more.
    if !growing && request.head.header("if-none-match").is_some_and(|known| etag_matches(known, &etag)) {
        return Ok(dress(Reply::empty(304, 0)).into());
    }
    let same = request.head.header("if-range").is_none_or(|tag| tag.trim() == etag);
    let range = request.head.header("range").filter(|_| same);
    Ok(dress(match range.map_or(Span::Whole, |range| span(range, length)) {
        Span::Whole => Reply::written(200, kind, Some(length), body(opened, 0, length)),
        Span::Part(from, to) => Reply::written(206, kind, Some(to - from + 1), body(opened, from, to + 1))
            .header("Content-Range", format!("bytes {from}-{to}/{length}")),
        Span::None => Reply::from(problem(
            416,
            "range",
            "Range not satisfiable",
            format!("the recording has {length} bytes; the range lies outside"),
        ))
        .header("Content-Range", format!("bytes */{length}")),
    })
    .into())
}

fn body(opened: Opened, from: u64, until: u64) -> crate::http::reply::Body {
    Box::new(move |out| opened.copy(from, until, out))
}

pub(crate) fn archive(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let mut known = FILTERS.to_vec();
    known.push("ids");
    let given = Query::read(&request.head.query, &known)?;
    let ids: Option<Vec<String>> =
        given.value("ids").map(|ids| ids.split(',').filter(|i| !i.is_empty()).map(String::from).collect());
    let recordings = Arc::clone(&request.shared.parts.recordings);
    let packed = recordings.archive(ids.as_deref(), &filters(&given)?)?;
    let name = format!("recordings-{}.zip", &Wall::now().rfc3339()[..10]);
    let pack = move |out: &mut dyn Write| pack(&recordings, &packed, out);
    Ok(Reply::written(200, "application/zip", None, Box::new(pack))
        .header("Content-Disposition", disposition("attachment", &name))
        .into())
}

/// Writes the archive as it goes: nothing is held in memory but names and sums.
fn pack(recordings: &recordings::Recordings, packed: &[Packed], out: &mut dyn Write) -> io::Result<()> {
    let mut zip = zip::ZipWriter::new_stream(Large(out, Vec::with_capacity(LARGE)));
    for part in packed {
        // Gone meanwhile: it is left out, and the list of contents says so.
        let Ok(opened) = recordings.open_packed(part) else { continue };
        let options = zip::write::SimpleFileOptions::default()
            .compression_method(zip::CompressionMethod::Stored)
            .last_modified_time(zip_time(opened.modified))
            .large_file(opened.length >= u64::from(u32::MAX));
        zip.start_file(part.name.as_str(), options).map_err(io::Error::other)?;
        opened.copy(0, opened.length, &mut zip)?;
    }
    zip.finish().map_err(io::Error::other)?.into_inner().flush()
}

const LARGE: usize = 64 * 1024;

/// Collects small writes: each one that goes through is a chunk of its own.
struct Large<'a>(&'a mut dyn Write, Vec<u8>);

impl Write for Large<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        if self.1.len() >= LARGE {
            self.0.write_all(&self.1)?;
            self.1.clear();
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.write_all(&self.1)?;
        self.1.clear();
        self.0.flush()
    }
}

/// Archives know times of 1980 to 2107, and no zone: UTC, as everywhere here.
fn zip_time(at: Wall) -> zip::DateTime {
    let text = at.rfc3339();
    let part = |from: usize, to: usize| text.get(from..to).and_then(|t| t.parse::<u16>().ok()).unwrap_or(0);
    let small = |from: usize, to: usize| part(from, to) as u8;
    zip::DateTime::from_date_and_time(
        part(0, 4),
        small(5, 7),
        small(8, 10),
        small(11, 13),
        small(14, 16),
        small(17, 19),
    )
    .unwrap_or_default()
}

/// RFC 9110 section 5.6.7, such as `Wed, 07 Jan 2026 15:30:00 GMT`.
fn httpdate(at: Wall) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = at.rfc3339();
    let day = DAYS[(at.0 / 86_400_000 % 7) as usize];
    let month = text.get(5..7).and_then(|m| m.parse::<usize>().ok()).unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&"Jan");
    format!("{day}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19])
}

/// RFC 6266 with RFC 8187: a plain name for the old, the real one for the others.
fn disposition(kind: &str, name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || " ._-()".contains(c) { c } else { '_' };
    let mut exact = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            exact.push(char::from(byte));
        } else {
            exact.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("{kind}; filename=\"{}\"; filename*=UTF-8''{exact}", name.chars().map(plain).collect::<String>())
}

fn filters(query: &Query) -> Result<recordings::Query, Problem> {
    let mut filters = recordings::Query::default();
    let given = |name: &str| query.value(name).filter(|v| !v.is_empty());
    filters.text = given("text").map(str::to_lowercase);
    filters.extension = given("extension").map(str::to_lowercase);
    filters.trigger = given("trigger").map(String::from);
    filters.pinned = query.flag("pinned")?;
    filters.bin = query.flag("bin")?.unwrap_or(false);
    filters.min_s = seconds(query, "min_s")?;
    filters.max_s = seconds(query, "max_s")?;
    filters.limit = whole(query, "limit", 1, 1000)?.unwrap_or(100);
    if let Some(day) = given("day") {
        Wall::parse(&format!("{day}T00:00:00Z"))
            .ok_or_else(|| bad("day", day, "a day such as 2026-01-07"))?;
        filters.day = Some(day.into());
    }
    let time = |name: &str, rest: &str| match given(name) {
        None => Ok(None),
        Some(text) => Wall::parse(text)
            .or_else(|| Wall::parse(&format!("{text}{rest}")))
            .map(Some)
            .ok_or_else(|| bad(name, text, "a time such as 2026-01-07T15:30:00Z, or a day")),
    };
    filters.from = time("from", "T00:00:00Z")?;
    filters.to = time("to", "T23:59:59.999Z")?;
    if let Some(sort) = given("sort") {
        filters.descending = sort.starts_with('-');
        filters.sort = match sort.trim_start_matches('-') {
            "started" => Sort::Started,
            "name" => Sort::Name,
            "length" => Sort::Length,
            "size" => Sort::Size,
            "updated" => Sort::Updated,
            _ => {
                return Err(bad(
                    "sort",
                    sort,
                    "started, name, length, size or updated, with - for descending",
                ));
            }
        };
    }
    if let Some(cursor) = given("cursor") {
        filters.cursor =
            Some(Place::parse(cursor).ok_or_else(|| bad("cursor", cursor, "`next` of the page before"))?);
    }
    Ok(filters)
}

fn whole(query: &Query, name: &str, from: usize, to: usize) -> Result<Option<usize>, Problem> {
    let Some(text) = query.value(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|n| (from..=to).contains(n));
    number.map(Some).ok_or_else(|| bad(name, text, &format!("a whole number from {from} to {to}")))
}

fn seconds(query: &Query, name: &str) -> Result<Option<f64>, Problem> {
    let Some(text) = query.value(name).filter(|t| !t.is_empty()) else { return Ok(None) };
    let number = text.parse().ok().filter(|n: &f64| (0.0..1e9).contains(n));
    number.map(Some).ok_or_else(|| bad(name, text, "seconds, 0 or more"))
}

fn switch(members: &Map<String, Value>, name: &str) -> Result<Option<bool>, Problem> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(other) => Err(wrong(name, other, "true or false")),
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let (status, title) = match refusal.kind {
            Refused::Off => (404, "No recordings"),
            Refused::Unknown => (404, "Not found"),
            Refused::Conflict => (409, "Not possible now"),
            Refused::Invalid => (422, "Not possible"),
            Refused::NoRoom => (507, "Disk full"),
            Refused::Failed => (500, "Failed"),
            Refused::Busy => (503, "Busy"),
        };
        let problem = problem(status, refusal.code, title, refusal.detail);
        if status == 503 { problem.retry_after(1) } else { problem }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_names_in_headers() {
        let at = Wall::parse("2026-01-07T15:30:00.412Z").unwrap();
        assert_eq!(httpdate(at), "Wed, 07 Jan 2026 15:30:00 GMT");
        assert_eq!(httpdate(Wall(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(zip_time(at).to_string(), "2026-01-07 15:30:00");
        assert_eq!(zip_time(Wall(0)), zip::DateTime::default());
        assert_eq!(
            disposition("attachment", "Uhu \u{e4}\"\r\n.wav"),
            "attachment; filename=\"Uhu ____.wav\"; filename*=UTF-8''Uhu%20%C3%A4%22%0D%0A.wav"
        );
    }

    #[test]
    fn filters_are_checked() {
        let of = |text: &str| Query::read(text, &FILTERS).and_then(|q| filters(&q));
        let query =
            of("text=OWL&day=2026-01-07&from=2026-01-01&min_s=1.5&pinned=true&sort=name&limit=7").unwrap();
        assert_eq!((query.text.as_deref(), query.limit, query.descending), (Some("owl"), 7, false));
        assert_eq!(query.from, Wall::parse("2026-01-01T00:00:00Z"));
        assert_eq!(of("sort=-size").unwrap().sort, Sort::Size);
        for text in [
            "sort=colour",
            "limit=0",
            "limit=1001",
            "day=today",
            "from=x",
            "min_s=-1",
            "cursor=x",
            "bin=maybe",
        ] {
            let problem = of(text).unwrap_err();
            assert_eq!(problem.status, 400, "{text}");
        }
    }
}
