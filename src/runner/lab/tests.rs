//! The desk and the thread of a queue over a real bus and store, with instruments that are threads of the test.

use super::*;
use crate::alerts::Alerts;
use crate::bus::{Bus, Commands, Submitted};
use crate::metrics::Metrics;
use crate::model::{CommandState, TopicFilter};
use crate::sources::reading::{Reading, Value as Read};
use crate::sources::recordings::Recordings;
use crate::sources::{Asked, Instruments, Outcome, Outlets, Recorders, Request, Setting};
use crate::store::{self, Store};
use crate::threads::Stop;
use serde_json::{Map, json};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// What a fake instrument does with a request that begins so.
#[derive(Clone)]
enum Reply {
    Number(f64),
    Missing(crate::model::QualityReason),
    Fail(&'static str),
    Hang,
}

/// The fake bench: what it was asked, and what it answers where that is not the obvious.
#[derive(Default)]
struct Fakes {
    log: Mutex<Vec<String>>,
    rules: Mutex<Vec<(String, Reply, usize)>>,
    values: Mutex<BTreeMap<String, f64>>,
}

impl Fakes {
    /// The next `times` requests that begin like this are answered so.
    fn rule(&self, begins: &str, reply: Reply, times: usize) {
        self.rules.lock().unwrap().push((begins.to_string(), reply, times));
    }

    fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    fn asked_of(&self, begins: &str) -> Vec<String> {
        self.asked().into_iter().filter(|line| line.starts_with(begins)).collect()
    }

    fn note(&self, line: String) -> Option<Reply> {
        let mut rules = self.rules.lock().unwrap();
        let found =
            rules.iter_mut().find(|(begins, _, times)| *times > 0 && line.starts_with(begins.as_str()));
        let reply = found.map(|(_, reply, times)| {
            *times -= 1;
            reply.clone()
        });
        self.log.lock().unwrap().push(line);
        reply
    }

    fn run(&self, id: &str, requests: &Receiver<Asked>) {
        let mut hanging: Vec<(String, Asked)> = Vec::new();
        loop {
            match requests.recv_timeout(Duration::from_millis(2)) {
                Ok(asked) => self.answer(id, asked, &mut hanging),
                Err(crossbeam::channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam::channel::RecvTimeoutError::Disconnected) => return,
            }
            hanging.retain(|(line, asked)| {
                let given_up = asked.is_given_up();
                if given_up {
                    self.log.lock().unwrap().push(format!("given up: {line}"));
                }
                !given_up
            });
        }
    }

    fn answer(&self, id: &str, asked: Asked, hanging: &mut Vec<(String, Asked)>) {
        let line = match &asked.request {
            Request::Set { channel, to: Setting::Number(number), .. } => {
                format!("{id} set {channel} {number}")
            }
            Request::Set { channel, to: Setting::Word(word), .. } => format!("{id} set {channel} {word}"),
            Request::Read { channels } => format!("{id} read {}", channels.join(",")),
            Request::Query(text) => format!("{id} query {text}"),
            Request::Stop => format!("{id} stop"),
            Request::Safe => format!("{id} safe"),
            Request::Move { .. } => format!("{id} move"),
            Request::ClearError => format!("{id} clear"),
        };
        let reply = self.note(line.clone());
        let mut outcome =
            Outcome { state: CommandState::Completed, readings: vec![], text: None, reason: None };
        let mut values = self.values.lock().unwrap();
        match (&asked.request, reply) {
            (_, Some(Reply::Hang)) => return hanging.push((line, asked)),
            (_, Some(Reply::Fail(why))) => {
                outcome.state = CommandState::Failed;
                outcome.reason = Some(why.to_string());
            }
            (Request::Read { channels }, reply) => {
                for channel in channels {
                    let value = match &reply {
                        Some(Reply::Number(number)) => Read::number(*number),
                        Some(Reply::Missing(reason)) => Read::Missing(*reason),
                        _ => Read::Number(values.get(&format!("{id}.{channel}")).copied().unwrap_or(0.0)),
                    };
                    outcome.readings.push(Reading { name: channel.clone(), value, unit: None });
                }
            }
            (Request::Set { channel, to: Setting::Number(number), .. }, _) => {
                values.insert(format!("{id}.{channel}"), *number);
            }
            (Request::Query(_), _) => outcome.text = Some("ANSWER".into()),
            _ => {}
        }
        let _ = asked.reply.send(outcome);
    }
}

struct World {
    lab: Arc<Lab>,
    context: Context,
    fakes: Arc<Fakes>,
    threads: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    dir: tempfile::TempDir,
}

fn channel(name: &str, unit: &str, settable: bool, range: Option<(f64, f64)>) -> ChannelOffer {
    ChannelOffer {
        name: name.into(),
        unit: Some(unit.into()),
        settable,
        readable: true,
        min: range.map(|r| r.0),
        max: range.map(|r| r.1),
        ..ChannelOffer::default()
    }
}

/// A supply, a meter, a stage and an output pin.
fn offers() -> Vec<Offer> {
    let offer = |id: &str, channels: Vec<ChannelOffer>| Offer {
        id: id.into(),
        name: id.into(),
        channels,
        queries: true,
        timeout: Duration::from_millis(500),
        ..Offer::default()
    };
    let mut psu = offer(
        "psu",
        vec![channel("voltage", "V", true, Some((0.0, 6.0))), channel("current", "A", false, None)],
    );
    psu.safe = vec!["OUTP 0".into()];
    psu.stops = true;
    let mut relay = channel("level", "1", true, None);
    relay.words = vec!["on".into(), "off".into()];
    vec![
        psu,
        offer("dmm", vec![channel("voltage", "V", false, None)]),
        offer("stage", vec![channel("x", "mm", true, Some((0.0, 100.0)))]),
        offer("relay1", vec![relay]),
    ]
}

fn world() -> World {
    world_in(
        tempfile::tempdir().unwrap(),
        config::Lab { abort_after: Duration::from_millis(400), ..config::Lab::default() },
    )
}

fn world_in(dir: tempfile::TempDir, settings: config::Lab) -> World {
    let opened = Store::open(
        dir.path(),
        &config::Store { commit: Duration::from_millis(10), ..config::Store::default() },
    )
    .unwrap();
    let bus = Arc::new(Bus::new(opened.start, Arc::new(Metrics::default())));
    let store = Arc::new(opened.store);
    let commands = Arc::new(Commands::new(Arc::clone(&bus)));
    let alerts = Arc::new(Alerts::new(Arc::clone(&bus)));
    let outlets = Arc::new(Outlets::default());
    let recordings =
        Recordings::new(Arc::clone(&bus), Arc::clone(&store), Arc::clone(&alerts), dir.path().to_path_buf());
    let context = Context {
        recorders: Arc::new(Recorders::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&outlets))),
        bus: Arc::clone(&bus),
        commands,
        store: Arc::clone(&store),
        alerts,
        outlets,
        instruments: Arc::new(Instruments::default()),
        recordings: Arc::new(recordings),
        stop: Stop::default(),
    };
    let (lab, thread) = Lab::start(&context, &settings).unwrap();
    let writer = store::start_writer(bus, store, Arc::new(AtomicBool::new(false))).unwrap();
    let fakes = Arc::new(Fakes::default());
    let mut threads = vec![thread];
    for offer in offers() {
        let (to, requests) = bounded(limits::INSTRUMENT_COMMANDS);
        let (ours, id) = (Arc::clone(&fakes), offer.id.clone());
        context.instruments.offer(offer, to, Arc::new(|| ()));
        threads.push(threads::spawn("fake", limits::STACK, move || ours.run(&id, &requests)).unwrap());
    }
    World { lab, context, fakes, threads, writer, dir }
}

