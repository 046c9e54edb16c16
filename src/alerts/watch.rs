//! The rules at work: which event concerns which rule, one machine for each value that a rule watches, and what is said
//! when one of them changes. Pure: events and times go in, findings come out.

use super::facts::Facts;
use super::message::{fill, number, span};
use super::rule::{Change, Heard, Heeded, Machine, Standing};
use super::rules::is_off;
use crate::config::{AlertRule, AlertTest};
use crate::limits;
use crate::model::{Event, Picked, Severity, find_kind, is_target};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// It holds, or has become worse.
    Holds(Told),
    /// It is over.
    Over {
        /// Id of the alert.
        id: String,
        /// What to say in the log.
        message: String,
    },
}

/// What an alert of a rule says.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Told {
    pub id: String,
    pub rule: String,
    pub source: String,
    pub severity: Severity,
    pub message: String,
    pub guidance: Option<String>,
    pub value: Option<f64>,
    pub limit: Option<f64>,
    pub unit: Option<String>,
    pub latched: bool,
    pub blocks: Vec<String>,
    pub stops: Vec<String>,
    pub latch: bool,
}

/// How a rule stands, for those who ask.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct RuleRow {
    pub rule: String,
    pub text: String,
    pub severity: Severity,
    pub enabled: bool,
    pub state: &'static str,
    pub value: Option<String>,
    /// On the caller's clock.
    pub since: Option<Duration>,
    /// What it keeps commands from, and whether it does so now.
    pub blocks: Vec<String>,
    pub blocking: bool,
    pub stops: Vec<String>,
    pub latch: bool,
}

/// What the rules may know of the open alerts.
pub trait Open {
    /// The severity of an alert that a rule holds.
    fn raised(&self, id: &str) -> Option<Severity>;
    /// Whether an alert that `pattern` names is active: an id, or its beginning and a `*`.
    fn is_active(&self, pattern: &str) -> bool;
}

struct Rule {
    rule: AlertRule,
    /// Names of members beside the value that its texts mention.
    mentioned: Vec<String>,
    /// By id of the alert.
    instances: BTreeMap<String, Instance>,
}

pub(super) struct Instance {
    pub(super) machine: Machine,
    name: String,
    /// Since when it is not known whether it holds, and whether that was told; only where it blocks then.
    unknown: Option<(Duration, bool)>,
    /// Id of the event it is of; none for types without.
    event: Option<String>,
    unit: Option<String>,
    beside: Vec<(String, String)>,
}

/// See the module above.
#[derive(Default)]
pub struct Watch {
    rules: Vec<Rule>,
    by_kind: HashMap<String, Vec<usize>>,
    off: Vec<String>,
    facts: Facts,
    full_said: bool,
}

const STANDARD: [&str; 5] = ["name", "value", "unit", "limit", "id"];
/// How long what a rule with `blocks` looks at may be unknown before that is an alert of its own: after a start every
/// value is, for a moment. It blocks at once.
pub(super) const UNKNOWN_TOLD: Duration = Duration::from_secs(5);
/// Follows the id of a rule in the id of that alert.
const UNKNOWN: &str = ".unknown";
/// How long a rule with a root cause waits for its cause to be known.
const CAUSE_FIRST: Duration = Duration::from_secs(1);

impl Watch {
    /// Rules that begin at `now`; what `open` says is raised goes on.
    pub fn new(rules: Vec<AlertRule>, off: &[String], now: Duration, open: &impl Open) -> Self {
        let mut watch = Watch { off: off.to_vec(), ..Watch::default() };
        for mut rule in rules {
            if !rule.unless.is_empty() {
                rule.delay = rule.delay.max(CAUSE_FIRST);
            }
            let texts = [rule.message.as_deref(), rule.guidance.as_deref()].into_iter().flatten();
            let mentioned = texts.flat_map(names_in).collect();
            let mut instances = BTreeMap::new();
            if rule.enabled {
                for selector in std::iter::once(&rule.value).chain(rule.and.iter().map(|when| &when.value)) {
                    let of_kind = watch.by_kind.entry(selector.kind().to_string()).or_default();
                    if of_kind.last() != Some(&watch.rules.len()) {
                        of_kind.push(watch.rules.len());
                    }
                }
                if !rule.value.is_any() {
                    let instance = Instance {
                        machine: Machine::new(now, open.raised(&rule.id)),
                        name: rule.name.clone().unwrap_or_else(|| rule.value.name()),
                        event: rule.value.id().map(str::to_string),
                        unknown: unknown_at(&rule, &rule.id, now, open),
                        unit: None,
                        beside: Vec::new(),
                    };
                    instances.insert(rule.id.clone(), instance);
                }
            }
            watch.rules.push(Rule { rule, mentioned, instances });
        }
        watch
    }

