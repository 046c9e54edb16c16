//! Detections of vision processes: filtered and summed up at once, and compared with what should stand where.
//!
//! Owns: an index of the detections in the log, the newest look at every location, the planogram. Promises: the index
//! holds what the log holds, in its order, from whatever way it was published; a discrepancy is an alert once it was seen in
//! [`CONFIRM`] looks in a row and is cleared as soon as it is gone; a detection that failed is told as a failure of its
//! source, never as something seen.
//! **Threads.** One, `detections`: it reads the log once at the start, then follows it. **Bounds.** In `index`, `planogram`.
//! Does not: look at images, or keep the detections themselves; they are in the log.

pub mod index;
pub mod planogram;

use self::index::{Filter, Index, Summary};
use self::planogram::{Discrepancy, Looks, Row};
use super::follow::{Follower, Seen};
use super::{Context, monotonic, publish};
use crate::alerts::Alerts;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::limits;
use crate::model::{
    Detection, DetectionSummary, Level, LogLine, Quality, QualityReason, Severity, SourceState, SourceStatus,
    TopicFilter,
};
use crate::store::{Store, StoreError};
use crate::threads::{self, Stop};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Looks in a row that show a discrepancy before it is an alert: one look may be of a hand before the shelf.
pub const CONFIRM: u32 = 2;
/// Where the planogram is on the shelf.
const SHELF: &str = "planogram/all";
/// The summary is published this often at most.
const EVERY: Duration = Duration::from_secs(1);

/// The planogram with its number, which counts its changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Planogram {
    pub revision: u64,
    pub updated: Option<Wall>,
    pub items: Vec<Row>,
}

/// See the module above.
pub struct Detections {
    bus: Arc<Bus>,
    store: Arc<Store>,
    alerts: Arc<Alerts>,
    inner: Mutex<Inner>,
}

struct Inner {
    index: Index,
    looks: Looks,
    planogram: Planogram,
    /// Whether all that was in the log at the start has been read.
    loaded: bool,
    /// Something came, or the planogram is another, since the last summary.
    dirty: bool,
    /// For each discrepancy: the look that showed it last, and in how many in a row it was.
    standing: BTreeMap<String, (Wall, u32)>,
    raised: BTreeSet<String>,
    /// Vision processes that have failed: how often, and whether they still do.
    failing: BTreeMap<String, (u64, bool)>,
}

/// Why the planogram was not changed.
#[derive(Debug)]
pub enum PlanogramError {
    /// One sentence.
    Wrong(String),
    /// It has this revision by now.
    Changed(u64),
    /// It could not be stored.
    Store(StoreError),
}

impl Detections {
    /// Starts the thread. Where no planogram is stored, it is `first`.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(context: &Context, first: Vec<Row>) -> io::Result<(Arc<Detections>, JoinHandle<()>)> {
        let stored = context.store.shelf(SHELF).unwrap_or_default();
        let planogram = stored.first().and_then(|(_, bytes)| serde_json::from_slice(bytes).ok());
        let detections = Arc::new(Detections {
            bus: Arc::clone(&context.bus),
            store: Arc::clone(&context.store),
            alerts: Arc::clone(&context.alerts),
            inner: Mutex::new(Inner {
                index: Index::new(limits::DETECTIONS),
                looks: Looks::default(),
                planogram: planogram.unwrap_or(Planogram { items: first, ..Planogram::default() }),
                loaded: false,
                dirty: false,
                standing: BTreeMap::new(),
                raised: open_alerts(&context.bus),
                failing: BTreeMap::new(),
            }),
        });
        let (inner, stop) = (Arc::clone(&detections), context.stop.clone());
        let thread = threads::spawn("detections", limits::STACK, move || inner.run(&stop))?;
        Ok((detections, thread))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn run(&self, stop: &Stop) {
        let start = self.bus.head().seq;
        let mut follower = Follower::new(Arc::clone(&self.bus), Arc::clone(&self.store), self.store.floor());
        let (mut told, mut failing) = (None::<Instant>, false);
        loop {
            let mut last = 0;
            let more = follower.visit(|event| {
                last = event.seq;
                self.see(event);
            });
            let more = match more {
                Ok(more) => {
                    failing = false;
                    more
                }
                Err(e) => {
                    if !std::mem::replace(&mut failing, true) {
                        log::warn!("detections: the log can't be read, trying again: {e}");
                    }
                    false
                }
            };
            if more && last < start {
                if stop.is_stopped() {
                    return;
                }
                continue;
            }
            if !more && !failing {
                self.lock().loaded = true;
            }
            if told.is_none_or(|at| at.elapsed() >= EVERY) && self.tell() {
                told = Some(Instant::now());
            }
            // With something left to tell it is worth waking up for; else only for what is new.
            let rest = {
                let inner = self.lock();
                let soon = inner.dirty || inner.looks.is_settling(monotonic());
                if soon { EVERY / 2 } else { limits::SIGNAL_REST }
            };
            if !more && follower.wait(stop, rest) || stop.is_stopped() {
                return;
            }
        }
    }

