//! Pins through rppal 0.22.1, on a Raspberry Pi only.
//!
//! What rppal does that has to be worked around, from its source:
//! - `poll_interrupts` reads one event of every ready line and caches it; a line that is not in the polled list has
//!   its cached event overwritten. So all claimed pins are always polled.
//! - It returns edges in the order of that list, not of time: what is there at once is sorted.
//! - It gives `EINTR` back as an error: read as "nothing yet". A finite time-out, as it holds a global lock.
//! - `set_interrupt` on a pin that has one keeps the old trigger's settings: it is cleared first.
//! - A dropped `OutputPin` becomes what the pin was before, mostly a floating input. Outputs are told not to: what they
//!   drive when telltale ends is decided above.

use super::{OpenPins, PinEvent, Pins, PinsError};
use crate::config::Pull;
use rppal::gpio::{self, Gpio, InputPin, OutputPin, Trigger};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Edges taken in one go; the rest is there for the next.
const WAIT_EVENTS: usize = 4_096;

/// Opens the pins of a Raspberry Pi.
#[derive(Clone, Copy, Debug, Default)]
pub struct PiPins;

impl OpenPins for PiPins {
    fn open(&self) -> Result<Box<dyn Pins>, PinsError> {
        let gpio = Gpio::new().map_err(|e| refused(e, 0))?;
        Ok(Box::new(Header { gpio, inputs: BTreeMap::new(), outputs: BTreeMap::new() }))
    }
}

struct Header {
    gpio: Gpio,
    inputs: BTreeMap<u8, InputPin>,
    outputs: BTreeMap<u8, OutputPin>,
}

impl Pins for Header {
    fn claim(&mut self, pin: u8, pull: Pull) -> Result<(), PinsError> {
        let taken = self.gpio.get(pin).map_err(|e| refused(e, pin))?;
        let mut input = match pull {
            Pull::Off => taken.into_input(),
            Pull::Up => taken.into_input_pullup(),
            Pull::Down => taken.into_input_pulldown(),
        };
        let _ = input.clear_interrupt();
        input.set_interrupt(Trigger::Both, None).map_err(|e| refused(e, pin))?;
        self.inputs.insert(pin, input);
        Ok(())
    }

    fn claim_output(&mut self, pin: u8, high: Option<bool>) -> Result<(), PinsError> {
        let taken = self.gpio.get(pin).map_err(|e| refused(e, pin))?;
        let mut output = match high {
            Some(true) => taken.into_output_high(),
            Some(false) => taken.into_output_low(),
            None => taken.into_output(),
        };
        output.set_reset_on_drop(false);
        self.outputs.insert(pin, output);
        Ok(())
    }

    fn write(&mut self, pin: u8, high: bool) {
        if let Some(output) = self.outputs.get_mut(&pin) {
            output.write(if high { gpio::Level::High } else { gpio::Level::Low });
        }
    }

    fn release(&mut self, pin: u8) {
        if let Some(mut input) = self.inputs.remove(&pin) {
            let _ = input.clear_interrupt();
        }
        self.outputs.remove(&pin);
    }

    fn level(&self, pin: u8) -> Option<bool> {
        // Both read the level register, so the pin itself and not what was written to it.
        let input = self.inputs.get(&pin).map(InputPin::is_high);
        input.or_else(|| self.outputs.get(&pin).map(OutputPin::is_set_high))
    }

    fn wait(&mut self, time: Duration, events: &mut Vec<PinEvent>) -> io::Result<()> {
        let all: Vec<&InputPin> = self.inputs.values().collect();
        let before = events.len();
        let mut time = time;
        // The first is waited for; what is there besides it is taken along.
        while events.len() - before < WAIT_EVENTS {
            match self.gpio.poll_interrupts(&all, false, Some(time)) {
                Ok(Some((pin, event))) => events.push(PinEvent {
                    pin: pin.pin(),
                    rising: event.trigger == Trigger::RisingEdge,
                    at: event.timestamp,
                    seqno: event.seqno,
                }),
                Ok(None) => break,
                Err(gpio::Error::Io(e)) if e.kind() == io::ErrorKind::Interrupted => break,
                Err(gpio::Error::Io(e)) => return Err(e),
                Err(e) => return Err(io::Error::other(e)),
            }
            time = Duration::ZERO;
        }
        if let Some(new) = events.get_mut(before..) {
            new.sort_by_key(|event| event.at);
        }
        Ok(())
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // rppal's event loop outlives a dropped pin and would keep its line requested.
        for input in self.inputs.values_mut() {
            let _ = input.clear_interrupt();
        }
    }
}

fn refused(e: gpio::Error, pin: u8) -> PinsError {
    match e {
        gpio::Error::UnknownModel => PinsError::NoBoard,
        gpio::Error::PinNotAvailable(pin) => PinsError::NoPin(pin),
        gpio::Error::PinUsed(pin) => PinsError::Busy(pin),
        gpio::Error::PermissionDenied(path) => PinsError::Denied(path),
        gpio::Error::Io(e) if e.kind() == io::ErrorKind::ResourceBusy => PinsError::Busy(pin),
        gpio::Error::Io(e) => PinsError::Io(e),
        e => PinsError::Io(io::Error::other(e)),
    }
}
