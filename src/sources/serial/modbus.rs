//! Modbus RTU: we are the master of a line of one or more devices. Pure; frames are built and checked by `rmodbus`.
//!
//! **Promises.** One request is under way at a time, with the silence the standard wants before each. Neighbouring
//! registers are read in one request. A frame with a wrong checksum, of another device or of another length is never a
//! value; after one the line has to be silent before the next request. A device that does not answer is asked less often
//! and does not hold up the others. A write is checked against its limits before a byte is sent, is never repeated, and
//! is done when reading it back shows it. Does not: act as a server, broadcast, or share the line with another master.
//!
//! Sources: Modbus Application Protocol V1.1b3 (6: functions, 7: exceptions), Modbus over Serial Line V1.02 (2.5.1:
//! frames and silence).

use super::pending::{Pending, ended};
use super::protocol::{Action, Protocol};
use crate::bus::Command;
use crate::config::{self, ModbusKind, ModbusOrder, ModbusRegister, ModbusTable};
use crate::model::{CommandState, QualityReason};
use crate::sources::reading::{Reading, Value};
use rmodbus::ModbusProto;
use rmodbus::client::ModbusRequest;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Registers of one request. Source: Application Protocol, 6.3 and 6.4.
const MOST_REGISTERS: u16 = 125;
/// Bits of one request that are surely served; 6.1 allows 2000, but a frame of rmodbus is counted in a byte.
const MOST_BITS: u16 = 1000;
/// Silence after something that was not understood: adapters hand over bytes up to 16 ms late.
const RESYNC: Duration = Duration::from_millis(30);
/// Pause before a busy device is asked again.
const BUSY: Duration = Duration::from_millis(200);
/// The longest pause between two tries of a device that does not answer.
const SILENT_MOST: Duration = Duration::from_secs(10);
/// A frame is at most this long. Source: Serial Line, 2.5.1.
const FRAME: usize = 256;
/// Exceptions kept for people, one for each request that has one.
const EXCEPTIONS: usize = 16;

/// See the module above.
pub struct Modbus {
    config: config::Modbus,
    gap: Duration,
    blocks: Vec<Block>,
    state: State,
    input: Vec<u8>,
    pending: Pending<Wish>,
    /// Blocks still to be read in this round.
    round: VecDeque<usize>,
    round_due: Duration,
    answered_in_round: bool,
    readings: Vec<Reading>,
    /// What comes before anything else: a read-back.
    next: Option<Request>,
    units: BTreeMap<u8, Standing>,
    lost: bool,
    exceptions: BTreeMap<String, String>,
}

/// Neighbouring registers that are read at once.
#[derive(Clone, Debug, PartialEq)]
struct Block {
    unit: u8,
    table: ModbusTable,
    address: u16,
    count: u16,
    /// Which registers of the configuration are in it.
    registers: Vec<usize>,
    /// It has registers between them that nobody asked for.
    holes: bool,
}

/// How a device on the line stands.
#[derive(Clone, Debug, Default)]
struct Standing {
    /// Requests in a row without an answer, after all tries.
    silent: u32,
    /// Not asked before then.
    again: Duration,
}

#[derive(Debug)]
enum State {
    Closed,
    Free {
        from: Duration,
    },
    Waiting {
        request: Request,
        deadline: Duration,
    },
    /// Something was not understood: the line has to be silent first.
    Resync {
        request: Option<Request>,
        until: Duration,
    },
}

#[derive(Clone, Debug)]
struct Request {
    frame: Vec<u8>,
    codec: Codec,
    purpose: Purpose,
    tries: u32,
    not_before: Duration,
}

/// What the answer has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Codec {
    unit: u8,
    function: u8,
    /// The length of a good answer, with its checksum.
    length: usize,
}

#[derive(Clone, Debug)]
enum Purpose {
    Block(usize),
    Write(Write),
    Readback { write: Write, silent: bool },
}

#[derive(Clone, Debug)]
struct Write {
    id: String,
    register: usize,
    raw: Raw,
}

#[derive(Debug)]
struct Wish {
    register: usize,
    raw: Raw,
}

/// A value as it goes over the line.
#[derive(Clone, Debug, PartialEq)]
enum Raw {
    Bit(bool),
    Words(Vec<u16>),
}

