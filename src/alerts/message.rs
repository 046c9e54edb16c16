//! Words: messages from templates, numbers and times as people say them.

use std::time::Duration;

/// Fills `{names}`; what `of` does not know is left out. `{` without a name after it stays.
pub fn fill(template: &str, of: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        match name {
            Some(name) => {
                out.push_str(&of(name).unwrap_or_default());
                rest = &rest[name.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// A number without digits nobody reads.
pub fn number(n: f64) -> String {
    let digits = match n.abs() {
        a if a >= 1000.0 => 0,
        a if a >= 100.0 => 1,
        a if a >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{n:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

/// A length of time as people say it: `10 min`, `3 h`, `2 d`.
pub fn span(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..=89 => format!("{s} s"),
        90..=5399 => format!("{} min", (s + 30) / 60),
        5400..=172_799 => format!("{} h", (s + 1800) / 3600),
        _ => format!("{} d", (s + 43_200) / 86_400),
    }
}

/// Text as the inside of a JSON string.
pub fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn templates() {
        let of = |name: &str| match name {
            "a" => Some("x{b}".to_string()),
            "b" => Some("y".into()),
            _ => None,
        };
        for (template, filled) in [
            ("{a} and {b}", "x{b} and y"),
            ("{none}.", "."),
            (r#"{"text":"{b}","n":{ }}"#, r#"{"text":"y","n":{ }}"#),
            ("{", "{"),
            ("{a", "{a"),
            ("{}{a}", "{}x{b}"),
            ("", ""),
        ] {
            assert_eq!(fill(template, of), filled);
        }
    }

    #[test]
    fn numbers_and_times() {
        for (n, text) in [
            (0.0, "0"),
            (3.14926, "3.15"),
            (0.00012, "0.0001"),
            (1234.5, "1234"),
            (-20.5, "-20.5"),
            (100.0, "100"),
        ] {
            assert_eq!(number(n), text);
        }
        for (s, text) in [(5, "5 s"), (89, "89 s"), (100, "2 min"), (10_800, "3 h"), (172_800, "2 d")] {
            assert_eq!(span(Duration::from_secs(s)), text);
        }
    }

    proptest! {
        #[test]
        fn escaped_text_is_valid_in_json(text in any::<String>()) {
            let json = fill(r#"{"text":"{message}"}"#, |_| Some(json_escaped(&text)));
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(value["text"].as_str().unwrap(), text);
        }

        #[test]
        fn any_template_is_filled(template in any::<String>()) {
            fill(&template, |_| Some("x".into()));
        }
    }
}
