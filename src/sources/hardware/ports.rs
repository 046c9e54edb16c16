//! Opens serial ports: the board's own UART through rppal (`uart`), every other tty, such as USB adapters and
//! pseudo-terminals, through serialport (`usb`).
//!
//! Besides what the crates hold, each port has a descriptor of our own: neither crate's can be waited for or written to
//! as finely as is needed. It is opened first, so that the reason of a refusal is the kernel's own.

use super::super::instruments::Wake;
use super::{OpenPort, Port, uart, usb};
use crate::config::{Device, Parity, SerialPort};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The longest wait for bytes, so that a port's thread sees to the rest in time.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Opens serial ports of any kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct BoardPorts;

impl OpenPort for BoardPorts {
    fn open(&self, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let device = resolve(&settings.device)?;
        let named = Named { settings, device };
        let line = Line::open(&named)?;
        if is_on_board(&named.device) && uart::can(settings.baud) {
            uart::open(&named, line)
        } else {
            usb::open(&named, line)
        }
    }

    fn is_there(&self, settings: &SerialPort) -> bool {
        match &settings.device {
            Device::Path(path) | Device::Simulated(path) => path.exists(),
            device => resolve(device).is_ok(),
        }
    }
}

/// A port that is being opened: how it is configured, and where it is now.
pub(super) struct Named<'a> {
    pub settings: &'a SerialPort,
    pub device: PathBuf,
}

impl Named<'_> {
    /// One sentence for an error while opening.
    pub fn failed(&self, e: io::Error) -> io::Error {
        failed(&self.settings.device, e)
    }

    /// One sentence for settings that the device does not take.
    pub fn refused(&self, why: &str) -> io::Error {
        let SerialPort { device, baud, data_bits, parity, stop_bits, .. } = self.settings;
        let parity = match parity {
            Parity::None => "no",
            Parity::Even => "even",
            Parity::Odd => "odd",
        };
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "failed to set up `{device}`: {baud} baud, {data_bits} data bits, {parity} parity and {stop_bits} stop bits \
                 are not possible here together: {why}"
            ),
        )
    }
}

/// Where a device is now. Followed once: whatever is opened after this must be the same device.
fn resolve(device: &Device) -> io::Result<PathBuf> {
    match device {
        Device::Path(path) | Device::Simulated(path) => path.canonicalize().map_err(|e| failed(device, e)),
        Device::Usb(rule) => usb::find(rule),
        Device::Replay(_) | Device::Visa(_) | Device::Tcp(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "what is played, or behind a socket, has no device",
        )),
    }
}

/// `ttyAMA0` and `ttyS0` are UARTs of the board; `ttySC0` is a chip on the SPI bus.
fn is_on_board(device: &Path) -> bool {
    let name = device.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let number = name.strip_prefix("ttyAMA").or_else(|| name.strip_prefix("ttyS"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// Our own descriptor of a tty or a socket; it never blocks.
pub(super) struct Line {
    fd: OwnedFd,
    bell: Bell,
}

/// Ends a wait from another thread. Rung before the wait begins, it ends it at once: no ring is lost.
#[derive(Clone)]
pub(super) struct Bell(Arc<OwnedFd>);

impl Bell {
    fn new() -> io::Result<Bell> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Bell(Arc::new(eventfd(0, flags)?)))
    }

    /// Rings it.
    pub fn wake(&self) -> Wake {
        let fd = Arc::clone(&self.0);
        Arc::new(move || {
            // Full: it has been rung 2^64 times and nobody came.
            let _ = rustix::io::write(&*fd, &1u64.to_ne_bytes());
        })
    }
}

impl Line {
    fn open(named: &Named<'_>) -> io::Result<Line> {
        // NONBLOCK: a port without a carrier is not waited for.
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&named.device, flags, Mode::empty()).map_err(|e| named.failed(e.into()))?;
        if !rustix::termios::isatty(&fd) {
            return Err(named.failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no serial port")));
        }
        Line::of(fd).map_err(|e| named.failed(e))
    }

    /// Of a descriptor that never blocks.
    pub fn of(fd: OwnedFd) -> io::Result<Line> {
        Ok(Line { fd, bell: Bell::new()? })
    }

    /// The descriptor, for locks.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Ends a wait.
    pub fn wake(&self) -> Wake {
        self.bell.wake()
    }

    /// Waits for bytes; false when none came in time, or a signal or a ring of the bell came first. A hang-up is told
    /// once what came before it has been read.
    pub fn wait(&self, time: Duration) -> io::Result<bool> {
        let time = time.min(LONGEST_WAIT);
        let mut polled = [PollFd::new(&self.fd, PollFlags::IN), PollFd::new(&*self.bell.0, PollFlags::IN)];
        let limit = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
        match poll(&mut polled, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => Ok(false),
            Ok(_) => {
                let [line, bell] = polled;
                if bell.revents().contains(PollFlags::IN) {
                    // However often it was rung, this was for all of them.
                    let _ = rustix::io::read(&*self.bell.0, &mut [0; 8]);
                }
                let events = line.revents();
                if events.contains(PollFlags::IN) {
                    return Ok(true);
                }
                if events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
                    return Err(gone());
                }
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    /// Writes what fits.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match rustix::io::write(&self.fd, bytes) {
            Ok(n) => Ok(n),
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(Errno::IO | Errno::PIPE | Errno::CONNRESET) => Err(gone()),
            Err(e) => Err(e.into()),
        }
    }
}

/// What a port says whose device was pulled out.
pub(super) fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the device is gone (hung up)")
}

