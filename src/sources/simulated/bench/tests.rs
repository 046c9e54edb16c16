//! The bench as a whole, without threads or time: what it publishes, how it obeys, how it fails and recovers.

use super::*;
use crate::bus::Start;
use crate::limits;
use crate::metrics::Metrics;
use serde_json::Value;
use std::collections::BTreeMap;

const DAY: u64 = 1_767_799_800_000;

/// A bench whose wall clock goes with its steps.
struct Rig {
    bench: Bench,
    step: u64,
    faults: BTreeMap<&'static str, Faults>,
    /// Type, topic, payload.
    events: Vec<(String, String, Value)>,
    /// Lines that the devices at ports have said.
    lines: BTreeMap<&'static str, Vec<String>>,
}

impl Rig {
    fn new(seed: u64) -> Self {
        Rig {
            bench: Bench::new(seed, Earlier::default(), Takes::default()),
            step: 0,
            faults: BTreeMap::new(),
            events: Vec::new(),
            lines: BTreeMap::new(),
        }
    }

    fn at(&self) -> Moment {
        Moment { step: self.step, wall: Wall(DAY + self.step * 1000 / STEPS_PER_S) }
    }

    fn step(&mut self) {
        let at = self.at();
        self.bench.step(at, |source| self.faults.get(source).copied().unwrap_or_default());
        self.bench.listen(at);
        for (n, bytes) in self.bench.said().into_iter().enumerate() {
            let said = String::from_utf8_lossy(&bytes);
            let lines = self.lines.entry(self.bench.wired_id(n)).or_default();
            lines.extend(said.lines().map(str::to_string));
        }
        for draft in self.bench.out.take() {
            let payload = serde_json::from_str(&draft.payload).unwrap();
            self.events.push((draft.kind.to_string(), draft.topic.to_string(), payload));
        }
        self.step += 1;
    }

    fn run(&mut self, seconds: u64) -> &mut Self {
        (0..seconds * STEPS_PER_S).for_each(|_| self.step());
        self
    }

    /// Steps until `check` gives something, at most for ten simulated minutes.
    fn until<T>(&mut self, what: &str, check: impl Fn(&Self) -> Option<T>) -> T {
        for _ in 0..600 * STEPS_PER_S {
            if let Some(found) = check(self) {
                return found;
            }
            self.step();
        }
        panic!("{what} never came")
    }

    /// Sends bytes to a device at a port.
    fn tell(&mut self, id: &str, bytes: &str) {
        let n = (0..4).find(|n| self.bench.wired_id(*n) == id).unwrap();
        self.bench.heard(n, bytes.as_bytes());
    }

    /// What a device answers in the next step.
    fn ask(&mut self, id: &'static str, query: &str) -> Option<String> {
        self.lines.remove(id);
        self.tell(id, &format!("{query}\n"));
        self.step();
        self.lines.get(id).and_then(|lines| lines.first().cloned())
    }

    /// A member of what the recorder said last.
    fn recorder(&self, member: &str) -> Value {
        let line = self.lines.get("rec1").and_then(|lines| lines.last());
        line.and_then(|line| serde_json::from_str::<Value>(line).ok())
            .map(|l| l[member].clone())
            .unwrap_or_default()
    }

    /// The newest payload of a type on a topic.
    fn last(&self, kind: &str, topic: &str) -> Option<&Value> {
        self.events.iter().rev().find(|(k, t, _)| k == kind && t == topic).map(|(_, _, payload)| payload)
    }

    fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.events.iter().filter(move |(k, ..)| k == kind).map(|(_, _, payload)| payload)
    }

    fn field(&self, kind: &str, topic: &str, field: &str) -> Value {
        self.last(kind, topic).map(|p| p[field].clone()).unwrap_or_default()
    }

    fn source(&self, id: &str) -> String {
        let row = self.events.iter().rev().find(|(k, _, p)| k == "source_status" && p["source_id"] == id);
        row.map(|(_, _, p)| p["status"].as_str().unwrap().to_string()).unwrap_or_default()
    }
}

