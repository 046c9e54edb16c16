//! Rows as events and back: `data_point` for one, `data_batch` for several. Pure.

use crate::clock::Wall;
use crate::limits;
use crate::model::{Class, DataBatch, DataPoint, Draft, Topic};
use crate::runner::data::Row;
use crate::store::{Cell, Chunk, Label};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Text of rows in one `data_batch`, about: with one row more it still fits into an event.
const BATCH_BYTES: usize = limits::ROW_BYTES / 2;
/// Rows in one `data_batch`.
const BATCH_ROWS: usize = 1_000;

/// A piece of rows that is one event, and the index after its last row.
pub(super) struct Frame {
    pub draft: Draft,
    pub end: u64,
}

/// The events of rows, in order.
pub(super) fn frames(topic: &Topic, scan: &str, measurement: &str, rows: &Chunk) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut from = 0;
    while from < rows.len() {
        let (mut to, mut bytes) = (from, 0);
        while to < rows.len() && to - from < BATCH_ROWS {
            let row = row_bytes(rows, to);
            if to > from && bytes + row > BATCH_BYTES {
                break;
            }
            bytes += row;
            to += 1;
        }
        let part = rows.part(rows.first + from as u64, rows.first + to as u64);
        let (kind, payload) = if part.len() == 1 {
            ("data_point", point_text(scan, measurement, &part, 0))
        } else {
            ("data_batch", batch_text(scan, measurement, &part))
        };
        frames.push(Frame { draft: draft(kind, topic, payload), end: part.end() });
        from = to;
    }
    frames
}

/// Our own text, of checked parts: it needs no check.
fn draft(kind: &str, topic: &Topic, payload: String) -> Draft {
    Draft {
        kind: kind.into(),
        class: Class::Record,
        topic: topic.clone(),
        key: None,
        global: false,
        payload: payload.into(),
        urgent: false,
        open: None,
        producer: None,
    }
}

/// About how long the text of a row is.
fn row_bytes(rows: &Chunk, row: usize) -> usize {
    let label = rows.labels.get(row).and_then(|l| l.quality.as_ref()).map_or(0, |q| q.len());
    let cell = |cells: &[Cell]| match cells.get(row) {
        Some(Cell::Json(text)) => text.len() + 1,
        _ => 24,
    };
    label + 60 + rows.columns.iter().map(|(_, cells)| cell(cells)).sum::<usize>()
}

/// A name or text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// A finite number as JSON, else null.
pub(super) fn number(x: f64) -> String {
    Cell::Float(x).text().into_owned()
}

/// The payload of a `data_point`.
pub(super) fn point_text(scan: &str, measurement: &str, rows: &Chunk, row: usize) -> String {
    let mut text = format!(
        "{{\"scan_id\":{},\"measurement\":{},\"sequence_index\":{},\"data\":{{",
        quoted(scan),
        quoted(measurement),
        rows.first + row as u64
    );
    for (n, (name, cells)) in rows.columns.iter().enumerate() {
        let cell = cells.get(row).unwrap_or(&Cell::Null);
        let _ = write!(text, "{}{}:{}", if n > 0 { "," } else { "" }, quoted(name), cell.text());
    }
    text.push('}');
    if let Some(label) = rows.labels.get(row) {
        if let Some(t) = label.t_rel {
            let _ = write!(text, ",\"t_rel\":{}", number(t));
        }
        let _ = write!(text, ",\"timestamp\":\"{}\"", label.at.rfc3339());
        if let Some(quality) = &label.quality {
            let _ = write!(text, ",\"quality\":{quality}");
        }
        if let Some(late) = label.late_ms {
            let _ = write!(text, ",\"late_ms\":{late}");
        }
    }
    text.push('}');
    text
}

/// The payload of a `data_batch`.
pub(super) fn batch_text(scan: &str, measurement: &str, rows: &Chunk) -> String {
    let mut text = format!(
        "{{\"scan_id\":{},\"measurement\":{},\"first_index\":{},\"data\":{{",
        quoted(scan),
        quoted(measurement),
        rows.first
    );
    for (n, (name, cells)) in rows.columns.iter().enumerate() {
        let _ = write!(text, "{}{}:[", if n > 0 { "," } else { "" }, quoted(name));
        list(&mut text, cells.iter().map(Cell::text));
        text.push(']');
    }
    text.push('}');
    if rows.labels.iter().any(|l| l.t_rel.is_some()) {
        text.push_str(",\"t_rel\":[");
        list(&mut text, rows.labels.iter().map(|l| l.t_rel.map_or("null".to_string(), number)));
        text.push(']');
    }
    if let Some(first) = rows.labels.first() {
        let after = |at: Wall| (i128::from(at.0) - i128::from(first.at.0)).to_string();
        let _ = write!(text, ",\"timestamp\":\"{}\",\"after_ms\":[", first.at.rfc3339());
        list(&mut text, rows.labels.iter().map(|l| after(l.at)));
        text.push(']');
    }
    let index = |n: usize| rows.first + n as u64;
    let some = |name: &str, of: &dyn Fn(&Label) -> Option<String>, text: &mut String| {
        let mut any = false;
        for (n, label) in rows.labels.iter().enumerate() {
            let Some(value) = of(label) else { continue };
            let before = if any { ",".to_string() } else { format!(",\"{name}\":{{") };
            let _ = write!(text, "{before}\"{}\":{value}", index(n));
            any = true;
        }
        if any {
            text.push('}');
        }
    };
    some("quality", &|l| l.quality.as_ref().map(|q| q.to_string()), &mut text);
    some("late_ms", &|l| l.late_ms.map(|ms| ms.to_string()), &mut text);
    text.push('}');
    text
}

