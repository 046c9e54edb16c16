//! `[[alert]]`: rules on values.

use super::super::error::shorten;
use super::super::file::{Found, Ids, Reader, Seen};
use super::super::keys::{DAY, Key, apart, key, ms};
use super::super::print;
use super::super::types::Config;
use super::super::value::Type;
use super::List;
use crate::limits;
use crate::model::{Selector, Severity};
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// See [`List`].
pub(super) const LIST: List = List {
    name: "alert",
    keys: || {
        KEYS.iter().map(|k| (k.section, k.name)).chain(AND_KEYS.iter().map(|k| (k.section, k.name))).collect()
    },
    read: |reader, value, config, ids| reader.alert(value, config, ids),
    write: |config, out| {
        for rule in &config.alert {
            out.push_str("\n[[alert]]\n");
            print::entry(out, KEYS, &AlertEntry::from(rule));
            if !rule.and.is_empty() {
                let items = rule.and.iter().map(|when| print::inline(AND_KEYS, &AndEntry::from(when)));
                let items: Vec<String> = items.map(|item| format!("{{ {item} }}")).collect();
                let _ = writeln!(out, "and = [{}]", items.join(", "));
            }
        }
    },
    tell: |tell| {
        tell("[[alert]], one for each rule", &print::rows(KEYS));
        tell("An item of and in [[alert]]", &print::rows(AND_KEYS));
    },
    changed: |old, new| old.alert != new.alert,
};

const SEVERITIES: &[&str] = &["MINOR", "MAJOR", "INVALID"];
const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// Keys of an `[[alert]]`.
pub(in crate::config) static KEYS: &[Key<AlertEntry>] = &[
    key!(AlertEntry: "alert" "id", Type::Id, id, "Id of the alert; that of a built-in rule replaces it.").required(),
    key!(AlertEntry: "alert" "value", Type::Text(256), value, "What it looks at, such as \"stream/temp\", \"instrument/psu/current\" or \"system/temperature_c\"; see docs/alerts.md.").required(),
    key!(AlertEntry: "alert" "above", Type::Number, above, "It holds above this number. With below: outside of the two."),
    key!(AlertEntry: "alert" "below", Type::Number, below, "It holds below this number."),
    key!(AlertEntry: "alert" "major_above", Type::Number, major_above, "Above this it is MAJOR."),
    key!(AlertEntry: "alert" "major_below", Type::Number, major_below, "Below this it is MAJOR."),
    key!(AlertEntry: "alert" "is", Type::Names, is, "It holds while the value is one of these words.").default("not set"),
    key!(AlertEntry: "alert" "is_not", Type::Names, is_not, "It holds while the value is a word and none of these.").default("not set"),
    key!(AlertEntry: "alert" "stale", Type::Duration(ms(100), WEEK), stale, "It holds while the value is marked as not current, or has not been heard of for this long.").default("not set"),
    key!(AlertEntry: "alert" "absent", Type::Duration(ms(100), WEEK), absent, "It holds when the value has never been heard of, or not for this long.").default("not set"),
    key!(AlertEntry: "alert" "hysteresis", Type::Number, hysteresis, "How far back inside its limit a number must come before it is over."),
    key!(AlertEntry: "alert" "delay", Type::Duration(Duration::ZERO, DAY), delay, "How long it must hold first."),
    key!(AlertEntry: "alert" "clear_delay", Type::Duration(Duration::ZERO, DAY), clear_delay, "How long it must be over before the alert is cleared."),
    key!(AlertEntry: "alert" "count", Type::Whole(1, 100), count, "How often it must begin within `within`; holding as long as `within` counts too."),
    key!(AlertEntry: "alert" "within", Type::Duration(ms(100), DAY), within, "See count."),
    key!(AlertEntry: "alert" "stale_after", Type::Duration(ms(100), WEEK), stale_after, "A value not heard of for this long is no data: neither within limits nor beyond.").default("not set"),
    key!(AlertEntry: "alert" "severity", Type::Choice(SEVERITIES), severity, "How bad it is."),
    key!(AlertEntry: "alert" "latched", Type::Switch, latched, "Once over it stays until somebody acknowledges it; otherwise it closes by itself."),
    key!(AlertEntry: "alert" "name", Type::Text(128), name, "What people call the value: {name} in the message."),
    key!(AlertEntry: "alert" "message", Type::Text(512), message, "What it says, with {name}, {value}, {unit}, {limit}, {id} and members beside the value."),
    key!(AlertEntry: "alert" "guidance", Type::Text(512), guidance, "What to do."),
    key!(AlertEntry: "alert" "enabled", Type::Switch, enabled, "Whether it is judged."),
    key!(AlertEntry: "alert" "unless", Type::Names, unless, "It is not raised while one of these alerts is active, such as \"source.psu\": one cause, one alert."),
    apart("alert", "and", Type::Mappings, "Further conditions that must hold at the same time: [{ value = \"instrument/stage/y\", below = 5 }].").default("[]"),
    key!(AlertEntry: "alert" "blocks", Type::Names, blocks, "While it stands these take no commands: \"instrument/stage\", \"gpio/heater\", \"queue/*\", \"scan/*\", \"recorder/deck\". What stops them is always possible."),
    key!(AlertEntry: "alert" "stops", Type::Names, stops, "When it is raised these instruments, pins and recorders are told to stop, or their safe state where they have no stop; scans that use them are paused."),
    key!(AlertEntry: "alert" "latch", Type::Switch, latch, "What it blocks stays blocked, once it is over, until somebody resets it: acknowledges it then."),
    key!(AlertEntry: "alert" "unknown", Type::Choice(UNKNOWN), unknown, "What a value that is not known does to a rule with `blocks`: it blocks, or it passes."),
];

