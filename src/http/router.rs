//! The table of routes: method, path, role, handler, one line of documentation. 404, 405 with its Allow and OPTIONS
//! follow from it, and a test holds docs/openapi.json against it.

use super::access;
use super::body::Body;
use super::head::Head;
use super::problem::{Problem, problem, shown};
use super::reply::Reply;
use super::request::{Answer, Handler, Request};
use super::routes::*;
use super::server::Shared;
use crate::model::Role;
use std::net::SocketAddr;
use std::sync::Arc;
use tiny_http::Method;

/// One row.
pub(crate) struct Route {
    pub method: Method,
    /// Segments of which `{...}` stands for any one.
    pub path: &'static str,
    /// None: for everybody.
    pub role: Option<Role>,
    pub handler: Handler,
    #[allow(dead_code, reason = "held against the API document by a test")]
    pub doc: &'static str,
    /// Only there when the simulated bench runs.
    pub bench: bool,
}

const fn get(path: &'static str, role: Option<Role>, handler: Handler, doc: &'static str) -> Route {
    Route { method: Method::Get, path, role, handler, doc, bench: false }
}

const fn post(path: &'static str, role: Option<Role>, handler: Handler, doc: &'static str) -> Route {
    Route { method: Method::Post, path, role, handler, doc, bench: false }
}

const fn by(
    method: Method,
    path: &'static str,
    role: Option<Role>,
    handler: Handler,
    doc: &'static str,
) -> Route {
    Route { method, path, role, handler, doc, bench: false }
}

const fn put(path: &'static str, role: Option<Role>, handler: Handler, doc: &'static str) -> Route {
    Route { method: Method::Put, path, role, handler, doc, bench: false }
}

const fn in_bench(mut route: Route) -> Route {
    route.bench = true;
    route
}

const VIEW: Option<Role> = Some(Role::View);
const OPERATE: Option<Role> = Some(Role::Operate);
const PUBLISH: Option<Role> = Some(Role::Publish);
const ADMIN: Option<Role> = Some(Role::Admin);

