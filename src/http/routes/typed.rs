//! The typed conveniences: `POST /api/recorders/{id}/state` and its like. A table, and samples beside it: the id comes from
//! the path, a missing time is now, and what has one sensible value when it is missing gets it. Nothing measured is
//! ever made up: numbers that only the publisher can know stay mandatory, save counts, which telltale then keeps.
//! What is said of a recorder or a job goes through its keeper, which adds what it knows and notices silence.

use super::publish::{Shape, Sum, Wish, Wrong, finish, finish_with, shape};
use crate::clock::Wall;
use crate::http::problem::{Problem, problem};
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::{Draft, DraftError, StreamValue};
use crate::sources::signals::{NotFilled, Session};
use crate::sources::streams::Streams;
use crate::sources::{JobRefused, NotTaken};
use serde_json::{Map, Value, json};

/// What a row fills in; gives the event type. `now` is RFC 3339.
type Fill = fn(&mut Map<String, Value>, id: &str, now: &str, &mut Books<'_>) -> Result<&'static str, Wrong>;

/// What is counted for publishers.
struct Books<'a> {
    streams: Option<&'a Streams>,
}

struct Row {
    /// The resource, as in the path.
    kind: &'static str,
    id_field: &'static str,
    fill: Fill,
}

static ROWS: [Row; 5] = [
    Row { kind: "detections", id_field: "", fill: detection },
    Row { kind: "recorders", id_field: "recorder_id", fill: recorder },
    Row { kind: "instruments", id_field: "instrument_id", fill: instrument },
    Row { kind: "jobs", id_field: "job_id", fill: job },
    Row { kind: "streams", id_field: "stream_id", fill: stream },
];

pub(crate) fn publish(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let wish = Wish::read(request.head)?;
    let kind = request.head.path.get(1).map_or("", String::as_str);
    if kind == "signals" {
        return samples(request, &wish);
    }
    let Some(row) = ROWS.iter().find(|row| row.kind == kind) else {
        return Err(problem(404, "unknown_path", "Not found", "there is no such kind"));
    };
    let id = request.param(0).to_string();
    let body = request.body.whole(limits::BODY_BYTES, &request.shared.bodies)?;
    let now = Wall::now().rfc3339();
    let mut books = Books { streams: Some(&request.shared.parts.streams) };
    let parts = &request.shared.parts;
    let mut sum = Sum::new(request.shared);
    match kind {
        "recorders" => {
            let all = each(&body, |text| Ok(payload(row, &id, &now, text, &mut books)?.1))?;
            let publish = |drafts| sum.publish(drafts, wish.key.as_deref());
            parts.recorders.post(&id, all, publish).map_err(|why| match why {
                NotTaken::Wrong(e) => wrong(e),
                NotTaken::Full => too_many(422, "recorders", limits::RECORDERS),
            })??;
            return finish(&wish, &sum);
        }
        "jobs" => {
            let all = each(&body, |text| serde_json::from_slice(text).map_err(|e| Wrong::json(&e)))?;
            let publish = |drafts| sum.publish(drafts, wish.key.as_deref());
            let (published, cancel) = parts.jobs.post(&id, all, publish).map_err(|why| match why {
                JobRefused::Wrong(e) => wrong(e),
                JobRefused::Full => too_many(503, "jobs", limits::JOBS).retry_after(60),
            })?;
            published?;
            return finish_with(&wish, &sum, if cancel { ",\"cancel\":true" } else { "" });
        }
        _ => {}
    }
    let drafts = each(&body, |text| draft(row, &id, &now, text, &mut books))?;
    sum.publish(drafts, wish.key.as_deref())?;
    finish(&wish, &sum)
}

