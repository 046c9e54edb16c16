//! Serial ports: one thread a port, which does the I/O of a [`Protocol`] through a [`Port`] and leads its life.
//!
//! **Promises.** A port that is absent, silent, garbled, flooding or pulled out is said to be so, is one alert, and comes
//! back by itself; what is not understood is counted and skipped and never ends the source. What it last said is marked
//! as soon as it is not current. **Blocking.** A read waits 0.2 s at most, so a stop is noticed within that; writing never
//! waits, so that a device that takes nothing is still listened to; what is far is opened by a thread of its own, one at a
//! time. **Bounds.** What waits to be sent, what is taken a
//! second and what is kept of a bad line. Does not: share a port, or set the modem lines.

mod capture;
mod flow;
mod format;
pub mod fuzz;
mod life;
mod line;
mod modbus;
mod nmea;
mod pending;
pub mod protocol;
mod replay;
mod scpi;
#[cfg(test)]
mod script;
mod splitter;

pub use self::capture::{Tape, Way, escape};
pub use self::replay::{Play, Player, ReplayPorts, bytes_a_second};

use self::flow::{Budget, Flood, Outbox};
use self::life::{Effect, Input, Life};
use self::line::Line;
use self::modbus::Modbus;
use self::nmea::Nmea;
use self::protocol::{Action, Finish, Protocol};
use self::scpi::Scpi;
use super::dial::dial;
use super::fold::{Feed, Fold};
use super::hardware::{OpenPort, Port, advice};
use super::inputs::Until;
use super::instruments::{Asked, Failure, Instruments, Offer, Outcome, Request, Wake};
use super::outlets::{Order, Outlets};
use super::publish::Report;
use super::reading::Reading;
use super::{Context, monotonic};
use crate::alerts::Alerts;
use crate::bus::{Bus, Command, Commands, INTERLOCK};
use crate::clock::Wall;
use crate::config::{Device, ProtocolConfig, SerialPort, Sink};
use crate::limits;
use crate::model::{CommandState, QualityReason, Severity, SourceState};
use crossbeam::channel::{Receiver, Sender, bounded, never, select};
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a closed port looks whether its device has appeared: plugging in is noticed without waiting for the
/// back-off. One `stat` each time, which is as quick as a person sees and, unlike inotify, needs no watch on a folder that
/// is not there yet: `/dev/serial/by-id` comes with the first adapter.
const LOOK: Duration = Duration::from_millis(250);
/// The same for an adapter that is looked for among all: a walk through /sys.
const LOOK_USB: Duration = Duration::from_secs(1);
/// The longest time between two tries of a socket: there is nothing to look at.
const LOOK_SOCKET: Duration = Duration::from_secs(5);
/// Counters alone are published this often at most.
const REPORT: Duration = Duration::from_secs(2);
/// Counters are looked at this often.
const TELL: Duration = Duration::from_millis(100);
/// The longest wait for bytes, and with it for orders. Commands and requests end it.
const WAIT: Duration = Duration::from_millis(50);
/// A protocol hears of the time this often at least.
const TICK: Duration = Duration::from_millis(200);
/// When bytes come without a pause and without having been asked for, they are read this often, so that a fast port is
/// not woken for every few. With the size of a read it also is the fastest that a port is read.
const PACE: Duration = Duration::from_millis(5);
/// Reads after something was sent that are an answer, and not paced: whoever asked waits for it, and what follows it.
const ANSWER: u32 = 16;
const READ: usize = limits::SERIAL_RATE / (1_000 / PACE.as_millis() as usize);

/// What a port is given of the rest of the program.
#[derive(Clone)]
pub(super) struct Links {
    pub bus: Arc<Bus>,
    pub commands: Arc<Commands>,
    pub alerts: Arc<Alerts>,
    pub outlets: Arc<Outlets>,
    pub instruments: Arc<Instruments>,
    pub fold: Arc<Fold>,
}

