//! Scans: what there is of them, what is added, and what programs that execute scans of their own say and hear.

use super::commands::state_of;
use super::publish::{Shape, Wrong, shape};
use super::rows::not_json;
use super::{object_of, text, wrong};
use crate::clock::Wall;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::{Draft, Level, QueueLog, ScanState, TopicFilter};
use crate::runner::data::Column;
use crate::runner::plan::{Fault, describe_steps};
use crate::runner::{LabError, MEASUREMENT, NewExternal, ScanFilter, ScanPage};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Scans in one answer, unless asked for otherwise, and at most.
const PAGE: (usize, usize) = (100, 1_000);
/// What the `next` of a list begins with when it goes on with scans that only events tell of; no id has a slash.
const TOLD: &str = "told/";
/// Lines of what a scan will do.
const STEPS: usize = 200;

/// `GET /api/scans`.
pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["queue_id", "status", "text", "limit", "cursor"])?;
    let given = |name: &str| query.value(name).filter(|text| !text.is_empty());
    let mut status = Vec::new();
    for name in given("status").unwrap_or_default().split(',').filter(|name| !name.is_empty()) {
        let known = "queued, running, paused, completed, aborted or failed, separated by commas";
        status.push(state(name).ok_or_else(|| bad("status", name, known))?);
    }
    let limit = match given("limit") {
        None => PAGE.0,
        Some(text) => match text.parse() {
            Ok(n) if (1..=PAGE.1).contains(&n) => n,
            _ => return Err(bad("limit", text, &format!("a number from 1 to {}", PAGE.1))),
        },
    };
    let filter = ScanFilter {
        queue_id: given("queue_id").map(str::to_string),
        status,
        text: given("text").map(str::to_lowercase),
    };
    let lab = &request.shared.parts.lab;
    // Those that only events tell of follow at the end, by the seq of their last status.
    let from = given("cursor").and_then(|cursor| cursor.strip_prefix(TOLD)?.parse::<u64>().ok());
    let page = match from {
        None => lab.scans(&filter, given("cursor"), limit),
        Some(_) => ScanPage { items: Vec::new(), next: None, ..lab.scans(&filter, None, 0) },
    };
    let others = others(request, &filter);
    let total = page.total + others.len();
    let mut items: Vec<Value> = page.items.iter().map(|scan| json!(scan)).collect();
    let mut next = page.next;
    if next.is_none() {
        let mut rest = others.into_iter().skip_while(|(seq, _)| from.is_some_and(|from| *seq > from));
        let room = limit - items.len();
        items.extend(rest.by_ref().take(room).map(|(_, scan)| Value::Object(scan)));
        next = rest.next().map(|(seq, _)| format!("{TOLD}{seq}"));
    }
    let body = json!({ "items": items, "next": next, "total": total, "cursor": page.cursor });
    Ok(Reply::json(200, &body).into())
}

/// Scans that programs published as events, without registering them; the newest first, with the seq of their status.
fn others(request: &Request<'_, '_>, filter: &ScanFilter) -> Vec<(u64, Map<String, Value>)> {
    let parts = &request.shared.parts;
    let topics = TopicFilter::parse("scan/*").unwrap_or_default();
    let mut found = Vec::new();
    for event in parts.bus.snapshot(&topics).state.iter().rev().filter(|e| &*e.kind == "scan_status") {
        let Ok(scan) = serde_json::from_str::<Map<String, Value>>(event.payload()) else { continue };
        let word = |name: &str| scan.get(name).and_then(Value::as_str).unwrap_or_default();
        let says = |text: &String| {
            ["scan_id", "name", "message"].iter().any(|name| word(name).to_lowercase().contains(text))
        };
        let fits = filter.queue_id.as_deref().is_none_or(|id| word("queue_id") == id)
            && (filter.status.is_empty() || filter.status.iter().any(|s| state(word("status")) == Some(*s)))
            && filter.text.as_ref().is_none_or(says);
        if fits && !parts.lab.knows_scan(word("scan_id")) && !is_ours(word("executor")) {
            found.push((event.cursor.seq, scan));
        }
    }
    found.sort_by_key(|(seq, _)| std::cmp::Reverse(*seq));
    found
}

/// What the lab itself published and does not have any more was removed.
fn is_ours(executor: &str) -> bool {
    matches!(executor, "builtin" | "external")
}

fn state(word: &str) -> Option<ScanState> {
    serde_json::from_value(Value::from(word)).ok()
}