/// Keys of a condition in `and`.
pub(in crate::config) static AND_KEYS: &[Key<AndEntry>] = &[
    key!(AndEntry: "alert.and" "value", Type::Text(256), value, "What it looks at; without a *.").required(),
    key!(AndEntry: "alert.and" "above", Type::Number, above, "It holds above this number. With below: outside of the two."),
    key!(AndEntry: "alert.and" "below", Type::Number, below, "It holds below this number."),
    key!(AndEntry: "alert.and" "is", Type::Names, is, "It holds while the value is one of these words.").default("not set"),
    key!(AndEntry: "alert.and" "is_not", Type::Names, is_not, "It holds while the value is a word and none of these.").default("not set"),
];

const UNKNOWN: &[&str] = &["blocks", "passes"];
/// What can be blocked.
const BLOCKED: [&str; 7] = ["instrument", "gpio", "recorder", "queue", "scan", "service", "signal"];
/// What can be stopped.
const STOPPED: [&str; 3] = ["instrument", "gpio", "recorder"];

/// A rule: which value, what must hold, and what is said then.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertRule {
    /// Id of the alert, or its beginning where the selector has a `*`.
    pub id: String,
    /// What it looks at.
    pub value: Selector,
    /// What must hold.
    pub test: AlertTest,
    /// How far back inside its limit a number must come.
    pub hysteresis: f64,
    /// How long it must hold first.
    pub delay: Duration,
    /// How long it must be over.
    pub clear_delay: Duration,
    /// How often it must begin within `within`.
    pub count: u32,
    /// See `count`.
    pub within: Duration,
    /// A value older than this is no data.
    pub stale_after: Option<Duration>,
    /// How bad.
    pub severity: Severity,
    /// Whether it stays until acknowledged.
    pub latched: bool,
    /// What people call the value.
    pub name: Option<String>,
    /// What it says.
    pub message: Option<String>,
    /// What to do.
    pub guidance: Option<String>,
    /// Whether it is judged.
    pub enabled: bool,
    /// Alerts while which it is not raised.
    pub unless: Vec<String>,
    /// What must hold at the same time.
    pub and: Vec<AlertWhen>,
    /// Targets that take no commands while it stands.
    pub blocks: Vec<String>,
    /// Targets that are told to stop when it is raised.
    pub stops: Vec<String>,
    /// What it blocks stays blocked until somebody resets it.
    pub latch: bool,
    /// Whether it blocks while one of its values is not known.
    pub unknown_blocks: bool,
}

/// A further condition of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertWhen {
    /// What it looks at.
    pub value: Selector,
    /// What must hold: limits or words.
    pub test: AlertTest,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum AlertTest {
    /// A number outside its limits.
    Limits(AlertLimits),
    /// One of these words.
    Is(Vec<String>),
    /// A word that is none of these.
    IsNot(Vec<String>),
    /// Not current, or not heard of for so long.
    Stale(Duration),
    /// Never heard of, or not for so long.
    Absent(Duration),
}

/// Limits of a number; beyond the second of a side it is MAJOR.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct AlertLimits {
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub major_above: Option<f64>,
    pub major_below: Option<f64>,
}

