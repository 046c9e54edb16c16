//! The field recorder: armed, it starts by level, motion or hand and stops after silence.

use super::super::random::Random;
use super::jobs::Jobs;
use super::link::Link;
use super::out::Out;
use super::takes::{self, Takes};
use super::{Actions, Device, Moment, STEP_S, STEPS_PER_S, World, round};
use crate::bus::Command;
use crate::clock::Wall;
use crate::model::{CommandState, LastStop, RecorderState, RecorderStatus, SourceState};
use serde_json::{Value, json};
use std::f64::consts::TAU;

/// The recorder's id.
const ID: &str = "rec1";
/// Silence before the display says `hold`, and before the recording ends.
const HOLD_S: f64 = 1.0;
const RELEASE_S: f64 = 4.0;
/// A recording is split after this; a real recorder takes 15 min, which nobody would wait for at a bench.
const SPLIT_S: f64 = 90.0;
/// After a stop by hand the level does not start it again for this long.
const MUTED_S: f64 = 6.0;
/// The recorder takes this many steps to obey.
const LATENCY: u64 = 3;
/// Commands it holds at one time.
const COMMANDS: usize = 4;
/// A command whose effect did not show by then has timed out for everybody else as well.
const FORGET_S: f64 = 15.0;

/// A recording being made.
#[derive(Clone, Debug)]
struct Take {
    id: String,
    began: Moment,
    triggers: Vec<&'static str>,
    manual: bool,
    peak_db: f64,
    silent_s: f64,
    markers: Vec<Value>,
}

/// A command on its way to an effect.
struct Waiting {
    id: String,
    action: &'static str,
    due: u64,
    /// What was being recorded when it was obeyed.
    obeyed: Option<Option<String>>,
}

/// See the module above.
pub(super) struct Recorder {
    random: Random,
    level_db: f64,
    threshold_db: f64,
    peak_db: f64,
    /// Sound lasts until here; the next begins there. Seconds.
    sound: (f64, f64),
    /// The same for motion.
    motion: (f64, f64),
    loud_steps: u32,
    muted_until: f64,
    take: Option<Take>,
    last_stop: Option<LastStop>,
    free_s: f64,
    /// What the daemon was told last.
    seen: Option<RecorderStatus>,
    waiting: Vec<Waiting>,
    jobs: Jobs,
    takes: Takes,
}

impl Recorder {
    /// Armed; its sound goes to `takes`.
    pub fn new(seed: u64, takes: Takes) -> Self {
        Recorder {
            random: Random::of(seed, ID),
            level_db: -55.0,
            threshold_db: -40.0,
            peak_db: -55.0,
            sound: (0.0, 3.0),
            motion: (0.0, 40.0),
            loud_steps: 0,
            muted_until: 0.0,
            take: None,
            last_stop: None,
            free_s: 36.0 * 3600.0,
            seen: None,
            waiting: Vec::new(),
            jobs: Jobs::new(seed),
            takes,
        }
    }

    fn hear(&mut self, at: Moment) {
        let t = at.t();
        if t >= self.sound.1 {
            let lasts = self.random.between(5.0, 14.0);
            self.sound = (t + lasts, t + lasts + self.random.between(8.0, 22.0));
        }
        if t >= self.motion.1 {
            let lasts = self.random.between(2.0, 5.0);
            self.motion = (t + lasts, t + lasts + self.random.between(50.0, 90.0));
        }
        let floor = -54.0 + 2.0 * (t * TAU / 97.0).sin();
        let loudness = if t < self.sound.0 { 28.0 + 5.0 * (t * TAU / 3.1).sin() } else { 0.0 };
        let aim = floor + loudness + 1.5 * self.random.gauss();
        self.level_db += (aim - self.level_db) * 0.7;
        self.level_db = self.level_db.clamp(-96.0, 0.0);
        self.peak_db = self.level_db.max(self.peak_db - 8.0 * STEP_S);
        self.threshold_db = floor + 14.0;
        self.loud_steps = if self.level_db > self.threshold_db { self.loud_steps + 1 } else { 0 };
    }