fn iv(points: u64) -> Value {
    json!({
        "name": "IV",
        "axes": [{"set": "psu.voltage", "start": 0.0, "stop": (points - 1) as f64 / 100.0, "points": points}],
        "measure": ["dmm.voltage"],
        "always": [{"set": "psu.voltage", "value": 5}],
    })
}

/// One that does not end by itself while a test waits.
fn forever() -> Value {
    json!({"name": "forever", "axes": [], "measure": ["dmm.voltage"], "interval_s": 0.02, "duration_s": 600})
}

impl World {
    fn queue(&self) -> String {
        self.lab.create_queue(NewQueue::default()).unwrap().queue_id
    }

    fn add(&self, queue: &str, description: Value) -> String {
        let (items, _) = self.lab.add_scans(queue, vec![description], false, None).unwrap();
        items[0].scan_id.clone()
    }

    fn status(&self, scan: &str) -> ScanStatus {
        self.lab.scan(scan).unwrap().status
    }

    fn tell(&self, target: &str, action: &str, params: Value) -> String {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let id = format!("c-{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let command = Command {
            id: id.clone(),
            target: target.into(),
            action: action.into(),
            params: params.as_object().cloned().unwrap_or_default(),
            by: Some("eva".into()),
            reason: None,
        };
        let submitted = self.context.commands.submit(command);
        assert!(matches!(submitted, Submitted::Accepted(_)), "{target} {action}: {submitted:?}");
        id
    }

    /// The end of a command.
    fn done(&self, command: &str) -> crate::model::CommandResult {
        self.until(&format!("the end of {command}"), || {
            self.context.commands.lookup(command).filter(|result| result.state != CommandState::Accepted)
        })
    }

    fn until<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = check() {
                return found;
            }
            if begun.elapsed() > PATIENCE {
                let scans: Vec<_> = self.lab.scans(&ScanFilter::default(), None, 100).items;
                panic!(
                    "waited for {what}; asked: {:?}; {scans:#?}; {:#?}",
                    self.fakes.asked(),
                    self.lab.queues()
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn until_scan(&self, scan: &str, state: ScanState) -> ScanStatus {
        self.until(&format!("{scan} to be {state:?}"), || {
            let status = self.status(scan);
            (status.status == state).then_some(status)
        })
    }

    fn until_queue(&self, queue: &str, state: QueueState) -> crate::model::QueueStatus {
        self.until(&format!("{queue} to be {state:?}"), || {
            self.lab.queue(queue).filter(|status| status.status == state)
        })
    }

    fn until_points(&self, scan: &str, points: u64) {
        self.until("points", || (self.status(scan).points_done >= Some(points)).then_some(()));
    }

    fn until_aborted(&self, queue: &str, scans: usize) {
        self.until("scans to be aborted", || {
            let (items, _) = self.lab.scans_of(queue, 1_000)?;
            (items.iter().filter(|scan| scan.status == ScanState::Aborted).count() == scans).then_some(())
        });
    }

    /// Waits until so many requests have begun like this.
    fn until_asked(&self, begins: &str, times: usize) {
        self.until(begins, || (self.fakes.asked_of(begins).len() >= times).then_some(()));
    }

    fn start(&self, queue: &str) {
        self.tell(&format!("queue/{queue}"), "start", json!({}));
    }

    fn rows(&self, scan: &str) -> u64 {
        self.lab.book().counts(scan).get("main").copied().unwrap_or(0)
    }

    /// Payloads of a type that were published, in order.
    fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.context.bus.after(0, 100_000).unwrap();
        let ours = events.iter().filter(|event| &*event.kind == kind);
        ours.map(|event| serde_json::from_str(event.payload()).unwrap()).collect()
    }

    fn log_of(&self, scan: &str) -> Vec<(String, String)> {
        let of = |line: &Value| {
            (
                line["code"].as_str().unwrap_or("").to_string(),
                line["message"].as_str().unwrap_or("").to_string(),
            )
        };
        self.events("queue_log").iter().filter(|line| line["scan_id"] == scan).map(of).collect()
    }

    fn alerts(&self) -> Vec<Value> {
        let alerts = self.context.bus.snapshot(&TopicFilter::parse("alerts").unwrap()).state;
        alerts.iter().map(|event| serde_json::from_str(event.payload()).unwrap()).collect()
    }

    fn end(self) -> tempfile::TempDir {
        let begun = Instant::now();
        self.context.stop.stop();
        for id in ["psu", "dmm", "stage", "relay1"] {
            self.context.instruments.withdraw(id);
        }
        self.threads.into_iter().for_each(threads::join);
        assert!(begun.elapsed() < Duration::from_secs(2), "stopped in {:?}", begun.elapsed());
        self.context.bus.stop();
        threads::join(self.writer);
        self.dir
    }

    /// Ends it in the middle of whatever it does, and starts anew on the same data.
    fn restart(self) -> World {
        world_in(self.end(), config::Lab::default())
    }
}

#[test]
fn a_scan_runs_from_the_first_point_to_the_last() {
    let world = world();
    let queue = world.queue();
    let description = json!({
        "name": "map",
        "axes": [
            {"set": "stage.x", "start": 0, "stop": 10, "points": 2},
            {"set": "psu.voltage", "values": [1, 2]},
        ],
        "measure": ["dmm.voltage", "psu.voltage"],
        "before": [{"gpio": "relay1", "value": 1}],
        "always": [{"gpio": "relay1", "value": 0}],
    });
    let scan = world.add(&queue, description);
    assert_eq!(world.status(&scan).status, ScanState::Queued);
    assert_eq!(world.status(&scan).points_total, Some(4));
    let command = world.tell(&format!("queue/{queue}"), "start", json!({}));
    assert_eq!(world.done(&command).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!(status.progress, Some(1.0));
    assert_eq!(status.exit_reason.as_deref(), Some("finished"));
    assert_eq!(status.num_points.get("main"), Some(&4));
    assert_eq!(status.points_done, Some(4));
    let done = world.until_queue(&queue, QueueState::Completed);
    assert_eq!((done.completed_scans, done.total_scans, done.progress), (1, 1, Some(1.0)));
    let sets: Vec<String> = world.fakes.asked().into_iter().filter(|line| line.contains(" set ")).collect();
    assert_eq!(
        sets,
        [
            "relay1 set level on",
            "stage set x 0",
            "psu set voltage 1",
            "psu set voltage 2",
            "stage set x 10",
            "psu set voltage 1",
            "psu set voltage 2",
            "relay1 set level off",
        ],
        "outer first, and only what changed"
    );
    let detail = world.lab.scan(&scan).unwrap();
    let names: Vec<&str> = detail.columns["main"].iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["stage.x", "psu.voltage", "dmm.voltage", "psu.voltage.readback"]);
    world.context.stop.is_stopped();
    let rows: Vec<Value> = world.events("data_point");
    let batches = world.events("data_batch");
    let told = rows.len() + batches.iter().map(|b| b["t_rel"].as_array().unwrap().len()).sum::<usize>();
    assert_eq!(told, 4, "{rows:?} {batches:?}");
    let all = format!("{rows:?}{batches:?}");
    assert!(all.contains("psu.voltage.readback"), "{all}");
    // The revision only grows, and the last status is the end.
    let revisions: Vec<u64> =
        world.events("scan_status").iter().map(|s| s["revision"].as_u64().unwrap()).collect();
    assert!(revisions.windows(2).all(|pair| pair[0] < pair[1]), "{revisions:?}");
    assert!(world.context.instruments.used_by("psu").is_none());
    world.end();
}

#[test]
fn it_pauses_between_points_and_applies_everything_again() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "axes": [{"set": "stage.x", "values": [5, 6]}, {"set": "psu.voltage", "start": 0, "stop": 5, "points": 200, "settle_s": 0.003}],
            "measure": ["dmm.voltage"], "samples": 2,
            "on_pause": [{"log": "laser off"}], "on_resume": [{"log": "laser on"}],
        }),
    );
    world.start(&queue);
    world.until_points(&scan, 5);
    let pause = world.tell(&format!("scan/{scan}"), "pause", json!({}));
    assert_eq!(world.done(&pause).status.as_deref(), Some("paused"));
    // It was told before the command was.
    let paused = world.events("scan_status").iter().position(|s| s["status"] == "paused");
    assert!(paused.is_some());
    let at = world.status(&scan);
    assert_eq!((at.status, at.eta_s), (ScanState::Paused, None));
    assert_eq!(world.rows(&scan), at.points_done.unwrap());
    assert_eq!(world.lab.queue(&queue).unwrap().pause_reason.as_deref(), Some("scan_paused"));
    let asked = world.fakes.asked().len();
    let again = world.lab.judge("scan", &scan, "pause", &Map::new());
    assert!(matches!(again, Some(Judged::Already)), "{again:?}");
    assert_eq!(world.fakes.asked().len(), asked, "nothing moves while it is paused");
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert_eq!(world.done(&resume).status.as_deref(), Some("running"));
    let after: Vec<String> = world.fakes.asked().split_off(asked);
    assert_eq!(after[0], "stage set x 5", "{after:?}");
    assert!(after[1].starts_with("psu set voltage"), "{after:?}");
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.rows(&scan), 400);
    let log = world.log_of(&scan);
    let at = |text: &str| log.iter().position(|(_, message)| message.contains(text)).unwrap();
    assert!(at("laser off") < at("Paused after") && at("Paused after") < at("laser on"), "{log:?}");
    world.end();
}

