//! `[[gpio]]`: inputs.

use super::super::file::{Found, Ids, Reader};
use super::super::keys::{Key, key, s};
use super::super::print;
use super::super::types::{Config, Debounce, Edge, GpioPin, Pull, Sink};
use super::super::value::{EDGES, PULLS, Type};
use super::{List, sink_of, sink_text};
use std::collections::BTreeMap;
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
    tell: |tell| tell("[[gpio]], one for each input", &print::rows(KEYS)),
    changed: |old, new| old.gpio != new.gpio,
};

/// Keys of a `[[gpio]]`.
pub(in crate::config) static KEYS: &[Key<GpioEntry>] = &[
    key!(GpioEntry: "gpio" "id", Type::Id, id, "Name of the source, unique among all sources.").required(),
    key!(GpioEntry: "gpio" "pin", Type::Whole(0, 27), pin, "BCM number: the number after \"GPIO\" on a pinout sheet, not the position on the header.").required(),
    key!(GpioEntry: "gpio" "pull", Type::Choice(PULLS), pull, "Bias resistor of the input."),
    key!(GpioEntry: "gpio" "active_low", Type::Switch, active_low, "Low means active, as with a contact to ground and pull = \"up\"."),
    key!(GpioEntry: "gpio" "edge", Type::Choice(EDGES), edge, "Which edges are published."),
    key!(GpioEntry: "gpio" "stable_for", Type::Duration(Duration::ZERO, s(60)), stable_for, "Debounce: a level counts once it has held this long. Not with ignore_after.").default("not set"),
    key!(GpioEntry: "gpio" "ignore_after", Type::Duration(Duration::ZERO, s(60)), ignore_after, "Debounce: the first edge counts at once, then none for this long. Not with stable_for.").default("not set"),
    key!(GpioEntry: "gpio" "recorder", Type::Id, recorder, "Becomes the status of this recorder."),
    key!(GpioEntry: "gpio" "instrument", Type::Id, instrument, "Becomes a channel of this instrument, 1 or 0."),
    key!(GpioEntry: "gpio" "stream", Type::Id, stream, "Becomes this value stream, 1 or 0."),
    key!(GpioEntry: "gpio" "topic", Type::Topic, topic, "Becomes events of type edge and level on this topic."),
    key!(GpioEntry: "gpio" "active", Type::Text(64), active, "With recorder: the status while active, such as \"recording\". With instrument: the name of the channel."),
    key!(GpioEntry: "gpio" "inactive", Type::Text(64), inactive, "With recorder: the status while not active, such as \"idle\"."),
];

/// `[[gpio]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct GpioEntry {
    pub id: String,
    pub pin: u8,
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
}

impl Default for GpioEntry {
    fn default() -> Self {
        GpioEntry {
            id: String::new(),
            pin: 0,
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
        }
    }
}

impl GpioEntry {
    /// The pin, where exactly one sink was found.
    fn finish(self, sink: Sink) -> GpioPin {
        let debounce = match (self.stable_for, self.ignore_after) {
            (Duration::ZERO, Duration::ZERO) => Debounce::None,
            (Duration::ZERO, after) => Debounce::IgnoreAfter(after),
            (stable, _) => Debounce::StableFor(stable),
        };
        GpioPin {
            id: self.id,
            pin: self.pin,
            pull: self.pull,
            active_low: self.active_low,
            edge: self.edge,
            debounce,
            sink,
            active: self.active,
            inactive: self.inactive,
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
            ..GpioEntry::default()
        };
        match pin.debounce {
            Debounce::None => {}
            Debounce::StableFor(time) => entry.stable_for = time,
            Debounce::IgnoreAfter(time) => entry.ignore_after = time,
        }
        *sink_of(
            &pin.sink,
            [&mut entry.recorder, &mut entry.instrument, &mut entry.stream, &mut entry.topic],
        ) = Some(sink_text(&pin.sink));
        entry
    }
}

impl Reader<'_> {
    pub(super) fn gpio(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, ids: &mut Ids) {
        let mut pins: BTreeMap<u8, usize> = BTreeMap::new();
        for (table, at) in self.tables("gpio", value, 28) {
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
            let sink = self.sink(
                &seen,
                &at,
                "[[gpio]]",
                [&entry.recorder, &entry.instrument, &entry.stream, &entry.topic],
            );
            match &sink {
                Some(Sink::Recorder(_)) => {
                    for (name, word) in [("active", &entry.active), ("inactive", &entry.inactive)] {
                        if let (Some(found), Some(word)) = (seen.get(name), word) {
                            self.recorder_state(&found.at, &format!("gpio.{name}"), word);
                        }
                    }
                }
                Some(Sink::Instrument(_)) => self.only(&seen, "inactive", "with `recorder`"),
                Some(_) => {
                    self.only(&seen, "active", "with `recorder` or `instrument`");
                    self.only(&seen, "inactive", "with `recorder`");
                }
                None => {}
            }
            if let Some(sink) = sink
                && self.faults.len() == before
            {
                config.gpio.push(entry.finish(sink));
            }
        }
    }
}