    /// Takes over what has been learnt from events so far.
    pub fn learnt(mut self, before: &mut Watch) -> Self {
        self.facts = std::mem::take(&mut before.facts);
        self
    }

    /// What was heard before a reload is as old as it was: reading the file again makes nothing current.
    pub fn grow_as_old_as(&mut self, before: &Watch, now: Duration, open: &impl Open) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in &mut self.rules {
            let same =
                |old: &&Rule| old.rule.id == rule.rule.id && looks_at(&old.rule).eq(looks_at(&rule.rule));
            let Some(old) = before.rules.iter().find(same) else { continue };
            for (id, instance) in &mut rule.instances {
                if let Some(old) = old.instances.get(id) {
                    instance.machine.grow_as_old_as(&old.machine);
                }
            }
            rule.judge_all(now, open, &mut findings);
        }
        findings
    }

    /// What the alert of this id blocks, and whether it latches, as its rule says; none: no rule watches anything under it.
    pub fn says(&self, id: &str) -> Option<(&[String], bool)> {
        let plain = id.strip_suffix(UNKNOWN);
        self.rules.iter().find_map(|Rule { rule, instances, .. }| {
            if instances.contains_key(id) {
                return Some((&rule.blocks[..], rule.latch));
            }
            let of_unknown = blocks_unknown(rule) && plain.is_some_and(|id| instances.contains_key(id));
            of_unknown.then_some((&rule.blocks[..], false))
        })
    }

    /// Whether any rule blocks or stops something: then events are not left to gather.
    pub fn has_interlocks(&self) -> bool {
        self.rules.iter().any(|r| r.rule.enabled && !(r.rule.blocks.is_empty() && r.rule.stops.is_empty()))
    }

    /// The rules that may keep commands from `target`, each with the id of the alert and the value it is on.
    pub(super) fn blocking<'w>(
        &'w self,
        target: &'w str,
    ) -> impl Iterator<Item = (&'w AlertRule, &'w str, &'w Machine)> {
        let names = move |rule: &&Rule| rule.rule.blocks.iter().any(|pattern| is_target(pattern, target));
        self.rules
            .iter()
            .filter(names)
            .flat_map(|r| r.instances.iter().map(|(id, i)| (&r.rule, id.as_str(), &i.machine)))
    }

    /// Whether any rule looks at events like this one: asked for every event there is.
    pub fn concerns(&self, event: &Event) -> bool {
        self.by_kind.contains_key(subject(event))
            || (event.is_retired()
                && &*event.kind == "scan_status"
                && self.by_kind.contains_key("data_point"))
    }

    /// One event. `live` is false for state from before the restart.
    pub fn event(&mut self, event: &Event, live: bool, now: Duration, open: &impl Open) -> Vec<Finding> {
        let mut findings = Vec::new();
        if !self.concerns(event) {
            return findings;
        }
        let Ok(mut payload) = serde_json::from_str::<Value>(event.payload()) else { return findings };
        self.facts.add(&event.kind, &mut payload, now);
        let id = id_of(event, &payload);
        let concerned = self.by_kind.get(subject(event)).cloned().unwrap_or_default();
        for n in concerned {
            let Some(rule) = self.rules.get_mut(n) else { continue };
            let also = rule.hear_also(event, id.as_deref(), &payload, live, now);
            let own = rule.rule.value.kind() == subject(event) && rule.rule.value.takes(id.as_deref());
            if !own {
                if also {
                    rule.judge_all(now, open, &mut findings);
                }
                continue;
            }
            rule.hear(
                id.as_deref(),
                &payload,
                live,
                now,
                open,
                &self.off,
                &mut self.full_said,
                &mut findings,
            );
            rule.tell_unknown(now, &mut findings);
        }
        if event.is_retired() {
            let data = (&*event.kind == "scan_status").then_some("data_point");
            for kind in [Some(&*event.kind), data].into_iter().flatten() {
                for n in self.by_kind.get(kind).cloned().unwrap_or_default() {
                    if let Some(rule) = self.rules.get_mut(n) {
                        if rule.rule.value.kind() == kind {
                            rule.gone(id.as_deref(), &[], now, &mut findings);
                        }
                        rule.gone_also(kind, id.as_deref(), now, open, &mut findings);
                        rule.tell_unknown(now, &mut findings);
                    }
                }
            }
        }
        findings
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration, open: &impl Open) -> Vec<Finding> {
        let mut findings = Vec::new();
        for rule in &mut self.rules {
            let held_back = std::cell::OnceCell::new();
            for (id, instance) in &mut rule.instances {
                if instance.machine.wake(&rule.rule).is_some_and(|at| at <= now) {
                    let held_back = *held_back
                        .get_or_init(|| rule.rule.unless.iter().any(|pattern| open.is_active(pattern)));
                    let change = instance.machine.settle(&rule.rule, now, held_back);
                    findings.extend(change.map(|change| finding(&rule.rule, id, instance, change)));
                }
            }
            rule.tell_unknown(now, &mut findings);
        }
        findings
    }

    /// When [`Watch::tick`] is wanted next.
    pub fn wake(&self) -> Option<Duration> {
        let each = self.rules.iter().flat_map(|r| r.instances.values().map(|i| i.machine.wake(&r.rule)));
        let instances = self.rules.iter().flat_map(|r| r.instances.values());
        let unknown =
            instances.filter_map(|i| i.unknown.filter(|(_, told)| !told).map(|(at, _)| at + UNKNOWN_TOLD));
        each.flatten().chain(unknown).min()
    }

    /// Every rule and how it stands.
    pub fn rows(&self) -> Vec<RuleRow> {
        let mut rows = Vec::new();
        for Rule { rule, instances, .. } in &self.rules {
            let row = |id: &str, state, value: Option<String>, since, blocking| RuleRow {
                rule: id.into(),
                text: describe(rule),
                severity: rule.severity,
                enabled: rule.enabled,
                state,
                value,
                since,
                blocks: rule.blocks.clone(),
                blocking,
                stops: rule.stops.clone(),
                latch: rule.latch,
            };
            if instances.is_empty() {
                rows.push(row(&rule.id, Standing::NoData.word(), None, None, false));
            }
            for (id, instance) in instances {
                let value = instance.machine.last().and_then(|v| shown(v, instance.unit.as_deref()));
                let machine = &instance.machine;
                let blocking = machine.standing() == Standing::Firing && !rule.blocks.is_empty();
                let blocking = blocking || (blocks_unknown(rule) && machine.is_unknown());
                rows.push(row(id, machine.standing().word(), value, Some(machine.since()), blocking));
            }
        }
        rows
    }
}

