//! Tests of a port with a device that is played: its life, its bounds, and who waits for it.

use super::super::hardware::fake::{FakePorts, Step};
use super::*;
use crate::bus::Start;
use crate::config::{LineConfig, LineFormat};
use crate::metrics::Metrics;
use crate::threads::{self, Stop};
use serde_json::Value as Json;
use std::thread::JoinHandle;
use std::time::Instant;

struct Rig {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    outlets: Arc<Outlets>,
    instruments: Arc<Instruments>,
    ports: FakePorts,
    until: Until,
    thread: Option<JoinHandle<()>>,
}

impl Rig {
    fn start(change: impl FnOnce(&mut SerialPort)) -> Rig {
        let ports = FakePorts::default();
        ports.plug(true);
        let mut rig = Rig::start_with(Box::new(ports.clone()), change);
        rig.ports = ports;
        rig
    }

    fn start_with(opener: Box<dyn OpenPort>, change: impl FnOnce(&mut SerialPort)) -> Rig {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
        let fold = Arc::new(Fold::new(Arc::clone(&bus)));
        let line = LineConfig { max_line: 40, ..LineConfig::of(LineFormat::Json) };
        let mut config = SerialPort::of(
            "meter",
            Device::Path("/dev/no-such-tty".into()),
            ProtocolConfig::Line(line),
            Sink::Stream("temp".into()),
        );
        config.stale_after = Duration::from_millis(300);
        config.hello = Some("*IDN?\n".into());
        change(&mut config);
        let links = Links {
            commands: Arc::new(Commands::new(Arc::clone(&bus))),
            alerts: Arc::new(Alerts::new(Arc::clone(&bus))),
            outlets: Arc::default(),
            instruments: Arc::default(),
            bus: Arc::clone(&bus),
            fold,
        };
        let outlets = Arc::clone(&links.outlets);
        let instruments = Arc::clone(&links.instruments);
        let commands = Arc::clone(&links.commands);
        let source = SerialSource::new(config, opener, links);
        let until = Until { daemon: Stop::default(), set: Stop::default() };
        let inner = until.clone();
        let thread = threads::spawn("serial", 256 * 1024, move || source.run(&inner)).unwrap();
        let ports = FakePorts::default();
        Rig { bus, commands, outlets, instruments, ports, until, thread: Some(thread) }
    }

    fn say(&self, text: &str) {
        self.ports.play(Step::Bytes(text.into()));
    }

    fn state(&self, key: &str) -> Json {
        let event = self.bus.state_of(key);
        event.map_or(Json::Null, |e| serde_json::from_str::<Json>(e.data()).unwrap()["payload"].clone())
    }

    fn source(&self) -> Json {
        self.state("source_status/meter")
    }

