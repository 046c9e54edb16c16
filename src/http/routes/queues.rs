//! Queues of scans: made, changed, filled, put in order.

use super::commands::state_of;
use super::scans::{by, refused};
use super::{json_of, object, text, wrong};
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::{OnFailure, TopicFilter};
use crate::runner::{LabError, NewQueue, Place, QueueChange};
use serde_json::{Map, Value, json};

/// `GET /api/queues`: those of the lab, then those that only events tell of.
pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let parts = &request.shared.parts;
    let snapshot = parts.bus.snapshot(&TopicFilter::parse("queue/*").unwrap_or_default());
    let queues = parts.lab.queues();
    let mut items: Vec<Value> = queues.iter().map(|queue| json!(queue)).collect();
    for event in snapshot.state.iter().filter(|e| &*e.kind == "queue_status") {
        let Ok(queue) = serde_json::from_str::<Map<String, Value>>(event.payload()) else { continue };
        let id = queue.get("queue_id").and_then(Value::as_str).unwrap_or_default();
        if !is_gone(&queue) && !queues.iter().any(|ours| ours.queue_id == id) {
            items.push(Value::Object(queue));
        }
    }
    Ok(Reply::json(200, &json!({ "items": items, "cursor": snapshot.cursor })).into())
}

fn is_gone(queue: &Map<String, Value>) -> bool {
    queue.get("removed") == Some(&Value::Bool(true))
}

/// `GET /api/queues/{id}`.
pub(crate) fn one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0);
    if let Some(queue) = request.shared.parts.lab.queue(id) {
        return Ok(Reply::json(200, &queue).into());
    }
    match state_of(request, &format!("queue_status/{id}")).filter(|queue| !is_gone(queue)) {
        Some(queue) => Ok(Reply::json(200, &queue).into()),
        None => Err(unknown(id)),
    }
}

fn unknown(id: &str) -> Problem {
    refused(LabError::Unknown(format!("there is no queue {:?}", shown(id))))
}

/// `POST /api/queues`.
pub(crate) fn create(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let wish = object(request)?;
    let wish = NewQueue { queue_id: text(&wish, "queue_id")?, change: change_of(&wish)? };
    let queue = request.shared.parts.lab.create_queue(wish).map_err(refused)?;
    Ok(Reply::json(201, &queue).into())
}

/// `PATCH /api/queues/{id}`.
pub(crate) fn change(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let change = change_of(&object(request)?)?;
    let queue = request.shared.parts.lab.change_queue(request.param(0), change).map_err(refused)?;
    Ok(Reply::json(200, &queue).into())
}

fn change_of(wish: &Map<String, Value>) -> Result<QueueChange, Problem> {
    let flag = |name: &str| match wish.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(other) => Err(wrong(name, other, "true or false")),
    };
    let on_failure = match text(wish, "on_failure")?.as_deref() {
        None => None,
        Some("pause") => Some(OnFailure::Pause),
        Some("continue") => Some(OnFailure::Continue),
        Some(other) => return Err(wrong("on_failure", &other.into(), "pause or continue")),
    };
    let name = text(wish, "name")?.map(|name| name.chars().filter(|c| !c.is_control()).take(200).collect());
    Ok(QueueChange { name, on_failure, looped: flag("loop")?, autostart: flag("autostart")? })
}

/// `DELETE /api/queues/{id}`.
pub(crate) fn remove(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0);
    request.shared.parts.lab.remove_queue(id).map_err(refused)?;
    Ok(Reply::json(200, &json!({ "queue_id": id, "removed": true })).into())
}

/// `GET /api/queues/{id}/scans`.
pub(crate) fn scans(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["limit"])?;
    let most = match query.value("limit").filter(|text| !text.is_empty()) {
        None => 100,
        Some(text) => match text.parse() {
            Ok(most @ 0..=1_000) => most,
            _ => return Err(bad("limit", text, "a number from 0 to 1000")),
        },
    };
    let id = request.param(0);
    let (items, order_version) = request.shared.parts.lab.scans_of(id, most).ok_or_else(|| unknown(id))?;
    Ok(Reply::json(200, &json!({ "items": items, "order_version": order_version })).into())
}

