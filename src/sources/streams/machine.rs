//! How a feed stays connected: a pure machine. Time and chance are passed in.
//!
//! ```text
//! connecting --opened, tick--> live --silence--> stale --silence again--> closed, opened anew
//!     ^                          |                 |
//!     +------- back-off ---------+---- closed -----+     meanwhile: fallback while REST answers, else offline
//! ```
//! A tick of the socket always wins over REST. The back-off doubles from a second to a minute, jittered, never gives up,
//! and starts over with the first tick.

use crate::model::StreamState;
use std::time::Duration;

/// The first wait before connecting again.
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest.
pub const BACK_OFF_MOST: Duration = Duration::from_secs(60);
/// Failed attempts before REST is asked.
pub const BEFORE_FALLBACK: u32 = 2;

/// What happens to a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The socket is open and what was to be asked for has been.
    Opened,
    /// It could not be opened, or is closed; `chance` of 0 to 1 spreads the next try.
    Closed {
        /// A few words.
        why: String,
        /// See above.
        chance: f64,
    },
    /// A value came over the socket.
    Tick,
    /// REST gave a value.
    RestTick,
    /// REST did not.
    RestFailed(String),
    /// Nothing happened.
    Time,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open the socket.
    Connect,
    /// Close it, and say [`Input::Closed`].
    Close,
    /// Ask REST once.
    Ask,
}

/// See the module above.
#[derive(Debug)]
pub struct Machine {
    stale_after: Duration,
    rest_every: Option<Duration>,
    open: bool,
    /// A tick came since the socket was opened.
    ticking: bool,
    /// When the socket was opened or last gave a tick.
    heard: Duration,
    /// When REST last gave a value that no tick has overtaken.
    rest_heard: Option<Duration>,
    back_off: Duration,
    next_try: Duration,
    next_rest: Duration,
    /// Connections that were closed or not made since the last tick.
    failed: u32,
    ever: bool,
    now: Duration,
    /// Connections after the first.
    pub reconnects: u64,
    /// Why it is not live.
    pub reason: Option<String>,
}

impl Machine {
    /// A feed that is to connect at `now`; `rest_every`: how often REST is asked in its stead.
    pub fn new(stale_after: Duration, rest_every: Option<Duration>, now: Duration) -> Self {
        Machine {
            stale_after,
            rest_every,
            open: false,
            ticking: false,
            heard: now,
            rest_heard: None,
            back_off: BACK_OFF_FIRST,
            next_try: now,
            next_rest: now,
            failed: 0,
            ever: false,
            now,
            reconnects: 0,
            reason: None,
        }
    }

    /// How it stands, as of the last step.
    pub fn status(&self) -> StreamState {
        if self.is_live() {
            StreamState::Live
        } else if self.by_rest() {
            StreamState::Fallback
        } else if self.open && self.is_silent() {
            StreamState::Stale
        } else if self.open || self.failed <= 1 {
            StreamState::Connecting
        } else {
            StreamState::Offline
        }
    }

    /// Whether the socket is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// When something is due next at the latest.
    pub fn wake(&self) -> Duration {
        let socket = match (self.open, self.is_silent()) {
            (true, false) => self.heard + self.stale_after,
            (true, true) => self.heard + self.stale_after * 2,
            (false, _) => self.next_try,
        };
        if self.wants_rest() { socket.min(self.next_rest) } else { socket }
    }

    /// One step.
    pub fn step(&mut self, input: Input, now: Duration) -> Option<Effect> {
        self.now = now;
        match input {
            Input::Opened => {
                self.reconnects += u64::from(self.ever);
                (self.ever, self.open, self.ticking, self.heard) = (true, true, false, now);
            }
            Input::Closed { why, chance } => {
                self.open = false;
                self.failed = self.failed.saturating_add(1);
                self.next_try = now + self.back_off.mul_f64(0.75 + 0.5 * chance.clamp(0.0, 1.0));
                self.back_off = (self.back_off * 2).min(BACK_OFF_MOST);
                self.reason = Some(why);
            }
            Input::Tick if self.open => {
                (self.ticking, self.heard, self.failed, self.back_off) = (true, now, 0, BACK_OFF_FIRST);
                (self.reason, self.rest_heard) = (None, None);
            }
            Input::RestTick if !self.is_live() => self.rest_heard = Some(now),
            Input::RestFailed(why) if !self.is_live() => self.reason = Some(why),
            Input::Tick | Input::RestTick | Input::RestFailed(_) | Input::Time => {}
        }
        if self.open && self.is_silent() && self.reason.is_none() {
            self.reason = Some(format!("nothing heard for {:?}", self.stale_after));
        }
        self.due(now)
    }

    fn due(&mut self, now: Duration) -> Option<Effect> {
        if self.open && now.saturating_sub(self.heard) >= self.stale_after * 2 {
            // The peer may be gone without a word: only a new connection tells. When that is made, is said by `Closed`.
            self.open = false;
            self.next_try = Duration::MAX;
            self.reason = Some(format!("nothing heard for {:?}", self.stale_after * 2));
            return Some(Effect::Close);
        }
        if !self.open && now >= self.next_try {
            // Not again before its outcome is known.
            self.next_try = Duration::MAX;
            return Some(Effect::Connect);
        }
        if self.wants_rest() && now >= self.next_rest {
            self.next_rest = now + self.rest_every.unwrap_or(BACK_OFF_MOST);
            return Some(Effect::Ask);
        }
        None
    }

