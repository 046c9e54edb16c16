//! A description, checked as a whole, as a plan.
//!
//! Everything that can be known before anything moves is looked at here: the words, the instruments and channels, every
//! set-point against its limits, how many points there are. All faults come at once.

use super::check::{Bench, Check};
use super::describe::{Description, Form, describe};
use super::fields::{Faults, Fields};
use super::normal::normal;
use super::steps::Steps;
use super::walk::passes;
use super::{After, ChannelRef, Fault, Loop, Plan, Step, Values};
use crate::limits;
use crate::runner::data::{Column, ColumnRole};
use serde_json::Value;
use std::time::Duration;

/// Seconds that an exchange with an instrument is planned to take: forty characters, there and back, at 9600 baud.
const EXCHANGE: f64 = 0.042;

/// Characters of a name that is made of the axes, which are plain ASCII.
const NAME: usize = 128;

/// The plan of a description, for this bench. `max_points` holds where the description says nothing itself.
///
/// # Errors
/// Every fault of the description, in the order of reading.
pub fn compile(description: &Value, bench: &dyn Bench, max_points: u64) -> Result<Plan, Vec<Fault>> {
    let faults = Faults::default();
    let plan = {
        let check = Check::new(bench, &faults);
        let steps = Steps::new(&check);
        Fields::of(description, "", "a description", &faults)
            .and_then(|fields| whole(describe(&fields, &steps), &check, max_points))
    };
    match plan {
        Some(plan) if faults.is_empty() => Ok(plan),
        _ => Err(faults.into_list()),
    }
}

fn whole(read: Description, check: &Check<'_>, max_points: u64) -> Option<Plan> {
    let form = read.form.as_ref()?;
    let max_points = read.max_points.unwrap_or(max_points);
    let (steps, repeat, at) = match form {
        Form::Axes { axes, measure, repeat, interval, time } => {
            (unfolded(axes, measure, *repeat, *interval, time.as_deref()), *repeat, "axes")
        }
        Form::Steps(steps) => (steps.clone(), 1, "steps"),
    };
    let points = match points(&steps) {
        Ok(points) => points,
        Err(Spins) => {
            check.faults.add(
                at,
                "endless",
                "a loop without an end measures nothing; give it \"count\" or \"duration_s\"",
            );
            return None;
        }
    };
    if let Some(points) = points.filter(|points| *points > u128::from(max_points)) {
        let sizes = sizes(&steps);
        let sizes = if sizes.is_empty() { String::new() } else { format!(" ({})", sizes.join(" x ")) };
        let meant = if points <= u128::from(limits::SCAN_POINTS) {
            ", or raise \"max_points\" if that many are meant"
        } else {
            ""
        };
        let detail = format!(
            "it would take {points} points{sizes}; at most {max_points} are taken: check the step{meant}"
        );
        check.faults.add(at, "too_many_points", detail);
        return None;
    }
    let mut axes = Vec::new();
    let mut measured = Vec::new();
    channels(&steps, &mut axes, &mut measured);
    if read.after == After::Return {
        returns(&axes, check);
    }
    let name = read.name.clone().unwrap_or_else(|| name(form, &axes));
    let columns = columns(&axes, &measured, check);
    let endless = steps.iter().any(never_ends);
    let beside = time(&read.before, check)
        + time(&read.always, check)
        + if let After::Steps(steps) = &read.after { time(steps, check) } else { 0.0 };
    let planned = if endless { 0.0 } else { time(&steps, check) + beside };
    Some(Plan {
        description: normal(&read, form, &name, max_points),
        name,
        steps,
        columns,
        axes,
        units: check.units.borrow().clone(),
        instruments: check.used.borrow().clone(),
        repeat,
        points_total: points.and_then(|points| u64::try_from(points).ok()),
        max_points,
        planned: Duration::try_from_secs_f64(planned).unwrap_or(Duration::MAX),
        before: read.before,
        after: read.after,
        always: read.always,
        on_pause: read.on_pause,
        on_resume: read.on_resume,
        on_error: read.on_error,
        abort_if: read.abort_if,
    })
}

