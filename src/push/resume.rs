//! Where a reader starts, and its way from there to the head.
//!
//! The resume table, complete: every cursor leads to exactly one row.
//!
//! | what the reader has | what it is told | where it goes on |
//! |---|---|---|
//! | nothing | snapshot | the head |
//! | `earliest`, `latest` | nothing | the oldest stored, the head |
//! | an id of this run, up to the head | nothing | after it |
//! | an id of an earlier run, up to that run's last commit | nothing | after it |
//! | an id of an earlier run that was never committed | `gap` `lost_tail`, lost = ids past the last commit | after that run's last commit |
//! | any of these, older than retention | `gap` `evicted`, lost = ids that are gone | the oldest stored |
//! | the future, another database, anything else | `gap` `unknown_id`, lost unknown | the head |
//!
//! After a gap comes a snapshot, as what the reader believes may be wrong. `lost` counts ids, that is records and
//! values of state alike, over all topics: ids are dense, so the count is exact, while which of them a filter would have
//! passed is no longer known.

use super::frame;
use super::{Format, Request};
use crate::bus::Bus;
use crate::clock::{Corrections, Wall};
use crate::limits;
use crate::model::{Class, Cursor, Event, Since, TopicFilter};
use crate::store::{Store, Visited};
use serde_json::json;
use std::borrow::Cow;

/// Where a reader starts.
#[derive(Debug)]
pub(super) struct Plan {
    /// Everything up to here it has, or was told is gone.
    pub at: u64,
    /// Payloads of `gap` events, each with the position after it.
    pub gaps: Vec<(String, u64)>,
    /// Whether it is given a snapshot first.
    pub snapshot: bool,
    /// Whether its cursor was taken as it is.
    pub resumed: bool,
}

/// Looks a cursor up in the table above.
pub(super) fn plan(bus: &Bus, store: &Store, request: &Request) -> Plan {
    let head = bus.head();
    let asked = |otherwise| request.state.unwrap_or(otherwise);
    let plain = |at, snapshot| Plan { at, gaps: Vec::new(), snapshot, resumed: false };
    let cursor = match &request.since {
        Since::Nothing => return plain(head.seq, asked(true)),
        Since::Latest => return plain(head.seq, asked(false)),
        Since::Earliest => return plain(store.floor(), asked(false)),
        Since::Unreadable(text) => return unknown(text, head),
        Since::After(cursor) => *cursor,
    };
    let Some(range) = store.epoch(cursor.epoch) else { return unknown(&cursor.to_string(), head) };
    let current = cursor.epoch == head.epoch;
    if cursor.seq.saturating_add(1) < range.first || (current && cursor.seq > head.seq) {
        return unknown(&cursor.to_string(), head);
    }
    let mut plan = Plan { at: cursor.seq, gaps: Vec::new(), snapshot: asked(false), resumed: true };
    if !current && cursor.seq > range.last {
        let from = Cursor { epoch: cursor.epoch, seq: range.last };
        plan.at = range.last;
        plan.gap(
            "lost_tail",
            &from.to_string(),
            &cursor.to_string(),
            Some(cursor.seq - range.last),
            range.last,
        );
    }
    let floor = store.floor();
    if plan.at < floor {
        let lost = floor - plan.at;
        let to = Cursor { epoch: store.epoch_of(floor), seq: floor };
        let from = if plan.gaps.is_empty() { cursor } else { Cursor { epoch: cursor.epoch, seq: plan.at } };
        plan.at = floor;
        plan.gap("evicted", &from.to_string(), &to.to_string(), Some(lost), floor);
    }
    plan
}

fn unknown(text: &str, head: Cursor) -> Plan {
    let mut plan = Plan { at: head.seq, gaps: Vec::new(), snapshot: true, resumed: false };
    plan.gap("unknown_id", text, &head.to_string(), None, head.seq);
    plan
}

impl Plan {
    fn gap(&mut self, reason: &str, from: &str, to: &str, lost: Option<u64>, at: u64) {
        self.gaps.push((gap(reason, from, to, lost), at));
        self.snapshot = true;
        self.resumed = false;
    }
}

/// The payload of a `gap`.
pub(super) fn gap(reason: &str, from: &str, to: &str, lost: Option<u64>) -> String {
    json!({ "reason": reason, "from": from, "to": to, "lost": lost, "refetch": "/api/state" }).to_string()
}