impl Rule {
    #[allow(clippy::too_many_arguments)]
    fn hear(
        &mut self,
        event: Option<&str>,
        payload: &Value,
        live: bool,
        now: Duration,
        open: &impl Open,
        off: &[String],
        full_said: &mut bool,
        findings: &mut Vec<Finding>,
    ) {
        let held_back = self.rule.unless.iter().any(|pattern| open.is_active(pattern));
        let mut there = Vec::new();
        let mut picked = self.rule.value.pick(event, payload);
        // State is said whole: a member that was left out is not there. Where something is blocked that matters.
        if picked.is_empty()
            && !self.rule.blocks.is_empty()
            && !self.rule.value.is_any()
            && !self.rule.value.is_record()
        {
            picked.push(Picked { name: None, value: &Value::Null, beside: &Value::Null });
        }
        for picked in picked {
            let id = match &picked.name {
                None => self.rule.id.clone(),
                Some(name) => instance_id(&self.rule.id, name),
            };
            if !self.instances.contains_key(&id) {
                if is_off(off, &id) {
                    continue;
                }
                if self.instances.len() >= limits::ALERT_INSTANCES {
                    if !std::mem::replace(full_said, true) {
                        log::warn!(
                            "alert {}: more than {} values; further ones are not watched",
                            self.rule.id,
                            limits::ALERT_INSTANCES
                        );
                    }
                    continue;
                }
                let instance = Instance {
                    machine: Machine::new(now, open.raised(&id)),
                    name: picked.name.clone().unwrap_or_default(),
                    event: event.map(str::to_string),
                    unknown: unknown_at(&self.rule, &id, now, open),
                    unit: None,
                    beside: Vec::new(),
                };
                self.instances.insert(id.clone(), instance);
            }
            let Some(instance) = self.instances.get_mut(&id) else { continue };
            instance.unit = picked.beside.get("unit").and_then(Value::as_str).map(str::to_string);
            instance.beside = self
                .mentioned
                .iter()
                .filter_map(|name| Some((name.clone(), text_of(picked.beside.get(name)?)?)))
                .collect();
            instance.machine.hear(heard(&picked, payload, live), now);
            let change = instance.machine.settle(&self.rule, now, held_back);
            findings.extend(change.map(|change| finding(&self.rule, &id, instance, change)));
            there.push(id);
        }
        if self.rule.value.is_any() {
            self.gone(event, &there, now, findings);
        }
    }

