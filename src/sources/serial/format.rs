//! A line into readings: JSON, separated values or a regular expression with named groups. Pure.
//!
//! With a map, only what it names is taken and a member that a line lacks is skipped; a line in which nothing of it
//! is found is a bad line. Without one, everything is taken under its own name.

use crate::config::{LineFormat, Mapping};
use crate::limits;
use crate::model::QualityReason;
use crate::sources::reading::{Reading, Value};
use regex_lite::Regex;
use serde_json::Value as Json;

/// Reads the lines of one port.
#[derive(Debug)]
pub struct LineParser {
    format: Format,
    map: Vec<Mapping>,
}

#[derive(Debug)]
enum Format {
    Json,
    Csv(u8),
    Regex(Box<Regex>),
}

impl LineParser {
    /// # Errors
    /// One sentence, when the separator or the expression can't be used.
    pub fn new(format: &LineFormat, map: &[Mapping]) -> Result<Self, String> {
        let format = match format {
            LineFormat::Json => Format::Json,
            LineFormat::Csv { separator } => match u8::try_from(*separator) {
                Ok(byte) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | b'"') => Format::Csv(byte),
                _ => {
                    return Err(format!(
                        "separator {separator:?} can't be used; expected one ASCII character"
                    ));
                }
            },
            LineFormat::Regex(text) => {
                let regex = Regex::new(text).map_err(|e| format!("regex {text:?} can't be used: {e}"))?;
                if regex.capture_names().flatten().next().is_none() {
                    return Err(format!("regex {text:?} has no named group such as (?<level>-?\\d+)"));
                }
                Format::Regex(Box::new(regex))
            }
        };
        Ok(LineParser { format, map: map.to_vec() })
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Why it was not understood, in a few words.
    pub fn parse(&self, line: &str) -> Result<Vec<Reading>, String> {
        let fields = match &self.format {
            Format::Json => json_fields(line, &self.map)?,
            Format::Csv(separator) => {
                csv_fields(line, *separator, if self.map.is_empty() { limits::FIELDS } else { usize::MAX })?
            }
            Format::Regex(regex) => regex_fields(line, regex)?,
        };
        if self.map.is_empty() {
            let all = fields.into_iter().map(|(name, value)| Reading { name, value, unit: None });
            return Ok(all.collect());
        }
        let mapped: Vec<Reading> = self
            .map
            .iter()
            .filter_map(|mapping| {
                let (_, value) = fields.iter().find(|(name, _)| *name == mapping.from)?;
                Some(apply(mapping, value))
            })
            .collect();
        if mapped.is_empty() {
            let names: Vec<_> = self.map.iter().map(|m| m.from.as_str()).collect();
            return Err(format!("has none of {}", names.join(", ")));
        }
        Ok(mapped)
    }
}

/// One value the way its mapping wants it: words first, then the number.
fn apply(mapping: &Mapping, value: &Value) -> Reading {
    let word = match value {
        Value::Text(text) => mapping.words.get(text).cloned(),
        Value::Number(number) => mapping.words.get(&number.to_string()).cloned(),
        Value::Flag(flag) => mapping.words.get(&flag.to_string()).cloned(),
        Value::Missing(_) => None,
    };
    let value = match (word, value) {
        (Some(word), _) => Value::text(&word),
        (None, Value::Number(number)) => {
            let scaled = number * mapping.scale + mapping.offset;
            if scaled.is_finite() { Value::Number(scaled) } else { Value::Missing(QualityReason::Overrange) }
        }
        (None, other) => other.clone(),
    };
    Reading { name: mapping.to.clone(), value, unit: mapping.unit.clone() }
}

type Fields = Vec<(String, Value)>;

fn json_fields(line: &str, map: &[Mapping]) -> Result<Fields, String> {
    let value: Json = serde_json::from_str(line)
        .or_else(|e| serde_json::from_str(&quote_non_numbers(line).ok_or(e)?))
        .map_err(|e| format!("is not JSON: {e}"))?;
    if let Json::Number(_) = value {
        return Ok(vec![("value".into(), json_value(&value))]);
    }
    if !value.is_object() {
        return Err("is not a JSON object".into());
    }
    let mut fields = Vec::new();
    if map.is_empty() {
        flatten("", &value, &mut fields);
        if fields.is_empty() {
            return Err("is an empty object".into());
        }
    } else {
        for mapping in map {
            if let Some(found) = follow(&value, &mapping.from) {
                fields.push((mapping.from.clone(), json_value(found)));
            }
        }
    }
    Ok(fields)
}

