//! The types a setting may have: how each is read from TOML or from an environment variable, what is said when it can't
//! be, and how it is written again.
//!
//! Promises: what [`Type::write`] writes, [`Type::read_toml`] reads back as the same value; no input panics.

use super::error::shorten;
use super::types::{
    ConfirmBy, Direction, Drive, Edge, EdgeRecords, FlowControl, Measure, Parity, Pull, Share,
};
use crate::model::Topic;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// The type of a setting, with its bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// Text of 1 to so many bytes.
    Text(usize),
    /// The same, or none: what is switched off.
    TextOrNone(usize),
    /// 1 to 64 characters of `A-Z a-z 0-9 _ . : -`.
    Id,
    /// A topic under `app/`.
    Topic,
    /// A path.
    Path,
    /// A list of paths.
    Paths,
    /// A list of texts.
    Names,
    /// A list of ids.
    Ids,
    /// `true` or `false`.
    Switch,
    /// A whole number from, to.
    Whole(u64, u64),
    /// Any finite number.
    Number,
    /// A number from, to.
    Between(f64, f64),
    /// A duration from, to.
    Duration(Duration, Duration),
    /// The same, or `"never"`.
    DurationOrNever(Duration, Duration),
    /// Bytes from, to.
    Size(u64, u64),
    /// Bytes, or percent of a disk.
    Share,
    /// An IP address and a port.
    Address,
    /// A list of some of these words.
    SomeOf(&'static [&'static str]),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One ASCII character that is neither a letter, a digit, a quote nor a line end.
    Separator,
    /// A regular expression with named groups.
    Pattern,
    /// A table of text: what a word becomes.
    Words,
    /// A table of text: how a command reaches a recorder.
    Effect,
    /// A list of tables; read by `file`, with keys of its own.
    Mappings,
    /// A table; read by its list, with keys of its own.
    Table,
}

/// A setting between the text and the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set.
    Nothing,
    /// Text, a path, a word, an address.
    Text(String),
    /// A whole number, a size in bytes.
    Whole(u64),
    /// A number.
    Number(f64),
    /// A switch.
    Switch(bool),
    /// A duration.
    Duration(Duration),
    /// A list.
    List(Vec<String>),
    /// A table of text.
    Words(BTreeMap<String, String>),
}

/// Why a value can't be had: what was written, what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Such as `5, a whole number`.
    pub written: String,
    /// Such as `a duration from 10ms to 1h, such as "1s"`.
    pub expected: String,
}

/// The largest whole number of TOML: as good as no bound.
pub(super) const UNBOUNDED: u64 = i64::MAX as u64;
const TEXT_BYTES: usize = 4096;
const LIST_ITEMS: usize = 64;

impl Type {
    /// What is expected, in words.
    pub fn words(&self) -> String {
        match *self {
            Type::Text(most) => format!("text in quotes, 1 to {most} bytes"),
            Type::TextOrNone(most) => format!("text in quotes, up to {most} bytes"),
            Type::Id => "an id in quotes: 1 to 64 characters of A-Z a-z 0-9 _ . : -".into(),
            Type::Topic => "a topic under app/ in quotes, such as \"app/door\"".into(),
            Type::Path => "a path in quotes".into(),
            Type::Paths => "a list of paths, such as [\"/\", \"/media/usb\"]".into(),
            Type::Names => "a list of texts, such as [\"a\", \"b\"]".into(),
            Type::SomeOf(all) => {
                let words: Vec<_> = all.iter().map(|word| quoted(word)).collect();
                format!("a list of some of {}", words.join(", "))
            }
            Type::Ids => "a list of ids of A-Z a-z 0-9 _ . : -, such as [\"a\", \"b\"]".into(),
            Type::Switch => "true or false".into(),
            Type::Whole(from, UNBOUNDED) => format!("a whole number from {from}"),
            Type::Whole(from, to) => format!("a whole number from {from} to {to}"),
            Type::Number => "a number".into(),
            Type::Between(from, to) => format!("a number from {from} to {to}"),
            Type::Duration(from, to) => {
                format!(
                    "a duration in quotes from {} to {}, such as \"{}\"",
                    span(from),
                    span(to),
                    example(from, to)
                )
            }
            Type::DurationOrNever(from, to) => format!(
                "a duration in quotes from {} to {}, such as \"{}\", or \"never\"",
                span(from),
                span(to),
                example(from, to)
            ),
            Type::Size(from, to) => format!(
                "a size in quotes from {} to {}, such as \"{}\"",
                bytes(from),
                bytes(to),
                bytes(example_size(from, to))
            ),
            Type::Share => "a size or a share of the disk in quotes, such as \"2GiB\" or \"5%\"".into(),
            Type::Address => {
                "an address and a port in quotes, such as \"0.0.0.0:8080\", \"[::]:8080\" or \":8080\"".into()
            }
            Type::Choice(words) => {
                format!("one of {}", words.iter().map(|w| format!("{w:?}")).collect::<Vec<_>>().join(", "))
            }
            Type::Separator => "one character in quotes, such as \",\", \";\" or \"\\t\"".into(),
            Type::Pattern => {
                "a regular expression in quotes with named groups, such as '^T=(?<temp>[0-9.]+)'".into()
            }
            Type::Words => "a table of texts, such as { REC = \"recording\" }".into(),
            Type::Effect => "a table of texts: { pin = \"...\", pulse = \"200ms\" }, { pin = \"...\", level = \"active\" }, \
                             { serial = \"...\", send = \"REC\\r\" } or { url = \"http://...\" }"
                .into(),
            Type::Mappings => "a list of tables, such as [{ from = \"temp\", to = \"temperature\" }]".into(),
            Type::Table => "a table with keys of its own".into(),
        }
    }