/// `GET /api/scans/{id}`.
pub(crate) fn one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0);
    if let Some(scan) = request.shared.parts.lab.scan(id) {
        let mut body = json!(scan.status);
        body["description"] = scan.description;
        body["columns"] = json!(scan.columns);
        body["num_points"] = json!(scan.num_points);
        body["last_index"] = json!(scan.last_index);
        return Ok(Reply::json(200, &body).into());
    }
    let told = state_of(request, &format!("scan_status/{id}"));
    match told.filter(|scan| !is_ours(scan.get("executor").and_then(Value::as_str).unwrap_or_default())) {
        Some(scan) => Ok(Reply::json(200, &scan).into()),
        None => Err(refused(LabError::Unknown(format!("there is no scan {:?}", shown(id))))),
    }
}

/// `POST /api/scans`: registers a scan that a program executes, or adds one to a queue.
pub(crate) fn create(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let wish = object_of(request, limits::DESCRIPTION_BYTES + limits::SMALL_BODY)?;
    match (text(&wish, "executor")?.as_deref(), text(&wish, "queue_id")?) {
        (Some("external"), None) => register(request, wish),
        (Some("external"), Some(_)) => {
            let detail = "a scan that a program executes is in no queue; leave queue_id out";
            Err(problem(422, "invalid", "Not valid", detail).with("field", "queue_id"))
        }
        (None | Some("builtin"), Some(queue)) => {
            let mut description = wish;
            description.remove("queue_id");
            description.remove("executor");
            let by = by(request, &mut description)?;
            let lab = &request.shared.parts.lab;
            let added = lab.add_scans(&queue, vec![Value::Object(description)], false, by.as_deref());
            let (scans, _) = added.map_err(refused)?;
            Ok(Reply::json(201, &scans.first()).into())
        }
        (executor, _) => {
            let detail = match executor {
                Some(other) if other != "builtin" => {
                    format!(
                        "executor is {:?}; expected external, or queue_id for a scan of this runner",
                        shown(other)
                    )
                }
                _ => "there is neither \"executor\":\"external\" nor queue_id; expected one of them".into(),
            };
            Err(problem(422, "invalid", "Not valid", detail).with("field", "executor"))
        }
    }
}

fn register(request: &Request<'_, '_>, wish: Map<String, Value>) -> Result<Answer, Problem> {
    let off = |field: &str, expected: &str| {
        let said = shown(&wish.get(field).unwrap_or(&Value::Null).to_string());
        problem(422, "invalid", "Not valid", format!("{field} is {said}; expected {expected}"))
            .with("field", field)
    };
    let seconds = |field: &str| match wish.get(field).filter(|v| !v.is_null()) {
        None => Ok(None),
        Some(value) => match value.as_f64().map(Duration::try_from_secs_f64) {
            Some(Ok(time)) => Ok(Some(time)),
            _ => Err(off(field, "a number of seconds")),
        },
    };
    let points_total = match wish.get("points_total").filter(|v| !v.is_null()) {
        None => None,
        Some(value) => Some(
            value
                .as_u64()
                .filter(|n| *n > 0)
                .ok_or_else(|| off("points_total", "a whole number from 1, or null"))?,
        ),
    };
    let name = text(&wish, "name")?.map(|name| name.chars().filter(|c| !c.is_control()).take(200).collect());
    let waits = match text(&wish, "start")?.as_deref() {
        None | Some("now") => false,
        Some("wait") => true,
        Some(_) => return Err(off("start", "now or wait")),
    };
    let external = NewExternal {
        scan_id: text(&wish, "scan_id")?,
        name,
        points_total,
        columns: columns(&wish)
            .map_err(|detail| problem(422, "invalid", "Not valid", detail).with("field", "columns"))?,
        lease: seconds("lease_s")?,
        ack: seconds("ack_timeout_s")?,
        waits,
        retry_of: text(&wish, "retry_of")?,
        description: Value::Object(wish.clone()),
    };
    let done = request.shared.parts.lab.register(external).map_err(refused)?;
    let mut body = json!(done.status);
    body["last_index"] = json!(done.last_index);
    body["control"] = json!(done.control);
    Ok(Reply::json(if done.is_new { 201 } else { 200 }, &body).into())
}

/// Columns of `main` as a list, or lists by measurement. A bare name is a column too.
fn columns(wish: &Map<String, Value>) -> Result<BTreeMap<String, Vec<Column>>, String> {
    let list = |said: &Value| -> Result<Vec<Column>, String> {
        let Value::Array(items) = said else {
            return Err("columns are no list; expected a list of columns".into());
        };
        if items.len() > limits::COLUMNS {
            return Err(format!("there are {} columns; at most {}", items.len(), limits::COLUMNS));
        }
        let mut columns: Vec<Column> = Vec::new();
        for item in items {
            let item = if item.is_string() { json!({ "name": item }) } else { item.clone() };
            let column: Column = serde_json::from_value(item)
                .map_err(|e| format!("a column is not one: {}", shown(&e.to_string())))?;
            let named = (1..=128).contains(&column.name.chars().count())
                && !column.name.chars().any(char::is_control);
            let typed = matches!(
                column.dtype.as_deref(),
                None | Some("number" | "integer" | "string" | "boolean" | "array")
            );
            if !named || !typed || columns.iter().any(|c| c.name == column.name) {
                return Err(format!(
                    "the column {:?} has no name of 1 to 128 characters, is there twice, or has a dtype other than number, integer, string, boolean, array",
                    shown(&column.name)
                ));
            }
            columns.push(column);
        }
        Ok(columns)
    };
    match wish.get("columns") {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(by_measurement)) if by_measurement.len() <= limits::MEASUREMENTS => {
            by_measurement.iter().map(|(name, said)| Ok((name.clone(), list(said)?))).collect()
        }
        Some(said) => Ok([(MEASUREMENT.to_string(), list(said)?)].into()),
    }
}

