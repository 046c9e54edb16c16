//! The book over a real store: numbering, holding, blocks, kills at any moment.

use super::*;
use crate::clock::Wall;
use crate::config;
use crate::metrics::Metrics;
use serde_json::json;
use std::collections::BTreeMap;

/// A bus, a store and a book whose thread and writer are the test's own hand.
pub(super) struct World {
    pub bus: Arc<Bus>,
    pub store: Arc<Store>,
    pub book: Book,
    dir: tempfile::TempDir,
}

fn open(dir: tempfile::TempDir) -> World {
    let opened = Store::open(dir.path(), &settings()).unwrap();
    let store = Arc::new(opened.store);
    let bus = Arc::new(Bus::new(opened.start, Arc::new(Metrics::default())));
    let book = Book::open(Arc::clone(&bus), Arc::clone(&store)).unwrap();
    World { bus, store, book, dir }
}

fn settings() -> config::Store {
    config::Store::default()
}

pub(super) fn world() -> World {
    open(tempfile::tempdir().unwrap())
}

impl World {
    fn commit(&self) {
        if self.bus.committed() == self.bus.head().seq {
            return;
        }
        let batch = self.bus.next_batch(Duration::ZERO, Duration::ZERO).unwrap();
        let through = batch.through.seq;
        self.store.commit(&batch, false).unwrap();
        self.bus.committed_through(through);
    }

    /// Everything that waits is told and committed.
    pub fn settle(&self) {
        self.book.tick();
        self.commit();
    }

    /// As after kill -9: what is not committed is gone.
    fn kill(self) -> World {
        let World { bus, store, book, dir } = self;
        drop((book, bus, store));
        open(dir)
    }

    fn add(&self, scan: &str, from: u64, count: u64) -> Result<Appended, BookError> {
        self.book.append(scan, "main", (from..from + count).map(|n| numbered(Some(n))).collect(), Vec::new())
    }

    /// Values of all rows of a measurement, by index.
    fn all(&self, scan: &str) -> Vec<(u64, Json)> {
        let Some(view) = self.book.view(scan, None).unwrap() else { return Vec::new() };
        let (mut all, mut at) = (Vec::new(), Some(0));
        while let Some(from) = at {
            let page = view.rows(from, u64::MAX / 2).unwrap();
            for c in &page.chunks {
                all.extend((0..c.len()).map(|n| (c.first + n as u64, c.cell("v", n).json())));
            }
            at = page.next;
        }
        all
    }
}

type Json = serde_json::Value;

fn numbered(index: Option<u64>) -> Row {
    row_of(index, json!({ "v": index.unwrap_or(0) as f64 / 8.0 }))
}

fn row_of(index: Option<u64>, data: Json) -> Row {
    Row {
        sequence_index: index,
        data: serde_json::from_value(data).unwrap(),
        t_rel: index.map(|n| n as f64 / 10.0),
        timestamp: Wall(1_767_799_800_000 + index.unwrap_or(0) * 100),
        quality: BTreeMap::new(),
        late_ms: None,
    }
}

pub(super) fn json_row(index: u64, data: &Json) -> Row {
    row_of(Some(index), data.clone())
}

fn expected(count: u64) -> Vec<(u64, Json)> {
    (0..count).map(|n| (n, json!(n as f64 / 8.0))).collect()
}