/// Samples are numbered, judged and counted with those before them; all of a body or none.
fn samples(request: &mut Request<'_, '_>, wish: &Wish) -> Result<Answer, Problem> {
    let body = request.body.whole(limits::BODY_BYTES, &request.shared.bodies)?;
    let id = request.param(0);
    // Others wait for it, so it begins when the body is there.
    let mut session = request.shared.parts.signals.session();
    let drafts = each(&body, |text| signal(text, id, &mut session))?;
    let mut sum = Sum::new(request.shared);
    sum.publish(drafts.into_iter().flatten().collect(), wish.key.as_deref())?;
    // What was published before under the same key is not counted twice.
    if sum.is_new() {
        session.keep();
    }
    finish(wish, &sum)
}

/// What each object of a body becomes.
fn each<T>(body: &[u8], mut one: impl FnMut(&[u8]) -> Result<T, Wrong>) -> Result<Vec<T>, Problem> {
    let mut placed =
        |text: &[u8], place: &str, number: usize| one(text).map_err(|wrong| wrong.at(place, number));
    match shape(body)? {
        Shape::One(text) => Ok(vec![placed(text, "", 0)?]),
        Shape::Array(items) => {
            items.iter().enumerate().map(|(n, item)| placed(item.get().as_bytes(), "index", n)).collect()
        }
        Shape::Lines => {
            let lines = body.split(|b| *b == b'\n').enumerate().filter(|(_, l)| !l.trim_ascii().is_empty());
            lines.map(|(n, line)| placed(line, "line", n + 1)).collect()
        }
    }
}

fn wrong(e: DraftError) -> Problem {
    Wrong::from(e).at("", 0)
}

fn too_many(status: u16, what: &str, most: usize) -> Problem {
    problem(
        status,
        "too_many_ids",
        "Too many ids",
        format!("there are {most} {what} already; at most that many"),
    )
}

fn payload(
    row: &Row,
    id: &str,
    now: &str,
    text: &[u8],
    books: &mut Books<'_>,
) -> Result<(&'static str, Map<String, Value>), Wrong> {
    let mut payload: Map<String, Value> = serde_json::from_slice(text).map_err(|e| Wrong::json(&e))?;
    if !row.id_field.is_empty() {
        payload.insert(row.id_field.into(), id.into());
    }
    let kind = (row.fill)(&mut payload, id, now, books)?;
    Ok((kind, payload))
}

fn draft(row: &Row, id: &str, now: &str, text: &[u8], books: &mut Books<'_>) -> Result<Draft, Wrong> {
    let (kind, payload) = payload(row, id, now, text, books)?;
    Ok(Draft::checked(kind, None, Value::Object(payload))?)
}

fn default(payload: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    payload.entry(name).or_insert_with(|| value.into());
}

fn detection(
    payload: &mut Map<String, Value>,
    _: &str,
    now: &str,
    _: &mut Books<'_>,
) -> Result<&'static str, Wrong> {
    default(payload, "timestamp", now);
    if !payload.contains_key("detection_id") {
        let mut id = [0; 8];
        // Without random numbers the time has to do.
        let _ = getrandom::fill(&mut id);
        default(
            payload,
            "detection_id",
            format!("{}-{}", now.replace([':', '.'], ""), crate::keys::hex(&id)),
        );
    }
    fractions(payload)?;
    Ok("detection")
}

fn recorder(
    payload: &mut Map<String, Value>,
    id: &str,
    now: &str,
    _: &mut Books<'_>,
) -> Result<&'static str, Wrong> {
    default(payload, "name", id);
    default(payload, "timestamp", now);
    Ok("recorder_status")
}