    #[track_caller]
    fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !check(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}: {}", self.source());
            std::thread::yield_now();
        }
    }

    fn end(&mut self) {
        self.until.set.stop();
        threads::join(self.thread.take().unwrap());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

#[test]
fn lines_reach_their_stream_and_silence_shows() {
    let run = Rig::start(|_| {});
    run.until("the opening", |r| r.source()["status"] == "no_data");
    run.until("the greeting", |r| r.ports.written() == b"*IDN?\n");
    run.ports.play(Step::Silence);
    run.say("{\"t\":20.5}\n");
    run.until("a value", |r| r.state("stream_value/temp")["value"] == 20.5);
    run.until("ok", |r| r.source()["status"] == "ok");
    run.until("stale", |r| r.source()["status"] == "stale");
    run.until("the stale value", |r| r.state("stream_value/temp")["quality_reason"] == "stale");
    assert_eq!(run.state("stream_status/temp")["status"], "stale");
    assert_eq!(run.source()["quality"], "uncertain");
    run.say("{\"t\":21}\n");
    run.until("it again", |r| r.state("stream_value/temp")["value"] == 21.0);
    run.until("ok again", |r| r.source()["status"] == "ok");
}

#[test]
fn bad_lines_are_counted_and_survived() {
    let run = Rig::start(|config| config.stale_after = Duration::from_secs(60));
    run.ports.play(Step::Silence);
    run.say("garbage\n\u{0}\u{1b}[31m\n{\"t\":1}\n");
    run.ports.play(Step::Bytes(b"\xff\xfe\n".to_vec()));
    run.say(&format!("{}\n", "x".repeat(100)));
    run.until("the fault", |r| r.state("stream_value/temp")["value"] == 1.0);
    run.say("nonsense\n");
    run.until("an error", |r| r.source()["status"] == "error");
    assert_eq!(run.state("stream_value/temp")["quality_reason"], "comm_error");
    run.say("{\"t\":2}\n");
    run.until("the recovery", |r| r.source()["status"] == "ok");
    run.until("the counters", |r| r.source()["detail"]["lines"] == 6);
    let detail = run.source()["detail"].clone();
    assert_eq!((&detail["bad_lines"], &detail["overlong"]), (&json!(5), &json!(1)));
    assert_eq!(detail["last_bad"]["line"], "nonsense");
    assert!(detail["last_bad"]["why"].as_str().unwrap().starts_with("is not JSON"));
}

#[test]
fn an_adapter_pulled_out_and_plugged_in_again() {
    let run = Rig::start(|_| {});
    run.ports.play(Step::Silence);
    run.say("{\"t\":1}\n{\"t\":");
    run.until("a value", |r| r.state("stream_value/temp")["value"] == 1.0);
    run.ports.plug(false);
    run.ports.play(Step::HangUp);
    run.until("absence", |r| r.source()["status"] == "absent");
    assert_eq!(run.state("stream_status/temp")["status"], "offline");
    assert_eq!(run.state("stream_value/temp")["quality_reason"], "not_connected");
    run.ports.plug(true);
    run.until("the second opening", |r| r.ports.opened() == 2);
    run.ports.play(Step::Silence);
    run.say("{\"t\":2}\n");
    run.until("a new value", |r| r.state("stream_value/temp")["value"] == 2.0);
    run.until("ok", |r| r.source()["status"] == "ok");
    assert_eq!(run.source()["reconnects"], 1);
    assert_eq!(run.source()["detail"]["bad_lines"], 1, "the half line");
}

#[test]
fn an_expression_that_can_not_be_used_disables_its_port() {
    let mut run = Rig::start(|config| {
        config.protocol = ProtocolConfig::Line(LineConfig::of(LineFormat::Regex("(".into())));
    });
    run.until("the verdict", |r| r.source()["status"] == "disabled");
    assert_eq!(run.ports.opened(), 0);
    run.end();
}

impl Rig {
    fn alert(&self, id: &str) -> Json {
        self.state(&format!("alert/{id}"))
    }
}

#[test]
fn an_outage_is_one_alert_and_none_when_it_is_not_wanted() {
    for wanted in [true, false] {
        let run = Rig::start(|config| config.alert = wanted);
        run.ports.play(Step::Silence);
        run.say("{\"t\":1}\n");
        run.until("ok", |r| r.source()["status"] == "ok");
        run.until("stale", |r| r.source()["status"] == "stale");
        // A stalled adapter: opened anew, once.
        run.until("the second opening", |r| r.ports.opened() == 2);
        run.ports.play(Step::HangUp);
        run.until("the third opening", |r| r.ports.opened() == 3);
        run.until("the counter", |r| r.source()["detail"]["stalls"] == 1);
        let alert = run.alert("source.meter");
        if wanted {
            assert_eq!((&alert["state"], &alert["occurrence"]), (&json!("active"), &json!(1)));
            assert_eq!(alert["message"], "serial port meter is silent for 300ms");
        }
        run.ports.play(Step::Silence);
        run.say("{\"t\":2}\n");
        run.until("ok again", |r| r.source()["status"] == "ok");
        let state = run.alert("source.meter")["state"].clone();
        assert_eq!(state, if wanted { json!("cleared") } else { Json::Null });
    }
}

#[test]
fn orders_reach_an_open_port_and_nobody_else() {
    let run = Rig::start(|config| config.hello = None);
    let order = |text: &str| run.outlets.send("meter", Order::Bytes(text.into()));
    run.until("the outlet", |_| order("beep\n").is_ok());
    run.until("the order", |r| r.ports.written() == b"beep\n");
    run.ports.plug(false);
    run.ports.play(Step::HangUp);
    run.until("absence", |r| r.source()["status"] == "absent");
    assert!(order("beep\n").unwrap_err().contains("no port that is there"));
}

/// A device that takes nothing (flow control, a stalled adapter) is still listened to.
#[test]
fn a_blocked_write_does_not_stop_reading() {
    let run = Rig::start(|config| config.stale_after = Duration::from_secs(60));
    run.ports.deafen(true);
    run.until("the outlet", |r| r.outlets.send("meter", Order::Bytes(b"x".to_vec())).is_ok());
    run.ports.play(Step::Silence);
    let start = Instant::now();
    for n in 0..20 {
        run.say(&format!("{{\"t\":{n}}}\n"));
        run.until("the value", |r| r.state("stream_value/temp")["value"] == f64::from(n));
    }
    assert!(start.elapsed() < limits::SERIAL_OUT_TIME);
    run.until("the loss", |r| r.source()["detail"]["unsent_bytes"].as_u64() > Some(0));
    assert_eq!(run.source()["status"], "ok");
}

#[test]
fn a_flood_is_cut_counted_and_told() {
    let run = Rig::start(|config| config.max_rate = 50);
    run.ports.play(Step::Silence);
    run.say(&"{\"t\":1}\n".repeat(500));
    run.until("the counters", |r| r.source()["detail"]["dropped"].as_u64() > Some(400));
    assert_eq!(run.source()["detail"]["lines"], 500);
    assert_eq!(run.alert("source.meter.flood")["severity"], "MINOR");
}

#[test]
fn what_goes_over_the_port_is_kept_and_played_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("meter.capture");
    let mut run = Rig::start(|config| {
        config.capture = Some(crate::config::Capture { file: file.clone(), limit: 1 << 20 });
    });
    run.ports.play(Step::Silence);
    run.say("{\"t\":1}\nnonsense\n{\"t\"");
    run.say(":2}\n");
    run.until("the value", |r| r.state("stream_value/temp")["value"] == 2.0);
    run.end();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(" ! open\n") && text.contains(" > *IDN?\\n\n"), "{text}");

    let run = Rig::start_with(Box::new(ReplayPorts), |config| {
        let replay = crate::config::Replay { file: file.clone(), rate: 0.0, again: false };
        config.device = Device::Replay(replay);
    });
    run.until("the value", |r| r.state("stream_value/temp")["value"] == 2.0);
    run.until("the counters", |r| r.source()["detail"]["lines"] == 3);
    let source = run.source();
    assert_eq!((&source["kind"], &source["detail"]["replay"]), (&json!("replay"), &json!(true)));
    assert_eq!(source["detail"]["bad_lines"], 1);
    assert_eq!(run.state("stream_status/temp")["name"], "temp (replay)");
}