#[test]
fn rows_are_numbered_and_told_once() {
    let world = world();
    let book = &world.book;
    let appended = world.add("S1", 0, 3).unwrap();
    assert_eq!((appended.accepted, appended.duplicates, appended.last_index), (3, 0, Some(2)));
    assert_eq!(
        book.append("S1", "main", vec![row_of(None, json!({"v": 0.375}))], Vec::new()).unwrap().last_index,
        Some(3)
    );
    // Again: each is there once. The same number may be written in another way, and what is null may be missing.
    let again = world.add("S1", 1, 4).unwrap();
    assert_eq!((again.accepted, again.duplicates, again.last_index), (1, 3, Some(4)));
    assert_eq!(
        book.append("S1", "main", vec![row_of(Some(0), json!({"v": 0, "w": null}))], Vec::new())
            .unwrap()
            .duplicates,
        1
    );
    let conflict = book.append("S1", "main", vec![row_of(Some(2), json!({"v": 9}))], Vec::new());
    assert!(matches!(conflict, Err(BookError::Conflict { index: 2, .. })), "{conflict:?}");
    assert!(matches!(world.add("S1", 6, 1), Err(BookError::Gap { expected: 5, got: 6, .. })));
    // All or none.
    assert!(matches!(
        world.add("S1", 5, 1).map(|_| ()).and(
            book.append("S1", "main", vec![numbered(Some(6)), numbered(Some(8))], Vec::new()).map(|_| ())
        ),
        Err(BookError::Gap { expected: 7, got: 8, .. })
    ));
    assert_eq!(book.counts("S1")["main"], 6);
    // From 1 is as good as from 0.
    assert_eq!(
        book.append("S2", "m", vec![numbered(Some(1)), numbered(Some(2))], Vec::new()).unwrap().last_index,
        Some(2)
    );
    assert_eq!(book.counts("S2")["m"], 2);
    assert!(matches!(
        book.append("S3", "m", vec![numbered(Some(2))], Vec::new()),
        Err(BookError::Gap { expected: 0, got: 2, .. })
    ));
    assert!(book.counts("S3").is_empty());
    book.tick();
    let told: u64 = world
        .bus
        .after(0, 1_000)
        .unwrap()
        .iter()
        .map(|e| match &*e.kind {
            "data_point" => 1,
            _ => serde_json::from_str::<Json>(e.payload()).unwrap()["data"]["v"].as_array().unwrap().len()
                as u64,
        })
        .sum();
    assert_eq!(told, 8);
    assert_eq!(world.all("S1"), expected(6));
}

#[test]
fn declared_columns_are_held_to() {
    let world = world();
    let book = &world.book;
    let column = |name: &str, dtype: Option<&str>| Column {
        name: name.into(),
        dtype: dtype.map(Into::into),
        unit: Some("V".into()),
        ..Column::default()
    };
    let columns = vec![column("v", None), column("word", Some("string"))];
    book.declare("S1", "main", columns.clone()).unwrap();
    book.declare("S1", "main", columns.clone()).unwrap();
    for wrong in [
        json!({"v": "five"}),
        json!({"w": 1}),
        json!({"word": 1}),
        json!({"v": {"a": 1}}),
        json!({"v": [[1]]}),
    ] {
        let refused = book.append("S1", "main", vec![row_of(Some(0), wrong.clone())], Vec::new());
        assert!(matches!(refused, Err(BookError::Columns(_))), "{wrong}: {refused:?}");
    }
    book.append("S1", "main", vec![row_of(Some(0), json!({"v": 1.5, "word": "x"}))], Vec::new()).unwrap();
    assert!(matches!(book.declare("S1", "main", vec![column("z", None)]), Err(BookError::Columns(_))));
    assert!(matches!(
        book.declare("S1", "b", vec![column("z", None), column("z", None)]),
        Err(BookError::Columns(_))
    ));
    world.settle();
    let world = world.kill();
    assert_eq!(world.book.measurements("S1")["main"], columns, "though its rows are in the log alone");
    let book = &world.book;
    let world = {
        book.end("S1");
        world.commit();
        world.book.work().unwrap();
        world.kill()
    };
    assert_eq!(world.book.measurements("S1")["main"], columns, "declared columns survive");
}

#[test]
fn fast_rows_are_told_together_and_a_status_never_overtakes_them() {
    let world = world();
    for n in 0..50 {
        world.add("S1", n, 1).unwrap();
    }
    assert_eq!(world.book.counts("S1")["main"], 50, "accepted");
    let told = |world: &World| world.bus.after(0, 1_000).unwrap().len();
    assert!(told(&world) < 10, "{} frames", told(&world));
    let note = || Draft::checked("note", Some("app/x"), json!({})).unwrap();
    world.book.append("S1", "main", Vec::new(), vec![note()]).unwrap();
    let events = world.bus.after(0, 1_000).unwrap();
    assert_eq!(&*events.last().unwrap().kind, "note");
    assert_eq!(&*events[events.len() - 2].kind, "data_batch", "what waited came first");
    assert_eq!(world.all("S1"), expected(50));
    assert!(lock(&world.book.holding).is_empty());
}

