//! Commands: accepted here, done elsewhere. The answer says `accepted`; the end is a `command_result` event.

use super::{object, text, wrong};
use crate::bus::{Command, INTERLOCK, Refusal, Submitted};
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::model::{CommandResult, CommandState};
use crate::runner::Judged;
use crate::sources::Offer;
use serde_json::{Map, Value, json};

/// `POST /api/{kind}/{id}/{action}`.
pub(crate) fn submit(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let kind =
        request.head.path.get(1).and_then(|kind| kind.strip_suffix('s')).unwrap_or_default().to_string();
    let (id, action) = (request.param(0).to_string(), request.param(1).to_string());
    let params = object(request)?;
    let now = state_of(request, &format!("{kind}_status/{id}"));
    if_revision(&params, now.as_ref())?;
    let command = command(request, params, format!("{kind}/{id}"), action)?;
    let status = now.as_ref().and_then(|s| s.get("status")).and_then(Value::as_str).unwrap_or_default();
    let known = request.shared.parts.commands.lookup(&command.id).is_some();
    // Queues and scans of the lab are judged by the lab, which knows more than their state says.
    let judged = request.shared.parts.lab.judge(&kind, &id, &command.action, &command.params);
    // One that was handed over a moment ago may not have come to the lab yet.
    let open = request.shared.parts.commands.is_asked(&command.target, &command.action, &command.params)
        && !command.params.contains_key("force");
    let judged = judged.map(|judged| match judged {
        Judged::Possible if open => Judged::Already,
        judged => judged,
    });
    match judged.filter(|_| !known) {
        Some(Judged::Possible) => return hand_over(request, command, now.as_ref()),
        Some(Judged::Impossible(conflict)) => {
            return Err(problem(409, conflict.code, "Not possible now", conflict.detail)
                .with("from", conflict.from)
                .with("action", command.action)
                .with("status", conflict.from)
                .with("allowed_actions", conflict.allowed_actions)
                .with("revision", conflict.revision));
        }
        Some(Judged::Already) => {
            let pending = now.as_ref().and_then(|s| s.get("pending"));
            let on_its_way =
                open || pending.is_some_and(|p| *p == command.action || command.action == "skip_point");
            let result = CommandResult {
                command_id: command.id,
                action: command.action,
                target: command.target,
                state: if on_its_way { CommandState::Accepted } else { CommandState::Completed },
                status: None,
                latency_ms: 0,
                reason: Some(if on_its_way { "it is asked for already" } else { "it is so already" }.into()),
                code: None,
            };
            return Ok(answer(200, &result, now.as_ref()));
        }
        None => {}
    }
    // Something that is on its way, such as a pause of a running queue, is not how it stands yet.
    let pending = now.as_ref().and_then(|s| s.get("pending")).is_some_and(|p| !p.is_null());
    if !known && !pending && is_already(&kind, &command.action, status) {
        let result = CommandResult {
            command_id: command.id,
            action: command.action,
            target: command.target,
            state: CommandState::Completed,
            status: Some(status.into()),
            latency_ms: 0,
            code: None,
            reason: Some(format!("it is {status} already")),
        };
        return Ok(answer(200, &result, now.as_ref()));
    }
    let allowed = now.as_ref().and_then(|s| s.get("allowed_actions")).and_then(Value::as_array);
    if let Some(allowed) = allowed
        && !known
        && !allowed.iter().any(|a| *a == command.action)
        && STATEFUL.contains(&command.action.as_str())
    {
        return Err(problem(
            409,
            "not_now",
            "Not possible now",
            format!("{} is {status}; {} is not possible then", command.target, shown(&command.action)),
        )
        .with("from", status)
        .with("action", command.action.as_str())
        .with("status", status)
        .with("allowed_actions", allowed.clone())
        .with("revision", now.as_ref().and_then(|s| s.get("revision")).cloned().unwrap_or(Value::Null)));
    }
    if kind == "instrument" && !known {
        let instruments = &request.shared.parts.instruments;
        let told = || now.as_ref()?.get("used_by")?.as_str().map(str::to_string);
        if let Some(who) = instruments.used_by(&id).or_else(told)
            && !UNUSED.contains(&command.action.as_str())
        {
            let detail = format!("{} is used by {}", command.target, shown(&who));
            return Err(problem(409, "in_use", "In use", detail).with("used_by", who));
        }
        if let Some(offer) = instruments.find(&id) {
            within_limits(&command, &offer)?;
        }
    }
    hand_over(request, command, now.as_ref())
}

/// Gives a command to its owner.
fn hand_over(
    request: &Request<'_, '_>,
    command: Command,
    now: Option<&Map<String, Value>>,
) -> Result<Answer, Problem> {
    let (target, action) = (command.target.clone(), command.action.clone());
    match request.shared.parts.commands.submit(command) {
        Submitted::Accepted(result) => Ok(answer(202, &result, now)),
        Submitted::Known(result) if result.state == CommandState::Accepted => Ok(answer(202, &result, now)),
        Submitted::Known(result) => Ok(answer(200, &result, now)),
        Submitted::NoTarget => Err(problem(
            404,
            "no_target",
            "Not found",
            if now.is_some() {
                format!("{} is known, but nothing here takes commands for it", shown(&target))
            } else {
                format!("there is no {}", shown(&target))
            },
        )),
        Submitted::NoAction(actions) => Err(problem(
            404,
            "unknown_action",
            "Unknown action",
            format!("{} has no action {:?}; expected {}", shown(&target), shown(&action), actions.join(", ")),
        )
        .with("actions", actions)),
        Submitted::Blocked(refusal) => Err(blocked(refusal)),
        Submitted::Busy => {
            Err(problem(503, "busy", "Busy", format!("{} has too many commands waiting", shown(&target)))
                .retry_after(1))
        }
    }
}

