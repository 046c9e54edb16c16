//! Alerts: conditions a person must know of, from their first moment until somebody has seen them and they are over.
//!
//! `rule` judges one value, `watch` has the rules at work on the events of the bus, `rules` are those built in, `desk` is
//! the life of alerts, `interlock` says whom they keep commands from, `outbox` and `delivery` tell the receivers that the file names (`webhook`, `ntfy`).
//!
//! **Promises.** One occurrence for one outage, whoever raises it; acknowledgements, snoozes and what waits for delivery
//! survive restarts and crashes; no request leaves the box but to a receiver of the file. **Threads.** `alerts` follows
//! the bus and takes commands; between events it sleeps until a rule or a snooze is due. `outbox` only where there is a
//! receiver. **Blocking.** [`Alerts::raise`] and [`Alerts::clear`] publish on the bus and return; nothing here is held
//! over a disk or a network.

mod delivery;
mod desk;
mod facts;
mod interlock;
mod message;
mod ntfy;
mod outbox;
mod rule;
mod rules;
mod send;
mod watch;
mod webhook;

use self::delivery::Delivery;
use self::desk::{Condition, Desk, Effect, Memory, Moment, News, Snooze};
use self::interlock::Wish;
use self::watch::{Finding, Open, RuleRow, Watch};
use crate::bus::{Bus, Command, Commands, Refusal};
use crate::clock::Wall;
use crate::config::{AlertRule, Config};
use crate::limits;
use crate::model::{
    Alert, AlertState, CommandState, Draft, Level, LogLine, RaisedBy, Severity, SharedEvent, TopicFilter,
};
use crate::store::Store;
use crate::threads::{self, Stop};
use crossbeam::channel::{Receiver, bounded};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Prefix of our rows on the shelf.
const SHELF: &str = "alert/";
/// Events are looked at in groups at most this often: at 200 events a second that is a tenth of the wake-ups.
const GROUP: Duration = Duration::from_millis(100);
/// The same where a rule blocks or stops something.
const QUICK: Duration = Duration::from_millis(5);
/// Events taken from the bus in one go.
const PAGE: usize = 512;
/// How long after a failure the shelf is tried again, and how long memories wait for company.
const SAVE: Duration = Duration::from_secs(1);

struct Inner {
    desk: Desk,
    watch: Watch,
    /// Ids on the bus of alerts that we published ourselves.
    own: HashSet<u64>,
    /// Alerts that the bus did not take, as they stand.
    unpublished: BTreeMap<String, Alert>,
    /// Memories wait for the shelf since.
    unsaved_since: Option<Duration>,
    /// What rules that were raised want stopped.
    to_stop: Vec<Stopping>,
}

/// What an alert stops at the moment it is raised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// The alert.
    pub alert: String,
    /// What it says.
    pub message: String,
    /// What is to stop: `KIND/ID`, or `KIND/*` for any id.
    pub targets: Vec<String>,
}

/// Stops what an alert wants stopped; neither blocks nor calls back.
type Stopper = Box<dyn Fn(&Stopping) + Send + Sync>;

/// See the module above.
pub struct Alerts {
    bus: Arc<Bus>,
    began: Instant,
    /// The seq up to which events have been judged, or were part of the state this began with. Held while they are.
    followed: Mutex<u64>,
    /// A rule blocks or stops something.
    quick: AtomicBool,
    stopper: OnceLock<Stopper>,
    inner: Mutex<Inner>,
    delivery: Arc<Delivery>,
    running: Mutex<Option<(JoinHandle<()>, Stop)>>,
}

impl Open for Desk {
    fn raised(&self, id: &str) -> Option<Severity> {
        self.raised_by_rule(id)
    }
    fn is_active(&self, pattern: &str) -> bool {
        Desk::is_active(self, pattern)
    }
}

impl Alerts {
    /// A desk that publishes on `bus` and goes on with the alerts that are open there. Rules are judged and messages
    /// delivered after [`Alerts::start`].
    pub fn new(bus: Arc<Bus>) -> Self {
        let began = Instant::now();
        let snapshot = bus.snapshot(&TopicFilter::parse("alerts").unwrap_or_default());
        let open = snapshot.state.iter().filter_map(alert_of).collect();
        let desk = Desk::new(open, Moment { now: Duration::ZERO, wall: Wall::now() });
        let inner = Inner {
            desk,
            watch: Watch::default(),
            own: HashSet::new(),
            unpublished: BTreeMap::new(),
            unsaved_since: None,
            to_stop: Vec::new(),
        };
        let delivery = Arc::new(Delivery::new(Arc::clone(&bus)));
        bus.metrics.alerts_open.set(inner.desk.len() as u64);
        Alerts {
            began,
            followed: Mutex::new(snapshot.cursor.seq),
            quick: AtomicBool::new(false),
            stopper: OnceLock::new(),
            inner: Mutex::new(inner),
            delivery,
            running: Mutex::default(),
            bus,
        }
    }