/// `NaN` and `Infinity` are not JSON, but many encoders write them (Python's does unless told not to): puts them in
/// quotes, where they read as missing values. `None` when there are none.
fn quote_non_numbers(line: &str) -> Option<String> {
    let mut out = String::with_capacity(line.len() + 8);
    let (mut rest, mut in_string, mut found) = (line, false, false);
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if in_string {
            if c == '\\' {
                taken += rest.chars().nth(1).map_or(0, char::len_utf8);
            }
            in_string = c != '"';
        } else if c == '"' {
            in_string = true;
        } else if c.is_ascii_alphabetic() || c == '-' {
            let end = |c: char| !(c.is_ascii_alphabetic() || c == '-');
            let word = rest.split(end).next().unwrap_or_default();
            taken = word.len();
            if matches!(
                word.trim_start_matches('-').to_ascii_lowercase().as_str(),
                "nan" | "inf" | "infinity"
            ) {
                found = true;
                out.push('"');
                out.push_str(word);
                out.push('"');
                rest = rest.get(taken..)?;
                continue;
            }
        }
        out.push_str(rest.get(..taken)?);
        rest = rest.get(taken..)?;
    }
    found.then_some(out)
}

/// `a.b.0`: a member with that very name first, then deeper step by step.
fn follow<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    if let Some(found) = value.get(path) {
        return Some(found);
    }
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let step = match value {
        Json::Array(items) => items.get(first.parse::<usize>().ok()?)?,
        other => other.get(first)?,
    };
    rest.map_or(Some(step), |rest| follow(step, rest))
}

/// serde_json refuses more than 128 levels, so this does not go deeper.
fn flatten(path: &str, value: &Json, fields: &mut Fields) {
    let deeper = |name: &str| if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
    match value {
        Json::Object(members) => {
            members.iter().for_each(|(name, value)| flatten(&deeper(name), value, fields))
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(n, v)| flatten(&deeper(&n.to_string()), v, fields))
        }
        leaf if fields.len() < limits::FIELDS => fields.push((path.to_string(), json_value(leaf))),
        _ => {}
    }
}

fn json_value(value: &Json) -> Value {
    match value {
        Json::Null => Value::Missing(QualityReason::Nan),
        Json::Bool(flag) => Value::Flag(*flag),
        Json::Number(number) => {
            number.as_f64().map_or(Value::Missing(QualityReason::Overrange), Value::number)
        }
        Json::String(text) => Value::text(text),
        other => Value::Text(other.to_string()),
    }
}

/// The first `most` columns; a line has a bound of its own.
fn csv_fields(line: &str, separator: u8, most: usize) -> Result<Fields, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let record = match reader.records().next() {
        Some(Ok(record)) => record,
        Some(Err(e)) => return Err(format!("is not CSV: {e}")),
        None => return Err("is empty".into()),
    };
    let values = record.iter().take(most).enumerate();
    let fields: Fields = values
        .filter(|(_, text)| !text.is_empty())
        .map(|(number, text)| (number.to_string(), Value::text(text)))
        .collect();
    if fields.is_empty() { Err("has only empty columns".into()) } else { Ok(fields) }
}

