//! Calming a chattering contact: a pure machine. Time is passed in (the kernel's monotonic clock), levels are raw.
//!
//! An edge goes in as the kernel saw it; what comes out counts. `tick` is called when the time that `deadline` gives
//! has come (or later): a process that was stopped for a while gets the same answers, only late.

use crate::config::Debounce;
use std::time::Duration;

/// A level that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The new level.
    pub high: bool,
    /// When the contact took it.
    pub at: Duration,
}

/// See the module above.
#[derive(Clone, Debug)]
pub struct Debouncer {
    rule: Debounce,
    /// The level that counts.
    high: bool,
    /// The level of the last edge, whether it counted or not.
    raw: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Quiet,
    /// `raw` has held since then and counts when it has held long enough.
    Settling(Duration),
    /// Edges are ignored until then.
    Deaf(Duration),
}

impl Debouncer {
    /// Starts at a level that was read.
    pub fn new(rule: Debounce, high: bool) -> Self {
        Debouncer { rule, high, raw: high, phase: Phase::Quiet }
    }

    /// The level that counts.
    pub fn high(&self) -> bool {
        self.high
    }

    /// Whether a level read now may be compared with [`Debouncer::high`].
    pub fn is_quiet(&self) -> bool {
        matches!(self.phase, Phase::Quiet)
    }

