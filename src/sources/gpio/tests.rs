//! Inputs on pins that are played: edges, sinks, floods, outages, alerts.

use super::super::hardware::fake::FakePins;
use super::*;
use crate::bus::Start;
use crate::config::{PinAlert, Pull};
use crate::metrics::Metrics;
use crate::threads::{self, Stop};
use serde_json::Value as Json;
use std::thread::JoinHandle;
use std::time::Instant;

fn pin(id: &str, number: u8, sink: Sink) -> GpioPin {
    GpioPin {
        id: id.into(),
        pin: number,
        pull: Pull::Up,
        active_low: true,
        sink: Some(sink),
        interval: Duration::ZERO,
        ..GpioPin::default()
    }
}

struct Running {
    bus: Arc<Bus>,
    instruments: Arc<Instruments>,
    until: Until,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(pins: Vec<GpioPin>, board: &FakePins) -> Running {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
        let instruments = Arc::<Instruments>::default();
        let desk = Desk {
            instruments: Arc::clone(&instruments),
            bus: Arc::clone(&bus),
            fold: Arc::new(Fold::new(Arc::clone(&bus))),
            alerts: Arc::new(Alerts::new(Arc::clone(&bus))),
        };
        let source = GpioSource::new(&pins, Arc::new(board.clone()), desk).unwrap();
        let until = Until { daemon: Stop::default(), set: Stop::default() };
        let inner = until.clone();
        let thread = threads::spawn("gpio", 256 * 1024, move || source.run(&inner)).unwrap();
        Running { bus, instruments, until, thread: Some(thread) }
    }

    fn state(&self, key: &str) -> Json {
        let event = self.bus.state_of(key);
        event.map_or(Json::Null, |e| serde_json::from_str::<Json>(e.data()).unwrap()["payload"].clone())
    }

    fn records(&self, kind: &str) -> Vec<Json> {
        let all = self.bus.after(0, 100_000).unwrap();
        let ours = all.iter().filter(|e| &*e.kind == kind);
        ours.map(|e| serde_json::from_str::<Json>(e.data()).unwrap()["payload"].clone()).collect()
    }

    #[track_caller]
    fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !check(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
            std::thread::yield_now();
        }
    }

    fn end(&mut self) {
        self.until.set.stop();
        threads::join(self.thread.take().unwrap());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

#[test]
fn an_edge_becomes_a_record_and_a_status() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("door", 17, Sink::Topic("app/door".into()))], &board);
    run.until("the level at the start", |r| r.records("level").len() == 1);
    assert_eq!(board.claimed(17), Some(Pull::Up));
    let start = &run.records("level")[0];
    assert_eq!(
        (&start["level"], &start["active"], &start["reason"]),
        (&json!(1), &json!(false), &json!("start"))
    );
    board.set(17, false);
    board.set(17, true);
    run.until("two edges", |r| r.records("edge").len() == 2);
    let first = &run.records("edge")[0];
    assert_eq!(
        (&first["edge"], &first["active"], &first["count"], &first["pin"]),
        (&json!("falling"), &json!(true), &json!(1), &json!(17))
    );
    assert!(first["timestamp_mono_ns"].as_u64().unwrap() > 0);
    run.until("the counters", |r| r.state("source_status/door")["detail"]["edges"] == 2);
    assert_eq!(run.state("source_status/door")["status"], "ok");
}

#[test]
fn an_input_is_an_instrument_that_is_read() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("door", 17, Sink::Topic("app/door".into()))], &board);
    let read = |channels: &[&str]| {
        let channels = channels.iter().map(ToString::to_string).collect();
        let answer = run.instruments.ask("door", Request::Read { channels }).ok()?;
        answer.from.try_recv().ok()
    };
    let values = |channels: &[&str]| -> Option<Vec<Value>> {
        Some(read(channels)?.readings.into_iter().map(|reading| reading.value).collect())
    };
    let numbers = |level: f64, count: f64| Some(vec![Value::Number(level), Value::Number(count)]);
    run.until("it to be read", |_| values(&[LEVEL, COUNT]) == numbers(0.0, 0.0));
    board.set(17, false);
    run.until("the edge", |_| values(&[LEVEL, COUNT]) == numbers(1.0, 1.0));
    assert_eq!(read(&["colour"]).unwrap().state, CommandState::Rejected);
    let answer = run.instruments.ask("door", Request::Safe).unwrap();
    assert_eq!(answer.from.try_recv().unwrap().state, CommandState::Rejected);
}