    /// Begins to judge the rules of `config`, the built-in ones and `more`, to take commands for `alerts`, and to
    /// deliver. Ended by [`Alerts::stop`].
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        self: &Arc<Self>,
        store: &Arc<Store>,
        commands: &Arc<Commands>,
        config: &Config,
        more: &[AlertRule],
    ) -> io::Result<()> {
        let rows = store.shelf(SHELF).unwrap_or_else(|e| {
            log::error!("failed to read what is kept of alerts: {e}");
            Vec::new()
        });
        let read = |(key, text): (String, Vec<u8>)| {
            Some((key.strip_prefix(SHELF)?.to_string(), serde_json::from_slice::<Memory>(&text).ok()?))
        };
        self.delivery.recall(store);
        self.delivery.configure(config, store);
        {
            let mut inner = self.lock();
            let effects = inner.desk.recall(rows.into_iter().filter_map(read).collect(), self.moment());
            self.perform(&mut inner, effects);
        }
        self.judge_by(config, more, true);
        let inbox = commands.own("alerts", &["ack", "snooze"]);
        let guard = Arc::downgrade(self);
        commands.guard(move |target, action, params| guard.upgrade()?.refusal(target, action, params));
        let (poke, woken) = bounded(1);
        // Full: it has been asked for already.
        self.bus.on_publish(move || {
            let _ = poke.try_send(());
        });
        let stop = Stop::default();
        let (alerts, store, commands, until) =
            (Arc::clone(self), Arc::clone(store), Arc::clone(commands), stop.clone());
        let run = move || alerts.run(&store, &commands, &inbox, &woken, &until);
        let thread = threads::spawn("alerts", limits::STACK, run)?;
        *self.running.lock().unwrap_or_else(|e| e.into_inner()) = Some((thread, stop));
        Ok(())
    }

    /// `stop` is called with what rules want stopped, once, at the moment they are raised.
    pub fn stops_by(&self, stop: impl Fn(&Stopping) + Send + Sync + 'static) {
        let _ = self.stopper.set(Box::new(stop));
        self.carry_out();
    }

    /// Why a command is not possible as things are this moment: what was published up to now is judged first.
    pub fn refusal(&self, target: &str, action: &str, params: &Map<String, Value>) -> Option<Refusal> {
        let wish = Wish::of(target, action, params)?;
        if self.quick.load(Ordering::Relaxed) {
            self.follow();
        }
        let inner = self.lock();
        interlock::refusal(&inner.watch, &inner.desk, &wish, self.began.elapsed())
    }

    /// Takes over rules and receivers of a new configuration. What is raised and still a rule goes on.
    pub fn configure(&self, config: &Config, more: &[AlertRule], store: &Arc<Store>) {
        self.delivery.configure(config, store);
        self.judge_by(config, more, false);
    }

    /// Ends the threads. What waits for delivery is on the shelf.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some((thread, stop)) = running {
            stop.stop();
            threads::join(thread);
        }
        self.delivery.stop();
    }

    /// The condition `id` holds. While it is active already, only another message or a worse severity is published.
    pub fn raise(&self, id: &str, severity: Severity, message: &str, guidance: &str) {
        let condition = Condition {
            by: RaisedBy::Telltale,
            severity,
            message: message.into(),
            guidance: Some(guidance.into()).filter(|g: &String| !g.is_empty()),
            source: Some(id.strip_prefix("source.").unwrap_or("telltale").into()),
            value: None,
            limit: None,
            unit: None,
            latched: true,
            rule: None,
            blocks: Vec::new(),
            latch: false,
        };
        let mut inner = self.lock();
        let effects = inner.desk.raise(id, condition, self.moment());
        self.perform(&mut inner, effects);
    }

    /// The condition `id` is over; nothing when it was not raised.
    pub fn clear(&self, id: &str, message: &str) {
        let mut inner = self.lock();
        let effects = inner.desk.clear(id, RaisedBy::Telltale, message, self.moment());
        self.perform(&mut inner, effects);
    }

    /// Sends a message through every channel, whatever its filters; gives how many there are.
    pub fn test(&self, by: Option<&str>) -> usize {
        let who = by.map(|who| format!(" by {who}")).unwrap_or_default();
        let alert = Alert {
            alert_id: "test".into(),
            occurrence: 1,
            severity: Severity::Minor,
            state: AlertState::Active,
            message: format!("A test of the way that alerts take, asked for{who}."),
            raised_at: Wall::now(),
            source: Some("telltale".into()),
            guidance: None,
            value: None,
            limit: None,
            unit: None,
            cleared_at: None,
            acked_at: None,
            acked_by: None,
            snoozed_until: None,
            latched: false,
            rule: None,
            count: 1,
            raised_by: Some(RaisedBy::Telltale),
            blocks: Vec::new(),
            latch: false,
        };
        self.delivery.offer(News::Test, &alert)
    }

    /// Every rule and how it stands: the items of `GET /api/alerts/rules`.
    pub fn rules(&self) -> Vec<Value> {
        let (now, wall) = (self.began.elapsed(), Wall::now());
        let rows = {
            let inner = self.lock();
            let mut rows = inner.watch.rows();
            // A latch that waits for its reset blocks still.
            for row in rows.iter_mut().filter(|row| !row.blocking) {
                let alert = inner.desk.alert(&row.rule);
                row.blocking = alert.is_some_and(|alert| alert.blocks.iter().any(|one| alert.blocks(one)));
            }
            rows
        };
        let item = |row: RuleRow| {
            let since =
                row.since.map(|at| Wall(wall.0.saturating_sub(now.saturating_sub(at).as_millis() as u64)));
            json!({
                "rule": row.rule, "text": row.text, "severity": row.severity, "enabled": row.enabled,
                "state": row.state, "value": row.value, "since": since,
                "blocks": row.blocks, "blocking": row.blocking, "stops": row.stops, "latch": row.latch,
            })
        };
        rows.into_iter().map(item).collect()
    }

    /// Every channel and how it stands: the body of `GET /api/alerts/deliveries`.
    pub fn deliveries(&self) -> Value {
        self.delivery.rows()
    }

    /// What became of the messages about an occurrence, by kind of channel.
    pub fn delivered(&self, alert: &Alert) -> serde_json::Map<String, Value> {
        self.delivery.of(alert)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn moment(&self) -> Moment {
        Moment { now: self.began.elapsed(), wall: Wall::now() }
    }

    /// Puts rules to work on the state there is.
    fn judge_by(&self, config: &Config, more: &[AlertRule], first: bool) {
        let state = self.bus.snapshot(&TopicFilter::parse("*").unwrap_or_default()).state;
        let mut inner = self.lock();
        let at = self.moment();
        let rules = rules::all(config, more);
        let mut before = std::mem::take(&mut inner.watch);
        inner.watch = Watch::new(rules, &config.alerts.off, at.now, &inner.desk).learnt(&mut before);
        for event in &state {
            self.judge(&mut inner, event);
        }
        let findings = {
            let Inner { watch, desk, .. } = &mut *inner;
            watch.grow_as_old_as(&before, at.now, desk)
        };
        self.heed(&mut inner, findings);
        for id in inner.desk.held_by_rules() {
            let effects = {
                let Inner { watch, desk, .. } = &mut *inner;
                match watch.says(&id) {
                    Some((blocks, latch)) => desk.confirm(&id, blocks, latch),
                    None if first => Vec::new(),
                    None => {
                        let message = format!("{id} is over: its rule is gone");
                        desk.clear(&id, RaisedBy::Rule, &message, at)
                    }
                }
            };
            self.perform(&mut inner, effects);
        }
        self.quick.store(inner.watch.has_interlocks(), Ordering::Relaxed);
        drop(inner);
        self.carry_out();
    }

    /// The thread `alerts`.
    fn run(
        &self,
        store: &Store,
        commands: &Commands,
        inbox: &Receiver<Command>,
        woken: &Receiver<()>,
        stop: &Stop,
    ) {
        let never = crossbeam::channel::never();
        // After a group of events the next is left to gather; commands are not kept waiting.
        let mut gather = false;
        loop {
            let wait =
                self.wake().map_or(Duration::from_secs(60), |at| at.saturating_sub(self.began.elapsed()));
            let group = if self.quick.load(Ordering::Relaxed) { QUICK } else { GROUP };
            let wait = if gather { group } else { wait };
            let events = if gather { &never } else { woken };
            crossbeam::channel::select! {
                recv(stop.receiver()) -> _ => {
                    self.save(store, true);
                    return;
                }
                recv(inbox) -> command => {
                    self.follow();
                    if let Ok(command) = command {
                        self.obey(&command, commands);
                    }
                }
                recv(events) -> _ => {
                    self.follow();
                    gather = true;
                }
                default(wait) => {
                    gather = false;
                    self.tick();
                    self.save(store, false);
                }
            }
        }
    }

    /// When time alone may change something.
    fn wake(&self) -> Option<Duration> {
        let inner = self.lock();
        let unpublished = (!inner.unpublished.is_empty()).then(|| self.began.elapsed() + SAVE);
        let unsaved = inner.unsaved_since.map(|since| since + SAVE);
        [inner.watch.wake(), inner.desk.wake(), unsaved, unpublished].into_iter().flatten().min()
    }

    /// Looks at what was published since the last time.
    fn follow(&self) {
        let mut last = self.followed.lock().unwrap_or_else(|e| e.into_inner());
        loop {
            let events = match self.bus.after(*last, PAGE) {
                Ok(events) => events,
                // Too much at once: what is newest of each state is judged, records in between are not.
                Err(_) => {
                    let snapshot = self.bus.snapshot(&TopicFilter::parse("*").unwrap_or_default());
                    let newer: Vec<_> = snapshot.state.into_iter().filter(|e| e.cursor.seq > *last).collect();
                    let mut inner = self.lock();
                    for event in &newer {
                        self.take(&mut inner, event);
                    }
                    inner.own.retain(|seq| *seq > snapshot.cursor.seq);
                    *last = snapshot.cursor.seq;
                    continue;
                }
            };
            let Some(newest) = events.last() else { break };
            *last = newest.cursor.seq;
            let mut inner = self.lock();
            for event in &events {
                self.take(&mut inner, event);
            }
        }
        drop(last);
        self.carry_out();
    }

    /// Stops what is to be stopped, without any lock.
    fn carry_out(&self) {
        let Some(stop) = self.stopper.get() else { return };
        let wanted = std::mem::take(&mut self.lock().to_stop);
        wanted.iter().for_each(stop);
    }

    fn take(&self, inner: &mut Inner, event: &SharedEvent) {
        if &*event.kind != "alert" {
            self.judge(inner, event);
        } else if !inner.own.remove(&event.cursor.seq)
            && let Some(alert) = alert_of(event)
        {
            let effects = inner.desk.adopt(alert, self.moment());
            self.perform(inner, effects);
        }
    }

    fn judge(&self, inner: &mut Inner, event: &SharedEvent) {
        if !inner.watch.concerns(event) {
            return;
        }
        let live = event.cursor.epoch == self.bus.epoch();
        let findings = inner.watch.event(event, live, self.began.elapsed(), &inner.desk);
        self.heed(inner, findings);
    }

    fn tick(&self) {
        let mut inner = self.lock();
        let at = self.moment();
        let findings = {
            let Inner { watch, desk, .. } = &mut *inner;
            watch.tick(at.now, desk)
        };
        self.heed(&mut inner, findings);
        let effects = inner.desk.tick(at);
        self.perform(&mut inner, effects);
        for alert in std::mem::take(&mut inner.unpublished).into_values() {
            self.publish(&mut inner, alert);
        }
        drop(inner);
        self.carry_out();
    }

    fn heed(&self, inner: &mut Inner, findings: Vec<Finding>) {
        for finding in findings {
            let at = self.moment();
            let effects = match finding {
                Finding::Holds(told) => {
                    if !told.stops.is_empty() {
                        let (alert, message) = (told.id.clone(), told.message.clone());
                        inner.to_stop.push(Stopping { alert, message, targets: told.stops });
                    }
                    let condition = Condition {
                        by: RaisedBy::Rule,
                        severity: told.severity,
                        message: told.message,
                        guidance: told.guidance,
                        source: Some(told.source),
                        value: told.value,
                        limit: told.limit,
                        unit: told.unit,
                        latched: told.latched,
                        rule: Some(told.rule),
                        blocks: told.blocks,
                        latch: told.latch,
                    };
                    inner.desk.raise(&told.id, condition, at)
                }
                Finding::Over { id, message } => inner.desk.clear(&id, RaisedBy::Rule, &message, at),
            };
            self.perform(inner, effects);
        }
    }

    fn perform(&self, inner: &mut Inner, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Publish(alert) => self.publish(inner, alert),
                Effect::Tell(news, alert) => drop(self.delivery.offer(news, &alert)),
                Effect::Log(level, message, source) => {
                    match level {
                        Level::Error | Level::Critical => log::error!("{message}"),
                        Level::Warning => log::warn!("{message}"),
                        Level::Info | Level::Debug => log::info!("{message}"),
                    }
                    let source = source.or_else(|| Some("telltale".into()));
                    let line = LogLine { level, message, timestamp: Wall::now(), source };
                    // Without a place for it on the bus it is in the journal still.
                    let _ = Draft::of("log", &line).map(|draft| self.bus.publish(draft));
                }
            }
        }
        let metrics = &self.bus.metrics;
        metrics.alerts_open.set(inner.desk.len() as u64);
        metrics.alerts_refused_total.set(inner.desk.refused);
        metrics.alerts_raised_total.set(inner.desk.raised);
        if inner.desk.is_unsaved() {
            inner.unsaved_since.get_or_insert_with(|| self.began.elapsed());
        }
    }

    fn publish(&self, inner: &mut Inner, alert: Alert) {
        match Draft::of("alert", &alert).map(|draft| self.bus.publish(draft)) {
            Ok(Ok(cursor)) => {
                inner.own.insert(cursor.seq);
                inner.unpublished.remove(&alert.alert_id);
            }
            Ok(Err(e)) => {
                log::debug!("alert {} waits to be published: {e}", alert.alert_id);
                inner.unpublished.insert(alert.alert_id.clone(), alert);
            }
            Err(e) => log::error!("alert {} can't be published: {e}", alert.alert_id),
        }
    }

    /// Does what somebody asked for, and says what came of it.
    fn obey(&self, command: &Command, commands: &Commands) {
        let text = |name: &str| command.params.get(name).and_then(Value::as_str);
        let id = text("alert_id").unwrap_or_default().to_string();
        let occurrence = command.params.get("occurrence").and_then(Value::as_u64).unwrap_or_default();
        let at = self.moment();
        let mut inner = self.lock();
        let done = match command.action.as_str() {
            "ack" => inner.desk.acknowledge(&id, occurrence, command.by.clone(), at),
            _ => match text("for").and_then(Snooze::parse) {
                Some(snooze) => inner
                    .desk
                    .snooze(&id, occurrence, snooze, command.by.as_deref(), at)
                    .map(|effects| (inner.desk.alert(&id).map_or(AlertState::Closed, |a| a.state), effects)),
                None => {
                    drop(inner);
                    let reason = "`for` must be 1h, 1d, 1w, restart or none";
                    commands.finish(&command.id, CommandState::Rejected, None, Some(reason));
                    return;
                }
            },
        };
        match done {
            Ok((state, effects)) => {
                self.perform(&mut inner, effects);
                drop(inner);
                commands.finish(&command.id, CommandState::Completed, Some(state.word()), None);
            }
            Err(refusal) => {
                drop(inner);
                commands.finish(&command.id, CommandState::Rejected, None, Some(&refusal.to_string()));
            }
        }
    }

    /// Puts memories on the shelf; those of a moment together.
    fn save(&self, store: &Store, at_once: bool) {
        let rows = {
            let mut inner = self.lock();
            let now = self.began.elapsed();
            let due = inner.unsaved_since.is_some_and(|since| at_once || now.saturating_sub(since) >= SAVE);
            if !due {
                return;
            }
            inner.unsaved_since = None;
            inner.desk.unsaved()
        };
        let text = |memory: &Memory| serde_json::to_vec(memory).ok();
        let texts: Vec<_> = rows
            .iter()
            .map(|(id, memory)| (format!("{SHELF}{id}"), memory.as_ref().and_then(text)))
            .collect();
        if let Err(e) = store.shelve(&texts) {
            log::debug!("what is kept of alerts could not be stored: {e}");
            let mut inner = self.lock();
            inner.desk.not_saved(rows.into_iter().map(|(id, _)| id));
            inner.unsaved_since = Some(self.began.elapsed() + 10 * SAVE);
        }
    }
}

fn alert_of(event: &SharedEvent) -> Option<Alert> {
    if &*event.kind != "alert" {
        return None;
    }
    serde_json::from_str(event.payload()).ok()
}
