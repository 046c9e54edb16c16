//! Motion at a recorder, told over HTTP: what it is now, how long it still counts when it is over, and what it was. Pure;
//! durations are monotonic, wall times are labels.

use crate::clock::Wall;
use crate::limits;
use crate::model::Motion;
use std::collections::VecDeque;
use std::time::Duration;

/// A change of motion.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct MotionChange {
    /// When.
    pub at: Wall,
    /// To what.
    pub active: bool,
    /// Who said so.
    pub source: Option<String>,
}

/// See the module above.
#[derive(Default)]
pub(super) struct Motions {
    now: Option<Motion>,
    padding: Duration,
    until: Option<Duration>,
    history: VecDeque<MotionChange>,
}

impl Motions {
    /// There is motion, or no longer; `padding` is how long it counts after its end, kept from the last time when it is
    /// not given. True when something has changed.
    pub fn tell(
        &mut self,
        active: bool,
        padding: Option<Duration>,
        source: Option<String>,
        now: Duration,
        wall: Wall,
    ) -> bool {
        self.padding = padding.unwrap_or(self.padding);
        let was = self.now.as_ref();
        if was.is_some_and(|m| m.active == active) {
            return false;
        }
        let sequence = was.map_or(0, |m| m.sequence) + 1;
        let counts = !active && !self.padding.is_zero();
        self.until = counts.then_some(now + self.padding);
        let padding_until = counts.then(|| Wall(wall.0 + self.padding.as_millis() as u64));
        self.now = Some(Motion { active, since: wall, padding_until, sequence });
        if self.history.len() == limits::MOTION_HISTORY {
            self.history.pop_back();
        }
        self.history.push_front(MotionChange { at: wall, active, source });
        true
    }

    /// When the padding ends.
    pub fn deadline(&self) -> Option<Duration> {
        self.until
    }

    /// True when the padding has just ended.
    pub fn tick(&mut self, now: Duration) -> bool {
        if self.until.is_none_or(|until| now < until) {
            return false;
        }
        self.until = None;
        if let Some(motion) = &mut self.now {
            motion.padding_until = None;
        }
        true
    }

    /// How it is; none when nobody ever told.
    pub fn now(&self) -> Option<&Motion> {
        self.now.as_ref()
    }

    /// What it was, the newest first.
    pub fn history(&self) -> impl Iterator<Item = &MotionChange> {
        self.history.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn motion_counts_on_for_its_padding() {
        let mut motions = Motions::default();
        assert!(motions.tell(true, Some(s(60)), Some("pir".into()), s(0), Wall(1_000)));
        assert!(!motions.tell(true, None, None, s(5), Wall(6_000)), "as it was");
        assert_eq!(motions.now().unwrap().since, Wall(1_000));
        assert!(motions.tell(false, None, None, s(10), Wall(11_000)));
        let now = motions.now().unwrap();
        assert_eq!((now.active, now.padding_until, now.sequence), (false, Some(Wall(71_000)), 2));
        assert_eq!(motions.deadline(), Some(s(70)));
        assert!(!motions.tick(s(69)));
        assert!(motions.tick(s(70)) && !motions.tick(s(71)));
        assert_eq!(motions.now().unwrap().padding_until, None);
        // Motion within the padding ends it.
        motions.tell(true, None, None, s(80), Wall(81_000));
        motions.tell(false, None, None, s(81), Wall(82_000));
        motions.tell(true, None, None, s(82), Wall(83_000));
        assert_eq!((motions.deadline(), motions.now().unwrap().sequence), (None, 5));
        let newest: Vec<_> = motions.history().take(2).map(|h| (h.active, h.at)).collect();
        assert_eq!(newest, [(true, Wall(83_000)), (false, Wall(82_000))]);
    }

    #[test]
    fn the_history_is_bounded() {
        let mut motions = Motions::default();
        for n in 0..1_000u64 {
            motions.tell(n % 2 == 0, None, None, s(n), Wall(n));
        }
        assert_eq!(motions.history().count(), limits::MOTION_HISTORY);
        assert_eq!(motions.history().next().unwrap().at, Wall(999));
    }
}
