//! What holds a port's traffic within bounds: the bytes that wait to be sent, and the readings that may be taken. Pure.

use crate::limits;
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes on their way to the device.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<u8>,
    /// When a byte was last taken, or the first one began to wait.
    moved: Duration,
    /// Bytes that were not sent.
    pub dropped: u64,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds bytes that belong together; all of them or none.
    pub fn push(&mut self, bytes: &[u8], now: Duration) {
        if self.waiting.is_empty() {
            self.moved = now;
        }
        if self.waiting.len() + bytes.len() > limits::SERIAL_OUT {
            self.dropped += bytes.len() as u64;
        } else {
            self.waiting.extend(bytes);
        }
    }

    /// What is next in line.
    pub fn next(&self) -> &[u8] {
        self.waiting.as_slices().0
    }

    /// The device took so many of [`Outbox::next`]. False when it has taken nothing for so long that all of it is
    /// dropped.
    pub fn took(&mut self, n: usize, now: Duration) -> bool {
        if n > 0 || self.waiting.is_empty() {
            self.moved = now;
            self.waiting.drain(..n.min(self.waiting.len()));
            return true;
        }
        if now.saturating_sub(self.moved) < limits::SERIAL_OUT_TIME {
            return true;
        }
        self.clear();
        false
    }

    /// The port is closed: nothing of it will be sent.
    pub fn clear(&mut self) {
        self.dropped += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

/// So many readings a second, and as many at once after a pause.
#[derive(Debug)]
pub struct Budget {
    rate: f64,
    left: f64,
    at: Duration,
    /// Readings that were more.
    pub dropped: u64,
    last_drop: Option<Duration>,
}

/// A flood is over when nothing was dropped for this long.
const CALM: Duration = Duration::from_secs(10);

/// What a flood changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// It begins.
    Begins,
    /// It is over.
    Ends,
}

impl Budget {
    /// A full budget.
    pub fn new(rate: u32, now: Duration) -> Self {
        let rate = f64::from(rate.max(1));
        Budget { rate, left: rate, at: now, dropped: 0, last_drop: None }
    }

    /// Whether there is something left, without taking it.
    pub fn has(&mut self, now: Duration) -> bool {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.rate;
        self.at = self.at.max(now);
        self.left = (self.left + gained).min(self.rate);
        self.left >= 1.0
    }

    /// Takes one, on credit if need be.
    pub fn take(&mut self) {
        self.left -= 1.0;
    }

    /// One reading had to be dropped.
    pub fn drop_one(&mut self, now: Duration) -> Option<Flood> {
        self.dropped += 1;
        self.last_drop.replace(now).is_none().then_some(Flood::Begins)
    }

    /// Whether a flood is over by now.
    pub fn calm(&mut self, now: Duration) -> Option<Flood> {
        let last = self.last_drop?;
        (now.saturating_sub(last) >= CALM).then(|| {
            self.last_drop = None;
            Flood::Ends
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn what_is_not_taken_is_dropped_and_counted() {
        let mut out = Outbox::default();
        out.push(b"hello", s(1));
        assert!(out.took(0, s(5)), "not yet");
        assert!(out.took(2, s(5)));
        assert_eq!(out.next(), b"llo");
        assert!(out.took(0, s(9)));
        assert!(!out.took(0, s(10)));
        assert_eq!((out.is_empty(), out.dropped), (true, 3));
        out.push(&vec![0; limits::SERIAL_OUT], s(11));
        out.push(b"x", s(11));
        assert_eq!((out.next().len(), out.dropped), (limits::SERIAL_OUT, 4));
    }

    #[test]
    fn a_flood_is_cut_to_its_rate() {
        let mut budget = Budget::new(100, s(0));
        let mut taken = 0;
        let mut told = Vec::new();
        // A thousand a second for three seconds.
        for ms in 0..3_000 {
            let now = Duration::from_millis(ms);
            if budget.has(now) {
                budget.take();
                taken += 1;
            } else {
                told.extend(budget.drop_one(now));
            }
            told.extend(budget.calm(now));
        }
        assert_eq!(taken + budget.dropped, 3_000);
        assert!((395..=400).contains(&taken), "{taken}: a second's worth at once, then 100 a second");
        assert_eq!((told, budget.calm(s(12))), (vec![Flood::Begins], None));
        assert_eq!(budget.calm(s(14)), Some(Flood::Ends));
        assert_eq!(budget.calm(s(15)), None);
    }
}
