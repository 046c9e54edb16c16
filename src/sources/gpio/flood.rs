//! Parking a pin that floods: a pure machine. Edges are counted over a window; too many, and the pin is to be given back
//! for a while that doubles each time. A pin that stays calm after it was taken again is forgiven.

use crate::limits;
use std::time::Duration;

/// How long a pin that was parked must be calm before it counts as well again.
const CALM: Duration = limits::GPIO_FLOOD_TIME.saturating_mul(2);

/// See the module above.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Edges in one window.
    most: u32,
    window: (Duration, u32),
    /// How long it is parked the next time.
    next: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Well,
    /// Until then.
    Parked(Duration),
    /// Taken again, and looked at since then.
    Watched(Duration),
}

impl Flood {
    /// For at most so many edges a second.
    pub fn new(a_second: u32) -> Self {
        let most = a_second.saturating_mul(limits::GPIO_FLOOD_TIME.as_secs() as u32);
        Flood { most, window: (Duration::ZERO, 0), next: limits::GPIO_PARKED.0, phase: Phase::Well }
    }

    /// Counts edges; gives the time for which the pin is to be parked when they are too many.
    pub fn edges(&mut self, count: u32, at: Duration) -> Option<Duration> {
        if at.saturating_sub(self.window.0) >= limits::GPIO_FLOOD_TIME {
            self.window = (at, 0);
        }
        self.window.1 = self.window.1.saturating_add(count);
        if self.window.1 <= self.most {
            return None;
        }
        let time = self.next;
        self.next = (time * 2).min(limits::GPIO_PARKED.1);
        self.phase = Phase::Parked(at + time);
        self.window = (Duration::ZERO, 0);
        Some(time)
    }

    /// Whether a parked pin is to be taken again.
    pub fn is_over(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::Parked(until) if now >= until)
    }

    /// It was taken again.
    pub fn taken(&mut self, now: Duration) {
        if matches!(self.phase, Phase::Parked(_)) {
            self.phase = Phase::Watched(now);
        }
    }

    /// True once, when a pin that was parked has been calm for long enough.
    pub fn is_well_again(&mut self, now: Duration) -> bool {
        match self.phase {
            Phase::Watched(since) if now.saturating_sub(since) >= CALM => {
                self.phase = Phase::Well;
                true
            }
            _ => false,
        }
    }

    /// A well pin that has been so for as long as it was parked last starts anew.
    pub fn forgive(&mut self, calm_for: Duration) {
        if self.phase == Phase::Well && calm_for >= self.next {
            self.next = limits::GPIO_PARKED.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_is_parked_longer_each_time_and_forgiven() {
        let mut flood = Flood::new(100);
        assert_eq!(flood.edges(500, s(10)), None, "exactly as many as may be");
        assert_eq!(flood.edges(500, s(16)), None, "another window");
        assert_eq!(flood.edges(1, s(17)), Some(s(60)));
        assert!(!flood.is_over(s(76)) && flood.is_over(s(77)));
        flood.taken(s(80));
        assert!(!flood.is_over(s(500)) && !flood.is_well_again(s(89)));
        assert_eq!(flood.edges(501, s(89)), Some(s(120)));
        flood.taken(s(300));
        assert!(flood.is_well_again(s(310)));
        assert!(!flood.is_well_again(s(320)), "once");
        flood.forgive(s(239));
        assert_eq!(flood.edges(501, s(400)), Some(s(240)), "not calm for long enough");
        flood.taken(s(700));
        assert!(flood.is_well_again(s(710)));
        flood.forgive(s(480));
        assert_eq!(flood.edges(501, s(2_000)), Some(s(60)));
    }

    #[test]
    fn never_longer_than_an_hour() {
        let mut flood = Flood::new(10);
        let mut now = s(0);
        for _ in 0..20 {
            now += s(10_000);
            let time = flood.edges(1_000, now).unwrap();
            assert!(time <= s(3_600));
            now += time;
            flood.taken(now);
        }
    }

    proptest! {
        /// A signal at the bound is never parked, one at two and a half times the bound always.
        #[test]
        fn the_bound_holds(a_second in 10u32..5_000, seconds in 11u64..60) {
            let mut at_bound = Flood::new(a_second);
            let mut above = Flood::new(a_second);
            let mut parked = false;
            for tick in 0..seconds * 10 {
                let now = Duration::from_millis(tick * 100);
                prop_assert!(at_bound.edges(a_second / 10, now).is_none());
                parked |= above.edges(a_second.div_ceil(4), now).is_some();
            }
            prop_assert!(parked);
        }
    }
}
