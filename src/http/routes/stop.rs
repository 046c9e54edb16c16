//! The emergency stop.

use super::{object, text};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use serde_json::json;

/// `POST /api/stop`: says what was told to whom; the end of each is its `command_result`. No body is needed.
pub(crate) fn everything(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let params = object(request)?;
    let short = |text: Option<String>| {
        text.map(|t| t.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
    };
    let by = short(text(&params, "by")?).or_else(|| request.caller.name().map(str::to_string));
    let why = short(text(&params, "reason")?).unwrap_or_else(|| "emergency stop".into());
    let told = request.shared.parts.halt.everything(by.as_deref(), &why, limits::STOP_ANSWER);
    Ok(Reply::json(202, &json!({ "items": told })).into())
}
