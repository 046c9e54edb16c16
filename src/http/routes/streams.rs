//! `GET /api/streams/{id}/history`.

use crate::clock::Wall;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};

/// The window without `from`, in milliseconds.
const WINDOW_MS: u64 = 3_600_000;
const POINTS: usize = 4_000;

pub(crate) fn history(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["points", "from", "to"])?;
    let points = match query.value("points") {
        None => 500,
        Some(text) => match text.parse::<usize>() {
            Ok(points) if (2..=POINTS).contains(&points) => points,
            _ => return Err(bad("points", text, &format!("a whole number from 2 to {POINTS}"))),
        },
    };
    let time = |name: &str| match query.value(name) {
        None => Ok(None),
        Some(text) => match Wall::parse(text) {
            Some(at) => Ok(Some(at)),
            None => Err(bad(name, text, "a time such as 2026-01-07T15:30:00.000Z")),
        },
    };
    let to = time("to")?.unwrap_or_else(Wall::now);
    let from = time("from")?.unwrap_or(Wall(to.0.saturating_sub(WINDOW_MS)));
    if from > to {
        return Err(bad("from", &from.rfc3339(), "a time before `to`"));
    }
    let id = request.param(0);
    match request.shared.parts.streams.window(id, from, to, points) {
        Some(window) => Ok(Reply::json(200, &window).into()),
        None => Err(problem(
            404,
            "unknown_id",
            "Not found",
            format!("no value of the stream {:?} has been seen", shown(id)),
        )),
    }
}