/// The id of a position: that of the event there, or for the start of this run its own epoch.
pub(super) fn id_at(bus: &Bus, store: &Store, seq: u64) -> Cursor {
    let current = store.epoch(bus.epoch()).is_some_and(|range| seq + 1 >= range.first);
    Cursor { epoch: if current { bus.epoch() } else { store.epoch_of(seq) }, seq }
}

/// A stretch of the way to the head.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Frames in the reader's format.
    pub bytes: Vec<u8>,
    /// The end of each frame in `bytes`.
    pub ends: Vec<usize>,
    /// Everything up to here is in this page or an earlier one.
    pub through: u64,
    /// This page ends at what was the head.
    pub at_head: bool,
    /// Nothing was read, as retention has meanwhile removed everything up to here.
    pub evicted: Option<u64>,
}

/// Reads on from `at`: records, and the newest value of what changed. State up to `state_from` is left out: the reader
/// has it from a snapshot. At most `most` events are looked at.
pub(super) fn page(
    bus: &Bus,
    store: &Store,
    request: &Request,
    at: u64,
    state_from: u64,
    most: usize,
) -> Result<Page, crate::store::StoreError> {
    let mut page = Page { through: at, ..Page::default() };
    let corrections = bus.time().corrections();
    if let Ok(mut events) = bus.after(at, most.min(HOT_PAGE)) {
        page.through = events.last().map_or(at, |e| e.cursor.seq);
        page.at_head = events.len() < most.min(HOT_PAGE);
        bus.only_newest(&mut events);
        for event in events.iter().filter(|e| e.class == Class::Record || e.cursor.seq > state_from) {
            if wanted(request, event) {
                encode_again(&mut page.bytes, request.format, event, &corrections);
                page.ends.push(page.bytes.len());
            }
        }
        return Ok(page);
    }
    let mut seqs = Vec::new();
    let visited = store.visit_after(at, limits::PAGE_BYTES, most, |stored| {
        if request.topics.matches(stored.topic, stored.global) && wants(request, stored.kind) {
            let id = Cursor { epoch: stored.epoch, seq: stored.seq };
            let data = corrections.envelope(stored.seq, stored.data);
            write(&mut page.bytes, request.format, id, stored.kind, &data);
            page.ends.push(page.bytes.len());
            seqs.push(stored.seq);
        }
    })?;
    match visited {
        Visited::Through(seq) => page.through = seq,
        Visited::Evicted(floor) => page.evicted = Some(floor),
    }
    let mut state = bus.state_between(at.max(state_from), page.through, &request.topics);
    state.retain(|e| wants(request, &e.kind));
    if !state.is_empty() {
        weave(&mut page, &seqs, &state, request.format, &corrections);
    }
    Ok(page)
}

/// Events of the hot log in one page.
const HOT_PAGE: usize = 2_048;

/// Puts state among the records, in order of seq.
fn weave(
    page: &mut Page,
    seqs: &[u64],
    state: &[crate::model::SharedEvent],
    format: Format,
    corrections: &Corrections,
) {
    let (records, ends) = (std::mem::take(&mut page.bytes), std::mem::take(&mut page.ends));
    let mut state = state.iter().peekable();
    let mut begin = 0;
    for (seq, end) in seqs.iter().zip(ends) {
        while let Some(event) = state.next_if(|e| e.cursor.seq < *seq) {
            encode_again(&mut page.bytes, format, event, corrections);
            page.ends.push(page.bytes.len());
        }
        page.bytes.extend(&records[begin..end]);
        page.ends.push(page.bytes.len());
        begin = end;
    }
    for event in state {
        encode_again(&mut page.bytes, format, event, corrections);
        page.ends.push(page.bytes.len());
    }
}

pub(super) fn wanted(request: &Request, event: &Event) -> bool {
    request.topics.matches(event.topic.as_str(), event.global) && wants(request, &event.kind)
}

fn wants(request: &Request, kind: &str) -> bool {
    request.types.as_ref().is_none_or(|types| types.iter().any(|t| t == kind))
}

/// Appends an event as it was encoded when it was published.
pub(super) fn encode(out: &mut Vec<u8>, format: Format, event: &Event) {
    match format {
        Format::Sse => out.extend(event.frame().as_bytes()),
        Format::Ndjson => {
            out.extend(event.data().as_bytes());
            out.push(b'\n');
        }
    }
}