/// A box in pixels becomes one in fractions, where the size of the image is said: `"image":{"w":1280,"h":720}`.
fn fractions(payload: &mut Map<String, Value>) -> Result<(), Wrong> {
    let image = payload.remove("image");
    let Some(shape) = payload.get_mut("box").filter(|b| !b.is_null()) else { return Ok(()) };
    let wrong = |detail: String| Wrong::rule("box", detail);
    if let Value::Array(sides) = shape {
        let [x, y, w, h] = sides.as_slice() else {
            return Err(wrong(format!("box has {} numbers; expected x, y, w, h", sides.len())));
        };
        *shape = json!({ "x": x, "y": y, "w": w, "h": h });
    }
    let side = |shape: &Value, name: &str| shape.get(name).and_then(Value::as_f64);
    let size = match &image {
        None | Some(Value::Null) => (1.0, 1.0),
        Some(image) => match (side(image, "w"), side(image, "h")) {
            (Some(w), Some(h)) if w >= 1.0 && h >= 1.0 => (w, h),
            _ => {
                let detail =
                    format!("image is {image}; expected its size in pixels: {{\"w\":1280,\"h\":720}}");
                return Err(Wrong::rule("image", detail));
            }
        },
    };
    for (name, whole) in [("x", size.0), ("y", size.1), ("w", size.0), ("h", size.1)] {
        let part = side(shape, name).map(|part| part / whole);
        match part.filter(|part| (-1e-6..=1.0 + 1e-6).contains(part)) {
            Some(part) => shape[name] = ((part.clamp(0.0, 1.0) * 1e6).round() / 1e6).into(),
            None => {
                return Err(wrong(format!(
                    "box.{name} is {}; expected 0 to 1, or pixels with \"image\":{{\"w\":...,\"h\":...}}",
                    shape.get(name).unwrap_or(&Value::Null)
                )));
            }
        }
    }
    Ok(())
}

/// A channel may be a bare number or text; otherwise what is missing of its quality and times is filled in.
fn instrument(
    payload: &mut Map<String, Value>,
    id: &str,
    now: &str,
    _: &mut Books<'_>,
) -> Result<&'static str, Wrong> {
    default(payload, "instrument_name", id);
    default(payload, "status", "connected");
    default(payload, "timestamp", now);
    let at = payload.get("timestamp").cloned().unwrap_or(Value::Null);
    if let Some(Value::Object(channels)) = payload.get_mut("channels") {
        for channel in channels.values_mut() {
            if !channel.is_object() {
                let bare = channel.take();
                *channel = if bare.is_string() {
                    json!({ "value": null, "text": bare })
                } else {
                    json!({ "value": bare })
                };
            }
            if let Value::Object(channel) = channel {
                default(channel, "value", Value::Null);
                let known =
                    channel.get("value").is_some_and(|v| !v.is_null()) || channel.contains_key("text");
                default(channel, "quality", if known { "good" } else { "bad" });
                default(channel, "last_changed", at.clone());
                default(channel, "last_updated", at.clone());
            }
        }
    }
    Ok("instrument_status")
}

/// Its keeper fills in what is missing.
fn job(_: &mut Map<String, Value>, _: &str, _: &str, _: &mut Books<'_>) -> Result<&'static str, Wrong> {
    Ok("job_status")
}

fn stream(
    payload: &mut Map<String, Value>,
    _: &str,
    now: &str,
    books: &mut Books<'_>,
) -> Result<&'static str, Wrong> {
    if payload.contains_key("status") && !payload.contains_key("value") {
        return Ok("stream_status");
    }
    default(payload, "unit", Value::Null);
    default(payload, "timestamp", now);
    let known = payload.get("value").is_some_and(|v| !v.is_null());
    default(payload, "quality", if known { "good" } else { "bad" });
    // What is no value is told by the check of the draft.
    if let Some(streams) = books.streams
        && let Ok(mut value) = serde_json::from_value::<StreamValue>(Value::Object(payload.clone()))
    {
        streams.judge(&mut value);
        for (name, judged) in [
            ("unit", json!(value.unit)),
            ("limits", json!(value.limits)),
            ("severity", json!(value.severity)),
        ] {
            if !judged.is_null() {
                payload.insert(name.into(), judged);
            }
        }
    }
    Ok("stream_value")
}