/// What an answer says.
#[derive(Debug, PartialEq)]
enum Said<'a> {
    More,
    Data(&'a [u8]),
    Exception(u8),
    Nonsense { counter: &'static str, why: String },
}

impl Modbus {
    /// A master at this speed, which the silence between frames depends on.
    pub fn new(config: &config::Modbus, baud: u32) -> Self {
        let blocks = plan(&config.registers, config.merge_gap);
        Modbus {
            gap: config.gap.unwrap_or_else(|| silence(baud)),
            config: config.clone(),
            units: blocks.iter().map(|b| (b.unit, Standing::default())).collect(),
            blocks,
            state: State::Closed,
            input: Vec::new(),
            pending: Pending::default(),
            round: VecDeque::new(),
            round_due: Duration::ZERO,
            answered_in_round: false,
            readings: Vec::new(),
            next: None,
            lost: false,
            exceptions: BTreeMap::new(),
        }
    }

    fn go(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = self.pending.expire(now);
        loop {
            match &mut self.state {
                State::Closed => return actions,
                State::Waiting { deadline, .. } if now < *deadline => return actions,
                State::Waiting { .. } => actions.extend(self.timed_out(now)),
                State::Resync { until, .. } if now < *until => return actions,
                State::Resync { request, .. } => {
                    let request = request.take();
                    self.state = State::Free { from: now };
                    actions.push(Action::Flush);
                    if let Some(request) = request {
                        self.next = Some(request);
                    }
                }
                State::Free { from } if now < *from => return actions,
                State::Free { .. } => {
                    if let Some(next) = &self.next
                        && now < next.not_before
                    {
                        return actions;
                    }
                    match self.next_request(now, &mut actions) {
                        Some(request) => {
                            self.input.clear();
                            actions.push(Action::Send(request.frame.clone()));
                            self.state = State::Waiting { request, deadline: now + self.config.timeout };
                        }
                        None => return actions,
                    }
                }
            }
        }
    }

    fn next_request(&mut self, now: Duration, actions: &mut Vec<Action>) -> Option<Request> {
        if let Some(request) = self.next.take() {
            return Some(request);
        }
        let (late, wish) = self.pending.next(now);
        actions.extend(late);
        if let Some((id, Wish { register, raw })) = wish {
            let write = Write { id, register, raw };
            return self.write(write, actions);
        }
        if self.round.is_empty() {
            if now < self.round_due {
                return None;
            }
            // A round that is late is not made up for.
            let due = self.round_due + self.config.poll;
            self.round_due = if now < due { due } else { now + self.config.poll };
            self.round = (0..self.blocks.len()).collect();
            self.answered_in_round = false;
        }
        while let Some(n) = self.round.pop_front() {
            let Some(block) = self.blocks.get(n) else { continue };
            let standing = self.units.get(&block.unit);
            if standing.is_none_or(|s| now >= s.again)
                && let Some((frame, codec)) = read_frame(block.unit, block.table, block.address, block.count)
            {
                return Some(Request {
                    frame,
                    codec,
                    purpose: Purpose::Block(n),
                    tries: 0,
                    not_before: Duration::ZERO,
                });
            }
        }
        // Without an answer there is nothing to tell but what `Lost` says already, or will.
        if self.answered_in_round {
            actions.extend(self.tell());
        }
        None
    }

    /// Publishes what this round has read.
    fn tell(&mut self) -> Option<Action> {
        let readings = std::mem::take(&mut self.readings);
        (!readings.is_empty()).then_some(Action::Readings(readings))
    }

    fn write(&self, write: Write, actions: &mut Vec<Action>) -> Option<Request> {
        let register = self.config.registers.get(write.register)?;
        match write_frame(register, &write.raw) {
            Some((frame, codec)) => Some(Request {
                frame,
                codec,
                purpose: Purpose::Write(write),
                tries: 0,
                not_before: Duration::ZERO,
            }),
            None => {
                let why = "the value does not fit into a frame".to_string();
                actions.push(ended(&write.id, CommandState::Failed, Some(why)));
                None
            }
        }
    }

    /// Reads back what was written, after the answer to it, or after none.
    fn read_back(&mut self, write: Write, silent: bool) -> Vec<Action> {
        let register = self.config.registers.get(write.register);
        let request = register.and_then(|register| {
            let count = if register.table.is_bits() { 1 } else { register.kind.registers() };
            let (frame, codec) = read_frame(register.unit_id, register.table, register.address, count)?;
            let purpose = Purpose::Readback { write: write.clone(), silent };
            Some(Request { frame, codec, purpose, tries: 0, not_before: Duration::ZERO })
        });
        match request {
            Some(request) => {
                self.next = Some(request);
                Vec::new()
            }
            None => vec![ended(&write.id, CommandState::Failed, Some("it can't be read back".into()))],
        }
    }

    fn timed_out(&mut self, now: Duration) -> Vec<Action> {
        let quiet = State::Resync { request: None, until: now + self.gap.max(RESYNC) };
        let State::Waiting { request, .. } = std::mem::replace(&mut self.state, quiet) else {
            return Vec::new();
        };
        let mut actions = vec![Action::Count("timeouts", 1)];
        if !self.input.is_empty() {
            let line = std::mem::take(&mut self.input);
            actions.push(Action::Count("short_frames", 1));
            actions.push(Action::Bad { line: hex(&line), why: "is cut off".into() });
        }
        actions.extend(self.unanswered(request, now));
        actions
    }

    /// A request came to nothing: again, or it is given up.
    fn unanswered(&mut self, mut request: Request, now: Duration) -> Vec<Action> {
        let standing = self.units.entry(request.codec.unit).or_default();
        // A device that was silent last time gets one try, not the time of several.
        let tries = if standing.silent > 0 { 0 } else { self.config.retries };
        match request.purpose {
            Purpose::Write(write) => {
                // Never twice: whether it has arrived shows when it is read.
                return self.read_back(write, true);
            }
            _ if request.tries < tries => {
                request.tries += 1;
                match &mut self.state {
                    State::Resync { request: waiting, .. } => *waiting = Some(request),
                    _ => self.next = Some(request),
                }
                return vec![Action::Count("retries", 1)];
            }
            Purpose::Readback { write, .. } => {
                let why = "no answer when it was read back; whether it was written is not known".to_string();
                return vec![ended(&write.id, CommandState::Failed, Some(why))];
            }
            Purpose::Block(_) => {}
        }
        standing.silent = standing.silent.saturating_add(1);
        let wait = self.config.poll.max(self.config.timeout) * 2u32.pow(standing.silent.min(10) - 1);
        standing.again = now + wait.min(SILENT_MOST.max(self.config.poll));
        let first = standing.silent == 1;
        let unit = request.codec.unit;
        let mut actions = Vec::new();
        self.round.retain(|n| self.blocks.get(*n).is_none_or(|block| block.unit != unit));
        if self.units.values().all(|standing| standing.silent > 0) {
            if !std::mem::replace(&mut self.lost, true) {
                actions.push(Action::Lost(QualityReason::NotConnected));
            }
        } else {
            if first {
                for register in self.config.registers.iter().filter(|r| r.unit_id == unit) {
                    self.readings.push(reading(register, Value::Missing(QualityReason::NotConnected)));
                }
            }
            // The others do not wait for one that is silent.
            if self.answered_in_round {
                actions.extend(self.tell());
            }
        }
        actions.push(self.silent_units());
        actions
    }

    fn silent_units(&self) -> Action {
        let silent: Vec<u8> =
            self.units.iter().filter(|(_, s)| s.silent > 0).map(|(unit, _)| *unit).collect();
        Action::Detail("silent_units", json!(silent))
    }

    /// Looks at what has come so far.
    fn look(&mut self, now: Duration) -> Vec<Action> {
        let State::Waiting { request, .. } = &self.state else { return Vec::new() };
        let mut actions = Vec::new();
        // Two-wire adapters may hear themselves.
        if !matches!(request.purpose, Purpose::Write(_)) && self.input.starts_with(&request.frame) {
            self.input.drain(..request.frame.len());
            actions.push(Action::Count("echoes", 1));
        }
        let said = match request.codec.read(&self.input) {
            Said::More => return actions,
            Said::Data(data) => Ok(data.to_vec()),
            Said::Exception(code) => Err(code),
            Said::Nonsense { counter, why } => {
                let line = hex(&self.input);
                let quiet = State::Resync { request: None, until: now + self.gap.max(RESYNC) };
                let State::Waiting { request, .. } = std::mem::replace(&mut self.state, quiet) else {
                    return actions;
                };
                self.input.clear();
                actions.push(Action::Count(counter, 1));
                actions.push(Action::Bad { line, why });
                actions.extend(self.unanswered(request, now));
                return actions;
            }
        };
        let free = State::Free { from: now + self.gap };
        let State::Waiting { request, .. } = std::mem::replace(&mut self.state, free) else { return actions };
        self.input.clear();
        actions.extend([Action::Count("answers", 1), Action::Heard]);
        self.lost = false;
        let standing = self.units.entry(request.codec.unit).or_default();
        let was_silent = standing.silent > 0;
        *standing = Standing::default();
        self.answered_in_round = true;
        if was_silent {
            actions.push(self.silent_units());
        }
        match said {
            Ok(data) => actions.extend(self.answered(request, &data)),
            Err(code) => actions.extend(self.refused(request, code, now)),
        }
        actions
    }

    fn answered(&mut self, request: Request, data: &[u8]) -> Vec<Action> {
        match request.purpose {
            Purpose::Block(n) => {
                let Some(block) = self.blocks.get(n) else { return Vec::new() };
                for register in &block.registers {
                    if let Some(register) = self.config.registers.get(*register) {
                        let at = register.address.saturating_sub(block.address);
                        let value = value_at(register, data, at);
                        self.readings.push(reading(register, value));
                    }
                }
                let cured = self.exceptions.remove(&block.name());
                cured.map(|_| self.told_exceptions()).into_iter().collect()
            }
            Purpose::Write(write) => self.read_back(write, false),
            Purpose::Readback { write, silent } => {
                let Some(register) = self.config.registers.get(write.register) else { return Vec::new() };
                let value = value_at(register, data, 0);
                let wanted = value_at(register, &write.raw.bytes(), 0);
                let shown = |value: &Value| match value {
                    Value::Text(text) => text.clone(),
                    Value::Missing(_) => "no value".into(),
                    other => other.to_json().to_string(),
                };
                let unit = register.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
                let end = if value == wanted {
                    ended(&write.id, CommandState::Completed, None)
                } else {
                    let unheard = if silent { "; the write was not answered" } else { "" };
                    let why = format!(
                        "wrote {}{unit} to {}, but it reads back {}{unit}{unheard}",
                        shown(&wanted),
                        register.name,
                        shown(&value)
                    );
                    ended(&write.id, CommandState::Failed, Some(why))
                };
                vec![Action::Readings(vec![reading(register, value)]), end]
            }
        }
    }

    fn refused(&mut self, mut request: Request, code: u8, now: Duration) -> Vec<Action> {
        let mut actions = vec![Action::Count("exceptions", 1)];
        let busy = matches!(code, 5 | 6);
        if busy && request.tries < self.config.retries && !matches!(request.purpose, Purpose::Write(_)) {
            request.tries += 1;
            request.not_before = now + BUSY;
            self.next = Some(request);
            actions.push(Action::Count("retries", 1));
            return actions;
        }
        match request.purpose {
            Purpose::Write(write) | Purpose::Readback { write, .. } => {
                let why = format!("the device refuses: {}", exception(code));
                actions.push(ended(&write.id, CommandState::Failed, Some(why)));
            }
            Purpose::Block(n) => {
                let Some(block) = self.blocks.get(n).cloned() else { return actions };
                if code == 2 && block.holes {
                    // Perhaps only what is between is not there: from now on without it.
                    let own: Vec<&ModbusRegister> =
                        block.registers.iter().filter_map(|r| self.config.registers.get(*r)).collect();
                    let owned: Vec<ModbusRegister> = own.into_iter().cloned().collect();
                    let mut parts = plan(&owned, 0);
                    for part in &mut parts {
                        for r in &mut part.registers {
                            *r = block.registers.get(*r).copied().unwrap_or_default();
                        }
                    }
                    let first = self.blocks.len();
                    self.blocks.extend(parts);
                    self.round.extend(first..self.blocks.len());
                    // The old one stays in its place, so that numbers stay right, with nothing to read.
                    if let Some(old) = self.blocks.get_mut(n) {
                        old.count = 0;
                    }
                    actions.push(Action::Count("split_requests", 1));
                    return actions;
                }
                for register in block.registers.iter().filter_map(|r| self.config.registers.get(*r)) {
                    self.readings.push(reading(register, Value::Missing(QualityReason::DeviceError)));
                }
                let name = block.name();
                let is_new = self.exceptions.get(&name).is_none_or(|old| *old != exception(code));
                if is_new && (self.exceptions.len() < EXCEPTIONS || self.exceptions.contains_key(&name)) {
                    self.exceptions.insert(name, exception(code));
                    actions.push(self.told_exceptions());
                }
            }
        }
        actions
    }

    fn told_exceptions(&self) -> Action {
        Action::Detail("refused", json!(self.exceptions))
    }

    fn wish_to_set(&self, params: &Map<String, Json>) -> Result<Wish, String> {
        let name = params.get("channel").and_then(Json::as_str).unwrap_or_default();
        let found = self.config.registers.iter().enumerate().find(|(_, r)| r.name == name && r.write);
        let Some((n, register)) = found else {
            let all = self.config.registers.iter().filter(|r| r.write).map(|r| r.name.as_str());
            let all = all.collect::<Vec<_>>().join(", ");
            return Err(format!("`channel` is {name:?}; expected one that can be set: {all}"));
        };
        let raw = raw_of(register, params.get("value").unwrap_or(&Json::Null))?;
        Ok(Wish { register: n, raw })
    }
}

impl Protocol for Modbus {
    fn opened(&mut self, now: Duration) -> Vec<Action> {
        self.input.clear();
        self.round.clear();
        self.readings.clear();
        self.next = None;
        self.lost = false;
        self.round_due = now + self.gap;
        self.units.values_mut().for_each(|standing| *standing = Standing::default());
        // Whatever is on the line now is not for us.
        self.state = State::Resync { request: None, until: now + self.gap };
        vec![Action::Flush]
    }

    fn received(&mut self, bytes: &[u8], now: Duration) -> Vec<Action> {
        let quiet = now + self.gap.max(RESYNC);
        match &mut self.state {
            State::Closed => return Vec::new(),
            State::Resync { until, .. } => {
                *until = quiet;
                return vec![Action::Count("stray_bytes", bytes.len() as u64)];
            }
            State::Free { from } => {
                // Nobody was asked. A late answer, noise or another master: it has to end first.
                *from = quiet;
                return vec![Action::Count("stray_bytes", bytes.len() as u64)];
            }
            State::Waiting { .. } => {}
        }
        let room = (2 * FRAME).saturating_sub(self.input.len());
        self.input.extend(bytes.iter().take(room));
        let mut actions = self.look(now);
        actions.extend(self.go(now));
        actions
    }

    fn tick(&mut self, now: Duration) -> Vec<Action> {
        self.go(now)
    }

    fn wake(&self) -> Option<Duration> {
        match &self.state {
            State::Closed => None,
            State::Waiting { deadline, .. } => Some(*deadline),
            State::Resync { until, .. } => Some(*until),
            State::Free { from } => {
                let next = match &self.next {
                    Some(next) => next.not_before,
                    None if self.pending.is_empty() && self.round.is_empty() => self.round_due,
                    None => *from,
                };
                Some(next.max(*from))
            }
        }
    }

    fn command(&mut self, command: &Command, now: Duration) -> Vec<Action> {
        if let State::Closed = self.state {
            return vec![ended(&command.id, CommandState::Failed, Some("the port is not open".into()))];
        }
        let wish = match command.action.as_str() {
            "set" => self.wish_to_set(&command.params),
            other => Err(format!("a Modbus device has no {other:?}")),
        };
        let mut actions = match wish {
            Ok(wish) => self.pending.push(&command.id, wish, now),
            Err(why) => return vec![ended(&command.id, CommandState::Rejected, Some(why))],
        };
        actions.extend(self.go(now));
        actions
    }

    fn actions(&self) -> Vec<&'static str> {
        if self.config.registers.iter().any(|r| r.write) { vec!["set"] } else { Vec::new() }
    }

    fn closed(&mut self) -> Vec<Action> {
        const WHY: &str = "the port was closed";
        let mut under_way = self.next.take().into_iter().collect::<Vec<_>>();
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Waiting { request, .. } | State::Resync { request: Some(request), .. } => {
                under_way.push(request);
            }
            _ => {}
        }
        let mut actions = Vec::new();
        for request in under_way {
            if let Purpose::Write(write) | Purpose::Readback { write, .. } = request.purpose {
                actions.push(ended(&write.id, CommandState::Failed, Some(WHY.into())));
            }
        }
        actions.extend(self.pending.fail(WHY));
        self.readings.clear();
        actions
    }
}

