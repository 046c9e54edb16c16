//! What those who run the daemon ask: is it alive, is it ready, its counters, its interface.

use super::{object, wrong};
use crate::http::problem::{Problem, problem};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use serde_json::{Value, json};

/// The description of this interface.
pub(crate) const OPENAPI: &str = include_str!("../../../docs/openapi.json");

pub(crate) fn openapi(_: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Ok(Reply::of_static(200, "application/json", OPENAPI.as_bytes())
        .header("Cache-Control", "no-cache")
        .into())
}

pub(crate) fn live(_: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Ok(Reply::json(200, &json!({ "status": "live" })).into())
}

pub(crate) fn ready(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    match (request.shared.parts.ready)() {
        Ok(()) => Ok(Reply::json(200, &json!({ "status": "ready" })).into()),
        Err(why) => Err(problem(503, "not_ready", "Not ready", why).retry_after(2)),
    }
}

pub(crate) fn metrics(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let text = request.shared.metrics().render();
    Ok(Reply::new(200, "text/plain; version=0.0.4; charset=utf-8", text.into_bytes()).into())
}

/// A page reports what happened to its stream since its last report.
pub(crate) fn telemetry(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    /// More than any page has between two reports; keeps a broken one from spoiling the counters.
    const MOST: u64 = 10_000;
    let body = object(request)?;
    let count = |name: &str| match body.get(name) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_u64()
            .filter(|n| *n <= MOST)
            .ok_or_else(|| wrong(name, value, "a number from 0 to 10000")),
    };
    let (reconnects, drops) = (count("reconnects")?, count("drops")?);
    request.shared.metrics().client_reconnects_total.add(reconnects);
    request.shared.metrics().client_drops_total.add(drops);
    Ok(Reply::json(200, &json!({})).into())
}
