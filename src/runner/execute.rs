//! The thread of a running queue: takes its scans one after the other and does what their plans say.
//!
//! Per point: checkpoint, set what changed, wait for arrival, settle, measure everything at once, one append of the row.
//! **Promises.** Whatever it waits for ends at once when the scan is aborted or stopped or telltale ends: it waits on
//! the answer and on [`Lab`]'s poke together, and dropping an answer gives the request up. It pauses only between
//! points, where nothing is half done. `always` runs however the scan ends, except for a forced abort and the end of
//! telltale itself, which leaves everything as it is. **Does not** decide what a command means: the state machines do,
//! under the desk's lock; this thread reads what was decided and reports what it has seen.

mod pause;
mod point;

use super::data::ColumnRole;
use super::lab::{Halted, Job, Lab, Orders};
use super::machine::{Ask, ExitReason};
use super::plan::{After, ChannelRef, Condition, Instruction, OnError, Plan, Step, Walk, level, level_of};
use crate::bus::INTERLOCK;
use crate::limits;
use crate::model::{CommandState, Level};
use crate::sources::reading::Value;
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
    queue: &'a str,
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
            queue: &job.queue,
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
                    Err(Halt::Failed(trouble)) if self.pauses_for(&trouble) => self.trouble(trouble, &[])?,
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
                Err(Halt::Failed(trouble))
                    if trouble.reason != ExitReason::Limit && self.pauses_for(&trouble) =>
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

    /// Whether an error that is left after all retries pauses the scan. What is blocked stays so for the next point as
    /// well: it waits, whatever else it would leave out.
    fn pauses_for(&self, trouble: &Trouble) -> bool {
        match self.plan.on_error {
            OnError::Pause | OnError::Retry(_, false) => true,
            OnError::SkipPoint => trouble.reason == ExitReason::Interlock,
            _ => false,
        }
    }

    /// What was not set with its point is set before the next one.
    fn leave_out(&mut self, instruction: &Instruction) {
        match instruction {
            Instruction::Do(Step::Set { channel, .. }) => drop(self.unsure.insert(channel.clone())),
            Instruction::Do(Step::Gpio { output, .. }) => drop(self.unsure.insert(level_of(output))),
            _ => {}
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
        if !matches!(request, Request::Read { .. }) {
            self.hold()?;
        }
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
        let exchange = self.offers.get(id).map_or(Duration::ZERO, |offer| offer.gap + offer.timeout);
        let patience = time + exchange * 4 + limits::ANSWER_PATIENCE;
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
        self.hold()?;
        let said = outcome.reason.unwrap_or_else(|| format!("{what} did not work"));
        // Its source was the one to see that it is blocked.
        let refusal = said.strip_prefix(INTERLOCK).and_then(|text| text.strip_prefix(": "));
        if let Some(text) = refusal.map(|text| text.trim_end_matches('.').to_string()) {
            return Err(Halt::Failed(Trouble { reason: ExitReason::Interlock, text }));
        }
        let reason =
            if outcome.state == CommandState::TimedOut { ExitReason::Timeout } else { ExitReason::Error };
        let text = if said.contains(id) { said } else { format!("{id}: {said}") };
        Err(Halt::Failed(Trouble { reason, text }))
    }

    /// Waits while somebody has asked for its end or its pause and the lab has not come to that: its thread may be at the
    /// disk, while the instruments have been stopped already. Nothing is sent off meanwhile.
    fn hold(&self) -> Result<(), Halt> {
        let commands = &self.lab.context().commands;
        let (scan, queue) = (format!("scan/{}", self.scan), format!("queue/{}", self.queue));
        let until = Instant::now() + limits::LAB_BEHIND;
        while self.mode != Mode::CleaningUp && Instant::now() < until {
            let abort = commands.awaits(&scan, "abort") || commands.awaits(&queue, "abort");
            if !abort && !commands.awaits(&scan, "pause") {
                break;
            }
            let orders = self.orders();
            self.obey(&orders)?;
            if !abort && orders.ask == Some(Ask::Pause) {
                break;
            }
            self.poked(Some(Instant::now() + limits::LAB_TICK))?;
        }
        Ok(())
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

fn holds(when: &Condition, number: f64) -> bool {
    match when {
        Condition::Above(limit) => number > *limit,
        Condition::Below(limit) => number < *limit,
        Condition::Within(near, of) => (number - of).abs() <= *near,
    }
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
