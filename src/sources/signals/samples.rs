//! Reading samples back: the newest from memory, older ones by an index of the log.
//!
//! Owns: the index. Promises: what is condensed keeps every least, greatest and some anomaly of each part, and counts of a range
//! are exact. **Threads.** One, `samples`: it follows the log, and reads back what was there before the start, the newest first.
//! **Bounds.** In `index`; one answer reads `READ` records of the log at most, else it is made of spans.

use super::index::{Index, Range, Span, condense};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::limits;
use crate::model::{SignalBatch, SignalEvent};
use crate::sources::Context;
use crate::sources::follow::Follower;
use crate::store::{self, Search, Searched, Store, StoreError};
use crate::threads::{self, Stop};
use serde::{Deserialize, Serialize};
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

/// Samples that are read one by one for a condensed answer; more are taken from the index.
const EXACT: u64 = 8_192;
/// Records of the log that an answer looks through for them.
const READ: u64 = 10_000;

/// See the module above.
pub struct Samples {
    bus: Arc<Bus>,
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    index: Index,
    /// Everything that there is room for has been read.
    loaded: bool,
}

/// Which samples are asked for.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Wanted {
    pub range: Range,
    /// At most so many, the newest.
    pub limit: usize,
    /// All of the range, condensed to about so many.
    pub points: Option<usize>,
}

/// Samples of one signal.
#[derive(Clone, Debug, Default, Serialize)]
#[allow(missing_docs)]
pub struct Page {
    /// The oldest first.
    pub events: Vec<SignalEvent>,
    /// Earlier ones are before this number; none when there are no more.
    pub next: Option<u64>,
    /// Samples that these events are or stand for, and how many of them are anomalies.
    pub samples: u64,
    pub anomalies: u64,
    /// `raw`: one by one; `minmax`: condensed.
    pub method: &'static str,
    /// The time of the oldest sample that can be read back, as far as that is known.
    pub oldest: Option<Wall>,
    /// Whether everything that is stored has been looked through; until then earlier samples may be missing.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Envelope {
    payload: SignalBatch,
}

impl Samples {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(context: &Context) -> io::Result<(Arc<Samples>, JoinHandle<()>)> {
        let samples = Arc::new(Samples {
            bus: Arc::clone(&context.bus),
            store: Arc::clone(&context.store),
            inner: Mutex::default(),
        });
        let (inner, stop) = (Arc::clone(&samples), context.stop.clone());
        let thread = threads::spawn("samples", limits::STACK, move || inner.run(&stop))?;
        Ok((samples, thread))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn run(&self, stop: &Stop) {
        let start = self.bus.head().seq;
        let mut follower = Follower::new(Arc::clone(&self.bus), Arc::clone(&self.store), start);
        let mut earlier = Some(start + 1);
        let mut failing = false;
        loop {
            let more = follower.visit(|event| {
                if event.kind == "signal_batch"
                    && let Some((id, span)) = record(event.seq, event.data)
                {
                    self.lock().index.add(&id, span);
                }
            });
            let more = more.unwrap_or(false);
            if let Some(before) = earlier {
                match self.read_back(before) {
                    Ok(next) => earlier = next,
                    Err(e) => {
                        if !std::mem::replace(&mut failing, true) {
                            log::warn!("signals: the log can't be read, trying again: {e}");
                        }
                        if follower.wait(stop, limits::SIGNAL_REST) {
                            return;
                        }
                    }
                }
                self.lock().loaded = earlier.is_none();
            }
            self.lock().index.forget_through(self.store.floor());
            if !more && earlier.is_none() && follower.wait(stop, limits::SIGNAL_REST) || stop.is_stopped() {
                return;
            }
            // What comes in the meantime is taken together.
            if earlier.is_none() && stop.wait(std::time::Duration::from_millis(20)) {
                return;
            }
        }
    }