impl Block {
    /// For people: `unit 1 input 0-9`.
    fn name(&self) -> String {
        let last = u32::from(self.address) + u32::from(self.count.max(1)) - 1;
        format!("unit {} {} {}-{last}", self.unit, self.table.word(), self.address)
    }
}

impl Codec {
    /// What has come of an answer. Source: Application Protocol, 6 and 7; Serial Line, 2.5.1.
    fn read<'a>(&self, input: &'a [u8]) -> Said<'a> {
        let nonsense = |counter, why: String| Said::Nonsense { counter, why };
        // Switching the direction of a two-wire line may sound like a byte or two.
        let noise = input.iter().take(2).take_while(|b| matches!(b, 0 | 0xFF) && **b != self.unit).count();
        let input = input.get(noise..).unwrap_or_default();
        let (unit, function) = match input {
            [] => return Said::More,
            [unit, rest @ ..] => (*unit, rest.first().copied()),
        };
        if unit != self.unit {
            return nonsense("foreign_frames", format!("is from unit {unit}, unit {} was asked", self.unit));
        }
        let Some(function) = function else { return Said::More };
        let length = match function {
            f if f == self.function => self.length,
            f if f == self.function | 0x80 => 5,
            f => {
                let why = format!("has function {f}, function {} was asked", self.function);
                return nonsense("foreign_frames", why);
            }
        };
        if function == self.function
            && self.function <= 4
            && let Some(bytes) = input.get(2)
            && usize::from(*bytes) + 5 != self.length
        {
            let why = format!("has {bytes} bytes of data; {} were asked for", self.length - 5);
            return nonsense("foreign_frames", why);
        }
        let Some(frame) = input.get(..length) else { return Said::More };
        let Some((body, sum)) = frame.split_last_chunk::<2>() else { return Said::More };
        if crc(body) != u16::from_le_bytes(*sum) {
            return nonsense("crc_errors", "has a wrong checksum".into());
        }
        if function & 0x80 != 0 {
            return Said::Exception(body.get(2).copied().unwrap_or_default());
        }
        let data = if self.function <= 4 { body.get(3..) } else { body.get(2..) };
        Said::Data(data.unwrap_or_default())
    }
}