impl Links {
    pub fn of(context: &Context, fold: &Arc<Fold>) -> Self {
        Links {
            bus: Arc::clone(&context.bus),
            commands: Arc::clone(&context.commands),
            alerts: Arc::clone(&context.alerts),
            outlets: Arc::clone(&context.outlets),
            instruments: Arc::clone(&context.instruments),
            fold: Arc::clone(fold),
        }
    }
}

/// One port.
pub struct SerialSource {
    config: SerialPort,
    opener: Arc<dyn OpenPort>,
    links: Links,
    feed: Feed,
    protocol: Result<Box<dyn Protocol>, String>,
    report: Report,
    /// Those of the protocol and our own, as they are shown.
    counts: BTreeMap<&'static str, u64>,
}

/// What speaks on a port.
fn speaker(port: &SerialPort) -> Result<Box<dyn Protocol>, String> {
    Ok(match &port.protocol {
        ProtocolConfig::Line(line) => Box::new(Line::new(line)?),
        ProtocolConfig::Scpi(scpi) => Box::new(Scpi::new(scpi)?),
        ProtocolConfig::Nmea(nmea) => Box::new(Nmea::new(nmea)),
        ProtocolConfig::Modbus(modbus) => Box::new(Modbus::new(modbus, port.baud)),
    })
}

impl SerialSource {
    /// The port of `config`; its target is announced at once.
    pub(super) fn new(config: SerialPort, opener: Box<dyn OpenPort>, links: Links) -> Self {
        let replay = matches!(config.device, Device::Replay(_));
        let (Sink::Recorder(target) | Sink::Instrument(target) | Sink::Stream(target) | Sink::Topic(target)) =
            &config.sink;
        let name = config.name.clone();
        let feed = Feed {
            source: config.id.clone(),
            sink: config.sink.clone(),
            // What is played is never taken for what happens.
            name: if replay { Some(format!("{} (replay)", name.as_ref().unwrap_or(target))) } else { name },
            timeout: Some(config.stale_after),
            several: config.protocol.gives_several(),
        };
        links.fold.expect(&feed);
        let mut report = Report::new(&config.id, if replay { "replay" } else { "serial" }, REPORT);
        report.detail("device", config.device.to_string());
        if replay {
            report.detail("replay", true);
        }
        if matches!(config.device, Device::Simulated(_) | Device::Visa(_)) {
            report.detail("simulated", true);
        }
        let protocol = speaker(&config);
        if let (Sink::Instrument(id), Ok(Some(offer))) = (&config.sink, protocol.as_ref().map(|p| p.offer()))
        {
            links.fold.describe(id, &offer);
        }
        let opener = Arc::from(opener);
        SerialSource { config, opener, links, feed, protocol, report, counts: BTreeMap::new() }
    }

    /// The source's id.
    pub fn id(&self) -> &str {
        &self.config.id
    }

