//! Finds a value and its time in a message. Pure.
//!
//! A path names members by dots and items by their number: `data.0.price`. A value may be a number or text that reads
//! as one. A time may be RFC 3339 text, or a number of seconds, milliseconds, microseconds or nanoseconds since 1970,
//! told apart by its size.

use crate::clock::Wall;
use serde_json::Value;

/// What is read of each message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extract {
    /// Path of the value; empty: the message is the value.
    pub value: String,
    /// Path of its time; none: the time it came.
    pub time: Option<String>,
    /// Only messages that have this text or number at this path.
    pub only: Option<(String, String)>,
}

/// What a message gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// A value, and its time where the message says one.
    Value(f64, Option<Wall>),
    /// It is not for this stream.
    Other,
    /// It should have a value and has none: a few words.
    Nothing(String),
}

impl Extract {
    /// Reads one message.
    pub fn read(&self, message: &Value) -> Found {
        if let Some((path, wanted)) = &self.only {
            let there = match at(message, path) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Bool(flag)) => wanted == if *flag { "true" } else { "false" },
                // Whole numbers as they are written: above 2^53 an f64 does not tell them apart.
                Some(Value::Number(number)) if !number.is_f64() => number.to_string() == *wanted,
                Some(Value::Number(number)) => wanted.parse().ok() == number.as_f64(),
                _ => false,
            };
            if !there {
                return Found::Other;
            }
        }
        let value = match at(message, &self.value) {
            Some(Value::Number(number)) => number.as_f64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(Value::Null) | None => {
                // Greetings and confirmations have other members; only a filter says what must have a value.
                return if self.only.is_some() || message.is_null() {
                    Found::Nothing(format!("there is no {:?} in it", self.value))
                } else {
                    Found::Other
                };
            }
            Some(_) => None,
        };
        match value.filter(|v: &f64| v.is_finite()) {
            Some(value) => Found::Value(value, self.time.as_ref().and_then(|path| time(at(message, path)?))),
            None => Found::Nothing(format!("{:?} is not a number", self.value)),
        }
    }
}

fn at<'a>(message: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(message, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        Value::Object(members) => members.get(part),
        _ => None,
    })
}

fn time(value: &Value) -> Option<Wall> {
    let number = match value {
        Value::String(text) => match Wall::parse(text) {
            Some(at) => return Some(at),
            None => text.parse().ok()?,
        },
        other => other.as_f64()?,
    };
    // Seconds are below 1e11 until the year 5138, milliseconds above it since 1973, and so on by thousands.
    let ms = match number {
        // Zero is how programs say that they have none.
        n if n <= 0.0 => return None,
        n if n < 1e11 => n * 1e3,
        n if n < 1e14 => n,
        n if n < 1e17 => n / 1e3,
        n => n / 1e6,
    };
    (ms < 253_402_300_800_000.0).then_some(Wall(ms as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn extract(value: &str, time: Option<&str>, only: Option<(&str, &str)>) -> Extract {
        Extract {
            value: value.into(),
            time: time.map(str::to_string),
            only: only.map(|(a, b)| (a.to_string(), b.to_string())),
        }
    }

    #[test]
    fn a_trade_is_read() {
        let trade =
            json!({ "e": "trade", "s": "BTCUSDT", "p": "97012.50", "q": "0.01", "T": 1_767_799_800_412_u64 });
        let all = extract("p", Some("T"), Some(("s", "BTCUSDT")));
        assert_eq!(all.read(&trade), Found::Value(97012.5, Some(Wall(1_767_799_800_412))));
        assert_eq!(extract("p", None, Some(("s", "ETHUSDT"))).read(&trade), Found::Other);
        assert_eq!(extract("p", None, None).read(&json!({ "result": null, "id": 1 })), Found::Other);
        assert!(
            matches!(extract("e", None, None).read(&trade), Found::Nothing(why) if why.contains("not a number"))
        );
        assert!(matches!(extract("x", None, Some(("s", "BTCUSDT"))).read(&trade), Found::Nothing(_)));
        assert_eq!(
            extract("data.1.v", None, None).read(&json!({ "data": [0, { "v": 3 }] })),
            Found::Value(3.0, None)
        );
        assert_eq!(extract("", None, None).read(&json!(4.5)), Found::Value(4.5, None));
        assert!(matches!(extract("p", None, None).read(&json!({ "p": "NaN" })), Found::Nothing(_)));
        assert!(matches!(extract("p", None, None).read(&json!({ "p": "1e999" })), Found::Nothing(_)));
    }

    /// Ids of 64 bits were compared as f64: the values of a neighbour were taken for ours.
    #[test]
    fn long_ids_are_told_apart() {
        let ours = extract("p", None, Some(("id", "9007199254740993")));
        assert_eq!(ours.read(&json!({ "id": 9_007_199_254_740_992_u64, "p": 1 })), Found::Other);
        assert_eq!(ours.read(&json!({ "id": 9_007_199_254_740_993_u64, "p": 1 })), Found::Value(1.0, None));
        let half = extract("p", None, Some(("id", "0.50")));
        assert_eq!(half.read(&json!({ "id": 0.5, "p": 1 })), Found::Value(1.0, None));
    }

    #[test]
    fn times_are_told_apart_by_their_size() {
        for (value, ms) in [
            (json!(1_767_799_800), 1_767_799_800_000),
            (json!(1_767_799_800.412), 1_767_799_800_412),
            (json!(1_767_799_800_412_u64), 1_767_799_800_412),
            (json!(1_767_799_800_412_000_u64), 1_767_799_800_412),
            (json!("1767799800412"), 1_767_799_800_412),
            (json!("2026-01-07T15:30:00.412Z"), 1_767_799_800_412),
        ] {
            assert_eq!(time(&value), Some(Wall(ms)), "{value}");
        }
        for none in [json!(-1), json!(0), json!("0"), json!("soon"), json!("NaN"), json!(1e300)] {
            assert_eq!(time(&none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_message_is_read_without_panic(text in ".{0,80}", path in "[a-c0-2.]{0,8}") {
            if let Ok(message) = serde_json::from_str(&text) {
                let _ = extract(&path, Some(&path), None).read(&message);
            }
        }
    }
}