fn failed(device: &Device, e: io::Error) -> io::Error {
    let is = |errors: &[Errno]| errors.iter().any(|errno| e.raw_os_error() == Some(errno.raw_os_error()));
    // ENXIO and ENODEV: the node is there, the device behind it is not.
    let kind = if is(&[Errno::NXIO, Errno::NODEV]) { io::ErrorKind::NotFound } else { e.kind() };
    let hint = match kind {
        io::ErrorKind::PermissionDenied => "permission denied; is the user in group dialout?".to_string(),
        io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => "another program holds it".to_string(),
        io::ErrorKind::NotFound => "it is not there".to_string(),
        _ => e.to_string(),
    };
    io::Error::new(kind, format!("failed to open `{device}`: {hint}"))
}

/// What to say of a name that will be another device's after the next plug; `by_id` is `/dev/serial/by-id`.
pub fn advice(device: &Path, by_id: &Path) -> Option<String> {
    let name = device.strip_prefix("/dev").ok()?.to_str()?;
    let number = name.strip_prefix("ttyUSB").or_else(|| name.strip_prefix("ttyACM"))?;
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let stays = link_to(device, by_id).map_or_else(
        || "use its name under /dev/serial/by-id or by-path, or `usb`".to_string(),
        |link| format!("use `{}`", link.display()),
    );
    Some(format!("`{}` may be another device after the next plug or start; {stays}", device.display()))
}