impl AlertRule {
    /// A rule with the defaults of the file.
    pub fn new(id: &str, value: Selector, test: AlertTest) -> Self {
        let entry = AlertEntry::default();
        AlertRule {
            id: id.into(),
            value,
            test,
            hysteresis: entry.hysteresis,
            delay: entry.delay,
            clear_delay: entry.clear_delay,
            count: entry.count,
            within: entry.within,
            stale_after: None,
            severity: Severity::Minor,
            latched: entry.latched,
            name: None,
            message: None,
            guidance: None,
            enabled: true,
            unless: Vec::new(),
            and: Vec::new(),
            blocks: Vec::new(),
            stops: Vec::new(),
            latch: false,
            unknown_blocks: true,
        }
    }
}

/// `[[alert]]` as the file has it, before the keys are weighed against each other.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct AlertEntry {
    pub id: String,
    pub value: String,
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub major_above: Option<f64>,
    pub major_below: Option<f64>,
    pub is: Vec<String>,
    pub is_not: Vec<String>,
    pub stale: Duration,
    pub absent: Duration,
    pub hysteresis: f64,
    pub delay: Duration,
    pub clear_delay: Duration,
    pub count: u32,
    pub within: Duration,
    pub stale_after: Duration,
    pub severity: String,
    pub latched: bool,
    pub name: Option<String>,
    pub message: Option<String>,
    pub guidance: Option<String>,
    pub enabled: bool,
    pub unless: Vec<String>,
    pub blocks: Vec<String>,
    pub stops: Vec<String>,
    pub latch: bool,
    pub unknown: String,
}

/// An item of `and` as the file has it.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct AndEntry {
    pub value: String,
    pub above: Option<f64>,
    pub below: Option<f64>,
    pub is: Vec<String>,
    pub is_not: Vec<String>,
}

impl From<&AlertWhen> for AndEntry {
    fn from(when: &AlertWhen) -> Self {
        let mut entry = AndEntry { value: when.value.text().into(), ..AndEntry::default() };
        match &when.test {
            AlertTest::Limits(limits) => (entry.above, entry.below) = (limits.above, limits.below),
            AlertTest::Is(words) => entry.is.clone_from(words),
            AlertTest::IsNot(words) => entry.is_not.clone_from(words),
            // Not read in `and`.
            AlertTest::Stale(_) | AlertTest::Absent(_) => {}
        }
        entry
    }
}

impl Default for AlertEntry {
    fn default() -> Self {
        AlertEntry {
            id: String::new(),
            value: String::new(),
            above: None,
            below: None,
            major_above: None,
            major_below: None,
            is: Vec::new(),
            is_not: Vec::new(),
            stale: Duration::ZERO,
            absent: Duration::ZERO,
            hysteresis: 0.0,
            delay: Duration::ZERO,
            clear_delay: Duration::ZERO,
            count: 1,
            within: Duration::from_secs(60),
            stale_after: Duration::ZERO,
            severity: "MINOR".into(),
            latched: true,
            name: None,
            message: None,
            guidance: None,
            enabled: true,
            unless: Vec::new(),
            blocks: Vec::new(),
            stops: Vec::new(),
            latch: false,
            unknown: "blocks".into(),
        }
    }
}

impl AlertEntry {
    fn finish(self, value: Selector, test: AlertTest, and: Vec<AlertWhen>) -> AlertRule {
        AlertRule {
            id: self.id,
            value,
            test,
            hysteresis: self.hysteresis,
            delay: self.delay,
            clear_delay: self.clear_delay,
            count: self.count,
            within: self.within,
            stale_after: (!self.stale_after.is_zero()).then_some(self.stale_after),
            severity: Severity::parse(&self.severity).unwrap_or(Severity::Minor),
            latched: self.latched,
            name: self.name,
            message: self.message,
            guidance: self.guidance,
            enabled: self.enabled,
            unless: self.unless,
            and,
            blocks: self.blocks,
            stops: self.stops,
            latch: self.latch,
            unknown_blocks: self.unknown == "blocks",
        }
    }
}

