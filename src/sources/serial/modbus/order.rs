//! What stops the devices of a line or brings them into a safe state, and the wait until what moves stands still.
//!
//! **Promises.** An order goes before all else that waits, also to a device that was silent, and ends sets that are on their
//! way. All of it is written, in its order, whatever becomes of a part; what was refused or not answered is told at the
//! end. Unlike a set, a write of an order is repeated when it is not answered: it is the same twice.

use super::frame::{read_frame, write_frame};
use super::value::Raw;
use super::{AGAIN, Modbus, Purpose, Request, Wish, Write, done};
use crate::config::{ModbusRegister, ModbusWrite};
use crate::sources::instruments::Failure;
use crate::sources::reading::Reading;
use crate::sources::serial::pending::failed;
use crate::sources::serial::protocol::{Action, Motion};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A flag that has not risen within this time after a set is not going to: it was there already. Controllers look at what
/// was written to them every 10 to 100 ms.
const RISE: Duration = Duration::from_millis(100);

/// Writes that are done one after the other.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub id: String,
    pub writes: VecDeque<ModbusWrite>,
    /// It is done when nothing moves any more.
    pub stops: bool,
    /// What went wrong so far.
    pub faults: Vec<(Failure, String)>,
}

/// Channels that have to stand still.
#[derive(Clone, Debug)]
pub(super) struct Still {
    pub id: String,
    /// Those that a set has sent on their way.
    pub sets: Vec<usize>,
    movers: Vec<Mover>,
    /// The registers that tell, and how many of them have been asked in this look.
    statuses: Vec<usize>,
    asked: usize,
    /// Flags have to rise, or time until then.
    rises_by: Option<Duration>,
    within: Duration,
    until: Duration,
    faults: Vec<(Failure, String)>,
    readings: Vec<Reading>,
}

#[derive(Clone, Debug)]
struct Mover {
    channel: usize,
    rose: bool,
    moves: bool,
}

impl Order {
    /// The write under way was answered, or came to nothing.
    pub fn ended(&mut self, fault: Option<(Failure, &str)>) {
        if let Some(write) = self.writes.pop_front()
            && let Some((failure, why)) = fault
        {
            self.faults.push((failure, format!("{write}: {why}")));
        }
    }
}

impl Still {
    /// Those of the channels that tell whether they move.
    fn new(
        id: String,
        channels: impl Iterator<Item = usize>,
        all: &[ModbusRegister],
        now: Duration,
    ) -> Still {
        let told: Vec<(usize, usize)> = channels.filter_map(|n| Some((n, status_of(all, n)?))).collect();
        let settles = told.iter().filter_map(|(n, _)| Some(all.get(*n)?.settles()));
        let within = settles.max().unwrap_or_default();
        let statuses: BTreeSet<usize> = told.iter().map(|(_, status)| *status).collect();
        let movers = told.iter().map(|(channel, _)| Mover { channel: *channel, rose: false, moves: false });
        Still {
            id,
            sets: Vec::new(),
            movers: movers.collect(),
            statuses: statuses.into_iter().collect(),
            asked: 0,
            rises_by: None,
            within,
            until: now + within,
            faults: Vec::new(),
            readings: Vec::new(),
        }
    }

    /// What its status register says of its channels.
    pub fn heard(&mut self, status: usize, word: u16, registers: &[ModbusRegister]) {
        for mover in &mut self.movers {
            let channel = registers.get(mover.channel);
            if status_of(registers, mover.channel) == Some(status)
                && let Some(channel) = channel
            {
                mover.moves = channel.moves(word);
                mover.rose |= mover.moves;
            }
        }
    }

    /// The register that was asked last.
    pub fn asked_last(&self) -> usize {
        self.statuses.get(self.asked.saturating_sub(1)).copied().unwrap_or(usize::MAX)
    }

    /// One that moves still, or has not begun.
    fn moving(&self, now: Duration) -> Option<usize> {
        let waits = self.rises_by.is_some_and(|by| now < by);
        self.movers.iter().find(|m| m.moves || waits && !m.rose).map(|m| m.channel)
    }
}

