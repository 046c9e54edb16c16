//! `[[serial]]`: ports, what stands at their far end, and what is spoken there.

use super::super::lists::modbus::Modbus;
use super::super::lists::nmea::Nmea;
use super::super::lists::scpi::Scpi;
use super::{Mapping, Sink};
use crate::limits;
use std::path::PathBuf;
use std::time::Duration;

/// Parity bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parity {
    None,
    Even,
    Odd,
}

/// How a line is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// One JSON object a line.
    Json,
    /// Values between `separator`.
    Csv {
        /// Usually `,`.
        separator: char,
    },
    /// A regular expression with named groups.
    Regex(String),
}

/// What holds a sender back while the receiver is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowControl {
    /// Nothing.
    None,
    /// XON and XOFF among the bytes.
    Software,
    /// The lines RTS and CTS.
    Hardware,
}

/// Which USB adapter: `0403:6001`, `0403:6001:A50285BI`, with `@1` after either for the second of its interfaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsbRule {
    /// Of the vendor.
    pub vid: u16,
    /// Of the product.
    pub pid: u16,
    /// Where several of a kind are plugged in.
    pub serial: Option<String>,
    /// Of an adapter with several ports.
    pub interface: Option<u8>,
}

impl std::str::FromStr for UsbRule {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ids, interface) = match text.rsplit_once('@') {
            Some((ids, interface)) => (ids, Some(interface.parse().map_err(|_| ())?)),
            None => (text, None),
        };
        let mut parts = ids.splitn(3, ':');
        let mut id = || {
            let part = parts.next().filter(|p| p.len() == 4 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            part.and_then(|p| u16::from_str_radix(p, 16).ok()).ok_or(())
        };
        let (vid, pid) = (id()?, id()?);
        let serial = parts.next().map(str::to_string);
        if serial.as_ref().is_some_and(String::is_empty) {
            return Err(());
        }
        Ok(UsbRule { vid, pid, serial, interface })
    }
}

impl std::fmt::Display for UsbRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:04x}", self.vid, self.pid)?;
        self.serial.as_ref().map_or(Ok(()), |serial| write!(f, ":{serial}"))?;
        self.interface.map_or(Ok(()), |interface| write!(f, "@{interface}"))
    }
}

/// A capture, or any file of bytes, in place of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// The file.
    pub file: PathBuf,
    /// 1 is as it was, 10 ten times as fast, 0 as fast as it is taken.
    pub rate: f64,
    /// From the beginning again at the end.
    pub again: bool,
}

/// Where the bytes of a port come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// Such as `/dev/serial/by-id/...` or `/dev/ttyAMA0`. Kept as it is written and resolved at every opening.
    Path(PathBuf),
    /// Looked for among the adapters at every opening.
    Usb(UsbRule),
    /// No device.
    Replay(Replay),
    /// A device of the simulated bench, under this name; no file can ask for it.
    Simulated(PathBuf),
    /// A device of a device file of pyvisa-sim.
    Visa(Visa),
    /// `tcp://HOST:PORT`: a raw socket, as of an instrument (often port 5025) or a terminal server. Host and port, as
    /// written.
    Tcp(String),
}

impl Device {
    /// What a `device` that is a socket begins with.
    pub const TCP: &str = "tcp://";
}

/// `sim:FILE#RESOURCE`: a simulated device, and the file that says what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visa {
    /// The file, as it is written.
    pub file: PathBuf,
    /// Which of the file's resources; none: its first serial one.
    pub resource: Option<String>,
}

impl Visa {
    /// What a `device` of this kind begins with.
    pub const PREFIX: &str = "sim:";

    /// Reads `FILE` or `FILE#RESOURCE`, what stands behind the prefix; `None` without a file.
    pub fn parse(text: &str) -> Option<Visa> {
        let (file, resource) = match text.rsplit_once('#') {
            Some((file, resource)) => (file, Some(resource.trim().to_string())),
            None => (text, None),
        };
        if file.is_empty() || resource.as_deref() == Some("") {
            return None;
        }
        Some(Visa { file: file.into(), resource })
    }
}

