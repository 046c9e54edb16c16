//! Values of a simulated device, with the meaning that Python's `int`, `float` and `str` give them.
//!
//! Source: the Python Language Reference, "Built-in Functions" (`int`, `float`) and "Text Sequence Type". Differs: a whole
//! number beyond 128 bits is none.

/// A value.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub enum Value {
    Int(i128),
    Float(f64),
    Text(String),
}

/// Of which kind a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Int,
    Float,
    Text,
}

impl Value {
    /// As this kind of value; `None` where Python raises.
    pub fn into_kind(self, kind: Kind) -> Option<Value> {
        Some(match (kind, self) {
            (Kind::Int, Value::Float(number)) if number.is_finite() && number.abs() < 1e38 => {
                Value::Int(number.trunc() as i128)
            }
            (Kind::Int, Value::Text(text)) => Value::Int(int(&text)?),
            (Kind::Int, Value::Int(number)) => Value::Int(number),
            (Kind::Int, Value::Float(_)) => return None,
            (Kind::Float, Value::Int(number)) => Value::Float(number as f64),
            (Kind::Float, Value::Text(text)) => Value::Float(float(&text)?),
            (Kind::Float, Value::Float(number)) => Value::Float(number),
            (Kind::Text, value) => Value::Text(value.text()),
        })
    }

    /// As `str` shows it.
    pub fn text(&self) -> String {
        match self {
            Value::Int(number) => number.to_string(),
            Value::Float(number) => shortest(*number),
            Value::Text(text) => text.clone(),
        }
    }

    /// As `repr` shows it, control characters aside.
    pub fn shown(&self) -> String {
        match self {
            Value::Text(text) => {
                let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
                let text = text.replace('\\', "\\\\");
                let text = if quote == '\'' { text.replace('\'', "\\'") } else { text };
                format!("{quote}{text}{quote}")
            }
            number => number.text(),
        }
    }
}

/// Without the underscores between digits; `None` when one is elsewhere.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    for (at, byte) in bytes.iter().enumerate() {
        if *byte == b'_' && !(digit(at.checked_sub(1)) && digit(Some(at + 1))) {
            return None;
        }
    }
    Some(text.replace('_', ""))
}

/// `int(text)`.
pub fn int(text: &str) -> Option<i128> {
    digits(text)?.parse().ok()
}

/// `float(text)`. Rust takes the same words for what is no number.
pub fn float(text: &str) -> Option<f64> {
    digits(text)?.parse().ok()
}

/// The shortest text that reads as the same number, with an exponent below 1e-4 and from 1e16 on.
pub fn shortest(number: f64) -> String {
    if !number.is_finite() {
        return special(number).into();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        let plain = number.to_string();
        if plain.contains('.') { plain } else { format!("{plain}.0") }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// How infinities and what is no number are shown.
pub fn special(number: f64) -> &'static str {
    if number.is_nan() {
        "nan"
    } else if number > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_a_number_as_in_python() {
        for (text, number) in [("12", 12), (" -7 ", -7), ("+3", 3), ("1_000", 1000), ("007", 7)] {
            assert_eq!(int(text), Some(number), "{text}");
        }
        for text in ["", "1.0", "1e3", "_1", "1_", "1__0", "0x10", "- 1"] {
            assert_eq!(int(text), None, "{text}");
        }
        for (text, number) in
            [("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("1_0.5", 10.5), ("-inf", f64::NEG_INFINITY)]
        {
            assert_eq!(float(text), Some(number), "{text}");
        }
        assert!(float("NaN").unwrap().is_nan());
        for text in ["", "1,5", "1e", "1._5", "e5"] {
            assert_eq!(float(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_as_in_python() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(shortest(number), text);
        }
        assert_eq!(Value::Text("it's".into()).shown(), "\"it's\"");
        assert_eq!(Value::Text("P6V".into()).shown(), "'P6V'");
    }
}
