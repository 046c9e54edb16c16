//! The resume matrix: every row of the table in `resume`, with the real store on a real disk and real sockets, and
//! thousands of random steps of publish, commit, kill, evict and reconnect against a model that knows what is owed.
//!
//! A "kill" here abandons the bus and the store as a SIGKILL does: what was not committed is gone. The same with the
//! real binary and a real signal is in tests/it.

use super::frame::tests::{Seen, parse};
use super::{Format, Push, Request};
use crate::bus::Bus;
use crate::config;
use crate::metrics::Metrics;
use crate::model::{Cursor, Draft, Role, Since, TopicFilter};
use crate::random::Random;
use crate::store::Store;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A daemon without threads of its own but the pool's: the test decides when a commit happens.
struct World {
    bus: Arc<Bus>,
    store: Arc<Store>,
    push: Push,
}

impl World {
    fn open(dir: &Path) -> World {
        World::open_keeping(dir, u64::MAX)
    }

    fn open_keeping(dir: &Path, keep_bytes: u64) -> World {
        let settings = config::Store { keep_bytes, ..config::Store::default() };
        let opened = Store::open(dir, &settings).unwrap();
        let bus = Arc::new(Bus::new(opened.start, Arc::new(Metrics::default())));
        let store = Arc::new(opened.store);
        let settings =
            config::Push { threads: 1, heartbeat: Duration::from_millis(40), ..config::Push::default() };
        let push = Push::start(Arc::clone(&bus), Arc::clone(&store), &settings).unwrap();
        World { bus, store, push }
    }

    fn record(&self, n: u64) -> Cursor {
        self.bus.publish(Draft::checked("note", Some("app/x"), json!({ "n": n })).unwrap()).unwrap()
    }

    fn record_on(&self, topic: &str, n: u64) -> Cursor {
        self.bus.publish(Draft::checked("note", Some(topic), json!({ "n": n })).unwrap()).unwrap()
    }

    fn state(&self, key: u64, n: u64) -> Cursor {
        let status =
            json!({ "job_id": format!("j{key}"), "kind": "encode", "status": "running", "progress": n });
        self.bus.publish(Draft::checked("job_status", None, status).unwrap()).unwrap()
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

    /// Opens a stream and reads until a heartbeat shows that it has all there is.
    fn read(&self, since: Since, topics: &str) -> Vec<Seen> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        self.push.serve(Arc::new(server), request(since, topics), Box::new(()));
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = Vec::new();
        let begun = Instant::now();
        loop {
            let mut some = [0; 65_536];
            let n = client.read(&mut some).unwrap();
            assert!(n > 0, "the stream ended");
            bytes.extend(&some[..n]);
            let seen = parse(&bytes);
            if seen.iter().any(|s| s.event == "heartbeat") {
                return seen.into_iter().filter(|s| s.event != "heartbeat").collect();
            }
            assert!(begun.elapsed() < Duration::from_secs(10));
        }
    }

    fn kill(self) {
        self.push.stop();
    }
}

fn request(since: Since, topics: &str) -> Request {
    Request {
        topics: TopicFilter::parse(topics).unwrap(),
        types: None,
        interval: None,
        format: Format::Sse,
        since,
        state: None,
        limit: None,
        role: Role::View,
    }
}

const ALL: &str = "*";

fn payload(seen: &Seen) -> Value {
    serde_json::from_str::<Value>(&seen.data).unwrap()["payload"].clone()
}

fn names(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|s| s.event.as_str()).collect()
}

fn notes(seen: &[Seen]) -> Vec<u64> {
    seen.iter().filter(|s| s.event == "note").map(|s| payload(s)["n"].as_u64().unwrap()).collect()
}

fn gaps(seen: &[Seen]) -> Vec<(String, Value, Value, Value)> {
    seen.iter()
        .filter(|s| s.event == "gap")
        .map(payload)
        .map(|p| {
            (p["reason"].as_str().unwrap().to_string(), p["from"].clone(), p["to"].clone(), p["lost"].clone())
        })
        .collect()
}