    /// The type in a word or two, for lists of keys.
    pub fn name(&self) -> String {
        match *self {
            Type::Text(_) | Type::TextOrNone(_) | Type::Separator => "text".into(),
            Type::Id => "id".into(),
            Type::Topic => "topic".into(),
            Type::Path => "path".into(),
            Type::Paths => "list of paths".into(),
            Type::Names => "list of texts".into(),
            Type::SomeOf(all) => format!("list of {}", all.join(", ")),
            Type::Ids => "list of ids".into(),
            Type::Switch => "true or false".into(),
            Type::Whole(from, UNBOUNDED) => format!("whole number, {from} or more"),
            Type::Whole(from, to) => format!("whole number, {from} to {to}"),
            Type::Number => "number".into(),
            Type::Between(from, to) => format!("number, {from} to {to}"),
            Type::Duration(from, to) => format!("duration, {} to {}", span(from), span(to)),
            Type::DurationOrNever(from, to) => format!("duration, {} to {}, or never", span(from), span(to)),
            Type::Size(from, to) => format!("size, {} to {}", bytes(from), bytes(to)),
            Type::Share => "size, or percent".into(),
            Type::Address => "address:port".into(),
            Type::Choice(words) => words.join(", "),
            Type::Pattern => "regular expression".into(),
            Type::Words => "table of texts".into(),
            Type::Effect => "pin, serial or url".into(),
            Type::Mappings => "list of tables".into(),
            Type::Table => "table".into(),
        }
    }

