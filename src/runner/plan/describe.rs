//! A description of a scan as it was sent, in either form, with every fault found on the way.
//!
//! The short form says what is swept and what is measured (`axes`, `measure`); the other is a list of `steps`. Both have
//! what comes before and after, and what happens when something fails, in common.

use super::fields::{Fields, nearest, shown};
use super::steps::{AXIS, Place, Steps, condition};
use super::{AbortIf, After, Loop, OnError, Step};
use crate::limits;
use serde_json::Value;
use std::time::Duration;

const COMMON: [&str; 10] = [
    "name",
    "note",
    "before",
    "always",
    "on_error",
    "abort_if",
    "after",
    "max_points",
    "on_pause",
    "on_resume",
];
const SHORT: [&str; 8] =
    ["axes", "measure", "samples", "average", "repeat", "interval_s", "count", "duration_s"];

/// What the points are.
pub(super) enum Form {
    /// Axes, outer to inner, and what is measured at each point.
    Axes {
        /// Each a loop without a body.
        axes: Vec<Loop>,
        measure: Box<Step>,
        repeat: u64,
        interval: Option<Duration>,
        /// Instead of axes: a loop over time without a body.
        time: Option<Box<Loop>>,
    },
    /// A list of steps.
    Steps(Vec<Step>),
}

/// A description that has been read.
pub(super) struct Description {
    pub(super) name: Option<String>,
    pub(super) note: Option<String>,
    /// None where a fault keeps it from being read as a whole.
    pub(super) form: Option<Form>,
    pub(super) before: Vec<Step>,
    pub(super) always: Vec<Step>,
    pub(super) on_pause: Vec<Step>,
    pub(super) on_resume: Vec<Step>,
    pub(super) on_error: OnError,
    pub(super) abort_if: Vec<AbortIf>,
    pub(super) after: After,
    pub(super) max_points: Option<u64>,
}

/// Reads a description.
pub(super) fn describe<'a>(fields: &Fields<'a>, steps: &Steps<'a>) -> Description {
    let name = fields.text("name");
    if name.as_deref().is_some_and(|name| name.len() > 128) {
        fields.fault("name", "out_of_range", "a name has at most 128 bytes");
    }
    Description {
        name,
        note: fields.text("note"),
        before: steps.list(fields, "before", Place::Beside),
        form: form(fields, steps),
        after: after(fields, steps),
        always: steps.list(fields, "always", Place::End),
        on_pause: steps.list(fields, "on_pause", Place::End),
        on_resume: steps.list(fields, "on_resume", Place::End),
        on_error: on_error(fields).unwrap_or_default(),
        abort_if: abort_if(fields, steps),
        max_points: fields.whole("max_points", 1, limits::SCAN_POINTS),
    }
}

fn form<'a>(fields: &Fields<'a>, steps: &Steps<'a>) -> Option<Form> {
    if fields.has("steps") {
        let mut known = vec!["steps"];
        known.extend(COMMON);
        known.extend(SHORT);
        fields.only(&known);
        for key in SHORT.into_iter().filter(|key| fields.has(key)) {
            let detail = format!("{key:?} is of the short form, and this description has \"steps\"");
            fields.fault(key, "conflict", detail);
        }
        let list = steps.list(fields, "steps", Place::Points);
        if list.is_empty() {
            if fields.value("steps").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                fields.fault("steps", "empty", "no steps; at least one was expected");
            }
            return None;
        }
        return Some(Form::Steps(list));
    }
    let mut known = SHORT.to_vec();
    known.extend(COMMON);
    known.push("steps");
    fields.only(&known);
    if !fields.has("axes") && !fields.has("measure") {
        fields.fault(
            "measure",
            "missing",
            "nothing to do: \"axes\" and \"measure\", or \"steps\", were expected",
        );
        return None;
    }
    short(fields, steps)
}

fn short<'a>(fields: &Fields<'a>, steps: &Steps<'a>) -> Option<Form> {
    let listed = fields.list("axes").unwrap_or_default();
    let axes = axes(&listed, steps);
    let measure = steps.measure(fields);
    let interval = fields.seconds("interval_s", false);
    let repeat = fields.whole("repeat", 1, u64::MAX).unwrap_or(1);
    let time = if fields.value("axes").is_some() && !listed.is_empty() {
        for key in ["count", "duration_s"] {
            if fields.has(key) {
                let detail =
                    format!("{key:?} is for a scan without axes; the axes say how many points there are");
                fields.fault(key, "conflict", detail);
            }
        }
        None
    } else {
        Some(Box::new(steps.time(fields)?))
    };
    if repeat > 1 && fields.value("count").is_some_and(Value::is_string) {
        fields.fault("repeat", "conflict", "a pass without an end cannot be repeated");
    }
    Some(Form::Axes { axes: axes?, measure: Box::new(measure?), repeat, interval, time })
}