#[test]
fn reconnect_within_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let ids: Vec<_> = (0..20).map(|n| world.record(n)).collect();
    world.commit();
    for n in 20..25 {
        world.record(n);
    }
    let seen = world.read(Since::After(ids[9]), ALL);
    assert_eq!(notes(&seen), (10..25).collect::<Vec<_>>());
    assert_eq!(names(&seen)[0], "hello");
    assert_eq!(payload(&seen[0])["resumed"], true);
    assert!(gaps(&seen).is_empty());
    let seen = world.read(Since::After(world.bus.head()), ALL);
    assert_eq!(names(&seen), ["hello"]);
}

#[test]
fn state_is_given_once_at_its_newest_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    world.state(1, 1);
    world.record(1);
    world.state(2, 1);
    world.state(1, 2);
    world.commit();
    world.record(2);
    for since in [start, world.bus.head()] {
        let seen = world.read(Since::After(since), ALL);
        let ids: Vec<Cursor> =
            seen.iter().filter_map(|s| s.id.as_ref()).map(|id| id.parse().unwrap()).collect();
        assert!(ids.is_sorted(), "{ids:?}");
    }
    let seen = world.read(Since::After(start), ALL);
    assert_eq!(names(&seen), ["hello", "note", "job_status", "job_status", "note"]);
    // The same when it all comes from the store.
    world.commit();
    world.kill();
    let world = World::open(dir.path());
    let seen = world.read(Since::After(start), ALL);
    assert_eq!(names(&seen), ["hello", "note", "job_status", "job_status", "note"]);
    assert_eq!(payload(&seen[3])["progress"], 2);
}

#[test]
fn restart_and_reconnect_before_anything_new_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let ids: Vec<_> = (0..5).map(|n| world.record(n)).collect();
    world.commit();
    world.kill();
    let world = World::open(dir.path());
    let seen = world.read(Since::After(ids[2]), ALL);
    assert_eq!(notes(&seen), [3, 4]);
    let seen = world.read(Since::After(ids[4]), ALL);
    assert_eq!(names(&seen), ["hello"]);
    // The id of that hello is this run's, and good for the next restart.
    let id: Cursor = seen[0].id.as_ref().unwrap().parse().unwrap();
    world.kill();
    let world = World::open(dir.path());
    world.record(9);
    assert_eq!(notes(&world.read(Since::After(id), ALL)), [9]);
}

#[test]
fn killed_between_publish_and_commit() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    world.state(1, 1);
    let kept = world.record(1);
    world.commit();
    world.state(1, 99);
    let lost = (2..6).map(|n| world.record(n)).last().unwrap();
    world.kill();
    let world = World::open(dir.path());
    world.record(7);
    let seen = world.read(Since::After(lost), ALL);
    assert_eq!(gaps(&seen), [("lost_tail".into(), json!(kept), json!(lost), json!(5))]);
    assert_eq!(names(&seen), ["hello", "gap", "snapshot", "note"]);
    assert_eq!(payload(&seen[2])["state"][0]["payload"]["progress"], 1, "the phantom value is taken back");
    assert_eq!(payload(&seen[2])["state"][0]["quality_reason"], "initial");
    assert_eq!(notes(&seen), [7]);
    assert_eq!(payload(&seen[0])["resumed"], false);
    // Who had not seen the lost ones misses nothing that exists.
    let seen = world.read(Since::After(kept), ALL);
    assert!(gaps(&seen).is_empty());
    assert_eq!(notes(&seen), [7]);
}

#[test]
fn evicted_by_retention() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open_keeping(dir.path(), 20_000);
    let first = world.record(0);
    for n in 1..600 {
        world.record(n);
        if n % 20 == 0 {
            world.commit();
        }
    }
    world.commit();
    world.kill();
    let world = World::open_keeping(dir.path(), 20_000);
    let floor = world.store.floor();
    assert!(floor > 100);
    let seen = world.read(Since::After(first), ALL);
    let to = Cursor { epoch: first.epoch, seq: floor };
    assert_eq!(gaps(&seen), [("evicted".into(), json!(first), json!(to), json!(floor - first.seq))]);
    assert_eq!(notes(&seen), (floor..600).collect::<Vec<_>>(), "record n has seq n + 1");
    let seen = world.read(Since::After(to), ALL);
    assert!(gaps(&seen).is_empty(), "the edge is exact");
    assert_eq!(notes(&seen), (floor..600).collect::<Vec<_>>());
    let seen = world.read(Since::Earliest, ALL);
    assert_eq!(notes(&seen), (floor..600).collect::<Vec<_>>());
}

