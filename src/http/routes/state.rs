//! `GET /api/state`: the whole state at one moment.

use super::events::filter;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use sha2::{Digest, Sha256};

pub(crate) fn read(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["topics"])?;
    let topics = filter(query.value("topics"))?;
    let (cursor, body) = request.shared.parts.push.state(&topics);
    let said = format!("{cursor}/{}", topics.names().join(","));
    let etag = format!("\"{}\"", &crate::keys::hex(&Sha256::digest(said.as_bytes()))[..24]);
    if request.head.header("if-none-match").is_some_and(|known| etag_matches(known, &etag)) {
        return Ok(Reply::empty(304, 0).header("ETag", etag).header("Cache-Control", "no-cache").into());
    }
    Ok(Reply::json_text(200, body).header("ETag", etag).header("Cache-Control", "no-cache").into())
}

/// Whether an `If-None-Match` names this tag (RFC 9110 section 13.1.2, weak comparison).
pub(crate) fn etag_matches(known: &str, etag: &str) -> bool {
    known.trim() == "*" || known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag)
}