/// Every route. Where two match, the first counts.
pub(crate) static ROUTES: &[Route] = &[
    get(
        "/api/events",
        VIEW,
        events::read,
        "The stream (SSE, NDJSON) or a short poll (JSON), by Accept or format",
    ),
    post("/api/events", PUBLISH, publish::events, "Publish one event, an array, or NDJSON"),
    get("/events", VIEW, events::read, "The same as /api/events"),
    get("/api/state", VIEW, state::read, "The newest event of every state key, at one moment"),
    post("/api/detections", PUBLISH, typed::publish, "Publish detections"),
    get("/api/detections", VIEW, detections::list, "Detections by filter, the newest first"),
    get("/api/detections.csv", VIEW, detections::csv, "The same as CSV"),
    post("/api/detections/failed", PUBLISH, detections::outcome, "A vision process could not look"),
    post("/api/detections/nothing", PUBLISH, detections::outcome, "A vision process looked and saw nothing"),
    get("/api/summary", VIEW, detections::summary, "Detections by filter, summed up"),
    get("/api/planograms", VIEW, detections::planogram, "What should stand where, as JSON or CSV"),
    put("/api/planograms", OPERATE, detections::plan, "Replace what should stand where, from JSON or CSV"),
    post("/api/recorders/{id}/state", PUBLISH, typed::publish, "Publish the state of a recorder"),
    post("/api/instruments/{id}/state", PUBLISH, typed::publish, "Publish the state of an instrument"),
    post("/api/jobs/{id}", PUBLISH, typed::publish, "Publish the state of a job"),
    post("/api/streams/{id}", PUBLISH, typed::publish, "Publish a value or the status of a stream"),
    post("/api/signals/{id}", PUBLISH, typed::publish, "Publish samples or the status of a signal"),
    get("/api/recorders", VIEW, resources::list, "Every recorder"),
    get("/api/recorders/{id}", VIEW, resources::one, "One recorder"),
    get("/api/recorders/{id}/motion", VIEW, recorders::motion, "Motion at a recorder, now and lately"),
    post("/api/recorders/{id}/motion", PUBLISH, recorders::tell_motion, "Tell of motion at a recorder"),
    post(
        "/api/recorders/{id}/{action}",
        OPERATE,
        commands::submit,
        "Command a recorder: start, stop, split, auto, reset",
    ),
    get("/api/instruments", VIEW, resources::list, "Every instrument"),
    get("/api/instruments/{id}", VIEW, resources::one, "One instrument"),
    post(
        "/api/instruments/{id}/{action}",
        OPERATE,
        commands::submit,
        "Command an instrument: move, set, query, stop, safe, clear_error, pulse",
    ),
    get("/api/queues", VIEW, queues::list, "Every queue"),
    post("/api/queues", OPERATE, queues::create, "Make a queue"),
    get("/api/queues/{id}", VIEW, queues::one, "One queue"),
    by(Method::Patch, "/api/queues/{id}", OPERATE, queues::change, "Change a queue"),
    by(Method::Delete, "/api/queues/{id}", OPERATE, queues::remove, "Remove a queue that is not at work"),
    get(
        "/api/queues/{id}/scans",
        VIEW,
        queues::scans,
        "The scans of a queue: its order, then what has ended",
    ),
    post("/api/queues/{id}/scans", OPERATE, queues::add, "Add scans to a queue, all or none"),
    post("/api/queues/{id}/clear", OPERATE, queues::clear, "Take out every scan that waits"),
    post("/api/queues/{id}/move", OPERATE, queues::place, "Move a scan that waits to another place"),
    get(
        "/api/queues/{id}/log",
        VIEW,
        log::lines_of_one,
        "Lines of the log of a queue and its scans, newest first",
    ),
    post(
        "/api/queues/{id}/{action}",
        OPERATE,
        commands::submit,
        "Command a queue: start, pause, resume, stop, abort",
    ),
    get("/api/scans", VIEW, scans::list, "Scans by filter, the newest first"),
    post(
        "/api/scans",
        OPERATE,
        scans::create,
        "Register a scan that a program executes, or add one to a queue",
    ),
    post("/api/scans/validate", VIEW, scans::validate, "What a description would do, or all its faults"),
    get("/api/scans/{id}", VIEW, scans::one, "One scan, with its description and columns"),
    by(Method::Delete, "/api/scans/{id}", OPERATE, scans::remove, "Remove a scan that waits or has ended"),
    post("/api/scans/{id}/requeue", OPERATE, scans::requeue, "Add a new scan that does the same"),
    post("/api/scans/{id}/data", PUBLISH, posted::data, "A program posts rows of its scan"),
    get(
        "/api/scans/{id}/control",
        PUBLISH,
        scans::control,
        "What is wanted of the program, now or when there is something",
    ),
    post("/api/scans/{id}/control", PUBLISH, scans::report, "A program says what its scan does now"),
    post("/api/scans/{id}/log", PUBLISH, scans::log, "A program writes into the log of its scan"),
    get("/api/scans/{id}/data", VIEW, scan_data::page, "Rows of a scan, a column each"),
    get("/api/scans/{id}/data.csv", VIEW, scan_data::csv, "All rows of a measurement as CSV"),
    get("/api/scans/{id}/data.json", VIEW, scan_data::whole_json, "All rows of a measurement as JSON"),
    get("/api/scans/{id}/data.ndjson", VIEW, scan_data::ndjson, "All rows of a measurement, a line each"),
    get("/api/scans/{id}/chart", VIEW, scan_data::chart, "A measurement as a chart"),
    get("/api/scans/{id}/playback", VIEW, scan_data::playback, "A scan again, as it went"),
    get("/api/scans/{id}/log", VIEW, log::lines_of_one, "Lines of the log of a scan, newest first"),
    post(
        "/api/scans/{id}/{action}",
        OPERATE,
        commands::submit,
        "Command a scan: start, pause, resume, stop, abort, skip_point",
    ),
    get("/api/templates", VIEW, templates::list, "Every template of scans"),
    post("/api/templates", OPERATE, templates::keep, "Keep descriptions under a name"),
    by(Method::Delete, "/api/templates/{id}", OPERATE, templates::remove, "Forget a template"),
    get("/api/signals", VIEW, resources::list, "Every signal"),
    get("/api/signals/{id}", VIEW, resources::one, "One signal"),
    get("/api/signals/{id}/events", VIEW, signals::events, "Samples of a signal, one by one or condensed"),
    post(
        "/api/signals/{id}/{action}",
        OPERATE,
        commands::submit,
        "Command a signal: live, batch, settings, reset",
    ),
    get(
        "/api/streams",
        VIEW,
        resources::list,
        "Every stream: its newest value and how its connection stands",
    ),
    get("/api/streams/{id}", VIEW, resources::one, "One stream"),
    get(
        "/api/streams/{id}/history",
        VIEW,
        streams::history,
        "What a stream was: the least and the greatest of each span",
    ),
    get("/api/jobs", VIEW, resources::list, "Every job"),
    get("/api/jobs/{id}", VIEW, resources::one, "One job"),
    post("/api/jobs/{id}/{action}", OPERATE, commands::submit, "Command a job: cancel"),
    get("/api/recordings", VIEW, recordings::list, "The recordings: one page of those that match"),
    get(
        "/api/recordings/archive.zip",
        VIEW,
        recordings::archive,
        "Many recordings and their sidecars as one archive",
    ),
    post(
        "/api/recordings/purge",
        OPERATE,
        recordings::purge_held,
        "Confirm a purge that retention holds back",
    ),
    post("/api/recordings/bin/empty", OPERATE, recordings::empty_bin, "Remove what is in the bin for good"),
    get("/api/recordings/{id}", VIEW, recordings::one, "One recording"),
    by(
        Method::Patch,
        "/api/recordings/{id}",
        OPERATE,
        recordings::patch,
        "Rename, label, pin a recording, or take it out of the bin",
    ),
    by(
        Method::Delete,
        "/api/recordings/{id}",
        OPERATE,
        recordings::delete,
        "Move a recording to the bin, or from there remove it for good",
    ),
    post(
        "/api/recordings/{id}/clip",
        OPERATE,
        recordings::clip,
        "Cut a piece out of a WAV into a new recording",
    ),
    get("/api/recordings/{id}/audio", VIEW, recordings::audio, "The file, whole or a range"),
    get(
        "/api/recordings/{id}/waveform",
        VIEW,
        recordings::waveform,
        "The extremes of its samples, to be drawn",
    ),
    get("/api/services", VIEW, resources::list, "Every service"),
    get("/api/services/{id}", VIEW, resources::one, "One service"),
    post("/api/services/{id}/{action}", OPERATE, commands::submit, "Command a service: start, stop, restart"),
    get("/api/alerts", VIEW, log::alerts, "Every open alert, or the history of all alerts"),
    get("/api/alerts/rules", VIEW, alerts::rules, "Every rule of the alerts and how it stands"),
    get("/api/alerts/deliveries", VIEW, alerts::deliveries, "Every receiver of alerts and how it stands"),
    post("/api/alerts/test", OPERATE, alerts::test, "Send a test message to every receiver of alerts"),
    get("/api/alerts/{id}", VIEW, alerts::one, "One open alert"),
    post("/api/alerts/{id}/ack", OPERATE, alerts::acknowledge, "Acknowledge an occurrence of an alert"),
    post("/api/alerts/{id}/snooze", OPERATE, alerts::snooze, "Be not told of an alert for a while"),
    post("/api/stop", OPERATE, stop::everything, "Emergency stop: abort what runs and stop every instrument"),
    get("/api/commands/{id}", VIEW, commands::lookup, "How a command stands"),
    get("/api/system", VIEW, resources::system, "Health of the box, its sources, and what this daemon is"),
    get("/api/config", VIEW, config::read, "The configuration: its text without secrets, and every key"),
    put("/api/config", ADMIN, config::put, "Change the configuration and apply it"),
    get("/api/log", VIEW, log::lines, "Lines of the log, newest first"),
    get("/api/time", VIEW, time::read, "The wall clock: what it says, who vouches for it, its last steps"),
    post("/api/time", ADMIN, time::give, "Take this time while nothing sets the clock"),
    by(Method::Delete, "/api/time", ADMIN, time::give_up, "Give up a time that was given by hand"),
    in_bench(get("/api/bench", VIEW, bench::list, "The simulated sources and their faults")),
    in_bench(post(
        "/api/bench/faults",
        ADMIN,
        bench::fault,
        "Switch a fault of a simulated source on or off",
    )),
    post("/api/telemetry", VIEW, operations::telemetry, "A page reports its reconnects and drops"),
    post("/api/login", None, login::login, "Exchange a key for a cookie"),
    post("/api/logout", None, login::logout, "Forget the cookie"),
    get("/api/openapi.json", None, operations::openapi, "This interface as OpenAPI 3.1"),
    get("/healthz", None, operations::live, "Whether the process serves"),
    get("/readyz", None, operations::ready, "Whether the store answers"),
    get("/metrics", VIEW, operations::metrics, "Counters, in Prometheus text format"),
];