    fn see(&self, event: Seen<'_>) {
        if event.kind != "detection" {
            return;
        }
        #[derive(Deserialize)]
        struct Envelope {
            payload: Detection,
        }
        let Ok(Envelope { payload }) = serde_json::from_str(event.data) else { return };
        let mut inner = self.lock();
        inner.index.add(event.seq, &payload);
        inner.looks.add(&payload, monotonic(), Wall::now());
        inner.dirty = true;
        if let Some(source) = &payload.source
            && let Some((errors, still)) = inner.failing.get_mut(source)
            && std::mem::take(still)
        {
            let errors = *errors;
            drop(inner);
            self.say(source, SourceState::Ok, errors, Some(payload.timestamp), None);
        }
    }

    /// A vision process could not look: its source is at fault, and nothing was seen.
    pub fn failed(&self, source: &str, reason: &str, location: Option<&str>) {
        let reason: String = reason.chars().filter(|c| !c.is_control()).take(200).collect();
        let (errors, first) = {
            let mut inner = self.lock();
            if !inner.failing.contains_key(source) && inner.failing.len() >= limits::VISION_SOURCES {
                inner.failing.pop_first();
            }
            let (errors, still) = inner.failing.entry(source.to_string()).or_default();
            *errors += 1;
            (*errors, !std::mem::replace(still, true))
        };
        self.say(source, SourceState::Error, errors, None, Some(&reason));
        if first {
            let place = location.map_or(String::new(), |l| format!(" at {l}"));
            let message = format!("{source} could not detect{place}: {reason}");
            log::warn!("{message}");
            let line = LogLine {
                level: Level::Warning,
                message,
                timestamp: Wall::now(),
                source: Some(source.into()),
            };
            publish(&self.bus, "log", &line);
        }
    }

    fn say(
        &self,
        source: &str,
        status: SourceState,
        errors: u64,
        last_seen: Option<Wall>,
        why: Option<&str>,
    ) {
        let good = status == SourceState::Ok;
        publish(
            &self.bus,
            "source_status",
            &SourceStatus {
                source_id: source.into(),
                kind: "vision".into(),
                status,
                quality: if good { Quality::Good } else { Quality::Bad },
                last_seen,
                quality_reason: (!good).then_some(QualityReason::DeviceError),
                errors,
                reconnects: 0,
                last_error: why.map(str::to_string),
                detail: serde_json::Map::new(),
            },
        );
    }

    /// Publishes the summary and what is due of alerts; false when there is nothing new.
    fn tell(&self) -> bool {
        let (summary, raise, clear) = {
            let mut inner = self.lock();
            inner.dirty |= inner.looks.settle(monotonic());
            if !inner.dirty || !inner.loaded {
                return false;
            }
            inner.dirty = false;
            let floor = self.store.floor();
            inner.index.forget_through(floor);
            let sum = inner.index.sum(&Filter::default());
            let differences = inner.looks.compare(&inner.planogram.items);
            let (raise, clear) = inner.weigh(&differences);
            let shown = differences.iter().take(limits::DISCREPANCIES);
            let summary = DetectionSummary {
                total: sum.total,
                unique_skus: sum.unique_skus,
                unique_labels: sum.unique_labels,
                mean_confidence: sum.mean_confidence.map(|c| (c * 1e4).round() / 1e4),
                discrepancies: shown.filter_map(|d| serde_json::to_value(d).ok()).collect(),
                updated: Wall::now(),
            };
            (summary, raise, clear)
        };
        publish(&self.bus, "detection_summary", &summary);
        for (id, difference) in &raise {
            self.alerts.raise(
                id,
                Severity::Minor,
                &sentence(difference),
                "Look at the shelf, then correct it or the planogram.",
            );
        }
        for id in &clear {
            self.alerts.clear(id, &format!("{id}: as planned again."));
        }
        true
    }

