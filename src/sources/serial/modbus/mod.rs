//! Modbus RTU: we are the master of a line of one or more devices. Pure; frames are built and checked by `rmodbus`.
//!
//! **Promises.** One request is under way at a time, with the silence the standard wants before each. Neighbouring
//! registers are read in one request. A frame with a wrong checksum, of another device or of another length is never a
//! value; after one the line has to be silent before the next request. A device that does not answer is asked less often
//! and does not hold up the others. A write is checked against its limits before a byte is sent, is never repeated, and
//! is done when reading it back shows it and what it set stands still. What stops the devices goes before all else. Does not: act as a server, broadcast, or share the line with another master.
//!
//! Sources: those of `frame`.

mod block;
mod frame;
mod heard;
mod order;
mod request;
#[cfg(test)]
mod tests;
mod value;

use self::block::{Block, plan};
use self::frame::{Codec, FRAME, Said, exception, hex, read_frame, silence, write_frame};
use self::order::{Order, Still};
use self::value::{Raw, raw_of, value_at, word_at};
use super::pending::{No, Pending, ended, failed};
use super::protocol::{Action, Finish, Motion, Protocol};
use crate::config::{self, ModbusRegister};
use crate::model::{CommandState, QualityReason};
use crate::sources::instruments::{ChannelOffer, Failure, Offer, Request as Wanted, Setting};
use crate::sources::reading::{Reading, Value};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Silence after something that was not understood: adapters hand over bytes up to 16 ms late.
const RESYNC: Duration = Duration::from_millis(30);
/// Pause before a busy device is asked again.
const BUSY: Duration = Duration::from_millis(200);
/// The longest pause between two tries of a device that does not answer.
const SILENT_MOST: Duration = Duration::from_secs(10);
/// A frame that has begun may pause this long: adapters and busy machines hand it over in pieces.
const PIECES: Duration = Duration::from_millis(100);
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
    /// What we send comes back before its answer, as it did with the last read.
    hears_itself: bool,
    lost: bool,
    exceptions: BTreeMap<String, String>,
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
    /// Its echo has come.
    echoed: bool,
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
    Order(Order),
    Still(Still),
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
    /// All that it sets.
    sets: Vec<usize>,
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
    Order(Order),
}

