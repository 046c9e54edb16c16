//! Where the samples of every signal are in the log, and the least and the greatest of each few of them: enough to draw a
//! long time without reading it. Pure.
//!
//! A [`Span`] stands for up to [`SPAN`] samples that came one after the other; a record of the log is never in two spans of one signal.
//! **Bounds.** [`limits::SIGNAL_SPANS`] in all; the oldest go first, and their samples can't be read back any more.

use crate::limits;
use crate::model::SignalEvent;
use std::collections::{BTreeMap, VecDeque};

/// Samples of one span, unless a single record has more.
pub const SPAN: u64 = 128;
/// Records between the first and the last one of a span, so that a slow signal's is read with little of the others.
const REACH: u64 = 4_096;

/// A sample that stands for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mark {
    /// Its number.
    pub seq: u64,
    /// Its time, in wall milliseconds.
    pub t: u64,
    /// Its value.
    pub value: f64,
    /// Whether it is an anomaly.
    pub anomaly: bool,
}

/// Samples of one signal that came one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The first and the last record of the log.
    pub log: (u64, u64),
    /// The least and the greatest number of a sample.
    pub seq: (u64, u64),
    /// The earliest and the latest time.
    pub t: (u64, u64),
    /// How many samples.
    pub samples: u64,
    /// How many of them are anomalies.
    pub anomalies: u64,
    /// The least; none when none has a value.
    pub min: Option<Mark>,
    /// The greatest.
    pub max: Option<Mark>,
    /// An anomaly: the one with the greatest value.
    pub odd: Option<Mark>,
}

impl Span {
    /// One sample of the record `log`.
    pub fn of(log: u64, event: &SignalEvent) -> Span {
        let t = event.t.0;
        let mark = event.value.map(|value| Mark { seq: event.seq, t, value, anomaly: event.anomaly });
        Span {
            log: (log, log),
            seq: (event.seq, event.seq),
            t: (t, t),
            samples: 1,
            anomalies: u64::from(event.anomaly),
            min: mark,
            max: mark,
            odd: mark.filter(|mark| mark.anomaly),
        }
    }

    /// All samples of a record as one; none when it has none.
    pub fn of_record(log: u64, events: &[SignalEvent]) -> Option<Span> {
        events.iter().map(|event| Span::of(log, event)).reduce(Span::and)
    }

    /// Both together.
    pub fn and(self, other: Span) -> Span {
        let pick = |a: Option<Mark>, b: Option<Mark>, better: fn(&Mark, &Mark) -> bool| match (a, b) {
            (Some(a), Some(b)) => Some(if better(&b, &a) { b } else { a }),
            (a, b) => a.or(b),
        };
        Span {
            log: (self.log.0.min(other.log.0), self.log.1.max(other.log.1)),
            seq: (self.seq.0.min(other.seq.0), self.seq.1.max(other.seq.1)),
            t: (self.t.0.min(other.t.0), self.t.1.max(other.t.1)),
            samples: self.samples + other.samples,
            anomalies: self.anomalies + other.anomalies,
            min: pick(self.min, other.min, |b, a| b.value < a.value),
            max: pick(self.max, other.max, |b, a| b.value > a.value),
            odd: pick(self.odd, other.odd, |b, a| b.value > a.value),
        }
    }

    fn takes(&self, other: &Span) -> bool {
        let log = self.log.1.max(other.log.1) - self.log.0.min(other.log.0);
        self.samples + other.samples <= SPAN && log <= REACH
    }

    /// The samples it is drawn by, in order of their numbers.
    pub fn marks(&self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = [self.min, self.max, self.odd].into_iter().flatten().collect();
        marks.sort_by_key(|mark| mark.seq);
        marks.dedup_by_key(|mark| mark.seq);
        marks
    }
}

/// Which samples are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Numbers from this one on.
    pub since: u64,
    /// Numbers before this one.
    pub before: Option<u64>,
    /// From this time on, in wall milliseconds.
    pub from: Option<u64>,
    /// Up to this time.
    pub to: Option<u64>,
}

impl Range {
    /// Whether a sample is meant.
    pub fn has(&self, seq: u64, t: u64) -> bool {
        seq >= self.since
            && self.before.is_none_or(|before| seq < before)
            && self.from.is_none_or(|from| t >= from)
            && self.to.is_none_or(|to| t <= to)
    }

    fn has_all(&self, span: &Span) -> bool {
        self.has(span.seq.0, span.t.0) && self.has(span.seq.1, span.t.1)
    }

    fn has_some(&self, span: &Span) -> bool {
        span.seq.1 >= self.since
            && self.before.is_none_or(|before| span.seq.0 < before)
            && self.from.is_none_or(|from| span.t.1 >= from)
            && self.to.is_none_or(|to| span.t.0 <= to)
    }
}

/// See the module above.
#[derive(Debug, Default)]
pub struct Index {
    signals: BTreeMap<String, VecDeque<Span>>,
    spans: usize,
}

impl Index {
    /// Takes in a record that came after all that are known of its signal.
    pub fn add(&mut self, id: &str, span: Span) {
        let spans = self.of(id);
        match spans.back_mut() {
            Some(last) if last.log.1 >= span.log.0 => return,
            Some(last) if last.takes(&span) => return *last = last.and(span),
            _ => spans.push_back(span),
        }
        self.spans += 1;
        while self.spans > limits::SIGNAL_SPANS {
            let oldest = self.signals.iter_mut().min_by_key(|(_, s)| s.front().map_or(u64::MAX, |s| s.log.0));
            if oldest.and_then(|(_, spans)| spans.pop_front()).is_none() {
                return;
            }
            self.spans -= 1;
        }
    }

