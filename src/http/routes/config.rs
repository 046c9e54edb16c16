//! `/api/config`: the configuration as it is shown to and changed by a person far away.

use crate::config::{Edit, EditError, faults};
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use serde_json::{Map, Value, json};

pub(crate) fn read(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let parts = &request.shared.parts;
    let shown = parts.editor.show(&parts.config).map_err(refuse)?;
    Ok(Reply::json(200, &shown).into())
}

pub(crate) fn put(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let check = Query::read(&request.head.query, &["check"])?.flag("check")?.unwrap_or(false);
    let body = body(request)?;
    let if_revision = super::text(&body, "if_revision")?;
    let edit = edit(&body)?;
    let parts = &request.shared.parts;
    if check {
        let revision = parts.editor.check(&edit, if_revision.as_deref()).map_err(refuse)?;
        return Ok(Reply::json(200, &json!({ "revision": revision, "errors": [] })).into());
    }
    let by = request.caller.name().unwrap_or("somebody on this host").to_string();
    let (revision, changes) =
        parts.editor.put(&edit, if_revision.as_deref(), || (parts.reload)()).map_err(refuse)?;
    log::info!("the configuration was changed over HTTP by {by}");
    Ok(Reply::json(
        200,
        &json!({ "revision": revision, "applied": changes.sections, "needs_restart": changes.needs_restart }),
    )
    .into())
}

/// A body as large as the file may be, and what JSON adds.
fn body(request: &mut Request<'_, '_>) -> Result<Map<String, Value>, Problem> {
    let most = 2 * limits::CONFIG_BYTES as usize;
    let body = request.body.whole(most, &request.shared.bodies)?;
    match serde_json::from_slice(&body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(malformed("the body is JSON but no object; expected an object".into())),
        Err(e) => Err(malformed(format!("the body is not JSON: {e}"))),
    }
}

fn edit(body: &Map<String, Value>) -> Result<Edit, Problem> {
    let text = super::text(body, "text")?;
    let set = match body.get("set") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(set)) => set.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        Some(other) => return Err(super::wrong("set", other, "an object of keys and values")),
    };
    let unset = match body.get("unset") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names
            .iter()
            .map(|n| n.as_str().map(str::to_string))
            .collect::<Option<Vec<String>>>()
            .ok_or_else(|| super::wrong("unset", &body["unset"], "a list of keys"))?,
        Some(other) => return Err(super::wrong("unset", other, "a list of keys")),
    };
    match (text, set.is_empty() && unset.is_empty()) {
        (Some(text), true) => Ok(Edit::Text(text)),
        (None, false) => Ok(Edit::Keys { set, unset }),
        (Some(_), false) => {
            Err(malformed("both text and set or unset are there; expected one of them".into()))
        }
        (None, true) => Err(malformed("there is nothing to change; expected text, set or unset".into())),
    }
}

fn malformed(detail: String) -> Problem {
    problem(400, "malformed_json", "Malformed JSON", detail)
}

fn refuse(why: EditError) -> Problem {
    match why {
        EditError::NoFile => problem(
            409,
            "no_file",
            "No configuration file",
            "telltale runs without a configuration file; start it with --config FILE",
        ),
        EditError::Revision(revision) => problem(
            409,
            "revision",
            "Changed meanwhile",
            format!("if_revision is of another text; the revision is {revision}"),
        )
        .with("revision", revision),
        EditError::Faults(errors) => problem(
            422,
            "config_faults",
            "The configuration would have faults",
            errors.first().map(|e| shown(&e.detail)).unwrap_or_default(),
        )
        .with("errors", faults(&errors)),
        EditError::Impossible(detail) => {
            let errors = json!([{ "line": null, "column": null, "detail": detail }]);
            problem(422, "config_faults", "Not possible", detail).with("errors", errors)
        }
        EditError::Io(detail) => problem(503, "config_file", "The configuration file can't be used", detail),
    }
}
