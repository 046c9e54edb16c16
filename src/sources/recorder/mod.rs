//! Recorders: what pins, ports and programs say of one is folded into its `recorder_status`, and what people ask of it is
//! told to it by a pin, a port or a request, and confirmed by what it is seen to do ([`machine`]).
//!
//! **Promises.** Statuses of one recorder are published in the order in which they were heard: folding and publishing
//! happen under one lock (the bus does no I/O, and requests are sent elsewhere, see [`sender`]). A recorder that a
//! program speaks for is offline when the program is silent for `stale_after`. A recording that was under way when
//! telltale ended is told from one that went on. **Bounds.** At most [`limits::RECORDERS`] recorders, each with at most
//! [`limits::CHANNELS`] values and [`limits::RECORDER_PENDING`] commands. **Does not** measure audio: levels, floors and
//! thresholds are the recorder's own.

mod machine;
mod members;
mod motion;
mod sender;

pub use self::motion::MotionChange;
pub(super) use self::sender::Sender;

use self::machine::{Action, Effect, Input, Machine, Seen};
use self::members::{HTTP, Members};
use self::motion::Motions;
use self::sender::Request;
use super::fold::{Feed, Taken};
use super::inputs::Until;
use super::outlets::{Order, Outlets};
use super::reading::Reading;
use super::{monotonic, publish};
use crate::bus::{Bus, Command, Commands};
use crate::clock::Wall;
use crate::config::{Effect as How, Recorder};
use crate::limits;
use crate::model::{
    CommandState, Cursor, Draft, DraftError, Level, LogLine, Motion, QualityReason, RecorderState,
    RecorderStatus, TopicFilter,
};
use crossbeam::channel::{Receiver, Sender as To, bounded, select};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often the elapsed time of a recording is told where it is counted here.
const SECOND: Duration = Duration::from_secs(1);

/// See the module above.
pub struct Recorders {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    outlets: Arc<Outlets>,
    inner: Mutex<BTreeMap<String, One>>,
    /// Something has a deadline that may be nearer than the one that is waited for.
    wake: (To<()>, Receiver<()>),
}

/// One recorder.
struct One {
    rules: Recorder,
    /// It is in the configuration, and takes commands.
    configured: bool,
    name: String,
    members: Members,
    machine: Machine,
    motions: Motions,
    /// When it was posted of last, and for when that was true.
    posted: Option<Duration>,
    at: Option<Wall>,
    /// When its elapsed time is told again.
    again: Option<Duration>,
    /// It was restored and nobody has spoken of it: the event it was restored from.
    restored_from: Option<Cursor>,
    requests: Option<To<Request>>,
}

/// Why a post was not taken.
#[derive(Debug)]
pub enum NotTaken {
    /// The payload is no status.
    Wrong(DraftError),
    /// There are too many recorders.
    Full,
}

