//! What a plan will do, in lines for people.

use super::{After, ChannelRef, Condition, Loop, OnError, Plan, Step, Values, walk};
use crate::sources::Setting;
use std::collections::BTreeMap;
use std::time::Duration;

type Units = BTreeMap<ChannelRef, String>;

/// The whole plan: what comes before, the points, what comes after, and what is watched. Indented by two spaces a level.
pub fn describe_steps(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    let part = |title: &str, steps: &[Step], lines: &mut Vec<String>| {
        if !steps.is_empty() {
            lines.push(title.to_string());
            list(steps, 1, &plan.units, lines);
        }
    };
    part("first:", &plan.before, &mut lines);
    list(&plan.steps, 0, &plan.units, &mut lines);
    match &plan.after {
        After::Stay => {}
        After::Return => {
            let axes: Vec<String> = plan.axes.iter().map(ToString::to_string).collect();
            lines.push(format!("then: {} back to where it was", axes.join(", ")));
        }
        After::Steps(steps) => part("then:", steps, &mut lines),
    }
    part("at the end, however it ends:", &plan.always, &mut lines);
    part("when it pauses:", &plan.on_pause, &mut lines);
    part("when it goes on:", &plan.on_resume, &mut lines);
    for check in &plan.abort_if {
        let when = condition(&check.when, plan.units.get(&check.channel));
        lines.push(format!("at every point: it fails when {} is {when}", check.channel));
    }
    if plan.points_total.is_none() {
        lines.push(format!("in any case: no more than {} points", plan.max_points));
    }
    lines.push(format!("when a step fails: {}", on_error(plan.on_error)));
    lines
}

/// One step in a line, such as `set psu.voltage = 2.25 V`; of a loop, its head.
pub fn step_line(step: &Step, units: &BTreeMap<ChannelRef, String>) -> String {
    match step {
        Step::Set { channel, to, wait_readback, tolerance, within } => {
            let mut line = match to {
                Setting::Number(number) => format!("set {channel} = {}", amount(*number, units.get(channel))),
                Setting::Word(word) => format!("set {channel} = {word}"),
            };
            line.push_str(&arrival(channel, *wait_readback, *tolerance, *within, units));
            line
        }
        Step::Gpio { output, active } => format!("switch {output} {}", if *active { "on" } else { "off" }),
        Step::Settle(time) => format!("wait {}", span(*time)),
        Step::WaitUntil { channel, when, hold, within } => {
            let hold = if hold.is_zero() { String::new() } else { format!(" for {}", span(*hold)) };
            let when = condition(when, units.get(channel));
            format!("wait until {channel} is {when}{hold}, at most {}", span(*within))
        }
        Step::Measure { channels, samples, average } => {
            let channels: Vec<String> = channels.iter().map(ToString::to_string).collect();
            let reads = match (samples, average) {
                (1, _) => String::new(),
                (n, true) => format!(", the mean of {n} reads"),
                (n, false) => format!(", the last of {n} reads"),
            };
            format!("measure {}{reads}", channels.join(", "))
        }
        Step::Loop(looped) => head(looped, units),
        Step::Log(text) => format!("log {text:?}"),
        Step::Query { instrument, text } => format!("ask {instrument} {text:?}"),
        Step::Prompt(text) => format!("wait for an operator: {text}"),
    }
}

fn list(steps: &[Step], level: usize, units: &Units, lines: &mut Vec<String>) {
    let indent = "  ".repeat(level);
    for step in steps {
        lines.push(format!("{indent}{}", step_line(step, units)));
        let Step::Loop(looped) = step else { continue };
        if !looped.settle.is_zero() {
            lines.push(format!("{indent}  wait {}", span(looped.settle)));
        }
        list(&looped.body, level + 1, units, lines);
    }
}

fn head(looped: &Loop, units: &Units) -> String {
    let mut line = match (&looped.set, &looped.values) {
        (Some(channel), Values::Even { start, points: 1, .. }) => {
            format!("for {channel} at {}, 1 point", amount(*start, units.get(channel)))
        }
        (Some(channel), Values::Even { start, stop, points }) => {
            let each = walk::value(&looped.values, 1).map(|second| second - start).unwrap_or_default();
            let unit = units.get(channel);
            format!(
                "for {channel} from {start} to {}, {points} points {} apart",
                amount(*stop, unit),
                amount(rounded(each.abs()), unit)
            )
        }
        (Some(channel), Values::List(values)) => {
            let unit = units.get(channel).map(|unit| format!(" {unit}")).unwrap_or_default();
            let some: Vec<String> = values.iter().take(8).map(ToString::to_string).collect();
            let more = if values.len() > 8 { ", ..." } else { "" };
            format!("for {channel} at {}{more}{unit}, {} points", some.join(", "), values.len())
        }
        (_, Values::Count(Some(count))) => format!("{count} times"),
        _ if looped.duration.is_some() => "again and again".into(),
        _ => "again and again, until it is stopped".into(),
    };
    if looped.snake {
        line.push_str(", every other time backwards");
    }
    if let Some(interval) = looped.interval {
        line.push_str(&format!(", every {}", span(interval)));
    }
    if let Some(duration) = looped.duration {
        line.push_str(&format!(", for {}", span(duration)));
    }
    if let Some(channel) = &looped.set {
        line.push_str(&arrival(channel, looped.wait_readback, looped.tolerance, looped.within, units));
    }
    line + ":"
}

fn arrival(
    channel: &ChannelRef,
    wait_readback: bool,
    tolerance: Option<f64>,
    within: Option<Duration>,
    units: &Units,
) -> String {
    let mut line = String::new();
    if !wait_readback {
        return ", without waiting for it to arrive".into();
    }
    if let Some(tolerance) = tolerance {
        line.push_str(&format!(", to within {}", amount(tolerance, units.get(channel))));
    }
    if let Some(within) = within {
        line.push_str(&format!(", in at most {}", span(within)));
    }
    line
}

fn condition(when: &Condition, unit: Option<&String>) -> String {
    match when {
        Condition::Above(limit) => format!("above {}", amount(*limit, unit)),
        Condition::Below(limit) => format!("below {}", amount(*limit, unit)),
        Condition::Within(tolerance, of) => format!("within {tolerance} of {}", amount(*of, unit)),
    }
}

fn on_error(rule: OnError) -> String {
    match rule {
        OnError::Pause => "the scan pauses; on resume the point is taken again".into(),
        OnError::Abort => "the scan fails".into(),
        OnError::SkipPoint => "the point is left out".into(),
        OnError::Retry(times, then_fails) => {
            let then = if then_fails { "fails" } else { "pauses" };
            let word = if times == 1 { "once more" } else { "more times" };
            if times == 1 {
                format!("it is tried {word}, then the scan {then}")
            } else {
                format!("it is tried {times} {word}, then the scan {then}")
            }
        }
    }
}

fn amount(number: f64, unit: Option<&String>) -> String {
    match unit {
        Some(unit) => format!("{number} {unit}"),
        None => number.to_string(),
    }
}

/// A difference of two values without the noise in its last digits.
fn rounded(number: f64) -> f64 {
    format!("{number:.6e}").parse().unwrap_or(number)
}

pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 120.0 {
        return format!("{seconds} s");
    }
    let whole = time.as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let mut parts = Vec::new();
    for (number, unit) in [(hours, "h"), (minutes, "min"), (seconds, "s")] {
        if number > 0 {
            parts.push(format!("{number} {unit}"));
        }
    }
    parts.join(" ")
}
