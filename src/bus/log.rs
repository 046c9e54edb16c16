//! The log itself: ids, state, the hot end, and what waits for the disk.

use crate::clock::{Clock, ClockMemory, ClockQuality, Corrections, Stamp, Step, Wall};
use crate::limits;
use crate::metrics::Metrics;
use crate::model::{Class, Cursor, Draft, Event, SharedEvent, TopicFilter};
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the store knew when the bus was made.
#[derive(Debug, Default)]
pub struct Start {
    /// The epoch of this run, already persisted.
    pub epoch: u64,
    /// The last committed seq of the log.
    pub head: u64,
    /// The newest event of every state key.
    pub state: Vec<SharedEvent>,
    /// State keys that ended at or before this seq are no longer in `state`.
    pub forgotten: u64,
    /// Idempotency keys and the cursor each led to, oldest first.
    pub remembered: Vec<(String, u64)>,
    /// What the last run knew of the clock.
    pub clock: Option<ClockMemory>,
}

/// What came of publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The id of the last event; the head when nothing was new.
    pub cursor: Cursor,
    /// How many events were new.
    pub accepted: usize,
    /// How many had been published before.
    pub duplicates: usize,
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More waits for the disk than is allowed: 503, try later.
    Lagging,
    /// More state keys than are allowed: 507-like, but told as 422.
    TooManyKeys,
    /// The daemon is stopping.
    Stopping,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Lagging => "the store can't keep up; try again in a few seconds",
            Refused::TooManyKeys => "too many different ids; no new ones are taken",
            Refused::Stopping => "the daemon is stopping",
        })
    }
}
impl std::error::Error for Refused {}

/// A reader asked for events that are no longer in the hot log: read the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FellOut;

/// The whole state at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// The moment.
    pub cursor: Cursor,
    /// The newest event of every key that matches, in order of `seq`.
    pub state: Vec<SharedEvent>,
}

type Waker = Arc<dyn Fn() + Send + Sync>;

struct Inner {
    head: u64,
    committed: u64,
    /// `hot[i].cursor.seq == base + 1 + i`.
    base: u64,
    hot: VecDeque<SharedEvent>,
    hot_bytes: usize,
    /// Bytes of the events past `committed`.
    lag_bytes: usize,
    /// When the oldest event that waits for the disk was published.
    lag_since: Option<Instant>,
    lag_has_record: bool,
    urgent: bool,
    state: HashMap<Arc<str>, SharedEvent>,
    dirty: HashSet<Arc<str>>,
    /// State keys that have had their last value, oldest first.
    retired: VecDeque<(Arc<str>, u64)>,
    /// The seq of the newest last value that was dropped: who resumes from before it needs a snapshot.
    forgotten_through: u64,
    remembered: HashMap<String, u64>,
    remembered_order: VecDeque<String>,
    remembered_new: Vec<(String, u64)>,
    forgotten: Vec<String>,
    stopping: bool,
    stamp: (Wall, String),
}

/// See the module above.
pub struct Bus {
    epoch: u64,
    inner: Mutex<Inner>,
    to_writer: Condvar,
    durable: Condvar,
    wakers: Mutex<Arc<Vec<Waker>>>,
    time: Clock,
    /// Bytes that may wait for the disk.
    room: usize,
    /// The daemon's counters.
    pub metrics: Arc<Metrics>,
}

