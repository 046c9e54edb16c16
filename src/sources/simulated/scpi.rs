//! What the simulated instruments have in common: they answer SCPI, a line for a line, and refuse by their error queue.
//!
//! Sources: IEEE 488.2-1992 10.3 (`*CLS`), 10.14 (`*IDN?`); SCPI-99 volume 2, 21.8.2 (error numbers).

use super::World;
use crate::limits;
use std::collections::VecDeque;

/// Why a command was not done, as the error queue says it.
pub(super) type Refused = (i16, String);

/// No such command.
pub(super) fn unknown(header: &str) -> Refused {
    (-113, format!("Undefined header;{header}"))
}

/// The number of a command, within its limits.
pub(super) fn number(value: Option<&str>, (least, most): (f64, f64)) -> Result<f64, Refused> {
    let Some(value) = value else { return Err((-109, "Missing parameter".into())) };
    match value.parse::<f64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) => Err((-222, format!("Data out of range;{least} to {most}"))),
        Err(_) => Err((-104, "Data type error".into())),
    }
}

/// What one instrument knows beside what all do.
pub(super) trait Commands {
    /// Who it is.
    fn identity(&self) -> String;
    /// One command or query: its header in capitals, and the rest. The answer to a query.
    fn command(
        &mut self,
        header: &str,
        value: Option<&str>,
        world: &mut World,
    ) -> Result<Option<String>, Refused>;
}

/// The error queue.
#[derive(Default)]
pub(super) struct Front {
    errors: VecDeque<Refused>,
}

impl Front {
    /// A line: commands and queries, a `;` between them. Gives the answers.
    pub fn hear(&mut self, line: &str, world: &mut World, device: &mut impl Commands) -> Option<String> {
        let mut answers = Vec::new();
        for part in line.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            match self.one(part, world, device) {
                Ok(answer) => answers.extend(answer),
                Err(refused) => self.refuse(refused),
            }
        }
        (!answers.is_empty()).then(|| answers.join(";"))
    }

    fn one(
        &mut self,
        part: &str,
        world: &mut World,
        device: &mut impl Commands,
    ) -> Result<Option<String>, Refused> {
        let (header, value) = match part.split_once(' ') {
            Some((header, value)) => (header, Some(value.trim())),
            None => (part, None),
        };
        let header = header.trim_start_matches(':').to_ascii_uppercase();
        Ok(match header.as_str() {
            "*IDN?" => Some(device.identity()),
            "*CLS" => {
                self.errors.clear();
                None
            }
            "SYST:ERR?" => {
                let (code, text) = self.errors.pop_front().unwrap_or((0, "No error".into()));
                Some(format!("{code},\"{text}\""))
            }
            other => device.command(other, value, world)?,
        })
    }

    fn refuse(&mut self, refused: Refused) {
        if self.errors.len() < limits::SCPI_ERRORS as usize {
            self.errors.push_back(refused);
        } else if let Some(last) = self.errors.back_mut() {
            *last = (-350, "Queue overflow".into());
        }
    }
}
