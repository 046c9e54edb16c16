//! `[serial.scpi]`, below a `[[serial]]` with protocol = "scpi": how an instrument is asked and set.

use super::super::error::shorten;
use super::super::file::{Found, Reader, Seen};
use super::super::keys::{DAY, HOUR, Key, apart, key, ms, s};
use super::super::print;
use super::super::value::{Type, describe};
use super::Tell;
use crate::limits;
use crate::model::Bands;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// An instrument that speaks SCPI, or anything like it: a line asks, a line answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scpi {
    /// Asked after each opening; empty: not asked.
    pub identify: String,
    /// A regular expression that the answer has to match.
    pub expect: Option<String>,
    /// Asks for the oldest entry of the error queue; empty: there is none.
    pub errors: String,
    /// Rounds of polling between two looks into the error queue; it is always read after a set.
    pub errors_every: u32,
    /// Clears errors, and what is half done after a time-out; empty: nothing does.
    pub clear: String,
    /// Ends what is sent.
    pub write_end: String,
    /// Ends what is heard.
    pub read_end: String,
    /// It answers each command that is no question with a line.
    pub set_answers: bool,
    /// Pause between two commands.
    pub gap: Duration,
    /// Silence after which a query has failed.
    pub timeout: Duration,
    /// How often channels are asked that do not say otherwise.
    pub poll: Duration,
    /// Stops it; empty: nothing does.
    pub stop: String,
    /// Brings it into a safe state, in this order.
    pub safe: Vec<String>,
    /// What people want to know of it that changes seldom: names and queries.
    pub settings: BTreeMap<String, String>,
    /// Whether it moves or measures; without, it moves when a channel says whether it does.
    pub kind: Option<String>,
    /// What is asked and set.
    pub channels: Vec<ScpiChannel>,
}

/// One value of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct ScpiChannel {
    /// The channel's name.
    pub name: String,
    /// The query that is polled; without one it is only set.
    pub get: Option<String>,
    /// The command that sets it, with `{}` or `{:.3}` for the value.
    pub set: Option<String>,
    /// The query that tells whether a set has worked, where it is not `get`.
    pub readback: Option<String>,
    /// Which part of an answer `1;2;3` or `1,2,3`, from 0; the whole of it without.
    pub part: Option<u32>,
    /// The answer is a block (`#42048...`).
    pub block: bool,
    /// Its unit; with one, the answer has to be a number.
    pub unit: Option<String>,
    /// The number is multiplied by this, then `offset` is added; the other way round when it is set.
    pub scale: f64,
    /// See `scale`.
    pub offset: f64,
    /// The least it may be set to.
    pub min: Option<f64>,
    /// The most it may be set to.
    pub max: Option<f64>,
    /// How far the read-back may be from what was set.
    pub tolerance: Option<f64>,
    /// How long the read-back may take to come there.
    pub settle: Duration,
    /// What an answer becomes, such as `1 = "on"`; the other way round when it is set.
    pub words: BTreeMap<String, String>,
    /// How often it is asked.
    pub poll: Option<Duration>,
    /// The query that tells whether it moves.
    pub moving: Option<String>,
    /// What its answer means, where it is neither a number nor a plain word: `moving` or `still`.
    pub moving_words: BTreeMap<String, String>,
    /// Below this its value is MINOR.
    pub warning_min: Option<f64>,
    /// Above this its value is MINOR.
    pub warning_max: Option<f64>,
    /// Below this its value is MAJOR.
    pub alarm_min: Option<f64>,
    /// Above this its value is MAJOR.
    pub alarm_max: Option<f64>,
}

impl ScpiChannel {
    /// Its bands, for its severity.
    pub fn bands(&self) -> Bands {
        Bands {
            low_alarm: self.alarm_min,
            low: self.warning_min,
            high: self.warning_max,
            high_alarm: self.alarm_max,
        }
    }
}