    fn is_silent(&self) -> bool {
        self.now.saturating_sub(self.heard) >= self.stale_after
    }

    fn is_live(&self) -> bool {
        self.open && self.ticking && !self.is_silent()
    }

    fn by_rest(&self) -> bool {
        let time = self.stale_after.max(self.rest_every.unwrap_or_default() * 3);
        self.rest_heard.is_some_and(|at| self.now.saturating_sub(at) < time)
    }

    fn wants_rest(&self) -> bool {
        let down = self.failed >= BEFORE_FALLBACK || self.open && self.is_silent();
        self.rest_every.is_some() && !self.is_live() && (down || self.rest_heard.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALE: Duration = Duration::from_secs(10);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn closed() -> Input {
        Input::Closed { why: "gone".into(), chance: 0.5 }
    }

    #[test]
    fn live_stale_closed_fallback_and_live_again() {
        let mut machine = Machine::new(STALE, Some(s(5)), s(0));
        let mut at = |input, now, effect, status| {
            assert_eq!(machine.step(input, s(now)), effect, "at {now}");
            assert_eq!(machine.status(), status, "at {now}");
            machine.wake()
        };
        use StreamState::{Connecting, Fallback, Live, Stale};
        at(Input::Time, 0, Some(Effect::Connect), Connecting);
        at(Input::Time, 1, None, Connecting);
        at(Input::Opened, 2, None, Connecting);
        assert_eq!(at(Input::Tick, 3, None, Live), s(13));
        // Silence: stale, and REST is asked at once.
        at(Input::Time, 13, Some(Effect::Ask), Stale);
        at(Input::RestTick, 14, None, Fallback);
        at(Input::Time, 18, Some(Effect::Ask), Fallback);
        // Silence again: the socket is given up.
        at(Input::Time, 23, Some(Effect::Close), Fallback);
        at(closed(), 23, Some(Effect::Ask), Fallback);
        assert_eq!(at(Input::RestTick, 23, None, Fallback), s(24));
        at(Input::Time, 24, Some(Effect::Connect), Fallback);
        assert_eq!(at(closed(), 24, None, Fallback), s(26));
        at(Input::Time, 26, Some(Effect::Connect), Fallback);
        at(Input::Opened, 26, None, Fallback);
        at(Input::Tick, 27, None, Live);
        // An answer of REST that comes late is no reason for anything.
        at(Input::RestTick, 28, None, Live);
        at(Input::RestFailed("no".into()), 28, None, Live);
        assert_eq!((machine.reason, machine.rest_heard), (None, None));
    }

    /// A server that takes connections and says nothing was connected to anew every `2 * stale_after`, for ever.
    #[test]
    fn connections_that_give_nothing_are_ever_further_apart() {
        let mut machine = Machine::new(s(1), None, s(0));
        let (mut now, mut apart) = (s(0), Vec::new());
        for _ in 0..8 {
            assert_eq!(machine.step(Input::Time, now), Some(Effect::Connect));
            machine.step(Input::Opened, now);
            let opened = now;
            while machine.step(Input::Time, now) != Some(Effect::Close) {
                now = machine.wake();
            }
            machine.step(closed(), now);
            now = machine.wake();
            apart.push((now - opened).as_secs());
        }
        assert_eq!(apart, [3, 4, 6, 10, 18, 34, 62, 62]);
    }

    #[test]
    fn without_rest_it_is_offline_and_backs_off() {
        let mut machine = Machine::new(STALE, None, s(0));
        let mut now = s(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(machine.step(Input::Time, now), Some(Effect::Connect));
            machine.step(closed(), now);
            waits.push((machine.wake() - now).as_secs());
            now = machine.wake();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!((machine.status(), machine.reason.as_deref()), (StreamState::Offline, Some("gone")));
    }

    proptest! {
        /// Whatever happens, there is always something that wakes it, and it tries again within the longest back-off.
        #[test]
        fn it_never_gives_up(inputs in proptest::collection::vec((0..6_u8, 0..30_u64), 1..80), rest: bool) {
            let mut machine = Machine::new(STALE, rest.then_some(s(5)), s(0));
            let (mut now, mut connecting) = (s(0), false);
            for (kind, wait) in inputs {
                now += s(wait);
                let input = match kind {
                    0 if connecting => Input::Opened,
                    1 if connecting || machine.open => closed(),
                    2 => Input::Tick,
                    3 => Input::RestTick,
                    4 => Input::RestFailed("no".into()),
                    _ => Input::Time,
                };
                if matches!(input, Input::Opened | Input::Closed { .. }) {
                    connecting = false;
                }
                let mut effect = machine.step(input, now);
                if effect == Some(Effect::Close) {
                    effect = machine.step(closed(), now);
                }
                connecting |= effect == Some(Effect::Connect);
                prop_assert!(connecting || machine.wake() <= now + BACK_OFF_MOST.mul_f64(1.25));
            }
        }
    }
}
