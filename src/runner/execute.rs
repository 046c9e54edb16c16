//! The thread of a running queue: takes its scans one after the other and does what their plans say.
//!
//! Per point: checkpoint, set what changed, wait for arrival, settle, measure everything at once, one append of the row.
//! **Promises.** Whatever it waits for ends at once when the scan is aborted or stopped or telltale ends: it waits on
//! the answer and on [`Lab`]'s poke together, and dropping an answer gives the request up. It pauses only between
//! points, where nothing is half done. `always` runs however the scan ends, except for a forced abort and the end of
//! telltale itself, which leaves everything as it is. **Does not** decide what a command means: the state machines do,
//! under the desk's lock; this thread reads what was decided and reports what it has seen.

use super::data::{ColumnRole, Row};
use super::lab::{Halted, Job, Lab, Orders};
use super::machine::{Ask, ExitReason};
use super::plan::{
    After, ChannelRef, Condition, Instruction, MEASUREMENT, OnError, Plan, Step, Walk, level, level_of,
};
use crate::clock::Wall;
use crate::limits;
use crate::model::{Channel, CommandState, InstrumentStatus, Level, Quality, QualityReason};
use crate::sources::reading::{Reading, Value};
use crate::sources::{Answer, Instruments, Offer, Outcome, Request, Setting};
use crate::threads::Stop;
use crossbeam::channel::{Receiver, never, select};
use serde_json::{Map, Value as Json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a scan goes no further, or not as planned.
enum Halt {
    /// Somebody aborts it.
    Abort,
    /// Somebody stops it.
    Stop,
    /// Somebody skips the point.
    Skip,
    /// The resume that was under way has been taken back.
    StayPaused,
    /// Somebody aborts it and its clean-up as well.
    Force,
    /// Telltale ends.
    Quit,
    /// Something did not work.
    Failed(Trouble),
}

/// Something that did not work.
#[derive(Clone, Debug)]
struct Trouble {
    reason: ExitReason,
    text: String,
}

impl Trouble {
    fn error(text: impl Into<String>) -> Halt {
        Halt::Failed(Trouble { reason: ExitReason::Error, text: text.into() })
    }
}

/// What the thread is at, as far as orders are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Working,
    /// An error has paused it and what belongs to a pause is done: only an abort or a stop ends that early.
    Pausing,
    /// On the way from paused to running.
    Resuming,
    /// Only force ends it early.
    CleaningUp,
}

/// Runs scans of `queue` until there is none to run now.
pub(super) fn run_queue(lab: &Arc<Lab>, queue: &str, poke: &Receiver<()>, stop: &Stop) {
    while let Some(job) = lab.next_job(queue) {
        if stop.is_stopped() {
            return;
        }
        match take_up(lab, &job, poke, stop) {
            Taken::Done => {}
            Taken::Quit => return,
        }
    }
}

enum Taken {
    Done,
    Quit,
}

/// Runs one scan when its instruments are free.
fn take_up(lab: &Arc<Lab>, job: &Job, poke: &Receiver<()>, stop: &Stop) -> Taken {
    let plan = match lab.compile(&job.description) {
        Ok(plan) => plan,
        Err(text) => {
            lab.cannot_start(job, &format!("it can't run any more: {text}"));
            return Taken::Done;
        }
    };
    let instruments = &lab.context().instruments;
    let needed: Vec<String> = plan.instruments.iter().cloned().collect();
    loop {
        let why = match barred(lab, job) {
            Some(why) => why,
            None => match instruments.claim(&needed, &job.scan) {
                Ok(()) => break,
                Err(busy) => format!("{} is used by {}", busy.instrument, busy.by),
            },
        };
        if !lab.blocked(job, &why) {
            return Taken::Done;
        }
        select! {
            recv(stop.receiver()) -> _ => return Taken::Quit,
            recv(poke) -> _ => {}
            default(limits::CLAIM_AGAIN) => {}
        }
    }
    if !lab.begin(job, &plan) {
        instruments.release(&job.scan);
        return Taken::Done;
    }
    let mut execution = Execution::new(lab, job, &plan, poke, stop);
    let quit = execution.run();
    instruments.release(&job.scan);
    if quit {
        return Taken::Quit;
    }
    lab.over(job);
    Taken::Done
}

/// An alert that keeps this scan or its queue from starting.
fn barred(lab: &Lab, job: &Job) -> Option<String> {
    let refusal = |target: String| lab.context().commands.refusal(&target, "start", &Map::new());
    refusal(format!("queue/{}", job.queue))
        .or_else(|| refusal(format!("scan/{}", job.scan)))
        .map(|refusal| refusal.text)
}