impl From<&AlertRule> for AlertEntry {
    fn from(rule: &AlertRule) -> Self {
        let mut entry = AlertEntry {
            id: rule.id.clone(),
            value: rule.value.text().into(),
            hysteresis: rule.hysteresis,
            delay: rule.delay,
            clear_delay: rule.clear_delay,
            count: rule.count,
            within: rule.within,
            stale_after: rule.stale_after.unwrap_or_default(),
            severity: rule.severity.word().into(),
            latched: rule.latched,
            name: rule.name.clone(),
            message: rule.message.clone(),
            guidance: rule.guidance.clone(),
            enabled: rule.enabled,
            unless: rule.unless.clone(),
            blocks: rule.blocks.clone(),
            stops: rule.stops.clone(),
            latch: rule.latch,
            unknown: if rule.unknown_blocks { "blocks" } else { "passes" }.into(),
            ..AlertEntry::default()
        };
        match &rule.test {
            AlertTest::Limits(limits) => {
                (entry.above, entry.below) = (limits.above, limits.below);
                (entry.major_above, entry.major_below) = (limits.major_above, limits.major_below);
            }
            AlertTest::Is(words) => entry.is.clone_from(words),
            AlertTest::IsNot(words) => entry.is_not.clone_from(words),
            AlertTest::Stale(time) => entry.stale = *time,
            AlertTest::Absent(time) => entry.absent = *time,
        }
        entry
    }
}

const LIMITS: [&str; 4] = ["above", "below", "major_above", "major_below"];
const TESTS: [&str; 4] = ["is", "is_not", "stale", "absent"];

