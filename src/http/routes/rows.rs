//! Rows of scans as programs post them: a point, a batch of columns, an array or lines of either. Pure.
//!
//! What is no finite number becomes null with a quality, as SCPI writes it too; nothing measured is made up.

use super::publish::Wrong;
use crate::clock::Wall;
use crate::http::problem::{Problem, problem, shown};
use crate::limits;
use crate::runner::MEASUREMENT;
use crate::runner::data::Row;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Characters of the name of a measurement or a column.
const NAME: usize = 128;
/// Characters of a value that is text.
const TEXT: usize = 4_096;

/// Rows by measurement, in the order in which the measurements were first named.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: Vec<(String, Vec<Row>)>,
    count: usize,
}

impl Groups {
    /// How many rows.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The rows.
    pub fn into_vec(self) -> Vec<(String, Vec<Row>)> {
        self.groups
    }

    /// Takes one object: a point or a batch. `is_array` says whether a column of a measurement holds arrays.
    pub fn take(
        &mut self,
        object: Map<String, Value>,
        now: Wall,
        is_array: impl Fn(&str, &str) -> bool,
    ) -> Result<(), Wrong> {
        let measurement = match object.get("measurement") {
            None | Some(Value::Null) => MEASUREMENT.to_string(),
            Some(Value::String(name)) if is_name(name) => name.clone(),
            Some(other) => return Err(off("measurement", other, "1 to 128 characters")),
        };
        let Some(Value::Object(data)) = object.get("data") else {
            let said = object.get("data").unwrap_or(&Value::Null);
            return Err(off("data", said, "an object: columns and their values"));
        };
        if data.is_empty() {
            return Err(Wrong::rule("data", "data has no columns; expected at least one"));
        }
        if data.len() > limits::COLUMNS {
            let detail = format!("data has {} columns; at most {}", data.len(), limits::COLUMNS);
            return Err(Wrong::rule("data", detail));
        }
        if let Some(name) = data.keys().find(|name| !is_name(name)) {
            return Err(off("data", &Value::from(name.as_str()), "names of 1 to 128 characters"));
        }
        let batch = match (object.get("sequence_index"), object.get("first_index")) {
            (Some(_), Some(_)) => {
                let detail = "there are both sequence_index and first_index; expected one of them";
                return Err(Wrong::rule("first_index", detail));
            }
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => data.iter().all(|(name, v)| v.is_array() && !is_array(&measurement, name)),
        };
        let rows = if batch { batch_rows(&object, data, now)? } else { vec![row(&object, data, now)?] };
        self.count += rows.len();
        match self.groups.iter().position(|(name, _)| *name == measurement) {
            Some(place) => {
                if let Some((_, group)) = self.groups.get_mut(place) {
                    group.extend(rows);
                }
            }
            None if self.groups.len() >= limits::MEASUREMENTS => {
                let detail = format!("there are more than {} measurements", limits::MEASUREMENTS);
                return Err(Wrong::rule("measurement", detail));
            }
            None => self.groups.push((measurement, rows)),
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= NAME && !name.chars().any(char::is_control)
}

fn off(field: &str, value: &Value, expected: &str) -> Wrong {
    Wrong::rule(field, format!("{field} is {}; expected {expected}", shown(&value.to_string())))
}

fn index(object: &Map<String, Value>, name: &str) -> Result<Option<u64>, Wrong> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        // One row must have a number after it.
        Some(value) => match value.as_u64().filter(|n| *n < u64::MAX / 2) {
            Some(n) => Ok(Some(n)),
            None => Err(off(name, value, "a whole number from 0")),
        },
    }
}

fn time(object: &Map<String, Value>, now: Wall) -> Result<Wall, Wrong> {
    match object.get("timestamp") {
        None | Some(Value::Null) => Ok(now),
        Some(value) => value
            .as_str()
            .and_then(Wall::parse)
            .ok_or_else(|| off("timestamp", value, "RFC 3339 such as 2026-01-07T15:30:00.412Z")),
    }
}

fn seconds(value: &Value) -> Result<f64, Wrong> {
    value.as_f64().filter(|s| *s >= 0.0).ok_or_else(|| off("t_rel", value, "seconds since the scan began"))
}