    /// Values of `and` in an event. Whether there was one.
    fn hear_also(
        &mut self,
        event: &Event,
        id: Option<&str>,
        payload: &Value,
        live: bool,
        now: Duration,
    ) -> bool {
        let mut any = false;
        for (n, when) in self.rule.and.iter().enumerate() {
            if when.value.kind() != subject(event) || !when.value.takes(id) {
                continue;
            }
            let picked = when.value.pick(id, payload).into_iter().next();
            if picked.is_none() && when.value.is_record() {
                continue;
            }
            let said = picked.map(|picked| heard(&picked, payload, live));
            for instance in self.instances.values_mut() {
                instance.machine.hear_also(n, said.clone(), now);
            }
            any = true;
        }
        any
    }

    /// The event with a value of `and` is no longer there.
    fn gone_also(
        &mut self,
        kind: &str,
        id: Option<&str>,
        now: Duration,
        open: &impl Open,
        findings: &mut Vec<Finding>,
    ) {
        let mut any = false;
        for (n, when) in self.rule.and.iter().enumerate() {
            if when.value.kind() == kind && when.value.takes(id) {
                self.instances.values_mut().for_each(|instance| instance.machine.hear_also(n, None, now));
                any = true;
            }
        }
        if any {
            self.judge_all(now, open, findings);
        }
    }

    /// Judges what is known.
    fn judge_all(&mut self, now: Duration, open: &impl Open, findings: &mut Vec<Finding>) {
        let held_back = self.rule.unless.iter().any(|pattern| open.is_active(pattern));
        for (id, instance) in &mut self.instances {
            let change = instance.machine.settle(&self.rule, now, held_back);
            findings.extend(change.map(|change| finding(&self.rule, id, instance, change)));
        }
        self.tell_unknown(now, findings);
    }

    /// Says that something is blocked because a value is not known, and that it is known again.
    fn tell_unknown(&mut self, now: Duration, findings: &mut Vec<Finding>) {
        if !blocks_unknown(&self.rule) {
            return;
        }
        for (id, instance) in &mut self.instances {
            let is = instance.machine.standing() == Standing::NoData;
            match &mut instance.unknown {
                None if is => instance.unknown = Some((now, false)),
                Some((since, told)) if is && !*told && now.saturating_sub(*since) >= UNKNOWN_TOLD => {
                    *told = true;
                    findings.push(Finding::Holds(unknown(&self.rule, id, &instance.name)));
                }
                Some((_, told)) if !is => {
                    if *told {
                        let message = format!("what {id} looks at is known again");
                        findings.push(Finding::Over { id: format!("{id}{UNKNOWN}"), message });
                    }
                    instance.unknown = None;
                }
                _ => {}
            }
        }
    }

