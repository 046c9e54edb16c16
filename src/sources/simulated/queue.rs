//! The queue: batches of IV scans on the power supply and the multimeter, one after the other, for ever.
//!
//! A failed scan does not stop it (there is always a next one to watch); an aborted one does, unless the command says
//! `"then": "continue"`. While the link to the instruments is down, the running scan waits for them.

use super::super::random::Random;
use super::instruments::diode_ma;
use super::link::Link;
use super::out::Out;
use super::scan::{Answer, Ask, Happening, MEASUREMENT, POINT_STEPS, Scan};
use super::{Actions, Device, Drive, Moment, STEPS_PER_S, World, round};
use crate::bus::Command;
use crate::clock::Wall;
use crate::model::{
    CommandState, DataPoint, Level, QueueLog, QueueState, QueueStatus, ScanState, ScanStatus,
};
use std::collections::{BTreeMap, VecDeque};

/// The queue's id.
pub(super) const ID: &str = "QUEUE_001";
/// Its id as a source.
pub(super) const SOURCE: &str = "queue1";
const TOPIC: &str = "queue/QUEUE_001";
const SCAN_ACTIONS: Actions = &["pause", "resume", "stop", "abort"];
/// Scans of one batch.
const BATCH: usize = 5;
/// Steps between two scans, and before a new batch.
const BETWEEN_STEPS: u64 = 8;
const REST_STEPS: u64 = 40;
/// One in so many scans fails, none of the first batch.
const FAILS: f64 = 1.0 / 14.0;
/// Seconds after which a command that had no effect has timed out for everybody else as well.
const FORGET_S: f64 = 15.0;

/// What a command waits to see.
#[derive(Clone, Debug, PartialEq)]
enum Goal {
    Scan(String, Ask),
    Queue(QueueState),
}

struct Waiting {
    id: String,
    goal: Goal,
    until: f64,
}

/// See the module above.
pub(super) struct Queue {
    random: Random,
    status: QueueState,
    pending: Option<Ask>,
    pause_reason: Option<&'static str>,
    current: Option<Scan>,
    order: VecDeque<Scan>,
    order_version: u64,
    completed: u64,
    failed: u64,
    aborted: u64,
    /// Scans of the present batch, ended ones included.
    total: u64,
    /// The number of the next scan.
    next: u64,
    batches: u64,
    /// Steps until the next scan or batch.
    left: u64,
    /// The scan whose abort does not stop the queue.
    go_on_after: Option<String>,
    /// The scan that ended last, and how.
    ended: Option<(String, ScanState)>,
    waiting: Vec<Waiting>,
    warned: bool,
    /// Something other than time has changed.
    changed: bool,
}

impl Queue {
    /// Idle, about to begin. `earlier` are the scans of earlier runs: their numbers are not used again.
    pub fn new(seed: u64, earlier: &[ScanStatus]) -> Self {
        let number =
            |scan: &ScanStatus| scan.scan_id.strip_prefix("SCAN_").and_then(|n| n.parse::<u64>().ok());
        let next = earlier.iter().filter_map(number).max().unwrap_or(0) + 1;
        Queue {
            random: Random::of(seed, ID),
            status: QueueState::Running,
            pending: None,
            pause_reason: None,
            current: None,
            order: VecDeque::new(),
            order_version: 0,
            completed: 0,
            failed: 0,
            aborted: 0,
            total: 0,
            next,
            batches: 0,
            left: 0,
            go_on_after: None,
            ended: None,
            waiting: Vec::new(),
            warned: false,
            changed: true,
        }
    }

    fn refill(&mut self, at: Moment, out: &mut Out) {
        (self.completed, self.failed, self.aborted) = (0, 0, 0);
        for _ in 0..BATCH {
            let kelvin = 280 + 10 * self.random.below(5);
            let points = 60 + 10 * self.random.below(4) as u64;
            let fails = self.batches > 0 && self.random.chance(FAILS);
            let fails_at = fails.then(|| 10 + self.random.below(40) as u64);
            let id = format!("SCAN_{:03}", self.next);
            self.next += 1;
            let scan = Scan::queued(id, format!("IV curve {kelvin} K"), points, 0.75, fails_at);
            out.own(format!("scan/{}", scan.id), SCAN_ACTIONS);
            out.state(at, "scan_status", &scan.id, &scan.on_wire(ID, at.wall));
            self.order.push_back(scan);
        }
        self.batches += 1;
        self.order_version += 1;
        self.total = BATCH as u64;
        self.status = QueueState::Running;
        self.changed = true;
        queue_line(at, Level::Info, format!("Batch {} with {BATCH} scans", self.batches), "batch_added", out);
    }

