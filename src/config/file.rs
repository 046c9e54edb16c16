//! Reads the text of a configuration file.
//!
//! Promises: every fault is found in one go, each with its line and column, what was written, what was expected and, for
//! an unknown key, the nearest one there is; the same text always gives the same faults in the order of the file; no text
//! makes it panic. Does not: open files, look at the environment, or decide what happens when there are faults.

use super::error::{ConfigError, Lines, Place, shorten};
use super::keys::{KEYS, Key};
use super::lists::LISTS;
use super::types::{Config, Sink};
use super::value::{Type, describe, nearest};
use crate::limits;
use crate::model::RecorderState;
use serde::Deserialize;
use serde::de::value::{Error as WordError, StrDeserializer};
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What was read, and what was wrong. With faults the configuration holds whatever could be read.
pub(super) struct Reading {
    pub config: Config,
    pub errors: Vec<ConfigError>,
}

/// Reads `bytes`, named `path` in messages, into the defaults.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Reading {
    let mut config = Config::default();
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            // What is before the bad byte is text, so that the place can be told.
            let good = String::from_utf8_lossy(&bytes[..e.valid_up_to()]);
            let (line, column) = Lines::of(&good).position(good.len());
            let place = Place::File { path: path.to_path_buf(), line, column };
            let detail = "the file is not UTF-8 text from here on; was it cut or damaged?".into();
            return Reading { config, errors: vec![ConfigError { place, detail }] };
        }
    };
    if text.trim().is_empty() {
        let detail = "the file is empty, as after a power cut while it was being written; expected settings, or a comment \
                      line to run with the defaults"
            .into();
        return Reading {
            config,
            errors: vec![ConfigError { place: Place::Whole(path.to_path_buf()), detail }],
        };
    }
    let mut reader =
        Reader { path, end: text.len(), lines: Lines::of(text), faults: Vec::new(), later: Vec::new() };
    let (table, syntax) = DeTable::parse_recoverable(text);
    reader.root(table.get_ref(), &mut config);
    reader.weigh_against(&syntax);
    Reading { config, errors: reader.finish() }
}

/// A fault before its offset has become a line.
pub(super) struct Fault {
    at: usize,
    detail: String,
    /// It says that something is not there: not to be trusted where the file has faults of syntax.
    absence: bool,
}

pub(super) struct Reader<'a> {
    path: &'a Path,
    end: usize,
    pub(super) lines: Lines<'a>,
    pub(super) faults: Vec<Fault>,
    /// What names something that may stand further down, to be looked at when all is read.
    pub(super) later: Vec<(Range<usize>, Later)>,
}

/// What an entry expects of others.
pub(super) enum Later {
    /// There is an output with this source id.
    Output(String),
    /// There is a port with this source id.
    Port(String),
    /// No port feeds this instrument: the output that does takes its commands.
    NoPort(String),
}

/// A known key that is in the file: where its value is, and whether it could be read.
pub(super) struct Found {
    pub(super) at: Range<usize>,
    pub(super) good: bool,
}

/// The known keys of a table.
pub(super) type Seen = HashMap<&'static str, Found>;

