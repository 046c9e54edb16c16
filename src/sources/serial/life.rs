//! The life of a port: a pure machine of states, inputs and effects. Time and chance are passed in.
//!
//! ```text
//! absent --try--> opening --opened--> no_data --line--> ok <--line-- stale
//!   ^  ^             |                   |  \            |             ^
//!   |  +---failed----+  (error, when     |   +--bad x3--> error        |
//!   |                    it is there)    |                |            |
//!   +------------------------hung up-----+----------------+--- silence-+
//! ```

use crate::model::{QualityReason, SourceState};
use std::time::Duration;

/// The first wait before opening again.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub const BACK_OFF_MOST: Duration = Duration::from_secs(60);
/// Lines in a row that are not understood before the source counts as at fault.
pub const BAD_IN_A_ROW: u32 = 3;

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
    /// A line that was understood.
    Good,
    /// A line that was not, and why.
    Bad(String),
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
}

/// See the module above.
#[derive(Debug)]
pub struct Life {
    stale_after: Duration,
    state: SourceState,
    back_off: Duration,
    next_try: Duration,
    heard: Duration,
    bad_in_a_row: u32,
    ever_open: bool,
    /// Failures to open, hang-ups and bad lines.
    pub errors: u64,
    /// Openings after the first.
    pub reconnects: u64,
    /// The last of them, until all is well again.
    pub last_error: Option<String>,
}

impl Life {
    /// A port that is to be opened at `now`.
    pub fn new(stale_after: Duration, now: Duration) -> Self {
        Life {
            stale_after,
            state: SourceState::Absent,
            back_off: BACK_OFF_FIRST,
            next_try: now,
            heard: now,
            bad_in_a_row: 0,
            ever_open: false,
            errors: 0,
            reconnects: 0,
            last_error: None,
        }
    }

    /// How it stands.
    pub fn state(&self) -> SourceState {
        self.state
    }

    /// Whether the device is open.
    pub fn is_open(&self) -> bool {
        matches!(self.state, SourceState::NoData | SourceState::Ok | SourceState::Stale)
            || (self.state == SourceState::Error && self.next_try == Duration::MAX)
    }

    /// When a closed port is tried next; `Duration::MAX` while it is open.
    pub fn next_try(&self) -> Duration {
        self.next_try
    }

    /// One step.
    pub fn step(&mut self, input: Input, now: Duration) -> Vec<Effect> {
        match input {
            Input::Try if !self.is_open() && now >= self.next_try => {
                if self.state == SourceState::Absent && self.last_error.is_none() {
                    self.state = SourceState::Opening;
                }
                vec![Effect::Open]
            }
            Input::Opened if !self.is_open() => self.opened(now),
            Input::Failed { absent, why, chance } if !self.is_open() => self.failed(absent, why, chance, now),
            Input::Appeared if !self.is_open() => {
                self.next_try = now;
                self.back_off = BACK_OFF_FIRST;
                Vec::new()
            }
            Input::HungUp { why, chance } if self.is_open() => self.hung_up(why, chance, now),
            Input::Good if self.is_open() => self.good(now),
            Input::Bad(why) if self.is_open() => self.bad(why, now),
            Input::Tick
                if matches!(self.state, SourceState::Ok | SourceState::Error)
                    && self.is_open()
                    && now.saturating_sub(self.heard) >= self.stale_after =>
            {
                let was_ok = self.state == SourceState::Ok;
                self.state = SourceState::Stale;
                let mut effects = vec![Effect::Warn(format!("nothing heard for {:?}", self.stale_after))];
                if was_ok {
                    effects.push(Effect::Lost(QualityReason::Stale));
                }
                effects
            }
            _ => Vec::new(),
        }
    }

    fn opened(&mut self, now: Duration) -> Vec<Effect> {
        self.reconnects += u64::from(self.ever_open);
        self.ever_open = true;
        self.state = SourceState::NoData;
        self.next_try = Duration::MAX;
        self.heard = now;
        self.bad_in_a_row = 0;
        self.last_error = None;
        vec![Effect::Info("is open".into()), Effect::Greet]
    }

    fn failed(&mut self, absent: bool, why: String, chance: f64, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        self.state = if absent { SourceState::Absent } else { SourceState::Error };
        self.wait(chance, now);
        if self.last_error.as_ref() == Some(&why) {
            return Vec::new();
        }
        self.last_error = Some(why.clone());
        vec![Effect::Warn(format!("{why}; trying again"))]
    }

    fn hung_up(&mut self, why: String, chance: f64, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        // The back-off starts over with the first good line: a port that falls over at once backs off.
        self.state = SourceState::Absent;
        self.wait(chance, now);
        self.last_error = Some(why.clone());
        vec![
            Effect::Close,
            Effect::Lost(QualityReason::NotConnected),
            Effect::Warn(format!("closed: {why}; trying again")),
        ]
    }

