//! Stopping: what an alert wants stopped, and everything at once.
//!
//! Both go the way of a person's commands: `stop` to whatever offers it, its safe state to what offers only that, and
//! their ends are `command_result`s. Promises: nothing here blocks; a queue of commands that is full does not keep a stop
//! from its instrument; what can be told neither is said to be so. Does not: judge whether it is right to stop.

use super::instruments::{Answer, Instruments, Offer, Request};
use crate::alerts::Stopping;
use crate::bus::{Bus, Command, Commands, Submitted};
use crate::clock::Wall;
use crate::limits;
use crate::model::{CommandState, Draft, Level, LogLine, TopicFilter, is_target};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What somebody was told, and what came of it so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Who, such as `instrument/stage`.
    pub target: String,
    /// What: `stop`, `safe`, `abort`, `pause`; none where there is nothing to tell.
    pub action: Option<&'static str>,
    /// The command that carries it, to ask for its end; none where it went to the pin itself.
    pub command_id: Option<String>,
    /// `accepted` until its effect was seen.
    pub state: CommandState,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// See the module above.
pub struct Halt {
    bus: Arc<Bus>,
    commands: Arc<Commands>,
    instruments: Arc<Instruments>,
    count: AtomicU64,
    /// Requests that went to an instrument itself: letting go of the answer would give them up.
    kept: Mutex<VecDeque<Answer>>,
}

/// How a stop went to its instrument.
enum Way {
    Told(Told),
    Asked(Told, Answer),
}

impl Halt {
    /// One that finds out by `instruments` and `commands` what can be told.
    pub fn new(bus: Arc<Bus>, commands: Arc<Commands>, instruments: Arc<Instruments>) -> Self {
        Halt { bus, commands, instruments, count: AtomicU64::new(0), kept: Mutex::default() }
    }

    /// Stops what an alert wants stopped. Scans that use one of the instruments are paused first, so that they do not
    /// take up again what is stopped.
    pub fn for_alert(&self, wanted: &Stopping) {
        let by = format!("alert {}", wanted.alert);
        let is_wanted = |target: &str| wanted.targets.iter().any(|pattern| is_target(pattern, target));
        let offers: Vec<Offer> = self
            .instruments
            .list()
            .into_iter()
            .filter(|o| is_wanted(&format!("instrument/{}", o.id)))
            .collect();
        let users: BTreeSet<String> = offers.iter().filter_map(|o| self.instruments.used_by(&o.id)).collect();
        let mut told: Vec<Told> = users
            .iter()
            .map(|scan| self.command(format!("scan/{scan}"), "pause", Some(&by), &wanted.message))
            .collect();
        for offer in &offers {
            match self.stop(offer, Some(&by), &wanted.message) {
                Some(Way::Told(one)) => told.push(one),
                Some(Way::Asked(one, answer)) => {
                    told.push(one);
                    self.keep(answer);
                }
                None => {}
            }
        }
        // Named, but not there at all.
        for target in wanted.targets.iter().filter(|t| !t.ends_with("/*") && t.starts_with("instrument/")) {
            if !offers.iter().any(|o| target.strip_prefix("instrument/") == Some(&o.id)) {
                told.push(nothing(target.clone(), "it is not there or can't be driven"));
            }
        }
        let recorders = self.ids("recorder").into_iter().map(|(id, _)| format!("recorder/{id}"));
        for target in recorders.filter(|target| is_wanted(target)) {
            told.push(self.command(target, "stop", Some(&by), &wanted.message));
        }
        self.say(&format!("Alert {} stops {}. {}", wanted.alert, list(&told), wanted.message));
    }

