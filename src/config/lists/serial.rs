//! `[[serial]]`: ports.

use super::super::error::shorten;
use super::super::file::{Found, Ids, Reader, Seen, hint};
use super::super::keys::{DAY, Key, apart, key, ms, s};
use super::super::print;
use super::super::types::{Config, LineFormat, Mapping, Parity, SerialPort, Sink};
use super::super::value::{PARITIES, Setting, Type, Value, describe};
use super::{List, sink_of, sink_text};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "serial",
    keys: || {
        KEYS.iter().map(|k| (k.section, k.name)).chain(MAP_KEYS.iter().map(|k| (k.section, k.name))).collect()
    },
    read: |reader, value, config, ids| reader.serial(value, config, ids),
    write: |config, out| {
        for port in &config.serial {
            out.push_str("\n[[serial]]\n");
            let port = SerialEntry::from(port);
            print::entry(out, KEYS, &port);
            if !port.map.is_empty() {
                out.push_str("map = [\n");
                for mapping in &port.map {
                    let _ = writeln!(out, "    {{ {} }},", print::inline(MAP_KEYS, mapping));
                }
                out.push_str("]\n");
            }
        }
    },
    tell: |tell| {
        tell("[[serial]], one for each port", &print::rows(KEYS));
        tell("An item of map in [[serial]]", &print::rows(MAP_KEYS));
    },
    changed: |old, new| old.serial != new.serial,
};