impl Bus {
    /// A bus that goes on where the store left off.
    pub fn new(start: Start, metrics: Arc<Metrics>) -> Self {
        let time = Clock::new(start.clock, start.head);
        let mut remembered_order = VecDeque::new();
        let mut remembered = HashMap::new();
        for (key, seq) in start.remembered {
            remembered_order.push_back(key.clone());
            remembered.insert(key, seq);
        }
        let mut retired: Vec<_> = start
            .state
            .iter()
            .filter(|e| e.is_retired())
            .filter_map(|e| Some((e.key.clone()?, e.cursor.seq)))
            .collect();
        retired.sort_by_key(|(_, seq)| *seq);
        let state = start.state.into_iter().filter_map(|e| e.key.clone().map(|k| (k, e))).collect();
        Bus {
            epoch: start.epoch,
            inner: Mutex::new(Inner {
                head: start.head,
                committed: start.head,
                base: start.head,
                hot: VecDeque::new(),
                hot_bytes: 0,
                lag_bytes: 0,
                lag_since: None,
                lag_has_record: false,
                urgent: false,
                state,
                dirty: HashSet::new(),
                retired: retired.into(),
                forgotten_through: start.forgotten,
                remembered,
                remembered_order,
                remembered_new: Vec::new(),
                forgotten: Vec::new(),
                stopping: false,
                stamp: (Wall(u64::MAX), String::new()),
            }),
            to_writer: Condvar::new(),
            durable: Condvar::new(),
            wakers: Mutex::default(),
            time,
            room: limits::LAG_BYTES,
            metrics,
        }
    }

    /// The same with another bound for what waits for the disk than [`limits::LAG_BYTES`].
    #[must_use]
    pub fn with_room(self, bytes: usize) -> Self {
        Bus { room: bytes, ..self }
    }