    /// When [`Debouncer::tick`] has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        match (self.phase, self.rule) {
            (Phase::Settling(since), Debounce::StableFor(time)) => Some(since + time),
            (Phase::Deaf(until), _) => Some(until),
            _ => None,
        }
    }

    /// Takes an edge. Gives up to two changes, in order: what had settled before it, and the edge itself.
    pub fn edge(&mut self, high: bool, at: Duration) -> [Option<Change>; 2] {
        let before = self.tick(at);
        self.raw = high;
        let now = match self.rule {
            Debounce::None => self.count(high, at),
            Debounce::StableFor(time) if time.is_zero() => self.count(high, at),
            Debounce::StableFor(_) => {
                self.phase = if high == self.high { Phase::Quiet } else { Phase::Settling(at) };
                None
            }
            Debounce::IgnoreAfter(time) => match self.phase {
                Phase::Deaf(_) => None,
                _ => {
                    self.phase = if time.is_zero() { Phase::Quiet } else { Phase::Deaf(at + time) };
                    self.count(high, at)
                }
            },
        };
        [before, now]
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) -> Option<Change> {
        match (self.phase, self.rule) {
            (Phase::Settling(since), Debounce::StableFor(time)) if now >= since + time => {
                self.phase = Phase::Quiet;
                self.count(self.raw, since)
            }
            (Phase::Deaf(until), Debounce::IgnoreAfter(time)) if now >= until => {
                self.phase = Phase::Quiet;
                // The contact came to rest at the other level while nobody listened: that counts now.
                if self.raw == self.high {
                    return None;
                }
                self.phase = Phase::Deaf(until + time);
                let change = self.count(self.raw, until);
                // Late by more than the deaf time: that is over too.
                if now >= until + time {
                    self.phase = Phase::Quiet;
                }
                change
            }
            _ => None,
        }
    }

    /// Takes over a level that was read and had no edge.
    pub fn correct(&mut self, high: bool) {
        self.high = high;
        self.raw = high;
        self.phase = Phase::Quiet;
    }

    fn count(&mut self, high: bool, at: Duration) -> Option<Change> {
        self.high = high;
        Some(Change { high, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    enum Do {
        Edge(u64, bool),
        Tick(u64),
    }
    use Do::{Edge, Tick};

    fn run(rule: Debounce, steps: &[Do]) -> Vec<(u64, bool)> {
        let mut machine = Debouncer::new(rule, false);
        let mut out = Vec::new();
        for step in steps {
            let changes = match *step {
                Edge(at, high) => machine.edge(high, ms(at)),
                Tick(now) => [machine.tick(ms(now)), None],
            };
            out.extend(changes.into_iter().flatten().map(|c| (c.at.as_millis() as u64, c.high)));
        }
        out
    }

    #[test]
    fn the_table() {
        let stable = Debounce::StableFor(ms(10));
        let ignore = Debounce::IgnoreAfter(ms(10));
        type Row<'a> = (&'a str, Debounce, &'a [Do], &'a [(u64, bool)]);
        let table: &[Row] = &[
            (
                "every edge",
                Debounce::None,
                &[Edge(1, true), Edge(2, false), Edge(3, true)],
                &[(1, true), (2, false), (3, true)],
            ),
            (
                "two equal edges: one was lost, both are told",
                Debounce::None,
                &[Edge(1, true), Edge(2, true)],
                &[(1, true), (2, true)],
            ),
            ("too short", stable, &[Edge(1, true), Edge(5, false), Tick(30)], &[]),
            ("held: since its edge", stable, &[Edge(1, true), Tick(10), Tick(11), Tick(12)], &[(1, true)]),
            (
                "bounces, then holds",
                stable,
                &[Edge(1, true), Edge(3, false), Edge(4, true), Tick(13), Tick(14)],
                &[(4, true)],
            ),
            (
                "stopped in between: the next edge settles the one before",
                stable,
                &[Edge(1, true), Edge(40, false), Tick(60)],
                &[(1, true), (40, false)],
            ),
            (
                "a second equal edge starts the time anew",
                stable,
                &[Edge(1, true), Edge(8, true), Tick(12), Tick(18)],
                &[(8, true)],
            ),
            (
                "no time is no debounce",
                Debounce::StableFor(ms(0)),
                &[Edge(1, true), Edge(1, false)],
                &[(1, true), (1, false)],
            ),
            (
                "the first counts at once",
                ignore,
                &[Edge(1, true), Edge(2, false), Edge(3, true), Tick(11)],
                &[(1, true)],
            ),
            (
                "at rest elsewhere: told at the end",
                ignore,
                &[Edge(1, true), Edge(2, false), Tick(11)],
                &[(1, true), (11, false)],
            ),
            (
                "and deaf again after that",
                ignore,
                &[Edge(1, true), Edge(2, false), Tick(11), Edge(12, true), Edge(13, false), Tick(21)],
                &[(1, true), (11, false)],
            ),
            (
                "deaf time over without a tick",
                ignore,
                &[Edge(1, true), Edge(20, false)],
                &[(1, true), (20, false)],
            ),
            (
                "late: the rest of it and the edge",
                ignore,
                &[Edge(1, true), Edge(2, false), Edge(40, true)],
                &[(1, true), (11, false), (40, true)],
            ),
        ];
        for (name, rule, steps, expected) in table {
            assert_eq!(run(*rule, steps), *expected, "{name}");
        }
    }

    #[test]
    fn a_deadline_is_there_exactly_while_something_waits() {
        let mut machine = Debouncer::new(Debounce::StableFor(ms(10)), false);
        assert_eq!(machine.deadline(), None);
        machine.edge(true, ms(5));
        assert_eq!(machine.deadline(), Some(ms(15)));
        assert!(!machine.is_quiet());
        machine.edge(false, ms(6));
        assert_eq!(machine.deadline(), None);
        machine.correct(true);
        assert!(machine.high() && machine.is_quiet());
    }

    proptest! {
        /// Whatever the contact does: once it rests, the level that counts is the level it rests at, changes
        /// alternate, and their times never go back.
        #[test]
        fn it_ends_where_the_contact_rests(
            gaps in proptest::collection::vec(0u64..30, 1..60),
            time in 0u64..20,
            ignore: bool,
        ) {
            let rule = if ignore { Debounce::IgnoreAfter(ms(time)) } else { Debounce::StableFor(ms(time)) };
            let mut machine = Debouncer::new(rule, false);
            let (mut now, mut high, mut told) = (0, false, Vec::new());
            for gap in gaps {
                now += gap;
                high = !high;
                told.extend(machine.edge(high, ms(now)).into_iter().flatten());
            }
            for later in [20, 40, 60] {
                told.extend(machine.tick(ms(now + later)));
            }
            prop_assert_eq!(machine.high(), high);
            prop_assert!(machine.is_quiet());
            prop_assert!(told.windows(2).all(|w| w[0].high != w[1].high && w[0].at <= w[1].at), "{:?}", told);
        }
    }
}
