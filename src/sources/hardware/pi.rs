//! Pins and ports through rppal 0.22.1. The ports work on any Linux tty, the pins on a Raspberry Pi only.
//!
//! What rppal does that has to be worked around, from its source:
//! - `poll_interrupts` reads one event of every ready line and caches it; a line that is not in the polled list has
//!   its cached event overwritten. So all claimed pins are always polled.
//! - It returns edges in the order of that list, not of time: what is there at once is sorted.
//! - It gives `EINTR` back as an error: read as "nothing yet". A finite time-out, as it holds a global lock.
//! - `set_interrupt` on a pin that has one keeps the old trigger's settings: it is cleared first.
//! - A dropped `OutputPin` becomes what the pin was before, mostly a floating input. Outputs are told not to: what they
//!   drive when telltale ends is decided above.
//! - A `Uart` gives `Ok(0)` both for silence and for an adapter that was pulled out. After a hang-up the kernel
//!   answers `TIOCINQ` with `EIO`, so `input_len()` tells the two apart.
//! - `Uart` takes no lock. A second descriptor holds an advisory `flock`, which finds a second telltale and every
//!   program that keeps to the same custom (not a login console; docs/hardware.md says how to switch that off).

use super::{OpenPins, OpenPort, PinEvent, Pins, PinsError, Port};
use crate::config::{Parity, Pull, SerialPort};
use rppal::gpio::{self, Gpio, InputPin, OutputPin, Trigger};
use rppal::uart::{self, Uart};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Edges taken in one go; the rest is there for the next.
const WAIT_EVENTS: usize = 4_096;
/// How long a read waits. rppal counts in tenths of a second.
const READ_WAIT: Duration = Duration::from_millis(200);
/// A device that takes none of what is written for this long fails.
const WRITE_TIME: Duration = Duration::from_secs(1);

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

/// Opens serial ports of any kind: the header's UART, USB adapters, pseudo-terminals.
#[derive(Clone, Copy, Debug, Default)]
pub struct PiPorts;

impl OpenPort for PiPorts {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let path = &settings.device;
        // Followed here, once: the lock and the port must be the same device.
        let device = path.canonicalize().map_err(|e| failed(path, e))?;
        let lock = lock(&device).map_err(|e| failed(path, e))?;
        let parity = match settings.parity {
            Parity::None => uart::Parity::None,
            Parity::Even => uart::Parity::Even,
            Parity::Odd => uart::Parity::Odd,
        };
        let open = || {
            let mut uart =
                Uart::with_path(&device, settings.baud, parity, settings.data_bits, settings.stop_bits)?;
            uart.set_read_mode(0, READ_WAIT)?;
            Ok(uart)
        };
        let uart = open().map_err(|e| match e {
            uart::Error::InvalidValue => io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "failed to set up `{}`: {} baud, {} data bits and {} stop bits are not possible together",
                    path.display(),
                    settings.baud,
                    settings.data_bits,
                    settings.stop_bits
                ),
            ),
            e => failed(path, plain(e)),
        })?;
        Ok(Box::new(Tty { uart, _lock: lock }))
    }
}

struct Tty {
    uart: Uart,
    _lock: OwnedFd,
}

impl Port for Tty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.uart.read(buffer).map_err(plain) {
            Ok(0) => match self.uart.input_len().map_err(plain) {
                Ok(_) => Ok(0),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
                Err(_) => Err(gone()),
            },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            // The kernel's word for a tty that was hung up while we read.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Err(gone()),
            other => other,
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let start = Instant::now();
        while !bytes.is_empty() {
            match self.uart.write(bytes).map_err(plain) {
                Ok(0) if start.elapsed() > WRITE_TIME => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the device takes nothing"));
                }
                // The output queue is full: wait about as long as a few bytes need.
                Ok(0) => std::thread::sleep(Duration::from_millis(10)),
                Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Holds an advisory lock on the device until it is dropped.
fn lock(device: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(device, flags, Mode::empty())?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
    Ok(fd)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the device is gone (hung up)")
}

fn plain(e: uart::Error) -> io::Error {
    match e {
        uart::Error::Io(e) => e,
        e => io::Error::other(e),
    }
}

fn failed(path: &Path, e: io::Error) -> io::Error {
    let hint = match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied; is the user in group dialout?".to_string(),
        io::ErrorKind::WouldBlock => "another program holds it".to_string(),
        io::ErrorKind::NotFound => "it is not there".to_string(),
        _ => e.to_string(),
    };
    // ENXIO and ENODEV: the node is there, the device behind it is not.
    let kind = match e.raw_os_error() {
        Some(code)
            if [rustix::io::Errno::NXIO, rustix::io::Errno::NODEV]
                .iter()
                .any(|e| e.raw_os_error() == code) =>
        {
            io::ErrorKind::NotFound
        }
        _ => e.kind(),
    };
    io::Error::new(kind, format!("failed to open `{}`: {hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{LineFormat, Sink};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    fn settings(device: &Path) -> SerialPort {
        SerialPort {
            id: "t".into(),
            device: device.into(),
            baud: 9600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            format: LineFormat::Json,
            map: Vec::new(),
            sink: Sink::Stream("t".into()),
            name: None,
            stale_after: Duration::from_secs(5),
            max_line: 64,
            hello: None,
        }
    }

    #[test]
    fn a_port_tells_silence_from_a_hang_up() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let path = Path::new(name.to_str().unwrap());
        let mut port = PiPorts.open(&settings(path)).unwrap();
        let second = PiPorts.open(&settings(path)).err().unwrap();
        assert!(second.to_string().contains("another program holds it"), "{second}");
        let mut buffer = [0; 16];
        assert_eq!(port.read(&mut buffer).unwrap(), 0);
        rustix::io::write(&master, b"ab\n").unwrap();
        assert_eq!(port.read(&mut buffer).unwrap(), 3);
        port.write_all(b"hello").unwrap();
        assert_eq!(rustix::io::read(&master, &mut buffer).unwrap(), 5);
        drop(master);
        let start = Instant::now();
        let gone = loop {
            match port.read(&mut buffer) {
                Ok(0) => assert!(start.elapsed() < Duration::from_secs(5), "a hang-up reads as silence"),
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
    }

    #[test]
    fn what_can_not_be_opened_says_why() {
        let missing = PiPorts.open(&settings(Path::new("/dev/no-such-tty"))).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "failed to open `/dev/no-such-tty`: it is not there");
        let no_tty = PiPorts.open(&settings(Path::new("/dev/null"))).err().unwrap();
        assert!(no_tty.to_string().starts_with("failed to open `/dev/null`"), "{no_tty}");
    }
}