    /// Bytes that may wait for the disk.
    pub fn room(&self) -> usize {
        self.room
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Publishes one event.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was published then.
    pub fn publish(&self, draft: Draft) -> Result<Cursor, Refused> {
        self.publish_all(vec![draft], None).map(|p| p.cursor)
    }

    /// Publishes several events in one step: all or none, with ids that follow each other.
    ///
    /// With an idempotency `key` that was used before, nothing is published and the earlier cursor is given back.
    /// Events whose producer and number were seen before are left out one by one.
    ///
    /// # Errors
    /// See [`Refused`]; nothing was published then.
    pub fn publish_all(&self, drafts: Vec<Draft>, key: Option<&str>) -> Result<Published, Refused> {
        let mut accepted = 0;
        let cursor;
        let mut duplicates = 0;
        {
            let mut inner = self.lock();
            if let Some(seq) = key.and_then(|k| inner.remembered.get(k)) {
                return Ok(Published {
                    cursor: Cursor { epoch: self.epoch, seq: *seq },
                    accepted: 0,
                    duplicates: drafts.len(),
                });
            }
            if inner.stopping {
                return Err(Refused::Stopping);
            }
            if inner.lag_bytes > self.room {
                self.metrics.events_refused_total.add(drafts.len() as u64);
                return Err(Refused::Lagging);
            }
            let new_keys = drafts
                .iter()
                .filter(|d| d.key.as_ref().is_some_and(|k| !inner.state.contains_key(k)))
                .count();
            if new_keys > 0 && inner.state.len() + new_keys > limits::STATE_KEYS {
                self.metrics.events_refused_total.add(drafts.len() as u64);
                return Err(Refused::TooManyKeys);
            }
            // Under the lock: which events came before a step of the clock is then exact.
            let Stamp { now, unsynced } = self.time.stamp(inner.head, drafts.len() as u64);
            if inner.stamp.0 != now {
                inner.stamp = (now, now.rfc3339());
            }
            let stamp = std::mem::take(&mut inner.stamp.1);
            for draft in drafts {
                if let Some((producer, number)) = &draft.producer {
                    let name = format!("producer:{producer}");
                    if inner.remembered.get(&name).is_some_and(|last| number <= last) {
                        duplicates += 1;
                        continue;
                    }
                    inner.remember(name, *number);
                }
                accepted += 1;
                let id = Cursor { epoch: self.epoch, seq: inner.head + 1 };
                inner.append(draft, id, &stamp, unsynced);
            }
            inner.stamp.1 = stamp;
            cursor = Cursor { epoch: self.epoch, seq: inner.head };
            if let Some(key) = key {
                inner.remember(key.to_string(), cursor.seq);
            }
            inner.trim();
            if accepted > 0 {
                self.to_writer.notify_one();
            }
        }
        self.metrics.events_total.add(accepted as u64);
        if accepted > 0 {
            self.wake();
        }
        Ok(Published { cursor, accepted, duplicates })
    }

    fn wake(&self) {
        let wakers = Arc::clone(&self.wakers.lock().unwrap_or_else(|e| e.into_inner()));
        for waker in wakers.iter() {
            waker();
        }
    }

    /// Has `waker` called after every publish, outside the lock. It must not block.
    pub fn on_publish(&self, waker: impl Fn() + Send + Sync + 'static) {
        let waker: Waker = Arc::new(waker);
        let mut wakers = self.wakers.lock().unwrap_or_else(|e| e.into_inner());
        // A new list: a publish that is under way goes on with the one it has.
        *wakers = wakers.iter().cloned().chain([waker]).collect::<Vec<_>>().into();
    }

    /// The id of the newest event.
    pub fn head(&self) -> Cursor {
        Cursor { epoch: self.epoch, seq: self.lock().head }
    }

    /// The epoch of this run.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The seq up to which everything is on the disk.
    pub fn committed(&self) -> u64 {
        self.lock().committed
    }

    /// Whether the wall clock is synchronised.
    pub fn clock(&self) -> ClockQuality {
        self.time.quality()
    }

    /// The clock that events are stamped with.
    pub fn time(&self) -> &Clock {
        &self.time
    }

    /// Looks at the clock: once a second, by the daemon, so that a step is noticed although nothing is published. Gives
    /// the steps since the last look.
    pub fn watch_clock(&self) -> Vec<Step> {
        self.time.look();
        let inner = self.lock();
        self.time.stamp(inner.head, 0);
        drop(inner);
        self.time.take_steps()
    }

    /// Events after `seq`, oldest first, at most `most`, straight from memory.
    ///
    /// # Errors
    /// [`FellOut`] when the oldest of them is only in the store.
    pub fn after(&self, seq: u64, most: usize) -> Result<Vec<SharedEvent>, FellOut> {
        let inner = self.lock();
        let skip = seq.checked_sub(inner.base).ok_or(FellOut)? as usize;
        Ok(inner.hot.iter().skip(skip).take(most).cloned().collect())
    }

    /// The state that matches, at one moment.
    pub fn snapshot(&self, filter: &TopicFilter) -> Snapshot {
        let inner = self.lock();
        let mut state: Vec<_> =
            inner.state.values().filter(|e| filter.matches(e.topic.as_str(), e.global)).cloned().collect();
        let cursor = Cursor { epoch: self.epoch, seq: inner.head };
        drop(inner);
        state.sort_by_key(|e| e.cursor.seq);
        Snapshot { cursor, state }
    }

    /// The newest values of state keys that changed in `after < seq <= through`, in order.
    pub fn state_between(&self, after: u64, through: u64, filter: &TopicFilter) -> Vec<SharedEvent> {
        let inner = self.lock();
        let mut state: Vec<_> = inner
            .state
            .values()
            .filter(|e| e.class == Class::State && e.cursor.seq > after && e.cursor.seq <= through)
            .filter(|e| filter.matches(e.topic.as_str(), e.global))
            .cloned()
            .collect();
        drop(inner);
        state.sort_by_key(|e| e.cursor.seq);
        state
    }

    /// Those of `events` that a resuming reader gets: records, and state that nothing newer has replaced.
    pub fn only_newest(&self, events: &mut Vec<SharedEvent>) {
        let inner = self.lock();
        events.retain(|e| {
            e.class == Class::Record
                || e.key
                    .as_ref()
                    .and_then(|k| inner.state.get(k))
                    .is_some_and(|newest| newest.cursor == e.cursor)
        });
    }

    /// The newest event of one state key, such as `recorder_status/rec1`.
    pub fn state_of(&self, key: &str) -> Option<SharedEvent> {
        self.lock().state.get(key).cloned()
    }

    /// State that ended at or before this seq has been dropped: who resumes from before it needs a snapshot.
    pub fn forgotten_through(&self) -> u64 {
        self.lock().forgotten_through
    }

    /// Waits until everything up to `seq` is on the disk; false when that took longer than `time`.
    pub fn wait_durable(&self, seq: u64, time: Duration) -> bool {
        let mut inner = self.lock();
        inner.urgent = true;
        self.to_writer.notify_one();
        let (inner, _) = self
            .durable
            .wait_timeout_while(inner, time, |inner| inner.committed < seq)
            .unwrap_or_else(|e| e.into_inner());
        inner.committed >= seq
    }

    /// No more events are taken; what waits for the disk is written as soon as may be.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.to_writer.notify_all();
        self.wake();
    }