    /// Stops everything: aborts the scans and queues that run, stops every instrument. Waits at most `patience` for what
    /// went to pins directly; the rest ends as commands do.
    pub fn everything(&self, by: Option<&str>, why: &str, patience: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        // Aborts first: what runs is not to send anything after the stops.
        let mut covered = BTreeSet::new();
        for (id, queue) in self.ids("queue") {
            let status = queue.get("status").and_then(Value::as_str).unwrap_or_default();
            if matches!(status, "running" | "stopping") && self.offers(&format!("queue/{id}"), "abort") {
                covered.insert(id.clone());
                told.push(self.command(format!("queue/{id}"), "abort", by, why));
            }
        }
        for (id, scan) in self.ids("scan") {
            let word = |name: &str| scan.get(name).and_then(Value::as_str).unwrap_or_default();
            let runs = word("status") == "running" || matches!(word("pending"), "start" | "resume");
            if runs && !covered.contains(word("queue_id")) && self.offers(&format!("scan/{id}"), "abort") {
                told.push(self.command(format!("scan/{id}"), "abort", by, why));
            }
        }
        let mut answers = Vec::new();
        for offer in self.instruments.list() {
            match self.stop(&offer, by, why) {
                Some(Way::Told(one)) => told.push(one),
                Some(Way::Asked(one, answer)) => {
                    answers.push((told.len(), answer));
                    told.push(one);
                }
                None => {}
            }
        }
        let who = by.map(|who| format!(" by {who}")).unwrap_or_default();
        self.say(&format!(
            "Emergency stop{who}: {}.",
            if told.is_empty() { "nothing is there to stop".into() } else { list(&told) }
        ));
        let until = Instant::now() + patience;
        for (n, answer) in answers {
            let outcome = answer.from.recv_timeout(until.saturating_duration_since(Instant::now()));
            match (outcome, told.get_mut(n)) {
                (Ok(outcome), Some(one)) => (one.state, one.reason) = (outcome.state, outcome.reason),
                _ => self.keep(answer),
            }
        }
        told
    }

    /// One instrument: its stop, else its safe state. None where nothing of it can be set.
    fn stop(&self, offer: &Offer, by: Option<&str>, why: &str) -> Option<Way> {
        let target = format!("instrument/{}", offer.id);
        let actions = self.commands.actions(&target);
        let has = |action: &str| actions.iter().any(|a| a == action);
        let (action, request) = if offer.stops || has("stop") {
            ("stop", Request::Stop)
        } else if !offer.safe.is_empty() || has("safe") {
            ("safe", Request::Safe)
        } else if offer.channels.iter().any(|c| c.settable) {
            return Some(Way::Told(nothing(target, "it has neither a stop nor a safe state")));
        } else {
            return None;
        };
        if has(action) {
            let told = self.command(target.clone(), action, by, why);
            if told.state != CommandState::Failed {
                return Some(Way::Told(told));
            }
        }
        let (state, command_id) = (CommandState::Accepted, None);
        let told = Told { target, action: Some(action), command_id, state, reason: None };
        Some(match self.instruments.ask(&offer.id, request) {
            Ok(answer) => Way::Asked(told, answer),
            Err(why) => Way::Told(Told { state: CommandState::Failed, reason: Some(why), ..told }),
        })
    }

    fn command(&self, target: String, action: &'static str, by: Option<&str>, why: &str) -> Told {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let command = Command {
            id: format!("stop-{}-{}-{n}", self.bus.epoch(), Wall::now().0),
            target: target.clone(),
            action: action.into(),
            params: Map::new(),
            by: by.map(str::to_string),
            reason: Some(why.into()),
        };
        let id = command.id.clone();
        let (state, reason) = match self.commands.submit(command) {
            Submitted::Accepted(result) | Submitted::Known(result) => (result.state, None),
            Submitted::NoTarget => (CommandState::Failed, Some("it is not there any more".into())),
            Submitted::NoAction(_) => (CommandState::Failed, Some(format!("it has no {action}"))),
            Submitted::Busy => (CommandState::Failed, Some("too many commands wait there".into())),
            Submitted::Blocked(refusal) => (CommandState::Failed, Some(refusal.text)),
        };
        let command_id = Some(id).filter(|_| state != CommandState::Failed);
        Told { target, action: Some(action), command_id, state, reason }
    }

    fn offers(&self, target: &str, action: &str) -> bool {
        self.commands.actions(target).iter().any(|a| a == action)
    }

    /// The statuses of a kind that is a topic with an id.
    fn ids(&self, kind: &str) -> Vec<(String, Map<String, Value>)> {
        let filter = TopicFilter::parse(&format!("{kind}/*")).unwrap_or_default();
        let key = format!("{kind}_status/");
        let of = |event: &crate::model::SharedEvent| {
            let id = event.key.as_deref()?.strip_prefix(&key)?.to_string();
            Some((id, serde_json::from_str(event.payload()).ok()?))
        };
        self.bus.snapshot(&filter).state.iter().filter_map(of).collect()
    }

    fn keep(&self, answer: Answer) {
        let mut kept = self.kept.lock().unwrap_or_else(|e| e.into_inner());
        kept.retain(|answer| answer.from.is_empty());
        kept.push_back(answer);
        if kept.len() > limits::STOPS_KEPT {
            kept.pop_front();
        }
    }

    fn say(&self, message: &str) {
        log::warn!("{message}");
        let line = LogLine {
            level: Level::Warning,
            message: message.into(),
            timestamp: Wall::now(),
            source: Some("telltale".into()),
        };
        // Without a place for it on the bus it is in the journal still.
        let _ = Draft::of("log", &line).map(|draft| self.bus.publish(draft));
    }
}