/// `POST /api/scans/validate`.
pub(crate) fn validate(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let mut body = object_of(request, limits::DESCRIPTION_BYTES + limits::SMALL_BODY)?;
    let description = match body.remove("description") {
        Some(inner) if inner.is_object() && body.is_empty() => inner,
        Some(inner) => {
            body.insert("description".into(), inner);
            Value::Object(body)
        }
        None => Value::Object(body),
    };
    let answer = match request.shared.parts.lab.validate(&description) {
        Ok(plan) => json!({
            "valid": true,
            "points_total": plan.points_total,
            "planned_s": plan.planned.as_secs_f64(),
            "columns": plan.columns,
            "instruments": plan.instruments,
            "steps": describe_steps(&plan).into_iter().take(STEPS).collect::<Vec<_>>(),
            "violations": [],
        }),
        Err(faults) => json!({ "valid": false, "violations": faults }),
    };
    Ok(Reply::json(200, &answer).into())
}

/// `DELETE /api/scans/{id}`.
pub(crate) fn remove(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0);
    request.shared.parts.lab.remove_scan(id, request.caller.name()).map_err(refused)?;
    Ok(Reply::json(200, &json!({ "scan_id": id, "removed": true })).into())
}

/// `POST /api/scans/{id}/requeue`.
pub(crate) fn requeue(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let mut params = super::object(request)?;
    let by = by(request, &mut params)?;
    let front = match text(&params, "position")?.as_deref() {
        None | Some("end") => false,
        Some("front") => true,
        Some(_) => {
            return Err(wrong("position", params.get("position").unwrap_or(&Value::Null), "front or end"));
        }
    };
    let lab = &request.shared.parts.lab;
    let scan = lab.requeue(request.param(0), front, by.as_deref()).map_err(refused)?;
    Ok(Reply::json(201, &scan).into())
}

/// Each object of a body, whether it is one, an array or lines.
pub(super) fn objects(
    body: &[u8],
    mut take: impl FnMut(Map<String, Value>) -> Result<(), Wrong>,
) -> Result<(), Problem> {
    let mut placed = |text: &[u8], place: &str, number: usize| {
        let object =
            serde_json::from_slice(text).map_err(|e| not_json(text, Wrong::json(&e).at(place, number)))?;
        take(object).map_err(|wrong| wrong.at(place, number))
    };
    match shape(body).map_err(|problem| not_json(body, problem))? {
        Shape::One(text) => placed(text, "", 0),
        Shape::Array(items) => {
            items.iter().enumerate().try_for_each(|(n, item)| placed(item.get().as_bytes(), "index", n))
        }
        Shape::Lines => {
            let mut lines =
                body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty());
            lines.try_for_each(|(n, line)| placed(line, "line", n + 1))
        }
    }
}

/// `POST /api/scans/{id}/control`: the program says what it does now.
pub(crate) fn report(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let said = super::object(request)?;
    let word = text(&said, "state")?.unwrap_or_default();
    let Some(state) = state(&word).filter(|state| *state != ScanState::Queued) else {
        let value = said.get("state").unwrap_or(&Value::Null);
        return Err(wrong("state", value, "running, paused, completed, aborted or failed"));
    };
    let short = |name: &str| -> Result<Option<String>, Problem> {
        let text = text(&said, name)?.filter(|text| !text.is_empty());
        Ok(text.map(|text| text.chars().take(1_000).collect()))
    };
    let (message, error) = (short("message")?, short("error")?);
    let lab = &request.shared.parts.lab;
    let (status, control) = lab.report(request.param(0), state, message, error).map_err(refused)?;
    let mut body = json!(status);
    body["control"] = json!(control);
    Ok(Reply::json(200, &body).into())
}

