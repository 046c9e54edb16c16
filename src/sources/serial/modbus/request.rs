//! A request as it is to be done: checked as a whole before a byte of it is sent.

use super::*;

impl Modbus {
    pub(super) fn wish(&self, id: &str, request: &Wanted) -> Result<Wish, No> {
        match request {
            Wanted::Set { channel, to, tolerance, within, arrive } => {
                let mut write = self.set(id, &[(channel.clone(), to.clone())])?;
                (write.tolerance, write.within) = (*tolerance, within.unwrap_or(write.within));
                write.arrive = *arrive;
                Ok(Wish::Write(write))
            }
            Wanted::Move { to, within } => {
                let mut write = self.set(id, to)?;
                write.within = within.unwrap_or(write.within);
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
            Wanted::Stop if self.config.stop.is_empty() => {
                Err("nothing is known to stop it: `stop` is not configured".to_string().into())
            }
            Wanted::Safe if self.config.safe.is_empty() => {
                Err("nothing is known to bring it into a safe state: `safe` is not configured"
                    .to_string()
                    .into())
            }
            Wanted::Stop | Wanted::Safe => {
                let stops = *request == Wanted::Stop;
                let writes = if stops { &self.config.stop } else { &self.config.safe };
                let writes = writes.iter().cloned().collect();
                Ok(Wish::Order(Order { id: id.to_string(), writes, stops, faults: Vec::new() }))
            }
            Wanted::ClearError => {
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
        let sets: Vec<usize> = rest.iter().map(|(n, _)| *n).collect();
        let settles = sets.iter().filter_map(|n| Some(self.config.registers.get(*n)?.settles()));
        let within = settles.max().unwrap_or_default();
        let (register, raw) = rest.pop_front().ok_or_else(|| "nothing is to be set".to_string())?;
        Ok(Write {
            id: id.to_string(),
            register,
            raw,
            rest,
            sets,
            tolerance: None,
            within,
            until: None,
            arrive: true,
            readings: Vec::new(),
        })
    }

    /// Some of the registers into requests.
    pub(super) fn plan_of(&self, wanted: &[usize], merge_gap: u16) -> Vec<Block> {
        let own: Vec<ModbusRegister> =
            wanted.iter().filter_map(|n| self.config.registers.get(*n).cloned()).collect();
        let mut blocks = plan(&own, merge_gap);
        for n in blocks.iter_mut().flat_map(|block| &mut block.registers) {
            *n = wanted.get(*n).copied().unwrap_or_default();
        }
        blocks
    }
}
