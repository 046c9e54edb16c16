//! Serial ports that send lines: one thread a port, through [`Port`].
//!
//! **Promises.** A port that is absent, silent, garbled or pulled out is said to be so, and comes back by itself; bad
//! lines are counted and skipped and never end the source. What it last said is marked as soon as it is not current.
//! **Blocking.** A read waits 0.2 s at most, so a stop is noticed within that. **Bounds.** A line has a bound, and so
//! has what is kept of a bad one. Does not: write anything but the greeting, share a port, or set the modem lines.

mod format;
mod life;
pub mod protocol;
mod splitter;

use self::format::LineParser;
use self::life::{Effect, Input, Life};
use self::splitter::{Piece, Splitter};
use super::fold::{Feed, Fold};
use super::hardware::{OpenPort, Port};
use super::inputs::Until;
use super::monotonic;
use super::publish::Report;
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::SerialPort;
use crate::limits;
use crate::model::{QualityReason, SourceState};
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How often a closed port looks whether its device has appeared: plugging in is noticed without waiting for the
/// back-off. One `stat` each time.
const LOOK: Duration = Duration::from_millis(250);
/// Counters alone are published this often at most.
const REPORT: Duration = Duration::from_secs(2);

/// One port.
pub struct SerialSource {
    config: SerialPort,
    opener: Box<dyn OpenPort>,
    bus: Arc<Bus>,
    fold: Arc<Fold>,
    feed: Feed,
    parser: Result<LineParser, String>,
    report: Report,
    count: Count,
}

#[derive(Default)]
struct Count {
    lines: u64,
    bad_lines: u64,
    overlong: u64,
    joined: u64,
    bytes: u64,
}

impl SerialSource {
    /// The port of `config`; its target is announced at once.
    pub fn new(config: SerialPort, opener: Box<dyn OpenPort>, bus: Arc<Bus>, fold: Arc<Fold>) -> Self {
        let parser = LineParser::new(&config.format, &config.map);
        let feed = Feed {
            source: config.id.clone(),
            sink: config.sink.clone(),
            name: config.name.clone(),
            timeout: Some(config.stale_after),
            several: parser.as_ref().is_ok_and(|p| p.mapped() > 1),
        };
        fold.expect(&feed);
        let mut report = Report::new(&config.id, "serial", REPORT);
        report.detail("device", config.device.to_string_lossy());
        SerialSource { config, opener, bus, fold, feed, parser, report, count: Count::default() }
    }

    /// The source's id.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Serves the port until it is over.
    pub(super) fn run(mut self, until: &Until) {
        if let Err(why) = &self.parser {
            log::error!("serial {}: {why}; switched off", self.config.id);
            self.report.state(SourceState::Disabled);
            self.report.faults(1, 0, Some(why));
            self.report.flush(&self.bus);
            self.fold.lost(&self.feed, QualityReason::ConfigError);
            return;
        }
        let mut life = Life::new(self.config.stale_after, monotonic());
        let mut port: Option<Box<dyn Port>> = None;
        let mut splitter = Splitter::new(self.config.max_line);
        let mut there = false;
        while !until.is_over() {
            let inputs = match &mut port {
                Some(open) => self.listen(&mut **open, &mut splitter),
                None => {
                    // A device that appears is worth a try at once.
                    let before = std::mem::replace(&mut there, self.config.device.exists());
                    let appeared = there && !before;
                    let wait = life.next_try().saturating_sub(monotonic()).min(LOOK);
                    if appeared {
                        vec![Input::Appeared, Input::Try]
                    } else if until.wait(wait) {
                        break;
                    } else {
                        vec![Input::Try]
                    }
                }
            };
            for input in inputs {
                self.act(input, &mut life, &mut port, &mut splitter);
            }
            self.act(Input::Tick, &mut life, &mut port, &mut splitter);
            self.tell(&life);
        }
        // A reload, not the end: whatever is configured next must not be taken for this.
        if !until.daemon.is_stopped() {
            drop(port);
            self.fold.lost(&self.feed, QualityReason::NotConnected);
            self.report.state(SourceState::Disabled);
            self.report.faults(life.errors, life.reconnects, Some("the configuration was loaded again"));
            self.report.flush(&self.bus);
        }
    }

    /// Reads once.
    fn listen(&mut self, port: &mut dyn Port, splitter: &mut Splitter) -> Vec<Input> {
        let mut buffer = [0; 1024];
        let n = match port.read(&mut buffer) {
            Ok(0) => {
                splitter.quiet();
                return Vec::new();
            }
            Ok(n) => n,
            Err(e) => return vec![Input::HungUp { why: e.to_string(), chance: chance() }],
        };
        self.count.bytes += n as u64;
        let pieces = splitter.feed(buffer.get(..n).unwrap_or_default());
        pieces.into_iter().filter_map(|piece| self.take(piece)).collect()
    }

