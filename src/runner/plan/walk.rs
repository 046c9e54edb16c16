//! A plan as a sequence of instructions, one at a time.
//!
//! Loops are walked, never unrolled: a scan of a million points needs as much memory as one of three. Promises: a
//! checkpoint stands before every point, ahead of whatever leads to that point; an outer channel is set only when its loop
//! goes on; points are numbered without a gap. Times are active times, so that a pause shifts the schedule by itself.
//! Pass n of a loop with an interval is due at the time its first pass began plus n intervals, however late the others
//! were: one that is late runs at once and the schedule does not slide.

use super::{ChannelRef, Loop, Plan, Step, Values, level, level_of};
use crate::sources::Setting;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// A place to pause at, and to wait until the next point is due.
    Checkpoint {
        /// The number of the point that follows; the count of all when only steps without a point follow.
        point: u64,
        /// When it is due, as active time; none: at once.
        due: Option<Duration>,
    },
    /// A step: never [`Step::Loop`] or [`Step::Measure`].
    Do(Step),
    /// Take this point.
    Measure {
        /// Its number, from 0.
        point: u64,
        /// The channels of its row.
        channels: Vec<ChannelRef>,
        /// Reads of each.
        samples: u32,
        /// The row has their mean; else the last.
        average: bool,
    },
}

/// What a loop does next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Begin,
    Settle,
    Body,
}

#[derive(Clone, Debug)]
struct Pass {
    /// From 0.
    number: u64,
    reversed: bool,
    /// When the first pass began.
    began: Duration,
    stage: Stage,
}

/// A list of steps on the way from the outside in: the whole list first, then the body of a loop in it, and so on.
#[derive(Clone, Debug)]
struct Frame {
    /// The step that is next in this list.
    next: usize,
    /// Of the loop whose body this is.
    pass: Option<Pass>,
}

/// Where the walk is: all that repeating a point has to bring back.
#[derive(Clone, Debug)]
struct Place {
    frames: Vec<Frame>,
    /// How often each loop has been entered, by its place in the plan.
    entries: BTreeMap<Vec<usize>, u64>,
    point: u64,
    /// A checkpoint has been told and no point taken since.
    fresh: bool,
    /// When the pass that was begun is due.
    due: Option<Duration>,
    /// Follows the checkpoint that it made necessary.
    ahead: Option<Instruction>,
    set: Vec<(ChannelRef, Setting)>,
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Walk {
    steps: Arc<[Step]>,
    max_points: u64,
    repeats: bool,
    place: Place,
    /// As it was before the last checkpoint.
    last: Option<Box<Place>>,
}

impl Walk {
    /// The points of a plan. What `before` sets counts as set.
    pub fn new(plan: &Plan) -> Walk {
        let mut set = Vec::new();
        for step in &plan.before {
            note(&mut set, step);
        }
        Walk {
            steps: plan.steps.clone().into(),
            // Where the number of points is known it has been checked, and steps may follow the last one.
            max_points: if plan.points_total.is_none() { plan.max_points } else { u64::MAX },
            repeats: plan.repeat > 1,
            place: Place {
                frames: vec![Frame { next: 0, pass: None }],
                entries: BTreeMap::new(),
                point: 0,
                fresh: false,
                due: None,
                ahead: None,
                set,
            },
            last: None,
        }
    }

    /// What follows, at this active time; none at the end.
    pub fn next(&mut self, active: Duration) -> Option<Instruction> {
        let before = (!self.place.fresh || self.place.ahead.is_none()).then(|| self.place.clone());
        let instruction = match self.place.ahead.take() {
            Some(instruction) => instruction,
            None => self.step(active)?,
        };
        if !self.place.fresh || self.place.due.is_some() {
            let due = self.place.due.take();
            self.place.ahead = Some(instruction);
            self.place.fresh = true;
            self.last = before.map(Box::new);
            return Some(Instruction::Checkpoint { point: self.place.point, due });
        }
        match &instruction {
            Instruction::Do(step) => note(&mut self.place.set, step),
            Instruction::Measure { .. } => {
                self.place.point += 1;
                self.place.fresh = false;
            }
            Instruction::Checkpoint { .. } => {}
        }
        Some(instruction)
    }

    /// Goes back to the last checkpoint: the point is taken again, with its number and all that leads to it.
    pub fn repeat_point(&mut self) {
        if let Some(last) = &self.last {
            self.place = (**last).clone();
        }
    }