    /// Moves on to the next scan, or comes to an end.
    fn advance(&mut self, at: Moment, out: &mut Out) {
        if self.left > 0 {
            self.left -= 1;
            return;
        }
        match (self.status, self.order.pop_front()) {
            (QueueState::Running, Some(mut scan)) => {
                scan.start();
                self.warned = false;
                let text = format!("Starting {} ({}, {} points)", scan.id, scan.name, scan.points_total);
                queue_line(at, Level::Info, text, "scan_started", out);
                out.state(at, "scan_status", &scan.id, &scan.on_wire(ID, at.wall));
                self.current = Some(scan);
                self.order_version += 1;
            }
            (QueueState::Running, None) if self.total > 0 => {
                self.status = QueueState::Completed;
                self.left = REST_STEPS;
                let text = format!(
                    "Batch {} is done: {} completed, {} failed",
                    self.batches, self.completed, self.failed
                );
                queue_line(at, Level::Info, text, "batch_done", out);
            }
            _ => self.refill(at, out),
        }
        self.changed = true;
    }

    fn measure(&mut self, at: Moment, link: &mut Link, out: &mut Out) {
        let Some(scan) = &mut self.current else { return };
        let Some(happening) = scan.step() else { return };
        match happening {
            Happening::Point(index, volts) => {
                let volts_seen = volts + 0.000_2 * self.random.gauss();
                let current =
                    diode_ma(volts_seen) * (1.0 + 0.01 * self.random.gauss()) + 0.002 * self.random.gauss();
                if current > 2.5 && !self.warned {
                    self.warned = true;
                    let text =
                        format!("{:.2} mA at {volts:.3} V is above 2.5 mA, the sample may heat up", current);
                    scan_line(at, Level::Warning, &scan.id, text, "self_heating", out);
                }
                if index.is_multiple_of(20) {
                    scan_line(
                        at,
                        Level::Debug,
                        &scan.id,
                        format!("Point {index} at {volts:.3} V"),
                        "point",
                        out,
                    );
                }
                if let Some(error) = &scan.error {
                    scan_line(at, Level::Error, &scan.id, error.clone(), "no_answer", out);
                }
                if link.receive(at) {
                    let data = BTreeMap::from([
                        ("voltage_V".to_string(), round(volts_seen, 5).into()),
                        ("current_mA".to_string(), round(current, 5).into()),
                    ]);
                    out.record(
                        "data_point",
                        &DataPoint {
                            scan_id: scan.id.clone(),
                            measurement: MEASUREMENT.into(),
                            sequence_index: index,
                            data,
                            t_rel: Some(round(scan.elapsed_s(), 3)),
                            timestamp: Some(at.wall),
                            ..DataPoint::default()
                        },
                    );
                }
            }
            Happening::Paused => {
                if self.pending == Some(Ask::Pause) {
                    self.pause("operator", at, out);
                }
                self.changed = true;
            }
            Happening::Resumed => {
                if self.pending == Some(Ask::Resume) {
                    self.pending = None;
                    self.status = QueueState::Running;
                    self.pause_reason = None;
                    queue_line(at, Level::Info, "Resumed".into(), "queue_resumed", out);
                }
                self.changed = true;
            }
            Happening::Ended => self.over(at, out),
        }
        if let Some(scan) = &self.current
            && !matches!(happening, Happening::Point(..))
        {
            out.state(at, "scan_status", &scan.id, &scan.on_wire(ID, at.wall));
        }
    }

    fn pause(&mut self, reason: &'static str, at: Moment, out: &mut Out) {
        self.status = QueueState::Paused;
        self.pending = None;
        self.pause_reason = Some(reason);
        self.changed = true;
        queue_line(at, Level::Info, format!("Paused: {}", reason.replace('_', " ")), "queue_paused", out);
    }

    /// The current scan has ended.
    fn over(&mut self, at: Moment, out: &mut Out) {
        let Some(scan) = self.current.take() else { return };
        let (level, word) = match scan.status {
            ScanState::Failed => (Level::Error, "failed"),
            ScanState::Aborted => (Level::Warning, "aborted"),
            _ => (Level::Info, "completed"),
        };
        match scan.status {
            ScanState::Failed => self.failed += 1,
            ScanState::Aborted => self.aborted += 1,
            _ => self.completed += 1,
        }
        let why = scan.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let text =
            format!("{} {word} with {} of {} points{why}", scan.id, scan.points_done, scan.points_total);
        queue_line(at, level, text, &format!("scan_{word}"), out);
        let stops =
            scan.status == ScanState::Aborted && self.go_on_after.take_if(|id| *id == scan.id).is_none();
        self.left = BETWEEN_STEPS;
        self.changed = true;
        match self.status {
            QueueState::Stopping => {
                self.status = QueueState::Idle;
                self.pending = None;
            }
            QueueState::Running if self.pending.is_some() || stops => {
                let reason = if stops { "scan_aborted" } else { "operator" };
                self.pause(reason, at, out);
            }
            _ => self.pending = None,
        }
        self.bury(scan, at, out);
    }

