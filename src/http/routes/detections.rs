//! `GET /api/detections`, `/api/summary`, `/api/planograms`: what was seen, summed up, and what should be there.

use super::wrong;
use crate::clock::Wall;
use crate::http::problem::{Problem, problem};
use crate::http::query::{Query, bad};
use crate::http::reply::Reply;
use crate::http::request::{Answer, Request};
use crate::limits;
use crate::model::Detection;
use crate::sheet;
use crate::sources::detections::index::Filter;
use crate::sources::detections::planogram::{Row, read_csv, write_csv};
use crate::sources::detections::{Detections, PlanogramError};
use crate::store::StoreError;
use serde::Deserialize;
use serde_json::json;
use std::io::{self, Write};
use std::sync::Arc;

/// Rows of CSV that are in memory at a time.
const CSV_PAGE: usize = 500;
const COLUMNS: [&str; 14] = [
    "timestamp",
    "label",
    "sku",
    "location",
    "confidence",
    "x",
    "y",
    "w",
    "h",
    "source",
    "model",
    "detection_id",
    "frame",
    "image_url",
];
const FILTER: [&str; 7] = ["sku", "label", "location", "source", "from", "to", "min_confidence"];

fn filter(query: &Query) -> Result<Filter, Problem> {
    let text = |name: &str| query.value(name).filter(|v| !v.is_empty()).map(str::to_string);
    let time = |name: &str| match text(name) {
        None => Ok(None),
        Some(value) => match Wall::parse(&value) {
            Some(at) => Ok(Some(at)),
            None => Err(bad(name, &value, "a time such as 2026-01-07T15:30:00.000Z")),
        },
    };
    let min_confidence = match text("min_confidence") {
        None => None,
        Some(value) => match value.parse::<f64>() {
            Ok(number) if (0.0..=1.0).contains(&number) => Some(number),
            _ => return Err(bad("min_confidence", &value, "a number from 0 to 1")),
        },
    };
    Ok(Filter {
        sku: text("sku"),
        label: text("label"),
        location: text("location"),
        source: text("source"),
        from: time("from")?,
        to: time("to")?,
        min_confidence,
    })
}

fn number(query: &Query, name: &str, most: u64) -> Result<Option<u64>, Problem> {
    match query.value(name) {
        None | Some("") => Ok(None),
        Some(value) => match value.parse::<u64>() {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(bad(name, value, &format!("a whole number from 1 to {most}"))),
        },
    }
}

fn unreadable(e: StoreError) -> Problem {
    problem(503, "store_unreadable", "The store can't be read", e.to_string()).retry_after(5)
}

/// `GET /api/detections`: the newest first.
pub(crate) fn list(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let known: Vec<&str> = FILTER.iter().copied().chain(["limit", "cursor"]).collect();
    let query = Query::read(&request.head.query, &known)?;
    let filter = filter(&query)?;
    let most = number(&query, "limit", 1_000)?.unwrap_or(100) as usize;
    let before = number(&query, "cursor", u64::MAX)?;
    let detections = &request.shared.parts.detections;
    let (items, more) = detections.list(&filter, before, most).map_err(unreadable)?;
    let next = if more { items.last().map(|(seq, _)| seq.to_string()) } else { None };
    let body = json!({
        "items": items.iter().map(|(_, detection)| detection).collect::<Vec<_>>(),
        "next": next,
        "total": detections.summary(&filter).total,
        "complete": detections.is_loaded(),
    });
    Ok(Reply::json(200, &body).into())
}

/// `GET /api/detections.csv`: all that match, at most as many as are remembered, the newest first.
pub(crate) fn csv(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &FILTER)?;
    let filter = filter(&query)?;
    let detections = Arc::clone(&request.shared.parts.detections);
    // A page at a time: what is read is let go of before it is sent.
    let body = Box::new(move |out: &mut dyn Write| {
        let mut before = None;
        let mut page = csv::Writer::from_writer(Vec::new());
        // Into memory: can't fail.
        let _ = page.write_record(COLUMNS);
        loop {
            let (items, more) = detections.list(&filter, before, CSV_PAGE).map_err(io::Error::other)?;
            before = items.last().map(|(seq, _)| *seq);
            for (_, detection) in &items {
                let _ = page.write_record(cells(detection));
            }
            out.write_all(&page.into_inner().unwrap_or_default())?;
            if !more || before.is_none() {
                return Ok(());
            }
            page = csv::Writer::from_writer(Vec::new());
        }
    });
    let reply = Reply::written(200, "text/csv; charset=utf-8", None, body)
        .header("Content-Disposition", "attachment; filename=\"detections.csv\"");
    Ok(reply.into())
}

fn cells(d: &Detection) -> [String; 14] {
    let part = |pick: fn(&crate::model::BoundingBox) -> f64| {
        d.bounding_box.as_ref().map(|b| pick(b).to_string()).unwrap_or_default()
    };
    let text = |text: &str| sheet::cell(text).into_owned();
    let word = |w: &Option<String>| text(w.as_deref().unwrap_or_default());
    [
        d.timestamp.rfc3339(),
        text(&d.label),
        word(&d.sku),
        word(&d.location),
        d.confidence.to_string(),
        part(|b| b.x),
        part(|b| b.y),
        part(|b| b.w),
        part(|b| b.h),
        word(&d.source),
        word(&d.model),
        text(&d.detection_id),
        word(&d.frame),
        word(&d.image_url),
    ]
}