fn regex_fields(line: &str, regex: &Regex) -> Result<Fields, String> {
    let found = regex.captures(line).ok_or("does not match")?;
    let named = regex.capture_names().flatten().take(limits::FIELDS);
    let fields: Fields =
        named.filter_map(|name| Some((name.to_string(), Value::text(found.name(name)?.as_str())))).collect();
    if fields.is_empty() { Err("matches without any of its groups".into()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::super::splitter::{Piece, Splitter};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fmt::Write;

    fn mapping(from: &str, to: &str) -> Mapping {
        Mapping {
            from: from.into(),
            to: to.into(),
            unit: None,
            scale: 1.0,
            offset: 0.0,
            words: BTreeMap::new(),
        }
    }

    fn parse(format: LineFormat, map: &[Mapping], line: &str) -> Result<Vec<(String, Value)>, String> {
        let parser = LineParser::new(&format, map).unwrap();
        parser.parse(line).map(|all| all.into_iter().map(|r| (r.name, r.value)).collect())
    }

    fn number(name: &str, value: f64) -> (String, Value) {
        (name.into(), Value::Number(value))
    }

    const CSV: LineFormat = LineFormat::Csv { separator: ',' };

    #[test]
    fn json() {
        let line = r#"{"t":21.5,"env":{"rh":40,"list":[1,true]},"id":"A1","x":null,"big":1e999}"#;
        assert!(parse(LineFormat::Json, &[], line).unwrap_err().contains("out of range"));
        let line = r#"{"t":21.5,"env":{"rh":40,"list":[1,true]},"id":"A1","x":null,"s":"9.91E37"}"#;
        let mut all = parse(LineFormat::Json, &[], line).unwrap();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let missing = Value::Missing(QualityReason::Nan);
        assert_eq!(
            all,
            [
                number("env.list.0", 1.0),
                ("env.list.1".into(), Value::Flag(true)),
                number("env.rh", 40.0),
                ("id".into(), Value::Text("A1".into())),
                ("s".into(), missing.clone()),
                number("t", 21.5),
                ("x".into(), missing),
            ]
        );
        let map = [mapping("env.rh", "humidity"), mapping("absent", "a"), mapping("env.list.0", "first")];
        assert_eq!(
            parse(LineFormat::Json, &map, line).unwrap(),
            [number("humidity", 40.0), number("first", 1.0)]
        );
        assert_eq!(
            parse(LineFormat::Json, &[mapping("a.b", "x")], r#"{"a.b":1,"a":{"b":2}}"#).unwrap(),
            [number("x", 1.0)]
        );
        assert_eq!(parse(LineFormat::Json, &[], "21.5").unwrap(), [number("value", 21.5)]);
        assert_eq!(parse(LineFormat::Json, &[mapping("q", "q")], line).unwrap_err(), "has none of q");
        let not_json = r#"{"a":NaN,"b":-Infinity,"s":"NaN \" nan","c":[inf,1]}"#;
        let all = parse(LineFormat::Json, &[], not_json).unwrap();
        let value = |name: &str| &all.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(
            (value("a"), value("b")),
            (&Value::Missing(QualityReason::Nan), &Value::Missing(QualityReason::Overrange))
        );
        assert_eq!((value("s"), value("c.1")), (&Value::Text("NaN \" nan".into()), &Value::Number(1.0)));
        for bad in ["", "{", "[1]", "\"a\"", "{}", "{\"t\":}", "null"] {
            assert!(parse(LineFormat::Json, &[], bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn separated_values() {
        assert_eq!(
            parse(CSV, &[], "1, 2.5 ,\"a, b\",").unwrap(),
            [number("0", 1.0), number("1", 2.5), ("2".into(), Value::Text("a, b".into())),]
        );
        let semicolon = LineFormat::Csv { separator: ';' };
        assert_eq!(parse(semicolon, &[mapping("1", "rh")], "20;41").unwrap(), [number("rh", 41.0)]);
        assert!(parse(CSV, &[mapping("3", "x")], "1,2").unwrap_err().contains("has none of 3"));
        assert!(parse(CSV, &[], ",,").is_err());
        let wide = "7,".repeat(400);
        assert_eq!(parse(CSV, &[], &wide).unwrap().len(), limits::FIELDS);
        assert_eq!(parse(CSV, &[mapping("399", "last")], &wide).unwrap(), [number("last", 7.0)]);
        assert!(LineParser::new(&LineFormat::Csv { separator: '€' }, &[]).is_err());
    }

    #[test]
    fn regular_expressions() {
        let format =
            LineFormat::Regex(r"^(?<state>\w+)\s+(?<level>-?\d+(\.\d+)?)dB(\s+(?<trigger>\w+))?$".into());
        assert_eq!(
            parse(format.clone(), &[], "REC -12.5dB").unwrap(),
            [("state".into(), Value::Text("REC".into())), number("level", -12.5),]
        );
        assert_eq!(parse(format, &[], "nonsense").unwrap_err(), "does not match");
        assert!(LineParser::new(&LineFormat::Regex("(".into()), &[]).is_err());
        assert!(
            LineParser::new(&LineFormat::Regex(r"\d+".into()), &[]).unwrap_err().contains("no named group")
        );
    }

    #[test]
    fn words_scale_and_offset() {
        let mut status = mapping("s", "status");
        status.words = [
            ("REC".to_string(), "recording".to_string()),
            ("1".into(), "idle".into()),
            ("true".into(), "1".into()),
        ]
        .into();
        let mut celsius = mapping("f", "c");
        (celsius.scale, celsius.offset) = (5.0 / 9.0, -160.0 / 9.0);
        let one = |line: &str, map: &Mapping| {
            parse(LineFormat::Json, std::slice::from_ref(map), line).unwrap().remove(0).1
        };
        assert_eq!(one(r#"{"s":"REC"}"#, &status), Value::Text("recording".into()));
        assert_eq!(one(r#"{"s":"other"}"#, &status), Value::Text("other".into()));
        assert_eq!(one(r#"{"s":1}"#, &status), Value::Text("idle".into()));
        assert_eq!(one(r#"{"s":true}"#, &status), Value::Number(1.0));
        let Value::Number(c) = one(r#"{"f":212}"#, &celsius) else { panic!() };
        assert!((c - 100.0).abs() < 1e-9);
        celsius.scale = 1e300;
        assert_eq!(one(r#"{"f":1e300}"#, &celsius), Value::Missing(QualityReason::Overrange));
    }

    /// Files in tests/golden/serial: `name.in` are bytes of a port, `name.out` what must come of them, one line each.
    /// `TELLTALE_BLESS=1` writes the latter.
    #[test]
    fn golden() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/serial");
        let scale = {
            let mut status = mapping("stable", "stable");
            status.words = [("ST".to_string(), "1".to_string()), ("US".into(), "0".into())].into();
            let mut weight = mapping("weight", "weight");
            weight.unit = Some("g".into());
            vec![status, weight]
        };
        let table = [
            ("sensor.json", LineFormat::Json, Vec::new()),
            (
                "weather.csv",
                CSV,
                vec![mapping("1", "wind_ms"), mapping("2", "wind_deg"), mapping("4", "pressure_hpa")],
            ),
            (
                "balance.regex",
                LineFormat::Regex(r"^(?<stable>ST|US),GS,(?<weight>[+-]\s*[\d.]+)g$".into()),
                scale,
            ),
            (
                "recorder.regex",
                LineFormat::Regex(
                    r"^STAT (?<status>\w+)( LVL (?<level_db>\S+))?( CLIP (?<clipped>\d))?".into(),
                ),
                Vec::new(),
            ),
        ];
        for (name, format, map) in table {
            let bytes = std::fs::read(folder.join(format!("{name}.in"))).unwrap();
            let parser = LineParser::new(&format, &map).unwrap();
            let mut splitter = Splitter::new(80);
            splitter.quiet();
            let mut out = String::new();
            for piece in bytes.chunks(7).flat_map(|chunk| splitter.feed(chunk)) {
                match piece {
                    Piece::Line(line) => match parser.parse(&String::from_utf8_lossy(&line)) {
                        Ok(all) => {
                            let unit =
                                |r: &Reading| r.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
                            let all: Vec<_> =
                                all.iter().map(|r| format!("{}={:?}{}", r.name, r.value, unit(r))).collect();
                            writeln!(out, "{}", all.join(" ")).unwrap();
                        }
                        Err(why) => writeln!(out, "bad: {why}").unwrap(),
                    },
                    Piece::Joined => writeln!(out, "joined").unwrap(),
                    Piece::Overlong(_) => writeln!(out, "overlong").unwrap(),
                }
            }
            if let Some(half) = splitter.finish() {
                writeln!(out, "half: {}", String::from_utf8_lossy(&half)).unwrap();
            }
            let expected = folder.join(format!("{name}.out"));
            if std::env::var_os("TELLTALE_BLESS").is_some() {
                std::fs::write(&expected, &out).unwrap();
            }
            assert_eq!(out, std::fs::read_to_string(&expected).unwrap(), "{name}");
        }
    }

    proptest! {
        /// No line, whatever it holds, makes a parser panic or gives a number that JSON can't say.
        #[test]
        fn any_line_is_survived(line in ".{0,200}", separator in prop_oneof![Just(','), Just(';'), Just('\t')]) {
            let formats = [LineFormat::Json, LineFormat::Csv { separator }, LineFormat::Regex(r"(?<a>\S+)\s*(?<b>.*)".into())];
            for format in formats {
                for map in [vec![], vec![mapping("0", "x"), mapping("a", "y")]] {
                    if let Ok(all) = LineParser::new(&format, &map).unwrap().parse(&line) {
                        prop_assert!(!all.is_empty() && all.len() <= limits::FIELDS);
                        for reading in all {
                            if let Value::Number(n) = reading.value {
                                prop_assert!(n.is_finite());
                            }
                        }
                    }
                }
            }
        }

        #[test]
        fn numbers_survive_json_and_csv(a in -1e9f64..1e9, b: i32) {
            let json = format!(r#"{{"a":{a},"b":{b}}}"#);
            prop_assert_eq!(parse(LineFormat::Json, &[], &json).unwrap(), [number("a", a), number("b", f64::from(b))]);
            prop_assert_eq!(parse(CSV, &[], &format!("{a},{b}")).unwrap(), [number("0", a), number("1", f64::from(b))]);
        }
    }
}
