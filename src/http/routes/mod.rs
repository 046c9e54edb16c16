//! The routes, one file an area. Which path leads where is in the table of the router.

pub(super) mod alerts;
pub(super) mod bench;
pub(super) mod commands;
pub(super) mod config;
pub(super) mod detections;
pub(super) mod events;
mod lines;
pub(super) mod log;
pub(super) mod login;
pub(super) mod operations;
pub(super) mod posted;
pub(super) mod publish;
pub(super) mod queues;
pub(super) mod recorders;
pub(super) mod recordings;
pub(super) mod resources;
mod rows;
pub(super) mod scan_data;
pub(super) mod scans;
pub(super) mod signals;
pub(super) mod state;
pub(super) mod stop;
pub(super) mod streams;
pub(super) mod templates;
pub(super) mod time;
pub(super) mod typed;

pub(super) use self::state::etag_matches;

use super::problem::{Problem, problem, shown};
use super::request::Request;
use serde_json::{Map, Value};

/// A small body that is a JSON object; none when there is no body.
fn object(request: &mut Request<'_, '_>) -> Result<Map<String, Value>, Problem> {
    object_of(request, crate::limits::SMALL_BODY)
}

/// The same of at most so many bytes.
fn object_of(request: &mut Request<'_, '_>, most: usize) -> Result<Map<String, Value>, Problem> {
    match json_of(request, most)? {
        Value::Null => Ok(Map::new()),
        Value::Object(object) => Ok(object),
        _ => Err(problem(
            400,
            "malformed_json",
            "Malformed JSON",
            "the body is JSON but no object; expected an object",
        )),
    }
}

/// A body that is JSON; null when there is no body.
fn json_of(request: &mut Request<'_, '_>, most: usize) -> Result<Value, Problem> {
    let body = request.body.whole(most, &request.shared.bodies)?;
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&body)
        .map_err(|e| problem(400, "malformed_json", "Malformed JSON", format!("the body is not JSON: {e}")))
}

/// A member that is a string, if it is there.
fn text(object: &Map<String, Value>, name: &str) -> Result<Option<String>, Problem> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(wrong(name, other, "a string")),
    }
}

/// A member that can't be what it is.
fn wrong(name: &str, value: &Value, expected: &str) -> Problem {
    problem(
        400,
        "bad_field",
        "Bad field",
        format!("{name} is {}; expected {expected}", shown(&value.to_string())),
    )
    .with("field", name)
}
