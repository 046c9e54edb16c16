//! The life of a port: a pure machine of states, inputs and effects. Time and chance are passed in.
//!
//! ```text
//! absent --try--> opening --opened--> no_data --good--> ok <--good-- stale --3 times as long--> opened anew, once
//!   ^  ^             |                   |  \            |             ^
//!   |  +---failed----+  (error, when     |   +--bad x3--> error        |
//!   |                    it is there)    |                |            |
//!   +------------------------hung up-----+----------------+--- silence-+
//! ```
//!
//! **An outage is one alert.** It is raised when a source that has worked is silent for too long, is not understood for
//! as long, is unplugged or can't be opened, and cleared by the first thing that is understood. A device that has not
//! been there since the start is no outage: it may be plugged in later.

use crate::model::{QualityReason, SourceState};
use std::time::Duration;

/// The first wait before opening again.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub const BACK_OFF_MOST: Duration = Duration::from_secs(60);
/// Lines in a row that are not understood before the source counts as at fault.
pub const BAD_IN_A_ROW: u32 = 3;
/// What is not understood is said once, and then counted for this long before it is said again.
pub const SAY_AGAIN: Duration = Duration::from_secs(60);
/// A source that is silent for so many times its limit is opened anew, once: USB adapters stall without an error.
pub const STALLED: u32 = 3;

/// What happens to a port.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// It is time to open it.
    Try,
    /// It is open.
    Opened,
    /// It could not be opened: `absent` when there is no such device now.
    Failed {
        /// No such device, rather than one that refuses.
        absent: bool,
        /// One sentence.
        why: String,
        /// 0 to 1: spreads the next try.
        chance: f64,
    },
    /// The device appeared or was replaced: no use in waiting.
    Appeared,
    /// It is gone or fails.
    HungUp {
        /// A few words.
        why: String,
        /// See `Failed`.
        chance: f64,
    },
    /// Something was understood.
    Good,
    /// Something was not, and why.
    Bad(String),
    /// Bytes came that say nothing yet.
    Noise,
    /// What speaks on the port says that its device does not.
    Doubt(QualityReason),
    /// Nothing happened.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open the device now.
    Open,
    /// Close it at once: an open descriptor keeps the old device number in use.
    Close,
    /// Send the greeting.
    Greet,
    /// The readings are no longer to be trusted.
    Lost(QualityReason),
    /// Say it once.
    Info(String),
    /// Say it once, as a warning.
    Warn(String),
    /// An outage begins, and how.
    Raise(String),
    /// It is over, and how.
    Clear(String),
}

/// See the module above.
#[derive(Debug)]
pub struct Life {
    stale_after: Duration,
    state: SourceState,
    open: bool,
    back_off: Duration,
    next_try: Duration,
    /// When it was last understood, or opened.
    heard: Duration,
    /// When something last came that was not understood, since the last that was.
    noise: Option<Duration>,
    bad_in_a_row: u32,
    /// Not understood since that was last said, and why the last one was not.
    unsaid: u64,
    last_bad: String,
    said: Option<Duration>,
    /// A warning was said that nothing good has answered yet.
    warned: bool,
    doubt: Option<QualityReason>,
    ever_open: bool,
    ever_good: bool,
    alerted: bool,
    /// It is there and refuses, since.
    refused: Option<Duration>,
    /// It was opened anew in this silence.
    reopened: bool,
    /// Failures to open, hang-ups and bad lines.
    pub errors: u64,
    /// Openings after the first.
    pub reconnects: u64,
    /// How often it was opened anew because it was silent.
    pub stalls: u64,
    /// The last of the errors, until all is well again.
    pub last_error: Option<String>,
}

impl Life {
    /// A port that is to be opened at `now`.
    pub fn new(stale_after: Duration, now: Duration) -> Self {
        Life {
            stale_after,
            state: SourceState::Absent,
            open: false,
            back_off: BACK_OFF_FIRST,
            next_try: now,
            heard: now,
            noise: None,
            bad_in_a_row: 0,
            unsaid: 0,
            last_bad: String::new(),
            said: None,
            warned: false,
            doubt: None,
            ever_open: false,
            ever_good: false,
            alerted: false,
            refused: None,
            reopened: false,
            errors: 0,
            reconnects: 0,
            stalls: 0,
            last_error: None,
        }
    }

    /// How it stands.
    pub fn state(&self) -> SourceState {
        self.state
    }