impl Raw {
    /// As an answer to a read would have it.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Raw::Bit(on) => vec![u8::from(*on)],
            Raw::Words(words) => words.iter().flat_map(|w| w.to_be_bytes()).collect(),
        }
    }
}

/// The silence between frames: 3.5 characters of 11 bits; above 19,200 bit/s 1.75 ms. Source: Serial Line, 2.5.1.1.
fn silence(baud: u32) -> Duration {
    let fast = Duration::from_micros(1750);
    if baud == 0 || baud > 19_200 {
        return fast;
    }
    Duration::from_secs_f64(3.5 * 11.0 / f64::from(baud)).max(fast)
}

/// Registers into requests: in order of address, together as long as they fit and the gap between them is small.
fn plan(registers: &[ModbusRegister], merge_gap: u16) -> Vec<Block> {
    let mut order: Vec<usize> = (0..registers.len()).collect();
    let key = |n: &usize| registers.get(*n).map(|r| (r.unit_id, r.table, r.address));
    order.sort_by_key(key);
    let mut blocks: Vec<Block> = Vec::new();
    for n in order {
        let Some(register) = registers.get(n) else { continue };
        let (most, size) = match register.table.is_bits() {
            true => (MOST_BITS, 1),
            false => (MOST_REGISTERS, register.kind.registers()),
        };
        let end = u32::from(register.address) + u32::from(size);
        if let Some(last) = blocks.last_mut()
            && (last.unit, last.table) == (register.unit_id, register.table)
        {
            let last_end = u32::from(last.address) + u32::from(last.count);
            let hole = u32::from(register.address).saturating_sub(last_end);
            let whole = end.max(last_end) - u32::from(last.address);
            if hole <= u32::from(merge_gap) && whole <= u32::from(most) {
                last.holes |= hole > 0;
                last.count = whole as u16;
                last.registers.push(n);
                continue;
            }
        }
        blocks.push(Block {
            unit: register.unit_id,
            table: register.table,
            address: register.address,
            count: size,
            registers: vec![n],
            holes: false,
        });
    }
    blocks
}