/// The axes, when all of them could be read.
fn axes<'a>(listed: &[(String, &'a Value)], steps: &Steps<'a>) -> Option<Vec<Loop>> {
    let (mut axes, mut outer, mut whole) = (Vec::new(), Vec::new(), true);
    if let Some((at, _)) = listed.get(limits::SCAN_DEPTH - 1) {
        let most = limits::SCAN_DEPTH - 1;
        steps.check.faults.add(at, "too_deep", format!("a scan has at most {most} axes"));
        return None;
    }
    for (at, item) in listed {
        let axis = Fields::of(item, at, "an axis", steps.check.faults).and_then(|fields| {
            fields.only(&AXIS);
            steps.axis(&fields, &outer)
        });
        match axis {
            Some(axis) => {
                outer.extend(axis.set.clone());
                axes.push(axis);
            }
            None => whole = false,
        }
    }
    whole.then_some(axes)
}

fn on_error(fields: &Fields<'_>) -> Option<OnError> {
    const WORDS: [&str; 3] = ["pause", "abort", "skip_point"];
    let expected = "\"pause\", \"abort\", \"skip_point\" or {\"retry\":3,\"then\":\"pause\"} was expected";
    match fields.value("on_error")? {
        Value::String(word) => match word.as_str() {
            "pause" => Some(OnError::Pause),
            "abort" => Some(OnError::Abort),
            "skip_point" => Some(OnError::SkipPoint),
            other => {
                let meant = nearest(other, &WORDS).map(|word| format!("; did you mean {word:?}?"));
                let meant = meant.unwrap_or_else(|| format!("; {expected}"));
                let short = super::fields::shorten(other);
                fields.fault("on_error", "unknown_word", format!("{short:?} was sent{meant}"));
                None
            }
        },
        value @ Value::Object(_) => {
            let retry = Fields::of(value, &fields.path("on_error"), "on_error", fields.faults())?;
            retry.only(&["retry", "then"]);
            if !retry.has("retry") {
                retry.missing("retry", "how often a step that fails is tried again");
            }
            let then_fails = match retry.value("then") {
                None => false,
                Some(Value::String(word)) if word == "pause" => false,
                Some(Value::String(word)) if word == "abort" => true,
                Some(other) => {
                    let detail = format!("{} was sent; \"pause\" or \"abort\" was expected", shown(other));
                    retry.fault("then", "unknown_word", detail);
                    false
                }
            };
            let times = retry.whole("retry", 1, u64::from(limits::SCAN_SAMPLES))?;
            Some(OnError::Retry(u32::try_from(times).unwrap_or(u32::MAX), then_fails))
        }
        other => {
            fields.fault("on_error", "wrong_type", format!("{} was sent; {expected}", shown(other)));
            None
        }
    }
}

fn abort_if<'a>(fields: &Fields<'a>, steps: &Steps<'a>) -> Vec<AbortIf> {
    let listed = fields.list("abort_if").unwrap_or_default();
    if listed.len() > limits::SCAN_COLUMNS {
        let detail = format!("{} conditions; at most {} are taken", listed.len(), limits::SCAN_COLUMNS);
        fields.fault("abort_if", "out_of_range", detail);
        return Vec::new();
    }
    let one = |(at, item): (String, &'a Value)| {
        let fields = Fields::of(item, &at, "a condition", steps.check.faults)?;
        fields.only(&["channel", "above", "below", "within", "of"]);
        let (channel, when) = (steps.watched(&fields), condition(&fields));
        Some(AbortIf { channel: channel?, when: when? })
    };
    listed.into_iter().filter_map(one).collect()
}

fn after<'a>(fields: &Fields<'a>, steps: &Steps<'a>) -> After {
    match fields.value("after") {
        None => After::Stay,
        Some(Value::String(word)) if word == "stay" => After::Stay,
        Some(Value::String(word)) if word == "return" => After::Return,
        Some(value @ (Value::Object(_) | Value::Array(_))) => {
            After::Steps(steps.one_or_more(value, &fields.path("after"), Place::End))
        }
        Some(other) => {
            let detail = format!("{} was sent; \"stay\", \"return\" or steps were expected", shown(other));
            fields.fault("after", "unknown_word", detail);
            After::Stay
        }
    }
}