    // ---- for the store's writer ----

    /// Waits until it is time for a commit: `window` after the first record that waits, `state_window` after the
    /// first change of state alone, at once when something is urgent. Gives nothing when stopping and all is written.
    pub(crate) fn next_batch(&self, window: Duration, state_window: Duration) -> Option<Batch> {
        let mut inner = self.lock();
        loop {
            if let Some(since) = inner.lag_since {
                let due = if inner.urgent || inner.stopping || inner.lag_bytes > self.room / 8 {
                    Duration::ZERO
                } else if inner.lag_has_record {
                    window
                } else {
                    state_window
                };
                let waited = since.elapsed();
                if waited >= due {
                    return Some(inner.take(self.epoch, &self.time));
                }
                inner = self.to_writer.wait_timeout(inner, due - waited).unwrap_or_else(|e| e.into_inner()).0;
            } else if inner.stopping {
                return None;
            } else {
                inner = self.to_writer.wait(inner).unwrap_or_else(|e| e.into_inner());
            }
        }
    }

    /// The batch is on the disk.
    pub(crate) fn committed_through(&self, seq: u64) {
        let mut inner = self.lock();
        let from = (inner.committed - inner.base) as usize;
        let count = (seq - inner.committed) as usize;
        let bytes: usize = inner.hot.iter().skip(from).take(count).map(|e| e.bytes()).sum();
        inner.lag_bytes = inner.lag_bytes.saturating_sub(bytes);
        inner.committed = seq;
        inner.trim();
        drop(inner);
        self.durable.notify_all();
    }

    /// The batch could not be written: its state is dirty again, its events still wait. True when stopping.
    pub(crate) fn not_committed(&self, batch: Batch) -> bool {
        let mut inner = self.lock();
        for (key, _) in batch.state {
            inner.dirty.insert(key);
        }
        let mut remembered = batch.remembered;
        remembered.append(&mut inner.remembered_new);
        inner.remembered_new = remembered;
        let mut forgotten = batch.forgotten;
        forgotten.append(&mut inner.forgotten);
        inner.forgotten = forgotten;
        if batch.clock.is_some() {
            self.time.not_remembered();
        }
        inner.lag_since = Some(batch.since);
        inner.lag_has_record = true;
        inner.stopping
    }
}

/// What one commit writes.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Everything published up to here is in this batch or an earlier one.
    pub through: Cursor,
    /// See [`Bus::forgotten_through`].
    pub forgotten_through: u64,
    /// The records, in order.
    pub records: Vec<SharedEvent>,
    /// State keys that changed: the newest event, or none when the key is gone.
    pub state: Vec<(Arc<str>, Option<SharedEvent>)>,
    /// New idempotency keys.
    pub remembered: Vec<(String, u64)>,
    /// Idempotency keys that are forgotten.
    pub forgotten: Vec<String>,
    /// What is newly known of the clock: of all events up to `through`.
    pub clock: Option<ClockMemory>,
    /// What is known of events that were published before the clock was set.
    pub corrections: Arc<Corrections>,
    /// When the oldest of all this was published.
    pub since: Instant,
}