    /// Reads a value of the file.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn read_toml(&self, value: &DeValue<'_>) -> Result<Value, Mismatch> {
        let wrong = || Mismatch { written: describe(value), expected: self.words() };
        match (self, value) {
            (Type::Switch, DeValue::Boolean(on)) => Ok(Value::Switch(*on)),
            (Type::Whole(..), DeValue::Integer(n)) => {
                let n = u64::from_str_radix(n.as_str(), n.radix()).map_err(|_| wrong())?;
                self.whole(n).ok_or_else(wrong)
            }
            (Type::Number | Type::Between(..), DeValue::Integer(n)) => {
                let n = i64::from_str_radix(n.as_str(), n.radix()).map_err(|_| wrong())?;
                self.number(n as f64).ok_or_else(wrong)
            }
            (Type::Number | Type::Between(..), DeValue::Float(n)) => {
                n.as_str().parse().ok().and_then(|n| self.number(n)).ok_or_else(wrong)
            }
            (Type::Paths | Type::Names | Type::Ids | Type::SomeOf(_), DeValue::Array(list)) => {
                let texts: Option<Vec<String>> =
                    list.iter().map(|v| v.get_ref().as_str().map(str::to_string)).collect();
                self.list(texts.ok_or_else(wrong)?)
                    .map_err(|expected| Mismatch { written: describe(value), expected })
            }
            (Type::Words | Type::Effect, DeValue::Table(table)) => {
                let words: Option<BTreeMap<String, String>> = table
                    .iter()
                    .map(|(k, v)| Some((k.get_ref().to_string(), v.get_ref().as_str()?.to_string())))
                    .collect();
                match words {
                    Some(words) if words.len() <= LIST_ITEMS => Ok(Value::Words(words)),
                    _ => Err(wrong()),
                }
            }
            (_, DeValue::String(text)) if self.is_text() => {
                self.text(text).map_err(|expected| Mismatch { written: describe(value), expected })
            }
            _ => Err(wrong()),
        }
    }

    /// Reads the text of an environment variable or a flag: as in the file without quotes, lists with commas.
    ///
    /// # Errors
    /// See [`Mismatch`].
    pub fn read_text(&self, text: &str) -> Result<Value, Mismatch> {
        let wrong = |expected: String| Mismatch { written: format!("{:?}", shorten(text)), expected };
        match self {
            Type::Switch => match text {
                "true" | "1" | "yes" | "on" => Ok(Value::Switch(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Switch(false)),
                _ => Err(wrong(self.words())),
            },
            Type::Whole(..) => {
                text.parse().ok().and_then(|n| self.whole(n)).ok_or_else(|| wrong(self.words()))
            }
            Type::Number | Type::Between(..) => {
                text.parse().ok().and_then(|n| self.number(n)).ok_or_else(|| wrong(self.words()))
            }
            Type::Paths | Type::Names | Type::Ids | Type::SomeOf(_) => {
                let items =
                    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_string).collect();
                let expected = match self {
                    Type::SomeOf(all) => format!("some of {}, with commas", all.join(", ")),
                    _ => "a list with commas, such as a,b".into(),
                };
                self.list(items).map_err(|_| wrong(expected))
            }
            _ => self.text(text).map_err(|expected| wrong(expected.replace(" in quotes", ""))),
        }
    }

    /// Writes a value as the file has it; none for a value that is not set.
    pub fn write(&self, value: &Value) -> Option<String> {
        Some(match (self, value) {
            (_, Value::Nothing) => return None,
            (Type::Size(..), Value::Whole(n)) => quoted(&bytes(*n)),
            (_, Value::Text(text)) => quoted(text),
            (_, Value::Whole(n)) => n.to_string(),
            (_, Value::Number(n)) => toml::Value::Float(*n).to_string(),
            (_, Value::Switch(on)) => on.to_string(),
            (_, Value::Duration(time)) => quoted(&span(*time)),
            (_, Value::List(items)) => {
                format!("[{}]", items.iter().map(|t| quoted(t)).collect::<Vec<_>>().join(", "))
            }
            (Type::Effect, Value::Words(words)) if words.is_empty() => return None,
            (_, Value::Words(words)) if words.is_empty() => "{}".into(),
            (_, Value::Words(words)) => {
                let pairs: Vec<_> =
                    words.iter().map(|(k, v)| format!("{} = {}", quoted_key(k), quoted(v))).collect();
                format!("{{ {} }}", pairs.join(", "))
            }
        })
    }

    fn is_text(&self) -> bool {
        !matches!(
            self,
            Type::Switch
                | Type::Whole(..)
                | Type::Number
                | Type::Between(..)
                | Type::Paths
                | Type::Names
                | Type::SomeOf(_)
                | Type::Ids
                | Type::Words
                | Type::Effect
                | Type::Mappings
                | Type::Table
        )
    }

    fn whole(&self, n: u64) -> Option<Value> {
        let fits = match self {
            Type::Whole(from, to) => (from..=to).contains(&&n),
            _ => false,
        };
        fits.then_some(Value::Whole(n))
    }

    fn number(&self, n: f64) -> Option<Value> {
        let fits = match self {
            Type::Between(from, to) => (from..=to).contains(&&n),
            _ => n.is_finite(),
        };
        fits.then_some(Value::Number(n))
    }

    fn list(&self, items: Vec<String>) -> Result<Value, String> {
        if *self == Type::Ids && !items.iter().all(|t| Topic::of("stream", t).is_ok()) {
            return Err(self.words());
        }
        if items.len() > LIST_ITEMS {
            return Err(format!("at most {LIST_ITEMS} items"));
        }
        if items.iter().any(|t| t.is_empty() || t.len() > TEXT_BYTES || t.contains('\0')) {
            return Err(format!("{} without empty items", self.words()));
        }
        if let Type::SomeOf(all) = self
            && !items.iter().all(|item| all.contains(&item.as_str()))
        {
            return Err(self.words());
        }
        Ok(Value::List(items))
    }

    /// Reads text by the rules of this type; the error is what was expected.
    fn text(&self, text: &str) -> Result<Value, String> {
        let kept = |fits: bool| if fits { Ok(Value::Text(text.to_string())) } else { Err(self.words()) };
        match *self {
            Type::Text(most) => kept((1..=most).contains(&text.len())),
            Type::TextOrNone(most) => kept(text.len() <= most),
            Type::Id => kept(Topic::of("stream", text).is_ok()),
            Type::Topic => kept(text.starts_with("app/") && Topic::parse(text).is_ok()),
            Type::Path => kept(!text.is_empty() && text.len() <= TEXT_BYTES && !text.contains('\0')),
            Type::Duration(from, to) => self.duration(text, from, to),
            Type::DurationOrNever(..) if text == "never" => Ok(Value::Text(text.into())),
            Type::DurationOrNever(from, to) => self.duration(text, from, to),
            Type::Size(from, to) => match read_bytes(text) {
                Some(n) if (from..=to).contains(&n) => Ok(Value::Whole(n)),
                _ => Err(self.words()),
            },
            Type::Share => read_share(text).map(|s| Value::Text(s.to_string())).ok_or_else(|| self.words()),
            Type::Address => {
                read_address(text).map(|a| Value::Text(a.to_string())).ok_or_else(|| self.words())
            }
            Type::Choice(words) => match words.contains(&text) {
                true => kept(true),
                false => Err(match nearest(text, words.iter().copied()) {
                    Some(near) => format!("{}; did you mean {near:?}?", self.words()),
                    None => self.words(),
                }),
            },
            Type::Separator => {
                let mut chars = text.chars();
                let fits = matches!((chars.next(), chars.next()), (Some(c), None)
                    if c.is_ascii() && !c.is_ascii_alphanumeric() && !matches!(c, '"' | '\n' | '\r' | '\0'));
                kept(fits)
            }
            Type::Pattern if text.len() > TEXT_BYTES => Err(format!("at most {TEXT_BYTES} bytes")),
            Type::Pattern => match regex_lite::Regex::new(text) {
                Ok(regex) if regex.capture_names().flatten().next().is_some() => kept(true),
                Ok(_) => Err("at least one named group, such as (?<temp>[0-9.]+)".into()),
                Err(e) => Err(format!("a regular expression, but: {e}")),
            },
            _ => Err(self.words()),
        }
    }

    fn duration(&self, text: &str, from: Duration, to: Duration) -> Result<Value, String> {
        match humantime::parse_duration(text) {
            Ok(time) if (from..=to).contains(&time) => Ok(Value::Duration(time)),
            _ => Err(self.words()),
        }
    }
}