impl Recorders {
    /// Recorders that publish on `bus`, take commands from `commands` and send orders to `outlets`.
    pub fn new(bus: Arc<Bus>, commands: Arc<Commands>, outlets: Arc<Outlets>) -> Self {
        Recorders { bus, commands, outlets, inner: Mutex::default(), wake: bounded(1) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, One>> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Takes a configuration: its recorders are there from now on, and others are still heard but not commanded. What was
    /// known before a restart is taken over as such. Gives the senders of those that are told over HTTP.
    pub(super) fn configure(self: &Arc<Self>, all: &[Recorder]) -> Vec<Sender> {
        let mut inner = self.lock();
        let mut senders = Vec::new();
        let (now, at) = (monotonic(), Wall::now());
        for one in inner.values_mut() {
            one.configured = false;
            one.rules = Recorder { id: one.rules.id.clone(), ..Recorder::default() };
            one.requests = None;
            one.machine.set_rules(one.rules.clone());
            let effects = one.machine.step(Input::End("the configuration was loaded again"), now, at);
            self.act(one, effects);
        }
        for rules in all.iter().take(limits::RECORDERS) {
            let one = inner.entry(rules.id.clone()).or_insert_with(|| self.restored(&rules.id));
            one.configured = true;
            one.restored_from = None;
            one.rules = rules.clone();
            one.machine.set_rules(rules.clone());
            if let Some(name) = &rules.name {
                one.name.clone_from(name);
            }
            if rules.effects().any(|(_, how)| matches!(how, How::Http { .. })) {
                let (to, requests) = bounded(limits::RECORDER_PENDING);
                one.requests = Some(to);
                senders.push(Sender { id: rules.id.clone(), requests, recorders: Arc::clone(self) });
            }
            self.publish(one);
        }
        // Those that only programs spoke of: they get the time to speak again.
        let filter = TopicFilter::parse("recorder/*").unwrap_or_default();
        for event in self.bus.snapshot(&filter).state.iter().filter(|e| &*e.kind == "recorder_status") {
            let Ok(old) = serde_json::from_str::<RecorderStatus>(event.payload()) else { continue };
            let known = inner.contains_key(&old.recorder_id) || inner.len() >= limits::RECORDERS;
            if old.status == RecorderState::Offline || known {
                continue;
            }
            let mut one = self.restored(&old.recorder_id);
            one.restored_from = Some(event.cursor);
            one.posted = Some(now);
            inner.insert(old.recorder_id, one);
        }
        senders
    }

    /// A recorder of which only what was stored is known.
    fn restored(&self, id: &str) -> One {
        let rules = Recorder { id: id.to_string(), ..Recorder::default() };
        let mut one = One {
            machine: Machine::new(rules.clone()),
            rules,
            configured: false,
            name: id.to_string(),
            members: Members::default(),
            motions: Motions::default(),
            posted: None,
            at: None,
            again: None,
            restored_from: None,
            requests: None,
        };
        let old = self.bus.state_of(&format!("recorder_status/{id}"));
        if let Some(old) = old.and_then(|e| serde_json::from_str::<RecorderStatus>(e.payload()).ok()) {
            one.name = old.name;
            let recorded = old.status.is_recording().then_some((old.recording, old.timestamp));
            one.machine.restore(old.last_stop, recorded);
        }
        one
    }

    /// A pin or a port may speak of it: it appears as not heard yet.
    pub(super) fn expect(&self, id: &str, feed: &Feed) {
        let mut inner = self.lock();
        let Some(one) = self.one(&mut inner, id) else { return };
        one.members.expect(&feed.source);
        if let Some(name) = &feed.name
            && one.rules.name.is_none()
        {
            one.name.clone_from(name);
        }
        self.publish(one);
    }

    /// A pin or a port has spoken of it.
    pub(super) fn update(&self, id: &str, feed: &Feed, readings: &[Reading], at: Wall) -> Taken {
        let mut taken = Taken::default();
        let mut inner = self.lock();
        let Some(one) = self.one(&mut inner, id) else {
            taken.refused.push(format!("is of one recorder too many; at most {}", limits::RECORDERS));
            return taken;
        };
        readings.iter().for_each(|reading| taken.note(one.members.take(&feed.source, reading)));
        if taken.used > 0 {
            one.members.heard(&feed.source);
            one.at = Some(at);
            self.seen(one, false);
        }
        taken
    }

    /// A pin or a port is not heard any more.
    pub(super) fn lost(&self, id: &str, feed: &Feed, why: QualityReason) {
        if let Some(one) = self.lock().get_mut(id) {
            one.members.lost(&feed.source, why);
            one.at = None;
            self.seen(one, false);
        }
    }

    /// Programs post whole statuses of it, which are checked; `publish` takes the drafts while nothing else of the
    /// recorder can come between.
    ///
    /// # Errors
    /// See [`NotTaken`]; nothing was published then.
    pub fn post<R>(
        &self,
        id: &str,
        payloads: Vec<Map<String, Json>>,
        publish: impl FnOnce(Vec<Draft>) -> R,
    ) -> Result<R, NotTaken> {
        for payload in &payloads {
            Draft::checked("recorder_status", None, payload.clone().into()).map_err(NotTaken::Wrong)?;
        }
        let mut inner = self.lock();
        let one = self.one(&mut inner, id).ok_or(NotTaken::Full)?;
        let mut drafts = Vec::new();
        for payload in payloads {
            if let Some(name) = payload.get("name").and_then(Json::as_str)
                && one.rules.name.is_none()
                && (name != id || one.name.is_empty())
            {
                one.name = name.to_string();
            }
            one.at = payload.get("timestamp").and_then(Json::as_str).and_then(Wall::parse);
            one.members.post(payload);
            one.posted = Some(monotonic());
            one.restored_from = None;
            let input = Input::Seen(Box::new(Seen::of(&one.members, true)));
            let effects = one.machine.step(input, monotonic(), Wall::now());
            drafts.push(Draft::of("recorder_status", &self.payload(one)).map_err(NotTaken::Wrong)?);
            self.act(one, effects);
        }
        let _ = self.wake.0.try_send(());
        Ok(publish(drafts))
    }

    /// Somebody saw motion at it, or no longer. None: there is no such recorder.
    pub fn tell_motion(
        &self,
        id: &str,
        active: bool,
        padding: Option<Duration>,
        source: Option<String>,
    ) -> Option<()> {
        let mut inner = self.lock();
        let one = inner.get_mut(id)?;
        if one.motions.tell(active, padding, source, monotonic(), Wall::now()) {
            self.publish(one);
            let _ = self.wake.0.try_send(());
        }
        Some(())
    }

    /// Motion at it now, and its changes, the newest first. None: there is no such recorder.
    pub fn motion(&self, id: &str) -> Option<(Option<Motion>, Vec<MotionChange>)> {
        let inner = self.lock();
        let one = inner.get(id)?;
        Some((one.motions.now().cloned(), one.motions.history().cloned().collect()))
    }

    /// What became of a request.
    fn sent(&self, id: &str, command: &str, outcome: Result<(), String>) {
        if let Some(one) = self.lock().get_mut(id) {
            let input = Input::Sent(command.to_string(), outcome);
            let effects = one.machine.step(input, monotonic(), Wall::now());
            self.act(one, effects);
            self.publish(one);
        }
    }

    /// Takes commands and minds the time until it is over.
    pub(super) fn run(&self, until: &Until) {
        let (to, commands) = bounded(limits::ORDERS);
        let owned: BTreeSet<String> = {
            let inner = self.lock();
            let configured = inner.values().filter(|one| one.configured);
            configured.map(|one| self.own(&one.rules, &to)).collect()
        };
        let never = Duration::from_secs(3600);
        loop {
            let due = self.lock().values().filter_map(One::deadline).min();
            let wait = due.map_or(never, |due| due.saturating_sub(monotonic()));
            select! {
                recv(until.daemon.receiver()) -> _ => break,
                recv(until.set.receiver()) -> _ => break,
                recv(commands) -> command => if let Ok(command) = command {
                    self.command(&command);
                },
                recv(self.wake.1) -> _ => {}
                default(wait) => {}
            }
            self.tick();
        }
        for target in &owned {
            self.commands.disown(target);
        }
        for command in commands.try_iter() {
            self.commands.finish(&command.id, CommandState::Failed, None, Some("telltale is stopping"));
        }
    }

    fn own(&self, rules: &Recorder, to: &To<Command>) -> String {
        let target = format!("recorder/{}", rules.id);
        let mut actions = vec!["reset"];
        for (name, _) in rules.effects() {
            let action = if name.starts_with("auto_") { "auto" } else { name };
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
        self.commands.own_with(&target, &actions, to.clone());
        target
    }

    fn command(&self, command: &Command) {
        let mut inner = self.lock();
        let id = command.target.strip_prefix("recorder/").unwrap_or_default();
        let Some(one) = inner.get_mut(id) else { return };
        let action = match command.action.as_str() {
            "start" => Action::Start,
            "stop" => Action::Stop,
            "split" => Action::Split,
            "auto" => match command.params.get("on").and_then(Json::as_bool) {
                Some(on) => Action::Auto(on),
                None => {
                    let why = "`on` is missing; expected true or false";
                    self.commands.finish(&command.id, CommandState::Rejected, None, Some(why));
                    return;
                }
            },
            _ => {
                one.machine.step(Input::Reset, monotonic(), Wall::now());
                self.publish(one);
                self.commands.finish(&command.id, CommandState::Completed, None, None);
                return;
            }
        };
        self.commands.allow(&command.id, one.rules.confirm_within + SECOND);
        let input = Input::Command(command.id.clone(), action);
        let effects = one.machine.step(input, monotonic(), Wall::now());
        self.act(one, effects);
        self.publish(one);
    }

    fn tick(&self) {
        let (now, wall) = (monotonic(), Wall::now());
        let mut inner = self.lock();
        let mut gone = Vec::new();
        for (id, one) in inner.iter_mut() {
            let mut changed = one.motions.tick(now);
            if one.posted.is_some_and(|at| now.saturating_sub(at) >= one.rules.stale_after) {
                one.posted = None;
                let restored_from = one.restored_from.take();
                let newest = self.bus.state_of(&format!("recorder_status/{id}")).map(|e| e.cursor);
                if restored_from.is_some() && restored_from != newest {
                    // Somebody else speaks for it, on the bus itself.
                    gone.push(id.clone());
                    continue;
                }
                log::info!("recorder {id}: nothing was posted for {:?}", one.rules.stale_after);
                one.members.lost(HTTP, QualityReason::Stale);
                one.at = None;
                if restored_from.is_some() {
                    one.machine.forget_restored("status stale");
                }
                let input = Input::Seen(Box::new(Seen::of(&one.members, false)));
                let effects = one.machine.step(input, now, wall);
                self.act(one, effects);
                changed = true;
            }
            if one.machine.deadline().is_some_and(|due| now >= due) {
                let effects = one.machine.step(Input::Tick, now, wall);
                self.act(one, effects);
                changed = true;
            }
            if changed || one.again.is_some_and(|due| now >= due) {
                self.publish(one);
            }
        }
        for id in gone {
            inner.remove(&id);
        }
    }

    fn one<'i>(&self, inner: &'i mut BTreeMap<String, One>, id: &str) -> Option<&'i mut One> {
        if !inner.contains_key(id) {
            if inner.len() >= limits::RECORDERS {
                return None;
            }
            inner.insert(id.to_string(), self.restored(id));
        }
        inner.get_mut(id)
    }

    /// Takes in what its members say now, and publishes.
    fn seen(&self, one: &mut One, posted: bool) {
        one.restored_from = None;
        let input = Input::Seen(Box::new(Seen::of(&one.members, posted)));
        let effects = one.machine.step(input, monotonic(), Wall::now());
        self.act(one, effects);
        self.publish(one);
    }

    fn act(&self, one: &mut One, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(command, action) => {
                    if let Err(why) = self.send(one, &command, action) {
                        let input = Input::Sent(command, Err(why));
                        let effects = one.machine.step(input, monotonic(), Wall::now());
                        self.act(one, effects);
                    }
                }
                Effect::Finish(command, state, why) => {
                    let status = one.machine.shown(monotonic()).status.word();
                    // The status that confirms it is there for who hears that it is done.
                    self.publish(one);
                    self.commands.finish(&command, state, Some(status), why.as_deref());
                }
                Effect::Say(text) => {
                    let line = LogLine {
                        level: Level::Info,
                        message: format!("{}: {text}", one.name),
                        timestamp: Wall::now(),
                        source: Some(one.rules.id.clone()),
                    };
                    publish(&self.bus, "log", &line);
                }
            }
        }
    }

    /// Tells the recorder.
    fn send(&self, one: &One, command: &str, action: Action) -> Result<(), String> {
        let on = matches!(action, Action::Auto(true));
        match one.rules.effect(action.word(), on) {
            Some(How::Level { pin, active }) => self.outlets.send(pin, Order::Level(*active)),
            Some(How::Pulse { pin, time }) => self.outlets.send(pin, Order::Pulse(*time)),
            Some(How::Serial { port, send }) => {
                self.outlets.send(port, Order::Bytes(send.clone().into_bytes()))
            }
            Some(How::Http { url, method, body }) => {
                let request = Request {
                    command: command.to_string(),
                    url: url.clone(),
                    method: method.clone(),
                    body: body.clone(),
                };
                let to = one.requests.as_ref().ok_or("nothing sends requests now")?;
                to.try_send(request).map_err(|_| "too many requests wait for the recorder".to_string())
            }
            None => Err("it is not configured how".into()),
        }
    }

    fn publish(&self, one: &mut One) {
        let payload = self.payload(one);
        publish(&self.bus, "recorder_status", &payload);
        let _ = self.wake.0.try_send(());
    }

    /// Its `recorder_status` now.
    fn payload(&self, one: &mut One) -> Map<String, Json> {
        let now = monotonic();
        let shown = one.machine.shown(now);
        let mut all = one.members.to_map();
        let offline = shown.status == RecorderState::Offline;
        let mut set = |name: &str, value: Json| {
            if value.is_null() {
                all.remove(name)
            } else {
                all.insert(name.into(), value)
            };
        };
        set("recorder_id", json!(one.rules.id));
        set("name", json!(one.name));
        set("status", json!(shown.status));
        set("timestamp", json!(one.at.unwrap_or_else(Wall::now)));
        set("last_stop", json!(shown.last_stop));
        set("elapsed_s", json!(shown.elapsed_s));
        set("motion", json!(one.motions.now()));
        set("listen_url", json!(one.rules.listen_url));
        set("pending", json!(shown.pending));
        if let Some(after) = one.rules.split_after {
            set("max_s", json!(after.as_secs_f64()));
        }
        if one.configured {
            set("allowed_actions", json!(shown.actions));
        }
        if !shown.status.is_recording() {
            set("recording", Json::Null);
        } else if shown.splits > 0 && one.members.number("split_count").is_none() {
            set("split_count", json!(shown.splits));
        }
        if !offline {
            if shown.clipped {
                set("clipped", json!(true));
            }
            set("peak_hold_db", json!(shown.peak_hold_db));
            if one.members.number("trend_db_per_min").is_none() {
                set("trend_db_per_min", json!(shown.trend_db_per_min));
            }
            if one.members.number("uptime_s").is_none() {
                set("uptime_s", json!(shown.uptime_s));
            }
        }
        one.again = one.machine.counts().then(|| now + SECOND);
        all
    }
}

