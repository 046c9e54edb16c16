//! What is measured of an input besides its level: how often it became active, how fast, how long. Pure; times are the
//! kernel's monotonic ones.

use std::collections::VecDeque;
use std::time::Duration;

/// A window is counted in so many parts.
const PARTS: u32 = 20;

/// See the module above.
#[derive(Clone, Debug)]
pub struct Meter {
    window: Duration,
    /// How often it became active.
    pub count: u64,
    /// The length of the last pulse, and the shortest and longest so far; a pulse with a lost edge in it is none.
    pub pulse: Option<Pulse>,
    active_since: Option<Duration>,
    /// First and last time and number of the pulses of each part.
    parts: VecDeque<(Duration, Duration, u32)>,
}

/// Lengths of pulses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Pulse {
    pub last: Duration,
    pub shortest: Duration,
    pub longest: Duration,
}

impl Meter {
    /// A meter whose rate is that of the last `window`.
    pub fn new(window: Duration) -> Self {
        Meter { window, count: 0, pulse: None, active_since: None, parts: VecDeque::new() }
    }

    /// The pin became active or not.
    pub fn changed(&mut self, active: bool, at: Duration) {
        if !active {
            if let Some(length) = self.active_since.take().map(|since| at.saturating_sub(since)) {
                let old = self.pulse.unwrap_or(Pulse { last: length, shortest: length, longest: length });
                self.pulse = Some(Pulse {
                    last: length,
                    shortest: old.shortest.min(length),
                    longest: old.longest.max(length),
                });
            }
            return;
        }
        self.active_since = Some(at);
        self.count += 1;
        match self.parts.back_mut() {
            Some((first, last, n)) if at.saturating_sub(*first) < self.window / PARTS => {
                *last = at;
                *n += 1;
            }
            _ => self.parts.push_back((at, at, 1)),
        }
        self.forget(at);
    }

    /// An edge was lost: what is under way is no pulse of known length.
    pub fn broken(&mut self) {
        self.active_since = None;
    }

    /// How often it becomes active, in Hz: the mean over the window, and never more than the silence since the last
    /// time allows. A window with one pulse says one in a window.
    pub fn rate(&mut self, now: Duration) -> f64 {
        self.forget(now);
        let (Some(first), Some(last)) = (self.parts.front(), self.parts.back()) else { return 0.0 };
        let pulses: u32 = self.parts.iter().map(|(_, _, n)| n).sum();
        let span = last.1.saturating_sub(first.0).as_secs_f64();
        let period = if pulses > 1 { span / f64::from(pulses - 1) } else { self.window.as_secs_f64() };
        let silence = now.saturating_sub(last.1).as_secs_f64();
        let period = period.max(silence);
        if period > 0.0 { 1.0 / period } else { 0.0 }
    }

    fn forget(&mut self, now: Duration) {
        while self.parts.front().is_some_and(|(_, last, _)| now.saturating_sub(*last) > self.window) {
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn pulses_have_a_length_unless_an_edge_is_lost() {
        let mut meter = Meter::new(ms(1_000));
        meter.changed(false, ms(5));
        assert_eq!(meter.pulse, None, "it was active before it was looked at");
        for (on, off) in [(10, 15), (20, 22), (30, 40)] {
            meter.changed(true, ms(on));
            meter.changed(false, ms(off));
        }
        let all = Pulse { last: ms(10), shortest: ms(2), longest: ms(10) };
        assert_eq!((meter.count, meter.pulse), (3, Some(all)));
        meter.changed(true, ms(50));
        meter.broken();
        meter.changed(false, ms(90));
        assert_eq!((meter.count, meter.pulse), (4, Some(all)));
    }

    #[test]
    fn a_rate_falls_when_nothing_comes() {
        let mut meter = Meter::new(ms(2_000));
        assert_eq!(meter.rate(ms(0)), 0.0);
        meter.changed(true, ms(100));
        assert_eq!(meter.rate(ms(200)), 0.5, "one in a window");
        for n in 1..=10 {
            meter.changed(true, ms(100 + n * 100));
        }
        assert!((meter.rate(ms(1_100)) - 10.0).abs() < 1e-9);
        assert!((meter.rate(ms(1_600)) - 2.0).abs() < 1e-9, "nothing for half a second is at most 2 Hz");
        assert_eq!(meter.rate(ms(9_000)), 0.0);
    }

    proptest! {
        /// An even signal has its rate to a thousandth, whatever window there is that holds some of it.
        #[test]
        fn an_even_signal_is_measured(period_us in 200u64..200_000, window_ms in 1_000u64..5_000) {
            let mut meter = Meter::new(ms(window_ms));
            let mut now = Duration::ZERO;
            while now < ms(window_ms * 2) {
                now += Duration::from_micros(period_us);
                meter.changed(true, now);
            }
            let expected = 1e6 / period_us as f64;
            prop_assert!((meter.rate(now) / expected - 1.0).abs() < 1e-3, "{} {expected}", meter.rate(now));
            prop_assert!(meter.parts.len() <= PARTS as usize + 2);
        }
    }
}