fn list<T: AsRef<str>>(text: &mut String, items: impl Iterator<Item = T>) {
    for (n, item) in items.enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(item.as_ref());
    }
}

/// The rows of an event, with its scan and measurement; none when it is not one of rows.
pub(super) fn read(kind: &str, payload: &str, published: Wall) -> Option<(String, String, Vec<Row>)> {
    match kind {
        "data_point" => {
            let p: DataPoint = serde_json::from_str(payload).ok()?;
            let row = Row {
                sequence_index: Some(p.sequence_index),
                data: p.data,
                t_rel: p.t_rel,
                timestamp: p.timestamp.unwrap_or(published),
                quality: p.quality,
                late_ms: p.late_ms,
            };
            Some((p.scan_id, p.measurement, vec![row]))
        }
        "data_batch" => {
            let mut b: DataBatch = serde_json::from_str(payload).ok()?;
            let count = b.data.values().map(Vec::len).max().unwrap_or(0);
            let begin = b.timestamp.unwrap_or(published);
            let rows = (0..count).map(|n| {
                let index = b.first_index + n as u64;
                let after = b.after_ms.get(n).copied().unwrap_or(0);
                Row {
                    sequence_index: Some(index),
                    data: b
                        .data
                        .iter_mut()
                        .filter_map(|(name, cells)| Some((name.clone(), cells.get_mut(n)?.take())))
                        .collect(),
                    t_rel: b.t_rel.get(n).copied().flatten(),
                    timestamp: Wall(begin.0.saturating_add_signed(after)),
                    quality: b.quality.remove(&index).unwrap_or_default(),
                    late_ms: b.late_ms.get(&index).copied(),
                }
            });
            let rows = rows.collect();
            Some((b.scan_id, b.measurement, rows))
        }
        _ => None,
    }
}

/// What a row has besides its values, as it is kept.
pub(super) fn label(row: &Row) -> Label {
    let quality = (!row.quality.is_empty())
        .then(|| serde_json::to_string(&row.quality).unwrap_or_else(|_| "{}".into()).into());
    Label {
        at: Wall(row.timestamp.0.min(253_402_300_799_999)),
        t_rel: row.t_rel.filter(|t| t.abs() < 1e12),
        late_ms: row.late_ms,
        quality,
    }
}

/// A row of a chunk as it came.
pub fn row(rows: &Chunk, place: usize) -> Option<Row> {
    let label = rows.labels.get(place)?;
    let data: BTreeMap<String, Json> = rows
        .columns
        .iter()
        .map(|(name, cells)| (name.to_string(), cells.get(place).map_or(Json::Null, Cell::json)))
        .collect();
    Some(Row {
        sequence_index: Some(rows.first + place as u64),
        data,
        t_rel: label.t_rel,
        timestamp: label.at,
        quality: rows.quality(place),
        late_ms: label.late_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows(count: u64) -> Chunk {
        let mut chunk = Chunk::at(10);
        for n in 0..count {
            let label = Label {
                at: Wall(1_767_799_800_000 + n * 7),
                t_rel: (n % 2 == 0).then_some(n as f64 / 4.0),
                late_ms: (n == 1).then_some(12),
                quality: (n == 2).then(|| "{\"v\":\"bad/nan\"}".into()),
            };
            let cells = [json!(n as f64 / 3.0), json!("a \"b\"\n"), json!([1, 2.5, null]), json!(null)];
            let names = ["v", "text", "array", "odd \"name\""];
            chunk.push(label, names.into_iter().zip(cells.iter().map(Cell::of)));
        }
        chunk
    }

    #[test]
    fn events_have_all_that_rows_have() {
        let topic = Topic::parse("scan/S1").unwrap();
        for count in [1, 2, 5, 2_500] {
            let all = rows(count);
            let mut back = Chunk::at(10);
            for frame in frames(&topic, "S1", "main", &all) {
                let kind = frame.draft.kind.to_string();
                assert_eq!(kind == "data_point", count == 1);
                // What anybody may publish is what we publish.
                let payload: Json = serde_json::from_str(&frame.draft.payload).unwrap();
                Draft::checked(&kind, None, payload).unwrap();
                let (scan, measurement, rows) = read(&kind, &frame.draft.payload, Wall(0)).unwrap();
                assert_eq!((scan.as_str(), measurement.as_str()), ("S1", "main"));
                for row in rows {
                    assert_eq!(row.sequence_index, Some(back.end()));
                    let cells: Vec<_> =
                        all.columns.iter().map(|(name, _)| (&**name, Cell::of(&row.data[&**name]))).collect();
                    back.push(label(&row), cells);
                }
                assert_eq!(frame.end, back.end());
            }
            assert_eq!(back, all);
        }
    }
}
