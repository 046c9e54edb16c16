//! Commands with places for what is set, such as `VOLT {:.3f}`: which text fits, and the values in it.
//!
//! They mean what Python's stringparser 0.7 (Hernan E. Grecco, BSD) makes of them, which pyvisa-sim uses; so a place of the
//! kinds e, f, g and % takes two digits or more (`5.0` and `12`, not `5`), and widths and precisions are not looked at.
//! Left out, and refused where the file is read: conversions, attributes and indices.

use super::format::{Part, parts};
use super::value::{Value, float};
use regex_lite::Regex;

/// See the module above.
#[derive(Clone, Debug)]
pub struct Template {
    regex: Regex,
    /// The fields of its groups.
    fields: Vec<(String, Kind)>,
    /// The text it was made of.
    text: String,
}

impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Whole(u32),
    Number,
    Percent,
}

/// What was found in the places.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// The value of the only place, which has no name.
    One(Value),
    /// Several, or such with names.
    Many(Vec<(String, Value)>),
}

impl Found {
    /// The value of the place with this name.
    pub fn named(&self, name: &str) -> Option<&Value> {
        match self {
            Found::One(_) => None,
            Found::Many(all) => all.iter().find(|(n, _)| n == name).map(|(_, value)| value),
        }
    }

    /// All of it as `str` shows it.
    pub fn text(&self) -> String {
        match self {
            Found::One(value) => value.text(),
            Found::Many(all) if !all.is_empty() && is_list(all) => {
                let items: Vec<String> = all.iter().map(|(_, value)| value.shown()).collect();
                format!("[{}]", items.join(", "))
            }
            Found::Many(all) => {
                let items = all.iter().map(|(name, value)| format!("'{name}': {}", value.shown()));
                format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// Whether the names are 0, 1, 2 and so on.
fn is_list<T>(fields: &[(String, T)]) -> bool {
    fields.iter().enumerate().all(|(at, (name, _))| *name == at.to_string())
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(text: &str) -> Result<Template, String> {
        let (mut pattern, mut fields, mut unnamed) = (String::from("^"), Vec::new(), 0);
        for part in parts(text)? {
            match part {
                Part::Text(literal) => pattern.push_str(&regex_lite::escape(&literal)),
                Part::Field { name, spec } => {
                    let (taken, kind) = kind(&spec)?;
                    if name == "_" {
                        pattern.push_str(&format!("(?:{taken})"));
                        continue;
                    }
                    let name = if name.is_empty() {
                        unnamed += 1;
                        (unnamed - 1).to_string()
                    } else {
                        name
                    };
                    if fields.iter().any(|(other, _)| *other == name) {
                        return Err(format!("the place `{name}` is there twice"));
                    }
                    pattern.push_str(&format!("({taken})"));
                    fields.push((name, kind));
                }
            }
        }
        // Python's `$` is also before a last line feed.
        pattern.push_str("\n?$");
        let regex = Regex::new(&pattern).map_err(|e| format!("it is too long or too deep: {e}"))?;
        Ok(Template { regex, fields, text: text.into() })
    }

    /// What is in the places of a text that fits.
    pub fn find(&self, text: &str) -> Option<Found> {
        let groups = self.regex.captures(text)?;
        let mut all = Vec::new();
        for (at, (name, kind)) in self.fields.iter().enumerate() {
            let taken = groups.get(at + 1)?.as_str();
            let value = match kind {
                Kind::Text => Value::Text(taken.into()),
                Kind::Whole(radix) => Value::Int(whole(taken, *radix)?),
                Kind::Number => Value::Float(float(taken)?),
                Kind::Percent => Value::Float(float(taken.strip_suffix('%')?)? / 100.0),
            };
            all.push((name.clone(), value));
        }
        Some(match all.pop() {
            Some((name, value)) if all.is_empty() && name == "0" => Found::One(value),
            last => {
                all.extend(last);
                Found::Many(all)
            }
        })
    }
}

fn whole(text: &str, radix: u32) -> Option<i128> {
    // `#` asks for the prefix that Python writes.
    let prefix = match radix {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        _ => "",
    };
    let (sign, digits) = match text.strip_prefix(['-', '+', ' ']) {
        Some(digits) if text.starts_with('-') => ("-", digits),
        Some(digits) => ("", digits),
        None => ("", text),
    };
    let digits = match digits.get(..2) {
        Some(start) if !prefix.is_empty() && start.eq_ignore_ascii_case(prefix) => digits.get(2..)?,
        _ => digits,
    };
    i128::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

/// What a place with this format takes, as a regular expression, and what becomes of it.
fn kind(spec: &str) -> Result<(String, Kind), String> {
    if spec.is_empty() {
        return Ok((".*?".into(), Kind::Text));
    }
    let mut rest = spec;
    let is_align = |c: Option<char>| matches!(c, Some('<' | '>' | '=' | '^'));
    let mut chars = rest.chars();
    let (first, second) = (chars.next(), chars.next());
    if is_align(second) {
        rest = rest.get(first.map_or(0, char::len_utf8) + 1..).unwrap_or_default();
    } else if is_align(first) {
        rest = rest.get(1..).unwrap_or_default();
    }
    let sign = rest.chars().next().filter(|c| matches!(c, '+' | '-' | ' '));
    rest = rest.strip_prefix(['+', '-', ' ']).unwrap_or(rest);
    let alternate = rest.starts_with('#');
    rest = rest.strip_prefix('#').unwrap_or(rest).trim_start_matches(|c: char| c.is_ascii_digit());
    rest = rest.strip_prefix(',').unwrap_or(rest);
    if let Some(after) = rest.strip_prefix('.')
        && after.starts_with(|c: char| c.is_ascii_digit())
    {
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    let end = rest.find(|c| !"bcdeEfFgGnosxX%".contains(c)).unwrap_or(rest.len());
    let letters = rest.get(..end).unwrap_or_default();
    let (taken, kind) = match letters {
        "" | "s" => (".*?", Kind::Text),
        "d" => ("[0-9]+?", Kind::Whole(10)),
        "b" => ("[0-1]+?", Kind::Whole(2)),
        "o" => ("[0-7]+?", Kind::Whole(8)),
        "x" => ("[0-9a-f]+?", Kind::Whole(16)),
        "X" => ("[0-9A-F]+?", Kind::Whole(16)),
        "e" => ("[0-9]+\\.?[0-9]+(?:e[-+]?[0-9]+)?", Kind::Number),
        "E" => ("[0-9]+\\.?[0-9]+(?:E[-+]?[0-9]+)?", Kind::Number),
        "f" | "F" => ("[0-9]+\\.?[0-9]+", Kind::Number),
        "g" | "G" => ("[0-9]+\\.?[0-9]+(?:[eE][-+]?[0-9]+)?", Kind::Number),
        "%" => ("[0-9]+\\.?[0-9]+%", Kind::Percent),
        other => return Err(format!("`{other}` is no kind of value")),
    };
    let prefix = match (alternate, letters) {
        (false, _) => "",
        (true, "b") => "0b",
        (true, "o") => "0o",
        (true, "x") => "0x",
        (true, "X") => "0X",
        (true, _) => return Err("`#` is for the kinds b, o, x and X".into()),
    };
    let sign = match sign {
        Some('+') => "[-+]",
        Some(' ') => "[- ]",
        _ => "[-]?",
    };
    Ok((format!("{sign}{prefix}{taken}"), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &str, text: &str) -> Option<Found> {
        Template::parse(template).unwrap().find(text)
    }

    #[test]
    fn values_are_found_as_stringparser_finds_them() {
        let float = |n| Some(Found::One(Value::Float(n)));
        assert_eq!(found("VOLT {:.3f}", "VOLT 1.25"), float(1.25));
        assert_eq!(found("VOLT {:.3f}", "VOLT -12"), float(-12.0));
        assert_eq!(found("VOLT {:.3f}", "VOLT 5"), None, "one digit is too few for it");
        assert_eq!(found("VOLT {:.3f}", "volt 1.25"), None);
        assert_eq!(found("VOLT {:+f}", "VOLT 1.25"), None);
        assert_eq!(found("VOLT {:E}", "VOLT 1.5E-3"), float(0.0015));
        assert_eq!(found("{:.1%}!", "12.5%!"), float(0.125));
        assert_eq!(found("OUTP {:d}", "OUTP 1"), Some(Found::One(Value::Int(1))));
        assert_eq!(found("MASK {:#x}", "MASK 0x1f"), Some(Found::One(Value::Int(31))));
        assert_eq!(found("INST {:s}", "INST a b"), Some(Found::One(Value::Text("a b".into()))));
        assert_eq!(found("A+B({})", "A+B(1)"), Some(Found::One(Value::Text("1".into()))));
        assert_eq!(found("{_:d}{}", "12"), Some(Found::One(Value::Text("2".into()))));
    }

    #[test]
    fn names_and_several_places_stay_apart() {
        let found_both = found("CH {ch_id}:VOLT {:.3f}", "CH 2:VOLT 2.0").unwrap();
        assert_eq!(found_both.named("ch_id"), Some(&Value::Text("2".into())));
        assert_eq!(found_both.named("0"), Some(&Value::Float(2.0)));
        assert_eq!(found("R({val})", "R(7)").unwrap().text(), "{'val': '7'}");
        assert_eq!(found("A {:d},{}", "A 1,x").unwrap().text(), "[1, 'x']");
        assert_eq!(found("OFF", "OFF").unwrap().text(), "{}");
        assert!(Template::parse("{a}{a}").is_err());
        assert!(Template::parse("{:n}").is_err());
        assert!(Template::parse("VOLT {").is_err());
    }
}