impl Default for Scpi {
    fn default() -> Self {
        Scpi {
            identify: "*IDN?".into(),
            expect: None,
            errors: "SYST:ERR?".into(),
            errors_every: 10,
            clear: "*CLS".into(),
            write_end: "\n".into(),
            read_end: "\n".into(),
            set_answers: false,
            gap: ms(20),
            timeout: s(2),
            poll: s(1),
            stop: String::new(),
            safe: Vec::new(),
            settings: BTreeMap::new(),
            kind: None,
            channels: Vec::new(),
        }
    }
}

impl Default for ScpiChannel {
    fn default() -> Self {
        ScpiChannel {
            name: String::new(),
            get: None,
            set: None,
            readback: None,
            part: None,
            block: false,
            unit: None,
            scale: 1.0,
            offset: 0.0,
            min: None,
            max: None,
            tolerance: None,
            settle: s(1),
            words: BTreeMap::new(),
            poll: None,
            moving: None,
            moving_words: BTreeMap::new(),
            warning_min: None,
            warning_max: None,
            alarm_min: None,
            alarm_max: None,
        }
    }
}

/// What an instrument may be.
const KINDS: &[&str] = &["movement", "measurement"];

/// Keys of a `[serial.scpi]`.
pub(in crate::config) static KEYS: &[Key<Scpi>] = &[
    key!(Scpi: "serial.scpi" "identify", Type::TextOrNone(256), identify, "Query sent after each opening; its answer is shown. \"\" sends none."),
    key!(Scpi: "serial.scpi" "expect", Type::Text(256), expect, "Regular expression that the answer has to match, such as \"E3631A\"; otherwise it is the wrong device, and nothing is asked or set."),
    key!(Scpi: "serial.scpi" "errors", Type::TextOrNone(256), errors, "Query for the oldest error of the device, repeated until it answers 0. \"\" for a device without."),
    key!(Scpi: "serial.scpi" "errors_every", Type::Whole(1, 10_000), errors_every, "Rounds of polling between two looks for errors; after a set there is always one."),
    key!(Scpi: "serial.scpi" "clear", Type::TextOrNone(256), clear, "Command that clears errors and what is half done; also sent after a time-out. \"\" for a device without."),
    key!(Scpi: "serial.scpi" "write_end", Type::Text(4), write_end, "Ends what is sent."),
    key!(Scpi: "serial.scpi" "read_end", Type::Text(4), read_end, "Ends what the device answers; before \"\\n\" a \"\\r\" is dropped."),
    key!(Scpi: "serial.scpi" "set_answers", Type::Switch, set_answers, "The device answers each command that is no question with one line too, such as OK or what was set: it is waited for and dropped."),
    key!(Scpi: "serial.scpi" "gap", Type::Duration(Duration::ZERO, s(10)), gap, "Pause before each command."),
    key!(Scpi: "serial.scpi" "timeout", Type::Duration(ms(10), s(60)), timeout, "Silence after which a query has failed."),
    key!(Scpi: "serial.scpi" "poll", Type::Duration(ms(10), DAY), poll, "How often a channel is asked."),
    key!(Scpi: "serial.scpi" "stop", Type::TextOrNone(256), stop, "Command that stops it, such as \"ABOR\" or \"H\". \"\" for a device without."),
    key!(Scpi: "serial.scpi" "safe", Type::Names, safe, "Commands that bring it into a safe state, such as [\"OUTP 0\"]; sent when a scan is interrupted, or by the command safe."),
    key!(Scpi: "serial.scpi" "settings", Type::Words, settings, "Names and queries of what changes seldom, such as { velocity = \"VEL?\" }; asked after each opening and once a minute, and shown as settings."),
    key!(Scpi: "serial.scpi" "kind", Type::Choice(KINDS), kind, "Whether it is shown as one that moves or one that measures.").default("movement when a channel has `moving`"),
    apart("serial.scpi", "channels", Type::Mappings, "What is asked and set.").default("[]"),
];