#[test]
fn a_schedule_is_shifted_by_a_pause_without_a_burst() {
    let world = world();
    let queue = world.queue();
    let scan =
        world.add(&queue, json!({"measure": ["dmm.voltage"], "axes": [], "count": 12, "interval_s": 0.05}));
    world.start(&queue);
    world.until_points(&scan, 3);
    let pause = world.tell(&format!("queue/{queue}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    let before = world.rows(&scan);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(world.rows(&scan), before);
    world.tell(&format!("queue/{queue}"), "resume", json!({}));
    let status = world.until_scan(&scan, ScanState::Completed);
    let (elapsed, active) = (status.elapsed_s.unwrap(), status.active_s.unwrap());
    let paused = elapsed - active;
    assert!(paused > 0.35, "{elapsed} {active}");
    assert!(active > 0.5, "{active}");
    assert_eq!(world.rows(&scan), 12);
    // Had the schedule not been shifted, the points that were due during the pause would be late by what was left of it.
    let late = status.more.late_ms.unwrap_or(0) as f64 / 1e3;
    assert!(late < paused - 0.05, "late by {late} s, paused for {paused} s");
    world.end();
}

#[test]
fn an_abort_ends_what_blocks_and_cleans_up() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("dmm read", Reply::Number(1.0), 37);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_points(&scan, 37);
    world.until_asked("dmm read", 38);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    let result = world.done(&abort);
    assert_eq!((result.state, result.status.as_deref()), (CommandState::Completed, Some("aborted")));
    let status = world.status(&scan);
    assert_eq!((status.progress, status.points_done), (Some(0.37), Some(37)));
    assert_eq!(status.exit_reason.as_deref(), Some("user_abort"));
    assert_eq!(world.fakes.asked_of("psu set").last().unwrap(), "psu set voltage 5");
    world.until("the read to be given up", || {
        world.fakes.asked().contains(&"given up: dmm read voltage".to_string()).then_some(())
    });
    assert_eq!(world.rows(&scan), 37);
    let queue = world.until_queue(&queue, QueueState::Paused);
    assert_eq!(queue.pause_reason.as_deref(), Some("scan_aborted"));
    assert_eq!(world.alerts().len(), 0, "a person did that");
    world.end();
}

/// An aborted scan had sent a motor to 200 mm, and it went on to there by itself.
#[test]
fn what_is_under_way_is_stopped_by_an_abort() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("psu set voltage 0.03", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("psu set voltage 0.03", 1);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    assert_eq!(world.done(&abort).state, CommandState::Completed);
    let asked = world.fakes.asked();
    let place =
        |line: &str| asked.iter().rposition(|asked| asked == line).unwrap_or_else(|| panic!("{asked:?}"));
    assert!(place("psu stop") < place("psu set voltage 5"), "stopped, and then the clean-up: {asked:?}");
    world.end();
}

#[test]
fn an_abort_that_is_not_confirmed_is_an_alert_and_force_ends_it() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(100));
    world.fakes.rule("dmm read", Reply::Number(1.0), 3);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_points(&scan, 3);
    world.fakes.rule("psu set voltage 5", Reply::Hang, 9);
    let abort = world.tell(&format!("scan/{scan}"), "abort", json!({}));
    let result = world.done(&abort);
    assert_eq!(result.state, CommandState::TimedOut);
    let reason = result.reason.unwrap();
    assert!(reason.contains("not confirmed") && reason.contains("psu.voltage = 5"), "{reason}");
    let status = world.status(&scan);
    assert_eq!(status.status, ScanState::Running, "never aborted on hope");
    assert_eq!(status.pending.as_deref(), Some("abort"));
    assert_eq!(status.phase.as_deref(), Some("cleanup"));
    let alerts = world.alerts();
    let alert = alerts.iter().find(|a| a["alert_id"] == format!("scan.{scan}.abort")).unwrap();
    assert_eq!((alert["severity"].as_str(), alert["state"].as_str()), (Some("MAJOR"), Some("active")));
    assert!(matches!(world.lab.judge("scan", &scan, "abort", &Map::new()), Some(Judged::Already)));
    let force = world.tell(&format!("scan/{scan}"), "abort", json!({"force": true}));
    assert_eq!(world.done(&force).status.as_deref(), Some("aborted"));
    let log = world.log_of(&scan);
    assert!(log.iter().any(|(code, _)| code == "cleanup_skipped"), "{log:?}");
    let alerts = world.alerts();
    assert!(alerts.iter().all(|a| a["state"] != "active"), "{alerts:?}");
    world.end();
}