    /// What is set by now, in the order it was first set (outer first): to be applied again after a pause.
    pub fn set_points(&self) -> Vec<(ChannelRef, Setting)> {
        self.place.set.clone()
    }

    /// The number of the point that is next or under way.
    pub fn point(&self) -> u64 {
        self.place.point
    }

    /// The pass of the whole it is in, from 0.
    pub fn repeat_index(&self) -> u64 {
        let pass = self.place.frames.get(1).and_then(|frame| frame.pass.as_ref());
        if self.repeats { pass.map_or(0, |pass| pass.number) } else { 0 }
    }

    /// The next step of the plan, as it stands there.
    fn step(&mut self, active: Duration) -> Option<Instruction> {
        let steps = Arc::clone(&self.steps);
        // A scan without an end stops at its most points.
        if self.place.point >= self.max_points {
            self.place.frames.clear();
        }
        loop {
            let (list, of_loop) = locate(&steps, &self.place.frames)?;
            let frame = self.place.frames.last_mut()?;
            if let (Some(looped), Some(pass)) = (of_loop, &mut frame.pass) {
                match pass.stage {
                    Stage::Begin => {
                        let late = active.saturating_sub(pass.began);
                        if is_over(looped, pass.number, late) {
                            self.leave();
                            continue;
                        }
                        if let Some(due) = due(looped, pass).filter(|_| pass.number > 0) {
                            self.place.due = Some(due);
                        }
                        pass.stage = Stage::Settle;
                        if let Some(step) = set(looped, pass) {
                            return Some(Instruction::Do(step));
                        }
                    }
                    Stage::Settle => {
                        pass.stage = Stage::Body;
                        if !looped.settle.is_zero() {
                            return Some(Instruction::Do(Step::Settle(looped.settle)));
                        }
                    }
                    Stage::Body => {}
                }
                if pass.stage != Stage::Body {
                    continue;
                }
            }
            match list.get(frame.next) {
                None => match &mut frame.pass {
                    None => {
                        self.place.frames.clear();
                        return None;
                    }
                    Some(pass) => {
                        pass.number += 1;
                        pass.stage = Stage::Begin;
                        frame.next = 0;
                    }
                },
                Some(Step::Loop(looped)) => self.enter(looped, active),
                Some(Step::Measure { channels, samples, average }) => {
                    frame.next += 1;
                    return Some(Instruction::Measure {
                        point: self.place.point,
                        channels: channels.clone(),
                        samples: *samples,
                        average: *average,
                    });
                }
                Some(step) => {
                    frame.next += 1;
                    return Some(Instruction::Do(step.clone()));
                }
            }
        }
    }

    fn enter(&mut self, looped: &Loop, active: Duration) {
        let path: Vec<usize> = self.place.frames.iter().map(|frame| frame.next).collect();
        let entries = self.place.entries.entry(path).or_default();
        let reversed = looped.snake && *entries % 2 == 1;
        *entries += 1;
        // A pass around this loop that is not due yet begins later, and this loop with it.
        let began = active.max(self.place.due.unwrap_or_default());
        let pass = Pass { number: 0, reversed, began, stage: Stage::Begin };
        self.place.frames.push(Frame { next: 0, pass: Some(pass) });
    }

    fn leave(&mut self) {
        self.place.frames.pop();
        if let Some(outer) = self.place.frames.last_mut() {
            outer.next += 1;
        }
    }
}

/// The list that the last frame is in, and the loop whose body it is.
fn locate<'a>(steps: &'a [Step], frames: &[Frame]) -> Option<(&'a [Step], Option<&'a Loop>)> {
    let (_, outer) = frames.split_last()?;
    let (mut list, mut of_loop) = (steps, None);
    for frame in outer {
        let Some(Step::Loop(looped)) = list.get(frame.next) else { return None };
        (list, of_loop) = (&looped.body, Some(looped));
    }
    Some((list, of_loop))
}

/// How many passes a loop has; none: it has no end of its own.
pub(super) fn passes(looped: &Loop) -> Option<u64> {
    let own = match &looped.values {
        Values::Even { points, .. } => Some(*points),
        Values::List(list) => Some(list.len() as u64),
        Values::Count(count) => *count,
    };
    // Passes are due at 0, 1, 2, ... intervals, and none at the end of the time or later.
    let timed = looped.duration.zip(looped.interval).map(|(duration, interval)| {
        u64::try_from(duration.as_nanos().div_ceil(interval.as_nanos().max(1))).unwrap_or(u64::MAX)
    });
    match (own, timed) {
        (Some(own), Some(timed)) => Some(own.min(timed)),
        (own, timed) => own.or(timed),
    }
}