/// Keys of a channel: `channels = [{ name = "volts", get = "MEAS:VOLT?", unit = "V" }]`.
pub(in crate::config) static CHANNEL_KEYS: &[Key<ScpiChannel>] = &[
    key!(ScpiChannel: "serial.scpi.channels" "name", Type::Id, name, "Name of the channel.").required(),
    key!(ScpiChannel: "serial.scpi.channels" "get", Type::Text(256), get, "Query that is polled. Channels with the same one share an answer."),
    key!(ScpiChannel: "serial.scpi.channels" "set", Type::Text(256), set, "Command that sets it; {} stands for the value, {:.3} for the value with three decimals."),
    key!(ScpiChannel: "serial.scpi.channels" "readback", Type::Text(256), readback, "Query that shows whether a set has worked, where it is not `get`."),
    key!(ScpiChannel: "serial.scpi.channels" "part", Type::Whole(0, 255), part, "Which part of an answer such as 1;2;3 or 1,2,3, counted from 0.").default("the whole answer"),
    key!(ScpiChannel: "serial.scpi.channels" "block", Type::Switch, block, "The answer is a block such as #15hello; its text is the value, or its length in bytes when it is not text."),
    key!(ScpiChannel: "serial.scpi.channels" "unit", Type::Text(32), unit, "Its unit; an answer that is no number is then a fault."),
    key!(ScpiChannel: "serial.scpi.channels" "scale", Type::Number, scale, "A number is multiplied by this, then offset is added; the other way round when it is set."),
    key!(ScpiChannel: "serial.scpi.channels" "offset", Type::Number, offset, "Added after scale."),
    key!(ScpiChannel: "serial.scpi.channels" "min", Type::Number, min, "The least it may be set to; less is refused before a byte is sent."),
    key!(ScpiChannel: "serial.scpi.channels" "max", Type::Number, max, "The most it may be set to."),
    key!(ScpiChannel: "serial.scpi.channels" "tolerance", Type::Number, tolerance, "How far the read-back may be from what was set.").default("1 % of the largest of value, min and max, at most half of the way to go"),
    key!(ScpiChannel: "serial.scpi.channels" "settle", Type::Duration(Duration::ZERO, HOUR), settle, "How long it may take until it has arrived: it stands still, where `moving` tells, and the read-back is within the tolerance."),
    key!(ScpiChannel: "serial.scpi.channels" "words", Type::Words, words, "What an answer becomes, such as { 1 = \"on\", 0 = \"off\" }; the other way round when it is set."),
    key!(ScpiChannel: "serial.scpi.channels" "moving", Type::Text(256), moving, "Query whose answer tells whether it moves: 1 or 0, or a word such as moving or idle. A set is done when it has moved and stands still."),
    key!(ScpiChannel: "serial.scpi.channels" "moving_words", Type::Words, moving_words, "What another answer to it means, such as { RUN = \"moving\", 0 = \"moving\", 1 = \"still\" }.").default("{}"),
    key!(ScpiChannel: "serial.scpi.channels" "warning_min", Type::Number, warning_min, "A value below it is MINOR."),
    key!(ScpiChannel: "serial.scpi.channels" "warning_max", Type::Number, warning_max, "A value above it is MINOR."),
    key!(ScpiChannel: "serial.scpi.channels" "alarm_min", Type::Number, alarm_min, "A value below it is MAJOR."),
    key!(ScpiChannel: "serial.scpi.channels" "alarm_max", Type::Number, alarm_max, "A value above it is MAJOR."),
    key!(ScpiChannel: "serial.scpi.channels" "poll", Type::Duration(ms(10), HOUR), poll, "How often this one is asked.").default("that of the port"),
];

/// Writes it as it would be read.
pub(super) fn write(out: &mut String, scpi: &Scpi) {
    out.push_str("\n[serial.scpi]\n");
    print::entry(out, KEYS, scpi);
    if !scpi.channels.is_empty() {
        out.push_str("channels = [\n");
        for channel in &scpi.channels {
            let _ = writeln!(out, "    {{ {} }},", print::inline(CHANNEL_KEYS, channel));
        }
        out.push_str("]\n");
    }
}