/// The same of an event that is read again: with its corrected time, where it has one.
fn encode_again(out: &mut Vec<u8>, format: Format, event: &Event, corrections: &Corrections) {
    match corrections.envelope(event.cursor.seq, event.data()) {
        Cow::Borrowed(_) => encode(out, format, event),
        Cow::Owned(data) => write(out, format, event.cursor, &event.kind, &data),
    }
}

fn write(out: &mut Vec<u8>, format: Format, id: Cursor, kind: &str, data: &str) {
    match format {
        Format::Sse => frame::write(out, Some(&id.to_string()), kind, None, data),
        Format::Ndjson => {
            out.extend(data.as_bytes());
            out.push(b'\n');
        }
    }
}

/// Appends a control event. NDJSON has no id line: the envelope carries it.
pub(super) fn control(
    out: &mut Vec<u8>,
    format: Format,
    id: Option<Cursor>,
    kind: &str,
    retry_ms: Option<u64>,
    payload: &str,
) {
    let id = id.map(|id| id.to_string());
    let data = frame::envelope(kind, id.as_deref(), payload);
    match format {
        Format::Sse => frame::write(out, id.as_deref(), kind, retry_ms, &data),
        Format::Ndjson => {
            out.extend(data.as_bytes());
            out.push(b'\n');
        }
    }
}

/// The payloads of `snapshot` frames and the moment they show. The last says `last`.
pub(super) fn snapshot(bus: &Bus, request: &Request) -> (Vec<String>, u64) {
    let snapshot = bus.snapshot(&request.topics);
    let corrections = bus.time().corrections();
    let mut payloads = Vec::new();
    let mut list = String::new();
    for event in snapshot.state.iter().filter(|e| wants(request, &e.kind)) {
        if list.len() > limits::SNAPSHOT_BYTES {
            payloads.push(snapshot_payload(snapshot.cursor, &std::mem::take(&mut list), false));
        }
        if !list.is_empty() {
            list.push(',');
        }
        push_state(&mut list, event, bus.epoch(), &corrections);
    }
    payloads.push(snapshot_payload(snapshot.cursor, &list, true));
    (payloads, snapshot.cursor.seq)
}

fn snapshot_payload(cursor: Cursor, list: &str, last: bool) -> String {
    format!(r#"{{"cursor":"{cursor}","last":{last},"state":[{list}]}}"#)
}

/// An envelope of the state; one from an earlier run is marked, as its source has not spoken since.
pub(super) fn push_state(out: &mut String, event: &Event, epoch: u64, corrections: &Corrections) {
    let data = corrections.envelope(event.cursor.seq, event.data());
    if event.cursor.epoch == epoch {
        out.push_str(&data);
    } else {
        out.push_str(data.strip_suffix('}').unwrap_or(&data));
        out.push_str(r#","quality":"uncertain","quality_reason":"initial"}"#);
    }
}

/// The payload of `hello`.
pub(super) fn hello(
    bus: &Bus,
    store: &Store,
    request: &Request,
    plan: &Plan,
    heartbeat: std::time::Duration,
) -> String {
    let floor = store.floor();
    json!({
        "epoch": bus.epoch(),
        "server": "telltale",
        "version": env!("CARGO_PKG_VERSION"),
        "now": Wall::now(),
        "clock": bus.clock(),
        "heartbeat_s": heartbeat.as_secs_f64(),
        "head": bus.head(),
        "oldest": Cursor { epoch: store.epoch_of(floor + 1), seq: floor + 1 },
        "resumed": plan.resumed,
        "role": request.role.as_str(),
        "topics": request.topics.names(),
    })
    .to_string()
}

/// The payload of `heartbeat`.
pub(super) fn heartbeat(head: Cursor) -> String {
    format!(r#"{{"now":"{}","head":"{head}"}}"#, Wall::now().rfc3339())
}

/// `GET /api/state`: the whole body.
pub(super) fn state_body(bus: &Bus, filter: &TopicFilter) -> (Cursor, String) {
    let snapshot = bus.snapshot(filter);
    let corrections = bus.time().corrections();
    let mut body = format!(r#"{{"cursor":"{}","state":["#, snapshot.cursor);
    for (i, event) in snapshot.state.iter().enumerate() {
        if i > 0 {
            body.push(',');
        }
        push_state(&mut body, event, bus.epoch(), &corrections);
    }
    body.push_str("]}");
    (snapshot.cursor, body)
}
