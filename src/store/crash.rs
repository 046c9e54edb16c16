//! Power cuts, played on a storage backend in memory: at every sync of a workload in turn, what was written since the
//! last sync reaches the "disk" in a random part only, and the store is opened again on what is there.

use super::{Store, Visited};
use crate::bus::{Bus, Published};
use crate::config;
use crate::metrics::Metrics;
use crate::model::{Draft, TopicFilter};
use crate::random::Random;
use redb::StorageBackend;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// What survives a cut.
#[derive(Debug, Default)]
struct Disk {
    /// As of the last sync.
    synced: Vec<u8>,
    /// As the program sees it.
    seen: Vec<u8>,
    /// Writes since the last sync, in order: offset and bytes, or a new length.
    pending: Vec<Write>,
    syncs: usize,
    /// Power goes at this sync, before it is done.
    cut_at: Option<usize>,
    dead: bool,
}

#[derive(Debug)]
enum Write {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Backend(Arc<Mutex<Disk>>);

fn no_power() -> io::Error {
    io::Error::other("the power is off")
}

fn apply(image: &mut Vec<u8>, write: &Write) {
    match write {
        Write::Length(len) => image.resize(*len as usize, 0),
        Write::Bytes(at, bytes) => {
            let end = *at as usize + bytes.len();
            if image.len() < end {
                image.resize(end, 0);
            }
            image[*at as usize..end].copy_from_slice(bytes);
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let from = offset as usize;
        out.copy_from_slice(disk.seen.get(from..from + out.len()).ok_or_else(no_power)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.dead {
            return Err(no_power());
        }
        let write = Write::Length(len);
        apply(&mut disk.seen, &write);
        disk.pending.push(write);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.syncs += 1;
        if disk.dead || disk.cut_at == Some(disk.syncs) {
            disk.dead = true;
            return Err(no_power());
        }
        disk.synced = disk.seen.clone();
        disk.pending.clear();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        if disk.dead {
            return Err(no_power());
        }
        let write = Write::Bytes(offset, data.to_vec());
        apply(&mut disk.seen, &write);
        disk.pending.push(write);
        Ok(())
    }
}

impl Backend {
    /// The power goes at this sync, counted from 1, before it is done.
    pub(crate) fn cut_at(&self, sync: usize) {
        self.0.lock().unwrap().cut_at = Some(sync);
    }

    /// Syncs so far.
    pub(crate) fn syncs(&self) -> usize {
        self.0.lock().unwrap().syncs
    }

    /// Whether the power has gone.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.lock().unwrap().dead
    }

    /// The disk after the cut: every pending write made it, or not, or half of it did.
    pub(crate) fn after_the_cut(&self, random: &mut Random) -> Backend {
        let disk = self.0.lock().unwrap();
        let mut image = disk.synced.clone();
        for write in &disk.pending {
            match (random.next() % 4, write) {
                (0, _) => {}
                (1, Write::Bytes(at, bytes)) => {
                    // Sectors are written whole, so a torn write ends at one.
                    let half = (bytes.len() / 2) & !511;
                    apply(&mut image, &Write::Bytes(*at, bytes[..half].to_vec()));
                }
                _ => apply(&mut image, write),
            }
        }
        Backend(Arc::new(Mutex::new(Disk { seen: image.clone(), synced: image, ..Disk::default() })))
    }
}

fn note(n: u64) -> Draft {
    Draft::checked(
        "note",
        Some("app/x"),
        serde_json::json!({ "n": n, "pad": "x".repeat((n % 7) as usize * 40) }),
    )
    .unwrap()
}

fn status(n: u64) -> Draft {
    Draft::checked("job_status", None, serde_json::json!({ "job_id": format!("j{}", n % 3), "kind": "encode", "status": "running", "progress": n })).unwrap()
}

/// The n-th pair: two new rows, and the one before the last taken off again.
fn shelf_rows(n: u64) -> Vec<(String, Option<Vec<u8>>)> {
    let mut rows: Vec<_> =
        ["a", "b"].map(|of| (format!("{of}/{n:03}"), Some(n.to_string().into_bytes()))).into();
    rows.extend(n.checked_sub(2).map(|n| (format!("a/{n:03}"), None)));
    rows
}

/// Publishes and commits until the power goes, and puts a pair of rows on the shelf after each commit; gives what was
/// acknowledged: the last seq, every record by seq, and the pairs.
fn work(backend: &Backend, commits: u64) -> (u64, BTreeMap<u64, u64>, u64) {
    let settings = config::Store::default();
    let mut acknowledged = (0, BTreeMap::new(), 0);
    let Ok(opened) = Store::open_backend(backend.clone(), &settings) else { return acknowledged };
    let bus = Bus::new(opened.start, Arc::new(Metrics::default()));
    for n in 0..commits {
        let mut records = BTreeMap::new();
        for k in 0..5 {
            let Published { cursor, .. } = bus.publish_all(vec![note(n * 5 + k)], None).unwrap();
            records.insert(cursor.seq, n * 5 + k);
            bus.publish(status(n)).unwrap();
        }
        let batch = bus.next_batch(std::time::Duration::ZERO, std::time::Duration::ZERO).unwrap();
        let through = batch.through.seq;
        if opened.store.commit(&batch, false).is_err() {
            break;
        }
        bus.committed_through(through);
        acknowledged.0 = through;
        acknowledged.1.extend(records);
        if opened.store.shelve(&shelf_rows(n)).is_err() {
            break;
        }
        acknowledged.2 = n + 1;
    }
    acknowledged
}

#[test]
fn a_power_cut_at_every_sync_loses_nothing_acknowledged() {
    const COMMITS: u64 = 12;
    let empty = Backend::default();
    let made = redb::Database::builder().create_with_backend(empty.clone()).unwrap();
    let making = empty.syncs();
    drop(made);
    let whole = Backend::default();
    work(&whole, COMMITS);
    let syncs = whole.syncs();
    assert!(syncs as u64 > COMMITS, "{syncs} syncs");
    for cut in 1..=syncs {
        for seed in 0..3 {
            let mut random = Random(cut as u64 * 1_000 + seed);
            let backend = Backend::default();
            backend.cut_at(cut);
            let (acknowledged, records, pairs) = work(&backend, COMMITS);
            let disk = backend.after_the_cut(&mut random);
            let opened = match Store::open_backend(disk, &config::Store::default()) {
                Ok(opened) => opened,
                // Cut while the file was being made: `Store::open` sets it aside; nothing had been acknowledged.
                Err(_) if cut <= making => continue,
                Err(e) => panic!("cut at sync {cut} (made by {making}), seed {seed}: {e}"),
            };
            assert!(
                opened.start.head >= acknowledged,
                "cut {cut} seed {seed}: head {} < {acknowledged}",
                opened.start.head
            );
            let mut found = BTreeMap::new();
            let visited = opened.store.visit_after(0, usize::MAX, usize::MAX, |stored| {
                let envelope: serde_json::Value = serde_json::from_str(stored.data).unwrap();
                assert!(found.insert(stored.seq, envelope["payload"]["n"].as_u64().unwrap()).is_none());
            });
            assert_eq!(visited.unwrap(), Visited::Through(opened.start.head));
            for (seq, n) in &records {
                assert_eq!(found.get(seq), Some(n), "cut {cut} seed {seed}: record {seq}");
            }
            // A commit that was not acknowledged is there whole or not at all, and the state is of the same moment.
            assert_eq!(opened.start.head % 10, 0, "cut {cut} seed {seed}");
            assert_eq!(found.len() as u64, opened.start.head / 2);
            let newest = opened.start.state.iter().map(|e| e.cursor.seq).max().unwrap_or(0);
            assert_eq!(newest, opened.start.head, "cut {cut} seed {seed}");
            // The shelf is that after some pair, and no pair is there in part.
            let shelf = |of: &str| {
                opened.store.shelf(of).unwrap().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
            };
            let there = shelf("b/").len() as u64;
            assert!((pairs..=pairs + 1).contains(&there), "cut {cut} seed {seed}: {there} of {pairs} pairs");
            let keys =
                |of: &str, from: u64| (from..there).map(|n| format!("{of}/{n:03}")).collect::<Vec<_>>();
            assert_eq!((shelf("a/"), shelf("b/")), (keys("a", there.saturating_sub(2)), keys("b", 0)));
            let bus = Bus::new(opened.start, Arc::new(Metrics::default()));
            assert!(bus.publish(note(1)).unwrap().seq > acknowledged);
            assert!(bus.snapshot(&TopicFilter::default()).state.len() <= 3);
        }
    }
}

#[test]
fn a_disk_that_fails_once_is_written_to_again() {
    let dir = tempfile::tempdir().unwrap();
    let opened = Store::open(dir.path(), &config::Store::default()).unwrap();
    let bus = Bus::new(opened.start, Arc::new(Metrics::default()));
    bus.publish(note(1)).unwrap();
    let batch = bus.next_batch(std::time::Duration::ZERO, std::time::Duration::ZERO).unwrap();
    // As after an error of the disk: the database is closed, and the batch comes again with more in it.
    opened.store.commit(&batch, false).unwrap();
    opened.store.close_as_after_an_error();
    bus.not_committed(batch);
    bus.publish(note(2)).unwrap();
    let batch = bus.next_batch(std::time::Duration::ZERO, std::time::Duration::ZERO).unwrap();
    assert_eq!(batch.records.len(), 2, "both wait again");
    opened.store.commit(&batch, false).unwrap();
    let mut seqs = Vec::new();
    opened.store.visit_after(0, usize::MAX, usize::MAX, |stored| seqs.push(stored.seq)).unwrap();
    assert_eq!(seqs, [1, 2], "each once, though the first commit had been made");
}