/// The short form as steps: passes of the whole, then the axes from the outside in, then the point.
fn unfolded(
    axes: &[Loop],
    measure: &Step,
    repeat: u64,
    interval: Option<Duration>,
    time: Option<&Loop>,
) -> Vec<Step> {
    let mut body = vec![measure.clone()];
    if let Some(time) = time {
        body = vec![Step::Loop(Loop { interval, body, ..time.clone() })];
    }
    for (n, axis) in axes.iter().enumerate().rev() {
        // Points follow each other in time along the innermost axis.
        let interval = interval.filter(|_| n + 1 == axes.len());
        body = vec![Step::Loop(Loop { interval, body, ..axis.clone() })];
    }
    if repeat > 1 {
        body = vec![Step::Loop(Loop {
            set: None,
            values: Values::Count(Some(repeat)),
            snake: false,
            settle: Duration::ZERO,
            wait_readback: true,
            tolerance: None,
            within: None,
            interval: None,
            duration: None,
            body,
        })];
    }
    body
}

/// A loop that goes on for ever without a point.
struct Spins;

/// How many points these steps take; none when that depends on how long they run.
fn points(steps: &[Step]) -> Result<Option<u128>, Spins> {
    let mut sum = Some(0_u128);
    for step in steps {
        let here = match step {
            Step::Measure { .. } => Some(1),
            Step::Loop(looped) => match (points(&looped.body)?, counted(looped)) {
                (Some(0), None) if looped.duration.is_none() => return Err(Spins),
                (Some(0), _) => Some(0),
                (inner, passes) => inner.zip(passes).map(|(inner, n)| inner.saturating_mul(u128::from(n))),
            },
            _ => Some(0),
        };
        sum = sum.zip(here).map(|(sum, here)| sum.saturating_add(here));
    }
    Ok(sum)
}

/// The passes of a loop, where its steps do not decide it by how long they take.
fn counted(looped: &Loop) -> Option<u64> {
    if looped.duration.is_some() && looped.interval.is_none() { None } else { passes(looped) }
}

fn never_ends(step: &Step) -> bool {
    let Step::Loop(looped) = step else { return false };
    (passes(looped).is_none() && looped.duration.is_none()) || looped.body.iter().any(never_ends)
}

/// `psu.voltage 51`: the loops that lead to the first point, outer to inner.
fn sizes(steps: &[Step]) -> Vec<String> {
    for step in steps {
        let Step::Loop(looped) = step else { continue };
        if !matches!(points(&looped.body), Ok(inner) if inner != Some(0)) {
            continue;
        }
        let passes = counted(looped).map_or_else(|| "?".to_string(), |passes| passes.to_string());
        let name = looped.set.as_ref().map_or_else(|| "passes".to_string(), ToString::to_string);
        let mut all = vec![format!("{name} {passes}")];
        all.extend(sizes(&looped.body));
        return all;
    }
    Vec::new()
}

/// Seconds these steps take, as far as can be told.
fn time(steps: &[Step], check: &Check<'_>) -> f64 {
    steps.iter().map(|step| step_time(step, check)).sum()
}

