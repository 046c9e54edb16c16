//! The desk and the thread of a queue over a real bus and store, with instruments that are threads of the test.

mod ends;
mod errors;
mod points;
mod queues;
mod restarts;

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