    fn good(&mut self, now: Duration) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.state, SourceState::Ok);
        self.heard = now;
        self.bad_in_a_row = 0;
        self.back_off = BACK_OFF_FIRST;
        self.last_error = None;
        if before == SourceState::Ok { Vec::new() } else { vec![Effect::Info("is heard".into())] }
    }

    fn bad(&mut self, why: String, now: Duration) -> Vec<Effect> {
        self.errors += 1;
        self.heard = now;
        self.bad_in_a_row += 1;
        let said = format!("a line is not understood: it {why}");
        if self.bad_in_a_row < BAD_IN_A_ROW || self.state == SourceState::Error {
            // Said once for each change for the worse, not for every line.
            let first = self.last_error.is_none();
            self.last_error = Some(said.clone());
            return if first { vec![Effect::Warn(said)] } else { Vec::new() };
        }
        self.state = SourceState::Error;
        self.last_error = Some(said.clone());
        vec![
            Effect::Lost(QualityReason::CommError),
            Effect::Warn(format!("{BAD_IN_A_ROW} lines in a row are not understood; the last {why}")),
        ]
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

    #[test]
    fn a_life() {
        use SourceState::{Absent, Error, NoData, Ok, Opening, Stale};
        let lost = |why| Effect::Lost(why);
        let table: &[(u64, Input, SourceState, &[Effect])] = &[
            (0, Input::Try, Opening, &[Effect::Open]),
            (0, failed(true), Absent, &[Effect::Warn("no; trying again".into())]),
            (0, Input::Try, Absent, &[]),
            (1, Input::Try, Absent, &[Effect::Open]),
            (1, failed(true), Absent, &[]),
            (2, Input::Try, Absent, &[]),
            (2, Input::Appeared, Absent, &[]),
            (2, Input::Try, Absent, &[Effect::Open]),
            (2, failed(false), Error, &[]),
            (4, Input::Try, Error, &[Effect::Open]),
            (4, Input::Opened, NoData, &[Effect::Info("is open".into()), Effect::Greet]),
            (50, Input::Tick, NoData, &[]),
            (50, Input::Good, Ok, &[Effect::Info("is heard".into())]),
            (54, Input::Good, Ok, &[]),
            (58, Input::Tick, Ok, &[]),
            (
                59,
                Input::Tick,
                Stale,
                &[Effect::Warn("nothing heard for 5s".into()), lost(QualityReason::Stale)],
            ),
            (60, Input::Tick, Stale, &[]),
            (61, Input::Good, Ok, &[Effect::Info("is heard".into())]),
            (61, bad(), Ok, &[Effect::Warn("a line is not understood: it is nonsense".into())]),
            (61, bad(), Ok, &[]),
            (
                61,
                bad(),
                Error,
                &[
                    lost(QualityReason::CommError),
                    Effect::Warn("3 lines in a row are not understood; the last is nonsense".into()),
                ],
            ),
            (61, bad(), Error, &[]),
            (70, Input::Tick, Stale, &[Effect::Warn("nothing heard for 5s".into())]),
            (71, Input::Good, Ok, &[Effect::Info("is heard".into())]),
            (
                72,
                hung_up(),
                Absent,
                &[
                    Effect::Close,
                    lost(QualityReason::NotConnected),
                    Effect::Warn("closed: gone; trying again".into()),
                ],
            ),
            (72, Input::Good, Absent, &[]),
            (73, Input::Try, Absent, &[Effect::Open]),
            (73, Input::Opened, NoData, &[Effect::Info("is open".into()), Effect::Greet]),
        ];
        let mut life = Life::new(s(5), s(0));
        for (n, (at, input, state, effects)) in table.iter().enumerate() {
            assert_eq!(life.step(input.clone(), s(*at)), *effects, "step {n}: {input:?}");
            assert_eq!(life.state(), *state, "step {n}: {input:?}");
        }
        assert_eq!((life.errors, life.reconnects), (8, 1));
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
        /// and while it is closed there is a next try within 72 s.
        #[test]
        fn any_order(steps in proptest::collection::vec((0usize..8, 0u64..20), 0..100)) {
            let mut life = Life::new(s(5), s(0));
            let (mut now, mut open) = (s(0), false);
            for (which, later) in steps {
                now += s(later);
                let input = [Input::Try, Input::Opened, failed(true), failed(false), Input::Appeared, hung_up(), Input::Good, bad()][which].clone();
                let opening = input == Input::Opened && !open;
                for effect in life.step(input, now) {
                    match effect {
                        Effect::Open | Effect::Greet => prop_assert!(!open),
                        Effect::Close => { prop_assert!(open); open = false; }
                        _ => {}
                    }
                }
                open |= opening;
                prop_assert_eq!(life.is_open(), open);
                if !open {
                    prop_assert!(life.next_try() <= now + s(72));
                }
            }
        }
    }
}