#[test]
fn the_same_seed_gives_the_same_bench_and_another_does_not() {
    let run = |seed| {
        let mut rig = Rig::new(seed);
        for _ in 0..120 {
            rig.run(1);
            rig.tell("psu", "MEAS:VOLT?;:MEAS:CURR?\n");
            rig.tell("stage", "POS:X?\n");
        }
        (rig.events, rig.lines)
    };
    assert_eq!(run(42), run(42));
    assert_ne!(run(42), run(43));
}

#[test]
fn what_is_simulated_moves_at_a_modest_rate() {
    let mut rig = Rig::new(42);
    rig.run(600);
    for kind in
        ["job_status", "log", "stream_value", "stream_status", "detection", "service_status", "source_status"]
    {
        assert!(rig.of(kind).count() > 0, "no {kind} in ten minutes");
    }
    assert_eq!(rig.lines["rec1"].len(), 4 * 600, "the recorder says its status four times a second");
    assert!(
        ["psu", "dmm", "stage"].iter().all(|id| rig.lines[id].is_empty()),
        "they speak when they are asked"
    );
    let per_s = rig.events.len() as f64 / 600.0;
    let bytes_per_s = rig.events.iter().map(|(_, _, p)| p.to_string().len()).sum::<usize>() as f64 / 600.0;
    assert!((4.0..60.0).contains(&per_s), "{per_s} events/s");
    assert!(bytes_per_s < 30_000.0, "{bytes_per_s} bytes/s");
}

/// The rules of the bench look at values that it publishes, and have something to tell.
#[test]
fn rules_find_their_values() {
    let mut rig = Rig::new(42);
    let mut temperatures = Vec::new();
    for _ in 0..600 {
        rig.run(1);
        temperatures.push(rig.ask("dmm", "SYST:TEMP?").unwrap().parse::<f64>().unwrap());
    }
    let mut crossed = 0;
    for rule in super::super::rules() {
        let crate::config::AlertTest::Limits(limits) = &rule.test else { panic!("{rule:?}") };
        let id = rule.value.id().unwrap();
        if rule.id == "dmm.temperature" {
            assert!(temperatures.iter().all(|t| (25.0..40.0).contains(t)), "{temperatures:?}");
            continue;
        }
        let values: Vec<f64> = rig
            .events
            .iter()
            .filter(|(kind, topic, _)| kind == rule.value.kind() && topic.ends_with(&format!("/{id}")))
            .flat_map(|(_, _, payload)| rule.value.pick(Some(id), payload))
            .filter_map(|picked| picked.value.as_f64())
            .collect();
        assert!(values.len() > 100, "{} finds {} values", rule.id, values.len());
        let beyond = |v: &f64| limits.above.is_some_and(|l| *v > l) || limits.below.is_some_and(|l| *v < l);
        crossed += usize::from(values.iter().any(beyond));
    }
    assert!(crossed > 0, "nothing crosses its limits in ten minutes");
}

#[test]
fn values_stay_within_what_they_can_be() {
    let mut rig = Rig::new(7);
    rig.run(900);
    let within = |value: &Value, low: f64, high: f64| {
        assert!(value.as_f64().is_some_and(|v| v >= low && v <= high), "{value}")
    };
    for line in &rig.lines["rec1"] {
        let p: Value = serde_json::from_str(line).unwrap();
        within(&p["level_db"], -96.0, 0.0);
        within(&p["free_s"], 0.0, 1e6);
    }
    for p in rig.of("stream_value") {
        let (low, high) = if p["stream_id"] == "grid_hz" { (49.5, 50.5) } else { (0.0, 101.0) };
        within(&p["value"], low, high);
    }
    for p in rig.of("detection") {
        within(&p["confidence"], 0.0, 1.0);
        for (from, size) in [("x", "w"), ("y", "h")] {
            within(&p["box"][from], 0.0, 1.0);
            within(
                &(p["box"][from].as_f64().unwrap() + p["box"][size].as_f64().unwrap()).into(),
                0.0,
                1.0 + 1e-3,
            );
        }
    }
}