fn supply(config: &mut SerialPort) {
    let volts = crate::config::ScpiChannel {
        name: "volts".into(),
        get: Some("VOLT?".into()),
        ..crate::config::ScpiChannel::default()
    };
    config.sink = Sink::Instrument("psu".into());
    config.stale_after = Duration::from_secs(10);
    config.hello = None;
    config.protocol = ProtocolConfig::Scpi(crate::config::Scpi {
        identify: String::new(),
        errors: String::new(),
        clear: String::new(),
        gap: Duration::ZERO,
        poll: Duration::from_secs(3600),
        timeout: Duration::from_millis(400),
        channels: vec![volts],
        ..crate::config::Scpi::default()
    });
}

/// A host whose name is looked up for as long as the test likes.
struct Far(Receiver<()>, FakePorts);

impl OpenPort for Far {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let _ = self.0.recv();
        self.1.open(settings)
    }

    fn is_far(&self) -> bool {
        true
    }

    fn is_there(&self, _: &SerialPort) -> bool {
        false
    }
}

/// A name server that did not answer held the port's thread, and with it the end of the daemon.
#[test]
fn a_name_that_is_looked_up_for_long_holds_nobody() {
    let (found, names) = bounded(1);
    let ports = FakePorts::default();
    ports.plug(true);
    let mut run = Rig::start_with(Box::new(Far(names.clone(), ports.clone())), supply);
    run.ports = ports.clone();
    run.until("the instrument", |r| r.instruments.find("psu").is_some());
    run.until("the dialling", |r| r.source()["status"] == "opening");
    let asked = run.instruments.ask("psu", Request::Query("A?".into())).unwrap();
    let end = asked.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(end.reason.unwrap().starts_with("device_error: not connected"));
    found.send(()).unwrap();
    run.until("the opening", |r| r.source()["status"] == "no_data");
    run.end();
    // One that is not found by the end is not waited for.
    let mut run = Rig::start_with(Box::new(Far(names, ports)), supply);
    run.until("the dialling", |r| r.source()["status"] == "opening");
    let start = Instant::now();
    run.end();
    assert!(start.elapsed() < Duration::from_secs(2));
    drop(found);
}

