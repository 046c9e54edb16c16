//! The step list of a description, and the values of a loop, which an axis has in the same words.

use super::check::{Check, Found, switched};
use super::fields::{Fields, shown};
use super::{ChannelRef, Condition, Loop, Step, Values};
use crate::limits;
use serde_json::Value;
use std::cell::Cell;
use std::time::Duration;

/// The kinds of steps, which are the keys they are told apart by.
const KINDS: [&str; 9] = ["set", "gpio", "settle", "wait_until", "measure", "loop", "log", "query", "prompt"];

/// Which steps a list may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The points: all of them.
    Points,
    /// Before the points: none that measures or repeats.
    Beside,
    /// At the end or at a pause: nothing that waits for a person either.
    End,
}

/// Reads step lists.
pub(super) struct Steps<'a> {
    pub(super) check: &'a Check<'a>,
    count: Cell<usize>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(check: &'a Check<'a>) -> Steps<'a> {
        Steps { check, count: Cell::new(0) }
    }

    /// The list under a key; empty when it is missing.
    pub(super) fn list(&self, fields: &Fields<'a>, key: &str, place: Place) -> Vec<Step> {
        self.items(fields, key, place, &mut Vec::new())
    }

    /// One step, or a list of them.
    pub(super) fn one_or_more(&self, value: &'a Value, at: &str, place: Place) -> Vec<Step> {
        match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .filter_map(|(n, item)| self.step(item, &format!("{at}[{n}]"), place, &mut Vec::new()))
                .collect(),
            one => self.step(one, at, place, &mut Vec::new()).into_iter().collect(),
        }
    }

    fn items(&self, fields: &Fields<'a>, key: &str, place: Place, outer: &mut Vec<ChannelRef>) -> Vec<Step> {
        let items = fields.list(key).unwrap_or_default();
        items.iter().filter_map(|(at, item)| self.step(item, at, place, outer)).collect()
    }

    fn step(&self, value: &'a Value, at: &str, place: Place, outer: &mut Vec<ChannelRef>) -> Option<Step> {
        self.count.set(self.count.get() + 1);
        if self.count.get() > limits::SCAN_STEPS {
            if self.count.get() == limits::SCAN_STEPS + 1 {
                let most = limits::SCAN_STEPS;
                self.check.faults.add(
                    at,
                    "too_many_steps",
                    format!("a description has at most {most} steps"),
                );
            }
            return None;
        }
        let fields = Fields::of(value, at, "a step", self.check.faults)?;
        let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
        let kind = match kinds[..] {
            [kind] => kind,
            [] => {
                if fields.keys().any(|key| !KINDS.contains(&key)) {
                    fields.only(&KINDS);
                } else {
                    let detail = format!("an empty step was sent; one of {} was expected", KINDS.join(", "));
                    self.check.faults.add(at, "no_step", detail);
                }
                return None;
            }
            _ => {
                let detail = format!("a step does one thing; this one has {}", kinds.join(" and "));
                self.check.faults.add(at, "conflict", detail);
                return None;
            }
        };
        let refused = match kind {
            "measure" | "loop" => place != Place::Points,
            "prompt" => place == Place::End,
            _ => false,
        };
        if refused {
            let detail =
                format!("{kind:?} has no place here: it belongs into \"steps\" or what comes before");
            fields.fault(kind, "not_here", detail);
            return None;
        }
        match kind {
            "set" => self.set(&fields),
            "gpio" => self.gpio(&fields),
            "settle" => {
                fields.only(&["settle"]);
                Some(Step::Settle(fields.seconds("settle", true)?))
            }
            "wait_until" => self.wait_until(&fields),
            "measure" => {
                fields.only(&["measure", "samples", "average"]);
                self.measure(&fields)
            }
            "loop" => self.looped(&fields, outer).map(Step::Loop),
            "log" => {
                fields.only(&["log"]);
                Some(Step::Log(fields.text("log")?))
            }
            "query" => self.query(&fields),
            _ => {
                fields.only(&["prompt"]);
                Some(Step::Prompt(fields.text("prompt")?))
            }
        }
    }

    fn set(&self, fields: &Fields<'a>) -> Option<Step> {
        fields.only(&["set", "value", "unit", "wait_readback", "tolerance", "timeout_s"]);
        let (wait_readback, tolerance, within) = arrival(fields);
        let found = self.check.settable(&fields.text("set")?, &fields.path("set"))?;
        self.check.unit(fields, &found);
        let to = self.check.setting(fields, "value", &found)?;
        Some(Step::Set { channel: found.channel, to, wait_readback, tolerance, within })
    }

    fn gpio(&self, fields: &Fields<'a>) -> Option<Step> {
        fields.only(&["gpio", "value"]);
        let output = fields.text("gpio").filter(|id| self.check.output(id, &fields.path("gpio")));
        let active = match fields.value("value") {
            None => {
                fields.missing("value", "1 or 0, true or false, \"on\" or \"off\"");
                None
            }
            Some(value) => {
                let active = switched(value);
                if active.is_none() {
                    let detail = format!("{} was sent; 1 or 0 was expected", shown(value));
                    fields.fault("value", "wrong_type", detail);
                }
                active
            }
        };
        Some(Step::Gpio { output: output?, active: active? })
    }

    fn wait_until(&self, outer: &Fields<'a>) -> Option<Step> {
        outer.only(&["wait_until"]);
        let at = outer.path("wait_until");
        let fields = Fields::of(outer.value("wait_until")?, &at, "wait_until", self.check.faults)?;
        fields.only(&["channel", "above", "below", "within", "of", "for_s", "timeout_s"]);
        let when = condition(&fields);
        let hold = fields.seconds("for_s", true).unwrap_or_default();
        if !fields.has("timeout_s") {
            fields.missing("timeout_s", "the longest to wait, in seconds; then the step fails");
        }
        let within = fields.seconds("timeout_s", false);
        let channel = self.watched(&fields);
        let within = within?;
        if hold > within {
            fields.fault("for_s", "conflict", "it is longer than timeout_s: it would always fail");
        }
        Some(Step::WaitUntil { channel: channel?, when: when?, hold, within })
    }

    /// The readable channel under `channel`.
    pub(super) fn watched(&self, fields: &Fields<'a>) -> Option<ChannelRef> {
        if !fields.has("channel") {
            fields.missing("channel", "which channel is looked at, such as oven.temp");
        }
        let text = fields.text("channel")?;
        Some(self.check.readable(&text, &fields.path("channel"))?.channel)
    }

    /// What is measured at a point; the keys are those of a step and of the short form.
    pub(super) fn measure(&self, fields: &Fields<'a>) -> Option<Step> {
        let (samples, average) = samples(fields);
        let listed = match fields.value("measure") {
            Some(one @ Value::String(_)) => vec![(fields.path("measure"), one)],
            Some(_) => fields.list("measure")?,
            None => {
                fields.missing(
                    "measure",
                    "the channels that are read at every point, such as [\"dmm.voltage\"]",
                );
                return None;
            }
        };
        if listed.is_empty() {
            fields.fault("measure", "empty", "nothing would be measured; at least one channel was expected");
        }
        if listed.len() > limits::SCAN_COLUMNS {
            let detail = format!("{} channels; a row has at most {}", listed.len(), limits::SCAN_COLUMNS);
            fields.fault("measure", "out_of_range", detail);
            return None;
        }
        let mut channels: Vec<ChannelRef> = Vec::new();
        for (at, item) in &listed {
            let Value::String(text) = item else {
                let detail =
                    format!("{} was sent; a channel was expected, such as \"dmm.voltage\"", shown(item));
                self.check.faults.add(at, "wrong_type", detail);
                continue;
            };
            let Some(found) = self.check.readable(text, at) else { continue };
            if channels.contains(&found.channel) {
                self.check.faults.add(at, "conflict", format!("{} is measured twice", found.channel));
            } else {
                channels.push(found.channel);
            }
        }
        (!channels.is_empty()).then_some(Step::Measure { channels, samples, average })
    }

    fn looped(&self, fields: &Fields<'a>, outer: &mut Vec<ChannelRef>) -> Option<Loop> {
        fields.only(&["loop", "do"]);
        let body = |outer: &mut Vec<ChannelRef>| {
            if !fields.has("do") {
                fields.missing("do", "the steps of each pass");
            }
            let body = self.items(fields, "do", Place::Points, outer);
            if fields.value("do").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                fields.fault("do", "empty", "a loop that does nothing; at least one step was expected");
            }
            body
        };
        let at = fields.path("loop");
        let head = Fields::of(fields.value("loop")?, &at, "a loop", self.check.faults)?;
        let mut known = AXIS.to_vec();
        known.extend(["interval_s", "count", "duration_s"]);
        head.only(&known);
        if outer.len() >= limits::SCAN_DEPTH {
            let most = limits::SCAN_DEPTH;
            self.check.faults.add(at, "too_deep", format!("loops are nested at most {most} deep"));
            return None;
        }
        let interval = head.seconds("interval_s", false);
        let looped = if head.has("set") {
            for key in ["count", "duration_s"] {
                if head.has(key) {
                    let detail = format!("{key:?} is for a loop that sets nothing; this one sets a channel");
                    head.fault(key, "conflict", detail);
                }
            }
            self.axis(&head, outer)
        } else {
            for key in ["start", "stop", "points", "step", "values", "snake"] {
                if head.has(key) {
                    head.fault(key, "conflict", format!("{key:?} needs \"set\", the channel it is for"));
                }
            }
            self.time(&head)
        };
        // Its channel counts as set for the loops within, and a plain count as a level of depth.
        let own = looped.as_ref().and_then(|looped| looped.set.clone());
        outer.push(own.unwrap_or(ChannelRef { instrument: String::new(), channel: String::new() }));
        let body = body(outer);
        outer.pop();
        Some(Loop { interval, body, ..looped? })
    }

    /// A loop over the values of a channel: what an axis says. Its body is empty yet.
    pub(super) fn axis(&self, fields: &Fields<'a>, outer: &[ChannelRef]) -> Option<Loop> {
        let values = values(fields);
        let settle = fields.seconds("settle_s", true).unwrap_or_default();
        let (wait_readback, tolerance, within) = arrival(fields);
        let snake = fields.flag("snake").unwrap_or(false);
        if !fields.has("set") {
            fields.missing("set", "the channel that is set, such as psu.voltage");
        }
        let found: Option<Found> =
            fields.text("set").and_then(|text| self.check.settable(&text, &fields.path("set")));
        let found = found?;
        self.check.unit(fields, &found);
        if outer.contains(&found.channel) {
            let detail = format!("{} is set by a loop around this one already", found.channel);
            fields.fault("set", "conflict", detail);
        }
        let values = values?;
        self.check.values_within(&found, &values, fields.at());
        Some(Loop {
            set: Some(found.channel),
            values,
            snake,
            settle,
            wait_readback,
            tolerance,
            within,
            interval: None,
            duration: None,
            body: Vec::new(),
        })
    }

    /// A loop over time: `count`, `duration_s`, or both. Its body is empty yet.
    pub(super) fn time(&self, fields: &Fields<'a>) -> Option<Loop> {
        let endless = fields.value("count") == Some(&Value::String("endless".into()));
        let duration = fields.seconds("duration_s", false);
        let count = if endless { None } else { fields.whole("count", 1, u64::MAX) };
        if endless && duration.is_some() {
            fields.fault("count", "conflict", "it is endless and has a duration; one of them was expected");
        }
        if !fields.has("count") && !fields.has("duration_s") {
            let detail = "it would never end: say \"count\", \"duration_s\", or \"count\":\"endless\" for one \
                          that runs until it is stopped";
            fields.fault("count", "endless", detail);
        }
        if !endless && count.is_none() && duration.is_none() {
            return None;
        }
        Some(Loop {
            set: None,
            values: Values::Count(count),
            snake: false,
            settle: Duration::ZERO,
            wait_readback: true,
            tolerance: None,
            within: None,
            interval: None,
            duration,
            body: Vec::new(),
        })
    }

    fn query(&self, fields: &Fields<'a>) -> Option<Step> {
        fields.only(&["query", "text"]);
        if !fields.has("text") {
            fields.missing("text", "what is sent, such as \"*IDN?\"");
        }
        let text = fields.text("text");
        let instrument = fields.text("query")?;
        match self.check.instrument(&instrument) {
            None => {
                let meant = self.check.meant(&instrument);
                let short = super::fields::shorten(&instrument);
                let detail = format!("there is no instrument {short:?}{meant}");
                fields.fault("query", "unknown_instrument", detail);
                return None;
            }
            Some(offer) if !offer.queries => {
                fields.fault("query", "not_readable", format!("{instrument} takes no raw text"));
                return None;
            }
            Some(_) => drop(self.check.used.borrow_mut().insert(instrument.clone())),
        }
        Some(Step::Query { instrument, text: text? })
    }
}