/// The name nearest to what was written, when it is near enough to have been meant.
pub(super) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time and memory by the product of the lengths; no name is nearly this long.
    if written.len() > 64 {
        return None;
    }
    let written = written.to_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + written.len().max(name.len()) / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// What was written, in words: `5, a whole number`.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shorten(text)),
        DeValue::Integer(n) => format!("{}, a whole number", shorten(&n.to_string())),
        DeValue::Float(n) => format!("{}, a number", shorten(n.as_str())),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Datetime(at) => format!("{at}, a date"),
        DeValue::Array(list) => format!("a list of {}", list.iter().count()),
        DeValue::Table(_) => "a table".into(),
    }
}

/// A key, in quotes only where TOML needs them.
pub(super) fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { key.to_string() } else { quoted(key) }
}

/// A basic string of TOML on one line; the toml crate would spread text with line ends over several, which a key and an
/// inline table may not have.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn span(time: Duration) -> String {
    // Its own largest units are years of 365.25 days; ours stay those people set.
    let days = time.as_secs() / 86_400;
    if days > 0 && time == Duration::from_secs(days * 86_400) {
        format!("{days}d")
    } else {
        humantime::format_duration(time).to_string()
    }
}

/// An example within the bounds: the middle one of those that fit.
fn example(from: Duration, to: Duration) -> &'static str {
    let all = ["250ms", "1s", "2s", "5s", "30s", "10m", "1h", "30d"];
    let fits: Vec<_> =
        all.iter().filter(|t| humantime::parse_duration(t).is_ok_and(|t| (from..=to).contains(&t))).collect();
    fits.get(fits.len() / 2).map_or("1s", |t| **t)
}

