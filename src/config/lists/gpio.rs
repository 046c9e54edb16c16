//! `[[gpio]]`: inputs and outputs.

use super::super::file::{Found, Ids, Later, Reader, Seen};
use super::super::keys::{HOUR, Key, key, ms, s};
use super::super::print;
use super::super::types::{
    Config, Debounce, Direction, Drive, Edge, EdgeRecords, GpioPin, Measure, Output, PinAlert, Pull, Sink,
};
use super::super::value::{DIRECTIONS, DRIVES, EDGE_RECORDS, EDGES, MEASURES, PULLS, Type};
use super::{List, sink_of, sink_text};
use crate::limits;
use crate::model::Severity;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// See [`List`].
pub(super) const LIST: List = List {
    name: "gpio",
    keys: || KEYS.iter().map(|k| (k.section, k.name)).collect(),
    read: |reader, value, config, ids| reader.gpio(value, config, ids),
    write: |config, out| {
        for pin in &config.gpio {
            out.push_str("\n[[gpio]]\n");
            print::entry(out, KEYS, &GpioEntry::from(pin));
        }
    },
    tell: |tell| tell("[[gpio]], one for each pin", &print::rows(KEYS)),
    changed: |old, new| old.gpio != new.gpio,
};

/// Keys of a `[[gpio]]`.
pub(in crate::config) static KEYS: &[Key<GpioEntry>] = &[
    key!(GpioEntry: "gpio" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(GpioEntry: "gpio" "pin", Type::Whole(0, 63), pin, "BCM number: the number after \"GPIO\" on a pinout sheet, not the position on the header. The header has 2 to 27.").required(),
    key!(GpioEntry: "gpio" "direction", Type::Choice(DIRECTIONS), direction, "Whether it is read or driven."),
    key!(GpioEntry: "gpio" "pull", Type::Choice(PULLS), pull, "Bias resistor of an input."),
    key!(GpioEntry: "gpio" "active_low", Type::Switch, active_low, "Low means active, as with a contact to ground and pull = \"up\"."),
    key!(GpioEntry: "gpio" "edge", Type::Choice(EDGES), edge, "Which edges are published."),
    key!(GpioEntry: "gpio" "stable_for", Type::Duration(Duration::ZERO, s(60)), stable_for, "Debounce: a level counts once it has held this long. Not with ignore_after.").default("not set"),
    key!(GpioEntry: "gpio" "ignore_after", Type::Duration(Duration::ZERO, s(60)), ignore_after, "Debounce: the first edge counts at once, then none for this long. Not with stable_for.").default("not set"),
    key!(GpioEntry: "gpio" "recorder", Type::Id, recorder, "Becomes the status of this recorder."),
    key!(GpioEntry: "gpio" "instrument", Type::Id, instrument, "Becomes a channel of this instrument. An output takes the commands set and pulse of it, so no port may feed it as well."),
    key!(GpioEntry: "gpio" "stream", Type::Id, stream, "Becomes this value stream."),
    key!(GpioEntry: "gpio" "topic", Type::Topic, topic, "Becomes events of type edge and level on this topic."),
    key!(GpioEntry: "gpio" "active", Type::Text(64), active, "With recorder: the status while active, such as \"recording\". With instrument: the name of the channel."),
    key!(GpioEntry: "gpio" "inactive", Type::Text(64), inactive, "With recorder: the status while not active, such as \"idle\"."),
    key!(GpioEntry: "gpio" "value", Type::Choice(MEASURES), value, "With stream or instrument, what is told: level (1 while active), count (how often it became active), rate (the same per second), pulse (how long it was active last, in ms)."),
    key!(GpioEntry: "gpio" "window", Type::Duration(ms(100), HOUR), window, "The time over which a rate is measured: some periods of the slowest signal."),
    key!(GpioEntry: "gpio" "interval", Type::Duration(Duration::ZERO, HOUR), interval, "What it becomes is published at most this often; in between the newest counts. With edges = \"count\" at least 1 s.").default("50ms"),
    key!(GpioEntry: "gpio" "edges", Type::Choice(EDGE_RECORDS), edges, "With topic: a record for each edge (of many in a second one for all of them), or now and then one with their count."),
    key!(GpioEntry: "gpio" "flood", Type::Whole(10, 100_000), flood, "Edges a second past which the pin is parked for a while, with an alert: it chatters or floats."),
    key!(GpioEntry: "gpio" "alert", Type::Choice(SEVERITIES), alert, "Raises an alert of this severity while active."),
    key!(GpioEntry: "gpio" "message", Type::Text(200), message, "With alert, then required: what has happened."),
    key!(GpioEntry: "gpio" "guidance", Type::Text(400), guidance, "With alert: what to do."),
    key!(GpioEntry: "gpio" "initial", Type::Choice(DRIVES), initial, "Of an output: the level before it drives for the first time; keep leaves it as it was, which after a boot is low."),
    key!(GpioEntry: "gpio" "safe", Type::Choice(DRIVES), safe, "Of an output: the level it is left with when telltale stops, or when the pin is taken out of the file. Killed, telltale leaves it as it is."),
    key!(GpioEntry: "gpio" "pulse_max", Type::Duration(ms(1), HOUR), pulse_max, "Of an output: the longest pulse that may be asked for."),
];

const SEVERITIES: &[&str] = &["MINOR", "MAJOR", "INVALID"];

/// `[[gpio]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GpioEntry {
    pub id: String,
    pub pin: u8,
    pub direction: Direction,
    pub pull: Pull,
    pub active_low: bool,
    pub edge: Edge,
    pub stable_for: Duration,
    pub ignore_after: Duration,
    pub recorder: Option<String>,
    pub instrument: Option<String>,
    pub stream: Option<String>,
    pub topic: Option<String>,
    pub active: Option<String>,
    pub inactive: Option<String>,
    pub value: Measure,
    pub window: Duration,
    pub interval: Duration,
    pub edges: EdgeRecords,
    pub flood: u32,
    pub alert: Option<String>,
    pub message: Option<String>,
    pub guidance: Option<String>,
    pub initial: Drive,
    pub safe: Drive,
    pub pulse_max: Duration,
}