    fn triggers(&self, at: Moment) -> Vec<&'static str> {
        let mut now = Vec::new();
        if self.loud_steps >= 2 && at.t() >= self.muted_until {
            now.push("level");
        }
        if at.t() < self.motion.0 && at.t() >= self.muted_until {
            now.push("motion");
        }
        now
    }

    fn record(&mut self, at: Moment, out: &mut Out) {
        let now = self.triggers(at);
        let level_db = self.level_db;
        let Some(take) = &mut self.take else {
            if !now.is_empty() {
                self.begin(at, now, false);
            }
            return;
        };
        self.free_s -= STEP_S;
        take.peak_db = take.peak_db.max(level_db);
        take.silent_s = if now.is_empty() && !take.manual { take.silent_s + STEP_S } else { 0.0 };
        self.takes.level(level_db);
        take.mark(at, &now);
        for trigger in now {
            if !take.triggers.contains(&trigger) {
                take.triggers.push(trigger);
            }
        }
        let (silent, lasted, manual) = (take.silent_s, at.t() - take.began.t(), take.manual);
        if silent >= RELEASE_S {
            self.end(at, &format!("no sound for {RELEASE_S} s"), out);
        } else if lasted >= SPLIT_S {
            self.end(at, &format!("split after {SPLIT_S} s"), out);
            self.begin(at, vec!["split"], manual);
        }
    }

    fn begin(&mut self, at: Moment, triggers: Vec<&'static str>, manual: bool) {
        let id = takes::name(ID, at.wall, at.step);
        self.takes.begin(&id);
        self.takes.level(self.level_db);
        let peak_db = self.level_db;
        let mut take =
            Take { id, began: at, triggers: Vec::new(), manual, peak_db, silent_s: 0.0, markers: Vec::new() };
        take.mark(at, &triggers);
        take.triggers = triggers;
        self.take = Some(take);
    }

    fn end(&mut self, at: Moment, reason: &str, out: &mut Out) {
        let Some(take) = self.take.take() else { return };
        let duration_s = at.t() - take.began.t();
        self.last_stop = Some(LastStop { reason: reason.into(), at: at.wall });
        // The archive takes away what is old before the card is full.
        if self.free_s < 30.0 * 3600.0 {
            self.free_s = 36.0 * 3600.0;
        }
        let mut markers = take.markers;
        if take.silent_s > 0.0 {
            let at_s = round((duration_s - take.silent_s).max(0.0), 2);
            markers.push(json!({ "at_s": at_s, "kind": "release" }));
        }
        self.takes.end(json!({
            "recorder_id": ID, "started_at": take.began.wall, "triggers": take.triggers, "markers": markers, "end_reason": reason,
            "peak_db": round(take.peak_db, 1),
        }));
        // The encoder works on the box itself, whether the page hears of it or not.
        self.jobs.encode(at, &take.id, duration_s, out);
    }

    fn obey(&mut self, at: Moment, out: &mut Out) {
        for n in 0..self.waiting.len() {
            if self.waiting[n].obeyed.is_some() || self.waiting[n].due > at.step {
                continue;
            }
            self.waiting[n].obeyed = Some(self.take.as_ref().map(|take| take.id.clone()));
            match (self.waiting[n].action, &mut self.take) {
                ("start", Some(take)) => {
                    take.manual = true;
                    take.triggers.push("manual");
                }
                ("start", None) => self.begin(at, vec!["manual"], true),
                ("stop", _) => {
                    self.end(at, "stopped by hand", out);
                    self.muted_until = at.t() + MUTED_S;
                }
                (_, Some(take)) => {
                    let manual = take.manual;
                    self.end(at, "split by hand", out);
                    self.begin(at, vec!["split"], manual);
                }
                (_, None) => {}
            }
        }
    }

    /// Ends commands whose effect is in `seen`.
    fn confirm(&mut self, at: Moment, out: &mut Out) {
        let Some(seen) = &self.seen else { return };
        let word = seen.status.word();
        self.waiting.retain(|waiting| {
            let Some(before) = &waiting.obeyed else { return true };
            let done = match waiting.action {
                "start" => seen.triggers.iter().any(|t| t == "manual"),
                "stop" => before.is_none() || seen.recording != *before,
                _ => seen.recording.is_some() && seen.recording != *before,
            };
            if done {
                out.completed(&waiting.id, word);
            } else if before.is_none() && waiting.action == "split" {
                out.finish(
                    &waiting.id,
                    CommandState::Failed,
                    Some(word),
                    Some("the recording had ended by itself".into()),
                );
                return false;
            }
            !done && at.t() < (waiting.due as f64 * STEP_S) + FORGET_S
        });
    }

    fn status(&self, at: Moment) -> RecorderStatus {
        let take = self.take.as_ref();
        let elapsed_s = take.map(|take| at.t() - take.began.t());
        let state = match take {
            None => RecorderState::Armed,
            Some(take) if take.silent_s > HOLD_S => RecorderState::Hold,
            Some(_) => RecorderState::Recording,
        };
        RecorderStatus {
            mode: Some(if take.is_some_and(|take| take.manual) { "manual" } else { "auto" }.into()),
            recording: take.map(|take| take.id.clone()),
            elapsed_s: elapsed_s.map(|s| round(s, 1)),
            level_db: Some(round(self.level_db, 1)),
            threshold_db: Some(round(self.threshold_db, 1)),
            peak_db: Some(round(self.peak_db, 1)),
            clipped: Some(self.level_db > -1.0),
            bytes: elapsed_s.map(|s| (s * takes::BYTES_PER_S) as u64),
            triggers: take
                .map(|take| take.triggers.iter().map(|t| (*t).to_string()).collect())
                .unwrap_or_default(),
            last_stop: self.last_stop.clone(),
            free_s: Some(round(self.free_s, 0)),
            ..RecorderStatus::new(ID, "Field recorder", state, at.wall)
        }
    }

    /// What is left to say when nothing comes: that it is offline or talks nonsense, and no number.
    fn lost(&self, at: Wall, status: RecorderState) -> RecorderStatus {
        RecorderStatus {
            last_stop: self.seen.as_ref().and_then(|seen| seen.last_stop.clone()),
            ..RecorderStatus::new(ID, "Field recorder", status, at)
        }
    }
}

