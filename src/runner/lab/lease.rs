//! How long a bench program may be silent, and how long it may take to do what it is asked.
//!
//! Pure: told what happens and when on the monotonic clock, it says what is overdue, each once. It does not know what a
//! scan is; who asks it acts.

use std::time::Duration;

/// So many leases without a word, and the program is taken for lost.
const LOST: u32 = 10;

/// See the module above.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    /// It speaks at least this often.
    time: Duration,
    /// It has this long to confirm what it is asked.
    ack: Duration,
    heard: Duration,
    silent: bool,
    lost: bool,
    /// What it was asked last it has not confirmed since then; none: nothing, or that was said.
    asked: Option<Duration>,
}

/// What is overdue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// It did not confirm what it was asked.
    Unconfirmed,
    /// It has been silent for longer than its lease.
    Silent,
    /// It has been silent for so long that nobody waits any more.
    Lost,
}

impl Lease {
    /// Of a program that is heard now.
    pub fn new(time: Duration, ack: Duration, now: Duration) -> Self {
        Lease { time, ack, heard: now, silent: false, lost: false, asked: None }
    }

    /// It said something, whatever it was; true when it had been silent.
    pub fn heard(&mut self, now: Duration) -> bool {
        self.heard = self.heard.max(now);
        std::mem::take(&mut self.silent)
    }

    /// It is asked for something; what it was asked before does not matter any more.
    pub fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
    }

    /// It did what it was asked, or nobody wants it any more.
    pub fn answered(&mut self) {
        self.asked = None;
    }

    /// How long it has said nothing.
    pub fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }

    /// Whether it has been silent for longer than its lease.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// What has become overdue, the least first. Each is said once: a lack of confirmation for each wish, silence for each
    /// silence, loss for ever.
    pub fn tick(&mut self, now: Duration) -> Vec<Overdue> {
        let mut overdue = Vec::new();
        if self.asked.is_some_and(|since| now.saturating_sub(since) >= self.ack) {
            self.asked = None;
            overdue.push(Overdue::Unconfirmed);
        }
        let silence = self.silence(now);
        if silence > self.time && !self.silent {
            self.silent = true;
            overdue.push(Overdue::Silent);
        }
        if silence > self.time * LOST && !self.lost {
            self.lost = true;
            overdue.push(Overdue::Lost);
        }
        overdue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    enum At {
        Heard(u64, bool),
        Ask(u64),
        Answered,
        Tick(u64, &'static [Overdue]),
    }
    use At::*;
    use Overdue::*;

    #[test]
    fn the_table_of_silence_and_confirmation() {
        let seconds = Duration::from_secs;
        let rows: [(&str, &[At]); 7] = [
            ("who speaks in time is never overdue", &[Tick(29, &[]), Heard(29, false), Tick(58, &[])]),
            ("exactly the lease is in time", &[Tick(30, &[]), Tick(31, &[Silent]), Tick(32, &[])]),
            (
                "each silence is said, and its end",
                &[Tick(31, &[Silent]), Heard(40, true), Heard(41, false), Tick(71, &[]), Tick(72, &[Silent])],
            ),
            (
                "ten leases and nobody waits any more, once",
                &[Tick(31, &[Silent]), Tick(300, &[]), Tick(301, &[Lost]), Tick(400, &[])],
            ),
            ("a look that comes late says both", &[Tick(9_999, &[Silent, Lost])]),
            (
                "a wish has its own time, and the later one counts",
                &[
                    Heard(5, false),
                    Ask(5),
                    Ask(10),
                    Heard(20, false),
                    Tick(24, &[]),
                    Heard(24, false),
                    Tick(25, &[Unconfirmed]),
                    Tick(26, &[]),
                ],
            ),
            ("what was confirmed is not missed", &[Ask(5), Heard(9, false), Answered, Tick(30, &[])]),
        ];
        for (what, steps) in rows {
            let mut lease = Lease::new(seconds(30), seconds(15), Duration::ZERO);
            for (n, step) in steps.iter().enumerate() {
                match step {
                    Heard(at, was_silent) => {
                        assert_eq!(lease.heard(seconds(*at)), *was_silent, "{what}, {n}")
                    }
                    Ask(at) => lease.ask(seconds(*at)),
                    Answered => lease.answered(),
                    Tick(at, overdue) => assert_eq!(lease.tick(seconds(*at)), *overdue, "{what}, {n}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn silence_is_said_exactly_when_there_was_one(steps in prop::collection::vec((0_u64..50, any::<bool>()), 1..60)) {
            let (time, ack) = (Duration::from_secs(30), Duration::from_secs(30));
            let (mut lease, mut now, mut heard) = (Lease::new(time, ack, Duration::ZERO), 0, 0);
            let mut told = false;
            for (wait, speaks) in steps {
                now += wait;
                let overdue = lease.tick(Duration::from_secs(now));
                prop_assert_eq!(overdue.contains(&Silent), now - heard > 30 && !told);
                told |= overdue.contains(&Silent);
                prop_assert_eq!(lease.is_silent(), told);
                if speaks {
                    prop_assert_eq!(lease.heard(Duration::from_secs(now)), told);
                    (heard, told) = (now, false);
                }
            }
        }
    }
}