#[test]
fn a_cleanup_that_fails_is_an_alert_and_does_not_hide_the_first_error() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(20);
    description["on_error"] = json!("abort");
    description["always"] = json!([{"set": "psu.voltage", "value": 5}, {"gpio": "relay1", "value": 0}]);
    world.fakes.rule("psu set voltage 5", Reply::Fail("psu: the device says -221"), 9);
    let scan = world.add(&queue, description);
    world.fakes.rule("dmm read", Reply::Number(1.0), 2);
    world.fakes.rule("dmm read", Reply::Fail("no answer to `READ?` within 2 s"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.error.as_deref(), Some("dmm: no answer to `READ?` within 2 s"));
    assert_eq!((status.exit_reason.as_deref(), status.progress), (Some("error"), Some(0.1)));
    assert_eq!(world.fakes.asked().last().unwrap(), "relay1 set level off", "every step of it was tried");
    let log = world.log_of(&scan);
    assert!(log.iter().any(|(code, text)| code == "cleanup_failed" && text.contains("-221")), "{log:?}");
    let said =
        world.events("alert").iter().any(|a| a["message"].as_str().unwrap().contains("clean-up failed"));
    assert!(said);
    let queue = world.until_queue(&queue, QueueState::Paused);
    assert_eq!((queue.failed_scans, queue.pause_reason.as_deref()), (1, Some("scan_failed")));
    world.end();
}

#[test]
fn an_error_pauses_and_the_point_is_taken_again() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(6);
    description["on_error"] = json!({"retry": 2, "then": "pause"});
    let scan = world.add(&queue, description);
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: no answer to `VOLT 0.02` within 2 s"), 3);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Paused);
    assert_eq!(status.error.as_deref(), Some("psu: no answer to `VOLT 0.02` within 2 s (2 retries)"));
    assert_eq!(status.points_done, Some(2));
    let alerts = world.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    assert_eq!(alerts[0]["alert_id"], format!("scan.{scan}"));
    let retries = world.log_of(&scan).iter().filter(|(code, _)| code == "retry").count();
    assert_eq!(retries, 2);
    // Still broken: it stays paused, and the command says why.
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: still no answer"), 3);
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert!(world.done(&resume).state != CommandState::Accepted);
    world.until("it to be paused again", || {
        (world.status(&scan).error.as_deref() == Some("psu: still no answer (2 retries)")
            || world.status(&scan).error.as_deref() == Some("psu: still no answer"))
        .then_some(())
    });
    world.until("the rules to be used up", || {
        let status = world.status(&scan);
        if status.status == ScanState::Paused && status.pending.is_none() {
            world.tell(&format!("scan/{scan}"), "resume", json!({}));
        }
        (status.status == ScanState::Completed).then_some(())
    });
    let status = world.status(&scan);
    assert_eq!((status.points_done, status.error), (Some(6), None));
    assert_eq!(world.rows(&scan), 6);
    assert!(world.alerts().iter().all(|a| a["state"] != "active"));
    world.end();
}

#[test]
fn a_point_that_fails_is_left_out_and_what_it_left_behind_is_set_before_the_next() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "axes": [{"set": "stage.x", "values": [1, 2]}, {"set": "psu.voltage", "values": [1, 2, 3]}],
            "measure": ["dmm.voltage"], "on_error": "skip_point",
        }),
    );
    // The outer axis does not move at first: the point is lost, and the next one needs it all the same.
    world.fakes.rule("stage set x 2", Reply::Fail("stage: it is stuck"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped, status.progress), (Some(5), Some(1), Some(1.0)));
    assert_eq!(world.rows(&scan), 5);
    let sets: Vec<String> =
        world.fakes.asked().into_iter().filter(|l| l.contains("set") || l.contains("dmm")).collect();
    let tail: Vec<&str> = sets.iter().map(String::as_str).skip(7).collect();
    assert_eq!(
        tail,
        [
            "stage set x 2",
            "psu set voltage 2",
            "stage set x 2",
            "dmm read voltage",
            "psu set voltage 3",
            "dmm read voltage"
        ]
    );
    world.end();
}

#[test]
fn somebody_leaves_a_point_out() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(10));
    world.fakes.rule("dmm read", Reply::Number(1.0), 4);
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("dmm read", 5);
    let skip = world.tell(&format!("scan/{scan}"), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(9), Some(1)));
    world.end();
}

#[test]
fn what_is_no_number_is_null_with_a_reason() {
    let world = world();
    let queue = world.queue();
    world.fakes.rule("dmm read", Reply::Missing(crate::model::QualityReason::Nan), 1);
    world.fakes.rule("dmm read", Reply::Number(9.91e37), 1);
    world.fakes.rule("dmm read", Reply::Number(f64::NAN), 1);
    let scan =
        world.add(&queue, json!({"axes": [], "count": 3, "interval_s": 0.15, "measure": ["dmm.voltage"]}));
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    let rows = world.events("data_point");
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row["data"]["dmm.voltage"].is_null(), "{row}");
        assert_eq!(row["quality"]["dmm.voltage"], "bad/nan");
    }
    world.end();
}

#[test]
fn the_mean_of_samples_is_of_numbers_only() {
    let world = world();
    let queue = world.queue();
    for reply in [Reply::Number(1.0), Reply::Missing(crate::model::QualityReason::Nan), Reply::Number(3.0)] {
        world.fakes.rule("dmm read", reply, 1);
    }
    let scan = world.add(
        &queue,
        json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["dmm.voltage"], "samples": 3, "average": true}),
    );
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.events("data_point")[0]["data"]["dmm.voltage"], 2.0);
    world.end();
}

#[test]
fn a_limit_ends_it_and_the_row_that_says_so_is_kept() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(100);
    description["abort_if"] = json!([{"channel": "psu.current", "above": 0.1}]);
    description["on_error"] = json!("skip_point");
    world.fakes.rule("psu read", Reply::Number(0.05), 4);
    world.fakes.rule("psu read", Reply::Number(0.2), 1);
    let scan = world.add(&queue, description);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.exit_reason.as_deref(), Some("limit"));
    assert_eq!(status.error.as_deref(), Some("psu.current is 0.2, above 0.1"));
    assert_eq!((world.rows(&scan), status.progress), (5, Some(0.05)));
    assert_eq!(world.fakes.asked_of("psu set").last().unwrap(), "psu set voltage 5");
    world.end();
}

#[test]
fn three_scans_in_a_row_and_the_second_is_aborted() {
    let world = world();
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![iv(3), forever(), iv(3)], false, Some("eva")).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.start(&queue);
    world.until_scan(&ids[0], ScanState::Completed);
    world.until_points(&ids[1], 2);
    assert!(world.status(&ids[1]).points_done < Some(1000));
    // Started alone is not possible while the queue is at work.
    let judged = world.lab.judge("scan", &ids[2], "start", &Map::new());
    assert!(matches!(judged, Some(Judged::Impossible(_))), "{judged:?}");
    assert!(!world.status(&ids[2]).allowed_actions.contains(&"start".to_string()));
    let abort = world.tell(&format!("queue/{queue}"), "abort", json!({}));
    assert_eq!(world.done(&abort).status.as_deref(), Some("paused"));
    assert_eq!(world.status(&ids[1]).status, ScanState::Aborted);
    assert_eq!(world.status(&ids[2]).status, ScanState::Queued);
    let status = world.lab.queue(&queue).unwrap();
    assert_eq!((status.completed_scans, status.aborted_scans, status.order.len()), (1, 1, 1));
    let resume = world.tell(&format!("queue/{queue}"), "resume", json!({}));
    assert_eq!(world.done(&resume).state, CommandState::Completed);
    world.until_scan(&ids[2], ScanState::Completed);
    world.until_queue(&queue, QueueState::Completed);
    // Nothing goes back into the queue by itself.
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 3);
    world.end();
}