fn example_size(from: u64, to: u64) -> u64 {
    [4 << 10, 4 << 20, 512 << 20].into_iter().find(|n| (from..=to).contains(n)).unwrap_or(from)
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// The number of bytes exactly, in the largest unit that says it in a whole number.
fn bytes(n: u64) -> String {
    let unit = UNITS.iter().find(|(_, size)| n >= *size && n.is_multiple_of(*size));
    unit.map_or_else(|| format!("{n}B"), |(name, size)| format!("{}{name}", n / size))
}

/// `4MiB`, `512 MB`, `100kB`, `65536B`. `K`, `M` and `G` alone are not taken: they mean two things.
fn read_bytes(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let unit = unit.trim_start();
    let (_, size) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*size)
}

/// `2GiB` or `5%`.
fn read_share(text: &str) -> Option<Share> {
    match text.strip_suffix('%') {
        Some(number) => number.trim_end().parse().ok().filter(|n| *n <= 100).map(Share::Percent),
        None => read_bytes(text).map(Share::Bytes),
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Share::Bytes(n) => f.write_str(&bytes(*n)),
            Share::Percent(n) => write!(f, "{n}%"),
        }
    }
}

impl Setting for Share {
    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value
            && let Some(share) = read_share(&text)
        {
            *self = share;
        }
    }
}

/// `:8080` is every IPv4 address of the host.
fn read_address(text: &str) -> Option<SocketAddr> {
    if let Some(port) = text.strip_prefix(':') {
        return port
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| port.parse().ok())
            .flatten()
            .map(|port| SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port));
    }
    text.parse().ok()
}

/// A field of the settings that can be put into a [`Value`] and taken out of one.
///
/// The table of keys pairs each field with a type; a pair that does not fit leaves the field as it was, which the test
/// that sets every key finds.
pub trait Setting {
    /// As a value.
    fn value(&self) -> Value;
    /// Takes a value that was read by the type of this field.
    fn put(&mut self, value: Value);
}

impl Setting for String {
    fn value(&self) -> Value {
        Value::Text(self.clone())
    }
    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = text;
        }
    }
}

impl Setting for PathBuf {
    fn value(&self) -> Value {
        Value::Text(self.to_string_lossy().into_owned())
    }
    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value {
            *self = text.into();
        }
    }
}

macro_rules! optional {
    ($($inner:ty),*) => {$(
        impl Setting for Option<$inner> {
            fn value(&self) -> Value {
                self.as_ref().map_or(Value::Nothing, Setting::value)
            }
            fn put(&mut self, value: Value) {
                let mut inner = <$inner>::default();
                inner.put(value);
                *self = Some(inner);
            }
        }
    )*};
}
optional!(String, PathBuf, f64, u8, u16, u32, u64);

impl Setting for Option<Duration> {
    fn value(&self) -> Value {
        self.map_or_else(|| Value::Text("never".into()), Value::Duration)
    }
    fn put(&mut self, value: Value) {
        *self = match value {
            Value::Duration(time) => Some(time),
            _ => None,
        };
    }
}

macro_rules! whole {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            fn value(&self) -> Value {
                Value::Whole(*self as u64)
            }
            fn put(&mut self, value: Value) {
                if let Value::Whole(n) = value && let Ok(n) = n.try_into() {
                    *self = n;
                }
            }
        }
    )*};
}
whole!(u8, u16, u32, u64, usize);

macro_rules! plain {
    ($($field:ty => $variant:ident),*) => {$(
        impl Setting for $field {
            fn value(&self) -> Value {
                Value::$variant(self.clone())
            }
            fn put(&mut self, value: Value) {
                if let Value::$variant(inner) = value {
                    *self = inner;
                }
            }
        }
    )*};
}
plain!(bool => Switch, f64 => Number, Duration => Duration, Vec<String> => List, BTreeMap<String, String> => Words);

impl Setting for Vec<PathBuf> {
    fn value(&self) -> Value {
        Value::List(self.iter().map(|p| p.to_string_lossy().into_owned()).collect())
    }
    fn put(&mut self, value: Value) {
        if let Value::List(items) = value {
            *self = items.into_iter().map(PathBuf::from).collect();
        }
    }
}