#[test]
fn a_kill_loses_nothing_committed_and_doubles_nothing() {
    let mut world = world();
    let mut count = 0;
    for round in 0..12_u64 {
        let more = 40 + round * 37;
        for n in (count..count + more).step_by(10) {
            world.add("S1", n, 10.min(count + more - n)).unwrap();
        }
        count += more;
        world.settle();
        if round % 3 == 0 {
            world.book.work().unwrap();
            world.book.write(round % 2 == 0).unwrap();
        }
        if round % 4 == 1 {
            // In blocks, but the log's next commit, which would say so, is not made.
            world.book.write(true).unwrap();
        }
        world = world.kill();
        assert_eq!(world.all("S1"), expected(count), "round {round}");
        assert_eq!(world.book.last_index("S1", "main"), Some(count - 1));
    }
    // What was told and not committed is gone, and its numbers are free again.
    world.add("S1", count, 5).unwrap();
    world.book.tick();
    world.book.write(true).unwrap();
    let world = world.kill();
    assert_eq!(world.all("S1"), expected(count));
    assert_eq!(world.add("S1", count, 5).unwrap().accepted, 5);
}

#[test]
fn ten_thousand_rows_twice_are_ten_thousand() {
    let world = world();
    for from in (0..10_000).step_by(500) {
        assert_eq!(world.add("S1", from, 500).unwrap().accepted, 500);
    }
    world.settle();
    world.book.write(true).unwrap();
    for from in (0..10_000).step_by(500) {
        let again = world.add("S1", from, 500).unwrap();
        assert_eq!((again.accepted, again.duplicates), (0, 500));
    }
    assert_eq!(world.all("S1"), expected(10_000));
    let conflict = world.book.append("S1", "main", vec![row_of(Some(77), json!({"v": 1}))], Vec::new());
    assert!(
        matches!(conflict, Err(BookError::Conflict { index: 77, .. })),
        "also of what is only on the disk"
    );
}

#[test]
fn the_log_keeps_rows_until_they_are_in_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let small = config::Store { keep_bytes: 20_000, ..config::Store::default() };
    let opened = Store::open(dir.path(), &small).unwrap();
    let store = Arc::new(opened.store);
    let bus = Arc::new(Bus::new(opened.start, Arc::new(Metrics::default())));
    let book = Book::open(Arc::clone(&bus), Arc::clone(&store)).unwrap();
    let world = World { bus, store, book, dir };
    world.add("S1", 0, 5).unwrap();
    world.settle();
    for _ in 0..30 {
        let pad = Draft::checked("note", Some("app/x"), json!({ "pad": "x".repeat(4_000) })).unwrap();
        world.bus.publish(pad).unwrap();
        world.commit();
    }
    assert_eq!(world.store.floor(), 0, "nothing went while rows were in the log alone");
    world.book.work().unwrap();
    let pad = Draft::checked("note", Some("app/x"), json!({})).unwrap();
    world.bus.publish(pad).unwrap();
    world.commit();
    assert!(world.store.floor() > 0, "then it did");
    let world = world.kill();
    assert_eq!(world.all("S1"), expected(5));
}

#[test]
fn rows_that_others_publish_are_kept_too() {
    let world = world();
    let point = |n: u64| {
        let payload = json!({ "scan_id": "S9", "measurement": "iv", "sequence_index": n, "data": { "v": n as f64 / 8.0 } });
        Draft::checked("data_point", None, payload).unwrap()
    };
    for n in [0, 1, 1, 2, 7] {
        world.bus.publish(point(n)).unwrap();
    }
    world.add("S1", 0, 3).unwrap();
    world.book.work().unwrap();
    assert_eq!(world.all("S9"), expected(3), "once each, and none behind a gap");
    assert_eq!(world.all("S1"), expected(3), "our own are not taken twice");
    world.commit();
    let world = world.kill();
    assert_eq!((world.all("S9"), world.all("S1")), (expected(3), expected(3)));
}