impl Reader<'_> {
    pub(super) fn fault(&mut self, at: &Range<usize>, detail: String) {
        self.faults.push(Fault { at: at.start, detail, absence: false });
    }

    pub(super) fn absence(&mut self, at: &Range<usize>, detail: String) {
        self.faults.push(Fault { at: at.start, detail, absence: true });
    }

    fn root(&mut self, table: &DeTable<'_>, config: &mut Config) {
        let sections: BTreeSet<&'static str> =
            KEYS.iter().map(|k| k.section).filter(|s| !s.is_empty()).collect();
        let mut ids = Ids::default();
        for (key, value) in table {
            let name: &str = key.get_ref();
            if let Some(list) = LISTS.iter().find(|l| l.name == name) {
                (list.read)(self, value, config, &mut ids);
            } else if let Some(section) = sections.get(name) {
                match value.get_ref() {
                    DeValue::Table(inner) => {
                        self.keys(inner, section, KEYS, config);
                    }
                    other => self.fault(
                        &value.span(),
                        format!("`{section}` is {}; expected a table: [{section}]", describe(other)),
                    ),
                }
            } else if let Some(known) = KEYS.iter().find(|k| k.section.is_empty() && k.name == name) {
                self.one(known, value, config);
            } else {
                let here: Vec<&str> = KEYS
                    .iter()
                    .filter(|k| k.section.is_empty())
                    .map(|k| k.name)
                    .chain(sections.iter().copied())
                    .chain(LISTS.iter().map(|l| l.name))
                    .collect();
                self.unknown(name, &key.span(), "", &here);
            }
        }
        self.weigh_later(config);
    }

    /// With other faults the configuration is not whole, and something may only seem to be missing.
    fn weigh_later(&mut self, config: &Config) {
        let later = std::mem::take(&mut self.later);
        if !self.faults.is_empty() {
            return;
        }
        for (at, what) in later {
            match what {
                Later::Output(id) if !config.gpio.iter().any(|p| p.id == id && p.output.is_some()) => {
                    self.fault(
                        &at,
                        format!(
                            "`pin` names {id:?}; expected the id of a [[gpio]] with direction = \"output\""
                        ),
                    );
                }
                Later::Port(id) if !config.serial.iter().any(|p| p.id == id) => {
                    self.fault(&at, format!("`serial` names {id:?}; expected the id of a [[serial]]"));
                }
                Later::NoPort(id) => {
                    let taken = |p: &&super::types::SerialPort| p.sink == Sink::Instrument(id.clone());
                    if let Some(port) = config.serial.iter().find(taken) {
                        self.fault(
                            &at,
                            format!(
                                "the instrument {id:?} is served by the port {:?}; an output takes commands and \
                                 needs an instrument of its own",
                                port.id
                            ),
                        );
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the keys of one table; says what is unknown and what is missing nowhere but here.
    pub(super) fn keys<T>(
        &mut self,
        table: &DeTable<'_>,
        section: &str,
        keys: &'static [Key<T>],
        target: &mut T,
    ) -> Seen {
        let mut seen = Seen::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            match keys.iter().find(|k| k.section == section && k.name == name) {
                Some(known) => {
                    let good = self.one(known, value, target);
                    seen.insert(known.name, Found { at: value.span(), good });
                }
                None => {
                    let here: Vec<&str> =
                        keys.iter().filter(|k| k.section == section).map(|k| k.name).collect();
                    self.unknown(name, &key.span(), section, &here);
                }
            }
        }
        seen
    }

    /// Reads one value; false when it can't be read, which has been said then.
    pub(super) fn one<T>(&mut self, key: &Key<T>, value: &Spanned<DeValue<'_>>, target: &mut T) -> bool {
        if matches!(key.kind, Type::Mappings | Type::Table) {
            return true;
        }
        match key.kind.read_toml(value.get_ref()) {
            Ok(value) => {
                (key.set)(target, value);
                true
            }
            Err(wrong) => {
                self.fault(
                    &value.span(),
                    format!("`{}` is {}; expected {}", key.path(), wrong.written, wrong.expected),
                );
                false
            }
        }
    }

    pub(super) fn unknown(&mut self, name: &str, at: &Range<usize>, section: &str, here: &[&str]) {
        let place = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
        let written = format!("unknown key `{}`{place}", shorten(name));
        let elsewhere = || {
            let of = |s: &'static str, n: &str| (s != section && n == name).then_some(s);
            let listed = || LISTS.iter().flat_map(|l| (l.keys)());
            KEYS.iter().map(|k| (k.section, k.name)).chain(listed()).find_map(|(s, n)| of(s, n))
        };
        let detail = match (nearest(name, here.iter().copied()), elsewhere()) {
            (Some(near), _) => format!("{written}; did you mean `{near}`?"),
            (None, Some("")) => format!("{written}; `{name}` belongs above the first [table]"),
            (None, Some(home)) => format!("{written}; `{name}` belongs in [{home}]"),
            (None, None) => format!("{written}; expected one of {}", here.join(", ")),
        };
        self.fault(at, detail);
    }

    pub(super) fn missing<T>(&mut self, seen: &Seen, keys: &[Key<T>], at: &Range<usize>, what: &str) {
        for key in keys.iter().filter(|k| k.required && !seen.contains_key(k.name)) {
            self.absence(at, format!("{what} lacks `{}`; expected {}", key.name, key.kind.words()));
        }
    }

    /// The tables of `[[name]]`, each with where it begins.
    pub(super) fn tables<'t, 'i>(
        &mut self,
        name: &str,
        value: &'t Spanned<DeValue<'i>>,
        most: usize,
    ) -> Vec<(&'t DeTable<'i>, Range<usize>)> {
        let expected = format!("expected tables, each begun with [[{name}]]");
        let DeValue::Array(list) = value.get_ref() else {
            self.fault(&value.span(), format!("`{name}` is {}; {expected}", describe(value.get_ref())));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((table, item.span())),
                other => self
                    .fault(&item.span(), format!("an item of `{name}` is {}; {expected}", describe(other))),
            }
        }
        if let Some((_, at)) = tables.get(most) {
            let at = at.clone();
            self.fault(&at, format!("{} times [[{name}]]; at most {most}", tables.len()));
            tables.truncate(most);
        }
        tables
    }

    pub(super) fn recorder_state(&mut self, at: &Range<usize>, name: &str, word: &str) {
        if RecorderState::deserialize(StrDeserializer::<WordError>::new(word)).is_err() {
            let hint = hint(word, RECORDER_STATES.into_iter());
            self.fault(
                at,
                format!("`{name}` is {:?}, which is no state of a recorder; {hint}", shorten(word)),
            );
        }
    }

    pub(super) fn only(&mut self, seen: &Seen, name: &'static str, when: &str) {
        if let Some(found) = seen.get(name) {
            self.fault(
                &found.at,
                format!("`{name}` is set, but it is only used {when}; expected it to be left out"),
            );
        }
    }

    pub(super) fn id(&mut self, seen: &Seen, id: &str, ids: &mut Ids) {
        let Some(Found { at, good: true }) = seen.get("id") else { return };
        let line = self.lines.line(at.start);
        match ids.0.get(id) {
            Some(first) => self.fault(
                at,
                format!("source id {id:?} is used twice, first in line {first}; expected each id once"),
            ),
            None => {
                ids.0.insert(id.to_string(), line);
            }
        }
    }

    /// The one sink there must be.
    pub(super) fn sink(
        &mut self,
        seen: &Seen,
        at: &Range<usize>,
        what: &str,
        said: [&Option<String>; 4],
    ) -> Option<Sink> {
        const NAMES: [&str; 4] = ["recorder", "instrument", "stream", "topic"];
        let there: Vec<usize> = (0..4).filter(|i| seen.contains_key(NAMES[*i])).collect();
        match there[..] {
            [] => {
                self.absence(at, format!("{what} does not say what it becomes; expected exactly one of `recorder`, `instrument`, `stream`, `topic`"));
                None
            }
            [which] => {
                let id = said[which].clone()?;
                Some(match which {
                    0 => Sink::Recorder(id),
                    1 => Sink::Instrument(id),
                    2 => Sink::Stream(id),
                    _ => Sink::Topic(id),
                })
            }
            [.., last] => {
                let names: Vec<String> = there.iter().map(|i| format!("`{}`", NAMES[*i])).collect();
                self.fault(
                    &seen[NAMES[last]].at,
                    format!("{} are set; expected exactly one of them", names.join(" and ")),
                );
                None
            }
        }
    }

    /// Joins faults of syntax with ours. Where the syntax is broken, the parser's guess at what was meant is no ground
    /// for further complaints: those on the same line, and that something is missing, are left out; after a broken table
    /// header all of them are.
    fn weigh_against(&mut self, syntax: &[toml::de::Error]) {
        if syntax.is_empty() {
            return;
        }
        let mut broken = BTreeSet::new();
        let mut header = false;
        let mut found = Vec::new();
        for error in syntax {
            let span = error.span().unwrap_or(self.end..self.end);
            let line = self.lines.line(span.start);
            broken.insert(line);
            let source = self.lines.text(line);
            header |= source.trim_start().starts_with('[');
            let detail = format!("{} in `{}`", lower(error.message()), shorten(source.trim()));
            found.push(Fault { at: span.start, detail, absence: false });
        }
        let kept: Vec<Fault> = std::mem::take(&mut self.faults)
            .into_iter()
            .filter(|f| !header && !f.absence && !broken.contains(&self.lines.line(f.at)))
            .collect();
        found.extend(kept);
        self.faults = found;
    }

    fn finish(mut self) -> Vec<ConfigError> {
        self.faults.sort_by_key(|f| f.at);
        let place = |at| {
            let (line, column) = self.lines.position(at);
            Place::File { path: self.path.to_path_buf(), line, column }
        };
        let mut errors: Vec<ConfigError> = self
            .faults
            .iter()
            .take(limits::CONFIG_ERRORS)
            .map(|f| ConfigError { place: place(f.at), detail: f.detail.clone() })
            .collect();
        errors.dedup();
        if let Some(more) = self.faults.len().checked_sub(limits::CONFIG_ERRORS + 1) {
            let detail = format!("and {} more faults", more + 1);
            errors.push(ConfigError { place: Place::Whole(self.path.to_path_buf()), detail });
        }
        errors
    }
}

/// Where each source id was first used: a line.
#[derive(Default)]
pub(super) struct Ids(HashMap<String, usize>);

const RECORDER_STATES: [&str; 7] = ["idle", "armed", "recording", "hold", "stopped", "fault", "offline"];

pub(super) fn hint<'a>(written: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(written, names.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("expected one of {}", names.collect::<Vec<_>>().join(", ")),
    }
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