    /// Serves the port until it is over.
    pub(super) fn run(mut self, until: &Until) {
        let protocol = match std::mem::replace(&mut self.protocol, Err(String::new())) {
            Ok(protocol) => protocol,
            Err(why) => {
                log::error!("serial {}: {why}; switched off", self.config.id);
                self.report.state(SourceState::Disabled);
                self.report.faults(1, 0, Some(&why));
                self.report.flush(&self.links.bus);
                self.links.fold.lost(&self.feed, QualityReason::ConfigError);
                return;
            }
        };
        if let Device::Path(path) = &self.config.device
            && let Some(advice) = advice(path, Path::new("/dev/serial/by-id"))
        {
            log::warn!("serial {}: {advice}", self.config.id);
        }
        let bell = Doorbell::default();
        let (mut commands, mut asked, mut driven) = (never(), never(), None);
        if let (Sink::Instrument(id), Some(can)) = (&self.config.sink, protocol.offer()) {
            let (to, from) = bounded(limits::INSTRUMENT_COMMANDS);
            self.links.commands.own_waking(&format!("instrument/{id}"), &protocol.actions(), to, bell.wake());
            commands = from;
            let (to, from) = bounded(limits::INSTRUMENT_COMMANDS);
            let name = self.config.name.clone().unwrap_or_else(|| id.clone());
            let can = Offer { id: id.clone(), name, ..can };
            self.links.instruments.offer(can.clone(), to, bell.wake());
            asked = from;
            driven = Some(can);
        }
        let (offer, orders) = bounded(limits::SERIAL_ORDERS);
        let now = monotonic();
        let budget = Budget::new(self.config.max_rate, now);
        let life = Life::new(self.config.stale_after, now);
        let mut running = Running {
            source: self,
            protocol,
            life,
            port: None,
            dialled: never(),
            is_dialling: false,
            tape: None,
            out: Outbox::default(),
            budget,
            held: None,
            offer,
            orders,
            commands,
            asked,
            driven,
            bell,
            waiting: BTreeMap::new(),
            requests: 0,
            unasked: 0,
            ticked: now,
            read: now,
            there: true,
            told: (now, None),
            tape_failed: false,
        };
        running.open_tape();
        while !until.is_over() {
            if running.life.is_open() {
                running.serve();
            } else if running.await_device(until) {
                break;
            }
            running.take_commands();
            running.take_requests();
            running.step(Input::Tick);
            running.tell();
        }
        running.end(until);
    }
}

/// Wakes a port's thread, while its port is open: another one has another waker. While it is closed, the thread waits for
/// what comes as well as for its device.
#[derive(Clone, Default)]
struct Doorbell(Arc<Mutex<Option<Wake>>>);

impl Doorbell {
    fn set(&self, port: Option<Wake>) {
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = port;
    }

    fn wake(&self) -> Wake {
        let bell = self.clone();
        Arc::new(move || {
            let port = bell.0.lock().unwrap_or_else(|e| e.into_inner()).clone();
            if let Some(wake) = port {
                wake();
            }
        })
    }
}

/// A port's thread.
struct Running {
    source: SerialSource,
    protocol: Box<dyn Protocol>,
    life: Life,
    /// There while `life` is open.
    port: Option<Box<dyn Port>>,
    /// Where a port that is far comes from, while it is being opened.
    dialled: Receiver<io::Result<Box<dyn Port>>>,
    is_dialling: bool,
    tape: Option<Tape>,
    tape_failed: bool,
    out: Outbox,
    budget: Budget,
    held: Option<Vec<Reading>>,
    offer: Sender<Order>,
    orders: Receiver<Order>,
    commands: Receiver<Command>,
    /// What its instrument is asked.
    asked: Receiver<Asked>,
    /// What its instrument can do, if it is one.
    driven: Option<Offer>,
    /// Wakes this thread.
    bell: Doorbell,
    /// Requests that have not ended, by the id the protocol knows them by.
    waiting: BTreeMap<String, Asked>,
    requests: u64,
    /// Reads since something was sent.
    unasked: u32,
    /// When the protocol last heard of the time.
    ticked: Duration,
    /// When bytes last came, or the pause after them ended.
    read: Duration,
    /// Whether the device was there when a closed port last looked; taken as so when it is closed.
    there: bool,
    /// When the report was last brought up to date, and with which state.
    told: (Duration, Option<SourceState>),
}

impl Running {
    fn is_replay(&self) -> bool {
        matches!(self.source.config.device, Device::Replay(_))
    }