/// `GET /api/summary`.
pub(crate) fn summary(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &FILTER)?;
    let filter = filter(&query)?;
    let detections = &request.shared.parts.detections;
    let mut body = serde_json::to_value(detections.summary(&filter)).unwrap_or_default();
    let (planogram, discrepancies) = detections.planogram();
    let here = |location: &str| filter.location.as_ref().is_none_or(|wanted| wanted == location);
    if let Some(body) = body.as_object_mut() {
        let discrepancies: Vec<_> = discrepancies.into_iter().filter(|d| here(&d.location)).collect();
        body.insert("discrepancies".into(), json!(discrepancies));
        body.insert("planogram_revision".into(), planogram.revision.into());
        body.insert("updated".into(), json!(Wall::now()));
        body.insert("complete".into(), detections.is_loaded().into());
    }
    Ok(Reply::json(200, &body).into())
}

/// `GET /api/planograms`, as JSON or CSV.
pub(crate) fn planogram(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    let query = Query::read(&request.head.query, &["format"])?;
    let (planogram, discrepancies) = request.shared.parts.detections.planogram();
    match query.value("format").unwrap_or("json") {
        "json" => {
            let mut body = serde_json::to_value(&planogram).unwrap_or_default();
            if let Some(body) = body.as_object_mut() {
                body.insert("discrepancies".into(), json!(discrepancies));
            }
            Ok(Reply::json(200, &body).into())
        }
        "csv" => Ok(Reply::new(200, "text/csv; charset=utf-8", write_csv(&planogram.items).into_bytes())
            .header("Content-Disposition", "attachment; filename=\"planogram.csv\"")
            .into()),
        other => Err(bad("format", other, "json or csv")),
    }
}

/// `PUT /api/planograms`: the whole of it, as `{"items":[...],"if_revision":n}` or as CSV (Content-Type text/csv).
pub(crate) fn plan(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    #[derive(Deserialize)]
    struct Body {
        items: Vec<Row>,
        if_revision: Option<u64>,
    }
    Query::read(&request.head.query, &[])?;
    let is_csv =
        request.head.header("content-type").is_some_and(|t| t.to_ascii_lowercase().starts_with("text/csv"));
    let bytes = request.body.whole(limits::BODY_BYTES, &request.shared.bodies)?;
    let refused = |why: String| problem(422, "invalid_planogram", "Invalid planogram", why);
    let Body { items, if_revision } = if is_csv {
        let text = std::str::from_utf8(&bytes).map_err(|e| refused(format!("it is not UTF-8: {e}")))?;
        Body { items: read_csv(text).map_err(refused)?, if_revision: None }
    } else {
        serde_json::from_slice(&bytes).map_err(|e| {
            problem(400, "malformed_planogram", "Malformed planogram", format!("{e}; expected {{\"items\":[{{\"location\",\"sku\",\"expected\"}}]}}, or CSV with Content-Type text/csv"))
        })?
    };
    match request.shared.parts.detections.plan(items, if_revision) {
        Ok(planogram) => Ok(Reply::json(200, &planogram).into()),
        Err(PlanogramError::Wrong(why)) => Err(refused(why)),
        Err(PlanogramError::Changed(revision)) => Err(problem(
            409,
            "revision",
            "Changed meanwhile",
            format!("if_revision is {}; the revision is {revision}", if_revision.unwrap_or_default()),
        )
        .with("revision", revision)),
        Err(PlanogramError::Store(e)) => Err(unreadable(e)),
    }
}

/// `POST /api/detections/failed`: a vision process could not look: `{"source","reason","location"?}`; or it looked and saw
/// nothing: `POST /api/detections/nothing` `{"location","source"?,"frame"?,"timestamp"?}`.
pub(crate) fn outcome(request: &mut Request<'_, '_>) -> Result<Answer, Problem> {
    #[derive(Deserialize)]
    struct Body {
        source: Option<String>,
        reason: Option<String>,
        location: Option<String>,
        frame: Option<String>,
        timestamp: Option<Wall>,
    }
    Query::read(&request.head.query, &[])?;
    let failed = request.head.path.get(2).is_some_and(|word| word == "failed");
    let bytes = request.body.whole(limits::SMALL_BODY, &request.shared.bodies)?;
    let body: Body = serde_json::from_slice(&bytes)
        .map_err(|e| problem(400, "malformed_body", "Malformed body", e.to_string()))?;
    let detections: &Detections = &request.shared.parts.detections;
    if failed {
        let Some(source) = body.source.filter(|s| crate::model::Topic::of("stream", s).is_ok()) else {
            return Err(wrong("source", &json!(null), "the id of the vision process"));
        };
        detections.failed(
            &source,
            body.reason.as_deref().unwrap_or("no reason was given"),
            body.location.as_deref(),
        );
    } else {
        let Some(location) = body.location.filter(|l| !l.is_empty() && l.len() <= 64) else {
            return Err(wrong("location", &json!(null), "where was looked, 1 to 64 bytes"));
        };
        detections.saw_nothing(&location, body.frame, body.timestamp.unwrap_or_else(Wall::now));
    }
    let body = json!({ "accepted": 1, "cursor": request.shared.parts.bus.head() });
    Ok(Reply::json(202, &body).into())
}