fn row(object: &Map<String, Value>, data: &Map<String, Value>, now: Wall) -> Result<Row, Wrong> {
    let t_rel = object.get("t_rel").filter(|v| !v.is_null()).map(seconds).transpose()?;
    let mut quality = BTreeMap::new();
    match object.get("quality") {
        None | Some(Value::Null) => {}
        Some(Value::Object(said)) => {
            for (name, word) in said {
                match word.as_str().filter(|w| w.len() <= 64 && w.is_ascii()) {
                    Some("good") => {}
                    Some(word) if data.contains_key(name) => drop(quality.insert(name.clone(), word.into())),
                    _ => return Err(off("quality", word, "such as \"bad/nan\", of a column of this row")),
                }
            }
        }
        Some(other) => return Err(off("quality", other, "an object: columns and their quality")),
    }
    let mut values = BTreeMap::new();
    for (name, value) in data {
        values.insert(name.clone(), judged(name, value, &mut quality)?);
    }
    Ok(Row {
        sequence_index: index(object, "sequence_index")?,
        data: values,
        t_rel,
        timestamp: time(object, now)?,
        quality,
        late_ms: object.get("late_ms").and_then(Value::as_u64),
    })
}

fn batch_rows(object: &Map<String, Value>, data: &Map<String, Value>, now: Wall) -> Result<Vec<Row>, Wrong> {
    let first = index(object, "first_index")?;
    let timestamp = time(object, now)?;
    let mut columns: Vec<(&String, &Vec<Value>)> = Vec::new();
    for (name, value) in data {
        let Value::Array(values) = value else {
            return Err(off("data", value, "an array in each column of a batch"));
        };
        if columns.first().is_some_and(|(_, first)| first.len() != values.len()) {
            let detail = "the columns are not of the same length; expected a value of each row in each";
            return Err(Wrong::rule("data", detail));
        }
        columns.push((name, values));
    }
    let count = columns.first().map_or(0, |(_, values)| values.len());
    let times = match object.get("t_rel") {
        None | Some(Value::Null) => None,
        Some(Value::Array(times)) if times.len() == count => Some(times),
        Some(other) => return Err(off("t_rel", other, "an array with a number for each row")),
    };
    if count > limits::BATCH {
        return Err(Wrong::too_large(format!("the batch has {count} rows; at most {}", limits::BATCH)));
    }
    let mut rows = Vec::with_capacity(count);
    for n in 0..count {
        let (mut values, mut quality) = (BTreeMap::new(), BTreeMap::new());
        for (name, column) in &columns {
            let value = column.get(n).unwrap_or(&Value::Null);
            values.insert((*name).clone(), judged(name, value, &mut quality)?);
        }
        rows.push(Row {
            sequence_index: first.map(|first| first + n as u64),
            data: values,
            t_rel: times.and_then(|times| times.get(n)).filter(|t| !t.is_null()).map(seconds).transpose()?,
            timestamp,
            quality,
            late_ms: None,
        });
    }
    Ok(rows)
}

/// A value as it is kept. SCPI-99 (volume 1, 7.2.1.4 and 7.2.1.5) writes 9.91E37 for "not a number" and 9.9E37 for
/// infinity.
fn judged(name: &str, value: &Value, quality: &mut BTreeMap<String, String>) -> Result<Value, Wrong> {
    match value {
        Value::Null | Value::Bool(_) => Ok(value.clone()),
        Value::Number(number) => {
            let Some(number) = number.as_f64() else { return Ok(value.clone()) };
            let is = |what: f64| (number.abs() / what - 1.0).abs() < 1e-6;
            let why = if is(9.91e37) {
                "bad/nan"
            } else if is(9.9e37) {
                "bad/overrange"
            } else {
                return Ok(value.clone());
            };
            quality.insert(name.to_string(), why.into());
            Ok(Value::Null)
        }
        Value::String(text) if text.chars().count() <= TEXT => Ok(value.clone()),
        Value::Array(numbers) if numbers.iter().all(|n| n.is_number() || n.is_null()) => Ok(value.clone()),
        other => Err(off(
            &format!("data.{name}"),
            other,
            "a number, text of at most 4096 characters, true, false, null, or an array of numbers",
        )),
    }
}