impl Inner {
    fn append(&mut self, draft: Draft, id: Cursor, stamp: &str, unsynced: bool) {
        self.urgent |= draft.urgent;
        let event = Arc::new(Event::publish(draft, id, stamp, unsynced));
        self.head = id.seq;
        if let Some(key) = &event.key {
            if event.class == Class::Record && event.open == Some(false) {
                self.state.remove(key);
            } else {
                self.state.insert(Arc::clone(key), Arc::clone(&event));
            }
            self.dirty.insert(Arc::clone(key));
            if event.is_retired() {
                self.retired.push_back((Arc::clone(key), id.seq));
                self.forget_retired();
            }
        }
        self.lag_has_record |= event.class == Class::Record;
        self.lag_since.get_or_insert_with(Instant::now);
        self.hot_bytes += event.bytes();
        self.lag_bytes += event.bytes();
        self.hot.push_back(event);
    }

    fn remember(&mut self, key: String, seq: u64) {
        if self.remembered.insert(key.clone(), seq).is_none() {
            self.remembered_order.push_back(key.clone());
            if self.remembered_order.len() > limits::IDEMPOTENCY_KEYS
                && let Some(oldest) = self.remembered_order.pop_front()
            {
                self.remembered.remove(&oldest);
                self.forgotten.push(oldest);
            }
        }
        self.remembered_new.push((key, seq));
    }

    /// Ended jobs and scans are part of the state for a while, so that who was away sees how they ended.
    fn forget_retired(&mut self) {
        while self.retired.len() > limits::RETIRED
            && let Some((key, seq)) = self.retired.pop_front()
        {
            // One that began again is not ended.
            if self.state.get(&key).is_some_and(|e| e.cursor.seq == seq) {
                self.state.remove(&key);
                self.dirty.insert(key);
                self.forgotten_through = seq;
            }
        }
    }

    fn trim(&mut self) {
        while self.hot_bytes > limits::HOT_BYTES
            && self.hot.front().is_some_and(|oldest| oldest.cursor.seq <= self.committed)
            && let Some(oldest) = self.hot.pop_front()
        {
            self.hot_bytes -= oldest.bytes();
            self.base = oldest.cursor.seq;
        }
    }