/// An interlock is in the way.
fn blocked(refusal: Refusal) -> Problem {
    problem(409, INTERLOCK, "Blocked", refusal.text).with("alert_id", refusal.alert)
}

/// The actions that `allowed_actions` is about; others its owner judges.
const STATEFUL: [&str; 7] = ["start", "pause", "resume", "stop", "abort", "split", "auto"];

/// What an instrument may be told although it is in use: what ends what is going on, and what changes nothing.
const UNUSED: [&str; 3] = ["stop", "safe", "clear_error"];

/// Whether all that a `set` or a `move` asks for is within the limits of its channels.
fn within_limits(command: &Command, offer: &Offer) -> Result<(), Problem> {
    let of = |name: &str| command.params.get(name);
    let wanted: Vec<(&str, &Value)> = match command.action.as_str() {
        "set" => of("channel").and_then(Value::as_str).zip(of("value")).into_iter().collect(),
        "move" => of("target")
            .and_then(Value::as_object)
            .map(|target| target.iter().map(|(name, value)| (name.as_str(), value)).collect())
            .unwrap_or_default(),
        _ => return Ok(()),
    };
    for (name, value) in wanted {
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        let (Some(channel), Some(number)) = (offer.channel(name), number) else { continue };
        if let Some(why) = channel.outside(number).filter(|_| channel.settable) {
            let detail = format!("{why}; nothing was sent");
            return Err(problem(422, "out_of_limits", "Out of limits", detail)
                .with("channel", name)
                .with("value", value.clone())
                .with("min", channel.min)
                .with("max", channel.max));
        }
    }
    Ok(())
}

/// Whether the effect of an action is there without it.
fn is_already(kind: &str, action: &str, status: &str) -> bool {
    matches!(
        (kind, action, status),
        ("recorder", "start", "recording")
            | ("recorder", "stop", "idle" | "stopped")
            | ("queue" | "scan", "start" | "resume", "running")
            | ("queue" | "scan", "pause", "paused")
            | ("queue", "stop", "idle" | "completed")
            | ("scan", "stop", "completed")
            | ("scan", "abort", "aborted")
            | ("service", "start", "active")
            | ("service", "stop", "inactive")
    )
}

/// The payload of a state key.
pub(super) fn state_of(request: &Request<'_, '_>, key: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(request.shared.parts.bus.state_of(key)?.payload()).ok()
}

fn if_revision(params: &Map<String, Value>, now: Option<&Map<String, Value>>) -> Result<(), Problem> {
    let Some(wanted) = params.get("if_revision").filter(|v| !v.is_null()) else { return Ok(()) };
    let Some(number) = wanted.as_u64() else { return Err(wrong("if_revision", wanted, "a number")) };
    let revision =
        now.and_then(|s| s.get("revision").or_else(|| s.get("order_version"))).and_then(Value::as_u64);
    if revision == Some(number) {
        return Ok(());
    }
    Err(problem(
        409,
        "revision",
        "Changed meanwhile",
        format!(
            "if_revision is {number}; the revision is {}",
            revision.map_or("not known".into(), |r| r.to_string())
        ),
    )
    .with("revision", revision)
    .with("allowed_actions", now.and_then(|s| s.get("allowed_actions")).cloned().unwrap_or(Value::Null)))
}

/// Takes what every command may say out of the body; the rest are its parameters.
pub(super) fn command(
    request: &Request<'_, '_>,
    mut params: Map<String, Value>,
    target: String,
    action: String,
) -> Result<Command, Problem> {
    let id = match text(&params, "command_id")? {
        Some(id) if crate::model::Topic::of("app", &id).is_ok() && !id.contains('/') => id,
        Some(id) => return Err(wrong("command_id", &id.into(), "1 to 64 characters of A-Z a-z 0-9 _ . : -")),
        None => {
            let mut random = [0; 8];
            getrandom::fill(&mut random)
                .map_err(|e| problem(500, "internal", "Internal error", format!("no random numbers: {e}")))?;
            format!("c-{}", crate::keys::hex(&random))
        }
    };
    let short = |text: Option<String>| {
        text.map(|t| t.chars().filter(|c| !c.is_control()).take(200).collect::<String>())
    };
    let reason = short(text(&params, "reason")?);
    let by = short(text(&params, "by")?).or_else(|| request.caller.name().map(str::to_string));
    for name in ["command_id", "reason", "by", "if_revision"] {
        params.remove(name);
    }
    Ok(Command { id, target, action, params, by, reason })
}

pub(super) fn answer(status: u16, result: &CommandResult, now: Option<&Map<String, Value>>) -> Answer {
    let of = |name: &str| now.and_then(|s| s.get(name)).cloned().unwrap_or(Value::Null);
    let pending = if result.state == CommandState::Accepted {
        Value::from(result.action.clone())
    } else {
        of("pending")
    };
    let body = json!({
        "command_id": result.command_id,
        "action": result.action,
        "target": result.target,
        "state": result.state,
        "status": result.status.clone().map_or_else(|| of("status"), Value::from),
        "pending": pending,
        "allowed_actions": of("allowed_actions"),
        "revision": of("revision"),
        "latency_ms": result.latency_ms,
        "reason": result.reason,
        "code": result.code,
    });
    Reply::json(status, &body).into()
}

/// `GET /api/commands/{id}`.
pub(crate) fn lookup(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    match request.shared.parts.commands.lookup(request.param(0)) {
        Some(result) => Ok(Reply::json(200, &result).into()),
        None => Err(problem(
            404,
            "unknown_command",
            "Not found",
            format!(
                "there is no command {:?}; only the last {} are remembered",
                shown(request.param(0)),
                crate::limits::COMMANDS
            ),
        )),
    }
}