/// The events of one object: samples, or the status of a signal.
fn signal(text: &[u8], id: &str, session: &mut Session<'_>) -> Result<Vec<Draft>, Wrong> {
    let mut payload: Map<String, Value> = serde_json::from_slice(text).map_err(|e| Wrong::json(&e))?;
    payload.insert("signal_id".into(), id.into());
    if !payload.get("events").is_some_and(Value::is_array) {
        return Ok(vec![Draft::checked("signal_status", None, Value::Object(payload))?]);
    }
    session.fill(id, payload, Wall::now()).map_err(|why| match why {
        NotFilled::Wrong(why) => Wrong::rule("events", why),
        NotFilled::TooMany => Wrong::too_large(format!(
            "there are more than {} samples in one request; send the rest in another",
            limits::SIGNAL_POST
        )),
        NotFilled::Draft(e) => e.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Bus, Start};
    use crate::metrics::Metrics;
    use crate::sources::signals::Signals;
    use std::sync::Arc;

    fn made(kind: &str, text: &str) -> Result<(String, Value), u16> {
        let draft = match ROWS.iter().find(|r| r.kind == kind) {
            Some(row) => {
                let mut books = Books { streams: None };
                draft(row, "x1", "2026-01-07T15:30:00.000Z", text.as_bytes(), &mut books)
            }
            None => {
                let start = Start { epoch: 1, ..Start::default() };
                let signals = Signals::alone(Arc::new(Bus::new(start, Arc::new(Metrics::default()))));
                let drafts = signal(text.as_bytes(), "x1", &mut signals.session());
                drafts.map(|drafts| drafts.into_iter().next().unwrap())
            }
        };
        let draft = draft.map_err(|w| w.at("", 0).status)?;
        Ok((draft.topic().to_string(), serde_json::from_str(&draft.payload).unwrap()))
    }

    #[test]
    fn little_is_enough() {
        let of = |kind: &str, text: &str| made(kind, text).unwrap_or_else(|s| panic!("{kind} {text}: {s}"));
        assert_eq!(of("recorders", r#"{"status":"idle"}"#).1["name"], "x1");
        let (topic, value) =
            of("instruments", r#"{"channels":{"t":21.5,"mode":"auto","x":{"value":null},"y":null}}"#);
        assert_eq!(topic, "instrument/x1");
        assert_eq!(
            (
                &value["channels"]["t"]["quality"],
                &value["channels"]["x"]["quality"],
                &value["channels"]["mode"]["text"]
            ),
            (&json!("good"), &json!("bad"), &json!("auto"))
        );
        assert_eq!(of("streams", r#"{"value":3}"#).1["quality"], "good");
        assert_eq!(of("streams", r#"{"status":"offline"}"#).1["reconnects"], Value::Null);
        assert_eq!(of("detections", r#"{"label":"can","confidence":0.9}"#).0, "detections");
        let boxed = |text: &str| of("detections", text).1["box"].clone();
        let half = json!({ "x": 0.5, "y": 0.25, "w": 0.1, "h": 0.5 });
        assert_eq!(
            boxed(
                r#"{"label":"can","confidence":1,"box":{"x":640,"y":180,"w":128,"h":360},"image":{"w":1280,"h":720}}"#
            ),
            half
        );
        assert_eq!(boxed(r#"{"label":"can","confidence":1,"box":[0.5,0.25,0.1,0.5]}"#), half);
        assert_eq!(
            of("signals", r#"{"events":[1,{"value":2,"anomaly":true}]}"#).1["totals"],
            json!({ "events": 2, "anomalies": 1 })
        );
    }

    #[test]
    fn what_only_the_publisher_knows_is_not_made_up() {
        for (kind, text, status) in [
            ("recorders", "{}", 422),
            ("recorders", r#"{"status":"singing"}"#, 422),
            ("streams", "{}", 422),
            ("detections", r#"{"label":"can"}"#, 422),
            ("detections", r#"{"label":"can","confidence":1,"box":[640,180,128,360]}"#, 422),
            ("detections", r#"{"label":"can","confidence":1,"box":[1,2]}"#, 422),
            ("detections", r#"{"label":"can","confidence":1,"box":[1,2,3,4],"image":{"w":0}}"#, 422),
            ("signals", "{}", 422),
            ("instruments", r#"{"status":"x"}"#, 422),
            ("jobs", "{", 400),
        ] {
            assert_eq!(made(kind, text).unwrap_err(), status, "{kind} {text}");
        }
    }
}