/// One scan under way.
struct Execution<'a> {
    lab: &'a Lab,
    instruments: &'a Instruments,
    scan: &'a str,
    plan: &'a Plan,
    poke: &'a Receiver<()>,
    stop: &'a Stop,
    mode: Mode,
    begun: Instant,
    /// What there is to ask, by instrument; of those that are not here only the state is known.
    offers: BTreeMap<String, Offer>,
    columns: Vec<Source>,
    /// Read at every point although they are no columns.
    watched: Vec<ChannelRef>,
    /// Set-points whose set failed or was left out with its point: applied before the next point is taken.
    unsure: BTreeSet<ChannelRef>,
    /// Where the axes were before the scan.
    home: Vec<(ChannelRef, Setting)>,
    /// Instruments that were sent somewhere and have not said that they arrived, and whether that was waited for.
    underway: RefCell<BTreeMap<String, bool>>,
}

/// Where the value of a column comes from.
struct Source {
    column: String,
    channel: ChannelRef,
    set: bool,
}

impl<'a> Execution<'a> {
    fn new(lab: &'a Lab, job: &'a Job, plan: &'a Plan, poke: &'a Receiver<()>, stop: &'a Stop) -> Self {
        let instruments = &*lab.context().instruments;
        let offers: BTreeMap<String, Offer> =
            plan.instruments.iter().filter_map(|id| Some((id.clone(), instruments.find(id)?))).collect();
        let (mut measured, mut axes) = (BTreeSet::new(), Vec::new());
        channels(&plan.steps, &mut measured, &mut axes);
        let known: BTreeMap<String, ChannelRef> =
            measured.iter().chain(&axes).map(|c| (c.to_string(), c.clone())).collect();
        let columns = plan
            .columns
            .iter()
            .filter_map(|column| {
                let set = column.role == ColumnRole::Setpoint;
                let named = column.name.strip_suffix(".readback").unwrap_or(&column.name);
                let channel = known
                    .get(&column.name)
                    .or_else(|| known.get(named))
                    .or_else(|| column.source.as_ref().and_then(|source| known.get(source)))?;
                Some(Source { column: column.name.clone(), channel: channel.clone(), set })
            })
            .collect();
        let watched: BTreeSet<ChannelRef> = plan.abort_if.iter().map(|a| a.channel.clone()).collect();
        Execution {
            lab,
            instruments,
            scan: &job.scan,
            plan,
            poke,
            stop,
            mode: Mode::Working,
            begun: Instant::now(),
            offers,
            columns,
            watched: watched.into_iter().collect(),
            unsure: BTreeSet::new(),
            home: Vec::new(),
            underway: RefCell::default(),
        }
    }

    /// True when telltale ends and everything was left as it is.
    fn run(&mut self) -> bool {
        let end = self.startup().and_then(|()| self.points());
        let halted = match end {
            // Its instruments went first.
            Err(Halt::Failed(_)) if self.stop.is_stopped() => return true,
            Ok(()) => Halted::Finished,
            Err(Halt::Abort | Halt::Force) => Halted::Aborted,
            Err(Halt::Stop) => Halted::Stopped,
            Err(Halt::Quit) => return true,
            Err(Halt::Failed(trouble)) => Halted::Failed(trouble.reason, trouble.text),
            // They end at the point; here nothing is left to skip.
            Err(Halt::Skip | Halt::StayPaused) => Halted::Finished,
        };
        self.mode = Mode::CleaningUp;
        self.lab.halted(self.scan, &halted);
        // What goes on by itself on purpose is only stopped where something went wrong.
        let all = matches!(halted, Halted::Aborted | Halted::Failed(..));
        let mut first: Option<String> = self.stop_underway(all);
        let mut steps: Vec<Step> = Vec::new();
        if matches!(halted, Halted::Finished | Halted::Stopped) {
            steps.extend(self.after());
        }
        steps.extend(self.plan.always.iter().cloned());
        if self.orders().force && !steps.is_empty() {
            self.skipped_cleanup();
            steps.clear();
        }
        for step in &steps {
            match self.attempt(step) {
                Ok(()) => {}
                Err(Halt::Quit) => return true,
                Err(Halt::Force) => {
                    self.skipped_cleanup();
                    break;
                }
                Err(Halt::Failed(trouble)) => {
                    self.lab.say(self.scan, Level::Error, "cleanup_failed", &trouble.text, None);
                    first.get_or_insert(trouble.text);
                }
                // Everything else has had its effect already.
                Err(_) => {}
            }
        }
        self.lab.cleaned_up(self.scan, &halted, first.as_deref());
        false
    }

    /// What is still on its way somewhere is stopped, where it can be: nothing moves after an abort. `all`: also what
    /// was not to be waited for. Gives what failed.
    fn stop_underway(&self, all: bool) -> Option<String> {
        let mut first = None;
        for (id, waited) in self.underway.take() {
            if !(waited || all) || !self.offers.get(&id).is_some_and(|offer| offer.stops) {
                continue;
            }
            match self.ask(&id, Request::Stop, Duration::ZERO) {
                Err(Halt::Failed(trouble)) => {
                    self.lab.say(self.scan, Level::Error, "cleanup_failed", &trouble.text, None);
                    first.get_or_insert(trouble.text);
                }
                Ok(_) => {
                    let text = format!("{id} was stopped on its way.");
                    self.lab.say(self.scan, Level::Info, "stopped", &text, None);
                }
                Err(_) => {}
            }
        }
        first
    }

