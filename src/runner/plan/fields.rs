//! Reading a JSON object key by key, with every fault collected instead of the first one thrown.
//!
//! `null` counts as not given, so that a description with its defaults filled in can be sent again as it is.

use super::Fault;
use crate::limits;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::time::Duration;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults {
    list: RefCell<Vec<Fault>>,
    left_out: RefCell<u64>,
}

impl Faults {
    /// Adds one.
    pub(super) fn add(&self, field: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        let mut list = self.list.borrow_mut();
        if list.len() < limits::SCAN_FAULTS {
            list.push(Fault { field: field.into(), code, detail: detail.into() });
        } else {
            *self.left_out.borrow_mut() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// All of them, in the order they were found.
    pub(super) fn into_list(self) -> Vec<Fault> {
        let (mut list, left_out) = (self.list.into_inner(), self.left_out.into_inner());
        if left_out > 0 {
            let detail = format!("{left_out} more faults are not listed");
            list.push(Fault { field: String::new(), code: "more", detail });
        }
        list
    }
}

/// An object of the description, at a path.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Its path; empty for the description itself.
    at: String,
    faults: &'a Faults,
}

impl<'a> Fields<'a> {
    /// The value as an object; `what` says what it should be, such as `an axis`.
    pub(super) fn of(value: &'a Value, at: &str, what: &str, faults: &'a Faults) -> Option<Fields<'a>> {
        match value {
            Value::Object(object) => Some(Fields { object, at: at.to_string(), faults }),
            other => {
                faults.add(at, "wrong_type", format!("{what} is an object; {} was sent", shown(other)));
                None
            }
        }
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_string() } else { format!("{}.{key}", self.at) }
    }

    /// Its own path.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// The keys that were sent.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.object.keys().map(String::as_str)
    }

    /// Where its faults go.
    pub(super) fn faults(&self) -> &'a Faults {
        self.faults
    }

    /// A fault at one of its keys.
    pub(super) fn fault(&self, key: &str, code: &'static str, detail: impl Into<String>) {
        self.faults.add(self.path(key), code, detail);
    }

    /// Whether the key is there with a value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// What is there, unless it is null.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// Every key that is none of these is a fault.
    pub(super) fn only(&self, known: &[&str]) {
        for key in self.object.keys().filter(|key| !known.contains(&key.as_str())) {
            let meant = match nearest(key, known) {
                Some(name) => format!("; did you mean {name:?}?"),
                None => format!("; known here: {}", known.join(", ")),
            };
            self.fault(&shorten(key), "unknown_key", format!("{:?} is no key here{meant}", shorten(key)));
        }
    }

    fn wrong(&self, key: &str, expected: &str, value: &Value) {
        self.fault(key, "wrong_type", format!("{} was sent; {expected} was expected", shown(value)));
    }

    /// Missing, and must not be.
    pub(super) fn missing(&self, key: &str, expected: &str) {
        self.fault(key, "missing", format!("{key:?} is missing: {expected}"));
    }

    /// Text that is not empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        match value {
            Value::String(text) if text.trim().is_empty() => {
                self.fault(key, "empty", format!("{key:?} is empty; some text was expected"));
                None
            }
            Value::String(text) if text.len() > limits::SCAN_TEXT => {
                let most = limits::SCAN_TEXT;
                self.fault(
                    key,
                    "out_of_range",
                    format!("a text of {} bytes was sent; at most {most} are taken", text.len()),
                );
                None
            }
            Value::String(text) => Some(text.clone()),
            other => {
                self.wrong(key, "text", other);
                None
            }
        }
    }

    /// true or false.
    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Bool(flag) => Some(*flag),
            other => {
                self.wrong(key, "true or false", other);
                None
            }
        }
    }

    /// A number; JSON has finite ones only.
    pub(super) fn number(&self, key: &str) -> Option<f64> {
        let value = self.value(key)?;
        let number = value.as_f64().filter(|number| number.is_finite());
        if number.is_none() {
            self.wrong(key, "a number", value);
        }
        // No -0: it reads like a fault wherever it is shown.
        number.map(|number| number + 0.0)
    }

    /// A number above zero.
    pub(super) fn positive(&self, key: &str) -> Option<f64> {
        let number = self.number(key)?;
        if number > 0.0 {
            return Some(number);
        }
        self.fault(key, "out_of_range", format!("{number} was sent; a number above 0 was expected"));
        None
    }

    /// A whole number from `least` on.
    pub(super) fn whole(&self, key: &str, least: u64, most: u64) -> Option<u64> {
        let value = self.value(key)?;
        // 51.0 is as good as 51: some programs have no whole numbers.
        let exact = |f: f64| (f.fract() == 0.0 && (0.0..=1e18).contains(&f)).then_some(f as u64);
        match value.as_u64().or_else(|| value.as_f64().and_then(exact)) {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(number) => {
                self.fault(key, "out_of_range", format!("{number} was sent; {least} to {most} was expected"));
                None
            }
            None => {
                self.wrong(key, &format!("a whole number from {least} on"), value);
                None
            }
        }
    }

    /// Seconds; zero is refused unless `zero`.
    pub(super) fn seconds(&self, key: &str, zero: bool) -> Option<Duration> {
        let value = self.value(key)?;
        match seconds(value, zero) {
            Ok(time) => Some(time),
            Err(detail) => {
                self.fault(key, if value.is_number() { "out_of_range" } else { "wrong_type" }, detail);
                None
            }
        }
    }

    /// A list, each item with its path.
    pub(super) fn list(&self, key: &str) -> Option<Vec<(String, &'a Value)>> {
        match self.value(key)? {
            Value::Array(items) => {
                let path = self.path(key);
                Some(items.iter().enumerate().map(|(n, item)| (format!("{path}[{n}]"), item)).collect())
            }
            other => {
                self.wrong(key, "a list", other);
                None
            }
        }
    }
}

/// Seconds of a JSON value.
pub(super) fn seconds(value: &Value, zero: bool) -> Result<Duration, String> {
    let least = if zero { "0 or more" } else { "more than 0" };
    let Some(number) = value.as_f64() else {
        return Err(format!("{} was sent; seconds ({least}) were expected", shown(value)));
    };
    let most = limits::SCAN_TIME;
    match Duration::try_from_secs_f64(number) {
        Ok(time) if (zero || !time.is_zero()) && time <= most => Ok(time),
        _ => Err(format!("{number} was sent; seconds ({least}, at most {}) were expected", most.as_secs())),
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'n>(written: &str, known: &[&'n str]) -> Option<&'n str> {
    let written: String = written.to_lowercase().chars().take(64).collect();
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= 1 + written.len().max(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What was sent, in a few words.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Array(items) if items.len() == 1 => "a list of 1".into(),
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(_) => "an object".into(),
    }
}

/// At most sixty characters of it.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
