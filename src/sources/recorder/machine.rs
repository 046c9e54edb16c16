//! One recorder as a pure machine: what is heard of it, what it is asked for, what follows. Time is passed in; nothing is
//! sent or published here.
//!
//! A command is not done when it was sent but when the recorder is seen to do it: started when it records, stopped when it
//! does not and is heard, split when it records something else than before. What is not seen in time has timed out; what
//! an opposite command overtakes is superseded.

use super::members::{LastStopSaid, Members};
use crate::clock::Wall;
use crate::config::{ConfirmBy, Recorder};
use crate::limits;
use crate::model::{CommandState, LastStop, QualityReason, RecorderState};
use std::collections::VecDeque;
use std::time::Duration;

/// The level's trend is that of this long, and none before there is a sixth of it.
const TREND: Duration = Duration::from_secs(60);
/// Levels are remembered no closer than this.
const TREND_STEP: Duration = Duration::from_millis(500);
/// A recording without a name that is heard of again within this time is the same one.
const SAME: Duration = limits::RECORDER_STALE;

/// What a recorder is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(super) enum Action {
    Start,
    Stop,
    Split,
    Auto(bool),
}

impl Action {
    /// As on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Split => "split",
            Action::Auto(_) => "auto",
        }
    }

    fn undoes(self, other: Action) -> bool {
        match (self, other) {
            (Action::Stop, Action::Start | Action::Split) | (Action::Start, Action::Stop) => true,
            (Action::Auto(now), Action::Auto(before)) => now != before,
            _ => false,
        }
    }
}

/// What is heard of a recorder, as one.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub status: Option<RecorderState>,
    pub why_lost: Option<QualityReason>,
    pub recording: Option<String>,
    pub elapsed_s: Option<f64>,
    pub level_db: Option<f64>,
    pub threshold_db: Option<f64>,
    pub peak_db: Option<f64>,
    pub clipped: bool,
    pub auto: Option<bool>,
    pub stop: Option<LastStopSaid>,
    /// A program posted it just now.
    pub posted: bool,
}

impl Seen {
    /// What `members` say.
    pub fn of(members: &Members, posted: bool) -> Seen {
        Seen {
            status: Some(members.status()),
            why_lost: members.why_lost(),
            recording: members.text("recording").map(str::to_string),
            elapsed_s: members.number("elapsed_s"),
            level_db: members.number("level_db"),
            threshold_db: members.number("threshold_db"),
            peak_db: members.number("peak_db"),
            clipped: members.flag("clipped") == Some(true),
            auto: members.flag("auto"),
            stop: members.stop().cloned(),
            posted,
        }
    }
}

/// What happens to a recorder.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Somebody spoke of it, or nobody does any more.
    Seen(Box<Seen>),
    /// Somebody asks for something.
    Command(String, Action),
    /// What became of sending that.
    Sent(String, Result<(), String>),
    /// The peak and the overload lamp begin anew.
    Reset,
    /// Nothing of it is served any more: whatever is under way fails, for this reason.
    End(&'static str),
    /// Time has passed.
    Tick,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Effect {
    /// Tell the recorder, for this command.
    Send(String, Action),
    /// A command is over.
    Finish(String, CommandState, Option<String>),
    /// For the log.
    Say(String),
}

#[derive(Clone, Debug)]
struct Pending {
    id: String,
    action: Action,
    until: Duration,
    /// How many recordings had been begun when it came.
    takes: u64,
}

/// A recording of which nothing is heard at the moment.
#[derive(Clone, Debug)]
struct Lost {
    recording: Option<String>,
    began: Option<Duration>,
    at: Duration,
    splits: u64,
    last_stop: Option<LastStop>,
}

/// See the module above.
pub(super) struct Machine {
    rules: Recorder,
    status: RecorderState,
    recording: Option<String>,
    /// When the recording began, where that was seen.
    began: Option<Duration>,
    elapsed_s: Option<f64>,
    /// Recordings that were begun.
    takes: u64,
    /// Those of them that followed another without a pause, since one that did not.
    splits: u64,
    last_stop: Option<LastStop>,
    /// What the recorder said of its last stop last.
    said: Option<LastStopSaid>,
    lost: Option<Lost>,
    /// It recorded this, then, when telltale ended.
    restored: Option<(Option<String>, Wall)>,
    pending: Vec<Pending>,
    levels: VecDeque<(Duration, f64)>,
    quiet: bool,
    peak_hold_db: Option<f64>,
    clipped: bool,
    auto: Option<bool>,
    up_since: Option<Duration>,
}

/// What the machine adds to what is heard.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub(super) struct Shown {
    pub status: RecorderState,
    pub elapsed_s: Option<f64>,
    pub last_stop: Option<LastStop>,
    pub peak_hold_db: Option<f64>,
    pub clipped: bool,
    pub trend_db_per_min: Option<f64>,
    pub splits: u64,
    pub uptime_s: Option<f64>,
    pub pending: Option<&'static str>,
    pub actions: Vec<&'static str>,
}

