//! Power cuts under the book, played on a disk in memory: at every sync of a workload in turn, what was written since the
//! last one is there in part only, and all is opened again on that. The log is kept so short that most rows are in blocks alone.

use super::tests::json_row;
use super::*;
use crate::config;
use crate::metrics::Metrics;
use crate::random::Random;
use crate::store::crash::Backend;
use serde_json::json;
use std::collections::BTreeMap;

/// A scan that fills blocks, one that has a row now and then, and one that ends and is removed.
const SCANS: [(&str, u64); 3] = [("fast", 170), ("slow", 1), ("gone", 90)];
const ROUNDS: u64 = 10;
/// When the third one ends, and when it is removed.
const ENDS: u64 = 3;
const GOES: u64 = 6;

struct World {
    bus: Arc<Bus>,
    store: Arc<Store>,
    book: Book,
}

fn open(backend: &Backend) -> Result<World, StoreError> {
    let settings = config::Store { keep_bytes: 24 * 1024, ..config::Store::default() };
    let opened = Store::open_backend(backend.clone(), &settings)?;
    let (bus, store) =
        (Arc::new(Bus::new(opened.start, Arc::new(Metrics::default()))), Arc::new(opened.store));
    let book = Book::open(Arc::clone(&bus), Arc::clone(&store))?;
    Ok(World { bus, store, book })
}

fn rows(from: u64, to: u64) -> Vec<Row> {
    (from..to)
        .map(|n| json_row(n, &json!({ "v": n as f64 / 8.0, "word": format!("{n} {}", "x".repeat(30)) })))
        .collect()
}

impl World {
    fn append(&self, scan: &str, from: u64, to: u64) {
        self.book.append(scan, "main", rows(from, to), Vec::new()).unwrap();
        self.book.flush(scan).unwrap();
    }

    fn commit(&self) -> Result<(), StoreError> {
        if self.bus.committed() == self.bus.head().seq {
            return Ok(());
        }
        let batch = self.bus.next_batch(Duration::ZERO, Duration::ZERO).unwrap();
        let through = batch.through.seq;
        self.store.commit(&batch, false)?;
        self.bus.committed_through(through);
        Ok(())
    }

    /// How many rows there are, which are the first so many, each once and as it was.
    fn count(&self, scan: &str) -> u64 {
        let Some(view) = self.book.view(scan, None).unwrap() else { return 0 };
        let (mut count, mut at) = (0, Some(0));
        while let Some(from) = at {
            let page = view.rows(from, u64::MAX / 2).unwrap();
            for chunk in &page.chunks {
                for n in 0..chunk.len() {
                    assert_eq!(chunk.first + n as u64, count, "{scan}");
                    assert_eq!(chunk.cell("v", n).json(), json!(count as f64 / 8.0), "{scan} {count}");
                    count += 1;
                }
            }
            at = page.next;
        }
        count
    }
}

/// What was said to be on the disk, and what was tried.
#[derive(Debug, Default)]
struct Said {
    durable: BTreeMap<&'static str, u64>,
    tried: BTreeMap<&'static str, u64>,
    /// Removing was begun, and returned.
    removing: bool,
    removed: bool,
    /// The log has forgotten events up to here.
    floor: u64,
}

/// Measures until the power goes.
fn work(backend: &Backend, said: &mut Said) -> Result<(), StoreError> {
    let world = open(backend)?;
    for round in 0..ROUNDS {
        for (scan, count) in SCANS {
            if scan == "gone" && round > ENDS {
                continue;
            }
            let from = said.tried.get(scan).copied().unwrap_or(0);
            said.tried.insert(scan, from + count);
            world.append(scan, from, from + count);
        }
        if round == ENDS {
            world.book.end("gone");
        }
        world.commit()?;
        said.durable = said.tried.clone();
        world.book.work()?;
        match round % 3 {
            0 => world.book.write(false)?,
            1 => {}
            // What is not full is written too, and again with more in it.
            _ => world.book.write(true)?,
        }
        if round == GOES {
            said.removing = true;
            world.book.forget("gone");
            said.removed = !backend.is_dead();
        }
        said.floor = world.store.floor();
    }
    Ok(())
}

#[test]
fn a_power_cut_at_every_sync_loses_no_row_and_doubles_none() {
    let empty = Backend::default();
    drop(open(&empty).unwrap());
    let making = empty.syncs();
    let (whole, mut said) = (Backend::default(), Said::default());
    work(&whole, &mut said).unwrap();
    let syncs = whole.syncs();
    assert!(said.floor > ROUNDS && said.removed, "the log has to have forgotten rows: {said:?}");
    for cut in 1..=syncs {
        // What is torn of the commits of the log, `store::crash` plays more often.
        for seed in 0..1 + u64::from(cut % 4 == 0) {
            let context = format!("cut at sync {cut} of {syncs}, seed {seed}");
            let (backend, mut said) = (Backend::default(), Said::default());
            backend.cut_at(cut);
            let worked = work(&backend, &mut said);
            assert!(worked.is_err() || said.removing, "{context}: the power did not go");
            let disk = backend.after_the_cut(&mut Random(cut as u64 * 1_000 + seed));
            let world = match open(&disk) {
                Ok(world) => world,
                // While the file was being made: it is set aside; nothing had been measured.
                Err(_) if cut <= making => continue,
                Err(e) => panic!("{context}: {e}"),
            };
            let mut there = BTreeMap::new();
            for (scan, _) in SCANS {
                let of = |rows: &BTreeMap<&str, u64>| rows.get(scan).copied().unwrap_or(0);
                let count = world.count(scan);
                if scan == "gone" && said.removing && (said.removed || count == 0) {
                    assert_eq!(count, 0, "{context}: {scan} came back");
                    continue;
                }
                let (least, most) = (of(&said.durable), of(&said.tried));
                assert!(
                    (least..=most).contains(&count),
                    "{context}: {scan} has {count} of {least} to {most}"
                );
                there.insert(scan, count);
            }
            if !said.removing {
                let bytes: u64 = world.store.scans_kept().unwrap().iter().map(|kept| kept.bytes).sum();
                assert_eq!(world.store.points_bytes(), bytes, "{context}");
            }
            // It goes on where it was, and all of it is in blocks after another start.
            for (scan, count) in &there {
                world.append(scan, *count, count + 300);
            }
            world.commit().unwrap();
            world.book.work().unwrap();
            world.book.write(true).unwrap();
            world.commit().unwrap();
            drop(world);
            let world = open(&disk).unwrap();
            for (scan, count) in there {
                assert_eq!(world.count(scan), count + 300, "{context}: {scan} after another start");
            }
        }
    }
}