fn read_frame(unit: u8, table: ModbusTable, address: u16, count: u16) -> Option<(Vec<u8>, Codec)> {
    if count == 0 {
        return None;
    }
    let mut request = ModbusRequest::new(unit, ModbusProto::Rtu);
    let mut frame = Vec::new();
    let (function, bytes, made) = match table {
        ModbusTable::Coil => (1, count.div_ceil(8), request.generate_get_coils(address, count, &mut frame)),
        ModbusTable::Discrete => {
            (2, count.div_ceil(8), request.generate_get_discretes(address, count, &mut frame))
        }
        ModbusTable::Holding => (3, count * 2, request.generate_get_holdings(address, count, &mut frame)),
        ModbusTable::Input => (4, count * 2, request.generate_get_inputs(address, count, &mut frame)),
    };
    made.ok()?;
    Some((frame, Codec { unit, function, length: usize::from(bytes) + 5 }))
}

fn write_frame(register: &ModbusRegister, raw: &Raw) -> Option<(Vec<u8>, Codec)> {
    let unit = register.unit_id;
    let mut request = ModbusRequest::new(unit, ModbusProto::Rtu);
    let mut frame = Vec::new();
    let (function, made) = match raw {
        Raw::Bit(on) => (5, request.generate_set_coil(register.address, *on, &mut frame)),
        Raw::Words(words) => match words[..] {
            [word] => (6, request.generate_set_holding(register.address, word, &mut frame)),
            _ => (16, request.generate_set_holdings_bulk(register.address, words, &mut frame)),
        },
    };
    made.ok()?;
    // Each of them is answered by a frame of 8 bytes: what was written, or how much.
    Some((frame, Codec { unit, function, length: 8 }))
}