#[test]
fn every_sink_is_fed() {
    let board = FakePins::default();
    let mut channel = pin("valve", 6, Sink::Instrument("rig".into()));
    channel.active = Some("open".into());
    let pins =
        vec![pin("rec", 5, Sink::Recorder("r".into())), channel, pin("flow", 7, Sink::Stream("flow".into()))];
    let run = Running::start(pins, &board);
    run.until("the start", |r| r.state("stream_value/flow")["value"] == 0.0);
    assert_eq!(run.state("recorder_status/r")["status"], "idle");
    for number in [5, 6, 7] {
        board.set(number, false);
    }
    run.until("the last", |r| r.state("stream_value/flow")["value"] == 1.0);
    assert_eq!(run.state("recorder_status/r")["status"], "recording");
    assert_eq!(run.state("instrument_status/rig")["channels"]["open"]["value"], 1.0);
}

#[test]
fn edges_that_were_lost_are_counted_once_and_not_made_up() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("p", 4, Sink::Topic("app/p".into()))], &board);
    run.until("the start", |r| r.records("level").len() == 1);
    // The kernel dropped two edges, the next one shows the gap.
    board.lose_edge(4);
    board.lose_edge(4);
    board.set(4, false);
    run.until("the gap", |r| r.state("source_status/p")["detail"]["lost_edges"] == 2);
    // An edge vanished and no further one comes: reading the level again finds it.
    board.set_silently(4, true);
    board.lose_edge(4);
    run.until("the re-read level", |r| r.records("level").len() == 2);
    let reread = &run.records("level")[1];
    assert_eq!(
        (&reread["reason"], &reread["level"], &reread["lost"]),
        (&json!("reread"), &json!(1), &json!(3))
    );
    // Its gap in the numbers is the same loss.
    board.set(4, false);
    run.until("the next edge", |r| r.records("edge").len() == 2);
    assert_eq!(run.records("edge")[1]["lost"], 3);
}

#[test]
fn off_a_board_every_pin_is_absent() {
    let board = FakePins::absent();
    let mut run = Running::start(
        vec![pin("a", 4, Sink::Recorder("r".into())), pin("b", 5, Sink::Topic("app/b".into()))],
        &board,
    );
    run.until("absence", |r| r.state("source_status/b")["status"] == "absent");
    let a = run.state("source_status/a");
    assert_eq!(
        (&a["status"], &a["quality"], &a["quality_reason"]),
        (&json!("absent"), &json!("bad"), &json!("not_connected"))
    );
    assert_eq!(run.state("recorder_status/r")["status"], "offline");
    run.end();
}

#[test]
fn a_pin_that_is_not_there_leaves_the_others_alone() {
    let board = FakePins::default();
    let run = Running::start(
        vec![pin("no", 64, Sink::Topic("app/n".into())), pin("yes", 5, Sink::Topic("app/y".into()))],
        &board,
    );
    run.until("the good one", |r| r.state("source_status/yes")["status"] == "ok");
    let no = run.state("source_status/no");
    assert_eq!((&no["status"], &no["last_error"]), (&json!("error"), &json!("this board has no pin 64")));
}

#[test]
fn a_chip_that_fails_is_opened_again() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("p", 4, Sink::Stream("s".into()))], &board);
    run.until("the start", |r| r.state("source_status/p")["status"] == "ok");
    board.fail();
    run.until("the fault", |r| r.state("stream_status/s")["status"] == "offline");
    run.until("the recovery", |r| r.state("source_status/p")["status"] == "ok");
    board.set(4, false);
    run.until("an edge", |r| r.state("stream_value/s")["value"] == 1.0);
}

#[test]
fn a_flood_parks_its_pin_only() {
    let board = FakePins::default();
    let bad = GpioPin { flood: 100, ..pin("bad", 4, Sink::Stream("bad".into())) };
    let run = Running::start(vec![bad, pin("good", 5, Sink::Stream("good".into()))], &board);
    run.until("the start", |r| r.state("source_status/good")["status"] == "ok");
    for n in 0..=500 {
        board.set(4, n % 2 == 1);
    }
    run.until("the end of it", |r| r.state("source_status/bad")["status"] == "disabled");
    assert_eq!(board.claimed(4), None);
    let alert = run.state("alert/gpio.bad.flood");
    assert_eq!((&alert["state"], &alert["severity"]), (&json!("active"), &json!("MAJOR")));
    assert!(run.state("source_status/bad")["last_error"].as_str().unwrap().contains("parked for 60s"));
    board.set(5, false);
    run.until("the good one", |r| r.state("stream_value/good")["value"] == 1.0);
}

#[test]
fn many_edges_are_told_together_and_none_is_lost() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("p", 4, Sink::Topic("app/p".into()))], &board);
    run.until("the start", |r| r.records("level").len() == 1);
    for n in 0..300 {
        board.set(4, n % 2 == 1);
    }
    run.until("the rest", |r| !r.records("edge_batch").is_empty());
    let told: u64 = run.records("edge_batch").iter().map(|b| b["edges"].as_u64().unwrap()).sum();
    let alone = run.records("edge").len() as u64;
    assert_eq!((told + alone, alone), (300, u64::from(limits::GPIO_EDGES)));
    let last = run.records("edge_batch").pop().unwrap();
    assert_eq!((&last["count"], &last["lost"]), (&json!(300), &json!(0)));
    assert_eq!(last["offsets_us"].as_array().unwrap().len() as u64, last["edges"]);
}