#[test]
fn an_abort_that_says_so_goes_on_with_the_next() {
    let world = world();
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![forever(), iv(2)], false, None).unwrap();
    world.start(&queue);
    world.until_points(&items[0].scan_id, 1);
    world.tell(&format!("scan/{}", items[0].scan_id), "abort", json!({"then": "continue"}));
    world.until_scan(&items[1].scan_id, ScanState::Completed);
    assert_eq!(world.status(&items[0].scan_id).status, ScanState::Aborted);
    assert_eq!(world.until_queue(&queue, QueueState::Completed).aborted_scans, 1);
    world.end();
}

#[test]
fn stopping_keeps_what_there_is_as_a_success() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, forever());
    world.start(&queue);
    world.until_points(&scan, 2);
    let stop = world.tell(&format!("scan/{scan}"), "stop", json!({}));
    assert_eq!(world.done(&stop).status.as_deref(), Some("completed"));
    let status = world.status(&scan);
    assert_eq!(status.exit_reason.as_deref(), Some("stopped_early"));
    assert!(status.progress < Some(1.0), "{:?}", status.progress);
    world.end();
}

#[test]
fn after_a_restart_nothing_moves_by_itself() {
    let world = world();
    let queue = world.queue();
    let ids: Vec<String> = {
        let (items, _) = world.lab.add_scans(&queue, vec![iv(100), iv(3)], false, None).unwrap();
        items.iter().map(|scan| scan.scan_id.clone()).collect()
    };
    world.fakes.rule("dmm read", Reply::Number(1.0), 37);
    world.fakes.rule("dmm read", Reply::Hang, 2);
    world.start(&queue);
    world.until_asked("dmm read", 38);
    let skip = world.tell(&format!("scan/{}", ids[0]), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    world.until_asked("dmm read", 39);
    world.lab.keep_template(None, "Monday", vec![iv(3)]).unwrap();
    let sets = world.fakes.asked_of("psu set").len();
    let fakes = Arc::clone(&world.fakes);
    let told = world.context.bus.state_of(&format!("scan_status/{}", ids[0])).unwrap();
    let told: ScanStatus = serde_json::from_str(told.payload()).unwrap();
    let world = world.restart();
    assert_eq!(fakes.asked_of("psu set").len(), sets, "the end of telltale cleans nothing up");
    let status = world.status(&ids[0]);
    assert_eq!((status.status, status.exit_reason.as_deref()), (ScanState::Failed, Some("interrupted")));
    assert_eq!((status.points_done, status.progress), (Some(37), Some(0.38)));
    assert_eq!((status.num_points.get("main"), world.rows(&ids[0])), (Some(&37), 37));
    assert!(status.revision > told.revision, "{} after {}", status.revision, told.revision);
    assert!(
        status.active_s >= told.active_s && told.active_s > Some(0.0),
        "{:?} {:?}",
        status.active_s,
        told.active_s
    );
    assert_eq!(status.more.skipped, Some(1));
    let now = world.lab.queue(&queue).unwrap();
    assert_eq!((now.status, now.pause_reason.as_deref()), (QueueState::Paused, Some("restart")));
    assert_eq!((now.order, now.failed_scans), (vec![ids[1].clone()], 1));
    // Only where the configuration says what is safe: the supply, not the meter.
    world
        .until("psu to be made safe", || world.fakes.asked().contains(&"psu safe".to_string()).then_some(()));
    assert_eq!(world.fakes.asked(), ["psu safe"]);
    assert_eq!(world.lab.templates().len(), 1);
    world.tell(&format!("queue/{queue}"), "resume", json!({}));
    world.until_scan(&ids[1], ScanState::Completed);
    // An id is never used again.
    let again = world.lab.requeue(&ids[0], false, None).unwrap();
    assert_eq!(again.more.retry_of.as_deref(), Some(ids[0].as_str()));
    assert!(!ids.contains(&again.scan_id));
    world.end();
}

#[test]
fn two_who_reorder_at_once_do_not_undo_each_other() {
    let world = world();
    let queue = world.queue();
    let (items, version) = world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<&str> = items.iter().map(|scan| scan.scan_id.as_str()).collect();
    let first = world.lab.move_scan(&queue, ids[2], &Place::Before(ids[0].into()), version).unwrap();
    assert_eq!(first.order, [ids[2], ids[0], ids[1]]);
    assert_eq!(first.order_version, version + 1);
    match world.lab.move_scan(&queue, ids[1], &Place::Position(0), version) {
        Err(LabError::Conflict(conflict)) => {
            assert_eq!(conflict.code, "order_version");
            assert_eq!(conflict.order, Some((version + 1, first.order.clone())));
        }
        other => panic!("{other:?}"),
    }
    let last = world.lab.move_scan(&queue, ids[2], &Place::After(ids[1].into()), version + 1).unwrap();
    assert_eq!(last.order, ids);
    let same = world.lab.move_scan(&queue, ids[2], &Place::Position(9), version + 2).unwrap();
    assert_eq!(same.order_version, version + 2, "nothing changed");
    world.end();
}

#[test]
fn two_queues_run_at_once_when_their_instruments_do_not_meet() {
    let world = world();
    let (one, other) = (world.queue(), world.queue());
    let scan = world.add(&one, forever());
    let meets = world.add(&other, iv(2));
    let apart = json!({"axes": [{"set": "stage.x", "values": [1, 2]}], "measure": ["psu.current"]});
    world.tell(&format!("queue/{one}"), "start", json!({}));
    world.until_points(&scan, 1);
    world.tell(&format!("queue/{other}"), "start", json!({}));
    let status = world.until("it to be blocked", || {
        Some(world.status(&meets)).filter(|status| status.more.blocked_by.is_some())
    });
    assert_eq!(status.status, ScanState::Queued);
    assert_eq!(status.more.blocked_by.as_deref(), Some(format!("dmm is used by {scan}").as_str()));
    // One that needs others may go first.
    let (items, version) = world.lab.add_scans(&other, vec![apart], true, None).unwrap();
    assert!(version > 0);
    world.until_scan(&items[0].scan_id, ScanState::Completed);
    assert_eq!(world.status(&scan).status, ScanState::Running);
    world.tell(&format!("scan/{scan}"), "stop", json!({}));
    world.until_scan(&meets, ScanState::Completed);
    world.end();
}

#[test]
fn one_alone_prompts_queries_and_waits() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [
                {"query": "psu", "text": "*IDN?"},
                {"prompt": "Put the sample in"},
                {"wait_until": {"channel": "dmm.voltage", "above": 4, "for_s": 0.1, "timeout_s": 5}},
                {"measure": ["dmm.voltage"]},
                {"log": "ramp done"},
            ],
        }),
    );
    let other = world.add(&queue, iv(2));
    world.tell(&format!("scan/{scan}"), "start", json!({}));
    let status = world.until_scan(&scan, ScanState::Paused);
    assert_eq!(status.more.prompt.as_deref(), Some("Put the sample in"));
    assert!(world.log_of(&scan).iter().any(|(_, text)| text.contains("*IDN? -> ANSWER")));
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until("it to wait", || world.status(&scan).more.current_step.filter(|s| s.contains("above 4")));
    world.fakes.values.lock().unwrap().insert("dmm.voltage".into(), 5.0);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!(status.points_done, Some(1));
    assert!(world.log_of(&scan).iter().any(|(code, text)| code == "log" && text == "ramp done"));
    assert_eq!(world.status(&other).status, ScanState::Queued, "the others wait on");
    world.until_queue(&queue, QueueState::Paused);
    world.end();
}

