//! What a source has read: names, values, and why a value is missing. Pure.

use crate::model::QualityReason;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Always finite.
    Number(f64),
    /// Words.
    Text(String),
    /// Yes or no.
    Flag(bool),
    /// The device spoke of it, but gave no value.
    Missing(QualityReason),
}

/// One value with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// A channel, a column or a member of `recorder_status`.
    pub name: String,
    /// The value.
    pub value: Value,
    /// Its unit.
    pub unit: Option<String>,
}

impl Value {
    /// A number as an instrument writes it. SCPI-99 (volume 1, 7.2.1.4 and 7.2.1.5) has 9.91E37 for "not a number"
    /// and 9.9E37 for infinity; neither is a value, and JSON could not say the IEEE ones.
    pub fn number(number: f64) -> Value {
        if number.is_nan() || (number.abs() / 9.91e37 - 1.0).abs() < 1e-6 {
            Value::Missing(QualityReason::Nan)
        } else if number.is_infinite() || (number.abs() / 9.9e37 - 1.0).abs() < 1e-6 {
            Value::Missing(QualityReason::Overrange)
        } else {
            Value::Number(number)
        }
    }

    /// Text from a device: a number when it reads as one.
    pub fn text(text: &str) -> Value {
        let text = text.trim();
        let number = text.parse::<f64>().ok().or_else(|| {
            // Balances and meters pad between the sign and the digits: `-    0.02`.
            let sign = text.strip_prefix(['+', '-'])?;
            let number = sign
                .trim_start()
                .strip_prefix(|c: char| c.is_ascii_digit() || c == '.')
                .and(sign.trim_start().parse::<f64>().ok())?;
            Some(if text.starts_with('-') { -number } else { number })
        });
        number.map_or_else(|| Value::Text(text.to_string()), Value::number)
    }

    /// The number in it: a flag is 1 or 0.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(*number),
            Value::Flag(flag) => Some(if *flag { 1.0 } else { 0.0 }),
            Value::Text(_) | Value::Missing(_) => None,
        }
    }

    /// As JSON; what is missing is `null`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Value::Number(number) => (*number).into(),
            Value::Text(text) => text.clone().into(),
            Value::Flag(flag) => (*flag).into(),
            Value::Missing(_) => serde_json::Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_is_said_with_its_reason() {
        let missing = |reason| Value::Missing(reason);
        for (text, expected) in [
            ("21.5", Value::Number(21.5)),
            ("-   0.02", Value::Number(-0.02)),
            ("- -2", Value::Text("- -2".into())),
            (" +3 ", Value::Number(3.0)),
            ("-1e-3", Value::Number(-0.001)),
            ("9.91E37", missing(QualityReason::Nan)),
            ("+9.910000E+37", missing(QualityReason::Nan)),
            ("nan", missing(QualityReason::Nan)),
            ("-NaN", missing(QualityReason::Nan)),
            ("inf", missing(QualityReason::Overrange)),
            ("-9.9E37", missing(QualityReason::Overrange)),
            ("1e400", missing(QualityReason::Overrange)),
            ("9.8E37", Value::Number(9.8e37)),
            ("REC", Value::Text("REC".into())),
            ("", Value::Text(String::new())),
        ] {
            assert_eq!(Value::text(text), expected, "{text:?}");
        }
    }
}