#[test]
fn future_foreign_and_garbage_ids_are_told_apart_from_ours() {
    let dir = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let foreign = {
        let world = World::open(other.path());
        let id = world.record(1);
        world.commit();
        world.kill();
        id
    };
    let world = World::open(dir.path());
    world.state(1, 1);
    world.record(1);
    world.commit();
    let head = world.bus.head();
    let future = Cursor { seq: head.seq + 1, ..head };
    let later = Cursor { epoch: head.epoch + 1, ..head };
    let before = Cursor { epoch: head.epoch, seq: u64::MAX };
    for since in [
        Since::After(future),
        Since::After(later),
        Since::After(foreign),
        Since::After(before),
        Since::Unreadable("<script>".into()),
    ] {
        let seen = world.read(since.clone(), ALL);
        let said = match &since {
            Since::After(cursor) => cursor.to_string(),
            _ => "<script>".into(),
        };
        assert_eq!(gaps(&seen), [("unknown_id".into(), json!(said), json!(head), Value::Null)]);
        assert_eq!(names(&seen), ["hello", "gap", "snapshot"], "{since:?}");
        assert_eq!(seen[0].id, None, "a reader cut off before the gap must come back with its old id");
    }
}

#[test]
fn filtered_topics_stay_exact() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    for n in 0..300 {
        world.record_on(if n % 3 == 0 { "app/a" } else { "app/b" }, n);
        if n == 150 {
            world.commit();
        }
    }
    let mine: Vec<u64> = (0..300).filter(|n| n % 3 == 0).collect();
    let seen = world.read(Since::After(start), "app/a");
    assert_eq!(notes(&seen), mine);
    world.commit();
    world.kill();
    let world = World::open(dir.path());
    assert_eq!(notes(&world.read(Since::After(start), "app/a")), mine);
    // A heartbeat moved a filtered reader on: it resumes where the log stood, not at its last own event.
    let id = Cursor { epoch: start.epoch, seq: 299 };
    assert_eq!(notes(&world.read(Since::After(id), "app/a")), Vec::<u64>::new());
    assert_eq!(notes(&world.read(Since::After(id), "app/b")), [299]);
}

#[test]
fn what_ended_while_a_reader_was_away_is_told_or_a_snapshot_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    world.state(1, 1);
    let before = world.bus.head();
    let end = |key: u64| {
        let status =
            json!({ "job_id": format!("j{key}"), "kind": "encode", "status": "completed", "progress": 1 });
        world.bus.publish(Draft::checked("job_status", None, status).unwrap().retired()).unwrap();
    };
    end(1);
    world.commit();
    let seen = world.read(Since::After(before), ALL);
    assert_eq!(names(&seen), ["hello", "job_status"]);
    assert_eq!(payload(&seen[1])["status"], "completed");
    (2..100).for_each(end);
    world.commit();
    world.kill();
    let world = World::open(dir.path());
    let seen = world.read(Since::After(before), ALL);
    assert_eq!(
        names(&seen)[..2],
        ["hello", "snapshot"],
        "j1 is no longer known: only the whole state can say so"
    );
    assert_eq!(payload(&seen[0])["resumed"], true, "nothing is lost");
    assert!(gaps(&seen).is_empty());
}