/// The keys of an axis.
pub(super) const AXIS: [&str; 12] = [
    "set",
    "start",
    "stop",
    "points",
    "step",
    "values",
    "unit",
    "settle_s",
    "wait_readback",
    "tolerance",
    "timeout_s",
    "snake",
];

/// How a channel arrives: whether it is waited for, how near, how long.
fn arrival(fields: &Fields<'_>) -> (bool, Option<f64>, Option<Duration>) {
    (
        fields.flag("wait_readback").unwrap_or(true),
        fields.positive("tolerance"),
        fields.seconds("timeout_s", false),
    )
}

/// Reads per point. `average` is true or false beside `samples`, or a number that stands for both.
fn samples(fields: &Fields<'_>) -> (u32, bool) {
    let most = u64::from(limits::SCAN_SAMPLES);
    let narrow = |n: u64| u32::try_from(n).unwrap_or(limits::SCAN_SAMPLES);
    let samples = fields.whole("samples", 1, most).map(narrow);
    if let Some(Value::Bool(average)) = fields.value("average") {
        return (samples.unwrap_or(1), *average);
    }
    let average = fields.whole("average", 1, most).map(narrow);
    match (samples, average) {
        (Some(samples), Some(average)) if samples != average && average != 1 => {
            let detail =
                format!("the mean of {average} of {samples} reads; both were expected to be the same");
            fields.fault("average", "conflict", detail);
            (samples, true)
        }
        (Some(samples), Some(1)) => (samples, false),
        (samples, average) => {
            let reads = samples.or(average).unwrap_or(1);
            (reads, reads > 1)
        }
    }
}

