//! A description as it will be kept: what was sent, with every default filled in and `step` turned into `points`.
//!
//! What comes out can be sent again and gives the same plan.

use super::describe::{Description, Form};
use super::{After, Condition, Loop, OnError, Step, Values};
use crate::sources::Setting;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The description with its defaults.
pub(super) fn normal(read: &Description, form: &Form, name: &str, max_points: u64) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| drop(all.insert(key.to_string(), value));
    put("name", name.into());
    if let Some(note) = &read.note {
        put("note", note.clone().into());
    }
    match form {
        Form::Axes { axes, measure, repeat, interval, time } => {
            put("axes", axes.iter().map(|axis| Value::Object(head(axis))).collect());
            if let Value::Object(measure) = one(measure) {
                measure.into_iter().for_each(|(key, value)| put(&key, value));
            }
            put("repeat", (*repeat).into());
            put("interval_s", optional(*interval));
            if let Some(time) = time {
                put("count", count(time));
                put("duration_s", optional(time.duration));
            }
        }
        Form::Steps(steps) => put("steps", list(steps)),
    }
    put("before", list(&read.before));
    put(
        "after",
        match &read.after {
            After::Stay => "stay".into(),
            After::Return => "return".into(),
            After::Steps(steps) => list(steps),
        },
    );
    put("always", list(&read.always));
    put("on_pause", list(&read.on_pause));
    put("on_resume", list(&read.on_resume));
    put(
        "on_error",
        match read.on_error {
            OnError::Pause => "pause".into(),
            OnError::Abort => "abort".into(),
            OnError::SkipPoint => "skip_point".into(),
            OnError::Retry(times, then_fails) => {
                json!({ "retry": times, "then": if then_fails { "abort" } else { "pause" } })
            }
        },
    );
    let conditions = read.abort_if.iter().map(|check| {
        let mut object = condition(&check.when);
        object.insert("channel".into(), check.channel.to_string().into());
        Value::Object(object)
    });
    put("abort_if", conditions.collect());
    put("max_points", max_points.into());
    Value::Object(all)
}

fn list(steps: &[Step]) -> Value {
    steps.iter().map(one).collect()
}

fn one(step: &Step) -> Value {
    match step {
        Step::Set { channel, to, wait_readback, tolerance, within } => json!({
            "set": channel.to_string(),
            "value": match to {
                Setting::Number(number) => Value::from(*number),
                Setting::Word(word) => Value::from(word.as_str()),
            },
            "wait_readback": wait_readback,
            "tolerance": tolerance,
            "timeout_s": optional(*within),
        }),
        Step::Gpio { output, active } => json!({ "gpio": output, "value": u8::from(*active) }),
        Step::Settle(time) => json!({ "settle": time.as_secs_f64() }),
        Step::WaitUntil { channel, when, hold, within } => {
            let mut object = condition(when);
            object.insert("channel".into(), channel.to_string().into());
            object.insert("for_s".into(), hold.as_secs_f64().into());
            object.insert("timeout_s".into(), within.as_secs_f64().into());
            json!({ "wait_until": object })
        }
        Step::Measure { channels, samples, average } => json!({
            "measure": channels.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "samples": samples,
            "average": average,
        }),
        Step::Loop(looped) => {
            let mut object = if looped.set.is_some() { head(looped) } else { Map::new() };
            if looped.set.is_none() {
                object.insert("count".into(), count(looped));
                object.insert("duration_s".into(), optional(looped.duration));
            }
            object.insert("interval_s".into(), optional(looped.interval));
            json!({ "loop": object, "do": list(&looped.body) })
        }
        Step::Log(text) => json!({ "log": text }),
        Step::Query { instrument, text } => json!({ "query": instrument, "text": text }),
        Step::Prompt(text) => json!({ "prompt": text }),
    }
}

/// What an axis says of itself, and a loop that sets a channel.
fn head(looped: &Loop) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_string(), value));
    if let Some(channel) = &looped.set {
        put("set", channel.to_string().into());
    }
    match &looped.values {
        Values::Even { start, stop, points } => {
            put("start", (*start).into());
            put("stop", (*stop).into());
            put("points", (*points).into());
        }
        Values::List(values) => put("values", values.clone().into()),
        Values::Count(_) => {}
    }
    put("settle_s", looped.settle.as_secs_f64().into());
    put("wait_readback", looped.wait_readback.into());
    put("tolerance", looped.tolerance.map_or(Value::Null, Value::from));
    put("timeout_s", optional(looped.within));
    put("snake", looped.snake.into());
    object
}

fn count(looped: &Loop) -> Value {
    match (&looped.values, looped.duration) {
        (Values::Count(Some(count)), _) => (*count).into(),
        (_, None) => "endless".into(),
        (_, Some(_)) => Value::Null,
    }
}

fn condition(when: &Condition) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |key: &str, value: f64| drop(object.insert(key.to_string(), value.into()));
    match when {
        Condition::Above(limit) => put("above", *limit),
        Condition::Below(limit) => put("below", *limit),
        Condition::Within(within, of) => {
            put("within", *within);
            put("of", *of);
        }
    }
    object
}

fn optional(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, |time| time.as_secs_f64().into())
}