/// The checksum of a frame. Source: Serial Line, 6.2.2. (rmodbus keeps its own to itself.)
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |sum, byte| {
        (0..8)
            .fold(sum ^ u16::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xA001 } else { sum >> 1 })
    })
}

/// What a device says it can't do. Source: Application Protocol, 7.
fn exception(code: u8) -> String {
    let words = match code {
        1 => "01 illegal function: the device does not have this kind of register, or not now",
        2 => "02 illegal data address: there is no such register",
        3 => "03 illegal data value: the value is not allowed",
        4 => "04 device failure: it failed while doing it",
        5 => "05 acknowledge: it is at work and takes long",
        6 => "06 device busy: it is at work on something else",
        8 => "08 memory parity error",
        0x0A => "0A gateway path unavailable: the gateway is overloaded or set up wrong",
        0x0B => "0B gateway target failed to respond: the device behind the gateway is not there",
        other => return format!("{other:02X} an exception that the standard does not have"),
    };
    words.to_string()
}

/// Bytes for people.
fn hex(bytes: &[u8]) -> Vec<u8> {
    let shown: Vec<String> = bytes.iter().take(40).map(|b| format!("{b:02x}")).collect();
    shown.join(" ").into_bytes()
}

fn reading(register: &ModbusRegister, value: Value) -> Reading {
    Reading { name: register.name.clone(), value, unit: register.unit.clone() }
}