    /// What is no longer found in events of this id.
    fn gone(&mut self, event: Option<&str>, there: &[String], now: Duration, findings: &mut Vec<Finding>) {
        let is_any = self.rule.value.is_any();
        self.instances.retain(|id, instance| {
            if instance.event.as_deref() != event || there.contains(id) {
                return true;
            }
            if let Some(change) = instance.machine.gone(now) {
                findings.push(finding(&self.rule, id, instance, change));
            }
            // What is not there is not unknown: nobody else would end that alert.
            if is_any && matches!(instance.unknown, Some((_, true))) {
                let message = format!("what {id} looks at is not there any more");
                findings.push(Finding::Over { id: format!("{id}{UNKNOWN}"), message });
            }
            !is_any
        });
    }
}

/// What rules are found by: the type, or the topic of a publisher's own events.
fn subject(event: &Event) -> &str {
    let topic = event.topic.as_str();
    if topic.starts_with("app/") { topic } else { &event.kind }
}

fn id_of(event: &Event, payload: &Value) -> Option<String> {
    if let Some((_, id)) = event.key.as_deref().and_then(|key| key.split_once('/')) {
        return Some(id.into());
    }
    let kind = find_kind(&event.kind)?;
    match payload.get(kind.id_field)? {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Whether a value is marked as current: by the object it is in, or by the whole.
fn is_good(picked: &Picked<'_>, payload: &Value) -> bool {
    let said = |value: &Value| value.get("quality").and_then(Value::as_str).map(|q| q == "good");
    said(picked.beside).or_else(|| said(payload)).unwrap_or(true)
}

fn heard(picked: &Picked<'_>, payload: &Value, live: bool) -> Heard {
    let beside = |name: &str| picked.beside.get(name);
    let there = beside("in_position").and_then(Value::as_bool) == Some(true);
    let heading = beside("target").and_then(Value::as_f64).filter(|n| !there && n.is_finite());
    Heard { value: Heeded::of(picked.value), good: is_good(picked, payload), live, heading }
}

/// The values a rule looks at.
fn looks_at(rule: &AlertRule) -> impl Iterator<Item = &str> {
    std::iter::once(&rule.value).chain(rule.and.iter().map(|when| &when.value)).map(|value| value.text())
}

/// Whether a value that is not known blocks.
pub(super) fn blocks_unknown(rule: &AlertRule) -> bool {
    rule.unknown_blocks && !rule.blocks.is_empty()
}

/// Nothing is known at the beginning; from before the restart it may be told already.
fn unknown_at(rule: &AlertRule, id: &str, now: Duration, open: &impl Open) -> Option<(Duration, bool)> {
    blocks_unknown(rule).then(|| (now, open.raised(&format!("{id}{UNKNOWN}")).is_some()))
}

/// What is said while something is blocked because nobody knows.
fn unknown(rule: &AlertRule, id: &str, name: &str) -> Told {
    let what: Vec<&str> = looks_at(rule).collect();
    Told {
        id: format!("{id}{UNKNOWN}"),
        rule: rule.id.clone(),
        source: rule.value.id().unwrap_or("telltale").into(),
        severity: rule.severity,
        message: format!(
            "{name}: {} not known, so {} takes no commands.",
            match what.len() {
                1 => format!("{} is", what[0]),
                _ => format!("one of {} is", what.join(", ")),
            },
            rule.blocks.join(", ")
        ),
        guidance: Some("Bring its source back; it ends by itself when the value is known.".into()),
        value: None,
        limit: None,
        unit: None,
        latched: false,
        blocks: rule.blocks.clone(),
        stops: Vec::new(),
        latch: false,
    }
}

fn instance_id(rule: &str, name: &str) -> String {
    let name = match name.trim_matches('/') {
        "" => "root",
        name => name,
    };
    let clean = |c: char| if c.is_ascii_alphanumeric() || "_.:-".contains(c) { c } else { '-' };
    format!("{rule}.{name}").chars().map(clean).take(64).collect()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.chars().take(200).collect()),
        Value::Number(n) => Some(n.as_f64().map_or_else(|| n.to_string(), number)),
        Value::Bool(on) => Some(on.to_string()),
        _ => None,
    }
}

fn shown(value: &Heeded, unit: Option<&str>) -> Option<String> {
    match value {
        Heeded::Number(n) => Some(with_unit(*n, unit)),
        Heeded::Word(word) => Some(word.clone()),
        Heeded::Nothing => None,
    }
}

fn with_unit(n: f64, unit: Option<&str>) -> String {
    match unit {
        Some(unit) => format!("{} {unit}", number(n)),
        None => number(n),
    }
}