#[test]
fn what_does_not_come_in_time_says_what_it_is() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [{"wait_until": {"channel": "dmm.voltage", "within": 0.5, "of": 80, "timeout_s": 0.3}}, {"measure": ["dmm.voltage"]}],
            "on_error": "abort",
        }),
    );
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert_eq!(status.exit_reason.as_deref(), Some("timeout"));
    assert_eq!(status.error.as_deref(), Some("dmm.voltage was not within 0.5 of 80 within 0.3 s; it is 0"));
    world.end();
}

#[test]
fn axes_return_to_where_they_were() {
    let world = world();
    let queue = world.queue();
    world.fakes.values.lock().unwrap().insert("stage.x".into(), 42.0);
    let scan = world.add(
        &queue,
        json!({"axes": [{"set": "stage.x", "values": [1, 2]}], "measure": ["dmm.voltage"], "after": "return"}),
    );
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.fakes.asked_of("stage set").last().unwrap(), "stage set x 42");
    world.end();
}

#[test]
fn a_channel_that_a_program_posts_is_read_from_the_state() {
    let world = world();
    let queue = world.queue();
    let post = |quality: &str| {
        let now = Wall::now();
        let mut channel =
            json!({"value": 4.2, "unit": "K", "quality": quality, "last_changed": now, "last_updated": now});
        if quality != "good" {
            channel["quality_reason"] = json!("stale");
        }
        let status = json!({"instrument_id": "cryo", "instrument_name": "Cryostat", "status": "idle", "timestamp": now,
            "channels": {"t": channel}});
        world.context.bus.publish(Draft::of("instrument_status", &status).unwrap()).unwrap();
    };
    post("good");
    let description = json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["cryo.t", "dmm.voltage"]});
    let scan = world.add(&queue, description.clone());
    assert!(matches!(
        world.lab.add_scans(
            &queue,
            vec![json!({"axes": [{"set": "cryo.t", "values": [1]}], "measure": ["cryo.t"]})],
            false,
            None
        ),
        Err(LabError::Faults(_))
    ));
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(world.events("data_point")[0]["data"]["cryo.t"], 4.2);
    post("uncertain");
    world.until_queue(&queue, QueueState::Completed);
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Completed);
    let row = &world.events("data_point")[1];
    assert!(row["data"]["cryo.t"].is_null());
    assert_eq!(row["quality"]["cryo.t"], "uncertain/stale");
    world.end();
}

#[test]
fn all_or_none_is_added_and_nothing_is_asked_of_what_is_out_of_limits() {
    let world = world();
    let queue = world.queue();
    let bad = json!({"axes": [{"set": "psu.voltage", "start": 0, "stop": 60, "points": 5}], "measure": ["dmm.volts"]});
    match world.lab.add_scans(&queue, vec![iv(3), bad], false, None) {
        Err(LabError::Faults(faults)) => {
            assert!(faults.iter().all(|(n, _)| *n == 1) && faults.len() >= 2, "{faults:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.lab.queue(&queue).unwrap().order.len(), 0);
    assert_eq!(world.fakes.asked(), [""; 0]);
    assert!(matches!(world.lab.add_scans("nope", vec![iv(3)], false, None), Err(LabError::Unknown(_))));
    world.end();
}

#[test]
fn a_loop_starts_over_and_a_queue_may_start_by_itself() {
    let world = world();
    let change = QueueChange { looped: Some(true), autostart: Some(true), ..QueueChange::default() };
    let wish = NewQueue { queue_id: Some("night".into()), change };
    let queue = world.lab.create_queue(wish).unwrap().queue_id;
    let scan = world.add(&queue, iv(2));
    world.until("the third pass", || {
        let page = world.lab.scans(
            &ScanFilter { status: vec![ScanState::Completed], ..ScanFilter::default() },
            None,
            10,
        );
        (page.total >= 3).then_some(())
    });
    world.lab.change_queue(&queue, QueueChange { looped: Some(false), ..QueueChange::default() }).unwrap();
    let status = world.until_queue(&queue, QueueState::Completed);
    assert_eq!((status.completed_scans, status.total_scans), (1, 1), "each pass counts anew");
    let page = world.lab.scans(&ScanFilter::default(), None, 100);
    let copies: Vec<_> = page.items.iter().filter(|s| s.more.caused_by.is_some()).collect();
    assert!(copies.len() >= 2);
    assert_eq!(page.items.last().unwrap().scan_id, scan);
    {
        let inner = world.lab.lock();
        let of = |id: &str| &inner.scans[id].description;
        assert!(
            copies.iter().all(|copy| Arc::ptr_eq(of(&copy.scan_id), of(&scan))),
            "one description for all"
        );
    }
    assert!(matches!(
        world.lab.create_queue(NewQueue { queue_id: Some("night".into()), ..NewQueue::default() }),
        Err(LabError::Conflict(_))
    ));
    world.lab.remove_queue(&queue).unwrap();
    assert!(world.lab.queue(&queue).is_none());
    world.end();
}

#[test]
fn waiting_scans_are_taken_out_and_ended_ones_go_with_their_rows() {
    let world =
        world_in(tempfile::tempdir().unwrap(), config::Lab { keep_scans: 2, ..config::Lab::default() });
    let queue = world.queue();
    let (items, _) = world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.lab.remove_scan(&ids[3], Some("eva")).unwrap();
    assert!(world.lab.scan(&ids[3]).is_none());
    let ended = world.events("scan_status").into_iter().rfind(|s| s["scan_id"] == ids[3].as_str()).unwrap();
    assert_eq!(ended["status"], "aborted");
    world.start(&queue);
    world.until_queue(&queue, QueueState::Completed);
    world.until("the first to be forgotten", || world.lab.scan(&ids[0]).is_none().then_some(()));
    assert!(world.lab.scan(&ids[1]).is_some() && world.lab.scan(&ids[2]).is_some());
    world.lab.remove_scan(&ids[1], None).unwrap();
    world.until("its rows to go", || (world.rows(&ids[1]) == 0).then_some(()));
    let world = world.restart();
    assert!(world.lab.scan(&ids[1]).is_none());
    assert!(world.lab.scan(&ids[2]).is_some());
    assert_eq!(world.rows(&ids[2]), 2);
    world.end();
}

#[test]
fn telltale_ends_within_its_time_although_an_instrument_hangs() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(5));
    world.fakes.rule("dmm read", Reply::Hang, 1);
    world.start(&queue);
    world.until_asked("dmm read", 1);
    let fakes = Arc::clone(&world.fakes);
    let before = fakes.asked_of("psu").len();
    world.end();
    assert_eq!(fakes.asked_of("psu").len(), before, "{scan} is left as it is");
}

/// The scan measured on while its machine said paused, and never ended.
#[test]
fn a_resume_that_fails_leaves_it_paused_although_points_may_be_skipped() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(300);
    description["on_error"] = json!("skip_point");
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_points(&scan, 3);
    let pause = world.tell(&format!("queue/{queue}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    world.fakes.rule("psu set", Reply::Fail("psu: it is off"), 2);
    let resume = world.tell(&format!("queue/{queue}"), "resume", json!({}));
    let result = world.done(&resume);
    assert_eq!((result.state, result.reason.as_deref()), (CommandState::Failed, Some("psu: it is off")));
    let status = world.status(&scan);
    assert_eq!((status.status, status.error.as_deref()), (ScanState::Paused, Some("psu: it is off")));
    let resume = world.tell(&format!("scan/{scan}"), "resume", json!({}));
    assert_eq!(world.done(&resume).state, CommandState::Failed);
    let points = world.rows(&scan);
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    let status = world.until_scan(&scan, ScanState::Completed);
    assert!(points < 300 && status.points_done == Some(300) && status.more.skipped.is_none(), "{status:?}");
    world.end();
}

#[test]
fn a_point_that_failed_is_skipped_while_the_pause_begins() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(5);
    description["on_pause"] = json!([{"settle": 0.3}, {"log": "laser off"}]);
    let scan = world.add(&queue, description);
    world.fakes.rule("psu set voltage 0.02", Reply::Fail("psu: no answer"), 1);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Paused);
    assert!(!world.log_of(&scan).iter().any(|(_, text)| text == "laser off"));
    let skip = world.tell(&format!("scan/{scan}"), "skip_point", json!({}));
    assert_eq!(world.done(&skip).state, CommandState::Completed);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(4), Some(1)));
    assert!(
        world.log_of(&scan).iter().any(|(_, text)| text == "laser off"),
        "what belongs to a pause is done"
    );
    world.until_queue(&queue, QueueState::Completed);
    world.end();
}