/// The value of a register in the data of an answer that begins `at` registers, or bits, before it.
fn value_at(register: &ModbusRegister, data: &[u8], at: u16) -> Value {
    let none = Value::Missing(QualityReason::CommError);
    let at = usize::from(at);
    if register.table.is_bits() {
        let Some(byte) = data.get(at / 8) else { return none };
        return worded(register, Raw::Bit(byte >> (at % 8) & 1 == 1));
    }
    let size = usize::from(register.kind.registers());
    let Some(bytes) = data.get(at * 2..(at + size) * 2) else { return none };
    let words = bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
    worded(register, Raw::Words(words))
}

/// Puts bytes into the order of the standard, or from it into the register's: each order undoes itself.
fn ordered(words: &[u16], order: ModbusOrder) -> Vec<u16> {
    let swap = matches!(order, ModbusOrder::Badc | ModbusOrder::Dcba);
    let reverse = matches!(order, ModbusOrder::Cdab | ModbusOrder::Dcba);
    let mut words: Vec<u16> = words.iter().map(|w| if swap { w.swap_bytes() } else { *w }).collect();
    if reverse {
        words.reverse();
    }
    words
}

fn worded(register: &ModbusRegister, raw: Raw) -> Value {
    let word = |number: f64| {
        let found = register.words.iter().find(|(key, _)| key.parse::<f64>().is_ok_and(|k| k == number));
        found.map(|(_, word)| Value::text(word))
    };
    let words = match raw {
        Raw::Bit(on) => return word(f64::from(u8::from(on))).unwrap_or(Value::Flag(on)),
        Raw::Words(words) => ordered(&words, register.order),
    };
    let bits = words.iter().fold(0u64, |all, w| all << 16 | u64::from(*w));
    let number = match register.kind {
        ModbusKind::Bool => {
            let on = match register.bit {
                Some(bit) => bits >> bit & 1 == 1,
                None => bits != 0,
            };
            return word(f64::from(u8::from(on))).unwrap_or(Value::Flag(on));
        }
        ModbusKind::U16 | ModbusKind::U32 | ModbusKind::U64 => bits as f64,
        ModbusKind::I16 => f64::from(bits as u16 as i16),
        ModbusKind::I32 => f64::from(bits as u32 as i32),
        ModbusKind::I64 => bits as i64 as f64,
        // By way of its digits, so that 230.1 does not become 230.10000610351563.
        ModbusKind::F32 => {
            let number = f32::from_bits(bits as u32);
            number.to_string().parse().unwrap_or(f64::from(number))
        }
        ModbusKind::F64 => f64::from_bits(bits),
    };
    if let Some(word) = word(number) {
        return word;
    }
    match Value::number(number) {
        Value::Number(number) => {
            let scaled = number * register.scale + register.offset;
            // Ten times a tenth is not always one: what the register can't tell apart is rounded away.
            let scaled = format!("{scaled:.12e}").parse().unwrap_or(scaled);
            Value::number(scaled)
        }
        missing => missing,
    }
}