#[test]
fn what_lives_never_makes_room_however_long_it_rests() {
    let mut world = world();
    for (n, scan) in ["live", "over", "heard"].into_iter().enumerate() {
        // Measured years ago by whatever clock.
        world.add(scan, 0, 300 + n as u64).unwrap();
        world.settle();
        world.book.write(true).unwrap();
    }
    assert!(lock(&world.book.scans).is_empty(), "all let go");
    let going = |world: &World| {
        let lives = |scan: &str| match scan {
            "live" => Some(true),
            "over" => Some(false),
            _ => None,
        };
        world.book.surplus(0, lives).unwrap()
    };
    assert_eq!(going(&world), ["over"]);
    let Some(began) = Instant::now().checked_sub(QUIET) else { return };
    world.book.opened = began;
    assert_eq!(going(&world), ["over"], "it was heard of in this run");
    lock(&world.book.let_go).clear();
    assert_eq!(going(&world), ["over", "heard"]);
}

#[test]
fn an_error_of_the_store_leaves_no_hole() {
    let world = world();
    let points = |range: std::ops::Range<u64>| {
        for n in range {
            let payload = json!({ "scan_id": "S9", "measurement": "iv", "sequence_index": n, "data": { "v": n as f64 / 8.0 } });
            world.bus.publish(Draft::checked("data_point", None, payload).unwrap()).unwrap();
        }
    };
    points(0..3);
    world.store.close_as_after_an_error();
    world.book.work().unwrap_err();
    world.commit();
    points(3..5);
    world.book.work().unwrap();
    assert_eq!(world.all("S9"), expected(5));
}

#[test]
fn a_refused_first_row_leaves_nothing_behind() {
    let world = world();
    world.book.declare("S1", "main", vec![Column { name: "v".into(), ..Column::default() }]).unwrap();
    world.bus.stop();
    let note = Draft::checked("note", Some("app/x"), json!({})).unwrap();
    let refused = world.book.append("S1", "main", vec![numbered(Some(1))], vec![note]);
    assert!(matches!(refused, Err(BookError::Refused(_))), "{refused:?}");
    world.book.write(true).unwrap();
    assert!(world.book.counts("S1").values().all(|n| *n == 0));
}

#[test]
fn rows_that_wait_are_told_when_somebody_wants_them_on_the_disk() {
    let world = world();
    for n in 0..5 {
        world.add("S1", n, 1).unwrap();
    }
    let through = world.book.flush("S1").unwrap();
    assert_eq!(through, world.bus.head().seq);
    world.commit();
    assert_eq!((world.bus.committed(), world.kill().all("S1")), (through, expected(5)));
    let world = self::world();
    world.add("S1", 0, 1).unwrap();
    world.add("S1", 1, 1).unwrap();
    world.bus.stop();
    assert!(matches!(world.book.flush("S1"), Err(BookError::Refused(_))), "not durable, and not said to be");
}

#[test]
fn a_scan_that_was_let_go_is_kept_ready() {
    let world = world();
    world.add("S1", 0, 3).unwrap();
    world.settle();
    world.book.write(true).unwrap();
    assert_eq!(world.book.last_index("S1", "main"), Some(2));
    assert!(!lock(&world.book.scans).contains_key("S1"), "looking does not keep it");
    world.book.keep_ready("S1").unwrap();
    assert!(lock(&world.book.scans).contains_key("S1"));
}