impl Wish {
    /// It goes before all else, and ends sets.
    fn is_urgent(&self) -> bool {
        matches!(self, Wish::Order(_))
    }
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
            hears_itself: false,
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
                        && !self.pending.any(Wish::is_urgent)
                    {
                        return actions;
                    }
                    match self.next_request(now, &mut actions) {
                        Some(mut request) => {
                            self.input.clear();
                            request.echoed = false;
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
        if !self.next.as_ref().is_some_and(Request::is_urgent)
            && let Some((_, Wish::Order(order))) = self.pending.next(Wish::is_urgent)
        {
            self.end_sets(actions);
            return self.order(order, now, actions);
        }
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
                Some((_, Wish::Order(order))) => return self.order(order, now, actions),
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
                return Some(Request::of(frame, codec, Purpose::Block(n)));
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
        let register = self.config.registers.get(write.register);
        let made = register.and_then(|r| write_frame(r.unit_id, r.address, &write.raw));
        let Some((frame, codec)) = made else {
            let why = "the value does not fit into a frame".to_string();
            actions.push(ended(&write.id, CommandState::Failed, Some(why)));
            return None;
        };
        Some(Request::of(frame, codec, Purpose::Write(write)))
    }

    fn read(&self, read: Read, actions: &mut Vec<Action>) -> Option<Request> {
        let block = &read.block;
        let Some((frame, codec)) = read_frame(block.unit, block.table, block.address, block.count) else {
            actions.push(ended(&read.id, CommandState::Failed, Some("it can't be read".into())));
            return None;
        };
        Some(Request::of(frame, codec, Purpose::Read(read)))
    }

    /// Reads back what was written, after the answer to it, or after none.
    fn read_back(&mut self, write: Write, silent: bool, not_before: Duration) -> Vec<Action> {
        let register = self.config.registers.get(write.register);
        let request = register.and_then(|register| {
            let count = if register.table.is_bits() { 1 } else { register.kind.registers() };
            let (frame, codec) = read_frame(register.unit_id, register.table, register.address, count)?;
            let purpose = Purpose::Readback { write: write.clone(), silent };
            Some(Request { not_before, ..Request::of(frame, codec, purpose) })
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
        let tries = if standing.silent > 0 && !request.is_urgent() { 0 } else { self.config.retries };
        let (mut end, mut order) = (None, None);
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
            Purpose::Still(still) => {
                let why = "no answer when it was asked whether it moves".to_string();
                end = Some(failed(&still.id, Failure::Timeout, why));
            }
            Purpose::Order(mut stops) => {
                stops.ended(Some((Failure::Timeout, "no answer")));
                order = Some(stops);
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
        if let Some(order) = order {
            self.next = self.order(order, now, &mut actions);
        }
        actions
    }

    fn silent_units(&self) -> Action {
        let silent: Vec<u8> =
            self.units.iter().filter(|(_, s)| s.silent > 0).map(|(unit, _)| *unit).collect();
        Action::Detail("silent_units", json!(silent))
    }

    /// Looks at what has come so far.
    fn look(&mut self, now: Duration) -> Vec<Action> {
        let State::Waiting { request, .. } = &mut self.state else { return Vec::new() };
        let mut actions = Vec::new();
        // Two-wire adapters may hear themselves. The echo of a write is the same as its answer: whether there is one, a read tells.
        let reads = request.codec.function <= 4;
        let mut may_echo = (reads || self.hears_itself) && !request.echoed;
        if may_echo && self.input.starts_with(&request.frame) {
            self.input.drain(..request.frame.len());
            actions.push(Action::Count("echoes", 1));
            (request.echoed, may_echo) = (true, false);
        }
        let said = match request.codec.read(&self.input) {
            Said::More => return actions,
            Said::Data(data) => Ok(data.to_vec()),
            Said::Exception(code) => Err(code),
            // An echo in pieces.
            Said::Nonsense { .. } if may_echo && request.frame.starts_with(&self.input) => return actions,
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
        if reads {
            self.hears_itself = request.echoed;
        }
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
}

/// It may begin although these are still to be read back: it sets none of their registers.
fn is_free(wish: &Wish, looks: &[Request]) -> bool {
    let Wish::Write(write) = wish else { return true };
    !looks.iter().any(|look| look.sets().iter().any(|register| write.sets.contains(register)))
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
                    _ if self.pending.any(Wish::is_urgent) => *from,
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
            settle: register.settles(),
            moves: register.moving.is_some(),
            words: register.words.values().cloned().collect(),
            ..ChannelOffer::default()
        });
        let (timeout, gap) = (self.config.timeout, self.gap);
        Some(Offer {
            channels: channels.collect(),
            stops: !self.config.stop.is_empty(),
            safe: self.config.safe.iter().map(ToString::to_string).collect(),
            movement: self.config.registers.iter().any(|r| r.moving.is_some()),
            timeout,
            gap,
            ..Offer::default()
        })
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
        self.pending.taken(Wish::is_urgent)
    }

    fn actions(&self) -> Vec<&'static str> {
        let mut actions = Vec::new();
        if self.config.registers.iter().any(|r| r.write) {
            actions.extend(["set", "move"]);
        }
        for (writes, action) in [(&self.config.stop, "stop"), (&self.config.safe, "safe")] {
            if !writes.is_empty() {
                actions.push(action);
            }
        }
        actions
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
    fn of(frame: Vec<u8>, codec: Codec, purpose: Purpose) -> Request {
        Request { frame, codec, purpose, tries: 0, not_before: Duration::ZERO, echoed: false }
    }

    /// It goes before all else.
    fn is_urgent(&self) -> bool {
        matches!(self.purpose, Purpose::Order(_))
    }

    /// The registers of the set that it is a part of.
    fn sets(&self) -> &[usize] {
        match &self.purpose {
            Purpose::Write(write) | Purpose::Readback { write, .. } => &write.sets,
            Purpose::Still(still) => &still.sets,
            _ => &[],
        }
    }

    /// Whose it is.
    fn id(&self) -> Option<&str> {
        match &self.purpose {
            Purpose::Read(read) => Some(&read.id),
            Purpose::Write(write) | Purpose::Readback { write, .. } => Some(&write.id),
            Purpose::Order(order) => Some(&order.id),
            Purpose::Still(still) => Some(&still.id),
            Purpose::Block(_) | Purpose::Nobody => None,
        }
    }
}

fn reading(register: &ModbusRegister, value: Value) -> Reading {
    Reading { name: register.name.clone(), value, unit: register.unit.clone() }
}