/// A value as it is to be written.
fn raw_of(register: &ModbusRegister, value: &Json) -> Result<Raw, String> {
    let unit = register.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
    let word = value.as_str().map(str::trim);
    let by_word = word.and_then(|word| {
        let found = register.words.iter().find(|(_, w)| w.eq_ignore_ascii_case(word));
        found.and_then(|(key, _)| key.parse::<f64>().ok())
    });
    let number = match value {
        Json::Bool(on) => Some(f64::from(u8::from(*on))),
        Json::Number(n) => n.as_f64(),
        Json::String(text) => text.trim().parse::<f64>().ok().filter(|n| n.is_finite()),
        _ => None,
    };
    let raw = match (by_word, number) {
        (Some(raw), _) => raw,
        (None, Some(_)) if !register.words.is_empty() && word.is_some() => {
            return Err(expected_words(register, value));
        }
        (None, Some(number)) => {
            let (min, max) = (register.min, register.max);
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                let end = |limit: Option<f64>| limit.map_or("any".to_string(), |n| n.to_string());
                return Err(format!(
                    "{} {number}{unit} is outside its limits: {} to {}{unit}",
                    register.name,
                    end(min),
                    end(max)
                ));
            }
            (number - register.offset) / register.scale
        }
        (None, None) if !register.words.is_empty() => return Err(expected_words(register, value)),
        (None, None) => return Err(format!("`value` is {value}; expected a number")),
    };
    if register.table.is_bits() {
        return match raw {
            0.0 => Ok(Raw::Bit(false)),
            1.0 => Ok(Raw::Bit(true)),
            _ => Err(format!("`value` is {value}; expected true or false")),
        };
    }
    let whole = |least: f64, most: f64| {
        let near = raw.round();
        if (raw - near).abs() > 1e-6 * near.abs().max(1.0) {
            return Err(format!(
                "{} can only be set in steps of {}{unit}",
                register.name,
                register.scale.abs()
            ));
        }
        if near < least || near > most {
            return Err(format!("{value}{unit} does not fit into the register"));
        }
        Ok(near)
    };
    let bits = match register.kind {
        ModbusKind::Bool => (raw != 0.0).into(),
        ModbusKind::U16 => whole(0.0, f64::from(u16::MAX))? as u64,
        ModbusKind::U32 => whole(0.0, f64::from(u32::MAX))? as u64,
        // 2^53: above it not every whole number can be said.
        ModbusKind::U64 => whole(0.0, 9_007_199_254_740_992.0)? as u64,
        ModbusKind::I16 => whole(f64::from(i16::MIN), f64::from(i16::MAX))? as i16 as u16 as u64,
        ModbusKind::I32 => whole(f64::from(i32::MIN), f64::from(i32::MAX))? as i32 as u32 as u64,
        ModbusKind::I64 => whole(-9_007_199_254_740_992.0, 9_007_199_254_740_992.0)? as i64 as u64,
        ModbusKind::F32 if (raw as f32).is_finite() => u64::from((raw as f32).to_bits()),
        ModbusKind::F32 => return Err(format!("{value}{unit} does not fit into the register")),
        ModbusKind::F64 => raw.to_bits(),
    };
    let size = register.kind.registers();
    let words: Vec<u16> = (0..size).rev().map(|n| (bits >> (16 * n)) as u16).collect();
    Ok(Raw::Words(ordered(&words, register.order)))
}

fn expected_words(register: &ModbusRegister, value: &Json) -> String {
    let words: Vec<_> = register.words.values().map(String::as_str).collect();
    format!("`value` is {value}; expected one of {}", words.join(", "))
}
