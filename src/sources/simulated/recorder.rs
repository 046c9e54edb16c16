//! The field recorder: armed, it starts by level, motion or hand and stops after silence.
//!
//! It says its status in a line of JSON four times a second and hears `START`, `STOP`, `SPLIT`, `AUTO 1` and `AUTO 0`.

use super::jobs::Jobs;
use super::out::Out;
use super::takes::{self, Takes};
use super::{At, Moment, STALE, STEP_S, Wired, World, round};
use crate::config::{self, Effect, LineConfig, LineFormat, ProtocolConfig, SerialPort, Sink};
use crate::model::RecorderState;
use crate::random::Random;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::time::Duration;

/// The recorder's id.
const ID: &str = "rec1";
/// The name people see.
const NAME: &str = "Field recorder";
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
    action: &'static str,
    due: u64,
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
    last_stop: Option<String>,
    free_s: f64,
    /// It starts by itself.
    auto: bool,
    waiting: VecDeque<Waiting>,
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
            auto: true,
            waiting: VecDeque::new(),
            jobs: Jobs::new(seed),
            takes,
        }
    }

    fn listen(&mut self, at: Moment) {
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
        // What was begun goes on by what goes on.
        if !self.auto && self.take.is_none() {
            return now;
        }
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
        self.last_stop = Some(reason.into());
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
        while self.waiting.front().is_some_and(|waiting| waiting.due <= at.step) {
            let Some(waiting) = self.waiting.pop_front() else { return };
            match (waiting.action, &mut self.take) {
                ("AUTO 1", _) => self.auto = true,
                ("AUTO 0", _) => self.auto = false,
                ("START", Some(take)) => {
                    take.manual = true;
                    take.triggers.push("manual");
                }
                ("START", None) => self.begin(at, vec!["manual"], true),
                ("STOP", _) => {
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

    /// Its status line. What there is nothing to say of is null, so that nothing older is taken for it.
    fn status(&self, at: Moment) -> String {
        let take = self.take.as_ref();
        let elapsed_s = take.map(|take| at.t() - take.began.t());
        let state = match take {
            None if self.auto => RecorderState::Armed,
            None => RecorderState::Idle,
            Some(take) if take.silent_s > HOLD_S => RecorderState::Hold,
            Some(_) => RecorderState::Recording,
        };
        let mut line = json!({
            "status": state.word(),
            "mode": if take.is_some_and(|take| take.manual) { "manual" } else { "auto" },
            "auto": self.auto,
            "recording": take.map(|take| take.id.clone()),
            "elapsed_s": elapsed_s.map(|s| round(s, 1)),
            "level_db": round(self.level_db, 1),
            "threshold_db": round(self.threshold_db, 1),
            "peak_db": round(self.peak_db, 1),
            "clipped": self.level_db > -1.0,
            "bytes": elapsed_s.map(|s| (s * takes::BYTES_PER_S) as u64),
            "triggers": take.map(|take| take.triggers.join(",")),
            "free_s": round(self.free_s, 0),
        });
        if let Some(reason) = &self.last_stop {
            line["last_stop"] = reason.as_str().into();
        }
        line.to_string()
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

/// How it is commanded.
pub(super) fn rules() -> config::Recorder {
    let say = |line: &str| Some(Effect::Serial { port: ID.into(), send: line.into() });
    config::Recorder {
        id: ID.into(),
        name: Some(NAME.into()),
        start: say("START\n"),
        stop: say("STOP\n"),
        split: say("SPLIT\n"),
        auto_on: say("AUTO 1\n"),
        auto_off: say("AUTO 0\n"),
        split_after: Some(Duration::from_secs_f64(SPLIT_S)),
        ..config::Recorder::default()
    }
}

impl Wired for Recorder {
    fn id(&self) -> &'static str {
        ID
    }

    fn port(&self, at: At) -> SerialPort {
        let line = ProtocolConfig::Line(LineConfig::of(LineFormat::Json));
        SerialPort {
            name: Some(NAME.into()),
            stale_after: STALE,
            ..SerialPort::of(ID, at, line, Sink::Recorder(ID.into()))
        }
    }

    fn step(&mut self, at: Moment, _: &mut World, out: &mut Out) -> Vec<String> {
        self.listen(at);
        self.record(at, out);
        self.obey(at, out);
        self.jobs.step(at, out);
        at.every(2).then(|| self.status(at)).into_iter().collect()
    }

    /// It answers by what it does, which its status tells.
    fn hear(&mut self, line: &str, at: Moment, _: &mut World) -> Option<String> {
        let action = ["START", "STOP", "SPLIT", "AUTO 1", "AUTO 0"].into_iter().find(|word| *word == line)?;
        if self.waiting.len() < COMMANDS {
            self.waiting.push_back(Waiting { action, due: at.step + LATENCY });
        }
        None
    }
}