fn nothing(target: String, why: &str) -> Told {
    Told { target, action: None, command_id: None, state: CommandState::Failed, reason: Some(why.into()) }
}

fn list(told: &[Told]) -> String {
    let one = |told: &Told| match (told.action, &told.reason) {
        (Some(action), None) => format!("{} ({action})", told.target),
        (_, Some(why)) => format!("{} (not told: {why})", told.target),
        (None, None) => told.target.clone(),
    };
    told.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Start;
    use crate::sources::{ChannelOffer, Outcome};
    use serde_json::json;

    struct World {
        bus: Arc<Bus>,
        commands: Arc<Commands>,
        instruments: Arc<Instruments>,
        halt: Halt,
    }

    fn world() -> World {
        let bus = Arc::new(Bus::new(Start::default(), Arc::default()));
        let commands = Arc::new(Commands::new(Arc::clone(&bus)));
        let instruments = Arc::new(Instruments::default());
        let halt = Halt::new(Arc::clone(&bus), Arc::clone(&commands), Arc::clone(&instruments));
        World { bus, commands, instruments, halt }
    }

    fn offer(id: &str, stops: bool, safe: bool, settable: bool) -> Offer {
        let channel = ChannelOffer { name: "x".into(), settable, ..ChannelOffer::default() };
        let safe = if safe { vec!["x to 0".to_string()] } else { Vec::new() };
        Offer { id: id.into(), stops, safe, channels: vec![channel], ..Offer::default() }
    }

    fn short(told: &[Told]) -> Vec<(&str, Option<&str>, CommandState)> {
        told.iter().map(|t| (t.target.as_str(), t.action, t.state)).collect()
    }

    #[test]
    fn each_is_told_what_it_offers_and_what_offers_nothing_is_named() {
        use CommandState::{Accepted, Completed, Failed};
        let w = world();
        for offer in [offer("meter", false, false, false), offer("psu", false, false, true)] {
            w.instruments.offer_known(offer, |_| Outcome::done(Vec::new()));
        }
        w.instruments.offer_known(offer("relay", false, true, true), |request| match request {
            Request::Safe => Outcome::done(Vec::new()),
            other => panic!("{other:?}"),
        });
        w.instruments.offer_known(offer("stage", true, true, true), |_| panic!("it has commands"));
        let stage = w.commands.own("instrument/stage", &["set", "stop", "safe"]);
        let told = w.halt.everything(Some("eva"), "smoke", Duration::from_secs(1));
        assert_eq!(
            short(&told),
            [
                ("instrument/psu", None, Failed),
                ("instrument/relay", Some("safe"), Completed),
                ("instrument/stage", Some("stop"), Accepted),
            ]
        );
        let command = stage.try_recv().unwrap();
        assert_eq!(
            (command.action.as_str(), command.by.as_deref(), command.reason.as_deref()),
            ("stop", Some("eva"), Some("smoke"))
        );
        assert_eq!(told[2].command_id.as_deref(), Some(command.id.as_str()));
    }

    #[test]
    fn a_full_inbox_does_not_keep_a_stop_from_its_instrument() {
        let w = world();
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        w.instruments.offer_known(offer("stage", true, false, true), move |request| {
            assert_eq!(*request, Request::Stop);
            count.fetch_add(1, Ordering::Relaxed);
            Outcome::done(Vec::new())
        });
        let _inbox = w.commands.own("instrument/stage", &["set", "stop"]);
        for n in 0..16 {
            let command = Command {
                id: format!("c{n}"),
                target: "instrument/stage".into(),
                action: "set".into(),
                params: Map::new(),
                by: None,
                reason: None,
            };
            assert!(matches!(w.commands.submit(command), Submitted::Accepted(_)));
        }
        let told = w.halt.everything(None, "", Duration::from_secs(1));
        assert_eq!(short(&told), [("instrument/stage", Some("stop"), CommandState::Completed)]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_alert_pauses_the_scan_and_stops_what_it_names() {
        let w = world();
        for id in ["stage", "laser"] {
            w.instruments.offer_known(offer(id, true, false, true), |_| Outcome::done(Vec::new()));
        }
        let stage = w.commands.own("instrument/stage", &["stop"]);
        let laser = w.commands.own("instrument/laser", &["stop"]);
        let scan = w.commands.own("scan/SCAN_001", &["pause", "abort"]);
        w.instruments.claim(&["stage".to_string()], "SCAN_001").unwrap();
        w.halt.for_alert(&Stopping {
            alert: "psu.over".into(),
            message: "Too much.".into(),
            targets: vec!["instrument/stage".into(), "instrument/gone".into()],
        });
        let (paused, stopped) = (scan.try_recv().unwrap(), stage.try_recv().unwrap());
        assert_eq!((paused.action.as_str(), paused.reason.as_deref()), ("pause", Some("Too much.")));
        assert_eq!((stopped.action.as_str(), stopped.by.as_deref()), ("stop", Some("alert psu.over")));
        assert!(laser.try_recv().is_err());
        let said: Vec<String> = w.bus.after(0, 10).unwrap().iter().map(|e| e.payload().to_string()).collect();
        assert!(said[0].contains("Alert psu.over stops scan/SCAN_001 (pause), instrument/stage (stop), instrument/gone (not told: it is not there"), "{said:?}");
    }

    #[test]
    fn what_runs_is_aborted_once() {
        let w = world();
        let status = |kind: &str, value: Value| {
            w.bus.publish(Draft::checked(kind, None, value).unwrap()).unwrap();
        };
        let scan = |id: &str, state: &str, queue: Option<&str>| json!({"scan_id": id, "queue_id": queue, "status": state, "pending": null, "progress": 0.5, "allowed_actions": [], "revision": 1, "timestamp": "2026-01-07T15:30:00.000Z"});
        let queue = |id: &str, state: &str| json!({"queue_id": id, "status": state, "current_scan": null, "completed_scans": 0, "total_scans": 1, "order_version": 1, "timestamp": "2026-01-07T15:30:00.000Z"});
        status("queue_status", queue("Q1", "running"));
        status("queue_status", queue("Q2", "paused"));
        status("scan_status", scan("S1", "running", Some("Q1")));
        status("scan_status", scan("S2", "paused", Some("Q2")));
        status("scan_status", scan("S3", "running", None));
        let inboxes: Vec<_> = ["queue/Q1", "queue/Q2", "scan/S1", "scan/S2", "scan/S3"]
            .map(|target| w.commands.own(target, &["abort"]))
            .into_iter()
            .collect();
        let told = w.halt.everything(None, "", Duration::ZERO);
        let targets: Vec<&str> = told.iter().map(|t| t.target.as_str()).collect();
        assert_eq!(targets, ["queue/Q1", "scan/S3"]);
        assert_eq!(inboxes.iter().map(|inbox| inbox.try_iter().count()).collect::<Vec<_>>(), [1, 0, 0, 0, 1]);
    }
}