#[test]
fn large_rows_are_read_and_counted_by_their_bytes() {
    let world = world();
    let text = "x".repeat(40_000);
    for from in (0..512).step_by(16) {
        let rows = (from..from + 16).map(|n| row_of(Some(n), json!({ "text": text, "v": n }))).collect();
        world.book.append("S1", "main", rows, Vec::new()).unwrap();
        world.settle();
    }
    let in_memory = lock(&world.book.ledger("S1").unwrap()).bytes();
    assert!(in_memory > 512 * 40_000, "{in_memory}");
    world.book.write(true).unwrap();
    assert_eq!(world.store.read_points("S1", "main", (0, 512), 16).unwrap().len(), 1, "then they are enough");
    let view = world.book.view("S1", None).unwrap().unwrap();
    let page = view.rows(0, 512).unwrap();
    assert_eq!((page.chunks.len(), page.next), (1, Some(256)));
    assert_eq!(world.all("S1").len(), 512);
    let (parts, _) = world.store.summaries("S1", "main", (0, 512), 256, &["text"]).unwrap();
    assert!(parts.iter().all(|part| part.spans.is_empty()), "no column that nobody asked for");
    let (parts, _) = world.store.summaries("S1", "main", (0, 512), 256, &["v"]).unwrap();
    assert_eq!(parts.iter().map(|part| part.spans.len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn readers_share_rows_in_memory_and_keep_what_they_were_given() {
    let world = world();
    for from in (0..1_000).step_by(100) {
        world.add("S1", from, 100).unwrap();
    }
    let view = world.book.view("S1", None).unwrap().unwrap();
    let other = world.book.view("S1", None).unwrap().unwrap();
    assert_eq!(view.tail.len(), 4);
    assert!(view.tail.iter().zip(&other.tail).all(|(a, b)| Arc::ptr_eq(a, b)), "nothing is copied");
    world.add("S1", 1_000, 100).unwrap();
    let rows = |view: &View| view.rows(0, 5_000).unwrap().chunks.iter().map(Chunk::len).sum::<usize>();
    assert_eq!((rows(&view), view.next), (1_000, 1_000), "of one moment");
    assert_eq!(rows(&world.book.view("S1", None).unwrap().unwrap()), 1_100);
}

#[test]
fn an_overview_says_what_each_measurement_has() {
    let world = world();
    let columns = vec![Column { name: "v".into(), ..Column::default() }];
    world.book.declare("S1", "planned", columns.clone()).unwrap();
    world.book.append("S1", "m", vec![numbered(Some(1)), numbered(Some(2))], Vec::new()).unwrap();
    world.settle();
    let check = |world: &World| {
        let overview = world.book.overview("S1");
        let of =
            |name: &str| (overview[name].columns.clone(), overview[name].rows, overview[name].last_index);
        assert_eq!(of("planned"), (columns.clone(), 0, None));
        assert_eq!(of("m"), (columns.clone(), 2, Some(2)));
    };
    check(&world);
    world.book.end("S1");
    world.commit();
    world.book.work().unwrap();
    assert!(lock(&world.book.scans).is_empty());
    check(&world);
}

#[test]
fn what_is_forgotten_does_not_come_back() {
    let world = world();
    for scan in ["S1", "S2"] {
        for from in (0..140_000).step_by(5_000) {
            world.add(scan, from, 5_000).unwrap();
        }
        world.settle();
        world.book.end(scan);
        world.book.work().unwrap();
    }
    world.add("S1", 140_000, 3).unwrap();
    world.settle();
    let before = world.book.bytes();
    assert_eq!(world.book.surplus(before, |_| None).unwrap(), Vec::<String>::new());
    assert_eq!(world.book.surplus(before - 1, |_| None).unwrap(), ["S1"]);
    world.book.forget("S1");
    assert!(world.book.counts("S1").is_empty() && world.book.view("S1", None).unwrap().is_none());
    world.book.work().unwrap();
    assert!(world.book.bytes() < before && world.book.bytes() > before / 2, "bit by bit");
    // Killed in the middle.
    let world = world.kill();
    assert!(world.book.view("S1", None).unwrap().is_none(), "not from the log either");
    for _ in 0..6 {
        world.book.work().unwrap();
    }
    assert!(world.book.bytes() * 2 <= before + 2_000, "{} of {before}", world.book.bytes());
    assert_eq!(world.all("S2").len(), 140_000);
    // Once the log is past it, its id is free.
    world.bus.publish(Draft::checked("note", Some("app/x"), json!({})).unwrap()).unwrap();
    world.book.write(true).unwrap();
    world.commit();
    world.book.write(true).unwrap();
    world.bus.publish(Draft::checked("note", Some("app/x"), json!({})).unwrap()).unwrap();
    world.commit();
    for _ in 0..3 {
        world.book.work().unwrap();
    }
    world.add("S1", 0, 2).unwrap();
    assert_eq!(world.all("S1"), expected(2));
}