/// Its keys for the documentation.
pub(super) fn tell(tell: Tell<'_>) {
    tell("[serial.scpi], below a [[serial]] with protocol = \"scpi\"", &print::rows(KEYS));
    tell("An item of channels in [serial.scpi]", &print::rows(CHANNEL_KEYS));
}

/// Section and name of its keys.
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|k| (k.section, k.name)).chain(CHANNEL_KEYS.iter().map(|k| (k.section, k.name)))
}

impl Reader<'_> {
    /// Reads and weighs `[serial.scpi]`.
    pub(super) fn scpi(&mut self, value: &Spanned<DeValue<'_>>) -> Scpi {
        let mut scpi = Scpi::default();
        let Some(table) = self.inner_table("serial.scpi", value) else { return scpi };
        let seen = self.keys(table, "serial.scpi", KEYS, &mut scpi);
        if let (Some(Found { at, good: true }), Some(expect)) = (seen.get("expect"), &scpi.expect) {
            if let Err(e) = regex_lite::Regex::new(expect) {
                self.fault(at, format!("`expect` can't be used as a regular expression: {e}"));
            }
            if scpi.identify.is_empty() {
                self.only(&seen, "expect", "with `identify`");
            }
        }
        let mut names = BTreeSet::new();
        let Some(items) = table.iter().find(|(k, _)| k.get_ref() == "channels").map(|(_, v)| v) else {
            self.absence(&value.span(), "[serial.scpi] lacks `channels`; expected a list of tables, such as [{ name = \"volts\", get = \"MEAS:VOLT?\" }]".into());
            return scpi;
        };
        for (table, at) in self.inner_list("serial.scpi.channels", items, limits::CHANNELS) {
            let mut channel = ScpiChannel::default();
            let seen = self.keys(table, "serial.scpi.channels", CHANNEL_KEYS, &mut channel);
            self.missing(&seen, CHANNEL_KEYS, &at, "an item of `serial.scpi.channels`");
            self.weigh_channel(&channel, &seen, &at);
            if let Some(Found { at, good: true }) = seen.get("set")
                && scpi.errors.is_empty()
                && channel.get.is_none()
                && channel.readback.is_none()
            {
                let nothing = "`set` is set, but nothing would tell whether it has worked; expected `get`, `readback` or `errors`";
                self.fault(at, nothing.into());
            }
            if let Some(Found { at, good: true }) = seen.get("name")
                && !names.insert(channel.name.clone())
            {
                self.fault(
                    at,
                    format!("two channels are called {:?}; expected each name once", channel.name),
                );
            }
            scpi.channels.push(channel);
        }
        scpi
    }

    fn weigh_channel(&mut self, channel: &ScpiChannel, seen: &Seen, at: &Range<usize>) {
        if !seen.contains_key("get") && !seen.contains_key("set") {
            self.absence(at, "a channel has neither `get` nor `set`; expected at least one of them".into());
        }
        if let (Some(Found { at, good: true }), Some(set)) = (seen.get("set"), &channel.set) {
            if let Err(why) = place_of_value(set) {
                self.fault(at, format!("`set` is {:?}, {why}", shorten(set)));
            }
        } else {
            for name in ["readback", "min", "max", "tolerance", "settle"] {
                self.only(seen, name, "with `set`");
            }
        }
        self.limits(seen, channel.min, channel.max);
        if !seen.contains_key("moving") {
            self.only(seen, "moving_words", "with `moving`");
        } else if let (Some(Found { at, good: true }), Some(word)) = (
            seen.get("moving_words"),
            channel.moving_words.values().find(|word| !matches!(word.as_str(), "moving" | "still")),
        ) {
            self.fault(
                at,
                format!("`moving_words` has {:?}; expected \"moving\" or \"still\"", shorten(word)),
            );
        }
        self.bands(seen, channel.bands());
        if channel.scale == 0.0
            && let Some(found) = seen.get("scale")
        {
            self.fault(&found.at, "`scale` is 0; expected another number".into());
        }
        if channel.tolerance.is_some_and(|t| t < 0.0)
            && let Some(found) = seen.get("tolerance")
        {
            self.fault(&found.at, "`tolerance` is less than 0; expected a distance".into());
        }
    }

    /// Warnings and alarms in the wrong order.
    pub(super) fn bands(&mut self, seen: &Seen, bands: Bands) {
        let named = |name: &str| match name {
            "low_alarm" => "alarm_min",
            "low" => "warning_min",
            "high" => "warning_max",
            _ => "alarm_max",
        };
        if let Some((below, above)) = bands.disorder()
            && let Some(found) = seen.get(named(above))
        {
            let (below, above) = (named(below), named(above));
            self.fault(&found.at, format!("`{above}` is not above `{below}`; expected it to be"));
        }
    }

    /// `min` above `max`.
    pub(super) fn limits(&mut self, seen: &Seen, min: Option<f64>, max: Option<f64>) {
        if let (Some(min), Some(max), Some(found)) = (min, max, seen.get("max"))
            && min > max
        {
            self.fault(&found.at, format!("`max` is {max}, but `min` is {min}; expected `min` to be less"));
        }
    }

    /// A table below a `[[list]]`.
    pub(super) fn inner_table<'t, 'i>(
        &mut self,
        name: &str,
        value: &'t Spanned<DeValue<'i>>,
    ) -> Option<&'t toml::de::DeTable<'i>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(table),
            other => {
                self.fault(
                    &value.span(),
                    format!("`{name}` is {}; expected a table: [{name}]", describe(other)),
                );
                None
            }
        }
    }

    /// The tables of a list below a `[[list]]`, written inline or as `[[name]]`.
    pub(super) fn inner_list<'t, 'i>(
        &mut self,
        name: &str,
        value: &'t Spanned<DeValue<'i>>,
        most: usize,
    ) -> Vec<(&'t toml::de::DeTable<'i>, Range<usize>)> {
        let list = match value.get_ref() {
            DeValue::Array(list) if list.iter().count() <= most => list,
            DeValue::Array(list) => {
                let count = list.iter().count();
                self.fault(&value.span(), format!("`{name}` has {count} items; at most {most}"));
                return Vec::new();
            }
            other => {
                self.fault(
                    &value.span(),
                    format!("`{name}` is {}; expected a list of tables", describe(other)),
                );
                return Vec::new();
            }
        };
        let mut tables = Vec::new();
        for item in list.iter() {
            match item.get_ref() {
                DeValue::Table(table) => tables.push((table, item.span())),
                other => self.fault(
                    &item.span(),
                    format!("an item of `{name}` is {}; expected a table", describe(other)),
                ),
            }
        }
        tables
    }
}

/// Where the value stands in a command: what is before it, its decimals, what is after it.
///
/// # Errors
/// What is wrong, to follow the text.
pub fn place_of_value(set: &str) -> Result<(&str, Option<usize>, &str), String> {
    const EXPECTED: &str = "expected {} or {:.3} once, where the value stands";
    let (before, rest) = set.split_once('{').ok_or_else(|| format!("which has no {{}}; {EXPECTED}"))?;
    let (inside, after) = rest.split_once('}').ok_or_else(|| format!("which lacks a }}; {EXPECTED}"))?;
    if after.contains(['{', '}']) || before.contains('}') {
        return Err(EXPECTED.into());
    }
    let decimals = match inside {
        "" => None,
        text => {
            let digits = text.strip_prefix(":.").map(|t| t.trim_end_matches('f'));
            let number = digits.and_then(|d| d.parse::<usize>().ok()).filter(|n| *n <= 15);
            Some(number.ok_or_else(|| format!("which has {{{inside}}}; {EXPECTED}"))?)
        }
    };
    Ok((before, decimals, after))
}