fn is_over(looped: &Loop, pass: u64, active: Duration) -> bool {
    let counted = passes(looped).is_some_and(|passes| pass >= passes);
    counted || (pass > 0 && looped.duration.is_some_and(|duration| active >= duration))
}

fn due(looped: &Loop, pass: &Pass) -> Option<Duration> {
    let after = looped.interval?.as_secs_f64() * pass.number as f64;
    Some(pass.began.saturating_add(Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX)))
}

fn set(looped: &Loop, pass: &Pass) -> Option<Step> {
    let channel = looped.set.clone()?;
    let last = passes(looped)?.checked_sub(1)?;
    let index = if pass.reversed { last.checked_sub(pass.number)? } else { pass.number };
    Some(Step::Set {
        channel,
        to: Setting::Number(value(&looped.values, index)?),
        wait_readback: looped.wait_readback,
        tolerance: looped.tolerance,
        within: looped.within,
    })
}

/// A value of a loop.
pub(super) fn value(values: &Values, index: u64) -> Option<f64> {
    match values {
        Values::List(list) => list.get(usize::try_from(index).ok()?).copied(),
        Values::Even { start, points, .. } if *points <= 1 => Some(*start),
        Values::Even { start, stop, points } => {
            let last = (points - 1) as f64;
            let (after, before) = (index as f64, last - index as f64);
            // Weighted by whole numbers, both ends come out exactly and 0.1 stays 0.1.
            let exact = (start * before + stop * after) / last;
            let plain = start * (before / last) + stop * (after / last);
            let value = if exact.is_finite() { exact } else { plain };
            Some(value.clamp(start.min(*stop), start.max(*stop)))
        }
        Values::Count(_) => None,
    }
}

