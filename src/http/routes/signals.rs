//! `GET /api/signals/{id}/events`.

use crate::clock::Wall;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::sources::signals::index::Range;
use crate::sources::signals::samples::Wanted;
use serde_json::json;

/// Samples one by one, and condensed ones.
const MOST: usize = limits::SIGNAL_RECENT;

pub(crate) fn events(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["from", "to", "before", "limit", "points"])?;
    let given = |name: &str| query.value(name).filter(|text| !text.is_empty());
    let count = |name: &str, least: usize| match given(name).map(|text| (text, text.parse::<usize>())) {
        None => Ok(None),
        Some((_, Ok(n))) if (least..=MOST).contains(&n) => Ok(Some(n)),
        Some((text, _)) => Err(bad(name, text, &format!("a whole number from {least} to {MOST}"))),
    };
    let time = |name: &str| match given(name).map(|text| (text, Wall::parse(text))) {
        None => Ok(None),
        Some((_, Some(at))) => Ok(Some(at.0)),
        Some((text, None)) => Err(bad(name, text, "a time such as 2026-01-07T15:30:00.000Z")),
    };
    let before = match given("before").map(|text| (text, text.parse::<u64>())) {
        None => None,
        Some((_, Ok(seq))) => Some(seq),
        Some((text, Err(_))) => return Err(bad("before", text, "the number of a sample")),
    };
    let (from, to) = (time("from")?, time("to")?);
    if let (Some(from), Some(to)) = (from, to)
        && from > to
    {
        return Err(bad("from", &Wall(from).rfc3339(), "a time before `to`"));
    }
    let wanted = Wanted {
        range: Range { since: 0, before, from, to },
        limit: count("limit", 1)?.unwrap_or(500),
        points: count("points", 2)?,
    };
    let id = request.param(0);
    let page = request.shared.parts.signals.events(id, wanted);
    match page
        .map_err(|e| problem(503, "store", "The store does not answer", e.to_string()).retry_after(5))?
    {
        Some((page, total)) => {
            let mut body = serde_json::to_value(&page).unwrap_or_default();
            body["signal_id"] = json!(id);
            body["total"] = json!(total);
            Ok(Reply::json(200, &body).into())
        }
        None => Err(problem(404, "unknown_id", "Not found", format!("there is no signal {:?}", shown(id)))),
    }
}