impl One {
    fn deadline(&self) -> Option<Duration> {
        let stale = self.posted.map(|at| at + self.rules.stale_after);
        [stale, self.machine.deadline(), self.motions.deadline(), self.again].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::{Start, Submitted};
    use crate::threads::{self, Stop};
    use std::time::Instant;

    struct Running {
        bus: Arc<Bus>,
        commands: Arc<Commands>,
        outlets: Arc<Outlets>,
        recorders: Arc<Recorders>,
        until: Until,
        thread: Option<std::thread::JoinHandle<()>>,
    }

    impl Running {
        fn over(bus: Arc<Bus>, all: &[Recorder]) -> Running {
            let commands = Arc::new(Commands::new(Arc::clone(&bus)));
            let outlets = Arc::new(Outlets::default());
            let recorders =
                Arc::new(Recorders::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&outlets)));
            assert!(recorders.configure(all).is_empty());
            let until = Until { daemon: Stop::default(), set: Stop::default() };
            let (inner, its) = (until.clone(), Arc::clone(&recorders));
            let thread = threads::spawn("recorders", 256 * 1024, move || its.run(&inner)).unwrap();
            Running { bus, commands, outlets, recorders, until, thread: Some(thread) }
        }

        fn start(all: &[Recorder]) -> Running {
            Running::over(Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default())), all)
        }

        fn state(&self, id: &str) -> Json {
            let event = self.bus.state_of(&format!("recorder_status/{id}"));
            event.map_or(Json::Null, |e| serde_json::from_str(e.payload()).unwrap())
        }

        fn post(&self, id: &str, payload: Json) -> Result<(), NotTaken> {
            let mut payload: Map<String, Json> = serde_json::from_value(payload).unwrap();
            payload.insert("recorder_id".into(), id.into());
            payload.insert("name".into(), id.into());
            payload.insert("timestamp".into(), json!(Wall(1_000)));
            self.recorders.post(id, vec![payload], |drafts| {
                drafts.into_iter().for_each(|draft| _ = self.bus.publish(draft).unwrap())
            })
        }

        #[track_caller]
        fn until(&self, what: &str, mut check: impl FnMut(&Self) -> bool) {
            let start = Instant::now();
            while !check(self) {
                assert!(start.elapsed() < Duration::from_secs(10), "waited for {what}");
                std::thread::yield_now();
            }
        }

        fn ask(&self, id: &str, action: &str) {
            let command = |action: &str| Command {
                id: id.into(),
                target: "recorder/r".into(),
                action: action.into(),
                params: Map::new(),
                by: None,
                reason: None,
            };
            self.until("commands to be taken", |r| {
                matches!(r.commands.submit(command("no such")), Submitted::NoAction(_))
            });
            assert!(matches!(self.commands.submit(command(action)), Submitted::Accepted(_)));
        }

        fn end(&self, id: &str) -> (CommandState, String) {
            self.until("the end of a command", |r| {
                r.commands.lookup(id).is_some_and(|r| r.state != CommandState::Accepted)
            });
            let end = self.commands.lookup(id).unwrap();
            (end.state, end.reason.unwrap_or_default())
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.until.daemon.stop();
            threads::join(self.thread.take().unwrap());
        }
    }

    fn rules() -> Recorder {
        Recorder {
            id: "r".into(),
            name: Some("Deck".into()),
            start: Some(How::Pulse { pin: "key".into(), time: Duration::from_millis(200) }),
            stop: Some(How::Serial { port: "line".into(), send: "STOP\r".into() }),
            confirm_within: Duration::from_millis(300),
            stale_after: Duration::from_millis(400),
            ..Recorder::default()
        }
    }

    #[test]
    fn a_command_goes_out_and_is_confirmed_or_times_out() {
        let run = Running::start(&[rules()]);
        assert_eq!((&run.state("r")["status"], &run.state("r")["name"]), (&json!("offline"), &json!("Deck")));
        let (to, key) = bounded(4);
        run.outlets.offer("key", to);
        run.post("r", json!({ "status": "idle" })).unwrap();
        assert_eq!(run.state("r")["allowed_actions"], json!(["start"]));
        run.ask("a", "start");
        assert_eq!(key.recv_timeout(Duration::from_secs(5)), Ok(Order::Pulse(Duration::from_millis(200))));
        run.until("it to be pending", |r| r.state("r")["pending"] == "start");
        run.post("r", json!({ "status": "recording", "recording": "x.wav" })).unwrap();
        assert_eq!(run.end("a").0, CommandState::Completed);
        // The port is not there: failed at once, with the reason.
        run.ask("b", "stop");
        let (state, why) = run.end("b");
        assert!(state == CommandState::Failed && why.contains("line is no output and no port"), "{why}");
        run.post("r", json!({ "status": "idle" })).unwrap();
        run.ask("c", "start");
        let (state, why) = run.end("c");
        assert!(state == CommandState::TimedOut && why.contains("the recorder says idle"), "{state:?} {why}");
    }

    #[test]
    fn a_program_that_falls_silent_leaves_it_offline() {
        let run = Running::start(&[rules()]);
        run.post(
            "r",
            json!({ "status": "recording", "recording": "x", "level_db": -30, "triggers": ["level"] }),
        )
        .unwrap();
        let now = run.state("r");
        assert_eq!(
            (&now["level_db"], &now["triggers"], &now["timestamp"]),
            (&json!(-30), &json!(["level"]), &json!(Wall(1_000)))
        );
        run.until("staleness", |r| r.state("r")["status"] == "offline");
        let now = run.state("r");
        assert_eq!(
            (&now["last_stop"]["reason"], now.get("recording"), now.get("level_db")),
            (&json!("status stale"), None, None)
        );
        // One that nobody configured as well, only later.
        run.post("other", json!({ "status": "idle" })).unwrap();
        assert_eq!(run.state("other").get("allowed_actions"), None);
        assert!(matches!(run.post("r", json!({ "status": "singing" })), Err(NotTaken::Wrong(_))));
    }

    #[test]
    fn what_was_restored_goes_offline_unless_somebody_else_speaks_for_it() {
        let bus = Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::default()));
        let tell = |id: &str| {
            let status = RecorderStatus::new(id, id, RecorderState::Recording, Wall(7));
            publish(&bus, "recorder_status", &status);
        };
        tell("r");
        tell("gone");
        tell("bench");
        let run = Running::over(Arc::clone(&bus), &[rules()]);
        assert_eq!((&run.state("r")["status"], run.state("r").get("last_stop")), (&json!("offline"), None));
        assert_eq!(run.state("gone")["status"], "recording", "it has its time to speak again");
        tell("bench");
        run.recorders.lock().get_mut("gone").unwrap().rules.stale_after = Duration::ZERO;
        run.recorders.lock().get_mut("bench").unwrap().rules.stale_after = Duration::ZERO;
        run.recorders.tick();
        assert_eq!(
            (&run.state("gone")["status"], &run.state("gone")["last_stop"]["reason"]),
            (&json!("offline"), &json!("status stale"))
        );
        assert_eq!(run.state("bench")["status"], "recording");
        run.post("r", json!({ "status": "idle" })).unwrap();
        assert_eq!(run.state("r")["last_stop"], json!({ "reason": "interrupted by restart", "at": Wall(7) }));
    }

    #[test]
    fn there_are_not_any_number_of_them() {
        let run = Running::start(&[rules()]);
        let mut full = 0;
        for n in 0..limits::RECORDERS + 5 {
            full += usize::from(matches!(
                run.post(&format!("x{n}"), json!({ "status": "idle" })),
                Err(NotTaken::Full)
            ));
        }
        assert_eq!(full, 6);
    }
}