impl Reader<'_> {
    pub(super) fn alert(&mut self, value: &Spanned<DeValue<'_>>, config: &mut Config, _: &mut Ids) {
        let mut ids: HashMap<String, usize> = HashMap::new();
        for (table, at) in self.tables("alert", value, limits::ALERT_RULES) {
            let before = self.faults.len();
            let mut entry = AlertEntry::default();
            let seen = self.keys(table, "alert", KEYS, &mut entry);
            self.missing(&seen, KEYS, &at, "[[alert]]");
            if let Some(Found { at, good: true }) = seen.get("id") {
                let line = self.lines.line(at.start);
                if let Some(first) = ids.insert(entry.id.clone(), line) {
                    self.fault(
                        at,
                        format!(
                            "alert id {:?} is used twice, first in line {first}; expected each id once",
                            entry.id
                        ),
                    );
                }
            }
            let mut selector = None;
            if let Some(Found { at, good: true }) = seen.get("value") {
                match Selector::parse(&entry.value) {
                    Ok(found) => selector = Some(found),
                    Err(why) => self.fault(at, format!("`alert.value` is {:?}: {why}", entry.value)),
                }
            }
            let test = self.alert_test(&seen, &at, &entry);
            let and = self.alert_and(table, selector.as_ref(), &seen);
            self.alert_targets(&seen, &entry);
            if let (Some(selector), Some(test)) = (selector, test)
                && self.faults.len() == before
            {
                config.alert.push(entry.finish(selector, test, and));
            }
        }
    }

    /// The further conditions.
    fn alert_and(&mut self, table: &DeTable<'_>, first: Option<&Selector>, seen: &Seen) -> Vec<AlertWhen> {
        let Some(items) = table.iter().find(|(k, _)| k.get_ref() == "and").map(|(_, v)| v) else {
            return Vec::new();
        };
        if first.is_some_and(Selector::is_any)
            && let Some(found) = seen.get("and")
        {
            self.fault(&found.at, "`and` is set and `value` has a *; expected one value by its name".into());
        }
        let mut and = Vec::new();
        for (table, at) in self.inner_list("alert.and", items, limits::ALERT_AND) {
            let mut entry = AndEntry::default();
            let seen = self.keys(table, "alert.and", AND_KEYS, &mut entry);
            self.missing(&seen, AND_KEYS, &at, "an item of `alert.and`");
            let selector = match Selector::parse(&entry.value) {
                Ok(found) if !found.is_any() => Some(found),
                found => {
                    if let Some(Found { at, good: true }) = seen.get("value") {
                        let why = found.err().unwrap_or_else(|| "expected no * here".into());
                        self.fault(at, format!("`alert.and.value` is {:?}: {why}", entry.value));
                    }
                    None
                }
            };
            let limits = seen.contains_key("above") || seen.contains_key("below");
            let test = match (limits, &entry.is[..], &entry.is_not[..]) {
                (true, [], []) => Some(AlertTest::Limits(AlertLimits {
                    above: entry.above,
                    below: entry.below,
                    ..AlertLimits::default()
                })),
                (false, [_, ..], []) => Some(AlertTest::Is(entry.is.clone())),
                (false, [], [_, ..]) => Some(AlertTest::IsNot(entry.is_not.clone())),
                _ => {
                    let what = "an item of `alert.and` does not say one thing that must hold; expected `above` or `below`, or one of `is`, `is_not`";
                    self.fault(&at, what.into());
                    None
                }
            };
            if let (Some(above), Some(below)) = (entry.above, entry.below)
                && below > above
            {
                self.fault(
                    &at,
                    format!(
                        "`above` is {above} and `below` is {below}; expected `above` to be the larger one"
                    ),
                );
            }
            and.extend(selector.zip(test).map(|(value, test)| AlertWhen { value, test }));
        }
        and
    }

    /// What it blocks and stops.
    fn alert_targets(&mut self, seen: &Seen, entry: &AlertEntry) {
        let lists: [(&str, &[String], &[&str]); 2] =
            [("blocks", &entry.blocks, &BLOCKED), ("stops", &entry.stops, &STOPPED)];
        for (key, targets, kinds) in lists {
            let Some(Found { at, good: true }) = seen.get(key) else { continue };
            let is_one = |target: &String| {
                target
                    .split_once('/')
                    .is_some_and(|(kind, id)| kinds.contains(&kind) && (id == "*" || crate::model::is_id(id)))
            };
            if let Some(wrong) = targets.iter().find(|target| !is_one(target)) {
                self.fault(
                    at,
                    format!(
                        "`alert.{key}` has {:?}; expected KIND/ID or KIND/*, KIND one of {}",
                        shorten(wrong),
                        kinds.join(", ")
                    ),
                );
            }
        }
        if entry.blocks.is_empty() {
            for name in ["latch", "unknown"] {
                self.only(seen, name, "with `blocks`");
            }
        }
        if let Some(Found { at, good: true }) = seen.get("latch")
            && entry.latch
            && !entry.latched
        {
            let text = "`latch` is true and `latched` is false; expected an alert that stays until somebody resets it to be kept in the list";
            self.fault(at, text.into());
        }
    }

    /// The one test there must be.
    fn alert_test(&mut self, seen: &Seen, at: &Range<usize>, entry: &AlertEntry) -> Option<AlertTest> {
        let said: Vec<&'static str> = TESTS.into_iter().filter(|name| seen.contains_key(name)).collect();
        let limits: Vec<&'static str> = LIMITS.into_iter().filter(|name| seen.contains_key(name)).collect();
        match (&said[..], limits.is_empty()) {
            ([], true) => {
                self.absence(
                    at,
                    "[[alert]] does not say what must hold; expected `above` or `below`, or one of `is`, `is_not`, `stale`, `absent`".into(),
                );
                return None;
            }
            ([_], true) | ([], false) => {}
            ([.., last], _) => {
                let names: Vec<_> = said.iter().chain(&limits).map(|n| format!("`{n}`")).collect();
                self.fault(
                    &seen[last].at,
                    format!("{} are set; expected limits, or one of the others", names.join(" and ")),
                );
                return None;
            }
        }
        if limits.is_empty() {
            self.only(seen, "hysteresis", "with `above` or `below`");
        }
        match said.first() {
            Some(&"is") if !entry.is.is_empty() => return Some(AlertTest::Is(entry.is.clone())),
            Some(&"is_not") if !entry.is_not.is_empty() => {
                return Some(AlertTest::IsNot(entry.is_not.clone()));
            }
            Some(name @ (&"is" | &"is_not")) => {
                if seen[*name].good {
                    self.fault(
                        &seen[*name].at,
                        format!("`alert.{name}` is empty; expected at least one word"),
                    );
                }
                return None;
            }
            Some(&"stale") => return Some(AlertTest::Stale(entry.stale)),
            Some(_) => return Some(AlertTest::Absent(entry.absent)),
            None => {}
        }
        let pairs = [
            ("above", entry.above, "major_above", entry.major_above),
            ("major_below", entry.major_below, "below", entry.below),
            ("below", entry.below, "above", entry.above),
        ];
        for (low_name, low, high_name, high) in pairs {
            if let (Some(low), Some(high)) = (low, high)
                && low > high
                && let Some(found) = seen.get(high_name)
            {
                self.fault(&found.at, format!("`{high_name}` is {high} and `{low_name}` is {low}; expected `{high_name}` to be the larger one"));
                return None;
            }
        }
        if entry.hysteresis < 0.0
            && let Some(found) = seen.get("hysteresis")
        {
            self.fault(&found.at, format!("`alert.hysteresis` is {}; expected 0 or more", entry.hysteresis));
        }
        Some(AlertTest::Limits(AlertLimits {
            above: entry.above,
            below: entry.below,
            major_above: entry.major_above,
            major_below: entry.major_below,
        }))
    }
}
