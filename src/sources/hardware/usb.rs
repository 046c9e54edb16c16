//! USB adapters, pseudo-terminals and every tty that is not the board's own, through serialport 4.10: any speed,
//! exclusive by `TIOCEXCL` and `flock`, a hang-up told from silence, adapters found by what they are.
//!
//! What serialport does that has to be worked around, from its source: its descriptor blocks, so that writing more than
//! fits waits for as long as the other side likes; we write through a descriptor of our own. A port that somebody else
//! holds is reported as `NoDevice`.

use super::super::instruments::Wake;
use super::Port;
use super::ports::{LONGEST_WAIT, Line, Named, gone};
use crate::config::{FlowControl, Parity, UsbRule};
use serialport::{ClearBuffer, SerialPort as _, SerialPortInfo, SerialPortType, TTYPort};
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

/// Opens a tty; nobody else may hold it.
pub(super) fn open(named: &Named<'_>, line: Line) -> io::Result<Box<dyn Port>> {
    let settings = named.settings;
    let builder = serialport::new(named.device.to_string_lossy(), settings.baud)
        .data_bits(match settings.data_bits {
            5 => serialport::DataBits::Five,
            6 => serialport::DataBits::Six,
            7 => serialport::DataBits::Seven,
            _ => serialport::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => serialport::Parity::None,
            Parity::Even => serialport::Parity::Even,
            Parity::Odd => serialport::Parity::Odd,
        })
        .stop_bits(match settings.stop_bits {
            2 => serialport::StopBits::Two,
            _ => serialport::StopBits::One,
        })
        .flow_control(match settings.flow {
            FlowControl::None => serialport::FlowControl::None,
            FlowControl::Software => serialport::FlowControl::Software,
            FlowControl::Hardware => serialport::FlowControl::Hardware,
        })
        .timeout(LONGEST_WAIT);
    let port = TTYPort::open(&builder).map_err(|e| match e.kind() {
        serialport::ErrorKind::NoDevice => named.failed(io::ErrorKind::ResourceBusy.into()),
        serialport::ErrorKind::Io(kind) => named.failed(io::Error::new(kind, e.description)),
        serialport::ErrorKind::InvalidInput | serialport::ErrorKind::Unknown => named.refused(&e.description),
    })?;
    // What came before the speed was set may be garbled.
    port.clear(ClearBuffer::Input).map_err(|e| named.failed(e.into()))?;
    Ok(Box::new(Adapter { port, line }))
}

struct Adapter {
    port: TTYPort,
    line: Line,
}

impl Port for Adapter {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        if !self.line.wait(wait)? {
            return Ok(0);
        }
        match self.port.read(buffer) {
            // The end of a tty is a hang-up.
            Ok(0) => Err(gone()),
            Ok(n) => Ok(n),
            Err(e) => match e.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(0),
                io::ErrorKind::BrokenPipe => Err(gone()),
                _ => Err(io::Error::new(e.kind(), format!("the device fails or is gone: {e}"))),
            },
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.write(bytes)
    }

    fn clear_input(&mut self) -> io::Result<()> {
        Ok(self.port.clear(ClearBuffer::Input)?)
    }

    fn waker(&self) -> Option<Wake> {
        Some(self.line.wake())
    }
}

/// Where the adapter is now that a rule means.
pub(super) fn find(rule: &UsbRule) -> io::Result<PathBuf> {
    choose(rule, &serialport::available_ports()?)
}

fn choose(rule: &UsbRule, ports: &[SerialPortInfo]) -> io::Result<PathBuf> {
    let fits = |info: &&SerialPortInfo| match &info.port_type {
        SerialPortType::UsbPort(usb) => {
            (usb.vid, usb.pid) == (rule.vid, rule.pid)
                && (rule.serial.is_none() || rule.serial == usb.serial_number)
                && (rule.interface.is_none() || rule.interface == usb.interface)
        }
        _ => false,
    };
    let found: Vec<&SerialPortInfo> = ports.iter().filter(fits).collect();
    match found[..] {
        [] => Err(io::Error::new(io::ErrorKind::NotFound, format!("no USB adapter {rule} is plugged in"))),
        [one] => Ok(one.port_name.clone().into()),
        _ => {
            let each: Vec<String> = found
                .iter()
                .map(|info| match &info.port_type {
                    SerialPortType::UsbPort(usb) => {
                        let own = UsbRule {
                            serial: usb.serial_number.clone(),
                            interface: usb.interface,
                            ..rule.clone()
                        };
                        format!("{own} at {}", info.port_name)
                    }
                    _ => info.port_name.clone(),
                })
                .collect();
            Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} USB ports fit {rule}; name one: {}", found.len(), each.join(", ")),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serialport::UsbPortInfo;

    fn port(name: &str, serial: Option<&str>, interface: u8) -> SerialPortInfo {
        let usb = UsbPortInfo {
            vid: 0x0403,
            pid: 0x6001,
            serial_number: serial.map(str::to_string),
            manufacturer: None,
            product: None,
            interface: Some(interface),
        };
        SerialPortInfo { port_name: name.into(), port_type: SerialPortType::UsbPort(usb) }
    }

    #[test]
    fn an_adapter_is_found_by_what_it_is() {
        let other = SerialPortInfo { port_name: "/dev/ttyS0".into(), port_type: SerialPortType::Unknown };
        let ports = [
            other,
            port("/dev/ttyUSB0", Some("A"), 0),
            port("/dev/ttyUSB1", Some("B"), 0),
            port("/dev/ttyUSB2", Some("B"), 1),
        ];
        let find = |rule: &str| choose(&rule.parse().unwrap(), &ports).map_err(|e| (e.kind(), e.to_string()));
        assert_eq!(find("0403:6001:A"), Ok("/dev/ttyUSB0".into()));
        assert_eq!(find("0403:6001:B@1"), Ok("/dev/ttyUSB2".into()));
        assert_eq!(find("0403:6001@1"), Ok("/dev/ttyUSB2".into()));
        let (kind, text) = find("0403:6015").unwrap_err();
        assert_eq!(
            (kind, text.as_str()),
            (io::ErrorKind::NotFound, "no USB adapter 0403:6015 is plugged in")
        );
        let (_, text) = find("0403:6001:B").unwrap_err();
        assert_eq!(
            text,
            "2 USB ports fit 0403:6001:B; name one: 0403:6001:B@0 at /dev/ttyUSB1, 0403:6001:B@1 at /dev/ttyUSB2"
        );
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in ["0403:6001", "1a86:7523", "0403:6001:A50285BI", "0403:6011@2", "10c4:ea60:a:b@12"] {
            assert_eq!(text.parse::<UsbRule>().unwrap().to_string(), text);
        }
        for bad in
            ["", "0403", "403:6001", "0403:6001:", "0403:600g", "0403:6001@", "0403:6001@x", "+403:6001"]
        {
            assert!(bad.parse::<UsbRule>().is_err(), "{bad}");
        }
    }
}