    /// Tells the end of a scan, the last that is told of it.
    fn bury(&mut self, scan: Scan, at: Moment, out: &mut Out) {
        let status = scan.on_wire(ID, at.wall);
        out.retire("scan_status", &scan.id, &status);
        out.disown(format!("scan/{}", scan.id));
        self.ended = Some((scan.id, scan.status));
    }

    fn allowed(&self) -> &'static [&'static str] {
        match (self.status, self.pending) {
            (QueueState::Idle, _) => &["start"],
            (QueueState::Running, Some(Ask::Abort)) => &["stop"],
            (QueueState::Running, Some(Ask::Pause)) => &["resume", "stop", "abort"],
            (QueueState::Running, _) => &["pause", "stop", "abort"],
            (QueueState::Paused, _) => &["resume", "stop", "abort"],
            (QueueState::Stopping, _) => &["resume", "abort"],
            (QueueState::Completed, _) => &[],
        }
    }

    /// Ends the commands whose effect is there.
    fn confirm(&mut self, at: Moment, out: &mut Out) {
        let scan_status = |id: &str| {
            let current = self.current.as_ref().filter(|scan| scan.id == id);
            current
                .map(|scan| scan.status)
                .or_else(|| self.ended.iter().find(|(ended, _)| ended == id).map(|(_, status)| *status))
        };
        let queue = self.status;
        self.waiting.retain(|waiting| {
            match &waiting.goal {
                Goal::Queue(wanted) if queue == *wanted => out.completed(&waiting.id, queue_word(queue)),
                Goal::Scan(id, ask) => {
                    let Some(status) = scan_status(id) else { return at.t() < waiting.until };
                    let over =
                        matches!(status, ScanState::Completed | ScanState::Aborted | ScanState::Failed);
                    match (ask, status) {
                        (Ask::Pause, ScanState::Paused)
                        | (Ask::Resume, ScanState::Running)
                        | (Ask::Stop, ScanState::Completed)
                        | (Ask::Abort, ScanState::Aborted) => out.completed(&waiting.id, scan_word(status)),
                        _ if over => {
                            let reason = "the scan had ended before it could be done".to_string();
                            out.finish(
                                &waiting.id,
                                CommandState::Failed,
                                Some(scan_word(status)),
                                Some(reason),
                            );
                        }
                        _ => return at.t() < waiting.until,
                    }
                }
                Goal::Queue(_) => return at.t() < waiting.until,
            }
            false
        });
    }

    /// A later command makes those that wait for the same thing meaningless.
    fn supersede(&mut self, target: &Goal, out: &mut Out) {
        self.waiting.retain(|waiting| {
            let same = match (&waiting.goal, target) {
                (Goal::Scan(one, asked), Goal::Scan(other, ask)) => one == other && asked != ask,
                (Goal::Queue(one), Goal::Queue(other)) => one != other,
                _ => false,
            };
            if same {
                out.finish(&waiting.id, CommandState::Superseded, None, None);
            }
            !same
        });
    }

    fn wait_for(&mut self, command: &Command, goal: Goal, at: Moment, out: &mut Out) {
        self.supersede(&goal, out);
        self.waiting.push(Waiting { id: command.id.clone(), goal, until: at.t() + FORGET_S });
    }

    fn command_scan(&mut self, command: &Command, id: &str, ask: Ask, at: Moment, out: &mut Out) {
        if let Some(place) = self.order.iter().position(|scan| scan.id == id) {
            if self.order[place].ask(ask) == Answer::Impossible {
                return out.rejected(
                    &command.id,
                    format!("can't {}: the scan is queued; possible: abort", ask.word()),
                );
            }
            if let Some(scan) = self.order.remove(place) {
                self.aborted += 1;
                self.order_version += 1;
                self.changed = true;
                self.bury(scan, at, out);
            }
            return out.completed(&command.id, "aborted");
        }
        let Some(scan) = self.current.as_mut().filter(|scan| scan.id == id) else {
            return out.rejected(&command.id, format!("can't {}: the scan is over", ask.word()));
        };
        match scan.ask(ask) {
            Answer::Impossible => {
                let possible = scan.allowed().join(", ");
                let word = scan_word(scan.status);
                let reason = format!("can't {}: the scan is {word}; possible: {possible}", ask.word());
                return out.rejected(&command.id, reason);
            }
            Answer::Already if scan.pending.is_none() => {
                return out.completed(&command.id, scan_word(scan.status));
            }
            _ => {}
        }
        if ask == Ask::Abort && command.params.get("then").and_then(|v| v.as_str()) == Some("continue") {
            self.go_on_after = Some(id.to_string());
        }
        out.state(at, "scan_status", id, &scan.on_wire(ID, at.wall));
        self.wait_for(command, Goal::Scan(id.to_string(), ask), at, out);
        self.confirm(at, out);
    }

    fn command_queue(&mut self, command: &Command, at: Moment, out: &mut Out) {
        let action = command.action.as_str();
        let already = match action {
            "start" => self.status == QueueState::Running,
            "pause" => self.status == QueueState::Paused && self.pending.is_none(),
            "resume" => self.status == QueueState::Running && self.pending.is_none(),
            "stop" => self.status == QueueState::Idle,
            _ => false,
        };
        if already {
            return out.completed(&command.id, queue_word(self.status));
        }
        let repeated = self.pending.is_some_and(|ask| ask.word() == action);
        if !repeated && !self.allowed().contains(&action) {
            let (word, possible) = (queue_word(self.status), self.allowed().join(", "));
            let possible = if possible.is_empty() { "nothing".into() } else { possible };
            return out
                .rejected(&command.id, format!("can't {action}: the queue is {word}; possible: {possible}"));
        }
        self.changed = true;
        let goal = match action {
            "start" => {
                self.status = QueueState::Running;
                QueueState::Running
            }
            "pause" => {
                self.ask_current(Ask::Pause, at, out);
                match &self.current {
                    Some(scan) if scan.status == ScanState::Running => self.pending = Some(Ask::Pause),
                    _ => self.pause("operator", at, out),
                }
                QueueState::Paused
            }
            "resume" => {
                self.resume(at, out);
                QueueState::Running
            }
            "stop" => {
                self.pending = None;
                self.status = if self.current.is_some() { QueueState::Stopping } else { QueueState::Idle };
                // A paused scan would never end by itself.
                if self.current.as_ref().is_some_and(|scan| scan.status == ScanState::Paused) {
                    self.ask_current(Ask::Stop, at, out);
                }
                QueueState::Idle
            }
            _ => {
                let stopping = self.status == QueueState::Stopping;
                self.ask_current(Ask::Abort, at, out);
                match (&self.current, stopping) {
                    (None, _) => self.pause("operator", at, out),
                    (Some(_), false) if self.status == QueueState::Running => self.pending = Some(Ask::Abort),
                    _ => {}
                }
                if stopping { QueueState::Idle } else { QueueState::Paused }
            }
        };
        self.wait_for(command, Goal::Queue(goal), at, out);
        self.report(at, out);
        // An abort of a paused queue is done when its scan is over, not at once.
        let aborts_paused = action == "abort" && self.status == QueueState::Paused && self.current.is_some();
        if let (true, Some(scan), Some(last)) = (aborts_paused, &self.current, self.waiting.last_mut()) {
            last.goal = Goal::Scan(scan.id.clone(), Ask::Abort);
        }
        self.confirm(at, out);
    }

    fn resume(&mut self, at: Moment, out: &mut Out) {
        self.ask_current(Ask::Resume, at, out);
        match &self.current {
            Some(scan) if scan.status == ScanState::Paused => self.pending = Some(Ask::Resume),
            _ => {
                self.pending = None;
                self.pause_reason = None;
                self.status = QueueState::Running;
            }
        }
    }

    fn ask_current(&mut self, ask: Ask, at: Moment, out: &mut Out) {
        if let Some(scan) = &mut self.current {
            scan.ask(ask);
            out.state(at, "scan_status", &scan.id, &scan.on_wire(ID, at.wall));
        }
    }

    fn report(&self, at: Moment, out: &mut Out) {
        let done = self.completed + self.failed + self.aborted;
        let part = self.current.as_ref().map_or(0.0, Scan::progress);
        let left_s = self.current.iter().chain(&self.order).map(|scan| scan.left_s() + 1.0).sum::<f64>();
        let running = self.status == QueueState::Running;
        out.state(
            at,
            "queue_status",
            ID,
            &QueueStatus {
                queue_id: ID.into(),
                name: Some("IV curves of diode D1".into()),
                status: self.status,
                current_scan: self.current.as_ref().map(|scan| scan.id.clone()),
                completed_scans: self.completed,
                total_scans: self.total,
                order_version: self.order_version,
                timestamp: at.wall,
                pending: self.pending.map(|ask| ask.word().into()),
                failed_scans: self.failed,
                aborted_scans: self.aborted,
                order: self.current.iter().chain(&self.order).map(|scan| scan.id.clone()).collect(),
                progress: (self.total > 0).then(|| round((done as f64 + part) / self.total as f64, 4)),
                eta_s: running.then(|| round(left_s, 0)),
                pause_reason: self.pause_reason.map(str::to_string),
                allowed_actions: self.allowed().iter().map(|a| (*a).to_string()).collect(),
                on_failure: None,
                looped: None,
                autostart: None,
                running_since: None,
                removed: false,
            },
        );
    }
}

