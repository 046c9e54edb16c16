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

use super::pending::{No, Pending, ended, failed};
use super::protocol::{Action, Finish, Protocol};
use crate::config::{self, ModbusKind, ModbusOrder, ModbusRegister, ModbusTable};
use crate::model::{CommandState, QualityReason};
use crate::sources::instruments::{ChannelOffer, Failure, Offer, Request as Wanted, Setting, outside};
use crate::sources::reading::{Reading, Value};
use rmodbus::ModbusProto;
use rmodbus::client::ModbusRequest;
use serde_json::json;
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
/// A frame that has begun may pause this long: adapters and busy machines hand it over in pieces.
const PIECES: Duration = Duration::from_millis(100);
/// A frame is at most this long. Source: Serial Line, 2.5.1.
const FRAME: usize = 256;
/// Time between two looks whether what was written has its effect.
const AGAIN: Duration = Duration::from_millis(100);
/// A round that requests have kept waiting for longer goes before the next of them.
const STARVED: Duration = Duration::from_secs(2);
/// Exceptions kept for people, one for each request that has one.
const EXCEPTIONS: usize = 16;

/// See the module above.
pub struct Modbus {
    config: config::Modbus,
    gap: Duration,
    /// How long a character takes.
    character: Duration,
    blocks: Vec<Block>,
    state: State,
    input: Vec<u8>,
    pending: Pending<Wish>,
    /// Blocks still to be read in this round.
    round: VecDeque<usize>,
    round_due: Duration,
    answered_in_round: bool,
    readings: Vec<Reading>,
    /// Requests have kept this round waiting: it is not interrupted.
    catching_up: bool,
    /// What comes before anything else: the next part of what is under way.
    next: Option<Request>,
    /// Read-backs that are looked at again later, at most one of each register; the line is free meanwhile.
    looks: Vec<Request>,
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
    Read(Read),
    Write(Write),
    Readback {
        write: Write,
        silent: bool,
    },
    /// Of a request that was given up: its answer only has to be out of the way.
    Nobody,
}

/// Registers that are set one after the other, each read back before the next.
#[derive(Clone, Debug)]
struct Write {
    id: String,
    register: usize,
    raw: Raw,
    /// Those that follow.
    rest: VecDeque<(usize, Raw)>,
    tolerance: Option<f64>,
    /// How long the read-back may take to agree, and when that is over for this one.
    within: Duration,
    until: Option<Duration>,
    arrive: bool,
    readings: Vec<Reading>,
}

/// Registers that are read for a request.
#[derive(Clone, Debug)]
struct Read {
    id: String,
    block: Block,
    /// Those that follow.
    rest: VecDeque<Block>,
    readings: Vec<Reading>,
}

