//! Reading back: records from the newest to the oldest, those that wait for the disk included.
//!
//! Promises: ids only go down; nothing is given twice or left out, also while commits go on; times are corrected; one call
//! decodes at most about [`limits::SEARCH_BYTES`] and then says where to go on. What is on a [`Trail`] is found without
//! reading what lies between; anything else, and blocks from before there were trails, are looked through.
//! Does not: read state, which is on the bus.

use super::block::{self, Stored};
use super::database::{LogEnds, failed};
use super::trail::{Set, Trail};
use super::{Store, StoreError};
use crate::bus::Bus;
use crate::clock::Corrections;
use crate::limits;
use crate::model::{Class, Cursor};
use redb::{ReadOnlyTable, ReadableTable};
use std::borrow::Cow;
use std::ops::ControlFlow;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Search {
    /// Only what is on one of these; empty for every record.
    pub trails: Vec<Trail>,
    /// Only before this seq; none from the newest on.
    pub before: Option<u64>,
    /// Only after this seq.
    pub after: u64,
    /// Bytes of blocks that are decoded at most, about.
    pub most_bytes: usize,
}

impl Search {
    /// Everything on these trails, from the newest on, within the usual bound.
    pub fn of(trails: &[Trail]) -> Search {
        Search { trails: trails.to_vec(), before: None, after: 0, most_bytes: limits::SEARCH_BYTES }
    }
}

/// A record that was found.
#[derive(Debug)]
pub struct Found<'a> {
    /// Its id.
    pub cursor: Cursor,
    /// Its type.
    pub kind: &'a str,
    /// Its topic.
    pub topic: &'a str,
    /// Whether it is part of `global`.
    pub global: bool,
    /// Its envelope, with its corrected time where it has one.
    pub data: Cow<'a, str>,
}

/// How far a search came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Searched {
    /// There is nothing more.
    All,
    /// Go on before this seq.
    Before(u64),
}

/// Visits records back from the newest, until `visit` breaks: that record counts as visited.
///
/// `visit` must not block: a read transaction is open while it runs.
///
/// # Errors
/// The store could not be read.
pub fn search(
    bus: &Bus,
    store: &Store,
    search: &Search,
    mut visit: impl FnMut(Found<'_>) -> ControlFlow<()>,
) -> Result<Searched, StoreError> {
    let wanted = Wanted::of(search);
    let corrections = bus.time().corrections();
    // What is committed between the two reads is in both, so the store is read up to where memory begins.
    let (begins, waiting) = loop {
        let committed = bus.committed();
        if let Ok(events) = bus.after(committed, usize::MAX) {
            break (committed, events);
        }
    };
    for event in waiting.iter().rev().filter(|e| e.class == Class::Record) {
        let seq = event.cursor.seq;
        if seq > search.after
            && search.before.is_none_or(|before| seq < before)
            && wanted.wants(&event.kind, event.global)
        {
            let data = corrections.envelope(seq, event.data());
            let (kind, topic, global) = (&*event.kind, event.topic.as_str(), event.global);
            if visit(Found { cursor: event.cursor, kind, topic, global, data }).is_break() {
                return Ok(Searched::Before(seq));
            }
        }
    }
    drop(waiting);
    let before = search.before.unwrap_or(u64::MAX).min(begins.saturating_add(1));
    store.with_log(|log, ends| {
        let mut back =
            Back { log, ends, wanted, corrections: &corrections, after: search.after.max(ends.floor) };
        back.run(before, search.most_bytes, &mut visit)
    })
}

/// The trails that are looked for.
#[derive(Clone, Copy)]
struct Wanted(Option<Set>);

impl Wanted {
    fn of(search: &Search) -> Wanted {
        let set = search.trails.iter().fold(0, |set, trail| set | 1 << *trail as u8);
        Wanted((!search.trails.is_empty()).then_some(Set(set)))
    }

    fn wants(self, kind: &str, global: bool) -> bool {
        self.0.is_none_or(|set| Set::of(kind, global).0 & set.0 != 0)
    }
}

struct Back<'a> {
    log: &'a ReadOnlyTable<u64, &'static [u8]>,
    ends: LogEnds,
    wanted: Wanted,
    corrections: &'a Corrections,
    after: u64,
}