impl Setting for SocketAddr {
    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value
            && let Ok(addr) = text.parse()
        {
            *self = addr;
        }
    }
}

impl Setting for char {
    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
    fn put(&mut self, value: Value) {
        if let Value::Text(text) = value
            && let Some(c) = text.chars().next()
        {
            *self = c;
        }
    }
}

macro_rules! words {
    ($($field:ident, $name:ident: $($word:literal => $variant:ident),*;)*) => {$(
        #[doc = concat!("The words of [`", stringify!($field), "`].")]
        pub(in crate::config) const $name: &[&str] = &[$($word),*];
        impl Setting for $field {
            fn value(&self) -> Value {
                Value::Text(match self { $($field::$variant => $word),* }.into())
            }
            fn put(&mut self, value: Value) {
                if let Value::Text(text) = value {
                    match text.as_str() { $($word => *self = $field::$variant,)* _ => {} }
                }
            }
        }
    )*};
}
pub(super) use words;
words! {
    Pull, PULLS: "off" => Off, "up" => Up, "down" => Down;
    Edge, EDGES: "rising" => Rising, "falling" => Falling, "both" => Both;
    Parity, PARITIES: "none" => None, "even" => Even, "odd" => Odd;
    Direction, DIRECTIONS: "input" => Input, "output" => Output;
    Drive, DRIVES: "low" => Low, "high" => High, "keep" => Keep;
    EdgeRecords, EDGE_RECORDS: "each" => Each, "count" => Count;
    Measure, MEASURES: "level" => Level, "count" => Count, "rate" => Rate, "pulse" => Pulse;
    ConfirmBy, CONFIRMS: "status" => Status, "http" => Http;
    FlowControl, FLOWS: "none" => None, "software" => Software, "hardware" => Hardware;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_and_written_exactly() {
        for (text, n) in
            [("4MiB", 4 << 20), ("512 MB", 512_000_000), ("1kb", 1_000), ("65537B", 65_537), ("0B", 0)]
        {
            assert_eq!(read_bytes(text), Some(n), "{text}");
        }
        for bad in [
            "",
            "4",
            "4M",
            "MiB",
            "-4MiB",
            "4.5MiB",
            "4MiBs",
            "99999999999999999999B",
            "20000000TiB",
            "4 MiB ",
        ] {
            assert_eq!(read_bytes(bad), None, "{bad}");
        }
        assert_eq!(bytes(4 << 20), "4MiB");
        assert_eq!(bytes(3_000_000), "3MB");
        assert_eq!(bytes(0), "0B");
    }

    #[test]
    fn addresses() {
        assert_eq!(read_address(":8080"), Some(([0, 0, 0, 0], 8080).into()));
        assert_eq!(read_address("[::1]:0").map(|a| a.to_string()), Some("[::1]:0".into()));
        for bad in ["", ":", "8080", "localhost:8080", ":80800", "1.2.3.4", ":+80", "1.2.3.4:80 "] {
            assert_eq!(read_address(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["commit", "cache", "keep", "keep_age"];
        assert_eq!(nearest("comit", names.into_iter()), Some("commit"));
        assert_eq!(nearest("keepage", names.into_iter()), Some("keep_age"));
        assert_eq!(nearest("Cache", names.into_iter()), Some("cache"));
        assert_eq!(nearest("pressure", names.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(100_000), names.into_iter()), None);
    }

    proptest! {
        #[test]
        fn written_sizes_are_read_back(n: u64) {
            prop_assert_eq!(read_bytes(&bytes(n)), Some(n));
        }

        #[test]
        fn written_durations_are_read_back(ms in 0u64..4_000_000_000_000) {
            let time = Duration::from_millis(ms);
            prop_assert_eq!(humantime::parse_duration(&span(time)), Ok(time));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            for kind in [
                Type::Text(8), Type::Id, Type::Topic, Type::Path, Type::Names, Type::Switch, Type::Whole(0, 9), Type::Number,
                Type::Duration(Duration::ZERO, Duration::MAX), Type::Size(0, u64::MAX), Type::Share, Type::Address, Type::Choice(PULLS),
                Type::Separator, Type::Pattern, Type::Words, Type::Mappings, Type::SomeOf(PULLS),
            ] {
                let _ = kind.read_text(&text);
            }
        }
    }
}