/// `POST /api/queues/{id}/scans`: a description, several, or those of a template.
pub(crate) fn add(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["position"])?;
    let front = match query.value("position") {
        None | Some("" | "end") => false,
        Some("front") => true,
        Some(other) => return Err(bad("position", other, "front or end")),
    };
    let most = limits::DESCRIPTION_BYTES * 4 + limits::SMALL_BODY;
    let body = json_of(request, most)?;
    let lab = &request.shared.parts.lab;
    let mut by_name = request.caller.name().map(str::to_string);
    let descriptions = match body {
        Value::Array(all) => all,
        Value::Object(mut wish) => {
            by_name = by(request, &mut wish)?;
            match text(&wish, "template")? {
                None => vec![Value::Object(wish)],
                Some(id) => {
                    let found = lab.templates().into_iter().find(|t| t.template_id == id);
                    let none = || LabError::Unknown(format!("there is no template {:?}", shown(&id)));
                    found.ok_or_else(none).map_err(refused)?.descriptions
                }
            }
        }
        other => return Err(wrong("the body", &other, "a description, or an array of them")),
    };
    if descriptions.is_empty() || descriptions.len() > limits::TEMPLATE_SCANS {
        let detail = format!(
            "there are {} descriptions; expected 1 to {}",
            descriptions.len(),
            limits::TEMPLATE_SCANS
        );
        return Err(problem(422, "invalid", "Not valid", detail));
    }
    let added = lab.add_scans(request.param(0), descriptions, front, by_name.as_deref());
    let (items, order_version) = added.map_err(refused)?;
    Ok(Reply::json(201, &json!({ "items": items, "order_version": order_version })).into())
}

/// `POST /api/queues/{id}/clear`.
pub(crate) fn clear(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let mut wish = object(request)?;
    let by = by(request, &mut wish)?;
    let version = seen(&wish)?;
    let lab = &request.shared.parts.lab;
    let queue = lab.clear_queue(request.param(0), version, by.as_deref()).map_err(refused)?;
    Ok(Reply::json(200, &queue).into())
}

/// The order that whoever asks has seen.
fn seen(wish: &Map<String, Value>) -> Result<u64, Problem> {
    match wish.get("order_version") {
        None | Some(Value::Null) => Err(missing("order_version", "the order_version that was seen")),
        Some(value) => value.as_u64().ok_or_else(|| wrong("order_version", value, "a number")),
    }
}

fn missing(field: &str, expected: &str) -> Problem {
    problem(422, "invalid", "Not valid", format!("{field} is missing; expected {expected}"))
        .with("field", field)
}

/// `POST /api/queues/{id}/move`.
pub(crate) fn place(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let wish = object(request)?;
    let scan = text(&wish, "scan_id")?.ok_or_else(|| missing("scan_id", "the scan that is moved"))?;
    let version = seen(&wish)?;
    let position = match wish.get("position") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let place = value.as_u64().and_then(|n| usize::try_from(n).ok());
            Some(place.ok_or_else(|| wrong("position", value, "a whole number from 0"))?)
        }
    };
    let to = match (text(&wish, "before")?, text(&wish, "after")?, position) {
        (Some(before), None, None) => Place::Before(before),
        (None, Some(after), None) => Place::After(after),
        (None, None, Some(position)) => Place::Position(position),
        _ => {
            let detail = "expected one of before, after (a scan_id) and position (from 0)";
            return Err(problem(422, "invalid", "Not valid", detail).with("field", "position"));
        }
    };
    let lab = &request.shared.parts.lab;
    let queue = lab.move_scan(request.param(0), &scan, &to, version).map_err(refused)?;
    Ok(Reply::json(200, &queue).into())
}