#[test]
fn counts_rates_and_pulses_are_measured() {
    let board = FakePins::default();
    let of = |id: &str, number, value| GpioPin { value, ..pin(id, number, Sink::Stream(id.into())) };
    let counted = GpioPin { edges: EdgeRecords::Count, ..pin("e", 7, Sink::Topic("app/e".into())) };
    let pins =
        vec![of("n", 4, Measure::Count), of("hz", 5, Measure::Rate), of("ms", 6, Measure::Pulse), counted];
    let run = Running::start(pins, &board);
    run.until("the start", |r| r.state("stream_value/ms")["quality_reason"] == "initial");
    for _ in 0..3 {
        for number in [4, 5, 6, 7] {
            board.set(number, false);
        }
        std::thread::sleep(Duration::from_millis(10));
        for number in [4, 5, 6, 7] {
            board.set(number, true);
        }
    }
    run.until("the count", |r| r.state("stream_value/n")["value"] == 3.0);
    run.until("the last pulse", |r| {
        r.state("stream_value/ms")["value"].as_f64().is_some_and(|ms| ms >= 10.0)
    });
    assert_eq!(
        (&run.state("stream_value/hz")["unit"], &run.state("stream_value/ms")["unit"]),
        (&json!("Hz"), &json!("ms"))
    );
    run.until("the counted edges", |r| {
        r.records("edge_count").iter().map(|c| c["edges"].as_u64().unwrap()).sum::<u64>() == 6
    });
    assert!(run.records("edge").is_empty());
    let end = run.records("edge_count").pop().unwrap();
    assert_eq!((&end["count"], &end["pulses"]), (&json!(6), &json!(3)));
    run.until("the counters", |r| r.state("source_status/hz")["detail"]["pulses"] == 3);
    run.until("rest", |r| r.state("stream_value/hz")["value"] == 0.0);
}

#[test]
fn what_it_says_has_an_interval_and_the_newest_counts() {
    let board = FakePins::default();
    let slow = GpioPin { interval: Duration::from_millis(300), ..pin("s", 4, Sink::Stream("s".into())) };
    let run = Running::start(vec![slow], &board);
    run.until("the start", |r| r.state("stream_value/s")["value"] == 0.0);
    let begun = run.bus.head().seq;
    for n in 0..200 {
        board.set(4, n % 2 == 1);
    }
    board.set(4, false);
    run.until("the newest", |r| r.state("stream_value/s")["value"] == 1.0);
    let said = run.bus.after(begun, 10_000).unwrap();
    assert!(said.iter().filter(|e| &*e.kind == "stream_value").count() <= 2, "it says little");
}

#[test]
fn an_alert_follows_the_pin() {
    let board = FakePins::default();
    let alert =
        PinAlert { severity: Severity::Minor, message: "The lid is open".into(), guidance: String::new() };
    let lid = GpioPin { sink: None, alert: Some(alert), ..pin("lid", 4, Sink::Stream("x".into())) };
    let run = Running::start(vec![lid], &board);
    run.until("the start", |r| r.state("source_status/lid")["status"] == "ok");
    assert_eq!(run.state("alert/gpio.lid"), Json::Null);
    board.set(4, false);
    run.until("the alert", |r| r.state("alert/gpio.lid")["state"] == "active");
    assert_eq!(run.state("alert/gpio.lid")["message"], "The lid is open");
    // It chatters: the alert does not.
    for _ in 0..50 {
        board.set(4, true);
        board.set(4, false);
    }
    board.set(4, true);
    run.until("the end", |r| r.state("alert/gpio.lid")["state"] == "cleared");
    assert!(run.records("alert").len() <= 3, "{:?}", run.records("alert"));
}

#[test]
fn an_outage_is_one_alert() {
    let board = FakePins::default();
    let run = Running::start(vec![pin("p", 4, Sink::Stream("s".into()))], &board);
    run.until("the start", |r| r.state("source_status/p")["status"] == "ok");
    board.fail();
    run.until("the alert", |r| r.state("alert/source.p")["state"] == "active");
    run.until("the recovery", |r| r.state("alert/source.p")["state"] == "cleared");
    assert_eq!(run.records("alert").len(), 2);
}

#[test]
fn a_reload_says_that_the_old_ones_are_gone() {
    let board = FakePins::default();
    let mut run = Running::start(vec![pin("p", 4, Sink::Instrument("i".into()))], &board);
    run.until("the start", |r| r.state("instrument_status/i")["status"] == "connected");
    run.end();
    assert_eq!(run.state("instrument_status/i")["status"], "disconnected");
    assert_eq!(run.state("source_status/p")["status"], "disabled");
}
