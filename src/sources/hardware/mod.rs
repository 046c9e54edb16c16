//! The seam to the hardware: pins and serial ports as traits, with a Raspberry Pi's behind them (`pi`, `ports`, and
//! `socket` for what is behind a network) and a fake beside them (`fake`) for tests and benchmarks. Only this folder names rppal and serialport.
//!
//! **Blocking.** Every call returns within about a quarter of a second, so that one thread can serve its hardware,
//! the stop token and its timers; but for opening what is far ([`OpenPort::is_far`]). **Signals.** A handled signal, and SIGSTOP followed by SIGCONT, makes `epoll_wait`
//! return `EINTR`. No safe wrapper for a thread's signal mask is at hand, so nothing is masked: an interrupted call
//! is a call that found nothing, here and everywhere above, and the next one picks up what the kernel has queued.
//! The hardware's own threads (rppal's asynchronous interrupts), which end at the first `EINTR`, are not used.

#[doc(hidden)]
pub mod fake;
mod pi;
mod ports;
mod socket;
mod uart;
mod usb;

pub use self::pi::PiPins;
pub use self::ports::{BoardPorts, advice};
pub use self::socket::Sockets;

use super::instruments::Wake;
use crate::config::{Pull, SerialPort};
use std::fmt;
use std::io;
use std::time::Duration;

/// An edge as the kernel saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinEvent {
    /// BCM number.
    pub pin: u8,
    /// Whether the level went up.
    pub rising: bool,
    /// When, on the kernel's monotonic clock.
    pub at: Duration,
    /// Counts every edge of this pin from 1 since it was claimed, those that were lost included.
    pub seqno: u32,
}

/// Why pins can't be used.
#[derive(Debug)]
pub enum PinsError {
    /// This is no Raspberry Pi, or none that is known. Nothing to try again.
    NoBoard,
    /// The pin does not exist on this board. Nothing to try again.
    NoPin(u8),
    /// A device file may not be opened.
    Denied(String),
    /// Somebody else holds the pin.
    Busy(u8),
    /// Anything else.
    Io(io::Error),
}

impl fmt::Display for PinsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinsError::NoBoard => f.write_str("this is no Raspberry Pi that is known"),
            PinsError::NoPin(pin) => write!(f, "this board has no pin {pin}"),
            PinsError::Denied(path) => {
                write!(f, "failed to open `{path}`: permission denied; is the user in group gpio?")
            }
            PinsError::Busy(pin) => write!(f, "pin {pin} is held by another program"),
            PinsError::Io(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for PinsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PinsError::Io(e) => Some(e),
            _ => None,
        }
    }
}

/// Pins of a board. All inputs belong to one thread, and all that are claimed are waited for together: an edge of a pin
/// that is left out of a wait would be lost. Outputs belong to another, with a `Pins` of its own: a wait for edges
/// holds nothing that a write needs.
pub trait Pins {
    /// Makes the pin an input with this bias and has both its edges reported from now on.
    ///
    /// # Errors
    /// See [`PinsError`]; the pin is then not claimed.
    fn claim(&mut self, pin: u8, pull: Pull) -> Result<(), PinsError>;

    /// Makes the pin an output at this level, which it has before it drives; without one it goes on with the level it
    /// had as an output last.
    ///
    /// # Errors
    /// See [`PinsError`]; the pin is then not claimed.
    fn claim_output(&mut self, pin: u8, high: Option<bool>) -> Result<(), PinsError>;

    /// Drives a claimed output. Nothing else is touched; whether it took effect says [`Pins::level`].
    fn write(&mut self, pin: u8, high: bool);

    /// Gives the pin back. An input has no bias and no more edges then; an output goes on driving its level.
    fn release(&mut self, pin: u8);

    /// The level on the pin now: true is high. `None` when the pin is not claimed.
    fn level(&self, pin: u8) -> Option<bool>;

    /// Waits for edges on any claimed input, at most `time`, and adds those that are there to `events`, ordered by time.
    /// None when there were none, or a signal came first.
    ///
    /// # Errors
    /// When the chip can't be read any more.
    fn wait(&mut self, time: Duration, events: &mut Vec<PinEvent>) -> io::Result<()>;
}

/// Opens the pins of this board.
pub trait OpenPins: Send + Sync {
    /// Opens them.
    ///
    /// # Errors
    /// See [`PinsError`].
    fn open(&self) -> Result<Box<dyn Pins>, PinsError>;
}

/// An open serial port. Only its own thread uses it; it may have been opened by another.
pub trait Port: Send {
    /// Waits for bytes, at most `wait` and at most about 0.2 s; 0 when none came, or a signal came first.
    ///
    /// # Errors
    /// When the device is gone or fails: close it.
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize>;

    /// Hands over as much as fits now and gives how much that was; never waits.
    ///
    /// # Errors
    /// When the device is gone or fails.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Drops what has come and was not read.
    ///
    /// # Errors
    /// When the device is gone or fails.
    fn clear_input(&mut self) -> io::Result<()>;

    /// Ends, from another thread, a read that waits, or the next one that would; it then found nothing. None: this kind
    /// of port can't, and a read is as long as it is.
    fn waker(&self) -> Option<Wake> {
        None
    }
}

/// Opens serial ports.
pub trait OpenPort: Send + Sync {
    /// Opens the port that `settings.device` names at this moment: links are followed and adapters looked for anew each
    /// time, as one that was plugged in again may have another number.
    ///
    /// # Errors
    /// `NotFound` when the device is not there; the text is a whole sentence otherwise.
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>>;

    /// Opening may take as long as a network does: it is for a thread of its own.
    fn is_far(&self) -> bool {
        false
    }

    /// Whether there is such a device now, without opening it.
    fn is_there(&self, settings: &SerialPort) -> bool;
}