/// A body that is not JSON, with a word for those whose language writes what JSON does not have.
pub(super) fn not_json(body: &[u8], wrong: Problem) -> Problem {
    let has = |word: &[u8]| body.windows(word.len()).any(|w| w == word);
    if has(b"NaN") || has(b"Infinity") {
        let detail = "NaN and Infinity are not JSON; send null (and \"quality\":{\"column\":\"bad/nan\"})";
        return problem(400, "malformed_event", "Malformed event", detail);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn taken(text: &str) -> Result<Vec<(String, Vec<Row>)>, u16> {
        let mut groups = Groups::default();
        let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(400) };
        groups
            .take(object, Wall(1_000), |_, column| column == "spectrum")
            .map_err(|wrong| wrong.at("", 0).status)?;
        Ok(groups.into_vec())
    }

    #[test]
    fn points_and_batches_become_rows() {
        let rows =
            taken(r#"{"data":{"T":4.2,"ok":true,"text":"x","gone":null},"sequence_index":7}"#).unwrap();
        let [(name, rows)] = rows.as_slice() else { panic!() };
        assert_eq!(
            (name.as_str(), rows[0].sequence_index, rows[0].timestamp),
            ("main", Some(7), Wall(1_000))
        );
        assert_eq!(rows[0].data["T"], 4.2);

        let rows = taken(
            r#"{"measurement":"dmm","first_index":100,"data":{"x":[1,2],"y":[3,9.91E37]},"t_rel":[0.5,1]}"#,
        )
        .unwrap();
        let [(name, rows)] = rows.as_slice() else { panic!() };
        assert_eq!((name.as_str(), rows.len(), rows[1].sequence_index), ("dmm", 2, Some(101)));
        assert_eq!(
            (rows[1].t_rel, &rows[1].data["y"], &rows[1].quality["y"]),
            (Some(1.0), &json!(null), &"bad/nan".to_string())
        );

        // Arrays are rows unless the column was declared to hold arrays, or the row says its number.
        assert_eq!(taken(r#"{"data":{"x":[1,2,3]}}"#).unwrap()[0].1.len(), 3);
        assert_eq!(taken(r#"{"data":{"spectrum":[1,2,3]}}"#).unwrap()[0].1.len(), 1);
        assert_eq!(taken(r#"{"sequence_index":0,"data":{"x":[1,2,3]}}"#).unwrap()[0].1.len(), 1);
        assert_eq!(taken(r#"{"data":{"x":1,"y":9.9E37}}"#).unwrap()[0].1[0].quality["y"], "bad/overrange");
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for text in [
            "{}",
            r#"{"data":{}}"#,
            r#"{"data":7}"#,
            r#"{"data":{"x":{}}}"#,
            r#"{"data":{"x":1},"sequence_index":-1}"#,
            r#"{"data":{"x":1},"sequence_index":1.5}"#,
            r#"{"data":{"x":1},"sequence_index":18446744073709551615}"#,
            r#"{"data":{"x":[1]},"first_index":1,"sequence_index":1}"#,
            r#"{"data":{"x":[1],"y":[1,2]}}"#,
            r#"{"data":{"x":[1],"y":2},"first_index":0}"#,
            r#"{"data":{"x":[1,2]},"t_rel":[1]}"#,
            r#"{"data":{"x":1},"t_rel":-1}"#,
            r#"{"data":{"x":1},"timestamp":"yesterday"}"#,
            r#"{"data":{"x":1},"measurement":""}"#,
            r#"{"data":{"x":1},"quality":{"y":"bad/nan"}}"#,
            r#"{"data":{"":1}}"#,
        ] {
            assert_eq!(taken(text).unwrap_err(), 422, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_there_is_no_panic(text in r#"\{"(data|sequence_index|first_index|t_rel)":(\{"x":(\[?-?[0-9]{1,25}\]?|"a"|null)\}|-?[0-9]{1,22}|\[null\])(,"data":\{"x":\[1,null\]\})?\}"#) {
            let _ = taken(&text);
        }
    }
}