#[derive(Debug)]
enum Wish {
    Write(Write),
    Read(Read),
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
            character: Duration::from_secs_f64(11.0 / f64::from(baud.max(50))),
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
            catching_up: false,
            next: None,
            looks: Vec::new(),
            lost: false,
            exceptions: BTreeMap::new(),
        }
    }

    fn go(&mut self, now: Duration) -> Vec<Action> {
        let mut actions = self.pending.expire(now);
        let waits = matches!(self.state, State::Waiting { .. } | State::Resync { request: Some(_), .. });
        if self.round.is_empty() && self.next.is_none() && !waits {
            actions.extend(self.tell());
        }
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
                            // It has to be sent before it can be answered.
                            let sending = self.character * request.frame.len() as u32;
                            let deadline = now + sending + self.config.timeout;
                            self.state = State::Waiting { request, deadline };
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
        self.catching_up &= !self.round.is_empty();
        if self.round.is_empty() && now >= self.round_due + STARVED.max(self.config.poll * 3) {
            self.catching_up = true;
        }
        if !self.catching_up {
            // Whoever asks without a pause does not keep a read-back from being looked at either.
            if let Some(look) = self.look_due(now.saturating_sub(STARVED)) {
                return Some(look);
            }
            let looks = &self.looks;
            match self.pending.next(|wish| is_free(wish, looks)) {
                Some((_, Wish::Write(write))) => return self.write(write, actions),
                Some((_, Wish::Read(read))) => return self.read(read, actions),
                None => {}
            }
            if let Some(look) = self.look_due(now) {
                return Some(look);
            }
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
            self.readings.clear();
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
        None
    }

    /// The first read-back whose time came by then.
    fn look_due(&mut self, by: Duration) -> Option<Request> {
        let n = self.looks.iter().position(|look| look.not_before <= by)?;
        Some(self.looks.remove(n))
    }

    /// Publishes what this round has read. Without an answer there is nothing to tell but what `Lost` says already, or
    /// will.
    fn tell(&mut self) -> Option<Action> {
        if !self.answered_in_round {
            return None;
        }
        let readings = std::mem::take(&mut self.readings);
        (!readings.is_empty()).then_some(Action::Readings(readings))
    }

    fn write(&self, write: Write, actions: &mut Vec<Action>) -> Option<Request> {
        let made = self.config.registers.get(write.register).and_then(|r| write_frame(r, &write.raw));
        let Some((frame, codec)) = made else {
            let why = "the value does not fit into a frame".to_string();
            actions.push(ended(&write.id, CommandState::Failed, Some(why)));
            return None;
        };
        Some(Request { frame, codec, purpose: Purpose::Write(write), tries: 0, not_before: Duration::ZERO })
    }

    fn read(&self, read: Read, actions: &mut Vec<Action>) -> Option<Request> {
        let block = &read.block;
        let Some((frame, codec)) = read_frame(block.unit, block.table, block.address, block.count) else {
            actions.push(ended(&read.id, CommandState::Failed, Some("it can't be read".into())));
            return None;
        };
        Some(Request { frame, codec, purpose: Purpose::Read(read), tries: 0, not_before: Duration::ZERO })
    }

    /// Reads back what was written, after the answer to it, or after none.
    fn read_back(&mut self, write: Write, silent: bool, not_before: Duration) -> Vec<Action> {
        let register = self.config.registers.get(write.register);
        let request = register.and_then(|register| {
            let count = if register.table.is_bits() { 1 } else { register.kind.registers() };
            let (frame, codec) = read_frame(register.unit_id, register.table, register.address, count)?;
            let purpose = Purpose::Readback { write: write.clone(), silent };
            Some(Request { frame, codec, purpose, tries: 0, not_before })
        });
        match request {
            Some(request) => {
                match not_before {
                    Duration::ZERO => self.next = Some(request),
                    _ => self.looks.push(request),
                }
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
        let mut end = None;
        match request.purpose {
            Purpose::Write(write) => {
                // Never twice: whether it has arrived shows when it is read.
                return self.read_back(write, true, Duration::ZERO);
            }
            Purpose::Nobody => {}
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
                return vec![failed(&write.id, Failure::Timeout, why)];
            }
            Purpose::Read(ref read) => {
                let why = format!("no answer from {} within {:?}", read.block.name(), self.config.timeout);
                end = Some(failed(&read.id, Failure::Timeout, why));
            }
            Purpose::Block(_) => {}
        }
        standing.silent = standing.silent.saturating_add(1);
        let wait = self.config.poll.max(self.config.timeout) * 2u32.pow(standing.silent.min(10) - 1);
        standing.again = now + wait.min(SILENT_MOST.max(self.config.poll));
        let first = standing.silent == 1;
        let unit = request.codec.unit;
        let mut actions: Vec<Action> = end.into_iter().collect();
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
            actions.extend(self.tell());
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
        if request.codec.function <= 4 && self.input.starts_with(&request.frame) {
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
            Ok(data) => actions.extend(self.answered(request, &data, now)),
            Err(code) => actions.extend(self.refused(request, code, now)),
        }
        actions
    }

    fn answered(&mut self, request: Request, data: &[u8], now: Duration) -> Vec<Action> {
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
            Purpose::Read(mut read) => {
                let of = |n: &usize| {
                    let register = self.config.registers.get(*n)?;
                    let at = register.address.saturating_sub(read.block.address);
                    Some(reading(register, value_at(register, data, at)))
                };
                let readings: Vec<Reading> = read.block.registers.iter().filter_map(of).collect();
                let mut actions = vec![Action::Readings(readings.clone())];
                read.readings.extend(readings);
                match read.rest.pop_front() {
                    Some(block) => self.next = self.read(Read { block, ..read }, &mut actions),
                    None => actions.push(done(read.id, read.readings)),
                }
                actions
            }
            Purpose::Write(mut write) if !write.arrive => {
                let mut actions = Vec::new();
                match write.rest.pop_front() {
                    Some((register, raw)) => {
                        self.next = self.write(Write { register, raw, ..write }, &mut actions);
                    }
                    None => actions.push(done(write.id, Vec::new())),
                }
                actions
            }
            Purpose::Write(mut write) => {
                write.until = Some(now + write.within);
                self.read_back(write, false, Duration::ZERO)
            }
            Purpose::Readback { write, silent } => self.looked(write, silent, data, now),
            Purpose::Nobody => Vec::new(),
        }
    }

    /// What was written was read back.
    fn looked(&mut self, mut write: Write, silent: bool, data: &[u8], now: Duration) -> Vec<Action> {
        let Some(register) = self.config.registers.get(write.register) else { return Vec::new() };
        let value = value_at(register, data, 0);
        let wanted = value_at(register, &write.raw.bytes(), 0);
        let near = value.as_number().zip(wanted.as_number()).zip(write.tolerance);
        let agrees = value == wanted || near.is_some_and(|((is, wanted), t)| (is - wanted).abs() <= t);
        let shown = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Missing(_) => "no value".into(),
            other => other.to_json().to_string(),
        };
        let unit = register.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
        let read = reading(register, value.clone());
        let mut actions = vec![Action::Readings(vec![read.clone()])];
        if agrees {
            write.readings.push(read);
            write.until = None;
            match write.rest.pop_front() {
                Some((register, raw)) => {
                    self.next = self.write(Write { register, raw, ..write }, &mut actions);
                }
                None => actions.push(done(write.id, write.readings)),
            }
        } else if write.until.is_some_and(|until| now < until) {
            actions.extend(self.read_back(write, silent, now + AGAIN));
        } else {
            let unheard = if silent { "; the write was not answered" } else { "" };
            let why = format!(
                "wrote {}{unit} to {}, but it reads back {}{unit}{unheard}",
                shown(&wanted),
                register.name,
                shown(&value)
            );
            actions.push(failed(&write.id, Failure::NotInTolerance, why));
        }
        actions
    }

    fn refused(&mut self, mut request: Request, code: u8, now: Duration) -> Vec<Action> {
        let mut actions = vec![Action::Count("exceptions", 1)];
        let busy = matches!(code, 5 | 6);
        let once = matches!(request.purpose, Purpose::Write(_) | Purpose::Nobody);
        if busy && request.tries < self.config.retries && !once {
            request.tries += 1;
            request.not_before = now + BUSY;
            match request.purpose {
                Purpose::Readback { .. } => self.looks.push(request),
                _ => self.next = Some(request),
            }
            actions.push(Action::Count("retries", 1));
            return actions;
        }
        match request.purpose {
            Purpose::Nobody => {}
            Purpose::Write(write) | Purpose::Readback { write, .. } => {
                let why = format!("the device refuses: {}", exception(code));
                actions.push(failed(&write.id, Failure::DeviceError, why));
            }
            Purpose::Read(read) => {
                let why = format!("the device refuses to tell {}: {}", read.block.name(), exception(code));
                actions.push(failed(&read.id, Failure::DeviceError, why));
            }
            Purpose::Block(n) => {
                let Some(block) = self.blocks.get(n).cloned() else { return actions };
                if code == 2 && block.holes {
                    // Perhaps only what is between is not there: from now on without it.
                    let parts = self.plan_of(&block.registers, 0);
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

    fn wish(&self, id: &str, request: &Wanted) -> Result<Wish, No> {
        match request {
            Wanted::Set { channel, to, tolerance, within, arrive } => {
                let mut write = self.set(id, &[(channel.clone(), to.clone())])?;
                (write.tolerance, write.within) = (*tolerance, within.unwrap_or_default());
                write.arrive = *arrive;
                Ok(Wish::Write(write))
            }
            Wanted::Move { to, within } => {
                let mut write = self.set(id, to)?;
                write.within = within.unwrap_or_default();
                Ok(Wish::Write(write))
            }
            Wanted::Read { channels } => {
                let mut wanted = Vec::new();
                for name in channels {
                    match self.config.registers.iter().position(|r| r.name == *name) {
                        Some(n) => wanted.push(n),
                        None => return Err(format!("{name:?} is no register of it").into()),
                    }
                }
                let mut rest: VecDeque<Block> = self.plan_of(&wanted, self.config.merge_gap).into();
                let block = rest.pop_front().ok_or_else(|| "nothing was asked for".to_string())?;
                Ok(Wish::Read(Read { id: id.to_string(), block, rest, readings: Vec::new() }))
            }
            Wanted::Query(_) => Err("a Modbus device takes no text".to_string().into()),
            Wanted::Stop | Wanted::Safe | Wanted::ClearError => {
                Err("a Modbus device has no such command; set a register instead".to_string().into())
            }
        }
    }

    /// Registers to be set, each checked before any is.
    fn set(&self, id: &str, to: &[(String, Setting)]) -> Result<Write, No> {
        let mut rest = VecDeque::new();
        for (name, to) in to {
            let found = self.config.registers.iter().enumerate().find(|(_, r)| r.name == *name && r.write);
            let Some((n, register)) = found else {
                let all = self.config.registers.iter().filter(|r| r.write).map(|r| r.name.as_str());
                return Err(No::unsettable(name, all));
            };
            rest.push_back((n, raw_of(register, to)?));
        }
        let (register, raw) = rest.pop_front().ok_or_else(|| "nothing is to be set".to_string())?;
        Ok(Write {
            id: id.to_string(),
            register,
            raw,
            rest,
            tolerance: None,
            within: Duration::ZERO,
            until: None,
            arrive: true,
            readings: Vec::new(),
        })
    }

    /// Some of the registers into requests.
    fn plan_of(&self, wanted: &[usize], merge_gap: u16) -> Vec<Block> {
        let own: Vec<ModbusRegister> =
            wanted.iter().filter_map(|n| self.config.registers.get(*n).cloned()).collect();
        let mut blocks = plan(&own, merge_gap);
        for n in blocks.iter_mut().flat_map(|block| &mut block.registers) {
            *n = wanted.get(*n).copied().unwrap_or_default();
        }
        blocks
    }
}

/// It may begin although these are still to be read back: it sets none of their registers.
fn is_free(wish: &Wish, looks: &[Request]) -> bool {
    let Wish::Write(write) = wish else { return true };
    !looks.iter().filter_map(Request::write).any(|other| other.touches(write))
}

/// A request is done.
fn done(id: String, readings: Vec<Reading>) -> Action {
    Action::Finish(Finish {
        id,
        state: CommandState::Completed,
        code: None,
        reason: None,
        readings,
        text: None,
    })
}

impl Protocol for Modbus {
    fn opened(&mut self, now: Duration) -> Vec<Action> {
        self.input.clear();
        self.round.clear();
        self.readings.clear();
        self.next = None;
        self.looks.clear();
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
        if let State::Waiting { deadline, .. } = &mut self.state
            && self.input.len() <= FRAME
        {
            *deadline = (*deadline).max(now + PIECES);
        }
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
                    None if self.round.is_empty() && !self.pending.any(|wish| is_free(wish, &self.looks)) => {
                        let looks = self.looks.iter().map(|look| look.not_before);
                        looks.chain([self.round_due]).min().unwrap_or(self.round_due)
                    }
                    None => *from,
                };
                Some(next.max(*from))
            }
        }
    }

    fn offer(&self) -> Option<Offer> {
        let channels = self.config.registers.iter().map(|register| ChannelOffer {
            name: register.name.clone(),
            unit: register.unit.clone(),
            settable: register.write,
            readable: true,
            min: register.min,
            max: register.max,
            words: register.words.values().cloned().collect(),
            ..ChannelOffer::default()
        });
        let (timeout, gap) = (self.config.timeout, self.gap);
        Some(Offer { channels: channels.collect(), timeout, gap, ..Offer::default() })
    }

    fn ask(&mut self, id: &str, request: &Wanted, now: Duration) -> Vec<Action> {
        let wish = self.wish(id, request);
        let is_open = !matches!(self.state, State::Closed);
        let mut actions = self.pending.admit(id, is_open, wish, now);
        actions.extend(self.go(now));
        actions
    }

    fn give_up(&mut self, id: &str) {
        self.pending.withdraw(|waiting, _| waiting == id);
        self.looks.retain(|look| look.id() != Some(id));
        self.next.take_if(|next| next.id() == Some(id));
        match &mut self.state {
            State::Waiting { request, .. } if request.id() == Some(id) => request.purpose = Purpose::Nobody,
            State::Resync { request, .. } => drop(request.take_if(|request| request.id() == Some(id))),
            _ => {}
        }
    }

    fn taken(&mut self) -> Vec<String> {
        self.pending.taken(|_| false)
    }

    fn actions(&self) -> Vec<&'static str> {
        if self.config.registers.iter().any(|r| r.write) { vec!["set", "move"] } else { Vec::new() }
    }

    fn closed(&mut self) -> Vec<Action> {
        const WHY: &str = "the port was closed";
        let mut under_way = self.next.take().into_iter().chain(self.looks.drain(..)).collect::<Vec<_>>();
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Waiting { request, .. } | State::Resync { request: Some(request), .. } => {
                under_way.push(request);
            }
            _ => {}
        }
        let mut actions = Vec::new();
        actions.extend(
            under_way.iter().filter_map(Request::id).map(|id| failed(id, Failure::DeviceError, WHY.into())),
        );
        actions.extend(self.pending.fail(WHY));
        self.readings.clear();
        actions
    }
}