/// `above`, `below`, or `within` and `of`: one of them.
pub(super) fn condition(fields: &Fields<'_>) -> Option<Condition> {
    let given: Vec<&str> = ["above", "below", "within"].into_iter().filter(|key| fields.has(key)).collect();
    match given[..] {
        ["above"] => Some(Condition::Above(fields.number("above")?)),
        ["below"] => Some(Condition::Below(fields.number("below")?)),
        ["within"] => {
            if !fields.has("of") {
                fields.missing("of", "the value it is to be near");
            }
            let (within, of) = (fields.positive("within"), fields.number("of"));
            Some(Condition::Within(within?, of?))
        }
        [] => {
            fields.fault(
                "above",
                "missing",
                "a condition was expected: \"above\", \"below\", or \"within\" and \"of\"",
            );
            None
        }
        _ => {
            let detail = format!("one condition was expected; {} were sent", given.join(" and "));
            fields.fault("above", "conflict", detail);
            None
        }
    }
}

/// The values of an axis: `start`, `stop` and `points` or `step`, or `values`.
fn values(fields: &Fields<'_>) -> Option<Values> {
    if fields.has("values") {
        for key in ["start", "stop", "points", "step"] {
            if fields.has(key) {
                fields.fault(
                    key,
                    "conflict",
                    format!("{key:?} and \"values\" were sent; one of them was expected"),
                );
            }
        }
        return list(fields);
    }
    if !["start", "stop", "points", "step"].iter().any(|key| fields.has(key)) {
        fields.missing("points", "an axis has start, stop and points (or step), or values");
        return None;
    }
    let start = fields.number("start");
    if !fields.has("start") {
        fields.missing("start", "the first value");
    }
    let stop = fields.number("stop");
    let points = fields.whole("points", 1, u64::MAX);
    if !fields.has("stop") && points != Some(1) {
        fields.missing("stop", "the last value, which is measured as well");
    }
    match (fields.has("points"), fields.has("step")) {
        (true, true) => {
            fields.fault("step", "conflict", "\"points\" and \"step\" were sent; one of them was expected");
            None
        }
        (false, false) => {
            fields.missing(
                "points",
                "how many values from start to stop, both included (5 intervals are 6 points)",
            );
            None
        }
        (true, false) => {
            let start = start?;
            let stop = if fields.has("stop") { stop? } else { start };
            let points = points?;
            if points > 1 && start == stop {
                let detail = format!("{points} points from {start} to {stop}; start and stop are the same");
                fields.fault("stop", "conflict", detail);
            }
            Some(Values::Even { start, stop, points })
        }
        (false, true) => {
            let step = fields.number("step");
            stepped(fields, start?, stop?, step?)
        }
    }
}