/// `GET /api/scans/{id}/control`: what is wanted of the program.
pub(crate) fn control(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["wait"])?;
    let wait = match query.value("wait").filter(|text| !text.is_empty()) {
        None => Duration::ZERO,
        Some(text) => match text.parse().map(Duration::try_from_secs_f64) {
            Ok(Ok(time)) => time.min(limits::CONTROL_WAIT),
            _ => return Err(bad("wait", text, "a number of seconds, such as 25")),
        },
    };
    let (lab, id) = (&request.shared.parts.lab, request.param(0));
    let control =
        if wait.is_zero() { lab.control(id) } else { lab.wait_control(id, wait) }.map_err(refused)?;
    Ok(Reply::json(200, &control).into())
}

/// `POST /api/scans/{id}/log`: the program writes into the log of its scan.
pub(crate) fn log(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let body = request.body.whole(limits::BODY_BYTES, &request.shared.bodies)?;
    let id = request.param(0).to_string();
    let mut lines = Vec::new();
    objects(&body, |object| {
        lines.push(line(&id, object)?);
        Ok(())
    })?;
    let accepted = lines.len();
    let control = request.shared.parts.lab.log_lines(&id, lines).map_err(refused)?;
    Ok(Reply::json(202, &json!({ "accepted": accepted, "control": control })).into())
}

fn line(scan: &str, object: Map<String, Value>) -> Result<Draft, Wrong> {
    let word = |name: &str| object.get(name).and_then(Value::as_str);
    let level = match object.get("level") {
        None | Some(Value::Null) => Level::Info,
        Some(value) => {
            value.as_str().map(str::to_ascii_uppercase).and_then(|l| Level::parse(&l)).ok_or_else(|| {
                Wrong::rule(
                    "level",
                    format!(
                        "level is {}; expected DEBUG, INFO, WARNING, ERROR or CRITICAL",
                        shown(&value.to_string())
                    ),
                )
            })?
        }
    };
    let message = word("message").filter(|m| !m.is_empty() && m.chars().count() <= limits::LOG_CHARS);
    let Some(message) = message else {
        let detail = format!("message is not text of 1 to {} characters", limits::LOG_CHARS);
        return Err(Wrong::rule("message", detail));
    };
    let timestamp = match object.get("timestamp").filter(|v| !v.is_null()) {
        None => Wall::now(),
        Some(value) => value.as_str().and_then(Wall::parse).ok_or_else(|| {
            Wrong::rule("timestamp", format!("timestamp is {}; expected RFC 3339", shown(&value.to_string())))
        })?,
    };
    let short = |name: &str| word(name).map(|text| text.chars().take(64).collect::<String>());
    let line = QueueLog {
        level,
        message: message.into(),
        timestamp,
        queue_id: None,
        scan_id: Some(scan.into()),
        source: Some(short("source").unwrap_or_else(|| "program".into())),
        code: short("code"),
        data: object.get("data").cloned(),
    };
    Ok(Draft::of("queue_log", &line)?)
}

/// Who asks, as the body says it or the key.
pub(super) fn by(
    request: &Request<'_, '_>,
    params: &mut Map<String, Value>,
) -> Result<Option<String>, Problem> {
    let said = text(params, "by")?;
    params.remove("by");
    let said = said.map(|who| who.chars().filter(|c| !c.is_control()).take(200).collect());
    Ok(said.or_else(|| request.caller.name().map(str::to_string)))
}

/// Why the lab did not do something, as an answer.
pub(super) fn refused(why: LabError) -> Problem {
    let detail = why.to_string();
    match why {
        LabError::Unknown(_) => problem(404, "unknown_id", "Not found", detail),
        LabError::Invalid(field, _) => problem(422, "invalid", "Not valid", detail).with("field", field),
        LabError::Faults(faults) => {
            problem(422, "invalid_scan", "Not a valid scan", detail).with("violations", violations(&faults))
        }
        LabError::Conflict(conflict) => {
            let mut problem = problem(409, conflict.code, "Not possible now", detail);
            for (name, value) in conflict.more {
                problem = problem.with(&name, value);
            }
            if let Some(from) = conflict.from {
                problem = problem
                    .with("status", from)
                    .with("from", from)
                    .with("allowed_actions", conflict.allowed_actions);
            }
            if let Some(revision) = conflict.revision {
                problem = problem.with("revision", revision);
            }
            if let Some((version, order)) = conflict.order {
                problem = problem.with("order_version", version).with("order", order);
            }
            problem
        }
        LabError::Full(_) => problem(503, "busy", "Busy", detail).retry_after(5),
        LabError::Store(_) => problem(503, "store", "The store does not answer", detail).retry_after(5),
    }
}

/// Every fault, with the number of its description where there are several.
fn violations(faults: &[(usize, Fault)]) -> Vec<Value> {
    let many = faults.iter().any(|(n, _)| *n > 0);
    let one = |(n, fault): &(usize, Fault)| {
        let mut fault = json!(fault);
        if many {
            fault["index"] = json!(n);
        }
        fault
    };
    faults.iter().map(one).collect()
}
