//! Orders and pulses, as tables and on pins that are played.

use super::super::super::fold::Fold;
use super::super::super::hardware::fake::FakePins;
use super::super::super::instruments::Instruments;
use super::*;
use crate::alerts::Alerts;
use crate::bus::{Bus, Start, Submitted};
use crate::config::Drive;
use crate::threads::{self, Stop};
use proptest::prelude::*;
use serde_json::json;
use std::thread::JoinHandle;
use std::time::Instant;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn a_later_order_ends_a_pulse() {
    let id = |n: &str| Some(n.to_string());
    let mut driven = Driven::default();
    assert_eq!(driven.order(Wish::Level(true), id("a"), ms(0)), [Do::Write(true, id("a"))]);
    assert_eq!(driven.order(Wish::Pulse(ms(10)), id("b"), ms(1)), [Do::Write(true, None)]);
    assert_eq!((driven.deadline(), driven.tick(ms(10))), (Some(ms(11)), None));
    assert_eq!(driven.tick(ms(11)), Some(Do::Write(false, id("b"))));
    assert_eq!(driven.tick(ms(12)), None);
    driven.order(Wish::Pulse(ms(10)), id("c"), ms(20));
    assert_eq!(
        driven.order(Wish::Level(true), id("d"), ms(25)),
        [Do::Superseded("c".into()), Do::Write(true, id("d"))]
    );
    assert!(driven.active && driven.end().is_empty(), "a level is no pulse");
    driven.order(Wish::Pulse(ms(10)), None, ms(30));
    assert_eq!(driven.end(), [Do::Write(false, None)]);
}

proptest! {
    /// Whatever is ordered: every command ends once or is the pulse under way, and the level is the last one written.
    #[test]
    fn every_command_ends_once(orders in proptest::collection::vec((0u64..30, proptest::option::of(1u64..40), any::<bool>()), 1..60)) {
        let mut driven = Driven::default();
        let (mut now, mut ended, mut level) = (0, Vec::new(), false);
        let mut take = |all: Vec<Do>, level: &mut bool| for done in all {
            match done {
                Do::Superseded(id) => ended.push(id),
                Do::Write(active, id) => { *level = active; ended.extend(id); }
            }
        };
        for (n, (gap, pulse, active)) in orders.iter().enumerate() {
            now += gap;
            take(driven.tick(ms(now)).into_iter().collect(), &mut level);
            let wish = pulse.map_or(Wish::Level(*active), |time| Wish::Pulse(ms(time)));
            take(driven.order(wish, Some(n.to_string()), ms(now)), &mut level);
        }
        take(driven.tick(ms(now + 100)).into_iter().collect(), &mut level);
        prop_assert_eq!(driven.deadline(), None);
        prop_assert_eq!(level, driven.active);
        ended.sort();
        ended.dedup();
        prop_assert_eq!(ended.len(), orders.len());
    }
}

struct Running {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    outlets: Arc<Outlets>,
    instruments: Arc<Instruments>,
    held: Held,
    board: FakePins,
    until: Until,
    thread: Option<JoinHandle<()>>,
}

fn valve(initial: Drive, safe: Drive) -> GpioPin {
    GpioPin {
        id: "valve".into(),
        pin: 6,
        sink: Some(Sink::Instrument("rig".into())),
        active: Some("open".into()),
        output: Some(Output { initial, safe, pulse_max: ms(500) }),
        ..GpioPin::default()
    }
}