    /// One line, or what is left of one.
    fn take(&mut self, piece: Piece) -> Option<Input> {
        let line = match piece {
            Piece::Joined => {
                self.count.joined += 1;
                return None;
            }
            Piece::Overlong(start) => {
                self.count.overlong += 1;
                let why = format!("is longer than {} bytes", self.config.max_line);
                return Some(self.bad(&start, why));
            }
            Piece::Line(line) => line,
        };
        let at = Wall::now();
        self.count.lines += 1;
        let text = String::from_utf8_lossy(&line);
        let parser = self.parser.as_ref().ok()?;
        let readings = match parser.parse(text.trim()) {
            Ok(readings) => readings,
            Err(why) => return Some(self.bad(&line, why)),
        };
        let taken = self.fold.update(&self.feed, &readings, at);
        let bad = taken.refused.into_iter().next().map(|why| self.bad(&line, why));
        if taken.used == 0 {
            return bad;
        }
        // A part of the line was no use: it is counted, but the device is understood.
        self.report.seen(at);
        Some(Input::Good)
    }

    fn bad(&mut self, line: &[u8], why: String) -> Input {
        self.count.bad_lines += 1;
        let text = String::from_utf8_lossy(line);
        let shown: String = text.chars().flat_map(char::escape_debug).take(limits::BAD_LINE).collect();
        self.report.detail("last_bad", json!({ "line": shown, "why": why, "at": Wall::now() }));
        Input::Bad(why)
    }

    fn act(
        &mut self,
        input: Input,
        life: &mut Life,
        port: &mut Option<Box<dyn Port>>,
        splitter: &mut Splitter,
    ) {
        for effect in life.step(input, monotonic()) {
            let name = &self.config.id;
            match effect {
                Effect::Open => {
                    let result = match self.opener.open(&self.config) {
                        Ok(open) => {
                            *port = Some(open);
                            Input::Opened
                        }
                        Err(e) => {
                            let absent = e.kind() == io::ErrorKind::NotFound;
                            Input::Failed { absent, why: e.to_string(), chance: chance() }
                        }
                    };
                    self.act(result, life, port, splitter);
                }
                Effect::Greet => {
                    let greeting = self.config.hello.as_deref().unwrap_or_default();
                    let sent = port.as_mut().map_or(Ok(()), |p| p.write_all(greeting.as_bytes()));
                    if let Err(e) = sent {
                        let why = format!("failed to send the greeting: {e}");
                        self.act(Input::HungUp { why, chance: chance() }, life, port, splitter);
                    }
                }
                Effect::Close => {
                    *port = None;
                    if let Some(half) = splitter.finish() {
                        self.bad(&half, "ends in the middle".into());
                    }
                }
                Effect::Lost(why) => self.fold.lost(&self.feed, why),
                Effect::Info(text) => log::info!("serial {name}: `{}` {text}", self.config.device.display()),
                Effect::Warn(text) => {
                    self.bus.metrics.source_errors_total.inc();
                    log::warn!("serial {name}: {text}");
                }
            }
        }
    }

    fn tell(&mut self, life: &Life) {
        let count = &self.count;
        for (name, value) in [
            ("lines", count.lines),
            ("bad_lines", count.bad_lines),
            ("overlong", count.overlong),
            ("joined", count.joined),
            ("bytes", count.bytes),
        ] {
            self.report.detail(name, value);
        }
        self.report.state(life.state());
        self.report.faults(life.errors, life.reconnects, life.last_error.as_deref());
        self.report.flush(&self.bus);
    }
}

/// 0 to 1, to spread retries of several daemons on one hub. Without the system's chance they are not spread.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |n| f64::from(n) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::hardware::fake::{FakePorts, Step};
    use super::*;
    use crate::bus::Start;
    use crate::config::{LineFormat, Parity, Sink};
    use crate::metrics::Metrics;
    use crate::threads::{self, Stop};
    use serde_json::Value as Json;
    use std::thread::JoinHandle;
    use std::time::Instant;

    struct Running {
        bus: Arc<Bus>,
        ports: FakePorts,
        until: Until,
        thread: Option<JoinHandle<()>>,
    }

    impl Running {
        fn start(change: impl FnOnce(&mut SerialPort)) -> Running {
            let bus =
                Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
            let fold = Arc::new(Fold::new(Arc::clone(&bus)));
            let mut config = SerialPort {
                id: "meter".into(),
                device: "/dev/no-such-tty".into(),
                baud: 9600,
                data_bits: 8,
                parity: Parity::None,
                stop_bits: 1,
                format: LineFormat::Json,
                map: Vec::new(),
                sink: Sink::Stream("temp".into()),
                name: None,
                stale_after: Duration::from_millis(300),
                max_line: 40,
                hello: Some("*IDN?\n".into()),
            };
            change(&mut config);
            let ports = FakePorts::default();
            ports.plug(true);
            let source = SerialSource::new(config, Box::new(ports.clone()), Arc::clone(&bus), fold);
            let until = Until { daemon: Stop::default(), set: Stop::default() };
            let inner = until.clone();
            let thread = threads::spawn("serial", 256 * 1024, move || source.run(&inner)).unwrap();
            Running { bus, ports, until, thread: Some(thread) }
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

    impl Drop for Running {
        fn drop(&mut self) {
            if self.thread.is_some() {
                self.end();
            }
        }
    }

    #[test]
    fn lines_reach_their_stream_and_silence_shows() {
        let run = Running::start(|_| {});
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
        let run = Running::start(|config| config.stale_after = Duration::from_secs(60));
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
        let run = Running::start(|_| {});
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
        let mut run = Running::start(|config| config.format = LineFormat::Regex("(".into()));
        run.until("the verdict", |r| r.source()["status"] == "disabled");
        assert_eq!(run.ports.opened(), 0);
        run.end();
    }
}
