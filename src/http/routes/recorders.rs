//! Motion at a recorder: told by whatever sees it, asked for by whoever wants to know.

use super::{object, text, wrong};
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use serde_json::{Value, json};
use std::time::Duration;

/// The longest padding, in seconds.
const PADDING_S: f64 = 86_400.0;

/// `POST /api/recorders/{id}/motion`.
pub(crate) fn tell_motion(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0).to_string();
    let params = object(request)?;
    let Some(active) = params.get("active").and_then(Value::as_bool) else {
        let said = params.get("active").unwrap_or(&Value::Null);
        return Err(wrong("active", said, "true or false"));
    };
    let padding = match params.get("padding_s").filter(|v| !v.is_null()) {
        None => None,
        Some(said) => match said.as_f64() {
            Some(s) if (0.0..=PADDING_S).contains(&s) => Some(Duration::from_secs_f64(s)),
            _ => return Err(wrong("padding_s", said, "a number of seconds from 0 to 86400")),
        },
    };
    let source = text(&params, "source")?
        .map(|t| t.chars().filter(|c| !c.is_control()).take(64).collect())
        .or_else(|| request.caller.name().map(str::to_string));
    let recorders = &request.shared.parts.recorders;
    recorders.tell_motion(&id, active, padding, source).ok_or_else(|| unknown(&id))?;
    motion_of(request, &id, 202)
}

/// `GET /api/recorders/{id}/motion`.
pub(crate) fn motion(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0).to_string();
    motion_of(request, &id, 200)
}

fn motion_of(request: &Request<'_, '_>, id: &str, status: u16) -> Result<Answer, Problem> {
    let (now, history) = request.shared.parts.recorders.motion(id).ok_or_else(|| unknown(id))?;
    let active = now.as_ref().is_some_and(|m| m.active);
    let body = json!({
        "recorder_id": id,
        "active": active,
        "since": now.as_ref().map(|m| m.since),
        "padding_until": now.as_ref().and_then(|m| m.padding_until),
        "sequence": now.as_ref().map_or(0, |m| m.sequence),
        "history": history,
    });
    Ok(Reply::json(status, &body).into())
}

fn unknown(id: &str) -> Problem {
    problem(
        404,
        "unknown_id",
        "Not found",
        format!("there is no recorder {:?} that takes motion; configure it or post its state", shown(id)),
    )
}