fn queue_word(status: QueueState) -> &'static str {
    match status {
        QueueState::Idle => "idle",
        QueueState::Running => "running",
        QueueState::Paused => "paused",
        QueueState::Stopping => "stopping",
        QueueState::Completed => "completed",
    }
}

fn scan_word(status: ScanState) -> &'static str {
    match status {
        ScanState::Queued => "queued",
        ScanState::Running => "running",
        ScanState::Paused => "paused",
        ScanState::Completed => "completed",
        ScanState::Aborted => "aborted",
        ScanState::Failed => "failed",
    }
}

fn line(at: Wall, level: Level, message: String, code: &str) -> QueueLog {
    QueueLog {
        level,
        message,
        timestamp: at,
        queue_id: Some(ID.into()),
        scan_id: None,
        source: Some("runner".into()),
        code: Some(code.into()),
        data: None,
    }
}

/// What concerns the queue goes on its topic; what concerns a point of a scan on the scan's.
fn queue_line(at: Moment, level: Level, message: String, code: &str, out: &mut Out) {
    out.record_on(TOPIC, "queue_log", &line(at.wall, level, message, code));
}

fn scan_line(at: Moment, level: Level, scan: &str, message: String, code: &str, out: &mut Out) {
    let line = QueueLog { scan_id: Some(scan.into()), ..line(at.wall, level, message, code) };
    out.record_on(&format!("scan/{scan}"), "queue_log", &line);
}