/// The link in a folder that leads to a device.
fn link_to(device: &Path, folder: &Path) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    let mut links: Vec<PathBuf> = folder.read_dir().ok()?.flatten().map(|entry| entry.path()).collect();
    links.sort();
    links.into_iter().find(|link| link.canonicalize().is_ok_and(|path| path == device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FlowControl, LineConfig, LineFormat, ProtocolConfig, Sink};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::time::Instant;

    fn settings(device: &Path) -> SerialPort {
        let line = ProtocolConfig::Line(LineConfig::of(LineFormat::Json));
        SerialPort::of("t", Device::Path(device.into()), line, Sink::Stream("t".into()))
    }

    fn pty() -> (OwnedFd, PathBuf) {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        (master, PathBuf::from(name.to_str().unwrap()))
    }

    /// The two ways there are to open a tty.
    type Way = fn(&Named<'_>, Line) -> io::Result<Box<dyn Port>>;
    const WAYS: [Way; 2] = [uart::open, usb::open];

    fn open(way: Way, settings: &SerialPort) -> io::Result<Box<dyn Port>> {
        let named = Named { settings, device: resolve(&settings.device)? };
        let line = Line::open(&named)?;
        way(&named, line)
    }

    #[test]
    fn a_port_tells_silence_from_a_hang_up() {
        for way in WAYS {
            let (master, path) = pty();
            let mut port = open(way, &settings(&path)).unwrap();
            for second in WAYS {
                let second = open(second, &settings(&path)).err().unwrap();
                assert!(second.to_string().contains("another program holds it"), "{second}");
            }
            let mut buffer = [0; 16];
            let start = Instant::now();
            assert_eq!(port.read(&mut buffer, Duration::from_millis(20)).unwrap(), 0);
            assert!(start.elapsed() >= Duration::from_millis(19), "a short wait is a wait");
            rustix::io::write(&master, b"ab\n").unwrap();
            assert_eq!(port.read(&mut buffer, LONGEST_WAIT).unwrap(), 3);
            rustix::io::write(&master, b"old").unwrap();
            port.clear_input().unwrap();
            assert_eq!(port.read(&mut buffer, Duration::ZERO).unwrap(), 0);
            // Rung before it waits, and while it waits: each ends one wait.
            let wake = port.waker().unwrap();
            wake();
            wake();
            let start = Instant::now();
            assert_eq!(port.read(&mut buffer, LONGEST_WAIT).unwrap(), 0);
            assert!(start.elapsed() < LONGEST_WAIT, "the ring was lost");
            let ringer = std::thread::spawn(move || wake());
            assert_eq!(port.read(&mut buffer, LONGEST_WAIT).unwrap(), 0);
            assert!(start.elapsed() < LONGEST_WAIT, "the ring was not heard");
            ringer.join().unwrap();
            assert_eq!(port.write(b"hello").unwrap(), 5);
            assert_eq!(rustix::io::read(&master, &mut buffer).unwrap(), 5);
            drop(master);
            let start = Instant::now();
            let gone = loop {
                match port.read(&mut buffer, LONGEST_WAIT) {
                    Ok(0) => assert!(start.elapsed() < Duration::from_secs(5), "a hang-up reads as silence"),
                    Ok(_) => {}
                    Err(e) => break e,
                }
            };
            assert_eq!(gone.kind(), io::ErrorKind::NotConnected);
        }
    }

    /// Nobody reads the other end: what fits is taken, and then nothing, at once.
    #[test]
    fn writing_never_waits() {
        for way in WAYS {
            let (_master, path) = pty();
            let mut port = open(way, &settings(&path)).unwrap();
            let start = Instant::now();
            let mut taken = 0;
            loop {
                match port.write(&[b'x'; 4096]).unwrap() {
                    0 => break,
                    n => taken += n,
                }
            }
            assert!(taken > 0 && start.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn a_port_can_be_opened_again_and_takes_every_setting() {
        let (_master, path) = pty();
        let mut settings = settings(&path);
        for (baud, parity, stop_bits, flow) in [
            (31_250, Parity::Even, 2, FlowControl::Software),
            (250_000, Parity::Odd, 1, FlowControl::Hardware),
            (115_200, Parity::None, 1, FlowControl::None),
        ] {
            (settings.baud, settings.parity, settings.stop_bits, settings.flow) =
                (baud, parity, stop_bits, flow);
            drop(BoardPorts.open(&settings).unwrap());
        }
    }

    #[test]
    fn what_can_not_be_opened_says_why() {
        let missing = BoardPorts.open(&settings(Path::new("/dev/no-such-tty"))).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(missing.to_string(), "failed to open `/dev/no-such-tty`: it is not there");
        let no_tty = BoardPorts.open(&settings(Path::new("/dev/null"))).err().unwrap();
        assert_eq!(no_tty.to_string(), "failed to open `/dev/null`: it is no serial port");
        let mut usb = settings(Path::new(""));
        usb.device = Device::Usb("ffff:fffe:NONE".parse().unwrap());
        let missing = BoardPorts.open(&usb).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{missing}");
        assert!(!BoardPorts.is_there(&usb));
    }

    #[test]
    fn the_board_has_its_own() {
        for (name, on_board) in [
            ("ttyAMA0", true),
            ("ttyS0", true),
            ("ttyAMA10", true),
            ("ttyUSB0", false),
            ("ttySC0", false),
            ("3", false),
        ] {
            assert_eq!(is_on_board(&Path::new("/dev").join(name)), on_board, "{name}");
        }
    }

    #[test]
    fn a_name_that_changes_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let none = Path::new("/dev/serial/by-id/usb-FTDI-if00-port0");
        assert_eq!(advice(none, folder.path()), None);
        assert_eq!(advice(Path::new("/dev/ttyAMA0"), folder.path()), None);
        let said = advice(Path::new("/dev/ttyUSB0"), folder.path()).unwrap();
        assert!(said.contains("by-id or by-path"), "{said}");
        let (_master, path) = pty();
        std::os::unix::fs::symlink(&path, folder.path().join("usb-x")).unwrap();
        assert_eq!(link_to(&path, folder.path()), Some(folder.path().join("usb-x")));
    }
}
