//! A request as it is to be done: checked as a whole before a byte of it is sent.

use super::*;

impl Scpi {
    /// A request as it is to be done.
    pub(super) fn job_of(&self, id: &str, request: &Request) -> Result<Job, No> {
        let drive = match request {
            Request::Set { channel, to, tolerance, within, arrive } => {
                let mut drive = self.set(id, &[(channel.clone(), to.clone())], *tolerance)?;
                drive.within = within.unwrap_or(drive.within);
                drive.arrive = *arrive;
                drive
            }
            Request::Move { to, within } => {
                let mut drive = self.set(id, to, None)?;
                drive.within = within.unwrap_or(drive.within);
                drive
            }
            Request::Read { channels } => return self.read_of(id, channels).map(Job::Read),
            Request::Query(text) => {
                if text.is_empty() || text.len() > 256 || text.contains(char::is_control) {
                    return Err(format!(
                        "`text` is {:?}; expected a line of 1 to 256 bytes, such as \"MEAS:VOLT?\"",
                        shortened(text)
                    )
                    .into());
                }
                if text.contains('?') {
                    return Ok(Job::Query { id: id.to_string(), text: text.clone() });
                }
                // No question has no answer; the error queue tells whether it was understood.
                Drive::new(id, Purpose::Write, [text.clone()])
            }
            Request::Stop if self.config.stop.is_empty() => {
                return Err("it has no command that stops it: `stop` is not configured".to_string().into());
            }
            Request::Stop => {
                let mut drive = Drive::new(id, Purpose::Stop, [self.config.stop.clone()]);
                for (n, channel) in
                    self.config.channels.iter().enumerate().filter(|(_, c)| c.moving.is_some())
                {
                    drive.leg(n, channel, None);
                }
                drive
            }
            Request::Safe if self.config.safe.is_empty() => {
                return Err("nothing is known to bring it into a safe state: `safe` is not configured"
                    .to_string()
                    .into());
            }
            Request::Safe => Drive::new(id, Purpose::Safe, self.config.safe.iter().cloned()),
            Request::ClearError if self.config.clear.is_empty() => {
                return Err("it has no command that clears its errors".to_string().into());
            }
            Request::ClearError => Drive::new(id, Purpose::Clear, [self.config.clear.clone()]),
        };
        Ok(Job::Drive(Box::new(drive)))
    }

    /// Channels to be set, each checked before any is.
    fn set(&self, id: &str, to: &[(String, Setting)], tolerance: Option<f64>) -> Result<Drive, No> {
        let mut drive = Drive::new(id, Purpose::Set, []);
        for (name, to) in to {
            let found = self.config.channels.iter().enumerate().find(|(_, c)| c.name == *name);
            let Some((n, channel)) = found.filter(|(_, c)| c.set.is_some()) else {
                let all = self.config.channels.iter().filter(|c| c.set.is_some()).map(|c| c.name.as_str());
                return Err(No::unsettable(name, all));
            };
            let (command, wanted) = command_of(channel, to, tolerance)?;
            drive.commands.push_back(command);
            drive.leg(n, channel, Some(wanted));
        }
        Ok(drive)
    }

    fn read_of(&self, id: &str, names: &[String]) -> Result<Read, No> {
        let mut queries: Vec<(String, Vec<usize>)> = Vec::new();
        for name in names {
            let found = self.config.channels.iter().enumerate().find(|(_, c)| c.name == *name);
            let Some((n, query)) =
                found.and_then(|(n, c)| Some((n, c.get.as_deref().or(c.readback.as_deref())?)))
            else {
                let all = self.config.channels.iter().filter(|c| readback_query(c).is_some());
                let all = all.map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
                return Err(format!("{name:?} can't be read; expected one of {all}").into());
            };
            match queries.iter_mut().find(|(q, _)| q == query) {
                Some((_, channels)) => channels.push(n),
                None => queries.push((query.to_string(), vec![n])),
            }
        }
        Ok(Read { id: id.to_string(), queries, next: 0, readings: Vec::new(), faults: Vec::new() })
    }
}
