//! `/api/time`: the wall clock, and a person's word where nothing sets it.

use super::{object, text, wrong};
use crate::clock::{Refused, Wall};
use crate::http::problem::{Problem, problem};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use serde_json::{Value, json};

pub(crate) fn read(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    Ok(answer(request))
}

pub(crate) fn give(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let body = object(request)?;
    let now = match body.get("now") {
        Some(Value::String(said)) => Wall::parse(said),
        _ => None,
    };
    let Some(now) = now else {
        let said = body.get("now").unwrap_or(&Value::Null);
        return Err(wrong("now", said, "the time in UTC such as 2026-01-07T15:30:00.412Z"));
    };
    let confirmed = match body.get("confirm") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(confirmed)) => *confirmed,
        Some(other) => return Err(wrong("confirm", other, "true or false")),
    };
    let by = text(&body, "by")?.map(|t| t.chars().filter(|c| !c.is_control()).take(64).collect::<String>());
    let by = by.filter(|t| !t.is_empty()).or_else(|| request.caller.name().map(str::to_string));
    request.shared.parts.bus.time().give(now, by, confirmed).map_err(|why| match why {
        Refused::Synced => problem(409, "synced", "The clock is synchronised", why.to_string()),
        Refused::Absurd => {
            problem(422, "absurd_time", "No clock is that wrong", why.to_string()).with("field", "now")
        }
    })?;
    Ok(answer(request))
}

pub(crate) fn give_up(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    request.shared.parts.bus.time().give_up();
    Ok(answer(request))
}

fn answer(request: &Request<'_, '_>) -> Answer {
    let time = request.shared.parts.bus.time();
    let mut body = time.describe();
    body["now"] = json!(Wall::now());
    body["boot_id"] = time.boot().into();
    body["age_may_be_trusted"] = time.age_may_be_trusted().into();
    if body.get("offset_s").is_none() {
        body["offset_s"] = Value::Null;
    }
    Reply::json(200, &body).into()
}
