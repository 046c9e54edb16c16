//! A simulated device at the far end of a real pseudo-terminal: the daemon reads it with the code for hardware.
//!
//! Opening the port reads the file and plays the device in a thread, `sim-ID`, which ends when the port is closed: the
//! terminal hangs up, and that wakes it. A device keeps what was set while its file says the same. Promises: nothing
//! waits for the daemon; what it does not read is kept up to a bound, and lost beyond.

use super::device::Device;
use super::parse;
use crate::config;
use crate::limits;
use crate::sources::Wake;
use crate::sources::hardware::{BoardPorts, OpenPort, Port};
use crate::sources::simulated::plug::terminal;
use crate::threads;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Opens the simulated device of one port.
#[derive(Default)]
pub struct VisaPorts {
    /// As it was when the port was closed.
    device: Arc<Mutex<Option<Device>>>,
}

impl OpenPort for VisaPorts {
    fn open(&self, settings: &config::SerialPort) -> io::Result<Box<dyn Port>> {
        let config::Device::Visa(visa) = &settings.device else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "this port has a device"));
        };
        let definition = parse::read(&visa.file, visa.resource.as_deref()).map_err(|fault| {
            let kind = if visa.file.exists() { io::ErrorKind::InvalidData } else { io::ErrorKind::NotFound };
            io::Error::new(kind, format!("failed to play a simulated device: {fault}"))
        })?;
        {
            let mut device = self.device.lock().unwrap_or_else(|e| e.into_inner());
            if device.as_ref().is_none_or(|device| *device.definition() != definition) {
                *device = Some(Device::new(definition));
            }
        }
        let (master, tty) = terminal()?;
        let settings = config::SerialPort { device: config::Device::Simulated(tty), ..settings.clone() };
        let port = BoardPorts.open(&settings)?;
        let name: String = format!("sim-{}", settings.id).chars().take(15).collect();
        let device = Arc::clone(&self.device);
        let thread = threads::spawn(&name, limits::STACK, move || play(&master, &device))?;
        Ok(Box::new(Playing { port: Some(port), thread: Some(thread) }))
    }

    fn is_there(&self, settings: &config::SerialPort) -> bool {
        matches!(&settings.device, config::Device::Visa(visa) if visa.file.exists())
    }
}

/// The daemon's end.
struct Playing {
    port: Option<Box<dyn Port>>,
    thread: Option<JoinHandle<()>>,
}

impl Playing {
    fn port(&mut self) -> io::Result<&mut Box<dyn Port>> {
        self.port.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Port for Playing {
    fn read(&mut self, buffer: &mut [u8], wait: Duration) -> io::Result<usize> {
        self.port()?.read(buffer, wait)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.port()?.write(bytes)
    }

    fn clear_input(&mut self) -> io::Result<()> {
        self.port()?.clear_input()
    }

    fn waker(&self) -> Option<Wake> {
        self.port.as_ref()?.waker()
    }
}

impl Drop for Playing {
    fn drop(&mut self) {
        // Closed first: that ends the thread.
        self.port = None;
        self.thread.take().into_iter().for_each(threads::join);
    }
}

/// Answers until the other end is closed.
fn play(master: &OwnedFd, device: &Mutex<Option<Device>>) {
    let mut answers: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let wanted = if answers.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut polled = [PollFd::new(master, wanted)];
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return,
        }
        let [polled] = polled;
        let events = polled.revents();
        if events.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            return;
        }
        if events.contains(PollFlags::IN) {
            let n = rustix::io::read(master, &mut buffer).unwrap_or(0);
            let heard = buffer.get(..n).unwrap_or_default();
            if let Some(device) = device.lock().unwrap_or_else(|e| e.into_inner()).as_mut() {
                answers.extend(device.hear(heard));
            }
            answers.truncate(limits::VISA_ANSWERS);
        }
        if !answers.is_empty()
            && let Ok(n) = rustix::io::write(master, &answers)
        {
            answers.drain(..n);
        }
    }
}