fn names_in(text: &str) -> Vec<String> {
    let names = std::cell::RefCell::new(Vec::new());
    fill(text, |name| {
        if !STANDARD.contains(&name) {
            names.borrow_mut().push(name.to_string());
        }
        None
    });
    names.into_inner()
}

fn finding(rule: &AlertRule, id: &str, instance: &Instance, change: Change) -> Finding {
    let (severity, limit) = match change {
        Change::Raise { severity, limit } | Change::Worse { severity, limit } => (severity, limit),
        Change::Clear => {
            return Finding::Over { id: id.into(), message: format!("{id} is over") };
        }
    };
    let value = match instance.machine.last() {
        Some(Heeded::Number(n)) => Some(*n).filter(|n| n.is_finite()),
        _ => None,
    };
    let text = |template: &str| {
        fill(template, |name| match name {
            "name" => Some(instance.name.clone()),
            "id" => Some(id.into()),
            "unit" => instance.unit.clone(),
            "limit" => limit.map(number),
            "value" => match instance.machine.last()? {
                Heeded::Number(n) => Some(number(*n)),
                Heeded::Word(word) => Some(word.chars().take(200).collect()),
                Heeded::Nothing => None,
            },
            other => instance.beside.iter().find(|(n, _)| n == other).map(|(_, text)| text.clone()),
        })
    };
    Finding::Holds(Told {
        id: id.into(),
        rule: rule.id.clone(),
        source: instance.event.clone().unwrap_or_else(|| "telltale".into()),
        severity,
        message: match &rule.message {
            Some(template) => text(template),
            None => usual(rule, instance, limit),
        },
        guidance: rule.guidance.as_deref().map(text),
        value: value.filter(|_| limit.is_some()),
        limit,
        unit: instance.unit.clone().filter(|_| limit.is_some()),
        latched: rule.latched,
        blocks: rule.blocks.clone(),
        stops: rule.stops.clone(),
        latch: rule.latch,
    })
}

/// What a rule without a message says.
fn usual(rule: &AlertRule, instance: &Instance, limit: Option<f64>) -> String {
    let name = &instance.name;
    let unit = instance.unit.as_deref();
    match (&rule.test, instance.machine.last(), limit) {
        (AlertTest::Limits(_), Some(Heeded::Number(n)), Some(limit)) => {
            let word = if *n > limit { "above" } else { "below" };
            format!("{name} is {word} {}: {}.", with_unit(limit, unit), with_unit(*n, unit))
        }
        (AlertTest::Stale(_), ..) => format!("{name} is not current: its source is silent or says so."),
        (AlertTest::Absent(_), ..) => format!("{name} is not there."),
        (_, Some(value), _) => {
            format!("{name} is {}.", shown(value, unit).unwrap_or_else(|| "not known".into()))
        }
        (_, None, _) => format!("{name} is not known."),
    }
}

/// A rule in words.
pub(super) fn describe(rule: &AlertRule) -> String {
    let mut text = format!("{} {}", rule.value, holds(&rule.test));
    for when in &rule.and {
        text.push_str(&format!(" and {} {}", when.value, holds(&when.test)));
    }
    if rule.count > 1 {
        text.push_str(&format!(", {} times within {}", rule.count, span(rule.within)));
    } else if !rule.delay.is_zero() {
        text.push_str(&format!(", for {}", span(rule.delay)));
    }
    text
}

fn holds(test: &AlertTest) -> String {
    match test {
        AlertTest::Limits(l) => {
            let parts = [
                ("above", l.above),
                ("below", l.below),
                ("MAJOR above", l.major_above),
                ("MAJOR below", l.major_below),
            ];
            let parts: Vec<String> = parts
                .into_iter()
                .filter_map(|(word, limit)| Some(format!("{word} {}", number(limit?))))
                .collect();
            parts.join(", ")
        }
        AlertTest::Is(words) => format!("is {}", words.join(" or ")),
        AlertTest::IsNot(words) => format!("is not {}", words.join(" or ")),
        AlertTest::Stale(time) => format!("not current or older than {}", span(*time)),
        AlertTest::Absent(time) => format!("not there for {}", span(*time)),
    }
}

#[cfg(test)]
mod tests;
