//! Templates: descriptions of scans that are kept under a name.

use super::scans::refused;
use super::{object_of, text, wrong};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use serde_json::{Value, json};

/// `GET /api/templates`.
pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    Ok(Reply::json(200, &json!({ "items": request.shared.parts.lab.templates() })).into())
}

/// `POST /api/templates`: descriptions, or one.
pub(crate) fn keep(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let mut wish = object_of(request, limits::DESCRIPTION_BYTES * 4 + limits::SMALL_BODY)?;
    let (id, name) = (text(&wish, "template_id")?, text(&wish, "name")?);
    let descriptions = match (wish.remove("descriptions"), wish.remove("description")) {
        (Some(Value::Array(all)), None) => all,
        (None, Some(one)) => vec![one],
        (said, _) => {
            return Err(wrong("descriptions", &said.unwrap_or(Value::Null), "an array of descriptions"));
        }
    };
    let name = name.or_else(|| id.clone()).unwrap_or_else(|| "Template".into());
    let name: String = name.chars().filter(|c| !c.is_control()).take(200).collect();
    let kept = request.shared.parts.lab.keep_template(id, &name, descriptions).map_err(refused)?;
    Ok(Reply::json(201, &kept).into())
}

/// `DELETE /api/templates/{id}`.
pub(crate) fn remove(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let id = request.param(0);
    request.shared.parts.lab.remove_template(id).map_err(refused)?;
    Ok(Reply::json(200, &json!({ "template_id": id, "removed": true })).into())
}