    /// Whether the device is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether an outage has been raised and not cleared.
    pub fn is_alerted(&self) -> bool {
        self.alerted
    }

    /// When a closed port is tried next; `Duration::MAX` while it is open.
    pub fn next_try(&self) -> Duration {
        self.next_try
    }

    /// One step.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        match input {
            Input::Try if !self.open && now >= self.next_try => {
                if self.state == SourceState::Absent && self.last_error.is_none() {
                    self.state = SourceState::Opening;
                }
                vec![Effect::Open]
            }
            Input::Opened if !self.open => self.opened(now),
            Input::Failed { absent, why, chance } if !self.open => self.failed(absent, why, chance, now),
            Input::Appeared if !self.open => {
                self.next_try = now;
                self.back_off = BACK_OFF_FIRST;
                Vec::new()
            }
            Input::HungUp { why, chance } if self.open => self.hung_up(why, chance, now),
            Input::Good if self.open => self.good(now),
            Input::Bad(why) if self.open => self.bad(why, now),
            Input::Noise if self.open => {
                self.noise = Some(now);
                Vec::new()
            }
            Input::Doubt(why) if self.open => self.doubted(why),
            Input::Tick => self.tick(now),
            _ => Vec::new(),
        }
    }

    fn opened(&mut self, now: Duration) -> Vec<Effect> {
        self.reconnects += u64::from(self.ever_open);
        self.ever_open = true;
        self.open = true;
        // Opened anew in a silence: it is the same silence.
        self.state = if self.reopened { SourceState::Stale } else { SourceState::NoData };
        self.next_try = Duration::MAX;
        self.heard = now;
        self.noise = None;
        self.bad_in_a_row = 0;
        self.doubt = None;
        self.refused = None;
        if !self.reopened {
            self.last_error = None;
        }
        vec![Effect::Info("is open".into()), Effect::Greet]
    }

    fn failed(&mut self, absent: bool, why: String, chance: f64, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        self.state = if absent { SourceState::Absent } else { SourceState::Error };
        self.refused = if absent { None } else { self.refused.or(Some(now)) };
        self.wait(chance, now);
        let mut effects = Vec::new();
        if self.last_error.as_ref() != Some(&why) {
            self.last_error = Some(why.clone());
            self.warned = true;
            effects.push(Effect::Warn(format!("{why}; trying again")));
        }
        if self.refused.is_some_and(|since| now.saturating_sub(since) >= self.stale_after) {
            effects.extend(self.raise(why));
        }
        effects
    }

    fn hung_up(&mut self, why: String, chance: f64, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        // The back-off starts over with the first good line: a port that falls over at once backs off.
        self.state = SourceState::Absent;
        self.open = false;
        self.reopened = false;
        self.wait(chance, now);
        self.last_error = Some(why.clone());
        self.warned = true;
        let mut effects = vec![
            Effect::Close,
            Effect::Lost(QualityReason::NotConnected),
            Effect::Warn(format!("closed: {why}; trying again")),
        ];
        if self.ever_good {
            effects.extend(self.raise(format!("is unplugged: {why}")));
        }
        effects
    }

    fn good(&mut self, now: Duration) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.state, SourceState::Ok);
        self.heard = now;
        self.noise = None;
        self.bad_in_a_row = 0;
        self.doubt = None;
        self.reopened = false;
        self.back_off = BACK_OFF_FIRST;
        self.last_error = None;
        let mut effects = Vec::new();
        if before != SourceState::Ok && (self.warned || !self.ever_good) {
            self.warned = false;
            effects.push(Effect::Info("is heard".into()));
        }
        // The first time for an alert from before a restart, too.
        if self.alerted || !self.ever_good {
            self.alerted = false;
            effects.push(Effect::Clear("is heard again".into()));
        }
        self.ever_good = true;
        effects
    }

    fn bad(&mut self, why: String, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        self.noise = Some(now);
        self.bad_in_a_row += 1;
        self.last_error = Some(format!("a line is not understood: it {why}"));
        let worse = self.bad_in_a_row >= BAD_IN_A_ROW && self.state != SourceState::Error;
        let mut effects = Vec::new();
        if worse {
            self.state = SourceState::Error;
            effects.push(Effect::Lost(QualityReason::CommError));
        }
        if self.said.is_none_or(|said| now.saturating_sub(said) >= SAY_AGAIN) {
            self.say_bad(&why, now, &mut effects);
        } else {
            self.unsaid += 1;
        }
        self.last_bad = why;
        effects
    }

    fn say_bad(&mut self, why: &str, now: Duration, effects: &mut Vec<Effect>) {
        let others = std::mem::take(&mut self.unsaid);
        let text = if others == 0 {
            format!("a line is not understood: it {why}")
        } else {
            format!("{} more lines are not understood; the last one {why}", others)
        };
        self.said = Some(now);
        self.warned = true;
        effects.push(Effect::Warn(text));
    }

    fn doubted(&mut self, why: QualityReason) -> Vec<Effect> {
        if self.doubt == Some(why) {
            return Vec::new();
        }
        self.doubt = Some(why);
        let mut effects = vec![Effect::Lost(why)];
        if self.ever_good {
            self.state = match why {
                QualityReason::Stale | QualityReason::NotConnected => SourceState::Stale,
                _ => SourceState::Error,
            };
            self.last_error = Some("the device does not answer".into());
            self.warned = true;
            effects.push(Effect::Warn("the device does not answer".into()));
            effects.extend(self.raise("does not answer".into()));
        }
        effects
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.unsaid > 0 && self.said.is_some_and(|said| now.saturating_sub(said) >= SAY_AGAIN) {
            let why = self.last_bad.clone();
            self.say_bad(&why, now, &mut effects);
        }
        let silence = now.saturating_sub(self.heard);
        if !self.open || silence < self.stale_after {
            return effects;
        }
        let limit = self.stale_after;
        let noisy = self.noise.is_some_and(|noise| now.saturating_sub(noise) < limit);
        match self.state {
            SourceState::Ok => {
                self.state = if noisy { SourceState::Error } else { SourceState::Stale };
                effects.push(Effect::Lost(if noisy {
                    QualityReason::CommError
                } else {
                    QualityReason::Stale
                }));
            }
            SourceState::Error if !noisy => self.state = SourceState::Stale,
            SourceState::NoData | SourceState::Stale if noisy => self.state = SourceState::Error,
            SourceState::NoData if self.ever_good => self.state = SourceState::Stale,
            _ => {}
        }
        let text = match self.state {
            SourceState::Error => {
                let text =
                    format!("speaks, but nothing of it is understood for {limit:?}; is the speed right?");
                self.last_error.get_or_insert_with(|| text.clone());
                text
            }
            SourceState::Stale => format!("is silent for {limit:?}"),
            _ => return effects,
        };
        if let Some(raise) = self.raise(text.clone()) {
            self.warned = true;
            effects.extend([Effect::Warn(text), raise]);
        }
        if self.state == SourceState::Stale && !self.reopened && silence >= limit * STALLED {
            self.open = false;
            self.reopened = true;
            self.stalls += 1;
            self.next_try = now;
            effects
                .extend([Effect::Close, Effect::Info("is opened anew: an adapter may have stalled".into())]);
        }
        effects
    }

    fn raise(&mut self, text: String) -> Option<Effect> {
        (!std::mem::replace(&mut self.alerted, true)).then_some(Effect::Raise(text))
    }

    /// Sets the next try: the present back-off, spread by a fifth to either side, then half as long again.
    fn wait(&mut self, chance: f64, now: Duration) {
        let spread = 0.8 + 0.4 * chance.clamp(0.0, 1.0);
        self.next_try = now + self.back_off.mul_f64(spread).min(BACK_OFF_MOST);
        self.back_off = (self.back_off * 3 / 2).min(BACK_OFF_MOST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn failed(absent: bool) -> Input {
        Input::Failed { absent, why: "no".into(), chance: 0.5 }
    }

    fn hung_up() -> Input {
        Input::HungUp { why: "gone".into(), chance: 0.5 }
    }

    fn bad() -> Input {
        Input::Bad("is nonsense".into())
    }

    fn warn(text: &str) -> Effect {
        Effect::Warn(text.into())
    }

    fn info(text: &str) -> Effect {
        Effect::Info(text.into())
    }

    fn raise(text: &str) -> Effect {
        Effect::Raise(text.into())
    }

    /// One step: when, what, what it leads to, what is done.
    type Row<'a> = (u64, Input, SourceState, &'a [Effect]);

    #[track_caller]
    fn follow(table: &[Row<'_>]) -> Life {
        let mut life = Life::new(s(5), s(0));
        for (n, (at, input, state, effects)) in table.iter().enumerate() {
            assert_eq!(life.step(input.clone(), s(*at)), *effects, "step {n}: {input:?}");
            assert_eq!(life.state(), *state, "step {n}: {input:?}");
        }
        life
    }

    #[test]
    fn a_life() {
        use SourceState::{Absent, Error, NoData, Ok, Opening, Stale};
        let lost = |why| Effect::Lost(why);
        let clear = || Effect::Clear("is heard again".into());
        let life = follow(&[
            (0, Input::Try, Opening, &[Effect::Open]),
            (0, failed(true), Absent, &[warn("no; trying again")]),
            (0, Input::Try, Absent, &[]),
            (1, Input::Try, Absent, &[Effect::Open]),
            (1, failed(true), Absent, &[]),
            (2, Input::Try, Absent, &[]),
            (2, Input::Appeared, Absent, &[]),
            (2, Input::Try, Absent, &[Effect::Open]),
            (2, failed(false), Error, &[]),
            (4, Input::Try, Error, &[Effect::Open]),
            (4, Input::Opened, NoData, &[info("is open"), Effect::Greet]),
            (50, Input::Tick, NoData, &[]),
            (50, Input::Good, Ok, &[info("is heard"), clear()]),
            (54, Input::Good, Ok, &[]),
            (58, Input::Tick, Ok, &[]),
            (
                59,
                Input::Tick,
                Stale,
                &[lost(QualityReason::Stale), warn("is silent for 5s"), raise("is silent for 5s")],
            ),
            (60, Input::Tick, Stale, &[]),
            (61, Input::Good, Ok, &[info("is heard"), clear()]),
            (61, bad(), Ok, &[warn("a line is not understood: it is nonsense")]),
            (61, bad(), Ok, &[]),
            (61, bad(), Error, &[lost(QualityReason::CommError)]),
            (61, bad(), Error, &[]),
            (70, Input::Tick, Stale, &[warn("is silent for 5s"), raise("is silent for 5s")]),
            (71, Input::Good, Ok, &[info("is heard"), clear()]),
            (
                72,
                hung_up(),
                Absent,
                &[
                    Effect::Close,
                    lost(QualityReason::NotConnected),
                    warn("closed: gone; trying again"),
                    raise("is unplugged: gone"),
                ],
            ),
            (72, Input::Good, Absent, &[]),
            (73, Input::Try, Absent, &[Effect::Open]),
            (73, Input::Opened, NoData, &[info("is open"), Effect::Greet]),
            // Plugged in and silent: the same outage.
            (78, Input::Tick, Stale, &[]),
            (79, Input::Good, Ok, &[info("is heard"), clear()]),
        ]);
        assert_eq!((life.errors, life.reconnects, life.stalls), (8, 1, 0));
    }

    /// A wrong speed: it speaks all the time, and nothing is understood.
    #[test]
    fn a_babbler_is_one_alert_and_one_line_a_minute() {
        let mut life = Life::new(s(5), s(0));
        life.step(Input::Try, s(0));
        life.step(Input::Opened, s(0));
        let mut effects = Vec::new();
        for at in 0..130 {
            effects.extend(life.step(bad(), s(at)));
            effects.extend(life.step(Input::Tick, s(at)));
        }
        assert_eq!(life.state(), SourceState::Error);
        let why = "speaks, but nothing of it is understood for 5s; is the speed right?";
        assert_eq!(
            effects,
            [
                warn("a line is not understood: it is nonsense"),
                Effect::Lost(QualityReason::CommError),
                warn(why),
                raise(why),
                warn("59 more lines are not understood; the last one is nonsense"),
                warn("59 more lines are not understood; the last one is nonsense"),
            ]
        );
        assert_eq!(life.step(Input::Good, s(130)).last(), Some(&Effect::Clear("is heard again".into())));
    }

    /// Without a single line end.
    #[test]
    fn noise_is_not_silence() {
        let mut life = Life::new(s(5), s(0));
        life.step(Input::Try, s(0));
        life.step(Input::Opened, s(0));
        for at in 0..8 {
            life.step(Input::Noise, s(at));
            life.step(Input::Tick, s(at));
        }
        assert_eq!((life.state(), life.is_alerted()), (SourceState::Error, true));
        life.step(Input::Tick, s(20));
        assert_eq!(life.state(), SourceState::Stale);
    }

    #[test]
    fn a_stalled_adapter_is_opened_anew_once() {
        use SourceState::{NoData, Ok, Opening, Stale};
        let silent = "is silent for 5s";
        let life = follow(&[
            (0, Input::Try, Opening, &[Effect::Open]),
            (0, Input::Opened, NoData, &[info("is open"), Effect::Greet]),
            (0, Input::Good, Ok, &[info("is heard"), Effect::Clear("is heard again".into())]),
            (5, Input::Tick, Stale, &[Effect::Lost(QualityReason::Stale), warn(silent), raise(silent)]),
            (14, Input::Tick, Stale, &[]),
            (15, Input::Tick, Stale, &[Effect::Close, info("is opened anew: an adapter may have stalled")]),
            (15, Input::Try, Stale, &[Effect::Open]),
            (15, Input::Opened, Stale, &[info("is open"), Effect::Greet]),
            (99, Input::Tick, Stale, &[]),
            (99, Input::Good, Ok, &[info("is heard"), Effect::Clear("is heard again".into())]),
        ]);
        assert_eq!((life.stalls, life.reconnects), (1, 1));
    }

    #[test]
    fn a_device_that_refuses_is_an_alert_after_a_while_and_one_that_is_not_there_is_none() {
        let mut life = Life::new(s(5), s(0));
        for at in 0..100 {
            assert!(!life.step(failed(true), s(at)).iter().any(|e| matches!(e, Effect::Raise(_))));
        }
        let raised: Vec<u64> = (100..130)
            .filter(|at| life.step(failed(false), s(*at)).iter().any(|e| matches!(e, Effect::Raise(_))))
            .collect();
        assert_eq!(raised, [105]);
    }

    #[test]
    fn an_instrument_that_does_not_answer_is_lost_once() {
        let mut life = Life::new(s(5), s(0));
        life.step(Input::Opened, s(0));
        let doubt = || Input::Doubt(QualityReason::Stale);
        assert_eq!(life.step(doubt(), s(1)), [Effect::Lost(QualityReason::Stale)]);
        assert_eq!((life.step(doubt(), s(2)), life.state()), (vec![], SourceState::NoData));
        life.step(Input::Good, s(3));
        assert_eq!(
            life.step(doubt(), s(4)),
            [
                Effect::Lost(QualityReason::Stale),
                warn("the device does not answer"),
                raise("does not answer")
            ]
        );
        assert_eq!((life.step(doubt(), s(5)), life.state()), (vec![], SourceState::Stale));
    }

    #[test]
    fn waits_grow_to_a_minute_and_are_spread() {
        let mut life = Life::new(s(5), s(0));
        let mut waits = Vec::new();
        let mut now = s(0);
        for _ in 0..14 {
            assert_eq!(life.step(Input::Try, now), [Effect::Open]);
            life.step(failed(true), now);
            waits.push(life.next_try() - now);
            now = life.next_try();
        }
        assert_eq!(waits[..3], [s(1), Duration::from_millis(1500), Duration::from_millis(2250)]);
        assert_eq!(waits[13], s(60));
        life.step(Input::Try, now);
        life.step(Input::Failed { absent: true, why: "no".into(), chance: 0.0 }, now);
        assert_eq!(life.next_try() - now, s(48));
    }

    proptest! {
        /// Whatever happens in whatever order: a port is opened only when it is closed, closed only when it is open,
        /// while it is closed there is a next try within 72 s, and an alert is raised and cleared in turn.
        #[test]
        fn any_order(steps in proptest::collection::vec((0usize..11, 0u64..20), 0..100)) {
            let mut life = Life::new(s(5), s(0));
            let (mut now, mut open, mut alert) = (s(0), false, false);
            for (which, later) in steps {
                now += s(later);
                let inputs = [
                    Input::Try, Input::Opened, failed(true), failed(false), Input::Appeared, hung_up(), Input::Good, bad(),
                    Input::Tick, Input::Doubt(QualityReason::Stale), Input::Noise,
                ];
                let input = inputs[which].clone();
                let opening = input == Input::Opened && !open;
                for effect in life.step(input, now) {
                    match effect {
                        Effect::Open | Effect::Greet => prop_assert!(!open),
                        Effect::Close => { prop_assert!(open); open = false; }
                        Effect::Raise(_) => { prop_assert!(!alert); alert = true; }
                        Effect::Clear(_) => alert = false,
                        _ => {}
                    }
                }
                open |= opening;
                prop_assert_eq!(life.is_open(), open);
                prop_assert_eq!(life.is_alerted(), alert);
                prop_assert!(life.state() != SourceState::Ok || !alert);
                if !open {
                    prop_assert!(life.next_try() <= now + s(72));
                }
            }
        }
    }
}
