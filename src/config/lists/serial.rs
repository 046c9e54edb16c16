//! `[[serial]]`: ports.

use super::super::error::shorten;
use super::super::file::{Found, Ids, Reader, Seen, hint};
use super::super::keys::{DAY, KIB, Key, TIB, apart, key, ms, s};
use super::super::print;
use super::super::types::{
    Capture, Config, Device, FlowControl, LineConfig, LineFormat, Mapping, Parity, ProtocolConfig, Replay,
    SerialPort, Sink, UsbRule, Visa,
};
use super::super::value::{FLOWS, PARITIES, Setting, Type, Value, describe};
use super::modbus::{self, Modbus};
use super::nmea::{self, Nmea};
use super::scpi::{self, Scpi};
use super::{List, sink_of, sink_text};
use crate::limits;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// See [`List`].
pub(super) const LIST: List = List {
    name: "serial",
    keys: || {
        let own = KEYS.iter().map(|k| (k.section, k.name));
        let all = own.chain(MAP_KEYS.iter().map(|k| (k.section, k.name)));
        all.chain(scpi::names()).chain(nmea::names()).chain(modbus::names()).collect()
    },
    read: |reader, value, config, ids| reader.serial(value, config, ids),
    write: |config, out| {
        for port in &config.serial {
            out.push_str("\n[[serial]]\n");
            let protocol = &port.protocol;
            let port = SerialEntry::from(port);
            print::entry(out, KEYS, &port);
            match protocol {
                ProtocolConfig::Line(_) => {}
                ProtocolConfig::Scpi(scpi) => scpi::write(out, scpi),
                ProtocolConfig::Nmea(nmea) => nmea::write(out, nmea),
                ProtocolConfig::Modbus(modbus) => modbus::write(out, modbus),
            }
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
        scpi::tell(tell);
        nmea::tell(tell);
        modbus::tell(tell);
    },
    changed: |old, new| old.serial != new.serial,
};

/// Keys of a `[[serial]]`.
pub(in crate::config) static KEYS: &[Key<SerialEntry>] = &[
    key!(SerialEntry: "serial" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(SerialEntry: "serial" "device", Type::Path, device, "Such as \"/dev/serial/by-id/...\" (stays the same across sockets), \"/dev/serial/by-path/...\" (a socket) or \"/dev/ttyAMA0\"; or \"sim:supply.yaml\", a simulated device from a device file of pyvisa-sim, with \"#ASRL2::INSTR\" after it when it is not the first serial one. \"tcp://host:port\" is a raw socket, as of an instrument or a terminal server. This, usb or replay."),
    key!(SerialEntry: "serial" "usb", Type::Text(128), usb, "The USB adapter with this vendor and product, such as \"0403:6001\", with a serial number \"0403:6001:A50285BI\" or an interface \"0403:6011@1\"."),
    key!(SerialEntry: "serial" "replay", Type::Path, replay, "A capture, or any file of bytes, that is played in place of a device."),
    key!(SerialEntry: "serial" "replay_rate", Type::Number, replay_rate, "How fast: 1 as it was, 10 ten times as fast, 0 as fast as it is taken; a file that is no capture comes at baud."),
    key!(SerialEntry: "serial" "replay_loop", Type::Switch, replay_loop, "At its end the replay begins again."),
    key!(SerialEntry: "serial" "baud", Type::Whole(50, 4_000_000), baud, "Bits per second."),
    key!(SerialEntry: "serial" "data_bits", Type::Whole(5, 8), data_bits, "Data bits."),
    key!(SerialEntry: "serial" "parity", Type::Choice(PARITIES), parity, "Parity bit."),
    key!(SerialEntry: "serial" "stop_bits", Type::Whole(1, 2), stop_bits, "Stop bits."),
    key!(SerialEntry: "serial" "flow", Type::Choice(FLOWS), flow, "What holds a sender back: nothing, XON/XOFF, or the lines RTS and CTS."),
    key!(SerialEntry: "serial" "protocol", Type::Choice(PROTOCOLS), protocol, "What is spoken on the port."),
    key!(SerialEntry: "serial" "format", Type::Choice(&["json", "csv", "regex"]), format, "With protocol = \"line\", then required: one JSON object a line, values between separators, or a regular expression.").default("not set"),
    key!(SerialEntry: "serial" "separator", Type::Separator, separator, "With format = \"csv\": what stands between values.").default("\",\""),
    key!(SerialEntry: "serial" "pattern", Type::Pattern, pattern, "With format = \"regex\", then required: the expression; each named group is a value."),
    apart("serial", "map", Type::Mappings, "Which values are used and what they are called; without it every member, column or group under its own name.").default("[]"),
    key!(SerialEntry: "serial" "terminator", Type::Text(8), terminator, "What ends a line, such as \"\\r\\n\" or \";\".").default("LF, CRLF or CR"),
    key!(SerialEntry: "serial" "comment", Type::Text(8), comment, "A line that begins with this says nothing, such as \"#\"."),
    key!(SerialEntry: "serial" "skip_lines", Type::Whole(0, 1_000), skip_lines, "So many lines after each opening are a heading and are not read."),
    key!(SerialEntry: "serial" "max_line", Type::Whole(16, 65_536), max_line, "Longest line in bytes; a longer one is counted and skipped."),
    apart("serial", "scpi", Type::Table, "With protocol = \"scpi\", then required: what is asked and set."),
    apart("serial", "nmea", Type::Table, "With protocol = \"nmea\": what is taken of the sentences."),
    apart("serial", "modbus", Type::Table, "With protocol = \"modbus\", then required: which registers are read and written."),
    key!(SerialEntry: "serial" "recorder", Type::Id, recorder, "The values are folded into the status of this recorder."),
    key!(SerialEntry: "serial" "instrument", Type::Id, instrument, "The values become channels of this instrument."),
    key!(SerialEntry: "serial" "stream", Type::Id, stream, "The value becomes this value stream; several values become {stream}.{name}."),
    key!(SerialEntry: "serial" "topic", Type::Topic, topic, "Each line becomes an event of type reading on this topic."),
    key!(SerialEntry: "serial" "name", Type::Text(128), name, "The name people see."),
    key!(SerialEntry: "serial" "stale_after", Type::Duration(ms(100), DAY), stale_after, "Silence after which its values are shown as stale."),
    key!(SerialEntry: "serial" "hello", Type::Text(1024), hello, "Sent when the port has been opened, such as \"*IDN?\\n\"."),
    key!(SerialEntry: "serial" "alert", Type::Switch, alert, "Its loss (unplugged, silent, not understood) is an alert."),
    key!(SerialEntry: "serial" "max_rate", Type::Whole(1, 1_000_000), max_rate, "Readings taken a second; more are counted, dropped and told as an alert."),
    key!(SerialEntry: "serial" "capture", Type::Path, capture, "What goes over the port is kept in this file, to be looked at or played again; the one before has .old after its name."),
    key!(SerialEntry: "serial" "capture_limit", Type::Size(64 * KIB, TIB), capture_limit, "Size of the capture and the one before it together; past it the older one goes."),
];

/// What may be spoken.
const PROTOCOLS: &[&str] = &["line", "scpi", "nmea", "modbus"];

/// Keys of a mapping: `map = [{ from = "t", to = "temperature", unit = "degC" }]`.
pub(in crate::config) static MAP_KEYS: &[Key<Mapping>] = &[
    key!(Mapping: "serial.map" "from", Type::Text(128), from, "Member of the JSON object (dots go deeper), number of the CSV column from 0, or name of the group.").required(),
    key!(Mapping: "serial.map" "to", Type::Id, to, "The name it gets: a channel, or a member of recorder_status such as level_db or status.").required(),
    key!(Mapping: "serial.map" "unit", Type::Text(32), unit, "Its unit."),
    key!(Mapping: "serial.map" "scale", Type::Number, scale, "A number is multiplied by this, then offset is added."),
    key!(Mapping: "serial.map" "offset", Type::Number, offset, "Added after scale."),
    key!(Mapping: "serial.map" "words", Type::Words, words, "What a word becomes, such as { REC = \"recording\", STBY = \"idle\" }."),
];

/// `[[serial]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct SerialEntry {
    pub id: String,
    pub device: Option<PathBuf>,
    pub usb: Option<String>,
    pub replay: Option<PathBuf>,
    pub replay_rate: f64,
    pub replay_loop: bool,
    pub baud: u32,
    pub data_bits: u8,
    pub parity: Parity,
    pub stop_bits: u8,
    pub flow: FlowControl,
    pub protocol: String,
    pub format: String,
    pub separator: Option<char>,
    pub pattern: Option<String>,
    pub map: Vec<Mapping>,
    pub terminator: Option<String>,
    pub comment: Option<String>,
    pub skip_lines: u32,
    pub max_line: usize,
    pub scpi: Option<Scpi>,
    pub nmea: Option<Nmea>,
    pub modbus: Option<Modbus>,
    pub recorder: Option<String>,
    pub instrument: Option<String>,
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub name: Option<String>,
    pub stale_after: Duration,
    pub hello: Option<String>,
    pub alert: bool,
    pub max_rate: u32,
    pub capture: Option<PathBuf>,
    pub capture_limit: u64,
}

impl Default for SerialEntry {
    fn default() -> Self {
        SerialEntry {
            id: String::new(),
            device: None,
            usb: None,
            replay: None,
            replay_rate: 1.0,
            replay_loop: false,
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow: FlowControl::None,
            protocol: "line".into(),
            format: String::new(),
            separator: None,
            pattern: None,
            map: Vec::new(),
            terminator: None,
            comment: None,
            skip_lines: 0,
            max_line: limits::SERIAL_LINE,
            scpi: None,
            nmea: None,
            modbus: None,
            recorder: None,
            instrument: None,
            stream: None,
            topic: None,
            name: None,
            stale_after: s(10),
            hello: None,
            alert: true,
            max_rate: limits::SERIAL_READINGS,
            capture: None,
            capture_limit: limits::CAPTURE_BYTES,
        }
    }
}

impl SerialEntry {
    /// The port, where exactly one device and one sink were found.
    fn finish(self, device: Device, sink: Sink) -> SerialPort {
        let format = match self.format.as_str() {
            "csv" => LineFormat::Csv { separator: self.separator.unwrap_or(',') },
            "regex" => LineFormat::Regex(self.pattern.unwrap_or_default()),
            _ => LineFormat::Json,
        };
        let line = LineConfig {
            format,
            map: self.map,
            max_line: self.max_line,
            terminator: self.terminator,
            comment: self.comment,
            skip_lines: self.skip_lines,
        };
        let protocol = match self.protocol.as_str() {
            "scpi" => ProtocolConfig::Scpi(self.scpi.unwrap_or_default()),
            "nmea" => ProtocolConfig::Nmea(self.nmea.unwrap_or_default()),
            "modbus" => ProtocolConfig::Modbus(self.modbus.unwrap_or_default()),
            _ => ProtocolConfig::Line(line),
        };
        SerialPort {
            id: self.id,
            device,
            baud: self.baud,
            data_bits: self.data_bits,
            parity: self.parity,
            stop_bits: self.stop_bits,
            flow: self.flow,
            protocol,
            sink,
            name: self.name,
            stale_after: self.stale_after,
            hello: self.hello,
            alert: self.alert,
            max_rate: self.max_rate,
            capture: self.capture.map(|file| Capture { file, limit: self.capture_limit }),
        }
    }
}

impl From<&SerialPort> for SerialEntry {
    fn from(port: &SerialPort) -> Self {
        let mut entry = SerialEntry {
            id: port.id.clone(),
            baud: port.baud,
            data_bits: port.data_bits,
            parity: port.parity,
            stop_bits: port.stop_bits,
            flow: port.flow,
            name: port.name.clone(),
            stale_after: port.stale_after,
            hello: port.hello.clone(),
            alert: port.alert,
            max_rate: port.max_rate,
            ..SerialEntry::default()
        };
        match &port.device {
            Device::Path(path) | Device::Simulated(path) => entry.device = Some(path.clone()),
            Device::Tcp(_) => entry.device = Some(port.device.to_string().into()),
            Device::Usb(rule) => entry.usb = Some(rule.to_string()),
            Device::Visa(visa) => entry.device = Some(visa.to_string().into()),
            Device::Replay(replay) => {
                entry.replay = Some(replay.file.clone());
                (entry.replay_rate, entry.replay_loop) = (replay.rate, replay.again);
            }
        }
        match &port.protocol {
            ProtocolConfig::Line(line) => {
                (entry.format, entry.separator, entry.pattern) = match &line.format {
                    LineFormat::Json => ("json".into(), None, None),
                    LineFormat::Csv { separator } => ("csv".into(), Some(*separator), None),
                    LineFormat::Regex(pattern) => ("regex".into(), None, Some(pattern.clone())),
                };
                entry.map = line.map.clone();
                entry.max_line = line.max_line;
                entry.terminator = line.terminator.clone();
                entry.comment = line.comment.clone();
                entry.skip_lines = line.skip_lines;
            }
            // Their tables are written from the port itself.
            ProtocolConfig::Scpi(_) => entry.protocol = "scpi".into(),
            ProtocolConfig::Nmea(_) => entry.protocol = "nmea".into(),
            ProtocolConfig::Modbus(_) => entry.protocol = "modbus".into(),
        }
        if let Some(capture) = &port.capture {
            (entry.capture, entry.capture_limit) = (Some(capture.file.clone()), capture.limit);
        }
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

/// Keys that only lines have.
const OF_LINES: [&str; 8] =
    ["format", "separator", "pattern", "map", "terminator", "comment", "skip_lines", "max_line"];

impl Reader<'_> {
    pub(super) fn serial(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, ids: &mut Ids) {
        let mut devices: BTreeMap<String, usize> = BTreeMap::new();
        let mut captures: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for (table, at) in self.tables("serial", value, limits::SERIAL_PORTS) {
            let before = self.faults.len();
            let mut entry = SerialEntry::default();
            let seen = self.keys(table, "serial", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[serial]]");
            self.id(&seen, &entry.id, ids);
            let device = self.device(&entry, &seen, &at, &mut devices);
            if entry.protocol == "line" {
                self.line(&entry, &seen, &at);
            } else {
                OF_LINES.iter().for_each(|key| self.only(&seen, key, "with protocol = \"line\""));
            }
            self.spoken(table, &mut entry, &seen, &at);
            self.only_when(entry.capture.is_some(), &seen, "capture_limit", "with `capture`");
            if let (Some(found), Some(file)) = (seen.get("capture"), &entry.capture) {
                let line = self.lines.line(found.at.start);
                if let Some(first) = captures.insert(file.clone(), line) {
                    let file = file.display();
                    self.fault(
                        &found.at,
                        format!(
                            "capture \"{file}\" is used twice, first in line {first}; expected each file once"
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
            if let (Some(device), Some(sink)) = (device, sink)
                && self.faults.len() == before
            {
                config.serial.push(entry.finish(device, sink));
            }
        }
    }

    /// Reads and weighs the table of a protocol.
    fn spoken(&mut self, table: &DeTable<'_>, entry: &mut SerialEntry, seen: &Seen, at: &Range<usize>) {
        let value = |name: &str| table.iter().find(|(k, _)| k.get_ref() == name).map(|(_, v)| v);
        if let Some(scpi) = value("scpi") {
            entry.scpi = Some(self.scpi(scpi));
        }
        if let Some(nmea) = value("nmea") {
            entry.nmea = Some(self.nmea(nmea));
        }
        if let Some(modbus) = value("modbus") {
            entry.modbus = Some(self.modbus(modbus));
        }
        for (name, when) in [
            ("scpi", "with protocol = \"scpi\""),
            ("nmea", "with protocol = \"nmea\""),
            ("modbus", "with protocol = \"modbus\""),
        ] {
            self.only_when(entry.protocol == name, seen, name, when);
        }
        let asks = matches!(entry.protocol.as_str(), "scpi" | "modbus");
        if asks && value(&entry.protocol).is_none() {
            let name = &entry.protocol;
            self.absence(at, format!("[[serial]] with protocol = {name:?} lacks [serial.{name}]"));
        }
        if asks {
            self.only(seen, "replay", "with protocol = \"line\" or \"nmea\", which listen");
        }
        if entry.protocol != "line" {
            self.only(seen, "recorder", "with protocol = \"line\"");
        }
        if entry.protocol == "scpi" {
            for name in ["stream", "topic"] {
                self.only(seen, name, "with another protocol; one that speaks SCPI is an `instrument`");
            }
        }
        // What is asked less often than it goes stale would never be current.
        let scpi = entry.scpi.as_ref().filter(|_| entry.protocol == "scpi");
        let modbus = entry.modbus.as_ref().filter(|_| entry.protocol == "modbus");
        let polled = scpi.map(|scpi| {
            let asked = scpi.channels.iter().filter(|c| c.get.is_some());
            asked.map(|c| c.poll.unwrap_or(scpi.poll)).min().unwrap_or(scpi.poll)
        });
        if let Some(poll) = polled.or(modbus.map(|m| m.poll))
            && poll >= entry.stale_after
        {
            let at = seen.get("stale_after").map_or(at, |found| &found.at);
            self.fault(
                at,
                format!(
                    "`stale_after` is {:?}, but the device is asked every {poll:?}; expected it to be longer",
                    entry.stale_after
                ),
            );
        }
    }

    fn only_when(&mut self, fits: bool, seen: &Seen, key: &'static str, when: &str) {
        if !fits {
            self.only(seen, key, when);
        }
    }

    /// Where the bytes come from: exactly one of three.
    fn device(
        &mut self,
        entry: &SerialEntry,
        seen: &Seen,
        at: &Range<usize>,
        devices: &mut BTreeMap<String, usize>,
    ) -> Option<Device> {
        for key in ["replay_rate", "replay_loop"] {
            self.only_when(entry.replay.is_some(), seen, key, "with `replay`");
        }
        let named: Vec<&str> =
            ["device", "usb", "replay"].into_iter().filter(|key| seen.contains_key(key)).collect();
        let [name] = named[..] else {
            match named.get(1).and_then(|second| seen.get(second)) {
                Some(second) => self.fault(
                    &second.at,
                    format!("`{}` are set; expected one of device, usb, replay", named.join("` and `")),
                ),
                None => {
                    self.absence(at, "[[serial]] lacks `device`; expected one of device, usb, replay".into())
                }
            }
            return None;
        };
        let found = seen.get(name).filter(|found| found.good)?;
        let socket = entry.device.as_ref().and_then(|path| path.to_str()?.strip_prefix(Device::TCP));
        let device = if let Some(address) = socket {
            if !is_address(address) {
                let expected =
                    "a host and a port, such as \"tcp://192.168.1.20:5025\" or \"tcp://psu.local:5025\"";
                let text = shorten(address);
                self.fault(&found.at, format!("`serial.device` is \"tcp://{text}\"; expected {expected}"));
                return None;
            }
            Device::Tcp(address.to_string())
        } else if let Some(path) = &entry.device {
            match path.to_str().and_then(|text| text.strip_prefix(Visa::PREFIX)).map(Visa::parse) {
                None => Device::Path(path.clone()),
                Some(Some(visa)) => Device::Visa(visa),
                Some(None) => {
                    let text = path.display();
                    self.fault(
                        &found.at,
                        format!("`serial.device` is \"{text}\"; expected a file after sim:, and after a # one of its resources"),
                    );
                    return None;
                }
            }
        } else if let Some(file) = &entry.replay {
            let rate = entry.replay_rate;
            if !(0.0..=1_000.0).contains(&rate) {
                let at = seen.get("replay_rate").map_or(&found.at, |found| &found.at);
                self.fault(at, format!("`serial.replay_rate` is {rate}; expected a number from 0 to 1000"));
            }
            return Some(Device::Replay(Replay { file: file.clone(), rate, again: entry.replay_loop }));
        } else {
            let text = entry.usb.as_deref().unwrap_or_default();
            match text.parse::<UsbRule>() {
                Ok(rule) => Device::Usb(rule),
                Err(()) => {
                    let expected = "vendor and product as lsusb shows them, such as \"0403:6001\", \"0403:6001:A50285BI\" with \
                                    a serial number or \"0403:6011@1\" with an interface";
                    self.fault(
                        &found.at,
                        format!("`serial.usb` is {:?}; expected {expected}", shorten(text)),
                    );
                    return None;
                }
            }
        };
        let line = self.lines.line(found.at.start);
        if let Some(first) = devices.insert(device.to_string(), line) {
            self.fault(
                &found.at,
                format!("{name} \"{device}\" is used twice, first in line {first}; expected each port once"),
            );
        }
        Some(device)
    }

    /// Weighs the keys of lines.
    fn line(&mut self, entry: &SerialEntry, seen: &Seen, at: &Range<usize>) {
        if !seen.contains_key("format") {
            self.absence(
                at,
                "[[serial]] lacks `format`; expected one of \"json\", \"csv\", \"regex\"".into(),
            );
        }
        if entry.format.is_empty() {
            return;
        }
        if entry.format != "csv" {
            self.only(seen, "separator", "with format = \"csv\"");
        }
        if entry.format != "regex" {
            self.only(seen, "pattern", "with format = \"regex\"");
        } else if !seen.contains_key("pattern") {
            self.absence(
                at,
                format!(
                    "[[serial]] with format = \"regex\" lacks `pattern`; expected {}",
                    Type::Pattern.words()
                ),
            );
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

/// `host:port`, the host of six in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let fits = match bare {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        }
    };
    fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// What a serial port may say of a recorder; the rest of `recorder_status` is made by the source.
const RECORDER_MEMBERS: [&str; 24] = [
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
    "triggers",
    "last_stop",
    "noise_floor_db",
    "suggested_threshold_db",
    "trend_db_per_min",
    "auto",
    "manual",
    "overruns",
    "split_count",
    "uptime_s",
    "filter.avg_ms",
    "filter.peak_ms",
    "filter.budget_ms",
    "filter.budget_peak_ms",
];
