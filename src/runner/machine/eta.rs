//! When a scan will be done.
//!
//! As planned until three points have been timed; then the median of the last twenty times the points that are left.
//! Times are active times: a pause counts for nothing, and while it lasts there is no answer.

use std::collections::VecDeque;
use std::time::Duration;

/// Point times from which the estimate is observed, not planned.
const ENOUGH: usize = 3;
/// Newest point times that are looked at.
const WINDOW: usize = 20;

/// What an estimate rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The description.
    Planned,
    /// The points so far.
    Observed,
}

impl Basis {
    /// Its name on the wire (`eta_basis`).
    pub fn name(self) -> &'static str {
        match self {
            Basis::Planned => "planned",
            Basis::Observed => "observed",
        }
    }
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Eta {
    planned: Duration,
    total: Option<u64>,
    passed: u64,
    last_at: Duration,
    times: VecDeque<Duration>,
}

impl Eta {
    /// Of a scan that is planned to take this long for this many points.
    pub fn new(planned: Duration, total: Option<u64>) -> Eta {
        Eta { planned, total, passed: 0, last_at: Duration::ZERO, times: VecDeque::with_capacity(WINDOW) }
    }

    /// The points begin at this active time: what came before (the startup) is no point's time.
    pub fn begin(&mut self, active: Duration) {
        self.last_at = active;
    }

    /// One more point is behind it (taken or skipped), at this active time.
    pub fn point(&mut self, active: Duration) {
        self.passed += 1;
        if self.times.len() == WINDOW {
            self.times.pop_front();
        }
        self.times.push_back(active.saturating_sub(self.last_at));
        self.last_at = self.last_at.max(active);
    }

    /// What is left at this active time, and what says so. None while paused and when the total is unknown.
    pub fn left(&self, active: Duration, paused: bool) -> Option<(Duration, Basis)> {
        let total = self.total.filter(|_| !paused)?;
        if self.times.len() < ENOUGH {
            return Some((self.planned.saturating_sub(active), Basis::Planned));
        }
        let mut sorted: Vec<Duration> = self.times.iter().copied().collect();
        sorted.sort_unstable();
        let middle = sorted.len() / 2;
        let (low, high) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(middle)?);
        let median = (*low + *high).as_secs_f64() / 2.0;
        let all = median * total.saturating_sub(self.passed) as f64;
        let since = active.saturating_sub(self.last_at).as_secs_f64().min(median);
        let left = Duration::try_from_secs_f64((all - since).max(0.0)).unwrap_or(Duration::MAX);
        Some((left, Basis::Observed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn planned_until_three_points_then_the_median_of_the_points() {
        let mut eta = Eta::new(s(100.0), Some(10));
        assert_eq!(eta.left(s(0.0), false), Some((s(100.0), Basis::Planned)));
        eta.begin(s(5.0));
        eta.point(s(7.0));
        eta.point(s(9.0));
        assert_eq!(eta.left(s(9.0), false), Some((s(91.0), Basis::Planned)));
        eta.point(s(59.0));
        // 2, 2 and 50 s: the one that took long does not count.
        assert_eq!(eta.left(s(59.0), false), Some((s(14.0), Basis::Observed)));
        assert_eq!(eta.left(s(60.0), false), Some((s(13.0), Basis::Observed)));
        // A point that takes longer than the others takes no time away from those that follow.
        assert_eq!(eta.left(s(90.0), false), Some((s(12.0), Basis::Observed)));
    }

    #[test]
    fn a_pause_and_an_unknown_total_have_no_answer() {
        let mut eta = Eta::new(s(10.0), Some(5));
        (1..=4_u32).for_each(|n| eta.point(s(f64::from(n))));
        assert_eq!(eta.left(s(4.0), true), None);
        assert_eq!(eta.left(s(4.0), false), Some((s(1.0), Basis::Observed)));
        assert_eq!(Eta::new(s(10.0), None).left(s(0.0), false), None);
    }

    #[test]
    fn only_the_last_twenty_count() {
        let mut eta = Eta::new(s(0.0), Some(1_000));
        let mut at = 0.0;
        for n in 0..60 {
            at += if n < 40 { 10.0 } else { 1.0 };
            eta.point(s(at));
        }
        assert_eq!(eta.left(s(at), false), Some((s(940.0), Basis::Observed)));
        assert_eq!(eta.times.len(), WINDOW);
    }
}