#[test]
fn a_scan_that_nothing_runs_any_more_has_ended_whatever_its_machine_says() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(300));
    world.start(&queue);
    world.until_points(&scan, 1);
    let pause = world.tell(&format!("scan/{scan}"), "pause", json!({}));
    assert_eq!(world.done(&pause).state, CommandState::Completed);
    world.lab.halted(&scan, &Halted::Finished);
    world.lab.cleaned_up(&scan, &Halted::Finished, None);
    let status = world.status(&scan);
    assert_eq!((status.status, status.exit_reason.as_deref()), (ScanState::Failed, Some("error")));
    world.end();
}

#[test]
fn what_follows_the_last_point_is_no_point() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [
                {"measure": ["dmm.voltage"]},
                {"set": "psu.voltage", "value": 1},
                {"loop": {"count": 2, "interval_s": 0.01}, "do": [{"log": "waits"}]},
                {"measure": ["dmm.voltage"]},
                {"set": "psu.voltage", "value": 2},
            ],
            "on_error": "skip_point",
        }),
    );
    // One on the way to the second point, before a pass of a loop is due, and one after the last.
    world.fakes.rule("psu set voltage 1", Reply::Fail("psu: no answer"), 1);
    world.fakes.rule("psu set voltage 2", Reply::Fail("psu: no answer"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped, status.points_total), (Some(1), Some(1), Some(2)));
    let log = world.log_of(&scan);
    assert!(
        log.iter().any(|(code, text)| code == "point_skipped" && text.starts_with("Point 2 ")),
        "{log:?}"
    );
    assert!(log.iter().any(|(code, text)| code == "steps_skipped" && text.contains("no answer")), "{log:?}");
    world.end();
}

#[test]
fn output_pins_are_set_points_too() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({
            "steps": [{"loop": {"set": "stage.x", "values": [1, 2]}, "do": [
                {"gpio": "relay1", "value": 1},
                {"loop": {"set": "psu.voltage", "values": [1, 2]}, "do": [{"measure": ["dmm.voltage"]}]},
                {"gpio": "relay1", "value": 0},
            ]}],
            "on_error": "skip_point",
        }),
    );
    world.fakes.rule("relay1 set level on", Reply::Fail("relay1: it is stuck"), 1);
    world.fakes.rule("dmm read", Reply::Number(1.0), 2);
    world.fakes.rule("dmm read", Reply::Fail("dmm: no answer"), 1);
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Completed);
    assert_eq!((status.points_done, status.more.skipped), (Some(2), Some(2)));
    let asked = world.fakes.asked();
    let first = asked.iter().position(|line| line.starts_with("dmm")).unwrap();
    let before: Vec<&str> =
        asked[..first].iter().map(String::as_str).filter(|l| l.starts_with("relay1")).collect();
    assert_eq!(
        before,
        ["relay1 set level on", "relay1 set level on"],
        "set before the next point: {asked:?}"
    );
    world.end();
}

#[test]
fn a_pin_that_fails_after_a_point_is_set_when_it_goes_on_and_again_after_a_pause() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(
        &queue,
        json!({"steps": [
            {"gpio": "relay1", "value": 1},
            {"measure": ["dmm.voltage"]},
            {"gpio": "relay1", "value": 0},
            {"prompt": "Look"},
            {"measure": ["dmm.voltage"]},
        ]}),
    );
    world.fakes.rule("relay1 set level off", Reply::Fail("relay1: it is stuck"), 1);
    world.start(&queue);
    world.until_scan(&scan, ScanState::Paused);
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until("the prompt", || world.status(&scan).more.prompt);
    let asked = world.fakes.asked().len();
    assert_eq!(world.fakes.asked().last().unwrap(), "relay1 set level off");
    world.tell(&format!("scan/{scan}"), "resume", json!({}));
    world.until_scan(&scan, ScanState::Completed);
    assert_eq!(
        world.fakes.asked()[asked..],
        ["relay1 set level off", "dmm read voltage"],
        "somebody may have turned it"
    );
    world.end();
}

#[test]
fn one_that_can_not_run_any_more_leaves_no_alert_behind() {
    let world = world();
    let queue = world.queue();
    let scan = world.add(&queue, iv(3));
    world.context.instruments.withdraw("dmm");
    world.start(&queue);
    let status = world.until_scan(&scan, ScanState::Failed);
    assert!(status.error.unwrap().contains("it can't run any more"));
    world.until_queue(&queue, QueueState::Paused);
    let raised = world.events("alert").iter().any(|a| a["alert_id"] == format!("scan.{scan}"));
    assert!(raised && world.alerts().iter().all(|a| a["state"] != "active"), "{:?}", world.alerts());
    world.end();
}

/// The instruments may hear of the end before the scan does, and what they do not answer then is no failure of it.
#[test]
fn the_end_of_telltale_is_no_failure() {
    let world = world();
    let queue = world.queue();
    let mut description = iv(500);
    description["on_error"] = json!("abort");
    let scan = world.add(&queue, description);
    world.start(&queue);
    world.until_points(&scan, 2);
    {
        let held = world.lab.lock();
        // Long enough for the thread of the queue to stand before the lock.
        std::thread::sleep(Duration::from_millis(50));
        world.context.stop.stop();
        for id in ["psu", "dmm"] {
            world.context.instruments.withdraw(id);
        }
        drop(held);
    }
    let world = world.restart();
    let status = world.status(&scan);
    assert_eq!(
        (status.status, status.exit_reason.as_deref()),
        (ScanState::Failed, Some("interrupted")),
        "{status:?}"
    );
    world.end();
}

#[test]
fn who_waits_for_an_instrument_and_is_paused_is_not_blocked() {
    let world = world();
    let (one, other) = (world.queue(), world.queue());
    let (first, second) = (world.add(&one, forever()), world.add(&other, forever()));
    world.tell(&format!("queue/{one}"), "start", json!({}));
    world.until_points(&first, 1);
    world.tell(&format!("queue/{other}"), "start", json!({}));
    world.until("it to be blocked", || world.status(&second).more.blocked_by);
    world.tell(&format!("queue/{other}"), "pause", json!({}));
    world.until("it not to be", || world.status(&second).more.blocked_by.is_none().then_some(()));
    world.end();
}