    /// Whether everything that was stored has been read; until then lists are not complete.
    pub fn is_loaded(&self) -> bool {
        self.lock().loaded
    }

    /// The sum of what matches.
    pub fn summary(&self, filter: &Filter) -> Summary {
        self.lock().index.sum(filter)
    }

    /// Payloads of what matches, before the seq `before`, the newest first, each with its seq; and whether there are more.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn list(
        &self,
        filter: &Filter,
        before: Option<u64>,
        most: usize,
    ) -> Result<(Vec<(u64, Detection)>, bool), StoreError> {
        let (seqs, more) = self.lock().index.select(filter, before, most);
        let mut items = Vec::with_capacity(seqs.len());
        for seq in seqs {
            if let Some(detection) = self.read(seq)? {
                items.push((seq, detection));
            }
        }
        Ok((items, more))
    }

    fn read(&self, seq: u64) -> Result<Option<Detection>, StoreError> {
        let payload = |data: &str| {
            let mut envelope: serde_json::Value = serde_json::from_str(data).ok()?;
            serde_json::from_value(envelope.get_mut("payload")?.take()).ok()
        };
        if let Ok(events) = self.bus.after(seq - 1, 1) {
            return Ok(events.first().and_then(|event| payload(event.data())));
        }
        let mut found = None;
        self.store.visit_after(seq - 1, 1, 1, |stored| {
            if stored.seq == seq {
                found = payload(stored.data);
            }
        })?;
        Ok(found)
    }

    /// What is planned, and how what was seen differs.
    pub fn planogram(&self) -> (Planogram, Vec<Discrepancy>) {
        let inner = self.lock();
        (inner.planogram.clone(), inner.looks.compare(&inner.planogram.items))
    }

    /// Replaces the planogram; it is on the disk when this returns.
    ///
    /// # Errors
    /// See [`PlanogramError`]; nothing has changed then.
    pub fn plan(&self, rows: Vec<Row>, if_revision: Option<u64>) -> Result<Planogram, PlanogramError> {
        let items = planogram::check(rows).map_err(PlanogramError::Wrong)?;
        let new = {
            let inner = self.lock();
            let revision = inner.planogram.revision;
            if if_revision.is_some_and(|wanted| wanted != revision) {
                return Err(PlanogramError::Changed(revision));
            }
            Planogram { revision: revision + 1, updated: Some(Wall::now()), items }
        };
        let bytes = serde_json::to_vec(&new).map_err(|e| PlanogramError::Wrong(e.to_string()))?;
        self.store.shelve(&[(SHELF.into(), Some(bytes))]).map_err(PlanogramError::Store)?;
        let mut inner = self.lock();
        inner.planogram = new.clone();
        inner.dirty = true;
        Ok(new)
    }

    /// A look at a location that showed nothing at all.
    pub fn saw_nothing(&self, location: &str, frame: Option<String>, at: Wall) {
        let mut inner = self.lock();
        inner.looks.begin(location, frame, at, monotonic(), Wall::now());
        inner.dirty = true;
    }
}

impl Inner {
    /// Which discrepancies become alerts now, and which of them are over.
    fn weigh(&mut self, differences: &[Discrepancy]) -> (Vec<(String, Discrepancy)>, Vec<String>) {
        let mut raise = Vec::new();
        let mut there = BTreeMap::new();
        for difference in differences {
            let id = alert_id(difference);
            let (seen, looks) = match self.standing.get(&id) {
                Some((seen, looks)) if *seen == difference.seen => (*seen, *looks),
                Some((_, looks)) => (difference.seen, looks.saturating_add(1)),
                None => (difference.seen, 1),
            };
            if looks >= CONFIRM && (self.raised.contains(&id) || self.raised.len() < limits::DISCREPANCIES) {
                self.raised.insert(id.clone());
                raise.push((id.clone(), difference.clone()));
            }
            there.insert(id, (seen, looks));
        }
        self.standing = there;
        let over: Vec<String> =
            self.raised.iter().filter(|id| !self.standing.contains_key(*id)).cloned().collect();
        for id in &over {
            self.raised.remove(id);
        }
        (raise, over)
    }
}