/// Keys of a `[[serial]]`.
pub(in crate::config) static KEYS: &[Key<SerialEntry>] = &[
    key!(SerialEntry: "serial" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(SerialEntry: "serial" "device", Type::Path, device, "Such as \"/dev/serial/by-id/...\" (stays the same across sockets) or \"/dev/ttyAMA0\".").required(),
    key!(SerialEntry: "serial" "baud", Type::OneOf(BAUDS), baud, "Bits per second."),
    key!(SerialEntry: "serial" "data_bits", Type::Whole(5, 8), data_bits, "Data bits."),
    key!(SerialEntry: "serial" "parity", Type::Choice(PARITIES), parity, "Parity bit."),
    key!(SerialEntry: "serial" "stop_bits", Type::Whole(1, 2), stop_bits, "Stop bits."),
    key!(SerialEntry: "serial" "format", Type::Choice(&["json", "csv", "regex"]), format, "How a line is read: one JSON object, values between separators, or a regular expression.").required(),
    key!(SerialEntry: "serial" "separator", Type::Separator, separator, "With format = \"csv\": what stands between values.").default("\",\""),
    key!(SerialEntry: "serial" "pattern", Type::Pattern, pattern, "With format = \"regex\", then required: the expression; each named group is a value."),
    apart("serial", "map", Type::Mappings, "Which values are used and what they are called; without it every member, column or group under its own name.").default("[]"),
    key!(SerialEntry: "serial" "recorder", Type::Id, recorder, "The values are folded into the status of this recorder."),
    key!(SerialEntry: "serial" "instrument", Type::Id, instrument, "The values become channels of this instrument."),
    key!(SerialEntry: "serial" "stream", Type::Id, stream, "The value becomes this value stream; several values become {stream}.{name}."),
    key!(SerialEntry: "serial" "topic", Type::Topic, topic, "Each line becomes an event of type reading on this topic."),
    key!(SerialEntry: "serial" "name", Type::Text(128), name, "The name people see."),
    key!(SerialEntry: "serial" "stale_after", Type::Duration(ms(100), DAY), stale_after, "Silence after which its values are shown as stale."),
    key!(SerialEntry: "serial" "max_line", Type::Whole(16, 65_536), max_line, "Longest line in bytes; a longer one is counted and skipped."),
    key!(SerialEntry: "serial" "hello", Type::Text(1024), hello, "Sent when the port has been opened, such as \"*IDN?\\n\"."),
];

/// Keys of a mapping: `map = [{ from = "t", to = "temperature", unit = "degC" }]`.
pub(in crate::config) static MAP_KEYS: &[Key<Mapping>] = &[
    key!(Mapping: "serial.map" "from", Type::Text(128), from, "Member of the JSON object (dots go deeper), number of the CSV column from 0, or name of the group.").required(),
    key!(Mapping: "serial.map" "to", Type::Id, to, "The name it gets: a channel, or a member of recorder_status such as level_db or status.").required(),
    key!(Mapping: "serial.map" "unit", Type::Text(32), unit, "Its unit."),
    key!(Mapping: "serial.map" "scale", Type::Number, scale, "A number is multiplied by this, then offset is added."),
    key!(Mapping: "serial.map" "offset", Type::Number, offset, "Added after scale."),
    key!(Mapping: "serial.map" "words", Type::Words, words, "What a word becomes, such as { REC = \"recording\", STBY = \"idle\" }."),
];

/// What Linux can set by name. Source: termios(3).
const BAUDS: &[u64] = &[
    50, 75, 110, 134, 150, 200, 300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200,
    230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

/// `[[serial]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SerialEntry {
    pub id: String,
    pub device: PathBuf,
    pub baud: u32,
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
    pub format: String,
    pub separator: Option<char>,
    pub pattern: Option<String>,
    pub map: Vec<Mapping>,
    pub recorder: Option<String>,
    pub instrument: Option<String>,
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub name: Option<String>,
    pub stale_after: Duration,
    pub max_line: usize,
    pub hello: Option<String>,
}

impl Default for SerialEntry {
    fn default() -> Self {
        SerialEntry {
            id: String::new(),
            device: PathBuf::new(),
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            format: String::new(),
            separator: None,
            pattern: None,
            map: Vec::new(),
            recorder: None,
            instrument: None,
            stream: None,
            topic: None,
            name: None,
            stale_after: s(10),
            max_line: limits::SERIAL_LINE,
            hello: None,
        }
    }
}

impl SerialEntry {
    /// The port, where exactly one sink was found.
    fn finish(self, sink: Sink) -> SerialPort {
        let format = match self.format.as_str() {
            "csv" => LineFormat::Csv { separator: self.separator.unwrap_or(',') },
            "regex" => LineFormat::Regex(self.pattern.unwrap_or_default()),
            _ => LineFormat::Json,
        };
        SerialPort {
            id: self.id,
            device: self.device,
            baud: self.baud,
            data_bits: self.data_bits,
            parity: self.parity,
            stop_bits: self.stop_bits,
            format,
            map: self.map,
            sink,
            name: self.name,
            stale_after: self.stale_after,
            max_line: self.max_line,
            hello: self.hello,
        }
    }
}

impl From<&SerialPort> for SerialEntry {
    fn from(port: &SerialPort) -> Self {
        let (format, separator, pattern) = match &port.format {
            LineFormat::Json => ("json", None, None),
            LineFormat::Csv { separator } => ("csv", Some(*separator), None),
            LineFormat::Regex(pattern) => ("regex", None, Some(pattern.clone())),
        };
        let mut entry = SerialEntry {
            id: port.id.clone(),
            device: port.device.clone(),
            baud: port.baud,
            data_bits: port.data_bits,
            parity: port.parity,
            stop_bits: port.stop_bits,
            format: format.into(),
            separator,
            pattern,
            map: port.map.clone(),
            name: port.name.clone(),
            stale_after: port.stale_after,
            max_line: port.max_line,
            hello: port.hello.clone(),
            ..SerialEntry::default()
        };
        *sink_of(
            &port.sink,
            [&mut entry.recorder, &mut entry.instrument, &mut entry.stream, &mut entry.topic],
        ) = Some(sink_text(&port.sink));
        entry
    }
}

impl Default for Mapping {
    fn default() -> Self {
        Mapping {
            from: String::new(),
            to: String::new(),
            unit: None,
            scale: 1.0,
            offset: 0.0,
            words: BTreeMap::new(),
        }
    }
}

impl Setting for Option<char> {
    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Nothing, Setting::value)
    }
    fn put(&mut self, value: Value) {
        let mut c = ',';
        c.put(value);
        *self = Some(c);
    }
}