/// The register that tells whether a channel moves.
pub(super) fn status_of(registers: &[ModbusRegister], channel: usize) -> Option<usize> {
    let status = registers.get(channel)?.moving.as_ref()?;
    registers.iter().position(|register| register.name == *status)
}

impl Modbus {
    /// The next write of an order; what follows when there is none.
    pub(super) fn order(
        &mut self,
        order: Order,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Option<Request> {
        let mut order = order;
        while let Some(write) = order.writes.front() {
            let raw = match write.table.is_bits() {
                true => Raw::Bit(write.value != 0),
                false => Raw::Words(vec![write.value]),
            };
            if let Some((frame, codec)) = write_frame(write.unit_id, write.address, &raw) {
                return Some(Request::of(frame, codec, Purpose::Order(order)));
            }
            order.ended(Some((Failure::DeviceError, "it does not fit into a frame")));
        }
        let all = if order.stops { 0..self.config.registers.len() } else { 0..0 };
        let mut still = Still::new(order.id, all, &self.config.registers, now);
        still.faults = order.faults;
        self.look_at(still, now, actions)
    }

    /// A set has been taken: it has arrived when what it set stands still.
    pub(super) fn arrives(
        &mut self,
        write: Write,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Option<Request> {
        let mut still = Still::new(write.id, write.sets.iter().copied(), &self.config.registers, now);
        (still.within, still.until) = (write.within, now + write.within);
        (still.sets, still.readings) = (write.sets, write.readings);
        still.rises_by = Some(now + RISE);
        self.look_at(still, now, actions)
    }

    /// Asks the next register that tells, or judges what they have told.
    pub(super) fn look_at(
        &mut self,
        mut still: Still,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Option<Request> {
        if let Some(status) = still.statuses.get(still.asked).and_then(|n| self.config.registers.get(*n)) {
            still.asked += 1;
            let (frame, codec) = read_frame(status.unit_id, status.table, status.address, 1)?;
            return Some(Request::of(frame, codec, Purpose::Still(still)));
        }
        let Some(moving) = still.moving(now) else {
            actions.push(match still.faults.first() {
                None => done(still.id, still.readings),
                Some((failure, _)) => {
                    let told: Vec<&str> = still.faults.iter().map(|(_, why)| why.as_str()).collect();
                    failed(&still.id, *failure, told.join("; "))
                }
            });
            return None;
        };
        if now >= still.until {
            let name = self.config.registers.get(moving).map(|r| r.name.as_str()).unwrap_or_default();
            let why = format!("{name} moves still after {:?}", still.within);
            actions.push(failed(&still.id, Failure::Timeout, why));
            return None;
        }
        still.asked = 0;
        let again = self.look_at(still, now, actions)?;
        self.looks.push(Request { not_before: now + AGAIN, ..again });
        None
    }

    /// What a status register says of those that it tells of.
    pub(super) fn motions(&self, status: usize, word: u16) -> Vec<Action> {
        let registers = &self.config.registers;
        let told = registers.iter().enumerate().filter(|(n, _)| status_of(registers, *n) == Some(status));
        told.map(|(_, channel)| {
            let moving = Some(channel.moves(word));
            Action::Motion(Motion { channel: channel.name.clone(), target: None, moving })
        })
        .collect()
    }

    /// Somebody stops it: what is on its way ends.
    pub(super) fn end_sets(&mut self, actions: &mut Vec<Action>) {
        const WHY: &str = "it was told to stop";
        let mut ends: Vec<String> = Vec::new();
        if let Some(next) = self.next.take() {
            match next.purpose {
                // It is read after the order.
                Purpose::Block(n) => self.round.push_front(n),
                _ => ends.extend(next.id().map(str::to_string)),
            }
        }
        let set = |look: &mut Request| !look.sets().is_empty();
        ends.extend(self.looks.extract_if(.., set).filter_map(|look| look.id().map(str::to_string)));
        ends.extend(self.pending.withdraw(|_, wish| matches!(wish, Wish::Write(_))));
        actions.extend(ends.iter().map(|id| failed(id, Failure::StoppedExternally, WHY.into())));
    }
}