/// What an earlier run raised and nobody has cleared: cleared by the first summary that does not have it.
fn open_alerts(bus: &Bus) -> BTreeSet<String> {
    let alerts = TopicFilter::parse("alerts").unwrap_or_default();
    let state = bus.snapshot(&alerts).state;
    let ours = state.iter().filter_map(|event| event.key.as_deref()?.strip_prefix("alert/"));
    ours.filter(|id| id.starts_with("shelf.")).map(str::to_string).collect()
}

/// Bytes of a location or a thing in the id of an alert.
const PART: usize = 28;

/// `shelf.{location}.{thing}`, in what ids may have, and not too long.
fn alert_id(difference: &Discrepancy) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-') { c } else { '_' };
    let part = |text: &str| {
        let whole: String = text.chars().map(fit).collect();
        if whole.len() <= PART {
            return whole;
        }
        // What is left out tells one from another: FNV-1a (RFC 9923) of all of it.
        let hash = text.bytes().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
        format!("{}-{hash:08x}", whole.get(..PART - 9).unwrap_or_default())
    };
    format!("shelf.{}.{}", part(&difference.location), part(&difference.sku))
}

fn sentence(difference: &Discrepancy) -> String {
    use planogram::Kind;
    let Discrepancy { location, sku, expected, detected, .. } = difference;
    let what = difference.name.as_ref().map_or(sku.clone(), |name| format!("{name} ({sku})"));
    match difference.kind {
        Kind::Missing => format!("{what} is missing at {location}: {expected} expected."),
        Kind::Low => format!("{what} is low at {location}: {detected} of {expected}."),
        Kind::Over => format!("Too much of {what} at {location}: {detected}, {expected} expected."),
        Kind::Extra => format!("{what} stands at {location}, where it is not planned."),
        Kind::Misplaced => {
            format!("{what} stands at {location}, it belongs at {}.", difference.belongs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use planogram::Kind;

    fn difference(sku: &str, seen: u64) -> Discrepancy {
        Discrepancy {
            location: "A 1".into(),
            sku: sku.into(),
            name: None,
            kind: Kind::Low,
            expected: 3,
            detected: 1,
            belongs: Vec::new(),
            seen: Wall(seen),
        }
    }

    /// Things whose names begin alike had one alert, confirmed by a single look and raised and cleared in turn.
    #[test]
    fn long_names_that_begin_alike_have_alerts_of_their_own() {
        let long = |end: &str| alert_id(&difference(&format!("espresso capsules 10 pieces {end}"), 5));
        assert_ne!(long("decaf"), long("strong"));
        assert_eq!(long("decaf").len(), "shelf.A_1.".len() + PART);
    }

    #[test]
    fn a_discrepancy_is_confirmed_by_a_second_look_and_cleared_at_once() {
        let mut inner = Inner {
            index: Index::new(1),
            looks: Looks::default(),
            planogram: Planogram::default(),
            loaded: true,
            dirty: false,
            standing: BTreeMap::new(),
            raised: BTreeSet::new(),
            failing: BTreeMap::new(),
        };
        let mut of = |list: &[Discrepancy]| {
            let (raise, clear) = inner.weigh(list);
            (raise.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), clear)
        };
        let (none, id) = (Vec::<String>::new(), vec!["shelf.A_1.S1".to_string()]);
        assert_eq!(of(&[difference("S1", 5)]), (none.clone(), none.clone()));
        assert_eq!(of(&[difference("S1", 5)]), (none.clone(), none.clone()), "the same look");
        assert_eq!(of(&[difference("S1", 9), difference("S2", 9)]), (id.clone(), none.clone()));
        assert_eq!(of(&[]), (none.clone(), id));
        assert_eq!(of(&[]), (none.clone(), none));
    }
}