/// Regression guard for the wait for bytes: a request does not wait for its end.
#[test]
fn a_request_wakes_its_port_and_one_that_is_given_up_is_not_sent() {
    let mut run = Rig::start(supply);
    let heard = |r: &Rig, text: &str| r.ports.written().windows(text.len()).any(|w| w == text.as_bytes());
    run.until("the poll", |r| heard(r, "VOLT?"));
    run.say("1.5\n");
    run.until("the value", |r| r.state("instrument_status/psu")["channels"]["volts"]["value"] == 1.5);
    let mut quickest = Duration::MAX;
    for n in 0..10 {
        let (start, text) = (Instant::now(), format!("A{n}?"));
        let answer = run.instruments.ask("psu", Request::Query(text.clone())).unwrap();
        run.until("the question", |r| heard(r, &text));
        quickest = quickest.min(start.elapsed());
        run.say("7\n");
        let outcome = answer.from.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!((outcome.state, outcome.text.as_deref()), (CommandState::Completed, Some("7")));
    }
    assert!(quickest < WAIT / 5, "the quickest of ten took {quickest:?}");
    // The first waits for its answer, the second for its turn; then nobody wants the second any more.
    let first = run.instruments.ask("psu", Request::Query("B?".into())).unwrap();
    let second = run.instruments.ask("psu", Request::Query("C?".into())).unwrap();
    run.until("the first", |r| heard(r, "B?"));
    drop(second);
    run.say("8\n");
    assert_eq!(first.from.recv_timeout(Duration::from_secs(5)).unwrap().text.as_deref(), Some("8"));
    let third = run.instruments.ask("psu", Request::Query("D?".into())).unwrap();
    run.until("the third", |r| heard(r, "D?"));
    assert!(!heard(&run, "C?"));
    // Pulled out in the middle of it, and asked while it is gone: both are told.
    run.ports.plug(false);
    run.ports.play(Step::HangUp);
    let ended = third.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(
        (ended.state, ended.reason.as_deref()),
        (CommandState::Failed, Some("device_error: the port was closed"))
    );
    let gone = run.instruments.ask("psu", Request::Query("E?".into())).unwrap();
    let gone = gone.from.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(gone.reason.unwrap().starts_with("device_error: not connected"));
    run.end();
    assert!(run.instruments.ask("psu", Request::Stop).is_err());
}

/// A set waits for its turn at the port when a scan takes the instrument: it was sent in the middle of the scan.
#[test]
fn what_waits_is_not_sent_to_an_instrument_that_a_scan_has_taken() {
    let run = Rig::start(|config| {
        supply(config);
        if let ProtocolConfig::Scpi(scpi) = &mut config.protocol {
            scpi.timeout = Duration::from_secs(10);
            scpi.channels[0].set = Some("VOLT {}".into());
        }
    });
    let heard = |r: &Rig, text: &str| r.ports.written().windows(text.len()).any(|w| w == text.as_bytes());
    // The line waits for the answer of a poll, and the set for the line.
    run.until("the poll", |r| heard(r, "VOLT?"));
    let command = Command {
        id: "1".into(),
        target: "instrument/psu".into(),
        action: "set".into(),
        params: serde_json::from_value(json!({ "channel": "volts", "value": 2 })).unwrap(),
        by: None,
        reason: None,
    };
    assert!(matches!(run.commands.submit(command), crate::bus::Submitted::Accepted(_)));
    // Commands are taken before requests: when the second is answered, the set is in the queue.
    for _ in 0..2 {
        let read = Request::Read { channels: vec!["none".into()] };
        let no = run.instruments.ask("psu", read).unwrap().from.recv_timeout(Duration::from_secs(5));
        assert_eq!(no.unwrap().state, CommandState::Rejected);
    }
    assert_eq!(run.commands.lookup("1").unwrap().state, CommandState::Accepted);
    run.instruments.claim(&["psu".to_string()], "SCAN_001").unwrap();
    let answer = run.instruments.ask("psu", Request::Query("A?".into())).unwrap();
    run.say("1.5\n");
    run.until("the scan's turn", |r| heard(r, "A?"));
    run.say("7\n");
    assert_eq!(answer.from.recv_timeout(Duration::from_secs(5)).unwrap().text.as_deref(), Some("7"));
    let end = run.commands.lookup("1").unwrap();
    assert_eq!((end.state, end.code.as_deref()), (CommandState::Rejected, Some("in_use")));
    assert_eq!(end.reason.as_deref(), Some("it is in use by SCAN_001"));
    assert!(!heard(&run, "VOLT 2"));
}
