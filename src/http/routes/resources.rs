//! `GET /api/{kind}` and `/api/{kind}/{id}`: the newest state of one kind, without the envelopes.

use crate::bus::Snapshot;
use crate::http::problem::{Problem, problem, shown};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::model::{SharedEvent, TopicFilter};
use serde_json::{Map, Value, json};

/// Which event types make up a resource; the members of later ones win.
struct Resource {
    name: &'static str,
    topics: &'static str,
    types: &'static [&'static str],
}

static RESOURCES: [Resource; 9] = [
    Resource { name: "recorders", topics: "recorder/*", types: &["recorder_status"] },
    Resource { name: "instruments", topics: "instrument/*", types: &["instrument_status"] },
    Resource { name: "queues", topics: "queue/*", types: &["queue_status"] },
    Resource { name: "scans", topics: "scan/*", types: &["scan_status"] },
    Resource { name: "signals", topics: "signal/*", types: &["signal_status"] },
    Resource { name: "streams", topics: "stream/*", types: &["stream_status", "stream_value"] },
    Resource { name: "jobs", topics: "job/*", types: &["job_status"] },
    Resource { name: "services", topics: "services", types: &["service_status"] },
    Resource { name: "alerts", topics: "alerts", types: &["alert"] },
];

fn resource(request: &Request<'_, '_>) -> Result<&'static Resource, Problem> {
    let name = request.head.path.get(1).map_or("", String::as_str);
    RESOURCES
        .iter()
        .find(|r| r.name == name)
        .ok_or_else(|| problem(404, "unknown_path", "Not found", "there is no such kind"))
}

pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let resource = resource(request)?;
    let topics = TopicFilter::parse(resource.topics).unwrap_or_default();
    let Snapshot { cursor, state: events } = request.shared.parts.bus.snapshot(&topics);
    let mut text = String::from("{\"items\":[");
    let items = items(resource, &events);
    text.push_str(&items.join(","));
    text.push_str(&format!("],\"cursor\":\"{cursor}\"}}"));
    Ok(Reply::json_text(200, text).into())
}

/// The payloads, oldest change first; of several types with one id, one.
fn items(resource: &Resource, events: &[SharedEvent]) -> Vec<String> {
    if let [kind] = resource.types {
        return events.iter().filter(|e| *e.kind == **kind).map(|e| e.payload().to_string()).collect();
    }
    let mut ids: Vec<&str> = Vec::new();
    let mut by_id: std::collections::HashMap<&str, Map<String, Value>> = std::collections::HashMap::new();
    for kind in resource.types {
        for event in events.iter().filter(|e| *e.kind == **kind) {
            let Some((_, id)) = event.key.as_deref().and_then(|k| k.split_once('/')) else { continue };
            if !by_id.contains_key(id) {
                ids.push(id);
            }
            if let Ok(Value::Object(payload)) = serde_json::from_str(event.payload()) {
                by_id.entry(id).or_default().extend(payload);
            }
        }
    }
    ids.iter().filter_map(|id| by_id.remove(id)).map(|item| Value::Object(item).to_string()).collect()
}

/// One of a kind. Of an instrument also `actions`: what it can be told here, which differs from one to the next.
pub(crate) fn one(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let resource = resource(request)?;
    let id = request.param(0);
    let events: Vec<_> = resource
        .types
        .iter()
        .filter_map(|kind| request.shared.parts.bus.state_of(&format!("{kind}/{id}")))
        .collect();
    match items(resource, &events).pop() {
        Some(item) if resource.name == "instruments" => {
            let mut item: Map<String, Value> = serde_json::from_str(&item).unwrap_or_default();
            item.insert(
                "actions".into(),
                request.shared.parts.commands.actions(&format!("instrument/{id}")).into(),
            );
            Ok(Reply::json(200, &Value::Object(item)).into())
        }
        Some(item) => Ok(Reply::json_text(200, item).into()),
        None => Err(problem(
            404,
            "unknown_id",
            "Not found",
            format!("nothing is known of {:?} among the {}", shown(id), resource.name),
        )),
    }
}

/// `GET /api/system`.
pub(crate) fn system(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    Query::read(&request.head.query, &[])?;
    let topics = TopicFilter::parse("system").unwrap_or_default();
    let Snapshot { cursor, state: events } = request.shared.parts.bus.snapshot(&topics);
    let payloads = |kind: &str| -> Vec<Value> {
        events
            .iter()
            .filter(|e| *e.kind == *kind)
            .filter_map(|e| serde_json::from_str(e.payload()).ok())
            .collect()
    };
    let body = json!({
        "name": request.shared.parts.config.name,
        "version": env!("CARGO_PKG_VERSION"),
        "epoch": cursor.epoch,
        "cursor": cursor,
        "clock": request.shared.parts.bus.clock(),
        "bench": request.shared.parts.bench.is_some(),
        "role": request.caller.role,
        "health": payloads("system_health").pop(),
        "config": payloads("config_changed").pop(),
        "sources": payloads("source_status"),
    });
    Ok(Reply::json(200, &body).into())
}