impl Reader<'_> {
    pub(super) fn serial(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, ids: &mut Ids) {
        let mut devices: BTreeMap<std::path::PathBuf, usize> = BTreeMap::new();
        for (table, at) in self.tables("serial", value, limits::SERIAL_PORTS) {
            let before = self.faults.len();
            let mut entry = SerialEntry::default();
            let seen = self.keys(table, "serial", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[serial]]");
            self.id(&seen, &entry.id, ids);
            if let Some(Found { at, good: true }) = seen.get("device") {
                let line = self.lines.line(at.start);
                if let Some(first) = devices.insert(entry.device.clone(), line) {
                    self.fault(
                        at,
                        format!(
                            "device \"{}\" is used twice, first in line {first}; expected each port once",
                            entry.device.display()
                        ),
                    );
                }
            }
            if !entry.format.is_empty() {
                if entry.format != "csv" {
                    self.only(&seen, "separator", "with format = \"csv\"");
                }
                if entry.format != "regex" {
                    self.only(&seen, "pattern", "with format = \"regex\"");
                } else if !seen.contains_key("pattern") {
                    self.absence(
                        &at,
                        format!(
                            "[[serial]] with format = \"regex\" lacks `pattern`; expected {}",
                            Type::Pattern.words()
                        ),
                    );
                }
            }
            let sink = self.sink(
                &seen,
                &at,
                "[[serial]]",
                [&entry.recorder, &entry.instrument, &entry.stream, &entry.topic],
            );
            let mapped = table.iter().find(|(k, _)| k.get_ref() == "map").map(|(_, v)| v);
            let places = mapped.map(|v| self.mappings(v, &mut entry)).unwrap_or_default();
            self.weigh_mappings(&entry, sink.as_ref(), &places);
            if let Some(sink) = sink
                && self.faults.len() == before
            {
                config.serial.push(entry.finish(sink));
            }
        }
    }

    /// Reads `map`; gives for each mapping where its members are.
    fn mappings(&mut self, value: &Spanned<DeValue<'_>>, entry: &mut SerialEntry) -> Vec<Seen> {
        let DeValue::Array(list) = value.get_ref() else {
            self.fault(
                &value.span(),
                format!("`serial.map` is {}; expected {}", describe(value.get_ref()), Type::Mappings.words()),
            );
            return Vec::new();
        };
        if list.iter().count() > limits::MAPPINGS {
            self.fault(
                &value.span(),
                format!("`serial.map` has {} items; at most {}", list.iter().count(), limits::MAPPINGS),
            );
            return Vec::new();
        }
        let mut places = Vec::new();
        for item in list.iter() {
            let DeValue::Table(table) = item.get_ref() else {
                let expected = "a table, such as { from = \"temp\", to = \"temperature\" }";
                self.fault(
                    &item.span(),
                    format!("an item of `serial.map` is {}; expected {expected}", describe(item.get_ref())),
                );
                continue;
            };
            let mut mapping = Mapping::default();
            let seen = self.keys(table, "serial.map", MAP_KEYS, &mut mapping);
            self.missing(&seen, MAP_KEYS, &item.span(), "an item of `serial.map`");
            entry.map.push(mapping);
            places.push(seen);
        }
        places
    }

    /// Whether each mapping can work with the format and the sink of its port.
    fn weigh_mappings(&mut self, port: &SerialEntry, sink: Option<&Sink>, places: &[Seen]) {
        let pattern = port.pattern.as_ref().filter(|_| port.format == "regex");
        let groups: Option<Vec<String>> = pattern
            .and_then(|pattern| regex_lite::Regex::new(pattern).ok())
            .map(|regex| regex.capture_names().flatten().map(str::to_string).collect());
        let mut names = BTreeSet::new();
        for (mapping, seen) in port.map.iter().zip(places) {
            if let Some(Found { at, good: true }) = seen.get("from") {
                if port.format == "csv" && !mapping.from.parse::<u16>().is_ok_and(|n| n < 1024) {
                    self.fault(
                        at,
                        format!(
                            "`from` is {:?}; expected the number of a column as text, counted from \"0\"",
                            shorten(&mapping.from)
                        ),
                    );
                }
                if let Some(groups) = &groups
                    && !groups.contains(&mapping.from)
                {
                    let hint = hint(&mapping.from, groups.iter().map(String::as_str));
                    self.fault(at, format!("`pattern` has no group {:?}; {hint}", shorten(&mapping.from)));
                }
            }
            if let Some(Found { at, good: true }) = seen.get("to") {
                if !names.insert(&mapping.to) {
                    self.fault(at, format!("two mappings give {:?}; expected each name once", mapping.to));
                }
                if matches!(sink, Some(Sink::Recorder(_))) {
                    self.recorder_member(mapping, seen, at);
                }
            }
        }
    }

    fn recorder_member(&mut self, mapping: &Mapping, seen: &Seen, to_at: &Range<usize>) {
        if !RECORDER_MEMBERS.contains(&mapping.to.as_str()) {
            let hint = hint(&mapping.to, RECORDER_MEMBERS.into_iter());
            self.fault(to_at, format!("recorder_status has no member {:?}; {hint}", mapping.to));
        }
        if mapping.to == "status"
            && let Some(words) = seen.get("words")
        {
            for word in mapping.words.values() {
                self.recorder_state(&words.at, "words", word);
            }
        }
    }
}

/// What a serial port may say of a recorder; the rest of `recorder_status` is made by the source.
const RECORDER_MEMBERS: [&str; 10] = [
    "status",
    "mode",
    "recording",
    "elapsed_s",
    "level_db",
    "threshold_db",
    "peak_db",
    "clipped",
    "bytes",
    "free_s",
];
