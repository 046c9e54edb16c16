//! Writes settings and the table of keys as text: `telltale check --effective`, `--keys` and docs/configuration.md.

use super::keys::{KEYS, Key};
use super::lists::LISTS;
use super::types::Config;
use super::value::{Type, Value};
use serde_json::json;
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

/// The plain tables with their keys, for a page: `{name, title, keys}`.
pub(super) fn sections(config: &Config) -> serde_json::Value {
    let mut sections: Vec<&str> = KEYS.iter().map(|k| k.section).collect();
    sections.dedup();
    let one = |section: &str| {
        let keys: Vec<_> = KEYS
            .iter()
            .filter(|k| k.section == section)
            .map(|k| {
                let mut key = for_page(&k.path(), &row(k, true));
                key["value"] = k.kind.write(&(k.get)(config)).into();
                key
            })
            .collect();
        let title = if section.is_empty() { "Top level".into() } else { format!("[{section}]") };
        json!({ "name": section, "title": title, "keys": keys })
    };
    sections.into_iter().map(one).collect()
}

/// The lists with their keys, for a page: `{name, title, items, keys}`; `items` says which there are.
pub(super) fn lists(items: impl Fn(&str) -> Vec<serde_json::Value>) -> serde_json::Value {
    let one = |list: &super::lists::List| {
        let (mut title, mut keys) = (String::new(), Vec::new());
        (list.tell)(&mut |heading, rows| {
            if title.is_empty() {
                title = heading.into();
            }
            keys.extend(rows.iter().map(|row| for_page(&format!("{}.{}", row.section, row.name), row)));
        });
        json!({ "name": list.name, "title": title, "items": items(list.name), "keys": keys })
    };
    LISTS.iter().map(one).collect()
}

/// A key for a page: what kind of field it is, and in words.
fn for_page(path: &str, row: &Row) -> serde_json::Value {
    let choices: Option<Vec<String>> = match row.of {
        Type::Choice(all) | Type::SomeOf(all) => Some(all.iter().map(ToString::to_string).collect()),
        _ => None,
    };
    let kind = match row.of {
        Type::Switch => "switch",
        Type::Choice(_) => "choice",
        Type::Whole(..) | Type::Number | Type::Between(..) => "number",
        Type::Duration(..) | Type::DurationOrNever(..) => "duration",
        Type::Size(..) => "size",
        Type::Path => "path",
        Type::Paths | Type::Names | Type::Ids | Type::SomeOf(_) | Type::Words | Type::Mappings => "list",
        _ => "text",
    };
    let mut key = json!({
        "key": path, "type": row.kind, "kind": kind, "default": row.default, "doc": row.doc, "live": row.live,
        "secret": super::secrets::is_secret(row.name, None),
    });
    if let Some(choices) = choices {
        key["choices"] = choices.into();
    }
    key
}

/// One key, in words.
pub(super) struct Row {
    section: &'static str,
    of: Type,
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
    Row {
        section: key.section,
        of: key.kind,
        name: key.name,
        kind,
        default,
        doc: key.doc,
        variable,
        in_words,
        live: key.live,
    }
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