impl Back<'_> {
    fn run(
        &mut self,
        before: u64,
        most_bytes: usize,
        visit: &mut impl FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Result<Searched, StoreError> {
        let mut bytes = 0;
        // The block that holds what comes right before, or the last one.
        let mut row = match before.checked_sub(1) {
            None => return Ok(Searched::All),
            Some(at) => match self.log.range(at..).map_err(failed)?.next() {
                Some(row) => Some(row.map_err(failed)?),
                None => self.log.last().map_err(failed)?,
            },
        };
        while let Some((last, block)) = row {
            let last = last.value();
            if last <= self.after {
                break;
            }
            let block = block.value();
            let trails = block::trails(last, block);
            let on_it = match (self.wanted.0, trails) {
                (Some(wanted), Some(trails)) => trails.held.0 & wanted.0 != 0,
                _ => true,
            };
            if on_it {
                bytes += block.len();
                if let Some(seq) = self.visit_block(block, before, visit) {
                    return Ok(Searched::Before(seq));
                }
            } else {
                // Its head was read; that it was skipped is not for free.
                bytes += 64;
            }
            row = match (self.wanted.0, trails) {
                (Some(wanted), Some(trails)) => {
                    let earlier = trails.earlier.0.iter().enumerate();
                    let next = earlier.filter(|(n, _)| wanted.0 & 1 << n != 0).map(|(_, seq)| *seq).max();
                    match next.unwrap_or(0) {
                        // Only what is older than the trails can hold more.
                        0 => self.log.range(..=self.ends.untrailed).map_err(failed)?.next_back(),
                        seq => self.log.range(seq..=seq).map_err(failed)?.next(),
                    }
                }
                _ => self.log.range(..last).map_err(failed)?.next_back(),
            }
            .transpose()
            .map_err(failed)?;
            if bytes >= most_bytes
                && let Some((next, _)) = row.as_ref().filter(|(next, _)| next.value() > self.after)
            {
                return Ok(Searched::Before(next.value().saturating_add(1)));
            }
        }
        Ok(Searched::All)
    }

    /// Visits what is wanted of a block, newest first; gives the seq at which the visitor broke off.
    fn visit_block(
        &self,
        block: &[u8],
        before: u64,
        visit: &mut impl FnMut(Found<'_>) -> ControlFlow<()>,
    ) -> Option<u64> {
        let block = block::expand(block);
        let records: Vec<Stored<'_>> = block::entries(&block)
            .filter(|stored| stored.seq > self.after && stored.seq < before)
            .filter(|stored| self.wanted.wants(stored.kind, stored.global))
            .collect();
        records.into_iter().rev().find_map(|Stored { epoch, seq, kind, topic, global, data, .. }| {
            let data = self.corrections.envelope(seq, data);
            let found = Found { cursor: Cursor { epoch, seq }, kind, topic, global, data };
            visit(found).is_break().then_some(seq)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Published;
    use crate::config;
    use crate::metrics::Metrics;
    use crate::model::Draft;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::time::Duration;

    struct World {
        bus: Bus,
        store: Store,
        _dir: tempfile::TempDir,
    }

    fn world(settings: &config::Store) -> World {
        let dir = tempfile::tempdir().unwrap();
        let opened = Store::open(dir.path(), settings).unwrap();
        let bus = Bus::new(opened.start, Arc::new(Metrics::default()));
        World { bus, store: opened.store, _dir: dir }
    }

    impl World {
        fn publish(&self, drafts: Vec<Draft>) -> Published {
            self.bus.publish_all(drafts, None).unwrap()
        }
        fn commit(&self) {
            if self.bus.committed() == self.bus.head().seq {
                return;
            }
            let batch = self.bus.next_batch(Duration::ZERO, Duration::ZERO).unwrap();
            let through = batch.through.seq;
            self.store.commit(&batch, false).unwrap();
            self.bus.committed_through(through);
        }
        /// Everything a search finds, going on as often as it says; and how many calls that took.
        fn all(&self, what: &Search) -> (Vec<u64>, usize) {
            let (mut found, mut calls, mut what) = (Vec::new(), 0, what.clone());
            loop {
                calls += 1;
                let came = search(&self.bus, &self.store, &what, |f| {
                    found.push(f.cursor.seq);
                    ControlFlow::Continue(())
                });
                match came.unwrap() {
                    Searched::All => return (found, calls),
                    Searched::Before(seq) => what.before = Some(seq),
                }
            }
        }
    }

    fn note() -> Draft {
        Draft::checked("note", Some("app/x"), serde_json::json!({ "pad": "x".repeat(500) })).unwrap()
    }

    /// Half a kilobyte that does not pack.
    fn noise() -> Draft {
        let mut bytes = [0; 250];
        getrandom::fill(&mut bytes).unwrap();
        let pad: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Draft::checked("note", Some("app/x"), serde_json::json!({ "pad": pad })).unwrap()
    }

    fn line(level: &str) -> Draft {
        let line =
            serde_json::json!({ "level": level, "message": "m", "timestamp": "2026-01-07T15:30:00.000Z" });
        Draft::checked("log", None, line).unwrap()
    }

    fn job(n: u64) -> Draft {
        let job = serde_json::json!({ "job_id": format!("j{n}"), "kind": "encode", "status": "running", "progress": 0.5 });
        Draft::checked("job_status", None, job).unwrap()
    }

    #[test]
    fn what_is_rare_is_found_without_reading_what_lies_between() {
        let world = world(&config::Store::default());
        let mut lines = Vec::new();
        for n in 0..200 {
            world.publish((0..50).map(|_| note()).collect());
            if n % 50 == 7 {
                lines.push(world.publish(vec![line("WARNING")]).cursor.seq);
            }
            world.commit();
        }
        lines.reverse();
        let warnings = Search { most_bytes: 200_000, ..Search::of(&[Trail::Warnings]) };
        assert_eq!(world.all(&warnings), (lines.clone(), 1), "four blocks of some 25 KB each, of 5 MB");
        let everything = Search { most_bytes: 200_000, ..Search::of(&[]) };
        let (found, calls) = world.all(&everything);
        assert_eq!(found.len(), 200 * 50 + 4);
        assert!(calls > 10, "bounded: {calls} calls");
        assert!(found.windows(2).all(|w| w[0] > w[1]));
        assert_eq!(world.all(&Search::of(&[Trail::Detections])), (Vec::new(), 1));
        let some = Search { before: Some(lines[0]), after: lines[3], ..Search::of(&[Trail::Log]) };
        assert_eq!(world.all(&some).0, lines[1..3]);
    }

    /// A store from before there were trails: its blocks are looked through, and trails begin with the next commit.
    #[test]
    fn older_blocks_are_looked_through() {
        let dir = tempfile::tempdir().unwrap();
        let settings = config::Store::default();
        let opened = Store::open(dir.path(), &settings).unwrap();
        let bus = Bus::new(opened.start, Arc::new(Metrics::default()));
        bus.publish_all(vec![note(), line("ERROR"), note()], None).unwrap();
        let batch = bus.next_batch(Duration::ZERO, Duration::ZERO).unwrap();
        let through = batch.through.seq;
        opened.store.commit(&batch, false).unwrap();
        bus.committed_through(through);
        opened.store.forget_trails();
        drop(opened.store);
        let opened = Store::open(dir.path(), &settings).unwrap();
        let world = World {
            bus: Bus::new(opened.start, Arc::new(Metrics::default())),
            store: opened.store,
            _dir: dir,
        };
        assert_eq!(world.all(&Search::of(&[Trail::Log])).0, [2]);
        world.publish(vec![note(), line("INFO")]);
        world.commit();
        world.publish(vec![note(), line("WARNING")]);
        world.commit();
        assert_eq!(world.all(&Search::of(&[Trail::Log])).0, [7, 5, 2]);
        assert_eq!(world.all(&Search::of(&[Trail::Warnings])).0, [7, 2]);
        assert_eq!(world.all(&Search::of(&[Trail::Alerts])).0, [0; 0]);
    }

    #[test]
    fn what_retention_removed_ends_a_trail() {
        let settings = config::Store { keep_bytes: 100_000, ..config::Store::default() };
        let world = world(&settings);
        for _ in 0..30 {
            world.publish(vec![line("WARNING")]);
            world.publish((0..20).map(|_| note()).collect());
            world.commit();
        }
        assert!(world.store.floor() > 0);
        let (found, _) = world.all(&Search::of(&[Trail::Warnings]));
        assert!(!found.is_empty() && found.iter().all(|seq| *seq > world.store.floor()), "{found:?}");
    }

    /// Each commit adds some 180 blocks.
    #[test]
    fn retention_keeps_up_with_what_comes() {
        let settings = config::Store { keep_bytes: 1024 * 1024, ..config::Store::default() };
        let world = world(&settings);
        for round in 0..2 {
            for _ in 0..150 {
                world.publish((0..64).map(|_| noise()).collect());
            }
            world.commit();
            assert!(
                world.store.bytes() <= settings.keep_bytes,
                "{} bytes after commit {round}",
                world.store.bytes()
            );
        }
        assert!(world.store.floor() > 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Against the obvious: keep everything in a list and filter it.
        #[test]
        fn a_search_finds_what_a_list_would(
            script in proptest::collection::vec((0u8..6, 1usize..40), 1..40),
            before in proptest::option::of(0u64..400),
            after in 0u64..400,
            most_bytes in 1usize..60_000,
            reopen in any::<bool>(),
        ) {
            let mut world = world(&config::Store::default());
            let mut list: Vec<(u64, &str)> = Vec::new();
            for (what, count) in script {
                let (kind, drafts): (_, Vec<Draft>) = match what {
                    0 => { world.commit(); continue }
                    1 => ("warning", vec![line("WARNING")]),
                    2 => ("info", vec![line("INFO")]),
                    3 => ("state", (0..count as u64).map(job).collect()),
                    _ => ("note", (0..count).map(|_| note()).collect()),
                };
                for draft in drafts {
                    let seq = world.publish(vec![draft]).cursor.seq;
                    if kind != "state" {
                        list.push((seq, kind));
                    }
                }
            }
            if reopen {
                world.commit();
                let World { bus, store, _dir } = world;
                drop((bus, store));
                let opened = Store::open(_dir.path(), &config::Store::default()).unwrap();
                world = World { bus: Bus::new(opened.start, Arc::new(Metrics::default())), store: opened.store, _dir };
                list.push((world.publish(vec![line("WARNING")]).cursor.seq, "warning"));
                world.commit();
            }
            for (trails, kinds) in [
                (vec![], vec!["note", "info", "warning"]),
                (vec![Trail::Log], vec!["info", "warning"]),
                (vec![Trail::Warnings], vec!["warning"]),
                (vec![Trail::Alerts, Trail::Warnings], vec!["warning"]),
            ] {
                let what = Search { trails, before, after, most_bytes };
                let expected: Vec<u64> = list
                    .iter()
                    .rev()
                    .filter(|(seq, kind)| kinds.contains(kind) && *seq > after && before.is_none_or(|b| *seq < b))
                    .map(|(seq, _)| *seq)
                    .collect();
                prop_assert_eq!(world.all(&what).0, expected);
            }
        }
    }
}