impl Running {
    fn start(pins: &[GpioPin]) -> Running {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default()));
        let mut run = Running {
            commands: Arc::new(Commands::new(Arc::clone(&bus))),
            outlets: Arc::default(),
            instruments: Arc::default(),
            held: Held::default(),
            board: FakePins::default(),
            until: Until { daemon: Stop::default(), set: Stop::default() },
            thread: None,
            bus,
        };
        run.again(pins);
        run
    }

    fn again(&mut self, pins: &[GpioPin]) {
        self.until.set = Stop::default();
        let desk = Desk {
            instruments: Arc::clone(&self.instruments),
            bus: Arc::clone(&self.bus),
            fold: Arc::new(Fold::new(Arc::clone(&self.bus))),
            alerts: Arc::new(Alerts::new(Arc::clone(&self.bus))),
        };
        let (commands, outlets) = (Arc::clone(&self.commands), Arc::clone(&self.outlets));
        let board = Arc::new(self.board.clone());
        let source = OutputSource::new(pins, board, desk, commands, outlets, self.held.clone());
        let inner = self.until.clone();
        self.thread =
            source.map(|source| threads::spawn("gpio-out", 256 * 1024, move || source.run(&inner)).unwrap());
    }

    fn join(&mut self) {
        threads::join(self.thread.take().unwrap());
    }

    fn reload(&mut self, pins: &[GpioPin]) {
        self.until.set.stop();
        self.join();
        self.again(pins);
    }

    fn state(&self, key: &str) -> Json {
        let event = self.bus.state_of(key);
        event.map_or(Json::Null, |e| serde_json::from_str(e.payload()).unwrap())
    }

    #[track_caller]
    fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !check(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
            std::thread::yield_now();
        }
    }

    /// Submits a command and waits for its end.
    fn ask(&self, id: &str, action: &str, params: Json) -> (CommandState, String) {
        let params: Map<String, Json> = serde_json::from_value(params).unwrap();
        let (id, target, action) = (id.to_string(), "instrument/rig".to_string(), action.to_string());
        let command = Command { id: id.clone(), target, action, params, by: None, reason: None };
        let submitted = self.commands.submit(command);
        assert!(matches!(submitted, Submitted::Accepted(_)), "{submitted:?}");
        self.until("the end of the command", |r| {
            r.commands.lookup(&id).is_some_and(|r| r.state != CommandState::Accepted)
        });
        let end = self.commands.lookup(&id).unwrap();
        (end.state, end.reason.unwrap_or_default())
    }

    fn ready(&self) {
        self.until("the output", |r| {
            r.state("source_status/valve")["status"] == "ok" && r.commands_are_taken()
        });
    }

    fn commands_are_taken(&self) -> bool {
        let probe = Command {
            id: "probe".into(),
            target: "instrument/rig".into(),
            action: "nothing".into(),
            params: Map::new(),
            by: None,
            reason: None,
        };
        matches!(self.commands.submit(probe), Submitted::NoAction(_))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.until.set.stop();
        self.until.daemon.stop();
        if let Some(thread) = self.thread.take() {
            threads::join(thread);
        }
    }
}

#[test]
fn a_pin_that_an_alert_blocks_is_left_as_it_is_whoever_asks_and_can_be_made_safe() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    assert_eq!(run.ask("1", "set", json!({ "channel": "open", "value": true })).0, CommandState::Completed);
    // The alert names the pin, the command the instrument that it is a channel of.
    run.commands.guard(|target, action, params| {
        let blocked = target == "instrument/valve" && action != "safe" && params["value"] == true;
        blocked.then(|| Refusal { alert: "hot".into(), text: "valve is blocked.".into() })
    });
    let (state, reason) = run.ask("2", "set", json!({ "channel": "open", "value": true }));
    assert_eq!((state, reason.as_str()), (CommandState::Rejected, "valve is blocked."));
    assert_eq!(run.commands.lookup("2").unwrap().code.as_deref(), Some(INTERLOCK));
    let to = Setting::Number(1.0);
    let request = Request::Set { channel: "open".into(), to, tolerance: None, within: None, arrive: true };
    let answer = run.instruments.ask("rig", request).unwrap();
    let outcome = answer.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(outcome.reason.as_deref(), Some("interlock: valve is blocked."));
    let (state, reason) = run.ask("3", "safe", json!({}));
    assert_eq!((state, reason.as_str()), (CommandState::Completed, ""));
    run.until("the pin at its safe level", |r| {
        r.state("instrument_status/rig")["channels"]["open"]["value"] == 0.0
    });
}

#[test]
fn a_pin_of_an_instrument_that_an_alert_blocks_is_blocked_under_its_own_id() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    run.commands.guard(|target, _, params| {
        let blocked = target == "instrument/rig" && params["channel"] == "open" && params["value"] == true;
        blocked.then(|| Refusal { alert: "hot".into(), text: "rig is blocked.".into() })
    });
    let (to, channel) = (Setting::Word("on".into()), LEVEL.to_string());
    let request = Request::Set { channel, to, tolerance: None, within: None, arrive: true };
    let answer = run.instruments.ask("valve", request).unwrap();
    let outcome = answer.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(outcome.reason.as_deref(), Some("interlock: rig is blocked."));
}