/// The end of a scan of an earlier run that was not over.
pub(super) fn interrupted(mut scan: ScanStatus, at: Wall) -> Option<ScanStatus> {
    if matches!(scan.status, ScanState::Completed | ScanState::Aborted | ScanState::Failed) {
        return None;
    }
    scan.status = ScanState::Failed;
    scan.pending = None;
    scan.allowed_actions.clear();
    scan.exit_reason = Some("interrupted".into());
    scan.message = Some("telltale was restarted".into());
    scan.phase = None;
    scan.eta_s = None;
    scan.revision += 1;
    scan.timestamp = at;
    scan.num_points = BTreeMap::from([(MEASUREMENT.to_string(), scan.points_done.unwrap_or(0))]);
    Some(scan)
}

impl Device for Queue {
    fn source(&self) -> &'static str {
        SOURCE
    }

    fn timeout_s(&self) -> f64 {
        5.0
    }

    fn owned(&self) -> Vec<(String, Actions)> {
        vec![(TOPIC.into(), &["start", "pause", "resume", "stop", "abort"])]
    }

    fn step(&mut self, at: Moment, link: &mut Link, world: &mut World, out: &mut Out) {
        if link.is_open() {
            link.heard(at);
            let idle = self.current.is_none();
            if idle && matches!(self.status, QueueState::Running | QueueState::Completed) {
                self.advance(at, out);
            }
            self.measure(at, link, out);
        } else if at.every(POINT_STEPS) {
            link.receive(at);
        }
        world.drive =
            self.current.as_ref().map(|scan| Drive { scan_id: scan.id.clone(), volts: scan.drives() });
        // What is told again is told because it was looked at again: not while nothing answers.
        if at.every(STEPS_PER_S / 2)
            && link.is_open()
            && let Some(scan) = &self.current
        {
            out.state(at, "scan_status", &scan.id, &scan.on_wire(ID, at.wall));
        }
        if self.changed || (link.is_open() && at.every(2 * STEPS_PER_S)) {
            self.changed = false;
            self.report(at, out);
        }
        self.confirm(at, out);
    }

    fn command(&mut self, command: &Command, at: Moment, _: &Link, _: &World, out: &mut Out) {
        match (command.target.strip_prefix("scan/"), Ask::parse(&command.action)) {
            (Some(id), Some(ask)) => self.command_scan(command, id, ask, at, out),
            _ => self.command_queue(command, at, out),
        }
    }
}