/// `step` becomes a number of points; the last one is the last that fits before `stop`.
fn stepped(fields: &Fields<'_>, start: f64, stop: f64, step: f64) -> Option<Values> {
    if step == 0.0 {
        fields.fault("step", "out_of_range", "0 was sent; a step that leads somewhere was expected");
        return None;
    }
    if step < 0.0 && stop > start {
        fields.fault("step", "out_of_range", format!("{step} leads away from stop, {stop}"));
        return None;
    }
    // Whole steps that fit, forgiving the last bits: 0 to 0.3 in steps of 0.1 are 4 points.
    let ratio = (stop / step.abs() - start / step.abs()).abs();
    let whole = (ratio * (1.0 + 1e-12) + 1e-9).floor();
    let points = (whole as u64).saturating_add(1);
    let last = start + step.abs().copysign(stop - start) * whole;
    let fits = (ratio - whole).abs() < 1e-6 || !last.is_finite();
    // 0.9, not 0.8999999999999999.
    let last = format!("{last:.12e}").parse().unwrap_or(last).clamp(start.min(stop), start.max(stop));
    Some(Values::Even { start, stop: if fits { stop } else { last }, points })
}

fn list(fields: &Fields<'_>) -> Option<Values> {
    let items = fields.list("values")?;
    if items.is_empty() {
        fields.fault("values", "empty", "no values; at least one was expected");
        return None;
    }
    let numbers: Vec<f64> =
        items.iter().filter_map(|(_, item)| item.as_f64().filter(|number| number.is_finite())).collect();
    if numbers.len() < items.len() {
        for (at, item) in items.iter().filter(|(_, item)| !item.is_number()) {
            fields.faults().add(at, "wrong_type", format!("{} was sent; a number was expected", shown(item)));
        }
        return None;
    }
    Some(Values::List(numbers))
}
