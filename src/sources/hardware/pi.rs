//! Pins through rppal 0.22.1, on a Raspberry Pi only.
//!
//! What rppal does that has to be worked around, from its source:
//! - `poll_interrupts` reads one event of every ready line and caches it; a line that is not in the polled list has
//!   its cached event overwritten. So all claimed pins are always polled.
//! - It gives `EINTR` back as an error: read as "nothing yet". A finite time-out, as it holds a global lock.
//! - `set_interrupt` on a pin that has one keeps the old debounce: none is ever given, debouncing is ours.

use super::{OpenPins, PinEvent, Pins, PinsError};
use crate::config::Pull;
use rppal::gpio::{self, Gpio, InputPin, Trigger};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Opens the pins of a Raspberry Pi.
#[derive(Clone, Copy, Debug, Default)]
pub struct PiPins;

impl OpenPins for PiPins {
    fn open(&self) -> Result<Box<dyn Pins>, PinsError> {
        let gpio = Gpio::new().map_err(|e| refused(e, 0))?;
        Ok(Box::new(Header { gpio, pins: BTreeMap::new() }))
    }
}

struct Header {
    gpio: Gpio,
    pins: BTreeMap<u8, InputPin>,
}

impl Pins for Header {
    fn claim(&mut self, pin: u8, pull: Pull) -> Result<(), PinsError> {
        let taken = self.gpio.get(pin).map_err(|e| refused(e, pin))?;
        let mut input = match pull {
            Pull::Off => taken.into_input(),
            Pull::Up => taken.into_input_pullup(),
            Pull::Down => taken.into_input_pulldown(),
        };
        input.set_interrupt(Trigger::Both, None).map_err(|e| refused(e, pin))?;
        self.pins.insert(pin, input);
        Ok(())
    }

    fn release(&mut self, pin: u8) {
        if let Some(mut input) = self.pins.remove(&pin) {
            let _ = input.clear_interrupt();
        }
    }

    fn level(&self, pin: u8) -> Option<bool> {
        self.pins.get(&pin).map(InputPin::is_high)
    }

    fn wait(&mut self, time: Duration) -> io::Result<Option<PinEvent>> {
        let all: Vec<&InputPin> = self.pins.values().collect();
        match self.gpio.poll_interrupts(&all, false, Some(time)) {
            Ok(Some((pin, event))) => Ok(Some(PinEvent {
                pin: pin.pin(),
                rising: event.trigger == Trigger::RisingEdge,
                at: event.timestamp,
                seqno: event.seqno,
            })),
            Ok(None) => Ok(None),
            Err(gpio::Error::Io(e)) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(gpio::Error::Io(e)) => Err(e),
            Err(e) => Err(io::Error::other(e)),
        }
    }
}

impl Drop for Header {
    fn drop(&mut self) {
        // rppal's event loop outlives a dropped pin and would keep its line requested.
        for input in self.pins.values_mut() {
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
