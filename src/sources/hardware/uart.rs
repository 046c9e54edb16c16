//! The board's own UART through rppal 0.22.1.
//!
//! What rppal does that has to be worked around, from its source:
//! - A `Uart` gives `Ok(0)` both for silence and for a tty that is gone. After a hang-up the kernel answers `TIOCINQ` with
//!   `EIO`, so `input_len()` tells the two apart. It can wait in tenths of a second only, so we wait on our own descriptor.
//! - It takes no lock. Our descriptor holds `TIOCEXCL` and an advisory `flock`, which find a second telltale and every
//!   program that keeps to the same custom (not a login console; docs/hardware.md says how to switch that off).
//! - It knows the speeds of termios(3) only; other speeds go through `usb`.

use super::super::instruments::Wake;
use super::Port;
use super::ports::{Line, Named, gone};
use crate::config::{FlowControl, Parity};
use rppal::uart::{self, Queue, Uart};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::io;
use std::time::Duration;

/// Speeds that termios(3) has a name for.
const SPEEDS: &[u32] = &[
    50, 75, 110, 134, 150, 200, 300, 600, 1_200, 1_800, 2_400, 4_800, 9_600, 19_200, 38_400, 57_600, 115_200,
    230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

/// Whether rppal can set this speed.
pub(super) fn can(baud: u32) -> bool {
    SPEEDS.contains(&baud)
}

/// Opens a UART; nobody else may hold it.
pub(super) fn open(named: &Named<'_>, line: Line) -> io::Result<Box<dyn Port>> {
    rustix::fs::flock(line.fd(), FlockOperation::NonBlockingLockExclusive)
        .map_err(|e| named.failed(e.into()))?;
    let settings = named.settings;
    let parity = match settings.parity {
        Parity::None => uart::Parity::None,
        Parity::Even => uart::Parity::Even,
        Parity::Odd => uart::Parity::Odd,
    };
    let open = || {
        let mut uart =
            Uart::with_path(&named.device, settings.baud, parity, settings.data_bits, settings.stop_bits)?;
        uart.set_software_flow_control(settings.flow == FlowControl::Software)?;
        uart.set_hardware_flow_control(settings.flow == FlowControl::Hardware)?;
        Ok(uart)
    };
    let uart = open().map_err(|e| match e {
        uart::Error::InvalidValue => named.refused("rppal does not take them"),
        e => named.failed(plain(e)),
    })?;
    // After the last opening of our own, which it would refuse.
    rustix::termios::ioctl_tiocexcl(line.fd()).map_err(|e| named.failed(e.into()))?;
    Ok(Box::new(OnBoard { uart, line }))
}

struct OnBoard {
    uart: Uart,
    line: Line,
}

impl Port for OnBoard {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        if !self.line.wait(wait)? {
            return Ok(0);
        }
        match self.uart.read(buffer).map_err(plain) {
            Ok(0) => match self.uart.input_len().map_err(plain) {
                Ok(_) => Ok(0),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
                Err(_) => Err(gone()),
            },
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
            // The kernel's word for a tty that was hung up while we read.
            Err(e) if e.raw_os_error() == Some(Errno::IO.raw_os_error()) => Err(gone()),
            other => other,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)
    }

    fn clear_input(&mut self) -> io::Result<()> {
        self.uart.flush(Queue::Input).map_err(plain)
    }

    fn waker(&self) -> Option<Wake> {
        Some(self.line.wake())
    }
}

fn plain(e: uart::Error) -> io::Error {
    match e {
        uart::Error::Io(e) => e,
        e => io::Error::other(e),
    }
}