fn note(set: &mut Vec<(ChannelRef, Setting)>, step: &Step) {
    let (channel, to) = match step {
        Step::Set { channel, to, .. } => (channel.clone(), to.clone()),
        // A pin is a set-point like any other: a laser that was on for a point is on again after a pause.
        Step::Gpio { output, active } => (level_of(output), level(*active)),
        _ => return,
    };
    match set.iter_mut().find(|(known, _)| *known == channel) {
        Some((_, value)) => *value = to,
        None => set.push((channel, to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> ChannelRef {
        let (instrument, channel) = text.split_once('.').unwrap();
        ChannelRef { instrument: instrument.into(), channel: channel.into() }
    }

    fn measure() -> Step {
        Step::Measure { channels: vec![channel("dmm.voltage")], samples: 1, average: false }
    }

    fn axis(name: &str, values: Values, body: Vec<Step>) -> Loop {
        Loop {
            set: Some(channel(name)),
            values,
            snake: false,
            settle: Duration::ZERO,
            wait_readback: true,
            tolerance: None,
            within: None,
            interval: None,
            duration: None,
            body,
        }
    }

    fn count(count: Option<u64>, interval: Option<u64>, body: Vec<Step>) -> Loop {
        let plain = axis("a.b", Values::Count(count), body);
        Loop { set: None, interval: interval.map(Duration::from_secs), ..plain }
    }

    fn even(start: f64, stop: f64, points: u64) -> Values {
        Values::Even { start, stop, points }
    }

    fn plan(steps: Vec<Step>) -> Plan {
        Plan {
            name: "test".into(),
            description: serde_json::Value::Null,
            before: Vec::new(),
            steps,
            after: super::super::After::Stay,
            always: Vec::new(),
            on_pause: Vec::new(),
            on_resume: Vec::new(),
            on_error: super::super::OnError::Pause,
            abort_if: Vec::new(),
            columns: Vec::new(),
            axes: Vec::new(),
            units: BTreeMap::new(),
            instruments: Default::default(),
            repeat: 1,
            points_total: None,
            max_points: 1_000,
            planned: Duration::ZERO,
        }
    }

    fn brief(instruction: &Instruction) -> String {
        match instruction {
            Instruction::Checkpoint { point, due: None } => format!("c{point}"),
            Instruction::Checkpoint { point, due: Some(due) } => format!("c{point}@{}", due.as_secs_f64()),
            Instruction::Do(Step::Set { channel, to: Setting::Number(to), .. }) => {
                format!("{}={to}", channel.instrument)
            }
            Instruction::Do(Step::Settle(time)) => format!("s{}", time.as_secs_f64()),
            Instruction::Do(Step::Log(text)) => text.clone(),
            Instruction::Do(other) => format!("{other:?}"),
            Instruction::Measure { point, .. } => format!("m{point}"),
        }
    }

    /// The whole walk, each instruction at the time its checkpoint was due, a point taking `takes`.
    fn walked(walk: &mut Walk, takes: Duration) -> Vec<String> {
        let (mut now, mut seen) = (Duration::ZERO, Vec::new());
        while let Some(instruction) = walk.next(now) {
            match &instruction {
                Instruction::Checkpoint { due: Some(due), .. } => now = now.max(*due),
                Instruction::Measure { .. } => now += takes,
                _ => {}
            }
            seen.push(brief(&instruction));
            assert!(seen.len() < 10_000);
        }
        seen
    }

    fn text(steps: Vec<Step>, takes: u64) -> String {
        walked(&mut Walk::new(&plan(steps)), Duration::from_secs(takes)).join(" ")
    }

    #[test]
    fn outer_channels_are_set_only_when_they_change() {
        let inner = axis("y.v", even(0.0, 1.0, 2), vec![measure()]);
        let inner = Loop { settle: Duration::from_millis(500), ..inner };
        let outer =
            Loop { set: Some(channel("x.v")), ..axis("x.v", even(5.0, 6.0, 2), vec![Step::Loop(inner)]) };
        assert_eq!(
            text(vec![Step::Loop(outer)], 0),
            "c0 x=5 y=0 s0.5 m0 c1 y=1 s0.5 m1 c2 x=6 y=0 s0.5 m2 c3 y=1 s0.5 m3"
        );
    }

    #[test]
    fn a_snake_comes_back_the_other_way() {
        let inner = Loop { snake: true, ..axis("y.v", Values::List(vec![1.0, 2.0, 4.0]), vec![measure()]) };
        let outer = axis("x.v", even(0.0, 2.0, 3), vec![Step::Loop(inner)]);
        assert_eq!(
            text(vec![Step::Loop(outer)], 0),
            "c0 x=0 y=1 m0 c1 y=2 m1 c2 y=4 m2 c3 x=1 y=4 m3 c4 y=2 m4 c5 y=1 m5 c6 x=2 y=1 m6 c7 y=2 m7 c8 y=4 m8"
        );
    }

    #[test]
    fn the_schedule_is_counted_from_the_first_pass_and_does_not_slide() {
        let timed = || vec![Step::Loop(count(Some(4), Some(10), vec![measure()]))];
        assert_eq!(text(timed(), 1), "c0 m0 c1@10 m1 c2@20 m2 c3@30 m3");
        // 15 s a point: each is late, and due when it always was.
        assert_eq!(text(timed(), 15), "c0 m0 c1@10 m1 c2@20 m2 c3@30 m3");
    }

    #[test]
    fn an_interval_starts_anew_with_every_pass_around_it() {
        let inner = count(Some(2), Some(10), vec![measure()]);
        let outer = axis("x.v", even(0.0, 1.0, 2), vec![Step::Loop(inner.clone())]);
        assert_eq!(text(vec![Step::Loop(outer)], 1), "c0 x=0 m0 c1@10 m1 c2 x=1 m2 c3@21 m3");
        // The pass around it has an interval as well: the inner one counts from when that pass is due, not from when
        // the walk was asked for it.
        let outer = count(Some(2), Some(60), vec![Step::Loop(inner)]);
        assert_eq!(text(vec![Step::Loop(outer)], 1), "c0 m0 c1@10 m1 c2@60 m2 c3@70 m3");
    }

    #[test]
    fn a_duration_ends_a_loop_and_the_first_pass_always_runs() {
        let timed = |interval| Loop {
            duration: Some(Duration::from_secs(10)),
            ..count(None, interval, vec![measure()])
        };
        assert_eq!(text(vec![Step::Loop(timed(Some(4)))], 1), "c0 m0 c1@4 m1 c2@8 m2");
        assert_eq!(text(vec![Step::Loop(timed(Some(5)))], 1), "c0 m0 c1@5 m1");
        assert_eq!(text(vec![Step::Loop(timed(None))], 6), "c0 m0 c1 m1");
        assert_eq!(text(vec![Step::Loop(timed(Some(1)))], 30), "c0 m0");
    }

    #[test]
    fn one_without_an_end_stops_at_the_most_points() {
        let mut endless =
            plan(vec![Step::Loop(count(None, None, vec![measure()])), Step::Log("done".into())]);
        endless.max_points = 3;
        let seen = walked(&mut Walk::new(&endless), Duration::from_secs(1));
        assert_eq!(seen.join(" "), "c0 m0 c1 m1 c2 m2");
    }

    #[test]
    fn every_point_has_a_checkpoint_before_what_leads_to_it() {
        let steps = vec![
            Step::Log("one".into()),
            measure(),
            Step::Log("two".into()),
            Step::Loop(axis("x.v", even(0.0, 1.0, 1), vec![Step::Log("in".into()), measure()])),
            Step::Log("last".into()),
        ];
        assert_eq!(text(steps, 0), "c0 one m0 c1 two x=0 in m1 c2 last");
    }

    #[test]
    fn a_repeated_point_has_its_number_and_all_that_leads_to_it() {
        let inner = Loop { snake: true, ..axis("y.v", even(0.0, 1.0, 2), vec![measure()]) };
        let outer = axis("x.v", even(0.0, 1.0, 2), vec![Step::Loop(inner)]);
        let mut walk = Walk::new(&plan(vec![Step::Loop(outer)]));
        let mut seen = Vec::new();
        while let Some(instruction) = walk.next(Duration::ZERO) {
            seen.push(brief(&instruction));
            // The first step towards point 2 fails once, the second as well.
            if seen.iter().filter(|text| *text == "c2").count() == 1 && seen.last().unwrap() == "x=1" {
                walk.repeat_point();
            }
            if seen.iter().filter(|text| *text == "y=1").count() == 2 && seen.last().unwrap() == "y=1" {
                walk.repeat_point();
            }
        }
        assert_eq!(seen.join(" "), "c0 x=0 y=0 m0 c1 y=1 m1 c2 x=1 c2 x=1 y=1 c2 x=1 y=1 m2 c3 y=0 m3");
        let mut walk = Walk::new(&plan(vec![measure()]));
        walk.repeat_point();
        assert_eq!(walked(&mut walk, Duration::ZERO), ["c0", "m0"]);
    }

    #[test]
    fn what_is_set_is_known_outer_first_and_from_the_start() {
        let inner = axis("y.v", even(0.0, 1.0, 2), vec![measure()]);
        let outer = axis("x.v", even(5.0, 6.0, 2), vec![Step::Loop(inner)]);
        let mut plan = plan(vec![Step::Loop(outer)]);
        plan.before = vec![Step::Set {
            channel: channel("psu.output"),
            to: Setting::Word("on".into()),
            wait_readback: true,
            tolerance: None,
            within: None,
        }];
        let mut walk = Walk::new(&plan);
        assert_eq!(walk.set_points().len(), 1);
        while walk.point() < 3 {
            walk.next(Duration::ZERO).unwrap();
        }
        // At the checkpoint of the last point: what is set is what is there, not what comes next.
        assert!(matches!(walk.next(Duration::ZERO), Some(Instruction::Checkpoint { point: 3, .. })));
        let set: Vec<String> = walk.set_points().iter().map(|(c, to)| format!("{c} {to:?}")).collect();
        assert_eq!(set, ["psu.output Word(\"on\")", "x.v Number(6.0)", "y.v Number(0.0)"]);
    }

    #[test]
    fn passes_of_the_whole_are_counted() {
        let body = vec![Step::Loop(axis("x.v", even(0.0, 1.0, 2), vec![measure()]))];
        let mut plan = plan(vec![Step::Loop(count(Some(3), None, body))]);
        plan.repeat = 3;
        let mut walk = Walk::new(&plan);
        let mut passes = Vec::new();
        while let Some(instruction) = walk.next(Duration::ZERO) {
            if matches!(instruction, Instruction::Measure { .. }) {
                passes.push(walk.repeat_index());
            }
        }
        assert_eq!(passes, [0, 0, 1, 1, 2, 2]);
        plan.repeat = 1;
        assert_eq!(Walk::new(&plan).repeat_index(), 0);
    }

    #[test]
    fn even_values_have_exact_ends_and_plain_steps() {
        let all: Vec<f64> = (0..51).filter_map(|n| value(&even(0.0, 5.0, 51), n)).collect();
        assert_eq!((all[0], all[3], all[45], all[50]), (0.0, 0.3, 4.5, 5.0));
        let huge = even(-1.7e308, 1.7e308, 1_000_001);
        assert!((0..=1_000_000).step_by(1_000).all(|n| value(&huge, n).unwrap().is_finite()));
        assert_eq!(value(&huge, 1_000_000), Some(1.7e308));
        assert_eq!(value(&even(2.0, 9.0, 1), 0), Some(2.0));
    }
}