impl Default for GpioEntry {
    fn default() -> Self {
        GpioEntry {
            id: String::new(),
            pin: 0,
            direction: Direction::Input,
            pull: Pull::Off,
            active_low: false,
            edge: Edge::Both,
            stable_for: Duration::ZERO,
            ignore_after: Duration::ZERO,
            recorder: None,
            instrument: None,
            stream: None,
            topic: None,
            active: None,
            inactive: None,
            value: Measure::Level,
            window: s(1),
            interval: limits::GPIO_INTERVAL,
            edges: EdgeRecords::Each,
            flood: limits::GPIO_FLOOD,
            alert: None,
            message: None,
            guidance: None,
            initial: Drive::Low,
            safe: Drive::Low,
            pulse_max: s(10),
        }
    }
}

impl GpioEntry {
    /// The pin, where at most one sink was found.
    fn finish(self, sink: Option<Sink>) -> GpioPin {
        let debounce = match (self.stable_for, self.ignore_after) {
            (Duration::ZERO, Duration::ZERO) => Debounce::None,
            (Duration::ZERO, after) => Debounce::IgnoreAfter(after),
            (stable, _) => Debounce::StableFor(stable),
        };
        let alert = self.alert.as_deref().map(|word| PinAlert {
            severity: match word {
                "MINOR" => Severity::Minor,
                "INVALID" => Severity::Invalid,
                _ => Severity::Major,
            },
            message: self.message.unwrap_or_default(),
            guidance: self.guidance.unwrap_or_default(),
        });
        let output = (self.direction == Direction::Output).then_some(Output {
            initial: self.initial,
            safe: self.safe,
            pulse_max: self.pulse_max,
        });
        GpioPin {
            id: self.id,
            pin: self.pin,
            output,
            pull: self.pull,
            active_low: self.active_low,
            edge: self.edge,
            debounce,
            sink,
            active: self.active,
            inactive: self.inactive,
            edges: self.edges,
            value: self.value,
            window: self.window,
            interval: self.interval,
            flood: self.flood,
            alert,
        }
    }
}

impl From<&GpioPin> for GpioEntry {
    fn from(pin: &GpioPin) -> Self {
        let mut entry = GpioEntry {
            id: pin.id.clone(),
            pin: pin.pin,
            pull: pin.pull,
            active_low: pin.active_low,
            edge: pin.edge,
            active: pin.active.clone(),
            inactive: pin.inactive.clone(),
            value: pin.value,
            window: pin.window,
            interval: pin.interval,
            edges: pin.edges,
            flood: pin.flood,
            ..GpioEntry::default()
        };
        match pin.debounce {
            Debounce::None => {}
            Debounce::StableFor(time) => entry.stable_for = time,
            Debounce::IgnoreAfter(time) => entry.ignore_after = time,
        }
        if let Some(alert) = &pin.alert {
            entry.alert = Some(
                match alert.severity {
                    Severity::Minor => "MINOR",
                    Severity::Invalid => "INVALID",
                    _ => "MAJOR",
                }
                .into(),
            );
            entry.message = Some(alert.message.clone());
            entry.guidance = Some(alert.guidance.clone()).filter(|text| !text.is_empty());
        }
        if let Some(output) = &pin.output {
            entry.direction = Direction::Output;
            entry.initial = output.initial;
            entry.safe = output.safe;
            entry.pulse_max = output.pulse_max;
        }
        if let Some(sink) = &pin.sink {
            *sink_of(
                sink,
                [&mut entry.recorder, &mut entry.instrument, &mut entry.stream, &mut entry.topic],
            ) = Some(sink_text(sink));
        }
        entry
    }
}

