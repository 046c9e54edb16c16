//! Input pins: levels and edges through [`Pins`], one thread for all of them.
//!
//! **Promises.** Every edge the kernel reports is told, in its order for each pin. Edges the kernel or the hardware
//! lost are counted (`lost_edges`), never made up: a gap in the kernel's numbering counts, and once a second each
//! level is read again; when it is not the one that counts and no edge explains it, the level that was read is taken
//! over as a level, not as an edge. **Signals** interrupt a wait, which is then repeated (see [`super::hardware`]).
//! **Bounds.** A pin with more than `limits::GPIO_FLOOD` edges is disabled until the next reload.
//! Both edges are always asked of the kernel, whichever are published: the level must be right in any case.

mod debounce;

use self::debounce::{Change, Debouncer};
use super::fold::{Feed, Fold, publish_on};
use super::hardware::{OpenPins, PinEvent, Pins, PinsError};
use super::inputs::Until;
use super::monotonic;
use super::publish::Report;
use super::reading::{Reading, Value};
use crate::bus::Bus;
use crate::clock::Wall;
use crate::config::{Edge, GpioPin, Sink};
use crate::limits;
use crate::model::{QualityReason, SourceState};
use serde_json::{Map, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for an edge: how late a stop is noticed.
const WAIT: Duration = Duration::from_millis(200);
/// How often levels are read again and refused pins tried again.
const CHECK: Duration = Duration::from_secs(1);
/// How long an edge that explains another level may be under way.
const CONFIRM: Duration = Duration::from_millis(10);
/// How often a chip that failed is opened again, at most.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// All the pins of a configuration.
pub struct GpioSource {
    lines: Vec<Line>,
    opener: Box<dyn OpenPins>,
    bus: Arc<Bus>,
    fold: Arc<Fold>,
}

/// One pin.
struct Line {
    config: GpioPin,
    feed: Feed,
    report: Report,
    standing: Standing,
    debouncer: Debouncer,
    /// The kernel's number of the last edge; it starts at 1.
    seqno: u32,
    /// Edges that were published.
    edges: u64,
    lost: u64,
    /// Losses found by reading the level again, which a later gap in the numbers will show once more.
    owed: u32,
    /// The last check found another level; it must outlive one more wait.
    suspect: bool,
    flood: (Duration, u32),
    said: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Claimed,
    Refused,
    Disabled,
}

impl GpioSource {
    /// The pins of `pins`; their targets are announced at once.
    pub fn new(pins: Vec<GpioPin>, opener: Box<dyn OpenPins>, bus: Arc<Bus>, fold: Arc<Fold>) -> Self {
        let lines: Vec<Line> = pins.into_iter().map(Line::new).collect();
        for line in &lines {
            fold.expect(&line.feed);
        }
        GpioSource { lines, opener, bus, fold }
    }

    /// Serves the pins until it is over.
    pub(super) fn run(mut self, until: &Until) {
        let mut retry = CHECK;
        let mut said = String::new();
        while !until.is_over() {
            let failed = match self.opener.open() {
                Ok(mut pins) => {
                    said.clear();
                    retry = CHECK;
                    match self.serve(&mut *pins, until) {
                        Ok(()) => break,
                        Err(e) => e.to_string(),
                    }
                }
                Err(PinsError::NoBoard) => {
                    let n = self.lines.len();
                    log::warn!(
                        "gpio is absent: {}; {n} configured pins are reported absent",
                        PinsError::NoBoard
                    );
                    self.all(SourceState::Absent, &PinsError::NoBoard.to_string());
                    return;
                }
                Err(e) => e.to_string(),
            };
            if failed != said {
                self.bus.metrics.source_errors_total.inc();
                log::error!("gpio can't be used: {failed}; trying again");
                said.clone_from(&failed);
            }
            self.all(SourceState::Error, &failed);
            if until.wait(retry) {
                break;
            }
            retry = (retry * 3 / 2).min(RETRY_MOST);
        }
        // A reload, not the end: whatever is configured next must not be taken for these.
        if !until.daemon.is_stopped() {
            self.all(SourceState::Disabled, "the configuration was loaded again");
        }
    }

    /// All pins are in this state.
    fn all(&mut self, state: SourceState, why: &str) {
        for line in &mut self.lines {
            line.report.state(state);
            line.report.faults(u64::from(state == SourceState::Error), 0, Some(why));
            line.report.flush(&self.bus);
            self.fold.lost(&line.feed, QualityReason::NotConnected);
        }
    }

    fn serve(&mut self, pins: &mut dyn Pins, until: &Until) -> io::Result<()> {
        for line in &mut self.lines {
            line.claim(pins, &self.bus, &self.fold);
        }
        let mut check = monotonic() + CHECK;
        let (mut look, mut confirm) = (false, false);
        while !until.is_over() {
            let now = monotonic();
            let due = self.lines.iter().filter_map(|l| l.debouncer.deadline()).chain([check]).min();
            // Whole milliseconds, upwards: the chip's clock for waiting is no finer, and 0 would spin.
            let wait = due.map_or(WAIT, |due| due.saturating_sub(now)).min(WAIT);
            let wait = match (confirm, look) {
                (true, _) => CONFIRM,
                (_, true) => Duration::ZERO,
                _ => Duration::from_millis(wait.as_micros().div_ceil(1000) as u64),
            };
            let event = pins.wait(wait)?;
            if let Some(event) = event
                && let Some(line) = self.lines.iter_mut().find(|l| l.config.pin == event.pin)
            {
                line.edge(event, pins, &self.bus, &self.fold);
            }
            let now = monotonic();
            for line in &mut self.lines {
                if let Some(change) = line.debouncer.tick(now) {
                    line.changed(change, &self.bus, &self.fold);
                }
            }
            // Levels are only compared when no edge is waiting to be read: it would explain the difference.
            if event.is_none() && (look || confirm) {
                (look, confirm) = (false, false);
                for line in &mut self.lines {
                    confirm |= line.check(pins, &self.bus, &self.fold);
                }
            }
            if now >= check {
                check = now + CHECK;
                look = true;
                for line in &mut self.lines {
                    if line.standing == Standing::Refused {
                        line.claim(pins, &self.bus, &self.fold);
                    }
                    line.report.flush(&self.bus);
                }
            }
        }
        Ok(())
    }
}

impl Line {
    fn new(config: GpioPin) -> Self {
        let feed = Feed {
            source: config.id.clone(),
            sink: config.sink.clone(),
            name: None,
            timeout: None,
            several: false,
        };
        let mut report = Report::new(&config.id, "gpio", CHECK);
        report.detail("pin", config.pin);
        Line {
            debouncer: Debouncer::new(config.debounce, false),
            config,
            feed,
            report,
            standing: Standing::Refused,
            seqno: 0,
            edges: 0,
            lost: 0,
            owed: 0,
            suspect: false,
            flood: (Duration::ZERO, 0),
            said: None,
        }
    }

    /// Takes the pin, reads it, and tells its level.
    fn claim(&mut self, pins: &mut dyn Pins, bus: &Bus, fold: &Fold) {
        if self.standing == Standing::Disabled {
            return;
        }
        let level = match pins.claim(self.config.pin, self.config.pull) {
            Ok(()) => pins.level(self.config.pin).unwrap_or(false),
            Err(e) => {
                let said = e.to_string();
                if self.said.as_ref() != Some(&said) {
                    bus.metrics.source_errors_total.inc();
                    log::error!("gpio {}: pin {} can't be used: {said}", self.config.id, self.config.pin);
                    self.report.faults(1, 0, Some(&said));
                    self.said = Some(said);
                }
                self.standing = Standing::Refused;
                self.report.state(SourceState::Error);
                self.report.flush(bus);
                return;
            }
        };
        log::info!(
            "gpio {}: pin {} is {}",
            self.config.id,
            self.config.pin,
            if level { "high" } else { "low" }
        );
        self.said = None;
        self.standing = Standing::Claimed;
        self.seqno = 0;
        self.debouncer = Debouncer::new(self.config.debounce, level);
        self.report.faults(0, 0, None);
        self.report.state(SourceState::Ok);
        self.tell_level("start", bus, fold);
    }

    /// An edge from the kernel.
    fn edge(&mut self, event: PinEvent, pins: &mut dyn Pins, bus: &Bus, fold: &Fold) {
        if self.standing != Standing::Claimed {
            return;
        }
        self.suspect = false;
        let gap = event.seqno.wrapping_sub(self.seqno).wrapping_sub(1);
        self.seqno = event.seqno;
        // More than half the range is a number that went back: not a count of anything.
        let gap = if gap > u32::MAX / 2 { 0 } else { gap };
        self.lose(u64::from(gap.saturating_sub(self.owed)));
        self.owed = 0;
        for change in self.debouncer.edge(event.rising, event.at).into_iter().flatten() {
            self.changed(change, bus, fold);
        }
        if event.at.saturating_sub(self.flood.0) > limits::GPIO_FLOOD_TIME {
            self.flood = (event.at, 0);
        }
        self.flood.1 = self.flood.1.saturating_add(1).saturating_add(gap);
        if self.flood.1 > limits::GPIO_FLOOD {
            self.disable(pins, bus, fold);
        }
    }

    fn lose(&mut self, edges: u64) {
        if edges > 0 {
            self.lost += edges;
            self.report.detail("lost_edges", self.lost);
        }
    }

    /// A level that counts, with its edge.
    fn changed(&mut self, change: Change, bus: &Bus, fold: &Fold) {
        let wanted = match self.config.edge {
            Edge::Both => true,
            Edge::Rising => change.high,
            Edge::Falling => !change.high,
        };
        self.edges += u64::from(wanted);
        let at = Wall(Wall::now().0.saturating_sub(monotonic().saturating_sub(change.at).as_millis() as u64));
        if let Sink::Topic(topic) = &self.config.sink {
            if wanted {
                let mut payload = self.level(at);
                payload.insert("edge".into(), if change.high { "rising" } else { "falling" }.into());
                payload.insert("count".into(), self.edges.into());
                payload.insert("timestamp_mono_ns".into(), (change.at.as_nanos() as u64).into());
                publish_on(bus, "edge", topic, &payload);
            }
        } else {
            fold.update(&self.feed, &[self.reading()], at);
        }
        self.report(at, bus);
    }

    /// A level that was read, without an edge.
    fn tell_level(&mut self, reason: &str, bus: &Bus, fold: &Fold) {
        let at = Wall::now();
        if let Sink::Topic(topic) = &self.config.sink {
            let mut payload = self.level(at);
            payload.insert("reason".into(), reason.into());
            publish_on(bus, "level", topic, &payload);
        } else {
            fold.update(&self.feed, &[self.reading()], at);
        }
        self.report(at, bus);
    }

    /// Reads the level again. True when it is another one and must be confirmed.
    fn check(&mut self, pins: &dyn Pins, bus: &Bus, fold: &Fold) -> bool {
        let suspect = self.suspect;
        self.suspect = false;
        if self.standing != Standing::Claimed || !self.debouncer.is_quiet() {
            return false;
        }
        let Some(level) = pins.level(self.config.pin).filter(|level| *level != self.debouncer.high()) else {
            return false;
        };
        if !suspect {
            self.suspect = true;
            return true;
        }
        self.debouncer.correct(level);
        self.owed = self.owed.saturating_add(1);
        self.lose(1);
        self.tell_level("reread", bus, fold);
        false
    }

    fn disable(&mut self, pins: &mut dyn Pins, bus: &Bus, fold: &Fold) {
        let (id, pin, most, time) =
            (&self.config.id, self.config.pin, limits::GPIO_FLOOD, limits::GPIO_FLOOD_TIME);
        let why = format!(
            "more than {most} edges in {time:?}: it chatters or floats; switched off until the next reload"
        );
        log::error!("gpio {id}: pin {pin} has {why}");
        bus.metrics.source_errors_total.inc();
        pins.release(pin);
        self.standing = Standing::Disabled;
        self.debouncer.correct(self.debouncer.high());
        self.report.state(SourceState::Disabled);
        self.report.faults(1, 0, Some(&why));
        self.report.flush(bus);
        fold.lost(&self.feed, QualityReason::DeviceError);
    }

    fn active(&self) -> bool {
        self.debouncer.high() != self.config.active_low
    }

    /// What the pin says to its recorder, instrument or stream.
    fn reading(&self) -> Reading {
        let active = self.active();
        match &self.config.sink {
            Sink::Recorder(_) => {
                let word = if active {
                    self.config.active.as_deref().unwrap_or("recording")
                } else {
                    self.config.inactive.as_deref().unwrap_or("idle")
                };
                Reading { name: "status".into(), value: Value::Text(word.into()), unit: None }
            }
            _ => Reading {
                name: self.config.active.clone().unwrap_or_else(|| self.config.id.clone()),
                value: Value::Number(if active { 1.0 } else { 0.0 }),
                unit: None,
            },
        }
    }

    fn level(&self, at: Wall) -> Map<String, serde_json::Value> {
        let mut payload = Map::new();
        payload.insert("source_id".into(), self.config.id.clone().into());
        payload.insert("timestamp".into(), json!(at));
        payload.insert("pin".into(), self.config.pin.into());
        payload.insert("level".into(), u8::from(self.debouncer.high()).into());
        payload.insert("active".into(), self.active().into());
        payload.insert("lost".into(), self.lost.into());
        payload
    }

    fn report(&mut self, at: Wall, bus: &Bus) {
        self.report.detail("level", u8::from(self.debouncer.high()));
        self.report.detail("active", self.active());
        self.report.detail("edges", self.edges);
        self.report.detail("lost_edges", self.lost);
        self.report.seen(at);
        self.report.flush(bus);
    }
}

#[cfg(test)]
mod tests {
    use super::super::hardware::fake::FakePins;
    use super::*;
    use crate::bus::Start;
    use crate::config::{Debounce, Pull};
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
            edge: Edge::Both,
            debounce: Debounce::None,
            sink,
            active: None,
            inactive: None,
        }
    }

    struct Running {
        bus: Arc<Bus>,
        until: Until,
        thread: Option<JoinHandle<()>>,
    }

    impl Running {
        fn start(pins: Vec<GpioPin>, board: &FakePins) -> Running {
            let bus =
                Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
            let fold = Arc::new(Fold::new(Arc::clone(&bus)));
            let source = GpioSource::new(pins, Box::new(board.clone()), Arc::clone(&bus), fold);
            let until = Until { daemon: Stop::default(), set: Stop::default() };
            let inner = until.clone();
            let thread = threads::spawn("gpio", 256 * 1024, move || source.run(&inner)).unwrap();
            Running { bus, until, thread: Some(thread) }
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
    fn every_sink_is_fed() {
        let board = FakePins::default();
        let mut channel = pin("valve", 6, Sink::Instrument("rig".into()));
        channel.active = Some("open".into());
        let pins = vec![
            pin("rec", 5, Sink::Recorder("r".into())),
            channel,
            pin("flow", 7, Sink::Stream("flow".into())),
        ];
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
            vec![pin("no", 60, Sink::Topic("app/n".into())), pin("yes", 5, Sink::Topic("app/y".into()))],
            &board,
        );
        run.until("the good one", |r| r.state("source_status/yes")["status"] == "ok");
        let no = run.state("source_status/no");
        assert_eq!((&no["status"], &no["last_error"]), (&json!("error"), &json!("this board has no pin 60")));
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
    fn a_flood_disables_its_pin_only() {
        let board = FakePins::default();
        let run = Running::start(
            vec![pin("bad", 4, Sink::Stream("bad".into())), pin("good", 5, Sink::Stream("good".into()))],
            &board,
        );
        run.until("the start", |r| r.state("source_status/good")["status"] == "ok");
        for n in 0..limits::GPIO_FLOOD {
            board.set(4, n % 2 == 1);
        }
        board.set(4, true);
        run.until("the end of it", |r| r.state("source_status/bad")["status"] == "disabled");
        assert_eq!(board.claimed(4), None);
        board.set(5, false);
        run.until("the good one", |r| r.state("stream_value/good")["value"] == 1.0);
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
}