#[test]
fn the_state_does_not_grow_for_ever() {
    let bus = Bus::new(Start::default(), Arc::new(Metrics::default()));
    let mut rig = Rig::new(42);
    let mut sizes = Vec::new();
    for _ in 0..3 {
        for _ in 0..2_000 * STEPS_PER_S {
            let at = rig.at();
            rig.bench.step(at, |_| Faults::default());
            rig.step += 1;
            for draft in rig.bench.out.take() {
                bus.publish(draft).unwrap();
            }
            let head = bus.head().seq;
            if rig.step.is_multiple_of(100) {
                bus.committed_through(head);
            }
        }
        sizes.push(bus.snapshot(&TopicFilter::parse("*").unwrap()).state.len());
    }
    // What has ended stays for a while, see `limits::RETIRED`: the state fills up to that and no further.
    assert!(sizes[2] <= sizes[1] + 5 && sizes[2] < 70 + limits::RETIRED, "{sizes:?}");
}

#[test]
fn the_recorder_obeys_what_comes_over_its_port() {
    let mut rig = Rig::new(42);
    let shows =
        |member: &'static str, wanted: Value| move |rig: &Rig| (rig.recorder(member) == wanted).then_some(());
    rig.until("quiet", shows("status", "armed".into()));
    rig.tell("rec1", "STOP\nSPLIT\nnonsense\n");
    rig.run(1);
    assert_eq!(rig.recorder("status"), "armed", "there is nothing to stop");
    rig.tell("rec1", "START\n");
    rig.step();
    assert_eq!(rig.recorder("recording"), Value::Null, "it takes a moment to obey");
    rig.until("a recording", shows("triggers", "manual".into()));
    let before = rig.recorder("recording");
    rig.tell("rec1", "SPLIT\n");
    rig.until("another one", |rig| (rig.recorder("recording") != before).then_some(()));
    assert_eq!(rig.recorder("last_stop"), "split by hand");
    rig.tell("rec1", "STOP\n");
    rig.until("its end", shows("recording", Value::Null));
    assert_eq!(rig.recorder("last_stop"), "stopped by hand");
    let id = before.as_str().unwrap();
    let job = format!("encode-{id}");
    rig.until("its encoding", |rig| {
        rig.of("job_status").any(|p| p["job_id"] == *job && p["status"] == "completed").then_some(())
    });
    rig.tell("rec1", "AUTO 0\n");
    rig.until("idle", shows("status", "idle".into()));
    rig.run(120);
    assert_eq!(rig.recorder("status"), "idle", "nothing starts it");
    rig.tell("rec1", "AUTO 1\n");
    rig.until("a recording of its own", shows("status", "recording".into()));
}

#[test]
fn instruments_refuse_what_they_must_and_arrive_where_they_are_sent() {
    let mut rig = Rig::new(42);
    assert_eq!(rig.ask("psu", "VOLT 9"), None);
    assert!(rig.ask("psu", "SYST:ERR?").unwrap().starts_with("-222"));
    assert_eq!(rig.ask("psu", "VOLT 1.5"), None);
    let seen = rig.ask("psu", "MEAS:VOLT?").unwrap().parse::<f64>().unwrap();
    assert!((seen - 1.5).abs() < 0.01, "{seen}");
    let seen = rig.ask("dmm", "MEAS:VOLT?").unwrap().parse::<f64>().unwrap();
    assert!((seen - 1.5).abs() < 0.01, "{seen}");
    rig.tell("psu", "OUTP 0\n");
    rig.run(5);
    assert!(rig.ask("psu", "MEAS:VOLT?").unwrap().parse::<f64>().unwrap().abs() < 0.01);
    assert_eq!(rig.ask("stage", "MOVE:X 1000"), None);
    assert!(rig.ask("stage", "SYST:ERR?").unwrap().starts_with("-222"));
    assert_eq!(rig.ask("stage", "MOVE:X 12.5;:MOVE:Y 80;:MOV?").unwrap(), "1");
    rig.run(9);
    assert_eq!(rig.ask("stage", "POS:X?;:POS:Y?;:MOV?").unwrap(), "12.500;80.000;0");
}

