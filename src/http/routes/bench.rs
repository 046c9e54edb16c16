//! The switches of the simulated bench; these routes exist only while it runs.

use super::{object, text, wrong};
use crate::http::problem::{Problem, problem};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::sources::BenchControl;
use serde_json::{Value, json};

fn bench<'r>(request: &'r Request<'_, '_>) -> Result<&'r dyn BenchControl, Problem> {
    request
        .shared
        .parts
        .bench
        .as_deref()
        .ok_or_else(|| problem(404, "unknown_path", "Not found", "the simulated bench does not run"))
}

pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Ok(Reply::json(200, &bench(request)?.list()).into())
}

pub(crate) fn fault(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let body = object(request)?;
    let required = |name: &str| {
        text(&body, name)?.ok_or_else(|| {
            problem(400, "missing_field", "Missing field", format!("{name} is missing; expected a string"))
                .with("field", name)
        })
    };
    let (source, fault) = (required("source")?, required("fault")?);
    let on = match body.get("on") {
        None => true,
        Some(Value::Bool(on)) => *on,
        Some(other) => return Err(wrong("on", other, "true or false")),
    };
    let for_s = match body.get("for_s") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_f64() {
            Some(seconds) if (0.0..=86_400.0).contains(&seconds) => Some(seconds),
            _ => return Err(wrong("for_s", value, "seconds from 0 to 86400")),
        },
    };
    bench(request)?
        .fault(&source, &fault, on, for_s)
        .map_err(|why| problem(422, "unknown_fault", "Unknown source or fault", why))?;
    Ok(Reply::json(200, &json!({ "source": source, "fault": fault, "on": on, "for_s": for_s })).into())
}
