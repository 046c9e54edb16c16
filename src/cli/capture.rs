//! `telltale capture`: what comes over a port into a file, without a daemon.

use super::{CaptureArgs, DONE, FAILED, UNAVAILABLE, USAGE, complain, interrupted};
use crate::config::{
    self, Capture, Device, Flags, LineConfig, LineFormat, Overrides, ProtocolConfig, SerialPort, Sink,
};
use crate::limits;
use crate::sources::hardware::{BoardPorts, OpenPort, Port};
use crate::sources::serial::{Tape, Way};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(super) fn capture(args: CaptureArgs) -> u8 {
    let mut port = match settings(&args) {
        Ok(port) => port,
        Err(code) => return code,
    };
    if let Some(baud) = args.baud {
        port.baud = baud;
    }
    let mut open = match BoardPorts.open(&port) {
        Ok(open) => open,
        Err(e) => {
            let held = if e.kind() == io::ErrorKind::ResourceBusy || e.kind() == io::ErrorKind::WouldBlock {
                "; a running telltale holds its ports: stop it, or set `capture` in its configuration"
            } else {
                ""
            };
            complain(&format!("{e}{held}"));
            return UNAVAILABLE;
        }
    };
    let Some(until) = interrupted() else { return FAILED };
    let begun = Instant::now();
    let capture = Capture { file: args.out.clone(), limit: limits::CAPTURE_BYTES };
    let done = Tape::open(&capture, &port, Duration::ZERO)
        .and_then(|mut tape| record(&mut *open, &port, &mut tape, begun, args.time, &until));
    match done {
        Ok((bytes, ended)) => {
            complain(&format!(
                "{bytes} bytes in {:.0} s to {}",
                begun.elapsed().as_secs_f64(),
                args.out.display()
            ));
            if let Some(why) = &ended {
                complain(why);
            }
            if ended.is_some() { FAILED } else { DONE }
        }
        Err(e) => {
            complain(&format!("failed to write the capture: {e}"));
            FAILED
        }
    }
}

/// The port that is meant: of the configuration, or a device named here.
fn settings(args: &CaptureArgs) -> Result<SerialPort, u8> {
    if let Some(device) = &args.device {
        let device = device
            .strip_prefix("usb:")
            .map_or_else(|| Ok(Device::Path(device.into())), |rule| rule.parse().map(Device::Usb));
        let Ok(device) = device else {
            complain("--device usb: needs vendor and product, such as usb:0403:6001");
            return Err(USAGE);
        };
        // What is spoken does not matter: nothing is read but bytes.
        let line = ProtocolConfig::Line(LineConfig::of(LineFormat::Json));
        return Ok(SerialPort::of("capture", device, line, Sink::Stream("capture".into())));
    }
    let flags = Flags { config: args.config.clone(), ..Flags::default() };
    let loaded = config::check(&Overrides::from_process(flags)).map_err(|errors| {
        errors.iter().for_each(|error| eprintln!("{error}"));
        USAGE
    })?;
    let ports = loaded.config.serial;
    let ids: Vec<&str> = ports.iter().map(|port| port.id.as_str()).collect();
    let wanted = args.source.as_deref().unwrap_or_default();
    match ports.iter().find(|port| port.id == wanted) {
        Some(SerialPort { device: Device::Replay(_), .. }) => {
            complain(&format!("{wanted} is a replay; there is nothing to capture"));
            Err(USAGE)
        }
        Some(SerialPort { device: Device::Visa(_), .. }) => {
            complain(&format!(
                "{wanted} is simulated, by the daemon alone; `capture` in its [[serial]] keeps what goes over it"
            ));
            Err(USAGE)
        }
        Some(port) => Ok(port.clone()),
        None => {
            complain(&format!(
                "the configuration has no serial port {wanted:?}; expected --source with one of: {}",
                if ids.is_empty() { "(there is none)".into() } else { ids.join(", ") }
            ));
            Err(USAGE)
        }
    }
}

/// Writes down what comes until it is time; gives how many bytes came, and why it ended when it was not asked to.
fn record(
    open: &mut dyn Port,
    port: &SerialPort,
    tape: &mut Tape,
    begun: Instant,
    time: Option<Duration>,
    until: &AtomicBool,
) -> io::Result<(u64, Option<String>)> {
    tape.write(Way::Remark, b"open", begun.elapsed())?;
    let mut bytes = 0;
    let mut hello = port.hello.as_deref().unwrap_or_default().as_bytes();
    let mut buffer = [0; 4096];
    let ended = loop {
        if until.load(Ordering::Relaxed) || time.is_some_and(|time| begun.elapsed() >= time) {
            break None;
        }
        if !hello.is_empty() {
            match open.write(hello) {
                Ok(n) => {
                    let (sent, rest) = hello.split_at(n.min(hello.len()));
                    tape.write(Way::Out, sent, begun.elapsed())?;
                    hello = rest;
                }
                Err(e) => break Some(e.to_string()),
            }
        }
        match open.read(&mut buffer, Duration::from_millis(100)) {
            Ok(0) => tape.flush(begun.elapsed())?,
            Ok(n) => {
                bytes += n as u64;
                tape.write(Way::In, buffer.get(..n).unwrap_or_default(), begun.elapsed())?;
            }
            Err(e) => break Some(e.to_string()),
        }
    };
    tape.write(Way::Remark, b"closed", begun.elapsed())?;
    Ok((bytes, ended))
}