    /// Waits for a closed port's next try, or for its device to appear; true when it is time to end.
    fn await_device(&mut self, until: &Until) -> bool {
        let look = match self.source.config.device {
            Device::Usb(_) => LOOK_USB,
            Device::Tcp(_) => LOOK_SOCKET,
            _ => LOOK,
        };
        let wait = match self.is_dialling {
            true => look,
            false => self.life.next_try().saturating_sub(monotonic()).min(look),
        };
        if wait > Duration::ZERO {
            select! {
                recv(until.daemon.receiver()) -> _ => return true,
                recv(until.set.receiver()) -> _ => return true,
                recv(self.commands) -> command => match command {
                    Ok(command) => self.command(&command),
                    Err(_) => self.commands = never(),
                },
                recv(self.asked) -> asked => match asked {
                    Ok(asked) => self.request(asked),
                    Err(_) => self.asked = never(),
                },
                recv(self.dialled) -> port => {
                    (self.dialled, self.is_dialling) = (never(), false);
                    self.opened(port.unwrap_or_else(|_| Err(io::Error::other("it could not be dialled"))));
                    return false;
                }
                default(wait) => {}
            }
        }
        if self.is_dialling {
            return false;
        }
        // Whether somebody listens at the other end shows only when it is tried.
        if look == LOOK_SOCKET && wait == LOOK_SOCKET {
            self.step(Input::Appeared);
        }
        // One that appears is worth a try at once; one that was there all the time and failed waits for its turn.
        let before = std::mem::replace(&mut self.there, self.source.opener.is_there(&self.source.config));
        if self.there && !before {
            self.step(Input::Appeared);
        }
        self.step(Input::Try);
        false
    }

    /// Writes, reads and ticks once.
    fn serve(&mut self) {
        for order in self.orders.try_iter().collect::<Vec<_>>() {
            if let Order::Bytes(bytes) = order {
                self.out.push(&bytes, monotonic());
            }
        }
        self.write();
        let now = monotonic();
        if self.is_replay() && !self.budget.has(now) {
            // A file is not lost by waiting.
            std::thread::sleep(PACE);
            return;
        }
        let wake = self.protocol.wake().map_or(WAIT, |wake| wake.saturating_sub(now));
        // Bytes that wait to be sent are tried again soon.
        let wait = wake.min(if self.out.is_empty() { WAIT } else { 2 * PACE });
        let mut buffer = [0; READ];
        let Some(port) = &mut self.port else { return };
        let came = port.read(&mut buffer, wait);
        // What nobody waits for any more is not sent, even if it would be its turn now.
        self.give_up();
        self.stand_back();
        let actions = match came {
            Ok(0) => {
                self.ticked = monotonic();
                self.protocol.tick(self.ticked)
            }
            Ok(n) => {
                let bytes = buffer.get(..n).unwrap_or_default();
                let now = monotonic();
                self.record(Way::In, bytes, now);
                *self.source.counts.entry("bytes").or_default() += n as u64;
                let streaming = now.saturating_sub(self.read) < PACE && self.unasked > ANSWER;
                self.unasked = self.unasked.saturating_add(1);
                let actions = self.protocol.received(bytes, now);
                self.step(Input::Noise);
                self.act(actions);
                if streaming && self.life.is_open() {
                    std::thread::sleep(PACE);
                }
                self.read = monotonic();
                Vec::new()
            }
            Err(e) => return self.step(Input::HungUp { why: e.to_string(), chance: chance() }),
        };
        self.act(actions);
        let now = monotonic();
        let due = self.protocol.wake().is_some_and(|wake| wake <= now);
        if self.life.is_open() && (due || now.saturating_sub(self.ticked) >= TICK) {
            self.ticked = now;
            self.stand_back();
            let actions = self.protocol.tick(now);
            self.act(actions);
        }
    }

    /// Hands the device what it takes now.
    fn write(&mut self) {
        while !self.out.is_empty() {
            let Some(port) = &mut self.port else { return };
            let n = match port.write(self.out.next()) {
                Ok(n) => n,
                Err(e) => {
                    let why = format!("failed to write: {e}");
                    return self.step(Input::HungUp { why, chance: chance() });
                }
            };
            let now = monotonic();
            let sent = self.out.next().get(..n).unwrap_or_default().to_vec();
            self.record(Way::Out, &sent, now);
            if !self.out.took(n, now) {
                let id = &self.source.config.id;
                log::warn!("serial {id}: the device takes nothing of what is sent; it was dropped");
            }
            if n == 0 {
                return;
            }
        }
    }

