//! Outputs: pins that are driven, on a thread of their own, so that an order is done at once and a pulse is as long as
//! it was asked for, whatever the inputs do.
//!
//! **Promises.** A pin has its initial level before it drives; after every write the level is read back, and only then
//! is the command done; once a second it is read again. At a stop, and when a pin is no longer configured, it is left
//! with its safe level; a reload leaves a pin that stays configured as it is. **Not promised.** A killed process (and
//! a panic) does nothing: the pin keeps its level. Orders come as commands to the instrument (`set`, `pulse`), as requests
//! to the instrument that every output is under its own id, with the channel [`LEVEL`], and through [`Outlets`] under the
//! source's id; the later order ends an earlier pulse.

use super::super::fold::Feed;
use super::super::hardware::{OpenPins, Pins, PinsError};
use super::super::inputs::Until;
use super::super::instruments::{Asked, ChannelOffer, Failure, Offer, Outcome, Request, Setting};
use super::super::monotonic;
use super::super::outlets::{Order, Outlets};
use super::super::publish::Report;
use super::super::reading::{Reading, Value};
use super::Desk;
use crate::bus::{Command, Commands, INTERLOCK, Refusal};
use crate::clock::Wall;
use crate::config::{GpioPin, Output, Sink};
use crate::limits;
use crate::model::{CommandState, QualityReason, Severity, SourceState};
use crossbeam::channel::{Receiver, Select, Sender, bounded};
use serde_json::{Map, Value as Json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often levels are read again and refused pins tried again.
const CHECK: Duration = Duration::from_secs(1);
/// A load with a capacitor takes a moment to follow: how long a level may need until it reads as it was written.
const SETTLE: Duration = Duration::from_millis(50);
const SETTLE_STEP: Duration = Duration::from_micros(250);
/// How often a chip that failed is opened again, at most.
const RETRY_MOST: Duration = Duration::from_secs(60);
/// The channel of the instrument that a pin is under its own id.
pub(super) const LEVEL: &str = "level";
/// What an output's instrument takes; `safe` is the last, as not every one has it.
const ACTIONS: [&str; 3] = ["set", "pulse", "safe"];

/// The outputs this process drives, with their safe levels: they outlive a reload.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<BTreeMap<u8, Option<bool>>>>);

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u8, Option<bool>>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// All the outputs of a configuration.
pub(in crate::sources) struct OutputSource {
    lines: Vec<Line>,
    /// Pins that are inputs now: whatever they were before.
    inputs: BTreeSet<u8>,
    opener: Arc<dyn OpenPins>,
    desk: Desk,
    commands: Arc<Commands>,
    outlets: Arc<Outlets>,
    held: Held,
    /// What can be asked: of each instrument its channels, each with its line, and where requests come from.
    driven: Vec<Driving>,
}

/// An instrument of outputs.
struct Driving {
    offer: Offer,
    channels: Vec<(String, usize)>,
    to: Sender<Asked>,
    asked: Receiver<Asked>,
}

/// One output.
struct Line {
    config: GpioPin,
    output: Output,
    feed: Option<Feed>,
    report: Report,
    orders: Receiver<Order>,
    state: Driven,
    claimed: bool,
    writes: u64,
    faults: u64,
    said: Option<String>,
}

/// What an output does: a pure machine. Active and inactive are logical.
#[derive(Debug, Default, PartialEq, Eq)]
struct Driven {
    active: bool,
    /// The pulse under way: when it ends, and the command that asked for it.
    pulse: Option<(Duration, Option<String>)>,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
enum Do {
    /// Drive this level; once it reads so, this command is done.
    Write(bool, Option<String>),
    /// A later order came.
    Superseded(String),
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Level(bool),
    Pulse(Duration),
}

impl Driven {
    fn order(&mut self, wish: Wish, command: Option<String>, now: Duration) -> Vec<Do> {
        let mut done = Vec::new();
        if let Some((_, Some(earlier))) = self.pulse.take() {
            done.push(Do::Superseded(earlier));
        }
        match wish {
            Wish::Level(active) => {
                self.active = active;
                done.push(Do::Write(active, command));
            }
            Wish::Pulse(time) => {
                self.active = true;
                self.pulse = Some((now + time, command));
                done.push(Do::Write(true, None));
            }
        }
        done
    }

    fn deadline(&self) -> Option<Duration> {
        self.pulse.as_ref().map(|(until, _)| *until)
    }

    fn tick(&mut self, now: Duration) -> Option<Do> {
        self.pulse.take_if(|(until, _)| now >= *until).map(|(_, command)| {
            self.active = false;
            Do::Write(false, command)
        })
    }

    /// Ends a pulse early.
    fn end(&mut self) -> Vec<Do> {
        if self.pulse.is_some() { self.order(Wish::Level(false), None, Duration::ZERO) } else { Vec::new() }
    }
}

impl OutputSource {
    /// The outputs among `pins`; their targets are announced at once. None: there are none, and none to let go of.
    pub fn new(
        pins: &[GpioPin],
        opener: Arc<dyn OpenPins>,
        desk: Desk,
        commands: Arc<Commands>,
        outlets: Arc<Outlets>,
        held: Held,
    ) -> Option<Self> {
        let mut lines = Vec::new();
        for pin in pins.iter().take(limits::GPIO_PINS) {
            let Some(output) = pin.output.clone() else { continue };
            let (to, orders) = bounded(limits::ORDERS);
            outlets.offer(&pin.id, to);
            let line = Line::new(pin.clone(), output, orders);
            if let Some(feed) = &line.feed {
                desk.fold.expect(feed);
            }
            lines.push(line);
        }
        let inputs = pins.iter().filter(|pin| pin.output.is_none()).map(|pin| pin.pin).collect();
        let idle = lines.is_empty() && held.lock().is_empty();
        let driven = driving(&lines);
        for instrument in &driven {
            if lines.iter().any(|line| line.instrument().as_deref() == Some(&instrument.offer.id)) {
                desk.fold.describe(&instrument.offer.id, &instrument.offer);
            }
        }
        (!idle).then_some(OutputSource { lines, inputs, opener, desk, commands, outlets, held, driven })
    }

    /// Serves the outputs until it is over.
    pub fn run(mut self, until: &Until) {
        let mut retry = CHECK;
        let mut said = String::new();
        for instrument in &self.driven {
            let (offer, to) = (instrument.offer.clone(), instrument.to.clone());
            // Its thread waits for requests as for everything else.
            self.desk.instruments.offer(offer, to, Arc::new(|| ()));
        }
        while !until.is_over() {
            let failed = match self.opener.open() {
                Ok(mut pins) => {
                    self.serve(&mut *pins, until);
                    break;
                }
                Err(PinsError::NoBoard) => {
                    if !self.lines.is_empty() {
                        let n = self.lines.len();
                        log::warn!(
                            "gpio is absent: {}; none of the outputs ({n}) is driven",
                            PinsError::NoBoard
                        );
                    }
                    self.all(SourceState::Absent, &PinsError::NoBoard.to_string());
                    break;
                }
                Err(e) => e.to_string(),
            };
            if failed != said {
                self.desk.bus.metrics.source_errors_total.inc();
                log::error!("outputs can't be driven: {failed}; trying again");
                said.clone_from(&failed);
            }
            self.all(SourceState::Error, &failed);
            if self.wait(&failed, until, retry) {
                break;
            }
            retry = (retry * 3 / 2).min(RETRY_MOST);
        }
        // Without a board there is nothing to be driven until the end.
        while !until.is_over() && !self.driven.is_empty() {
            self.wait(&PinsError::NoBoard.to_string(), until, RETRY_MOST);
        }
        for line in &self.lines {
            self.outlets.withdraw(&line.config.id);
        }
        for instrument in &self.driven {
            self.desk.instruments.withdraw(&instrument.offer.id);
        }
        if !until.daemon.is_stopped() {
            self.all(SourceState::Disabled, "the configuration was loaded again");
        }
    }

    /// Waits at most `time` and refuses what is asked meanwhile; true when it is time to end.
    fn wait(&self, why: &str, until: &Until, time: Duration) -> bool {
        let end = monotonic() + time;
        loop {
            let left = end.saturating_sub(monotonic());
            if left == Duration::ZERO {
                return until.is_over();
            }
            let mut select = Select::new();
            select.recv(until.daemon.receiver());
            select.recv(until.set.receiver());
            for instrument in &self.driven {
                select.recv(&instrument.asked);
            }
            match select.ready_timeout(left) {
                Ok(0 | 1) => return true,
                Ok(n) => {
                    if let Some(Ok(asked)) = self.driven.get(n - 2).map(|d| d.asked.try_recv()) {
                        let why = format!("device_error: {why}");
                        let _ = asked.reply.try_send(Outcome::not(CommandState::Failed, why));
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn all(&mut self, state: SourceState, why: &str) {
        for line in &mut self.lines {
            line.report.state(state);
            line.report.faults(line.faults, 0, Some(why));
            line.report.flush(&self.desk.bus);
            if let Some(feed) = &line.feed {
                self.desk.fold.lost(feed, QualityReason::NotConnected);
            }
        }
    }

    fn serve(&mut self, pins: &mut dyn Pins, until: &Until) {
        self.let_go(pins);
        for line in &mut self.lines {
            line.claim(pins, &self.desk, &self.held);
        }
        let (to, commands) = bounded(limits::ORDERS);
        let instruments: BTreeSet<String> = self.lines.iter().filter_map(Line::instrument).collect();
        for id in &instruments {
            // Where no output has a safe level there is none to be had.
            let driven = self.driven.iter().find(|driving| driving.offer.id == *id);
            let safe = driven.is_some_and(|driving| !driving.offer.safe.is_empty());
            let actions = if safe { &ACTIONS[..] } else { &ACTIONS[..ACTIONS.len() - 1] };
            self.commands.own_with(&format!("instrument/{id}"), actions, to.clone());
        }
        let mut check = monotonic() + CHECK;
        while !until.is_over() {
            let due = self.lines.iter().filter_map(|l| l.state.deadline()).chain([check]).min();
            let wait = due.map_or(CHECK, |due| due.saturating_sub(monotonic()));
            match self.next(&commands, until, wait) {
                Some(Came::Command(command)) => self.command(&command, pins),
                Some(Came::Order(line, order)) => self.order(line, order, pins),
                Some(Came::Asked(n, asked)) if !asked.is_given_up() => {
                    let outcome = self.request(n, &asked.request, pins);
                    let _ = asked.reply.try_send(outcome);
                }
                Some(Came::Asked(..)) | None => {}
            }
            let now = monotonic();
            for line in &mut self.lines {
                if let Some(done) = line.state.tick(now) {
                    line.act(vec![done], pins, &self.desk, &self.commands);
                }
            }
            if now >= check {
                check = now + CHECK;
                for line in &mut self.lines {
                    line.every_second(pins, &self.desk, &self.held);
                }
            }
        }
        for id in &instruments {
            self.commands.disown(&format!("instrument/{id}"));
        }
        for command in commands.try_iter() {
            self.commands.finish(&command.id, CommandState::Failed, None, Some("telltale is stopping"));
        }
        let stops = until.daemon.is_stopped();
        for line in &mut self.lines {
            line.release(pins, stops, &self.desk, &self.commands, &self.held);
        }
    }

    /// Waits for the next order, at most `time`.
    fn next(&self, commands: &Receiver<Command>, until: &Until, time: Duration) -> Option<Came> {
        let mut select = Select::new();
        select.recv(until.daemon.receiver());
        select.recv(until.set.receiver());
        let command = select.recv(commands);
        let first = command + 1;
        for line in &self.lines {
            select.recv(&line.orders);
        }
        for instrument in &self.driven {
            select.recv(&instrument.asked);
        }
        let ready = select.ready_timeout(time).ok()?;
        if ready == command {
            return commands.try_recv().ok().map(Came::Command);
        }
        let n = ready.checked_sub(first)?;
        if let Some(line) = self.lines.get(n) {
            return Some(Came::Order(n, line.orders.try_recv().ok()?));
        }
        let n = n - self.lines.len();
        Some(Came::Asked(n, self.driven.get(n)?.asked.try_recv().ok()?))
    }

    /// Leaves pins that are no outputs any more with their safe level.
    fn let_go(&self, pins: &mut dyn Pins) {
        let ours: BTreeSet<u8> = self.lines.iter().map(|l| l.config.pin).collect();
        let gone: Vec<(u8, Option<bool>)> = {
            let mut held = self.held.lock();
            let gone = held.iter().filter(|(pin, _)| !ours.contains(pin)).map(|(p, s)| (*p, *s)).collect();
            held.retain(|pin, _| ours.contains(pin));
            gone
        };
        for (pin, safe) in gone {
            if self.inputs.contains(&pin) {
                continue;
            }
            match pins.claim_output(pin, safe) {
                Ok(()) => {
                    log::info!("gpio: pin {pin} is no output any more; it is left {}", words(safe));
                    pins.release(pin);
                }
                Err(e) => {
                    log::error!("gpio: pin {pin} is no output any more, but it can't be left safe: {e}")
                }
            }
        }
    }

    fn order(&mut self, line: usize, order: Order, pins: &mut dyn Pins) {
        let Some(line) = self.lines.get_mut(line) else { return };
        if !line.claimed {
            log::warn!("gpio {}: an order is not done, the pin can't be driven", line.config.id);
            return;
        }
        let wish = match order {
            Order::Level(active) => Wish::Level(active),
            Order::Pulse(time) => Wish::Pulse(time.min(line.output.pulse_max)),
            Order::Bytes(_) => {
                log::warn!("gpio {}: a pin can't send bytes", line.config.id);
                return;
            }
        };
        let done = line.state.order(wish, None, monotonic());
        line.act(done, pins, &self.desk, &self.commands);
    }

    /// What an instrument of outputs is asked.
    fn request(&mut self, n: usize, request: &Request, pins: &mut dyn Pins) -> Outcome {
        let rejected = |why: String| Outcome::not(CommandState::Rejected, why);
        let Some(instrument) = self.driven.get(n) else { return rejected("there is no such output".into()) };
        let line = |name: &str| {
            let found = instrument.channels.iter().find(|(channel, _)| channel == name);
            found
                .map(|(name, n)| (name.clone(), *n))
                .ok_or_else(|| format!("{name:?} is no output of this instrument"))
        };
        let wanted = match request {
            Request::Set { channel, to, .. } => {
                line(channel).and_then(|of| Ok(vec![(of, Some(level_wanted(to)?))]))
            }
            Request::Move { to, .. } => {
                let one = |(name, to): &(String, Setting)| Ok((line(name)?, Some(level_wanted(to)?)));
                to.iter().map(one).collect()
            }
            Request::Read { channels } => channels.iter().map(|name| Ok((line(name)?, None))).collect(),
            Request::Safe => {
                let of = |(name, n): &(String, usize)| {
                    let line = self.lines.get(*n)?;
                    Some(((name.clone(), *n), Some(line.output.safe.high()? != line.config.active_low)))
                };
                Ok(instrument.channels.iter().filter_map(of).collect())
            }
            Request::Query(_) => Err("a pin takes no text".to_string()),
            Request::Stop | Request::ClearError => Err("a pin has nothing to stop or to clear".to_string()),
        };
        let wanted: Vec<((String, usize), Option<bool>)> = match wanted {
            Ok(wanted) => wanted,
            Err(why) => return rejected(why),
        };
        // One pin that can't be made safe does not keep the others from it; of anything else the rest is not done.
        let goes_on = *request == Request::Safe;
        let (mut readings, mut failed) = (Vec::new(), None);
        for ((name, n), to) in wanted {
            if failed.is_some() && !goes_on {
                break;
            }
            let Some(line) = self.lines.get_mut(n) else { continue };
            if !line.claimed {
                let why = line.said.clone().unwrap_or_else(|| "it can't be driven now".into());
                failed.get_or_insert_with(|| format!("device_error: {}: {why}", line.config.id));
                continue;
            }
            // What it was asked through is free, but the pin under its other id may not be.
            let refused = match to {
                Some(active) if !goes_on => line.refusal(&self.commands, "set", &active.into()),
                _ => None,
            };
            if let Some(refusal) = refused {
                failed.get_or_insert_with(|| format!("{INTERLOCK}: {}", refusal.text));
                continue;
            }
            let fault = match to {
                Some(active) => {
                    let done = line.state.order(Wish::Level(active), None, monotonic());
                    line.act(done, pins, &self.desk, &self.commands)
                }
                None => {
                    let high = line.state.active != line.config.active_low;
                    line.tell(pins.level(line.config.pin), high, &self.desk)
                }
            };
            if let (Some(why), Some(_)) = (fault, to) {
                failed.get_or_insert_with(|| format!("{}: {why}", Failure::NotInTolerance.code()));
                continue;
            }
            let active = pins.level(line.config.pin).map(|high| high != line.config.active_low);
            let value = match active {
                Some(active) => Value::Number(f64::from(u8::from(active))),
                None => Value::Missing(QualityReason::DeviceError),
            };
            readings.push(Reading { name, value, unit: None });
        }
        match failed {
            Some(why) => Outcome::not(CommandState::Failed, why),
            None => Outcome::done(readings),
        }
    }

    fn command(&mut self, command: &Command, pins: &mut dyn Pins) {
        let refuse = |why: &str| {
            self.commands.finish(&command.id, CommandState::Rejected, None, Some(why));
        };
        let instrument = command.target.strip_prefix("instrument/");
        if command.action == "safe" {
            let n = self.driven.iter().position(|driving| Some(driving.offer.id.as_str()) == instrument);
            let outcome = match n {
                Some(n) => self.request(n, &Request::Safe, pins),
                None => return refuse("there is no such output"),
            };
            return self.commands.finish(&command.id, outcome.state, None, outcome.reason.as_deref());
        }
        let Some(channel) = command.params.get("channel").and_then(Json::as_str) else {
            return refuse("`channel` is missing; expected the name of an output");
        };
        let ours = |line: &&mut Line| line.instrument().as_deref() == instrument && line.channel() == channel;
        let Some(line) = self.lines.iter_mut().find(ours) else {
            return refuse(&format!("{channel:?} is no output of this instrument"));
        };
        if !line.claimed {
            return refuse(&format!("the output {} can't be driven now", line.config.id));
        }
        if let Some(by) = self.desk.instruments.used_by(&line.config.id) {
            let (id, why) = (&command.id, format!("{} is in use by {by}", line.config.id));
            return self.commands.finish_as(id, CommandState::Rejected, Some("in_use"), None, Some(&why));
        }
        // An alert may stand since it was accepted, or on the pin under its other id.
        let value = command.params.get("value").unwrap_or(&Json::Null);
        if let Some(refusal) = line.refusal(&self.commands, &command.action, value) {
            let (id, state) = (&command.id, CommandState::Rejected);
            return self.commands.finish_as(id, state, Some(INTERLOCK), None, Some(&refusal.text));
        }
        let wish = match wish(command, &line.output) {
            Ok(wish) => wish,
            Err(why) => return refuse(&why),
        };
        let done = line.state.order(wish, Some(command.id.clone()), monotonic());
        line.act(done, pins, &self.desk, &self.commands);
    }
}

enum Came {
    Command(Command),
    Order(usize, Order),
    Asked(usize, Asked),
}

/// The instruments that outputs are: each under its own id, and those they are channels of.
fn driving(lines: &[Line]) -> Vec<Driving> {
    let mut all: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for (n, line) in lines.iter().enumerate() {
        all.entry(line.config.id.clone()).or_default().push((LEVEL.to_string(), n));
        if let Some(instrument) = line.instrument() {
            all.entry(instrument).or_default().push((line.channel().to_string(), n));
        }
    }
    // All of an instrument with a single pin is that pin.
    let only = |id: &str| {
        let mut pins = lines.iter().filter(|line| line.instrument().as_deref() == Some(id));
        pins.next().filter(|_| pins.next().is_none()).map(|line| line.config.id.clone())
    };
    let own = |id: &str| lines.iter().find(|line| line.config.id == id).and_then(Line::instrument);
    let made = all.into_iter().map(|(id, channels)| {
        let (to, asked) = bounded(limits::INSTRUMENT_COMMANDS);
        let safe = |n: usize| lines.get(n).is_some_and(|line| line.output.safe.high().is_some());
        let safe =
            channels.iter().filter(|(_, n)| safe(*n)).map(|(name, _)| format!("{name} to its safe level"));
        let offer = Offer {
            name: id.clone(),
            safe: safe.collect(),
            timeout: SETTLE,
            channels: channels.iter().map(|(name, _)| level_of(name, true)).collect(),
            same_as: own(&id).into_iter().chain(only(&id)).filter(|other| *other != id).collect(),
            id,
            ..Offer::default()
        };
        Driving { offer, channels, to, asked }
    });
    made.collect()
}

/// A pin as a channel.
pub(super) fn level_of(name: &str, settable: bool) -> ChannelOffer {
    ChannelOffer {
        name: name.to_string(),
        settable,
        readable: true,
        min: settable.then_some(0.0),
        max: settable.then_some(1.0),
        words: if settable { vec!["off".into(), "on".into()] } else { Vec::new() },
        settle: if settable { SETTLE } else { Duration::ZERO },
        ..ChannelOffer::default()
    }
}

/// The level that a setting asks for.
fn level_wanted(to: &Setting) -> Result<bool, String> {
    match to {
        Setting::Number(0.0) => Ok(false),
        Setting::Number(1.0) => Ok(true),
        Setting::Word(word) if word.eq_ignore_ascii_case("off") || word == "0" => Ok(false),
        Setting::Word(word) if word.eq_ignore_ascii_case("on") || word == "1" => Ok(true),
        other => Err(format!("limit: `value` is {other}; expected 1 or 0, on or off")),
    }
}

/// What a command asks of an output.
fn wish(command: &Command, output: &Output) -> Result<Wish, String> {
    let of = |name: &str| command.params.get(name);
    if command.action == "pulse" {
        let most = output.pulse_max.as_millis() as f64;
        return match of("ms").and_then(Json::as_f64) {
            Some(ms) if ms >= 1.0 && ms <= most => Ok(Wish::Pulse(Duration::from_secs_f64(ms / 1_000.0))),
            _ => Err(format!("`ms` is {}; expected a number from 1 to {most}", shown(of("ms")))),
        };
    }
    match of("value") {
        Some(Json::Bool(active)) => Ok(Wish::Level(*active)),
        Some(Json::Number(n)) if n.as_f64() == Some(1.0) => Ok(Wish::Level(true)),
        Some(Json::Number(n)) if n.as_f64() == Some(0.0) => Ok(Wish::Level(false)),
        Some(Json::String(word)) if word == "on" => Ok(Wish::Level(true)),
        Some(Json::String(word)) if word == "off" => Ok(Wish::Level(false)),
        other => {
            Err(format!("`value` is {}; expected true or false, 1 or 0, \"on\" or \"off\"", shown(other)))
        }
    }
}

fn shown(value: Option<&Json>) -> String {
    value.map_or("missing".into(), |v| v.to_string().chars().take(40).collect())
}

fn words(level: Option<bool>) -> &'static str {
    match level {
        Some(true) => "high",
        Some(false) => "low",
        None => "as it is",
    }
}

impl Line {
    fn new(config: GpioPin, output: Output, orders: Receiver<Order>) -> Self {
        let feed = config.sink.clone().map(|sink| Feed {
            source: config.id.clone(),
            sink,
            name: None,
            timeout: None,
            several: false,
        });
        let mut report = Report::new(&config.id, "gpio", CHECK);
        report.detail("pin", config.pin);
        report.detail("direction", "output");
        Line {
            config,
            output,
            feed,
            report,
            orders,
            state: Driven::default(),
            claimed: false,
            writes: 0,
            faults: 0,
            said: None,
        }
    }

    fn instrument(&self) -> Option<String> {
        match &self.config.sink {
            Some(Sink::Instrument(id)) => Some(id.clone()),
            _ => None,
        }
    }

    fn channel(&self) -> &str {
        self.config.active.as_deref().unwrap_or(&self.config.id)
    }

    /// What keeps the pin from being driven, under its own id or as a channel of its instrument, whichever was asked.
    fn refusal(&self, commands: &Commands, action: &str, value: &Json) -> Option<Refusal> {
        let of = |id: &str, channel: &str| {
            let params = [("channel".to_string(), channel.into()), ("value".to_string(), value.clone())];
            commands.refusal(&format!("instrument/{id}"), action, &Map::from_iter(params))
        };
        let own = of(&self.config.id, LEVEL);
        own.or_else(|| of(&self.instrument()?, self.channel()))
    }

    /// Takes the pin: with its initial level, or as it is when it was ours before a reload.
    fn claim(&mut self, pins: &mut dyn Pins, desk: &Desk, held: &Held) {
        let (id, pin) = (&self.config.id, self.config.pin);
        let was_ours = held.lock().contains_key(&pin);
        let initial = if was_ours { None } else { self.output.initial.high() };
        if let Err(e) = pins.claim_output(pin, initial) {
            let said = e.to_string();
            if self.said.as_ref() != Some(&said) {
                desk.bus.metrics.source_errors_total.inc();
                log::error!("gpio {id}: pin {pin} can't be driven: {said}");
                self.report.faults(1, 0, Some(&said));
                self.missed(&said, desk);
                self.said = Some(said);
            }
            self.report.state(SourceState::Error);
            self.report.flush(&desk.bus);
            return;
        }
        held.lock().insert(pin, self.output.safe.high());
        if self.said.take().is_some() {
            desk.alerts.clear(&format!("source.{id}"), &format!("The output {id} is driven again."));
        }
        let high = match initial {
            Some(high) => high,
            None => pins.level(pin).unwrap_or(false),
        };
        log::info!("gpio {id}: pin {pin} is an output and {}", if high { "high" } else { "low" });
        self.claimed = true;
        self.state = Driven { active: high != self.config.active_low, pulse: None };
        self.report.faults(0, 0, None);
        let read = self.read_back(high, pins);
        self.tell(read, high, desk);
    }

    /// Does what the machine says, and tells what became of it; gives what is wrong with the level at the end.
    fn act(&mut self, all: Vec<Do>, pins: &mut dyn Pins, desk: &Desk, commands: &Commands) -> Option<String> {
        let mut wrong = None;
        for done in all {
            match done {
                Do::Superseded(id) => {
                    commands.finish(&id, CommandState::Superseded, None, Some("a later order came"));
                }
                Do::Write(active, command) => {
                    let high = active != self.config.active_low;
                    pins.write(self.config.pin, high);
                    self.writes += 1;
                    let read = self.read_back(high, pins);
                    let fault = self.tell(read, high, desk);
                    wrong.clone_from(&fault);
                    let Some(id) = command else { continue };
                    match fault {
                        None => commands.finish(
                            &id,
                            CommandState::Completed,
                            Some(if active { "active" } else { "inactive" }),
                            None,
                        ),
                        Some(why) => commands.finish(&id, CommandState::Failed, None, Some(&why)),
                    }
                }
            }
        }
        wrong
    }

    /// The level on the pin, given a moment to become what was written.
    fn read_back(&self, high: bool, pins: &dyn Pins) -> Option<bool> {
        let start = monotonic();
        loop {
            let level = pins.level(self.config.pin);
            if level == Some(high) || monotonic().saturating_sub(start) > SETTLE {
                return level;
            }
            std::thread::sleep(SETTLE_STEP);
        }
    }

    /// Publishes how the output stands; gives what is wrong with it.
    fn tell(&mut self, read: Option<bool>, written: bool, desk: &Desk) -> Option<String> {
        let word = |high| if high { "high" } else { "low" };
        let fault = match read {
            Some(read) if read == written => None,
            Some(read) => Some(format!(
                "pin {} was set {} but reads {}: a short circuit, or a load that is too heavy",
                self.config.pin,
                word(written),
                word(read)
            )),
            None => Some(format!("pin {} can't be read", self.config.pin)),
        };
        let (id, now) = (&self.config.id, Wall::now());
        match &fault {
            None if self.said.take().is_some() => {
                desk.alerts.clear(&format!("source.{id}"), &format!("The output {id} follows again."));
            }
            Some(why) if self.said.as_ref() != Some(why) => {
                desk.bus.metrics.source_errors_total.inc();
                self.faults += 1;
                self.missed(why, desk);
                self.said = Some(why.clone());
            }
            _ => {}
        }
        self.report.state(if fault.is_none() { SourceState::Ok } else { SourceState::Error });
        self.report.faults(self.faults, 0, fault.as_deref());
        let active = read.map(|high| high != self.config.active_low);
        let mut changed = self.report.changes("level", read.map(u8::from));
        changed |= self.report.changes("active", active);
        changed |= self.report.changes("writes", self.writes);
        if let Some(feed) = &self.feed
            && changed
        {
            let value = match active {
                Some(active) => Value::Number(f64::from(u8::from(active))),
                None => Value::Missing(QualityReason::DeviceError),
            };
            let reading = Reading { name: self.channel().to_string(), value, unit: None };
            desk.fold.update(feed, &[reading], now);
        }
        if changed {
            self.report.seen(now);
        }
        self.report.flush(&desk.bus);
        fault
    }

    fn missed(&self, why: &str, desk: &Desk) {
        let id = &self.config.id;
        desk.alerts.raise(
            &format!("source.{id}"),
            Severity::Major,
            &format!("The output {id} does not do what it should: {why}."),
            "Check what is connected to the pin; see docs/hardware.md, Outputs.",
        );
    }

    fn every_second(&mut self, pins: &mut dyn Pins, desk: &Desk, held: &Held) {
        if !self.claimed {
            return self.claim(pins, desk, held);
        }
        let high = self.state.active != self.config.active_low;
        self.tell(pins.level(self.config.pin), high, desk);
    }

    /// At the end: ends a pulse, and drives the safe level unless it goes on after a reload.
    fn release(&mut self, pins: &mut dyn Pins, stops: bool, desk: &Desk, commands: &Commands, held: &Held) {
        if !self.claimed {
            return;
        }
        let done = self.state.end();
        self.act(done, pins, desk, commands);
        let pin = self.config.pin;
        if stops {
            if let Some(safe) = self.output.safe.high() {
                pins.write(pin, safe);
                self.read_back(safe, pins);
            }
            held.lock().remove(&pin);
            log::info!("gpio {}: pin {pin} is left {}", self.config.id, words(self.output.safe.high()));
        }
        pins.release(pin);
    }
}

#[cfg(test)]
mod tests;