/// What the daemon is told to ask is what the devices answer.
#[test]
fn every_question_of_their_ports_is_answered() {
    let mut rig = Rig::new(42);
    let ports: Vec<_> =
        rig.bench.wired.iter().map(|(device, _)| device.port(At::Simulated("x".into()))).collect();
    for port in ports {
        let config::ProtocolConfig::Scpi(scpi) = port.protocol else { continue };
        let id = (0..4).map(|n| rig.bench.wired_id(n)).find(|id| *id == port.id).unwrap();
        let idn = rig.ask(id, &scpi.identify).unwrap();
        assert!(idn.contains(&scpi.expect.unwrap()), "{idn}");
        for channel in &scpi.channels {
            let answer = rig.ask(id, channel.get.as_deref().unwrap()).unwrap();
            assert!(
                answer.split(';').nth(channel.part.unwrap() as usize).is_some(),
                "{}: {answer}",
                channel.name
            );
            if let Some(readback) = &channel.readback {
                assert!(rig.ask(id, readback).unwrap().parse::<f64>().is_ok());
            }
        }
        assert!(rig.ask(id, &scpi.errors).unwrap().starts_with("0,"), "{id}");
    }
}

/// Every source on the bus under every fault: it shows, and all is well afterwards. What is at a port is the port's to
/// tell; see tests/it/bench.rs.
#[test]
fn faults_show_and_heal() {
    for (fault, shows) in [
        (Faults { drop: true, ..Faults::default() }, "ok"),
        (Faults { stall: true, ..Faults::default() }, "stale"),
        (Faults { garbage: true, ..Faults::default() }, "error"),
        (Faults { disconnect: true, ..Faults::default() }, "absent"),
    ] {
        let mut rig = Rig::new(11);
        let sources: Vec<_> = rig.bench.devices.iter().map(|(device, _)| device.source()).collect();
        rig.run(20);
        assert!(sources.iter().all(|source| rig.source(source) == "ok"));
        rig.faults = sources.iter().map(|source| (*source, fault)).collect();
        rig.run(20);
        for source in &sources {
            // These two send a sample of the faulty kind too seldom for an error within its time.
            let slow = *source == "cam1" && shows == "error";
            let seen = rig.source(source);
            assert!(seen == shows || slow && seen == "stale", "{source} under {fault:?} is {seen}");
        }
        if shows != "ok" {
            let value = rig.last("stream_value", "stream/grid_hz").unwrap();
            assert_ne!(value["quality"], "good");
            assert_eq!(value["value"].is_null(), shows == "absent");
            assert_eq!(value["severity"], "INVALID");
            let state = rig.field("stream_status", "stream/grid_hz", "status");
            assert_eq!(state, if shows == "absent" { "offline" } else { "stale" });
            let before = rig.events.len();
            rig.run(5);
            let said: Vec<_> = rig.events[before..].iter().map(|(k, ..)| k.as_str()).collect();
            assert!(!said.contains(&"detection"), "{said:?}");
        } else {
            assert!(rig.field("stream_status", "stream/grid_hz", "dropped").as_u64().unwrap() > 3);
        }
        rig.faults.clear();
        rig.run(20);
        for source in &sources {
            assert_eq!(rig.source(source), "ok", "{source} after {fault:?}");
        }
        let reconnects = rig.field("stream_status", "stream/grid_hz", "reconnects");
        assert_eq!(reconnects, u64::from(shows == "absent"));
    }
}

#[test]
fn a_restart_ends_the_jobs_that_were_not_over() {
    let bus = Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default()));
    let mut first = Rig::new(42);
    let running = |rig: &Rig| {
        let mut last: BTreeMap<String, Value> = BTreeMap::new();
        for p in rig.of("job_status") {
            last.insert(p["job_id"].as_str().unwrap().into(), p["status"].clone());
        }
        last.into_iter().find(|(_, status)| status == "running").map(|(id, _)| id)
    };
    let id = first.until("a job", running);
    for p in first.of("job_status") {
        bus.publish(Draft::of("job_status", p).unwrap()).unwrap();
    }
    let mut second = Rig::new(42);
    second.bench = Bench::new(42, Earlier::of(&bus), Takes::default());
    second.step();
    let ended = second.of("job_status").find(|p| p["job_id"] == *id).unwrap();
    assert_eq!(
        (&ended["status"], ended["error"].as_str()),
        (&"failed".into(), Some("interrupted: telltale was restarted"))
    );
}