    /// A part of what was there before the start; where to go on, or none at the end.
    fn read_back(&self, before: u64) -> Result<Option<u64>, StoreError> {
        let what = Search { before: Some(before), most_bytes: limits::FOLLOWED_BYTES, ..Search::of(&[]) };
        let mut full = false;
        let came = store::search(&self.bus, &self.store, &what, |found| {
            if found.kind == "signal_batch"
                && let Some((id, span)) = record(found.cursor.seq, &found.data)
            {
                full = !self.lock().index.add_earlier(&id, span);
            }
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(match came {
            Searched::Before(seq) if !full => Some(seq),
            _ => None,
        })
    }

    /// The samples that are asked for. `recent` are those in memory, the oldest first, and whether there are no earlier ones.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn page(
        &self,
        id: &str,
        wanted: &Wanted,
        recent: (Vec<SignalEvent>, bool),
    ) -> Result<Page, StoreError> {
        let Wanted { range, limit, points } = *wanted;
        let (mut in_memory, complete) = recent;
        let (spans, loaded, oldest, top) = {
            let inner = self.lock();
            let all = inner.index.select(id, &Range { since: range.since, ..Range::default() });
            let oldest = all.iter().map(|(span, _)| span.t.0).min();
            let top = all.iter().map(|(span, _)| span.seq.1).max();
            (inner.index.select(id, &range), inner.loaded, oldest, top)
        };
        let oldest = oldest.into_iter().chain(in_memory.first().map(|e| e.t.0)).min().map(Wall);
        // Memory is enough where it begins before what is asked for.
        let reaches = complete
            || in_memory.first().is_some_and(|first| range.from.is_some_and(|from| first.t.0 <= from));
        in_memory.retain(|e| range.has(e.seq, e.t.0));
        let from_memory = reaches || points.is_none() && in_memory.len() > limit;
        // What was published a moment ago may not be in the index yet.
        let newer: Vec<SignalEvent> =
            in_memory.iter().filter(|e| top.is_none_or(|top| e.seq > top)).cloned().collect();
        let page = Page { oldest, complete: loaded || reaches, method: "raw", ..Page::default() };
        let Some(points) = points else {
            let (mut events, more) =
                if from_memory { (in_memory, None) } else { self.read(id, &spans, &range, limit + 1)? };
            if !from_memory {
                events.extend(newer);
            }
            let surplus = events.len().saturating_sub(limit);
            let next = if surplus > 0 { events.get(surplus).map(|e| e.seq) } else { more };
            events.drain(..surplus);
            return Ok(Page {
                next,
                samples: events.len() as u64,
                anomalies: anomalies(&events),
                events,
                ..page
            });
        };
        let (samples, log) = spans
            .iter()
            .fold((0, 0), |(n, log), (span, _)| (n + span.samples, log + span.log.1 - span.log.0 + 1));
        let mut exact = from_memory.then_some(in_memory);
        if !from_memory && samples <= EXACT && log <= READ {
            let (mut events, more) = self.read(id, &spans, &range, usize::MAX)?;
            events.extend(newer.iter().cloned());
            exact = more.is_none().then_some(events);
        }
        if let Some(events) = exact {
            if events.len() <= points {
                return Ok(Page {
                    samples: events.len() as u64,
                    anomalies: anomalies(&events),
                    events,
                    ..page
                });
            }
            let all: Vec<Span> = events.iter().enumerate().map(|(n, e)| Span::of(n as u64, e)).collect();
            return Ok(condensed(&all, points, page));
        }
        let mut all = Vec::with_capacity(spans.len());
        for (span, whole) in spans {
            if whole {
                all.push(span);
                continue;
            }
            // Only the ends of the range are parts of spans.
            let (events, _) = self.read(id, &[(span, false)], &range, usize::MAX)?;
            all.extend(events.iter().map(|e| Span::of(span.log.0, e)));
        }
        all.extend(newer.iter().map(|e| Span::of(0, e)));
        Ok(condensed(&all, points, page))
    }

    /// The newest `most` samples of the spans that are in the range, the oldest first; and before which number to go on when
    /// not everything was looked through.
    fn read(
        &self,
        id: &str,
        spans: &[(Span, bool)],
        range: &Range,
        most: usize,
    ) -> Result<(Vec<SignalEvent>, Option<u64>), StoreError> {
        let (Some((first, _)), Some((last, _))) = (spans.first(), spans.last()) else {
            return Ok((Vec::new(), None));
        };
        let topic = format!("signal/{id}");
        let mut events: Vec<SignalEvent> = Vec::new();
        let what = Search { before: Some(last.log.1 + 1), after: first.log.0 - 1, ..Search::of(&[]) };
        let came = store::search(&self.bus, &self.store, &what, |found| {
            if found.kind != "signal_batch" || found.topic != topic {
                return ControlFlow::Continue(());
            }
            if let Ok(Envelope { payload }) = serde_json::from_str(&found.data) {
                events.extend(payload.events.into_iter().rev().filter(|e| range.has(e.seq, e.t.0)));
            }
            if events.len() >= most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        events.truncate(most);
        let more = match came {
            Searched::Before(_) if events.len() < most => events.last().map(|e| e.seq).or(range.before),
            _ => None,
        };
        events.reverse();
        Ok((events, more))
    }
}

fn record(seq: u64, data: &str) -> Option<(String, Span)> {
    let Envelope { payload } = serde_json::from_str(data).ok()?;
    Some((payload.signal_id, Span::of_record(seq, &payload.events)?))
}

fn anomalies(events: &[SignalEvent]) -> u64 {
    events.iter().filter(|e| e.anomaly).count() as u64
}

fn condensed(spans: &[Span], points: usize, page: Page) -> Page {
    let events = condense(spans, points).into_iter().map(|mark| SignalEvent {
        seq: mark.seq,
        t: Wall(mark.t),
        value: Some(mark.value),
        anomaly: mark.anomaly,
        z: None,
        quality: None,
    });
    Page {
        events: events.collect(),
        samples: spans.iter().map(|s| s.samples).sum(),
        anomalies: spans.iter().map(|s| s.anomalies).sum(),
        method: "minmax",
        ..page
    }
}
