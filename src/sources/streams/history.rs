//! What a stream was: the newest ticks one by one, and before them the least and the greatest of every ten seconds.
//! Pure.
//!
//! **Bounds.** So many ticks and so many buckets of each stream, the oldest go first and are counted; a full one of
//! each takes some 500 KB.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ticks kept one by one.
pub const TICKS: usize = 20_000;
/// Buckets of [`BUCKET_MS`]: a day.
pub const BUCKETS: usize = 8_640;
/// The length of a bucket.
pub const BUCKET_MS: u64 = 10_000;
/// Buckets are kept by the hour.
pub const HOUR_MS: u64 = 3_600_000;
/// Hours of which it is remembered that they changed; the oldest are left out.
const CHANGED: usize = 48;
/// Bytes of a bucket as it is kept.
const BUCKET_BYTES: usize = 8 + 4 + 3 * 8;

/// Values of a span of time.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Bucket {
    /// When it begins, in wall milliseconds.
    pub t: u64,
    /// How many values.
    pub n: u32,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The last.
    pub last: f64,
}

impl Bucket {
    fn of(t: u64, value: f64) -> Bucket {
        Bucket { t, n: 1, min: value, max: value, last: value }
    }

    fn join(&mut self, other: &Bucket) {
        self.t = self.t.min(other.t);
        self.n = self.n.saturating_add(other.n);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.last = other.last;
    }
}

/// See the module above.
#[derive(Clone, Debug, Default)]
pub struct History {
    ticks: VecDeque<(u64, f64)>,
    buckets: VecDeque<Bucket>,
    /// Ticks since the start.
    pub count: u64,
    /// Ticks that are no longer there one by one.
    pub left: u64,
    /// Hours since 1970 that got a value since they were taken; so many that a day and its change have room.
    changed: BTreeSet<u64>,
}

impl History {
    /// Takes a value of `t`, in wall milliseconds. Values of before the newest are taken as they come: a clock may step.
    pub fn add(&mut self, t: u64, value: f64) {
        self.count += 1;
        if self.ticks.len() >= TICKS {
            self.ticks.pop_front();
            self.left += 1;
        }
        self.ticks.push_back((t, value));
        self.change(t / HOUR_MS);
        let begin = t - t % BUCKET_MS;
        match self.buckets.back_mut() {
            Some(bucket) if bucket.t == begin => bucket.join(&Bucket::of(begin, value)),
            _ => {
                if self.buckets.len() >= BUCKETS {
                    self.buckets.pop_front();
                }
                self.buckets.push_back(Bucket::of(begin, value));
            }
        }
    }

    /// What was from `from` to `to`, in at most about `points` spans, the oldest first: every peak is in it. From the ticks
    /// where they reach back far enough, else from the buckets.
    pub fn window(&self, from: u64, to: u64, points: usize) -> Vec<Bucket> {
        let span = (to.saturating_sub(from) / points.max(1) as u64).max(1);
        let reach = self.ticks.front().map_or(u64::MAX, |(t, _)| *t);
        let fine =
            reach <= from || self.buckets.front().is_none_or(|b| b.t.saturating_add(BUCKET_MS) > reach);
        // By their place, as times need not come in order.
        let mut out: BTreeMap<u64, Bucket> = BTreeMap::new();
        let mut add = |bucket: Bucket| {
            if !(from..=to).contains(&bucket.t) {
                return;
            }
            out.entry((bucket.t - from) / span).and_modify(|there| there.join(&bucket)).or_insert(bucket);
        };
        if fine {
            self.ticks.iter().for_each(|(t, value)| add(Bucket::of(*t, *value)));
        } else {
            self.buckets.iter().for_each(|bucket| add(*bucket));
        }
        out.into_values().collect()
    }

    /// This hour since 1970 is to be kept.
    pub fn change(&mut self, hour: u64) {
        self.changed.insert(hour);
        if self.changed.len() > CHANGED {
            self.changed.pop_first();
        }
    }

    /// The hours since 1970 that got a value since this was last asked.
    pub fn take_changed(&mut self) -> BTreeSet<u64> {
        std::mem::take(&mut self.changed)
    }

    /// The hours since 1970 that the newest buckets are in, at most `most` different ones: what is worth keeping. By arrival, not by
    /// time, so that one message with a time far off pushes nothing out.
    pub fn hours(&self, most: usize) -> BTreeSet<u64> {
        let mut hours = BTreeSet::new();
        for bucket in self.buckets.iter().rev() {
            hours.insert(bucket.t / HOUR_MS);
            if hours.len() >= most {
                break;
            }
        }
        hours
    }

    /// Times of the oldest and the newest value.
    pub fn reach(&self) -> Option<(u64, u64)> {
        let oldest = self.buckets.front()?.t.min(self.ticks.front().map_or(u64::MAX, |(t, _)| *t));
        Some((oldest, self.ticks.back().map_or(self.buckets.back()?.t, |(t, _)| *t)))
    }