    fn take_commands(&mut self) {
        for command in self.commands.try_iter().collect::<Vec<_>>() {
            self.command(&command);
        }
    }

    fn take_requests(&mut self) {
        for asked in self.asked.try_iter().collect::<Vec<_>>() {
            self.request(asked);
        }
    }

    /// A command from outside: a request of its own kind.
    fn command(&mut self, command: &Command) {
        let commands = Arc::clone(&self.source.links.commands);
        let Some(offer) = &self.driven else { return };
        let request = match Request::of(command, offer) {
            Ok(request) => request,
            Err(why) => return commands.finish(&command.id, CommandState::Rejected, None, Some(&why)),
        };
        // Somebody may have taken it since the command was accepted.
        if !matches!(request, Request::Stop | Request::Safe | Request::ClearError)
            && let Some(by) = self.source.links.instruments.used_by(&offer.id)
        {
            let (state, why) = (CommandState::Rejected, format!("it is in use by {by}"));
            return commands.finish_as(&command.id, state, Some("in_use"), None, Some(&why));
        }
        // Or an alert stands since.
        if let Some(refusal) = commands.refusal(&command.target, &command.action, &command.params) {
            let (state, why) = (CommandState::Rejected, refusal.text);
            return commands.finish_as(&command.id, state, Some(INTERLOCK), None, Some(&why));
        }
        if matches!(request, Request::Set { .. } | Request::Move { .. } | Request::Stop) {
            let settle = offer.channels.iter().map(|channel| channel.settle).max().unwrap_or_default();
            commands.allow(&command.id, limits::COMMAND_TIME + settle);
        }
        if let Some(why) = self.not_connected() {
            return commands.finish_as(
                &command.id,
                CommandState::Failed,
                Some(Failure::DeviceError.code()),
                None,
                Some(&why),
            );
        }
        let actions = self.protocol.ask(&command.id, &request, monotonic());
        self.act(actions);
    }

    /// A request from within.
    fn request(&mut self, asked: Asked) {
        if asked.is_given_up() {
            return;
        }
        if let Some(why) = self.not_connected() {
            let reason = Some(format!("{}: {why}", Failure::DeviceError.code()));
            let state = CommandState::Failed;
            let _ = asked.reply.try_send(Outcome { state, readings: Vec::new(), text: None, reason });
            return;
        }
        self.requests += 1;
        // No command can be called so.
        let id = format!("#{}", self.requests);
        let request = asked.request.clone();
        self.waiting.insert(id.clone(), asked);
        self.stand_back();
        let actions = self.protocol.ask(&id, &request, monotonic());
        self.act(actions);
    }

    fn not_connected(&self) -> Option<String> {
        if self.life.is_open() {
            return None;
        }
        let why = self.life.last_error.as_deref().unwrap_or("the port is being opened");
        Some(format!("not connected: {why}"))
    }