#[test]
fn an_output_is_an_instrument_under_its_own_id() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    let ask = |id: &str, request: Request| {
        let answer = run.instruments.ask(id, request).unwrap();
        answer.from.recv_timeout(Duration::from_secs(5)).unwrap()
    };
    let set = |channel: &str, to: Setting| Request::Set {
        channel: channel.into(),
        to,
        tolerance: None,
        within: None,
        arrive: true,
    };
    let offered: Vec<String> = run.instruments.list().into_iter().map(|offer| offer.id).collect();
    assert_eq!(offered, ["rig", "valve"]);
    let done = ask("valve", set(LEVEL, Setting::Word("on".into())));
    assert_eq!((done.state, &done.readings[0].value), (CommandState::Completed, &Value::Number(1.0)));
    assert_eq!(run.board.driven(6), Some(true));
    assert_eq!(
        run.state("instrument_status/rig")["channels"]["open"]["value"],
        1.0,
        "told before the answer"
    );
    let read = ask("rig", Request::Read { channels: vec!["open".into()] });
    assert_eq!((read.readings[0].name.as_str(), &read.readings[0].value), ("open", &Value::Number(1.0)));
    for (channel, to) in
        [(LEVEL, Setting::Number(2.0)), (LEVEL, Setting::Word("up".into())), ("x", Setting::Number(1.0))]
    {
        assert_eq!(ask("valve", set(channel, to)).state, CommandState::Rejected);
    }
    // A short circuit: it does not read as it was driven.
    run.board.short(6, Some(true));
    let stuck = ask("valve", set(LEVEL, Setting::Number(0.0)));
    assert_eq!(stuck.state, CommandState::Failed);
    assert!(stuck.reason.unwrap().starts_with("not_in_tolerance: pin 6 was set low but reads high"));
    run.board.short(6, None);
    assert_eq!(ask("valve", Request::Safe).readings[0].value, Value::Number(0.0));
    let instruments = Arc::clone(&run.instruments);
    drop(run);
    assert!(instruments.ask("valve", Request::Safe).is_err());
}

#[test]
fn safe_goes_on_after_a_pin_that_fails_and_a_pin_in_use_is_not_set() {
    let fan =
        GpioPin { id: "fan".into(), pin: 7, active: Some("spins".into()), ..valve(Drive::High, Drive::Low) };
    let run = Running::start(&[valve(Drive::High, Drive::Low), fan]);
    run.ready();
    run.board.short(6, Some(true));
    let answer = run.instruments.ask("rig", Request::Safe).unwrap();
    let end = answer.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(end.state, CommandState::Failed);
    assert!(end.reason.unwrap().contains("pin 6"));
    assert_eq!((run.board.driven(6), run.board.driven(7)), (Some(false), Some(false)));
    run.board.short(6, None);
    run.instruments.claim(&["fan".to_string()], "SCAN_001").unwrap();
    let (state, why) = run.ask("1", "set", json!({ "channel": "spins", "value": true }));
    assert_eq!((state, why.as_str()), (CommandState::Rejected, "fan is in use by SCAN_001"));
    assert_eq!(run.ask("2", "set", json!({ "channel": "open", "value": true })).0, CommandState::Completed);
    // A pin is a channel of the rig: whoever has the rig has its pins.
    let rig = ["rig".to_string()];
    assert_eq!(run.instruments.claim(&rig, "SCAN_002").unwrap_err().by, "SCAN_001");
    run.instruments.release("SCAN_001");
    run.instruments.claim(&rig, "SCAN_002").unwrap();
    assert_eq!(run.instruments.claim(&["valve".to_string()], "SCAN_001").unwrap_err().by, "SCAN_002");
    let written = run.board.history(6);
    let (state, why) = run.ask("3", "set", json!({ "channel": "open", "value": false }));
    assert_eq!((state, why.as_str()), (CommandState::Rejected, "valve is in use by SCAN_002"));
    assert_eq!(run.board.history(6), written);
}