    /// Values of the last `points` ticks, for a sparkline.
    pub fn newest(&self, points: usize) -> Vec<(u64, f64)> {
        self.ticks.iter().skip(self.ticks.len().saturating_sub(points)).copied().collect()
    }

    /// The buckets that begin in `from..to` as bytes: `t u64 | n u32 | min f64 | max f64 | last f64` each, little-endian.
    pub fn bytes_between(&self, from: u64, to: u64) -> Vec<u8> {
        let mut out = Vec::new();
        for bucket in self.buckets.iter().filter(|bucket| (from..to).contains(&bucket.t)) {
            out.extend(bucket.t.to_le_bytes());
            out.extend(bucket.n.to_le_bytes());
            for value in [bucket.min, bucket.max, bucket.last] {
                out.extend(value.to_le_bytes());
            }
        }
        out
    }

    /// The same read back; what makes no sense is left out.
    pub fn from_bytes(bytes: &[u8]) -> History {
        let eight = |b: &[u8], at: usize| b.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok());
        let read = |b: &[u8]| {
            let number = |at| eight(b, at).map(f64::from_le_bytes).filter(|v| v.is_finite());
            Some(Bucket {
                t: u64::from_le_bytes(eight(b, 0)?),
                n: u32::from_le_bytes(b.get(8..12)?.try_into().ok()?),
                min: number(12)?,
                max: number(20)?,
                last: number(28)?,
            })
        };
        let all: VecDeque<Bucket> = bytes.chunks_exact(BUCKET_BYTES).filter_map(read).collect();
        let skip = all.len().saturating_sub(BUCKETS);
        History { buckets: all.into_iter().skip(skip).collect(), ..History::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn peaks_survive_and_the_window_is_bounded() {
        let mut history = History::default();
        for n in 0..10_000_u64 {
            history.add(n * 100, if n == 5_003 { 99.0 } else { (n % 7) as f64 });
        }
        let window = history.window(0, 1_000_000, 100);
        assert!(window.len() <= 101, "{}", window.len());
        assert_eq!(window.iter().map(|b| b.n).sum::<u32>(), 10_000);
        assert_eq!(window.iter().filter(|b| b.max == 99.0).count(), 1);
        assert_eq!(history.window(500_300, 500_300, 10).len(), 1);
    }

    /// Times that went to and fro gave a span for each of them, in any order: a chart of 20,000 points going backwards.
    #[test]
    fn times_out_of_order_are_put_in_order_and_stay_bounded() {
        let mut history = History::default();
        for n in 0..1_000_u64 {
            history.add(if n % 2 == 0 { 100_000 + n } else { 50_000 + n }, n as f64);
        }
        let window = history.window(0, 200_000, 10);
        assert!(window.len() <= 11, "{}", window.len());
        assert!(window.is_sorted_by_key(|b| b.t), "{window:?}");
        assert_eq!(window.iter().map(|b| b.n).sum::<u32>(), 1_000);
    }

    #[test]
    fn one_time_far_off_pushes_no_hour_out() {
        let mut history = History::default();
        (0..10).for_each(|hour| history.add(hour * HOUR_MS, 1.0));
        history.add(9_999 * HOUR_MS, 1.0);
        history.add(10 * HOUR_MS, 1.0);
        assert_eq!(history.hours(12).len(), 12);
        assert_eq!(history.hours(3), [9, 10, 9_999].into());
    }

    #[test]
    fn what_is_older_than_the_ticks_comes_from_the_buckets() {
        let mut history = History::default();
        for n in 0..(TICKS as u64 * 2) {
            history.add(n * 1_000, n as f64);
        }
        assert_eq!((history.left, history.count), (TICKS as u64, TICKS as u64 * 2));
        let all = history.window(0, u64::MAX / 2, 4);
        assert_eq!(all.iter().map(|b| b.n as usize).sum::<usize>(), TICKS * 2);
        let again = History::from_bytes(&history.bytes_between(0, u64::MAX));
        assert_eq!(again.window(0, u64::MAX / 2, 4), all);
        assert_eq!(again.reach(), Some((0, (TICKS as u64 * 2 - 1) * 1_000 / BUCKET_MS * BUCKET_MS)));
    }

    proptest! {
        #[test]
        fn any_times_and_bytes_are_survived(values in proptest::collection::vec((0..u64::MAX / 2, -1e9..1e9_f64), 0..300), from: u32, span: u32, points in 0..50_usize, bytes: Vec<u8>) {
            let mut history = History::default();
            values.iter().for_each(|(t, v)| history.add(*t, *v));
            let _ = history.window(u64::from(from), u64::from(from) + u64::from(span), points);
            let _ = History::from_bytes(&bytes).window(0, u64::MAX / 2, points);
        }
    }
}
