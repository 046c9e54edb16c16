//! Writes settings and the table of keys as text: `telltale check --effective`, `--keys` and docs/configuration.md.

use super::keys::{KEYS, Key};
use super::lists::LISTS;
use super::types::Config;
use super::value::Value;
use std::fmt::Write;

impl Config {
    /// The settings as a configuration file that reads back as the same settings.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for key in KEYS {
            if key.section != section {
                section = key.section;
                let _ = write!(out, "\n[{section}]\n");
            }
            line(&mut out, key, self);
        }
        for list in LISTS {
            (list.write)(self, &mut out);
        }
        out
    }
}

fn line<T>(out: &mut String, key: &Key<T>, of: &T) {
    if let Some(value) = key.kind.write(&(key.get)(of)) {
        let _ = writeln!(out, "{} = {value}", key.name);
    }
}

/// The keys of a table that differ from their defaults, and the required ones.
pub(super) fn entry<T: Default>(out: &mut String, keys: &[Key<T>], of: &T) {
    for key in said(keys, of) {
        line(out, key, of);
    }
}

fn said<'k, T: Default>(keys: &'k [Key<T>], of: &T) -> Vec<&'k Key<T>> {
    keys.iter().filter(|key| key.required || (key.get)(of) != (key.get)(&T::default())).collect()
}

/// The same as the inside of an inline table.
pub(super) fn inline<T: Default>(keys: &[Key<T>], of: &T) -> String {
    let pairs = said(keys, of).into_iter().filter_map(|key| {
        let value = (key.get)(of);
        (value != Value::Nothing).then(|| key.kind.write(&value).map(|v| format!("{} = {v}", key.name)))?
    });
    pairs.collect::<Vec<_>>().join(", ")
}

/// Every key with type, default, meaning and variable, as text for a terminal.
pub fn keys_text() -> String {
    let mut out = String::new();
    each_section(|heading, rows| {
        let _ = writeln!(out, "{}{heading}\n", if out.is_empty() { "" } else { "\n" });
        for row in rows {
            let _ = writeln!(
                out,
                "  {}\n      {}\n      type: {}; default: {}{}{}",
                row.name,
                row.doc,
                row.kind,
                row.default,
                if row.variable.is_empty() {
                    String::new()
                } else {
                    format!("; environment: {}", row.variable)
                },
                if row.live { "" } else { "; takes effect at the next start" }
            );
        }
    });
    out
}

/// The same as tables in Markdown, for docs/configuration.md.
pub fn keys_markdown() -> String {
    let mut out = String::new();
    each_section(|heading, rows| {
        let variables = rows.iter().any(|r| !r.variable.is_empty());
        let _ = writeln!(out, "{}### {heading}\n", if out.is_empty() { "" } else { "\n" });
        let columns = if variables {
            "| key | type | default | meaning | environment | reload |\n|---|---|---|---|---|---|"
        } else {
            "| key | type | default | meaning |\n|---|---|---|---|"
        };
        let _ = writeln!(out, "{columns}");
        for row in rows {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = write!(
                out,
                "| `{}` | {} | {} | {} |",
                row.name,
                cell(&row.kind),
                if row.in_words { row.default.clone() } else { format!("`{}`", cell(&row.default)) },
                cell(row.doc)
            );
            if variables {
                let _ = write!(out, " `{}` | {} |", row.variable, if row.live { "live" } else { "restart" });
            }
            out.push('\n');
        }
    });
    out
}

/// One key, in words.
pub(super) struct Row {
    name: &'static str,
    kind: String,
    default: String,
    doc: &'static str,
    variable: String,
    /// The default is words, not a value.
    in_words: bool,
    live: bool,
}

fn row<T: Default>(key: &Key<T>, variable: bool) -> Row {
    let kind = key.kind.name();
    let variable = if variable { key.variable() } else { String::new() };
    let default = key.default_text();
    let in_words = matches!(default.as_str(), "required" | "not set") || default.contains(" or ");
    Row { name: key.name, kind, default, doc: key.doc, variable, in_words, live: key.live }
}

/// The keys of an entry, in words.
pub(super) fn rows<T: Default>(keys: &[Key<T>]) -> Vec<Row> {
    keys.iter().map(|k| row(k, false)).collect()
}

fn each_section(mut tell: impl FnMut(&str, &[Row])) {
    let mut sections: Vec<&str> = KEYS.iter().map(|k| k.section).collect();
    sections.dedup();
    for section in sections {
        let rows: Vec<Row> = KEYS.iter().filter(|k| k.section == section).map(|k| row(k, true)).collect();
        let heading = if section.is_empty() {
            "Top level (above the first table)".into()
        } else {
            format!("[{section}]")
        };
        tell(&heading, &rows);
    }
    for list in LISTS {
        (list.tell)(&mut tell);
    }
}