impl Reader<'_> {
    pub(super) fn gpio(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, ids: &mut Ids) {
        let mut pins: BTreeMap<u8, usize> = BTreeMap::new();
        for (table, at) in self.tables("gpio", value, limits::GPIO_PINS) {
            let before = self.faults.len();
            let mut entry = GpioEntry::default();
            let seen = self.keys(table, "gpio", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[gpio]]");
            self.id(&seen, &entry.id, ids);
            if let Some(Found { at, good: true }) = seen.get("pin") {
                let line = self.lines.line(at.start);
                if let Some(first) = pins.insert(entry.pin, line) {
                    self.fault(
                        at,
                        format!(
                            "pin {} is used twice, first in line {first}; expected each pin once",
                            entry.pin
                        ),
                    );
                }
            }
            if let (Some(_), Some(second)) = (seen.get("stable_for"), seen.get("ignore_after")) {
                self.fault(
                    &second.at,
                    "both `stable_for` and `ignore_after` are set; expected one of them".into(),
                );
            }
            let is_output = entry.direction == Direction::Output;
            let sinks = ["recorder", "instrument", "stream", "topic"];
            let may_be_alone = is_output || seen.contains_key("alert");
            let sink = if may_be_alone && !sinks.iter().any(|name| seen.contains_key(name)) {
                None
            } else {
                self.sink(
                    &seen,
                    &at,
                    "[[gpio]]",
                    [&entry.recorder, &entry.instrument, &entry.stream, &entry.topic],
                )
            };
            if is_output {
                self.output(&seen, sink.as_ref());
            } else {
                self.input(&seen, &at, &entry, sink.as_ref());
            }
            if (sink.is_some() || may_be_alone) && self.faults.len() == before {
                config.gpio.push(entry.finish(sink));
            }
        }
    }

    fn input(&mut self, seen: &Seen, at: &Range<usize>, entry: &GpioEntry, sink: Option<&Sink>) {
        for name in ["initial", "safe", "pulse_max"] {
            self.only(seen, name, "with direction = \"output\"");
        }
        match sink {
            Some(Sink::Recorder(_)) => {
                for (name, word) in [("active", &entry.active), ("inactive", &entry.inactive)] {
                    if let (Some(found), Some(word)) = (seen.get(name), word) {
                        self.recorder_state(&found.at, &format!("gpio.{name}"), word);
                    }
                }
            }
            Some(Sink::Instrument(_)) => self.only(seen, "inactive", "with `recorder`"),
            _ => {
                self.only(seen, "active", "with `recorder` or `instrument`");
                self.only(seen, "inactive", "with `recorder`");
            }
        }
        if !matches!(sink, Some(Sink::Instrument(_) | Sink::Stream(_))) {
            self.only(seen, "value", "with `stream` or `instrument`");
        }
        if !matches!(sink, Some(Sink::Topic(_))) {
            self.only(seen, "edges", "with `topic`");
        }
        if !seen.contains_key("alert") {
            self.only(seen, "message", "with `alert`");
            self.only(seen, "guidance", "with `alert`");
        } else if !seen.contains_key("message") {
            self.absence(at, "[[gpio]] with `alert` lacks `message`; expected what has happened".into());
        }
    }

    fn output(&mut self, seen: &Seen, sink: Option<&Sink>) {
        for name in [
            "pull",
            "edge",
            "stable_for",
            "ignore_after",
            "recorder",
            "topic",
            "inactive",
            "value",
            "window",
            "interval",
            "edges",
            "flood",
            "alert",
            "message",
            "guidance",
        ] {
            self.only(seen, name, "with direction = \"input\"");
        }
        match sink {
            Some(Sink::Instrument(id)) => {
                if let Some(Found { at, good: true }) = seen.get("instrument") {
                    self.later.push((at.clone(), Later::NoPort(id.clone())));
                }
            }
            _ => self.only(seen, "active", "with `instrument`"),
        }
    }
}