impl Take {
    /// Notes where something began that made it go on; motion is a span.
    fn mark(&mut self, at: Moment, now: &[&'static str]) {
        let t = round(at.t() - self.began.t(), 2);
        for trigger in now {
            let last = self.markers.last_mut();
            if *trigger == "motion" {
                let open = last
                    .filter(|m| m["kind"] == "motion" && m["until_s"].as_f64().is_some_and(|u| t - u <= 1.0));
                match open {
                    Some(marker) => marker["until_s"] = t.into(),
                    None => self
                        .markers
                        .push(json!({ "at_s": t, "until_s": t, "kind": "motion", "label": "gate" })),
                }
            } else if !self.triggers.contains(trigger) {
                self.markers.push(json!({ "at_s": t, "kind": "trigger", "label": trigger }));
            }
        }
    }
}

impl Device for Recorder {
    fn source(&self) -> &'static str {
        ID
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn owned(&self) -> Vec<(String, Actions)> {
        vec![(format!("recorder/{ID}"), &["start", "stop", "split"])]
    }

    fn step(&mut self, at: Moment, link: &mut Link, _: &mut World, out: &mut Out) {
        self.hear(at);
        self.record(at, out);
        self.obey(at, out);
        self.jobs.step(at, out);
        if at.every(2) && link.receive(at) {
            let status = self.status(at);
            out.fresh(at, "recorder_status", ID, &status);
            self.seen = Some(status);
            self.confirm(at, out);
            return;
        }
        if !at.every(STEPS_PER_S) {
            return;
        }
        let status = match link.state(at) {
            SourceState::Stale | SourceState::Absent => RecorderState::Offline,
            SourceState::Error => RecorderState::Fault,
            _ => return,
        };
        out.state(at, "recorder_status", ID, &self.lost(link.last_seen().unwrap_or(at.wall), status));
    }

    fn command(&mut self, command: &Command, at: Moment, link: &Link, _: &World, out: &mut Out) {
        if matches!(link.state(at), SourceState::Absent) {
            return out.rejected(&command.id, "the recorder is not connected");
        }
        let recording = self.seen.as_ref().is_some_and(|seen| seen.recording.is_some());
        let action = match command.action.as_str() {
            "start" if self.take.as_ref().is_some_and(|take| take.manual) => {
                return out.completed(&command.id, "recording");
            }
            "start" => "start",
            "stop" | "split" if !recording => return out.rejected(&command.id, "nothing is being recorded"),
            "stop" => "stop",
            _ => "split",
        };
        if self.waiting.len() == COMMANDS {
            return out.rejected(&command.id, "the recorder is still busy with earlier commands");
        }
        self.waiting.push(Waiting { id: command.id.clone(), action, due: at.step + LATENCY, obeyed: None });
    }
}