    fn give_up(&mut self) {
        let gone: Vec<String> =
            self.waiting.iter().filter(|(_, asked)| asked.is_given_up()).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.waiting.remove(&id);
            self.protocol.give_up(&id);
        }
    }

    /// What was commanded from outside and waits for its turn is not sent to an instrument that a scan has taken.
    fn stand_back(&mut self) {
        let links = &self.source.links;
        let Some(by) = self.driven.as_ref().and_then(|offer| links.instruments.used_by(&offer.id)) else {
            return;
        };
        for id in self.protocol.taken() {
            let why = format!("it is in use by {by}");
            links.commands.finish_as(&id, CommandState::Rejected, Some("in_use"), None, Some(&why));
        }
    }

    /// Tells whoever asked how it ended.
    fn finish(&mut self, end: Finish) {
        let Some(asked) = self.waiting.remove(&end.id) else {
            let reason = end.reason.as_deref().or(end.text.as_deref());
            return self.source.links.commands.finish_as(
                &end.id,
                end.state,
                end.code.map(Failure::code),
                None,
                reason,
            );
        };
        let reason = match (end.code, end.reason) {
            (Some(failure), Some(reason)) => Some(format!("{}: {reason}", failure.code())),
            (_, reason) => reason,
        };
        let reason = reason.filter(|_| end.state != CommandState::Completed);
        let state = if end.code == Some(Failure::Timeout) { CommandState::TimedOut } else { end.state };
        // Full or gone: nobody waits for it any more.
        let _ = asked.reply.try_send(Outcome { state, readings: end.readings, text: end.text, reason });
    }

    /// Does what the protocol wants done.
    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(bytes) => {
                    self.unasked = 0;
                    self.out.push(&bytes, monotonic());
                    self.write();
                }
                Action::Readings(readings) => self.readings(readings),
                Action::Heard => self.heard(),
                Action::Bad { line, why } => self.bad(&escape(&line), why),
                Action::Count(name, n) => *self.source.counts.entry(name).or_default() += n,
                Action::Detail(name, value) => self.source.report.detail(name, value),
                Action::Lost(why) => self.step(Input::Doubt(why)),
                Action::Motion(motion) => self.source.links.fold.motion(&self.source.feed, &motion),
                Action::Settings(settings) => {
                    self.heard();
                    self.source.links.fold.settings(&self.source.feed, &settings);
                }
                Action::Finish(end) => self.finish(end),
                Action::Flush => {
                    if let Some(Err(e)) = self.port.as_mut().map(|port| port.clear_input()) {
                        self.step(Input::HungUp { why: e.to_string(), chance: chance() });
                    }
                }
            }
        }
    }

    fn heard(&mut self) {
        self.source.report.seen(Wall::now());
        self.step(Input::Good);
    }

    /// Takes readings within the budget. Of those that are too many the last is held, so that what is shown in the end
    /// is what was said in the end.
    fn readings(&mut self, readings: Vec<Reading>) {
        let now = monotonic();
        if !self.is_replay() && !self.budget.has(now) {
            if self.held.replace(readings).is_some()
                && let Some(flood) = self.budget.drop_one(now)
            {
                self.flood(flood);
            }
            return self.heard();
        }
        if self.held.take().is_some() {
            // A newer one is here.
            self.budget.dropped += 1;
        }
        self.fold(&readings);
    }

    /// A receiver with a fix knows what time it is; a replay only knows what time it was.
    fn tell_time(&self, readings: &[Reading]) {
        if self.is_replay() || !matches!(self.source.config.protocol, ProtocolConfig::Nmea(_)) {
            return;
        }
        let time = readings.iter().find(|reading| reading.name == "time");
        if let Some(super::reading::Value::Text(text)) = time.map(|reading| &reading.value)
            && let Some(now) = Wall::parse(text)
        {
            self.source.links.bus.time().offer("gps", &self.source.config.id, now);
        }
    }

    fn fold(&mut self, readings: &[Reading]) {
        self.budget.take();
        self.tell_time(readings);
        let taken = self.source.links.fold.update(&self.source.feed, readings, Wall::now());
        if let Some(why) = taken.refused.into_iter().next() {
            let shown: Vec<String> =
                readings.iter().map(|r| format!("{} = {}", r.name, r.value.to_json())).collect();
            self.bad(&shown.join(", "), why);
        }
        if taken.used > 0 {
            // A part of it may have been no use: that is counted, but the device is understood.
            self.heard();
        }
    }

    /// What was not understood, as it is to be shown.
    fn bad(&mut self, shown: &str, why: String) {
        *self.source.counts.entry("bad_lines").or_default() += 1;
        let shown: String = shown.chars().take(limits::BAD_LINE).collect();
        self.source.report.detail("last_bad", json!({ "line": &shown, "why": &why, "at": Wall::now() }));
        self.step(Input::Bad(why));
    }

    fn flood(&self, flood: Flood) {
        let (alerts, id) = (&self.source.links.alerts, format!("source.{}.flood", self.source.config.id));
        let name = self.name();
        let most = self.source.config.max_rate;
        match flood {
            Flood::Begins => alerts.raise(
                &id,
                Severity::Minor,
                &format!("{name} sends more than {most} readings a second; the rest is counted and dropped"),
                "Let the device send less often, or raise max_rate of its port.",
            ),
            Flood::Ends => alerts.clear(&id, &format!("{name} sends at most {most} readings a second again")),
        }
    }

    /// One step of the port's life, and all that follows from it.
    fn step(&mut self, input: Input) {
        for effect in self.life.step(input, monotonic()) {
            let id = &self.source.config.id;
            match effect {
                Effect::Open => self.open(),
                Effect::Greet => self.greet(),
                Effect::Close => self.close(),
                Effect::Lost(why) => self.source.links.fold.lost(&self.source.feed, why),
                Effect::Info(text) => log::info!("serial {id}: `{}` {text}", self.source.config.device),
                Effect::Warn(text) => {
                    self.source.links.bus.metrics.source_errors_total.inc();
                    log::warn!("serial {id}: {text}");
                }
                Effect::Raise(text) if self.source.config.alert => self.source.links.alerts.raise(
                    &format!("source.{id}"),
                    Severity::Major,
                    &format!("{} {text}", self.name()),
                    &format!(
                        "Check the power and the cable of what is at {}. telltale listens again by itself.",
                        self.source.config.device
                    ),
                ),
                Effect::Clear(text) => {
                    let text = format!("{} {text}", self.name());
                    self.source.links.alerts.clear(&format!("source.{id}"), &text);
                }
                Effect::Raise(_) => {}
            }
        }
    }

    /// What people call it.
    fn name(&self) -> String {
        let config = &self.source.config;
        config.name.clone().unwrap_or_else(|| format!("serial port {}", config.id))
    }

    fn open(&mut self) {
        if !self.source.opener.is_far() {
            return self.opened(self.source.opener.open(&self.source.config));
        }
        let (tell, from) = bounded(1);
        let (opener, config) = (Arc::clone(&self.source.opener), self.source.config.clone());
        // Nobody takes it any more when the port has ended meanwhile.
        let work = move || drop(tell.try_send(opener.open(&config)));
        match dial(&self.source.config.id, work) {
            Ok(()) => (self.dialled, self.is_dialling) = (from, true),
            Err(e) => self.opened(Err(io::Error::new(e.kind(), format!("no thread to open it: {e}")))),
        }
    }

    fn opened(&mut self, port: io::Result<Box<dyn Port>>) {
        let result = match port {
            Ok(open) => {
                self.bell.set(open.waker());
                self.port = Some(open);
                Input::Opened
            }
            Err(e) => {
                let absent = e.kind() == io::ErrorKind::NotFound;
                Input::Failed { absent, why: e.to_string(), chance: chance() }
            }
        };
        self.step(result);
    }

    fn greet(&mut self) {
        let now = monotonic();
        self.record(Way::Remark, b"open", now);
        // Orders from before were for what was there before.
        self.orders.try_iter().for_each(drop);
        self.source.links.outlets.offer(&self.source.config.id, self.offer.clone());
        if let Some(hello) = &self.source.config.hello {
            self.out.push(hello.as_bytes(), now);
        }
        self.ticked = now;
        let actions = self.protocol.opened(now);
        self.act(actions);
        self.write();
    }

    fn close(&mut self) {
        self.port = None;
        self.bell.set(None);
        self.there = true;
        self.source.links.outlets.withdraw(&self.source.config.id);
        self.record(Way::Remark, b"closed", monotonic());
        self.out.clear();
        self.held = None;
        let actions = self.protocol.closed();
        self.act(actions);
        self.out.clear();
    }

    fn open_tape(&mut self) {
        let Some(capture) = &self.source.config.capture else { return };
        match Tape::open(capture, &self.source.config, monotonic()) {
            Ok(tape) => {
                self.tape = Some(tape);
                self.source.report.detail("capture", capture.file.to_string_lossy());
            }
            Err(e) => self.no_tape(&e),
        }
    }

    fn record(&mut self, way: Way, bytes: &[u8], now: Duration) {
        if let Some(tape) = &mut self.tape
            && let Err(e) = if bytes.is_empty() { tape.flush(now) } else { tape.write(way, bytes, now) }
        {
            self.tape = None;
            self.no_tape(&e);
        }
    }

    fn no_tape(&mut self, e: &io::Error) {
        if !std::mem::replace(&mut self.tape_failed, true) {
            log::warn!("serial {}: the capture ends: {e}", self.source.config.id);
        }
        self.source.report.detail("capture", format!("failed: {e}"));
    }

    fn tell(&mut self) {
        let now = monotonic();
        self.record(Way::In, b"", now);
        if let Some(flood) = self.budget.calm(now) {
            self.flood(flood);
        }
        if self.life.is_open()
            && self.budget.has(now)
            && let Some(held) = self.held.take()
        {
            self.fold(&held);
        }
        let state = self.life.state();
        if self.told.1 == Some(state) && now.saturating_sub(self.told.0) < TELL {
            return;
        }
        self.told = (now, Some(state));
        let counts = &mut self.source.counts;
        counts.entry("bytes").or_default();
        counts.entry("bad_lines").or_default();
        // Those that are seldom anything but zero are shown once they are.
        for (name, n) in [
            ("dropped", self.budget.dropped),
            ("unsent_bytes", self.out.dropped),
            ("stalls", self.life.stalls),
        ] {
            if n > 0 {
                counts.insert(name, n);
            }
        }
        for (name, n) in counts {
            self.source.report.detail(name, *n);
        }
        let life = &self.life;
        self.source.report.state(state);
        self.source.report.faults(life.errors, life.reconnects, life.last_error.as_deref());
        self.source.report.flush(&self.source.links.bus);
    }

    fn end(mut self, until: &Until) {
        let (id, links) = (self.source.config.id.clone(), self.source.links.clone());
        links.outlets.withdraw(&id);
        if let Some(driven) = &self.driven {
            links.instruments.withdraw(&driven.id);
            links.commands.disown(&format!("instrument/{}", driven.id));
        }
        self.port = None;
        self.bell.set(None);
        let actions = self.protocol.closed();
        // Requests end; what it says of its input does not matter any more.
        let ends = actions.into_iter().filter(|action| matches!(action, Action::Finish(_))).collect();
        self.act(ends);
        // Those that came too late for that end as well: the port is not open any more.
        self.take_commands();
        self.take_requests();
        if until.daemon.is_stopped() {
            return;
        }
        // A reload, not the end: whatever is configured next must not be taken for this.
        let why = "the configuration was loaded again";
        if self.life.is_alerted() {
            links.alerts.clear(&format!("source.{id}"), &format!("{}: {why}", self.name()));
        }
        links.alerts.clear(&format!("source.{id}.flood"), &format!("{}: {why}", self.name()));
        links.fold.lost(&self.source.feed, QualityReason::NotConnected);
        self.source.report.state(SourceState::Disabled);
        self.source.report.faults(self.life.errors, self.life.reconnects, Some(why));
        self.source.report.flush(&links.bus);
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
            let bus =
                Arc::new(Bus::new(Start { epoch: 1, ..Start::default() }, Arc::new(Metrics::default())));
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
}