impl Machine {
    /// One of which nothing was heard yet.
    pub fn new(rules: Recorder) -> Self {
        Machine {
            rules,
            status: RecorderState::Offline,
            recording: None,
            began: None,
            elapsed_s: None,
            takes: 0,
            splits: 0,
            last_stop: None,
            said: None,
            lost: None,
            restored: None,
            pending: Vec::new(),
            levels: VecDeque::new(),
            quiet: false,
            peak_hold_db: None,
            clipped: false,
            auto: None,
            up_since: None,
        }
    }

    /// What was known when telltale ended: how the last recording had ended, and whether one was under way.
    pub fn restore(&mut self, last_stop: Option<LastStop>, recording: Option<(Option<String>, Wall)>) {
        self.last_stop = last_stop;
        self.restored = recording;
    }

    /// What was restored is not going on: nobody has spoken of it in time.
    pub fn forget_restored(&mut self, reason: &str) {
        if let Some((_, at)) = self.restored.take() {
            self.last_stop = Some(LastStop { reason: reason.into(), at });
        }
    }

    /// Other rules, from the next command on.
    pub fn set_rules(&mut self, rules: Recorder) {
        self.rules = rules;
    }

    /// Something happens; gives what follows.
    pub fn step(&mut self, input: Input, now: Duration, wall: Wall) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Seen(seen) => self.seen(*seen, now, wall, &mut out),
            Input::Command(id, action) => self.command(id, action, now, &mut out),
            Input::Sent(id, Err(why)) => self.end(&id, CommandState::Failed, Some(why), &mut out),
            Input::Sent(_, Ok(())) => {}
            Input::Reset => {
                self.peak_hold_db = None;
                self.clipped = false;
            }
            Input::End(why) => {
                for pending in self.pending.drain(..) {
                    out.push(Effect::Finish(pending.id, CommandState::Failed, Some(why.into())));
                }
            }
            Input::Tick => self.tick(now, &mut out),
        }
        out
    }

    /// When [`Input::Tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.iter().map(|p| p.until).min()
    }

    /// Whether its elapsed time is counted here, so that it changes though nobody speaks.
    pub fn counts(&self) -> bool {
        self.status.is_recording() && self.elapsed_s.is_none() && self.began.is_some()
    }

    /// What there is to show besides what is heard.
    pub fn shown(&self, now: Duration) -> Shown {
        let since = |at: Duration| (now.saturating_sub(at).as_secs_f64() * 10.0).round() / 10.0;
        let recording = self.status.is_recording();
        Shown {
            status: self.status,
            elapsed_s: if recording { self.elapsed_s.or_else(|| self.began.map(since)) } else { None },
            last_stop: self.last_stop.clone(),
            peak_hold_db: self.peak_hold_db,
            clipped: self.clipped,
            trend_db_per_min: self.trend(),
            splits: self.splits,
            uptime_s: self.up_since.map(since),
            pending: self.pending.last().map(|p| p.action.word()),
            actions: self.actions(),
        }
    }

    fn can(&self, action: Action) -> bool {
        let on = matches!(action, Action::Auto(true));
        self.rules.effect(action.word(), on).is_some()
    }

    /// What can be asked for now.
    fn actions(&self) -> Vec<&'static str> {
        if self.status == RecorderState::Offline {
            return Vec::new();
        }
        let recording = self.status.is_recording();
        let waits = |action: Action| self.pending.iter().any(|p| p.action == action);
        let mut all = Vec::new();
        let mut add = |action: Action, possible: bool| {
            if possible && self.can(action) && !all.contains(&action.word()) {
                all.push(action.word());
            }
        };
        add(Action::Start, !recording || waits(Action::Stop));
        add(Action::Stop, recording || waits(Action::Start));
        add(Action::Split, recording);
        add(Action::Auto(true), self.auto != Some(true));
        add(Action::Auto(false), self.auto != Some(false));
        all
    }

    fn command(&mut self, id: String, action: Action, now: Duration, out: &mut Vec<Effect>) {
        let mut reject =
            |why: String| out.push(Effect::Finish(id.clone(), CommandState::Rejected, Some(why)));
        let recording = self.status.is_recording();
        if !self.can(action) {
            return reject(format!("it is not configured how the recorder is told to {}", action.word()));
        }
        if self.status == RecorderState::Offline {
            return reject("the recorder is offline: no effect could be seen".into());
        }
        if action == Action::Split && !recording {
            return reject("nothing is being recorded".into());
        }
        let overtakes = self.pending.iter().any(|p| action.undoes(p.action));
        let already = match action {
            Action::Start => recording.then_some("it is recording already"),
            Action::Stop => (!recording).then_some("nothing is being recorded"),
            Action::Split => None,
            Action::Auto(on) => (self.auto == Some(on)).then_some("it is so already"),
        };
        if let Some(why) = already.filter(|_| !overtakes) {
            return out.push(Effect::Finish(id, CommandState::Completed, Some(why.into())));
        }
        if self.pending.len() >= limits::RECORDER_PENDING {
            return reject("too many commands wait for their effect".into());
        }
        let (gone, kept) =
            std::mem::take(&mut self.pending).into_iter().partition(|p| action.undoes(p.action));
        self.pending = kept;
        let gone: Vec<Pending> = gone;
        for earlier in gone {
            let why = Some(format!("{} was asked for before it had its effect", action.word()));
            out.push(Effect::Finish(earlier.id, CommandState::Superseded, why));
        }
        // The same was asked for and is on its way: telling the recorder twice would undo it where a key toggles.
        let sent = self.pending.iter().any(|p| p.action == action);
        let until = now + self.rules.confirm_within;
        self.pending.push(Pending { id: id.clone(), action, until, takes: self.takes });
        if !sent {
            out.push(Effect::Send(id, action));
        }
    }

    fn end(&mut self, id: &str, state: CommandState, why: Option<String>, out: &mut Vec<Effect>) {
        let Some(action) = self.pending.iter().find(|p| p.id == id).map(|p| p.action) else { return };
        // Who asked for the same meanwhile was not sent, and ends with it.
        self.pending.retain(|p| {
            let ends = p.action == action;
            if ends {
                out.push(Effect::Finish(p.id.clone(), state, why.clone()));
            }
            !ends
        });
    }

    fn seen(&mut self, seen: Seen, now: Duration, wall: Wall, out: &mut Vec<Effect>) {
        let status = seen.status.unwrap_or(RecorderState::Offline);
        let (was, is) = (self.status.is_recording(), status.is_recording());
        if status == RecorderState::Offline {
            self.up_since = None;
            self.levels.clear();
        } else {
            self.up_since.get_or_insert(now);
            self.auto = seen.auto.or(match status {
                RecorderState::Armed => Some(true),
                RecorderState::Idle | RecorderState::Stopped => Some(false),
                _ => self.auto,
            });
        }
        let said = seen.stop.clone().filter(|stop| self.said.as_ref() != Some(stop));
        match (was, is) {
            (false, true) => self.begins(&seen, now, out),
            (true, true) if self.is_another(&seen) => self.splits(&seen, now, wall, out),
            (true, false) => self.ends(status, &seen, now, wall, out),
            _ => {}
        }
        if !is && status != RecorderState::Offline {
            self.lost = None;
            if let Some((_, at)) = self.restored.take() {
                self.last_stop = Some(LastStop { reason: "interrupted by restart".into(), at });
            }
        }
        if let Some(stop) = said {
            self.last_stop = Some(LastStop { reason: stop.reason.clone(), at: stop.at.unwrap_or(wall) });
            self.said = Some(stop);
        }
        self.status = status;
        self.elapsed_s = seen.elapsed_s.filter(|_| is);
        self.recording = if is { seen.recording.clone().or(self.recording.take()) } else { None };
        self.hear(&seen, now);
        self.confirm(seen.posted, out);
    }

    /// Something is being recorded that was not.
    fn begins(&mut self, seen: &Seen, now: Duration, out: &mut Vec<Effect>) {
        let same = |name: &Option<String>| match (name, &seen.recording) {
            (Some(a), Some(b)) => a == b,
            (None, None) => true,
            _ => false,
        };
        if let Some(lost) = self.lost.take()
            && same(&lost.recording)
            && (lost.recording.is_some() || now.saturating_sub(lost.at) <= SAME)
        {
            // It went on, only nobody heard it.
            self.began = lost.began;
            self.splits = lost.splits;
            self.last_stop = lost.last_stop;
            return;
        }
        self.takes += 1;
        self.splits = 0;
        self.peak_hold_db = None;
        self.clipped = false;
        let from_elapsed = |s: f64| now.saturating_sub(Duration::try_from_secs_f64(s).unwrap_or_default());
        match self.restored.take() {
            // It went on while telltale was away; when it began is not known.
            Some((name, _)) if same(&name) => self.began = seen.elapsed_s.map(from_elapsed),
            other => {
                if let Some((_, at)) = other {
                    self.last_stop = Some(LastStop { reason: "interrupted by restart".into(), at });
                }
                self.began = Some(seen.elapsed_s.map_or(now, from_elapsed));
                out.push(Effect::Say(format!("recording{} began", name_of(&seen.recording))));
            }
        }
    }

    /// Whether what is recorded now is another recording: by its name, or because its time goes back.
    fn is_another(&self, seen: &Seen) -> bool {
        match (&self.recording, &seen.recording) {
            (Some(before), Some(now)) => before != now,
            _ => self.elapsed_s.zip(seen.elapsed_s).is_some_and(|(before, now)| now + 1.0 < before),
        }
    }

    fn splits(&mut self, seen: &Seen, now: Duration, wall: Wall, out: &mut Vec<Effect>) {
        let lasted = self.lasted(now);
        let asked = self.pending.iter().any(|p| p.action == Action::Split);
        let reason = match (asked, self.rules.split_after) {
            (true, _) => "manual split".into(),
            (_, Some(after)) if lasted.is_some_and(|l| l + 5.0 >= after.as_secs_f64()) => {
                format!("split after {} s", after.as_secs())
            }
            _ => "split".into(),
        };
        let reason = seen.stop.as_ref().map_or(reason, |stop| stop.reason.clone());
        out.push(Effect::Say(format!(
            "recording{} ended{}: {reason}",
            name_of(&self.recording),
            after(lasted)
        )));
        self.last_stop = Some(LastStop { reason, at: wall });
        self.takes += 1;
        self.splits += 1;
        self.recording = None;
        let elapsed = seen.elapsed_s.and_then(|s| Duration::try_from_secs_f64(s).ok()).unwrap_or_default();
        self.began = Some(now.saturating_sub(elapsed));
    }

    fn ends(&mut self, status: RecorderState, seen: &Seen, now: Duration, wall: Wall, out: &mut Vec<Effect>) {
        let lasted = self.lasted(now);
        let asked = self.pending.iter().any(|p| p.action == Action::Stop);
        let derived = match (status, seen.why_lost) {
            (RecorderState::Offline, Some(QualityReason::Stale)) => "status stale",
            (RecorderState::Offline, _) => "source lost",
            _ if asked => "manual stop",
            (RecorderState::Fault, _) => "fault",
            _ if self.status == RecorderState::Hold || self.quiet => "silence",
            _ => "stopped by the recorder",
        };
        if status == RecorderState::Offline {
            self.lost = Some(Lost {
                recording: self.recording.clone(),
                began: self.began,
                at: now,
                splits: self.splits,
                last_stop: self.last_stop.clone(),
            });
        }
        let said = seen.stop.as_ref().filter(|_| status != RecorderState::Offline);
        let reason = said.map_or_else(|| derived.to_string(), |stop| stop.reason.clone());
        out.push(Effect::Say(format!(
            "recording{} ended{}: {reason}",
            name_of(&self.recording),
            after(lasted)
        )));
        self.last_stop = Some(LastStop { reason, at: said.and_then(|stop| stop.at).unwrap_or(wall) });
        self.began = None;
    }

    fn lasted(&self, now: Duration) -> Option<f64> {
        self.elapsed_s.or_else(|| self.began.map(|began| now.saturating_sub(began).as_secs_f64()))
    }

    fn hear(&mut self, seen: &Seen, now: Duration) {
        self.clipped |= seen.clipped;
        if let Some(peak) = seen.peak_db.into_iter().chain(seen.level_db).reduce(f64::max) {
            self.peak_hold_db = Some(self.peak_hold_db.map_or(peak, |held| held.max(peak)));
        }
        if let Some((level, threshold)) = seen.level_db.zip(seen.threshold_db) {
            self.quiet = level < threshold;
        }
        let Some(level) = seen.level_db else { return };
        if self.levels.back().is_none_or(|(at, _)| now.saturating_sub(*at) >= TREND_STEP) {
            self.levels.push_back((now, level));
        }
        while self.levels.front().is_some_and(|(at, _)| now.saturating_sub(*at) > TREND) {
            self.levels.pop_front();
        }
    }

    /// The slope of the least squares through the levels of the last minute, in dB a minute.
    fn trend(&self) -> Option<f64> {
        let (first, last) = (self.levels.front()?.0, self.levels.back()?.0);
        if last.saturating_sub(first) < TREND / 6 {
            return None;
        }
        let n = self.levels.len() as f64;
        let points =
            || self.levels.iter().map(|(at, db)| (at.saturating_sub(first).as_secs_f64() / 60.0, *db));
        let (t, d) = points().fold((0.0, 0.0), |(t, d), p| (t + p.0 / n, d + p.1 / n));
        let (top, bottom) =
            points().fold((0.0, 0.0), |(a, b), p| (a + (p.0 - t) * (p.1 - d), b + (p.0 - t).powi(2)));
        (bottom > 0.0).then(|| (top / bottom * 10.0).round() / 10.0).filter(|slope| slope.is_finite())
    }

    /// Ends the commands whose effect is to be seen.
    fn confirm(&mut self, posted: bool, out: &mut Vec<Effect>) {
        if self.rules.confirm == ConfirmBy::Http && !posted && self.status != RecorderState::Offline {
            return;
        }
        let (recording, takes, auto) = (self.status.is_recording(), self.takes, self.auto);
        let offline = self.status == RecorderState::Offline;
        self.pending.retain(|p| {
            if offline {
                let why = Some("the recorder is not heard any more".into());
                out.push(Effect::Finish(p.id.clone(), CommandState::Failed, why));
                return false;
            }
            let done = match p.action {
                Action::Start => recording,
                Action::Stop => !recording,
                Action::Split => recording && takes > p.takes,
                Action::Auto(on) => auto == Some(on),
            };
            if done {
                out.push(Effect::Finish(p.id.clone(), CommandState::Completed, None));
            }
            !done
        });
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let word = self.status.word();
        let within = self.rules.confirm_within;
        self.pending.retain(|p| {
            let late = now >= p.until;
            if late {
                let why = format!("no effect was seen within {within:?}; the recorder says {word}");
                out.push(Effect::Finish(p.id.clone(), CommandState::TimedOut, Some(why)));
            }
            !late
        });
    }
}

fn name_of(recording: &Option<String>) -> String {
    recording.as_ref().map(|name| format!(" {name}")).unwrap_or_default()
}

fn after(lasted: Option<f64>) -> String {
    lasted.map(|s| format!(" after {s:.0} s")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