impl Request {
    /// The set that it is a part of.
    fn write(&self) -> Option<&Write> {
        match &self.purpose {
            Purpose::Write(write) | Purpose::Readback { write, .. } => Some(write),
            _ => None,
        }
    }

    /// Whose it is.
    fn id(&self) -> Option<&str> {
        match &self.purpose {
            Purpose::Read(read) => Some(&read.id),
            _ => self.write().map(|write| write.id.as_str()),
        }
    }
}

impl Write {
    /// Whether both set one of the same registers.
    fn touches(&self, other: &Write) -> bool {
        let all = |write: &Write| -> Vec<usize> {
            write.rest.iter().map(|(register, _)| *register).chain([write.register]).collect()
        };
        let theirs = all(other);
        all(self).iter().any(|register| theirs.contains(register))
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
fn raw_of(register: &ModbusRegister, value: &Setting) -> Result<Raw, No> {
    let unit = register.unit.as_ref().map(|u| format!(" {u}")).unwrap_or_default();
    let (word, number) = match value {
        Setting::Number(number) => (None, Some(*number).filter(|n| n.is_finite())),
        Setting::Word(word) => (Some(word.trim()), word.trim().parse::<f64>().ok().filter(|n| n.is_finite())),
    };
    let by_word = word.and_then(|word| {
        let found = register.words.iter().find(|(_, w)| w.eq_ignore_ascii_case(word));
        found.and_then(|(key, _)| key.parse::<f64>().ok())
    });
    let raw = match (by_word, number) {
        (Some(raw), _) => raw,
        (None, Some(number)) if register.words.is_empty() || word.is_none() => {
            let limits = (register.min, register.max);
            if let Some(why) = outside(&register.name, number, limits, register.unit.as_deref()) {
                return Err(No { code: Some(Failure::Limit), why });
            }
            (number - register.offset) / register.scale
        }
        _ if !register.words.is_empty() => return Err(expected_words(register, value).into()),
        _ => return Err(format!("`value` is {value}; expected a number").into()),
    };
    if register.table.is_bits() {
        return match raw {
            0.0 => Ok(Raw::Bit(false)),
            1.0 => Ok(Raw::Bit(true)),
            _ => Err(format!("`value` is {value}; expected true or false").into()),
        };
    }
    let whole = |least: f64, most: f64| -> Result<f64, String> {
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
        ModbusKind::F32 => return Err(format!("{value}{unit} does not fit into the register").into()),
        ModbusKind::F64 => raw.to_bits(),
    };
    let size = register.kind.registers();
    let words: Vec<u16> = (0..size).rev().map(|n| (bits >> (16 * n)) as u16).collect();
    Ok(Raw::Words(ordered(&words, register.order)))
}

fn expected_words(register: &ModbusRegister, value: &Setting) -> String {
    let words: Vec<_> = register.words.values().map(String::as_str).collect();
    format!("`value` is {value}; expected one of {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::script::{Replies, Rig, golden, ms};
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    /// Devices of a line, in a few words: enough of a server to be a master's other end.
    #[derive(Default)]
    struct Line {
        /// By unit and table: what is there.
        words: BTreeMap<(u8, ModbusTable, u16), u16>,
        silent: Vec<u8>,
        requests: Vec<(u8, u8, u16, u16)>,
        /// The next answers are spoilt like this, first to last.
        spoilt: VecDeque<fn(Vec<u8>) -> Vec<u8>>,
        exception: Option<u8>,
    }

    fn framed(mut body: Vec<u8>) -> Vec<u8> {
        body.extend(crc(&body).to_le_bytes());
        body
    }

    impl Line {
        fn set(&mut self, unit: u8, table: ModbusTable, address: u16, words: &[u16]) {
            for (n, word) in words.iter().enumerate() {
                self.words.insert((unit, table, address + n as u16), *word);
            }
        }

        fn hear(&mut self, sent: &[u8]) -> Replies {
            let (body, sum) = sent.split_last_chunk::<2>().unwrap();
            assert_eq!(crc(body), u16::from_le_bytes(*sum), "we send right checksums");
            let (unit, function) = (body[0], body[1]);
            let address = u16::from_be_bytes([body[2], body[3]]);
            let count = u16::from_be_bytes([body[4], body[5]]);
            self.requests.push((unit, function, address, count));
            if self.silent.contains(&unit) {
                return Vec::new();
            }
            let table = match function {
                1 | 5 => ModbusTable::Coil,
                2 => ModbusTable::Discrete,
                4 => ModbusTable::Input,
                _ => ModbusTable::Holding,
            };
            let refuse = |code: u8| framed(vec![unit, function | 0x80, code]);
            let answer = if let Some(code) = self.exception {
                refuse(code)
            } else if function <= 4 {
                let all: Option<Vec<u16>> =
                    (0..count).map(|n| self.words.get(&(unit, table, address + n)).copied()).collect();
                match all {
                    None => refuse(2),
                    Some(words) if table.is_bits() => {
                        let mut bytes = vec![0u8; usize::from(count.div_ceil(8))];
                        for (n, word) in words.iter().enumerate() {
                            bytes[n / 8] |= u8::from(*word != 0) << (n % 8);
                        }
                        framed([vec![unit, function, bytes.len() as u8], bytes].concat())
                    }
                    Some(words) => {
                        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_be_bytes()).collect();
                        framed([vec![unit, function, bytes.len() as u8], bytes].concat())
                    }
                }
            } else {
                match function {
                    5 | 6 => self.set(
                        unit,
                        table,
                        address,
                        &[if function == 5 { count & 1 | count >> 15 } else { count }],
                    ),
                    _ => {
                        let words: Vec<u16> =
                            body[7..].as_chunks::<2>().0.iter().map(|c| u16::from_be_bytes(*c)).collect();
                        self.set(unit, table, address, &words);
                    }
                }
                framed(body[..6].to_vec())
            };
            let answer = match self.spoilt.pop_front() {
                Some(spoil) => spoil(answer),
                None => answer,
            };
            vec![(ms(5), answer)]
        }
    }

    fn register(name: &str, table: ModbusTable, address: u16, kind: ModbusKind) -> ModbusRegister {
        ModbusRegister { name: name.into(), table, address, kind, ..ModbusRegister::default() }
    }

    fn config(registers: Vec<ModbusRegister>) -> config::Modbus {
        config::Modbus { registers, timeout: ms(100), ..config::Modbus::default() }
    }

    fn rig(config: &config::Modbus, line: &mut Line) -> Rig<Modbus> {
        let mut rig = Rig::new(Modbus::new(config, 9600));
        rig.open(&mut |sent| line.hear(sent));
        rig
    }

    const NOISE: [&str; 5] = ["send", "heard", "flush", "count answers", "count timeouts"];
    use ModbusKind::{Bool, F32, F64, I16, I32, I64, U16, U32, U64};
    use ModbusTable::{Coil, Discrete, Holding, Input};

    #[test]
    fn neighbours_are_read_in_one_request() {
        let at = |address, kind| register(&format!("r{address}"), Input, address, kind);
        let count = |registers: &[ModbusRegister], gap| -> Vec<(u16, u16, bool)> {
            plan(registers, gap).iter().map(|b| (b.address, b.count, b.holes)).collect()
        };
        let all = [at(12, F32), at(0, F32), at(6, F32), at(14, U16), at(200, U16)];
        assert_eq!(count(&all, 8), [(0, 15, true), (200, 1, false)]);
        assert_eq!(count(&all, 4), [(0, 15, true), (200, 1, false)]);
        assert_eq!(count(&all, 0), [(0, 2, false), (6, 2, false), (12, 3, false), (200, 1, false)]);
        let long: Vec<_> = (0..200).map(|n| at(n, U16)).collect();
        assert_eq!(count(&long, 8), [(0, 125, false), (125, 75, false)]);
        let mut other = at(1, U16);
        other.unit_id = 2;
        assert_eq!(plan(&[at(0, U16), other, register("h", Holding, 1, U16)], 8).len(), 3);
        assert_eq!(count(&[at(65_535, U16), at(65_534, U16)], 8), [(65_534, 2, false)]);
        // The same register twice, as a number and as bits.
        assert_eq!(count(&[at(3, U32), at(3, U16)], 8), [(3, 2, false)]);
    }

    #[test]
    fn orders_and_types() {
        let orders = [ModbusOrder::Abcd, ModbusOrder::Cdab, ModbusOrder::Badc, ModbusOrder::Dcba];
        // 230.5 is 43 66 80 00.
        let wire: [[u8; 4]; 4] =
            [[0x43, 0x66, 0x80, 0], [0x80, 0, 0x43, 0x66], [0x66, 0x43, 0, 0x80], [0, 0x80, 0x66, 0x43]];
        for (order, bytes) in orders.into_iter().zip(wire) {
            let register = ModbusRegister { order, ..register("v", Input, 0, F32) };
            assert_eq!(value_at(&register, &bytes, 0), Value::Number(230.5), "{order:?}");
            assert_eq!(raw_of(&register, &Setting::Number(230.5)).unwrap().bytes(), bytes, "{order:?}");
        }
        let value = |kind, bytes: &[u8]| value_at(&register("v", Input, 0, kind), bytes, 0);
        assert_eq!(value(U16, &[0xff, 0xfe]), Value::Number(65_534.0));
        assert_eq!(value(I16, &[0xff, 0xfe]), Value::Number(-2.0));
        assert_eq!(value(U32, &[0, 1, 0, 2]), Value::Number(65_538.0));
        assert_eq!(value(I32, &[0xff, 0xff, 0xff, 0xff]), Value::Number(-1.0));
        assert_eq!(value(U64, &[0, 0, 0, 0, 0, 1, 0, 0]), Value::Number(65_536.0));
        assert_eq!(value(I64, &[0xff; 8]), Value::Number(-1.0));
        assert_eq!(value(F64, &1.25f64.to_be_bytes()), Value::Number(1.25));
        assert_eq!(value(F32, &0.1f32.to_be_bytes()), Value::Number(0.1), "not 0.10000000149");
        assert_eq!(value(F32, &f32::NAN.to_be_bytes()), Value::Missing(QualityReason::Nan));
        assert_eq!(value(F32, &[0, 1]), Value::Missing(QualityReason::CommError));
        let mut bit = register("b", Holding, 0, Bool);
        bit.bit = Some(3);
        assert_eq!(value_at(&bit, &[0, 8], 0), Value::Flag(true));
        assert_eq!(value_at(&bit, &[8, 0], 0), Value::Flag(false));
        let mut scaled = register("s", Holding, 0, I16);
        (scaled.scale, scaled.offset) = (0.1, -40.0);
        assert_eq!(value_at(&scaled, &[0x02, 0x37], 0), Value::Number(16.7), "not 16.700000000000003");
        scaled.words = [("32767".to_string(), "open".to_string())].into();
        assert_eq!(value_at(&scaled, &[0x7f, 0xff], 0), Value::Text("open".into()));
    }

    #[test]
    fn a_line_is_read_round_by_round() {
        let mut line = Line::default();
        line.set(1, Input, 0, &[0x4366, 0x8000]);
        line.set(1, Coil, 10, &[1, 0, 1]);
        line.set(1, Discrete, 0, &[1]);
        line.set(1, Holding, 7, &[42]);
        let mut volts = register("volts", Input, 0, F32);
        volts.unit = Some("V".into());
        let config = config(vec![
            volts,
            register("pump", Coil, 10, Bool),
            register("fan", Coil, 12, Bool),
            register("door", Discrete, 0, Bool),
            register("level", Holding, 7, U16),
        ]);
        // The middle coil is there, as it should be in a line of them.
        let mut rig = rig(&config, &mut line);
        rig.run(ms(500), &mut |s| line.hear(s));
        assert_eq!(
            rig.said(&["heard", "flush", "count answers"]),
            [
                "send \\x01\\x03\\x00\\x07\\x00\\x015\\xcb",
                "send \\x01\\x04\\x00\\x00\\x00\\x02q\\xcb",
                "send \\x01\\x01\\x00\\n\\x00\\x03\\\\\\t",
                "send \\x01\\x02\\x00\\x00\\x00\\x01\\xb9\\xca",
                "readings level=Number(42.0), volts=Number(230.5) V, pump=Flag(true), fan=Flag(true), door=Flag(true)",
            ]
        );
        rig.run(ms(5000), &mut |s| line.hear(s));
        assert_eq!(rig.log.iter().filter(|l| l.starts_with("readings")).count(), 5);
    }

    #[test]
    fn one_silent_device_does_not_hold_up_the_others() {
        let mut line = Line { silent: vec![2], ..Line::default() };
        for unit in [1, 2, 3] {
            line.set(unit, Holding, 0, &[u16::from(unit)]);
        }
        let of =
            |unit_id: u8| ModbusRegister { unit_id, ..register(&format!("u{unit_id}"), Holding, 0, U16) };
        let config = config(vec![of(1), of(2), of(3)]);
        let mut rig = rig(&config, &mut line);
        rig.run(ms(20_000), &mut |s| line.hear(s));
        let log = rig.said(&NOISE);
        assert_eq!(
            log.iter().filter(|l| l.starts_with("readings") && l.contains("u3=Number(3.0)")).count(),
            20
        );
        assert_eq!(log.iter().filter(|l| l.contains("u2=Missing(NotConnected)")).count(), 1);
        assert!(log.contains(&"detail silent_units [2]".to_string()));
        assert!(!log.iter().any(|l| l.starts_with("lost")));
        let asked = line.requests.iter().filter(|r| r.0 == 2).count();
        assert!((4..=8).contains(&asked), "asked {asked} times in 20 s");
        line.silent.clear();
        rig.run(ms(12_000), &mut |s| line.hear(s));
        let log = rig.said(&NOISE);
        assert!(log.contains(&"detail silent_units []".to_string()));
        assert!(log.iter().any(|l| l.contains("u2=Number(2.0)")));
        // All of them: that is a loss.
        line.silent = vec![1, 2, 3];
        rig.run(ms(20_000), &mut |s| line.hear(s));
        let log = rig.said(&NOISE);
        assert_eq!(log.iter().filter(|l| *l == "lost not_connected").count(), 1, "{log:?}");
        line.silent.clear();
        rig.run(ms(15_000), &mut |s| line.hear(s));
        assert!(rig.took().iter().any(|l| l.contains("u1=Number(1.0)")));
    }

    #[test]
    fn what_is_spoilt_is_never_a_value() {
        let mut line = Line::default();
        line.set(1, Holding, 0, &[1234]);
        let config = config(vec![register("r", Holding, 0, U16)]);
        let mut rig = rig(&config, &mut line);
        type Spoil = fn(Vec<u8>) -> Vec<u8>;
        let table: &[(Spoil, &str)] = &[
            (
                |mut f| {
                    f[3] ^= 1;
                    f
                },
                "count crc_errors 1",
            ),
            (
                |mut f| {
                    f[0] = 9;
                    f
                },
                "count foreign_frames 1",
            ),
            (
                |mut f| {
                    f[1] = 4;
                    f
                },
                "count foreign_frames 1",
            ),
            (|_| framed(vec![1, 3, 4, 0, 1, 0, 2]), "count foreign_frames 1"),
            (
                |mut f| {
                    f.truncate(4);
                    f
                },
                "count short_frames 1",
            ),
        ];
        rig.run(ms(300), &mut |s| line.hear(s));
        for (spoil, wanted) in table {
            rig.took();
            line.spoilt.push_back(*spoil);
            rig.run(ms(1000), &mut |s| line.hear(s));
            let log = rig.took();
            assert!(log.contains(&wanted.to_string()), "{wanted}: {log:?}");
            assert!(log.contains(&"count retries 1".to_string()));
            let readings: Vec<_> = log.iter().filter(|l| l.starts_with("readings")).collect();
            assert_eq!(readings, ["readings r=Number(1234.0)"]);
        }
        // What two-wire adapters add is not a fault: their own voice, and the noise of turning round.
        for harmless in [
            (|f| [vec![1, 3, 0, 0, 0, 1, 0x84, 0x0A], f].concat()) as Spoil,
            |f| [vec![0, 0xFF], f].concat(),
            |f| [f, vec![0]].concat(),
        ] {
            rig.took();
            line.spoilt.push_back(harmless);
            rig.run(ms(1000), &mut |s| line.hear(s));
            let log = rig.took();
            assert!(log.contains(&"readings r=Number(1234.0)".to_string()), "{log:?}");
            assert!(!log.iter().any(|l| l.starts_with("bad") || l.starts_with("count retries")), "{log:?}");
        }
    }

    #[test]
    fn exceptions_are_told_in_words() {
        let mut line = Line { exception: Some(4), ..Line::default() };
        line.set(1, Holding, 0, &[5]);
        let config = config(vec![register("r", Holding, 0, U16)]);
        let mut rig = rig(&config, &mut line);
        rig.run(ms(300), &mut |s| line.hear(s));
        assert_eq!(
            rig.said(&NOISE),
            [
                "count exceptions 1",
                "detail refused {\"unit 1 holding 0-0\":\"04 device failure: it failed while doing it\"}",
                "readings r=Missing(DeviceError)",
            ]
        );
        // Busy: once more, a little later.
        line.exception = Some(6);
        rig.run(ms(800), &mut |s| line.hear(s));
        line.exception = None;
        rig.run(ms(800), &mut |s| line.hear(s));
        assert_eq!(
            rig.said(&NOISE),
            ["count exceptions 1", "count retries 1", "detail refused {}", "readings r=Number(5.0)"]
        );
    }

    #[test]
    fn a_device_that_refuses_holes_is_read_without_them() {
        let mut line = Line::default();
        line.set(1, Input, 0, &[1]);
        line.set(1, Input, 5, &[2]);
        let config = config(vec![register("a", Input, 0, U16), register("b", Input, 5, U16)]);
        let mut rig = rig(&config, &mut line);
        rig.run(ms(900), &mut |s| line.hear(s));
        assert_eq!(
            rig.said(&NOISE),
            ["count exceptions 1", "count split_requests 1", "readings a=Number(1.0), b=Number(2.0)"]
        );
        rig.run(ms(1000), &mut |s| line.hear(s));
        assert_eq!(rig.said(&NOISE), ["readings a=Number(1.0), b=Number(2.0)"]);
        assert_eq!(line.requests.last(), Some(&(1, 4, 5, 1)));
    }

    #[test]
    fn registers_are_set_and_read_back() {
        let mut line = Line::default();
        line.set(1, Holding, 0, &[100, 0, 0]);
        line.set(1, Coil, 0, &[0]);
        let mut level = ModbusRegister { write: true, scale: 0.1, ..register("level", Holding, 0, I16) };
        (level.min, level.max, level.unit) = (Some(-10.0), Some(50.0), Some("degC".into()));
        let mut pump = ModbusRegister { write: true, ..register("pump", Coil, 0, Bool) };
        pump.words = [("0".to_string(), "off".to_string()), ("1".into(), "on".into())].into();
        let gain =
            ModbusRegister { write: true, order: ModbusOrder::Cdab, ..register("gain", Holding, 1, F32) };
        let config = config(vec![level, pump, gain, register("fixed", Input, 0, U16)]);
        let mut rig = rig(&config, &mut line);
        let set = |rig: &mut Rig<Modbus>, line: &mut Line, channel: &str, value: Json| {
            rig.run(ms(400), &mut |s| line.hear(s));
            rig.took();
            rig.command("1", "set", json!({ "channel": channel, "value": value }), &mut |s| line.hear(s));
            rig.run(ms(600), &mut |s| line.hear(s));
            let log = rig.took();
            log.into_iter().find(|l| l.starts_with("finish")).unwrap_or_default()
        };
        let mut check = |channel, value, wanted: &str| {
            assert_eq!(set(&mut rig, &mut line, channel, value), wanted, "{channel}");
        };
        check("level", json!(21.5), "finish 1 completed");
        check("level", json!(-3), "finish 1 completed");
        check(
            "level",
            json!(50.1),
            "finish 1 rejected: level 50.1 degC is outside its limits: -10 to 50 degC",
        );
        check("level", json!(1.23), "finish 1 rejected: level can only be set in steps of 0.1 degC");
        check("pump", json!("on"), "finish 1 completed");
        check("pump", json!("maybe"), "finish 1 rejected: `value` is \"maybe\"; expected one of off, on");
        check("gain", json!(1.25), "finish 1 completed");
        check(
            "fixed",
            json!(1),
            "finish 1 rejected: `channel` is \"fixed\"; expected one that can be set: level, pump, gain",
        );
        assert_eq!(line.words[&(1, Holding, 0)] as i16, -30);
        assert_eq!(line.words[&(1, Coil, 0)], 1);
        assert_eq!((line.words[&(1, Holding, 1)], line.words[&(1, Holding, 2)]), (0, 0x3fa0));
        assert!(line.requests.iter().any(|r| r.1 == 16) && line.requests.iter().any(|r| r.1 == 6));
        // A device that takes it and does nothing.
        line.spoilt.clear();
        let mut stuck = Line::default();
        stuck.set(1, Holding, 0, &[100, 0, 0]);
        stuck.set(1, Coil, 0, &[0]);
        stuck.set(1, Input, 0, &[0]);
        let mut rig = self::rig(&config, &mut stuck);
        rig.command("9", "set", json!({ "channel": "level", "value": 20 }), &mut |_| Vec::new());
        let mut deaf = |s: &[u8]| {
            if s[1] == 6 { vec![(ms(5), s.to_vec())] } else { stuck.hear(s) }
        };
        rig.run(ms(1000), &mut deaf);
        assert!(
            rig.took().contains(
                &"finish 9 failed: wrote 20.0 degC to level, but it reads back 10.0 degC".to_string()
            )
        );
        // One that does not answer the write is not written to again, but read.
        rig.run(ms(400), &mut deaf);
        let mut writes = 0;
        let mut silent = |s: &[u8]| {
            if s[1] == 6 {
                writes += 1;
                stuck.set(1, Holding, 0, &[200]);
                return Vec::new();
            }
            stuck.hear(s)
        };
        rig.command("10", "set", json!({ "channel": "level", "value": 20 }), &mut silent);
        rig.run(ms(1000), &mut silent);
        assert!(rig.took().contains(&"finish 10 completed".to_string()));
        assert_eq!(writes, 1);
    }

    #[test]
    fn a_set_that_is_waited_for_leaves_the_line_free_and_can_be_given_up() {
        let mut line = Line::default();
        line.set(1, Holding, 0, &[100, 7]);
        let slow = ModbusRegister { write: true, ..register("slow", Holding, 0, U16) };
        let quick = ModbusRegister { write: true, ..register("quick", Holding, 1, U16) };
        let mut config = config(vec![slow, quick]);
        config.poll = ms(200);
        let mut rig = rig(&config, &mut line);
        // What is written to the first register is taken, and has its effect when we say so.
        let mut device = |s: &[u8]| {
            if s[1] == 6 && s[3] == 0 { vec![(ms(5), s.to_vec())] } else { line.hear(s) }
        };
        rig.run(ms(300), &mut device);
        let set = |channel: &str, to: f64| Wanted::Set {
            channel: channel.into(),
            to: Setting::Number(to),
            tolerance: None,
            within: Some(ms(60_000)),
            arrive: true,
        };
        let count = |rig: &Rig<Modbus>, word: &str| rig.log.iter().filter(|l| l.contains(word)).count();
        rig.took();
        rig.ask("#1", &set("slow", 5.0), &mut device);
        rig.run(ms(1000), &mut device);
        // The rest of the line is polled and set meanwhile.
        assert!(count(&rig, "quick=Number(7.0)") >= 4, "{:#?}", rig.log);
        rig.ask("#2", &set("quick", 8.0), &mut device);
        rig.ask("#3", &set("slow", 6.0), &mut device);
        rig.run(ms(500), &mut device);
        assert_eq!(count(&rig, "finish #2 completed"), 1);
        let to_slow = "send \\x01\\x06\\x00\\x00";
        assert_eq!(count(&rig, to_slow), 1, "the second set of a register waits for the first");
        // Given up: it is not looked at any more, and the next one goes.
        rig.protocol.give_up("#1");
        rig.run(ms(500), &mut device);
        assert_eq!(count(&rig, to_slow), 2);
        rig.protocol.give_up("#3");
        rig.run(ms(300), &mut device);
        rig.took();
        rig.run(ms(1000), &mut device);
        let read = count(&rig, "send ");
        assert!(read <= 6, "only the rounds are left, {read} requests: {:#?}", rig.log);
        // One that was sent and given up: its answer is nobody's, and nothing follows.
        rig.ask("#4", &set("quick", 9.0), &mut device);
        rig.protocol.give_up("#4");
        rig.took();
        rig.run(ms(190), &mut device);
        assert_eq!(count(&rig, "count timeouts") + count(&rig, "finish"), 0, "{:#?}", rig.log);
        rig.ask("#5", &set("slow", 7.0), &mut device);
        rig.run(ms(100), &mut device);
        rig.took();
        rig.close();
        assert_eq!(rig.took(), ["finish #5 failed: the port was closed"]);
    }

    #[test]
    fn silences() {
        assert_eq!(silence(115_200), Duration::from_micros(1750));
        assert_eq!(silence(9600).as_micros(), 4010);
        assert_eq!(silence(0), Duration::from_micros(1750));
    }

    /// tests/golden/modbus/meter.log: `> hex` is what goes over the line from us, `< hex` what comes back, `< ` nothing.
    #[test]
    fn golden_log() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/modbus/meter.log");
        let text = std::fs::read_to_string(path).unwrap();
        let bytes = |hex: &str| -> Vec<u8> {
            hex.split_whitespace().map(|b| u8::from_str_radix(b, 16).unwrap()).collect()
        };
        let mut script: VecDeque<(Vec<u8>, Vec<u8>)> = VecDeque::new();
        for line in text.lines() {
            if let Some(sent) = line.strip_prefix('>') {
                script.push_back((bytes(sent), Vec::new()));
            } else if let Some(answer) = line.strip_prefix('<') {
                script.back_mut().unwrap().1.extend(bytes(answer));
            }
        }
        let of = |name: &str, address, unit: &str| ModbusRegister {
            unit: Some(unit.into()),
            ..register(name, Input, address, F32)
        };
        let mut config = config(vec![
            of("voltage", 0, "V"),
            of("current", 6, "A"),
            of("power", 12, "W"),
            of("frequency", 70, "Hz"),
            of("import", 72, "kWh"),
        ]);
        config.retries = 2;
        let mut device = |sent: &[u8]| -> Replies {
            let Some((wanted, answer)) = script.pop_front() else { return Vec::new() };
            assert_eq!(sent, wanted, "the log is not what we send");
            // As an adapter hands it over: in pieces.
            let pieces = answer.chunks(5).enumerate();
            pieces.map(|(n, piece)| (ms(4 + 2 * n as u64), piece.to_vec())).collect()
        };
        let mut rig = Rig::new(Modbus::new(&config, 2400));
        rig.open(&mut device);
        rig.run(ms(3900), &mut device);
        golden("modbus/meter", &format!("{}\n", rig.took().join("\n")));
    }

    proptest! {
        /// Whatever comes: no panic, and no value that the right checksum does not vouch for.
        #[test]
        fn anything_at_all(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
            let config = config(vec![register("r", Holding, 0, U16), register("c", Coil, 3, Bool)]);
            let mut rig = Rig::new(Modbus::new(&config, 9600));
            let mut chunks = chunks.into_iter();
            let mut device = |_: &[u8]| vec![(ms(3), chunks.next().unwrap_or_default())];
            rig.open(&mut device);
            rig.run(ms(6000), &mut device);
            rig.close();
            prop_assert!(!rig.log.iter().any(|l| l.starts_with("readings") && l.contains("Number")));
        }

        /// What is written is what is read, in every type and order.
        #[test]
        fn written_values_read_back(
            value in -30_000i32..30_000,
            kind in prop::sample::select(vec![I16, I32, I64, F32, F64]),
            order in prop::sample::select(vec![ModbusOrder::Abcd, ModbusOrder::Cdab, ModbusOrder::Badc, ModbusOrder::Dcba]),
            scale in prop::sample::select(vec![1.0, 0.1, 0.01, 10.0]),
        ) {
            let register = ModbusRegister { order, scale, ..register("r", Holding, 0, kind) };
            let wanted = f64::from(value) * scale;
            let raw = raw_of(&register, &Setting::Number(wanted)).unwrap();
            let back = value_at(&register, &raw.bytes(), 0).as_number().unwrap();
            prop_assert!((back - wanted).abs() < 1e-6 * wanted.abs().max(1.0), "{} became {}", wanted, back);
        }
    }
}
