//! Alerts: acknowledge, snooze, how rules and deliveries stand. What is open is state and is served like other state.

use super::commands::{answer, command, state_of};
use super::{object, text, wrong};
use crate::bus::Submitted;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::model::{Alert, AlertState, CommandResult, CommandState};
use serde_json::{Map, Value, json};

/// `GET /api/alerts/{id}`: the open alert, and what became of the messages about it.
pub(crate) fn one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let (alert, mut payload) = open(request)?;
    let delivered = request.shared.parts.alerts.delivered(&alert);
    if !delivered.is_empty() {
        payload.insert("delivered".into(), delivered.into());
    }
    Ok(Reply::json(200, &Value::Object(payload)).into())
}

/// `POST /api/alerts/{id}/ack`.
pub(crate) fn acknowledge(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let params = object(request)?;
    let (alert, _) = open(request)?;
    let already = matches!(alert.state, AlertState::Acknowledged | AlertState::Closed);
    submit(request, params, &alert, "ack", already)
}

/// `POST /api/alerts/{id}/snooze`.
pub(crate) fn snooze(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let params = object(request)?;
    let (alert, _) = open(request)?;
    let wanted = params.get("for").cloned().unwrap_or(Value::Null);
    let already = match wanted.as_str() {
        Some("none") => alert.snoozed_until.is_none(),
        Some("restart") => alert.snoozed_until.as_deref() == Some("restart"),
        Some("1h" | "1d" | "1w") => false,
        _ => return Err(wrong("for", &wanted, "\"1h\", \"1d\", \"1w\", \"restart\" or \"none\"")),
    };
    submit(request, params, &alert, "snooze", already)
}

/// `GET /api/alerts/rules`.
pub(crate) fn rules(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    Ok(Reply::json(200, &json!({ "items": request.shared.parts.alerts.rules() })).into())
}

/// `GET /api/alerts/deliveries`.
pub(crate) fn deliveries(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    Ok(Reply::json(200, &request.shared.parts.alerts.deliveries()).into())
}

/// `POST /api/alerts/test`.
pub(crate) fn test(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let params = object(request)?;
    let by = text(&params, "by")?.or_else(|| request.caller.name().map(str::to_string));
    let by = by.map(|who| who.chars().filter(|c| !c.is_control()).take(200).collect::<String>());
    match request.shared.parts.alerts.test(by.as_deref()) {
        0 => Err(problem(
            409,
            "no_channels",
            "Nobody to tell",
            "no receiver is configured; a [[webhook]] or an [[ntfy]] in the file is one",
        )),
        channels => Ok(Reply::json(202, &json!({ "channels": channels })).into()),
    }
}

fn open(request: &Request<'_, '_>) -> Result<(Alert, Map<String, Value>), Problem> {
    let id = request.param(0);
    let found = state_of(request, &format!("alert/{id}")).and_then(|payload| {
        let alert = serde_json::from_value(Value::Object(payload.clone())).ok()?;
        Some((alert, payload))
    });
    found.ok_or_else(|| {
        problem(404, "unknown_id", "Not found", format!("there is no open alert {:?}", shown(id)))
    })
}

fn submit(
    request: &Request<'_, '_>,
    mut params: Map<String, Value>,
    alert: &Alert,
    action: &str,
    already: bool,
) -> Result<Answer, Problem> {
    if let Some(wanted) = params.get("occurrence").filter(|v| !v.is_null()) {
        let Some(number) = wanted.as_u64() else { return Err(wrong("occurrence", wanted, "a number")) };
        if number != alert.occurrence {
            return Err(problem(
                409,
                "occurrence",
                "Another occurrence",
                format!("occurrence is {number}; the open one is {}", alert.occurrence),
            )
            .with("occurrence", alert.occurrence));
        }
    }
    params.insert("alert_id".into(), alert.alert_id.clone().into());
    params.insert("occurrence".into(), alert.occurrence.into());
    let command = command(request, params, "alerts".into(), action.into())?;
    let commands = &request.shared.parts.commands;
    if already && commands.lookup(&command.id).is_none() {
        let result = CommandResult {
            command_id: command.id,
            action: command.action,
            target: command.target,
            state: CommandState::Completed,
            status: Some(alert.state.word().into()),
            latency_ms: 0,
            code: None,
            reason: Some("it is so already".into()),
        };
        return Ok(answer(200, &result, None));
    }
    match commands.submit(command) {
        Submitted::Accepted(result) | Submitted::Known(result) => {
            let status = if result.state == CommandState::Accepted { 202 } else { 200 };
            Ok(answer(status, &result, None))
        }
        Submitted::Busy | Submitted::NoTarget | Submitted::NoAction(_) | Submitted::Blocked(_) => {
            Err(problem(503, "busy", "Busy", "too many commands are waiting").retry_after(1))
        }
    }
}