#[test]
fn an_instrument_of_one_pin_is_that_pin() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    run.instruments.claim(&["valve".to_string()], "SCAN_001").unwrap();
    assert_eq!(run.instruments.used_by("rig").as_deref(), Some("SCAN_001"));
    run.instruments.release("SCAN_001");
    run.instruments.claim(&["rig".to_string()], "SCAN_001").unwrap();
    assert_eq!(run.instruments.used_by("valve").as_deref(), Some("SCAN_001"));
}

#[test]
fn set_and_pulse_are_done_when_the_pin_reads_so() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    assert_eq!(run.board.history(6), [false]);
    assert_eq!(run.state("instrument_status/rig")["channels"]["open"]["value"], 0.0);
    let done = run.ask("1", "set", json!({ "channel": "open", "value": true }));
    assert_eq!(done.0, CommandState::Completed);
    assert_eq!(run.state("instrument_status/rig")["channels"]["open"]["value"], 1.0);
    assert_eq!(run.ask("2", "set", json!({ "channel": "open", "value": "off" })).0, CommandState::Completed);
    let begun = Instant::now();
    assert_eq!(run.ask("3", "pulse", json!({ "channel": "open", "ms": 60 })).0, CommandState::Completed);
    assert!(begun.elapsed() >= ms(60));
    assert_eq!(run.board.history(6), [false, true, false, true, false]);
    run.outlets.send("valve", Order::Pulse(ms(20))).unwrap();
    run.until("the pulse of another", |r| r.board.history(6).len() == 7);
    for (n, (params, words)) in [
        (json!({ "value": 1 }), "`channel` is missing"),
        (json!({ "channel": "shut", "value": 1 }), "no output of this instrument"),
        (json!({ "channel": "open", "value": 2 }), "expected true or false"),
    ]
    .into_iter()
    .enumerate()
    {
        let (state, reason) = run.ask(&format!("bad{n}"), "set", params);
        assert!(state == CommandState::Rejected && reason.contains(words), "{reason}");
    }
    let (state, reason) = run.ask("long", "pulse", json!({ "channel": "open", "ms": 501 }));
    assert!(state == CommandState::Rejected && reason.contains("1 to 500"), "{reason}");
}

#[test]
fn a_pin_that_does_not_follow_fails_its_command_and_raises_an_alert() {
    let run = Running::start(&[valve(Drive::Low, Drive::Low)]);
    run.ready();
    run.board.short(6, Some(false));
    let (state, reason) = run.ask("1", "set", json!({ "channel": "open", "value": 1 }));
    assert!(state == CommandState::Failed && reason.contains("reads low"), "{reason}");
    assert_eq!(run.state("alert/source.valve")["state"], "active");
    run.board.short(6, None);
    run.until("the level to be read again", |r| r.state("alert/source.valve")["state"] == "cleared");
    run.until("the output to be well", |r| r.state("source_status/valve")["status"] == "ok");
}

#[test]
fn it_is_left_safe_at_a_stop_and_as_it_is_by_a_reload() {
    let mut run = Running::start(&[valve(Drive::High, Drive::Low)]);
    run.ready();
    assert_eq!(run.board.history(6), [true], "the initial level is there before it drives");
    run.ask("1", "set", json!({ "channel": "open", "value": false }));
    run.reload(&[valve(Drive::High, Drive::High)]);
    run.ready();
    assert_eq!(run.board.history(6), [true, false], "nothing was written by the reload");
    // Taken out of the file: its safe level.
    run.reload(&[]);
    run.until("the safe level", |r| r.board.history(6) == [true, false, true]);
    let mut run = Running::start(&[valve(Drive::High, Drive::Low)]);
    run.ready();
    run.until.daemon.stop();
    run.join();
    assert_eq!(run.board.history(6), [true, false]);
    assert_eq!(run.board.driven(6), Some(false));
}

#[test]
fn a_stop_in_a_pulse_ends_the_pulse() {
    let mut run = Running::start(&[valve(Drive::Low, Drive::Keep)]);
    run.ready();
    run.outlets.send("valve", Order::Pulse(ms(500))).unwrap();
    run.until("the pulse", |r| r.board.driven(6) == Some(true));
    run.until.daemon.stop();
    run.join();
    assert_eq!(run.board.driven(6), Some(false));
}