    fn take(&mut self, epoch: u64, time: &Clock) -> Batch {
        let skip = (self.committed - self.base) as usize;
        let records = self.hot.iter().skip(skip).filter(|e| e.class == Class::Record).cloned().collect();
        let dirty: Vec<_> = self.dirty.drain().collect();
        let state = dirty.into_iter().map(|key| {
            let newest = self.state.get(&key).cloned();
            (key, newest)
        });
        let batch = Batch {
            through: Cursor { epoch, seq: self.head },
            forgotten_through: self.forgotten_through,
            records,
            state: state.collect(),
            remembered: std::mem::take(&mut self.remembered_new),
            forgotten: std::mem::take(&mut self.forgotten),
            clock: time.take_memory(),
            corrections: time.corrections(),
            since: self.lag_since.take().unwrap_or_else(Instant::now),
        };
        self.lag_has_record = false;
        self.urgent = false;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Duration = Duration::ZERO;

    fn bus() -> Bus {
        Bus::new(Start { epoch: 7, head: 100, ..Start::default() }, Arc::new(Metrics::default()))
    }

    fn note(n: u64) -> Draft {
        Draft::checked("note", Some("app/x"), json!({ "n": n })).unwrap()
    }

    fn job(id: &str, progress: f64) -> Draft {
        let status = json!({ "job_id": id, "kind": "encode", "status": "running", "progress": progress });
        Draft::checked("job_status", None, status).unwrap()
    }

    fn alert(id: &str, state: &str) -> Draft {
        let alert = json!({ "alert_id": id, "occurrence": 1, "severity": "MAJOR", "state": state, "message": "hot", "raised_at": "2026-01-07T15:30:00.000Z" });
        Draft::checked("alert", None, alert).unwrap()
    }

    #[test]
    fn ids_are_dense_and_go_on_from_the_store() {
        let bus = bus();
        assert_eq!(bus.publish(note(1)).unwrap(), Cursor { epoch: 7, seq: 101 });
        let published = bus.publish_all(vec![note(2), job("a", 0.5), note(3)], None).unwrap();
        assert_eq!(
            published,
            Published { cursor: Cursor { epoch: 7, seq: 104 }, accepted: 3, duplicates: 0 }
        );
        let seqs: Vec<u64> = bus.after(100, 99).unwrap().iter().map(|e| e.cursor.seq).collect();
        assert_eq!(seqs, [101, 102, 103, 104]);
        assert_eq!(bus.after(99, 1).unwrap_err(), FellOut);
        assert!(bus.after(104, 99).unwrap().is_empty());
    }

    #[test]
    fn ids_are_assigned_in_the_order_they_become_visible() {
        let bus = Arc::new(bus());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let bus = Arc::clone(&bus);
                std::thread::spawn(move || {
                    for n in 0..500 {
                        let mine = bus.publish(note(n)).unwrap();
                        // Whoever is told n can get everything up to n.
                        assert!(bus.after(100, usize::MAX).unwrap().len() as u64 >= mine.seq - 100);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let seqs: Vec<u64> = bus.after(100, usize::MAX).unwrap().iter().map(|e| e.cursor.seq).collect();
        assert_eq!(seqs, (101..=2_100).collect::<Vec<_>>());
    }

    /// Somebody who asked to be woken while a publish was under way made the bus forget those who had asked before.
    #[test]
    fn whoever_asked_to_be_woken_is_woken() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let bus = Arc::new(bus());
        let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (calls, late, inner) = (Arc::clone(&first), Arc::clone(&second), Arc::downgrade(&bus));
        bus.on_publish(move || {
            if calls.fetch_add(1, Ordering::Relaxed) == 0 {
                let late = Arc::clone(&late);
                inner.upgrade().unwrap().on_publish(move || {
                    late.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        bus.publish(note(1)).unwrap();
        bus.publish(note(2)).unwrap();
        assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (2, 1));
    }

    #[test]
    fn state_is_folded_and_written_once_a_commit() {
        let bus = bus();
        for n in 0..50 {
            bus.publish(job("a", f64::from(n) / 50.0)).unwrap();
        }
        bus.publish(note(1)).unwrap();
        let snapshot = bus.snapshot(&TopicFilter::default());
        assert_eq!(snapshot.cursor.seq, 151);
        assert_eq!(snapshot.state.len(), 1);
        let batch = bus.next_batch(NOW, NOW).unwrap();
        assert_eq!((batch.records.len(), batch.state.len(), batch.through.seq), (1, 1, 151));
        bus.committed_through(151);
        assert_eq!(bus.committed(), 151);
    }

    #[test]
    fn an_alert_is_state_until_it_is_closed() {
        let bus = bus();
        for (state, open) in [("active", 1), ("acknowledged", 1), ("closed", 0)] {
            bus.publish(alert("a", state)).unwrap();
            assert_eq!(bus.snapshot(&TopicFilter::default()).state.len(), open, "{state}");
        }
        let batch = bus.next_batch(Duration::from_secs(60), Duration::from_secs(60)).unwrap();
        assert_eq!(batch.records.len(), 3, "each is a record too, and is committed at once");
        assert!(batch.state[0].1.is_none(), "the row goes");
    }

    #[test]
    fn what_has_ended_stays_for_a_while() {
        let bus = bus();
        for n in 0..limits::RETIRED as u64 + 2 {
            bus.publish(job(&n.to_string(), 1.0).retired()).unwrap();
        }
        bus.publish(job("0", 0.5)).unwrap();
        assert_eq!(
            bus.snapshot(&TopicFilter::default()).state.len(),
            limits::RETIRED + 1,
            "the last ones and that which began again"
        );
        assert_eq!(bus.forgotten_through(), 102);
        assert!(
            bus.state_between(100, 200, &TopicFilter::default()).iter().any(|e| e.is_retired()),
            "who was away is told"
        );
    }

    #[test]
    fn a_retry_is_not_published_twice() {
        let bus = bus();
        let first = bus.publish_all(vec![note(1), note(2)], Some("k")).unwrap();
        let again = bus.publish_all(vec![note(1), note(2)], Some("k")).unwrap();
        assert_eq!((again.cursor, again.accepted, again.duplicates), (first.cursor, 0, 2));
        for n in [1, 2, 2, 1, 3] {
            bus.publish(note(n).by("p", n)).unwrap();
        }
        assert_eq!(bus.head().seq, 105);
        // And not after a restart either.
        let batch = bus.next_batch(NOW, NOW).unwrap();
        let start = Start {
            epoch: 8,
            head: batch.through.seq,
            state: Vec::new(),
            remembered: batch.remembered,
            ..Start::default()
        };
        let bus = Bus::new(start, Arc::new(Metrics::default()));
        assert_eq!(bus.publish_all(vec![note(1)], Some("k")).unwrap().accepted, 0);
        assert_eq!(bus.publish_all(vec![note(3).by("p", 3), note(4).by("p", 4)], None).unwrap().accepted, 1);
    }

    #[test]
    fn idempotency_keys_are_bounded() {
        let bus = bus();
        for n in 0..limits::IDEMPOTENCY_KEYS as u64 + 10 {
            bus.publish_all(vec![note(n)], Some(&n.to_string())).unwrap();
        }
        assert_eq!(bus.publish_all(vec![note(0)], Some("0")).unwrap().accepted, 1, "the oldest is forgotten");
        assert_eq!(bus.publish_all(vec![note(0)], Some("100")).unwrap().accepted, 0);
        assert!(!bus.next_batch(NOW, NOW).unwrap().forgotten.is_empty());
    }

    #[test]
    fn what_waits_for_the_disk_stays_and_what_is_there_goes() {
        what_waits_stays(bus(), limits::LAG_BYTES);
        what_waits_stays(bus().with_room(limits::LAG_LEAST), limits::LAG_LEAST);
    }

    fn what_waits_stays(bus: Bus, room: usize) {
        assert_eq!(bus.room(), room);
        let big = || Draft::checked("note", Some("app/x"), json!({ "pad": "x".repeat(60_000) })).unwrap();
        let most = room / 60_000 + 2;
        let refused = (0..most).find(|_| bus.publish(big()).is_err());
        assert!(
            refused.is_some_and(|n| n + 2 > room / 61_000),
            "publishing is refused when too much waits: {refused:?}"
        );
        assert!(bus.after(100, 1).is_ok(), "nothing that waits is dropped");
        let batch = bus.next_batch(NOW, NOW).unwrap();
        bus.committed_through(batch.through.seq);
        assert_eq!(bus.after(100, 1).unwrap_err(), FellOut, "what is on the disk makes room");
        bus.publish(note(1)).unwrap();
    }

    #[test]
    fn state_keys_are_bounded() {
        let bus = bus();
        let many: Vec<_> = (0..limits::STATE_KEYS).map(|n| job(&n.to_string(), 0.0)).collect();
        bus.publish_all(many, None).unwrap();
        assert_eq!(bus.publish(job("one-more", 0.0)), Err(Refused::TooManyKeys));
        bus.publish(job("1", 0.5)).unwrap();
    }

    #[test]
    fn a_batch_that_failed_comes_again() {
        let bus = bus();
        bus.publish(job("a", 0.1)).unwrap();
        bus.publish(note(1)).unwrap();
        let batch = bus.next_batch(NOW, NOW).unwrap();
        assert!(!bus.not_committed(batch));
        bus.publish(note(2)).unwrap();
        let batch = bus.next_batch(NOW, NOW).unwrap();
        assert_eq!((batch.records.len(), batch.state.len()), (2, 1));
        bus.stop();
        assert!(bus.not_committed(batch), "says that it is stopping");
        assert_eq!(bus.publish(note(3)), Err(Refused::Stopping));
    }
}