    fn skipped_cleanup(&self) {
        let text = "The clean-up was skipped, as was demanded; outputs may be on.";
        self.lab.say(self.scan, Level::Warning, "cleanup_skipped", text, None);
    }

    /// The steps of `after`.
    fn after(&self) -> Vec<Step> {
        let set = |(channel, to): &(ChannelRef, Setting)| Step::Set {
            channel: channel.clone(),
            to: to.clone(),
            wait_readback: true,
            tolerance: None,
            within: None,
        };
        match &self.plan.after {
            After::Stay => Vec::new(),
            After::Return => self.home.iter().map(set).collect(),
            After::Steps(steps) => steps.clone(),
        }
    }

    /// Phase `startup`: where the axes are, and the steps of `before`.
    fn startup(&mut self) -> Result<(), Halt> {
        if self.plan.after == After::Return {
            let (mut measured, mut axes) = (BTreeSet::new(), Vec::new());
            channels(&self.plan.steps, &mut measured, &mut axes);
            for axis in axes {
                match self.read(std::slice::from_ref(&axis))?.remove(&axis) {
                    Some(Value::Number(number)) => self.home.push((axis, Setting::Number(number))),
                    Some(Value::Text(word)) => self.home.push((axis, Setting::Word(word))),
                    Some(Value::Flag(_) | Value::Missing(_)) | None => {
                        let text = format!("{axis} does not say where it is, so it will not return there");
                        self.lab.say(self.scan, Level::Warning, "no_return", &text, None);
                    }
                }
            }
        }
        for step in &self.plan.before {
            loop {
                match self.attempt(step) {
                    Ok(()) | Err(Halt::Skip) => break,
                    Err(Halt::Failed(trouble)) if self.pauses() => self.trouble(trouble, &[])?,
                    Err(other) => return Err(other),
                }
            }
        }
        self.lab.main_phase(self.scan);
        Ok(())
    }

    /// Phase `main`: every point.
    fn points(&mut self) -> Result<(), Halt> {
        let mut walk = Walk::new(self.plan);
        // The point under way is left out: its measurement and all that leads to it; and why, unless somebody asked.
        let mut skipping: Option<Option<String>> = None;
        let mut late = None;
        while let Some(instruction) = walk.next(self.lab.active(self.scan)) {
            let result = match &instruction {
                Instruction::Checkpoint { due, .. } => self.checkpoint(&walk, *due).map(|by| late = by),
                Instruction::Measure { .. } if skipping.is_some() => {
                    self.lab.skipped(self.scan, skipping.take().flatten().as_deref(), true);
                    Ok(())
                }
                _ if skipping.is_some() => {
                    self.leave_out(&instruction);
                    Ok(())
                }
                Instruction::Do(Step::Prompt(text)) => self.prompt(text, &walk.set_points()),
                Instruction::Do(step) => self.attempt(step),
                Instruction::Measure { channels, samples, average, .. } => {
                    self.point(&walk, channels, *samples, *average, late)
                }
            };
            let why = match result {
                Ok(()) => continue,
                Err(Halt::Failed(trouble))
                    if !matches!(trouble.reason, ExitReason::Limit | ExitReason::Interlock)
                        && self.plan.on_error == OnError::SkipPoint =>
                {
                    Some(trouble.text)
                }
                // What is blocked stays so for the next point as well: it waits, whatever else it would leave out.
                Err(Halt::Failed(trouble))
                    if (trouble.reason != ExitReason::Limit && self.pauses())
                        || (trouble.reason == ExitReason::Interlock
                            && self.plan.on_error == OnError::SkipPoint) =>
                {
                    match self.trouble(trouble, &walk.set_points()) {
                        Ok(()) => {
                            walk.repeat_point();
                            continue;
                        }
                        Err(Halt::Skip) => None,
                        Err(other) => return Err(other),
                    }
                }
                Err(Halt::Skip) => None,
                Err(other) => return Err(other),
            };
            self.leave_out(&instruction);
            match instruction {
                Instruction::Measure { .. } => self.lab.skipped(self.scan, why.as_deref(), true),
                _ => skipping = Some(why),
            }
        }
        // Steps after the last point: there is none to leave out.
        if let Some(why) = skipping {
            self.lab.skipped(self.scan, why.as_deref(), false);
        }
        Ok(())
    }

    /// Whether an error that is left after all retries pauses the scan.
    fn pauses(&self) -> bool {
        matches!(self.plan.on_error, OnError::Pause | OnError::Retry(_, false))
    }