/// Answers a request.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    head: &Head,
    body: &mut Body<'_>,
    peer: SocketAddr,
) -> Result<Answer, Problem> {
    let matching: Vec<(&Route, Vec<&str>)> = ROUTES
        .iter()
        .filter(|route| !route.bench || shared.parts.bench.is_some())
        .filter_map(|route| matches(route.path, &head.path).map(|params| (route, params)))
        .collect();
    if head.method == Method::Options {
        access::admit(shared, head, peer, None)?;
        return Ok(options(shared, head, &matching).into());
    }
    let wanted = if head.method == Method::Head { &Method::Get } else { &head.method };
    match matching.iter().find(|(route, _)| route.method == *wanted) {
        Some((route, params)) => {
            let caller = access::admit(shared, head, peer, route.role)?;
            (route.handler)(&mut Request { shared, head, body, params: params.clone(), peer, caller })
        }
        None => {
            access::admit(shared, head, peer, None)?;
            if let Method::NonStandard(name) = &head.method {
                return Err(problem(
                    501,
                    "unknown_method",
                    "Not implemented",
                    format!("there is no method {:?} here", shown(name.as_str())),
                ));
            }
            if !matching.is_empty() {
                let allowed = allow(&matching);
                return Err(problem(
                    405,
                    "method_not_allowed",
                    "Method not allowed",
                    format!(
                        "{} is not possible on {}; expected {allowed}",
                        head.method,
                        shown(&head.path_text())
                    ),
                )
                .header("Allow", allowed.clone())
                .with("allow", allowed));
            }
            if is_api(head) {
                return Err(problem(
                    404,
                    "unknown_path",
                    "Not found",
                    format!(
                        "there is nothing at {}; /api/openapi.json lists what there is",
                        shown(&head.path_text())
                    ),
                ));
            }
            if *wanted != Method::Get {
                return Err(problem(
                    405,
                    "method_not_allowed",
                    "Method not allowed",
                    format!("{} is not possible on files; expected GET", head.method),
                )
                .header("Allow", "GET, HEAD, OPTIONS"));
            }
            super::assets::serve(shared, head).map(Answer::from)
        }
    }
}

