//! How edges become records without becoming a flood of them: a pure machine. A few a second are records of their own;
//! as soon as there are more, all further ones are gathered and told together once a second, until a second has few
//! enough again. Every edge is in exactly one record or counted in one.

use crate::limits;
use std::time::Duration;

/// A second of edges.
const SECOND: Duration = Duration::from_secs(1);

/// Edges that are told together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Time of the first.
    pub first: Duration,
    /// Time of the last.
    pub last: Duration,
    /// How many.
    pub count: u32,
    /// How many of them were rising.
    pub rising: u32,
    /// Microseconds from the first, of the first so many.
    pub offsets_us: Vec<u32>,
}

/// See the module above.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// When the second began, and its edges.
    second: (Duration, u32),
    batch: Option<Batch>,
}

/// What becomes of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// To be published first: what was gathered before it.
    pub before: Option<Batch>,
    /// The edge is a record of its own.
    pub alone: bool,
}

impl Records {
    /// Takes an edge.
    pub fn edge(&mut self, high: bool, at: Duration) -> Told {
        let before = self.due(at);
        if at.saturating_sub(self.second.0) >= SECOND {
            self.second = (at, 0);
        }
        self.second.1 = self.second.1.saturating_add(1);
        if self.second.1 <= limits::GPIO_EDGES {
            return Told { before, alone: true };
        }
        let batch = self.batch.get_or_insert_with(|| Batch {
            first: at,
            last: at,
            count: 0,
            rising: 0,
            offsets_us: Vec::new(),
        });
        batch.last = at;
        batch.count = batch.count.saturating_add(1);
        batch.rising += u32::from(high);
        if batch.offsets_us.len() < limits::GPIO_BATCH_TIMES {
            let offset = at.saturating_sub(batch.first).as_micros();
            batch.offsets_us.push(u32::try_from(offset).unwrap_or(u32::MAX));
        }
        Told { before, alone: false }
    }

    /// When there is something to publish though no edge comes.
    pub fn deadline(&self) -> Option<Duration> {
        self.batch.as_ref().map(|_| self.second.0 + SECOND)
    }

    /// What was gathered, once its second is over.
    pub fn due(&mut self, now: Duration) -> Option<Batch> {
        if self.deadline().is_some_and(|due| now >= due) {
            let batch = self.batch.take();
            // After many the next second is gathered from its first edge on.
            let many = batch.as_ref().is_some_and(|b| b.count > limits::GPIO_EDGES);
            self.second = (now, if many { limits::GPIO_EDGES } else { 0 });
            return batch;
        }
        None
    }

    /// What was gathered, at the end.
    pub fn rest(&mut self) -> Option<Batch> {
        self.batch.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn us(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// Plays edges at these times; gives how many were alone and the batches.
    fn play(times: &[u64]) -> (u32, Vec<Batch>) {
        let mut records = Records::default();
        let (mut alone, mut batches) = (0, Vec::new());
        for (n, at) in times.iter().enumerate() {
            batches.extend(records.due(us(*at)));
            let told = records.edge(n % 2 == 0, us(*at));
            batches.extend(told.before);
            alone += u32::from(told.alone);
        }
        batches.extend(records.rest());
        (alone, batches)
    }

    #[test]
    fn few_are_alone_and_many_together() {
        let slow: Vec<u64> = (0..200).map(|n| 5_000_000 + n * 20_000).collect();
        assert_eq!(play(&slow), (200, vec![]));
        // 1 kHz for three seconds: the first few alone, then one record a second.
        let fast: Vec<u64> = (0..6_000).map(|n| 5_000_000 + n * 500).collect();
        let (alone, batches) = play(&fast);
        assert_eq!(alone, limits::GPIO_EDGES);
        assert_eq!(batches.iter().map(|b| b.count).sum::<u32>(), 6_000 - limits::GPIO_EDGES);
        assert_eq!(batches.len(), 3);
        assert_eq!(batches[1].offsets_us.len(), limits::GPIO_BATCH_TIMES);
        assert_eq!((batches[1].count, batches[1].rising, batches[1].offsets_us[2]), (2_000, 1_000, 1_000));
    }

    #[test]
    fn after_a_burst_they_are_alone_again() {
        let burst = u64::from(limits::GPIO_EDGES) * 3;
        let mut times: Vec<u64> = (0..burst).map(|n| 5_000_000 + n * 1_000).collect();
        times.extend((0..5).map(|n| 9_000_000 + n * 400_000));
        let (alone, batches) = play(&times);
        // The second after the burst is gathered still, those after it are not.
        assert_eq!(batches[0].count, 2 * limits::GPIO_EDGES);
        assert_eq!(alone + batches.iter().map(|b| b.count).sum::<u32>(), burst as u32 + 5);
        assert!(alone >= limits::GPIO_EDGES + 2, "{alone}");
    }

    proptest! {
        #[test]
        fn every_edge_is_told_once(gaps in proptest::collection::vec(0u64..400_000, 1..300)) {
            let mut now = 5_000_000;
            let times: Vec<u64> = gaps.iter().map(|gap| { now += gap; now }).collect();
            let (alone, batches) = play(&times);
            prop_assert_eq!(alone + batches.iter().map(|b| b.count).sum::<u32>(), times.len() as u32);
            prop_assert!(batches.iter().all(|b| b.offsets_us.len() <= limits::GPIO_BATCH_TIMES && b.rising <= b.count));
        }
    }
}