#[test]
fn a_poll_goes_the_same_way() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    for n in 0..50 {
        world.record(n);
    }
    let mut all = Vec::new();
    let mut cursor = start;
    loop {
        let poll =
            world.push.poll(&Request { limit: Some(7), ..request(Since::After(cursor), ALL) }).unwrap();
        assert!(poll.gap.is_none());
        all.extend(
            poll.events
                .iter()
                .map(|e| serde_json::from_str::<Value>(e).unwrap()["payload"]["n"].as_u64().unwrap()),
        );
        cursor = poll.cursor;
        if !poll.more {
            break;
        }
    }
    assert_eq!(all, (0..50).collect::<Vec<_>>());
    let poll = world.push.poll(&request(Since::Nothing, ALL)).unwrap();
    assert!(poll.events[0].contains(r#""type":"snapshot""#));
    let poll = world.push.poll(&request(Since::Unreadable("x".into()), ALL)).unwrap();
    assert!(poll.gap.unwrap().contains("unknown_id"));
}

/// What a reader must have been given, by seq.
#[derive(Default)]
struct Model {
    /// Every record that exists, by seq.
    log: BTreeMap<u64, u64>,
    /// The number the last record was given.
    next: u64,
}

#[test]
fn thousands_of_random_steps_are_exact() {
    let seed = std::env::var("TELLTALE_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(|| u64::from(getrandom::u32().unwrap()));
    println!("seed {seed}; again with TELLTALE_SEED={seed}");
    let mut random = Random(seed);
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::open(dir.path());
    let mut model = Model::default();
    // The reader: its cursor, and what it has by seq since the last gap took something back.
    let mut cursor = world.bus.head();
    let mut had: BTreeMap<u64, u64> = BTreeMap::new();
    let mut kills = 0;
    for step in 0..4_000 {
        match random.next() % 100 {
            0..55 => {
                for _ in 0..random.next() % 4 + 1 {
                    model.next += 1;
                    let id = world.record(model.next);
                    model.log.insert(id.seq, model.next);
                }
            }
            55..70 => drop(world.state(random.next() % 3, step)),
            70..80 => world.commit(),
            80..84 => {
                kills += 1;
                let committed = world.bus.committed();
                world.kill();
                model.log.split_off(&(committed + 1));
                world = World::open(dir.path());
            }
            _ => {
                // By poll: the same code finds the way, without waiting for a heartbeat.
                let head = world.bus.head();
                let mut request = request(Since::After(cursor), ALL);
                request.limit = Some((random.next() % 40 + 1) as usize);
                let poll = world.push.poll(&request).unwrap();
                let owed: Vec<(u64, u64)>;
                if let Some(gap) = &poll.gap {
                    let gap: Value = serde_json::from_str(gap).unwrap();
                    assert_eq!(gap["reason"], "lost_tail", "step {step}: {gap}");
                    let from: Cursor = gap["from"].as_str().unwrap().parse().unwrap();
                    assert_eq!(gap["lost"], cursor.seq - from.seq, "step {step}: the count is exact");
                    assert!(cursor.epoch < head.epoch && cursor.seq > from.seq);
                    let phantoms = had.split_off(&(from.seq + 1));
                    for (seq, n) in phantoms {
                        assert_ne!(
                            model.log.get(&seq),
                            Some(&n),
                            "step {step}: {seq} was said to be lost but is stored"
                        );
                    }
                    owed = model.log.range(from.seq + 1..).map(|(s, n)| (*s, *n)).collect();
                } else {
                    owed = model.log.range(cursor.seq + 1..).map(|(s, n)| (*s, *n)).collect();
                }
                let mut given = Vec::new();
                for event in &poll.events {
                    let event: Value = serde_json::from_str(event).unwrap();
                    if event["type"] == "note" {
                        let id: Cursor = event["id"].as_str().unwrap().parse().unwrap();
                        given.push((id.seq, event["payload"]["n"].as_u64().unwrap()));
                    }
                }
                assert_eq!(
                    given,
                    owed[..given.len()],
                    "step {step}: in order, nothing missing, nothing else"
                );
                for (seq, n) in &given {
                    assert_eq!(had.insert(*seq, *n), None, "step {step}: {seq} came twice");
                }
                if !poll.more {
                    assert_eq!(given.len(), owed.len(), "step {step}: something is missing at the head");
                    assert_eq!(had, model.log, "step {step}");
                }
                cursor = poll.cursor;
            }
        }
    }
    assert!(kills > 50);
}

#[test]
fn live_readers_get_everything_once_while_it_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut clients = Vec::new();
    let mut n = 0;
    for round in 0..8 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let since = if round % 2 == 0 { Since::After(start) } else { Since::Latest };
        let from = if round % 2 == 0 { 0 } else { n };
        world.push.serve(Arc::new(server), request(since, "app/x"), Box::new(()));
        clients.push((client, from));
        for _ in 0..500 {
            world.record(n);
            n += 1;
        }
        if round == 4 {
            world.commit();
        }
    }
    for (mut client, from) in clients {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = Vec::new();
        let mut some = vec![0; 1 << 16];
        let begun = Instant::now();
        let seen = loop {
            let read = client.read(&mut some).unwrap();
            bytes.extend(&some[..read]);
            let seen = notes(&parse(&bytes));
            if seen.last() == Some(&(n - 1)) {
                break seen;
            }
            assert!(read > 0 && begun.elapsed() < Duration::from_secs(20));
        };
        assert_eq!(seen, (from..n).collect::<Vec<_>>());
    }
}

