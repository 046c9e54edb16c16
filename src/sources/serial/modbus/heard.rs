//! What becomes of an answer: of a round, a read, a set, an order, and of a refusal.

use super::*;

impl Modbus {
    pub(super) fn answered(&mut self, request: Request, data: &[u8], now: Duration) -> Vec<Action> {
        match request.purpose {
            Purpose::Block(n) => {
                let Some(block) = self.blocks.get(n) else { return Vec::new() };
                let mut actions = Vec::new();
                for n in &block.registers {
                    if let Some(register) = self.config.registers.get(*n) {
                        let at = register.address.saturating_sub(block.address);
                        let value = value_at(register, data, at);
                        self.readings.push(reading(register, value));
                        actions.extend(
                            word_at(register, data, at).into_iter().flat_map(|w| self.motions(*n, w)),
                        );
                    }
                }
                let cured = self.exceptions.remove(&block.name());
                actions.extend(cured.map(|_| self.told_exceptions()));
                actions
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
                let mut actions: Vec<Action> = self.target(&write).into_iter().collect();
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
                let mut actions: Vec<Action> = self.target(&write).into_iter().collect();
                actions.extend(self.read_back(write, false, Duration::ZERO));
                actions
            }
            Purpose::Order(mut order) => {
                order.ended(None);
                let mut actions = Vec::new();
                self.next = self.order(order, now, &mut actions);
                actions
            }
            Purpose::Still(still) => self.told(still, data, now),
            Purpose::Readback { write, silent } => self.looked(write, silent, data, now),
            Purpose::Nobody => Vec::new(),
        }
    }

    /// Where a channel that tells whether it moves was sent.
    fn target(&self, write: &Write) -> Option<Action> {
        let register = self.config.registers.get(write.register).filter(|r| r.moving.is_some())?;
        let target = Some(value_at(register, &write.raw.bytes(), 0).as_number()?);
        Some(Action::Motion(Motion { channel: register.name.clone(), target, moving: None }))
    }

    /// A status register was read for somebody who waits.
    fn told(&mut self, mut still: Still, data: &[u8], now: Duration) -> Vec<Action> {
        let status = still.asked_last();
        let Some(register) = self.config.registers.get(status) else { return Vec::new() };
        let mut actions = vec![Action::Readings(vec![reading(register, value_at(register, data, 0))])];
        if let Some(word) = word_at(register, data, 0) {
            still.heard(status, word, &self.config.registers);
            actions.extend(self.motions(status, word));
        }
        self.next = self.look_at(still, now, &mut actions);
        actions
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
                None => self.next = self.arrives(write, now, &mut actions),
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

    pub(super) fn refused(&mut self, mut request: Request, code: u8, now: Duration) -> Vec<Action> {
        let mut actions = vec![Action::Count("exceptions", 1)];
        let busy = matches!(code, 5 | 6);
        let once = matches!(request.purpose, Purpose::Write(_) | Purpose::Nobody);
        if busy && request.tries < self.config.retries && !once {
            request.tries += 1;
            request.not_before = now + BUSY;
            match request.purpose {
                Purpose::Readback { .. } | Purpose::Still(_) => self.looks.push(request),
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
            Purpose::Still(still) => {
                let why = format!("the device refuses to tell whether it moves: {}", exception(code));
                actions.push(failed(&still.id, Failure::DeviceError, why));
            }
            Purpose::Order(mut order) => {
                let why = format!("the device refuses: {}", exception(code));
                order.ended(Some((Failure::DeviceError, &why)));
                self.next = self.order(order, now, &mut actions);
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
}