fn is_api(head: &Head) -> bool {
    head.path.first().is_some_and(|s| s == "api")
}

fn allow(matching: &[(&Route, Vec<&str>)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (route, _) in matching {
        let more: &[&str] =
            if route.method == Method::Get { &["GET", "HEAD"] } else { &[route.method.as_str()] };
        names.extend(more.iter().filter(|name| !names.contains(name)).copied().collect::<Vec<_>>());
    }
    names.push("OPTIONS");
    names.join(", ")
}

fn options(shared: &Shared, head: &Head, matching: &[(&Route, Vec<&str>)]) -> Reply {
    let allowed = if matching.is_empty() { "GET, HEAD, POST, OPTIONS".to_string() } else { allow(matching) };
    let reply = Reply::empty(200, 0).header("Allow", allowed.clone());
    if shared.doors.friend(head).is_none() {
        return reply;
    }
    reply
        .header("Access-Control-Allow-Methods", allowed)
        .header("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID")
        .header("Access-Control-Max-Age", "600")
}

/// What stands for each `{...}`, when the path is of that pattern.
fn matches<'p>(pattern: &str, path: &'p [String]) -> Option<Vec<&'p str>> {
    let mut params = Vec::new();
    let mut segments = path.iter();
    for part in pattern.split('/').skip(1) {
        let segment = segments.next()?;
        if part.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            params.push(segment.as_str());
        } else if part != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn patterns_match_whole_paths() {
        let path = |text: &str| text.split('/').map(str::to_string).collect::<Vec<_>>();
        assert_eq!(matches("/api/scans/{id}/data", &path("api/scans/S1/data")), Some(vec!["S1"]));
        assert_eq!(matches("/api/scans/{id}", &path("api/scans/S1/data")), None);
        assert_eq!(matches("/api/scans/{id}", &path("api/scans/")), None);
        assert_eq!(matches("/api/scans", &path("api/scans")), Some(vec![]));
    }

    #[test]
    fn the_api_document_and_the_routes_are_the_same() {
        let document: Value = serde_json::from_str(operations::OPENAPI).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let mut said = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method != "parameters" {
                    assert!(
                        operation["summary"].is_string() && operation["responses"].is_object(),
                        "{method} {path}"
                    );
                    said.insert((method.to_uppercase(), path.clone()));
                }
            }
            for name in path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
                let named = |list: &Value| {
                    list.as_array().is_some_and(|l| l.iter().any(|p| p["name"] == name && p["in"] == "path"))
                };
                assert!(named(&item["parameters"]), "{path} does not describe {name}");
            }
        }
        let there: BTreeSet<_> = ROUTES.iter().map(|r| (r.method.to_string(), r.path.to_string())).collect();
        assert_eq!(there.len(), ROUTES.len(), "a route is there twice");
        assert_eq!(
            said.difference(&there).collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "described, not routed"
        );
        assert_eq!(
            there.difference(&said).collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "routed, not described"
        );
        for route in ROUTES {
            let method = route.method.as_str().to_lowercase();
            assert_eq!(
                document["paths"][route.path][&method]["summary"], route.doc,
                "{method} {}",
                route.path
            );
        }
    }

    #[test]
    fn whatever_changes_something_needs_a_role() {
        for route in ROUTES.iter().filter(|r| r.method != Method::Get) {
            let open = ["/api/login", "/api/logout"].contains(&route.path);
            assert_eq!(route.role.is_none(), open, "{}", route.path);
        }
    }
}