#[test]
fn a_reader_that_stops_for_a_while_is_fed_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    world.push.serve(Arc::new(server), request(Since::After(start), "app/x"), Box::new(()));
    let pad = "x".repeat(600);
    let count = 40_000;
    for n in 0..count {
        let draft = Draft::checked("note", Some("app/x"), json!({ "n": n, "pad": pad })).unwrap();
        world.bus.publish(draft).unwrap();
        if n % 500 == 0 {
            world.commit();
            std::thread::yield_now();
        }
    }
    world.commit();
    // It has fallen out of the group's log and of the hot log: 30 MB are more than both and the sockets hold.
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = Vec::new();
    let mut some = vec![0; 1 << 18];
    let last = format!("\"n\":{}", count - 1);
    while !bytes.ends_with(b"\n\n")
        || !String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4_000)..]).contains(&last)
    {
        let read = client.read(&mut some).unwrap();
        assert!(read > 0, "closed although it read on in time");
        bytes.extend(&some[..read]);
    }
    let seen = parse(&bytes);
    assert_eq!(notes(&seen), (0..count).collect::<Vec<_>>());
    assert!(gaps(&seen).is_empty());
    let ids: Vec<Cursor> = seen.iter().filter_map(|s| s.id.as_ref()).map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted(), "ids never go back on one connection");
    assert!(world.bus.metrics.catch_ups_total.get() > 0, "the test did not reach what it is about");
}

#[test]
fn an_interval_conflates_state_and_never_records() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let asked = Request { interval: Some(Duration::from_millis(150)), ..request(Since::Latest, ALL) };
    world.push.serve(Arc::new(server), asked, Box::new(()));
    for n in 0..200 {
        world.state(1, n);
        world.record(n);
        std::thread::sleep(Duration::from_millis(1));
    }
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut bytes = Vec::new();
    let mut some = vec![0; 1 << 16];
    let seen = loop {
        let read = client.read(&mut some).unwrap();
        bytes.extend(&some[..read]);
        let seen = parse(&bytes);
        if seen.iter().any(|s| s.event == "job_status" && payload(s)["progress"] == 199) {
            break seen;
        }
    };
    assert_eq!(notes(&seen), (0..200).collect::<Vec<_>>());
    let states = seen.iter().filter(|s| s.event == "job_status").count();
    assert!((2..=10).contains(&states), "{states} of 200 were sent");
    let ids: Vec<Cursor> = seen.iter().filter_map(|s| s.id.as_ref()).map(|id| id.parse().unwrap()).collect();
    assert!(ids.is_sorted());
}

#[test]
fn a_limit_ends_the_stream_after_so_many() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::open(dir.path());
    let start = world.bus.head();
    for n in 0..3 {
        world.record(n);
    }
    for limit in [2, 5] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        world.push.serve(
            Arc::new(server),
            Request { limit: Some(limit), ..request(Since::After(start), ALL) },
            Box::new(()),
        );
        for n in 3..10 {
            world.record(n);
        }
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(notes(&parse(&bytes)).len(), limit);
    }
}