#[test]
fn what_is_not_waited_for_is_stopped_by_an_abort_and_not_by_a_stop() {
    for (action, stops) in [("abort", 1), ("stop", 0)] {
        let world = world();
        let queue = world.queue();
        let scan = world.add(
            &queue,
            json!({"steps": [
                {"set": "psu.voltage", "value": 3, "wait_readback": false},
                {"loop": {"count": 1000, "interval_s": 0.02}, "do": [{"measure": ["dmm.voltage"]}]},
            ]}),
        );
        world.start(&queue);
        world.until_points(&scan, 1);
        let end = world.tell(&format!("scan/{scan}"), action, json!({}));
        assert_eq!(world.done(&end).state, CommandState::Completed);
        assert_eq!(world.fakes.asked_of("psu stop").len(), stops, "{action}");
        world.end();
    }
}

#[test]
fn a_loop_repeats_what_has_completed_and_nothing_else() {
    let world = world();
    let change = QueueChange {
        looped: Some(true),
        on_failure: Some(OnFailure::Continue),
        name: Some("keeps going".into()),
        ..QueueChange::default()
    };
    let queue = world.lab.create_queue(NewQueue { queue_id: None, change }).unwrap().queue_id;
    let failing =
        json!({"axes": [], "count": 1, "interval_s": 1, "measure": ["stage.x"], "on_error": "abort"});
    world.fakes.rule("stage read", Reply::Fail("stage: it is stuck"), 1);
    let (items, _) = world.lab.add_scans(&queue, vec![forever(), failing, iv(2)], false, None).unwrap();
    world.start(&queue);
    world.until_points(&items[0].scan_id, 1);
    world.tell(&format!("scan/{}", items[0].scan_id), "abort", json!({"then": "continue"}));
    let copies = || -> Vec<ScanStatus> {
        let scans = world.lab.scans(&ScanFilter::default(), None, 100).items;
        let of = |scan: &ScanStatus| scan.more.caused_by.as_ref().is_some_and(|id| id.starts_with("SCAN"));
        scans.into_iter().filter(of).collect()
    };
    world.until("two passes more", || (copies().len() >= 2).then_some(()));
    world.lab.change_queue(&queue, QueueChange { looped: Some(false), ..QueueChange::default() }).unwrap();
    world.until_queue(&queue, QueueState::Completed);
    let copies = copies();
    assert!(copies.iter().all(|copy| copy.name.as_deref() == Some("IV")), "{copies:#?}");
    world.end();
}

#[test]
fn one_started_alone_does_not_start_the_pass_over() {
    let world = world();
    let change = QueueChange { looped: Some(true), ..QueueChange::default() };
    let queue = world.lab.create_queue(NewQueue { queue_id: None, change }).unwrap().queue_id;
    let scan = world.add(&queue, iv(2));
    world.tell(&format!("scan/{scan}"), "start", json!({}));
    world.until_queue(&queue, QueueState::Completed);
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 1);
    assert_eq!(world.lab.queue(&queue).unwrap().looped, Some(true));
    world.end();
}

#[test]
fn descriptions_are_bounded_together() {
    let world = world();
    let values = vec![1.25; 10_000];
    let big = || json!({"axes": [{"set": "psu.voltage", "values": values}], "measure": ["dmm.voltage"]});
    let queue = world.queue();
    let fits = limits::DESCRIPTIONS_BYTES / big().to_string().len();
    world.lab.add_scans(&queue, (0..fits).map(|_| big()).collect(), false, None).unwrap();
    let other = world.queue();
    let refused = world.lab.add_scans(&other, vec![big()], false, None);
    assert!(matches!(refused, Err(LabError::Full(_))), "{refused:?}");
    let (items, _) = world.lab.scans_of(&queue, 100).unwrap();
    assert_eq!(items.len(), fits);
    // Of those that ended the list has the last only; and more than so many bytes of them are not kept either.
    for scan in &items[..3] {
        world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
    }
    world.until_aborted(&queue, 3);
    assert_eq!(world.lab.scans_of(&queue, 2).unwrap().0.len(), fits - 3 + 2);
    let (more, _) = world.lab.add_scans(&other, vec![big(), big()], false, None).unwrap();
    for scan in &items[3..] {
        let abort = world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
        world.done(&abort);
    }
    assert!(world.lab.scan(&items[0].scan_id).is_some());
    for scan in &more {
        world.tell(&format!("scan/{}", scan.scan_id), "abort", json!({}));
    }
    world.until_aborted(&other, 2);
    assert!(world.lab.scan(&items[0].scan_id).is_none(), "the one that ended first goes");
    assert!(world.lab.scan(&more[1].scan_id).is_some());
    world.end();
}

/// Scans that never ran took the place of ended ones with rows when their queue was removed.
#[test]
fn a_queue_is_cleared_of_what_waits_and_nothing_else() {
    let world =
        world_in(tempfile::tempdir().unwrap(), config::Lab { keep_scans: 2, ..config::Lab::default() });
    let queue = world.queue();
    let done = world.add(&queue, iv(2));
    world.start(&queue);
    world.until_queue(&queue, QueueState::Completed);
    let (items, seen) =
        world.lab.add_scans(&queue, vec![forever(), iv(2), iv(2), iv(2)], false, None).unwrap();
    let ids: Vec<String> = items.iter().map(|scan| scan.scan_id.clone()).collect();
    world.start(&queue);
    world.until_points(&ids[0], 2);
    // Somebody adds one that the other has not seen.
    let late = world.add(&queue, iv(2));
    let stale = world.lab.clear_queue(&queue, seen, Some("eva")).unwrap_err();
    let LabError::Conflict(conflict) = stale else { panic!("{stale:?}") };
    let (version, order) = conflict.order.clone().unwrap();
    assert_eq!((conflict.code, order.len()), ("order_version", 5));
    let cleared = world.lab.clear_queue(&queue, version, Some("eva")).unwrap();
    assert_eq!((cleared.status, cleared.current_scan.as_ref()), (QueueState::Running, Some(&ids[0])));
    assert_eq!(cleared.order, [ids[0].clone()]);
    assert_eq!((cleared.total_scans, cleared.aborted_scans), (1, 0), "what was removed does not count");
    assert!(cleared.order_version > version && !cleared.allowed_actions.contains(&"clear".to_string()));
    assert!(ids[1..].iter().chain([&late]).all(|id| world.lab.scan(id).is_none()));
    assert_eq!(world.lab.scan(&done).unwrap().status.status, ScanState::Completed);
    assert_eq!(world.rows(&done), 2);
    let told = world.events("queue_log").into_iter().find(|line| line["code"] == "queue_cleared").unwrap();
    assert_eq!(
        told["message"],
        format!("{queue} was cleared by eva: 4 scans were removed, {} to {late}.", ids[1])
    );
    // Once more is no change.
    let again = world.lab.clear_queue(&queue, cleared.order_version, None).unwrap();
    assert_eq!(again.order_version, cleared.order_version);
    world.tell(&format!("scan/{}", ids[0]), "stop", json!({}));
    world.until_queue(&queue, QueueState::Completed);
    // The same when the queue goes.
    world.lab.add_scans(&queue, vec![iv(2), iv(2), iv(2)], false, None).unwrap();
    world.lab.remove_queue(&queue).unwrap();
    assert!(world.lab.scan(&done).is_some() && world.lab.scan(&ids[0]).is_some());
    let world = world.restart();
    assert_eq!(world.lab.scans(&ScanFilter::default(), None, 10).total, 2);
    world.end();
}