impl std::fmt::Display for Visa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", Visa::PREFIX, self.file.display())?;
        match &self.resource {
            Some(resource) => write!(f, "#{resource}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Path(path) | Device::Simulated(path) => path.display().fmt(f),
            Device::Usb(rule) => write!(f, "usb {rule}"),
            Device::Tcp(address) => write!(f, "{}{address}", Device::TCP),
            Device::Replay(replay) => replay.file.display().fmt(f),
            Device::Visa(visa) => visa.fmt(f),
        }
    }
}

/// What is spoken on a port.
#[allow(clippy::large_enum_variant, reason = "one of them for each port")]
#[derive(Clone, Debug, PartialEq)]
pub enum ProtocolConfig {
    /// Lines, each with values.
    Line(LineConfig),
    /// An instrument that is asked and set.
    Scpi(Scpi),
    /// A receiver or a sensor that talks by itself.
    Nmea(Nmea),
    /// A line of Modbus devices that are asked and set.
    Modbus(Modbus),
}

impl ProtocolConfig {
    /// Whether more than one value is known to come, so that streams get a name for each.
    pub fn gives_several(&self) -> bool {
        match self {
            ProtocolConfig::Line(line) => line.map.len() > 1,
            ProtocolConfig::Scpi(scpi) => scpi.channels.len() > 1,
            ProtocolConfig::Nmea(nmea) => nmea.values.len() != 1,
            ProtocolConfig::Modbus(modbus) => modbus.registers.len() > 1,
        }
    }
}

/// How lines are told apart and read.
#[derive(Clone, Debug, PartialEq)]
pub struct LineConfig {
    /// How a line is read.
    pub format: LineFormat,
    /// Which of it is used; empty: every member, group or column under its own name.
    pub map: Vec<Mapping>,
    /// The longest line, in bytes.
    pub max_line: usize,
    /// What ends a line; none: LF, CRLF or CR.
    pub terminator: Option<String>,
    /// A line that begins with this says nothing.
    pub comment: Option<String>,
    /// So many lines after each opening are a heading.
    pub skip_lines: u32,
}

impl LineConfig {
    /// Lines of this format, all else as the file has it by default.
    pub fn of(format: LineFormat) -> Self {
        LineConfig {
            format,
            map: Vec::new(),
            max_line: crate::limits::SERIAL_LINE,
            terminator: None,
            comment: None,
            skip_lines: 0,
        }
    }
}

/// A record of what goes over a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// The file; the one before it has `.old` after its name.
    pub file: PathBuf,
    /// Of both together, in bytes.
    pub limit: u64,
}

/// `[[serial]]`: one port.
#[derive(Clone, Debug, PartialEq)]
pub struct SerialPort {
    /// Id of the source, unique.
    pub id: String,
    /// See [`Device`].
    pub device: Device,
    /// Bits per second.
    pub baud: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// Parity.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// See [`FlowControl`].
    pub flow: FlowControl,
    /// What is spoken.
    pub protocol: ProtocolConfig,
    /// What it becomes.
    pub sink: Sink,
    /// The name people see.
    pub name: Option<String>,
    /// Silence after which it is stale.
    pub stale_after: Duration,
    /// Sent when the port has been opened, such as `*IDN?\n`.
    pub hello: Option<String>,
    /// Whether its loss is an alert.
    pub alert: bool,
    /// Readings a second; more are counted and dropped.
    pub max_rate: u32,
    /// What goes over it is kept.
    pub capture: Option<Capture>,
}

impl SerialPort {
    /// A port with these, all else as the file has it by default.
    pub fn of(id: &str, device: Device, protocol: ProtocolConfig, sink: Sink) -> Self {
        SerialPort {
            id: id.into(),
            device,
            baud: 9_600,
            data_bits: 8,
            parity: Parity::None,
            stop_bits: 1,
            flow: FlowControl::None,
            protocol,
            sink,
            name: None,
            stale_after: Duration::from_secs(10),
            hello: None,
            alert: true,
            max_rate: limits::SERIAL_READINGS,
            capture: None,
        }
    }
}