fn step_time(step: &Step, check: &Check<'_>) -> f64 {
    // Before each exchange stands the pause that the instrument needs.
    let exchange = |instrument: &str| {
        EXCHANGE + check.instrument(instrument).map_or(0.0, |offer| offer.gap.as_secs_f64())
    };
    match step {
        Step::Set { channel, .. } => exchange(&channel.instrument),
        Step::Query { instrument, .. } => exchange(instrument),
        Step::Settle(time) => time.as_secs_f64(),
        Step::WaitUntil { channel, hold, .. } => hold.as_secs_f64() + exchange(&channel.instrument),
        Step::Measure { channels, samples, .. } => {
            let reads: f64 = channels.iter().map(|channel| exchange(&channel.instrument)).sum();
            f64::from(*samples) * reads
        }
        Step::Loop(looped) => {
            let set = looped.set.as_ref().map_or(0.0, |channel| exchange(&channel.instrument));
            let pass = set + looped.settle.as_secs_f64() + time(&looped.body, check);
            let most = looped.duration.map(|duration| duration.as_secs_f64());
            let between = looped.interval.map_or(pass, |interval| interval.as_secs_f64().max(pass));
            match (passes(looped), most) {
                (Some(passes), most) => {
                    let all = passes.saturating_sub(1) as f64 * between + pass;
                    // The last pass begins before the end of the duration.
                    most.map_or(all, |most| all.min(most + pass))
                }
                (None, most) => most.unwrap_or_default(),
            }
        }
        Step::Gpio { .. } | Step::Log(_) | Step::Prompt(_) => 0.0,
    }
}

/// What loops around points set, outer to inner, and what is measured, each once.
fn channels(steps: &[Step], axes: &mut Vec<ChannelRef>, measured: &mut Vec<ChannelRef>) {
    let note = |list: &mut Vec<ChannelRef>, channel: &ChannelRef| {
        if !list.contains(channel) {
            list.push(channel.clone());
        }
    };
    for step in steps {
        match step {
            Step::Measure { channels, .. } => channels.iter().for_each(|channel| note(measured, channel)),
            Step::Loop(looped) => {
                if let Some(channel) = &looped.set {
                    note(axes, channel);
                }
                channels(&looped.body, axes, measured);
            }
            _ => {}
        }
    }
}

fn columns(axes: &[ChannelRef], measured: &[ChannelRef], check: &Check<'_>) -> Vec<Column> {
    let column = |channel: &ChannelRef, name: String, role: ColumnRole, axis: Option<u32>| {
        let offer = check.instrument(&channel.instrument);
        let offer = offer.as_ref().and_then(|offer| offer.channel(&channel.channel));
        let words = offer.is_some_and(|offer| !offer.words.is_empty());
        Column {
            name,
            dtype: Some(if words { "string" } else { "number" }.into()),
            unit: Some(offer.and_then(|offer| offer.unit.clone()).unwrap_or_else(|| "1".into())),
            role,
            precision: None,
            source: Some(channel.to_string()),
            axis,
        }
    };
    let set = axes
        .iter()
        .zip(0_u32..)
        .map(|(channel, axis)| column(channel, channel.to_string(), ColumnRole::Setpoint, Some(axis)));
    let read = measured.iter().map(|channel| {
        if axes.contains(channel) {
            column(channel, format!("{channel}.readback"), ColumnRole::Readback, None)
        } else {
            column(channel, channel.to_string(), ColumnRole::Measured, None)
        }
    });
    set.chain(read).collect()
}

/// `after: return` needs to know where its axes are before it begins.
fn returns(axes: &[ChannelRef], check: &Check<'_>) {
    if axes.is_empty() {
        check.faults.add("after", "conflict", "\"return\" was sent, and there is no axis that could return");
    }
    for axis in axes {
        let offer = check.instrument(&axis.instrument);
        let readable = offer.as_ref().and_then(|offer| offer.channel(&axis.channel));
        if !readable.is_some_and(|offer| offer.readable) {
            let detail = format!("{axis} cannot be read, so nobody knows where it was before the scan");
            check.faults.add("after", "not_readable", detail);
        }
    }
}

fn name(form: &Form, axes: &[ChannelRef]) -> String {
    let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
    match form {
        Form::Axes { .. } if axes.is_empty() => "time series".into(),
        Form::Axes { .. } if axes.len() > 2 => format!("scan of {} axes", axes.len()),
        Form::Axes { .. } => format!("scan of {}", axes.join(", ")).chars().take(NAME).collect(),
        Form::Steps(_) => "steps".into(),
    }
}