    /// Takes in a record from before all that are known of its signal; false when there is no more room for what is old.
    pub fn add_earlier(&mut self, id: &str, span: Span) -> bool {
        if self.spans >= limits::SIGNAL_SPANS {
            return false;
        }
        let spans = self.of(id);
        match spans.front_mut() {
            Some(first) if first.log.0 <= span.log.1 => return true,
            Some(first) if first.takes(&span) => *first = span.and(*first),
            _ => {
                spans.push_front(span);
                self.spans += 1;
            }
        }
        true
    }

    fn of(&mut self, id: &str) -> &mut VecDeque<Span> {
        if !self.signals.contains_key(id) {
            self.signals.insert(id.to_string(), VecDeque::new());
        }
        self.signals.entry(id.to_string()).or_default()
    }

    /// Forgets what retention has removed.
    pub fn forget_through(&mut self, floor: u64) {
        for spans in self.signals.values_mut() {
            while spans.front().is_some_and(|span| span.log.0 <= floor) {
                spans.pop_front();
                self.spans -= 1;
            }
        }
        self.signals.retain(|_, spans| !spans.is_empty());
    }

    /// The spans that have something of what is meant, the oldest first, each with whether all of it is meant.
    pub fn select(&self, id: &str, range: &Range) -> Vec<(Span, bool)> {
        let spans = self.signals.get(id).into_iter().flatten();
        spans.filter(|span| range.has_some(span)).map(|span| (*span, range.has_all(span))).collect()
    }
}

/// So many spans joined that at most about `points` marks are left; each keeps its least, its greatest and an anomaly.
pub fn condense(spans: &[Span], points: usize) -> Vec<Mark> {
    // Anomalies come on top: they are few.
    let together = spans.len().saturating_mul(2).div_ceil(points.max(2)).max(1);
    let groups = spans.chunks(together);
    groups.filter_map(|group| group.iter().copied().reduce(Span::and)).flat_map(|span| span.marks()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use proptest::prelude::*;

    fn event(seq: u64, value: f64) -> SignalEvent {
        let anomaly = value > 90.0;
        SignalEvent { seq, t: Wall(seq * 10), value: Some(value), anomaly, z: None, quality: None }
    }

    fn record(log: u64, from: u64, count: u64) -> Span {
        let events: Vec<_> = (from..from + count).map(|n| event(n, (n % 50) as f64)).collect();
        Span::of_record(log, &events).unwrap()
    }

    #[test]
    fn the_same_is_known_whichever_way_it_was_read() {
        let (mut forward, mut backward) = (Index::default(), Index::default());
        (0..50).for_each(|n| forward.add("a", record(n + 1, n * 30, 30)));
        (0..50).rev().for_each(|n| assert!(backward.add_earlier("a", record(n + 1, n * 30, 30))));
        for index in [&forward, &backward] {
            let spans = index.select("a", &Range::default());
            assert_eq!(spans.iter().map(|(s, _)| s.samples).sum::<u64>(), 1_500);
            assert!(
                spans.len() <= 17 && spans.windows(2).all(|w| w[0].0.log.1 < w[1].0.log.0),
                "{}",
                spans.len()
            );
        }
        // What was read back already is not taken twice.
        forward.add("a", record(50, 1_470, 30));
        assert!(forward.add_earlier("a", record(1, 0, 30)));
        assert_eq!(forward.select("a", &Range::default()).iter().map(|(s, _)| s.samples).sum::<u64>(), 1_500);
        assert!(forward.select("b", &Range::default()).is_empty());
    }

    #[test]
    fn a_part_of_a_span_is_told_from_the_whole() {
        let mut index = Index::default();
        (0..10).for_each(|n| index.add("a", record(n + 1, n * 100, 100)));
        let at = |range: Range| index.select("a", &range).iter().map(|(_, whole)| *whole).collect::<Vec<_>>();
        assert_eq!(
            at(Range { from: Some(1_500), to: Some(4_990), ..Range::default() }),
            [false, true, true, true]
        );
        assert_eq!(at(Range { since: 850, ..Range::default() }), [false, true]);
        assert_eq!(at(Range { before: Some(100), ..Range::default() }), [true]);
        assert_eq!(at(Range { from: Some(99_999), ..Range::default() }), [false; 0]);
    }

    #[test]
    fn what_retention_removed_is_forgotten() {
        let mut index = Index::default();
        (0..10).for_each(|n| index.add("a", record(n + 1, n * 100, 100)));
        index.forget_through(4);
        assert_eq!(index.select("a", &Range::default()).len(), 6);
        index.forget_through(100);
        assert!(index.signals.is_empty() && index.spans == 0);
    }

    proptest! {
        #[test]
        fn no_peak_is_lost_and_the_number_is_bounded(values in proptest::collection::vec(-100.0..100.0_f64, 1..400), points in 2..100_usize) {
            let spans: Vec<_> = values.iter().enumerate().map(|(n, v)| Span::of(n as u64, &event(n as u64, *v))).collect();
            let marks = condense(&spans, points);
            let odd = marks.iter().filter(|m| m.anomaly).count();
            prop_assert!(marks.len() <= points + 2 + odd, "{} of {points}", marks.len());
            let most = |of: &mut dyn Iterator<Item = f64>| of.fold(f64::MIN, f64::max);
            prop_assert_eq!(most(&mut marks.iter().map(|m| m.value)), most(&mut values.iter().copied()));
            prop_assert!(marks.windows(2).all(|w| w[0].seq < w[1].seq));
        }
    }
}