    /// What was not set with its point is set before the next one.
    fn leave_out(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Do(Step::Set { channel, .. }) => drop(self.unsure.insert(channel.clone())),
            Instruction::Do(Step::Gpio { output, .. }) => drop(self.unsure.insert(level_of(output))),
            _ => {}
        }
    }

    /// Between two points: pauses, and waits until the next one is due. Gives how late it is then, in ms.
    fn checkpoint(&mut self, walk: &Walk, due: Option<Duration>) -> Result<Option<u64>, Halt> {
        loop {
            let orders = self.orders();
            self.obey(&orders)?;
            if orders.ask == Some(Ask::Pause) {
                self.pause(&walk.set_points())?;
                continue;
            }
            let Some(due) = due else { return Ok(None) };
            let active = self.lab.active(self.scan);
            if active >= due {
                return Ok(Some((active - due).as_millis() as u64));
            }
            self.poked(Some(Instant::now() + (due - active)))?;
        }
    }

    /// Pauses as somebody asked, and comes back when the scan runs again.
    fn pause(&mut self, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        self.beside(&self.plan.on_pause)?;
        if self.lab.checkpoint(self.scan) {
            return self.resume(set_points);
        }
        // Taken back meanwhile.
        if !self.plan.on_pause.is_empty() {
            self.beside(&self.plan.on_resume)?;
            self.apply(set_points)?;
        }
        Ok(())
    }

    /// Pauses because something failed.
    fn trouble(&mut self, trouble: Trouble, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        if !self.lab.paused_by_error(self.scan, &trouble.text) {
            // It is being aborted or stopped already.
            self.obey(&self.orders())?;
            return Err(Halt::Failed(trouble));
        }
        self.mode = Mode::Pausing;
        let paused = self.beside(&self.plan.on_pause);
        self.mode = Mode::Working;
        paused?;
        self.resume(set_points)
    }

    /// Pauses until a person confirms.
    fn prompt(&mut self, text: &str, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        if self.lab.paused_by_prompt(self.scan, text) {
            self.resume(set_points)
        } else {
            self.obey(&self.orders())
        }
    }

    /// Waits while it is paused, then applies the set-points again: somebody may have turned a knob. Where that fails it
    /// stays paused, unless errors end it.
    fn resume(&mut self, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        let ends = matches!(self.plan.on_error, OnError::Abort | OnError::Retry(_, true));
        loop {
            let skip = self.await_resume()?;
            self.mode = Mode::Resuming;
            let applied = self.beside(&self.plan.on_resume).and_then(|()| {
                self.apply(set_points)?;
                self.settle(longest_settle(&self.plan.steps))
            });
            self.mode = Mode::Working;
            match applied {
                Ok(()) => {}
                Err(Halt::StayPaused) => continue,
                Err(Halt::Failed(trouble)) if !ends => {
                    // False: somebody has taken the resume back, or ends it.
                    self.lab.paused_by_error(self.scan, &trouble.text);
                    continue;
                }
                Err(other) => return Err(other),
            }
            if self.lab.reapplied(self.scan) {
                if !skip {
                    return Ok(());
                }
                self.lab.skip_taken(self.scan);
                return Err(Halt::Skip);
            }
        }
    }

    /// True when the point is to be skipped on the way.
    fn await_resume(&self) -> Result<bool, Halt> {
        loop {
            let orders = self.orders();
            match orders.ask {
                Some(Ask::Abort) => return Err(Halt::Abort),
                Some(Ask::Stop) => return Err(Halt::Stop),
                Some(Ask::Resume) => return Ok(orders.skip),
                _ => {}
            }
            self.woken(None)?;
        }
    }

    /// Sets everything to what it should be, outer first.
    fn apply(&mut self, set_points: &[(ChannelRef, Setting)]) -> Result<(), Halt> {
        for (channel, to) in set_points {
            self.set(channel, to, true, None, None)?;
        }
        Ok(())
    }

    /// Steps beside the points: an error of theirs is said and changes nothing.
    fn beside(&mut self, steps: &[Step]) -> Result<(), Halt> {
        for step in steps {
            match self.step(step) {
                Err(Halt::Failed(trouble)) => {
                    self.lab.say(self.scan, Level::Error, "step_failed", &trouble.text, None);
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// A step, with the retries it is allowed.
    fn attempt(&mut self, step: &Step) -> Result<(), Halt> {
        self.retried(|this| this.step(step))
    }

    fn retried<T>(&mut self, mut work: impl FnMut(&mut Self) -> Result<T, Halt>) -> Result<T, Halt> {
        let most = if let OnError::Retry(most, _) = self.plan.on_error { most } else { 0 };
        let mut tried = 0;
        loop {
            match work(self) {
                // What was stopped because somebody wants it to pause is not sent off again.
                Err(Halt::Failed(trouble))
                    if tried < most
                        && !matches!(trouble.reason, ExitReason::Limit | ExitReason::Interlock)
                        && self.orders().ask != Some(Ask::Pause) =>
                {
                    tried += 1;
                    let text = format!("{}; retry {tried} of {most}", trouble.text);
                    self.lab.say(self.scan, Level::Warning, "retry", &text, None);
                    self.obey(&self.orders())?;
                }
                Err(Halt::Failed(trouble)) if tried > 0 => {
                    let plural = if tried == 1 { "retry" } else { "retries" };
                    let text = format!("{} ({tried} {plural})", trouble.text);
                    return Err(Halt::Failed(Trouble { text, ..trouble }));
                }
                other => return other,
            }
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), Halt> {
        match step {
            Step::Set { channel, to, wait_readback, tolerance, within } => {
                self.set(channel, to, *wait_readback, *tolerance, *within)
            }
            Step::Gpio { output, active } => self.set(&level_of(output), &level(*active), true, None, None),
            Step::Settle(time) => self.settle(*time),
            Step::WaitUntil { channel, when, hold, within } => self.wait_until(channel, when, *hold, *within),
            Step::Log(text) => {
                self.lab.say(self.scan, Level::Info, "log", text, None);
                Ok(())
            }
            Step::Query { instrument, text } => {
                self.lab.doing(self.scan, || format!("query {instrument}: {text}"));
                let outcome = self.ask(instrument, Request::Query(text.clone()), Duration::ZERO)?;
                let answer = outcome.text.unwrap_or_default();
                let said = if answer.is_empty() {
                    format!("{instrument}: sent {text}")
                } else {
                    format!("{instrument}: {text} -> {answer}")
                };
                let data = serde_json::json!({ "instrument_id": instrument, "sent": text, "answer": answer });
                self.lab.say(self.scan, Level::Info, "query", &said, Some(data));
                Ok(())
            }
            Step::Prompt(text) => self.prompt(text, &[]),
            // The walk takes them apart.
            Step::Loop(_) | Step::Measure { .. } => Ok(()),
        }
    }

    fn set(
        &mut self,
        channel: &ChannelRef,
        to: &Setting,
        arrive: bool,
        tolerance: Option<f64>,
        within: Option<Duration>,
    ) -> Result<(), Halt> {
        let offer = self.offers.get(&channel.instrument).and_then(|offer| offer.channel(&channel.channel));
        let unit = offer.and_then(|o| o.unit.clone());
        let time = within.or(offer.map(|o| o.settle)).unwrap_or_default();
        self.lab.doing(self.scan, || format!("set {channel} = {}", shown(to, unit.as_deref())));
        let request =
            Request::Set { channel: channel.channel.clone(), to: to.clone(), tolerance, within, arrive };
        self.ask(&channel.instrument, request, time)?;
        self.unsure.remove(channel);
        Ok(())
    }

    fn settle(&self, time: Duration) -> Result<(), Halt> {
        if time.is_zero() {
            return Ok(());
        }
        if time >= limits::SHOWN_SETTLE {
            self.lab.doing(self.scan, || format!("settle {} s", rounded(time.as_secs_f64())));
        }
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.poked(Some(until))?;
        }
        Ok(())
    }

    fn wait_until(
        &mut self,
        channel: &ChannelRef,
        when: &Condition,
        hold: Duration,
        within: Duration,
    ) -> Result<(), Halt> {
        let wanted = match when {
            Condition::Above(limit) => format!("above {}", rounded(*limit)),
            Condition::Below(limit) => format!("below {}", rounded(*limit)),
            Condition::Within(near, of) => format!("within {} of {}", rounded(*near), rounded(*of)),
        };
        self.lab.doing(self.scan, || format!("wait until {channel} is {wanted}"));
        let begun = Instant::now();
        let mut holds_since = None;
        loop {
            let value = self.read(std::slice::from_ref(channel))?.remove(channel);
            let number = value.as_ref().and_then(Value::as_number);
            let now = Instant::now();
            if number.is_some_and(|number| holds(when, number)) {
                if now - *holds_since.get_or_insert(now) >= hold {
                    return Ok(());
                }
            } else {
                holds_since = None;
            }
            if begun.elapsed() >= within {
                let for_s = if hold.is_zero() {
                    String::new()
                } else {
                    format!(" for {} s", rounded(hold.as_secs_f64()))
                };
                let last = number.map_or("no value".into(), |n| rounded(n).to_string());
                return Err(Halt::Failed(Trouble {
                    reason: ExitReason::Timeout,
                    text: format!(
                        "{channel} was not {wanted}{for_s} within {} s; it is {last}",
                        rounded(within.as_secs_f64())
                    ),
                }));
            }
            self.settle(limits::WAIT_UNTIL_POLL)?;
        }
    }

    /// Takes one point: reads everything, weighs it, and appends the row.
    fn point(
        &mut self,
        walk: &Walk,
        channels: &[ChannelRef],
        samples: u32,
        average: bool,
        late_ms: Option<u64>,
    ) -> Result<(), Halt> {
        let set_points = walk.set_points();
        if !self.unsure.is_empty() {
            let again: Vec<_> =
                set_points.iter().filter(|(channel, _)| self.unsure.contains(channel)).cloned().collect();
            self.apply(&again)?;
            self.unsure.clear();
        }
        self.lab.measuring(self.scan);
        let wanted: Vec<ChannelRef> = if self.watched.iter().all(|w| channels.contains(w)) {
            channels.to_vec()
        } else {
            channels.iter().chain(self.watched.iter().filter(|w| !channels.contains(w))).cloned().collect()
        };
        let mut sums: BTreeMap<&ChannelRef, (f64, u32)> = BTreeMap::new();
        let mut values = BTreeMap::new();
        for _ in 0..samples.max(1) {
            let read = self.retried(|this| this.read(&wanted))?;
            if average {
                for channel in &wanted {
                    if let Some(Value::Number(number)) = read.get(channel) {
                        let (sum, count) = sums.entry(channel).or_default();
                        *sum += number;
                        *count += 1;
                    }
                }
            }
            values = read;
        }
        for (channel, (sum, count)) in sums {
            values.insert(channel.clone(), Value::number(sum / f64::from(count)));
        }
        let mut row = Row {
            sequence_index: None,
            data: BTreeMap::new(),
            // To the microsecond: more digits are none.
            t_rel: Some((self.begun.elapsed().as_secs_f64() * 1e6).round() / 1e6),
            timestamp: Wall::now(),
            quality: BTreeMap::new(),
            late_ms: late_ms.filter(|late| *late > 0),
        };
        for source in &self.columns {
            let json = if source.set {
                set_points.iter().find(|(channel, _)| *channel == source.channel).map(|(_, to)| match to {
                    Setting::Number(number) => (*number).into(),
                    Setting::Word(word) => word.clone().into(),
                })
            } else {
                values.get(&source.channel).map(|value| {
                    if let Value::Missing(reason) = value {
                        row.quality.insert(source.column.clone(), quality(*reason));
                    }
                    value.to_json()
                })
            };
            row.data.insert(source.column.clone(), json.unwrap_or(Json::Null));
        }
        self.lab
            .take_point(self.scan, MEASUREMENT, row, walk.repeat_index())
            .map_err(|e| Trouble::error(format!("the point could not be stored: {e}")))?;
        for check in &self.plan.abort_if {
            let number = values.get(&check.channel).and_then(Value::as_number);
            if let Some(number) = number.filter(|number| holds(&check.when, *number)) {
                let is = match check.when {
                    Condition::Above(limit) => format!("above {}", rounded(limit)),
                    Condition::Below(limit) => format!("below {}", rounded(limit)),
                    Condition::Within(near, of) => format!("within {} of {}", rounded(near), rounded(of)),
                };
                let text = format!("{} is {}, {is}", check.channel, rounded(number));
                return Err(Halt::Failed(Trouble { reason: ExitReason::Limit, text }));
            }
        }
        Ok(())
    }

    /// Reads channels, all instruments at once.
    fn read(&mut self, channels: &[ChannelRef]) -> Result<BTreeMap<ChannelRef, Value>, Halt> {
        let mut by_instrument: Vec<(&str, Vec<&str>)> = Vec::new();
        for channel in channels {
            match by_instrument.iter_mut().find(|(id, _)| *id == channel.instrument) {
                Some((_, names)) => names.push(&channel.channel),
                None => by_instrument.push((&channel.instrument, vec![&channel.channel])),
            }
        }
        let mut values = BTreeMap::new();
        let mut take = |id: &str, readings: Vec<Reading>| {
            for reading in readings {
                values.insert(ChannelRef { instrument: id.into(), channel: reading.name }, reading.value);
            }
        };
        let mut asked: Vec<(&str, Answer, Duration)> = Vec::new();
        for (id, names) in &by_instrument {
            let Some(offer) = self.offers.get(*id) else {
                take(id, self.posted(id, names));
                continue;
            };
            let (ours, state): (Vec<&str>, Vec<&str>) =
                names.iter().partition(|name| offer.channel(name).is_some_and(|c| c.readable));
            if !state.is_empty() {
                take(id, self.posted(id, &state));
            }
            if ours.is_empty() {
                continue;
            }
            let time = offer.timeout * ours.len() as u32;
            let request = Request::Read { channels: ours.into_iter().map(str::to_string).collect() };
            let answer = self.instruments.ask(id, request).map_err(|why| self.failed(why))?;
            asked.push((id, answer, time));
        }
        for (id, answer, time) in asked {
            let outcome = self.answered(id, &answer, time, "a measurement")?;
            take(id, outcome.readings);
        }
        Ok(values)
    }

    /// What a program has posted of these channels, while it is good.
    fn posted(&self, id: &str, names: &[&str]) -> Vec<Reading> {
        let event = self.lab.context().bus.state_of(&format!("instrument_status/{id}"));
        let status = event.and_then(|e| serde_json::from_str::<InstrumentStatus>(e.payload()).ok());
        let now = Wall::now();
        let reading = |name: &&str| {
            let channel = status.as_ref().and_then(|s| s.channels.get(*name));
            let value = match channel {
                None => Value::Missing(QualityReason::NotConnected),
                Some(c) if c.quality != Quality::Good => {
                    Value::Missing(c.quality_reason.unwrap_or(QualityReason::Stale))
                }
                Some(c) if is_stale(c, now) => Value::Missing(QualityReason::Stale),
                Some(c) => match (c.value, &c.text) {
                    (Some(number), _) => Value::number(number),
                    (None, Some(text)) => Value::Text(text.clone()),
                    (None, None) => Value::Missing(QualityReason::Nan),
                },
            };
            Reading { name: (*name).to_string(), value, unit: None }
        };
        names.iter().map(reading).collect()
    }

    /// Asks an instrument and waits for its answer; `time` is how long what is asked may take by itself.
    fn ask(&self, id: &str, request: Request, time: Duration) -> Result<Outcome, Halt> {
        let what = match &request {
            Request::Set { channel, to, .. } => format!("{channel} = {}", shown(to, None)),
            Request::Query(text) => format!("`{text}`"),
            Request::Read { .. } => "a measurement".into(),
            Request::Move { .. } => "a move".into(),
            Request::Stop => "stop".into(),
            Request::Safe => "its safe state".into(),
            Request::ClearError => "clearing its errors".into(),
        };
        // Whether its answer says that it has arrived; none where nothing is sent anywhere.
        let arrives = match request {
            Request::Set { arrive, .. } => Some(arrive),
            Request::Move { .. } => Some(true),
            _ => None,
        };
        if let Some(refusal) = self.interlock(id, &request) {
            return Err(Halt::Failed(Trouble { reason: ExitReason::Interlock, text: refusal }));
        }
        let answer = self.instruments.ask(id, request).map_err(|why| self.failed(why))?;
        if let Some(arrives) = arrives {
            self.underway.borrow_mut().insert(id.to_string(), arrives);
        }
        let outcome = self.answered(id, &answer, time, &what)?;
        if arrives == Some(true) {
            self.underway.borrow_mut().remove(id);
        }
        Ok(outcome)
    }

    /// Why an alert keeps this request from being sent.
    fn interlock(&self, id: &str, request: &Request) -> Option<String> {
        let json = |to: &Setting| match to {
            Setting::Number(number) => Json::from(*number),
            Setting::Word(word) => Json::from(word.as_str()),
        };
        let mut params = Map::new();
        let action = match request {
            Request::Set { channel, to, .. } => {
                params.insert("channel".into(), channel.as_str().into());
                params.insert("value".into(), json(to));
                "set"
            }
            Request::Move { to, .. } => {
                let target: Map<String, Json> =
                    to.iter().map(|(name, to)| (name.clone(), json(to))).collect();
                params.insert("target".into(), target.into());
                "move"
            }
            Request::Query(_) => "query",
            Request::Read { .. } | Request::Stop | Request::Safe | Request::ClearError => return None,
        };
        let refusal = self.lab.context().commands.refusal(&format!("instrument/{id}"), action, &params)?;
        Some(refusal.text.trim_end_matches('.').to_string())
    }

    fn answered(&self, id: &str, answer: &Answer, time: Duration, what: &str) -> Result<Outcome, Halt> {
        // The source ends every request by itself; this is for one that does not.
        let timeout = self.offers.get(id).map_or(Duration::ZERO, |offer| offer.timeout);
        let patience = time + timeout * 4 + limits::ANSWER_PATIENCE;
        let until = Instant::now() + patience;
        let outcome = loop {
            match self.wait(&answer.from, Some(until))? {
                Woken::With(Some(outcome)) => break outcome,
                Woken::With(None) => {
                    return Err(self.failed(format!("{id} went away before it had answered to {what}")));
                }
                Woken::Poked => {}
                Woken::Late => {
                    let text =
                        format!("{id}: no answer to {what} within {} s", rounded(patience.as_secs_f64()));
                    return Err(Halt::Failed(Trouble { reason: ExitReason::Timeout, text }));
                }
            }
        };
        if outcome.state == CommandState::Completed {
            return Ok(outcome);
        }
        if self.stop.is_stopped() {
            return Err(Halt::Quit);
        }
        let reason =
            if outcome.state == CommandState::TimedOut { ExitReason::Timeout } else { ExitReason::Error };
        let said = outcome.reason.unwrap_or_else(|| format!("{what} did not work"));
        let text = if said.contains(id) { said } else { format!("{id}: {said}") };
        Err(Halt::Failed(Trouble { reason, text }))
    }

    /// What an instrument does not do when telltale ends is no failure of the scan: it has gone first.
    fn failed(&self, why: impl Into<String>) -> Halt {
        if self.stop.is_stopped() { Halt::Quit } else { Trouble::error(why) }
    }

    fn orders(&self) -> Orders {
        self.lab.orders(self.scan)
    }

    /// Ends what is going on where that was ordered.
    fn obey(&self, orders: &Orders) -> Result<(), Halt> {
        match self.mode {
            Mode::CleaningUp if orders.force => Err(Halt::Force),
            Mode::CleaningUp => Ok(()),
            _ if orders.ask == Some(Ask::Abort) => Err(Halt::Abort),
            _ if orders.ask == Some(Ask::Stop) => Err(Halt::Stop),
            Mode::Resuming if orders.ask != Some(Ask::Resume) => Err(Halt::StayPaused),
            Mode::Working if orders.skip => {
                self.lab.skip_taken(self.scan);
                Err(Halt::Skip)
            }
            Mode::Pausing | Mode::Resuming | Mode::Working => Ok(()),
        }
    }

    /// Waits for a poke, or until then, and obeys.
    fn poked(&self, until: Option<Instant>) -> Result<(), Halt> {
        self.wait(&never::<()>(), until).map(drop)
    }

    /// The same without obeying.
    fn woken(&self, until: Option<Instant>) -> Result<(), Halt> {
        let time = until.map_or(limits::LOOK_AGAIN, |until| until.saturating_duration_since(Instant::now()));
        select! {
            recv(self.stop.receiver()) -> _ => Err(Halt::Quit),
            recv(self.poke) -> _ => Ok(()),
            default(time) => Ok(()),
        }
    }

    /// Waits for one of `from`, a poke, or until then.
    fn wait<T>(&self, from: &Receiver<T>, until: Option<Instant>) -> Result<Woken<T>, Halt> {
        let time = until.map_or(limits::LOOK_AGAIN, |until| until.saturating_duration_since(Instant::now()));
        select! {
            recv(from) -> got => Ok(Woken::With(got.ok())),
            recv(self.stop.receiver()) -> _ => Err(Halt::Quit),
            recv(self.poke) -> _ => self.obey(&self.orders()).map(|()| Woken::Poked),
            default(time) => Ok(Woken::Late),
        }
    }
}

enum Woken<T> {
    With(Option<T>),
    Poked,
    Late,
}

/// Whether nobody has spoken of a channel within its time.
fn is_stale(channel: &Channel, now: Wall) -> bool {
    let time = channel.timeout_s.filter(|s| *s > 0.0).unwrap_or(f64::INFINITY);
    now.0.saturating_sub(channel.last_updated.0) as f64 > time * 1000.0
}

/// What steps measure, and what their loops set, outer first.
fn channels(steps: &[Step], measured: &mut BTreeSet<ChannelRef>, axes: &mut Vec<ChannelRef>) {
    for step in steps {
        match step {
            Step::Measure { channels, .. } => measured.extend(channels.iter().cloned()),
            Step::Loop(inner) => {
                axes.extend(
                    inner.set.iter().filter(|axis| !axes.contains(axis)).cloned().collect::<Vec<_>>(),
                );
                channels(&inner.body, measured, axes);
            }
            Step::Set { channel, .. } => drop(measured.insert(channel.clone())),
            _ => {}
        }
    }
}

/// The longest time that a loop settles.
fn longest_settle(steps: &[Step]) -> Duration {
    let of = |step: &Step| match step {
        Step::Loop(inner) => inner.settle.max(longest_settle(&inner.body)),
        _ => Duration::ZERO,
    };
    steps.iter().map(of).max().unwrap_or_default()
}

fn holds(when: &Condition, number: f64) -> bool {
    match when {
        Condition::Above(limit) => number > *limit,
        Condition::Below(limit) => number < *limit,
        Condition::Within(near, of) => (number - of).abs() <= *near,
    }
}

/// `bad/nan` and the like.
fn quality(reason: QualityReason) -> String {
    let quality = match reason {
        QualityReason::Stale | QualityReason::Initial | QualityReason::OutOfRange => "uncertain",
        _ => "bad",
    };
    let word = serde_json::to_value(reason).ok();
    format!("{quality}/{}", word.as_ref().and_then(Json::as_str).unwrap_or("nan"))
}

fn shown(to: &Setting, unit: Option<&str>) -> String {
    let unit =
        unit.filter(|unit| *unit != "1" && !unit.is_empty()).map(|u| format!(" {u}")).unwrap_or_default();
    match to {
        Setting::Number(number) => format!("{}{unit}", rounded(*number)),
        Setting::Word(word) => word.clone(),
    }
}

/// Without the noise of binary fractions.
fn rounded(number: f64) -> f64 {
    let text = format!("{number:.9e}");
    text.parse().unwrap_or(number)
}
